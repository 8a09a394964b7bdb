//! What a restore says beforehand, and what it leaves alone.

use std::path::Path;

use erpgo_dr_testkit::PgServer;

use crate::support::{Desk, content, files};

/// Writes a dump of the sample, uncompressed unless told otherwise, as the old scripts did.
fn dump(desk: &Desk, server: &PgServer, name: &str, compression: &str) {
    let made = server.client("pg_dump").args(["-Fc", compression, "erp"]).output().unwrap();
    assert!(made.status.success());
    std::fs::write(desk.path(name), made.stdout).unwrap();
}

#[test]
fn a_dry_run_of_a_file_says_what_would_become_of_the_target() {
    let (desk, server) = Desk::with_server(17);
    dump(&desk, &server, "plain.dump", "-Z0");
    dump(&desk, &server, "packed.dump", "-Z6");
    let dry = |more: &[&str]| desk.run(&[&["restore", "--dry-run", "--from-file"], more].concat());

    // The file says itself where it would go, and there is something already.
    let run = dry(&["plain.dump"]);
    assert_eq!(run.code, 1, "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("  erp (") && run.stdout.contains("REFUSED without --clean"), "{}", run.stdout);
    let run = dry(&["plain.dump", "--clean"]);
    assert!(run.code == 0 && run.stdout.contains("DROPPED"), "{}{}", run.stdout, run.stderr);
    let run = dry(&["plain.dump", "--target-database", "copy"]);
    assert!(run.code == 0 && run.stdout.contains("  copy (") && run.stdout.contains(": is made"), "{}", run.stdout);
    assert!(run.stdout.contains("rows)") && run.stdout.contains("nothing was done"), "{}", run.stdout);
    server.create_database("empty");
    let run = dry(&["packed.dump", "--target-database", "empty"]);
    assert!(run.code == 0 && run.stdout.contains("  empty: is there and must be empty"), "{}", run.stdout);
    let document = desk.json(&["restore", "--dry-run", "--from-file", "plain.dump", "--target-database", "copy"]);
    let target = &document["result"]["databases"][0];
    assert_eq!((&target["database"], &target["target"]), (&"erp".into(), &"copy".into()), "{document}");
    assert!(target["rows"].as_u64().unwrap() > 100 && target["action"] == "create", "{document}");
    assert_eq!(server.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'copy'"), "0");

    // A file that is cut short is found before anything depends on it.
    let whole = std::fs::read(desk.path("plain.dump")).unwrap();
    std::fs::write(desk.path("cut.dump"), &whole[..whole.len() / 2]).unwrap();
    desk.fails(&["restore", "--dry-run", "--from-file", "cut.dump"], 7, "integrity", "");
    let before = content(&server, "erp");
    let run = desk.run(&["restore", "--from-file", "plain.dump", "--clean"]);
    assert_eq!(run.code, 13, "{}", run.stderr);
    assert!(run.stderr.contains("this replaces what is in erp on"), "{}", run.stderr);
    desk.ok(&["restore", "--from-file", "plain.dump", "--clean", "--yes"]);
    assert_eq!(content(&server, "erp"), before);
}

#[test]
fn roles_that_exist_stay_as_they_are_unless_they_are_to_be_overwritten() {
    let (desk, server) = Desk::with_server(17);
    server.psql("erp", "CREATE ROLE clerk LOGIN; CREATE ROLE admins; GRANT admins TO clerk; CREATE ROLE trainee LOGIN");
    desk.ok(&["backup", "--database", "erp"]);
    server.psql("erp", "REVOKE admins FROM clerk; ALTER ROLE clerk NOLOGIN; DROP ROLE trainee");
    let clerk = || {
        let sql = "SELECT rolcanlogin, pg_has_role('clerk', 'admins', 'member') FROM pg_roles WHERE rolname = 'clerk'";
        server.psql("erp", sql)
    };
    let restore = |target: &str, globals: &str, dry: &[&str]| {
        desk.ok(&[&["restore", "latest", "--database", "erp", "--target-database", target, globals], dry].concat())
    };
    let plan = restore("first", "--globals", &["--dry-run"]);
    assert!(plan.contains("those that are stay as they are"), "{plan}");
    restore("first", "--globals", &[]);
    assert_eq!(clerk(), "f|f");
    assert_eq!(server.psql("erp", "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'trainee'"), "t", "is made anew");
    let plan = restore("second", "--globals=overwrite", &["--dry-run"]);
    assert!(plan.contains("OVERWRITTEN"), "{plan}");
    assert_eq!(clerk(), "f|f", "a dry run does nothing");
    restore("second", "--globals=overwrite", &[]);
    assert_eq!(clerk(), "t|t");
    assert_eq!(desk.run(&["restore", "latest", "--globals=all"]).code, 2);
    let help = desk.ok(&["restore", "--help"]);
    assert!(help.contains("--globals") && help.contains("They stay as they are"), "{help}");
}

/// Returns what the last line of a phase says of it.
fn ends<'a>(stderr: &'a str, phase: &str) -> Vec<&'a str> {
    let prefix = format!("{phase}: ");
    stderr.lines().filter_map(|line| line.strip_prefix(&prefix)).filter(|line| line.contains(" in ")).collect()
}

#[test]
fn a_restore_test_counts_what_it_restores() {
    let (mut desk, server) = Desk::with_server(17);
    let scratch = tempfile::Builder::new().prefix("s").tempdir().unwrap();
    erpgo_dr_testkit::postgres::give_to_postgres(scratch.path());
    desk.set("ERPGO_DR_SCRATCH", &Path::new(scratch.path()).display().to_string());
    let taken = desk.json(&["backup", "--database", "erp"]);
    let total = taken["result"]["plaintext_bytes"].as_u64().unwrap();
    for jobs in ["1", "3"] {
        let run = desk.run(&["verify", "--restore", "--jobs", jobs, "--progress", "always"]);
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
        let [end] = ends(&run.stderr, "restore-test")[..] else { panic!("{}", run.stderr) };
        let counted = end.split(" in ").next().unwrap();
        let (number, unit) = counted.split_once(' ').unwrap_or_else(|| panic!("{end}"));
        let unit = f64::from(if unit == "MiB" { 1 << 20 } else { 1 << 10 });
        let share = number.parse::<f64>().unwrap() * unit / total as f64;
        assert!((0.8..1.1).contains(&share), "{jobs} jobs: {end} of {total}");
    }
    drop(server);
}

#[test]
fn what_would_be_replaced_stays_when_the_backup_is_damaged_near_its_end() {
    let (desk, server) = Desk::with_server(17);
    desk.ok(&["backup", "--database", "erp"]);
    let before = content(&server, "erp");
    let dumps = files(&desk.path("repository/dumps"));
    let largest = dumps.iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let mut bytes = std::fs::read(largest).unwrap();
    let late = bytes.len() * 9 / 10;
    bytes[late] ^= 1;
    std::fs::write(largest, bytes).unwrap();
    let run = desk.run(&["restore", "latest", "--database", "erp", "--clean", "--yes"]);
    assert!(run.code == 7 && run.stderr.contains("nothing was changed"), "{} {}", run.code, run.stderr);
    assert_eq!(content(&server, "erp"), before);
}

#[test]
fn what_the_old_recovery_script_was_told_is_done() {
    let (mut desk, server) = Desk::with_server(17);
    server.create_database("old");
    server.psql("old", "CREATE TABLE kept AS SELECT 1 AS n");
    let file = desk.path("emergency_backup_20261127_030000.sql");
    let dumped = server.client("pg_dump").args(["-Fc", "-d", "old", "-f"]).arg(&file).status().unwrap();
    assert!(dumped.success());
    desk.set("RECOVERY_BACKUP", &file.display().to_string());
    desk.set("RECOVERY_DRY_RUN", "yes");
    let plan = desk.ok(&["restore", "--target-database", "new"]);
    assert!(plan.contains("new") && server.try_psql("new", "SELECT 1").is_err(), "{plan}");
    desk.set("RECOVERY_DRY_RUN", "no");
    desk.set("RECOVERY_TARGET", "production");
    desk.set("ENVIRONMENT", "staging");
    desk.fails(&["restore", "--target-database", "new"], 13, "refused", "recover where the target is");
    desk.set("ENVIRONMENT", "Production");
    desk.set("RECOVERY_TYPE", "config");
    desk.fails(&["restore", "--target-database", "new"], 2, "usage", "--globals");
    desk.set("RECOVERY_TYPE", "everything");
    desk.fails(&["restore", "--target-database", "new"], 2, "usage", "full, database, data");
    desk.set("RECOVERY_TYPE", "database");
    desk.ok(&["restore", "--target-database", "new"]);
    assert_eq!(server.psql("new", "SELECT n FROM kept"), "1");
    server.psql("new", "DELETE FROM kept");
    desk.set("RECOVERY_TYPE", "data");
    desk.ok(&["restore", "--target-database", "new", "--allow-non-empty"]);
    assert_eq!(server.psql("new", "SELECT n FROM kept"), "1", "rows alone, into what is there");
}
