//! How objects travel to and from an object store.

use std::time::Duration;

const MIB: usize = 1 << 20;

/// How much of an object travels at once. What is held in memory is bounded by these, whatever the size of the object:
/// a writer holds `part_size × (parts_in_flight + 1)`, a reader `read_size × (reads_in_flight + 1)`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferOptions {
    /// The size in bytes of the parts of an upload; smaller objects travel in one request. At least 5 MiB, 8 by default.
    ///
    /// An object may have 10,000 parts, so they grow by three eighths after every 500: 5 TiB fit.
    pub part_size: usize,
    /// Whether all parts must be of equal size, as Cloudflare R2 wants it. An object then ends at 10,000 parts.
    pub equal_parts: bool,
    /// How many parts of an object are on their way at once: 4 by default, fewer where parts have grown.
    pub parts_in_flight: usize,
    /// The size in bytes of the ranges in which an object is read: 8 MiB by default.
    pub read_size: usize,
    /// How many ranges are on their way at once: 4 by default.
    pub reads_in_flight: usize,
    /// How often a read is tried again where it broke off without having brought anything new: 5 by default.
    pub read_retries: u32,
}

impl Default for TransferOptions {
    fn default() -> Self {
        Self {
            part_size: 8 * MIB,
            equal_parts: false,
            parts_in_flight: 4,
            read_size: 8 * MIB,
            reads_in_flight: 4,
            read_retries: 5,
        }
    }
}

impl TransferOptions {
    /// Sets the size of parts, in bytes; raised to the 5 MiB that S3 demands.
    pub fn with_part_size(mut self, bytes: usize) -> Self {
        self.part_size = bytes.max(5 * MIB);
        self
    }

    /// Sets whether all parts are of equal size.
    pub fn with_equal_parts(mut self, equal: bool) -> Self {
        self.equal_parts = equal;
        self
    }

    /// Sets how many parts are on their way at once; at least one.
    pub fn with_parts_in_flight(mut self, parts: usize) -> Self {
        self.parts_in_flight = parts.max(1);
        self
    }

    /// Sets the size of the ranges that are read, in bytes; at least 64 KiB.
    pub fn with_read_size(mut self, bytes: usize) -> Self {
        self.read_size = bytes.max(64 << 10);
        self
    }

    /// Sets how many ranges are on their way at once; at least one.
    pub fn with_reads_in_flight(mut self, reads: usize) -> Self {
        self.reads_in_flight = reads.max(1);
        self
    }

    /// Sets how often a broken read is tried again.
    pub fn with_read_retries(mut self, retries: u32) -> Self {
        self.read_retries = retries;
        self
    }

    /// Returns the size of part `number`, counted from 0.
    pub(super) fn size_of_part(&self, number: usize) -> usize {
        if self.equal_parts {
            return self.part_size;
        }
        // S3 takes parts of up to 5 GiB.
        (0..number / 500).fold(self.part_size, |size, _| (size + size * 3 / 8).min(5 << 30))
    }

    /// Returns how many parts of `size` bytes may be on their way.
    pub(super) fn in_flight(&self, size: usize) -> usize {
        (self.part_size * self.parts_in_flight / size).clamp(1, self.parts_in_flight)
    }
}

/// How long to wait for an object store, and how often to ask again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryOptions {
    /// How long a connection may take: 5 s by default.
    pub connect_timeout: Duration,
    /// How long one request may take, with its body: 3 minutes by default, which is 45 KiB/s for a part of 8 MiB.
    pub request_timeout: Duration,
    /// How long an answer may stand still: 30 s by default.
    pub read_timeout: Duration,
    /// How often a request is repeated: 6 times by default.
    pub max_retries: usize,
    /// After which time a request is not repeated again: 2 minutes by default.
    pub retry_timeout: Duration,
    /// The longest pause between two tries: 10 s by default; the first is about 100 ms.
    pub max_backoff: Duration,
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(180),
            read_timeout: Duration::from_secs(30),
            max_retries: 6,
            retry_timeout: Duration::from_secs(120),
            max_backoff: Duration::from_secs(10),
        }
    }
}

impl RetryOptions {
    /// Sets how long a connection may take.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long one request may take.
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets how long an answer may stand still.
    pub fn with_read_timeout(mut self, timeout: Duration) -> Self {
        self.read_timeout = timeout;
        self
    }

    /// Sets how often a request is repeated; 0 for never.
    pub fn with_max_retries(mut self, retries: usize) -> Self {
        self.max_retries = retries;
        self
    }

    /// Sets after which time a request is not repeated again.
    pub fn with_retry_timeout(mut self, timeout: Duration) -> Self {
        self.retry_timeout = timeout;
        self
    }

    /// Sets the longest pause between two tries.
    pub fn with_max_backoff(mut self, pause: Duration) -> Self {
        self.max_backoff = pause;
        self
    }

    /// Returns the pause before try `attempt`, counted from 1: doubling from 100 ms, with half of it left to chance.
    pub(super) fn pause(&self, attempt: u32) -> Duration {
        let full =
            Duration::from_millis(100).saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(self.max_backoff);
        full.mul_f64(0.5 + rand::random::<f64>() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_tebibytes_fit_in_ten_thousand_parts_of_less_than_five_gibibytes() {
        let options = TransferOptions::default();
        let sizes: Vec<usize> = (0..10_000).map(|number| options.size_of_part(number)).collect();
        assert!(sizes.iter().sum::<usize>() >= 5 << 40);
        assert!(sizes.iter().all(|size| (5 << 20..5 << 30).contains(size)));
        assert_eq!(options.size_of_part(499), 8 << 20);
        assert_eq!((options.in_flight(8 << 20), options.in_flight(16 << 20), options.in_flight(1 << 30)), (4, 2, 1));
    }
}
