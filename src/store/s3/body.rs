//! One object's bytes: an object goes in, its body comes out, whole or as a stream.
//!
//! A body that breaks off or stalls is taken up again at the byte that was reached, with
//! `If-Match`, so that two versions are never mixed. A body is complete only when as many bytes
//! came as were listed and its checksum, where the object has one, agrees.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use aws_sdk_s3::config::ResponseChecksumValidation;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::super::error::StoreError;
use super::super::{Body, Content, ObjectMeta, Permit, STREAM_AHEAD_BYTES};
use super::Remote;
use super::failure::{Failure, Target, chain};
use super::retry::Attempts;
use super::stream::{Chunk, StreamReader, share};

/// In each `stall_timeout` so many bytes must come, or the attempt counts as stalled.
const PROGRESS_BYTES: u64 = 16 << 10;
/// After so many bytes the attempts of a body are counted anew: a large object may break off more
/// often than a small one.
const FRESH_ATTEMPTS_BYTES: u64 = 16 << 20;

enum Step {
    Bytes(Chunk),
    /// What was given so far is void: the object comes again from its first byte.
    Restart,
    End,
}

/// The transfer of one object.
pub(super) struct Transfer {
    remote: Arc<Remote>,
    object: ObjectMeta,
    etag: Option<String>,
    stream: Option<ByteStream>,
    /// Bytes given so far.
    at: u64,
    /// Bytes at the beginning of the stream that were given before.
    skip: u64,
    /// Where the attempts were last counted anew.
    fresh_at: u64,
    restartable: bool,
    attempts: Attempts,
    patience: Patience,
    region: String,
}

/// The time that may be spent waiting for the network.
struct Patience {
    allowed: Duration,
    spent: Duration,
    bytes: u64,
}

impl Patience {
    fn new(allowed: Duration) -> Patience {
        Patience { allowed, spent: Duration::ZERO, bytes: 0 }
    }

    fn left(&self) -> Duration {
        self.allowed.saturating_sub(self.spent)
    }

    fn came(&mut self, bytes: u64, waited: Duration) {
        self.spent += waited;
        self.bytes += bytes;
        if self.bytes >= PROGRESS_BYTES {
            *self = Patience::new(self.allowed);
        }
    }
}

impl Transfer {
    pub(super) fn new(remote: Arc<Remote>, object: ObjectMeta) -> Transfer {
        Transfer {
            etag: object.etag.clone(),
            patience: Patience::new(remote.stall_timeout),
            remote,
            object,
            stream: None,
            at: 0,
            skip: 0,
            fresh_at: 0,
            restartable: false,
            attempts: Attempts::default(),
            region: String::new(),
        }
    }

    /// Sends the body, or why there is none, and then, for a stream, keeps it filled until its
    /// reader has all or is gone. Returns the attempts that were needed.
    pub(super) async fn deliver(
        mut self,
        whole_bytes: u64,
        permit: Permit,
        reply: oneshot::Sender<Result<Body, StoreError>>,
    ) -> Attempts {
        let bytes = self.object.bytes;
        if bytes <= whole_bytes {
            let body = self.whole().await;
            let body = body.map(|whole| Body::new(bytes, Content::Whole(whole), permit));
            // Whoever asked may be gone; then nobody misses it.
            let _ = reply.send(body);
            return self.attempts;
        }
        if let Err(error) = self.open().await {
            let _ = reply.send(Err(error));
            return self.attempts;
        }
        let (chunks, inbox) = mpsc::unbounded_channel();
        let window = Arc::new(Semaphore::new(STREAM_AHEAD_BYTES as usize));
        let url = self.remote.place.of(self.target());
        let reader = StreamReader::new(inbox, Arc::clone(&window), bytes, url);
        let content = Content::Stream(Box::new(reader));
        if reply.send(Ok(Body::new(bytes, content, permit))).is_ok() {
            self.pour(&chunks, &window).await;
        }
        self.attempts
    }

    async fn whole(&mut self) -> Result<Vec<u8>, StoreError> {
        self.restartable = true;
        let mut whole = Vec::with_capacity(self.object.bytes as usize);
        loop {
            match self.next().await? {
                Step::Bytes(chunk) => whole.extend_from_slice(chunk.as_ref().as_ref()),
                Step::Restart => whole.clear(),
                Step::End => return Ok(whole),
            }
        }
    }

    async fn pour(
        &mut self,
        chunks: &mpsc::UnboundedSender<Result<Chunk, StoreError>>,
        window: &Semaphore,
    ) {
        loop {
            let next = unless(chunks.closed(), self.next()).await;
            let chunk = match next {
                Some(Ok(Step::Bytes(chunk))) => Ok(chunk),
                Some(Err(error)) => Err(error),
                // Only bodies that are collected whole start over.
                Some(Ok(Step::End | Step::Restart)) | None => return,
            };
            let size = chunk.as_ref().map_or(0, share);
            match window.acquire_many(size).await {
                Ok(room) => room.forget(),
                Err(_) => return,
            }
            let failed = chunk.is_err();
            if chunks.send(chunk).is_err() || failed {
                return;
            }
        }
    }

    /// The next bytes of the object, over all breaks that can be mended.
    async fn next(&mut self) -> Result<Step, StoreError> {
        loop {
            let Some(stream) = self.stream.as_mut() else {
                self.open().await?;
                continue;
            };
            let began = Instant::now();
            let chunk = timeout(self.patience.left(), stream.next()).await;
            let failure = match chunk {
                Ok(Some(Ok(chunk))) => {
                    self.patience.came(chunk.len() as u64, began.elapsed());
                    let skip = self.skip.min(chunk.len() as u64);
                    self.skip -= skip;
                    let new = chunk.slice(skip as usize..);
                    if new.is_empty() {
                        continue;
                    }
                    self.at += new.len() as u64;
                    if self.at <= self.object.bytes {
                        if self.at - self.fresh_at >= FRESH_ATTEMPTS_BYTES {
                            self.fresh_at = self.at;
                            self.remote.retry.succeeded();
                            self.attempts.used = 1;
                        }
                        return Ok(Step::Bytes(Box::new(new)));
                    }
                    Failure::damage("more bytes came than were announced")
                }
                Ok(None) if self.at == self.object.bytes => return Ok(Step::End),
                Ok(None) => Failure::network(self.broke_off("the body ended early")),
                // All bytes came, so it is the checksum that speaks.
                Ok(Some(Err(error))) if self.at == self.object.bytes => {
                    Failure::damage(chain(&error))
                }
                Ok(Some(Err(error))) => Failure::network(self.broke_off(&chain(&error))),
                Err(_) => {
                    let seconds = self.patience.allowed.as_secs_f32();
                    Failure::network(self.broke_off(&format!("no progress for {seconds} s")))
                }
            };
            if let Some(step) = self.mend(failure).await? {
                return Ok(step);
            }
        }
    }

    /// Prepares another attempt after a body broke off.
    async fn mend(&mut self, failure: Failure) -> Result<Option<Step>, StoreError> {
        self.stream = None;
        let over = self.at >= self.object.bytes;
        if over && !self.restartable {
            // What was given can't be taken back from a reader.
            let (target, used) = (self.target(), self.attempts.used);
            return Err(failure.into_error(&self.remote.place, target, &self.region, used));
        }
        self.settle(failure).await?;
        if !over {
            return Ok(None);
        }
        (self.at, self.skip, self.fresh_at) = (0, 0, 0);
        Ok(Some(Step::Restart))
    }

    /// Opens the object at the byte that was reached.
    async fn open(&mut self) -> Result<(), StoreError> {
        loop {
            self.remote.retry.begin(&mut self.attempts).await;
            let (client, region) = self.remote.client();
            self.region = region;
            let mut request = client
                .get_object()
                .bucket(&self.remote.place.bucket)
                .key(format!("{}{}", self.remote.prefix, self.object.key))
                .set_if_match(self.etag.clone())
                .set_request_payer(self.remote.payer.clone());
            if self.at > 0 {
                request = request.range(format!("bytes={}-", self.at));
            }
            let mut request = request.customize();
            if self.at > 0 {
                // A checksum is of the whole object, and this is a part of it.
                let validation = ResponseChecksumValidation::WhenRequired;
                request = request.config_override(
                    aws_sdk_s3::config::Builder::new().response_checksum_validation(validation),
                );
            }
            // The SDK's own deadline ends with the headers, and an error has a body, too.
            let deadline = self.remote.stall_timeout.saturating_mul(2);
            let failure = match timeout(deadline, request.send()).await {
                Ok(Ok(reply)) => match self.accept(reply)? {
                    None => return Ok(()),
                    Some(failure) => failure,
                },
                Ok(Err(error)) => Failure::of(&error),
                Err(_) => {
                    let seconds = deadline.as_secs_f32();
                    Failure::network(self.broke_off(&format!("no answer for {seconds} s")))
                }
            };
            self.settle(failure).await?;
        }
    }

    /// Compares what the server announces with what was listed and asked for.
    fn accept(&mut self, reply: GetObjectOutput) -> Result<Option<Failure>, StoreError> {
        let size = self.object.bytes;
        let announced = reply.content_length.and_then(|n| u64::try_from(n).ok());
        if let (Some(want), Some(now)) = (&self.etag, &reply.e_tag)
            && !same_etag(want, now)
        {
            return Err(self.changed(format!("its ETag was {want}, now {now}")));
        }
        let begins_at = match reply.content_range.as_deref() {
            Some(range) => range_start(range),
            None => Some(0),
        };
        // A server that doesn't know ranges sends everything again; the first part is skipped.
        self.skip = match begins_at {
            Some(0) => self.at,
            start if start == Some(self.at) => 0,
            _ => {
                return Ok(Some(Failure::damage("another range came than was asked for")));
            }
        };
        let expected = size - self.at + self.skip;
        if announced.is_some_and(|announced| announced != expected) {
            let announced = announced.unwrap_or_default();
            if self.etag.is_none() {
                return Err(self.changed(format!("{size} bytes, now {announced}")));
            }
            return Ok(Some(Failure::damage(format!(
                "the server announces {announced} bytes where {expected} were listed"
            ))));
        }
        self.remote.retry.succeeded();
        // A later resumption must meet the same version.
        self.etag = self.etag.take().or(reply.e_tag);
        self.patience = Patience::new(self.remote.stall_timeout);
        self.stream = Some(reply.body);
        Ok(None)
    }

    async fn settle(&mut self, failure: Failure) -> Result<(), StoreError> {
        let target = Target::Get { key: &self.object.key };
        self.remote.settle(failure, &mut self.attempts, target, &self.region).await
    }

    fn changed(&self, detail: String) -> StoreError {
        StoreError::Changed {
            key: self.object.key.clone(),
            url: self.remote.place.of(self.target()),
            detail,
        }
    }

    fn broke_off(&self, reason: &str) -> String {
        format!("{reason}, at byte {} of {}", self.at, self.object.bytes)
    }

    fn target(&self) -> Target<'_> {
        Target::Get { key: &self.object.key }
    }
}

/// What `work` gives, or `None` when `gone` comes first.
pub(super) async fn unless<T>(
    gone: impl Future<Output = ()>,
    work: impl Future<Output = T>,
) -> Option<T> {
    let (mut gone, mut work) = (pin!(gone), pin!(work));
    poll_fn(|context| match gone.as_mut().poll(context) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => work.as_mut().poll(context).map(Some),
    })
    .await
}

/// `bytes 5-9/10` begins at 5.
fn range_start(content_range: &str) -> Option<u64> {
    let (start, _) = content_range.strip_prefix("bytes ")?.split_once('-')?;
    start.trim().parse().ok()
}

/// Some servers list ETags without their quotes.
fn same_etag(a: &str, b: &str) -> bool {
    a.trim_matches('"') == b.trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_means_bytes_in_time_not_a_byte_now_and_then() {
        let mut patience = Patience::new(Duration::from_secs(20));
        for _ in 0..10 {
            patience.came(1, Duration::from_secs(1));
        }
        assert_eq!(patience.left(), Duration::from_secs(10));
        patience.came(PROGRESS_BYTES, Duration::from_secs(5));
        assert_eq!(patience.left(), Duration::from_secs(20));
    }

    #[test]
    fn a_content_range_says_where_it_begins() {
        assert_eq!(range_start("bytes 5-9/10"), Some(5));
        assert_eq!(range_start("bytes */10"), None);
        assert_eq!(range_start(""), None);
    }
}
