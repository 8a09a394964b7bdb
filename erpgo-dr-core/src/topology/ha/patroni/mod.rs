//! Patroni, by its REST interface.

mod answers;
mod client;
mod settings;

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::backend::HaBackend;
use super::cluster::{HaCluster, MemberStatus};
use super::error::HaError;
use crate::types::{Lsn, TimelineId};
use client::{Client, Method};

pub use settings::PatroniSettings;

/// A cluster that Patroni runs. Of several addresses the first one is asked that answers.
///
/// What concerns one member goes to where that member says it is asked, as `patronictl` does it. An order goes to the address that answered
/// last. All addresses are of one cluster: one of another is refused.
#[derive(Debug)]
pub struct PatroniBackend {
    client: Client,
}

impl PatroniBackend {
    /// Prepares the connection. Nothing is asked yet.
    ///
    /// # Errors
    /// [`HaError::Setting`]: no address, one that is none or holds a password, a file that cannot be read.
    pub fn new(settings: &PatroniSettings) -> Result<Self, HaError> {
        Ok(Self { client: Client::new(settings)? })
    }

    /// Returns where a member is asked.
    async fn interface(&self, name: &str) -> Result<String, HaError> {
        let cluster = self.cluster().await?;
        let found = cluster.member(name)?.interface.clone();
        let url = found.ok_or_else(|| HaError::NotReady {
            member: name.to_owned(),
            reason: "it does not say where it is asked".to_owned(),
        })?;
        self.client.allowed(&url)
    }
}

#[async_trait]
impl HaBackend for PatroniBackend {
    fn name(&self) -> String {
        format!("Patroni at {}", self.client.urls().join(", "))
    }

    async fn cluster(&self) -> Result<HaCluster, HaError> {
        let (url, answer) = self.client.ask("/cluster").await?;
        answers::cluster(&answer).ok_or(HaError::Unreadable { url, reason: "it names no members".to_owned() })
    }

    async fn member(&self, name: &str) -> Result<MemberStatus, HaError> {
        let url = self.interface(name).await?;
        Ok(answers::status(&self.client.ask_at(&url, "/patroni").await?))
    }

    async fn branch(&self, timeline: TimelineId) -> Result<Option<Lsn>, HaError> {
        let (_, history) = self.client.ask("/history").await?;
        Ok(answers::branch(&history, timeline))
    }

    async fn switchover(&self, leader: &str, candidate: &str, limit: Duration) -> Result<(), HaError> {
        let order = json!({ "leader": leader, "candidate": candidate });
        self.client.tell(Method::Post, "/switchover", &order, limit).await.map_err(unless_unknown)
    }

    async fn failover(&self, candidate: &str, limit: Duration) -> Result<(), HaError> {
        let order = json!({ "candidate": candidate });
        self.client.tell(Method::Post, "/failover", &order, limit).await.map_err(unless_unknown)
    }

    async fn set_paused(&self, paused: bool, limit: Duration) -> Result<(), HaError> {
        // `patronictl resume` removes the key, too.
        let value = if paused { Value::Bool(true) } else { Value::Null };
        self.client.tell(Method::Patch, "/config", &json!({ "pause": value }), limit).await
    }

    async fn reinitialize(&self, member: &str, limit: Duration) -> Result<(), HaError> {
        let url = self.interface(member).await?;
        self.client.tell_at(&url, Method::Post, "/reinitialize", &json!({ "force": true }), limit).await
    }
}

/// Patroni waits for a while, and then says that it does not know: that is no refusal (`poll_failover_result` in its api.py).
fn unless_unknown(error: HaError) -> HaError {
    match error {
        HaError::Refused { by, status: 503, text } if text.ends_with("status unknown") => {
            HaError::Unanswered { url: by, reason: text }
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_patroni_does_not_know_yet_is_no_refusal() {
        let refused =
            |status, text: &str| HaError::Refused { by: "http://db1".to_owned(), status, text: text.to_owned() };
        assert!(matches!(unless_unknown(refused(503, "Switchover status unknown")), HaError::Unanswered { .. }));
        assert!(matches!(unless_unknown(refused(503, "Switchover failed")), HaError::Refused { .. }));
        assert!(matches!(unless_unknown(refused(412, "leader name does not match")), HaError::Refused { .. }));
    }
}
