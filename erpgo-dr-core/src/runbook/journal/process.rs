//! Which process writes a journal, so that another one knows whether it is still at it.

use std::fs;

use serde::{Deserialize, Serialize};

/// A process of a host, told from any other that may get its number later. Empty where the system does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ProcessMark {
    /// The host's name.
    pub host: String,
    /// What Linux calls the host's run since it was last started (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
    /// The process's number.
    pub pid: u32,
    /// When it started, in clock ticks since the host did (field 22 of `/proc/PID/stat`).
    pub started: u64,
}

impl ProcessMark {
    /// Marks this process.
    pub(crate) fn own() -> Self {
        let pid = std::process::id();
        Self { host: host(), boot: boot(), pid, started: started(pid).unwrap_or(0) }
    }

    /// Returns whether the process still runs; `None` where that cannot be told from here.
    pub(crate) fn is_alive(&self) -> Option<bool> {
        if self.boot.is_empty() || self.started == 0 {
            return None;
        }
        if self.boot != boot() {
            // Another host, or this one before it was started again.
            return (self.host == host()).then_some(false);
        }
        Some(self.pid != std::process::id() && started(self.pid) == Some(self.started))
    }
}

fn boot() -> String {
    line_of("/proc/sys/kernel/random/boot_id")
}

fn host() -> String {
    line_of("/proc/sys/kernel/hostname")
}

fn line_of(path: &str) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// Returns when a process that runs has started; none for one that is dead and not reaped.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in brackets, which may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    match fields.first() {
        Some(&"Z" | &"X") | None => None,
        Some(_) => fields.get(19)?.parse().ok(),
    }
}

/// Finds the processes of this host whose environment has a variable with this value.
pub(crate) fn processes_with(name: &str, value: &str) -> Vec<u32> {
    let wanted = format!("{name}={value}");
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let has = |pid: &u32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes())
    };
    pids.filter(has).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_process_is_known_while_it_runs() {
        // Of this process alone: another run of the same test may go on.
        let value = format!("{}/y", std::process::id());
        let mut child = std::process::Command::new("sleep").arg("30").env("ERPGO_DR_TEST", &value).spawn().unwrap();
        let mark = ProcessMark { pid: child.id(), started: started(child.id()).unwrap(), ..ProcessMark::own() };
        assert_eq!(mark.is_alive(), Some(true));
        // Linux hands the parent back before it has written down where the new program's environment lies.
        let since = Instant::now();
        while processes_with("ERPGO_DR_TEST", &value) != [child.id()] {
            assert!(since.elapsed() < Duration::from_secs(30), "not found by what its environment says");
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(ProcessMark { started: mark.started + 1, ..mark.clone() }.is_alive(), Some(false));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(mark.is_alive(), Some(false));
        assert_eq!(ProcessMark { boot: "other".to_owned(), host: "elsewhere".to_owned(), ..mark }.is_alive(), None);
        assert_eq!(ProcessMark { boot: "earlier".to_owned(), ..mark }.is_alive(), Some(false));
        assert_eq!(ProcessMark::own().is_alive(), Some(false), "one goes on by itself");
    }
}
