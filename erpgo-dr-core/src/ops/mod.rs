//! Backup, restore, verify, prune and repair: the only layer that joins the ones below.

mod error;

pub use error::{Error, ErrorKind, Result};
