//! What a run that is a drill may touch: its own servers, its own web addresses, its own folder, its own programs, and nothing else.
//!
//! Each action is looked at with the values that it is about to work with, before it is done, and all of them once before a run begins.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::actions::{Action, Collect, Fence, Notify, RotateSecret, Uses};
use super::model::{Condition, Runbook, Step};
use super::template::{Place, Template};
use super::values::{Value, Values};

/// What a run may touch. Everything that is not named here is refused.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Confinement {
    /// The only folder that is written to.
    pub folder: PathBuf,
    /// Servers, by the folders of their sockets.
    pub servers: BTreeSet<String>,
    /// Beginnings of web addresses, `http://127.0.0.1:8080/` with the slash.
    pub web: BTreeSet<String>,
    /// Programs with their arguments, exactly as they may be run.
    pub programs: BTreeSet<Vec<String>>,
    /// What is put before the command line of any other program; without it none is run.
    pub around_others: Option<Vec<String>>,
}

impl Confinement {
    /// Allows writing below a folder, and nothing else.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), ..Self::default() }
    }

    /// Finds everything in a runbook that may not be done, as far as the values are known: with the step that it stands in.
    pub fn faults(&self, runbook: &Runbook, values: &Values) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, value) in values.iter() {
            let fault = match value {
                Value::Server(settings) => self.server(settings.host()),
                Value::Url(url) => self.web(url),
                _ => Ok(()),
            };
            faults.extend(fault.err().map(|fault| format!("variable {name}: {fault}")));
        }
        for step in &runbook.steps {
            let found = actions_of(step).filter_map(|action| self.permits(action, runbook, values).err());
            faults.extend(found.map(|fault| format!("step {}: {fault}", step.id)));
        }
        faults
    }

    /// Says whether an action may be done with these values; else why not. What cannot be told yet is told when it is done.
    pub(crate) fn permits(&self, action: &Action, runbook: &Runbook, values: &Values) -> Result<(), String> {
        let mut uses = Uses::default();
        action.act().uses(&mut uses);
        for name in &uses.servers {
            if let Some(Value::Server(settings)) = values.value(name) {
                self.server(settings.host())?;
            }
        }
        let look = Look { confinement: self, values };
        match action {
            Action::Dns(_) | Action::Ha(_) | Action::TcpReady(_) | Action::RestoreCluster(_) => {
                Err(format!("a drill does no {}", action.kind()))
            }
            Action::HttpCheck(check) => look.web(&check.url),
            Action::Command(command) => look.program(&command.run),
            Action::Service(service) => {
                let Some(found) = runbook.services.get(&service.name) else { return Ok(()) };
                let lines = found.commands(service.order);
                lines.into_iter().try_for_each(|line| look.program(line))
            }
            Action::WaitFor(wait) => self.permits(&wait.check, runbook, values),
            Action::Fence(fence) => self.fence(fence, runbook, values),
            Action::WriteFile(write) => look.file(&write.path),
            Action::RotateSecret(rotate) => look.secret(rotate),
            Action::Collect(collect) => look.collected(collect),
            Action::Notify(notify) => look.notice(notify),
            Action::Repoint(repoint) => match repoint.host.as_ref().and_then(|host| look.text(host)) {
                Some(host) => self.server(&host),
                None => Ok(()),
            },
            // Of these the servers are all.
            Action::Sql(_)
            | Action::SqlCheck(_)
            | Action::CheckIntegrity(_)
            | Action::PgReady(_)
            | Action::Backup(_)
            | Action::FindBackup(_)
            | Action::Restore(_)
            | Action::Wal(_)
            | Action::PrimaryDown(_)
            | Action::CaughtUp(_)
            | Action::Promote(_)
            | Action::Confirm(_)
            | Action::Manual(_) => Ok(()),
        }
    }

    /// Returns what is put before a command line, or why it is not run.
    pub(crate) fn around(&self, line: &[String]) -> Result<&[String], String> {
        match &self.around_others {
            _ if self.programs.contains(line) => Ok(&[]),
            Some(prefix) => Ok(prefix),
            None => {
                Err(format!("a drill runs no program but those that it has put in place of yours: {}", line.join(" ")))
            }
        }
    }

    fn fence(&self, fence: &Fence, runbook: &Runbook, values: &Values) -> Result<(), String> {
        let inner = fence.by.iter().chain(&fence.proof);
        inner.into_iter().try_for_each(|action| self.permits(action, runbook, values))
    }

    fn server(&self, host: &str) -> Result<(), String> {
        match self.servers.contains(host) {
            true => Ok(()),
            false => Err(format!("{host} is no server of the drill")),
        }
    }

    fn web(&self, url: &str) -> Result<(), String> {
        // As the client reads it: what stands before an @ is no host.
        let read = reqwest::Url::parse(url).map(String::from).unwrap_or_default();
        match self.web.iter().any(|own| read.starts_with(own.as_str())) {
            true => Ok(()),
            // The address may be a secret.
            false => Err("a web address is none of the drill".to_owned()),
        }
    }

    fn file(&self, path: &str) -> Result<(), String> {
        let path = Path::new(path);
        let is_plain = path.components().all(|part| !matches!(part, Component::ParentDir));
        let real = path.canonicalize().or_else(|_| path.parent().unwrap_or(path).canonicalize());
        let inside = real.is_ok_and(|real| self.folder.canonicalize().is_ok_and(|folder| real.starts_with(folder)));
        match is_plain && inside {
            true => Ok(()),
            false => Err(format!("{} does not lie in the drill's folder", path.display())),
        }
    }
}

/// What an action says, with its values as far as they are known.
struct Look<'a> {
    confinement: &'a Confinement,
    values: &'a Values,
}

impl Look<'_> {
    fn text(&self, template: &Template) -> Option<String> {
        template.render(Place::Plain, self.values).ok()
    }

    fn web(&self, url: &Template) -> Result<(), String> {
        self.text(url).map_or(Ok(()), |url| self.confinement.web(&url))
    }

    fn file(&self, path: &Template) -> Result<(), String> {
        self.text(path).map_or(Ok(()), |path| self.confinement.file(&path))
    }

    fn line(&self, line: &[Template]) -> Option<Vec<String>> {
        let arguments: Result<Vec<Vec<String>>, _> =
            line.iter().map(|argument| argument.arguments(self.values)).collect();
        Some(arguments.ok()?.concat())
    }

    fn program(&self, line: &[Template]) -> Result<(), String> {
        match self.line(line) {
            Some(line) => self.confinement.around(&line).map(drop),
            None => Ok(()),
        }
    }

    fn secret(&self, rotate: &RotateSecret) -> Result<(), String> {
        rotate.file.as_ref().map_or(Ok(()), |file| self.file(file))?;
        if rotate.hand_to.is_empty() { Ok(()) } else { self.program(&rotate.hand_to) }
    }

    /// Programs whose output is evidence are run without anything around them.
    fn collected(&self, collect: &Collect) -> Result<(), String> {
        for line in collect.programs.values().filter_map(|line| self.line(line)) {
            if !self.confinement.programs.contains(&line) {
                return Err(format!("a drill collects nothing of a program that is not its own: {}", line.join(" ")));
            }
        }
        Ok(())
    }

    fn notice(&self, notify: &Notify) -> Result<(), String> {
        if notify.email.is_some() {
            return Err("a drill sends no mail".to_owned());
        }
        notify.webhook.as_ref().map_or(Ok(()), |url| self.web(url))?;
        if notify.command.is_empty() { Ok(()) } else { self.program(&notify.command) }
    }
}

/// Lists everything that a step may do, and ask.
fn actions_of(step: &Step) -> impl Iterator<Item = &Action> {
    let asked = step.when.iter().filter_map(|condition| match condition {
        Condition::Check(check) | Condition::CheckFails(check) => Some(check),
        _ => None,
    });
    [Some(&step.action), step.done.as_ref(), step.undo.as_ref()].into_iter().flatten().chain(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confinement(folder: &Path) -> Confinement {
        let mut confinement = Confinement::new(folder);
        confinement.web.insert("http://127.0.0.1:8080/".to_owned());
        confinement.programs.insert(vec!["touch".to_owned(), "up".to_owned()]);
        confinement
    }

    #[test]
    fn an_address_is_what_the_client_makes_of_it() {
        let confinement = confinement(Path::new("/"));
        assert!(confinement.web("http://127.0.0.1:8080/api/health").is_ok());
        for url in [
            "http://127.0.0.1:8080@example.com/",
            "http://127.0.0.1:80801/",
            "http://127.0.0.1:8081/",
            "https://127.0.0.1:8080/",
            "http://localhost:8080/",
            "no address",
        ] {
            assert!(confinement.web(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_file_lies_in_the_folder_also_behind_links() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let confinement = confinement(folder.path());
        std::fs::write(elsewhere.path().join("dear"), "").unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("dear"), folder.path().join("link")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("way")).unwrap();
        let permitted = |path: &str| confinement.file(&folder.path().join(path).display().to_string()).is_ok();
        assert!(permitted("new"));
        for path in ["link", "way/new", "../x", "no/such/folder/../../../../x"] {
            assert!(!permitted(path), "{path}");
        }
        assert!(confinement.file(&elsewhere.path().join("dear").display().to_string()).is_err());
    }

    #[test]
    fn a_program_is_the_drills_own_with_these_very_arguments() {
        let mut confinement = confinement(Path::new("/"));
        let line = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(confinement.around(&line(&["touch", "up"])), Ok(&[][..]));
        assert!(confinement.around(&line(&["touch", "down"])).is_err());
        confinement.around_others = Some(line(&["unshare"]));
        assert_eq!(confinement.around(&line(&["touch", "down"])), Ok(&line(&["unshare"])[..]));
        assert_eq!(confinement.around(&line(&["touch", "up"])), Ok(&[][..]));
    }
}
