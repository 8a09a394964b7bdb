//! `key`: who may open the repository.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use erpgo_dr_core::crypto::keys::{SlotKind, SlotName, generate_identity};
use erpgo_dr_core::repository::{EpochInfo, SlotInfo};
use secrecy::ExposeSecret as _;
use serde::Serialize;

use crate::context::{Access, Context, NewKey};
use crate::error::{self, CliError};
use crate::output::{Align, Report, Table};

/// Manage who may open the repository
///
/// A slot is one way to open it. Adding, rotating and removing slots rewrites small files, and no backup.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    action: KeyAction,
}

#[derive(Debug, Subcommand)]
enum KeyAction {
    /// List the epochs and their slots
    List,
    /// Add a slot: for --recipient KEY, for a new passphrase, or for the configured command
    Add {
        /// The name of the slot: a-z, 0-9 and `-`
        #[arg(value_name = "NAME")]
        name: SlotName,
        #[command(flatten)]
        key: NewKey,
    },
    /// Replace what opens a slot: --recipient KEY, a new passphrase, or the configured command
    Rotate {
        /// The name of the slot
        #[arg(value_name = "NAME")]
        name: SlotName,
        #[command(flatten)]
        key: NewKey,
    },
    /// Remove a slot (after a breach begin a new epoch as well: who had the key keeps what it opens)
    Remove {
        /// The name of the slot
        #[arg(value_name = "NAME")]
        name: SlotName,
    },
    /// Begin an epoch: backups from now on are sealed with a new key, for what --recipient and the rest name
    ///
    /// Old backups stay readable with the old keys. Do this after a breach.
    NewEpoch,
    /// Make an age identity in a new file that only its owner can read, and print its public key
    Generate {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Serialize)]
struct Listing {
    epochs: Vec<EpochInfo>,
}

#[derive(Serialize)]
struct Changed {
    slot: String,
    action: &'static str,
    /// What opens it now.
    kind: Option<SlotKind>,
}

impl KeyArgs {
    pub(super) fn name(&self) -> &'static str {
        match self.action {
            KeyAction::List => "key list",
            KeyAction::Add { .. } => "key add",
            KeyAction::Rotate { .. } => "key rotate",
            KeyAction::Remove { .. } => "key remove",
            KeyAction::NewEpoch => "key new-epoch",
            KeyAction::Generate { .. } => "key generate",
        }
    }

    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        match self.action {
            KeyAction::List => list(context).await,
            KeyAction::Add { name, key } => {
                let repository = context.repository(Access::Unlocked).await?;
                let wrapper = context.new_wrapper(&key).await?;
                repository.add_slot(&name, &wrapper).await?;
                changed(&name, "added", Some(wrapper.kind()))
            }
            KeyAction::Rotate { name, key } => {
                let repository = context.repository(Access::Unlocked).await?;
                let wrapper = context.new_wrapper(&key).await?;
                repository.rotate_slot(&name, &wrapper).await?;
                changed(&name, "rotated", Some(wrapper.kind()))
            }
            KeyAction::Remove { name } => {
                let repository = context.repository(Access::Unlocked).await?;
                repository.remove_slot(&name).await?;
                changed(&name, "removed", None)
            }
            KeyAction::NewEpoch => new_epoch(context).await,
            KeyAction::Generate { file } => generate(&file),
        }
    }
}

async fn list(context: &Context) -> Result<Report, CliError> {
    let repository = context.repository(Access::KeysIfAtHand).await?;
    let listing = Listing { epochs: repository.epochs().await? };
    let mut table =
        Table::new([("EPOCH", Align::Left), ("STATE", Align::Left), ("OPEN", Align::Left), ("SLOTS", Align::Left)]);
    for epoch in &listing.epochs {
        let kind = |slot: &SlotInfo| slot.kind.map_or_else(|| "damaged".to_owned(), |kind| kind.to_string());
        let slots: Vec<String> = epoch.slots.iter().map(|slot| format!("{} ({})", slot.name, kind(slot))).collect();
        table.row([
            epoch.id.to_string(),
            if epoch.active { "active" } else { "" }.to_owned(),
            if epoch.unlocked { "yes" } else { "no" }.to_owned(),
            slots.join(", "),
        ]);
    }
    Report::new(&listing, table.render(), true)
}

fn changed(name: &SlotName, action: &'static str, kind: Option<SlotKind>) -> Result<Report, CliError> {
    let opens = kind.map(|kind| format!(": it opens by {kind}")).unwrap_or_default();
    let text = format!("slot {name} {action}{opens}\n");
    Report::new(&Changed { slot: name.to_string(), action, kind }, text, true)
}

async fn new_epoch(context: &Context) -> Result<Report, CliError> {
    #[derive(Serialize)]
    struct Begun {
        epoch: String,
        slots: Vec<String>,
    }
    let mut repository = context.repository(Access::Unlocked).await?;
    let slots = context.new_slots().await?;
    let epoch = repository.begin_epoch(&slots).await?;
    let begun = Begun { epoch: epoch.to_string(), slots: slots.iter().map(|(name, _)| name.to_string()).collect() };
    let text = format!("epoch {} begun; it opens with: {}\n", begun.epoch, begun.slots.join(", "));
    Report::new(&begun, text, true)
}

fn generate(path: &Path) -> Result<Report, CliError> {
    #[derive(Serialize)]
    struct Generated {
        file: String,
        recipient: String,
    }
    let pair = generate_identity();
    let action = || format!("make {}", path.display());
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => CliError::usage(
            format!("{} is there already", path.display()),
            "name a new file: an identity that is overwritten opens nothing any more",
        ),
        _ => error::io(action(), source),
    })?;
    let secret =
        zeroize::Zeroizing::new(format!("# public key: {}\n{}\n", pair.recipient, pair.secret.expose_secret()));
    file.write_all(secret.as_bytes()).and_then(|()| file.sync_all()).map_err(|source| error::io(action(), source))?;
    let made = Generated { file: path.display().to_string(), recipient: pair.recipient.to_string() };
    let text = format!(
        "{}\nthe private key is in {}: copy it to a safe place; without it no backup for it can be read\n",
        made.recipient, made.file
    );
    Report::new(&made, text, true)
}
