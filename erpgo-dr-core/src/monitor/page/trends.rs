//! How sizes, durations and recovery times went over the newest backups and drills.

use maud::{Markup, html};

use super::super::Facts;
use crate::presentation::units::{bytes, length};

/// How many of the newest are drawn.
const NEWEST: usize = 40;
const HEIGHT: f64 = 72.0;

/// Values in order of time, and what they may be at most.
struct Series {
    title: String,
    values: Vec<f64>,
    limit: Option<f64>,
    told: fn(f64) -> String,
}

pub(super) fn section(facts: &Facts) -> Markup {
    let drawn: Vec<Series> = series(facts).into_iter().filter(|series| series.values.len() > 1).collect();
    html! {
        @if !drawn.is_empty() {
            section { h2 { "Over time" } div class="trends" { @for (index, series) in drawn.iter().enumerate() { (draw(index, series)) } } }
        }
    }
}

fn series(facts: &Facts) -> Vec<Series> {
    let mut all = Vec::new();
    for kind in facts.newest_of_each_kind().into_keys() {
        let newest = || facts.backups.iter().filter(move |backup| backup.kind == kind).rev().take(NEWEST);
        let title = |what: &str| format!("{what} of {kind} backups");
        let sizes = newest().map(|backup| backup.stored_bytes as f64).collect();
        all.push(Series { title: title("Size"), values: sizes, limit: None, told: |value| bytes(value as u64) });
        let durations = newest().map(|backup| backup.seconds).collect();
        all.push(Series { title: title("Duration"), values: durations, limit: None, told: length });
    }
    let times = facts.drills.iter().rev().filter_map(|drill| drill.rto_seconds).take(NEWEST).collect();
    let limit = facts.objectives.rto_objective_seconds;
    all.push(Series { title: "Recovery time in drills".to_owned(), values: times, limit, told: length });
    let losses = facts.drills.iter().rev().filter_map(|drill| drill.rpo_seconds).take(NEWEST).collect();
    let limit = facts.objectives.rpo_objective_seconds;
    all.push(Series { title: "Data loss in drills".to_owned(), values: losses, limit, told: length });
    for series in &mut all {
        series.values.reverse();
    }
    all
}

fn draw(index: usize, series: &Series) -> Markup {
    let Series { title, values, limit, told } = series;
    let last = values.last().copied().unwrap_or_default();
    let most = values.iter().copied().fold(limit.unwrap_or(0.0), f64::max).max(f64::MIN_POSITIVE);
    let wide = 100.0 / values.len() as f64;
    let high = |value: f64| value / most * HEIGHT;
    let (id, text) = (format!("trend-{index}"), in_words(series));
    html! {
        div class="trend" {
            h3 { (title) }
            p class="kind" { "newest " (told(last)) ", most " (told(values.iter().copied().fold(0.0, f64::max))) }
            svg width="100%" height=(HEIGHT + 2.0) role="img" aria-labelledby=(id) {
                title id=(id) { (text) }
                @for (at, value) in values.iter().enumerate() {
                    rect class=(if limit.is_some_and(|limit| *value > limit) { "bar over" } else { "bar" })
                        x=(format!("{:.2}%", at as f64 * wide + wide * 0.1)) width=(format!("{:.2}%", wide * 0.8))
                        y=(format!("{:.1}", HEIGHT + 1.0 - high(*value).max(1.0))) height=(format!("{:.1}", high(*value).max(1.0))) {
                        title { (told(*value)) }
                    }
                }
                @if let Some(limit) = limit {
                    line class="objective" x1="0" x2="100%" y1=(format!("{:.1}", HEIGHT + 1.0 - high(*limit))) y2=(format!("{:.1}", HEIGHT + 1.0 - high(*limit))) {}
                }
            }
        }
    }
}

fn in_words(series: &Series) -> String {
    let told: Vec<String> = series.values.iter().map(|value| (series.told)(*value)).collect();
    let limit = series.limit.map(|limit| format!(", objective {}", (series.told)(limit))).unwrap_or_default();
    format!("{}, from the oldest to the newest: {}{limit}", series.title, told.join(", "))
}
