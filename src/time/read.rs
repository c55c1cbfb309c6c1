//! One JSON text or number goes in; the instant that it spells comes out, if it spells one.
//!
//! This runs once or more for every record, so that it is written by hand: fixed positions, no
//! calendar library, no allocation. Only text without an offset in a zone other than UTC asks for
//! the zone's table.

use chrono_tz::Tz;

use super::is_event_time;
use crate::window::local_to_utc_secs;

/// A JSON value that may be a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeValue<'a> {
    /// A string, unescaped.
    Text(&'a [u8]),
    /// A number as it stands in the source.
    Number(&'a [u8]),
}

/// An instant that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instant {
    /// µs since 1970-01-01T00:00:00Z. Finer digits are cut off, toward the past.
    pub us: i64,
    /// The second was `:60` and became `:59.999999`.
    pub leap_clamped: bool,
}

/// The instant that a value spells, from 1990-01-01T00:00:00Z until 2100-01-01T00:00:00Z.
///
/// Text is RFC 3339, relaxed to what Java, Python, Ruby and BigQuery write: a `T`, `t` or space
/// before the time; no seconds; a comma before the fraction; any number of fraction digits; offsets
/// `Z`, `z`, `UTC`, `±hh:mm`, `±hhmm`, `±hh`, with or without one space in front; or no offset at
/// all, which means `field_tz`: in a fold the earlier instant, in a gap the time moved on by the
/// length of the gap. A date alone is no time.
///
/// Numbers, and text that is spelled like a JSON number, are seconds, milli-, micro- or nanoseconds
/// since 1970, whichever lies within the years. These ranges don't meet. Decimal literals are
/// taken digit by digit and never through f64.
#[inline]
pub fn read_time(value: TimeValue<'_>, field_tz: Tz) -> Option<Instant> {
    match value {
        TimeValue::Text(text) if text.get(4) == Some(&b'-') => read_text(text, field_tz),
        TimeValue::Text(text) => number(text),
        TimeValue::Number(literal) => number(literal),
    }
}

fn number(literal: &[u8]) -> Option<Instant> {
    read_number(literal).map(|us| Instant { us, leap_clamped: false })
}

const DAY_S: i64 = 86_400;
/// Days before each month of a common year, by month from 1.
const DAYS_BEFORE: [u16; 16] = [0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 0, 0, 0];
/// Days of each month of a common year; 0 for what is no month.
const DAYS_IN: [u8; 16] = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0, 0, 0];

/// `yyyy-MM-ddThh:mm[:ss[.fraction]][offset]`
fn read_text(text: &[u8], field_tz: Tz) -> Option<Instant> {
    let (date, text) = text.split_first_chunk::<8>()?;
    let (time, rest) = text.split_first_chunk::<8>()?;
    if !matches!(time[2], b'T' | b't' | b' ') {
        return None;
    }
    let mut time = *time;
    time[2] = b'T';
    let date = digit_pairs(*date, *b"0000-00-", [1, 1, 1, 1, 0, 1, 1, 0])?;
    let time = digit_pairs(time, *b"00T00:00", [1, 1, 0, 1, 1, 0, 1, 1])?;
    let year = u32::from(date[0]) * 100 + u32::from(date[2]);
    let days = days_since_1970(year, u32::from(date[5]), u32::from(time[0]))?;
    let (hour, minute) = (u32::from(time[3]), u32::from(time[6]));
    if hour > 23 || minute > 59 {
        return None;
    }
    let (second, fraction_us, offset) = read_rest(rest)?;
    let leap_clamped = second == 60;
    let (second, fraction_us) = if leap_clamped { (59, 999_999) } else { (second, fraction_us) };
    let local_s = days * DAY_S + i64::from(hour * 3600 + minute * 60 + second);
    let utc_s = match offset {
        Some(offset_s) => local_s - i64::from(offset_s),
        None if field_tz == Tz::UTC => local_s,
        None => local_to_utc_secs(local_s, field_tz),
    };
    let us = utc_s * 1_000_000 + i64::from(fraction_us);
    is_event_time(us).then_some(Instant { us, leap_clamped })
}

/// Each byte and the one after it as a number of two digits, where `text` has digits at the places
/// of 1 and exactly the characters of `form` at the places of 0.
///
/// All eight bytes at once: a digit becomes 0 to 9 and a right separator 0. Then adding 0x76 to
/// a digit's place, 0x7f to a separator's, sets the highest bit of each byte that is too large.
#[inline(always)]
fn digit_pairs(text: [u8; 8], form: [u8; 8], is_digit: [u8; 8]) -> Option<[u8; 8]> {
    let slack = u64::from_le_bytes(is_digit.map(|digit| if digit == 1 { 0x76 } else { 0x7f }));
    let values = u64::from_le_bytes(text) ^ u64::from_le_bytes(form);
    // A carry comes only out of a byte whose own highest bit is set already.
    if (values | values.wrapping_add(slack)) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    Some((values * 10 + (values >> 8)).to_le_bytes())
}

/// Days from 1970-01-01; `None` for a date that is not in the calendar, or not in the years 1989 to
/// 2100: a year beside the range of event times can be in it by its offset.
fn days_since_1970(year: u32, month: u32, day: u32) -> Option<i64> {
    if !(1989..=2100).contains(&year) || month > 12 {
        return None;
    }
    // Of these years only 2100 is divisible by 4 and common.
    let is_leap = year.is_multiple_of(4) && year != 2100;
    let longer = u32::from(is_leap && month == 2);
    // The mask is for the compiler: no check of bounds.
    let month_at = month as usize & 15;
    if day == 0 || day > u32::from(DAYS_IN[month_at]) + longer {
        return None;
    }
    let leap_days = (year - 1) / 4 - 492;
    let before = u32::from(DAYS_BEFORE[month_at]) + u32::from(is_leap && month > 2);
    Some(i64::from((year - 1970) * 365 + leap_days + before + day - 1))
}

/// Second, µs and offset: `[:ss[.fraction]][offset]`.
#[inline]
fn read_rest(text: &[u8]) -> Option<(u32, u32, Option<i32>)> {
    // What most producers write: `:00.123Z`.
    if let Ok(usual) = <[u8; 8]>::try_from(text)
        && let Some(pairs) = digit_pairs(usual, *b":00.000Z", [0, 1, 1, 0, 1, 1, 1, 0])
        && pairs[1] <= 60
    {
        let ms = u32::from(pairs[4]) * 10 + u32::from(pairs[6] / 10);
        return Some((u32::from(pairs[1]), ms * 1000, Some(0)));
    }
    let (second, fraction_us, rest) = read_seconds(text)?;
    Some((second, fraction_us, read_offset(rest)?))
}

/// `:ss` and a fraction in front of `text`, if there are any: seconds up to 60, µs, and the rest.
fn read_seconds(text: &[u8]) -> Option<(u32, u32, &[u8])> {
    let [b':', tens, ones, rest @ ..] = text else {
        // Java leaves out seconds that are 0.
        return Some((0, 0, text));
    };
    let second = two_digits(*tens, *ones)?;
    if second > 60 {
        return None;
    }
    let [b'.' | b',', fraction @ ..] = rest else {
        return Some((second, 0, rest));
    };
    let mut us = 0;
    let mut unit = 100_000;
    let mut digits = 0;
    while let Some(digit) = fraction.get(digits).map(|byte| byte.wrapping_sub(b'0'))
        && digit <= 9
    {
        // Beyond the sixth digit the unit is 0.
        us += u32::from(digit) * unit;
        unit /= 10;
        digits += 1;
    }
    if digits == 0 { None } else { Some((second, us, &fraction[digits..])) }
}

/// Seconds east of UTC; `Some(None)` where there is no offset, `None` where something else is.
fn read_offset(text: &[u8]) -> Option<Option<i32>> {
    let text = match text {
        [] => return Some(None),
        [b'Z' | b'z'] => return Some(Some(0)),
        [b' ', rest @ ..] => rest,
        _ => text,
    };
    let (sign, hours, minutes) = match text {
        [b'Z' | b'z'] | [b'U', b'T', b'C'] => return Some(Some(0)),
        [sign, h1, h2, b':', m1, m2] | [sign, h1, h2, m1, m2] => {
            (sign, two_digits(*h1, *h2)?, two_digits(*m1, *m2)?)
        }
        [sign, h1, h2] => (sign, two_digits(*h1, *h2)?, 0),
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    let offset_s = (hours * 3600 + minutes * 60) as i32;
    match sign {
        b'+' => Some(Some(offset_s)),
        b'-' => Some(Some(-offset_s)),
        _ => None,
    }
}

fn two_digits(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    if tens > 9 || ones > 9 { None } else { Some(u32::from(tens) * 10 + u32::from(ones)) }
}

/// The significant digits of a number and where they stand.
struct Decimal {
    /// The first digits, up to 19: more than any unit needs.
    digits: u64,
    count: u32,
    /// The power of ten of the first digit that is not 0.
    leading: i64,
}

/// µs since 1970 from a JSON number in whichever unit fits.
fn read_number(literal: &[u8]) -> Option<i64> {
    if let Some(whole) = read_whole(literal) {
        return whole_us(whole);
    }
    let decimal = read_decimal(literal)?;
    // How many digits are µs or more: 9 or 10 digits before the point are seconds, and so on.
    let wanted = match decimal.leading {
        8 | 9 => decimal.leading + 7,
        11 | 12 => decimal.leading + 4,
        14 | 15 => decimal.leading + 1,
        17 | 18 => decimal.leading - 2,
        _ => return None,
    } as u32;
    // Both powers are below 10^17, and so is the result, since at most 16 digits are wanted.
    let us = if decimal.count >= wanted {
        decimal.digits / 10u64.pow(decimal.count - wanted)
    } else {
        decimal.digits * 10u64.pow(wanted - decimal.count)
    };
    i64::try_from(us).ok().filter(|us| is_event_time(*us))
}

/// A literal of 1 to 19 digits with no 0 in front; `None` for one that needs a closer look.
fn read_whole(literal: &[u8]) -> Option<u64> {
    if literal.len() > 19 || literal.first().is_none_or(|first| *first == b'0') {
        return None;
    }
    let mut whole = 0;
    for byte in literal {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        whole = whole * 10 + u64::from(digit);
    }
    Some(whole)
}

/// µs since 1970 from a whole number in whichever unit fits.
fn whole_us(whole: u64) -> Option<i64> {
    let whole = i64::try_from(whole).ok()?;
    let us = match whole {
        0..10_000_000_000 => whole * 1_000_000,
        10_000_000_000..10_000_000_000_000 => whole * 1000,
        10_000_000_000_000..10_000_000_000_000_000 => whole,
        _ => whole / 1000,
    };
    is_event_time(us).then_some(us)
}

/// A positive number by the grammar of JSON (RFC 8259); `None` for any other and for other text.
fn read_decimal(literal: &[u8]) -> Option<Decimal> {
    let whole = digits_in_front(literal);
    // One digit at least, and no 0 in front of others: such text is an identifier.
    if whole == 0 || (whole > 1 && literal[0] == b'0') {
        return None;
    }
    let (whole, mut rest) = literal.split_at(whole);
    let mut decimal = Decimal { digits: 0, count: 0, leading: whole.len() as i64 - 1 };
    decimal.push(whole);
    if let [b'.', after @ ..] = rest {
        let fraction = digits_in_front(after);
        if fraction == 0 {
            return None;
        }
        decimal.push(&after[..fraction]);
        rest = &after[fraction..];
    }
    if let [b'e' | b'E', after @ ..] = rest {
        let (negative, digits) = match after {
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] => (false, digits),
            digits => (false, digits),
        };
        if digits.is_empty() || digits_in_front(digits) != digits.len() {
            return None;
        }
        // A saturated exponent is out of every range, as the exact one would be: no literal has
        // digits enough to bring it back.
        let exponent = digits.iter().fold(0i64, |sum, digit| {
            sum.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
        });
        let exponent = if negative { -exponent } else { exponent };
        decimal.leading = decimal.leading.saturating_add(exponent);
    } else if !rest.is_empty() {
        return None;
    }
    (decimal.count > 0).then_some(decimal)
}

impl Decimal {
    /// Takes digits; zeros before the first other digit only move its place.
    fn push(&mut self, digits: &[u8]) {
        let mut digits = digits;
        if self.count == 0 {
            let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
            self.leading -= zeros as i64;
            digits = &digits[zeros..];
        }
        for digit in digits.iter().take(19 - self.count as usize) {
            self.digits = self.digits * 10 + u64::from(digit - b'0');
            self.count += 1;
        }
    }
}

fn digits_in_front(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}
