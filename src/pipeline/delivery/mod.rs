//! Records of a stream → objects, as a delivery stream makes them: taken apart, transformed, partitioned,
//! buffered by size and time, converted or compressed, named, put.
//!
//! One thread for each delivery stream. What is decided when, and why nothing is lost or delivered twice,
//! stands in [`objects`].

mod cell;
mod compress;
mod convert;
mod counts;
mod deaggregate;
mod deliveries;
mod entry;
mod failed;
mod invoke;
mod objects;
mod orc;
mod partition;
mod pile;
mod place;
mod process;
mod spec;
mod table;
mod transform;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

pub use compress::Compression;
pub use convert::{Conversion, Format};
use convert::{ConvertError, convert};
pub use counts::Counts;
pub use deaggregate::Deaggregation;
pub use deliveries::{
    Begin, Delivered, Deliveries, DeliveriesError, Destination, Kept, Known, Opening, Source, Told,
};
use entry::{Entry, Failure, Outcome};
pub use invoke::{TransformSpec, Transformer};
use objects::{DecideError, Decisions, Planned, Positions};
pub use orc::{OrcProblem, check as check_orc};
pub use partition::{KeyQuery, QueryProblem};
use pile::{Piles, Piling};
use place::Place;
use process::Process;
pub use spec::DeliverySpec;
pub use table::{Table, TableProblem};

use crate::layout::{Named, Naming, RECOVERED, check_key};
use crate::pipeline::stream::{Storage, StorageError, Stream};
use crate::store::Stored;

/// Why delivery ended.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Decide(#[from] DecideError),
    #[error(transparent)]
    Convert(#[from] ConvertError),
    #[error("can't compress an object: {0}")]
    Compress(std::io::Error),
    #[error(
        "{objects} object(s) of {name} could not be put before the end: {problem}; they are kept, and put when the \
         pipeline runs again"
    )]
    NotPut { name: String, objects: usize, problem: String },
}

/// Takes what somebody should know who looks on.
pub type Tell = fn(&str);

/// The state of one delivery stream.
struct Delivery {
    spec: DeliverySpec,
    stream: Arc<Stream>,
    storage: Arc<Storage>,
    process: Process,
    place: Place,
    decisions: Decisions,
    counts: Arc<Counts>,
    tell: Tell,
    /// Of the last record of each shard that was taken.
    taken: Positions,
    /// What [`Storage::puts`] was when the shards were last found empty.
    seen_puts: Option<u64>,
    /// What is taken and not processed.
    waiting: Vec<Entry>,
    waiting_bytes: usize,
    piles: Piles,
}

/// How often a shard without new records is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Records that are processed together where no transformation asks for more.
const TOGETHER_BYTES: usize = 1 << 20;
/// What a record takes in memory beside its bytes.
const ENTRY_BYTES: usize = 100;
/// The first wait after an object could not be put, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl Delivery {
    /// Delivers until `stop`, and then what is buffered. What an earlier run had decided is put first.
    fn run(&mut self, stop: &AtomicBool) -> Result<(), DeliveryError> {
        let pending = self.decisions.pending()?;
        self.put_all(&pending, stop)?;
        self.decisions.clear()?;
        loop {
            let stopping = stop.load(Ordering::Relaxed);
            let came = self.take()?;
            let is_over = stopping && !came;
            let due = self.piles.since().is_some_and(|at| at.elapsed() >= self.spec.buffer_time);
            if self.waiting_bytes >= self.batch_bytes() {
                self.process();
            }
            if due || is_over || self.piles.is_full(self.spec.buffer_bytes) {
                self.flush(stop)?;
            }
            if is_over {
                return Ok(());
            }
            if !came {
                std::thread::sleep(LOOK_EVERY);
            }
        }
    }

    fn batch_bytes(&self) -> usize {
        match &self.spec.transform {
            Some(transform) => transform.batch_bytes,
            // A fraction of the buffer, so that an object is not much larger than it.
            None => TOGETHER_BYTES.min(self.spec.buffer_bytes / 8).max(1),
        }
    }

    /// Takes records from the shards, as many as are processed together, each shard its part; false where
    /// none is left.
    fn take(&mut self) -> Result<bool, DeliveryError> {
        let puts = self.storage.puts();
        if self.seen_puts == Some(puts) {
            return Ok(false);
        }
        let part = self.batch_bytes().div_ceil(self.stream.shards.len());
        let Delivery { stream, storage, taken, waiting, waiting_bytes, .. } = self;
        let before = waiting.len();
        for shard in &stream.shards {
            let index = shard.index;
            let from = taken.get(&index).map_or(0, |last| last + 1);
            let mut bytes = 0;
            storage.records((stream.id, index), from, |record| {
                if bytes >= part {
                    return false;
                }
                bytes += record.data.len() + record.partition_key.len() + ENTRY_BYTES;
                taken.insert(index, record.number);
                waiting.push(Entry::of(index, record));
                true
            })?;
            *waiting_bytes += bytes;
        }
        let came = self.waiting.len() - before;
        self.seen_puts = (came == 0).then_some(puts);
        if came > 0 {
            self.piles.begin();
            let oldest = self.waiting[before..].iter().map(|entry| entry.arrival_us).min();
            let _ = self.counts.oldest_us.compare_exchange(
                0,
                oldest.unwrap_or_default(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            Counts::add(&self.counts.buffered, came as u64);
        }
        Ok(came > 0)
    }

    /// What is taken goes onto the piles.
    fn process(&mut self) {
        self.waiting_bytes = 0;
        let entries = std::mem::take(&mut self.waiting);
        if entries.is_empty() {
            return;
        }
        let piling = Piling { newline: self.spec.newline, apart: self.spec.conversion.is_some() };
        let spec = &self.spec;
        let transformer = self.process.transformer();
        for outcome in self.process.apply(entries) {
            match outcome {
                Outcome::Deliver(entry, values) => {
                    let problem = match self.piles.data.contains_key(&values) {
                        true => None,
                        false => key_problem(spec, &values),
                    };
                    match problem {
                        None => self.piles.deliver(entry, values, piling),
                        Some(failure) => self.piles.fail(&entry, &failure, None),
                    }
                }
                Outcome::Dropped => self.piles.drop_one(),
                Outcome::Failed(entry, failure) => {
                    self.piles.fail(&entry, &failure, transformer.as_deref());
                }
            }
        }
    }

    /// Makes objects of all piles.
    fn flush(&mut self, stop: &AtomicBool) -> Result<(), DeliveryError> {
        // What is taken counts as delivered from here on.
        self.process();
        let mut piles = std::mem::take(&mut self.piles);
        if piles.since().is_none() {
            return Ok(());
        }
        let mut plan = Vec::new();
        let mut delivered = 0;
        for (values, pile) in std::mem::take(&mut piles.data) {
            let names = self.spec.naming.partition_keys().map(|(name, _)| name);
            let values: Vec<(&str, &str)> = names.zip(values.iter().map(String::as_str)).collect();
            let id = uuid::Uuid::new_v4().to_string();
            let (oldest, mut records) = (pile.oldest_us, pile.records);
            let bytes = match &self.spec.conversion {
                None => {
                    let bytes = self.spec.compression.encode(pile.bytes, &id);
                    Some(bytes.map_err(DeliveryError::Compress)?)
                }
                Some(conversion) => {
                    let converted = convert(conversion, pile.entries)?;
                    records -= converted.refused.len() as u64;
                    let refused = converted.refused.iter();
                    refused.for_each(|(entry, failure)| piles.fail(entry, failure, None));
                    converted.file
                }
            };
            delivered += records;
            let Some(bytes) = bytes else { continue };
            let key = self.key(&self.spec.naming, &values, self.spec.extension(), oldest, &id);
            plan.push(self.staged(key, &id, &bytes, self.spec.compression.content_encoding())?);
        }
        let mut failed = 0;
        for (kind, pile) in std::mem::take(&mut piles.errors) {
            failed += pile.records;
            if let Some(example) = &pile.example {
                (self.tell)(&format!(
                    "{}: {} record(s) went to the error output, {}: {example}",
                    self.spec.name,
                    pile.records,
                    kind.folder()
                ));
            }
            let id = uuid::Uuid::new_v4().to_string();
            let values = [(RECOVERED, kind.folder())];
            let key = self.key(&self.spec.errors, &values, "", pile.oldest_us, &id);
            plan.push(self.staged(key, &id, &pile.bytes, None)?);
        }
        self.decisions.decide(&plan, &self.taken)?;
        self.put_all(&plan, stop)?;
        let counts = &self.counts;
        Counts::add(&counts.delivered, delivered);
        Counts::add(&counts.failed, failed);
        Counts::add(&counts.dropped, piles.dropped);
        counts.buffered.store(0, Ordering::Relaxed);
        counts.oldest_us.store(0, Ordering::Relaxed);
        counts.set_positions(&self.taken);
        Ok(())
    }

    fn key(
        &self,
        naming: &Naming,
        values: &[(&str, &str)],
        extension: &str,
        oldest_us: i64,
        id: &str,
    ) -> String {
        let oldest = DateTime::from_timestamp_micros(oldest_us).unwrap_or_else(Utc::now);
        naming.key(&Named { oldest, stream: &self.spec.name, id, extension, values })
    }

    fn staged(
        &self,
        key: String,
        id: &str,
        bytes: &[u8],
        encoding: Option<&str>,
    ) -> Result<Planned, DeliveryError> {
        self.decisions.stage(id, bytes)?;
        let bytes = bytes.len() as u64;
        Counts::add(&self.counts.bytes, bytes);
        Ok(Planned { key, staged: id.to_string(), encoding: encoding.map(str::to_string) })
    }

    /// Puts decided objects in their places, be they there already, until all of them are there.
    fn put_all(&self, plan: &[Planned], stop: &AtomicBool) -> Result<(), DeliveryError> {
        for (at, planned) in plan.iter().enumerate() {
            let staged = self.decisions.staged(planned)?;
            let stored = Stored {
                content_type: "application/octet-stream",
                content_encoding: planned.encoding.clone(),
            };
            let mut wait = FIRST_WAIT;
            while let Err(error) = self.place.put(&planned.key, &staged, &stored) {
                if stop.load(Ordering::Relaxed) {
                    return Err(DeliveryError::NotPut {
                        name: self.spec.name.clone(),
                        objects: plan.len() - at,
                        problem: error.to_string(),
                    });
                }
                (self.tell)(&format!(
                    "{}: {error}; it is tried again in {} s",
                    self.spec.name,
                    wait.as_secs_f64()
                ));
                Counts::add(&self.counts.retries, 1);
                sleep_until(Instant::now() + wait, stop);
                wait = (wait * 2).min(LONGEST_WAIT);
            }
            Counts::add(&self.counts.objects, 1);
        }
        if !plan.is_empty() {
            self.decisions.done()?;
        }
        Ok(())
    }
}

/// Why objects with these values of partition keys could not be put.
fn key_problem(spec: &DeliverySpec, values: &[String]) -> Option<Failure> {
    if values.is_empty() {
        return None;
    }
    let names = spec.naming.partition_keys().map(|(name, _)| name);
    let values: Vec<(&str, &str)> = names.zip(values.iter().map(String::as_str)).collect();
    let (oldest, id) = (Utc::now(), uuid::Uuid::nil().to_string());
    let (stream, extension) = (spec.name.as_str(), spec.extension());
    let key = spec.naming.key(&Named { oldest, stream, id: &id, extension, values: &values });
    let problem = check_key(&key).err()?;
    Some(Failure::processing(partition::CODE, problem.to_string(), 1))
}

fn sleep_until(end: Instant, stop: &AtomicBool) {
    while Instant::now() < end && !stop.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK_EVERY);
    }
}
