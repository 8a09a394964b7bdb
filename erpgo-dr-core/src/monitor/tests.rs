use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::*;
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

#[allow(dead_code, reason = "that it compiles is the test")]
fn watching_is_a_task(repository: std::sync::Arc<crate::Repository>, listener: tokio::net::TcpListener) {
    fn task<F: Future + Send + 'static>(_: F) {}
    let (sender, facts) = tokio::sync::watch::channel(None);
    task(async move {
        keep_observed(&repository, &MonitorOptions::default(), std::time::Duration::from_secs(60), &sender).await;
    });
    task(serve(listener, facts, ServeOptions::default(), std::future::pending()));
}
