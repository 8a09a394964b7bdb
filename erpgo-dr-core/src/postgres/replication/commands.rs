//! The commands of a replication connection.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::message::backend::{DataRowBody, Message};
use postgres_protocol::message::frontend;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::handshake::{log_in, unexpected};
use super::wal_stream::WalStream;
use super::wire::{Incoming, Wire};
use crate::postgres::{BoxError, ConnectionSettings, PostgresError};
use crate::types::{Lsn, TimelineId, WalSegmentSize};

/// What a server says of the cluster that it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SystemIdentity {
    /// The cluster.
    pub system_identifier: u64,
    /// The timeline that it is on.
    pub timeline: TimelineId,
    /// How far its log is durable.
    pub position: Lsn,
}

/// A physical replication slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicationSlot {
    /// From where on the log is kept for it; `None` while it keeps none.
    pub restart: Option<Lsn>,
    /// The timeline of that place.
    pub timeline: Option<TimelineId>,
}

/// Where a timeline was left for a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimelineEnd {
    /// The timeline that follows.
    pub next: TimelineId,
    /// Where: what lies from here on is of the later timeline.
    pub position: Lsn,
}

/// A connection for physical replication. Dropping it closes it.
///
/// A server has as long for each answer as for a connection. One that falls silent leaves a connection of no more use.
pub struct ReplicationClient {
    wire: Wire,
    server: String,
    timeout: Duration,
    /// Whether an answer was given up, which may still come, and would be taken for the next one.
    is_lost: bool,
}

impl ConnectionSettings {
    /// Connects for physical replication: the role needs REPLICATION, and `pg_hba.conf` a line for `replication`.
    ///
    /// # Errors
    /// As [`ConnectionSettings::connect`].
    pub async fn connect_for_replication(&self) -> Result<ReplicationClient, PostgresError> {
        self.validate()?;
        let server = self.to_string();
        let refused = |source: BoxError| PostgresError::Connect { server: server.clone(), source };
        let outcome = timeout(self.timeout(), log_in(self)).await;
        let wire = outcome.map_err(|elapsed| refused(elapsed.into()))?.map_err(refused)?;
        Ok(ReplicationClient { wire, server, timeout: self.timeout(), is_lost: false })
    }
}

pub(super) type Row = Vec<Option<Bytes>>;

impl ReplicationClient {
    /// Names the server, without password.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// `IDENTIFY_SYSTEM`.
    ///
    /// # Errors
    /// As for every command here, [`PostgresError::Query`], and [`PostgresError::Connect`] when no answer comes in time.
    pub async fn identify_system(&mut self) -> Result<SystemIdentity, PostgresError> {
        let action = "identify the cluster";
        let row = self.one_row("IDENTIFY_SYSTEM", action).await?;
        let identity = || {
            Some(SystemIdentity {
                system_identifier: text(&row, 0)?.parse().ok()?,
                timeline: TimelineId::new(text(&row, 1)?.parse().ok()?)?,
                position: text(&row, 2)?.parse().ok()?,
            })
        };
        identity().ok_or_else(|| self.unreadable(action))
    }

    /// Asks for the size of the server's segments.
    ///
    /// # Errors
    /// [`PostgresError::Query`].
    pub async fn segment_size(&mut self) -> Result<WalSegmentSize, PostgresError> {
        let action = "ask for the size of WAL segments";
        let row = self.one_row("SHOW wal_segment_size", action).await?;
        let size = text(&row, 0).and_then(parse_size).and_then(WalSegmentSize::new);
        size.ok_or_else(|| self.unreadable(action))
    }

    /// Asks whether the server replays what another one writes.
    ///
    /// # Errors
    /// [`PostgresError::Query`].
    pub async fn is_standby(&mut self) -> Result<bool, PostgresError> {
        let row = self.one_row("SHOW in_hot_standby", "ask whether the server is a standby").await?;
        Ok(text(&row, 0) == Some("on"))
    }

    /// Makes a physical slot that keeps the log from now on.
    ///
    /// # Errors
    /// [`PostgresError::Query`], also when there is one of this name.
    pub async fn create_slot(&mut self, name: &str) -> Result<(), PostgresError> {
        let command = format!("CREATE_REPLICATION_SLOT {} PHYSICAL RESERVE_WAL", quoted(name));
        self.rows(&command, "make a replication slot").await.map(drop)
    }

    /// Makes a physical slot that keeps the log from now on, and goes when the connection does.
    ///
    /// # Errors
    /// [`PostgresError::Query`], also when there is none to spare.
    pub async fn create_temporary_slot(&mut self, name: &str) -> Result<(), PostgresError> {
        let command = format!("CREATE_REPLICATION_SLOT {} TEMPORARY PHYSICAL RESERVE_WAL", quoted(name));
        self.rows(&command, "make a replication slot").await.map(drop)
    }

    /// Looks for a physical slot; `None` if there is none of this name. Servers before 15 cannot be asked: an error.
    ///
    /// # Errors
    /// [`PostgresError::Query`], also for a logical slot of this name.
    pub async fn find_slot(&mut self, name: &str) -> Result<Option<ReplicationSlot>, PostgresError> {
        let action = "read a replication slot";
        let row = self.one_row(&format!("READ_REPLICATION_SLOT {}", quoted(name)), action).await?;
        if text(&row, 0).is_none() {
            return Ok(None);
        }
        let restart =
            text(&row, 1).map(|position| position.parse().map_err(|_| self.unreadable(action))).transpose()?;
        let timeline = text(&row, 2).and_then(|number| TimelineId::new(number.parse().ok()?));
        // `0/0` says that it keeps nothing yet.
        Ok(Some(ReplicationSlot { restart: restart.filter(|position| *position != Lsn(0)), timeline }))
    }

    /// Removes a slot.
    ///
    /// # Errors
    /// [`PostgresError::Query`], also while it is in use.
    pub async fn drop_slot(&mut self, name: &str) -> Result<(), PostgresError> {
        self.rows(&format!("DROP_REPLICATION_SLOT {}", quoted(name)), "remove a replication slot").await.map(drop)
    }

    /// Returns the contents of a timeline's history file.
    ///
    /// # Errors
    /// [`PostgresError::Query`], also where the server does not have it.
    pub async fn timeline_history(&mut self, timeline: TimelineId) -> Result<Bytes, PostgresError> {
        let action = "read the history of a timeline";
        let row = self.one_row(&format!("TIMELINE_HISTORY {timeline}"), action).await?;
        row.get(1).cloned().flatten().ok_or_else(|| self.unreadable(action))
    }

    /// Begins to stream the log of `timeline` from `start` on, which should be the start of a segment.
    ///
    /// Returns where the timeline ended instead when the server has left it before `start`.
    ///
    /// # Errors
    /// [`PostgresError::Query`]: the log from there on has been removed (SQLSTATE 58P01), or the server's history has no such place.
    pub async fn start_streaming(
        &mut self,
        slot: Option<&str>,
        start: Lsn,
        timeline: TimelineId,
    ) -> Result<Result<WalStream<'_>, Option<TimelineEnd>>, PostgresError> {
        let slot = slot.map(|name| format!("SLOT {} ", quoted(name))).unwrap_or_default();
        let command = format!("START_REPLICATION {slot}PHYSICAL {start} TIMELINE {timeline}");
        let action = "stream WAL";
        let outcome = timeout(self.timeout, async {
            self.send_query(&command).await?;
            match self.next_or_recover().await? {
                Incoming::CopyBoth => Ok(None),
                // The timeline had no more to give: its end follows at once.
                Incoming::Other(first) => Ok(Some(timeline_end(&self.collect(Some(first)).await?))),
            }
        });
        let outcome = outcome.await;
        match self.settle(action, outcome)? {
            None => Ok(Ok(WalStream::new(self))),
            Some(end) => Ok(Err(end)),
        }
    }

    pub(super) fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// Says that a stream ends, and reads what follows when both sides have said so.
    pub(super) async fn end_of_stream(&mut self, action: &str) -> Result<Option<TimelineEnd>, PostgresError> {
        let mut message = BytesMut::new();
        frontend::copy_done(&mut message);
        let outcome = timeout(self.timeout, async {
            self.wire.send(&message).await?;
            Ok(timeline_end(&self.collect(None).await?))
        });
        let outcome = outcome.await;
        self.settle(action, outcome)
    }

    /// Takes an answer, or what hindered it.
    fn settle<T>(&mut self, action: &str, outcome: Result<Result<T, BoxError>, Elapsed>) -> Result<T, PostgresError> {
        if let Ok(outcome) = outcome {
            return outcome.map_err(|source| self.failed(action, source));
        }
        self.is_lost = true;
        let source = format!("the server did not answer within {:?} when asked to {action}", self.timeout).into();
        Err(PostgresError::Connect { server: self.server.clone(), source })
    }

    pub(super) fn failed(&self, action: &str, source: BoxError) -> PostgresError {
        PostgresError::Query { server: self.server.clone(), action: action.to_owned(), source }
    }

    pub(super) fn unreadable(&self, action: &str) -> PostgresError {
        self.failed(action, "the server's answer has another form than expected".into())
    }

    async fn one_row(&mut self, command: &str, action: &str) -> Result<Row, PostgresError> {
        let mut rows = self.rows(command, action).await?;
        if rows.len() == 1 { Ok(rows.remove(0)) } else { Err(self.unreadable(action)) }
    }

    async fn rows(&mut self, command: &str, action: &str) -> Result<Vec<Row>, PostgresError> {
        let outcome = timeout(self.timeout, async {
            self.send_query(command).await?;
            self.collect(None).await
        });
        let outcome = outcome.await;
        self.settle(action, outcome)
    }

    pub(super) async fn send_query(&mut self, command: &str) -> Result<(), BoxError> {
        if self.is_lost {
            return Err("the server has not answered an earlier command on this connection".into());
        }
        let mut message = BytesMut::new();
        frontend::query(command, &mut message)?;
        Ok(self.wire.send(&message).await?)
    }

    /// Collects rows until the server is ready again.
    pub(super) async fn collect(&mut self, first: Option<Message>) -> Result<Vec<Row>, BoxError> {
        let (mut rows, mut first) = (Vec::new(), first);
        loop {
            let message = match first.take() {
                Some(message) => message,
                None => match self.next_or_recover().await? {
                    Incoming::Other(message) => message,
                    Incoming::CopyBoth => return Err(unexpected("in an answer")),
                },
            };
            match message {
                Message::DataRow(row) => rows.push(fields(&row)?),
                Message::ReadyForQuery(_) => return Ok(rows),
                Message::RowDescription(_) | Message::CommandComplete(_) | Message::EmptyQueryResponse => {}
                // What was under way when both sides ended a stream.
                Message::CopyData(_) | Message::CopyDone => {}
                _ => return Err(unexpected("in an answer")),
            }
        }
    }

    /// After an error of the server, waits until it is ready again, so that the connection can go on being used.
    pub(super) async fn next_or_recover(&mut self) -> Result<Incoming, BoxError> {
        let outcome = self.wire.next().await;
        if let Err(error) = &outcome
            && error.downcast_ref::<super::ServerError>().is_some_and(|error| error.severity != "FATAL")
        {
            while let Ok(incoming) = self.wire.next().await {
                if matches!(incoming, Incoming::Other(Message::ReadyForQuery(_))) {
                    break;
                }
            }
        }
        outcome
    }
}

impl fmt::Debug for ReplicationClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicationClient").field("server", &self.server).finish_non_exhaustive()
    }
}

pub(super) fn fields(row: &DataRowBody) -> Result<Row, BoxError> {
    let ranges: Vec<_> = row.ranges().collect()?;
    Ok(ranges.into_iter().map(|range| range.map(|range| row.buffer_bytes().slice(range))).collect())
}

pub(super) fn text(row: &Row, column: usize) -> Option<&str> {
    str::from_utf8(row.get(column)?.as_ref()?).ok()
}

fn timeline_end(rows: &[Row]) -> Option<TimelineEnd> {
    let row = rows.first()?;
    Some(TimelineEnd { next: TimelineId::new(text(row, 0)?.parse().ok()?)?, position: text(row, 1)?.parse().ok()? })
}

/// Puts a name into double quotes.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Reads a size as `SHOW` prints it: `16MB`.
fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let unit = match &text[digits..] {
        "" | "B" => 1,
        "kB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_the_server_prints_them() {
        for (text, bytes) in [("16MB", Some(16 << 20)), ("1GB", Some(1 << 30)), ("1048576B", Some(1 << 20))] {
            assert_eq!(parse_size(text), bytes, "{text}");
        }
        for text in ["", "MB", "16 MB", "16mb", "-1MB", "99999999999999GB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
