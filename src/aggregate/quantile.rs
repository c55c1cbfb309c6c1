//! Quantiles: numbers go in, in any order; the value at a rank comes out, within 1 %.
//!
//! A quantile here is the *nearest rank*: of n values in order the p-th percentile is number
//! ⌈p × n / 100⌉, always a value that occurred. DuckDB calls it `quantile_disc`.
//!
//! The sketch counts values by the upper bits of their f64: sign, exponent and the first six
//! bits behind the hidden one. Such a bucket is at most 1/64 wide, relative to its values, and
//! its middle is within 1/128 (0.79 %) of each of them. There is no logarithm in it, so that
//! every machine fills the same buckets, no bucket is ever merged with another, and two
//! sketches merge by adding.

/// The percentiles of the tables, in the order of their columns.
pub const PERCENTILES: [u64; 3] = [50, 95, 99];

/// The rank of a percentile among `count` values, from 1.
pub fn rank(percentile: u64, count: u64) -> u64 {
    let scaled = u128::from(percentile) * u128::from(count);
    (scaled.div_ceil(100) as u64).max(1)
}

/// Bits of the mantissa that tell buckets apart.
const BUCKET_BITS: u32 = 6;
const BUCKETS: usize = 1 << BUCKET_BITS;
const DROPPED_BITS: u32 = 52 - BUCKET_BITS;
/// Subnormal numbers are multiplied by 2^64 to be told apart like all others.
const SUBNORMAL_SHIFT: i32 = 64;

/// How often values occurred, to within 1 % of the value.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Sketch {
    zeros: u64,
    positive: Side,
    negative: Side,
}

/// The magnitudes of one sign.
#[derive(Clone, Default, PartialEq, Debug)]
struct Side {
    /// The exponent of the first octave.
    base: i32,
    /// One page for each power of two from `base` on; most values need a handful.
    octaves: Vec<Option<Box<Page>>>,
}

type Page = [u64; BUCKETS];

impl Sketch {
    /// Counts a finite value.
    #[inline]
    pub fn add(&mut self, value: f64) {
        if value > 0.0 {
            self.positive.add(value);
        } else if value < 0.0 {
            self.negative.add(-value);
        } else {
            self.zeros += 1;
        }
    }

    pub fn merge(&mut self, other: &Sketch) {
        self.zeros += other.zeros;
        self.positive.merge(&other.positive);
        self.negative.merge(&other.negative);
    }

    /// The middle of the bucket with the value of this rank (from 1); `None` beyond the last.
    pub fn at_rank(&self, rank: u64) -> Option<f64> {
        let mut left = rank;
        let negative = self.negative.buckets().rev();
        let zeros = std::iter::once((0.0, self.zeros));
        negative
            .map(|(middle, count)| (-middle, count))
            .chain(zeros)
            .chain(self.positive.buckets())
            .find_map(|(middle, count)| {
                let found = left <= count;
                left = left.saturating_sub(count);
                found.then_some(middle)
            })
    }
}

impl Side {
    #[inline]
    fn add(&mut self, magnitude: f64) {
        let (octave, bucket) = place(magnitude);
        let at = octave.wrapping_sub(self.base) as usize;
        match self.octaves.get_mut(at) {
            Some(Some(page)) => page[bucket] += 1,
            _ => self.page(octave)[bucket] += 1,
        }
    }

    /// The page of an octave, made if it is new.
    #[cold]
    fn page(&mut self, octave: i32) -> &mut Page {
        if self.octaves.is_empty() {
            self.base = octave;
        }
        if octave < self.base {
            let missing = (self.base - octave) as usize;
            self.octaves.splice(0..0, std::iter::repeat_n(None, missing));
            self.base = octave;
        }
        let at = (octave - self.base) as usize;
        if at >= self.octaves.len() {
            self.octaves.resize(at + 1, None);
        }
        self.octaves[at].get_or_insert_with(|| Box::new([0; BUCKETS]))
    }

    fn merge(&mut self, other: &Side) {
        for (octave, page) in (other.base..).zip(&other.octaves) {
            if let Some(page) = page {
                let mine = self.page(octave).iter_mut();
                mine.zip(page.iter()).for_each(|(sum, count)| *sum += count);
            }
        }
    }

    /// The middles of all buckets in ascending order, with their counts.
    fn buckets(&self) -> impl DoubleEndedIterator<Item = (f64, u64)> + '_ {
        self.octaves.iter().enumerate().flat_map(move |(at, page)| {
            let octave = self.base + at as i32;
            let counts = page.iter().flat_map(|page| page.iter().enumerate());
            counts.map(move |(bucket, count)| (middle(octave, bucket), *count))
        })
    }
}

/// The biased exponent of a positive value, below 1 for subnormal ones, and its bucket there.
#[inline]
fn place(magnitude: f64) -> (i32, usize) {
    let (bits, shift) = if magnitude < f64::MIN_POSITIVE {
        let scaled = magnitude * (1u128 << SUBNORMAL_SHIFT) as f64;
        (scaled.to_bits(), SUBNORMAL_SHIFT)
    } else {
        (magnitude.to_bits(), 0)
    };
    let bucket = (bits >> DROPPED_BITS) as usize % BUCKETS;
    ((bits >> 52) as i32 - shift, bucket)
}

fn middle(octave: i32, bucket: usize) -> f64 {
    let (octave, factor) = if octave < 1 {
        (octave + SUBNORMAL_SHIFT, 1.0 / (1u128 << SUBNORMAL_SHIFT) as f64)
    } else {
        (octave, 1.0)
    };
    let half = 1 << (DROPPED_BITS - 1);
    let bits = (octave as u64) << 52 | (bucket as u64) << DROPPED_BITS | half;
    f64::from_bits(bits) * factor
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sketch_of(values: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        values.iter().for_each(|value| sketch.add(*value));
        sketch
    }

    #[test]
    fn the_rank_is_that_of_quantile_disc() {
        assert_eq!([1, 2, 3, 4, 5].map(|n| rank(50, n)), [1, 1, 2, 2, 3]);
        assert_eq!([1, 20, 21, 100, 101].map(|n| rank(95, n)), [1, 19, 20, 95, 96]);
        assert_eq!([1, 99, 100, 101].map(|n| rank(99, n)), [1, 99, 99, 100]);
        assert_eq!(rank(50, u64::MAX), 1 << 63);
    }

    #[test]
    fn signs_and_zeros_stand_in_order() {
        let sketch = sketch_of(&[-1e9, -3.0, -1.0, 0.0, 0.0, 1e-9, 2.0]);
        let at = |rank| sketch.at_rank(rank).unwrap();
        assert!((at(1) / -1e9 - 1.0).abs() < 0.01);
        assert!((at(2) / -3.0 - 1.0).abs() < 0.01);
        assert!((at(3) / -1.0 - 1.0).abs() < 0.01);
        assert_eq!((at(4), at(5)), (0.0, 0.0));
        assert!((at(6) / 1e-9 - 1.0).abs() < 0.01);
        assert!((at(7) / 2.0 - 1.0).abs() < 0.01);
        assert_eq!(sketch.at_rank(8), None);
    }

    #[test]
    fn the_whole_range_of_f64_stays_apart() {
        let values = [5e-324, 1e-310, 2.3e-308, 1e-300, 1.0, 1e300, f64::MAX];
        let sketch = sketch_of(&values);
        for (at, value) in values.iter().enumerate() {
            let read = sketch.at_rank(at as u64 + 1).unwrap();
            // The smallest numbers of all have no neighbours within 1 %.
            assert!((read - value).abs() <= (value * 0.01).max(5e-324), "{value} {read}");
        }
    }

    fn number() -> impl Strategy<Value = f64> {
        let wide = (any::<i32>(), -30i32..30).prop_map(|(m, e)| f64::from(m) * 2f64.powi(e));
        prop_oneof![wide, 0.0..100.0, Just(0.0), Just(-12.5)]
    }

    proptest! {
        #[test]
        fn every_rank_is_within_one_percent(
            mut values in prop::collection::vec(number(), 1..80),
        ) {
            let sketch = sketch_of(&values);
            values.sort_by(f64::total_cmp);
            for (at, value) in values.iter().enumerate() {
                let read = sketch.at_rank(at as u64 + 1).unwrap();
                prop_assert!((read - value).abs() <= value.abs() / 128.0, "{} {}", value, read);
            }
        }

        #[test]
        fn merging_is_adding_in_any_order(
            values in prop::collection::vec(number(), 0..400),
            cut in 0usize..400,
        ) {
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut forth = sketch_of(left);
            forth.merge(&sketch_of(right));
            let mut back = sketch_of(right);
            back.merge(&sketch_of(left));
            prop_assert_eq!(&forth, &sketch_of(&values));
            prop_assert_eq!(&forth, &back);
        }
    }
}
