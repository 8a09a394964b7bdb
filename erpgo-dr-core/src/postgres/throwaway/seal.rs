//! No network at all for the programs of a drill: a network namespace of their own, in which not even the loopback is up.
//!
//! Sockets of the Unix domain are reached by their path, and so are not kept away by it.

use std::path::Path;

use super::super::ClientPrograms;
use super::RunAs;

/// Where util-linux has the program that starts others in namespaces of their own.
const UNSHARE: [&str; 2] = ["/usr/bin/unshare", "/bin/unshare"];
/// And the one that takes on an account with its groups.
const SETPRIV: [&str; 2] = ["/usr/bin/setpriv", "/bin/setpriv"];
/// The namespace that a process is in.
const NAMESPACE: &str = "/proc/self/ns/net";

/// How programs are started as an account, and without a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NetworkSeal(Vec<String>);

impl NetworkSeal {
    /// Finds what the kernel lets this process do: root makes a namespace, and others one within a namespace of users. `None` where it
    /// lets nobody.
    pub(crate) async fn find(programs: &ClientPrograms, account: Option<RunAs>) -> Option<Self> {
        let unshare = installed(&UNSHARE)?;
        let by_users = [unshare, "--user", "--map-current-user", "--net", "--"].map(str::to_owned).to_vec();
        let candidates = match account {
            None => vec![by_users],
            Some(account) => {
                let by_root = [unshare, "--net", "--"].map(str::to_owned).to_vec();
                let taken_on = as_account(account)?;
                vec![[by_root, taken_on.clone()].concat(), [taken_on, by_users].concat()]
            }
        };
        let own = std::fs::read_link(NAMESPACE).ok()?;
        for candidate in candidates {
            let asked = programs.invoke(Path::new(&candidate[0])).arguments(&candidate[1..]);
            let Ok(output) = asked.arguments(["readlink", NAMESPACE]).output().await else { continue };
            let found = String::from_utf8_lossy(&output);
            if !found.trim().is_empty() && Path::new(found.trim()) != own {
                return Some(Self(candidate));
            }
        }
        None
    }

    /// Returns what is put before the command line of a program.
    pub(crate) fn prefix(&self) -> &[String] {
        &self.0
    }
}

/// Returns what has a program run as an account, put before its command line.
pub(super) fn as_account(account: RunAs) -> Option<Vec<String>> {
    let groups = if account.user_name().is_some() { "--init-groups" } else { "--clear-groups" };
    let (user, group) = (format!("--reuid={}", account.uid()), format!("--regid={}", account.gid()));
    Some(vec![installed(&SETPRIV)?.to_owned(), user, group, groups.to_owned()])
}

fn installed(places: &[&'static str]) -> Option<&'static str> {
    places.iter().copied().find(|path| Path::new(path).is_file())
}
