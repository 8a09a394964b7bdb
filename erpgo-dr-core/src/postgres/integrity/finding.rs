//! What a look at a database finds.

use serde::{Deserialize, Serialize};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum IntegrityKind {
    /// amcheck found a page of a table damaged.
    DamagedTable,
    /// amcheck found an index damaged, or it does not have what its table has.
    DamagedIndex,
    /// Rows of a table cannot be read.
    Unreadable,
    /// The server has met pages whose checksum was wrong.
    ChecksumFailures,
    /// An index is not valid: no query uses it, and it refuses no duplicates for certain.
    InvalidIndex,
    /// A constraint that the rows were never checked against.
    NotValidated,
    /// Triggers of a foreign key are off: what breaks it is not refused.
    DisabledForeignKey,
    /// Rows refer to rows that are not there.
    Orphans,
    /// Rows have no value in a column that must have one.
    MissingValues,
    /// Rows break a check constraint.
    BrokenCheck,
    /// A sequence is to give values that its column has already.
    SequenceBehind,
    /// A check of the user's did not pass.
    FailedCheck,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IntegrityFinding {
    /// What kind of thing.
    pub kind: IntegrityKind,
    /// The database; `None` where it is of what all databases share.
    pub database: Option<String>,
    /// The schema.
    pub schema: Option<String>,
    /// The table, index or sequence.
    pub relation: Option<String>,
    /// The constraint, the column that must have a value, or the name of the user's check.
    pub constraint: Option<String>,
    /// How many rows, where rows are what is wrong.
    pub count: Option<u64>,
    /// Up to five of them, by their keys; or what amcheck said.
    pub samples: Vec<String>,
    /// What it means, and what to do.
    pub message: String,
}

/// Something that was not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct NotChecked {
    /// The database.
    pub database: String,
    /// The schema.
    pub schema: Option<String>,
    /// The table, index or sequence.
    pub relation: Option<String>,
    /// What of it.
    pub what: String,
    /// Why not.
    pub reason: String,
}

/// How much was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IntegrityCounts {
    /// Tables whose pages amcheck has read.
    pub tables: u64,
    /// Indexes that amcheck has read.
    pub indexes: u64,
    /// Foreign keys whose rows were looked for.
    pub foreign_keys: u64,
    /// Check constraints that all rows were held against.
    pub check_constraints: u64,
    /// Columns that were searched for missing values.
    pub not_null_columns: u64,
    /// Columns whose values were compared with a sequence.
    pub sequences: u64,
}

impl IntegrityCounts {
    /// Adds those of another database.
    pub(crate) fn add(&mut self, other: Self) {
        self.tables += other.tables;
        self.indexes += other.indexes;
        self.foreign_keys += other.foreign_keys;
        self.check_constraints += other.check_constraints;
        self.not_null_columns += other.not_null_columns;
        self.sequences += other.sequences;
    }
}

impl IntegrityFinding {
    /// A finding of no relation yet.
    pub(crate) fn new(kind: IntegrityKind, database: Option<&str>, message: impl Into<String>) -> Self {
        let (schema, relation, constraint) = (None, None, None);
        let database = database.map(str::to_owned);
        Self { kind, database, schema, relation, constraint, count: None, samples: Vec::new(), message: message.into() }
    }

    /// Sets the relation.
    pub(crate) fn of(mut self, schema: &str, relation: &str) -> Self {
        (self.schema, self.relation) = (Some(schema.to_owned()), Some(relation.to_owned()));
        self
    }

    /// Sets the constraint.
    pub(crate) fn constraint(mut self, name: &str) -> Self {
        self.constraint = Some(name.to_owned());
        self
    }

    /// Sets the rows.
    pub(crate) fn rows(mut self, count: u64, samples: Vec<String>) -> Self {
        (self.count, self.samples) = (Some(count), samples);
        self
    }

    /// Sets what was said of it.
    pub(crate) fn told(mut self, samples: Vec<String>) -> Self {
        self.samples = samples;
        self
    }
}
