//! `metrics`, `report`, `serve`: what is known of the repository and its server, for those who watch.

mod metrics;
mod options;
mod report;
mod serve;
mod service;

pub(super) use metrics::MetricsArgs;
pub(super) use options::Watched;
pub(super) use report::ReportArgs;
pub(super) use serve::ServeArgs;
pub(super) use service::MonitorPlan;

use std::path::Path;

use tokio::io::AsyncWriteExt as _;

use super::write_new_file;
use crate::error::{self, CliError};

/// Writes a text into a file in one step, so that whoever reads it finds it whole. It may take the place of an earlier one.
pub(super) async fn write_text(path: &Path, force: bool, text: &str) -> Result<(), CliError> {
    let action = format!("write {}", path.display());
    write_new_file(path, force, async |file| {
        file.write_all(text.as_bytes()).await.map_err(|source| error::io(action.clone(), source))?;
        Ok(text.len() as u64)
    })
    .await?;
    Ok(())
}
