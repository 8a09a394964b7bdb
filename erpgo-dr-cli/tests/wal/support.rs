//! A repository of the user under whom PostgreSQL runs, and servers that archive into it and recover from it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use erpgo_dr_testkit::postgres::{PgServer, PgServerOptions, give_to_postgres};

/// A folder of the server's user: a key, a configuration and a repository.
pub(crate) struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    /// Makes a repository in a folder beside the configuration.
    pub(crate) fn new() -> Self {
        let site = Self::bare();
        site.configure("");
        site.init();
        site
    }

    /// Makes a key, and nothing else.
    pub(crate) fn bare() -> Self {
        let folder = tempfile::tempdir().unwrap();
        give_to_postgres(folder.path());
        let site = Self { folder };
        assert_eq!(site.run(&["key", "generate", site.path("key.txt").to_str().unwrap()]).0, 0);
        site
    }

    pub(crate) fn init(&self) {
        let text = std::fs::read_to_string(self.path("key.txt")).unwrap();
        let recipient = text.lines().find_map(|line| line.split_once("public key: ")).unwrap().1.to_owned();
        let (code, text) = self.erpgo(&["init", "--recipient", &recipient]);
        assert_eq!(code, 0, "{text}");
    }

    pub(crate) fn configure(&self, more: &str) {
        let address = self.path("repository").display().to_string();
        self.configure_at(&address, more);
    }

    /// Writes the configuration: the address of the repository, the key, and then `more`.
    pub(crate) fn configure_at(&self, address: &str, more: &str) {
        let key = self.path("key.txt");
        let text = format!("repository = \"{address}\"\n[keys]\nidentities = [\"{}\"]\n{more}\n", key.display());
        std::fs::write(self.path("erpgo-dr.toml"), text).unwrap();
        give_to_postgres(&self.path("erpgo-dr.toml"));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the binary with the configuration, as the server's user.
    pub(crate) fn erpgo(&self, arguments: &[&str]) -> (i32, String) {
        let config = self.path("erpgo-dr.toml").display().to_string();
        self.run(&[&["--config", &config], arguments].concat())
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let (_, text) = self.erpgo(&[arguments, &["--json"]].concat());
        // Behind it come warnings, from the other stream.
        let first = serde_json::Deserializer::from_str(&text).into_iter().next();
        first.and_then(Result::ok).unwrap_or_else(|| panic!("{arguments:?}: {text}"))
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> (i32, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        (status.code().unwrap_or(-1), text)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = erpgo_dr_testkit::unprivileged(Path::new(env!("CARGO_BIN_EXE_erpgo-dr")));
        command.args(arguments).current_dir(self.folder.path());
        command.stdin(std::process::Stdio::null());
        command
    }

    /// The command line of the binary with this configuration, for `archive_command` and `restore_command`.
    pub(crate) fn shell(&self, rest: &str) -> String {
        let config = self.path("erpgo-dr.toml");
        format!("{} --config {} {rest}", env!("CARGO_BIN_EXE_erpgo-dr"), config.display())
    }

    /// Puts whole segments of a server into `pg_wal` beside the configuration, as in a data directory, and returns their names.
    pub(crate) fn segments(&self, server: &PgServer, count: usize) -> Vec<String> {
        let (log, control) = (self.path("pg_wal"), "global/pg_control");
        let mut paths = vec![log.clone(), log.join("archive_status"), self.path("global"), self.path(control)];
        paths[..3].iter().for_each(|folder| std::fs::create_dir_all(folder).unwrap());
        std::fs::copy(server.data_dir().join(control), self.path(control)).unwrap();
        let mut names = Vec::new();
        for n in 0..count {
            let sql = format!("CREATE TABLE t{n} (n int); SELECT pg_walfile_name(pg_switch_wal())");
            let name = server.psql("postgres", &sql);
            std::fs::copy(server.data_dir().join("pg_wal").join(&name), log.join(&name)).unwrap();
            paths.push(log.join(&name));
            names.push(name);
        }
        paths.iter().for_each(|path| give_to_postgres(path));
        names
    }

    /// Starts a server that archives into the repository.
    pub(crate) fn archiving_server(&self, major: u32, options: &str) -> PgServer {
        let command = self.shell(&format!("wal push %p {options}"));
        PgServerOptions::new(major).setting("archive_mode", "on").setting("archive_command", command).start()
    }

    /// Copies a running server's files without any of its log.
    pub(crate) fn copy_files(&self, server: &PgServer) -> PathBuf {
        let copy = self.path("copy");
        let mut command = erpgo_dr_testkit::unprivileged(&server.bin().join("pg_basebackup"));
        command.arg("-h").arg(server.socket_dir()).arg("-p").arg(server.port().to_string());
        command.args(["-U", "postgres", "-X", "none", "-c", "fast", "-D"]).arg(&copy).current_dir("/");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        copy
    }

    /// Lays a copy under a server of the same version, which recovers from the archive when it is started.
    pub(crate) fn under(&self, copy: &Path, major: u32, restore_command: &str) -> PgServer {
        let mut server = PgServer::start(major);
        server.stop();
        std::fs::remove_dir_all(server.data_dir()).unwrap();
        std::fs::rename(copy, server.data_dir()).unwrap();
        let sockets = server.socket_dir().display().to_string();
        let settings = format!("restore_command = '{restore_command}'\nunix_socket_directories = '{sockets}'\n");
        std::fs::write(server.data_dir().join("postgresql.auto.conf"), settings).unwrap();
        let signal = server.data_dir().join("recovery.signal");
        std::fs::write(&signal, "").unwrap();
        give_to_postgres(&signal);
        give_to_postgres(&server.data_dir().join("postgresql.auto.conf"));
        server
    }
}

/// Waits for something that a server does by itself.
pub(crate) fn wait_for(what: &str, server: &PgServer, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !done() {
        assert!(Instant::now() < deadline, "{what}: {}", server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until a server has archived all that it had written when this was called.
pub(crate) fn wait_until_archived(server: &PgServer) {
    let name = server.psql("postgres", "SELECT pg_walfile_name(pg_switch_wal())");
    wait_for("archiving", server, || {
        server.psql("postgres", &format!("SELECT coalesce(last_archived_wal >= '{name}', false) FROM pg_stat_archiver"))
            == "t"
    });
}

/// Fills a table; each call writes several segments.
pub(crate) fn write(server: &PgServer, table: &str) {
    server.psql(
        "postgres",
        &format!("CREATE TABLE {table} AS SELECT n, repeat(md5(n::text), 8) AS t FROM generate_series(1, 100000) AS n"),
    );
}

pub(crate) fn content(server: &PgServer, table: &str) -> String {
    server.psql("postgres", &format!("SELECT count(*), sum(hashtextextended(t::text, n)::numeric) FROM {table} AS t"))
}

/// Lays restored files under a server of the same version, and starts it.
pub(crate) fn start_on(data: &Path, major: u32) -> PgServer {
    let mut server = PgServer::start(major);
    server.stop();
    start_in(&mut server, data);
    server
}

/// Puts restored files in the place of those of a server that is down, and starts it there.
pub(crate) fn start_in(server: &mut PgServer, data: &Path) {
    lay_under(server, data);
    server.restart();
    wait_for("recovery", server, || server.psql("postgres", "SELECT pg_is_in_recovery()") == "f");
}

/// Puts files in the place of those of a server that is down.
pub(crate) fn lay_under(server: &mut PgServer, data: &Path) {
    std::fs::remove_dir_all(server.data_dir()).unwrap();
    std::fs::rename(data, server.data_dir()).unwrap();
    let conf = server.data_dir().join("postgresql.auto.conf");
    let mut settings = std::fs::read_to_string(&conf).unwrap();
    settings.push_str(&format!("unix_socket_directories = '{}'\n", server.socket_dir().display()));
    std::fs::write(&conf, settings).unwrap();
}

/// Makes a standby by the server's own tool, with `more` options, and waits until it has replayed what the server has now.
pub(crate) fn standby_of(site: &Site, server: &PgServer, more: &[&str]) -> PgServer {
    let copy = site.path("standby");
    let mut command = erpgo_dr_testkit::unprivileged(&server.bin().join("pg_basebackup"));
    command.arg("-h").arg(server.socket_dir()).arg("-p").arg(server.port().to_string());
    command.args(["-U", "postgres", "-X", "stream", "-c", "fast", "-R"]).args(more);
    let output = command.arg("-D").arg(&copy).current_dir("/").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut standby = PgServer::start(server.major());
    standby.stop();
    lay_under(&mut standby, &copy);
    standby.restart();
    let end = server.psql("postgres", "SELECT pg_current_wal_lsn()");
    let question = format!("SELECT pg_last_wal_replay_lsn() >= '{end}'");
    wait_for("the standby", &standby, || standby.psql("postgres", &question) == "t");
    standby
}
