//! `decrypt`: writes the dump that is in a file of the old scripts.

use std::path::PathBuf;

use clap::Args;
use erpgo_dr_core::ops::legacy::{Contents, LegacyReader};
use serde::Serialize;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::legacy::LegacyArgs;
use crate::context::Context;
use crate::error::{self, CliError};
use crate::output::{Report, bytes};

/// Write the dump in a file of the old scripts, without its layers (unauthenticated)
///
/// Layers of `openssl enc`, gzip and zstd are told by what they are, not by the file's name. `openssl enc` has no MAC: if
/// somebody altered the file, nothing shows it.
#[derive(Debug, Args)]
pub(crate) struct DecryptArgs {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to write the dump, in the clear; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace the file to write, if it is there already
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    legacy: LegacyArgs,
}

#[derive(Serialize)]
struct Decrypted {
    file: String,
    output: String,
    layers: Vec<String>,
    contents: String,
    bytes: u64,
    authenticated: bool,
}

impl DecryptArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let to_stdout = self.output.as_os_str() == "-";
        if to_stdout && context.output.is_json() {
            return Err(CliError::usage("--json and --output - both want standard output", "write the dump to a file"));
        }
        if !to_stdout {
            super::refuse_existing(&self.output, self.force)?;
        }
        let mut options = self.legacy.options(context).await?;
        let mut reader = LegacyReader::open_file(&self.file, options.clone()).await;
        if matches!(reader, Err(erpgo_dr_core::ops::legacy::LegacyError::NeedsPassphrase))
            && let Some(asked) = context.prompts.secret(&format!("Passphrase of {}", self.file.display())).await?
        {
            options.passphrase = Some(asked);
            reader = LegacyReader::open_file(&self.file, options).await;
        }
        let mut reader = reader?;
        let layers: Vec<String> = reader.layers().iter().map(|layer| layer.kind.to_string()).collect();
        let contents = reader.contents();
        let written = match to_stdout {
            true => copy(&mut reader, &mut tokio::io::stdout()).await?,
            false => {
                super::write_new_file(&self.output, self.force, async |file| copy(&mut reader, file).await).await?
            }
        };
        if layers.iter().any(|layer| layer.contains("openssl")) {
            context.output.note("note: openssl enc is unauthenticated: nothing shows whether the file was altered");
        }
        let done = Decrypted {
            file: self.file.display().to_string(),
            output: self.output.display().to_string(),
            layers,
            contents: contents.to_string(),
            bytes: written,
            authenticated: false,
        };
        if to_stdout { Ok(Report::written()) } else { Report::new(&done, describe(&done, contents), true) }
    }
}

fn describe(done: &Decrypted, contents: Contents) -> String {
    let layers = if done.layers.is_empty() { "no layers".to_owned() } else { done.layers.join(", ") };
    let next = match contents {
        Contents::PgDumpCustom | Contents::PgDumpTar => "pg_restore",
        Contents::Tar => "tar",
        _ => "psql",
    };
    format!(
        "{}: {} ({layers})\n{}: {}, in the clear; {next} reads it\n",
        done.file,
        done.contents,
        done.output,
        bytes(done.bytes)
    )
}

/// Copies what is in the file; only at its end is it known to be whole.
async fn copy(reader: &mut LegacyReader, out: &mut (impl AsyncWrite + Unpin)) -> Result<u64, CliError> {
    let failed = |source| error::io("write the dump", source);
    let mut written = 0;
    while let Some(piece) = reader.next().await? {
        out.write_all(&piece).await.map_err(failed)?;
        written += piece.len() as u64;
    }
    out.flush().await.map_err(failed)?;
    Ok(written)
}
