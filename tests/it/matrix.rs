//! Every encoding × every framing × folder and bucket: the same records come out, and the same
//! bytes of Parquet.

use std::io::Write;
use std::sync::atomic::AtomicBool;

use rawcat::job::{Export, JobSpec};
use rawcat::progress::{Mode, Progress};
use rawcat::publish::OutFolder;
use rawcat::store::{SourceUrl, Store, StoreOptions};

use crate::place::{Place, gzip, key, spec};

const DAY: &str = "2022-04-18";
const RECORDS: usize = 10_000;

type Framing = (&'static str, fn(&[String]) -> Vec<u8>);
type Encoder = (&'static str, fn(&[u8]) -> Vec<u8>);

const FRAMINGS: [Framing; 9] = [
    ("nothing", |records| records.concat().into_bytes()),
    ("white space", |records| records.join(" \t\r\n ").into_bytes()),
    ("newline", |records| ended(records, "\n")),
    ("comma", |records| records.join(",").into_bytes()),
    ("comma and newline", |records| ended(records, ",\n")),
    ("record separator", |records| {
        records.iter().map(|r| format!("\x1e{r}\n")).collect::<String>().into_bytes()
    }),
    ("byte order mark", |records| format!("\u{feff}{}", records.concat()).into_bytes()),
    ("lists", |records| {
        records
            .chunks(7)
            .map(|list| format!("[{}]", list.join(", ")))
            .collect::<String>()
            .into_bytes()
    }),
    ("mixed", mixed),
];

fn ended(records: &[String], end: &str) -> Vec<u8> {
    records.iter().flat_map(|record| [record, end]).collect::<String>().into_bytes()
}

/// Every framing in one object.
fn mixed(records: &[String]) -> Vec<u8> {
    let parts = records.chunks(records.len().div_ceil(64));
    // A byte order mark stands at the front or nowhere.
    let framings = FRAMINGS.iter().filter(|(name, _)| !["mixed", "byte order mark"].contains(name));
    let mut text = "\u{feff}".to_string().into_bytes();
    for (part, (_, frame)) in parts.zip(framings.cycle()) {
        text.extend(frame(part));
    }
    text
}

const ENCODERS: [Encoder; 14] = [
    ("plain", |content| content.to_vec()),
    ("gzip", |content| gzip(content)),
    ("gzip members", |content| content.chunks(5_000).flat_map(gzip).collect()),
    ("gzip in gzip", |content| gzip(content.chunks(9_000).flat_map(gzip).collect::<Vec<u8>>())),
    ("zstd", |content| zstd::bulk::compress(content, 3).unwrap()),
    ("zip, stored", |content| zip(content, false)),
    ("zip, deflated", |content| zip(content, true)),
    ("snappy-java", java),
    ("hadoop snappy", hadoop),
    ("framed snappy", framed),
    ("raw snappy", block),
    ("gzip in snappy-java", |content| java(&gzip(content))),
    ("snappy-java in gzip", |content| gzip(java(content))),
    ("zstd in zip in snappy-java", |content| {
        java(&zip(&zstd::bulk::compress(content, 3).unwrap(), true))
    }),
];

fn block(content: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(content).unwrap()
}

fn framed(content: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(content).unwrap();
    encoder.into_inner().unwrap()
}

/// A block behind its length.
fn measured(content: &[u8]) -> Vec<u8> {
    let block = block(content);
    [&(block.len() as u32).to_be_bytes()[..], &block].concat()
}

fn java(content: &[u8]) -> Vec<u8> {
    let blocks = content.chunks(32 << 10).flat_map(measured);
    b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".iter().copied().chain(blocks).collect()
}

fn hadoop(content: &[u8]) -> Vec<u8> {
    let blocks = content.chunks(256 << 10);
    blocks
        .flat_map(|part| [&(part.len() as u32).to_be_bytes()[..], &measured(part)].concat())
        .collect()
}

/// An archive of one entry, its checksum behind the data, as Firehose writes it.
fn zip(content: &[u8], deflated: bool) -> Vec<u8> {
    let mut crc = libdeflater::Crc::new();
    crc.update(content);
    let data = match deflated {
        false => content.to_vec(),
        true => {
            let mut encoder =
                flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(content).unwrap();
            encoder.finish().unwrap()
        }
    };
    let lengths = [data.len() as u32, content.len() as u32].map(u32::to_le_bytes).concat();
    let sums = [&crc.sum().to_le_bytes()[..], &lengths].concat();
    let head = [&[20, 0, 8, 0, if deflated { 8 } else { 0 }, 0], &[0; 4][..]].concat();
    let mut archive = [b"PK\x03\x04", &head[..], &[0; 12], b"\x01\0\0\0", b"x", &data].concat();
    archive.extend([b"PK\x07\x08", &sums[..]].concat());
    let directory = archive.len() as u32;
    archive.extend([b"PK\x01\x02\x14\0", &head[..], &sums, b"\x01\0\0\0", &[0; 14], b"x"].concat());
    let directory_bytes = archive.len() as u32 - directory;
    archive.extend(b"PK\x05\x06\0\0\0\0\x01\0\x01\0");
    archive.extend([directory_bytes, directory].map(u32::to_le_bytes).concat());
    archive.extend([0, 0]);
    archive
}

fn records() -> Vec<String> {
    let record = |n: usize| {
        let (minute, second) = (n / 60 % 60, n % 60);
        format!(
            r#"{{"n":{n},"ts":"2022-04-18T04:{minute:02}:{second:02}Z","os":"{}","value":{}.5,"tags":["a","{}"],"note":"단지 [{{,\\\""}}"#,
            ["ios", "android"][n % 2],
            n * 7919 % 1000,
            n % 10
        )
    };
    (0..RECORDS).map(record).collect()
}

/// The bytes of `records` that a run publishes.
fn fetch(place: &Place, store: &Store) -> Vec<u8> {
    let export = Export { records: true, aggregates: false, chart: false };
    let spec = JobSpec { export, ..spec(DAY) };
    let out = OutFolder::open(&place.out(), "Asia/Seoul", spec.now_utc).unwrap().into();
    let progress = Progress::new(Mode::Quiet);
    let never = AtomicBool::new(false);
    let outcome = rawcat::job::fetch(&spec, "source", store, &out, &progress, &never).unwrap();
    assert!(outcome.withheld.is_none());
    drop(out);
    let manifest = place.manifest(DAY);
    assert!(manifest.verdict.complete, "{:?}", manifest.verdict.reasons);
    assert_eq!((manifest.records.day, manifest.quarantine.len()), (RECORDS as u64, 0));
    place.published().remove(&format!("records/local_date={DAY}/part-00000.parquet")).unwrap()
}

fn from_folder(place: &Place) -> Vec<u8> {
    fetch(place, &Store::open(&SourceUrl::Folder(place.raw()), &StoreOptions::default()).unwrap())
}

/// The objects of a source, one for each framing.
fn put_every_framing(place: &Place, encode: fn(&[u8]) -> Vec<u8>) {
    let records = records();
    let share = records.len().div_ceil(FRAMINGS.len());
    for (serial, (part, (_, frame))) in records.chunks(share).zip(FRAMINGS).enumerate() {
        place.put(&key("s", "2022-04-18T04:00:00", serial as u32), encode(&frame(part)));
    }
}

#[test]
fn every_framing_gives_the_same_bytes() {
    let records = records();
    let mut first = None;
    for (name, frame) in FRAMINGS {
        let place = Place::new();
        place.put(&key("s", "2022-04-18T04:00:00", 0), frame(&records));
        let bytes = from_folder(&place);
        assert!(*first.get_or_insert_with(|| bytes.clone()) == bytes, "{name}");
    }
}

#[test]
fn every_encoding_of_every_framing_gives_the_same_bytes_from_a_folder_and_from_a_bucket() {
    let mut first = None;
    for (name, encode) in ENCODERS {
        let place = Place::new();
        put_every_framing(&place, encode);
        let server = place.serve();
        let bucket = Store::open(&"s3://bucket/raw/".parse().unwrap(), &server.options()).unwrap();
        for (source, bytes) in [("folder", from_folder(&place)), ("bucket", fetch(&place, &bucket))]
        {
            let same = *first.get_or_insert_with(|| bytes.clone()) == bytes;
            assert!(same, "{name} from a {source}");
        }
    }
}
