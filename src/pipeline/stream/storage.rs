//! What the pipeline must not lose, in one file: the records of streams, and what has been delivered of
//! them.
//!
//! One thread writes. It takes all that wait, commits them together, and then answers all of them: a
//! record that was answered for is on the disk. Readers have their own snapshots.

use std::collections::HashMap;
use std::fs::File;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use axum::body::Bytes;
use chrono::Utc;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// (stream, shard, number) → a record.
const RECORDS: TableDefinition<(u32, u32, u64), &[u8]> = TableDefinition::new("records");
/// Whatever else is kept, as JSON by name.
const NOTES: TableDefinition<&str, &[u8]> = TableDefinition::new("notes");

/// Puts that wait for the writer; beyond it those who put wait.
const WAITING: usize = 1 << 14;
/// Their bytes, in KiB.
const WAITING_KIB: u32 = 256 << 10;
/// What the database keeps of its file in memory.
const CACHE_BYTES: usize = 128 << 20;
/// Bytes of records that are committed together.
const COMMIT_BYTES: usize = 16 << 20;
/// Records that one commit removes, so that nobody waits for it.
const REMOVED_TOGETHER: usize = 2_000;
const FILE: &str = "pipeline.redb";

/// Why nothing could be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("{what} {path}: {source}")]
    Database { what: &'static str, path: String, source: Box<redb::Error> },
    #[error("{path} is open already: another pipeline runs on it; give this one its own --state")]
    Taken { path: String },
    #[error("can't create {path}: {source}")]
    Folder { path: String, source: std::io::Error },
    #[error("the writer of {path} has ended after an error")]
    Ended { path: String },
    #[error("the note {name:?} of {path} is damaged: {problem}")]
    Note { path: String, name: String, problem: String },
}

/// A record on its way in.
#[derive(Clone, Debug)]
pub struct NewRecord {
    pub stream: u32,
    pub shard: u32,
    pub partition_key: String,
    pub data: Bytes,
}

impl NewRecord {
    fn size(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }
}

/// A record as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    pub number: u64,
    /// When it came, in µs since 1970; never less than that of the record before it in its shard.
    pub arrival_us: i64,
    pub partition_key: String,
    pub data: Vec<u8>,
}

/// A stream's id, and the index of a shard of it.
pub type ShardKey = (u32, u32);

/// Where a commit is told: the numbers that the records have, in their order.
type Numbers = oneshot::Sender<Result<Vec<u64>, Arc<StorageError>>>;
/// Tells whoever waits how their commit went.
type Answer = Box<dyn FnOnce(Result<(), Arc<StorageError>>)>;
/// A change of notes that stands in one commit.
type Change = Box<dyn FnOnce(&mut Notes<'_, '_>) + Send>;

enum Job {
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

/// The file, open. Dropping it waits for what is being committed.
#[derive(Debug)]
pub struct Storage {
    path: String,
    database: Arc<Database>,
    jobs: Option<mpsc::Sender<Job>>,
    /// What may still wait. A request that goes away leaves its records in the queue.
    free_kib: Arc<Semaphore>,
    /// Commits with records.
    puts: Arc<AtomicU64>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Storage {
    /// Opens the file in a folder, and makes both where they are missing.
    ///
    /// # Errors
    /// [`StorageError`]; a file that another process has open is [`StorageError::Taken`].
    pub fn open(folder: &Path) -> Result<Storage, StorageError> {
        let path = folder.join(FILE);
        let shown = path.display().to_string();
        let in_folder =
            |source| StorageError::Folder { path: folder.display().to_string(), source };
        std::fs::create_dir_all(folder).map_err(in_folder)?;
        let failed = |error: redb::Error| match error {
            redb::Error::DatabaseAlreadyOpen => StorageError::Taken { path: shown.clone() },
            error => failure("can't open", &shown, error),
        };
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let database = builder.create(&path).map_err(|error| failed(error.into()))?;
        // The file's own entry must outlive a power failure as its content does.
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(in_folder)?;
        let tails = begin(&database).map_err(failed)?;
        let database = Arc::new(database);
        let (jobs, waiting) = mpsc::channel(WAITING);
        let puts = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            path: shown.clone(),
            database: Arc::clone(&database),
            tails,
            puts: Arc::clone(&puts),
        };
        let thread = std::thread::Builder::new().name("storage".to_string());
        let thread = thread.spawn(move || writer.run(waiting));
        let thread =
            thread.map_err(|source| StorageError::Folder { path: shown.clone(), source })?;
        Ok(Storage {
            path: shown,
            database,
            jobs: Some(jobs),
            free_kib: Arc::new(Semaphore::new(WAITING_KIB as usize)),
            puts,
            writer: Mutex::new(Some(thread)),
        })
    }

    /// Keeps records. The answer comes once they are on the disk: their numbers, each one more than
    /// that of the record before it in its shard.
    pub async fn put(&self, records: Vec<NewRecord>) -> Result<Vec<u64>, Arc<StorageError>> {
        let bytes: usize = records.iter().map(NewRecord::size).sum();
        let kib = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).min(WAITING_KIB - 1) + 1;
        let free = Arc::clone(&self.free_kib).acquire_many_owned(kib).await;
        let free = free.expect("nobody closes it");
        let (told, answer) = oneshot::channel();
        self.hand_over(Job::Put(records, told, free)).await;
        answer.await.unwrap_or_else(|_| Err(self.ended()))
    }

    /// Changes notes, all in one commit.
    pub async fn change(
        &self,
        change: impl FnOnce(&mut Notes<'_, '_>) + Send + 'static,
    ) -> Result<(), Arc<StorageError>> {
        let (told, answer) = oneshot::channel();
        self.hand_over(Job::Change(Box::new(change), told)).await;
        answer.await.unwrap_or_else(|_| Err(self.ended()))
    }

    /// [`Storage::change`] for a thread of its own.
    pub fn change_blocking(
        &self,
        change: impl FnOnce(&mut Notes<'_, '_>) + Send + 'static,
    ) -> Result<(), Arc<StorageError>> {
        let (told, answer) = oneshot::channel();
        self.hand_over_blocking(Job::Change(Box::new(change), told));
        answer.blocking_recv().unwrap_or_else(|_| Err(self.ended()))
    }

    /// Removes records of a shard, the oldest first, and not all of them where they are many; for a
    /// thread of its own.
    pub fn remove_blocking(
        &self,
        shard: ShardKey,
        numbers: RangeInclusive<u64>,
    ) -> Result<(), Arc<StorageError>> {
        let (told, answer) = oneshot::channel();
        self.hand_over_blocking(Job::Remove(shard, numbers, told));
        answer.blocking_recv().unwrap_or_else(|_| Err(self.ended()))
    }

    // A writer that ended drops the job, and with it the sender of its answer.
    async fn hand_over(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job).await;
        }
    }

    fn hand_over_blocking(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.blocking_send(job);
        }
    }

    fn ended(&self) -> Arc<StorageError> {
        Arc::new(StorageError::Ended { path: self.path.clone() })
    }

    /// Records of a shard from a number on, in their order, until `take` is false.
    pub fn records(
        &self,
        (stream, shard): ShardKey,
        from: u64,
        mut take: impl FnMut(Record) -> bool,
    ) -> Result<(), StorageError> {
        self.read(|records, _| {
            for entry in records.range((stream, shard, from)..=(stream, shard, u64::MAX))? {
                let (key, value) = entry?;
                if !take(decoded(key.value().2, value.value())) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// The oldest and the newest record of a shard that are kept.
    pub fn ends(
        &self,
        (stream, shard): ShardKey,
    ) -> Result<Option<(Record, Record)>, StorageError> {
        self.read(|records, _| {
            let mut all = records.range((stream, shard, 0)..=(stream, shard, u64::MAX))?;
            let Some(first) = all.next() else { return Ok(None) };
            let (key, value) = first?;
            let first = decoded(key.value().2, value.value());
            let last = match all.next_back() {
                None => first.clone(),
                Some(last) => {
                    let (key, value) = last?;
                    decoded(key.value().2, value.value())
                }
            };
            Ok(Some((first, last)))
        })
    }

    /// The number of the first record that came at `arrival_us` or later; `None` where none did.
    pub fn number_at(&self, shard: ShardKey, arrival_us: i64) -> Result<Option<u64>, StorageError> {
        let Some((first, last)) = self.ends(shard)? else { return Ok(None) };
        if last.arrival_us < arrival_us {
            return Ok(None);
        }
        // Numbers have no gaps, and arrivals grow with them.
        let (mut low, mut high) = (first.number, last.number);
        self.read(|records, _| {
            while low < high {
                let middle = low + (high - low) / 2;
                let came = records.get((shard.0, shard.1, middle))?;
                match came.map(|value| decoded(middle, value.value()).arrival_us) {
                    Some(came) if came >= arrival_us => high = middle,
                    _ => low = middle + 1,
                }
            }
            Ok(())
        })?;
        Ok(Some(low))
    }

    /// A number that grows with each commit of records.
    pub fn puts(&self) -> u64 {
        self.puts.load(Ordering::Acquire)
    }

    /// All notes whose names begin so.
    pub fn notes(&self, lead: &str) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        self.read(|_, notes| {
            let mut found = Vec::new();
            for entry in notes.range(lead..)? {
                let (name, value) = entry?;
                if !name.value().starts_with(lead) {
                    break;
                }
                found.push((name.value().to_string(), value.value().to_vec()));
            }
            Ok(found)
        })
    }

    /// A note, if there is one.
    pub fn note(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.read(|_, notes| Ok(notes.get(name)?.map(|value| value.value().to_vec())))
    }

    /// A note that is JSON.
    pub fn json<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Option<T>, StorageError> {
        let Some(bytes) = self.note(name)? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|problem| StorageError::Note {
            path: self.path.clone(),
            name: name.to_string(),
            problem: problem.to_string(),
        })
    }

    fn read<T>(
        &self,
        look: impl FnOnce(
            redb::ReadOnlyTable<(u32, u32, u64), &'static [u8]>,
            redb::ReadOnlyTable<&'static str, &'static [u8]>,
        ) -> Result<T, redb::Error>,
    ) -> Result<T, StorageError> {
        let read = || {
            let snapshot = self.database.begin_read()?;
            look(snapshot.open_table(RECORDS)?, snapshot.open_table(NOTES)?)
        };
        read().map_err(|error| failure("can't read", &self.path, error))
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.jobs = None;
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = writer.join();
        }
    }
}

fn failure(what: &'static str, path: &str, error: redb::Error) -> StorageError {
    StorageError::Database { what, path: path.to_string(), source: Box::new(error) }
}

/// What the next record of a shard goes on from.
#[derive(Clone, Copy, Debug)]
struct Tail {
    next: u64,
    arrival_us: i64,
}

impl Default for Tail {
    fn default() -> Tail {
        Tail { next: 1, arrival_us: 0 }
    }
}

/// Makes the tables, and finds the end of each shard.
fn begin(database: &Database) -> Result<HashMap<ShardKey, Tail>, redb::Error> {
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

struct Writer {
    path: String,
    database: Arc<Database>,
    /// Of each shard that has records.
    tails: HashMap<ShardKey, Tail>,
    puts: Arc<AtomicU64>,
}

impl Writer {
    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
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

/// Arrival, length of the partition key, partition key, data.
fn encode(record: &NewRecord, arrival_us: i64, bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.extend(arrival_us.to_le_bytes());
    // A partition key has at most 256 characters.
    bytes.extend((record.partition_key.len() as u16).to_le_bytes());
    bytes.extend(record.partition_key.as_bytes());
    bytes.extend(&record.data);
}

fn decoded(number: u64, bytes: &[u8]) -> Record {
    let (arrival, rest) = bytes.split_at(8);
    let (len, rest) = rest.split_at(2);
    let len = u16::from_le_bytes(len.try_into().expect("2 bytes"));
    let (key, data) = rest.split_at(usize::from(len));
    Record {
        number,
        arrival_us: i64::from_le_bytes(arrival.try_into().expect("8 bytes")),
        partition_key: String::from_utf8_lossy(key).into_owned(),
        data: data.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(shard: u32, data: &str) -> NewRecord {
        NewRecord {
            stream: 0,
            shard,
            partition_key: "k".to_string(),
            data: Bytes::copy_from_slice(data.as_bytes()),
        }
    }

    fn all(storage: &Storage, shard: u32, from: u64) -> Vec<(u64, String)> {
        let mut found = Vec::new();
        let mut take = |record: Record| {
            found.push((record.number, String::from_utf8(record.data).unwrap()));
            true
        };
        storage.records((0, shard), from, &mut take).unwrap();
        found
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn records_are_numbered_within_their_shard_and_go_on_after_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = runtime();
        {
            let storage = Storage::open(folder.path()).unwrap();
            let put = |records| runtime.block_on(storage.put(records)).unwrap();
            assert_eq!(put(vec![record(0, "a"), record(3, "b"), record(0, "c")]), [1, 1, 2]);
            storage.change_blocking(|notes| notes.set("n", b"{\"x\":1}")).unwrap();
        }
        let storage = Storage::open(folder.path()).unwrap();
        let put = |records| runtime.block_on(storage.put(records)).unwrap();
        assert_eq!(put(vec![record(3, "d"), record(1, "e")]), [2, 1]);
        let text = |pairs: &[(u64, &str)]| -> Vec<(u64, String)> {
            pairs.iter().map(|(number, text)| (*number, text.to_string())).collect()
        };
        assert_eq!(all(&storage, 0, 0), text(&[(1, "a"), (2, "c")]));
        assert_eq!(all(&storage, 3, 2), text(&[(2, "d")]));
        let note: serde_json::Value = storage.json("n").unwrap().unwrap();
        assert_eq!(note, serde_json::json!({"x": 1}));
        assert!(storage.note("other").unwrap().is_none());
    }

    #[test]
    fn a_file_that_is_open_is_not_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let _storage = Storage::open(folder.path()).unwrap();
        let error = Storage::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("pipeline.redb"), "{error}");
    }

    #[test]
    fn the_oldest_records_go_and_numbers_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = runtime();
        let storage = Storage::open(folder.path()).unwrap();
        let put = |records| runtime.block_on(storage.put(records)).unwrap();
        put((0..10).map(|n| record(1, &n.to_string())).collect());
        storage.remove_blocking((0, 1), 0..=7).unwrap();
        let (first, last) = storage.ends((0, 1)).unwrap().unwrap();
        assert_eq!((first.number, last.number), (8, 10));
        assert_eq!(put(vec![record(1, "next")]), [11]);
        assert_eq!(storage.ends((0, 0)).unwrap(), None);
    }

    #[test]
    fn a_record_is_found_by_when_it_came() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = runtime();
        let storage = Storage::open(folder.path()).unwrap();
        for n in 0..9 {
            runtime.block_on(storage.put(vec![record(0, &n.to_string())])).unwrap();
        }
        let mut arrivals = Vec::new();
        storage
            .records((0, 0), 0, |record| {
                arrivals.push((record.number, record.arrival_us));
                true
            })
            .unwrap();
        for (_, arrival_us) in &arrivals {
            let first = arrivals.iter().find(|(_, other)| other >= arrival_us).unwrap().0;
            assert_eq!(storage.number_at((0, 0), *arrival_us).unwrap(), Some(first));
        }
        let last = arrivals.last().unwrap().1;
        assert_eq!(storage.number_at((0, 0), last + 1).unwrap(), None);
        assert_eq!(storage.number_at((0, 0), 0).unwrap(), Some(1));
    }
}
