//! `fleet agent`: an agent for each cluster.

use std::num::NonZeroUsize;

use clap::Args;
use erpgo_dr_core::agent::{Fleet, FleetReport, PlannedJob, agent_plan};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::opening::{Opened, Openings};
use super::owners::Owners;
use super::{FolderArgs, clusters, report_of, service};
use crate::context::Context;
use crate::error::{self, CliError};
use crate::output::{Align, Report, Table, moment};

/// Jobs that run at once: the machine that takes the backups has to compress and encrypt them.
const USUAL_JOBS: usize = 2;

/// Do backups, verifications, restore tests and checks of all clusters by schedule, until told to stop
///
/// Each cluster has an agent as `erpgo-dr agent` is, with the jobs of its own file; so many jobs as --jobs says run at once. A cluster whose
/// configuration is wrong or whose repository cannot be reached is tried again every minute, and is no business of the others. SIGHUP reads
/// the folder anew: clusters come and go by it. With `listen` in [monitor] the state of all is served. Ends with 0 when it was told to stop,
/// and with 1 if a job had to be given up for that.
#[derive(Debug, Args)]
pub(super) struct FleetAgentArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// Jobs that run at once, of all clusters together [default: `jobs` in [fleet], else 2]
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Do what is due now, and end: for cron. Ends with 1 if something did not go well
    #[arg(long)]
    once: bool,
    /// Say what would be run when, and run nothing
    #[arg(short = 'n', long, conflicts_with = "once")]
    dry_run: bool,
}

#[derive(Serialize)]
struct Planned {
    clusters: Vec<PlannedCluster>,
}

#[derive(Serialize)]
struct PlannedCluster {
    cluster: String,
    /// Why nothing would be run.
    error: Option<String>,
    jobs: Vec<PlannedJob>,
}

impl FleetAgentArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        // First of all: without anybody who listens for it, SIGHUP ends a process.
        let hangups = signal(SignalKind::hangup()).map_err(|source| error::io("listen for signals", source))?;
        context.prompts.ask_nobody();
        let usual = || NonZeroUsize::new(USUAL_JOBS).unwrap_or(NonZeroUsize::MIN);
        let jobs = self.jobs.or(context.config.fleet.jobs).unwrap_or_else(usual);
        let folder = self.folder.folder(context)?;
        if self.dry_run {
            return plan(context, &folder).await;
        }
        let fleet = Fleet::new(jobs);
        if self.once {
            return once(context, &folder, fleet).await;
        }
        let (ended, ok) = service::serve(context, folder, fleet, hangups).await?;
        report_of(ended, ok)
    }
}

/// Lists what would be run when.
async fn plan(context: &Context, folder: &std::path::Path) -> Result<Report, CliError> {
    let openings = Openings::default();
    let all = clusters::read(context, folder)?.into_iter().map(|(name, cluster)| async {
        let (cluster, opened) = openings.open(name, cluster).await;
        let planned = match opened {
            Ok(Opened { plan, options, .. }) => {
                agent_plan(&plan.repository, &plan.jobs, &options.host).await.map_err(|error| error.to_string())
            }
            Err(error) => Err(error),
        };
        let (jobs, error) = planned.map_or_else(|error| (Vec::new(), Some(error)), |jobs| (jobs, None));
        PlannedCluster { cluster, error, jobs }
    });
    let mut clusters: Vec<PlannedCluster> = all.collect::<FuturesUnordered<_>>().collect().await;
    clusters.sort_by(|one, other| one.cluster.cmp(&other.cluster));
    let mut table = Table::new(["CLUSTER", "JOB", "SCHEDULE", "NEXT"].map(|name| (name, Align::Left)));
    for PlannedCluster { cluster, jobs, .. } in &clusters {
        for job in jobs {
            table.row([
                cluster.clone(),
                job.name.to_string(),
                format!("{} {}", job.schedule, job.time_zone),
                job.next.map_or_else(|| "never".to_owned(), moment),
            ]);
        }
    }
    let failed = clusters.iter().filter_map(|planned| Some((&planned.cluster, planned.error.as_ref()?)));
    let failed: String = failed.map(|(cluster, error)| format!("{cluster}: FAILED {error}\n")).collect();
    let ok = failed.is_empty();
    Report::new(&Planned { clusters }, format!("{}{failed}", table.render()), ok)
}

/// Does what is due of all clusters.
async fn once(context: &Context, folder: &std::path::Path, mut fleet: Fleet) -> Result<Report, CliError> {
    let openings = Openings::default();
    let all = clusters::read(context, folder)?.into_iter().map(|(name, cluster)| openings.open(name, cluster));
    let mut opening = all.collect::<FuturesUnordered<_>>();
    let mut stop = std::pin::pin!(context.stop.requested());
    let mut stopped = false;
    let (mut owners, mut ended) = (Owners::default(), Vec::new());
    while !(opening.is_empty() && fleet.is_empty()) {
        tokio::select! {
            () = stop.as_mut(), if !stopped => {
                stopped = true;
                opening.clear();
                fleet.stop();
            }
            Some((name, opened)) = opening.next() => match opened.and_then(|opened| opened.admitted(&name, &mut owners)) {
                Ok(Opened { plan, options, .. }) => fleet.start_once(&name, plan, options),
                Err(error) => ended.push(FleetReport::failed(name, error)),
            },
            Some(report) = fleet.ended() => ended.push(report),
        }
    }
    let ok = ended.iter().all(FleetReport::is_well) && !stopped;
    report_of(ended, ok)
}
