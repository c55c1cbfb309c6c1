//! The one thread that writes: it takes all that wait, commits them together, and then answers all of
//! them. A record that was answered for is on the disk.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::Utc;
use redb::{Database, ReadableTable, WriteTransaction};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::record::{NewRecord, ShardKey, decoded, encode};
use super::storage::{NOTES, RECORDS, StorageError, failure};

/// Bytes of records that are committed together.
const COMMIT_BYTES: usize = 16 << 20;
/// Records that one commit removes, so that nobody waits for it.
const REMOVED_TOGETHER: usize = 2_000;

/// Where a commit is told: the numbers that the records have, in their order.
pub type Numbers = oneshot::Sender<Result<Vec<u64>, Arc<StorageError>>>;
/// Tells whoever waits how their commit went.
type Answer = Box<dyn FnOnce(Result<(), Arc<StorageError>>)>;
/// A change of notes that stands in one commit.
pub type Change = Box<dyn FnOnce(&mut Notes<'_, '_>) + Send>;

/// What is asked of the thread.
pub enum Job {
    Put(Vec<NewRecord>, Numbers, OwnedSemaphorePermit),
    Change(Change, oneshot::Sender<Result<(), Arc<StorageError>>>),
    /// Removes the first records of these numbers, as many as one commit removes.
    Remove(ShardKey, RangeInclusive<u64>, oneshot::Sender<Result<(), Arc<StorageError>>>),
}

/// The notes within a commit.
pub struct Notes<'t, 'w> {
    table: &'t mut redb::Table<'w, &'static str, &'static [u8]>,
    failed: Option<redb::Error>,
}

impl Notes<'_, '_> {
    pub fn set(&mut self, name: &str, value: &[u8]) {
        if let Err(error) = self.table.insert(name, value) {
            self.failed.get_or_insert(error.into());
        }
    }

    pub fn remove(&mut self, name: &str) {
        if let Err(error) = self.table.remove(name) {
            self.failed.get_or_insert(error.into());
        }
    }
}

/// What the next record of a shard goes on from.
#[derive(Clone, Copy, Debug)]
pub struct Tail {
    next: u64,
    arrival_us: i64,
}

impl Default for Tail {
    fn default() -> Tail {
        Tail { next: 1, arrival_us: 0 }
    }
}

/// Makes the tables, and finds the end of each shard.
pub fn begin(database: &Database) -> Result<HashMap<ShardKey, Tail>, redb::Error> {
    let change = database.begin_write()?;
    change.open_table(NOTES)?;
    let mut tails = HashMap::new();
    {
        let records = change.open_table(RECORDS)?;
        let mut from = Some((0, 0));
        // From shard to shard: each is left behind by a search for what lies beyond its last number.
        while let Some((stream, shard)) = from {
            let mut rest = records.range((stream, shard, 0)..)?;
            from = match rest.next() {
                None => None,
                Some(entry) => {
                    let (stream, shard, _) = entry?.0.value();
                    let mut own = records.range((stream, shard, 0)..=(stream, shard, u64::MAX))?;
                    if let Some(last) = own.next_back() {
                        let (key, value) = last?;
                        let last = decoded(key.value().2, value.value());
                        let tail = Tail { next: last.number + 1, arrival_us: last.arrival_us };
                        tails.insert((stream, shard), tail);
                    }
                    match shard.checked_add(1) {
                        Some(shard) => Some((stream, shard)),
                        None => stream.checked_add(1).map(|stream| (stream, 0)),
                    }
                }
            };
        }
    }
    change.commit()?;
    Ok(tails)
}

/// The thread's own.
pub struct Writer {
    pub path: String,
    pub database: Arc<Database>,
    /// Of each shard that has records.
    pub tails: HashMap<ShardKey, Tail>,
    pub puts: Arc<AtomicU64>,
}

impl Writer {
    /// Works until nobody asks any more.
    pub fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(first) = jobs.blocking_recv() {
            let mut bytes = size(&first);
            let mut batch = vec![first];
            while bytes < COMMIT_BYTES
                && let Ok(job) = jobs.try_recv()
            {
                bytes += size(&job);
                batch.push(job);
            }
            self.commit(batch);
        }
    }

    fn commit(&mut self, batch: Vec<Job>) {
        let mut answers: Vec<Answer> = Vec::with_capacity(batch.len());
        // What the tails become, once it is on the disk.
        let mut moved: HashMap<ShardKey, Tail> = HashMap::new();
        let written = self.write(batch, &mut moved, &mut answers);
        let done = match written {
            Ok(()) => {
                if !moved.is_empty() {
                    self.tails.extend(moved);
                    self.puts.fetch_add(1, Ordering::Release);
                }
                Ok(())
            }
            Err(error) => Err(Arc::new(failure("can't write", &self.path, error))),
        };
        for answer in answers {
            answer(done.clone());
        }
    }

    /// Commits a batch. Whoever waits gets its answer prepared, whatever comes of it.
    fn write(
        &self,
        batch: Vec<Job>,
        moved: &mut HashMap<ShardKey, Tail>,
        answers: &mut Vec<Answer>,
    ) -> Result<(), redb::Error> {
        let change: WriteTransaction = self.database.begin_write()?;
        let mut failed: Option<redb::Error> = None;
        {
            let mut records = change.open_table(RECORDS)?;
            let mut notes = change.open_table(NOTES)?;
            let mut bytes = Vec::new();
            let now_us = Utc::now().timestamp_micros();
            for job in batch {
                match job {
                    Job::Put(new, told, free) => {
                        let mut given = Vec::with_capacity(new.len());
                        for record in &new {
                            let key = (record.stream, record.shard);
                            let tail = moved.entry(key).or_insert_with(|| {
                                self.tails.get(&key).copied().unwrap_or_default()
                            });
                            // A clock that is set back does not show in a shard.
                            tail.arrival_us = tail.arrival_us.max(now_us);
                            encode(record, tail.arrival_us, &mut bytes);
                            let key = (record.stream, record.shard, tail.next);
                            if let Err(error) = records.insert(key, &bytes[..]) {
                                failed.get_or_insert(error.into());
                            }
                            given.push(tail.next);
                            tail.next += 1;
                        }
                        answers.push(Box::new(move |done| {
                            drop(free);
                            let _ = told.send(done.map(|()| given));
                        }));
                    }
                    Job::Change(apply, told) => {
                        let mut notes = Notes { table: &mut notes, failed: None };
                        apply(&mut notes);
                        if let Some(error) = notes.failed {
                            failed.get_or_insert(error);
                        }
                        answers.push(Box::new(move |done| {
                            let _ = told.send(done);
                        }));
                    }
                    Job::Remove((stream, shard), numbers, told) => {
                        if let Err(error) = remove(&mut records, (stream, shard), numbers) {
                            failed.get_or_insert(error);
                        }
                        answers.push(Box::new(move |done| {
                            let _ = told.send(done);
                        }));
                    }
                }
            }
        }
        match failed {
            // Dropped, the transaction changes nothing.
            Some(error) => Err(error),
            None => Ok(change.commit()?),
        }
    }
}

fn remove(
    records: &mut redb::Table<'_, (u32, u32, u64), &'static [u8]>,
    (stream, shard): ShardKey,
    numbers: RangeInclusive<u64>,
) -> Result<(), redb::Error> {
    let range = (stream, shard, *numbers.start())..=(stream, shard, *numbers.end());
    for gone in records.extract_from_if(range, |_, _| true)?.take(REMOVED_TOGETHER) {
        gone?;
    }
    Ok(())
}

fn size(job: &Job) -> usize {
    match job {
        Job::Put(records, ..) => records.iter().map(NewRecord::size).sum(),
        Job::Change(..) | Job::Remove(..) => 0,
    }
}
