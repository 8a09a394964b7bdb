//! A restored folder as a running server: the proof that it was a backup.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use erpgo_dr_testkit::postgres::SUPERUSER;

use crate::cluster::Cluster;

/// Starts a server over `data`, whose socket and log lie in `folder`, and compares its tables with the cluster's.
pub(crate) fn compare_contents(cluster: &Cluster, data: &Path, folder: &Path) -> io::Result<()> {
    let mut start = control(cluster, data);
    let options = format!("-c listen_addresses='' -c unix_socket_directories='{}' -p 5432", folder.display());
    start.args(["start", "-t", "120", "-l"]).arg(folder.join("restored.log")).arg("-o").arg(options);
    succeed(&mut start)?;
    let found = contents(cluster, folder);
    succeed(control(cluster, data).args(["stop", "-m", "immediate"]))?;
    let expected = cluster.psql(&Cluster::contents_query());
    if found? == expected { Ok(()) } else { Err(io::Error::other("the restored server has other rows")) }
}

fn control(cluster: &Cluster, data: &Path) -> Command {
    let mut command = Command::new(cluster.server.bin().join("pg_ctl"));
    command.args(["-s", "-w", "-D"]).arg(data).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn contents(cluster: &Cluster, socket: &Path) -> io::Result<String> {
    let mut psql = Command::new(cluster.server.bin().join("psql"));
    psql.args(["-XqAt", "-U", SUPERUSER, "-p", "5432", "-d", "erp", "-c", &Cluster::contents_query(), "-h"])
        .arg(socket);
    let output = psql.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("psql on the restored server: {}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?}: {status}"))) }
}
