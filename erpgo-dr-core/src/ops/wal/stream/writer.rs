//! Puts what comes into the folder, on a thread of its own, and makes it durable.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::WalStreamError;
use super::folder::{StreamFolder, Tail, failed};
use crate::ops::Result;
use crate::types::{Lsn, TimelineId, WalFileName, WalSegmentName, WalSegmentSize};

/// Bytes that are written before they are made durable even though more waits.
const SYNC_EVERY: u64 = 4 << 20;

/// What the writer is to do.
#[derive(Debug)]
pub(super) enum Write {
    /// A connection's log begins, at the start of a segment. The receiver counts these: `generation`.
    Begin { generation: u64, system_identifier: u64, timeline: TimelineId, start: Lsn, size: WalSegmentSize },
    /// A piece of the log.
    Wal { start: Lsn, bytes: Bytes },
    /// The history of a timeline.
    History { timeline: TimelineId, contents: Bytes },
    /// The server cannot be heard: what an earlier process left is as good as it will get.
    Adopt,
}

/// What is durable in the folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Spooled {
    /// The segment that is being written, and how much of it is durable.
    pub(super) tail: Option<Tail>,
    /// More of that segment, which an earlier process received and this one did not get to.
    pub(super) left: Option<Tail>,
    /// Counts the files that became whole.
    pub(super) completed: u64,
    /// The beginning since which the tail has come; 0 for what an earlier process left. Positions of different generations do not compare:
    /// the log may have gone on from elsewhere. It changes together with the tail, and never alone.
    pub(super) generation: u64,
}

impl Spooled {
    /// How far the log has come and is durable.
    pub(super) fn end(&self) -> Option<Lsn> {
        self.tail.map(|tail| tail.end())
    }

    /// How far the log is durable, by this process or an earlier one.
    pub(super) fn reach(&self) -> Option<Lsn> {
        self.left.or(self.tail).map(|tail| tail.end())
    }
}

/// Works until nobody is left to send, and then adopts what is left.
pub(super) fn run(root: &Path, mut writes: mpsc::Receiver<Write>, spooled: &watch::Sender<Spooled>) -> Result<()> {
    let mut writer = Writer { root: root.to_owned(), open: None, unsynced: 0, spooled };
    let worked = writer.work(&mut writes);
    // Whatever ended it: what an earlier process left is to be archived too.
    let adopted = writer.adopt();
    worked.and(adopted)
}

struct Writer<'a> {
    root: PathBuf,
    open: Option<Open>,
    unsynced: u64,
    spooled: &'a watch::Sender<Spooled>,
}

/// The segment that is written.
struct Open {
    generation: u64,
    folder: StreamFolder,
    timeline: TimelineId,
    size: WalSegmentSize,
    /// How far the log has been written.
    position: Lsn,
    /// `None` between two segments.
    file: Option<(WalSegmentName, File)>,
    /// What was there of the segment in which the log began.
    before: Option<Tail>,
}

impl Writer<'_> {
    fn work(&mut self, writes: &mut mpsc::Receiver<Write>) -> Result<()> {
        while let Some(first) = writes.blocking_recv() {
            self.take(first)?;
            // A commit waits for one sync, however many of them came meanwhile.
            while self.unsynced < SYNC_EVERY
                && let Ok(next) = writes.try_recv()
            {
                self.take(next)?;
            }
            self.sync()?;
        }
        Ok(())
    }

    fn take(&mut self, write: Write) -> Result<()> {
        match write {
            Write::Begin { generation, system_identifier, timeline, start, size } => {
                self.sync()?;
                let folder = StreamFolder::open(&self.root, system_identifier)?;
                let before = folder.measure(WalSegmentName::containing(timeline, start, size))?;
                self.open = Some(Open { generation, folder, timeline, size, position: start, file: None, before });
                // Partial files of the timeline before are left now.
                self.publish(1);
                Ok(())
            }
            Write::Wal { start, bytes } => self.write(start, &bytes),
            Write::History { timeline, contents } => {
                let Some(open) = &self.open else { return Ok(()) };
                open.folder.write(WalFileName::History(timeline), &contents)?;
                self.spooled.send_modify(|spooled| spooled.completed += 1);
                Ok(())
            }
            Write::Adopt => self.adopt(),
        }
    }

    fn write(&mut self, start: Lsn, mut bytes: &[u8]) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if start != open.position {
            return Err(WalStreamError::OutOfOrder { expected: open.position, found: start }.into());
        }
        while !bytes.is_empty() {
            let offset = open.position.0 % open.size.bytes();
            let (now, rest) = bytes.split_at(bytes.len().min((open.size.bytes() - offset) as usize));
            if let Some(before) = &open.before {
                open.folder.compare(before, offset, now, open.position)?;
            }
            let (name, file) = match &mut open.file {
                Some(file) => file,
                None => {
                    let name = WalSegmentName::containing(open.timeline, open.position, open.size);
                    let file = open.folder.open_partial(name)?;
                    reserve(&file, open.size).map_err(|source| failed_at(&open.folder, name, source))?;
                    open.file.insert((name, file))
                }
            };
            file.write_all_at(now, offset).map_err(|source| failed_at(&open.folder, *name, source))?;
            open.position.0 += now.len() as u64;
            self.unsynced += now.len() as u64;
            bytes = rest;
            if open.position.0 % open.size.bytes() == 0
                && let Some((name, file)) = open.file.take()
            {
                file.sync_all().map_err(|source| failed_at(&open.folder, name, source))?;
                open.folder.complete(name)?;
                self.unsynced = 0;
                open.before = None;
                self.publish(1);
                return self.write(Lsn(start.0 + now.len() as u64), bytes);
            }
        }
        Ok(())
    }

    /// Makes durable what has been written, and says so.
    fn sync(&mut self) -> Result<()> {
        if self.unsynced == 0 {
            return Ok(());
        }
        if let Some(Open { folder, file: Some((name, file)), .. }) = &self.open {
            file.sync_data().map_err(|source| failed_at(folder, *name, source))?;
        }
        self.unsynced = 0;
        self.publish(0);
        Ok(())
    }

    fn publish(&self, completed: u64) {
        let Some(open) = &self.open else { return };
        let bytes = open.position.0 % open.size.bytes();
        let start = Lsn(open.position.0 - bytes);
        let segment = WalSegmentName::containing(open.timeline, open.position, open.size);
        let system_identifier = open.folder.system_identifier;
        self.spooled.send_modify(|spooled| {
            spooled.tail = Some(Tail { system_identifier, segment, start, bytes });
            spooled.left = None;
            spooled.generation = open.generation;
            spooled.completed += completed;
        });
    }

    fn adopt(&mut self) -> Result<()> {
        if let Some(Open { before, position, .. }) = &self.open {
            if let Some(before) = before.filter(|before| before.start <= *position && *position < before.end()) {
                self.spooled.send_modify(|spooled| spooled.left = Some(before));
            }
            return Ok(());
        }
        let Some(folder) = StreamFolder::find(&self.root)? else { return Ok(()) };
        let tail = match folder.newest()? {
            Some(WalFileName::Partial(segment)) => folder.measure(segment)?,
            Some(_) => None,
            None => return Ok(()),
        };
        self.spooled.send_modify(|spooled| {
            spooled.tail = tail;
            spooled.completed += 1;
        });
        Ok(())
    }
}

/// Takes the room for a whole segment beforehand, where the file system can: a disk that is full says so now.
fn reserve(file: &File, size: WalSegmentSize) -> std::io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, size.bytes()) {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn failed_at(folder: &StreamFolder, segment: WalSegmentName, source: std::io::Error) -> crate::ops::Error {
    failed("write", &folder.file(WalFileName::Partial(segment)), source)
}
