//! Laws of event times: texts read as chrono reads them, numbers as their digits say.

use chrono::{DateTime, NaiveDateTime};
use chrono_tz::Tz;
use rawcat::time::{EARLIEST_US, Instant, LATEST_US, TimeValue, read_time};
use rawcat::window::{Local, local_to_utc};

use super::draw::Draw;

/// Zones with changes of half an hour, of two hours, of a whole day, and with none.
pub const ZONES: [Tz; 8] = [
    Tz::Asia__Seoul,
    Tz::America__New_York,
    Tz::Australia__Lord_Howe,
    Tz::Pacific__Apia,
    Tz::America__St_Johns,
    Tz::Antarctica__Troll,
    Tz::Etc__UTC,
    Tz::Europe__London,
];

/// Checks every law on one text.
pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    reads_as_its_form_says(&text);
    text_without_an_offset_is_on_the_zones_clock(&text, Draw::of(bytes).one_of(&ZONES));
}

/// A date makes it a text for chrono to judge; anything else is a number or nothing.
pub fn reads_as_its_form_says(text: &str) {
    let read = read_time(TimeValue::Text(text.as_bytes()), Tz::UTC);
    let expected = if text.as_bytes().get(4) == Some(&b'-') {
        as_chrono_reads(text)
    } else {
        as_its_digits_say(text).map(|us| Instant { us, leap_clamped: false })
    };
    assert_eq!(read, expected, "{text:?}");
    let number = as_its_digits_say(text);
    let read = read_time(TimeValue::Number(text.as_bytes()), Tz::UTC);
    assert_eq!(read, number.map(|us| Instant { us, leap_clamped: false }), "{text:?}");
}

/// Text without an offset means the zone's clock: the earlier instant in a fold, and in a gap the
/// time moved on by the gap's length. With an offset, the zone says nothing.
pub fn text_without_an_offset_is_on_the_zones_clock(text: &str, tz: Tz) {
    let in_utc = read_time(TimeValue::Text(text.as_bytes()), Tz::UTC);
    let in_zone = read_time(TimeValue::Text(text.as_bytes()), tz);
    let Some(local) = naive(text) else {
        assert_eq!(in_zone, in_utc, "{text:?} in {tz}");
        return;
    };
    let Some(Instant { us, .. }) = in_zone else {
        // A day at the edge of the years may be in them on one clock and not on the other.
        let at_us = local.and_utc().timestamp_micros();
        let day_us = 86_400_000_000;
        assert!(!(EARLIEST_US + day_us..LATEST_US - day_us).contains(&at_us), "{text:?} in {tz}");
        return;
    };
    match local_to_utc(local, tz) {
        Local::Once(utc) | Local::Twice { first: utc, .. } => {
            assert_eq!(us, utc.timestamp_micros(), "{text:?} in {tz}");
        }
        Local::Never { gap_start, gap_end } => {
            let shown =
                DateTime::from_timestamp_micros(us).expect("an event time").with_timezone(&tz);
            assert_eq!(shown.naive_local(), local + (gap_end - gap_start), "{text:?} in {tz}");
        }
    }
}

/// The local time that a text without an offset spells, where it spells one.
fn naive(text: &str) -> Option<NaiveDateTime> {
    let bytes = text.as_bytes();
    let is_naive = bytes.get(4) == Some(&b'-')
        && text.get(10..).is_some_and(|time| !time.contains(['Z', 'z', '+', '-', 'U']));
    let read = DateTime::parse_from_rfc3339(&to_rfc_3339(text).filter(|_| is_naive)?).ok()?;
    let leap = read.timestamp_subsec_nanos() >= 1_000_000_000;
    let nanos = if leap { 999_999_000 } else { read.timestamp_subsec_nanos() / 1000 * 1000 };
    DateTime::from_timestamp(read.timestamp(), nanos).map(|utc| utc.naive_utc())
}

/// The documented relaxations, undone: RFC 3339 for chrono to judge.
fn to_rfc_3339(text: &str) -> Option<String> {
    let (head, rest) = text.split_at_checked(16)?;
    let (seconds, rest) = match rest.strip_prefix(':') {
        None => (":00".to_string(), rest),
        Some(after) => {
            let is_fraction = |c: char| c.is_ascii_digit() || c == '.' || c == ',';
            let end = after.find(|c| !is_fraction(c)).unwrap_or(after.len());
            (format!(":{}", after[..end].replacen(',', ".", 1)), &after[end..])
        }
    };
    let spaced = rest.strip_prefix(' ');
    let offset = match spaced.unwrap_or(rest) {
        "" if spaced.is_none() => "Z".to_string(),
        "Z" | "z" | "UTC" => "Z".to_string(),
        other => match (other.get(..1)?, other.get(1..)?) {
            (sign @ ("+" | "-"), digits) => match digits.len() {
                2 => format!("{sign}{digits}:00"),
                4 => format!("{sign}{}:{}", digits.get(..2)?, digits.get(2..)?),
                5 => other.to_string(),
                _ => return None,
            },
            _ => return None,
        },
    };
    Some(format!("{head}{seconds}{offset}"))
}

fn as_chrono_reads(text: &str) -> Option<Instant> {
    let read = DateTime::parse_from_rfc3339(&to_rfc_3339(text)?).ok()?;
    // chrono keeps a leap second as a second of more than 10^9 ns.
    let leap_clamped = read.timestamp_subsec_nanos() >= 1_000_000_000;
    let us = match leap_clamped {
        true => read.timestamp() * 1_000_000 + 999_999,
        false => read.timestamp() * 1_000_000 + i64::from(read.timestamp_subsec_nanos() / 1000),
    };
    is_event_time(us).then_some(Instant { us, leap_clamped })
}

/// µs of a positive JSON number, digit by digit: whichever of s, ms, µs and ns lies in the years.
fn as_its_digits_say(text: &str) -> Option<i64> {
    // serde_json judges the form; a number that f64 cannot hold has a good form, too.
    let is_json = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
    if !text.starts_with(|c: char| c.is_ascii_digit())
        || !text.ends_with(|c: char| c.is_ascii_digit())
        || !is_json(text)
    {
        return None;
    }
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    // No literal here has digits enough to bring such an exponent back.
    let exponent: i64 = exponent.parse().ok().filter(|e| (-100_000..100_000).contains(e))?;
    let point = whole.len() as i64 + exponent;
    let mut found = None;
    for unit in [6, 3, 0, -3] {
        let wanted = point + unit;
        let Ok(wanted) = usize::try_from(wanted) else { continue };
        let significant = digits.trim_start_matches('0');
        let zeros = digits.len() - significant.len();
        if significant.is_empty() || wanted <= zeros || wanted - zeros > 30 {
            continue;
        }
        let kept: String =
            significant.chars().chain(std::iter::repeat('0')).take(wanted - zeros).collect();
        let us: u128 = kept.parse().expect("at most 30 digits");
        if let Some(us) = i64::try_from(us).ok().filter(|us| is_event_time(*us)) {
            assert!(found.is_none(), "the ranges of the units don't meet");
            found = Some(us);
        }
    }
    found
}

fn is_event_time(us: i64) -> bool {
    (EARLIEST_US..LATEST_US).contains(&us)
}
