//! `drill forecast`: how long would recovery take today?

use clap::Args;
use erpgo_dr_core::ops::drill::{Forecast, Scenario, forecast};
use serde::Serialize;

use super::plan::objectives;
use crate::context::{Access, Context};
use crate::error::CliError;
use crate::output::{Report, bytes, seconds};

/// Predict how long recovery would take today, by what restores took that were measured
///
/// Ends with 1 if that is more than it may be: then a new backup of the cluster is due, or quicker disks.
#[derive(Debug, Args)]
pub(super) struct DrillForecastArgs {}

#[derive(Serialize)]
struct Predicted {
    forecast: Option<Forecast>,
    objective_seconds: Option<f64>,
    within: Option<bool>,
}

impl DrillForecastArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let repository = context.repository(Access::Unlocked).await?;
        let catalogue = repository.catalogue().await?;
        let forecast = forecast(&repository, &catalogue, &repository.drills().await?.records).await?;
        let is_cluster = forecast.as_ref().is_none_or(|forecast| forecast.cluster);
        let scenario = if is_cluster { Scenario::FullRecovery } else { Scenario::Restore };
        let objective = objectives(&context.config, scenario).rto.map(|rto| rto.as_secs_f64());
        let within = forecast.as_ref().and_then(|forecast| Some(forecast.rto_seconds <= objective?));
        let predicted = Predicted { forecast, objective_seconds: objective, within };
        let text = match &predicted.forecast {
            None => "unknown: no restore was measured yet; `erpgo-dr drill run restore` measures one\n".to_owned(),
            Some(forecast) => told(forecast, &predicted),
        };
        Report::new(&predicted, text, predicted.forecast.is_some() && within != Some(false))
    }
}

fn told(forecast: &Forecast, predicted: &Predicted) -> String {
    let mut text = format!(
        "RTO {} for {}, by {} restores\n  {} of files at {}/s\n",
        seconds(forecast.rto_seconds),
        forecast.backup,
        forecast.restores,
        bytes(forecast.bytes),
        bytes(forecast.restore_rate as u64)
    );
    match forecast.replay_rate {
        Some(rate) => {
            text.push_str(&format!("  {} of log at {}/s\n", bytes(forecast.replay_bytes), bytes(rate as u64)));
        }
        None if forecast.replay_bytes > 0 => text.push_str(&format!(
            "  {} of log, whose replay is not measured: `erpgo-dr drill run full-recovery` does\n",
            bytes(forecast.replay_bytes)
        )),
        None => {}
    }
    if predicted.within == Some(false) {
        let objective = predicted.objective_seconds.map(seconds).unwrap_or_default();
        text.push_str(&format!("TOO LONG: it may be {objective}; a new backup of the cluster shortens the replay\n"));
    }
    text
}
