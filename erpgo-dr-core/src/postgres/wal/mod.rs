//! The files of the write-ahead log, and what a server says of archiving them. Parses bytes; stores nothing.

mod archiving;
mod error;
mod history;
mod page_header;
pub mod records;

pub use archiving::{ArchivingStatus, archiving_status};
pub use error::WalError;
pub use history::{TimelineHistory, TimelineSwitch};
pub use page_header::SegmentHeader;
