//! A primary and its standby change places, and nothing is lost.

use std::io::Write as _;
use std::process::{Child, Stdio};
use std::time::Duration;

use erpgo_dr_core::runbook::{Ending, Runbook, shipped};
use erpgo_dr_testkit::postgres::{PgServer, PgServerOptions, standby_of};

use crate::support::{Site, ends, output_of, runbook};

fn pair(major: u32) -> (PgServer, PgServer) {
    // Nothing waits for the standby: what is lost then would be lost here.
    let primary = PgServerOptions::new(major).setting("wal_log_hints", "on").start();
    let standby = standby_of(&primary);
    primary.psql("postgres", "CREATE TABLE t (n int PRIMARY KEY)");
    while primary.psql("postgres", "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") != "1" {
        std::thread::sleep(Duration::from_millis(50));
    }
    // What it has received it may not have replayed yet.
    while standby.psql("postgres", "SELECT to_regclass('t') IS NOT NULL") != "t" {
        std::thread::sleep(Duration::from_millis(50));
    }
    (primary, standby)
}

fn switchover() -> Runbook {
    let text = shipped().find(|(name, _)| *name == "switchover").unwrap().1;
    Runbook::from_toml(text).unwrap()
}

/// Commits numbers until the server goes away, and prints each once it is committed.
fn writer(primary: &PgServer) -> Child {
    let mut psql = primary.client("psql");
    let statements =
        "SELECT format('INSERT INTO t VALUES (%s) RETURNING n', n) FROM generate_series(1, 1000000) n \\gexec\n";
    psql.args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-f", "-"]);
    psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = psql.spawn().unwrap();
    child.stdin.take().unwrap().write_all(statements.as_bytes()).unwrap();
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switchover_loses_nothing_although_somebody_writes_until_the_end() {
    for major in [15, 17, 18] {
        let (primary, standby) = tokio::task::spawn_blocking(move || pair(major)).await.unwrap();
        let site = Site::new().await;
        let file = site.path("application.env").display().to_string();
        let stop = format!("kill,-INT,{}", primary.id().unwrap());
        let (one, two) = (primary.url("postgres"), standby.url("postgres"));
        let writing = writer(&primary);
        while standby.psql("postgres", "SELECT count(*) > 20 FROM t") != "t" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let given = [
            ("project", "/"),
            ("primary", one.as_str()),
            ("standby", &two),
            ("standby_host", "two"),
            ("application_file", &file),
            ("application_stop", "true"),
            ("application_start", "true"),
            ("primary_stop", &stop),
            ("primary_start", "false"),
        ];
        let standing = site.run(&switchover(), &given).await;
        let journal = site.journal(&standing.run).await;
        assert_eq!(standing.ending, Ending::Completed, "{major}: {journal:#?}");
        assert!(
            output_of(&journal, "nothing-missing").contains("ends with the shutdown checkpoint at"),
            "{journal:#?}"
        );
        let written = writing.wait_with_output().unwrap();
        let written = String::from_utf8(written.stdout).unwrap();
        let last = written.lines().rev().find_map(|line| line.parse::<u64>().ok()).unwrap();
        let there: u64 = standby.psql("postgres", "SELECT max(n) FROM t").parse().unwrap();
        assert!(there >= last, "{major}: {last} was acknowledged, {there} is there");
        assert_eq!(site.read("application.env"), "POSTGRES_PRIMARY_HOST=two\n");
        // The old primary follows without being rewound.
        let mut old = primary;
        old.stop();
        let conninfo = format!("primary_conninfo = 'host=127.0.0.1 port={} user=postgres'\n", standby.port());
        std::fs::write(old.data_dir().join("standby.signal"), "").unwrap();
        let conf = old.data_dir().join("postgresql.auto.conf");
        std::fs::write(&conf, std::fs::read_to_string(&conf).unwrap() + &conninfo).unwrap();
        old.restart();
        standby.psql("postgres", "INSERT INTO t VALUES (-1)");
        while old.psql("postgres", "SELECT count(*) FROM t WHERE n = -1") != "1" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_lacks_the_shutdown_checkpoint_is_not_promoted() {
    let (primary, standby) = tokio::task::spawn_blocking(|| pair(17)).await.unwrap();
    let site = Site::new().await;
    // The last commit before the stop does not reach the standby any more.
    let psql = |server: &PgServer, sql: &str| {
        let (bin, socket) = (server.bin().display().to_string(), server.socket_dir().display().to_string());
        format!("'{bin}/psql' -XqAt -h '{socket}' -p {} -U postgres -d postgres -c \"{sql}\"", server.port())
    };
    let script = [
        psql(&standby, "ALTER SYSTEM SET primary_conninfo = ''"),
        psql(&standby, "SELECT pg_reload_conf()"),
        format!(
            "until test \"$({})\" = 0; do sleep 0.05; done",
            psql(&standby, "SELECT count(*) FROM pg_stat_wal_receiver")
        ),
        psql(&primary, "INSERT INTO t VALUES (1)"),
        format!("kill -INT {}", primary.id().unwrap()),
    ]
    .join("\n");
    std::fs::write(site.path("stop.sh"), script).unwrap();
    let quick = switchover().text().replace(
        "timeout = \"60s\"\nwait-for = { check = { caught-up",
        "timeout = \"3s\"\nwait-for = { check = { caught-up",
    );
    let quick = Runbook::from_toml(&quick).unwrap();
    let stop = format!("sh,{}", site.path("stop.sh").display());
    let start = format!("touch,{}", site.path("started").display());
    let (one, two) = (primary.url("postgres"), standby.url("postgres"));
    let given = [
        ("project", "/"),
        ("primary", one.as_str()),
        ("standby", &two),
        ("primary_stop", &stop),
        ("primary_start", &start),
    ];
    let standing = site.run(&quick, &given).await;
    let journal = site.journal(&standing.run).await;
    assert_eq!((standing.ending, standing.step.unwrap().as_str()), (Ending::Stopped, "standby-writes"), "{journal:#?}");
    assert!(ends(&journal).contains(&"nothing-missing failed".to_owned()), "{journal:#?}");
    assert!(site.path("started").exists(), "the old primary is started again");
    assert_eq!(standby.psql("postgres", "SELECT pg_is_in_recovery()"), "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_primary_that_was_stopped_in_order_has_sent_everything() {
    for major in [15, 17, 18] {
        let (mut primary, standby) = tokio::task::spawn_blocking(move || pair(major)).await.unwrap();
        let site = Site::new().await;
        let (one, two) = (primary.url("postgres"), standby.url("postgres"));
        let given = [("primary", one.as_str()), ("standby", two.as_str())];
        let step = |check: &str| {
            runbook(&format!(
                "[variables]\nprimary = {{ type = 'server' }}\nstandby = {{ type = 'server' }}\n[[steps]]\nid = 'a'\ntitle = 'A'\n{check}"
            ))
        };
        let waits =
            |check: &str| step(&format!("timeout = '30s'\nwait-for = {{ every = '100ms', check = {{ {check} }} }}"));
        let (running, stopped) =
            ("caught-up = { on = 'standby', primary = 'primary' }", "caught-up = { on = 'standby', shutdown = true }");
        primary.psql("postgres", "INSERT INTO t VALUES (1)");
        site.completes(&waits(running), &given).await;
        let found = site.fails(&step(stopped), &given).await;
        assert!(found.contains("to end with the checkpoint of a primary"), "{major}: {found}");
        let found = site.fails(&step("caught-up = { on = 'standby', position = 'F/0' }"), &given).await;
        assert!(found.contains("bytes are missing"), "{found}");
        let found = site.fails(&step("caught-up = { on = 'standby' }"), &given).await;
        assert!(found.contains("what is the standby to have"), "{found}");
        let found = site.fails(&step("caught-up = { on = 'primary', shutdown = true }"), &given).await;
        assert!(found.contains("to be a standby, found a primary"), "{found}");
        primary.stop();
        site.completes(&waits(stopped), &given).await;
        // It was started again, and wrote.
        primary.restart();
        primary.psql("postgres", "INSERT INTO t VALUES (2)");
        site.completes(&waits(running), &given).await;
        primary.kill();
        let found = site.fails(&step(stopped), &given).await;
        assert!(found.contains("to end with the checkpoint of a primary"), "{major}: {found}");
    }
}
