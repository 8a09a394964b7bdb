//! The log is received as it is written: what was committed is there when the database's host is not any more.

use erpgo_dr_testkit::fault_proxy::{Fault, FaultProxy};
use erpgo_dr_testkit::postgres::{MAJORS, PgServer, PgServerOptions};

use crate::streaming::{Stream, back_up, make_synchronous, restore, stream_once, wait_until_streaming};
use crate::support::{Site, content, wait_for, write};

#[test]
fn the_last_commit_before_the_host_was_lost_is_there_on_every_version() {
    for major in MAJORS {
        let site = Site::new();
        let mut server = PgServer::start(major);
        back_up(&site, &server);
        let stream = Stream::start(&site, &server, &[]);
        wait_until_streaming(&server);
        make_synchronous(&server);
        write(&server, "many");
        server.psql("postgres", "CREATE TABLE last AS SELECT 1 AS n");
        server.psql("postgres", "INSERT INTO last VALUES (2)");
        let many = content(&server, "many");
        let check = site.json(&["-d", &server.url("postgres"), "wal", "check"]);
        assert_eq!(check["result"]["server"]["streams"], 1, "{check}");
        let found = check["result"]["findings"].to_string();
        assert!(!found.contains("archive_mode"), "the server itself archives nothing, and need not: {check}");
        server.kill();
        let report = stream.stop();
        assert_eq!(report["ok"], true, "{report}");
        assert!(report["result"]["segments"].as_u64().unwrap() >= 1, "{report}");
        assert_eq!(report["result"]["archived"], report["result"]["durable"], "{report}");

        let listed = site.json(&["wal", "list"]);
        let timeline = &listed["result"]["clusters"][0]["timelines"][0];
        assert_eq!(timeline["tail_end"], report["result"]["archived"], "{listed}");
        assert_eq!(timeline["gaps"], serde_json::json!([]), "{listed}");
        let recovered = restore(&site, major);
        assert_eq!(content(&recovered, "many"), many, "version {major}");
        assert_eq!(recovered.psql("postgres", "SELECT sum(n) FROM last"), "3", "version {major}");
        // A commit there waits for nobody.
        recovered.psql("postgres", "INSERT INTO last VALUES (4)");
    }
}

#[test]
fn what_a_killed_stream_left_in_its_folder_is_archived_when_the_server_is_gone_too() {
    let site = Site::new();
    let mut server = PgServer::start(17);
    back_up(&site, &server);
    // So rarely that only the folder has it.
    let mut stream = Stream::start(&site, &server, &["--upload-every", "3600"]);
    wait_until_streaming(&server);
    make_synchronous(&server);
    server.psql("postgres", "CREATE TABLE last AS SELECT 7 AS n");
    stream.kill();
    server.kill();

    let again = Stream::start(&site, &server, &["--upload-every", "3600"]);
    wait_for("the server is missed", &server, || again.told().contains("the server is not heard"));
    let report = again.stop();
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(restore(&site, 17).psql("postgres", "SELECT n FROM last"), "7");
}

#[test]
fn a_stream_that_is_stopped_before_the_server_answers_archives_what_is_in_its_folder() {
    let site = Site::new();
    let mut server = PgServer::start(17);
    back_up(&site, &server);
    let mut stream = Stream::start(&site, &server, &["--upload-every", "3600"]);
    wait_until_streaming(&server);
    make_synchronous(&server);
    server.psql("postgres", "CREATE TABLE last AS SELECT 8 AS n");
    stream.kill();
    // The host is gone, and nobody says so: packets vanish.
    let proxy = FaultProxy::start(server.port());
    proxy.set(Fault::Blackhole);
    server.kill();
    let url = format!("postgresql://postgres@127.0.0.1:{}/postgres", proxy.port());
    let again = Stream::start_at(&site, &url, &["--upload-every", "3600"]);
    wait_for("the first try", &server, || proxy.connections() > 0);
    let report = again.stop();
    assert_eq!((&report["ok"], report["result"]["connections"].as_u64()), (&true.into(), Some(0)), "{report}");
    assert_eq!(restore(&site, 17).psql("postgres", "SELECT n FROM last"), "8");
}

#[test]
fn a_stream_goes_on_into_the_timeline_of_the_server_that_took_over() {
    let site = Site::new();
    let mut server = PgServer::start(17);
    back_up(&site, &server);
    let stream = Stream::start(&site, &server, &[]);
    wait_until_streaming(&server);
    server.psql("postgres", "CREATE TABLE first AS SELECT 1 AS n");
    make_synchronous(&server);
    server.psql("postgres", "INSERT INTO first VALUES (2)");
    let committed = server.psql("postgres", "SELECT floor(extract(epoch FROM now()))").parse::<i64>().unwrap();
    server.kill();
    assert_eq!(stream.stop()["ok"], true);
    // The last commit is known from the pieces of a segment that never became whole.
    let check = site.json(&["wal", "check"]);
    let newest = check["result"]["newest_commit"].as_str().unwrap_or_else(|| panic!("{check}"));
    let newest = chrono::DateTime::parse_from_rfc3339(newest).unwrap().timestamp();
    assert!((committed - 2..=committed).contains(&newest), "{newest} is not {committed}");
    let successor = restore(&site, 17);
    assert_eq!(successor.psql("postgres", "SELECT count(*) FROM first"), "2");

    let stream = Stream::start(&site, &successor, &[]);
    wait_until_streaming(&successor);
    make_synchronous(&successor);
    write(&successor, "second");
    assert_eq!(stream.stop()["ok"], true);
    let check = site.json(&["wal", "check", "--verify"]);
    assert_eq!(check["ok"], true, "{check}");
    let timelines = check["result"]["clusters"][0]["timelines"].as_array().unwrap();
    assert_eq!((timelines.len(), &timelines[1]["parent"]), (2, &1.into()), "{check}");
    assert!(site.path("incoming").read_dir().unwrap().count() <= 2, "one cluster and a lock");

    // The server that was left behind is not followed any more.
    server.restart();
    let refused = site.json(&stream_once(&site, &server));
    assert_eq!(refused["error"]["kind"], "refused", "{refused}");
    assert!(refused["error"]["message"].as_str().unwrap().contains("timeline 1"), "{refused}");
    drop(successor);
}

#[test]
fn a_commit_waits_while_the_repository_is_away_and_returns_when_it_is_back() {
    let site = Site::new();
    let server = PgServer::start(17);
    let stream = Stream::start(&site, &server, &["--durable", "repository"]);
    wait_until_streaming(&server);
    make_synchronous(&server);
    server.psql("postgres", "CREATE TABLE t (n int)");
    let (here, away) = (site.path("repository/wal-tails"), site.path("away"));
    std::fs::rename(&here, &away).unwrap();
    std::fs::write(&here, "in the way").unwrap();
    std::thread::scope(|scope| {
        let commit = scope.spawn(|| server.psql("postgres", "INSERT INTO t VALUES (1)"));
        wait_for("the repository is missed", &server, || stream.told().contains("not archived"));
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        wait_for("the commit waits", &server, || server.psql("postgres", waiting) == "1");
        assert!(!commit.is_finished());
        std::fs::remove_file(&here).unwrap();
        std::fs::rename(&away, &here).unwrap();
        commit.join().unwrap();
    });
    let report = stream.stop();
    assert_eq!(report["ok"], true, "{report}");
    assert_eq!(report["result"]["connections"], 1, "the server was heard all the while: {report}");
}

#[test]
fn a_login_with_tls_and_a_password_is_bound_to_the_servers_certificate() {
    let site = Site::new();
    let server = PgServerOptions::new(17).tls().password("open sesame").start();
    let connection = format!("{} sslrootcert={} sslmode=verify-full", conninfo(&server), server.ca_file().display());
    let folder = site.path("incoming").display().to_string();
    let config = site.path("erpgo-dr.toml").display().to_string();
    let stream = |password: &str| {
        let mut command =
            site.command(&["--config", &config, "-d", &connection, "--json", "wal", "stream", "--folder", &folder]);
        let output = command.args(["--until", "0/1"]).env("ERPGO_DR_PGPASSWORD", password).output().unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let report = stream("open sesame");
    assert_eq!(report["ok"], true, "{report}");
    // The server says so itself: a login that is not bound gets no further than this.
    let refused = stream("close sesame");
    assert_eq!(refused["error"]["kind"], "permission", "{refused}");
    assert!(!refused.to_string().contains("close sesame"), "{refused}");
}

fn conninfo(server: &PgServer) -> String {
    format!("host=localhost port={} user=postgres dbname=postgres", server.port())
}

#[test]
fn what_no_waiting_mends_is_told_at_once() {
    let site = Site::new();
    let server = PgServer::start(17);
    let kind = |arguments: &[&str]| site.json(arguments)["error"]["kind"].as_str().unwrap_or("none").to_owned();
    let once = stream_once(&site, &server);
    assert_eq!(kind(&[&once[..], &["--slot", "missing"]].concat()), "not-found");

    let stream = Stream::start(&site, &server, &[]);
    wait_until_streaming(&server);
    assert_eq!(kind(&once), "busy", "one process at a time works in a folder");
    server.psql("postgres", "CREATE TABLE t (n int)");
    assert_eq!(stream.stop()["ok"], true);

    // Without the slot the server removes what it does not need itself.
    let url = server.url("postgres");
    let dropped = site.json(&["-d", &url, "wal", "stream", "--slot", "erpgo", "--drop-slot"]);
    assert_eq!(dropped["result"]["slot_dropped"], "erpgo", "{dropped}");
    for _ in 0..4 {
        server.psql("postgres", "CREATE TABLE gone (n int); DROP TABLE gone");
        server.psql("postgres", "SELECT pg_switch_wal()");
        server.psql("postgres", "CHECKPOINT");
    }
    let removed = site.json(&once);
    assert_eq!(removed["error"]["kind"], "not-found", "{removed}");
    assert!(removed["error"]["hint"].as_str().unwrap().contains("base backup"), "{removed}");

    let other = PgServer::start(17);
    assert_eq!(kind(&stream_once(&site, &other)), "refused", "another cluster has its own folder");
}
