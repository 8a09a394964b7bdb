//! The doctor: it calls the sound sound, and finds each fault that was made.

use std::time::{Duration, SystemTime};

use crate::support::{Desk, Run, files};

/// Returns the lines of a check, each `LEVEL detail`, without colors and columns.
fn lines(text: &str, name: &str) -> Vec<String> {
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let named = |line: &String| {
        ["ok ", "warn ", "FAIL ", "skip "].iter().any(|level| line.starts_with(&format!("{level}{name} ")))
    };
    text.lines().map(words).filter(named).collect()
}

/// Runs the doctor, which must find that the check failed, and say this of it.
fn finds(desk: &Desk, arguments: &[&str], check: &str, detail: &str, next: &str) {
    let run = desk.run(&[&["doctor"], arguments].concat());
    assert_eq!(run.code, 1, "{}{}", run.stdout, run.stderr);
    let found = lines(&run.stdout, check);
    let failed = |line: &String| line.starts_with("FAIL") && line.contains(detail);
    assert!(found.iter().any(failed), "{check}, {detail}: {}", run.stdout);
    assert!(run.stdout.contains(next), "{next}: {}", run.stdout);
}

#[test]
fn what_is_sound_is_called_sound() {
    let (mut desk, _server) = Desk::with_server(17);
    let replica = desk.path("second").display().to_string();
    desk.set("ERPGO_DR_REPLICA", &replica);
    desk.ok(&["repair"]);
    desk.ok(&["key", "generate", "second.txt"]);
    desk.ok(&["key", "add", "second", "--recipient", &desk.recipient.clone()]);
    desk.ok(&["backup", "--database", "erp"]);
    desk.ok(&["verify", "--restore"]);
    let before = files(desk.folder.path()).len();
    let text = desk.ok(&["doctor", "--write"]);
    let sound = [
        "configuration",
        "repository",
        "repository writes",
        "repository clock",
        "replica 1",
        "replica 1 writes",
        "keys",
        "key slots",
        "leases",
        "catalogue",
        "backups",
        "server",
        "client programs",
        "privileges",
        "roles",
        "restore test",
    ];
    for check in sound {
        assert!(lines(&text, check).first().is_some_and(|line| line.starts_with("ok")), "{check}: {text}");
    }
    for check in ["cpu", "repository space", "replica 1 space", "scratch space"] {
        assert_eq!(lines(&text, check).len(), 1, "{check}: {text}");
    }
    assert_eq!(files(desk.folder.path()).len(), before, "nothing stays behind");
}

#[test]
fn faults_of_the_repository_are_found() {
    let (mut desk, _server) = Desk::with_server(17);
    let text = desk.ok(&["doctor"]);
    assert!(lines(&text, "key slots")[0].starts_with("warn") && text.contains("erpgo-dr key add"), "{text}");
    assert!(lines(&text, "backups")[0].starts_with("warn backups there is none yet"), "{text}");
    let nowhere = desk.path("nowhere").display().to_string();
    finds(&desk, &["--repository", &nowhere], "repository", "holds no repository", "erpgo-dr init");
    finds(&desk, &["--replica", &nowhere], "replica 1", "holds no repository", "erpgo-dr repair");
    finds(&desk, &["--timeout", "1", "--repository", "s3://x/y"], "repository", "s3://x/y", "-> ");

    desk.ok(&["backup", "--database", "erp", "--scope", "schema"]);
    desk.configure("[status]\nmax_age = \"1h\"\n");
    let text = desk.ok(&["doctor"]);
    assert!(lines(&text, "backups")[0].contains("no restore was ever tested"), "{text}");
    let lease = desk.path("repository/state/leases/backup-dead");
    std::fs::create_dir_all(lease.parent().unwrap()).unwrap();
    std::fs::write(&lease, "{}").unwrap();
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    std::fs::File::options().write(true).open(&lease).unwrap().set_modified(hour_ago).unwrap();
    let text = desk.ok(&["doctor"]);
    assert!(lines(&text, "leases")[0].starts_with("warn leases 1 stale"), "{text}");

    desk.set("ERPGO_DR_NEW_PASSPHRASE", "right");
    desk.ok(&["key", "add", "spare"]);
    let found = files(&desk.path("repository/backups"));
    let summary = found.iter().find(|path| path.ends_with("summary")).unwrap();
    std::fs::write(summary, "rubbish").unwrap();
    finds(&desk, &[], "catalogue", "", "erpgo-dr verify --all");
    std::fs::remove_file(desk.path("key.txt")).unwrap();
    desk.json(&["key", "generate", "key.txt", "-r", &nowhere]);
    finds(&desk, &[], "keys", "none of the identities given opens", "--passphrase-file FILE");
    std::fs::write(desk.path("erpgo-dr.toml"), format!("repository = \"{}\"", desk.path("repository").display()))
        .unwrap();
    desk.set("ERPGO_DR_PASSPHRASE", "wrong");
    finds(&desk, &[], "keys", "passphrase", "--passphrase-file FILE");
}

#[test]
fn faults_of_the_server_are_found() {
    // No package of Debian 12 has client programs of this version: what the set-up installs is only where it is named.
    let (mut desk, server) = Desk::with_server(18);
    finds(&desk, &["-d", "host=127.0.0.1 port=1"], "server", "refused", "pg_isready");
    server.psql("erp", "CREATE ROLE weak LOGIN");
    let weak = format!("host=127.0.0.1 port={} user=weak dbname=erp", server.port());
    finds(&desk, &["-d", &weak], "privileges", "of erp cannot be read", "pg_read_all_data");
    finds(&desk, &["-d", &weak], "roles", "superuser", "--no-globals");
    desk.set("ERPGO_DR_BIN_DIR", &desk.path("empty").display().to_string());
    desk.set("PATH", "/usr/bin:/bin");
    finds(&desk, &[], "client programs", "no pg_dump of version 18 or newer", "--bin-dir");
    let text = desk.run(&["doctor"]).stdout;
    assert!(lines(&text, "restore test")[0].starts_with("warn") && text.contains("no initdb of version 18"), "{text}");
}

#[test]
fn programs_can_read_it() {
    let desk = Desk::new();
    let run = desk.run(&["doctor", "--json"]);
    assert_eq!(run.code, 1, "{}", run.stdout);
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let result = &document["result"];
    assert_eq!((&document["ok"], result["failed"].as_u64().unwrap() > 0), (&false.into(), true), "{document}");
    let checks = result["checks"].as_array().unwrap();
    assert!(checks.iter().all(|check| ["ok", "warn", "fail", "skip"].contains(&check["level"].as_str().unwrap())));
    assert!(
        checks.iter().filter(|check| check["level"] == "fail").all(|check| check["next"].is_string()),
        "{document}"
    );
}

#[test]
fn what_is_not_configured_is_skipped_and_does_not_fail() {
    let desk = Desk::new();
    desk.ok(&["init", "--recipient", &desk.recipient]);
    let text = format!("repository = \"{}\"\n", desk.path("repository").display());
    std::fs::write(desk.path("erpgo-dr.toml"), text).unwrap();
    // In a network of its own, where no server can answer at localhost.
    let doctor = |more: &[&str]| {
        let inner = desk.command(&[&["doctor"], more].concat());
        let mut outer = std::process::Command::new("unshare");
        outer.args(["--map-root-user", "--net"]).arg(inner.get_program()).args(inner.get_args());
        outer.current_dir(desk.folder.path()).env_clear();
        outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Run::of(&outer.output().unwrap())
    };
    let run = doctor(&["--recipient", &desk.recipient]);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    for check in ["server", "replica", "writes", "keys"] {
        assert!(lines(&run.stdout, check)[0].starts_with("skip"), "{check}: {}", run.stdout);
    }
    assert!(run.stdout.contains("0 failed") && run.stdout.contains(" 4 skipped"), "{}", run.stdout);
    let run = doctor(&["-d", "host=127.0.0.1"]);
    assert_eq!(run.code, 1, "a server that is named must answer: {}", run.stdout);
    assert!(lines(&run.stdout, "server")[0].starts_with("FAIL"), "{}", run.stdout);
    assert!(
        lines(&run.stdout, "keys")[0].starts_with("warn"),
        "without public keys nothing can be done: {}",
        run.stdout
    );
}

#[test]
fn a_backup_of_long_ago_is_a_warning_or_what_the_configuration_makes_of_it() {
    let (desk, server) = Desk::with_server(17);
    let dump = server.client("pg_dump").args(["-Fc", "--schema-only", "erp"]).output().unwrap().stdout;
    let nine_hours_ago = chrono::Utc::now() - chrono::TimeDelta::hours(9);
    let old = format!("full_backup_{}.sql", nine_hours_ago.format("%Y%m%d_%H%M%S"));
    std::fs::write(desk.path(&old), dump).unwrap();
    desk.ok(&["import", &old]);
    let text = desk.ok(&["doctor"]);
    let line = &lines(&text, "backups")[0];
    assert!(line.starts_with("warn") && line.contains(" 9h") && text.contains("status.max_age"), "{text}");
    desk.configure("[status]\nmax_age = \"8h\"\n");
    finds(&desk, &[], "backups", " 9h", "older than status.max_age");
    desk.configure("[status]\nmax_age = \"10h\"\n");
    let line = &lines(&desk.ok(&["doctor"]), "backups")[0];
    assert!(line.contains("no restore was ever tested"), "young enough here: {line}");
}

#[test]
fn a_broken_configuration_is_one_finding_among_others() {
    let (mut desk, _server) = Desk::with_server(17);
    let repository = desk.path("repository").display().to_string();
    std::fs::write(desk.path("erpgo-dr.toml"), "[retention]\ndayly = 7\n").unwrap();
    std::fs::write(desk.path("old.env"), "# fine\nno assignment\n").unwrap();
    finds(&desk, &[], "configuration", "line 2", "every key");
    let text = desk.run(&["doctor"]).stdout;
    assert!(lines(&text, "repository")[0].starts_with("skip"), "the file may have named it: {text}");
    assert!(lines(&text, "server")[0].starts_with("ok"), "{text}");
    desk.set("ERPGO_DR_REPOSITORY", &repository);
    desk.set("ERPGO_DR_IDENTITY", &desk.path("key.txt").display().to_string());
    let text = desk.run(&["doctor", "--env-file", "old.env", "--write"]).stdout;
    let faults = lines(&text, "configuration");
    assert!(faults.len() == 2 && faults[1].contains("old.env") && faults[1].contains("line 2"), "{text}");
    for check in ["repository", "keys", "repository writes", "catalogue", "server", "privileges"] {
        assert!(lines(&text, check)[0].starts_with("ok"), "{check}: {text}");
    }
    assert!(text.contains("2 failed"), "{text}");
    let run = desk.run(&["doctor", "--json", "--config", "nowhere.toml"]);
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, document["result"]["failed"].as_u64()), (1, Some(1)), "{document}");
    desk.fails(&["list"], 2, "config", "docs/cli.md");
    std::fs::write(desk.path("erpgo-dr.toml"), "[retention]\ndaily = 0\nweekly = 0\nmonthly = 0\n").unwrap();
    finds(&desk, &[], "configuration", "[retention]", "what is to be kept");
}

#[test]
fn what_a_killed_restore_test_left_is_found_and_removed() {
    let mut desk = Desk::new();
    desk.ok(&["init", "--recipient", &desk.recipient.clone()]);
    let scratch = desk.path("scratch");
    desk.set("ERPGO_DR_SCRATCH", &scratch.display().to_string());
    let (dead, foreign) = (scratch.join("pg-DeAd01"), scratch.join("pg-backup"));
    for (folder, file) in [(&dead, "owner"), (&foreign, "dump")] {
        std::fs::create_dir_all(folder.join("data")).unwrap();
        std::fs::write(folder.join(file), "1\n").unwrap();
    }
    let text = desk.run(&["doctor"]).stdout;
    let found = lines(&text, "scratch leftovers");
    assert!(
        found[0].starts_with("warn") && found[0].contains("pg-DeAd01") && !found[0].contains("pg-backup"),
        "{text}"
    );
    desk.ok(&["prune", "--dry-run"]);
    assert!(dead.exists());
    let run = desk.run(&["prune"]);
    assert!(run.code == 0 && run.stderr.contains("pg-DeAd01"), "{}{}", run.stdout, run.stderr);
    assert!(!dead.exists() && foreign.join("dump").exists());
    assert!(lines(&desk.run(&["doctor"]).stdout, "scratch leftovers")[0].starts_with("ok"));
}

#[test]
fn a_key_file_that_never_ends_is_not_read_to_its_end() {
    let desk = Desk::new();
    desk.ok(&["init", "--recipient", &desk.recipient.clone()]);
    std::fs::File::create(desk.path("huge")).unwrap().set_len(1 << 40).unwrap();
    for path in ["huge", "/dev/zero"] {
        finds(&desk, &["-i", path], "keys", "no file of keys", "check the path");
        finds(&desk, &["--passphrase-file", path], "keys", "no file of keys", "check the path");
    }
}
