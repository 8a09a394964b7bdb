//! A breach, rehearsed: contained, evidence kept that holds, credentials made new.

use erpgo_dr_core::ops::evidence::{Custodian, evidence, verify_evidence};
use erpgo_dr_core::progress::NoProgress;
use erpgo_dr_core::runbook::{Event, Runbook, shipped};
use erpgo_dr_testkit::postgres::PgServer;

use crate::support::Site;

const TABLES: &str = "
CREATE TABLE users (id int PRIMARY KEY, is_active bool NOT NULL DEFAULT true, password_reset_required bool DEFAULT false);
INSERT INTO users SELECT i FROM generate_series(1, 9) AS i;
CREATE TABLE sessions (id int); INSERT INTO sessions VALUES (1), (2);
CREATE TABLE api_keys (id int, revoked bool NOT NULL DEFAULT false); INSERT INTO api_keys VALUES (1), (2);
CREATE TABLE audit_logs (id int, \"timestamp\" timestamptz DEFAULT now(), event_type text);
INSERT INTO audit_logs SELECT i, now() - i * interval '1 minute', 'login' FROM generate_series(1, 50) AS i;
CREATE ROLE app LOGIN PASSWORD 'known-to-the-intruder';
";

#[tokio::test(flavor = "multi_thread")]
async fn a_breach_is_contained_and_what_proves_it_is_kept() {
    let (site, server) = (Site::new().await, PgServer::start(17));
    server.create_database("erp");
    server.psql("erp", TABLES);
    let (_, text) = shipped().find(|(name, _)| *name == "security-breach").unwrap();
    let runbook = Runbook::from_toml(text).unwrap();
    let (url, secret, password) = (server.url("erp"), site.path("jwt"), site.path("app-password"));
    for path in [&secret, &password] {
        std::fs::write(path, "old").unwrap();
    }
    let (secret, password) = (secret.display().to_string(), password.display().to_string());
    let values = [
        ("server", url.as_str()),
        ("database", "erp"),
        ("project", "/"),
        ("compromised_users", "3,5"),
        ("jwt_secret_file", &secret),
        ("application_role", "app"),
        ("application_password_file", &password),
        ("application_restart", "true"),
        ("api_log", "echo,GET /export"),
        ("database_log", "echo,the log of the server"),
    ];
    let standing = site.run(&runbook, &values).await;
    let journal = site.journal(&standing.run).await;
    assert!(standing.ending == erpgo_dr_core::runbook::Ending::Completed, "{journal:#?}");

    assert_eq!(
        server.psql("erp", "SELECT string_agg(id::text, ',' ORDER BY id) FROM users WHERE NOT is_active"),
        "3,5"
    );
    assert_eq!(server.psql("erp", "SELECT count(*) FROM sessions"), "0");
    assert_eq!(server.psql("erp", "SELECT bool_and(revoked) FROM api_keys"), "t");
    assert!(
        !["old", ""].contains(&site.read("jwt").as_str()) && !["old", ""].contains(&site.read("app-password").as_str())
    );
    assert!(!format!("{journal:?}").contains(site.read("jwt").trim()), "a secret that was made is in no journal");

    let stored = journal.iter().find_map(|entry| match &entry.event {
        Event::Ended { stored: Some(stored), .. } if stored.variable == "evidence" => Some(stored.value.clone()),
        _ => None,
    });
    let (repository, id) = (&site.surroundings.repository, stored.unwrap().parse().unwrap());
    let manifest = evidence(repository, &id).await.unwrap().manifest;
    let whole = |name: &str| manifest.items.iter().any(|item| item.name.ends_with(name) && item.error.is_none());
    for name in ["audit_logs.csv", "application-log.txt", "database-log.txt", "roles.csv", "activity.csv"] {
        assert!(whole(name), "{name}: {manifest:#?}");
    }
    assert_eq!(manifest.backups.len(), 1);
    let catalogue = repository.catalogue().await.unwrap();
    assert!(catalogue.find(&manifest.backups[0].id).unwrap().hold.is_some());
    let verdict = verify_evidence(repository, &id, None, &Custodian::new("bob", "lab"), &NoProgress).await.unwrap();
    assert!(verdict.is_sound(), "{verdict:#?}");
}
