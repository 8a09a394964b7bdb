//! `init`: makes a repository.

use std::sync::Arc;

use clap::Args;
use erpgo_dr_core::repository::InitOptions;
use erpgo_dr_core::{Codec, Repository};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::output::Report;

/// Make a repository at an empty place
///
/// It can be opened by each of what is given: public keys (--recipient), a passphrase, the command of
/// [keys.command]. Keep the private side away from this host as well: without it no backup can ever be read.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// How backups are compressed: zstd[:LEVEL], gzip[:LEVEL] or none
    #[arg(long, value_name = "CODEC")]
    codec: Option<Codec>,
}

#[derive(Serialize)]
struct Made<'a> {
    repository: &'a str,
    location: String,
    codec: String,
    slots: Vec<String>,
    places: Vec<String>,
}

impl InitArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let places = context.places()?;
        let slots = context.new_slots().await?;
        let codec = self.codec.or(context.config.backup.codec).unwrap_or_default();
        codec.check_available()?;
        let options = InitOptions::default().with_codec(codec);
        let repository =
            Repository::init(Arc::clone(&places.storage), context.environment()?, &options, &slots).await?;
        let missed = places.storage.take_missed_writes();
        for miss in &missed {
            context.output.warn(&format!("{} lacks {}: {}", miss.location, miss.key, miss.error));
        }
        let names: Vec<String> = slots.iter().map(|(name, _)| name.to_string()).collect();
        let all = match &places.replicated {
            Some(replicated) => replicated.places().iter().map(|place| place.location()).collect(),
            None => vec![places.storage.location()],
        };
        let made = Made {
            repository: repository.settings().id.as_str(),
            location: places.storage.location(),
            codec: codec.to_string(),
            slots: names,
            places: all,
        };
        let text = format!(
            "repository {} made at {}\nit opens with: {}\n",
            made.repository,
            made.places.join(", "),
            made.slots.join(", ")
        );
        Report::new(&made, text, missed.is_empty())
    }
}
