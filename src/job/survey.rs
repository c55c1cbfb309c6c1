//! The window → its hours and their objects, as many as hold records of the day.
//!
//! The prefix hour is the arrival of an object's *oldest* record, so the listing begins before
//! the day and ends after it. While the outermost hour still holds records of the day, one more
//! is listed. To know that, the outermost hours are read first; what their objects gave is kept
//! where they had no rows (the usual case), so that nothing is read twice but objects that
//! straddle midnight.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::gather::{Gathered, Run, gather};
use super::listing::Listed;
use super::read::Finding;
use super::sample::{FirstListing, first_listing};
use super::{JobError, JobSpec, LayoutFrom, learning};
use crate::layout::Layout;
use crate::progress::{Phase, Progress};
use crate::store::{ObjectMeta, Store};
use crate::window::Hour;

/// What there is to read.
pub(super) struct Survey {
    pub listed: Listed,
    /// Who says that the layout is this one.
    pub layout_from: LayoutFrom,
    /// The last hour that `--max-late` allows still held records of the day: there may be more.
    pub cut: bool,
    /// What objects without rows of the day gave; they are not among `objects`.
    pub rowless: Gathered,
    /// Still to be read, sorted by key.
    pub objects: Vec<ObjectMeta>,
}

impl Survey {
    /// The layout, where keys of the source told it.
    pub fn told_layout(&self) -> Option<Arc<Layout>> {
        (self.layout_from == LayoutFrom::Keys).then(|| Arc::clone(&self.listed.layout))
    }
}

/// Lists the hours of the window, and more of them while the edges hold records of it.
pub(super) fn survey(
    spec: &JobSpec,
    store: &Store,
    findings: &mut HashMap<String, Finding>,
    progress: &Progress,
    interrupted: &AtomicBool,
) -> Result<Survey, JobError> {
    let limit = spec.hours_at_most();
    progress.phase(Phase::Listing, 0, 0);
    let FirstListing { mut listed, layout_from } = first_listing(spec, store, progress)?;
    let mut edges = Edges::default();
    let mut look = |hour: Hour, listed: &Listed| {
        edges.hold_rows(spec, store, listed, hour, findings, progress, interrupted)
    };
    let mut looked: HashMap<Hour, bool> = HashMap::new();
    let ends = [(listed.hours.first, true), (listed.hours.last, false)];
    let mut cut = false;
    for (mut hour, back) in ends {
        // Of a listing of one hour, both ends are the same.
        while match looked.get(&hour) {
            Some(held) => *held,
            None => *looked.entry(hour).or_insert(look(hour, &listed)?),
        } {
            if !limit.contains(if back { hour.prev() } else { hour.next() }) {
                // An hour of the day itself holds its records: that says nothing of others.
                let beyond_day = hour.start() >= spec.window.end_utc
                    || hour.next().start() <= spec.window.start_utc;
                cut |= beyond_day;
                break;
            }
            hour = listed.extend(store, back)?;
        }
    }
    let Edges { rowless, rows } = edges;
    let settled = |key: &str| rows.get(key) == Some(&Some(0));
    let found = listed.objects.iter().map(|found| &found.object);
    let objects = found.filter(|object| !settled(&object.key)).cloned().collect();
    Ok(Survey { listed, layout_from, cut, rowless, objects })
}

/// The outermost hours as they were read.
#[derive(Default)]
struct Edges {
    rowless: Gathered,
    /// Rows of the day in each object that was read; `None` where it failed.
    rows: HashMap<String, Option<u64>>,
}

impl Edges {
    /// Reads the objects of an hour; true where any has rows of the day.
    #[allow(clippy::too_many_arguments)]
    fn hold_rows(
        &mut self,
        spec: &JobSpec,
        store: &Store,
        listed: &Listed,
        hour: Hour,
        findings: &mut HashMap<String, Finding>,
        progress: &Progress,
        interrupted: &AtomicBool,
    ) -> Result<bool, JobError> {
        let of_hour = listed.objects_of(hour);
        // Where a clock went back, an object can belong to more than one hour.
        let new = of_hour.iter().filter(|object| !self.rows.contains_key(&object.key));
        let new: Vec<ObjectMeta> = new.cloned().collect();
        if !new.is_empty() {
            // Those with rows of the day are read again, and the others serve the day beside it.
            store.want(new.iter().map(|object| object.key.clone()));
            let gathered = learning(findings, |findings| {
                let run = Run::new(spec, &listed.layout, store, new.clone(), findings, progress);
                gather(&run.survey(), interrupted)
            })?;
            let keys = new.iter().map(|object| object.key.clone());
            self.rows.extend(keys.zip(gathered.rows.iter().copied()));
            self.rowless.join_rowless(gathered);
        }
        let mut rows = of_hour.iter().map(|object| self.rows.get(&object.key).copied().flatten());
        Ok(rows.any(|rows| rows.is_some_and(|rows| rows > 0)))
    }
}
