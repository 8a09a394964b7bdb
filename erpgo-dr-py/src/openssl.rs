//! The `openssl enc` format, which is unauthenticated: for files that exist, or that must be opened by hand.

use bytes::{Bytes, BytesMut};
use erpgo_dr_core::crypto::openssl_enc::{
    HEADER_LEN, OpensslKdf, UnauthenticatedReader, UnauthenticatedWriter, detect,
};
use erpgo_dr_core::ops::legacy::sniff;
use erpgo_dr_core::repository::Cleanups;
use pyo3::prelude::*;
use secrecy::SecretString;

use crate::arguments::{iterations, kdf};
use crate::encrypt::py_pool;
use crate::errors::{Failure, Raising as _};
use crate::files::PythonFile;
use crate::operation::Operation;
use crate::report::{FileReport, Outcome};

const ENCRYPT: &str = "openssl-encrypt";
const DECRYPT: &str = "openssl-decrypt";

/// As many first bytes as tell what is in a file.
const HEAD: usize = HEADER_LEN + 512;

/// Encrypts as `openssl enc -aes-256-cbc -salt` does. **Unauthenticated: whoever alters the file is not found out.**
///
/// For files that are to be opened by hand with the openssl program; use `encrypt` for all others. `kdf` is `pbkdf2`
/// (with `iterations`, 10,000 by default), or `sha256` or `md5` of EVP_BytesToKey, which resist no guessing.
#[pyfunction]
#[pyo3(signature = (src, dst, passphrase, *, kdf = "pbkdf2", iterations = None, progress = None))]
pub fn openssl_encrypt_unauthenticated(
    py: Python<'_>,
    src: Py<PyAny>,
    dst: Py<PyAny>,
    passphrase: String,
    kdf: &str,
    iterations: Option<u32>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Operation> {
    let kdf = self::kdf(py, kdf, self::iterations(py, iterations)?)?;
    let passphrase = SecretString::from(passphrase);
    Ok(Operation::new(progress, Cleanups::default(), move |context| async move {
        let (source, target) = (PythonFile::new(src, &context), PythonFile::new(dst, &context));
        let pool = py_pool()?;
        context.progress.started(ENCRYPT, None);
        let mut writer = pool.run(move || UnauthenticatedWriter::new(&passphrase, kdf)).await;
        while let Some(piece) = source.read().await.raising()? {
            context.progress.advanced(ENCRYPT, piece.len() as u64);
            let sealed;
            (writer, sealed) = pool
                .run(move || {
                    let mut sealed = Vec::new();
                    writer.update(&piece, &mut sealed);
                    (writer, sealed)
                })
                .await;
            target.write(sealed.into()).await.raising()?;
        }
        let mut end = Vec::new();
        writer.finish(&mut end);
        target.write(end.into()).await.raising()?;
        context.progress.finished(ENCRYPT);
        Ok(report(&source, &target))
    }))
}

/// Decrypts a file of `openssl enc -aes-256-cbc`. **Unauthenticated: what comes out may have been altered.**
///
/// A wrong passphrase shows at the end of the file, and one time in 256 not at all; throw away what `dst` has received
/// when this raises. Without `kdf` the derivation is found out, which works where the file holds a dump of PostgreSQL,
/// SQL, gzip or zstd; `iterations` is then tried as well.
#[pyfunction]
#[pyo3(signature = (src, dst, passphrase, *, kdf = None, iterations = None, progress = None))]
pub fn openssl_decrypt_unauthenticated(
    py: Python<'_>,
    src: Py<PyAny>,
    dst: Py<PyAny>,
    passphrase: String,
    kdf: Option<&str>,
    iterations: Option<u32>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Operation> {
    let iterations = self::iterations(py, iterations)?;
    let kdf = kdf.map(|kdf| self::kdf(py, kdf, iterations)).transpose()?;
    let candidates = kdf.map_or_else(|| OpensslKdf::candidates(iterations), |kdf| vec![kdf]);
    let passphrase = SecretString::from(passphrase);
    Ok(Operation::new(progress, Cleanups::default(), move |context| async move {
        let (source, target) = (PythonFile::new(src, &context), PythonFile::new(dst, &context));
        let pool = py_pool()?;
        context.progress.started(DECRYPT, None);
        let mut piece = Some(head(&source).await?).filter(|head| !head.is_empty());
        let first = piece.clone().unwrap_or_default();
        let mut reader = pool.run(move || reader(&first, passphrase, kdf, &candidates)).await?;
        while let Some(sealed) = piece {
            let opened;
            (reader, opened) = pool
                .run(move || {
                    let mut opened = Vec::new();
                    reader.update(&sealed, &mut opened).map(|()| (reader, opened))
                })
                .await?;
            context.progress.advanced(DECRYPT, opened.len() as u64);
            target.write(opened.into()).await.raising()?;
            piece = source.read().await.raising()?;
        }
        let mut end = Vec::new();
        reader.finish(&mut end)?;
        target.write(end.into()).await.raising()?;
        context.progress.finished(DECRYPT);
        Ok(report(&target, &source))
    }))
}

/// Reads until there is enough to tell what the file holds, or until its end.
async fn head(source: &PythonFile) -> Result<Bytes, Failure> {
    let mut head = BytesMut::new();
    while head.len() < HEAD {
        let Some(piece) = source.read().await.raising()? else { break };
        head.extend_from_slice(&piece);
    }
    Ok(head.freeze())
}

fn reader(
    head: &[u8],
    passphrase: SecretString,
    kdf: Option<OpensslKdf>,
    candidates: &[OpensslKdf],
) -> Result<UnauthenticatedReader, Failure> {
    let kdf = match kdf {
        Some(kdf) => kdf,
        None => detect(&head[..head.len().min(HEAD)], &passphrase, candidates, |plain| sniff(plain).is_some())?,
    };
    Ok(UnauthenticatedReader::new(passphrase, kdf))
}

fn report(plain: &PythonFile, stored: &PythonFile) -> Outcome {
    Outcome::report(&FileReport { plaintext_bytes: plain.count(), stored_bytes: stored.count() })
}
