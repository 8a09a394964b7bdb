//! `runbook contacts`: who is told when a recovery takes long, and whether that works.

use std::sync::Arc;

use clap::Args;
use erpgo_dr_core::runbook::{Escalation, Told};
use serde::Serialize;

use crate::context::{Access, Context, SpooledRepository};
use crate::error::CliError;
use crate::output::{Align, Report, Table};

/// List who is told when a run of a runbook takes long, level by level
///
/// Contacts and levels are those of [[contact]] and [[escalation.level]] in erpgo-dr.toml.
#[derive(Debug, Args)]
pub(super) struct RunbookContactsArgs {
    /// Tell every one of them that this is a test; ends with 1 if one could not be told
    #[arg(long)]
    test: bool,
}

#[derive(Serialize)]
struct Contacts {
    contacts: Vec<ListedContact>,
}

#[derive(Serialize)]
struct ListedContact {
    /// From 1 on.
    level: u32,
    /// How long after the incident.
    after: String,
    name: String,
    role: Option<String>,
    reached_at: Vec<String>,
    /// Whether the test reached them; absent without one.
    told: Option<bool>,
    /// Why it did not.
    failed: Option<String>,
}

impl RunbookContactsArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let SpooledRepository { repository, .. } = context.spooled_repository(Access::KeysIfAtHand).await?;
        let escalation = context.escalation(&Arc::new(repository))?;
        let mut listed = escalation.as_deref().map(list).unwrap_or_default();
        let mut ok = true;
        if let Some(escalation) = escalation.filter(|_| self.test) {
            for (contact, Told { failed, .. }) in listed.iter_mut().zip(escalation.test().await) {
                ok &= failed.is_none();
                (contact.told, contact.failed) = (Some(failed.is_none()), failed);
            }
        }
        let text = render(&listed, self.test);
        Report::new(&Contacts { contacts: listed }, text, ok)
    }
}

fn list(escalation: &Escalation) -> Vec<ListedContact> {
    let levels = (1..).zip(escalation.levels());
    let contacts = levels.flat_map(|(number, level)| {
        level.contacts.iter().map(move |contact| ListedContact {
            level: number,
            after: level.after.to_string(),
            name: contact.name.clone(),
            role: contact.role.clone(),
            reached_at: contact.reached_at.clone(),
            told: None,
            failed: None,
        })
    });
    contacts.collect()
}

fn render(contacts: &[ListedContact], tested: bool) -> String {
    if contacts.is_empty() {
        return "nobody is told: erpgo-dr.toml has no [[escalation.level]]\n".to_owned();
    }
    let columns = ["LEVEL", "AFTER", "CONTACT", "ROLE", "REACHED AT"].into_iter().chain(tested.then_some("TEST"));
    let mut table = Table::new(columns.map(|name| (name, Align::Left)));
    for contact in contacts {
        let or_dash = |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned());
        let test = tested.then(|| contact.failed.clone().unwrap_or_else(|| "told".to_owned()));
        let row = [
            contact.level.to_string(),
            contact.after.clone(),
            contact.name.clone(),
            or_dash(contact.role.clone()),
            or_dash(Some(contact.reached_at.join(", "))),
        ];
        table.row(row.into_iter().chain(test));
    }
    table.render()
}
