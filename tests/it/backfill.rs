//! Many days: what is published and unchanged is left, what objects came to is made again.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::place::{Place, key};
use crate::s3server::{S3Server, Seen};

const RANGE: &str = "--from 2022-04-17 --to 2022-04-20 --tz Asia/Seoul --export records";

/// Four days in Seoul, each with a record at its noon and one in the hour before midnight.
fn four_days() -> Place {
    let place = Place::new();
    for day in 17..=20 {
        for (hour, n) in [(3, 1), (14, 2)] {
            let time = format!("2022-04-{day}T{hour:02}:30:00");
            let record = format!(r#"{{"n":{n},"day":{day},"ts":"{time}Z"}}"#);
            place.put(&key("s", &time, day * 10 + n), record);
        }
    }
    place
}

/// The published files, manifests without what differs from run to run.
fn published(place: &Place) -> BTreeMap<String, Vec<u8>> {
    let without_run = |(path, bytes): (String, Vec<u8>)| {
        if !path.starts_with("manifests/") {
            return (path, bytes);
        }
        let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
        manifest.as_object_mut().unwrap().remove("run");
        (path, manifest.to_string().into_bytes())
    };
    place.published().into_iter().map(without_run).collect()
}

#[test]
fn a_range_ends_with_a_table_and_a_second_run_leaves_what_is_unchanged() {
    let place = four_days();
    let ran = place.run(&format!("fetch {RANGE}")).ends(0);
    let table: Vec<&str> = ran.stdout.lines().collect();
    assert!(
        table[0].starts_with("day         records  objects  quarantined  verdict"),
        "{table:?}"
    );
    assert!(table[1].starts_with("2022-04-17        2        "), "{table:?}");
    assert_eq!(table[5], "4 days: 4 made, 0 left as they were; 8 records");
    let first = place.published();
    let words = ["unchanged", "4 days: 0 made, 4 left as they were; 8 records"];
    place.run(&format!("fetch {RANGE}")).ends_and_says(0, &words);
    // Not even the moment of the run is new.
    assert!(place.published() == first);
    place.run(&format!("fetch {RANGE} --again")).ends_and_says(0, &["4 made, 0 left"]);
    let alone = place.run("fetch --day 2022-04-18 --tz Asia/Seoul --export records");
    alone.ends_and_says(0, &["2022-04-18 in Asia/Seoul: complete"]);
}

#[test]
fn a_late_object_makes_only_the_days_again_that_it_touches() {
    for sync in ["sync", "fetch"] {
        let place = four_days();
        place.run(&format!("fetch {RANGE}")).ends(0);
        let late = r#"{"n":9,"ts":"2022-04-18T05:00:00Z"}"#;
        place.put(&key("s", "2022-04-18T05:00:00", 999), late);
        let ran = place.run(&format!("{sync} {RANGE}"));
        let ran = ran.ends_and_says(0, &["1 object came since", "1 made, 3 left", "9 records"]);
        let line = ran.stdout.lines().find(|line| line.contains("came since")).unwrap();
        assert!(line.starts_with("2022-04-18        3"), "{line}");
        assert_eq!(place.manifest("2022-04-18").records.day, 3);
        // As if it had been there from the beginning.
        let synced = published(&place);
        place.run(&format!("fetch {RANGE} --again")).ends(0);
        assert!(published(&place) == synced);
    }
}

#[test]
fn an_object_that_changed_or_other_options_make_a_day_again() {
    let place = four_days();
    place.run(&format!("fetch {RANGE}")).ends(0);
    let changed = r#"{"n":7,"day":19,"ts":"2022-04-19T03:30:00Z","more":1}"#;
    place.put(&key("s", "2022-04-19T03:30:00", 191), changed);
    place.run(&format!("sync {RANGE}")).ends_and_says(0, &["objects changed", "1 made, 3 left"]);
    let words = ["it was made with other options", "4 made"];
    place.run(&format!("sync {RANGE} --provenance")).ends_and_says(0, &words);
    std::fs::remove_file(place.out().join("records/local_date=2022-04-17/part-00000.parquet"))
        .unwrap();
    let words = ["its files are not those that were published", "1 made, 3 left"];
    place.run(&format!("sync {RANGE} --provenance")).ends_and_says(0, &words);
}

#[test]
fn days_that_were_never_published_are_left_by_sync() {
    let place = four_days();
    place.run("fetch --day 2022-04-18 --tz Asia/Seoul --export records").ends(0);
    let words = ["not published", "it was never published", "4 days: 0 made, 4 left"];
    place.run(&format!("sync {RANGE}")).ends_and_says(0, &words);
    assert_eq!(place.published().len(), 2);
    place
        .run("sync --day 2022-04-18 --tz Asia/Seoul --export records")
        .ends_and_says(0, &["unchanged"]);
}

#[test]
fn objects_that_are_gone_take_nothing_from_a_published_day() {
    let place = four_days();
    place.run(&format!("fetch {RANGE}")).ends(0);
    let before = place.published();
    std::fs::remove_file(place.raw().join(key("s", "2022-04-18T03:30:00", 181))).unwrap();
    for command in ["sync", "fetch"] {
        let words = ["2022-04-18: 1 object fewer than it was made of", "--accept-incomplete"];
        place.run(&format!("{command} {RANGE}")).ends_and_says(0, &words);
        assert!(place.published() == before);
    }
    place.run(&format!("sync {RANGE} --accept-incomplete")).ends_and_says(0, &["1 made"]);
    assert_eq!(place.manifest("2022-04-18").records.day, 1);
}

#[test]
fn a_fresh_day_becomes_final_once_it_is_settled() {
    let place = Place::new();
    let ended = chrono::Utc::now() - chrono::TimeDelta::days(3);
    let time = ended.format("%Y-%m-%dT03:30:00").to_string();
    place.put(&key("s", &time, 1), format!(r#"{{"n":1,"ts":"{time}Z"}}"#));
    let day = format!("--day {} --tz Asia/Seoul --export records", &time[..10]);
    place.run(&format!("fetch {day} --settle 30d")).ends_and_says(0, &["provisional"]);
    let patient = place.run(&format!("sync {day} --settle 30d"));
    patient.ends_and_says(0, &["provisional", "0 made, 1 left"]);
    let words = ["final", "it was provisional, and is settled now", "1 made"];
    place.run(&format!("sync {day}")).ends_and_says(0, &words);
    place.run(&format!("sync {day}")).ends_and_says(0, &["0 made, 1 left"]);
}

#[test]
fn a_damaged_day_is_not_read_again_for_nothing_and_stays_incomplete() {
    let place = four_days();
    place.put(&key("s", "2022-04-18T05:00:00", 5), r#"{"a":x}"#);
    place.run(&format!("fetch {RANGE}")).ends_and_says(3, &["INCOMPLETE"]);
    place.run(&format!("fetch {RANGE}")).ends_and_says(3, &["INCOMPLETE", "0 made, 4 left"]);
}

#[test]
fn json_has_a_manifest_for_each_day_be_it_made_or_left() {
    let place = four_days();
    let dates = |stdout: &str| -> Vec<Value> {
        let manifest = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        stdout.lines().map(|line| manifest(line)["window"]["date"].clone()).collect()
    };
    let expected = ["2022-04-17", "2022-04-18", "2022-04-19", "2022-04-20"].map(|day| json!(day));
    for _ in 0..2 {
        let ran = place.run(&format!("fetch {RANGE} --json")).ends(0);
        assert_eq!(dates(&ran.stdout), expected);
    }
}

#[test]
fn a_bucket_is_listed_again_and_no_object_of_an_unchanged_day_is_got() {
    let place = four_days();
    let server = place.serve();
    place.s3_run(&server, &format!("fetch {RANGE}")).ends(0);
    let gets = |server: &S3Server| {
        let log = server.log();
        log.iter().filter(|seen| matches!(seen, Seen::Get { .. })).count()
    };
    let before = gets(&server);
    assert!(before >= 8, "{before}");
    place.s3_run(&server, &format!("sync {RANGE}")).ends_and_says(0, &["0 made, 4 left"]);
    assert_eq!(gets(&server), before);
}
