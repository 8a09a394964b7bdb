//! Timeline history files: which timelines a timeline descends from, and where each was left.

use crate::types::{Lsn, TimelineId};

use super::WalError;

/// The descent of a timeline, as its `.history` file tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TimelineHistory {
    /// The timeline.
    pub timeline: TimelineId,
    /// Its ancestors, the oldest first; the last one is its parent.
    pub ancestors: Vec<TimelineSwitch>,
}

/// A timeline that was left for a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimelineSwitch {
    /// The timeline that was left.
    pub timeline: TimelineId,
    /// Where: what lies from here on is of the later timeline.
    pub position: Lsn,
}

impl TimelineHistory {
    /// Reads the history file of `timeline`, as PostgreSQL's `readTimeLineHistory` does.
    ///
    /// # Errors
    /// [`WalError::History`] for a line that is none, and for timelines or positions that do not rise.
    pub fn parse(timeline: TimelineId, bytes: &[u8]) -> Result<Self, WalError> {
        let wrong =
            |line: usize, reason| WalError::History { file: format!("{:08X}.history", timeline.get()), line, reason };
        let text = str::from_utf8(bytes).map_err(|_| wrong(1, "it is not text"))?;
        let mut ancestors: Vec<TimelineSwitch> = Vec::new();
        let mut lines = 0;
        for (number, line) in (1..).zip(text.lines()) {
            lines = number;
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let switch = switch(line).map_err(|reason| wrong(number, reason))?;
            let before = ancestors.last();
            if before.is_some_and(|before| before.timeline >= switch.timeline) || switch.timeline >= timeline {
                return Err(wrong(number, "timelines must rise"));
            }
            if before.is_some_and(|before| before.position > switch.position) {
                return Err(wrong(number, "positions must rise"));
            }
            ancestors.push(switch);
        }
        if ancestors.is_empty() {
            return Err(wrong(lines.max(1), "it names no parent"));
        }
        Ok(Self { timeline, ancestors })
    }

    /// Returns the timeline that it began from, and where.
    pub fn parent(&self) -> Option<TimelineSwitch> {
        self.ancestors.last().copied()
    }
}

/// Reads `parent <blank> position <blank> reason`.
fn switch(line: &str) -> Result<TimelineSwitch, &'static str> {
    let mut words = line.split_ascii_whitespace();
    let number = words.next().and_then(|word| word.parse().ok()).and_then(TimelineId::new);
    let timeline = number.ok_or("expected the number of a timeline")?;
    let position = words.next().and_then(|word| word.parse().ok());
    Ok(TimelineSwitch { timeline, position: position.ok_or("expected the position of a switch")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(number: u32) -> TimelineId {
        TimelineId::new(number).unwrap()
    }

    #[test]
    fn a_history_is_read_from_the_oldest_to_the_parent() {
        let text = b"1\t0/3000148\tno recovery target specified\n\n# a remark\n2\t0/5000000\tbefore 2026-01-01\n";
        let history = TimelineHistory::parse(timeline(4), text).unwrap();
        let ancestors: Vec<_> = history.ancestors.iter().map(|a| (a.timeline.get(), a.position.0)).collect();
        assert_eq!(ancestors, [(1, 0x300_0148), (2, 0x500_0000)]);
        assert_eq!(history.parent().unwrap().timeline, timeline(2));
    }

    #[test]
    fn what_is_no_history_is_an_error_with_its_line() {
        for (text, line) in [
            (&b""[..], 1),
            (b"# nothing\n", 1),
            (b"x", 1),
            (b"1", 1),
            (b"0\t0/1\t", 1),
            (b"1\t0/1\n\n1\t0/2\n", 3),
            (b"1\t0/5\n2\t0/4\n", 2),
            (b"1\t0/1\n4\t0/2\n", 2),
            (b"1\tnowhere\n", 1),
            (b"\xFF\xFE", 1),
        ] {
            match TimelineHistory::parse(timeline(4), text) {
                Err(WalError::History { line: found, .. }) => assert_eq!(found, line, "{text:?}"),
                outcome => panic!("{text:?}: {outcome:?}"),
            }
        }
    }
}
