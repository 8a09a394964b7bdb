//! The stage: servers made from the newest restore point, a folder, stand-ins, and a repository that is thrown away with all of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::DrillError;
use super::stand_in::{Applications, StandIn};
use crate::crypto::keys::{Wrapper, generate_identity};
use crate::ops::drill::{DrillOptions, RestoredCluster, Scenario, restore_point};
use crate::ops::{self, RestoreTestOptions};
use crate::postgres::throwaway::{NetworkSeal, RehearsalServer, ThrowawayFolder};
use crate::postgres::{ConnectionSettings, PostgresError};
use crate::progress::Progress;
use crate::repository::{CatalogueEntry, InitOptions, Repository};
use crate::storage::{self, StorageAddress, StorageOptions};

/// The names that applications have for the servers.
pub(super) const PRIMARY: &str = "primary";
pub(super) const STANDBY: &str = "standby";

/// The application of every scenario, but for those of two regions.
pub(super) const APPLICATION: &str = "application";
/// The application of the region that is lost, and of the one that takes over.
pub(super) const LOST_REGION: &str = "lost-region";
pub(super) const OTHER_REGION: &str = "other-region";

/// What a drill happens on. Dropping it stops and removes everything, and blocks meanwhile.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) stand_in: StandIn,
    pub(super) applications: Arc<Applications>,
    // The standby first: the other's folder holds the site.
    pub(super) standby: Option<RehearsalServer>,
    pub(super) primary: RehearsalServer,
    /// What keeps programs off the network, where the kernel allows it.
    pub(super) seal: Option<NetworkSeal>,
    /// The folder for everything that is no server.
    pub(super) site: PathBuf,
    /// The database that is worked in.
    pub(super) database: String,
    /// Journals, backups and evidence of the drill.
    pub(super) repository: Arc<Repository>,
}

impl Stage {
    /// Makes everything, and starts the servers.
    pub(super) async fn set(
        repository: &Repository,
        entry: &CatalogueEntry,
        scenario: Scenario,
        options: &DrillOptions,
        progress: &dyn Progress,
    ) -> Result<Self, DrillError> {
        let test = &options.test;
        let restored = restore_point(repository, entry, test, options.archive.as_ref(), progress).await?;
        let RestoredCluster { folder, databases, throwaway } = restored;
        let seal = NetworkSeal::find(&test.programs, folder.account()).await;
        let account = folder.account();
        let has_standby = matches!(scenario, Scenario::DatabaseFailure | Scenario::RegionFailover);
        let primary = RehearsalServer::primary(folder, &test.programs, seal.as_ref(), has_standby).await?;
        primary.start().await?;
        let standby = match has_standby {
            true => {
                let folder = ThrowawayFolder::create(throwaway).await?;
                let standby = RehearsalServer::standby_of(&primary, folder, &test.programs, seal.as_ref()).await?;
                standby.start().await?;
                Some(standby)
            }
            false => None,
        };
        let database = database(scenario, &databases)?;
        let site = primary.folder().join("site");
        make_site(&site, account.map(|account| (account.uid(), account.gid())))?;
        let mut servers = BTreeMap::from([(PRIMARY.to_owned(), primary.settings(&database))]);
        servers.extend(standby.as_ref().map(|standby| (STANDBY.to_owned(), standby.settings(&database))));
        let token = hex::encode(rand::random::<[u8; 16]>());
        let applications = Arc::new(Applications { folder: site.clone(), servers, token });
        let stand_in = StandIn::start(Arc::clone(&applications)).await?;
        let scratch = scratch_repository(&site.join("repository"), repository).await?;
        let stage =
            Self { stand_in, applications, standby, primary, seal, site, database, repository: Arc::new(scratch) };
        stage.begin_work(scenario)?;
        Ok(stage)
    }

    /// Returns how to reach the servers, the primary first.
    pub(super) fn servers(&self) -> impl Iterator<Item = ConnectionSettings> {
        let servers = std::iter::once(&self.primary).chain(&self.standby);
        servers.map(|server| server.settings(&self.database))
    }

    /// Returns the environment of programs: nothing of the caller's.
    pub(super) fn environment(&self, test: &RestoreTestOptions) -> Vec<(OsString, OsString)> {
        let mut environment: Vec<(OsString, OsString)> =
            vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()), ("LC_ALL".into(), "C".into())];
        environment.extend(test.programs.libraries().map(|path| ("LD_LIBRARY_PATH".into(), path.to_owned())));
        environment
    }

    /// Returns a file of the site.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.site.join(name)
    }

    /// Writes a file of the site.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), DrillError> {
        let path = self.file(name);
        std::fs::write(&path, text).map_err(failed("write", &path)).map_err(DrillError::from)
    }

    /// Removes a file of the site.
    pub(super) fn take_away(&self, name: &str) -> Result<(), DrillError> {
        let path = self.file(name);
        std::fs::remove_file(&path).map_err(failed("remove", &path)).map_err(DrillError::from)
    }

    /// Stops and removes everything.
    pub(super) async fn clear(self) -> Result<(), DrillError> {
        let Self { standby, primary, .. } = self;
        if let Some(standby) = standby {
            standby.remove().await?;
        }
        Ok(primary.remove().await?)
    }

    /// Has the applications be up, and work with the primary.
    fn begin_work(&self, scenario: Scenario) -> Result<(), DrillError> {
        let own = |server: &str| format!("POSTGRES_PRIMARY_HOST={server}\n");
        match scenario {
            Scenario::RegionFailover => {
                self.write(&format!("{LOST_REGION}.env"), &own(PRIMARY))?;
                self.write(&format!("{LOST_REGION}.up"), "")?;
                self.write(&format!("{OTHER_REGION}.env"), &own(STANDBY))
            }
            _ => {
                self.write(&format!("{APPLICATION}.env"), &own(PRIMARY))?;
                self.write(&format!("{APPLICATION}.up"), "")
            }
        }
    }
}

/// Chooses the database: that of the administration, and where it is restored from a backup within the drill one of the application.
fn database(scenario: Scenario, databases: &[String]) -> Result<String, DrillError> {
    let is_usual = |name: &&String| *name == "postgres";
    let own = databases.iter().find(|name| !is_usual(name));
    let usual = databases.iter().find(is_usual);
    let chosen = if scenario == Scenario::SecurityBreach { own.or(usual) } else { usual.or(own) };
    let missing = || PostgresError::Throwaway("no database came back that a drill can work in".to_owned());
    Ok(chosen.cloned().ok_or_else(missing)?)
}

fn make_site(site: &Path, owner: Option<(u32, u32)>) -> Result<(), DrillError> {
    std::fs::create_dir(site).map_err(failed("create", site))?;
    let open = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(site, open).map_err(failed("open to its owner", site))?;
    if let Some((user, group)) = owner {
        chown(site, Some(user), Some(group)).map_err(failed("change the owner of", site))?;
    }
    Ok(())
}

/// Makes a repository whose key nobody keeps.
async fn scratch_repository(folder: &Path, like: &Repository) -> Result<Repository, DrillError> {
    std::fs::create_dir(folder).map_err(failed("create", folder))?;
    let storage = storage::open(&StorageAddress::Local(folder.to_owned()), &StorageOptions::default())?;
    let slots =
        [("drill".parse().map_err(ops::Error::from)?, Wrapper::Recipients(vec![generate_identity().recipient]))];
    Ok(Repository::init(storage, like.environment().clone(), &InitOptions::default(), &slots).await?)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> PostgresError {
    let path = path.to_owned();
    move |source| PostgresError::File { path, action, source }
}
