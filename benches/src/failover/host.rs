//! Hosts: network namespaces on a bridge, or, where the kernel lets us make none, processes with loopback addresses of their own.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use erpgo_dr_testkit::unprivileged;
use serde::{Deserialize, Serialize};

/// A host: where programs run, and by what address it is reached.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Host {
    /// What it is called.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    namespace: Option<String>,
}

/// Hosts that reach each other, and that this process reaches. They vanish with this value.
#[derive(Debug)]
pub struct Network {
    hosts: Vec<Host>,
    bridge: Option<String>,
}

impl Host {
    /// Builds a command that runs on the host, under the account of servers.
    pub fn command(&self, program: &Path) -> Command {
        let Some(namespace) = &self.namespace else { return unprivileged(program) };
        let inner = unprivileged(program);
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(inner.get_program()).args(inner.get_args());
        command.env("HOME", "/");
        command
    }

    /// Makes sure that another host is reached: rules for bridged traffic may keep them apart. Nothing listens there, and that is the answer.
    fn reaches(&self, other: Ipv4Addr) -> io::Result<()> {
        let script = format!("exec 3<>/dev/tcp/{other}/9");
        let output = self.command(Path::new("timeout")).args(["5", "bash", "-c", &script]).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match said.contains("refused") {
            true => Ok(()),
            false => Err(io::Error::other(format!("{} does not reach {other}: {}", self.name, said.trim()))),
        }
    }
}

impl Network {
    /// Makes hosts as network namespaces.
    ///
    /// # Errors
    /// Where that is not allowed here, the kernel has no bridges, or hosts do not reach each other over one.
    pub fn of_namespaces(names: [&str; 2]) -> io::Result<Self> {
        let id = std::process::id();
        let bridge = format!("dr{id}");
        let net = 1 + id % 250;
        let mut network = Self { hosts: Vec::new(), bridge: Some(bridge.clone()) };
        ip(&format!("link add {bridge} type bridge"))?;
        ip(&format!("addr add 10.244.{net}.254/24 dev {bridge}"))?;
        ip(&format!("link set {bridge} up"))?;
        for (number, name) in (1..).zip(names) {
            let namespace = format!("erpgo-dr-{id}-{name}");
            let address = Ipv4Addr::new(10, 244, u8::try_from(net).unwrap_or(1), number);
            ip(&format!("netns add {namespace}"))?;
            network.hosts.push(Host { name: name.to_owned(), address, namespace: Some(namespace.clone()) });
            let link = network.link(number.into());
            ip(&format!("link add {link} type veth peer name eth0 netns {namespace}"))?;
            ip(&format!("link set {link} master {bridge} up"))?;
            ip(&format!("-n {namespace} addr add {address}/24 dev eth0"))?;
            ip(&format!("-n {namespace} link set eth0 up"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
        }
        network.hosts[0].reaches(network.hosts[1].address)?;
        Ok(network)
    }

    /// Makes hosts as processes, of which each has an address of its own on loopback.
    pub fn of_processes(names: [&str; 2]) -> Self {
        let host = |(number, name): (u8, &str)| Host {
            name: name.to_owned(),
            address: Ipv4Addr::new(127, 0, 0, number),
            namespace: None,
        };
        Self { hosts: (11..).zip(names).map(host).collect(), bridge: None }
    }

    /// Returns the hosts.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Returns whether hosts can be cut off.
    pub fn has_namespaces(&self) -> bool {
        self.bridge.is_some()
    }

    /// Pulls a host's cable, or plugs it in again.
    ///
    /// # Errors
    /// If the host is none that can be cut off.
    pub fn connect(&self, host: usize, connected: bool) -> io::Result<()> {
        let state = if connected { "up" } else { "down" };
        ip(&format!("link set {} {state}", self.link(host + 1)))?;
        // Who was looked for in vain is not looked for again at once.
        for host in &self.hosts {
            ip(&format!("-n {} neigh flush dev eth0", host.namespace.as_deref().unwrap_or_default()))?;
        }
        ip(&format!("neigh flush dev {}", self.bridge.as_deref().unwrap_or_default()))
    }

    /// Keeps two hosts from each other, while this process reaches both, or ends that.
    ///
    /// # Errors
    /// If the hosts are none that can be cut off.
    pub fn split(&self, split: bool) -> io::Result<()> {
        for (host, other) in [(0, 1), (1, 0)] {
            let (host, other) = (&self.hosts[host], &self.hosts[other]);
            let namespace = host.namespace.as_deref().unwrap_or_default();
            ip(&format!("-n {namespace} route {} blackhole {}/32", word(split), other.address))?;
        }
        Ok(())
    }

    /// Keeps this process from a host that others reach, or ends that.
    ///
    /// # Errors
    /// If the host is none that can be cut off.
    pub fn hide(&self, host: usize, hidden: bool) -> io::Result<()> {
        ip(&format!("route {} unreachable {}/32", word(hidden), self.hosts[host].address))
    }

    /// The end of a host's cable that is on our side.
    fn link(&self, number: usize) -> String {
        format!("{}v{number}", self.bridge.as_deref().unwrap_or_default())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let Some(bridge) = &self.bridge else { return };
        for (number, host) in (1..).zip(&self.hosts) {
            let _ = ip(&format!("route del unreachable {}/32", host.address));
            let _ = ip(&format!("link del {}", self.link(number)));
            let _ = ip(&format!("netns del {}", host.namespace.as_deref().unwrap_or_default()));
        }
        let _ = ip(&format!("link del {bridge}"));
    }
}

fn word(add: bool) -> &'static str {
    if add { "add" } else { "del" }
}

fn ip(arguments: &str) -> io::Result<()> {
    let output = Command::new("ip").args(arguments.split_whitespace()).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr).trim()))),
    }
}
