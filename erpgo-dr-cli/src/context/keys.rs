//! Who may open the repository: identities, passphrases and commands, and the public side of each.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use erpgo_dr_core::Repository;
use erpgo_dr_core::crypto::CryptoError;
use erpgo_dr_core::crypto::keys::{ExternalCommand, Identities, IdentityText, Recipient, SlotName, Unlocker, Wrapper};
use erpgo_dr_core::repository::RepositoryError;
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::{Access, Context};
use crate::error::{self, CliError};

/// The most that is read of a file with keys or a passphrase, in bytes.
const KEY_FILE_LIMIT: u64 = 1 << 20;

/// What a new slot is wrapped with, as far as options say.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct NewKey {
    /// A file whose first line is the new passphrase (or set ERPGO_DR_NEW_PASSPHRASE; else you are asked)
    #[arg(long, value_name = "FILE")]
    pub(crate) new_passphrase_file: Option<std::path::PathBuf>,
    /// Wrap with the command of [keys.command]
    #[arg(long)]
    pub(crate) command: bool,
}

impl Context {
    /// Opens what a command needs of a repository: with identities and the command, else with a passphrase.
    pub(super) async fn unlock(&self, repository: &mut Repository, access: Access) -> Result<(), CliError> {
        let mut attempts = Attempts::default();
        if let Some(identities) = self.identities().await? {
            attempts.make(repository, Unlocker::Identities(identities)).await;
        }
        if let Some(command) = self.key_command(|config| &config.unwrap) {
            attempts.make(repository, Unlocker::Command(command)).await;
        }
        // Last, and only where it may be needed: scrypt takes a second for each epoch.
        if (!attempts.opened || self.global.passphrase_file.is_some())
            && let Some(passphrase) = self.passphrase_at_hand()?
        {
            attempts.make(repository, Unlocker::Passphrase(passphrase)).await;
        }
        if attempts.is_untried() && access == Access::Writing && self.has_recipients() {
            let slots = [(slot("recipients")?, Wrapper::Recipients(self.recipients()?))];
            return Ok(repository.begin_run_epoch(&slots).await?);
        }
        if attempts.is_untried()
            && access != Access::KeysIfAtHand
            && let Some(asked) = self.prompts.secret("Passphrase of the repository").await?
        {
            attempts.make(repository, Unlocker::Passphrase(asked)).await;
        }
        match (attempts.opened, attempts.refused) {
            (true, _) => Ok(()),
            (false, Some(error)) => Err(error.into()),
            (false, None) if access == Access::KeysIfAtHand => Ok(()),
            (false, None) => Err(RepositoryError::Locked { epoch: repository.settings().epoch.clone() }.into()),
        }
    }

    /// Returns whether anything was named that opens the repository.
    pub(crate) fn has_keys(&self) -> Result<bool, CliError> {
        let files = !self.global.identity.is_empty() || !self.config.keys.identities.is_empty();
        let command = self.key_command(|config| &config.unwrap).is_some();
        Ok(files || command || self.passphrase_at_hand()?.is_some())
    }

    async fn identities(&self) -> Result<Option<Identities>, CliError> {
        let files = if self.global.identity.is_empty() { &self.config.keys.identities } else { &self.global.identity };
        let mut all: Option<Identities> = None;
        for path in files {
            let found = self.identity(path).await?;
            match &mut all {
                Some(all) => all.append(found),
                None => all = Some(found),
            }
        }
        Ok(all)
    }

    async fn identity(&self, path: &Path) -> Result<Identities, CliError> {
        let bytes = read_key_file(path)?;
        let text = || IdentityText::from(bytes.to_vec());
        match Identities::parse(text(), None).await {
            Err(CryptoError::IdentityNeedsPassphrase) => {}
            outcome => return Ok(outcome?),
        }
        let passphrase = match self.passphrase_at_hand()? {
            Some(passphrase) => Some(passphrase),
            None => self.prompts.secret(&format!("Passphrase of {}", path.display())).await?,
        };
        Ok(Identities::parse(text(), passphrase).await?)
    }

    /// Returns the passphrase from a file, the environment, or the old scripts' names.
    pub(crate) fn passphrase_at_hand(&self) -> Result<Option<SecretString>, CliError> {
        if let Some(path) = &self.global.passphrase_file {
            return first_line(path).map(Some);
        }
        if let Some(text) = secret_variable("ERPGO_DR_PASSPHRASE") {
            return Ok(Some(text));
        }
        if let Some(path) = &self.config.keys.passphrase_file {
            return first_line(path).map(Some);
        }
        Ok(self.env_file.passphrase())
    }

    /// Returns whether public keys were named.
    pub(crate) fn has_recipients(&self) -> bool {
        let keys = &self.config.keys;
        !self.global.recipient.is_empty()
            || self.global.recipients_file.is_some()
            || !keys.recipients.is_empty()
            || keys.recipients_file.is_some()
    }

    /// Returns the public keys that were named: those of options, or else of the configuration.
    pub(crate) fn recipients(&self) -> Result<Vec<Recipient>, CliError> {
        let by_options = !self.global.recipient.is_empty() || self.global.recipients_file.is_some();
        let keys = &self.config.keys;
        let (texts, file) = match by_options {
            true => (&self.global.recipient, &self.global.recipients_file),
            false => (&keys.recipients, &keys.recipients_file),
        };
        let mut recipients = texts.iter().map(|text| text.parse()).collect::<Result<Vec<Recipient>, _>>()?;
        if let Some(path) = file {
            recipients.extend(Recipient::parse_list(text_of(path, &read_key_file(path)?)?)?);
        }
        if recipients.is_empty() { Err(CryptoError::NoRecipients.into()) } else { Ok(recipients) }
    }

    /// Returns the slots of a new repository or epoch: one for each way of opening it that was named.
    pub(crate) async fn new_slots(&self) -> Result<Vec<(SlotName, Wrapper)>, CliError> {
        let mut slots = Vec::new();
        if self.has_recipients() {
            slots.push((slot("recipients")?, Wrapper::Recipients(self.recipients()?)));
        }
        if let Some(command) = self.key_command(|config| &config.wrap) {
            slots.push((slot("command")?, Wrapper::Command(command)));
        }
        let mut passphrase = self.passphrase_at_hand()?;
        if passphrase.is_none() && slots.is_empty() {
            passphrase = self.prompts.new_secret("New passphrase for the repository").await?;
        }
        if let Some(passphrase) = passphrase {
            slots.push((slot("passphrase")?, Wrapper::passphrase(passphrase)));
        }
        if slots.is_empty() {
            return Err(CliError::usage(
                "nothing was given that shall open the repository",
                "give --recipient KEY (make one with `erpgo-dr key generate FILE`), --passphrase-file FILE or ERPGO_DR_PASSPHRASE",
            ));
        }
        Ok(slots)
    }

    /// Returns what a slot is wrapped with: the command, a new passphrase, or public keys.
    ///
    /// What an option says goes before the environment, and nothing is chosen silently from two: who takes the wrong one for
    /// the slot's owner locks himself out.
    pub(crate) async fn new_wrapper(&self, options: &NewKey) -> Result<Wrapper, CliError> {
        let by_options = [options.command, options.new_passphrase_file.is_some(), self.global.recipients_by_option];
        if by_options.iter().filter(|given| **given).count() > 1 {
            return Err(CliError::usage(
                "a slot is wrapped in one way only, and several were given",
                "give one of --recipient, --new-passphrase-file and --command; a slot each for several",
            ));
        }
        if options.command {
            return self.key_command(|config| &config.wrap).map(Wrapper::Command).ok_or_else(|| {
                CliError::usage(
                    "no command is configured",
                    "write `wrap` and `unwrap` into [keys.command] of erpgo-dr.toml",
                )
            });
        }
        if let Some(path) = &options.new_passphrase_file {
            return first_line(path).map(Wrapper::passphrase);
        }
        let names_recipients = !self.global.recipient.is_empty() || self.global.recipients_file.is_some();
        let passphrase = secret_variable("ERPGO_DR_NEW_PASSPHRASE");
        match (passphrase, names_recipients) {
            (Some(_), true) if !self.global.recipients_by_option => Err(CliError::usage(
                "the environment has both a new passphrase and public keys for the slot",
                "say which is meant: --new-passphrase-file FILE, --recipient KEY or --recipients-file FILE",
            )),
            (_, true) => Ok(Wrapper::Recipients(self.recipients()?)),
            (Some(passphrase), false) => Ok(Wrapper::passphrase(passphrase)),
            (None, false) => self.asked_wrapper().await,
        }
    }

    async fn asked_wrapper(&self) -> Result<Wrapper, CliError> {
        let asked = self.prompts.new_secret("New passphrase").await?;
        asked.map(Wrapper::passphrase).ok_or_else(|| {
            CliError::usage(
                "nothing was given to wrap the key with",
                "give --recipient KEY, --new-passphrase-file FILE, ERPGO_DR_NEW_PASSPHRASE or --command",
            )
        })
    }

    fn key_command(&self, which: impl Fn(&crate::config::KeyCommandConfig) -> &Vec<String>) -> Option<ExternalCommand> {
        let config = self.config.keys.command.as_ref()?;
        let (program, arguments) = which(config).split_first()?;
        let mut command = ExternalCommand::new(program, arguments);
        if let Some(seconds) = config.timeout {
            command.timeout = Duration::from_secs(seconds);
        }
        Some(command)
    }
}

/// What was tried with a repository, and how it went.
#[derive(Debug, Default)]
struct Attempts {
    opened: bool,
    refused: Option<RepositoryError>,
}

impl Attempts {
    async fn make(&mut self, repository: &mut Repository, unlocker: Unlocker) {
        match repository.unlock(&unlocker).await {
            Ok(()) => self.opened = true,
            Err(error) => self.refused = Some(error),
        }
    }

    fn is_untried(&self) -> bool {
        !self.opened && self.refused.is_none()
    }
}

/// Returns the first line of a file, without its end.
pub(crate) fn first_line(path: &Path) -> Result<SecretString, CliError> {
    let bytes = read_key_file(path)?;
    let line = text_of(path, &bytes)?.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(CliError::usage(
            format!("the first line of {} is empty", path.display()),
            "write the passphrase into the first line",
        ));
    }
    Ok(SecretString::from(line))
}

/// Reads a small file; a large one, or a device that never ends, was named by mistake.
fn read_key_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, CliError> {
    // All of its room at once: growing would leave copies of what was read behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_FILE_LIMIT as usize + 1));
    let opened = std::fs::File::open(path).map_err(error::reading(path))?;
    opened.take(KEY_FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(error::reading(path))?;
    match bytes.len() as u64 > KEY_FILE_LIMIT {
        false => Ok(bytes),
        true => Err(CliError::usage(
            format!("{} is larger than {} KiB, and no file of keys", path.display(), KEY_FILE_LIMIT >> 10),
            "check the path",
        )),
    }
}

fn text_of<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str, CliError> {
    let wrong = |_| error::reading(path)(std::io::ErrorKind::InvalidData.into());
    std::str::from_utf8(bytes).map_err(wrong)
}

fn slot(name: &str) -> Result<SlotName, CliError> {
    Ok(name.parse()?)
}

fn secret_variable(name: &str) -> Option<SecretString> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).map(SecretString::from)
}
