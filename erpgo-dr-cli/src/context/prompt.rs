//! Questions to the operator: passphrases that are not shown, and confirmations. Only ever on a terminal.

use std::io::{BufRead as _, IsTerminal as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::{ExposeSecret as _, SecretString};

use crate::error::{self, CliError};
use crate::output::Output;

/// Asks. Blocking reads happen on a thread of their own, so that Ctrl-C is heard.
#[derive(Debug)]
pub(crate) struct Prompts {
    output: Output,
    /// How the terminal was before an echo was turned off.
    terminal: Mutex<Option<Termios>>,
    unattended: AtomicBool,
}

impl Prompts {
    /// Asks on the terminal, beside the bars of `output`.
    pub(crate) fn new(output: Output) -> Self {
        let terminal = tcgetattr(std::io::stdin()).ok();
        Self { output, terminal: Mutex::new(terminal), unattended: AtomicBool::new(false) }
    }

    /// Asks nobody from now on, as if there were no terminal.
    pub(crate) fn ask_nobody(&self) {
        self.unattended.store(true, Ordering::Relaxed);
    }

    /// Returns whether there is somebody to ask.
    pub(crate) fn can_ask(&self) -> bool {
        !self.unattended.load(Ordering::Relaxed) && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Asks for a secret; `None` without a terminal.
    pub(crate) async fn secret(&self, question: &str) -> Result<Option<SecretString>, CliError> {
        if !self.can_ask() {
            return Ok(None);
        }
        let question = format!("{question}: ");
        let answer = blocking(move || rpassword::prompt_password(question)).await;
        Ok(Some(answer.map_err(|source| error::io("read the answer", source))?.into()))
    }

    /// Asks twice for a new secret.
    pub(crate) async fn new_secret(&self, question: &str) -> Result<Option<SecretString>, CliError> {
        let Some(first) = self.secret(question).await? else { return Ok(None) };
        let second = self.secret("The same again").await?.unwrap_or_default();
        if first.expose_secret() != second.expose_secret() {
            return Err(CliError::usage("the two passphrases differ", "try again"));
        }
        Ok(Some(first))
    }

    /// Asks for a line of text.
    pub(crate) async fn line(&self, question: &str) -> Result<String, CliError> {
        self.output.line(question);
        let answer = blocking(|| {
            let mut line = String::new();
            match std::io::stdin().lock().read_line(&mut line)? {
                0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
                _ => Ok(line),
            }
        });
        let answer = answer.await.map_err(|source| error::io("read the answer", source))?;
        Ok(answer.trim().to_owned())
    }

    /// Asks that `word` be typed; anything else is a no.
    pub(crate) async fn confirm(&self, question: &str, word: &str) -> Result<bool, CliError> {
        self.output.line(question);
        let answer = self.line(&format!("Type {word} to go on:")).await?;
        Ok(answer == word)
    }

    /// Turns the echo on again, after a question that was never answered.
    pub(crate) fn restore_terminal(&self) {
        let saved = self.terminal.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(terminal) = saved.as_ref() {
            // The terminal may be gone, and then so is its echo.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, terminal);
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|failure| Err(std::io::Error::other(failure)))
}
