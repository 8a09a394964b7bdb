//! Every kernel against the plain `cbc` and `hmac` crates, published vectors, and tampering at every byte.

use aes::cipher::array::ArraySize;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::consts::{U1, U3, U8, U16, U30, U64};
use aes::cipher::inout::InOut;
use aes::cipher::{
    BlockCipherEncBackend, BlockCipherEncClosure, BlockModeEncrypt, BlockSizeUser, KeyIvInit, ParBlocksSizeUser,
};
use proptest::prelude::*;

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

/// A backend that takes `W` blocks in one go, whatever the CPU has.
struct Wide<W>(Aes256Enc, std::marker::PhantomData<W>);

impl<W> BlockSizeUser for Wide<W> {
    type BlockSize = U16;
}

impl<W: ArraySize> ParBlocksSizeUser for Wide<W> {
    type ParBlocksSize = W;
}

impl<W: ArraySize> BlockCipherEncBackend for Wide<W> {
    fn encrypt_block(&self, block: InOut<'_, '_, Block>) {
        self.0.encrypt_block_inout(block);
    }
}

impl<W: ArraySize> BlockCipherEncrypt for Wide<W> {
    fn encrypt_with_backend(&self, f: impl BlockCipherEncClosure<BlockSize = U16>) {
        f.call(self);
    }
}

fn encrypt_with_width<W: ArraySize>(segments: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let cipher = Wide::<W>(Aes256Enc::new(&[6; 32].into()), std::marker::PhantomData);
    let mut chains: Vec<Block> = (0..segments.len()).map(|i| Block::from([i as u8; 16])).collect();
    let mut segments = segments.to_vec();
    let mut blocks: Vec<_> = segments.iter_mut().map(|segment| Block::slice_as_chunks_mut(segment).0).collect();
    lanes::encrypt(&cipher, &mut chains, &mut blocks);
    segments
}

#[test]
fn every_width_of_a_cipher_backend_encrypts_alike() {
    for count in [1, 2, 7, 8, 15, 16, 17, 29, 30, 31, 60, 63, 64] {
        let segments: Vec<_> = (0..count).map(|i| pattern(if i + 2 < count { 96 } else { 16 * (count - i) })).collect();
        let expected: Vec<_> = segments
            .iter()
            .enumerate()
            .map(|(i, segment)| {
                let mut out = vec![0; segment.len() + 16];
                cbc::Encryptor::<aes::Aes256>::new(&[6; 32].into(), &[i as u8; 16].into())
                    .encrypt_padded_b2b::<Pkcs7>(segment, &mut out)
                    .unwrap();
                out.truncate(segment.len());
                out
            })
            .collect();
        assert_eq!(encrypt_with_width::<U1>(&segments), expected);
        assert_eq!(encrypt_with_width::<U3>(&segments), expected);
        assert_eq!(encrypt_with_width::<U8>(&segments), expected);
        assert_eq!(encrypt_with_width::<U30>(&segments), expected);
        assert_eq!(encrypt_with_width::<U64>(&segments), expected);
    }
}

#[test]
fn a_batch_fills_whole_groups_of_the_backend() {
    let with = |width: usize, batch: usize| assert_eq!(batch % width, 0, "width {width}");
    let key = [0; 32].into();
    with(1, lanes::batch_len(&Wide::<U1>(Aes256Enc::new(&key), std::marker::PhantomData)));
    with(30, lanes::batch_len(&Wide::<U30>(Aes256Enc::new(&key), std::marker::PhantomData)));
    with(64, lanes::batch_len(&Wide::<U64>(Aes256Enc::new(&key), std::marker::PhantomData)));
}

/// SP 800-38A, F.2.5 and F.2.6 (CBC-AES256).
#[test]
fn the_lanes_pass_the_published_cbc_vector() {
    let hex = |text: &str| hex::decode(text).unwrap();
    let key: [u8; 32] = hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4").try_into().unwrap();
    let iv: [u8; 16] = std::array::from_fn(|i| i as u8);
    let plaintext = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
         30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");
    let ciphertext = hex("f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d\
         39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b");
    for lanes in [1, 2, 16, 64] {
        let mut segments = vec![plaintext.clone(); lanes];
        let mut blocks: Vec<_> = segments.iter_mut().map(|segment| Block::slice_as_chunks_mut(segment).0).collect();
        lanes::encrypt(&Aes256Enc::new(&key.into()), &mut vec![iv.into(); lanes], &mut blocks);
        assert!(segments.iter().all(|segment| *segment == ciphertext), "{lanes} lanes");
    }
    let mut out = Vec::new();
    lanes::decrypt(&Aes256Dec::new(&key.into()), &iv.into(), &ciphertext, &mut out);
    assert_eq!(out, plaintext);
}

/// RFC 4231, test case 7: its key of 131 bytes stands for its hash, of 32.
#[test]
fn both_mac_kernels_pass_the_published_hmac_vector() {
    use sha2::Digest;
    let key = Sha256::digest([0xaa; 131]).into();
    let message = b"This is a test using a larger than block-size key and a larger than block-size data. \
        The key needs to be hashed before being used by the HMAC algorithm.";
    let (associated, rest) = message.split_first_chunk().unwrap();
    for kernel in [MacKernel::Lanes, MacKernel::Streams] {
        for count in [1, 2, 5, 32] {
            let inputs: Vec<_> = (0..count).map(|_| MacInput { associated: *associated, ciphertext: rest }).collect();
            for tag in SegmentMac::new(&key, kernel).tags(&inputs) {
                assert_eq!(hex::encode(tag), "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
            }
        }
    }
}

#[test]
fn a_metadata_tag_is_hmac_over_the_framed_domain_and_the_data() {
    let keys = ObjectKeys::derive(&EpochKey::from_bytes([5; 32]), &binding());
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(keys.metadata()).unwrap();
    mac.update(b"\x06domaindata");
    assert_eq!(cipher(MacKernel::Lanes).tag(b"domain", b"data").as_slice(), mac.finalize().into_bytes().as_slice());
}

#[test]
fn both_mac_kernels_agree_with_hmac_on_every_length_and_count() {
    let key = [9; 32];
    let ciphertext = pattern(16 * 40);
    for count in [0, 1, 2, 3, 4, 5, 12, 13, 16, 17, 31, 32, 33, 64, 65] {
        for blocks in 1..=(if count == 3 { 40 } else { 9 }) {
            let inputs: Vec<_> = (0..count)
                .map(|i| MacInput {
                    associated: [i as u8; ASSOCIATED],
                    // The last one is shorter, as the last segment of a layer is.
                    ciphertext: &ciphertext[..16 * (blocks - usize::from(i + 1 == count && blocks > 1))],
                })
                .collect();
            let expected: Vec<[u8; 32]> = inputs
                .iter()
                .map(|input| {
                    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key).unwrap();
                    mac.update(&input.associated);
                    mac.update(input.ciphertext);
                    mac.finalize().into_bytes().into()
                })
                .collect();
            for kernel in [MacKernel::Lanes, MacKernel::Streams] {
                assert_eq!(SegmentMac::new(&key, kernel).tags(&inputs), expected, "{kernel:?} {count} {blocks}");
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_any_byte_is_an_error_and_releases_nothing() {
    let run = run(0, 5, 32, true);
    let plaintext = pattern(100);
    for cipher in both() {
        let sealed = seal(&*cipher, run, &plaintext);
        for byte in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[byte] ^= 1 << (byte % 8);
            let mut out = b"before".to_vec();
            let error = cipher.open(run, &altered, &mut out).unwrap_err();
            assert_eq!(out, b"before", "byte {byte}");
            let number = 5 + (byte / layout::sealed_len(32)) as u64;
            match (byte % layout::sealed_len(32), error) {
                (0..4, CryptoError::SegmentOutOfOrder { expected, .. }) => assert_eq!(expected, number),
                (4..8, CryptoError::SegmentMalformed { number: named }) => assert_eq!(named, number),
                (8.., CryptoError::SegmentNotAuthentic { number: named }) => assert_eq!(named, number),
                (_, error) => panic!("byte {byte}: {error:?}"),
            }
        }
    }
}

#[test]
fn every_truncation_is_an_error() {
    let cipher = cipher(MacKernel::detect());
    let run = run(0, 0, 32, true);
    let sealed = seal(&*cipher, run, &pattern(100));
    for len in 0..sealed.len() {
        let mut out = Vec::new();
        assert!(cipher.open(run, &sealed[..len], &mut out).is_err(), "{len} of {} bytes", sealed.len());
        assert!(out.is_empty());
    }
}

/// Seals one block as it is, as a writer that has the key, but a fault, could store it.
fn seal_padded(object: &ObjectCipher, padded: [u8; 16]) -> Vec<u8> {
    let mut block = [Block::from(padded)];
    lanes::encrypt(&object.encrypt, &mut object.ivs(0, std::iter::once(0)), &mut [&mut block]);
    let input = MacInput { associated: object.associated(0, 0, true), ciphertext: &block[0] };
    let tag = object.mac.tags(&[input])[0];
    [&SegmentPrefix { number: 0, length: 48, last: true }.encode()[..], &block[0], &tag].concat()
}

#[test]
fn padding_under_a_valid_mac_is_checked_too() {
    let keys = ObjectKeys::derive(&EpochKey::from_bytes([5; 32]), &binding());
    let object = ObjectCipher::new(&keys, binding().context, MacKernel::Streams);
    let mut out = Vec::new();
    object.open(run(0, 0, 64, true), &seal_padded(&object, [3; 16]), &mut out).unwrap();
    assert_eq!(out, [3; 13]);
    let uneven = std::array::from_fn(|i| if i == 12 { 1 } else { 9 });
    for padded in [[0; 16], [17; 16], [255; 16], uneven] {
        let mut out = Vec::new();
        let outcome = object.open(run(0, 0, 64, true), &seal_padded(&object, padded), &mut out);
        assert!(matches!(outcome, Err(CryptoError::SegmentMalformed { number: 0 })), "{padded:?}");
        assert!(out.is_empty());
    }
}

#[test]
fn a_segment_length_that_no_segment_can_have_is_an_error_and_no_panic() {
    let cipher = cipher(MacKernel::detect());
    for segment_len in [0, usize::MAX, usize::MAX - 16, 1 << 31] {
        let outcome = cipher.open(run(0, 3, segment_len, true), &[0; 100], &mut Vec::new());
        assert!(matches!(outcome, Err(CryptoError::SegmentMalformed { number: 3 })));
    }
}

#[test]
#[should_panic(expected = "only the last segment of a layer may be shorter")]
fn a_short_segment_inside_a_layer_is_a_bug_of_the_caller() {
    seal(&*cipher(MacKernel::detect()), run(0, 0, 32, false), &[0; 33]);
}

#[test]
#[should_panic(expected = "at most 2^32 segments")]
fn a_number_beyond_the_prefix_is_a_bug_of_the_caller() {
    seal(&*cipher(MacKernel::detect()), run(0, u32::MAX, 16, false), &[0; 32]);
}

#[test]
fn nothing_secret_is_in_the_debug_text() {
    let text = format!("{:?} {:?}", cipher(MacKernel::Lanes), Aes256CbcHmac::new());
    assert!(text.contains("redacted") && !text.contains("[5, 5"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sealed_in_runs_of_any_size_opens_in_runs_of_any_other(
        segments in 0..150usize,
        blocks in 1..5usize,
        tail in 0..64usize,
        first in 0..1000u32,
        layer in 0..2u8,
        seal_cut in 0..150usize,
        open_cut in 0..150usize,
        seed in any::<u8>(),
    ) {
        let segment_len = blocks * 16;
        let plaintext: Vec<u8> =
            pattern(segments * segment_len + tail % segment_len).iter().map(|byte| byte ^ seed).collect();
        let [lanes, streams] = both();
        let whole = run(layer, first, segment_len, true);

        let cut = seal_cut.min(segments);
        let mut sealed = Vec::new();
        let (head, rest) = plaintext.split_at(cut * segment_len);
        lanes.seal(run(layer, first, segment_len, false), head, &mut sealed);
        streams.seal(run(layer, first + cut as u32, segment_len, true), rest, &mut sealed);
        if !rest.is_empty() || plaintext.is_empty() {
            prop_assert_eq!(&sealed, &seal(&*lanes, whole, &plaintext));
        }

        let cut = open_cut.min(segments.saturating_sub(1));
        let (head, rest) = sealed.split_at(cut * layout::sealed_len(segment_len));
        let mut out = Vec::new();
        streams.open(run(layer, first, segment_len, false), head, &mut out).unwrap();
        lanes.open(run(layer, first + cut as u32, segment_len, true), rest, &mut out).unwrap();
        prop_assert_eq!(out, plaintext);
    }
}

#[test]
fn the_contract_of_the_trait_holds() {
    crate::conformance::encryptor::run(&Aes256CbcHmac::new());
    crate::conformance::encryptor::run(&Aes256CbcHmac::with_mac_kernel(MacKernel::Streams));
}
