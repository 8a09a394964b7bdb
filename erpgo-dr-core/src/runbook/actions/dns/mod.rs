//! `dns`: records that point elsewhere, and the wait until those who ask are told so.

mod exchange;
mod records;
mod route53;
mod update;

use std::fmt::Display;
use std::time::Duration;

use async_trait::async_trait;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use tokio::time::{Instant, sleep_until};

use super::super::error::ActionError;
use super::super::span::Span;
use super::{Act, Done, Nature, Scope, Uses, View};
use exchange::NameServer;
use records::RecordSet;

pub use route53::Route53;
pub use update::{DnsUpdate, KeyAlgorithm};

/// What is waited beyond the time for which an old answer may be kept.
const MARGIN: Duration = Duration::from_secs(30);
/// What is left of a step's time for saying why it was not enough.
const LAST_WORD: Duration = Duration::from_millis(500);
/// How long it is waited between two questions to a name server, at least and at most.
const PAUSE: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];

/// Replaces all records of one name and type, and waits until they are shown. With the key `hosted-zone` in Amazon Route 53, and elsewhere
/// by an update of a name server.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Dns {
    /// By a signed dynamic update.
    Update(DnsUpdate),
    /// In Amazon Route 53.
    Route53(Route53),
}

/// The type of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[non_exhaustive]
pub enum RecordKind {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// Another name.
    Cname,
    /// A text.
    Txt,
}

impl<'de> Deserialize<'de> for Dns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = toml::Table::deserialize(deserializer)?;
        let read = match table.contains_key("hosted-zone") {
            true => table.try_into().map(Self::Route53),
            false => table.try_into().map(Self::Update),
        };
        read.map_err(|error: toml::de::Error| D::Error::custom(error.message()))
    }
}

impl RecordKind {
    /// Returns the name of the type.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Cname => "CNAME",
            Self::Txt => "TXT",
        }
    }
}

#[async_trait]
impl Act for Dns {
    fn nature(&self) -> Nature {
        Nature::change(900).repeatable()
    }

    fn describe(&self, view: &View<'_>) -> String {
        match self {
            Self::Update(update) => update.describe(view),
            Self::Route53(route53) => route53.describe(view),
        }
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        match self {
            Self::Update(update) => update.uses(uses),
            Self::Route53(route53) => route53.uses(uses),
        }
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        match self {
            Self::Update(update) => update.act(scope).await,
            Self::Route53(route53) => route53.act(scope).await,
        }
    }
}

/// Asks until a name server shows what is wanted.
async fn wait(
    shown_by: &NameServer,
    wanted: &RecordSet,
    before: &(dyn Display + Sync),
    deadline: Instant,
) -> Result<(), ActionError> {
    let from = Instant::now();
    loop {
        let (found, again) = match shown_by.ask(wanted).await {
            Ok(found) if found.set == wanted.records => return Ok(()),
            // A resolver tells how long it will go on saying so.
            Ok(found) => (found.set.to_string(), Duration::from_secs(u64::from(found.kept))),
            Err(error @ ActionError::Unusable(_)) => return Err(error),
            Err(error) => (error.to_string(), PAUSE[0]),
        };
        let next = Instant::now() + again.clamp(PAUSE[0], PAUSE[1]);
        tracing::debug!(server = %shown_by, %found, "waiting for records");
        if next >= deadline {
            let (name, records) = (&wanted.name, &wanted.records);
            let within = Span::from(Duration::from_secs((deadline - from).as_secs().max(1)));
            return Err(ActionError::Unexpected {
                expected: format!("{shown_by} to show {name} as {records} within {within}"),
                found: format!("{found} (it was {before} before the update)"),
            });
        }
        sleep_until(next).await;
    }
}

fn unusable(what: String) -> ActionError {
    ActionError::Unusable(what)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Length {
    Seconds(u32),
    Span(Span),
}

fn seconds_or_span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    Ok(match Length::deserialize(deserializer)? {
        Length::Seconds(seconds) => Span::from_secs(u64::from(seconds)),
        Length::Span(span) => span,
    })
}
