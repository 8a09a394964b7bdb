//! The whole run as the user `postgres` where we are root: PostgreSQL and pgBackRest refuse root, and no side shall have it easier.

use std::error::Error;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use erpgo_dr_testkit::postgres::give_to_postgres;
use erpgo_dr_testkit::{is_root, unprivileged};
use tempfile::TempDir;

/// Runs this program once more as `postgres` if we are root, and returns whether it did.
///
/// What runs are copies, with a temporary folder of their own: `postgres` may be able to reach neither the folder that the
/// programs were built in nor ours. All that the run leaves goes with it.
///
/// # Errors
/// If the tool was not built, or the other run failed.
pub(crate) fn ran() -> Result<bool, Box<dyn Error>> {
    if !is_root() {
        return Ok(false);
    }
    let folder = TempDir::with_prefix("erpgo-dr-bench-")?;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
    let this = std::env::current_exe()?;
    copy(&this.with_file_name("erpgo-dr"), folder.path())?;
    let program = copy(&this, folder.path())?;
    let temporary = folder.path().join("tmp");
    fs::create_dir(&temporary)?;
    give_to_postgres(&temporary);
    let mut command = unprivileged(&program);
    let status = command.args(std::env::args_os().skip(1)).current_dir("/").env("TMPDIR", &temporary).status()?;
    if status.success() { Ok(true) } else { Err(format!("as the user postgres: {status}").into()) }
}

fn copy(program: &Path, folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let name = program.file_name().ok_or("a program has a name")?;
    let copy = folder.join(name);
    fs::copy(program, &copy)
        .map_err(|error| format!("{}: {error}: build both for release first", program.display()))?;
    Ok(copy)
}
