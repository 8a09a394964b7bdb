//! What the catalogue itself admits: indexes that are not valid, constraints that were never checked, foreign keys that are off.

use super::super::PostgresError;
use super::finding::IntegrityKind;
use super::session::{Session, cell, table};
use crate::postgres::quoting::identifier;

/// Those that are being built now are no fault.
const INVALID_INDEXES: &str = "
    SELECT n.nspname, c.relname, t.oid::regclass::text, i.indisready
    FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
    JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE NOT (i.indisvalid AND i.indisready AND i.indislive)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index AS p
                      WHERE p.index_relid = c.oid AND p.datname = pg_catalog.current_database())
    ORDER BY 1, 2";

/// Of inherited ones, that which they are inherited from. What is not enforced claims nothing.
const NOT_VALIDATED: &str = "
    SELECT coalesce(n.nspname, tn.nspname), coalesce(r.relname, t.typname), c.conname, r.oid IS NOT NULL
    FROM pg_catalog.pg_constraint AS c
    LEFT JOIN pg_catalog.pg_class AS r ON r.oid = c.conrelid LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = r.relnamespace
    LEFT JOIN pg_catalog.pg_type AS t ON t.oid = c.contypid LEFT JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.typnamespace
    WHERE NOT c.convalidated AND c.conparentid = 0 AND c.coninhcount = 0
      AND coalesce((pg_catalog.to_jsonb(c) ->> 'conenforced')::boolean, true)
    ORDER BY 1, 2, 3";

const DISABLED: &str = "
    SELECT DISTINCT n.nspname, r.relname, c.conname
    FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_constraint AS c ON c.oid = t.tgconstraint AND c.contype = 'f'
    JOIN pg_catalog.pg_class AS r ON r.oid = t.tgrelid JOIN pg_catalog.pg_namespace AS n ON n.oid = r.relnamespace
    WHERE t.tgisinternal AND t.tgenabled IN ('D', 'R') ORDER BY 1, 2, 3";

pub(super) async fn check(session: &mut Session<'_>) -> Result<(), PostgresError> {
    for row in session.list("list the invalid indexes", INVALID_INDEXES).await? {
        let (schema, name) = (cell(&row, 0), cell(&row, 1));
        let message = format!(
            "the index of {} is not valid: no query uses it, it costs every write, and a unique one does not keep duplicates out \
             for certain. `REINDEX INDEX CONCURRENTLY {}`, or drop it",
            cell(&row, 2),
            table(schema, name)
        );
        let finding = session.finding(IntegrityKind::InvalidIndex, message);
        session.add(finding.of(schema, name));
    }
    for row in session.list("list the constraints that were not validated", NOT_VALIDATED).await? {
        let (schema, name, constraint) = (cell(&row, 0), cell(&row, 1), cell(&row, 2));
        let change = if cell(&row, 3) == "t" { "TABLE" } else { "DOMAIN" };
        let message = format!(
            "rows from before the constraint were never checked against it. `ALTER {change} {} VALIDATE CONSTRAINT {}`; rows that break \
             it are told beside this",
            table(schema, name),
            identifier(constraint)
        );
        let finding = session.finding(IntegrityKind::NotValidated, message);
        session.add(finding.of(schema, name).constraint(constraint));
    }
    for row in session.list("list the disabled foreign keys", DISABLED).await? {
        let (schema, name, constraint) = (cell(&row, 0), cell(&row, 1), cell(&row, 2));
        let message = format!(
            "triggers of the foreign key on this table are disabled, and what breaks it is not refused. \
             `ALTER TABLE {} ENABLE TRIGGER ALL` once there are no orphans",
            table(schema, name)
        );
        let finding = session.finding(IntegrityKind::DisabledForeignKey, message);
        session.add(finding.of(schema, name).constraint(constraint));
    }
    Ok(())
}
