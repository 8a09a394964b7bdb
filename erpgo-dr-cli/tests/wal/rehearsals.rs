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

/// A runbook with one step, and its path.
fn own(site: &Site, name: &str, head: &str, step: &str) -> String {
    let text =
        format!("name = \"{name}\"\ntitle = \"Own\"\n{head}\n[[steps]]\nid = \"out\"\ntitle = \"Out\"\n{step}\n");
    let path = site.path(&format!("{name}.toml"));
    std::fs::write(&path, text).unwrap();
    give_to_postgres(&path);
    path.display().to_string()
}

#[test]
fn nothing_gets_out_of_a_drill() {
    let (site, server) = cluster(17);
    let records = |site: &Site| site.json(&["drill", "list"])["result"]["drills"].as_array().unwrap().len();
    // Whoever connects to it has got out.
    let outside = TcpListener::bind("127.0.0.1:0").unwrap();
    outside.set_nonblocking(true).unwrap();
    let port = outside.local_addr().unwrap().port();
    let address = format!("http://127.0.0.1:{port}/");
    let production = format!("host={} port={}", server.socket_dir().display(), server.port());
    let victim = site.path("victim");
    let server_variable = "[variables]\nvictim = { type = \"server\" }\nprimary = { type = \"server\" }";
    let refused = |name: &str, head: &str, step: &str, more: &[&str], why: &str| {
        let path = own(&site, name, head, step);
        let done = drill(&site, &server, "database-failure", &[&["--runbook", &path][..], more].concat());
        let error = &done["error"];
        assert_eq!(error["kind"], "refused", "{name}: {done:#}");
        assert!(error["message"].as_str().unwrap().contains(why), "{name}: {done:#}");
    };
    let set = format!("victim={production}");
    refused(
        "another-server",
        server_variable,
        "pg-ready = { on = \"victim\" }",
        &["--set", &set],
        "is no server of the drill",
    );
    let set = format!("primary={production}");
    let primary = "[variables]\nprimary = { type = \"server\" }";
    refused(
        "its-own-variable",
        primary,
        "pg-ready = { on = \"primary\" }",
        &["--set", &set],
        "is no server of the drill",
    );
    refused("web", "", &format!("http-check = {{ url = \"{address}\" }}"), &[], "a web address is none of the drill");
    let head = format!("[variables]\nhealth = {{ type = \"url\", default = \"{address}\" }}");
    refused("web-by-variable", &head, "http-check = { url = \"{{ health }}\" }", &[], "variable health");
    let hook = format!("notify = {{ message = \"x\", webhook = \"{address}\" }}");
    refused("notice", "", &hook, &[], "a web address is none of the drill");
    let dns = format!(
        "dns = {{ server = \"127.0.0.1:{port}\", zone = \"example.com\", name = \"www.example.com\", type = \"A\", values = [\"192.0.2.1\"], ttl = 60, \
         key-name = \"k\", key = \"key\", algorithm = \"hmac-sha256\", resolvers = [\"127.0.0.1:{port}\"] }}"
    );
    refused("dns", "[variables]\nkey = { type = \"secret\", optional = true }", &dns, &[], "a drill does no dns");
    let tcp = format!("tcp-ready = {{ host = \"127.0.0.1\", port = \"{port}\" }}");
    refused("tcp", "", &tcp, &[], "a drill does no tcp-ready");
    let file = format!("write-file = {{ path = \"{}\", text = \"x\" }}", victim.display());
    refused("file", "", &file, &["--with-programs"], "does not lie in the drill's folder");
    let folder = format!("restore-cluster = {{ folder = \"{}\" }}", victim.display());
    refused("cluster", "", &folder, &[], "a drill does no restore-cluster");
    let touch = format!("command = {{ run = [\"touch\", \"{}\"] }}", victim.display());
    refused("program", "", &touch, &[], "a drill runs no program but those");
    let service = format!(
        "service = {{ name = \"x\", do = \"stop\" }}\n[services.x]\nstop = [\"touch\", \"{}\"]\nstart = [\"true\"]",
        victim.display()
    );
    refused("service", "", &service, &[], "a drill runs no program but those");
    assert_eq!(records(&site), 0, "what was refused was no drill");

    // What is only known when it is done is looked at then, and programs and servers have no network.
    let connect = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    let fails = |name: &str, head: &str, step: &str, why: &str| {
        let path = own(&site, name, head, step);
        let done = drill(&site, &server, "database-failure", &["--runbook", &path, "--with-programs"]);
        assert_eq!((&done["ok"], &done["result"]["own_runbook"]), (&false.into(), &true.into()), "{name}: {done:#}");
        let findings = done["result"]["findings"].to_string();
        assert!(findings.contains("the runbook stopped at out") && findings.contains(why), "{name}: {done:#}");
    };
    fails(
        "program-that-connects",
        "",
        &format!("command = {{ run = [\"bash\", \"-c\", \"{connect}\"] }}"),
        "unreachable",
    );
    let late = format!(
        "[variables]\nwhere = {{ type = \"text\" }}\n[[steps]]\nid = \"find\"\ntitle = \"Find\"\nstore = \"where\"\n\
         command = {{ run = [\"echo\", \"{address}\"] }}"
    );
    fails("web-that-is-found", &late, "http-check = { url = \"{{ where }}\" }", "a web address is none of the drill");
    let standby = "[variables]\nstandby = { type = \"server\" }";
    let promote = format!(
        "sql = {{ on = \"standby\", query = \"\"\"SELECT pg_promote(); COPY (SELECT 1) TO PROGRAM 'bash -c \"{connect}\"'\"\"\" }}"
    );
    fails("server-that-connects", standby, &promote, "COPY");
    assert!(outside.accept().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "something got out");
    assert!(!victim.exists());
    assert_eq!(server.psql("postgres", "SELECT to_regclass('erpgo_dr_drill') IS NULL"), "t");
    assert_eq!(records(&site), 3, "that a runbook does not reach its end is written down");
}

#[test]
fn a_runbook_of_the_configured_folder_is_the_one_that_is_rehearsed() {
    let (site, server) = cluster(17);
    let shown = site.erpgo(&["runbook", "show", "application-failure"]).1;
    // A copy whose restart is never reached: what brings the application back is the earlier release.
    let text = shown.replace(
        "service = { name = \"application\", do = \"restart\" }",
        "service = { name = \"application\", do = \"stop\" }",
    );
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
