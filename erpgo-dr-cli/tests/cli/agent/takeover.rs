//! Two agents of one repository: one acts, and when it is killed the other goes on.

use rustix::process::Signal;

use super::{Lock, Service, history, states, wait_for};
use crate::support::{Desk, files};

#[test]
fn the_second_agent_takes_over_from_one_that_is_killed_in_the_middle_of_a_backup() {
    let (desk, server) = Desk::with_server(17);
    // The lease is longer than a slow machine may stand still.
    let jobs = "lease = \"15s\"\ntick = \"200ms\"\n[[agent.job]]\nkind = \"backup\"\nschedule = \"0 0 1 1 *\"\n\
                databases = [\"erp\"]\nbackoff = \"1s\"\n";
    for host in ["a", "b"] {
        desk.configure(&format!("[agent]\nhost = \"{host}\"\n{jobs}"));
        std::fs::rename(desk.path("erpgo-dr.toml"), desk.path(&format!("{host}.toml"))).unwrap();
    }
    desk.configure("");
    let lock = Lock::take(&server);
    let first = Service::start(&desk, "a", &["--config", "a.toml"], &[]);
    lock.until_waited_for();
    let runs = history(&desk);
    assert_eq!((states(&runs), &runs[0]["host"]), (vec!["running"], &"a".into()));
    let second = Service::start(&desk, "b", &["--config", "b.toml"], &[]);
    second.until_logged("StandingBy");
    assert_eq!(files(&desk.path("repository/state/history")).len(), 1, "the second does nothing");

    first.signal(Signal::KILL);
    let killed = first.end();
    assert_eq!(killed.code, -1);
    lock.release();
    wait_for("the backup of the second", || states(&history(&desk)).last() == Some(&"succeeded"));
    let runs = history(&desk);
    assert_eq!(states(&runs), ["broken-off", "succeeded"]);
    assert_eq!((&runs[0]["host"], &runs[1]["host"]), (&"a".into(), &"b".into()));
    assert_eq!((&runs[1]["attempt"], &runs[1]["cause"]), (&2.into(), &"retry".into()));
    assert!(runs[0]["ending"]["message"].as_str().unwrap().contains("the agent on a ended"));
    let stopped = second.stop();
    assert_eq!(stopped.code, 0, "{}", stopped.stderr);
    // Told to stop, it gives the lease up: the next one need not wait.
    let leases = files(&desk.path("repository/state/leases"));
    assert!(!leases.iter().any(|lease| lease.display().to_string().contains("/agent-")), "{leases:?}");
    desk.ok(&["verify", "latest"]);
}
