//! A cluster is backed up while it is written to, and comes back as it was at a moment after that.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use erpgo_dr_testkit::postgres::{MAJORS, PgServer, give_to_postgres};

use crate::support::{Site, content, start_on, wait_until_archived, write};

/// Commits numbers one by one until told to stop; returns the last one that the server acknowledged.
fn commit_numbers(server: &PgServer, stop: &AtomicBool) -> u32 {
    let mut last = 0;
    while !stop.load(Ordering::Relaxed) {
        server.psql("postgres", &format!("INSERT INTO ledger SELECT {last} + n FROM generate_series(1, 50) AS n"));
        last += 50;
    }
    last
}

#[test]
fn a_wrong_update_is_undone_by_going_back_to_just_before_it_on_every_version() {
    for major in MAJORS {
        let site = Site::new();
        let server = site.archiving_server(major, "");
        let (space, moved, data) = (site.path("space"), site.path("moved"), site.path("restored"));
        std::fs::create_dir(&space).unwrap();
        give_to_postgres(&space);
        server.psql("postgres", &format!("CREATE TABLESPACE elsewhere LOCATION '{}'", space.display()));
        server.psql("postgres", "CREATE TABLE ledger (n integer PRIMARY KEY) TABLESPACE elsewhere");
        server.psql("postgres", "CREATE UNLOGGED TABLE fleeting AS SELECT 1 AS n");
        write(&server, "kept");
        let stop = AtomicBool::new(false);
        let url = server.url("postgres");
        let (backup, acknowledged) = std::thread::scope(|scope| {
            let writing = scope.spawn(|| commit_numbers(&server, &stop));
            let backup = site.json(&["-d", &url, "cluster", "backup"]);
            stop.store(true, Ordering::Relaxed);
            (backup, writing.join().unwrap())
        });
        assert_eq!(backup["ok"], true, "{backup}");
        assert_eq!(backup["result"]["damaged_pages"], serde_json::json!([]), "{backup}");

        let kept = content(&server, "kept");
        let moment = server
            .psql("postgres", "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.USZ')");
        server.psql("postgres", "UPDATE kept SET t = 'oops'; DELETE FROM ledger");
        wait_until_archived(&server);
        let oid = server.psql("postgres", "SELECT oid FROM pg_tablespace WHERE spcname = 'elsewhere'");
        let tablespace = format!("{oid}={}", moved.display());
        let folder = data.display().to_string();
        let restore =
            ["cluster", "restore", "--data-dir", &folder, "--tablespace", &tablespace, "--target-time", &moment];
        let planned = site.json(&[&restore[..], &["--dry-run"]].concat());
        assert_eq!(planned["result"]["backup"], backup["result"]["id"], "{planned}");
        assert!(!data.exists(), "a dry run makes nothing");
        let restored = site.json(&restore);
        assert_eq!(restored["ok"], true, "{restored}");
        let again = site.json(&restore);
        assert_eq!((&again["ok"], again["error"]["kind"].as_str()), (&false.into(), Some("refused")), "{again}");

        let recovered = start_on(&data, major);
        assert_eq!(content(&recovered, "kept"), kept, "version {major}");
        let ledger = recovered.psql("postgres", "SELECT count(*), max(n) FROM ledger");
        assert_eq!(ledger, format!("{acknowledged}|{acknowledged}"), "version {major}");
        assert_eq!(recovered.psql("postgres", "SELECT count(*) FROM fleeting"), "0");
        assert_eq!(recovered.psql("postgres", "SHOW archive_mode"), "off");
        let location = recovered.psql("postgres", &format!("SELECT pg_tablespace_location({oid})"));
        assert_eq!(Path::new(&location), moved);
        // The original lives on, untouched.
        assert_eq!(server.psql("postgres", "SELECT count(*) FROM ledger"), "0");
    }
}

#[test]
fn a_physical_backup_is_proven_by_starting_a_server_on_it() {
    let site = Site::new();
    let server = site.archiving_server(17, "");
    write(&server, "kept");
    let url = server.url("postgres");
    let backup = site.json(&["-d", &url, "cluster", "backup"]);
    let id = backup["result"]["id"].as_str().unwrap();
    let scratch = site.path("scratch").display().to_string();
    let programs = server.bin().display().to_string();
    let check = "kept:postgres:SELECT count(*) = 100000 FROM kept";
    let verify = ["--bin-dir", &programs, "verify", "--restore", "--scratch", &scratch, "--check", check];
    let verdict = site.json(&verify);
    assert_eq!(verdict["result"]["passed"], true, "{verdict}");
    assert!(verdict["result"]["verdicts"][0]["restore_seconds"].as_f64().unwrap() > 0.0, "{verdict}");

    // A dump's restore does not take it for a dump.
    let refused = site.json(&["-d", &url, "restore", id]);
    assert_eq!(refused["error"]["kind"], "usage", "{refused}");

    let pack = std::fs::read_dir(site.path("repository/packs").join(id)).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    let verdict = site.json(&["verify", "--all"]);
    assert_eq!(verdict["result"]["passed"], false, "{verdict}");
    let data = site.path("restored").display().to_string();
    let restored = site.json(&["cluster", "restore", id, "--no-archive", "--data-dir", &data]);
    assert_eq!(restored["error"]["kind"], "integrity", "{restored}");
    assert!(!site.path("restored/global/pg_control").exists(), "what is not whole must not start");
}
