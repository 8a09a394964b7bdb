//! What can go wrong with a repository as a whole.

use crate::container::ContainerError;
use crate::crypto::CryptoError;
use crate::storage::StorageError;
use crate::types::{BackupId, EpochId, EvidenceId, ObjectKey, RunId, WalFileName, WalSegmentName};

/// A failure of the catalogue, the keys or the leases.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepositoryError {
    /// There is no repository at this place.
    #[error("no repository at {location}")]
    NotARepository {
        /// The place.
        location: String,
    },
    /// There is one already.
    #[error("{location} already holds a repository")]
    AlreadyInitialized {
        /// The place.
        location: String,
    },
    /// The place holds what is not of a repository.
    #[error("{location} is not empty: it holds {found}, which is of no repository")]
    ForeignPlace {
        /// The place.
        location: String,
        /// Something that lies there.
        found: ObjectKey,
    },
    /// The repository was made by a newer version.
    #[error("repository format {format} is newer than this build reads")]
    UnsupportedFormat {
        /// Its format version.
        format: u32,
    },
    /// A record cannot be parsed.
    #[error("{record} is damaged: {reason}")]
    Damaged {
        /// The record's key.
        record: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The journal of a run has an entry of that number already: another process goes on with it.
    #[error("entry {number} of the run {run} was written by another process")]
    EntryExists {
        /// The run.
        run: RunId,
        /// The entry.
        number: u32,
    },
    /// There is no such bundle of evidence, or it was never collected to its end.
    #[error("no evidence {0}")]
    NoSuchEvidence(EvidenceId),
    /// A record's MAC does not match.
    #[error("{record} is not authentic: it was altered, or comes from another place")]
    NotAuthentic {
        /// The record's key.
        record: String,
    },
    /// The repository has not been unlocked with a key for this.
    #[error("no key for epoch {epoch}")]
    Locked {
        /// The epoch.
        epoch: EpochId,
    },
    /// None of the slots could be opened with what was given.
    #[error("no key slot could be opened: {detail}")]
    NoSlotOpened {
        /// Which slots were tried, and why each failed.
        detail: String,
    },
    /// Two epochs claim to follow the same one.
    #[error("epochs {first} and {second} both claim to follow {previous}: one of them was not made by you")]
    EpochConflict {
        /// The epoch that both name.
        previous: EpochId,
        /// One successor.
        first: EpochId,
        /// The other.
        second: EpochId,
    },
    /// An epoch that nobody could open.
    #[error("an epoch needs at least one slot: without one, what it seals could never be read")]
    NoSlots,
    /// A slot name that is taken.
    #[error("epoch {epoch} already has a slot {slot}")]
    SlotExists {
        /// The epoch.
        epoch: EpochId,
        /// The slot.
        slot: String,
    },
    /// A slot that does not exist.
    #[error("no slot {slot} in any epoch")]
    NoSuchSlot {
        /// The slot.
        slot: String,
    },
    /// The last slot of an epoch must stay: without it, what the epoch sealed is lost.
    #[error("slot {slot} is the last of epoch {epoch}: without it its backups could never be read again")]
    LastSlot {
        /// The epoch.
        epoch: EpochId,
        /// The slot.
        slot: String,
    },
    /// There is no such backup.
    #[error("no backup {0}")]
    NoSuchBackup(String),
    /// There is no backup at all that would do.
    #[error("the repository has no {0}")]
    NoBackup(&'static str),
    /// Another process is doing what only one may do.
    #[error("{holder} holds the {purpose} lease (renewed {renewed})")]
    Busy {
        /// What the lease is for.
        purpose: String,
        /// Who holds it.
        holder: String,
        /// When it was last renewed.
        renewed: String,
    },
    /// The run lost its lease, and what it wrote was collected as left over.
    #[error("backup {id} was taken for dead and revoked by prune: its lease was not renewed in time")]
    Revoked {
        /// The run.
        id: BackupId,
    },
    /// A backup is on hold.
    #[error("backup {id} is on hold: {reason}")]
    OnHold {
        /// The backup.
        id: BackupId,
        /// Why.
        reason: String,
    },
    /// A file of this name is archived, and it is another one.
    #[error(
        "{key} is archived already with other contents: find out which server wrote each before the other is archived under another name or place"
    )]
    WalConflict {
        /// The archived object.
        key: ObjectKey,
    },
    /// The archived file cannot be compared with one that was pushed again.
    #[error("{key} is archived, but damaged, so that nothing can be compared with it")]
    WalDamaged {
        /// The archived object.
        key: ObjectKey,
        /// What is wrong with it.
        #[source]
        source: Box<ContainerError>,
    },
    /// A file that is to be archived could not be read to its end.
    #[error("the file for {key} cannot be read")]
    WalUnreadable {
        /// What it would have become.
        key: ObjectKey,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nothing says of which cluster a file is.
    #[error("cannot tell of which cluster {name} is: {reason}")]
    WalSystemUnknown {
        /// The file.
        name: WalFileName,
        /// What was looked at.
        reason: String,
    },
    /// A segment is missing, and later ones are there.
    #[error("the archive at {location} has a gap: {name} is missing, and {later} is there")]
    WalGap {
        /// The place.
        location: String,
        /// The segment that is missing.
        name: WalSegmentName,
        /// One behind it.
        later: WalSegmentName,
    },
    /// The archive holds nothing at all of a cluster, which is no word about one of its files.
    #[error("the archive at {location} holds nothing of the cluster with system identifier {system_identifier}")]
    NoWalOfSystem {
        /// The place.
        location: String,
        /// The cluster.
        system_identifier: u64,
    },
    /// A sealed object.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// A key slot.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The storage place.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
