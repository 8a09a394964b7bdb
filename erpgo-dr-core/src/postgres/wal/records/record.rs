//! A record: its header, the blocks that it refers to, and its own data.

use super::fault::RecordFault;
use super::fields::Fields;
use crate::types::Lsn;

/// Bytes of a record's header, `XLogRecord`.
pub(super) const HEADER: usize = 24;
/// Where its checksum lies, which covers all but itself.
const CHECKSUM_AT: usize = 20;

/// The highest number of a block reference in a record.
const MAX_BLOCK: u8 = 32;
const SHORT_DATA: u8 = 255;
const LONG_DATA: u8 = 254;
const ORIGIN: u8 = 253;
const TOPLEVEL_TRANSACTION: u8 = 252;

const FORK: u8 = 0x0F;
const HAS_IMAGE: u8 = 0x10;
const HAS_DATA: u8 = 0x20;
const SAME_RELATION: u8 = 0x80;

const IMAGE_HAS_HOLE: u8 = 0x01;
/// The image is compressed: one bit until version 14, one for each method from 15 on.
const IMAGE_COMPRESSED_14: u8 = 0x02;
const IMAGE_COMPRESSED: u8 = 0x1C;

/// A fork of a table or index, as the log names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelationFork {
    /// The object identifier of its tablespace.
    pub tablespace: u32,
    /// That of its database; 0 for what all databases share.
    pub database: u32,
    /// The relation's file number.
    pub number: u32,
    /// 0 for the main fork, 1 for the free space map, 2 for the visibility map, 3 for the fork that unlogged relations begin with.
    pub fork: u8,
}

impl RelationFork {
    /// The fork that holds the relation itself.
    pub const MAIN: u8 = 0;
    /// The free space map.
    pub const FREE_SPACE: u8 = 1;
    /// The visibility map.
    pub const VISIBILITY: u8 = 2;
    /// What an unlogged relation is reset to.
    pub const INITIAL: u8 = 3;

    /// Reads `RelFileLocator`, and leaves the main fork.
    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let (tablespace, database, number) = (fields.word()?, fields.word()?, fields.word()?);
        Some(Self { tablespace, database, number, fork: Self::MAIN })
    }

    /// Returns another fork of the same relation.
    pub fn with_fork(self, fork: u8) -> Self {
        Self { fork, ..self }
    }
}

/// A block that a record changes, or needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlockReference {
    /// What it is a block of.
    pub relation: RelationFork,
    /// The number of the block, counted from 0.
    pub block: u32,
    /// Whether the record holds an image of it.
    pub has_image: bool,
}

/// A record of the log, whose checksum was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalRecord<'a> {
    /// Where it begins.
    pub at: Lsn,
    /// Where the record before it begins.
    pub previous: Lsn,
    /// Its bytes, without what lies between the pages that it spans.
    pub length: u32,
    /// The transaction; 0 if there is none.
    pub transaction: u32,
    /// The number of the resource manager that it is of, in the server's `rmgrlist.h`.
    pub manager: u8,
    /// What kind of record it is (the upper four bits), and flags.
    pub info: u8,
    /// The major version of the server that wrote it.
    pub major: u32,
    /// The blocks that it refers to.
    pub blocks: &'a [BlockReference],
    /// Its own data, in the form that its kind has.
    pub data: &'a [u8],
}

impl WalRecord<'_> {
    /// The record changes files in a way that its blocks do not tell (`XLR_SPECIAL_REL_UPDATE`).
    const SPECIAL: u8 = 0x01;

    /// Returns its kind among those of its resource manager.
    pub fn kind(&self) -> u8 {
        self.info & 0xF0
    }

    /// Returns whether it changes files of relations beyond the blocks that it refers to.
    pub fn is_special(&self) -> bool {
        self.info & Self::SPECIAL != 0
    }

    /// Says that its data is not what its kind has.
    pub(super) fn malformed(&self) -> RecordFault {
        RecordFault::Record { at: self.at, reason: "its data is not what its kind has" }
    }
}

/// Place for the block references of a record, used again for each.
#[derive(Debug)]
pub(super) struct Blocks {
    list: [BlockReference; MAX_BLOCK as usize + 1],
    count: usize,
}

impl Default for Blocks {
    fn default() -> Self {
        Self { list: [BlockReference::default(); MAX_BLOCK as usize + 1], count: 0 }
    }
}

/// Reads a whole record, and checks its sum.
pub(super) fn decode<'a>(
    bytes: &'a [u8],
    at: Lsn,
    major: u32,
    blocks: &'a mut Blocks,
) -> Result<WalRecord<'a>, RecordFault> {
    let fault = |reason| RecordFault::Record { at, reason };
    let mut fields = Fields(bytes);
    let mut read = || {
        let (length, transaction, previous) = (fields.word()?, fields.word()?, fields.long()?);
        let (info, manager, _, sum) = (fields.byte()?, fields.byte()?, fields.short()?, fields.word()?);
        Some((length, transaction, Lsn(previous), info, manager, sum))
    };
    let (length, transaction, previous, info, manager, sum) = read().ok_or(fault("it ends within its header"))?;
    let found = crc32c::crc32c(fields.0);
    if crc32c::crc32c_append(found, &bytes[..CHECKSUM_AT]) != sum {
        return Err(fault("its checksum is wrong"));
    }
    let data = parts(fields, major, blocks).map_err(fault)?;
    let blocks = &blocks.list[..blocks.count];
    Ok(WalRecord { at, previous, length, transaction, manager, info, major, blocks, data })
}

/// Reads what follows the header into `blocks`, and returns the record's own data.
///
/// All headers come first, then the data that belongs to blocks, in their order, and the record's own at the end.
fn parts<'a>(mut fields: Fields<'a>, major: u32, blocks: &mut Blocks) -> Result<&'a [u8], &'static str> {
    const SHORT: &str = "it ends within a part";
    blocks.count = 0;
    let (mut behind, mut own, mut least) = (0_usize, 0_usize, 0_u8);
    let mut last: Option<RelationFork> = None;
    while fields.0.len() > behind {
        match fields.byte().ok_or(SHORT)? {
            SHORT_DATA => own = fields.byte().ok_or(SHORT)?.into(),
            LONG_DATA => own = fields.word().ok_or(SHORT)? as usize,
            ORIGIN => {
                fields.short().ok_or(SHORT)?;
                continue;
            }
            TOPLEVEL_TRANSACTION => {
                fields.word().ok_or(SHORT)?;
                continue;
            }
            number @ ..=MAX_BLOCK if number >= least => {
                least = number + 1;
                let (reference, data) =
                    block(&mut fields, major, last).ok_or("a block reference of it is malformed")?;
                behind += data;
                last = Some(reference.relation);
                blocks.list[blocks.count] = reference;
                blocks.count += 1;
                continue;
            }
            ..=MAX_BLOCK => return Err("its block references are out of order"),
            _ => return Err("it has a part of an unknown kind"),
        }
        // The record's own data is the last part.
        behind = behind.saturating_add(own);
        break;
    }
    match fields.0.len() == behind {
        true => Ok(&fields.0[behind - own..]),
        false => Err("its parts do not add up to its length"),
    }
}

/// Reads a block reference, and how many bytes of data belong to it.
fn block(fields: &mut Fields<'_>, major: u32, last: Option<RelationFork>) -> Option<(BlockReference, usize)> {
    let flags = fields.byte()?;
    let length = fields.short()?;
    if (flags & HAS_DATA != 0) != (length != 0) {
        return None;
    }
    let mut data = usize::from(length);
    let has_image = flags & HAS_IMAGE != 0;
    if has_image {
        let (image, _, info) = (fields.short()?, fields.short()?, fields.byte()?);
        let compressed = if major < 15 { IMAGE_COMPRESSED_14 } else { IMAGE_COMPRESSED };
        if info & IMAGE_HAS_HOLE != 0 && info & compressed != 0 {
            fields.short()?;
        }
        data += usize::from(image);
    }
    let relation = if flags & SAME_RELATION != 0 { last? } else { RelationFork::read(fields)? };
    let relation = relation.with_fork(flags & FORK);
    Some((BlockReference { relation, block: fields.word()?, has_image }, data))
}
