//! What a service manager is told, and SIGHUP.

use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};

use rustix::process::Signal;

use super::{Service, history, states, wait_for};
use crate::support::Desk;

const JOB: &str = "[[agent.job]]\nkind = \"backup\"\nschedule = \"0 0 1 1 *\"\ndatabases = [\"erp\"]\n";
const SECOND: &str = "name = \"second\"\n";

#[test]
fn readiness_reloads_and_the_end_are_told_and_a_bad_configuration_changes_nothing() {
    let (desk, _server) = Desk::with_server(17);
    let told = listen(&desk);
    let all = || told.lock().unwrap().clone();
    let count =
        |words: &str| all().iter().filter(|message| message.lines().any(|line| line.starts_with(words))).count();
    let command =
        "[agent]\ntick = \"200ms\"\nnotify = { command = [\"sh\", \"-c\", \"cat >> \\\"$0\\\"\", \"HEARD\"] }\n";
    let heard = desk.path("heard");
    let agent = command.replace("HEARD", heard.to_str().unwrap());
    desk.configure(&format!("{agent}{JOB}"));
    let socket = desk.path("notify.sock");
    let variables = [("NOTIFY_SOCKET", socket.to_str().unwrap()), ("WATCHDOG_USEC", "1000000")];
    let service = Service::start(&desk, "agent", &[], &variables);
    wait_for("readiness", || count("READY=1") == 1);
    wait_for("two signs of life", || count("WATCHDOG=1") >= 2);
    wait_for("a backup", || states(&history(&desk)) == ["succeeded"]);
    wait_for("what is next", || count("STATUS=next is backup at") >= 1);

    desk.configure(&format!("{agent}{JOB}retires = 3\n"));
    service.signal(Signal::HUP);
    service.until_logged("the new configuration is refused");
    wait_for("the end of the reload", || count("RELOADING=1") == 1 && count("READY=1") == 2);
    let log = service.log();
    assert!(log.contains("retires"), "{log}");
    wait_for("that people are told", || {
        std::fs::read_to_string(&heard).is_ok_and(|text| text.contains("ALARM: configuration"))
    });

    desk.configure(&format!("{agent}{JOB}{JOB}{SECOND}"));
    service.signal(Signal::HUP);
    wait_for("a run of the second job", || states(&history(&desk)) == ["succeeded", "succeeded"]);
    assert_eq!(history(&desk)[1]["job"], "second", "the job that was there is not done again");
    wait_for("that it is well again", || std::fs::read_to_string(&heard).unwrap().contains("cleared: configuration"));
    wait_for("the end of the second reload", || count("RELOADING=1") == 2 && count("READY=1") == 3);
    assert!(all().iter().all(|message| !message.contains("RELOADING=1") || message.contains("MONOTONIC_USEC=")));

    let run = service.stop();
    assert_eq!(run.code, 0, "{}", run.stderr);
    wait_for("the end", || count("STOPPING=1") == 1);
    assert_eq!(std::fs::read_to_string(&heard).unwrap().matches("ALARM").count(), 1);
}

/// Collects the datagrams that a service manager would get.
fn listen(desk: &Desk) -> Arc<Mutex<Vec<String>>> {
    let socket = UnixDatagram::bind(desk.path("notify.sock")).unwrap();
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&told);
    // It ends with the process of the tests.
    std::thread::spawn(move || {
        let mut message = [0; 4096];
        while let Ok(length) = socket.recv(&mut message) {
            kept.lock().unwrap().push(String::from_utf8_lossy(&message[..length]).into_owned());
        }
    });
    told
}
