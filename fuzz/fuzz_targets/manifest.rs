//! Arbitrary bytes as a manifest: what is accepted is written as it was read.

#![no_main]

use erpgo_dr_core::repository::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let Ok(manifest) = serde_json::from_slice::<Manifest>(text) else { return };
    let written = serde_json::to_vec(&manifest).expect("what was read can be written");
    let again: Manifest = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(serde_json::to_vec(&again).expect("as before"), written);
});
