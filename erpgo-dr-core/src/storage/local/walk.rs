//! Listing a folder and those below it.

use std::fs::{self, FileType};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures::stream::{self, Stream, StreamExt as _};
use tokio::sync::mpsc;

use super::files::{self, map_io_subject};
use super::{Place, blocking};
use crate::storage::{ObjectMeta, StorageError, folder_of};
use crate::types::ObjectKey;

type Item = Result<ObjectMeta, StorageError>;

/// How many objects may wait for the reader of a list.
const WAITING: usize = 256;

/// Lists the objects below `prefix`. The walk begins when the stream is first polled, and ends when it is dropped.
pub(super) fn list(place: Arc<Place>, prefix: &str) -> impl Stream<Item = Item> + Send + use<> {
    let folder = folder_of(&place.location(), prefix);
    stream::once(async move {
        let (sender, receiver) = mpsc::channel(WAITING);
        let walk = tokio::task::spawn_blocking(move || match folder {
            Ok(folder) => Walk { place, sender }.run(folder.as_ref()),
            Err(error) => drop(sender.blocking_send(Err(error))),
        });
        stream::unfold((receiver, Some(walk)), |(mut receiver, mut walk)| async move {
            if let Some(item) = receiver.recv().await {
                return Some((item, (receiver, walk)));
            }
            // A walk that panicked must not pass for the end of the list.
            let ended = blocking_outcome(walk.take()?).await;
            ended.err().map(|error| (Err(error), (receiver, None)))
        })
    })
    .flatten()
}

async fn blocking_outcome(walk: tokio::task::JoinHandle<()>) -> Result<(), StorageError> {
    match walk.await {
        Ok(()) => Ok(()),
        Err(error) => {
            blocking(move || match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => Err(StorageError::Failed {
                    location: "local disk".to_owned(),
                    action: "list",
                    subject: "a folder".to_owned(),
                    source: error.into(),
                }),
            })
            .await
        }
    }
}

struct Walk {
    place: Arc<Place>,
    sender: mpsc::Sender<Item>,
}

/// The reader of the list has gone, or was told of an error, after which nothing more comes.
struct Over;

impl Walk {
    fn run(&self, folder: Option<&ObjectKey>) {
        // Over is over: whoever reads the list knows.
        let _ = self.walk(folder.map_or_else(String::new, ToString::to_string));
    }

    fn walk(&self, folder: String) -> Result<(), Over> {
        self.place.last_steps.settle();
        self.check_root()?;
        let mut pending = vec![folder];
        while let Some(folder) = pending.pop() {
            self.folder(&folder, &mut pending)?;
        }
        // One that went meanwhile looked as if it had ended there.
        self.check_root()
    }

    fn check_root(&self) -> Result<(), Over> {
        self.place.root.check().map_err(|error| self.fail("", error))
    }

    fn folder(&self, folder: &str, pending: &mut Vec<String>) -> Result<(), Over> {
        let path = self.path(folder);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            // Removed since its parent was read, or a prefix that is an object: nothing lies below it.
            Err(error) if files::is_absent(&error) => return Ok(()),
            Err(error) => return Err(self.fail(folder, error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| self.fail(folder, error))?;
            let name = entry.file_name();
            // What no key could have brought here is none of ours: `~tmp`, `lost+found`, an editor's backup.
            let Some(name) = name.to_str().filter(|name| is_segment(name)) else { continue };
            let name = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => pending.push(name),
                Ok(kind) => self.file(name, kind, &entry)?,
                Err(error) => return Err(self.fail(&name, error)),
            }
        }
        Ok(())
    }

    fn file(&self, name: String, kind: FileType, entry: &fs::DirEntry) -> Result<(), Over> {
        if kind.is_symlink() {
            let error = io::Error::other("it is a symbolic link, which no storage folder may contain");
            return Err(self.fail(&name, error));
        }
        let Ok(key) = ObjectKey::new(name) else { return Ok(()) };
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => {
                let meta = ObjectMeta::new(key, metadata.len(), files::modified(&metadata));
                self.sender.blocking_send(Ok(meta)).map_err(|_| Over)
            }
            Ok(_) => Ok(()),
            Err(error) if files::is_absent(&error) => Ok(()),
            Err(error) => Err(self.fail(key.as_str(), error)),
        }
    }

    fn path(&self, folder: &str) -> PathBuf {
        let root = self.place.root.path();
        if folder.is_empty() { root.to_owned() } else { root.join(folder) }
    }

    fn fail(&self, subject: &str, error: io::Error) -> Over {
        let subject = if subject.is_empty() { "the folder" } else { subject };
        let error = map_io_subject(self.place.location(), "list", subject.to_owned(), error);
        let _ = self.sender.blocking_send(Err(error));
        Over
    }
}

fn is_segment(name: &str) -> bool {
    !name.contains('/') && ObjectKey::new(name).is_ok()
}
