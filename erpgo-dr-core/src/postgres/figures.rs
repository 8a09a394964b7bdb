//! Figures of the business, such as how many orders there are: numbers that a query tells, at backup time and later.

use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;

use super::connection::Client;
use crate::causes::chain;

/// How long a query may take, in milliseconds: a backup waits for it, and so may others for the snapshot.
const LIMIT_MS: u32 = 300_000;

/// A number that tells something of a business.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// Its name in reports.
    pub name: String,
    /// The database to ask.
    pub database: String,
    /// The query: it returns one row with one number, within five minutes.
    pub query: String,
    /// The most that it may change from one backup to today, as a share: 0.2 is a fifth, up or down. It may change as it likes without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_change: Option<f64>,
}

/// A figure as it was when a backup was taken, in the backup's own snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FigureValue {
    /// Its name.
    pub name: String,
    /// The query that told it.
    pub query: String,
    /// The number, as PostgreSQL writes it; absent where it is null, or could not be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Why it could not be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// By how much, as a share, two sums of the same floating-point numbers may differ: rows are added in another order after a restore.
const ROUNDING: f64 = 1e-9;

impl FigureValue {
    /// Returns the number; `None` where there is none.
    pub fn number(&self) -> Option<f64> {
        number(self.value.as_deref())
    }

    /// Returns whether two are the same, but for the rounding of floating-point numbers.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        match (self.number(), other.number()) {
            (Some(one), Some(two)) => (one - two).abs() <= ROUNDING * one.abs().max(two.abs()),
            _ => self.value == other.value,
        }
    }

    /// Asks for a figure within a transaction, which goes on whatever the query does.
    pub(crate) async fn read(client: &Client, name: &str, query: &str) -> Result<Self, tokio_postgres::Error> {
        let begin = format!("SAVEPOINT erpgo_dr_figure; SET LOCAL statement_timeout = {LIMIT_MS}");
        client.batch_execute(&begin).await?;
        let told = ask(client, query).await;
        // The connection may be gone: then the query has failed for it, and so does this.
        client.batch_execute("ROLLBACK TO SAVEPOINT erpgo_dr_figure").await?;
        let (value, failed) = match told {
            Ok(value) => (value, None),
            Err(reason) => (None, Some(reason)),
        };
        Ok(Self { name: name.to_owned(), query: query.to_owned(), value, failed })
    }
}

/// Reads what PostgreSQL writes of a number; `None` where it is none that can be compared.
pub(crate) fn number(text: Option<&str>) -> Option<f64> {
    text?.parse().ok().filter(|number: &f64| number.is_finite())
}

async fn ask(client: &Client, query: &str) -> Result<Option<String>, String> {
    let query = query.trim().trim_end_matches(';');
    let sql = format!("SELECT figure::text FROM (\n{query}\n) AS told(figure)");
    let no_parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 0] = [];
    let rows = client.query_typed(&sql, &no_parameters).await.map_err(|error| chain(&error))?;
    match rows.as_slice() {
        [row] => row.try_get(0).map_err(|error| chain(&error)),
        rows => Err(format!("the query returned {} rows, not one", rows.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_floating_point_numbers_are_the_same_but_for_their_rounding() {
        let told = |value: &str| FigureValue {
            name: "sum".to_owned(),
            query: String::new(),
            value: Some(value.to_owned()),
            failed: None,
        };
        assert!(told("150127687973.5798").is_as(&told("150127687973.5794")));
        assert!(!told("150127687973").is_as(&told("150127688973")));
        assert!(told("0").is_as(&told("0")) && !told("0").is_as(&told("1")) && !told("NaN").is_as(&told("0")));
        assert!(told("NaN").is_as(&told("NaN")), "what is no number is compared as text");
    }
}
