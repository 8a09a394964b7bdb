//! The restore points that are searched.

use std::path::Path;

use super::report::{BisectOptions, BisectPoint};
use crate::ops::physical::find_cluster;
use crate::ops::restore_test::server_programs;
use crate::ops::{Error, Result};
use crate::postgres::PostgresError;
use crate::postgres::throwaway::ThrowawayOptions;
use crate::repository::{CatalogueEntry, Manifest, PhysicalContents, Repository, RepositoryError};

/// How long a replay may take.
const REPLAY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(24 * 3600);

/// The physical backups of a cluster, the oldest first.
#[derive(Debug)]
pub(super) struct Points {
    pub(super) system_identifier: u64,
    pub(super) list: Vec<BisectPoint>,
}

impl Points {
    pub(super) async fn find(repository: &Repository, options: &BisectOptions) -> Result<Self> {
        let catalogue = repository.catalogue().await?;
        let system_of = |entry: &CatalogueEntry| entry.details.as_ref().and_then(|details| details.system_identifier);
        let physical: Vec<&CatalogueEntry> =
            catalogue.entries.iter().filter(|entry| entry.summary.is_physical()).collect();
        let mut systems: Vec<u64> = physical.iter().filter_map(|entry| system_of(entry)).collect();
        systems.sort_unstable();
        systems.dedup();
        let system_identifier = match (options.system_identifier, &systems[..]) {
            (Some(named), known) if known.contains(&named) => named,
            (None, [only]) => *only,
            (None, [_, _, ..]) => {
                let text = format!("the repository has physical backups of several clusters: name one of {systems:?}");
                return Err(PostgresError::InvalidOptions(text).into());
            }
            _ => return Err(RepositoryError::NoBackup("physical backup of the cluster that can be opened").into()),
        };
        let own = physical.into_iter().filter(|entry| system_of(entry) == Some(system_identifier));
        let mut list: Vec<BisectPoint> =
            own.map(|entry| BisectPoint { backup: entry.id().clone(), finished: entry.summary.finished }).collect();
        list.sort_by_key(|point| point.finished);
        Ok(Self { system_identifier, list })
    }

    pub(super) async fn open(&self, repository: &Repository, number: usize) -> Result<(Manifest, PhysicalContents)> {
        find_cluster(repository, &self.list[number].backup).await
    }

    /// Returns the bytes of the largest.
    pub(super) async fn largest(&self, repository: &Repository) -> Result<u64> {
        let mut largest = 0;
        for number in 0..self.list.len() {
            largest = largest.max(self.open(repository, number).await?.1.bytes);
        }
        Ok(largest)
    }

    /// Says how the copy's server is made. A cluster keeps its major version for life.
    pub(super) async fn throwaway(&self, repository: &Repository, options: &BisectOptions) -> Result<ThrowawayOptions> {
        let (manifest, _) = self.open(repository, 0).await?;
        let major = manifest.contents.server.major();
        let folder = server_programs(&options.programs, "postgres", major).await?;
        let throwaway = ThrowawayOptions::new(folder, &options.scratch)
            .environment(options.environment.clone())
            .start_timeout(REPLAY_TIMEOUT);
        let throwaway = no_reading_ahead(major)
            .into_iter()
            .fold(throwaway, |throwaway, (name, value)| throwaway.setting(name, value));
        Ok(match options.run_as {
            Some(account) => throwaway.run_as(account),
            None => throwaway,
        })
    }
}

/// From version 15 on a server reads the log ahead of what it replays, and stops with an error at a gap behind its target.
pub(super) fn no_reading_ahead(major: u32) -> Vec<(String, String)> {
    let off = || vec![("recovery_prefetch".to_owned(), "off".to_owned())];
    if major >= 15 { off() } else { Vec::new() }
}

/// Returns the bytes that an unprivileged account may still write where a folder is, or is to be.
pub(super) fn free_bytes(folder: &Path) -> Result<u64> {
    let folder = std::path::absolute(folder)
        .map_err(|source| Error::Io { action: format!("resolve {}", folder.display()), source })?;
    let there = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
    let found = rustix::fs::statvfs(there).map_err(|error| Error::Io {
        action: format!("ask how much is free at {}", there.display()),
        source: error.into(),
    })?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}
