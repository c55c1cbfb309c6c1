//! A record on its way from its shard to an object, and what may become of it. Pure.

use crate::pipeline::stream::{Record, SequenceNumber};

/// A record, or a part of one that was several.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub shard: u32,
    pub number: u64,
    /// Which part of the record it is, from 0.
    pub part: u32,
    pub arrival_us: i64,
    pub partition_key: String,
    pub data: Vec<u8>,
}

impl Entry {
    pub fn of(shard: u32, record: Record) -> Entry {
        let Record { number, arrival_us, partition_key, data } = record;
        Entry { shard, number, part: 0, arrival_us, partition_key, data }
    }

    pub fn sequence_number(&self) -> SequenceNumber {
        SequenceNumber { shard: self.shard, number: self.number }
    }

    pub fn arrival_ms(&self) -> i64 {
        self.arrival_us.div_euclid(1_000)
    }
}

/// What became of an entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It goes into an object, with the values of the prefix's partition keys, in their order.
    Deliver(Entry, Vec<String>),
    /// A transformation left it out.
    Dropped,
    Failed(Entry, Failure),
}

/// Why an entry can't be delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    pub kind: FailureKind,
    pub code: &'static str,
    pub message: String,
    pub attempts: u32,
}

/// The types of error output that a delivery to objects knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FailureKind {
    Processing,
    FormatConversion,
}

impl FailureKind {
    /// As it stands in keys.
    pub fn folder(self) -> &'static str {
        match self {
            FailureKind::Processing => "processing-failed",
            FailureKind::FormatConversion => "format-conversion-failed",
        }
    }
}

impl Failure {
    pub fn processing(code: &'static str, message: impl Into<String>, attempts: u32) -> Failure {
        Failure { kind: FailureKind::Processing, code, message: message.into(), attempts }
    }
}
