//! What is wrong with a configuration although it can be read: settings that contradict each other, or lead nowhere.

use std::collections::BTreeSet;

use erpgo_dr_core::agent::{JobKind, Schedule};
use erpgo_dr_core::repository::JobName;

use super::{Config, ContactConfig, MailConfig};

impl Config {
    /// Lists what cannot work. Files that it names are not looked for: they may be on another host.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(Err(error)) = self.retention.as_ref().map(|settings| settings.policy()) {
            faults.push(format!("[retention]: {error}"));
        }
        for job in &self.agent.jobs {
            let (name, kind) = (job.name(), job.kind);
            let strangers = job.strangers().into_iter();
            faults.extend(
                strangers.map(|key| format!("[[agent.job]] {name}: `{key}` means nothing for the kind {kind}")),
            );
        }
        faults.extend(twins("[[agent.job]]", self.agent.jobs.iter().map(|job| job.name())));
        faults.extend(twins("[[check]]", self.checks.iter().map(|check| check.name.as_str())));
        faults.extend(twins("[[figure]]", self.figures.iter().map(|figure| figure.name.as_str())));
        for figure in
            self.figures.iter().filter(|figure| figure.max_change.is_some_and(|most| most.is_nan() || most < 0.0))
        {
            faults.push(format!("[[figure]] {}: max_change is a share, such as 0.2", figure.name));
        }
        self.agent_faults(&mut faults);
        faults.extend(self.escalation_faults());
        faults
    }

    /// What an agent would refuse to begin with.
    fn agent_faults(&self, faults: &mut Vec<String>) {
        let notify = &self.agent.notify;
        for job in &self.agent.jobs {
            let name = job.name();
            let mut find = |fault: &dyn std::fmt::Display| faults.push(format!("[[agent.job]] {name}: {fault}"));
            if let Err(error) = name.parse::<JobName>() {
                find(&error);
            }
            let zone = job.time_zone.as_deref().or(self.agent.time_zone.as_deref()).unwrap_or("UTC");
            if let Some(Err(error)) = job.schedule.as_deref().map(|pattern| Schedule::new(pattern, zone)) {
                find(&error);
            }
            // A web hook may also come from the environment file.
            let tells = notify.webhook_file.is_some() || notify.email.is_some() || !notify.command.is_empty();
            if job.kind == JobKind::Summary && !tells && self.env_file.is_none() {
                find(&"there is nobody to tell: write an [agent.notify]");
            }
        }
        if notify.email.as_ref().is_some_and(|mail| mail.to.is_empty()) {
            faults.push("[agent.notify.email]: it has no recipient".to_owned());
        }
        faults.extend(notify.email.as_ref().and_then(|mail| half_login("[agent.notify.email]", mail)));
    }

    /// Lists what is wrong with contacts, and with the levels that tell them.
    pub(crate) fn escalation_faults(&self) -> Vec<String> {
        let mut faults = twins("[[contact]]", self.contacts.iter().map(|contact| contact.name.as_str()));
        if let Some(mail) = &self.escalation.mail {
            faults.extend(half_login("[escalation.mail]", mail));
            if !mail.to.is_empty() {
                faults.push("[escalation.mail]: `to` means nothing here, contacts have an `email`".to_owned());
            }
        }
        let levels = &self.escalation.levels;
        for pair in levels.windows(2).filter(|pair| pair[0].after >= pair[1].after) {
            faults.push(format!("[[escalation.level]] {} does not come after {}", pair[1].after, pair[0].after));
        }
        for level in levels {
            if level.tell.is_empty() {
                faults.push(format!("[[escalation.level]] {} tells nobody", level.after));
            }
            for name in &level.tell {
                match self.contacts.iter().find(|contact| contact.name == *name) {
                    None => faults.push(format!("[[escalation.level]] {}: {name} is no contact", level.after)),
                    Some(contact) if !self.can_be_told(contact) => {
                        faults.push(format!("[[contact]] {name}: there is no way to tell them anything"));
                    }
                    Some(_) => {}
                }
            }
        }
        faults
    }

    fn can_be_told(&self, contact: &ContactConfig) -> bool {
        let by_mail = contact.email.is_some() && self.escalation.mail.is_some();
        by_mail || contact.webhook_file.is_some() || !contact.command.is_empty()
    }
}

fn half_login(table: &str, mail: &MailConfig) -> Option<String> {
    let is_half = mail.user.is_some() != mail.password_file.is_some();
    is_half.then(|| format!("{table}: a user needs a password_file, and the other way round"))
}

fn twins<'n>(table: &str, names: impl Iterator<Item = &'n str>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let twice = names.filter(|name| !seen.insert(*name)).map(|name| format!("{table}: two are called {name}"));
    twice.collect()
}
