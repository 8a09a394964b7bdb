//! What is wrong with an archive and with the server that fills it, in words that name the next step.

use super::{WalClusterReport, WalTimelineReport};
use crate::postgres::wal::ArchivingStatus;
use crate::types::WalFileName;

/// How many segments a stream may be behind while it catches up.
const STREAM_SEGMENTS: u64 = 16;

/// Names the gaps.
pub(super) fn of_archive(clusters: &[WalClusterReport]) -> Vec<String> {
    let gaps = clusters.iter().flat_map(|cluster| {
        let gaps = cluster.timelines.iter().flat_map(|timeline| &timeline.gaps);
        gaps.map(move |gap| {
            let what = match gap.segments {
                1 => format!("segment {} is missing", gap.first),
                many => format!("{many} segments are missing, {} to {}", gap.first, gap.last),
            };
            format!("{what} (cluster {}): no restore goes past it; take a base backup now", cluster.system_identifier)
        })
    });
    gaps.collect()
}

/// Names what keeps the server from archiving into this archive. While a stream receives the log, what the server itself archives, and where, is
/// another one's business.
pub(super) fn of_server(server: &ArchivingStatus, cluster: Option<&WalClusterReport>, lag: Option<u64>) -> Vec<String> {
    let mut findings = Vec::new();
    if server.wal_level == "minimal" {
        findings.push("wal_level is minimal: set it to replica, and restart the server".to_owned());
    }
    match server.streams {
        0 => of_archiver(server, cluster, &mut findings),
        _ => findings.extend(of_stream(server, lag)),
    }
    if let (Some(failed), Some(at)) = (&server.last_failed_wal, server.last_failed_at)
        && server.last_archived_at.is_none_or(|archived| archived < at)
    {
        // Whoever archives there: what waits fills the server's disk.
        findings.push(format!("archiving fails: {failed} at {at}; the server's log says why"));
    }
    if let (Some(identifier), None) = (server.system_identifier, cluster) {
        findings.push(format!("nothing of the server's cluster, {identifier}, is archived"));
    }
    findings
}

/// Names what keeps the server's own archiver from it.
fn of_archiver(server: &ArchivingStatus, cluster: Option<&WalClusterReport>, findings: &mut Vec<String>) {
    let mut find = |text: String| findings.push(text);
    match (server.archive_mode.as_str(), server.in_recovery) {
        ("off", false) => find(
            "archive_mode is off, and no stream is connected: set it to on, and restart the server, or run `erpgo-dr wal stream`"
                .to_owned(),
        ),
        ("on", true) | ("off", true) => {}
        _ => command(server, &mut find),
    }
    let last = server.last_archived_wal.as_deref().and_then(|name| name.parse::<WalFileName>().ok());
    if let (Some(last), Some(cluster)) = (last, cluster)
        && !holds(cluster, last)
    {
        find(format!("the server says that it archived {last}, which is not here: it archives elsewhere"));
    }
}

/// Names a stream that is connected, and archives nothing here: its repository is away, or another one.
fn of_stream(server: &ArchivingStatus, lag: Option<u64>) -> Option<String> {
    let behind = lag.filter(|lag| *lag > STREAM_SEGMENTS.saturating_mul(server.segment_bytes))?;
    Some(format!(
        "a stream is connected, and {behind} bytes of the log are not here: its own log says why, or it archives elsewhere"
    ))
}

fn command(server: &ArchivingStatus, find: &mut impl FnMut(String)) {
    match (&server.archive_library, &server.archive_command) {
        (Some(library), _) => {
            find(format!("archive_library is {library}: archive_command is not used while it is set"));
        }
        (None, Some(command)) if command.is_empty() || command == "(disabled)" => {
            find("archive_command is empty: set it to `erpgo-dr wal push %p`, with the options it needs".to_owned());
        }
        (None, Some(command)) if !command.contains("%p") => {
            find(format!("archive_command does not say %p, the file to archive: {command}"));
        }
        (None, _) => {}
    }
}

fn holds(cluster: &WalClusterReport, name: WalFileName) -> bool {
    let Some(timeline) = cluster.timelines.iter().find(|one| one.timeline == name.timeline()) else { return false };
    match name {
        WalFileName::Segment(name) => timeline.ranges.iter().any(|range| (range.first..=range.last).contains(&name)),
        other => timeline.other_files.contains(&other),
    }
}

/// Returns how many bytes the server has written behind the newest segment of its timeline that is archived.
pub(super) fn lag(server: &ArchivingStatus, cluster: Option<&WalClusterReport>) -> Option<u64> {
    let (position, size) = (server.position?, server.segment_size()?);
    let timelines = &cluster?.timelines;
    let is_stored = |one: &&WalTimelineReport| one.newest.is_some() || one.tail_end.is_some();
    let newest = timelines.iter().rev().filter(|one| Some(one.timeline) <= server.timeline).find(is_stored)?;
    let whole = newest.newest.and_then(|name| name.number(size)).map(|number| (number + 1) * size.bytes());
    let archived = whole.max(newest.tail_end.map(|end| end.0))?;
    Some(position.0.saturating_sub(archived))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> ArchivingStatus {
        ArchivingStatus {
            system_identifier: Some(1),
            in_recovery: false,
            timeline: crate::types::TimelineId::new(1),
            position: Some("0/3000100".parse().unwrap()),
            segment_bytes: 16 << 20,
            wal_level: "replica".to_owned(),
            archive_mode: "on".to_owned(),
            archive_command: Some("erpgo-dr wal push %p".to_owned()),
            archive_library: None,
            archived_count: 1,
            last_archived_wal: None,
            last_archived_at: None,
            failed_count: 0,
            last_failed_wal: None,
            last_failed_at: None,
            waiting: Some(0),
            streams: 0,
        }
    }

    fn one(server: &ArchivingStatus) -> String {
        let cluster = WalClusterReport { system_identifier: 1, segment_bytes: None, timelines: Vec::new() };
        let found = of_server(server, Some(&cluster), None);
        assert!(found.len() <= 1, "{found:?}");
        found.into_iter().next().unwrap_or_default()
    }

    #[test]
    fn each_wrong_setting_is_named() {
        assert_eq!(one(&server()), "");
        let with = |change: fn(&mut ArchivingStatus)| {
            let mut status = server();
            change(&mut status);
            one(&status)
        };
        assert!(with(|s| s.wal_level = "minimal".to_owned()).contains("wal_level"));
        assert!(with(|s| s.archive_mode = "off".to_owned()).contains("archive_mode"));
        assert!(with(|s| s.archive_command = Some("(disabled)".to_owned())).contains("empty"));
        assert!(with(|s| s.archive_command = Some("cp x y".to_owned())).contains("%p"));
        assert!(with(|s| s.archive_library = Some("basic_archive".to_owned())).contains("basic_archive"));
        assert!(with(|s| s.last_archived_wal = Some("000000010000000000000002".to_owned())).contains("elsewhere"));
        let failing = with(|s| {
            s.last_failed_wal = Some("000000010000000000000002".to_owned());
            s.last_failed_at = Some(chrono::Utc::now());
        });
        assert!(failing.contains("archiving fails"), "{failing}");
        let standby = with(|s| {
            s.in_recovery = true;
            s.archive_command = Some(String::new());
        });
        assert_eq!(standby, "", "a standby with archive_mode on archives nothing, and is fine");
        let streamed = with(|s| {
            s.streams = 1;
            s.archive_mode = "off".to_owned();
            s.last_archived_wal = Some("000000010000000000000002".to_owned());
        });
        assert_eq!(streamed, "", "a stream archives, whatever the server does beside it");
        let mut streamed = server();
        streamed.streams = 1;
        let cluster = WalClusterReport { system_identifier: 1, segment_bytes: None, timelines: Vec::new() };
        assert!(of_server(&streamed, Some(&cluster), Some(16 * (16 << 20))).is_empty());
        assert!(of_server(&streamed, Some(&cluster), Some(17 * (16 << 20)))[0].contains("not here"));
        assert!(of_server(&server(), None, None)[0].contains("nothing of the server's cluster"));
    }
}
