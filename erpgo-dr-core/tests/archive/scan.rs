//! What the scanner sees in a dump is what the server and pg_restore say of it.

use std::collections::BTreeMap;

use erpgo_dr_core::postgres::archive::{ArchiveContents, ArchiveScanner, Section, use_list};

use crate::support::{MAJORS, client_program, connect, dump, programs, scratch, server};

pub(crate) const ODD: &str = include_str!("odd.sql");

pub(crate) fn scan(archive: &[u8], piece: usize) -> ArchiveContents {
    let mut scanner = ArchiveScanner::new();
    for bytes in archive.chunks(piece) {
        scanner.update(bytes).unwrap();
    }
    scanner.finish().unwrap()
}

#[tokio::test]
async fn rows_and_contents_are_those_of_the_server() {
    for major in MAJORS {
        let scratch = scratch();
        let server = server(major, &scratch).await;
        let client = connect(&server, "postgres").await;
        client.batch_execute("create database odd").await.unwrap();
        drop(client);
        let client = connect(&server, "odd").await;
        client.batch_execute(ODD).await.unwrap();
        let many =
            "select format('create table many.t%s (id int primary key); insert into many.t%1$s values (%1$s)', n)
                    from generate_series(1, 3000) n";
        client.batch_execute("create schema many").await.unwrap();
        for row in client.query(many, &[]).await.unwrap() {
            client.batch_execute(row.get(0)).await.unwrap();
        }

        let archive = dump(major, &server, "odd", &["--compress=0"]).await;
        let contents = scan(&archive, 1 << 16);
        assert_eq!(contents.length, archive.len() as u64);
        assert_eq!(contents.head.database, "odd");
        assert!(contents.head.server_version.starts_with(&major.to_string()));
        for piece in [1, 7, 4096, archive.len()] {
            // One byte at a time through 30 MB of a single row shows nothing new.
            let (archive, expected) = (&archive, &contents);
            assert!(scan(archive, piece) == *expected, "pieces of {piece}");
        }

        let mut seen = BTreeMap::new();
        let mut objects = 0;
        for table in &contents.tables {
            match table.name.as_str() {
                "BLOBS" => objects += table.rows,
                _ => assert!(seen.insert((table.schema.clone(), table.name.clone()), table.rows).is_none()),
            }
        }
        let names = "select relname, c.oid::regclass::text, nspname from pg_class c
                     join pg_namespace n on n.oid = relnamespace where relkind = 'r' and nspname !~ '^(pg_|information)'";
        for row in client.query(names, &[]).await.unwrap() {
            let (table, name, schema): (String, String, String) = (row.get(1), row.get(0), row.get(2));
            let count: i64 = client.query_one(&format!("select count(*) from only {table}"), &[]).await.unwrap().get(0);
            assert_eq!(seen.remove(&(schema, name)), Some(count as u64), "{table}");
        }
        assert!(seen.is_empty(), "{seen:?}");
        let count: i64 = client.query_one("select count(*) from pg_largeobject_metadata", &[]).await.unwrap().get(0);
        assert_eq!(objects, count as u64);

        agrees_with_pg_restore(major, &archive, &contents, scratch.path());
        drop(client);
        server.stop().await.unwrap();
    }
}

/// Every line of `pg_restore --list` is the line that we write, and what it does not list is of no use there.
fn agrees_with_pg_restore(major: u32, archive: &[u8], contents: &ArchiveContents, folder: &std::path::Path) {
    let file = folder.join("dump");
    std::fs::write(&file, archive).unwrap();
    let output = client_program(&programs(major), "pg_restore").arg("--list").arg(&file).output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    let count = list.lines().find_map(|line| line.strip_prefix(";     TOC Entries: ")).unwrap();
    assert_eq!(count.parse::<usize>().unwrap(), contents.head.entries.len());

    let ours: BTreeMap<i32, _> = contents.head.entries.iter().map(|entry| (entry.dump_id, entry)).collect();
    let theirs: Vec<&str> = list.lines().filter(|line| !line.starts_with(';') && !line.is_empty()).collect();
    assert!(theirs.len() > 9000, "{}", theirs.len());
    for line in &theirs {
        let id: i32 = line.split(';').next().unwrap().parse().unwrap();
        assert_eq!(use_list([ours[&id]]).trim_end_matches('\n'), *line);
    }
    let hidden = contents.head.entries.len() - theirs.len();
    let special =
        contents.head.entries.iter().filter(|entry| {
            matches!(entry.description.as_str(), "ENCODING" | "STDSTRINGS" | "SEARCHPATH" | "DATABASE")
        });
    assert_eq!(hidden, special.count());
    assert!(contents.head.entries.iter().any(|entry| entry.section == Section::PostData));
}

#[tokio::test]
async fn equal_data_has_equal_fingerprints_and_a_changed_row_does_not() {
    let scratch = scratch();
    let server = server(17, &scratch).await;
    let client = connect(&server, "postgres").await;
    let rows = "insert into t select n, md5(n::text) from generate_series(1, 1000) n order by";
    let mut fingerprints = Vec::new();
    for statement in [
        format!("create table t (id int, v text); {rows} n"),
        format!("truncate t; {rows} -n"),
        "update t set v = 'x' where id = 500".to_owned(),
    ] {
        client.batch_execute(&statement).await.unwrap();
        let contents = scan(&dump(17, &server, "postgres", &["--compress=none"]).await, 1000);
        let table = contents.tables.into_iter().find(|table| table.name == "t").unwrap();
        assert_eq!(table.rows, 1000);
        fingerprints.push(table.checksum);
    }
    assert_eq!(fingerprints[0], fingerprints[1], "the order of rows does not count");
    assert_ne!(fingerprints[1], fingerprints[2]);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_dump_that_pg_dump_compressed_is_whole_or_not() {
    let scratch = scratch();
    let server = server(17, &scratch).await;
    let client = connect(&server, "postgres").await;
    client.batch_execute("create table t as select md5(n::text) from generate_series(1, 5000) n").await.unwrap();
    for method in ["gzip", "lz4", "zstd"] {
        let archive = dump(17, &server, "postgres", &["--compress", method]).await;
        let contents = scan(&archive, 1000);
        assert_eq!(format!("{:?}", contents.head.compression).to_lowercase(), method);
        assert_eq!((contents.tables[0].rows, contents.tables[0].checksum), (0, 0));
        let mut scanner = ArchiveScanner::new();
        scanner.update(&archive[..archive.len() - 1]).unwrap();
        assert!(scanner.finish().is_err());
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn dumps_of_each_scope_and_of_inserts_are_whole() {
    let scratch = scratch();
    let server = server(18, &scratch).await;
    let client = connect(&server, "postgres").await;
    client.batch_execute("create table t as select n, E'a\\nb' as v from generate_series(1, 50) n").await.unwrap();
    for (option, tables) in [("--schema-only", 0), ("--data-only", 1), ("--inserts", 1), ("--statistics", 1)] {
        let contents = scan(&dump(18, &server, "postgres", &["--compress=none", option]).await, 100);
        assert_eq!(contents.tables.len(), tables, "{option}");
    }
    // To a file pg_dump writes where the data lies into the table of contents.
    let file = scratch.path().join("dump");
    let piped = dump(18, &server, "postgres", &["--compress=none"]).await;
    dump(18, &server, "postgres", &["--compress=none", &format!("--file={}", file.display())]).await;
    let seekable = scan(&std::fs::read(file).unwrap(), 100);
    assert_eq!(seekable.tables, scan(&piped, 100).tables);
    server.stop().await.unwrap();
}
