//! The operator at the terminal.

use async_trait::async_trait;
use erpgo_dr_core::runbook::{Answer, Choice, Operator, Question, QuestionKind, Unattended};

use crate::context::Prompts;

/// Asks on the terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    pub(super) name: String,
    pub(super) prompts: Prompts,
    /// What was answered beforehand.
    pub(super) given: Unattended,
}

#[async_trait]
impl Operator for Terminal {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn ask(&self, question: &Question) -> Answer {
        if self.given.allows(question) {
            return Answer::new(Choice::Yes, &self.name, Some("allowed beforehand".to_owned()));
        }
        loop {
            let typed = match self.prompts.line(&asked(question)).await {
                Ok(typed) => typed,
                Err(error) => return Answer::new(Choice::No, &self.name, Some(error.to_string())),
            };
            let (word, note) = typed.split_once(char::is_whitespace).unwrap_or((&typed, ""));
            if let Some(choice) = choice(&question.kind, word) {
                let note = Some(note.trim()).filter(|note| !note.is_empty()).map(str::to_owned);
                return Answer::new(choice, &self.name, note);
            }
        }
    }
}

fn asked(question: &Question) -> String {
    let words = match &question.kind {
        QuestionKind::Confirm { word } => {
            format!("Type {} to go on, or no:", word.as_deref().unwrap_or("yes"))
        }
        QuestionKind::Manual => "Type done when it is done, or failed; a note may follow:".to_owned(),
        _ => "Was it done? Type done, again to do it again, or stop:".to_owned(),
    };
    format!("\n[{}] {}\n{words}", question.step, question.text)
}

fn choice(kind: &QuestionKind, word: &str) -> Option<Choice> {
    match (kind, word) {
        (QuestionKind::Confirm { word: Some(wanted) }, word) if word == wanted => Some(Choice::Yes),
        (QuestionKind::Confirm { word: None }, "yes") => Some(Choice::Yes),
        (QuestionKind::Confirm { .. }, "no") => Some(Choice::No),
        (QuestionKind::Manual, "done") | (QuestionKind::Interrupted, "done") => Some(Choice::Yes),
        (QuestionKind::Manual, "failed") | (QuestionKind::Interrupted, "stop") => Some(Choice::No),
        (QuestionKind::Interrupted, "again") => Some(Choice::Again),
        _ => None,
    }
}
