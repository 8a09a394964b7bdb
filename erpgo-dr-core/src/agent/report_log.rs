//! A plain line for each run, in a file that people tail.

use std::io::Write as _;
use std::path::Path;

use super::one_line;
use crate::repository::{RunBeginning, RunEnding, RunResult};

/// Appends a line. What hinders that is logged, and hinders nothing else.
pub(super) fn append(path: &Path, beginning: &RunBeginning, ending: &RunEnding) {
    let written = std::fs::File::options().create(true).append(true).open(path).and_then(|mut file| {
        // One write, so that lines of several processes do not mix.
        file.write_all(line(beginning, ending).as_bytes())
    });
    if let Err(error) = written {
        tracing::warn!(file = %path.display(), %error, "the report log cannot be written");
    }
}

fn line(beginning: &RunBeginning, ending: &RunEnding) -> String {
    let word = match ending.result {
        RunResult::Succeeded => "SUCCESS",
        RunResult::Found => "PROBLEM",
        RunResult::Failed => "FAILURE",
        RunResult::Interrupted => "STOPPED",
        RunResult::BrokenOff => "BROKEN OFF",
    };
    let bytes = ending.bytes.map(|bytes| format!(" {bytes} bytes")).unwrap_or_default();
    let seconds = ending.seconds.map(|seconds| format!(" {seconds:.1}s")).unwrap_or_default();
    format!(
        "[{}] {word} {} attempt {}{seconds}{bytes}: {}\n",
        ending.ended.format("%Y-%m-%d %H:%M:%S"),
        beginning.job,
        beginning.attempt,
        one_line(&ending.message)
    )
}
