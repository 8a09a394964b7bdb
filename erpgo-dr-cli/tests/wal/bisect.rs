//! The transaction that broke the data is found by its number, over restore points and within the log.

use std::sync::atomic::{AtomicBool, Ordering};

use erpgo_dr_testkit::postgres::{PgServer, PgServerOptions, postgres_bin};
use serde_json::Value;

use crate::support::{Site, standby_of, start_on, wait_until_archived};

/// What is right as long as nobody makes money.
const CHECK: &str = "SELECT sum(amount) = 10000 FROM account";

const SCHEMA: &str = "
    CREATE TABLE account (id int PRIMARY KEY, amount int NOT NULL); INSERT INTO account SELECT n, 100 FROM generate_series(1, 100) AS n;
    CREATE TABLE transfer (at timestamptz DEFAULT clock_timestamp(), source int, target int)";

/// One of many transactions that keep the sum.
const TRANSFER: &str = "
    BEGIN; UPDATE account SET amount = amount - 1 WHERE id = 1 + :n % 50; UPDATE account SET amount = amount + 1 WHERE id = 51 + :n % 50;
    INSERT INTO transfer (source, target) VALUES (1 + :n % 50, 51 + :n % 50); COMMIT;";

fn back_up(site: &Site, server: &PgServer) -> String {
    let backup = site.json(&["-d", &server.url("postgres"), "cluster", "backup"]);
    backup["result"]["id"].as_str().unwrap_or_else(|| panic!("{backup}")).to_owned()
}

fn transfers(server: &PgServer, count: u32) {
    let sql: String = (0..count).map(|n| TRANSFER.replace(":n", &n.to_string())).collect();
    server.psql("postgres", &sql);
}

/// Makes money, and returns the transaction's number.
fn break_it(server: &PgServer) -> u64 {
    let sql = "BEGIN; UPDATE account SET amount = amount + 7 WHERE id = 33; SELECT pg_current_xact_id(); COMMIT";
    server.psql("postgres", sql).parse().unwrap()
}

/// Waits until all is archived, also where the last thing was a backup.
fn settle(server: &PgServer) {
    server.psql("postgres", "SELECT pg_logical_emit_message(false, 'test', 'x')");
    wait_until_archived(server);
}

fn bisect(site: &Site, major: u32, more: &[&str]) -> Value {
    let (bin, scratch) = (postgres_bin(major).display().to_string(), site.path("s").display().to_string());
    let plain = ["--bin-dir", &bin, "bisect", "--database", "postgres", "--scratch", &scratch];
    let found = site.json(&[&plain[..], more].concat());
    let left = std::fs::read_dir(&scratch).map_or(0, |entries| entries.count());
    assert_eq!(left, 0, "the copy is removed, whatever came of it: {found}");
    found
}

/// Brings back what the report says, and returns what the sum is there, and how many transfers.
fn brought_back(site: &Site, major: u32, result: &Value) -> String {
    let command = result["command"].as_str().unwrap_or_else(|| panic!("{result}"));
    let data = site.path("back").display().to_string();
    let words: Vec<&str> = command.split(' ').skip(1).map(|word| if word == "FOLDER" { &data } else { word }).collect();
    let words: Vec<&str> = words.into_iter().filter(|word| *word != "--start").collect();
    let restored = site.json(&words);
    assert_eq!(restored["ok"], true, "{restored}");
    let server = start_on(&site.path("back"), major);
    server.psql("postgres", "SELECT sum(amount) FROM account")
}

#[test]
fn over_ten_restore_points_the_very_transaction_is_named() {
    let site = Site::new();
    let server = site.archiving_server(17, "");
    server.psql("postgres", SCHEMA);
    let stop = AtomicBool::new(false);
    let (mut points, mut broken) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        // Others write all the time, on connections of their own.
        for writer in 0..2 {
            let (server, stop) = (&server, &stop);
            scope.spawn(move || {
                let mut n = writer;
                while !stop.load(Ordering::Relaxed) {
                    let sql: String = (n..n + 10).map(|n| TRANSFER.replace(":n", &n.to_string())).collect();
                    server.psql("postgres", &sql);
                    n += 10;
                }
            });
        }
        for point in 0..10 {
            points.push(back_up(&site, &server));
            if point == 6 {
                transfers(&server, 50);
                broken = break_it(&server);
                transfers(&server, 50);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(server.psql("postgres", CHECK), "f");
    settle(&server);
    let plan = bisect(&site, 17, &["--check", CHECK, "--dry-run"]);
    let plan = &plan["result"];
    assert_eq!((plan["points"].as_array().unwrap().len(), &plan["most_restores"]), (10, &4.into()), "{plan}");
    assert!(plan["free_bytes"].as_u64().unwrap() > 0 && plan["needed_bytes"].as_u64().unwrap() > 1 << 20, "{plan}");

    let found = bisect(&site, 17, &["--check", CHECK]);
    let result = &found["result"];
    assert_eq!((&found["ok"], &result["outcome"]), (&true.into(), &"transaction".into()), "{found}");
    assert_eq!(result["transaction"]["transaction"].as_u64(), Some(broken), "{found}");
    assert_eq!(
        (result["good"]["backup"].as_str(), result["bad"]["backup"].as_str()),
        (Some(points[6].as_str()), Some(points[7].as_str()))
    );
    let (commits, probes) = (result["commits"].as_u64().unwrap(), result["probes"].as_array().unwrap());
    assert!(commits > 100 && probes.len() as u64 <= 4 + u64::from(commits.ilog2()) + 1, "{commits}: {found}");
    assert!(result["message"].as_str().unwrap().contains(&format!("transaction {broken}, committed at ")), "{found}");
    assert_eq!(brought_back(&site, 17, result), "10000");
}

#[test]
fn behind_the_newest_restore_point_the_log_is_searched_to_its_end_on_15() {
    search_to_the_end(15);
}

#[test]
fn behind_the_newest_restore_point_the_log_is_searched_to_its_end_on_18() {
    search_to_the_end(18);
}

fn search_to_the_end(major: u32) {
    let site = Site::new();
    let server = site.archiving_server(major, "");
    back_up(&site, &server);
    // The table is not there in this one, and the check has no answer.
    server.psql("postgres", SCHEMA);
    transfers(&server, 2);
    let refused = bisect(&site, major, &["--check", CHECK]);
    assert_eq!((&refused["error"]["kind"], &refused["ok"]), (&"invalid".into(), &false.into()), "{refused}");
    let hint = refused["error"]["hint"].as_str().unwrap_or_default().to_owned();
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("account") && (message.contains("missing") || hint.contains("--missing")), "{refused}");

    let broken = break_it(&server);
    transfers(&server, 4);
    settle(&server);
    let found = bisect(&site, major, &["--check", CHECK, "--missing", "good"]);
    let result = &found["result"];
    assert_eq!(result["transaction"]["transaction"].as_u64(), Some(broken), "{major}: {found}");
    assert_eq!((&result["bad"], &result["transaction"]["timeline"]), (&Value::Null, &1.into()), "{found}");
    assert_eq!(brought_back(&site, major, result), "10000", "{major}");

    let points = bisect(&site, major, &["--check", CHECK, "--missing", "good", "--no-archive"]);
    assert_eq!(points["result"]["outcome"], "between", "{points}");
    let never = bisect(&site, major, &["--check", "SELECT true"]);
    assert_eq!((&never["ok"], &never["result"]["outcome"]), (&false.into(), &"never-bad".into()), "{never}");
    let never = bisect(&site, major, &["--check", "SELECT false"]);
    assert_eq!((&never["ok"], &never["result"]["outcome"]), (&false.into(), &"never-good".into()), "{never}");
}

#[test]
fn of_a_prepared_transaction_the_first_number_is_named_and_the_search_goes_on_behind_a_promotion() {
    let site = Site::new();
    let command = site.shell("wal push %p");
    let server = PgServerOptions::new(17)
        .setting("archive_mode", "on")
        .setting("archive_command", &command)
        .setting("max_prepared_transactions", "5")
        .start();
    server.psql("postgres", SCHEMA);
    let first = back_up(&site, &server);
    transfers(&server, 3);
    settle(&server);
    let mut standby = standby_of(&site, &server, &[]);
    drop(server);
    let conf = standby.data_dir().join("postgresql.auto.conf");
    let text = std::fs::read_to_string(&conf).unwrap();
    let more = format!("archive_mode = 'on'\narchive_command = '{command}'\nmax_prepared_transactions = 5\n");
    std::fs::write(&conf, text + &more).unwrap();
    standby.restart();
    assert_eq!(standby.psql("postgres", "SELECT pg_promote()"), "t");
    transfers(&standby, 3);
    let prepared = "BEGIN; UPDATE account SET amount = amount + 7 WHERE id = 33; SELECT pg_current_xact_id(); PREPARE TRANSACTION 'two'";
    let broken: u64 = standby.psql("postgres", prepared).parse().unwrap();
    transfers(&standby, 3);
    standby.psql("postgres", "COMMIT PREPARED 'two'");
    transfers(&standby, 3);
    let last = back_up(&site, &standby);
    settle(&standby);
    let found = bisect(&site, 17, &["--check", CHECK]);
    let result = &found["result"];
    assert_eq!(result["transaction"]["transaction"].as_u64(), Some(broken), "{found}");
    assert_eq!(result["transaction"]["timeline"], 2, "{found}");
    assert_eq!((&result["good"]["backup"], &result["bad"]["backup"]), (&first.into(), &last.into()), "{found}");
    assert_eq!(brought_back(&site, 17, result), "10000");
}

#[test]
fn what_no_transaction_broke_is_told_apart() {
    let site = Site::new();
    let mut server = site.archiving_server(17, "");
    server.psql(
        "postgres",
        &format!("{SCHEMA}; CREATE TABLE fact (t text); INSERT INTO fact VALUES ('right, as it was'); CHECKPOINT"),
    );
    back_up(&site, &server);
    transfers(&server, 5);
    settle(&server);
    let path = server.data_dir().join(server.psql("postgres", "SELECT pg_relation_filepath('fact')"));
    server.stop();
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(5).position(|window| window == b"right").unwrap();
    bytes[at..at + 5].copy_from_slice(b"wrong");
    std::fs::write(&path, bytes).unwrap();
    server.restart();
    transfers(&server, 5);
    let bad = back_up(&site, &server);
    settle(&server);
    let found = bisect(&site, 17, &["--check", "SELECT t LIKE 'right%' FROM fact"]);
    let result = &found["result"];
    assert_eq!((&found["ok"], &result["outcome"]), (&true.into(), &"not-in-log".into()), "{found}");
    assert_eq!(
        (result["bad"]["backup"].as_str(), &result["transaction"]),
        (Some(bad.as_str()), &Value::Null),
        "{found}"
    );
    assert_eq!(brought_back(&site, 17, result), "10000");
}

#[test]
fn where_the_log_has_a_gap_the_two_ends_are_named() {
    let site = Site::new();
    let server = site.archiving_server(18, "");
    server.psql("postgres", SCHEMA);
    back_up(&site, &server);
    transfers(&server, 5);
    settle(&server);
    break_it(&server);
    let gone = server.psql("postgres", "SELECT pg_walfile_name(pg_current_wal_lsn())");
    settle(&server);
    back_up(&site, &server);
    settle(&server);
    let removed = remove_segment(&site.path("repository"), &gone);
    assert_eq!(removed, 1, "{gone}");
    let found = bisect(&site, 18, &["--check", CHECK]);
    let result = &found["result"];
    assert_eq!((&result["outcome"], &result["transaction"]), (&"between".into(), &Value::Null), "{found}");
    assert!(result["message"].as_str().unwrap().contains(&format!("{gone} is not in the archive")), "{found}");
    assert!(result["last_good"]["transaction"].is_u64(), "{found}");
    let command = result["command"].as_str().unwrap();
    assert!(command.ends_with("--data-dir FOLDER --start --server-setting recovery_prefetch=off"), "{command}");
    // The server must not read ahead into the gap.
    let (data, sockets) =
        (site.path("back").display().to_string(), format!("unix_socket_directories={}", site.path("").display()));
    let words = command.split(' ').skip(1).map(|word| if word == "FOLDER" { data.as_str() } else { word });
    let bin = postgres_bin(18).display().to_string();
    let private = [
        "--server-setting",
        "listen_addresses=",
        "--server-setting",
        &sockets,
        "--action",
        "shutdown",
        "--bin-dir",
        &bin,
    ];
    let restored = site.json(&words.chain(private).collect::<Vec<_>>());
    assert_eq!(restored["result"]["started"]["state"], "shut-down", "{restored}");
}

/// Removes the objects of this name, and returns how many there were.
fn remove_segment(folder: &std::path::Path, name: &str) -> usize {
    let mut removed = 0;
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_dir() {
            removed += remove_segment(&entry.path(), name);
        } else if entry.file_name().to_string_lossy().contains(name) {
            std::fs::remove_file(entry.path()).unwrap();
            removed += 1;
        }
    }
    removed
}
