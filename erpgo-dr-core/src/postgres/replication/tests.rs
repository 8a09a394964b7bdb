//! Servers that fall silent or leave, played by a few lines on a socket.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::postgres::{ConnectionSettings, PostgresError};
use crate::types::{Lsn, TimelineId};

/// How long the client waits.
const PATIENCE: Duration = Duration::from_millis(300);

const READY: &[u8] = b"Z\0\0\0\x05I";
const COPY_BOTH: &[u8] = b"W\0\0\0\x07\0\0\0";
const COPY_DONE: &[u8] = b"c\0\0\0\x04";
const COMMAND_COMPLETE: &[u8] = b"C\0\0\0\x0bCOPY 0\0";

/// A server that lets everybody in, and answers each message of the client with the next of its lines.
struct Player {
    folder: tempfile::TempDir,
    task: tokio::task::JoinHandle<()>,
}

impl Player {
    fn start(lines: Vec<Vec<u8>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(".s.PGSQL.5432")).unwrap();
        let task = tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            hear(&mut client).await;
            client.write_all(&[b"R\0\0\0\x08\0\0\0\0", READY].concat()).await.unwrap();
            for line in lines {
                hear(&mut client).await;
                client.write_all(&line).await.unwrap();
            }
            // From here on it is silent, and stays.
            while client.read_u8().await.is_ok() {}
        });
        Self { folder, task }
    }

    async fn client(&self) -> ReplicationClient {
        let settings = format!("host={} user=someone", self.folder.path().display());
        let settings: ConnectionSettings = settings.parse().unwrap();
        settings.connect_timeout(PATIENCE).connect_for_replication().await.unwrap()
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits for what the client says; it says one message at a time.
async fn hear(client: &mut UnixStream) {
    let mut heard = [0; 4096];
    assert!(client.read(&mut heard).await.unwrap() > 0);
}

fn is_no_answer<T>(outcome: Result<T, PostgresError>) {
    let error = outcome.map(drop).unwrap_err();
    assert!(matches!(error, PostgresError::Connect { .. }) && error.is_retryable(), "{error:?}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("did not answer within 300ms"), "{source}");
}

#[tokio::test]
async fn a_server_that_falls_silent_is_not_waited_for_for_ever() {
    let one = TimelineId::FIRST;
    is_no_answer(Player::start(vec![]).client().await.identify_system().await);
    is_no_answer(Player::start(vec![]).client().await.segment_size().await);
    is_no_answer(Player::start(vec![]).client().await.find_slot("s").await);
    is_no_answer(Player::start(vec![]).client().await.create_slot("s").await);
    is_no_answer(Player::start(vec![]).client().await.drop_slot("s").await);
    is_no_answer(Player::start(vec![]).client().await.timeline_history(one).await);
    is_no_answer(Player::start(vec![]).client().await.start_streaming(None, Lsn(0), one).await);
    let begins = Player::start(vec![COPY_BOTH.to_vec()]);
    let mut client = begins.client().await;
    let stream = client.start_streaming(None, Lsn(0), one).await.unwrap().unwrap();
    is_no_answer(stream.end().await);
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_not_taken_for_the_next_one() {
    let server = Player::start(vec![]);
    let mut client = server.client().await;
    is_no_answer(client.identify_system().await);
    let error = client.segment_size().await.unwrap_err();
    assert!(matches!(error, PostgresError::Query { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_shut_down_says_so_and_one_that_ends_a_timeline_does_not() {
    let leaves = Player::start(vec![[COPY_BOTH, COMMAND_COMPLETE].concat()]);
    let mut client = leaves.client().await;
    let mut stream = client.start_streaming(None, Lsn(0), TimelineId::FIRST).await.unwrap().unwrap();
    let error = stream.next().await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("shutting down"), "{error:?}");

    let ends = Player::start(vec![[COPY_BOTH, COPY_DONE].concat(), [COMMAND_COMPLETE, READY].concat()]);
    let mut client = ends.client().await;
    let mut stream = client.start_streaming(None, Lsn(0), TimelineId::FIRST).await.unwrap().unwrap();
    assert_eq!(stream.next().await.unwrap(), WalStreamEvent::Done);
    assert_eq!(stream.end().await.unwrap(), None);
}
