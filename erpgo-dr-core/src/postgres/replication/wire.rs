//! Messages in and out, one by one.

use std::io;

use bytes::{Buf as _, BytesMut};
use postgres_protocol::message::backend::{Header, Message};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::server_error::ServerError;
use super::socket::Duplex;
use crate::postgres::BoxError;

/// Bytes that are asked of the socket at once: a message of WAL has up to 128 KiB.
const READ: usize = 256 << 10;

/// The longest message that is taken: PostgreSQL's own are far shorter, but for the contents of a history.
const LONGEST: i32 = 16 << 20;

/// `CopyBothResponse`, which the library does not know.
const COPY_BOTH: u8 = b'W';

/// A message of a server.
pub(super) enum Incoming {
    /// Both sides may send data now.
    CopyBoth,
    /// Anything else but errors, notices and changes of settings.
    Other(Message),
}

/// A connection on which messages come and go.
pub(super) struct Wire {
    duplex: Box<dyn Duplex>,
    incoming: BytesMut,
}

impl Wire {
    pub(super) fn new(duplex: Box<dyn Duplex>) -> Self {
        Self { duplex, incoming: BytesMut::new() }
    }

    /// Sends messages; whoever gives up in between has to give up the connection.
    pub(super) async fn send(&mut self, messages: &[u8]) -> io::Result<()> {
        self.duplex.write_all(messages).await?;
        self.duplex.flush().await
    }

    /// Returns the next message. Nothing is lost when the caller stops waiting for it.
    ///
    /// An error of the server is an error here; notices are logged and passed over.
    pub(super) async fn next(&mut self) -> Result<Incoming, BoxError> {
        loop {
            while let Some(incoming) = self.parse()? {
                match incoming {
                    Incoming::Other(Message::ErrorResponse(body)) => {
                        return Err(ServerError::from_fields(body.fields()).into());
                    }
                    Incoming::Other(Message::NoticeResponse(body)) => {
                        tracing::info!(notice = %ServerError::from_fields(body.fields()), "the server has a notice");
                    }
                    Incoming::Other(Message::ParameterStatus(_)) => {}
                    other => return Ok(other),
                }
            }
            self.incoming.reserve(READ);
            if self.duplex.read_buf(&mut self.incoming).await? == 0 {
                return Err(Box::new(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection")));
            }
        }
    }

    fn parse(&mut self) -> io::Result<Option<Incoming>> {
        let Some(header) = Header::parse(&self.incoming)? else { return Ok(None) };
        if header.len() > LONGEST {
            let text = format!("a message of {} bytes, which no server sends", header.len());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        if header.tag() == COPY_BOTH {
            let length = header.len() as usize + 1;
            if self.incoming.len() < length {
                return Ok(None);
            }
            self.incoming.advance(length);
            return Ok(Some(Incoming::CopyBoth));
        }
        Ok(Message::parse(&mut self.incoming)?.map(Incoming::Other))
    }
}
