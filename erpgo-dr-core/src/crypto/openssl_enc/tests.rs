//! Against the real `openssl` program, both ways.

use std::io::Write;
use std::num::NonZeroU32;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;

const SHA256: OpensslKdf = OpensslKdf::EvpBytesToKey(OpensslDigest::Sha256);
const MD5: OpensslKdf = OpensslKdf::EvpBytesToKey(OpensslDigest::Md5);
const PBKDF2: OpensslKdf = OpensslKdf::Pbkdf2 { iterations: DEFAULT_ITERATIONS };
const CHOSEN: OpensslKdf = OpensslKdf::Pbkdf2 { iterations: NonZeroU32::new(1234).unwrap() };

const ALL: [(OpensslKdf, &[&str]); 4] = [
    (SHA256, &["-md", "sha256"]),
    (MD5, &["-md", "md5"]),
    (PBKDF2, &["-pbkdf2"]),
    (CHOSEN, &["-pbkdf2", "-iter", "1234"]),
];

fn passphrase() -> SecretString {
    "Grüße, k3y".into()
}

fn openssl(direction: &str, kdf: &[&str], input: Vec<u8>) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(["enc", direction, "-aes-256-cbc", "-salt", "-pass", "env:KEY"])
        .args(kdf)
        .env("KEY", "Grüße, k3y")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl must be installed");
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn encrypt(kdf: OpensslKdf, plaintext: &[u8], piece: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = UnauthenticatedWriter::with_salt(&passphrase(), kdf, *b"saltsalt");
    plaintext.chunks(piece).for_each(|bytes| writer.update(bytes, &mut out));
    writer.finish(&mut out);
    out
}

fn decrypt(kdf: OpensslKdf, file: &[u8], piece: usize) -> Result<Vec<u8>, CryptoError> {
    let mut out = Vec::new();
    let mut reader = UnauthenticatedReader::new(passphrase(), kdf);
    for bytes in file.chunks(piece) {
        reader.update(bytes, &mut out)?;
    }
    reader.finish(&mut out)?;
    Ok(out)
}

fn sample(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 % 251) as u8).collect()
}

#[test]
fn the_openssl_program_reads_what_is_written() {
    for (kdf, arguments) in ALL {
        for length in [0, 1, 15, 16, 17, 1 << 20] {
            let file = encrypt(kdf, &sample(length), 4099);
            assert_eq!(openssl("-d", arguments, file), sample(length), "{kdf}, {length} bytes");
        }
    }
}

#[test]
fn what_the_openssl_program_writes_is_read() {
    for (kdf, arguments) in ALL {
        for length in [0, 1, 15, 16, 17, 1 << 20] {
            let file = openssl("-e", arguments, sample(length));
            assert_eq!(decrypt(kdf, &file, 4099).unwrap(), sample(length), "{kdf}, {length} bytes");
        }
    }
}

#[test]
fn the_derivation_is_detected() {
    let plaintext = [b"PGDMP".as_slice(), &sample(500)].concat();
    let candidates = OpensslKdf::candidates(NonZeroU32::new(1234));
    for (kdf, arguments) in ALL {
        let file = openssl("-e", arguments, plaintext.clone());
        for length in [32, 33, 200, file.len()] {
            let found = detect(&file[..length], &passphrase(), &candidates, |p| p.starts_with(b"PGDMP"));
            assert_eq!(found.unwrap(), kdf);
        }
    }
}

#[test]
fn detection_says_what_it_tried() {
    let file = encrypt(CHOSEN, b"PGDMP and more than a block", 99);
    let known = |p: &[u8]| p.starts_with(b"PGDMP");
    let candidates = OpensslKdf::candidates(None);
    let Err(failure) = detect(&file, &passphrase(), &candidates, known) else { panic!("it was accepted") };
    let text = failure.to_string();
    for part in ["SHA-256", "MD5", "10000"] {
        assert!(text.contains(part), "{text}");
    }
    let outcome = detect(&file[..31], &passphrase(), &candidates, known);
    assert!(matches!(outcome, Err(CryptoError::OpensslTruncated { length: 15 })), "{outcome:?}");
    let outcome = detect(b"Salted_", &passphrase(), &candidates, known);
    assert!(matches!(outcome, Err(CryptoError::OpensslNotSalted)), "{outcome:?}");
}

#[test]
fn a_wrong_passphrase_ends_in_bad_padding() {
    // A fixed salt makes this repeatable: one wrong passphrase in 256 passes for right.
    let mut file = encrypt(SHA256, &sample(1000), 99);
    file[8] ^= 1;
    let outcome = decrypt(SHA256, &file, 64);
    assert!(matches!(outcome, Err(CryptoError::OpensslBadPadding)), "{outcome:?}");
    let outcome = decrypt(MD5, &encrypt(SHA256, &sample(1000), 99), 64);
    assert!(matches!(outcome, Err(CryptoError::OpensslBadPadding)), "{outcome:?}");
}

#[test]
fn a_cut_file_is_an_error() {
    let file = encrypt(SHA256, &sample(100), 99);
    for length in 0..file.len() {
        let outcome = decrypt(SHA256, &file[..length], 7);
        let expected = match length {
            0..16 => matches!(outcome, Err(CryptoError::OpensslNotSalted)),
            _ if length % 16 != 0 || length == 16 => matches!(outcome, Err(CryptoError::OpensslTruncated { .. })),
            _ => matches!(outcome, Err(CryptoError::OpensslBadPadding)),
        };
        assert!(expected, "{length} bytes: {outcome:?}");
    }
}

#[test]
fn an_unsalted_file_is_an_error() {
    let outcome = decrypt(SHA256, &sample(64), 64);
    assert!(matches!(outcome, Err(CryptoError::OpensslNotSalted)), "{outcome:?}");
}

#[test]
fn every_padding_byte_counts() {
    // 12 bytes of padding; a changed byte of the block before changes one of them.
    let good = encrypt(SHA256, &sample(20), 99);
    for at in 0..12 {
        let mut file = good.clone();
        let byte = file.len() - 32 + 4 + at;
        file[byte] ^= 0x80;
        let outcome = decrypt(SHA256, &file, 99);
        assert!(matches!(outcome, Err(CryptoError::OpensslBadPadding)), "padding byte {at}: {outcome:?}");
    }
}

proptest! {
    #[test]
    fn pieces_do_not_matter(
        plaintext in prop::collection::vec(any::<u8>(), 0..400),
        write in 1usize..70,
        read in 1usize..70,
    ) {
        let file = encrypt(SHA256, &plaintext, write);
        prop_assert_eq!(&file, &encrypt(SHA256, &plaintext, usize::MAX));
        prop_assert_eq!(decrypt(SHA256, &file, read).unwrap(), plaintext);
    }
}
