//! The end of a server's log, which says why it ended.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::SystemTime;

const LOG_TAIL: u64 = 4096;
/// Lists the files of the logging collector, where the configuration has one.
const CURRENT_LOGS: &str = "current_logfiles";

/// Reads the end of a log.
pub(in crate::postgres) fn log_tail(path: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL)))?;
        let mut tail = Vec::new();
        file.take(LOG_TAIL).read_to_end(&mut tail)?;
        Ok(tail)
    };
    match read() {
        Ok(tail) => String::from_utf8_lossy(&tail).trim().to_owned(),
        Err(error) => format!("(no log: {error})"),
    }
}

/// Reads the end of `log`, and of the file that the logging collector of `data` has written since `begun`.
pub(super) fn tail_since(log: &Path, data: &Path, begun: SystemTime) -> String {
    let tail = log_tail(log);
    match collected(data, begun) {
        Some(more) => format!("{tail}\n{more}"),
        None => tail,
    }
}

fn collected(data: &Path, begun: SystemTime) -> Option<String> {
    let list = data.join(CURRENT_LOGS);
    if fs::metadata(&list).and_then(|metadata| metadata.modified()).ok()? < begun {
        return None;
    }
    let text = fs::read_to_string(&list).ok()?;
    let (_, path) = text.lines().find_map(|line| line.split_once(' ').filter(|(form, _)| *form == "stderr"))?;
    Some(log_tail(&data.join(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_collector_has_written_follows_unless_it_is_of_an_earlier_life() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("start.log");
        fs::write(&log, format!("{}redirecting\n", "x".repeat(5000))).unwrap();
        fs::write(folder.path().join("collected.log"), "FATAL: no\n").unwrap();
        fs::write(folder.path().join(CURRENT_LOGS), "jsonlog none\nstderr collected.log\n").unwrap();
        let tail = tail_since(&log, folder.path(), SystemTime::UNIX_EPOCH);
        assert!(tail.len() < 5000 && tail.ends_with("redirecting\nFATAL: no"), "{tail}");
        let later = SystemTime::now() + std::time::Duration::from_secs(60);
        assert!(tail_since(&log, folder.path(), later).ends_with("redirecting"));
        assert!(log_tail(&folder.path().join("none")).contains("no log"));
    }
}
