//! Two histories of one cluster on one timeline, as after a snapshot of its disk was put back: pages of one never come into a backup of the other.

use std::path::Path;
use std::process::Command;

use erpgo_dr_testkit::postgres::PgServer;
use serde_json::Value;

use crate::incremental::{back_up, quiet_server, restore};
use crate::support::{Site, content, start_on, wait_for, write};

/// Copies a data directory, or puts a copy back in its place.
fn copy(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).unwrap();
    }
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// Changes a few rows, which are not those of another `remainder`.
fn update(server: &PgServer, remainder: u32) {
    server.psql("postgres", &format!("UPDATE kept SET t = 'changed {remainder}' WHERE n % 5000 = {remainder}"));
}

/// A site with a backup of a server's first history; the server, which serves the second one; and a backup of that, elsewhere, which begins at
/// the same position.
fn diverged(major: u32) -> (Site, PgServer, Value) {
    let site = Site::new();
    let mut server = quiet_server(major);
    write(&server, "kept");
    server.psql("postgres", "VACUUM FREEZE kept; SELECT pg_switch_wal()");
    server.psql("postgres", "CHECKPOINT");
    server.stop();
    let (data, snapshot) = (server.data_dir(), site.path("snapshot"));
    copy(&data, &snapshot);
    server.restart();
    update(&server, 1);
    let first = back_up(&site, &server, &[]);
    server.stop();
    copy(&snapshot, &data);
    server.restart();
    update(&server, 2);
    // Each backup begins with a segment of its own, whatever was written before.
    let elsewhere = back_up(&Site::new(), &server, &[]);
    assert_eq!(elsewhere["start_lsn"], first["start_lsn"]);
    update(&server, 3);
    (site, server, elsewhere)
}

/// Asserts that a backup restores what the server has.
fn assert_restores(site: &Site, server: &PgServer, backup: &Value) {
    let restored = start_on(&restore(site, backup, "restored"), server.major());
    assert_eq!(content(&restored, "kept"), content(server, "kept"), "{backup}");
}

/// Writes on until the server has no log of the time of a backup any more.
fn forget(server: &PgServer, backup: &Value) {
    let begin = backup["start_lsn"].as_str().unwrap();
    let name = server.psql("postgres", &format!("SELECT pg_walfile_name('{begin}')"));
    let segment = server.data_dir().join("pg_wal").join(name);
    wait_for("the removal of the log", server, || {
        server.psql("postgres", "CREATE TABLE IF NOT EXISTS more (n int); SELECT pg_switch_wal()");
        server.psql("postgres", "CHECKPOINT");
        !segment.exists()
    });
}

#[test]
fn summaries_of_another_history_that_begin_at_the_same_position_are_not_believed() {
    let remote = &["--remote"][..];
    for (major, more, is_forgotten) in [(17, &[][..], false), (17, remote, false), (18, &[], true), (18, remote, true)]
    {
        let (site, server, elsewhere) = diverged(major);
        if is_forgotten {
            forget(&server, &elsewhere);
        }
        let after = back_up(&site, &server, more);
        assert_restores(&site, &server, &after);
        assert_eq!((after["base"].is_null(), &after["changes"]), (false, &"comparison".into()), "{major} {more:?}");
    }
}

#[test]
fn where_the_log_of_the_earlier_backup_is_gone_a_server_is_believed_that_has_run_ever_since() {
    for (major, more) in [(17, &[][..]), (18, &["--remote"])] {
        let site = Site::new();
        let mut server = quiet_server(major);
        write(&server, "kept");
        let first = back_up(&site, &server, more);
        update(&server, 1);
        forget(&server, &first);
        let second = back_up(&site, &server, more);
        assert_eq!((&second["base"], &second["changes"]), (&first["id"], &"summaries".into()), "{major}");
        // Started anew, it may still have that log.
        server.psql("postgres", "ALTER SYSTEM SET wal_keep_size = '1GB'");
        server.restart();
        update(&server, 2);
        let third = back_up(&site, &server, more);
        assert_eq!((&third["base"], &third["changes"]), (&second["id"], &"summaries".into()), "{major}");
        // And where it does not, nothing tells.
        server.psql("postgres", "ALTER SYSTEM RESET wal_keep_size");
        server.restart();
        update(&server, 3);
        forget(&server, &third);
        let url = server.url("postgres");
        let (code, text) = site.erpgo(&[&["-v", "-d", &url, "cluster", "backup"], more].concat());
        assert_eq!(code, 0, "{text}");
        assert!(text.contains("found by comparison") && text.contains("was started anew"), "{text}");
        let last = back_up(&site, &server, more);
        assert_eq!(last["changes"], "summaries", "{last}");
        assert_restores(&site, &server, &last);
    }
}
