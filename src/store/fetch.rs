//! Bodies in the order of a list: objects go in, `(index, body)` comes out, each index once and
//! in rising order, whoever pulls.
//!
//! A thread should drop a body before it pulls the next one: bodies that are held count against
//! the bytes in flight, and the next one waits for them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::budget::ByteBudget;
use super::folder::FolderStore;
use super::s3::ReadAhead;
use super::{Body, FetchLimits, ObjectMeta, StoreError};

/// Larger files are read as streams: block by block into one buffer that stays in the processor's
/// cache, where a whole file would go through memory and fault in new pages.
const WHOLE_FILE_BYTES: u64 = 1 << 20;

/// The bodies of a list of objects. Dropping it stops what is under way.
#[derive(Debug)]
pub struct Fetch(Kind);

#[derive(Debug)]
enum Kind {
    Folder(FolderFetch),
    S3(ReadAhead),
}

impl Fetch {
    pub(super) fn folder(
        store: FolderStore,
        objects: Arc<[ObjectMeta]>,
        limits: FetchLimits,
    ) -> Fetch {
        let whole_bytes = limits.whole_bytes.min(WHOLE_FILE_BYTES);
        Fetch(Kind::Folder(FolderFetch {
            store,
            objects,
            limits: FetchLimits { whole_bytes, ..limits },
            budget: ByteBudget::new(limits.bytes_in_flight),
            next: Mutex::new(0),
            cancelled: AtomicBool::new(false),
        }))
    }

    pub(super) fn remote(ahead: ReadAhead) -> Fetch {
        Fetch(Kind::S3(ahead))
    }

    /// The next index and its body; `None` when all were given, or after [`Fetch::cancel`].
    /// Blocks. For a folder the calling thread reads the file itself.
    pub fn next(&self) -> Option<(usize, Result<Body, StoreError>)> {
        match &self.0 {
            Kind::Folder(folder) => folder.next(),
            Kind::S3(ahead) => ahead.next(),
        }
    }

    /// Stops everything that is under way; those who wait get `None` at once.
    pub fn cancel(&self) {
        match &self.0 {
            Kind::Folder(folder) => folder.cancel(),
            Kind::S3(ahead) => ahead.cancel(),
        }
    }
}

#[derive(Debug)]
struct FolderFetch {
    store: FolderStore,
    objects: Arc<[ObjectMeta]>,
    limits: FetchLimits,
    budget: Arc<ByteBudget>,
    /// Held while bytes are waited for: they are given in the order of the objects, or a later
    /// one could take those that an earlier one needs, and then wait for it for ever.
    next: Mutex<usize>,
    cancelled: AtomicBool,
}

impl FolderFetch {
    fn next(&self) -> Option<(usize, Result<Body, StoreError>)> {
        if self.cancelled.load(Ordering::Relaxed) {
            return None;
        }
        let mut next = self.next.lock().expect("nobody panics while it takes its turn");
        let index = *next;
        let object = self.objects.get(index)?;
        let permit = self.budget.take(self.limits.charge(object.bytes))?;
        *next += 1;
        drop(next);
        let content = self.store.read(object, self.limits.whole_bytes);
        let body = content.map(|content| Body::new(object.bytes, content, permit));
        Some((index, body))
    }

    fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.budget.close();
    }
}
