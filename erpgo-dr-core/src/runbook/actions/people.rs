//! `confirm` and `manual`: what people decide, and what they do.

use async_trait::async_trait;
use serde::Deserialize;

use super::super::error::ActionError;
use super::super::operator::{Answer, Choice, QuestionKind};
use super::super::template::Template;
use super::{Act, Done, Nature, Scope, Uses, View};

/// Asks the operator, and fails unless the answer is yes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Confirm {
    /// The question.
    pub question: Template,
    /// A word that must be typed for a yes: `RECOVER`.
    pub word: Option<String>,
}

/// Tells people what to do, waits until they say that it is done, and returns what they write beside it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Manual {
    /// What to do.
    pub instructions: Template,
}

#[async_trait]
impl Act for Confirm {
    fn nature(&self) -> Nature {
        Nature::change(0).repeatable().for_people()
    }

    fn describe(&self, view: &View<'_>) -> String {
        let word = self.word.as_ref().map(|word| format!(" (by typing {word})")).unwrap_or_default();
        format!("ask the operator{word}: {}", self.question.shown(view.values))
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.visible([&self.question]);
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let kind = QuestionKind::Confirm { word: self.word.clone() };
        answered(scope.ask(kind, scope.text(&self.question)?).await)
    }
}

#[async_trait]
impl Act for Manual {
    fn nature(&self) -> Nature {
        Nature::change(0).repeatable().for_people()
    }

    fn describe(&self, view: &View<'_>) -> String {
        format!("by hand: {}", self.instructions.shown(view.values))
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.visible([&self.instructions]);
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        answered(scope.ask(QuestionKind::Manual, scope.text(&self.instructions)?).await)
    }
}

fn answered(answer: Answer) -> Result<Done, ActionError> {
    if answer.choice != Choice::Yes {
        return Err(ActionError::Declined { by: answer.by, note: answer.note });
    }
    let output = match &answer.note {
        Some(note) => format!("{}: {note}", answer.by),
        None => format!("{} said yes", answer.by),
    };
    Ok(Done { output, value: answer.note.clone(), answer: Some(answer), ..Done::default() })
}
