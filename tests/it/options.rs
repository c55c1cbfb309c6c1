//! What `fetch` publishes when it is told: outputs, groups, metrics, steps, types and columns.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value, json};

use crate::place::{Place, key, sample_raw};

const DAY: &str = "2022-04-18";
const LINE: &str = "fetch --day 2022-04-18 --tz Asia/Seoul";

/// A source of one object.
fn one(text: &str) -> Place {
    let place = Place::new();
    place.put(&key("s", "2022-04-18T03:00:00", 1), text);
    place
}

fn sample(line: &str, code: i32) -> Place {
    let place = Place::new();
    let mut command = place.command(line);
    crate::place::ran(command.env("RAWCAT_SOURCE", sample_raw()).output().unwrap()).ends(code);
    place
}

fn paths(place: &Place) -> Vec<String> {
    place.published().into_keys().collect()
}

#[test]
fn only_what_is_exported_is_published() {
    let all = [
        "aggregates/daily/local_date=2022-04-18/part-00000.parquet",
        "aggregates/hourly/local_date=2022-04-18/part-00000.parquet",
        "charts/2022-04-18.png",
        "charts/2022-04-18.svg",
        "manifests/2022-04-18.json",
        "records/local_date=2022-04-18/part-00000.parquet",
    ];
    let cases: [(&str, &[usize]); 4] = [
        ("aggregates", &[0, 1, 4]),
        ("records", &[4, 5]),
        ("chart", &[2, 3, 4]),
        ("records,aggregates", &[0, 1, 4, 5]),
    ];
    let place = one("{\"type\":\"a\",\"n\":1}");
    for (export, wanted) in cases {
        place.run(&format!("{LINE} --export {export} --by type --metric n")).ends(0);
        let wanted: Vec<&str> = wanted.iter().map(|&at| all[at]).collect();
        // What another run published for this day and this one did not make is gone.
        assert_eq!(paths(&place), wanted, "{export}");
        let files = place.manifest(DAY).files;
        assert_eq!(files.len(), wanted.len() - 1);
    }
    place.run(&format!("{LINE} --export everything")).ends_and_says(2, &["--export"]);
}

#[test]
fn asking_for_less_changes_nothing_in_what_is_asked_for() {
    let place = sample(&format!("{LINE} --by type --metric value"), 0);
    let all = place.published();
    for export in ["records", "aggregates"] {
        let part = sample(&format!("{LINE} --by type --metric value --export {export}"), 0);
        for (path, bytes) in part.published() {
            assert!(path.ends_with(".json") || all[&path] == bytes, "{path}");
        }
        let (one, other) = (part.manifest(DAY), place.manifest(DAY));
        assert_eq!((one.records, one.bytes, one.time), (other.records, other.bytes, other.time));
        assert_eq!(one.columns.is_empty(), other.columns.is_empty());
    }
}

#[test]
fn the_quarantine_does_not_depend_on_the_columns_that_are_asked_for() {
    let day = "2022-04-17";
    let line = format!("fetch --day {day} --tz Asia/Seoul");
    let all = sample(&format!("{line} --export records"), 3);
    let one = sample(&format!("{line} --export aggregates --metric value"), 3);
    let quarantine = |place: &Place| {
        fs::read(place.out().join(format!("quarantine/local_date={day}/part-00000.parquet")))
            .unwrap()
    };
    assert!(quarantine(&all) == quarantine(&one));
    assert_eq!(all.manifest(day).quarantine, one.manifest(day).quarantine);
}

#[test]
fn buckets_of_five_minutes_are_288_and_add_up_to_the_hours() {
    let line = format!("{LINE} --export aggregates --metric value");
    let place = sample(&format!("{line} --every 5m"), 0);
    assert!(!place.out().join("aggregates/hourly").exists());
    let buckets = place.table("aggregates/5m/local_date=2022-04-18/part-00000.parquet");
    assert_eq!(buckets.rows(), 288);
    let of_hours = sample(&line, 0);
    let hourly = of_hours.table("aggregates/hourly/local_date=2022-04-18/part-00000.parquet");
    let counts = |values: &[Value]| values.iter().map(|n| n.as_i64().unwrap()).sum::<i64>();
    let five = buckets.column("value_count");
    let sums: Vec<i64> = five.chunks(12).map(counts).collect();
    assert_eq!(json!(sums), json!(hourly.column("value_count")));
    let starts = buckets.column("bucket_utc");
    let start = starts[0].as_i64().unwrap();
    assert!((0..).zip(&starts).all(|(at, us)| *us == start + at * 300_000_000));
}

#[test]
fn more_groups_than_allowed_fail_the_run_and_the_column_is_named() {
    let line = format!("{LINE} --by type,session --max-groups 50");
    for jobs in [1, 2, 8] {
        let place = Place::new();
        let mut command = place.command(&format!("{line} --jobs {jobs}"));
        let ran = crate::place::ran(command.env("RAWCAT_SOURCE", sample_raw()).output().unwrap());
        ran.ends_and_says(1, &["more than 50 groups", "\"session\"", "--max-groups"]);
        place.assert_nothing_published();
    }
    // Ten types are ten groups.
    sample(&format!("{LINE} --by type --max-groups 10 --export aggregates"), 0);
    sample(&format!("{LINE} --by type --max-groups 9 --export aggregates"), 1);
}

#[test]
fn a_column_that_the_day_does_not_have_is_wrong_usage_with_what_was_meant() {
    let cases = [
        ("--by typ", "\"type\""),
        ("--by device_so", "\"device_os\""),
        ("--metric valeu", "\"value\""),
        ("--by type,danji.nme", "\"danji_name\""),
    ];
    for (options, meant) in cases {
        let place = Place::new();
        let mut command = place.command(&format!("{LINE} {options}"));
        let ran = crate::place::ran(command.env("RAWCAT_SOURCE", sample_raw()).output().unwrap());
        ran.ends_and_says(2, &["has no such column", "did you mean", meant]);
        place.assert_nothing_published();
    }
}

#[test]
fn nested_columns_are_grouped_by_under_each_of_their_names() {
    let mut tables = Vec::new();
    for name in ["device_os", "device.os", "/device/os"] {
        let place = sample(&format!("{LINE} --export aggregates --by {name} --metric value"), 0);
        let daily = place.table("aggregates/daily/local_date=2022-04-18/part-00000.parquet");
        tables.push(daily.cells(&["device_os", "records", "value_sum"]));
    }
    assert!(tables[0].len() > 1);
    assert!(tables.iter().all(|table| *table == tables[0]));
}

#[test]
fn provenance_is_where_each_record_stands() {
    let place = sample(&format!("{LINE} --export records --provenance"), 0);
    let table = place.records(DAY);
    let names = table.names();
    assert_eq!(names[names.len() - 2..], ["object_key", "byte_offset"]);
    let mut objects: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut last = (String::new(), -1);
    for row in table.cells(&["object_key", "byte_offset", "session", "value"]) {
        let (key, offset) = (row[0].as_str().unwrap(), row[1].as_i64().unwrap());
        let stands = (key.to_string(), offset);
        assert!(last < stands, "rows stand in the order of keys and offsets");
        last = stands;
        let decoded = objects.entry(key.to_string()).or_insert_with(|| {
            let bytes = fs::read(sample_raw().join(key)).unwrap();
            if !bytes.starts_with(&[0x1f, 0x8b]) {
                return bytes;
            }
            let mut decoded = Vec::new();
            let mut members = flate2::read::MultiGzDecoder::new(&bytes[..]);
            std::io::Read::read_to_end(&mut members, &mut decoded).unwrap();
            decoded
        });
        let records = serde_json::Deserializer::from_slice(&decoded[offset as usize..]);
        let record: Value = records.into_iter().next().unwrap().unwrap();
        let field = |name: &str| record.get(name).unwrap_or(&Value::Null);
        assert_eq!((field("session"), field("value")), (&row[2], &row[3]));
    }
}

#[test]
fn numbers_in_text_stay_text_until_a_type_is_given() {
    let place = one("{\"v\":\"2.50\",\"id\":\"007\"}{\"v\":\"-3\",\"id\":\"8\"}{\"v\":null}");
    place.run(&format!("{LINE} --export records")).ends(0);
    assert_eq!(json!(place.records(DAY).column("v")), json!(["2.50", "-3", null]));
    place.run(&format!("{LINE} --export records --type v=float")).ends(0);
    let records = place.records(DAY);
    assert_eq!(json!(records.column("v")), json!([2.5, -3.0, null]));
    assert_eq!(json!(records.column("id")), json!(["007", "8", null]));
    place.run(&format!("{LINE} --export records --type v=number")).ends_and_says(2, &["--type"]);
}

#[test]
fn a_value_that_does_not_read_as_its_declared_type_is_quarantined_with_its_place() {
    let place = one("{\"v\":\"1\"}{\"v\":\"1.5\"}{\"v\":\"x\"}{\"v\":[1]}{\"v\":2}");
    let words = ["000000000001:9", "does not read as its declared type", "3 places"];
    place.run(&format!("{LINE} --export records --type v=int")).ends_and_says(3, &words);
    assert_eq!(json!(place.records(DAY).column("v")), json!([1, 2]));
}

#[test]
fn pinned_types_are_obeyed_by_later_runs_and_hold_from_day_to_day() {
    let place = Place::with_sample();
    fs::write(place.path().join("rawcat.toml"), "tz = \"Asia/Seoul\"\n").unwrap();
    place.run("fetch --day 2022-04-18 --export records").ends(0);
    assert_eq!(place.records(DAY).kind("value"), "str");
    let words = [
        "pinned 18 columns in rawcat.schema.json",
        "value is text that held only numbers: float",
        "is quarantined",
    ];
    place.run("schema --day 2022-04-18 --pin").ends_and_says(0, &words);
    let pins = fs::read_to_string(place.path().join("rawcat.schema.json")).unwrap();
    assert!(pins.contains("\"/value\""), "{pins}");
    for day in ["2022-04-18", "2022-04-19"] {
        place.run(&format!("fetch --day {day} --export records")).ends(0);
        let records = place.records(day);
        assert_eq!(records.kind("value"), "f64", "{day}");
        assert_eq!((&*records.kind("tags"), &*records.kind("event_id")), ("list[str]", "i64"));
    }
    // The metrics are the same: there, numbers in text were numbers all along.
    let line = "fetch --day 2022-04-18 --export aggregates --metric value";
    let path = "aggregates/daily/local_date=2022-04-18/part-00000.parquet";
    place.run(line).ends(0);
    let pinned = fs::read(place.out().join(path)).unwrap();
    fs::remove_file(place.path().join("rawcat.schema.json")).unwrap();
    place.run(line).ends(0);
    assert!(fs::read(place.out().join(path)).unwrap() == pinned);
}

#[test]
fn a_type_that_is_given_wins_over_the_pinned_one() {
    let place = one("{\"v\":\"1\"}");
    fs::write(place.path().join("pins.json"), "{}").unwrap();
    place.run("schema --day 2022-04-18 --tz Asia/Seoul --pin pins.json").ends(0);
    place.run(&format!("{LINE} --export records --schema pins.json")).ends(0);
    assert_eq!(json!(place.records(DAY).column("v")), json!([1]));
    place.run(&format!("{LINE} --export records --schema pins.json --type v=text")).ends(0);
    assert_eq!(json!(place.records(DAY).column("v")), json!(["1"]));
    fs::write(place.path().join("pins.json"), "{\"columns\":").unwrap();
    place.run(&format!("{LINE} --schema pins.json")).ends_and_says(2, &["pins.json", "--pin"]);
}

#[test]
fn schema_counts_how_full_each_column_is() {
    let place = one("{\"a\":1}{\"a\":2,\"b\":\"3\"}{\"b\":\"x\"}{\"b\":null}");
    let ran = place.run("schema --day 2022-04-18 --tz Asia/Seoul --json").ends(0);
    let schema: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(schema["rows"], 4);
    let columns: Vec<Value> = schema["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| json!([c["name"], c["type"], c["values"], c["nulls"]]))
        .collect();
    assert_eq!(json!(columns), json!([["a", "int", 2, 2], ["b", "text", 2, 2]]));
    assert!(!place.out().exists(), "schema publishes nothing");
}

#[test]
fn an_explicit_time_field_is_the_only_one_and_records_without_it_are_quarantined() {
    let place = one(concat!(
        "{\"n\":1,\"ts\":\"2022-04-20T00:00:00Z\",\"at\":\"2022-04-18T04:00:00Z\"}",
        "{\"n\":2,\"ts\":\"2022-04-18T04:00:00Z\"}",
        "{\"n\":3,\"at\":\"2022-04-18\"}",
        "{\"n\":4,\"at\":1650254400}",
        "{\"n\":5,\"at\":\"2022-04-18T13:00:00\"}",
    ));
    let line = format!("{LINE} --export records --time-field at");
    let words = ["the time field is missing", "does not read as a time"];
    place.run(&line).ends_and_says(3, &words);
    assert_eq!(json!(place.records(DAY).column("n")), json!([1, 4, 5]));
    place.run(&format!("{line} --fallback-key")).ends(0);
    assert_eq!(json!(place.records(DAY).column("n")), json!([1, 2, 3, 4, 5]));
    // Text without a zone is UTC unless it is said otherwise.
    let five = place.records(DAY).at("ts_utc", 4).as_i64().unwrap();
    place.run(&format!("{line} --fallback-key --field-tz Asia/Seoul")).ends(0);
    let moved = place.records(DAY).at("ts_utc", 4).as_i64().unwrap();
    assert_eq!(five - moved, 9 * 3_600_000_000);
}

#[test]
fn names_that_clash_get_suffixes_and_nothing_is_lost() {
    let place =
        one("{\"a\":{\"b\":1},\"a_b\":2,\"A_B\":3,\"ts_utc\":4,\"local_date\":5,\"object_key\":6}");
    place.run(&format!("{LINE} --export records --provenance")).ends(0);
    let records = place.records(DAY);
    let names = records.names();
    let lower: std::collections::BTreeSet<String> =
        names.iter().map(|name| name.to_lowercase()).collect();
    assert_eq!(lower.len(), names.len(), "{names:?}");
    assert!(!names.contains(&"local_date".to_string()), "{names:?}");
    let own = ["ts_utc", "ts_local", "object_key", "byte_offset"];
    let mut values: Vec<i64> = names
        .iter()
        .filter(|name| !own.contains(&name.as_str()))
        .map(|name| records.at(name, 0).as_i64().unwrap())
        .collect();
    values.sort_unstable();
    assert_eq!(values, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn the_manifest_is_what_json_prints() {
    let place = one("{\"n\":1}");
    let ran = place.run(&format!("{LINE} --export records --json")).ends(0);
    assert_eq!(ran.stdout.as_bytes(), place.published()["manifests/2022-04-18.json"]);
    let quiet = place.run(&format!("{LINE} --export records -q")).ends(0);
    assert_eq!((&*quiet.stdout, &*quiet.stderr), ("", ""));
}

#[test]
fn a_name_as_long_as_a_record_is_cut_where_columns_are_shown() {
    let name = "서".repeat(30_000);
    let place = one(&format!("{{\"{name}\":1,\"b\":2}}"));
    let ran = place.run("schema --day 2022-04-18 --tz Asia/Seoul").ends(0);
    assert!(
        ran.stdout.contains(&format!("\n{}…  int    100 %\n", "서".repeat(80))),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.lines().all(|line| line.chars().count() < 120), "{}", ran.stdout);
    place.run(LINE).ends(0);
    place.run("plan --day 2022-04-18 --tz Asia/Seoul").ends(0);
    place.run("chart --day 2022-04-18 --tz Asia/Seoul --term").ends(0);
    // Programs get the whole name.
    let ran = place.run("schema --day 2022-04-18 --tz Asia/Seoul --json").ends(0);
    assert!(ran.stdout.contains(&name));
}

#[test]
fn a_picture_too_low_for_its_panels_is_refused_before_anything_is_read() {
    let place = one("{\"a\":1}");
    let line = format!("{LINE} --size 1200x480 --panels 9 --metric a,b,c,d,e");
    let words = ["6 panels do not fit in a height of 480 px", "--size 1200 without a height"];
    // The metrics that are not there would be refused only after the day is read.
    place.run(&line).ends_and_says(2, &words);
    place.assert_nothing_published();
}
