//! `demo`: the whole path on a throwaway server, from backup to restore.

use std::path::PathBuf;

use clap::Args;

use crate::context::Context;
use crate::demo::{self, DemoOptions, Telling};
use crate::error::CliError;
use crate::output::Report;

/// Show all of it on a throwaway server: back up, verify, lose a table, restore, damage, heal, prune
///
/// Starts a PostgreSQL of its own from programs on this machine, and an S3 server (SeaweedFS `weed`) as the second
/// place. Touches nothing else, and leaves nothing behind. Ends with lines `name value` for scripts.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How large the sample is: about 2 MB of database for each
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    scale: u32,
    /// The program `weed` that serves as S3 [default: the one on PATH]
    #[arg(long, value_name = "FILE", conflicts_with = "second_place")]
    weed: Option<PathBuf>,
    /// Another second place, of which only a new folder is used and then removed: s3://BUCKET, gs://..., a folder
    #[arg(long, value_name = "ADDRESS")]
    second_place: Option<String>,
    /// The account that the servers run as [default: postgres, for root]
    #[arg(long, value_name = "USER")]
    run_as: Option<String>,
}

impl DemoArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Report, CliError> {
        let options =
            DemoOptions { scale: self.scale, weed: self.weed, second_place: self.second_place, run_as: self.run_as };
        let Telling { timeline, facts } = demo::run(context, options).await?;
        let document = serde_json::json!({ "steps": timeline.steps(), "facts": facts.to_json() });
        let text = format!("{}\n{}demo ok\n", timeline.render(), facts.lines());
        Report::new(&document, text, true)
    }
}
