//! Gaps, switches of timelines, and what the server says.

use erpgo_dr_core::ops::wal::{WalCheckOptions, wal_check, wal_list};
use erpgo_dr_core::postgres::ConnectionSettings;
use erpgo_dr_testkit::postgres::{MAJORS, PgServer, PgServerOptions};

use super::support::{Archive, damage, name_of, segments};

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_found_and_named() {
    let (server, archive) = (PgServer::start(17), Archive::new().await);
    let paths = segments(&server, archive.folder.path(), 5);
    for (n, path) in paths.iter().enumerate() {
        if n != 1 && n != 2 {
            archive.push(path).await.unwrap();
        }
    }
    let list = wal_list(&archive.repository, None).await.unwrap();
    let timeline = &list[0].timelines[0];
    assert_eq!((list.len(), timeline.segments, timeline.ranges.len()), (1, 3, 2), "{list:?}");
    assert_eq!(timeline.newest.unwrap().to_string(), name_of(&paths[4]));
    let gap = timeline.gaps[0];
    assert_eq!([gap.first.to_string(), gap.last.to_string()], [name_of(&paths[1]), name_of(&paths[2])]);
    let options = WalCheckOptions::default();
    let report = wal_check(&archive.repository, None, &options).await.unwrap();
    assert!(!report.is_healthy() && report.findings[0].contains("2 segments are missing"), "{report:?}");

    for path in &paths[1..3] {
        archive.push(path).await.unwrap();
    }
    let report = wal_check(&archive.repository, None, &options.with_verify(true)).await.unwrap();
    assert!(report.is_healthy() && report.verified == 5, "{report:?}");
    damage(&archive.object(0, &name_of(&paths[3])));
    let options = WalCheckOptions::default().with_verify(true);
    let report = wal_check(&archive.repository, None, &options).await.unwrap();
    assert!(report.findings.len() == 1 && report.findings[0].contains(&name_of(&paths[3])), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_must_go_on_where_its_parent_was_left() {
    let (server, archive) = (PgServer::start(17), Archive::new().await);
    let paths = segments(&server, archive.folder.path(), 4);
    let number = |n: usize| u64::from_str_radix(&name_of(&paths[n])[16..], 16).unwrap();
    archive.push(&paths[0]).await.unwrap();
    // Timeline 2 begins in the segment of paths[2], and only what follows it is archived: paths[1] is missing on the one side, and the
    // segment of the switch on the other.
    let history = archive.path("pg_wal/00000002.history");
    std::fs::write(&history, format!("1\t0/{:X}\tpromoted\n", (number(2) << 24) + 0x28)).unwrap();
    archive.push(&history).await.unwrap();
    let later = archive.path(&format!("pg_wal/00000002{}", &name_of(&paths[3])[8..]));
    std::fs::copy(&paths[3], &later).unwrap();
    archive.push(&later).await.unwrap();
    let list = wal_list(&archive.repository, None).await.unwrap();
    let [one, two] = list[0].timelines.as_slice() else { panic!("{list:?}") };
    assert_eq!(two.parent, Some(one.timeline));
    assert_eq!(one.gaps.iter().map(|gap| gap.first.to_string()).collect::<Vec<_>>(), [name_of(&paths[1])]);
    assert_eq!(two.gaps[0].first.to_string()[8..], name_of(&paths[2])[8..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_asked_whether_it_archives_here() {
    for major in MAJORS {
        let archive = Archive::new().await;
        let server = PgServerOptions::new(major).setting("archive_mode", "on").setting("archive_command", "").start();
        let settings: ConnectionSettings = server.url("postgres").parse().unwrap();
        let check = || async { wal_check(&archive.repository, Some(&settings), &WalCheckOptions::default()).await };
        let report = check().await.unwrap();
        let found = report.findings.join("\n");
        assert!(found.contains("archive_command is empty") && found.contains("nothing of the server's"), "{found}");

        // As if it had been archived elsewhere.
        server.psql("postgres", "ALTER SYSTEM SET archive_command = 'test -f %p'");
        server.psql("postgres", "SELECT pg_reload_conf()");
        let paths = segments(&server, archive.folder.path(), 2);
        wait_until_archived(&server, &name_of(&paths[1]));
        archive.push(&paths[0]).await.unwrap();
        let report = check().await.unwrap();
        assert!(report.findings.len() == 1 && report.findings[0].contains("elsewhere"), "{:?}", report.findings);
        assert!(report.lag_bytes.unwrap() >= 16 << 20, "{report:?}");
        archive.push(&paths[1]).await.unwrap();
        let report = check().await.unwrap();
        assert!(report.is_healthy() && report.lag_bytes.unwrap() < 16 << 20, "{report:?}");
        let status = report.server.unwrap();
        assert_eq!((status.timeline.unwrap().get(), status.waiting), (1, Some(0)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_commit_that_is_archived_is_known() {
    for major in MAJORS {
        // A record that spans segments comes between, and then segments without a commit.
        let server = PgServerOptions::new(major).wal_segment_mib(1).start();
        let archive = Archive::new().await;
        let settings: ConnectionSettings = server.url("postgres").parse().unwrap();
        let before = microseconds(&server);
        let paths = segments(&server, archive.folder.path(), 1);
        let after = microseconds(&server);
        server.psql("postgres", "SELECT pg_logical_emit_message(false, 'test', repeat('m', 3000000))");
        let end = server.psql("postgres", "SELECT pg_walfile_name(pg_switch_wal())");
        let log = server.data_dir().join("pg_wal");
        let copies = archive.folder.path().join("pg_wal");
        let mut names: Vec<String> = std::fs::read_dir(&log)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.len() == 24 && *name > name_of(&paths[0]) && *name <= end)
            .collect();
        names.sort();
        assert!(names.len() >= 3, "{names:?}");
        archive.push(&paths[0]).await.unwrap();
        for name in &names {
            std::fs::copy(log.join(name), copies.join(name)).unwrap();
            archive.push(&copies.join(name)).await.unwrap();
        }
        let options = WalCheckOptions::default();
        let report = wal_check(&archive.repository, Some(&settings), &options).await.unwrap();
        let commit = report.newest_commit.unwrap().timestamp_micros();
        assert!((before..=after).contains(&commit), "{major}: {before} {commit} {after}");
        assert_eq!((report.lag_bytes, report.at_risk_seconds), (Some(0), Some(0.0)), "all of it is archived");
        server.psql("postgres", "CREATE TABLE later (n int)");
        let report = wal_check(&archive.repository, Some(&settings), &options).await.unwrap();
        assert_eq!(report.newest_commit.unwrap().timestamp_micros(), commit);
        assert!(report.at_risk_seconds.unwrap() > 0.0, "{report:?}");
        let alone = wal_check(&archive.repository, None, &options).await.unwrap();
        assert_eq!((alone.newest_commit, alone.at_risk_seconds), (report.newest_commit, None));
        damage(&archive.object(0, &name_of(&paths[0])));
        let report = wal_check(&archive.repository, None, &options).await.unwrap();
        assert!(report.newest_commit.is_none() && report.findings[0].contains("damaged"), "{report:?}");
    }
}

/// The time of a server, in microseconds.
fn microseconds(server: &PgServer) -> i64 {
    server.psql("postgres", "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").parse().unwrap()
}

fn wait_until_archived(server: &PgServer, name: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while server.psql("postgres", "SELECT last_archived_wal FROM pg_stat_archiver") != name {
        assert!(std::time::Instant::now() < deadline, "{}", server.log());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}
