//! Restores roles and tablespaces.

use futures::StreamExt;
use tokio_postgres::error::SqlState;

use super::super::super::{PostgresError, StreamKind, quoting};
use super::existing::Existing;
use super::{Restore, statements};
use crate::progress::PhaseGuard;

/// The roles and tablespaces of a server are text; more than this is something else. In bytes.
const LIMIT: usize = 256 << 20;

impl Restore<'_> {
    /// Runs the statements of the backup's globals. What exists already stays as it is, or takes on the backup's attributes
    /// where the options say so.
    pub(super) async fn globals(&mut self, guard: &PhaseGuard<'_>) -> Result<(), PostgresError> {
        let sql = self.read_globals(guard).await?;
        let own = self.own_role().await?;
        let existing = match self.driver.restore.overwrite_globals {
            true => Existing::default(),
            false => self.existing().await?,
        };
        for statement in statements::split(&sql) {
            let skipped = alters_role(statement, &own)
                || existing.is_changed_by(statement)
                || (self.driver.restore.no_tablespaces && concerns_tablespace(statement));
            if !skipped {
                self.run_global(statement).await?;
            }
        }
        // The statements change the session's settings.
        self.session = self.driver.settings.connect().await?;
        Ok(())
    }

    async fn read_globals(&mut self, guard: &PhaseGuard<'_>) -> Result<String, PostgresError> {
        let streams = self.source.streams();
        let stream = streams.iter().find(|stream| stream.kind == StreamKind::Globals);
        let number = stream.ok_or_else(|| PostgresError::NotInBackup("roles and tablespaces".to_owned()))?.number;
        let mut chunks = self.source.open(number, None).await.map_err(PostgresError::Source)?;
        let mut text = Vec::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(PostgresError::Source)?;
            guard.advance(chunk.len() as u64);
            self.outcome.bytes += chunk.len() as u64;
            text.extend_from_slice(&chunk);
            if text.len() > LIMIT {
                return Err(PostgresError::MalformedArchive("more than 256 MiB of roles and tablespaces".to_owned()));
            }
        }
        String::from_utf8(text)
            .map_err(|_| PostgresError::MalformedArchive("the roles and tablespaces are not UTF-8".to_owned()))
    }

    async fn own_role(&self) -> Result<String, PostgresError> {
        let row = self.session.query_one("SELECT current_user::text", &[]).await;
        Ok(row.map_err(self.session.query_error("ask for the own role"))?.get(0))
    }

    async fn existing(&self) -> Result<Existing, PostgresError> {
        let sql = "SELECT true, rolname::text FROM pg_catalog.pg_roles
            UNION ALL SELECT false, spcname::text FROM pg_catalog.pg_tablespace";
        let rows =
            self.session.query(sql, &[]).await.map_err(self.session.query_error("list roles and tablespaces"))?;
        let (roles, tablespaces) = rows.iter().partition::<Vec<_>, _>(|row| row.get(0));
        let names = |rows: Vec<&tokio_postgres::Row>| rows.iter().map(|row| row.get(1)).collect();
        Ok(Existing { roles: names(roles), tablespaces: names(tablespaces) })
    }

    async fn run_global(&mut self, statement: &str) -> Result<(), PostgresError> {
        let Err(error) = self.session.batch_execute(statement).await else { return Ok(()) };
        let creates = ["CREATE ROLE ", "CREATE TABLESPACE "].iter().any(|start| statement.starts_with(start));
        if creates && error.code() == Some(&SqlState::DUPLICATE_OBJECT) {
            if let Some(text) = error.as_db_error() {
                self.outcome.warnings.push(text.message().to_owned());
            }
            return Ok(());
        }
        let error = self.session.query_error("restore roles and tablespaces")(error);
        if self.driver.restore.exit_on_error {
            return Err(error);
        }
        self.outcome.warnings.push(describe(&error));
        Ok(())
    }
}

/// Tells an error with its cause, for the list of warnings.
pub(super) fn describe(error: &PostgresError) -> String {
    use std::error::Error;
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

fn alters_role(statement: &str, role: &str) -> bool {
    let Some(rest) = statement.strip_prefix("ALTER ROLE ") else { return false };
    // pg_dumpall quotes a name only where it must.
    [quoting::identifier(role), role.to_owned()]
        .iter()
        .any(|name| rest.strip_prefix(name.as_str()).is_some_and(|behind| behind.starts_with(" WITH ")))
}

fn concerns_tablespace(statement: &str) -> bool {
    let starts = ["CREATE TABLESPACE ", "ALTER TABLESPACE ", "COMMENT ON TABLESPACE ", "SECURITY LABEL "];
    let grants = ["GRANT ", "REVOKE "].iter().any(|start| statement.starts_with(start));
    (starts[..3].iter().any(|start| statement.starts_with(start)))
        || ((grants || statement.starts_with(starts[3])) && statement.contains(" ON TABLESPACE "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_role_that_restores_is_left_alone() {
        assert!(alters_role("ALTER ROLE postgres WITH SUPERUSER", "postgres"));
        assert!(alters_role("ALTER ROLE \"Odd \"\"one\" WITH LOGIN", "Odd \"one"));
        for other in ["ALTER ROLE postgres2 WITH LOGIN", "ALTER ROLE postgres SET a TO b", "CREATE ROLE postgres"] {
            assert!(!alters_role(other, "postgres"), "{other}");
        }
    }

    #[test]
    fn tablespaces_can_be_left_out() {
        assert!(concerns_tablespace("CREATE TABLESPACE fast OWNER a LOCATION '/fast'"));
        assert!(concerns_tablespace("GRANT ALL ON TABLESPACE fast TO PUBLIC"));
        assert!(!concerns_tablespace("CREATE ROLE \"ON TABLESPACE \""));
    }
}
