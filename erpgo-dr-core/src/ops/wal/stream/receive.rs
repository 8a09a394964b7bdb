//! Hears the server, and comes back to it.

use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::choose::{Place, choose, ensure_slot};
use super::folder::StreamFolder;
use super::upload::Archived;
use super::writer::{Spooled, Write};
use super::{Durability, Shared, WalStreamError, WalStreamOptions};
use crate::causes::chain;
use crate::ops::{Error, ErrorKind, Result};
use crate::postgres::replication::{ReplicationClient, StreamedPositions, TimelineEnd, WalStream, WalStreamEvent};
use crate::postgres::{ConnectionSettings, PostgresError};
use crate::repository::Repository;
use crate::types::{Lsn, TimelineId, WalSegmentSize};

/// SQLSTATE of a segment that is not there any more.
const UNDEFINED_FILE: &str = "58P01";

/// How long to wait after a failure, at first and at the most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// The part that receives.
pub(super) struct Receiver<'a> {
    pub(super) repository: &'a Repository,
    pub(super) server: &'a ConnectionSettings,
    pub(super) options: &'a WalStreamOptions,
    pub(super) shared: &'a Shared,
    pub(super) write: mpsc::Sender<Write>,
    pub(super) spooled: watch::Receiver<Spooled>,
    pub(super) archived: watch::Receiver<Archived>,
}

/// Where a receiver is.
#[derive(Debug, Default)]
struct Progress {
    system_identifier: Option<u64>,
    /// Where this process has come, and goes on.
    reached: Option<Place>,
    /// Counts the beginnings that the writer was told of. Only what became durable since the last one is reported.
    generation: u64,
    /// Whether the end of the archive is where the log was to go on.
    is_behind_archive: bool,
    /// Whether the server has removed what follows there.
    is_archive_left: bool,
    has_connected: bool,
    /// Whether anything has come since the last failure.
    has_received: bool,
}

/// What the server answered: histories of timelines, and the log or where it was left.
type Started<'c> = (Vec<(TimelineId, Bytes)>, std::result::Result<WalStream<'c>, Option<TimelineEnd>>);

/// Why a session ended well.
enum Ended {
    /// It was told to, or all has come.
    Finished,
    /// The timeline goes no further: on with the next one.
    TimelineLeft,
}

impl Receiver<'_> {
    /// Receives until `stop`, the end that was named, or what no waiting mends.
    pub(super) async fn run(mut self, stop: impl Future<Output = ()> + Send) -> Result<()> {
        let (mut stop, mut at) = (pin!(stop), Progress::default());
        let (least, most) = BACKOFF;
        let mut backoff = least;
        loop {
            let error = match self.session(&mut at, stop.as_mut()).await {
                Ok(Ended::Finished) => return Ok(()),
                Ok(Ended::TimelineLeft) => continue,
                Err(error) => error,
            };
            let has_received = std::mem::take(&mut at.has_received);
            if at.is_behind_archive && !has_received && is_removed(&error) {
                tracing::warn!(error = chain(&error), "the log goes on behind a gap in the archive");
                (at.is_archive_left, at.reached) = (true, None);
                continue;
            }
            let text = chain(&error);
            self.shared.tell(|status| (status.connected, status.server_problem) = (false, Some(text.clone())));
            if !may_pass(&error, at.has_connected) {
                return Err(error);
            }
            tracing::warn!(error = text, "the server cannot be heard; trying again");
            backoff = if has_received { least } else { (backoff * 2).min(most) };
            // What has come should not be here alone now.
            self.send(Write::Adopt).await?;
            self.shared.hurry.notify_one();
            tokio::select! {
                () = stop.as_mut() => return Ok(()),
                () = tokio::time::sleep(backoff) => {}
            }
        }
    }

    async fn session(
        &mut self,
        at: &mut Progress,
        mut stop: Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> Result<Ended> {
        let setup = self.set_up(at);
        let (mut client, place, size) = tokio::select! {
            () = stop.as_mut() => return Ok(Ended::Finished),
            outcome = setup => outcome?,
        };
        let Place { timeline, position } = place;
        let starting = self.start(&mut client, place);
        let (histories, started) = tokio::select! {
            () = stop.as_mut() => return Ok(Ended::Finished),
            outcome = starting => outcome?,
        };
        at.has_connected = true;
        self.shared.tell(|status| {
            status.connected = true;
            status.connections += 1;
            status.timeline = Some(timeline);
            status.server_problem = None;
        });
        let end = match started {
            Ok(stream) => {
                at.generation += 1;
                let (generation, system_identifier) = (at.generation, at.system_identifier.unwrap_or_default());
                self.send(Write::Begin { generation, system_identifier, timeline, start: position, size }).await?;
                // Before any of its log: a recovery that does not know of a timeline ends before it, and begins another of its number.
                for (timeline, contents) in histories {
                    self.send(Write::History { timeline, contents }).await?;
                }
                at.reached = Some(place);
                match self.receive(stream, at, place, stop).await? {
                    Some(end) => end,
                    None => return Ok(Ended::Finished),
                }
            }
            Err(end) => end,
        };
        // The server has left the timeline.
        let Some(end) = end else {
            let source = "the server ended the stream".into();
            return Err(PostgresError::Connect { server: self.server.to_string(), source }.into());
        };
        tracing::info!(from = %timeline, to = %end.next, at = %end.position, "on to the next timeline");
        let position = Lsn(end.position.0 - end.position.0 % size.bytes());
        at.reached = Some(Place { timeline: end.next, position });
        self.shared.hurry.notify_one();
        Ok(Ended::TimelineLeft)
    }

    /// Logs in, looks whether this is the right cluster, and finds where to begin.
    async fn set_up(&self, at: &mut Progress) -> Result<(ReplicationClient, Place, WalSegmentSize)> {
        let mut client = self.server.connect_for_replication().await?;
        let identity = client.identify_system().await?;
        let size = client.segment_size().await?;
        let found = identity.system_identifier;
        let known = match at.system_identifier {
            Some(known) => Some(known),
            None => StreamFolder::find(&self.options.folder)?.map(|folder| folder.system_identifier),
        };
        if let Some(expected) = known.filter(|expected| *expected != found) {
            return Err(WalStreamError::OtherCluster { server: self.server.to_string(), expected, found }.into());
        }
        at.system_identifier = Some(found);
        self.shared.note(|status| status.system_identifier = Some(found));
        let slot = self.options.slot.as_deref();
        if let Some(slot) = slot {
            ensure_slot(self.server, &mut client, slot, self.options.create_slot).await?;
        }
        let folder = StreamFolder::open(&self.options.folder, found)?;
        let archive = (!at.is_archive_left).then_some(self.repository);
        let begin = choose(self.server, &mut client, &folder, archive, (identity, size), at.reached, slot).await?;
        at.is_behind_archive = begin.is_behind_archive;
        Ok((client, begin.place, size))
    }

    /// Begins to stream. Returns the histories of the timeline and of those before it, too, as far as the server has them.
    ///
    /// A recovery looks for the newest timeline one by one, and ends its search at the first one that is missing, whether or not the newest
    /// descends from that.
    async fn start<'c>(&self, client: &'c mut ReplicationClient, place: Place) -> Result<Started<'c>> {
        let Place { timeline, position } = place;
        let mut histories = Vec::new();
        for number in (2..=timeline.get()).filter_map(TimelineId::new) {
            match client.timeline_history(number).await {
                Ok(contents) => histories.push((number, contents)),
                Err(error) if number < timeline && error.sqlstate() == Some(UNDEFINED_FILE) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let slot = self.options.slot.as_deref();
        let started = client.start_streaming(slot, position, timeline).await;
        Ok((histories, started.map_err(|error| self.removed(error, place))?))
    }

    /// Receives until the timeline ends, which is returned with its end, or until it is time to stop.
    async fn receive(
        &mut self,
        mut stream: WalStream<'_>,
        at: &mut Progress,
        place: Place,
        mut stop: Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> Result<Option<Option<TimelineEnd>>> {
        let mut ticks = tokio::time::interval(self.options.report_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                () = stop.as_mut() => break,
                event = stream.next() => {
                    match event.map_err(|error| self.removed(error, place))? {
                        WalStreamEvent::Wal { start, server_end, bytes, .. } => {
                            let end = Lsn(start.0 + bytes.len() as u64);
                            self.shared.note(|status| status.server_end = Some(server_end));
                            at.has_received = true;
                            self.send(Write::Wal { start, bytes }).await?;
                            at.reached = Some(Place { timeline: place.timeline, position: end });
                        }
                        WalStreamEvent::KeepAlive { server_end, reply_requested, .. } => {
                            self.shared.note(|status| status.server_end = Some(server_end));
                            if reply_requested {
                                stream.report(self.positions(at.generation), false).await?;
                            }
                        }
                        WalStreamEvent::Done => {
                            stream.report(self.positions(at.generation), false).await?;
                            return Ok(Some(stream.end().await?));
                        }
                    }
                    // A folder that takes its time must not look like a server that is silent.
                    heard = Instant::now();
                }
                changed = changed(&mut self.spooled, &mut self.archived) => {
                    // The writer is gone only when it has failed; its own error says why.
                    if !changed {
                        return Err(self.writer_is_gone());
                    }
                    stream.report(self.positions(at.generation), false).await?;
                }
                _ = ticks.tick() => {
                    if heard.elapsed() > self.options.silence_limit {
                        let source = format!("not a word for {} s", self.options.silence_limit.as_secs()).into();
                        return Err(PostgresError::Connect { server: self.server.to_string(), source }.into());
                    }
                    stream.report(self.positions(at.generation), true).await?;
                    self.tell_progress();
                }
            }
            if self.options.until.is_some_and(|until| self.positions(at.generation).durable >= until) {
                break;
            }
        }
        self.part(stream, at).await
    }

    /// Ends a stream politely: what is durable is reported once more, so that the server need not keep it.
    async fn part(&mut self, mut stream: WalStream<'_>, at: &Progress) -> Result<Option<Option<TimelineEnd>>> {
        let received = at.reached.map(|place| place.position);
        let flushed = self.spooled.wait_for(|spooled| spooled.generation == at.generation && spooled.end() >= received);
        let _ = tokio::time::timeout(Duration::from_secs(10), flushed).await;
        if stream.report(self.positions(at.generation), false).await.is_ok() {
            // A server that goes away at this moment takes nothing with it.
            let _ = tokio::time::timeout(Duration::from_secs(10), stream.end()).await;
        }
        self.shared.tell(|status| status.connected = false);
        Ok(None)
    }

    /// What the server may rely on. Of another generation nothing counts: the log may have gone on from before it, on another timeline.
    fn positions(&self, generation: u64) -> StreamedPositions {
        let spooled = *self.spooled.borrow();
        let in_folder = spooled.end().filter(|_| spooled.generation == generation).unwrap_or(Lsn(0));
        let durable = match self.options.durability {
            Durability::Folder => in_folder,
            Durability::Repository => {
                let archived = *self.archived.borrow();
                if archived.generation == generation { archived.position } else { Lsn(0) }
            }
        };
        StreamedPositions { written: in_folder, durable }
    }

    fn tell_progress(&self) {
        let durable = self.spooled.borrow().end();
        self.shared.tell(|status| status.durable = durable);
    }

    async fn send(&self, write: Write) -> Result<()> {
        self.write.send(write).await.map_err(|_| self.writer_is_gone())
    }

    fn writer_is_gone(&self) -> Error {
        let source = std::io::Error::other("the thread that writes has ended");
        super::folder::failed("write", &self.options.folder, source)
    }

    /// Tells what the server has removed from any other refusal.
    fn removed(&self, error: PostgresError, place: Place) -> Error {
        match error.sqlstate() {
            Some(UNDEFINED_FILE) => {
                let Place { timeline, position } = place;
                let message = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                WalStreamError::Removed { server: self.server.to_string(), timeline, position, message }.into()
            }
            _ => error.into(),
        }
    }
}

/// Returns whether waiting may mend a failure.
fn may_pass(error: &Error, has_connected: bool) -> bool {
    match error {
        Error::WalStream(_) | Error::Io { .. } | Error::Wal(_) => false,
        // Whoever was let in once will be again; before that, it is a wrong setting.
        error => has_connected || matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Database),
    }
}

fn is_removed(error: &Error) -> bool {
    matches!(error, Error::WalStream(WalStreamError::Removed { .. }))
}

/// Waits until what is durable has changed. Returns whether somebody is left to change it.
async fn changed(spooled: &mut watch::Receiver<Spooled>, archived: &mut watch::Receiver<Archived>) -> bool {
    tokio::select! {
        changed = spooled.changed() => changed.is_ok(),
        changed = archived.changed() => changed.is_ok(),
    }
}
