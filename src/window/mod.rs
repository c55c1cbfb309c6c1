//! A local date and a zone go in; the exact UTC interval and the UTC hours that cover it come out.
//!
//! A day is the half-open interval from the first instant of the date to the first instant of the
//! next date. It is never `+ 24h` and never a fixed offset. Nothing here reads the machine's clock
//! or the machine's zone.

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::Tz;

mod clock;
mod hour;
mod name;
mod typed;
mod zone;

pub use clock::LocalClock;
pub use hour::{Hour, HourRange};
pub use name::parse_zone;
pub use typed::{Bound, parse_day, parse_instant};
pub use zone::{Local, date_at, local_to_utc};
pub(crate) use zone::{local_to_utc_secs, offsets_between};

/// The version of the zone data that is compiled in, as `2025b`. It stands in the manifest.
pub const ZONE_DATA_VERSION: &str = chrono_tz::IANA_TZDB_VERSION;

/// The first year a window may start in, and the last. Outside of them no event time is accepted.
pub const YEARS: std::ops::RangeInclusive<i32> = 1970..=2100;

/// What can be wrong with a day, a span or a zone as typed. Every one is an error of usage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    #[error("unknown time zone \"{}\"{}", .name.escape_debug(), name::hint(.suggestions))]
    UnknownZone { name: String, suggestions: Vec<String> },
    #[error(
        "the zone {tz} skipped the date {date}: no instant there has this date, \
         so choose the day before or after it"
    )]
    SkippedDate { date: NaiveDate, tz: Tz },
    #[error("the date {date} is outside the years 1970 to 2100, where no event time can be")]
    OutOfRange { date: NaiveDate },
    #[error(
        "\"{}\" is not a date: write it as 2022-04-18, today or yesterday", .text.escape_debug()
    )]
    NotADate { text: String },
    #[error("\"{text}\" is not in the calendar: the month or the day is too large or 0")]
    NoSuchDate { text: String },
    #[error(
        "\"{}\" is not a date or a local time: write it as 2022-04-18, 2022-04-18T09:30 \
         or 2022-04-18T09:30:15, without an offset", .text.escape_debug()
    )]
    NotATime { text: String },
    #[error(
        "the local time {local} does not exist in {tz}: the clock went from {gap_start} to \
         {gap_end}, so choose a time outside of this gap"
    )]
    Gap { local: NaiveDateTime, tz: Tz, gap_start: NaiveDateTime, gap_end: NaiveDateTime },
    #[error("the span from {from} to {to} in {tz} is empty: its end must lie after its start")]
    EmptySpan { from: String, to: String, tz: Tz },
}

/// A half-open interval of UTC instants that was meant in a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub start_utc: DateTime<Utc>,
    pub end_utc: DateTime<Utc>,
    pub tz: Tz,
    /// The date, where the window is exactly one local day.
    pub date: Option<NaiveDate>,
}

impl Window {
    /// The whole local day: first instant of `date` to first instant of the next date.
    ///
    /// Errors: [`WindowError::SkippedDate`] where the zone has no instant of this date,
    /// [`WindowError::OutOfRange`] outside of [`YEARS`].
    pub fn of_day(date: NaiveDate, tz: Tz) -> Result<Window, WindowError> {
        let start_utc = start_of(date, tz)?;
        let end_utc = start_of_next(date, tz);
        Ok(Window { start_utc, end_utc, tz, date: Some(date) })
    }

    /// From one local time to another, the second one excluded.
    ///
    /// A local time that comes twice means the earlier instant. Errors: [`WindowError::Gap`] for
    /// one that never comes, [`WindowError::EmptySpan`] where the end is not after the start,
    /// [`WindowError::OutOfRange`] outside of [`YEARS`]. A span that is exactly one day has its
    /// date.
    pub fn of_span(from: NaiveDateTime, to: NaiveDateTime, tz: Tz) -> Result<Window, WindowError> {
        Window::of_bounds(Bound::Time(from), Bound::Time(to), tz)
    }

    /// From one bound to another as typed: dates are inclusive at both ends, times half-open.
    ///
    /// Errors are those of [`Window::of_day`] and [`Window::of_span`].
    pub fn of_bounds(from: Bound, to: Bound, tz: Tz) -> Result<Window, WindowError> {
        let start_utc = start_of_bound(from, tz)?;
        let end_utc = match to {
            Bound::Date(date) => {
                start_of(date, tz)?;
                start_of_next(date, tz)
            }
            Bound::Time(local) => instant_of(local, tz)?,
        };
        if end_utc <= start_utc {
            return Err(WindowError::EmptySpan { from: from.to_string(), to: to.to_string(), tz });
        }
        let date = date_at(start_utc, tz);
        let day = Window::of_day(date, tz).ok();
        let is_day = day.is_some_and(|day| (day.start_utc, day.end_utc) == (start_utc, end_utc));
        Ok(Window { start_utc, end_utc, tz, date: is_day.then_some(date) })
    }

    /// Microseconds since 1970-01-01T00:00:00Z of the first instant inside.
    pub fn start_us(&self) -> i64 {
        self.start_utc.timestamp_micros()
    }

    /// Microseconds since 1970-01-01T00:00:00Z of the first instant after the window.
    pub fn end_us(&self) -> i64 {
        self.end_utc.timestamp_micros()
    }

    /// Elapsed time: 24 h for most days, 23 h or 24 h 30 min for some.
    pub fn length(&self) -> TimeDelta {
        self.end_utc - self.start_utc
    }

    /// The UTC hours that cover the window, from `look_back` before its start to `look_ahead` after
    /// its end. A negative margin counts as none.
    pub fn hours(&self, look_back: TimeDelta, look_ahead: TimeDelta) -> HourRange {
        let none = TimeDelta::zero();
        let first = self
            .start_utc
            .checked_sub_signed(look_back.max(none))
            .unwrap_or(DateTime::<Utc>::MIN_UTC);
        let end = self
            .end_utc
            .checked_add_signed(look_ahead.max(none))
            .unwrap_or(DateTime::<Utc>::MAX_UTC);
        HourRange {
            first: Hour::containing(first),
            last: Hour::containing(end - TimeDelta::nanoseconds(1)),
        }
    }

    /// The window for humans: `2022-04-18 00:00 +09:00 to 2022-04-19 00:00 +09:00 (24 h)`.
    pub fn describe(&self) -> String {
        format!(
            "{} to {} ({})",
            describe_instant(self.start_utc, self.tz),
            describe_instant(self.end_utc, self.tz),
            describe_length(self.length())
        )
    }
}

/// The first instant of a date, or the instant of a local time, the earlier one where it comes twice.
///
/// Errors are those of [`Window::of_day`] and [`Window::of_span`].
pub fn start_of_bound(bound: Bound, tz: Tz) -> Result<DateTime<Utc>, WindowError> {
    match bound {
        Bound::Date(date) => start_of(date, tz),
        Bound::Time(local) => instant_of(local, tz),
    }
}

fn start_of(date: NaiveDate, tz: Tz) -> Result<DateTime<Utc>, WindowError> {
    check_year(date)?;
    if !zone::exists(date, tz) {
        return Err(WindowError::SkippedDate { date, tz });
    }
    Ok(zone::first_instant(date, tz))
}

/// The first instant after `date`, also where the zone skipped the next date.
fn start_of_next(date: NaiveDate, tz: Tz) -> DateTime<Utc> {
    let next = date.succ_opt().expect("the date was checked to be within YEARS");
    zone::first_instant(next, tz)
}

fn instant_of(local: NaiveDateTime, tz: Tz) -> Result<DateTime<Utc>, WindowError> {
    check_year(local.date())?;
    match local_to_utc(local, tz) {
        Local::Once(utc) | Local::Twice { first: utc, .. } => Ok(utc),
        Local::Never { gap_start, gap_end } => {
            Err(WindowError::Gap { local, tz, gap_start, gap_end })
        }
    }
}

fn check_year(date: NaiveDate) -> Result<(), WindowError> {
    use chrono::Datelike;
    if YEARS.contains(&date.year()) { Ok(()) } else { Err(WindowError::OutOfRange { date }) }
}

/// An instant for humans, in the zone and with its offset: `2022-04-18 00:00 +09:00`. Seconds are
/// written where they are not 0.
pub fn describe_instant(instant: DateTime<Utc>, tz: Tz) -> String {
    use chrono::{Offset, Timelike};
    let local = instant.with_timezone(&tz);
    let pattern = if local.second() == 0 { "%Y-%m-%d %H:%M" } else { "%Y-%m-%d %H:%M:%S" };
    format!("{} {}", local.format(pattern), local.offset().fix())
}

/// A length for humans: `24 h`, `24 h 30 min`, `45 min`, `0 s`. Fractions of a second are left out.
pub fn describe_length(length: TimeDelta) -> String {
    let seconds = length.num_seconds();
    let sign = if seconds < 0 { "-" } else { "" };
    let seconds = seconds.unsigned_abs();
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "min"), (seconds % 60, "s")];
    let text: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    if text.is_empty() { "0 s".to_string() } else { format!("{sign}{}", text.join(" ")) }
}

#[cfg(test)]
mod tests;
