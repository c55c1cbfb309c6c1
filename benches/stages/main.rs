//! Each stage of the main job by itself, on one thread: where a regression is, and how far each
//! stage is from what the machine can do.
//!
//!     cargo run --release -p bench-stages              # all stages
//!     cargo run --release -p bench-stages -- parse     # those whose names begin so
//!
//! Works on records that it makes itself, of the shape of `benches/gen_day.py`. Each stage runs
//! for a while in turn with the others; its fastest run counts, in MB of plain JSON a second, so
//! that all figures are of one unit.

use std::hint::black_box;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono_tz::Asia::Seoul;
use rawcat::aggregate::{AggregateSpec, Metrics, Partial};
use rawcat::codec::{DecodeLimits, Decoder, Input, Step};
use rawcat::json::{Fate, Frame, Options, Projection, Reader, TimeText};
use rawcat::publish::{EncodeOptions, RecordColumn, RowGroup, Slice, encode_column};
use rawcat::schema::{Pins, Schema};
use rawcat::time::{TimeValue, read_time};

/// 2022-04-18 in Seoul, µs UTC.
const DAY_US: (i64, i64) = (1_650_207_600_000_000, 1_650_294_000_000_000);
const RECORDS: u64 = 120_000;
const BLOCK_BYTES: usize = 1 << 20;
const ROUNDS: usize = 7;

/// A small generator of the same numbers on every machine (SplitMix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (word ^ (word >> 31)) % limit
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }
}

/// Records of the day, glued.
fn records() -> Vec<u8> {
    let mut draw = Draw(7);
    let mut bytes = Vec::new();
    for at in 0..RECORDS {
        let ms = at * 86_400_000 / RECORDS;
        let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
        let danji = draw.one_of(&[
            "래미안퍼스티지",
            "헬리오시티",
            "잠실엘스",
            "은마",
            "마포래미안푸르지오",
        ]);
        write!(
            bytes,
            "{{\"value\":\"{}.{}\",\"type\":\"Tip {}\",\"ts\":\"2022-04-18T{hour:02}:{minute:02}:{second:02}.{:03}+09:00\",\
             \"user_id\":{},\"session\":\"{:016x}\",\"device\":{{\"os\":\"{}\",\"ver\":\"{}.{}\"}},\"danji\":{{\"id\":{},\
             \"name\":\"{danji}\",\"lat\":37.{:06},\"lon\":127.{:06}}},\"ok\":{}}}",
            draw.below(100),
            draw.below(10),
            draw.below(12),
            ms % 1000,
            draw.below(900_000) + 1,
            draw.below(u64::MAX),
            draw.one_of(&["ios", "android", "web"]),
            draw.below(8) + 10,
            draw.below(10),
            draw.below(6),
            draw.below(1_000_000),
            draw.below(1_000_000),
            draw.below(10) > 0,
        )
        .expect("memory takes every write");
    }
    bytes
}

/// Reads the bytes in blocks, as the job does.
fn parse(projection: Projection, by: &[String], bytes: &[u8]) -> Vec<Frame> {
    let mut reader = Reader::new(Options {
        projection,
        pins: Pins::new(),
        time_fields: vec!["ts".to_string()],
        by: by.to_vec(),
        identity: None,
        max_record_bytes: 16 << 20,
    });
    reader.begin_object();
    let mut frames = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let end = bytes.len().min(at + BLOCK_BYTES);
        let chunk = reader.read(&bytes[at..end], end == bytes.len(), &mut |record| {
            let time = record.find(|_, text| match text {
                TimeText::Text(text) => read_time(TimeValue::Text(text), Seoul),
                _ => None,
            });
            let ts_utc = time.expect("every record has a time").us;
            Fate::Keep { ts_utc, source: 0, clamped: false }
        });
        at += chunk.consumed;
        frames.push(chunk.frame);
    }
    frames
}

fn decode(object: &[u8]) -> usize {
    let mut decoder = Decoder::new(Input::Whole(object.to_vec()), DecodeLimits::default());
    let (mut block, mut total) = (Vec::new(), 0);
    while decoder.next_block(&mut block).expect("the object is good") == Step::More {
        total += block.len();
        block.clear();
    }
    total
}

fn encode(group: &RowGroup, columns: &[rawcat::schema::ColumnSpec]) {
    let to_local_us = |us| us + 9 * 3_600_000_000;
    let options = EncodeOptions { to_local_us: &to_local_us };
    for column in RecordColumn::all(columns, false) {
        black_box(encode_column(group, column, &options).expect("the columns are the frames'"));
    }
}

/// A stage: its name, and one run of it.
type Stage<'a> = (&'static str, Box<dyn FnMut() + 'a>);

fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let by = vec!["type".to_string()];
    let plain = records();
    let level = libdeflater::CompressionLvl::new(6).expect("6 is a level");
    let mut compressor = libdeflater::Compressor::new(level);
    let mut gzip = vec![0; compressor.gzip_compress_bound(plain.len())];
    let len = compressor.gzip_compress(&plain, &mut gzip).expect("there is room");
    gzip.truncate(len);
    let zstd = zstd::encode_all(&plain[..], 3).expect("memory takes every write");

    let three = || Projection::Named(vec!["value".to_string()]);
    let spec = AggregateSpec {
        start_us: DAY_US.0,
        end_us: DAY_US.1,
        every_us: 3_600_000_000,
        tz: Seoul,
        by: by.clone(),
        metrics: Metrics::Named(vec!["value".to_string()]),
        max_groups: 1000,
    };
    let aggregated = parse(three(), &by, &plain);
    let mut schema = Schema::default();
    let frames = parse(Projection::All, &[], &plain);
    for (path, kinds) in frames.iter().flat_map(|frame| &frame.seen) {
        schema.see(path, *kinds);
    }
    let columns = schema.columns(&Pins::new());
    let key: Arc<str> = "stages".into();
    let group = RowGroup {
        slices: frames.into_iter().map(|frame| Slice::all(frame, key.clone())).collect(),
    };

    let mut inflated = vec![0; plain.len()];
    let mut inflater = libdeflater::Decompressor::new();
    let mut stages: Vec<Stage<'_>> = vec![
        (
            "limit: memory read",
            Box::new(|| {
                let (words, _) = plain.as_chunks::<8>();
                black_box(words.iter().fold(0u64, |sum, word| sum ^ u64::from_le_bytes(*word)));
            }),
        ),
        (
            "limit: UTF-8 alone",
            Box::new(|| {
                black_box(simdutf8::basic::from_utf8(&plain).is_ok());
            }),
        ),
        (
            "limit: inflate alone",
            Box::new(|| {
                black_box(inflater.gzip_decompress(&gzip, &mut inflated).expect("it fits"));
            }),
        ),
        (
            "limit: zstd alone",
            Box::new(|| {
                black_box(zstd::bulk::decompress(&zstd, plain.len()).expect("it fits").len());
            }),
        ),
        ("decode: gzip", Box::new(|| assert_eq!(decode(&gzip), plain.len()))),
        ("decode: zstd", Box::new(|| assert_eq!(decode(&zstd), plain.len()))),
        (
            "parse: no column",
            Box::new(|| {
                black_box(parse(Projection::Named(Vec::new()), &[], &plain));
            }),
        ),
        (
            "parse: three fields",
            Box::new(|| {
                black_box(parse(three(), &by, &plain));
            }),
        ),
        (
            "parse: all columns",
            Box::new(|| {
                black_box(parse(Projection::All, &[], &plain));
            }),
        ),
        (
            "aggregate: by type, one metric",
            Box::new(|| {
                let mut partial = Partial::new(&spec);
                for frame in &aggregated {
                    partial.add(&spec, frame).expect("the rows are the day's");
                }
                black_box(partial);
            }),
        ),
        ("encode: all columns, zstd", Box::new(|| encode(&group, &columns))),
    ];
    stages
        .retain(|(name, _)| wanted.is_empty() || wanted.iter().any(|want| name.starts_with(want)));
    let mut best = vec![Duration::MAX; stages.len()];
    for _ in 0..ROUNDS {
        for ((_, stage), best) in stages.iter_mut().zip(&mut best) {
            let begin = Instant::now();
            stage();
            *best = begin.elapsed().min(*best);
        }
    }
    println!(
        "{RECORDS} records, {:.1} MB plain, {:.1} MB gzip; one thread",
        mb(plain.len()),
        mb(gzip.len())
    );
    for ((name, _), best) in stages.iter().zip(best) {
        let seconds = best.as_secs_f64();
        println!(
            "{name:32} {:8.0} MB/s {:8.1} ns a record",
            mb(plain.len()) / seconds,
            seconds * 1e9 / RECORDS as f64
        );
    }
}

fn mb(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}
