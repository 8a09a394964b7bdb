//! The page of a fleet: how many of its clusters are well, and a row for each, those with problems first.

use maud::{Markup, html};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::fleet::Doubt;
use super::super::{ClusterFacts, Facts, FleetFacts};
use super::STYLE;
use super::sections::{none, remarks, table};
use crate::presentation::escape::clean;
use crate::presentation::html::{judged, page};
use crate::presentation::units::{length, moment};

/// What a step of a path has as it is: RFC 3986, section 2.3, "Unreserved Characters".
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Where the fleet's page is, seen from that of a cluster.
pub(super) const ROOT: &str = "../../";

const COLUMNS: [&str; 6] = ["Cluster", "Stands", "What is wrong", "Newest proven backup", "Lost now", "Recovery takes"];

/// How a cluster stands, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    NotKnown,
    AttentionNeeded,
    Recoverable,
}

/// What the row of a cluster shows.
struct Row<'f> {
    name: &'f str,
    facts: Option<&'f Facts>,
    standing: Standing,
    wrong: Vec<String>,
}

impl FleetFacts {
    /// Writes the facts of all clusters as one self-contained page of HTML: no script, nothing fetched. Texts from elsewhere are escaped.
    /// It links to `clusters/NAME/`, where [`serve_fleet`](crate::monitor::serve_fleet) has the page of each.
    pub fn to_html(&self) -> String {
        self.to_doubted_html(&|_| None)
    }

    /// As [`to_html`](Self::to_html), and says which facts are not to be relied on.
    pub(in crate::monitor) fn to_doubted_html(&self, doubt: Doubt<'_>) -> String {
        let (well, all) = (self.well(doubt), self.clusters.len());
        let (class, standing) = match (well, all) {
            (_, 0) => ("bad", "No cluster is watched."),
            (well, all) if well == all => ("good", "Every cluster could be restored right now."),
            _ => ("bad", "Attention needed: recovery is not certain everywhere."),
        };
        let mut rows: Vec<Row<'_>> =
            self.clusters.iter().map(|(name, cluster)| Row::of(name, cluster, doubt)).collect();
        rows.sort_by_key(|row| (row.standing, row.wrong.is_empty(), row.name));
        let rows = html! { @for row in &rows { (row.to_html()) } };
        let main = html! {
            header {
                p class="kind" { "Disaster recovery" }
                h1 { (well) " of " (all) " clusters " @if well == 1 { "is" } @else { "are" } " well" }
                p class=(format!("standing {class}")) { (standing) }
            }
            @if all > 0 { section { h2 { "Clusters" } (table("Clusters, those with problems first", &COLUMNS, &rows)) } }
            footer { "The same as " a href="facts.json" { "JSON" } " and as " a href="metrics" { "metrics" } "." }
        };
        page(&format!("{well} of {all} well - erpgo-dr"), STYLE, &main).into_string()
    }
}

impl ClusterFacts {
    /// Writes the page of a cluster of a fleet, also where nothing is known of it.
    pub(in crate::monitor) fn to_doubted_html(&self, name: &str, doubt: Doubt<'_>) -> String {
        if let Some(facts) = &self.facts {
            return facts.to_page(self.doubted(doubt), Some(name));
        }
        let main = html! {
            header {
                (way_back(name))
                h1 { (clean(name)) }
                p class="standing bad" { "It is not known whether one could restore now." }
                p { (clean(self.error.as_deref().unwrap_or(NOT_ASKED))) }
            }
        };
        page(&format!("Not known - {name} - erpgo-dr"), STYLE, &main).into_string()
    }
}

const NOT_ASKED: &str = "Nothing has been asked yet.";

/// Says of which cluster a page is, and links to the page of all.
pub(super) fn way_back(name: &str) -> Markup {
    html! { nav class="kind" aria-label="Fleet" { a href=(ROOT) { "All clusters" } " / " (clean(name)) } }
}

impl<'f> Row<'f> {
    fn of(name: &'f str, cluster: &'f ClusterFacts, doubt: Doubt<'_>) -> Self {
        let standing = match (cluster.doubted(doubt), &cluster.facts) {
            (Some(_), _) | (None, None) => Standing::NotKnown,
            (None, Some(_)) if cluster.is_healthy() => Standing::Recoverable,
            (None, Some(_)) => Standing::AttentionNeeded,
        };
        Self { name, facts: cluster.facts.as_deref(), standing, wrong: wrong(cluster, doubt) }
    }

    fn to_html(&self) -> Markup {
        html! {
            tr {
                th scope="row" {
                    @match link(self.name) {
                        Some(link) => a href=(link) { (clean(self.name)) },
                        None => (clean(self.name)),
                    }
                }
                td class=(judged(Some(self.standing == Standing::Recoverable))) { (self.standing.as_str()) }
                td class="wrong" {
                    @match self.wrong.split_first() {
                        None => "nothing",
                        Some((first, more)) => { (clean(first)) @if !more.is_empty() { " (and " (more.len()) " more)" } },
                    }
                }
                @match self.facts {
                    Some(facts) => (figures(facts)),
                    None => { td { (none()) } td { (none()) } td { (none()) } },
                }
            }
        }
    }
}

impl Standing {
    fn as_str(self) -> &'static str {
        match self {
            Self::NotKnown => "not known",
            Self::AttentionNeeded => "attention needed",
            Self::Recoverable => "recoverable",
        }
    }
}

/// Collects what is wrong, the gravest first: what keeps us from knowing, what the agent raised, what was found, what is missed.
fn wrong(cluster: &ClusterFacts, doubt: Doubt<'_>) -> Vec<String> {
    let mut wrong: Vec<String> = cluster.error.iter().cloned().collect();
    let Some(facts) = cluster.facts.as_deref() else {
        if wrong.is_empty() {
            wrong.push(NOT_ASKED.to_owned());
        }
        return wrong;
    };
    let since = moment(facts.at);
    wrong.extend(doubt(facts).map(|why| format!("Nothing is known since {since}: {why}")));
    let alarms = facts.agent.iter().flat_map(|agent| &agent.alarms);
    wrong.extend(alarms.map(|alarm| format!("Alarm of {}: {}", alarm.subject, alarm.reason)));
    wrong.extend(remarks(facts).into_iter().map(|remark| match remark.about {
        Some(about) => format!("{about}: {}", remark.text),
        None => remark.text.into_owned(),
    }));
    let objectives = &facts.objectives;
    wrong.extend((objectives.rpo_met == Some(false)).then(|| "More would be lost than may be.".to_owned()));
    wrong.extend((objectives.rto_met == Some(false)).then(|| "Recovery would take longer than it may.".to_owned()));
    if wrong.is_empty() && !facts.healthy {
        wrong.push("Recovery is not certain.".to_owned());
    }
    wrong
}

fn figures(facts: &Facts) -> Markup {
    let objectives = &facts.objectives;
    let proven = facts.status.latest_proven.as_ref();
    let is_new = if proven.is_none() { Some(false) } else { facts.max_age_seconds.map(|_| !facts.is_too_old()) };
    let cell = |value: Option<f64>, objective: Option<f64>, met: Option<bool>| {
        html! {
            td class=(judged(met)) {
                (value.map_or_else(|| "not known".to_owned(), length))
                @if let (Some(objective), Some(false)) = (objective, met) { ", may be " (length(objective)) }
            }
        }
    };
    html! {
        td class=(judged(is_new)) {
            @match proven {
                None => "none",
                Some(backup) => {
                    (moment(backup.created))
                    @if let Some(age) = facts.status.rpo_seconds { ", " (length(age)) " old" }
                },
            }
        }
        (cell(objectives.rpo_seconds, objectives.rpo_objective_seconds, objectives.rpo_met))
        (cell(objectives.rto_seconds, objectives.rto_objective_seconds, objectives.rto_met))
    }
}

/// Returns where the page of a cluster is; `None` for a name that a browser takes for a step up, encoded or not.
fn link(name: &str) -> Option<String> {
    if matches!(name, "" | "." | "..") {
        return None;
    }
    Some(format!("clusters/{}/", utf8_percent_encode(name, SEGMENT)))
}
