//! Answers what a runbook asks in a drill: nobody is kept from other work by it.

use async_trait::async_trait;

use crate::runbook::{Answer, Choice, Operator, Question, QuestionKind};

/// Says yes to everything, and says that it was not done by people.
#[derive(Debug)]
pub(super) struct Prompter {
    pub(super) name: String,
}

#[async_trait]
impl Operator for Prompter {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn ask(&self, question: &Question) -> Answer {
        let note = match question.kind {
            QuestionKind::Manual => "a drill: nobody did it by hand",
            _ => "a drill: decided beforehand",
        };
        Answer::new(Choice::Yes, "the drill", Some(note.to_owned()))
    }
}
