//! Local time within a window: a zone and a span of instants go in, the stretches of constant
//! offset come out, so that ticks can be found by arithmetic and jumps of the clock be shown.
//!
//! It never asks for the machine's zone or time.

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;

const SECOND_US: i64 = 1_000_000;
const HOUR_US: i64 = 3600 * SECOND_US;

/// Instants from `start_us` up to `end_us` (µs UTC) that share one offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub start_us: i64,
    pub end_us: i64,
    pub offset_us: i64,
}

impl Stretch {
    /// Local reading, µs since 1970-01-01 00:00 on the local clock.
    pub fn local_us(&self, at_us: i64) -> i64 {
        at_us + self.offset_us
    }
}

/// A moment at which the clock jumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jump {
    pub at_us: i64,
    /// What the clock would have shown, and what it shows instead; µs local.
    pub from_local_us: i64,
    pub to_local_us: i64,
}

/// The stretches of a window, in order, without holes.
pub struct Clock {
    stretches: Vec<Stretch>,
}

impl Clock {
    /// The window `[start_us, end_us)`, which is not empty.
    pub fn new(tz: Tz, start_us: i64, end_us: i64) -> Clock {
        let mut stretches = Vec::new();
        let mut from = start_us;
        let mut offset = offset_us(tz, start_us);
        let mut at = start_us;
        while at < end_us {
            let next = (at + HOUR_US).min(end_us);
            let after = offset_us(tz, next);
            if after != offset {
                let jump = first_with_other_offset(tz, at, next, offset);
                if jump < end_us {
                    stretches.push(Stretch { start_us: from, end_us: jump, offset_us: offset });
                    (from, offset) = (jump, offset_us(tz, jump));
                }
            }
            at = next;
        }
        stretches.push(Stretch { start_us: from, end_us, offset_us: offset });
        Clock { stretches }
    }

    pub fn stretches(&self) -> &[Stretch] {
        &self.stretches
    }

    pub fn jumps(&self) -> impl Iterator<Item = Jump> + '_ {
        self.stretches.windows(2).map(|pair| Jump {
            at_us: pair[1].start_us,
            from_local_us: pair[0].local_us(pair[1].start_us),
            to_local_us: pair[1].local_us(pair[1].start_us),
        })
    }

    /// Local reading of an instant; outside the window the nearest offset holds.
    pub fn local_us(&self, at_us: i64) -> i64 {
        let row = self.stretches.partition_point(|s| s.start_us <= at_us);
        self.stretches[row.saturating_sub(1)].local_us(at_us)
    }
}

fn offset_us(tz: Tz, at_us: i64) -> i64 {
    let seconds = at_us.div_euclid(SECOND_US);
    let utc = DateTime::from_timestamp(seconds, 0).unwrap_or_default().naive_utc();
    i64::from(tz.offset_from_utc_datetime(&utc).fix().local_minus_utc()) * SECOND_US
}

/// The first whole second after `low` whose offset is not `offset`; at `high` it is not.
fn first_with_other_offset(tz: Tz, low: i64, high: i64, offset: i64) -> i64 {
    let (mut low, mut high) = (low.div_euclid(SECOND_US), high.div_euclid(SECOND_US));
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if offset_us(tz, middle * SECOND_US) == offset { low = middle } else { high = middle }
    }
    high * SECOND_US
}

/// `HH:MM`, or `HH:MM:SS` where there are seconds, of a local reading.
pub fn time_of_day(local_us: i64) -> String {
    let seconds = local_us.div_euclid(SECOND_US).rem_euclid(86_400);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if second == 0 {
        format!("{hour:02}:{minute:02}")
    } else {
        format!("{hour:02}:{minute:02}:{second:02}")
    }
}

/// A local reading or a UTC instant by a format of chrono's.
pub fn formatted(us: i64, format: &str) -> String {
    let time = DateTime::from_timestamp(us.div_euclid(SECOND_US), 0).unwrap_or_default();
    time.naive_utc().format(format).to_string()
}

/// `UTC+09:00`, of an offset.
pub fn offset_name(offset_us: i64) -> String {
    let sign = if offset_us < 0 { '−' } else { '+' };
    let seconds = offset_us.abs() / SECOND_US;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if second == 0 {
        format!("UTC{sign}{hour:02}:{minute:02}")
    } else {
        format!("UTC{sign}{hour:02}:{minute:02}:{second:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us(text: &str) -> i64 {
        text.parse::<DateTime<chrono::Utc>>().unwrap().timestamp_micros()
    }

    #[test]
    fn a_day_in_seoul_is_one_stretch() {
        let (start, end) = (us("2022-04-17T15:00:00Z"), us("2022-04-18T15:00:00Z"));
        let clock = Clock::new(chrono_tz::Asia::Seoul, start, end);
        assert_eq!(clock.stretches().len(), 1);
        assert_eq!(time_of_day(clock.local_us(start)), "00:00");
    }

    #[test]
    fn the_clock_of_london_goes_back_at_one() {
        let (start, end) = (us("2022-10-29T23:00:00Z"), us("2022-10-31T00:00:00Z"));
        let clock = Clock::new(chrono_tz::Europe::London, start, end);
        let jumps: Vec<_> = clock.jumps().collect();
        assert_eq!(jumps.len(), 1);
        assert_eq!(jumps[0].at_us, us("2022-10-30T01:00:00Z"));
        assert_eq!(time_of_day(jumps[0].from_local_us), "02:00");
        assert_eq!(time_of_day(jumps[0].to_local_us), "01:00");
    }

    #[test]
    fn half_hours_of_lord_howe_are_found() {
        let (start, end) = (us("2022-04-02T13:00:00Z"), us("2022-04-03T13:30:00Z"));
        let clock = Clock::new(chrono_tz::Australia::Lord_Howe, start, end);
        let jump = clock.jumps().next().unwrap();
        assert_eq!(jump.from_local_us - jump.to_local_us, HOUR_US / 2);
    }

    #[test]
    fn a_jump_at_the_end_of_the_window_is_not_in_it() {
        let (start, end) = (us("2022-10-29T23:00:00Z"), us("2022-10-30T01:00:00Z"));
        let clock = Clock::new(chrono_tz::Europe::London, start, end);
        assert_eq!(clock.jumps().count(), 0);
    }

    #[test]
    fn offsets_have_names() {
        assert_eq!(offset_name(9 * HOUR_US), "UTC+09:00");
        assert_eq!(offset_name(-HOUR_US * 7 / 2), "UTC−03:30");
        assert_eq!(offset_name(0), "UTC+00:00");
    }
}
