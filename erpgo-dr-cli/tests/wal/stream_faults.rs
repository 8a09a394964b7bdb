//! What a stream has said is durable is there, whatever is lost, cut or taken over.

use std::time::Duration;

use erpgo_dr_testkit::fault_proxy::{Direction, Fault, FaultProxy};
use erpgo_dr_testkit::postgres::PgServer;

use crate::streaming::{Stream, back_up, make_synchronous, restore, stream_once, wait_until_streaming};
use crate::support::{Site, lay_under, start_in, wait_for, write};

/// Some megabytes of log, and less than a segment.
const ROWS: &str = "CREATE TABLE rows AS SELECT n, repeat(md5(n::text), 32) AS t FROM generate_series(1, 4000) AS n";

/// Before a segment is whole, and before the end of [`ROWS`].
const EARLY: u64 = 1 << 20;

fn rarely() -> [&'static str; 2] {
    ["--upload-every", "3600"]
}

fn through(proxy: &FaultProxy) -> String {
    format!("postgresql://postgres@127.0.0.1:{}/postgres", proxy.port())
}

fn cut_after(proxy: &FaultProxy, bytes: u64) {
    proxy.set(Fault::CutAfter { direction: Direction::Down, bytes, then: Box::new(Fault::Refuse) });
}

fn rows(server: &PgServer) -> String {
    server.psql("postgres", "SELECT count(*) FROM rows")
}

/// A repository that holds a backup, and a stream that was killed when its folder alone had the last commits.
fn site_of_a_killed_stream() -> (Site, PgServer) {
    let site = Site::new();
    let server = PgServer::start(17);
    back_up(&site, &server);
    let mut stream = Stream::start(&site, &server, &rarely());
    wait_until_streaming(&server);
    make_synchronous(&server);
    server.psql("postgres", ROWS);
    stream.kill();
    (site, server)
}

#[test]
fn what_was_durable_of_a_timeline_is_not_told_to_a_server_that_took_over_before_it() {
    let site = Site::new();
    let mut server = PgServer::start(17);
    back_up(&site, &server);
    let proxy = FaultProxy::start(server.port());
    let stream = Stream::start_at(&site, &through(&proxy), &["--durable", "repository"]);
    wait_until_streaming(&server);
    make_synchronous(&server);
    // Far ahead of the backup, to which the cluster goes back.
    write(&server, "ahead");
    proxy.set(Fault::Refuse);
    server.kill();
    let data = site.path("restored");
    let restored = site.json(&["cluster", "restore", "--immediate", "--data-dir", data.to_str().unwrap()]);
    assert_eq!(restored["ok"], true, "{restored}");
    start_in(&mut server, &data);
    server.psql("postgres", "CREATE TABLE t (n int)");
    server.psql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '\"erpgo-dr\"'");
    server.psql("postgres", "SELECT pg_reload_conf()");

    let folders = ["wal", "wal-tails"].map(|name| (site.path("repository").join(name), site.path(name)));
    for (here, away) in &folders {
        std::fs::rename(here, away).unwrap();
        std::fs::write(here, "in the way").unwrap();
    }
    proxy.heal();
    wait_until_streaming(&server);
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| server.psql("postgres", "INSERT INTO t VALUES (1)"));
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        wait_for("the commit waits", &server, || server.psql("postgres", waiting) == "1");
        std::thread::sleep(Duration::from_secs(3));
        assert!(!commit.is_finished(), "nothing of this timeline is in the repository");
        for (here, away) in &folders {
            std::fs::remove_file(here).unwrap();
            std::fs::rename(away, here).unwrap();
        }
        commit.join().unwrap();
    });
    assert_eq!(stream.stop()["ok"], true);
}

#[test]
fn a_new_timeline_does_not_hide_the_end_of_the_one_before_until_it_has_passed_it() {
    let site = Site::new();
    let mut server = PgServer::start(17);
    back_up(&site, &server);
    let stream = Stream::start(&site, &server, &[]);
    wait_until_streaming(&server);
    make_synchronous(&server);
    server.psql("postgres", ROWS);
    server.kill();
    assert_eq!(stream.stop()["ok"], true);

    let mut successor = restore(&site, 17);
    let proxy = FaultProxy::start(successor.port());
    cut_after(&proxy, EARLY);
    let stream = Stream::start_at(&site, &through(&proxy), &["--upload-every", "1"]);
    wait_for("the cut", &successor, || proxy.cuts() > 0 && stream.told().contains("the server is not heard"));
    successor.kill();
    let report = stream.stop();
    assert_eq!(report["result"]["timeline"], 2, "{report}");
    assert_eq!(report["result"]["segments"], 0, "{report}");
    assert_eq!(rows(&restore(&site, 17)), "4000");
}

#[test]
fn what_an_earlier_process_received_beyond_a_cut_is_archived_too() {
    let (site, mut server) = site_of_a_killed_stream();
    let proxy = FaultProxy::start(server.port());
    cut_after(&proxy, EARLY);
    let again = Stream::start_at(&site, &through(&proxy), &rarely());
    wait_for("the cut", &server, || proxy.cuts() > 0 && again.told().contains("the server is not heard"));
    server.kill();
    let report = again.stop();
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["result"]["archived"], report["result"]["durable"], "{report}");
    assert_eq!(rows(&restore(&site, 17)), "4000");
}

#[test]
fn what_the_folder_has_is_archived_even_if_the_server_refuses() {
    let (site, mut server) = site_of_a_killed_stream();
    let once = stream_once(&site, &server);
    let refused = site.json(&[&once[..], &["--slot", "missing"]].concat());
    assert_eq!(refused["error"]["kind"], "not-found", "{refused}");
    server.kill();
    assert_eq!(rows(&restore(&site, 17)), "4000");
}

#[test]
fn a_segment_that_begins_with_nothing_keeps_nothing_else_from_being_archived() {
    let (site, mut server) = site_of_a_killed_stream();
    server.kill();
    let cluster = std::fs::read_dir(site.path("incoming")).unwrap().map(|entry| entry.unwrap().path());
    let cluster = cluster.into_iter().find(|path| path.is_dir()).unwrap();
    let partial = std::fs::read_dir(&cluster).unwrap().map(|entry| entry.unwrap().path());
    let partial = partial.into_iter().find(|path| path.extension().is_some_and(|end| end == "partial")).unwrap();
    // As a loss of power may leave it.
    let mut bytes = std::fs::read(&partial).unwrap();
    bytes[..8192].fill(0);
    std::fs::write(&partial, bytes).unwrap();
    let stream = Stream::start(&site, &server, &rarely());
    wait_for("the server is missed", &server, || stream.told().contains("the server is not heard"));
    let report = stream.stop();
    assert_eq!(report["error"], serde_json::Value::Null, "{report}");
    assert!(partial.exists(), "it is not thrown away");
}

#[test]
fn a_stream_without_a_slot_goes_on_where_the_archive_ends() {
    let site = Site::new();
    let server = PgServer::start(17);
    let url = server.url("postgres");
    let stream = Stream::start_without_slot(&site, &url, &[]);
    wait_until_streaming(&server);
    write(&server, "one");
    // Nothing lies in the folder after that.
    let switched = server.psql("postgres", "SELECT pg_walfile_name(pg_switch_wal())");
    wait_for("the segment", &server, || site.json(&["wal", "list"]).to_string().contains(&switched));
    assert_eq!(stream.stop()["ok"], true);
    write(&server, "two");

    let stream = Stream::start_without_slot(&site, &url, &[]);
    wait_until_streaming(&server);
    let end = server.psql("postgres", "SELECT pg_walfile_name(pg_switch_wal())");
    wait_for("the segment", &server, || site.json(&["wal", "list"]).to_string().contains(&end));
    assert_eq!(stream.stop()["ok"], true);
    let check = site.json(&["wal", "check"]);
    assert_eq!(
        (&check["ok"], &check["result"]["clusters"][0]["timelines"][0]["gaps"]),
        (&true.into(), &serde_json::json!([])),
        "{check}"
    );

    // What the server has removed meanwhile is a gap, which is told, and the log goes on.
    for _ in 0..4 {
        server.psql("postgres", "CREATE TABLE gone (n int); DROP TABLE gone");
        server.psql("postgres", "SELECT pg_switch_wal()");
        server.psql("postgres", "CHECKPOINT");
    }
    let stream = Stream::start_without_slot(&site, &url, &[]);
    wait_for("the gap", &server, || stream.told().contains("gap"));
    wait_until_streaming(&server);
    let end = server.psql("postgres", "CREATE TABLE three (n int); SELECT pg_walfile_name(pg_switch_wal())");
    wait_for("the segment", &server, || site.json(&["wal", "list"]).to_string().contains(&end));
    assert_eq!(stream.stop()["ok"], true);
    let gaps = site.json(&["wal", "check"])["result"]["clusters"][0]["timelines"][0]["gaps"].clone();
    assert_eq!(gaps.as_array().unwrap().len(), 1, "{gaps}");
}

/// Copies the files of a server that is down.
fn cold_copy(site: &Site, server: &PgServer) -> std::path::PathBuf {
    let copy = site.path("cold");
    let copied = std::process::Command::new("cp").arg("-a").arg(server.data_dir()).arg(&copy).status().unwrap();
    assert!(copied.success());
    copy
}

#[test]
fn a_server_that_an_older_state_was_put_back_under_is_not_followed() {
    let site = Site::new();
    let mut server = PgServer::start(17);
    server.psql("postgres", "CREATE TABLE t (n int)");
    server.stop();
    let old = cold_copy(&site, &server);
    server.restart();
    let stream = Stream::start(&site, &server, &[]);
    wait_until_streaming(&server);
    make_synchronous(&server);
    server.psql("postgres", ROWS);
    server.kill();
    std::fs::remove_dir_all(server.data_dir()).unwrap();
    std::fs::rename(&old, server.data_dir()).unwrap();
    server.restart();
    // What it says next must not be taken for what it had said before.
    let refused = stream.end();
    assert_eq!(refused["error"]["kind"], "refused", "{refused}");
    assert!(refused["error"]["message"].as_str().unwrap().contains("an older state was put back"), "{refused}");

    // Once it has gone on beyond that place, its log shows it.
    write(&server, "beyond");
    server.psql("postgres", "SELECT pg_create_physical_replication_slot('other', true)");
    let once = stream_once(&site, &server);
    let refused = site.json(&[&once[..once.len() - 1], &["F/0"]].concat());
    assert_eq!(refused["error"]["kind"], "refused", "{refused}");
    assert!(refused["error"]["message"].as_str().unwrap().contains("is another than what was received"), "{refused}");
}

#[test]
fn histories_of_timelines_before_are_archived_too() {
    let site = Site::new();
    let mut first = PgServer::start(17);
    back_up(&site, &first);
    let stream = Stream::start(&site, &first, &[]);
    wait_until_streaming(&first);
    make_synchronous(&first);
    first.psql("postgres", "CREATE TABLE t AS SELECT 1 AS n");
    first.kill();
    assert_eq!(stream.stop()["ok"], true);
    // Nobody streams the second timeline.
    let mut second = restore(&site, 17);
    second.stop();
    let copy = cold_copy(&site, &second);
    std::fs::write(copy.join("standby.signal"), "").unwrap();
    let mut third = PgServer::start(17);
    third.stop();
    lay_under(&mut third, &copy);
    third.restart();
    assert_eq!(third.psql("postgres", "SELECT pg_promote()"), "t");
    let stream = Stream::start(&site, &third, &[]);
    wait_until_streaming(&third);
    make_synchronous(&third);
    third.psql("postgres", "INSERT INTO t VALUES (3)");
    drop(third);
    assert_eq!(stream.stop()["ok"], true);
    let check = site.json(&["wal", "check"]);
    assert_eq!(check["ok"], true, "{check}");
    let timelines = check["result"]["clusters"][0]["timelines"].as_array().unwrap();
    let numbers: Vec<_> = timelines.iter().map(|timeline| timeline["timeline"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3], "{check}");
    assert_eq!(restore(&site, 17).psql("postgres", "SELECT sum(n) FROM t"), "4");
}
