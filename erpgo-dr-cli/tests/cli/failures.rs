//! Each kind of failure has its exit code, its word in JSON, and the next step.

use std::os::unix::fs::FileExt as _;
use std::process::Stdio;

use erpgo_dr_testkit::FullDisk;
use erpgo_dr_testkit::postgres::PgServerOptions;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Desk, files};

#[test]
fn usage_and_configuration_are_two() {
    let desk = Desk::new();
    for arguments in [&["bakcup"][..], &["restore", "--jobs", "many"], &[], &["backup", "--codec", "lz4"]] {
        let run = desk.run(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{arguments:?}: {}", run.stderr);
    }
    let document: serde_json::Value = serde_json::from_str(&desk.run(&["bakcup", "--json"]).stdout).unwrap();
    assert_eq!((&document["error"]["kind"], &document["command"]), (&"usage".into(), &serde_json::Value::Null));
    std::fs::write(desk.path("erpgo-dr.toml"), "repository = \"/x\"\n[retention]\ndayly = 7\n").unwrap();
    let run = desk.fails(&["list"], 2, "config", "docs/cli.md");
    assert!(run.stderr.contains("line 3") && run.stderr.contains("dayly"), "{}", run.stderr);
    std::fs::remove_file(desk.path("erpgo-dr.toml")).unwrap();
    desk.fails(&["list"], 2, "usage", "--repository");
    desk.fails(&["list", "--config", "nowhere.toml"], 2, "config", "check the path");
}

#[test]
fn what_is_not_there_or_is_there_already() {
    let desk = Desk::new();
    desk.fails(&["list"], 4, "not-found", "erpgo-dr init");
    desk.fails(&["-r", "ftp://x", "list"], 3, "invalid", "s3://");
    desk.ok(&["init", "--recipient", &desk.recipient]);
    desk.fails(&["init", "--recipient", &desk.recipient], 5, "already-exists", "erpgo-dr status");
    desk.fails(&["show", "20200101T000000Z-00000000"], 4, "not-found", "erpgo-dr list");
    desk.fails(&["restore"], 4, "not-found", "verify");
    desk.fails(&["list", "-i", "nowhere.txt"], 4, "not-found", "check the path");
    let status = desk.run(&["status"]);
    assert_eq!(status.code, 1, "no backup is not healthy: {}", status.stdout);
    desk.fails(&["repair"], 2, "usage", "--replica");
}

#[test]
fn a_wrong_passphrase_and_a_missing_one() {
    let mut desk = Desk::new();
    std::fs::write(desk.path("erpgo-dr.toml"), format!("repository = \"{}\"\n", desk.path("r").display())).unwrap();
    std::fs::write(desk.path("right"), "correct horse\n").unwrap();
    desk.ok(&["init", "--passphrase-file", "right"]);
    desk.fails(&["status"], 6, "locked", "ERPGO_DR_PASSPHRASE");
    desk.set("ERPGO_DR_PASSPHRASE", "wrong horse");
    let run = desk.fails(&["status"], 6, "locked", "--passphrase-file");
    assert!(!run.stderr.contains("wrong horse"), "{}", run.stderr);
}

#[test]
fn servers_that_cannot_be_reached_or_say_no() {
    let server = PgServerOptions::new(17).password("hunter2-secret").start();
    let mut desk = Desk::new();
    desk.set("ERPGO_DR_BIN_DIR", &server.bin().display().to_string());
    desk.ok(&["init", "--recipient", &desk.recipient]);
    desk.fails(&["backup", "-d", "host=127.0.0.1 port=1 connect_timeout=2"], 11, "unavailable", "pg_isready");
    let url = server.url("postgres");
    desk.set("ERPGO_DR_CONNECTION", &url);
    desk.set("ERPGO_DR_PGPASSWORD", "another-secret");
    let run = desk.fails(&["-vv", "backup"], 9, "permission", "PGPASSFILE");
    assert!(!run.stderr.contains("another-secret"), "{}", run.stderr);
    let without = desk.command(&["backup", "--json"]).env_remove("ERPGO_DR_PGPASSWORD").output().unwrap();
    let without = crate::support::Run::of(&without);
    assert!(without.code == 9 && without.stdout.contains("PGPASSFILE"), "{}", without.stdout);
    let with_password = url.replacen("://", "://postgres:hunter2-secret@", 1).replacen("@postgres@", "@", 1);
    let run = desk.fails(&["backup", "-d", &with_password], 2, "usage", "PGPASSFILE");
    assert!(!run.stderr.contains("hunter2"), "{}", run.stderr);
    desk.set("ERPGO_DR_PGPASSWORD", "hunter2-secret");
    desk.fails(&["backup", "--database", "nowhere"], 4, "not-found", "check the name");
    desk.fails(&["backup", "-d", "dbname=nowhere"], 4, "not-found", "psql --list");
    desk.fails(&["backup", "-d", "user=nobody"], 9, "permission", "pg_hba.conf");
    let mut outputs = String::new();
    for arguments in [&["-vv", "backup"][..], &["-vv", "verify", "--restore"], &["-vv", "restore", "--dry-run"]] {
        let run = desk.run(arguments);
        outputs.push_str(&run.stdout);
        outputs.push_str(&run.stderr);
    }
    assert!(outputs.contains("INFO") && outputs.contains("(restore): ok"), "{outputs}");
    let identity = std::fs::read_to_string(desk.path("key.txt")).unwrap();
    let secret = identity.lines().last().unwrap();
    assert!(!outputs.contains("hunter2") && !outputs.contains(secret), "{outputs}");
}

#[test]
fn damage_is_found_and_nothing_is_restored_from_it() {
    let (desk, server) = Desk::with_server(17);
    desk.ok(&["backup", "--database", "erp"]);
    let dumps = files(&desk.path("repository/dumps"));
    let largest = dumps.iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    let file = std::fs::File::options().read(true).write(true).open(largest).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 5000).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 5000).unwrap();
    let run = desk.run(&["verify"]);
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stdout.contains("FAILED") && run.stdout.contains("not authentic"), "{}", run.stdout);
    let restore = ["restore", "latest", "--target-database", "damaged"];
    desk.fails(&restore, 7, "integrity", "erpgo-dr repair");
    assert_eq!(server.psql("postgres", "SELECT count(*) FROM pg_database WHERE datname = 'damaged'"), "0");
    let status = desk.run(&["status"]);
    assert_eq!(status.code, 1);
    assert!(status.stdout.contains("UNHEALTHY") && status.stdout.contains("FAILED"), "{}", status.stdout);
}

#[test]
fn a_full_disk_and_a_full_target() {
    let disk = FullDisk::mount(1 << 20);
    let (desk, _server) = Desk::with_server(15);
    let place = disk.path().join("repository").display().to_string();
    desk.ok(&["-r", &place, "init", "--recipient", &desk.recipient]);
    disk.fill_but(64 << 10);
    desk.fails(&["-r", &place, "backup", "--database", "erp", "--codec", "none"], 10, "no-space", "prune");
    assert!(desk.ok(&["-r", &place, "list"]).contains("no backups"));
    desk.ok(&["backup", "--database", "erp"]);
    desk.fails(&["restore"], 13, "refused", "--target-database");
    desk.fails(&["restore", "--table", "erp.nothing", "--allow-non-empty"], 4, "not-found", "erpgo-dr show");
}

#[test]
fn a_full_scratch_disk_is_no_fault_of_the_backup() {
    let (desk, server) = Desk::with_server(17);
    server.psql("erp", "CREATE TABLE public.large AS SELECT repeat('x', 1000) FROM generate_series(1, 100000)");
    desk.ok(&["backup", "--database", "erp"]);
    // Too small for a cluster, and then for what is restored into it.
    for mebibytes in [16, 110] {
        let disk = FullDisk::mount(mebibytes << 20);
        let scratch = disk.path().display().to_string();
        let run = desk.fails(&["verify", "--restore", "--scratch", &scratch], 10, "no-space", &scratch);
        assert!(run.stderr.contains("No space left on device"), "{}", run.stderr);
    }
    assert!(!desk.ok(&["show", "latest"]).contains("FAILED"), "no verdict says that the backup is bad");
}

#[test]
fn what_postgresql_refuses_is_of_the_database() {
    let (desk, server) = Desk::with_server(17);
    server.psql("erp", "CREATE ROLE weak LOGIN");
    let weak = format!("host=127.0.0.1 port={} user=weak dbname=erp", server.port());
    let backup = ["backup", "--database", "erp", "--no-globals", "-d", &weak];
    let run = desk.fails(&backup, 12, "database", "the server's message");
    assert!(run.stderr.contains("permission denied"), "pg_dump's own words: {}", run.stderr);
    assert!(desk.ok(&["list"]).contains("no backups"));
    desk.ok(&["backup", "--database", "erp"]);
    let restore = ["restore", "latest", "--target-database", "mine", "-d", &weak];
    let run = desk.fails(&restore, 12, "database", "the server's message");
    assert!(run.stderr.contains("permission denied to create database"), "{}", run.stderr);
}

#[test]
fn beside_a_prune_another_one_is_busy() {
    let (desk, _server) = Desk::with_server(17);
    desk.ok(&["backup", "--database", "erp", "--scope", "schema"]);
    let running = PausedPrune::begin(&desk);
    desk.fails(&["prune"], 14, "busy", "wait for it to end");
    let ended = running.go_on();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    desk.ok(&["prune"]);
}

/// A prune that was stopped while it holds its lease.
struct PausedPrune(std::process::Child);

impl PausedPrune {
    /// A prune of a small repository takes milliseconds: one that was missed is followed by the next.
    fn begin(desk: &Desk) -> Self {
        let leases = desk.path("repository/state/leases");
        let holds = || files(&leases).iter().any(|path| path.to_string_lossy().contains("/prune-"));
        for _ in 0..200 {
            let mut command = desk.command(&["prune"]);
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            while child.try_wait().unwrap().is_none() && !holds() {}
            let pid = Pid::from_child(&child);
            if child.try_wait().unwrap().is_none() {
                kill_process(pid, Signal::STOP).unwrap();
                while !is_stopped(&child) && child.try_wait().unwrap().is_none() {}
                if is_stopped(&child) && holds() {
                    return Self(child);
                }
                let _ = kill_process(pid, Signal::CONT);
            }
            child.wait().unwrap();
        }
        panic!("of 200 prunes none was seen with its lease");
    }

    fn go_on(self) -> std::process::Output {
        kill_process(Pid::from_child(&self.0), Signal::CONT).unwrap();
        self.0.wait_with_output().unwrap()
    }
}

fn is_stopped(child: &std::process::Child) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
}

#[test]
fn a_disk_that_is_read_only_and_one_that_cannot_be_read() {
    let disk = FullDisk::mount(4 << 20);
    let (desk, _server) = Desk::with_server(17);
    let place = disk.path().join("repository").display().to_string();
    desk.ok(&["-r", &place, "init", "--recipient", &desk.recipient]);
    let mount = |options: &str| {
        let done = std::process::Command::new("mount").args(["-o", options]).arg(disk.path()).status();
        assert!(done.unwrap().success(), "{options}");
    };
    mount("remount,ro");
    desk.fails(&["-r", &place, "backup", "--database", "erp"], 9, "permission", "read, write");
    assert!(desk.ok(&["-r", &place, "list"]).contains("no backups"), "what is there can be read");
    mount("remount,rw");
    desk.ok(&["-r", &place, "backup", "--database", "erp", "--scope", "schema"]);
    mount("remount,ro");
    let run = desk.run(&["-r", &place, "verify"]);
    assert!(run.code == 1 && run.stdout.contains(": ok in") && run.stdout.contains("NOT RECORDED"), "{}", run.stdout);
    mount("remount,rw");
    let size = |path: &std::path::PathBuf| std::fs::metadata(path).unwrap().len();
    let largest = files(&disk.path().join("repository")).into_iter().max_by_key(size).unwrap();
    let mut bytes = std::fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&largest, bytes).unwrap();
    mount("remount,ro");
    let document: serde_json::Value =
        serde_json::from_str(&desk.run(&["-r", &place, "verify", "--json"]).stdout).unwrap();
    let verdict = &document["result"]["verdicts"][0];
    assert!(document["result"]["passed"] == false && verdict["findings"][0].is_string(), "{document}");
    assert!(verdict["unrecorded"].as_str().unwrap().contains("Read-only"), "{document}");
    // The kernel answers a read of it at 0 with EIO, as a failing disk does.
    let run = desk.fails(&["list", "-i", "/proc/self/mem"], 15, "io", "the disk");
    assert!(run.stderr.contains("/proc/self/mem") && run.stderr.contains("Input/output error"), "{}", run.stderr);
    desk.fails(&["restore", "--from-file", &place, "--dry-run"], 15, "io", "the disk");
}
