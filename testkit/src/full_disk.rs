//! A file system of a few megabytes, to run out of space on.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A small file system in memory. Unmounted when dropped.
#[derive(Debug)]
pub struct FullDisk {
    folder: TempDir,
}

impl FullDisk {
    /// Mounts a file system with room for `bytes`, writable by everyone.
    ///
    /// # Panics
    /// If it cannot be mounted. Root can; another user can in a mount namespace of its own, as
    /// `unshare --map-root-user --mount` makes it.
    pub fn mount(bytes: u64) -> Self {
        let folder = TempDir::with_prefix("erpgo-dr-disk-").expect("cannot make a temporary folder");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={bytes},mode=0777"), "erpgo-dr-testkit"]).arg(folder.path());
        let output = command.output().expect("cannot start mount");
        assert!(
            output.status.success(),
            "cannot mount a small file system (run as root, or under unshare --map-root-user --mount): {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Self { folder }
    }

    /// Returns the folder over which it is mounted.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Fills what is left, but for `bytes`, with a file named `ballast`.
    pub fn fill_but(&self, bytes: u64) {
        let free = self.free();
        fs::write(self.path().join("ballast"), vec![0x5a; free.saturating_sub(bytes) as usize])
            .expect("the disk is already full");
    }

    /// Gives back the room that [`Self::fill_but`] took.
    pub fn empty_ballast(&self) {
        fs::remove_file(self.path().join("ballast")).expect("there is no ballast");
    }

    /// Returns how many bytes are free.
    pub fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(self.path()).expect("the mounted folder is gone");
        stat.f_bavail * stat.f_frsize
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        // Lazily: a failed test may still hold a file open, and its panic matters more than ours.
        let _ = Command::new("umount").arg("--lazy").arg(self.folder.path()).status();
    }
}
