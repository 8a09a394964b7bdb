//! A throwaway server on files that were restored, instead of a new cluster.
//!
//! What is restored was made to serve others: it has addresses, archives, subscriptions, libraries. Nothing of that may come
//! alive here, so the server takes its configuration from us alone, and what could reach out is set on its command line, which
//! nothing in its files can override.

use std::path::PathBuf;

use super::folder::RunFolder;
use super::options::{RunAs, ThrowawayOptions};
use super::process::Process;
use super::server::{
    PRIVATE, SOCKET_PORT, ThrowawayConnection, ThrowawayServer, access_rules, check_settings, check_superuser,
    server_settings, wait_until_ready, write_private,
};
use super::{PostgresError, blocking};

/// What a restored server must not do either: follow a primary, or run what fetches from or sends to other servers.
const INERT: [(&str, &str); 8] = [
    ("archive_command", ""),
    ("hot_standby", "off"),
    ("max_logical_replication_workers", "0"),
    ("primary_conninfo", ""),
    ("primary_slot_name", ""),
    ("synchronous_standby_names", ""),
    ("wal_level", "replica"),
    ("max_prepared_transactions", "1000"),
];

/// A folder that a cluster is restored into, to be started for as long as it is looked at.
#[derive(Debug)]
pub struct ThrowawayFolder {
    folder: RunFolder,
    options: ThrowawayOptions,
    account: Option<RunAs>,
}

impl ThrowawayFolder {
    /// Makes an empty folder under the scratch folder.
    ///
    /// # Errors
    /// As [`ThrowawayServer::start`].
    pub async fn create(options: ThrowawayOptions) -> Result<Self, PostgresError> {
        check_superuser(&options.superuser)?;
        check_settings(&options.settings)?;
        blocking(move || {
            let account = options.resolve_account()?;
            let folder = RunFolder::create(&options.scratch, account)?;
            Ok(Self { folder, options, account })
        })
        .await
    }

    /// Returns where the data directory belongs. It does not exist yet.
    pub fn data(&self) -> PathBuf {
        self.folder.data()
    }

    /// Returns a folder of its own for a tablespace. It does not exist yet.
    pub fn tablespace(&self, oid: u32) -> PathBuf {
        self.folder.path().join(format!("tablespace-{oid}"))
    }

    /// Returns the account that must own the files; `None` is the caller's own.
    pub fn account(&self) -> Option<RunAs> {
        self.account
    }

    /// Starts the server on what was restored, and waits until it has recovered and answers.
    ///
    /// # Errors
    /// As [`ThrowawayServer::start`]. The folder is gone then.
    pub async fn start(self) -> Result<ThrowawayServer, PostgresError> {
        let Self { folder, options, account } = self;
        let connection = ThrowawayConnection {
            socket_folder: folder.path().to_owned(),
            port: SOCKET_PORT,
            user: options.superuser.clone(),
            password: None,
        };
        let options = ThrowawayOptions { tcp: false, ..options };
        let settings = server_settings(&options, &connection)?;
        let timeout = options.start_timeout;
        let (folder, mut process) = blocking(move || {
            let process = launch(&folder, &options, &settings, account)?;
            Ok((folder, process))
        })
        .await?;
        wait_until_ready(&mut process, &connection, timeout).await?;
        Ok(ThrowawayServer { process, connection, folder })
    }
}

fn launch(
    folder: &RunFolder,
    options: &ThrowawayOptions,
    settings: &str,
    account: Option<RunAs>,
) -> Result<Process, PostgresError> {
    let file = |name: &str| folder.path().join(name);
    write_private(&file("settings.conf"), settings, account)?;
    write_private(&file("hba.conf"), access_rules(false), account)?;
    write_private(&file("ident.conf"), "", account)?;
    let mut arguments = vec!["-D".to_owned(), folder.data().display().to_string()];
    let mut set = |name: &str, value: &str| arguments.extend(["-c".to_owned(), format!("{name}={value}")]);
    for (name, path) in [("config_file", "settings.conf"), ("hba_file", "hba.conf"), ("ident_file", "ident.conf")] {
        set(name, &file(path).display().to_string());
    }
    for (name, value) in PRIVATE.into_iter().chain(INERT) {
        set(name, value);
    }
    set("listen_addresses", "");
    set("port", &SOCKET_PORT.to_string());
    set("unix_socket_directories", &folder.path().display().to_string());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let program = options.programs.join("postgres");
    Process::start(&program, &arguments, &options.environment, folder.path(), &folder.log(), account)
}
