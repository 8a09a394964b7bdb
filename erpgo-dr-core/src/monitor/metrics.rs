//! Facts as metrics, in the OpenMetrics text format that Prometheus reads.
//!
//! What is not known has no sample: an alert rule asks with `absent()` where that matters. Names follow Prometheus's rules (base units, `_total`
//! for counters, `_timestamp_seconds` for moments). The names without a prefix are those that the shell scripts wrote.
//!
//! Of a fleet, every metric of a cluster has its name as a label more, so that each family stands once, with the values of all.
//!
//! Source: <https://prometheus.io/docs/practices/naming/>, <https://prometheus.io/docs/specs/om/open_metrics_spec/>.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

use chrono::{DateTime, Utc};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::fleet::Doubt;
use super::{Facts, FleetFacts, StandbyFacts};
use crate::agent::{AgentRole, JobState};

/// What [`Facts::to_openmetrics`] returns, as HTTP names it.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;
type Values = Family<Labels, Gauge<f64, AtomicU64>>;
type Counts = Family<Labels, Counter>;

/// The label that tells the clusters of a fleet apart. Another, of recovery windows, is the system identifier.
const CLUSTER: &str = "cluster_name";

impl Facts {
    /// Writes the facts as metrics, in the OpenMetrics text format.
    pub fn to_openmetrics(&self) -> String {
        self.to_doubted_openmetrics(false)
    }

    /// As [`to_openmetrics`](Self::to_openmetrics), and says whether the facts are not to be relied on.
    pub(super) fn to_doubted_openmetrics(&self, is_doubted: bool) -> String {
        let mut figures = Figures::default();
        figures.of(self, is_doubted);
        figures.write()
    }
}

impl FleetFacts {
    /// Writes the facts of all clusters as metrics, in the OpenMetrics text format: those of [`Facts::to_openmetrics`] with the label
    /// `cluster_name`, and those of the fleet.
    pub fn to_openmetrics(&self) -> String {
        self.to_doubted_openmetrics(&|_| None)
    }

    /// As [`to_openmetrics`](Self::to_openmetrics), and says which facts are not to be relied on.
    pub(super) fn to_doubted_openmetrics(&self, doubt: Doubt<'_>) -> String {
        let mut figures = Figures::default();
        figures.of_fleet(self, doubt);
        for (name, cluster) in &self.clusters {
            let Some(facts) = &cluster.facts else { continue };
            figures.common = vec![(CLUSTER, name.clone())];
            figures.of(facts, doubt(facts).is_some());
        }
        figures.write()
    }
}

/// Families in the order of their first value, each of which may get values of several clusters.
/// The format ends a help text with a full stop by itself.
fn sentence(help: &str) -> &str {
    help.strip_suffix('.').unwrap_or(help)
}

#[derive(Debug, Default)]
struct Figures {
    registry: Registry,
    gauges: BTreeMap<String, Values>,
    counters: BTreeMap<String, Counts>,
    /// Labels that each value gets.
    common: Labels,
}

impl Figures {
    /// Adds values of a metric, one for each set of labels.
    fn labelled(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, f64)>) {
        let Self { registry, gauges, common, .. } = self;
        let family = gauges.entry(name.to_owned()).or_insert_with(|| {
            let family = Values::default();
            registry.register(name, sentence(help), family.clone());
            family
        });
        for (labels, value) in values {
            family.get_or_create(&[common.as_slice(), &labels].concat()).set(value);
        }
    }

    /// Adds counts, one for each set of labels. The format adds `_total` to their name by itself.
    fn counted(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (Labels, u64)>) {
        let Self { registry, counters, common, .. } = self;
        let family = counters.entry(name.to_owned()).or_insert_with(|| {
            let family = Counts::default();
            registry.register(name.strip_suffix("_total").unwrap_or(name), sentence(help), family.clone());
            family
        });
        for (labels, value) in values {
            family.get_or_create(&[common.as_slice(), &labels].concat()).inc_by(value);
        }
    }

    /// Adds one value of a metric, if it is known.
    fn one(&mut self, name: &str, help: &str, value: impl Into<Option<f64>>) {
        self.labelled(name, help, value.into().map(|value| (Labels::new(), value)));
    }

    /// Adds all that is known of a repository and its server.
    fn of(&mut self, facts: &Facts, is_doubted: bool) {
        let help = "1 if these facts are too old to be relied on, else 0.";
        self.one("erpgo_dr_stale", help, flag(is_doubted));
        self.of_repository(facts);
        self.of_backups(facts);
        self.of_recovery(facts);
        self.of_wal(facts);
        self.of_drills(facts);
        self.of_host(facts);
        self.of_agent(facts);
    }

    fn of_fleet(&mut self, fleet: &FleetFacts, doubt: Doubt<'_>) {
        self.one("erpgo_dr_fleet_clusters", "Clusters that are watched.", fleet.clusters.len() as f64);
        let help = "Clusters whose repository answers, that one could restore now, and that have no alarm.";
        self.one("erpgo_dr_fleet_clusters_healthy", help, fleet.well(doubt) as f64);
        let up = fleet.clusters.iter().map(|(name, cluster)| (vec![(CLUSTER, name.clone())], flag(cluster.is_up())));
        let help = "1 if the cluster's facts are known and nothing keeps newer ones away, else 0.";
        self.labelled("erpgo_dr_fleet_cluster_up", help, up);
    }

    fn of_repository(&mut self, facts: &Facts) {
        let repository = vec![("id", facts.status.repository.to_string())];
        self.labelled("erpgo_dr_repository_info", "The repository.", [(repository, 1.0)]);
        self.one("erpgo_dr_observed_timestamp_seconds", "When these facts were asked for.", seconds(facts.at));
        self.one("erpgo_dr_observation_seconds", "How long asking took.", facts.seconds);
        let healthy = "1 if one could restore now and nothing is known to be wrong with what would be, else 0.";
        self.one("erpgo_dr_healthy", healthy, flag(facts.healthy));
        self.one("erpgo_dr_problems", "What is wrong, or could not be asked.", facts.problems.len() as f64);
        self.one("erpgo_dr_backups", "Backups in the repository.", facts.status.backups as f64);
        self.one(
            "erpgo_dr_backups_failed_verification",
            "Backups whose last verification failed.",
            facts.status.failed.len() as f64,
        );
        self.one("erpgo_dr_stored_bytes", "Bytes that backups take up.", facts.status.stored_bytes as f64);
        let active = facts.epochs.iter().rev().find(|epoch| epoch.active);
        self.one("erpgo_dr_key_epochs", "Key epochs.", facts.epochs.len() as f64);
        self.one(
            "erpgo_dr_key_epoch_begun_timestamp_seconds",
            "When the key epoch was begun that seals new backups.",
            active.map(|epoch| seconds(epoch.begun)),
        );
        self.one(
            "erpgo_dr_key_slots",
            "Ways to open the key epoch that seals new backups.",
            active.map(|epoch| epoch.slots as f64),
        );
    }

    fn of_backups(&mut self, facts: &Facts) {
        let newest = facts.newest_of_each_kind();
        let each = |value: fn(&super::BackupFacts) -> f64| {
            newest.iter().map(move |(kind, backup)| (vec![("kind", (*kind).to_owned())], value(backup)))
        };
        let name = "erpgo_dr_backup_last_timestamp_seconds";
        self.labelled(name, "When the newest backup began.", each(|backup| seconds(backup.created)));
        let name = "erpgo_dr_backup_last_duration_seconds";
        self.labelled(name, "How long the newest backup took.", each(|backup| backup.seconds));
        let name = "erpgo_dr_backup_last_plaintext_bytes";
        self.labelled(name, "Bytes of the newest backup, uncompressed.", each(|backup| backup.plaintext_bytes as f64));
        let name = "erpgo_dr_backup_last_stored_bytes";
        self.labelled(name, "Bytes that the newest backup added.", each(|backup| backup.stored_bytes as f64));
        let proven = facts.status.latest_proven.as_ref().map(|backup| seconds(backup.created));
        let name = "erpgo_dr_backup_last_proven_timestamp_seconds";
        self.one(name, "When the newest backup began that is proven good.", proven);
        let tested = facts.status.restore_tested.map(seconds);
        let name = "erpgo_dr_restore_test_last_timestamp_seconds";
        self.one(name, "When a restore was last tested.", tested);
        // Those of the scripts.
        let latest = facts.backups.last();
        let help = "When the newest backup was complete.";
        self.one("backup_last_success_timestamp", help, latest.map(|last| seconds(last.created) + last.seconds));
        self.one("backup_duration_seconds", "How long the newest backup took.", latest.map(|last| last.seconds));
        let help = "Bytes that the newest backup added.";
        self.one("backup_size_bytes", help, latest.map(|last| last.stored_bytes as f64));
    }

    fn of_recovery(&mut self, facts: &Facts) {
        let objectives = &facts.objectives;
        self.one("erpgo_dr_rpo_seconds", "Work that would be lost with the server now.", objectives.rpo_seconds);
        self.one("erpgo_dr_rto_seconds", "How long recovery would take now.", objectives.rto_seconds);
        let objective = |name: &str| vec![("objective", name.to_owned())];
        let wanted = [("rto", objectives.rto_objective_seconds), ("rpo", objectives.rpo_objective_seconds)];
        let wanted = wanted.into_iter().filter_map(|(name, value)| Some((objective(name), value?)));
        self.labelled("erpgo_dr_objective_seconds", "What recovery is to reach.", wanted);
        let met = [("rto", objectives.rto_met), ("rpo", objectives.rpo_met)];
        let met = met.into_iter().filter_map(|(name, met)| Some((objective(name), flag(met?))));
        self.labelled("erpgo_dr_objective_met", "1 if recovery would reach the objective now, else 0.", met);
        let observed = facts.status.rto_seconds;
        self.one("erpgo_dr_rto_observed_seconds", "How long the newest restore test took.", observed);
        let predicted = facts.forecast.as_ref().map(|forecast| forecast.rto_seconds);
        self.one("erpgo_dr_rto_predicted_seconds", "How long recovery would take, by what was measured.", predicted);
        let cluster = |window: &crate::ops::RecoveryWindow| vec![("cluster", window.system_identifier.to_string())];
        let edge = |edge: fn(&crate::ops::RecoveryWindow) -> Option<DateTime<Utc>>| {
            facts.windows.iter().filter_map(move |window| Some((cluster(window), seconds(edge(window)?))))
        };
        let name = "erpgo_dr_recovery_window_start_timestamp_seconds";
        let start = edge(|window| Some(window.spans.first()?.from));
        self.labelled(name, "The earliest moment that the cluster can be brought back to.", start);
        let name = "erpgo_dr_recovery_window_end_timestamp_seconds";
        let end = edge(|window| Some(window.spans.last()?.until));
        self.labelled(name, "The latest moment that the cluster can be brought back to.", end);
        let gaps = |window: &crate::ops::RecoveryWindow| window.gaps().count() + usize::from(window.cut_off);
        let gaps = facts.windows.iter().map(|window| (cluster(window), gaps(window) as f64));
        let name = "erpgo_dr_recovery_window_gaps";
        self.labelled(
            name,
            "Stretches since the earliest moment that cannot be had: between the two, and behind the latest.",
            gaps,
        );
        let lost = |window: &crate::ops::RecoveryWindow| {
            window.gaps().map(|(from, until)| (until - from).as_seconds_f64()).sum::<f64>()
        };
        let lost = facts.windows.iter().map(|window| (cluster(window), lost(window)));
        self.labelled("erpgo_dr_recovery_window_gap_seconds", "How long these are together.", lost);
    }

    fn of_wal(&mut self, facts: &Facts) {
        let wal = facts.wal.as_ref();
        self.one("erpgo_dr_wal_segments", "Segments that are archived.", wal.map(|wal| wal.segments as f64));
        let stored = wal.map(|wal| wal.stored_bytes as f64);
        self.one("erpgo_dr_wal_stored_bytes", "Bytes that the archived log takes up.", stored);
        let lag = wal.and_then(|wal| wal.lag_bytes).map(|bytes| bytes as f64);
        self.one("erpgo_dr_wal_lag_bytes", "Bytes that the server has written and that are not archived.", lag);
        let name = "erpgo_dr_wal_newest_commit_timestamp_seconds";
        let commit = wal.and_then(|wal| wal.newest_commit).map(seconds);
        self.one(name, "When the newest transaction was committed that is archived.", commit);
        let name = "erpgo_dr_wal_last_archived_timestamp_seconds";
        let archived = wal.and_then(|wal| wal.newest_archived).map(seconds);
        self.one(name, "When the newest segment was archived.", archived);
        let findings = wal.map(|wal| wal.findings.len() as f64);
        self.one("erpgo_dr_wal_findings", "What is wrong with the archive.", findings);
        let labels = |standby: &StandbyFacts| {
            vec![("standby", standby.name.clone()), ("address", standby.address.clone().unwrap_or_default())]
        };
        let lag = |standby: &StandbyFacts| Some((labels(standby), standby.lag_bytes? as f64));
        // Several may have one name and address: the one that is the farthest behind comes last, and is told.
        let mut lag: Vec<(Labels, f64)> = facts.standbys.iter().filter_map(lag).collect();
        lag.sort_by(|one, other| one.1.total_cmp(&other.1));
        self.labelled("erpgo_dr_replication_lag_bytes", "Bytes of the log that a standby has not flushed.", lag);
    }

    fn of_drills(&mut self, facts: &Facts) {
        let overdue = facts.drills_overdue().count() as f64;
        self.one("erpgo_dr_drills_overdue", "Drills that were due and were not done.", overdue);
        let scenario = |drill: &crate::repository::DrillRecord| vec![("scenario", drill.scenario.clone())];
        let newest: BTreeMap<&str, _> = facts.drills.iter().map(|drill| (drill.scenario.as_str(), drill)).collect();
        let last = |value: fn(&crate::repository::DrillRecord) -> Option<f64>| {
            newest.values().filter_map(move |drill| Some((scenario(drill), value(drill)?)))
        };
        let name = "erpgo_dr_drill_last_timestamp_seconds";
        self.labelled(name, "When the scenario was last rehearsed.", last(|drill| Some(seconds(drill.ended))));
        let name = "erpgo_dr_drill_last_passed";
        let passed = last(|drill| Some(flag(drill.passed())));
        self.labelled(name, "1 if everything came back as it should be, else 0.", passed);
        let name = "erpgo_dr_drill_last_rto_seconds";
        self.labelled(name, "How long recovery took in the last rehearsal.", last(|drill| drill.rto_seconds));
        let open = facts.incidents.iter().filter(|incident| !incident.drill && incident.ended.is_none()).count();
        self.one("erpgo_dr_incidents_open", "Runs of runbooks that have not ended.", open as f64);
    }

    fn of_host(&mut self, facts: &Facts) {
        let each = |value: fn(&super::DiskFacts) -> u64| {
            facts.disks.iter().map(move |disk| (vec![("path", disk.path.display().to_string())], value(disk) as f64))
        };
        self.labelled(
            "erpgo_dr_disk_total_bytes",
            "Bytes of the file system of a folder.",
            each(|disk| disk.total_bytes),
        );
        self.labelled(
            "erpgo_dr_disk_free_bytes",
            "Bytes that may still be written there.",
            each(|disk| disk.free_bytes),
        );
    }

    /// Counts are those of the agent's process, and begin anew with it, as counters may.
    fn of_agent(&mut self, facts: &Facts) {
        let Some(agent) = &facts.agent else { return };
        let labels = |job: &JobState| vec![("job_name", job.name.to_string()), ("kind", job.kind.as_str().to_owned())];
        let gauge = |value: fn(&JobState) -> Option<f64>| {
            agent.jobs.iter().filter_map(move |job| Some((labels(job), value(job)?)))
        };
        let count = |value: fn(&JobState) -> u64| agent.jobs.iter().map(move |job| (labels(job), value(job)));
        self.one(
            "erpgo_dr_agent_leads",
            "1 if this agent does what is due, 0 if another does.",
            flag(agent.role == AgentRole::Leader),
        );
        self.counted("erpgo_dr_job_attempts_total", "Runs of a job that have ended.", count(|job| job.attempts));
        self.counted(
            "erpgo_dr_job_failures_total",
            "Runs that failed, or found something bad.",
            count(|job| job.failures),
        );
        let name = "erpgo_dr_job_consecutive_failures";
        self.labelled(
            name,
            "Runs that did not go well since the last that did.",
            gauge(|job| Some(f64::from(job.consecutive_failures))),
        );
        let name = "erpgo_dr_job_last_success_timestamp_seconds";
        self.labelled(name, "When the job last went well.", gauge(|job| job.last_success.map(seconds)));
        let name = "erpgo_dr_job_last_duration_seconds";
        self.labelled(name, "How long that took.", gauge(|job| job.last_duration_seconds));
        let name = "erpgo_dr_job_next_due_timestamp_seconds";
        self.labelled(name, "When the job is run next.", gauge(|job| job.next_due.map(seconds)));
        let alarms = agent.alarms.iter().map(|alarm| (vec![("subject", alarm.subject.to_string())], 1.0));
        self.labelled("erpgo_dr_alarm_open", "An alarm that the agent has raised and not cleared.", alarms);
        // Those of the scripts.
        let backups = || agent.jobs.iter().filter(|job| job.kind.is_backup());
        let attempts = backups().map(|job| job.attempts).sum();
        self.counted("backup_attempts_total", "Backups that were tried.", [(Labels::new(), attempts)]);
        let successes = backups().map(|job| job.successes).sum();
        self.counted("backup_success_total", "Backups that went well.", [(Labels::new(), successes)]);
    }

    fn write(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes all that is written to it");
        text
    }
}

fn seconds(moment: DateTime<Utc>) -> f64 {
    moment.timestamp_millis() as f64 / 1000.0
}

fn flag(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
}
