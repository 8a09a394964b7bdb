//! Sizes and times as people read them. JSON has the exact ones.

use chrono::{DateTime, Utc};

/// Returns a size in binary units: `1.5 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    // What would be rounded to 1024 has the next unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Returns a length of time: `0.42 s`, `12.3 s`, `4m 05s`, `3h 20m`, `12d 4h`.
pub(crate) fn seconds(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        _ if seconds < 9.995 => format!("{:.2} s", seconds.max(0.0)),
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{}m {:02}s", whole / 60, whole % 60),
        3600..86_400 => format!("{}h {:02}m", whole / 3600, whole % 3600 / 60),
        _ => format!("{}d {}h", whole / 86_400, whole % 86_400 / 3600),
    }
}

/// Returns how long ago something was: `42s`, `17m`, `5h`, `12d`. What lies ahead is `in 5h`.
pub(crate) fn age(then: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let passed = (now - then).num_seconds();
    let text = match passed.unsigned_abs() {
        count @ 0..120 => format!("{count}s"),
        count @ 120..7200 => format!("{}m", count / 60),
        count @ 7200..172_800 => format!("{}h", count / 3600),
        count => format!("{}d", count / 86_400),
    };
    if passed < -1 { format!("in {text}") } else { text }
}

/// Returns a moment in UTC, to the second.
pub(crate) fn moment(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// Returns how many times smaller the stored form is: `4.2x`.
pub(crate) fn ratio(plain: u64, stored: u64) -> String {
    if stored == 0 { "-".to_owned() } else { format!("{:.1}x", plain as f64 / stored as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        for (count, text) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1_048_575, "1.0 MiB"), (u64::MAX, "16.0 EiB")]
        {
            assert_eq!(bytes(count), text);
        }
        for (time, text) in [
            (0.424, "0.42 s"),
            (12.34, "12.3 s"),
            (59.96, "1m 00s"),
            (245.0, "4m 05s"),
            (12_000.0, "3h 20m"),
            (1.0e6, "11d 13h"),
        ] {
            assert_eq!(seconds(time), text);
        }
    }

    #[test]
    fn ages_look_back_and_ahead() {
        let now: DateTime<Utc> = "2026-11-24T12:00:00Z".parse().unwrap();
        let at = |text: &str| age(text.parse().unwrap(), now);
        assert_eq!(at("2026-11-24T11:59:18Z"), "42s");
        assert_eq!(at("2026-11-24T07:00:00Z"), "5h");
        assert_eq!(at("2026-11-12T07:00:00Z"), "12d");
        assert_eq!(at("2026-11-24T17:00:01Z"), "in 5h");
    }
}
