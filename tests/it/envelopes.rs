//! Records in envelopes of other services: opened where they are recognised, and counted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::place::{Place, gzip, key};

const DAY: &str = "2022-04-18";
const FETCH: &str = "fetch --day 2022-04-18 --tz Asia/Seoul --export records";
/// 2022-04-18T12:34:56 in Seoul, in ms.
const NOON: i64 = 1_650_252_896_000;

/// A record of a CloudWatch Logs subscription, as it comes: gzip of JSON.
fn logs(events: &[(&str, i64, String)]) -> String {
    let event = |(id, ms, message): &(&str, i64, String)| json!({"id": id, "timestamp": ms, "message": message});
    let events: Vec<Value> = events.iter().map(event).collect();
    json!({
        "messageType": "DATA_MESSAGE", "owner": "123456789012", "logGroup": "/aws/lambda/f",
        "logStream": "2022/04/18/[1]a", "subscriptionFilters": ["all"], "logEvents": events,
    })
    .to_string()
}

const CONTROL: &str = r#"{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1650252896000,"message":"CWL CONTROL MESSAGE: Checking health of destination Firehose."}]}"#;

fn day_of_logs() -> Place {
    let place = Place::new();
    let first = logs(&[
        ("1", NOON, "START".to_string()),
        ("2", NOON + 1, r#"{"level":"ERROR","n":7}"#.to_string()),
        ("3", NOON - 86_400_000, "of the day before".to_string()),
    ]);
    let second = logs(&[("4", NOON + 2, r#"{"level":"INFO","n":8}"#.to_string())]);
    // Members glued as Firehose glues records, and the same in gzip once more.
    let members = [gzip(CONTROL), gzip(first), gzip(second)].concat();
    place.put(&key("s", "2022-04-18T03:34:00", 1), &members);
    place.put(
        &key("s", "2022-04-18T04:34:00", 2),
        gzip(gzip(logs(&[("5", NOON + 3, "END".into())]))),
    );
    place
}

#[test]
fn log_events_of_cloudwatch_become_records_and_a_json_message_columns() {
    let place = day_of_logs();
    let words =
        ["4 of the day; left out: 1 before it", "4 envelopes with 5 records; 1 were control"];
    place.run(&format!("{FETCH} --by json_level")).ends_and_says(0, &words);
    let records = place.records(DAY);
    assert_eq!(
        json!(records.cells(&["event_id", "ts_utc", "message", "json_level", "json_n"])),
        json!([
            ["1", NOON * 1000, "START", null, null],
            ["2", (NOON + 1) * 1000, null, "ERROR", 7],
            ["4", (NOON + 2) * 1000, null, "INFO", 8],
            ["5", (NOON + 3) * 1000, "END", null, null],
        ])
    );
    assert_eq!(records.at("log_group", 0), "/aws/lambda/f");
    let manifest = place.manifest(DAY);
    let counts = manifest.envelopes;
    assert_eq!((counts.opened, counts.records, counts.control), (4, 5, 1));
    assert_eq!((manifest.records.parsed, manifest.records.day), (5, 4));
    assert_eq!(manifest.time.sources["timestamp"], 4);
    assert!(manifest.verdict.complete);
    // `cat` prints what is read.
    let printed = place.run("cat --day 2022-04-18 --tz Asia/Seoul").ends(0).stdout;
    assert_eq!(printed.lines().count(), 4);
    assert!(printed.lines().all(|line| line.starts_with(r#"{"log_group":"#)), "{printed}");
}

#[test]
fn none_leaves_envelopes_as_they_are() {
    let place = day_of_logs();
    place.run(&format!("{FETCH} --envelope none")).ends(0);
    let records = place.records(DAY);
    assert_eq!(records.rows(), 4);
    assert!(records.names().contains(&"logEvents".to_string()), "{:?}", records.names());
    assert_eq!(place.manifest(DAY).envelopes.opened, 0);
}

#[test]
fn an_object_may_mix_envelopes_and_records() {
    let place = Place::new();
    let log = logs(&[("1", NOON, "one".into())]);
    let plain = |n: i64| format!(r#"{{"n":{n},"ts":{}}}"#, NOON + n);
    place.put(&key("s", "2022-04-18T03:00:00", 1), format!("{log}{}{log}\n{}", plain(1), plain(2)));
    // Where 16 KiB of other records come first, the kind has to be said.
    place.put(
        &key("s", "2022-04-18T03:00:00", 2),
        format!("{}{}{log}", plain(3), " ".repeat(16 << 10)),
    );
    place.run(FETCH).ends(0);
    assert_eq!(
        place.records(DAY).column("n"),
        json!([null, 1, null, 2, 3, null]).as_array().unwrap()[..]
    );
    assert_eq!(place.manifest(DAY).envelopes.opened, 2);
    place.run(&format!("{FETCH} --envelope cloudwatch-logs")).ends(0);
    assert_eq!(place.manifest(DAY).envelopes.opened, 3);
    assert_eq!(place.records(DAY).rows(), 6);
}

#[test]
fn events_of_kinesis_and_notifications_of_sns_are_opened() {
    let place = Place::new();
    let data = STANDARD.encode(r#"{"n":1}"#);
    let event = format!(
        r#"{{"Records":[{{"kinesis":{{"partitionKey":"p","sequenceNumber":"49545115243490985018280067714973144582180062593244200961","data":"{data}","approximateArrivalTimestamp":1650252896.987}},"eventID":"e"}}]}}"#
    );
    place.put(&key("s", "2022-04-18T03:00:00", 1), event);
    let mail = r#"{"Type":"Notification","TopicArn":"t","Message":"{\"n\":2,\"mail\":{\"timestamp\":\"2022-04-18T03:34:56Z\"}}"}"#;
    place.put(&key("s", "2022-04-18T03:00:00", 2), mail);
    place.run(FETCH).ends(0);
    assert_eq!(
        json!(place.records(DAY).cells(&["n", "ts_utc", "kinesis_sequenceNumber"])),
        json!([
            [
                1,
                1_650_252_896_987_000_i64,
                "49545115243490985018280067714973144582180062593244200961"
            ],
            [2, NOON * 1000, null],
        ])
    );
}

#[test]
fn among_envelopes_another_record_stays_and_a_cut_one_is_quarantined() {
    let place = Place::new();
    let good = logs(&[("1", NOON, "one".into())]);
    let other = r#"{"messageType":"DATA_MESSAGE","logEvents":7}"#;
    let cut = &good[..good.len() - 5];
    place.put(&key("s", "2022-04-18T03:00:00", 1), format!("{good}{other}{good}{cut}"));
    place.run(FETCH).ends_and_says(3, &["1 place quarantined"]);
    let lost = place.table("quarantine/local_date=2022-04-18/part-00000.parquet");
    let at = 2 * good.len() + other.len();
    assert_eq!(lost.cells(&["offset", "bytes_len"]), [[json!(at), json!(cut.len())]]);
    assert_eq!(place.records(DAY).column("logEvents"), [json!(null), json!(7), json!(null)]);
}

#[test]
fn data_that_is_no_record_is_quarantined_alone_and_can_be_read_again() {
    let place = Place::new();
    let data = |text: &str| format!(r#"{{"kinesis":{{"data":"{}"}}}}"#, STANDARD.encode(text));
    let front = format!(r#"{{"Records":[{},"#, data(r#"{"n":1}{"n":2}"#));
    let event = format!("{front}{},{}]}}", data("text"), data(r#"{"n":3}"#));
    place.put(&key("s", "2022-04-18T03:00:00", 1), event);
    place.run(FETCH).ends_and_says(3, &["envelope of Kinesis with data that is no JSON object"]);
    let lost = place.table("quarantine/local_date=2022-04-18/part-00000.parquet");
    let datum = format!("\"{}\"", STANDARD.encode("text"));
    let at = front.len() + r#"{"kinesis":{"data":"#.len();
    assert_eq!(lost.cells(&["offset", "bytes_len"]), [[json!(at), json!(datum.len())]]);
    assert_eq!(place.records(DAY).column("n"), [json!(1), json!(2), json!(3)]);
}

#[test]
fn many_bad_envelopes_are_counted_and_not_listed() {
    let place = Place::new();
    let event = r#"{"Records":[{"kinesis":{"data":"%"}}]}"#;
    place.put(&key("s", "2022-04-18T03:00:00", 1), event.repeat(20_000));
    place.run(FETCH).ends_and_says(3, &["20,000 places quarantined"]);
    let lost = place.table("quarantine/local_date=2022-04-18/part-00000.parquet");
    assert!(lost.rows() <= 10_001, "{}", lost.rows());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Records in log events have the columns that they have alone, below `json`.
    #[test]
    fn opened_messages_are_the_records_themselves(
        records in prop::collection::vec((any::<i64>(), "[a-z\"\\\\가]{0,6}", any::<f32>()), 1..30),
        jobs in 1..8usize,
        wrap in 1..5usize,
    ) {
        let (alone, wrapped) = (Place::new(), Place::new());
        let messages: Vec<String> = records.iter().enumerate().map(|(at, (n, text, x))| {
            let x = if x.is_finite() { json!(x) } else { Value::Null };
            json!({"n": n, "text": text, "x": x, "ts": NOON + at as i64}).to_string()
        }).collect();
        alone.put(&key("s", "2022-04-18T03:00:00", 1), messages.concat());
        let events: Vec<(&str, i64, String)> =
            messages.iter().enumerate().map(|(at, text)| ("i", NOON + at as i64, text.clone())).collect();
        let members: Vec<Vec<u8>> = events.chunks(wrap).map(|events| gzip(logs(events))).collect();
        wrapped.put(&key("s", "2022-04-18T03:00:00", 1), members.concat());
        alone.run(FETCH).ends(0);
        wrapped.run(&format!("{FETCH} --jobs {jobs}")).ends(0);
        let (alone, wrapped) = (alone.records(DAY), wrapped.records(DAY));
        for name in ["n", "text", "x"] {
            let below = format!("json_{name}");
            prop_assert_eq!(alone.column(name), wrapped.column(&below));
            prop_assert_eq!(alone.kind(name), wrapped.kind(&below));
        }
    }
}
