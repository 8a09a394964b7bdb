//! What every [`Encryptor`] must do.
//!
//! ```
//! use erpgo_dr_core::conformance;
//! use erpgo_dr_core::crypto::Aes256CbcHmac;
//!
//! conformance::encryptor::run(&Aes256CbcHmac::new());
//! ```

use crate::crypto::{
    CipherAlgorithm, CryptoError, Encryptor, EpochKey, ObjectBinding, SEGMENT_PREFIX, SegmentCipher, SegmentPrefix,
    SegmentRun,
};

const SEGMENT: usize = 1024;
const FIRST: u32 = 40;

/// Checks `encryptor` against the whole contract of [`Encryptor`] and [`SegmentCipher`].
///
/// It needs no service and takes well under a second.
///
/// # Panics
/// Where the contract does not hold, with what was expected.
pub fn run(encryptor: &dyn Encryptor) {
    names_an_algorithm_that_a_header_can_hold(encryptor);
    every_length_comes_back_and_has_the_size_foretold(encryptor);
    the_empty_layer_is_one_segment(encryptor);
    a_layer_may_be_sealed_and_opened_in_pieces(encryptor);
    output_is_appended(encryptor);
    the_same_object_seals_alike_and_another_never(encryptor);
    altered_bytes_are_refused(encryptor);
    moved_segments_are_refused(encryptor);
    a_cut_or_extended_layer_is_refused(encryptor);
    segments_of_another_place_are_refused(encryptor);
    tags_are_bound_to_object_domain_and_data(encryptor);
}

fn names_an_algorithm_that_a_header_can_hold(encryptor: &dyn Encryptor) {
    let algorithm = encryptor.algorithm();
    assert_eq!(CipherAlgorithm::from_code(algorithm.code()), Some(algorithm), "the code must name the algorithm");
}

fn every_length_comes_back_and_has_the_size_foretold(encryptor: &dyn Encryptor) {
    let cipher = object(encryptor, 1, 1);
    for segments in [0, 1, 2, 3, 15, 16, 17, 31, 63, 64, 65, 130] {
        for tail in [0, 1, 15, 16, 17, 31, 32, 100, SEGMENT - 1] {
            let plaintext = pattern(segments * SEGMENT + tail);
            let sealed = seal(&*cipher, layer(true), &plaintext);
            let expected = stored_len(encryptor, plaintext.len());
            assert_eq!(sealed.len(), expected, "stored size of {segments} segments and {tail} bytes");
            assert_eq!(open(&*cipher, layer(true), &sealed).as_deref(), Ok(&*plaintext), "{segments} and {tail}");
        }
    }
}

fn the_empty_layer_is_one_segment(encryptor: &dyn Encryptor) {
    let cipher = object(encryptor, 1, 1);
    let sealed = seal(&*cipher, layer(true), &[]);
    assert_eq!(sealed.len(), encryptor.sealed_len(0), "an empty layer is one empty segment");
    assert_eq!(open(&*cipher, layer(true), &sealed).as_deref(), Ok(&[][..]));
    assert!(open(&*cipher, layer(true), &[]).is_err(), "a layer without its last segment was cut");
    assert!(seal(&*cipher, layer(false), &[]).is_empty(), "an empty run inside a layer is nothing");
    assert_eq!(open(&*cipher, layer(false), &[]).as_deref(), Ok(&[][..]));
}

fn a_layer_may_be_sealed_and_opened_in_pieces(encryptor: &dyn Encryptor) {
    let cipher = object(encryptor, 1, 1);
    let plaintext = pattern(10 * SEGMENT + 7);
    let whole = seal(&*cipher, layer(true), &plaintext);
    let mut pieces = seal(&*cipher, layer(false), &plaintext[..4 * SEGMENT]);
    pieces.extend(seal(&*cipher, SegmentRun { first: FIRST + 4, ..layer(true) }, &plaintext[4 * SEGMENT..]));
    assert_eq!(pieces, whole, "where the runs are cut must not show in what is stored");

    let stored = encryptor.sealed_len(SEGMENT);
    let middle = open(&*cipher, SegmentRun { first: FIRST + 3, ..layer(false) }, &whole[3 * stored..5 * stored]);
    assert_eq!(middle.as_deref(), Ok(&plaintext[3 * SEGMENT..5 * SEGMENT]), "a range opens alone");
}

fn output_is_appended(encryptor: &dyn Encryptor) {
    let cipher = object(encryptor, 1, 1);
    let mut sealed = b"kept".to_vec();
    cipher.seal(layer(true), b"plaintext", &mut sealed);
    assert!(sealed.starts_with(b"kept"), "seal appends");
    let mut opened = b"kept".to_vec();
    cipher.open(layer(true), &sealed[4..], &mut opened).expect("what was sealed opens");
    assert_eq!(opened, b"keptplaintext", "open appends");
}

fn the_same_object_seals_alike_and_another_never(encryptor: &dyn Encryptor) {
    let plaintext = pattern(3 * SEGMENT);
    let bytes = |key, salt| seal(&*object(encryptor, key, salt), layer(true), &plaintext);
    assert_eq!(bytes(1, 1), bytes(1, 1), "a sealed object is a function of key, binding and plaintext");
    assert_ne!(bytes(1, 1), bytes(1, 2), "another salt, another ciphertext");
    assert_ne!(bytes(1, 1), bytes(2, 1), "another key, another ciphertext");

    let zeros = seal(&*object(encryptor, 1, 1), layer(true), &[0; 2 * SEGMENT]);
    let (first, second) = zeros.split_at(encryptor.sealed_len(SEGMENT));
    assert_ne!(first[SEGMENT_PREFIX..], second[SEGMENT_PREFIX..], "equal plaintext in two segments must not show");
}

fn altered_bytes_are_refused(encryptor: &dyn Encryptor) {
    let cipher = object(encryptor, 1, 1);
    let sealed = seal(&*cipher, layer(true), &pattern(2 * SEGMENT + 5));
    let stored = encryptor.sealed_len(SEGMENT);
    for byte in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[byte] ^= 1;
        let error = refused(&*cipher, layer(true), &altered);
        let number = u64::from(FIRST) + (byte / stored) as u64;
        let in_prefix = byte % stored < SEGMENT_PREFIX;
        let named = matches!(error, CryptoError::SegmentNotAuthentic { number: named } if named == number);
        assert!(in_prefix || named, "byte {byte}: SegmentNotAuthentic {{ number: {number} }}, not {error:?}");
    }
}

fn moved_segments_are_refused(encryptor: &dyn Encryptor) {
    let cipher = object(encryptor, 1, 1);
    let sealed = seal(&*cipher, layer(true), &pattern(4 * SEGMENT));
    let stored = encryptor.sealed_len(SEGMENT);
    let mut swapped = sealed;
    swapped[..2 * stored].rotate_left(stored);
    let error = refused(&*cipher, layer(true), &swapped);
    let (expected, found) = (u64::from(FIRST), u64::from(FIRST) + 1);
    assert!(
        matches!(error, CryptoError::SegmentOutOfOrder { expected: e, found: f } if (e, f) == (expected, found)),
        "two segments swapped: {error:?}"
    );

    // Their numbers put right by hand: then only the MAC can tell.
    for (index, segment) in swapped.chunks_exact_mut(stored).enumerate().take(2) {
        renumber(segment, FIRST + index as u32);
    }
    let error = refused(&*cipher, layer(true), &swapped);
    assert!(matches!(error, CryptoError::SegmentNotAuthentic { .. }), "swapped and renumbered: {error:?}");
}

fn a_cut_or_extended_layer_is_refused(encryptor: &dyn Encryptor) {
    let cipher = object(encryptor, 1, 1);
    let sealed = seal(&*cipher, layer(true), &pattern(3 * SEGMENT));
    let stored = encryptor.sealed_len(SEGMENT);
    for len in [1, SEGMENT_PREFIX, SEGMENT_PREFIX + 1, stored - 1, stored, 2 * stored, sealed.len() - 1] {
        refused(&*cipher, layer(true), &sealed[..len]);
    }
    refused(&*cipher, layer(true), &[&sealed[..], &[0]].concat());
    refused(&*cipher, layer(true), &[&sealed[..], &sealed[..stored]].concat());
    refused(&*cipher, layer(false), &sealed);

    let mut shortened = sealed[..2 * stored].to_vec();
    mark_last(&mut shortened[stored..]);
    let error = refused(&*cipher, layer(true), &shortened);
    assert!(matches!(error, CryptoError::SegmentNotAuthentic { .. }), "cut, and marked as ended: {error:?}");
}

fn segments_of_another_place_are_refused(encryptor: &dyn Encryptor) {
    let cipher = object(encryptor, 1, 1);
    let sealed = seal(&*cipher, layer(true), &pattern(2 * SEGMENT));
    let not_authentic = |cipher: &dyn SegmentCipher, run: SegmentRun, what: &str| {
        let error = refused(cipher, run, &sealed);
        assert!(matches!(error, CryptoError::SegmentNotAuthentic { .. }), "{what}: {error:?}");
    };
    not_authentic(&*cipher, SegmentRun { layer: 1, ..layer(true) }, "another layer");
    not_authentic(&*object(encryptor, 2, 1), layer(true), "another epoch key");
    not_authentic(&*object(encryptor, 1, 2), layer(true), "another salt");
    let context = ObjectBinding { salt: [1; 32], context: [8; 32] };
    not_authentic(&*encryptor.for_object(&EpochKey::from_bytes([1; 32]), &context), layer(true), "another context");
    let error = refused(&*cipher, SegmentRun { first: FIRST + 1, ..layer(true) }, &sealed);
    assert!(matches!(error, CryptoError::SegmentOutOfOrder { .. }), "another place in the layer: {error:?}");
}

fn tags_are_bound_to_object_domain_and_data(encryptor: &dyn Encryptor) {
    let cipher = object(encryptor, 1, 1);
    let tag = cipher.tag(b"domain", b"data");
    assert_eq!(tag, object(encryptor, 1, 1).tag(b"domain", b"data"));
    assert_ne!(tag, cipher.tag(b"domain", b"dat"), "the data");
    assert_ne!(tag, cipher.tag(b"domai", b"ndata"), "where the domain ends");
    assert_ne!(tag, object(encryptor, 1, 2).tag(b"domain", b"data"), "the object");
    assert_ne!(tag, object(encryptor, 2, 1).tag(b"domain", b"data"), "the epoch key");
}

fn object(encryptor: &dyn Encryptor, key: u8, salt: u8) -> Box<dyn SegmentCipher> {
    encryptor.for_object(&EpochKey::from_bytes([key; 32]), &ObjectBinding { salt: [salt; 32], context: [7; 32] })
}

fn layer(last: bool) -> SegmentRun {
    SegmentRun { layer: 0, first: FIRST, segment_len: SEGMENT, last }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

fn stored_len(encryptor: &dyn Encryptor, len: usize) -> usize {
    let (full, short) = (len / SEGMENT, len % SEGMENT);
    let rest = if short > 0 || full == 0 { encryptor.sealed_len(short) } else { 0 };
    full * encryptor.sealed_len(SEGMENT) + rest
}

fn seal(cipher: &dyn SegmentCipher, run: SegmentRun, plaintext: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    cipher.seal(run, plaintext, &mut out);
    out
}

fn open(cipher: &dyn SegmentCipher, run: SegmentRun, sealed: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    cipher.open(run, sealed, &mut out).map_err(|error| error.to_string())?;
    Ok(out)
}

/// Opens what must not open, and checks that nothing came out.
fn refused(cipher: &dyn SegmentCipher, run: SegmentRun, sealed: &[u8]) -> CryptoError {
    let mut out = b"kept".to_vec();
    let outcome = cipher.open(run, sealed, &mut out);
    assert_eq!(out, b"kept", "on an error the output is as it was");
    outcome.expect_err("what was altered or moved must not open")
}

fn renumber(segment: &mut [u8], number: u32) {
    let prefix = SegmentPrefix::decode(segment).expect("a stored segment begins with its prefix");
    segment[..SEGMENT_PREFIX].copy_from_slice(&SegmentPrefix { number, ..prefix }.encode());
}

fn mark_last(segment: &mut [u8]) {
    let prefix = SegmentPrefix::decode(segment).expect("a stored segment begins with its prefix");
    segment[..SEGMENT_PREFIX].copy_from_slice(&SegmentPrefix { last: true, ..prefix }.encode());
}
