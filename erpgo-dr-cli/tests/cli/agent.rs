//! The agent as a service: real processes, a real server, real signals.

mod alarms;
mod signals;
mod systemd;
mod takeover;

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use erpgo_dr_testkit::postgres::PgServer;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Desk, Run};

/// An agent that runs, and its log. It does not outlive the test, which may have failed.
pub(crate) struct Service {
    child: Option<Child>,
    log: PathBuf,
}

impl Service {
    /// Starts `erpgo-dr agent` with its log in a file of this name.
    pub(crate) fn start(desk: &Desk, name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start_as(desk, name, &[arguments, &["agent", "--json"]].concat(), variables)
    }

    /// Starts a command line of one's own.
    pub(crate) fn start_as(desk: &Desk, name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command: Command = desk.command(arguments);
        let log = desk.path(&format!("{name}.log"));
        command.envs(variables.iter().copied()).stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
        Self { child: Some(command.spawn().unwrap()), log }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn until_logged(&self, words: &str) {
        wait_for(words, || self.log().contains(words));
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) fn stop(self) -> Run {
        self.signal(Signal::TERM);
        self.end()
    }

    /// Waits until it has ended.
    pub(crate) fn end(mut self) -> Run {
        let mut run = Run::of(&self.child.take().unwrap().wait_with_output().unwrap());
        run.stderr = self.log();
        run
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A session that locks a table, so that a backup waits.
pub(crate) struct Lock<'s> {
    child: Child,
    server: &'s PgServer,
}

const LOCKED: &str = "SELECT count(*) > 0 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted";
const WAITING: &str = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted";

impl<'s> Lock<'s> {
    pub(crate) fn take(server: &'s PgServer) -> Self {
        let statements = "BEGIN; LOCK TABLE erp.customers; SELECT pg_sleep(600)";
        let mut client = server.client("psql");
        let child = client.args(["-d", "erp", "-c", statements]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let lock = Self { child: child.unwrap(), server };
        wait_for("the lock", || server.psql("erp", LOCKED) == "t");
        lock
    }

    /// Waits until somebody waits for it.
    pub(crate) fn until_waited_for(&self) {
        wait_for("a backup that waits", || self.server.psql("erp", WAITING) == "t");
    }

    /// Ends sessions that wait for it: the server does not notice by itself that their programs are gone.
    pub(crate) fn dismiss(&self) {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted";
        wait_for("an end of waiting", || {
            self.server.psql("erp", end);
            self.server.psql("erp", WAITING) == "f"
        });
    }

    pub(crate) fn release(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BEGIN; LOCK%'";
        self.server.psql("postgres", end);
    }
}

/// The runs that the history has, the oldest first.
pub(crate) fn history(desk: &Desk) -> Vec<Value> {
    let mut runs = desk.json(&["history", "--limit", "100000"])["result"]["runs"].as_array().unwrap().clone();
    runs.reverse();
    runs
}

/// The states of these runs.
pub(crate) fn states(runs: &[Value]) -> Vec<&str> {
    runs.iter().map(|run| run["state"].as_str().unwrap()).collect()
}

pub(crate) fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(120), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_agent_backs_up_at_once_and_its_history_and_its_log_tell_of_it() {
    let (desk, _server) = Desk::with_server(17);
    let plan = desk.json(&["agent", "--dry-run"]);
    let jobs = plan["result"]["jobs"].as_array().unwrap();
    assert_eq!(jobs[0]["limit_seconds"], 12 * 3600);
    let names: Vec<&str> = jobs.iter().map(|job| job["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["backup", "check", "verify", "prune", "restore-test"]);
    assert_eq!((&jobs[0]["schedule"], &jobs[0]["time_zone"]), (&"0 */6 * * *".into(), &"UTC".into()));
    assert!(desk.ok(&["history"]).contains("no runs"));

    // The usual jobs may be due while this runs.
    let job = "[[agent.job]]\nkind = \"backup\"\nschedule = \"0 0 1 1 *\"\n";
    desk.configure(&format!("[agent]\nhost = \"db1\"\nreport_log = \"backup_report.log\"\n{job}"));
    let service = Service::start(&desk, "agent", &[], &[]);
    wait_for("a backup", || states(&history(&desk)) == ["succeeded"]);
    let run = service.stop();
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["result"]["state"]["jobs"][0]["successes"], 1);
    let runs = history(&desk);
    assert_eq!(
        (&runs[0]["job"], &runs[0]["host"], &runs[0]["cause"]),
        (&"backup".into(), &"db1".into(), &"first".into())
    );
    let id = runs[0]["ending"]["facts"]["backup"].as_str().unwrap();
    assert!(desk.ok(&["list"]).contains(id));
    let line = std::fs::read_to_string(desk.path("backup_report.log")).unwrap();
    assert!(line.contains("SUCCESS backup attempt 1") && line.contains(id) && line.lines().count() == 1, "{line}");
    assert!(desk.ok(&["history", "backup"]).contains("succeeded"));

    // Nothing is due now.
    let once = desk.json(&["agent", "--once"]);
    assert_eq!(once["result"]["runs"].as_array().unwrap().len(), 0);
}

#[test]
fn names_of_the_old_scripts_say_when_and_how_often() {
    let (desk, _server) = Desk::with_server(17);
    std::fs::write(desk.path("old.env"), "BACKUP_SCHEDULE=30 2 * * *\nBACKUP_MAX_RETRIES=5\n").unwrap();
    let plan = desk.json(&["--env-file", "old.env", "agent", "--dry-run"]);
    let job = &plan["result"]["jobs"][0];
    assert_eq!((&job["schedule"], &job["retries"]), (&"30 2 * * *".into(), &5.into()));
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_with_a_next_step() {
    let (desk, _server) = Desk::with_server(17);
    let refused = |job: &str, code, kind: &str, hint: &str| {
        desk.configure(&format!("[[agent.job]]\n{job}\n"));
        desk.fails(&["agent", "--dry-run"], code, kind, hint)
    };
    refused("kind = \"backup\"\nschedule = \"at noon\"", 3, "invalid", "five fields of cron");
    refused("kind = \"backup\"\ntime_zone = \"Mars/Olympus\"", 3, "invalid", "Europe/Berlin");
    refused("kind = \"verify\"", 2, "config", "docs/cli.md");
    refused("kind = \"prune\"\nschedule = \"0 0 * * *\"\nlevel = \"mac\"", 2, "config", "docs/cli.md");
    refused("kind = \"repair\"\nschedule = \"0 0 * * *\"", 2, "config", "docs/cli.md");
    refused("kind = \"backup\"\n[[agent.job]]\nkind = \"backup\"", 3, "invalid", "a `name` of its own");
    refused("kind = \"backup\"\nname = \"repository\"", 3, "invalid", "another `name`");
    refused("kind = \"backup\"\njitter = \"99999999d\"", 3, "invalid", "jitter = \"10m\"");
    let run = refused("kind = \"backup\"\nshedule = \"0 0 * * *\"", 2, "config", "docs/cli.md");
    assert!(run.stderr.contains("shedule"), "{}", run.stderr);
}

#[test]
fn units_manifests_and_the_guide_call_the_tool_as_it_is() {
    let units = [
        include_str!("../../../packaging/systemd/erpgo-dr-agent.service"),
        include_str!("../../../packaging/systemd/erpgo-dr-agent-once.service"),
    ];
    let manifests = [
        include_str!("../../../packaging/kubernetes/agent.yaml"),
        include_str!("../../../packaging/kubernetes/cronjob.yaml"),
    ];
    let of_units = units.iter().map(|unit| {
        let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/erpgo-dr ")).unwrap();
        line.split(' ').map(str::to_owned).collect::<Vec<_>>()
    });
    let of_manifests = manifests.iter().map(|manifest| {
        let line = manifest.lines().find_map(|line| line.trim().strip_prefix("args: ")).unwrap();
        serde_json::from_str::<Vec<String>>(line).unwrap()
    });
    for arguments in of_units.chain(of_manifests) {
        let line = std::iter::once("erpgo-dr".to_owned()).chain(arguments.clone());
        let matches = erpgo_dr_cli::command().try_get_matches_from(line).unwrap();
        assert_eq!(matches.subcommand_name(), Some("agent"), "{arguments:?}");
    }
    let guide = include_str!("../../../docs/agent.md");
    let config = guide.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    erpgo_dr_cli::config::Config::parse(config).unwrap();
}
