//! The last two hops: objects that hold marked records, and the records that the reading side gives of
//! them. Every object that came since sending is looked into once.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, TimeDelta, Utc};

use super::TraceError;
use super::hops::{Hop, Trace};
use super::mark::{Mark, Marked};
use crate::codec::{Decoder, Input, Step};
use crate::job::{JobError, JobSpec, PrintError, Printing, plan, print_key};
use crate::progress::{Mode, Progress};
use crate::store::{Content, ObjectMeta, SourceUrl, Store, StoreOptions};

/// A source, and how it is read.
pub struct Reading {
    /// Its window begins when the first record was sent.
    pub spec: JobSpec,
    pub store: Store,
    /// In place of `store`, a folder that was not there when it was looked for: nothing was delivered yet.
    pub later: Option<PathBuf>,
    /// As it is shown.
    pub source: String,
}

/// What was found in a source so far.
#[derive(Default)]
pub struct Objects {
    looked_into: HashSet<(String, Option<String>, Option<DateTime<Utc>>)>,
    /// The first few keys of objects with marked records.
    pub keys: Vec<String>,
    /// Objects that came since sending.
    pub objects: u64,
    /// What could not be read, once each.
    pub problems: BTreeMap<String, String>,
}

/// Clocks of this machine and of the bucket may differ by so much.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(5);
/// Keys that are named.
const KEYS: usize = 3;
/// The end of a block that is looked at again with the next one: a record may be cut.
const OVERLAP_BYTES: usize = 128;
/// How a Parquet file begins: its records are compressed one by one.
const PARQUET: &[u8] = b"PAR1";

impl Objects {
    /// Lists the source, and looks into what is new.
    ///
    /// # Errors
    /// Only what concerns the whole source. What fails for one object is kept in `problems`, and tried
    /// again the next time.
    pub fn look(
        &mut self,
        reading: &mut Reading,
        mark: &Mark,
        trace: &mut Trace,
        interrupted: &AtomicBool,
    ) -> Result<(), TraceError> {
        if let Some(folder) = &reading.later {
            if !folder.is_dir() {
                let problem = format!("the folder {} is not there", folder.display());
                self.problems.insert(reading.source.clone(), problem);
                return Ok(());
            }
            let url = SourceUrl::Folder(folder.clone());
            reading.store = Store::open(&url, &StoreOptions::default()).map_err(JobError::from)?;
            reading.later = None;
        }
        let reading = &*reading;
        let Reading { spec, store, source, .. } = reading;
        let listed = match plan(spec, source, store, &Progress::new(Mode::Quiet)) {
            Ok(plan) => plan.objects,
            Err(JobError::Store(error)) if error.concerns_whole_source() => {
                return Err(JobError::Store(error).into());
            }
            // Where nothing was delivered yet, there is no layout to be seen either.
            Err(error) => {
                self.problems.insert(source.clone(), error.to_string());
                return Ok(());
            }
        };
        self.problems.clear();
        for object in listed {
            if interrupted.load(Ordering::Relaxed) {
                return Ok(());
            }
            let old = object.last_modified_utc.is_some_and(|at| at < mark.time_utc - CLOCKS_DIFFER);
            let id = (object.key.clone(), object.etag.clone(), object.last_modified_utc);
            if old || self.looked_into.contains(&id) {
                continue;
            }
            match self.look_into(reading, &object, mark, trace, interrupted) {
                Ok(()) => {
                    self.objects += 1;
                    self.looked_into.insert(id);
                }
                Err(problem) => drop(self.problems.insert(object.key, problem)),
            }
        }
        Ok(())
    }

    fn look_into(
        &mut self,
        reading: &Reading,
        object: &ObjectMeta,
        mark: &Mark,
        trace: &mut Trace,
        interrupted: &AtomicBool,
    ) -> Result<(), String> {
        let (numbers, is_parquet) = self.numbers(reading, object, mark)?;
        if numbers.is_empty() && !is_parquet {
            return Ok(());
        }
        let read = read_back(reading, object, mark, interrupted)?;
        if !numbers.is_empty() || !read.is_empty() {
            self.keys.extend((self.keys.len() < KEYS).then(|| object.key.clone()));
        }
        let in_object = match is_parquet {
            true => read.iter().map(|record| record.n).collect(),
            false => numbers,
        };
        if let Some(seen) = trace.seen(Hop::Object) {
            in_object.iter().for_each(|n| seen.add(*n, object.last_modified_utc));
        }
        for record in read {
            if let Some(sent_utc) = record.sent_utc() {
                trace.sent_utc.entry(record.n).or_insert(sent_utc);
            }
            if let Some(seen) = trace.seen(Hop::Read) {
                seen.add(record.n, Some(Utc::now()));
            }
        }
        Ok(())
    }

    /// The numbers of marked records in an object's text; and whether it is a file of columns, which
    /// hides them.
    fn numbers(
        &self,
        reading: &Reading,
        object: &ObjectMeta,
        mark: &Mark,
    ) -> Result<(Vec<u32>, bool), String> {
        let body = reading.store.get(object).map_err(|error| error.to_string())?;
        let (content, _permit) = body.into_parts();
        let input = match content {
            Content::Whole(bytes) if bytes.starts_with(PARQUET) => return Ok((Vec::new(), true)),
            Content::Whole(bytes) => Input::Whole(bytes),
            Content::Stream(stream) => Input::Stream(stream),
        };
        let mut decoder = Decoder::new(input, reading.spec.decode);
        let (mut numbers, mut text) = (Vec::new(), Vec::new());
        loop {
            let step = decoder.next_block(&mut text).map_err(|error| error.to_string())?;
            if matches!(step, Step::End) {
                numbers.extend(mark.numbers_in(&text));
                return Ok((numbers, false));
            }
            // Between two records, so that no mark is parted from its number.
            let keep = text.len().saturating_sub(OVERLAP_BYTES);
            // Text without any end of a record is not kept either: no mark is as long.
            let cut = text[..keep].iter().rposition(|byte| *byte == b'}').map_or(keep, |at| at + 1);
            numbers.extend(mark.numbers_in(&text[..cut]));
            text.drain(..cut);
        }
    }
}

/// The marked records of an object, as `rawcat cat` gives them.
fn read_back(
    reading: &Reading,
    object: &ObjectMeta,
    mark: &Mark,
    interrupted: &AtomicBool,
) -> Result<Vec<Marked>, String> {
    let printing = Printing { csv: false, excel_safe: false, raw: false, columns: Vec::new() };
    let mut lines = Vec::new();
    let Reading { spec, store, source, .. } = reading;
    print_key(spec, source, store, &object.key, &printing, &mut lines, interrupted)
        .map_err(|error: PrintError| error.to_string())?;
    Ok(lines.split(|byte| *byte == b'\n').filter_map(|line| mark.of_record(line)).collect())
}
