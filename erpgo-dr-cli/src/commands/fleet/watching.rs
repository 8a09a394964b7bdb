//! What is known of the clusters of a fleet is asked for again and again, and served.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use erpgo_dr_core::agent::AgentState;
use erpgo_dr_core::monitor::{ClusterFacts, Facts, FleetFacts};
use futures::StreamExt as _;
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::monitor::{MonitorPlan, Watched};
use super::{answered, told};
use crate::context::Context;
use crate::error::CliError;

/// The time from one look at a cluster to the next.
const EVERY: Duration = Duration::from_secs(300);
/// How often it is looked whose turn it is.
const TICK: Duration = Duration::from_secs(5);
/// Clusters that are asked at once.
const AT_ONCE: usize = 4;
/// The wait before it is tried again to serve what is known.
const BETWEEN_BINDS: Duration = Duration::from_secs(15);

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
            never = answer(&plan, &facts) => never,
            never = ask(&members, plan.every(), &sender) => never,
        }
    })
}

/// Answers over HTTP. Where that ends or cannot begin, as when the port is taken, it is tried again, and backups go on.
async fn answer(plan: &MonitorPlan, facts: &watch::Receiver<Arc<FleetFacts>>) -> Infallible {
    loop {
        let served = match plan.bind().await {
            Ok(service) => service.run_fleet(facts.clone(), std::future::pending()).await,
            Err(error) => Err(error),
        };
        if let Err(error) = served {
            tracing::error!(error = told(&error), "nothing is served; trying again");
        }
        tokio::time::sleep(BETWEEN_BINDS).await;
    }
}

/// What was last found of a cluster.
struct Found {
    asked: Instant,
    /// Who was asked.
    watched: Arc<Watched>,
    facts: Option<Arc<Facts>>,
    error: Option<String>,
}

async fn ask(members: &Members, every: Duration, sender: &watch::Sender<Arc<FleetFacts>>) -> Infallible {
    let mut found = BTreeMap::<String, Found>::new();
    loop {
        let all = members.all().clone();
        // What was known of another repository is not this one's.
        found.retain(|name, found| {
            all.get(name).is_some_and(|member| member.watched.as_ref().is_none_or(|now| now.is_of(&found.watched)))
        });
        publish(&all, &mut found, sender);
        let is_due = |name: &str| found.get(name).is_none_or(|found| found.asked.elapsed() >= every);
        let due: Vec<_> = all
            .iter()
            .filter(|(name, _)| is_due(name))
            .filter_map(|(name, member)| Some((name.clone(), Arc::clone(member.watched.as_ref()?))))
            .collect();
        let mut answers = futures::stream::iter(due)
            .map(|(name, watched)| async move {
                let answer = answered(watched.observe()).await;
                (name, watched, answer)
            })
            .buffer_unordered(AT_ONCE);
        while let Some((name, watched, answer)) = answers.next().await {
            let asked = Instant::now();
            let before = found.remove(&name).and_then(|found| found.facts);
            let (facts, error) = match answer {
                Ok(facts) => (Some(Arc::new(facts)), None),
                Err(error) => (before, Some(error)),
            };
            found.insert(name, Found { asked, watched, facts, error });
            publish(&members.all().clone(), &mut found, sender);
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Tells what is known, and how the agents stand now.
fn publish(
    all: &BTreeMap<String, Member>,
    found: &mut BTreeMap<String, Found>,
    sender: &watch::Sender<Arc<FleetFacts>>,
) {
    let clusters = all.iter().map(|(name, member)| {
        let mut known = found.get_mut(name);
        let state = member.state.as_ref().map(|state| state.borrow().clone());
        if let Some(facts) = known.as_mut().and_then(|known| known.facts.as_mut())
            && facts.agent != state
        {
            Arc::make_mut(facts).agent = state;
        }
        let error = member.error.clone().or_else(|| known.as_ref().and_then(|known| known.error.clone()));
        (name.clone(), ClusterFacts::new(known.and_then(|known| known.facts.clone()), error))
    });
    let clusters = clusters.collect();
    sender.send_replace(Arc::new(FleetFacts::new(clusters)));
}
