//! Ctrl-C: the work ends, cleans up, and leaves a repository as if it had never begun.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Desk, Run, files};

#[test]
fn an_interrupted_backup_leaves_a_valid_repository() {
    let (desk, server) = Desk::with_server(17);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let lock = "BEGIN; LOCK TABLE erp.customers; SELECT pg_sleep(60)";
        let mut locker = server.client("psql");
        let mut locker = locker.args(["-d", "erp", "-c", lock]).stdout(Stdio::null()).spawn().unwrap();
        let locked = "SELECT count(*) > 0 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted";
        wait_for(|| server.psql("erp", locked) == "t");
        let mut command = desk.command(&["backup", "--database", "erp", "--json"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for(|| !files(&desk.path("repository/state/leases")).is_empty());
        wait_for(|| server.psql("erp", "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted") == "t");
        let run = interrupt(child, signal);
        assert_eq!(run.code, code, "{}{}", run.stdout, run.stderr);
        assert!(run.stdout.contains("\"kind\":\"interrupted\""), "{}", run.stdout);
        assert_eq!(files(&desk.path("repository/state/leases")).len(), 0, "the lease is given up");
        assert_eq!(files(&desk.path("repository/dumps")).len(), 0, "nothing is left");
        locker.kill().unwrap();
        locker.wait().unwrap();
        server
            .psql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BEGIN; LOCK%'");
        wait_for(|| server.psql("erp", locked) == "f");
    }
    assert!(desk.ok(&["list"]).contains("no backups"));
    desk.ok(&["backup", "--database", "erp"]);
    desk.ok(&["verify", "--level", "contents"]);
}

#[test]
fn an_interrupted_restore_drops_what_it_had_made_and_nothing_else() {
    let (desk, server) = Desk::with_server(17);
    // Filled in an instant here, and never elsewhere.
    let slow = "CREATE MATERIALIZED VIEW erp.slow AS
        SELECT CASE WHEN current_database() <> 'erp' THEN pg_sleep(600)::text END";
    server.psql("erp", slow);
    desk.ok(&["backup", "--database", "erp"]);
    server.create_database("there");
    let databases = || server.psql("postgres", "SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_database");
    let before = databases();
    for (target, signal, code) in [("new", Signal::INT, 130), ("there", Signal::TERM, 143)] {
        let mut command = desk.command(&["restore", "latest", "--target-database", target, "--json"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let filling =
            format!("SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = '{target}' AND query LIKE 'REFRESH%'");
        wait_for(|| server.psql("postgres", &filling) == "t");
        let run = interrupt(child, signal);
        assert_eq!(run.code, code, "{}{}", run.stdout, run.stderr);
        assert!(run.stdout.contains("\"message\":\"interrupted\""), "{}", run.stdout);
        assert_eq!(databases(), before);
    }

    // Where that cannot be done, it is named: here the server is gone by then.
    let mut server = server;
    let mut command = desk.command(&["restore", "latest", "--target-database", "lost", "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(|| server.psql("postgres", "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = 'lost'") == "t");
    kill_process(Pid::from_child(&child), Signal::STOP).unwrap();
    server.kill();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let run = interrupt(child, Signal::CONT);
    // Either may be seen first: the signal, or that the server is gone.
    assert!(run.code == 130 || run.code == 12, "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("database lost") && run.stdout.contains("DROP DATABASE"), "{}", run.stdout);
}

fn interrupt(child: Child, signal: Signal) -> Run {
    kill_process(Pid::from_child(&child), signal).unwrap();
    Run::of(&child.wait_with_output().unwrap())
}

fn wait_for(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(20), "waited in vain");
        std::thread::sleep(Duration::from_millis(20));
    }
}
