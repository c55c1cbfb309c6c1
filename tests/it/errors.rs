//! Records that Firehose could not deliver: `errors` counts and prints them, `fetch --recover` puts them
//! into their day.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::place::{Place, Table, gzip, key};

const DAY: &str = "2022-04-18";
const FETCH: &str = "fetch --day 2022-04-18 --tz Asia/Seoul --export records";
const ERRORS: &str = "errors --day 2022-04-18 --tz Asia/Seoul";
/// 2022-04-18T12:34:56 in Seoul, in ms.
const NOON: i64 = 1_650_252_896_000;

/// An error record as Firehose writes it where Lambda fails.
fn failed(data: impl AsRef<[u8]>, arrival_ms: i64) -> String {
    let data = STANDARD.encode(data);
    format!(
        r#"{{"attemptsMade":4,"arrivalTimestamp":{arrival_ms},"errorCode":"Lambda.FunctionTimedOut","errorMessage":"The Lambda function timed out.","attemptEndingTimestamp":{},"rawData":"{data}","lambdaARN":"arn:aws:lambda:x:y:z"}}"#,
        arrival_ms + 60_000
    ) + "\n"
}

/// A day with one delivered record and error output beside the years, in front of hours and in one.
fn day_with_errors() -> Place {
    let place = Place::new();
    place.put(&key("s", "2022-04-18T03:00:00", 1), r#"{"id":1,"ts":"2022-04-18T03:00:01Z"}"#);
    let lambda = format!(
        "{}{}{}",
        failed(r#"{"id":2,"ts":"2022-04-18T03:34:00Z"}"#, NOON),
        failed(r#"{"id":3}"#, NOON),
        failed(r#"{"id":4,"ts":"2022-04-17T03:34:00Z"}"#, NOON + 3_600_000),
    );
    place.put(&format!("processing-failed/{}", key("s", "2022-04-18T03:34:00", 2)), gzip(lambda));
    let conversion = format!(
        r#"{{"attemptsMade":1,"arrivalTimestamp":{NOON},"lastErrorCode":"DataFormatConversion.ParseError","lastErrorMessage":"bad \u001b[31m schema","rawData":"{}","sequenceNumber":"49","subSequenceNumber":null,"dataCatalogTable":null}}"#,
        STANDARD.encode(r#"{"id":5,"ts":1650252896}{"id":6,"ts":1650252897}"#)
    );
    place.put("2022/04/18/03/format-conversion-failed/x", conversion);
    // Another day's.
    let other = format!("processing-failed/{}", key("s", "2022-04-20T03:34:00", 3));
    place.put(&other, failed(r#"{"id":9}"#, NOON + 2 * 86_400_000));
    place
}

#[test]
fn errors_are_counted_by_hour_and_cause_wherever_they_lie() {
    let place = day_with_errors();
    let ran = place.run(ERRORS).ends_and_says(
        0,
        &[
            "2022-04-18 in Asia/Seoul",
            "04-18 12:00  format-conversion-failed  DataFormatConversion.ParseError        1",
            "04-18 12:00  processing-failed         Lambda.FunctionTimedOut                2",
            "04-18 13:00  processing-failed         Lambda.FunctionTimedOut                1",
            "4 records (",
            "in 2 objects",
            "Lambda.FunctionTimedOut: The Lambda function timed out.",
        ],
    );
    assert!(!ran.stdout.contains('\u{1b}'), "{}", ran.stdout);
    let found: Value =
        serde_json::from_str(&place.run(&format!("{ERRORS} --json")).stdout).unwrap();
    assert_eq!((&found["objects"], &found["records"]), (&json!(2), &json!(4)));
    assert_eq!(found["failed"][1]["hour_utc"], "2022-04-18T03:00:00Z");
    assert_eq!(found["failed"][1]["records"], 2);
    // No word of errors on a day without them.
    let nothing = place.run("errors --day 2022-04-25 --tz Asia/Seoul");
    nothing.ends_and_says(0, &["nothing failed on 2022-04-25"]);
}

#[test]
fn raw_prints_what_the_stream_got_to_be_sent_again() {
    let place = day_with_errors();
    let ran = place.run(&format!("{ERRORS} --raw")).ends(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            r#"{"id":5,"ts":1650252896}{"id":6,"ts":1650252897}"#,
            r#"{"id":2,"ts":"2022-04-18T03:34:00Z"}"#,
            r#"{"id":3}"#,
            r#"{"id":4,"ts":"2022-04-17T03:34:00Z"}"#,
        ]
    );
    place.run(&format!("{ERRORS} --raw --json")).ends_and_says(2, &["leave out one of the two"]);
}

#[test]
fn recovered_records_are_in_their_day_and_marked() {
    let place = day_with_errors();
    place.run(FETCH).ends(0);
    assert_eq!(place.records(DAY).column("id"), [json!(1)]);
    assert!(!place.records(DAY).names().contains(&"recovered".to_string()));
    let excluded = &place.manifest(DAY).objects.excluded[0];
    assert_eq!((&*excluded.reason, excluded.objects), ("error output of firehose", 1));

    place.run(&format!("{FETCH} --recover --provenance")).ends_and_says(0, &["5 of the day"]);
    let records = place.records(DAY);
    let conversion = "format-conversion-failed";
    assert_eq!(
        json!(records.cells(&["id", "recovered", "ts_utc"])),
        json!([
            [5, conversion, 1_650_252_896_000_000_i64],
            [6, conversion, 1_650_252_897_000_000_i64],
            [1, null, 1_650_250_801_000_000_i64],
            [2, "processing-failed", 1_650_252_840_000_000_i64],
            // It has no time: that of its arrival.
            [3, "processing-failed", NOON * 1000],
        ])
    );
    let manifest = place.manifest(DAY);
    let counts = manifest.records;
    assert_eq!((counts.parsed, counts.day, counts.before, counts.recovered), (6, 5, 1, 4));
    assert_eq!(manifest.time.sources["arrival"], 1);
    assert_eq!((manifest.objects.listed, manifest.objects.read), (3, 3));
    assert!(manifest.objects.excluded.is_empty(), "{:?}", manifest.objects.excluded);
    assert_eq!(manifest.options["recover"], json!(true));
    place.assert_clean();
}

#[test]
fn a_bucket_gives_what_a_folder_gives() {
    let place = day_with_errors();
    let said = place.run(&format!("{ERRORS} --json")).stdout;
    place.run(&format!("{FETCH} --recover")).ends(0);
    let folder = place.published();
    let server = place.serve();
    assert_eq!(place.s3_run(&server, &format!("{ERRORS} --json")).stdout, said);
    place.s3_run(&server, &format!("{FETCH} --recover")).ends(0);
    let records = "records/local_date=2022-04-18/part-00000.parquet";
    assert!(folder[records] == place.published()[records]);
}

#[test]
fn a_partition_whose_name_ends_like_error_output_is_data() {
    let place = Place::new();
    for (at, event) in ["login-failed", "login"].iter().enumerate() {
        let key = key("s", "2022-04-18T03:00:00", at as u32);
        place.put(&format!("{event}/{key}"), r#"{"u":1}"#);
        place.put(&format!("e={event}/{key}"), r#"{"u":1}"#);
    }
    place.put(
        &format!("processing-failed/{}", key("s", "2022-04-18T03:00:00", 9)),
        failed("{}", NOON),
    );
    for lead in ["", "e="] {
        let layout = format!("{lead}!{{partitionKeyFromQuery:e}}/!{{timestamp:yyyy/MM/dd/HH/}}");
        for recover in ["", " --recover"] {
            place.run(&format!("{FETCH} --layout {layout}{recover}"));
            let events = place.records(DAY).column("e");
            assert!(events.contains(&json!("login-failed")), "{lead}{recover}: {events:?}");
            assert!(!events.contains(&json!("processing-failed")), "{lead}{recover}: {events:?}");
        }
    }
}

#[test]
fn data_with_a_byte_order_mark_is_recovered() {
    let place = Place::new();
    let errors = [failed("\u{feff}{\"id\":1}", NOON), failed("\u{feff}{\"id\":2}", NOON)].concat();
    place.put(&format!("processing-failed/{}", key("s", "2022-04-18T03:34:00", 2)), errors);
    place.run(&format!("{FETCH} --recover")).ends(0);
    assert_eq!(place.records(DAY).column("id"), [json!(1), json!(2)]);
}

#[test]
fn what_can_not_be_recovered_is_quarantined_and_takes_no_neighbour_along() {
    let place = Place::new();
    let bad = [
        failed(r#"{"id":"#, NOON),
        failed("hello", NOON),
        failed(r#"{"id":2}{"id":"#, NOON),
        failed("", NOON),
        failed([0x1f, 0x8b, 8, 0, 1, 2], NOON),
        "{\"errorCode\":\"x\"}".to_string(),
        "{\"rawData\":\"%\"}".to_string(),
        "{\"rawData\":{}".to_string(),
    ];
    let text: String = bad
        .iter()
        .enumerate()
        .map(|(n, bad)| format!("{}{bad}", failed(format!("{{\"good\":{n}}}"), NOON)))
        .collect::<String>()
        + &failed("{\"good\":8}", NOON);
    place.put("processing-failed/2022/04/18/03/x", &text);
    let ran = place.run(&format!("{FETCH} --recover"));
    ran.ends(3);
    let good: Vec<Value> = (0..9).map(|n| json!(n)).collect();
    assert_eq!(place.records(DAY).column("good"), good);
    let manifest = place.manifest(DAY);
    assert_eq!(manifest.records.quarantined, 8);
    let reasons: Vec<&str> = manifest.quarantine.iter().map(|note| &*note.reason).collect();
    for word in ["no base64", "without rawData", "holds no record", "can't be decompressed"] {
        assert!(reasons.iter().any(|reason| reason.contains(word)), "{word}: {reasons:?}");
    }
    // The bytes that are kept are those of the error records, where they lie.
    let lost = place.table("quarantine/local_date=2022-04-18/part-00000.parquet");
    for row in lost.cells(&["offset", "bytes_len", "bytes"]) {
        let at = row[0].as_u64().unwrap() as usize;
        let len = row[1].as_u64().unwrap() as usize;
        let bytes: Vec<u8> = serde_json::from_value(row[2].clone()).unwrap();
        assert_eq!(&text.as_bytes()[at..at + len], bytes);
    }
    let listed = place.run(ERRORS);
    listed.ends_and_says(3, &["processing-failed/2022/04/18/03/x:", "no error record"]);
}

#[test]
fn error_output_does_not_hide_how_the_keys_of_the_data_are_made() {
    let place = Place::new();
    for hour in 2..8 {
        let time = format!("2022-04-18T{hour:02}:10:00");
        let name = key("s", &time, hour);
        let name = name.rsplit('/').next().unwrap();
        let at = format!("year=2022/month=04/day=18/hour={hour:02}/{name}");
        place.put(&at, format!(r#"{{"n":{hour},"ts":"{time}Z"}}"#));
    }
    let time = "2022-04-18T03:34:00";
    let error = format!("processing-failed/{}", key("s", time, 9));
    place.put(&error, failed(r#"{"n":99,"ts":"2022-04-18T03:34:00Z"}"#, NOON));
    for (options, day) in [("", 6), ("--recover", 7)] {
        place.run(&format!("{FETCH} {options}")).ends_and_says(0, &["--layout"]);
        assert_eq!(place.manifest(DAY).records.day, day, "{options}");
    }
    let range = "--from 2022-04-17 --to 2022-04-19 --tz Asia/Seoul --recover --export records";
    place.run(&format!("fetch {range}")).ends(0);
    assert_eq!(place.manifest(DAY).records.day, 7);
}

#[test]
fn a_place_without_any_error_record_says_what_may_be_wrong() {
    let place = Place::new();
    place.put("whatever/x.txt", "hi");
    let line = ERRORS;
    place.run(line).ends_and_says(1, &["holds no folders of years"]);
    // A stream of which everything failed, on another day.
    let error = format!("processing-failed/{}", key("s", "2022-04-10T03:34:00", 9));
    place.put(&error, failed("{}", 1_649_561_640_000));
    place.run(line).ends_and_says(0, &["nothing failed on 2022-04-18"]);
}

#[cfg(target_os = "linux")]
#[test]
fn an_error_object_whose_name_is_no_key_is_said() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let error = format!("processing-failed/{}", key("s", "2022-04-18T03:34:00", 9));
    place.put(&error, "no error record");
    let folder = place.raw().join("processing-failed/2022/04/18/03");
    std::fs::write(folder.join(std::ffi::OsStr::from_bytes(b"bad-\xff")), "{}").unwrap();
    let words = ["no error record of 2022-04-18", "UTF-8", "no error record:"];
    place.run(ERRORS).ends_and_says(3, &words);
}

#[test]
fn damage_in_an_error_object_counts_for_the_day_in_which_it_was_begun() {
    let place = Place::new();
    let error = format!("processing-failed/{}", key("s", "2022-04-18T14:34:00", 9));
    place.put(&error, failed("{}", NOON + 9_000_000) + "{\"x\":1}");
    let line = "errors --from 2022-04-18 --to 2022-04-19 --tz Asia/Seoul --json";
    let ran = place.run(line).ends(3);
    let days = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let lost: Vec<usize> = days.map(|day| day["quarantined"].as_array().unwrap().len()).collect();
    assert_eq!(lost, [1, 0]);
}

#[test]
fn an_error_object_that_is_cut_gives_what_lies_before_the_cut() {
    let place = Place::new();
    let whole = gzip((0..50).map(|n| failed(format!("{{\"n\":{n}}}"), NOON)).collect::<String>());
    place.put("processing-failed/2022/04/18/03/x", &whole[..whole.len() - 20]);
    let ran = place.run(&format!("{FETCH} --recover"));
    ran.ends_and_says(3, &["processing-failed/2022/04/18/03/x"]);
    assert!(place.manifest(DAY).quarantine.iter().any(|note| note.records > 0));
}

#[test]
fn an_error_prefix_is_read_as_the_stream_has_it() {
    for (prefix, folder) in [
        (
            "errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/",
            "errors/processing-failed/2022/04/18/",
        ),
        (
            "errors/!{timestamp:yyyy/MM}/!{firehose:error-output-type}/",
            "errors/2022/04/processing-failed/",
        ),
        ("bad-", "bad-processing-failed/2022/04/18/03/"),
        ("2022/errors/", "2022/errors/processing-failed/2022/04/18/03/"),
    ] {
        let place = Place::new();
        place.put(&key("s", "2022-04-18T03:00:00", 1), r#"{"id":1}"#);
        let name = key("s", "2022-04-18T03:34:56", 2);
        let name = name.rsplit('/').next().unwrap();
        place.put(&format!("{folder}{name}"), failed(r#"{"id":2}"#, NOON));
        let line = format!("{ERRORS} --error-prefix {prefix}");
        place.run(&line).ends_and_says(0, &["processing-failed", "1 record ("]);
        place.run(&format!("{FETCH} --recover --error-prefix {prefix}")).ends(0);
        let cells = json!(place.records(DAY).cells(&["id", "recovered"]));
        let mut found: Vec<Value> = cells.as_array().unwrap().clone();
        found.sort_by_key(|row| row[0].as_i64());
        let expected = [json!([1, null]), json!([2, "processing-failed"])];
        assert_eq!(found, expected, "{prefix}");
    }
    let place = Place::new();
    place.put(&key("s", "2022-04-18T03:00:00", 1), r#"{"id":1}"#);
    let ran = place.run(&format!("{ERRORS} --error-prefix !{{firehose:nothing}}/"));
    ran.ends_and_says(2, &["write the error prefix as the stream has it"]);
}

fn rows_without_mark(records: &Table) -> Vec<String> {
    let mut names = records.names();
    names.retain(|name| name != "recovered");
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut rows: Vec<String> =
        records.cells(&names).into_iter().map(|row| json!(row).to_string()).collect();
    rows.sort();
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever share of a day failed, the recovered day has the rows of the day without failures.
    #[test]
    fn a_recovered_day_is_the_day_that_never_failed(
        records in prop::collection::vec((any::<i32>(), "[a-z\"\\\\가]{0,6}", any::<bool>()), 1..40),
        jobs in 1..8usize,
    ) {
        let delivered = Place::new();
        let recovered = Place::new();
        let (mut all, mut good, mut bad) = (String::new(), String::new(), String::new());
        for (at, (n, text, fails)) in records.iter().enumerate() {
            let ts = NOON + at as i64;
            let record = json!({"n": n, "text": text, "ts": ts}).to_string();
            all += &record;
            if *fails { bad += &failed(&record, 5) } else { good += &record }
        }
        delivered.put(&key("s", "2022-04-18T03:00:00", 1), &all);
        recovered.put(&key("s", "2022-04-18T03:00:00", 1), &good);
        recovered.put(&format!("processing-failed/{}", key("s", "2022-04-18T03:00:00", 2)), gzip(&bad));
        delivered.run(FETCH).ends(0);
        recovered.run(&format!("{FETCH} --recover --jobs {jobs}")).ends(0);
        prop_assert_eq!(
            rows_without_mark(&delivered.records(DAY)),
            rows_without_mark(&recovered.records(DAY))
        );
    }
}

#[test]
fn a_job_that_recovers_nothing_makes_the_same_bytes() {
    let place = Place::new();
    place.put(&key("s", "2022-04-18T03:00:00", 1), r#"{"id":1}"#);
    place.run(FETCH).ends(0);
    let plain = place.published();
    place.run(&format!("{FETCH} --recover")).ends(0);
    let records = "records/local_date=2022-04-18/part-00000.parquet";
    assert!(plain[records] == place.published()[records]);
}
