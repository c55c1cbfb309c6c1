//! Rows → an endpoint or a stream: what a producer does, with everything that it should: retries, a rate,
//! a checkpoint, and a file of what was not taken.
//!
//! ```text
//! rows ─ feed ─▶ items ─ queue ─▶ batches ─ target ─▶ taken or refused ─▶ report, checkpoint
//! ```

mod done;
mod endpoint;
mod feed;
mod key;
mod latency;
mod post;
mod recognise;
mod rows;
mod target;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::progress::{Phase, Progress};
use crate::streams::StreamError;
pub use done::CheckpointError;
use done::Done;
pub use endpoint::Endpoint;
use feed::{Queue, feed};
pub use latency::Latencies;
pub use post::PostSpec;
pub use rows::{Characters, Form, Reading, RowError, Rows};
use target::Target;
pub use target::{SendTo, Sent};

/// What is sent, and how.
#[derive(Clone, Debug)]
pub struct SendSpec {
    pub to: SendTo,
    pub reading: Reading,
    /// Requests at a time.
    pub concurrency: usize,
    /// Attempts of one row.
    pub attempts: u32,
    /// The member whose value is the partition key; `None`: any key.
    pub partition_key: Option<String>,
    /// Rows a second at most.
    pub rate: Option<f64>,
    /// Takes the bodies that were not taken, one a line.
    pub failed: Option<PathBuf>,
    /// Remembers what was sent, from run to run.
    pub resume: Option<PathBuf>,
    /// A member that gets the time of sending.
    pub timestamp_field: Option<String>,
}

/// What became of the rows.
#[derive(Debug, Default)]
pub struct Report {
    pub sent: u64,
    pub failed: u64,
    /// Of those, rows that are none: there is nothing to send again.
    pub unreadable: u64,
    pub retried: u64,
    /// Rows that an earlier run had sent.
    pub skipped: u64,
    /// Rows with characters that could not be read in the file's encoding.
    pub replaced: u64,
    /// Of those that were taken, retries included.
    pub latencies: Latencies,
    pub by_shard: BTreeMap<String, u64>,
    pub took: Duration,
    /// The first few rows that were not taken, and why.
    pub examples: Vec<(u64, String)>,
}

/// Why sending ended before the rows did.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error(transparent)]
    Rows(#[from] RowError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("can't write {path}: {source}")]
    Failed { path: PathBuf, source: io::Error },
    #[error("the threads and certificates for the network: {0}")]
    Network(io::Error),
    #[error("interrupted")]
    Interrupted,
}

/// Rows that wait for each request that may be under way.
const WAITING_PER_REQUEST: usize = 4;
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
const EXAMPLES: usize = 5;
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What is under way gets so long once the run is interrupted.
const GRACE: Duration = Duration::from_secs(1);

struct Shared {
    state: Mutex<State>,
    target: Target,
    /// Nothing more is to be begun.
    stop: AtomicBool,
    progress: Progress,
}

struct State {
    report: Report,
    done: Done,
    failed: Option<BufWriter<File>>,
    failed_path: PathBuf,
    /// Why nothing more can be done.
    broken: Option<SendError>,
    saved: Instant,
}

/// Sends the rows of `input`, which is called `name`.
pub fn send(
    spec: &SendSpec,
    name: &str,
    input: Box<dyn Read + Send>,
    progress: &Progress,
    interrupted: &AtomicBool,
) -> Result<Report, SendError> {
    let started = Instant::now();
    let done = Done::open(spec.resume.as_deref(), name)?;
    let before = done.clone();
    let failed = spec.failed.as_deref().map(append).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(SendError::Network)?;
    let shared = Arc::new(Shared {
        target: runtime.block_on(Target::open(&spec.to, spec.attempts))?,
        stop: AtomicBool::new(false),
        progress: progress.clone(),
        state: Mutex::new(State {
            report: Report::default(),
            done,
            failed,
            failed_path: spec.failed.clone().unwrap_or_default(),
            broken: None,
            saved: Instant::now(),
        }),
    });
    progress.phase(Phase::Sending, 0, 0);
    let (give, take) = tokio::sync::mpsc::channel(spec.concurrency * WAITING_PER_REQUEST);
    let queue = Arc::new(Queue::new(take, spec.timestamp_field.clone()));
    // It is not joined: it may wait for its input for ever.
    std::thread::Builder::new()
        .name("rows".to_string())
        .spawn({
            let (spec, shared) = (spec.clone(), Arc::clone(&shared));
            move || feed(&spec, input, &before, &shared, give)
        })
        .map_err(SendError::Network)?;
    let workers = (0..spec.concurrency).map(|_| work(Arc::clone(&shared), Arc::clone(&queue)));
    runtime.block_on(until_over(workers, &shared, interrupted));
    runtime.shutdown_background();
    let mut state = shared.state();
    let saved = state.done.save();
    if let Some(broken) = state.broken.take() {
        return Err(broken);
    }
    saved?;
    let mut report = std::mem::take(&mut state.report);
    report.retried = shared.target.retried.load(Ordering::Relaxed);
    report.took = started.elapsed();
    match interrupted.load(Ordering::Relaxed) {
        true => Err(SendError::Interrupted),
        false => Ok(report),
    }
}

/// Runs the workers until all is done, or nothing more shall be.
async fn until_over(
    workers: impl Iterator<Item = impl Future<Output = ()> + Send + 'static>,
    shared: &Shared,
    interrupted: &AtomicBool,
) {
    let mut workers: JoinSet<()> = workers.collect();
    let stopped = async {
        while !interrupted.load(Ordering::Relaxed) && !shared.stop.load(Ordering::Relaxed) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let all = async { while workers.join_next().await.is_some() {} };
    tokio::select! {
        () = all => return,
        () = stopped => shared.stop.store(true, Ordering::Relaxed),
    }
    let all = async { while workers.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GRACE, all).await;
}

/// Sends one batch after another. What was not begun when the run is stopped is left for the next one.
async fn work(shared: Arc<Shared>, queue: Arc<Queue>) {
    let limits = shared.target.limits();
    while !shared.stop.load(Ordering::Relaxed) {
        let batch = queue.next(&limits).await;
        if batch.is_empty() || shared.stop.load(Ordering::Relaxed) {
            return;
        }
        let mut tell = |item: &feed::Item, sent: Sent, latency: Duration| {
            match sent {
                Sent::Taken { shard, .. } => shared.taken(item.row, shard, latency),
                // It is not the row's fault.
                Sent::Refused(_) if shared.stop.load(Ordering::Relaxed) => {}
                Sent::Refused(why) => shared.not_taken(item.row, Some(&item.body), why),
            }
            shared.progress.advance(1, item.body.len() as u64);
        };
        if let Err(error) = shared.target.send(batch, &shared.stop, &mut tell).await {
            return shared.broken(error);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the run.
    fn broken(&self, error: SendError) {
        self.state().broken.get_or_insert(error);
        self.stop.store(true, Ordering::Relaxed);
    }

    fn taken(&self, row: u64, shard: Option<String>, latency: Duration) {
        let mut state = self.state();
        state.report.sent += 1;
        state.report.latencies.add(latency);
        if let Some(shard) = shard {
            *state.report.by_shard.entry(shard).or_default() += 1;
        }
        self.finished(state, row);
    }

    /// `body` is what can be sent again, where there is something.
    fn not_taken(&self, row: u64, body: Option<&[u8]>, why: String) {
        let mut state = self.state();
        state.report.failed += 1;
        state.report.unreadable += u64::from(body.is_none());
        if state.report.examples.len() < EXAMPLES {
            state.report.examples.push((row, why));
        }
        // Nobody else has it: the next run sends it again.
        if body.is_some() && state.failed.is_none() {
            return;
        }
        if let (Some(failed), Some(body)) = (&mut state.failed, body)
            && let Err(source) = failed
                .write_all(body)
                .and_then(|()| failed.write_all(b"\n"))
                .and_then(|()| failed.flush())
        {
            let path = state.failed_path.clone();
            drop(state);
            return self.broken(SendError::Failed { path, source });
        }
        self.finished(state, row);
    }

    fn finished(&self, mut state: MutexGuard<'_, State>, row: u64) {
        state.done.insert(row);
        if state.saved.elapsed() >= CHECKPOINT_EVERY {
            state.saved = Instant::now();
            if let Err(error) = state.done.save() {
                drop(state);
                self.broken(error.into());
            }
        }
    }
}

fn append(path: &Path) -> Result<BufWriter<File>, SendError> {
    let file = File::options().create(true).append(true).open(path);
    let failed = |source| SendError::Failed { path: path.to_path_buf(), source };
    file.map(BufWriter::new).map_err(failed)
}
