//! How many jobs run at once, where several agents share a process.

use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Turns of the agents of one process: as many jobs run at once as there are. Whoever has waited longest is next. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Turns {
    free: Arc<Semaphore>,
}

/// A turn, until it is dropped.
pub(super) type Turn = Option<OwnedSemaphorePermit>;

/// An agent's place in the queue.
#[derive(Default)]
pub(super) struct Queue {
    turns: Option<Turns>,
    place: Option<Pin<Box<dyn Future<Output = Turn> + Send + Sync>>>,
}

impl Turns {
    /// Has so many jobs run at once.
    pub fn new(jobs: NonZeroUsize) -> Self {
        Self { free: Arc::new(Semaphore::new(jobs.get().min(Semaphore::MAX_PERMITS))) }
    }
}

impl Queue {
    /// Waits for turns of these; without any there is no waiting.
    pub(super) fn new(turns: Option<Turns>) -> Self {
        Self { turns, place: None }
    }

    /// Waits for a turn. The place in the queue is kept when the future is dropped, until [`Queue::leave`].
    pub(super) async fn turn(&mut self) -> Turn {
        let Some(turns) = &self.turns else { return None };
        let free = Arc::clone(&turns.free);
        let place = self.place.get_or_insert_with(|| Box::pin(async move { free.acquire_owned().await.ok() }));
        let turn = place.as_mut().await;
        self.place = None;
        turn
    }

    /// Gives up the place in the queue: a turn that comes to who does not take it is nobody's.
    pub(super) fn leave(&mut self) {
        self.place = None;
    }
}
