//! Which standby replaces a primary: the one that has the most of its log.

use serde::Serialize;

use super::discover::Topology;
use super::server::ServerState;
use crate::types::Lsn;

/// The standby that has the most.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Candidate {
    /// What the caller calls it.
    pub name: String,
    /// How far it has the log.
    pub reached: Option<Lsn>,
    /// The newest position that the primary had told any of the standbys; what lies between is lost, and perhaps more.
    pub announced: Option<Lsn>,
    /// Bytes in between.
    pub behind_bytes: Option<u64>,
    /// Standbys that have less, and by how many bytes.
    pub others: Vec<(String, u64)>,
}

/// Chooses among the standbys that answered: the newest timeline first, then the one that has the most of the log. Of equals it takes
/// the one that was named first.
pub fn candidate(topology: &Topology) -> Option<Candidate> {
    let rank = |state: &ServerState| (state.timeline, state.reached());
    let mut best: Option<(&str, &ServerState)> = None;
    for (server, state) in topology.standbys() {
        if best.is_none_or(|(_, found)| rank(state) > rank(found)) {
            best = Some((&server.name, state));
        }
    }
    let (name, state) = best?;
    let reached = state.reached();
    let announced = topology.standbys().filter_map(|(_, state)| state.follows.as_ref()?.latest).max();
    let behind = |lsn: Option<Lsn>| lsn.zip(reached).map(|(other, reached)| (other.0, reached.0));
    let others = topology.standbys().filter(|(server, _)| server.name != name);
    let others = others.map(|(server, standby)| {
        let bytes = behind(standby.reached()).map_or(0, |(other, reached)| reached.saturating_sub(other));
        (server.name.clone(), bytes)
    });
    Some(Candidate {
        name: name.to_owned(),
        reached,
        announced,
        behind_bytes: behind(announced).map(|(announced, reached)| announced.saturating_sub(reached)),
        others: others.collect(),
    })
}
