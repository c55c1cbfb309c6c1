//! Objects, prefixes and records that can't be had: each is named, the rest is published, and a
//! published day is not replaced by less.

use std::fs;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rawcat::progress::{Mode, Progress};
use rawcat::publish::OutFolder;
use rawcat::store::Store;
use serde_json::json;

use crate::place::{Place, gzip, key, spec};
use crate::s3server::{Fault, On, S3Server};

const DAY: &str = "2022-04-18";
const LINE: &str = "fetch --day 2022-04-18 --tz Asia/Seoul --export records";

/// A source of three objects in three hours, with one record each.
fn three() -> Place {
    let place = Place::new();
    for n in [3, 4, 5] {
        place.put(&three_key(n), format!("{{\"n\":{n}}}"));
    }
    place
}

fn three_key(n: u32) -> String {
    key("s", &format!("2022-04-18T{n:02}:00:00"), n)
}

fn get(n: u32) -> On {
    On::Get(format!("raw/{}", three_key(n)))
}

#[test]
fn a_prefix_that_may_not_be_listed_is_named_and_the_others_are_published() {
    let place = three();
    let server = place.serve();
    server.deny("raw/2022/04/18/04/");
    let words = ["2022/04/18/04/", "access denied", "s3:ListBucket", "INCOMPLETE"];
    place.s3_run(&server, LINE).ends_and_says(3, &words);
    assert_eq!(place.records(DAY).column("n"), [3, 5]);
    let manifest = place.manifest(DAY);
    let failed = manifest.listing.prefixes.iter().filter(|prefix| prefix.error.is_some());
    let failed: Vec<&str> = failed.map(|prefix| &*prefix.prefix).collect();
    assert_eq!(failed, ["2022/04/18/04/"]);
    assert!(!manifest.verdict.complete);
    place.assert_clean();
}

#[test]
fn a_prefix_at_the_edge_that_may_not_be_listed_is_named_too() {
    let place = three();
    let server = place.serve();
    server.deny("raw/2022/04/18/15/");
    place.s3_run(&server, LINE).ends_and_says(3, &["2022/04/18/15/"]);
    assert_eq!(place.records(DAY).rows(), 3);
}

#[test]
fn an_object_that_may_not_be_read_is_named_and_the_others_are_published() {
    let place = three();
    let server = place.serve();
    server.fault(get(4), 100, Fault::Reply(403, "AccessDenied", "Access Denied"));
    place.s3_run(&server, LINE).ends_and_says(3, &[&three_key(4), "s3:GetObject"]);
    assert_eq!(place.records(DAY).column("n"), [3, 5]);
    let objects = place.manifest(DAY).objects;
    assert_eq!((objects.listed, objects.read, objects.failed.len()), (3, 2, 1));
    assert_eq!(objects.failed[0].key, three_key(4));
}

#[test]
fn an_incomplete_run_leaves_a_published_day_as_it_was_until_it_is_accepted() {
    let place = three();
    let server = place.serve();
    place.s3_run(&server, LINE).ends(0);
    let before = place.published();
    server.deny("raw/2022/04/18/04/");
    for talk in ["", "-q", "--json"] {
        let ran = place.s3_run(&server, &format!("{LINE} {talk}"));
        ran.ends_and_says(3, &["left as it was", "--accept-incomplete"]);
        assert!(place.published() == before, "{talk}");
        place.assert_clean();
    }
    place.s3_run(&server, &format!("{LINE} --accept-incomplete")).ends(3);
    assert_eq!(place.records(DAY).column("n"), [3, 5]);
    // Another day is not concerned.
    place.s3_run(&server, "fetch --day 2022-04-17 --tz Asia/Seoul --export records").ends(0);
}

#[test]
fn a_complete_run_replaces_an_incomplete_day() {
    let place = three();
    let server = place.serve();
    server.fault(get(4), 100, Fault::Reply(403, "AccessDenied", "Access Denied"));
    place.s3_run(&server, LINE).ends(3);
    server.clear_faults();
    place.s3_run(&server, LINE).ends(0);
    assert_eq!(place.records(DAY).column("n"), [3, 4, 5]);
    assert!(place.manifest(DAY).verdict.complete);
}

#[test]
fn an_object_that_changes_after_the_listing_is_listed_again_and_read() {
    let place = three();
    let server = place.serve();
    server.fault(get(4), 1, Fault::Replace(b"{\"n\":40}{\"n\":41}"));
    place.s3_run(&server, LINE).ends(0);
    assert_eq!(place.records(DAY).column("n"), [3, 40, 41, 5]);
    // The books are about what was read, and so is the digest of the inputs.
    let manifest = place.manifest(DAY);
    assert_eq!(manifest.bytes.stored, 16 + 2 * 7);
    let again = {
        place.s3_run(&server, LINE).ends(0);
        place.manifest(DAY)
    };
    assert_eq!(manifest.inputs_digest, again.inputs_digest);
}

#[test]
fn an_object_that_changes_again_and_again_is_named() {
    let place = three();
    let server = place.serve();
    for bytes in [&b"{\"n\":40}"[..], b"{\"n\":400}", b"{\"n\":4000}", b"{\"n\":40000}"] {
        server.fault(get(4), 1, Fault::Replace(bytes));
    }
    place.s3_run(&server, LINE).ends_and_says(3, &[&three_key(4), "changed"]);
    assert_eq!(place.records(DAY).column("n"), [3, 5]);
}

#[test]
fn an_object_that_goes_away_after_the_listing_is_named() {
    let place = three();
    let server = place.serve();
    server.fault(get(4), 1, Fault::Remove);
    place.s3_run(&server, LINE).ends_and_says(3, &[&three_key(4), "gone"]);
    assert_eq!(place.records(DAY).column("n"), [3, 5]);
    assert_eq!(place.manifest(DAY).objects.failed[0].key, three_key(4));
}

#[test]
fn an_object_that_changes_before_it_is_read_a_second_time_fails_the_run() {
    let place = three();
    // Fractions that become text have to be read again.
    place.put(&three_key(3), "{\"n\":2.50}");
    place.put(&three_key(4), "{\"n\":\"x\"}");
    let server = place.serve();
    server.fault(get(3), 1, Fault::Delay(Duration::ZERO));
    server.fault(get(3), 1, Fault::Replace(b"{\"n\":9.99}"));
    place.s3_run(&server, LINE).ends_and_says(1, &[&three_key(3)]);
    place.assert_nothing_published();
    server.clear_faults();
    place.s3_run(&server, LINE).ends(0);
    assert_eq!(place.records(DAY).column("n"), ["9.99", "x", "5"]);
}

#[test]
fn a_busy_server_changes_nothing_but_the_time_it_takes() {
    let place = three();
    let server = place.serve();
    place.s3_run(&server, LINE).ends(0);
    let calm = place.result();
    server.fault(On::AnyList, 2, Fault::Reply(503, "SlowDown", "Please reduce your request rate"));
    server.fault(On::AnyGet, 2, Fault::Reply(500, "InternalError", "try again"));
    server.fault(get(5), 1, Fault::Cut(3));
    place.s3_run(&server, LINE).ends(0);
    assert!(place.result() == calm);
}

/// The job of the day, run in this process with waits between attempts that a test can afford.
fn fetch_with_short_waits(place: &Place, server: &S3Server) -> rawcat::job::Outcome {
    let spec = spec(DAY);
    let store = Store::open(&"s3://bucket/raw/".parse().unwrap(), &server.options()).unwrap();
    let out = OutFolder::open(&place.out(), "Asia/Seoul", spec.now_utc).unwrap().into();
    let progress = Progress::new(Mode::Quiet);
    let never = AtomicBool::new(false);
    rawcat::job::fetch(&spec, "s3://bucket/raw/", &store, &out, &progress, &never).unwrap()
}

#[test]
fn an_object_that_fails_every_attempt_is_named_with_the_servers_words() {
    let place = three();
    let server = place.serve();
    server.fault(get(4), 100, Fault::Reply(500, "InternalError", "the disk is on fire"));
    server.fault(get(5), 100, Fault::Cut(0));
    let outcome = fetch_with_short_waits(&place, &server);
    assert!(outcome.withheld.is_none());
    let manifest = place.manifest(DAY);
    let failed = &manifest.objects.failed;
    assert_eq!(failed.iter().map(|f| &*f.key).collect::<Vec<_>>(), [three_key(4), three_key(5)]);
    assert!(failed[0].reason.contains("the disk is on fire"), "{}", failed[0].reason);
    assert!(!manifest.verdict.complete);
    assert_eq!(place.records(DAY).column("n"), [3]);
}

#[test]
fn a_listing_that_fails_every_attempt_is_named_with_its_hour() {
    let place = three();
    let server = place.serve();
    let list = On::List("raw/2022/04/18/04/".to_string());
    server.fault(list, 100, Fault::Reply(500, "InternalError", "the disk is on fire"));
    fetch_with_short_waits(&place, &server);
    let manifest = place.manifest(DAY);
    let failed: Vec<&str> = manifest
        .listing
        .prefixes
        .iter()
        .filter(|prefix| prefix.error.as_ref().is_some_and(|e| e.contains("the disk is on fire")))
        .map(|prefix| &*prefix.prefix)
        .collect();
    assert_eq!(failed, ["2022/04/18/04/"]);
    assert_eq!(place.records(DAY).column("n"), [3, 5]);
}

#[test]
fn what_concerns_the_whole_source_fails_the_run_and_publishes_nothing() {
    let place = three();
    let server = place.serve();
    let mut command = place.s3_command(&server, LINE);
    let ran = crate::place::ran(command.env("AWS_SECRET_ACCESS_KEY", "wrong").output().unwrap());
    ran.ends_and_says(1, &["credentials were not accepted"]);
    place.assert_nothing_published();
    place
        .s3_run(&server, &format!("{LINE} --source s3://nowhere/raw/"))
        .ends_and_says(1, &["bucket nowhere does not exist"]);
    place.assert_nothing_published();
    place.run(&format!("{LINE} --source nowhere")).ends_and_says(2, &["--source", "is not there"]);
    place.assert_nothing_published();
}

#[test]
fn an_empty_day_is_published_where_only_the_search_for_the_nearest_hours_is_denied() {
    let place = three();
    let server = place.serve();
    let denied = || Fault::Reply(403, "AccessDenied", "Access Denied");
    server.fault(On::List("raw/".to_string()), 100, denied());
    let line = "--day 2022-05-18 --tz Asia/Seoul";
    place
        .s3_run(&server, &format!("fetch {line} --export records"))
        .ends_and_says(0, &["no records"]);
    assert_eq!(place.records("2022-05-18").rows(), 0);
    place.s3_run(&server, &format!("plan {line}")).ends(0);
}

#[test]
fn objects_that_are_never_data_are_left_out_with_their_reason() {
    let place = three();
    place.put("2022/04/18/03/.DS_Store", "junk");
    place.put("2022/04/18/03/_SUCCESS", "");
    place.put("2022/04/18/03/deeper/x", "{\"n\":99}");
    place.put("2022/04/18/03/processing-failed/x", "{\"rawData\":\"e30=\"}");
    place.put("2022/04/18/03/empty", "");
    place.run(LINE).ends_and_says(0, &["left out"]);
    assert_eq!(place.records(DAY).column("n"), [3, 4, 5]);
    let objects = place.manifest(DAY).objects;
    let excluded: Vec<(&str, u64)> =
        objects.excluded.iter().map(|e| (&*e.reason, e.objects)).collect();
    let wanted = [
        ("error output of firehose", 1),
        ("hidden or temporary name", 2),
        ("in a folder below an hour's prefix", 1),
    ];
    assert_eq!(excluded, wanted);
    assert_eq!((objects.listed, objects.read), (8, 4));
}

#[test]
fn an_entry_of_a_folder_that_can_be_no_object_counts_as_failed() {
    let place = three();
    std::os::unix::fs::symlink("nowhere", place.raw().join("2022/04/18/03/dangling")).unwrap();
    place.run(LINE).ends_and_says(3, &["2022/04/18/03/dangling"]);
    assert_eq!(place.records(DAY).column("n"), [3, 4, 5]);
    let objects = place.manifest(DAY).objects;
    assert_eq!((objects.listed, objects.read, objects.failed.len()), (4, 3, 1));
}

// ---- damaged bodies ----

/// A gzip member of `count` records of 1 MiB, built of one compressed record that is repeated:
/// quick to make, and to decode.
struct LargeMember {
    bytes: Vec<u8>,
    decoded_bytes: u64,
}

impl LargeMember {
    fn new(count: usize) -> LargeMember {
        let record = format!("{{\"n\":1,\"pad\":\"{}\"}}", "x".repeat(1 << 20));
        let mut raw = flate2::Compress::new(flate2::Compression::best(), false);
        let mut chunk = Vec::with_capacity(1 << 16);
        // A full flush ends at a byte and forgets what came before, so that it can be repeated.
        raw.compress_vec(record.as_bytes(), &mut chunk, flate2::FlushCompress::Full).unwrap();
        assert_eq!(raw.total_in(), record.len() as u64);
        let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
        (0..count).for_each(|_| bytes.extend_from_slice(&chunk));
        LargeMember { bytes, decoded_bytes: (record.len() * count) as u64 }
    }

    /// The last block, a checksum that is wrong, and the length.
    fn with_wrong_checksum(mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[3, 0]);
        self.bytes.extend_from_slice(&0xdead_beef_u32.to_le_bytes());
        self.bytes.extend_from_slice(&(self.decoded_bytes as u32).to_le_bytes());
        self.bytes
    }
}

/// Columns of the quarantine that say what was lost.
fn quarantine(place: &Place) -> Vec<(String, u64, String)> {
    let table = place.table(&format!("quarantine/local_date={DAY}/part-00000.parquet"));
    let rows = table.cells(&["key", "offset", "reason"]);
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_string();
    rows.iter().map(|row| (text(&row[0]), row[1].as_u64().unwrap(), text(&row[2]))).collect()
}

#[test]
fn a_large_gzip_member_with_a_wrong_checksum_gives_no_row_and_the_rest_of_the_day_is_there() {
    let place = three();
    // A sound member first, in the same object: its record is kept.
    let mut object = gzip("{\"n\":0}");
    object.extend(LargeMember::new(66).with_wrong_checksum());
    place.put(&three_key(4), object);
    let line = format!("{LINE},aggregates --metric n");
    let ran = place.run(&format!("{line} --jobs 2")).ends(3);
    assert_eq!(place.records(DAY).column("n"), [3, 0, 5]);
    let [(key, 7, reason)] = &quarantine(&place)[..] else {
        panic!("{:?}", quarantine(&place));
    };
    assert_eq!(*key, three_key(4));
    assert!(reason.contains("checksum"), "{reason}");
    assert!(ran.stdout.contains(&format!("{key}:7")), "{}", ran.stdout);
    let daily = place.table(&format!("aggregates/daily/local_date={DAY}/part-00000.parquet"));
    assert_eq!(daily.cells(&["records", "n_count", "n_sum"]), [[json!(3), json!(3), json!(8.0)]]);
    let manifest = place.manifest(DAY);
    assert_eq!((manifest.records.day, manifest.bytes.decoded), (3, 3 * 7));
    // The law holds for what has to be taken back, too.
    let once = place.result();
    place.run(&format!("{line} --jobs 1")).ends(3);
    assert!(place.result() == once);
}

#[test]
fn a_large_gzip_member_that_is_cut_off_keeps_the_records_before_the_cut() {
    let place = three();
    let mut object = LargeMember::new(66).bytes;
    object.truncate(object.len() - 100);
    place.put(&three_key(4), object);
    place.run(LINE).ends(3);
    let numbers = place.records(DAY).column("n");
    // The last of 66 records is the one that was cut.
    assert_eq!((numbers.len(), &numbers[0], &numbers[66]), (1 + 65 + 1, &3.into(), &5.into()));
    let lost = quarantine(&place);
    assert!(lost.iter().all(|(key, ..)| *key == three_key(4)), "{lost:?}");
    assert!(lost.iter().any(|(_, offset, _)| *offset == 65 * (1 << 20 | 16)), "{lost:?}");
    assert!(lost.iter().any(|(_, _, reason)| reason.contains("cut off")), "{lost:?}");
}

#[test]
fn an_object_that_decodes_to_more_than_allowed_gives_no_row() {
    let place = three();
    place.put(&three_key(4), gzip("{\"n\":4} ".repeat(1_000)));
    place
        .run(&format!("{LINE} --max-object-bytes 4KiB"))
        .ends_and_says(3, &[&three_key(4), "--max-object-bytes"]);
    assert_eq!(place.records(DAY).column("n"), [3, 5]);
    place.run(&format!("{LINE} --max-object-bytes 8KB")).ends(0);
    assert_eq!(place.records(DAY).rows(), 1_002);
}

#[test]
fn a_record_that_is_longer_than_allowed_is_quarantined_alone() {
    let place = three();
    place
        .put(&three_key(4), format!("{{\"n\":40}}{{\"n\":\"{}\"}}{{\"n\":41}}", "x".repeat(5_000)));
    place
        .run(&format!("{LINE} --max-record-bytes 4KiB"))
        .ends_and_says(3, &[&format!("{}:8", three_key(4)), "--max-record-bytes"]);
    assert_eq!(place.records(DAY).column("n"), [3, 40, 41, 5]);
}

#[test]
fn a_record_nested_500_levels_deep_is_a_row_and_one_of_600_is_quarantined_alone() {
    let place = three();
    let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    place.put(&three_key(4), format!("{{\"n\":40}}{}{}{{\"n\":41}}", nested(500), nested(600)));
    let offset = 8 + nested(500).len();
    place.run(LINE).ends_and_says(3, &[&format!("{}:{offset}", three_key(4)), "512 levels"]);
    let table = place.records(DAY);
    assert_eq!(json!(table.column("n")), json!([3, 40, null, 41, 5]));
    let deep = table.names().into_iter().find(|name| name.starts_with("a_a_")).unwrap();
    assert_eq!(json!(table.column(&deep)), json!([null, null, 1, null, null]));
}

#[test]
fn a_day_with_quarantine_that_is_fetched_again_without_loses_the_quarantine() {
    let place = three();
    place.put(&three_key(4), "{\"n\":4}42");
    place.run(LINE).ends_and_says(3, &[&format!("{}:7", three_key(4))]);
    let path = format!("quarantine/local_date={DAY}/part-00000.parquet");
    assert!(place.out().join(&path).exists());
    fs::write(place.raw().join(three_key(4)), "{\"n\":4}").unwrap();
    place.run(LINE).ends(0);
    assert!(!place.out().join("quarantine").exists());
    assert_eq!(place.published().len(), 2);
}
