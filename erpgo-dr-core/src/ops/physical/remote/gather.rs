//! Stores what was received as it comes, and in the end puts the files in order.

use std::path::Path;

use bytes::Bytes;

use super::super::WAL_FOLDER;
use super::super::collect::{CHUNK, Collected, Collector, Ended, store};
use super::super::copy::{Found, record, without_rest};
use super::super::wal::{WalHasher, segments_between};
use super::spool::FileSpool;
use super::unpack::Unpacked;
use crate::ops::{Error, Result};
use crate::postgres::PostgresError;
use crate::postgres::physical::{ClusterEntry, ClusterFacts, ControlFile, FileOutcome, PageHasher};
use crate::postgres::wal::SegmentHeader;
use crate::progress::{NoProgress, Phase, PhaseGuard};
use crate::repository::{
    DamagedPage, Extent, FileKind, FileMapWriter, FileRecord, JournalWriter, PackWriter, PageHashWriter,
    RepositoryError, push_extent,
};
use crate::types::{ContentHash, Lsn, TimelineId, WalSegmentName};

/// Stores the contents of files, one after the other.
pub(super) struct Gatherer<'a> {
    packs: &'a mut PackWriter,
    journal: JournalWriter,
    phase: &'a PhaseGuard<'a>,
    facts: &'a ClusterFacts,
    hasher: PageHasher,
    start: Lsn,
    files: FileSpool,
    /// The contents of the file that is on its way.
    open: Vec<Extent>,
    found: Found,
    label: Option<String>,
    control: Option<(ClusterEntry, Bytes)>,
    /// The last segment: of it, what lies behind the end of the backup is not of the log.
    last: Option<(WalSegmentName, Bytes)>,
    /// Those before, which are stored.
    segments: Vec<(WalSegmentName, Vec<Extent>, Bytes)>,
    wal_hasher: WalHasher,
    wal_hash: Option<ContentHash>,
}

/// What was received.
pub(super) struct Received {
    pub(super) collected: Collected,
    pub(super) label: String,
    pub(super) wal_hash: Option<ContentHash>,
    pub(super) found: Found,
}

impl<'a> Gatherer<'a> {
    /// Begins for a backup whose replay begins at `start`.
    pub(super) fn begin(
        (packs, journal): (&'a mut PackWriter, JournalWriter),
        phase: &'a PhaseGuard<'a>,
        scratch: &Path,
        facts: &'a ClusterFacts,
        hasher: PageHasher,
        start: Lsn,
    ) -> Result<Self> {
        Ok(Self {
            packs,
            journal,
            phase,
            facts,
            hasher,
            start,
            files: FileSpool::begin(scratch)?,
            open: Vec::new(),
            found: Found::default(),
            label: None,
            control: None,
            last: None,
            segments: Vec::new(),
            // Where it ends the server says last.
            wal_hasher: WalHasher::new(start, Lsn(u64::MAX)),
            wal_hash: None,
        })
    }

    pub(super) async fn take(&mut self, unpacked: Unpacked) -> Result<()> {
        match unpacked {
            Unpacked::Chunk(chunk) => {
                self.phase.advance(chunk.len() as u64);
                let extent = store(self.packs, chunk).await?;
                push_extent(&mut self.open, extent);
            }
            Unpacked::Known(extents) => {
                for extent in extents {
                    self.phase.advance(extent.length());
                    push_extent(&mut self.open, extent);
                }
            }
            Unpacked::End(entry, outcome) => self.end(&entry, &outcome).await?,
            Unpacked::Label(contents) => {
                let label = str::from_utf8(&contents).map_err(|_| malformed("the backup label is no UTF-8"))?;
                self.label = Some(of_a_whole_backup(label));
            }
            Unpacked::Control(entry, contents) => {
                ControlFile::parse(&contents).map_err(|reason| malformed(&format!("{}: {reason}", entry.path)))?;
                self.control = Some((entry, contents));
            }
            Unpacked::Wal(name, contents) => {
                self.check_segment(name, &contents)?;
                if let Some((name, contents)) = self.last.replace((name, contents)) {
                    self.segment(name, contents).await?;
                }
            }
        }
        Ok(())
    }

    async fn end(&mut self, entry: &ClusterEntry, outcome: &FileOutcome) -> Result<()> {
        let mut record = record(entry);
        if let FileKind::File { extents, .. } = &mut record.kind {
            *extents = std::mem::take(&mut self.open);
        }
        self.found.read_bytes += outcome.read;
        for damaged in &outcome.damaged {
            tracing::warn!(path = %entry.path, block = damaged.block, "a page of the cluster is damaged");
            self.found.damaged.push(DamagedPage { path: entry.path.to_string(), block: damaged.block });
        }
        if outcome.damaged.is_empty() {
            self.journal.note(&record, &outcome.hashes);
        }
        self.journal.write(self.packs).await;
        let line = serde_json::to_vec(&record).expect("a record is plain JSON");
        self.files.push(&record.path, [&line, &outcome.hashes])
    }

    fn check_segment(&self, name: WalSegmentName, contents: &[u8]) -> Result<()> {
        let header = SegmentHeader::parse(&name.to_string(), contents)?;
        header.check(name, Some(self.facts.system_identifier))?;
        Ok(header.check_length(name, contents.len() as u64)?)
    }

    /// Stores a segment of which all is of the log, or zeros.
    async fn segment(&mut self, name: WalSegmentName, contents: Bytes) -> Result<()> {
        if let Some(begin) = name.start(self.facts.wal_segment_size) {
            self.wal_hash = self.wal_hasher.update(begin, &contents).or(self.wal_hash.take());
        }
        let hashes = self.hasher.hash_file(&contents);
        let (mut rest, mut extents) = (contents, Vec::new());
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(CHUNK));
            push_extent(&mut extents, store(self.packs, piece).await?);
        }
        self.segments.push((name, extents, hashes));
        Ok(())
    }

    /// Writes the map: the files in order of their paths, then the control file and the log.
    pub(super) async fn finish(
        mut self,
        (map, page_hashes): (FileMapWriter, PageHashWriter),
        (timeline, stop): (TimelineId, Lsn),
    ) -> Result<Received> {
        self.wal_hasher.end_at(stop);
        if let Some((name, contents)) = self.last.take() {
            let contents = without_rest(contents, name, self.facts.wal_segment_size, stop);
            self.segment(name, contents).await?;
        }
        let names: Vec<WalSegmentName> = self.segments.iter().map(|(name, ..)| *name).collect();
        for name in segments_between(timeline, self.start, stop, self.facts.wal_segment_size) {
            if !names.contains(&name) {
                return Err(PostgresError::MissingWal { name }.into());
            }
        }
        let label = self.label.ok_or_else(|| malformed("the server sent no backup label"))?;
        let (entry, control) = self.control.ok_or_else(|| malformed("the server sent no control file"))?;
        // What is stored has been told.
        let told = PhaseGuard::start(&NoProgress, Phase::Backup, "", None);
        let mut collector = Collector::new(self.packs, (map, page_hashes), None, self.hasher, &told);
        let files = self.files.sorted()?;
        for number in 0..files.len() {
            let [line, hashes] = files.read(number)?;
            let mut record: FileRecord = serde_json::from_slice(&line).map_err(|error| {
                Error::from(RepositoryError::Damaged {
                    record: "a temporary file".to_owned(),
                    reason: error.to_string(),
                })
            })?;
            if let FileKind::File { extents, .. } = &mut record.kind {
                collector.known(number, std::mem::take(extents));
            }
            collector.end(number, Some(Ended { record, hashes, is_damaged: false })).await?;
        }
        collector.whole(record(&entry), control).await?;
        for (number, (name, extents, hashes)) in (files.len() + 1..).zip(self.segments) {
            let kind = FileKind::File { modified: 0, extents: Vec::new() };
            collector.known(number, extents);
            let record = FileRecord::new(format!("{WAL_FOLDER}/{name}"), kind, 0o600);
            collector.end(number, Some(Ended { record, hashes, is_damaged: false })).await?;
        }
        let collected = collector.finish().await?;
        Ok(Received { collected, label, wal_hash: self.wal_hash, found: self.found })
    }
}

/// Takes out of a label what says that files are missing beside it: these have been put together. `pg_combinebackup` does the same.
fn of_a_whole_backup(label: &str) -> String {
    label.lines().filter(|line| !line.starts_with("INCREMENTAL FROM ")).flat_map(|line| [line, "\n"]).collect()
}

fn malformed(reason: &str) -> Error {
    PostgresError::MalformedCluster(reason.to_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_does_not_say_that_files_are_missing() {
        let label = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nBACKUP METHOD: streamed\nINCREMENTAL FROM LSN: 0/1\nINCREMENTAL FROM TLI: 1\n";
        let expected = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nBACKUP METHOD: streamed\n";
        assert_eq!(of_a_whole_backup(label), expected);
        assert_eq!(of_a_whole_backup(expected), expected);
    }
}
