//! Brings what lies in the folder into the repository: whole files as they are, and the last segment piece by piece.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::super::push::{WalPushOptions, wal_push};
use super::folder::{StreamFolder, Tail, failed};
use super::writer::Spooled;
use super::{Durability, Shared, WalStreamOptions};
use crate::causes::chain;
use crate::ops::{Error, ErrorKind, Result};
use crate::postgres::wal::TimelineHistory;
use crate::repository::{Repository, RepositoryError, TailPiece};
use crate::storage::StorageError;
use crate::types::{Lsn, TimelineId, WalFileName, WalSegmentName};

/// The most of a segment that goes into one piece.
const PIECE: u64 = 16 << 20;

/// How long to wait after a failure, at first and at the most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// How far the log is in the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Archived {
    /// Of which beginning that is, as in [`Spooled::generation`].
    pub(super) generation: u64,
    pub(super) position: Lsn,
}

impl Archived {
    /// Nothing yet.
    pub(super) const NOTHING: Self = Self { generation: 0, position: Lsn(0) };
}

/// The part that archives.
pub(super) struct Uploader<'a> {
    repository: &'a Repository,
    options: &'a WalStreamOptions,
    push: WalPushOptions,
    shared: &'a Shared,
    spooled: watch::Receiver<Spooled>,
    archived: watch::Sender<Archived>,
    /// Takes segments of which pieces may be left although they are whole.
    whole: mpsc::UnboundedSender<(u64, WalSegmentName)>,
    folder: Option<StreamFolder>,
    /// What of the folder has been dealt with.
    completed: Option<u64>,
    tail: Option<UploadedTail>,
    /// What an earlier process left, and is in the repository.
    left: Option<Tail>,
    /// The last timeline that was looked at, and where it began.
    beginning: Option<(TimelineId, Option<Lsn>)>,
}

/// How much of a segment is in the repository.
#[derive(Debug, Clone, Copy)]
struct UploadedTail {
    segment: WalSegmentName,
    generation: u64,
    bytes: u64,
    sequence: u32,
}

impl<'a> Uploader<'a> {
    pub(super) fn new(
        repository: &'a Repository,
        options: &'a WalStreamOptions,
        shared: &'a Shared,
        spooled: watch::Receiver<Spooled>,
        archived: watch::Sender<Archived>,
        whole: mpsc::UnboundedSender<(u64, WalSegmentName)>,
    ) -> Self {
        let push = WalPushOptions::default().with_places(options.places.clone());
        Self {
            repository,
            options,
            push,
            shared,
            spooled,
            archived,
            whole,
            folder: None,
            completed: None,
            tail: None,
            left: None,
            beginning: None,
        }
    }

    /// Archives until `finishing` completes, and then what is left, once. Ends earlier only by a failure that no waiting mends.
    pub(super) async fn run(mut self, mut finishing: oneshot::Receiver<()>) -> Result<()> {
        let (least, most) = BACKOFF;
        let (mut backoff, mut tail_due) = (least, Instant::now());
        loop {
            let last = matches!(finishing.try_recv(), Ok(()) | Err(oneshot::error::TryRecvError::Closed));
            let urgent = last || self.options.durability == Durability::Repository || Instant::now() >= tail_due;
            let outcome = self.pass(urgent).await;
            if urgent {
                tail_due = Instant::now() + self.options.upload_every;
            }
            match outcome {
                Ok(()) => {
                    backoff = least;
                    self.shared.note(|status| status.repository_problem = None);
                }
                Err(error) if is_hopeless(&error) => return Err(error),
                Err(error) => {
                    let text = chain(&error);
                    tracing::error!(error = text, "the log cannot be archived; trying again");
                    self.shared.tell(|status| status.repository_problem = Some(text));
                    if !last {
                        tokio::select! {
                            _ = &mut finishing => {}
                            () = tokio::time::sleep(backoff) => {}
                        }
                        backoff = (backoff * 2).min(most);
                        tail_due = Instant::now();
                        continue;
                    }
                }
            }
            if last {
                return Ok(());
            }
            tokio::select! {
                _ = &mut finishing => {}
                changed = self.spooled.changed() => if changed.is_err() {
                    // The writer has ended: the word to finish follows.
                    let _ = (&mut finishing).await;
                },
                () = self.shared.hurry.notified() => tail_due = Instant::now(),
                () = tokio::time::sleep_until(tail_due) => {}
            }
        }
    }

    async fn pass(&mut self, with_tail: bool) -> Result<()> {
        let spooled = *self.spooled.borrow_and_update();
        let folder = match (&self.folder, spooled.tail) {
            (Some(folder), _) => folder.clone(),
            (None, Some(tail)) => StreamFolder::open(&self.options.folder, tail.system_identifier)?,
            // Whole segments of an earlier process may wait before the server has said a word.
            (None, None) => match StreamFolder::find(&self.options.folder)? {
                Some(folder) => folder,
                None => return Ok(()),
            },
        };
        if self.folder.is_none() {
            // An earlier process may have been killed before it had removed them.
            let mut left = self.repository.wal_tails(Some(folder.system_identifier), None).await?;
            left.dedup_by_key(|piece| piece.segment);
            left.iter().for_each(|piece| self.forget_pieces(&folder, piece.segment));
        }
        self.folder = Some(folder.clone());
        if self.completed != Some(spooled.completed) {
            self.push_whole(&folder, &spooled).await?;
            self.completed = Some(spooled.completed);
        }
        if let (Some(tail), true) = (spooled.tail, with_tail) {
            self.push_tail(&folder, tail, spooled.generation).await?;
        }
        match spooled.left {
            Some(left) if with_tail && self.left == Some(left) => {
                // The tail before it was just told as the end of the archive.
                self.shared.note(|status| status.archived = Some(left.end()));
                Ok(())
            }
            Some(left) if with_tail => self.push_over(&folder, left).await,
            _ => Ok(()),
        }
    }

    /// Archives every file that will not grow any more, and removes it from the folder.
    async fn push_whole(&mut self, folder: &StreamFolder, spooled: &Spooled) -> Result<()> {
        let waiting = folder.waiting()?;
        let segments = waiting.iter().filter_map(|name| match name {
            WalFileName::Segment(segment) | WalFileName::Partial(segment) => Some(*segment),
            _ => None,
        });
        let newest = segments.chain(spooled.tail.map(|tail| tail.segment)).max();
        for name in waiting {
            match name {
                // Without a word of the server it is not known yet whether it goes on.
                WalFileName::Partial(segment) if newest == Some(segment) => {}
                WalFileName::Partial(segment) => self.push_left(folder, segment).await?,
                name => {
                    let push = self.push.clone().with_system_identifier(Some(folder.system_identifier));
                    let report = wal_push(self.repository, &folder.file(name), &push).await?;
                    if let Some(missed) = report.missed.first() {
                        return Err(missed_by(&missed.location, &missed.error));
                    }
                    folder.remove(name)?;
                }
            }
            if let WalFileName::Segment(segment) = name {
                self.forget_pieces(folder, segment);
                self.shared.tell(|status| status.segments += 1);
            }
        }
        // All that lay there is archived: up to where the last segment begins.
        if let Some(tail) = spooled.tail {
            self.advance(spooled.generation, tail.start);
        }
        Ok(())
    }

    /// Archives what there is of a segment that nobody writes any more, as the end of a timeline that was left.
    async fn push_left(&mut self, folder: &StreamFolder, segment: WalSegmentName) -> Result<()> {
        // Without a header it holds nothing; whoever looks after the folder may still want to see it.
        let Some(left) = folder.measure(segment)? else { return Ok(()) };
        if !self.is_copy(&left).await? {
            let mut state = self.begin_tail(folder.system_identifier, segment, u64::MAX).await?;
            self.push_pieces(folder, &mut state, left.bytes).await?;
        }
        folder.remove(WalFileName::Partial(segment))
    }

    async fn push_tail(&mut self, folder: &StreamFolder, tail: Tail, generation: u64) -> Result<()> {
        let known = self.tail.filter(|known| (known.segment, known.generation) == (tail.segment, generation));
        if tail.bytes == 0 || self.is_copy(&tail).await? {
            return Ok(());
        }
        let mut state = match known {
            Some(known) => known,
            None => self.begin_tail(folder.system_identifier, tail.segment, generation).await?,
        };
        let pushed = self.push_pieces(folder, &mut state, tail.bytes).await;
        self.tail = Some(state);
        if pushed? {
            self.advance(generation, Lsn(tail.start.0 + state.bytes));
        }
        Ok(())
    }

    /// Archives what an earlier process received of the last segment beyond what this one did. The server is not told: it may send something
    /// else from there on.
    async fn push_over(&mut self, folder: &StreamFolder, left: Tail) -> Result<()> {
        if self.is_copy(&left).await? {
            return Ok(());
        }
        let known = self.tail.filter(|known| known.segment == left.segment);
        let mut state = match known {
            Some(known) => known,
            None => self.begin_tail(folder.system_identifier, left.segment, u64::MAX).await?,
        };
        let pushed = self.push_pieces(folder, &mut state, left.bytes).await;
        // Numbers that are used up stay so.
        if let Some(tail) = self.tail.as_mut().filter(|tail| tail.segment == left.segment) {
            tail.sequence = state.sequence;
        }
        if pushed? {
            self.shared.note(|status| status.archived = Some(left.end()));
            self.left = Some(left);
        }
        Ok(())
    }

    /// Returns whether the beginning of a segment does not reach the place where its timeline began: then it says nothing that the segment
    /// of the timeline before does not, and may be shorter. A recovery would take it first, and end there.
    async fn is_copy(&mut self, tail: &Tail) -> Result<bool> {
        let timeline = tail.segment.timeline();
        if timeline == TimelineId::FIRST {
            return Ok(false);
        }
        let beginning = match self.beginning {
            Some((known, beginning)) if known == timeline => beginning,
            _ => {
                // Archived before anything of the timeline, or removed with the log from so long ago.
                let name = WalFileName::History(timeline);
                let beginning = match self.repository.small_wal_file(tail.system_identifier, name).await? {
                    Some(bytes) => TimelineHistory::parse(timeline, &bytes)?.parent().map(|parent| parent.position),
                    None => None,
                };
                self.beginning = Some((timeline, beginning));
                beginning
            }
        };
        Ok(beginning.is_some_and(|beginning| tail.end() < beginning))
    }

    /// Finds how the pieces of a segment go on that an earlier process may have begun.
    async fn begin_tail(&self, system: u64, segment: WalSegmentName, generation: u64) -> Result<UploadedTail> {
        let sequence = self.next_sequence(system, segment).await?;
        Ok(UploadedTail { segment, generation, bytes: 0, sequence })
    }

    async fn next_sequence(&self, system: u64, segment: WalSegmentName) -> Result<u32> {
        let pieces = self.repository.wal_tails(Some(system), Some(segment)).await?;
        Ok(pieces.last().map_or(0, |piece| piece.sequence + 1))
    }

    /// Stores what of a segment is not stored yet. Returns whether that is so now: not if it became whole meanwhile.
    async fn push_pieces(&self, folder: &StreamFolder, state: &mut UploadedTail, end: u64) -> Result<bool> {
        while state.bytes < end {
            let (from, to) = (state.bytes, end.min(state.bytes + PIECE));
            let Some(plain) = read_partial(folder, state.segment, from, to).await? else { return Ok(false) };
            let piece = TailPiece {
                system_identifier: folder.system_identifier,
                segment: state.segment,
                sequence: state.sequence,
                from: from as u32,
                to: to as u32,
            };
            // Whatever comes of it, this number is used up.
            state.sequence += 1;
            match self.repository.store_wal_tail(&piece, plain).await {
                Ok(()) => {}
                // Another stream of the same log has its pieces here too.
                Err(RepositoryError::Storage(StorageError::AlreadyExists { .. })) => {
                    state.sequence = self.next_sequence(folder.system_identifier, state.segment).await?;
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            if let Some(missed) = self.repository.storage().take_missed_writes().first() {
                return Err(missed_by(&missed.location, &missed.error));
            }
            state.bytes = to;
        }
        Ok(true)
    }

    /// Has the pieces of a segment removed if it is archived whole. Commits do not wait for that.
    fn forget_pieces(&self, folder: &StreamFolder, segment: WalSegmentName) {
        let _ = self.whole.send((folder.system_identifier, segment));
    }

    fn advance(&self, generation: u64, position: Lsn) {
        self.shared.note(|status| status.archived = Some(position));
        self.archived.send_replace(Archived { generation, position });
    }
}

/// Reads a part of a segment; `None` if it has become whole, and has another name.
async fn read_partial(folder: &StreamFolder, segment: WalSegmentName, from: u64, to: u64) -> Result<Option<Bytes>> {
    let path = folder.file(WalFileName::Partial(segment));
    let task_path = path.clone();
    let read = tokio::task::spawn_blocking(move || {
        let file = match File::open(task_path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut plain = vec![0; (to - from) as usize];
        file.read_exact_at(&mut plain, from)?;
        Ok(Some(Bytes::from(plain)))
    });
    let read = read.await.map_err(std::io::Error::other).and_then(|read| read);
    read.map_err(|source| failed("read", &path, source))
}

/// Returns whether a failure will be the same however often one tries.
fn is_hopeless(error: &Error) -> bool {
    match error {
        Error::Repository(RepositoryError::WalConflict { .. } | RepositoryError::WalDamaged { .. }) => true,
        Error::WalStream(_) | Error::Io { .. } => true,
        error => matches!(error.kind(), ErrorKind::Integrity | ErrorKind::Locked | ErrorKind::Invalid),
    }
}

/// What is durable at some places only is not durable.
fn missed_by(location: &str, error: &str) -> Error {
    let (location, subject, source) = (location.to_owned(), "the log".to_owned(), error.into());
    StorageError::Unavailable { location, action: "write", subject, source }.into()
}
