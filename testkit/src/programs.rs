//! Where the programs are that `scripts/setup` installed.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the folder of `scripts/setup`: `ERPGO_DR_SERVICES`, or `/var/lib/erpgo-dr-services`.
pub(crate) fn services() -> PathBuf {
    env::var_os("ERPGO_DR_SERVICES").map_or_else(|| PathBuf::from("/var/lib/erpgo-dr-services"), PathBuf::from)
}

/// Finds a program: the one that `scripts/setup` installed, or the one on `PATH`.
///
/// # Panics
/// If there is neither.
pub fn program(name: &str) -> PathBuf {
    let installed = services().join("venv/bin").join(name);
    let on_path = env::var_os("PATH").into_iter().flat_map(|path| env::split_paths(&path).collect::<Vec<_>>());
    [installed]
        .into_iter()
        .chain(on_path.map(|folder| folder.join(name)))
        .find(|path| path.is_file())
        .unwrap_or_else(|| missing(name))
}

/// Finds the Python that has the packages of `scripts/requirements`.
///
/// # Panics
/// If it is not installed.
pub fn python() -> PathBuf {
    let path = services().join("venv/bin/python3");
    if path.is_file() { path } else { missing("python3 with the test packages") }
}

/// Finds a file in the folder of installed Python packages.
pub(crate) fn in_site_packages(inside: &str) -> Option<PathBuf> {
    let library = services().join("venv/lib");
    let pythons = library.read_dir().ok()?.flatten();
    pythons.map(|python| python.path().join("site-packages").join(inside)).find(|path| path.exists())
}

/// Gives up on a program that is not there.
pub(crate) fn missing(name: &str) -> ! {
    panic!("{name} is not installed: run scripts/setup (it looked in {} and on PATH)", services().display())
}

/// Builds a command that runs `program` as the user `postgres` if we are root (PostgreSQL refuses to run as root).
pub fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program);
    command.env("HOME", "/");
    command
}

/// Returns whether we are root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
