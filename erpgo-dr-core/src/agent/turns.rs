//! How many jobs run at once, where several agents share a process.

use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Turns of the agents of one process: as many jobs run at once as there are. Whoever has waited longest is next. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Turns {
    free: Arc<Semaphore>,
}

/// A turn, until it is dropped; `None` where nobody waits for any.
pub(super) type Turn = Option<OwnedSemaphorePermit>;

impl Turns {
    /// Has so many jobs run at once.
    pub fn new(jobs: NonZeroUsize) -> Self {
        Self { free: Arc::new(Semaphore::new(jobs.get().min(Semaphore::MAX_PERMITS))) }
    }

    /// Waits for a turn. Dropping the future gives up the place in the queue; who keeps it and does not poll it may keep a turn from others.
    pub(super) async fn turn(turns: Option<&Self>) -> Turn {
        match turns {
            Some(turns) => Arc::clone(&turns.free).acquire_owned().await.ok(),
            None => None,
        }
    }
}
