//! Hours, by the layout → the objects to read, what was left out and why, and what could not be listed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::JobError;
use crate::layout::{self, ErrorOutput, Exclusion, Grain, KeyInfo, Layout, Place, Span, Step};
use crate::store::{ObjectMeta, Store, StoreError};
use crate::window::{Hour, HourRange};

/// How many keys are named for each reason why objects are left out.
const EXAMPLES: usize = 3;
/// Beyond so many prefixes at first, whole days are listed and not each hour: a request costs as
/// much as a thousand keys.
const MOST_HOURLY_PREFIXES: usize = 1_000;

/// A prefix that was listed.
#[derive(Clone, Debug)]
pub struct ListedPrefix {
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

/// An object, and when it was begun.
#[derive(Clone, Debug)]
pub struct Found {
    pub object: ObjectMeta,
    pub place: Place,
}

/// Everything that was listed so far.
#[derive(Debug)]
pub struct Listed {
    pub layout: Arc<Layout>,
    /// Where error output is among the objects.
    errors: Option<Arc<ErrorOutput>>,
    /// The hours whose objects are among `objects`.
    pub hours: HourRange,
    /// Sorted; no key lies below two of them.
    pub prefixes: Vec<ListedPrefix>,
    /// The objects to read, sorted by the bytes of their keys.
    pub objects: Vec<Found>,
    /// Objects that were listed along with them, and were begun in other hours.
    waiting: Vec<Found>,
    pub excluded: BTreeMap<&'static str, Excluded>,
    /// Objects whose name is not one that Firehose gives, by what is wrong with it. They are read.
    pub unparsed: BTreeMap<String, Excluded>,
    /// Entries of a folder that can't be objects. They count as failed.
    pub unreadable: Vec<String>,
    pub requests: u64,
    grain: Grain,
    /// The folders that began with a prefix, as they were asked for.
    folders: HashMap<String, Vec<String>>,
}

impl Listed {
    /// Lists these hours.
    ///
    /// # Errors
    /// Only what concerns the whole source; a prefix that fails alone is noted.
    pub fn of(
        store: &Store,
        layout: Arc<Layout>,
        errors: Option<Arc<ErrorOutput>>,
        hours: HourRange,
        progress: &dyn Fn(usize),
    ) -> Result<Listed, StoreError> {
        let mut listed = Listed {
            layout,
            errors,
            hours,
            prefixes: Vec::new(),
            objects: Vec::new(),
            waiting: Vec::new(),
            excluded: BTreeMap::new(),
            unparsed: BTreeMap::new(),
            unreadable: Vec::new(),
            requests: 0,
            grain: Grain::Hour,
            folders: HashMap::new(),
        };
        let mut prefixes = listed.prefixes_of(store, &hours)?;
        if prefixes.len() > MOST_HOURLY_PREFIXES.max(hours.len()) {
            listed.grain = Grain::Day;
            prefixes = listed.prefixes_of(store, &hours)?;
        }
        listed.list(store, prefixes, progress)?;
        Ok(listed)
    }

    /// Lists one more hour, before or behind those that were listed, and adds what is found.
    ///
    /// # Errors
    /// As for [`Listed::of`].
    pub fn extend(&mut self, store: &Store, back: bool) -> Result<Hour, StoreError> {
        let hour = if back { self.hours.extend_back() } else { self.hours.extend_ahead() };
        let prefixes = self.prefixes_of(store, &HourRange { first: hour, last: hour })?;
        self.list(store, prefixes, &|_| ())?;
        Ok(hour)
    }

    /// The prefixes that hold the objects of these hours.
    fn prefixes_of(&mut self, store: &Store, hours: &HourRange) -> Result<Vec<String>, StoreError> {
        let spelled = self.layout.spell(hours, self.grain);
        let mut prefixes =
            layout::prefixes_of(spelled, &mut |parent| self.known_folders(store, parent))?;
        if let Some(errors) = self.errors.clone() {
            let spelled = errors.spell(hours, self.grain);
            prefixes.extend(layout::prefixes_of(spelled, &mut |parent| {
                let mut folders = self.known_folders(store, parent)?;
                folders.retain(|folder| ErrorOutput::may_hold_errors(folder));
                Ok(folders)
            })?);
            prefixes.sort();
            // What lies below another prefix is listed with that one.
            prefixes.dedup_by(|below, prefix| below.starts_with(prefix.as_str()));
        }
        Ok(prefixes)
    }

    /// The folders that begin with `parent`, asked for once.
    fn known_folders(&mut self, store: &Store, parent: &str) -> Result<Vec<String>, StoreError> {
        if let Some(folders) = self.folders.get(parent) {
            return Ok(folders.clone());
        }
        let folders = self.folders_of(store, parent)?;
        self.folders.insert(parent.to_string(), folders.clone());
        Ok(folders)
    }

    /// The folders that begin with `parent`. Where they can't be listed, that is noted.
    fn folders_of(&mut self, store: &Store, parent: &str) -> Result<Vec<String>, StoreError> {
        self.requests += 1;
        match store.folders(parent) {
            Ok(folders) => Ok(folders),
            Err(error) if error.concerns_whole_source() => Err(error),
            Err(error) => {
                let failure = Some(Failure::from(&error));
                let prefix = parent.to_string();
                self.prefixes.push(ListedPrefix { prefix, objects: 0, bytes: 0, failure });
                Ok(Vec::new())
            }
        }
    }

    /// Lists those prefixes that were not listed yet.
    fn list(
        &mut self,
        store: &Store,
        mut prefixes: Vec<String>,
        progress: &dyn Fn(usize),
    ) -> Result<(), StoreError> {
        let is_listed = |prefix: &String, known: &ListedPrefix| match known.failure {
            None => prefix.starts_with(&known.prefix),
            Some(_) => *prefix == known.prefix,
        };
        prefixes.retain(|prefix| !self.prefixes.iter().any(|known| is_listed(prefix, known)));
        let listings = store.list(&prefixes, progress);
        for (prefix, listing) in prefixes.into_iter().zip(listings) {
            let mut listed = ListedPrefix { prefix, objects: 0, bytes: 0, failure: None };
            match listing {
                Err(error) if error.concerns_whole_source() => return Err(error),
                Err(error) => listed.failure = Some(Failure::from(&error)),
                Ok(mut listing) => {
                    // `4/1` holds what was listed below `4/15`.
                    let known = self.prefixes.iter().filter(|known| {
                        known.failure.is_none() && known.prefix.starts_with(&listed.prefix)
                    });
                    for known in known {
                        listing.objects.retain(|object| !object.key.starts_with(&known.prefix));
                        listing.unreadable.retain(|entry| !entry.starts_with(&known.prefix));
                    }
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
        self.prefixes.sort_by(|a, b| a.prefix.cmp(&b.prefix));
        self.take_those_of_the_hours();
        Ok(())
    }

    fn sort_in(&mut self, object: ObjectMeta) {
        let exclusion = match self.layout.exclusion(&object.key, object.bytes) {
            Some(Exclusion::ErrorOutput) if self.errors.is_some() => None,
            exclusion => exclusion,
        };
        if let Some(exclusion) = exclusion {
            note(self.excluded.entry(Exclusion::reason(exclusion)).or_default(), &object.key);
            return;
        }
        let place = self.read(&object.key).place;
        self.waiting.push(Found { object, place });
    }

    /// What a key says, be it one of data or of errors.
    fn read(&self, key: &str) -> KeyInfo {
        match &self.errors {
            Some(errors) if errors.contains(key) => errors.read(key),
            _ => self.layout.read(key),
        }
    }

    /// Of the objects that wait, takes those that may have been begun in the hours listed by now.
    fn take_those_of_the_hours(&mut self) {
        let hours = Span::of_hours(&self.hours);
        let (taken, waiting): (Vec<Found>, Vec<Found>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|one| one.place.may_be_in(hours));
        self.waiting = waiting;
        for Found { object, .. } in &taken {
            if let Err(problem) = self.read(&object.key).name {
                note(self.unparsed.entry(problem.to_string()).or_default(), &object.key);
            }
        }
        self.objects.extend(taken);
        self.objects.sort_by(|a, b| a.object.key.as_bytes().cmp(b.object.key.as_bytes()));
    }

    /// What is never read, by reason; those of other hours are among them.
    pub fn excluded(&self) -> BTreeMap<&'static str, Excluded> {
        let mut excluded = self.excluded.clone();
        if !self.waiting.is_empty() {
            let others = excluded.entry(Exclusion::OtherHours.reason()).or_default();
            self.waiting.iter().for_each(|found| note(others, &found.object.key));
        }
        excluded
    }

    /// The keys of objects that may have been begun in this hour or later.
    pub fn keys_from(&self, hour: Option<Hour>) -> impl Iterator<Item = String> {
        let last = self.hours.last;
        let hours = hour.filter(|first| *first <= last);
        let span = hours.map(|first| Span::of_hours(&HourRange { first, last }));
        let is_in = move |found: &&Found| span.is_some_and(|span| found.place.may_be_in(span));
        self.objects.iter().filter(is_in).map(|found| found.object.key.clone())
    }

    /// # Errors
    /// [`JobError::NothingListed`] where not one of the prefixes could be listed.
    pub fn check_any(&self) -> Result<(), JobError> {
        match self.failed_prefixes().next() {
            Some((first, failure)) if self.prefixes.iter().all(|one| one.failure.is_some()) => {
                Err(JobError::NothingListed {
                    prefixes: self.prefixes.len(),
                    prefix: first.prefix.clone(),
                    reason: failure.reason.clone(),
                })
            }
            _ => Ok(()),
        }
    }

    /// True where an object was found that is no error output.
    pub fn holds_data(&self) -> bool {
        let is_error = |key: &str| self.errors.as_ref().is_some_and(|errors| errors.contains(key));
        self.objects.iter().any(|found| !is_error(&found.object.key))
    }

    /// Objects that were begun in this hour or close by.
    pub fn objects_of(&self, hour: Hour) -> Vec<ObjectMeta> {
        let hour = Span::of_hours(&HourRange { first: hour, last: hour });
        let near = self.objects.iter().filter(|found| found.place.tells_of(hour));
        near.map(|found| found.object.clone()).collect()
    }

    /// True where no object of this hour was found, although it was listed.
    pub fn is_empty_at(&self, hour: Hour) -> bool {
        let only = HourRange { first: hour, last: hour };
        let span = Span::of_hours(&only);
        if self.objects.iter().any(|found| found.place.may_be_in(span)) {
            return false;
        }
        let spelled = self.layout.spell(&only, self.grain);
        !self.failed_prefixes().any(|(failed, _)| {
            spelled.iter().any(|spelled| {
                let (Step::List(prefix) | Step::Folders { parent: prefix }) = spelled.step();
                prefix.starts_with(&failed.prefix) || failed.prefix.starts_with(&prefix)
            })
        })
    }

    /// Notes objects as they were read, where that is not as they were listed.
    pub fn replace(&mut self, read: &[ObjectMeta]) {
        for now in read {
            let same = |found: &Found| found.object.key.as_bytes().cmp(now.key.as_bytes());
            if let Ok(at) = self.objects.binary_search_by(same) {
                self.objects[at].object = now.clone();
            }
        }
    }

    pub fn objects_listed(&self) -> u64 {
        let excluded: u64 = self.excluded.values().map(|excluded| excluded.objects).sum();
        let found = self.objects.len() + self.waiting.len() + self.unreadable.len();
        found as u64 + excluded
    }

    pub fn bytes(&self) -> u64 {
        self.objects.iter().map(|found| found.object.bytes).sum()
    }

    pub fn failed_prefixes(&self) -> impl Iterator<Item = (&ListedPrefix, &Failure)> {
        self.prefixes.iter().filter_map(|listed| Some((listed, listed.failure.as_ref()?)))
    }
}

/// The two parts of an entry of [`Listed::unreadable`].
pub(super) fn name_and_reason(entry: &str) -> (String, String) {
    match entry.rsplit_once(": ") {
        Some((name, reason)) => (name.to_string(), reason.to_string()),
        None => (entry.to_string(), "no object can have this name".to_string()),
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
