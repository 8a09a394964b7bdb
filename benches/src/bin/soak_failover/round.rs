//! A round: something breaks, what must come of it comes, and both servers are a pair again.

use std::fs;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use erpgo_dr_benches::failover::{Server, Watching};
use erpgo_dr_core::runbook::{Ending, WatchEnding, WatchReport};

use crate::Outcome;
use crate::fault::{Expected, Fault};
use crate::soak::Soak;

/// How long what must happen may take.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a full disk is left to the primary and the watch.
const FULL: Duration = Duration::from_secs(15);
/// How long hosts that are well stay apart: longer than a standby needs to notice.
const APART: Duration = Duration::from_secs(6);

impl Soak {
    /// Goes through one round; returns what was broken, and of a failover how long the application could not write.
    ///
    /// # Errors
    /// If the pair does not come together again. What is wrong otherwise is among the findings.
    pub(crate) fn round(&mut self) -> Outcome<(&'static str, Option<f64>)> {
        let fault = self.next_fault();
        *self.tally.rounds.entry(fault.name()).or_default() += 1;
        self.writes(fault)?;
        std::thread::sleep(self.random.up_to(Duration::from_millis(800)));
        let (primary, standby) = self.pair();
        let watching = self.watched.begin(primary, standby, fault.has_switch())?;
        self.break_it(fault)?;
        let moved = match fault.expected() {
            Expected::Failover => self.moved(fault, watching)?,
            Expected::Restart => {
                self.application.written_again(PATIENCE).ok_or("the application does not write again")?;
                let report = self.watched.end(watching, PATIENCE)?;
                self.expect(fault, &report, WatchEnding::Told, 1)?;
                false
            }
            Expected::Either => self.either(fault, watching)?,
            Expected::Refusal => {
                let report = self.watched.ended(watching, PATIENCE)?;
                self.expect(fault, &report, WatchEnding::RunFailed, 1)?;
                false
            }
            Expected::Switchover => {
                self.change_places()?;
                let report = self.watched.end(watching, PATIENCE)?;
                self.expect(fault, &report, WatchEnding::Told, 0)?;
                false
            }
            Expected::Nothing => {
                std::thread::sleep(APART + self.random.up_to(Duration::from_secs(2)));
                let report = self.watched.end(watching, PATIENCE)?;
                self.expect(fault, &report, WatchEnding::Told, 0)?;
                false
            }
        };
        self.mend(fault)?;
        if moved {
            self.rejoin(fault)?;
        } else if self.pair().0.postmaster().is_none() {
            self.pair().0.start()?;
        }
        self.protect()?;
        self.writes(fault)?;
        self.compare(fault)?;
        Ok((fault.name(), self.tally.seconds.last().copied().filter(|_| moved)))
    }

    fn change_places(&mut self) -> Outcome<()> {
        let (primary, standby) = self.pair();
        let standing = self.watched.change_places(primary, standby)?;
        if standing.ending != Ending::Completed {
            return Err(format!("no switchover: {:#?}", self.watched.journal(&standing.run)?).into());
        }
        self.primary = 1 - self.primary;
        Ok(())
    }

    fn break_it(&self, fault: Fault) -> Outcome<()> {
        let (primary, standby) = self.pair();
        let mut began = Instant::now();
        match fault {
            Fault::Planned => {}
            Fault::Killed => primary.kill(),
            Fault::Lost => {
                primary.mark("does-not-start", true)?;
                primary.kill();
            }
            Fault::Damaged => {
                primary.kill();
                fs::remove_file(primary.data().join("global/pg_control"))?;
            }
            Fault::Lagging => {
                standby.sql("SELECT pg_wal_replay_pause()")?;
                std::thread::sleep(Duration::from_secs(1));
                primary.mark("does-not-start", true)?;
                began = Instant::now();
                primary.kill();
            }
            Fault::DiskFull => {
                let disk = &self.disks[self.primary];
                // Both fail, that is what they are for: the server takes room as well.
                let _ = fs::write(disk.path().join("ballast"), vec![0x5a; usize::try_from(disk.free())?]);
                let _ = primary.sql(
                    "CREATE TABLE IF NOT EXISTS junk (t text);
                     INSERT INTO junk SELECT repeat(md5(n::text), 30) FROM generate_series(1, 100000) AS n",
                );
            }
            Fault::CutOff | Fault::CutOffForGood => {
                primary.mark("unreachable", true)?;
                primary.mark("no-power-switch", fault == Fault::CutOffForGood)?;
                self.network.connect(self.primary, false)?;
            }
            Fault::Split => self.network.split(true)?,
            Fault::Hidden => self.network.hide(self.primary, true)?,
        }
        self.application.note_fault(began);
        Ok(())
    }

    fn mend(&self, fault: Fault) -> Outcome<()> {
        let (primary, _) = self.pair();
        for mark in ["does-not-start", "unreachable", "no-power-switch"] {
            primary.mark(mark, false)?;
        }
        match fault {
            Fault::CutOff | Fault::CutOffForGood => self.network.connect(self.primary, true)?,
            Fault::Split => self.network.split(false)?,
            Fault::Hidden => self.network.hide(self.primary, false)?,
            Fault::DiskFull => self.disks[self.primary].empty_ballast(),
            Fault::Planned | Fault::Killed | Fault::Lost | Fault::Damaged | Fault::Lagging => {}
        }
        Ok(())
    }

    /// Waits until the standby has taken over, and the application writes to it.
    fn moved(&mut self, fault: Fault, watching: Watching) -> Outcome<bool> {
        let report = self.watched.ended(watching, PATIENCE)?;
        self.expect(fault, &report, WatchEnding::Replaced, 1)?;
        if report.ending != WatchEnding::Replaced {
            return Err(format!("no failover after {}: {report:?}", fault.name()).into());
        }
        let outage = self.application.written_again(PATIENCE).ok_or("the application does not write again")?;
        self.tally.seconds.push(outage.as_secs_f64());
        Ok(true)
    }

    /// Leaves a full disk to the primary and the watch for a while; returns whether the standby has taken over.
    fn either(&mut self, fault: Fault, watching: Watching) -> Outcome<bool> {
        let begun = Instant::now();
        while begun.elapsed() < FULL && !watching.has_ended() {
            std::thread::sleep(Duration::from_millis(50));
        }
        // Told to end, it ends a run first that has begun.
        let report = self.watched.end(watching, PATIENCE)?;
        let moved = self.pair().1.sql("SELECT pg_is_in_recovery()")? == "f";
        match report.ending {
            WatchEnding::Replaced | WatchEnding::Told => {}
            // The run has restarted it, and the disk was full again.
            WatchEnding::RunFailed if !moved => {}
            _ => self.expect(fault, &report, WatchEnding::Replaced, 1)?,
        }
        if moved {
            let outage = self.application.written_again(PATIENCE).ok_or("the application does not write again")?;
            self.tally.seconds.push(outage.as_secs_f64());
        }
        Ok(moved)
    }

    /// Notes what is otherwise than it must be.
    fn expect(&mut self, fault: Fault, report: &WatchReport, ending: WatchEnding, runs: u32) -> Outcome<()> {
        let standing = report.run.as_ref();
        let stands_at = standing.and_then(|run| run.step.as_ref()).map(|step| step.as_str());
        let refused = ending != WatchEnding::RunFailed || stands_at == Some("switch-off");
        if report.ending == ending && report.runs == runs && refused {
            return Ok(());
        }
        let journal = standing.map(|run| self.watched.journal(&run.run)).transpose()?.unwrap_or_default();
        let name = fault.name();
        self.tally.findings.push(format!("{name}: {report:?}\n  {}", journal.join("\n  ")));
        Ok(())
    }

    /// Makes the old primary a standby of the new one; they change places.
    fn rejoin(&mut self, fault: Fault) -> Outcome<()> {
        let (old, new) = self.pair();
        old.kill();
        // The control file of one that has just been promoted still has the old timeline.
        new.sql("CHECKPOINT")?;
        let rewound = fault != Fault::Damaged
            && match old.rewind(new).and_then(|()| old.start()) {
                Ok(()) => true,
                Err(error) => {
                    writeln!(io::stdout(), "  copied, because: {error}")?;
                    false
                }
            };
        if !rewound {
            old.kill();
            old.copy(new)?;
            old.start()?;
        }
        *(if rewound { &mut self.tally.rewound } else { &mut self.tally.copied }) += 1;
        self.primary = 1 - self.primary;
        Ok(())
    }

    /// Waits until the application has written something more.
    fn writes(&self, fault: Fault) -> Outcome<()> {
        let (before, begun) = (self.application.acknowledged(), Instant::now());
        while self.application.acknowledged() <= before {
            if begun.elapsed() > PATIENCE {
                let logs = self.servers.0.each_ref().map(Server::log);
                return Err(format!("the application does not write around {}: {logs:#?}", fault.name()).into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Compares what is there with what was acknowledged, and looks for the one primary.
    fn compare(&mut self, fault: Fault) -> Outcome<()> {
        let acknowledged = self.application.acknowledged();
        let (primary, standby) = self.pair();
        let question = "SELECT count(*), coalesce(max(n), 0), bool_and(payload = repeat(md5(n::text), 5)) FROM commits";
        let found = primary.sql(question)?;
        let roles: io::Result<Vec<String>> =
            [primary, standby].iter().map(|server| server.sql("SELECT pg_is_in_recovery()")).collect();
        let roles = roles?;
        let fields: Vec<&str> = found.split('|').collect();
        let there: u64 = fields[0].parse()?;
        if roles != ["f", "t"] {
            self.tally.findings.push(format!("{}: in recovery are {roles:?}", fault.name()));
        }
        if there < acknowledged || fields[0] != fields[1] || fields[2] != "t" {
            let name = fault.name();
            self.tally.findings.push(format!("{name}: {acknowledged} were acknowledged, and there is {found}"));
        }
        Ok(())
    }
}
