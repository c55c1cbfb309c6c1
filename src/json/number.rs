//! Number literals → exact values and their kinds. The literals are valid JSON numbers already.

use crate::schema::Kinds;

/// Integers up to here are exact in f64.
const EXACT_F64: u64 = 1 << 53;

/// An integer literal's value, or `None` beyond i64.
pub(super) fn integer(literal: &[u8]) -> Option<i64> {
    let (negative, digits) = match literal {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.len() > 19 {
        return None;
    }
    // 19 digits fit u64.
    let magnitude = digits.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// The kind of an integer literal whose value is `integer(literal)`.
pub(super) fn integer_kind(literal: &[u8], value: Option<i64>) -> Kinds {
    match value {
        None => Kinds::HUGE,
        Some(0) if literal[0] == b'-' => Kinds::NEG_ZERO,
        Some(value) if value.unsigned_abs() <= EXACT_F64 => Kinds::INT,
        Some(_) => Kinds::BIG_INT,
    }
}

/// The nearest f64 of a literal, or `None` where f64 cannot hold it: too large, or not zero and
/// yet rounded to zero.
pub(super) fn float(literal: &[u8]) -> Option<f64> {
    if let Some(value) = short_decimal(literal) {
        return Some(value);
    }
    let text = std::str::from_utf8(literal).ok()?;
    let value: f64 = text.parse().ok()?;
    let mantissa = literal.split(|byte| matches!(byte, b'e' | b'E')).next().unwrap_or(literal);
    let is_zero = !mantissa.iter().any(|byte| (b'1'..=b'9').contains(byte));
    (value.is_finite() && (value != 0.0 || is_zero)).then_some(value)
}

/// The exact fast path: at most 15 digits with at most 22 behind the point are one correctly
/// rounded division (Clinger 1990).
fn short_decimal(literal: &[u8]) -> Option<f64> {
    const POWERS: [f64; 16] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    if literal.len() > 16 {
        return None;
    }
    let (negative, digits) = match literal {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let mut mantissa = 0u64;
    let mut count = 0;
    let mut point = None;
    for &byte in digits {
        match byte {
            b'0'..=b'9' => {
                mantissa = mantissa * 10 + u64::from(byte - b'0');
                count += 1;
            }
            b'.' => point = Some(count),
            _ => return None,
        }
    }
    if count > 15 {
        return None;
    }
    let value = mantissa as f64 / POWERS[point.map_or(0, |point| count - point)];
    Some(if negative { -value } else { value })
}

/// The kind that a number has as an item of a list.
pub(super) fn list_kind(literal: &[u8], fractional: bool) -> Kinds {
    if fractional {
        return if float(literal).is_some() { Kinds::LIST_FLOAT } else { Kinds::LIST_HUGE };
    }
    match integer_kind(literal, integer(literal)) {
        Kinds::HUGE => Kinds::LIST_HUGE,
        Kinds::BIG_INT => Kinds::LIST_BIG_INT,
        // `-0` is told apart from 0 by floats alone.
        Kinds::NEG_ZERO => Kinds::LIST_FLOAT,
        _ => Kinds::LIST_INT,
    }
}

/// Reads text that is exactly a JSON number; `None` for any other text.
pub fn read_number_text(text: &str) -> Option<Literal> {
    let bytes = text.as_bytes();
    if !matches!(bytes.first(), Some(b'-' | b'0'..=b'9')) {
        return None;
    }
    // The scanner wants to see the byte behind a number.
    let mut padded = [b' '; 64];
    let (end, fractional) = if bytes.len() < padded.len() {
        padded[..bytes.len()].copy_from_slice(bytes);
        super::scan::number(&padded[..=bytes.len()], 0).ok()?
    } else {
        super::scan::number(&[bytes, b" "].concat(), 0).ok()?
    };
    if end != bytes.len() {
        return None;
    }
    if !fractional && let Some(value) = integer(bytes) {
        return Some(Literal::Int(value));
    }
    float(bytes).map(Literal::Float)
}

/// A number's value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Literal {
    Int(i64),
    Float(f64),
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_are_exact_up_to_the_ends_of_i64_and_not_beyond() {
        assert_eq!(integer(b"9223372036854775807"), Some(i64::MAX));
        assert_eq!(integer(b"-9223372036854775808"), Some(i64::MIN));
        for beyond in ["9223372036854775808", "-9223372036854775809", "99999999999999999999"] {
            assert_eq!(integer(beyond.as_bytes()), None, "{beyond}");
        }
    }

    #[test]
    fn what_f64_cannot_hold_is_none() {
        for huge in ["1e400", "-1e400", "1e-400", "0.0001e-330"] {
            assert_eq!(float(huge.as_bytes()), None, "{huge}");
        }
        assert_eq!(float(b"0e400"), Some(0.0));
        assert_eq!(float(b"5e-324"), Some(5e-324));
    }

    #[test]
    fn only_json_numbers_are_numbers_in_text() {
        for text in
            ["", "007", "+5", " 5", "5 ", "1.", ".5", "NaN", "0x10", "1e", "-", "1e400", "１"]
        {
            assert_eq!(read_number_text(text), None, "{text:?}");
        }
        assert_eq!(read_number_text("-12"), Some(Literal::Int(-12)));
        assert_eq!(read_number_text("30.5"), Some(Literal::Float(30.5)));
        assert_eq!(read_number_text("1e3"), Some(Literal::Float(1000.0)));
        assert_eq!(read_number_text(&"9".repeat(70)), Some(Literal::Float(1e70)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn every_literal_is_read_as_rusts_parser_reads_it(
            literal in "-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,18})?([eE][-+]?[0-9]{1,2})?"
        ) {
            let ours = float(literal.as_bytes());
            prop_assert_eq!(ours.map(f64::to_bits), Some(literal.parse::<f64>().unwrap().to_bits()));
        }

        #[test]
        fn doubles_and_integers_round_trip(double in any::<f64>(), integer_value in any::<i64>()) {
            prop_assume!(double.is_finite());
            prop_assert_eq!(float(format!("{double:?}").as_bytes()).map(f64::to_bits), Some(double.to_bits()));
            prop_assert_eq!(integer(integer_value.to_string().as_bytes()), Some(integer_value));
        }
    }
}
