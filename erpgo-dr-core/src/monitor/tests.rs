use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::*;
use crate::agent::{AgentRole, AgentState};
use crate::ops::drill::quarterly_calendar;
use crate::ops::{RecoverySpan, RecoveryWindow, Status};
use crate::repository::VerifyLevel;

const HOSTILE: &str = "<script>alert(1)</script>\"' onload=x \u{202e}";

fn at(hours: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + 3600 * hours, 0).unwrap()
}

fn backup(hours: i64, kind: &str) -> BackupFacts {
    BackupFacts {
        id: crate::types::BackupId::generate(at(hours)),
        kind: kind.to_owned(),
        created: at(hours),
        seconds: 60.0,
        plaintext_bytes: 5 << 20,
        stored_bytes: 1 << 20,
        proven: (hours % 2 == 0).then_some(VerifyLevel::Mac),
        failed: false,
        held: false,
    }
}

/// Two days: a backup every six hours, and a gap in the log.
fn facts() -> Facts {
    let backups: Vec<BackupFacts> =
        (0..8).map(|n| backup(6 * n, if n % 2 == 0 { "physical" } else { "logical" })).collect();
    let ids = |range: std::ops::Range<usize>| backups[range].iter().step_by(2).map(|one| one.id.clone()).collect();
    let spans = vec![
        RecoverySpan { from: at(0), until: at(10), last_segment: None, backups: ids(0..2) },
        RecoverySpan { from: at(24), until: at(47), last_segment: None, backups: ids(4..8) },
    ];
    Facts {
        at: at(48),
        seconds: 0.2,
        healthy: false,
        status: Status {
            repository: crate::types::RepositoryId::generate(),
            location: "/backups/erp".to_owned(),
            backups: 8,
            stored_bytes: 8 << 20,
            latest: None,
            latest_proven: None,
            rpo_seconds: None,
            rto_seconds: None,
            restore_tested: None,
            failed: Vec::new(),
            in_the_future: Vec::new(),
            problems: Vec::new(),
        },
        max_age_seconds: Some(8.0 * 3600.0),
        windows: vec![RecoveryWindow { system_identifier: 7_123, archived: true, spans, cut_off: false }],
        wal: Some(WalFacts {
            system_identifier: Some(7_123),
            segments: 12,
            stored_bytes: 3 << 20,
            newest_archived: Some(at(47)),
            lag_bytes: Some(4096),
            newest_commit: Some(at(47)),
            at_risk_seconds: Some(3600.0),
            findings: vec![HOSTILE.to_owned()],
        }),
        standbys: vec![StandbyFacts {
            name: HOSTILE.to_owned(),
            address: None,
            state: Some(HOSTILE.to_owned()),
            sync_state: None,
            lag_bytes: Some(17),
        }],
        objectives: ObjectiveFacts {
            rto_objective_seconds: Some(4.0 * 3600.0),
            rpo_objective_seconds: Some(900.0),
            rto_seconds: Some(600.0),
            rpo_seconds: Some(3600.0),
            rto_met: Some(true),
            rpo_met: Some(false),
        },
        forecast: None,
        drills_due: crate::ops::drill::drills_due(at(48), at(-9_000), &quarterly_calendar(), &[]),
        drills: Vec::new(),
        incidents: Vec::new(),
        epochs: Vec::new(),
        disks: vec![DiskFacts { path: HOSTILE.into(), total_bytes: 100, free_bytes: 30 }],
        agent: None,
        problems: vec![Problem::new(HOSTILE, HOSTILE)],
        backups,
    }
}

#[test]
fn no_text_from_elsewhere_becomes_html() {
    let mut facts = facts();
    facts.backups[1].kind = HOSTILE.to_owned();
    facts.status.location = HOSTILE.to_owned();
    let page = facts.to_html();
    assert!(page.matches("&lt;script&gt;").count() >= 6, "each of them is shown:\n{page}");
    assert!(!page.contains("<script") && !page.contains('\u{202e}'), "{page}");
    let inside = page.split('<').skip(1).filter_map(|tag| tag.split('>').next());
    for tag in inside {
        assert!(!tag.contains("onload"), "an attribute: {tag}");
    }
}

#[test]
fn the_page_says_which_moments_cannot_be_had() {
    let page = facts().to_html();
    assert!(page.contains("every moment from 2027-01-15 08:00:00 UTC to 2027-01-17 07:00:00 UTC, but for 2027-01-15 18:00:00 UTC to 2027-01-16 08:00:00 UTC"), "{page}");
    assert!(page.contains("objective 15 min: missed") && page.contains("objective 4 h: met"), "{page}");
    assert_eq!(page.matches("class=\"covered\"").count(), 2, "two spans are drawn");
}

#[test]
fn without_an_archive_there_are_moments_and_no_gaps() {
    let mut facts = facts();
    facts.windows[0].archived = false;
    let page = facts.to_html();
    assert!(page.contains("Cluster 7123: the moments of its backups, the newest 2027-01-16 08:00:00 UTC"), "{page}");
    assert!(!page.contains("but for") && !page.contains("class=\"gap\""), "{page}");
    assert!(facts.to_openmetrics().contains("erpgo_dr_recovery_window_gaps{cluster=\"7123\"} 0.0"));
}

#[test]
fn facts_that_are_doubted_promise_nothing() {
    let mut facts = facts();
    facts.healthy = true;
    assert!(facts.to_html().contains("One could restore right now."));
    let page = facts.to_doubted_html(Some("the repository does not answer"));
    assert!(page.contains("It is not known whether one could restore now.") && !page.contains("right now"), "{page}");
    assert!(facts.to_openmetrics().contains("\nerpgo_dr_stale 0.0"));
    assert!(facts.to_doubted_openmetrics(true).contains("\nerpgo_dr_stale 1.0"));
}

#[test]
fn metrics_say_what_the_facts_say() {
    let text = facts().to_openmetrics();
    let samples: BTreeMap<&str, &str> =
        text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' ')).collect();
    for (name, value) in [
        ("erpgo_dr_recovery_window_gaps{cluster=\"7123\"}", "1.0"),
        ("erpgo_dr_recovery_window_gap_seconds{cluster=\"7123\"}", "50400.0"),
        ("erpgo_dr_objective_met{objective=\"rto\"}", "1.0"),
        ("erpgo_dr_objective_met{objective=\"rpo\"}", "0.0"),
        ("erpgo_dr_wal_lag_bytes", "4096.0"),
        ("erpgo_dr_healthy", "0.0"),
        ("backup_duration_seconds", "60.0"),
        (
            "erpgo_dr_replication_lag_bytes{standby=\"<script>alert(1)</script>\\\"' onload=x \u{202e}\",address=\"\"}",
            "17.0",
        ),
    ] {
        assert_eq!(samples.get(name), Some(&value), "{name} in\n{text}");
    }
    assert!(!samples.keys().any(|name| name.starts_with("erpgo_dr_rto_predicted")), "what is not known has no sample");
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn of_overlapping_or_old_restore_points_the_picture_stays_within_its_frame() {
    let mut facts = facts();
    facts.backups.insert(0, backup(-24 * 400, "logical"));
    facts.at = at(48) + TimeDelta::days(20);
    let page = facts.to_html();
    for share in page.split("x=\"").skip(1).chain(page.split("cx=\"").skip(1)).filter_map(|rest| rest.split_once('%')) {
        let share: f64 = share.0.parse().unwrap_or(0.0);
        assert!((0.0..=100.0).contains(&share), "{share} in\n{page}");
    }
}

fn fleet<const N: usize>(clusters: [(&str, ClusterFacts); N]) -> FleetFacts {
    FleetFacts::new(clusters.into_iter().map(|(name, cluster)| (name.to_owned(), cluster)).collect())
}

fn known(facts: Facts) -> ClusterFacts {
    ClusterFacts::new(Some(Arc::new(facts)), None)
}

fn away(error: &str) -> ClusterFacts {
    ClusterFacts::new(None, Some(error.to_owned()))
}

/// Nothing is wrong with these.
fn sound() -> Facts {
    let mut facts = facts();
    facts.healthy = true;
    facts.problems.clear();
    facts.drills_due.clear();
    facts.objectives.rpo_met = Some(true);
    facts.wal = None;
    facts
}

fn with_agent(mut facts: Facts, alarms: &[&str]) -> Facts {
    let alarm = |reason: &&str| crate::repository::AlarmRecord {
        subject: "backup".parse().unwrap(),
        raised_at: at(47),
        reason: (*reason).to_owned(),
        cleared_at: None,
        told: true,
    };
    facts.agent = Some(AgentState {
        host: "db1".to_owned(),
        started: at(0),
        role: AgentRole::Leader,
        jobs: Vec::new(),
        alarms: alarms.iter().map(alarm).collect(),
        reload_refused: None,
    });
    facts
}

#[test]
fn each_family_of_a_fleet_stands_once_with_the_values_of_all() {
    // Only the second has an agent: its families begin with it.
    let fleet =
        fleet([("billing", known(sound())), ("shop", known(with_agent(facts(), &[]))), ("stock", away("gone"))]);
    let text = fleet.to_openmetrics();
    assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
    let mut families = std::collections::BTreeSet::new();
    let mut family = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap();
            assert!(families.insert(family), "{family} begins twice in\n{text}");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            assert_eq!(name.strip_suffix("_total").unwrap_or(name), family, "{line}");
        }
    }
    let lines: std::collections::BTreeSet<&str> = text.lines().collect();
    for line in [
        "erpgo_dr_fleet_clusters 3.0",
        "erpgo_dr_fleet_clusters_healthy 1.0",
        "erpgo_dr_fleet_cluster_up{cluster_name=\"shop\"} 1.0",
        "erpgo_dr_fleet_cluster_up{cluster_name=\"stock\"} 0.0",
        "erpgo_dr_stale{cluster_name=\"billing\"} 0.0",
        "erpgo_dr_healthy{cluster_name=\"billing\"} 1.0",
        "erpgo_dr_healthy{cluster_name=\"shop\"} 0.0",
        "erpgo_dr_recovery_window_gaps{cluster_name=\"billing\",cluster=\"7123\"} 1.0",
        "erpgo_dr_recovery_window_gaps{cluster_name=\"shop\",cluster=\"7123\"} 1.0",
        "erpgo_dr_agent_leads{cluster_name=\"shop\"} 1.0",
        "backup_attempts_total{cluster_name=\"shop\"} 0",
    ] {
        assert!(lines.contains(line), "{line} in\n{text}");
    }
    assert!(!text.contains("erpgo_dr_healthy{cluster_name=\"stock\"}"), "what is not known has no sample");
    let single = with_agent(facts(), &[]).to_openmetrics();
    assert!(!single.contains("cluster_name") && !single.contains("erpgo_dr_fleet"), "{single}");
}

#[test]
fn a_cluster_is_well_while_it_answers_could_be_restored_and_has_no_alarm() {
    let mut unhealthy = sound();
    unhealthy.healthy = false;
    let shared = |facts| Some(Arc::new(facts));
    for (cluster, expected) in [
        (known(sound()), true),
        (known(with_agent(sound(), &[])), true),
        (known(with_agent(sound(), &["the disk is full"])), false),
        (known(unhealthy), false),
        (ClusterFacts::new(shared(sound()), Some("no route".to_owned())), false),
        (ClusterFacts::new(None, None), false),
    ] {
        assert_eq!(cluster.is_healthy(), expected, "{cluster:?}");
        assert_eq!(fleet([("a", known(sound())), ("b", cluster)]).is_healthy(), expected);
    }
    assert!(!FleetFacts::default().is_healthy(), "nothing is known to be well");
    assert!(FleetFacts::default().to_html().contains("No cluster is watched."));
}

#[test]
fn clusters_with_problems_stand_first_in_words() {
    let mut late = sound();
    late.objectives.rpo_met = Some(false);
    let fleet = fleet([
        ("a-well", known(sound())),
        ("b-late", known(late)),
        ("c-alarm", known(with_agent(sound(), &["the disk is full"]))),
        ("d-away", away("the repository does not answer")),
        ("e-new", ClusterFacts::new(None, None)),
    ]);
    let page = fleet.to_html();
    assert!(page.contains("<h1>2 of 5 clusters are well</h1>"), "{page}");
    let places = ["d-away", "e-new", "c-alarm", "b-late", "a-well"].map(|name| page.find(&format!("clusters/{name}/")));
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} in\n{page}");
    let row = |name: &str| {
        let rest = page.split_once(&format!("clusters/{name}/")).unwrap().1;
        rest.split_once("</tr>").unwrap().0
    };
    for (name, texts) in [
        ("d-away", ["not known", "the repository does not answer"]),
        ("e-new", ["not known", "Nothing has been asked yet."]),
        ("c-alarm", ["attention needed", "Alarm of backup: the disk is full"]),
        ("b-late", ["recoverable", "1 h, may be 15 min"]),
        ("a-well", ["recoverable", ">nothing<"]),
    ] {
        assert!(texts.iter().all(|text| row(name).contains(text)), "{texts:?} in {}", row(name));
    }
    assert!(page.contains("<caption>") && page.matches("<th scope=\"row\">").count() == 5, "{page}");

    // What is too old is not well, whatever it says.
    let page = fleet.to_doubted_html(&|_| Some("the repository does not answer"));
    assert!(page.contains("<h1>0 of 5 clusters are well</h1>") && !page.contains("recoverable<"), "{page}");
    assert!(page.contains("Nothing is known since 2027-01-17 08:00:00 UTC: the repository does not answer"), "{page}");
    let metrics = fleet.to_doubted_openmetrics(&|_| Some("the repository does not answer"));
    assert!(metrics.contains("erpgo_dr_stale{cluster_name=\"a-well\"} 1.0"), "{metrics}");
    assert!(metrics.contains("erpgo_dr_fleet_clusters_healthy 0.0"), "{metrics}");
}

#[test]
fn a_name_of_a_cluster_is_text_and_one_step_of_a_path() {
    let names = [HOSTILE, "../a/b?c#d", "..", "100%", "caf\u{e9}"];
    let page = fleet(names.map(|name| (name, away(HOSTILE)))).to_html();
    assert!(!page.contains("<script") && !page.contains('\u{202e}'), "{page}");
    let links: Vec<&str> = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let links: Vec<&str> = links.into_iter().filter(|link| link.starts_with("clusters/")).collect();
    assert_eq!(links.len(), 4, "none goes up: {links:?}");
    for link in &links {
        let name = link.strip_prefix("clusters/").unwrap().strip_suffix('/').unwrap();
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%-_.~".contains(&byte)), "{name}");
    }
    assert!(links.contains(&"clusters/..%2Fa%2Fb%3Fc%23d/") && links.contains(&"clusters/caf%C3%A9/"), "{links:?}");
    for cluster in [away(HOSTILE), ClusterFacts::new(Some(Arc::new(facts())), Some(HOSTILE.to_owned()))] {
        let page = cluster.to_doubted_html(HOSTILE, &|_| None);
        assert!(page.contains("It is not known whether one could restore now."), "{page}");
        assert!(!page.contains("<script") && !page.contains('\u{202e}'), "{page}");
        assert!(page.contains("href=\"../../\""), "{page}");
    }
    assert!(facts().to_html().contains("href=\"facts.json\""), "the page of one repository has its own");
}

/// Asks by HTTP: the status and all that follows.
async fn ask(address: std::net::SocketAddr, path: &str, host: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, rest) = answer.split_once("\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), rest.to_owned())
}

#[tokio::test]
async fn a_fleet_is_served_and_one_bad_cluster_does_not_make_it_unready() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = tokio::sync::watch::channel(Arc::new(FleetFacts::default()));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let options = ServeOptions::default().with_stale_after(Some(std::time::Duration::from_secs(300)));
    let served = tokio::spawn(serve_fleet(listener, receiver, options, async { drop(stopped.await) }));
    let get = async |path: &str| ask(address, path, "localhost").await;
    assert_eq!(get("/health/live").await.0, 200);
    for path in ["/", "/metrics", "/facts.json", "/clusters/shop/", "/health/ready"] {
        assert_eq!(get(path).await.0, 503, "{path}: nothing is known");
    }

    let mut new = sound();
    new.at = Utc::now();
    let mut old = sound();
    old.at = Utc::now() - TimeDelta::hours(1);
    let away = || ("a/b", away("the repository cannot be opened"));
    sender.send_replace(Arc::new(fleet([("shop", known(new)), ("old", known(old.clone())), away()])));
    assert_eq!(get("/health/ready").await.0, 200);
    let (status, page) = get("/").await;
    assert!(status == 200 && page.contains("1 of 3 clusters is well"), "{page}");
    assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
    let (status, page) = get("/clusters/shop/").await;
    assert!(status == 200 && page.contains("One could restore right now."), "{page}");
    let (status, page) = get("/clusters/old/").await;
    assert!(status == 200 && page.contains("It is not known whether one could restore now."), "{page}");
    let (status, page) = get("/clusters/a%2Fb/").await;
    assert!(status == 503 && page.contains("the repository cannot be opened"), "{page}");
    assert_eq!(get("/clusters/none/").await.0, 404);
    assert_eq!(ask(address, "/clusters/shop/", "evil.example").await.0, 421);
    let metrics = get("/metrics").await.1;
    assert!(metrics.contains("erpgo_dr_stale{cluster_name=\"old\"} 1.0"), "{metrics}");
    assert!(metrics.contains("erpgo_dr_stale{cluster_name=\"shop\"} 0.0"), "{metrics}");
    let json = get("/facts.json").await.1;
    let json: serde_json::Value = serde_json::from_str(json.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(json["clusters"]["shop"]["facts"]["healthy"], true);
    assert_eq!(json["clusters"]["a/b"]["error"], "the repository cannot be opened");

    sender.send_replace(Arc::new(fleet([("old", known(old)), away()])));
    assert_eq!(get("/health/ready").await.0, 503, "all that is known is too old");
    sender.send_replace(Arc::new(fleet([away()])));
    assert_eq!(get("/health/ready").await.0, 503, "nothing is known of the only one");
    assert_eq!(get("/").await.0, 200, "and what is wrong is shown");
    drop(stop);
    served.await.unwrap().unwrap();
}

#[allow(dead_code, reason = "that it compiles is the test")]
fn watching_is_a_task(repository: std::sync::Arc<crate::Repository>, listener: tokio::net::TcpListener) {
    fn task<F: Future + Send + 'static>(_: F) {}
    let (sender, facts) = tokio::sync::watch::channel(None);
    task(async move {
        keep_observed(&repository, &MonitorOptions::default(), std::time::Duration::from_secs(60), &sender).await;
    });
    task(serve(listener, facts, ServeOptions::default(), std::future::pending()));
}

#[allow(dead_code, reason = "that it compiles is the test")]
fn watching_a_fleet_is_a_task(listener: tokio::net::TcpListener) {
    fn task<F: Future + Send + 'static>(_: F) {}
    let (_, facts) = tokio::sync::watch::channel(Arc::new(FleetFacts::default()));
    task(serve_fleet(listener, facts, ServeOptions::default(), std::future::pending()));
}
