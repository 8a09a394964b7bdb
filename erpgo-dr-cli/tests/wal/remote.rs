//! The server sends its files itself: what comes of it is what its host would have backed up.

use erpgo_dr_testkit::fault_proxy::{Direction, Fault, FaultProxy};
use erpgo_dr_testkit::postgres::{MAJORS, PgServer, give_to_postgres};
use serde_json::Value;

use crate::incremental::{assert_same, back_up, change_much, quiet_server, restore};
use crate::support::{Site, content, standby_of, start_on, write};

fn back_up_remotely(site: &Site, server: &PgServer, more: &[&str]) -> Value {
    back_up(site, server, &[&["--remote"], more].concat())
}

#[test]
fn what_a_server_sends_is_what_its_folder_holds_on_every_version() {
    for major in MAJORS {
        let site = Site::new();
        let server = quiet_server(major);
        server.create_database("other");
        for table in ["kept", "cut", "tail", "gone"] {
            write(&server, table);
        }
        let sent = back_up_remotely(&site, &server, &["--label", "it's sent"]);
        assert_eq!((&sent["base"], sent["verdict"]["passed"].as_bool()), (&Value::Null, Some(true)), "{sent}");
        let read = back_up(&site, &server, &["--full"]);
        assert_same(&restore(&site, &sent, "sent"), &restore(&site, &read, "read"));

        // Each builds on the other: what was sent on what was read, and the other way round.
        change_much(&server);
        let changed = back_up_remotely(&site, &server, &[]);
        let source = if major >= 17 { "summaries" } else { "comparison" };
        assert_eq!((&changed["base"], &changed["changes"]), (&read["id"], &source.into()), "{major}: {changed}");
        if major >= 17 {
            assert!(changed["read_bytes"].as_u64() < read["read_bytes"].as_u64().map(|read| read * 3 / 4), "{changed}");
        }
        let anew = back_up(&site, &server, &["--full"]);
        assert_same(&restore(&site, &changed, "changed"), &restore(&site, &anew, "anew"));
        let compared = back_up_remotely(&site, &server, &["--changes", "compare"]);
        assert_eq!(compared["changes"], "comparison", "{compared}");
        let proven = back_up(&site, &server, &["--changes", "both"]);
        assert_eq!(proven["base"], compared["id"]);
        assert_eq!(proven["unannounced_pages"], Value::Array(Vec::new()), "{major}: {proven}");
        for next in [&compared, &proven] {
            assert!(next["added_bytes"].as_u64().unwrap() < read["added_bytes"].as_u64().unwrap() / 4, "{next}");
        }
        assert_same(&restore(&site, &compared, "compared"), &site.path("anew"));
        let expected = content(&server, "kept");
        let restored = start_on(&site.path("changed"), major);
        assert_eq!(content(&restored, "kept"), expected, "version {major}");
    }
}

#[test]
fn tablespaces_come_along_from_a_standby_too() {
    let site = Site::new();
    let server = quiet_server(17);
    let space = site.path("space");
    std::fs::create_dir(&space).unwrap();
    give_to_postgres(&space);
    server.psql("postgres", &format!("CREATE TABLESPACE fast LOCATION '{}'", space.display()));
    server.psql("postgres", "CREATE TABLE there TABLESPACE fast AS SELECT n FROM generate_series(1, 5000) AS n");
    let oid = server.psql("postgres", "SELECT oid FROM pg_tablespace WHERE spcname = 'fast'");
    let mapping = format!("--tablespace-mapping={}={}", space.display(), site.path("space-of-standby").display());
    let standby = standby_of(&site, &server, &[&mapping]);
    for from in [&server, &standby] {
        let backup = back_up_remotely(&site, from, &[]);
        let data = site.path(&format!("restored-{}", from.port()));
        let moved = site.path(&format!("moved-{}", from.port()));
        let map = format!("{oid}={}", moved.display());
        let (id, folder) = (backup["id"].as_str().unwrap(), data.to_str().unwrap());
        let restored = site.json(&[
            "cluster",
            "restore",
            id,
            "--immediate",
            "--no-archive",
            "--data-dir",
            folder,
            "--tablespace",
            &map,
        ]);
        assert_eq!(restored["ok"], true, "{restored}");
        let restored = start_on(&data, 17);
        assert_eq!(restored.psql("postgres", "SELECT count(*) FROM there"), "5000");
        assert!(moved.read_dir().unwrap().next().is_some());
    }
}

#[test]
fn rows_that_were_cut_off_do_not_come_back() {
    let site = Site::new();
    let server = quiet_server(17);
    server.psql(
        "postgres",
        "CREATE TABLE cut WITH (fillfactor = 10) AS SELECT n, repeat('x', 300) AS t FROM generate_series(1, 6000) AS n",
    );
    server.psql("postgres", "VACUUM FREEZE cut");
    back_up_remotely(&site, &server, &[]);
    server.psql("postgres", "DELETE FROM cut WHERE n > 2000");
    server.psql("postgres", "VACUUM cut");
    // It grows by more pages than it fills: those stay zeros, and the log does not name them.
    let rows: String = (10_001..10_400).map(|n| format!("{n}\t{}\n", "y".repeat(300))).collect();
    let file = site.path("rows.copy");
    std::fs::write(&file, rows).unwrap();
    give_to_postgres(&file);
    server.psql("postgres", &format!("COPY cut FROM '{}'", file.display()));
    // Reading leaves hints on pages.
    let expected = content(&server, "cut");
    server.psql("postgres", "CHECKPOINT");
    let changed = back_up_remotely(&site, &server, &[]);
    assert_eq!(changed["changes"], "summaries", "{changed}");
    let anew = back_up(&site, &server, &["--full"]);
    let (changed, anew) = (restore(&site, &changed, "changed"), restore(&site, &anew, "anew"));
    assert_same(&changed, &anew);
    assert_eq!(content(&start_on(&changed, 17), "cut"), expected);
}

#[test]
fn a_server_without_summaries_sends_all_and_it_is_compared() {
    let site = Site::new();
    let server = PgServer::start(17);
    write(&server, "kept");
    let first = back_up_remotely(&site, &server, &[]);
    let (code, text) = site.erpgo(&["-d", &server.url("postgres"), "cluster", "backup", "--remote"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("cannot tell what has changed"), "{text}");
    assert!(text.contains(&format!("changed since {}, found by comparison", first["id"].as_str().unwrap())), "{text}");
}

#[test]
fn a_connection_that_breaks_leaves_nothing_that_looks_like_a_backup() {
    let site = Site::new();
    let server = PgServer::start(17);
    write(&server, "kept");
    let proxy = FaultProxy::start(server.port());
    let url = format!("postgresql://postgres@127.0.0.1:{}/postgres", proxy.port());
    proxy.set(Fault::CutAfter { direction: Direction::Down, bytes: 20 << 20, then: Box::new(Fault::None) });
    let broken = site.json(&["-d", &url, "cluster", "backup", "--remote"]);
    assert_eq!((&broken["ok"], &broken["error"]["kind"]), (&false.into(), &"unavailable".into()), "{broken}");
    assert_eq!(proxy.cuts(), 1);
    assert_eq!(site.json(&["list"])["result"]["backups"], Value::Array(Vec::new()));
    let whole = site.json(&["-d", &url, "cluster", "backup", "--remote"]);
    assert_eq!(whole["ok"], true, "{whole}");
}

#[test]
fn a_damaged_page_is_named_and_the_backup_is_kept_with_it() {
    let site = Site::new();
    // From this version on clusters have checksums by default.
    let mut server = PgServer::start(18);
    write(&server, "kept");
    let path = server.psql("postgres", "SELECT pg_relation_filepath('kept')");
    server.stop();
    let file = server.data_dir().join(&path);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[3 * 8192 + 5000] ^= 0x40;
    std::fs::write(&file, bytes).unwrap();
    server.restart();
    let backup = site.json(&["-d", &server.url("postgres"), "cluster", "backup", "--remote"]);
    assert_eq!(backup["ok"], false, "{backup}");
    let damaged = serde_json::json!([{ "path": path, "block": 3 }]);
    assert_eq!(backup["result"]["damaged_pages"], damaged, "{backup}");
}

#[test]
fn a_role_that_may_replicate_and_no_more_can_back_up() {
    let site = Site::new();
    let server = PgServer::start(17);
    server.psql("postgres", "CREATE ROLE replicator LOGIN REPLICATION");
    let url = server.url("postgres").replace("postgres@", "replicator@");
    let backup = site.json(&["-d", &url, "cluster", "backup", "--remote"]);
    assert_eq!(backup["ok"], true, "{backup}");
    server.psql("postgres", "CREATE ROLE nobody LOGIN");
    let url = server.url("postgres").replace("postgres@", "nobody@");
    let refused = site.json(&["-d", &url, "cluster", "backup", "--remote"]);
    assert_eq!(refused["error"]["kind"], "permission", "{refused}");
}
