//! Dictionaries: the values of a column chunk go in, its distinct values and an index for each
//! value come out, or nothing where a dictionary would not pay.
//!
//! The outcome depends on the values alone, never on a seed: entries stand in the order of their
//! first appearance.

use xxhash_rust::xxh3::xxh3_64;

/// After so many values, nearly all of them distinct, a dictionary is given up: more than some
/// 30,000 distinct values are to be expected then.
const TRIAL_VALUES: usize = 4096;
/// The largest dictionary page, uncompressed.
const MAX_DICTIONARY_BYTES: usize = 1024 * 1024;

/// A value that can stand in a dictionary.
pub trait Entry: Copy {
    fn hash(self) -> u64;
    fn same(self, other: Self) -> bool;
    /// Bytes it takes in a dictionary page.
    fn bytes(self) -> usize;
}

impl Entry for u64 {
    fn hash(self) -> u64 {
        mix(self, 0x9E37_79B9_7F4A_7C15)
    }

    fn same(self, other: Self) -> bool {
        self == other
    }

    fn bytes(self) -> usize {
        8
    }
}

impl Entry for &[u8] {
    fn hash(self) -> u64 {
        match ends(self) {
            Some((front, back)) => mix(front, back ^ (self.len() as u64) << 56),
            None => xxh3_64(self),
        }
    }

    fn same(self, other: Self) -> bool {
        // Most texts of a dictionary are short, and a call to compare them takes longer than that.
        self.len() == other.len()
            && match (ends(self), ends(other)) {
                (Some(a), Some(b)) => a == b,
                _ => self == other,
            }
    }

    fn bytes(self) -> usize {
        4 + self.len()
    }
}

/// The front and the back of a text of at most 16 bytes: together with its length, all of it.
fn ends(text: &[u8]) -> Option<(u64, u64)> {
    let len = text.len();
    let four = |at: usize| u32::from_le_bytes(text[at..at + 4].try_into().expect("4 bytes"));
    let eight = |at: usize| u64::from_le_bytes(text[at..at + 8].try_into().expect("8 bytes"));
    match len {
        0 => Some((0, 0)),
        1..=3 => {
            let bytes = [text[0], text[len / 2], text[len - 1], 0];
            Some((u32::from_le_bytes(bytes).into(), 0))
        }
        4..=7 => Some((four(0).into(), four(len - 4).into())),
        8..=16 => Some((eight(0), eight(len - 8))),
        _ => None,
    }
}

fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ 0xE703_7ED1_A0B4_28DB) * u128::from(b ^ 0xA076_1D64_78BD_642F);
    product as u64 ^ (product >> 64) as u64
}

/// Distinct values in the order of first appearance, and the index of each value's entry.
pub struct Dictionary<T> {
    pub entries: Vec<T>,
    pub indices: Vec<u32>,
    /// Bytes of the entries in a dictionary page, uncompressed.
    pub bytes: usize,
}

impl<T: Entry> Dictionary<T> {
    /// `None` where most values are distinct, or the dictionary would be larger than a page.
    pub fn build(values: &[T]) -> Option<Self> {
        let mut made: Dictionary<T> =
            Dictionary { entries: Vec::new(), indices: Vec::new(), bytes: 0 };
        made.indices.reserve_exact(values.len());
        let mut slots = Slots::new(1024);
        for (at, &value) in values.iter().enumerate() {
            if at == TRIAL_VALUES && made.entries.len() > TRIAL_VALUES / 16 * 15 {
                return None;
            }
            if let (Some(&index), true) = (made.indices.last(), at > 0)
                && made.entries[index as usize].same(value)
            {
                made.indices.push(index);
                continue;
            }
            let hash = value.hash();
            let index = slots.find(hash, |index| made.entries[index as usize].same(value));
            let index = match index {
                Ok(index) => index,
                Err(slot) => {
                    made.bytes += value.bytes();
                    if made.bytes > MAX_DICTIONARY_BYTES || made.entries.len() > values.len() / 2 {
                        return None;
                    }
                    let index = made.entries.len() as u32;
                    made.entries.push(value);
                    slots.insert(slot, hash, index);
                    index
                }
            };
            made.indices.push(index);
        }
        Some(made)
    }
}

/// An open-addressed table of (hash, index), a power of two long and at most half full.
struct Slots {
    slots: Vec<(u64, u32)>,
    used: usize,
}

const FREE: u32 = u32::MAX;

impl Slots {
    fn new(len: usize) -> Self {
        Slots { slots: vec![(0, FREE); len], used: 0 }
    }

    /// The index of the entry, or the slot where it belongs.
    fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            match self.slots[slot] {
                (_, FREE) => return Err(slot),
                (known, index) if known == hash && is_it(index) => return Ok(index),
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    fn insert(&mut self, slot: usize, hash: u64, index: u32) {
        self.slots[slot] = (hash, index);
        self.used += 1;
        if self.used * 2 > self.slots.len() {
            let longer = vec![(0, FREE); self.slots.len() * 2];
            for (hash, index) in std::mem::replace(&mut self.slots, longer) {
                if index != FREE
                    && let Err(slot) = self.find(hash, |_| false)
                {
                    self.slots[slot] = (hash, index);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stand_in_the_order_of_first_appearance() {
        let texts = ["b", "a", "b", "", "a", "a", "", "b", "b", "b", "", "a"];
        let values: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
        let made = Dictionary::build(&values).expect("three of twelve are distinct");
        assert_eq!(made.entries, [&b"b"[..], b"a", b""]);
        assert_eq!(made.indices, [0, 1, 0, 2, 1, 1, 2, 0, 0, 0, 2, 1]);
    }

    #[test]
    fn texts_of_every_length_are_told_apart() {
        let texts: Vec<String> = (0..40).flat_map(|n| ["x".repeat(n), "y".repeat(n)]).collect();
        let mut values: Vec<&[u8]> = Vec::new();
        for _ in 0..4 {
            values.extend(texts.iter().map(|text| text.as_bytes()));
        }
        let made = Dictionary::build(&values).expect("a quarter is distinct");
        assert_eq!(made.entries.len(), 79);
        for (value, index) in values.iter().zip(&made.indices) {
            assert_eq!(made.entries[*index as usize], *value);
        }
    }

    #[test]
    fn the_table_grows_and_still_finds_every_number() {
        let values: Vec<u64> = (0..60_000u64).map(|at| at * 31 % 2003 + at / 30_000).collect();
        let made = Dictionary::build(&values).expect("a sixth is distinct at most");
        for (value, index) in values.iter().zip(&made.indices) {
            assert_eq!(made.entries[*index as usize], *value);
        }
    }

    #[test]
    fn distinct_values_are_given_up_early() {
        let values: Vec<u64> = (0..100_000).collect();
        assert!(Dictionary::build(&values).is_none());
    }
}
