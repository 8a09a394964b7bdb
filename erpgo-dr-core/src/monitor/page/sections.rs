//! The lists of the page.

use std::borrow::Cow;

use maud::{Markup, html};

use super::super::Facts;
use super::super::facts::{BackupFacts, IncidentFacts};
use crate::agent::JobState;
use crate::ops::drill::{DrillDue, DrillState};
use crate::presentation::escape::clean;
use crate::presentation::html::judged;
use crate::presentation::units::{bytes, length, moment};
use crate::repository::{DrillRecord, RunResult};

/// How many of the newest backups, drills and incidents are shown.
const NEWEST: usize = 30;

/// A table that is scrolled by itself where it is wider than the screen.
pub(super) fn table(name: &str, columns: &[&str], rows: &Markup) -> Markup {
    html! {
        div class="scrolls" role="region" aria-label=(name) tabindex="0" {
            table {
                caption { (name) }
                thead { tr { @for column in columns { th scope="col" { (column) } } } }
                tbody { (rows) }
            }
        }
    }
}

pub(super) fn none() -> String {
    "-".to_owned()
}

/// Something that needs attention. Texts are as they came from elsewhere.
pub(super) struct Remark<'f> {
    /// What it is about, where that is not said by the text.
    pub(super) about: Option<&'f str>,
    /// What is wrong.
    pub(super) text: Cow<'f, str>,
}

/// Collects what needs attention, but for the agent's alarms and the objectives, which are shown by themselves.
pub(super) fn remarks(facts: &Facts) -> Vec<Remark<'_>> {
    let about = |about, text| Remark { about: Some(about), text };
    let too_old = facts.is_too_old().then_some("The newest proven backup is older than it may be.");
    let too_old = too_old.map(|text| Remark { about: None, text: text.into() });
    let problems = facts.problems.iter().map(|problem| about(&*problem.subject, Cow::from(&problem.problem)));
    let findings = facts.wal.iter().flat_map(|wal| &wal.findings).map(|text| about("Write-ahead log", text.into()));
    let overdue = facts.drills_overdue().map(|drill| about("Drill overdue", drill.scenario.to_string().into()));
    too_old.into_iter().chain(problems).chain(findings).chain(overdue).collect()
}

pub(super) fn problems(facts: &Facts) -> Markup {
    let remarks = remarks(facts);
    html! {
        section {
            h2 { "What needs attention" }
            @if remarks.is_empty() { p { "Nothing." } } @else {
                ul class="problems" {
                    @for remark in &remarks {
                        li { @if let Some(about) = remark.about { strong { (clean(about)) } ": " } (clean(&remark.text)) }
                    }
                }
            }
        }
    }
}

pub(super) fn agent(facts: &Facts) -> Markup {
    html! {
        @if let Some(agent) = &facts.agent {
            section {
                h2 { "Jobs" }
                p class="kind" { "The agent of " (clean(&agent.host)) ": " (clean(&agent.summary())) "." }
                @if !agent.alarms.is_empty() {
                    ul class="problems" {
                        @for alarm in &agent.alarms {
                            li { strong { "Alarm of " (alarm.subject) } ", since " (moment(alarm.raised_at)) ": " (clean(&alarm.reason)) }
                        }
                    }
                }
                @let rows = html! { @for job in &agent.jobs { (job_row(job)) } };
                (table("What is done by schedule", &["Job", "Last ended", "Last went well", "Took", "Next"], &rows))
            }
        }
    }
}

fn job_row(job: &JobState) -> Markup {
    let good = job.last_result.map(|_| job.consecutive_failures == 0);
    html! {
        tr {
            th scope="row" { (job.name) }
            td class=(judged(good)) {
                (job.last_result.map_or("-", RunResult::as_str))
                @if job.consecutive_failures > 1 { " " (job.consecutive_failures) " times" }
            }
            td { (job.last_success.map_or_else(none, moment)) }
            td { (job.last_duration_seconds.map_or_else(none, length)) }
            td { @if job.running_since.is_some() { "running" } @else { (job.next_due.map_or_else(none, moment)) } }
        }
    }
}

pub(super) fn incidents(facts: &Facts) -> Markup {
    let columns = ["Incident", "Runbook", "Stands", "Recovery time", "Data loss", "Run"];
    let rows = html! { @for incident in facts.incidents.iter().take(NEWEST) { (incident_row(incident)) } };
    html! {
        @if !facts.incidents.is_empty() { section { h2 { "Incidents and rehearsals" } (table("Runs of runbooks", &columns, &rows)) } }
    }
}

fn incident_row(incident: &IncidentFacts) -> Markup {
    let cell = |value: Option<f64>, met: Option<bool>| {
        html! { td class=(judged(met)) { (value.map_or_else(none, length)) } }
    };
    html! {
        tr {
            th scope="row" { (moment(incident.incident)) }
            td { (clean(&incident.title)) @if incident.drill { " " span class="chip drill" { "drill" } } }
            td { (incident.state.as_str()) }
            (cell(incident.rto_seconds, incident.rto_met))
            (cell(incident.rpo_seconds, incident.rpo_met))
            td { code { (incident.run) } }
        }
    }
}

pub(super) fn drills(facts: &Facts) -> Markup {
    let due = html! { @for drill in &facts.drills_due { (due_row(drill)) } };
    let done = html! { @for drill in facts.drills.iter().rev().take(NEWEST) { (drill_row(drill)) } };
    html! {
        section {
            h2 { "Drills" }
            (table("When each is due", &["Drill", "Stands", "Until", "Last passed"], &due))
            @if !facts.drills.is_empty() {
                (table("What they showed", &["Ended", "Drill", "Came back", "Recovery time", "Data loss"], &done))
            }
        }
    }
}

fn due_row(drill: &DrillDue) -> Markup {
    let (word, good) = match drill.state {
        DrillState::Done => ("done", Some(true)),
        DrillState::Due => ("due", None),
        DrillState::Overdue => ("overdue", Some(false)),
    };
    html! {
        tr {
            th scope="row" { (drill.scenario) }
            td class=(judged(good)) { (word) }
            td { (drill.until.format("%Y-%m-%d")) }
            td { (drill.last_at.map_or_else(none, moment)) }
        }
    }
}

fn drill_row(drill: &DrillRecord) -> Markup {
    let passed = drill.passed();
    let cell = |value: Option<f64>, objective: Option<f64>, met: Option<bool>| {
        html! {
            td class=(judged(met)) {
                (value.map_or_else(none, length))
                @if let Some(objective) = objective { " of " (length(objective)) }
            }
        }
    };
    html! {
        tr {
            th scope="row" { (moment(drill.ended)) }
            td { (clean(&drill.scenario)) }
            td class=(judged(Some(passed))) { @if passed { "all" } @else { (drill.findings.len()) " findings" } }
            (cell(drill.rto_seconds, drill.rto_objective_seconds, drill.rto_met()))
            (cell(drill.rpo_seconds, drill.rpo_objective_seconds, drill.rpo_met()))
        }
    }
}

pub(super) fn backups(facts: &Facts) -> Markup {
    let rows = html! { @for backup in facts.backups.iter().rev().take(NEWEST) { (backup_row(backup)) } };
    let shown = facts.backups.len().min(NEWEST);
    html! {
        section {
            h2 { "Restore points" }
            @if facts.backups.is_empty() { p { "None yet: " code { "erpgo-dr backup" } " takes one." } } @else {
                (table("Backups, the newest first", &["Begun", "Kind", "Proven", "Took", "Data", "Stored", "Backup"], &rows))
                @if shown < facts.backups.len() { p class="kind" { "The newest " (shown) " of " (facts.backups.len()) "." } }
            }
        }
    }
}

fn backup_row(backup: &BackupFacts) -> Markup {
    let (word, good) = match (backup.failed, backup.proven) {
        (true, _) => ("FAILED".to_owned(), Some(false)),
        (false, Some(level)) => (level.to_string(), Some(true)),
        (false, None) => ("no".to_owned(), None),
    };
    html! {
        tr {
            th scope="row" { (moment(backup.created)) }
            td { (clean(&backup.kind)) @if backup.held { " " span class="chip" { "held" } } }
            td class=(judged(good)) { (word) }
            td { (length(backup.seconds)) }
            td { (bytes(backup.plaintext_bytes)) }
            td { (bytes(backup.stored_bytes)) }
            td { code { (backup.id) } }
        }
    }
}

pub(super) fn places(facts: &Facts) -> Markup {
    let active = facts.epochs.iter().rev().find(|epoch| epoch.active);
    html! {
        section {
            h2 { "Places and keys" }
            dl {
                @if let Some(wal) = &facts.wal {
                    dt { "Archived log" }
                    dd { (wal.segments) " segments, " (bytes(wal.stored_bytes)) @if let Some(at) = wal.newest_archived { ", the newest " (moment(at)) } }
                    @if let Some(lag) = wal.lag_bytes { dt { "Not archived yet" } dd { (bytes(lag)) } }
                }
                @for standby in &facts.standbys {
                    dt { "Standby " (clean(&standby.name)) }
                    dd {
                        (clean(standby.state.as_deref().unwrap_or("not shown")))
                        @if let Some(mode) = &standby.sync_state { ", " (clean(mode)) }
                        @if let Some(lag) = standby.lag_bytes { ", " (bytes(lag)) " behind" }
                    }
                }
                @if let Some(epoch) = active {
                    dt { "Key epoch" } dd { "since " (moment(epoch.begun)) ", " (epoch.slots) @if epoch.slots == 1 { " way" } @else { " ways" } " to open it" }
                }
                @for disk in &facts.disks {
                    dt { "Free at " code { (clean(&disk.path.display().to_string())) } }
                    dd { (bytes(disk.free_bytes)) " of " (bytes(disk.total_bytes)) }
                }
            }
        }
    }
}
