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
        TimeRule { field: None, fallback_key: false, field_tz: Tz::UTC }
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
    /// When the record came to Firehose, as an error record says it.
    Arrival,
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

/// The time that an object gives to records without one: by its key, worked out once an object; or,
/// for those that were recovered, by when they arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectTime {
    us: i64,
    source: TimeSource,
}

impl ObjectTime {
    /// `None` where the key says no time, or one outside of 1990 to 2100.
    pub fn of_key(key: &KeyInfo) -> Option<ObjectTime> {
        let (time_utc, part): (DateTime<Utc>, KeyTime) = key.time?;
        let source = match part {
            KeyTime::Name => TimeSource::ObjectName,
            KeyTime::Hour => TimeSource::PrefixHour,
        };
        let us = time_utc.timestamp_micros();
        is_event_time(us).then_some(ObjectTime { us, source })
    }

    /// The same for a record of which it is known when it arrived, µs UTC.
    pub fn of_arrival(us: i64) -> Option<ObjectTime> {
        is_event_time(us).then_some(ObjectTime { us, source: TimeSource::Arrival })
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
    /// `found` is the first of the fields that reads as a time ([`read_time`]), with its rank;
    /// `unreadable` says that one was there, text or number, that does not. The object's time
    /// serves where no field does; with an explicit field only if `fallback_key` says so.
    #[inline]
    pub fn event(
        &self,
        found: Option<(u16, Instant)>,
        unreadable: bool,
        object: Option<ObjectTime>,
    ) -> Result<Event, TimeProblem> {
        if let Some((rank, Instant { us, leap_clamped })) = found {
            return Ok(Event { us, source: TimeSource::Field(rank), leap_clamped });
        }
        let explicit = self.field.is_some();
        match object {
            Some(ObjectTime { us, source }) if !explicit || self.fallback_key => {
                Ok(Event { us, source, leap_clamped: false })
            }
            None if !explicit => Err(TimeProblem::NoTime),
            _ if unreadable => Err(TimeProblem::FieldUnreadable),
            _ => Err(TimeProblem::FieldMissing),
        }
    }
}

fn is_event_time(us: i64) -> bool {
    (EARLIEST_US..LATEST_US).contains(&us)
}

#[cfg(test)]
mod tests;
