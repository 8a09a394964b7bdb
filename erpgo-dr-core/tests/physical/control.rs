//! The control file as PostgreSQL's own tool reads it.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use erpgo_dr_core::postgres::physical::{ClusterState, ControlFile};
use erpgo_dr_testkit::postgres::{MAJORS, PgServerOptions};

use super::support::*;

#[test]
fn every_field_is_what_pg_controldata_says() {
    for major in MAJORS {
        let mut server = PgServerOptions::new(major).start();
        server.create_sample("erp", 1);
        server.stop();
        let text = run(Command::new(server.bin().join("pg_controldata")).arg(server.data_dir()));
        let says = |label: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(label)?.strip_prefix(':'));
            line.unwrap_or_else(|| panic!("no {label} in {text}")).trim().to_owned()
        };
        let control = ControlFile::read(&server.data_dir()).unwrap().control;
        assert_eq!(control.system_identifier.to_string(), says("Database system identifier"));
        assert_eq!(control.version.to_string(), says("pg_control version number"));
        assert_eq!(control.catalog_version.to_string(), says("Catalog version number"));
        assert_eq!((control.state, says("Database cluster state").as_str()), (ClusterState::ShutDown, "shut down"));
        assert_eq!(control.checkpoint.to_string(), says("Latest checkpoint location"));
        assert_eq!(control.redo.to_string(), says("Latest checkpoint's REDO location"));
        assert_eq!(control.timeline.to_string(), says("Latest checkpoint's TimeLineID"));
        assert_eq!(control.min_recovery_point.to_string(), says("Minimum recovery ending location"));
        assert_eq!(control.min_recovery_timeline, None);
        assert_eq!(control.block_size.to_string(), says("Database block size"));
        assert_eq!(control.blocks_per_segment.to_string(), says("Blocks per segment of large relation"));
        assert_eq!(control.wal_segment_size.bytes().to_string(), says("Bytes per WAL segment"));
        assert_eq!(control.data_checksum_version.to_string(), says("Data page checksum version"));
    }
}

#[test]
fn it_is_read_whole_while_the_server_writes_it() {
    let server = PgServerOptions::new(17).start();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            server.psql("postgres", &"CREATE TABLE t (); DROP TABLE t; CHECKPOINT;\n".repeat(100));
            done.store(true, Ordering::SeqCst);
        });
        let mut positions = std::collections::BTreeSet::new();
        while !done.load(Ordering::SeqCst) && !writer.is_finished() {
            positions.insert(ControlFile::read(&server.data_dir()).unwrap().control.checkpoint);
        }
        writer.join().unwrap();
        assert!(positions.len() > 1, "the file never changed: {positions:?}");
    });
}
