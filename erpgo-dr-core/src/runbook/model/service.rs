//! Services that a runbook stops and starts: whatever manages them, by its own commands.

use serde::{Deserialize, Serialize};

use super::super::template::Template;

/// How a service is stopped and started: a program and its arguments each, without a shell.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Service {
    /// Stops it, and returns when it has stopped.
    pub stop: Vec<Template>,
    /// Starts it.
    pub start: Vec<Template>,
    /// Restarts it; without this it is stopped and started.
    #[serde(default)]
    pub restart: Vec<Template>,
    /// The folder that its programs run in.
    pub folder: Option<Template>,
}

/// What a service is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ServiceOrder {
    /// To stop.
    Stop,
    /// To start.
    Start,
    /// To stop and start.
    Restart,
}

impl Service {
    /// Returns the commands that carry an order out, one after the other.
    pub(crate) fn commands(&self, order: ServiceOrder) -> Vec<&[Template]> {
        match order {
            ServiceOrder::Stop => vec![&self.stop],
            ServiceOrder::Start => vec![&self.start],
            ServiceOrder::Restart if self.restart.is_empty() => vec![&self.stop, &self.start],
            ServiceOrder::Restart => vec![&self.restart],
        }
    }

    /// Lists every command of the service.
    pub(crate) fn all(&self) -> [&[Template]; 3] {
        [&self.stop, &self.start, &self.restart]
    }
}

impl ServiceOrder {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Restart => "restart",
        }
    }

    /// Returns what takes it back.
    pub fn inverse(self) -> Self {
        match self {
            Self::Stop => Self::Start,
            Self::Start => Self::Stop,
            Self::Restart => Self::Restart,
        }
    }
}
