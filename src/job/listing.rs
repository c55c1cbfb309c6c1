//! Hours → the objects to read, what was left out and why, and what could not be listed.

use std::collections::BTreeMap;

use crate::layout::{self, Exclusion};
use crate::store::{ObjectMeta, Store, StoreError};
use crate::window::Hour;

/// How many keys are named for each reason why objects are left out.
const EXAMPLES: usize = 3;

/// One hour's prefix.
#[derive(Clone, Debug)]
pub struct ListedPrefix {
    pub hour: Hour,
    pub prefix: String,
    pub objects: u64,
    pub bytes: u64,
    /// Why it could not be listed.
    pub failure: Option<Failure>,
}

/// A place that could not be got, in words.
#[derive(Clone, Debug)]
pub struct Failure {
    pub kind: &'static str,
    pub reason: String,
}

impl From<&StoreError> for Failure {
    fn from(error: &StoreError) -> Self {
        Failure { kind: error.kind(), reason: error.to_string() }
    }
}

/// Objects left out for one reason.
#[derive(Clone, Debug, Default)]
pub struct Excluded {
    pub objects: u64,
    pub examples: Vec<String>,
}

/// Everything that was listed so far.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// In the order of the hours.
    pub prefixes: Vec<ListedPrefix>,
    /// The objects to read, sorted by the bytes of their keys.
    pub objects: Vec<ObjectMeta>,
    pub excluded: BTreeMap<&'static str, Excluded>,
    /// Objects whose name is not one that Firehose gives, by what is wrong with it. They are read.
    pub unparsed: BTreeMap<String, Excluded>,
    /// Entries of a folder that can't be objects. They count as failed.
    pub unreadable: Vec<String>,
    pub requests: u64,
}

impl Listed {
    /// Lists these hours and adds what is found.
    ///
    /// # Errors
    /// Only what concerns the whole source; a prefix that fails alone is noted.
    pub fn add(
        &mut self,
        store: &Store,
        hours: &[Hour],
        progress: &dyn Fn(usize),
    ) -> Result<(), StoreError> {
        let prefixes: Vec<String> = hours.iter().map(|&hour| layout::prefix_of(hour)).collect();
        let listings = store.list(&prefixes, progress);
        for ((&hour, prefix), listing) in hours.iter().zip(prefixes).zip(listings) {
            let mut listed = ListedPrefix { hour, prefix, objects: 0, bytes: 0, failure: None };
            match listing {
                Err(error) if error.concerns_whole_source() => return Err(error),
                Err(error) => listed.failure = Some(Failure::from(&error)),
                Ok(listing) => {
                    self.requests += listing.requests;
                    self.unreadable.extend(listing.unreadable);
                    for object in listing.objects {
                        listed.objects += 1;
                        listed.bytes += object.bytes;
                        self.sort_in(object);
                    }
                }
            }
            self.prefixes.push(listed);
        }
        self.prefixes.sort_by_key(|listed| listed.hour);
        self.objects.sort_by(|a, b| a.key.as_bytes().cmp(b.key.as_bytes()));
        Ok(())
    }

    fn sort_in(&mut self, object: ObjectMeta) {
        if let Some(exclusion) = layout::exclusion(&object.key, object.bytes) {
            note(self.excluded.entry(Exclusion::reason(exclusion)).or_default(), &object.key);
            return;
        }
        if let Err(problem) = layout::parse_key(&object.key).name {
            note(self.unparsed.entry(problem.to_string()).or_default(), &object.key);
        }
        self.objects.push(object);
    }

    /// Objects of this hour, as a range of `objects`.
    pub fn objects_of(&self, hour: Hour) -> std::ops::Range<usize> {
        let prefix = layout::prefix_of(hour);
        let begin = self.objects.partition_point(|o| o.key.as_bytes() < prefix.as_bytes());
        let len = self.objects[begin..].iter().take_while(|o| o.key.starts_with(&prefix)).count();
        begin..begin + len
    }

    /// Notes objects as they were read, where that is not as they were listed.
    pub fn replace(&mut self, read: &[ObjectMeta]) {
        for now in read {
            let place = self.objects.binary_search_by(|o| o.key.as_bytes().cmp(now.key.as_bytes()));
            if let Ok(at) = place {
                self.objects[at] = now.clone();
            }
        }
    }

    pub fn objects_listed(&self) -> u64 {
        let excluded: u64 = self.excluded.values().map(|excluded| excluded.objects).sum();
        self.objects.len() as u64 + excluded + self.unreadable.len() as u64
    }

    pub fn bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.bytes).sum()
    }

    pub fn failed_prefixes(&self) -> impl Iterator<Item = (&ListedPrefix, &Failure)> {
        self.prefixes.iter().filter_map(|listed| Some((listed, listed.failure.as_ref()?)))
    }
}

fn note(excluded: &mut Excluded, key: &str) {
    excluded.objects += 1;
    if excluded.examples.len() < EXAMPLES {
        excluded.examples.push(key.to_string());
    }
}

/// The hours nearest to `around` that hold objects, one before and one after where there are any.
/// Looks at folders only: a handful of requests, whatever the size of the source.
pub fn nearest_hours(
    store: &Store,
    around: Hour,
) -> Result<(Option<Hour>, Option<Hour>), StoreError> {
    Ok((nearest(store, "", around, true)?, nearest(store, "", around, false)?))
}

/// The last hour at or before `around` (or the first one behind it) with objects, below `folder`.
fn nearest(
    store: &Store,
    folder: &str,
    around: Hour,
    before: bool,
) -> Result<Option<Hour>, StoreError> {
    let mut folders: Vec<(Hour, Hour, String)> = store
        .folders(folder)?
        .into_iter()
        .filter_map(|name| {
            let hours = layout::hours_of_folder(&name)?;
            Some((hours.first, hours.last, name))
        })
        .filter(|(first, last, _)| if before { *first <= around } else { *last > around })
        .collect();
    folders.sort();
    if before {
        folders.reverse();
    }
    for (first, last, name) in folders {
        if first == last {
            return Ok(Some(first));
        }
        if let Some(hour) = nearest(store, &name, around, before)? {
            return Ok(Some(hour));
        }
    }
    Ok(None)
}
