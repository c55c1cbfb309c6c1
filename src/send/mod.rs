//! Rows → POSTs: what a producer does, with everything that it should: retries, a rate, a checkpoint,
//! and a file of what was not taken.

mod done;
mod post;
mod rows;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use chrono::{SecondsFormat, Utc};

use crate::progress::{Phase, Progress};
pub use done::CheckpointError;
use done::Done;
use post::Poster;
pub use post::{PostSpec, Sent};
pub use rows::{Characters, Form, RowError, Rows};

/// What is sent, and how.
#[derive(Clone, Debug)]
pub struct SendSpec {
    pub post: PostSpec,
    pub form: Form,
    pub characters: Characters,
    /// Values of a CSV that read as numbers are numbers.
    pub numbers: bool,
    /// Requests at a time.
    pub concurrency: usize,
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
    pub retried: u64,
    /// Rows that an earlier run had sent.
    pub skipped: u64,
    /// Of those that were taken, retries included.
    pub latencies: Latencies,
    pub by_shard: BTreeMap<String, u64>,
    pub took: Duration,
    /// The first few rows that were not taken, and why.
    pub examples: Vec<(u64, String)>,
}

/// Latencies in buckets that are at most 2 % wide: their room does not grow with their number.
#[derive(Clone, Debug, Default)]
pub struct Latencies(BTreeMap<u32, u64>);

impl Latencies {
    /// Buckets for each doubling.
    const STEPS: f64 = 36.0;

    fn add(&mut self, latency: Duration) {
        let us = latency.as_micros().max(1) as f64;
        *self.0.entry((us.log2() * Self::STEPS) as u32).or_default() += 1;
    }

    /// The latency that so much of all (0 to 1) do not exceed; `None` where there are none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let all: u64 = self.0.values().sum();
        let wanted = ((all as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        self.0.iter().find_map(|(bucket, count)| {
            seen += count;
            let us = f64::from(bucket + 1) / Self::STEPS;
            (seen >= wanted).then(|| Duration::from_micros(us.exp2() as u64))
        })
    }
}

/// Why sending ended before the rows did.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error(transparent)]
    Rows(#[from] RowError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error("can't write {path}: {source}")]
    Failed { path: PathBuf, source: io::Error },
    #[error("the threads and certificates for the network: {0}")]
    Network(io::Error),
    #[error("interrupted")]
    Interrupted,
}

/// Rows that are under way or wait for it.
const WAITING_PER_REQUEST: usize = 4;
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
const EXAMPLES: usize = 5;

struct Shared {
    state: Mutex<State>,
    poster: Poster,
    stop: AtomicBool,
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

/// Sends the rows of `input`, which is called `name`, and is so many bytes long where that is known.
pub fn send(
    spec: &SendSpec,
    name: &str,
    input: Box<dyn Read + Send>,
    progress: &Progress,
    interrupted: &AtomicBool,
) -> Result<Report, SendError> {
    let started = Instant::now();
    let done = Done::open(spec.resume.as_deref(), name)?;
    let failed = spec.failed.as_deref().map(append).transpose()?;
    let mut rows = Rows::open(input, spec.form, spec.characters, spec.numbers)?;
    let shared = Arc::new(Shared {
        poster: Poster::new(spec.post.clone()).map_err(SendError::Network)?,
        stop: AtomicBool::new(false),
        state: Mutex::new(State {
            report: Report::default(),
            done,
            failed,
            failed_path: spec.failed.clone().unwrap_or_default(),
            broken: None,
            saved: Instant::now(),
        }),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(SendError::Network)?;
    progress.phase(Phase::Sending, 0, 0);
    runtime.block_on(async {
        let waiting = spec.concurrency * WAITING_PER_REQUEST;
        let (give, take) = tokio::sync::mpsc::channel::<(u64, String)>(waiting);
        let take = Arc::new(tokio::sync::Mutex::new(take));
        let workers: Vec<_> = (0..spec.concurrency)
            .map(|_| tokio::spawn(work(Arc::clone(&shared), Arc::clone(&take), progress.clone())))
            .collect();
        let mut pace = spec.rate.map(Pace::new);
        loop {
            let is_over = interrupted.load(Ordering::Relaxed) || shared.is_broken();
            let Some(row) = (if is_over { None } else { rows.next() }) else { break };
            let number = rows.row();
            let body = match row {
                Ok(body) => body,
                Err(RowError::Row { problem, .. }) => {
                    shared.not_taken(number, None, problem);
                    continue;
                }
                Err(error) => {
                    shared.state().broken = Some(error.into());
                    break;
                }
            };
            if shared.state().done.contains(number) {
                shared.state().report.skipped += 1;
                continue;
            }
            if let Some(pace) = &mut pace {
                pace.wait().await;
            }
            let body = match &spec.timestamp_field {
                Some(field) => with_time(&body, field),
                None => body,
            };
            if give.send((number, body)).await.is_err() {
                break;
            }
        }
        if interrupted.load(Ordering::Relaxed) {
            shared.stop.store(true, Ordering::Relaxed);
        }
        drop(give);
        for worker in workers {
            let _ = worker.await;
        }
    });
    let mut state = shared.state();
    state.save()?;
    if let Some(broken) = state.broken.take() {
        return Err(broken);
    }
    let mut report = std::mem::take(&mut state.report);
    report.retried = shared.poster.retried.load(Ordering::Relaxed);
    report.took = started.elapsed();
    match interrupted.load(Ordering::Relaxed) {
        true => Err(SendError::Interrupted),
        false => Ok(report),
    }
}

type Taken = Arc<tokio::sync::Mutex<tokio::sync::mpsc::Receiver<(u64, String)>>>;

async fn work(shared: Arc<Shared>, take: Taken, progress: Progress) {
    loop {
        let next = take.lock().await.recv().await;
        let Some((row, body)) = next else { return };
        // What was not begun when the run is stopped is left for the next one.
        if shared.stop.load(Ordering::Relaxed) {
            continue;
        }
        let began = Instant::now();
        let bytes = Bytes::from(body);
        match shared.poster.send(bytes.clone(), &shared.stop).await {
            Sent::Taken { shard } => shared.taken(row, shard, began.elapsed()),
            Sent::Refused(why) => shared.not_taken(row, Some(&bytes), why),
        }
        progress.advance(1, bytes.len() as u64);
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_broken(&self) -> bool {
        self.state().broken.is_some()
    }

    fn taken(&self, row: u64, shard: Option<String>, latency: Duration) {
        let mut state = self.state();
        state.report.sent += 1;
        state.report.latencies.add(latency);
        if let Some(shard) = shard {
            *state.report.by_shard.entry(shard).or_default() += 1;
        }
        state.finished(row);
    }

    fn not_taken(&self, row: u64, body: Option<&[u8]>, why: String) {
        let mut state = self.state();
        state.report.failed += 1;
        if state.report.examples.len() < EXAMPLES {
            state.report.examples.push((row, why));
        }
        if let (Some(failed), Some(body)) = (&mut state.failed, body)
            && let Err(source) = failed
                .write_all(body)
                .and_then(|()| failed.write_all(b"\n"))
                .and_then(|()| failed.flush())
        {
            let path = state.failed_path.clone();
            state.broken = Some(SendError::Failed { path, source });
        }
        state.finished(row);
    }
}

impl State {
    fn finished(&mut self, row: u64) {
        self.done.insert(row);
        if self.saved.elapsed() >= CHECKPOINT_EVERY {
            self.saved = Instant::now();
            if let Err(error) = self.done.save() {
                self.broken = Some(error.into());
            }
        }
    }

    fn save(&mut self) -> Result<(), SendError> {
        Ok(self.done.save()?)
    }
}

fn append(path: &Path) -> Result<BufWriter<File>, SendError> {
    let file = File::options().create(true).append(true).open(path);
    let failed = |source| SendError::Failed { path: path.to_path_buf(), source };
    file.map(BufWriter::new).map_err(failed)
}

/// The object with one more member: the time of sending. Other values stay as they are.
fn with_time(body: &str, field: &str) -> String {
    let Some(rest) = body.trim_start().strip_prefix('{') else { return body.to_string() };
    let now = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
    let name = serde_json::to_string(field).expect("text is JSON");
    let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
    format!("{{{name}:\"{now}\"{comma}{rest}")
}

/// Lets one pass at a time, at an even rate.
struct Pace {
    every: Duration,
    next: tokio::time::Instant,
}

impl Pace {
    fn new(rate: f64) -> Pace {
        Pace { every: Duration::from_secs_f64(1.0 / rate), next: tokio::time::Instant::now() }
    }

    async fn wait(&mut self) {
        tokio::time::sleep_until(self.next).await;
        // Who was kept waiting does not make up for it at once.
        self.next = self.next.max(tokio::time::Instant::now() - self.every) + self.every;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_sending_stands_in_front_of_what_the_row_has() {
        let with = with_time(r#"{"a":1.50}"#, "sent_at");
        assert!(
            with.starts_with(r#"{"sent_at":"2"#) && with.ends_with(r#"Z","a":1.50}"#),
            "{with}"
        );
        assert!(with_time("{ }", "t").ends_with("\" }"));
        assert_eq!(with_time("[1]", "t"), "[1]");
    }

    #[test]
    fn quantiles_are_right_within_their_buckets() {
        let mut latencies = Latencies::default();
        (1..=1_000).for_each(|ms| latencies.add(Duration::from_millis(ms)));
        for (share, ms) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0), (1.0, 1_000.0)] {
            let found = latencies.quantile(share).unwrap().as_secs_f64() * 1e3;
            assert!((found / ms - 1.0).abs() < 0.025, "{share}: {found} ms");
        }
        assert_eq!(Latencies::default().quantile(0.5), None);
    }
}
