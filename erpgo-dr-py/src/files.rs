//! Python objects with `read()` or `write()` as sources and targets of bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::Utc;
use erpgo_dr_core::storage::{ByteStream, ObjectMeta, ObjectWriter, StorageError};
use erpgo_dr_core::types::ObjectKey;
use futures::StreamExt as _;
use futures::stream;
use pyo3::exceptions::{PyBlockingIOError, PyOSError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::host::{Context, Raised};

/// Bytes that are asked of a `read()`.
pub(crate) const PIECE: usize = 256 << 10;

/// A file-like object. Cloning shares it.
#[derive(Clone)]
pub(crate) struct PythonFile {
    object: Arc<Py<PyAny>>,
    context: Context,
    /// Bytes that went through.
    count: Arc<AtomicU64>,
}

impl PythonFile {
    /// Takes any object; what it lacks shows at the first call.
    pub(crate) fn new(object: Py<PyAny>, context: &Context) -> Self {
        Self { object: Arc::new(object), context: context.clone(), count: Arc::default() }
    }

    /// Returns how many bytes went through.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Reads some bytes, as many as come; `None` at the end.
    pub(crate) async fn read(&self) -> Result<Option<Bytes>, Raised> {
        let object = Arc::clone(&self.object);
        let piece = self.context.call(move |py| read(object.bind(py))).await?;
        self.count.fetch_add(piece.len() as u64, Ordering::Relaxed);
        Ok((!piece.is_empty()).then_some(piece))
    }

    /// Writes all of `data`, however many calls that takes.
    pub(crate) async fn write(&self, data: Bytes) -> Result<(), Raised> {
        let (object, length) = (Arc::clone(&self.object), data.len() as u64);
        self.context.call(move |py| write(object.bind(py), &data)).await?;
        self.count.fetch_add(length, Ordering::Relaxed);
        Ok(())
    }

    /// Reads to the end, as a storage place is read.
    pub(crate) fn into_stream(self) -> ByteStream {
        let pieces = stream::try_unfold(self, |file| async move {
            let piece = file.read().await.map_err(|raised| failed("read", raised))?;
            Ok(piece.map(|piece| (piece, file)))
        });
        pieces.boxed()
    }
}

fn read(file: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    let piece = file.call_method1("read", (PIECE,))?;
    if piece.is_none() {
        return Err(PyBlockingIOError::new_err("read() returned None: files that do not block are not supported"));
    }
    if let Ok(bytes) = piece.cast::<PyBytes>() {
        return Ok(Bytes::copy_from_slice(bytes.as_bytes()));
    }
    // A bytearray, a memoryview; a str is a TypeError that says so.
    let bytes = file.py().import("builtins")?.getattr("memoryview")?.call1((piece,))?.call_method0("tobytes")?;
    Ok(Bytes::copy_from_slice(bytes.extract()?))
}

fn write(file: &Bound<'_, PyAny>, data: &[u8]) -> PyResult<()> {
    let mut rest = data;
    while !rest.is_empty() {
        let written = file.call_method1("write", (PyBytes::new(file.py(), rest),))?;
        // An object that does not say how much it took has taken all.
        let count = if written.is_none() { rest.len() } else { written.extract()? };
        if count == 0 || count > rest.len() {
            return Err(PyOSError::new_err(format!("write() took {count} of {} bytes", rest.len())));
        }
        rest = &rest[count..];
    }
    Ok(())
}

/// The error that stands for an exception on its way through the library. The caller never sees it.
fn failed(action: &'static str, raised: Raised) -> StorageError {
    StorageError::Failed {
        location: "a Python object".to_owned(),
        action,
        subject: "the file".to_owned(),
        source: raised.into(),
    }
}

/// A file that a container is written to.
pub(crate) struct FileTarget(pub(crate) PythonFile);

impl std::fmt::Debug for FileTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileTarget")
    }
}

#[async_trait]
impl ObjectWriter for FileTarget {
    async fn write(&mut self, data: Bytes) -> Result<(), StorageError> {
        self.0.write(data).await.map_err(|raised| failed("write", raised))
    }

    async fn finish(self: Box<Self>) -> Result<ObjectMeta, StorageError> {
        let key = ObjectKey::new("file").map_err(|error| StorageError::Failed {
            location: "a Python object".to_owned(),
            action: "name",
            subject: "the file".to_owned(),
            source: error.into(),
        })?;
        Ok(ObjectMeta::new(key, self.0.count(), Utc::now()))
    }

    async fn abort(self: Box<Self>) -> Result<(), StorageError> {
        Ok(())
    }
}
