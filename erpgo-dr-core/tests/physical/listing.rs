//! What is listed, beside what pg_basebackup copies of the same server.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use erpgo_dr_core::postgres::physical::{ClusterEntryKind, ClusterListing, RelationFile};
use erpgo_dr_testkit::postgres::MAJORS;

use super::support::*;

/// What pg_basebackup adds of its own, or copies last.
const ADDED: [&str; 4] = ["backup_label", "backup_manifest", "tablespace_map", "global/pg_control"];

/// Paths, and the lengths of those that are files of relations.
type Paths = BTreeMap<String, Option<u64>>;

/// Paths below a folder, links followed; with the length of relations, which stand still in this test.
fn walk(root: &Path, folder: &str, found: &mut Paths) {
    for entry in fs::read_dir(root.join(folder)).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if ADDED.contains(&path.as_str()) {
            continue;
        }
        let metadata = fs::metadata(root.join(&path)).unwrap();
        found.insert(path.clone(), RelationFile::parse(&path).map(|_| metadata.len()));
        if metadata.is_dir() {
            walk(root, &path, found);
        }
    }
}

#[tokio::test]
async fn the_listing_is_what_pg_basebackup_copies() {
    for major in MAJORS {
        let server = with_checksums(major);
        let (space, copied_space) = (folder_for(&server, "space"), server.socket_dir().join("copied-space"));
        server.psql("postgres", &format!("CREATE TABLESPACE elsewhere LOCATION '{}'", space.display()));
        server.create_sample("erp", 1);
        server.psql(
            "erp",
            "CREATE UNLOGGED TABLE fleeting AS SELECT generate_series(1, 1000) AS n;
             CREATE INDEX ON fleeting (n);
             CREATE UNLOGGED TABLE fleeting_elsewhere (n int PRIMARY KEY USING INDEX TABLESPACE elsewhere) TABLESPACE elsewhere;
             CREATE TABLE moved TABLESPACE elsewhere AS SELECT generate_series(1, 10000) AS n;",
        );
        server.psql("postgres", "SELECT pg_create_physical_replication_slot('left_out', true)");
        let held = settings(&server).database("erp").connect().await.unwrap();
        held.batch_execute("CREATE TEMP TABLE passing AS SELECT generate_series(1, 1000) AS n").await.unwrap();
        held.batch_execute("CREATE TEMP TABLE passing_elsewhere (n int) TABLESPACE elsewhere").await.unwrap();
        server.psql("postgres", "CHECKPOINT");
        let session = begin(&server).await;
        let listing = ClusterListing::read(&server.data_dir(), &session.facts().version_folder).unwrap();
        drop(session);
        let mapping = format!("{}={}", space.display(), copied_space.display());
        let copy = server.socket_dir().join("copy");
        run(server
            .client("pg_basebackup")
            .args(["-X", "none", "-c", "fast", "--no-sync", "-T", &mapping, "-D"])
            .arg(&copy));
        let mut theirs = Paths::new();
        walk(&copy, "", &mut theirs);
        let ours: Paths = listing
            .entries
            .iter()
            .map(|entry| {
                let length = match entry.kind {
                    ClusterEntryKind::File { size, .. } => RelationFile::parse(&entry.path).map(|_| size),
                    _ => None,
                };
                (entry.path.to_string(), length)
            })
            .collect();
        let only = |a: &Paths, b: &Paths| -> Vec<String> {
            a.iter().filter(|(path, length)| b.get(*path) != Some(*length)).map(|(path, _)| path.clone()).collect()
        };
        assert_eq!((only(&ours, &theirs), only(&theirs, &ours)), (vec![], vec![]), "{major}: ours, then theirs");
        assert!(ours.keys().any(|path| path.starts_with("pg_tblspc/") && RelationFile::parse(path).is_some()));
        let on_disk = run(std::process::Command::new("find").arg(server.data_dir()).args(["-name", "t[0-9]*_*"]));
        assert!(!on_disk.is_empty(), "there is no temporary relation to leave out");
        let mode = fs::metadata(server.data_dir().join("PG_VERSION")).unwrap();
        let entry = listing.entries.iter().find(|entry| &*entry.path == "PG_VERSION").unwrap();
        assert_eq!(entry.mode, std::os::unix::fs::MetadataExt::mode(&mode) & 0o7777);
        drop(held);
    }
}
