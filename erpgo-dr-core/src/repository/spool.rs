//! Which objects of a repository are kept at hand, for when its place is away: what opens it, and the journals of runs.

use std::sync::Arc;

use super::{Repository, layout};
use crate::storage::{SpooledStorage, Storage};

impl Repository {
    /// Puts a spool in front of a repository's place: a folder of this host, say. Opened there, the repository opens without its place
    /// too, once [`SpooledStorage::refresh`] has mirrored its settings and keys, and runs of runbooks begin and go on, their journals
    /// in the spool until [`SpooledStorage::deliver`] has brought them to the place. All else needs the place.
    ///
    /// What lies in the spool is sealed and wrapped as it is at the place.
    pub fn spooled_place(place: Arc<dyn Storage>, spool: Arc<dyn Storage>) -> SpooledStorage {
        SpooledStorage::new(place, spool, &[layout::SETTINGS, layout::KEYS], &[layout::RUNS])
    }
}
