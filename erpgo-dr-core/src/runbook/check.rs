//! Finds what cannot work in a runbook before anything of it is done.

use std::collections::BTreeSet;

use super::RunbookError;
use super::actions::{Action, TextUse, Uses};
use super::model::{Condition, Runbook, Step, is_slug};
use super::template::{Template, is_name};
use super::values::{Value, ValueError, VariableKind};

impl Runbook {
    /// Checks that the runbook makes sense: that what it names exists and comes before, that no secret is put where others see it,
    /// and that checks are checks.
    ///
    /// # Errors
    /// [`RunbookError::Faulty`] with every fault.
    pub fn check(&self) -> Result<(), RunbookError> {
        let mut faults = Faults::default();
        faults.of_names(self);
        let mut earlier = BTreeSet::new();
        for step in &self.steps {
            faults.of_step(self, step, &earlier);
            if !earlier.insert(step.id.as_str()) {
                faults.add(step, "its name is that of an earlier step");
            }
        }
        if self.steps.is_empty() {
            faults.0.push("it has no steps".to_owned());
        }
        match faults.0.is_empty() {
            true => Ok(()),
            false => Err(RunbookError::Faulty { name: self.name.clone(), faults: faults.0 }),
        }
    }
}

#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn add(&mut self, step: &Step, fault: &str) {
        self.0.push(format!("step {}: {fault}", step.id));
    }

    fn of_names(&mut self, runbook: &Runbook) {
        for (name, variable) in &runbook.variables {
            if !is_name(name) {
                self.0.push(format!(
                    "{name:?} cannot name a variable: lower-case letters, digits and `_`, a letter first"
                ));
            }
            if let Some(default) = &variable.default {
                if variable.kind == VariableKind::Secret {
                    self.0.push(format!("the secret {name} has a default, which everybody can read"));
                } else if has_password(&variable.kind.parse(name, &default.text())) {
                    self.0.push(format!("the default of {name} has a password, which everybody can read"));
                } else if variable.kind.parse(name, &default.text()).is_err() {
                    self.0.push(format!("the default of {name} is not {}", variable.kind.described()));
                }
            }
        }
        if let Some(patroni) = &runbook.patroni {
            let used = patroni.texts().flat_map(Template::variables).map(|variable| (variable, TextUse::Visible));
            self.0.extend(used.filter_map(|used| unusable(runbook, used)).map(|fault| format!("[patroni]: {fault}")));
            if let Some(name) = &patroni.password {
                match runbook.variables.get(name) {
                    Some(found) if found.kind == VariableKind::Secret => {}
                    Some(_) => self.0.push(format!("[patroni]: {name} is no secret")),
                    None => self.0.push(format!("[patroni]: there is no variable {name}")),
                }
            }
        }
        for (name, service) in &runbook.services {
            if !is_slug(name) {
                self.0.push(format!(
                    "{name:?} cannot name a service: lower-case letters, digits and `-`, a letter first"
                ));
            }
            if service.stop.is_empty() || service.start.is_empty() {
                self.0.push(format!("the service {name} needs a program that stops it and one that starts it"));
            }
            for template in service.all().into_iter().flatten().chain(&service.folder) {
                let used = template.variables().map(|variable| (variable, TextUse::Visible));
                self.0.extend(
                    used.filter_map(|used| unusable(runbook, used)).map(|fault| format!("service {name}: {fault}")),
                );
            }
        }
    }

    fn of_step(&mut self, runbook: &Runbook, step: &Step, earlier: &BTreeSet<&str>) {
        self.of_action(runbook, step, &step.action);
        if let Some(undo) = &step.undo {
            self.of_action(runbook, step, undo);
        }
        if let Some(done) = &step.done {
            self.of_check(runbook, step, done, "`done`");
        }
        for condition in &step.when {
            match condition {
                Condition::Step { step: named, .. } | Condition::NotStep { step: named, .. }
                    if !earlier.contains(named.as_str()) =>
                {
                    self.add(step, &format!("there is no earlier step {named}"));
                }
                Condition::Set { variable, .. } | Condition::Equals { variable, .. }
                    if !runbook.variables.contains_key(variable) =>
                {
                    self.add(step, &format!("there is no variable {variable}"));
                }
                Condition::Check(check) | Condition::CheckFails(check) => {
                    self.of_check(runbook, step, check, "a condition");
                }
                Condition::Step { .. }
                | Condition::NotStep { .. }
                | Condition::Set { .. }
                | Condition::Equals { .. } => {}
            }
        }
        if step.has_limit() && step.limit().duration().is_zero() {
            self.add(step, "an attempt would have no time");
        }
        if let Some(variable) = &step.store {
            match runbook.variables.get(variable) {
                None => self.add(step, &format!("there is no variable {variable}")),
                Some(found) if found.kind == VariableKind::Server => {
                    self.add(step, &format!("no step returns a server, as {variable} is one"));
                }
                Some(_) => {}
            }
        }
    }

    fn of_check(&mut self, runbook: &Runbook, step: &Step, check: &Action, place: &str) {
        if !check.is_check() {
            self.add(step, &format!("{place} is {}, which does not only look", check.kind()));
        }
        self.of_action(runbook, step, check);
    }

    fn of_action(&mut self, runbook: &Runbook, step: &Step, action: &Action) {
        let mut uses = Uses::default();
        action.act().uses(&mut uses);
        if uses.patroni && runbook.patroni.is_none() {
            self.add(step, "there is no table [patroni]");
        }
        let loose = uses.loose.iter().map(|template| (*template, TextUse::Visible));
        for (template, place) in uses.texts.iter().copied().chain(loose) {
            for variable in template.variables() {
                if let Some(fault) = unusable(runbook, (variable, place)) {
                    self.add(step, &fault);
                }
            }
        }
        for variable in uses.statements.iter().flat_map(|statement| statement.within_quotes()) {
            self.add(step, &format!("{variable} stands within quotes or a comment: write {{{{ {variable} }}}} without, it is quoted by itself"));
        }
        for server in uses.servers.into_iter().chain(uses.made_servers) {
            match runbook.variables.get(server) {
                None => self.add(step, &format!("there is no variable {server}")),
                Some(found) if found.kind != VariableKind::Server => self.add(step, &format!("{server} is no server")),
                Some(_) => {}
            }
        }
        for secret in uses.sets.into_iter().chain(uses.secrets) {
            match runbook.variables.get(secret) {
                None => self.add(step, &format!("there is no variable {secret}")),
                Some(found) if found.kind != VariableKind::Secret => self.add(step, &format!("{secret} is no secret")),
                Some(_) => {}
            }
        }
        for service in uses.services {
            if !runbook.services.contains_key(service) {
                self.add(step, &format!("there is no service {service}"));
            }
        }
        for check in uses.checks {
            self.of_check(runbook, step, check, "what is waited for");
        }
    }
}

fn has_password(value: &Result<Value, ValueError>) -> bool {
    matches!(value, Ok(Value::Server(settings)) if settings.exposed_password().is_some())
}

/// Says why a variable cannot stand in a text.
fn unusable(runbook: &Runbook, (variable, place): (&str, TextUse)) -> Option<String> {
    match runbook.variables.get(variable) {
        None => Some(format!("there is no variable {variable}")),
        Some(found) if found.kind == VariableKind::Server => Some(format!("{variable} is a server, which is no text")),
        Some(found) if found.kind == VariableKind::Secret && place == TextUse::Visible => {
            Some(format!("the secret {variable} would be seen there"))
        }
        Some(_) => None,
    }
}
