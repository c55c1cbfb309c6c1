//! Prefixes as streams configure them: which objects of a day are found under them, and what they
//! say about the records.

use serde_json::{Value, json};

use crate::place::{Place, Ran};
use crate::s3server::Seen;

const DAY: &str = "--day 2022-04-18 --tz Asia/Seoul";

/// The name of an object of this time on the clock of its prefix.
fn name(time: &str, n: u32) -> String {
    format!("s-1-{}-00000000-0000-4000-8000-{n:012}", time.replace(['T', ':'], "-"))
}

/// An object with one record: `n`, and an event time in UTC.
fn put(place: &Place, prefix: &str, named: &str, n: u32, ts: &str) {
    let record = format!("{{\"n\":{n},\"ts\":\"{ts}\"}}");
    place.put(&format!("{prefix}{}", name(named, n)), record);
}

/// A run with a layout that holds blanks and quotes as it likes.
fn run(place: &Place, line: &str, layout: &str) -> Ran {
    let mut command = place.command(line);
    crate::place::ran(command.args(["--layout", layout]).output().unwrap())
}

fn numbers(place: &Place) -> Vec<Value> {
    let mut numbers = place.records("2022-04-18").column("n");
    numbers.sort_by_key(|n| n.as_i64());
    numbers
}

/// Prefix, time in the name, event time: around the 18th in Seoul, which is 15:00 UTC to 15:00 UTC.
const HOURS: [(u32, &str, bool); 6] = [
    (1, "2022-04-17T13:59:00", false),
    (2, "2022-04-17T15:00:03", true),
    (3, "2022-04-17T23:59:59", true),
    (4, "2022-04-18T00:00:00", true),
    (5, "2022-04-18T14:59:59", true),
    (6, "2022-04-18T15:00:00", false),
];

/// One object in each of [`HOURS`], under the prefix that `spell` gives for its time.
fn fill(place: &Place, spell: impl Fn(chrono::NaiveDateTime) -> String) {
    for (n, time, _) in HOURS {
        put(place, &spell(time.parse().unwrap()), time, n, &format!("{time}Z"));
    }
}

fn of_day() -> Vec<Value> {
    HOURS.iter().filter(|(_, _, inside)| *inside).map(|(n, ..)| json!(n)).collect()
}

#[test]
fn a_day_is_found_under_every_prefix_that_a_stream_can_have() {
    let cases = [
        (
            "hive/!{timestamp:'year='yyyy'/month='MM'/day='dd'/hour='HH}/",
            "hive/year=%Y/month=%m/day=%d/hour=%H/",
        ),
        ("year=!{timestamp:yyyy}/day=!{timestamp:DDD}/!{timestamp:HH}/", "year=%Y/day=%j/%H/"),
        ("!{timestamp:yyyy/MM/dd/}", "%Y/%m/%d/"),
        ("!{timestamp:yyyy-MM}/", "%Y-%m/"),
        ("!{timestamp:yyyy/M/d/H}/", "%Y/%-m/%-d/%-H/"),
        ("!{timestamp:dd.MM.yy}/at !{timestamp:HH-mm}/", "%d.%m.%y/at %H-%M/"),
        ("legacy", "legacy%Y/%m/%d/%H/"),
        ("legacy!{timestamp:yyyy}/!{timestamp:MM/dd/HH}", "legacy%Y/%m/%d/%H"),
        ("!{timestamp:HH}/!{timestamp:yyyyMMdd}/", "%H/%Y%m%d/"),
        ("flat", ""),
        ("!{firehose:random-string}/", "a1B2c3D4e5F/"),
        ("!{firehose:random-string}/", "a1B2c3D4e5F/%Y/%m/%d/%H/"),
        ("x/!{firehose:random-string}/!{timestamp:yyyy/MM/dd/HH/}", "x/a1B2c3D4e5F/%Y/%m/%d/%H/"),
    ];
    for (layout, pattern) in cases {
        let place = Place::new();
        fill(&place, |time| time.format(pattern).to_string());
        let line = format!("fetch {DAY} --export records");
        run(&place, &line, layout).ends(0);
        assert_eq!(numbers(&place), of_day(), "{layout}");
        let manifest = place.manifest("2022-04-18");
        assert_eq!(manifest.options["layout"], json!(layout));
        assert!(!manifest.listing.layout_inferred);
        // The bucket says the same.
        let (folder, server) = (place.published(), place.serve());
        let mut command = place.s3_command(&server, &line);
        crate::place::ran(command.args(["--layout", layout]).output().unwrap()).ends(0);
        let records = "records/local_date=2022-04-18/part-00000.parquet";
        assert_eq!(place.published()[records], folder[records], "{layout}");
    }
}

#[test]
fn the_plan_names_the_prefixes_of_any_layout_and_lists_no_key_twice() {
    let place = Place::new();
    fill(&place, |time| time.format("y=%Y/m=%m/d=%d/").to_string());
    let plan = |layout: &str| -> Value {
        let ran = run(&place, &format!("plan {DAY} --json"), layout).ends(0);
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let daily = plan("y=!{timestamp:yyyy}/m=!{timestamp:MM}/d=!{timestamp:dd}/");
    let prefixes = daily["prefixes"].as_array().unwrap().iter();
    let prefixes: Vec<&Value> = prefixes.map(|prefix| &prefix["prefix"]).collect();
    assert_eq!(prefixes, ["y=2022/m=04/d=17/", "y=2022/m=04/d=18/"]);
    // Both folders are listed whole, and of their objects only those of the listed hours are read.
    assert_eq!(daily["objects"].as_array().unwrap().len(), 5);
    assert_eq!(daily["prefixes"][0]["objects"], 3);
    run(&place, &format!("plan {DAY}"), "y=!{timestamp:yyyy}/m=!{timestamp:MM}/d=!{timestamp:dd}/")
        .ends_and_says(
            0,
            &["layout    y=!{timestamp:yyyy}/", "y=2022/m=04/d=17/", "1 object: filed under hours"],
        );
}

#[test]
fn records_take_the_value_of_the_partition_key_unless_they_have_one() {
    let place = Place::new();
    let hour = "2022/04/18/03/";
    let of = |n: u32| name("2022-04-18T03:00:00", n);
    place.put(
        &format!("data/customer=acme/{hour}{}", of(1)),
        "{\"n\":1}{\"n\":2,\"customer\":\"own\"}{\"n\":3,\"customer\":null}",
    );
    place.put(&format!("data/customer=b \"q\"/{hour}{}", of(2)), "{\"n\":4,\"customer\":7}");
    place.put(&format!("data/customer=c/{hour}{}", of(3)), "{\"n\":5}");
    let layout = "data/customer=!{partitionKeyFromQuery:customer}/!{timestamp:yyyy/MM/dd/HH}/";
    run(&place, &format!("fetch {DAY} --by customer --metric n"), layout).ends(0);
    let records = place.records("2022-04-18");
    let cells = records.cells(&["n", "customer"]);
    let expected = [
        json!([1, "acme"]),
        json!([2, "own"]),
        json!([3, "acme"]),
        json!([4, "7"]),
        json!([5, "c"]),
    ];
    assert_eq!(cells, expected.map(|row| row.as_array().unwrap().clone()));
    let daily = place.table("aggregates/daily/local_date=2022-04-18/part-00000.parquet");
    let mut groups = daily.cells(&["customer", "records"]);
    groups.sort_by_key(|row| row[0].to_string());
    assert_eq!(json!(groups), json!([["7", 1], ["acme", 2], ["c", 1], ["own", 1]]));
    // A type that was declared holds for these values too.
    run(
        &place,
        &format!("fetch {DAY} --type customer=int --export records --accept-incomplete"),
        layout,
    )
    .ends_and_says(3, &["a value that does not read as its declared type"]);
    assert_eq!(place.records("2022-04-18").cells(&["n", "customer"]), [[json!(4), json!(7)]]);
}

#[test]
fn only_folders_of_the_partition_key_are_asked_for_and_each_hour_below_them_once() {
    let place = Place::new();
    for customer in ["a", "b"] {
        fill(&place, |time| time.format(&format!("in/c={customer}/%Y/%m/%d/%H/")).to_string());
    }
    put(&place, "in/readme/2022/04/18/03/", "2022-04-18T03:00:00", 9, "2022-04-18T03:00:00Z");
    let server = place.serve();
    let layout = "in/c=!{partitionKeyFromQuery:c}/!{timestamp:yyyy/MM/dd/HH/}";
    let mut command = place.s3_command(&server, &format!("plan {DAY} --json"));
    let ran = crate::place::ran(command.args(["--layout", layout]).output().unwrap()).ends(0);
    let plan: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(plan["prefixes"].as_array().unwrap().len(), 2 * 26);
    let lists = server.log().iter().filter(|seen| !matches!(seen, Seen::Get { .. })).count();
    assert_eq!(lists, 2 * 26 + 1);
    assert_eq!(plan["requests"], 2 * 26 + 1 + plan["objects"].as_array().unwrap().len());
    assert_eq!(plan["objects"].as_array().unwrap().len(), 2 * 5);
}

#[test]
fn of_many_partitions_whole_days_are_listed_and_no_object_is_missed() {
    let place = Place::new();
    for n in 0..50 {
        let prefix = format!("c{n}/2022/04/18/03/");
        put(&place, &prefix, "2022-04-18T03:00:00", n, "2022-04-18T03:00:00Z");
    }
    // Two late ones draw the listing on, within a day that was listed.
    for (hour, n) in [(15, 50), (16, 51), (20, 52)] {
        let (prefix, named) =
            (format!("c0/2022/04/18/{hour}/"), format!("2022-04-18T{hour}:00:00"));
        put(&place, &prefix, &named, n, "2022-04-18T14:00:00Z");
    }
    let layout = "!{partitionKeyFromQuery:c}/!{timestamp:yyyy/MM/dd/HH/}";
    run(&place, &format!("fetch {DAY} --export records"), layout).ends(0);
    assert_eq!(numbers(&place), (0..52).map(|n| json!(n)).collect::<Vec<_>>());
    let manifest = place.manifest("2022-04-18");
    let prefixes: Vec<&str> =
        manifest.listing.prefixes.iter().map(|listed| &*listed.prefix).collect();
    assert_eq!((prefixes.len(), prefixes[0]), (100, "c0/2022/04/17/"));
    assert_eq!((manifest.objects.listed, manifest.objects.read), (53, 52));
}

#[test]
fn prefixes_in_another_zone_mean_that_zone_and_so_do_names() {
    let place = Place::new();
    // The 18th in Seoul under folders of Seoul; the second record has no time but its object's.
    for (n, hour) in
        [(1, "2022/04/18/00/"), (2, "2022/04/18/23/"), (3, "2022/04/17/23/"), (4, "2022/04/19/00/")]
    {
        let time =
            format!("{}:30:00", hour.trim_end_matches('/').replacen('/', "-", 2).replace('/', "T"));
        place.put(&format!("{hour}{}", name(&time, n)), format!("{{\"n\":{n}}}"));
    }
    place.run(&format!("fetch {DAY} --prefix-tz Asia/Seoul --export records")).ends(0);
    assert_eq!(numbers(&place), [json!(1), json!(2)]);
    let first = place.manifest("2022-04-18").listing.prefixes[0].prefix.clone();
    assert_eq!(first, "2022/04/17/23/");
}

#[test]
fn around_a_change_of_the_zone_keys_of_both_are_found_once() {
    let place = Place::new();
    // Until 2022-04-18 03:00 UTC (12:00 in Seoul) in UTC, then in Seoul's time.
    put(&place, "2022/04/17/15/", "2022-04-17T15:10:00", 1, "2022-04-17T15:10:00Z");
    put(&place, "2022/04/18/02/", "2022-04-18T02:50:00", 2, "2022-04-18T02:50:00Z");
    put(&place, "2022/04/18/12/", "2022-04-18T12:10:00", 3, "2022-04-18T03:10:00Z");
    put(&place, "2022/04/18/23/", "2022-04-18T23:50:00", 4, "2022-04-18T14:50:00Z");
    put(&place, "2022/04/19/00/", "2022-04-19T00:10:00", 5, "2022-04-18T15:10:00Z");
    let zones = "--prefix-tz UTC,2022-04-18T12:00=Asia/Seoul";
    place.run(&format!("fetch {DAY} {zones} --export records")).ends(0);
    assert_eq!(numbers(&place), [json!(1), json!(2), json!(3), json!(4)]);
    let manifest = place.manifest("2022-04-18");
    assert_eq!((manifest.objects.listed, manifest.objects.read), (5, 5));
    assert_eq!(manifest.options["prefix-tz"], json!("UTC,2022-04-18 12:00:00=Asia/Seoul"));
}

#[test]
fn flat_objects_are_chosen_by_their_names_and_late_ones_draw_the_listing_on() {
    let place = Place::new();
    put(&place, "", "2022-04-18T03:00:00", 1, "2022-04-18T03:00:00Z");
    for (n, hour) in [(2, 15), (3, 16), (4, 17)] {
        put(&place, "", &format!("2022-04-18T{hour}:30:00"), n, "2022-04-18T14:00:00Z");
    }
    put(&place, "", "2022-04-18T19:30:00", 5, "2022-04-18T14:00:00Z");
    put(&place, "", "2022-03-01T00:00:00", 6, "2022-03-01T00:00:00Z");
    // Nobody knows when this one was written: it is read.
    place.put("renamed by hand.json", "{\"n\":7,\"ts\":\"2022-04-18T01:00:00Z\"}");
    run(&place, &format!("fetch {DAY} --export records"), "flat").ends(0);
    assert_eq!(numbers(&place), [1, 2, 3, 4, 7].map(|n| json!(n)));
    let manifest = place.manifest("2022-04-18");
    assert_eq!(manifest.listing.last_hour, "2022-04-18T18:00:00Z");
    assert_eq!((manifest.objects.listed, manifest.objects.read), (7, 5));
    let excluded = &manifest.objects.excluded[0];
    assert_eq!(
        (&*excluded.reason, excluded.objects),
        ("filed under hours that are not looked at", 2)
    );
}

#[test]
fn without_a_layout_the_keys_tell_it_and_it_is_said() {
    let cases = [
        (
            "logs/year=%Y/month=%m/day=%d/hour=%H/",
            "logs/year=!{timestamp:yyyy}/month=!{timestamp:MM}/day=!{timestamp:dd}/hour=!{timestamp:HH/}",
        ),
        ("%Y/%m/%d/", "!{timestamp:yyyy/MM/dd/}"),
        ("raw/%Y/%m/%d/%H/", "raw/!{timestamp:yyyy/MM/dd/HH/}"),
        ("dt=%Y-%m-%d/%H/", "dt=!{timestamp:yyyy-MM-dd/HH/}"),
        ("", "flat"),
    ];
    for (pattern, layout) in cases {
        let place = Place::new();
        fill(&place, |time| time.format(pattern).to_string());
        place.put("processing-failed/2022/04/18/03/x", "{}");
        let said = format!("note: the keys are made by --layout '{layout}'");
        let ran = place.run(&format!("fetch {DAY} --export records"));
        assert!(ran.stderr.contains(&said), "{pattern}: {}{}", ran.stdout, ran.stderr);
        ran.ends(0);
        assert_eq!(numbers(&place), of_day(), "{pattern}");
        let manifest = place.manifest("2022-04-18");
        assert!(manifest.listing.layout_inferred);
        assert_eq!(manifest.options["layout"], json!(layout));
        let words = [&format!("layout    {layout} in UTC, as its keys show")[..]];
        place.run(&format!("plan {DAY}")).ends_and_says(0, &words);
        // A bucket tells it as well, by few requests whatever its size.
        let server = place.serve();
        place.s3_run(&server, &format!("plan {DAY}")).ends_and_says(0, &words);
        assert!(server.log().len() < 26 + 32 + 26 + 1, "{}", server.log().len());
    }
}

#[test]
fn keys_that_tell_two_layouts_ask_for_one_and_name_both() {
    let place = Place::new();
    fill(&place, |time| time.format("app/%Y/%m/%d/%H/").to_string());
    fill(&place, |time| time.format("backup/%Y-%m-%d/").to_string());
    let words = [
        "it is not clear how the keys are made",
        "--layout 'app/!{timestamp:yyyy/MM/dd/HH/}'",
        "--layout 'backup/!{timestamp:yyyy-MM-dd/}'",
    ];
    place.run(&format!("fetch {DAY}")).ends_and_says(2, &words);
    place.assert_nothing_published();
}

#[test]
fn a_layout_that_no_key_follows_says_what_keys_there_are() {
    let place = Place::new();
    fill(&place, |time| time.format("app/%Y/%m/%d/%H/").to_string());
    let words = ["no key of", "is made by --layout 'raw/'", "app/2022/04/17/13/s-1-"];
    run(&place, &format!("fetch {DAY}"), "raw/").ends_and_says(2, &words);
    run(&place, &format!("plan {DAY}"), "raw/").ends_and_says(2, &words);
    place.assert_nothing_published();
}

#[test]
fn a_wrong_layout_is_answered_with_the_place_and_what_to_write() {
    let place = Place::new();
    let cases = [
        ("", "it is empty"),
        ("!{timestamp:yyyy/MMM/}", "'MMM' at character 18"),
        (
            "x!{timestamp:YYYY}/",
            "'YYYY' at character 14 is not read in prefixes: Y is the year of weeks",
        ),
        ("!{timestamp:yyyy/MM/dd/hh}", "'hh' at character 24 is not read in prefixes: write HH"),
        ("!{timestamp:'year=yyyy}", "the quote at character 13 is not closed"),
        ("a/!{timestamp:yyyy", "the expression at character 3 is not closed"),
        ("!{timestamp:yyyy[MM]}", "[ at character 17"),
        ("!{time:yyyy}/", "!{time:…} at character 1 is not known"),
        ("errors/!{firehose:error-output-type}/", "belongs to an error prefix"),
        ("yyyy/MM/dd/", "write '!{timestamp:yyyy/MM/dd/}'"),
        ("!{partitionKeyFromQuery:}/", "has no name"),
        (
            "!{partitionKeyFromQuery:a}!{firehose:random-string}/",
            "nothing stands between the expression at character 27",
        ),
        (
            "!{partitionKeyFromQuery:a}/!{partitionKeyFromLambda:a}/",
            "the partition key a stands in it twice",
        ),
    ];
    for (layout, words) in cases {
        let ran = run(&place, &format!("plan {DAY}"), layout);
        assert!(ran.stderr.contains(words), "{layout}: {}", ran.stderr);
        ran.ends(2);
    }
    let cases = [
        ("Asia/Soul", "Asia/Seoul"),
        ("UTC,Asia/Seoul", "is no zone with the date"),
        ("2024-03-01=Asia/Seoul", "the first zone holds from the beginning"),
        ("UTC,2024-03-01=Asia/Seoul,2023-01-01=UTC", "the dates must ascend"),
    ];
    for (zones, words) in cases {
        place.run(&format!("plan {DAY} --prefix-tz {zones}")).ends_and_says(2, &[words]);
    }
}
