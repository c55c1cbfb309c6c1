//! The window → its hours and their objects, as many as hold records of the day.
//!
//! The prefix hour is the arrival of an object's *oldest* record, so the listing begins before
//! the day and ends after it. While the outermost hour still holds records of the day, one more
//! is listed. To know that, the outermost hours are read first; what their objects gave is kept
//! where they had no rows (the usual case), so that nothing is read twice but objects that
//! straddle midnight.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;

use super::gather::{Gathered, Run, gather};
use super::listing::Listed;
use super::read::Finding;
use super::{JobError, JobSpec, learning};
use crate::progress::{Phase, Progress};
use crate::store::{ObjectMeta, Store};
use crate::window::{Hour, HourRange};

/// What there is to read.
pub(super) struct Survey {
    pub listed: Listed,
    pub hours: HourRange,
    /// The last hour that `--max-late` allows still held records of the day: there may be more.
    pub cut: bool,
    /// What objects without rows of the day gave; they are not among `objects`.
    pub rowless: Gathered,
    /// Still to be read, sorted by key.
    pub objects: Vec<ObjectMeta>,
}

/// Lists the hours of the window, and more of them while the edges hold records of it.
pub(super) fn survey(
    spec: &JobSpec,
    store: &Store,
    findings: &mut HashMap<String, Finding>,
    progress: &Progress,
    interrupted: &AtomicBool,
) -> Result<Survey, JobError> {
    let mut hours = spec.window.hours(spec.look_back, spec.look_ahead);
    let limit = spec.hours_at_most();
    let mut listed = Listed::default();
    progress.phase(Phase::Listing, 0, 0);
    let all: Vec<Hour> = hours.iter().collect();
    listed.add(store, &all, &|found| progress.found(found as u64))?;
    let mut edges = Edges { rowless: Gathered::default(), settled: HashSet::new() };
    let mut look = |hour: Hour, listed: &Listed| {
        edges.hold_rows(spec, store, listed, hour, findings, progress, interrupted)
    };
    let mut ends = vec![(hours.first, true)];
    if hours.last != hours.first {
        ends.push((hours.last, false));
    }
    let mut cut = false;
    for (mut hour, back) in ends {
        while look(hour, &listed)? {
            if !limit.contains(if back { hour.prev() } else { hour.next() }) {
                // An hour of the day itself holds its records: that says nothing of others.
                let beyond_day = hour.start() >= spec.window.end_utc
                    || hour.next().start() <= spec.window.start_utc;
                cut |= beyond_day;
                break;
            }
            hour = if back { hours.extend_back() } else { hours.extend_ahead() };
            listed.add(store, &[hour], &|_| ())?;
        }
    }
    let Edges { rowless, settled } = edges;
    let objects =
        listed.objects.iter().filter(|object| !settled.contains(&object.key)).cloned().collect();
    Ok(Survey { listed, hours, cut, rowless, objects })
}

/// The outermost hours as they were read.
struct Edges {
    rowless: Gathered,
    settled: HashSet<String>,
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
        let objects = listed.objects[listed.objects_of(hour)].to_vec();
        if objects.is_empty() {
            return Ok(false);
        }
        let gathered = learning(findings, |findings| {
            let run = Run::new(spec, store, objects.clone(), findings, progress).survey();
            gather(&run, interrupted)
        })?;
        let mut any = false;
        for (object, rows) in objects.iter().zip(&gathered.rows) {
            any |= rows.is_some_and(|rows| rows > 0);
            if *rows == Some(0) {
                self.settled.insert(object.key.clone());
            }
        }
        self.rowless.join_rowless(gathered);
        Ok(any)
    }
}
