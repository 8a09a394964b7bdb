//! PostgreSQL on a host: started and killed whole, and made a standby of another again.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use erpgo_dr_core::postgres::{ConnectionSettings, SslMode};
use erpgo_dr_testkit::postgres::{SUPERUSER, give_to_postgres, postgres_bin};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::host::Host;

/// How long to wait for what happens by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// What every server is set to: small segments, and a standby that notices within seconds that nothing comes any more.
const SETTINGS: &str = "
fsync = on
wal_log_hints = on
shared_buffers = '16MB'
max_wal_size = '16MB'
min_wal_size = '2MB'
wal_keep_size = '48MB'
wal_receiver_timeout = '4s'
wal_sender_timeout = '4s'
wal_retrieve_retry_interval = '500ms'
";

/// A server of a host. Also other processes can act on it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Server {
    /// Where it runs.
    pub host: Host,
    /// Its folder: the data directory, the socket, its log and marks of what is wrong with its host.
    pub folder: PathBuf,
    port: u16,
    bin: PathBuf,
    log_on: PathBuf,
}

impl Server {
    /// Prepares a server in a folder of its own, without a cluster.
    ///
    /// # Errors
    /// If the folder cannot be made, or there is no free port.
    pub fn new(host: &Host, folder: &Path, major: u32) -> io::Result<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let folder = folder.join(&host.name);
        let log_on = folder.join("wal");
        for folder in [&folder, &log_on] {
            fs::create_dir_all(folder)?;
            give_to_postgres(folder);
        }
        Ok(Self { host: host.clone(), folder, port, bin: postgres_bin(major), log_on })
    }

    /// Has the write-ahead log of clusters that are made from now on lie in another folder, which `postgres` may write to.
    pub fn keep_log_on(&mut self, folder: &Path) {
        self.log_on = folder.to_owned();
    }

    /// Makes a cluster.
    ///
    /// # Errors
    /// If initdb fails.
    pub fn init(&self) -> io::Result<()> {
        let mut initdb = self.program("initdb");
        initdb.args([
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--auth=trust",
            "--wal-segsize=1",
            "-U",
            SUPERUSER,
        ]);
        initdb.arg("-X").arg(self.log_folder()?).arg("-D").arg(self.data());
        succeed(initdb)?;
        let configuration = self.data().join("postgresql.conf");
        fs::write(&configuration, fs::read_to_string(&configuration)? + SETTINGS)?;
        let everybody = "local all all trust\nhost all all 0.0.0.0/0 trust\nhost replication all 0.0.0.0/0 trust\n";
        fs::write(self.data().join("pg_hba.conf"), everybody)
    }

    /// Makes it a standby of another server by copying that.
    ///
    /// # Errors
    /// If pg_basebackup fails.
    pub fn copy(&self, primary: &Self) -> io::Result<()> {
        if self.data().exists() {
            fs::remove_dir_all(self.data())?;
        }
        let mut copy = self.program("pg_basebackup");
        copy.args(["-R", "-c", "fast", "-X", "stream", "--waldir"]).arg(self.log_folder()?);
        copy.arg("-d").arg(primary.conninfo()).arg("-D").arg(self.data());
        succeed(copy)?;
        self.forget_standbys()
    }

    /// Makes it a standby of another server by taking back what that one does not have.
    ///
    /// # Errors
    /// If pg_rewind fails, as it does where the data directory is damaged.
    pub fn rewind(&self, primary: &Self) -> io::Result<()> {
        let mut rewind = self.program("pg_rewind");
        rewind.args(["-R", "--source-server"]).arg(format!("{} dbname=postgres", primary.conninfo()));
        rewind.arg("-D").arg(self.data());
        succeed(rewind)?;
        self.forget_standbys()
    }

    /// Starts it, and waits until it takes connections.
    ///
    /// # Errors
    /// If it does not.
    pub fn start(&self) -> io::Result<()> {
        let mut start = self.program("pg_ctl");
        let options =
            format!("-c listen_addresses={} -p {} -k {}", self.host.address, self.port, self.folder.display());
        start.arg("-D").arg(self.data()).arg("-l").arg(self.folder.join("log")).arg("-o").arg(options);
        start.args(["-w", "-t", "30", "start"]);
        succeed(start).map_err(|error| io::Error::other(format!("{error}; its log ends: {}", self.log())))
    }

    /// Stops it in order: with a checkpoint, when its standby has everything.
    ///
    /// # Errors
    /// If it does not end.
    pub fn stop(&self) -> io::Result<()> {
        let mut stop = self.program("pg_ctl");
        stop.arg("-D").arg(self.data()).args(["-m", "fast", "-w", "-t", "60", "stop"]);
        succeed(stop)
    }

    /// Starts it as a standby of another server, which has all that it has.
    ///
    /// # Errors
    /// If it does not start.
    pub fn follow(&self, primary: &Self) -> io::Result<()> {
        let (signal, settings) = (self.data().join("standby.signal"), self.data().join("postgresql.auto.conf"));
        let own = format!("primary_conninfo = '{}'\nsynchronous_standby_names = ''\n", primary.conninfo());
        fs::write(&settings, fs::read_to_string(&settings)? + &own)?;
        fs::write(&signal, "")?;
        give_to_postgres(&signal);
        self.start()
    }

    /// Kills the postmaster and all of its processes, as the loss of a host does.
    pub fn kill(&self) {
        let Some(postmaster) = self.postmaster() else { return };
        let mut all = children(postmaster);
        all.insert(0, postmaster);
        for pid in all.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            // One that has ended already is not there to be killed.
            let _ = kill_process(pid, Signal::KILL);
        }
        let begun = Instant::now();
        while all.iter().any(|pid| is_alive(*pid)) && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Runs a statement, and returns what it printed.
    ///
    /// # Errors
    /// If the server does not answer, or refuses.
    pub fn sql(&self, sql: &str) -> io::Result<String> {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.env("PGCONNECT_TIMEOUT", "5").arg("-h").arg(&self.folder).args(["-p", &self.port.to_string()]);
        psql.args(["-U", SUPERUSER, "-d", "postgres", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        Ok(String::from_utf8_lossy(&output_of(psql)?.stdout).trim_end().to_owned())
    }

    /// Waits until a question is answered with `t`.
    ///
    /// # Errors
    /// After a minute.
    pub fn wait_until(&self, question: &str) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            let answered = self.sql(question);
            match answered {
                Ok(answer) if answer == "t" => return Ok(()),
                answer if begun.elapsed() > PATIENCE => {
                    let name = &self.host.name;
                    return Err(io::Error::other(format!("{name}: {question}: {answer:?}; its log: {}", self.log())));
                }
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Has commits wait for the standby, or for nobody.
    ///
    /// # Errors
    /// If the server does not answer.
    pub fn wait_for_standby(&self, wait: bool) -> io::Result<()> {
        let names = if wait { "*" } else { "" };
        self.sql(&format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'"))?;
        self.sql("SELECT pg_reload_conf()").map(drop)
    }

    /// Returns how the server is reached over the network.
    pub fn settings(&self) -> ConnectionSettings {
        let settings = ConnectionSettings::new(self.host.address.to_string()).port(self.port);
        settings.user(SUPERUSER).database("postgres").ssl_mode(SslMode::Disable)
    }

    /// Returns how the server is reached on its socket, also where its host is cut off.
    pub fn socket(&self) -> ConnectionSettings {
        ConnectionSettings::new(self.folder.display().to_string()).port(self.port).user(SUPERUSER).database("postgres")
    }

    /// Returns how the server is reached over the network, as text.
    pub fn url(&self) -> String {
        format!("postgresql://{SUPERUSER}@{}:{}/postgres?sslmode=disable", self.host.address, self.port)
    }

    /// Returns its data directory.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Returns the end of its log.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Returns the process number of its postmaster, if that runs.
    pub fn postmaster(&self) -> Option<i32> {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).ok()?;
        text.lines().next()?.trim().parse().ok().filter(|pid| is_alive(*pid))
    }

    fn conninfo(&self) -> String {
        format!("host={} port={} user={SUPERUSER}", self.host.address, self.port)
    }

    fn program(&self, name: &str) -> Command {
        let mut command = self.host.command(&self.bin.join(name));
        command.current_dir("/");
        command
    }

    /// Returns a folder for the log of a new cluster, which is empty.
    fn log_folder(&self) -> io::Result<PathBuf> {
        let folder = self.log_on.join("log");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        Ok(folder)
    }

    /// A standby that is promoted waits for nobody.
    fn forget_standbys(&self) -> io::Result<()> {
        let file = self.data().join("postgresql.auto.conf");
        fs::write(&file, fs::read_to_string(&file)? + "synchronous_standby_names = ''\n")
    }
}

fn succeed(command: Command) -> io::Result<()> {
    output_of(command).map(drop)
}

fn output_of(mut command: Command) -> io::Result<Output> {
    let name = format!("{:?}", command.get_args().chain([command.get_program()]).collect::<Vec<_>>());
    let output = command.output()?;
    match output.status.success() {
        true => Ok(output),
        false => Err(io::Error::other(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()))),
    }
}

fn children(of: i32) -> Vec<i32> {
    let listed = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// A process that has ended is there until its parent has noticed.
fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}
