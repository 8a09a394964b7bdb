//! Who is told what, as the configuration says: of alarms, and of recoveries that take long.

use std::sync::Arc;

use erpgo_dr_core::Repository;
use erpgo_dr_core::agent::AgentOptions;
use erpgo_dr_core::runbook::{Contact, Escalation, EscalationLevel, NoticeBoard, NoticeMail, Notifier};
use secrecy::SecretString;

use super::{Context, first_line};
use crate::config::{ContactConfig, MailConfig};
use crate::error::CliError;

/// The subject of mails about a recovery.
const SUBJECT: &str = "erpgo-dr: recovery";

impl Context {
    /// Makes what tells people of alarms, if the configuration names anybody.
    pub(crate) fn alarm_notifier(&self, repository: &Arc<Repository>) -> Result<Option<Arc<dyn Notifier>>, CliError> {
        let config = &self.config.agent.notify;
        let mut board = self.notice_board(repository);
        let webhook = match &config.webhook_file {
            Some(path) => Some(first_line(path)?),
            None => self.env_file.value("SLACK_WEBHOOK_URL").map(SecretString::from),
        };
        if let Some(address) = webhook {
            board = board.with_webhook(address, config.webhook_authorities.clone());
        }
        if let Some(mail) = &config.email {
            if mail.to.is_empty() {
                return Err(CliError::usage("[agent.notify.email] has no recipient", "name them: to = [\"ops@...\"]"));
            }
            board = board.with_mail(mail_by(mail, mail.to.clone(), "[agent.notify.email]")?);
        }
        if !config.command.is_empty() {
            board = board.with_command(config.command.clone());
        }
        Ok((!board.is_empty()).then(|| Arc::new(board) as Arc<dyn Notifier>))
    }

    /// Makes what tells people that a recovery takes long, if the configuration has levels of escalation.
    pub(crate) fn escalation(&self, repository: &Arc<Repository>) -> Result<Option<Arc<Escalation>>, CliError> {
        if let Some(fault) = self.config.escalation_faults().into_iter().next() {
            return Err(CliError::usage(
                fault,
                "`erpgo-dr config check` lists everything that is wrong with the configuration",
            ));
        }
        let config = &self.config.escalation;
        if config.levels.is_empty() {
            return Ok(None);
        }
        let mut levels = Vec::with_capacity(config.levels.len());
        for level in &config.levels {
            let named = level.tell.iter().filter_map(|name| self.config.contacts.iter().find(|one| one.name == *name));
            let contacts = named.map(|contact| self.contact(contact, repository)).collect::<Result<_, _>>()?;
            levels.push(EscalationLevel::new(level.after, contacts));
        }
        Ok(Some(Arc::new(Escalation::new(self.host(), levels)?)))
    }

    fn contact(&self, config: &ContactConfig, repository: &Arc<Repository>) -> Result<Contact, CliError> {
        let reached_at = config.phone.iter().chain(&config.email).cloned().collect();
        let contact = Contact::new(&config.name, self.ways_to(config, repository)?);
        Ok(contact.with_role(config.role.clone()).with_reached_at(reached_at))
    }

    fn ways_to(&self, contact: &ContactConfig, repository: &Arc<Repository>) -> Result<Arc<dyn Notifier>, CliError> {
        let mut board = self.notice_board(repository);
        if let Some(path) = &contact.webhook_file {
            board = board.with_webhook(first_line(path)?, contact.webhook_authorities.clone());
        }
        if let (Some(address), Some(mail)) = (&contact.email, &self.config.escalation.mail) {
            let mail = mail_by(mail, vec![address.clone()], "[escalation.mail]")?;
            let subject = mail.subject.clone().unwrap_or_else(|| SUBJECT.to_owned());
            board = board.with_mail(mail.with_subject(Some(subject)));
        }
        if !contact.command.is_empty() {
            board = board.with_command(contact.command.clone());
        }
        Ok(Arc::new(board))
    }

    /// Returns what this host is called in messages, as in those of the agent.
    pub(crate) fn host(&self) -> String {
        self.config.agent.host.clone().unwrap_or_else(|| AgentOptions::of_this_host().host)
    }

    fn notice_board(&self, repository: &Arc<Repository>) -> NoticeBoard {
        NoticeBoard::new(Arc::clone(repository)).with_environment(self.passed_environment())
    }
}

/// Makes a mail to these; `table` is where the configuration says how.
fn mail_by(mail: &MailConfig, to: Vec<String>, table: &str) -> Result<NoticeMail, CliError> {
    let login = match (&mail.user, &mail.password_file) {
        (Some(user), Some(path)) => Some((user.clone(), first_line(path)?)),
        (None, None) => None,
        _ => {
            return Err(CliError::usage(
                format!("{table} has a user without a password, or the other way round"),
                "give both `user` and `password_file`, or neither",
            ));
        }
    };
    Ok(NoticeMail::new(&mail.server, &mail.from, to)
        .with_subject(mail.subject.clone())
        .with_login(login)
        .with_tls(mail.tls, mail.authorities.clone()))
}
