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
    /// Whether it was told as a floating-point number, where it was told just now.
    #[serde(skip)]
    pub(crate) is_float: bool,
}

/// By how much, as a share, two sums of the same floating-point numbers may differ: rows are added in another order after a restore.
const ROUNDING: f64 = 1e-9;

impl FigureValue {
    /// Returns the number; `None` where there is none.
    pub fn number(&self) -> Option<f64> {
        number(self.value.as_deref())
    }

    /// Returns whether it is what it was; a floating-point number but for its rounding.
    pub(crate) fn is_as(&self, before: &Self) -> bool {
        match (self.number(), before.number()) {
            (Some(one), Some(two)) if self.is_float => (one - two).abs() <= ROUNDING * one.abs().max(two.abs()),
            _ => self.value == before.value,
        }
    }

    /// Asks for a figure within a transaction, which goes on whatever the query does.
    pub(crate) async fn read(client: &Client, name: &str, query: &str) -> Result<Self, tokio_postgres::Error> {
        let begin = format!("SAVEPOINT erpgo_dr_figure; SET LOCAL statement_timeout = {LIMIT_MS}");
        client.batch_execute(&begin).await?;
        let told = ask(client, query).await;
        // The connection may be gone: then the query has failed for it, and so does this.
        client.batch_execute("ROLLBACK TO SAVEPOINT erpgo_dr_figure").await?;
        let (value, failed, is_float) = match told {
            Ok((value, is_float)) => (value, None, is_float),
            Err(reason) => (None, Some(reason), false),
        };
        Ok(Self { name: name.to_owned(), query: query.to_owned(), value, failed, is_float })
    }
}

/// Reads what PostgreSQL writes of a number; `None` where it is none that can be compared.
pub(crate) fn number(text: Option<&str>) -> Option<f64> {
    text?.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Returns the number, and whether it is a floating-point number.
async fn ask(client: &Client, query: &str) -> Result<(Option<String>, bool), String> {
    let query = query.trim().trim_end_matches(';');
    let sql = format!(
        "SELECT figure::text, pg_catalog.pg_typeof(figure) IN ('float4', 'float8') FROM (\n{query}\n) AS told(figure)"
    );
    let no_parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 0] = [];
    let rows = client.query_typed(&sql, &no_parameters).await.map_err(|error| chain(&error))?;
    match rows.as_slice() {
        [row] => {
            let told = row.try_get(0).and_then(|value| Ok((value, row.try_get(1)?)));
            told.map_err(|error| chain(&error))
        }
        rows => Err(format!("the query returned {} rows, not one", rows.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_floating_point_numbers_are_the_same_but_for_their_rounding() {
        let told = |value: &str, is_float: bool| FigureValue {
            name: "sum".to_owned(),
            query: String::new(),
            value: Some(value.to_owned()),
            failed: None,
            is_float,
        };
        let same = |now: &str, before: &str, is_float: bool| told(now, is_float).is_as(&told(before, false));
        assert!(same("150127687973.5798", "150127687973.5794", true));
        assert!(!same("150127687973.5798", "150127687973.5794", false), "numeric is exact");
        assert!(!same("20000000001", "20000000000", false), "and so is a count");
        assert!(!same("150127687973", "150127688973", true) && !same("NaN", "0", true));
        assert!(same("0", "0", true) && same("NaN", "NaN", true), "what is no number is compared as text");
    }
}
