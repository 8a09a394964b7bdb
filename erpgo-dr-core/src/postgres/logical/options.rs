//! What a dump takes, and what a restore brings back.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::super::{Figure, PostgresError, Scope};

/// A server has other work to do: more connections than this must be asked for.
const MOST_JOBS_UNASKED: usize = 4;

/// Which databases.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DatabaseSelection {
    /// All that can be connected to and are no templates.
    #[default]
    All,
    /// These. One that is not there is an error.
    Named(Vec<String>),
}

/// What a backup takes. By default: roles, tablespaces and all databases, with all that is in them.
#[derive(Debug, Clone)]
pub struct DumpOptions {
    pub(super) databases: DatabaseSelection,
    pub(super) scope: Scope,
    pub(super) globals: bool,
    pub(super) include_tables: Vec<String>,
    pub(super) exclude_tables: Vec<String>,
    pub(super) exclude_table_data: Vec<String>,
    pub(super) include_schemas: Vec<String>,
    pub(super) exclude_schemas: Vec<String>,
    pub(super) lock_timeout: Option<Duration>,
    pub(super) deferrable: bool,
    pub(super) jobs: usize,
    pub(super) segment_bytes: Option<u64>,
    pub(super) figures: Vec<Figure>,
}

impl Default for DumpOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl DumpOptions {
    /// Takes everything. A lock that another session keeps for ten minutes makes the backup fail.
    pub fn new() -> Self {
        Self {
            databases: DatabaseSelection::All,
            scope: Scope::Full,
            globals: true,
            include_tables: Vec::new(),
            exclude_tables: Vec::new(),
            exclude_table_data: Vec::new(),
            include_schemas: Vec::new(),
            exclude_schemas: Vec::new(),
            lock_timeout: Some(Duration::from_secs(600)),
            deferrable: false,
            jobs: 1,
            segment_bytes: None,
            figures: Vec::new(),
        }
    }

    /// Sets the figures that are written down with what is taken, each of its own database.
    pub fn figures(mut self, figures: Vec<Figure>) -> Self {
        self.figures = figures;
        self
    }

    /// Sets which databases.
    pub fn databases(mut self, databases: DatabaseSelection) -> Self {
        self.databases = databases;
        self
    }

    /// Takes one database only.
    pub fn database(self, name: impl Into<String>) -> Self {
        self.databases(DatabaseSelection::Named(vec![name.into()]))
    }

    /// Sets whether definitions, data or both are taken.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Sets whether roles and tablespaces are taken.
    pub fn globals(mut self, globals: bool) -> Self {
        self.globals = globals;
        self
    }

    /// Takes only tables that match one of these patterns of psql. What they depend on is not taken with them.
    pub fn include_tables(mut self, patterns: Vec<String>) -> Self {
        self.include_tables = patterns;
        self
    }

    /// Leaves out tables that match one of these patterns of psql.
    pub fn exclude_tables(mut self, patterns: Vec<String>) -> Self {
        self.exclude_tables = patterns;
        self
    }

    /// Takes tables that match one of these patterns of psql without their rows.
    pub fn exclude_table_data(mut self, patterns: Vec<String>) -> Self {
        self.exclude_table_data = patterns;
        self
    }

    /// Takes only schemas that match one of these patterns of psql. Large objects are then left out.
    pub fn include_schemas(mut self, patterns: Vec<String>) -> Self {
        self.include_schemas = patterns;
        self
    }

    /// Leaves out schemas that match one of these patterns of psql.
    pub fn exclude_schemas(mut self, patterns: Vec<String>) -> Self {
        self.exclude_schemas = patterns;
        self
    }

    /// Sets how long to wait for a table that another session has locked; `None` waits for ever.
    pub fn lock_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// Waits for a moment at which the snapshot is serializable: free of anomalies that no serial order of the
    /// transactions would show. Not possible on a standby.
    pub fn deferrable(mut self, deferrable: bool) -> Self {
        self.deferrable = deferrable;
        self
    }

    /// Sets how many connections read the rows of large tables at the same time, beside that of pg_dump and in its snapshot.
    /// With 1, as by default, pg_dump reads all; 0 means one for each core of this machine, but no more than four.
    ///
    /// The stream is one archive in either case. pg_dump reads alone a server before version 14, a standby that exports no
    /// snapshot, a database in another encoding than UTF-8 or of more than 50,000 relations, and a dump of data alone.
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.jobs = match jobs {
            0 => std::thread::available_parallelism().map_or(1, |cores| cores.get().min(MOST_JOBS_UNASKED)),
            jobs => jobs,
        };
        self
    }

    /// Sets how much of the tables one connection reads before it takes the next, to have several of a small one in a test.
    #[doc(hidden)]
    pub fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = Some(bytes);
        self
    }

    /// Returns whether something must match a pattern: one that matches nothing is then an error.
    pub(super) fn includes_by_pattern(&self) -> bool {
        !self.include_tables.is_empty() || !self.include_schemas.is_empty()
    }

    /// Returns whether all data of a database is taken.
    pub(super) fn is_whole(&self) -> bool {
        self.scope != Scope::Schema && self.filter_arguments().is_empty()
    }

    /// Returns pg_dump's arguments for the filters.
    pub(super) fn filter_arguments(&self) -> Vec<String> {
        let filters = [
            ("--table", &self.include_tables),
            ("--exclude-table", &self.exclude_tables),
            ("--exclude-table-data", &self.exclude_table_data),
            ("--schema", &self.include_schemas),
            ("--exclude-schema", &self.exclude_schemas),
        ];
        filters
            .into_iter()
            .flat_map(|(option, patterns)| patterns.iter().map(move |pattern| format!("{option}={pattern}")))
            .collect()
    }
}

/// The name of a table with its schema.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName {
    /// Its schema.
    pub schema: String,
    /// Its own name.
    pub name: String,
}

impl TableName {
    /// Names a table.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// What a restore brings back, and where to.
///
/// By default all databases of the backup come back under their own names, and are made if they are not there;
/// a database that is there must be empty. The first error ends the restore.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    pub(super) databases: Option<Vec<String>>,
    pub(super) rename: BTreeMap<String, String>,
    pub(super) target: Option<String>,
    pub(super) create: bool,
    pub(super) clean: bool,
    pub(super) allow_non_empty: bool,
    pub(super) terminate_sessions: bool,
    pub(super) no_owner: bool,
    pub(super) no_privileges: bool,
    pub(super) no_tablespaces: bool,
    pub(super) restore_globals: bool,
    pub(super) overwrite_globals: bool,
    pub(super) jobs: usize,
    pub(super) tables: Vec<TableName>,
    pub(super) schemas: Vec<String>,
    pub(super) single_transaction: bool,
    pub(super) scope: Scope,
    pub(super) exit_on_error: bool,
    pub(super) disable_triggers: bool,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl RestoreOptions {
    /// Brings everything back but the roles, with one job.
    pub fn new() -> Self {
        Self {
            databases: None,
            rename: BTreeMap::new(),
            target: None,
            create: true,
            clean: false,
            allow_non_empty: false,
            terminate_sessions: false,
            no_owner: false,
            no_privileges: false,
            no_tablespaces: false,
            restore_globals: false,
            overwrite_globals: false,
            jobs: 1,
            tables: Vec::new(),
            schemas: Vec::new(),
            single_transaction: false,
            scope: Scope::Full,
            exit_on_error: true,
            disable_triggers: false,
        }
    }

    /// Brings back only these databases, by their names in the backup.
    pub fn databases(mut self, databases: Vec<String>) -> Self {
        self.databases = Some(databases);
        self
    }

    /// Brings the database `from` back under the name `to`.
    pub fn rename(mut self, from: impl Into<String>, to: impl Into<String>) -> Self {
        self.rename.insert(from.into(), to.into());
        self
    }

    /// Brings the one database that is restored back under this name.
    pub fn target(mut self, name: impl Into<String>) -> Self {
        self.target = Some(name.into());
        self
    }

    /// Sets whether a database that is not there is made. It is dropped again if its restore fails.
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Sets whether objects of the backup are dropped from the target before they are made anew.
    /// What else is in the target stays.
    ///
    /// In one transaction pg_restore drops them itself, and fails on partitions that have keys.
    pub fn clean(mut self, clean: bool) -> Self {
        self.clean = clean;
        self
    }

    /// Sets whether the target may hold something already.
    pub fn allow_non_empty(mut self, allow: bool) -> Self {
        self.allow_non_empty = allow;
        self
    }

    /// Sets whether other sessions on the target database are ended before the restore.
    pub fn terminate_sessions(mut self, terminate: bool) -> Self {
        self.terminate_sessions = terminate;
        self
    }

    /// Sets whether everything belongs to the role that restores, whoever owned it.
    pub fn no_owner(mut self, no_owner: bool) -> Self {
        self.no_owner = no_owner;
        self
    }

    /// Sets whether grants are left out.
    pub fn no_privileges(mut self, no_privileges: bool) -> Self {
        self.no_privileges = no_privileges;
        self
    }

    /// Sets whether everything goes to the default tablespace.
    pub fn no_tablespaces(mut self, no_tablespaces: bool) -> Self {
        self.no_tablespaces = no_tablespaces;
        self
    }

    /// Sets whether roles and tablespaces are restored first. Those that exist stay as they are, unless
    /// [`overwrite_globals`](Self::overwrite_globals) says otherwise.
    pub fn restore_globals(mut self, restore: bool) -> Self {
        self.restore_globals = restore;
        self
    }

    /// Sets whether roles and tablespaces that exist take on what the backup says of them: attributes, passwords, settings and
    /// memberships. The role that restores never does: with another password or fewer rights it could not go on.
    pub fn overwrite_globals(mut self, overwrite: bool) -> Self {
        self.overwrite_globals = overwrite;
        self
    }

    /// Sets how many processes load data and build indexes at the same time.
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.jobs = jobs.max(1);
        self
    }

    /// Brings back only these tables, with their rows, indexes, constraints, triggers and sequences. Where the
    /// database is made for them, the types, functions and schemas that they need come with them.
    pub fn tables(mut self, tables: Vec<TableName>) -> Self {
        self.tables = tables;
        self
    }

    /// Brings back only what is in these schemas.
    pub fn schemas(mut self, schemas: Vec<String>) -> Self {
        self.schemas = schemas;
        self
    }

    /// Sets whether each database is restored in one transaction: wholly or not at all. Needs one job.
    pub fn single_transaction(mut self, single: bool) -> Self {
        self.single_transaction = single;
        self
    }

    /// Sets whether definitions, data or both are restored.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    /// Sets whether the first error ends the restore. If not, errors become warnings of the outcome.
    pub fn exit_on_error(mut self, exit: bool) -> Self {
        self.exit_on_error = exit;
        self
    }

    /// Sets whether triggers, and with them foreign keys, are off while data goes into tables that are there
    /// already. Only a superuser may; without it, tables that refer to each other in a circle cannot be filled.
    pub fn disable_triggers(mut self, disable: bool) -> Self {
        self.disable_triggers = disable;
        self
    }

    /// Returns whether triggers are off during the load.
    pub(super) fn disables_triggers(&self) -> bool {
        self.disable_triggers && self.scope == Scope::Data
    }

    /// Returns whether only some tables or schemas are wanted.
    pub(super) fn is_subset(&self) -> bool {
        !self.tables.is_empty() || !self.schemas.is_empty()
    }

    /// Refuses options that exclude each other.
    pub(super) fn validate(&self) -> Result<(), PostgresError> {
        let refuse = |text: &str| Err(PostgresError::InvalidOptions(text.to_owned()));
        if self.single_transaction && self.jobs > 1 {
            return refuse("one transaction cannot be restored by several jobs");
        }
        if self.single_transaction && !self.exit_on_error {
            return refuse("one transaction ends with its first error");
        }
        if self.clean && self.scope == Scope::Data {
            return refuse("a restore of data only drops nothing: `clean` does not go with it");
        }
        if self.target.is_some() && !self.rename.is_empty() {
            return refuse("give the target's name or a map of names, not both");
        }
        Ok(())
    }
}
