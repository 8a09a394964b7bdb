//! The log as it is written, and word to the server of how far it has come.

use std::fmt;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use chrono::{DateTime, TimeDelta, Utc};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend::CopyData;

use super::commands::{ReplicationClient, TimelineEnd};
use super::handshake::unexpected;
use super::server_error::ServerError;
use super::wire::Incoming;
use crate::postgres::{BoxError, PostgresError};
use crate::types::Lsn;

const ACTION: &str = "stream WAL";

/// PostgreSQL counts microseconds from the beginning of the year 2000.
const EPOCH: DateTime<Utc> = DateTime::from_timestamp(946_684_800, 0).expect("a moment in range");

/// What comes out of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WalStreamEvent {
    /// A piece of the log.
    Wal {
        /// Where it begins.
        start: Lsn,
        /// How far the server's log reaches.
        server_end: Lsn,
        /// When the server sent it, by its clock.
        sent_at: DateTime<Utc>,
        /// The piece.
        bytes: Bytes,
    },
    /// A sign of life.
    KeepAlive {
        /// How far the server has sent.
        server_end: Lsn,
        /// When, by its clock.
        sent_at: DateTime<Utc>,
        /// Whether it wants an answer at once, lest it take us for dead.
        reply_requested: bool,
    },
    /// The server has no more of this timeline: end the stream with [`WalStream::end`].
    Done,
}

/// How far a receiver has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamedPositions {
    /// What it has written (`write_lsn`): a commit with `synchronous_commit = remote_write` waits for this.
    pub written: Lsn,
    /// What is durable there (`flush_lsn`): a commit waits for this, and a slot keeps the log from here on.
    pub durable: Lsn,
}

/// A stream of the log. Dropped, it leaves the connection of no more use.
pub struct WalStream<'a> {
    client: &'a mut ReplicationClient,
    is_done: bool,
}

impl<'a> WalStream<'a> {
    pub(super) fn new(client: &'a mut ReplicationClient) -> Self {
        Self { client, is_done: false }
    }

    /// Waits for the next event. Nothing is lost when the caller stops waiting.
    ///
    /// # Errors
    /// [`PostgresError::Query`] when the connection is lost or the server ends it; retryable when it says that it is shut down.
    pub async fn next(&mut self) -> Result<WalStreamEvent, PostgresError> {
        let outcome = match self.client.wire().next().await {
            Ok(Incoming::Other(Message::CopyData(body))) => parse(body.into_bytes()),
            Ok(Incoming::Other(Message::CopyDone)) => {
                self.is_done = true;
                Ok(WalStreamEvent::Done)
            }
            // How a server takes its leave that is shut down while a stream is open: nothing more comes.
            Ok(Incoming::Other(Message::CommandComplete(_))) if !self.is_done => {
                Err(ServerError::shutting_down().into())
            }
            Ok(_) => Err(unexpected("in a stream of WAL")),
            Err(error) => Err(error),
        };
        outcome.map_err(|source| self.client.failed(ACTION, source))
    }

    /// Tells the server how far we have come. `reply` asks it for a sign of life.
    ///
    /// What is durable is reported as applied too, as nothing is applied here: a commit that waits for `remote_apply` would hang.
    ///
    /// # Errors
    /// [`PostgresError::Query`] when the connection is lost.
    pub async fn report(&mut self, positions: StreamedPositions, reply: bool) -> Result<(), PostgresError> {
        let mut status = BytesMut::with_capacity(34);
        status.put_u8(b'r');
        for position in [positions.written, positions.durable, positions.durable] {
            status.put_u64(position.0);
        }
        status.put_i64((Utc::now() - EPOCH).num_microseconds().unwrap_or(0));
        status.put_u8(u8::from(reply));
        let mut message = BytesMut::new();
        let outcome = async {
            CopyData::new(status)?.write(&mut message);
            self.client.wire().send(&message).await
        };
        outcome.await.map_err(|source| self.client.failed(ACTION, source.into()))
    }

    /// Ends the stream. Returns where the timeline was left for a later one, if that is why.
    ///
    /// # Errors
    /// [`PostgresError::Query`], and [`PostgresError::Connect`] when the server does not answer in time.
    pub async fn end(self) -> Result<Option<TimelineEnd>, PostgresError> {
        let end = self.client.end_of_stream("end the stream of WAL").await?;
        Ok(end.filter(|_| self.is_done))
    }
}

impl fmt::Debug for WalStream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalStream").field("server", &self.client.server()).finish_non_exhaustive()
    }
}

fn parse(mut message: Bytes) -> Result<WalStreamEvent, BoxError> {
    // A clock that is out of range says nothing.
    let moment = |micros: i64| EPOCH.checked_add_signed(TimeDelta::microseconds(micros)).unwrap_or(EPOCH);
    match message.first() {
        Some(b'w') if message.len() >= 25 => {
            message.advance(1);
            let (start, server_end) = (Lsn(message.get_u64()), Lsn(message.get_u64()));
            let sent_at = moment(message.get_i64());
            if start.0.checked_add(message.len() as u64).is_none() {
                return Err(
                    format!("the server sent a piece of WAL at {start} that ends behind the last position").into()
                );
            }
            Ok(WalStreamEvent::Wal { start, server_end, sent_at, bytes: message })
        }
        Some(b'k') if message.len() == 18 => {
            message.advance(1);
            let (server_end, sent_at) = (Lsn(message.get_u64()), moment(message.get_i64()));
            Ok(WalStreamEvent::KeepAlive { server_end, sent_at, reply_requested: message.get_u8() != 0 })
        }
        _ => Err(unexpected("in a stream of WAL")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_field_by_field() {
        let mut wal = vec![b'w'];
        wal.extend_from_slice(&0x3000000_u64.to_be_bytes());
        wal.extend_from_slice(&0x3000100_u64.to_be_bytes());
        wal.extend_from_slice(&1_500_000_i64.to_be_bytes());
        wal.extend_from_slice(b"abc");
        let sent_at = EPOCH + TimeDelta::milliseconds(1500);
        let (start, server_end) = (Lsn(0x3000000), Lsn(0x3000100));
        let expected = WalStreamEvent::Wal { start, server_end, sent_at, bytes: Bytes::from_static(b"abc") };
        assert_eq!(parse(Bytes::from(wal.clone())).unwrap(), expected);
        let mut alive = vec![b'k'];
        alive.extend_from_slice(&0x3000100_u64.to_be_bytes());
        alive.extend_from_slice(&1_500_000_i64.to_be_bytes());
        alive.push(1);
        let expected = WalStreamEvent::KeepAlive { server_end, sent_at, reply_requested: true };
        assert_eq!(parse(Bytes::from(alive.clone())).unwrap(), expected);
        for wrong in [&wal[..24], &alive[..17], b"x", b""] {
            assert!(parse(Bytes::copy_from_slice(wrong)).is_err());
        }
        // No piece ends behind the last position there is.
        let mut last = wal.clone();
        last[1..9].copy_from_slice(&(u64::MAX - 3).to_be_bytes());
        assert!(parse(Bytes::from(last.clone())).is_ok());
        last.push(b'd');
        assert!(parse(Bytes::from(last)).is_err());
        // No moment is out of range.
        alive[9..17].copy_from_slice(&i64::MAX.to_be_bytes());
        assert!(parse(Bytes::from(alive)).is_ok());
    }
}
