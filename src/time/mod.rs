//! The values of a record's time fields and the object's key go in; the record's event time in
//! microseconds UTC comes out, or the reason why it has none.
//!
//! Nothing here knows windows or decides whether a record belongs to a day, and nothing here
//! allocates for a record.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::layout::{KeyInfo, KeyTime};

mod fields;
mod read;

pub use fields::TIME_FIELDS;
pub use read::{Instant, TimeValue, read_time};

/// 1990-01-01T00:00:00Z in µs: the first instant that counts as an event time.
pub const EARLIEST_US: i64 = 631_152_000_000_000;
/// 2100-01-01T00:00:00Z in µs: the first instant that no longer does.
pub const LATEST_US: i64 = 4_102_444_800_000_000;

/// Where event times come from, as the user asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeRule {
    /// `--time-field`: this field and no other. `None`: [`TIME_FIELDS`] in their order.
    pub field: Option<String>,
    /// `--fallback-key`: where the explicit field gives no time, the object's serves.
    pub fallback_key: bool,
    /// `--field-tz`: the zone of text without an offset.
    pub field_tz: Tz,
}

impl Default for TimeRule {
    fn default() -> Self {
        TimeRule {
            field: None,
            fallback_key: false,
            field_tz: Tz::UTC,
        }
    }
}

/// What served as a record's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimeSource {
    /// The field of this rank in [`TimeRule::fields`].
    Field(u16),
    /// The time in the object's name.
    ObjectName,
    /// The start of the hour in the object's prefix.
    PrefixHour,
}

/// When a record happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// µs since 1970-01-01T00:00:00Z, within [`EARLIEST_US`]`..`[`LATEST_US`].
    pub us: i64,
    pub source: TimeSource,
    /// The field said `:60`, which became `:59.999999`.
    pub leap_clamped: bool,
}

/// Why a record has no event time. Such a record is quarantined with this text, and the text never
/// changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum TimeProblem {
    /// `--time-field` names a field that the record lacks, or that is neither text nor number.
    #[error("time field missing, or neither text nor number")]
    FieldMissing,
    /// The value of `--time-field` is no time within 1990 to 2100.
    #[error("time field not readable as a time within 1990 to 2100")]
    FieldUnreadable,
    /// No field of the list served, and the object's key says no time either.
    #[error("no readable time in the record or in the object's key")]
    NoTime,
}

/// The time that an object's key gives to records without one. Worked out once an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectTime {
    us: i64,
    source: TimeSource,
}

impl ObjectTime {
    /// `None` where the key says no time, or one outside of 1990 to 2100.
    pub fn of_key(key: &KeyInfo) -> Option<ObjectTime> {
        let (time_utc, part): (DateTime<Utc>, KeyTime) = key.object_time()?;
        let source = match part {
            KeyTime::Name => TimeSource::ObjectName,
            KeyTime::Hour => TimeSource::PrefixHour,
        };
        let us = time_utc.timestamp_micros();
        is_event_time(us).then_some(ObjectTime { us, source })
    }
}

impl TimeRule {
    /// The names of the fields to look at, by rank. Dots lead into nested objects.
    pub fn fields(&self) -> Vec<&str> {
        match &self.field {
            Some(field) => vec![field.as_str()],
            None => TIME_FIELDS.to_vec(),
        }
    }

    /// The event time of one record.
    ///
    /// `candidates` are the record's values of [`TimeRule::fields`] with their ranks, the lowest
    /// first. Fields that are absent, or neither text nor number, are left out. The first one that
    /// reads as a time serves, and the object's time where none does. With an explicit field the
    /// object's time serves only if `fallback_key` says so; otherwise its absence is the error.
    #[inline]
    pub fn event<'a>(
        &self,
        candidates: impl IntoIterator<Item = (u16, TimeValue<'a>)>,
        object: Option<ObjectTime>,
    ) -> Result<Event, TimeProblem> {
        let mut problem = TimeProblem::FieldMissing;
        for (rank, value) in candidates {
            if let Some(Instant { us, leap_clamped }) = read_time(value, self.field_tz) {
                return Ok(Event {
                    us,
                    source: TimeSource::Field(rank),
                    leap_clamped,
                });
            }
            problem = TimeProblem::FieldUnreadable;
        }
        let explicit = self.field.is_some();
        match object {
            Some(ObjectTime { us, source }) if !explicit || self.fallback_key => Ok(Event {
                us,
                source,
                leap_clamped: false,
            }),
            None if !explicit => Err(TimeProblem::NoTime),
            _ => Err(problem),
        }
    }
}

/// How many records each source served, for the manifest. Tallies add up in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeTally {
    /// By rank; shorter than the list of fields where the last ones never served.
    fields: Vec<u64>,
    pub object_name: u64,
    pub prefix_hour: u64,
    pub leap_clamped: u64,
}

impl TimeTally {
    #[inline]
    pub fn count(&mut self, event: &Event) {
        match event.source {
            TimeSource::Field(rank) => *self.field_mut(rank.into()) += 1,
            TimeSource::ObjectName => self.object_name += 1,
            TimeSource::PrefixHour => self.prefix_hour += 1,
        }
        self.leap_clamped += u64::from(event.leap_clamped);
    }

    pub fn merge(&mut self, other: &TimeTally) {
        for (rank, records) in other.fields.iter().enumerate() {
            *self.field_mut(rank) += records;
        }
        self.object_name += other.object_name;
        self.prefix_hour += other.prefix_hour;
        self.leap_clamped += other.leap_clamped;
    }

    /// (rank, records) of the fields that served any.
    pub fn fields(&self) -> impl Iterator<Item = (u16, u64)> + '_ {
        let served = self
            .fields
            .iter()
            .enumerate()
            .filter(|(_, records)| **records > 0);
        served.map(|(rank, records)| (rank as u16, *records))
    }

    /// All records that have an event time.
    pub fn records(&self) -> u64 {
        self.fields.iter().sum::<u64>() + self.object_name + self.prefix_hour
    }

    fn field_mut(&mut self, rank: usize) -> &mut u64 {
        if self.fields.len() <= rank {
            self.fields.resize(rank + 1, 0);
        }
        &mut self.fields[rank]
    }
}

fn is_event_time(us: i64) -> bool {
    (EARLIEST_US..LATEST_US).contains(&us)
}

#[cfg(test)]
mod tests;
