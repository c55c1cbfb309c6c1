//! All delivery streams of a pipeline: begun, told about, ended.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Handle;

use super::invoke::Invoker;
use super::objects::{DecideError, Decisions, Positions, all_left};
use super::pile::Piles;
use super::place::Place;
use super::process::{Process, ProcessProblem};
use super::transform::Transform;
use super::{Counts, Delivery, DeliveryError, DeliverySpec, Tell};
use crate::layout::{KeyProblem, Named, Naming, RECOVERED, check_key};
use crate::pipeline::arn::Arns;
use crate::pipeline::stream::{Kind, StorageError, Stream, StreamError, Streams};
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
    Key(#[from] KeyProblem),
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
    opening: Opening,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    /// `None` while it is being deleted.
    thread: Option<JoinHandle<Result<(), DeliveryError>>>,
}

/// What is known of a delivery stream that runs.
#[derive(Clone, Debug)]
pub struct Known {
    pub name: String,
    pub source: Source,
    pub told: Told,
    /// It is being deleted.
    pub is_leaving: bool,
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
        Deliveries { streams, state, arns, runtime, tell, running: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a delivery stream; for a thread of its own, and one at a time.
    pub fn begin(&self, opening: Opening) -> Result<(), DeliveriesError> {
        let name = opening.spec.name.clone();
        {
            let running = self.lock();
            if running.contains_key(&name) {
                return Err(DeliveriesError::Exists { name });
            }
            if running.len() >= MOST {
                return Err(DeliveriesError::TooMany);
            }
        }
        let Opening { spec, source, destination, .. } = opening.clone();
        let storage = Arc::clone(self.streams.storage());
        // Whatever is refused is refused before anything is noted.
        let process = Process::of(&spec, self.transform(&spec)?)?;
        check_keys(&spec)?;
        let place = Place::open(&destination.url, &destination.options)?;
        let decisions = self.decisions(&opening)?;
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
            seen_puts: None,
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
        self.lock().insert(name, Running { opening, counts, stop, thread: Some(thread) });
        Ok(())
    }

    fn transform(&self, spec: &DeliverySpec) -> Result<Option<Transform>, DeliveriesError> {
        let Some(transform) = spec.transform.clone() else { return Ok(None) };
        let invoker = Invoker::new(transform, self.runtime.clone());
        Ok(Some(Transform {
            invoker: invoker.map_err(DeliveriesError::Certificates)?,
            delivery_stream_arn: self.arns.delivery_stream(&spec.name),
            region: self.arns.region().to_string(),
        }))
    }

    fn decisions(&self, opening: &Opening) -> Result<Decisions, DecideError> {
        let Opening { spec, source, destination, .. } = opening;
        let storage = Arc::clone(self.streams.storage());
        let destination = destination.url.to_string();
        Decisions::open(&spec.name, source.stream().id, storage, &self.state, &destination)
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

    /// Up to which number the records of each shard are delivered everywhere: by those that run, and by those
    /// that may run again.
    pub fn delivered(&self) -> Result<HashMap<u32, Vec<Positions>>, StorageError> {
        let mut by_stream: HashMap<u32, Vec<Positions>> = HashMap::new();
        for left in all_left(self.streams.storage())? {
            by_stream.entry(left.stream).or_default().push(left.positions);
        }
        Ok(by_stream)
    }

    /// Delivery streams of earlier runs that don't run, and whose records or objects wait for it.
    pub fn left_behind(&self) -> Result<Vec<String>, StorageError> {
        let storage = self.streams.storage();
        let mut names = Vec::new();
        for left in all_left(storage)? {
            let Some(stream) = self.streams.by_id(left.stream) else { continue };
            if self.named(&left.name).is_some() {
                continue;
            }
            let mut waits = left.is_pending;
            for shard in &stream.shards {
                let until = left.positions.get(&shard.index).copied().unwrap_or(0);
                let ends = storage.ends((stream.id, shard.index))?;
                waits |= ends.is_some_and(|(_, last)| last.number > until);
            }
            if waits {
                names.push(left.name);
            }
        }
        Ok(names)
    }

    /// True where one has ended that nobody told to.
    pub fn has_ended(&self) -> bool {
        let running = self.lock();
        running.values().any(|running| running.thread.as_ref().is_some_and(JoinHandle::is_finished))
    }

    /// Ends a delivery stream, forgets it and the stream that is its own; for a thread of its own. What
    /// is buffered is delivered first; where that can't be, it goes on.
    pub fn delete(&self, name: &str) -> Result<(), DeliveriesError> {
        let missing = || DeliveriesError::Missing { name: name.to_string() };
        let (opening, stop, thread) = {
            let mut running = self.lock();
            let running = running.get_mut(name).ok_or_else(missing)?;
            // Until it is forgotten, its name is taken.
            let thread = running.thread.take().ok_or_else(missing)?;
            (running.opening.clone(), Arc::clone(&running.stop), thread)
        };
        let done = ended(&stop, thread);
        if let Err(error) = done {
            self.lock().remove(name);
            self.begin(opening)?;
            return Err(error.into());
        }
        // Its own stream goes first: after a kill in between, the next run begins with an empty one.
        if let Source::Direct(stream) = &opening.source {
            self.runtime.block_on(self.streams.delete(Kind::Direct, &stream.name))?;
        }
        let kept = self.kept_without(name)?;
        self.decisions(&opening)?.forget(move |notes| notes.set(NOTE, &kept))?;
        self.lock().remove(name);
        Ok(())
    }

    /// Ends all of them, each once what is buffered is delivered, and says what they did since they began;
    /// for a thread of its own.
    pub fn end(&self) -> Result<Delivered, DeliveryError> {
        let running = std::mem::take(&mut *self.lock());
        running.values().for_each(|running| running.stop.store(true, Ordering::Relaxed));
        let mut done = Ok(Delivered::default());
        for (_, running) in running {
            let Running { stop, thread, counts, .. } = running;
            let Some(thread) = thread else { continue };
            let over = ended(&stop, thread);
            done = done.and_then(|sum| over.map(|()| sum.with(&counts)));
        }
        done
    }

    /// What the API made in earlier runs.
    pub fn kept(&self) -> Result<BTreeMap<String, Kept>, DeliveriesError> {
        Ok(self.streams.storage().json(NOTE)?.unwrap_or_default())
    }

    /// Remembers what the API made; one at a time.
    pub fn keep(&self, name: &str, made: Kept) -> Result<(), DeliveriesError> {
        let mut all = self.kept()?;
        all.insert(name.to_string(), made);
        let text = serde_json::to_vec(&all).expect("every key is text");
        self.streams.storage().change_blocking(move |notes| notes.set(NOTE, &text))?;
        Ok(())
    }

    /// Takes that back.
    pub fn unkeep(&self, name: &str) -> Result<(), DeliveriesError> {
        let text = self.kept_without(name)?;
        self.streams.storage().change_blocking(move |notes| notes.set(NOTE, &text))?;
        Ok(())
    }

    fn kept_without(&self, name: &str) -> Result<Vec<u8>, DeliveriesError> {
        let mut all = self.kept()?;
        all.remove(name);
        Ok(serde_json::to_vec(&all).expect("every key is text"))
    }
}

/// Whether keys of a delivery stream can be keys at all, as far as that does not depend on records.
fn check_keys(spec: &DeliverySpec) -> Result<(), KeyProblem> {
    let sample = |naming: &Naming, values: &[(&str, &str)], extension: &str| {
        let (oldest, id) = (Utc::now(), uuid::Uuid::new_v4().to_string());
        naming.key(&Named { oldest, stream: &spec.name, id: &id, extension, values })
    };
    let names: Vec<&str> = spec.naming.partition_keys().map(|(name, _)| name).collect();
    let values: Vec<(&str, &str)> = names.iter().map(|name| (*name, "x")).collect();
    check_key(&sample(&spec.naming, &values, spec.extension()))?;
    check_key(&sample(&spec.errors, &[(RECOVERED, "processing-failed")], ""))
}

fn known(name: &str, running: &Running) -> Known {
    Known {
        name: name.to_string(),
        source: running.opening.source.clone(),
        told: running.opening.told.clone(),
        is_leaving: running.thread.is_none(),
        counts: Arc::clone(&running.counts),
    }
}

fn ended(
    stop: &AtomicBool,
    thread: JoinHandle<Result<(), DeliveryError>>,
) -> Result<(), DeliveryError> {
    stop.store(true, Ordering::Relaxed);
    thread.join().expect("delivery does not panic")
}
