//! Bytes in flight: the size of a body goes in, a permit comes out that gives the bytes back when
//! it is dropped. This side is for folders and blocks the thread; S3 waits in its own runtime.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

/// The right to hold a body's bytes. They return to the budget when this is dropped.
#[derive(Debug, Default)]
pub struct Permit(Held);

#[derive(Debug, Default)]
enum Held {
    #[default]
    Nothing,
    Folder {
        budget: Arc<ByteBudget>,
        bytes: u64,
    },
    Remote {
        _permit: OwnedSemaphorePermit,
    },
}

impl Permit {
    pub(super) fn remote(permit: OwnedSemaphorePermit) -> Permit {
        Permit(Held::Remote { _permit: permit })
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Held::Folder { budget, bytes } = &self.0 {
            budget.give_back(*bytes);
        }
    }
}

/// At most `limit` bytes are out at a time, except that one body may always be out: an object
/// larger than the limit is read alone.
#[derive(Debug)]
pub(super) struct ByteBudget {
    limit: u64,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct State {
    out: u64,
    /// Threads that wait for bytes. Waking nobody is a system call too.
    waiting: usize,
    closed: bool,
}

impl ByteBudget {
    pub(super) fn new(limit: u64) -> Arc<ByteBudget> {
        Arc::new(ByteBudget { limit, state: Mutex::default(), returned: Condvar::new() })
    }

    /// Waits until `bytes` fit. `None` when the budget was closed.
    pub(super) fn take(self: &Arc<Self>, bytes: u64) -> Option<Permit> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.closed && state.out > 0 && state.out.saturating_add(bytes) > self.limit {
            state.waiting += 1;
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        if state.closed {
            return None;
        }
        state.out += bytes;
        Some(Permit(Held::Folder { budget: Arc::clone(self), bytes }))
    }

    /// Wakes everyone who waits; nobody gets bytes any more.
    pub(super) fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.returned.notify_all();
    }

    fn give_back(&self, bytes: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.out -= bytes;
        if state.waiting > 0 {
            // One return can make room for several small bodies.
            self.returned.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn the_sum_out_never_passes_the_limit() {
        let budget = ByteBudget::new(100);
        let (out, most) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for worker in 0..8_u64 {
                let (budget, out, most) = (&budget, &out, &most);
                scope.spawn(move || {
                    for round in 0..200 {
                        let bytes = (worker * 7 + round * 13) % 60 + 1;
                        let permit = budget.take(bytes).unwrap();
                        let now = out.fetch_add(bytes, Ordering::SeqCst) + bytes;
                        most.fetch_max(now, Ordering::SeqCst);
                        thread::yield_now();
                        out.fetch_sub(bytes, Ordering::SeqCst);
                        drop(permit);
                    }
                });
            }
        });
        let most = most.load(Ordering::SeqCst);
        assert!((60..=100).contains(&most), "{most}");
    }

    #[test]
    fn a_body_larger_than_the_limit_goes_alone() {
        let budget = ByteBudget::new(10);
        let big = budget.take(50).unwrap();
        let waiting = thread::spawn({
            let budget = Arc::clone(&budget);
            move || budget.take(1).map(drop)
        });
        thread::sleep(std::time::Duration::from_millis(30));
        assert!(!waiting.is_finished());
        drop(big);
        assert_eq!(waiting.join().unwrap(), Some(()));
    }

    #[test]
    fn closing_wakes_those_who_wait() {
        let budget = ByteBudget::new(10);
        let _held = budget.take(10).unwrap();
        let waiting = thread::spawn({
            let budget = Arc::clone(&budget);
            move || budget.take(1).is_none()
        });
        thread::sleep(std::time::Duration::from_millis(30));
        budget.close();
        assert!(waiting.join().unwrap());
    }
}
