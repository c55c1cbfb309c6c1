//! What the pipeline must not lose, in one file: the records of streams, and what has been delivered of
//! them.
//!
//! One thread writes ([`super::writer`]). Readers have their own snapshots.

use std::fs::File;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use redb::{Database, ReadableDatabase, TableDefinition};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::record::{NewRecord, Record, ShardKey, decoded};
use super::writer::{Job, Notes, Writer, begin};

/// (stream, shard, number) → a record.
pub(super) const RECORDS: TableDefinition<(u32, u32, u64), &[u8]> = TableDefinition::new("records");
/// Whatever else is kept, as JSON by name.
pub(super) const NOTES: TableDefinition<&str, &[u8]> = TableDefinition::new("notes");

/// Puts that wait for the writer; beyond it those who put wait.
const WAITING: usize = 1 << 14;
/// Their bytes, in KiB.
const WAITING_KIB: u32 = 256 << 10;
/// What the database keeps of its file in memory.
const CACHE_BYTES: usize = 128 << 20;
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

pub(super) fn failure(what: &'static str, path: &str, error: redb::Error) -> StorageError {
    StorageError::Database { what, path: path.to_string(), source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use axum::body::Bytes;

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
