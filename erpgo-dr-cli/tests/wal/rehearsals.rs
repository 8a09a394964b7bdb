//! Disasters rehearsed on servers of their own by the runbooks that come along, and runbooks that try to get out.

use std::net::TcpListener;

use erpgo_dr_testkit::postgres::{PgServer, give_to_postgres};
use serde_json::Value;

use crate::support::{Site, wait_until_archived, write};

/// A repository with a backup of a cluster and log behind it, and its server.
fn cluster(major: u32) -> (Site, PgServer) {
    let site = Site::new();
    let server = site.archiving_server(major, "");
    server.psql("postgres", "CREATE TABLE bulk AS SELECT i FROM generate_series(1, 10000) AS i");
    let backup = site.json(&["-d", &server.url("postgres"), "cluster", "backup"]);
    assert_eq!(backup["ok"], true, "{backup}");
    write(&server, "behind");
    wait_until_archived(&server);
    (site, server)
}

/// Does a drill, with a folder of its own for its servers.
fn drill(site: &Site, server: &PgServer, scenario: &str, more: &[&str]) -> Value {
    let scratch = tempfile::Builder::new().prefix("edr-").tempdir_in("/tmp").unwrap();
    give_to_postgres(scratch.path());
    let (bin, folder) = (server.bin().display().to_string(), scratch.path().display().to_string());
    let common = ["--scratch", &folder, "--bin-dir", &bin, "--operator", "ann"];
    let done = site.json(&[&["drill", "run", scenario][..], &common, more].concat());
    let left: Vec<_> = std::fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?} stays behind: {done}");
    done
}

fn outcome<'v>(drill: &'v Value, step: &str) -> &'v str {
    let steps = drill["result"]["steps"].as_array().unwrap_or_else(|| panic!("{drill}"));
    let found = steps.iter().find(|found| found["id"] == step).unwrap_or_else(|| panic!("no step {step}: {drill}"));
    found["outcome"].as_str().unwrap()
}

fn passed(drill: &Value) {
    assert_eq!((&drill["ok"], &drill["result"]["findings"]), (&true.into(), &Value::Array(Vec::new())), "{drill:#}");
    assert_eq!((&drill["result"]["passed"], &drill["result"]["own_runbook"]), (&true.into(), &false.into()));
    assert_eq!(drill["result"]["by"], "ann");
}

#[test]
fn a_primary_that_is_lost_is_replaced_without_loss() {
    for major in [17, 18] {
        let (site, server) = cluster(major);
        let before = site.json(&["list"])["result"]["backups"].clone();
        let planned = drill(&site, &server, "database-failure", &["--dry-run"]);
        assert_eq!(planned["result"]["servers"], serde_json::json!(["primary", "standby"]), "{planned}");
        assert_eq!(planned["result"]["backup"], before[0]["id"], "{planned}");
        let failure = drill(&site, &server, "database-failure", &[]);
        passed(&failure);
        let result = &failure["result"];
        assert_eq!((&result["rto_met"], &result["rpo_met"]), (&true.into(), &true.into()), "{failure:#}");
        assert_eq!((result["rpo_seconds"].as_f64(), &result["backups"][0]), (Some(0.0), &before[0]["id"]));
        for (step, expected) in [
            ("primary-answers", "failed"),
            ("gone", "succeeded"),
            ("restart", "failed"),
            ("switch-off", "succeeded"),
            ("promote", "succeeded"),
            ("point-application", "succeeded"),
            ("application-is-well", "succeeded"),
            ("data-on-standby", "succeeded"),
            ("tell", "succeeded"),
        ] {
            assert_eq!(outcome(&failure, step), expected, "{major} {step}: {failure:#}");
        }
        // Of the drill the repository has the record, and nothing else.
        let runs = site.json(&["runbook", "runs"]);
        assert_eq!(runs["result"]["runs"], Value::Array(Vec::new()), "{runs}");
        assert_eq!(site.json(&["list"])["result"]["backups"], before);
        let listed = site.json(&["drill", "list"])["result"]["drills"].clone();
        assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
        assert_eq!(listed[0]["steps"], result["steps"], "{listed}");
        assert_eq!(server.psql("postgres", "SELECT count(*) FROM bulk"), "10000", "the server goes on");
        assert_eq!(server.psql("postgres", "SELECT to_regclass('erpgo_dr_drill') IS NULL"), "t");
    }
}

#[test]
fn a_region_an_application_and_a_breach_are_rehearsed_from_a_cluster() {
    let (site, server) = cluster(17);
    let region = drill(&site, &server, "region-failover", &[]);
    passed(&region);
    assert_eq!(region["result"]["rpo_seconds"].as_f64(), Some(0.0), "{region:#}");
    for step in ["fence-by-command", "promote", "dns", "dns-seen", "application-is-well", "api"] {
        assert_eq!(outcome(&region, step), "succeeded", "{step}: {region:#}");
    }
    let application = drill(&site, &server, "application-failure", &[]);
    passed(&application);
    assert_eq!((outcome(&application, "restart"), outcome(&application, "roll-back")), ("succeeded", "skipped"));
    let breach = drill(&site, &server, "security-breach", &[]);
    passed(&breach);
    for step in ["first-look", "jwt-secret", "application-password", "forensic-backup", "evidence", "clean-restore"] {
        assert_eq!(outcome(&breach, step), "succeeded", "{step}: {breach:#}");
    }
    assert!(breach["result"]["rpo_seconds"].as_f64().unwrap() > 0.0, "what came after the backup is lost: {breach:#}");
    let states = site.json(&["drill", "calendar"])["result"]["drills"].clone();
    let state =
        |name: &str| states.as_array().unwrap().iter().find(|due| due["scenario"] == name).unwrap()["last"].clone();
    assert_eq!(state("region-failover"), region["result"]["id"], "{states}");
}

#[test]
fn backups_of_databases_are_enough() {
    let site = Site::new();
    let server = PgServer::start(15);
    server.create_database("erp");
    server.psql("erp", "CREATE TABLE orders AS SELECT i FROM generate_series(1, 1000) AS i");
    let bin = server.bin().display().to_string();
    let dump = site.json(&["-d", &server.url("postgres"), "--bin-dir", &bin, "backup"]);
    assert_eq!(dump["ok"], true, "{dump}");
    passed(&drill(&site, &server, "database-failure", &[]));
    passed(&drill(&site, &server, "security-breach", &[]));
}

/// Writes a runbook of one's own, and returns its path.
fn own(site: &Site, name: &str, rest: &str) -> String {
    let path = site.path(&format!("{name}.toml"));
    std::fs::write(&path, format!("name = \"{name}\"\ntitle = \"Own\"\n{rest}\n")).unwrap();
    give_to_postgres(&path);
    path.display().to_string()
}

/// What must never be heard from or written, and where production is.
struct Outside {
    listener: TcpListener,
    victim: std::path::PathBuf,
}

impl Outside {
    fn new(site: &Site) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self { listener, victim: site.path("victim") }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    fn heard_nothing(&self) {
        let nobody = self.listener.accept().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(nobody, "something got out");
        assert!(!self.victim.exists(), "something was written");
    }
}

#[test]
fn a_runbook_that_would_leave_the_drill_is_refused_before_anything_is_broken() {
    let (site, server) = cluster(17);
    let outside = Outside::new(&site);
    let (port, victim) = (outside.port(), outside.victim.display().to_string());
    let production = format!("host={} port={}", server.socket_dir().display(), server.port());
    let steps = [
        ("web", format!("http-check = {{ url = \"http://127.0.0.1:{port}/\" }}"), "a web address is none of the drill"),
        (
            "web-behind-a-name",
            "http-check = { url = \"{{ health }}\" }".to_owned(),
            "a web address is none of the drill",
        ),
        (
            "notice",
            format!("notify = {{ message = \"x\", webhook = \"http://127.0.0.1:{port}/\" }}"),
            "a web address is none of the drill",
        ),
        ("another-server", "pg-ready = { on = \"victim\" }".to_owned(), "is no server of the drill"),
        ("waits", "wait-for = { check = { pg-ready = { on = \"victim\" } } }".to_owned(), "is no server of the drill"),
        (
            "fences",
            format!("fence = {{ on = \"primary\", by = {{ command = {{ run = [\"touch\", \"{victim}\"] }} }} }}"),
            "a drill runs no program but those",
        ),
        (
            "asks-first",
            format!(
                "confirm = {{ question = \"x\" }}\nwhen = [{{ check = {{ tcp-ready = {{ host = \"127.0.0.1\", port = \"{port}\" }} }} }}]"
            ),
            "a drill does no tcp-ready",
        ),
        ("cluster", format!("restore-cluster = {{ folder = \"{victim}\" }}"), "a drill does no restore-cluster"),
        ("file", format!("write-file = {{ path = \"{victim}\", text = \"x\" }}"), "does not lie in the drill's folder"),
        ("program", format!("command = {{ run = [\"touch\", \"{victim}\"] }}"), "a drill runs no program but those"),
        ("service", "service = { name = \"x\", do = \"stop\" }".to_owned(), "a drill runs no program but those"),
    ];
    let mut text = format!(
        "[variables]\nprimary = {{ type = \"server\" }}\nvictim = {{ type = \"server\" }}\n\
         health = {{ type = \"url\", default = \"http://127.0.0.1:{port}/\" }}\n\
         [services.x]\nstop = [\"touch\", \"{victim}\"]\nstart = [\"true\"]\n"
    );
    for (name, step, _) in &steps {
        text.push_str(&format!("[[steps]]\nid = \"{name}\"\ntitle = \"Out\"\n{step}\n"));
    }
    let path = own(&site, "escape", &text);
    let set = format!("victim={production}");
    let done = drill(&site, &server, "database-failure", &["--runbook", &path, "--set", &set]);
    assert_eq!(done["error"]["kind"], "refused", "{done:#}");
    let message = done["error"]["message"].as_str().unwrap();
    for (name, _, why) in &steps {
        let (_, fault) = message.split_once(&format!("step {name}: ")).unwrap_or_else(|| panic!("{name}: {message}"));
        assert!(fault.split(';').next().unwrap().contains(why), "{name}: {message}");
    }
    assert!(message.contains("variable victim: ") && message.contains("variable health: "), "{message}");
    // Nor is a name that the drill knows pointed elsewhere.
    let path = own(
        &site,
        "its-own-variable",
        "[variables]\nprimary = { type = \"server\" }\n[[steps]]\nid = \"out\"\ntitle = \"Out\"\npg-ready = { on = \"primary\" }",
    );
    let set = format!("primary={production}");
    let done = drill(&site, &server, "application-failure", &["--runbook", &path, "--set", &set]);
    assert_eq!(done["error"]["kind"], "refused", "{done:#}");
    outside.heard_nothing();
    assert_eq!(server.psql("postgres", "SELECT to_regclass('erpgo_dr_drill') IS NULL"), "t");
    assert_eq!(site.json(&["drill", "list"])["result"]["drills"], Value::Array(Vec::new()), "nothing was rehearsed");
}

#[test]
fn what_shows_only_when_it_is_done_does_not_get_out_either() {
    let (site, server) = cluster(17);
    let outside = Outside::new(&site);
    let port = outside.port();
    let connect = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    let out = |name: &str, head: &str, step: &str, why: &str| {
        let path = own(&site, name, &format!("{head}\n[[steps]]\nid = \"out\"\ntitle = \"Out\"\n{step}"));
        let done = drill(&site, &server, "application-failure", &["--runbook", &path, "--with-programs"]);
        assert_eq!((&done["ok"], &done["result"]["own_runbook"]), (&false.into(), &true.into()), "{name}: {done:#}");
        let findings = done["result"]["findings"].to_string();
        assert!(findings.contains("the runbook stopped at out") && findings.contains(why), "{name}: {done:#}");
    };
    out("program", "", &format!("command = {{ run = [\"bash\", \"-c\", \"{connect}\"] }}"), "unreachable");
    let found = format!(
        "[variables]\nwhere = {{ type = \"text\" }}\n[[steps]]\nid = \"find\"\ntitle = \"Find\"\nstore = \"where\"\n\
         command = {{ run = [\"echo\", \"http://127.0.0.1:{port}/\"] }}"
    );
    out("web", &found, "http-check = { url = \"{{ where }}\" }", "a web address is none of the drill");
    let database = "[variables]\ndatabase = { type = \"server\" }";
    let copy = format!(
        "sql = {{ on = \"database\", query = \"\"\"COPY (SELECT 1) TO PROGRAM 'bash -c \"{connect}\"'\"\"\" }}"
    );
    out("server", database, &copy, "bash");
    outside.heard_nothing();
    let drills = site.json(&["drill", "list"])["result"]["drills"].clone();
    assert_eq!(drills.as_array().unwrap().len(), 3, "that a runbook does not reach its end is written down: {drills}");
}

#[test]
fn a_runbook_of_the_configured_folder_is_the_one_that_is_rehearsed() {
    let (site, server) = cluster(17);
    let shown = site.json(&["runbook", "show", "application-failure"])["result"]["text"].as_str().unwrap().to_owned();
    // A copy whose restart does not help: what brings the application back is the earlier release.
    let restart = "service = { name = \"application\", do = \"restart\" }";
    let text =
        shown.replace(restart, &restart.replace("restart", "stop")).replace("timeout = \"30s\"", "timeout = \"1s\"");
    assert_ne!(text, shown);
    let folder = site.path("runbooks");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("application-failure.toml"), text).unwrap();
    give_to_postgres(&folder);
    site.configure(&format!("[runbook]\nfolder = \"{}\"", folder.display()));
    let done = drill(&site, &server, "application-failure", &[]);
    assert_eq!((&done["ok"], &done["result"]["own_runbook"]), (&true.into(), &true.into()), "{done:#}");
    assert_eq!((outcome(&done, "well-again"), outcome(&done, "roll-back")), ("failed", "succeeded"), "{done:#}");
}
