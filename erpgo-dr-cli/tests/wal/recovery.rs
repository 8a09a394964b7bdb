//! A server archives, its files are copied, and the copy recovers all that was archived.

use erpgo_dr_testkit::postgres::MAJORS;

use crate::support::{Site, content, wait_for, wait_until_archived, write};

#[test]
fn a_copy_recovers_to_the_latest_from_the_archive_on_every_version() {
    for major in MAJORS {
        let site = Site::new();
        let spool = site.path("spool").display().to_string();
        let server = site.archiving_server(major, &format!("--spool {spool}"));
        write(&server, "before");
        let copy = site.copy_files(&server);
        for table in ["one", "two", "three"] {
            write(&server, table);
        }
        wait_until_archived(&server);
        let tables = ["before", "one", "two", "three"];
        let contents = tables.map(|table| content(&server, table));
        let check = site.json(&["-d", &server.url("postgres"), "wal", "check", "--verify"]);
        assert_eq!(check["ok"], true, "{check}");
        assert!(check["result"]["clusters"][0]["timelines"][0]["segments"].as_u64().unwrap() >= 6, "{check}");
        drop(server);

        let restore = site.shell(&format!("wal fetch %f %p --spool {spool} --prefetch 4"));
        let mut recovered = site.under(&copy, major, &restore);
        recovered.restart();
        wait_for("recovery", &recovered, || recovered.psql("postgres", "SELECT pg_is_in_recovery()") == "f");
        assert_eq!(tables.map(|table| content(&recovered, table)), contents, "version {major}");
        assert!(recovered.log().contains("restored log file"), "{}", recovered.log());

        // It archives on, on a timeline of its own, and the archive has no gap.
        write(&recovered, "four");
        wait_until_archived(&recovered);
        let check = site.json(&["-d", &recovered.url("postgres"), "wal", "check"]);
        assert_eq!(check["ok"], true, "{check}");
        let timelines = check["result"]["clusters"][0]["timelines"].as_array().unwrap();
        assert_eq!((timelines.len(), &timelines[1]["parent"]), (2, &1.into()), "{check}");
    }
}

#[test]
fn a_fault_of_the_archive_stops_recovery_and_never_ends_it() {
    let site = Site::new();
    let server = site.archiving_server(17, "");
    let copy = site.copy_files(&server);
    write(&server, "one");
    wait_until_archived(&server);
    let expected = content(&server, "one");
    drop(server);
    let mut recovered = site.under(&copy, 17, &site.shell("wal fetch %f %p"));
    std::fs::rename(site.path("key.txt"), site.path("away.txt")).unwrap();
    let started = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| recovered.restart()));
    assert!(started.is_err(), "a server without its archive must not come up");
    assert!(recovered.log().contains("FATAL"), "{}", recovered.log());
    assert!(!recovered.data_dir().join("pg_wal/00000002.history").exists(), "it was promoted: {}", recovered.log());

    std::fs::rename(site.path("away.txt"), site.path("key.txt")).unwrap();
    recovered.restart();
    wait_for("recovery", &recovered, || recovered.psql("postgres", "SELECT pg_is_in_recovery()") == "f");
    assert_eq!(content(&recovered, "one"), expected);
}

#[test]
fn a_gap_in_the_archive_is_not_taken_for_its_end() {
    comes_to_a_gap(1);
}

#[test]
fn nor_is_one_of_many_segments() {
    comes_to_a_gap(6);
}

/// Takes so many segments before the last out of the archive, lets a server recover, and then again with all of them.
fn comes_to_a_gap(segments: u32) {
    let site = Site::new();
    let server = site.archiving_server(17, "");
    let copy = site.copy_files(&server);
    let tables = ["one", "two", "three", "four", "five"];
    for table in tables {
        write(&server, table);
    }
    wait_until_archived(&server);
    drop(server);
    let listed = site.json(&["wal", "list"]);
    let cluster = &listed["result"]["clusters"][0];
    let range = &cluster["timelines"][0]["ranges"][0];
    let (begin, last) = range["last"].as_str().unwrap().split_at(16);
    let last = u32::from_str_radix(last, 16).unwrap();
    let names: Vec<String> = (last - segments..last).map(|number| format!("{begin}{number:08X}")).collect();
    let folder = site.path(&format!("repository/wal/{}/00000001", cluster["system_identifier"]));
    for name in &names {
        std::fs::rename(folder.join(name), site.path(name)).unwrap();
    }

    let mut recovered = site.under(&copy, 17, &site.shell("wal fetch %f %p"));
    // It may take questions until it comes to the gap.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| recovered.restart()));
    wait_for("the end of the server", &recovered, || recovered.try_psql("postgres", "SELECT 1").is_err());
    assert!(recovered.log().contains(&format!("{} is missing", names[0])), "{}", recovered.log());
    assert!(!recovered.data_dir().join("pg_wal/00000002.history").exists(), "it was promoted: {}", recovered.log());
    for name in &names {
        std::fs::rename(site.path(name), folder.join(name)).unwrap();
    }
    recovered.restart();
    wait_for("recovery", &recovered, || recovered.psql("postgres", "SELECT pg_is_in_recovery()") == "f");
    for table in tables {
        assert_eq!(recovered.psql("postgres", &format!("SELECT count(*) FROM {table}")), "100000");
    }
}

#[test]
fn a_recovery_over_a_change_of_timelines_meets_no_gap() {
    for major in MAJORS {
        let site = Site::new();
        let server = site.archiving_server(major, "");
        let copy = site.copy_files(&server);
        let second = site.path("second");
        let copied = std::process::Command::new("cp").arg("-a").arg(&copy).arg(&second).status().unwrap();
        assert!(copied.success());
        write(&server, "one");
        wait_until_archived(&server);
        drop(server);
        let recover = |copy: &std::path::Path| {
            let mut recovered = site.under(copy, major, &site.shell("wal fetch %f %p"));
            recovered.restart();
            wait_for("recovery", &recovered, || recovered.psql("postgres", "SELECT pg_is_in_recovery()") == "f");
            recovered
        };
        let first = recover(&copy);
        write(&first, "two");
        wait_until_archived(&first);
        let contents = ["one", "two"].map(|table| content(&first, table));
        drop(first);
        let again = recover(&second);
        assert_eq!(["one", "two"].map(|table| content(&again, table)), contents, "version {major}");
        assert!(again.data_dir().join("pg_wal/00000003.history").exists(), "{}", again.log());
    }
}
