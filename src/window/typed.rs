//! Dates and times as typed go in; calendar values come out. Never an offset: the zone is `--tz`.

use std::fmt;

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use chrono_tz::Tz;

use super::{WindowError, zone};

/// An end of `--from/--to` as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The whole local day, included.
    Date(NaiveDate),
    /// A local time. As an end it is excluded.
    Time(NaiveDateTime),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Date(date) => write!(f, "{date}"),
            Bound::Time(local) => write!(f, "{local}"),
        }
    }
}

/// The date that `--day` means: `2022-04-18`, or `today` or `yesterday` in the zone at `now`.
///
/// `yesterday` is the last day before today that the zone did not skip. Errors:
/// [`WindowError::NotADate`] and [`WindowError::NoSuchDate`].
pub fn parse_day(text: &str, now: DateTime<Utc>, tz: Tz) -> Result<NaiveDate, WindowError> {
    let today = || zone::date_at(now, tz);
    if text.eq_ignore_ascii_case("today") {
        return Ok(today());
    }
    if text.eq_ignore_ascii_case("yesterday") {
        let mut date = today();
        while let Some(before) = date.pred_opt() {
            date = before;
            if zone::exists(date, tz) {
                break;
            }
        }
        return Ok(date);
    }
    match date_of(text.as_bytes()) {
        Some(Some(date)) => Ok(date),
        Some(None) => Err(WindowError::NoSuchDate { text: text.to_string() }),
        None => Err(WindowError::NotADate { text: text.to_string() }),
    }
}

/// An end of `--from/--to`: a date, or a local time `2022-04-18T09:30`, with a space for the `T`
/// and with seconds if wanted.
///
/// Errors: [`WindowError::NotATime`] for other text (an offset included) and
/// [`WindowError::NoSuchDate`].
pub fn parse_instant(text: &str) -> Result<Bound, WindowError> {
    let not_a_time = || WindowError::NotATime { text: text.to_string() };
    let bytes = text.as_bytes();
    let (date_text, time_text) = bytes.split_at_checked(10).ok_or_else(not_a_time)?;
    let date = match date_of(date_text) {
        Some(Some(date)) => date,
        Some(None) if time_of(time_text).is_some() || time_text.is_empty() => {
            return Err(WindowError::NoSuchDate { text: text.to_string() });
        }
        _ => return Err(not_a_time()),
    };
    if time_text.is_empty() {
        return Ok(Bound::Date(date));
    }
    let local = time_of(time_text)
        .and_then(|(hour, minute, second)| date.and_hms_opt(hour, minute, second));
    local.map(Bound::Time).ok_or_else(not_a_time)
}

/// `None`: not `yyyy-MM-dd`. `Some(None)`: spelled so, but not in the calendar.
fn date_of(text: &[u8]) -> Option<Option<NaiveDate>> {
    let text: &[u8; 10] = text.try_into().ok()?;
    if text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let (year, month, day) = (number(&text[..4])?, number(&text[5..7])?, number(&text[8..])?);
    Some(NaiveDate::from_ymd_opt(year as i32, month, day))
}

/// `T09:30` or `T09:30:15`, with `t` or a space for the `T`.
fn time_of(text: &[u8]) -> Option<(u32, u32, u32)> {
    let (hour, minute, second) = match text {
        [b'T' | b't' | b' ', h1, h2, b':', m1, m2] => ([*h1, *h2], [*m1, *m2], *b"00"),
        [b'T' | b't' | b' ', h1, h2, b':', m1, m2, b':', s1, s2] => {
            ([*h1, *h2], [*m1, *m2], [*s1, *s2])
        }
        _ => return None,
    };
    Some((number(&hour)?, number(&minute)?, number(&second)?))
}

fn number(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |sum, byte| match byte {
        b'0'..=b'9' => Some(sum * 10 + u32::from(byte - b'0')),
        _ => None,
    })
}
