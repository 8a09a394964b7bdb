//! How far a restored cluster replays, and the settings by which PostgreSQL is told.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::postgres::PostgresError;
use crate::types::{Lsn, TimelineId};

/// Where replay stops.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecoveryTarget {
    /// At the end of the WAL that the archive has.
    #[default]
    Latest,
    /// As soon as the cluster is consistent: at the end of the backup.
    Immediate,
    /// Before the first transaction that committed after this moment.
    Time(DateTime<Utc>),
    /// At this position.
    Lsn(Lsn),
    /// At the commit of this transaction.
    Xid(u32),
    /// At a point that `pg_create_restore_point()` named.
    Name(String),
}

/// Which timeline replay follows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecoveryTimeline {
    /// The newest that the archive has of those that descend from the backup's, whatever numbers are missing before it.
    #[default]
    Latest,
    /// That of the backup.
    Current,
    /// This one.
    Id(TimelineId),
}

/// What the server does when it has reached its target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecoveryAction {
    /// Begins a new timeline and takes writes.
    #[default]
    Promote,
    /// Waits, and answers queries: `pg_wal_replay_resume()` promotes it.
    Pause,
    /// Shuts down.
    Shutdown,
}

/// How a restored cluster recovers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryOptions {
    /// Where replay stops.
    pub target: RecoveryTarget,
    /// Whether what lies exactly at the target is replayed.
    pub inclusive: bool,
    /// Which timeline is followed.
    pub timeline: RecoveryTimeline,
    /// What happens at the target.
    pub action: RecoveryAction,
    /// PostgreSQL's `restore_command`; without one the WAL that lies in the backup is all there is.
    pub restore_command: Option<String>,
    /// Whether the server goes on archiving to where it did. Never for a copy that lives beside its original.
    pub archiving: bool,
}

impl Default for RecoveryOptions {
    fn default() -> Self {
        Self {
            target: RecoveryTarget::default(),
            inclusive: true,
            timeline: RecoveryTimeline::default(),
            action: RecoveryAction::default(),
            restore_command: None,
            archiving: false,
        }
    }
}

impl RecoveryOptions {
    /// Sets where replay stops.
    pub fn with_target(mut self, target: RecoveryTarget) -> Self {
        self.target = target;
        self
    }

    /// Sets whether what lies exactly at the target is replayed.
    pub fn with_inclusive(mut self, inclusive: bool) -> Self {
        self.inclusive = inclusive;
        self
    }

    /// Sets which timeline is followed.
    pub fn with_timeline(mut self, timeline: RecoveryTimeline) -> Self {
        self.timeline = timeline;
        self
    }

    /// Sets what happens at the target.
    pub fn with_action(mut self, action: RecoveryAction) -> Self {
        self.action = action;
        self
    }

    /// Sets PostgreSQL's `restore_command`.
    pub fn with_restore_command(mut self, command: Option<String>) -> Self {
        self.restore_command = command;
        self
    }

    /// Sets whether the server goes on archiving to where it did.
    pub fn with_archiving(mut self, archiving: bool) -> Self {
        self.archiving = archiving;
        self
    }

    /// Checks that the options go together.
    ///
    /// # Errors
    /// [`PostgresError::InvalidOptions`] where replay is to stop just before a target that PostgreSQL cannot stop before.
    pub fn check(&self) -> Result<(), PostgresError> {
        let by_value = matches!(self.target, RecoveryTarget::Time(_) | RecoveryTarget::Lsn(_) | RecoveryTarget::Xid(_));
        match by_value || self.inclusive {
            true => Ok(()),
            false => Err(PostgresError::InvalidOptions(
                "replay can stop just before a time, a position or a transaction, and nothing else".to_owned(),
            )),
        }
    }

    /// Returns how a copy recovers that a standby has given. It may be consistent only where its log ends, and there PostgreSQL, which stops
    /// at records, finds none to stop at: to go no further, such a copy keeps to its own log.
    pub(super) fn of_standby(&self) -> Self {
        match (&self.target, self.action) {
            (RecoveryTarget::Immediate, RecoveryAction::Promote) => {
                Self { target: RecoveryTarget::Latest, restore_command: None, ..self.clone() }
            }
            _ => self.clone(),
        }
    }

    /// Returns the parameters that are set, in the order in which they are written.
    fn parameters(&self) -> Vec<(&'static str, String)> {
        // Recovery insists on a command. One that has nothing keeps to the WAL in the backup, and still ends on a new timeline.
        let command = self.restore_command.clone().unwrap_or_else(|| "false".to_owned());
        let mut parameters = vec![("restore_command", command)];
        let mut set = |name, value: String| parameters.push((name, value));
        match &self.target {
            RecoveryTarget::Latest => {}
            RecoveryTarget::Immediate => set("recovery_target", "immediate".to_owned()),
            RecoveryTarget::Time(time) => {
                set("recovery_target_time", time.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string());
            }
            RecoveryTarget::Lsn(lsn) => set("recovery_target_lsn", lsn.to_string()),
            RecoveryTarget::Xid(xid) => set("recovery_target_xid", xid.to_string()),
            RecoveryTarget::Name(name) => set("recovery_target_name", name.clone()),
        }
        if !self.inclusive {
            set("recovery_target_inclusive", "off".to_owned());
        }
        match self.timeline {
            RecoveryTimeline::Latest => set("recovery_target_timeline", "latest".to_owned()),
            RecoveryTimeline::Current => set("recovery_target_timeline", "current".to_owned()),
            RecoveryTimeline::Id(timeline) => set("recovery_target_timeline", timeline.to_string()),
        }
        let action = match self.action {
            RecoveryAction::Promote => "promote",
            RecoveryAction::Pause => "pause",
            RecoveryAction::Shutdown => "shutdown",
        };
        set("recovery_target_action", action.to_owned());
        if !self.archiving {
            set("archive_mode", "off".to_owned());
        }
        // Its standbys are another server's: a commit that waited for them would wait for ever.
        set("synchronous_standby_names", String::new());
        parameters
    }
}

/// Parameters of an earlier life, which must not steer this one: an old target, a primary to follow, commits that wait for standbys.
const DROPPED: [&str; 14] = [
    "restore_command",
    "recovery_end_command",
    "archive_cleanup_command",
    "recovery_target",
    "recovery_target_action",
    "recovery_target_inclusive",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_timeline",
    "recovery_target_xid",
    "primary_conninfo",
    "primary_slot_name",
    "synchronous_standby_names",
];

/// Rewrites `postgresql.auto.conf`: drops what steered the old server's recovery, and sets how this one recovers.
pub(super) fn rewrite_auto_conf(stored: &str, options: &RecoveryOptions) -> String {
    let kept = stored.lines().filter(|line| !parameter_of(line).is_some_and(|name| DROPPED.contains(&name.as_str())));
    let mut text: String = kept.flat_map(|line| [line, "\n"]).collect();
    text.push_str("# Set by the restore of this cluster.\n");
    for (name, value) in options.parameters() {
        text.push_str(&format!("{name} = '{}'\n", quoted(&value)));
    }
    text
}

/// Returns the lower-case name of the parameter that a line sets.
fn parameter_of(line: &str) -> Option<String> {
    let name: String =
        line.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.')).collect();
    (!name.is_empty()).then(|| name.to_ascii_lowercase())
}

/// Escapes a value for the configuration file, where a quote is doubled and a backslash escapes.
fn quoted(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\'', "''").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_recovery_does_not_come_along() {
        let stored = "# Do not edit this file manually!\nwork_mem = '8MB'\nRecovery_Target_Time = '2020-01-01'\n  primary_conninfo='host=old'\nsynchronous_standby_names = '*'\n";
        let options = RecoveryOptions::default()
            .with_target(RecoveryTarget::Time("2026-03-01T10:20:30.5Z".parse().unwrap()))
            .with_inclusive(false)
            .with_restore_command(Some(r"fetch '%f' \ %p".to_owned()));
        assert_eq!(
            rewrite_auto_conf(stored, &options),
            "# Do not edit this file manually!\nwork_mem = '8MB'\n# Set by the restore of this cluster.\n\
             restore_command = 'fetch ''%f'' \\\\ %p'\nrecovery_target_time = '2026-03-01 10:20:30.500000+00'\n\
             recovery_target_inclusive = 'off'\nrecovery_target_timeline = 'latest'\nrecovery_target_action = 'promote'\n\
             archive_mode = 'off'\nsynchronous_standby_names = ''\n"
        );
    }

    #[test]
    fn only_a_value_can_be_stopped_before() {
        for (target, allowed) in [
            (RecoveryTarget::Lsn(Lsn(1)), true),
            (RecoveryTarget::Xid(1), true),
            (RecoveryTarget::Name("x".to_owned()), false),
            (RecoveryTarget::Immediate, false),
            (RecoveryTarget::Latest, false),
        ] {
            let options = RecoveryOptions::default().with_target(target);
            assert!(options.check().is_ok());
            assert_eq!(options.with_inclusive(false).check().is_ok(), allowed);
        }
    }

    #[test]
    fn a_copy_of_a_standby_ends_its_recovery_where_its_own_log_ends() {
        let options = RecoveryOptions::default().with_restore_command(Some("fetch".to_owned()));
        let immediate = options.clone().with_target(RecoveryTarget::Immediate);
        assert_eq!(immediate.of_standby(), options.clone().with_restore_command(None));
        for other in [immediate.with_action(RecoveryAction::Pause), options] {
            assert_eq!(other.of_standby(), other);
        }
    }

    #[test]
    fn each_target_has_its_parameter() {
        let set = |target| {
            let parameters = RecoveryOptions::default().with_target(target).with_archiving(true).parameters();
            parameters[1..parameters.len() - 3].to_vec()
        };
        assert_eq!(set(RecoveryTarget::Latest), []);
        assert_eq!(set(RecoveryTarget::Immediate), [("recovery_target", "immediate".to_owned())]);
        assert_eq!(set(RecoveryTarget::Lsn(Lsn(0x1_0000_00ff))), [("recovery_target_lsn", "1/FF".to_owned())]);
        assert_eq!(set(RecoveryTarget::Xid(741)), [("recovery_target_xid", "741".to_owned())]);
        assert_eq!(set(RecoveryTarget::Name("x".to_owned())), [("recovery_target_name", "x".to_owned())]);
    }
}
