//! What is archived of the write-ahead log, what is missing, and how far behind the server the archive is.

mod commits;
mod findings;

pub(in crate::ops) use commits::newest_of as newest_commit_of;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use serde::Serialize;

use crate::causes::chain;
use crate::ops::Result;
use crate::postgres::ConnectionSettings;
use crate::postgres::wal::{ArchivingStatus, SegmentHeader, TimelineHistory, archiving_status};
use crate::repository::{Repository, SegmentGap, SegmentRange, TailPiece, WalObject, covered, segment_ranges};
use crate::types::{Lsn, TimelineId, WalFileName, WalSegmentName, WalSegmentSize};

/// History files are small.
const HISTORY_LIMIT: u64 = 1 << 20;

/// Files that are read at once when all are.
const AT_ONCE: usize = 4;

/// What is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalCheckOptions {
    /// Only this cluster.
    pub system_identifier: Option<u64>,
    /// Whether every MAC of every file is checked.
    pub verify: bool,
}

impl WalCheckOptions {
    /// Looks at one cluster only.
    pub fn with_system_identifier(mut self, identifier: Option<u64>) -> Self {
        self.system_identifier = identifier;
        self
    }

    /// Sets whether every MAC of every file is checked.
    pub fn with_verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }
}

/// What is archived of a timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WalTimelineReport {
    /// The timeline.
    pub timeline: TimelineId,
    /// The timeline that it began from, by its history file.
    pub parent: Option<TimelineId>,
    /// Where it began.
    pub began: Option<Lsn>,
    /// Segments that follow one another.
    pub ranges: Vec<SegmentRange>,
    /// Segments that are missing between, before or behind them.
    pub gaps: Vec<SegmentGap>,
    /// The newest segment.
    pub newest: Option<WalSegmentName>,
    /// When it was archived.
    pub newest_archived: Option<DateTime<Utc>>,
    /// How far the segment behind it is stored, of which a stream has archived the beginning.
    pub tail_end: Option<Lsn>,
    /// How many segments there are.
    pub segments: u64,
    /// Bytes that everything of the timeline takes up.
    pub stored_bytes: u64,
    /// Files that are no segments: histories, partial segments, notes on base backups.
    pub other_files: Vec<WalFileName>,
}

/// What is archived of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WalClusterReport {
    /// The cluster.
    pub system_identifier: u64,
    /// The size of its segments, in bytes; `None` while no segment is archived.
    pub segment_bytes: Option<u64>,
    /// Its timelines.
    pub timelines: Vec<WalTimelineReport>,
}

/// What a check of the archive found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct WalCheckReport {
    /// What is archived.
    pub clusters: Vec<WalClusterReport>,
    /// What the server says; `None` when none was asked.
    pub server: Option<ArchivingStatus>,
    /// Bytes of the log that the server has written and that are not archived.
    pub lag_bytes: Option<u64>,
    /// When the newest transaction was committed that is archived, by the clock of its server: of the cluster of the server that was
    /// asked, or of the only one. `None` when the newest segments hold none.
    pub newest_commit: Option<DateTime<Utc>>,
    /// Seconds since then, while the server has written what is not archived: transactions of this time, at most, would be lost with
    /// it. `None` when no server was asked, or the newest commit is not known.
    pub at_risk_seconds: Option<f64>,
    /// Files whose MACs were checked.
    pub verified: u64,
    /// What is wrong, in words. Empty: all is well.
    pub findings: Vec<String>,
}

impl WalCheckReport {
    /// Returns whether nothing was wrong.
    pub fn is_healthy(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Lists what is archived, by cluster and timeline. Reads the header of one segment of each cluster, and all histories.
///
/// # Errors
/// When the archive cannot be listed, or what it needs to read cannot be trusted.
pub async fn wal_list(repository: &Repository, system_identifier: Option<u64>) -> Result<Vec<WalClusterReport>> {
    let tails = repository.wal_tails(system_identifier, None).await?;
    // After the pieces: of a segment that becomes whole meanwhile, the one or the other is seen.
    let objects = repository.wal_objects(system_identifier).await?;
    let systems: BTreeSet<u64> = (objects.iter().map(|object| object.system_identifier))
        .chain(tails.iter().map(|piece| piece.system_identifier))
        .collect();
    let mut reports = Vec::new();
    for system in systems {
        let objects: Vec<WalObject> =
            objects.iter().filter(|object| object.system_identifier == system).cloned().collect();
        let tails: Vec<TailPiece> = tails.iter().filter(|piece| piece.system_identifier == system).copied().collect();
        reports.push(cluster_report(repository, system, &objects, &tails).await?);
    }
    Ok(reports)
}

/// Looks for gaps in the archive, and asks the server, if one is given, whether it archives and how far it is ahead.
///
/// What is wrong is a finding in the report; what hinders the work is an error.
///
/// # Errors
/// As [`wal_list`], and [`PostgresError`](crate::postgres::PostgresError) of the server.
pub async fn wal_check(
    repository: &Repository,
    server: Option<&ConnectionSettings>,
    options: &WalCheckOptions,
) -> Result<WalCheckReport> {
    let server = match server {
        Some(settings) => Some(archiving_status(settings).await?),
        None => None,
    };
    // The server first: what it says that it archived must be in a list that is made later.
    let system = options.system_identifier.or_else(|| server.as_ref()?.system_identifier);
    let clusters = wal_list(repository, system).await?;
    let mut findings = findings::of_archive(&clusters);
    let mut lag_bytes = None;
    let newest_commit = match of_interest(&clusters, server.as_ref()) {
        Some(cluster) => newest_commit(repository, cluster, &mut findings).await?,
        None => None,
    };
    if let Some(server) = &server {
        let cluster = clusters.iter().find(|cluster| Some(cluster.system_identifier) == server.system_identifier);
        lag_bytes = findings::lag(server, cluster);
        findings.extend(findings::of_server(server, cluster, lag_bytes));
    }
    let age = |commit: DateTime<Utc>| match lag_bytes {
        Some(0) => 0.0,
        _ => (repository.environment().clock.now() - commit).as_seconds_f64().max(0.0),
    };
    let at_risk_seconds = server.as_ref().and(newest_commit).map(age);
    let mut verified = 0;
    if options.verify {
        let (good, bad) = verify_all(repository, system).await?;
        verified = good + bad.len() as u64;
        findings.extend(bad);
    }
    Ok(WalCheckReport { clusters, server, lag_bytes, newest_commit, at_risk_seconds, verified, findings })
}

/// Returns the cluster of the server, or the only one.
fn of_interest<'a>(clusters: &'a [WalClusterReport], server: Option<&ArchivingStatus>) -> Option<&'a WalClusterReport> {
    match (server.map(|server| server.system_identifier), clusters) {
        (Some(Some(identifier)), _) => clusters.iter().find(|cluster| cluster.system_identifier == identifier),
        (_, [only]) => Some(only),
        _ => None,
    }
}

async fn newest_commit(
    repository: &Repository,
    cluster: &WalClusterReport,
    findings: &mut Vec<String>,
) -> Result<Option<DateTime<Utc>>> {
    match commits::newest(repository, cluster).await {
        Err(error) if error.kind() == crate::ops::ErrorKind::Integrity => {
            findings.push(format!("a segment of the newest ones is damaged: {}", chain(&error)));
            Ok(None)
        }
        outcome => outcome,
    }
}

async fn cluster_report(
    repository: &Repository,
    system_identifier: u64,
    objects: &[WalObject],
    tails: &[TailPiece],
) -> Result<WalClusterReport> {
    let size = segment_size(repository, objects, tails).await?;
    let mut timelines: BTreeMap<TimelineId, Vec<&WalObject>> = BTreeMap::new();
    for object in objects {
        timelines.entry(object.name.timeline()).or_default().push(object);
    }
    for piece in tails {
        timelines.entry(piece.segment.timeline()).or_default();
    }
    let mut reports = Vec::new();
    for (timeline, objects) in timelines {
        let segment_size = size.unwrap_or(WalSegmentSize::DEFAULT);
        let tails: Vec<TailPiece> =
            tails.iter().filter(|piece| piece.segment.timeline() == timeline).copied().collect();
        let mut report = timeline_report(timeline, &objects, &tails, segment_size);
        report.tail_end = tail_end(&tails, &report, segment_size);
        let history = WalFileName::History(timeline);
        if objects.iter().any(|object| object.name == history) {
            let bytes = repository.wal_bytes(system_identifier, history, 0..HISTORY_LIMIT).await?;
            let parent = TimelineHistory::parse(timeline, &bytes)?.parent();
            report.parent = parent.map(|parent| parent.timeline);
            report.began = parent.map(|parent| parent.position);
        }
        reports.push(report);
    }
    if let Some(size) = size {
        add_gaps_between(&mut reports, size);
    }
    let segment_bytes = size.map(WalSegmentSize::bytes);
    Ok(WalClusterReport { system_identifier, segment_bytes, timelines: reports })
}

/// Reads the size of segments in the newest one of which there is a beginning.
pub(super) async fn segment_size(
    repository: &Repository,
    objects: &[WalObject],
    tails: &[TailPiece],
) -> Result<Option<WalSegmentSize>> {
    let is_segment = |object: &&WalObject| matches!(object.name, WalFileName::Segment(_) | WalFileName::Partial(_));
    let (name, begin) = match (objects.iter().rev().find(is_segment), tails.last()) {
        (Some(newest), _) => {
            let begin = 0..SegmentHeader::LEN as u64;
            (newest.name, repository.wal_bytes(newest.system_identifier, newest.name, begin).await?)
        }
        (None, Some(piece)) => {
            let begin = repository.assemble_wal_tail(piece.system_identifier, piece.segment).await?;
            let Some(begin) = begin.filter(|begin| begin.len() >= SegmentHeader::LEN) else { return Ok(None) };
            (WalFileName::Segment(piece.segment), begin)
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(SegmentHeader::parse(&name.to_string(), &begin)?.segment_size))
}

/// Finds how far the newest segment of a timeline is stored that is there in pieces, unless a whole one lies behind it.
fn tail_end(tails: &[TailPiece], timeline: &WalTimelineReport, size: WalSegmentSize) -> Option<Lsn> {
    let newest = tails.iter().map(|piece| piece.segment).max()?;
    if timeline.newest.is_some_and(|whole| whole >= newest) {
        return None;
    }
    let pieces: Vec<TailPiece> = tails.iter().filter(|piece| piece.segment == newest).copied().collect();
    let bytes = covered(&pieces);
    newest.start(size).filter(|_| bytes > 0).map(|start| Lsn(start.0 + u64::from(bytes)))
}

fn timeline_report(
    timeline: TimelineId,
    objects: &[&WalObject],
    tails: &[TailPiece],
    size: WalSegmentSize,
) -> WalTimelineReport {
    let segment = |object: &&WalObject| match object.name {
        WalFileName::Segment(name) => Some((name, object.archived)),
        _ => None,
    };
    let segments: Vec<_> = objects.iter().filter_map(segment).collect();
    let whole: Vec<WalSegmentName> = segments.iter().map(|(name, _)| *name).collect();
    let (ranges, _) = segment_ranges(timeline, whole.iter().copied(), size);
    let gaps = gaps(timeline, &whole, tails, size);
    let newest = segments.last();
    WalTimelineReport {
        timeline,
        parent: None,
        began: None,
        ranges,
        gaps,
        newest: newest.map(|(name, _)| *name),
        newest_archived: newest.map(|(_, archived)| *archived),
        tail_end: None,
        segments: segments.len() as u64,
        stored_bytes: objects.iter().map(|object| object.stored_bytes).sum(),
        other_files: objects.iter().filter(|object| segment(object).is_none()).map(|object| object.name).collect(),
    }
}

/// Finds what is missing of a timeline before its end, which may be a segment in pieces; of the others all pieces must be there.
fn gaps(timeline: TimelineId, whole: &[WalSegmentName], tails: &[TailPiece], size: WalSegmentSize) -> Vec<SegmentGap> {
    let mut pieces: BTreeMap<WalSegmentName, Vec<TailPiece>> = BTreeMap::new();
    for piece in tails {
        pieces.entry(piece.segment).or_default().push(*piece);
    }
    let end = whole.iter().max().max(pieces.keys().last()).copied();
    let is_complete = |pieces: &[TailPiece]| u64::from(covered(pieces)) == size.bytes();
    let complete = pieces.iter().filter(|(_, pieces)| is_complete(pieces)).map(|(name, _)| *name);
    let there: Vec<WalSegmentName> = whole.iter().copied().chain(complete).chain(end).collect();
    let number = |name: Option<&WalSegmentName>| name?.number(size);
    let before = (number(pieces.keys().next()).zip(number(there.iter().min())))
        .and_then(|(begun, first)| SegmentGap::between(timeline, begun, first, size));
    let (_, between) = segment_ranges(timeline, there, size);
    before.into_iter().chain(between).collect()
}

/// A timeline goes on where its parent was left: finds what is missing on both sides of the switch.
///
/// The segment of the switch is the first one of the later timeline; of the earlier one it may never have been archived.
fn add_gaps_between(timelines: &mut [WalTimelineReport], size: WalSegmentSize) {
    let switches: Vec<_> = timelines.iter().filter_map(|one| Some((one.timeline, one.parent?, one.began?))).collect();
    for (timeline, parent, position) in switches {
        let switch = position.0 / size.bytes();
        let find = |timelines: &[WalTimelineReport], wanted| timelines.iter().position(|one| one.timeline == wanted);
        if let Some(later) = find(timelines, timeline)
            && let Some(first) = first_known(&timelines[later], size)
            && let Some(gap) = SegmentGap::between(timeline, switch, first, size)
        {
            timelines[later].gaps.insert(0, gap);
        }
        if let Some(earlier) = find(timelines, parent)
            && let Some(next) = next_needed(&timelines[earlier], size)
            && let Some(gap) = SegmentGap::between(parent, next, switch, size)
        {
            timelines[earlier].gaps.push(gap);
        }
    }
}

/// Returns the number of the segment in pieces that a timeline ends with.
fn tail_number(timeline: &WalTimelineReport, size: WalSegmentSize) -> Option<u64> {
    timeline.tail_end.map(|end| (end.0 - 1) / size.bytes())
}

/// Returns the number of the first segment of a timeline of which anything is known.
fn first_known(timeline: &WalTimelineReport, size: WalSegmentSize) -> Option<u64> {
    let firsts = timeline.ranges.first().map(|range| range.first).into_iter();
    let firsts = firsts.chain(timeline.gaps.first().map(|gap| gap.first)).filter_map(|name| name.number(size));
    firsts.chain(tail_number(timeline, size)).min()
}

/// Returns the number of the first segment that is not whole and not known to be missing.
fn next_needed(timeline: &WalTimelineReport, size: WalSegmentSize) -> Option<u64> {
    let lasts = timeline.ranges.last().map(|range| range.last).into_iter();
    let lasts = lasts.chain(timeline.gaps.last().map(|gap| gap.last)).filter_map(|name| name.number(size));
    lasts.max().map(|last| last + 1).or_else(|| tail_number(timeline, size))
}

async fn verify_all(repository: &Repository, system_identifier: Option<u64>) -> Result<(u64, Vec<String>)> {
    let objects = repository.wal_objects(system_identifier).await?;
    let checks = futures::stream::iter(objects).map(|object| async move {
        let reader = repository.open_wal(repository.storage().as_ref(), object.system_identifier, object.name).await;
        let outcome = match reader {
            Ok(Some(reader)) => reader.check_seals_to_end().await.map(drop).map_err(crate::ops::Error::from),
            Ok(None) => return Ok(Some(format!("{} is listed and cannot be read", object.name))),
            Err(error) => Err(error.into()),
        };
        match outcome {
            Ok(()) => Ok(None),
            Err(error) if error.kind() == crate::ops::ErrorKind::Integrity => {
                Ok(Some(format!("{} is damaged: {}", object.name, chain(&error))))
            }
            Err(error) => Err(error),
        }
    });
    let (mut good, mut bad) = (0, Vec::new());
    let mut checks = checks.buffered(AT_ONCE).boxed();
    while let Some(outcome) = checks.next().await {
        match outcome? {
            None => good += 1,
            Some(finding) => bad.push(finding),
        }
    }
    Ok((good, bad))
}
