//! Containers whose every MAC is good and whose contents are hostile: what a writer with the key could do at
//! worst. Never a panic, never more memory than the lengths that were checked allow, and all readers agree.

#![no_main]

use arbitrary::Arbitrary;
use erpgo_dr_core::codec::Codec;
use erpgo_dr_core::container::{ObjectIdentity, ObjectKind};
use erpgo_dr_core::crypto::{Aes256CbcHmac, Encryptor, EpochKey, ObjectBinding, SegmentCipher, SegmentRun};
use erpgo_dr_fuzz::{OneKey, Plain, read_all_ways, seek};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

const KEY: [u8; 32] = [7; 32];
const SEGMENT: usize = 1024;

#[derive(Debug, Arbitrary)]
enum Piece {
    /// A frame as a writer makes it.
    Good(Plain),
    /// A good frame that says another length.
    OtherLength(Plain, u32),
    /// A frame of bytes that no codec wrote.
    Garbage(Vec<u8>, u32),
    /// No frame at all.
    Bytes(Vec<u8>),
}

#[derive(Debug, Arbitrary)]
struct Forged {
    codec: u8,
    pieces: Vec<Piece>,
    /// Instead of the right index.
    index: Option<Vec<u8>>,
    /// Added to the trailer's fields.
    trailer: [i8; 6],
    range: (u32, u32),
}

fn layer(cipher: &dyn SegmentCipher, layer: u8, plain: &[u8], out: &mut Vec<u8>) -> u64 {
    let before = out.len();
    cipher.seal(SegmentRun { layer, first: 0, segment_len: SEGMENT, last: true }, plain, out);
    (out.len() - before) as u64
}

fn body(pieces: &[Piece], codec: Codec) -> (Vec<u8>, Vec<u8>, u64) {
    let (mut body, mut index, mut plaintext) = (Vec::new(), Vec::new(), 0u64);
    let mut frame = |stored: &[u8], raw: bool, plain_len: u32| {
        let word = stored.len() as u32 | if raw { 1 << 31 } else { 0 };
        let header = [word.to_le_bytes(), plain_len.to_le_bytes()].concat();
        body.extend_from_slice(&header);
        body.extend_from_slice(stored);
        index.extend_from_slice(&header);
        plaintext += u64::from(plain_len);
    };
    for piece in pieces {
        let (Piece::Good(Plain(plain)) | Piece::OtherLength(Plain(plain), _)) = piece else {
            match piece {
                Piece::Garbage(stored, plain_len) => frame(stored, false, *plain_len),
                Piece::Bytes(bytes) => frame(bytes, true, bytes.len() as u32),
                _ => unreachable!("matched above"),
            }
            continue;
        };
        let mut stored = Vec::new();
        codec.compress(plain, &mut stored).expect("it compresses");
        match piece {
            Piece::OtherLength(_, plain_len) => frame(&stored, false, *plain_len % 30_000),
            _ if stored.len() < plain.len() => frame(&stored, false, plain.len() as u32),
            _ => frame(plain, true, plain.len() as u32),
        }
    }
    (body, index, plaintext)
}

fuzz_target!(|forged: Forged| {
    let codec = Codec::from_code(forged.codec % 3).expect("built in");
    let mut stored = b"ERPGODR\x01\x01\0\x53\0\x06\x01".to_vec();
    stored.extend_from_slice(&[codec.code(), 0]);
    stored.extend_from_slice(&16_384u32.to_le_bytes());
    stored.extend_from_slice(&(SEGMENT as u32).to_le_bytes());
    stored.extend_from_slice(&[9; 32]);
    stored.extend_from_slice(b"20260102T030405Z-0badcafe\x01f");
    let binding = ObjectBinding { salt: [9; 32], context: Sha256::digest(&stored).into() };
    let cipher = Aes256CbcHmac::new().for_object(&EpochKey::from_bytes(KEY), &binding);
    stored.extend_from_slice(&cipher.tag(b"header", &stored));

    let (body, right_index, plaintext) = body(&forged.pieces, codec);
    let index = forged.index.as_ref().unwrap_or(&right_index);
    layer(&*cipher, 0, &body, &mut stored);
    let index_offset = stored.len() as u64;
    let index_len = layer(&*cipher, 1, index, &mut stored);
    let segments = |len: usize| len.div_ceil(SEGMENT).max(1) as u64;
    let fields = [
        index_offset,
        index_len,
        segments(body.len()) | segments(index.len()) << 32,
        (index.len() / 8) as u64,
        plaintext,
    ];
    let mut trailer = Vec::new();
    for (field, delta) in fields.iter().zip(forged.trailer) {
        trailer.extend_from_slice(&field.wrapping_add_signed(i64::from(delta)).to_le_bytes());
    }
    trailer.extend_from_slice(b"ERPGOEND");
    stored.extend_from_slice(&trailer);
    stored.extend_from_slice(&cipher.tag(b"trailer", &trailer));

    let (expected, keys) = (ObjectIdentity::new(ObjectKind::File, "f"), OneKey(KEY));
    let plain = read_all_ways(&stored, 777, &expected, &keys);
    let (start, end) = (u64::from(forged.range.0), u64::from(forged.range.1));
    let part = seek(&stored, Some(start..end), &expected, &keys);
    if let Some(plain) = plain {
        match part {
            Ok(part) => assert_eq!(part, plain[start as usize..end as usize]),
            Err(_) => assert!(start > end || end > plain.len() as u64),
        }
    }
});
