//! What the monitor asks, by the configuration.

use std::time::Duration;

use erpgo_dr_core::Repository;
use erpgo_dr_core::monitor::MonitorOptions;
use erpgo_dr_core::ops::drill::Objectives;
use erpgo_dr_core::retention::RetentionSettings;

use super::super::drill::planned;
use crate::config::ConfigError;
use crate::context::{Access, Context};
use crate::error::CliError;

/// A repository, and what is asked beside it.
pub(super) struct Watched {
    pub(super) repository: Repository,
    pub(super) options: MonitorOptions,
}

impl Watched {
    pub(super) async fn open(context: &Context) -> Result<Self, CliError> {
        let server = if context.names_server() { Some(context.connection()?) } else { None };
        let config = &context.config.monitor;
        let objectives =
            Objectives::new(config.rto.map(|span| span.duration()), config.rpo.map(|span| span.duration()));
        let places = context.places()?;
        let repository = context.open_at(&places, Access::Unlocked).await?;
        let options = MonitorOptions::default()
            .with_server(server)
            .with_places(places.replicated)
            .with_max_age(max_age(context)?)
            .with_objectives(objectives)
            .with_drills(planned(&context.config))
            .with_folders(config.folders.clone());
        Ok(Self { repository, options })
    }
}

fn max_age(context: &Context) -> Result<Option<Duration>, CliError> {
    let Some(text) = &context.config.status.max_age else { return Ok(None) };
    let wrong = |message: String| ConfigError::Invalid { message: format!("status.max_age: {message}") };
    let span = RetentionSettings::parse_duration(text).map_err(|error| wrong(error.to_string()))?;
    Ok(Some(span.to_std().map_err(|error| wrong(error.to_string()))?))
}
