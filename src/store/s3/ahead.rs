//! Reading ahead: objects go in, bodies come out in the same order. Requests, bytes and bodies
//! that wait are bounded; dropping it stops everything.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

use super::super::kept::Kept;
use super::super::{Body, FetchLimits, ObjectMeta, Permit, StoreError};
use super::body::Transfer;
use super::retry::Gate;
use super::{Background, Remote};

/// Bodies asked for and not yet pulled, for each request allowed at a time: small objects that
/// are ready may wait, but not without end.
const WAITING_PER_REQUEST: usize = 4;
/// The unit in which bytes in flight are counted, so that a `u32` of permits reaches 4 TiB.
const UNIT_BYTES: u64 = 1 << 10;

type Answer = oneshot::Receiver<Result<Body, StoreError>>;

/// Bodies on their way from S3.
#[derive(Debug)]
pub(in super::super) struct ReadAhead {
    remote: Arc<Remote>,
    kept: Arc<Kept>,
    objects: Arc<[ObjectMeta]>,
    queue: Mutex<mpsc::Receiver<Answer>>,
    /// Indices given out. Changes only under the lock of `queue`.
    given: AtomicUsize,
    cancelled: AtomicBool,
    driver: AbortHandle,
    /// Keeps the runtime while bodies are under way, should the store go first.
    _runtime: Arc<Background>,
}

impl ReadAhead {
    pub(super) fn start(
        remote: Arc<Remote>,
        runtime: Arc<Background>,
        kept: Arc<Kept>,
        objects: Arc<[ObjectMeta]>,
        limits: FetchLimits,
    ) -> ReadAhead {
        let waiting = limits.requests.clamp(1, 1 << 16) * WAITING_PER_REQUEST;
        let (answers, queue) = mpsc::channel(waiting);
        let drive =
            drive(Arc::clone(&remote), Arc::clone(&kept), Arc::clone(&objects), limits, answers);
        let driver = runtime.spawn(drive);
        ReadAhead {
            remote,
            kept,
            objects,
            queue: Mutex::new(queue),
            given: AtomicUsize::new(0),
            cancelled: AtomicBool::new(false),
            driver,
            _runtime: runtime,
        }
    }

    pub(in super::super) fn next(&self) -> Option<(usize, Result<Body, StoreError>)> {
        let (index, answer) = {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            let index = self.given.load(Ordering::Relaxed);
            if index >= self.objects.len() || self.cancelled.load(Ordering::Relaxed) {
                return None;
            }
            self.given.store(index + 1, Ordering::Relaxed);
            (index, queue.blocking_recv())
        };
        let body = answer.and_then(|answer| answer.blocking_recv().ok());
        if body.is_none() && self.cancelled.load(Ordering::Relaxed) {
            return None;
        }
        // An object is never passed over in silence, even if its task died.
        let stopped =
            || StoreError::Stopped { url: self.remote.place.url.of_key(&self.objects[index].key) };
        let body = body.unwrap_or_else(|| Err(stopped()));
        Some((
            index,
            body.map(|Body { bytes, content, permit }| {
                let content = self.kept.keep(&self.objects[index], content);
                Body { bytes, content, permit }
            }),
        ))
    }

    pub(in super::super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        // The driver owns all transfers and both ends of what others wait for.
        self.driver.abort();
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// Starts the transfers in order. As slots and bytes are taken in order too, the object that
/// is wanted next always has what it needs.
async fn drive(
    remote: Arc<Remote>,
    kept: Arc<Kept>,
    objects: Arc<[ObjectMeta]>,
    limits: FetchLimits,
    answers: mpsc::Sender<Answer>,
) {
    let units = (limits.bytes_in_flight / UNIT_BYTES).clamp(1, u64::from(u32::MAX)) as u32;
    let room = Arc::new(Semaphore::new(units as usize));
    let gate = Gate::new(limits.requests);
    let mut transfers = JoinSet::new();
    for object in objects.iter() {
        let charge = limits.charge(object.bytes).div_ceil(UNIT_BYTES);
        let charge = charge.clamp(1, u64::from(units)) as u32;
        let kept = kept.find(object);
        let pass = if kept.is_none() { Some(gate.enter().await) } else { None };
        let permit = Arc::clone(&room).acquire_many_owned(charge).await;
        let permit = Permit::remote(permit.expect("the semaphore of bytes is never closed"));
        let (reply, answer) = oneshot::channel();
        if answers.send(answer).await.is_err() {
            return;
        }
        if let Some(content) = kept {
            let _ = reply.send(Ok(Body::new(object.bytes, content, permit)));
            continue;
        }
        let transfer = Transfer::new(Arc::clone(&remote), object.clone());
        transfers.spawn(async move {
            let attempts = transfer.deliver(limits.whole_bytes, permit, reply).await;
            if let Some(pass) = pass {
                pass.done(&attempts);
            }
        });
        while transfers.try_join_next().is_some() {}
    }
    drop(answers);
    while transfers.join_next().await.is_some() {}
}
