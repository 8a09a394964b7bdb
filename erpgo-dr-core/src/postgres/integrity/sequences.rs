//! Sequences that are to give values which their columns have already, as after data was loaded past them.

use super::super::PostgresError;
use super::READABLE;
use super::finding::IntegrityKind;
use super::session::{Session, cell, table};
use crate::postgres::quoting::{identifier, literal};

/// Sequences that belong to a column or that its default takes values of, but for those that begin anew by intent. Partitions are read with
/// their table.
fn sequences() -> String {
    format!(
        "SELECT sn.nspname, s.relname, n.nspname, c.relname, a.attname, q.seqincrement
         FROM pg_catalog.pg_sequence AS q
         JOIN pg_catalog.pg_class AS s ON s.oid = q.seqrelid JOIN pg_catalog.pg_namespace AS sn ON sn.oid = s.relnamespace
         JOIN (SELECT d.objid AS sequence, d.refobjid AS relation, d.refobjsubid AS number FROM pg_catalog.pg_depend AS d
               WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
                 AND d.deptype IN ('a', 'i') AND d.refobjsubid > 0
               UNION
               SELECT d.refobjid, e.adrelid, e.adnum FROM pg_catalog.pg_depend AS d
               JOIN pg_catalog.pg_attrdef AS e ON e.oid = d.objid
               WHERE d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
                 AND d.deptype = 'n') AS u ON u.sequence = s.oid
         JOIN pg_catalog.pg_class AS c ON c.oid = u.relation JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
         JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = u.number
         WHERE NOT q.seqcycle AND c.relkind IN ('r', 'p') AND NOT c.relispartition
           AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype) AND {READABLE}
         ORDER BY 1, 2, 3, 4, 5"
    )
}

pub(super) async fn check(session: &mut Session<'_>) -> Result<(), PostgresError> {
    for row in session.list("list the sequences", &sequences()).await? {
        let (own, relation) = ((cell(&row, 0), cell(&row, 1)), (cell(&row, 2), cell(&row, 3)));
        let (column, increment) = (cell(&row, 4), cell(&row, 5));
        session.locate(own.0, own.1);
        let (last, reached) = if increment.starts_with('-') { ("min", "<=") } else { ("max", ">=") };
        // A value of the sequence is of now, and the column's of the snapshot: the sequence can only be further.
        let sql = format!(
            "SELECT v.last, v.next FROM (
                SELECT m.last, CASE WHEN q.is_called THEN q.last_value::numeric + {increment} ELSE q.last_value::numeric END AS next
                FROM {} AS q, (SELECT pg_catalog.{last}({})::numeric AS last FROM {}) AS m) AS v
             WHERE v.last {reached} v.next",
            table(own.0, own.1),
            identifier(column),
            table(relation.0, relation.1),
        );
        let found = match session.ask("compare a sequence", &sql).await? {
            Ok(rows) => rows,
            Err(trouble) => {
                session.note(trouble, own, "the sequence, beside its column");
                continue;
            }
        };
        session.found.checked.sequences += 1;
        let Some(behind) = found.first() else { continue };
        let (last, next) = (cell(behind, 0), cell(behind, 1));
        let message = format!(
            "the next value of the sequence is {next}, and column {} of {} has values up to {last}: inserts will fail or repeat values. \
             `SELECT setval({}, {last})`",
            identifier(column),
            table(relation.0, relation.1),
            literal(&table(own.0, own.1)),
        );
        let finding = session.finding(IntegrityKind::SequenceBehind, message);
        session.add(finding.of(own.0, own.1).told(vec![format!("next={next}, {column}={last}")]));
    }
    Ok(())
}
