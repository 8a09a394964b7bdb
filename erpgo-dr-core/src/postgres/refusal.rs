//! Why a server, or a program that speaks with one, said no: what its SQLSTATE or its words mean for the caller.

use std::error::Error;
use std::io;

use super::PostgresError;
use super::replication::ServerError;

/// What the operating system says of a full disk, as a server with messages in English passes it on.
const FULL: &str = "No space left on device";

/// Why a server said no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// User, password or `pg_hba.conf`: the server lets nobody in by these.
    Credentials,
    /// The role may not connect so: for replication, for instance.
    Privilege,
    /// There is no such database.
    NoSuchDatabase,
    /// A disk of the server is full.
    DiskFull,
    /// The server is starting, stopping or has no room for another session.
    NotNow,
}

impl PostgresError {
    /// Returns why the server said no; `None` where it did not, or for another reason.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Connect { source, .. } => of_chain(source.as_ref()),
            // What may not be done in a session is told by the server's own words.
            Self::Query { source, .. } => of_chain(source.as_ref()).filter(|refusal| *refusal != Refusal::Privilege),
            Self::Program { stderr, .. } => stderr.contains(FULL).then_some(Refusal::DiskFull),
            Self::LeftBehind { source, .. } => source.refusal(),
            _ => None,
        }
    }
}

impl PostgresError {
    /// Returns whether a server refused a query for what is in it, and not that it went away.
    pub(crate) fn is_answer(&self) -> bool {
        let Self::Query { source, .. } = self else { return false };
        let state = source.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::code);
        state.is_some_and(|state| !state.code().starts_with("57P"))
    }

    /// Returns the SQLSTATE with which a server refused a command of a replication connection.
    pub(crate) fn sqlstate(&self) -> Option<&str> {
        let Self::Query { source, .. } = self else { return None };
        Some(source.downcast_ref::<ServerError>()?.code.as_str())
    }
}

fn of_chain(error: &(dyn Error + 'static)) -> Option<Refusal> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<tokio_postgres::Error>()
            && let Some(state) = error.code()
        {
            return of_state(state.code());
        }
        if let Some(error) = error.downcast_ref::<ServerError>() {
            return of_state(&error.code);
        }
        // The client's own word, for a server that asks for one where none was given.
        if error.to_string() == "password missing" {
            return Some(Refusal::Credentials);
        }
        next = error.source();
    }
    None
}

/// Returns whether a query failed for its connection: a server that ends it does not always get to say so.
pub(super) fn is_lost_connection(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let closed = error.downcast_ref::<tokio_postgres::Error>().is_some_and(tokio_postgres::Error::is_closed);
        let cut = error.downcast_ref::<io::Error>().is_some_and(|error| is_cut(error.kind()));
        if closed || cut {
            return true;
        }
        next = error.source();
    }
    false
}

fn is_cut(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as K;
    matches!(
        kind,
        K::BrokenPipe
            | K::ConnectionAborted
            | K::ConnectionReset
            | K::HostUnreachable
            | K::NetworkDown
            | K::NetworkUnreachable
            | K::NotConnected
            | K::TimedOut
            | K::UnexpectedEof
    )
}

/// Appendix A of PostgreSQL's manual.
fn of_state(state: &str) -> Option<Refusal> {
    Some(match state {
        "28000" | "28P01" => Refusal::Credentials,
        "42501" => Refusal::Privilege,
        "3D000" => Refusal::NoSuchDatabase,
        "53100" => Refusal::DiskFull,
        "53300" | "57P01" | "57P02" | "57P03" => Refusal::NotNow,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::postgres::BoxError;

    #[test]
    fn a_program_names_a_full_disk_among_other_things() {
        let failed = |stderr: &str| PostgresError::Program {
            program: "pg_restore".to_owned(),
            status: "exit status: 1".to_owned(),
            stderr: stderr.to_owned(),
        };
        let full = "pg_restore: error: COPY failed for table \"t\": ERROR:  could not extend file \"base/5/16384\": \
                    No space left on device\nHINT:  Check free disk space.";
        assert_eq!(failed(full).refusal(), Some(Refusal::DiskFull));
        assert_eq!(failed("pg_restore: error: role \"a\" does not exist").refusal(), None);
    }

    #[tokio::test]
    async fn a_connection_that_ends_without_a_word_may_be_tried_again() {
        let (ours, mut server) = tokio::io::duplex(1024);
        // AuthenticationOk and ReadyForQuery.
        server.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I").await.unwrap();
        let mut config = tokio_postgres::Config::new();
        let (client, connection) = config.user("a").connect_raw(ours, tokio_postgres::NoTls).await.unwrap();
        drop(server);
        let _ = connection.await;
        let failed = |source: BoxError| PostgresError::Query {
            server: "a".to_owned(),
            action: "read table b".to_owned(),
            source,
        };
        let error = failed(client.simple_query("SELECT 1").await.unwrap_err().into());
        assert!(error.refusal().is_none() && error.is_retryable(), "{error:?}");
        assert!(!failed("a column is no number".into()).is_retryable());
        let io = |kind: io::ErrorKind| failed(io::Error::from(kind).into()).is_retryable();
        assert!(io(io::ErrorKind::ConnectionReset) && !io(io::ErrorKind::InvalidData));
    }
}
