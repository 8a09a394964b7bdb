//! What stays in the spool although it was delivered: for when the place is away, or has lost it.

use std::time::Duration;

use chrono::Utc;

use super::super::StorageError;
use super::gather::{Listing, listing, listing_of_spool};
use super::{Shared, marks};

/// How long an object stays in the spool that the place has too.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// What the spool has, and which of that the place has.
pub(super) struct Held {
    in_spool: Listing,
    at_place: Listing,
}

/// Compares the spool with the place, which is asked for nothing where the spool is empty.
pub(super) async fn compare(shared: &Shared) -> Result<Held, StorageError> {
    let mut held = Held { in_spool: Listing::new(), at_place: Listing::new() };
    for folder in &shared.spooled {
        // In this order: what is delivered between the two is found at the place.
        let in_spool = listing_of_spool(shared, folder).await?;
        if !in_spool.is_empty() {
            held.at_place.extend(shared.ask(listing(shared.place.as_ref(), folder)).await?);
        }
        held.in_spool.extend(in_spool);
    }
    Ok(held)
}

impl Held {
    /// Has what the place lacks wait, though it was delivered once: a place may be brought back as it was before.
    pub(super) async fn mark_lost(&self, shared: &Shared) -> Result<(), StorageError> {
        for key in self.in_spool.keys().filter(|key| !self.at_place.contains_key(*key)) {
            marks::ensure(shared, key).await?;
        }
        Ok(())
    }

    /// Removes from the spool what is old and at the place.
    pub(super) async fn clear(&self, shared: &Shared) -> Result<(), StorageError> {
        let before = Utc::now() - KEPT;
        let is_old = |key| self.in_spool.get(key).is_some_and(|meta| meta.last_modified < before);
        let waiting = marks::waiting(shared, "").await?;
        for key in self.at_place.keys().filter(|key| is_old(key) && !waiting.contains_key(*key)) {
            shared.spool.delete(key).await?;
        }
        Ok(())
    }
}
