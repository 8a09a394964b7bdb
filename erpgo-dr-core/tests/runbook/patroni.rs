//! A cluster that Patroni runs: changed by a runbook, and by nobody else.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use erpgo_dr_core::runbook::{
    Choice, Ending, Entry, Event, NoObserver, NoWatchObserver, Outcome, RunObserver, RunOptions, Runbook, RunbookError,
    WatchObserver, WatchOptions, resume_run, run_runbook, shipped, watch_primary,
};
use erpgo_dr_core::types::RunId;
use erpgo_dr_testkit::patroni::PATIENCE;
use erpgo_dr_testkit::{PatroniCluster, PatroniOptions};

use crate::support::{Site, ends, output_of, runbook};

fn named(name: &str) -> Runbook {
    Runbook::from_toml(shipped().find(|(found, _)| *found == name).unwrap().1).unwrap()
}

async fn start(options: PatroniOptions) -> PatroniCluster {
    tokio::task::spawn_blocking(|| options.start()).await.unwrap()
}

/// Remembers the run, also where the future of it is dropped.
#[derive(Default)]
struct Noted(Mutex<Option<RunId>>);

impl RunObserver for Noted {
    fn recorded(&self, run: &RunId, _: &Entry) {
        *self.0.lock().unwrap() = Some(run.clone());
    }
}

/// Waits until the servers of the cluster have changed places.
async fn until_leads(cluster: &PatroniCluster, node: usize) {
    let begun = Instant::now();
    while cluster.nodes[node].sql("SELECT pg_is_in_recovery()").as_deref() != Ok("f") {
        assert!(begun.elapsed() < PATIENCE, "{}", cluster.logs());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switchover_that_is_cut_off_goes_on_from_what_has_happened() {
    let cluster = start(PatroniOptions::new(2).authentication("dr", "geheim-17")).await;
    let site = Site::new().await;
    let urls = cluster.urls().join(",");
    let leader = cluster.leader_with_standbys();
    let (old, new) = (&cluster.nodes[leader], &cluster.nodes[1 - leader]);
    let database = new.url();
    let switchover = named("patroni-switchover");
    let given = [
        ("patroni", urls.as_str()),
        ("patroni_user", "dr"),
        ("patroni_password", "geheim-17"),
        ("candidate", new.name()),
        // Where the application will reach it.
        ("database", database.as_str()),
    ];
    // Cut off while Patroni is at it: when the new leader takes writes, nobody has waited for the old one yet.
    let (values, noted) = (switchover.values(given).unwrap(), Noted::default());
    let options = RunOptions::default();
    tokio::select! {
        standing = run_runbook(&switchover, values, &site.surroundings, &options, &noted) => panic!("{standing:?}"),
        () = until_leads(&cluster, 1 - leader) => {}
    }
    let run = noted.0.lock().unwrap().clone().unwrap();
    let given = switchover.some_values([("patroni_password", "geheim-17")]).unwrap();
    let standing = resume_run(&run, &given, &site.surroundings, &NoObserver).await.unwrap();
    let journal = site.journal(&run).await;
    assert_eq!(standing.ending, Ending::Completed, "{journal:#?}");
    assert_eq!(output_of(&journal, "switchover"), format!("{} leads, by an earlier attempt", new.name()));
    assert_eq!(output_of(&journal, "healthy-again"), format!("{} leads, and 1 follow", new.name()));
    assert!(!format!("{journal:?}").contains("geheim-17"));

    // And back, in one go.
    let database = old.url();
    let given = [
        ("patroni", urls.as_str()),
        ("patroni_user", "dr"),
        ("patroni_password", "geheim-17"),
        ("database", database.as_str()),
    ];
    let standing = site.run(&switchover, &given).await;
    let journal = site.journal(&standing.run).await;
    assert_eq!(standing.ending, Ending::Completed, "{journal:#?}");
    assert_eq!(output_of(&journal, "switchover"), format!("{} leads; 0 bytes of the log are lost", old.name()));
    let lost = journal.iter().find_map(|entry| match &entry.event {
        Event::Ended { outcome: Outcome::Succeeded, loss: Some(loss), .. } => loss.bytes,
        _ => None,
    });
    assert_eq!(lost, Some(0));
    assert!(ends(&journal).contains(&"writes succeeded".to_owned()), "{:?}", ends(&journal));

    refuses_what_is_not_so(&site, &cluster, &urls).await;
    nobody_decides_beside_it(&site, &cluster).await;
}

async fn refuses_what_is_not_so(site: &Site, cluster: &PatroniCluster, urls: &str) {
    let head = "[variables]\npatroni = { type = \"list\" }\nuser = { type = \"text\", optional = true }\npassword = { type = \"secret\", optional = true }\n
        [patroni]\nurls = [\"{{ patroni }}\"]\nuser = \"{{ user }}\"\npassword = \"password\"\n[[steps]]\nid = \"a\"\ntitle = \"A\"\n";
    let step = |ha: &str| runbook(&format!("{head}ha = {{ {ha} }}\nask = false\n"));
    let leader = cluster.nodes[cluster.leader_with_standbys()].name();
    let credentials = [("patroni", urls), ("user", "dr"), ("password", "geheim-17")];
    let said = site
        .fails(&step(&format!("do = \"switchover\", leader = \"{leader}\", candidate = \"pg9\"")), &credentials)
        .await;
    assert_eq!(said, "there is no member pg9; there are: pg1, pg2");
    let said = site.fails(&step(&format!("do = \"reinitialize\", member = \"{leader}\"")), &credentials).await;
    assert!(said.starts_with(&format!("{leader} leads: ")), "{said}");
    // Without the optional name nobody is let in, and the step is done all the same.
    let said = site.fails(&step("do = \"pause\""), &[("patroni", urls)]).await;
    assert!(said.contains("does not accept who we are (401)"), "{said}");
    // Paused, and back by the undo of the step.
    let paused = step("do = \"pause\"");
    let standing = site.run(&paused, &credentials).await;
    assert_eq!(standing.ending, Ending::Completed);
    assert_eq!(output_of(&site.journal(&standing.run).await, "a"), "the cluster is paused now");
    let said = site.fails(&step("do = \"healthy\""), &credentials).await;
    assert!(said.contains("it is paused"), "{said}");
    site.completes(&step("do = \"healthy\", paused = true"), &credentials).await;
    let given = paused.some_values([("password", "geheim-17")]).unwrap();
    // A run that found it paused leaves it so when it is taken back.
    let second = site.run(&paused, &credentials).await;
    let undo = async |run: &RunId| {
        let undone = erpgo_dr_core::runbook::undo_run(run, &given, &site.surroundings, &NoObserver).await.unwrap();
        assert_eq!(undone.ending, Ending::Undone);
    };
    undo(&second.run).await;
    site.completes(&step("do = \"healthy\", paused = true"), &credentials).await;
    assert!(site.fails(&step("do = \"healthy\""), &credentials).await.contains("it is paused"));
    undo(&standing.run).await;
    site.completes(&step("do = \"healthy\""), &credentials).await;
}

/// What we do to servers that nobody runs is not done to those that Patroni runs.
async fn nobody_decides_beside_it(site: &Site, cluster: &PatroniCluster) {
    let leader = cluster.leader_with_standbys();
    let (primary, standby) = (cluster.nodes[leader].url(), cluster.nodes[1 - leader].url());
    let promote = runbook(
        "[variables]\nold = { type = \"server\" }\nnew = { type = \"server\" }\n
         [[steps]]\nid = \"a\"\ntitle = \"A\"\npromote = { standbys = [\"new\"], old = \"old\" }\nask = false\n",
    );
    let said = site.fails(&promote, &[("old", "postgresql://postgres@127.0.0.1:1/postgres"), ("new", &standby)]).await;
    assert!(said.contains("that Patroni runs it"), "{said}");
    let failure = named("database-failure");
    let given = [("primary", primary.as_str()), ("standby", &standby)];
    let values = failure.values(given).unwrap();
    let options = WatchOptions::default();
    let observers: (&dyn WatchObserver, &dyn RunObserver) = (&NoWatchObserver, &NoObserver);
    let watched = watch_primary(&failure, &values, &site.surroundings, &options, observers, std::future::pending());
    assert!(matches!(watched.await, Err(RunbookError::RunByPatroni { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_patroni_replaces_nobody_the_runbook_does() {
    let mut cluster = start(PatroniOptions::new(2)).await;
    let site = Site::new().await;
    let urls = cluster.urls().join(",");
    let leader = cluster.leader_with_standbys();
    let heir = cluster.nodes[1 - leader].name().to_owned();
    let database = cluster.nodes[1 - leader].url();
    cluster.nodes[leader].sql("CREATE TABLE t AS SELECT 1 AS n").unwrap();
    cluster.nodes[1 - leader].wait_until("SELECT count(*) = 1 FROM t");
    let pause = runbook(
        "[variables]\npatroni = { type = \"list\" }\n[patroni]\nurls = [\"{{ patroni }}\"]\n[[steps]]\nid = \"a\"\ntitle = \"A\"\nha = { do = \"pause\" }\n",
    );
    site.completes(&pause, &[("patroni", &urls)]).await;
    cluster.nodes[leader].kill();
    cluster.forget_leader();
    // As shipped, but for the time that Patroni is given.
    let text = named("patroni-failover").text().replace("timeout = \"90s\"", "timeout = \"2s\"");
    let failover = Runbook::from_toml(&text.replace("timeout = \"10m\"", "timeout = \"3s\"")).unwrap();
    let given = [
        ("patroni", urls.as_str()),
        ("candidate", heir.as_str()),
        ("database", database.as_str()),
        ("important_table", "t"),
    ];
    site.answers([Choice::Yes]);
    let standing = site.run(&failover, &given).await;
    let journal = site.journal(&standing.run).await;
    assert_eq!(standing.ending, Ending::Completed, "{journal:#?}");
    let said = output_of(&journal, "failover");
    assert!(said.starts_with(&format!("{heir} leads; ")) && said.contains(": at least "), "{said}");
    assert_eq!(output_of(&journal, "candidate"), format!("{heir} could take over"));
    assert_eq!(output_of(&journal, "timeline"), "timeline 1");
    // What is lost of a leader that could not be asked is nobody's to state.
    let loss = journal.iter().find_map(|entry| match &entry.event {
        Event::Ended { outcome: Outcome::Succeeded, loss, .. } => *loss,
        _ => None,
    });
    assert_eq!(loss.unwrap().bytes, None);
    let ended = ends(&journal);
    for step in ["by-itself failed", "failover succeeded", "writes succeeded", "data succeeded"] {
        assert!(ended.contains(&step.to_owned()), "{step}: {ended:?}");
    }
    // One that is there already is not told twice.
    let standing = site.run(&failover, &given).await;
    assert!(ends(&site.journal(&standing.run).await).contains(&"failover skipped".to_owned()));
}

#[test]
fn what_does_not_belong_to_an_order_is_a_fault() {
    let read = |table: &str, ha: &str| {
        let text = format!(
            "name = \"x\"\ntitle = \"X\"\n[variables]\nkey = {{ type = \"secret\" }}\nname = {{ type = \"text\", optional = true }}\n{table}\n\
             [[steps]]\nid = \"a\"\ntitle = \"A\"\nha = {{ {ha} }}\n"
        );
        Runbook::from_toml(&text).and_then(|runbook| runbook.check()).map_err(|error| error.to_string())
    };
    let table = "[patroni]\nurls = [\"http://db1:8008\"]\nuser = \"{{ name }}\"\npassword = \"key\"";
    for good in [
        "do = \"leads\"",
        "do = \"healthy\", max-lag = 1, paused = true",
        "do = \"failover\", candidate = \"{{ name }}\", timeline = \"{{ name }}\", even-if-well = true",
        "do = \"timeline\"",
        "do = \"candidate\", candidate = \"{{ name }}\", timeline = \"{{ name }}\", max-lag = 1",
    ] {
        assert_eq!(read(table, good), Ok(()), "{good}");
    }
    for (ha, said) in [
        ("do = \"pause\", member = \"x\"", "unknown field"),
        ("do = \"switchover\", leader = \"a\", max_lag = 1", "unknown field"),
        ("do = \"switchover\"", "missing field `leader`"),
        ("do = \"promote\"", "unknown variant"),
        ("do = \"failover\", candidate = \"{{ key }}\"", "the secret key would be seen there"),
        ("do = \"failover\", candidate = \"{{ nobody }}\"", "there is no variable nobody"),
    ] {
        let found = read(table, ha).unwrap_err();
        assert!(found.contains(said), "{ha}: {found}");
    }
    let fault = |table: &str| read(table, "do = \"pause\"").unwrap_err();
    assert!(fault("").contains("there is no table [patroni]"));
    assert!(fault("[patroni]\nurls = [\"{{ key }}\"]").contains("would be seen there"));
    assert!(fault("[patroni]\nurls = []\npassword = \"name\"").contains("name is no secret"));
    assert!(fault("[patroni]\nurls = []\npasswords = \"key\"").contains("unknown field"));
}
