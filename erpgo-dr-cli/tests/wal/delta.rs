//! A cluster is restored over what is left of it, and a restore that broke off goes on.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use erpgo_dr_testkit::postgres::{PgServer, PgServerOptions, give_to_postgres};
use serde_json::Value;

use crate::incremental::{assert_same, back_up, restore};
use crate::support::{Site, write};

fn over(site: &Site, backup: &Value, data: &Path, more: &[&str]) -> Value {
    let (id, folder) = (backup["id"].as_str().unwrap(), data.display().to_string());
    let plain = ["cluster", "restore", id, "--no-archive", "--immediate", "--delta", "--data-dir", &folder];
    site.json(&[&plain[..], more].concat())
}

fn server_with_tablespace(site: &Site) -> PgServer {
    let server = PgServerOptions::new(17).setting("autovacuum", "off").start();
    let space = site.path("space");
    fs::create_dir(&space).unwrap();
    give_to_postgres(&space);
    server.psql("postgres", &format!("CREATE TABLESPACE elsewhere LOCATION '{}'", space.display()));
    server.psql("postgres", "CREATE TABLE far TABLESPACE elsewhere AS SELECT generate_series(1, 10000) AS n");
    write(&server, "kept");
    server
}

#[test]
fn a_folder_becomes_what_the_backup_has_and_only_pages_that_differ_are_written() {
    let site = Site::new();
    let server = server_with_tablespace(&site);
    let backup = back_up(&site, &server, &[]);
    let oid = server.psql("postgres", "SELECT oid FROM pg_tablespace WHERE spcname = 'elsewhere'");
    drop(server);
    // The tablespace goes where it was, which must be empty.
    fs::rename(site.path("space"), site.path("old-space")).unwrap();
    let data = restore(&site, &backup, "data");
    // It holds files now, and nobody has said whose.
    let refused = over(&site, &backup, &data, &["--dry-run"]);
    assert_eq!(refused["error"]["kind"], "refused", "{refused}");
    assert!(refused["error"]["message"].as_str().unwrap().contains("tablespace of another server"), "{refused}");
    let named = ["--tablespace", &format!("{oid}={}", site.path("space").display())];
    let over = |more: &[&str]| over(&site, &backup, &data, &[&named, more].concat());
    let unchanged = over(&["--dry-run"]);
    let difference = &unchanged["result"]["difference"];
    assert!(difference["bytes"].as_u64().unwrap() < 50_000, "{unchanged}");

    // Pages are lost, files shortened, lengthened, removed and added, in both folders.
    let mut large: Vec<_> = fs::read_dir(data.join("base/5")).unwrap().map(|entry| entry.unwrap().path()).collect();
    large.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().len()));
    let file = fs::File::options().write(true).open(&large[0]).unwrap();
    file.write_all_at(&[0xAB; 100], 5 * 8192 + 17).unwrap();
    file.write_all_at(&[0; 8192], 9 * 8192).unwrap();
    fs::File::options().write(true).open(&large[1]).unwrap().set_len(8192 + 5).unwrap();
    fs::remove_file(&large[2]).unwrap();
    fs::write(&large[3], vec![7; 3_000_000]).unwrap();
    fs::create_dir(data.join("base/99999")).unwrap();
    fs::write(data.join("base/99999/1"), "foreign").unwrap();
    fs::write(data.join("standby.signal"), "").unwrap();
    give_to_postgres(&data.join("base/99999"));
    let ready = data.join("pg_wal/archive_status/000000010000000000000009.ready");
    fs::write(&ready, "").unwrap();
    let refused = over(&[]);
    assert!(refused["error"]["message"].as_str().unwrap().contains("never archived"), "{refused}");
    let planned = over(&["--dry-run", "--discard-wal"]);
    assert_eq!(planned["result"]["difference"]["removed"].as_array().unwrap().len(), 5, "{planned}");
    assert!(data.join("base/99999/1").exists() && data.join("global/pg_control").exists(), "a dry run changes nothing");
    let restored = over(&["--discard-wal"]);
    assert_eq!((&restored["ok"], &restored["result"]["removed"]), (&Value::Bool(true), &Value::from(5)), "{restored}");
    let (written, whole) = (&restored["result"]["written_bytes"], &restored["result"]["bytes"]);
    assert!(written.as_u64().unwrap() < whole.as_u64().unwrap() / 4, "{written} of {whole}");
    fs::rename(site.path("space"), site.path("second-space")).unwrap();
    assert_same(&data, &restore(&site, &backup, "again"));
}

#[test]
fn only_the_same_cluster_is_restored_over_and_never_under_a_server() {
    let site = Site::new();
    let server = PgServer::start(17);
    let backup = back_up(&site, &server, &[]);
    let refused = over(&site, &backup, &server.data_dir(), &[]);
    assert_eq!(refused["error"]["kind"], "refused", "{refused}");
    assert!(refused["error"]["message"].as_str().unwrap().contains("a server runs on"), "{refused}");
    let mut other = PgServer::start(17);
    other.stop();
    let refused = over(&site, &backup, &other.data_dir(), &[]);
    assert!(refused["error"]["message"].as_str().unwrap().contains("holds the cluster"), "{refused}");
    other.restart();
    let files = site.path("files");
    fs::create_dir(&files).unwrap();
    fs::write(files.join("letter"), "dear").unwrap();
    give_to_postgres(&files);
    let refused = over(&site, &backup, &files, &[]);
    assert!(refused["error"]["message"].as_str().unwrap().contains("holds no cluster"), "{refused}");
    assert_eq!(fs::read_to_string(files.join("letter")).unwrap(), "dear");
}

#[test]
fn a_restore_that_was_killed_does_not_start_and_goes_on() {
    let site = Site::new();
    let server = PgServerOptions::new(15).setting("autovacuum", "off").start();
    for table in ["one", "two", "three"] {
        write(&server, table);
    }
    let backup = back_up(&site, &server, &[]);
    let (id, data) = (backup["id"].as_str().unwrap(), site.path("killed"));
    let config = site.path("erpgo-dr.toml").display().to_string();
    let folder = data.display().to_string();
    let mut kills = 0;
    for delta in [false, true, true, true] {
        let plain =
            ["--config", &config, "cluster", "restore", id, "--no-archive", "--immediate", "--data-dir", &folder];
        let arguments = if delta { [&plain[..], &["--delta"]].concat() } else { plain.to_vec() };
        let mut restoring = site.command(&arguments).stderr(std::process::Stdio::null()).spawn().unwrap();
        // As soon as some of it is there.
        let files = || fs::read_dir(data.join("base/5")).map_or(0, Iterator::count);
        while files() < 20 && restoring.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        restoring.kill().unwrap();
        if !restoring.wait().unwrap().success() {
            kills += 1;
            assert!(!data.join("global/pg_control").exists(), "what is not whole must not start");
            // A page that was in flight.
            if let Some(path) = fs::read_dir(data.join("base/5")).unwrap().map(|entry| entry.unwrap().path()).next() {
                fs::write(path, vec![3; 20_000]).unwrap();
            }
        }
    }
    assert!(kills > 0, "every restore was faster than its killer");
    let restored = over(&site, &backup, &data, &[]);
    assert_eq!(restored["ok"], true, "{restored}");
    assert_same(&data, &restore(&site, &backup, "untouched"));
    assert!(!data.join("erpgo-dr.restore").exists());
}
