//! Numbers: a value of a frame, or its source text, goes in; the one number that it means
//! comes out.
//!
//! The same number is the same [`Num`] whether a frame's column was read as integers, as
//! floats or as text, so that it cannot show in a statistic how a day was cut into frames.
//! Text is a number only by the grammar of JSON (RFC 8259, section 6): `007`, `+5`, ` 5` and
//! `NaN` are none, and neither is `1e400`, which f64 cannot hold.

use std::cmp::Ordering;

/// A finite number, canonical: equal numbers are equal `Num`s.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Num {
    /// A number that f64 holds; never `-0`.
    Float(f64),
    /// An integer that f64 would round.
    Big(i64),
}

/// 10^0 … 10^22: the powers of ten that f64 holds exactly.
const POWERS_OF_TEN: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// The longest text that [`parse_short`] takes, in bytes.
pub const SHORT_BYTES: usize = 8;

impl Num {
    #[inline]
    pub fn of_int(value: i64) -> Num {
        if is_exact(value.unsigned_abs()) { Num::Float(value as f64) } else { Num::Big(value) }
    }

    /// `None` where the value is infinite or not a number.
    #[inline]
    pub fn of_float(value: f64) -> Option<Num> {
        // Adding 0 turns -0 into 0 and leaves everything else as it is.
        value.is_finite().then_some(Num::Float(value + 0.0))
    }

    /// Reads a JSON number; `None` for every other text.
    pub fn parse(text: &[u8]) -> Option<Num> {
        let literal = Literal::split(text)?;
        if literal.is_integer {
            let text = std::str::from_utf8(text).ok()?;
            if let Ok(value) = text.parse::<i64>() {
                return Some(Num::of_int(value));
            }
        }
        match literal.exact_float() {
            Some(value) => Some(Num::Float(value + 0.0)),
            None => {
                let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
                // What f64 would round to nothing it cannot hold, as what it would round to infinity.
                let mantissa = text.split(|byte| matches!(byte, b'e' | b'E')).next()?;
                let is_zero = !mantissa.iter().any(|byte| (b'1'..=b'9').contains(byte));
                if value == 0.0 && !is_zero { None } else { Num::of_float(value) }
            }
        }
    }

    /// The nearest f64.
    #[inline]
    pub fn to_f64(self) -> f64 {
        match self {
            Num::Float(value) => value,
            Num::Big(value) => value as f64,
        }
    }

    /// The number as i64, where it is an integer of that range.
    pub fn to_i64(self) -> Option<i64> {
        const LIMIT: f64 = 9_223_372_036_854_775_808.0;
        match self {
            Num::Big(value) => Some(value),
            Num::Float(value) => {
                ((-LIMIT..LIMIT).contains(&value) && value.trunc() == value).then_some(value as i64)
            }
        }
    }

    /// Compares by value, without rounding.
    pub fn compare(self, other: Num) -> Ordering {
        match (self, other) {
            (Num::Big(a), Num::Big(b)) => a.cmp(&b),
            (Num::Big(a), Num::Float(b)) => compare_big(a, b),
            (Num::Float(a), Num::Big(b)) => compare_big(b, a).reverse(),
            (Num::Float(a), Num::Float(b)) => a.total_cmp(&b),
        }
    }
}

/// Rounding never moves `big` past a float, and it can only meet the float `other` if the
/// float is an integer: then both are compared as integers.
fn compare_big(big: i64, other: f64) -> Ordering {
    match (big as f64).total_cmp(&other) {
        Ordering::Equal => i128::from(big).cmp(&(other as i128)),
        unequal => unequal,
    }
}

/// True where f64 holds the integer: from its first to its last set bit are at most 53.
fn is_exact(magnitude: u64) -> bool {
    magnitude == 0 || 64 - magnitude.leading_zeros() - magnitude.trailing_zeros() <= 53
}

/// A text of the form of a JSON number, taken apart.
struct Literal {
    negative: bool,
    is_integer: bool,
    /// All digits before the exponent as one integer; `None` beyond 19 digits.
    mantissa: Option<u64>,
    /// The power of ten that the mantissa is multiplied with; saturates.
    exponent: i64,
}

impl Literal {
    fn split(text: &[u8]) -> Option<Literal> {
        let (negative, rest) = match text.split_first()? {
            (b'-', rest) => (true, rest),
            _ => (false, text),
        };
        let (whole, rest) = split_digits(rest);
        if whole.is_empty() || (whole.len() > 1 && whole[0] == b'0') {
            return None;
        }
        let (fraction, rest) = match rest.split_first() {
            Some((b'.', rest)) => match split_digits(rest) {
                ([], _) => return None,
                split => split,
            },
            _ => (&[][..], rest),
        };
        let exponent = match rest.split_first() {
            None => None,
            Some((b'e' | b'E', rest)) => Some(read_exponent(rest)?),
            Some(_) => return None,
        };
        let digits = whole.iter().chain(fraction);
        let mantissa = (whole.len() + fraction.len() <= 19)
            .then(|| digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')));
        Some(Literal {
            negative,
            is_integer: fraction.is_empty() && exponent.is_none(),
            mantissa,
            exponent: exponent.unwrap_or(0).saturating_sub(fraction.len() as i64),
        })
    }

    /// The nearest f64 by one multiplication or division of two exact numbers, where that is
    /// possible: an operation of IEEE 754 rounds once (Clinger 1990).
    fn exact_float(&self) -> Option<f64> {
        let mantissa = self.mantissa.filter(|mantissa| *mantissa <= 1 << 53)? as f64;
        let power = POWERS_OF_TEN.get(usize::try_from(self.exponent.unsigned_abs()).ok()?)?;
        let magnitude = if self.exponent < 0 { mantissa / power } else { mantissa * power };
        Some(if self.negative { -magnitude } else { magnitude })
    }
}

fn split_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

fn read_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    let (digits, rest) = split_digits(digits);
    if digits.is_empty() || !rest.is_empty() {
        return None;
    }
    let value = digits
        .iter()
        .fold(0i64, |sum, digit| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    Some(if negative { -value } else { value })
}

/// Reads a number without an exponent of at most [`SHORT_BYTES`] bytes, all bytes at once.
///
/// `word` holds the text, its first byte lowest, and zeros above `len`. `None` means that
/// [`Num::parse`] must look at the text; it is not a verdict.
#[inline]
pub fn parse_short(word: u64, len: usize) -> Option<f64> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let negative = word as u8 == b'-';
    let word = word >> (8 * u32::from(negative));
    let len = len - usize::from(negative && len > 0);
    if len == 0 {
        return None;
    }
    // The lowest byte that equals the point: exact, since borrows only spread upwards.
    let differs = word ^ (ONES * u64::from(b'.'));
    let point = (differs.wrapping_sub(ONES) & !differs & (ONES << 7)).trailing_zeros() as usize / 8;
    let (digits, whole, fraction) = if point < len {
        let below = (1u64 << (8 * point)) - 1;
        let digits = (word & below) | ((word >> 8) & !below);
        (digits, point, len - point - 1)
    } else {
        (word, len, 0)
    };
    let count = whole + fraction;
    let is_bare = point < len && (whole == 0 || fraction == 0);
    let is_padded = whole > 1 && digits as u8 == b'0';
    if is_bare || is_padded {
        return None;
    }
    // Eight digits: the number's own at the end, zeros in front.
    let zeros = (ONES * u64::from(b'0')).checked_shr(8 * count as u32).unwrap_or(0);
    let eight = (digits << (8 * (8 - count))) | zeros;
    let high = eight & (ONES * 0xF0);
    let carried = (eight.wrapping_add(ONES * 6) & (ONES * 0xF0)) >> 4;
    if high | carried != ONES * 0x33 {
        return None;
    }
    let value = eight & (ONES * 0x0F);
    let pairs = (value.wrapping_mul(10).wrapping_add(value >> 8)) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs.wrapping_mul(100).wrapping_add(pairs >> 16)) & 0x0000_FFFF_0000_FFFF;
    let value = fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xFFFF_FFFF;
    let magnitude = value as f64 / POWERS_OF_TEN[fraction];
    Some(if negative { 0.0 - magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Option<Num> {
        Num::parse(text.as_bytes())
    }

    fn short(text: &str) -> Option<f64> {
        let mut bytes = [0; SHORT_BYTES];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        parse_short(u64::from_le_bytes(bytes), text.len())
    }

    #[test]
    fn one_number_has_one_form_however_it_was_written() {
        for text in ["30", "30.0", "3e1", "3.0E+1", "300e-1"] {
            assert_eq!(parse(text), Some(Num::of_int(30)), "{text}");
        }
        assert_eq!(Num::of_float(30.0), Some(Num::of_int(30)));
        assert_eq!(parse("1e17"), parse("100000000000000000"));
    }

    #[test]
    fn minus_zero_is_zero() {
        for num in [parse("-0"), parse("-0.0"), parse("-0e5"), Num::of_float(-0.0)] {
            let Some(Num::Float(zero)) = num else { panic!("{num:?}") };
            assert_eq!(zero.to_bits(), 0);
        }
        assert_eq!(short("-0").map(f64::to_bits), Some(0));
        assert_eq!(short("-0.00").map(f64::to_bits), Some(0));
    }

    #[test]
    fn integers_that_f64_would_round_stay_exact() {
        assert_eq!(parse("9007199254740993"), Some(Num::Big((1 << 53) + 1)));
        assert_eq!(Num::of_int(i64::MAX), Num::Big(i64::MAX));
        assert_eq!(Num::of_int(i64::MIN), Num::Float(-(2f64.powi(63))));
        assert_eq!(Num::of_int(i64::MIN).to_i64(), Some(i64::MIN));
        assert_eq!(parse("9223372036854775808"), Some(Num::Float(2f64.powi(63))));
        let digits = "1".repeat(56);
        assert_eq!(parse(&digits), Num::of_float(digits.parse().unwrap()));
    }

    #[test]
    fn text_outside_the_json_grammar_is_no_number() {
        let texts = [
            "", "-", "007", "-01", "+5", " 5", "5 ", ".5", "5.", "5.e1", "1e", "1e+", "1e400",
            "-1e400", "NaN", "inf", "Infinity", "0x10", "1_000", "1,5", "1.2.3", "--1", "true",
            "٣",
        ];
        for text in texts {
            assert_eq!(parse(text), None, "{text:?}");
            if text.len() <= SHORT_BYTES {
                assert_eq!(short(text), None, "{text:?}");
            }
        }
        assert_eq!(parse(&"9".repeat(400)), None);
    }

    #[test]
    fn long_exponents_do_not_overflow() {
        assert_eq!(parse("1e-99999999999999999999"), None);
        assert_eq!(parse("1e99999999999999999999"), None);
        assert_eq!(parse("0e99999999999999999999"), Some(Num::Float(0.0)));
    }

    #[test]
    fn integers_and_floats_compare_by_value() {
        let big = Num::of_int(i64::MAX);
        let limit = Num::Float(2f64.powi(63));
        assert_eq!(big.compare(limit), Ordering::Less);
        assert_eq!(limit.compare(big), Ordering::Greater);
        let odd = Num::of_int((1 << 53) + 1);
        assert_eq!(odd.compare(Num::of_int(1 << 53)), Ordering::Greater);
        assert_eq!(odd.compare(Num::Float(1e300)), Ordering::Less);
        assert_eq!(odd.compare(Num::Float(-0.5)), Ordering::Greater);
    }

    proptest! {
        #[test]
        fn the_short_way_agrees_with_the_long_one(text in "-?[0-9]{0,4}\\.?[0-9]{0,4}|[-0-9.e+ ]{0,8}") {
            prop_assume!(text.len() <= SHORT_BYTES);
            if let Some(value) = short(&text) {
                prop_assert_eq!(Some(Num::Float(value)), parse(&text));
            } else if parse(&text).is_some() {
                prop_assert!(text.contains(['e', 'E']), "{} was left out", text);
            }
        }

        #[test]
        fn parsing_rounds_to_the_nearest(text in "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?") {
            let value: f64 = text.parse().unwrap();
            match parse(&text) {
                None => prop_assert!(value.is_infinite() || value == 0.0),
                Some(Num::Float(read)) => prop_assert_eq!(read, value),
                Some(Num::Big(read)) => prop_assert_eq!(read.to_string(), text),
            }
        }

        #[test]
        fn comparing_agrees_with_exact_arithmetic(a: i64, b: i64) {
            prop_assert_eq!(Num::of_int(a).compare(Num::of_int(b)), a.cmp(&b));
            let float = b as f64;
            let exact = i128::from(a).cmp(&(float as i128));
            prop_assert_eq!(Num::of_int(a).compare(Num::Float(float)), exact);
        }
    }
}
