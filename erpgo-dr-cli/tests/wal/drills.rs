//! Recovery rehearsed from backups and an archive, scored, written down, and what it predicts.

use serde_json::Value;

use crate::support::{Site, wait_until_archived, write};

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn drills_are_measured_written_down_and_predict_the_next() {
    let site = Site::new();
    let server = site.archiving_server(17, "");
    let bin = server.bin().display().to_string();
    let common = ["--scratch", "/tmp", "--bin-dir", &bin, "--operator", "ann"];
    let drill = |scenario: &str| site.json(&[&["drill", "run", scenario][..], &common].concat());
    let none = drill("restore");
    assert_eq!(none["error"]["kind"], "not-found", "{none}");
    let unknown = site.json(&["drill", "forecast"]);
    assert_eq!((&unknown["ok"], &unknown["result"]["forecast"]), (&Value::Bool(false), &Value::Null), "{unknown}");

    server.psql(
        "postgres",
        "CREATE TABLE bulk AS SELECT i, repeat('x', 100) AS text FROM generate_series(1, 100000) AS i",
    );
    let backup = site.json(&["-d", &server.url("postgres"), "cluster", "backup"]);
    let dump = site.json(&["-d", &server.url("postgres"), "--bin-dir", &bin, "backup"]);
    assert_eq!((&backup["ok"], &dump["ok"]), (&Value::Bool(true), &Value::Bool(true)), "{backup}{dump}");
    ["one", "two"].iter().for_each(|table| write(&server, table));
    wait_until_archived(&server);

    let restore = drill("restore");
    let result = &restore["result"];
    assert_eq!(
        (&restore["ok"], &result["passed"], &result["by"]),
        (&true.into(), &true.into(), &"ann".into()),
        "{restore}"
    );
    assert_eq!(result["backups"].as_array().unwrap().len(), 2, "databases and the cluster: {restore}");
    assert_eq!((&result["rto_met"], &result["rpo_met"]), (&true.into(), &true.into()), "{restore}");
    let newest = site.json(&["wal", "check"])["result"]["newest_commit"]
        .as_str()
        .unwrap()
        .parse::<chrono::DateTime<chrono::Utc>>()
        .unwrap();
    let began = result["began"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    let behind = (began - newest).as_seconds_f64();
    assert!((number(&result["rpo_seconds"]) - behind).abs() < 0.01, "the archive is newer than any backup: {restore}");
    let full = drill("full-recovery");
    let result = &full["result"];
    assert_eq!((&full["ok"], &result["backups"][0]), (&true.into(), &backup["result"]["id"]), "{full}");
    assert!(number(&result["replayed_bytes"]) > 0.0 && number(&result["replay_seconds"]) > 0.0, "{full}");
    assert!(number(&result["restored_bytes"]) > 1e7 && number(&result["restore_seconds"]) > 0.0, "{full}");
    let whole = number(&result["restore_seconds"]) + number(&result["replay_seconds"]);
    assert!((number(&result["rto_seconds"]) - whole).abs() < 0.01, "{full}");
    let corruption = drill("data-corruption");
    assert_eq!(corruption["ok"], true, "{corruption}");

    let forecast = site.json(&["drill", "forecast"]);
    let predicted = &forecast["result"]["forecast"];
    assert_eq!((&forecast["ok"], &forecast["result"]["within"]), (&true.into(), &true.into()), "{forecast}");
    // The dump was taken last, but it is the cluster that brings everything back.
    assert_eq!(predicted["backup"], backup["result"]["id"], "{forecast}");
    let replay = number(&predicted["replay_bytes"]) / number(&predicted["replay_rate"]);
    let by_hand = number(&predicted["bytes"]) / number(&predicted["restore_rate"]) + replay;
    assert!((number(&predicted["rto_seconds"]) - by_hand).abs() < 1e-6, "{forecast}");
    let status = site.json(&["status"]);
    assert_eq!(status["result"]["predicted_rto_seconds"], predicted["rto_seconds"], "{status}");
    assert!(status["result"]["drills_overdue"].as_array().unwrap().is_empty(), "nothing was to be done before today");

    // An archive that has lost a segment, and a check that does not hold, are what drills are for.
    let checked = site.json(
        &[&["drill", "run", "restore", "--check", "empty:postgres:SELECT count(*) = 0 FROM bulk"][..], &common]
            .concat(),
    );
    assert_eq!((&checked["ok"], &checked["result"]["passed"]), (&false.into(), &false.into()), "{checked}");
    let drills = site.json(&["drill", "list"])["result"]["drills"].clone();
    let passed: Vec<bool> = drills.as_array().unwrap().iter().map(|drill| drill["passed"].as_bool().unwrap()).collect();
    assert_eq!(passed, [true, true, true, false]);

    // What people rehearsed counts as well, and what is altered shows.
    let without = site.json(&["drill", "run", "restore", "--runbook", "region-failover"]);
    assert_eq!(without["error"]["kind"], "usage", "{without}");
    let noted = site.json(&["drill", "record", "region-failover", "--rto", "5h", "--rpo", "10m", "--note", "slow DNS"]);
    assert_eq!((&noted["result"]["rto_met"], &noted["result"]["rpo_met"]), (&false.into(), &true.into()), "{noted}");
    let calendar = site.json(&["drill", "calendar"]);
    let states = calendar["result"]["drills"].as_array().unwrap();
    assert_eq!(
        (states.len(), &states[0]["scenario"], &states[0]["state"]),
        (5, &"restore".into(), &"done".into()),
        "{calendar}"
    );
    let before = site.json(&["status"]);
    let record = site.path(&format!("repository/state/drills/{}", noted["result"]["id"].as_str().unwrap()));
    let text = std::fs::read_to_string(&record).unwrap().replace("18000", "00360");
    std::fs::write(&record, text).unwrap();
    let altered = site.json(&["drill", "list"]);
    let (left, wrong) = (&altered["result"]["drills"], &altered["result"]["unreadable"]);
    assert_eq!(
        (&altered["ok"], left.as_array().unwrap().len(), wrong.as_array().unwrap().len()),
        (&false.into(), 4, 1)
    );
    assert_eq!(site.json(&["status"])["ok"], before["ok"], "whether one could restore is another question");
    let early = site.json(&["drill", "record", "restore", "--at", "2199-01-01T00:00:00Z"]);
    assert_eq!(early["error"]["kind"], "invalid", "{early}");

    // A backup that cannot be restored at all is written down.
    let id = dump["result"]["id"].as_str().unwrap();
    std::fs::remove_dir_all(site.path(&format!("repository/dumps/{id}"))).unwrap();
    let gone = drill("restore");
    assert_eq!((&gone["ok"], &gone["result"]["passed"]), (&false.into(), &false.into()), "{gone}");
}
