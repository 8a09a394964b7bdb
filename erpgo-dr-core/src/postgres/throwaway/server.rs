//! The server: made, started, used, stopped.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use secrecy::{ExposeSecret, SecretString};

use super::folder::RunFolder;
use super::options::{RunAs, ThrowawayOptions};
use super::process::Process;
use super::{PostgresError, blocking, file_error};

/// The port in the socket's name when the server does not listen on TCP.
pub(super) const SOCKET_PORT: u16 = 5432;
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const LOG_LIMIT: u64 = 16 << 20;
const POLL: Duration = Duration::from_millis(20);
/// A free port may be taken by somebody else before the server binds to it.
const PORT_ATTEMPTS: usize = 5;

/// A running private server. [`stop`](Self::stop) it; dropping it stops it too, but blocks for up to three
/// seconds to do so, and reports nothing.
///
/// When the caller is killed the server stays behind: [`sweep`](super::sweep) finds and removes it.
#[derive(Debug)]
pub struct ThrowawayServer {
    // Dropped in this order: the process must be gone before its folder is.
    pub(super) process: Process,
    pub(super) connection: ThrowawayConnection,
    pub(super) folder: RunFolder,
}

/// How to reach a throwaway server.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ThrowawayConnection {
    /// The folder of its Unix socket: the `host` of a connection. Only the server's account and root can enter it.
    pub socket_folder: PathBuf,
    /// The port, of the socket's name and of TCP.
    pub port: u16,
    /// The superuser. The socket asks for no password.
    pub user: String,
    /// The superuser's password for 127.0.0.1, if the server listens there.
    pub password: Option<SecretString>,
}

impl ThrowawayServer {
    /// Makes a cluster, starts its server and waits until it answers. Takes about two seconds.
    ///
    /// # Errors
    /// [`PostgresError::InvalidOptions`] and [`PostgresError::Throwaway`] for options that cannot work here,
    /// [`PostgresError::Spawn`] when a program is not there, [`PostgresError::Program`] with the end of the
    /// log when it fails. Nothing is left behind then.
    pub async fn start(options: ThrowawayOptions) -> Result<Self, PostgresError> {
        check_superuser(&options.superuser)?;
        check_settings(&options.settings)?;
        let (options, account, folder) = blocking(move || {
            let account = options.resolve_account()?;
            let folder = RunFolder::create(&options.scratch, account)?;
            Ok((options, account, folder))
        })
        .await?;
        let password = options.tcp.then(random_password);
        let (folder, options) = initialize(folder, options, account, password.clone()).await?;
        let base = folder.path().to_owned();
        let mut connection =
            ThrowawayConnection { socket_folder: base, port: SOCKET_PORT, user: options.superuser.clone(), password };
        let mut attempt = 1;
        loop {
            if options.tcp {
                connection.port = free_port()?;
            }
            match launch(&folder, &options, account, &connection).await {
                Ok(process) => return Ok(Self { process, connection, folder }),
                Err(error) if options.tcp && attempt < PORT_ATTEMPTS && is_port_clash(&error) => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns how to reach it.
    pub fn connection(&self) -> &ThrowawayConnection {
        &self.connection
    }

    /// Returns the cluster's folder.
    pub fn data_directory(&self) -> PathBuf {
        self.folder.data()
    }

    /// Returns the pid of the server's main process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Returns whether its log says that its disk was full at some time. The first 16 MiB are looked at.
    pub async fn lacked_space(&self) -> bool {
        let log = self.folder.log();
        let looked = blocking(move || {
            let mut text = Vec::new();
            let opened = File::open(&log).and_then(|file| file.take(LOG_LIMIT).read_to_end(&mut text));
            opened.map_err(file_error(&log, "read"))?;
            Ok(String::from_utf8_lossy(&text).contains("No space left on device"))
        });
        looked.await.unwrap_or(false)
    }

    /// Stops the server (a fast shutdown, after 30 seconds an immediate one) and removes its folder.
    ///
    /// # Errors
    /// [`PostgresError::Program`] with the end of the log when the server had died before or did not stop
    /// cleanly. It and its folder are gone then, too.
    pub async fn stop(mut self) -> Result<(), PostgresError> {
        let outcome = shut_down(&mut self.process).await;
        blocking(move || {
            drop(self);
            Ok(())
        })
        .await?;
        outcome
    }
}

pub(super) async fn shut_down(process: &mut Process) -> Result<(), PostgresError> {
    if let Some(status) = process.ended()? {
        return Err(process.failure(&format!("had ended before: {status}")));
    }
    process.signal(Signal::INT);
    match process.wait(STOP_TIMEOUT).await? {
        Some(status) if status.success() => Ok(()),
        Some(status) => Err(process.failure(&status)),
        None => Err(process.failure(&format!("still running {STOP_TIMEOUT:?} after it was told to stop"))),
    }
}

/// `initdb` itself refuses names with these characters, but only at its end.
pub(super) fn check_superuser(name: &str) -> Result<(), PostgresError> {
    let unfit = |c: char| c.is_control() || matches!(c, '"' | '\'' | '$' | '\\');
    if name.is_empty() || name.len() > 63 || name.contains(unfit) || name.starts_with("pg_") {
        return Err(PostgresError::InvalidOptions(format!("{name:?} cannot name a superuser")));
    }
    Ok(())
}

fn random_password() -> SecretString {
    SecretString::from(hex::encode(rand::random::<[u8; 16]>()))
}

fn free_port() -> Result<u16, PostgresError> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    bound.map(|address| address.port()).map_err(|error| PostgresError::Throwaway(format!("no free port: {error}")))
}

fn is_port_clash(error: &PostgresError) -> bool {
    matches!(error, PostgresError::Program { stderr, .. } if stderr.contains("could not create any TCP/IP sockets"))
}

/// Runs `initdb` and writes who may connect.
pub(super) async fn initialize(
    folder: RunFolder,
    options: ThrowawayOptions,
    account: Option<RunAs>,
    password: Option<SecretString>,
) -> Result<(RunFolder, ThrowawayOptions), PostgresError> {
    let (folder, options, mut process) = blocking(move || {
        let password_file = folder.path().join("password");
        let mut arguments = vec![
            format!("--pgdata={}", folder.data().display()),
            format!("--username={}", options.superuser),
            format!("--locale={}", options.locale),
            format!("--encoding={}", options.encoding),
            "--auth=trust".to_owned(),
            "--no-sync".to_owned(),
            "--no-instructions".to_owned(),
        ];
        if options.data_checksums {
            arguments.push("--data-checksums".to_owned());
        }
        if let Some(password) = &password {
            write_private(&password_file, password.expose_secret(), account)?;
            arguments.push(format!("--pwfile={}", password_file.display()));
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let program = options.programs.join("initdb");
        let process = Process::start(&program, &arguments, &[], folder.path(), &folder.log(), account)?;
        Ok((folder, options, process))
    })
    .await?;
    match process.wait(options.start_timeout).await? {
        Some(status) if status.success() => {}
        Some(status) => return Err(process.failure(&status)),
        None => return Err(process.failure(&format!("still running after {:?}", options.start_timeout))),
    }
    blocking(move || {
        let password_file = folder.path().join("password");
        if password_file.exists() {
            fs::remove_file(&password_file).map_err(file_error(&password_file, "remove"))?;
        }
        let rules = folder.data().join("pg_hba.conf");
        fs::write(&rules, access_rules(options.tcp)).map_err(file_error(&rules, "write"))?;
        Ok((folder, options))
    })
    .await
}

/// The socket lies in a folder of mode 0700, and asks nobody who gets there.
pub(super) fn access_rules(tcp: bool) -> &'static str {
    if tcp { "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n" } else { "local all all trust\n" }
}

/// Starts the server and waits until it answers.
async fn launch(
    folder: &RunFolder,
    options: &ThrowawayOptions,
    account: Option<RunAs>,
    connection: &ThrowawayConnection,
) -> Result<Process, PostgresError> {
    let settings = server_settings(options, connection)?;
    let (base, data, log) = (folder.path().to_owned(), folder.data(), folder.log());
    let program = options.programs.join("postgres");
    let mut process = blocking(move || {
        let path = base.join("settings.conf");
        write_private(&path, &settings, account)?;
        include_settings(&data, &path)?;
        let arguments = ["-D", &data.to_string_lossy()];
        Process::start(&program, &arguments, &[], &base, &log, account)
    })
    .await?;
    wait_until_ready(&mut process, connection, options.start_timeout).await?;
    Ok(process)
}

/// What keeps the server private, besides its addresses: nothing is loaded, archived or logged elsewhere.
pub(super) const PRIVATE: [(&str, &str); 9] = [
    ("archive_mode", "off"),
    ("local_preload_libraries", ""),
    ("log_destination", "stderr"),
    ("logging_collector", "off"),
    ("restart_after_crash", "off"),
    ("session_preload_libraries", ""),
    ("shared_preload_libraries", ""),
    ("ssl", "off"),
    ("unix_socket_permissions", "0700"),
];
const ADDRESSES: [&str; 3] = ["listen_addresses", "port", "unix_socket_directories"];

pub(super) fn check_settings(settings: &BTreeMap<String, String>) -> Result<(), PostgresError> {
    for (name, value) in settings {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        if name.is_empty() || !name.chars().all(plain) || value.contains(['\n', '\r', '\0']) {
            return Err(PostgresError::InvalidOptions(format!("not a setting: {name:?} = {value:?}")));
        }
        let mut reserved = PRIVATE.iter().map(|(name, _)| *name).chain(ADDRESSES);
        if reserved.any(|reserved| reserved.eq_ignore_ascii_case(name)) {
            return Err(PostgresError::InvalidOptions(format!("a throwaway server sets {name} itself")));
        }
    }
    Ok(())
}

/// Writes the parameters as lines of a configuration file.
pub(super) fn server_settings(
    options: &ThrowawayOptions,
    connection: &ThrowawayConnection,
) -> Result<String, PostgresError> {
    let socket_folder = path_text(&connection.socket_folder)?;
    let mut text = String::new();
    for (name, value) in &options.settings {
        push_setting(&mut text, name, value);
    }
    for (name, value) in PRIVATE {
        push_setting(&mut text, name, value);
    }
    push_setting(&mut text, "listen_addresses", if options.tcp { "127.0.0.1" } else { "" });
    push_setting(&mut text, "port", &connection.port.to_string());
    push_setting(&mut text, "unix_socket_directories", &socket_folder);
    Ok(text)
}

fn push_setting(text: &mut String, name: &str, value: &str) {
    let quoted = value.replace('\\', "\\\\").replace('\'', "''");
    writeln!(text, "{name} = '{quoted}'").expect("a string takes all that is written to it");
}

fn path_text(path: &Path) -> Result<String, PostgresError> {
    let text = path.to_str().filter(|text| !text.contains([',', '"', '\n', '\'']));
    text.map(str::to_owned).ok_or_else(|| {
        PostgresError::InvalidOptions(format!("no socket can be made in a folder of this name: {}", path.display()))
    })
}

/// Includes the file of settings at the end of what `initdb` wrote, once.
fn include_settings(data: &Path, settings: &Path) -> Result<(), PostgresError> {
    let path = data.join("postgresql.conf");
    let line = format!("\ninclude '{}'\n", path_text(settings)?);
    let text = fs::read_to_string(&path).map_err(file_error(&path, "read"))?;
    if text.ends_with(&line) {
        return Ok(());
    }
    let mut file = File::options().append(true).open(&path).map_err(file_error(&path, "open"))?;
    file.write_all(line.as_bytes()).map_err(file_error(&path, "write"))
}

pub(super) fn write_private(path: &Path, text: &str, account: Option<RunAs>) -> Result<(), PostgresError> {
    let mut open = File::options();
    open.write(true).create(true).truncate(true).mode(0o600);
    let mut file = open.open(path).map_err(file_error(path, "create"))?;
    file.write_all(text.as_bytes()).map_err(file_error(path, "write"))?;
    match account {
        Some(account) => {
            chown(path, Some(account.uid), Some(account.gid)).map_err(file_error(path, "change the owner"))
        }
        None => Ok(()),
    }
}

pub(super) async fn wait_until_ready(
    process: &mut Process,
    connection: &ThrowawayConnection,
    timeout: Duration,
) -> Result<(), PostgresError> {
    let mut config = tokio_postgres::Config::new();
    config
        .host_path(&connection.socket_folder)
        .port(connection.port)
        .user(&connection.user)
        .dbname("template1")
        .connect_timeout(Duration::from_secs(5));
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(status) = process.ended()? {
            return Err(process.failure(&status));
        }
        match config.connect(tokio_postgres::NoTls).await {
            // Both halves are dropped: the connection is closed at once.
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= deadline => {
                return Err(process.failure(&format!("does not answer after {timeout:?}: {error}")));
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}
