//! What the pipeline must not lose, in one file: the records of streams, and what has been delivered of
//! them.
//!
//! One thread writes. It takes all that wait, commits them together, and then answers all of them: a
//! record that was answered for is on the disk. Readers have their own snapshots.

use std::collections::HashMap;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use tokio::sync::{oneshot, watch};

/// (stream, shard, number) → a record.
const RECORDS: TableDefinition<(u32, u32, u64), &[u8]> = TableDefinition::new("records");
/// Whatever else is kept, as JSON by name.
const NOTES: TableDefinition<&str, &[u8]> = TableDefinition::new("notes");

/// Puts that wait for the writer; beyond it those who put wait.
const WAITING: usize = 1 << 14;
/// Bytes of records that are committed together.
const COMMIT_BYTES: usize = 16 << 20;
const FILE: &str = "pipeline.redb";

/// Why nothing could be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("{what} {path}: {source}")]
    Database { what: &'static str, path: String, source: Box<redb::Error> },
    #[error("can't create {path}: {source}")]
    Folder { path: String, source: std::io::Error },
    #[error("the writer of {path} has ended: {why}")]
    Ended { path: String, why: String },
    #[error("the note {name:?} of {path} is damaged: {problem}")]
    Note { path: String, name: String, problem: String },
}

/// A record on its way in.
#[derive(Clone, Debug)]
pub struct NewRecord {
    pub stream: u32,
    pub shard: u32,
    /// When it came, in µs since 1970.
    pub arrival_us: i64,
    pub partition_key: String,
    pub data: Vec<u8>,
}

/// A record as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    pub number: u64,
    pub arrival_us: i64,
    pub partition_key: String,
    pub data: Vec<u8>,
}

/// Where a commit is told: the numbers that the records have, in their order.
type Numbers = oneshot::Sender<Result<Vec<u64>, Arc<StorageError>>>;
/// Tells whoever waits how their commit went.
type Answer = Box<dyn FnOnce(Result<(), Arc<StorageError>>)>;
/// A change of notes that stands in one commit.
type Change = Box<dyn FnOnce(&mut Notes<'_, '_>) + Send>;

enum Job {
    Put(Vec<NewRecord>, Numbers),
    Change(Change, oneshot::Sender<Result<(), Arc<StorageError>>>),
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
    jobs: Option<SyncSender<Job>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    commits: watch::Receiver<u64>,
}

impl Storage {
    /// Opens the file in a folder, and makes both where they are missing.
    ///
    /// # Errors
    /// [`StorageError`]; a file that another process has open is one.
    pub fn open(folder: &Path) -> Result<Storage, StorageError> {
        let path = folder.join(FILE);
        let shown = path.display().to_string();
        std::fs::create_dir_all(folder).map_err(|source| StorageError::Folder {
            path: folder.display().to_string(),
            source,
        })?;
        let failed = |error: redb::Error| failure("can't open", &shown, error);
        let database = Database::create(&path).map_err(|error| failed(error.into()))?;
        let numbers = begin(&database).map_err(failed)?;
        let database = Arc::new(database);
        let (jobs, waiting) = sync_channel(WAITING);
        let (told, commits) = watch::channel(0);
        let writer = Writer { path: shown.clone(), database: Arc::clone(&database), numbers, told };
        let thread = std::thread::Builder::new().name("storage".to_string());
        let thread = thread.spawn(move || writer.run(&waiting));
        let thread =
            thread.map_err(|source| StorageError::Folder { path: shown.clone(), source })?;
        Ok(Storage {
            path: shown,
            database,
            jobs: Some(jobs),
            writer: Mutex::new(Some(thread)),
            commits,
        })
    }

    /// Keeps records. The answer comes once they are on the disk: their numbers, each one more than
    /// that of the record before it in its shard.
    pub async fn put(&self, records: Vec<NewRecord>) -> Result<Vec<u64>, Arc<StorageError>> {
        let (told, answer) = oneshot::channel();
        self.hand_over(Job::Put(records, told));
        answer.await.unwrap_or_else(|_| Err(Arc::new(self.ended())))
    }

    /// Changes notes, all in one commit.
    pub fn change(
        &self,
        change: impl FnOnce(&mut Notes<'_, '_>) + Send + 'static,
    ) -> Result<(), Arc<StorageError>> {
        let (told, answer) = oneshot::channel();
        self.hand_over(Job::Change(Box::new(change), told));
        answer.blocking_recv().unwrap_or_else(|_| Err(Arc::new(self.ended())))
    }

    fn hand_over(&self, job: Job) {
        // A writer that ended drops the job, and with it the sender of its answer.
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job);
        }
    }

    fn ended(&self) -> StorageError {
        StorageError::Ended { path: self.path.clone(), why: "see its first error".to_string() }
    }

    /// Tells of each commit.
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.clone()
    }

    /// Records of a shard from a number on, in their order, until `take` is false.
    pub fn records(
        &self,
        (stream, shard): (u32, u32),
        from: u64,
        mut take: impl FnMut(Record) -> bool,
    ) -> Result<(), StorageError> {
        let mut read = || -> Result<(), redb::Error> {
            let table = self.database.begin_read()?.open_table(RECORDS)?;
            for entry in table.range((stream, shard, from)..=(stream, shard, u64::MAX))? {
                let (key, value) = entry?;
                if !take(decoded(key.value().2, value.value())) {
                    break;
                }
            }
            Ok(())
        };
        read().map_err(|error| failure("can't read", &self.path, error))
    }

    /// A note, if there is one.
    pub fn note(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let read = || -> Result<Option<Vec<u8>>, redb::Error> {
            let table = self.database.begin_read()?.open_table(NOTES)?;
            Ok(table.get(name)?.map(|value| value.value().to_vec()))
        };
        read().map_err(|error| failure("can't read", &self.path, error))
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

/// Makes the tables, and finds the next number of each shard.
fn begin(database: &Database) -> Result<HashMap<(u32, u32), u64>, redb::Error> {
    let change = database.begin_write()?;
    change.open_table(NOTES)?;
    let mut numbers = HashMap::new();
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
                        numbers.insert((stream, shard), last?.0.value().2 + 1);
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
    Ok(numbers)
}

struct Writer {
    path: String,
    database: Arc<Database>,
    /// The next number of each shard that has records.
    numbers: HashMap<(u32, u32), u64>,
    told: watch::Sender<u64>,
}

impl Writer {
    fn run(mut self, jobs: &Receiver<Job>) {
        while let Ok(first) = jobs.recv() {
            let mut batch = vec![first];
            let mut bytes = size(&batch[0]);
            while bytes < COMMIT_BYTES
                && let Ok(job) = jobs.try_recv()
            {
                bytes += size(&job);
                batch.push(job);
            }
            self.commit(batch);
            self.told.send_modify(|commits| *commits += 1);
        }
    }

    fn commit(&mut self, batch: Vec<Job>) {
        let mut answers: Vec<Answer> = Vec::new();
        let mut numbers = self.numbers.clone();
        let write = |numbers: &mut HashMap<(u32, u32), u64>,
                     answers: &mut Vec<Answer>|
         -> Result<(), redb::Error> {
            let change: WriteTransaction = self.database.begin_write()?;
            let mut failed = None;
            {
                let mut records = change.open_table(RECORDS)?;
                let mut notes = change.open_table(NOTES)?;
                let mut bytes = Vec::new();
                for job in batch {
                    match job {
                        Job::Put(new, told) => {
                            let mut given = Vec::with_capacity(new.len());
                            for record in &new {
                                let next =
                                    numbers.entry((record.stream, record.shard)).or_insert(1);
                                encode(record, &mut bytes);
                                let key = (record.stream, record.shard, *next);
                                if let Err(error) = records.insert(key, &bytes[..]) {
                                    failed.get_or_insert(redb::Error::from(error));
                                }
                                given.push(*next);
                                *next += 1;
                            }
                            answers.push(Box::new(move |done| {
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
                    }
                }
            }
            match failed {
                // Dropped, the transaction changes nothing.
                Some(error) => Err(error),
                None => Ok(change.commit()?),
            }
        };
        let done = match write(&mut numbers, &mut answers) {
            Ok(()) => {
                self.numbers = numbers;
                Ok(())
            }
            Err(error) => Err(Arc::new(failure("can't write", &self.path, error))),
        };
        for answer in answers {
            answer(done.clone());
        }
    }
}

fn size(job: &Job) -> usize {
    match job {
        Job::Put(records, _) => {
            records.iter().map(|record| record.data.len() + record.partition_key.len()).sum()
        }
        Job::Change(..) => 0,
    }
}

/// Arrival, length of the partition key, partition key, data.
fn encode(record: &NewRecord, bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.extend(record.arrival_us.to_le_bytes());
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
            arrival_us: 7,
            partition_key: "k".to_string(),
            data: data.as_bytes().to_vec(),
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
            storage.change(|notes| notes.set("n", b"{\"x\":1}")).unwrap();
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
}
