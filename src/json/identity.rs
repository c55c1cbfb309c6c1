//! What makes two records the same: their bytes, or the values of some fields → 128 bits.
//!
//! A collision of two different records would drop one of them. XXH3 spreads any input that was not
//! made to collide evenly: among n records the probability that any two collide is about n² / 2^129,
//! which is 10^-21 for a day of a billion. Input that *is* made to collide can drop records, but
//! who can write such records into a stream can as well send the key of others.

use std::num::NonZeroU128;

use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed};

use super::build::{Slot, SlotKind};
use super::text::unescape;

/// What makes two records the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Identity {
    /// All their bytes, from brace to brace.
    Bytes,
    /// The values of these fields.
    Fields(Vec<String>),
}

impl Identity {
    pub fn fields(&self) -> &[String] {
        match self {
            Identity::Bytes => &[],
            Identity::Fields(fields) => fields,
        }
    }
}

/// What tells the rows of a frame from others.
#[derive(Clone, Default, Debug, PartialEq)]
pub struct Identities {
    /// One for each row; `None` where it lacks one of the fields.
    pub hashes: Vec<Option<NonZeroU128>>,
    /// For each field, how many rows have it.
    pub found: Vec<u64>,
}

/// Makes hashes, one record after another.
pub(super) struct Fingerprint {
    fields: usize,
    /// The fields of the record in hand, each with its kind and length in front.
    key: Vec<u8>,
    lacks: bool,
}

impl Fingerprint {
    pub fn new(identity: &Identity) -> Self {
        Fingerprint { fields: identity.fields().len(), key: Vec::new(), lacks: false }
    }

    pub fn none_yet(&self) -> Identities {
        Identities { hashes: Vec::new(), found: vec![0; self.fields] }
    }

    /// Of the same bytes, another seed makes another identity.
    pub fn of_bytes(&self, record: &[u8], seed: u64) -> NonZeroU128 {
        NonZeroU128::new(xxh3_128_with_seed(record, seed)).unwrap_or(NonZeroU128::MAX)
    }

    /// Takes the value of the next field, which is not null: a string unescaped, anything else as
    /// it stands. True: it is there.
    pub fn push(&mut self, slot: &Slot, bytes: &[u8]) -> bool {
        let kind = matches!(slot.kind, SlotKind::Text | SlotKind::EscapedText);
        self.key.push(u8::from(kind));
        let len_at = self.key.len();
        self.key.extend([0; 8]);
        match slot.kind {
            SlotKind::EscapedText => unescape(slot.span(bytes), &mut self.key),
            _ => self.key.extend_from_slice(slot.span(bytes)),
        }
        let len = (self.key.len() - len_at - 8) as u64;
        self.key[len_at..len_at + 8].copy_from_slice(&len.to_le_bytes());
        true
    }

    /// The record has no such field, or null there.
    pub fn lacks_one(&mut self) -> bool {
        self.lacks = true;
        false
    }

    /// The record's identity, once all its fields are taken.
    pub fn finish(&mut self) -> Option<NonZeroU128> {
        let whole = !std::mem::take(&mut self.lacks);
        let found = whole.then(|| hash(&self.key));
        self.key.clear();
        found
    }
}

/// No hash is 0, so that `None` costs no room.
fn hash(bytes: &[u8]) -> NonZeroU128 {
    NonZeroU128::new(xxh3_128(bytes)).unwrap_or(NonZeroU128::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::{Fate, Options, Projection, Reader};
    use super::*;
    use crate::schema::Pins;

    fn identities(identity: Identity, records: &str) -> Identities {
        let mut reader = Reader::new(Options {
            projection: Projection::Named(Vec::new()),
            pins: Pins::new(),
            time_fields: Vec::new(),
            by: Vec::new(),
            identity: Some(identity),
            max_record_bytes: 1 << 20,
        });
        reader.begin_object();
        let keep = Fate::Keep { ts_utc: 0, source: 0, clamped: false };
        let frame = reader.read(records.as_bytes(), true, &mut |_| keep).frame;
        assert_eq!(frame.identities.hashes.len(), frame.rows);
        frame.identities
    }

    fn of_fields(records: &str) -> Identities {
        identities(Identity::Fields(vec!["a".into(), "b.c".into()]), records)
    }

    /// For each record, which is the first that is the same.
    fn firsts(identities: &Identities) -> Vec<Option<usize>> {
        let hashes = &identities.hashes;
        hashes.iter().map(|hash| hashes.iter().position(|h| h.is_some() && h == hash)).collect()
    }

    #[test]
    fn texts_compare_unescaped_and_anything_else_as_it_is_written() {
        let of = |values: &[&str]| {
            let record = |value: &&str| format!(r#"{{"a":{value},"b":{{"c":0}}}}"#);
            firsts(&of_fields(&values.iter().map(record).collect::<String>()))
        };
        let same = of(&[r#""A""#, r#""\u0041""#, r#""a""#, r#""A""#]);
        assert_eq!(same, [Some(0), Some(0), Some(2), Some(0)]);
        let other = of(&["1", "1.0", "\"1\"", "1e0", "true", "\"true\"", "[1]", "[1 ]", "1"]);
        assert_eq!(other[..8], [0, 1, 2, 3, 4, 5, 6, 7].map(Some));
        assert_eq!(other[8], Some(0));
    }

    #[test]
    fn fields_do_not_run_into_each_other() {
        let found = of_fields(
            r#"{"a":"x","b":{"c":"yz"}}{"a":"xy","b":{"c":"z"}}{"b":{"c":"yz"},"a":"x","d":1}"#,
        );
        assert_eq!(firsts(&found), [Some(0), Some(1), Some(0)]);
    }

    #[test]
    fn a_record_that_lacks_a_field_or_has_null_there_has_no_identity() {
        let found = of_fields(
            r#"{"a":1}{"a":1,"b":{"c":null}}{"a":1,"b":{"c":2}}{"b":{"c":2}}{"a":1,"a":null,"b":{"c":2}}{}"#,
        );
        assert_eq!(firsts(&found), [None, None, Some(2), None, None, None]);
        assert_eq!(found.found, [3, 3]);
    }

    #[test]
    fn bytes_compare_from_brace_to_brace() {
        let found = identities(Identity::Bytes, "{\"a\":1}\n{\"a\": 1}[{\"a\":1}]");
        assert_eq!(firsts(&found), [Some(0), Some(1), Some(0)]);
    }

    #[test]
    fn a_block_that_is_read_again_notes_each_record_once() {
        // The last value makes the column text, so that the block is read a second time.
        let records: String = (0..100).map(|n| format!(r#"{{"a":{n},"b":{{"c":1}}}}"#)).collect();
        let text = format!("{records}{}", r#"{"a":"x","b":{"c":1}}"#);
        let mut reader = Reader::new(Options {
            projection: Projection::All,
            pins: Pins::new(),
            time_fields: Vec::new(),
            by: Vec::new(),
            identity: Some(Identity::Fields(vec!["a".into()])),
            max_record_bytes: 1 << 20,
        });
        reader.begin_object();
        let mut rows = Vec::new();
        let frame = reader
            .read(text.as_bytes(), true, &mut |record| {
                rows.push(record.row);
                Fate::Keep { ts_utc: 0, source: 0, clamped: false }
            })
            .frame;
        assert!(rows.len() > 101, "the block was read twice");
        assert!(rows[rows.len() - 101..].iter().copied().eq(0..101));
        assert_eq!((frame.identities.hashes.len(), frame.identities.found), (101, vec![101]));
    }
}
