//! The rounds: a host is lost, and what the archive has takes its place.

use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

use erpgo_dr_benches::random::Random;
use erpgo_dr_benches::soak::{Ended, Site, ended};
use erpgo_dr_core::postgres::ConnectionSettings;
use erpgo_dr_testkit::PgServer;
use erpgo_dr_testkit::postgres::{PgServerOptions, SUPERUSER, give_to_postgres};

use crate::Outcome;
use crate::writers::{Acknowledged, SCHEMA, WRITERS, Writers};

/// Hosts that are lost between two base backups.
const BACKUP_EVERY: u64 = 4;
/// How long a host lives at the most once it is protected.
const LIFE: Duration = Duration::from_millis(1500);
/// How long to wait for what happens by itself.
const PATIENCE: Duration = Duration::from_secs(60);

/// What happened so far.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) kills: u64,
    pub(crate) with_stream: u64,
    pub(crate) in_repository: u64,
    pub(crate) acknowledged: u64,
    pub(crate) lost: u64,
    pub(crate) findings: Vec<String>,
}

pub(crate) struct Soak {
    pub(crate) tally: Tally,
    random: Random,
    site: Site,
    server: PgServer,
    settings: ConnectionSettings,
}

/// When a commit may return.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Durable {
    Folder,
    Repository,
}

impl Soak {
    pub(crate) fn begin(seed: u64) -> Outcome<Self> {
        // Small segments, so that many end within a life.
        let server = PgServerOptions::new(17)
            .wal_segment_mib(1)
            .setting("checkpoint_timeout", "30s")
            // What a server writes between its promotion and the first word of the stream.
            .setting("wal_keep_size", "64MB")
            .start();
        server.psql("postgres", SCHEMA);
        let site = Site::new(&server)?;
        let host = server.socket_dir().display().to_string();
        let settings = ConnectionSettings::new(host).port(server.port()).user(SUPERUSER).database("postgres");
        let soak = Self { tally: Tally::default(), random: Random::new(seed), site, server, settings };
        soak.back_up()?;
        Ok(soak)
    }

    /// One host lives, is lost, and comes back.
    pub(crate) fn round(&mut self) -> Outcome<()> {
        let durable = if self.random.below(3) == 0 { Durable::Repository } else { Durable::Folder };
        let stream = self.protect(durable)?;
        let writers = Writers::begin(&self.settings)?;
        if self.tally.kills.is_multiple_of(BACKUP_EVERY) {
            self.back_up()?;
            self.succeed("prune", &["prune", "--keep-last", "2", "--grace", "0h"])?;
        }
        std::thread::sleep(self.random.up_to(LIFE));
        let stream = self.lose(stream)?;
        let acknowledged = writers.end();
        self.rescue(stream, durable)?;
        self.tally.kills += 1;
        self.tally.in_repository += u64::from(durable == Durable::Repository);
        self.bring_back()?;
        self.compare(&acknowledged);
        Ok(())
    }

    /// Starts a stream, and makes commits wait for it.
    fn protect(&self, durable: Durable) -> Outcome<Child> {
        let word = if durable == Durable::Folder { "folder" } else { "repository" };
        let stream = self.site.spawn(&self.stream(&["--slot", "erpgo", "--create-slot", "--durable", word]))?;
        self.server.psql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '\"erpgo-dr\"'");
        self.server.psql("postgres", "SELECT pg_reload_conf()");
        let question = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        let begun = Instant::now();
        while self.server.psql("postgres", question) != "1" {
            if begun.elapsed() > PATIENCE {
                let mut stream = stream;
                let _ = stream.kill();
                return Err(format!("the stream does not begin: {}", ended(stream)?.complaint).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(stream)
    }

    fn stream<'a>(&self, more: &[&'a str]) -> Vec<&'a str> {
        [&["wal", "stream", "--folder", "incoming", "--upload-every", "1"], more].concat()
    }

    /// Kills the server, and at times the stream before it or with it. Returns the stream if it lives.
    fn lose(&mut self, mut stream: Child) -> Outcome<Option<Child>> {
        let stream_dies_first = match self.random.below(4) {
            0 => Some(self.random.up_to(Duration::from_millis(300))),
            1 => Some(Duration::ZERO),
            _ => None,
        };
        if let Some(ahead) = stream_dies_first {
            stream.kill()?;
            stream.wait()?;
            // Commits wait now, and must not be acknowledged.
            std::thread::sleep(ahead);
            self.tally.with_stream += 1;
        }
        self.server.kill();
        fs::remove_dir_all(self.server.data_dir())?;
        Ok(stream_dies_first.is_none().then_some(stream))
    }

    /// Sees to it that what was promised is in the repository.
    fn rescue(&self, stream: Option<Child>, durable: Durable) -> Outcome<()> {
        let stream = match (stream, durable) {
            (Some(stream), _) => stream,
            // The host of the stream is lost as well: the repository is all there is.
            (None, Durable::Repository) => {
                fs::remove_dir_all(self.site.path("incoming"))?;
                return Ok(());
            }
            // It comes up again with a server that does not.
            (None, Durable::Folder) => self.site.spawn(&self.stream(&["--slot", "erpgo"]))?,
        };
        std::thread::sleep(Duration::from_millis(300));
        let pid = rustix::process::Pid::from_child(&stream);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        match ended(stream)? {
            Ended { succeeded: true, .. } => Ok(()),
            ended => Err(format!("the stream did not end well: {} {}", ended.result, ended.complaint).into()),
        }
    }

    /// Restores the cluster to the end of the archive, and starts it.
    fn bring_back(&mut self) -> Outcome<()> {
        let data = self.server.data_dir();
        fs::create_dir(&data)?;
        give_to_postgres(&data);
        let folder = data.display().to_string();
        self.succeed("restore", &["cluster", "restore", "--data-dir", &folder])?;
        self.server.restart();
        let begun = Instant::now();
        while self.server.psql("postgres", "SELECT pg_is_in_recovery()") != "f" {
            if begun.elapsed() > PATIENCE {
                return Err(format!("the restored server does not get through recovery: {}", self.server.log()).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn compare(&mut self, acknowledged: &[Acknowledged]) {
        for (writer, Acknowledged { began, last }) in (0..WRITERS).zip(acknowledged) {
            let question = format!(
                "SELECT coalesce(max(n), 0), count(*), coalesce(bool_and(left(payload, 32) = md5(n::text)), true)
                 FROM commits WHERE writer = {writer}"
            );
            let found = self.server.psql("postgres", &question);
            let fields: Vec<&str> = found.split('|').collect();
            let there: u64 = fields[0].parse().unwrap_or(0);
            self.tally.acknowledged += last - began;
            if there < *last {
                self.tally.lost += last - there;
                self.tally.findings.push(format!("writer {writer}: {last} was acknowledged, {there} is the last"));
            }
            if fields[0] != fields[1] || fields[2] != "t" {
                self.tally.findings.push(format!("writer {writer}: what came back has holes: {found}"));
            }
        }
    }

    fn back_up(&self) -> Outcome<()> {
        self.succeed("backup", &["cluster", "backup"])
    }

    fn succeed(&self, what: &str, arguments: &[&str]) -> Outcome<()> {
        match self.site.run(arguments)? {
            Ended { succeeded: true, .. } => Ok(()),
            ended => Err(format!("{what}: {} {}", ended.result, ended.complaint).into()),
        }
    }
}
