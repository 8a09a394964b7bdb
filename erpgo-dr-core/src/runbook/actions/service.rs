//! `service`: stops and starts what the runbook calls a service.

use async_trait::async_trait;
use serde::Deserialize;

use super::super::error::ActionError;
use super::super::model::ServiceOrder;
use super::command::{self, Program};
use super::{Act, Done, Nature, Scope, Uses, View};

/// Stops, starts or restarts a service by its own commands. Stopping and starting are taken back by each other.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct ServiceStep {
    /// The service.
    pub name: String,
    /// What it is told.
    #[serde(rename = "do")]
    pub order: ServiceOrder,
}

impl ServiceStep {
    pub(super) fn inverse(&self) -> Self {
        Self { name: self.name.clone(), order: self.order.inverse() }
    }
}

#[async_trait]
impl Act for ServiceStep {
    fn nature(&self) -> Nature {
        Nature::change(120).repeatable()
    }

    fn describe(&self, view: &View<'_>) -> String {
        let commands = view.runbook.services.get(&self.name).map(|service| service.commands(self.order));
        let lines = commands.into_iter().flatten().map(|line| command::shown(line, view));
        format!("{} {}: {}", self.order.as_str(), self.name, lines.collect::<Vec<_>>().join("; then "))
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.services.push(&self.name);
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let service = scope.service(&self.name)?;
        let mut outputs = Vec::new();
        for line in service.commands(self.order) {
            let mut program = Program::new(line, scope)?;
            program.folder = scope.optional(service.folder.as_ref())?;
            outputs.push(program.output(scope).await?);
        }
        outputs.retain(|output| !output.is_empty());
        Ok(Done::said(outputs.join("\n")))
    }
}
