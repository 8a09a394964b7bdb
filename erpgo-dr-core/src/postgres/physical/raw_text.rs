//! Text of a server as the bytes that it has, not translated between encodings.

use postgres_types::{FromSql, Type};

use super::super::BoxError;
use super::super::connection::Client;

/// The bytes of a value of type `text`.
#[derive(Debug)]
pub(super) struct RawText(pub(super) Vec<u8>);

impl<'a> FromSql<'a> for RawText {
    fn from_sql(_type: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::TEXT
    }
}

impl RawText {
    /// Returns it if it is UTF-8, as everything that a backup stores is.
    pub(super) fn into_text(self) -> Option<String> {
        String::from_utf8(self.0).ok()
    }
}

/// Runs a query whose text columns are to be read as [`RawText`].
pub(super) async fn query(client: &Client, sql: &str) -> Result<Vec<tokio_postgres::Row>, tokio_postgres::Error> {
    receive(client).await?;
    let rows = client.query(sql, &[]).await?;
    client.batch_execute("SET client_encoding = 'UTF8'").await?;
    Ok(rows)
}

/// Has the server send text in its database's own encoding from now on.
pub(super) async fn receive(client: &Client) -> Result<(), tokio_postgres::Error> {
    client.batch_execute("SET client_encoding = 'SQL_ASCII'").await
}
