//! Many days: what is published and unchanged is left, what objects came to is made again.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::place::{Place, gzip, key};
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
    place.run(&format!("sync {RANGE}")).ends_and_says(0, &["1 object changed", "1 made, 3 left"]);
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
    let words = ["not published", "it was never published", "0 made, 4 left"];
    place.run(&format!("sync {RANGE}")).ends_and_says(0, &words);
    let words = ["not published", "it was never published", "1 made, 3 left"];
    place.run(&format!("sync {RANGE} --again")).ends_and_says(0, &words);
    assert_eq!(place.published().len(), 2);
    let words = ["2022-04-19: it was never published: `rawcat fetch` publishes it"];
    place.run(&format!("sync {RANGE} --json")).ends_and_says(0, &words);
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
        let words =
            ["2022-04-18: left: 1 object of which it was made is gone;", "--accept-incomplete"];
        place.run(&format!("{command} {RANGE}")).ends_and_says(0, &words);
        assert!(place.published() == before);
    }
    place.run(&format!("sync {RANGE} --accept-incomplete")).ends_and_says(0, &["1 made"]);
    assert_eq!(place.manifest("2022-04-18").records.day, 1);
}

#[test]
fn where_some_objects_are_gone_and_others_came_the_day_is_left_and_both_are_said() {
    // More are gone than came, as many, and fewer.
    for came in [1, 2, 3] {
        let place = four_days();
        let time = |n| format!("2022-04-18T04:0{n}:00");
        for n in 0..2 {
            let record = format!(r#"{{"n":{n},"ts":"{}Z"}}"#, time(n));
            place.put(&key("s", &time(n), n), record);
        }
        place.run(&format!("fetch {RANGE}")).ends(0);
        let before = place.published();
        for n in 0..2 {
            std::fs::remove_file(place.raw().join(key("s", &time(n), n))).unwrap();
        }
        for n in 0..came {
            place.put(&key("s", &time(n), 50 + n), r#"{"n":1,"ts":"2022-04-18T05:00:00Z"}"#);
        }
        let new = if came == 1 { "1 object" } else { &format!("{came} objects") };
        let words =
            [&format!("2022-04-18: left: 2 objects of which it was made are gone, and {new} came")
                [..]];
        for talk in ["", "-q", "--json"] {
            place.run(&format!("sync {RANGE} {talk}")).ends_and_says(3, &words);
            assert!(place.published() == before, "{came} came");
        }
        // A single day that is asked for is made, and what is gone is said.
        let line = "fetch --day 2022-04-18 --tz Asia/Seoul --export records";
        let words = ["2 objects of which", "made"];
        place.run(line).ends_and_says(0, &words);
        assert_eq!(place.manifest("2022-04-18").records.day, 2 + u64::from(came));
        assert_eq!(place.manifest("2022-04-18").run.replaced.unwrap().objects_gone, 2);
    }
}

#[test]
fn a_file_that_is_written_anew_with_the_same_size_makes_its_day_again() {
    let place = four_days();
    place.run(&format!("fetch {RANGE}")).ends(0);
    let path = place.raw().join(key("s", "2022-04-18T03:30:00", 181));
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"n\":1", "\"n\":8")).unwrap();
    place.run(&format!("sync {RANGE}")).ends_and_says(0, &["1 object changed", "1 made, 3 left"]);
    assert_eq!(place.records("2022-04-18").column("n"), [json!(8), json!(2)]);
}

#[test]
fn the_same_objects_are_the_same_source_by_whatever_path() {
    let place = four_days();
    place.run(&format!("fetch {RANGE}")).ends(0);
    let other = place.path().join("elsewhere");
    std::os::unix::fs::symlink(place.raw(), &other).unwrap();
    let line = format!("sync {RANGE} --source {}", other.display());
    place.run(&line).ends_and_says(0, &["0 made, 4 left"]);
    place.put(&key("s", "2022-04-18T05:00:00", 9), r#"{"n":1}"#);
    place.run(&line).ends_and_says(0, &["it was made of another source", "1 made, 3 left"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_no_key_makes_its_day_again_and_is_said() {
    use std::os::unix::ffi::OsStrExt;
    let place = four_days();
    place.run(&format!("fetch {RANGE}")).ends(0);
    let folder = place.raw().join("2022/04/18/03");
    std::fs::write(folder.join(std::ffi::OsStr::from_bytes(b"bad-\xff")), "{}").unwrap();
    let words = ["bad-\\xFF: the name is not UTF-8", "left: this run is worse", "0 made, 4 left"];
    place.run(&format!("sync {RANGE}")).ends_and_says(3, &words);
}

#[test]
fn a_day_that_fails_alone_does_not_keep_the_others() {
    let place = four_days();
    for day in [17, 18, 20] {
        let time = format!("2022-04-{day}T05:00:00");
        place.put(&key("s", &time, day), format!(r#"{{"id":1,"ts":"{time}Z"}}"#));
    }
    let words = [
        "rawcat: 2022-04-19: none of 2 records of the day has the field \"id\"",
        "FAILED",
        "4 days: 3 made, 0 left as they were, 1 failed; 9 records",
    ];
    place.run(&format!("fetch {RANGE} --dedup-key id")).ends_and_says(2, &words);
    // Where the first day says that the option is wrong, the others are not read for nothing.
    let ran = place.run(&format!("fetch {RANGE} --dedup-key no --again"));
    let ran = ran.ends_and_says(2, &["rawcat: 2022-04-17: none of 3 records"]);
    assert!(!ran.stderr.contains("2022-04-18"), "{}", ran.stderr);
}

#[test]
fn what_ends_all_days_ends_with_the_table_of_those_before_it() {
    let place = four_days();
    // The records of the third day have no place to go.
    std::fs::create_dir_all(place.out().join("records")).unwrap();
    std::fs::write(place.out().join("records/local_date=2022-04-19"), "a file").unwrap();
    let words = ["2022-04-18", "final", "rawcat: 2022-04-19: can't"];
    let ran = place.run(&format!("fetch {RANGE}")).ends_and_says(1, &words);
    assert!(ran.stdout.contains("2 days: 2 made"), "{}", ran.stdout);
}

#[test]
fn days_that_a_layout_told_by_keys_made_stay_unchanged() {
    let place = Place::new();
    for day in 17..=20 {
        let time = format!("2022-04-{day}T03:00:00");
        let name = key("s", &time, day);
        let name = name.rsplit('/').next().unwrap();
        let at = format!("year=2022/month=04/day={day}/hour=03/{name}");
        place.put(&at, format!(r#"{{"n":1,"ts":"{time}Z"}}"#));
    }
    place.run(&format!("fetch {RANGE}")).ends_and_says(0, &["4 made", "--layout"]);
    place.run(&format!("sync {RANGE}")).ends_and_says(0, &["0 made, 4 left"]);
    let late = "year=2022/month=04/day=18/hour=03/late";
    place.put(late, r#"{"n":2,"ts":"2022-04-18T03:00:00Z"}"#);
    place.run(&format!("sync {RANGE}")).ends_and_says(0, &["1 made, 3 left"]);
    place.run(&format!("sync {RANGE}")).ends_and_says(0, &["0 made, 4 left"]);
}

#[test]
fn days_whose_raw_objects_expired_are_left_as_published() {
    let place = four_days();
    place.run(&format!("fetch {RANGE}")).ends(0);
    let before = place.published();
    for day in ["17", "18"] {
        std::fs::remove_dir_all(place.raw().join("2022/04").join(day)).unwrap();
    }
    let line = "sync --from 2022-04-16 --to 2022-04-20 --tz Asia/Seoul --export records";
    let words = [
        "left as published: 2022-04-17 to 2022-04-18 (2 days), before the first object",
        "not published: 2022-04-16, before the first object",
        "2 days: 0 made, 2 left",
    ];
    place.run(line).ends_and_says(0, &words);
    let line = "sync --from 2022-04-16 --to 2022-04-17 --tz Asia/Seoul --export records";
    place.run(line).ends_and_says(0, &["left as published: 2022-04-17, before"]);
    assert!(place.published() == before);
}

#[test]
fn why_a_day_stays_incomplete_is_said_without_a_table_too() {
    let place = four_days();
    place.put(&key("s", "2022-04-18T05:00:00", 5), r#"{"a":x}"#);
    place.run(&format!("fetch {RANGE}")).ends(3);
    for talk in ["", "-q", "--json"] {
        let ran = place.run(&format!("fetch {RANGE} {talk}"));
        ran.ends_and_says(3, &["2022-04-18: incomplete as it was: 1 place is quarantined"]);
    }
}

#[test]
fn columns_that_are_not_pinned_are_said_of_days_that_are_left() {
    let place = four_days();
    place.run("schema --day 2022-04-17 --tz Asia/Seoul --pin pins.json").ends(0);
    let more = r#"{"n":1,"day":1,"ts":"2022-04-18T05:00:00Z","more":1}"#;
    place.put(&key("s", "2022-04-18T05:00:00", 5), more);
    // The same types, typed: nothing is expected of other columns then.
    place.run(&format!("fetch {RANGE} --type n=int --type day=int --type ts=text")).ends(0);
    let line = format!("fetch {RANGE} --schema pins.json --drift fail");
    place.run(&line).ends_and_says(3, &["4 made", "1 column not in the pinned types: more"]);
    for talk in ["", "-q", "--json"] {
        let words = ["1 column not in the pinned types: more"];
        place.run(&format!("{line} {talk}")).ends_and_says(3, &words);
    }
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
    // What is damaged stays so; the reason that time mends goes.
    place.put(&key("s", &time, 2), "{\"a\":x}");
    place.run(&format!("sync {day} --settle 30d --accept-incomplete")).ends(3);
    assert_eq!(place.manifest(&time[..10]).verdict.reasons.len(), 2);
    place.run(&format!("sync {day}")).ends_and_says(3, &["1 made"]);
    assert_eq!(place.manifest(&time[..10]).verdict.reasons.len(), 1);
    place.run(&format!("sync {day}")).ends_and_says(3, &["0 made, 1 left"]);
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
fn an_object_that_serves_two_days_is_got_once() {
    let place = four_days();
    // Around midnight in Seoul: of both days, late for its own, and one that is read as a stream.
    for day in 17..=20 {
        for minute in [40, 50] {
            let time = format!("2022-04-{day}T14:{minute}:00");
            let records = format!(
                r#"{{"n":1,"ts":"2022-04-{day}T14:59:00Z"}}{{"n":2,"ts":"2022-04-{day}T15:01:00Z"}}"#
            );
            place.put(&key("s", &time, 900 + day), gzip(records));
        }
        let late = format!("2022-04-{day}T15:10:00");
        place.put(&key("s", &late, day), format!(r#"{{"n":3,"ts":"2022-04-{day}T14:10:00Z"}}"#));
    }
    let long = format!(r#"{{"n":4,"ts":"2022-04-18T15:20:00Z","t":"{}"}}"#, "x".repeat(17 << 20));
    place.put(&key("s", "2022-04-18T14:55:00", 7), long);
    let server = place.serve();
    let gets = || {
        let mut gets: BTreeMap<String, u32> = BTreeMap::new();
        for seen in server.log() {
            if let Seen::Get { key, .. } = seen {
                *gets.entry(key).or_default() += 1;
            }
        }
        gets
    };
    place.s3_run(&server, &format!("fetch {RANGE} --max-record-bytes 20MB")).ends(0);
    let of_bucket = gets();
    assert_eq!(of_bucket.len(), 8 + 12 + 1);
    assert!(of_bucket.values().all(|times| *times == 1), "{of_bucket:#?}");
    let bucket = published(&place);
    std::fs::remove_dir_all(place.out()).unwrap();
    place.run(&format!("fetch {RANGE} --max-record-bytes 20MB")).ends(0);
    let folder = published(&place);
    for (path, bytes) in folder.iter().filter(|(path, _)| path.ends_with(".parquet")) {
        assert!(bucket[path] == *bytes, "{path}");
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
