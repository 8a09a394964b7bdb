//! Files made by the real `pg_dump`, `gzip`, `zstd` and `openssl`.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use erpgo_dr_testkit::postgres::PgServer;
use futures::StreamExt;
use futures::stream;

use super::*;
use crate::crypto::CryptoError;
use crate::crypto::openssl_enc::{DEFAULT_ITERATIONS, OpensslDigest};
use crate::postgres::archive::ArchiveScanner;

const SHA256: OpensslKdf = OpensslKdf::EvpBytesToKey(OpensslDigest::Sha256);

fn tool(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("{program} must be installed: {e}"));
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{program} {arguments:?}");
    output.stdout
}

fn gzip(input: &[u8]) -> Vec<u8> {
    tool("gzip", &["-c"], input)
}

fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let fixed = ["enc", "-aes-256-cbc", "-salt", "-pass", "pass:k3y"];
    tool("openssl", &[&fixed, arguments].concat(), input)
}

fn options() -> LegacyOptions {
    LegacyOptions { passphrase: Some("k3y".into()), ..LegacyOptions::default() }
}

/// A stream of `file` in pieces of an odd size.
fn source(file: &[u8]) -> impl futures::Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    stream::iter(file.chunks(60_001).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect::<Vec<_>>())
}

async fn read_with(file: &[u8], options: LegacyOptions) -> Result<(Vec<LayerKind>, Contents, Vec<u8>), LegacyError> {
    let mut reader = LegacyReader::open(source(file), options).await?;
    let layers = reader.layers().iter().map(|layer| layer.kind).collect();
    let contents = reader.contents();
    let mut plaintext = Vec::new();
    loop {
        match reader.next().await {
            Ok(Some(piece)) => plaintext.extend_from_slice(&piece),
            Ok(None) => break,
            Err(error) => {
                let again = reader.next().await;
                assert!(matches!(again, Err(LegacyError::Stopped)), "an error was followed by {again:?}");
                return Err(error);
            }
        }
    }
    assert!(matches!(reader.next().await, Ok(None)));
    Ok((layers, contents, plaintext))
}

async fn read(file: &[u8]) -> Result<(Vec<LayerKind>, Contents, Vec<u8>), LegacyError> {
    read_with(file, options()).await
}

/// Looks like an archive to what tells layers apart, and does not compress.
fn archive(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    b"PGDMP\x01\x0e\x00".iter().copied().chain(noise).take(length).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dumps_of_pg_dump_come_out_of_every_nesting() {
    let server = PgServer::start(17);
    server.create_sample("erp", 1);
    let dump = |program: &str, arguments: &[&str]| {
        let output = server.client(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let custom = dump("pg_dump", &["-Fc", "--compress=9", "--no-owner", "--no-privileges", "-d", "erp"]);
    let dumps = [
        (Contents::PgDumpCustom, custom.clone()),
        (Contents::PgDumpTar, dump("pg_dump", &["-Ft", "-d", "erp"])),
        (Contents::PgDumpText, dump("pg_dump", &["-d", "erp"])),
        (Contents::PgDumpText, dump("pg_dumpall", &["-l", "erp"])),
    ];
    let pbkdf2 = OpensslKdf::Pbkdf2 { iterations: DEFAULT_ITERATIONS };
    let md5 = OpensslKdf::EvpBytesToKey(OpensslDigest::Md5);
    for (contents, plain) in dumps {
        let files = [
            (vec![], plain.clone()),
            (vec![LayerKind::Gzip], gzip(&plain)),
            (vec![LayerKind::Zstd], tool("zstd", &["-c"], &plain)),
            (vec![LayerKind::Openssl(SHA256)], openssl(&[], &plain)),
            (vec![LayerKind::Openssl(SHA256), LayerKind::Gzip], openssl(&[], &gzip(&plain))),
            (vec![LayerKind::Openssl(md5), LayerKind::Gzip], openssl(&["-md", "md5"], &gzip(&plain))),
            (vec![LayerKind::Openssl(pbkdf2), LayerKind::Gzip], openssl(&["-pbkdf2"], &gzip(&plain))),
            (vec![LayerKind::Gzip, LayerKind::Openssl(SHA256)], gzip(&openssl(&[], &plain))),
        ];
        for (layers, file) in files {
            let (found, inside, read) = read(&file).await.unwrap();
            assert_eq!((found, inside), (layers, contents));
            assert!(read == plain, "{contents}: the plaintext differs");
        }
    }
    let mut scanner = ArchiveScanner::new();
    scanner.update(&read(&openssl(&[], &gzip(&custom))).await.unwrap().2).unwrap();
    scanner.finish().unwrap();
}

#[tokio::test]
async fn a_file_on_disk_is_read() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let plain = archive(3 << 20);
    file.write_all(&openssl(&[], &gzip(&plain))).unwrap();
    let reader = LegacyReader::open_file(file.path(), options()).await.unwrap();
    assert_eq!(reader.layers()[0].integrity, Integrity::None);
    assert_eq!(reader.layers()[1].integrity, Integrity::Checksum);
    let pieces: Vec<_> = reader.into_stream().map(Result::unwrap).collect().await;
    assert!(pieces.concat() == plain);
    let missing = LegacyReader::open_file(std::path::Path::new("/nowhere/x.sql"), options()).await;
    assert!(matches!(missing, Err(LegacyError::Source(_))), "{missing:?}");
}

#[tokio::test]
async fn a_cut_anywhere_is_an_error() {
    let plain = archive(5000);
    let files = [gzip(&plain), tool("zstd", &["-c"], &plain), openssl(&[], &gzip(&plain)), openssl(&[], &plain)];
    for (index, file) in files.iter().enumerate() {
        assert!(read(file).await.unwrap().2 == plain);
        for length in (40..file.len()).step_by(37).chain(file.len() - 20..file.len()) {
            let outcome = read(&file[..length]).await.map(|_| ());
            let typed = matches!(
                outcome,
                Err(LegacyError::Truncated { .. }
                    | LegacyError::Openssl(CryptoError::OpensslTruncated { .. } | CryptoError::OpensslBadPadding))
            );
            // A cut between blocks leaves a wrong end that 1 in 256 takes for padding: the dump's own checks remain.
            let unseen = index == 3 && length % 16 == 0 && outcome.is_ok();
            assert!(typed || unseen, "file {index}, {length} of {} bytes: {outcome:?}", file.len());
        }
    }
}

#[tokio::test]
async fn damage_shows_in_the_checksum() {
    let plain = archive(50_000);
    for (file, kind) in [(gzip(&plain), LayerKind::Gzip), (tool("zstd", &["-c"], &plain), LayerKind::Zstd)] {
        // The last bytes are gzip's checksum and length, and zstd's checksum.
        for at in [file.len() / 2, file.len() - 1, file.len() - 3] {
            let mut flipped = file.clone();
            flipped[at] ^= 0x10;
            match read(&flipped).await {
                Err(LegacyError::Corrupt { place, .. }) => assert_eq!(place, kind.to_string()),
                outcome => panic!("byte {at} of {kind}: {outcome:?}"),
            }
        }
    }
    let mut trailing = gzip(&plain);
    trailing.extend_from_slice(b"more than a file");
    assert!(matches!(read(&trailing).await, Err(LegacyError::Corrupt { .. })));
}

#[tokio::test]
async fn members_and_frames_are_joined() {
    let plain = archive(9000);
    let (one, two) = plain.split_at(4000);
    for file in [[gzip(one), gzip(two)].concat(), [one, two].map(|half| tool("zstd", &["-c"], half)).concat()] {
        assert!(read(&file).await.unwrap().2 == plain);
    }
}

#[tokio::test]
async fn text_of_pg_dump_must_have_its_closing_line() {
    let whole = format!(
        "--\n-- PostgreSQL database dump\n--\n\nSELECT 1;\n{}--\n-- PostgreSQL database dump complete\n--\n\n",
        "-- filling\n".repeat(100_000)
    );
    assert_eq!(read(whole.as_bytes()).await.unwrap().1, Contents::PgDumpText);
    for length in [100, whole.len() / 2, whole.len() - 30] {
        let outcome = read(&whole.as_bytes()[..length]).await;
        assert!(matches!(outcome, Err(LegacyError::Truncated { .. })), "{length} bytes: {outcome:?}");
    }
    // Where nothing says what the end is, there is nothing to check.
    let by_hand = b"SELECT 1;\nSELECT 2";
    assert_eq!(read(by_hand).await.unwrap(), (Vec::new(), Contents::Sql, by_hand.to_vec()));
}

#[tokio::test]
async fn a_wrong_or_missing_passphrase_is_told() {
    let file = openssl(&[], &gzip(&archive(5000)));
    let without = read_with(&file, LegacyOptions::default()).await;
    assert!(matches!(without, Err(LegacyError::NeedsPassphrase)), "{without:?}");
    let guess = || Some("guess".into());
    let wrong = read_with(&file, LegacyOptions { passphrase: guess(), ..options() }).await;
    let told = matches!(wrong, Err(LegacyError::Openssl(CryptoError::OpensslNoCandidate { .. })));
    assert!(told, "{wrong:?}");
    let wrong = read_with(&file, LegacyOptions { passphrase: guess(), kdf: Some(SHA256), iterations: None }).await;
    assert!(matches!(wrong, Err(LegacyError::WrongPassphrase { .. })), "{wrong:?}");
}

#[tokio::test]
async fn unusual_iterations_are_found_when_told() {
    let file = openssl(&["-pbkdf2", "-iter", "4321"], &archive(500));
    let untold = read(&file).await;
    assert!(matches!(untold, Err(LegacyError::Openssl(CryptoError::OpensslNoCandidate { .. }))), "{untold:?}");
    let iterations = NonZeroU32::new(4321);
    let (layers, ..) = read_with(&file, LegacyOptions { iterations, ..options() }).await.unwrap();
    assert_eq!(layers, [LayerKind::Openssl(OpensslKdf::Pbkdf2 { iterations: iterations.unwrap() })]);
}

#[tokio::test]
async fn what_is_no_backup_is_refused() {
    assert!(matches!(read(b"").await, Err(LegacyError::Empty { .. })));
    assert!(matches!(read(&gzip(b"")).await, Err(LegacyError::Empty { .. })));
    assert!(matches!(read(b"just some words").await, Err(LegacyError::UnknownContents { .. })));
    assert!(matches!(read(&gzip(&[0; 999])).await, Err(LegacyError::UnknownContents { .. })));
    let mut nested = archive(100);
    for _ in 0..5 {
        nested = gzip(&nested);
    }
    assert!(matches!(read(&nested).await, Err(LegacyError::TooManyLayers { .. })));
}

#[tokio::test]
async fn a_failing_source_is_told_as_it_is() {
    let file = openssl(&[], &gzip(&archive(300_000)));
    let pieces = vec![Ok(Bytes::copy_from_slice(&file[..200_000])), Err(std::io::Error::other("the disk is on fire"))];
    let mut reader = LegacyReader::open(stream::iter(pieces), options()).await.unwrap();
    let error = loop {
        match reader.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended as if it were whole"),
            Err(error) => break error,
        }
    };
    match error {
        LegacyError::Source(source) => assert_eq!(source.to_string(), "the disk is on fire"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn no_more_is_read_than_asked_for_and_dropping_stops_it() {
    let (pulled, gone) = (Arc::new(AtomicUsize::new(0)), Arc::new(()));
    let (counter, held) = (pulled.clone(), gone.clone());
    let endless = stream::unfold((true, held), move |(first, held)| {
        counter.fetch_add(1, Ordering::SeqCst);
        let piece = if first { Bytes::from(archive(1 << 20)) } else { Bytes::from(vec![7; 1 << 20]) };
        async move { Some((Ok::<_, std::io::Error>(piece), (false, held))) }
    });
    let mut reader = LegacyReader::open(endless, options()).await.unwrap();
    for _ in 0..8 {
        assert_eq!(reader.next().await.unwrap().unwrap().len(), 256 << 10);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Two pieces were asked for, and a few wait in front of and behind the decoder.
    let before = pulled.load(Ordering::SeqCst);
    assert!((2..=8).contains(&before), "{before} pieces were read");
    drop(reader);
    for _ in 0..100 {
        if Arc::strong_count(&gone) == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the source was not let go");
}
