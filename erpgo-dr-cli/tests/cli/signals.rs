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
