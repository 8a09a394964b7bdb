//! `BASE_BACKUP`: the files of a cluster as tar archives, one after the other on one connection.

use std::fmt;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend::{self, CopyData};

use super::commands::{ReplicationClient, Row, fields, text};
use super::handshake::unexpected;
use super::server_error::ServerError;
use super::wire::Incoming;
use crate::postgres::{BoxError, PostgresError};
use crate::types::{Lsn, TimelineId};

const ACTION: &str = "take a base backup";

/// How long a server may say nothing in the middle of a backup. It waits for its disk there, and for nothing else.
const SILENCE: Duration = Duration::from_secs(300);

/// SQLSTATE of a backup that is whole, and in which the server found damaged pages.
const DATA_CORRUPTED: &str = "XX001";

/// What of a cluster is asked for. The log of the time of the backup always comes along, and pages are checked by the server, which reads
/// one again whose checksum is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseBackupOptions {
    /// A name for people, of up to 1,000 bytes.
    pub label: String,
    /// Whether the server hurries with its checkpoint.
    pub fast_checkpoint: bool,
    /// Whether only what has changed since the backup of the uploaded manifest is wanted (PostgreSQL 17 and later).
    pub incremental: bool,
}

/// What comes out of a base backup.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BaseBackupEvent {
    /// A tar archive begins: of a tablespace, or of the data directory.
    Archive {
        /// The tablespace.
        tablespace: Option<u32>,
    },
    /// The next bytes of it.
    Data(Bytes),
    /// All has come.
    End {
        /// Where the copy is consistent.
        stop: Lsn,
        /// The timeline of that place.
        timeline: TimelineId,
        /// Whether the server found pages whose checksum is wrong.
        is_damaged: bool,
    },
}

/// A base backup on its way. Dropped, it leaves the connection of no more use.
pub struct BaseBackup<'a> {
    client: &'a mut ReplicationClient,
    start: Lsn,
    timeline: TimelineId,
    bytes: u64,
}

impl ReplicationClient {
    /// Gives the server the manifest of the backup that an incremental one is to build on, piece by piece from `next`.
    ///
    /// # Errors
    /// [`PostgresError::Query`], also for a manifest that the server does not take; what `next` fails with.
    pub async fn upload_manifest<E: From<PostgresError> + Send>(
        &mut self,
        mut next: impl FnMut() -> Result<Option<Bytes>, E> + Send,
    ) -> Result<(), E> {
        let action = "upload a manifest";
        let begun = async {
            self.send_query("UPLOAD_MANIFEST").await?;
            match self.next_or_recover().await? {
                Incoming::Other(Message::CopyInResponse(_)) => Ok(()),
                _ => Err(unexpected("in answer to UPLOAD_MANIFEST")),
            }
        };
        begun.await.map_err(|source| self.failed(action, source))?;
        while let Some(piece) = next()? {
            let mut message = BytesMut::with_capacity(piece.len() + 5);
            let sent = async {
                CopyData::new(piece)?.write(&mut message);
                self.wire().send(&message).await
            };
            sent.await.map_err(|source| self.failed(action, source.into()))?;
        }
        let ended = async {
            let mut message = BytesMut::new();
            frontend::copy_done(&mut message);
            self.wire().send(&message).await?;
            self.collect(None).await
        };
        ended.await.map_err(|source| self.failed(action, source))?;
        Ok(())
    }

    /// Begins a base backup (`BASE_BACKUP`, PostgreSQL 15 and later). Returns when the server has made its checkpoint.
    ///
    /// # Errors
    /// [`PostgresError::Query`]: the role may not, the server writes too little WAL, or has no summaries for an incremental one.
    pub async fn base_backup(&mut self, options: &BaseBackupOptions) -> Result<BaseBackup<'_>, PostgresError> {
        let begun = async {
            self.send_query(&command(options)).await?;
            let (mut results, mut rows) = (Vec::new(), Vec::new());
            loop {
                match self.next_or_recover().await? {
                    Incoming::Other(Message::RowDescription(_)) => {}
                    Incoming::Other(Message::DataRow(row)) => rows.push(fields(&row)?),
                    Incoming::Other(Message::CommandComplete(_)) => results.push(std::mem::take(&mut rows)),
                    Incoming::Other(Message::CopyOutResponse(_)) => return Ok(results),
                    _ => return Err(unexpected("in answer to BASE_BACKUP")),
                }
            }
        };
        let results = begun.await.map_err(|source| self.failed(ACTION, source))?;
        let beginning = || {
            let (start, timeline) = position(results.first()?)?;
            // Beside each tablespace, and the data directory, its size.
            let sizes = results.get(1)?.iter().map(|row| text(row, 2)?.parse::<u64>().ok());
            let kilobytes: u64 = sizes.sum::<Option<u64>>().unwrap_or_default();
            Some((start, timeline, kilobytes << 10))
        };
        match beginning() {
            Some((start, timeline, bytes)) => Ok(BaseBackup { client: self, start, timeline, bytes }),
            None => Err(self.unreadable(ACTION)),
        }
    }
}

impl BaseBackup<'_> {
    /// Returns where replay begins.
    pub fn start(&self) -> Lsn {
        self.start
    }

    /// Returns the timeline of that place.
    pub fn timeline(&self) -> TimelineId {
        self.timeline
    }

    /// Returns how many bytes will come, by the server's estimate, which does not know of what an incremental backup leaves out.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Waits for the next event; [`BaseBackupEvent::End`] is the last one.
    ///
    /// # Errors
    /// [`PostgresError::Query`] when the server fails, and [`PostgresError::Connect`] when the connection is lost or falls silent.
    pub async fn next(&mut self) -> Result<BaseBackupEvent, PostgresError> {
        let outcome = tokio::time::timeout(SILENCE, self.event()).await;
        let server = || self.client.server().to_owned();
        match outcome {
            Ok(Ok(event)) => Ok(event),
            Ok(Err(source)) if source.is::<std::io::Error>() => {
                Err(PostgresError::Connect { server: server(), source })
            }
            Ok(Err(source)) => Err(self.client.failed(ACTION, source)),
            Err(_) => {
                let source = format!("not a word for {} s in the middle of a backup", SILENCE.as_secs()).into();
                Err(PostgresError::Connect { server: server(), source })
            }
        }
    }

    async fn event(&mut self) -> Result<BaseBackupEvent, BoxError> {
        loop {
            let mut data = match self.client.wire().next().await? {
                Incoming::Other(Message::CopyData(body)) => body.into_bytes(),
                Incoming::Other(Message::CopyDone) => return self.end().await,
                _ => return Err(unexpected("in a base backup")),
            };
            if data.is_empty() {
                return Err(unexpected("in a base backup"));
            }
            match data.get_u8() {
                b'd' => return Ok(BaseBackupEvent::Data(data)),
                b'n' => return archive(&data).ok_or_else(|| unexpected("in a base backup")),
                // How far the server has come: what has arrived says as much.
                b'p' => {}
                _ => return Err(unexpected("in a base backup")),
            }
        }
    }

    /// Reads what follows the archives: where the copy is consistent, and perhaps that pages are damaged.
    async fn end(&mut self) -> Result<BaseBackupEvent, BoxError> {
        let (mut rows, mut is_damaged) = (Vec::new(), false);
        loop {
            match self.client.wire().next().await {
                Ok(Incoming::Other(Message::DataRow(row))) => rows.push(fields(&row)?),
                Ok(Incoming::Other(Message::ReadyForQuery(_))) => break,
                Ok(Incoming::Other(Message::RowDescription(_) | Message::CommandComplete(_))) => {}
                Ok(_) => return Err(unexpected("behind a base backup")),
                Err(error) => match error.downcast_ref::<ServerError>() {
                    Some(found) if found.code == DATA_CORRUPTED && !rows.is_empty() => is_damaged = true,
                    _ => return Err(error),
                },
            }
        }
        let (stop, timeline) = position(&rows).ok_or_else(|| unexpected("behind a base backup"))?;
        Ok(BaseBackupEvent::End { stop, timeline, is_damaged })
    }
}

impl fmt::Debug for BaseBackup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BaseBackup")
            .field("server", &self.client.server())
            .field("start", &self.start)
            .field("timeline", &self.timeline)
            .finish_non_exhaustive()
    }
}

fn command(options: &BaseBackupOptions) -> String {
    let label = options.label.replace('\'', "''");
    let checkpoint = if options.fast_checkpoint { "fast" } else { "spread" };
    let incremental = if options.incremental { ", INCREMENTAL" } else { "" };
    format!("BASE_BACKUP (LABEL '{label}', PROGRESS, CHECKPOINT '{checkpoint}', WAL, MANIFEST 'no'{incremental})")
}

fn position(rows: &[Row]) -> Option<(Lsn, TimelineId)> {
    let row = rows.first()?;
    Some((text(row, 0)?.parse().ok()?, TimelineId::new(text(row, 1)?.parse().ok()?)?))
}

/// Reads the name of an archive, `base.tar` or `<oid>.tar`. What follows, the location of a tablespace, is known already.
fn archive(data: &[u8]) -> Option<BaseBackupEvent> {
    let name = str::from_utf8(data.split(|byte| *byte == 0).next()?).ok()?;
    match name.strip_suffix(".tar")? {
        "base" => Some(BaseBackupEvent::Archive { tablespace: None }),
        oid => Some(BaseBackupEvent::Archive { tablespace: Some(oid.parse().ok()?) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_stays_one_word_of_the_command() {
        let options =
            BaseBackupOptions { label: "a'), TARGET 'server".to_owned(), fast_checkpoint: true, incremental: true };
        let expected =
            "BASE_BACKUP (LABEL 'a''), TARGET ''server', PROGRESS, CHECKPOINT 'fast', WAL, MANIFEST 'no', INCREMENTAL)";
        assert_eq!(command(&options), expected);
    }

    #[test]
    fn archives_are_named_for_what_they_hold() {
        let of = |tablespace| Some(BaseBackupEvent::Archive { tablespace });
        assert_eq!(archive(b"base.tar\0\0"), of(None));
        assert_eq!(archive(b"16384.tar\0/srv/space\0"), of(Some(16384)));
        for wrong in [&b"16384"[..], b"x.tar\0", b"\xff.tar\0", b""] {
            assert_eq!(archive(wrong), None);
        }
    }
}
