//! What a runbook works with.

use serde::Deserialize;

use super::super::values::{VariableKind, list_text};

/// A variable of a runbook.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Variable {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: VariableKind,
    /// What it is, for people.
    #[serde(default)]
    pub description: String,
    /// Its value where none is given.
    #[serde(default)]
    pub default: Option<Default>,
    /// Whether a run can do without a value. Steps that name it are then skipped.
    #[serde(default)]
    pub optional: bool,
}

/// A default, as TOML may write it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Default {
    /// Yes or no.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// A text, which the variable's type reads.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
}

impl Default {
    /// Returns the default as the text that its type reads.
    pub fn text(&self) -> String {
        match self {
            Self::Boolean(flag) => flag.to_string(),
            Self::Integer(number) => number.to_string(),
            Self::Text(text) => text.clone(),
            Self::List(items) => list_text(items),
        }
    }
}
