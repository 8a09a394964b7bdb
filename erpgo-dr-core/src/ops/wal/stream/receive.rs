//! Hears the server, and comes back to it.

use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::choose::{Place, choose, ensure_slot, state_of};
use super::folder::StreamFolder;
use super::writer::{Spooled, Write};
use super::{Durability, Shared, WalStreamError, WalStreamOptions};
use crate::ops::verify::chain;
use crate::ops::{Error, ErrorKind, Result};
use crate::postgres::replication::{ReplicationClient, StreamedPositions, TimelineEnd, WalStream, WalStreamEvent};
use crate::postgres::{ConnectionSettings, PostgresError};
use crate::types::{Lsn, TimelineId, WalSegmentSize};

/// SQLSTATE of a segment that is not there any more.
const UNDEFINED_FILE: &str = "58P01";

/// How long to wait after a failure, at first and at the most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// The part that receives.
pub(super) struct Receiver<'a> {
    server: &'a ConnectionSettings,
    options: &'a WalStreamOptions,
    shared: &'a Shared,
    write: mpsc::Sender<Write>,
    spooled: watch::Receiver<Spooled>,
    archived: watch::Receiver<Lsn>,
    system_identifier: Option<u64>,
    /// Where this process has come.
    reached: Option<Place>,
    has_connected: bool,
    /// Whether anything has come since the last failure.
    has_received: bool,
}

/// Why a session ended well.
enum Ended {
    /// It was told to, or all has come.
    Finished,
    /// The timeline goes no further: on with the next one.
    TimelineLeft,
}

impl<'a> Receiver<'a> {
    pub(super) fn new(
        server: &'a ConnectionSettings,
        options: &'a WalStreamOptions,
        shared: &'a Shared,
        write: mpsc::Sender<Write>,
        spooled: watch::Receiver<Spooled>,
        archived: watch::Receiver<Lsn>,
    ) -> Self {
        Self {
            server,
            options,
            shared,
            write,
            spooled,
            archived,
            system_identifier: None,
            reached: None,
            has_connected: false,
            has_received: false,
        }
    }

    /// Receives until `stop`, the end that was named, or what no waiting mends.
    pub(super) async fn run(mut self, stop: impl Future<Output = ()> + Send) -> Result<()> {
        let mut stop = pin!(stop);
        let (least, most) = BACKOFF;
        let mut backoff = least;
        loop {
            let error = match self.session(stop.as_mut()).await {
                Ok(Ended::Finished) => {
                    // Told to stop before the server has said a word: what an earlier process left is to be archived all the same.
                    if !self.has_connected {
                        self.send(Write::Adopt).await?;
                    }
                    return Ok(());
                }
                Ok(Ended::TimelineLeft) => continue,
                Err(error) => error,
            };
            let has_received = std::mem::take(&mut self.has_received);
            let text = chain(&error);
            self.shared.tell(|status| (status.connected, status.server_problem) = (false, Some(text.clone())));
            if !self.may_pass(&error) {
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

    /// Returns whether waiting may mend a failure.
    fn may_pass(&self, error: &Error) -> bool {
        match error {
            Error::WalStream(_) | Error::Io { .. } | Error::Wal(_) => false,
            // Whoever was let in once will be again; before that, it is a wrong setting.
            error => self.has_connected || matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Database),
        }
    }

    async fn session(&mut self, mut stop: Pin<&mut (impl Future<Output = ()> + Send)>) -> Result<Ended> {
        let setup = self.set_up();
        let (mut client, place, size) = tokio::select! {
            () = stop.as_mut() => return Ok(Ended::Finished),
            outcome = setup => outcome?,
        };
        let system_identifier = self.system_identifier.unwrap_or_default();
        let Place { timeline, position } = place;
        let history = match timeline {
            TimelineId::FIRST => None,
            timeline => Some(client.timeline_history(timeline).await?),
        };
        let slot = self.options.slot.as_deref();
        let started =
            client.start_streaming(slot, position, timeline).await.map_err(|error| self.removed(error, place))?;
        self.has_connected = true;
        self.shared.tell(|status| {
            status.connected = true;
            status.connections += 1;
            status.timeline = Some(timeline);
            status.server_problem = None;
        });
        let end = match started {
            Ok(stream) => {
                self.send(Write::Begin { system_identifier, timeline, start: position, size }).await?;
                // Before any of its log: a recovery that does not know of a timeline ends before it, and begins another of its number.
                if let Some(contents) = history {
                    self.send(Write::History { timeline, contents }).await?;
                }
                self.reached = Some(place);
                match self.receive(stream, place, stop).await? {
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
        self.reached = Some(Place { timeline: end.next, position });
        self.shared.hurry.notify_one();
        Ok(Ended::TimelineLeft)
    }

    async fn set_up(&mut self) -> Result<(ReplicationClient, Place, WalSegmentSize)> {
        let mut client = self.server.connect_for_replication().await?;
        let identity = client.identify_system().await?;
        let size = client.segment_size().await?;
        let found = identity.system_identifier;
        let known = match self.system_identifier {
            Some(known) => Some(known),
            None => StreamFolder::find(&self.options.folder)?.map(|folder| folder.system_identifier),
        };
        if let Some(expected) = known.filter(|expected| *expected != found) {
            return Err(WalStreamError::OtherCluster { server: self.server.to_string(), expected, found }.into());
        }
        self.system_identifier = Some(found);
        self.shared.note(|status| status.system_identifier = Some(found));
        let slot = self.options.slot.as_deref();
        if let Some(slot) = slot {
            ensure_slot(self.server, &mut client, slot, self.options.create_slot).await?;
        }
        let folder = StreamFolder::open(&self.options.folder, found)?;
        let place = choose(self.server, &mut client, &folder, (identity, size), self.reached, slot).await?;
        Ok((client, place, size))
    }

    /// Receives until the timeline ends, which is returned with its end, or until it is time to stop.
    async fn receive(
        &mut self,
        mut stream: WalStream<'_>,
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
                    heard = Instant::now();
                    match event.map_err(|error| self.removed(error, place))? {
                        WalStreamEvent::Wal { start, server_end, bytes, .. } => {
                            let end = Lsn(start.0 + bytes.len() as u64);
                            self.shared.note(|status| status.server_end = Some(server_end));
                            self.has_received = true;
                            self.send(Write::Wal { start, bytes }).await?;
                            self.reached = Some(Place { timeline: place.timeline, position: end });
                        }
                        WalStreamEvent::KeepAlive { server_end, reply_requested, .. } => {
                            self.shared.note(|status| status.server_end = Some(server_end));
                            if reply_requested {
                                stream.report(self.positions(), false).await?;
                            }
                        }
                        WalStreamEvent::Done => {
                            stream.report(self.positions(), false).await?;
                            return Ok(Some(stream.end().await?));
                        }
                    }
                }
                changed = changed(&mut self.spooled, &mut self.archived, self.options.durability) => {
                    // The writer is gone only when it has failed; its own error says why.
                    if !changed {
                        return Err(self.writer_is_gone());
                    }
                    stream.report(self.positions(), false).await?;
                }
                _ = ticks.tick() => {
                    if heard.elapsed() > self.options.silence_limit {
                        let source = format!("not a word for {} s", self.options.silence_limit.as_secs()).into();
                        return Err(PostgresError::Connect { server: self.server.to_string(), source }.into());
                    }
                    stream.report(self.positions(), true).await?;
                    self.tell_progress();
                }
            }
            if self.options.until.is_some_and(|until| self.positions().durable >= until) {
                break;
            }
        }
        self.part(stream).await
    }

    /// Ends a stream politely: what is durable is reported once more, so that the server need not keep it.
    async fn part(&mut self, mut stream: WalStream<'_>) -> Result<Option<Option<TimelineEnd>>> {
        let received = self.reached.map(|place| place.position);
        let flushed = self.spooled.wait_for(|spooled| spooled.end() >= received);
        let _ = tokio::time::timeout(Duration::from_secs(10), flushed).await;
        if stream.report(self.positions(), false).await.is_ok() {
            // A server that goes away at this moment takes nothing with it.
            let _ = tokio::time::timeout(Duration::from_secs(10), stream.end()).await;
        }
        self.shared.tell(|status| status.connected = false);
        Ok(None)
    }

    fn positions(&self) -> StreamedPositions {
        let received = self.reached.map_or(Lsn(0), |place| place.position);
        let durable = match self.options.durability {
            Durability::Folder => self.spooled.borrow().end().unwrap_or(Lsn(0)),
            Durability::Repository => *self.archived.borrow(),
        };
        // What an earlier process has archived may lie ahead of what this one has received again.
        StreamedPositions { received, durable: durable.min(received) }
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
        match state_of(&error) {
            Some(UNDEFINED_FILE) => {
                let Place { timeline, position } = place;
                let message = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                WalStreamError::Removed { server: self.server.to_string(), timeline, position, message }.into()
            }
            _ => error.into(),
        }
    }
}

/// Waits until what is durable has changed. Returns whether somebody is left to change it.
async fn changed(
    spooled: &mut watch::Receiver<Spooled>,
    archived: &mut watch::Receiver<Lsn>,
    durability: Durability,
) -> bool {
    match durability {
        Durability::Folder => spooled.changed().await.is_ok(),
        Durability::Repository => archived.changed().await.is_ok(),
    }
}
