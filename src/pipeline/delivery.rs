//! Records of a stream → objects, as a delivery stream makes them: buffered by size and time, named
//! by prefix and time, compressed, put in a folder.
//!
//! What an object holds and what it is called is decided together with the position up to which
//! records are delivered, in one commit, after its bytes lie on the disk. From then on the object is put
//! until it is there, after any number of kills: always the same bytes under the same key. So
//! nothing is lost, and nothing is delivered twice.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::encode::Compression;
use super::shards::Shard;
use super::storage::{Record, Storage, StorageError};
use crate::layout::Naming;

/// What a delivery stream is told.
#[derive(Clone, Debug)]
pub struct DeliverySpec {
    pub name: String,
    pub stream: u32,
    pub naming: Naming,
    pub compression: Compression,
    /// Bytes of records and time since the first of them after which an object is made.
    pub buffer_bytes: usize,
    pub buffer_time: Duration,
    /// A line feed behind each record.
    pub newline: bool,
    /// Where objects go.
    pub folder: PathBuf,
}

/// Why delivery ended.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Shared(#[from] Arc<StorageError>),
    #[error("can't {action} {}: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
}

/// The number of the last record of each shard that is in an object, by the shard's index.
type Positions = BTreeMap<u32, u64>;

/// An object that is decided and may not be in its place yet.
#[derive(Serialize, Deserialize)]
struct Plan {
    key: String,
    staged: PathBuf,
}

/// The state of one delivery stream.
pub struct Delivery {
    spec: DeliverySpec,
    shards: Vec<Shard>,
    storage: Arc<Storage>,
    staging: PathBuf,
    positions: Positions,
    buffer: Buffer,
}

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// The last record of each shard in it.
    until: Positions,
    /// Arrival of its oldest record.
    oldest_us: Option<i64>,
    since: Option<Instant>,
}

impl Delivery {
    /// Takes up where the last run ended: what it had decided is put in its place first.
    pub fn open(
        spec: DeliverySpec,
        shards: Vec<Shard>,
        storage: Arc<Storage>,
        state: &Path,
    ) -> Result<Delivery, DeliveryError> {
        let staging = state.join("staged");
        fs::create_dir_all(&staging).map_err(file("create", &staging))?;
        let positions: Positions =
            storage.json(&note("positions", &spec.name))?.unwrap_or_default();
        let plan: Option<Plan> = storage.json(&note("plan", &spec.name))?;
        let buffer = Buffer { until: positions.clone(), ..Buffer::default() };
        let delivery = Delivery { spec, shards, storage, staging, positions, buffer };
        if let Some(plan) = plan {
            delivery.carry_out(&plan)?;
        }
        delivery.clear_staging()?;
        Ok(delivery)
    }

    /// Delivers until `stop`, and then what is buffered.
    pub fn run(&mut self, stop: &AtomicBool) -> Result<(), DeliveryError> {
        const LOOK_EVERY: Duration = Duration::from_millis(20);
        loop {
            let stopping = stop.load(Ordering::Relaxed);
            let came = self.fill()?;
            let full = self.buffer.bytes.len() >= self.spec.buffer_bytes;
            let due = self.buffer.since.is_some_and(|at| at.elapsed() >= self.spec.buffer_time);
            if full || due || stopping && !came {
                self.flush()?;
                if stopping && !came {
                    return Ok(());
                }
            }
            if !came && !stopping {
                std::thread::sleep(LOOK_EVERY);
            }
        }
    }

    /// Takes records into the buffer, until it is full; false where none is left.
    fn fill(&mut self) -> Result<bool, DeliveryError> {
        let Delivery { spec, shards, storage, buffer, .. } = self;
        let mut came = false;
        for shard in shards.iter() {
            let from = buffer.until.get(&shard.index).map_or(0, |last| last + 1);
            storage.records((spec.stream, shard.index), from, |record| {
                if buffer.bytes.len() >= spec.buffer_bytes {
                    return false;
                }
                came = true;
                buffer.take(shard.index, record, spec.newline);
                true
            })?;
        }
        Ok(came)
    }

    /// Makes an object of what is buffered.
    fn flush(&mut self) -> Result<(), DeliveryError> {
        let empty = Buffer { until: self.buffer.until.clone(), ..Buffer::default() };
        let buffer = std::mem::replace(&mut self.buffer, empty);
        let Some(oldest_us) = buffer.oldest_us else { return Ok(()) };
        let oldest = DateTime::from_timestamp_micros(oldest_us).unwrap_or_else(Utc::now);
        let id = uuid::Uuid::new_v4().to_string();
        let extension = self.spec.compression.extension();
        let key = self.spec.naming.key(oldest, &self.spec.name, &id, extension);
        let staged = self.staging.join(&id);
        let stored = self.spec.compression.encode(buffer.bytes, &id);
        let stored = stored.map_err(file("compress", &staged))?;
        write_whole(&staged, &stored).map_err(file("write", &staged))?;
        let plan = Plan { key, staged };
        self.positions = buffer.until;
        let positions = to_json(&self.positions);
        let (of_positions, of_plan) =
            (note("positions", &self.spec.name), note("plan", &self.spec.name));
        let text = to_json(&plan);
        self.storage.change(move |notes| {
            notes.set(&of_positions, &positions);
            notes.set(&of_plan, &text);
        })?;
        self.carry_out(&plan)
    }

    /// Puts a decided object in its place, be it there already.
    fn carry_out(&self, plan: &Plan) -> Result<(), DeliveryError> {
        let to = self.spec.folder.join(&plan.key);
        // Where it is not staged any more, it was put, and only the plan was left.
        if plan.staged.exists() {
            // Not beside the others, where it would be taken for one of them.
            let own = self.spec.folder.join(".rawcat");
            let folder = to.parent().unwrap_or(&self.spec.folder);
            for folder in [&own, folder] {
                fs::create_dir_all(folder).map_err(file("create", folder))?;
            }
            let temporary = own.join(plan.staged.file_name().unwrap_or_default());
            let put = fs::read(&plan.staged).and_then(|bytes| {
                write_whole(&temporary, &bytes)?;
                fs::rename(&temporary, &to)?;
                File::open(folder)?.sync_all()
            });
            put.map_err(file("write", &to))?;
        }
        let of_plan = note("plan", &self.spec.name);
        self.storage.change(move |notes| notes.remove(&of_plan))?;
        match fs::remove_file(&plan.staged) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(file("remove", &plan.staged)(error))
            }
            _ => Ok(()),
        }
    }

    /// Removes what was staged and never decided.
    fn clear_staging(&self) -> Result<(), DeliveryError> {
        let entries = fs::read_dir(&self.staging).map_err(file("read", &self.staging))?;
        for entry in entries.flatten() {
            fs::remove_file(entry.path()).map_err(file("remove", &entry.path()))?;
        }
        Ok(())
    }
}

impl Buffer {
    fn take(&mut self, shard: u32, record: Record, newline: bool) {
        self.bytes.extend(record.data);
        if newline {
            self.bytes.push(b'\n');
        }
        self.until.insert(shard, record.number);
        let oldest = self.oldest_us.get_or_insert(record.arrival_us);
        *oldest = record.arrival_us.min(*oldest);
        self.since.get_or_insert_with(Instant::now);
    }
}

fn note(what: &str, name: &str) -> String {
    format!("delivery/{name}/{what}")
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("every key is a string")
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DeliveryError {
    let path = path.to_path_buf();
    move |source| DeliveryError::File { action, path, source }
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
