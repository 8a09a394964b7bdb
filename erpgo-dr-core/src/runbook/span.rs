//! Lengths of time as a runbook writes them: `250ms`, `30s`, `5m`, `4h`, `7d`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The units, the largest first, and their milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// A length of time, to the millisecond: a whole number and one unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(Duration);

/// A text that is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a length of time: {text:?} (expected a whole number and a unit: 250ms, 30s, 5m, 4h, 7d)")]
pub struct SpanError {
    text: String,
}

impl Span {
    /// Returns the length in seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Returns the length as the standard library has it.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let wrong = || SpanError { text: text.to_owned() };
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        Ok(Self(Duration::from_millis(number.checked_mul(factor).ok_or_else(wrong)?)))
    }
}

/// In the largest unit that needs no fraction.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if total == 0 {
            return f.pad("0s");
        }
        let fits = UNITS.into_iter().find(|(_, factor)| total.is_multiple_of(*factor));
        let (unit, factor) = fits.expect("a millisecond divides every number of them");
        f.pad(&format!("{}{unit}", total / factor))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A length of time: a whole number and a unit, as 250ms, 30s, 5m, 4h or 7d.",
            "pattern": "^[0-9]+(ms|s|m|h|d)$",
        })
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_and_written_alike() {
        for (text, milliseconds) in
            [("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("4h", 14_400_000), ("7d", 604_800_000)]
        {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.duration().as_millis(), milliseconds);
            assert_eq!(span.to_string(), text);
        }
        assert_eq!("90s".parse::<Span>().unwrap().to_string(), "90s");
        assert_eq!("120s".parse::<Span>().unwrap().to_string(), "2m");
        assert_eq!("0h".parse::<Span>().unwrap().to_string(), "0s");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "5", "m", "5 m", "-1s", "1.5h", "5M", "99999999999999999999s", "999999999999999999d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }
}
