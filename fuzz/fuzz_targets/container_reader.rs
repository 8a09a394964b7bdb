//! Arbitrary bytes as a container, beginning from the known ones: never a panic, and all readers agree.

#![no_main]

use erpgo_dr_core::container::{ObjectIdentity, ObjectKind};
use erpgo_dr_fuzz::{read_all_ways, vector_key};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stored: &[u8]| {
    // Expect what the header says it is: a wrong identity would end every input at once.
    let kind = stored.get(12).and_then(|&code| ObjectKind::from_code(code)).unwrap_or(ObjectKind::File);
    let name_len = stored.get(81).map_or(0, |&len| usize::from(len));
    let name = stored.get(82..82 + name_len).and_then(|name| str::from_utf8(name).ok()).unwrap_or_default();
    let number = name.bytes().last().map_or(0, |digit| digit.wrapping_sub(b'0'));
    read_all_ways(stored, 1000, &ObjectIdentity::new(kind, name), &vector_key(number));
});
