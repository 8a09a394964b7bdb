//! A restored cluster is started, measured and left running.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use erpgo_dr_testkit::postgres::{PgServer, postgres_bin};
use erpgo_dr_testkit::{is_root, unprivileged};
use serde_json::Value;

use crate::support::{Site, wait_until_archived};

/// A data directory whose server, if there is one, is gone when this is.
struct Copy {
    data: PathBuf,
    sockets: PathBuf,
    bin: PathBuf,
}

impl Copy {
    fn new(site: &Site, name: &str, major: u32) -> Self {
        Self { data: site.path(name), sockets: site.path(""), bin: postgres_bin(major) }
    }

    /// Restores into it and starts it, on a socket of the site alone.
    fn start(&self, site: &Site, more: &[&str]) -> Value {
        let (data, sockets) = (self.data.display().to_string(), self.sockets.display().to_string());
        let settings = [format!("unix_socket_directories={sockets}"), "listen_addresses=".to_owned()];
        let bin = self.bin.display().to_string();
        let plain = ["--bin-dir", &bin, "cluster", "restore", "--start", "--data-dir", &data];
        let private = ["--server-setting", &settings[0], "--server-setting", &settings[1]];
        site.json(&[&plain[..], &private, more].concat())
    }

    fn psql(&self, sql: &str) -> String {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.arg("-h").arg(&self.sockets).args(["-U", "postgres", "-XqAtc", sql, "postgres"]);
        let output = psql.output().unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn is_running(&self) -> bool {
        let status = unprivileged(&self.bin.join("pg_ctl")).arg("status").arg("-D").arg(&self.data).output().unwrap();
        status.status.success()
    }

    fn wait_for(&self, what: &str, sql: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.psql(sql) != "t" {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let mut stop = unprivileged(&self.bin.join("pg_ctl"));
        let _ = stop.args(["stop", "-m", "immediate", "-D"]).arg(&self.data).output();
    }
}

fn back_up(site: &Site, server: &PgServer) {
    let backup = site.json(&["-d", &server.url("postgres"), "cluster", "backup"]);
    assert_eq!(backup["ok"], true, "{backup}");
}

fn now(server: &PgServer) -> String {
    server.psql("postgres", "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.USZ')")
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[test]
fn a_server_at_a_moment_runs_on_and_archives_its_own_timeline() {
    for major in [15, 17] {
        let site = Site::new();
        let server = site.archiving_server(major, "");
        back_up(&site, &server);
        server.psql("postgres", "CREATE TABLE ledger AS SELECT 1 AS n");
        let moment = now(&server);
        server.psql("postgres", "INSERT INTO ledger VALUES (2)");
        wait_until_archived(&server);
        let newest = server.psql("postgres", "SELECT last_archived_wal FROM pg_stat_archiver");
        drop(server);

        let copy = Copy::new(&site, "restored", major);
        let restored = copy.start(&site, &["--target-time", &moment, "--keep-archiving"]);
        assert_eq!(restored["ok"], true, "{restored}");
        let started = &restored["result"]["started"];
        assert_eq!((&started["state"], &started["timeline"]), (&"promoted".into(), &2.into()), "{restored}");
        assert_eq!(
            (&started["warnings"], &restored["result"]["warnings"]),
            (&Value::from([""; 0]), &Value::from([""; 0]))
        );
        let behind = number(&started["behind_target_seconds"]);
        assert!((0.0..60.0).contains(&behind), "{restored}");
        assert_eq!(started["archive"]["segment"].as_str(), Some(newest.as_str()), "{restored}");
        assert!(number(&started["behind_archive_bytes"]) > 0.0 && started["replayed_lsn"].is_string(), "{restored}");
        let parts = ["start_seconds", "replay_seconds"].map(|part| number(&started[part]));
        let parts = number(&restored["result"]["seconds"]) + parts[0] + parts[1];
        let whole = number(&started["rto_seconds"]);
        assert!(parts <= whole && whole < parts + 30.0, "{restored}");
        assert_eq!(copy.psql("SELECT string_agg(n::text, ',') FROM ledger"), "1");

        let switched = copy.psql("INSERT INTO ledger VALUES (3); SELECT pg_walfile_name(pg_switch_wal())");
        assert!(switched.starts_with("00000002"), "{switched}");
        copy.wait_for(
            "archiving",
            &format!("SELECT coalesce(last_archived_wal >= '{switched}', false) FROM pg_stat_archiver"),
        );
        assert_eq!(copy.psql("SELECT failed_count FROM pg_stat_archiver"), "0");
        let check = site.json(&["wal", "check", "--verify"]);
        let timelines = check["result"]["clusters"][0]["timelines"].as_array().unwrap();
        assert_eq!((check["ok"].as_bool(), timelines.len()), (Some(true), 2), "{check}");

        let stop = started["stop_command"].as_str().unwrap();
        assert!(unprivileged(Path::new("/bin/sh")).args(["-c", stop]).output().unwrap().status.success(), "{stop}");
        assert!(!copy.is_running());
    }
}

#[test]
fn the_end_of_the_archive_a_pause_and_a_shutdown_are_told_apart() {
    for major in [15, 17] {
        let site = Site::new();
        let server = site.archiving_server(major, "");
        back_up(&site, &server);
        server.psql("postgres", "CREATE TABLE ledger AS SELECT 1 AS n");
        let position = server.psql("postgres", "SELECT pg_current_wal_lsn()");
        server.psql("postgres", "INSERT INTO ledger VALUES (2)");
        wait_until_archived(&server);
        drop(server);

        let latest = Copy::new(&site, "latest", major);
        let started = latest.start(&site, &[])["result"]["started"].clone();
        assert_eq!(started["state"], "promoted", "{started}");
        assert!(number(&started["behind_archive_bytes"]) < 16.0 * 1024.0 * 1024.0, "{started}");
        assert!(started["replayed_at"].is_string() && started["behind_target_seconds"].is_null(), "{started}");
        assert_eq!(latest.psql("SELECT string_agg(n::text, ',' ORDER BY n) FROM ledger"), "1,2");
        assert_eq!(latest.psql("SHOW archive_mode"), "off");
        drop(latest);

        let paused = Copy::new(&site, "paused", major);
        let started =
            paused.start(&site, &["--target-lsn", &position, "--action", "pause"])["result"]["started"].clone();
        assert_eq!((&started["state"], &started["timeline"]), (&"paused".into(), &1.into()), "{started}");
        assert_eq!(paused.psql("SELECT count(*), pg_is_in_recovery() FROM ledger"), "1|t");
        paused.psql("SELECT pg_wal_replay_resume()");
        paused.wait_for("promotion", "SELECT NOT pg_is_in_recovery()");
        drop(paused);

        let shut = Copy::new(&site, "shut", major);
        let restored = shut.start(&site, &["--target-lsn", &position, "--action", "shutdown"]);
        let started = &restored["result"]["started"];
        assert_eq!((&started["state"], &started["pid"]), (&"shut-down".into(), &Value::Null), "{restored}");
        assert!(started["stop_command"].is_null() && !shut.is_running(), "{restored}");
    }
}

#[test]
fn a_target_beyond_the_archive_is_not_taken_for_reached() {
    for major in [15, 17] {
        let site = Site::new();
        let server = site.archiving_server(major, "");
        back_up(&site, &server);
        // Where nothing was written, nothing is switched and archived.
        server.psql("postgres", "CREATE TABLE ledger AS SELECT 1 AS n");
        wait_until_archived(&server);
        drop(server);
        let copy = Copy::new(&site, "restored", major);
        let refused = copy.start(&site, &["--target-lsn", "FF/0"]);
        assert_eq!(
            (&refused["error"]["kind"], &refused["error"]["exit_code"]),
            (&"not-found".into(), &4.into()),
            "{refused}"
        );
        assert!(
            refused["error"]["message"].as_str().unwrap().contains("recovery ended before configured"),
            "{refused}"
        );
        assert!(refused["error"]["hint"].as_str().unwrap().contains("--delta"), "{refused}");
        assert!(!copy.is_running() && !copy.data.join("pg_wal/00000002.history").exists());
        let again = copy.start(&site, &["--delta", "--immediate"]);
        assert_eq!(again["result"]["started"]["state"], "promoted", "what the hint says: {again}");
    }
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let site = Site::new();
    let other = PgServer::start(17);
    let server = site.archiving_server(17, "");
    back_up(&site, &server);
    drop(server);
    let copy = Copy::new(&site, "restored", 17);
    let port = format!("port={}", other.port());
    for (setting, reason) in [
        (["listen_addresses=127.0.0.1", &port], "Address already in use"),
        (["shared_buffers=lots", "port=5432"], "shared_buffers"),
    ] {
        let settings = ["--server-setting", setting[0], "--server-setting", setting[1]];
        let refused = copy.start(&site, &[&["--delta", "--no-archive"][..], &settings].concat());
        assert_eq!(refused["error"]["kind"], "database", "{refused}");
        assert!(refused["error"]["message"].as_str().unwrap().contains(reason), "{refused}");
        assert!(refused["error"]["hint"].as_str().unwrap().contains("pg_ctl"), "{refused}");
        assert!(!copy.is_running());
    }
    let absent = site.path("nowhere").display().to_string();
    let refused =
        site.json(&["cluster", "restore", "--start", "--data-dir", &absent, "--server-setting", "data_directory=/old"]);
    assert_eq!(refused["error"]["kind"], "invalid", "{refused}");
    assert!(!site.path("nowhere").exists(), "what cannot be started is not restored");
}

#[test]
fn a_wait_that_ends_early_leaves_the_server_at_work() {
    let site = Site::new();
    let server = site.archiving_server(17, "");
    back_up(&site, &server);
    drop(server);
    let copy = Copy::new(&site, "restored", 17);
    let endless = ["--restore-command", "sleep 30; false"];
    let refused = copy.start(&site, &[&endless[..], &["--start-timeout", "2s"]].concat());
    assert_eq!(refused["error"]["kind"], "database", "{refused}");
    assert!(refused["error"]["message"].as_str().unwrap().contains("runs on"), "{refused}");
    assert!(copy.is_running(), "{refused}");
    drop(copy);

    let copy = Copy::new(&site, "interrupted", 17);
    let (data, bin) = (copy.data.display().to_string(), copy.bin.display().to_string());
    let config = site.path("erpgo-dr.toml").display().to_string();
    let sockets = format!("unix_socket_directories={}", copy.sockets.display());
    let arguments = ["--config", &config, "--bin-dir", &bin, "cluster", "restore", "--start", "--data-dir", &data];
    let settings = ["--server-setting", "listen_addresses=", "--server-setting", &sockets];
    let mut waiting = site.command(&[&arguments[..], &endless, &settings].concat()).spawn().unwrap();
    while !copy.data.join("postmaster.pid").exists() {
        assert!(waiting.try_wait().unwrap().is_none(), "it ended before the server was up");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &waiting.id().to_string()]).status().unwrap().success());
    assert_eq!(waiting.wait().unwrap().code(), Some(130));
    assert!(copy.is_running(), "it has a session of its own");
}

#[test]
fn what_the_server_runs_is_named_from_the_root_and_what_its_account_cannot_read_is_told() {
    let site = Site::new();
    let server = site.archiving_server(15, "");
    back_up(&site, &server);
    let data = site.path("restored").display().to_string();
    let restore = ["cluster", "restore", "--data-dir", &data, "--dry-run"];
    let relative = ["-r", "./repository", "-i", "key.txt", "--config", "erpgo-dr.toml", "--json"];
    let (code, text) = site.run(&[&restore[..], &relative].concat());
    assert_eq!(code, 0, "{text}");
    for path in ["repository", "key.txt", "erpgo-dr.toml"] {
        assert!(text.contains(&site.path(path).display().to_string()), "{path}: {text}");
    }
    let chosen = site.json(&[&restore[..], &["--target-name", "here"]].concat());
    assert!(chosen["result"]["warnings"][0].as_str().unwrap().contains("name an earlier BACKUP"), "{chosen}");
    for target in [&["--immediate"][..], &["--target-name", "here"]] {
        assert_eq!(site.erpgo(&[&restore[..], &["--exclusive"], target].concat()).0, 2);
    }

    if is_root() {
        let config = site.path("erpgo-dr.toml").display().to_string();
        let (key, secret) = (site.path("key.txt"), site.path("secret"));
        std::fs::create_dir(&secret).unwrap();
        std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        std::fs::copy(&key, secret.join("key.txt")).unwrap();
        let identity = secret.join("key.txt").display().to_string();
        let mut as_root = Command::new(env!("CARGO_BIN_EXE_erpgo-dr"));
        as_root.args(["--config", &config, "-i", &identity, "--json"]).args(restore).current_dir(site.path(""));
        let output = as_root.output().unwrap();
        let planned: Value = serde_json::from_slice(&output.stdout).unwrap();
        let warnings = planned["result"]["warnings"].as_array().unwrap();
        let named =
            |path: &Path| warnings.iter().any(|text| text.as_str().unwrap().ends_with(&path.display().to_string()));
        assert!(named(&secret), "{planned}");
        assert!(!named(&site.path("repository")) && !named(&site.path("erpgo-dr.toml")), "{planned}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("postgres, who owns the data directory"), "{planned}");
    }
}
