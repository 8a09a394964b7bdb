//! Small values that every layer speaks: identifiers, hashes, object keys. Parsed once, at the edge.

mod hash;
mod ids;
mod key;

pub use hash::{ContentHash, ContentHasher};
pub use ids::{BackupId, EpochId, IdError, RepositoryId};
pub use key::{KeyError, ObjectKey};
