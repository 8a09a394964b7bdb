//! Arbitrary bytes as a file of the old scripts: layers are peeled and contents told, without a panic or an endless read.

#![no_main]

use bytes::Bytes;
use erpgo_dr_core::ops::legacy::{LegacyOptions, LegacyReader, sniff};
use erpgo_dr_fuzz::{LIMIT, block_on};
use futures::stream;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|stored: &[u8]| {
    let sniffed = sniff(stored);
    block_on(async {
        let pieces = [Ok::<_, std::io::Error>(Bytes::copy_from_slice(stored))];
        let Ok(mut reader) = LegacyReader::open(stream::iter(pieces), LegacyOptions::default()).await else { return };
        assert!(sniffed.is_some(), "opened what nobody knows");
        let mut read = 0;
        while let Ok(Some(piece)) = reader.next().await {
            read += piece.len();
            if read > LIMIT {
                break;
            }
        }
    });
});
