//! The pages of tables and btree indexes, by amcheck where the database has it.
//!
//! Only what takes no lock that would stop writes: `bt_index_check`, and not `bt_index_parent_check`.

use super::super::PostgresError;
use super::finding::IntegrityKind;
use super::session::{SAMPLES, Session, Trouble, cell, number};
use crate::postgres::quoting::{identifier, literal};

/// The schema of amcheck, whether this role may call it, and how many arguments the check of an index takes: the third, from PostgreSQL 17
/// on, looks for duplicates in unique indexes.
const AMCHECK: &str = "
    SELECT n.nspname, pg_catalog.bool_and(pg_catalog.has_function_privilege(p.oid, 'EXECUTE')), pg_catalog.max(p.pronargs)
    FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
    JOIN pg_catalog.pg_proc AS p ON p.pronamespace = n.oid AND p.proname = 'bt_index_check'
    WHERE e.extname = 'amcheck' GROUP BY n.nspname";

const TABLES: &str = "
    SELECT c.oid, n.nspname, c.relname
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_am AS a ON a.oid = c.relam
    WHERE c.relkind IN ('r', 't', 'm') AND c.relpersistence = 'p' AND a.amname = 'heap' ORDER BY c.oid";

const INDEXES: &str = "
    SELECT c.oid, n.nspname, c.relname, t.oid::regclass::text
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_index AS i ON i.indexrelid = c.oid JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid
    JOIN pg_catalog.pg_am AS a ON a.oid = c.relam
    WHERE c.relkind = 'i' AND c.relpersistence = 'p' AND a.amname = 'btree' AND i.indisready AND i.indisvalid ORDER BY c.oid";

const WHAT: &str = "the pages of tables and indexes";

pub(super) async fn check(session: &mut Session<'_>) -> Result<(), PostgresError> {
    let found = session.list("look for amcheck", AMCHECK).await?;
    let Some(amcheck) = found.first() else {
        let reason = "the extension amcheck is not installed in this database, and nothing is installed by a check: \
                      `CREATE EXTENSION amcheck`, or `verify --restore`, which checks a copy";
        session.skip(None, WHAT, reason.to_owned());
        return Ok(());
    };
    if cell(amcheck, 1) != "t" {
        let reason = "this role may not call the functions of amcheck: GRANT EXECUTE on them";
        session.skip(None, WHAT, reason.to_owned());
        return Ok(());
    }
    let (schema, arguments) = (identifier(cell(amcheck, 0)), number(amcheck, 2));
    match session.limits.quick {
        true => session.skip(None, "the pages of tables", "it was to be quick".to_owned()),
        false => check_tables(session, &schema).await?,
    }
    check_indexes(session, &schema, arguments).await
}

async fn check_tables(session: &mut Session<'_>, amcheck: &str) -> Result<(), PostgresError> {
    for row in session.list("list the tables", TABLES).await? {
        let (schema, name) = (cell(&row, 1), cell(&row, 2));
        session.locate(schema, name);
        let sql = format!(
            "SELECT blkno, msg FROM {amcheck}.verify_heapam({}::oid::regclass) LIMIT {SAMPLES}",
            literal(cell(&row, 0))
        );
        match session.ask("check a table", &sql).await? {
            Ok(told) if told.is_empty() => {}
            Ok(told) => {
                let samples = told.iter().map(|row| format!("block {}: {}", cell(row, 0), cell(row, 1))).collect();
                damaged_table(session, (schema, name), samples);
            }
            Err(Trouble::Damaged(_)) if is_gone(session, cell(&row, 0)).await? => continue,
            Err(Trouble::Damaged(message)) => damaged_table(session, (schema, name), vec![message]),
            Err(trouble) => {
                session.note(trouble, (schema, name), "its pages");
                continue;
            }
        }
        session.found.checked.tables += 1;
    }
    Ok(())
}

/// Returns whether a relation was dropped since it was listed: that is told by the same error as damage.
async fn is_gone(session: &Session<'_>, oid: &str) -> Result<bool, PostgresError> {
    let sql = format!("SELECT FROM pg_catalog.pg_class WHERE oid = {}::oid", literal(oid));
    Ok(session.list("look for a relation", &sql).await?.is_empty())
}

fn damaged_table(session: &mut Session<'_>, (schema, name): (&str, &str), samples: Vec<String>) {
    let message = "pages of the table are damaged, and rows of it are lost or wrong: restore it from before the damage, \
                   and look for the cause in disks, memory and the server's log";
    let finding = session.finding(IntegrityKind::DamagedTable, message.to_owned());
    session.add(finding.of(schema, name).told(samples));
}

async fn check_indexes(session: &mut Session<'_>, amcheck: &str, arguments: u64) -> Result<(), PostgresError> {
    let thorough = !session.limits.quick;
    let options = if arguments >= 3 { format!("{thorough}, true") } else { thorough.to_string() };
    for row in session.list("list the indexes", INDEXES).await? {
        let (schema, name) = (cell(&row, 1), cell(&row, 2));
        session.locate(schema, name);
        let sql = format!("SELECT {amcheck}.bt_index_check({}::oid::regclass, {options})", literal(cell(&row, 0)));
        match session.ask("check an index", &sql).await? {
            Ok(_) => {}
            Err(Trouble::Damaged(_)) if is_gone(session, cell(&row, 0)).await? => continue,
            Err(Trouble::Damaged(told)) => {
                let message = format!(
                    "the index does not have what its table {} has, or its pages are damaged: queries miss rows, and unique \
                     values may repeat. `REINDEX INDEX CONCURRENTLY {}`, after a change of collations on all indexes of text; \
                     where that finds duplicates, they must go first",
                    cell(&row, 3),
                    super::session::table(schema, name),
                );
                let finding = session.finding(IntegrityKind::DamagedIndex, message);
                session.add(finding.of(schema, name).told(vec![told]));
            }
            Err(trouble) => {
                session.note(trouble, (schema, name), "its pages");
                continue;
            }
        }
        session.found.checked.indexes += 1;
    }
    Ok(())
}
