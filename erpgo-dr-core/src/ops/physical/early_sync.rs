//! Makes durable what a restore has written so far, while it goes on: the disk then works at the same time as the processor, and little is left
//! for the end.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::scatter::blocking;
use super::target::{failed, sync_file_system};
use crate::ops::Result;

/// How long the disk is left alone in between.
const PAUSE: Duration = Duration::from_millis(200);

/// Syncs the file systems that `folders` lie on, those that are there yet, again and again until it is dropped. The last sync is the caller's.
///
/// # Errors
/// The disk lost something: a later sync, on another handle, might say nothing of it.
pub(super) async fn sync_meanwhile(folders: Vec<PathBuf>) -> Result<Infallible> {
    let folders: Arc<[PathBuf]> = folders.into();
    loop {
        tokio::time::sleep(PAUSE).await;
        let folders = Arc::clone(&folders);
        blocking(move || folders.iter().try_for_each(sync)).await?;
    }
}

fn sync(folder: &PathBuf) -> Result<()> {
    match File::open(folder) {
        Ok(opened) => sync_file_system(&opened).map_err(failed("sync", folder)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("open", folder)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_goes_on_until_a_folder_cannot_be_synced() {
        let folder = tempfile::tempdir().unwrap();
        let (later, file) = (folder.path().join("later"), folder.path().join("file"));
        std::fs::write(&file, b"").unwrap();
        let patience = 3 * PAUSE;
        let good = tokio::time::timeout(patience, sync_meanwhile(vec![folder.path().to_owned(), later]));
        assert!(good.await.is_err(), "what is not there yet is no error");
        let bad = tokio::time::timeout(10 * patience, sync_meanwhile(vec![file.join("inside")]));
        assert!(bad.await.unwrap().is_err());
    }
}
