//! What was checked, and how it went.

use serde::Serialize;

use crate::error::CliError;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Ok,
    Warn,
    Fail,
    Skip,
}

#[derive(Debug, Serialize)]
struct Check {
    name: String,
    level: Level,
    detail: String,
    /// What to do next.
    next: Option<String>,
}

/// The checks so far.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Checks(Vec<Check>);

impl Checks {
    /// Records that all is well.
    pub(super) fn ok(&mut self, name: impl Into<String>, detail: impl Into<String>) {
        self.push(name, Level::Ok, detail, None);
    }

    /// Records what works but may not for long, or not as it should.
    pub(super) fn warn(&mut self, name: impl Into<String>, detail: impl Into<String>, next: impl Into<String>) {
        self.push(name, Level::Warn, detail, Some(next.into()));
    }

    /// Records what keeps a backup or a restore from working.
    pub(super) fn fail(&mut self, name: impl Into<String>, detail: impl Into<String>, next: impl Into<String>) {
        self.push(name, Level::Fail, detail, Some(next.into()));
    }

    /// Records that there was nothing to check, and what would have to be given for it.
    pub(super) fn skip(&mut self, name: impl Into<String>, detail: impl Into<String>, next: impl Into<String>) {
        self.push(name, Level::Skip, detail, Some(next.into()));
    }

    /// Records a failure with its causes and its hint.
    pub(super) fn error(&mut self, name: impl Into<String>, error: impl Into<CliError>) {
        let error = error.into();
        let mut detail = error.to_string();
        for cause in error.causes() {
            detail.push_str(&format!(": {cause}"));
        }
        self.push(name, Level::Fail, detail, error.hint());
    }

    /// Counts the checks that went so.
    pub(super) fn count(&self, level: Level) -> usize {
        self.0.iter().filter(|check| check.level == level).count()
    }

    /// Returns a line for each check, and one for each next step.
    pub(super) fn render(&self) -> String {
        let width = self.0.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
        let lines = self.0.iter().map(|check| {
            let (word, color) = match check.level {
                Level::Ok => ("ok  ", anstyle::AnsiColor::Green),
                Level::Warn => ("warn", anstyle::AnsiColor::Yellow),
                Level::Fail => ("FAIL", anstyle::AnsiColor::Red),
                Level::Skip => ("skip", anstyle::AnsiColor::BrightBlack),
            };
            let style = color.on_default().bold();
            let detail = check.detail.replace('\n', " ");
            let next = check.next.as_ref().map(|next| format!("      {:width$}  -> {next}\n", "")).unwrap_or_default();
            format!("{style}{word}{style:#}  {:width$}  {detail}\n{next}", check.name)
        });
        lines.collect()
    }

    fn push(&mut self, name: impl Into<String>, level: Level, detail: impl Into<String>, next: Option<String>) {
        self.0.push(Check { name: name.into(), level, detail: detail.into(), next });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_is_a_line_and_its_next_step_another() {
        let mut checks = Checks::default();
        checks.ok("a", "fine");
        checks.fail("longer", "broken", "mend it");
        checks.skip("b", "not named", "name it");
        let plain = anstream::adapter::strip_str(&checks.render()).to_string();
        assert_eq!(
            plain,
            "ok    a       fine\nFAIL  longer  broken\n              -> mend it\nskip  b       not named\n              -> name it\n"
        );
        assert_eq!([Level::Fail, Level::Warn, Level::Skip].map(|level| checks.count(level)), [1, 0, 1]);
    }
}
