//! `ha`: what is asked and told of the Patroni that runs the cluster, by the table `[patroni]` of the runbook.

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;

use super::super::error::ActionError;
use super::super::template::Template;
use super::super::values::Value;
use super::{Act, Done, Loss, Nature, Scope, Uses, View};
use crate::topology::ha::{
    ChangeKind, ChangeOptions, ChangePlan, ChangeReport, HaBackend, HaError, PatroniBackend, PatroniSettings,
    carry_out, plan_failover, plan_switchover, reinitialize, set_paused,
};
use crate::types::TimelineId;

/// What is left of a step's time for its end, so that it can say itself what it waited for.
const SPARE: Duration = Duration::from_secs(2);

/// Asks or tells Patroni.
///
/// ```toml
/// ha = { do = "switchover", leader = "{{ leader }}", candidate = "{{ candidate }}" }
/// ```
///
/// A change of the leader is over when the cluster is as it was to be, and then says what was lost. A run that was cut off in it
/// recognizes what has happened since.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "do", deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "kebab-case")]
#[non_exhaustive]
pub enum Ha {
    /// Passes if one leads, all others follow, and none is behind too far. Returns who leads.
    Healthy {
        /// Bytes that a follower may be behind.
        #[serde(default = "max_lag")]
        max_lag: u64,
        /// Whether the cluster may be paused.
        #[serde(default)]
        paused: bool,
    },
    /// Passes if one leads, and says so itself. Returns who leads.
    Leads {},
    /// Passes if the timeline of the cluster is known, and returns it, for a `failover` that may be repeated.
    Timeline {},
    /// Passes if a member could take over from a leader that is lost, and returns it.
    Candidate {
        /// Who is to lead; the most suitable if there is no value for it.
        candidate: Option<Template>,
        /// The timeline that is to be left, if that is known.
        timeline: Option<Template>,
        /// Bytes that it may be behind.
        #[serde(default = "max_lag")]
        max_lag: u64,
    },
    /// Has a leader that is well hand over. Returns who leads then.
    Switchover {
        /// Who leads now.
        leader: Template,
        /// Who is to lead; the most suitable if there is no value for it.
        candidate: Option<Template>,
        /// Bytes that it may be behind.
        #[serde(default = "max_lag")]
        max_lag: u64,
    },
    /// Has a member lead, whatever becomes of the leader. Returns who leads then.
    Failover {
        /// Who led last, if that is known.
        leader: Option<Template>,
        /// Who is to lead; the most suitable if there is no value for it.
        candidate: Option<Template>,
        /// The timeline that is to be left: where somebody leads on a later one, the leader was replaced already.
        timeline: Option<Template>,
        /// Bytes that it may be behind, and that may be lost so.
        #[serde(default = "max_lag")]
        max_lag: u64,
        /// Whether a leader is replaced that is well and answers.
        #[serde(default)]
        even_if_well: bool,
    },
    /// Has Patroni replace nobody by itself.
    Pause {},
    /// Has Patroni replace who is lost by itself again.
    Resume {},
    /// Has the data of a member that follows be made anew.
    Reinitialize {
        /// The member.
        member: Template,
    },
}

/// As Patroni's own `maximum_lag_on_failover`.
fn max_lag() -> u64 {
    1 << 20
}

#[async_trait]
impl Act for Ha {
    fn nature(&self) -> Nature {
        match self {
            Self::Healthy { .. } | Self::Leads {} | Self::Timeline {} | Self::Candidate { .. } => Nature::check(30),
            Self::Switchover { .. } | Self::Failover { .. } => Nature::change(180).repeatable().asking(),
            Self::Pause {} | Self::Resume {} => Nature::change(60).repeatable(),
            Self::Reinitialize { .. } => Nature::change(14_400).repeatable().asking(),
        }
    }

    fn describe(&self, view: &View<'_>) -> String {
        let shown = |text: &Template| text.shown(view.values);
        let to = |candidate: &Option<Template>| match candidate.as_ref().filter(|text| is_set(text, view)) {
            Some(candidate) => shown(candidate),
            None => "the most suitable member".to_owned(),
        };
        match self {
            Self::Healthy { max_lag, paused } => {
                let paused = if *paused { ", perhaps paused" } else { "" };
                format!("see that one leads, and all others follow within {max_lag} bytes{paused}")
            }
            Self::Leads {} => "see that one leads".to_owned(),
            Self::Timeline {} => "see on which timeline the cluster is".to_owned(),
            Self::Candidate { candidate, max_lag, .. } => {
                format!("see that {} could take over, at most {max_lag} bytes behind", to(candidate))
            }
            Self::Switchover { leader, candidate, .. } => {
                format!("have Patroni switch over from {} to {}", shown(leader), to(candidate))
            }
            Self::Failover { candidate, max_lag, .. } => {
                format!("have Patroni fail over to {}, which may lose {max_lag} bytes", to(candidate))
            }
            Self::Pause {} => "pause Patroni: nobody is replaced by itself".to_owned(),
            Self::Resume {} => "end Patroni's pause".to_owned(),
            Self::Reinitialize { member } => format!("have Patroni make the data of {} anew", shown(member)),
        }
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.patroni = true;
        match self {
            Self::Healthy { .. } | Self::Leads {} | Self::Timeline {} | Self::Pause {} | Self::Resume {} => {}
            Self::Candidate { candidate, timeline, .. } => uses.if_set(candidate.iter().chain(timeline)),
            Self::Switchover { leader, candidate, .. } => {
                uses.visible([leader]);
                uses.if_set(candidate);
            }
            Self::Failover { leader, candidate, timeline, .. } => {
                uses.if_set(leader.iter().chain(candidate).chain(timeline));
            }
            Self::Reinitialize { member } => uses.visible([member]),
        }
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let backend = backend(scope)?;
        let limit = scope.timeout.duration().saturating_sub(SPARE);
        match self {
            Self::Healthy { max_lag, paused } => healthy(&backend, *max_lag, *paused).await,
            Self::Leads {} => leads(&backend).await,
            Self::Switchover { leader, candidate, max_lag } => {
                let options = options(scope, Some(leader), candidate.as_ref(), *max_lag, limit)?;
                let plan = match plan_switchover(&backend, &options).await {
                    // Who was to lead by an earlier attempt may do so in a moment.
                    Err(HaError::NotReady { .. } | HaError::Lagging { .. }) if scope.again => {
                        tokio::time::sleep(SPARE).await;
                        plan_switchover(&backend, &options).await?
                    }
                    plan => plan?,
                };
                changed(&carried_out(&backend, plan, &options, limit).await?, scope.again)
            }
            Self::Timeline {} => timeline(&backend).await,
            Self::Candidate { candidate, timeline, max_lag } => {
                let options = options(scope, None, candidate.as_ref(), *max_lag, limit)?.with_again(false);
                let options = options.with_timeline(left(scope, timeline.as_ref())?);
                let plan = plan_failover(&backend, &options).await?;
                let output = format!("{} could take over", plan.candidate);
                Ok(Done { output, value: Some(plan.candidate), ..Done::default() })
            }
            Self::Failover { leader, candidate, timeline, max_lag, even_if_well } => {
                let options = options(scope, leader.as_ref(), candidate.as_ref(), *max_lag, limit)?;
                let options = options.with_timeline(left(scope, timeline.as_ref())?).with_even_if_well(*even_if_well);
                let plan = plan_failover(&backend, &options).await?;
                changed(&carried_out(&backend, plan, &options, limit).await?, scope.again)
            }
            Self::Pause {} => pause(&backend, true, limit).await,
            Self::Resume {} => pause(&backend, false, limit).await,
            Self::Reinitialize { member } => {
                let report = reinitialize(&backend, &scope.text(member)?, scope.again, limit).await?;
                Ok(Done::said(format!("{} follows {} again, with new data", report.member, report.leader)))
            }
        }
    }
}

impl Ha {
    /// Returns what takes it back by itself.
    pub(super) fn inverse(&self) -> Option<Self> {
        match self {
            Self::Pause {} => Some(Self::Resume {}),
            Self::Resume {} => Some(Self::Pause {}),
            _ => None,
        }
    }
}

/// Connects as the table `[patroni]` says.
fn backend(scope: &Scope<'_>) -> Result<PatroniBackend, ActionError> {
    let unusable = |reason: &str| ActionError::Unusable(reason.to_owned());
    let access = scope.runbook.patroni.as_ref().ok_or_else(|| unusable("the runbook has no table [patroni]"))?;
    let mut urls = Vec::new();
    for url in access.urls.iter().filter(|url| is_set(url, scope)) {
        urls.extend(url.arguments(scope.values)?);
    }
    let mut settings =
        PatroniSettings::new(urls).with_authorities(if_set(scope, access.authorities.as_ref())?.map(Into::into));
    if let Some(user) = if_set(scope, access.user.as_ref())? {
        match access.password.as_deref().and_then(|name| scope.values.value(name)) {
            Some(Value::Secret(password)) => settings = settings.with_credentials(user, password.clone()),
            _ => return Err(unusable("Patroni has a user, and no password")),
        }
    }
    match (if_set(scope, access.certificate.as_ref())?, if_set(scope, access.key.as_ref())?) {
        (Some(certificate), Some(key)) => settings = settings.with_identity(certificate, key),
        (None, None) => {}
        _ => return Err(unusable("Patroni needs a certificate and its key, or neither")),
    }
    Ok(PatroniBackend::new(&settings)?)
}

fn options(
    scope: &Scope<'_>,
    leader: Option<&Template>,
    candidate: Option<&Template>,
    max_lag: u64,
    limit: Duration,
) -> Result<ChangeOptions, ActionError> {
    let (leader, candidate) = (if_set(scope, leader)?, if_set(scope, candidate)?);
    let options = ChangeOptions::default().with_leader(leader).with_candidate(candidate);
    Ok(options.with_max_lag(max_lag).with_limit(limit).with_again(scope.again))
}

/// Carries a plan out. What Patroni refuses because an earlier attempt is just being done is planned once more.
async fn carried_out(
    backend: &PatroniBackend,
    plan: ChangePlan,
    options: &ChangeOptions,
    limit: Duration,
) -> Result<ChangeReport, HaError> {
    match carry_out(backend, &plan, limit).await {
        Err(HaError::Refused { .. }) if options.again => {
            let plan = match plan.kind {
                ChangeKind::Failover => plan_failover(backend, options).await?,
                _ => plan_switchover(backend, options).await?,
            };
            carry_out(backend, &plan, limit).await
        }
        report => report,
    }
}

async fn healthy(backend: &PatroniBackend, max_lag: u64, paused: bool) -> Result<Done, ActionError> {
    let cluster = backend.cluster().await?;
    let findings = cluster.findings(max_lag, paused);
    if !findings.is_empty() {
        return Err(ActionError::Unexpected { expected: "a healthy cluster".to_owned(), found: findings.join("; ") });
    }
    let done = leads(backend).await?;
    let said = format!("{}, and {} follow", done.output, cluster.members.len().saturating_sub(1));
    Ok(Done { output: said, ..done })
}

/// One that is lost leads on in the books until its time is over: it must say itself how far it is.
async fn leads(backend: &PatroniBackend) -> Result<Done, ActionError> {
    let cluster = backend.cluster().await?;
    let unexpected = |found: String| ActionError::Unexpected { expected: "that one leads".to_owned(), found };
    let leader = cluster.leader().ok_or_else(|| unexpected("that nobody leads".to_owned()))?;
    if !leader.is_well_leader() {
        return Err(unexpected(format!("that {} leads, and its server is {}", leader.name, leader.state)));
    }
    if backend.member(&leader.name).await?.reached.is_none() {
        return Err(unexpected(format!("that {} leads, and does not say how far it is", leader.name)));
    }
    let said = format!("{} leads", leader.name);
    Ok(Done { output: said, value: Some(leader.name.clone()), ..Done::default() })
}

async fn pause(backend: &PatroniBackend, paused: bool, limit: Duration) -> Result<Done, ActionError> {
    let report = set_paused(backend, paused, limit).await?;
    let state = if paused { "paused" } else { "not paused" };
    let already = if report.changed { "now" } else { "already" };
    let unaware = match report.unaware.is_empty() {
        true => String::new(),
        false => format!("; no answer from {}", report.unaware.join(", ")),
    };
    let output = format!("the cluster is {state} {already}{unaware}");
    Ok(Done { output, unchanged: !report.changed, ..Done::default() })
}

/// Returns the timeline of the cluster.
async fn timeline(backend: &PatroniBackend) -> Result<Done, ActionError> {
    let found = backend.cluster().await?.timeline().ok_or_else(|| ActionError::Unexpected {
        expected: "the timeline of the cluster".to_owned(),
        found: "that no member names one".to_owned(),
    })?;
    Ok(Done { output: format!("timeline {found}"), value: Some(found.get().to_string()), ..Done::default() })
}

/// Reads the timeline that is to be left.
fn left(scope: &Scope<'_>, text: Option<&Template>) -> Result<Option<TimelineId>, ActionError> {
    let Some(text) = if_set(scope, text)? else { return Ok(None) };
    let read = text.trim().parse().ok().and_then(TimelineId::new);
    read.map(Some).ok_or_else(|| ActionError::Unusable(format!("{text:?} is no timeline")))
}

fn changed(report: &ChangeReport, again: bool) -> Result<Done, ActionError> {
    if !report.beside.is_empty() {
        return Err(HaError::Beside { leader: report.new_leader.clone(), beside: report.beside.clone() }.into());
    }
    let name = &report.new_leader;
    let said = match (&report.lost_bytes, report.already_done) {
        (_, true) => format!("{name} leads, by an earlier attempt"),
        _ if report.standby_cluster => format!("{name} leads a cluster that follows another: nothing is written here"),
        (Some(lost), _) if report.leader_answered => format!("{name} leads; {lost} bytes of the log are lost"),
        (Some(lost), _) => {
            format!("{name} leads; the old leader could not be asked: at least {lost} bytes of the log are lost")
        }
        (None, _) => format!("{name} leads; how much of the log is lost is not known"),
    };
    let mut output = said;
    for finding in &report.findings {
        output.push_str(&format!("\n{finding}"));
    }
    // What an earlier attempt lost is not counted by this one.
    let bytes = report.certain_loss().filter(|_| !again);
    // Where nothing is lost for certain, the newest commit is later than what was asked before.
    let recovered_to = report.newest_commit.filter(|_| bytes != Some(0));
    let loss = (!report.already_done && !report.standby_cluster).then_some(Loss { recovered_to, bytes });
    Ok(Done { output, value: Some(name.clone()), loss, ..Done::default() })
}

fn is_set(text: &Template, view: &View<'_>) -> bool {
    text.variables().all(|name| view.values.value(name).is_some())
}

/// Returns a text, unless it names a variable without a value.
fn if_set(scope: &Scope<'_>, text: Option<&Template>) -> Result<Option<String>, ActionError> {
    scope.optional(text.filter(|text| is_set(text, scope)))
}
