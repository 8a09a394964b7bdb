//! A server of a drill: it lives in a throwaway folder, takes writes or follows another one of the same drill, and is stopped, started
//! and killed by command lines, as a runbook has them.
//!
//! What it must not do stands on its command line, which neither its files nor `ALTER SYSTEM` override. It has a socket in its own
//! folder and no address, archives nothing, and where the kernel allows it has no network either.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::super::ConnectionSettings;
use super::super::launch::Launch;
use super::super::{ClientPrograms, quoting};
use super::folder::{stop_leftover, works_in};
use super::restored::ThrowawayFolder;
use super::seal::{NetworkSeal, as_account};
use super::server::{PRIVATE, SOCKET_PORT, ThrowawayConnection, server_settings, write_private};
use super::{PostgresError, blocking, file_error};

/// Who may connect: whoever gets to the socket, whose folder lets nobody else in.
const ACCESS: &str = "local all all trust\nlocal replication all trust\n";
/// Seconds that a start or a stop may take.
const PATIENCE: &str = "120";
/// How long a server that was killed may take to be gone.
const GONE: Duration = Duration::from_secs(30);

/// A server of a drill. Dropping it stops it at once, blocks meanwhile, and removes its folder.
#[derive(Debug)]
pub(crate) struct RehearsalServer {
    place: ThrowawayFolder,
    launch: Launch,
    prefix: Vec<String>,
    connection: ThrowawayConnection,
}

impl RehearsalServer {
    /// Prepares a server on a folder whose cluster has recovered and is down. `synchronous` has its commits wait for a standby.
    ///
    /// # Errors
    /// [`PostgresError::File`]; [`PostgresError::Throwaway`] for root without the program `setpriv`.
    pub(crate) async fn primary(
        place: ThrowawayFolder,
        programs: &ClientPrograms,
        seal: Option<&NetworkSeal>,
        synchronous: bool,
    ) -> Result<Self, PostgresError> {
        let server = Self::on(place, programs, seal)?;
        server.configure(synchronous, None).await?;
        Ok(server)
    }

    /// Copies a server that runs into an empty folder, and prepares a standby of it.
    ///
    /// # Errors
    /// [`PostgresError::Program`] of `pg_basebackup`; [`PostgresError::File`].
    pub(crate) async fn standby_of(
        primary: &Self,
        place: ThrowawayFolder,
        programs: &ClientPrograms,
        seal: Option<&NetworkSeal>,
    ) -> Result<Self, PostgresError> {
        let server = Self::on(place, programs, seal)?;
        let copy = primary.launch.folder.join("pg_basebackup").display().to_string();
        let mut line = server.line(&copy);
        let words = ["--no-password", "--no-sync", "--checkpoint=fast", "--wal-method=stream"].map(str::to_owned);
        line.extend(words);
        line.push(format!("--pgdata={}", server.launch.data.display()));
        for (from, to) in primary.tablespaces(&server) {
            line.push(format!("--tablespace-mapping={}={}", from.display(), to.display()));
        }
        let invocation = programs.invoke(Path::new(&line[0])).connection(&primary.settings("postgres"));
        invocation.arguments(&line[1..]).output().await?;
        server.configure(false, Some(&primary.connection)).await?;
        Ok(server)
    }

    fn on(
        place: ThrowawayFolder,
        programs: &ClientPrograms,
        seal: Option<&NetworkSeal>,
    ) -> Result<Self, PostgresError> {
        let path = place.folder.path().to_owned();
        let connection = ThrowawayConnection {
            socket_folder: path.clone(),
            port: SOCKET_PORT,
            user: place.options.superuser.clone(),
            password: None,
        };
        let prefix = match (seal, place.account) {
            (Some(seal), _) => seal.prefix().to_vec(),
            (None, None) => Vec::new(),
            (None, Some(account)) => as_account(account).ok_or_else(|| {
                PostgresError::Throwaway("the program setpriv is needed to start a server as another account".into())
            })?,
        };
        let file = |name: &str| path.join(name).display().to_string();
        let mut settings: Vec<(String, String)> = [
            ("config_file", file("settings.conf")),
            ("hba_file", file("hba.conf")),
            ("ident_file", file("ident.conf")),
            ("listen_addresses", String::new()),
            ("port", SOCKET_PORT.to_string()),
            ("unix_socket_directories", path.display().to_string()),
            ("archive_command", String::new()),
            ("max_logical_replication_workers", "0".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        settings.extend(PRIVATE.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let launch = Launch {
            programs: programs.clone(),
            folder: place.options.programs.clone(),
            data: place.folder.data(),
            // Of its own: the folder's log is root's, where root made it, and the account could not write to that.
            log: path.join("server.log"),
            account: place.account,
            settings,
            environment: Vec::new(),
        };
        Ok(Self { place, launch, prefix, connection })
    }

    /// Writes its configuration, and leaves nothing of the one that was restored.
    async fn configure(&self, synchronous: bool, follows: Option<&ThrowawayConnection>) -> Result<(), PostgresError> {
        let mut options = self.place.options.clone();
        options.tcp = false;
        for (name, value) in [
            ("hot_standby", "on"),
            ("max_prepared_transactions", "1000"),
            ("max_replication_slots", "10"),
            ("max_wal_senders", "10"),
            ("synchronous_commit", "on"),
            ("synchronous_standby_names", if synchronous { "*" } else { "" }),
            ("wal_keep_size", "1GB"),
            ("wal_level", "replica"),
            ("wal_receiver_timeout", "5s"),
            ("wal_retrieve_retry_interval", "200ms"),
        ] {
            options = options.setting(name, value);
        }
        let settings = server_settings(&options, &self.connection)?;
        let own = match follows {
            None => String::new(),
            Some(primary) => {
                let words = [
                    quoting::conninfo("host", &primary.socket_folder.display().to_string()),
                    quoting::conninfo("port", &primary.port.to_string()),
                    quoting::conninfo("user", &primary.user),
                ];
                let value = words.join(" ").replace('\\', r"\\").replace('\'', "''");
                format!("primary_conninfo = '{value}'\n")
            }
        };
        let (path, data, account) = (self.place.folder.path().to_owned(), self.launch.data.clone(), self.place.account);
        let is_standby = follows.is_some();
        blocking(move || {
            write_private(&path.join("settings.conf"), &settings, account)?;
            write_private(&path.join("hba.conf"), ACCESS, account)?;
            write_private(&path.join("ident.conf"), "", account)?;
            write_private(&data.join("postgresql.auto.conf"), &own, account)?;
            if is_standby {
                write_private(&data.join("standby.signal"), "", account)?;
            }
            Ok(())
        })
        .await
    }

    /// Returns where its tablespaces lie, and where they belong beside another server of the drill.
    fn tablespaces(&self, other: &Self) -> Vec<(PathBuf, PathBuf)> {
        let entries = fs::read_dir(self.place.folder.path()).into_iter().flatten().flatten();
        let named = entries.filter_map(|entry| {
            let name = entry.file_name().to_str()?.strip_prefix("tablespace-")?.parse().ok()?;
            Some((entry.path(), other.place.tablespace(name)))
        });
        named.collect()
    }

    /// Returns the folder that it and its socket lie in.
    pub(crate) fn folder(&self) -> &Path {
        self.place.folder.path()
    }

    /// Returns how to reach a database of it.
    pub(crate) fn settings(&self, database: &str) -> ConnectionSettings {
        ConnectionSettings::new(self.connection.socket_folder.display().to_string())
            .port(self.connection.port)
            .user(&self.connection.user)
            .database(database)
    }

    /// Returns where it writes what happens.
    pub(crate) fn log(&self) -> &Path {
        &self.launch.log
    }

    /// Returns the command line that starts it, and ends when it answers.
    pub(crate) fn start_line(&self) -> Vec<String> {
        self.started_by("start")
    }

    /// Returns the command line that stops it, and starts it again.
    pub(crate) fn restart_line(&self) -> Vec<String> {
        self.started_by("restart")
    }

    /// Returns the command line that stops it in order.
    pub(crate) fn stop_line(&self) -> Vec<String> {
        let mut line = self.control("stop");
        line.extend(["-m".to_owned(), "fast".to_owned()]);
        line
    }

    fn started_by(&self, order: &str) -> Vec<String> {
        let mut line = self.control(order);
        line.extend(["-l".to_owned(), self.launch.log.display().to_string(), "-o".to_owned(), self.launch.options()]);
        line
    }

    fn control(&self, order: &str) -> Vec<String> {
        let mut line = self.line(&self.launch.folder.join("pg_ctl").display().to_string());
        line.extend([order, "-s", "-w", "-t", PATIENCE, "-D"].map(str::to_owned));
        line.push(self.launch.data.display().to_string());
        line
    }

    /// Returns the beginning of a command line: a program, as the account of the server.
    fn line(&self, program: &str) -> Vec<String> {
        self.prefix.iter().cloned().chain([program.to_owned()]).collect()
    }

    /// Starts it, and returns when it answers.
    ///
    /// # Errors
    /// [`PostgresError::Program`] with the end of its log.
    pub(crate) async fn start(&self) -> Result<(), PostgresError> {
        let line = self.start_line();
        let begun = std::time::SystemTime::now();
        let started = self.launch.programs.invoke(Path::new(&line[0])).arguments(&line[1..]).output().await;
        started.map(drop).map_err(|error| match error {
            PostgresError::Program { program, status, stderr } => {
                let stderr = format!("{stderr}\n{}", self.launch.log_tail(begun));
                PostgresError::Program { program, status, stderr }
            }
            other => other,
        })
    }

    /// Returns its process, where it runs.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.launch.postmaster().map(|found| found.pid)
    }

    /// Kills it, as the power does that fails, and returns the process that it was.
    ///
    /// # Errors
    /// [`PostgresError::Throwaway`] where it does not run, or is not gone.
    pub(crate) async fn kill(&self) -> Result<i32, PostgresError> {
        let data = self.launch.data.clone();
        let number = self.pid();
        let pid = number.and_then(Pid::from_raw).filter(|pid| works_in(*pid, &data));
        let (Some(number), Some(pid)) = (number, pid) else {
            return Err(PostgresError::Throwaway(format!("no server runs in {}", data.display())));
        };
        let _ = kill_process(pid, Signal::KILL);
        let deadline = Instant::now() + GONE;
        while works_in(pid, &data) {
            if Instant::now() >= deadline {
                return Err(PostgresError::Throwaway(format!("the server in {} does not end", data.display())));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(number)
    }

    /// Has its disk fail: it cannot be started again. It must be down.
    ///
    /// # Errors
    /// [`PostgresError::File`].
    pub(crate) async fn lose_disk(&self) -> Result<(), PostgresError> {
        let (control, pid) = (self.launch.data.join("global/pg_control"), self.launch.data.join("postmaster.pid"));
        blocking(move || {
            fs::write(&control, b"lost").map_err(file_error(&control, "write"))?;
            // Else whoever starts it would wait for a process that nobody has taken notice of.
            match fs::remove_file(&pid) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(file_error(&pid, "remove")(error)),
                _ => Ok(()),
            }
        })
        .await
    }

    /// Stops it at once, and removes its folder.
    pub(crate) async fn remove(self) -> Result<(), PostgresError> {
        blocking(move || {
            drop(self);
            Ok(())
        })
        .await
    }
}

impl Drop for RehearsalServer {
    fn drop(&mut self) {
        if let Err(error) = stop_leftover(&self.launch.data) {
            tracing::warn!(data = %self.launch.data.display(), %error, "a server of a drill runs on");
        }
    }
}
