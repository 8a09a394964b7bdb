//! What is broken, and what must come of it.

/// Something that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// None: they change places by the runbook for that, and the watch must not take it for a fault.
    Planned,
    /// The primary is killed, and comes up when it is restarted.
    Killed,
    /// The primary is killed, and its host with it.
    Lost,
    /// Its data directory is damaged, and it is killed.
    Damaged,
    /// The standby had not replayed for a while what it had received.
    Lagging,
    /// The disk of its log is full.
    DiskFull,
    /// Its cable is pulled. A power switch can be reached.
    CutOff,
    /// Its cable is pulled, and nothing can prove that it is off.
    CutOffForGood,
    /// It and its standby do not reach each other any more, and the watch reaches both.
    Split,
    /// The watch does not reach it any more, and its standby does.
    Hidden,
}

/// What must come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    /// They have changed places.
    Switchover,
    /// The standby takes over.
    Failover,
    /// The primary is restarted.
    Restart,
    /// One or the other.
    Either,
    /// A run that ends with an error, and without a promotion.
    Refusal,
    /// Nothing: no run begins.
    Nothing,
}

impl Fault {
    const LOCAL: [Self; 6] = [Self::Planned, Self::Killed, Self::Lost, Self::Damaged, Self::Lagging, Self::DiskFull];
    const OF_NETWORKS: [Self; 4] = [Self::CutOff, Self::CutOffForGood, Self::Split, Self::Hidden];

    /// Lists the faults that can be made here.
    pub(crate) fn all(namespaces: bool, small_disks: bool) -> Vec<Self> {
        let networks = if namespaces { &Self::OF_NETWORKS[..] } else { &[] };
        let faults = Self::LOCAL.iter().chain(networks).copied();
        faults.filter(|fault| small_disks || *fault != Self::DiskFull).collect()
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Killed => "killed",
            Self::Lost => "lost",
            Self::Damaged => "damaged",
            Self::Lagging => "lagging",
            Self::DiskFull => "disk_full",
            Self::CutOff => "cut_off",
            Self::CutOffForGood => "cut_off_without_switch",
            Self::Split => "split",
            Self::Hidden => "hidden",
        }
    }

    pub(crate) fn expected(self) -> Expected {
        match self {
            Self::Planned => Expected::Switchover,
            Self::Killed => Expected::Restart,
            Self::Lost | Self::Damaged | Self::Lagging | Self::CutOff => Expected::Failover,
            Self::DiskFull => Expected::Either,
            Self::CutOffForGood => Expected::Refusal,
            Self::Split | Self::Hidden => Expected::Nothing,
        }
    }

    /// Returns whether the watch knows of a power switch.
    pub(crate) fn has_switch(self) -> bool {
        matches!(self, Self::CutOff | Self::CutOffForGood)
    }
}
