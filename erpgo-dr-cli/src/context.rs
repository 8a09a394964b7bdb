//! What a command works with: settings from all their sources, and what is made of them.

mod connection;
mod keys;
mod notices;
mod places;
mod prompt;
mod scratch;
mod spool;
mod surroundings;
mod wal_command;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use chrono::TimeDelta;
use erpgo_dr_core::Repository;
use erpgo_dr_core::clock::SystemClock;
use erpgo_dr_core::compute::ComputePool;
use erpgo_dr_core::ops::{self, BackupSelector, select};
use erpgo_dr_core::postgres::ClientPrograms;
use erpgo_dr_core::progress::Progress;
use erpgo_dr_core::repository::{Catalogue, CatalogueEntry, Cleanups, Environment};
use erpgo_dr_core::retention::RetentionSettings;
use erpgo_dr_core::storage::Bandwidth;
use erpgo_dr_core::types::BackupId;

pub(crate) use connection::refuse_password;
pub(crate) use keys::{NewKey, first_line};
pub(crate) use places::Places;
pub(crate) use prompt::Prompts;
pub(crate) use spool::SpooledRepository;
pub(crate) use wal_command::WalCommand;

use crate::cli::GlobalOptions;
use crate::config::{self, BandwidthConfig, Config, ConfigError, EnvFile};
use crate::error::{self, CliError};
use crate::output::Output;
use crate::progress::ProgressDisplay;
use crate::signals::Stop;

/// How far a repository must be open for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Keys are used where they are at hand, and nobody is asked for one.
    KeysIfAtHand,
    /// Everything must be readable.
    Unlocked,
    /// New backups must be possible: with a key, or with public keys alone.
    Writing,
}

/// Settings from all their sources. A command takes from here what it needs.
#[derive(Debug)]
pub(crate) struct Context {
    /// Where and how to print.
    pub(crate) output: Output,
    /// The options of the command line and the environment.
    pub(crate) global: GlobalOptions,
    /// The configuration file.
    pub(crate) config: Config,
    /// The `.env.production` file.
    pub(crate) env_file: EnvFile,
    /// What is wrong with these two files. Only what looks for faults may go on without what they say.
    pub(crate) faults: Vec<ConfigError>,
    /// Questions to the operator.
    pub(crate) prompts: Prompts,
    /// What cancelled operations leave to be done.
    pub(crate) cleanups: Cleanups,
    /// What all places of the repository share, where the configuration limits it; of a cluster of a fleet also what that shares.
    pub(crate) bandwidths: Vec<Bandwidth>,
    /// What all clusters of a fleet share, where the configuration limits it.
    fleet_bandwidth: Option<Bandwidth>,
    /// The word to stop, for work that ends by itself.
    pub(crate) stop: Stop,
    progress: ProgressDisplay,
    /// The threads, once they were needed.
    pool: Arc<OnceLock<ComputePool>>,
}

impl Context {
    /// Reads the configuration.
    pub(crate) fn new(global: GlobalOptions, output: Output) -> Self {
        let mut faults = Vec::new();
        let config = or_default(config::load(global.config.as_deref()), &mut faults);
        let named = global.env_file.as_deref().or(config.env_file.as_deref());
        let env_file = or_default(config::load_env_file(named), &mut faults);
        for warning in env_file.warnings() {
            output.warn(&warning);
        }
        let progress = ProgressDisplay::new(output.clone());
        let prompts = Prompts::new(output.clone());
        let limit = |limit: Option<BandwidthConfig>| limit.and_then(|limit| Bandwidth::per_second(limit.bytes()));
        let bandwidths = limit(config.storage.bandwidth).into_iter().collect();
        let fleet_bandwidth = limit(config.fleet.bandwidth);
        Self {
            output,
            global,
            config,
            env_file,
            faults,
            prompts,
            cleanups: Cleanups::default(),
            bandwidths,
            fleet_bandwidth,
            stop: Stop::default(),
            progress,
            pool: Arc::default(),
        }
    }

    /// Reads the configuration anew, for a service that goes on. What this one has begun to clean up is shared.
    pub(crate) fn renewed(&self) -> Result<Self, CliError> {
        self.beside(self.global.clone())
    }

    /// Reads the configuration of one of several clusters. Threads, bandwidth, and what is begun to be cleaned up, are
    /// shared with this one.
    pub(crate) fn of_cluster(&self, file: &Path) -> Result<Self, CliError> {
        self.compute_pool()?;
        let mut cluster = self.beside(GlobalOptions { config: Some(file.to_owned()), ..self.global.clone() })?;
        // Keys of all are for those that name none.
        let keys = &cluster.config.keys;
        if !keys.identities.is_empty() || keys.passphrase_file.is_some() || keys.command.is_some() {
            cluster.global.identity.clear();
            cluster.global.passphrase_file = None;
        }
        cluster.pool = Arc::clone(&self.pool);
        cluster.bandwidths.extend(self.fleet_bandwidth.clone());
        Ok(cluster)
    }

    fn beside(&self, global: GlobalOptions) -> Result<Self, CliError> {
        let mut renewed = Self::new(global, self.output.clone());
        if let Some(fault) = renewed.faults.pop() {
            return Err(fault.into());
        }
        renewed.prompts.ask_nobody();
        renewed.cleanups = self.cleanups.clone();
        Ok(renewed)
    }

    /// Returns how old the newest proven backup may be, by the configuration.
    pub(crate) fn max_age(&self) -> Result<Option<TimeDelta>, CliError> {
        self.config.status.max_age.as_deref().map(parse_age).transpose()
    }

    /// Returns what shows progress.
    pub(crate) fn progress(&self) -> &dyn Progress {
        &self.progress
    }

    /// Returns what shows progress, for work that keeps it.
    pub(crate) fn shared_progress(&self) -> Arc<dyn Progress> {
        Arc::new(ProgressDisplay::new(self.output.clone()))
    }

    /// Returns the threads that compress and encrypt.
    fn compute_pool(&self) -> Result<ComputePool, CliError> {
        if let Some(pool) = self.pool.get() {
            return Ok(pool.clone());
        }
        let threads = self.global.threads.or(self.config.threads).unwrap_or(0);
        let pool = ComputePool::new(threads).map_err(|source| error::io("start the compute threads", source))?;
        Ok(self.pool.get_or_init(|| pool).clone())
    }

    /// Returns the threads, clock and clean-up list for a repository.
    pub(crate) fn environment(&self) -> Result<Environment, CliError> {
        let pool = self.compute_pool()?;
        let mut environment = Environment::new(pool, Arc::new(SystemClock));
        environment.cleanups = self.cleanups.clone();
        Ok(environment)
    }

    /// Opens the repository, as far as a command needs it.
    pub(crate) async fn repository(&self, access: Access) -> Result<Repository, CliError> {
        let places = self.places()?;
        let repository = self.open_at(&places, access).await?;
        if access == Access::Writing {
            self.keep_at_hand(&places).await;
        }
        Ok(repository)
    }

    /// Opens the repository at places that the caller also needs by themselves.
    pub(crate) async fn open_at(&self, places: &Places, access: Access) -> Result<Repository, CliError> {
        let mut repository = Repository::open(Arc::clone(&places.storage), self.environment()?).await?;
        self.unlock(&mut repository, access).await?;
        Ok(repository)
    }

    /// Reads the catalogue, and asks every place what it has of it.
    pub(crate) async fn catalogue_at(&self, places: &Places, repository: &Repository) -> Result<Catalogue, CliError> {
        match &places.replicated {
            Some(replicated) => Ok(ops::catalogue_of_places(repository, replicated).await?),
            None => Ok(repository.catalogue().await?),
        }
    }

    /// Returns where client programs are looked for.
    pub(crate) fn programs(&self) -> ClientPrograms {
        let given = if self.global.bin_dir.is_empty() { &self.config.postgres.bin_dirs } else { &self.global.bin_dir };
        let mut programs = ClientPrograms::new();
        for folder in given {
            programs = programs.folder(folder);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        programs = programs.search_path(std::env::split_paths(&path).collect::<Vec<PathBuf>>());
        match std::env::var_os("LD_LIBRARY_PATH") {
            Some(libraries) => programs.library_path(libraries),
            None => programs,
        }
    }
}

fn or_default<T: Default>(read: Result<T, ConfigError>, faults: &mut Vec<ConfigError>) -> T {
    read.unwrap_or_else(|fault| {
        faults.push(fault);
        T::default()
    })
}

/// Reads how old a backup may be: `8h`, `2d`.
pub(crate) fn parse_age(text: &str) -> Result<TimeDelta, CliError> {
    let parsed = RetentionSettings::parse_duration(text);
    parsed.map_err(|error| ConfigError::Invalid { message: format!("max age: {error}") }.into())
}

/// Reads `latest`, `latest-proven`, or an identifier or a beginning of one that only one backup has.
pub(crate) fn find<'a>(catalogue: &'a Catalogue, text: &str) -> Result<&'a CatalogueEntry, CliError> {
    let selector = match text {
        "latest" => BackupSelector::Latest,
        "latest-proven" => BackupSelector::LatestProven,
        text => match text.parse::<BackupId>() {
            Ok(id) => BackupSelector::Id(id),
            Err(_) => return by_beginning(catalogue, text),
        },
    };
    Ok(select(catalogue, &selector)?)
}

fn by_beginning<'a>(catalogue: &'a Catalogue, text: &str) -> Result<&'a CatalogueEntry, CliError> {
    let named = |entry: &&CatalogueEntry| !text.is_empty() && entry.id().as_str().starts_with(text);
    let mut found = catalogue.entries.iter().filter(named);
    match (found.next(), found.next()) {
        (Some(entry), None) => Ok(entry),
        (Some(_), Some(_)) => Err(CliError::usage(
            format!("several backups begin with {text}"),
            "`erpgo-dr list` shows their whole identifiers",
        )),
        (None, _) => Err(erpgo_dr_core::repository::RepositoryError::NoSuchBackup(text.to_owned()).into()),
    }
}
