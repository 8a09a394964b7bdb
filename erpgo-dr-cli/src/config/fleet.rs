//! The table `[fleet]`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::places::BandwidthConfig;

/// The table `[fleet]`: many clusters, watched by one process.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FleetConfig {
    /// A folder with a configuration file for each cluster: `/etc/erpgo-dr/clusters.d`.
    pub folder: Option<PathBuf>,
    /// Jobs that run at once, of all clusters together; 2 where nothing is said.
    pub jobs: Option<NonZeroUsize>,
    /// Bytes a second to and from storage, of all clusters together: `50MiB`. As fast as it can where nothing is said.
    pub bandwidth: Option<BandwidthConfig>,
}
