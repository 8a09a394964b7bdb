//! A cluster that Patroni runs, at the command line.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use erpgo_dr_testkit::patroni::PATIENCE;
use erpgo_dr_testkit::{PatroniCluster, PatroniOptions};
use serde_json::Value;

use crate::documents::check;
use crate::support::Desk;

/// Has the desk know where Patroni is, and who we are.
fn introduce(desk: &Desk, cluster: &PatroniCluster) {
    std::fs::write(desk.path("password"), "geheim-17\n").unwrap();
    let urls: Vec<String> = cluster.urls().iter().map(|url| format!("\"{url}\"")).collect();
    let password = desk.path("password").display().to_string();
    desk.configure(&format!("[ha]\npatroni = [{}]\nuser = \"dr\"\npassword_file = \"{password}\"\n", urls.join(", ")));
}

fn leader(desk: &Desk) -> String {
    let members = desk.json(&["ha", "show"])["result"]["members"].as_array().unwrap().clone();
    let leads = |member: &&Value| member["role"] == "leader";
    members.iter().find(leads).unwrap()["name"].as_str().unwrap().to_owned()
}

/// Waits until all is well, as an operator would.
fn well(desk: &Desk) {
    let begun = Instant::now();
    loop {
        let shown = desk.run(&["ha", "show"]);
        if shown.code == 0 {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{}{}", shown.stdout, shown.stderr);
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn patroni_is_asked_and_told() {
    let cluster = PatroniOptions::new(2).authentication("dr", "geheim-17").start();
    let desk = Desk::new();
    desk.fails(&["ha", "show"], 2, "usage", "give --patroni URL");
    desk.fails(&["ha", "show", "--patroni", "http://127.0.0.1:1"], 11, "unavailable", "the addresses of all members");
    desk.fails(&["ha", "show", "--patroni", "http://me:secret@127.0.0.1:1"], 3, "invalid", "docs/high-availability.md");
    let url = cluster.urls().join(",");
    desk.fails(&["ha", "pause", "--patroni", &url], 9, "permission", "--password-file");
    introduce(&desk, &cluster);
    well(&desk);
    let shown = desk.json(&["ha", "show"]);
    check("ha show", &shown);
    let old = leader(&desk);
    let new = if old == "pg1" { "pg2" } else { "pg1" };

    // Nothing is done by itself, and nothing without a yes.
    let planned = desk.json(&["ha", "switchover", "--max-lag", "67108864", "--dry-run"]);
    check("ha switchover", &planned);
    assert_eq!((&planned["result"]["plan"]["candidate"], &planned["result"]["report"]), (&new.into(), &Value::Null));
    desk.fails(&["ha", "switchover", "--max-lag", "67108864"], 13, "refused", "--yes");
    desk.fails(&["ha", "reinitialize", new], 13, "refused", "--yes");
    desk.fails(&["ha", "reinitialize", &old, "--yes"], 13, "refused", "ha switchover");
    desk.fails(&["ha", "switchover", "--candidate", "pg9", "--yes"], 4, "not-found", "ha show");
    desk.fails(&["ha", "switchover", "--leader", new, "--yes"], 13, "refused", "ha show");
    assert_eq!(leader(&desk), old);

    check("ha pause", &desk.json(&["ha", "pause", "--dry-run"]));
    check("ha pause", &desk.json(&["ha", "pause", "--limit", "3m"]));
    let paused = desk.run(&["ha", "show"]);
    assert!(paused.code == 1 && paused.stdout.contains("! it is paused"), "{}", paused.stdout);
    desk.fails(&["ha", "switchover", "--yes"], 13, "refused", "--candidate MEMBER");
    check("ha resume", &desk.json(&["ha", "resume", "--limit", "3m"]));

    let done = desk.json(&["ha", "switchover", "--yes", "--max-lag", "67108864", "--limit", "3m"]);
    check("ha switchover", &done);
    assert_eq!((&done["result"]["report"]["lost_bytes"], leader(&desk).as_str()), (&0.into(), new));
    well(&desk);
    let failover = ["ha", "failover", "--candidate", &old, "--yes", "--max-lag", "67108864", "--limit", "3m"];
    desk.fails(&failover, 13, "refused", "--even-if-well");
    let done = desk.json(&[&failover[..], &["--even-if-well"]].concat());
    check("ha failover", &done);
    well(&desk);
    let done = desk.json(&["ha", "reinitialize", new, "--yes", "--limit", "3m"]);
    check("ha reinitialize", &done);
    assert_eq!((&done["result"]["report"]["leader"], leader(&desk)), (&old.as_str().into(), old.clone()));
}

#[test]
fn a_run_that_was_killed_in_a_switchover_ends_as_if_it_had_not_been() {
    let cluster = PatroniOptions::new(2).authentication("dr", "geheim-17").start();
    let desk = Desk::new();
    desk.ok(&["init", "--recipient", &desk.recipient.clone()]);
    introduce(&desk, &cluster);
    let from = cluster.leader_with_standbys();
    let (old, new) = (&cluster.nodes[from], &cluster.nodes[1 - from]);
    let text = r#"
name = "mine"
title = "Mine"
[variables]
patroni = { type = "list" }
password = { type = "secret" }
leader = { type = "text", optional = true }
[patroni]
urls = ["{{ patroni }}"]
user = "dr"
password = "password"
[[steps]]
id = "healthy"
title = "H"
wait-for = { check = { ha = { do = "healthy" } } }
store = "leader"
[[steps]]
id = "switchover"
title = "S"
ha = { do = "switchover", leader = "{{ leader }}", max-lag = 67108864 }
ask = false
[[steps]]
id = "healthy-again"
title = "A"
wait-for = { check = { ha = { do = "healthy" } } }
"#;
    std::fs::write(desk.path("mine.toml"), text).unwrap();
    let urls = format!("patroni={}", cluster.urls().join(","));
    let secret = format!("password={}", desk.path("password").display());
    let mut command = desk.command(&["runbook", "run", "mine.toml", "--set", &urls, "--set-file", &secret]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // The old leader goes down for the other one: Patroni is in the middle of it.
    let begun = Instant::now();
    while old.sql("SELECT pg_is_in_recovery()").as_deref() == Ok("f") {
        if let Some(status) = child.try_wait().unwrap() {
            let said = child.wait_with_output().unwrap();
            panic!("{status}: {}", String::from_utf8_lossy(&said.stderr));
        }
        assert!(begun.elapsed() < PATIENCE, "{}", cluster.logs());
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    let resumed = desk.run(&["runbook", "resume", "--set-file", &secret]);
    assert_eq!(resumed.code, 0, "{}{}", resumed.stdout, resumed.stderr);
    assert_eq!(leader(&desk), new.name());
    well(&desk);
    // Whether it was told once more or was found done: there was one change.
    let shown = desk.json(&["ha", "show"]);
    assert_eq!(shown["result"]["members"][0]["timeline"], 2, "{shown}");
    let log = desk.ok(&["runbook", "log"]);
    assert!(log.contains("resumed by") && !log.contains("geheim-17"), "{log}");
}
