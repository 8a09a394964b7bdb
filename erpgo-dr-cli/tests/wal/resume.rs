//! A backup that breaks off is gone on with: what it has stored is read again, but not stored again.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use erpgo_dr_testkit::postgres::PgServer;
use serde_json::Value;

use crate::incremental::{assert_same, back_up, quiet_server, restore};
use crate::support::{Site, content, start_on, write};

/// Tables of some 30 MB each, in files of their own.
const TABLES: usize = 16;

fn large_server() -> PgServer {
    let server = quiet_server(17);
    (0..TABLES).for_each(|n| write(&server, &format!("t{n}")));
    server.psql("postgres", "CHECKPOINT");
    server
}

/// The objects of the repository whose names begin so.
fn objects(site: &Site, folder: &str, name: &str) -> usize {
    let Ok(runs) = std::fs::read_dir(site.path("repository").join(folder)) else { return 0 };
    let files = runs.filter_map(|run| std::fs::read_dir(run.unwrap().path()).ok()).flatten();
    files.filter(|file| file.as_ref().is_ok_and(|file| file.file_name().to_string_lossy().starts_with(name))).count()
}

/// Begins a backup that is killed when there are so many parts of journals, and before it is committed.
fn kill(site: &Site, server: &PgServer, more: &[&str], parts: usize) {
    let (config, url) = (site.path("erpgo-dr.toml").display().to_string(), server.url("postgres"));
    let arguments = [&["--config", &config, "-d", &url, "cluster", "backup", "--codec", "none"], more].concat();
    let mut backup = site.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    while objects(site, "backups", "journal-") < parts {
        assert!(Instant::now() < deadline && backup.try_wait().unwrap().is_none(), "nothing was noted");
        std::thread::sleep(Duration::from_millis(1));
    }
    backup.kill().unwrap();
    assert_eq!(backup.wait().unwrap().signal(), Some(9));
    assert_eq!(objects(site, "backups", "summary"), 0, "it was committed meanwhile");
}

fn number(report: &Value, key: &str) -> u64 {
    report[key].as_u64().unwrap_or_else(|| panic!("{key}: {report}"))
}

fn assert_resumed(report: &Value) {
    let (resumed, added, all) =
        (number(report, "resumed_bytes"), number(report, "added_bytes"), number(report, "plaintext_bytes"));
    assert!(resumed > 64 << 20, "{report}");
    // Of pages that are all zeros nothing is stored.
    assert!(added + resumed <= all + all / 50, "{report}");
    assert_eq!(report["verdict"]["passed"], true, "{report}");
}

#[test]
fn the_next_backup_stores_what_a_killed_one_has_not() {
    let site = Site::new();
    let server = large_server();
    kill(&site, &server, &[], 2);
    // A page that is stored may have changed by now.
    server.psql("postgres", "UPDATE t0 SET t = 'changed' WHERE n % 100 = 0; UPDATE t1 SET t = 'other' WHERE n < 50");
    server.psql("postgres", "DROP TABLE t2; CHECKPOINT");
    // A table that is read is written to: that its rows are there for all to see.
    let expected: Vec<String> = [0, 1, 3, 9].map(|n| content(&server, &format!("t{n}"))).into();
    let resumed = back_up(&site, &server, &["--codec", "none"]);
    assert_eq!(resumed["base"], Value::Null, "{resumed}");
    assert_resumed(&resumed);

    let full = back_up(&site, &server, &["--full", "--codec", "none"]);
    assert_eq!(number(&full, "resumed_bytes"), 0);
    assert_same(&restore(&site, &resumed, "resumed"), &restore(&site, &full, "full"));
    let next = back_up(&site, &server, &[]);
    assert_eq!((&next["base"], number(&next, "resumed_bytes")), (&full["id"], 0), "{next}");

    // The packs belong to the backup that points to them; the rest of the run goes.
    let leases = site.path("repository/state/leases");
    std::fs::read_dir(&leases).unwrap().for_each(|lease| std::fs::remove_file(lease.unwrap().path()).unwrap());
    let pruned = site.json(&["prune", "--grace", "0s", "--keep-last", "10"]);
    assert_eq!(pruned["result"]["leftover_runs"].as_array().map(Vec::len), Some(1), "{pruned}");
    assert_eq!(objects(&site, "backups", "journal-"), 0);
    assert_eq!(site.json(&["verify"])["ok"], true);
    let data = restore(&site, &resumed, "pruned");
    assert_same(&data, &site.path("full"));
    let restored = start_on(&data, 17);
    let found: Vec<String> = [0, 1, 3, 9].map(|n| content(&restored, &format!("t{n}"))).into();
    assert_eq!(found, expected);
}

#[test]
fn a_backup_that_is_killed_twice_goes_on_from_both() {
    let site = Site::new();
    let server = large_server();
    for mode in [&["--remote"][..], &[]] {
        kill(&site, &server, mode, 2);
        kill(&site, &server, &[], 3);
        let resumed = back_up(&site, &server, &[mode, &["--codec", "none"]].concat());
        assert_resumed(&resumed);
        assert!(number(&resumed, "resumed_bytes") > 192 << 20, "{resumed}");
        let full = back_up(&site, &server, &["--full", "--codec", "none"]);
        let (one, other) = (restore(&site, &resumed, "resumed"), restore(&site, &full, "full"));
        assert_same(&one, &other);
        for folder in [one, other, site.path("repository")] {
            std::fs::remove_dir_all(folder).unwrap();
        }
        site.init();
    }
}

#[test]
fn what_prune_takes_is_stored_again() {
    let site = Site::new();
    let server = large_server();
    kill(&site, &server, &[], 1);
    let leases = site.path("repository/state/leases");
    let pruned = site.json(&["prune", "--grace", "0s", "--keep-last", "1"]);
    assert_eq!(pruned["result"]["leftover_runs"], Value::Array(Vec::new()), "its lease is alive: {pruned}");
    std::fs::read_dir(&leases).unwrap().for_each(|lease| std::fs::remove_file(lease.unwrap().path()).unwrap());
    let pruned = site.json(&["prune", "--grace", "0s", "--keep-last", "1"]);
    assert_eq!(pruned["result"]["leftover_runs"].as_array().map(Vec::len), Some(1), "{pruned}");
    assert_eq!((objects(&site, "backups", "journal-"), objects(&site, "packs", "0")), (0, 0));
    let whole = back_up(&site, &server, &["--codec", "none"]);
    assert_eq!(number(&whole, "resumed_bytes"), 0, "{whole}");
    let data = restore(&site, &whole, "whole");
    assert_eq!(content(&start_on(&data, 17), "t5"), content(&server, "t5"));
}

#[test]
fn what_an_interrupted_backup_has_stored_stays() {
    let site = Site::new();
    let server = large_server();
    let (config, url) = (site.path("erpgo-dr.toml").display().to_string(), server.url("postgres"));
    let mut backup = site.command(&["--config", &config, "-d", &url, "cluster", "backup", "--codec", "none"]);
    let mut backup = backup.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while objects(&site, "backups", "journal-") < 2 {
        assert!(backup.try_wait().unwrap().is_none(), "nothing was noted");
        std::thread::sleep(Duration::from_millis(1));
    }
    let interrupt = std::process::Command::new("kill").args(["-INT", &backup.id().to_string()]).status().unwrap();
    assert!(interrupt.success() && !backup.wait().unwrap().success());
    assert_resumed(&back_up(&site, &server, &["--codec", "none"]));
}
