//! Every kernel against the plain `cbc` and `hmac` crates, published vectors, and tampering at every byte.

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeEncrypt, KeyIvInit};

use super::*;

const SEGMENT: usize = 64;

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

fn binding() -> ObjectBinding {
    ObjectBinding { salt: [3; 32], context: std::array::from_fn(|i| i as u8) }
}

fn cipher(kernel: MacKernel) -> Box<dyn SegmentCipher> {
    Aes256CbcHmac::with_mac_kernel(kernel).for_object(&EpochKey::from_bytes([5; 32]), &binding())
}

fn both() -> [Box<dyn SegmentCipher>; 2] {
    [MacKernel::Lanes, MacKernel::Streams].map(cipher)
}

fn run(layer: u8, first: u32, segment_len: usize, last: bool) -> SegmentRun {
    SegmentRun { layer, first, segment_len, last }
}

fn seal(cipher: &dyn SegmentCipher, run: SegmentRun, plaintext: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    cipher.seal(run, plaintext, &mut out);
    out
}

/// The format as its specification reads, by the plainest means.
fn reference(run: SegmentRun, plaintext: &[u8]) -> Vec<u8> {
    let keys = ObjectKeys::derive(&EpochKey::from_bytes([5; 32]), &binding());
    let mut pieces: Vec<&[u8]> = plaintext.chunks(run.segment_len).collect();
    if pieces.is_empty() && run.last {
        pieces.push(&[]);
    }
    let mut out = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let number = u64::from(run.first) + index as u64;
        let last = run.last && index + 1 == pieces.len();
        let mut iv = [0; 16];
        iv[..8].copy_from_slice(&number.to_le_bytes());
        iv[8] = run.layer;
        let mut iv = Block::from(iv);
        Aes256Enc::new(keys.iv().into()).encrypt_block(&mut iv);
        let mut padded = vec![0; piece.len() + 16];
        let ciphertext = cbc::Encryptor::<aes::Aes256>::new(keys.cipher().into(), &iv)
            .encrypt_padded_b2b::<Pkcs7>(piece, &mut padded)
            .unwrap();
        let mut associated = binding().context.to_vec();
        associated.extend(number.to_le_bytes());
        associated.extend([u8::from(last), run.layer]);
        associated.extend([0; 22]);
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(keys.mac()).unwrap();
        mac.update(&associated);
        mac.update(ciphertext);
        let length = (ciphertext.len() + 32) as u32 | if last { 1 << 31 } else { 0 };
        out.extend((number as u32).to_le_bytes());
        out.extend(length.to_le_bytes());
        out.extend(ciphertext);
        out.extend(mac.finalize().into_bytes());
    }
    out
}

#[test]
fn every_length_up_to_three_segments_is_stored_as_specified() {
    for cipher in both() {
        for len in 0..=3 * SEGMENT + 17 {
            let run = run(0, 0, SEGMENT, true);
            let plaintext = pattern(len);
            let sealed = seal(&*cipher, run, &plaintext);
            assert_eq!(sealed, reference(run, &plaintext), "{len} bytes");
            assert_eq!(sealed.len(), layout::sealed_run_len(run, len));
            let mut out = b"before".to_vec();
            cipher.open(run, &sealed, &mut out).unwrap();
            assert_eq!(out, [b"before", &plaintext[..]].concat(), "{len} bytes");
        }
    }
}

#[test]
fn every_number_of_lanes_with_every_kind_of_tail_is_stored_as_specified() {
    for cipher in both() {
        for lanes in (0..=70).chain([127, 128, 129, 200]) {
            for tail in [0, 1, 15, 16, 17, 47, 48, 63] {
                let run = run(1, 1000, SEGMENT, true);
                let plaintext = pattern(lanes * SEGMENT + tail);
                let sealed = seal(&*cipher, run, &plaintext);
                assert!(sealed == reference(run, &plaintext), "{lanes} segments and {tail} bytes");
                let mut out = Vec::new();
                cipher.open(run, &sealed, &mut out).unwrap();
                assert!(out == plaintext, "{lanes} segments and {tail} bytes");
            }
        }
    }
}

#[test]
fn the_default_segment_length_is_stored_as_specified() {
    let run = run(0, 7, 16 * 1024 - 16, true);
    let plaintext = pattern(67 * run.segment_len + 5000);
    for cipher in both() {
        let sealed = seal(&*cipher, run, &plaintext);
        assert!(sealed == reference(run, &plaintext));
        let mut out = Vec::new();
        cipher.open(run, &sealed, &mut out).unwrap();
        assert!(out == plaintext);
    }
}
