//! `command`: a program and its arguments, without a shell in between.

use std::collections::BTreeMap;
use std::process::Stdio;

use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use super::super::error::ActionError;
use super::super::template::Template;
use super::{Act, Done, Nature, Scope, Uses, View};

/// What is kept of each output, in bytes: its end.
const KEPT: usize = 64 << 10;

/// Runs a program, and fails unless it ends with 0. Returns what it wrote to standard output, without the last line break.
///
/// Arguments are seen by everybody on the host: a secret goes into the environment or standard input.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Command {
    /// The program, and its arguments one by one. A list alone in one becomes as many as it has items.
    pub run: Vec<Template>,
    /// Variables of its environment, beside those of every program.
    #[serde(default)]
    pub environment: BTreeMap<String, Template>,
    /// What it reads from standard input.
    pub input: Option<Template>,
    /// The folder that it runs in.
    pub folder: Option<Template>,
    /// Whether it only looks, and changes nothing: then it may stand where a check is asked for.
    #[serde(default)]
    pub check: bool,
}

#[async_trait]
impl Act for Command {
    fn nature(&self) -> Nature {
        match self.check {
            true => Nature::check(60),
            false => Nature::change(300),
        }
    }

    fn describe(&self, view: &View<'_>) -> String {
        format!("run {}", shown(&self.run, view))
    }

    fn uses<'s>(&'s self, uses: &mut Uses<'s>) {
        uses.visible(&self.run);
        uses.visible(&self.folder);
        uses.quiet(self.environment.values());
        uses.quiet(&self.input);
    }

    async fn act(&self, scope: &Scope<'_>) -> Result<Done, ActionError> {
        let mut program = Program::new(&self.run, scope)?;
        for (name, value) in &self.environment {
            program.environment.push((name.clone(), scope.text(value)?));
        }
        program.input = scope.optional(self.input.as_ref())?;
        program.folder = scope.optional(self.folder.as_ref())?;
        let output = program.output(scope).await?;
        Ok(Done::returned(output))
    }
}

/// Returns a command line as people read it. It is never run as one.
pub(super) fn shown(line: &[Template], view: &View<'_>) -> String {
    line.iter().map(|argument| argument.shown(view.values)).collect::<Vec<_>>().join(" ")
}

/// A program that is about to run.
pub(super) struct Program {
    line: Vec<String>,
    environment: Vec<(String, String)>,
    pub(super) input: Option<String>,
    folder: Option<String>,
}

impl Program {
    pub(super) fn new(line: &[Template], scope: &Scope<'_>) -> Result<Self, ActionError> {
        let mut arguments = Vec::with_capacity(line.len());
        for template in line {
            arguments.extend(template.arguments(scope.values)?);
        }
        if arguments.is_empty() {
            return Err(ActionError::Unusable("a command needs a program".to_owned()));
        }
        Ok(Self { line: arguments, environment: Vec::new(), input: None, folder: None })
    }

    /// Runs it to its end, and returns what it wrote. When this is dropped, it is killed with all that it started.
    pub(super) async fn output(self, scope: &Scope<'_>) -> Result<String, ActionError> {
        let Self { line, environment, input, folder } = self;
        let name = line[0].clone();
        let given = scope.surroundings.environment.iter().map(|(name, value)| (name, value));
        let mut command = tokio::process::Command::new(&name);
        command
            .args(&line[1..])
            .env_clear()
            .envs(given)
            .envs(environment)
            .current_dir(folder.as_deref().unwrap_or("/"));
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        let mut child = command.spawn().map_err(|source| ActionError::Spawn { program: name.clone(), source })?;
        let mut group = Group(child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())));
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let feed = async move {
            if let (Some(mut stdin), Some(input)) = (stdin, input) {
                // A program need not read what it is given.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
        };
        let failed = |source| ActionError::Spawn { program: name.clone(), source };
        let ended = async {
            let status = child.wait().await;
            group.0 = None;
            status
        };
        let ((), stdout, stderr, status) = tokio::join!(feed, tail(stdout), tail(stderr), ended);
        let status = status.map_err(failed)?;
        match status.success() {
            true => Ok(joined(&stdout, &stderr)),
            false => Err(ActionError::Program {
                status: status.to_string(),
                stderr: if stderr.is_empty() { stdout } else { stderr },
                program: name,
            }),
        }
    }
}

/// What is returned is standard output; standard error only where there is nothing else.
fn joined(stdout: &str, stderr: &str) -> String {
    if stdout.is_empty() { stderr.to_owned() } else { stdout.to_owned() }
}

/// A group of processes that ends with this value.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Reads to the end, and keeps the last bytes.
async fn tail(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut pipe) = pipe else { return String::new() };
    let mut kept = Vec::new();
    let mut chunk = vec![0; 8 << 10];
    while let Ok(read @ 1..) = pipe.read(&mut chunk).await {
        kept.extend_from_slice(&chunk[..read]);
        if kept.len() > 2 * KEPT {
            kept.drain(..kept.len() - KEPT);
        }
    }
    let from = kept.len().saturating_sub(KEPT);
    String::from_utf8_lossy(&kept[from..]).trim_end().to_owned()
}
