//! The horizontal axis: a window and its clock go in, ticks that a person would choose come out.
//!
//! A tick stands at its instant (elapsed time) and is labelled by the local clock, so that a day
//! of 23 or 25 hours shows its own hours. Pure.

use chrono::{DateTime, Datelike, Weekday};

use super::clock::{self, Clock, Jump};
use super::font::font;
use super::spec::ChartSpec;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Least room between two labels, px.
const LABEL_GAP_PX: f64 = 10.0;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeTick {
    /// µs UTC.
    pub at_us: i64,
    pub label: String,
    /// What stands below the label: the date, or the year.
    pub below: Option<String>,
}

/// A jump of the clock, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JumpMark {
    pub at_us: i64,
    pub label: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TimeAxis {
    pub ticks: Vec<TimeTick>,
    /// Ticks without a label, µs UTC.
    pub minor_us: Vec<i64>,
    pub jumps: Vec<JumpMark>,
    /// Whose time it is: zone and offset.
    pub caption: String,
}

/// The distance of ticks on the local clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stride {
    Clock(i64),
    Day,
    Week,
    Months(u32),
    Years(i32),
}

/// The strides, the room that each wants between two ticks (px), and that of its minor ticks. Two
/// hours are wanted only where there is much room: people count the day in threes.
const STRIDES: [(Stride, f64, Option<Stride>); 28] = {
    use Stride::*;
    [
        (Clock(SECOND), 80.0, None),
        (Clock(5 * SECOND), 80.0, Some(Clock(SECOND))),
        (Clock(10 * SECOND), 80.0, Some(Clock(SECOND))),
        (Clock(15 * SECOND), 80.0, Some(Clock(5 * SECOND))),
        (Clock(30 * SECOND), 80.0, Some(Clock(10 * SECOND))),
        (Clock(MINUTE), 70.0, Some(Clock(10 * SECOND))),
        (Clock(5 * MINUTE), 70.0, Some(Clock(MINUTE))),
        (Clock(10 * MINUTE), 70.0, Some(Clock(MINUTE))),
        (Clock(15 * MINUTE), 70.0, Some(Clock(5 * MINUTE))),
        (Clock(30 * MINUTE), 70.0, Some(Clock(10 * MINUTE))),
        (Clock(HOUR), 80.0, Some(Clock(15 * MINUTE))),
        (Clock(2 * HOUR), 110.0, Some(Clock(HOUR))),
        (Clock(3 * HOUR), 56.0, Some(Clock(HOUR))),
        (Clock(6 * HOUR), 70.0, Some(Clock(HOUR))),
        (Clock(12 * HOUR), 100.0, Some(Clock(3 * HOUR))),
        (Day, 56.0, Some(Clock(6 * HOUR))),
        (Week, 56.0, Some(Day)),
        (Months(1), 70.0, Some(Week)),
        (Months(3), 70.0, Some(Months(1))),
        (Months(6), 70.0, Some(Months(1))),
        (Years(1), 50.0, Some(Months(3))),
        (Years(2), 50.0, Some(Years(1))),
        (Years(5), 50.0, Some(Years(1))),
        (Years(10), 50.0, Some(Years(1))),
        (Years(20), 50.0, Some(Years(10))),
        (Years(50), 50.0, Some(Years(10))),
        (Years(100), 50.0, Some(Years(10))),
        (Years(1000), 0.0, None),
    ]
};

impl Stride {
    fn length_us(self) -> i64 {
        match self {
            Stride::Clock(us) => us,
            Stride::Day => DAY,
            Stride::Week => 7 * DAY,
            Stride::Months(n) => i64::from(n) * 30 * DAY,
            Stride::Years(n) => i64::from(n) * 365 * DAY,
        }
    }

    /// Whether a tick stands at the beginning of this local date.
    fn begins_with(self, midnight_local_us: i64) -> bool {
        let Some(date) = DateTime::from_timestamp_micros(midnight_local_us) else {
            return false;
        };
        let first = date.day() == 1;
        match self {
            Stride::Clock(_) | Stride::Day => true,
            Stride::Week => date.weekday() == Weekday::Mon,
            Stride::Months(n) => first && date.month0().is_multiple_of(n),
            Stride::Years(n) => first && date.month() == 1 && date.year() % n == 0,
        }
    }

    /// Instants and local readings of the ticks, in order, the end of the window included.
    fn ticks(self, clock: &Clock) -> Vec<(i64, i64)> {
        match self {
            Stride::Clock(us) => multiples(clock, us),
            _ => {
                midnights(clock).into_iter().filter(|&(_, local)| self.begins_with(local)).collect()
            }
        }
    }
}

/// Every instant whose local reading is a multiple of `us`; twice where the clock goes back.
fn multiples(clock: &Clock, us: i64) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    let count = clock.stretches().len();
    for (i, stretch) in clock.stretches().iter().enumerate() {
        let from = stretch.local_us(stretch.start_us);
        let to = stretch.local_us(stretch.end_us);
        let mut local = from.div_euclid(us) * us;
        if local < from {
            local += us;
        }
        while local < to || (local == to && i + 1 == count) {
            found.push((local - stretch.offset_us, local));
            local += us;
        }
    }
    found
}

/// The first instant of every local date; where midnight itself is skipped, the jump.
fn midnights(clock: &Clock) -> Vec<(i64, i64)> {
    let mut found = multiples(clock, DAY);
    for jump in clock.jumps() {
        let next = (jump.from_local_us.div_euclid(DAY) + 1) * DAY;
        if jump.to_local_us > next {
            found.push((jump.at_us, jump.to_local_us.div_euclid(DAY) * DAY));
        }
    }
    found.sort_unstable();
    let mut seen = i64::MIN;
    found.retain(|&(_, local)| {
        let is_new = local > seen;
        seen = seen.max(local);
        is_new
    });
    found
}

impl TimeAxis {
    /// The ticks for a plot of `width_px`, labelled in letters of `size_px`.
    pub fn of(spec: &ChartSpec, clock: &Clock, width_px: f64, size_px: f64) -> TimeAxis {
        let px_per_us = width_px / (spec.end_us - spec.start_us) as f64;
        let (stride, _, minor) = STRIDES
            .into_iter()
            .find(|(stride, room, _)| stride.length_us() as f64 * px_per_us >= *room)
            .unwrap_or(STRIDES[STRIDES.len() - 1]);
        let mut ticks = match stride {
            Stride::Clock(us) => clock_ticks(us, spec, clock),
            _ => date_ticks(stride, spec, clock),
        };
        thin(&mut ticks, |us| (us - spec.start_us) as f64 * px_per_us, size_px);

        let minor_us = minor
            .filter(|minor| minor.length_us() as f64 * px_per_us >= 5.0)
            .map(|minor| minor.ticks(clock).into_iter().map(|(us, _)| us).collect())
            .unwrap_or_default();
        let is_close = matches!(stride, Stride::Clock(_));
        let jumps =
            if is_close { clock.jumps().map(|j| jump_mark(&j)).collect() } else { Vec::new() };
        TimeAxis { ticks, minor_us, jumps, caption: caption(spec, clock) }
    }
}

/// Ticks within days. A whole day has its both ends; anything else has its dates below.
fn clock_ticks(us: i64, spec: &ChartSpec, clock: &Clock) -> Vec<TimeTick> {
    let mut at = multiples(clock, us);
    if spec.date.is_some() {
        let last = clock.stretches()[clock.stretches().len() - 1];
        if at.first().is_none_or(|first| first.0 != spec.start_us) {
            at.insert(0, (spec.start_us, clock.local_us(spec.start_us)));
        }
        if at.last().is_none_or(|end| end.0 != spec.end_us) {
            at.push((spec.end_us, last.local_us(spec.end_us)));
        }
    }
    let mut date = None;
    at.into_iter()
        .map(|(at_us, local)| {
            let is_last_midnight = at_us == spec.end_us && local.rem_euclid(DAY) == 0;
            let label =
                if is_last_midnight { "24:00".to_string() } else { clock::time_of_day(local) };
            let today = local.div_euclid(DAY);
            let below =
                (spec.date.is_none() && !is_last_midnight && date != Some(today)).then(|| {
                    clock::formatted(local, if date.is_none() { "%Y-%m-%d" } else { "%m-%d" })
                });
            date = Some(today);
            TimeTick { at_us, label, below }
        })
        .collect()
}

/// Ticks at the beginning of dates, with the year below where it is new.
fn date_ticks(stride: Stride, spec: &ChartSpec, clock: &Clock) -> Vec<TimeTick> {
    let (format, with_year) = match stride {
        Stride::Months(_) => ("%Y-%m", false),
        Stride::Years(_) => ("%Y", false),
        _ => ("%m-%d", true),
    };
    let mut year = None;
    stride
        .ticks(clock)
        .into_iter()
        .filter(|&(at_us, _)| at_us < spec.end_us)
        .map(|(at_us, local)| {
            let this = clock::formatted(local, "%Y");
            let is_new = with_year && year.as_ref() != Some(&this);
            year = Some(this.clone());
            TimeTick {
                at_us,
                label: clock::formatted(local, format),
                below: is_new.then_some(this),
            }
        })
        .collect()
}

/// Takes away ticks whose labels would touch; the first and the last stay.
fn thin(ticks: &mut Vec<TimeTick>, x: impl Fn(i64) -> f64, size_px: f64) {
    let span = |tick: &TimeTick| {
        let half = font().width(&tick.label, size_px) / 2.0;
        (x(tick.at_us) - half, x(tick.at_us) + half)
    };
    let Some(last) = ticks.pop() else { return };
    let before = span(&last).0 - LABEL_GAP_PX;
    let mut free = f64::NEG_INFINITY;
    ticks.retain(|tick| {
        let (left, right) = span(tick);
        let is_first = free == f64::NEG_INFINITY;
        let fits = left >= free && (right <= before || is_first);
        if fits {
            free = right + LABEL_GAP_PX;
        }
        fits
    });
    ticks.push(last);
}

fn jump_mark(jump: &Jump) -> JumpMark {
    let (from, to) = (clock::time_of_day(jump.from_local_us), clock::time_of_day(jump.to_local_us));
    JumpMark { at_us: jump.at_us, label: format!("{from} → {to}") }
}

fn caption(spec: &ChartSpec, clock: &Clock) -> String {
    let mut offsets: Vec<String> =
        clock.stretches().iter().map(|s| clock::offset_name(s.offset_us)).collect();
    offsets.dedup();
    if offsets.len() > 3 {
        return format!("local time in {}", spec.tz.name());
    }
    format!("local time in {} ({})", spec.tz.name(), offsets.join(" → "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{NaiveDate, Utc};
    use chrono_tz::Tz;

    fn us(text: &str) -> i64 {
        text.parse::<DateTime<Utc>>().unwrap().timestamp_micros()
    }

    fn axis(tz: Tz, start: &str, end: &str, is_day: bool, width_px: f64) -> TimeAxis {
        let mut spec = ChartSpec::new(us(start), us(end), tz);
        spec.date = is_day.then(|| NaiveDate::from_ymd_opt(2022, 1, 1).unwrap());
        TimeAxis::of(&spec, &Clock::new(tz, spec.start_us, spec.end_us), width_px, 12.0)
    }

    fn labels(axis: &TimeAxis) -> String {
        axis.ticks.iter().map(|t| t.label.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn hours(axis: &TimeAxis) -> Vec<f64> {
        let first = axis.ticks[0].at_us;
        axis.ticks.iter().map(|t| (t.at_us - first) as f64 / HOUR as f64).collect()
    }

    const SEOUL: (Tz, &str, &str) =
        (chrono_tz::Asia::Seoul, "2022-04-17T15:00:00Z", "2022-04-18T15:00:00Z");

    #[test]
    fn a_day_is_counted_in_threes_from_0_to_24() {
        for width in [720.0, 1110.0] {
            let axis = axis(SEOUL.0, SEOUL.1, SEOUL.2, true, width);
            assert_eq!(labels(&axis), "00:00 03:00 06:00 09:00 12:00 15:00 18:00 21:00 24:00");
            assert_eq!(axis.caption, "local time in Asia/Seoul (UTC+09:00)");
            assert!(axis.ticks.iter().all(|t| t.below.is_none()));
        }
        let wide = axis(SEOUL.0, SEOUL.1, SEOUL.2, true, 1510.0);
        assert!(labels(&wide).starts_with("00:00 02:00 04:00"));
    }

    #[test]
    fn a_day_of_25_hours_has_its_own_hours() {
        let axis = axis(
            chrono_tz::Europe::London,
            "2022-10-29T23:00:00Z",
            "2022-10-31T00:00:00Z",
            true,
            1110.0,
        );
        assert_eq!(labels(&axis), "00:00 03:00 06:00 09:00 12:00 15:00 18:00 21:00 24:00");
        assert_eq!(hours(&axis), [0.0, 4.0, 7.0, 10.0, 13.0, 16.0, 19.0, 22.0, 25.0]);
        assert_eq!(axis.jumps[0].label, "02:00 → 01:00");
        assert_eq!(axis.caption, "local time in Europe/London (UTC+01:00 → UTC+00:00)");
    }

    #[test]
    fn a_day_of_23_hours_has_its_own_hours() {
        let axis = axis(
            chrono_tz::America::New_York,
            "2022-03-13T05:00:00Z",
            "2022-03-14T04:00:00Z",
            true,
            1110.0,
        );
        assert_eq!(hours(&axis), [0.0, 2.0, 5.0, 8.0, 11.0, 14.0, 17.0, 20.0, 23.0]);
        assert!(labels(&axis).ends_with("21:00 24:00"));
        assert_eq!(axis.jumps[0].label, "02:00 → 03:00");
    }

    #[test]
    fn a_jump_of_half_an_hour_moves_the_ticks_by_half_an_hour() {
        let axis = axis(
            chrono_tz::Australia::Lord_Howe,
            "2022-04-02T13:00:00Z",
            "2022-04-03T13:30:00Z",
            true,
            1110.0,
        );
        assert_eq!(hours(&axis), [0.0, 3.5, 6.5, 9.5, 12.5, 15.5, 18.5, 21.5, 24.5]);
        assert_eq!(axis.jumps[0].label, "02:00 → 01:30");
    }

    #[test]
    fn a_repeated_hour_is_labelled_twice_where_there_is_room() {
        let axis = axis(
            chrono_tz::Europe::London,
            "2022-10-29T23:00:00Z",
            "2022-10-31T00:00:00Z",
            true,
            2200.0,
        );
        assert!(labels(&axis).starts_with("00:00 01:00 01:00 02:00 03:00"), "{}", labels(&axis));
    }

    #[test]
    fn a_day_that_begins_at_one_says_so() {
        // Brazil skipped midnight: 2018-11-04 had 23 hours from 01:00 on.
        let axis = axis(
            chrono_tz::America::Sao_Paulo,
            "2018-11-04T03:00:00Z",
            "2018-11-05T02:00:00Z",
            true,
            1110.0,
        );
        assert_eq!(labels(&axis), "01:00 03:00 06:00 09:00 12:00 15:00 18:00 21:00 24:00");
    }

    #[test]
    fn part_of_a_day_has_ticks_inside_and_the_date_below() {
        let axis = axis(SEOUL.0, "2022-04-18T00:07:00Z", "2022-04-18T01:10:00Z", false, 1110.0);
        assert!(labels(&axis).starts_with("09:10 09:15 09:20"), "{}", labels(&axis));
        assert_eq!(axis.ticks[0].below.as_deref(), Some("2022-04-18"));
        assert!(axis.ticks[1..].iter().all(|t| t.below.is_none()));
    }

    #[test]
    fn a_few_days_have_hours_and_dates() {
        let axis = axis(SEOUL.0, "2022-04-17T15:00:00Z", "2022-04-20T15:00:00Z", false, 1110.0);
        assert!(labels(&axis).starts_with("00:00 06:00 12:00 18:00 00:00"));
        assert!(labels(&axis).ends_with("18:00 24:00"));
        let below: Vec<_> = axis.ticks.iter().filter_map(|t| t.below.clone()).collect();
        assert_eq!(below, ["2022-04-18", "04-19", "04-20"]);
    }

    #[test]
    fn a_week_a_month_and_years_have_dates() {
        let week = axis(SEOUL.0, "2022-04-17T15:00:00Z", "2022-04-24T15:00:00Z", false, 1110.0);
        assert_eq!(labels(&week), "04-18 04-19 04-20 04-21 04-22 04-23 04-24");
        assert_eq!(week.ticks[0].below.as_deref(), Some("2022"));
        let month = axis(SEOUL.0, "2022-03-31T15:00:00Z", "2022-04-30T15:00:00Z", false, 1110.0);
        assert_eq!(labels(&month), "04-04 04-11 04-18 04-25");
        let year = axis(SEOUL.0, "2021-12-31T15:00:00Z", "2022-12-31T15:00:00Z", false, 1110.0);
        assert!(labels(&year).starts_with("2022-01 2022-02"));
        let decade = axis(SEOUL.0, "2012-12-31T15:00:00Z", "2022-12-31T15:00:00Z", false, 1110.0);
        assert!(labels(&decade).starts_with("2013 2014"));
    }

    #[test]
    fn labels_never_touch() {
        let ends = [
            "2022-04-17T15:00:40Z",
            "2022-04-17T16:00:00Z",
            "2022-04-18T02:00:00Z",
            "2022-04-18T15:00:00Z",
            "2022-04-19T15:00:00Z",
            "2022-05-19T15:00:00Z",
            "2032-05-19T15:00:00Z",
        ];
        for end in ends {
            for width in [300.0, 400.0, 720.0, 1110.0, 1510.0, 5000.0] {
                let axis = axis(SEOUL.0, SEOUL.1, end, false, width);
                let px = width / (us(end) - us(SEOUL.1)) as f64;
                let spans: Vec<_> = axis
                    .ticks
                    .iter()
                    .map(|t| {
                        let half = font().width(&t.label, 12.0) / 2.0;
                        let x = (t.at_us - us(SEOUL.1)) as f64 * px;
                        (x - half, x + half)
                    })
                    .collect();
                assert!(spans.windows(2).all(|s| s[0].1 < s[1].0), "{end} {width} {axis:?}");
                assert!(!spans.is_empty(), "{end} {width}");
            }
        }
    }
}
