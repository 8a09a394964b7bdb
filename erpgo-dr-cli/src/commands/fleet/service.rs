//! The agents of a fleet as a service: clusters come and go, signals in, states out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use erpgo_dr_core::agent::{AgentRole, Fleet, FleetReport};
use futures::StreamExt as _;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use tokio::signal::unix::Signal;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

use super::super::agent::systemd::{self, Watchdog};
use super::clusters::{self, Cluster};
use super::opening::{Opened, Openings};
use super::owners::Owners;
use super::watching::{self, Member, Members};
use crate::context::Context;
use crate::error::CliError;

/// The wait before a cluster is tried again that could not be opened.
const AGAIN: Duration = Duration::from_secs(60);
/// How often it is looked how the agents stand.
const LOOK: Duration = Duration::from_secs(5);
/// How long the service waits for the first repository to answer before it says that it is ready all the same.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of agents that ended only the newest are told of.
const REMEMBERED: usize = 1000;

type Opening<'o> = LocalBoxFuture<'o, (String, Result<Opened, String>)>;

/// The agents, and what is known of their clusters.
struct Service<'s> {
    context: &'s Context,
    folder: &'s Path,
    openings: &'s Openings,
    opening: FuturesUnordered<Opening<'s>>,
    /// The clusters of the folder, and whether each is being opened.
    known: BTreeMap<String, bool>,
    fleet: Fleet,
    members: Members,
    ended: Vec<FleetReport>,
    /// Whether a job was given up because of the word to stop.
    gave_up: bool,
    owners: Owners,
    /// How long a job may go on when the service is told to stop.
    grace: Duration,
}

/// Runs the agents until the process is told to stop. Returns what became of them, and whether all could end what they did.
pub(super) async fn serve(
    context: &Context,
    folder: PathBuf,
    fleet: Fleet,
    mut hangups: Signal,
) -> Result<(Vec<FleetReport>, bool), CliError> {
    let (openings, members) = (Openings::default(), Members::default());
    // Before anything is begun: wrong files, and an address that others can reach, are for whoever starts it to see.
    let mut watching = std::pin::pin!(watching::serve(context, members.clone())?);
    let mut service = Service {
        context,
        folder: &folder,
        openings: &openings,
        opening: FuturesUnordered::new(),
        known: BTreeMap::new(),
        fleet,
        members,
        ended: Vec::new(),
        gave_up: false,
        owners: Owners::default(),
        grace: Duration::ZERO,
    };
    service.read()?;
    let (mut again, mut look) = (interval_at(Instant::now() + AGAIN, AGAIN), interval(LOOK));
    let mut watchdog = Watchdog::new();
    for ticks in [&mut again, &mut look] {
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    let began = Instant::now();
    let mut stop = std::pin::pin!(context.stop.requested());
    let (mut is_ready, mut is_stopping) = (false, false);
    while !(is_stopping && service.fleet.is_empty()) {
        tokio::select! {
            never = watching.as_mut() => match never {},
            () = stop.as_mut(), if !is_stopping => {
                is_stopping = true;
                systemd::stopping(service.grace);
                service.opening.clear();
                service.fleet.stop();
            }
            Some((name, opened)) = service.opening.next() => service.take(name, opened),
            Some(report) = service.fleet.ended() => service.note_end(report, is_stopping),
            Some(()) = hangups.recv(), if !is_stopping => {
                systemd::reloading();
                is_ready = false;
                if let Err(error) = service.read() {
                    tracing::error!(error = error.in_a_line(), "the folder cannot be read anew: nothing is changed");
                }
            }
            _ = again.tick(), if !is_stopping => service.try_again(),
            _ = look.tick(), if !is_stopping => {
                let summary = service.summary();
                // Clusters that do not answer are no reason to call the others not ready.
                let is_settled = service.opening.is_empty() || service.has_begun() || began.elapsed() > PATIENCE;
                match is_ready || !is_settled {
                    true => systemd::status(&summary),
                    false => {
                        is_ready = true;
                        systemd::ready(&summary);
                    }
                }
            }
            () = watchdog.tick() => systemd::alive(),
        }
    }
    Ok((service.ended, !service.gave_up))
}

impl<'s> Service<'s> {
    /// Reads the folder. Clusters that are no more are told to stop, all others are opened.
    fn read(&mut self) -> Result<(), CliError> {
        let clusters = clusters::read(self.context, self.folder)?;
        // What was read before is of the past.
        self.opening.clear();
        let gone: Vec<String> = self.known.keys().filter(|name| !clusters.contains_key(*name)).cloned().collect();
        for name in gone {
            tracing::info!(cluster = name, "the cluster has left the fleet");
            self.fleet.dismiss(&name);
            self.members.remove(&name);
            self.owners.release(&name);
        }
        self.known.clear();
        for (name, cluster) in clusters {
            self.open(name, cluster);
        }
        Ok(())
    }

    fn open(&mut self, name: String, cluster: Cluster) {
        self.known.insert(name.clone(), true);
        self.opening.push(Box::pin(self.openings.open(name, cluster)));
    }

    /// Tries those again that have no agent.
    fn try_again(&mut self) {
        let is_idle = |(name, is_opening): (&String, &bool)| {
            (!is_opening && self.fleet.control(name).is_none()).then(|| name.clone())
        };
        let idle: BTreeSet<String> = self.known.iter().filter_map(is_idle).collect();
        if idle.is_empty() {
            return;
        }
        // Their files may have been mended.
        match clusters::read(self.context, self.folder) {
            Ok(mut clusters) => {
                clusters.retain(|name, _| idle.contains(name));
                clusters.into_iter().for_each(|(name, cluster)| self.open(name, cluster));
            }
            Err(error) => tracing::warn!(error = error.in_a_line(), "the folder cannot be read"),
        }
    }

    /// Starts the agent of a cluster that was opened, or has the one that it has do what its configuration says now.
    fn take(&mut self, name: String, opened: Result<Opened, String>) {
        self.known.insert(name.clone(), false);
        let opened = opened.and_then(|opened| opened.admitted(&name, &mut self.owners));
        match (self.fleet.control(&name), opened) {
            (Some(control), Ok(opened)) if self.members.is_at(&name, &opened.watched) => {
                control.reload(opened.plan);
                self.members.watch(&name, opened.watched);
            }
            (Some(control), Err(error)) => control.refuse(error),
            (_, Ok(Opened { plan, options, watched })) => {
                self.grace = self.grace.max(options.grace);
                self.fleet.start(&name, plan, options);
                if let Some(state) = self.fleet.state(&name) {
                    self.members.insert(name, Member::running(watched, state.clone()));
                }
            }
            (None, Err(error)) => {
                tracing::error!(cluster = name, error, "the cluster has no agent; trying again in a minute");
                self.members.insert(name, Member::failed(error));
            }
        }
    }

    fn note_end(&mut self, report: FleetReport, is_stopping: bool) {
        let name = &report.cluster;
        if !is_stopping && self.known.contains_key(name) && self.fleet.control(name).is_none() {
            let error = report.error.clone().unwrap_or_else(|| "its agent ended".to_owned());
            tracing::error!(cluster = name, error, "the cluster has no agent any more; trying again in a minute");
            self.members.insert(name.clone(), Member::failed(error));
        }
        self.gave_up |= is_stopping && report.gave_up();
        self.ended.push(report);
        if self.ended.len() > REMEMBERED {
            self.ended.remove(0);
        }
    }

    fn has_begun(&self) -> bool {
        self.fleet.states().any(|(_, state)| state.borrow().role != AgentRole::Starting)
    }

    /// Says in a line what goes on.
    fn summary(&self) -> String {
        let (mut acting, mut alarms, mut running) = (0, 0, Vec::new());
        for (name, state) in self.fleet.states() {
            let state = state.borrow();
            acting += usize::from(state.role == AgentRole::Leader);
            alarms += state.alarms.len();
            let jobs = state.jobs.iter().filter(|job| job.running_since.is_some());
            running.extend(jobs.map(|job| format!("{name}/{}", job.name)));
        }
        let mut text = format!("acting for {acting} of {} clusters", self.known.len());
        if !running.is_empty() {
            text.push_str(&format!("; running {}", running.join(", ")));
        }
        if alarms > 0 {
            text.push_str(&format!("; alarms: {alarms}"));
        }
        text
    }
}
