//! The objects of a day → everything that is known when all of them are read.

use std::collections::{HashMap, HashSet};
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::copies::{Copies, Search};
use super::doubt::{Nested, UnreadTime};
use super::listing::Failure;
use super::open::OpenedCounts;
use super::read::{Finding, Known, Lost, ObjectOutcome, ObjectReader, ReadFailure, ReadSpec};
use super::rows::{Records, RowGroups};
use super::schema::Fills;
use super::{JobError, JobSpec, MAX_COLUMNS};
use crate::aggregate::{AggregateSpec, Partial};
use crate::engine::{Emitter, Engine, Stopped};
use crate::json::{Frame, Identities, Projection, Tally};
use crate::layout::Layout;
use crate::progress::Progress;
use crate::publish::RecordsFile;
use crate::schema::{ColumnSpec, Kinds, Path, Schema};
use crate::store::{Body, Fetch, ObjectMeta, Store, StoreError};
use crate::window::LocalClock;

/// One attempt at a day, shared by all threads.
pub(super) struct Run<'a> {
    pub spec: &'a JobSpec,
    pub store: &'a Store,
    pub objects: Arc<[ObjectMeta]>,
    pub read_spec: ReadSpec,
    /// What earlier attempts learnt, by key.
    pub findings: &'a HashMap<String, Finding>,
    pub clock: LocalClock,
    pub records: Option<Records>,
    pub aggregates: Option<AggregateSpec>,
    /// Objects that had changed since they were listed, as they were read.
    replaced: Mutex<HashMap<usize, ObjectMeta>>,
    /// Rows are only counted, and objects that have some, or fail, are left for another run.
    is_survey: bool,
    counts_fills: bool,
    /// Later copies are looked for. Once one is found, this attempt's rows are worth nothing, and the
    /// objects that follow are read for their identities alone.
    search: Option<Mutex<Search>>,
    rows_are_void: AtomicBool,
    /// The first limit that this attempt passed while it searched: without the copies the day may
    /// be within it.
    passed: Mutex<Option<JobError>>,
    /// Later copies that an earlier attempt found: they are dropped.
    copies: Option<&'a Copies>,
    /// Sizes that several objects have: these may be the same.
    twin_sizes: HashSet<u64>,
    pub progress: &'a Progress,
}

/// What the threads hand on, in the order of the objects.
pub(super) enum Piece {
    Rows(Frame),
    /// The paths of rows that no records file wants.
    Seen(Vec<(Path, Kinds)>, Option<Fills>, Identities),
    Done(Box<Result<ObjectOutcome, Failure>>),
}

impl Piece {
    /// What it holds in memory, about.
    fn held_bytes(&self) -> usize {
        match self {
            Piece::Rows(frame) => {
                let texts: u64 = frame.lens.iter().map(|len| u64::from(*len)).sum();
                let identities = frame.identities.hashes.len() * size_of::<u128>();
                texts as usize + frame.rows * frame.columns.len() * size_of::<u64>() + identities
            }
            Piece::Seen(seen, _, identities) => {
                let identities = identities.hashes.len() * size_of::<u128>();
                seen.len() * size_of::<(Path, Kinds)>() + identities
            }
            Piece::Done(outcome) => {
                let lost = outcome.as_ref().as_ref().map_or(&[][..], |outcome| &outcome.lost);
                lost.iter().map(|lost| size_of::<Lost>() + lost.bytes.len()).sum()
            }
        }
    }
}

/// What the objects gave.
#[derive(Default)]
pub(super) struct Gathered {
    pub schema: Schema,
    pub tally: Tally,
    pub decoded_bytes: u64,
    pub read: u64,
    pub failed: Vec<(String, Failure)>,
    /// (key, ETag, what was lost), in the order of keys and offsets.
    pub lost: Vec<(String, Option<String>, Lost)>,
    /// Bytes of these places that are kept.
    kept_bytes: usize,
    pub duplicate_keys: HashMap<Path, u64>,
    pub partial: Option<Partial>,
    /// Rows of the day that each object gave, by its place among the objects; `None` where it
    /// failed.
    pub rows: Vec<Option<u64>>,
    pub fills: Fills,
    /// Lists and objects in the columns of the `records` file.
    pub nested: Nested,
    /// The first record of the window whose time field does not read as a time, and its key.
    pub unread_time: Option<(String, UnreadTime)>,
    /// Objects that had changed since they were listed, as they were read.
    pub replaced: Vec<ObjectMeta>,
    /// (key, size, hash of the content) of objects that have the size of another.
    pub contents: Vec<(String, u64, u128)>,
    /// Records of the day that lack a field of `--dedup-key`.
    pub lacking: u64,
    pub opened: OpenedCounts,
    /// Rows of the day that came from error output.
    pub recovered: u64,
}

impl Gathered {
    /// Takes in what other objects gave. Their rows are not among these: they had none.
    pub fn join_rowless(&mut self, other: Gathered) {
        self.tally.add(&other.tally);
        self.decoded_bytes += other.decoded_bytes;
        self.read += other.read;
        self.recovered += other.recovered;
        self.opened.add(other.opened);
        self.lost.extend(other.lost);
        self.lost.sort_by(|a, b| (&a.0, a.2.offset).cmp(&(&b.0, b.2.offset)));
        // What the later reading saw goes last, and counts.
        self.replaced.splice(0..0, other.replaced);
    }

    pub fn rows_of_the_day(&self) -> u64 {
        self.rows.iter().flatten().sum()
    }

    /// What is noted of the places of one more object: all of them, while the day has not too many.
    fn bounded(&mut self, mut lost: Vec<Lost>) -> Vec<Lost> {
        if self.lost.len() + lost.len() > DAY_PLACES {
            lost = counted_by_reason(lost);
        }
        for place in &mut lost {
            if self.kept_bytes + place.bytes.len() > DAY_KEPT_BYTES {
                place.bytes = Vec::new();
            }
            self.kept_bytes += place.bytes.len();
        }
        lost
    }

    /// Takes in the outcome of an object.
    fn add(&mut self, object: &ObjectMeta, outcome: Result<ObjectOutcome, Failure>) {
        match outcome {
            Err(failure) => self.failed.push((object.key.clone(), failure)),
            Ok(outcome) => {
                self.read += 1;
                self.decoded_bytes += outcome.decoded_bytes;
                self.tally.add(&outcome.tally);
                self.opened.add(outcome.opened);
                if outcome.is_recovered {
                    self.recovered += outcome.tally.kept;
                }
                if let Some(content) = outcome.content {
                    self.contents.push((object.key.clone(), object.bytes, content));
                }
                if let (None, Some(unread)) = (&self.unread_time, outcome.unread_time) {
                    self.unread_time = Some((object.key.clone(), unread));
                }
                for lost in self.bounded(outcome.lost) {
                    self.lost.push((object.key.clone(), object.etag.clone(), lost));
                }
                for (path, count) in outcome.duplicate_keys {
                    *self.duplicate_keys.entry(path).or_default() += count;
                }
            }
        }
    }
}

/// Places of one day that are noted one by one; of later objects they are counted by reason. And
/// quarantined bytes of one day that are kept; of later places only offset and length are. A day that
/// is bad all through must not fill the memory with its list.
pub(super) const DAY_PLACES: usize = 100_000;
const DAY_KEPT_BYTES: usize = 64 << 20;

/// The places of an object, one entry for each reason, which stands where the first of them does.
pub(super) fn counted_by_reason(places: Vec<Lost>) -> Vec<Lost> {
    let mut counted: Vec<Lost> = Vec::new();
    for place in places {
        match counted.iter_mut().find(|known| known.reason == place.reason) {
            Some(known) => {
                known.places += place.places;
                known.len += place.len;
            }
            None => counted.push(place),
        }
    }
    counted
}

/// One thread's tools.
struct Worker {
    reader: ObjectReader,
    /// Makes identities and no columns, once rows are void.
    lean: Option<ObjectReader>,
    partial: Option<Partial>,
}

/// Reads objects and writes their rows. `Err(JobError::StartOver)` asks for another attempt.
pub(super) fn gather(run: &Run<'_>, interrupted: &AtomicBool) -> Result<Gathered, JobError> {
    let objects = run.objects.len();
    // Of a records file, columns are encoded while the objects are read, be it a single one.
    let jobs = match run.records {
        Some(_) => run.spec.jobs.max(1),
        None => run.spec.jobs.clamp(1, objects.max(1)),
    };
    let fetch = run.store.fetch(run.objects.clone(), run.spec.fetch);
    let end_waits = || fetch.cancel();
    let engine: Engine<'_, Piece, JobError> =
        Engine::new(objects, jobs, interrupted).on_failure(&end_waits);
    let mut workers: Vec<Worker> = (0..jobs)
        .map(|_| Worker {
            reader: ObjectReader::new(run.read_spec.clone()),
            lean: run.search.is_some().then(|| ObjectReader::new(run.lean_spec())),
            partial: run.aggregates.as_ref().map(Partial::new),
        })
        .collect();
    let sink = Mutex::new((Gathered::default(), RowGroups::new(run.spec.pins.clone())));
    let outcome = ended_by(
        interrupted,
        || fetch.cancel(),
        || {
            engine.run(
                &mut workers,
                &|worker, emitter| work(run, &fetch, worker, emitter),
                &|engine, object, piece| {
                    let (gathered, rows) = &mut *sink.lock().expect("the sink does not panic");
                    take(run, engine, gathered, rows, object, piece)
                },
            )
        },
    );
    fetch.cancel();
    if interrupted.load(Ordering::Relaxed) {
        return Err(JobError::Interrupted);
    }
    outcome?;
    let (mut gathered, _) = sink.into_inner().expect("the sink does not panic");
    gathered.replaced = run.replaced();
    for partial in workers.into_iter().filter_map(|worker| worker.partial) {
        match &mut gathered.partial {
            Some(sum) => run.passed(sum.merge(partial).map_err(JobError::from))?,
            none => *none = Some(partial),
        }
    }
    Ok(gathered)
}

/// Does work that may wait for the network. Once the flag is up, `wake` is called, which ends
/// such waits: those who wait do not look at the flag themselves.
pub(super) fn ended_by<T>(
    interrupted: &AtomicBool,
    wake: impl FnOnce() + Send,
    work: impl FnOnce() -> T,
) -> T {
    const LOOK_EVERY: Duration = Duration::from_millis(50);
    let finished = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            while !finished.load(Ordering::Relaxed) {
                if interrupted.load(Ordering::Relaxed) {
                    return wake();
                }
                std::thread::park_timeout(LOOK_EVERY);
            }
        });
        let _finish = Finish { finished: &finished, watcher: watcher.thread() };
        work()
    })
}

/// Ends the watcher at once when the work does, be it by a panic.
struct Finish<'a> {
    finished: &'a AtomicBool,
    watcher: &'a std::thread::Thread,
}

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.finished.store(true, Ordering::Relaxed);
        self.watcher.unpark();
    }
}

/// Reads the next object on this thread.
fn work<'a>(
    run: &'a Run<'a>,
    fetch: &Fetch,
    worker: &mut Worker,
    emitter: &Emitter<'_, 'a, Piece, JobError>,
) -> Result<(), JobError> {
    let Some((at, body)) = fetch.next() else {
        return if emitter.is_stopped() { Ok(()) } else { Err(JobError::Interrupted) };
    };
    emitter.claim(at);
    let object = &run.objects[at];
    let known = run.known(at);
    let outcome = match known.finding {
        Some(Finding::Failed { kind, reason }) => Err(Failure { kind, reason: reason.clone() }),
        _ => match run.body(at, body) {
            Err(error) if error.concerns_whole_source() => return Err(JobError::Store(error)),
            Err(error) => Err(Failure::from(&error)),
            Ok(body) => {
                let (content, _permit) = body.into_parts();
                let Worker { reader, lean, partial } = worker;
                let reader = lean.as_mut().filter(|_| run.rows_are_void()).unwrap_or(reader);
                let mut give = |frame: Frame| give(run, partial.as_mut(), emitter, frame);
                match reader.read(object, content, known, &mut |_| (), &mut give) {
                    Ok(outcome) => Ok(outcome),
                    Err(ReadFailure::Store(error)) => Err(Failure::from(&error)),
                    Err(ReadFailure::Taker(Some(error))) => return Err(error),
                    Err(ReadFailure::Taker(None)) => return Ok(()),
                    Err(ReadFailure::StartOver(finding)) => {
                        let key = object.key.clone();
                        return Err(JobError::StartOver { key, finding });
                    }
                }
            }
        },
    };
    run.progress.advance(1, object.bytes);
    let piece = Piece::Done(Box::new(outcome));
    let bytes = piece.held_bytes();
    match emitter.emit(piece, bytes)? {
        Ok(()) | Err(Stopped) => Ok(()),
    }
}

/// Adds a frame to the thread's partial and hands it on. `Err(None)`: the run was stopped.
fn give<'a>(
    run: &'a Run<'a>,
    partial: Option<&mut Partial>,
    emitter: &Emitter<'_, 'a, Piece, JobError>,
    frame: Frame,
) -> Result<(), Option<JobError>> {
    let gives_up = run.rows_are_void();
    if let (Some(partial), Some(spec), false) = (partial, &run.aggregates, gives_up) {
        run.passed(partial.add(spec, &frame).map_err(JobError::from)).map_err(Some)?;
    }
    let piece = match run.records {
        _ if gives_up => Piece::Seen(Vec::new(), None, frame.identities),
        Some(_) => Piece::Rows(frame),
        None => {
            let fills = run.counts_fills.then(|| Fills::of(&frame));
            Piece::Seen(frame.seen, fills, frame.identities)
        }
    };
    let bytes = piece.held_bytes();
    match emitter.emit(piece, bytes) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Stopped)) => Err(None),
        Err(error) => Err(Some(error)),
    }
}

/// Takes a piece, in the order of the objects.
fn take<'a>(
    run: &'a Run<'a>,
    engine: &Engine<'a, Piece, JobError>,
    gathered: &mut Gathered,
    rows: &mut RowGroups,
    object: usize,
    piece: Piece,
) -> Result<(), JobError> {
    match piece {
        Piece::Rows(mut frame) => {
            run.look_for_copies(&std::mem::take(&mut frame.identities))?;
            if run.rows_are_void() {
                return Ok(());
            }
            let new_paths = see_rows(&mut gathered.schema, &frame);
            gathered.nested.add(&frame, &run.objects[object].key);
            run.passed(check_columns(run, &gathered.schema, object))?;
            rows.take(run, engine, &gathered.schema, object, frame, &new_paths);
        }
        Piece::Seen(seen, fills, identities) => {
            run.look_for_copies(&identities)?;
            see(&mut gathered.schema, &seen);
            run.passed(check_columns(run, &gathered.schema, object))?;
            if let Some(fills) = fills {
                gathered.fills.join(fills);
            }
        }
        Piece::Done(outcome) => {
            let outcome = *outcome;
            let kept = outcome.as_ref().ok().map(|outcome| outcome.tally.kept);
            if let Some(search) = &run.search {
                search.lock().expect(SEARCHING).end_object(kept);
            }
            let of_the_day = outcome.as_ref().ok().map(|outcome| outcome.tally.of_the_day());
            if let Some(copies) = run.copies.filter(|copies| copies.rows(object) != of_the_day) {
                let key = run.objects[object].key.clone();
                return Err(match (outcome, copies.rows(object)) {
                    // Its records may be those that stayed: without it, their copies do.
                    (Err(Failure { kind, reason }), Some(_)) => {
                        JobError::StartOver { key, finding: Finding::Failed { kind, reason } }
                    }
                    // Another content has other copies.
                    _ => JobError::NotTheSame { key },
                });
            }
            gathered.rows.push(kept);
            if kept == Some(0) || !run.is_survey {
                gathered.add(&run.object(object), outcome);
            }
            if object + 1 == run.objects.len() && run.records.is_some() && !run.rows_are_void() {
                rows.end(run, engine, &gathered.schema);
            }
        }
    }
    Ok(())
}

/// Refuses a day whose keys are data.
fn check_columns(run: &Run<'_>, schema: &Schema, object: usize) -> Result<(), JobError> {
    if schema.paths().len() <= MAX_COLUMNS {
        return Ok(());
    }
    let key = run.objects[object].key.clone();
    Err(JobError::TooManyColumns { key, parent: schema.widest_object() })
}

const SEARCHING: &str = "no thread panics while it looks for copies";

/// Sizes that more than one object has. Objects of the same content are looked for among these
/// alone, so that others cost nothing. Their ETags would say too little: those of uploads in parts and
/// of objects that KMS encrypts differ for the same bytes.
fn twin_sizes(objects: &[ObjectMeta]) -> HashSet<u64> {
    let mut seen = HashSet::new();
    objects.iter().map(|object| object.bytes).filter(|bytes| !seen.insert(*bytes)).collect()
}

/// The rows in which a path appears for the first time in the day.
fn see_rows(schema: &mut Schema, frame: &Frame) -> Vec<u32> {
    let mut new_paths = Vec::new();
    for ((path, kinds), row) in frame.seen.iter().zip(&frame.first_rows) {
        let known = schema.paths().len();
        schema.see(path, *kinds);
        if schema.paths().len() > known {
            new_paths.push(*row);
        }
    }
    new_paths
}

fn see(schema: &mut Schema, seen: &[(Path, Kinds)]) {
    for (path, kinds) in seen {
        schema.see(path, *kinds);
    }
}

impl<'a> Run<'a> {
    pub fn new(
        spec: &'a JobSpec,
        layout: &Arc<Layout>,
        store: &'a Store,
        objects: Vec<ObjectMeta>,
        findings: &'a HashMap<String, Finding>,
        progress: &'a Progress,
    ) -> Self {
        let window = &spec.window;
        Run {
            read_spec: spec.read_spec(layout),
            clock: LocalClock::new(window.tz, window.start_us(), window.end_us()),
            aggregates: spec.aggregate_spec(),
            spec,
            store,
            twin_sizes: twin_sizes(&objects),
            objects: objects.into(),
            findings,
            records: None,
            is_survey: false,
            counts_fills: false,
            search: None,
            rows_are_void: AtomicBool::new(false),
            passed: Mutex::default(),
            copies: None,
            replaced: Mutex::default(),
            progress,
        }
    }

    /// Rows are only counted. What objects without rows gave is kept; the others are to be read
    /// by another run.
    pub fn survey(mut self) -> Self {
        self.is_survey = true;
        self.aggregates = None;
        self.twin_sizes.clear();
        self.read_spec.json.projection = Projection::Named(Vec::new());
        self.read_spec.json.by.clear();
        self
    }

    /// Looks for records that are later copies of others; nothing is dropped yet. `folder` takes
    /// what does not fit into memory.
    pub fn search_copies(mut self, folder: PathBuf) -> Self {
        self.read_spec.json.identity = self.spec.dedup.identity.clone();
        self.search = Some(Mutex::new(Search::new(self.spec.dedup.memory_bytes, folder)));
        self
    }

    /// Drops the later copies that an earlier attempt found.
    pub fn drop_copies(mut self, copies: &'a Copies) -> Self {
        self.copies = Some(copies);
        self
    }

    /// What was found, once all objects are read.
    pub fn take_search(&mut self) -> Option<Search> {
        self.search.take().map(|search| search.into_inner().expect(SEARCHING))
    }

    /// Reads identities, and makes no columns.
    fn lean_spec(&self) -> ReadSpec {
        let mut spec = self.read_spec.clone();
        spec.json.projection = Projection::Named(Vec::new());
        spec.json.by.clear();
        spec
    }

    /// The limit that an attempt passed while it searched for copies, where it did.
    pub fn passed_limit(&self) -> Option<JobError> {
        self.passed.lock().expect(SEARCHING).take()
    }

    /// A limit that is passed ends a run, but for one that searches for copies.
    fn passed(&self, limit: Result<(), JobError>) -> Result<(), JobError> {
        if let (Err(error), Some(_)) = (&limit, &self.search)
            && matches!(error, JobError::Aggregate(_) | JobError::TooManyColumns { .. })
        {
            self.rows_are_void.store(true, Ordering::Relaxed);
            let mut passed = self.passed.lock().expect(SEARCHING);
            let _ = passed.get_or_insert(limit.expect_err("it is an error"));
            return Ok(());
        }
        limit
    }

    /// This attempt's rows are worth nothing: only identities are looked at from here on.
    pub fn rows_are_void(&self) -> bool {
        self.rows_are_void.load(Ordering::Relaxed)
    }

    fn look_for_copies(&self, identities: &Identities) -> Result<(), JobError> {
        if let Some(search) = &self.search
            && search.lock().expect(SEARCHING).take(identities)?
        {
            self.rows_are_void.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// What is known of an object before it is read.
    pub fn known(&self, at: usize) -> Known<'_> {
        let object = &self.objects[at];
        Known {
            finding: self.findings.get(&object.key),
            copies: self.copies.map(|copies| copies.of(at)),
            may_be_twin: self.twin_sizes.contains(&object.bytes),
        }
    }

    /// Nothing is aggregated; how full each column is is counted.
    pub fn count_fills(mut self) -> Self {
        self.counts_fills = true;
        self.aggregates = None;
        self.read_spec.json.projection = Projection::All;
        self.read_spec.json.by.clear();
        self
    }

    /// Rows are written to this file as they come.
    pub fn write_records(mut self, path: &FilePath) -> Result<Self, JobError> {
        self.records = Some(Records::create(path, self.spec.provenance)?);
        Ok(self)
    }

    /// Closes the records file.
    pub fn finish_records(
        &mut self,
        columns: &[ColumnSpec],
    ) -> Result<Option<RecordsFile>, JobError> {
        match self.records.take() {
            Some(records) => records.finish(self, columns).map(Some),
            None => Ok(None),
        }
    }

    /// The object as it was read.
    pub fn object(&self, at: usize) -> ObjectMeta {
        let replaced = self.replaced.lock().expect("no thread panics with the lock held");
        replaced.get(&at).unwrap_or(&self.objects[at]).clone()
    }

    fn replaced(&self) -> Vec<ObjectMeta> {
        let replaced = self.replaced.lock().expect("no thread panics with the lock held");
        replaced.values().cloned().collect()
    }

    /// The body as fetched; an object that changed since it was listed is listed and got once more.
    fn body(&self, at: usize, body: Result<Body, StoreError>) -> Result<Body, StoreError> {
        let error = match body {
            Err(error @ (StoreError::Changed { .. } | StoreError::Gone { .. })) => error,
            other => return other,
        };
        let key = &self.objects[at].key;
        let listing = self.store.list(std::slice::from_ref(key), &|_| ()).swap_remove(0)?;
        let Some(now) = listing.objects.into_iter().find(|object| object.key == *key) else {
            return Err(error);
        };
        let body = self.store.get(&now)?;
        self.replaced.lock().expect("no thread panics with the lock held").insert(at, now);
        Ok(body)
    }
}
