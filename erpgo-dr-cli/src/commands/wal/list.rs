//! `wal list`: what is archived, by cluster and timeline.

use clap::Args;
use erpgo_dr_core::ops::wal::{WalClusterReport, WalTimelineReport, wal_list};
use serde::Serialize;

use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::{Align, Report, Table, bytes, moment};

/// List what is archived of the write-ahead log, by cluster and timeline
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only the cluster of this system identifier
    #[arg(long, value_name = "NUMBER")]
    system: Option<u64>,
}

#[derive(Serialize)]
struct Listed {
    clusters: Vec<WalClusterReport>,
}

impl ListArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let repository = context.repository(Access::Unlocked).await?;
        let clusters = wal_list(&repository, self.system.or(context.config.wal.system)).await?;
        let text = render(&clusters);
        Report::new(&Listed { clusters }, text, true)
    }
}

/// Shows the ranges of each timeline.
pub(super) fn render(clusters: &[WalClusterReport]) -> String {
    if clusters.is_empty() {
        return "nothing is archived\n".to_owned();
    }
    let mut text = String::new();
    for cluster in clusters {
        let size = cluster.segment_bytes.map(|size| format!(", segments of {}", bytes(size))).unwrap_or_default();
        text.push_str(&format!("cluster {}{size}\n", cluster.system_identifier));
        let mut table = Table::new([
            ("TIMELINE", Align::Right),
            ("FIRST", Align::Left),
            ("LAST", Align::Left),
            ("SEGMENTS", Align::Right),
            ("STORED", Align::Right),
            ("NEWEST", Align::Left),
        ]);
        for timeline in &cluster.timelines {
            add_rows(&mut table, timeline);
        }
        text.push_str(&table.render());
        for timeline in &cluster.timelines {
            if let Some(end) = timeline.tail_end {
                text.push_str(&format!("timeline {} is stored in pieces up to {end}\n", timeline.timeline));
            }
        }
    }
    text
}

fn add_rows(table: &mut Table, timeline: &WalTimelineReport) {
    let number = || timeline.timeline.to_string();
    let stored = || bytes(timeline.stored_bytes);
    if timeline.ranges.is_empty() {
        table.row([number(), String::new(), String::new(), "0".to_owned(), stored(), String::new()]);
    }
    let last = timeline.ranges.len().saturating_sub(1);
    for (at, range) in timeline.ranges.iter().enumerate() {
        // What is said of the whole timeline stands beside its last range.
        let newest = timeline.newest_archived.filter(|_| at == last).map(moment).unwrap_or_default();
        let stored = if at == last { stored() } else { String::new() };
        let (first, end) = (range.first.to_string(), range.last.to_string());
        table.row([number(), first, end, range.segments.to_string(), stored, newest]);
    }
}
