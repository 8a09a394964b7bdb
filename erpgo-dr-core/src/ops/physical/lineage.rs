//! Which timeline a recovery follows that is to follow the latest.
//!
//! PostgreSQL looks for the histories of the numbers behind the backup's, one by one, and stops at the first that is missing: a hole in the numbers, as a
//! promotion leaves that archived nothing, hides all later timelines. Nor does it pass over one that does not descend from the backup.
//!
//! Source: `findNewestTimeLine` and `validateRecoveryParameters` in PostgreSQL's `access/transam`.

use std::collections::BTreeSet;

use super::recovery::{RecoveryOptions, RecoveryTimeline};
use crate::ops::Result;
use crate::postgres::wal::TimelineHistory;
use crate::repository::{Manifest, PhysicalContents, Repository};
use crate::types::{TimelineId, WalFileName};

/// Returns how the cluster of a backup recovers: with the number of a timeline, where PostgreSQL by itself would not find the latest that the archive has.
pub(super) async fn resolve(
    repository: &Repository,
    manifest: &Manifest,
    physical: &PhysicalContents,
    recovery: &RecoveryOptions,
) -> RecoveryOptions {
    let is_asked = recovery.timeline == RecoveryTimeline::Latest && recovery.restore_command.is_some();
    let Some(system) = manifest.contents.server.system_identifier.filter(|_| is_asked) else { return recovery.clone() };
    match hidden(repository, system, physical).await {
        Ok(Some(timeline)) => {
            tracing::info!(%timeline, "PostgreSQL would not find the latest timeline of the archive by itself: it is named");
            recovery.clone().with_timeline(RecoveryTimeline::Id(timeline))
        }
        Ok(None) => recovery.clone(),
        Err(error) => {
            tracing::warn!(%error, "which timelines the archive has is not known: it is left to PostgreSQL to find the latest");
            recovery.clone()
        }
    }
}

/// Returns the latest timeline that the backup can be replayed on, unless PostgreSQL finds it by itself.
async fn hidden(repository: &Repository, system: u64, physical: &PhysicalContents) -> Result<Option<TimelineId>> {
    let objects = repository.wal_objects(Some(system)).await?;
    let histories = objects.iter().filter_map(|object| match object.name {
        WalFileName::History(timeline) => Some(timeline),
        _ => None,
    });
    let later: BTreeSet<TimelineId> = histories.filter(|timeline| *timeline > physical.timeline).collect();
    let found = found_by_postgres(physical.timeline, &later);
    for timeline in later.iter().rev() {
        let history = repository.small_wal_file(system, WalFileName::History(*timeline)).await?;
        let Some(bytes) = history else { continue };
        match TimelineHistory::parse(*timeline, &bytes) {
            Ok(history) if descends(&history, physical) => return Ok((*timeline != found).then_some(*timeline)),
            Ok(_) => {}
            Err(error) => tracing::warn!(%timeline, %error, "a history is passed over"),
        }
    }
    Ok((found != physical.timeline).then_some(physical.timeline))
}

/// Returns where a search ends that counts up while there are histories.
fn found_by_postgres(own: TimelineId, later: &BTreeSet<TimelineId>) -> TimelineId {
    let numbers = (own.get()..).skip(1).map_while(TimelineId::new);
    numbers.take_while(|timeline| later.contains(timeline)).last().unwrap_or(own)
}

/// Returns whether a timeline left that of the backup behind the backup's end.
fn descends(history: &TimelineHistory, physical: &PhysicalContents) -> bool {
    history.ancestors.iter().any(|left| left.timeline == physical.timeline && left.position >= physical.stop_lsn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_ends_at_the_first_hole() {
        let timelines = |numbers: &[u32]| numbers.iter().copied().filter_map(TimelineId::new).collect::<BTreeSet<_>>();
        for (later, found) in [(&[][..], 2), (&[3], 3), (&[3, 4, 5], 5), (&[4], 2), (&[3, 5], 3)] {
            let own = TimelineId::new(2).unwrap();
            assert_eq!(found_by_postgres(own, &timelines(later)).get(), found, "{later:?}");
        }
    }
}
