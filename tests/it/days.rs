//! Which day is which: days of every length, dates that never were, windows, ranges, and days
//! without records.

use serde_json::json;

use crate::place::{Place, key};

/// A day of a zone, its first instant and the first instant behind it, worked out with another
/// implementation of the zone data.
struct Day {
    zone: &'static str,
    date: &'static str,
    start_utc: &'static str,
    end_utc: &'static str,
    hours: f64,
}

const fn day(
    zone: &'static str,
    date: &'static str,
    start_utc: &'static str,
    end_utc: &'static str,
    hours: f64,
) -> Day {
    Day { zone, date, start_utc, end_utc, hours }
}

const DAYS: [Day; 9] = [
    day("Asia/Pyongyang", "2015-08-14", "2015-08-13T15:00:00Z", "2015-08-14T15:30:00Z", 24.5),
    day("Asia/Pyongyang", "2018-05-04", "2018-05-03T15:30:00Z", "2018-05-04T15:00:00Z", 23.5),
    // There is no midnight: the day begins at 01:00.
    day("America/Sao_Paulo", "2018-11-04", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z", 23.0),
    day("Australia/Lord_Howe", "2024-04-07", "2024-04-06T13:00:00Z", "2024-04-07T13:30:00Z", 24.5),
    day("Antarctica/Troll", "2024-03-31", "2024-03-31T00:00:00Z", "2024-03-31T22:00:00Z", 22.0),
    // There are two midnights: the first one counts.
    day("America/Havana", "2022-11-06", "2022-11-06T04:00:00Z", "2022-11-07T05:00:00Z", 25.0),
    // Midnight is reached, then the clock goes back to 23:01.
    day("America/St_Johns", "2010-11-07", "2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z", 25.0),
    day("America/St_Johns", "2010-11-06", "2010-11-06T02:30:00Z", "2010-11-07T02:30:00Z", 24.0),
    // The day before the one that Samoa skipped ends where the day after it begins.
    day("Pacific/Apia", "2011-12-29", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z", 24.0),
];

fn micros(time_utc: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(time_utc).unwrap().timestamp_micros()
}

fn utc(us: i64) -> String {
    let time = chrono::DateTime::from_timestamp_micros(us).unwrap();
    time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

/// Puts one record at each of these instants into the object of its hour.
fn put_records(place: &Place, instants: &[i64]) {
    for (at, &us) in instants.iter().enumerate() {
        let time = utc(us);
        let record = format!("{{\"n\":{at},\"ts\":\"{time}\"}}");
        place.put(&key("s", &time[..19], at as u32), record);
    }
}

#[test]
fn days_of_22_to_25_hours_hold_what_lies_in_them_and_have_a_bucket_for_each_hour_begun() {
    for Day { zone, date, start_utc, end_utc, hours } in DAYS {
        let place = Place::new();
        let (start, end) = (micros(start_utc), micros(end_utc));
        put_records(&place, &[start - 1, start, (start + end) / 2, end - 1, end]);
        place.run(&format!("fetch --day {date} --tz {zone} --export records,aggregates")).ends(0);
        let manifest = place.manifest(date);
        assert_eq!((&*manifest.window.start_utc, &*manifest.window.end_utc), (start_utc, end_utc));
        assert_eq!(manifest.window.hours, hours, "{zone} {date}");
        let counts = (manifest.records.before, manifest.records.day, manifest.records.after);
        assert_eq!(counts, (1, 3, 1), "{zone} {date}");
        assert_eq!(place.records(date).column("n"), [1, 2, 3], "{zone} {date}");

        let path = format!("aggregates/hourly/local_date={date}/part-00000.parquet");
        let hourly = place.table(&path);
        let buckets: Vec<i64> =
            hourly.column("bucket_utc").iter().map(|us| us.as_i64().unwrap()).collect();
        let wanted: Vec<i64> =
            (0..hours.ceil() as i64).map(|hour| start + hour * 3_600_000_000).collect();
        assert_eq!(buckets, wanted, "{zone} {date}");
        let records: i64 = hourly.column("records").iter().map(|n| n.as_i64().unwrap()).sum();
        assert_eq!(records, 3, "{zone} {date}");
        assert_eq!(hourly.at("records", 0), 1);
        assert_eq!(hourly.at("records", buckets.len() - 1), 1, "{zone} {date}");
    }
}

#[test]
fn days_before_1990_where_no_record_can_have_its_time_are_planned_with_their_length() {
    let days = [
        ("1987-05-10", "1987-05-09T15:00:00Z", "1987-05-10T14:00:00Z", 23),
        ("1988-10-09", "1988-10-08T14:00:00Z", "1988-10-09T15:00:00Z", 25),
    ];
    let place = Place::new();
    put_records(&place, &[micros("2022-04-18T00:00:00Z")]);
    for (date, start_utc, end_utc, hours) in days {
        let ran = place.run(&format!("plan --day {date} --tz Asia/Seoul --json")).ends(0);
        let plan: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(plan["window"]["start_utc"], start_utc);
        assert_eq!(plan["window"]["end_utc"], end_utc);
        // One hour of look-back, one of look-ahead.
        assert_eq!(plan["listing"]["hours"], hours + 2);
    }
}

#[test]
fn local_times_of_a_fold_come_twice_and_utc_tells_them_apart() {
    // 01:30 in New York, before and after the clock goes back.
    let place = Place::new();
    let (first, second) = (micros("2022-11-06T05:30:00Z"), micros("2022-11-06T06:30:00Z"));
    put_records(&place, &[first, second]);
    let line = "fetch --day 2022-11-06 --tz America/New_York --export records,aggregates";
    place.run(line).ends(0);
    let records = place.records("2022-11-06");
    assert_eq!(records.column("ts_utc"), [first, second]);
    let local = micros("2022-11-06T01:30:00Z");
    assert_eq!(records.column("ts_local"), [local, local]);
    let hourly = place.table("aggregates/hourly/local_date=2022-11-06/part-00000.parquet");
    assert_eq!(hourly.rows(), 25);
    assert_eq!(hourly.at("bucket_local", 1), hourly.at("bucket_local", 2));
}

#[test]
fn a_date_that_the_zone_skipped_is_wrong_usage_and_nothing_is_touched() {
    let place = Place::new();
    for command in ["fetch", "plan", "cat", "schema"] {
        let ran = place.run(&format!("{command} --day 2011-12-30 --tz Pacific/Apia"));
        let ran = ran.ends_and_says(2, &["Pacific/Apia skipped the date 2011-12-30"]);
        assert!(ran.stdout.is_empty());
    }
    assert!(!place.out().exists());
}

#[test]
fn a_range_over_a_skipped_date_does_the_other_days() {
    let place = Place::new();
    put_records(&place, &[micros("2011-12-29T12:00:00Z"), micros("2011-12-30T12:00:00Z")]);
    let line = "fetch --from 2011-12-29 --to 2011-12-31 --tz Pacific/Apia --export records";
    place.run(line).ends(0);
    assert_eq!(place.records("2011-12-29").column("n"), [0]);
    assert_eq!(place.records("2011-12-31").column("n"), [1]);
    assert_eq!(place.published().len(), 4);
}

#[test]
fn days_from_and_to_are_both_included_and_each_is_published_by_itself() {
    let place = Place::with_sample();
    let line = "fetch --from 2022-04-17 --to 2022-04-19 --tz Asia/Seoul --export records";
    // The worst of the days decides: the 17th is damaged.
    place.run(line).ends(3);
    for (day, rows) in [("2022-04-17", 1_571), ("2022-04-18", 5_079), ("2022-04-19", 1_469)] {
        assert_eq!(place.records(day).rows(), rows);
        assert_eq!(place.manifest(day).records.day, rows as u64);
    }
    place.assert_clean();
}

#[test]
fn a_window_of_hours_is_published_under_windows_and_holds_its_hours_alone() {
    let place = Place::with_sample();
    let line = "fetch --from 2022-04-18T11:00 --to 2022-04-18T13:30 --tz Asia/Seoul --by type \
        --metric value";
    place.run(line).ends(0);
    let folder = "windows/20220418T020000Z_20220418T043000Z";
    let manifest = place.manifest_at(&format!("{folder}/manifest.json"));
    assert_eq!(manifest.window.date, None);
    assert_eq!(manifest.window.hours, 2.5);
    let paths: Vec<String> = place.published().into_keys().collect();
    assert!(paths.iter().all(|path| path.starts_with(folder)), "{paths:?}");
    assert_eq!(paths.len(), 6);

    // The same rows as the whole day has in these hours.
    place.run("fetch --day 2022-04-18 --tz Asia/Seoul --by type --metric value").ends(0);
    let (start, end) = (micros("2022-04-18T02:00:00Z"), micros("2022-04-18T04:30:00Z"));
    let inside = |row: &Vec<serde_json::Value>| (start..end).contains(&row[0].as_i64().unwrap());
    let columns = ["ts_utc", "ts_local", "value", "type", "user_id", "session"];
    let mut of_day = place.records("2022-04-18").cells(&columns);
    of_day.retain(inside);
    let window = place.table(&format!("{folder}/records/part-00000.parquet"));
    assert_eq!(window.cells(&columns), of_day);
    // The whole hours of it have the same aggregates; the last bucket is short.
    let columns = ["bucket_utc", "type", "records", "value_sum", "value_p95"];
    let whole = |row: &Vec<serde_json::Value>| {
        (start..micros("2022-04-18T04:00:00Z")).contains(&row[0].as_i64().unwrap())
    };
    let mut of_day =
        place.table("aggregates/hourly/local_date=2022-04-18/part-00000.parquet").cells(&columns);
    let mut of_window =
        place.table(&format!("{folder}/aggregates/hourly/part-00000.parquet")).cells(&columns);
    assert_eq!(of_window.len(), 30);
    of_day.retain(whole);
    of_window.retain(whole);
    assert_eq!(of_day, of_window);
}

#[test]
fn a_window_that_is_exactly_one_day_is_that_day() {
    let place = Place::with_sample();
    let line = "fetch --from 2022-04-19T00:00 --to 2022-04-20T00:00 --tz Asia/Seoul \
        --export records";
    place.run(line).ends(0);
    assert_eq!(place.records("2022-04-19").rows(), 1_469);
    assert!(!place.out().join("windows").exists());
}

#[test]
fn a_day_without_objects_is_published_empty_and_says_where_the_nearest_are() {
    let place = Place::with_sample();
    let line = "fetch --day 2022-04-25 --tz Asia/Seoul --by type --metric value";
    let words = ["no records", "2022/04/19/15/ before the day"];
    place.run(line).ends_and_says(0, &words);
    let manifest = place.manifest("2022-04-25");
    assert_eq!((manifest.objects.listed, manifest.records.parsed), (0, 0));
    assert!(manifest.verdict.complete);
    let records = place.records("2022-04-25");
    assert_eq!((records.rows(), records.names()), (0, vec!["ts_utc".into(), "ts_local".into()]));
    place.run("fetch --day 2022-04-01 --tz Asia/Seoul").ends_and_says(0, &["2022/04/16/14/ after"]);
    place.run("plan --day 2022-04-25 --tz Asia/Seoul").ends_and_says(0, &["2022/04/19/15/"]);
}

#[test]
fn a_source_without_any_object_is_doubted() {
    let place = Place::new();
    let server = place.serve();
    let line = "fetch --day 2022-04-25 --tz Asia/Seoul";
    let words = ["holds no folders of years", "give the place that holds them"];
    place.run(line).ends_and_says(1, &words);
    place.s3_run(&server, line).ends_and_says(1, &words);
}

#[test]
fn a_day_whose_objects_hold_only_other_days_is_empty_and_counts_them() {
    let place = Place::new();
    let (before, after) = (micros("2022-04-17T14:30:00Z"), micros("2022-04-18T15:30:00Z"));
    put_records(&place, &[before, after]);
    place.run("fetch --day 2022-04-18 --tz Asia/Seoul").ends_and_says(0, &["no records"]);
    let manifest = place.manifest("2022-04-18");
    let counts = (manifest.records.before, manifest.records.day, manifest.records.after);
    assert_eq!(counts, (1, 0, 1));
    let hourly = place.table("aggregates/hourly/local_date=2022-04-18/part-00000.parquet");
    assert_eq!(json!(hourly.names()), json!(["bucket_utc", "bucket_local", "records"]));
}

#[test]
fn a_day_that_has_just_ended_is_provisional_and_complete() {
    let place = Place::new();
    let now = chrono::Utc::now().timestamp_micros();
    put_records(&place, &[now - 3 * 86_400_000_000]);
    // A day that goes on, wherever its midnight is.
    place.run("fetch --day today --tz UTC --export records").ends_and_says(0, &["provisional"]);
    let manifests = crate::place::files(&place.out().join("manifests"));
    let day = manifests.keys().next().unwrap().trim_end_matches(".json").to_string();
    let verdict = place.manifest(&day).verdict;
    assert!(verdict.complete, "freshness alone skips nothing");
    assert_eq!(verdict.state, rawcat::publish::State::Provisional);
}
