//! Log lines of the library, on standard error.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;

use crate::cli::{GlobalOptions, LogFormat};
use crate::output::Output;

/// Installs the logger: warnings by default, of a service what it does, more with `-v`, only errors with `-q`.
///
/// Other crates' lines are shown as warnings at most: HTTP and TLS libraries may log headers.
pub(crate) fn install(options: &GlobalOptions, output: &Output) {
    let level = match (options.quiet, options.verbose) {
        (true, _) => LevelFilter::ERROR,
        (_, 0) if output.is_log() => LevelFilter::INFO,
        (_, 0) => LevelFilter::WARN,
        (_, 1) => LevelFilter::INFO,
        (_, 2) => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let directives = ["erpgo_dr_core", "erpgo_dr_cli"].map(|name| format!("{name}={level}"));
    let mut filter = EnvFilter::default().add_directive(LevelFilter::ERROR.into());
    for directive in directives.iter().filter_map(|text| text.parse::<Directive>().ok()) {
        filter = filter.add_directive(directive);
    }
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(output.colors_stderr())
        .with_writer(output.log_writer());
    // A second run in one process keeps the first logger.
    let _ = match options.log_format {
        LogFormat::Text => builder.with_target(false).compact().try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
