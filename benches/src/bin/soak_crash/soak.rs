//! The rounds: start, kill, look, tidy up, go on.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use erpgo_dr_testkit::PgServer;
use tokio::runtime::Runtime;

use crate::Outcome;
use crate::checks::{Checks, Ids};
use crate::job::Operation;
use crate::site::{self, Ended, Site};
use erpgo_dr_benches::random::Random;

/// How many backups a prune keeps.
const KEEP: u32 = 2;

/// How many there are before a prune: it has some to remove.
const BEFORE_PRUNE: usize = 4;

/// Counts over all rounds.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) kills: u64,
    pub(crate) kills_by_operation: BTreeMap<String, u64>,
    pub(crate) ended_first: u64,
    pub(crate) invalid: u64,
    pub(crate) lost: u64,
}

/// A server, a repository in one place and one in two.
pub(crate) struct Soak {
    server: PgServer,
    sites: [(Site, Ids); 2],
    random: Random,
    /// How long each operation takes when nobody kills it.
    durations: BTreeMap<(bool, &'static str), Duration>,
    rounds: u64,
    pub(crate) tally: Tally,
}

impl Soak {
    pub(crate) fn begin(runtime: &Runtime, seed: u64) -> Outcome<Self> {
        let server = PgServer::start(17);
        server.create_sample("erp", 1);
        let one = runtime.block_on(Site::new(1, &server))?;
        let two = runtime.block_on(Site::new(2, &server))?;
        let sites = [(one, Ids::new()), (two, Ids::new())];
        let random = Random::new(seed);
        let (durations, tally) = (BTreeMap::new(), Tally::default());
        Ok(Self { server, sites, random, durations, rounds: 0, tally })
    }

    /// Starts one operation, kills it, and checks what it left.
    pub(crate) fn round(&mut self, runtime: &Runtime) -> Outcome<()> {
        let (which, operation) = self.choose();
        self.prepare(runtime, which, operation)?;
        let (site, known) = &mut self.sites[which];
        let job = site.job(operation, &self.server, KEEP);
        let longest = self.durations.get(&(site.is_replicated(), name(operation))).copied();
        let delay = longest.map(|longest| self.random.up_to(longest));
        let ended = site::run(&job, delay)?;
        let mut checks = Checks { site, server: &self.server, findings: Vec::new() };
        let lost = runtime.block_on(after(&mut checks, known, operation, &ended));
        let findings = std::mem::take(&mut checks.findings);
        self.record(which, operation, delay, &ended, findings, lost)
    }

    /// Backups and prunes by turns, each in one place and in two; every ninth round is a repair.
    fn choose(&mut self) -> (usize, Operation) {
        let round = self.rounds;
        self.rounds += 1;
        match round % 9 {
            8 => (1, Operation::Repair),
            at if (at / 2) % 2 == 0 => ((at % 2) as usize, Operation::Backup),
            at => ((at % 2) as usize, Operation::Prune),
        }
    }

    /// Sees to it that the operation has something to do.
    fn prepare(&mut self, runtime: &Runtime, which: usize, operation: Operation) -> Outcome<()> {
        let (site, known) = &mut self.sites[which];
        let wanted = match operation {
            Operation::Backup => 0,
            Operation::Prune => BEFORE_PRUNE,
            Operation::Repair => 1,
        };
        let mut checks = Checks { site, server: &self.server, findings: Vec::new() };
        while known.len() < wanted {
            known.insert(runtime.block_on(checks.next_backup())?);
        }
        if operation == Operation::Repair {
            let start = self.random.below(3) as usize;
            site::damage(&site.place(1), &site.files(1)?, start)?;
        }
        Ok(())
    }

    fn record(
        &mut self,
        which: usize,
        operation: Operation,
        delay: Option<Duration>,
        ended: &Ended,
        findings: Vec<String>,
        lost: Outcome<Ids>,
    ) -> Outcome<()> {
        let mut findings = findings;
        let lost = lost.unwrap_or_else(|error| {
            findings.push(error.to_string());
            Ids::new()
        });
        if !ended.killed {
            self.durations.insert((which == 1, name(operation)), ended.took);
        }
        let tally = &mut self.tally;
        tally.kills += u64::from(ended.killed);
        tally.ended_first += u64::from(!ended.killed);
        *tally.kills_by_operation.entry(name(operation).to_owned()).or_default() += u64::from(ended.killed);
        tally.invalid += u64::from(!findings.is_empty());
        tally.lost += lost.len() as u64;
        if findings.is_empty() && lost.is_empty() {
            return Ok(());
        }
        let mut out = io::stderr();
        writeln!(out, "round {}: {operation:?} in {} place(s), killed after {delay:?}", self.rounds, which + 1)?;
        findings.iter().try_for_each(|finding| writeln!(out, "  {finding}"))?;
        lost.iter().try_for_each(|id| writeln!(out, "  lost: {id}"))?;
        Ok(())
    }
}

fn name(operation: Operation) -> &'static str {
    match operation {
        Operation::Backup => "backup",
        Operation::Prune => "prune",
        Operation::Repair => "repair",
    }
}

/// Looks at what an operation left, tidies up, and returns the backups that are lost.
async fn after(checks: &mut Checks<'_>, known: &mut Ids, operation: Operation, ended: &Ended) -> Outcome<Ids> {
    checks.expect(ended.killed || ended.succeeded, || format!("it failed by itself: {}", ended.complaint));
    known.extend(ended.committed.clone());
    let pruned = operation == Operation::Prune;
    let listed = checks.valid().await?;
    let new = listed.difference(known).count();
    let most = usize::from(operation == Operation::Backup && ended.committed.is_none());
    checks.expect(new <= most, || format!("{new} backups are listed that nobody has taken"));
    let mut lost = lost(known, &listed, pruned);
    *known = listed;

    known.insert(checks.next_backup().await?);
    checks.collect(pruned.then_some(KEEP)).await?;
    let listed = checks.valid().await?;
    lost.extend(self::lost(known, &listed, pruned));
    *known = listed;
    Ok(lost)
}

/// Returns the backups that should be there and are not: without a prune all, with one the newest [`KEEP`].
///
/// An identifier begins with the second in which its backup began; within one second any is as new as another.
fn lost(before: &Ids, after: &Ids, pruned: bool) -> Ids {
    let gone: Ids = before.difference(after).cloned().collect();
    let second = |id: &String| id.split('-').next().unwrap_or_default().to_owned();
    let mut seconds: Vec<String> = before.iter().map(second).collect();
    seconds.sort();
    let kept = seconds.len().saturating_sub(KEEP as usize);
    match seconds.get(kept).filter(|_| pruned && after.len() >= KEEP as usize) {
        Some(newest) => gone.into_iter().filter(|id| second(id) > *newest).collect(),
        None => gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[&str]) -> Ids {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    #[test]
    fn only_a_prune_may_remove_and_only_what_is_old() {
        let before = ids(&["1-a", "2-a", "2-b", "3-a"]);
        assert_eq!(lost(&before, &before, false), ids(&[]));
        assert_eq!(lost(&before, &ids(&["2-a", "2-b", "3-a"]), false), ids(&["1-a"]));
        assert_eq!(lost(&before, &ids(&["2-b", "3-a"]), true), ids(&[]));
        assert_eq!(lost(&before, &ids(&["2-a", "3-a"]), true), ids(&[]), "either of one second");
        assert_eq!(lost(&before, &ids(&["2-a", "2-b"]), true), ids(&["3-a"]));
        assert_eq!(lost(&before, &ids(&["3-a"]), true), ids(&["1-a", "2-a", "2-b"]), "too few are left");
    }
}
