//! Arbitrary bytes as the beginning of a segment, and as the history of a timeline: never a panic, and what is accepted agrees with itself.

#![no_main]

use erpgo_dr_core::postgres::wal::{SegmentHeader, TimelineHistory};
use erpgo_dr_core::types::{TimelineId, WalSegmentName};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u32, &[u8])| {
    let (timeline, bytes) = input;
    if let Ok(header) = SegmentHeader::parse("it", bytes) {
        let name = WalSegmentName::containing(header.timeline, header.start, header.segment_size);
        let is_its_own = header.start.0 % header.segment_size.bytes() == 0;
        assert_eq!(header.check(name, Some(header.system_identifier)).is_ok(), is_its_own, "{header:?}");
        assert_eq!(name.to_string().parse(), Ok(name), "{header:?}");
        assert!(header.check_length(name, header.segment_size.bytes()).is_ok());
    }
    let Some(timeline) = TimelineId::new(timeline) else { return };
    if let Ok(history) = TimelineHistory::parse(timeline, bytes) {
        let rises =
            history.ancestors.is_sorted_by(|one, next| one.timeline < next.timeline && one.position <= next.position);
        assert!(rises && history.parent().is_some_and(|parent| parent.timeline < timeline), "{history:?}");
    }
});
