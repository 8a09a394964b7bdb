//! The page for people: could we restore right now, to which moments, how long would it take, and how much would be lost.

mod fleet;
mod sections;
mod timeline;
mod trends;

use maud::html;

use super::Facts;
use crate::presentation::escape::clean;
use crate::presentation::html::{Figure, page};
use crate::presentation::units::{bytes, length, moment};

const STYLE: &str = include_str!("style.css");

impl Facts {
    /// Writes the facts as one self-contained page of HTML: no script, nothing fetched. Texts from elsewhere are escaped.
    pub fn to_html(&self) -> String {
        self.to_doubted_html(None)
    }

    /// As [`to_html`](Self::to_html), with the reason why the facts are not to be relied on, if there is one.
    pub(super) fn to_doubted_html(&self, doubt: Option<&str>) -> String {
        self.to_page(doubt, None)
    }

    /// Writes the page, of a cluster of a fleet with the way to the others.
    fn to_page(&self, doubt: Option<&str>, cluster: Option<&str>) -> String {
        let (title, class, standing) = match (doubt, self.healthy) {
            (Some(_), _) => ("Not known", "bad", "It is not known whether one could restore now."),
            (None, true) => ("Recoverable", "good", "One could restore right now."),
            (None, false) => ("Attention needed", "bad", "Attention needed: recovery is not certain."),
        };
        let (title, root) = match cluster {
            Some(name) => (format!("{title} - {name}"), fleet::ROOT),
            None => (title.to_owned(), ""),
        };
        let main = html! {
            header {
                @match cluster {
                    Some(name) => (fleet::way_back(name)),
                    None => p class="kind" { "Disaster recovery" },
                }
                h1 { (clean(&self.status.location)) }
                p class=(format!("standing {class}")) { (standing) }
                @if let Some(doubt) = doubt { p { "What follows is of " (moment(self.at)) ": " (clean(doubt)) "." } }
                p class="kind" { "Repository " code { (self.status.repository) } }
            }
            section class="figures" aria-label="Figures" { @for figure in figures(self) { (figure.to_html()) } }
            (sections::problems(self))
            (timeline::section(self))
            (sections::agent(self))
            (sections::incidents(self))
            (sections::drills(self))
            (trends::section(self))
            (sections::backups(self))
            (sections::places(self))
            footer { "Asked on " (moment(self.at)) ", which took " (length(self.seconds)) ". The same as " a href=(format!("{root}facts.json")) { "JSON" } " and as " a href=(format!("{root}metrics")) { "metrics" } "." }
        };
        page(&format!("{title} - erpgo-dr"), STYLE, &main).into_string()
    }
}

fn figures(facts: &Facts) -> Vec<Figure> {
    let objectives = &facts.objectives;
    let judged = |objective: Option<f64>, met: Option<bool>, otherwise: &str| match (objective, met) {
        (Some(objective), Some(true)) => format!("objective {}: met", length(objective)),
        (Some(objective), Some(false)) => format!("objective {}: missed", length(objective)),
        (Some(objective), None) => format!("objective {}: not known", length(objective)),
        (None, _) => otherwise.to_owned(),
    };
    let unknown = || "not known".to_owned();
    let proven = facts.status.latest_proven.as_ref();
    let age = facts.status.rpo_seconds;
    let how = match &facts.forecast {
        Some(forecast) => format!("predicted from {} restores", forecast.restores),
        None if objectives.rto_seconds.is_some() => "of the newest restore test".to_owned(),
        None => "verify --restore measures it".to_owned(),
    };
    vec![
        Figure {
            name: "Newest proven backup",
            value: age.map_or_else(|| "none".to_owned(), |age| format!("{} old", length(age))),
            beside: match (proven, facts.max_age_seconds) {
                (None, _) => "verify proves one".to_owned(),
                (Some(_), Some(limit)) => format!("may be {} old", length(limit)),
                (Some(proven), None) => proven.proven.map(|level| format!("proven by {level}")).unwrap_or_default(),
            },
            met: if proven.is_none() { Some(false) } else { facts.max_age_seconds.map(|_| !facts.is_too_old()) },
        },
        Figure {
            name: "Loss, if the server were gone now",
            value: objectives.rpo_seconds.map_or_else(unknown, length),
            beside: judged(objectives.rpo_objective_seconds, objectives.rpo_met, "no objective"),
            met: objectives.rpo_met,
        },
        Figure {
            name: "Time to recover",
            value: objectives.rto_seconds.map_or_else(unknown, length),
            beside: judged(objectives.rto_objective_seconds, objectives.rto_met, &how),
            met: objectives.rto_met,
        },
        Figure {
            name: "Backups",
            value: facts.status.backups.to_string(),
            beside: format!("{} stored", bytes(facts.status.stored_bytes)),
            met: None,
        },
    ]
}
