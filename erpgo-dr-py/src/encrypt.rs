//! Files of the user's own in the container format: authenticated, compressed, in bounded memory.

use std::sync::OnceLock;

use erpgo_dr_core::codec::Codec;
use erpgo_dr_core::compute::ComputePool;
use erpgo_dr_core::container::{
    ContainerOptions, ContainerReader, ContainerWriter, KeySource, ObjectIdentity, ObjectKind, SealingKey,
};
use erpgo_dr_core::repository::Cleanups;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::arguments::codec;
use crate::errors::{Failure, Raising as _};
use crate::files::{FileTarget, PythonFile};
use crate::host::Context;
use crate::keys::FileKey;
use crate::operation::Operation;
use crate::report::{FileReport, Outcome};
use crate::repository::{Repository, Shared};

const ENCRYPT: &str = "encrypt";
const DECRYPT: &str = "decrypt";

/// Encrypts what `src` reads into `dst`, compressed and authenticated.
///
/// `src` has `read(n)`, `dst` has `write(data)`; both are binary. `key` is a FileKey, or a Repository that is unlocked,
/// whose active epoch then seals. `name` is bound to the file: `decrypt` wants the same.
#[pyfunction]
#[pyo3(signature = (src, dst, *, key, name = "", codec = "zstd:3", progress = None))]
pub fn encrypt(
    py: Python<'_>,
    src: Py<PyAny>,
    dst: Py<PyAny>,
    key: Bound<'_, PyAny>,
    name: &str,
    codec: &str,
    progress: Option<Py<PyAny>>,
) -> PyResult<Operation> {
    let keys = Keys::of(&key)?;
    let codec = self::codec(py, Some(codec))?.unwrap_or_default();
    let name = name.to_owned();
    Ok(Operation::new(progress, Cleanups::default(), move |context| async move {
        let pool = keys.pool(py_pool()?);
        let key = keys.sealing_key().await?;
        seal(&context, src, dst, &key, name, codec, pool).await
    }))
}

/// Decrypts what `encrypt` made.
///
/// Each piece is authenticated before it is written to `dst`, but that the file is whole shows only at its end: when
/// this raises, throw away what `dst` has received.
#[pyfunction]
#[pyo3(signature = (src, dst, *, key, name = "", progress = None))]
pub fn decrypt(
    src: Py<PyAny>,
    dst: Py<PyAny>,
    key: Bound<'_, PyAny>,
    name: &str,
    progress: Option<Py<PyAny>>,
) -> PyResult<Operation> {
    let keys = Keys::of(&key)?;
    let name = name.to_owned();
    Ok(Operation::new(progress, Cleanups::default(), move |context| async move {
        let pool = keys.pool(py_pool()?);
        let source = keys.source().await;
        open(&context, src, dst, &*source, name, pool).await
    }))
}

async fn seal(
    context: &Context,
    src: Py<PyAny>,
    dst: Py<PyAny>,
    key: &SealingKey,
    name: String,
    codec: Codec,
    pool: ComputePool,
) -> Result<Outcome, Failure> {
    let (source, target) = (PythonFile::new(src, context), PythonFile::new(dst, context));
    let identity = ObjectIdentity::new(ObjectKind::File, name);
    let options = ContainerOptions::default().with_codec(codec);
    let mut writer = ContainerWriter::new(identity, key, &options, pool, Box::new(FileTarget(target)))?;
    context.progress.started(ENCRYPT, None);
    while let Some(piece) = source.read().await.raising()? {
        context.progress.advanced(ENCRYPT, piece.len() as u64);
        writer.write(piece).await?;
    }
    let report = writer.finish().await?;
    context.progress.finished(ENCRYPT);
    let (plaintext_bytes, stored_bytes) = (report.plaintext_bytes, report.stored_bytes);
    Ok(Outcome::report(&FileReport { plaintext_bytes, stored_bytes }))
}

async fn open(
    context: &Context,
    src: Py<PyAny>,
    dst: Py<PyAny>,
    keys: &dyn KeySource,
    name: String,
    pool: ComputePool,
) -> Result<Outcome, Failure> {
    let (source, target) = (PythonFile::new(src, context), PythonFile::new(dst, context));
    let identity = ObjectIdentity::new(ObjectKind::File, name);
    let mut reader = ContainerReader::open(source.clone().into_stream(), &identity, keys, pool).await?;
    context.progress.started(DECRYPT, None);
    while let Some(piece) = reader.next().await? {
        context.progress.advanced(DECRYPT, piece.len() as u64);
        target.write(piece).await.raising()?;
    }
    context.progress.finished(DECRYPT);
    Ok(Outcome::report(&FileReport { plaintext_bytes: target.count(), stored_bytes: source.count() }))
}

/// Where the key of a file comes from.
enum Keys {
    File(FileKey),
    Repository(std::sync::Arc<Shared>),
}

impl Keys {
    fn of(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(key) = value.cast::<FileKey>() {
            return Ok(Self::File(key.get().clone()));
        }
        // The classes of Python hold the native one.
        let native = value.getattr("_native").ok();
        let repository = native.as_ref().and_then(|native| native.cast::<Repository>().ok());
        let found = value.get_type().name()?;
        repository
            .map(|repository| Self::Repository(repository.get().share()))
            .ok_or_else(|| PyTypeError::new_err(format!("key is a FileKey or a Repository, not {found}")))
    }

    async fn sealing_key(&self) -> Result<SealingKey, Failure> {
        match self {
            Self::File(key) => Ok(key.sealing_key()),
            Self::Repository(shared) => Ok(shared.read().await.sealing_key()?),
        }
    }

    async fn source(&self) -> Box<dyn KeySource> {
        match self {
            Self::File(key) => Box::new(key.clone()),
            Self::Repository(shared) => Box::new(shared.read().await.keyring().clone()),
        }
    }

    fn pool(&self, common: ComputePool) -> ComputePool {
        match self {
            Self::File(_) => common,
            Self::Repository(shared) => shared.environment.pool.clone(),
        }
    }
}

/// Returns the threads that everything shares which was not told how many to take: one for each core.
pub(crate) fn py_pool() -> Result<ComputePool, Failure> {
    static POOL: OnceLock<ComputePool> = OnceLock::new();
    if let Some(pool) = POOL.get() {
        return Ok(pool.clone());
    }
    let pool = ComputePool::new(0).map_err(|error| Failure::Python(error.into()))?;
    Ok(POOL.get_or_init(|| pool).clone())
}
