//! What a delivery stream did since the pipeline began, for whoever looks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::objects::Positions;

#[derive(Debug, Default)]
pub struct Counts {
    pub delivered: AtomicU64,
    pub failed: AtomicU64,
    pub dropped: AtomicU64,
    pub objects: AtomicU64,
    /// Of objects, as they are stored.
    pub bytes: AtomicU64,
    pub buffered: AtomicU64,
    /// Puts that failed and were tried again.
    pub retries: AtomicU64,
    /// Arrival of the oldest record that waits; 0 where none does.
    pub oldest_us: AtomicI64,
    positions: Mutex<Positions>,
}

impl Counts {
    pub fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }

    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    pub fn set_positions(&self, positions: &Positions) {
        *self.lock() = positions.clone();
    }

    pub fn positions(&self) -> BTreeMap<u32, u64> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Positions> {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
