//! Neither the order of listings nor the number of threads shows in what is published.

use crate::place::{Place, gzip, key};
use crate::s3server::{Fault, On};

const LINE: &str = "fetch --day 2022-04-18 --tz Asia/Seoul --export records,aggregates --by type \
    --metric n --provenance --dedup-key id";

/// Ten objects in each of three hours, whose types widen on the way, with copies in later objects and
/// one that is damaged.
fn day() -> Place {
    let place = Place::new();
    for serial in 0..30_u32 {
        let time = format!("2022-04-18T{:02}:{:02}:00", 3 + serial / 10, serial % 10);
        let records = (0..40_u32).map(|n| {
            let id = (serial * 37 + n * 11) % 700;
            let value = if serial % 7 == 3 { format!("{n}.25") } else { n.to_string() };
            format!(r#"{{"id":{id},"type":"t{}","n":{value},"k{}":{serial}}}"#, n % 3, serial % 5)
        });
        let records: String = records.collect();
        let damaged = if serial == 17 { "{\"n\":x}" } else { "" };
        let text = format!("{damaged}{records}");
        let bytes = if serial % 2 == 0 { gzip(&text) } else { text.into_bytes() };
        place.put(&key("s", &time, serial), bytes);
    }
    place
}

#[test]
fn a_hundred_orders_of_listings_and_one_to_eight_threads_publish_the_same_bytes() {
    let place = day();
    let server = place.serve();
    let tables = |place: &Place| {
        let mut files = place.published();
        files.retain(|path, _| path.ends_with(".parquet"));
        assert_eq!(files.len(), 4, "{:?}", files.keys());
        files
    };
    place.s3_run(&server, LINE).ends(3);
    let expected = tables(&place);
    for seed in 0..100 {
        server.clear_faults();
        server.fault(On::AnyList, usize::MAX, Fault::Shuffled(seed));
        let jobs = seed % 8 + 1;
        place.s3_run(&server, &format!("{LINE} --jobs {jobs}")).ends(3);
        let found = tables(&place);
        for (path, bytes) in &expected {
            assert!(found[path] == *bytes, "{path}, order {seed}, {jobs} threads");
        }
    }
}
