//! Changes are found by the log itself where the server keeps no summaries, and pages compared where the log is in doubt.

use std::path::{Path, PathBuf};
use std::process::Command;

use erpgo_dr_testkit::postgres::{PgServer, PgServerOptions, give_to_postgres};
use serde_json::Value;

use crate::incremental::{assert_same, back_up, restore};
use crate::support::{Site, content, wait_until_archived, write};

/// A server without summaries, which does nothing by itself.
fn quiet(major: u32) -> PgServerOptions {
    PgServerOptions::new(major).setting("autovacuum", "off").setting("wal_log_hints", "on")
}

/// Such a server that keeps its log, in segments of 1 MiB.
fn keeping() -> PgServer {
    quiet(15).setting("wal_keep_size", "1GB").wal_segment_mib(1).start()
}

/// Backs up, and returns the report and what was logged.
fn back_up_aloud(site: &Site, server: &PgServer, more: &[&str]) -> (Value, String) {
    let url = server.url("postgres");
    let (code, text) = site.erpgo(&[&["-v", "--json", "-d", &url, "cluster", "backup"], more].concat());
    assert_eq!(code, 0, "{text}");
    let report = serde_json::Deserializer::from_str(&text).into_iter::<Value>().next().unwrap().unwrap();
    (report["result"].clone(), text)
}

/// Changes of every kind that files of relations know, of which little comes into the log.
fn change(server: &PgServer, tablespace: &Path) {
    let space = format!("CREATE TABLESPACE apart LOCATION '{}'", tablespace.display());
    for statement in [
        "UPDATE kept SET t = 'changed' WHERE n % 5000 = 0; DELETE FROM kept WHERE n BETWEEN 20000 AND 20100",
        "VACUUM kept",
        "TRUNCATE cut; INSERT INTO cut SELECT n, 'new' FROM generate_series(1, 10) AS n",
        "DELETE FROM tail WHERE n > 99000",
        "VACUUM tail",
        "DROP TABLE gone",
        "BEGIN; CREATE TABLE never AS SELECT 1 AS n; ROLLBACK",
        "CREATE TABLE made AS SELECT n, 'x' AS t FROM generate_series(1, 1000) AS n",
        "CREATE INDEX ON made USING gin (string_to_array(t, ','))",
        "CREATE SEQUENCE counter; SELECT nextval('counter')",
        &space,
        "CREATE TABLE apart AS SELECT n FROM generate_series(1, 1000) AS n",
        "ALTER TABLE apart SET TABLESPACE apart",
        "CREATE UNLOGGED TABLE unlogged AS SELECT n FROM generate_series(1, 1000) AS n",
        "CREATE DATABASE copied TEMPLATE other STRATEGY file_copy",
        "CREATE DATABASE logged TEMPLATE other STRATEGY wal_log",
        "VACUUM FULL pg_class",
    ] {
        server.psql("postgres", statement);
    }
    server.psql("other", "CREATE TABLE late AS SELECT 1 AS n");
}

#[test]
fn an_incremental_backup_by_the_log_restores_the_bytes_of_a_full_one() {
    // The server has the log itself; it has only its end, and the archive the rest; and a newer one without summaries.
    for (major, keeps) in [(15, "1GB"), (15, "0"), (17, "1GB")] {
        let site = Site::new();
        let tablespace = site.path("apart");
        std::fs::create_dir(&tablespace).unwrap();
        give_to_postgres(&tablespace);
        let server = quiet(major)
            .setting("archive_mode", "on")
            .setting("archive_command", site.shell("wal push %p"))
            .setting("wal_keep_size", keeps)
            .wal_segment_mib(1)
            .start();
        server.create_database("other");
        for table in ["kept", "cut", "tail", "gone"] {
            write_calm(&server, table);
        }
        let full = back_up(&site, &server, &[]);
        assert_eq!((&full["base"], &full["wal_read_bytes"]), (&Value::Null, &0.into()), "{full}");
        change(&server, &tablespace);
        wait_until_archived(&server);
        // What is archived and not to be kept goes with the next checkpoint.
        server.psql("postgres", "CHECKPOINT");
        let begin = full["start_lsn"].as_str().unwrap();
        let begin = server.psql("postgres", &format!("SELECT pg_walfile_name('{begin}')"));
        assert_eq!(server.data_dir().join("pg_wal").join(begin).exists(), keeps != "0");
        let (changed, text) = back_up_aloud(&site, &server, &[]);
        assert_eq!((&changed["base"], &changed["changes"]), (&full["id"], &"wal".into()), "{major}: {text}");
        let (read, whole) = (changed["read_bytes"].as_u64().unwrap(), full["read_bytes"].as_u64().unwrap());
        let log = changed["wal_read_bytes"].as_u64().unwrap();
        assert!(read < whole / 2 && (1 << 20..whole / 4).contains(&log), "{changed}");
        for how in ["both", "auto", "both"] {
            let next = back_up(&site, &server, &["--changes", how]);
            let source = if how == "both" { "both" } else { "wal" };
            assert_eq!(next["changes"], source, "{next}");
            assert_eq!(next["unannounced_pages"], Value::Array(Vec::new()), "{major}: {how}");
            assert_eq!(next["verdict"]["passed"], true, "{next}");
        }
        let last = back_up(&site, &server, &[]);
        let anew = back_up(&site, &server, &["--full"]);
        assert_eq!(last["changes"], "wal", "{last}");
        let one = restore_apart(&site, &server, &last, "last");
        assert_same(&one, &restore_apart(&site, &server, &anew, "anew"));
    }
}

/// Restores, with the tablespace beside the data directory.
fn restore_apart(site: &Site, server: &PgServer, backup: &Value, folder: &str) -> PathBuf {
    let (data, space) = (site.path(folder), site.path(&format!("{folder}-apart")));
    let oid = server.psql("postgres", "SELECT oid FROM pg_tablespace WHERE spcname = 'apart'");
    let (id, space) = (backup["id"].as_str().unwrap(), format!("{oid}={}", space.display()));
    let folder = ["--data-dir", data.to_str().unwrap(), "--tablespace", &space];
    let restored = site.json(&[&["cluster", "restore", id, "--no-archive", "--immediate"], &folder[..]].concat());
    assert_eq!(restored["ok"], true, "{restored}");
    data
}

/// Takes a backup, lets `between` do its work on site and server, and returns what the next one logs, which compares pages.
fn doubted(options: PgServerOptions, between: impl FnOnce(&Site, &mut PgServer)) -> String {
    let site = Site::new();
    let command = site.shell("wal push %p");
    let mut server = options.setting("archive_command", command).start();
    write_calm(&server, "kept");
    back_up(&site, &server, &[]);
    between(&site, &mut server);
    let (after, text) = back_up_aloud(&site, &server, &[]);
    assert_eq!((&after["changes"], &after["wal_read_bytes"]), (&"comparison".into(), &0.into()), "{text}");
    let data = restore(&site, &after, "restored");
    let mut restored = site.under(&data, 15, "false");
    restored.restart();
    assert_eq!(content(&restored, "kept"), content(&server, "kept"));
    text
}

/// Fills a table, of which no page changes when it is read.
fn write_calm(server: &PgServer, table: &str) {
    write(server, table);
    server.psql("postgres", &format!("VACUUM FREEZE {table}"));
}

fn update(server: &PgServer) {
    server.psql("postgres", "UPDATE kept SET t = 'changed' WHERE n % 1000 = 0");
}

/// The files of the log that lie in a folder, but for the newest one.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.file_name().is_some_and(|name| name.len() == 24)).collect();
    files.sort();
    files
}

#[test]
fn a_hole_in_the_log_leaves_pages_to_be_compared() {
    let archiving = quiet(15).setting("archive_mode", "on").setting("wal_keep_size", "0").wal_segment_mib(1);
    let text = doubted(archiving, |site, server| {
        update(server);
        wait_until_archived(server);
        server.psql("postgres", "CHECKPOINT");
        let archive = std::fs::read_dir(site.path("repository/wal")).unwrap().next().unwrap().unwrap().path();
        let archived = segments(&archive.join("00000001"));
        std::fs::remove_file(&archived[archived.len() - 2]).unwrap();
    });
    assert!(text.contains("is neither with the server nor in the archive"), "{text}");
}

#[test]
fn a_damaged_log_leaves_pages_to_be_compared() {
    for (at, said) in [(400_000, "checksum"), (8192 * 10 + 9, "xlp_pageaddr"), (8192 * 10, "xlp_magic")] {
        let text = doubted(quiet(15).setting("wal_keep_size", "1GB").wal_segment_mib(1), |_, server| {
            update(server);
            let name = server.psql("postgres", "SELECT pg_walfile_name(pg_current_wal_lsn())");
            let path = server.data_dir().join("pg_wal").join(name);
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[at] ^= 4;
            std::fs::write(&path, bytes).unwrap();
        });
        assert!(text.contains(said), "{at}: {text}");
    }
}

#[test]
fn a_time_of_minimal_logging_leaves_pages_to_be_compared() {
    let text = doubted(quiet(15).setting("wal_keep_size", "1GB").wal_segment_mib(1), |_, server| {
        for setting in ["wal_level = minimal", "max_wal_senders = 0"] {
            server.psql("postgres", &format!("ALTER SYSTEM SET {setting}"));
        }
        server.restart();
        // None of its rows comes into the log.
        server.psql(
            "postgres",
            "BEGIN; TRUNCATE kept; INSERT INTO kept SELECT n, 'new' FROM generate_series(1, 1000) AS n; COMMIT",
        );
        server.psql("postgres", "ALTER SYSTEM RESET ALL");
        server.restart();
        update(server);
    });
    assert!(text.contains("wal_level is minimal"), "{text}");
}

#[test]
fn another_log_with_the_same_positions_is_not_taken_for_that_of_the_backup() {
    let site = Site::new();
    let mut server = keeping();
    write_calm(&server, "kept");
    server.stop();
    let (data, snapshot) = (server.data_dir(), site.path("snapshot"));
    let copy = |from: &Path, to: &Path| {
        let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
        assert!(copied.success());
    };
    copy(&data, &snapshot);
    let live = |server: &PgServer, text: &str| {
        server.psql("postgres", &format!("UPDATE kept SET t = '{text}' WHERE n % 1000 = 0"));
    };
    server.restart();
    live(&server, "one");
    let first = back_up(&site, &server, &[]);
    server.stop();
    std::fs::remove_dir_all(&data).unwrap();
    copy(&snapshot, &data);
    server.restart();
    live(&server, "two");
    // The same again, and then the log grows beyond it.
    back_up(&Site::new(), &server, &[]);
    update(&server);
    server.psql("postgres", "SELECT pg_switch_wal()");
    let (after, text) = back_up_aloud(&site, &server, &[]);
    assert_eq!(after["changes"], "comparison", "{first}: {text}");
    assert!(text.contains("it is another log"), "{text}");
    let restored = restore(&site, &after, "restored");
    let mut restored = site.under(&restored, 15, "false");
    restored.restart();
    assert_eq!(content(&restored, "kept"), content(&server, "kept"));
}

#[test]
fn under_load_no_page_changes_that_the_log_does_not_name() {
    let site = Site::new();
    let mut server = keeping();
    server.create_database("bench");
    let bench = |arguments: &[&str]| {
        let mut command = server.client("pgbench");
        command.args(arguments).arg("bench").stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        command
    };
    assert!(bench(&["-i", "-q", "-s", "20"]).status().unwrap().success());
    server.psql("bench", "VACUUM FREEZE");
    let full = back_up(&site, &server, &[]);
    let mut load = bench(&["-n", "-c", "2", "-R", "60", "-T", "600"]).spawn().unwrap();
    let progress = || server.psql("bench", "SELECT count(*) FROM pgbench_history").parse::<u64>().unwrap();
    for round in 1..=3 {
        crate::support::wait_for("the load", &server, || progress() >= round * 100);
        let (next, text) = back_up_aloud(&site, &server, &["--changes", "both"]);
        assert_eq!(next["changes"], "both", "{text}");
        assert!(next["wal_read_bytes"].as_u64().unwrap() > 0, "{text}");
        assert_eq!(next["unannounced_pages"], Value::Array(Vec::new()), "{next}");
    }
    let (last, text) = back_up_aloud(&site, &server, &[]);
    assert_eq!(last["changes"], "wal", "{full}: {text}");
    load.kill().unwrap();
    load.wait().unwrap();
    // Checksums of pages are not what this cluster has: the server itself looks whether tables and indexes agree.
    let data = restore(&site, &last, "restored");
    let mut restored = site.under(&data, 15, "false");
    restored.restart();
    restored.psql("bench", "CREATE EXTENSION amcheck");
    restored.psql("bench", "SELECT bt_index_check(indexrelid, true) FROM pg_index JOIN pg_class ON indexrelid = pg_class.oid JOIN pg_am ON relam = pg_am.oid WHERE amname = 'btree'");
    let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history),
        (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(tbalance) FROM pgbench_tellers)";
    assert_eq!(restored.psql("bench", sums), "t|t");
    server.stop();
}
