//! `plan`: the truth about what `fetch` would do, and no object is downloaded.

use serde_json::{Value, json};

use crate::place::{Place, key};
use crate::s3server::{Fault, On, Seen};

const LINE: &str = "plan --day 2022-04-18 --tz Asia/Seoul";

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_plan_has_the_documented_fields_and_downloads_nothing() {
    let place = Place::with_sample();
    let server = place.serve();
    let plan = json_of(&place.s3_run(&server, &format!("{LINE} --json")).ends(0).stdout);
    let window = json!({
        "date": "2022-04-18",
        "tz": "Asia/Seoul",
        "start_utc": "2022-04-17T15:00:00Z",
        "end_utc": "2022-04-18T15:00:00Z",
    });
    assert_eq!(plan["window"], window);
    let hours = |first: &str, last: &str, hours: u32| json!({ "first_hour": first, "last_hour": last, "hours": hours });
    assert_eq!(plan["listing"], hours("2022-04-17T14:00:00Z", "2022-04-18T15:00:00Z", 26));
    assert_eq!(plan["listing_max"], hours("2022-04-16T15:00:00Z", "2022-04-19T14:00:00Z", 72));
    let prefixes = plan["prefixes"].as_array().unwrap();
    assert_eq!(prefixes.len(), 26);
    assert_eq!(prefixes[0]["prefix"], "2022/04/17/14/");
    let objects = plan["objects"].as_array().unwrap();
    let sum =
        |list: &[Value]| list.iter().map(|entry| entry["bytes"].as_u64().unwrap()).sum::<u64>();
    assert_eq!(plan["bytes"], sum(objects));
    assert_eq!(sum(prefixes), sum(objects));
    assert!(objects.iter().all(|object| object["etag"].is_string()));
    // A request for each prefix, which was made, and one for each object, which was not.
    assert_eq!(plan["requests"], 26 + objects.len());
    assert_eq!(server.gets(), 0);
    let listed: Vec<Seen> = server.log();
    assert_eq!(listed.len(), 26);
    assert!(!place.out().exists());
}

#[test]
fn the_plan_of_a_folder_is_the_plan_of_the_bucket() {
    let place = Place::with_sample();
    let server = place.serve();
    let mut folder = json_of(&place.run(&format!("{LINE} --json")).ends(0).stdout);
    let mut bucket = json_of(&place.s3_run(&server, &format!("{LINE} --json")).ends(0).stdout);
    for plan in [&mut folder, &mut bucket] {
        let plan = plan.as_object_mut().unwrap();
        plan.remove("source").unwrap();
        // A folder has no requests to pay for.
        plan.remove("requests").unwrap();
        for object in plan["objects"].as_array_mut().unwrap() {
            object.as_object_mut().unwrap().remove("etag").unwrap();
        }
    }
    assert_eq!(folder, bucket);
}

#[test]
fn fetch_reads_what_was_planned_and_more_only_where_the_edge_draws_it_on() {
    let place = Place::with_sample();
    let plan = json_of(&place.run(&format!("{LINE} --json")).ends(0).stdout);
    place.run("fetch --day 2022-04-18 --tz Asia/Seoul --export records").ends(0);
    let listing = place.manifest("2022-04-18").listing;
    let fetched: Vec<(String, u64)> =
        listing.prefixes.into_iter().map(|prefix| (prefix.prefix, prefix.objects)).collect();
    for planned in plan["prefixes"].as_array().unwrap() {
        let prefix = planned["prefix"].as_str().unwrap().to_string();
        assert!(fetched.contains(&(prefix, planned["objects"].as_u64().unwrap())), "{planned}");
    }
    assert!(fetched.len() > plan["prefixes"].as_array().unwrap().len());
}

#[test]
fn the_plan_for_people_says_window_hours_objects_and_bytes() {
    let place = Place::with_sample();
    let words = ["2022-04-18 00:00 +09:00", "26 hours", "2022/04/17/20/  no objects", "to read"];
    place.run(LINE).ends_and_says(0, &words);
    let server = place.serve();
    server.fault(On::AnyList, 1, Fault::Delay(std::time::Duration::from_millis(10)));
    place.s3_run(&server, LINE).ends_and_says(0, &words);
}

#[test]
fn a_prefix_that_may_not_be_listed_is_in_the_plan_with_its_reason() {
    let place = Place::new();
    place.put(&key("s", "2022-04-18T03:00:00", 1), "{}");
    let server = place.serve();
    server.deny("raw/2022/04/18/04/");
    let plan = json_of(&place.s3_run(&server, &format!("{LINE} --json")).ends(3).stdout);
    let prefixes = plan["prefixes"].as_array().unwrap();
    let denied: Vec<&Value> = prefixes.iter().filter(|prefix| !prefix["error"].is_null()).collect();
    assert_eq!(denied.len(), 1);
    assert_eq!(denied[0]["prefix"], "2022/04/18/04/");
    assert!(denied[0]["error"].as_str().unwrap().contains("s3:ListBucket"));
    // Nothing else lies there: the failure is said, and no guess is made.
    server.deny("raw/2022/04/18/03/");
    place.s3_run(&server, LINE).ends_and_says(3, &["2022/04/18/03/", "access denied"]);
}
