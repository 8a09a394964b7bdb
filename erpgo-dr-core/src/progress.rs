//! How long work tells its caller where it stands. The library reports; what is drawn is the caller's business.

use std::fmt;
use std::time::Duration;

/// A stretch of work with a beginning and an end.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Reading the database and writing the repository.
    Backup,
    /// Authenticating stored objects.
    Verify,
    /// Comparing stored objects with their recorded hashes, without keys.
    Scrub,
    /// Writing a database from the repository.
    Restore,
    /// Waiting for a server that replays its write-ahead log.
    Replay,
    /// Starting and filling a throwaway server.
    RestoreTest,
    /// Looking at the data of a server that is in use.
    Check,
    /// Searching for when data went wrong.
    Bisect,
    /// Removing what no policy keeps.
    Prune,
    /// Copying between the storage places of a repository.
    Repair,
    /// Adopting a file made by other tools.
    Import,
    /// Waiting for archived objects to become readable.
    Thaw,
    /// Reading or writing evidence.
    Evidence,
}

impl Phase {
    /// Returns the lower-case name of the phase, as it appears in logs and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Verify => "verify",
            Self::Scrub => "scrub",
            Self::Restore => "restore",
            Self::Replay => "replay",
            Self::RestoreTest => "restore-test",
            Self::Check => "check",
            Self::Bisect => "bisect",
            Self::Prune => "prune",
            Self::Repair => "repair",
            Self::Import => "import",
            Self::Thaw => "thaw",
            Self::Evidence => "evidence",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that happened. Borrowed data lives only as long as the call.
#[non_exhaustive]
#[derive(Debug, Clone, Copy)]
pub enum ProgressEvent<'a> {
    /// A phase began on `subject` (a database, an object, a backup).
    Started {
        /// The phase.
        phase: Phase,
        /// What it works on.
        subject: &'a str,
        /// Bytes to go, where they are known beforehand. Of a [`Phase::Backup`] they are an estimate by the size of the
        /// tables, which the dump may exceed or not reach.
        total_bytes: Option<u64>,
    },
    /// `bytes` more of uncompressed data went through.
    Advanced {
        /// The phase.
        phase: Phase,
        /// The increment, in bytes.
        bytes: u64,
    },
    /// Where a phase stands that bytes alone do not tell.
    Located {
        /// The phase.
        phase: Phase,
        /// Where it stands, for people.
        place: &'a str,
    },
    /// A phase ended well.
    Finished {
        /// The phase.
        phase: Phase,
        /// Wall-clock time since its start.
        elapsed: Duration,
    },
}

/// Receives [`ProgressEvent`]s. Called from async tasks: it must return quickly and not block.
pub trait Progress: Send + Sync {
    /// Takes notice of one event.
    fn report(&self, event: ProgressEvent<'_>);
}

/// Ignores all events.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn report(&self, _event: ProgressEvent<'_>) {}
}

/// Reports a phase's start when made, and its end when told that it went well.
#[derive(Clone, Copy)]
pub struct PhaseGuard<'a> {
    sink: &'a dyn Progress,
    phase: Phase,
    started: std::time::Instant,
}

impl fmt::Debug for PhaseGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PhaseGuard").field("phase", &self.phase).finish_non_exhaustive()
    }
}

impl<'a> PhaseGuard<'a> {
    /// Reports [`ProgressEvent::Started`].
    pub fn start(sink: &'a dyn Progress, phase: Phase, subject: &str, total_bytes: Option<u64>) -> Self {
        sink.report(ProgressEvent::Started { phase, subject, total_bytes });
        Self { sink, phase, started: std::time::Instant::now() }
    }

    /// Reports [`ProgressEvent::Advanced`].
    pub fn advance(&self, bytes: u64) {
        self.sink.report(ProgressEvent::Advanced { phase: self.phase, bytes });
    }

    /// Reports [`ProgressEvent::Located`].
    pub fn locate(&self, place: &str) {
        self.sink.report(ProgressEvent::Located { phase: self.phase, place });
    }

    /// Reports [`ProgressEvent::Finished`] and returns the time that the phase took.
    pub fn finish(self) -> Duration {
        let elapsed = self.started.elapsed();
        self.sink.report(ProgressEvent::Finished { phase: self.phase, elapsed });
        elapsed
    }
}
