//! Which tables are read beside pg_dump.

use std::time::Duration;

use super::super::super::archive::AddedData;
use super::super::super::connection::Client;
use super::super::super::{PostgresError, quoting};

/// Each is locked in every session, and the server's table of locks is not large: the largest ones.
const MOST_TABLES: i64 = 256;
/// pg_dump's table of contents is held in memory as a whole to be added to. A database of more relations is left to it.
const MOST_RELATIONS: i64 = 50_000;

/// Left out is what pg_dump does not read by a plain `COPY`, or not in its own name: members of extensions, of which it may
/// take some rows, partitions that it loads by way of their root, what is not in UTF-8. A table that somebody locks, or waits
/// to lock, is left to pg_dump, which waits for it if it needs it at all.
const TABLES: &str = "
    SELECT c.oid, n.nspname::text, c.relname::text,
           pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname), a.columns,
           s.heap / pg_catalog.current_setting('block_size')::bigint, s.heap + s.toast, m.amname = 'heap'
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_am AS m ON m.oid = c.relam
    CROSS JOIN LATERAL (
        SELECT pg_catalog.string_agg(pg_catalog.quote_ident(attname), ', ' ORDER BY attnum) AS columns
        FROM pg_catalog.pg_attribute
        WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
    ) AS a
    CROSS JOIN LATERAL (
        SELECT pg_catalog.pg_relation_size(c.oid) AS heap,
               coalesce(pg_catalog.pg_relation_size(nullif(c.reltoastrelid, 0)), 0) AS toast
        WHERE c.oid <> ALL (ARRAY(
            SELECT relation FROM pg_catalog.pg_locks
            WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock'
              AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
        ))
        OFFSET 0
    ) AS s
    WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND a.columns IS NOT NULL
      AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
      AND NOT EXISTS (
          SELECT FROM pg_catalog.pg_depend
          WHERE classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND objid = c.oid AND deptype = 'e'
      )
      AND NOT (c.relispartition AND EXISTS (
          SELECT FROM pg_catalog.pg_partition_ancestors(c.oid) AS r (relid)
          JOIN pg_catalog.pg_partitioned_table AS p ON p.partrelid = r.relid
          WHERE p.partstrat = 'h'
            AND EXISTS (SELECT FROM pg_catalog.pg_opclass AS o WHERE o.opcname = 'enum_ops' AND o.oid = ANY (p.partclass))
      ))
      AND NOT EXISTS (SELECT FROM pg_catalog.unnest($1::text[]) AS e WHERE c.relname ~ e COLLATE pg_catalog.\"default\")
      AND pg_catalog.getdatabaseencoding() = 'UTF8'
      AND (SELECT pg_catalog.count(*) FROM pg_catalog.pg_class) <= $2
      AND s.heap + s.toast >= $3
    ORDER BY s.heap + s.toast DESC, c.oid
    LIMIT $4";

/// A table whose rows are read beside pg_dump.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
    /// Schema and name, quoted where they must be.
    qualified: String,
    /// Its columns but the generated ones, quoted where they must be.
    columns: String,
    pub(super) pages: u64,
    /// Of its rows, on disk.
    pub(super) bytes: u64,
    /// Whether its rows lie in pages that can be read by number.
    pub(super) is_heap: bool,
}

impl Table {
    /// Returns what the archive says of its data.
    pub(super) fn added_data(&self) -> AddedData {
        let statement = format!("COPY {} ({}) FROM stdin;\n", self.qualified, self.columns);
        AddedData { oid: self.oid, statement }
    }

    /// Returns the statement that reads its rows, or those in some of its pages.
    pub(super) fn copy_statement(&self, first: u64, end: Option<u64>) -> String {
        let Self { qualified, columns, .. } = self;
        if first == 0 && end.is_none() {
            return format!("COPY {qualified} ({columns}) TO STDOUT");
        }
        let before = end.map(|end| format!(" AND ctid < '({end},0)'")).unwrap_or_default();
        format!("COPY (SELECT {columns} FROM ONLY {qualified} WHERE ctid >= '({first},0)'{before}) TO STDOUT")
    }
}

/// Chooses tables of at least `smallest` bytes, the largest first, but for those whose name matches an expression in `excluded`.
pub(super) async fn choose(client: &Client, smallest: u64, excluded: &[String]) -> Result<Vec<Table>, PostgresError> {
    let smallest = i64::try_from(smallest).unwrap_or(i64::MAX);
    let asked = client.query(TABLES, &[&excluded, &MOST_RELATIONS, &smallest, &MOST_TABLES]).await;
    let rows = asked.map_err(client.query_error("choose tables to dump in parallel"))?;
    let table = |row: &tokio_postgres::Row| Table {
        oid: row.get(0),
        schema: row.get(1),
        name: row.get(2),
        qualified: row.get(3),
        columns: row.get(4),
        pages: row.get::<_, i64>(5).unsigned_abs(),
        bytes: row.get::<_, i64>(6).unsigned_abs(),
        is_heap: row.get(7),
    };
    Ok(rows.iter().map(table).collect())
}

/// Returns the statements that lock the tables for reading, and wait for each no longer than pg_dump does.
pub(super) fn lock_statement(tables: &[Table], timeout: Option<Duration>) -> String {
    let timeout = timeout.map_or(0, super::super::dump::milliseconds);
    let names: Vec<String> = tables
        .iter()
        .map(|table| format!("{}.{}", quoting::identifier(&table.schema), quoting::identifier(&table.name)))
        .collect();
    format!(
        "SET LOCAL lock_timeout = {timeout}; LOCK TABLE ONLY {} IN ACCESS SHARE MODE; SET LOCAL lock_timeout = 0",
        names.join(", ONLY ")
    )
}
