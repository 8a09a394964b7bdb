//! Runbooks at the terminal: found, planned, run, killed, resumed and taken back.

mod away;
mod contacts;

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use erpgo_dr_testkit::postgres::PgServer;

use crate::support::{Desk, Run};

/// The second step waits for a file, so that a test decides when it ends.
const MINE: &str = "
name = 'mine'
title = 'Mine'
[variables]
folder = { type = 'path' }
token = { type = 'secret', optional = true }
[[steps]]
id = 'one'
title = 'One'
write-file = { path = '{{ folder }}/one', text = 'new' }
[[steps]]
id = 'two'
title = 'Two'
command = { run = ['sh', '-c', 'until test -e \"$1/go\"; do sleep 0.05; done', 'sh', '{{ folder }}'] }
repeatable = true
undo = { command = { run = ['true'] } }
[[steps]]
id = 'three'
title = 'Three'
confirm = { question = 'Shall it be?', word = 'BE' }
";

fn desk() -> (Desk, String) {
    let desk = Desk::new();
    desk.ok(&["init", "--recipient", &desk.recipient]);
    std::fs::write(desk.path("mine.toml"), MINE).unwrap();
    let folder = format!("folder={}", desk.folder.path().display());
    (desk, folder)
}

fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Finds what the second step has started.
fn programs_of(desk: &Desk) -> String {
    let line = format!("until test -e .* {}$", desk.folder.path().display());
    let found = std::process::Command::new("pgrep").args(["-f", &line]).output().unwrap();
    String::from_utf8(found.stdout).unwrap()
}

#[test]
fn a_run_that_is_killed_goes_on_and_is_taken_back() {
    let (desk, folder) = desk();
    let mut command = desk.command(&["runbook", "run", "mine.toml", "--set", &folder, "--operator", "ann"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("the second step", || desk.run(&["runbook", "log"]).stdout.contains("two: do 1: run sh"));
    desk.fails(&["runbook", "resume"], 14, "busy", "let that process end");
    desk.fails(&["runbook", "undo", "latest"], 14, "busy", "let that process end");
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    let runs = desk.ok(&["runbook", "runs"]);
    assert!(runs.contains("mine") && runs.contains("open") && runs.contains("two") && runs.contains("ann"), "{runs}");

    let beside = desk.run(&["runbook", "resume"]);
    assert_eq!(beside.code, 1, "{}", beside.stderr);
    assert!(beside.stdout.contains("stopped at two"), "its program has outlived it: {}", beside.stdout);
    std::fs::write(desk.path("go"), "").unwrap();
    wait_for("the program of the second step to end", || programs_of(&desk).is_empty());
    let resumed = desk.run(&["runbook", "resume"]);
    assert_eq!(resumed.code, 1, "nobody is there to confirm: {}", resumed.stderr);
    assert!(
        resumed.stdout.contains("stopped at three") && resumed.stdout.contains("runbook resume"),
        "{}",
        resumed.stdout
    );
    assert!(resumed.stderr.contains("[2/3] Two: run sh -c"), "{}", resumed.stderr);
    let confirmed = desk.run(&["runbook", "resume", "--confirm", "BE"]);
    assert_eq!(confirmed.code, 0, "{}{}", confirmed.stdout, confirmed.stderr);
    assert_eq!(std::fs::read_to_string(desk.path("one")).unwrap(), "new");
    desk.fails(&["runbook", "resume"], 2, "usage", "runbook runs");
    desk.fails(&["runbook", "resume", "latest"], 13, "refused", "begin another one");
    desk.ok(&["runbook", "undo", "latest"]);
    assert!(!desk.path("one").exists());
    let log = desk.ok(&["runbook", "log"]);
    assert!(log.contains("begun: mine by ann") && log.trim_end().ends_with("undone"), "{log}");
}

#[test]
fn a_run_that_is_interrupted_says_how_it_goes_on() {
    let (desk, folder) = desk();
    let mut command = desk.command(&["runbook", "run", "mine.toml", "--set", &folder]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("the second step", || desk.run(&["runbook", "log"]).stdout.contains("two: do 1"));
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let run = Run::of(&child.wait_with_output().unwrap());
    assert_eq!(run.code, 130, "{}", run.stderr);
    assert!(run.stderr.contains("the run is cut off; `erpgo-dr runbook resume 2"), "{}", run.stderr);
    assert_eq!(programs_of(&desk), "", "what the step started is gone");
}

#[test]
fn what_is_wrong_is_said_before_anything_is_done() {
    let (desk, folder) = desk();
    desk.fails(&["runbook", "run", "nonsense"], 2, "usage", "`erpgo-dr runbook list`");
    desk.fails(&["runbook", "run", "mine.toml"], 3, "invalid", "--set folder=...");
    desk.fails(&["runbook", "run", "mine.toml", "--set", "folder=relative"], 3, "invalid", "runbook show");
    desk.fails(&["runbook", "run", "mine.toml", "--set", &folder, "--set", "other=1"], 3, "invalid", "runbook show");
    desk.fails(
        &["runbook", "run", "mine.toml", "--set", &folder, "--set", "token=x"],
        2,
        "usage",
        "--set-file token=FILE",
    );
    desk.fails(&["runbook", "log", "2026"], 2, "usage", "runbook runs");
    desk.fails(&["runbook", "log", "20200101T000000Z-00000000"], 4, "not-found", "runbook runs");
    let leak = MINE.replace("Shall it be?", "{{ token }}");
    std::fs::write(desk.path("leak.toml"), leak).unwrap();
    let checked = desk.run(&["runbook", "check", "leak.toml"]);
    assert_eq!(checked.code, 1);
    assert!(checked.stdout.contains("step three: the secret token would be seen there"), "{}", checked.stdout);
    desk.fails(&["runbook", "run", "leak.toml", "--set", &folder], 3, "invalid", "runbook check");
    std::fs::write(desk.path("broken.toml"), "name = 'x'\ntitel = 'X'").unwrap();
    desk.fails(&["runbook", "plan", "broken.toml"], 3, "invalid", "docs/runbooks.md");
    assert!(desk.json(&["runbook", "runs"])["result"]["runs"].as_array().unwrap().is_empty());
}

#[test]
fn the_folder_of_the_configuration_wins_and_gives_values() {
    let (desk, _) = desk();
    std::fs::create_dir(desk.path("books")).unwrap();
    let own = MINE.replace("'mine'", "'backup-restore'").replace("'Mine'", "'Our own way'");
    std::fs::write(desk.path("books/backup-restore.toml"), own).unwrap();
    std::fs::write(desk.path("books/wrong.toml"), "name = 1").unwrap();
    std::fs::write(desk.path("token"), "t0ps3cret-token\n").unwrap();
    let (books, folder) = (desk.path("books"), desk.folder.path());
    desk.configure(&format!(
        "[runbook]\nfolder = \"{}\"\n[runbook.variables]\nfolder = \"{}\"\n[runbook.secrets]\ntoken = \"{}\"\n",
        books.display(),
        folder.display(),
        desk.path("token").display()
    ));
    let listed = desk.run(&["runbook", "list"]);
    assert_eq!(listed.code, 1, "one cannot be read: {}", listed.stderr);
    assert!(listed.stdout.contains("Our own way") && listed.stdout.contains("database-failure"), "{}", listed.stdout);
    assert!(listed.stderr.contains("wrong.toml"), "{}", listed.stderr);
    let plan = desk.ok(&["runbook", "plan", "backup-restore"]);
    assert!(
        plan.contains(&format!("write {}/one", folder.display())) && plan.contains("taken back by: bring back"),
        "{plan}"
    );
    assert!(plan.contains("by typing BE"), "{plan}");
    std::fs::write(desk.path("go"), "").unwrap();
    desk.ok(&["runbook", "run", "backup-restore", "--confirm", "BE"]);
    let dry = desk.ok(&["runbook", "run", "backup-restore", "--dry-run"]);
    assert_eq!(dry, plan);
}

#[test]
fn a_failed_primary_is_replaced_from_the_command_line() {
    let (desk, _) = desk();
    let mut primary = PgServer::start(17);
    let standby = erpgo_dr_testkit::postgres::standby_of(&primary);
    primary.psql("postgres", "CREATE TABLE users AS SELECT 1 AS id");
    let end = primary.psql("postgres", "SELECT pg_current_wal_lsn()");
    wait_for("the standby", || standby.psql("postgres", &format!("SELECT pg_last_wal_replay_lsn() >= '{end}'")) == "t");
    let file = format!("application_file={}", desk.path("application.env").display());
    let (one, two) = (format!("primary={}", primary.url("postgres")), format!("standby={}", standby.url("postgres")));
    let programs = [
        "primary_restart=false",
        "primary_stop=true",
        "primary_log=true",
        "application_stop=true",
        "application_start=true",
        "project=/",
    ];
    let sets = programs.into_iter().flat_map(|program| ["--set", program]);
    let values =
        ["--set", &one, "--set", &two, "--set", &file, "--set", "standby_host=db2", "--set", "important_table=users"];
    let run: Vec<&str> =
        ["runbook", "run", "database-failure", "--yes"].into_iter().chain(values).chain(sets).collect();

    // Nothing is done to a primary that is well.
    let well = desk.run(&run);
    assert_eq!(well.code, 0, "{}{}", well.stdout, well.stderr);
    for step in ["restart", "fence", "promote", "point-application", "stop-application"] {
        assert!(!desk.ok(&["runbook", "log"]).contains(&format!("{step}: do ")), "{step}: {}", well.stderr);
    }
    assert_eq!(standby.psql("postgres", "SELECT pg_is_in_recovery()"), "t");

    primary.kill();
    let failed = desk.run(&run);
    assert_eq!(failed.code, 0, "{}{}", failed.stdout, failed.stderr);
    assert_eq!(standby.psql("postgres", "SELECT pg_is_in_recovery()"), "f");
    assert_eq!(std::fs::read_to_string(desk.path("application.env")).unwrap(), "POSTGRES_PRIMARY_HOST=db2\n");
    let log = desk.ok(&["runbook", "log"]);
    for expected in
        ["primary-answers: failed", "restart: failed", "gone: succeeded", "fence: succeeded", "promote: succeeded"]
    {
        assert!(log.contains(expected), "{expected}: {log}");
    }
}
