//! The records of a window that Firehose could not deliver, for `errors`: each is decoded and counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};

use super::elsewhere;
use super::gather::{DAY_PLACES, counted_by_reason, ended_by};
use super::listing::{Failure, name_and_reason};
use super::read::{Lost, input};
use super::recover::ErrorReader;
use super::sample::{FirstListing, first_listing};
use super::{JobError, JobSpec, LayoutFrom};
use crate::layout::{KeyInfo, Layout};
use crate::progress::{Phase, Progress};
use crate::store::{ObjectMeta, Store, StoreError};
use crate::undelivered::Undelivered;

/// Why records were not delivered: the type of the error, by its folder, and Firehose's code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cause {
    pub error_type: String,
    pub code: String,
}

/// Records that failed for one reason in one hour.
#[derive(Clone, Debug, Default)]
pub struct Failed {
    pub records: u64,
    pub bytes: u64,
    /// The message of the first one.
    pub message: Option<String>,
}

/// What was found of a window.
#[derive(Debug, Default)]
pub struct ErrorsFound {
    /// By the start of the hour in which the records arrived, in elapsed hours from the window's start.
    pub failed: BTreeMap<(DateTime<Utc>, Cause), Failed>,
    pub objects: u64,
    /// Error records that arrived before or behind the window.
    pub others: u64,
    /// Places that gave no record, by key.
    pub lost: Vec<(String, Lost)>,
    /// Objects and prefixes that could not be read.
    pub unread: Vec<(String, Failure)>,
    /// The layout, where it was not given and keys of the source told it.
    pub inferred: Option<Arc<Layout>>,
}

/// Why reading ended.
#[derive(Debug, thiserror::Error)]
pub enum ErrorsError {
    #[error(transparent)]
    Job(#[from] JobError),
    #[error(transparent)]
    Taker(std::io::Error),
}

/// Reads the window's error output; every record of it goes to `take`, in the order of keys and
/// offsets. A record belongs to the window by when it arrived, else by its object's time.
pub fn read_errors(
    spec: &JobSpec,
    source: &str,
    store: &Store,
    progress: &Progress,
    interrupted: &AtomicBool,
    take: &mut impl FnMut(&Undelivered) -> std::io::Result<()>,
) -> Result<ErrorsFound, ErrorsError> {
    progress.phase(Phase::Listing, 0, 0);
    let first = first_listing(spec, store, progress);
    let FirstListing { listed, layout_from } = match interrupted.load(Ordering::Relaxed) {
        true => return Err(JobError::Interrupted.into()),
        false => first?,
    };
    let output = spec.errors(&listed.layout).expect("errors are asked for");
    let objects = listed.objects.iter().map(|found| found.object.clone());
    let objects: Arc<[ObjectMeta]> =
        objects.filter(|object| output.contains(&object.key)).collect();
    listed.check_any()?;
    if listed.objects.is_empty() && !elsewhere::holds_errors(store, &output) {
        elsewhere::nearest(store, source, &listed)?;
    }
    let prefixes = listed.failed_prefixes();
    let prefixes = prefixes.map(|(prefix, why)| (prefix.prefix.clone(), why.clone()));
    let unreadable = listed.unreadable.iter().map(|entry| {
        let (key, reason) = name_and_reason(entry);
        (key, Failure { kind: "bad_name", reason })
    });
    let mut found = ErrorsFound {
        objects: objects.len() as u64,
        unread: prefixes.chain(unreadable).collect(),
        inferred: (layout_from == LayoutFrom::Keys).then(|| Arc::clone(&listed.layout)),
        ..ErrorsFound::default()
    };
    progress.phase(Phase::Reading, objects.len() as u64, objects.iter().map(|o| o.bytes).sum());
    let fetch = store.fetch(Arc::clone(&objects), spec.fetch);
    let mut reader = ErrorReader::new(spec.decode, spec.max_record_bytes);
    let mut stopped = None;
    let work = || {
        while let Some((at, body)) = fetch.next() {
            let object = &objects[at];
            let key = output.read(&object.key);
            let mut count = |_: u64, _: &[u8], one: Undelivered| {
                if let (None, true) = (&stopped, found.count(spec, &key, &one)) {
                    stopped = take(&one).err();
                }
                Ok(())
            };
            let (content, _permit) = match body {
                Err(error) if error.concerns_whole_source() => return Err(JobError::Store(error)),
                Err(error) => {
                    found.unread.push((object.key.clone(), Failure::from(&error)));
                    continue;
                }
                Ok(body) => body.into_parts(),
            };
            let outcome = match reader.read(input(content), &mut count) {
                Ok(outcome) => outcome,
                Err(error) => {
                    let error = StoreError::from_read(error, &object.key);
                    found.unread.push((object.key.clone(), Failure::from(&error)));
                    continue;
                }
            };
            found.lose(spec, &object.key, &key, outcome.lost);
            progress.advance(1, object.bytes);
            if stopped.is_some() {
                break;
            }
        }
        Ok(())
    };
    let done = ended_by(interrupted, || fetch.cancel(), work);
    if interrupted.load(Ordering::Relaxed) {
        return Err(JobError::Interrupted.into());
    }
    done?;
    match stopped {
        Some(error) => Err(ErrorsError::Taker(error)),
        None => Ok(found),
    }
}

impl ErrorsFound {
    /// Notes places that gave no record, without their bytes. They are of the window in which their
    /// object was begun.
    fn lose(&mut self, spec: &JobSpec, name: &str, key: &KeyInfo, mut lost: Vec<Lost>) {
        let window = spec.window.start_utc..spec.window.end_utc;
        if key.time.is_some_and(|(time, _)| !window.contains(&time)) {
            return;
        }
        if self.lost.len() + lost.len() > DAY_PLACES {
            lost = counted_by_reason(lost);
        }
        let without_bytes = |lost: Lost| (name.to_string(), Lost { bytes: Vec::new(), ..lost });
        self.lost.extend(lost.into_iter().map(without_bytes));
    }

    /// Counts a record; true where it is of the window.
    fn count(&mut self, spec: &JobSpec, key: &KeyInfo, one: &Undelivered) -> bool {
        let of_object = key.time.map(|(time, _)| time);
        let arrival = one.arrival_us.and_then(DateTime::from_timestamp_micros).or(of_object);
        // Where nothing tells, the listed hours do.
        let time = arrival.unwrap_or(spec.window.start_utc);
        if !(spec.window.start_utc..spec.window.end_utc).contains(&time) {
            self.others += 1;
            return false;
        }
        let hours = (time - spec.window.start_utc).num_hours();
        let hour = spec.window.start_utc + chrono::TimeDelta::hours(hours);
        let cause = Cause {
            error_type: key.partition.first().cloned().unwrap_or_default(),
            code: one.code.clone().unwrap_or_else(|| "no code".to_string()),
        };
        let failed = self.failed.entry((hour, cause)).or_default();
        failed.records += 1;
        failed.bytes += one.data.len() as u64;
        if failed.message.is_none() {
            failed.message = one.message.clone();
        }
        true
    }
}
