//! Runs pg_restore: one for all, or several side by side.

use std::collections::HashSet;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, try_join_all};
use futures::{FutureExt, StreamExt, stream};

use super::super::super::archive::{ArchiveHead, DataBlock, Section, TocEntry, use_list};
use super::super::super::programs::Invocation;
use super::super::super::{ConnectionSettings, DatabaseContents, PostgresError, Scope};
use super::super::pump::{self, SourceStream};
use super::Restore;
use super::memory_file::MemoryFile;
use super::plan::{self, Piece, Slice, Target};
use super::target::State;
use crate::progress::PhaseGuard;

/// What of an archive is restored.
struct Choice {
    head: Bytes,
    /// The entries, in the order of the archive; all of them if `None`.
    entries: Option<Vec<TocEntry>>,
    all: ArchiveHead,
    blocks: Vec<DataBlock>,
}

/// What a pg_restore left behind: bytes that it was fed, and its warnings.
#[derive(Debug, Default)]
struct Loaded {
    bytes: u64,
    warnings: Vec<String>,
}

impl Restore<'_> {
    /// Fills the target.
    pub(super) async fn load(
        &mut self,
        target: &Target<'_>,
        state: &State,
        guard: &PhaseGuard<'_>,
    ) -> Result<(), PostgresError> {
        let options = &self.driver.restore;
        let settings = self.driver.settings.clone().database(&target.name);
        let whole = !options.is_subset() && options.scope != Scope::Schema;
        let drops = options.clean && !options.single_transaction && state.exists;
        let loaded = if options.jobs == 1 && whole && !drops {
            let stream = self.open(target.contents.stream, None).boxed();
            vec![self.feed(self.pg_restore(&settings).arguments(self.scope_arguments()), vec![stream], guard).await?]
        } else {
            let choice = self.choose(target.contents, state, &settings).await?;
            if drops {
                self.drop_present(&choice.head, &choice.all, choice.entries.as_deref(), &settings).await?;
            }
            match options.jobs {
                1 => vec![self.load_choice(target.contents, &choice, &settings, guard).await?],
                _ => self.load_in_parallel(target.contents, &choice, &settings, guard).await?,
            }
        };
        for loaded in loaded {
            self.outcome.bytes += loaded.bytes;
            self.outcome.warnings.extend(loaded.warnings);
        }
        Ok(())
    }

    /// Reads the table of contents, and chooses from it.
    async fn choose(
        &self,
        contents: &DatabaseContents,
        state: &State,
        settings: &ConnectionSettings,
    ) -> Result<Choice, PostgresError> {
        let options = &self.driver.restore;
        let head = self.read_head(contents).await?;
        let all = ArchiveHead::read(&head)?;
        let (entries, blocks) = if options.is_subset() {
            let selection = all.select(&contents.tables, &options.tables, &options.schemas)?;
            let mut chosen: HashSet<i32> = selection.entries.iter().map(|entry| entry.dump_id).collect();
            if state.is_empty {
                let missing = self.missing_schemas(&selection.schemas, settings).await?;
                chosen.extend(missing);
                chosen.extend(selection.requires.iter().map(|entry| entry.dump_id));
                for outward in &selection.outward_foreign_keys {
                    chosen.remove(outward);
                }
            }
            let entries = all.entries.iter().filter(|entry| chosen.contains(&entry.dump_id)).cloned().collect();
            (Some(entries), selection.blocks)
        } else {
            (None, contents.tables.iter().map(DataBlock::from).collect())
        };
        let blocks = if options.scope == Scope::Schema { Vec::new() } else { blocks };
        Ok(Choice { head, entries, all, blocks })
    }

    /// Returns the entries of the schemas that the target does not have.
    async fn missing_schemas(
        &self,
        schemas: &[super::super::super::archive::SchemaEntries],
        settings: &ConnectionSettings,
    ) -> Result<Vec<i32>, PostgresError> {
        let client = settings.connect().await?;
        let rows = client.query("SELECT nspname::text FROM pg_catalog.pg_namespace", &[]).await;
        let rows = rows.map_err(client.query_error("list the schemas"))?;
        client.close().await;
        let present: HashSet<&str> = rows.iter().map(|row| row.get(0)).collect();
        let missing = schemas.iter().filter(|schema| !present.contains(schema.name.as_str()));
        Ok(missing.flat_map(|schema| schema.entries.iter().map(|entry| entry.dump_id)).collect())
    }

    /// Loads a part of an archive by one pg_restore, which is fed the head and the blocks of that part.
    async fn load_choice(
        &self,
        contents: &DatabaseContents,
        choice: &Choice,
        settings: &ConnectionSettings,
        guard: &PhaseGuard<'_>,
    ) -> Result<Loaded, PostgresError> {
        let mut invocation = self.pg_restore(settings).arguments(self.scope_arguments());
        let list = match &choice.entries {
            Some(entries) => Some(MemoryFile::new("erpgo-dr-list", use_list(entries).as_bytes())?),
            None => None,
        };
        if let Some(list) = &list {
            invocation = invocation.argument("--use-list").argument(list.path());
        }
        let slices: Vec<Slice> = choice.blocks.iter().map(Slice::whole).collect();
        self.feed(invocation, self.excerpt(contents.stream, &choice.head, &slices), guard).await
    }

    /// Loads definitions, then data by several processes, then indexes and constraints by several.
    async fn load_in_parallel(
        &self,
        contents: &DatabaseContents,
        choice: &Choice,
        settings: &ConnectionSettings,
        guard: &PhaseGuard<'_>,
    ) -> Result<Vec<Loaded>, PostgresError> {
        let options = &self.driver.restore;
        let toc = MemoryFile::new("erpgo-dr-toc", &choice.head)?;
        let mut loaded = Vec::new();
        if options.scope != Scope::Data {
            loaded.push(self.run_section(&toc, choice, "--section=pre-data", 1, settings, guard).await?);
        }
        if options.scope != Scope::Schema {
            // Since PostgreSQL 17 large objects are made here, before their contents are loaded.
            loaded.push(self.run_remaining_data(&toc, choice, settings, guard).await?);
            let slices = match self.may_part_tables() {
                true => plan::slices(&choice.blocks),
                false => choice.blocks.iter().map(Slice::whole).collect(),
            };
            let shares = plan::share_out(slices, options.jobs);
            let workers =
                shares.into_iter().map(|share| self.load_share(contents.stream, choice, share, settings, guard));
            // The first failure drops the others, and with that kills them.
            loaded.extend(try_join_all(workers).await?);
        }
        if options.scope != Scope::Data {
            loaded.push(self.run_section(&toc, choice, "--section=post-data", options.jobs, settings, guard).await?);
        }
        Ok(loaded)
    }

    /// Whether several processes may load one table. A table that was there before may have triggers, which they would turn off and
    /// on for one another, and may refer to itself, which is checked at the end of each one's rows.
    fn may_part_tables(&self) -> bool {
        self.driver.restore.scope == Scope::Full && self.driver.restore.exit_on_error
    }

    async fn run_section(
        &self,
        toc: &MemoryFile,
        choice: &Choice,
        section: &str,
        jobs: usize,
        settings: &ConnectionSettings,
        guard: &PhaseGuard<'_>,
    ) -> Result<Loaded, PostgresError> {
        let list = match &choice.entries {
            Some(entries) => Some(MemoryFile::new("erpgo-dr-list", use_list(entries).as_bytes())?),
            None => None,
        };
        let mut invocation = self.pg_restore(settings).argument(section);
        if jobs > 1 {
            invocation = invocation.argument(format!("--jobs={jobs}"));
        }
        if let Some(list) = &list {
            invocation = invocation.argument("--use-list").argument(list.path());
        }
        self.feed(invocation.argument(toc.path()), Vec::new(), guard).await
    }

    /// Restores what is data but has no block: where sequences stand, large objects and their privileges.
    async fn run_remaining_data(
        &self,
        toc: &MemoryFile,
        choice: &Choice,
        settings: &ConnectionSettings,
        guard: &PhaseGuard<'_>,
    ) -> Result<Loaded, PostgresError> {
        let entries = choice.entries.as_ref().unwrap_or(&choice.all.entries);
        let wanted: HashSet<i32> = entries.iter().map(|entry| entry.dump_id).collect();
        let data_only = self.driver.restore.scope == Scope::Data;
        let remaining: Vec<&TocEntry> = match data_only {
            // Before PostgreSQL 17 the making of a large object is data, but lies in the section before it.
            true => choice.all.entries.iter().filter(|entry| !entry.has_data).collect(),
            false => data_without_blocks(&choice.all.entries).collect(),
        };
        let list = use_list(remaining.into_iter().filter(|entry| wanted.contains(&entry.dump_id)));
        if list.is_empty() {
            return Ok(Loaded::default());
        }
        let list = MemoryFile::new("erpgo-dr-list", list.as_bytes())?;
        let part = if data_only { "--data-only" } else { "--section=data" };
        let invocation = self.pg_restore(settings).argument(part).argument("--use-list");
        self.feed(invocation.argument(list.path()).argument(toc.path()), Vec::new(), guard).await
    }

    /// Loads the data of some tables, or parts of it.
    async fn load_share(
        &self,
        stream: u32,
        choice: &Choice,
        share: Vec<Slice>,
        settings: &ConnectionSettings,
        guard: &PhaseGuard<'_>,
    ) -> Result<Loaded, PostgresError> {
        let ids: HashSet<i32> = share.iter().map(|slice| slice.dump_id).collect();
        let list = use_list(choice.all.entries.iter().filter(|entry| ids.contains(&entry.dump_id)));
        let list = MemoryFile::new("erpgo-dr-list", list.as_bytes())?;
        let mut invocation = self.pg_restore(settings).argument("--section=data");
        if self.driver.restore.disables_triggers() {
            invocation = invocation.argument("--disable-triggers");
        }
        let invocation = invocation.argument("--use-list").argument(list.path());
        self.feed(invocation, self.excerpt(stream, &choice.head, &share), guard).await
    }

    /// Prepares pg_restore with the options that every one of a restore has.
    fn pg_restore(&self, settings: &ConnectionSettings) -> Invocation {
        let options = &self.driver.restore;
        let flags = [
            (options.exit_on_error, "--exit-on-error"),
            (options.clean && options.single_transaction, "--clean"),
            (options.clean && options.single_transaction, "--if-exists"),
            (options.no_owner, "--no-owner"),
            (options.no_privileges, "--no-privileges"),
            (options.no_tablespaces, "--no-tablespaces"),
            (options.single_transaction, "--single-transaction"),
        ];
        self.driver
            .programs
            .invoke(&self.program.path)
            .connection(settings)
            .arguments(["--format=custom", "--no-password"])
            .argument(format!("--dbname={}", settings.conninfo()))
            .arguments(flags.into_iter().filter(|(given, _)| *given).map(|(_, flag)| flag))
    }

    fn scope_arguments(&self) -> Vec<&'static str> {
        let options = &self.driver.restore;
        match options.scope {
            Scope::Full => Vec::new(),
            Scope::Schema => vec!["--schema-only"],
            Scope::Data if options.disables_triggers() => vec!["--data-only", "--disable-triggers"],
            Scope::Data => vec!["--data-only"],
        }
    }

    async fn feed(
        &self,
        invocation: Invocation,
        streams: Vec<BoxFuture<'_, Result<SourceStream, PostgresError>>>,
        guard: &PhaseGuard<'_>,
    ) -> Result<Loaded, PostgresError> {
        let fed = pump::feed(invocation.spawn(!streams.is_empty())?, streams, guard).await?;
        let stderr = match fed.end {
            Ok(stderr) => stderr,
            Err(PostgresError::Program { stderr, .. })
                if !self.driver.restore.exit_on_error && stderr.contains("errors ignored on restore") =>
            {
                stderr
            }
            Err(error) => return Err(error),
        };
        let is_warning = |line: &&str| line.contains(": warning: ") || line.contains(": error: ");
        Ok(Loaded { bytes: fed.bytes, warnings: stderr.lines().filter(is_warning).map(str::to_owned).collect() })
    }

    /// Opens an archive made of the head and some blocks of a stored one, or of parts of them.
    fn excerpt<'a>(
        &'a self,
        stream: u32,
        head: &Bytes,
        slices: &[Slice],
    ) -> Vec<BoxFuture<'a, Result<SourceStream, PostgresError>>> {
        let open = |piece| match piece {
            Piece::Stored(range) => self.open(stream, Some(range)).boxed(),
            Piece::Made(bytes) => async move { Ok(stream::once(async move { Ok(bytes) }).boxed()) }.boxed(),
        };
        std::iter::once(Piece::Made(head.clone())).chain(plan::pieces(slices)).map(open).collect()
    }

    async fn open(&self, stream: u32, range: Option<Range<u64>>) -> Result<SourceStream, PostgresError> {
        self.source.open(stream, range).await.map_err(PostgresError::Source)
    }

    async fn read_head(&self, contents: &DatabaseContents) -> Result<Bytes, PostgresError> {
        let end = contents.head_length();
        let mut chunks = self.open(contents.stream, end.map(|end| 0..end)).await?;
        let mut head = BytesMut::new();
        while let Some(chunk) = chunks.next().await {
            head.extend_from_slice(&chunk.map_err(PostgresError::Source)?);
        }
        Ok(head.freeze())
    }
}

/// Finds the entries of the data section that have no block.
fn data_without_blocks(entries: &[TocEntry]) -> impl Iterator<Item = &TocEntry> {
    entries.iter().filter(|entry| entry.section == Section::Data && !entry.has_data)
}
