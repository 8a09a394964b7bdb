//! The pages, and what must be so when their last command has ended.

use std::collections::BTreeSet;
use std::path::Path;

use crate::stage::{Stage, commands_of};

/// Pages whose commands run below.
const RUN: [&str; 8] = [
    "tutorial.md",
    "how-to/every-night.md",
    "how-to/one-table.md",
    "how-to/second-place.md",
    "how-to/keys.md",
    "migrate/from-scripts.md",
    "migrate/from-pgbackrest.md",
    "migrate/from-barman.md",
];

/// Pages whose commands need a host of their own: `make test-deb` goes through them.
const RUN_ELSEWHERE: [&str; 1] = ["install.md"];

fn page(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)).unwrap()
}

#[test]
fn the_tutorial() {
    let stage = Stage::new();
    let customers = stage.server.psql("erp", "SELECT count(*) FROM erp.customers");
    let documents = stage.server.psql("erp", "SELECT count(*) FROM erp.documents");
    let told = stage.run(&page("tutorial.md"));
    assert_eq!(stage.server.psql("erp", "SELECT count(*) FROM erp.documents"), documents, "the table is back");
    let wrong = stage.server.psql("erp", "SELECT count(*) FROM erp.customers WHERE name = 'Mallory'");
    assert_eq!(wrong, customers, "the server that was not restored has the mistake");
    assert!(told.contains("\n0\n"), "and the restored one does not: {told}");
    assert!(!stage.path("var/lib/postgresql/restored/postmaster.pid").exists());
}

#[test]
fn every_night() {
    let told = Stage::new().run_behind_set_up(&page("how-to/every-night.md"));
    assert!(told.contains("Europe/Berlin") && told.contains("7 daily, 4 weekly, 12 monthly"), "{told}");
}

#[test]
fn one_table() {
    let stage = Stage::new();
    let documents = stage.server.psql("erp", "SELECT count(*) FROM erp.documents");
    stage.run_behind_set_up(&page("how-to/one-table.md"));
    assert_eq!(stage.server.psql("erp", "SELECT count(*) FROM erp.documents"), documents);
    let customers = "SELECT count(*) FROM erp.customers";
    assert_eq!(stage.server.psql("erp_then", customers), stage.server.psql("erp", customers));
}

#[test]
fn a_second_place() {
    let stage = Stage::new();
    stage.run_behind_set_up(&page("how-to/second-place.md"));
    let customers = "SELECT count(*) FROM erp.customers";
    assert_eq!(stage.server.psql("erp_again", customers), stage.server.psql("erp", customers));
}

#[test]
fn keys() {
    let told = Stage::new().run_behind_set_up(&page("how-to/keys.md"));
    assert!(told.contains("safe") && told.contains("colleague"), "{told}");
}

#[test]
fn from_scripts() {
    let stage = Stage::new();
    let told = stage.run_behind_set_up(&page("migrate/from-scripts.md"));
    assert!(told.contains("20260131T020000Z-"), "the import is as old as the file: {told}");
    let customers = "SELECT count(*) FROM erp.customers";
    assert_eq!(stage.server.psql("erp_old", customers), stage.server.psql("erp", customers));
}

#[test]
fn from_pgbackrest() {
    let stage = Stage::new();
    stage.run_behind_set_up(&page("migrate/from-pgbackrest.md"));
    assert_eq!(stage.server.psql("postgres", "SELECT count(*) FROM pg_replication_slots"), "0");
    assert!(stage.server.psql("postgres", "SHOW archive_command").ends_with("wal push %p"));
}

#[test]
fn from_barman() {
    let told = Stage::without_archive().run_behind_set_up(&page("migrate/from-barman.md"));
    assert!(told.contains("promote") || told.contains("RTO"), "{told}");
}

/// Collects the pages below a folder of the book, by their paths from its root.
fn pages_below(folder: &Path, root: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => pages_below(&path, root, found),
            false => drop(found.insert(path.strip_prefix(root).unwrap().display().to_string())),
        }
    }
}

#[test]
fn no_page_has_commands_that_nobody_runs_and_none_is_left_out_of_the_contents() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let mut pages = BTreeSet::new();
    pages_below(&root, &root, &mut pages);
    let contents = page("SUMMARY.md");
    for name in pages.iter().filter(|name| name.ends_with(".md") && *name != "SUMMARY.md") {
        assert!(contents.contains(&format!("({name})")), "{name} is not in docs/SUMMARY.md");
        let has_commands = !commands_of(&page(name)).is_empty();
        let is_run = RUN.iter().chain(&RUN_ELSEWHERE).any(|run| run == name);
        assert_eq!(has_commands, is_run, "{name}");
    }
    let linked = contents.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for name in linked.filter(|name| !name.starts_with("reference/")) {
        assert!(pages.contains(name), "docs/SUMMARY.md names {name}, which is not there");
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let mut pages = BTreeSet::new();
    pages_below(&root, &root, &mut pages);
    for name in pages.iter().filter(|name| name.ends_with(".md")) {
        let text = page(name);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let file = target.split('#').next().unwrap();
            let path = root.join(name).parent().unwrap().join(file);
            let is_made = path.components().any(|part| part.as_os_str() == "reference");
            assert!(file.is_empty() || is_made || path.exists(), "{name}: {target}");
        }
    }
}
