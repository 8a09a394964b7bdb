//! Arbitrary bytes as what is in a slot, as an age file and as an identity file.

#![no_main]

use std::sync::LazyLock;

use erpgo_dr_core::crypto::keys::{Identities, Recipient, Unlocker, parse_payload, slot_kind};
use erpgo_dr_core::types::EpochId;
use erpgo_dr_fuzz::block_on;
use libfuzzer_sys::fuzz_target;

/// Made for this target: it opens nothing else.
const IDENTITY: &str = include_str!("../seeds/identity.txt");

static UNLOCKER: LazyLock<Unlocker> = LazyLock::new(|| {
    let identities = block_on(Identities::parse(IDENTITY.as_bytes().to_vec().into(), None));
    Unlocker::Identities(identities.expect("an identity"))
});

static EPOCH: LazyLock<EpochId> =
    LazyLock::new(|| include_str!("../seeds/epoch.txt").trim().parse().expect("an epoch"));

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, text) = input;
    match choice % 4 {
        0 => drop(parse_payload(text)),
        1 => {
            let kind = slot_kind(text);
            let opened = block_on(UNLOCKER.unwrap(&EPOCH, text));
            assert!(kind.is_ok() || opened.is_err(), "opened what is no age file");
        }
        2 => drop(block_on(Identities::parse(text.to_vec().into(), None))),
        _ => drop(str::from_utf8(text).map(Recipient::parse_list)),
    }
});
