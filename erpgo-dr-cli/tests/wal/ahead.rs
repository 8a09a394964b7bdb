//! What runs ahead: segments wait for the replay, and files that are ready go along.

use std::path::Path;
use std::time::{Duration, Instant};

use erpgo_dr_testkit::postgres::PgServer;

use crate::support::Site;

fn wait_for_file(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !path.exists() {
        assert!(Instant::now() < deadline, "{} never came", path.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_next_segments_are_there_when_the_archive_is_not() {
    let (site, server) = (Site::new(), PgServer::start(17));
    let names = site.segments(&server, 5);
    for name in &names {
        assert_eq!(site.erpgo(&["wal", "push", &format!("pg_wal/{name}")]).0, 0);
    }
    let fetch =
        |name: &str| site.erpgo(&["wal", "fetch", name, "pg_wal/RECOVERYXLOG", "--spool", "spool", "--prefetch", "3"]);
    let restored = |name: &str| {
        let bytes = |name: &str| std::fs::read(site.path("pg_wal").join(name)).unwrap();
        assert!(bytes("RECOVERYXLOG") == bytes(name), "{name}");
    };
    assert_eq!(fetch(&names[0]).0, 0);
    restored(&names[0]);
    let system = server.psql("postgres", "SELECT system_identifier FROM pg_control_system()");
    let spool = site.path("spool/fetched").join(system);
    wait_for_file(&spool.join(&names[3]));
    assert!(!spool.join(&names[4]).exists(), "three were asked for");

    std::fs::rename(site.path("repository"), site.path("away")).unwrap();
    for name in &names[1..4] {
        assert_eq!(fetch(name).0, 0);
        restored(name);
        assert!(!spool.join(name).exists(), "it was moved");
    }
    let (code, text) = fetch(&names[4]);
    assert_eq!(code, 204, "what does not wait is asked of the archive: {text}");
    std::fs::rename(site.path("away"), site.path("repository")).unwrap();
    assert_eq!(fetch(&names[4]).0, 0);
    restored(&names[4]);
}

#[test]
fn what_is_ready_is_archived_before_it_is_answered_for() {
    let (site, server) = (Site::new(), PgServer::start(18));
    let names = site.segments(&server, 4);
    for name in &names[..3] {
        std::fs::write(site.path("pg_wal/archive_status").join(format!("{name}.ready")), "").unwrap();
    }
    let push = |name: &str| site.json(&["wal", "push", &format!("pg_wal/{name}"), "--spool", "spool"]);
    let first = push(&names[0]);
    assert_eq!((&first["ok"], &first["result"]["outcome"]), (&true.into(), &"archived".into()), "{first}");
    assert_eq!(first["result"]["ahead"], serde_json::json!([names[1], names[2]]));
    let list = site.json(&["wal", "list"]);
    assert_eq!(list["result"]["clusters"][0]["timelines"][0]["segments"], 3, "{list}");
    assert_eq!(push(&names[1])["result"]["outcome"], "pushed-ahead");
    assert_eq!(push(&names[1])["result"]["outcome"], "identical", "a note is used up");
    assert_eq!(push(&names[3])["result"]["outcome"], "archived");

    // A file that something touched is compared with the archive.
    let path = site.path("pg_wal").join(&names[2]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100_000] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let changed = push(&names[2]);
    assert_eq!(changed["error"]["kind"], "already-exists", "{changed}");
}
