//! Servers for these tests.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use erpgo_dr_core::postgres::throwaway::{ThrowawayOptions, ThrowawayServer};

pub(crate) use erpgo_dr_testkit::postgres::{MAJORS, postgres_bin as programs};

/// A scratch folder that the server's account can enter.
pub(crate) fn scratch() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    std::fs::set_permissions(folder.path(), open).unwrap();
    folder
}

pub(crate) async fn server(major: u32, scratch: &tempfile::TempDir) -> ThrowawayServer {
    ThrowawayServer::start(ThrowawayOptions::new(programs(major), scratch.path())).await.unwrap()
}

pub(crate) async fn connect(server: &ThrowawayServer, database: &str) -> tokio_postgres::Client {
    let connection = server.connection();
    let (client, driver) = tokio_postgres::Config::new()
        .host_path(&connection.socket_folder)
        .port(connection.port)
        .user(&connection.user)
        .dbname(database)
        .connect(tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(driver);
    client
}

/// A client program, which finds no server by itself.
pub(crate) fn client_program(folder: &Path, name: &str) -> Command {
    let mut command = Command::new(folder.join(name));
    command.env_clear().env("LC_ALL", "C");
    command
}

/// A client program that talks to `server`.
pub(crate) fn client_of(server: &ThrowawayServer, major: u32, name: &str) -> Command {
    let connection = server.connection();
    let mut command = client_program(&programs(major), name);
    command.arg("--host").arg(&connection.socket_folder);
    command.args(["--port", &connection.port.to_string(), "--username", &connection.user]);
    command
}

/// Dumps a database in the custom format, and returns what goes to standard output.
pub(crate) async fn dump(major: u32, server: &ThrowawayServer, database: &str, options: &[&str]) -> Vec<u8> {
    let mut command = client_of(server, major, "pg_dump");
    command.args(["--format=custom", "--dbname", database]).args(options);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Restores into a database, from `archive` through a pipe or from a file that the options name. The first error
/// ends it.
pub(crate) async fn restore(
    major: u32,
    server: &ThrowawayServer,
    database: &str,
    options: &[&str],
    archive: Option<Vec<u8>>,
) {
    let mut command = client_of(server, major, "pg_restore");
    command.args(["--exit-on-error", "--dbname", database]).args(options);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let shown = format!("{command:?}");
    let output = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || {
            // pg_restore does not read on when it has all that it wants.
            let _ = archive.map(|archive| stdin.write_all(&archive));
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output
    });
    let output = output.await.unwrap();
    assert!(output.status.success(), "{shown}: {}", String::from_utf8_lossy(&output.stderr));
}
