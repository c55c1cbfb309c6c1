//! Records that come late or early: the listing grows while its outermost hour holds records of
//! the day, and no further than it may.

use crate::place::{Place, key};
use crate::s3server::Seen;

/// The 18th in Seoul is 15:00 UTC on the 17th to 15:00 UTC on the 18th; 14:00 on the 17th and
/// 15:00 on the 18th are listed beside it.
const LINE: &str = "fetch --day 2022-04-18 --tz Asia/Seoul --export records";

/// An object in this UTC hour with one record of this UTC time.
fn put(place: &Place, hour: &str, n: u32, ts: &str) {
    place.put(
        &key("s", &format!("2022-04-{hour}:10:00"), n),
        format!("{{\"n\":{n},\"ts\":\"{ts}\"}}"),
    );
}

fn day_record(place: &Place, hour: &str, n: u32) {
    put(place, hour, n, "2022-04-18T03:00:00Z");
}

fn other_record(place: &Place, hour: &str, n: u32) {
    put(place, hour, n, "2022-04-20T00:00:00Z");
}

/// First and last hour listed, and the numbers of the day's records in their order.
fn listed(place: &Place) -> (String, String, Vec<i64>) {
    let listing = place.manifest("2022-04-18").listing;
    let numbers = place.records("2022-04-18").column("n");
    let numbers = numbers.iter().map(|n| n.as_i64().unwrap()).collect();
    (listing.first_hour, listing.last_hour, numbers)
}

#[test]
fn a_late_record_in_each_last_hour_draws_the_listing_on_until_an_hour_has_none() {
    let place = Place::new();
    day_record(&place, "18T03", 1);
    for (hour, n) in [("18T15", 2), ("18T16", 3), ("18T17", 4)] {
        day_record(&place, hour, n);
        other_record(&place, hour, n + 100);
    }
    other_record(&place, "18T18", 5);
    day_record(&place, "18T19", 6);
    place.run(LINE).ends(0);
    let (first, last, numbers) = listed(&place);
    assert_eq!((&*first, &*last), ("2022-04-17T14:00:00Z", "2022-04-18T18:00:00Z"));
    assert_eq!(numbers, [1, 2, 3, 4]);
    // Each record is counted once, however often its object was looked at.
    let records = place.manifest("2022-04-18").records;
    assert_eq!((records.parsed, records.day, records.after), (8, 4, 4));
}

#[test]
fn an_early_record_in_the_first_hour_draws_the_listing_back() {
    let place = Place::new();
    for (hour, n) in [("17T12", 1), ("17T13", 2), ("17T14", 3)] {
        day_record(&place, hour, n);
    }
    place.run(LINE).ends(0);
    let (first, last, numbers) = listed(&place);
    assert_eq!((&*first, &*last), ("2022-04-17T11:00:00Z", "2022-04-18T15:00:00Z"));
    assert_eq!(numbers, [1, 2, 3]);
}

#[test]
fn an_hour_without_objects_ends_the_listing() {
    let place = Place::new();
    day_record(&place, "18T15", 1);
    day_record(&place, "18T17", 2);
    place.run(LINE).ends(0);
    let (_, last, numbers) = listed(&place);
    assert_eq!((&*last, &numbers[..]), ("2022-04-18T16:00:00Z", &[1][..]));
}

#[test]
fn the_listing_grows_no_further_than_max_late() {
    let place = Place::new();
    for hour in 9..24 {
        day_record(&place, &format!("18T{hour:02}"), hour);
        day_record(&place, &format!("17T{hour:02}"), 100 + hour);
    }
    // An hour beyond the day that still holds its records is the sign that there may be more.
    let cases = [
        (3, "--max-late 0s", "2022-04-17T14:00:00Z", "2022-04-18T15:00:00Z"),
        (3, "--max-late 1h", "2022-04-17T14:00:00Z", "2022-04-18T15:00:00Z"),
        (3, "--max-late 2h", "2022-04-17T13:00:00Z", "2022-04-18T16:00:00Z"),
        (3, "--max-late 150m", "2022-04-17T12:00:00Z", "2022-04-18T17:00:00Z"),
        (3, "--max-late 1h --look-ahead 4h", "2022-04-17T14:00:00Z", "2022-04-18T18:00:00Z"),
        (
            0,
            "--max-late 0s --look-back 0s --look-ahead 0s",
            "2022-04-17T15:00:00Z",
            "2022-04-18T14:00:00Z",
        ),
        (0, "", "2022-04-17T08:00:00Z", "2022-04-19T00:00:00Z"),
    ];
    for (code, options, first_hour, last_hour) in cases {
        place.run(&format!("{LINE} --accept-incomplete {options}")).ends(code);
        let (first, last, _) = listed(&place);
        assert_eq!((&*first, &*last), (first_hour, last_hour), "{options}");
    }
}

#[test]
fn the_listing_is_the_same_whatever_the_columns_that_are_wanted() {
    let place = Place::with_sample();
    let hours = |line: &str| {
        place.run(line).ends(0);
        let listing = place.manifest("2022-04-18").listing;
        (listing.first_hour, listing.last_hour)
    };
    let all = hours(LINE);
    assert_eq!(all.1, "2022-04-18T17:00:00Z");
    let one = "fetch --day 2022-04-18 --tz Asia/Seoul --export aggregates --metric value";
    assert_eq!(hours(one), all);
}

#[test]
fn objects_at_the_edges_are_got_once_though_they_are_looked_at_before_the_day_is_read() {
    let place = Place::new();
    other_record(&place, "17T14", 1);
    day_record(&place, "18T03", 2);
    day_record(&place, "18T15", 3);
    other_record(&place, "18T15", 4);
    other_record(&place, "18T16", 5);
    let server = place.serve();
    place.s3_run(&server, LINE).ends(0);
    let gets = |n: u32| {
        let end = format!("{n:012}");
        let is = |seen: &&Seen| matches!(seen, Seen::Get { key, .. } if key.ends_with(&end));
        server.log().iter().filter(is).count()
    };
    // Also the third, which is looked at and then read.
    assert_eq!([1, 2, 3, 4, 5].map(gets), [1; 5]);
    let manifest = place.manifest("2022-04-18");
    assert_eq!((manifest.objects.read, manifest.records.parsed), (5, 5));
}
