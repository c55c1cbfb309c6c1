//! What may have been meant otherwise: a day that gets poorer, times that don't read, values that
//! don't fit, text that becomes JSON. Each is said with an example and a remedy, and counted where
//! the manifest has a place for it.

use std::fs;

use serde_json::{Value, json};

use crate::place::{Place, key};

const DAY: &str = "2022-04-18";
const LINE: &str = "fetch --day 2022-04-18 --tz Asia/Seoul --export records";

/// A place with a published day of three records, in two objects.
fn published() -> Place {
    let place = Place::new();
    place.put(&key("s", "2022-04-18T03:00:00", 3), "{\"n\":1}{\"n\":2}");
    place.put(&key("s", "2022-04-18T04:00:00", 4), "{\"n\":3}");
    place.run(LINE).ends(0);
    place
}

fn replaced(place: &Place) -> Value {
    serde_json::to_value(place.manifest(DAY).run.replaced).unwrap()
}

#[test]
fn a_run_that_quarantines_something_leaves_a_complete_day_as_it_was() {
    let place = published();
    place.put(&key("s", "2022-04-18T05:00:00", 5), "{\"n\":4}{\"n\":");
    let before = place.published();
    let words = ["published already (3 records, complete)", "left as it was", "mend what is"];
    for talk in ["", "-q", "--json"] {
        place.run(&format!("{LINE} {talk}")).ends_and_says(3, &words);
        assert!(place.published() == before, "{talk}");
    }
    let words = ["the day published before: 3 records, complete → 4 records"];
    place.run(&format!("{LINE} --accept-incomplete")).ends_and_says(3, &words);
    let expected = json!({ "records": 3, "objects_gone": 0, "complete": true });
    assert_eq!(replaced(&place), expected);
    // An incomplete day may be replaced by another one.
    place.put(&key("s", "2022-04-18T05:00:00", 5), "{\"n\":4}{\"n\":5}{\"n\":");
    let words = ["the day published before: 4 records, incomplete → 5 records"];
    place.run(LINE).ends_and_says(3, &words);
}

#[test]
fn options_that_spoil_a_day_are_named_as_what_to_check() {
    let place = published();
    let before = place.published();
    place.put(&key("s", "2022-04-18T05:00:00", 5), "{\"n\":\"x\"}");
    place.run(&format!("{LINE} --type n=int")).ends_and_says(3, &["check --time-field and --type"]);
    fs::remove_file(place.raw().join(key("s", "2022-04-18T05:00:00", 5))).unwrap();
    let line = format!("{LINE} --max-object-bytes 8");
    place.run(&line).ends_and_says(3, &["left as it was", "raise --max-object-bytes"]);
    assert!(place.published() == before);
}

#[test]
fn a_listing_that_max_late_cut_short_leaves_a_published_day_as_it_was() {
    let place = published();
    place.put(&key("s", "2022-04-18T15:30:00", 6), "{\"n\":4,\"ts\":\"2022-04-18T14:59:59Z\"}");
    place.run(LINE).ends(0);
    let before = place.published();
    let words = ["left as it was", "give a longer --max-late"];
    place.run(&format!("{LINE} --max-late 0h")).ends_and_says(3, &words);
    assert!(place.published() == before);
}

#[test]
fn a_complete_run_with_fewer_records_replaces_the_day_and_says_so() {
    let place = published();
    fs::remove_file(place.raw().join(key("s", "2022-04-18T03:00:00", 3))).unwrap();
    let words = ["3 records, complete → 1 record\n", "2 records fewer than in what it replaces"];
    place.run(LINE).ends_and_says(0, &words);
    let expected = json!({ "records": 3, "objects_gone": 1, "complete": true });
    assert_eq!(replaced(&place), expected);
    // The same again is no loss.
    let again = place.run(LINE).ends_and_says(0, &["1 record, complete → 1 record"]);
    assert!(!again.stdout.contains("fewer"), "{}", again.stdout);
    for talk in ["-q", "--json"] {
        let place = published();
        fs::remove_file(place.raw().join(key("s", "2022-04-18T04:00:00", 4))).unwrap();
        let ran = place.run(&format!("{LINE} {talk}")).ends(0);
        assert!(ran.stderr.starts_with("warning: 2022-04-18: 1 record fewer"), "{}", ran.stderr);
    }
}

#[test]
fn a_time_that_does_not_read_is_counted_and_shown_with_its_place() {
    let place = Place::new();
    let good = "{\"ts\":\"2022-04-18T03:00:01Z\"}";
    let first = key("s", "2022-04-18T03:00:00", 1);
    place.put(&first, format!("{good}{{\"ts\":\"18/04/2022 01:00\"}}{{}}"));
    // A second field that reads makes the first one no loss; an hour's prefix may serve, too.
    let other = "{\"ts\":null}{\"ts\":{}}{\"ts\":7,\"timestamp\":\"2022-04-18T04:00:01Z\"}";
    place.put("2022/04/18/04/renamed", format!("{{\"ts\":7}}{other}"));
    for jobs in [1, 3] {
        let words = [
            "2 records took the object's time",
            "ts is '18/04/2022 01:00' in",
            &format!("{first}:{}", good.len()),
            "--time-field",
        ];
        place.run(&format!("{LINE} --jobs {jobs}")).ends_and_says(0, &words);
        let time = place.manifest(DAY).time;
        assert_eq!(time.unreadable, 2);
        let sources = json!({"object name": 2, "prefix hour": 3, "ts": 1, "timestamp": 1});
        assert_eq!(json!(time.sources), sources);
    }
    let line = format!("{LINE} --time-field ts --fallback-key --accept-incomplete");
    place.run(&line).ends(0);
    assert_eq!(place.manifest(DAY).time.unreadable, 3);
}

#[test]
fn a_time_field_that_never_reads_as_a_time_is_wrong_usage() {
    let place = published();
    let before = place.published();
    let words = ["the field \"n\" reads as a time within 1990 to 2100 in none of 3 records"];
    place.run(&format!("{LINE} --time-field n")).ends_and_says(2, &words);
    assert!(place.published() == before);
    place.assert_clean();
}

#[test]
fn a_declared_type_that_does_not_fit_is_told_with_column_and_first_value() {
    let place = Place::new();
    let first = key("s", "2022-04-18T03:00:00", 1);
    place.put(&first, "{\"n\":1,\"d\":{\"os\":\"ios\"}}{\"n\":2,\"d\":{\"os\":\"\\u0041\"}}");
    let line = format!("{LINE} --type n=int,d.os=float");
    let words = [&*format!("d.os is declared float, and \"ios\" does not read as one ({first}:0)")];
    let ran = place.run(&line).ends_and_says(3, &words);
    assert!(!ran.stdout.contains("n is declared"), "{}", ran.stdout);
}

#[test]
fn text_beside_lists_or_objects_is_told_with_their_number_and_place() {
    let place = Place::new();
    let (one, two) = (key("s", "2022-04-18T03:00:00", 1), key("s", "2022-04-18T04:00:00", 2));
    place.put(&one, "{\"t\":\"a\",\"u\":[1]}{\"t\":\"b\",\"u\":[2]}{\"t\":\"c\"}");
    place.put(&two, "{\"t\":\"d\"}{\"t\":[\"e\"]}{\"t\":\"[\"}");
    let words = [
        &*format!("t is json here, because 1 record has a list or an object there ({two}:9)"),
        "--type t=text quarantines the 1 record",
    ];
    let ran = place.run(LINE).ends_and_says(0, &words);
    assert!(!ran.stdout.contains("u is json"), "{}", ran.stdout);
    // Where it is the text that is rare, quarantining the others is no advice.
    place.put(&two, "{\"t\":{\"x\":1}}{\"t\":{\"y\":1}}{\"t\":{\"y\":2}}{\"t\":{\"y\":3}}");
    let words =
        [&*format!("t is json here, because 4 records have a list or an object there ({two}:0)")];
    let ran = place.run(LINE).ends_and_says(0, &words);
    assert!(!ran.stdout.contains("--type t=text"), "{}", ran.stdout);
    // What was declared is no doubt.
    let ran = place.run(&format!("{LINE} --type t=json")).ends(0);
    assert!(!ran.stdout.contains("t is json"), "{}", ran.stdout);
}

#[test]
fn a_metric_may_be_named_as_its_column_is_published() {
    let place = Place::new();
    place.put(&key("s", "2022-04-18T03:00:00", 1), "{\"a\":{\"b\":1},\"a_b\":5}");
    place.run(LINE).ends(0);
    let names = place.records(DAY).names();
    assert!(names.contains(&"a_b".to_string()) && names.contains(&"a_b_2".to_string()));
    let line = "fetch --day 2022-04-18 --tz Asia/Seoul";
    for export in ["aggregates", "aggregates,records"] {
        place.run(&format!("{line} --export {export} --metric a_b_2")).ends(0);
        let daily = place.table("aggregates/daily/local_date=2022-04-18/part-00000.parquet");
        assert_eq!(daily.column("a_b_2_sum"), [json!(5.0)], "{export}");
    }
    let words = ["--metric \"a_b_3\"", "no such column"];
    place.run(&format!("{line} --metric a_b_3")).ends_and_says(2, &words);
    let words = ["--by \"a\"", "did you mean \"a_b\" or \"a_b_2\"?"];
    place.run(&format!("{line} --by a")).ends_and_says(2, &words);
}

#[test]
fn one_leap_second_is_one_time() {
    let place = Place::new();
    let record = "{\"ts\":\"2022-04-18T03:59:60Z\"}";
    place.put(&key("s", "2022-04-18T03:00:00", 1), record);
    place.run(LINE).ends_and_says(0, &["1 time said :60 and counts as :59.999999"]);
    place.put(&key("s", "2022-04-18T03:00:00", 1), record.repeat(2));
    place.run(LINE).ends_and_says(0, &["2 times said :60 and count as :59.999999"]);
}
