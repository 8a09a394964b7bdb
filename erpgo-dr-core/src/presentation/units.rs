//! Times and sizes as people read them.

use chrono::{DateTime, SecondsFormat, Utc};

/// Returns a moment to the second.
pub(crate) fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true).replace('T', " ").replace('Z', " UTC")
}

/// Returns the time of a moment's day, to the second.
pub(crate) fn clock(at: DateTime<Utc>) -> String {
    at.format("%H:%M:%S").to_string()
}

/// Returns a length of time in its two largest units.
pub(crate) fn length(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{} s", (seconds * 10.0).round() / 10.0);
    }
    let total = seconds.round() as u64;
    let parts = [(total / 86_400, "d"), (total / 3600 % 24, "h"), (total / 60 % 60, "min"), (total % 60, "s")];
    let from = parts.iter().position(|(count, _)| *count > 0).unwrap_or(3);
    let shown = parts[from..].iter().take(2).filter(|(count, _)| *count > 0);
    shown.map(|(count, unit)| format!("{count} {unit}")).collect::<Vec<_>>().join(" ")
}

/// Returns a number of bytes in the largest unit that leaves one before the point.
pub(crate) fn bytes(count: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} bytes") } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_told_in_two_units() {
        let told = [
            (0.0, "0 s"),
            (2.34, "2.3 s"),
            (59.6, "1 min"),
            (252.0, "4 min 12 s"),
            (7200.0, "2 h"),
            (90_000.0, "1 d 1 h"),
        ];
        for (seconds, text) in told {
            assert_eq!(length(seconds), text);
        }
        assert_eq!((bytes(512), bytes(1_572_864)), ("512 bytes".to_owned(), "1.5 MiB".to_owned()));
    }
}
