//! A night: backup to disk and S3, proof, loss of a table, restore; then a place is lost, and healed.

use erpgo_dr_testkit::{Ministack, SeaweedFs};

use crate::support::{Desk, Run, content, files};

#[test]
fn a_database_comes_back_from_either_place() {
    let mut weed = SeaweedFs::start();
    weed.create_bucket("backups");
    let (mut desk, server) = Desk::with_server(17);
    let before = content(&server, "erp");
    let endpoint = weed.endpoint();
    desk.configure(&format!(
        "[postgres]\n[[replica]]\naddress = \"s3://backups/erp\"\ns3 = {{ endpoint = \"{endpoint}\", region = \"us-east-1\" }}\n\
         [[check]]\nname = \"customers\"\ndatabase = \"erp\"\nquery = \"SELECT count(*) > 0 FROM erp.customers\"\n"
    ));
    desk.set("AWS_ACCESS_KEY_ID", SeaweedFs::ACCESS_KEY);
    desk.set("AWS_SECRET_ACCESS_KEY", SeaweedFs::SECRET_KEY);

    // The replica is new: repair gives it what the repository has.
    let healed = desk.json(&["repair"]);
    assert!(healed["result"]["report"]["copied"].as_u64().unwrap() > 0, "{healed}");
    let taken = desk.json(&["backup", "--database", "erp", "--label", "nightly"]);
    assert_eq!(taken["result"]["missed"].as_array().unwrap().len(), 0, "{taken}");
    let id = taken["result"]["id"].as_str().unwrap().to_owned();

    let talk = desk.run(&["-vvv", "verify"]);
    assert!(talk.code == 0 && !talk.stderr.contains(SeaweedFs::SECRET_KEY), "{}", talk.stderr);
    let denied = desk
        .command(&["-r", "s3://backups/erp", "list"])
        .env("AWS_SECRET_ACCESS_KEY", "wrong")
        .env("AWS_ENDPOINT_URL", &endpoint)
        .output();
    let denied = Run::of(&denied.unwrap());
    assert!(denied.code == 9 && denied.stderr.contains("hint: check the credentials"), "{}", denied.stderr);
    let text = desk.ok(&["verify", "--restore"]);
    assert!(text.contains("(restore): ok") && text.contains("restored in"), "{text}");
    let text = desk.ok(&["status", "--max-age", "1h"]);
    assert!(text.starts_with("healthy\n") && text.contains("RTO "), "{text}");

    server.psql("erp", "DROP TABLE erp.documents CASCADE; DELETE FROM erp.order_items");
    let refused = desk.run(&["restore", &id]);
    assert_eq!(refused.code, 13, "{}", refused.stderr);
    let refused = desk.run(&["restore", "latest-proven", "--clean"]);
    assert_eq!(refused.code, 13, "nobody is there to confirm: {}", refused.stderr);
    assert!(refused.stderr.contains("--yes"), "{}", refused.stderr);
    let plan = desk.ok(&["restore", "latest", "--clean", "--dry-run"]);
    assert!(plan.contains("DROPPED") && plan.contains(&server.port().to_string()), "{plan}");
    assert_ne!(content(&server, "erp"), before, "a dry run does nothing");
    desk.ok(&["restore", &id[..20], "--clean", "--yes", "--jobs", "2"]);
    assert_eq!(content(&server, "erp"), before);

    // The disk is lost: everything is read from S3.
    std::fs::remove_dir_all(desk.path("repository")).unwrap();
    desk.configure("[postgres]\n");
    let from_s3 = ["--repository", "s3://backups/erp"];
    desk.set("AWS_ENDPOINT_URL", &endpoint);
    desk.ok(&[&from_s3[..], &["restore", "latest", "--target-database", "erp_copy"]].concat());
    assert_eq!(content(&server, "erp_copy"), before);
    let table = desk.ok(&[&from_s3[..], &["list"]].concat());
    let words: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert!(words.ends_with(&["restore", "erp", "nightly"]), "{table}");

    // S3 goes away in turn: the backup says which place missed it, and ends with 1.
    desk.ok(&["init", "--recipient", &desk.recipient]);
    weed.kill();
    desk.configure("[storage]\nmax_retries = 0\n[[replica]]\naddress = \"s3://backups/second\"\n");
    let missed = desk.run(&["backup", "--database", "erp"]);
    assert_eq!(missed.code, 1, "{}{}", missed.stdout, missed.stderr);
    assert!(missed.stdout.contains("MISSED: s3://backups/second"), "{}", missed.stdout);
    weed.restart();
    let healed = desk.ok(&["repair"]);
    assert!(healed.contains("missing at s3://backups/second"), "{healed}");
    assert!(desk.ok(&["repair", "--dry-run"]).contains("nothing to do"));
}

#[test]
fn old_backups_go_and_held_ones_stay() {
    let (desk, _server) = Desk::with_server(15);
    let take = |more: &[&str]| {
        let taken = desk.json(&[&["backup", "--database", "erp", "--scope", "schema"], more].concat());
        taken["result"]["id"].as_str().unwrap().to_owned()
    };
    let held = take(&["--hold", "audit of 2026"]);
    let (old, new) = (take(&[]), take(&["--codec", "gzip:1"]));
    let keep_one = ["prune", "--keep-daily", "0", "--keep-weekly", "0", "--keep-monthly", "0", "--keep-last", "1"];
    let plan = desk.ok(&[&keep_one[..], &["--dry-run"]].concat());
    assert!(plan.contains("on hold") && plan.contains("REMOVE"), "{plan}");
    assert!(desk.ok(&["list"]).contains(&old), "a dry run removes nothing");
    desk.ok(&keep_one);
    let left = desk.ok(&["list"]);
    assert!(left.contains(&held) && left.contains(&new) && !left.contains(&old), "{left}");
    desk.ok(&["hold", "remove", &held]);
    desk.ok(&keep_one);
    assert!(!desk.ok(&["list"]).contains(&held));
    let shown = desk.ok(&["show"]);
    assert!(shown.contains("schema scope") && shown.contains("database erp"), "{shown}");
    for folder in ["repository/dumps", "repository/backups"] {
        assert!(!files(&desk.path(folder)).iter().any(|path| path.to_string_lossy().contains(&old)), "{folder}");
    }
}

#[test]
fn a_host_without_secrets_backs_up_what_it_cannot_read() {
    let (desk, _server) = Desk::with_server(18);
    std::fs::rename(desk.path("key.txt"), desk.path("vault.txt")).unwrap();
    std::fs::write(desk.path("erpgo-dr.toml"), format!("repository = \"{}\"\n", desk.path("repository").display()))
        .unwrap();
    let taken = desk.json(&["backup", "--database", "erp", "--recipient", &desk.recipient]);
    assert_eq!(taken["result"]["verdict"]["passed"], true, "{taken}");
    assert!(desk.ok(&["list"]).contains("(locked)"));
    assert_eq!(desk.run(&["show"]).code, 6);
    assert!(desk.ok(&["verify", "--level", "scrub", "--all"]).contains("(scrub): ok"));
    let shown = desk.ok(&["show", "--identity", "vault.txt"]);
    assert!(shown.contains("erp.customers"), "{shown}");
}

#[test]
fn archived_data_is_thawed_before_it_is_read() {
    let aws = Ministack::start();
    aws.create_bucket("cold");
    let (mut desk, _server) = Desk::with_server(17);
    for (name, value) in [
        ("AWS_ENDPOINT_URL", aws.endpoint().as_str()),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("ERPGO_DR_REPOSITORY", "s3://cold/erp"),
    ] {
        desk.set(name, value);
    }
    desk.ok(&["init", "--recipient", &desk.recipient]);
    let backup = ["backup", "--database", "erp", "--scope", "schema", "--storage-class", "GLACIER", "--no-verify"];
    desk.ok(&backup);
    desk.fails(&["restore", "latest", "--target-database", "cold"], 8, "archived", "erpgo-dr thaw");
    let asked = desk.json(&["thaw", "latest", "--days", "2"]);
    let keys: Vec<&String> = asked["result"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["id", "ongoing", "readable"], "{asked}");
    assert!(asked["result"]["ongoing"].as_u64().unwrap() > 0, "{asked}");
    let started = std::time::Instant::now();
    while !desk.ok(&["thaw", "latest"]).contains("can be read\n") {
        assert!(started.elapsed().as_secs() < 30, "the thaw does not end");
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    desk.ok(&["restore", "latest", "--target-database", "cold"]);
}
