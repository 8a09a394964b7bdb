//! What variables are: their types, their values, and how a secret is kept out of everything that is written down.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::span::Span;
use crate::postgres::ConnectionSettings;

/// Texts shorter than this are not looked for: half of what is written would be blacked out.
const SHORTEST_SECRET: usize = 4;

/// The type of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum VariableKind {
    /// Any text.
    Text,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A length of time: `30s`, `5m`, `4h`.
    Duration,
    /// An absolute path.
    Path,
    /// An `http` or `https` address.
    Url,
    /// A moment of UTC: `2026-11-27T03:00:00Z`.
    Moment,
    /// Texts, separated by commas, or a JSON array of texts.
    List,
    /// A PostgreSQL server: a connection string as libpq has it.
    Server,
    /// A text that is never written down.
    Secret,
}

/// The value of a variable. `Debug` shows no secret.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Value {
    /// Any text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Yes or no.
    Boolean(bool),
    /// A length of time.
    Duration(Span),
    /// An absolute path.
    Path(PathBuf),
    /// An address.
    Url(String),
    /// A moment.
    Moment(DateTime<Utc>),
    /// Texts.
    List(Vec<String>),
    /// A server and how to reach it.
    Server(Box<ConnectionSettings>),
    /// A secret.
    Secret(SecretString),
}

/// A text that is no value of its type. It does not repeat the text, which may be a secret in the wrong place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the value of {name} is not {expected}")]
pub struct ValueError {
    /// The variable.
    pub name: String,
    /// What it ought to be.
    pub expected: &'static str,
}

impl VariableKind {
    /// Says what a value of this type is, with its article.
    pub fn described(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Integer => "a whole number",
            Self::Boolean => "true or false",
            Self::Duration => "a length of time such as 30s, 5m or 4h",
            Self::Path => "an absolute path",
            Self::Url => "an http or https address",
            Self::Moment => "a moment such as 2026-11-27T03:00:00Z",
            Self::List => "a list of texts, separated by commas, or a JSON array of them",
            Self::Server => "a connection string of PostgreSQL",
            Self::Secret => "a secret of at least four characters",
        }
    }

    /// Reads a value of this type. `name` is for the error.
    ///
    /// # Errors
    /// [`ValueError`].
    pub fn parse(self, name: &str, text: &str) -> Result<Value, ValueError> {
        let value = match self {
            Self::Text => Some(Value::Text(text.to_owned())),
            Self::Integer => text.parse().ok().map(Value::Integer),
            Self::Boolean => text.parse().ok().map(Value::Boolean),
            Self::Duration => text.parse().ok().map(Value::Duration),
            Self::Path => Some(PathBuf::from(text)).filter(|path| path.is_absolute()).map(Value::Path),
            Self::Url => is_url(text).then(|| Value::Url(text.to_owned())),
            Self::Moment => DateTime::parse_from_rfc3339(text).ok().map(|moment| Value::Moment(moment.to_utc())),
            Self::List => list(text).map(Value::List),
            Self::Server => text.parse().ok().map(|settings| Value::Server(Box::new(settings))),
            Self::Secret => (text.len() >= SHORTEST_SECRET).then(|| Value::Secret(SecretString::from(text))),
        };
        value.ok_or_else(|| ValueError { name: name.to_owned(), expected: self.described() })
    }
}

fn is_url(text: &str) -> bool {
    ["http://", "https://"].into_iter().any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
}

/// Reads texts separated by commas, or a JSON array of texts, which may hold anything.
fn list(text: &str) -> Option<Vec<String>> {
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text).ok();
    }
    Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
}

/// Returns a list as the text that it can be read from.
pub(super) fn list_text(items: &[String]) -> String {
    let plain =
        |item: &String| !item.is_empty() && item.trim() == item && !item.contains(',') && !item.starts_with('[');
    if items.iter().all(plain) { items.join(",") } else { serde_json::json!(items).to_string() }
}

impl Value {
    /// Returns the type.
    pub fn kind(&self) -> VariableKind {
        match self {
            Self::Text(_) => VariableKind::Text,
            Self::Integer(_) => VariableKind::Integer,
            Self::Boolean(_) => VariableKind::Boolean,
            Self::Duration(_) => VariableKind::Duration,
            Self::Path(_) => VariableKind::Path,
            Self::Url(_) => VariableKind::Url,
            Self::Moment(_) => VariableKind::Moment,
            Self::List(_) => VariableKind::List,
            Self::Server(_) => VariableKind::Server,
            Self::Secret(_) => VariableKind::Secret,
        }
    }

    /// Returns the value as text, secrets too; `None` for a server, which is no text.
    pub(crate) fn expose(&self) -> Option<String> {
        match self {
            Self::Secret(secret) => Some(secret.expose_secret().to_owned()),
            Self::Server(_) => None,
            other => other.shown(),
        }
    }

    /// Returns the value as it may be written down: a server without its password, and no secret at all.
    pub fn shown(&self) -> Option<String> {
        Some(match self {
            Self::Text(text) | Self::Url(text) => text.clone(),
            Self::Integer(number) => number.to_string(),
            Self::Boolean(flag) => flag.to_string(),
            Self::Duration(span) => span.to_string(),
            Self::Path(path) => path.display().to_string(),
            Self::Moment(moment) => moment.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            Self::List(items) => list_text(items),
            Self::Server(settings) => settings.to_string(),
            Self::Secret(_) => return None,
        })
    }
}

/// Two secrets are never compared, and are equal to nothing.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.shown().is_some_and(|shown| Some(shown) == other.shown())
    }
}

/// The values that a run works with.
#[derive(Debug, Clone, Default)]
pub struct Values(BTreeMap<String, Value>);

impl Values {
    /// Sets a value.
    pub fn set(&mut self, name: impl Into<String>, value: Value) {
        self.0.insert(name.into(), value);
    }

    /// Returns a value.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Lists names and values, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Returns a value as it may be written down; `None` for secrets and what is not set.
    pub(crate) fn shown(&self, name: &str) -> Option<String> {
        self.0.get(name)?.shown()
    }

    /// Blacks out every secret in a text that is to be written down: `[name]` stands where one stood.
    pub(crate) fn redact(&self, text: &str) -> String {
        let mut secrets: Vec<(&str, &str)> =
            self.secrets().filter(|(_, secret)| secret.len() >= SHORTEST_SECRET).collect();
        // One that holds another is looked for first, or a part of it would be left.
        secrets.sort_by_key(|(_, secret)| std::cmp::Reverse(secret.len()));
        secrets.iter().fold(text.to_owned(), |text, (name, secret)| text.replace(secret, &format!("[{name}]")))
    }

    fn secrets(&self) -> impl Iterator<Item = (&str, &str)> {
        self.iter().filter_map(|(name, value)| match value {
            Value::Secret(secret) => Some((name, secret.expose_secret())),
            Value::Server(settings) => settings.exposed_password().map(|password| (name, password)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_reads_its_own_values() {
        use VariableKind as K;
        let good = [
            (K::Integer, "-7", "-7"),
            (K::Boolean, "true", "true"),
            (K::Duration, "60s", "1m"),
            (K::Path, "/var/lib", "/var/lib"),
            (K::Url, "https://x/health", "https://x/health"),
            (K::Moment, "2026-11-27T05:00:00+02:00", "2026-11-27T03:00:00Z"),
            (K::List, " a, b ,,c", "a,b,c"),
            (K::List, r#"["a b", "c,d", ""]"#, r#"["a b","c,d",""]"#),
            (K::Server, "postgresql://me:secret@db:5433/erp", "me@db:5433/erp"),
        ];
        for (kind, text, shown) in good {
            assert_eq!(kind.parse("v", text).unwrap().shown().unwrap(), shown);
        }
        let bad = [
            (K::Integer, "seven"),
            (K::Boolean, "yes"),
            (K::Duration, "5"),
            (K::Path, "relative"),
            (K::Url, "ftp://x"),
            (K::Moment, "yesterday"),
            (K::Server, "postgresql://x?nonsense=1"),
            (K::Secret, "abc"),
            (K::List, "[1]"),
        ];
        for (kind, text) in bad {
            assert!(kind.parse("v", text).is_err(), "{kind:?} {text}");
        }
    }

    #[test]
    fn secrets_are_blacked_out_wherever_they_stand() {
        let mut values = Values::default();
        values.set("token", Value::Secret(SecretString::from("abcdef")));
        values.set("longer", Value::Secret(SecretString::from("abcdefgh")));
        values.set("short", Value::Secret(SecretString::from("on")));
        values.set("db", VariableKind::Server.parse("db", "postgresql://me:pa%20ss@db/erp").unwrap());
        assert_eq!(values.redact("abcdefgh abcdef on pa ss"), "[longer] [token] on [db]");
        let debug = format!("{values:?}");
        assert!(!debug.contains("abcdef") && !debug.contains("pa ss"), "{debug}");
    }
}
