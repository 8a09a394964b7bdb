//! `wal stream`: the log is received as it is written, kept in a folder, and archived from there.
//!
//! Three parts run side by side. [`receive`] speaks with the server, and comes back to it after every loss; [`writer`] puts what comes
//! into the folder and makes it durable; [`upload`] brings whole segments, and the pieces of the last one, into the repository.

mod choose;
mod error;
mod folder;
mod forget;
mod options;
mod receive;
mod upload;
mod writer;

pub use error::WalStreamError;
pub use options::{
    Durability, NoWalStreamObserver, WalStreamObserver, WalStreamOptions, WalStreamReport, WalStreamStatus,
};

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, mpsc, oneshot, watch};

use self::folder::StreamFolder;
use self::receive::Receiver;
use self::upload::{Archived, Uploader};
use self::writer::Spooled;
use super::super::Result;
use crate::postgres::ConnectionSettings;
use crate::repository::Repository;

/// Messages of WAL, of up to 128 KiB each, that may wait to be written.
const WAITING: usize = 64;

/// What the parts tell each other, and the observer.
pub(super) struct Shared {
    status: Mutex<WalStreamStatus>,
    observer: Arc<dyn WalStreamObserver>,
    /// Calls the uploader: what there is should be archived now.
    hurry: Notify,
}

impl Shared {
    fn new(observer: Arc<dyn WalStreamObserver>) -> Self {
        Self { status: Mutex::default(), observer, hurry: Notify::new() }
    }

    /// Changes the status without telling anybody.
    fn note(&self, change: impl FnOnce(&mut WalStreamStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Changes the status, and tells the observer.
    fn tell(&self, change: impl FnOnce(&mut WalStreamStatus)) {
        self.note(change);
        self.observer.changed(&self.status());
    }

    fn status(&self) -> WalStreamStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Streams the log of a server into `options.folder` and from there into the repository, until `stop` completes or the end that the
/// options name is reached.
///
/// A connection or a repository that is lost is sought again, for as long as it takes. What has been received is not lost by a crash at
/// any moment: the folder is read again at the next start, and brought into the repository even if the server is gone for good.
///
/// # Errors
/// [`WalStreamError`] for what no waiting mends: the server has removed what comes next, is another cluster, or one that was left behind
/// by a promotion; [`Error::Io`](crate::Error::Io) when the folder cannot be written; the server's refusal of the first login.
pub async fn wal_stream(
    repository: &Repository,
    server: &ConnectionSettings,
    options: &WalStreamOptions,
    observer: Arc<dyn WalStreamObserver>,
    stop: impl Future<Output = ()> + Send,
) -> Result<WalStreamReport> {
    let shared = Shared::new(observer);
    let root = StreamFolder::lock_root(&options.folder)?;
    let (write, writes) = mpsc::channel(WAITING);
    let (spooled_now, spooled) = watch::channel(Spooled::default());
    let (archived_now, archived) = watch::channel(Archived::NOTHING);
    let (finish, finishing) = oneshot::channel();
    let folder = options.folder.clone();
    let writing = tokio::task::spawn_blocking(move || writer::run(&folder, writes, &spooled_now));
    let (whole_now, whole) = mpsc::unbounded_channel();
    let uploader = Uploader::new(repository, options, &shared, spooled.clone(), archived_now, whole_now);
    let mut uploading = Box::pin(async move {
        let (uploaded, ()) = tokio::join!(uploader.run(finishing), forget::run(repository, whole));
        uploaded
    });
    let receiver = Receiver { repository, server, options, shared: &shared, write, spooled: spooled.clone(), archived };
    let (received, failed) = tokio::select! {
        received = receiver.run(stop) => (received, None),
        // It ends by itself only when it fails.
        uploaded = &mut uploading => (Ok(()), Some(uploaded)),
    };
    // Whatever ended the reception: what has come is made durable, and archived if that can be done now.
    let written = match writing.await {
        Ok(written) => written,
        Err(panic) => Err(folder::failed("write", &options.folder, std::io::Error::other(panic))),
    };
    let uploaded = match failed {
        Some(failed) => failed,
        None => {
            let _ = finish.send(());
            uploading.await
        }
    };
    drop(root);
    written?;
    received?;
    uploaded?;
    Ok(WalStreamReport::new(&shared.status(), &spooled.borrow()))
}
