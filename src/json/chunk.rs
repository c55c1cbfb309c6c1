//! What reading gives: fates of records, counts, quarantine, frames, chunk by chunk.

use super::Reason;
use super::frame::Frame;
use crate::schema::Path;

/// How many sources of event times are told apart.
pub const SOURCES: usize = 96;

/// What becomes of a good record. `source` (below [`SOURCES`]) says where its time came from and is
/// counted for rows of the day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Keep {
        ts_utc: i64,
        source: u8,
        clamped: bool,
    },
    Before,
    After,
    /// Of the day, and the same as an earlier record: it is dropped.
    Copy,
    Reject(Reason),
}

/// Bytes that are not in any record's place: where, how many, why, and the first of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quarantined {
    /// Byte offset in the decoded object.
    pub offset: u64,
    pub len: u64,
    pub reason: Reason,
    /// The bytes, at most [`Quarantined::KEPT_BYTES`] of them.
    pub bytes: Vec<u8>,
}

impl Quarantined {
    pub const KEPT_BYTES: usize = 64 << 10;
}

/// Places of one object that are noted one by one. More are counted by reason: an object that is
/// bad all through must not fill the memory with its list.
pub const MAX_PLACES: u64 = 10_000;

/// Quarantined bytes of one object that are kept; of further places only offset and length are.
pub const MAX_KEPT_BYTES: usize = 16 << 20;

/// Places of an object that are counted, beyond those that are noted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MorePlaces {
    /// The first of them.
    pub offset: u64,
    pub reason: Reason,
    pub places: u64,
    pub bytes: u64,
}

/// The counts of a chunk. `bytes` = `record_bytes` + `separator_bytes` + `quarantined_bytes`
/// over an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tally {
    pub kept: u64,
    pub before: u64,
    pub after: u64,
    /// Dropped, because an earlier record is the same.
    pub copies: u64,
    pub record_bytes: u64,
    pub separator_bytes: u64,
    pub quarantined_bytes: u64,
    /// Kept records by the source of their time.
    pub sources: [u64; SOURCES],
    pub clamped: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            kept: 0,
            before: 0,
            after: 0,
            copies: 0,
            record_bytes: 0,
            separator_bytes: 0,
            quarantined_bytes: 0,
            sources: [0; SOURCES],
            clamped: 0,
        }
    }
}

impl Tally {
    /// Records of the day, dropped ones included.
    pub fn of_the_day(&self) -> u64 {
        self.kept + self.copies
    }

    pub fn add(&mut self, other: &Tally) {
        self.kept += other.kept;
        self.before += other.before;
        self.after += other.after;
        self.copies += other.copies;
        self.record_bytes += other.record_bytes;
        self.separator_bytes += other.separator_bytes;
        self.quarantined_bytes += other.quarantined_bytes;
        self.clamped += other.clamped;
        for (sum, count) in self.sources.iter_mut().zip(other.sources) {
            *sum += count;
        }
    }
}

/// What one block gave.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Chunk {
    /// Bytes of the block that are done with; the others must stand at the front of the next.
    pub consumed: usize,
    pub frame: Frame,
    /// The frame has as many cells as it may have: what is left of the block is to be read again.
    pub full: bool,
    pub tally: Tally,
    pub quarantine: Vec<Quarantined>,
    /// Places beyond [`MAX_PLACES`] of the object, one entry a reason.
    pub more: Vec<MorePlaces>,
    /// How often a member of the kept rows was overruled by a later one of the same key. Members
    /// inside of JSON columns are never overruled: there the whole text stands.
    pub duplicate_keys: Vec<(Path, u64)>,
}

/// A block while it is read.
pub(super) struct Block<'a> {
    pub bytes: &'a [u8],
    pub last: bool,
    /// Bytes up to here are known to be UTF-8.
    pub valid_utf8: usize,
    pub chunk: Chunk,
    pub rows: usize,
    /// Places of the object that were quarantined so far, and bytes of them that are kept.
    pub places: u64,
    pub kept_bytes: usize,
}

impl<'a> Block<'a> {
    /// The bytes up to where an item that begins at `at` would become too large, and whether
    /// that cuts the block.
    pub fn window(&self, at: usize, max_bytes: usize) -> (&'a [u8], bool) {
        let limit = at.saturating_add(max_bytes);
        if limit < self.bytes.len() { (&self.bytes[..limit], true) } else { (self.bytes, false) }
    }

    pub fn quarantine(&mut self, base: u64, start: usize, end: usize, reason: Reason) {
        let kept = end.min(start + Quarantined::KEPT_BYTES);
        self.quarantine_span(Quarantined {
            offset: base + start as u64,
            len: (end - start) as u64,
            reason,
            bytes: self.bytes[start..kept].to_vec(),
        });
    }

    pub fn quarantine_span(&mut self, span: Quarantined) {
        self.chunk.tally.quarantined_bytes += span.len;
        self.places += 1;
        if self.places <= MAX_PLACES {
            let mut span = span;
            self.kept_bytes += span.bytes.len();
            if self.kept_bytes > MAX_KEPT_BYTES {
                span.bytes = Vec::new();
            }
            self.chunk.quarantine.push(span);
            return;
        }
        let Quarantined { offset, len, reason, .. } = span;
        match self.chunk.more.iter_mut().find(|more| more.reason == reason) {
            Some(more) => {
                more.places += 1;
                more.bytes += len;
            }
            None => self.chunk.more.push(MorePlaces { offset, reason, places: 1, bytes: len }),
        }
    }
}
