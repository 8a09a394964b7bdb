//! Whether a segment that is not archived whole is the end of a timeline, or a gap in it.

use super::check::segment_size;
use crate::ops::Result;
use crate::postgres::wal::TimelineHistory;
use crate::repository::{Repository, TailPiece, WalObject};
use crate::types::{TimelineId, WalFileName, WalSegmentName};

/// Returns the first segment behind `missing` of which the archive has anything: the timeline went on, and `missing` is a gap.
///
/// After a promotion the rest lies on the new timeline, and the last segment of the old one never became whole: no gap. Nor is
/// what lies before the beginning of a timeline, as far as its history is archived: PostgreSQL may ask for that, too.
pub(super) async fn behind(
    repository: &Repository,
    system: u64,
    missing: WalSegmentName,
) -> Result<Option<WalSegmentName>> {
    let timeline = missing.timeline();
    let (objects, tails) = repository.wal_of_timeline(system, timeline).await?;
    let whole = objects.iter().filter_map(|object| match object.name {
        WalFileName::Segment(name) => Some(name),
        _ => None,
    });
    let names: Vec<WalSegmentName> = whole.chain(tails.iter().map(|piece| piece.segment)).collect();
    let Some(later) = names.iter().copied().filter(|name| *name > missing).min() else { return Ok(None) };
    let has_begun = timeline == TimelineId::FIRST
        || names.iter().any(|name| *name < missing)
        || first_of(repository, system, timeline, &objects, &tails).await?.is_some_and(|first| first <= missing);
    Ok(has_begun.then_some(later))
}

/// Returns the segment that a timeline begins in, by its archived history.
async fn first_of(
    repository: &Repository,
    system: u64,
    timeline: TimelineId,
    objects: &[WalObject],
    tails: &[TailPiece],
) -> Result<Option<WalSegmentName>> {
    let history = repository.small_wal_file(system, WalFileName::History(timeline)).await?;
    let Some(bytes) = history else { return Ok(None) };
    let Some(size) = segment_size(repository, objects, tails).await? else { return Ok(None) };
    let parent = TimelineHistory::parse(timeline, &bytes)?.parent();
    Ok(parent.map(|parent| WalSegmentName::containing(timeline, parent.position, size)))
}
