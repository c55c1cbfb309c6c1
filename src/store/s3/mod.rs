//! A bucket with a prefix as a source, or as the place that is published to, over `aws-sdk-s3`.
//!
//! Async ends here: the store has a runtime of its own, made when an S3 source is opened, and its
//! methods block the caller. Everything that is under way ends when the store, or the
//! [`super::Fetch`] that asked for it, is dropped.

mod ahead;
mod body;
mod connect;
mod failure;
mod list;
mod put;
mod refusal;
mod retry;
mod stream;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Region;
use aws_sdk_s3::types::RequestPayer;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::error::{StoreError, shown};
use super::kept::Kept;
use super::{Body, FetchLimits, Listing, ObjectMeta, Peek, Permit, SourceUrl, StoreOptions};
use failure::{Failure, Place, Target};
use retry::{Attempts, RetryPolicy};

pub(super) use ahead::ReadAhead;
pub(crate) use connect::{OnlySafeHttp, check, is_loopback_http, shared_config};
pub(crate) use failure::chain;
pub use put::{PutNew, Stored};

/// Threads for the network. They move bytes and check sums; the work on them is the caller's.
const MOST_NETWORK_THREADS: usize = 4;
/// How often a write looks whether the run was interrupted.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// What an interrupted upload in parts may take to be taken back.
const ABORT_PATIENCE: Duration = Duration::from_millis(500);

/// A bucket that was opened.
#[derive(Debug)]
pub struct S3Store {
    remote: Arc<Remote>,
    runtime: Arc<Background>,
    list_requests: usize,
    kept: Arc<Kept>,
}

/// The runtime. It must not wait for its tasks when it goes, or Ctrl-C would wait for S3.
#[derive(Debug)]
struct Background {
    handle: Handle,
    runtime: Mutex<Option<Runtime>>,
}

impl Background {
    fn start() -> Result<Background, StoreError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads(cores.div_ceil(2).clamp(1, MOST_NETWORK_THREADS))
            .thread_name("s3")
            .enable_all()
            .build()
            .map_err(|source| StoreError::Io {
                path: "the threads for the network".to_string(),
                source,
            })?;
        Ok(Background { handle: runtime.handle().clone(), runtime: Mutex::new(Some(runtime)) })
    }

    /// Runs a task here, or, after [`Background::stop`], drops it, and with it its end of
    /// whatever channel somebody waits on.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.handle.spawn(task).abort_handle()
    }

    /// Drops all tasks. Those who wait for them are woken.
    fn stop(&self) {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop();
    }
}

impl S3Store {
    /// Opens a bucket; `prefix` stands literally in front of every key. No request is made yet.
    ///
    /// # Errors
    /// [`StoreError::BadOption`] and [`StoreError::PlainHttp`] for an endpoint that can't be used.
    pub fn open(bucket: &str, prefix: &str, options: &StoreOptions) -> Result<S3Store, StoreError> {
        connect::check(options)?;
        let runtime = Background::start()?;
        let client = runtime.handle.block_on(connect::client(options));
        let remote = Remote {
            place: Place {
                url: SourceUrl::S3 { bucket: bucket.to_string(), prefix: prefix.to_string() },
                bucket: bucket.to_string(),
                endpoint: match &options.endpoint_url {
                    Some(endpoint) => shown(endpoint),
                    None => "AWS".to_string(),
                },
                signed: !options.no_sign_request,
            },
            prefix: prefix.to_string(),
            client: Mutex::new(client),
            payer: options.request_payer.then_some(RequestPayer::Requester),
            connect_timeout: options.connect_timeout,
            stall_timeout: options.stall_timeout,
            put_bytes: options.put_bytes,
            part_bytes: options.part_bytes,
            retry: RetryPolicy::new(options.retry_base, options.max_attempts),
        };
        Ok(S3Store {
            remote: Arc::new(remote),
            runtime: Arc::new(runtime),
            list_requests: options.list_requests,
            kept: Arc::default(),
        })
    }

    pub fn url(&self) -> &SourceUrl {
        &self.remote.place.url
    }

    /// As [`super::Store::list`].
    pub fn list(
        &self,
        prefixes: &[String],
        progress: &dyn Fn(usize),
    ) -> Vec<Result<Listing, StoreError>> {
        list::list(&self.remote, &self.runtime, self.list_requests, prefixes, progress)
    }

    /// As [`super::Store::folders`].
    pub fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let (reply, answer) = oneshot::channel();
        let (remote, owned) = (Arc::clone(&self.remote), prefix.to_string());
        self.runtime.spawn(async move {
            let _ = reply.send(list::folders(&remote, &owned).await);
        });
        let stopped = |_| Err(self.stopped(prefix));
        answer.blocking_recv().unwrap_or_else(stopped)
    }

    pub(super) fn peek(&self, prefix: &str) -> Result<Peek, StoreError> {
        let (reply, answer) = oneshot::channel();
        let (remote, owned) = (Arc::clone(&self.remote), prefix.to_string());
        self.runtime.spawn(async move {
            let _ = reply.send(list::peek(&remote, &owned).await);
        });
        let stopped = |_| Err(self.stopped(prefix));
        answer.blocking_recv().unwrap_or_else(stopped)
    }

    pub(super) fn kept(&self) -> &Kept {
        &self.kept
    }

    pub(super) fn stop(&self) {
        self.runtime.stop();
    }

    fn stopped(&self, key: &str) -> StoreError {
        StoreError::Stopped { url: self.remote.place.url.of_key(key) }
    }

    pub(super) fn read_ahead(&self, objects: Arc<[ObjectMeta]>, limits: FetchLimits) -> ReadAhead {
        let (remote, runtime) = (Arc::clone(&self.remote), Arc::clone(&self.runtime));
        ReadAhead::start(remote, runtime, Arc::clone(&self.kept), objects, limits)
    }

    /// The body of one object, as a stream where it is larger than `whole_bytes`.
    pub fn get(&self, object: &ObjectMeta, whole_bytes: u64) -> Result<Body, StoreError> {
        let (reply, answer) = oneshot::channel();
        let transfer = body::Transfer::new(Arc::clone(&self.remote), object.clone());
        self.runtime.spawn(async move {
            transfer.deliver(whole_bytes, Permit::default(), reply).await;
        });
        let stopped = |_| Err(self.stopped(&object.key));
        answer.blocking_recv().unwrap_or_else(stopped)
    }

    /// Puts a file in the place of whatever has this key. Readers see the old object or the whole
    /// new one. `interrupted` is looked at while it goes.
    ///
    /// # Errors
    /// [`StoreError::Denied`] names the permission; [`StoreError::Stopped`] after an interrupt.
    /// The old object is then still there, unless the answer alone was lost.
    pub fn put_file(
        &self,
        key: &str,
        path: &Path,
        stored: &Stored,
        interrupted: &AtomicBool,
    ) -> Result<(), StoreError> {
        let mut upload = put::Upload::new(Arc::clone(&self.remote), key, path, stored);
        self.wait(async {
            match body::unless(raised(interrupted), upload.run()).await {
                Some(Ok(())) => Ok(()),
                Some(Err(error)) => {
                    let _ = tokio::time::timeout(self.remote.stall_timeout, upload.abort()).await;
                    Err(error)
                }
                None => {
                    let _ = tokio::time::timeout(ABORT_PATIENCE, upload.abort()).await;
                    Err(self.stopped(key))
                }
            }
        })
    }

    /// Puts a few bytes under a key that has no object (`If-None-Match: *`).
    ///
    /// # Errors
    /// As [`S3Store::put_file`]. A put whose answer was lost is made again, and then finds its
    /// own object: whoever asks must be able to tell it.
    pub fn put_new(
        &self,
        key: &str,
        bytes: &[u8],
        content_type: &str,
    ) -> Result<PutNew, StoreError> {
        self.wait(put::put_new(&self.remote, key, bytes, content_type))
    }

    /// Deletes an object; it may be gone already.
    pub fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.wait(put::delete(&self.remote, key))
    }

    /// [`S3Store::delete`] for the way out: gives up after `patience`, as
    /// [`StoreError::Stopped`].
    pub fn delete_within(&self, key: &str, patience: Duration) -> Result<(), StoreError> {
        let delete = put::delete(&self.remote, key);
        let done = self.wait(async { tokio::time::timeout(patience, delete).await });
        done.unwrap_or_else(|_| Err(self.stopped(key)))
    }

    /// Runs a write on this thread, so that it can look at what its caller owns. Not to be used
    /// on a store that another thread may [`S3Store::stop`].
    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.handle.block_on(work)
    }
}

/// Ends when the flag is up.
async fn raised(flag: &AtomicBool) {
    while !flag.load(Ordering::Relaxed) {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// What every request of a store needs.
#[derive(Debug)]
struct Remote {
    place: Place,
    prefix: String,
    /// Replaced when the bucket turns out to lie in another region.
    client: Mutex<Client>,
    payer: Option<RequestPayer>,
    connect_timeout: Duration,
    stall_timeout: Duration,
    /// See [`StoreOptions`].
    put_bytes: u64,
    part_bytes: u64,
    retry: RetryPolicy,
}

/// The most regions that are followed for one request, so that two servers can't play ball.
const MOST_MOVES: u32 = 2;

impl Remote {
    /// The client of the moment, and the region it is for.
    fn client(&self) -> (Client, String) {
        let client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let region = client.config().region().map(Region::to_string);
        (client.clone(), region.unwrap_or_default())
    }

    /// Moves to the region that the server named. False when that is where the request was sent.
    fn follow(&self, region: &str, used: &str) -> bool {
        if region == used {
            return false;
        }
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        // Another request may have moved already.
        if client.config().region().map(Region::as_ref) != Some(region) {
            let config = client.config().to_builder();
            let config = config.region(Region::new(region.to_string())).build();
            *client = Client::from_conf(config);
        }
        true
    }

    /// After a failure: returns when the request is to be made again, or says why it is not.
    async fn settle(
        &self,
        failure: Failure,
        attempts: &mut Attempts,
        target: Target<'_>,
        used_region: &str,
    ) -> Result<(), StoreError> {
        if let Some(region) = &failure.region
            && attempts.moves < MOST_MOVES
            && self.follow(region, used_region)
        {
            attempts.moves += 1;
            return Ok(());
        }
        let retry = self.retry.again(attempts, failure.retry, failure.retry_after);
        if retry.await {
            return Ok(());
        }
        Err(failure.into_error(&self.place, target, used_region, attempts.used))
    }
}
