use chrono::{DateTime, NaiveDateTime};
use proptest::prelude::*;

use super::*;
use crate::layout::Layout;
use crate::window::{Local, local_to_utc};

fn text_in(text: &str, tz: Tz) -> Option<i64> {
    read_time(TimeValue::Text(text.as_bytes()), tz).map(|instant| instant.us)
}

fn text(text: &str) -> Option<i64> {
    text_in(text, Tz::UTC)
}

fn number(literal: &str) -> Option<i64> {
    let us = read_time(TimeValue::Number(literal.as_bytes()), Tz::UTC).map(|instant| instant.us);
    assert_eq!(text(literal), us, "text of a number reads like the number: {literal}");
    us
}

fn us(rfc_3339: &str) -> Option<i64> {
    Some(DateTime::parse_from_rfc3339(rfc_3339).expect("RFC 3339").timestamp_micros())
}

// Text.

#[test]
fn rfc_3339_reads_in_all_its_forms() {
    let expected = us("2022-04-17T15:00:00.123Z");
    for form in [
        "2022-04-17T15:00:00.123Z",
        "2022-04-17t15:00:00.123z",
        "2022-04-17 15:00:00.123Z",
        "2022-04-18T00:00:00.123+09:00",
        "2022-04-18T00:00:00.123+0900",
        "2022-04-18T00:00:00.123+09",
        "2022-04-17 10:00:00.123-05",
        "2022-04-17T15:00:00.123-00:00",
        "2022-04-17T15:00:00,123Z",
        "2022-04-17 15:00:00.123 UTC",
        "2022-04-17 15:00:00.123UTC",
        "2022-04-18 00:00:00.123 +0900",
        "2022-04-17T15:00:00.123",
        "2022-04-17 15:00:00,123",
        "2022-04-17T15:00:00.1230000000000000000001Z",
    ] {
        assert_eq!(text(form), expected, "{form}");
    }
    assert_eq!(text("2022-04-17T15:00Z"), us("2022-04-17T15:00:00Z"));
    assert_eq!(text("2022-04-17 15:00"), us("2022-04-17T15:00:00Z"));
}

#[test]
fn fractions_of_any_length_are_cut_off_toward_the_past() {
    let cases = [
        (".1", 100_000),
        (".12", 120_000),
        (".000001", 1),
        (".0000019", 1),
        (".999999999", 999_999),
        (".1234567890123", 123_456),
    ];
    for (fraction, expected) in cases {
        let read = text(&format!("2022-04-18T00:00:00{fraction}Z"));
        assert_eq!(read, us("2022-04-18T00:00:00Z").map(|us| us + expected), "{fraction}");
    }
}

#[test]
fn text_that_is_no_time_is_refused() {
    for form in [
        "",
        "2022",
        "2022-04-18",
        "2022-04-18T",
        "2022-04-18Z",
        "2022-04-18T24:00:00Z",
        "2022-04-18T23:60:00Z",
        "2022-04-18T23:59:61Z",
        "2022-04-18T23:59:61.000Z",
        "2022-04-31T00:00:00Z",
        "2022-00-18T00:00:00Z",
        "2022-13-18T00:00:00Z",
        "2022-04-00T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2022-04-18T00:00:00.Z",
        "2022-04-18T00:00:00.",
        "2022-04-18T00:00.5Z",
        "2022-04-18T00:00:0Z",
        "2022-04-18T00:00:00ZZ",
        "2022-04-18T00:00:00+24:00",
        "2022-04-18T00:00:00+09:60",
        "2022-04-18T00:00:00+9",
        "2022-04-18T00:00:00+9:00",
        "2022-04-18T00:00:00 09:00",
        "2022-04-18T00:00:00  Z",
        "2022-04-18T00:00:00 ",
        "2022-04-18T00:00:00 KST",
        "2022-04-18T00:00:00\u{2212}09:00",
        " 2022-04-18T00:00:00Z",
        "2022-04-18T00:00:00Z ",
        "2022-04-18_00:00:00Z",
        "2022/04/18 00:00:00",
        "20220418T000000Z",
        "20220418000000",
        "20220418",
        "+2022-04-18T00:00:00Z",
        "2022-4-18T00:00:00Z",
        "２０22-04-18T00:00:00Z",
        "Mon, 18 Apr 2022 00:00:00 GMT",
        "now",
    ] {
        assert_eq!(text(form), None, "{form}");
    }
}

#[test]
fn leap_days_are_those_of_the_calendar() {
    assert_eq!(text("2024-02-29T12:00:00Z"), us("2024-02-29T12:00:00Z"));
    assert_eq!(text("2000-02-29T12:00:00Z"), us("2000-02-29T12:00:00Z"));
    assert_eq!(text("2023-02-29T12:00:00Z"), None);
    assert_eq!(text("2100-02-29T12:00:00Z"), None);
}

#[test]
fn a_leap_second_is_clamped_and_said_so() {
    for form in ["2016-12-31T23:59:60Z", "2017-01-01T08:59:60.7+09:00", "2016-12-31T23:59:60"] {
        let instant = read_time(TimeValue::Text(form.as_bytes()), Tz::UTC).unwrap();
        assert_eq!(Some(instant.us), us("2016-12-31T23:59:59.999999Z"), "{form}");
        assert!(instant.leap_clamped);
    }
    let plain = read_time(TimeValue::Text(b"2016-12-31T23:59:59Z"), Tz::UTC).unwrap();
    assert!(!plain.leap_clamped);
}

#[test]
fn times_count_from_1990_until_2100_in_utc() {
    assert_eq!(text("1990-01-01T00:00:00Z"), Some(EARLIEST_US));
    assert_eq!(text("1989-12-31T23:59:59.999999Z"), None);
    assert_eq!(text("1989-12-31T20:00:00-04:00"), Some(EARLIEST_US));
    assert_eq!(text("1990-01-01T00:00:00+09:00"), None);
    assert_eq!(text("2099-12-31T23:59:59.9999999Z"), Some(LATEST_US - 1));
    assert_eq!(text("2100-01-01T00:00:00Z"), None);
    assert_eq!(text("2100-01-01T08:59:59.999999+09:00"), Some(LATEST_US - 1));
    assert_eq!(text("0001-01-01T00:00:00Z"), None);
    assert_eq!(text("9999-12-31T23:59:59Z"), None);
}

#[test]
fn text_without_an_offset_is_in_the_zone_of_the_field() {
    let new_york = Tz::America__New_York;
    assert_eq!(text_in("2022-04-18 00:00:00", Tz::Asia__Seoul), us("2022-04-17T15:00:00Z"));
    // The clock shows it twice: the earlier one.
    assert_eq!(text_in("2024-11-03 01:30:00", new_york), us("2024-11-03T05:30:00Z"));
    // The clock never shows it: 02:30 is half an hour after the change.
    assert_eq!(text_in("2024-03-10 02:30:00", new_york), us("2024-03-10T07:30:00Z"));
    assert_eq!(text_in("2024-03-10 03:30:00", new_york), us("2024-03-10T07:30:00Z"));
    // An offset in the text always wins.
    assert_eq!(text_in("2022-04-18T00:00:00Z", new_york), us("2022-04-18T00:00:00Z"));
    assert_eq!(text_in("1650207600", new_york), us("2022-04-17T15:00:00Z"));
}

// Numbers.

#[test]
fn the_unit_of_a_number_is_told_by_its_magnitude() {
    let expected = us("2022-04-18T00:20:34.567Z");
    for literal in [
        "1650241234.567",
        "1650241234567",
        "1650241234567000",
        "1650241234567000000",
        "1650241234567.0",
        "1.650241234567e9",
        "1.650241234567E+12",
        "1650241234567e-3",
        "0.001650241234567e12",
        "165024123456700000000000000000000000000000e-29",
        "1650241234.5670000000000000000000000000000000000000000000000",
        "1650241234.5670009999999999999999999999999999999",
    ] {
        assert_eq!(number(literal), expected, "{literal}");
    }
    assert_eq!(number("1650241234"), us("2022-04-18T00:20:34Z"));
    assert_eq!(number("700000000"), us("1992-03-07T20:26:40Z"));
    assert_eq!(number("1650241234567891234"), us("2022-04-18T00:20:34.567891Z"));
}

#[test]
fn decimals_are_exact_where_f64_is_not() {
    // The nearest f64 of this many ns is 128 away from it.
    assert_eq!(number("1650241234567890999"), Some(1_650_241_234_567_890));
    assert_eq!(number("1650241234567891000"), Some(1_650_241_234_567_891));
    assert_eq!(number("4102444799.999999"), Some(LATEST_US - 1));
    assert_eq!(number("4102444799.9999999999"), Some(LATEST_US - 1));
}

#[test]
fn numbers_outside_the_years_are_no_times() {
    for (first, last, after) in [
        ("631152000", "4102444799", "4102444800"),
        ("631152000000", "4102444799999", "4102444800000"),
        ("631152000000000", "4102444799999999", "4102444800000000"),
        ("631152000000000000", "4102444799999999999", "4102444800000000000"),
    ] {
        assert_eq!(number(first), Some(EARLIEST_US), "{first}");
        assert!(number(last).is_some_and(|us| us < LATEST_US && us > LATEST_US - 1_000_001));
        assert_eq!(number(after), None, "{after}");
    }
    for literal in [
        "0",
        "-0",
        "30",
        "-1650241234",
        "631151999",
        "631151999.999999",
        "631151999999",
        "631151999999999999",
        "20220418",
        "20220418093000",
        "16502412345",
        "1e400",
        "1e-400",
        "1e99999999999999999999999",
        "1650241234e9999999999999999999",
        "16502412345678912345678901234567890",
    ] {
        assert_eq!(number(literal), None, "{literal}");
    }
}

#[test]
fn text_that_is_not_spelled_like_a_json_number_is_no_number() {
    for form in [
        "+1650241234",
        "01650241234",
        " 1650241234",
        "1650241234 ",
        "1650241234.",
        ".165e10",
        "1650241234e",
        "1650241234e+",
        "1650241234e1.0",
        "1_650_241_234",
        "0x625D0000",
        "1650241234s",
        "1650241234.5.6",
        "1650241234-1",
        "NaN",
        "Infinity",
        "-",
        "e9",
        "00",
    ] {
        assert_eq!(text(form), None, "{form}");
    }
}

// Records.

fn object(key: &str) -> Option<ObjectTime> {
    ObjectTime::of_key(&Layout::default().read(key))
}

/// The event of a record whose time fields are these, as the job finds it.
fn event<'a>(
    rule: &TimeRule,
    candidates: impl IntoIterator<Item = (u16, TimeValue<'a>)>,
    object: Option<ObjectTime>,
) -> Result<Event, TimeProblem> {
    let mut unreadable = false;
    let found = candidates.into_iter().find_map(|(rank, value)| {
        let instant = read_time(value, rule.field_tz);
        unreadable |= instant.is_none();
        instant.map(|instant| (rank, instant))
    });
    rule.event(found, unreadable, object)
}

const NAMED: &str = "2022/04/17/15/s-1-2022-04-17-15-00-03-0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9.gz";

#[test]
fn the_first_field_that_reads_as_a_time_serves() {
    let rule = TimeRule::default();
    let candidates = [
        (0, TimeValue::Text(b"2022-04-18")),
        (3, TimeValue::Number(b"30")),
        (5, TimeValue::Text(b"2016-12-31T23:59:60Z")),
        (9, TimeValue::Number(b"1650241234")),
    ];
    let event = event(&rule, candidates, object(NAMED)).unwrap();
    assert_eq!(event.source, TimeSource::Field(5));
    assert_eq!(Some(event.us), us("2016-12-31T23:59:59.999999Z"));
    assert!(event.leap_clamped);
}

#[test]
fn a_record_without_a_time_takes_the_one_of_its_object() {
    let rule = TimeRule::default();
    let named = event(&rule, [(0, TimeValue::Text(b"soon"))], object(NAMED)).unwrap();
    assert_eq!(named.source, TimeSource::ObjectName);
    assert_eq!(Some(named.us), us("2022-04-17T15:00:03Z"));
    let by_hour = event(&rule, [], object("2022/04/17/15/data.json")).unwrap();
    assert_eq!(by_hour.source, TimeSource::PrefixHour);
    assert_eq!(Some(by_hour.us), us("2022-04-17T15:00:00Z"));
    assert_eq!(event(&rule, [], None), Err(TimeProblem::NoTime));
    assert_eq!(event(&rule, [(0, TimeValue::Number(b"1"))], None), Err(TimeProblem::NoTime));
}

#[test]
fn an_object_time_outside_the_years_is_none() {
    assert_eq!(object("1970/01/01/00/data.json"), None);
    assert_eq!(object("9999/01/01/00/data.json"), None);
    assert_eq!(object("data.json"), None);
}

#[test]
fn an_explicit_field_must_serve_unless_the_key_may() {
    let strict = TimeRule { field: Some("at".to_string()), ..TimeRule::default() };
    let good = [(0, TimeValue::Number(b"1650241234"))];
    let bad = [(0, TimeValue::Text(b"soon"))];
    assert_eq!(event(&strict, good, object(NAMED)).unwrap().source, TimeSource::Field(0));
    assert_eq!(event(&strict, [], object(NAMED)), Err(TimeProblem::FieldMissing));
    assert_eq!(event(&strict, bad, object(NAMED)), Err(TimeProblem::FieldUnreadable));
    let lenient = TimeRule { fallback_key: true, ..strict };
    assert_eq!(event(&lenient, bad, object(NAMED)).unwrap().source, TimeSource::ObjectName);
    assert_eq!(event(&lenient, [], object(NAMED)).unwrap().source, TimeSource::ObjectName);
    assert_eq!(event(&lenient, bad, None), Err(TimeProblem::FieldUnreadable));
    assert_eq!(event(&lenient, [], None), Err(TimeProblem::FieldMissing));
    assert_eq!(lenient.fields(), ["at"]);
}

#[test]
fn the_list_of_fields_names_each_one_once() {
    let unique: std::collections::HashSet<_> = TIME_FIELDS.iter().collect();
    assert_eq!(unique.len(), TIME_FIELDS.len());
    assert_eq!(TimeRule::default().fields(), TIME_FIELDS);
    let rank = |name: &str| TIME_FIELDS.iter().position(|field| *field == name).unwrap();
    assert!(rank("event_time") < rank("ts"));
    assert!(rank("ts") < rank("created_at"));
    assert!(rank("timestamp") < rank("@timestamp"));
    assert!(rank("created_at") < rank("sent_at"));
    assert!(rank("sent_at") < rank("received_at"));
}

// Laws; those about texts and numbers of any form are in `tests/it/times.rs`.

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_microsecond_reads_back_in_every_unit(
        us in EARLIEST_US..LATEST_US,
        finer in "[0-9]{0,20}",
        shift in -40..40i64,
    ) {
        let (s, below_s) = (us / 1_000_000, us % 1_000_000);
        let (ms, below_ms) = (us / 1000, us % 1000);
        prop_assert_eq!(number(&format!("{s}.{below_s:06}{finer}")), Some(us));
        prop_assert_eq!(number(&format!("{ms}.{below_ms:03}{finer}")), Some(us));
        prop_assert_eq!(number(&format!("{us}")), Some(us));
        prop_assert_eq!(number(&format!("{us}000")), Some(us));
        if !finer.is_empty() {
            prop_assert_eq!(number(&format!("{us}.{finer}")), Some(us));
            prop_assert_eq!(number(&format!("{us}999.{finer}")), Some(us));
        }
        // The point moved, and the exponent moved back: seconds again.
        let digits = format!("{us}");
        let moved = match shift {
            0..=39 => format!("{digits}{}e{}", "0".repeat(shift as usize), -6 - shift),
            _ => {
                let zeros = "0".repeat(-shift as usize);
                format!("0.{zeros}{digits}e{}", digits.len() as i64 - 6 - shift)
            }
        };
        prop_assert_eq!(number(&moved), Some(us), "{}", moved);
        let instant = DateTime::from_timestamp_micros(us).unwrap();
        for pattern in ["%Y-%m-%dT%H:%M:%S%.6fZ", "%Y-%m-%d %H:%M:%S%.9f+00:00"] {
            prop_assert_eq!(text(&instant.format(pattern).to_string()), Some(us));
        }
    }

    #[test]
    fn naive_text_agrees_with_the_zone(
        us in EARLIEST_US + 86_400_000_000..LATEST_US - 86_400_000_000,
        zone in prop::sample::select(vec![
            Tz::Asia__Seoul, Tz::America__New_York, Tz::Australia__Lord_Howe, Tz::Pacific__Apia,
            Tz::America__St_Johns, Tz::Antarctica__Troll, Tz::Etc__UTC, Tz::Europe__London,
        ]),
    ) {
        let local: NaiveDateTime = DateTime::from_timestamp_micros(us).unwrap().naive_utc();
        let read = text_in(&local.format("%Y-%m-%dT%H:%M:%S%.6f").to_string(), zone);
        match local_to_utc(local, zone) {
            Local::Once(utc) | Local::Twice { first: utc, .. } => {
                prop_assert_eq!(read, Some(utc.timestamp_micros()));
            }
            Local::Never { gap_start, gap_end } => {
                let shown = DateTime::from_timestamp_micros(read.unwrap()).unwrap();
                let shown = shown.with_timezone(&zone).naive_local();
                prop_assert_eq!(shown, local + (gap_end - gap_start));
            }
        }
    }

    #[test]
    fn no_value_makes_the_reader_panic(wild in any::<String>(), near in "[-0-9.eE+:TZ ]{0,40}") {
        for tz in [Tz::UTC, Tz::Asia__Seoul] {
            for value in [&wild, &near] {
                for value in [TimeValue::Text(value.as_bytes()), TimeValue::Number(value.as_bytes())] {
                    let read = read_time(value, tz);
                    prop_assert!(read.is_none_or(|instant| is_event_time(instant.us)));
                }
            }
        }
    }
}
