//! SIGTERM while a backup runs.

use super::{Lock, Service, history, states};
use crate::support::{Desk, files};

const JOB: &str = "[[agent.job]]\nkind = \"backup\"\nschedule = \"0 0 1 1 *\"\ndatabases = [\"erp\"]\n";

#[test]
fn a_backup_that_runs_is_finished_or_given_up_cleanly() {
    let (desk, server) = Desk::with_server(17);
    desk.configure(&format!("[agent]\ntick = \"200ms\"\ngrace = \"100ms\"\n{JOB}"));
    let lock = Lock::take(&server);
    let service = Service::start(&desk, "short", &[], &[]);
    lock.until_waited_for();
    let run = service.stop();
    assert_eq!(run.code, 1, "a job was given up: {}{}", run.stdout, run.stderr);
    assert_eq!(states(&history(&desk)), ["interrupted"]);
    assert_eq!(files(&desk.path("repository/dumps")).len(), 0, "nothing is left");
    assert_eq!(files(&desk.path("repository/state/leases")).len(), 0, "the leases are given up");

    lock.dismiss();
    // What was given up is due when the next one starts; with time enough it is finished.
    desk.configure(&format!("[agent]\ntick = \"200ms\"\ngrace = \"10m\"\n{JOB}"));
    let service = Service::start(&desk, "long", &["--log-format", "json"], &[]);
    lock.until_waited_for();
    service.signal(rustix::process::Signal::TERM);
    service.until_logged("Stopping");
    lock.release();
    let run = service.end();
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let runs = history(&desk);
    assert_eq!((states(&runs), &runs[1]["attempt"]), (vec!["interrupted", "succeeded"], &1.into()));
    for line in run.stderr.lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
    }
}

#[test]
fn a_hangup_ends_nothing_while_what_is_due_is_done_once() {
    let (desk, server) = Desk::with_server(17);
    desk.configure(JOB);
    let lock = Lock::take(&server);
    let service = Service::start_as(&desk, "once", &["agent", "--once", "--json"], &[]);
    lock.until_waited_for();
    service.signal(rustix::process::Signal::HUP);
    lock.release();
    let run = service.end();
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert_eq!(states(&history(&desk)), ["succeeded"]);
}
