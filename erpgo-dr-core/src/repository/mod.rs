//! The repository: catalogue, manifests, leases and key epochs over a storage place.

/// A repository that has been opened.
#[derive(Debug)]
pub struct Repository;
