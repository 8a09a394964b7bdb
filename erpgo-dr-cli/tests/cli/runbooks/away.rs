//! Runs while the repository's place is away, is another one, or comes back.

use super::desk;
use crate::support::{Desk, Run, files};

#[test]
fn runs_begin_and_go_on_while_the_repository_is_away() {
    let (mut desk, folder) = desk();
    let (there, away) = (desk.path("repository"), desk.path("unplugged"));
    std::fs::write(desk.path("go"), "").unwrap();
    let stopped = desk.run(&["runbook", "run", "mine.toml", "--set", &folder]);
    assert!(stopped.stdout.contains("stopped at three"), "nobody is there to confirm: {}", stopped.stdout);
    std::fs::rename(&there, &away).unwrap();

    let resumed = desk.run(&["runbook", "resume", "--confirm", "BE"]);
    assert_eq!(resumed.code, 0, "{}{}", resumed.stdout, resumed.stderr);
    assert!(resumed.stderr.contains("is away") && resumed.stderr.contains("journals wait"), "{}", resumed.stderr);
    let begun = desk.run(&["runbook", "run", "mine.toml", "--set", &folder, "--confirm", "BE", "--operator", "bob"]);
    assert_eq!(begun.code, 0, "{}{}", begun.stdout, begun.stderr);
    let log = desk.ok(&["runbook", "log"]);
    assert!(log.contains("begun: mine by bob") && log.trim_end().ends_with("completed"), "{log}");
    assert_eq!(desk.json(&["runbook", "runs"])["result"]["runs"].as_array().unwrap().len(), 2);
    assert!(!there.exists(), "nothing is written where the repository was");
    desk.fails(&["backup"], 4, "not-found", "init");

    // Another host sees all of it once this one has had a word with the repository.
    std::fs::rename(&away, &there).unwrap();
    assert_eq!(desk.json(&["runbook", "runs"])["result"]["runs"].as_array().unwrap().len(), 2);
    let elsewhere = desk.path("elsewhere").display().to_string();
    desk.set("XDG_STATE_HOME", &elsewhere);
    let runs = desk.json(&["runbook", "runs"])["result"]["runs"].clone();
    assert!(runs.as_array().unwrap().iter().all(|run| run["standing"] == "completed"), "{runs}");
    let log = desk.ok(&["runbook", "log"]);
    assert!(log.contains("begun: mine by bob") && log.trim_end().ends_with("completed"), "{log}");
}

#[test]
fn a_host_that_never_saw_the_repository_says_so_while_it_is_away() {
    let (desk, folder) = desk();
    std::fs::rename(desk.path("repository"), desk.path("unplugged")).unwrap();
    desk.fails(&["runbook", "run", "mine.toml", "--set", &folder], 4, "not-found", "init");
}

/// Begins a run that stops at its last step, with nobody there to confirm.
fn stopped(desk: &Desk, folder: &str, more: &[&str]) -> Run {
    std::fs::write(desk.path("go"), "").unwrap();
    let run = desk.run(&[&["runbook", "run", "mine.toml", "--set", folder], more].concat());
    assert!(run.stdout.contains("stopped at three"), "{}{}", run.stdout, run.stderr);
    run
}

fn runs(desk: &Desk, more: &[&str]) -> usize {
    desk.json(&[&["runbook", "runs"], more].concat())["result"]["runs"].as_array().unwrap().len()
}

#[test]
fn an_empty_folder_where_nothing_is_mounted_is_no_repository() {
    let (desk, folder) = desk();
    let (there, away) = (desk.path("repository"), desk.path("unmounted"));
    stopped(&desk, &folder, &[]);
    std::fs::rename(&there, &away).unwrap();
    std::fs::create_dir(&there).unwrap();
    let resumed = desk.run(&["runbook", "resume", "--confirm", "BE"]);
    assert_eq!(resumed.code, 0, "{}{}", resumed.stdout, resumed.stderr);
    assert!(resumed.stderr.contains("is away"), "{}", resumed.stderr);
    assert!(files(&there).is_empty(), "nothing is written below the mount");
    std::fs::remove_dir(&there).unwrap();
    std::fs::rename(&away, &there).unwrap();
    assert_eq!(runs(&desk, &[]), 1);
    let log = desk.ok(&["runbook", "log"]);
    assert!(log.trim_end().ends_with("completed"), "{log}");
}

#[test]
fn another_repository_at_the_same_address_gets_nothing_of_the_former_one() {
    let (desk, folder) = desk();
    let (there, away) = (desk.path("repository"), desk.path("former"));
    stopped(&desk, &folder, &[]);
    std::fs::rename(&there, &away).unwrap();
    stopped(&desk, &folder, &["--operator", "bob"]);
    desk.ok(&["init", "--recipient", &desk.recipient]);
    let listed = desk.run(&["runbook", "runs"]);
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    assert!(listed.stderr.contains("another repository was at"), "{}", listed.stderr);
    assert_eq!(runs(&desk, &[]), 0);
    assert!(files(&there).iter().all(|file| !file.starts_with(there.join("state/runs"))), "{:?}", files(&there));

    std::fs::rename(&there, desk.path("newer")).unwrap();
    std::fs::rename(&away, &there).unwrap();
    assert_eq!(runs(&desk, &[]), 2, "what waited for the former one has waited");
    assert_eq!(files(&there.join("state/runs")).iter().filter(|file| file.ends_with("000000")).count(), 2);
}

#[test]
fn any_place_of_a_repository_finds_what_waits_for_it() {
    let (desk, folder) = desk();
    std::fs::remove_dir_all(desk.path("repository")).unwrap();
    let replica = desk.path("replica").display().to_string();
    let both = ["--replica", replica.as_str()];
    desk.ok(&[&["init", "--recipient", &desk.recipient], &both[..]].concat());
    assert_eq!(runs(&desk, &both), 0);
    std::fs::rename(desk.path("repository"), desk.path("dead")).unwrap();
    std::fs::rename(desk.path("replica"), desk.path("unplugged")).unwrap();
    stopped(&desk, &folder, &both);

    let alone = ["--repository", replica.as_str()];
    assert_eq!(runs(&desk, &alone), 1, "the run is there without the dead place");
    std::fs::rename(desk.path("unplugged"), desk.path("replica")).unwrap();
    assert_eq!(runs(&desk, &alone), 1);
    assert!(!files(&desk.path("replica").join("state/runs")).is_empty(), "what waited is there");
    let spools = std::fs::read_dir(desk.path(".local/state/erpgo-dr/spool")).unwrap();
    let mut spools: Vec<String> = spools.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    spools.sort_by_key(String::len);
    assert_eq!((spools[0].as_str(), spools[1].len(), spools.len()), ("places", 32, 2), "{spools:?}");
}

#[test]
fn two_hosts_that_went_on_apart_leave_a_journal_that_holds() {
    let (mut desk, folder) = desk();
    let (there, away) = (desk.path("repository"), desk.path("unplugged"));
    stopped(&desk, &folder, &[]);
    std::fs::rename(&there, &away).unwrap();
    for _ in 0..2 {
        assert!(desk.run(&["runbook", "resume"]).stdout.contains("stopped at three"));
    }
    assert_eq!(desk.run(&["runbook", "resume", "--confirm", "BE"]).code, 0);
    std::fs::rename(&away, &there).unwrap();

    let (here, elsewhere) = (desk.path(".local/state"), desk.path("elsewhere"));
    desk.set("XDG_STATE_HOME", &elsewhere.display().to_string());
    let resumed = desk.run(&["runbook", "resume", "--confirm", "BE", "--operator", "bob"]);
    assert_eq!(resumed.code, 0, "{}{}", resumed.stdout, resumed.stderr);
    let theirs = desk.ok(&["runbook", "log"]);

    desk.set("XDG_STATE_HOME", &here.display().to_string());
    let told = desk.run(&["runbook", "runs"]);
    assert_eq!(told.stderr.matches("the repository has another entry").count(), 1, "{}", told.stderr);
    assert_eq!(desk.ok(&["runbook", "log"]), theirs);
    desk.set("XDG_STATE_HOME", &elsewhere.display().to_string());
    assert_eq!(desk.ok(&["runbook", "log"]), theirs);
    assert!(files(&here).iter().any(|file| file.display().to_string().contains("/diverged/")));
}
