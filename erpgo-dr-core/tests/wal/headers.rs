//! Headers and histories of every version, as its server writes them.

use erpgo_dr_core::ops::wal::wal_cluster_around;
use erpgo_dr_core::postgres::wal::{SegmentHeader, TimelineHistory};
use erpgo_dr_core::types::{TimelineId, WalFileName, WalSegmentName};
use erpgo_dr_testkit::postgres::{MAJORS, PgServer};
use proptest::prelude::*;

use super::support::{name_of, segments};

#[test]
fn a_segment_says_what_the_server_says() {
    for major in MAJORS {
        let server = PgServer::start(major);
        let folder = tempfile::tempdir().unwrap();
        let identifier: u64 =
            server.psql("postgres", "SELECT system_identifier FROM pg_control_system()").parse().unwrap();
        for path in segments(&server, folder.path(), 2) {
            let bytes = std::fs::read(&path).unwrap();
            let name: WalSegmentName = name_of(&path).parse().unwrap();
            let header = SegmentHeader::parse("it", &bytes).unwrap();
            assert_eq!((header.major, header.system_identifier), (major, identifier));
            assert_eq!(header.segment_size.bytes(), bytes.len() as u64);
            header.check(name, Some(identifier)).unwrap();
            header.check_length(name, bytes.len() as u64).unwrap();
            assert!(header.check(name.next(header.segment_size).unwrap(), None).is_err());
        }
        assert_eq!(wal_cluster_around(&folder.path().join("pg_wal/RECOVERYXLOG")), Some(identifier));
        assert_eq!(wal_cluster_around(&folder.path().join("RECOVERYXLOG")), None);
    }
}

#[test]
fn a_promotion_writes_a_history_that_is_read() {
    for major in MAJORS {
        let mut server = PgServer::start(major);
        server.psql("postgres", "CREATE TABLE t (n int)");
        server.stop();
        // Recovery without an archive ends at once, on a timeline of its own.
        let conf = server.data_dir().join("postgresql.auto.conf");
        std::fs::write(&conf, "restore_command = 'false'\n").unwrap();
        std::fs::write(server.data_dir().join("recovery.signal"), "").unwrap();
        erpgo_dr_testkit::postgres::give_to_postgres(&server.data_dir().join("recovery.signal"));
        server.restart();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while server.psql("postgres", "SELECT pg_is_in_recovery()") == "t" {
            assert!(std::time::Instant::now() < deadline, "{}", server.log());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let history = std::fs::read(server.data_dir().join("pg_wal/00000002.history")).unwrap();
        let WalFileName::History(timeline) = "00000002.history".parse().unwrap() else { unreachable!() };
        let history = TimelineHistory::parse(timeline, &history).unwrap();
        let parent = history.parent().unwrap();
        assert_eq!(parent.timeline, TimelineId::FIRST);
        // The segment with which the timeline begins is a copy, and says so.
        let first = server.psql("postgres", "SELECT pg_walfile_name(pg_current_wal_lsn())");
        let bytes = std::fs::read(server.data_dir().join("pg_wal").join(&first)).unwrap();
        let header = SegmentHeader::parse("it", &bytes).unwrap();
        header.check(first.parse().unwrap(), None).unwrap();
        assert!(first.starts_with("00000002"), "{first}");
    }
}

proptest! {
    /// Whatever lies in a file, reading it gives an answer or an error.
    #[test]
    fn hostile_bytes_are_an_error_at_worst(bytes in proptest::collection::vec(any::<u8>(), 0..200), magic in 0xD100_u16..0xD120) {
        let mut begin = bytes.clone();
        if begin.len() > 2 {
            begin[..2].copy_from_slice(&magic.to_le_bytes());
        }
        for bytes in [&bytes, &begin] {
            if let Ok(header) = SegmentHeader::parse("it", bytes) {
                let name: WalSegmentName = "000000010000000000000003".parse().unwrap();
                let _ = header.check(name, Some(1)).and_then(|()| header.check_length(name, 0));
            }
            let _ = TimelineHistory::parse(TimelineId::new(9).unwrap(), bytes);
        }
    }

    #[test]
    fn a_history_that_is_read_rises(text in "([0-9]{1,2}\t[0-9A-F]{1,3}/[0-9A-F]{1,8}\t?[a-z# ]{0,8}\n|#x\n|\n){0,6}") {
        if let Ok(history) = TimelineHistory::parse(TimelineId::new(50).unwrap(), text.as_bytes()) {
            prop_assert!(history.ancestors.is_sorted_by(|a, b| a.timeline < b.timeline && a.position <= b.position));
            prop_assert!(history.parent().unwrap().timeline.get() < 50);
        }
    }
}
