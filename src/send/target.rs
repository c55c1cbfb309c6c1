//! Where rows go: an HTTP endpoint takes one at a time, a stream takes batches. Each row is sent again
//! until it is taken or refused for good.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::SendError;
use super::feed::Item;
use super::post::{Attempt, PostSpec, Poster};
use crate::streams::{Backoff, BatchLimits, FailureKind, NewRecord, Put, Putter, Reach, StreamUrl};

/// The place that rows are sent to.
#[derive(Clone, Debug)]
pub enum SendTo {
    Http(PostSpec),
    Stream { url: StreamUrl, reach: Reach },
}

/// What became of a body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sent {
    /// Taken; the shard and the number there, where the answer named them.
    Taken { shard: Option<String>, sequence: Option<String> },
    /// Not taken, for this reason.
    Refused(String),
}

/// A place that was opened.
pub struct Target {
    kind: Kind,
    attempts: u32,
    /// Rows that were sent once more, each time.
    pub retried: AtomicU64,
    random: RandomState,
    asked: AtomicU64,
}

enum Kind {
    Http(Box<Poster>),
    Stream(Putter),
}

/// A partition key that nobody gave.
pub const RANDOM_KEY_BYTES: usize = 16;

/// A POST holds one row, of any length.
const ONE: BatchLimits = BatchLimits { records: 1, bytes: usize::MAX, record_bytes: usize::MAX };

impl Target {
    /// Makes no request yet.
    pub async fn open(to: &SendTo, attempts: u32) -> Result<Target, SendError> {
        let kind = match to {
            SendTo::Http(spec) => {
                Kind::Http(Box::new(Poster::new(spec.clone()).map_err(SendError::Network)?))
            }
            SendTo::Stream { url, reach } => Kind::Stream(Putter::open(url, reach).await?),
        };
        let (retried, asked) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Target { kind, attempts, retried, random: RandomState::new(), asked })
    }

    /// What may go out together.
    pub fn limits(&self) -> BatchLimits {
        match &self.kind {
            Kind::Http(_) => ONE,
            Kind::Stream(putter) => putter.limits(),
        }
    }

    /// Sends a batch, and again what failed of it while that may help and `stop` is not up. What became
    /// of each row, and after how long, goes to `tell`.
    ///
    /// # Errors
    /// Where no other row could be sent either. Rows that were not told of are not done with.
    pub async fn send(
        &self,
        batch: Vec<Item>,
        stop: &AtomicBool,
        tell: &mut (dyn FnMut(&Item, Sent, Duration) + Send),
    ) -> Result<(), SendError> {
        let began = Instant::now();
        match &self.kind {
            Kind::Http(poster) => {
                for item in batch {
                    let sent = self.post(poster, &item, stop).await;
                    tell(&item, sent, began.elapsed());
                }
                Ok(())
            }
            Kind::Stream(putter) => {
                self.put(putter, batch, stop, &mut |item, sent| {
                    tell(item, sent, began.elapsed());
                })
                .await
            }
        }
    }

    async fn post(&self, poster: &Poster, item: &Item, stop: &AtomicBool) -> Sent {
        let mut again = Again::new(self.attempts);
        loop {
            let (why, after) = match poster.attempt(item.body.clone(), item.key.as_deref()).await {
                Attempt::Over(sent) => return sent,
                Attempt::Again { why, after } => (why, after),
            };
            if !again.after(after, stop).await {
                return Sent::Refused(again.told(&why));
            }
            self.retried.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn put(
        &self,
        putter: &Putter,
        batch: Vec<Item>,
        stop: &AtomicBool,
        tell: &mut (dyn FnMut(&Item, Sent) + Send),
    ) -> Result<(), SendError> {
        let limits = putter.limits();
        let mut again = Again::new(self.attempts);
        let (mut left, too_long): (Vec<Item>, Vec<Item>) =
            batch.into_iter().partition(|item| item.bytes() <= limits.record_bytes);
        for item in too_long {
            let most = limits.record_bytes;
            let why = format!("it has {} bytes, and the stream takes {most}", item.bytes());
            tell(&item, Sent::Refused(why));
        }
        let mut records: Vec<NewRecord> = left.iter().map(|item| self.record(item)).collect();
        while !left.is_empty() {
            let (reasons, after) = match putter.put(&records).await {
                Err(failure) => match failure.kind {
                    FailureKind::Hopeless => return Err(putter.error(failure).into()),
                    FailureKind::Again => {
                        (vec![Some(failure.reason.clone()); left.len()], failure.after)
                    }
                    _ => {
                        for item in &left {
                            tell(item, Sent::Refused(failure.reason.clone()));
                        }
                        return Ok(());
                    }
                },
                Ok(puts) => {
                    let reason = |(put, item): (Put, &Item)| match put {
                        Put::Failed(why) => Some(why),
                        Put::Taken { shard } => {
                            tell(item, Sent::Taken { shard, sequence: None });
                            None
                        }
                    };
                    (puts.into_iter().zip(&left).map(reason).collect(), None)
                }
            };
            // Only what failed goes again.
            let mut failed = reasons.iter().map(Option::is_some);
            left.retain(|_| failed.next() == Some(true));
            let mut failed = reasons.iter().map(Option::is_some);
            records.retain(|_| failed.next() == Some(true));
            if left.is_empty() {
                return Ok(());
            }
            if !again.after(after, stop).await {
                for (item, why) in left.iter().zip(reasons.iter().flatten()) {
                    tell(item, Sent::Refused(again.told(why)));
                }
                return Ok(());
            }
            self.retried.fetch_add(left.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn record(&self, item: &Item) -> NewRecord {
        let partition_key = item.key.clone().unwrap_or_else(|| {
            let next = self.asked.fetch_add(1, Ordering::Relaxed);
            format!("{:0RANDOM_KEY_BYTES$x}", self.random.hash_one(next))
        });
        NewRecord { data: item.body.clone(), partition_key }
    }
}

/// The attempts of a row, or of a batch.
struct Again {
    attempts: u32,
    most: u32,
    backoff: Backoff,
}

/// A wait looks so often whether the run was stopped.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Again {
    fn new(most: u32) -> Again {
        Again { attempts: 1, most, backoff: Backoff::default() }
    }

    /// Waits and says true, or says false where another attempt is not allowed.
    async fn after(&mut self, asked: Option<Duration>, stop: &AtomicBool) -> bool {
        if self.attempts >= self.most {
            return false;
        }
        let until = Instant::now() + self.backoff.wait(asked);
        loop {
            if stop.load(Ordering::Relaxed) {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            tokio::time::sleep(left.min(LOOK_EVERY)).await;
        }
        self.attempts += 1;
        true
    }

    fn told(&self, why: &str) -> String {
        match self.attempts {
            1 => format!("{why} (tried once)"),
            times => format!("{why} (tried {times} times)"),
        }
    }
}
