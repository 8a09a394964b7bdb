//! Texts of a runbook in which `{{ name }}` stands for the value of a variable.
//!
//! Where a value goes decides how it is written there: in SQL as a literal, and as an identifier where `{{ name | identifier }}`
//! asks for it, so that no value can become a statement; in an argument, a file or a request as it is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::values::{Value, Values};
use crate::postgres::quoting;

/// A text with variables in it. `Debug` and `Display` show it as it was written, without any value.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Variable { name: String, form: Form },
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As the place asks for.
    Natural,
    /// As a quoted name of SQL.
    Identifier,
}

/// Where a text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Into a statement for a server.
    Sql,
    /// Anywhere else.
    Plain,
}

/// A text that is no template, or whose variables have no values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// What stands behind the bar is unknown.
    #[error("unknown form {form:?} of the variable {name} (known: identifier)")]
    UnknownForm {
        /// The variable.
        name: String,
        /// What stands behind the bar.
        form: String,
    },
    /// No such variable has a value yet.
    #[error("the variable {name} has no value")]
    NoValue {
        /// The variable.
        name: String,
    },
    /// A value cannot be written there.
    #[error("the variable {name} is {is}, which cannot stand in {place}")]
    Unfit {
        /// The variable.
        name: String,
        /// What it is.
        is: &'static str,
        /// Where it was to stand.
        place: &'static str,
    },
}

impl Template {
    /// Makes a template without variables.
    pub fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { pieces: vec![Piece::Text(text.clone())], text }
    }

    /// Returns the text as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Lists the variables in it.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Variable { name, .. } => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// Lists the variables that stand within quotes or comments of SQL, where a value could end them.
    pub(crate) fn within_quotes(&self) -> Vec<&str> {
        let mut state = Sql::Plain;
        let mut found = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => state = state.behind(text),
                Piece::Variable { name, .. } if state != Sql::Plain => found.push(name.as_str()),
                Piece::Variable { .. } => {}
            }
        }
        found
    }

    /// Returns the text with its values. It may hold secrets.
    pub(crate) fn render(&self, place: Place, values: &Values) -> Result<String, TemplateError> {
        let mut out = String::with_capacity(self.text.len());
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Variable { name, form } => {
                    let value = values.value(name).ok_or_else(|| TemplateError::NoValue { name: name.clone() })?;
                    out.push_str(&written(name, value, *form, place)?);
                }
            }
        }
        Ok(out)
    }

    /// Returns arguments: one, or as many as a list has items where the text is nothing but that list.
    pub(crate) fn arguments(&self, values: &Values) -> Result<Vec<String>, TemplateError> {
        if let [Piece::Variable { name, form: Form::Natural }] = self.pieces.as_slice()
            && let Some(Value::List(items)) = values.value(name)
        {
            return Ok(items.clone());
        }
        Ok(vec![self.render(Place::Plain, values)?])
    }

    /// Returns the text with those values that are no secrets; secrets, and what has no value yet, stay names.
    pub(crate) fn shown(&self, values: &Values) -> String {
        let shown = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Variable { name, .. } => values.shown(name).unwrap_or_else(|| format!("{{{{ {name} }}}}")),
        });
        shown.collect()
    }
}

/// Where a text of SQL has come to (PostgreSQL's manual, "Lexical Structure"). Nested comments count as one.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sql {
    Plain,
    /// Within what ends with this.
    Until(String),
}

impl Sql {
    /// Goes on behind a text.
    fn behind(mut self, text: &str) -> Self {
        let mut rest = text;
        loop {
            match &self {
                Self::Until(end) => match rest.find(end.as_str()) {
                    Some(at) => {
                        rest = &rest[at + end.len()..];
                        self = Self::Plain;
                    }
                    None => return self,
                },
                Self::Plain => match opening(rest) {
                    Some((behind, end)) => {
                        rest = &rest[behind..];
                        self = Self::Until(end);
                    }
                    None => return self,
                },
            }
        }
    }
}

/// Finds the first quote or comment; returns where its inside begins, and what ends it.
fn opening(text: &str) -> Option<(usize, String)> {
    for (at, c) in text.char_indices() {
        let rest = &text[at..];
        match c {
            '\'' | '"' => return Some((at + 1, c.to_string())),
            '-' if rest.starts_with("--") => return Some((at + 2, "\n".to_owned())),
            '/' if rest.starts_with("/*") => return Some((at + 2, "*/".to_owned())),
            '$' => {
                let tag = rest[1..].find('$').map(|end| &rest[..end + 2]);
                let is_tag = |tag: &&str| {
                    let name = &tag[1..tag.len() - 1];
                    !name.starts_with(|c: char| c.is_ascii_digit())
                        && name.chars().all(|c| c.is_alphanumeric() || c == '_')
                };
                if let Some(tag) = tag.filter(is_tag) {
                    return Some((at + tag.len(), tag.to_owned()));
                }
            }
            _ => {}
        }
    }
    None
}

fn written(name: &str, value: &Value, form: Form, place: Place) -> Result<String, TemplateError> {
    let unfit = |place| TemplateError::Unfit { name: name.to_owned(), is: value.kind().described(), place };
    let text = |value: &Value| value.expose().ok_or_else(|| unfit("a text"));
    match (form, place, value) {
        (Form::Identifier, _, Value::List(_)) => Err(unfit("the place of a name")),
        (Form::Identifier, ..) => Ok(quoting::identifier(&text(value)?)),
        (Form::Natural, Place::Sql, Value::List(items)) if items.is_empty() => Ok("NULL".to_owned()),
        (Form::Natural, Place::Sql, Value::List(items)) => {
            Ok(items.iter().map(|item| quoting::literal(item)).collect::<Vec<_>>().join(", "))
        }
        (Form::Natural, Place::Sql, Value::Integer(_) | Value::Boolean(_)) => text(value),
        (Form::Natural, Place::Sql, _) => Ok(quoting::literal(&text(value)?)),
        (Form::Natural, Place::Plain, Value::List(items)) => Ok(items.join(",")),
        (Form::Natural, Place::Plain, _) => text(value),
    }
}

/// `{{` that is not followed by a name is text: other languages have braces too.
impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("{{") {
            let inside = &rest[at + 2..];
            let variable = inside.find("}}").and_then(|end| Some((parse_variable(&inside[..end])?, end)));
            match variable {
                Some((variable, end)) => {
                    plain.push_str(&rest[..at]);
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(variable?);
                    rest = &inside[end + 2..];
                }
                None => {
                    plain.push_str(&rest[..at + 2]);
                    rest = inside;
                }
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self { text: text.to_owned(), pieces })
    }
}

/// Reads what stands between the braces; `None` where it is no variable.
fn parse_variable(text: &str) -> Option<Result<Piece, TemplateError>> {
    let (name, form) = text.split_once('|').map_or((text, None), |(name, form)| (name, Some(form.trim())));
    let name = name.trim();
    if !is_name(name) {
        return None;
    }
    let name = name.to_owned();
    Some(match form {
        None => Ok(Piece::Variable { name, form: Form::Natural }),
        Some("identifier") => Ok(Piece::Variable { name, form: Form::Identifier }),
        Some(form) => Err(TemplateError::UnknownForm { name, form: form.to_owned() }),
    })
}

/// Returns whether a text can name a variable: lower-case letters, digits and `_`, a letter first.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn values() -> Values {
        let mut values = Values::default();
        values.set("who", Value::Text("O'Neill; DROP".to_owned()));
        values.set("count", Value::Integer(7));
        values.set("ids", Value::List(vec!["1".to_owned(), "it's".to_owned()]));
        values.set("none", Value::List(Vec::new()));
        values.set("key", Value::Secret(SecretString::from("hunter2")));
        values
    }

    fn sql(text: &str) -> String {
        text.parse::<Template>().unwrap().render(Place::Sql, &values()).unwrap()
    }

    #[test]
    fn no_value_becomes_a_statement() {
        assert_eq!(sql("WHERE name = {{ who }}"), "WHERE name = 'O''Neill; DROP'");
        assert_eq!(sql("ALTER ROLE {{who | identifier}}"), "ALTER ROLE \"O'Neill; DROP\"");
        assert_eq!(sql("IN ({{ ids }}) LIMIT {{ count }}"), "IN ('1', 'it''s') LIMIT 7");
        assert_eq!(sql("IN ({{ none }})"), "IN (NULL)");
    }

    #[test]
    fn within_quotes_a_value_could_end_them() {
        let within = |text: &str| text.parse::<Template>().unwrap().within_quotes().len();
        for text in [
            "SELECT 'hello {{ who }}'",
            "SELECT \"{{ who }}\"",
            "DO $$ BEGIN {{ who }} END $$",
            "DO $body$ {{ who }} $$ $body$",
            "SELECT 1 -- {{ who }}",
            "SELECT /* {{ who }} */ 1",
            "SELECT 'it''s {{ who }}'",
        ] {
            assert_eq!(within(text), 1, "{text}");
        }
        for text in [
            "SELECT 'a' || {{ who }} || 'b'",
            "SELECT $1, {{ who }}, $2",
            "-- why\nSELECT {{ who }}",
            "SELECT $$x$$, {{ who }}",
            "ALTER ROLE {{ who | identifier }}",
        ] {
            assert_eq!(within(text), 0, "{text}");
        }
    }

    #[test]
    fn a_list_alone_is_many_arguments() {
        let arguments = |text: &str| text.parse::<Template>().unwrap().arguments(&values()).unwrap();
        assert_eq!(arguments("{{ ids }}"), ["1", "it's"]);
        assert_eq!(arguments("--ids={{ ids }}"), ["--ids=1,it's"]);
        assert_eq!(arguments("{{ who }}"), ["O'Neill; DROP"]);
        assert!(arguments("{{ none }}").is_empty());
    }

    #[test]
    fn braces_of_other_languages_are_text() {
        for text in ["{{.State.Running}}", "{{", "a {{ b", "{{ }}", "{{ a-b }}", "}}{{{"] {
            let template: Template = text.parse().unwrap();
            assert_eq!(template.render(Place::Plain, &values()).unwrap(), text);
            assert_eq!(template.variables().count(), 0);
        }
        let after: Template = "{{.Name}} is {{ count }}".parse().unwrap();
        assert_eq!(after.render(Place::Plain, &values()).unwrap(), "{{.Name}} is 7");
    }

    #[test]
    fn what_is_shown_has_no_secret() {
        let template: Template = "{{ count }} {{ key }} {{ later }}".parse().unwrap();
        assert_eq!(template.shown(&values()), "7 {{ key }} {{ later }}");
        assert!(
            matches!(template.render(Place::Plain, &values()), Err(TemplateError::NoValue { name }) if name == "later")
        );
        assert!("{{ who | shout }}".parse::<Template>().is_err());
    }
}
