//! When the last transaction was committed that is archived: what happened later is lost with the server.

use std::ops::ControlFlow;

use chrono::{DateTime, Utc};

use super::{WalClusterReport, WalTimelineReport};
use crate::ops::Result;
use crate::postgres::wal::SegmentHeader;
use crate::postgres::wal::records::{LogPlace, RecordReader, TransactionEnd};
use crate::repository::Repository;
use crate::types::{Lsn, WalFileName, WalSegmentName, WalSegmentSize};

/// Segments that are looked through, the newest first; a server where nothing happens archives segments without a commit.
const MOST: usize = 8;

/// Pages of the log are at most this large, and begin at multiples of their size.
const LARGEST_PAGE: usize = 1 << 16;

/// Finds the newest commit in the newest segments of a cluster's newest timeline; `None` when there is none in them, or they are of
/// a version whose records are not read.
///
/// # Errors
/// When a segment cannot be read, or is not authentic.
pub(super) async fn newest(repository: &Repository, cluster: &WalClusterReport) -> Result<Option<DateTime<Utc>>> {
    let Some(size) = cluster.segment_bytes.and_then(WalSegmentSize::new) else { return Ok(None) };
    let is_stored = |timeline: &&WalTimelineReport| timeline.newest.is_some() || timeline.tail_end.is_some();
    let Some(timeline) = cluster.timelines.iter().rev().find(is_stored) else { return Ok(None) };
    if let Some(end) = timeline.tail_end {
        let name = WalSegmentName::containing(timeline.timeline, Lsn(end.0 - 1), size);
        if let Some(commit) = newest_in_tail(repository, cluster.system_identifier, name).await? {
            return Ok(Some(commit));
        }
    }
    let range = timeline.ranges.last().map(|range| (range.first.number(size), range.last.number(size)));
    let Some((Some(first), Some(last))) = range else { return Ok(None) };
    let names = (first..=last).rev().map(|number| WalSegmentName::numbered(timeline.timeline, number, size));
    newest_of(repository, cluster.system_identifier, names).await
}

/// Finds the newest commit in the first of these segments that has one; of a few of them, where nothing happened for long.
pub(in crate::ops) async fn newest_of(
    repository: &Repository,
    system: u64,
    names: impl Iterator<Item = WalSegmentName> + Send,
) -> Result<Option<DateTime<Utc>>> {
    for name in names.take(MOST) {
        if let Some(commit) = newest_in(repository, system, name).await? {
            return Ok(Some(commit));
        }
    }
    Ok(None)
}

async fn newest_in(repository: &Repository, system: u64, name: WalSegmentName) -> Result<Option<DateTime<Utc>>> {
    let storage = repository.storage().as_ref();
    let Some(mut chunks) = repository.open_wal(storage, system, WalFileName::Segment(name)).await? else {
        return Ok(None);
    };
    let mut walk: Option<Walk> = None;
    while let Some(chunk) = chunks.next().await? {
        let mut next = match walk.take() {
            Some(walk) => walk,
            None => match Walk::begin(name, &chunk)? {
                Some(walk) => walk,
                None => return Ok(None),
            },
        };
        if !next.has_ended {
            next = repository.environment().pool.run(move || next.feed(&chunk)).await;
        }
        walk = Some(next);
    }
    Ok(walk.and_then(|walk| walk.commit))
}

/// As [`newest_in`], of a segment that is there in pieces.
async fn newest_in_tail(repository: &Repository, system: u64, name: WalSegmentName) -> Result<Option<DateTime<Utc>>> {
    let Some(begin) = repository.assemble_wal_tail(system, name).await? else { return Ok(None) };
    if begin.len() < SegmentHeader::LEN {
        return Ok(None);
    }
    let Some(walk) = Walk::begin(name, &begin)? else { return Ok(None) };
    // Pages are read whole, and where the records end the log has zeros.
    let mut pages = begin.to_vec();
    pages.resize(pages.len().next_multiple_of(LARGEST_PAGE), 0);
    Ok(repository.environment().pool.run(move || walk.feed(&pages)).await.commit)
}

/// The way along the records of a segment.
struct Walk {
    reader: RecordReader,
    commit: Option<DateTime<Utc>>,
    has_ended: bool,
}

impl Walk {
    /// Begins with the first bytes of a segment; `None` for a version whose records are not read.
    fn begin(name: WalSegmentName, bytes: &[u8]) -> Result<Option<Self>> {
        let header = SegmentHeader::parse(&name.to_string(), bytes)?;
        let Ok(place) = LogPlace::new(&header, name.timeline()) else { return Ok(None) };
        Ok(Some(Self { reader: RecordReader::seek(place, header.start), commit: None, has_ended: false }))
    }

    fn feed(mut self, chunk: &[u8]) -> Self {
        let commit = &mut self.commit;
        let outcome = self.reader.feed(chunk, &mut |record| {
            if let Ok(Some(end)) = TransactionEnd::of(record)
                && end.committed
            {
                *commit = (*commit).max(end.at);
            }
            ControlFlow::Continue(())
        });
        if let Err(fault) = outcome {
            tracing::debug!(%fault, "the records of an archived segment end early");
            self.has_ended = true;
        }
        self
    }
}
