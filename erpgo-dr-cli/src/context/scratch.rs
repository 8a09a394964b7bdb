//! Where restore tests work, and what those that were killed have left there.

use std::path::{Path, PathBuf};

use erpgo_dr_core::postgres::throwaway::sweep;

use super::Context;

impl Context {
    /// Returns the scratch folder: the one that is named, that of the environment or the configuration, or the temporary folder.
    pub(crate) fn scratch(&self, named: Option<&Path>) -> PathBuf {
        let variable = || std::env::var_os("ERPGO_DR_SCRATCH").filter(|value| !value.is_empty()).map(PathBuf::from);
        let named = named.map(Path::to_owned).or_else(variable);
        named.or_else(|| self.config.verify.scratch.clone()).unwrap_or_else(std::env::temp_dir)
    }

    /// Removes from the scratch folder what killed restore tests have left: data in the clear, and servers that run on. What cannot
    /// be removed hinders nothing else.
    pub(crate) async fn sweep_scratch(&self, scratch: &Path) {
        match sweep(scratch).await {
            Ok(report) => {
                for folder in &report.removed {
                    self.output.note(&format!("removed what a killed restore test had left: {}", folder.display()));
                }
            }
            Err(error) => {
                let error = crate::error::CliError::from(error);
                let told = error.in_a_line();
                self.output.warn(&format!("what killed restore tests left could not be removed: {told}"));
            }
        }
    }
}
