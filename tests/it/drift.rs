//! Columns that come, go and change: between days, and beside pinned types.

use serde_json::{Value, json};

use crate::place::{Place, key};

/// Two days in Seoul: `lost` is gone on the second, `new` has come, `n` has fractions.
fn two_days() -> Place {
    let place = Place::new();
    let put = |time: &str, serial, record: &str| place.put(&key("s", time, serial), record);
    put("2022-04-17T03:00:00", 1, r#"{"n":1,"lost":"x","device":{"os":"a"},"nothing":null}"#);
    put("2022-04-18T03:00:00", 2, r#"{"n":1.5,"new":[1],"device":{"os":"a"},"nothing":null}"#);
    place
}

const SCHEMA: &str = "schema --day 2022-04-18 --tz Asia/Seoul";
const FETCH: &str = "fetch --day 2022-04-18 --tz Asia/Seoul --export records";

#[test]
fn diff_shows_what_is_new_lost_and_of_another_type_since_another_day() {
    let place = two_days();
    let ran = place.run(&format!("{SCHEMA} --diff 2022-04-17")).ends(0);
    let expected = "2022-04-17 → 2022-04-18 in Asia/Seoul\n\
        column  change   before  now\n\
        lost    lost     text    -\n\
        n       retyped  int     float\n\
        new     new      -       list<int>\n";
    assert_eq!(ran.stdout, expected);
    let ran = place.run(&format!("{SCHEMA} --diff 2022-04-17 --json")).ends(0);
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    let retyped = json!({
        "name": "n", "path": "/n", "change": "retyped", "before": "int", "now": "float"
    });
    assert_eq!(found["changes"][1], retyped);
    assert_eq!(found["before"], "2022-04-17");
    let same = place.run(&format!("{SCHEMA} --diff 2022-04-18"));
    same.ends_and_says(0, &["2022-04-18 and 2022-04-18 have the same columns"]);
}

#[test]
fn diff_compares_with_a_pinned_file_as_well() {
    let place = two_days();
    place.run("schema --day 2022-04-17 --tz Asia/Seoul --pin pins.json").ends(0);
    let ran = place.run(&format!("{SCHEMA} --diff pins.json")).ends(0);
    assert!(ran.stdout.contains("new     new"), "{}", ran.stdout);
    let ran = place.run(&format!("{SCHEMA} --diff nothing.json"));
    ran.ends_and_says(2, &["nothing.json is neither a date nor a file", "schema --pin"]);
    let several = "schema --from 2022-04-17 --to 2022-04-18 --tz Asia/Seoul --diff 2022-04-16";
    place.run(several).ends_and_says(2, &["--diff compares one day", "give one --day"]);
}

#[test]
fn a_day_with_other_columns_than_the_pinned_ones_says_so_and_fails_where_asked() {
    let place = two_days();
    place.run("schema --day 2022-04-17 --tz Asia/Seoul --pin pins.json").ends(0);
    // Fractions do not read as the pinned integer, which is another matter.
    let typed = format!("{FETCH} --schema pins.json --type n=float");
    let words = ["1 column not in the pinned types: new", "no record has the typed columns /lost"];
    place.run(&typed).ends_and_says(0, &words);
    let drift = place.manifest("2022-04-18").drift.unwrap();
    assert_eq!((drift.new, drift.lost), (vec!["/new".to_string()], vec!["/lost".to_string()]));
    place.run(&format!("{typed} --drift fail")).ends_and_says(3, &words);
    assert_eq!(place.records("2022-04-18").rows(), 1);
    let quiet = place.run(&format!("{typed} --drift fail -q"));
    quiet.ends_and_says(3, &["warning: 2022-04-18: 1 column not in the pinned types: new"]);
    let ran = place.run(&format!("{typed} --drift ignore")).ends(0);
    assert!(!ran.stdout.contains("not in the pinned types"), "{}", ran.stdout);
    // The pinned day itself, and a run without pins, have no drift.
    let same = "fetch --day 2022-04-17 --tz Asia/Seoul --export records --drift fail";
    place.run(&format!("{same} --schema pins.json")).ends(0);
    place.run(same).ends(0);
    assert!(place.manifest("2022-04-17").drift.is_none());
}
