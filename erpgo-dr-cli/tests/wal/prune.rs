//! The log goes with the backups that need it, and no earlier.

use serde_json::Value;

use crate::incremental::back_up;
use crate::support::{Site, content, wait_for, wait_until_archived, write};

fn segments(site: &Site) -> Vec<String> {
    let timeline =
        std::fs::read_dir(site.path("repository/wal")).unwrap().next().unwrap().unwrap().path().join("00000001");
    let mut names: Vec<String> =
        std::fs::read_dir(timeline).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_log_before_the_oldest_backup_goes_with_the_backups_before_it() {
    let site = Site::new();
    let server = site.archiving_server(15, "");
    write(&server, "early");
    wait_until_archived(&server);
    // Without a backup all of it may be of use to somebody.
    let none = site.json(&["wal", "prune"]);
    assert_eq!(none["result"]["clusters"], Value::Array(Vec::new()), "{none}");
    let first = back_up(&site, &server, &[]);
    write(&server, "between");
    wait_until_archived(&server);
    let second = back_up(&site, &server, &[]);
    write(&server, "late");
    wait_until_archived(&server);
    let before = segments(&site);

    let planned = site.json(&["wal", "prune", "--dry-run"]);
    let early = planned["result"]["clusters"][0]["files"].as_u64().unwrap();
    assert!(early > 0 && planned["result"]["clusters"][0]["before"] == first["start_lsn"], "{planned}");
    assert_eq!(segments(&site), before);
    let kept = site.json(&["prune", "--keep-last", "1", "--keep-wal", "--dry-run"]);
    assert_eq!(kept["result"]["wal"], Value::Array(Vec::new()), "{kept}");
    let (code, text) = site.erpgo(&["prune", "--keep-last", "1"]);
    assert!(code == 0 && text.contains(" files, "), "{text}");
    let after = segments(&site);
    assert!(after.len() as u64 + early < before.len() as u64, "{before:?} {after:?}");
    assert_eq!(before[before.len() - after.len()..], after, "only the oldest go");
    let again = site.json(&["wal", "prune"]);
    assert_eq!(again["result"]["clusters"], Value::Array(Vec::new()), "{again}");
    let checked = site.json(&["wal", "check"]);
    assert_eq!(checked["ok"], true, "{checked}");

    let data = site.path("restored").display().to_string();
    let restored = site.json(&["cluster", "restore", second["id"].as_str().unwrap(), "--data-dir", &data]);
    assert_eq!(restored["ok"], true, "{restored}");
    let mut recovered = site.under(&site.path("restored"), 15, &site.shell("wal fetch %f %p"));
    recovered.restart();
    wait_for("recovery", &recovered, || recovered.psql("postgres", "SELECT pg_is_in_recovery()") == "f");
    assert_eq!(content(&recovered, "late"), content(&server, "late"));
}
