//! What a process holds, by what the kernel says.

use std::fs;
use std::io;

/// What a process holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Files, pipes and everything else that is open, sockets not counted.
    pub(crate) descriptors: i64,
    pub(crate) sockets: i64,
    /// Its children, whether they run or were not waited for.
    pub(crate) children: i64,
    /// Resident memory in bytes.
    pub(crate) memory: i64,
    /// What is open, for people.
    pub(crate) names: Vec<String>,
}

impl Held {
    /// Looks at a process.
    pub(crate) fn by(id: u32) -> io::Result<Self> {
        let mut held = Self::default();
        for descriptor in fs::read_dir(format!("/proc/{id}/fd"))? {
            // One that was closed meanwhile does not count.
            let Ok(target) = fs::read_link(descriptor?.path()) else { continue };
            let name = target.display().to_string();
            match name.starts_with("socket:") {
                true => held.sockets += 1,
                false => held.descriptors += 1,
            }
            held.names.push(name);
        }
        for task in fs::read_dir(format!("/proc/{id}/task"))? {
            let children = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
            held.children += i64::try_from(children.split_whitespace().count()).unwrap_or(0);
        }
        let status = fs::read_to_string(format!("/proc/{id}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        held.memory = line.split_whitespace().next().and_then(|kib| kib.parse::<i64>().ok()).unwrap_or(0) * 1024;
        held.names.sort();
        Ok(held)
    }

    /// Returns the least of two looks, number by number: a request that is on its way is no leak.
    pub(crate) fn least(self, other: Self) -> Self {
        let names = if other.names.len() < self.names.len() { other.names } else { self.names };
        Self {
            descriptors: self.descriptors.min(other.descriptors),
            sockets: self.sockets.min(other.sockets),
            children: self.children.min(other.children),
            memory: self.memory.min(other.memory),
            names,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_opened_is_held() {
        let before = Held::by(std::process::id()).unwrap();
        let file = fs::File::open("/dev/zero").unwrap();
        let sockets = std::os::unix::net::UnixStream::pair().unwrap();
        let held = Held::by(std::process::id()).unwrap();
        assert!(held.names.contains(&"/dev/zero".to_owned()), "{held:?}");
        assert!(held.sockets >= before.sockets + 2 && held.memory > 1 << 20, "{before:?} {held:?}");
        drop((file, sockets));
    }
}
