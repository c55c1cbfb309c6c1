//! All delivery streams of a pipeline: begun, told about, ended.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Handle;

use super::invoke::Invoker;
use super::objects::{DecideError, Decisions, Positions, left_of};
use super::pile::Piles;
use super::place::Place;
use super::process::{Process, ProcessProblem};
use super::transform::Transform;
use super::{Counts, Delivery, DeliveryError, DeliverySpec, Tell};
use crate::pipeline::arn::Arns;
use crate::pipeline::stream::{Kind, ShardKey, StorageError, Stream, StreamError, Streams};
use crate::store::{SourceUrl, StoreError, StoreOptions};

/// Where the delivery streams that were made by the API are kept.
const NOTE: &str = "delivery-streams";
/// Delivery streams, at most.
const MOST: usize = 100;

/// Where records come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A stream that everybody may put to and read.
    Stream { stream: Arc<Stream>, begin: Begin },
    /// Records are put to the delivery stream itself.
    Direct(Arc<Stream>),
}

/// With which record a new delivery stream begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begin {
    Oldest,
    /// The first that comes after it was made, as Firehose does it.
    Next,
}

impl Source {
    pub fn stream(&self) -> &Arc<Stream> {
        match self {
            Source::Stream { stream, .. } | Source::Direct(stream) => stream,
        }
    }
}

/// Where objects go.
#[derive(Clone, Debug)]
pub struct Destination {
    pub url: SourceUrl,
    pub options: StoreOptions,
}

/// A delivery stream that can be begun.
#[derive(Clone, Debug)]
pub struct Opening {
    pub spec: DeliverySpec,
    pub source: Source,
    pub destination: Destination,
    pub told: Told,
}

/// What the API says of a delivery stream.
#[derive(Clone, Debug)]
pub struct Told {
    pub created: DateTime<Utc>,
    /// Its `ExtendedS3DestinationDescription`.
    pub destination: Value,
}

/// A delivery stream that the API made, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kept {
    pub request: Value,
    pub created_ms: i64,
}

/// Why a delivery stream can't be begun, or ended.
#[derive(Debug, thiserror::Error)]
pub enum DeliveriesError {
    #[error("there is a delivery stream {name} already")]
    Exists { name: String },
    #[error("there is no delivery stream {name}")]
    Missing { name: String },
    #[error("there are {MOST} delivery streams already, which is the limit")]
    TooMany,
    #[error(transparent)]
    Process(#[from] ProcessProblem),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the machine's certificates can't be read: {0}")]
    Certificates(std::io::Error),
    #[error("a thread for {name} can't be started: {source}")]
    Thread { name: String, source: std::io::Error },
    #[error(transparent)]
    Decide(#[from] DecideError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Shared(#[from] Arc<StorageError>),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
}

struct Running {
    source: Source,
    destination: String,
    told: Told,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), DeliveryError>>,
}

/// What is known of a delivery stream that runs.
#[derive(Clone, Debug)]
pub struct Known {
    pub name: String,
    pub source: Source,
    pub told: Told,
    pub counts: Arc<Counts>,
}

/// What delivery streams did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Delivered {
    pub records: u64,
    pub objects: u64,
    /// Records that went to the error output.
    pub failed: u64,
}

impl Delivered {
    fn with(self, counts: &Counts) -> Delivered {
        Delivered {
            records: self.records + Counts::get(&counts.delivered),
            objects: self.objects + Counts::get(&counts.objects),
            failed: self.failed + Counts::get(&counts.failed),
        }
    }
}

/// All delivery streams.
pub struct Deliveries {
    streams: Arc<Streams>,
    state: PathBuf,
    arns: Arns,
    runtime: Handle,
    tell: Tell,
    running: Mutex<BTreeMap<String, Running>>,
    /// Names of those that are being deleted, and not free yet.
    leaving: Mutex<BTreeSet<String>>,
    /// One at a time changes what is kept.
    keeping: Mutex<()>,
}

impl Deliveries {
    /// None runs yet. `runtime` serves requests of threads.
    pub fn new(
        streams: Arc<Streams>,
        state: PathBuf,
        arns: Arns,
        runtime: Handle,
        tell: Tell,
    ) -> Deliveries {
        Deliveries {
            streams,
            state,
            arns,
            runtime,
            tell,
            running: Mutex::default(),
            leaving: Mutex::default(),
            keeping: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leaving(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a delivery stream; for a thread of its own.
    pub fn begin(&self, opening: Opening) -> Result<(), DeliveriesError> {
        let Opening { spec, source, destination, told } = opening;
        let name = spec.name.clone();
        let mut running = self.lock();
        if running.contains_key(&name) || self.leaving().contains(&name) {
            return Err(DeliveriesError::Exists { name });
        }
        if running.len() >= MOST {
            return Err(DeliveriesError::TooMany);
        }
        let storage = Arc::clone(self.streams.storage());
        let invoker = spec.transform.clone().map(|spec| Invoker::new(spec, self.runtime.clone()));
        let invoker = invoker.transpose().map_err(DeliveriesError::Certificates)?;
        let transform = invoker.map(|invoker| Transform {
            invoker,
            delivery_stream_arn: self.arns.delivery_stream(&name),
            region: self.arns.region().to_string(),
        });
        // Whatever is refused is refused before anything is noted.
        let process = Process::of(&spec, transform)?;
        let place = Place::open(&destination.url, &destination.options)?;
        let destination = destination.url.to_string();
        let id = source.stream().id;
        let decisions =
            Decisions::open(&name, id, Arc::clone(&storage), &self.state, &destination)?;
        let taken = match decisions.positions()? {
            Some(positions) => positions,
            None => {
                let positions = self.first_positions(&source)?;
                decisions.decide(&[], &positions)?;
                positions
            }
        };
        let counts = Arc::new(Counts::default());
        counts.set_positions(&taken);
        let mut delivery = Delivery {
            process,
            place,
            stream: Arc::clone(source.stream()),
            storage,
            decisions,
            counts: Arc::clone(&counts),
            tell: self.tell,
            taken,
            waiting: Vec::new(),
            waiting_bytes: 0,
            piles: Piles::default(),
            spec,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name(format!("delivery {name}"));
        let thread = thread.spawn(move || delivery.run(&stops));
        let thread =
            thread.map_err(|source| DeliveriesError::Thread { name: name.clone(), source })?;
        running.insert(name, Running { source, destination, told, counts, stop, thread });
        Ok(())
    }

    fn first_positions(&self, source: &Source) -> Result<Positions, StorageError> {
        let Source::Stream { stream, begin: Begin::Next } = source else {
            return Ok(Positions::new());
        };
        let mut positions = Positions::new();
        for shard in &stream.shards {
            if let Some((_, last)) = self.streams.storage().ends((stream.id, shard.index))? {
                positions.insert(shard.index, last.number);
            }
        }
        Ok(positions)
    }

    pub fn named(&self, name: &str) -> Option<Known> {
        self.lock().get(name).map(|running| known(name, running))
    }

    /// All of them, by their names.
    pub fn all(&self) -> Vec<Known> {
        self.lock().iter().map(|(name, running)| known(name, running)).collect()
    }

    /// Up to which number the records of a shard are delivered everywhere.
    pub fn delivered(&self, (stream, shard): ShardKey) -> u64 {
        let running = self.lock();
        let own = running.values().filter(|running| running.source.stream().id == stream);
        let positions =
            own.map(|running| running.counts.positions().get(&shard).copied().unwrap_or(0));
        positions.min().unwrap_or(u64::MAX)
    }

    /// Streams that an earlier run delivered and this one does not, with records that wait for it.
    pub fn left_behind(&self) -> Result<Vec<String>, StorageError> {
        let storage = self.streams.storage();
        let mut names = Vec::new();
        for stream in self.streams.all(Kind::Stream) {
            if self.named(&stream.name).is_some() {
                continue;
            }
            let Some((positions, mut waits)) = left_of(storage, &stream.name, stream.id)? else {
                continue;
            };
            for shard in &stream.shards {
                let until = positions.get(&shard.index).copied().unwrap_or(0);
                let ends = storage.ends((stream.id, shard.index))?;
                waits |= ends.is_some_and(|(_, last)| last.number > until);
            }
            if waits {
                names.push(stream.name.clone());
            }
        }
        Ok(names)
    }

    /// True where one has ended that nobody told to.
    pub fn has_ended(&self) -> bool {
        self.lock().values().any(|running| running.thread.is_finished())
    }

    /// Ends a delivery stream, forgets it and the stream that is its own; for a thread of its own. What
    /// is buffered is delivered first.
    pub fn delete(&self, name: &str) -> Result<(), DeliveriesError> {
        let running = {
            let mut all = self.lock();
            let running = all.remove(name);
            let running =
                running.ok_or_else(|| DeliveriesError::Missing { name: name.to_string() })?;
            self.leaving().insert(name.to_string());
            running
        };
        let deleted = self.forget(name, running);
        self.leaving().remove(name);
        deleted
    }

    fn forget(&self, name: &str, running: Running) -> Result<(), DeliveriesError> {
        let Running { source, stop, thread, destination, .. } = running;
        let done = ended(stop, thread);
        let storage = Arc::clone(self.streams.storage());
        Decisions::open(name, source.stream().id, storage, &self.state, &destination)?.forget()?;
        self.keep(name, None)?;
        if let Source::Direct(stream) = &source {
            self.runtime.block_on(self.streams.delete(Kind::Direct, &stream.name))?;
        }
        Ok(done?)
    }

    /// Ends all of them, each once what is buffered is delivered, and says what they did since they began;
    /// for a thread of its own.
    pub fn end(&self) -> Result<Delivered, DeliveryError> {
        let running = std::mem::take(&mut *self.lock());
        running.values().for_each(|running| running.stop.store(true, Ordering::Relaxed));
        let mut done = Ok(Delivered::default());
        for (_, running) in running {
            let over = ended(running.stop, running.thread);
            done = done.and_then(|sum| over.map(|()| sum.with(&running.counts)));
        }
        done
    }

    /// What the API made in earlier runs.
    pub fn kept(&self) -> Result<BTreeMap<String, Kept>, DeliveriesError> {
        Ok(self.streams.storage().json(NOTE)?.unwrap_or_default())
    }

    /// Remembers what the API made, or forgets it.
    pub fn keep(&self, name: &str, made: Option<Kept>) -> Result<(), DeliveriesError> {
        let _one = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.kept()?;
        match made {
            Some(made) => drop(all.insert(name.to_string(), made)),
            None => drop(all.remove(name)),
        }
        let text = serde_json::to_vec(&all).expect("every key is text");
        self.streams.storage().change_blocking(move |notes| notes.set(NOTE, &text))?;
        Ok(())
    }
}

fn known(name: &str, running: &Running) -> Known {
    Known {
        name: name.to_string(),
        source: running.source.clone(),
        told: running.told.clone(),
        counts: Arc::clone(&running.counts),
    }
}

fn ended(
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), DeliveryError>>,
) -> Result<(), DeliveryError> {
    stop.store(true, Ordering::Relaxed);
    thread.join().expect("delivery does not panic")
}
