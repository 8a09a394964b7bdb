//! Servers for these tests.

use std::path::PathBuf;

use erpgo_dr_core::postgres::throwaway::{ThrowawayOptions, ThrowawayServer};

pub(crate) const MAJORS: [u32; 3] = [15, 17, 18];

/// Finds the programs of a major version where `scripts/setup` puts them.
pub(crate) fn programs(major: u32) -> PathBuf {
    let services = std::env::var("ERPGO_DR_SERVICES").unwrap_or_else(|_| "/var/lib/erpgo-dr-services".to_owned());
    let mut folders = vec![PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"))];
    for python in std::fs::read_dir(format!("{services}/venv/lib")).into_iter().flatten().flatten() {
        for package in std::fs::read_dir(python.path().join("site-packages")).into_iter().flatten().flatten() {
            folders.push(package.path().join("pginstall/bin"));
        }
    }
    folders
        .into_iter()
        .find(|folder| version(folder) == Some(major))
        .unwrap_or_else(|| panic!("no PostgreSQL {major} here: run scripts/setup test"))
}

fn version(folder: &std::path::Path) -> Option<u32> {
    let output = std::process::Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().nth(2)?.split('.').next()?.parse().ok()
}

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
