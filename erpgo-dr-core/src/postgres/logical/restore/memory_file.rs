//! A file that pg_restore can seek in, and that is on no disk.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use super::super::super::PostgresError;

/// A file in memory. It can be opened by its path for as long as this value lives.
#[derive(Debug)]
pub(super) struct MemoryFile {
    file: File,
}

impl MemoryFile {
    /// Creates a file with these contents.
    pub(super) fn new(name: &str, contents: &[u8]) -> Result<Self, PostgresError> {
        let failed = |action| {
            let path = PathBuf::from(format!("memory file {name}"));
            move |source| PostgresError::File { path, action, source }
        };
        let mut file = create(name).map_err(failed("create it"))?;
        file.write_all(contents).map_err(failed("write to it"))?;
        Ok(Self { file })
    }

    /// Returns the path by which a child process of the same user opens it.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()))
    }
}

#[cfg(target_os = "linux")]
fn create(name: &str) -> std::io::Result<File> {
    Ok(File::from(rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?))
}

#[cfg(not(target_os = "linux"))]
fn create(_name: &str) -> std::io::Result<File> {
    Err(std::io::Error::new(std::io::ErrorKind::Unsupported, "files in memory need Linux"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_by_its_path() {
        let file = MemoryFile::new("test", b"contents").unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), b"contents");
    }
}
