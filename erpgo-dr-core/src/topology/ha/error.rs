//! Why an order to a cluster was not carried out.

use std::time::Duration;

use crate::causes::chain;
use crate::postgres::PostgresError;
use crate::types::TimelineId;

/// What goes wrong between us and whoever runs a cluster, and inside it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HaError {
    /// A setting of the backend is of no use.
    #[error("{what}: {reason}")]
    Setting {
        /// Which.
        what: String,
        /// Why.
        reason: String,
    },
    /// Nobody answers who could be asked.
    #[error("no answer: {}", tried.join("; "))]
    Unreachable {
        /// Each address, and why it gave no answer.
        tried: Vec<String>,
    },
    /// The connection cannot be trusted, or the other side does not trust us.
    #[error("{url}: no connection over TLS: {reason}")]
    Tls {
        /// The address.
        url: String,
        /// Why.
        reason: String,
    },
    /// Name and password, or the certificate, are not accepted.
    #[error("{url} does not accept who we are ({status}): {text}")]
    Unauthorized {
        /// The address.
        url: String,
        /// The status of HTTP.
        status: u16,
        /// What it says.
        text: String,
    },
    /// An order was sent, and no answer came: it may be carried out all the same.
    #[error("{url} was told, and did not answer: {reason}")]
    Unanswered {
        /// The address.
        url: String,
        /// Why.
        reason: String,
    },
    /// An answer that says something else than it should.
    #[error("{url} answers what cannot be read: {reason}")]
    Unreadable {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Whoever runs the cluster says no.
    #[error("{by} refuses ({status}): {text}")]
    Refused {
        /// The address.
        by: String,
        /// The status of HTTP.
        status: u16,
        /// What it says.
        text: String,
    },
    /// Nobody leads.
    #[error("nobody leads the cluster")]
    NoLeader,
    /// More than one leads.
    #[error("more than one leads: {}", leaders.join(", "))]
    Ambiguous {
        /// Who.
        leaders: Vec<String>,
    },
    /// Another leads than was said, or than was to.
    #[error("{found} leads, not {expected}")]
    AnotherLeads {
        /// Who was to lead.
        expected: String,
        /// Who does.
        found: String,
    },
    /// The member leads already.
    #[error("{member} leads already")]
    AlreadyLeads {
        /// The member.
        member: String,
    },
    /// A leader that is well was to be replaced as if it were lost.
    #[error("{member} leads, is well and answers: a failover is for a leader that is lost")]
    LeaderIsWell {
        /// The leader.
        member: String,
    },
    /// The leader is on a later timeline than the one that was to be left: somebody was replaced already.
    #[error("{member} leads on timeline {found}, later than {expected}: the leader was replaced already")]
    Replaced {
        /// Who leads.
        member: String,
        /// The timeline that was to be left.
        expected: TimelineId,
        /// The timeline that is.
        found: TimelineId,
    },
    /// An earlier attempt may have been carried out, and nothing tells.
    #[error("an earlier attempt may have been carried out, and nothing tells whether it was: {reason}")]
    Repeated {
        /// What would tell.
        reason: String,
    },
    /// Others take writes beside the leader.
    #[error(
        "{leader} leads, and beside it {} too: what is written there is lost, or must be merged by hand",
        take_writes(beside)
    )]
    Beside {
        /// Who leads.
        leader: String,
        /// Who takes writes all the same.
        beside: Vec<String>,
    },
    /// What can only be done with a follower was to be done with the leader.
    #[error("{member} leads: its data is what the others have theirs from")]
    IsLeader {
        /// The member.
        member: String,
    },
    /// The cluster has no such member.
    #[error("there is no member {name}; there are: {}", members.join(", "))]
    NoSuchMember {
        /// The name.
        name: String,
        /// Those that there are.
        members: Vec<String>,
    },
    /// The member cannot take over.
    #[error("{member} cannot take over: {reason}")]
    NotReady {
        /// The member.
        member: String,
        /// Why.
        reason: String,
    },
    /// The member has less of the log than it must.
    #[error("{member} is {} behind, and may be {limit}", behind.map_or_else(|| "nobody knows how many bytes".to_owned(), |bytes| format!("{bytes} bytes")))]
    Lagging {
        /// The member.
        member: String,
        /// Bytes that it misses; none if nobody knows.
        behind: Option<u64>,
        /// Bytes that it may miss.
        limit: u64,
    },
    /// No member could take over.
    #[error("no member could take over")]
    NoCandidate,
    /// The cluster is paused, and nobody was named.
    #[error("the cluster is paused: nobody is chosen who takes over")]
    Paused,
    /// It was accepted, and did not come to what it should in time.
    #[error("within {} s it did not come to this: {waited_for}; {found}", limit.as_secs())]
    NotSettled {
        /// What was waited for.
        waited_for: String,
        /// What is.
        found: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The backend cannot do this.
    #[error("{backend} cannot {what}")]
    Unsupported {
        /// The backend.
        backend: String,
        /// What.
        what: &'static str,
    },
    /// A host did not do what it was told.
    #[error("{member} could not be {action}: {reason}")]
    Host {
        /// The member.
        member: String,
        /// `stopped`, `started`...
        action: &'static str,
        /// Why.
        reason: String,
    },
    /// A server.
    #[error("{}", chain(.0))]
    Postgres(#[from] PostgresError),
}

fn take_writes(names: &[String]) -> String {
    format!("{} {}", names.join(" and "), if names.len() == 1 { "takes writes" } else { "take writes" })
}

impl HaError {
    /// Returns whether an order that failed so may have been carried out all the same, or may yet be.
    pub fn may_be_done(&self) -> bool {
        match self {
            Self::Unanswered { .. }
            | Self::NotSettled { .. }
            | Self::Postgres(_)
            | Self::Host { .. }
            | Self::Beside { .. }
            | Self::Repeated { .. } => true,
            Self::Refused { status, .. } => *status >= 500,
            _ => false,
        }
    }
}
