//! Zones: local dates and times go in, UTC instants come out, with gaps and folds told apart.
//!
//! Everything rests on one fact about the IANA data: no zone ever changed its offset twice within
//! 48 hours (the closest two changes are 166 hours apart). So the offset a day before and the
//! offset a day after a local time are the only two that can matter, and one search by halves
//! finds the change between them. Offsets lie within ±16 h, which a day covers.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;

const DAY_S: i64 = 86_400;

/// What a local time means in a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    Once(DateTime<Utc>),
    /// The clock went back over it: a fold.
    Twice {
        first: DateTime<Utc>,
        second: DateTime<Utc>,
    },
    /// The clock jumped over it: a gap, from the local time at which it jumped to the one that it
    /// showed next.
    Never {
        gap_start: NaiveDateTime,
        gap_end: NaiveDateTime,
    },
}

/// The instant or the instants at which a clock in the zone shows `local`.
pub fn local_to_utc(local: NaiveDateTime, tz: Tz) -> Local {
    let at_s = local.and_utc().timestamp();
    let (before, after) = offsets_around(at_s, tz);
    // The fraction of the second stays out of the arithmetic, since no offset has one.
    let utc = |offset_s: i64| (local - seconds(offset_s)).and_utc();
    if before == after {
        return Local::Once(utc(before));
    }
    let change_s = change_between(at_s - DAY_S, at_s + DAY_S, tz);
    match (at_s - before < change_s, at_s - after >= change_s) {
        (true, true) => Local::Twice { first: utc(before), second: utc(after) },
        (true, false) => Local::Once(utc(before)),
        (false, true) => Local::Once(utc(after)),
        (false, false) => {
            Local::Never { gap_start: naive(change_s + before), gap_end: naive(change_s + after) }
        }
    }
}

/// Seconds UTC of a local time in seconds since 1970-01-01 00:00 on the local clock.
///
/// Total and fast: in a fold the earlier instant, in a gap the instant that lies as long after the
/// change as the clock should have run (02:30 in a gap from 02:00 to 03:00 is 03:30).
pub(crate) fn local_to_utc_secs(local_s: i64, tz: Tz) -> i64 {
    let (before, after) = offsets_around(local_s, tz);
    let (early, late) = (local_s - before, local_s - after);
    if before == after || offset_s(tz, early) == before || offset_s(tz, late) != after {
        early
    } else {
        late
    }
}

/// The first instant whose local date is `date` or later, in the order of elapsed time.
///
/// Where the clock reaches midnight and then goes back, this is the first midnight. Where midnight
/// is in a gap, it is the instant of the change.
pub(super) fn first_instant(date: NaiveDate, tz: Tz) -> DateTime<Utc> {
    let midnight_s = date.and_time(NaiveTime::MIN).and_utc().timestamp();
    let (before, after) = offsets_around(midnight_s, tz);
    if before == after {
        return instant(midnight_s - before);
    }
    let change_s = change_between(midnight_s - DAY_S, midnight_s + DAY_S, tz);
    if midnight_s - before < change_s {
        instant(midnight_s - before)
    } else {
        instant(change_s.max(midnight_s - after))
    }
}

/// False where the zone skipped the date, as Pacific/Apia did 2011-12-30.
pub(super) fn exists(date: NaiveDate, tz: Tz) -> bool {
    date.succ_opt().is_none_or(|next| first_instant(date, tz) < first_instant(next, tz))
}

/// The date of the day that holds the instant.
///
/// This is the date on the clock, save for the minutes in which a clock that had already reached
/// midnight shows the date before once more: they belong to the later day.
pub fn date_at(instant: DateTime<Utc>, tz: Tz) -> NaiveDate {
    let mut date = instant.with_timezone(&tz).date_naive();
    while let Some(next) = date.succ_opt() {
        if first_instant(next, tz) > instant {
            break;
        }
        date = next;
    }
    date
}

/// Every change of the offset in `from_s..until_s` as (first second UTC, offset from then on), the
/// offset at `from_s` in front.
pub(crate) fn offsets_between(from_s: i64, until_s: i64, tz: Tz) -> Vec<(i64, i64)> {
    let mut offsets = vec![(from_s, offset_s(tz, from_s))];
    let mut at_s = from_s;
    while at_s < until_s {
        let next_s = (at_s + DAY_S).min(until_s);
        if offset_s(tz, next_s) != offset_s(tz, at_s) {
            let change_s = change_between(at_s, next_s, tz);
            offsets.push((change_s, offset_s(tz, change_s)));
        }
        at_s = next_s;
    }
    offsets
}

/// The offset in seconds east of UTC at an instant in seconds since 1970-01-01T00:00:00Z.
pub(super) fn offset_s(tz: Tz, at_s: i64) -> i64 {
    let utc = instant(at_s).naive_utc();
    i64::from(tz.offset_from_utc_datetime(&utc).fix().local_minus_utc())
}

/// The offsets a day before and a day after, with local seconds read as if they were UTC.
fn offsets_around(local_s: i64, tz: Tz) -> (i64, i64) {
    (offset_s(tz, local_s.saturating_sub(DAY_S)), offset_s(tz, local_s.saturating_add(DAY_S)))
}

/// The first second of the new offset in `low_s..=high_s`, where the two ends have different ones.
fn change_between(mut low_s: i64, mut high_s: i64, tz: Tz) -> i64 {
    let old = offset_s(tz, low_s);
    while high_s - low_s > 1 {
        let middle_s = low_s + (high_s - low_s) / 2;
        if offset_s(tz, middle_s) == old {
            low_s = middle_s;
        } else {
            high_s = middle_s;
        }
    }
    high_s
}

/// An instant from seconds; what no calendar can hold becomes the end of the calendar.
fn instant(at_s: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(at_s, 0).unwrap_or(if at_s < 0 {
        DateTime::<Utc>::MIN_UTC
    } else {
        DateTime::<Utc>::MAX_UTC
    })
}

fn naive(at_s: i64) -> NaiveDateTime {
    instant(at_s).naive_utc()
}

fn seconds(count: i64) -> chrono::TimeDelta {
    chrono::TimeDelta::seconds(count)
}
