//! Slots: rows with their groups and instants go in, the place of each in the tables comes out.
//!
//! A slot is one group in one bucket that has records. Slots are numbered in order of
//! appearance; what is known about a slot is kept in vectors beside each other.

use hashbrown::HashTable;

use super::{AggregateError, AggregateSpec};

#[derive(Clone, Default, Debug)]
pub struct Slots {
    keys: Vec<SlotKey>,
    records: Vec<u64>,
    table: HashTable<u32>,
    /// The slot that each group had last: most rows are in the bucket of the row before.
    recent: Vec<Recent>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SlotKey {
    pub bucket: u32,
    pub group: u32,
}

#[derive(Clone, Copy, Debug)]
struct Recent {
    bucket: u32,
    slot: u32,
}

/// No slot: a partial that had 2^32 of them would not fit any memory.
const NONE: u32 = u32::MAX;

impl Slots {
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn keys(&self) -> &[SlotKey] {
        &self.keys
    }

    pub fn records(&self) -> &[u64] {
        &self.records
    }

    /// Counts the rows; turns the group of each row into its slot.
    pub fn read(
        &mut self,
        spec: &AggregateSpec,
        ts_utc: &[i64],
        ids: &mut [u32],
    ) -> Result<(), AggregateError> {
        assert_eq!(ts_utc.len(), ids.len(), "every row has an instant");
        let length = spec.end_us.abs_diff(spec.start_us);
        let every = spec.every_us.unsigned_abs();
        let (mut bucket, mut from) = (0u32, 0u64);
        for (ts_us, id) in ts_utc.iter().zip(ids) {
            // An instant before the start wraps to one far beyond the end.
            let elapsed = ts_us.wrapping_sub(spec.start_us) as u64;
            if elapsed.wrapping_sub(from) >= every {
                if elapsed >= length {
                    return Err(AggregateError::OutsideWindow { ts_us: *ts_us });
                }
                bucket = (elapsed / every) as u32;
                from = u64::from(bucket) * every;
            } else if elapsed >= length {
                return Err(AggregateError::OutsideWindow { ts_us: *ts_us });
            }
            let slot = self.slot(SlotKey { bucket, group: *id });
            self.records[slot as usize] += 1;
            *id = slot;
        }
        Ok(())
    }

    /// Joins the slots of another partial whose groups have these ids here; gives the slot
    /// here of each of its slots.
    pub fn merge(&mut self, other: &Slots, groups: &[u32]) -> Vec<u32> {
        let theirs = other.keys.iter().zip(&other.records);
        theirs
            .map(|(key, records)| {
                let group = groups[key.group as usize];
                let slot = self.slot(SlotKey { group, ..*key });
                self.records[slot as usize] += records;
                slot
            })
            .collect()
    }

    #[inline]
    fn slot(&mut self, key: SlotKey) -> u32 {
        if let Some(recent) = self.recent.get(key.group as usize)
            && recent.bucket == key.bucket
            && recent.slot != NONE
        {
            return recent.slot;
        }
        self.find(key)
    }

    #[inline(never)]
    fn find(&mut self, key: SlotKey) -> u32 {
        let keys = &self.keys;
        let hash = hash_of(key);
        let slot = match self.table.find(hash, |slot| keys[*slot as usize] == key) {
            Some(slot) => *slot,
            None => self.insert(key, hash),
        };
        let group = key.group as usize;
        if group >= self.recent.len() {
            let empty = Recent { bucket: 0, slot: NONE };
            self.recent.resize(group + 1, empty);
        }
        self.recent[group] = Recent { bucket: key.bucket, slot };
        slot
    }

    fn insert(&mut self, key: SlotKey, hash: u64) -> u32 {
        let slot = u32::try_from(self.keys.len()).expect("slots are bounded by memory");
        self.keys.push(key);
        self.records.push(0);
        let keys = &self.keys;
        self.table.insert_unique(hash, slot, |slot| hash_of(keys[*slot as usize]));
        slot
    }
}

fn hash_of(key: SlotKey) -> u64 {
    let word = u64::from(key.bucket) << 32 | u64::from(key.group);
    let mixed = u128::from(word) * 0x9E37_79B9_7F4A_7C15;
    (mixed >> 64) as u64 ^ mixed as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::Metrics;

    fn spec(start_us: i64, end_us: i64, every_us: i64) -> AggregateSpec {
        AggregateSpec {
            start_us,
            end_us,
            every_us,
            tz: chrono_tz::UTC,
            by: Vec::new(),
            metrics: Metrics::Auto,
            max_groups: 10,
        }
    }

    fn key(bucket: u32, group: u32) -> SlotKey {
        SlotKey { bucket, group }
    }

    #[test]
    fn buckets_are_elapsed_steps_and_half_open() {
        let mut slots = Slots::default();
        let mut ids = [0; 5];
        let ts = [-5, 4, 5, 14, 15];
        slots.read(&spec(-5, 16, 10), &ts, &mut ids).unwrap();
        assert_eq!(ids, [0, 0, 1, 1, 2]);
        assert_eq!(slots.keys(), [key(0, 0), key(1, 0), key(2, 0)]);
        assert_eq!(slots.records(), [2, 2, 1]);
    }

    #[test]
    fn groups_and_buckets_in_any_order_find_their_slots() {
        let mut slots = Slots::default();
        let ts: Vec<i64> = (0..3000).map(|at| at * 7919 % 100).collect();
        let groups: Vec<u32> = (0..3000).map(|at| at * 31 % 17).collect();
        let mut ids = groups.clone();
        slots.read(&spec(0, 100, 9), &ts, &mut ids).unwrap();
        for (row, slot) in ids.iter().enumerate() {
            let expected = key((ts[row] / 9) as u32, groups[row]);
            assert_eq!(slots.keys()[*slot as usize], expected);
        }
        assert_eq!(slots.records().iter().sum::<u64>(), 3000);
    }

    #[test]
    fn a_row_outside_the_window_is_an_error() {
        for ts_us in [-1, 100, i64::MIN, i64::MAX] {
            for first in [0, 99] {
                let mut slots = Slots::default();
                let read = slots.read(&spec(0, 100, 30), &[first, ts_us], &mut [0, 0]);
                assert_eq!(read, Err(AggregateError::OutsideWindow { ts_us }));
            }
        }
    }

    #[test]
    fn merging_adds_records_under_the_new_ids() {
        let (mut left, mut right) = (Slots::default(), Slots::default());
        let spec = spec(0, 100, 50);
        left.read(&spec, &[0, 60], &mut [0, 1]).unwrap();
        right.read(&spec, &[0, 60, 60], &mut [0, 0, 0]).unwrap();
        assert_eq!(left.merge(&right, &[1]), [2, 1]);
        assert_eq!(left.records(), [1, 3, 1]);
    }
}
