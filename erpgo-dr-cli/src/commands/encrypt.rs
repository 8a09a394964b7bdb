//! `encrypt`: writes a file that `openssl enc -d` reads.

use std::path::PathBuf;

use clap::Args;
use erpgo_dr_core::crypto::openssl_enc::UnauthenticatedWriter;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::legacy::{Kdf, LegacyArgs};
use crate::context::Context;
use crate::error::{self, CliError};
use crate::output::{Report, bytes};

/// Encrypt a file as `openssl enc -aes-256-cbc` does, to be opened by hand (unauthenticated)
///
/// It has no MAC: whoever gets hold of it can alter it, and nothing shows. For backups use a repository.
#[derive(Debug, Args)]
pub(crate) struct EncryptArgs {
    /// The file; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to write the ciphertext; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace the file to write, if it is there already
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    legacy: LegacyArgs,
}

#[derive(Serialize)]
struct Encrypted {
    file: String,
    output: String,
    kdf: String,
    bytes: u64,
    authenticated: bool,
}

impl EncryptArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let (from_stdin, to_stdout) = (self.file.as_os_str() == "-", self.output.as_os_str() == "-");
        if to_stdout && context.output.is_json() {
            return Err(CliError::usage("--json and --output - both want standard output", "write to a file"));
        }
        if !to_stdout {
            super::refuse_existing(&self.output, self.force)?;
        }
        let passphrase = match self.legacy.passphrase_at_hand(context)? {
            Some(passphrase) => Some(passphrase),
            None if from_stdin => None,
            None => context.prompts.new_secret("Passphrase for the file").await?,
        };
        let passphrase = passphrase.ok_or_else(|| {
            CliError::usage(
                "no passphrase was given",
                "give --legacy-passphrase-file FILE or ERPGO_DR_LEGACY_PASSPHRASE",
            )
        })?;
        // Not the old default: one round of a hash is no work for who guesses.
        let kdf = self.legacy.derivation(self.legacy.kdf.unwrap_or(Kdf::Pbkdf2));
        let mut writer = UnauthenticatedWriter::new(&passphrase, kdf);
        let mut input: Box<dyn AsyncRead + Unpin + Send> = match from_stdin {
            true => Box::new(tokio::io::stdin()),
            false => Box::new(tokio::fs::File::open(&self.file).await.map_err(error::reading(&self.file))?),
        };
        let written = match to_stdout {
            true => {
                let written = copy(&mut input, &mut writer, &mut tokio::io::stdout()).await?;
                end(writer, &mut tokio::io::stdout()).await? + written
            }
            false => {
                super::write_new_file(&self.output, self.force, async |file| {
                    let written = copy(&mut input, &mut writer, file).await?;
                    Ok(end(writer, file).await? + written)
                })
                .await?
            }
        };
        let done = Encrypted {
            file: self.file.display().to_string(),
            output: self.output.display().to_string(),
            kdf: kdf.to_string(),
            bytes: written,
            authenticated: false,
        };
        if to_stdout {
            return Ok(Report::written());
        }
        let text = format!("{}: {} ({}, unauthenticated)\n", done.output, bytes(written), done.kdf);
        Report::new(&done, text, true)
    }
}

async fn copy(
    input: &mut (dyn AsyncRead + Unpin + Send),
    writer: &mut UnauthenticatedWriter,
    out: &mut (impl AsyncWrite + Unpin),
) -> Result<u64, CliError> {
    let (mut plain, mut sealed, mut written) = (vec![0; 256 << 10], Vec::new(), 0);
    loop {
        let length = input.read(&mut plain).await.map_err(|source| error::io("read the file", source))?;
        if length == 0 {
            return Ok(written);
        }
        sealed.clear();
        writer.update(&plain[..length], &mut sealed);
        out.write_all(&sealed).await.map_err(|source| error::io("write the file", source))?;
        written += sealed.len() as u64;
    }
}

async fn end(writer: UnauthenticatedWriter, out: &mut (impl AsyncWrite + Unpin)) -> Result<u64, CliError> {
    let failed = |source| error::io("write the file", source);
    let mut last = Vec::new();
    writer.finish(&mut last);
    out.write_all(&last).await.map_err(failed)?;
    out.flush().await.map_err(failed)?;
    Ok(last.len() as u64)
}
