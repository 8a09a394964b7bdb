//! Statements on a server, as actions need them: text in, rows of text out.

use std::time::Duration;

use tokio_postgres::SimpleQueryMessage;

use super::super::error::ActionError;
use crate::postgres::{Client, ConnectionSettings};

/// Rows that are kept of an answer.
const ROWS: usize = 200;
/// How long a connection may take, at most.
const CONNECT: Duration = Duration::from_secs(10);

/// What a server answered to the last statement that returned rows, and to all of them.
#[derive(Debug, Default)]
pub(super) struct Answered {
    /// Rows of texts, the first [`ROWS`] of them.
    pub(super) rows: Vec<Vec<Option<String>>>,
    /// Rows that came.
    pub(super) count: u64,
    /// Rows that statements changed.
    pub(super) changed: u64,
}

/// Connects within `limit`, and tells the server to give up what takes longer.
pub(super) async fn connect(settings: ConnectionSettings, limit: Duration) -> Result<Client, ActionError> {
    let client = settings.connect_timeout(limit.min(CONNECT)).connect().await?;
    // A client that goes away does not end its statement.
    let statement = format!("SET statement_timeout = {}", limit.as_millis().clamp(1, 2_000_000_000));
    client.batch_execute(&statement).await.map_err(client.query_error("limit the time of statements"))?;
    Ok(client)
}

/// Runs statements: several in one transaction, unless they end it themselves.
pub(super) async fn run(client: &Client, sql: &str, action: &str) -> Result<Answered, ActionError> {
    let messages = client.simple_query(sql).await.map_err(client.query_error(action))?;
    let mut answered = Answered::default();
    for message in messages {
        match message {
            SimpleQueryMessage::RowDescription(_) => {
                answered.rows.clear();
                answered.count = 0;
            }
            SimpleQueryMessage::Row(row) => {
                answered.count += 1;
                if answered.rows.len() < ROWS {
                    answered.rows.push((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect());
                }
            }
            SimpleQueryMessage::CommandComplete(rows) => answered.changed += rows,
            _ => {}
        }
    }
    Ok(answered)
}

impl Answered {
    /// Returns the first column of the first row.
    pub(super) fn first(&self) -> Option<&str> {
        self.rows.first()?.first()?.as_deref()
    }

    /// Returns the rows as lines, with `|` between columns, as psql's unaligned output has them.
    pub(super) fn text(&self) -> String {
        let cell = |cell: &Option<String>| cell.clone().unwrap_or_else(|| "NULL".to_owned());
        let line = |row: &Vec<Option<String>>| row.iter().map(cell).collect::<Vec<_>>().join("|");
        let mut lines: Vec<String> = self.rows.iter().map(line).collect();
        let more = self.count.saturating_sub(self.rows.len() as u64);
        if more > 0 {
            lines.push(format!("... and {more} more rows"));
        }
        lines.join("\n")
    }
}
