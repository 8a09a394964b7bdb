//! A restore test draws a backup and a moment behind it by lot, and replays the archive up to there.

use erpgo_dr_testkit::postgres::PgServer;
use serde_json::Value;

use crate::support::{Site, wait_until_archived, write};

fn lsn(text: &str) -> u64 {
    let (high, low) = text.split_once('/').unwrap();
    u64::from_str_radix(high, 16).unwrap() << 32 | u64::from_str_radix(low, 16).unwrap()
}

fn back_up(site: &Site, server: &PgServer) -> Value {
    let backup = site.json(&["-d", &server.url("postgres"), "cluster", "backup"]);
    assert_eq!(backup["ok"], true, "{backup}");
    backup["result"].clone()
}

#[test]
fn a_moment_by_lot_is_replayed_and_can_be_repeated() {
    let site = Site::new();
    let server = site.archiving_server(17, "");
    let none = site.json(&["verify", "--restore", "--random"]);
    assert_eq!((&none["ok"], none["error"]["kind"].as_str()), (&Value::Bool(false), Some("not-found")), "{none}");
    write(&server, "first");
    let first = back_up(&site, &server);
    ["one", "two"].iter().for_each(|table| write(&server, table));
    server.psql("postgres", "CREATE DATABASE later");
    server.psql("later", "CREATE TABLE kept AS SELECT 1 AS n");
    let begun = server.psql("postgres", "SELECT pg_current_wal_lsn()");
    write(&server, "three");
    wait_until_archived(&server);

    let bin = server.bin().display().to_string();
    let scratch = ["--scratch", "/tmp", "--bin-dir", &bin];
    let mut drawn = Vec::new();
    for _ in 0..3 {
        let report = site.json(&[&["verify", "--restore", "--random"][..], &scratch].concat());
        let verdict = &report["result"]["verdicts"][0];
        assert_eq!((&report["ok"], &verdict["backup"]), (&Value::Bool(true), &first["id"]), "{report}");
        let until = verdict["replayed_to"].as_str().unwrap_or_else(|| panic!("{report}")).to_owned();
        assert!(lsn(&until) >= lsn(first["stop_lsn"].as_str().unwrap()), "{report}");
        drawn.push(until);
    }
    drawn.dedup();
    assert!(drawn.len() > 1, "always the same: {drawn:?}");

    // The databases of that moment are read, and what is asked of them holds only once it has come.
    let check = "there:later:SELECT count(*) = 1 FROM kept";
    let id = first["id"].as_str().unwrap();
    for (until, holds) in [(begun.as_str(), true), (first["stop_lsn"].as_str().unwrap(), false)] {
        let named = ["verify", id, "--restore", "--replay-to", until, "--check", check];
        let report = site.json(&[&named[..], &scratch].concat());
        let verdict = &report["result"]["verdicts"][0];
        assert_eq!((&verdict["passed"], &verdict["replayed_to"]), (&Value::Bool(holds), &until.into()), "{report}");
    }

    // A segment that is missing is a finding.
    let system = server.psql("postgres", "SELECT system_identifier FROM pg_control_system()");
    let name = server.psql("postgres", &format!("SELECT pg_walfile_name('{begun}')"));
    std::fs::remove_file(site.path(&format!("repository/wal/{system}/00000001/{name}"))).unwrap();
    let report = site.json(&[&["verify", id, "--restore", "--replay-to", &begun][..], &scratch].concat());
    assert_eq!(report["result"]["passed"], false, "{report}");
    let early = site.json(&[&["verify", id, "--restore", "--replay-to", "0/1000000"][..], &scratch].concat());
    assert_eq!(early["error"]["kind"], "invalid", "{early}");
}
