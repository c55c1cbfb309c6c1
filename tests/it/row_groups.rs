//! Where row groups end shows in the file, so it must not depend on anything but the records: not on
//! the number of threads, not on the source, not on how an object was cut into blocks.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use polars::io::SerReader;
use polars::io::parquet::read::ParquetReader;

use crate::place::{Place, gzip, key};

const LINE: &str = "fetch --day 2022-04-18 --tz Asia/Seoul -q --export records";
const FILE: &str = "records/local_date=2022-04-18/part-00000.parquet";

/// The rows of each row group of the published file.
fn row_groups(place: &Place) -> Vec<usize> {
    let file = fs::File::open(place.out().join(FILE)).unwrap();
    let metadata = ParquetReader::new(file).get_metadata().unwrap().clone();
    metadata.row_groups.iter().map(|group| group.num_rows()).collect()
}

fn put(place: &Place, objects: &[String], bytes: impl Fn(&str) -> Vec<u8>) {
    for (serial, text) in objects.iter().enumerate() {
        let time = format!("2022-04-18T03:00:{serial:02}");
        place.put(&key("s", &time, serial as u32), bytes(text));
    }
}

/// Takes the published file away, and its row groups.
fn taken(place: &Place) -> (Vec<u8>, Vec<usize>) {
    place.manifest("2022-04-18");
    let file = fs::read(place.out().join(FILE)).unwrap();
    let groups = row_groups(place);
    fs::remove_dir_all(place.out()).unwrap();
    (file, groups)
}

#[test]
fn row_groups_of_long_records_end_by_bytes_whatever_read_them() {
    let pad = "x".repeat(3 << 20);
    let record = |n: u32| format!("{{\"n\":{n},\"pad\":\"{n}{pad}\"}}");
    // Two objects that are larger than what is read of a body at a time, and a small one.
    let objects = [0..9, 9..10, 10..22];
    let objects = objects.map(|range| range.map(record).collect::<String>());
    let place = Place::new();
    put(&place, &objects, |text| text.into());
    place.run(&format!("{LINE} --jobs 1")).ends(0);
    let (file, groups) = taken(&place);
    assert_eq!(groups, [21, 1]);
    place.run(&format!("{LINE} --jobs 8")).ends(0);
    assert!(taken(&place).0 == file, "the bytes differ");
}

#[test]
fn row_groups_of_many_columns_end_by_cells_whatever_read_them() {
    // Each record has three keys of some 4,000, as records have whose keys are data.
    let record = |n: usize| {
        let mut text = format!("{{\"n\":{n}");
        for k in [n * 7 % 4_001, n * 11 % 4_001, n * 13 % 4_001].iter().collect::<BTreeSet<_>>() {
            write!(text, ",\"k{k}\":{n}").unwrap();
        }
        text + "}"
    };
    let objects = [0..1_000, 1_000..1_100, 1_100..4_500];
    let objects = objects.map(|range| range.map(record).collect::<String>());
    let (plain, packed) = (Place::new(), Place::new());
    put(&plain, &objects, |text| text.into());
    put(&packed, &objects, |text| gzip(text));
    plain.run(&format!("{LINE} --jobs 1")).ends(0);
    let (file, groups) = taken(&plain);
    assert_eq!(groups.iter().sum::<usize>(), 4_500);
    assert!(groups.len() == 2, "{groups:?}");
    packed.run(&format!("{LINE} --jobs 2")).ends(0);
    assert!(taken(&packed).0 == file, "the bytes differ");
    let server = plain.serve();
    plain.s3_run(&server, &format!("{LINE} --jobs 8")).ends(0);
    assert!(taken(&plain).0 == file, "the bytes differ");
}
