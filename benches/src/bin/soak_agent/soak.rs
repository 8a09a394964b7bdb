//! The course of a soak: rest, work under faults, recovery, rest.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use chrono::Utc;
use erpgo_dr_benches::random::Random;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::Outcome;
use crate::faults::{Fault, Outage};
use crate::load::Load;
use crate::missed::{Span, missed, runs_of, seconds};
use crate::rest::Held;
use crate::sink::{Sink, Told};
use crate::stage::{Pace, SLOT, Stage};

/// How long the agent works before it is looked at for the first time: each job has run by then, and pools are full.
const WARM_UP: Duration = Duration::from_secs(185);
/// How long clients keep connections for the next request: 90 seconds, and they look every 90 whether it is time.
const IDLE: Duration = Duration::from_secs(190);
/// How long the agent goes on with its work when all is back, at least.
const AFTERWARDS: Duration = Duration::from_secs(60);
/// How long it is looked at while it rests.
const LOOK: Duration = Duration::from_secs(15);
/// How long alarms and jobs may take to be well again when all is.
const RECOVERY: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(500);

/// What came of it.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) findings: Vec<String>,
    pub(crate) numbers: Vec<(String, i64)>,
    pub(crate) rss_growth_mb: f64,
}

pub(crate) struct Soak {
    stage: Stage,
    sink: Sink,
    random: Random,
    agent: Program,
    stream: Program,
    load: Load,
    outages: Vec<Span>,
    faults: BTreeMap<Fault, i64>,
}

/// A program that is to run all the while. It is killed when dropped.
struct Program {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Soak {
    pub(crate) fn begin(seed: u64) -> Outcome<Self> {
        let sink = Sink::open(seed)?;
        let stage = Stage::set(sink.address())?;
        let load = Load::begin(&stage.server)?;
        let logs = std::env::current_exe()?.parent().map(Path::to_path_buf).unwrap_or_default();
        let start = |name: &'static str, arguments: &[&str]| -> Outcome<Program> {
            let log = logs.join(format!("soak-{name}.log"));
            Ok(Program { name, child: stage.spawn(arguments, &log)?, log })
        };
        let stream = start("stream", &["-v", "wal", "stream", "--slot", SLOT, "--create-slot", "--upload-every", "2"])?;
        let agent = start("agent", &["-v", "agent"])?;
        let (random, outages, faults) = (Random::new(seed), Vec::new(), BTreeMap::new());
        Ok(Self { stage, sink, random, agent, stream, load, outages, faults })
    }

    /// Returns where the agent's log is kept.
    pub(crate) fn log(&self) -> &Path {
        &self.agent.log
    }

    /// Works under faults for so long.
    pub(crate) fn run(&mut self, long: Duration) -> Outcome<Tally> {
        note("warming up");
        self.wait(WARM_UP)?;
        let before = self.rest()?;
        self.pace(Pace::Busy)?;
        let begun = seconds(Utc::now());
        self.break_things(long)?;
        note("everything is back; waiting for the last alarm to be cleared");
        let worked = Span { begun, ended: seconds(Utc::now()) };
        self.recover()?;
        let after = self.rest()?;
        let mut tally = Tally::default();
        self.judge_held(&before, &after, &mut tally);
        self.judge_history(worked, &mut tally)?;
        self.judge_told(&self.sink.told(), &mut tally);
        self.judge_left(&mut tally)?;
        Ok(tally)
    }

    fn break_things(&mut self, long: Duration) -> Outcome<()> {
        let begun = Instant::now();
        while begun.elapsed() < long {
            let outage = Outage::draw(&mut self.random);
            self.wait(outage.peace)?;
            note(&format!("{} for {:.0} s", outage.fault, outage.lasts.as_secs_f64()));
            *self.faults.entry(outage.fault).or_default() += 1;
            self.outages.push(outage.happen(&mut self.stage, sleep));
        }
        Ok(())
    }

    /// Waits until nothing is wrong any more.
    fn recover(&mut self) -> Outcome<()> {
        let begun = Instant::now();
        self.wait(AFTERWARDS)?;
        // An alarm that is raised may not be told yet: what jobs found last says whether there is one.
        while !(self.is_well()? && self.sink.told().open.is_empty()) && begun.elapsed() < RECOVERY {
            self.wait(POLL)?;
        }
        Ok(())
    }

    /// Tells the agent to rest, waits until it does and its connections have been given up, and looks at it.
    fn rest(&mut self) -> Outcome<Held> {
        note("resting");
        self.pace(Pace::Rest)?;
        let begun = Instant::now();
        while self.is_at_work()? {
            if begun.elapsed() > RECOVERY {
                return Err("the agent does not come to rest".into());
            }
            self.wait(POLL)?;
        }
        self.wait(IDLE)?;
        let (mut held, looked) = (Held::by(self.agent.child.id())?, Instant::now());
        while looked.elapsed() < LOOK {
            self.wait(POLL)?;
            held = held.least(Held::by(self.agent.child.id())?);
        }
        note(&format!(
            "at rest: {} descriptors, {} sockets, {} children, {} MB",
            held.descriptors,
            held.sockets,
            held.children,
            held.memory >> 20
        ));
        Ok(held)
    }

    fn pace(&self, pace: Pace) -> Outcome<()> {
        self.stage.configure(pace)?;
        Ok(kill_process(Pid::from_child(&self.agent.child), Signal::HUP)?)
    }

    /// A pending attempt is work, too.
    fn is_at_work(&self) -> Outcome<bool> {
        let is_open = |run: &Value| run["state"] == "running" || !run["ending"]["retry_at"].is_null();
        Ok(self.newest_runs()?.iter().any(is_open))
    }

    /// Whether every job went well the last time.
    fn is_well(&self) -> Outcome<bool> {
        Ok(self.newest_runs()?.iter().all(|run| run["state"] == "succeeded" || run["state"] == "running"))
    }

    /// Returns the newest run of each job.
    fn newest_runs(&self) -> Outcome<Vec<Value>> {
        let history = self.stage.run(&["history", "--limit", "60"])?;
        let mut jobs = BTreeSet::new();
        let runs = history["runs"].as_array().cloned().unwrap_or_default().into_iter();
        Ok(runs.filter(|run| jobs.insert(run["job"].to_string())).collect())
    }

    fn wait(&mut self, long: Duration) -> Outcome<()> {
        let begun = Instant::now();
        loop {
            self.agent.must_run()?;
            self.stream.must_run()?;
            let Some(left) = long.checked_sub(begun.elapsed()) else { return Ok(()) };
            sleep(left.min(POLL));
        }
    }

    fn judge_held(&self, before: &Held, after: &Held, tally: &mut Tally) {
        let mut compare = |name: &str, before: i64, after: i64| {
            tally.numbers.push((name.to_owned(), (after - before).max(0)));
            if after > before {
                tally.findings.push(format!("{name}: {after} after {before}"));
            }
        };
        compare("leaked_fds", before.descriptors, after.descriptors);
        compare("leaked_sockets", before.sockets, after.sockets);
        compare("leaked_processes", before.children, after.children);
        if after.names.len() > before.names.len() {
            tally.findings.push(format!("open before: {:?}; after: {:?}", before.names, after.names));
        }
        tally.rss_growth_mb = (after.memory - before.memory) as f64 / f64::from(1 << 20);
        tally.numbers.push(("rss_mb".to_owned(), after.memory >> 20));
    }

    fn judge_history(&self, worked: Span, tally: &mut Tally) -> Outcome<()> {
        let history = self.stage.run(&["history", "--limit", "1000000"])?;
        let runs = runs_of(&history);
        let missed = missed(&runs, &self.outages, worked);
        let well = runs.iter().filter(|run| run.went_well).count();
        tally.numbers.push(("runs".to_owned(), i64::try_from(runs.len())?));
        tally.numbers.push(("runs_done".to_owned(), i64::try_from(well)?));
        tally.numbers.push(("missed".to_owned(), i64::try_from(missed.len())?));
        tally.findings.extend(missed.into_iter().map(|moment| format!("missed: {moment}")));
        for (fault, number) in &self.faults {
            tally.numbers.push((fault.to_string(), *number));
        }
        tally.numbers.push(("load_rounds".to_owned(), i64::try_from(self.load.rounds())?));
        Ok(())
    }

    fn judge_told(&self, told: &Told, tally: &mut Tally) {
        tally.numbers.push(("alarms_raised".to_owned(), told.raised.cast_signed()));
        tally.numbers.push(("alarms_cleared".to_owned(), told.cleared.cast_signed()));
        tally.findings.extend(told.wrong.iter().map(|message| format!("told twice: {message}")));
        if told.raised != told.cleared {
            tally.findings.push(format!("alarms that are not cleared: {:?}", told.open));
            tally.findings.extend(self.sink.messages());
        }
    }

    /// Slots of the server, sessions, and databases in the clear.
    fn judge_left(&self, tally: &mut Tally) -> Outcome<()> {
        let sql = format!("SELECT count(*) FROM pg_replication_slots WHERE slot_name <> '{SLOT}'");
        let slots: i64 = self.stage.server.try_psql("postgres", &sql)?.parse()?;
        let scratch = i64::try_from(fs::read_dir(self.stage.path("scratch"))?.count())?;
        for (name, number) in [("leaked_slots", slots), ("leaked_folders", scratch)] {
            tally.numbers.push((name.to_owned(), number));
            if number > 0 {
                tally.findings.push(format!("{name}: {number}"));
            }
        }
        Ok(())
    }
}

impl Program {
    fn must_run(&mut self) -> Outcome<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines[lines.len().saturating_sub(20)..].join("\n");
        Err(format!("the {} ended ({status}): {end}", self.name).into())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // What it started ends with it: throwaway servers watch who started them.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        for _ in 0..100 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            sleep(Duration::from_millis(100));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn note(text: &str) {
    // Nobody may read it.
    let _ = writeln!(io::stderr(), "{} {text}", Utc::now().format("%H:%M:%S"));
}
