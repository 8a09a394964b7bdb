//! `command`: a program and its arguments, without a shell in between.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use super::super::error::ActionError;
use super::super::model::StepId;
use super::super::template::Template;
use super::{Act, Done, Nature, Scope, Uses, View};
use crate::types::RunId;

/// What is kept of each output, in bytes: its end.
const KEPT: usize = 64 << 10;
/// How long output is waited for that comes when the program itself has ended: a service that it started keeps its pipe.
const DRAIN: Duration = Duration::from_secs(1);
/// The variable by which a program of a step is known, also when the process that started it is gone.
pub(crate) const STEP_VARIABLE: &str = "ERPGO_DR_STEP";

/// The value of that variable.
pub(crate) fn step_value(run: &RunId, step: &StepId) -> String {
    format!("{run}/{step}")
}

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
    pub(super) folder: Option<String>,
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
        let line = confined(scope, line)?;
        let name = line[0].clone();
        let given = scope.surroundings.environment.iter().map(|(name, value)| (name, value));
        let mark = step_value(scope.run, scope.step);
        let mut command = tokio::process::Command::new(&name);
        command
            .args(&line[1..])
            .env_clear()
            .envs(given)
            .envs(environment)
            .env(STEP_VARIABLE, mark)
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
        let (stdout, stderr) = (Tail::of(stdout), Tail::of(stderr));
        let ended = async {
            let status = child.wait().await;
            group.0 = None;
            status
        };
        let ((), status) = tokio::join!(feed, ended);
        let (stdout, stderr) = tokio::join!(stdout.end(), stderr.end());
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

/// Returns a command line as a drill runs it.
fn confined(scope: &Scope<'_>, line: Vec<String>) -> Result<Vec<String>, ActionError> {
    let Some(confinement) = &scope.surroundings.confinement else { return Ok(line) };
    let prefix = confinement.around(&line).map_err(ActionError::Unusable)?;
    Ok(prefix.iter().cloned().chain(line).collect())
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

/// Reads a pipe, and keeps the last bytes of it.
struct Tail {
    kept: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Tail {
    fn of(pipe: Option<impl AsyncRead + Unpin + Send + 'static>) -> Self {
        let kept: Arc<Mutex<Vec<u8>>> = Arc::default();
        let filled = Arc::clone(&kept);
        let reader = tokio::spawn(async move {
            let Some(mut pipe) = pipe else { return };
            let mut chunk = vec![0; 8 << 10];
            while let Ok(read @ 1..) = pipe.read(&mut chunk).await {
                let mut kept = filled.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&chunk[..read]);
                if kept.len() > 2 * KEPT {
                    let surplus = kept.len() - KEPT;
                    kept.drain(..surplus);
                }
            }
        });
        Self { kept, reader }
    }

    /// Returns what was read, once the program has ended.
    async fn end(mut self) -> String {
        let _ = tokio::time::timeout(DRAIN, &mut self.reader).await;
        self.reader.abort();
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let from = kept.len().saturating_sub(KEPT);
        // A line that was cut may begin in the middle of a secret, which would not be known again.
        let from = match memchr::memchr(b'\n', &kept[from..]) {
            Some(end) if from > 0 => from + end + 1,
            _ => from,
        };
        String::from_utf8_lossy(&kept[from..]).trim_end().to_owned()
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.reader.abort();
    }
}
