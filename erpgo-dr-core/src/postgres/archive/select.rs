//! Chooses the entries and blocks of single tables and schemas.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::ops::Range;

use super::head::{ArchiveHead, TocEntry};
use crate::postgres::{PostgresError, TableContents, TableName};

/// What of an archive restores some tables or schemas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Selection {
    /// The entries, in the order in which they are to be restored.
    pub entries: Vec<TocEntry>,
    /// The blocks with their data, in the order of the archive.
    pub blocks: Vec<DataBlock>,
    /// What the entries depend on, and what that depends on, but which was not asked for: types, functions,
    /// sequences of others, the tables of a view. An existing target has it in most cases; a new database needs
    /// it before the entries. In the order in which it is to be restored, without schemas.
    pub requires: Vec<TocEntry>,
    /// The schemas that `entries` and `requires` lie in, as far as the archive creates them.
    pub schemas: Vec<SchemaEntries>,
    /// Numbers of those among the entries that are foreign keys to tables that were not chosen. A new database
    /// cannot have them.
    pub outward_foreign_keys: Vec<i32>,
}

/// A schema, and the entries that make it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SchemaEntries {
    /// The schema.
    pub name: String,
    /// Its own entry, its comment and its privileges.
    pub entries: Vec<TocEntry>,
}

/// Where the data of an entry lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataBlock {
    /// The entry.
    pub dump_id: i32,
    /// The bytes of its block in the archive.
    pub range: Range<u64>,
    /// Where within it rows may be parted from rows.
    pub cuts: Vec<u64>,
}

impl From<&TableContents> for DataBlock {
    fn from(table: &TableContents) -> Self {
        let range = table.offset..table.offset.saturating_add(table.length);
        Self { dump_id: table.dump_id, range, cuts: table.cuts.clone() }
    }
}

/// Writes a list for `pg_restore --use-list`, which then restores these entries, in this order.
pub fn use_list<'a>(entries: impl IntoIterator<Item = &'a TocEntry>) -> String {
    let mut list = String::new();
    for entry in entries {
        // pg_restore reads the number only: the rest, behind the semicolon, is for people.
        let schema = if entry.namespace.is_empty() { "-" } else { &entry.namespace };
        let text = format!(
            "{}; {} {} {} {schema} {} {}",
            entry.dump_id, entry.table_oid, entry.oid, entry.description, entry.tag, entry.owner
        );
        let line = text.replace(['\n', '\r'], " ");
        writeln!(list, "{line}").expect("a string takes all that is written to it");
    }
    list
}

impl ArchiveHead {
    /// Chooses all that belongs to `tables` and `schemas`; `blocks` are the archive's blocks of data.
    ///
    /// - A schema is everything in it, as with `pg_restore --schema`, but not that it is published.
    /// - A table (view, materialized view, foreign table, sequence) is itself and its data, its partitions,
    ///   the sequences that its columns own and where they stand, defaults, indexes, constraints with its own
    ///   foreign keys, triggers, rules, policies, extended statistics, comments, security labels and
    ///   privileges. `pg_restore --table` would restore the first two only.
    /// - Not chosen are foreign keys of other tables to it, views of it, and publications of it.
    ///
    /// # Errors
    /// [`PostgresError::NotInBackup`] names the first table or schema that is not there.
    pub fn select(
        &self,
        blocks: &[TableContents],
        tables: &[TableName],
        schemas: &[String],
    ) -> Result<Selection, PostgresError> {
        let mut chooser = Chooser::new(self);
        for schema in schemas {
            chooser.choose_schema(schema)?;
        }
        for table in tables {
            chooser.choose_table(table)?;
        }
        chooser.choose_parts();
        Ok(chooser.selection(blocks, schemas))
    }
}

struct Chooser<'a> {
    head: &'a ArchiveHead,
    by_id: HashMap<i32, &'a TocEntry>,
    chosen: HashSet<i32>,
}

impl<'a> Chooser<'a> {
    fn new(head: &'a ArchiveHead) -> Self {
        let by_id = head.entries.iter().map(|entry| (entry.dump_id, entry)).collect();
        Self { head, by_id, chosen: HashSet::new() }
    }

    fn choose_schema(&mut self, schema: &str) -> Result<(), PostgresError> {
        let within = |entry: &&TocEntry| entry.namespace == schema && !entry.description.starts_with("PUBLICATION");
        let found: Vec<i32> = self.head.entries.iter().filter(within).map(|entry| entry.dump_id).collect();
        let created = self.head.entries.iter().any(|entry| is_schema(entry, schema));
        if found.is_empty() && !created {
            return Err(PostgresError::NotInBackup(format!("schema {schema:?}")));
        }
        self.chosen.extend(found);
        Ok(())
    }

    fn choose_table(&mut self, table: &TableName) -> Result<(), PostgresError> {
        let named = |entry: &&TocEntry| {
            (is_relation(entry) || is_relation_data(entry))
                && entry.tag == table.name
                && entry.namespace == table.schema
        };
        let found: Vec<i32> = self.head.entries.iter().filter(named).map(|entry| entry.dump_id).collect();
        if found.is_empty() {
            return Err(PostgresError::NotInBackup(format!("table {table}")));
        }
        self.chosen.extend(found);
        Ok(())
    }

    /// Adds what belongs to the chosen ones, until there is no more.
    fn choose_parts(&mut self) {
        loop {
            let before = self.chosen.len();
            for entry in &self.head.entries {
                if entry.description == "TABLE ATTACH" {
                    self.choose_partition(entry);
                } else if !self.chosen.contains(&entry.dump_id) && self.belongs(entry) {
                    self.chosen.insert(entry.dump_id);
                }
            }
            if self.chosen.len() == before {
                return;
            }
        }
    }

    /// A partition belongs to its table, not the table to its partition.
    fn choose_partition(&mut self, attach: &TocEntry) {
        let is_child = |entry: &&TocEntry| entry.tag == attach.tag && entry.namespace == attach.namespace;
        let Some(child) = self.dependencies(attach).find(is_child).map(|child| child.dump_id) else { return };
        let is_chosen_parent =
            |entry: &TocEntry| entry.dump_id != child && is_relation(entry) && self.chosen.contains(&entry.dump_id);
        if self.dependencies(attach).any(is_chosen_parent) {
            self.chosen.extend([child, attach.dump_id]);
        }
    }

    /// Whether `entry` is a part of something chosen.
    fn belongs(&self, entry: &TocEntry) -> bool {
        let chosen = |other: &TocEntry| self.chosen.contains(&other.dump_id);
        match entry.description.as_str() {
            "TABLE DATA" | "MATERIALIZED VIEW DATA" | "SEQUENCE SET" | "ROW SECURITY" => self
                .dependencies(entry)
                .any(|other| chosen(other) && other.tag == entry.tag && other.namespace == entry.namespace),
            "CONSTRAINT" | "CHECK CONSTRAINT" | "FK CONSTRAINT" | "TRIGGER" | "RULE" | "POLICY" | "DEFAULT" => {
                self.table_in_tag(entry).is_some_and(chosen)
            }
            "SEQUENCE" => self.dependencies(entry).any(|other| other.description == "TABLE" && chosen(other)),
            "INDEX" | "STATISTICS" | "STATISTICS DATA" | "SEQUENCE OWNED BY" | "COMMENT" | "SECURITY LABEL" | "ACL" => {
                let mut relations = self.dependencies(entry).filter(|other| is_relation(other));
                relations.all(chosen) && self.dependencies(entry).any(chosen)
            }
            "INDEX ATTACH" => self.dependencies(entry).all(chosen) && !entry.dependencies.is_empty(),
            _ => false,
        }
    }

    /// Finds the table that a tag such as `orders orders_customer_fkey` begins with. Names may have spaces in
    /// them, so that the longest of the candidates is meant.
    fn table_in_tag(&self, entry: &TocEntry) -> Option<&'a TocEntry> {
        let named = |other: &&TocEntry| {
            let rest = entry.tag.strip_prefix(&other.tag);
            is_relation(other) && other.namespace == entry.namespace && rest.is_some_and(|rest| rest.starts_with(' '))
        };
        self.dependencies(entry).filter(named).max_by_key(|other| other.tag.len())
    }

    fn dependencies(&self, entry: &TocEntry) -> impl Iterator<Item = &'a TocEntry> {
        entry.dependencies.iter().filter_map(|id| self.by_id.get(id).copied())
    }

    fn selection(&self, blocks: &[TableContents], schemas: &[String]) -> Selection {
        let is_chosen = |id: i32| self.chosen.contains(&id);
        let entries: Vec<TocEntry> =
            self.head.entries.iter().filter(|entry| is_chosen(entry.dump_id)).cloned().collect();
        let mut blocks: Vec<DataBlock> =
            blocks.iter().filter(|block| is_chosen(block.dump_id)).map(DataBlock::from).collect();
        blocks.sort_by_key(|block| block.range.start);

        let required = self.requirements();
        let (schemas_needed, requires): (Vec<&TocEntry>, Vec<&TocEntry>) = self
            .head
            .entries
            .iter()
            .filter(|entry| required.contains(&entry.dump_id))
            .partition(|entry| entry.description == "SCHEMA");
        let mut names: BTreeSet<&str> = schemas.iter().map(String::as_str).collect();
        names.extend(schemas_needed.iter().map(|entry| entry.tag.as_str()));
        names.extend(entries.iter().chain(requires.iter().copied()).map(|entry| entry.namespace.as_str()));
        Selection {
            blocks,
            requires: requires.into_iter().cloned().collect(),
            schemas: names.into_iter().filter_map(|name| self.schema_entries(name)).collect(),
            outward_foreign_keys: entries.iter().filter(|e| self.refers_outward(e)).map(|e| e.dump_id).collect(),
            entries,
        }
    }

    /// Follows the dependencies of the chosen entries, but not those of foreign keys.
    fn requirements(&self) -> HashSet<i32> {
        let mut required = HashSet::new();
        let mut open: Vec<&TocEntry> = self.chosen.iter().filter_map(|id| self.by_id.get(id).copied()).collect();
        while let Some(entry) = open.pop() {
            if entry.description == "FK CONSTRAINT" {
                continue;
            }
            for other in self.dependencies(entry) {
                if !self.chosen.contains(&other.dump_id) && required.insert(other.dump_id) {
                    open.push(other);
                }
            }
        }
        required
    }

    fn refers_outward(&self, entry: &TocEntry) -> bool {
        entry.description == "FK CONSTRAINT"
            && self.dependencies(entry).any(|other| !self.chosen.contains(&other.dump_id))
    }

    fn schema_entries(&self, name: &str) -> Option<SchemaEntries> {
        let schema = self.head.entries.iter().find(|entry| is_schema(entry, name))?;
        let is_part = |entry: &&TocEntry| {
            entry.dump_id == schema.dump_id
                || (matches!(entry.description.as_str(), "ACL" | "COMMENT" | "SECURITY LABEL")
                    && entry.dependencies.contains(&schema.dump_id))
        };
        let entries = self.head.entries.iter().filter(is_part).cloned().collect();
        Some(SchemaEntries { name: name.to_owned(), entries })
    }
}

fn is_schema(entry: &TocEntry, name: &str) -> bool {
    entry.description == "SCHEMA" && entry.tag == name
}

fn is_relation(entry: &TocEntry) -> bool {
    matches!(entry.description.as_str(), "TABLE" | "FOREIGN TABLE" | "VIEW" | "MATERIALIZED VIEW" | "SEQUENCE")
}

fn is_relation_data(entry: &TocEntry) -> bool {
    matches!(entry.description.as_str(), "TABLE DATA" | "MATERIALIZED VIEW DATA" | "SEQUENCE SET")
}
