//! Where a stream begins.

use super::WalStreamError;
use super::folder::StreamFolder;
use crate::ops::Result;
use crate::postgres::replication::{ReplicationClient, ServerError, SystemIdentity};
use crate::postgres::wal::TimelineHistory;
use crate::postgres::{ConnectionSettings, PostgresError};
use crate::types::{Lsn, TimelineId, WalFileName, WalSegmentSize};

/// SQLSTATE of a command that a server does not know.
const SYNTAX_ERROR: &str = "42601";

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) timeline: TimelineId,
    pub(super) position: Lsn,
}

/// Finds where to begin: where this process was, behind what lies in the folder, where the slot stands, or else at the segment that the
/// server writes now.
///
/// What an earlier process began is received anew from its segment's beginning: after a loss of power nobody knows how far it is right.
pub(super) async fn choose(
    server: &ConnectionSettings,
    client: &mut ReplicationClient,
    folder: &StreamFolder,
    (identity, size): (SystemIdentity, WalSegmentSize),
    reached: Option<Place>,
    slot: Option<&str>,
) -> Result<Place> {
    let wanted = match (reached, behind(folder, size)?, slot) {
        (Some(reached), _, _) => reached,
        (None, Some(place), _) => place,
        (None, None, Some(slot)) => match slot_position(server, client, slot).await? {
            Some((position, timeline)) => {
                let timeline = timeline.unwrap_or(identity.timeline);
                Place { timeline, position: floor(position, size) }
            }
            None => Place { timeline: identity.timeline, position: floor(identity.position, size) },
        },
        (None, None, None) => Place { timeline: identity.timeline, position: floor(identity.position, size) },
    };
    on_the_servers_way(client, identity, wanted, size).await
}

fn floor(position: Lsn, size: WalSegmentSize) -> Lsn {
    Lsn(position.0 - position.0 % size.bytes())
}

fn behind(folder: &StreamFolder, size: WalSegmentSize) -> Result<Option<Place>> {
    let place = match folder.newest()? {
        Some(WalFileName::Partial(name)) => name.start(size).map(|start| (name, start)),
        Some(WalFileName::Segment(name)) => name.start(size).map(|start| (name, Lsn(start.0 + size.bytes()))),
        _ => None,
    };
    Ok(place.map(|(name, position)| Place { timeline: name.timeline(), position }))
}

/// Makes the slot if that is wanted.
pub(super) async fn ensure_slot(
    server: &ConnectionSettings,
    client: &mut ReplicationClient,
    slot: &str,
    create: bool,
) -> Result<()> {
    if find_slot(server, client, slot).await?.is_some() {
        return Ok(());
    }
    if !create {
        return Err(WalStreamError::NoSlot { server: server.to_string(), slot: slot.to_owned() }.into());
    }
    tracing::info!(slot, "making the replication slot");
    Ok(client.create_slot(slot).await?)
}

type SlotPosition = (Lsn, Option<TimelineId>);

async fn slot_position(
    server: &ConnectionSettings,
    client: &mut ReplicationClient,
    slot: &str,
) -> Result<Option<SlotPosition>> {
    Ok(find_slot(server, client, slot).await?.flatten())
}

async fn find_slot(
    server: &ConnectionSettings,
    client: &mut ReplicationClient,
    slot: &str,
) -> Result<Option<Option<SlotPosition>>> {
    match client.find_slot(slot).await {
        Ok(found) => Ok(found.map(|slot| Some((slot.restart?, slot.timeline)))),
        // PostgreSQL 14 tells it by SQL only.
        Err(error) if state_of(&error) == Some(SYNTAX_ERROR) => find_slot_by_sql(server, slot).await,
        Err(error) => Err(error.into()),
    }
}

async fn find_slot_by_sql(server: &ConnectionSettings, slot: &str) -> Result<Option<Option<SlotPosition>>> {
    let client = server.connect().await?;
    let query = "SELECT restart_lsn::text FROM pg_catalog.pg_replication_slots WHERE slot_name = $1";
    let row = client.query_opt(query, &[&slot]).await.map_err(client.query_error("read a replication slot"));
    client.close().await;
    let restart = |row: tokio_postgres::Row| row.get::<_, Option<String>>(0).and_then(|text| text.parse().ok());
    Ok(row?.map(|row| restart(row).map(|position| (position, None))))
}

/// Returns the SQLSTATE of a server's refusal.
pub(super) fn state_of(error: &PostgresError) -> Option<&str> {
    let PostgresError::Query { source, .. } = error else { return None };
    Some(source.downcast_ref::<ServerError>()?.code.as_str())
}

/// A server that was promoted gives the log of the timeline before up to where it left it. What we have of that timeline from there on is
/// not on its way.
async fn on_the_servers_way(
    client: &mut ReplicationClient,
    identity: SystemIdentity,
    wanted: Place,
    size: WalSegmentSize,
) -> Result<Place> {
    let (server, found, reached) = (client.server().to_owned(), identity.timeline, wanted.timeline);
    if found == reached {
        return Ok(wanted);
    }
    if found < reached {
        return Err(WalStreamError::LeftBehind { server, found, reached }.into());
    }
    let history = TimelineHistory::parse(found, &client.timeline_history(found).await?)?;
    let Some(at) = history.ancestors.iter().position(|switch| switch.timeline == reached) else {
        return Err(WalStreamError::Diverged { server, found, reached }.into());
    };
    let switch = history.ancestors[at];
    if wanted.position < switch.position {
        return Ok(wanted);
    }
    let next = history.ancestors.get(at + 1).map_or(found, |next| next.timeline);
    if wanted.position > switch.position {
        let beyond = wanted.position.0 - switch.position.0;
        tracing::warn!(%reached, at = %switch.position, beyond, "the server left the timeline before what was received of it");
    }
    Ok(Place { timeline: next, position: floor(switch.position, size) })
}
