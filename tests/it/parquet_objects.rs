//! Objects that Firehose's record format conversion made: their rows are the records that a
//! producer of JSON would have written, to the last digit.

use std::fs;
use std::path::{Path, PathBuf};

use rawcat::parquet::ParquetRows;

use crate::place::{Place, gzip, key};

const DAY: &str = "2022-04-18";
const LINE: &str = "fetch --day 2022-04-18 --tz Asia/Seoul --export records";
const FILES: [&str; 4] =
    ["snappy.parquet", "gzip.parquet", "plain.parquet", "zstd_pages_v2.parquet"];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/codecs").join(name)
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap()
}

fn rows() -> String {
    fs::read_to_string(path("rows.jsonl")).unwrap()
}

/// All lines, and whether the file was read to its end.
fn lines(file: Vec<u8>) -> (String, bool) {
    let mut text = Vec::new();
    let Ok(mut rows) = ParquetRows::open(file) else {
        return (String::new(), false);
    };
    loop {
        match rows.next_block(&mut text) {
            Ok(true) => {}
            Ok(false) => return (String::from_utf8(text).unwrap(), true),
            Err(_) => return (String::from_utf8(text).unwrap(), false),
        }
    }
}

/// Line by line, so that a difference can be seen.
fn assert_same(text: &str, expected: &str, name: &str) {
    for (line, expected) in text.lines().zip(expected.lines()) {
        assert_eq!(line, expected, "{name}");
    }
    assert_eq!(text.len(), expected.len(), "{name}");
}

#[test]
fn rows_are_written_as_a_producer_of_json_writes_them() {
    for name in FILES {
        let (text, whole) = lines(fixture(name));
        assert!(whole, "{name}");
        assert_same(&text, &rows(), name);
    }
}

#[test]
fn times_of_96_bits_keep_their_fractions_and_have_no_zone() {
    let (text, whole) = lines(fixture("int96.parquet"));
    assert!(whole);
    assert_same(&text, &rows().replacen("Z\",\"n\":", "\",\"n\":", usize::MAX), "int96.parquet");
}

#[test]
fn a_parquet_object_gives_the_same_day_as_the_json_it_was_made_of() {
    let day = |object: &[u8]| {
        let place = Place::new();
        place.put(&key("s", "2022-04-18T03:00:00", 0), object);
        place.run(LINE).ends(0);
        assert_eq!(place.manifest(DAY).records.day, 40);
        let path = format!("records/local_date={DAY}/part-00000.parquet");
        (place.records(DAY), place.published().remove(&path).unwrap())
    };
    let (table, expected) = day(rows().as_bytes());
    // The time field is a timestamp of Parquet's.
    assert_eq!(table.at("ts_utc", 1), 1_650_250_861_123_450i64);
    assert_eq!(table.at("long", 0), i64::MAX);
    assert_eq!(table.kind("tags"), "list[str]");
    assert_eq!(table.at("device_v_major", 4), 4);
    for name in FILES {
        assert!(day(&fixture(name)).1 == expected, "{name}");
        assert!(day(&gzip(fixture(name))).1 == expected, "{name} in gzip");
    }
    let (table, _) = day(&fixture("int96.parquet"));
    assert_eq!(table.at("ts_utc", 1), 1_650_250_861_123_450i64);
}

#[test]
fn a_parquet_object_is_bounded_and_damage_is_named() {
    let place = Place::new();
    let parquet = key("s", "2022-04-18T03:00:00", 1);
    place.put(&key("s", "2022-04-18T03:00:00", 0), r#"{"n":1}"#);
    place.put(&parquet, fixture("snappy.parquet"));
    place
        .run(&format!("{LINE} --max-object-bytes 8KiB"))
        .ends_and_says(3, &[&parquet, "--max-object-bytes"]);
    assert_eq!(place.records(DAY).column("n"), [1]);
    let whole = fixture("snappy.parquet");
    place.put(&parquet, &whole[..whole.len() - 9]);
    place.run(LINE).ends_and_says(3, &[&parquet, "Parquet", "cut off"]);
    assert_eq!(place.records(DAY).column("n"), [1]);
    place.put(&parquet, &gzip(&whole)[..2_000]);
    place.run(LINE).ends_and_says(3, &[&parquet, "cut off"]);
    // The second of three row groups: the rows of the first are kept.
    let mut damaged = whole.clone();
    let at = whole.len() / 4;
    damaged[at..whole.len() / 2].fill(0xff);
    place.put(&parquet, damaged);
    place.run(LINE).ends_and_says(3, &[&parquet, "row group"]);
    place.manifest(DAY);
}

#[test]
fn no_cut_and_no_flipped_bit_ends_the_program() {
    let whole = fixture("tiny.parquet");
    assert!(lines(whole.clone()).1);
    for cut in 0..whole.len() {
        assert!(!lines(whole[..cut].to_vec()).1, "{cut}");
    }
    // There is no checksum, so that values may differ. Every third bit.
    for bit in (0..whole.len() * 8).step_by(3) {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let (text, _) = lines(bytes);
        assert!(text.lines().all(|line| line.starts_with('{') && line.ends_with('}')), "{bit}");
    }
}

#[test]
fn what_the_library_panics_over_is_named_and_no_panic_is_shown() {
    let whole = fixture("snappy.parquet");
    let gave_up = |bytes: Vec<u8>| {
        let mut text = Vec::new();
        let read = ParquetRows::open(bytes).and_then(|mut rows| {
            while rows.next_block(&mut text)? {}
            Ok(())
        });
        read.is_err_and(|error| error.to_string().contains("gave up"))
    };
    let flipped = (0..whole.len() * 8).rev().step_by(7).map(|bit| {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    let hostile = flipped.take(3_000).find(|bytes| gave_up(bytes.clone()));
    let place = Place::new();
    place.put(&key("s", "2022-04-18T03:00:00", 0), hostile.expect("one of these panics"));
    let ran = place.run(LINE).ends_and_says(3, &["the Parquet reader gave up on it"]);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}

#[test]
fn an_orc_object_is_named() {
    let place = Place::new();
    place.put(&key("s", "2022-04-18T03:00:00", 0), b"ORC\x0a\x0b\x0c");
    place.run(LINE).ends_and_says(3, &["an ORC file"]);
}
