//! What the monitor asks, by the configuration.

use std::sync::Arc;

use erpgo_dr_core::Repository;
use erpgo_dr_core::monitor::{Facts, MonitorOptions, observe};
use erpgo_dr_core::ops::drill::Objectives;

use super::super::drill::planned;
use crate::context::{Access, Context, Places};
use crate::error::CliError;

/// A repository, and what is asked beside it.
pub(in crate::commands) struct Watched {
    pub(super) repository: Arc<Repository>,
    pub(super) options: MonitorOptions,
}

impl Watched {
    /// Opens the repository, and watches it.
    pub(in crate::commands) async fn open(context: &Context) -> Result<Self, CliError> {
        let places = context.places()?;
        let repository = context.open_at(&places, Access::Unlocked).await?;
        Self::of(context, &places, Arc::new(repository))
    }

    /// Watches a repository that was opened at these places.
    fn of(context: &Context, places: &Places, repository: Arc<Repository>) -> Result<Self, CliError> {
        let server = if context.names_server() { Some(context.connection()?) } else { None };
        let config = &context.config.monitor;
        let objectives =
            Objectives::new(config.rto.map(|span| span.duration()), config.rpo.map(|span| span.duration()));
        let max_age = context.max_age()?.map(|age| age.to_std().unwrap_or_default());
        let options = MonitorOptions::default()
            .with_server(server)
            .with_places(places.replicated.clone())
            .with_max_age(max_age)
            .with_objectives(objectives)
            .with_drills(planned(&context.config))
            .with_folders(config.folders.clone());
        Ok(Self { repository, options })
    }

    /// Watches the repository of an agent.
    pub(in crate::commands) fn of_agent(context: &Context, repository: Arc<Repository>) -> Result<Self, CliError> {
        Self::of(context, &context.places()?, repository)
    }

    /// Asks for all that is shown.
    pub(in crate::commands) async fn observe(&self) -> Result<Facts, CliError> {
        Ok(observe(&self.repository, &self.options).await?)
    }

    /// Returns whether two are of the same repository at the same place.
    pub(in crate::commands) fn is_of(&self, other: &Self) -> bool {
        let of = |watched: &Self| (watched.repository.settings().id.clone(), watched.repository.storage().location());
        of(self) == of(other)
    }
}
