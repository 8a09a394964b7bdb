//! Containers that others read, and that earlier versions wrote.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use erpgo_dr_core::codec::Codec;
use erpgo_dr_core::container::{
    ContainerOptions, ContainerReader, ContainerWriter, ObjectIdentity, ObjectKind, SealingKey,
};
use erpgo_dr_core::crypto::EpochKey;
use serde::{Deserialize, Serialize};

use crate::store::{MemoryPlace, stream_of};
use crate::support::*;

fn tests_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Runs the decoder that was written from the specification; `Err` is what it complained of.
fn decode_in_python(stored: &[u8], key: &[u8; 32]) -> Result<Vec<u8>, String> {
    let mut child = Command::new(erpgo_dr_testkit::python())
        .arg(tests_folder().join("decode_container.py"))
        .arg(hex::encode(key))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stored).unwrap();
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(output.stdout) } else { Err(complaint) }
}

#[test]
fn an_independent_decoder_reads_what_is_written() {
    let fine = |codec| ContainerOptions::default().with_codec(codec).with_frame_len(4096).with_segment_len(1024);
    for codec in CODECS {
        for (options, len) in
            [(fine(codec), 0), (fine(codec), 20_000), (ContainerOptions::default().with_codec(codec), 3_000_000)]
        {
            let plain = sample(len, 21);
            let stored = sealed("dumps/20260102T030405Z-0badcafe/0", &options, &plain);
            let decoded = decode_in_python(&stored, &[7; 32]);
            assert!(decoded.as_ref().is_ok_and(|decoded| *decoded == plain), "{codec} {len}: {:?}", decoded.err());
        }
    }
}

#[test]
fn the_independent_decoder_refuses_what_was_altered() {
    let stored = sealed("d", &options(Codec::Zstd { level: 3 }), &sample(5000, 22));
    let at = [90, 100, 200, stored.len() - 100, stored.len() - 60, stored.len() - 1];
    for at in at {
        let mut altered = stored.clone();
        altered[at] ^= 1;
        assert!(decode_in_python(&altered, &[7; 32]).is_err(), "byte {at}");
    }
    assert!(decode_in_python(&stored, &[8; 32]).unwrap_err().contains("header tag"));
}

/// A container that is kept, and what it must open to.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Vector {
    file: String,
    epoch: String,
    epoch_key: String,
    salt: String,
    kind: u8,
    name: String,
    codec: Codec,
    frame_len: usize,
    segment_len: usize,
    plaintext_len: usize,
    plaintext_sha256: String,
    container_sha256: String,
}

impl Vector {
    fn identity(&self) -> ObjectIdentity {
        ObjectIdentity::new(ObjectKind::from_code(self.kind).unwrap(), &self.name)
    }

    fn sealing_key(&self) -> SealingKey {
        let mut key = [0; 32];
        hex::decode_to_slice(&self.epoch_key, &mut key).unwrap();
        SealingKey { epoch: epoch(&self.epoch), key: Arc::new(EpochKey::from_bytes(key)) }
    }

    fn options(&self) -> ContainerOptions {
        ContainerOptions::default()
            .with_codec(self.codec)
            .with_frame_len(self.frame_len)
            .with_segment_len(self.segment_len)
    }

    /// Writes the vector's container around `plain`.
    async fn write(&self, plain: &[u8]) -> Bytes {
        let mut salt = [0; 32];
        hex::decode_to_slice(&self.salt, &mut salt).unwrap();
        let place = MemoryPlace::new();
        let target = place.writer("v").await;
        let (identity, key, options) = (self.identity(), self.sealing_key(), self.options());
        let mut writer = ContainerWriter::with_salt(identity, &key, &options, pool(), target, salt).unwrap();
        writer.write(Bytes::copy_from_slice(plain)).await.unwrap();
        writer.finish().await.unwrap();
        place.object("v").unwrap()
    }
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(sha2::Sha256::digest(bytes))
}

fn vectors() -> Vec<Vector> {
    let text = std::fs::read(tests_folder().join("vectors/vectors.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn the_known_containers_open_to_the_known_text() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 8);
    for vector in vectors {
        let stored = std::fs::read(tests_folder().join("vectors").join(&vector.file)).unwrap();
        assert_eq!(sha256(&stored), vector.container_sha256, "{}", vector.file);
        let (identity, keys) = (vector.identity(), Keys(vec![vector.sealing_key()]));
        let (plain, outcome) = block_on(stream(&stored, 1000, &identity, &keys));
        outcome.unwrap();
        assert_eq!((plain.len(), sha256(&plain)), (vector.plaintext_len, vector.plaintext_sha256.clone()));
        // What a compressor writes may change with its version; all else may not.
        if vector.codec == Codec::None {
            assert!(block_on(vector.write(&plain)) == stored, "{} is written in other bytes now", vector.file);
        }
        let decoded = decode_in_python(&stored, vector.sealing_key().key.expose());
        assert!(decoded.is_ok_and(|decoded| decoded == plain), "{}", vector.file);
        let reader = ContainerReader::open(stream_of(&stored, 4096), &identity, &keys, pool());
        let summary = block_on(async { reader.await.unwrap().check_to_end().await.unwrap() });
        assert_eq!(summary.stored_bytes, stored.len() as u64);
    }
}

/// Makes `tests/vectors` anew. Only for a new format version: what is there must stay readable.
#[test]
#[ignore = "writes into the source tree"]
fn make_the_known_containers() {
    let folder = tests_folder().join("vectors");
    let mut vectors = Vec::new();
    for (codec, sizes) in [
        (Codec::None, &[0usize, 1, 1016, 10_000][..]),
        (Codec::Zstd { level: 3 }, &[1, 20_000]),
        (Codec::Gzip { level: 6 }, &[1, 20_000]),
    ] {
        for &len in sizes {
            let number = vectors.len() as u8;
            let plain = sample(len, 42);
            let mut vector = Vector {
                file: format!("{}-{len}.edr", codec.name()),
                epoch: "20260102T030405Z-0badcafe".to_owned(),
                epoch_key: hex::encode(std::array::from_fn::<u8, 32, _>(|at| at as u8 ^ number)),
                salt: hex::encode(std::array::from_fn::<u8, 32, _>(|at| 255 - at as u8 - number)),
                kind: 1 + number % 6,
                name: if number == 0 { String::new() } else { format!("vectors/{number}") },
                codec,
                frame_len: 4096,
                segment_len: 1024,
                plaintext_len: len,
                plaintext_sha256: sha256(&plain),
                container_sha256: String::new(),
            };
            let stored = block_on(vector.write(&plain));
            vector.container_sha256 = sha256(&stored);
            std::fs::write(folder.join(&vector.file), &stored).unwrap();
            vectors.push(vector);
        }
    }
    let text = serde_json::to_string_pretty(&vectors).unwrap();
    std::fs::write(folder.join("vectors.json"), text + "\n").unwrap();
}
