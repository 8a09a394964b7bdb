//! Where everything lies: the one place that spells object keys.

use super::history::JobName;
use crate::container::{ObjectIdentity, ObjectKind};
#[cfg(feature = "evidence")]
use crate::types::EvidenceId;
use crate::types::{BackupId, DrillId, EpochId, JobRunId, ObjectKey, RunId, TimelineId, WalFileName, WalSegmentName};

/// The folder of catalogue entries and manifests.
pub(crate) const BACKUPS: &str = "backups";
/// The folder of logical dump streams.
pub(crate) const DUMPS: &str = "dumps";
/// The folder of the packs of physical backups.
pub(crate) const PACKS: &str = "packs";
/// The folder of the archive of the write-ahead log.
pub(crate) const WAL: &str = "wal";
/// The folder of the pieces of segments that are not whole yet.
pub(crate) const WAL_TAILS: &str = "wal-tails";
/// The repository's settings, without which there is none.
pub(crate) const SETTINGS: &str = "repo.json";
/// The folder of epochs and their slots.
pub(crate) const KEYS: &str = "keys";
/// The folder of leases.
pub(crate) const LEASES: &str = "state/leases";
/// The folder of prune's records of what it removed.
pub(crate) const EXPIRED: &str = "state/expired";
/// The folder of verdicts about backups.
pub(crate) const VERDICTS: &str = "state/verdicts";
/// The folder of the journals of runs of runbooks.
pub(crate) const RUNS: &str = "state/runs";
/// The folder of what drills showed.
pub(crate) const DRILLS: &str = "state/drills";
/// The folder of what the agent did.
pub(crate) const HISTORY: &str = "state/history";
/// The folder of alarms.
pub(crate) const ALARMS: &str = "state/alarms";
/// The folder of bundles of evidence.
pub(crate) const EVIDENCE: &str = "evidence";
/// The folder of holds.
pub(crate) const HOLDS: &str = "state/holds";

/// Returns whether an object may be one of a repository, by its folder.
pub(crate) fn is_own(object: &ObjectKey) -> bool {
    let folders = [BACKUPS, DUMPS, PACKS, WAL, WAL_TAILS, KEYS, EVIDENCE, "state"];
    *object == settings() || folders.iter().any(|folder| object.is_under(folder))
}

const SPELLED_HERE: &str = "made of checked identifiers and literals";

fn key(text: String) -> ObjectKey {
    ObjectKey::new(text).expect(SPELLED_HERE)
}

/// `repo.json`
pub(crate) fn settings() -> ObjectKey {
    key(SETTINGS.to_owned())
}

/// `backups/<id>/summary`: the commit point.
pub(crate) fn summary(id: &BackupId) -> ObjectKey {
    key(format!("{BACKUPS}/{id}/summary"))
}

/// `backups/<id>/manifest`
pub(crate) fn manifest(id: &BackupId) -> ObjectKey {
    key(format!("{BACKUPS}/{id}/manifest"))
}

/// `dumps/<id>/<stream>-<part>`
pub(crate) fn dump_part(id: &BackupId, stream: u32, part: u32) -> ObjectKey {
    key(format!("{DUMPS}/{id}/{stream:04}-{part:04}"))
}

/// `backups/<id>/files`: the map of a physical backup.
pub(crate) fn file_map(id: &BackupId) -> ObjectKey {
    key(format!("{BACKUPS}/{id}/files"))
}

/// `backups/<id>/pages`: the hashes of a physical backup's pages.
pub(crate) fn page_hashes(id: &BackupId) -> ObjectKey {
    key(format!("{BACKUPS}/{id}/pages"))
}

/// What the name of a part of a run's journal begins with.
const JOURNAL: &str = "journal-";

/// `backups/<id>/journal-<part>`: what a run has stored so far, while it has not committed.
pub(crate) fn journal(id: &BackupId, part: u32) -> ObjectKey {
    key(format!("{BACKUPS}/{id}/{JOURNAL}{part:06}"))
}

/// Returns the run that a part of a journal is of; `None` for any other key.
pub(crate) fn parse_journal(object: &ObjectKey) -> Option<BackupId> {
    let id = backup_of(BACKUPS, object)?;
    let part = object.file_name().strip_prefix(JOURNAL)?.parse().ok()?;
    (journal(&id, part) == *object).then_some(id)
}

/// `packs/<id>/begun`: of a run that may come to point into packs of other backups, while it has not committed.
pub(crate) fn begun(id: &BackupId) -> ObjectKey {
    key(format!("{PACKS}/{id}/begun"))
}

/// `packs/<id>/<number>`, of the backup that wrote it; others may point into it.
pub(crate) fn pack(id: &BackupId, number: u32) -> ObjectKey {
    key(format!("{PACKS}/{id}/{number:06}"))
}

/// `wal/<system identifier>`: what is archived of a cluster.
pub(crate) fn wal_system(system_identifier: u64) -> String {
    format!("{WAL}/{system_identifier}")
}

/// `wal/<system identifier>/<timeline>`: what is archived of one timeline of it.
pub(crate) fn wal_timeline(system_identifier: u64, timeline: TimelineId) -> String {
    format!("{}/{:08X}", wal_system(system_identifier), timeline.get())
}

/// `wal/<system identifier>/<timeline>/<file>`
pub(crate) fn wal_file(system_identifier: u64, name: WalFileName) -> ObjectKey {
    key(format!("{}/{name}", wal_timeline(system_identifier, name.timeline())))
}

/// Returns the cluster and the file that an object of the archive is; `None` for any other key.
pub(crate) fn parse_wal_file(object: &ObjectKey) -> Option<(u64, WalFileName)> {
    let mut parts = object.as_str().strip_prefix(WAL)?.strip_prefix('/')?.split('/');
    let found = (parts.next()?.parse().ok()?, parts.nth(1)?.parse().ok()?);
    (wal_file(found.0, found.1) == *object).then_some(found)
}

/// `wal-tails/<system identifier>`: what is stored of the segments of a cluster that are not whole yet.
pub(crate) fn wal_tails(system_identifier: u64) -> String {
    format!("{WAL_TAILS}/{system_identifier}")
}

/// `wal-tails/<system identifier>/<segment>/<sequence>-<from>-<to>`
pub(crate) fn wal_tail(system_identifier: u64, segment: WalSegmentName, piece: &str) -> ObjectKey {
    key(format!("{}/{segment}/{piece}", wal_tails(system_identifier)))
}

/// Returns the cluster, the segment and the last part of the key of a piece; `None` for any other key.
pub(crate) fn parse_wal_tail(object: &ObjectKey) -> Option<(u64, WalSegmentName, &str)> {
    let mut parts = object.as_str().strip_prefix(WAL_TAILS)?.strip_prefix('/')?.split('/');
    let found = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
    (wal_tail(found.0, found.1, found.2) == *object).then_some(found)
}

/// `keys/<epoch>/epoch.json`
pub(crate) fn epoch(id: &EpochId) -> ObjectKey {
    key(format!("{KEYS}/{id}/epoch.json"))
}

/// `keys/<epoch>/<slot>.<suffix>`
pub(crate) fn slot(epoch: &EpochId, slot: &str, suffix: &str) -> ObjectKey {
    key(format!("{KEYS}/{epoch}/{slot}.{suffix}"))
}

/// `state/leases/<purpose>-<holder>`
pub(crate) fn lease(purpose: &str, holder: &str) -> ObjectKey {
    key(format!("{LEASES}/{purpose}-{holder}"))
}

/// `state/expired/<id>`
pub(crate) fn expired(id: &BackupId) -> ObjectKey {
    key(format!("{EXPIRED}/{id}"))
}

/// `state/verdicts/<id>/<time>`
pub(crate) fn verdict(id: &BackupId, name: &str) -> ObjectKey {
    key(format!("{VERDICTS}/{id}/{name}"))
}

/// `state/holds/<id>`
pub(crate) fn hold(id: &BackupId) -> ObjectKey {
    key(format!("{HOLDS}/{id}"))
}

/// `state/drills/<id>`
pub(crate) fn drill(id: &DrillId) -> ObjectKey {
    key(format!("{DRILLS}/{id}"))
}

/// `state/history/<job>/<id>/begun`
pub(crate) fn run_begun(job: &JobName, id: &JobRunId) -> ObjectKey {
    key(format!("{HISTORY}/{job}/{id}/begun"))
}

/// `state/history/<job>/<id>/ended`
pub(crate) fn run_ended(job: &JobName, id: &JobRunId) -> ObjectKey {
    key(format!("{HISTORY}/{job}/{id}/ended"))
}

/// `state/history/<job>/first-seen`
#[cfg_attr(not(feature = "agent"), allow(dead_code, reason = "only the agent runs jobs"))]
pub(crate) fn job_seen(job: &JobName) -> ObjectKey {
    key(format!("{HISTORY}/{job}/first-seen"))
}

/// Returns the job and the run that a record of the history is of, and whether it is that of its end; `None` for any other key.
pub(crate) fn parse_job_run(object: &ObjectKey) -> Option<(JobName, JobRunId, bool)> {
    let mut parts = object.as_str().strip_prefix(HISTORY)?.strip_prefix('/')?.split('/');
    let (job, id, name) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
    let is_end = name == "ended";
    let same = if is_end { run_ended(&job, &id) } else { run_begun(&job, &id) };
    (same == *object).then_some((job, id, is_end))
}

/// `state/alarms/<subject>`
#[cfg_attr(not(feature = "agent"), allow(dead_code, reason = "only the agent raises alarms"))]
pub(crate) fn alarm(subject: &JobName) -> ObjectKey {
    key(format!("{ALARMS}/{subject}"))
}

/// `state/runs/<id>`: the folder of a run's journal.
#[cfg_attr(not(feature = "runbooks"), allow(dead_code, reason = "only runbooks have runs"))]
pub(crate) fn run(id: &RunId) -> String {
    format!("{RUNS}/{id}")
}

/// `state/runs/<id>/<number>`
#[cfg_attr(not(feature = "runbooks"), allow(dead_code, reason = "only runbooks have runs"))]
pub(crate) fn run_entry(id: &RunId, number: u32) -> ObjectKey {
    key(format!("{}/{number:06}", run(id)))
}

/// `evidence/<id>/items/<number>`
#[cfg(feature = "evidence")]
pub(crate) fn evidence_item(id: &EvidenceId, number: u32) -> ObjectKey {
    key(format!("{EVIDENCE}/{id}/items/{number:06}"))
}

/// `evidence/<id>/manifest`: the bundle exists when this does.
#[cfg(feature = "evidence")]
pub(crate) fn evidence_manifest(id: &EvidenceId) -> ObjectKey {
    key(format!("{EVIDENCE}/{id}/manifest"))
}

/// `evidence/<id>/custody`: the folder of what was done with a bundle.
#[cfg(feature = "evidence")]
pub(crate) fn evidence_custody(id: &EvidenceId) -> String {
    format!("{EVIDENCE}/{id}/custody")
}

/// `evidence/<id>/custody/<number>`
#[cfg(feature = "evidence")]
pub(crate) fn evidence_custody_entry(id: &EvidenceId, number: u32) -> ObjectKey {
    key(format!("{}/{number:06}", evidence_custody(id)))
}

/// Returns the run and the number of an entry of a journal; `None` for any other key.
#[cfg_attr(not(feature = "runbooks"), allow(dead_code, reason = "only runbooks have runs"))]
pub(crate) fn parse_run_entry(object: &ObjectKey) -> Option<(RunId, u32)> {
    let (id, number) = object.as_str().strip_prefix(RUNS)?.strip_prefix('/')?.split_once('/')?;
    let (id, number) = (id.parse().ok()?, number.parse().ok()?);
    (run_entry(&id, number) == *object).then_some((id, number))
}

/// Returns the domain of a record's MAC, or `None` for what is no record.
pub(crate) fn record_domain(key: &ObjectKey) -> Option<&'static str> {
    if *key == settings() {
        return Some(super::settings::DOMAIN);
    }
    let domains = [
        (VERDICTS, super::verdict::VERDICT_DOMAIN),
        (HOLDS, super::verdict::HOLD_DOMAIN),
        (DRILLS, super::drills::DRILL_DOMAIN),
        (HISTORY, super::history::HISTORY_DOMAIN),
        (ALARMS, super::alarms::ALARM_DOMAIN),
        (EXPIRED, super::catalogue::EXPIRED_DOMAIN),
    ];
    match key.file_name() {
        "summary" if key.is_under(BACKUPS) => Some(super::summary::DOMAIN),
        "epoch.json" if key.is_under(KEYS) => Some(super::epoch::DOMAIN),
        _ => domains.into_iter().find(|(folder, _)| key.is_under(folder)).map(|(_, domain)| domain),
    }
}

/// Returns what an object that lies by itself, and is a container, says that it is.
pub(crate) fn container_kind(key: &ObjectKey) -> Option<ObjectKind> {
    match () {
        () if key.is_under(RUNS) => Some(ObjectKind::Journal),
        () if key.is_under(EVIDENCE) => Some(ObjectKind::Evidence),
        () if key.is_under(WAL) || key.is_under(WAL_TAILS) => Some(ObjectKind::Wal),
        () => None,
    }
}

/// Returns what an object of a backup says that it is.
pub(crate) fn identity_of(key: &ObjectKey) -> ObjectIdentity {
    let kind = match () {
        () if key.is_under(PACKS) => ObjectKind::Pack,
        () if key.is_under(BACKUPS) => ObjectKind::Manifest,
        () => ObjectKind::Dump,
    };
    ObjectIdentity::new(kind, key.as_str())
}

/// Returns the backup that an object belongs to, wherever it lies.
pub(crate) fn owner_of(key: &ObjectKey) -> Option<BackupId> {
    [BACKUPS, DUMPS, PACKS, VERDICTS, HOLDS].into_iter().find_map(|root| backup_of(root, key))
}

/// Returns the backup whose folder under `root` an object lies in.
pub(crate) fn backup_of(root: &str, object: &ObjectKey) -> Option<BackupId> {
    object.as_str().strip_prefix(root)?.strip_prefix('/')?.split('/').next()?.parse().ok()
}
