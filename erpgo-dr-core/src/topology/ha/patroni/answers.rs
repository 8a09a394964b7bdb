//! What Patroni's answers mean (`cluster_as_json` in its utils.py, `get_postgresql_status` in its api.py).

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::super::cluster::{HaCluster, HaMember, HaRole, MemberStatus, ScheduledSwitchover};
use crate::types::{Lsn, TimelineId};

/// Reads `/cluster`.
pub(super) fn cluster(answer: &Value) -> Option<HaCluster> {
    let members = answer.get("members")?.as_array()?;
    let scheduled = answer.get("scheduled_switchover").and_then(|found| {
        let (at, from, to) = (text(found, "at")?, text(found, "from"), text(found, "to"));
        Some(ScheduledSwitchover { at, from, to })
    });
    Some(HaCluster {
        scope: text(answer, "scope"),
        members: members.iter().map(member).collect::<Option<_>>()?,
        paused: flag(answer, "pause"),
        scheduled,
    })
}

fn member(answer: &Value) -> Option<HaMember> {
    let role = match answer.get("role")?.as_str()? {
        "leader" | "master" | "primary" => HaRole::Leader,
        "standby_leader" => HaRole::StandbyLeader,
        "sync_standby" => HaRole::SynchronousStandby,
        "quorum_standby" => HaRole::QuorumStandby,
        _ => HaRole::Replica,
    };
    // What is not known is a word.
    let number = |name: &str| answer.get(name).and_then(Value::as_u64);
    let lsn = |name: &str| answer.get(name).and_then(Value::as_str).and_then(|text| text.parse::<Lsn>().ok());
    let tags = answer.get("tags");
    let may_lead = tags.is_none_or(may_lead);
    let reached = lsn("lsn").or_else(|| lsn("receive_lsn").max(lsn("replay_lsn")));
    Some(HaMember {
        name: text(answer, "name")?,
        role,
        state: text(answer, "state").unwrap_or_default(),
        host: text(answer, "host"),
        port: number("port").and_then(|port| u16::try_from(port).ok()),
        timeline: number("timeline").and_then(timeline),
        reached: reached.filter(|_| !role.leads()),
        behind_bytes: number("lag").filter(|_| !role.leads()),
        may_lead,
        pending_restart: flag(answer, "pending_restart"),
        interface: text(answer, "api_url").map(|url| url.trim_end_matches('/').trim_end_matches("/patroni").to_owned()),
    })
}

/// Reads the tags of a member, as `_bool_tag` in Patroni's tags.py does: `nofailover` counts where it is there, whatever its type.
fn may_lead(tags: &Value) -> bool {
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    match tags.get("nofailover").filter(|found| !found.is_null()) {
        Some(Value::Bool(never)) => !never,
        Some(Value::Number(number)) => number.as_f64() == Some(0.0),
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
        None => tags.get("failover_priority").and_then(number).is_none_or(|priority| priority > 0.0),
    }
}

/// Reads `/patroni`.
pub(super) fn status(answer: &Value) -> MemberStatus {
    let log = answer.get("xlog");
    let position = |name: &str| log.and_then(|log| log.get(name)?.as_u64()).map(Lsn);
    let commit = log.and_then(|log| log.get("replayed_timestamp")?.as_str()).and_then(moment);
    MemberStatus {
        started: text(answer, "postmaster_start_time"),
        reached: position("location").or_else(|| position("received_location").max(position("replayed_location"))),
        newest_commit: commit,
        paused: flag(answer, "pause"),
        takes_writes: text(answer, "role").map(|role| takes_writes(&role, &text(answer, "state").unwrap_or_default())),
    }
}

/// A server that is down takes none, whatever it was.
fn takes_writes(role: &str, state: &str) -> bool {
    matches!(role, "primary" | "master" | "promoted") && !matches!(state, "stopped" | "crashed" | "start failed")
}

/// Reads the name of the cluster in `/patroni`.
pub(super) fn scope(answer: &Value) -> Option<String> {
    text(answer.get("patroni")?, "scope")
}

/// Reads `/history`: lines of a timeline, where it was left, and why.
pub(super) fn branch(answer: &Value, left: TimelineId) -> Option<Lsn> {
    let lines = answer.as_array()?.iter().rev().filter_map(Value::as_array);
    let mut of_timeline = lines.filter(|line| line.first().and_then(Value::as_u64).and_then(timeline) == Some(left));
    of_timeline.next()?.get(1)?.as_u64().map(Lsn)
}

fn timeline(number: u64) -> Option<TimelineId> {
    u32::try_from(number).ok().and_then(TimelineId::new)
}

fn text(answer: &Value, name: &str) -> Option<String> {
    answer.get(name)?.as_str().map(str::to_owned)
}

fn flag(answer: &Value, name: &str) -> bool {
    answer.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn moment(text: &str) -> Option<DateTime<Utc>> {
    let read = DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%:z");
    read.or_else(|_| DateTime::parse_from_rfc3339(text)).ok().map(|moment| moment.to_utc())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cluster_is_read() {
        let answer = json!({
            "members": [
                {"name": "a", "role": "leader", "state": "running", "api_url": "http://h:8008/patroni", "host": "h", "port": 5432, "timeline": 4},
                {"name": "b", "role": "sync_standby", "state": "streaming", "lag": 7, "lsn": "0/10", "timeline": 4, "tags": {"nofailover": true}},
                {"name": "c", "role": "replica", "state": "stopped", "lag": "unknown", "lsn": "unknown", "pending_restart": true}
            ],
            "scope": "s", "pause": true, "scheduled_switchover": {"at": "2026-11-27T22:00:00+00:00", "from": "a"}
        });
        let cluster = cluster(&answer).unwrap();
        assert_eq!((cluster.scope.as_deref(), cluster.paused), (Some("s"), true));
        let [a, b, c] = cluster.members.as_slice() else { panic!("{cluster:?}") };
        assert_eq!((a.role, a.port, a.timeline), (HaRole::Leader, Some(5432), TimelineId::new(4)));
        assert_eq!((a.interface.as_deref(), a.behind_bytes), (Some("http://h:8008"), None));
        assert_eq!(
            (b.role, b.reached, b.behind_bytes, b.may_lead),
            (HaRole::SynchronousStandby, Some(Lsn(16)), Some(7), false)
        );
        assert_eq!((c.reached, c.behind_bytes, c.may_lead, c.pending_restart), (None, None, true, true));
        assert_eq!(cluster.scheduled.unwrap().from.as_deref(), Some("a"));
        assert!(super::cluster(&json!({})).is_none() && super::cluster(&json!({"members": [{}]})).is_none());
    }

    #[test]
    fn who_never_leads_is_known_by_its_tags() {
        for (tags, may) in [
            (json!({}), true),
            (json!({"nofailover": true}), false),
            (json!({"nofailover": "yes"}), false),
            (json!({"nofailover": 1}), false),
            (json!({"nofailover": false}), true),
            (json!({"failover_priority": 0}), false),
            (json!({"failover_priority": "0"}), false),
            (json!({"failover_priority": 2}), true),
            (json!({"nofailover": false, "failover_priority": 0}), true),
        ] {
            assert_eq!(may_lead(&tags), may, "{tags}");
        }
    }

    #[test]
    fn a_member_and_a_history_are_read() {
        let replica = json!({"xlog": {"received_location": 48, "replayed_location": 32,
            "replayed_timestamp": "2026-11-27 21:00:00.500000+00:00"}, "postmaster_start_time": "x"});
        let found = status(&replica);
        assert_eq!((found.reached, found.started.as_deref(), found.paused), (Some(Lsn(48)), Some("x"), false));
        assert_eq!(found.newest_commit.unwrap().to_rfc3339(), "2026-11-27T21:00:00.500+00:00");
        assert_eq!(status(&json!({"xlog": {"location": 64}, "pause": true})).reached, Some(Lsn(64)));
        assert_eq!(status(&json!({})), MemberStatus::default());
        for (role, state, writes) in [
            ("primary", "running", true),
            ("master", "stopping", true),
            ("primary", "crashed", false),
            ("replica", "running", false),
            ("standby_leader", "running", false),
        ] {
            let answer = json!({"role": role, "state": state, "patroni": {"scope": "s"}});
            assert_eq!(status(&answer).takes_writes, Some(writes), "{role} {state}");
            assert_eq!(scope(&answer).as_deref(), Some("s"));
        }
        let history = json!([[1, 100, "no recovery target specified"], [2, 200, "x", "t", "b"], []]);
        assert_eq!(branch(&history, TimelineId::new(2).unwrap()), Some(Lsn(200)));
        assert_eq!(branch(&history, TimelineId::new(3).unwrap()), None);
    }
}
