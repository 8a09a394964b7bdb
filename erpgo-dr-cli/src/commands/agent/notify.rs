//! Who is told of alarms.

use std::sync::Arc;

use erpgo_dr_core::Repository;
use erpgo_dr_core::agent::{AlarmMail, NoticeBoard, Notifier};
use secrecy::SecretString;

use crate::context::{Context, first_line};
use crate::error::CliError;

/// Makes what tells people of alarms, if the configuration names anybody.
pub(super) fn configured(
    context: &Context,
    repository: &Arc<Repository>,
) -> Result<Option<Arc<dyn Notifier>>, CliError> {
    let config = &context.config.agent.notify;
    let mut board = NoticeBoard::new(Arc::clone(repository)).with_environment(context.passed_environment());
    let webhook = match &config.webhook_file {
        Some(path) => Some(first_line(path)?),
        None => context.env_file.value("SLACK_WEBHOOK_URL").map(SecretString::from),
    };
    if let Some(address) = webhook {
        board = board.with_webhook(address, config.webhook_authorities.clone());
    }
    if let Some(mail) = &config.email {
        let login = match (&mail.user, &mail.password_file) {
            (Some(user), Some(path)) => Some((user.clone(), first_line(path)?)),
            (None, None) => None,
            _ => {
                return Err(CliError::usage(
                    "[agent.notify.email] has a user without a password, or the other way round",
                    "give both `user` and `password_file`, or neither",
                ));
            }
        };
        board = board.with_mail(
            AlarmMail::new(&mail.server, &mail.from, mail.to.clone())
                .with_subject(mail.subject.clone())
                .with_login(login)
                .with_tls(mail.tls, mail.authorities.clone()),
        );
    }
    if !config.command.is_empty() {
        board = board.with_command(config.command.clone());
    }
    Ok((!board.is_empty()).then(|| Arc::new(board) as Arc<dyn Notifier>))
}
