//! What a shard takes in a second, by <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>.
//! Pure: the clock is given.

use std::time::{Duration, Instant};

/// Records that a shard takes in a second.
pub const RECORDS_PER_SECOND: f64 = 1_000.0;
/// Bytes of data and partition keys that a shard takes in a second.
pub const BYTES_PER_SECOND: f64 = (1 << 20) as f64;
/// Reads of a shard in a second.
pub const READS_PER_SECOND: f64 = 5.0;

/// Something that refills evenly, up to what a second gives.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    per_second: f64,
    left: f64,
}

impl Bucket {
    fn full(per_second: f64) -> Bucket {
        Bucket { per_second, left: per_second }
    }

    fn refill(&mut self, passed: Duration) {
        let more = passed.as_secs_f64() * self.per_second;
        self.left = (self.left + more).min(self.per_second);
    }
}

/// What a shard may still take now.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    records: Bucket,
    bytes: Bucket,
    reads: Bucket,
    at: Instant,
}

impl Allowance {
    pub fn full(now: Instant) -> Allowance {
        Allowance {
            records: Bucket::full(RECORDS_PER_SECOND),
            bytes: Bucket::full(BYTES_PER_SECOND),
            reads: Bucket::full(READS_PER_SECOND),
            at: now,
        }
    }

    /// True where a record of so many bytes is within the limits; it is counted then.
    pub fn take_record(&mut self, now: Instant, bytes: usize) -> bool {
        self.refill(now);
        let bytes = bytes as f64;
        // What is more than a second gives, with its key, takes all of one.
        let bytes = bytes.min(self.bytes.per_second);
        let is_within = self.records.left >= 1.0 && self.bytes.left >= bytes;
        if is_within {
            self.records.left -= 1.0;
            self.bytes.left -= bytes;
        }
        is_within
    }

    /// True where another read is within the limits; it is counted then.
    pub fn take_read(&mut self, now: Instant) -> bool {
        self.refill(now);
        let is_within = self.reads.left >= 1.0;
        if is_within {
            self.reads.left -= 1.0;
        }
        is_within
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        self.at = now;
        [&mut self.records, &mut self.bytes, &mut self.reads]
            .into_iter()
            .for_each(|bucket| bucket.refill(passed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_takes_a_thousand_records_a_second_and_a_mebibyte() {
        let start = Instant::now();
        let mut shard = Allowance::full(start);
        assert_eq!((0..1_500).filter(|_| shard.take_record(start, 10)).count(), 1_000);
        let later = start + Duration::from_millis(500);
        assert_eq!((0..1_500).filter(|_| shard.take_record(later, 10)).count(), 500);
        let mut shard = Allowance::full(start);
        assert_eq!((0..500).filter(|_| shard.take_record(start, 5 << 10)).count(), 204);
        assert!(shard.take_record(start, 100));
        assert_eq!((0..9).filter(|_| shard.take_read(start)).count(), 5);
    }
}
