//! A backup stores what has changed, and restores what a full one would.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use erpgo_dr_testkit::postgres::{MAJORS, PgServer, PgServerOptions};
use serde_json::Value;

use crate::support::{Site, content, write};

/// A server with checksums, which does nothing by itself.
pub(crate) fn quiet_server(major: u32) -> PgServer {
    let mut options = PgServerOptions::new(major).setting("autovacuum", "off").setting("wal_log_hints", "on");
    if major >= 17 {
        options = options.setting("summarize_wal", "on");
    }
    options.start()
}

pub(crate) fn back_up(site: &Site, server: &PgServer, more: &[&str]) -> Value {
    let url = server.url("postgres");
    let backup = site.json(&[&["-d", &url, "cluster", "backup"], more].concat());
    assert_eq!(backup["ok"], true, "{backup}");
    backup["result"].clone()
}

pub(crate) fn restore(site: &Site, backup: &Value, folder: &str) -> PathBuf {
    let data = site.path(folder);
    let id = backup["id"].as_str().unwrap();
    let restored =
        site.json(&["cluster", "restore", id, "--no-archive", "--immediate", "--data-dir", data.to_str().unwrap()]);
    assert_eq!(restored["ok"], true, "{restored}");
    data
}

/// The contents of all files in a folder, but of those that differ between any two backups.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap().map(Result::unwrap) {
            let (path, name) = (entry.path(), entry.file_name());
            match path.is_dir() {
                true if name != "pg_wal" => folders.push(path),
                false if name != "pg_control" && name != "backup_label" => {
                    found.insert(path.strip_prefix(folder).unwrap().to_owned(), std::fs::read(&path).unwrap());
                }
                _ => {}
            }
        }
    }
    found
}

/// Asserts that two folders hold the same, and names what does not.
pub(crate) fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (files(one), files(other));
    assert!(one.len() > 500, "{}", one.len());
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    let differing: Vec<_> =
        one.iter().filter(|(path, contents)| other[*path] != **contents).map(|(path, _)| path).collect();
    assert!(differing.is_empty(), "{differing:?}");
}

/// Changes of every kind that files of relations know.
pub(crate) fn change_much(server: &PgServer) {
    server.psql(
        "postgres",
        "UPDATE kept SET t = 'changed' WHERE n % 5000 = 0; DELETE FROM kept WHERE n BETWEEN 20000 AND 21000",
    );
    server.psql("postgres", "VACUUM kept");
    server.psql("postgres", "TRUNCATE cut; INSERT INTO cut SELECT n, 'new' FROM generate_series(1, 10) AS n");
    server.psql("postgres", "DELETE FROM tail WHERE n > 50000");
    server.psql("postgres", "VACUUM tail");
    server.psql("postgres", "DROP TABLE gone");
    write(server, "made");
    server.psql("postgres", "CREATE INDEX ON kept (n); CREATE SEQUENCE counter; SELECT nextval('counter')");
    server.psql("postgres", "CREATE DATABASE copied TEMPLATE other STRATEGY file_copy");
    server.psql("postgres", "CREATE DATABASE logged TEMPLATE other STRATEGY wal_log");
    server.psql("other", "CREATE TABLE late AS SELECT 1 AS n");
    server.psql("postgres", "VACUUM FULL pg_class");
}

#[test]
fn an_incremental_backup_restores_the_bytes_of_a_full_one_on_every_version() {
    for major in MAJORS {
        let site = Site::new();
        let server = quiet_server(major);
        server.create_database("other");
        for table in ["kept", "cut", "tail", "gone"] {
            write(&server, table);
        }
        let full = back_up(&site, &server, &[]);
        assert_eq!((&full["base"], &full["changes"]), (&Value::Null, &Value::Null), "{full}");
        assert!(full["read_bytes"].as_u64().unwrap() > 50_000_000, "{full}");

        change_much(&server);
        let changed = back_up(&site, &server, &[]);
        let source = if major >= 17 { "summaries" } else { "comparison" };
        assert_eq!((&changed["base"], &changed["changes"]), (&full["id"], &source.into()), "{major}: {changed}");
        let (added, whole) = (changed["added_bytes"].as_u64().unwrap(), full["added_bytes"].as_u64().unwrap());
        assert!(added < whole, "{major}: {added} of {whole}");
        if major >= 17 {
            assert!(changed["read_bytes"].as_u64() < full["read_bytes"].as_u64().map(|read| read * 3 / 4), "{changed}");
        }
        // This one may write anew what lies in packs that are mostly of no use any more. The next ones find hardly anything, whichever way they look.
        back_up(&site, &server, &[]);
        for how in ["auto", "compare", "both"] {
            let next = back_up(&site, &server, &["--changes", how]);
            assert!(next["added_bytes"].as_u64().unwrap() < added / 4, "{how}: {next}");
            assert_eq!(next["unannounced_pages"], Value::Array(Vec::new()), "{major}: {how}");
            assert_eq!(next["verdict"]["passed"], true, "{next}");
        }
        let last = back_up(&site, &server, &["--changes", "both"]);
        let anew = back_up(&site, &server, &["--full"]);
        assert_eq!((&anew["base"], last["base"].is_null()), (&Value::Null, false));
        assert_same(&restore(&site, &last, "last"), &restore(&site, &anew, "anew"));

        // None of them needs another: all but the last of the chain go, with the packs that only they needed.
        let kept = site.json(&["hold", "add", last["id"].as_str().unwrap(), "--reason", "for the test"]);
        assert_eq!(kept["ok"], true, "{kept}");
        let pruned = site.json(&["prune", "--keep-last", "1"]);
        assert_eq!(pruned["result"]["removed"].as_array().unwrap().len(), 6, "{pruned}");
        let verified = site.json(&["verify", "--all"]);
        assert_eq!(verified["result"]["passed"], true, "{verified}");
        assert_same(&restore(&site, &last, "again"), &site.path("last"));
    }
}

#[test]
fn a_backup_that_lost_a_pack_is_not_built_on_blindly() {
    let site = Site::new();
    let server = quiet_server(15);
    write(&server, "kept");
    let first = back_up(&site, &server, &[]);
    let packs = site.path("repository/packs").join(first["id"].as_str().unwrap());
    for pack in std::fs::read_dir(&packs).unwrap() {
        std::fs::remove_file(pack.unwrap().path()).unwrap();
    }
    // What the pack held is stored anew: the new backup is whole where the old one is not.
    let second = back_up(&site, &server, &[]);
    assert_eq!(second["base"], first["id"], "{second}");
    let verified = site.json(&["verify", second["id"].as_str().unwrap()]);
    assert_eq!(verified["result"]["passed"], true, "{verified}");
    // One that was found bad is no base at all.
    let found = site.json(&["verify", first["id"].as_str().unwrap()]);
    assert_eq!(found["result"]["passed"], false, "{found}");
    let content_before = content(&server, "kept");
    let third = back_up(&site, &server, &[]);
    assert_eq!(third["base"], second["id"], "{third}");
    let data = restore(&site, &third, "restored");
    let restored = site.under(&data, 15, "false");
    let mut restored = restored;
    restored.restart();
    assert_eq!(content(&restored, "kept"), content_before);
}

#[test]
fn pages_that_were_rewritten_without_a_word_in_the_log_are_found() {
    let site = Site::new();
    let mut server = quiet_server(17);
    write(&server, "kept");
    back_up(&site, &server, &[]);
    server.stop();
    let mut enable = erpgo_dr_testkit::unprivileged(&server.bin().join("pg_checksums"));
    let enabled = enable.arg("--enable").arg("-D").arg(server.data_dir()).current_dir("/").output().unwrap();
    assert!(enabled.status.success(), "{}", String::from_utf8_lossy(&enabled.stderr));
    server.restart();
    let after = back_up(&site, &server, &[]);
    assert_eq!(after["changes"], "comparison", "{after}");
    let data = restore(&site, &after, "restored");
    let mut restored = site.under(&data, 17, "false");
    restored.restart();
    assert_eq!(content(&restored, "kept"), content(&server, "kept"));
}

#[test]
fn a_history_that_was_put_back_is_not_taken_for_the_one_that_was_backed_up() {
    let site = Site::new();
    let mut server = quiet_server(17);
    write(&server, "kept");
    server.stop();
    let (data, snapshot) = (server.data_dir(), site.path("snapshot"));
    let copy = |from: &Path, to: &Path| {
        let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
        assert!(copied.success());
    };
    copy(&data, &snapshot);
    server.restart();
    server.psql("postgres", "UPDATE kept SET t = 'never was' WHERE n % 100 = 0");
    back_up(&site, &server, &[]);
    server.stop();
    std::fs::remove_dir_all(&data).unwrap();
    copy(&snapshot, &data);
    server.restart();
    // The log grows beyond where the backup was taken.
    write(&server, "other");
    let after = back_up(&site, &server, &[]);
    assert_eq!(after["changes"], "comparison", "{after}");
    let restored = restore(&site, &after, "restored");
    let mut restored = site.under(&restored, 17, "false");
    restored.restart();
    assert_eq!(content(&restored, "kept"), content(&server, "kept"));
}

#[test]
fn a_pack_that_was_found_damaged_is_of_no_use_to_any_later_backup() {
    let site = Site::new();
    let server = quiet_server(15);
    write(&server, "kept");
    let first = back_up(&site, &server, &[]);
    let second = back_up(&site, &server, &[]);
    let packs = site.path("repository/packs").join(first["id"].as_str().unwrap());
    let pack = std::fs::read_dir(&packs).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    let found = site.json(&["verify", second["id"].as_str().unwrap()]);
    assert_eq!(found["result"]["passed"], false, "{found}");
    // The first one shares the pack, and nobody has looked at it since.
    let third = back_up(&site, &server, &[]);
    assert_eq!(third["base"], first["id"], "{third}");
    let verified = site.json(&["verify", third["id"].as_str().unwrap()]);
    assert_eq!(verified["result"]["passed"], true, "{verified}");
}
