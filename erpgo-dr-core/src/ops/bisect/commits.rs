//! The commits in a stretch of the archived log, in order.
//!
//! However many there are, a bounded number is kept: every second, then every fourth... The search finds the two neighbours between which
//! the boundary lies, and the stretch between them is read again.

use std::ops::ControlFlow;

use chrono::{DateTime, Utc};

use super::lineage::Lineage;
use super::report::LoggedCommit;
use crate::ops::Result;
use crate::postgres::wal::SegmentHeader;
use crate::postgres::wal::records::{LogPlace, RecordFault, RecordReader, TransactionEnd};
use crate::repository::Repository;
use crate::types::{Lsn, TimelineId, WalFileName, WalSegmentName};

/// Commits that are kept of a stretch: some 40 MB.
const MOST: usize = 1 << 20;
/// Pages of the log are at most this large, and begin at multiples of their size.
const LARGEST_PAGE: usize = 1 << 16;

/// What a stretch of the log has.
#[derive(Debug)]
pub(super) struct Commits {
    /// Some of the commits, the last among them.
    pub(super) kept: Vec<LoggedCommit>,
    /// Whether these are all.
    pub(super) is_all: bool,
    /// How many there are.
    pub(super) count: u64,
    /// Where the log that is there ends, if it ends before the stretch does; and why.
    pub(super) end: Option<(Lsn, String)>,
}

/// Reads the commits from `from` up to those that begin before `to`, or to the end of what is archived.
///
/// # Errors
/// When a segment cannot be read, or is not authentic.
pub(super) async fn between(repository: &Repository, lineage: &Lineage, from: Lsn, to: Option<Lsn>) -> Result<Commits> {
    let size = lineage.segment_size;
    let mut walk = Walk::new(from, to, MOST);
    let mut number = from.0 / size.bytes();
    while !walk.has_arrived && walk.end.is_none() {
        let start = Lsn(number * size.bytes());
        if to.is_some_and(|to| to <= start) {
            break;
        }
        let name = WalSegmentName::numbered(lineage.timeline_of(number), number, size);
        match read_segment(repository, lineage.system_identifier, name, walk).await? {
            (next, true) => walk = next,
            (mut next, false) => {
                next.end = Some((start.max(from), format!("{name} is not in the archive")));
                walk = next;
            }
        }
        number += 1;
    }
    Ok(walk.finish())
}

/// Reads a segment, whole or what there is of it in pieces. Returns whether there is anything of it.
async fn read_segment(
    repository: &Repository,
    system: u64,
    name: WalSegmentName,
    mut walk: Walk,
) -> Result<(Walk, bool)> {
    let storage = repository.storage().as_ref();
    if let Some(mut chunks) = repository.open_wal(storage, system, WalFileName::Segment(name)).await? {
        let mut is_first = true;
        while let Some(chunk) = chunks.next().await? {
            if std::mem::take(&mut is_first) {
                walk.enter(system, name, &chunk)?;
            }
            walk = repository.environment().pool.run(move || walk.feed(&chunk)).await;
            if walk.is_over() {
                break;
            }
        }
        return Ok((walk, true));
    }
    let Some(begin) = repository.assemble_wal_tail(system, name).await? else { return Ok((walk, false)) };
    if begin.len() < SegmentHeader::LEN {
        return Ok((walk, false));
    }
    walk.enter(system, name, &begin)?;
    // Pages are read whole, and where the records end the log has zeros.
    let mut pages = begin.to_vec();
    pages.resize(pages.len().next_multiple_of(LARGEST_PAGE), 0);
    Ok((repository.environment().pool.run(move || walk.feed(&pages)).await, true))
}

/// The way along the records.
struct Walk {
    reader: Option<(RecordReader, TimelineId)>,
    from: Lsn,
    to: Option<Lsn>,
    thinning: Thinning,
    has_arrived: bool,
    end: Option<(Lsn, String)>,
}

impl Walk {
    fn new(from: Lsn, to: Option<Lsn>, most: usize) -> Self {
        Self { reader: None, from, to, thinning: Thinning::new(most), has_arrived: false, end: None }
    }

    /// Begins a segment. The first one of a timeline repeats what its parent has of it.
    fn enter(&mut self, system: u64, name: WalSegmentName, begin: &[u8]) -> Result<()> {
        if self.reader.as_ref().is_some_and(|(_, timeline)| *timeline == name.timeline()) {
            return Ok(());
        }
        let header = SegmentHeader::parse(&name.to_string(), begin)?;
        header.check(name, Some(system))?;
        match LogPlace::new(&header, name.timeline()) {
            Ok(place) => self.reader = Some((RecordReader::seek(place, header.start), name.timeline())),
            Err(fault) => self.end = Some((self.from, fault.to_string())),
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.has_arrived || self.end.is_some()
    }

    fn feed(mut self, chunk: &[u8]) -> Self {
        let Some((reader, timeline)) = &mut self.reader else { return self };
        if self.end.is_some() {
            return self;
        }
        let (thinning, from, to, timeline) = (&mut self.thinning, &mut self.from, self.to, *timeline);
        let mut has_arrived = false;
        let outcome = reader.feed(chunk, &mut |record| {
            if to.is_some_and(|to| record.at >= to) {
                has_arrived = true;
                return ControlFlow::Break(());
            }
            if record.at >= *from
                && let Ok(Some(end)) = TransactionEnd::of(record)
                && end.committed
            {
                *from = Lsn(record.at.0 + 1);
                thinning.add(commit(record.at, &end, timeline));
            }
            ControlFlow::Continue(())
        });
        self.has_arrived = has_arrived;
        if let Err(fault) = outcome {
            let at = match fault {
                RecordFault::End { at } | RecordFault::Page { at, .. } | RecordFault::Record { at, .. } => at,
                _ => self.from,
            };
            self.end = Some((at, fault.to_string()));
        }
        self
    }

    fn finish(self) -> Commits {
        let Thinning { kept, stride, count, last, .. } = self.thinning;
        let mut commits = Commits { is_all: stride == 1, kept, count, end: self.end };
        if let Some(last) = last
            && commits.kept.last() != Some(&last)
        {
            commits.kept.push(last);
        }
        commits
    }
}

fn commit(lsn: Lsn, end: &TransactionEnd<'_>, timeline: TimelineId) -> LoggedCommit {
    let at: Option<DateTime<Utc>> = end.at;
    LoggedCommit { transaction: end.transaction, lsn, at, timeline }
}

/// Keeps every commit while there is room, and then every second of those that are kept, and of those that come.
struct Thinning {
    kept: Vec<LoggedCommit>,
    most: usize,
    stride: u64,
    count: u64,
    last: Option<LoggedCommit>,
}

impl Thinning {
    fn new(most: usize) -> Self {
        Self { kept: Vec::new(), most, stride: 1, count: 0, last: None }
    }

    fn add(&mut self, commit: LoggedCommit) {
        if self.count.is_multiple_of(self.stride) {
            if self.kept.len() == self.most {
                let mut number = 0_usize;
                self.kept.retain(|_| {
                    number += 1;
                    !number.is_multiple_of(2)
                });
                self.stride *= 2;
            }
            if self.count.is_multiple_of(self.stride) {
                self.kept.push(commit);
            }
        }
        self.count += 1;
        self.last = Some(commit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_commits_some_are_kept_evenly_and_the_last() {
        for count in [0_u64, 1, 7, 8, 9, 16, 17, 1000] {
            let mut walk = Walk::new(Lsn(0), None, 8);
            for number in 0..count {
                let lsn = Lsn(number);
                walk.thinning.add(LoggedCommit { transaction: 0, lsn, at: None, timeline: TimelineId::FIRST });
            }
            let commits = walk.finish();
            let kept: Vec<u64> = commits.kept.iter().map(|commit| commit.lsn.0).collect();
            assert_eq!((commits.count, kept.last().copied()), (count, count.checked_sub(1)), "{kept:?}");
            assert!(kept.len() <= 9 && commits.is_all == (count <= 8), "{count}: {kept:?}");
            let steps: Vec<u64> = kept.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let largest = steps.iter().max().copied().unwrap_or(1);
            assert!(steps.iter().rev().skip(1).all(|step| *step == largest), "{count}: {kept:?}");
            assert!(kept.len() as u64 == count || kept.len() >= 5, "{count}: {kept:?}");
        }
    }
}
