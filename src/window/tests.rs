use std::collections::HashSet;
use std::sync::LazyLock;

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use proptest::prelude::*;

use super::zone::{first_instant, local_to_utc_secs, offset_s, offsets_between};
use super::*;

fn date(text: &str) -> NaiveDate {
    text.parse().expect("a date")
}

fn local(text: &str) -> NaiveDateTime {
    match parse_instant(text) {
        Ok(Bound::Time(local)) => local,
        other => panic!("{text}: {other:?}"),
    }
}

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

fn zone_of(name: &str) -> Tz {
    parse_zone(name).expect("a zone")
}

fn day(name: &str, text: &str) -> Window {
    Window::of_day(date(text), zone_of(name)).expect("a day")
}

fn minutes(window: Window) -> i64 {
    window.length().num_minutes()
}

// The days of the list of faults.

#[test]
fn a_day_in_seoul_begins_at_15_utc_of_the_day_before() {
    let window = day("Asia/Seoul", "2022-04-18");
    assert_eq!(window.start_utc, utc("2022-04-17T15:00:00Z"));
    assert_eq!(window.end_utc, utc("2022-04-18T15:00:00Z"));
    assert_eq!(window.date, Some(date("2022-04-18")));
    assert_eq!(window.start_us(), 1_650_207_600_000_000);
    assert_eq!(window.end_us() - window.start_us(), 86_400_000_000);
}

#[test]
fn days_on_which_clocks_change_have_their_own_lengths() {
    let cases = [
        ("Asia/Seoul", "1987-05-10", 23 * 60),
        ("Asia/Seoul", "1988-10-09", 25 * 60),
        ("Asia/Pyongyang", "2015-08-14", 24 * 60 + 30),
        ("Asia/Pyongyang", "2015-08-15", 24 * 60),
        ("Asia/Pyongyang", "2018-05-04", 23 * 60 + 30),
        ("Asia/Pyongyang", "2018-05-05", 24 * 60),
        ("America/Sao_Paulo", "2018-11-04", 23 * 60),
        ("Australia/Lord_Howe", "2024-04-07", 24 * 60 + 30),
        ("Australia/Lord_Howe", "2024-10-06", 23 * 60 + 30),
        ("Antarctica/Troll", "2024-03-31", 22 * 60),
        ("Antarctica/Troll", "2024-10-27", 26 * 60),
        ("America/Havana", "2024-11-03", 25 * 60),
        ("America/New_York", "2024-03-10", 23 * 60),
        ("America/New_York", "2024-11-03", 25 * 60),
        ("Pacific/Apia", "2011-12-29", 24 * 60),
        ("Pacific/Apia", "2011-12-31", 24 * 60),
        ("America/St_Johns", "2010-11-06", 24 * 60),
        ("America/St_Johns", "2010-11-07", 25 * 60),
    ];
    for (zone, text, expected) in cases {
        assert_eq!(minutes(day(zone, text)), expected, "{zone} {text}");
    }
}

#[test]
fn a_date_that_the_zone_skipped_is_an_error_of_its_own() {
    let apia = zone_of("Pacific/Apia");
    let error = Window::of_day(date("2011-12-30"), apia).unwrap_err();
    assert_eq!(error, WindowError::SkippedDate { date: date("2011-12-30"), tz: apia });
    assert_eq!(
        error.to_string(),
        "the zone Pacific/Apia skipped the date 2011-12-30: no instant there has this date, so \
         choose the day before or after it"
    );
    let kwajalein = Window::of_day(date("1993-08-21"), zone_of("Pacific/Kwajalein"));
    assert!(matches!(kwajalein, Err(WindowError::SkippedDate { .. })));
    let end = day("Pacific/Apia", "2011-12-29").end_utc;
    assert_eq!(end, day("Pacific/Apia", "2011-12-31").start_utc);
    assert_eq!(end, utc("2011-12-30T10:00:00Z"));
}

#[test]
fn a_day_without_midnight_begins_at_the_change() {
    let window = day("America/Sao_Paulo", "2018-11-04");
    assert_eq!(window.start_utc, utc("2018-11-04T03:00:00Z"));
    assert_eq!(window.end_utc, utc("2018-11-05T02:00:00Z"));
    assert_eq!(describe_instant(window.start_utc, window.tz), "2018-11-04 01:00 -02:00");
}

#[test]
fn of_two_midnights_the_first_one_counts() {
    // At 01:00 the clock goes back to 00:00.
    let window = day("America/Havana", "2024-11-03");
    assert_eq!(window.start_utc, utc("2024-11-03T04:00:00Z"));
    assert_eq!(window.end_utc, utc("2024-11-04T05:00:00Z"));
}

#[test]
fn a_clock_that_goes_back_over_midnight_began_the_day_before_it_did() {
    // 00:00 of the 7th comes at 02:30 UTC; at 00:01 the clock goes back to 23:01 of the 6th.
    let window = day("America/St_Johns", "2010-11-07");
    assert_eq!(window.start_utc, utc("2010-11-07T02:30:00Z"));
    assert_eq!(window.end_utc, utc("2010-11-08T03:30:00Z"));
    let again_the_6th = utc("2010-11-07T02:45:00Z");
    assert_eq!(again_the_6th.with_timezone(&window.tz).date_naive(), date("2010-11-06"));
    assert_eq!(date_at(again_the_6th, window.tz), date("2010-11-07"));
    assert_eq!(date_at(utc("2010-11-07T02:29:59Z"), window.tz), date("2010-11-06"));
}

#[test]
fn offsets_that_are_no_whole_minutes_are_exact() {
    let window = day("Africa/Monrovia", "1971-06-01");
    assert_eq!(window.start_utc, utc("1971-06-01T00:44:30Z"));
    assert_eq!(describe_instant(window.start_utc, window.tz), "1971-06-01 00:00 -00:44:30");
    assert_eq!(day("Africa/Monrovia", "1972-01-07").length(), TimeDelta::seconds(86_400 - 2670));
}

#[test]
fn dates_outside_the_years_of_event_times_are_refused() {
    for text in ["1969-12-31", "2101-01-01"] {
        let result = Window::of_day(date(text), Tz::UTC);
        assert_eq!(result, Err(WindowError::OutOfRange { date: date(text) }));
    }
    let far = NaiveDate::MAX;
    assert_eq!(Window::of_day(far, Tz::UTC), Err(WindowError::OutOfRange { date: far }));
    assert!(Window::of_day(date("2100-12-31"), zone_of("Asia/Seoul")).is_ok());
    assert!(Window::of_day(date("1970-01-01"), zone_of("Asia/Seoul")).is_ok());
}

#[test]
fn a_zone_that_moves_back_by_hours_has_a_long_day() {
    assert_eq!(minutes(day("Antarctica/Vostok", "1994-01-31")), 31 * 60);
    assert_eq!(minutes(day("Antarctica/Casey", "2010-03-05")), 27 * 60);
}

// Spans.

#[test]
fn a_span_takes_the_earlier_instant_of_a_fold() {
    let tz = zone_of("America/New_York");
    let span =
        Window::of_span(local("2024-11-03T01:30"), local("2024-11-03 02:30:00"), tz).unwrap();
    assert_eq!(span.start_utc, utc("2024-11-03T05:30:00Z"));
    assert_eq!(span.end_utc, utc("2024-11-03T07:30:00Z"));
    assert_eq!(span.date, None);
}

#[test]
fn a_time_in_a_gap_is_an_error_that_names_the_gap() {
    let tz = zone_of("America/New_York");
    let error = Window::of_span(local("2024-03-10T02:30"), local("2024-03-10T04:00"), tz);
    assert_eq!(
        error.unwrap_err().to_string(),
        "the local time 2024-03-10 02:30:00 does not exist in America/New_York: the clock went \
         from 2024-03-10 02:00:00 to 2024-03-10 03:00:00, so choose a time outside of this gap"
    );
    let apia = Window::of_span(
        local("2011-12-29T12:00"),
        local("2011-12-30T12:00"),
        zone_of("Pacific/Apia"),
    );
    assert!(matches!(apia, Err(WindowError::Gap { .. })));
    assert!(Window::of_span(local("2024-03-10T01:59:59"), local("2024-03-10T03:00"), tz).is_ok());
}

#[test]
fn a_span_of_exactly_one_day_has_its_date() {
    let tz = zone_of("Asia/Seoul");
    let span = Window::of_span(local("2022-04-18T00:00"), local("2022-04-19T00:00"), tz).unwrap();
    assert_eq!(span, day("Asia/Seoul", "2022-04-18"));
    let two = Window::of_span(local("2022-04-18T00:00"), local("2022-04-20T00:00"), tz).unwrap();
    assert_eq!(two.date, None);
    let shifted = Window::of_span(local("2022-04-18T00:01"), local("2022-04-19T00:01"), tz);
    assert_eq!(shifted.unwrap().date, None);
}

#[test]
fn an_empty_span_is_an_error() {
    let at = local("2022-04-18T09:00");
    let error = Window::of_span(at, at, Tz::UTC).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the span from 2022-04-18 09:00:00 to 2022-04-18 09:00:00 in UTC is empty: its end must \
         lie after its start"
    );
}

#[test]
fn dates_are_inclusive_bounds() {
    let tz = zone_of("America/Sao_Paulo");
    let bound = |text| parse_instant(text).unwrap();
    let one = Window::of_bounds(bound("2018-11-04"), bound("2018-11-04"), tz).unwrap();
    assert_eq!(one, day("America/Sao_Paulo", "2018-11-04"));
    let mixed = Window::of_bounds(bound("2018-11-04"), bound("2018-11-04T12:00"), tz).unwrap();
    assert_eq!((mixed.length().num_hours(), mixed.date), (11, None));
    let two = Window::of_bounds(bound("2018-11-03"), bound("2018-11-04"), tz).unwrap();
    assert_eq!((two.length().num_hours(), two.date), (47, None));
    let backwards = Window::of_bounds(bound("2018-11-05"), bound("2018-11-03"), tz);
    assert!(matches!(backwards, Err(WindowError::EmptySpan { .. })));
    let apia = zone_of("Pacific/Apia");
    let skipped = Window::of_bounds(bound("2011-12-29"), bound("2011-12-30"), apia);
    assert!(matches!(skipped, Err(WindowError::SkippedDate { .. })));
    let over = Window::of_bounds(bound("2011-12-29"), bound("2011-12-31"), apia).unwrap();
    assert_eq!(over.length().num_hours(), 48);
}

// Hours.

#[test]
fn the_hours_cover_the_window_with_its_margins() {
    let window = day("Asia/Seoul", "2022-04-18");
    let hour = TimeDelta::hours(1);
    let hours = window.hours(hour, hour);
    assert_eq!(hours.first.start(), utc("2022-04-17T14:00:00Z"));
    assert_eq!(hours.last.start(), utc("2022-04-18T15:00:00Z"));
    assert_eq!(hours.len(), 26);
    assert_eq!(hours.iter().count(), 26);
    assert_eq!(hours.iter().next_back(), Some(hours.last));
    assert_eq!(window.hours(TimeDelta::zero(), TimeDelta::zero()).len(), 24);
    assert_eq!(window.hours(-hour, -hour).len(), 24);
    assert_eq!(window.hours(TimeDelta::MAX, TimeDelta::zero()).last, hours.last.prev());
}

#[test]
fn zones_with_half_hours_touch_one_hour_more() {
    let hours = day("Asia/Kolkata", "2022-04-18").hours(TimeDelta::zero(), TimeDelta::zero());
    assert_eq!(hours.first.start(), utc("2022-04-17T18:00:00Z"));
    assert_eq!(hours.last.start(), utc("2022-04-18T18:00:00Z"));
    assert_eq!(hours.len(), 25);
}

#[test]
fn a_range_grows_by_an_hour_at_either_end() {
    let mut hours = day("UTC", "2022-01-01").hours(TimeDelta::zero(), TimeDelta::zero());
    assert_eq!(hours.extend_back().start(), utc("2021-12-31T23:00:00Z"));
    assert_eq!(hours.extend_ahead().start(), utc("2022-01-02T00:00:00Z"));
    assert_eq!(hours.len(), 26);
    assert!(hours.contains(hours.last) && !hours.contains(hours.last.next()));
    let none = HourRange { first: hours.last, last: hours.first };
    assert!(none.is_empty() && none.iter().next().is_none());
}

#[test]
fn hours_outside_the_calendar_saturate() {
    let last = Hour::containing(DateTime::<Utc>::MAX_UTC);
    assert_eq!(last.next(), last);
    let first = Hour::containing(DateTime::<Utc>::MIN_UTC);
    assert_eq!(first.prev(), first);
    assert!(first.start() < last.start());
    assert_eq!(Hour::of_calendar(2022, 2, 30, 0), None);
    assert_eq!(Hour::of_calendar(2022, 2, 28, 24), None);
    assert_eq!(Hour::of_calendar(1969, 12, 31, 23).unwrap().next().start().timestamp(), 0);
}

// What people type.

#[test]
fn only_exact_names_of_zones_are_taken() {
    assert_eq!(parse_zone("Asia/Seoul"), Ok(Tz::Asia__Seoul));
    assert_eq!(parse_zone("UTC"), Ok(Tz::UTC));
    let cases = [
        ("asia/seoul", "did you mean Asia/Seoul?"),
        ("Seoul", "did you mean Asia/Seoul?"),
        ("KST", "did you mean Asia/Seoul?"),
        ("Asia/Soul", "did you mean Asia/Seoul?"),
        ("Asia/Seol", "did you mean Asia/Seoul?"),
        ("seuol", "did you mean Asia/Seoul?"),
        ("New York", "did you mean America/New_York?"),
        ("America/New-York", "did you mean America/New_York?"),
        ("Europe/Berln", "did you mean Europe/Berlin?"),
        ("utc", "did you mean UTC?"),
        ("pst", "did you mean America/Los_Angeles or Asia/Manila?"),
    ];
    for (typed, expected) in cases {
        let message = parse_zone(typed).unwrap_err().to_string();
        assert_eq!(message, format!("unknown time zone \"{typed}\": {expected}"));
    }
}

#[test]
fn offsets_are_no_zones_and_suggest_none() {
    for typed in ["+09:00", "UTC+9", "GMT+9", "GMT-9", "09:00", "Xyz", "local", "", "UTC -9"] {
        let error = parse_zone(typed).unwrap_err();
        let WindowError::UnknownZone { ref suggestions, .. } = error else { panic!("{error}") };
        assert!(suggestions.is_empty(), "{typed}: {suggestions:?}");
        assert!(error.to_string().contains("give an IANA name such as Asia/Seoul"), "{error}");
    }
}

#[test]
fn a_hostile_zone_name_is_escaped_in_its_message() {
    let message = parse_zone("\u{1b}[31m\u{202e}\n").unwrap_err().to_string();
    assert!(message.chars().all(|c| c != '\u{1b}' && c != '\u{202e}' && c != '\n'), "{message:?}");
    assert!(parse_zone(&"x".repeat(1_000_000)).is_err());
}

#[test]
fn every_meant_name_exists() {
    for (name, meant) in super::name::MEANT {
        assert!(name.parse::<Tz>().is_err(), "{name}");
        assert!(meant.iter().all(|name| name.parse::<Tz>().is_ok()), "{name}");
    }
}

#[test]
fn today_and_yesterday_are_those_of_the_zone() {
    let seoul = zone_of("Asia/Seoul");
    let now = utc("2022-04-17T15:00:00Z");
    assert_eq!(parse_day("today", now, seoul), Ok(date("2022-04-18")));
    assert_eq!(parse_day("Yesterday", now, seoul), Ok(date("2022-04-17")));
    assert_eq!(parse_day("today", now, Tz::UTC), Ok(date("2022-04-17")));
    assert_eq!(parse_day("2022-04-18", now, seoul), Ok(date("2022-04-18")));
    let apia = zone_of("Pacific/Apia");
    let new_years_eve = utc("2011-12-30T12:00:00Z");
    assert_eq!(parse_day("today", new_years_eve, apia), Ok(date("2011-12-31")));
    assert_eq!(parse_day("yesterday", new_years_eve, apia), Ok(date("2011-12-29")));
}

#[test]
fn days_have_one_spelling() {
    let parse = |text: &str| parse_day(text, utc("2022-04-18T00:00:00Z"), Tz::UTC);
    for text in
        ["", "2022-4-18", "22-04-18", "2022/04/18", " 2022-04-18", "2022-04-18T00:00", "２０"]
    {
        assert_eq!(parse(text), Err(WindowError::NotADate { text: text.to_string() }));
    }
    for text in ["2022-02-30", "2022-13-01", "2023-02-29", "2022-00-10"] {
        assert_eq!(parse(text), Err(WindowError::NoSuchDate { text: text.to_string() }));
    }
    assert_eq!(parse("2024-02-29"), Ok(date("2024-02-29")));
}

#[test]
fn instants_are_dates_or_local_times() {
    assert_eq!(parse_instant("2022-04-18"), Ok(Bound::Date(date("2022-04-18"))));
    let half_past = date("2022-04-18").and_hms_opt(9, 30, 0).unwrap();
    for text in ["2022-04-18T09:30", "2022-04-18 09:30", "2022-04-18T09:30:00"] {
        assert_eq!(parse_instant(text), Ok(Bound::Time(half_past)));
    }
    for text in [
        "",
        "09:30",
        "2022-04-18T",
        "2022-04-18T9:30",
        "2022-04-18T24:00",
        "2022-04-18T09:60",
        "2022-04-18T09:30Z",
        "2022-04-18T09:30+09:00",
        "2022-04-18T09:30:15.5",
        "2022-04-18x",
        "2022-02-30x",
        "2022-04-1８",
    ] {
        assert_eq!(parse_instant(text), Err(WindowError::NotATime { text: text.to_string() }));
    }
    for text in ["2022-02-30", "2022-02-30T09:30"] {
        assert_eq!(parse_instant(text), Err(WindowError::NoSuchDate { text: text.to_string() }));
    }
}

// What people read.

#[test]
fn windows_are_described_for_humans() {
    assert_eq!(
        day("Asia/Seoul", "2022-04-18").describe(),
        "2022-04-18 00:00 +09:00 to 2022-04-19 00:00 +09:00 (24 h)"
    );
    assert_eq!(
        day("Australia/Lord_Howe", "2024-04-07").describe(),
        "2024-04-07 00:00 +11:00 to 2024-04-08 00:00 +10:30 (24 h 30 min)"
    );
    let lengths =
        [(0, "0 s"), (59, "59 s"), (3600, "1 h"), (5415, "1 h 30 min 15 s"), (-60, "-1 min")];
    for (seconds, text) in lengths {
        assert_eq!(describe_length(TimeDelta::seconds(seconds)), text);
    }
}

// Laws.

/// Seconds UTC of every change of the zone from 1970 to the end of 2037.
fn changes(tz: Tz) -> Vec<i64> {
    let until_s = utc("2038-01-01T00:00:00Z").timestamp();
    let step_s = 5 * 86_400;
    let mut changes = Vec::new();
    for at_s in (0..until_s).step_by(step_s as usize) {
        if offset_s(tz, at_s) != offset_s(tz, at_s + step_s) {
            let offsets = offsets_between(at_s, at_s + step_s, tz);
            changes.extend(offsets.into_iter().skip(1).map(|(at_s, _)| at_s));
        }
    }
    changes
}

/// Every zone with its changes; of zones that share them all (old names, mostly) only the first.
static ZONES: LazyLock<Vec<(Tz, Vec<i64>)>> = LazyLock::new(|| {
    let mut known = HashSet::new();
    let zones = TZ_VARIANTS.iter().map(|&tz| (tz, changes(tz)));
    zones.filter(|(tz, changes)| known.insert((offset_s(*tz, 0), changes.clone()))).collect()
});

/// The first instant by walking over minutes: it lies in the minute before the one returned.
fn first_minute_by_walking(date: NaiveDate, tz: Tz) -> i64 {
    let midnight_s = date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp();
    let mut at_s = midnight_s - 26 * 3600;
    loop {
        let shown = DateTime::from_timestamp(at_s, 0).unwrap().with_timezone(&tz).date_naive();
        if shown >= date {
            return at_s;
        }
        at_s += 60;
    }
}

/// The longest day of a zone since 1970. Stations on the ice went from one zone to another: back by
/// seven hours at Vostok in 1994, by three hours at Casey and Rothera.
fn longest_day(tz: Tz) -> TimeDelta {
    TimeDelta::hours(if tz.name().starts_with("Antarctica/") { 31 } else { 26 })
}

/// Days around `date` follow one another without a hole and without an overlap.
fn check_tiling(date: NaiveDate, tz: Tz) {
    let mut end: Option<DateTime<Utc>> = None;
    for day in date.iter_days().take(5) {
        match Window::of_day(day, tz) {
            Ok(window) => {
                assert!(end.is_none_or(|end| end == window.start_utc), "{tz} {day}");
                let length = window.length();
                assert!(length > TimeDelta::zero(), "{tz} {day}");
                assert!(length <= longest_day(tz), "{tz} {day}: {length}");
                assert_eq!(date_at(window.start_utc, tz), day, "{tz}");
                let last = window.end_utc - TimeDelta::nanoseconds(1);
                assert_eq!(date_at(last, tz), day, "{tz}");
                end = Some(window.end_utc);
            }
            Err(WindowError::SkippedDate { .. }) => {}
            Err(error) => panic!("{tz} {day}: {error}"),
        }
    }
}

#[test]
fn days_tile_time_around_every_change_of_every_zone() {
    let (mut seen, mut walked) = (0, 0);
    for &(tz, ref changes) in ZONES.iter() {
        for &at_s in changes {
            let changed = DateTime::from_timestamp(at_s, 0).unwrap().date_naive();
            let from = changed - TimeDelta::days(2);
            if from < date("1970-01-01") {
                continue;
            }
            check_tiling(from, tz);
            seen += 1;
            // Walking costs thousands of look-ups, so that a sample must do.
            if seen % 97 == 0 {
                for day in from.iter_days().take(5) {
                    let exact_s = first_instant(day, tz).timestamp();
                    let minute_s = first_minute_by_walking(day, tz);
                    assert!(minute_s - 60 < exact_s && exact_s <= minute_s, "{tz} {day}");
                    walked += 1;
                }
            }
        }
    }
    assert!(seen > 10_000 && walked > 500, "{seen} changes, {walked} days walked");
}

#[test]
fn no_zone_changes_twice_within_48_hours() {
    // The one fact that the search rests on, looked at every six hours around each change.
    for &(tz, ref changes) in ZONES.iter() {
        for pair in changes.windows(2) {
            assert!(pair[1] - pair[0] > 48 * 3600, "{tz} {pair:?}");
        }
        for &at_s in changes {
            let (before, after) = (offset_s(tz, at_s - 1), offset_s(tz, at_s));
            for hour in (1..=48).step_by(6).chain([48]) {
                assert_eq!(offset_s(tz, at_s - hour * 3600), before, "{tz} {at_s}");
                assert_eq!(offset_s(tz, at_s + hour * 3600), after, "{tz} {at_s}");
            }
        }
    }
}

fn any_zone() -> impl Strategy<Value = Tz> {
    prop::sample::select(&TZ_VARIANTS[..])
}

/// Any second of 1970 to 2037, half of them near a change of the zone.
fn zone_and_second() -> impl Strategy<Value = (Tz, i64)> {
    let anywhere = 0..2_145_916_800i64;
    let near = (any::<prop::sample::Index>(), -100_000..100_000i64);
    let zone = prop::sample::select(ZONES.as_slice());
    (zone, anywhere, near, any::<bool>()).prop_map(|((tz, changes), anywhere, near, is_near)| {
        let at_s = match is_near && !changes.is_empty() {
            true => near.0.get(&changes) + near.1,
            false => anywhere,
        };
        (tz, at_s.max(200_000))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_days_of_any_zone_tile_time(tz in any_zone(), day in 3..24_800i64) {
        check_tiling(date("1970-01-01") + TimeDelta::days(day), tz);
    }

    #[test]
    fn local_times_mean_what_chrono_says((tz, local_s) in zone_and_second()) {
        use chrono::{MappedLocalTime, TimeZone};
        let local = DateTime::from_timestamp(local_s, 0).unwrap().naive_utc();
        let ours = local_to_utc(local, tz);
        let quick_s = local_to_utc_secs(local_s, tz);
        match tz.from_local_datetime(&local) {
            MappedLocalTime::Single(only) => {
                prop_assert_eq!(ours, Local::Once(only.to_utc()));
                prop_assert_eq!(quick_s, only.timestamp());
            }
            MappedLocalTime::Ambiguous(a, b) => {
                let (first, second) = (a.to_utc().min(b.to_utc()), a.to_utc().max(b.to_utc()));
                prop_assert_eq!(ours, Local::Twice { first, second });
                prop_assert_eq!(quick_s, first.timestamp());
            }
            MappedLocalTime::None => {
                let Local::Never { gap_start, gap_end } = ours else {
                    return Err(TestCaseError::fail(format!("{tz} {local}: {ours:?}")));
                };
                prop_assert!(gap_start <= local && local < gap_end);
                let shown = DateTime::from_timestamp(quick_s, 0).unwrap().with_timezone(&tz);
                prop_assert_eq!(shown.naive_local(), local + (gap_end - gap_start));
            }
        }
    }

    #[test]
    fn a_local_clock_shows_what_the_zone_shows(
        (tz, at_s) in zone_and_second(),
        length_s in 0..40_000_000i64,
        away_s in prop_oneof![-200_000..200_000i64, -3_000_000_000..3_000_000_000i64],
        fraction_us in 0..1_000_000i64,
    ) {
        let clock = LocalClock::new(tz, at_s * 1_000_000, (at_s + length_s) * 1_000_000);
        for ts_s in [at_s, at_s + away_s, at_s + length_s + away_s, at_s + length_s / 2] {
            let expected = (ts_s + offset_s(tz, ts_s)) * 1_000_000 + fraction_us;
            prop_assert_eq!(clock.to_local_us(ts_s * 1_000_000 + fraction_us), expected);
        }
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in any::<String>(), tail in "2022-04-1[0-9].{0,12}") {
        for text in [text, tail] {
            let _ = parse_zone(&text);
            let _ = parse_instant(&text);
            let _ = parse_day(&text, DateTime::<Utc>::UNIX_EPOCH, Tz::UTC);
        }
    }

    #[test]
    fn any_instant_has_an_hour_and_a_date(at_s in any::<i64>(), tz in any_zone()) {
        let clock = LocalClock::new(tz, at_s, at_s);
        let _ = (clock.to_local_us(i64::MAX), clock.to_local_us(i64::MIN), clock.to_local_us(at_s));
        if let Some(instant) = DateTime::from_timestamp(at_s % 1_000_000_000_000, 0) {
            let hour = Hour::containing(instant);
            prop_assert!(hour.start() <= instant && instant < hour.next().start());
            date_at(instant, tz);
        }
    }
}
