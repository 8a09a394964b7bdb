//! Drops what a restore will make anew.
//!
//! pg_restore's own `--clean` ends at the first partition: it would drop a partition's primary key before the
//! table, which the server refuses because the key is inherited. Here pg_restore writes the statements, and
//! those that a later statement makes needless may fail. It leaves several jobs free to load afterwards.

use tokio_postgres::error::SqlState;

use super::super::super::archive::{ArchiveHead, TocEntry, use_list};
use super::super::super::{ConnectionSettings, PostgresError};
use super::memory_file::MemoryFile;
use super::{Restore, statements};

/// What pg_restore writes between the statements that drop and those that make.
const FIRST_COMMENT: &str = "\n--\n-- Name: ";

impl Restore<'_> {
    /// Drops the objects of `entries` (of all entries, if `None`) that the target has.
    ///
    /// Each statement is a transaction of its own, as in pg_restore: thousands of tables in one would need more
    /// locks than a server has.
    pub(super) async fn drop_present(
        &self,
        head: &[u8],
        all: &ArchiveHead,
        entries: Option<&[TocEntry]>,
        settings: &ConnectionSettings,
    ) -> Result<(), PostgresError> {
        let toc = MemoryFile::new("erpgo-dr-toc", head)?;
        // Without the entries that have data: their blocks are not in the head, and tables hold what they fill.
        let wanted = entries.unwrap_or(&all.entries).iter().filter(|entry| !entry.has_data);
        let list = MemoryFile::new("erpgo-dr-list", use_list(wanted).as_bytes())?;
        let invocation = self.driver.programs.invoke(&self.program.path);
        let script = invocation
            .arguments(["--format=custom", "--clean", "--if-exists", "--file=-", "--use-list"])
            .argument(list.path())
            .argument(toc.path())
            .output()
            .await?;
        let script = String::from_utf8(script)
            .map_err(|_| PostgresError::MalformedArchive("its definitions are not UTF-8".to_owned()))?;
        let client = settings.connect().await?;
        for statement in statements::split(drops_of(&script)) {
            match client.batch_execute(statement).await {
                Err(error) if !is_needless(statement, error.code()) => {
                    return Err(client.query_error("drop what will be restored")(error));
                }
                _ => {}
            }
        }
        client.close().await;
        Ok(())
    }
}

fn drops_of(script: &str) -> &str {
    script.split_once(FIRST_COMMENT).map_or("", |(drops, _)| drops)
}

/// An inherited key goes with its table.
fn is_needless(statement: &str, code: Option<&SqlState>) -> bool {
    statement.starts_with("ALTER TABLE ")
        && statement.contains(" DROP CONSTRAINT ")
        && code == Some(&SqlState::INVALID_TABLE_DEFINITION)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_before_the_first_object_drops() {
        let script = "--\n-- PostgreSQL database dump\n--\n\nSET a = b;\nDROP TABLE IF EXISTS t;\n--\n-- Name: t\n--\nCREATE TABLE t ();";
        assert_eq!(statements::split(drops_of(script)), ["SET a = b", "DROP TABLE IF EXISTS t"]);
        assert_eq!(drops_of("CREATE TABLE t ();"), "");
    }

    #[test]
    fn only_the_refusal_to_drop_an_inherited_key_is_passed_over() {
        let drop_key = "ALTER TABLE IF EXISTS ONLY a.b DROP CONSTRAINT IF EXISTS b_pkey";
        assert!(is_needless(drop_key, Some(&SqlState::INVALID_TABLE_DEFINITION)));
        assert!(!is_needless(drop_key, Some(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST)));
        assert!(!is_needless("DROP TABLE b", Some(&SqlState::INVALID_TABLE_DEFINITION)));
    }
}
