//! The files of a cluster as a base backup sends them: tar archives, and in them files whole or what has changed of them.

mod file;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod incremental;
mod tar;

pub(crate) use file::ReceivedFile;
pub(crate) use incremental::IncrementalParser;
pub(crate) use tar::{TarEvent, TarStream};
