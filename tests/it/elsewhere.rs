//! Sources and days where nothing lies: every command says so, and where to look instead.

use std::fs;

use serde_json::{Value, json};

use crate::place::{Place, key};

const DAY: &str = "--day 2022-04-18 --tz Asia/Seoul";

/// The commands that read a day.
const COMMANDS: [&str; 4] = ["fetch --export records", "plan", "schema", "cat"];

fn one() -> Place {
    let place = Place::new();
    place.put(&key("s", "2022-04-18T03:00:00", 1), "{\"n\":1}");
    place
}

#[test]
fn a_source_one_level_too_low_is_answered_with_the_one_that_was_meant() {
    let place = one();
    let server = place.serve();
    for command in COMMANDS {
        for inside in ["raw/2022", "raw/2022/04/18/"] {
            let words = ["holds no folders of years", "did you mean bucket/raw/?"];
            let line = format!("{command} {DAY} --source bucket/{inside}");
            place.run(&line).ends_and_says(1, &words);
            let words = ["did you mean s3://bucket/raw/?"];
            let line = format!("{command} {DAY} --source s3://bucket/{inside}");
            place.s3_run(&server, &line).ends_and_says(1, &words);
        }
    }
    place.assert_nothing_published();
}

#[test]
fn a_source_one_level_too_high_is_read_as_its_keys_show() {
    let place = one();
    let server = place.serve();
    for command in COMMANDS {
        place.run(&format!("{command} {DAY} --source bucket")).ends_and_says(0, &["raw/"]);
        let line = format!("{command} {DAY} --source s3://bucket/");
        place.s3_run(&server, &line).ends_and_says(0, &["raw/"]);
    }
    assert_eq!(place.manifest("2022-04-18").records.day, 1);
}

#[test]
fn folders_of_years_without_an_object_are_not_called_absent() {
    let place = Place::new();
    fs::create_dir_all(place.raw().join("2022/04/18/03")).unwrap();
    for command in COMMANDS {
        let words = ["has folders of years, but no object below them"];
        place.run(&format!("{command} {DAY}")).ends_and_says(1, &words);
    }
    place.assert_nothing_published();
}

#[test]
fn a_day_without_objects_is_told_with_the_nearest_hours() {
    let place = one();
    let line = "--day 2022-05-18 --tz Asia/Seoul";
    for command in ["plan", "plan --json", "schema", "schema --json", "cat", "cat --csv"] {
        let ran = place.run(&format!("{command} {line}")).ends(0);
        let said = "rawcat: no objects for 2022-05-18 in Asia/Seoul; the nearest are in \
                    2022/04/18/03/ before it\n";
        assert_eq!(ran.stderr, said, "{command}");
    }
    let plan = place.run(&format!("plan --json {line}")).ends(0).stdout;
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["nearest"], json!({ "before": "2022/04/18/03/", "after": null }));
    // Objects without a record of the day are another thing.
    let ran =
        place.run("cat --from 2022-04-18T12:30 --to 2022-04-18T12:40 --tz Asia/Seoul").ends(0);
    assert!(ran.stderr.starts_with("rawcat: no records of 2022-04-18 12:30"), "{}", ran.stderr);
    let words = ["no records, final", "no object lies in any hour that was listed"];
    place.run(&format!("fetch {line} --export records")).ends_and_says(0, &words);
    let ran = place.run(&format!("fetch {line} --export records -q")).ends(0);
    assert!(ran.stderr.starts_with("warning: 2022-05-18: no object lies"), "{}", ran.stderr);
}

#[test]
fn a_range_longer_than_the_data_publishes_no_day_before_it_and_none_to_come() {
    let place = one();
    let range = "fetch --export records --tz Asia/Seoul --from";
    let words = ["not published: 1990-01-01 to 2022-04-17 (11795 days), before the first object"];
    place.run(&format!("{range} 1990-01-01 --to 2022-04-19")).ends_and_says(0, &words);
    let days: Vec<String> = place.published().into_keys().collect();
    assert_eq!(days.iter().filter(|path| path.starts_with("manifests/")).count(), 2, "{days:?}");
    let before = place.published();
    let words = ["not published: 2099-01-01 to 2099-12-31 (365 days), not begun"];
    place.run(&format!("{range} 2099-01-01 --to 2099-12-31")).ends_and_says(2, &words);
    place.run(&format!("{range} 1990-01-01 --to 1990-01-02")).ends_and_says(2, &["not published"]);
    let day = "fetch --day 2099-01-01 --tz Asia/Seoul";
    place.run(day).ends_and_says(2, &["not published: 2099-01-01, not begun"]);
    assert!(place.published() == before);
}

#[test]
fn an_out_among_the_raw_objects_is_refused() {
    let place = one();
    let refused = |line: &str, words: &[&str]| {
        place.run(&format!("fetch {DAY} {line}")).ends_and_says(2, words);
    };
    refused("--out bucket/raw", &["--out: bucket/raw lies inside --source"]);
    refused("--out bucket/raw/deeper/out", &["lies inside --source"]);
    refused("--out ./bucket/../bucket/raw/out", &["lies inside --source"]);
    fs::create_dir_all(place.path().join("days/records")).unwrap();
    refused(
        "--source days/records --out days",
        &["--source: days/records lies in records/ of --out"],
    );
    refused("--source s3://bucket/raw/ --out s3://bucket/raw/days/", &["lies inside --source"]);
    std::os::unix::fs::symlink(place.raw(), place.path().join("link")).unwrap();
    refused("--out link/days", &["lies inside --source"]);
    assert_eq!(fs::read_dir(place.raw()).unwrap().count(), 1);
    // A layout says where below the source the raw objects lie.
    let below = "--source s3://bucket/ --layout raw/!{timestamp:yyyy/MM/dd/HH}/ --out s3://bucket";
    refused(&format!("{below}/raw/days/"), &["lies inside --source"]);
    place.s3_run(&place.serve(), &format!("plan {DAY} {below}/days/")).ends(0);
    // Beside it, or with the source in a folder that is the user's own, all is well.
    place.run(&format!("fetch {DAY} --export records --out bucket/raw-days")).ends(0);
    place.run(&format!("fetch {DAY} --export records --out .")).ends(0);
    // `raw-days/` only begins as `raw/` does.
    let line = format!("plan {DAY} --source s3://bucket/raw/ --out s3://bucket/raw-days/");
    let server = place.serve();
    place.s3_run(&server, &line).ends(0);
}

#[test]
fn documents_of_several_days_are_one_a_line() {
    let place = one();
    let range = "--from 2022-04-18 --to 2022-04-19 --tz Asia/Seoul --json";
    for command in ["fetch --export records", "plan", "schema"] {
        let ran = place.run(&format!("{command} {range}")).ends(0);
        let dates = ran.stdout.lines().map(|line| {
            let value: Value = serde_json::from_str(line).unwrap();
            value["window"]["date"].as_str().unwrap().to_string()
        });
        assert_eq!(dates.collect::<Vec<_>>(), ["2022-04-18", "2022-04-19"], "{command}");
    }
    let alone = place.run(&format!("plan {DAY} --json")).ends(0).stdout;
    assert!(alone.lines().count() > 10, "{alone}");
}

#[test]
fn json_that_nobody_gets_fails_the_run_after_all_days_were_made() {
    let place = one();
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let line = "fetch --from 2022-04-18 --to 2022-04-19 --tz Asia/Seoul --export records --json";
    let output = place.command(line).stdout(full()).output().unwrap();
    crate::place::ran(output).ends_and_says(1, &["can't write to stdout"]);
    assert_eq!(place.manifest("2022-04-19").records.day, 0);
}
