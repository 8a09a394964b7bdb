//! The steps of the demo, in the order of the story.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use erpgo_dr_core::crypto::keys::{Identities, Recipient, SlotName, Unlocker, Wrapper, generate_identity};
use erpgo_dr_core::ops::{self, BackupOptions, PruneOptions, RestoreTestOptions, VerifyOptions};
use erpgo_dr_core::postgres::throwaway::{RunAs, ThrowawayOptions, ThrowawayServer};
use erpgo_dr_core::postgres::{
    Client, ClientPrograms, ConnectionSettings, DumpOptions, LogicalDriver, PostgresError, RestoreOptions,
    TableContents, compare_tables,
};
use erpgo_dr_core::repository::{Environment, InitOptions, Verdict, VerifyLevel};
use erpgo_dr_core::retention::RetentionSettings;
use erpgo_dr_core::storage::{
    self, RepairOptions, ReplicatedStorage, Storage, StorageAddress, StorageOptions, WritePolicy,
};
use erpgo_dr_core::types::BackupId;
use erpgo_dr_core::{DatabaseDriver, Repository};

use super::Show;
use super::weed::{self, Weed};
use crate::config::ConfigError;
use crate::error::{self, CliError};
use crate::output::{bytes, ratio, seconds};

pub(super) const DATABASE: &str = "erp";
const SCHEMA: &str = include_str!("schema.sql");
const FILL: &str = include_str!("fill.sql");

/// A table goes, and rows of others are wrong.
const DISASTER: &str = "
    DROP TABLE erp.order_items CASCADE;
    UPDATE erp.customers SET name = 'Mallory', credit = 0 WHERE id % 3 = 0;
    DELETE FROM audit.log WHERE at >= '2025-04-01Z' AND at < '2025-05-01Z';
    SELECT lo_unlink(scan) FROM erp.documents WHERE id % 2 = 0";

/// The server of the story, and how it is reached.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) settings: ConnectionSettings,
    programs: ClientPrograms,
    programs_folder: PathBuf,
    pub(super) account: Option<RunAs>,
}

/// The two places of the repository.
#[derive(Debug)]
pub(super) struct Places {
    local: Arc<dyn Storage>,
    folder: PathBuf,
    both: ReplicatedStorage,
}

/// The repository, and what opens it.
#[derive(Debug)]
pub(super) struct Vault {
    pub(super) repository: Repository,
    unlocker: Unlocker,
    environment: Environment,
}

/// Makes a cluster and starts its server.
pub(super) async fn start_server(show: &mut Show<'_>) -> Result<Server, CliError> {
    let step = show.timeline.begin("start a throwaway PostgreSQL");
    let programs = show.context.programs();
    let initdb = newest(&programs).await?;
    let account = show.options.run_as.as_deref().map(RunAs::from_user_name).transpose()?;
    let programs_folder = initdb.parent().unwrap_or(&initdb).to_owned();
    // Enough of a log to recover with.
    let options = ThrowawayOptions::new(&programs_folder, show.stage.path("servers"));
    let mut options = options.setting("wal_level", "replica");
    if let Some(account) = account {
        options = options.run_as(account);
    }
    let throwaway = ThrowawayServer::start(options).await?;
    let connection = throwaway.connection();
    let settings = ConnectionSettings::new(connection.socket_folder.display().to_string())
        .port(connection.port)
        .user(&connection.user)
        .database("postgres");
    show.stage.keep_server(throwaway);
    let server = Server { settings, programs, programs_folder, account };
    let version = server.driver().probe().await?.version;
    show.timeline.end(&step, None, format!("PostgreSQL {version}"));
    Ok(server)
}

/// Makes the database and fills it. Returns what is in it: rows and checksums of each table.
pub(super) async fn fill(show: &mut Show<'_>, server: &Server) -> Result<Vec<TableContents>, CliError> {
    let step = show.timeline.begin("fill an ERP: customers, orders, items, documents, audit log");
    server.execute("postgres", "make the database", &format!("CREATE DATABASE {DATABASE}")).await?;
    server.execute(DATABASE, "make the schema", SCHEMA).await?;
    let fill = format!("SET erp.scale = '{}'; {FILL}", show.options.scale);
    server.execute(DATABASE, "fill the tables", &fill).await?;
    let size = server.driver().inspector().database_size(DATABASE).await?;
    let tables = server.driver().fingerprint_database(DATABASE).await?;
    show.facts.count("database_bytes", size);
    show.timeline.end(&step, Some(size), format!("{} rows in {} tables", rows(&tables), tables.len()));
    Ok(tables)
}

/// Opens a folder of this machine and a second place: an S3 server, or what was named.
pub(super) async fn open_places(show: &mut Show<'_>) -> Result<Places, CliError> {
    let step = show.timeline.begin("open two places: this disk and a second one");
    let folder = show.stage.path("repository");
    let local = storage::open(&StorageAddress::Local(folder.clone()), &StorageOptions::default())?;
    let second = match &show.options.second_place {
        Some(address) => {
            let address = format!("{}/{}", address.trim_end_matches('/'), show.stage.name());
            let place = show.context.place(&address)?;
            let folder = match address.parse()? {
                StorageAddress::Local(folder) => Some(folder),
                _ => None,
            };
            show.stage.keep_guest(Arc::clone(&place), folder);
            place
        }
        None => start_weed(show).await?,
    };
    let outcome = format!("a folder, and {}", second.location());
    let both = ReplicatedStorage::new(Arc::clone(&local), vec![second], WritePolicy::All);
    show.timeline.end(&step, None, outcome);
    Ok(Places { local, folder, both })
}

async fn start_weed(show: &mut Show<'_>) -> Result<Arc<dyn Storage>, CliError> {
    let program = weed::find(show.options.weed.as_deref())?;
    let weed = Weed::start(&program, show.stage.path("s3")).await?;
    let options = StorageOptions::default().with_s3(weed.options());
    show.stage.keep_weed(weed);
    let address: StorageAddress = format!("s3://{}/erp", weed::BUCKET).parse()?;
    Ok(storage::open(&address, &options)?)
}

/// Makes the repository at both places, to be opened by a key that was drawn for it.
pub(super) async fn make_repository(show: &mut Show<'_>, places: &Places) -> Result<Vault, CliError> {
    let step = show.timeline.begin("make an encrypted repository at both");
    let mut environment = show.context.environment()?;
    environment.cleanups = show.stage.operations();
    let identity = generate_identity();
    let recipient: Recipient = identity.recipient;
    let name = recipient.to_string();
    let slot: SlotName = "operator".parse()?;
    let wrapper = Wrapper::Recipients(vec![recipient]);
    let unlocker = Unlocker::Identities(Identities::parse(identity.secret.into(), None).await?);
    let both: Arc<dyn Storage> = Arc::new(places.both.clone());
    let repository = Repository::init(both, environment.clone(), &InitOptions::default(), &[(slot, wrapper)]).await?;
    show.timeline.end(&step, None, format!("opens with the private key of {}...", name.get(..16).unwrap_or(&name)));
    Ok(Vault { repository, unlocker, environment })
}

/// Takes a backup, which checks every MAC at once.
pub(super) async fn back_up(show: &mut Show<'_>, vault: &Vault, server: &Server) -> Result<BackupId, CliError> {
    let step = show.timeline.begin("back up to both, and check every MAC");
    let options = BackupOptions::default().with_label(Some("demo".to_owned()));
    let report = ops::backup(&vault.repository, &server.driver(), &options, show.context.progress()).await?;
    prove(report.is_complete(), || format!("the backup is not complete: {:?}", report.missed))?;
    let (plain, stored) = (report.plaintext_bytes, report.stored_bytes);
    show.facts.seconds("backup_seconds", report.backup_seconds);
    show.facts.count("plaintext_bytes", plain);
    show.facts.count("stored_bytes", stored);
    let outcome = format!("{} stored as {} ({}), twice", bytes(plain), bytes(stored), ratio(plain, stored));
    show.timeline.end(&step, Some(stored), outcome);
    Ok(report.id)
}

/// Reads the backup to the last row, and compares it with what the dump's snapshot held.
pub(super) async fn verify(show: &mut Show<'_>, vault: &Vault, server: &Server, id: &BackupId) -> Result<(), CliError> {
    let step = show.timeline.begin("verify the contents: every row of the backup");
    let verdict = vault.verdict(show, &vault.repository, server, id, VerifyLevel::Contents).await?;
    prove(verdict.passed, || format!("the backup does not verify: {}", verdict.findings.join("; ")))?;
    show.facts.seconds("verify_seconds", verdict.seconds);
    show.timeline.end(&step, None, "counts and checksums are those of the snapshot".to_owned());
    Ok(())
}

/// Restores into a second server and compares each table: what that took is the RTO one can count on.
pub(super) async fn test_restore(
    show: &mut Show<'_>,
    vault: &Vault,
    server: &Server,
    id: &BackupId,
) -> Result<(), CliError> {
    let step = show.timeline.begin("verify by restoring into a second server");
    let options = RestoreTestOptions::new(server.programs.clone(), show.stage.path("servers"))
        .with_run_as(server.account)
        .with_jobs(2);
    let verdict = ops::restore_test(&vault.repository, id, &options, show.context.progress()).await?;
    prove(verdict.passed, || format!("the restore test failed: {}", verdict.findings.join("; ")))?;
    let catalogue = vault.repository.catalogue().await?;
    let entry = ops::select(&catalogue, &ops::BackupSelector::Id(id.clone()))?;
    let manifest = vault.repository.manifest(&entry.summary).await?;
    let rows: u64 = manifest.contents.databases.iter().map(|database| database.rows()).sum();
    let restored = verdict.restore_seconds.unwrap_or(verdict.seconds);
    show.facts.seconds("restore_test_seconds", restored);
    show.facts.count("rows_compared", rows);
    let outcome = format!("{rows} rows compared; observed RTO {}", seconds(restored));
    show.timeline.end(&step, Some(entry.summary.plaintext_bytes), outcome);
    Ok(())
}

/// Drops a table, and damages others.
pub(super) async fn lose_data(show: &mut Show<'_>, server: &Server, before: &[TableContents]) -> Result<(), CliError> {
    let step = show.timeline.begin("disaster: drop erp.order_items, overwrite and delete rows");
    server.execute(DATABASE, "do the damage", DISASTER).await?;
    let after = server.driver().fingerprint_database(DATABASE).await?;
    prove(compare_tables(before, &after).is_err(), || "the damage did not show".to_owned())?;
    let lost = rows(before).saturating_sub(rows(&after));
    prove(lost > 0, || "no row was lost".to_owned())?;
    show.facts.count("rows_lost", lost);
    show.timeline.end(&step, None, format!("{lost} rows are gone"));
    Ok(())
}

/// Restores over what is left.
pub(super) async fn restore(
    show: &mut Show<'_>,
    vault: &Vault,
    server: &Server,
    id: &BackupId,
) -> Result<(), CliError> {
    let step = show.timeline.begin("restore the database");
    let options =
        RestoreOptions::new().databases(vec![DATABASE.to_owned()]).clean(true).terminate_sessions(true).jobs(2);
    let driver = server.driver().restore_options(options);
    let report = ops::restore(&vault.repository, id, &driver, show.context.progress()).await?;
    show.facts.seconds("restore_seconds", report.seconds);
    show.timeline.end(&step, Some(report.outcome.bytes), format!("from {id}"));
    Ok(())
}

/// Compares the restored database with what it was.
pub(super) async fn compare(show: &mut Show<'_>, server: &Server, before: &[TableContents]) -> Result<(), CliError> {
    let step = show.timeline.begin("compare the database with what it was before");
    let after = server.driver().fingerprint_database(DATABASE).await?;
    compare_tables(before, &after)?;
    show.facts.count("tables_compared", before.len() as u64);
    show.facts.count("tables_different", 0);
    show.timeline.end(&step, None, format!("all {} rows of {} tables are back", rows(&after), before.len()));
    Ok(())
}

/// Flips one bit on this disk, behind the repository's back. Reading this disk alone, verify must find it.
pub(super) async fn damage_a_copy(
    show: &mut Show<'_>,
    places: &Places,
    vault: &Vault,
    server: &Server,
    id: &BackupId,
) -> Result<(), CliError> {
    let step = show.timeline.begin("damage: flip one bit of the backup on this disk");
    let catalogue = vault.repository.catalogue().await?;
    let entry = ops::select(&catalogue, &ops::BackupSelector::Id(id.clone()))?;
    let largest = entry.summary.objects.iter().max_by_key(|object| object.stored_bytes);
    let object = largest.ok_or_else(|| CliError::NotProven("the backup has no objects".to_owned()))?;
    let path = places.folder.join(object.key.to_string());
    flip_a_bit(&path).map_err(|source| error::io(format!("damage {}", path.display()), source))?;
    let verdict = vault.verdict_at(show, places, server, id).await?;
    prove(!verdict.passed, || format!("verify did not find the damage in {}", object.key))?;
    show.facts.count("damage_found", verdict.findings.len() as u64);
    show.timeline.end(&step, None, format!("verify finds it in {}", object.key));
    Ok(())
}

/// Heals this disk from the second place.
pub(super) async fn heal(
    show: &mut Show<'_>,
    places: &Places,
    vault: &Vault,
    server: &Server,
    id: &BackupId,
) -> Result<(), CliError> {
    let step = show.timeline.begin("repair this disk from the second place");
    let options = RepairOptions::default().with_deep(true);
    let progress = show.context.progress();
    let outcome = ops::repair(&vault.repository, &places.both, &options, false, progress).await?;
    prove(outcome.is_healthy(), || format!("the places are not healed: {:?}", outcome.plan))?;
    let healed = outcome.report.as_ref().map_or(0, |report| report.copied);
    prove(healed == 1, || format!("{healed} objects were copied where one was damaged"))?;
    let verdict = vault.verdict_at(show, places, server, id).await?;
    prove(verdict.passed, || format!("this disk still does not verify: {}", verdict.findings.join("; ")))?;
    show.facts.count("objects_healed", healed);
    let copied = outcome.report.as_ref().map(|report| report.bytes);
    show.timeline.end(&step, copied, format!("{healed} object copied back; this disk verifies by itself"));
    Ok(())
}

/// Takes a second backup, and lets a policy say which one goes: first as a plan.
pub(super) async fn prune(show: &mut Show<'_>, vault: &Vault, server: &Server) -> Result<(), CliError> {
    let step = show.timeline.begin("back up again, and prune to the last one: first as a dry run");
    let progress = show.context.progress();
    let second = BackupOptions::default().with_verify(Some(VerifyLevel::Contents));
    let second = ops::backup(&vault.repository, &server.driver(), &second, progress).await?;
    prove(second.is_complete(), || format!("the second backup is not complete: {:?}", second.missed))?;
    let mut rules = RetentionSettings::default();
    (rules.daily, rules.weekly, rules.monthly, rules.last) = (0, 0, 0, Some(1));
    let policy = rules.policy().map_err(|error| ConfigError::Invalid { message: error.to_string() })?;
    let run = async |dry_run| {
        let options = PruneOptions::default().with_dry_run(dry_run);
        ops::prune(&vault.repository, policy.as_ref(), &options, progress).await
    };
    let (plan, done) = (run(true).await?, run(false).await?);
    prove(plan.removed == done.removed, || "prune did something else than its dry run said".to_owned())?;
    let left = vault.repository.catalogue().await?;
    prove(left.find(&second.id).is_some() && left.problems.is_empty(), || "prune broke the catalogue".to_owned())?;
    let freed: u64 = done.removed.iter().map(|pruned| pruned.bytes).sum();
    show.facts.count("backups_pruned", done.removed.len() as u64);
    let (removed, kept) = (done.removed.len(), left.entries.len());
    show.timeline.end(&step, Some(freed), format!("{removed} removed as planned, {kept} kept"));
    Ok(())
}

impl Server {
    /// Returns the folder of its programs.
    pub(super) fn programs_folder(&self) -> &Path {
        &self.programs_folder
    }

    /// Returns another server of the same version.
    pub(super) fn at(&self, settings: ConnectionSettings) -> Self {
        let (programs, programs_folder) = (self.programs.clone(), self.programs_folder.clone());
        Self { settings, programs, programs_folder, account: self.account }
    }

    pub(super) fn driver(&self) -> LogicalDriver {
        let options = DumpOptions::new().database(DATABASE);
        LogicalDriver::new(self.settings.clone(), self.programs.clone()).dump_options(options)
    }

    pub(super) async fn execute(&self, database: &str, action: &str, sql: &str) -> Result<(), CliError> {
        let client = self.settings.clone().database(database).connect().await?;
        let done = client.batch_execute(sql).await;
        let done = done.map_err(failed(&client, action));
        client.close().await;
        Ok(done?)
    }
}

impl Vault {
    /// Verifies at this disk alone: at both, a read would go round the damage.
    async fn verdict_at(
        &self,
        show: &Show<'_>,
        places: &Places,
        server: &Server,
        id: &BackupId,
    ) -> Result<Verdict, CliError> {
        let mut alone = Repository::open(Arc::clone(&places.local), self.environment.clone()).await?;
        alone.unlock(&self.unlocker).await?;
        self.verdict(show, &alone, server, id, VerifyLevel::Mac).await
    }

    async fn verdict(
        &self,
        show: &Show<'_>,
        repository: &Repository,
        server: &Server,
        id: &BackupId,
        level: VerifyLevel,
    ) -> Result<Verdict, CliError> {
        // What is said of one place alone is not written into it.
        let record = level != VerifyLevel::Mac;
        let options = VerifyOptions::default().with_level(level).with_record(record);
        let driver = server.driver();
        let ids = std::slice::from_ref(id);
        let report = ops::verify(repository, ids, Some(&driver), &options, show.context.progress()).await?;
        let verdict = report.verdicts.into_iter().next();
        verdict.ok_or_else(|| CliError::NotProven("verify said nothing".to_owned()))
    }
}

/// Makes the error of a query.
pub(super) fn failed<E>(client: &Client, action: &str) -> impl FnOnce(E) -> PostgresError + use<E>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let (server, action) = (client.server().to_owned(), action.to_owned());
    move |source| PostgresError::Query { server, action, source: Box::new(source) }
}

/// Finds `initdb` of the newest version that this machine has.
async fn newest(programs: &ClientPrograms) -> Result<PathBuf, CliError> {
    const NEWEST: u32 = 30;
    const OLDEST: u32 = 13;
    for major in (OLDEST + 1..=NEWEST).rev() {
        if let Ok(found) = programs.find("initdb", major).await {
            return Ok(found.path);
        }
    }
    Ok(programs.find("initdb", OLDEST).await?.path)
}

pub(super) fn rows(tables: &[TableContents]) -> u64 {
    tables.iter().map(|table| table.rows).sum()
}

fn flip_a_bit(path: &Path) -> std::io::Result<()> {
    let mut data = std::fs::read(path)?;
    let middle = data.len() / 2;
    let byte = data.get_mut(middle).ok_or_else(|| std::io::Error::other("the object is empty"))?;
    *byte ^= 1;
    std::fs::write(path, data)
}

pub(super) fn prove(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), CliError> {
    if holds { Ok(()) } else { Err(CliError::NotProven(otherwise())) }
}
