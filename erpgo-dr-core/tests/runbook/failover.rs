//! A standby takes over, and never beside a primary that takes writes.

use erpgo_dr_core::runbook::{Choice, Ending, Event, Runbook};
use erpgo_dr_testkit::postgres::{PgServer, PgServerOptions, standby_of};

use crate::support::{Site, output_of, runbook};

fn takeover() -> Runbook {
    runbook(
        r#"
        [variables]
        primary = { type = "server" }
        standby = { type = "server" }
        pid = { type = "text", optional = true }
        [[steps]]
        id = "fence"
        title = "F"
        fence = { on = "primary", by = { command = { run = ["kill", "-9", "{{ pid }}"] } }, probes = 2, every = "100ms" }
        when = [{ variable = "pid", set = true }]
        [[steps]]
        id = "fence-by-hand"
        title = "H"
        fence = { on = "primary", probes = 2, every = "100ms" }
        ask = false
        when = [{ variable = "pid", set = false }]
        [[steps]]
        id = "promote"
        title = "P"
        promote = { standbys = ["standby"], old = "primary" }
        counts = "rpo"
        [[steps]]
        id = "write"
        title = "W"
        sql = { on = "standby", query = "INSERT INTO t VALUES (2)" }
        "#,
    )
}

fn pair(major: u32) -> (PgServer, PgServer) {
    let primary = PgServerOptions::new(major).setting("synchronous_standby_names", "*").start();
    let standby = standby_of(&primary);
    primary.psql("postgres", "CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
    (primary, standby)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_primary_is_replaced_without_loss() {
    for major in [15, 17, 18] {
        let (primary, standby) = tokio::task::spawn_blocking(move || pair(major)).await.unwrap();
        let site = Site::new().await;
        let pid = primary.id().unwrap().to_string();
        let (one, two) = (primary.url("postgres"), standby.url("postgres"));
        let standing = site.run(&takeover(), &[("primary", &one), ("standby", &two), ("pid", &pid)]).await;
        let journal = site.journal(&standing.run).await;
        assert_eq!(standing.ending, Ending::Completed, "{major}: {journal:#?}");
        assert_eq!(standby.psql("postgres", "SELECT string_agg(n::text, ',' ORDER BY n) FROM t"), "1,2");
        assert!(output_of(&journal, "promote").contains("is the primary; before that it had received to"));
        let loss = journal.iter().find_map(|entry| match &entry.event {
            Event::Ended { step, loss, .. } if step.as_str() == "promote" => *loss,
            _ => None,
        });
        assert!(loss.unwrap().recovered_to.is_some(), "the moment of the newest commit that is there");
        // A primary that this run has not promoted may be anybody's.
        let again = runbook(
            "[variables]\nprimary = { type = 'server' }\nstandby = { type = 'server' }\n[[steps]]\nid = 'p'\ntitle = 'P'\npromote = { standbys = ['standby'], old = 'primary' }",
        );
        let refused = site.run(&again, &[("primary", &one), ("standby", &two)]).await;
        let found = output_of(&site.journal(&refused.run).await, "p");
        assert!(found.contains("which is a primary, and was not promoted by this run"), "{found}");
        let resumed = site.resume(&refused.run).await;
        assert_eq!(resumed.ending, Ending::Stopped, "that it was refused once is no reason to believe it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_promoted_beside_a_primary_that_takes_writes() {
    let (primary, standby) = tokio::task::spawn_blocking(|| pair(17)).await.unwrap();
    let site = Site::new().await;
    let (one, two) = (primary.url("postgres"), standby.url("postgres"));
    let given = [("primary", one.as_str()), ("standby", two.as_str())];
    // The operator says that it is off, and is wrong.
    let found = site.fails(&takeover(), &given).await;
    assert!(found.contains("to be off, found a primary"), "{found}");
    assert_eq!(site.asked()[0].text.split(" Switch ").next().unwrap(), "Nothing here can stop it.");
    let promote = runbook(
        "[variables]\nprimary = { type = 'server' }\nstandby = { type = 'server' }\n[[steps]]\nid = 'p'\ntitle = 'P'\npromote = { standbys = ['standby'], old = 'primary' }",
    );
    let found = site.fails(&promote, &given).await;
    assert!(found.contains("to take no writes before another server is promoted"), "{found}");
    // A primary that nothing can stop, and for which nobody answers, stays in its place.
    let cannot = runbook(
        "[variables]\nprimary = { type = 'server' }\n[[steps]]\nid = 'f'\ntitle = 'F'\nask = false\nfence = { on = 'primary', by = { command = { run = ['false'] } } }",
    );
    site.answers([Choice::No]);
    let found = site.fails(&cannot, &[("primary", &one)]).await;
    assert_eq!(found, "operator said no");
    assert!(
        site.asked()
            .last()
            .unwrap()
            .text
            .contains("It could not be stopped from here: false ended with exit status: 1")
    );
    assert_eq!(standby.psql("postgres", "SELECT pg_is_in_recovery()"), "t");
}

/// Stops a server without ending it: it is silent, and would go on.
struct Frozen(String);

impl Frozen {
    fn new(server: &PgServer) -> Self {
        let frozen = Self(server.id().unwrap().to_string());
        frozen.signal("-STOP");
        frozen
    }

    fn signal(&self, signal: &str) {
        assert!(std::process::Command::new("kill").args([signal, &self.0]).status().unwrap().success());
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.signal("-CONT");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_primary_is_off_only_where_something_that_is_trusted_says_so() {
    let primary = tokio::task::spawn_blocking(|| PgServer::start(17)).await.unwrap();
    let site = Site::new().await;
    let one = primary.url("postgres");
    let given = [("primary", one.as_str())];
    let frozen = Frozen::new(&primary);
    let fence = |how: &str| {
        runbook(&format!(
            "[variables]\nprimary = {{ type = 'server' }}\nfenced = {{ type = 'text', optional = true }}\n[[steps]]\nid = 'f'\ntitle = 'F'\n\
             ask = false\nstore = 'fenced'\nfence = {{ on = 'primary', every = '50ms', {how} }}\n[[steps]]\nid = 'g'\ntitle = 'G'\n\
             when = [{{ variable = 'fenced', set = true }}]\ncommand = {{ run = ['test', '{{{{ fenced }}}}', '=', 'off'] }}"
        ))
    };
    // That it was told to stop proves nothing, and nobody answers for it.
    site.answers([Choice::No]);
    let found = site.fails(&fence("by = { command = { run = ['true'] } }"), &given).await;
    assert_eq!(found, "operator said no");
    assert!(site.asked()[0].text.contains("which proves nothing"));
    // A power switch that does not answer is no better.
    site.answers([Choice::No]);
    let found = site.fails(&fence("by = { command = { run = ['false'] } }, trusted = true"), &given).await;
    assert_eq!(found, "operator said no");
    assert!(site.asked()[0].text.contains("It could not be stopped from here"));
    let switched = site.completes(&fence("by = { command = { run = ['true'] } }, trusted = true"), &given).await;
    assert_eq!(switched, ["f succeeded", "g succeeded"]);
    assert_eq!(site.asked(), []);
    drop(frozen);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_standbys_the_more_advanced_takes_over_and_the_other_follows() {
    let servers = tokio::task::spawn_blocking(|| {
        let primary = PgServer::start(18);
        let (ahead, mut behind) = (standby_of(&primary), standby_of(&primary));
        primary.psql("postgres", "CREATE TABLE t (n int); INSERT INTO t VALUES (1)");
        caught_up(&primary, &behind);
        behind.stop();
        primary.psql("postgres", "INSERT INTO t VALUES (2)");
        caught_up(&primary, &ahead);
        (primary, ahead, behind)
    });
    let (mut primary, ahead, mut behind) = servers.await.unwrap();
    let site = Site::new().await;
    let urls = [&primary, &ahead, &behind].map(|server| server.url("postgres"));
    let given = [("primary", urls[0].as_str()), ("ahead", &urls[1]), ("behind", &urls[2])];
    let head = "[variables]\nprimary = { type = 'server' }\nahead = { type = 'server' }\nbehind = { type = 'server' }\n\
                new = { type = 'server', optional = true }\n[[steps]]\nid = 'a'\ntitle = 'A'\n";
    let down = |standbys: &str| {
        runbook(&format!(
            "{head}primary-down = {{ primary = 'primary', standbys = [{standbys}], probes = 2, every = '50ms' }}"
        ))
    };
    let found = site.fails(&down("'ahead'"), &given).await;
    assert!(found.ends_with("found it takes writes"), "{found}");
    let elsewhere = given[0].1.replace("/postgres", "/nowhere");
    let mistaken = [("primary", elsewhere.as_str()), given[1], given[2]];
    let found = site.fails(&down("'ahead'"), &mistaken).await;
    assert!(found.contains("something answers there: ") && found.contains("nowhere"), "{found}");
    primary.kill();
    site.completes(&down("'ahead', 'behind'"), &given).await;
    let found = site.fails(&down("'behind'"), &given).await;
    assert!(found.contains("too few standbys can tell"), "{found}");

    behind.restart();
    let takeover = runbook(&format!(
        "{head}promote = {{ standbys = ['behind', 'ahead'], old = 'primary', into = 'new' }}\n\
         [[steps]]\nid = 'b'\ntitle = 'B'\nrepoint = {{ standbys = ['ahead', 'behind'], to = 'new' }}\n\
         [[steps]]\nid = 'c'\ntitle = 'C'\nsql = {{ on = 'new', query = 'INSERT INTO t VALUES (3)' }}\n\
         [[steps]]\nid = 'd'\ntitle = 'D'\ntimeout = '20s'\n\
         [steps.wait-for.check]\nsql-check = {{ on = 'behind', query = 'SELECT count(*) FROM t', returns = '3' }}\n\
         [[steps]]\nid = 'e'\ntitle = 'E'\ncommand = {{ run = ['test', '-e', '{}'] }}\n\
         [[steps]]\nid = 'f'\ntitle = 'F'\nsql = {{ on = 'new', query = 'INSERT INTO t VALUES (4)' }}",
        site.path("go").display(),
    ));
    let standing = site.run(&takeover, &given).await;
    let journal = site.journal(&standing.run).await;
    assert_eq!(standing.step.unwrap().as_str(), "e", "{journal:#?}");
    let said = output_of(&journal, "b");
    assert!(said.contains("ahead is no standby") && said.contains("behind follows 127.0.0.1:"), "{said}");
    // Another process still knows which of them it was.
    std::fs::write(site.path("go"), "").unwrap();
    assert_eq!(site.resume(&standing.run).await.ending, Ending::Completed);
    assert_eq!(ahead.psql("postgres", "SELECT string_agg(n::text, ',' ORDER BY n) FROM t"), "1,2,3,4");
}

/// Waits until a standby has replayed what its primary has written.
fn caught_up(primary: &PgServer, standby: &PgServer) {
    let end = primary.psql("postgres", "SELECT pg_current_wal_lsn()");
    let question = format!("SELECT pg_last_wal_replay_lsn() >= '{end}'");
    while standby.psql("postgres", &question) != "t" {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
