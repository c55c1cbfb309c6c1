//! What waits to become objects: entries by the values of their partition keys, and error records by
//! their type. Pure but for the clock.

use std::collections::BTreeMap;
use std::time::Instant;

use super::entry::{Entry, Failure, FailureKind};
use super::failed::error_record;

/// What becomes one object.
#[derive(Debug, Default)]
pub struct Pile {
    /// The records, glued.
    pub bytes: Vec<u8>,
    /// Each by itself, where they are converted.
    pub entries: Vec<Entry>,
    pub records: u64,
    /// Arrival of the oldest.
    pub oldest_us: i64,
    /// Of records that failed: why the first one did.
    pub example: Option<String>,
    size: usize,
}

impl Pile {
    fn add(&mut self, arrival_us: i64, size: usize) {
        self.oldest_us = match self.records {
            0 => arrival_us,
            _ => self.oldest_us.min(arrival_us),
        };
        self.records += 1;
        self.size += size;
    }
}

/// How entries are piled.
#[derive(Clone, Copy, Debug)]
pub struct Piling {
    pub newline: bool,
    /// Entries are kept apart, to be converted.
    pub apart: bool,
}

/// Everything that waits.
#[derive(Debug, Default)]
pub struct Piles {
    pub data: BTreeMap<Vec<String>, Pile>,
    pub errors: BTreeMap<FailureKind, Pile>,
    pub dropped: u64,
    /// Of all piles.
    bytes: usize,
    /// Of the largest pile.
    largest: usize,
    since: Option<Instant>,
}

/// Values of partition keys that wait at the same time, as Firehose has it.
const MOST_PARTITIONS: usize = 500;
/// All piles together.
const MOST_BYTES: usize = 256 << 20;

impl Piles {
    pub fn deliver(&mut self, entry: Entry, values: Vec<String>, piling: Piling) {
        if self.data.len() >= MOST_PARTITIONS && !self.data.contains_key(&values) {
            let message = format!("more than {MOST_PARTITIONS} partitions wait for delivery");
            let code = "DynamicPartitioning.ActivePartitionLimitExceeded";
            return self.fail(&entry, &Failure::processing(code, message, 1), None);
        }
        let pile = self.data.entry(values).or_default();
        let size = entry.data.len();
        pile.add(entry.arrival_us, size);
        if piling.apart {
            self.bytes += super::ENTRY_BYTES;
            pile.entries.push(entry);
        } else {
            pile.bytes.extend(entry.data);
            if piling.newline {
                pile.bytes.push(b'\n');
            }
        }
        self.largest = self.largest.max(pile.size);
        self.grow(size);
    }

    /// `transform` is who transforms, for the error record.
    pub fn fail(&mut self, entry: &Entry, failure: &Failure, transform: Option<&str>) {
        let line = error_record(entry, failure, transform);
        let pile = self.errors.entry(failure.kind).or_default();
        pile.add(entry.arrival_us, line.len());
        pile.bytes.extend(&line);
        pile.example.get_or_insert_with(|| format!("{}, {}", failure.code, failure.message));
        self.grow(line.len());
    }

    pub fn drop_one(&mut self) {
        self.dropped += 1;
        self.grow(0);
    }

    fn grow(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.since.get_or_insert_with(Instant::now);
    }

    /// Notes that something waits that is not piled yet.
    pub fn begin(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    /// Since when something waits.
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Whether a pile has reached so many bytes, or all of them what they may hold together.
    pub fn is_full(&self, pile_bytes: usize) -> bool {
        self.largest >= pile_bytes || self.bytes >= MOST_BYTES
    }
}
