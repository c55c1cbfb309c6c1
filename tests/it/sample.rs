//! The three days of the sample data, from a folder and from S3, against tables that an
//! independent reader made (`sample_data/reference.py`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::place::{Place, Table, sample_raw};

const ZONE: &str = "--tz Asia/Seoul";

fn expected(day: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sample_data/expected").join(day)
}

fn summary(day: &str) -> Value {
    serde_json::from_slice(&fs::read(expected(day).join("summary.json")).unwrap()).unwrap()
}

/// `fetch` of a sample day into the place's `out`.
fn fetch(place: &Place, day: &str, options: &str, code: i32) {
    let source = sample_raw();
    let mut command = place.command(&format!("fetch --day {day} {ZONE} {options}"));
    crate::place::ran(command.env("RAWCAT_SOURCE", source).output().unwrap()).ends(code);
}

/// A cell of the expected CSV as the table should hold it, judged by what the table holds.
fn from_csv(text: &str, name: &str) -> Value {
    if text.is_empty() {
        return Value::Null;
    }
    match name {
        "type" => json!(text),
        "bucket_utc" | "bucket_local" => {
            let time =
                chrono::DateTime::parse_from_rfc3339(&format!("{}Z", text.trim_end_matches('Z')));
            json!(time.unwrap().timestamp_micros())
        }
        _ if name == "records" || name.ends_with("_count") || name.ends_with("_distinct") => {
            json!(text.parse::<i64>().unwrap())
        }
        _ => json!(text.parse::<f64>().unwrap()),
    }
}

/// Every cell of an expected CSV is in the table, row by row.
fn assert_equals_csv(table: &Table, day: &str, file: &str) {
    let text = fs::read_to_string(expected(day).join(file)).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let names: Vec<&str> = header.iter().copied().filter(|name| *name != "local_date").collect();
    let rows: Vec<Vec<Value>> = lines
        .map(|cells| {
            let cells = header.iter().zip(cells).filter(|(name, _)| **name != "local_date");
            cells.map(|(name, text)| from_csv(text, name)).collect()
        })
        .collect();
    let published = table.cells(&names);
    assert_eq!(published.len(), rows.len(), "{file}: rows");
    for (at, (published, wanted)) in published.iter().zip(&rows).enumerate() {
        assert_eq!(published, wanted, "{file}, row {at}, of {names:?}");
    }
}

fn aggregates(place: &Place, day: &str, table: &str) -> Table {
    place.table(&format!("aggregates/{table}/local_date={day}/part-00000.parquet"))
}

/// Both aggregate tables by type, and the hourly one of the whole day, equal the expected ones.
fn assert_aggregates_equal(day: &str, code: i32) {
    let place = Place::new();
    fetch(&place, day, "--by type --metric value,temperature --export aggregates", code);
    assert_equals_csv(&aggregates(&place, day, "hourly"), day, "hourly_by_type.csv");
    assert_equals_csv(&aggregates(&place, day, "daily"), day, "daily_by_type.csv");
    fetch(&place, day, "--metric value,temperature --export aggregates", code);
    assert_equals_csv(&aggregates(&place, day, "hourly"), day, "hourly.csv");
    assert_eq!(aggregates(&place, day, "daily").rows(), 1);
}

#[test]
fn the_18th_has_exactly_the_expected_counts_sums_means_minima_and_maxima() {
    assert_aggregates_equal("2022-04-18", 0);
}

#[test]
fn the_17th_has_exactly_the_expected_counts_sums_means_minima_and_maxima() {
    assert_aggregates_equal("2022-04-17", 3);
}

#[test]
fn the_19th_has_exactly_the_expected_counts_sums_means_minima_and_maxima() {
    assert_aggregates_equal("2022-04-19", 0);
}

/// The type of a column as the reference names it.
fn kind(table: &Table, column: &str) -> &'static str {
    match &*table.kind(column) {
        "datetime[μs, UTC]" => "timestamp_us_utc",
        "datetime[μs]" => "timestamp_us_naive",
        "str" => "text",
        "i64" => "int",
        "f64" => "float",
        "bool" => "bool",
        "list[str]" => "list<text>",
        other => panic!("{column} is {other}"),
    }
}

/// The record table equals the expected one: columns, their order and types, rows, their order,
/// values and nulls.
fn assert_records_equal(day: &str) {
    let place = Place::new();
    fetch(&place, day, "--export records", 0);
    let file = File::open(expected(day).join("records.jsonl.gz")).unwrap();
    let mut lines = BufReader::new(flate2::read::MultiGzDecoder::new(file)).lines();
    let header: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let table = place.records(day);
    let columns: Vec<Value> =
        table.names().iter().map(|name| json!([name, kind(&table, name)])).collect();
    assert_eq!(Value::from(columns), header["columns"]);

    let names = table.names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let published = table.cells(&names);
    let wanted: Vec<Vec<Value>> =
        lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert_eq!(published.len(), wanted.len());
    for (at, (published, wanted)) in published.iter().zip(&wanted).enumerate() {
        assert_eq!(published, wanted, "row {at} of {names:?}");
        let hours = published[1].as_i64().unwrap() - published[0].as_i64().unwrap();
        assert_eq!(hours, 9 * 3_600_000_000, "ts_local is 9 h ahead of ts_utc");
    }
}

#[test]
fn the_record_table_of_the_18th_is_the_expected_one() {
    assert_records_equal("2022-04-18");
}

#[test]
fn the_record_table_of_the_19th_is_the_expected_one() {
    assert_records_equal("2022-04-19");
}

/// The manifest's counts are those of the reference.
fn assert_counts_equal(place: &Place, day: &str) {
    let manifest = place.manifest(day);
    let want = summary(day);
    let number = |pointer: &str| want.pointer(pointer).unwrap().as_u64().unwrap();
    assert_eq!(manifest.window.start_utc, want["window"]["start_utc"]);
    assert_eq!(manifest.window.end_utc, want["window"]["end_utc"]);
    assert_eq!(manifest.listing.first_hour, want["hours_listed"]["first"]);
    assert_eq!(manifest.listing.last_hour, want["hours_listed"]["last"]);
    assert_eq!(manifest.objects.listed, number("/objects/listed"));
    assert_eq!(manifest.objects.read, number("/objects/listed"));
    assert!(manifest.objects.failed.is_empty());
    assert!(manifest.objects.excluded.is_empty());
    assert_eq!(manifest.bytes.stored, number("/objects/listed_bytes"));
    assert_eq!(manifest.bytes.decoded, number("/decoded_bytes/all"));
    assert_eq!(manifest.bytes.records, number("/decoded_bytes/records"));
    assert_eq!(manifest.bytes.separators, number("/decoded_bytes/separators"));
    assert_eq!(manifest.bytes.quarantined, number("/decoded_bytes/quarantined"));
    assert_eq!(manifest.records.parsed, number("/records/parsed"));
    assert_eq!(manifest.records.day, number("/records/of_the_day"));
    assert_eq!(manifest.records.before, number("/records/before"));
    assert_eq!(manifest.records.after, number("/records/after"));
    let sources: BTreeMap<String, u64> = want["time_sources"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, count)| {
            let name = name.trim_start_matches("field ").replace('_', " ");
            (name, count.as_u64().unwrap())
        })
        .collect();
    assert_eq!(manifest.time.sources, sources);
    if let Some(columns) = want.get("columns") {
        let noted: Vec<Value> =
            manifest.columns.iter().map(|note| json!([note.name, note.column_type])).collect();
        assert_eq!(Value::from(noted), *columns);
    }
}

#[test]
fn the_18th_is_complete_and_its_books_are_those_of_the_reference() {
    let place = Place::new();
    fetch(&place, "2022-04-18", "--by type", 0);
    assert_counts_equal(&place, "2022-04-18");
    let manifest = place.manifest("2022-04-18");
    assert!(manifest.verdict.complete && manifest.quarantine.is_empty());
    let paths: Vec<&str> = manifest.files.iter().map(|file| &*file.path).collect();
    let wanted = [
        "aggregates/daily/local_date=2022-04-18/part-00000.parquet",
        "aggregates/hourly/local_date=2022-04-18/part-00000.parquet",
        "charts/2022-04-18.png",
        "charts/2022-04-18.svg",
        "records/local_date=2022-04-18/part-00000.parquet",
    ];
    assert_eq!(paths, wanted);
    // Nothing else lies there but the manifest itself.
    let mut lying: Vec<String> = place.published().into_keys().collect();
    lying.retain(|path| path != "manifests/2022-04-18.json");
    assert_eq!(lying, wanted);
    place.assert_clean();
}

#[test]
fn the_19th_is_complete_and_its_books_are_those_of_the_reference() {
    let place = Place::new();
    fetch(&place, "2022-04-19", "--export records", 0);
    assert_counts_equal(&place, "2022-04-19");
}

/// The sentence that rawcat has for a reason of the reference.
fn reason_words(reason: &str) -> &'static [&'static str] {
    match reason {
        "bad_json" => &["a byte that JSON does not allow there"],
        "bad_utf8" => &["bytes that are not UTF-8"],
        "truncated" => &["the object ends inside the record", "cut off inside gzip member"],
        "checksum" => &["the checksum of its content does not match"],
        "scalar" => &["JSON, but not an object"],
        "lone_surrogate" => &["half of a surrogate pair"],
        other => panic!("{other} is no reason of the reference"),
    }
}

#[test]
fn the_17th_names_every_damage_and_keeps_the_rest() {
    let day = "2022-04-17";
    let place = Place::new();
    let source = sample_raw();
    let mut command = place.command(&format!("fetch --day {day} {ZONE} --export records"));
    let ran = crate::place::ran(command.env("RAWCAT_SOURCE", source).output().unwrap()).ends(3);
    assert_counts_equal(&place, day);

    let path = format!("quarantine/local_date={day}/part-00000.parquet");
    let quarantine = place.table(&path).cells(&["key", "offset", "bytes_len", "reason"]);
    let damage = summary(day)["damage"].as_array().unwrap().clone();
    let mut damaged = BTreeSet::new();
    for damage in &damage {
        let (key, offset) = (&damage["key"], &damage["offset"]);
        damaged.insert(key.as_str().unwrap().to_string());
        let words = reason_words(damage["reason"].as_str().unwrap());
        let row = quarantine.iter().find(|row| row[0] == *key && row[1] == *offset);
        let row = row.unwrap_or_else(|| panic!("{damage} is not in the quarantine"));
        if let Some(length) = damage["length"].as_u64() {
            assert_eq!(row[2], length, "{damage}");
        }
        let reason = row[3].as_str().unwrap();
        assert!(words.iter().any(|words| reason.contains(words)), "{damage}: {reason}");
        let place = format!("{}:{offset}", key.as_str().unwrap());
        assert!(ran.stdout.contains(&place), "{place} is not in the summary:\n{}", ran.stdout);
        assert!(ran.stdout.contains(reason), "{reason} is not in the summary");
    }
    // Only what is damaged is in the quarantine; an object that breaks off inside a gzip member
    // may be there twice, for the record and for the member.
    for row in &quarantine {
        assert!(damaged.contains(row[0].as_str().unwrap()), "{row:?}");
    }
    let manifest = place.manifest(day);
    let noted: u64 = manifest.quarantine.iter().map(|note| note.records).sum();
    assert_eq!(noted, quarantine.len() as u64);
    assert!(!manifest.verdict.complete);
    place.assert_clean();
}

// ---- from S3 and from a folder, with any number of threads ----

/// What must not depend on the source: ETags are known to S3 alone, and pictures and manifests
/// name the source.
fn without_source(place: &Place, day: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = place.published();
    files.retain(|path, _| path.ends_with(".parquet") && !path.starts_with("quarantine/"));
    assert!(files.contains_key(&format!("records/local_date={day}/part-00000.parquet")));
    files
}

fn assert_same(one: &BTreeMap<String, Vec<u8>>, other: &BTreeMap<String, Vec<u8>>, what: &str) {
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>(), "{what}");
    for (path, bytes) in one {
        assert!(*bytes == other[path], "{what}: {path} differs");
    }
}

/// A sample day from a folder and from S3, each with 1, 2, 3 and 8 threads.
fn assert_source_and_threads_cannot_show(day: &str, code: i32) {
    let place = Place::with_sample();
    let server = place.serve();
    let options = "--by type --provenance --export records,aggregates";
    let mut of_sources = Vec::new();
    for from_s3 in [false, true] {
        let mut first: Option<BTreeMap<String, Vec<u8>>> = None;
        for jobs in [1, 2, 3, 8] {
            let line = format!("fetch --day {day} {ZONE} {options} --jobs {jobs} -q");
            match from_s3 {
                false => place.run(&line).ends(code),
                true => place.s3_run(&server, &line).ends(code),
            };
            place.manifest(day);
            let result = place.result();
            let what = format!("from S3: {from_s3}, {jobs} jobs");
            assert_same(first.get_or_insert_with(|| result.clone()), &result, &what);
            if jobs == 1 {
                let path = format!("quarantine/local_date={day}/part-00000.parquet");
                let quarantine = place.out().join(&path).exists().then(|| {
                    let table = place.table(&path);
                    let names = table.names();
                    let names = names.iter().map(String::as_str).filter(|name| *name != "etag");
                    table.cells(&names.collect::<Vec<_>>())
                });
                of_sources.push((without_source(&place, day), quarantine));
            }
            fs::remove_dir_all(place.out()).unwrap();
        }
    }
    let [(folder, folder_quarantine), (s3, s3_quarantine)] = &of_sources[..] else {
        unreachable!("there are two sources");
    };
    assert_same(folder, s3, "from S3 and from a folder");
    assert_eq!(folder_quarantine, s3_quarantine);
    assert_eq!(folder_quarantine.is_some(), code == 3);
}

#[test]
fn the_18th_is_the_same_bytes_from_s3_and_from_a_folder_with_any_number_of_threads() {
    assert_source_and_threads_cannot_show("2022-04-18", 0);
}

#[test]
fn the_17th_is_the_same_bytes_from_s3_and_from_a_folder_with_any_number_of_threads() {
    assert_source_and_threads_cannot_show("2022-04-17", 3);
}

#[test]
fn a_picture_is_the_same_bytes_with_any_number_of_threads_and_names_its_source() {
    let place = Place::with_sample();
    let server = place.serve();
    let line = format!("fetch --day 2022-04-18 {ZONE} --export chart --size 1000 --panels 1 -q");
    let mut pictures = Vec::new();
    for (from_s3, jobs) in [(false, 1), (false, 3), (true, 3)] {
        let line = format!("{line} --jobs {jobs}");
        match from_s3 {
            false => place.run(&line).ends(0),
            true => place.s3_run(&server, &line).ends(0),
        };
        let mut files = place.published();
        files.retain(|path, _| path.starts_with("charts/"));
        assert_eq!(files.len(), 2);
        pictures.push(files);
    }
    assert_same(&pictures[0], &pictures[1], "1 and 3 jobs");
    // The glyphs of the source's name aside, one line of text differs: the source's name.
    let lines = |at: usize| -> Vec<String> {
        let svg = String::from_utf8(pictures[at]["charts/2022-04-18.svg"].clone()).unwrap();
        svg.lines().filter(|line| !line.starts_with("<path id=")).map(str::to_string).collect()
    };
    let (folder, s3) = (lines(0), lines(2));
    assert_eq!(folder.len(), s3.len());
    let differ = folder.iter().zip(&s3).filter(|(one, other)| one != other).count();
    assert_eq!(differ, 1);
}

#[test]
fn the_repositorys_own_settings_find_the_sample_data() {
    let place = Place::new();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = place.command(&format!("fetch --day 2022-04-18 {ZONE} --export records"));
    command.env_remove("RAWCAT_SOURCE").current_dir(repository);
    crate::place::ran(command.output().unwrap()).ends(0);
    assert_eq!(place.records("2022-04-18").rows(), 5_079);
}
