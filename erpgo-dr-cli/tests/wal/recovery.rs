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
    let site = Site::new();
    let server = site.archiving_server(17, "");
    let copy = site.copy_files(&server);
    for table in ["one", "two", "three"] {
        write(&server, table);
    }
    wait_until_archived(&server);
    drop(server);
    let listed = site.json(&["wal", "list"]);
    let cluster = &listed["result"]["clusters"][0];
    let range = &cluster["timelines"][0]["ranges"][0];
    let last = u32::from_str_radix(&range["last"].as_str().unwrap()[16..], 16).unwrap();
    let missing = format!("{}{:08X}", &range["last"].as_str().unwrap()[..16], last - 1);
    let archived = site.path(&format!("repository/wal/{}/00000001/{missing}", cluster["system_identifier"]));
    let away = site.path("away");
    std::fs::rename(&archived, &away).unwrap();

    let mut recovered = site.under(&copy, 17, &site.shell("wal fetch %f %p"));
    // It may take questions until it comes to the gap.
    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| recovered.restart()));
    wait_for("the end of the server", &recovered, || recovered.try_psql("postgres", "SELECT 1").is_err());
    assert!(recovered.log().contains(&format!("{missing} is missing")), "{}", recovered.log());
    assert!(!recovered.data_dir().join("pg_wal/00000002.history").exists(), "it was promoted: {}", recovered.log());
    std::fs::rename(&away, &archived).unwrap();
    recovered.restart();
    wait_for("recovery", &recovered, || recovered.psql("postgres", "SELECT pg_is_in_recovery()") == "f");
    assert_eq!(recovered.psql("postgres", "SELECT count(*) FROM three"), "100000");
}
