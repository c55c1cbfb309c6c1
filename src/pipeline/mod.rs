//! The collection side on this machine: HTTP → shards → objects, as API Gateway, Kinesis and Firehose
//! do it, in one process.
//!
//! ```text
//! POST ─ gateway ─▶ shard ─ storage ─▶ delivery ─ naming, compression ─▶ objects
//! ```
//!
//! It shares `layout` and `store` with the reading side, and none of its decoding: a round trip is a test.

mod delivery;
mod encode;
mod gateway;
mod shards;
mod storage;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

pub use delivery::{Delivery, DeliveryError, DeliverySpec};
pub use encode::Compression;
pub use gateway::GatewaySpec;
pub use shards::{SequenceNumber, Shard, hash_key, shard_id, shard_of, shards};
pub use storage::{NewRecord, Record, Storage, StorageError};

/// What a pipeline is told.
#[derive(Clone, Debug)]
pub struct PipelineSpec {
    pub listen: SocketAddr,
    pub gateway: GatewaySpec,
    pub shards: u32,
    pub delivery: DeliverySpec,
    /// What must not be lost.
    pub state: PathBuf,
}

/// Why a pipeline ended.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Delivery(#[from] DeliveryError),
    #[error("can't listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("the threads for the network: {0}")]
    Threads(io::Error),
}

/// A request's head must be there after so long.
const HEAD_TIME: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What requests under way get once the run is to end.
const GRACE: Duration = Duration::from_secs(5);

/// Runs until the flag is up; then what is buffered is delivered. `ready` is told the address.
pub fn run(
    spec: &PipelineSpec,
    interrupted: &AtomicBool,
    ready: impl FnOnce(SocketAddr),
) -> Result<(), PipelineError> {
    let storage = Arc::new(Storage::open(&spec.state)?);
    let all = shards(spec.shards);
    let mut delivery =
        Delivery::open(spec.delivery.clone(), all.clone(), Arc::clone(&storage), &spec.state)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("gateway")
        .build()
        .map_err(PipelineError::Threads)?;
    let no_more = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let delivering = scope.spawn(|| delivery.run(&no_more));
        let served = runtime.block_on(async {
            let failed = |source| PipelineError::Listen { address: spec.listen, source };
            let listener = TcpListener::bind(spec.listen).await.map_err(failed)?;
            ready(listener.local_addr().map_err(failed)?);
            let router = gateway::router(spec.gateway.clone(), all, Arc::clone(&storage));
            let is_over = || interrupted.load(Ordering::Relaxed) || delivering.is_finished();
            serve(listener, router, is_over).await;
            Ok(())
        });
        // Whoever was answered has been put: what is delivered from here on is all there is.
        no_more.store(true, Ordering::Relaxed);
        let delivered = delivering.join().expect("delivery does not panic");
        served.and(delivered.map_err(PipelineError::from))
    })
}

async fn serve(listener: TcpListener, router: axum::Router, is_over: impl Fn() -> bool) {
    let graceful = hyper_util::server::graceful::GracefulShutdown::new();
    let mut server = auto::Builder::new(TokioExecutor::new()).http1_only();
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    while !is_over() {
        let accepted = tokio::time::timeout(LOOK_EVERY, listener.accept()).await;
        let Ok(Ok((stream, _))) = accepted else { continue };
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection = server.serve_connection(TokioIo::new(stream), service).into_owned();
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            // A client that goes away, or sends nonsense, concerns nobody else.
            let _ = watched.await;
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(GRACE, graceful.shutdown()).await;
}
