//! The second half of the demo: a whole cluster as files, its log, and a moment to go back to.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::{DateTime, Utc};
use erpgo_dr_core::Repository;
use erpgo_dr_core::ops::physical::{
    ClusterBackupOptions, ClusterTarget, RecoveryOptions, RecoveryTarget, back_up_cluster, restore_cluster,
};
use erpgo_dr_core::ops::wal::{WalFetchOptions, WalPushOptions, wal_fetch, wal_push};
use erpgo_dr_core::postgres::throwaway::{RunAs, ThrowawayFolder, ThrowawayOptions};
use erpgo_dr_core::postgres::{ConnectionSettings, TableContents, compare_tables};
use erpgo_dr_core::types::{BackupId, WalFileName};

use super::Show;
use super::steps::{DATABASE, Server, Vault, failed, prove, rows};
use crate::error::{self, CliError};
use crate::output::{bytes, seconds};

/// A day's work: orders come in, and are paid.
const WORK: &str = "
    INSERT INTO erp.orders (customer_id, status, placed_at, note)
        SELECT id, 'placed', '2026-02-01Z', 'after the backup' FROM erp.customers WHERE id % 7 = 0;
    UPDATE erp.orders SET status = 'paid' WHERE status = 'placed' AND note = 'after the backup'";

/// The condition was forgotten. Says when it began, and how many rows it hit.
const WRONG_UPDATE: &str = "
    WITH wrong AS (UPDATE erp.customers SET name = 'Mallory', credit = 0 RETURNING id)
    SELECT statement_timestamp(), count(*) FROM wrong";

/// What is known before the cluster is brought back.
pub(super) struct Moment {
    /// Just before the wrong statement.
    at: DateTime<Utc>,
    /// When that began.
    wrong_at: DateTime<Utc>,
    /// What was in the database, but for unlogged tables: they come back empty, as after a crash.
    before: Vec<TableContents>,
    /// What is archived of the log.
    log: Vec<WalFileName>,
}

/// Backs up the files of the whole cluster while its server works.
pub(super) async fn back_up_files(show: &mut Show<'_>, vault: &Vault, server: &Server) -> Result<BackupId, CliError> {
    let step = show.timeline.begin("back up the whole cluster, as files");
    let options = ClusterBackupOptions::default();
    let report = back_up_cluster(&vault.repository, &server.settings, None, &options, show.context.progress()).await?;
    prove(report.is_complete(), || format!("the backup is not complete: {report:?}"))?;
    show.facts.seconds("cluster_backup_seconds", report.backup.backup_seconds);
    show.facts.count("cluster_bytes", report.backup.plaintext_bytes);
    let stored = bytes(report.added_bytes);
    let outcome = format!("{} files stored as {stored}, consistent from {} on", report.files, report.stop_lsn);
    show.timeline.end(&step, Some(report.backup.plaintext_bytes), outcome);
    Ok(report.backup.id)
}

/// Works on, and then makes a mistake. All of it goes into the log, and the log into the repository.
pub(super) async fn make_a_mistake(show: &mut Show<'_>, vault: &Vault, server: &Server) -> Result<Moment, CliError> {
    let step = show.timeline.begin("work goes on; then an UPDATE without its WHERE");
    server.execute(DATABASE, "work on", WORK).await?;
    let before = logged(server).await?;
    let client = server.settings.clone().database(DATABASE).connect().await?;
    let failed = |action| failed(&client, action);
    let at = client.query_one("SELECT clock_timestamp()", &[]).await.map_err(failed("note the moment"))?.get(0);
    let wrong = client.query_one(WRONG_UPDATE, &[]).await.map_err(failed("make the mistake"))?;
    let (wrong_at, hit): (DateTime<Utc>, i64) = (wrong.get(0), wrong.get(1));
    prove(hit > 0, || "the mistake hit no row".to_owned())?;
    let row = client.query_one("SELECT pg_walfile_name(pg_switch_wal()), current_setting('data_directory')", &[]).await;
    let row = row.map_err(failed("end the segment"))?;
    let (last, data): (String, String) = (row.get(0), row.get(1));
    client.close().await;
    let log = archive(&vault.repository, &Path::new(&data).join("pg_wal"), &last).await?;
    show.facts.count("rows_overwritten", hit.unsigned_abs());
    show.facts.count("wal_segments", log.len() as u64);
    show.timeline.end(&step, None, format!("{hit} customers are called Mallory; {} segments archived", log.len()));
    Ok(Moment { at, wrong_at, before, log })
}

/// Fingerprints all tables that are in the log.
async fn logged(server: &Server) -> Result<Vec<TableContents>, CliError> {
    let mut tables = server.driver().fingerprint_database(DATABASE).await?;
    let client = server.settings.clone().database(DATABASE).connect().await?;
    let unlogged = "SELECT relnamespace::regnamespace::text, relname::text FROM pg_class WHERE relpersistence = 'u'";
    let unlogged = client.query(unlogged, &[]).await.map_err(failed(&client, "list unlogged tables"))?;
    client.close().await;
    tables.retain(|table| {
        !unlogged.iter().any(|row| row.get::<_, &str>(0) == table.schema && row.get::<_, &str>(1) == table.name)
    });
    Ok(tables)
}

/// Archives the segments of a server's folder up to `last`, as its `archive_command` would.
async fn archive(repository: &Repository, folder: &Path, last: &str) -> Result<Vec<WalFileName>, CliError> {
    let listed = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let listed = listed.map_err(|source| error::io(format!("list {}", folder.display()), source))?;
    let mut names: Vec<String> = listed.into_iter().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.retain(|name| name.as_str() <= last);
    names.sort();
    let mut archived = Vec::new();
    for name in names {
        let Ok(file @ WalFileName::Segment(_)) = name.parse() else { continue };
        wal_push(repository, &folder.join(&name), &WalPushOptions::default()).await?;
        archived.push(file);
    }
    Ok(archived)
}

/// Restores the cluster to the moment before the mistake, on a server of its own, and compares.
pub(super) async fn go_back(
    show: &mut Show<'_>,
    vault: &Vault,
    server: &Server,
    id: &BackupId,
    moment: &Moment,
) -> Result<(), CliError> {
    let step = show.timeline.begin("restore the cluster to just before that, and compare");
    let begun = Instant::now();
    let catalogue = vault.repository.catalogue().await?;
    let entry = erpgo_dr_core::ops::select(&catalogue, &erpgo_dr_core::ops::BackupSelector::Id(id.clone()))?;
    let system = entry.details.as_ref().and_then(|details| details.system_identifier);
    let mut options = ThrowawayOptions::new(server.programs_folder(), show.stage.path("servers"));
    if let Some(account) = server.account {
        options = options.run_as(account);
    }
    let folder = ThrowawayFolder::create(options).await?;
    let target = ClusterTarget::new(folder.data()).with_owner(folder.account());
    let recovery = RecoveryOptions::default().with_target(RecoveryTarget::Time(moment.at));
    restore_cluster(&vault.repository, id, &target, &recovery, show.context.progress()).await?;
    for name in &moment.log {
        let path = folder.data().join("pg_wal").join(name.to_string());
        fetch(&vault.repository, *name, system, &path, folder.account()).await?;
    }
    let restored = folder.start().await?;
    let connection = restored.connection().clone();
    show.stage.keep_server(restored);
    let took = begun.elapsed().as_secs_f64();
    let settings = ConnectionSettings::new(connection.socket_folder.display().to_string())
        .port(connection.port)
        .user(&connection.user)
        .database("postgres");
    let after = logged(&server.at(settings)).await?;
    compare_tables(&moment.before, &after)?;
    let lost = (moment.wrong_at - moment.at).as_seconds_f64();
    show.facts.seconds("pitr_rto_seconds", took);
    show.facts.seconds("pitr_rpo_seconds", lost);
    show.facts.count("pitr_tables_different", 0);
    let outcome = format!("all {} rows are as they were; RTO {}, RPO {}", rows(&after), seconds(took), seconds(lost));
    show.timeline.end(&step, None, outcome);
    Ok(())
}

/// Fetches a segment, as `restore_command` would.
async fn fetch(
    repository: &Repository,
    name: WalFileName,
    system: Option<u64>,
    path: &PathBuf,
    account: Option<RunAs>,
) -> Result<(), CliError> {
    let options = WalFetchOptions::default().with_system_identifier(system);
    let fetched = wal_fetch(repository, name, path, &options).await?;
    prove(fetched.found, || format!("{name} is not in the archive"))?;
    match account {
        Some(account) => chown(path, Some(account.uid()), Some(account.gid()))
            .map_err(|source| error::io(format!("give away {}", path.display()), source)),
        None => Ok(()),
    }
}
