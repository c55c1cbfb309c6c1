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
    if negative {
        0i64.checked_sub_unsigned(magnitude)
    } else {
        i64::try_from(magnitude).ok()
    }
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
    const POWERS: [f64; 16] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
    ];
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
