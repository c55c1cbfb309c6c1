//! Microseconds UTC go in, naive local microseconds come out, millions of times.

use chrono_tz::Tz;

use super::zone::{offset_s, offsets_between};

const SECOND_US: i64 = 1_000_000;
/// How far beyond the given range the table reaches: late and early records are near it.
const MARGIN_S: i64 = 2 * 86_400;

/// A zone's clock with its changes around a range at hand.
///
/// A time in the range costs a comparison or two and an addition; one far outside is looked up in
/// the zone's whole table and is just as exact.
#[derive(Clone, Debug)]
pub struct LocalClock {
    tz: Tz,
    from_us: i64,
    until_us: i64,
    /// The offset at `from_us`, for the many windows in which it never changes.
    first_offset_us: i64,
    /// (first instant, offset from then on), both in µs, in order.
    changes: Vec<(i64, i64)>,
}

impl LocalClock {
    /// A clock for instants around `start_us..end_us` (µs since 1970-01-01T00:00:00Z).
    pub fn new(tz: Tz, start_us: i64, end_us: i64) -> Self {
        let from_s = start_us.div_euclid(SECOND_US) - MARGIN_S;
        let until_s = end_us.max(start_us).div_euclid(SECOND_US) + MARGIN_S;
        // Beyond the calendar of event times no table is worth its search.
        let (from_s, until_s) = (from_s.max(0), until_s.min(4_200_000_000));
        let mut offsets = offsets_between(from_s, until_s.max(from_s), tz);
        let (_, first_offset_s) = offsets.remove(0);
        LocalClock {
            tz,
            from_us: from_s.saturating_mul(SECOND_US),
            until_us: until_s.saturating_mul(SECOND_US),
            first_offset_us: first_offset_s * SECOND_US,
            changes: offsets.iter().map(|(at, off)| (at * SECOND_US, off * SECOND_US)).collect(),
        }
    }

    /// The local clock's reading in µs since 1970-01-01 00:00 on that clock.
    #[inline]
    pub fn to_local_us(&self, ts_us: i64) -> i64 {
        if ts_us < self.from_us || ts_us >= self.until_us {
            return self.look_up(ts_us);
        }
        match self.changes.as_slice() {
            [] => ts_us + self.first_offset_us,
            // One change is a day on which clocks change: no search.
            [(at, offset)] if ts_us >= *at => ts_us + offset,
            [_] => ts_us + self.first_offset_us,
            changes => {
                let passed = changes.partition_point(|(at, _)| *at <= ts_us);
                let offset = match passed {
                    0 => self.first_offset_us,
                    _ => changes[passed - 1].1,
                };
                ts_us + offset
            }
        }
    }

    #[cold]
    fn look_up(&self, ts_us: i64) -> i64 {
        let offset_us = offset_s(self.tz, ts_us.div_euclid(SECOND_US)) * SECOND_US;
        ts_us.saturating_add(offset_us)
    }
}
