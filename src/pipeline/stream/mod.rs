//! Streams, as Kinesis keeps them: records come in, lie on shards in their order, and are read from any
//! place until they are too old.
//!
//! A stream that a delivery stream of the type `DirectPut` is fed by is one, too, which nobody sees.

mod iterator;
mod limits;
mod record;
mod shards;
mod storage;
mod writer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use axum::body::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

pub use iterator::{IteratorProblem, ShardIterator};
use limits::Allowance;
use record::NewRecord;
pub use record::{Record, ShardKey};
pub use shards::{SequenceNumber, Shard, hash_key, shard_id, shard_of, shards};
pub use storage::{Storage, StorageError};
pub use writer::Notes;

/// Shards of a stream, at most.
pub const MOST_SHARDS: u32 = 1_024;
/// Streams, at most.
pub const MOST_STREAMS: usize = 500;
/// Kinesis keeps records so long where nothing else is said.
pub const DEFAULT_RETENTION: TimeDelta = TimeDelta::hours(24);
/// Where the list of streams is kept.
const NOTE: &str = "streams";

/// Whom a stream is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// Everybody.
    Stream,
    /// What is put to a delivery stream directly.
    Direct,
}

/// What is kept of a stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Definition {
    id: u32,
    name: String,
    kind: Kind,
    shards: u32,
    created_ms: i64,
    retention_s: i64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Definitions {
    /// Ids are not used again: records of a deleted stream may still lie there.
    next_id: u32,
    streams: Vec<Definition>,
    /// Ids and numbers of shards of deleted streams that may still have records.
    deleted: Vec<(u32, u32)>,
}

/// Why something can't be done with streams.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error("there is a stream {name} already")]
    Exists { name: String },
    #[error("there is no stream {name}")]
    Missing { name: String },
    #[error("there are {MOST_STREAMS} streams already, which is the limit")]
    TooMany,
    #[error(
        "the stream {name} was made with {made} shards, and {asked} are asked for: give --shards {made}, \
         or another --state"
    )]
    OtherShards { name: String, made: u32, asked: u32 },
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Shared(#[from] Arc<StorageError>),
}

/// A stream that is open.
#[derive(Debug)]
pub struct Stream {
    pub id: u32,
    pub name: String,
    pub kind: Kind,
    pub shards: Vec<Shard>,
    pub created: DateTime<Utc>,
    retention_s: AtomicI64,
    /// One for each shard, where limits are kept.
    allowances: Option<Vec<Mutex<Allowance>>>,
    counts: Vec<Count>,
}

/// What came to a shard since the pipeline began.
#[derive(Debug, Default)]
struct Count {
    records: AtomicU64,
    bytes: AtomicU64,
    refused: AtomicU64,
}

/// What came to a shard since the pipeline began, as numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counted {
    pub records: u64,
    pub bytes: u64,
    /// Records that were over the shard's limits.
    pub refused: u64,
}

impl Stream {
    fn open(definition: &Definition, limited: bool) -> Stream {
        let shards = shards(definition.shards);
        // What is put to a delivery stream has other limits than a shard.
        let limited = limited && definition.kind == Kind::Stream;
        let now = Instant::now();
        let allowance = |_: &Shard| Mutex::new(Allowance::full(now));
        Stream {
            id: definition.id,
            name: definition.name.clone(),
            kind: definition.kind,
            created: DateTime::from_timestamp_millis(definition.created_ms).unwrap_or_default(),
            retention_s: AtomicI64::new(definition.retention_s),
            allowances: limited.then(|| shards.iter().map(allowance).collect()),
            counts: shards.iter().map(|_| Count::default()).collect(),
            shards,
        }
    }

    pub fn retention(&self) -> TimeDelta {
        TimeDelta::seconds(self.retention_s.load(Ordering::Relaxed))
    }

    /// What came to each shard.
    pub fn counts(&self) -> impl Iterator<Item = (&Shard, Counted)> {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        self.shards.iter().zip(&self.counts).map(move |(shard, count)| {
            let (records, bytes) = (load(&count.records), load(&count.bytes));
            (shard, Counted { records, bytes, refused: load(&count.refused) })
        })
    }

    /// True where a read of the shard is within its limits.
    pub fn may_read(&self, shard: u32) -> bool {
        let Some(allowance) = self.allowances.as_ref().and_then(|all| all.get(shard as usize))
        else {
            return true;
        };
        allowance.lock().unwrap_or_else(PoisonError::into_inner).take_read(Instant::now())
    }

    fn may_write(&self, shard: u32, bytes: usize) -> bool {
        let Some(allowance) = self.allowances.as_ref().and_then(|all| all.get(shard as usize))
        else {
            return true;
        };
        allowance.lock().unwrap_or_else(PoisonError::into_inner).take_record(Instant::now(), bytes)
    }
}

/// A record that comes in.
#[derive(Clone, Debug)]
pub struct Incoming {
    pub partition_key: String,
    /// Chooses the shard in place of the partition key.
    pub hash_key: Option<u128>,
    pub data: Bytes,
}

/// A record that was refused because its shard takes no more at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "shard {} of the stream takes 1,000 records and 1 MiB a second: try again", shard_id(*shard)
)]
pub struct OverLimit {
    pub shard: u32,
}

/// All streams.
#[derive(Debug)]
pub struct Streams {
    storage: Arc<Storage>,
    limited: bool,
    /// By kind and name.
    open: RwLock<BTreeMap<String, Arc<Stream>>>,
    definitions: tokio::sync::Mutex<Definitions>,
}

/// Streams for everybody and those behind delivery streams may be called the same.
fn slot(kind: Kind, name: &str) -> String {
    match kind {
        Kind::Stream => format!("stream/{name}"),
        Kind::Direct => format!("direct/{name}"),
    }
}

impl Streams {
    /// Opens those that an earlier run left. `limited`: shards have the limits of AWS.
    pub fn open(storage: Arc<Storage>, limited: bool) -> Result<Streams, StreamError> {
        let definitions: Definitions = storage.json(NOTE)?.unwrap_or_default();
        let streams = definitions.streams.iter();
        let open = streams
            .map(|known| (slot(known.kind, &known.name), Arc::new(Stream::open(known, limited))))
            .collect();
        let definitions = tokio::sync::Mutex::new(definitions);
        Ok(Streams { storage, limited, open: RwLock::new(open), definitions })
    }

    pub fn storage(&self) -> &Arc<Storage> {
        &self.storage
    }

    pub fn named(&self, kind: Kind, name: &str) -> Option<Arc<Stream>> {
        self.read().get(&slot(kind, name)).cloned()
    }

    /// A stream for everybody by its id.
    pub fn by_id(&self, id: u32) -> Option<Arc<Stream>> {
        self.read().values().find(|stream| stream.id == id).cloned()
    }

    /// All of a kind, by their names.
    pub fn all(&self, kind: Kind) -> Vec<Arc<Stream>> {
        self.read().values().filter(|stream| stream.kind == kind).cloned().collect()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<String, Arc<Stream>>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, BTreeMap<String, Arc<Stream>>> {
        self.open.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a stream.
    pub async fn create(
        &self,
        kind: Kind,
        name: &str,
        shards: u32,
        retention: TimeDelta,
    ) -> Result<Arc<Stream>, StreamError> {
        let mut definitions = self.definitions.lock().await;
        if self.named(kind, name).is_some() {
            return Err(StreamError::Exists { name: name.to_string() });
        }
        if definitions.streams.len() >= MOST_STREAMS {
            return Err(StreamError::TooMany);
        }
        let definition = Definition {
            id: definitions.next_id,
            name: name.to_string(),
            kind,
            shards,
            created_ms: Utc::now().timestamp_millis(),
            retention_s: retention.num_seconds(),
        };
        let stream = Arc::new(Stream::open(&definition, self.limited));
        let mut next = definitions.clone();
        next.next_id += 1;
        next.streams.push(definition);
        self.keep(&next).await?;
        *definitions = next;
        self.write().insert(slot(kind, name), Arc::clone(&stream));
        Ok(stream)
    }

    /// The stream of this name, made where it is missing.
    ///
    /// # Errors
    /// [`StreamError::OtherShards`] where it is there and has another number of shards.
    pub async fn ensure(
        &self,
        kind: Kind,
        name: &str,
        shards: u32,
        retention: TimeDelta,
    ) -> Result<Arc<Stream>, StreamError> {
        let Some(stream) = self.named(kind, name) else {
            return self.create(kind, name, shards, retention).await;
        };
        let made = stream.shards.len() as u32;
        if made != shards {
            let name = name.to_string();
            return Err(StreamError::OtherShards { name, made, asked: shards });
        }
        self.set_retention(&stream, retention).await?;
        Ok(stream)
    }

    pub async fn set_retention(
        &self,
        stream: &Stream,
        retention: TimeDelta,
    ) -> Result<(), StreamError> {
        let mut definitions = self.definitions.lock().await;
        let seconds = retention.num_seconds();
        let mut next = definitions.clone();
        let own = next.streams.iter_mut().filter(|known| known.id == stream.id);
        own.for_each(|known| known.retention_s = seconds);
        self.keep(&next).await?;
        *definitions = next;
        stream.retention_s.store(seconds, Ordering::Relaxed);
        Ok(())
    }

    /// Forgets a stream. Its records are removed later, by [`Streams::trim`].
    pub async fn delete(&self, kind: Kind, name: &str) -> Result<(), StreamError> {
        let mut definitions = self.definitions.lock().await;
        let Some(stream) = self.named(kind, name) else {
            return Err(StreamError::Missing { name: name.to_string() });
        };
        let mut next = definitions.clone();
        next.streams.retain(|known| known.id != stream.id);
        next.deleted.push((stream.id, stream.shards.len() as u32));
        self.keep(&next).await?;
        *definitions = next;
        self.write().remove(&slot(kind, name));
        Ok(())
    }

    async fn keep(&self, definitions: &Definitions) -> Result<(), Arc<StorageError>> {
        let text = serde_json::to_vec(definitions).expect("every key is a string");
        self.storage.change(move |notes| notes.set(NOTE, &text)).await
    }

    /// Keeps records, all in one commit: for each its number, or that its shard takes no more now.
    /// The answer comes once they are on the disk.
    pub async fn put(
        &self,
        stream: &Stream,
        records: Vec<Incoming>,
    ) -> Result<Vec<Result<SequenceNumber, OverLimit>>, Arc<StorageError>> {
        let mut placed: Vec<Result<u32, OverLimit>> = Vec::with_capacity(records.len());
        let mut new = Vec::with_capacity(records.len());
        for record in records {
            let key = record.hash_key.unwrap_or_else(|| hash_key(&record.partition_key));
            let shard = shard_of(&stream.shards, key).index;
            let bytes = record.data.len() + record.partition_key.len();
            let count = &stream.counts[shard as usize];
            if !stream.may_write(shard, bytes) {
                count.refused.fetch_add(1, Ordering::Relaxed);
                placed.push(Err(OverLimit { shard }));
                continue;
            }
            placed.push(Ok(shard));
            let Incoming { partition_key, data, .. } = record;
            new.push(NewRecord { stream: stream.id, shard, partition_key, data });
        }
        let sizes: Vec<(u32, u64)> =
            new.iter().map(|record| (record.shard, record.data.len() as u64)).collect();
        let numbers = match new.is_empty() {
            true => Vec::new(),
            false => self.storage.put(new).await?,
        };
        let mut numbers = numbers.into_iter();
        for (shard, bytes) in sizes {
            let count = &stream.counts[shard as usize];
            count.records.fetch_add(1, Ordering::Relaxed);
            count.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        let numbered = placed.into_iter().map(|place| {
            place.map(|shard| SequenceNumber {
                shard,
                number: numbers.next().expect("each record that was put has a number"),
            })
        });
        Ok(numbered.collect())
    }

    /// Removes records that are too old, and those of deleted streams; for a thread of its own.
    /// `delivered` says up to which number a shard's records are not needed for delivery any more;
    /// `None` where no delivery stream has ever read it.
    /// The newest record of a shard stays: numbers go on from it.
    pub fn trim(&self, delivered: impl Fn(ShardKey) -> Option<u64>) -> Result<(), StreamError> {
        let now = Utc::now();
        for stream in self.read().values().cloned().collect::<Vec<_>>() {
            let too_old_us = (now - stream.retention()).timestamp_micros();
            for shard in &stream.shards {
                let key = (stream.id, shard.index);
                let Some((first, last)) = self.storage.ends(key)? else { continue };
                if first.arrival_us >= too_old_us {
                    continue;
                }
                let young = self.storage.number_at(key, too_old_us)?.unwrap_or(u64::MAX);
                let needed = delivered(key).unwrap_or(match stream.kind {
                    Kind::Stream => u64::MAX,
                    // Its delivery stream has not begun yet.
                    Kind::Direct => 0,
                });
                let until = (young - 1).min(needed).min(last.number - 1);
                self.remove(key, first.number, until)?;
            }
        }
        let deleted = self.definitions.blocking_lock().deleted.clone();
        for (id, shards) in &deleted {
            for shard in 0..*shards {
                let key = (*id, shard);
                let Some((first, last)) = self.storage.ends(key)? else { continue };
                self.remove(key, first.number, last.number)?;
            }
        }
        if !deleted.is_empty() {
            let mut definitions = self.definitions.blocking_lock();
            definitions.deleted.retain(|gone| !deleted.contains(gone));
            let text = serde_json::to_vec(&*definitions).expect("every key is a string");
            self.storage.change_blocking(move |notes| notes.set(NOTE, &text))?;
        }
        Ok(())
    }

    fn remove(&self, key: ShardKey, first: u64, last: u64) -> Result<(), StreamError> {
        let mut from = first;
        while from <= last {
            self.storage.remove_blocking(key, from..=last)?;
            match self.storage.ends(key)? {
                Some((first, _)) if first.number > from => from = first.number,
                _ => break,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    fn incoming(key: &str) -> Incoming {
        let data = Bytes::from(key.to_string());
        Incoming { partition_key: key.to_string(), hash_key: None, data }
    }

    fn streams(folder: &std::path::Path, limited: bool) -> Streams {
        Streams::open(Arc::new(Storage::open(folder).unwrap()), limited).unwrap()
    }

    #[test]
    fn streams_are_there_again_after_an_end_with_the_shards_that_they_had() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = runtime();
        let id = {
            let streams = streams(folder.path(), false);
            let made = streams.create(Kind::Stream, "a", 2, DEFAULT_RETENTION);
            let stream = runtime.block_on(made).unwrap();
            let again = streams.create(Kind::Stream, "a", 2, DEFAULT_RETENTION);
            assert!(matches!(runtime.block_on(again), Err(StreamError::Exists { .. })));
            runtime.block_on(streams.create(Kind::Direct, "a", 1, DEFAULT_RETENTION)).unwrap();
            stream.id
        };
        let streams = streams(folder.path(), false);
        let stream = runtime.block_on(streams.ensure(Kind::Stream, "a", 2, TimeDelta::hours(1)));
        let stream = stream.unwrap();
        assert_eq!((stream.id, stream.retention()), (id, TimeDelta::hours(1)));
        let other = runtime.block_on(streams.ensure(Kind::Stream, "a", 3, DEFAULT_RETENTION));
        assert!(other.unwrap_err().to_string().contains("--shards 2"));
    }

    #[test]
    fn what_is_too_old_and_delivered_goes_and_the_newest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = runtime();
        let streams = streams(folder.path(), false);
        let make = streams.create(Kind::Stream, "a", 1, TimeDelta::zero());
        let stream = runtime.block_on(make).unwrap();
        let records = (0..5_000).map(|n| incoming(&n.to_string())).collect();
        runtime.block_on(streams.put(&stream, records)).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(2));
        let ends = || {
            let (first, last) = streams.storage.ends((stream.id, 0)).unwrap().unwrap();
            (first.number, last.number)
        };
        streams.trim(|_| Some(3_000)).unwrap();
        assert_eq!(ends(), (3_001, 5_000));
        streams.trim(|_| None).unwrap();
        assert_eq!(ends(), (5_000, 5_000));
        runtime.block_on(streams.delete(Kind::Stream, "a")).unwrap();
        streams.trim(|_| None).unwrap();
        assert_eq!(streams.storage.ends((stream.id, 0)).unwrap(), None);
        let again = streams.create(Kind::Stream, "a", 1, DEFAULT_RETENTION);
        assert_ne!(runtime.block_on(again).unwrap().id, stream.id);
    }

    #[test]
    fn records_over_the_limits_are_told_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = runtime();
        let streams = streams(folder.path(), true);
        let make = streams.create(Kind::Stream, "a", 1, DEFAULT_RETENTION);
        let stream = runtime.block_on(make).unwrap();
        let put = |count: u32| {
            let records = (0..count).map(|n| incoming(&n.to_string())).collect();
            runtime.block_on(streams.put(&stream, records)).unwrap()
        };
        let taken = put(1_500).iter().filter(|result| result.is_ok()).count();
        assert!((1_000..1_200).contains(&taken), "{taken}");
        let (_, counted) = stream.counts().next().unwrap();
        assert_eq!((counted.records, counted.refused), (taken as u64, 1_500 - taken as u64));
    }
}
