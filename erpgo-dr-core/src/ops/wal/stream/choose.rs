//! Where a stream begins.

use super::WalStreamError;
use super::folder::StreamFolder;
use crate::ops::Result;
use crate::postgres::ConnectionSettings;
use crate::postgres::replication::{ReplicationClient, SystemIdentity};
use crate::postgres::wal::{TimelineHistory, TimelineSwitch};
use crate::repository::Repository;
use crate::types::{Lsn, TimelineId, WalFileName, WalSegmentSize};

/// SQLSTATE of a command that a server does not know.
const SYNTAX_ERROR: &str = "42601";

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) timeline: TimelineId,
    pub(super) position: Lsn,
}

/// Where a stream is to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begin {
    pub(super) place: Place,
    /// Whether it is there for the archive's sake alone, and the server has never promised to keep the log from there on.
    pub(super) is_behind_archive: bool,
}

/// Finds where to begin: where this process was, or behind what lies in the folder, or else where the slot stands, or at the segment that
/// the server writes now, but not beyond the end of the archive.
///
/// What was begun is received anew from its segment's beginning: after a loss of power nobody knows how far it is right, and a server that an
/// older state was put back under would otherwise go on where it had never been.
pub(super) async fn choose(
    server: &ConnectionSettings,
    client: &mut ReplicationClient,
    folder: &StreamFolder,
    archive: Option<&Repository>,
    (identity, size): (SystemIdentity, WalSegmentSize),
    reached: Option<Place>,
    slot: Option<&str>,
) -> Result<Begin> {
    let way = Way::of(client, identity).await?;
    if let Some(reached) = reached.map_or_else(|| behind(folder, size), |reached| Ok(Some(reached)))? {
        check_progress(client, identity, reached).await?;
        return Ok(Begin { place: way.join(client.server(), reached, size)?, is_behind_archive: false });
    }
    let slot = match slot {
        Some(slot) => slot_position(server, client, slot).await?,
        None => None,
    };
    let (position, timeline) = slot.unwrap_or((identity.position, Some(identity.timeline)));
    let timeline = timeline.unwrap_or_else(|| way.timeline_at(position));
    let place = way.join(client.server(), Place { timeline, position }, size)?;
    let archived = match archive {
        Some(archive) => end_of_archive(archive, &way, size).await?,
        None => None,
    };
    if let Some(archived) = archived {
        check_progress(client, identity, archived).await?;
    }
    match archived.map(|end| way.join(client.server(), end, size)).transpose()? {
        Some(end) if end < place => Ok(Begin { place: end, is_behind_archive: true }),
        _ => Ok(Begin { place, is_behind_archive: false }),
    }
}

/// Checks that the server has what was received of its timeline.
///
/// A standby may be behind another server from which that came; any other server has sent what was durable there.
async fn check_progress(client: &mut ReplicationClient, identity: SystemIdentity, reached: Place) -> Result<()> {
    let (timeline, found) = (identity.timeline, identity.position);
    if reached.timeline != timeline || reached.position <= found || client.is_standby().await? {
        return Ok(());
    }
    Err(WalStreamError::WentBack { server: client.server().to_owned(), timeline, found, reached: reached.position }
        .into())
}

fn floor(position: Lsn, size: WalSegmentSize) -> Lsn {
    Lsn(position.0 - position.0 % size.bytes())
}

fn behind(folder: &StreamFolder, size: WalSegmentSize) -> Result<Option<Place>> {
    let place = match folder.newest()? {
        Some(WalFileName::Partial(name)) => match folder.measure(name)? {
            Some(tail) => Some((name, tail.end())),
            None => name.start(size).map(|start| (name, start)),
        },
        Some(WalFileName::Segment(name)) => name.start(size).map(|start| (name, Lsn(start.0 + size.bytes()))),
        _ => None,
    };
    Ok(place.map(|(name, position)| Place { timeline: name.timeline(), position }))
}

/// Finds where the archive of what the server went through ends, at the start of a segment.
async fn end_of_archive(archive: &Repository, way: &Way, size: WalSegmentSize) -> Result<Option<Place>> {
    let system = way.identity.system_identifier;
    let whole = archive.wal_objects(Some(system)).await?.into_iter().filter_map(|object| match object.name {
        WalFileName::Segment(name) => Some((name, size.bytes())),
        _ => None,
    });
    let begun = archive.wal_tails(Some(system), None).await?.into_iter().map(|piece| (piece.segment, 0));
    let ends = whole.chain(begun).filter_map(|(name, length)| {
        let (timeline, start) = (name.timeline(), name.start(size)?);
        way.goes_through(timeline, start).then_some(Place { timeline, position: Lsn(start.0 + length) })
    });
    Ok(ends.max())
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
        Err(error) if error.sqlstate() == Some(SYNTAX_ERROR) => find_slot_by_sql(server, slot).await,
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

/// The timelines that the server went through.
struct Way {
    identity: SystemIdentity,
    /// Those that were left, the oldest first, and where.
    left: Vec<TimelineSwitch>,
}

impl Way {
    async fn of(client: &mut ReplicationClient, identity: SystemIdentity) -> Result<Self> {
        let left = match identity.timeline {
            TimelineId::FIRST => Vec::new(),
            timeline => TimelineHistory::parse(timeline, &client.timeline_history(timeline).await?)?.ancestors,
        };
        Ok(Self { identity, left })
    }

    /// Returns the timeline of which the server's log is at a position.
    fn timeline_at(&self, position: Lsn) -> TimelineId {
        let left = self.left.iter().find(|switch| position < switch.position);
        left.map_or(self.identity.timeline, |switch| switch.timeline)
    }

    /// Returns whether what a timeline has at a position is of the server's log.
    fn goes_through(&self, timeline: TimelineId, position: Lsn) -> bool {
        timeline == self.identity.timeline
            || self.left.iter().any(|switch| switch.timeline == timeline && position < switch.position)
    }

    /// Finds where the server's log goes on from `wanted`, at the start of a segment.
    ///
    /// A server that was promoted gives the log of the timeline before up to where it left it. What we have of that timeline from there on
    /// is not on its way. The segment in which it left begins on the next timeline too, with all that the old one has of it before.
    fn join(&self, server: &str, wanted: Place, size: WalSegmentSize) -> Result<Place> {
        let (server, found, reached) = (server.to_owned(), self.identity.timeline, wanted.timeline);
        let mut place = Place { position: floor(wanted.position, size), ..wanted };
        if found == reached {
            return Ok(place);
        }
        if found < reached {
            return Err(WalStreamError::LeftBehind { server, found, reached }.into());
        }
        let Some(at) = self.left.iter().position(|switch| switch.timeline == reached) else {
            return Err(WalStreamError::Diverged { server, found, reached }.into());
        };
        let switch = self.left[at].position;
        if wanted.position > switch {
            let beyond = wanted.position.0 - switch.0;
            tracing::warn!(%reached, at = %switch, beyond, "the server left the timeline before what was received of it");
        }
        let next = self.left[at + 1..].iter().map(|switch| switch.timeline).chain([found]);
        for (switch, next) in self.left[at..].iter().zip(next) {
            if place.position.0 + size.bytes() <= switch.position.0 {
                break;
            }
            place = Place { timeline: next, position: floor(switch.position, size) };
        }
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: WalSegmentSize = WalSegmentSize::DEFAULT;
    const SEGMENT: u64 = 16 << 20;

    fn timeline(number: u32) -> TimelineId {
        TimelineId::new(number).unwrap()
    }

    fn place(number: u32, position: u64) -> Place {
        Place { timeline: timeline(number), position: Lsn(position) }
    }

    /// Timeline 1 was left in the middle of segment 5 for 2, and 2 in segment 7 for 4.
    fn way() -> Way {
        let identity = SystemIdentity { system_identifier: 7, timeline: timeline(4), position: Lsn(9 * SEGMENT + 1) };
        let left = |number, position| TimelineSwitch { timeline: timeline(number), position: Lsn(position) };
        Way { identity, left: vec![left(1, 5 * SEGMENT + 100), left(2, 7 * SEGMENT + 200)] }
    }

    #[test]
    fn what_lies_beyond_a_switch_is_not_on_the_way() {
        let way = way();
        assert!(way.goes_through(timeline(1), Lsn(5 * SEGMENT)));
        assert!(!way.goes_through(timeline(1), Lsn(6 * SEGMENT)));
        assert!(way.goes_through(timeline(2), Lsn(7 * SEGMENT)));
        assert!(!way.goes_through(timeline(3), Lsn(7 * SEGMENT)));
        assert!(way.goes_through(timeline(4), Lsn(100 * SEGMENT)));
        let at = |position| way.timeline_at(Lsn(position)).get();
        assert_eq!([at(0), at(5 * SEGMENT + 100), at(7 * SEGMENT + 199), at(7 * SEGMENT + 200)], [1, 2, 2, 4]);
    }

    #[test]
    fn a_stream_joins_the_next_timeline_where_the_server_left_the_one_before() {
        let join = |wanted| way().join("db", wanted, SIZE);
        // Before the segment of the switch it goes on, and from there on begins with that segment on the next timeline.
        assert_eq!(join(place(1, 4 * SEGMENT + 99)).unwrap(), place(1, 4 * SEGMENT));
        assert_eq!(join(place(1, 5 * SEGMENT + 99)).unwrap(), place(2, 5 * SEGMENT));
        assert_eq!(join(place(1, 8 * SEGMENT)).unwrap(), place(2, 5 * SEGMENT));
        assert_eq!(join(place(2, 8 * SEGMENT)).unwrap(), place(4, 7 * SEGMENT));
        assert_eq!(join(place(4, 8 * SEGMENT + 5)).unwrap(), place(4, 8 * SEGMENT));
        // Several timelines were left in one segment; and one at its very end, which is whole then.
        let identity = SystemIdentity { timeline: timeline(4), ..way().identity };
        let left = |number, position| TimelineSwitch { timeline: timeline(number), position: Lsn(position) };
        let hasty =
            Way { identity, left: vec![left(1, 5 * SEGMENT + 1), left(2, 5 * SEGMENT + 2), left(3, 6 * SEGMENT)] };
        assert_eq!(hasty.join("db", place(1, 5 * SEGMENT), SIZE).unwrap(), place(3, 5 * SEGMENT));
        assert_eq!(hasty.join("db", place(3, 6 * SEGMENT), SIZE).unwrap(), place(4, 6 * SEGMENT));
        for (reached, kind) in [(3, "does not descend"), (5, "another server was promoted")] {
            let refused = join(place(reached, 0)).unwrap_err().to_string();
            assert!(refused.contains(kind), "{refused}");
        }
    }
}
