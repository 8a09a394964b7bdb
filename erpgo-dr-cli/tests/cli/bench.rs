//! The throughput of this machine: each row is there, and each figure was measured.

use crate::support::Desk;

const ROWS: [&str; 16] = [
    "aes-256-cbc-hmac-sha256 seal",
    "aes-256-cbc-hmac-sha256 open",
    "zstd:1 compress",
    "zstd:1 decompress",
    "zstd:3 compress",
    "zstd:3 decompress",
    "zstd:9 compress",
    "zstd:9 decompress",
    "gzip:1 compress",
    "gzip:1 decompress",
    "gzip:6 compress",
    "gzip:6 decompress",
    "container none write",
    "container none read",
    "container zstd:3 write",
    "container zstd:3 read",
];

#[test]
fn every_row_has_its_figures() {
    let desk = Desk::new();
    let text = desk.ok(&["bench", "--seconds", "0.05", "--bytes", "16k,100000", "--thread-counts", "1"]);
    assert!(text.contains("16384 bytes  100000 bytes") && text.contains("1000s of bytes per second"), "{text}");
    for row in ROWS {
        let line = text.lines().find(|line| line.starts_with(row)).unwrap_or_else(|| panic!("no {row} in {text}"));
        let figures: Vec<&str> = line[row.len()..].split_whitespace().collect();
        assert_eq!((figures.len(), figures[0]), (3, "1"), "{line}");
        for figure in &figures[1..] {
            let thousands: f64 = figure.strip_suffix('k').unwrap().parse().unwrap();
            assert!(thousands > 100.0, "{line}");
        }
    }
}

#[test]
fn rows_threads_and_sizes_can_be_chosen() {
    let desk = Desk::new();
    let document = desk.json(&[
        "bench",
        "--seconds",
        "0.01",
        "--bytes",
        "4k",
        "--thread-counts",
        "1,2",
        "--algorithm",
        "gzip,aes-256-cbc-hmac-sha256",
    ]);
    let rows = document["result"]["rows"].as_array().unwrap();
    let named = |row: &serde_json::Value| format!("{} {}", row["name"].as_str().unwrap(), row["threads"]);
    let names: Vec<String> = rows.iter().map(named).collect();
    let kinds = [&ROWS[..2], &ROWS[8..12]].concat();
    let expected: Vec<String> =
        [1, 2].iter().flat_map(|threads| kinds.iter().map(move |kind| format!("{kind} {threads}"))).collect();
    assert_eq!(names, expected);
    assert!(rows.iter().all(|row| row["figures"][0]["bytes_per_second"].as_f64().unwrap() > 1.0e5), "{document}");
    assert_eq!(desk.run(&["bench", "--bytes", "3"]).code, 2);
    assert_eq!(desk.run(&["bench", "--seconds", "0"]).code, 2);
}
