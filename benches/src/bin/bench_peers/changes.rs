//! What happens to the cluster between a full backup and an incremental one.

use crate::cluster::{Cluster, TABLES};

/// A way in which a part of the cluster changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// One row on every hundredth page of every table.
    Pages,
    /// Every hundredth row of every table by a hash: about half of all pages.
    Rows,
    /// Every twentieth row by a hash: most pages.
    ManyRows,
    /// The newest hundredth of every table.
    Local,
}

impl Change {
    pub(crate) const ALL: [Self; 4] = [Self::Pages, Self::Rows, Self::ManyRows, Self::Local];

    /// Returns the word for it in the names of figures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pages => "pages",
            Self::Rows => "rows",
            Self::ManyRows => "rows_5_percent",
            Self::Local => "local",
        }
    }

    /// Makes the change, other rows in each `round`, and writes it to the files.
    ///
    /// # Panics
    /// If a table did not change: then the benchmark would measure nothing.
    pub(crate) fn make(self, cluster: &Cluster, round: usize) {
        for table in 1..=TABLES {
            let condition = self.condition(table, round);
            let sql = format!(
                "WITH changed AS (UPDATE part_{table} SET amount = amount + 1 WHERE {condition} RETURNING 1)
                 SELECT count(*) FROM changed"
            );
            let rows = cluster.psql(&sql);
            assert!(rows.parse::<u64>().is_ok_and(|rows| rows > 0), "part_{table}: {rows} rows changed");
        }
        cluster.psql("CHECKPOINT");
    }

    fn condition(self, table: usize, round: usize) -> String {
        match self {
            Self::Pages => format!(
                "ctid = ANY (ARRAY(SELECT format('(%s,{row})', page)::tid
                 FROM generate_series({first}, pg_relation_size('part_{table}') / 8192 - 1, 100) page))",
                row = round + 1,
                first = round % 100
            ),
            Self::Rows => format!("hashint8extended(id, {round}) % 100 = 0"),
            Self::ManyRows => format!("hashint8extended(id, {round}) % 20 = 0"),
            Self::Local => format!("id > (SELECT max(id) - count(*) / 100 FROM part_{table})"),
        }
    }
}
