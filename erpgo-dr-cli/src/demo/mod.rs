//! The demo: a story of named steps on throwaway servers, from an empty machine to a healed repository.
//!
//! The steps call the library as any program would. Each one proves what it claims, or the demo fails.

mod moment;
mod stage;
mod steps;
mod timeline;
mod weed;

use std::path::PathBuf;

use crate::context::Context;
use crate::error::CliError;

use stage::Stage;
pub(crate) use timeline::{Facts, Timeline};

/// What the demo is played with.
#[derive(Debug)]
pub(crate) struct DemoOptions {
    /// The size of the sample.
    pub(crate) scale: u32,
    /// The S3 server's program, if it is not the one on `PATH`.
    pub(crate) weed: Option<PathBuf>,
    /// A second place instead of the S3 server.
    pub(crate) second_place: Option<String>,
    /// The account of the servers.
    pub(crate) run_as: Option<String>,
}

/// What happened.
#[derive(Debug)]
pub(crate) struct Telling {
    /// The steps, with times and sizes.
    pub(crate) timeline: Timeline,
    /// The figures.
    pub(crate) facts: Facts,
}

/// Plays the demo and clears the stage, however it ends.
pub(crate) async fn run(context: &Context, options: DemoOptions) -> Result<Telling, CliError> {
    if options.second_place.is_none() {
        // Better now than after a minute.
        weed::find(options.weed.as_deref())?;
    }
    let mut show = Show {
        context,
        options,
        stage: Stage::build(context.cleanups.clone())?,
        timeline: Timeline::new(context.output.clone()),
        facts: Facts::default(),
    };
    let told = tell(&mut show).await;
    let Show { stage, timeline, mut facts, .. } = show;
    let cleared = stage.clear().await;
    told?;
    cleared?;
    facts.seconds("demo_seconds", timeline.elapsed());
    Ok(Telling { timeline, facts })
}

/// What every step works with.
struct Show<'a> {
    context: &'a Context,
    options: DemoOptions,
    stage: Stage,
    timeline: Timeline,
    facts: Facts,
}

async fn tell(show: &mut Show<'_>) -> Result<(), CliError> {
    let server = steps::start_server(show).await?;
    let before = steps::fill(show, &server).await?;
    let places = steps::open_places(show).await?;
    let vault = steps::make_repository(show, &places).await?;
    let id = steps::back_up(show, &vault, &server).await?;
    steps::verify(show, &vault, &server, &id).await?;
    steps::test_restore(show, &vault, &server, &id).await?;
    steps::lose_data(show, &server, &before).await?;
    steps::restore(show, &vault, &server, &id).await?;
    steps::compare(show, &server, &before).await?;
    steps::damage_a_copy(show, &places, &vault, &server, &id).await?;
    steps::heal(show, &places, &vault, &server, &id).await?;
    steps::prune(show, &vault, &server).await?;
    let files = moment::back_up_files(show, &vault, &server).await?;
    let moment = moment::make_a_mistake(show, &vault, &server).await?;
    moment::go_back(show, &vault, &server, &files, &moment).await
}
