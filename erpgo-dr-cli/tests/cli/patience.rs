//! A place or a server that falls silent in the middle: the doctor waits for no answer longer than it was told.

use std::time::{Duration, Instant};

use erpgo_dr_testkit::fault_proxy::{Direction, Fault};
use erpgo_dr_testkit::{FaultProxy, SeaweedFs};

use crate::support::Desk;

/// No check may take longer than a second, and there are fewer than this many.
const CHECKS: u64 = 40;

/// Runs the doctor with a peer that is cut off after ever more bytes, and is silent from then on.
///
/// Returns which checks the silence hit.
fn silenced(desk: &Desk, proxy: &FaultProxy, cuts: u64) -> Vec<String> {
    let before = proxy.bytes(Direction::Down);
    let sound = desk.run(&["doctor", "--write"]);
    let whole = proxy.bytes(Direction::Down) - before;
    assert!(whole > 1000, "{}{}", sound.stdout, sound.stderr);
    let mut hit = Vec::new();
    for cut in 0..cuts {
        // The first time there is no answer at all.
        let bytes = whole * cut / cuts;
        proxy.set(match cut {
            0 => Fault::Blackhole,
            _ => Fault::CutAfter { direction: Direction::Down, bytes, then: Box::new(Fault::Blackhole) },
        });
        let started = Instant::now();
        let run = desk.run(&["doctor", "--write", "--timeout", "1", "--json"]);
        assert!(started.elapsed() < Duration::from_secs(CHECKS), "{bytes} of {whole}: {}", run.stdout);
        assert_eq!(run.code, 1, "{bytes} of {whole}: {}", run.stdout);
        let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        let late = |check: &&serde_json::Value| check["detail"].as_str().unwrap().contains("no answer within 1s");
        let names = document["result"]["checks"].as_array().unwrap().iter().filter(late);
        hit.extend(names.map(|check| check["name"].as_str().unwrap().to_owned()));
        proxy.heal();
        proxy.cut_now();
    }
    hit.sort();
    hit.dedup();
    hit
}

#[test]
fn a_place_that_falls_silent_stops_no_check_for_long() {
    let weed = SeaweedFs::start();
    weed.create_bucket("backups");
    let (mut desk, _server) = Desk::with_server(17);
    let proxy = FaultProxy::start(weed.port());
    desk.set("AWS_ACCESS_KEY_ID", SeaweedFs::ACCESS_KEY);
    desk.set("AWS_SECRET_ACCESS_KEY", SeaweedFs::SECRET_KEY);
    desk.set("AWS_ENDPOINT_URL", &proxy.url());
    desk.set("ERPGO_DR_REPOSITORY", "s3://backups/erp");
    desk.ok(&["init", "--recipient", &desk.recipient]);
    desk.ok(&["backup", "--database", "erp", "--scope", "schema"]);
    let hit = silenced(&desk, &proxy, 10);
    assert!(hit.contains(&"repository".to_owned()) && hit.len() >= 3, "{hit:?}");
}

#[test]
fn a_server_that_falls_silent_stops_no_check_for_long() {
    let (mut desk, server) = Desk::with_server(17);
    let proxy = FaultProxy::start(server.port());
    desk.set("ERPGO_DR_CONNECTION", &format!("host=127.0.0.1 port={} user=postgres dbname=erp", proxy.port()));
    let hit = silenced(&desk, &proxy, 8);
    assert!(hit.contains(&"server".to_owned()) && hit.len() >= 3, "{hit:?}");
}
