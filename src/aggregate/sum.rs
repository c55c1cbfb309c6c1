//! Sums: numbers go in, in any order; their exact sum and mean, rounded once, come out.
//!
//! A sum is kept as integers, one for each stretch of 32 binary exponents that occurred, so
//! that adding is associative and no order, cut or number of threads can show. Nothing is
//! rounded before the end, and then once, to nearest, ties to even (IEEE 754).

use super::number::Num;

/// An exact sum of up to 2^42 numbers.
#[derive(Clone, Default, Debug)]
pub struct ExactSum {
    /// Sorted by `at`; few, since the numbers of a cell are of similar size.
    bins: Vec<Bin>,
}

/// `sum` × 2^(32 × `at` − 1074), where 2^-1074 is the smallest f64.
///
/// A term has at most 53 + 31 bits (64 + 18 for an integer), which leaves 2^42 terms.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Bin {
    at: u8,
    sum: i128,
}

/// The exponent of the smallest f64, negated: where the bits of an integer begin.
const UNIT: u32 = 1074;
const BIN_BITS: u32 = 32;
/// 2046 exponents in stretches of 32.
const BINS: usize = 64;
/// Two digits of 32 bits below the smallest f64 for the fraction of a mean, four above the
/// last bin for its carries.
const FRACTION_DIGITS: usize = 2;
const DIGITS: usize = FRACTION_DIGITS + BINS + 4;

impl ExactSum {
    pub fn add(&mut self, number: Num) {
        match number {
            Num::Float(value) => self.add_floats(&[value]),
            Num::Big(value) => {
                self.add_to_bin((UNIT / BIN_BITS) as u8, i128::from(value) << (UNIT % BIN_BITS))
            }
        }
    }

    /// Adds finite values.
    pub fn add_floats(&mut self, values: &[f64]) {
        let mut bin = Bin { at: 0, sum: 0 };
        for value in values {
            let bits = value.to_bits();
            let exponent = (bits >> 52) as u32 & 0x7FF;
            let fraction = bits & ((1 << 52) - 1);
            // Subnormal numbers have the exponent of the smallest normal one, no hidden bit.
            let hidden = u64::from(exponent != 0) << 52;
            let position = exponent.max(1) - 1;
            let magnitude = i128::from(fraction | hidden) << (position % BIN_BITS);
            let term = if *value < 0.0 { -magnitude } else { magnitude };
            let at = (position / BIN_BITS) as u8;
            // Neighbours are mostly of one bin.
            if at != bin.at {
                self.add_to_bin(bin.at, bin.sum);
                bin = Bin { at, sum: 0 };
            }
            bin.sum += term;
        }
        self.add_to_bin(bin.at, bin.sum);
    }

    fn add_to_bin(&mut self, at: u8, sum: i128) {
        if sum == 0 {
            return;
        }
        match self.bins.iter_mut().find(|bin| bin.at == at) {
            Some(bin) => bin.sum += sum,
            None => {
                let index = self.bins.partition_point(|bin| bin.at < at);
                self.bins.insert(index, Bin { at, sum });
            }
        }
    }

    pub fn merge(&mut self, other: &ExactSum) {
        for bin in &other.bins {
            self.add_to_bin(bin.at, bin.sum);
        }
    }

    /// The nearest f64; beyond the range of f64 an infinity of its sign.
    pub fn to_f64(&self) -> f64 {
        let (negative, digits) = self.digits();
        round(negative, &digits, false)
    }

    /// The f64 nearest to the exact sum divided by `count`, which must not be 0.
    pub fn mean(&self, count: u64) -> f64 {
        let (negative, mut digits) = self.digits();
        let mut rest = 0u128;
        for digit in digits.iter_mut().rev() {
            let part = (rest << 32) | u128::from(*digit);
            *digit = (part / u128::from(count)) as u32;
            rest = part % u128::from(count);
        }
        round(negative, &digits, rest != 0)
    }

    /// Sign and magnitude; digits of 32 bits, lowest first, the first one worth
    /// 2^(-1074 - 64).
    fn digits(&self) -> (bool, [u32; DIGITS]) {
        let (overflow, digits) = self.carry(1);
        if overflow < 0 { (true, self.carry(-1).1) } else { (false, digits) }
    }

    /// The sum times `sign` in digits, and what lies beyond them: 0, or -1 if it is negative.
    fn carry(&self, sign: i128) -> (i128, [u32; DIGITS]) {
        let mut digits = [0; DIGITS];
        let mut bins = self.bins.iter().peekable();
        let mut carry = 0i128;
        for (at, digit) in digits[FRACTION_DIGITS..].iter_mut().enumerate() {
            if let Some(bin) = bins.next_if(|bin| usize::from(bin.at) == at) {
                carry += sign * bin.sum;
            }
            *digit = carry as u32;
            carry >>= 32;
        }
        (carry, digits)
    }
}

/// Rounds to nearest, ties to even. `rest`: the value is larger than its digits say, by less
/// than one of the last place.
fn round(negative: bool, digits: &[u32; DIGITS], rest: bool) -> f64 {
    let Some(last) = digits.iter().rposition(|digit| *digit != 0) else {
        return 0.0;
    };
    let bit = |at: usize| u64::from(digits[at / 32] >> (at % 32) & 1);
    let top = 32 * last + 31 - digits[last].leading_zeros() as usize;
    // The place of a result's last bit; the smallest f64 has its only bit at `lowest`.
    let lowest = 32 * FRACTION_DIGITS;
    let low = (top + 1).saturating_sub(53).max(lowest);
    let mut mantissa = (low..=top).rev().fold(0, |sum, at| sum << 1 | bit(at));
    let half = bit(low - 1) == 1;
    let below = low - 1;
    let beyond_half = rest
        || digits[..below / 32].iter().any(|digit| *digit != 0)
        || digits[below / 32] & ((1 << (below % 32)) - 1) != 0;
    if half && (beyond_half || mantissa & 1 == 1) {
        mantissa += 1;
    }
    // The hidden bit, and a carry out of the mantissa, add themselves to the exponent.
    let bits = (((low - lowest) as u64) << 52) + mantissa;
    let magnitude = f64::from_bits(bits.min(f64::INFINITY.to_bits()));
    if negative && magnitude != 0.0 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum_of(values: &[f64]) -> ExactSum {
        let mut sum = ExactSum::default();
        sum.add_floats(values);
        sum
    }

    /// Shewchuk's exact sum, as `math.fsum` of Python does it: another way to the same end.
    fn fsum(values: &[f64]) -> f64 {
        let mut partials: Vec<f64> = Vec::new();
        for value in values {
            let mut x = *value;
            let mut kept = 0;
            for at in 0..partials.len() {
                let mut y = partials[at];
                if x.abs() < y.abs() {
                    std::mem::swap(&mut x, &mut y);
                }
                let high = x + y;
                let low = y - (high - x);
                if low != 0.0 {
                    partials[kept] = low;
                    kept += 1;
                }
                x = high;
            }
            partials.truncate(kept);
            partials.push(x);
        }
        let Some(mut high) = partials.pop() else {
            return 0.0;
        };
        let mut low = 0.0;
        while let Some(y) = partials.pop() {
            let x = high;
            high = x + y;
            low = y - (high - x);
            if low != 0.0 {
                break;
            }
        }
        let same_side = |next: &f64| (low < 0.0 && *next < 0.0) || (low > 0.0 && *next > 0.0);
        if partials.last().is_some_and(same_side) {
            let doubled = low * 2.0;
            let x = high + doubled;
            if doubled == x - high {
                high = x;
            }
        }
        high
    }

    #[test]
    fn a_sum_is_exact_where_floats_would_lose_it() {
        assert_eq!(sum_of(&[1e308, 1.0, -1e308]).to_f64(), 1.0);
        assert_eq!(sum_of(&[1e16, 1.0, 1e-300, -1e16, -1.0]).to_f64(), 1e-300);
        assert_eq!(sum_of(&[0.1; 10]).to_f64(), 1.0);
        assert_eq!(sum_of(&[]).to_f64(), 0.0);
        assert_eq!(sum_of(&[5e-324, 5e-324]).to_f64(), 1e-323);
    }

    #[test]
    fn a_sum_beyond_f64_is_infinite_and_comes_back() {
        let mut sum = sum_of(&[f64::MAX, f64::MAX]);
        assert_eq!(sum.to_f64(), f64::INFINITY);
        assert_eq!(sum.mean(2), f64::MAX);
        sum.add_floats(&[-f64::MAX]);
        assert_eq!(sum.to_f64(), f64::MAX);
        assert_eq!(sum_of(&[-f64::MAX; 3]).to_f64(), f64::NEG_INFINITY);
    }

    #[test]
    fn half_way_cases_round_to_even() {
        let two = 2f64.powi(53);
        assert_eq!(sum_of(&[two, 1.0]).to_f64(), two);
        assert_eq!(sum_of(&[two, 1.0, 5e-324]).to_f64(), two + 2.0);
        assert_eq!(sum_of(&[two, 3.0]).to_f64(), two + 4.0);
        assert_eq!(sum_of(&[-two, -1.0, -1e-9]).to_f64(), -two - 2.0);
    }

    #[test]
    fn a_mean_keeps_subnormal_halves_apart() {
        let least = 5e-324;
        assert_eq!(sum_of(&[least]).mean(2), 0.0);
        assert_eq!(sum_of(&[-least]).mean(2).to_bits(), 0);
        assert_eq!(sum_of(&[3.0 * least]).mean(2), 2.0 * least);
        assert_eq!(sum_of(&[least, least]).mean(3), least);
    }

    #[test]
    fn integers_beyond_f64_are_summed_exactly() {
        let mut sum = ExactSum::default();
        let odd = (1i64 << 53) + 1;
        sum.add(Num::of_int(odd));
        sum.add(Num::of_int(odd));
        assert_eq!(sum.to_f64(), 2f64.powi(54) + 2.0);
        sum.add(Num::of_int(i64::MAX));
        sum.add(Num::of_int(-i64::MAX));
        sum.add(Num::Float(-(2f64.powi(54))));
        assert_eq!(sum.to_f64(), 2.0);
    }

    fn finite() -> impl Strategy<Value = f64> {
        let bits = any::<u64>().prop_map(f64::from_bits);
        let near = (-1000i32..1000).prop_map(|value| f64::from(value) / 8.0);
        let wide = (any::<i32>(), -40i32..40).prop_map(|(m, e)| f64::from(m) * 2f64.powi(e));
        prop_oneof![bits, near, wide].prop_filter("finite, no overflow of intermediate sums", |v| {
            v.is_finite() && v.abs() < 1e300
        })
    }

    proptest! {
        #[test]
        fn every_order_and_cut_gives_the_nearest_f64(
            values in prop::collection::vec(finite(), 0..200),
            cut in 0usize..200,
            seed: u64,
        ) {
            let expected = fsum(&values) + 0.0;
            prop_assert_eq!(sum_of(&values).to_f64(), expected);
            let mut mixed = values.clone();
            let mut state = seed | 1;
            for at in (1..mixed.len()).rev() {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                mixed.swap(at, (state >> 33) as usize % (at + 1));
            }
            let (left, right) = mixed.split_at(cut.min(mixed.len()));
            let mut sum = sum_of(right);
            sum.merge(&sum_of(left));
            prop_assert_eq!(sum.to_f64(), expected);
            let count = values.len().max(1) as u64;
            prop_assert_eq!(sum.mean(count), sum_of(&values).mean(count));
        }

        /// With integers times 2^-20 everything fits i128, where nearness is decided exactly.
        #[test]
        fn no_f64_is_nearer_to_the_mean(
            units in prop::collection::vec(-(1i64 << 40)..(1i64 << 40), 1..300),
        ) {
            let values: Vec<f64> = units.iter().map(|unit| *unit as f64 / 2f64.powi(20)).collect();
            let count = units.len() as i128;
            let total: i128 = units.iter().map(|unit| i128::from(*unit)).sum();
            let mean = sum_of(&values).mean(count as u64);
            // In units of 2^-92 both the total and every f64 near the mean are integers.
            let distance = |value: f64| {
                ((value * 2f64.powi(92)) as i128).saturating_mul(count).abs_diff(total << 72)
            };
            prop_assume!(total == 0 || mean.abs() > 2f64.powi(-30));
            prop_assert!(distance(mean) <= distance(mean.next_up()));
            prop_assert!(distance(mean) <= distance(mean.next_down()));
        }
    }
}
