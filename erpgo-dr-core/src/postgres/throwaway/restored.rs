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
    server_settings, shut_down, wait_until_ready, write_private,
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
    pub(super) folder: RunFolder,
    pub(super) options: ThrowawayOptions,
    pub(super) account: Option<RunAs>,
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

    /// Makes an empty cluster in the folder.
    ///
    /// # Errors
    /// As [`ThrowawayServer::start`]. The folder is gone then.
    #[cfg(feature = "runbooks")]
    pub(crate) async fn initialize(self) -> Result<Self, PostgresError> {
        let Self { folder, options, account } = self;
        let options = ThrowawayOptions { tcp: false, ..options };
        let (folder, options) = super::server::initialize(folder, options, account, None).await?;
        Ok(Self { folder, options, account })
    }

    /// Sets the superuser of what is restored from now on.
    ///
    /// # Errors
    /// [`PostgresError::InvalidOptions`].
    pub(crate) fn set_superuser(&mut self, name: &str) -> Result<(), PostgresError> {
        check_superuser(name)?;
        name.clone_into(&mut self.options.superuser);
        Ok(())
    }

    /// Starts the server on what was restored, and waits until it has recovered and answers.
    ///
    /// # Errors
    /// As [`ThrowawayServer::start`]. The folder is gone then.
    pub async fn start(self) -> Result<ThrowawayServer, PostgresError> {
        let ThrowawayRun { process, connection } = self.run().await?;
        Ok(ThrowawayServer { process, connection, folder: self.folder })
    }

    /// As [`start`](Self::start), and the folder stays, to be restored over when the server is down again.
    ///
    /// # Errors
    /// As [`ThrowawayServer::start`].
    pub(crate) async fn run(&self) -> Result<ThrowawayRun, PostgresError> {
        let (path, account) = (self.folder.path().to_owned(), self.account);
        let connection = ThrowawayConnection {
            socket_folder: path.clone(),
            port: SOCKET_PORT,
            user: self.options.superuser.clone(),
            password: None,
        };
        let options = ThrowawayOptions { tcp: false, ..self.options.clone() };
        let settings = server_settings(&options, &connection)?;
        let timeout = options.start_timeout;
        let (data, log) = (self.folder.data(), self.folder.log());
        let place = Place { path, data, log };
        let mut process = blocking(move || launch(&place, &options, &settings, account)).await?;
        wait_until_ready(&mut process, &connection, timeout).await?;
        Ok(ThrowawayRun { process, connection })
    }

    /// Removes the folder, whose server must be down.
    pub(crate) async fn remove(self) -> Result<(), PostgresError> {
        blocking(move || {
            drop(self);
            Ok(())
        })
        .await
    }
}

/// A server on a [`ThrowawayFolder`], which must outlive it. Dropping it stops it, and blocks for up to three seconds to do so.
#[derive(Debug)]
pub(crate) struct ThrowawayRun {
    process: Process,
    connection: ThrowawayConnection,
}

impl ThrowawayRun {
    /// Returns how to reach it.
    pub(crate) fn connection(&self) -> &ThrowawayConnection {
        &self.connection
    }

    /// Stops the server, and leaves its folder.
    ///
    /// # Errors
    /// As [`ThrowawayServer::stop`].
    pub(crate) async fn stop(mut self) -> Result<(), PostgresError> {
        let outcome = shut_down(&mut self.process).await;
        blocking(move || {
            drop(self);
            Ok(())
        })
        .await?;
        outcome
    }
}

/// Where a server's files lie.
struct Place {
    path: PathBuf,
    data: PathBuf,
    log: PathBuf,
}

fn launch(
    place: &Place,
    options: &ThrowawayOptions,
    settings: &str,
    account: Option<RunAs>,
) -> Result<Process, PostgresError> {
    let file = |name: &str| place.path.join(name);
    write_private(&file("settings.conf"), settings, account)?;
    write_private(&file("hba.conf"), access_rules(false), account)?;
    write_private(&file("ident.conf"), "", account)?;
    let mut arguments = vec!["-D".to_owned(), place.data.display().to_string()];
    let mut set = |name: &str, value: &str| arguments.extend(["-c".to_owned(), format!("{name}={value}")]);
    for (name, path) in [("config_file", "settings.conf"), ("hba_file", "hba.conf"), ("ident_file", "ident.conf")] {
        set(name, &file(path).display().to_string());
    }
    for (name, value) in PRIVATE.into_iter().chain(INERT) {
        set(name, value);
    }
    set("listen_addresses", "");
    set("port", &SOCKET_PORT.to_string());
    set("unix_socket_directories", &place.path.display().to_string());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let program = options.programs.join("postgres");
    Process::start(&program, &arguments, &options.environment, &place.path, &place.log, account)
}
