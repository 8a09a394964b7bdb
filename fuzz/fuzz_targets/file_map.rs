//! Arbitrary text as lines of a file map: what is accepted is written as it was read, and its size is a number.

#![no_main]

use erpgo_dr_core::repository::{FileKind, FileRecord};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    for line in text.split(|byte| *byte == b'\n') {
        let Ok(record) = serde_json::from_slice::<FileRecord>(line) else { continue };
        let written = serde_json::to_vec(&record).expect("what was read can be written");
        assert_eq!(serde_json::from_slice::<FileRecord>(&written).expect("what was written can be read"), record);
        let FileKind::File { extents, .. } = &record.kind else {
            assert_eq!(record.size(), 0);
            continue;
        };
        assert!(extents.iter().all(|extent| extent.length() <= record.size()));
    }
});
