//! Evidence after a breach: what a server, programs and files say is sealed into the repository, listed in a signed manifest with
//! times and SHA-256 sums, and every later touch of it is written into a chain of custody.

mod collect;
mod custody;
mod export;
mod facts;
mod manifest;
mod options;
mod server;
mod sources;
mod verify;

pub use collect::collect_evidence;
pub use custody::{Custodian, CustodyAction, CustodyEntry, note_evidence};
pub use export::{EvidenceExport, export_evidence, verify_exported_evidence};
pub use manifest::{
    EVIDENCE_FORMAT, EvidenceBackup, EvidenceItem, EvidenceListing, EvidenceManifest, EvidenceReport, EvidenceServer,
    UnreadableEvidence, evidence, list_evidence,
};
pub use options::EvidenceOptions;
pub use verify::{EvidenceVerdict, verify_evidence};
