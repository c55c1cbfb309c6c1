//! The collection side on this machine: HTTP → shards → objects, as API Gateway, Kinesis and Firehose
//! do it, in one process.
//!
//! ```text
//! POST ─ gateway ─▶ stream ─ storage ─▶ delivery ─ transformation, naming, compression ─▶ objects
//! ```
//!
//! It shares `layout` and `store` with the reading side, and none of its decoding: a round trip is a test.

mod arn;
mod delivery;
mod gateway;
mod stream;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use arn::{Arns, is_stream_name};
use delivery::{Begin, Deliveries, DeliveriesError, Opening, Source, Told};
pub use delivery::{
    Compression, Conversion, Deaggregation, Delivered, DeliveryError, DeliverySpec, Destination,
    Format, KeyQuery, OrcProblem, QueryProblem, Table, TableProblem, Tell, TransformSpec,
    Transformer, check_orc,
};
use gateway::{AccessLog, Gateway, ServeError, ServerLimits};
pub use gateway::{BucketsAt, EndpointSpec, GatewaySpec, LogTo, Places, Token};
pub use stream::SequenceNumber;
use stream::{Kind, Storage, StorageError, Stream, StreamError, Streams};

use crate::store::SourceUrl;

/// What a pipeline is told.
#[derive(Clone, Debug)]
pub struct PipelineSpec {
    pub listen: SocketAddr,
    pub gateway: GatewaySpec,
    pub log: LogTo,
    pub shards: u32,
    /// How long records stay on the stream.
    pub retention: TimeDelta,
    /// Shards take no more than those of AWS.
    pub limited: bool,
    pub delivery: DeliverySpec,
    pub destination: Destination,
    /// Stands in ARNs.
    pub region: String,
    /// The folder of what must not be lost.
    pub state: PathBuf,
    /// Takes what somebody should know who looks on.
    pub tell: Tell,
}

/// Why a pipeline ended, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error("'{name}' is no name of a stream: it has 1 to 128 letters, digits, '.', '_' and '-'")]
    Name { name: String },
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Deliveries(#[from] DeliveriesError),
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error("can't write the access log {to:?}: {source}")]
    Log { to: LogTo, source: io::Error },
    #[error("the threads for the network: {0}")]
    Threads(io::Error),
}

/// What is put to this delivery stream is delivered beside what comes over the stream.
const DIRECT_SUFFIX: &str = "-direct";
const LOG_EVERY: Duration = Duration::from_millis(200);
const TRIM_EVERY: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Runs until the flag is up; then what is buffered is delivered. `ready` is told the address; what was
/// delivered since the beginning comes back.
pub fn run(
    spec: &PipelineSpec,
    interrupted: &AtomicBool,
    ready: impl FnOnce(SocketAddr),
) -> Result<Delivered, PipelineError> {
    let name = &spec.delivery.name;
    if !is_stream_name(name) {
        return Err(PipelineError::Name { name: name.clone() });
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("gateway")
        .build()
        .map_err(PipelineError::Threads)?;
    let storage = Arc::new(Storage::open(&spec.state)?);
    let streams = Arc::new(Streams::open(storage, spec.limited)?);
    let make = streams.ensure(Kind::Stream, name, spec.shards, spec.retention);
    let stream = runtime.block_on(make)?;
    let direct = format!("{name}{DIRECT_SUFFIX}");
    let make = streams.ensure(Kind::Direct, &direct, 1, TimeDelta::zero());
    let direct_stream = runtime.block_on(make)?;
    // Before anything is begun that has to be ended.
    let (listener, address) = runtime.block_on(gateway::bind(spec.listen))?;
    let log = AccessLog::open(&spec.log)
        .map_err(|source| PipelineError::Log { to: spec.log.clone(), source })?;

    let handle = runtime.handle();
    let deliveries = begin(spec, &streams, [stream.clone(), direct_stream], handle)?;
    let gateway = Arc::new(Gateway::new(
        spec.gateway.clone(),
        Arns::of(&spec.region),
        stream,
        Arc::clone(&streams),
        Arc::clone(&deliveries),
        log,
        handle.clone(),
    ));

    let no_more = AtomicBool::new(false);
    let kept_up = std::thread::scope(|scope| {
        let upkeep = scope.spawn(|| keep_up(&gateway, &streams, &deliveries, &no_more));
        ready(address);
        let is_over = || {
            interrupted.load(Ordering::Relaxed) || deliveries.has_ended() || upkeep.is_finished()
        };
        let router = gateway::router(Arc::clone(&gateway));
        runtime.block_on(gateway::serve(listener, router, ServerLimits::default(), is_over));
        no_more.store(true, Ordering::Relaxed);
        upkeep.join().expect("upkeep does not panic")
    });
    gateway.flush_log();
    // Whoever was answered has been put: what is delivered from here on is all there is.
    let delivered = deliveries.end()?;
    kept_up?;
    Ok(delivered)
}

/// Begins all delivery streams: of the stream, of what is put directly, and those that the API made.
fn begin(
    spec: &PipelineSpec,
    streams: &Arc<Streams>,
    [stream, direct]: [Arc<Stream>; 2],
    runtime: &Handle,
) -> Result<Arc<Deliveries>, PipelineError> {
    let (state, arns) = (spec.state.clone(), Arns::of(&spec.region));
    let deliveries = Deliveries::new(Arc::clone(streams), state, arns, runtime.clone(), spec.tell);
    let deliveries = Arc::new(deliveries);
    let told = Told { created: Utc::now(), destination: description_of(spec) };
    let own = |name: &str, source| Opening {
        spec: DeliverySpec { name: name.to_string(), ..spec.delivery.clone() },
        source,
        destination: spec.destination.clone(),
        told: told.clone(),
    };
    let name = direct.name.clone();
    deliveries.begin(own(&stream.name.clone(), Source::Stream { stream, begin: Begin::Oldest }))?;
    deliveries.begin(own(&name, Source::Direct(direct)))?;
    runtime.block_on(gateway::begin_kept(&deliveries, streams, &spec.gateway.places, spec.tell))?;
    for left in deliveries.left_behind()? {
        let stream = left.strip_suffix(DIRECT_SUFFIX).unwrap_or(&left);
        (spec.tell)(&format!(
            "{left} of an earlier run has records that are not delivered; they are kept: start a pipeline \
             with --stream {stream}"
        ));
    }
    Ok(deliveries)
}

/// Writes the log out and removes records that are too old, until there is no more to do.
fn keep_up(
    gateway: &Gateway,
    streams: &Streams,
    deliveries: &Deliveries,
    no_more: &AtomicBool,
) -> Result<(), StreamError> {
    let (mut since_log, mut since_trim) = (Duration::ZERO, Duration::ZERO);
    while !no_more.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK_EVERY);
        since_log += LOOK_EVERY;
        since_trim += LOOK_EVERY;
        if since_log >= LOG_EVERY {
            gateway.flush_log();
            since_log = Duration::ZERO;
        }
        if since_trim >= TRIM_EVERY {
            let delivered = deliveries.delivered()?;
            streams.trim(|(stream, shard)| {
                let all = delivered.get(&stream)?.iter();
                all.map(|positions| positions.get(&shard).copied().unwrap_or(0)).min()
            })?;
            since_trim = Duration::ZERO;
        }
    }
    Ok(())
}

/// The destination as the API tells of it.
fn description_of(spec: &PipelineSpec) -> Value {
    let PipelineSpec { delivery, destination, .. } = spec;
    let (bucket, prefix) = match &destination.url {
        SourceUrl::S3 { bucket, prefix } => (bucket.clone(), prefix.clone()),
        SourceUrl::Folder(folder) => {
            let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
            (name.unwrap_or_default(), String::new())
        }
    };
    gateway::description(&json!({
        "BucketARN": format!("arn:aws:s3:::{bucket}"),
        "Prefix": format!("{prefix}{}", delivery.naming.prefix()),
        "ErrorOutputPrefix": format!("{prefix}{}", delivery.errors.prefix()),
        "BufferingHints": {
            "SizeInMBs": delivery.buffer_bytes.div_ceil(1 << 20),
            "IntervalInSeconds": delivery.buffer_time.as_secs(),
        },
        "CompressionFormat": delivery.compression.name(),
        "CustomTimeZone": delivery.naming.tz().name(),
    }))
}
