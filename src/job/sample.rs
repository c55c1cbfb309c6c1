//! A source whose layout nobody named: its default is tried first, and where nothing lies there,
//! some keys of the source say how they are made.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::listing::Listed;
use super::{JobError, JobSpec, LayoutFrom};
use crate::layout::{ErrorOutput, Inferred, Layout, escape_control, infer};
use crate::progress::Progress;
use crate::store::{Peek, Store};

/// Requests that a sample of keys may cost.
const MOST_REQUESTS: usize = 32;
/// Folders of the top level that are looked into.
const TOP_FOLDERS: usize = 5;
/// Keys that are taken of one folder.
const KEYS_OF_FOLDER: usize = 8;
/// Keys that are named in a message.
const SHOWN: usize = 3;

/// The first listing of a window.
pub(super) struct FirstListing {
    pub listed: Listed,
    /// Who says that its layout is the one.
    pub layout_from: LayoutFrom,
}

/// Lists a window's hours, from `--look-back` before it to `--look-ahead` behind it.
pub(super) fn first_listing(
    spec: &JobSpec,
    store: &Store,
    progress: &Progress,
) -> Result<FirstListing, JobError> {
    let hours = spec.window.hours(spec.look_back, spec.look_ahead);
    let found = |found: usize| progress.found(found as u64);
    let listed =
        Listed::of(store, Arc::clone(&spec.layout), spec.errors(&spec.layout), hours, &found)?;
    let layout_from = spec.layout_from;
    let is_empty = !listed.holds_data() && listed.failed_prefixes().next().is_none();
    if layout_from != LayoutFrom::Default || !is_empty {
        return Ok(FirstListing { listed, layout_from });
    }
    // A sample that can't be had changes nothing: the day is empty then. What could not be delivered
    // lies under Firehose's own folders, whatever those of the data are.
    let mut keys = sample(store, "").unwrap_or_default();
    let errors = ErrorOutput::of(&spec.layout, spec.error_prefix.as_ref());
    keys.retain(|key| !errors.contains(key));
    let is_made_so = |layout: &Layout, key: &String| layout.exclusion(key, 1).is_none();
    if keys.iter().any(|key| is_made_so(&spec.layout, key)) {
        return Ok(FirstListing { listed, layout_from });
    }
    match infer(keys.iter().map(String::as_str)) {
        Inferred::One(prefix) => {
            let layout = Arc::new(Layout::new(prefix, spec.layout.zones().clone()));
            let before = listed.requests;
            let errors = spec.errors(&layout);
            let mut listed = Listed::of(store, layout, errors, hours, &found)?;
            listed.requests += before;
            Ok(FirstListing { listed, layout_from: LayoutFrom::Keys })
        }
        Inferred::Several(prefixes) => Err(JobError::LayoutUnclear {
            keys: shown(&keys),
            layouts: prefixes.iter().map(|prefix| format!("--layout '{prefix}'")).collect(),
        }),
        Inferred::Nothing => Ok(FirstListing { listed, layout_from }),
    }
}

/// Some keys below a prefix, from its beginning, its end and its middle: a bounded number of
/// requests, whatever its size.
pub(super) fn sample(store: &Store, below: &str) -> Option<Vec<String>> {
    let mut sampler = Sampler { store, peeks: BTreeMap::new() };
    let tops = sampler.peek(below)?.folders.clone();
    let step = tops.len().div_ceil(TOP_FOLDERS).max(1);
    let tops: Vec<String> = tops.into_iter().rev().step_by(step).collect();
    let ways: [fn(usize) -> usize; 3] = [|_| 0, |last| last, |last| last / 2];
    for way in ways {
        for top in &tops {
            let mut folder = top.clone();
            while let Some(peek) = sampler.peek(&folder) {
                let Some(last) = peek.folders.len().checked_sub(1) else { break };
                folder = peek.folders[way(last)].clone();
            }
        }
    }
    let some = |peek: Peek| {
        let step = peek.keys.len().div_ceil(KEYS_OF_FOLDER).max(1);
        peek.keys.into_iter().step_by(step)
    };
    let mut keys: Vec<String> = sampler.peeks.into_values().flat_map(some).collect();
    keys.sort();
    Some(keys)
}

struct Sampler<'a> {
    store: &'a Store,
    peeks: BTreeMap<String, Peek>,
}

impl Sampler<'_> {
    /// What lies right below a folder; `None` once enough was asked, or where it can't be had.
    fn peek(&mut self, folder: &str) -> Option<&Peek> {
        if !self.peeks.contains_key(folder) {
            if self.peeks.len() >= MOST_REQUESTS {
                return None;
            }
            let peek = self.store.peek(folder).ok()?;
            self.peeks.insert(folder.to_string(), peek);
        }
        self.peeks.get(folder)
    }
}

/// A few of the keys, as they may be shown.
pub(super) fn shown(keys: &[String]) -> Vec<String> {
    let step = keys.len().div_ceil(SHOWN).max(1);
    keys.iter().step_by(step).map(|key| escape_control(key).into_owned()).collect()
}
