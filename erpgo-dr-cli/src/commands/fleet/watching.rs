//! What is known of the clusters of a fleet is asked for again and again, and served.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use erpgo_dr_core::agent::AgentState;
use erpgo_dr_core::monitor::{ClusterFacts, Facts, FleetFacts};
use futures::StreamExt as _;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::super::monitor::{MonitorPlan, Watched};
use super::{AT_ONCE, answered};
use crate::context::Context;
use crate::error::CliError;

/// The time from one look at a cluster to the next.
const EVERY: Duration = Duration::from_secs(300);
/// How often it is looked whose turn it is.
const TICK: Duration = Duration::from_secs(5);

/// A cluster of the fleet.
#[derive(Clone)]
pub(super) struct Member {
    watched: Option<Arc<Watched>>,
    state: Option<watch::Receiver<AgentState>>,
    /// Why it has no agent.
    error: Option<String>,
}

/// The clusters of the fleet. Cloning shares them.
#[derive(Clone, Default)]
pub(super) struct Members(Arc<Mutex<BTreeMap<String, Member>>>);

impl Member {
    pub(super) fn running(watched: Arc<Watched>, state: watch::Receiver<AgentState>) -> Self {
        Self { watched: Some(watched), state: Some(state), error: None }
    }

    pub(super) fn failed(error: String) -> Self {
        Self { watched: None, state: None, error: Some(error) }
    }
}

impl Members {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Member>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn insert(&self, name: String, member: Member) {
        self.all().insert(name, member);
    }

    pub(super) fn remove(&self, name: &str) {
        self.all().remove(name);
    }

    /// Has a cluster asked as its configuration says now.
    pub(super) fn watch(&self, name: &str, watched: Arc<Watched>) {
        if let Some(member) = self.all().get_mut(name) {
            member.watched = Some(watched);
        }
    }

    /// Returns whether a cluster's repository is still the one that it was.
    pub(super) fn is_at(&self, name: &str, watched: &Watched) -> bool {
        let all = self.all();
        let before = all.get(name).and_then(|member| member.watched.as_ref());
        before.is_some_and(|before| before.is_of(watched))
    }
}

/// Asks, and serves where the configuration says, for as long as the future is polled.
pub(super) fn serve(context: &Context, members: Members) -> Result<impl Future<Output = Infallible>, CliError> {
    let plan = MonitorPlan::configured_every(context, EVERY)?;
    Ok(async move {
        let Some(plan) = plan else { return std::future::pending().await };
        let (sender, facts) = watch::channel(Arc::new(FleetFacts::default()));
        tokio::select! {
            never = plan.keep(async |service| service.run_fleet(facts.clone(), std::future::pending()).await) => never,
            never = ask(&members, plan.every(), &sender) => never,
        }
    })
}

/// What was last found of a cluster.
struct Found {
    /// When that was.
    at: Instant,
    /// Who was asked.
    watched: Arc<Watched>,
    facts: Option<Arc<Facts>>,
    error: Option<String>,
}

async fn ask(members: &Members, every: Duration, sender: &watch::Sender<Arc<FleetFacts>>) -> Infallible {
    let mut found = BTreeMap::<String, Found>::new();
    let (places, mut asked) = (Semaphore::new(AT_ONCE), BTreeSet::new());
    let mut asking = FuturesUnordered::<LocalBoxFuture<'_, (String, Arc<Watched>, Result<Facts, String>)>>::new();
    let mut ticks = interval(TICK.min(every));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            Some((name, watched, answer)) = asking.next() => {
                asked.remove(&name);
                let before = found.remove(&name).filter(|found| found.watched.is_of(&watched));
                let (facts, error) = match answer {
                    Ok(facts) => (Some(Arc::new(facts)), None),
                    Err(error) => (before.and_then(|found| found.facts), Some(error)),
                };
                found.insert(name, Found { at: Instant::now(), watched, facts, error });
            }
            // One that does not answer holds up nobody but itself.
            _ = ticks.tick() => {
                let all = members.all().clone();
                found.retain(|name, _| all.contains_key(name));
                for (name, member) in all {
                    let Some(watched) = member.watched else { continue };
                    let is_new = |found: &Found| found.at.elapsed() < every && found.watched.is_of(&watched);
                    if found.get(&name).is_some_and(is_new) || !asked.insert(name.clone()) {
                        continue;
                    }
                    let places = &places;
                    asking.push(Box::pin(async move {
                        let _place = places.acquire().await;
                        let answer = answered(watched.observe()).await;
                        (name, watched, answer)
                    }));
                }
            }
        }
        publish(&members.all(), &mut found, sender);
    }
}

/// Tells what is known, and how the agents stand now.
fn publish(
    all: &BTreeMap<String, Member>,
    found: &mut BTreeMap<String, Found>,
    sender: &watch::Sender<Arc<FleetFacts>>,
) {
    let clusters = all.iter().map(|(name, member)| {
        // What was known of another repository is not this one's.
        let is_its = |found: &&mut Found| member.watched.as_ref().is_none_or(|now| now.is_of(&found.watched));
        let mut known = found.get_mut(name).filter(is_its);
        if let Some(facts) = known.as_mut().and_then(|known| known.facts.as_mut()) {
            match &member.state {
                Some(state) if facts.agent.as_ref() != Some(&*state.borrow()) => {
                    Arc::make_mut(facts).agent = Some(state.borrow().clone());
                }
                None if facts.agent.is_some() => Arc::make_mut(facts).agent = None,
                _ => {}
            }
        }
        let error = member.error.clone().or_else(|| known.as_ref().and_then(|known| known.error.clone()));
        (name.clone(), ClusterFacts::new(known.and_then(|known| known.facts.clone()), error))
    });
    let clusters = clusters.collect();
    sender.send_replace(Arc::new(FleetFacts::new(clusters)));
}
