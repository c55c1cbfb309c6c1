//! Distinct counts: numbers go in, in any order; how many different ones there were comes out.
//!
//! Exact up to 1,000 different numbers, then a HyperLogLog of 4,096 registers (standard error
//! 1.6 %). Both are functions of the *set* of numbers, so no order and no cut can show. The hash
//! has no seed: every machine fills the same registers.

use std::fmt;

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use super::number::Num;

/// Up to so many different numbers are counted exactly.
pub const EXACT_DISTINCT: usize = 1_000;

const INDEX_BITS: u32 = 12;
const REGISTERS: usize = 1 << INDEX_BITS;
/// The bits of a hash behind its register's index.
const RANK_BITS: u32 = 64 - INDEX_BITS;

#[derive(Clone, Debug)]
pub enum Distinct {
    Exact(NumberSet),
    Registers(Box<Registers>),
}

impl Default for Distinct {
    fn default() -> Self {
        Distinct::Exact(NumberSet::default())
    }
}

impl Distinct {
    #[inline]
    pub fn add(&mut self, number: Num) {
        let hash = hash_of(number);
        match self {
            Distinct::Registers(registers) => registers.add(hash),
            Distinct::Exact(set) => {
                if set.insert(number, hash) && set.len() > EXACT_DISTINCT {
                    *self = Distinct::Registers(set.to_registers());
                }
            }
        }
    }

    pub fn merge(&mut self, mut other: Distinct) {
        if matches!(self, Distinct::Exact(_)) {
            std::mem::swap(self, &mut other);
        }
        match (&mut *self, &other) {
            (Distinct::Registers(mine), Distinct::Registers(theirs)) => mine.merge(theirs),
            (_, Distinct::Exact(set)) => set.each(|number| self.add(number)),
            (Distinct::Exact(_), Distinct::Registers(_)) => {
                unreachable!("registers were swapped to the left")
            }
        }
    }

    pub fn is_exact(&self) -> bool {
        matches!(self, Distinct::Exact(_))
    }

    /// How many different numbers there were; an estimate is at least what registers begin with.
    pub fn count(&self) -> u64 {
        match self {
            Distinct::Exact(set) => set.len() as u64,
            Distinct::Registers(registers) => registers.estimate().max(EXACT_DISTINCT as u64 + 1),
        }
    }
}

/// The hash that registers are filled with: xxh3 of the number's eight bytes, and one more for
/// the integers that f64 would round.
#[inline]
fn hash_of(number: Num) -> u64 {
    match number {
        Num::Float(value) => xxh3_64(&value.to_bits().to_le_bytes()),
        Num::Big(value) => {
            let mut bytes = [b'i'; 9];
            bytes[..8].copy_from_slice(&value.to_le_bytes());
            xxh3_64(&bytes)
        }
    }
}

/// A set of numbers. Floats and large integers stand apart, so that each takes eight bytes.
#[derive(Clone, Default)]
pub struct NumberSet {
    floats: HashTable<u64>,
    bigs: HashTable<i64>,
}

impl NumberSet {
    /// True where the number is new.
    #[inline]
    fn insert(&mut self, number: Num, hash: u64) -> bool {
        use hashbrown::hash_table::Entry;
        match number {
            Num::Float(value) => {
                let bits = value.to_bits();
                let rehash = |bits: &u64| hash_of(Num::Float(f64::from_bits(*bits)));
                match self.floats.entry(hash, |other| *other == bits, rehash) {
                    Entry::Occupied(_) => false,
                    Entry::Vacant(place) => {
                        place.insert(bits);
                        true
                    }
                }
            }
            Num::Big(value) => {
                let rehash = |value: &i64| hash_of(Num::Big(*value));
                match self.bigs.entry(hash, |other| *other == value, rehash) {
                    Entry::Occupied(_) => false,
                    Entry::Vacant(place) => {
                        place.insert(value);
                        true
                    }
                }
            }
        }
    }

    fn len(&self) -> usize {
        self.floats.len() + self.bigs.len()
    }

    fn each(&self, mut visit: impl FnMut(Num)) {
        self.floats.iter().for_each(|bits| visit(Num::Float(f64::from_bits(*bits))));
        self.bigs.iter().for_each(|value| visit(Num::Big(*value)));
    }

    fn to_registers(&self) -> Box<Registers> {
        let mut registers = Box::new(Registers([0; REGISTERS]));
        self.each(|number| registers.add(hash_of(number)));
        registers
    }
}

impl fmt::Debug for NumberSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NumberSet of {}", self.len())
    }
}

/// HyperLogLog (Flajolet et al. 2007): each register holds the highest rank of its hashes.
#[derive(Clone, PartialEq, Debug)]
pub struct Registers([u8; REGISTERS]);

impl Registers {
    #[inline]
    fn add(&mut self, hash: u64) {
        let register = &mut self.0[(hash >> RANK_BITS) as usize];
        // The guard bit ends the run of zeros where the hash itself does.
        let rest = hash << INDEX_BITS | 1 << (INDEX_BITS - 1);
        let rank = rest.leading_zeros() as u8 + 1;
        if *register < rank {
            *register = rank;
        }
    }

    fn merge(&mut self, other: &Registers) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = (*mine).max(*theirs);
        }
    }

    /// The improved raw estimator of Ertl (2017, "New cardinality estimation algorithms for
    /// HyperLogLog sketches", algorithm 6): without bias over the whole range, without tables.
    /// It needs no function that differs between machines.
    fn estimate(&self) -> u64 {
        /// 1 / (2 ln 2)
        const ALPHA: f64 = 0.721_347_520_444_481_7;
        let mut counts = [0u32; RANK_BITS as usize + 2];
        for rank in &self.0 {
            counts[usize::from(*rank)] += 1;
        }
        let total = REGISTERS as f64;
        let share = |rank: usize| f64::from(counts[rank]) / total;
        let full = RANK_BITS as usize + 1;
        let mut sum = total * tau(1.0 - share(full));
        for rank in (1..full).rev() {
            sum = 0.5 * (sum + f64::from(counts[rank]));
        }
        sum += total * sigma(share(0));
        (ALPHA * total * total / sum).round() as u64
    }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut weight, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * weight;
        weight *= 2.0;
        if sum == before {
            return sum;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut weight, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * weight;
        if sum == before {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn distinct_of(numbers: impl IntoIterator<Item = Num>) -> Distinct {
        let mut distinct = Distinct::default();
        numbers.into_iter().for_each(|number| distinct.add(number));
        distinct
    }

    fn ints(range: std::ops::Range<i64>) -> impl Iterator<Item = Num> {
        range.map(Num::of_int)
    }

    #[test]
    fn a_thousand_are_exact_and_one_more_is_not() {
        let mut distinct = distinct_of(ints(0..1000).chain(ints(0..1000)));
        assert!(distinct.is_exact());
        assert_eq!(distinct.count(), 1000);
        distinct.add(Num::Float(0.5));
        assert!(!distinct.is_exact());
        assert!(distinct.count() > 1000);
    }

    #[test]
    fn integers_that_f64_would_round_are_different() {
        let near = 1i64 << 60;
        let distinct = distinct_of(ints(near..near + 100).chain(ints(near..near + 100)));
        assert_eq!(distinct.count(), 100);
    }

    #[test]
    fn estimates_stay_within_five_percent() {
        for count in [1_001, 3_000, 10_000, 12_345, 50_000, 300_000, 2_000_000] {
            for scale in [1.0, 0.1] {
                let numbers = (0..count).map(|at| Num::Float(f64::from(at) * scale));
                let estimate = distinct_of(numbers).count() as f64;
                let error = (estimate / f64::from(count) - 1.0).abs();
                assert!(error < 0.05, "{count} {estimate}");
            }
        }
    }

    #[test]
    fn the_hash_never_changes() {
        // Published tables depend on it, and merged partials even more.
        assert_eq!(hash_of(Num::of_int(1)), 0x620b_ae67_6549_7e01);
        assert_eq!(hash_of(Num::of_int(i64::MAX)), 0xcd4b_d50c_1bb1_7c3a);
        assert_eq!(distinct_of(ints(0..5_000)).count(), 5_054);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same(
            numbers in prop::collection::vec((0i64..3_000).prop_map(Num::of_int), 0..3_000),
            cut in 0usize..3_000,
        ) {
            let (left, right) = numbers.split_at(cut.min(numbers.len()));
            let mut forth = distinct_of(left.iter().copied());
            forth.merge(distinct_of(right.iter().copied()));
            let mut back = distinct_of(right.iter().copied());
            back.merge(distinct_of(left.iter().copied()));
            let whole = distinct_of(numbers.iter().copied());
            for other in [&forth, &back] {
                prop_assert_eq!(other.is_exact(), whole.is_exact());
                prop_assert_eq!(other.count(), whole.count());
                if let (Distinct::Registers(a), Distinct::Registers(b)) = (other, &whole) {
                    prop_assert_eq!(a, b);
                }
            }
        }
    }
}
