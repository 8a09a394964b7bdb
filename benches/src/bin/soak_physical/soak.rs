//! The rounds: something is killed, and what is left is looked at.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use erpgo_dr_benches::random::Random;
use erpgo_dr_benches::soak::{Ended, Site, ended, kill_after};
use erpgo_dr_core::postgres::ConnectionSettings;
use erpgo_dr_testkit::PgServer;
use erpgo_dr_testkit::postgres::{PgServerOptions, SUPERUSER};

use crate::Outcome;
use crate::ledger::{Ledger, SCHEMA, question};

/// Kills between two restores.
const RESTORE_EVERY: u64 = 5;
/// Ways to find out what has changed, in turn.
const CHANGES: [&str; 4] = ["auto", "compare", "both", "full"];

/// What happened so far.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) kills: u64,
    pub(crate) backups: u64,
    pub(crate) servers: u64,
    pub(crate) prunes: u64,
    pub(crate) restores: u64,
    pub(crate) findings: Vec<String>,
}

pub(crate) struct Soak {
    pub(crate) tally: Tally,
    random: Random,
    // Dropped in this order: the writer before its server.
    ledger: Ledger,
    site: Site,
    server: PgServer,
    /// For each backup, the last entry that was acknowledged before it began.
    known: BTreeMap<String, u64>,
    /// How long a backup takes.
    usual: Duration,
    restored_at: u64,
}

impl Soak {
    pub(crate) fn begin(seed: u64) -> Outcome<Self> {
        let server =
            PgServerOptions::new(17).setting("summarize_wal", "on").setting("checkpoint_timeout", "30s").start();
        server.psql("postgres", SCHEMA);
        let site = Site::new(&server)?;
        let host = server.socket_dir().display().to_string();
        let settings = ConnectionSettings::new(host).port(server.port()).user(SUPERUSER).database("postgres");
        let ledger = Ledger::begin(settings)?;
        let mut soak = Self {
            tally: Tally::default(),
            random: Random::new(seed),
            ledger,
            site,
            server,
            known: BTreeMap::new(),
            usual: Duration::from_secs(1),
            restored_at: 0,
        };
        let begun = Instant::now();
        soak.back_up("full")?;
        soak.usual = begun.elapsed();
        Ok(soak)
    }

    pub(crate) fn acknowledged(&self) -> u64 {
        self.ledger.acknowledged()
    }

    /// Kills something, and restores every few rounds.
    pub(crate) fn round(&mut self) -> Outcome<()> {
        let changes = CHANGES[self.random.below(CHANGES.len() as u64) as usize];
        let delay = self.random.up_to(self.usual);
        match self.random.below(10) {
            0..6 => self.kill_backup(changes, delay)?,
            6..8 => self.kill_server(changes, delay)?,
            _ => self.kill_prune(delay)?,
        }
        // Files are rewritten in place, vanish and come anew.
        self.server.psql("postgres", "UPDATE filler SET t = reverse(t) WHERE n % 97 = 0");
        if self.random.below(4) == 0 {
            self.server.psql("postgres", "VACUUM FULL accounts; CREATE TABLE IF NOT EXISTS passing AS SELECT 1 AS n");
            self.server.psql("postgres", "DROP TABLE passing");
        }
        if self.tally.kills >= self.restored_at + RESTORE_EVERY {
            self.restored_at = self.tally.kills;
            let latest = self.back_up(changes)?;
            self.restore(&latest)?;
        }
        Ok(())
    }

    /// Restores all backups that are left, and verifies them.
    pub(crate) fn check_all(&mut self) -> Outcome<()> {
        let verified = self.site.run(&["verify", "--all"])?;
        if !verified.succeeded {
            self.found("verify", &verified);
        }
        for id in self.listed()? {
            self.restore(&id)?;
        }
        Ok(())
    }

    fn kill_backup(&mut self, changes: &str, delay: Duration) -> Outcome<()> {
        let before = self.acknowledged();
        let ended = kill_after(self.site.spawn(&["cluster", "backup", "--changes", changes])?, delay)?;
        if ended.killed {
            self.tally.kills += 1;
            self.tally.backups += 1;
        }
        // Committed or not: what is listed counts.
        for id in self.listed()? {
            self.known.entry(id).or_insert(before);
        }
        Ok(self.site.let_leases_lapse()?)
    }

    /// The backup must fail, or be whole; the server comes back by itself.
    fn kill_server(&mut self, changes: &str, delay: Duration) -> Outcome<()> {
        let before = self.acknowledged();
        let child = self.site.spawn(&["cluster", "backup", "--changes", changes])?;
        std::thread::sleep(delay);
        self.server.kill();
        self.tally.kills += 1;
        self.tally.servers += 1;
        let ended = ended(child)?;
        self.server.restart();
        if let Some(id) = ended.result["id"].as_str() {
            self.known.insert(id.to_owned(), before);
        }
        Ok(())
    }

    fn kill_prune(&mut self, delay: Duration) -> Outcome<()> {
        let ended = kill_after(self.site.spawn(&["prune", "--keep-last", "2", "--grace", "0h"])?, delay / 4)?;
        if ended.killed {
            self.tally.kills += 1;
            self.tally.prunes += 1;
        }
        self.site.let_leases_lapse()?;
        let pruned = self.site.run(&["prune", "--keep-last", "2", "--grace", "0h"])?;
        let verified = self.site.run(&["verify", "--all"])?;
        for (what, ended) in [("prune", pruned), ("verify after a prune", verified)] {
            if !ended.succeeded {
                self.found(what, &ended);
            }
        }
        Ok(())
    }

    /// Takes a backup to its end, which must succeed whatever was killed before.
    fn back_up(&mut self, changes: &str) -> Outcome<String> {
        let before = self.acknowledged();
        let ended = self.site.run(&["cluster", "backup", "--changes", changes])?;
        match ended.result["id"].as_str() {
            Some(id) if ended.succeeded => {
                self.known.insert(id.to_owned(), before);
                Ok(id.to_owned())
            }
            _ => Err(format!("a backup failed with nothing in its way: {}", ended.complaint).into()),
        }
    }

    fn restore(&mut self, id: &str) -> Outcome<()> {
        let least = self.known.get(id).copied().unwrap_or(0);
        let (check, scratch) = (format!("ledger:postgres:{}", question(least)), self.site.path("scratch"));
        let scratch = scratch.display().to_string();
        let arguments = ["verify", id, "--restore", "--scratch", &scratch, "--check", &check];
        let restored = self.site.run(&arguments)?;
        self.tally.restores += 1;
        if !restored.succeeded {
            self.found(&format!("restore of {id}"), &restored);
        }
        Ok(())
    }

    fn listed(&mut self) -> Outcome<Vec<String>> {
        let listed = self.site.run(&["list"])?;
        if !listed.succeeded {
            self.found("list", &listed);
        }
        let backups = listed.result["backups"].as_array().cloned().unwrap_or_default();
        Ok(backups.iter().filter_map(|backup| backup["id"].as_str().map(str::to_owned)).collect())
    }

    fn found(&mut self, what: &str, ended: &Ended) {
        self.tally.findings.push(format!("{what}: {} {}", ended.result, ended.complaint));
    }
}
