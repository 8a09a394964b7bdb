//! What is broken, for how long, and how it comes back.

use std::fmt;
use std::time::Duration;

use chrono::Utc;
use erpgo_dr_benches::random::Random;
use erpgo_dr_testkit::fault_proxy::Fault as ProxyFault;

use crate::missed::{Span, seconds};
use crate::stage::Stage;

/// The longest outage: longer than the lease and the window of attempts, so that some are told of.
const LONGEST: Duration = Duration::from_secs(80);
/// The longest time between two outages.
const LONGEST_PEACE: Duration = Duration::from_secs(60);

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The store is killed.
    StoreKilled,
    /// The store cannot be reached.
    StoreCutOff,
    /// The store takes requests and does not answer.
    StoreSilent,
    /// The database's postmaster is killed.
    DatabaseKilled,
    /// The database is shut down.
    DatabaseStopped,
    /// Both at once.
    BothKilled,
}

const FAULTS: [Fault; 6] = [
    Fault::StoreKilled,
    Fault::StoreCutOff,
    Fault::StoreSilent,
    Fault::DatabaseKilled,
    Fault::DatabaseStopped,
    Fault::BothKilled,
];

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StoreKilled => "store_killed",
            Self::StoreCutOff => "store_cut_off",
            Self::StoreSilent => "store_silent",
            Self::DatabaseKilled => "database_killed",
            Self::DatabaseStopped => "database_stopped",
            Self::BothKilled => "both_killed",
        })
    }
}

/// A fault, for a while, with peace before it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    pub(crate) fault: Fault,
    pub(crate) peace: Duration,
    pub(crate) lasts: Duration,
}

impl Outage {
    /// Draws one by lot.
    pub(crate) fn draw(random: &mut Random) -> Self {
        let fault = FAULTS[usize::try_from(random.below(FAULTS.len() as u64)).unwrap_or(0)];
        // Short ones are what happens most, and what attempts are there for.
        let longest = if random.below(3) == 0 { LONGEST } else { LONGEST / 8 };
        let peace = Duration::from_secs(5) + random.up_to(LONGEST_PEACE);
        Self { fault, peace, lasts: Duration::from_secs(1) + random.up_to(longest) }
    }

    /// Breaks something, waits, and brings it back. Returns from when to when it was away.
    pub(crate) fn happen(self, stage: &mut Stage, wait: impl FnOnce(Duration)) -> Span {
        let begun = seconds(Utc::now());
        match self.fault {
            Fault::StoreKilled => stage.store.kill(),
            Fault::StoreCutOff => stage.proxy.set(ProxyFault::Refuse),
            Fault::StoreSilent => stage.proxy.set(ProxyFault::Blackhole),
            Fault::DatabaseKilled => stage.server.kill(),
            Fault::DatabaseStopped => stage.server.stop(),
            Fault::BothKilled => {
                stage.server.kill();
                stage.store.kill();
            }
        }
        wait(self.lasts);
        match self.fault {
            Fault::StoreKilled => stage.store.restart(),
            Fault::StoreCutOff | Fault::StoreSilent => stage.proxy.heal(),
            Fault::DatabaseKilled | Fault::DatabaseStopped => stage.server.restart(),
            Fault::BothKilled => {
                stage.store.restart();
                stage.server.restart();
            }
        }
        Span { begun, ended: seconds(Utc::now()) }
    }
}
