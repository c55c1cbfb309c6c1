//! UTC hours: instants go in, hours and ranges of hours come out. Never a key or a prefix.

use chrono::{DateTime, NaiveDate, Utc};

const HOUR_S: i64 = 3600;

/// One UTC hour, as Firehose files by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(/* hours since 1970-01-01T00Z; every i32 is within chrono's calendar */ i32);

impl Hour {
    /// The hour that holds the instant.
    pub fn containing(instant: DateTime<Utc>) -> Hour {
        let hours = instant.timestamp().div_euclid(HOUR_S);
        Hour(hours.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32)
    }

    /// The hour of a UTC calendar date; `None` for a date or an hour that does not exist.
    pub fn of_calendar(year: i32, month: u32, day: u32, hour: u32) -> Option<Hour> {
        let start = NaiveDate::from_ymd_opt(year, month, day)?.and_hms_opt(hour, 0, 0)?;
        Some(Hour::containing(start.and_utc()))
    }

    /// The first instant of the hour.
    pub fn start(self) -> DateTime<Utc> {
        DateTime::from_timestamp(i64::from(self.0) * HOUR_S, 0)
            .expect("every i32 of hours is within the calendar")
    }

    pub fn next(self) -> Hour {
        Hour(self.0.saturating_add(1))
    }

    pub fn prev(self) -> Hour {
        Hour(self.0.saturating_sub(1))
    }
}

/// Hours one after another, both ends included. Empty where `last` lies before `first`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HourRange {
    pub first: Hour,
    pub last: Hour,
}

impl HourRange {
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Hour> + DoubleEndedIterator + use<> {
        let first = self.first;
        (0..self.len()).map(move |step| Hour(first.0 + step as i32))
    }

    pub fn len(&self) -> usize {
        let hours = i64::from(self.last.0) - i64::from(self.first.0) + 1;
        // An iterator over more hours than i32 counts could not be exact, and no window has them.
        hours.clamp(0, i64::from(i32::MAX)) as usize
    }

    pub fn is_empty(&self) -> bool {
        self.last < self.first
    }

    pub fn contains(&self, hour: Hour) -> bool {
        self.first <= hour && hour <= self.last
    }

    /// Takes in the hour before the first one and returns it.
    pub fn extend_back(&mut self) -> Hour {
        self.first = self.first.prev();
        self.first
    }

    /// Takes in the hour after the last one and returns it.
    pub fn extend_ahead(&mut self) -> Hour {
        self.last = self.last.next();
        self.last
    }
}
