//! The picture of time: which moments can be had, and the restore points that they come from.

use chrono::{DateTime, TimeDelta, Utc};
use maud::{Markup, html};

use super::super::Facts;
use super::super::facts::BackupFacts;
use crate::ops::RecoveryWindow;
use crate::presentation::units::{length, moment};

const ROW: usize = 46;
const HEAD: usize = 6;
/// What lies farther back is left out of the picture.
const FARTHEST: TimeDelta = TimeDelta::days(35);
/// The picture is of no less than this.
const LEAST: TimeDelta = TimeDelta::hours(1);
/// Distances of the marks of the axis, in seconds.
const MARKS: [i64; 13] =
    [300, 900, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 172_800, 345_600, 604_800, 1_209_600, 2_592_000];
const MOST_MARKS: i64 = 5;

struct Axis {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

impl Axis {
    fn of(facts: &Facts) -> Self {
        let to = facts.at;
        let begins = facts.windows.iter().flat_map(|window| window.spans.iter().map(|span| span.from));
        let oldest = begins.chain(facts.backups.iter().map(|backup| backup.created)).min().unwrap_or(to);
        let all = (to - oldest).clamp(LEAST, FARTHEST);
        // Some room to the left, so that the first restore point is seen whole.
        Self { from: to - all - all / 50, to }
    }

    fn at(&self, moment: DateTime<Utc>) -> f64 {
        let share = (moment - self.from).as_seconds_f64() / (self.to - self.from).as_seconds_f64();
        (share * 100.0).clamp(0.0, 100.0)
    }

    fn marks(&self) -> Vec<(f64, String)> {
        let all = (self.to - self.from).num_seconds();
        let distance =
            MARKS.into_iter().find(|distance| all / distance <= MOST_MARKS).unwrap_or(MARKS[MARKS.len() - 1]);
        let form = if distance >= 86_400 { "%-d %b" } else { "%H:%M" };
        let first = self.from.timestamp().div_euclid(distance) + 1;
        let moments = (first..).map(|number| number * distance).take_while(|second| *second < self.to.timestamp());
        let moments = moments.filter_map(|second| DateTime::from_timestamp(second, 0));
        moments
            .map(|at| (self.at(at), at.format(form).to_string()))
            .filter(|(share, _)| (4.0..88.0).contains(share))
            .collect()
    }
}

pub(super) fn section(facts: &Facts) -> Markup {
    let logical: Vec<&BackupFacts> = facts.backups.iter().filter(|backup| backup.kind != "physical").collect();
    let rows = facts.windows.len() + usize::from(!logical.is_empty());
    html! {
        @if rows > 0 {
            section {
                h2 { "Which moments can be had" }
                (draw(facts, &logical, rows))
                p class="legend" {
                    span { i class="key covered" {} "every moment" }
                    span { i class="key gap" {} "no moment" }
                    span { i class="key point proven" {} "proven backup" }
                    span { i class="key point" {} "not proven" }
                    span { i class="key point failed" {} "failed" }
                }
                ul class="told" { @for line in in_words(facts) { li { (line) } } }
            }
        }
    }
}

fn draw(facts: &Facts, logical: &[&BackupFacts], rows: usize) -> Markup {
    let axis = Axis::of(facts);
    let bottom = HEAD + ROW * rows;
    let percent = |share: f64| format!("{share:.2}%");
    html! {
        svg class="time" width="100%" height=(bottom + 22) role="img" aria-labelledby="time-title time-text" {
            title id="time-title" { "Moments that can be had, over time" }
            desc id="time-text" { (in_words(facts).join(" ")) }
            @for (share, name) in axis.marks() {
                line class="mark" x1=(percent(share)) x2=(percent(share)) y1=(HEAD) y2=(bottom) {}
                text class="note" x=(percent(share)) y=(bottom + 16) text-anchor="middle" { (name) }
            }
            text class="note" x="100%" y=(bottom + 16) text-anchor="end" { "now" }
            @for (index, window) in facts.windows.iter().enumerate() {
                @let top = HEAD + ROW * index;
                text class="name" x="0" y=(top + 13) { "Cluster " (window.system_identifier) }
                (covered(&axis, window, top + 20))
                @for backup in of_window(facts, window) { (point(&axis, backup, top + 28)) }
            }
            @if !logical.is_empty() {
                @let top = HEAD + ROW * facts.windows.len();
                text class="name" x="0" y=(top + 13) { "Databases" }
                line class="track" x1="0" x2="100%" y1=(top + 28) y2=(top + 28) {}
                @for backup in logical { (point(&axis, backup, top + 28)) }
            }
        }
    }
}

/// Draws the spans over a bar of what is not covered, from the first moment on that ever was.
fn covered(axis: &Axis, window: &RecoveryWindow, top: usize) -> Markup {
    let percent = |share: f64| format!("{share:.2}%");
    let shown: Vec<_> = window.spans.iter().filter(|span| span.until >= axis.from).collect();
    let first = shown.first().map_or(100.0, |span| axis.at(span.from));
    html! {
        @if window.archived {
            rect class="gap" x=(percent(first)) y=(top) width=(percent(100.0 - first)) height="16" rx="2" {}
        }
        @for span in shown {
            @let left = axis.at(span.from);
            @let wide = (axis.at(span.until) - left).max(0.4);
            rect class="covered" x=(percent(left.min(100.0 - wide))) y=(top) width=(percent(wide)) height="16" rx="2" {
                title { "every moment from " (moment(span.from)) " to " (moment(span.until)) }
            }
        }
    }
}

fn of_window<'f>(facts: &'f Facts, window: &'f RecoveryWindow) -> impl Iterator<Item = &'f BackupFacts> {
    facts.backups.iter().filter(|backup| window.spans.iter().any(|span| span.backups.contains(&backup.id)))
}

fn point(axis: &Axis, backup: &BackupFacts, middle: usize) -> Markup {
    let class = match (backup.failed, backup.proven) {
        (true, _) => "point failed",
        (false, Some(_)) => "point proven",
        (false, None) => "point",
    };
    html! {
        @if backup.created >= axis.from {
            circle class=(class) cx=(format!("{:.2}%", axis.at(backup.created).clamp(0.6, 99.4))) cy=(middle) r="5" {
                title { (backup.id) ", begun " (moment(backup.created)) }
            }
        }
    }
}

fn in_words(facts: &Facts) -> Vec<String> {
    let mut lines = Vec::new();
    for window in &facts.windows {
        let (Some(first), Some(last)) = (window.spans.first(), window.spans.last()) else { continue };
        if !window.archived {
            let (cluster, newest) = (window.system_identifier, moment(last.from));
            lines.push(format!(
                "Cluster {cluster}: the moments of its backups, the newest {newest}; its log is not archived."
            ));
            continue;
        }
        let behind = length((facts.at - last.until).as_seconds_f64().max(0.0));
        let gaps: Vec<String> =
            window.gaps().map(|(from, until)| format!("{} to {}", moment(from), moment(until))).collect();
        let cut_off = if window.cut_off { "; nothing later, because the archive goes on behind a gap" } else { "" };
        let but = if gaps.is_empty() { String::new() } else { format!(", but for {}", gaps.join(", ")) };
        lines.push(format!(
            "Cluster {}: every moment from {} to {}{but}; the latest is {behind} ago{cut_off}.",
            window.system_identifier,
            moment(first.from),
            moment(last.until)
        ));
    }
    if let Some(newest) = facts.backups.iter().rev().find(|backup| backup.kind != "physical") {
        lines.push(format!("Databases: the moments of their backups, the newest {}.", moment(newest.created)));
    }
    lines
}
