//! When to try again: failures go in, a wait or a refusal comes out. All limits of trying again
//! are here. One policy serves all requests of a store, so that they slow down together.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// Retries that all requests share: each takes `RETRY_COST`, each success gives one back. So a
/// service that fails often is not asked many times as often as one that works.
const BUDGET_TOKENS: i64 = 1_000;
const RETRY_COST: i64 = 5;
/// Attempts to connect before anything was ever answered: a wrong endpoint shows soon.
const FIRST_CONTACT_ATTEMPTS: u32 = 3;
/// A throttled request takes one slot away, so many successes bring one back.
const SUCCESSES_PER_SLOT: usize = 8;

/// Whether a failure is worth another attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Retry {
    No,
    /// No connection came about.
    Connect,
    /// The service failed, or the network did after the connection stood.
    Yes,
    /// The service asks for less.
    Throttled,
}

/// The attempts of one request, or of one body with all its resumptions.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    pub(super) used: u32,
    pub(super) throttled: bool,
    /// Times that another region was followed.
    pub(super) moves: u32,
}

#[derive(Debug)]
pub(super) struct RetryPolicy {
    base: Duration,
    max_attempts: u32,
    tokens: AtomicI64,
    answered: AtomicBool,
    /// Set by throttled requests: no attempt begins before.
    pause_until: Mutex<Option<Instant>>,
}

impl RetryPolicy {
    pub(super) fn new(base: Duration, max_attempts: u32) -> RetryPolicy {
        RetryPolicy {
            base,
            max_attempts: max_attempts.max(1),
            tokens: AtomicI64::new(BUDGET_TOKENS),
            answered: AtomicBool::new(false),
            pause_until: Mutex::new(None),
        }
    }

    /// Begins an attempt, after the pause that throttled requests asked for.
    pub(super) async fn begin(&self, attempts: &mut Attempts) {
        attempts.used += 1;
        let until = *self.lock();
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }

    /// A request was answered as it should be.
    pub(super) fn succeeded(&self) {
        self.answered.store(true, Ordering::Relaxed);
        if self.tokens.load(Ordering::Relaxed) < BUDGET_TOKENS {
            self.tokens.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits and says true, or says false where another attempt is not allowed.
    pub(super) async fn again(
        &self,
        attempts: &mut Attempts,
        retry: Retry,
        retry_after: Option<Duration>,
    ) -> bool {
        let limit = match retry {
            Retry::No => return false,
            Retry::Connect if !self.answered.load(Ordering::Relaxed) => {
                self.max_attempts.min(FIRST_CONTACT_ATTEMPTS)
            }
            _ => self.max_attempts,
        };
        if attempts.used >= limit {
            return false;
        }
        if self.tokens.fetch_sub(RETRY_COST, Ordering::Relaxed) < RETRY_COST {
            self.tokens.fetch_add(RETRY_COST, Ordering::Relaxed);
            return false;
        }
        let wait = self.wait(attempts.used).max(retry_after.unwrap_or_default());
        let wait = wait.min(LONGEST_WAIT);
        if retry == Retry::Throttled {
            attempts.throttled = true;
            let until = Instant::now() + wait;
            let mut pause = self.lock();
            if pause.is_none_or(|other| other < until) {
                *pause = Some(until);
            }
        }
        tokio::time::sleep(wait).await;
        true
    }

    /// "Full jitter": anything up to `base` × 2^(attempts − 1), so that requests that failed
    /// together don't come back together.
    fn wait(&self, used: u32) -> Duration {
        let ceiling = self.base.saturating_mul(1 << used.saturating_sub(1).min(16));
        // The standard library's seeds are random, and good enough for this.
        let random = RandomState::new().build_hasher().finish();
        ceiling.min(LONGEST_WAIT).mul_f64(random as f64 / u64::MAX as f64)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.pause_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At most so many requests at a time; fewer while the service throttles.
#[derive(Debug)]
pub(super) struct Gate {
    slots: Arc<Semaphore>,
    size: usize,
    withheld: AtomicUsize,
    successes: AtomicUsize,
}

/// The right to make one request.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Gate>,
    permit: Option<OwnedSemaphorePermit>,
    throttled: bool,
}

impl Gate {
    pub(super) fn new(requests: usize) -> Arc<Gate> {
        let size = requests.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Gate {
            slots: Arc::new(Semaphore::new(size)),
            size,
            withheld: AtomicUsize::new(0),
            successes: AtomicUsize::new(0),
        })
    }

    pub(super) async fn enter(self: &Arc<Self>) -> Pass {
        let permit = Arc::clone(&self.slots).acquire_owned().await;
        Pass {
            gate: Arc::clone(self),
            permit: Some(permit.expect("the gate's semaphore is never closed")),
            throttled: false,
        }
    }

    /// Keeps a slot back. At least a quarter of them stays.
    fn withhold(&self) -> bool {
        let most = self.size - self.size.div_ceil(4);
        let more = |withheld| (withheld < most).then_some(withheld + 1);
        self.withheld.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn success(&self) {
        let count = self.successes.fetch_add(1, Ordering::Relaxed) + 1;
        let fewer = |withheld: usize| withheld.checked_sub(1);
        if count.is_multiple_of(SUCCESSES_PER_SLOT)
            && self.withheld.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok()
        {
            self.slots.add_permits(1);
        }
    }
}

impl Pass {
    /// Tells the gate how the request went; the slot is free when this returns.
    pub(super) fn done(mut self, attempts: &Attempts) {
        self.throttled = attempts.throttled;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if !self.throttled {
            self.gate.success();
        } else if self.gate.withhold()
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(future)
    }

    #[test]
    fn waits_grow_have_jitter_and_a_ceiling() {
        let policy = RetryPolicy::new(Duration::from_millis(100), 8);
        let waits: Vec<Duration> = (0..200).map(|_| policy.wait(4)).collect();
        assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(800)));
        assert!(waits.iter().any(|wait| *wait > Duration::from_millis(400)));
        assert!(waits.iter().any(|wait| *wait < Duration::from_millis(200)));
        assert!((1..100).all(|used| policy.wait(used) <= LONGEST_WAIT));
    }

    #[test]
    fn the_budget_is_shared_and_refilled_by_successes() {
        let policy = RetryPolicy::new(Duration::ZERO, u32::MAX);
        policy.succeeded();
        let retries = |policy: &RetryPolicy| {
            let mut attempts = Attempts::default();
            let mut count = 0;
            while run(policy.again(&mut attempts, Retry::Yes, None)) {
                count += 1;
            }
            count
        };
        assert_eq!(retries(&policy), BUDGET_TOKENS / RETRY_COST);
        assert_eq!(retries(&policy), 0);
        (0..10).for_each(|_| policy.succeeded());
        assert_eq!(retries(&policy), 2);
    }

    #[test]
    fn a_server_that_never_answered_is_not_tried_for_long() {
        let policy = RetryPolicy::new(Duration::ZERO, 8);
        let attempts_until_refused = |policy: &RetryPolicy| {
            let mut attempts = Attempts::default();
            loop {
                run(policy.begin(&mut attempts));
                if !run(policy.again(&mut attempts, Retry::Connect, None)) {
                    return attempts.used;
                }
            }
        };
        assert_eq!(attempts_until_refused(&policy), FIRST_CONTACT_ATTEMPTS);
        policy.succeeded();
        assert_eq!(attempts_until_refused(&policy), 8);
    }

    #[test]
    fn throttled_requests_narrow_the_gate_and_successes_widen_it() {
        let gate = Gate::new(16);
        let throttled = Attempts { throttled: true, ..Attempts::default() };
        for _ in 0..40 {
            run(gate.enter()).done(&throttled);
        }
        assert_eq!(gate.slots.available_permits(), 4);
        for _ in 0..SUCCESSES_PER_SLOT * 3 {
            run(gate.enter()).done(&Attempts::default());
        }
        assert_eq!(gate.slots.available_permits(), 7);
        for _ in 0..SUCCESSES_PER_SLOT * 30 {
            run(gate.enter()).done(&Attempts::default());
        }
        assert_eq!(gate.slots.available_permits(), 16);
    }

    #[test]
    fn a_gate_for_one_stays_open_under_throttling() {
        let gate = Gate::new(1);
        let throttled = Attempts { throttled: true, ..Attempts::default() };
        run(gate.enter()).done(&throttled);
        assert_eq!(gate.slots.available_permits(), 1);
    }
}
