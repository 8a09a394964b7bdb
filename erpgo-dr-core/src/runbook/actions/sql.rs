//! `sql` and `sql-check`: statements on a server, and a question whose answer is known.

use async_trait::async_trait;
use serde::Deserialize;

use super::super::error::ActionError;
use super::super::template::Template;
use super::{Act, Done, Nature, Scope, Uses, View, server};

/// Runs statements on a server. Values stand in them as literals.
///
/// Several statements are one transaction, unless they begin or end one themselves. Returns the first column of the first row.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Sql {
    /// The variable of the server.
    pub on: String,
    /// Another database of it.
    pub database: Option<Template>,
    /// The statements.
    pub query: Template,
}

/// Asks a server, in a read-only transaction, and compares the answer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct SqlCheck {
    /// The variable of the server.
    pub on: String,
    /// Another database of it.
    pub database: Option<Template>,
    /// The query.
    pub query: Template,
    /// What it must return.
    #[serde(flatten)]
    pub expect: Expectation,
}

/// What the answer of a check must be. All that is given must hold; if nothing is, the first column of the first row is `true`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Expectation {
    /// The first column of the first row, as text.
    pub returns: Option<Template>,
    /// The first column of the first row is a number that is no smaller.
    pub at_least: Option<f64>,
    /// The first column of the first row is a number that is no larger.
    pub at_most: Option<f64>,
    /// So many rows come.
    pub rows: Option<u64>,
}

#[async_trait]
impl Act for Sql {
    fn nature(&self) -> Nature {
        Nature::change(300)
    }

    fn describe(&self, view: &View<'_>) -> String {
        format!("run on {}: {}", view.server_name(&self.on), one_line(&self.query.shown(view.values)))
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.servers.push(&self.on);
        // What fails is in the server's log, with every value: no secrets.
        uses.visible([&self.query]);
        uses.statements.push(&self.query);
        uses.quiet(&self.database);
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let settings = scope.server(&self.on, self.database.as_ref())?;
        let sql = scope.sql(&self.query)?;
        let client = server::connect(settings, scope.timeout.duration()).await?;
        let answered = server::run(&client, &sql, "run the statements of a step").await;
        client.close().await;
        let answered = answered?;
        let output = match answered.rows.is_empty() {
            true => format!("{} rows changed", answered.changed),
            false => answered.text(),
        };
        Ok(Done { output, value: answered.first().map(str::to_owned), ..Done::default() })
    }
}

#[async_trait]
impl Act for SqlCheck {
    fn nature(&self) -> Nature {
        Nature::check(30)
    }

    fn describe(&self, view: &View<'_>) -> String {
        let query = one_line(&self.query.shown(view.values));
        format!("ask {}: {query}; expect {}", view.server_name(&self.on), self.expect.described(view))
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.servers.push(&self.on);
        // What fails is in the server's log, with every value: no secrets.
        uses.visible([&self.query]);
        uses.statements.push(&self.query);
        uses.quiet(&self.database);
        uses.quiet(&self.expect.returns);
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let settings = scope.server(&self.on, self.database.as_ref())?;
        let sql = format!("BEGIN READ ONLY; {}", scope.sql(&self.query)?);
        let client = server::connect(settings, scope.timeout.duration()).await?;
        let answered = server::run(&client, &sql, "run the query of a check").await;
        client.close().await;
        let answered = answered?;
        self.expect.compare(scope, &answered)?;
        Ok(Done { output: answered.text(), value: answered.first().map(str::to_owned), ..Done::default() })
    }
}

impl Expectation {
    fn is_silent(&self) -> bool {
        *self == Self::default()
    }

    fn described(&self, view: &View<'_>) -> String {
        if self.is_silent() {
            return "true".to_owned();
        }
        let parts = [
            self.returns.as_ref().map(|text| text.shown(view.values)),
            self.at_least.map(|least| format!("at least {least}")),
            self.at_most.map(|most| format!("at most {most}")),
            self.rows.map(|rows| format!("{rows} rows")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" and ")
    }

    fn compare(&self, scope: &Scope<'_>, answered: &server::Answered) -> Result<(), ActionError> {
        let first = answered.first();
        let number = first.and_then(|text| text.parse::<f64>().ok());
        let returned = match scope.optional(self.returns.as_ref())? {
            Some(text) => first == Some(text.as_str()),
            None => !self.is_silent() || matches!(first, Some("t" | "true")),
        };
        let holds = returned
            && self.at_least.is_none_or(|least| number.is_some_and(|number| number >= least))
            && self.at_most.is_none_or(|most| number.is_some_and(|number| number <= most))
            && self.rows.is_none_or(|rows| rows == answered.count);
        if holds {
            return Ok(());
        }
        let found = match answered.count {
            0 => "no rows".to_owned(),
            count if self.rows.is_some() => format!("{count} rows"),
            _ => first.unwrap_or("NULL").to_owned(),
        };
        Err(ActionError::Unexpected { expected: self.described(scope), found })
    }
}

/// Returns a text in one line, for a plan.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
