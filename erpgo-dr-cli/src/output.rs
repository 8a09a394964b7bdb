//! What is printed: results on standard output, everything else on standard error.

mod table;
mod units;

use std::io::{IsTerminal as _, Write};
use std::process::ExitCode;
use std::sync::Arc;

use indicatif::MultiProgress;
use serde::Serialize;
use serde_json::{Value, json};

pub(crate) use table::{Align, Table};
pub(crate) use units::{age, bytes, moment, ratio, seconds};

use crate::cli::{GlobalOptions, When};
use crate::error::{CliError, FINDING};

/// The version of the JSON envelope and of the documents in it.
const SCHEMA: u32 = 1;
/// Has a terminal begin again with an empty screen.
const CLEAR: &str = "\x1b[2J\x1b[3J\x1b[H";

/// What a command found or did: a document for programs, and a text for people.
#[derive(Debug)]
pub(crate) struct Report {
    document: Value,
    text: String,
    ok: bool,
}

impl Report {
    /// Reports work that was done; `ok` says whether it found all well.
    pub(crate) fn new(document: &impl Serialize, text: impl Into<String>, ok: bool) -> Result<Self, CliError> {
        let document = serde_json::to_value(document)
            .map_err(|error| crate::error::io("write the result as JSON", std::io::Error::other(error)))?;
        Ok(Self { document, text: text.into(), ok })
    }

    /// Leaves the text away, which was shown already.
    pub(crate) fn without_text(self) -> Self {
        Self { text: String::new(), ..self }
    }

    /// Reports a result that was written as it is, such as a dump to standard output.
    pub(crate) fn written() -> Self {
        Self { document: Value::Null, text: String::new(), ok: true }
    }
}

/// Where and how to print. Cloning shares the progress bars.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    command: &'static str,
    /// What is added to the exit code of a failure.
    code_offset: u8,
    json: bool,
    quiet: bool,
    /// Whether what is told beside the result goes into the log, in its form.
    log: bool,
    colors_stderr: bool,
    /// How progress is shown.
    pub(crate) progress: ProgressMode,
    /// The bars, which step aside while something else is printed.
    pub(crate) bars: MultiProgress,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgressMode {
    Hidden,
    Lines,
    Bars,
}

impl Output {
    /// Decides on colors and progress by the options and by what standard error is.
    pub(crate) fn new(options: &GlobalOptions, command: &'static str, log: bool) -> Self {
        match options.color {
            When::Auto => anstream::ColorChoice::Auto,
            When::Always => anstream::ColorChoice::Always,
            When::Never => anstream::ColorChoice::Never,
        }
        .write_global();
        let terminal = std::io::stderr().is_terminal();
        let progress = match (options.progress, terminal) {
            (When::Never, _) => ProgressMode::Hidden,
            (When::Auto, _) if options.quiet => ProgressMode::Hidden,
            (_, true) if options.verbose == 0 => ProgressMode::Bars,
            (When::Auto, false) => ProgressMode::Hidden,
            _ => ProgressMode::Lines,
        };
        let colors = anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
        let (json, quiet) = (options.json, options.quiet);
        let code_offset = crate::error::code_offset(command == crate::commands::WAL_FETCH);
        let bars = MultiProgress::new();
        Self { command, code_offset, json, quiet, log, colors_stderr: colors, progress, bars }
    }

    /// Returns whether the result is printed as JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Returns whether what is told beside the result goes into the log.
    pub(crate) fn is_log(&self) -> bool {
        self.log
    }

    /// Returns whether lines on standard error may be colored.
    pub(crate) fn colors_stderr(&self) -> bool {
        self.colors_stderr
    }

    /// Tells the operator something beside the result.
    pub(crate) fn note(&self, text: &str) {
        match (self.log, self.quiet) {
            (true, _) => tracing::info!("{text}"),
            (false, true) => {}
            (false, false) => self.line(text),
        }
    }

    /// Warns of something, also with `-q`.
    pub(crate) fn warn(&self, text: &str) {
        if self.log {
            return tracing::warn!("{text}");
        }
        let style = anstyle::AnsiColor::Yellow.on_default().bold();
        self.line(&format!("{style}warning:{style:#} {text}"));
    }

    /// Prints a line to standard error, beside the bars.
    pub(crate) fn line(&self, text: &str) {
        // Nobody is left to tell when standard error is gone.
        self.bars.suspend(|| drop(writeln!(anstream::stderr(), "{text}")));
    }

    /// Returns where log lines go: to standard error, beside the bars.
    pub(crate) fn log_writer(&self) -> impl Fn() -> LogWriter + Send + Sync + 'static {
        let bars = Arc::new(self.bars.clone());
        move || LogWriter(Arc::clone(&bars))
    }

    /// Prints a report in the place of the one before it: on a terminal over it, elsewhere behind it; as JSON a line each.
    ///
    /// # Errors
    /// When standard output is gone.
    pub(crate) fn refresh(&self, report: &Report) -> std::io::Result<()> {
        match (self.json, std::io::stdout().is_terminal()) {
            (true, _) => print(&self.envelope(report.ok, "result", &report.document).to_string()),
            (false, true) => print(&format!("{CLEAR}{}", report.text)),
            (false, false) => print(&report.text),
        }
    }

    /// Prints the outcome and returns the exit code.
    pub(crate) fn finish(&self, outcome: Result<Report, CliError>) -> ExitCode {
        let (code, document, text) = match outcome {
            Ok(report) => {
                let code = if report.ok { 0 } else { FINDING };
                let text = report.text.trim_end().to_owned();
                (code, self.envelope(report.ok, "result", &report.document), text)
            }
            Err(error) => {
                if !self.json {
                    self.print_error(&error);
                }
                let code = self.code(&error);
                (code, self.envelope(false, "error", &error_document(&error, code)), String::new())
            }
        };
        let printed = match (self.json, text.is_empty()) {
            (true, _) => print(&document.to_string()),
            (false, true) => Ok(()),
            (false, false) => print(&text),
        };
        match printed {
            // Whoever read us has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::from(code),
            Err(error) => {
                let error = crate::error::io("write to standard output", error);
                self.print_error(&error);
                ExitCode::from(self.code(&error))
            }
            Ok(()) => ExitCode::from(code),
        }
    }

    /// Returns whether every failure has to show in an exit code of its own.
    pub(crate) fn hides_no_fault(&self) -> bool {
        self.code_offset > 0
    }

    /// Returns the exit code of a failure. A signal's is the same for every command.
    fn code(&self, error: &CliError) -> u8 {
        match error {
            CliError::Interrupted { .. } => error.exit_code(),
            _ => self.code_offset + error.exit_code(),
        }
    }

    fn envelope(&self, ok: bool, name: &str, document: &Value) -> Value {
        json!({ "schema": SCHEMA, "command": self.command, "ok": ok, name: document })
    }

    fn print_error(&self, error: &CliError) {
        let red = anstyle::AnsiColor::Red.on_default().bold();
        let cyan = anstyle::AnsiColor::Cyan.on_default().bold();
        self.line(&format!("{red}error:{red:#} {error}"));
        for cause in error.causes() {
            self.line(&format!("  because: {}", cause.replace('\n', "\n           ")));
        }
        if let Some(hint) = error.hint() {
            self.line(&format!("{cyan}hint:{cyan:#} {hint}"));
        }
    }
}

/// Prints a command line that could not be read as an error of usage; which command was meant is not known.
pub(crate) fn refuse_as_json(message: &str, code_offset: u8) -> ExitCode {
    let message = message.strip_prefix("error: ").unwrap_or(message).trim_end();
    let error = CliError::usage(message, "`erpgo-dr --help` and `erpgo-dr COMMAND --help` say how it is used");
    let code = code_offset + error.exit_code();
    let document = json!({ "schema": SCHEMA, "command": null, "ok": false, "error": error_document(&error, code) });
    // The exit code tells the same when standard output is gone.
    let _ = print(&document.to_string());
    ExitCode::from(code)
}

fn error_document(error: &CliError, code: u8) -> Value {
    json!({
        "kind": error.kind_name(),
        "message": error.to_string(),
        "causes": error.causes(),
        "hint": error.hint(),
        "exit_code": code,
    })
}

fn print(text: &str) -> std::io::Result<()> {
    let mut stdout = anstream::stdout();
    writeln!(stdout, "{text}")?;
    stdout.flush()
}

/// Writes log lines while the bars step aside.
#[derive(Debug)]
pub(crate) struct LogWriter(Arc<MultiProgress>);

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.suspend(|| std::io::stderr().write(line))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}
