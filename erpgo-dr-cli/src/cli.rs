//! The command line: global options and the list of commands.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args, FromArgMatches as _, Parser, ValueEnum};

use crate::commands::Command;

/// Encrypted, verified backups of PostgreSQL, and their restore.
#[derive(Debug, Parser)]
#[command(name = "erpgo-dr", version, propagate_version = true, max_term_width = 110)]
#[command(subcommand_required = true, arg_required_else_help = true, after_help = crate::error::EXIT_CODES_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalOptions,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command. What is not given comes from the environment, then the configuration file, then the
/// `.env.production` file.
#[derive(Debug, Clone, Args)]
pub(crate) struct GlobalOptions {
    /// Where backups lie: a folder, s3://BUCKET/PREFIX, gs://..., az://...
    #[arg(short, long, global = true, value_name = "ADDRESS", env = "ERPGO_DR_REPOSITORY", hide_env_values = true)]
    #[arg(help_heading = "Repository")]
    pub(crate) repository: Option<String>,
    /// A further place that gets everything; may be given several times
    #[arg(
        long,
        global = true,
        value_name = "ADDRESS",
        env = "ERPGO_DR_REPLICA",
        hide_env_values = true,
        value_delimiter = ','
    )]
    #[arg(help_heading = "Repository")]
    pub(crate) replica: Vec<String>,

    /// A private key that opens the repository: an age identity or an SSH key
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        env = "ERPGO_DR_IDENTITY",
        hide_env_values = true,
        value_delimiter = ','
    )]
    #[arg(help_heading = "Keys")]
    pub(crate) identity: Vec<PathBuf>,
    /// A file whose first line is the passphrase (or set ERPGO_DR_PASSPHRASE; else you are asked)
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "ERPGO_DR_PASSPHRASE_FILE",
        hide_env_values = true,
        help_heading = "Keys"
    )]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// A public key for whom keys are wrapped: age1... or ssh-ed25519 ...
    #[arg(
        long,
        global = true,
        value_name = "KEY",
        env = "ERPGO_DR_RECIPIENT",
        hide_env_values = true,
        value_delimiter = ','
    )]
    #[arg(help_heading = "Keys")]
    pub(crate) recipient: Vec<String>,
    /// A file of public keys, one a line
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "ERPGO_DR_RECIPIENTS_FILE",
        hide_env_values = true,
        help_heading = "Keys"
    )]
    pub(crate) recipients_file: Option<PathBuf>,
    /// Whether the public keys were named by an option, and not by the environment.
    #[arg(skip)]
    pub(crate) recipients_by_option: bool,

    /// The server: a URL or keyword=value pairs, without a password [env: ERPGO_DR_CONNECTION, PGHOST...]
    #[arg(short = 'd', long, global = true, value_name = "CONNINFO", help_heading = "PostgreSQL")]
    pub(crate) connection: Option<String>,
    /// A folder with pg_dump, pg_restore...; may be given several times
    #[arg(
        long,
        global = true,
        value_name = "FOLDER",
        env = "ERPGO_DR_BIN_DIR",
        hide_env_values = true,
        value_delimiter = ':'
    )]
    #[arg(help_heading = "PostgreSQL")]
    pub(crate) bin_dir: Vec<PathBuf>,

    /// The configuration file [default: ./erpgo-dr.toml, ~/.config/erpgo-dr/erpgo-dr.toml, /etc/erpgo-dr/erpgo-dr.toml, /etc/erpgo-dr.toml]
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        env = "ERPGO_DR_CONFIG",
        hide_env_values = true,
        help_heading = "Configuration"
    )]
    pub(crate) config: Option<PathBuf>,
    /// A file with the names of the old scripts' .env.production
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "ERPGO_DR_ENV_FILE",
        hide_env_values = true,
        help_heading = "Configuration"
    )]
    pub(crate) env_file: Option<PathBuf>,
    /// Threads that compress and encrypt; 0 is one a core
    #[arg(
        long,
        global = true,
        value_name = "N",
        env = "ERPGO_DR_THREADS",
        hide_env_values = true,
        help_heading = "Configuration"
    )]
    pub(crate) threads: Option<usize>,

    /// Print one JSON document on standard output
    #[arg(long, global = true, env = "ERPGO_DR_JSON", hide_env_values = true, value_parser = clap::builder::FalseyValueParser::new())]
    #[arg(action = ArgAction::SetTrue, help_heading = "Output")]
    pub(crate) json: bool,
    /// Print errors only, beside the result
    #[arg(short, long, global = true, help_heading = "Output", conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Log to standard error; twice for more
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Output")]
    pub(crate) verbose: u8,
    /// How log lines look
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        env = "ERPGO_DR_LOG_FORMAT",
        hide_env_values = true,
        default_value = "text"
    )]
    #[arg(help_heading = "Output")]
    pub(crate) log_format: LogFormat,
    /// When to use colors; auto heeds NO_COLOR
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        env = "ERPGO_DR_COLOR",
        hide_env_values = true,
        default_value = "auto"
    )]
    #[arg(help_heading = "Output")]
    pub(crate) color: When,
    /// Progress: bars on a terminal; with `always`, lines elsewhere
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        env = "ERPGO_DR_PROGRESS",
        hide_env_values = true,
        default_value = "auto"
    )]
    #[arg(help_heading = "Output")]
    pub(crate) progress: When,
}

impl Cli {
    /// Takes what was parsed. Of public keys, those of an option leave out those of the environment, whichever way they are named.
    pub(crate) fn from_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut cli = Self::from_arg_matches(matches)?;
        let by_option = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
        let (keys, file) = (by_option("recipient"), by_option("recipients_file"));
        let global = &mut cli.global;
        global.recipients_by_option = keys || file;
        if file && !keys {
            global.recipient.clear();
        }
        if keys && !file {
            global.recipients_file = None;
        }
        Ok(cli)
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// When something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}
