//! Whole days of damaged objects: the rows and the quarantine are the same on any number of
//! threads, however the objects are cut into blocks, and whichever columns are asked for.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;
use rawcat::aggregate::Metrics;
use rawcat::codec::DecodeLimits;
use rawcat::job::{Export, JobSpec};
use rawcat::progress::{Mode, Progress};
use rawcat::publish::{Manifest, OutFolder};
use rawcat::store::{SourceUrl, Store, StoreOptions};
use serde_json::json;

use crate::json::damaged;
use crate::place::{Place, gzip, key, spec};

const DAY: &str = "2022-04-18";

/// Limits that give an object whole, member by member, and byte by byte.
const CUTS: [(usize, usize); 4] = [(64 << 20, 8 << 20), (1 << 20, 1), (100, 30), (0, 1)];

/// An object of the source; what it decodes to is shown as text.
struct Object {
    content: Vec<u8>,
    stored: Stored,
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} as {:?}", self.content.escape_ascii().to_string(), self.stored)
    }
}

/// How an object lies in the source, and what happened to it there.
#[derive(Clone, Copy, Debug)]
enum Stored {
    Plain,
    Gzip,
    /// A member for each half.
    TwoMembers,
    /// The last bytes are gone.
    Cut,
    /// A bit behind the header has changed.
    Flipped(usize),
}

impl Stored {
    fn bytes(self, decoded: &[u8]) -> Vec<u8> {
        let (front, back) = decoded.split_at(decoded.len() / 2);
        let members = || [gzip(front), gzip(back)].concat();
        match self {
            Stored::Plain => decoded.to_vec(),
            Stored::Gzip => gzip(decoded),
            Stored::TwoMembers => members(),
            Stored::Cut => {
                let mut bytes = members();
                bytes.truncate(bytes.len() * 3 / 4);
                bytes
            }
            Stored::Flipped(at) => {
                let mut bytes = members();
                let at = 10 + at % (bytes.len() - 10);
                bytes[at] ^= 1;
                bytes
            }
        }
    }
}

fn stored() -> impl Strategy<Value = Stored> {
    prop_oneof![
        Just(Stored::Plain),
        Just(Stored::Gzip),
        Just(Stored::TwoMembers),
        Just(Stored::Cut),
        any::<usize>().prop_map(Stored::Flipped),
    ]
}

/// Damaged records between sound ones.
fn object() -> impl Strategy<Value = Object> {
    let sound = (0..100u32).prop_map(|n| format!("{{\"a\":{n},\"b\":\"{}\"}}", n % 3).into_bytes());
    let content = prop::collection::vec(prop_oneof![sound, damaged()], 1..6);
    (content, stored()).prop_map(|(parts, stored)| Object { content: parts.concat(), stored })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn a_damaged_day_is_the_same_on_any_threads_in_any_blocks_and_for_any_columns(
        objects in prop::collection::vec(object(), 1..10),
    ) {
        let place = Place::new();
        // Columns that are asked for must be there.
        place.put(&key("s", "2022-04-18T00:00:00", 99), r#"{"a":1,"b":"1","c":2.5,"ts":null}{"ts":"x"}"#);
        for (at, Object { content, stored }) in objects.iter().enumerate() {
            let time = format!("2022-04-18T{:02}:{:02}:00", at % 7, at);
            place.put(&key("s", &time, at as u32), stored.bytes(content));
        }
        let first = fetch(&place, &whole_day(1));
        let manifest = place.manifest(DAY);
        for jobs in 1..=8 {
            let (whole_bytes, block_bytes) = CUTS[jobs % CUTS.len()];
            let decode = DecodeLimits { whole_bytes, block_bytes, ..DecodeLimits::default() };
            let again = fetch(&place, &JobSpec { decode, ..whole_day(jobs) });
            for path in first.keys().chain(again.keys()) {
                prop_assert!(first.get(path) == again.get(path), "{} with {} jobs", path, jobs);
            }

            let asked = JobSpec { decode, ..some_columns(jobs) };
            let some = fetch(&place, &asked);
            prop_assert_eq!(account(&manifest), account(&place.manifest(DAY)), "{:?}", asked);
            let is_quarantine = |path: &&String| path.starts_with("quarantine/");
            for path in first.keys().chain(some.keys()).filter(is_quarantine) {
                prop_assert!(first.get(path) == some.get(path), "{} of {:?}", path, asked);
            }
        }
    }
}

/// All columns, as records and as aggregates.
fn whole_day(jobs: usize) -> JobSpec {
    JobSpec {
        jobs,
        by: vec!["b".into()],
        max_groups: 100_000,
        accept_incomplete: true,
        ..spec(DAY)
    }
}

/// Aggregates alone, of other columns for each number of threads.
fn some_columns(jobs: usize) -> JobSpec {
    let metrics: &[&str] = [&[], &["a"][..], &["b", "ts"], &["c"]][jobs % 4];
    let by: &[&str] = [&[], &["a"][..], &["b", "c"]][jobs % 3];
    let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
    JobSpec {
        by: names(by),
        metrics: Metrics::Named(names(metrics)),
        export: Export { records: false, aggregates: true, chart: false },
        ..whole_day(jobs)
    }
}

/// Runs the job in this process; gives what was published, but for the clock.
fn fetch(place: &Place, spec: &JobSpec) -> BTreeMap<String, Vec<u8>> {
    let store = Store::open(&SourceUrl::Folder(place.raw()), &StoreOptions::default()).unwrap();
    let out = OutFolder::open(&place.out(), "Asia/Seoul", spec.now_utc).unwrap().into();
    let never = AtomicBool::new(false);
    let progress = Progress::new(Mode::Quiet);
    let outcome = rawcat::job::fetch(spec, "source", &store, &out, &progress, &never).unwrap();
    assert!(outcome.withheld.is_none());
    // Its lock goes with it.
    drop(out);
    place.result()
}

/// What a manifest says that must not depend on the columns that were asked for. (Overruled keys are
/// counted in the columns that are published.)
fn account(manifest: &Manifest) -> serde_json::Value {
    json!([
        manifest.objects,
        manifest.bytes,
        manifest.records,
        manifest.time,
        manifest.quarantine,
        manifest.verdict,
        manifest.inputs_digest,
    ])
}
