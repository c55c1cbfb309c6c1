//! Records and objects that came twice: what is counted, what is dropped, and that the rest is the day
//! as if they had come once.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;
use rawcat::job::{Dedup, JobSpec};
use rawcat::json::Identity;
use rawcat::progress::{Mode, Progress};
use rawcat::publish::{Manifest, OutFolder, SameObject};
use rawcat::store::{SourceUrl, Store, StoreOptions};
use serde_json::{Value, json};

use crate::place::{Place, gzip, key, spec, start};
use crate::s3server::{Fault, On};

const DAY: &str = "2022-04-18";
const LINE: &str = "fetch --day 2022-04-18 --tz Asia/Seoul";

/// Four records of the day in three objects: 2 comes twice within an object, 1 in two, and the third
/// object is the first one again, under another name. 9 is of the day before.
fn doubled() -> Place {
    let place = Place::new();
    let first = r#"{"id":1,"type":"a","n":10}{"id":2,"type":"b","n":20}{"id":2,"type":"b","n":21}"#;
    let second = r#"{"id":3,"type":"a","n":30}{"type":"a","n":1}{"id":1,"type":"a","n":11}
        {"id":9,"ts":"2022-04-17T01:00:00Z"}{"id":9,"ts":"2022-04-17T01:00:00Z"}{"type":"a","n":1}"#;
    place.put(&key("s", "2022-04-18T03:00:00", 1), first);
    place.put(&key("s", "2022-04-18T04:00:00", 2), second);
    place.put(&key("s", "2022-04-18T05:00:00", 3), first);
    place
}

#[test]
fn a_day_with_doubled_records_and_a_doubled_object_holds_each_key_once() {
    let place = doubled();
    let ran = place.run(&format!("{LINE} --by type --metric n --dedup-key id"));
    ran.ends_and_says(0, &["5 of the day; left out: 2 before it, 5 duplicates"]);
    let records = place.records(DAY);
    // Of each key the first in the order of objects and bytes; records without one all stay.
    let kept = json!([[1, 10], [2, 20], [3, 30], [null, 1], [null, 1]]);
    assert_eq!(json!(records.cells(&["id", "n"])), kept);
    let manifest = place.manifest(DAY);
    let counts = manifest.records;
    assert_eq!((counts.parsed, counts.day, counts.before), (12, 5, 2));
    assert_eq!((counts.duplicates_dropped, counts.without_dedup_key), (5, 2));
    assert_eq!(manifest.time.sources, BTreeMap::from([("object name".to_string(), 5)]));
    assert_eq!(manifest.options["dedup-key"], json!(["id"]));
    let daily = place.table("aggregates/daily/local_date=2022-04-18/part-00000.parquet");
    assert_eq!(
        json!(daily.cells(&["type", "records", "n_sum"])),
        json!([["a", 4, 42.0], ["b", 1, 20.0]])
    );
    place.assert_clean();
}

#[test]
fn records_of_the_same_bytes_are_dropped_by_their_hash() {
    let place = doubled();
    let ran = place.run(&format!("{LINE} --dedup-hash"));
    ran.ends_and_says(0, &["6 of the day; left out: 2 before it, 4 duplicates"]);
    let kept = json!([[1, 10], [2, 20], [2, 21], [3, 30], [null, 1], [1, 11]]);
    assert_eq!(json!(place.records(DAY).cells(&["id", "n"])), kept);
    assert_eq!(place.manifest(DAY).records.without_dedup_key, 0);
}

#[test]
fn without_being_told_nothing_is_dropped_and_objects_of_the_same_content_are_named() {
    let place = doubled();
    // The same bytes once more, and other bytes of the same length.
    let first = std::fs::read(place.raw().join(key("s", "2022-04-18T03:00:00", 1))).unwrap();
    let other = String::from_utf8(first.clone()).unwrap().replace("\"n\":10", "\"n\":99");
    place.put(&key("s", "2022-04-18T06:00:00", 4), &first);
    place.put(&key("s", "2022-04-18T06:30:00", 5), other);
    let twin = key("s", "2022-04-18T05:00:00", 3);
    place.run(LINE).ends_and_says(0, &["2 objects have the same content as another", &twin]);
    let manifest = place.manifest(DAY);
    assert_eq!((manifest.records.day, manifest.records.duplicates_dropped), (16, 0));
    let same_as = key("s", "2022-04-18T03:00:00", 1);
    let same = |key| SameObject { key, same_as: same_as.clone() };
    let expected = [same(twin), same(key("s", "2022-04-18T06:00:00", 4))];
    assert_eq!(manifest.objects.same_objects.objects, 2);
    assert_eq!(manifest.objects.same_objects.examples, expected);
}

#[test]
fn objects_of_different_encodings_are_compared_by_size_first() {
    let place = Place::new();
    let record = format!("{{\"n\":\"{}\"}}", "x".repeat(200));
    // The same member twice is the same content twice; a member with a plain copy is not looked at.
    place.put(&key("s", "2022-04-18T03:00:00", 1), gzip(&record));
    place.put(&key("s", "2022-04-18T03:00:00", 2), &record);
    place.put(&key("s", "2022-04-18T03:00:00", 3), gzip(&record));
    place.run(LINE).ends(0);
    let same = place.manifest(DAY).objects.same_objects;
    assert_eq!(same.examples[0].key, key("s", "2022-04-18T03:00:00", 3));
    assert_eq!(same.objects, 1);
}

#[test]
fn a_bucket_gives_the_day_that_a_folder_gives() {
    let place = doubled();
    place.run(&format!("{LINE} --dedup-key id --dedup-memory 1")).ends(0);
    let folder = place.published();
    let server = place.serve();
    place.s3_run(&server, &format!("{LINE} --dedup-key id")).ends(0);
    let bucket = place.published();
    let tables: Vec<&String> = bucket.keys().filter(|path| path.ends_with(".parquet")).collect();
    assert_eq!(tables.len(), 3);
    for path in tables {
        assert!(folder[path] == bucket[path], "{path}");
    }
}

#[test]
fn records_of_the_same_bytes_in_other_partitions_are_not_the_same() {
    let place = Place::new();
    for (at, event) in ["login", "logout", "logout"].iter().enumerate() {
        let key = key("s", "2022-04-18T03:00:00", at as u32);
        place.put(&format!("event={event}/{key}"), r#"{"u":1}"#);
    }
    let layout = "event=!{partitionKeyFromQuery:event}/!{timestamp:yyyy/MM/dd/HH/}";
    place.run(&format!("{LINE} --layout {layout} --dedup-hash")).ends(0);
    assert_eq!(place.records(DAY).column("event"), [json!("login"), json!("logout")]);
    assert_eq!(place.manifest(DAY).records.duplicates_dropped, 1);
}

#[test]
fn only_what_stays_counts_against_the_limits_of_a_day() {
    let place = Place::new();
    let records = |group: &str| -> String {
        (0..10).map(|n| format!(r#"{{"id":{n},"g":"{group}{n}"}}"#)).collect()
    };
    place.put(&key("s", "2022-04-18T03:00:00", 1), records("a") + &records("b"));
    let line = format!("{LINE} --export aggregates --by g --metric id --dedup-key id --jobs 2");
    place.run(&format!("{line} --max-groups 10")).ends(0);
    assert_eq!(place.manifest(DAY).records.day, 10);
    place.run(&format!("{line} --max-groups 9")).ends_and_says(1, &["--max-groups"]);
    // Copies are looked for all the same, and columns of those count no more than their groups do.
    let wide = |from: usize| -> String {
        let keys = (from..from + 3_000).map(|n| format!(r#","k{n}":1"#));
        format!(r#"{{"id":1{}}}"#, keys.collect::<String>())
    };
    let place = Place::new();
    place.put(&key("s", "2022-04-18T03:00:00", 1), wide(0) + &wide(3_000));
    let line = format!("{LINE} --export records");
    place.run(&format!("{line} --dedup-key id")).ends(0);
    assert_eq!(place.manifest(DAY).columns.len(), 3_001);
    place.run(&format!("{line} --dedup-hash")).ends_and_says(1, &["more than 5000 columns"]);
}

#[test]
fn an_object_that_fails_when_it_is_read_again_is_named_and_its_copies_stay() {
    let place = doubled();
    let server = place.serve();
    let second = key("s", "2022-04-18T04:00:00", 2);
    // The first reading gets it; from the second on it is gone.
    let got = || On::Get(format!("raw/{second}"));
    server.fault(got(), 1, Fault::Delay(std::time::Duration::from_millis(1)));
    server.fault(got(), 100, Fault::Reply(403, "AccessDenied", "injected"));
    place.s3_run(&server, &format!("{LINE} --dedup-key id")).ends_and_says(3, &[&second]);
    let manifest = place.manifest(DAY);
    assert_eq!(manifest.objects.failed.len(), 1);
    let kept = json!([[1, 10], [2, 20]]);
    assert_eq!(json!(place.records(DAY).cells(&["id", "n"])), kept);
}

#[test]
fn a_dedup_field_that_no_record_has_is_a_mistake_and_nothing_is_published() {
    let place = doubled();
    let says = ["none of 10 records of the day has the field \"event_id\"", "--dedup-key"];
    for fields in ["event_id", "id,event_id"] {
        place.run(&format!("{LINE} --dedup-key {fields}")).ends_and_says(2, &says);
        place.assert_nothing_published();
    }
    // A day without records has no field, and is no mistake.
    let line = "fetch --day 2022-05-18 --tz Asia/Seoul --dedup-key event_id";
    place.run(line).ends(0);
}

#[test]
fn key_and_hash_together_are_refused_and_what_is_typed_wins_over_the_file() {
    let place = doubled();
    let says = ["--dedup-key and --dedup-hash", "leave out one"];
    place.run(&format!("{LINE} --dedup-key id --dedup-hash")).ends_and_says(2, &says);
    place.run(&format!("{LINE} --dedup-key")).ends(2);
    for (file, typed, dropped) in [
        ("dedup_hash = true", "--dedup-key id", 5),
        ("dedup_key = [\"id\"]", "--dedup-hash", 4),
        ("dedup_key = [\"id\"]", "", 5),
    ] {
        std::fs::write(place.path().join("rawcat.toml"), file).unwrap();
        place.run(&format!("{LINE} {typed}")).ends(0);
        assert_eq!(place.manifest(DAY).records.duplicates_dropped, dropped, "{file} {typed}");
    }
}

#[test]
fn a_partition_key_is_a_field_that_records_can_be_told_apart_by() {
    let place = Place::new();
    for (customer, serial) in [("a", 1), ("b", 2), ("a", 3)] {
        let name = key("s", "2022-04-18T03:00:00", serial);
        let name = name.rsplit('/').next().unwrap();
        place.put(&format!("{customer}/2022/04/18/03/{name}"), "{\"id\":1}");
    }
    let layout = "!{partitionKeyFromQuery:customer}/!{timestamp:yyyy/MM/dd/HH}/";
    place.run(&format!("{LINE} --layout {layout} --dedup-key customer,id")).ends(0);
    assert_eq!(json!(place.records(DAY).cells(&["customer", "id"])), json!([["a", 1], ["b", 1]]));
}

#[test]
fn a_killed_run_leaves_partitions_that_the_next_one_clears_away() {
    let place = Place::new();
    for second in 0..6 {
        let record = format!("{{\"id\":{}}}", second / 2);
        place.put(&key("s", &format!("2022-04-18T03:00:{second:02}"), second), record);
    }
    let server = place.serve();
    server.fault(
        On::Get(format!("raw/{}", key("s", "2022-04-18T03:00:05", 5))),
        100,
        Fault::Stall(3),
    );
    let line = format!("{LINE} --dedup-key id --dedup-memory 1");
    let mut child = start(place.s3_command(&server, &line));
    let partitions = place.out().join(".rawcat/stage-2022-04-18/copies");
    let began = std::time::Instant::now();
    while !partitions.join("63").exists() {
        assert!(began.elapsed().as_secs() < 20, "{:?}", place.published().keys());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(partitions.exists());
    place.run(&line).ends(0);
    place.assert_clean();
    assert_eq!(place.manifest(DAY).records.duplicates_dropped, 3);
}

/// A record's text: its key fields, its time and a value of any kind.
fn record() -> impl Strategy<Value = String> {
    let id = prop::sample::select(vec![
        "1",
        "1.0",
        "\"1\"",
        "2",
        "\"A\"",
        r#""\u0041""#,
        "\"a\\\"b\"",
        "null",
        "true",
        "[1]",
        "3",
        "4",
    ]);
    let inner = prop::sample::select(vec!["1", "2", "\"x\""]);
    let value = prop::sample::select(vec![
        "1",
        "1.5",
        "9007199254740993",
        "\"t\"",
        "[1,2]",
        "[\"a\"]",
        "{\"w\":1}",
        "null",
        "true",
    ]);
    let hour = prop::sample::select(vec![1, 2, 2, 3, 3, 3, 20]);
    (prop::option::weighted(0.9, id), prop::option::weighted(0.9, inner), value, hour).prop_map(
        |(id, inner, value, hour)| {
            let id = id.map(|id| format!("\"id\":{id},")).unwrap_or_default();
            let inner = inner.map(|k| format!("\"d\":{{\"k\":{k}}},")).unwrap_or_default();
            format!("{{{id}{inner}\"v\":{value},\"ts\":\"2022-04-18T{hour:02}:00:00Z\"}}")
        },
    )
}

/// What makes a record itself, read by other means; `None` where it lacks something.
fn own(record: &str, identity: &Identity) -> Option<String> {
    let value: Value = serde_json::from_str(record).unwrap();
    let found = identity.fields().iter().map(|field| {
        let pointer = format!("/{}", field.replace('.', "/"));
        value.pointer(&pointer).filter(|value| !value.is_null()).map(Value::to_string)
    });
    match identity {
        Identity::Bytes => Some(record.to_string()),
        Identity::Fields(_) => found.collect::<Option<Vec<_>>>().map(|all| all.join(",")),
    }
}

fn is_of_the_day(record: &str) -> bool {
    !record.contains("T20:00")
}

/// Publishes the objects as a day, put in the order `shuffled`.
fn publish(
    objects: &[String],
    shuffled: &[usize],
    spec: &JobSpec,
) -> (BTreeMap<String, Vec<u8>>, Manifest) {
    let place = Place::new();
    for &at in shuffled {
        let time = format!("2022-04-18T02:{at:02}:00");
        place.put(&key("s", &time, at as u32), &objects[at]);
    }
    let store = Store::open(&SourceUrl::Folder(place.raw()), &StoreOptions::default()).unwrap();
    let out = OutFolder::open(&place.out(), "Asia/Seoul", spec.now_utc).unwrap().into();
    let never = AtomicBool::new(false);
    let progress = Progress::new(Mode::Quiet);
    rawcat::job::fetch(spec, "source", &store, &out, &progress, &never).unwrap();
    drop(out);
    place.assert_clean();
    (place.result(), place.manifest(DAY))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// What is published is, byte for byte, the day from which a naive reader took the copies.
    #[test]
    fn a_day_without_its_copies_is_the_day_that_never_had_them(
        records in prop::collection::vec(record(), 1..120),
        ends in prop::collection::vec(0_usize..120, 0..6),
        order in Just((0..7_usize).collect::<Vec<_>>()).prop_shuffle(),
        by in 0..3_usize,
        jobs in 1..=8_usize,
    ) {
        let fields = |names: &[&str]| Identity::Fields(names.iter().map(|n| n.to_string()).collect());
        let identity = [Identity::Bytes, fields(&["id"]), fields(&["id", "d.k"])][by].clone();
        let all = r#"{"id":1,"d":{"k":1},"v":0,"ts":"2022-04-18T02:00:00Z"}"#.to_string();
        let records: Vec<String> = records.into_iter().chain([all]).collect();
        let mut ends: Vec<usize> = ends.into_iter().map(|end| end.min(records.len())).collect();
        ends.sort_unstable();
        ends.push(records.len());

        let mut seen = HashSet::new();
        let (mut given, mut expected) = (Vec::new(), Vec::new());
        let (mut dropped, mut lacking, mut begin) = (0, 0, 0);
        for end in ends {
            let mut kept = String::new();
            for record in &records[begin..end] {
                match own(record, &identity) {
                    _ if !is_of_the_day(record) => kept += record,
                    Some(own) if !seen.insert(own.clone()) => dropped += 1,
                    own => {
                        lacking += u64::from(own.is_none());
                        kept += record;
                    }
                }
            }
            given.push(records[begin..end].concat());
            expected.push(kept);
            begin = end;
        }
        let order: Vec<usize> = order.into_iter().filter(|at| *at < given.len()).collect();
        let plain = JobSpec { max_groups: 100_000, jobs, ..spec(DAY) };
        let (naive, without) = publish(&expected, &order, &plain);
        for memory_bytes in [0, 200, 256 << 20] {
            let dedup = Dedup { identity: Some(identity.clone()), memory_bytes };
            let (result, manifest) = publish(&given, &order, &JobSpec { dedup, ..plain.clone() });
            let counts = &manifest.records;
            prop_assert_eq!((counts.duplicates_dropped, counts.without_dedup_key), (dropped, lacking));
            prop_assert_eq!(counts.day, without.records.day);
            prop_assert_eq!(&manifest.columns, &without.columns);
            prop_assert_eq!(&manifest.time, &without.time);
            prop_assert!(result.keys().eq(naive.keys()));
            for (path, bytes) in result.iter().filter(|(path, _)| path.ends_with(".parquet")) {
                prop_assert!(&naive[path] == bytes, "{} with {} bytes of memory", path, memory_bytes);
            }
        }
    }
}
