//! The rounds: prepare, run, kill, resume, compare.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::{Command, Stdio};

use erpgo_dr_benches::random::Random;
use tokio::runtime::Runtime;

use crate::Outcome;
use crate::scenario::{RUNBOOKS, Scenario};
use crate::worker::{Job, WORKER};

/// A run is killed once or twice: the second time while it is resumed.
const LONGEST_WAIT: u64 = 60;

/// Counts over all rounds.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) kills: u64,
    pub(crate) kills_by_runbook: BTreeMap<&'static str, u64>,
    pub(crate) diverged: u64,
}

/// How far it is.
pub(crate) struct Soak {
    random: Random,
    rounds: usize,
    /// For each runbook: what a run leaves that nobody kills, and the entry that is next to be killed at.
    known: BTreeMap<&'static str, (String, u32)>,
    pub(crate) tally: Tally,
}

/// How a worker ended.
struct Ended {
    run: Option<String>,
    /// The word for its end; none if it was killed.
    ending: Option<String>,
    complaint: String,
}

impl Soak {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), rounds: 0, known: BTreeMap::new(), tally: Tally::default() }
    }

    /// Goes through one runbook, the runbooks by turns.
    pub(crate) fn round(&mut self, runtime: &Runtime) -> Outcome<()> {
        let runbook = RUNBOOKS[self.rounds % RUNBOOKS.len()];
        self.rounds += 1;
        let scenario = runtime.block_on(Scenario::prepare(runbook))?;
        let Some((expected, entry)) = self.known.get(runbook).cloned() else {
            let ended = run(&scenario.job)?;
            // One that cannot get so far here stops at the same step each time.
            let state = format!("{}: {}", ended.ending.ok_or(ended.complaint)?, scenario.state());
            writeln!(io::stdout(), "{runbook} leaves, when nobody kills it: {}", state.escape_default())?;
            self.known.insert(runbook, (state, 0));
            return Ok(());
        };
        let kill = (entry, if self.rounds.is_multiple_of(2) { 0 } else { self.random.below(LONGEST_WAIT) });
        let killed = run(&Job { kill: Some(kill), ..scenario.job.clone() })?;
        let next = if killed.ending.is_some() { 0 } else { entry + 1 };
        self.known.insert(runbook, (expected.clone(), next));
        let state = match (killed.ending, killed.run) {
            (Some(ending), _) => format!("{ending}: {}", scenario.state()),
            (None, Some(id)) => {
                self.tally.kills += 1;
                *self.tally.kills_by_runbook.entry(runbook).or_default() += 1;
                let resumed = run(&Job { resume: Some(id), ..scenario.job.clone() })?;
                match resumed.ending {
                    Some(ending) => format!("{ending}: {}", scenario.state()),
                    None if resumed.complaint.contains("has ended") => format!("completed: {}", scenario.state()),
                    None => format!("not resumed: {}", resumed.complaint),
                }
            }
            (None, None) => return Err(format!("{runbook} did not begin: {}", killed.complaint).into()),
        };
        if state != expected {
            self.tally.diverged += 1;
            writeln!(io::stdout(), "{runbook}, killed {kill:?}\n  left:     {state}\n  expected: {expected}")?;
        }
        Ok(())
    }
}

fn run(job: &Job) -> Outcome<Ended> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg(WORKER)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(serde_json::to_string(job)?.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let line = |prefix: &str| said.lines().find_map(|line| line.strip_prefix(prefix)).map(str::to_owned);
    Ok(Ended {
        run: line("run "),
        ending: line("ended "),
        complaint: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
