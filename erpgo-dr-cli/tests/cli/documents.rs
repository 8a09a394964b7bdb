//! What programs read: every JSON document has the keys of the reference, and completions and man pages come out.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::Desk;

/// The keys that docs/cli.md names for a command, as paths: `missed[].key`. A path that ends in `.*` stands for all below.
fn documented(command: &str) -> BTreeSet<String> {
    let reference = include_str!("../../../docs/cli.md");
    let prefix = format!("| `{command}` | ");
    let (_, section) = reference.split_once("## JSON output").unwrap();
    let row = section.lines().find_map(|line| line.strip_prefix(&prefix));
    let row = row.unwrap_or_else(|| panic!("docs/cli.md has no row for `{command}`"));
    row.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn paths(value: &Value, prefix: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                found.insert(path.clone());
                paths(value, &path, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| paths(item, &format!("{prefix}[]"), found)),
        _ => {}
    }
}

pub(crate) fn check(command: &str, document: &Value) {
    assert_eq!((&document["schema"], &document["command"]), (&Value::from(1), &Value::from(command)), "{document}");
    let part = if document.get("error").is_some() { "error" } else { "result" };
    let row = if part == "error" { "error" } else { command };
    let (documented, mut found) = (documented(row), BTreeSet::new());
    paths(&document[part], "", &mut found);
    let covered = |path: &String| {
        let below = |known: &String| {
            known.strip_suffix(".*").is_some_and(|top| path.starts_with(&format!("{top}.")) || path == top)
        };
        documented.contains(path) || documented.iter().any(below)
    };
    let unknown: Vec<_> = found.iter().filter(|path| !covered(path)).collect();
    assert!(unknown.is_empty(), "docs/cli.md does not name {unknown:?} of `{command}`");
    let top = documented.iter().filter(|path| !path.contains(['.', '[']));
    let missing: Vec<_> = top.filter(|path| !found.contains(*path)).collect();
    assert!(missing.is_empty(), "`{command}` does not have {missing:?}");
}

#[test]
fn every_document_is_as_the_reference_says() {
    let (mut desk, server) = Desk::with_server(17);
    let place = desk.path("second").display().to_string();
    check("init", &desk.json(&["-r", &place, "init", "--recipient", &desk.recipient]));
    check("backup", &desk.json(&["backup", "--database", "erp"]));
    let taken = desk.json(&["backup", "--no-verify", "--label", "x"]);
    check("backup", &taken);
    check("hold add", &desk.json(&["hold", "add", "latest", "--reason", "audit"]));
    check("list", &desk.json(&["list"]));
    check("show", &desk.json(&["show"]));
    check("verify", &desk.json(&["verify", "--all"]));
    check("verify", &desk.json(&["verify", "--restore"]));
    check("status", &desk.json(&["status", "--max-age", "1h"]));
    check("restore", &desk.json(&["restore", "--database", "erp", "--target-database", "again"]));
    check(
        "restore --dry-run",
        &with_command(
            desk.json(&["restore", "--target-database", "third", "--database", "erp", "--dry-run"]),
            "restore --dry-run",
        ),
    );
    check("hold remove", &desk.json(&["hold", "remove", "latest"]));
    check("key list", &desk.json(&["key", "list"]));
    desk.configure("[[figure]]\nname = 'orders'\ndatabase = 'erp'\nquery = 'SELECT count(*) FROM erp.orders'\n");
    desk.ok(&["backup", "--database", "erp"]);
    check("check figures", &desk.json(&["check", "figures"]));
    check("history --summary", &with_command(desk.json(&["history", "--summary"]), "history --summary"));
    check("config check", &desk.json(&["config", "check"]));
    check("config schema", &desk.json(&["config", "schema"]));
    check("runbook contacts", &desk.json(&["runbook", "contacts"]));
    check("key generate", &desk.json(&["key", "generate", "other.txt"]));
    let added = desk.json(&["key", "add", "other", "--recipient", &desk.recipient]);
    check("key add", &added);
    check("key rotate", &desk.json(&["key", "rotate", "other", "--recipient", &desk.recipient]));
    check("key remove", &desk.json(&["key", "remove", "other"]));
    check("key new-epoch", &desk.json(&["key", "new-epoch", "--recipient", &desk.recipient]));
    desk.set("ERPGO_DR_LEGACY_PASSPHRASE", "old key");
    let dump = server.client("pg_dump").args(["-Fc", "erp"]).output().unwrap().stdout;
    std::fs::write(desk.path("full_backup_20240101_000000.sql"), dump).unwrap();
    check(
        "encrypt",
        &desk.json(&["encrypt", "full_backup_20240101_000000.sql", "-o", "full_backup_20240102_000000.sql.enc"]),
    );
    check("decrypt", &desk.json(&["decrypt", "full_backup_20240102_000000.sql.enc", "-o", "plain"]));
    check("import", &desk.json(&["import", "full_backup_20240102_000000.sql.enc"]));
    check("prune", &desk.json(&["prune"]));
    check("repair", &desk.json(&["repair", "--replica", &desk.path("copy").display().to_string()]));
    let name = server.psql("postgres", "SELECT pg_walfile_name(pg_switch_wal())");
    let path = server.data_dir().join("pg_wal").join(&name).display().to_string();
    check("wal push", &desk.json(&["wal", "push", &path]));
    check("wal fetch", &desk.json(&["wal", "fetch", &name, "segment"]));
    let stream = ["wal", "stream", "--slot", "erpgo"];
    let until = ["--create-slot", "--folder", "incoming", "--until", "0/1"];
    check("wal stream", &desk.json(&[&stream[..], &until].concat()));
    let dropped = desk.json(&[&stream[..], &["--drop-slot"]].concat());
    check("wal stream --drop-slot", &with_command(dropped, "wal stream --drop-slot"));
    check("wal list", &desk.json(&["wal", "list"]));
    let run = desk.run(&["wal", "check", "--json"]);
    assert_eq!(run.code, 1, "this server does not archive: {}", run.stdout);
    check("wal check", &serde_json::from_str(&run.stdout).unwrap());
    check("cluster backup", &desk.json(&["cluster", "backup"]));
    let target = ["cluster", "restore", "--data-dir", "restored", "--target-lsn", "FF/0"];
    let planned = desk.json(&[&target[..], &["--dry-run"]].concat());
    check("cluster restore --dry-run", &with_command(planned, "cluster restore --dry-run"));
    check("cluster restore", &desk.json(&target));
    let run = desk.run(&["check", "integrity", "--database", "erp", "--check", "never:erp:SELECT false", "--json"]);
    assert_eq!(run.code, 1, "the check does not pass: {}", run.stdout);
    check("check integrity", &serde_json::from_str(&run.stdout).unwrap());
    let since = ["bisect", "--database", "erp", "--check", "SELECT true", "--no-archive"];
    let planned = desk.json(&[&since[..], &["--dry-run"]].concat());
    check("bisect --dry-run", &with_command(planned, "bisect --dry-run"));
    check("bisect", &desk.json(&since));
    check("metrics", &desk.json(&["metrics"]));
    check("report", &desk.json(&["report"]));
    check("agent --dry-run", &with_command(desk.json(&["agent", "--dry-run"]), "agent --dry-run"));
    desk.configure("[[agent.job]]\nkind = \"backup\"\n");
    check("agent", &desk.json(&["agent", "--once"]));
    check("history", &desk.json(&["history"]));
    desk.configure("");
    let run = desk.run(&["doctor", "--json"]);
    check("doctor", &serde_json::from_str(&run.stdout).unwrap());
    let quick = ["bench", "--seconds", "0.01", "--bytes", "1k", "--algorithm", "zstd", "--json"];
    check("bench", &serde_json::from_str(&desk.ok(&quick)).unwrap());
    check("completions", &desk.json(&["completions", "fish"]));
    check("man", &desk.json(&["man", "pages"]));
    let run = desk.run(&["show", "20200101T000000Z-00000000", "--json"]);
    check("show", &serde_json::from_str(&run.stdout).unwrap());
    let run = desk.run(&["thaw", "latest", "--json"]);
    assert_eq!(run.code, 3, "a folder has nothing to thaw: {}", run.stdout);
}

/// With some options a document has other keys, and says the same command.
pub(crate) fn with_command(mut document: Value, name: &str) -> Value {
    assert_eq!(document["command"], name.split_once(" --").unwrap().0);
    document["command"] = name.into();
    document
}

#[test]
fn completions_and_man_pages_come_out() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = desk.ok(&["completions", shell]);
        assert!(script.contains("verify") && script.contains("keep-daily"), "{shell}");
    }
    desk.ok(&["man", "pages"]);
    let page = std::fs::read_to_string(desk.path("pages/erpgo-dr.1")).unwrap();
    assert!(page.contains("130") && page.contains("integrity"), "the exit codes are in the page");
    let page = std::fs::read_to_string(desk.path("pages/erpgo-dr-key-add.1")).unwrap();
    assert!(page.contains("new") && page.contains("passphrase"), "{page}");
    let help = desk.ok(&["--help"]);
    assert!(help.contains("Exit codes:") && help.contains("ERPGO_DR_REPOSITORY"), "{help}");
}

#[test]
fn nothing_is_colored_unless_asked_for() {
    let desk = Desk::new();
    assert!(!desk.run(&["list"]).stderr.contains('\u{1b}'));
    assert!(desk.run(&["list", "--color", "always"]).stderr.contains('\u{1b}'));
    let document = desk.run(&["list", "--color", "always", "--json"]);
    assert!(!document.stdout.contains('\u{1b}') && document.stderr.is_empty(), "{}", document.stderr);
}

#[test]
fn the_documents_of_runbooks_are_as_the_reference_says() {
    let desk = Desk::new();
    desk.ok(&["init", "--recipient", &desk.recipient]);
    check("runbook list", &desk.json(&["runbook", "list"]));
    check("runbook show", &desk.json(&["runbook", "show", "backup-restore"]));
    check("runbook check", &desk.json(&["runbook", "check", "database-failure"]));
    check("runbook plan", &desk.json(&["runbook", "plan", "region-failover"]));
    let steps = "[[steps]]\nid = 'one'\ntitle = 'One'\ncommand = { run = ['touch', '{{ file }}'] }\n\
                 undo = { command = { run = ['rm', '{{ file }}'] } }\n\
                 [[steps]]\nid = 'two'\ntitle = 'Two'\ncommand = { run = ['test', '-e', '{{ file }}.go'] }\n\
                 undo = { command = { run = ['true'] } }\n";
    let text = format!("name = 'mine'\ntitle = 'Mine'\n[variables]\nfile = {{ type = 'path' }}\n{steps}");
    std::fs::write(desk.path("mine.toml"), text).unwrap();
    let file = format!("file={}", desk.path("made").display());
    let run = desk.run(&["runbook", "run", "mine.toml", "--set", &file, "--json"]);
    assert_eq!(run.code, 1, "the second step fails: {}{}", run.stdout, run.stderr);
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&document["result"]["ending"], &document["result"]["step"]), (&"stopped".into(), &"two".into()));
    check("runbook run", &document);
    std::fs::write(desk.path("made.go"), "").unwrap();
    check("runbook resume", &desk.json(&["runbook", "resume"]));
    check("runbook undo", &desk.json(&["runbook", "undo", "latest"]));
    assert!(!desk.path("made").exists());
    check("runbook report", &desk.json(&["runbook", "report"]));
    check("runbook runs", &desk.json(&["runbook", "runs"]));
    check("runbook log", &desk.json(&["runbook", "log"]));
}

#[test]
fn the_documents_of_drills_are_as_the_reference_says() {
    let (desk, _server) = Desk::with_server(17);
    desk.ok(&["backup"]);
    // A forecast is made of what a restore took.
    desk.ok(&["verify", "--restore"]);
    let planned = desk.json(&["drill", "run", "application-failure", "--dry-run"]);
    check("drill run --dry-run", &with_command(planned, "drill run --dry-run"));
    check("drill run", &desk.json(&["drill", "run", "application-failure"]));
    check("drill record", &desk.json(&["drill", "record", "region-failover", "--rto", "1h", "--note", "x"]));
    check("drill list", &desk.json(&["drill", "list"]));
    check("drill calendar", &desk.json(&["drill", "calendar"]));
    check("drill forecast", &desk.json(&["drill", "forecast"]));
}

#[test]
fn the_documents_of_evidence_are_as_the_reference_says() {
    let (desk, _server) = Desk::with_server(17);
    desk.ok(&["backup", "--no-verify"]);
    let collected = desk.run(&["evidence", "collect", "--label", "x", "--backup", "latest", "--json"]);
    let document: Value = serde_json::from_str(&collected.stdout).unwrap();
    check("evidence collect", &document);
    check("evidence list", &desk.json(&["evidence", "list"]));
    check("evidence show", &desk.json(&["evidence", "show"]));
    check("evidence verify", &desk.json(&["evidence", "verify"]));
    check("evidence export", &desk.json(&["evidence", "export", "latest", "out"]));
    check("evidence verify", &desk.json(&["evidence", "verify", "--folder", "out"]));
    check("evidence note", &desk.json(&["evidence", "note", "latest", "a copy was made"]));
}

#[test]
fn the_document_of_a_watch_is_as_the_reference_says() {
    let desk = Desk::new();
    desk.ok(&["init", "--recipient", &desk.recipient]);
    let server = erpgo_dr_testkit::postgres::PgServer::start(17);
    let text = "name = 'mine'\ntitle = 'Mine'\n[variables]\nprimary = { type = 'server' }\n[[steps]]\nid = 'one'\ntitle = 'One'\n\
                primary-down = { primary = 'primary', standbys = ['primary'] }\n";
    std::fs::write(desk.path("mine.toml"), text).unwrap();
    let set = format!("primary={}", server.url("postgres"));
    let mut command = desk.command(&["runbook", "watch", "mine.toml", "--set", &set, "--every", "50ms", "--json"]);
    let log = std::fs::File::create(desk.path("log")).unwrap();
    let child = command.stdout(std::process::Stdio::piped()).stderr(log).spawn().unwrap();
    while !std::fs::read_to_string(desk.path("log")).unwrap().contains("the primary takes writes") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "told to end, and ended");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&document["result"]["ending"], &document["result"]["runs"]), (&"told".into(), &0.into()));
    check("runbook watch", &document);
}

#[test]
fn the_document_of_a_topology_is_as_the_reference_says() {
    let desk = Desk::new();
    let primary = erpgo_dr_testkit::postgres::PgServer::start(18);
    let standby = erpgo_dr_testkit::postgres::standby_of(&primary);
    let (one, two) = (format!("one={}", primary.url("postgres")), format!("two={}", standby.url("postgres")));
    let found = desk.run(&["topology", "--server", &one, "--server", &two, "--json"]);
    let document: Value = serde_json::from_str(&found.stdout).unwrap();
    check("topology", &document);
    assert_eq!(document["result"]["candidate"]["name"], "two");
    let away = desk.run(&["topology", "--server", "gone=postgresql://postgres@127.0.0.1:1/postgres"]);
    assert_eq!(away.code, 1, "{}", away.stderr);
    assert!(away.stdout.contains("! no server takes writes"), "{}", away.stdout);
}
