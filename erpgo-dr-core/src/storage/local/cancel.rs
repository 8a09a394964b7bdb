//! Objects of callers that have gone do not appear behind their back.
//!
//! What runs on the blocking pool goes on when the future that waits for it is dropped. So the last step of a write, with
//! which the object is there, asks whether anyone still waits, and a list waits for the steps that have asked already:
//! whoever cancels writes and then lists sees all that will ever be there of them.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// A caller that waits. Dropping it says that it does no longer.
#[derive(Debug, Default)]
pub(super) struct Caller(Arc<AtomicBool>);

/// What the work knows of its caller.
#[derive(Debug)]
pub(super) struct Called(Arc<AtomicBool>);

/// The last steps that are under way.
#[derive(Debug, Default)]
pub(super) struct LastSteps(RwLock<()>);

impl Caller {
    pub(super) fn called(&self) -> Called {
        Called(Arc::clone(&self.0))
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl LastSteps {
    /// Takes the last step of a write, unless its caller has gone.
    pub(super) fn take<T>(&self, called: &Called, step: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let _under_way = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if called.0.load(Ordering::SeqCst) {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "the write was cancelled"));
        }
        step()
    }

    /// Waits until no step is under way whose caller has gone before this was called.
    pub(super) fn settle(&self) {
        drop(self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}
