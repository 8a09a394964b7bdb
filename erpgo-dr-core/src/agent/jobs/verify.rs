//! A verification of backups.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::verified;
use crate::agent::job::{Job, JobContext, JobKind, JobOutcome};
use crate::ops::{self, VerifyOptions, verify};
use crate::postgres::DatabaseDriver;
use crate::repository::VerifyLevel;

/// Which backups are verified.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum VerifyScope {
    /// The newest.
    #[default]
    Newest,
    /// All.
    All,
}

/// Verifies backups.
#[derive(Clone)]
pub struct VerifyJob {
    scope: VerifyScope,
    level: VerifyLevel,
    checker: Option<Arc<dyn DatabaseDriver>>,
}

impl VerifyJob {
    /// Verifies these backups as deep as this. `checker` reads streams as the restore tools would.
    pub fn new(scope: VerifyScope, level: VerifyLevel, checker: Option<Arc<dyn DatabaseDriver>>) -> Self {
        Self { scope, level, checker }
    }
}

impl std::fmt::Debug for VerifyJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyJob").field("scope", &self.scope).field("level", &self.level).finish_non_exhaustive()
    }
}

#[async_trait]
impl Job for VerifyJob {
    fn kind(&self) -> JobKind {
        JobKind::Verify
    }

    async fn run(&self, context: &JobContext<'_>) -> ops::Result<JobOutcome> {
        let catalogue = context.repository.catalogue().await?;
        let problems: Vec<String> =
            catalogue.problems.iter().map(|problem| format!("{}: {}", problem.subject, problem.problem)).collect();
        let wanted: Vec<_> = match self.scope {
            VerifyScope::Newest => catalogue.latest().into_iter().map(|entry| entry.id().clone()).collect(),
            VerifyScope::All => catalogue.entries.iter().map(|entry| entry.id().clone()).collect(),
        };
        // To the operation no backups are all backups.
        if wanted.is_empty() {
            return Ok(verified(&[], problems));
        }
        let options = VerifyOptions::default().with_level(self.level);
        let checker = self.checker.as_deref();
        let report = verify(context.repository, &wanted, checker, &options, context.progress).await?;
        let bytes = catalogue.entries.iter().filter(|entry| wanted.contains(entry.id()));
        let bytes: u64 = bytes.map(|entry| entry.summary.stored_bytes).sum();
        Ok(verified(&report.verdicts, problems).with_bytes(bytes))
    }
}
