//! Which databases of a cluster are restored with their contents.

use std::collections::{BTreeMap, BTreeSet};

use crate::ops::Result;
use crate::postgres::PostgresError;
use crate::postgres::physical::RelationFile;
use crate::repository::{ClusterDatabase, PhysicalContents};
use crate::types::BackupId;

/// The first object identifier that a user's object may have: below it lie the databases that every cluster is made with, and any other
/// may be made from these while the log is replayed.
///
/// Source: `FirstNormalObjectId` in PostgreSQL's `access/transam.h`.
const FIRST_OF_USERS: u32 = 16_384;

/// The databases of which nothing but the size of their files is restored.
///
/// Replay finds every file that it writes to. What it writes is whole pages first: since the checkpoint that a backup begins with, the
/// first change to a page is logged with all of it, so that it does not matter what the file held.
#[derive(Debug, Default)]
pub(super) struct EmptyDatabases(BTreeMap<u32, String>);

impl EmptyDatabases {
    /// Finds the databases of a backup beside the `wanted` ones; none, when these are none.
    pub(super) fn beside(wanted: &BTreeSet<String>, id: &BackupId, physical: &PhysicalContents) -> Result<Self> {
        let known = &physical.database_oids;
        if wanted.is_empty() {
            return Ok(Self::default());
        }
        if known.is_empty() {
            let text = format!(
                "{id} does not tell which files are of which database: restore all of it, or take a later backup"
            );
            return Err(PostgresError::InvalidOptions(text).into());
        }
        if let Some(unknown) = wanted.iter().find(|name| !known.iter().any(|known| known.name == **name)) {
            let names: BTreeSet<&str> = known.iter().map(|known| known.name.as_str()).collect();
            let names = Vec::from_iter(names).join(", ");
            let text = format!("the database {unknown}, of {id}, which has {names}");
            return Err(PostgresError::NotInBackup(text).into());
        }
        let is_empty = |known: &&ClusterDatabase| known.oid >= FIRST_OF_USERS && !wanted.contains(&known.name);
        Ok(Self(known.iter().filter(is_empty).map(|known| (known.oid, known.name.clone())).collect()))
    }

    /// Returns their names.
    pub(super) fn names(&self) -> Vec<String> {
        let names: BTreeSet<&String> = self.0.values().collect();
        names.into_iter().cloned().collect()
    }

    /// Returns whether the file at `path` is restored as so many zeros.
    ///
    /// The file with the version is: a server that finds none in it refuses connections to the database. With one, it would look for the
    /// catalogue there, and end all its sessions when it finds none.
    pub(super) fn include(&self, path: &str) -> bool {
        let version = || path.strip_suffix("/PG_VERSION")?.rsplit('/').next()?.parse().ok();
        let database = RelationFile::parse(path).map(|file| file.database()).or_else(version);
        !self.0.is_empty() && database.is_some_and(|database| self.0.contains_key(&database))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_relations_of_other_databases_are_empty() {
        let empty = EmptyDatabases(BTreeMap::from([(16_400, "other".to_owned())]));
        for path in [
            "base/16400/1259",
            "base/16400/16500_vm.2",
            "base/16400/PG_VERSION",
            "pg_tblspc/16390/PG_17_202406281/16400/77",
        ] {
            assert!(empty.include(path), "{path}");
        }
        for path in [
            "PG_VERSION",
            "base/16401/PG_VERSION",
            "base/16400/pg_filenode.map",
            "base/16401/1259",
            "global/1262",
            "pg_xact/0000",
        ] {
            assert!(!empty.include(path), "{path}");
        }
        assert!(!EmptyDatabases::default().include("base/16400/1259"));
    }
}
