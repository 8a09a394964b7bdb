//! The log of an earlier backup's time, as the server has it now: whether that is the server's history at all.

use tokio::time::timeout;

use super::super::log::Since;
use super::super::wal::WalHasher;
use crate::postgres::replication::{StreamedPositions, WalStream, WalStreamEvent};
use crate::postgres::{ConnectionSettings, PostgresError};
use crate::types::{ContentHash, Lsn, TimelineId};

/// Says nothing of how far we are: nobody shall take this stream for a standby that has what it is sent.
const NOWHERE: StreamedPositions = StreamedPositions { written: Lsn(0), durable: Lsn(0) };

/// Returns the hash of the log from the beginning to the end of the earlier backup as the server sends it; `None` where it has not all of it any more, or
/// cannot be asked.
pub(super) async fn hash_at_server(
    settings: &ConnectionSettings,
    since: Since,
    timeline: TimelineId,
) -> Option<ContentHash> {
    match hash(settings, since, timeline).await {
        Ok(hash) => hash,
        Err(error) => {
            tracing::debug!(from = %since.start, to = %since.stop, %error, "the server does not send the earlier backup's log any more");
            None
        }
    }
}

async fn hash(
    settings: &ConnectionSettings,
    since: Since,
    timeline: TimelineId,
) -> Result<Option<ContentHash>, PostgresError> {
    // A connection of its own: a stream that fails leaves one of no more use.
    let mut client = settings.connect_for_replication().await?;
    // What does not reach so far yet would be waited for.
    if client.identify_system().await?.position < since.stop {
        return Ok(None);
    }
    let Ok(mut stream) = client.start_streaming(None, since.start, timeline).await? else { return Ok(None) };
    let heard = hear(settings, &mut stream, WalHasher::new(since.start, since.stop)).await?;
    stream.end().await?;
    Ok(heard)
}

async fn hear(
    settings: &ConnectionSettings,
    stream: &mut WalStream<'_>,
    mut hasher: WalHasher,
) -> Result<Option<ContentHash>, PostgresError> {
    loop {
        let Ok(event) = timeout(settings.timeout(), stream.next()).await else { return Ok(None) };
        match event? {
            WalStreamEvent::Wal { start, bytes, .. } => {
                if let Some(hash) = hasher.update(start, &bytes) {
                    return Ok(Some(hash));
                }
            }
            WalStreamEvent::KeepAlive { reply_requested: true, .. } => stream.report(NOWHERE, false).await?,
            WalStreamEvent::KeepAlive { .. } => {}
            WalStreamEvent::Done => return Ok(None),
        }
    }
}
