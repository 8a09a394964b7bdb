//! Ctrl-C and SIGTERM: the work is dropped, which cancels it, and what cleans up behind it is waited for.

use tokio::signal::unix::{SignalKind, signal};

use crate::context::Context;
use crate::error::{CliError, Signal};
use crate::output::Report;

/// Runs `work` until it ends or the process is told to stop. A second signal ends the process at once.
pub(crate) async fn run(
    work: impl Future<Output = Result<Report, CliError>>,
    context: &Context,
) -> Result<Report, CliError> {
    let outcome = tokio::select! {
        biased;
        caught = caught() => Err(CliError::Interrupted { signal: caught?, left: Vec::new() }),
        outcome = work => outcome,
    };
    let Err(CliError::Interrupted { signal, .. }) = outcome else {
        return tokio::select! {
            () = context.cleanups.settle() => outcome,
            caught = caught() => Err(CliError::Interrupted { signal: caught?, left: context.cleanups.remains() }),
        };
    };
    context.prompts.restore_terminal();
    context.output.note("interrupted: cleaning up (once more to stop at once)");
    let signal = tokio::select! {
        () = context.cleanups.settle() => signal,
        again = caught() => again?,
    };
    Err(CliError::Interrupted { signal, left: context.cleanups.remains() })
}

async fn caught() -> Result<Signal, CliError> {
    let listen = |kind| signal(kind).map_err(|source| crate::error::io("listen for signals", source));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    Ok(tokio::select! {
        _ = interrupt.recv() => Signal::Interrupt,
        _ = terminate.recv() => Signal::Terminate,
    })
}
