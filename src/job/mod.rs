//! One window's job, from the zone to the published day: the file to read first.
//!
//! ```text
//! day, zone ─ window ─▶ hours ─ layout ─▶ prefixes ─ store ─▶ objects ─ codec ─▶ bytes
//!   ─ json ─▶ columns ─ time ─▶ rows of the day ─ aggregate ─▶ partials ─ publish ─▶ outputs
//! ```
//!
//! `survey` lists, `gather` reads on all threads (`read` is one object, `rows` the records
//! file), `copies` finds records that came twice, `account` keeps the books. Only this room knows all the others.

mod account;
mod again;
mod copies;
mod cut;
mod doubt;
mod elsewhere;
mod errors;
mod gather;
mod listing;
mod open;
mod print;
mod read;
mod recover;
mod replace;
mod rows;
mod sample;
mod schema;
mod spec;
mod survey;
mod text;
mod unchanged;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use chrono::SecondsFormat;

use crate::aggregate::{AggregateError, Metrics, Tables};
use crate::chart::{self, ChartError, ChartSpec};
use crate::json::{Identity, Reason};
use crate::layout::{self, Layout};
use crate::progress::{Phase, Progress, count_text};
use crate::publish::{
    Item, Manifest, Out, PublishError, QuarantineRow, RunNote, Stage, State, Step,
    quarantine_table, write_table,
};
use crate::store::{ObjectMeta, Store, StoreError};
use crate::window::Hour;

pub use doubt::{Misfit, MixedColumn, UnreadTime};
pub use elsewhere::{NearestHours, first_hour};
pub use errors::{Cause, ErrorsError, ErrorsFound, Failed, read_errors};
pub use listing::{Excluded, Failure, ListedPrefix};
pub use open::{Envelopes, OpenedCounts};
pub use print::{PrintError, Printed, Printing, print_days, print_key, print_stream};
pub use read::Finding;
pub use replace::shown as replaced_text;
pub use schema::{DayColumn, DaySchema, schema_of};
pub use spec::{Dedup, Export, JobSpec, LayoutFrom};
pub use unchanged::{Standing, standing};

use copies::Copies;
use doubt::misfits;
use gather::{Gathered, Piece, Run, ended_by, gather};
use replace::Decision;
use sample::{FirstListing, first_listing};
use survey::{Survey, survey};

/// Why a job did not end with a published day.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Aggregate(#[from] AggregateError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Chart(#[from] ChartError),
    #[error("{key} is not what it was when it was first read in this run; run again")]
    NotTheSame { key: String },
    #[error("{source_name} {problem}: {advice}")]
    NoYears { source_name: String, problem: &'static str, advice: String, keys: Vec<String> },
    #[error("no key of {source_name} is made by --layout '{layout}', which begins behind --source")]
    NothingFits { source_name: String, layout: String, keys: Vec<String> },
    #[error("it is not clear how the keys are made: --layout is needed")]
    LayoutUnclear { layouts: Vec<String>, keys: Vec<String> },
    #[error(
        "no record has the time field {field:?}: nothing is published; check --time-field against \
         a record, as `rawcat cat` prints it"
    )]
    NoTimeField { field: String },
    #[error(
        "the field {field:?} reads as a time within 1990 to 2100 in none of {records} records: \
         nothing is published; check --time-field against a record, as `rawcat cat` prints it"
    )]
    NoTimeInField { field: String, records: String },
    #[error(
        "none of {records} records of the day has the field {field:?}: nothing is published; check \
         --dedup-key against a record, as `rawcat cat` prints it"
    )]
    NoDedupField { field: String, records: String },
    #[error("none of the {prefixes} prefixes could be listed; {prefix}: {reason}")]
    NothingListed { prefixes: usize, prefix: String, reason: String },
    #[error(
        "more than {MAX_COLUMNS} columns, in {key} at the latest: keys that are data, such as ids, \
         belong into one JSON column; give --type '{parent}=json'"
    )]
    TooManyColumns { key: String, parent: String },
    #[error(
        "the {what} has {rows} rows and {day} records of the day were read; nothing was published, \
         and this is a bug in rawcat: please report it"
    )]
    RowsLost { what: &'static str, rows: u64, day: u64 },
    #[error("interrupted")]
    Interrupted,
    /// Not for users: rows that were handed on must be taken back.
    #[error("{key} has to be read in another way")]
    StartOver { key: String, finding: Finding },
}

impl JobError {
    /// What stands below the message: layouts to choose from, and keys as examples.
    pub fn hint(&self) -> Option<String> {
        let (layouts, keys): (&[String], _) = match self {
            JobError::LayoutUnclear { layouts, keys } => (layouts, keys),
            JobError::NoYears { keys, .. } | JobError::NothingFits { keys, .. } => (&[], keys),
            _ => return None,
        };
        let layouts = layouts.iter().map(|layout| format!("it may be {layout}"));
        let lines: Vec<String> =
            layouts.chain(keys.iter().map(|key| format!("a key is {key}"))).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

/// A job that came to its end.
#[derive(Debug)]
pub struct Outcome {
    pub manifest: Manifest,
    /// What the manifest does not say: places of quarantine, hours without objects.
    pub details: Details,
    /// Why nothing was published, where nothing was.
    pub withheld: Option<String>,
    /// The layout, where it was not given and keys of the source told it.
    pub inferred: Option<Arc<Layout>>,
}

/// What a person wants to know beside the manifest.
#[derive(Debug, Default)]
pub struct Details {
    /// (reason, places as `key:offset`), the first few of each reason.
    pub places: Vec<(String, Vec<String>)>,
    pub empty_hours: Vec<Hour>,
    /// Why records may be missing although every listed object was read.
    pub listing_cut: Option<&'static str>,
    /// Buckets without records have no rows: there would be too many.
    pub sparse: bool,
    /// Why the day can still change although nothing was skipped.
    pub still_open: Option<String>,
    /// Hours before and behind the window that hold objects, where the window has none.
    pub nearest: Option<NearestHours>,
    /// Columns of JSON that hold text, too.
    pub mixed: Vec<MixedColumn>,
    /// Declared types, and values that do not read as them.
    pub misfits: Vec<Misfit>,
    /// The first record whose time field does not read as a time, and its key.
    pub unread_time: Option<(String, UnreadTime)>,
}

/// Reads a window's objects and publishes it.
///
/// # Errors
/// Nothing is published then, and what was published before is as it was; but for a bucket, whose
/// day may then be unpublished ([`PublishError::HalfPut`]).
pub fn fetch(
    spec: &JobSpec,
    source: &str,
    store: &Store,
    out: &Out<'_>,
    progress: &Progress,
    interrupted: &AtomicBool,
) -> Result<Outcome, JobError> {
    let work = || publish_window(spec, source, store, out, progress, interrupted);
    match ended_by(interrupted, || store.stop(), work) {
        // Whatever failed, failed because it was stopped.
        Err(_) if interrupted.load(Ordering::Relaxed) => Err(JobError::Interrupted),
        outcome => outcome,
    }
}

fn publish_window(
    spec: &JobSpec,
    source: &str,
    store: &Store,
    out: &Out<'_>,
    progress: &Progress,
    interrupted: &AtomicBool,
) -> Result<Outcome, JobError> {
    let started = Instant::now();
    let target = spec.target();
    check_picture(spec)?;
    let mut findings = HashMap::new();
    store.begin_day(out.scratch());
    let mut survey = survey(spec, store, &mut findings, progress, interrupted)?;
    store.want(survey.listed.keys_from(spec.next_from));
    let mut stage = out.stage(target.clone())?;
    let bytes = survey.objects.iter().map(|object| object.bytes).sum();
    let mut made = learning(&mut findings, |findings| {
        progress.phase(Phase::Reading, survey.objects.len() as u64, bytes);
        let run = |objects, findings| {
            Run::new(spec, &survey.listed.layout, store, objects, findings, progress)
        };
        let objects = survey.objects.clone();
        let searching = match spec.dedup.identity {
            None => return read_window(spec, run(objects, findings), &stage, interrupted),
            Some(_) => run(objects, findings).search_copies(stage.scratch("copies")),
        };
        let Found { copies, lacking, objects, findings, replaced } =
            match read_or_find(spec, searching, &stage, interrupted)? {
                ControlFlow::Continue(made) => return Ok(made),
                ControlFlow::Break(found) => found,
            };
        progress.phase(Phase::Reading, objects.len() as u64, bytes);
        let dropping = run(objects, &findings).drop_copies(&copies);
        let mut made = read_window(spec, dropping, &stage, interrupted)?;
        if let Some(object) = made.gathered.replaced.first() {
            return Err(JobError::NotTheSame { key: object.key.clone() });
        }
        (made.gathered.lacking, made.gathered.replaced) = (lacking, replaced);
        Ok(made)
    })?;
    made.gathered.join_rowless(std::mem::take(&mut survey.rowless));
    survey.listed.replace(&made.gathered.replaced);

    progress.phase(Phase::Writing, 0, 0);
    let metrics = made.tables.as_ref().map_or(&[][..], |tables| &tables.metrics);
    let columns = made.gathered.schema.columns(&spec.pins);
    let mut manifest =
        account::manifest(spec, source, &survey, &made.gathered, &columns, &made.nulls, metrics);
    let mut details = details(spec, &survey, &made.gathered);
    details.nearest = elsewhere::nearest(store, source, &survey.listed)?;
    details.mixed = made.gathered.nested.beside_text(&columns, &spec.pins);
    details.sparse = made.tables.as_ref().is_some_and(|tables| !tables.filled);
    check_time_field(spec, &manifest)?;
    survey.listed.check_any()?;
    let inferred = survey.told_layout();
    let replaced = match replace::decide(spec, out, &target, &manifest)? {
        Decision::Withhold(why) => {
            return Ok(Outcome { manifest, details, withheld: Some(why), inferred });
        }
        Decision::Publish(replaced) => replaced,
    };
    stop_if(interrupted)?;
    write_outputs(spec, &mut stage, &made, &manifest, &details, interrupted)?;
    manifest.run = RunNote {
        rawcat: env!("CARGO_PKG_VERSION").to_string(),
        started_utc: spec.now_utc.to_rfc3339_opts(SecondsFormat::Millis, true),
        duration_ms: started.elapsed().as_millis() as u64,
        jobs: spec.jobs as u64,
        inputs: std::mem::take(&mut manifest.run.inputs),
        replaced,
    };
    stop_if(interrupted)?;
    stage.publish(&mut manifest)?;
    Ok(Outcome { manifest, details, withheld: None, inferred })
}

/// Refuses a picture that can't hold the panels that were asked for, before the day is read.
fn check_picture(spec: &JobSpec) -> Result<(), ChartError> {
    match (&spec.metrics, spec.picture.1) {
        (Metrics::Named(names), Some(px)) if spec.export.chart => {
            chart::check_height(px, 1 + names.len().min(spec.panels.saturating_sub(1)))
        }
        _ => Ok(()),
    }
}

/// Refuses a `--time-field` that gave no record its time: that is a mistake, and no damage.
fn check_time_field(spec: &JobSpec, manifest: &Manifest) -> Result<(), JobError> {
    let Some(field) = spec.rule.field.clone().filter(|_| manifest.records.parsed == 0) else {
        return Ok(());
    };
    let records = |reason: Reason| {
        let notes = manifest.quarantine.iter().filter(|note| note.reason == reason.text());
        notes.map(|note| note.records).sum::<u64>()
    };
    match (records(Reason::TimeMissing), records(Reason::TimeUnreadable)) {
        (0, 0) => Ok(()),
        (_, 0) => Err(JobError::NoTimeField { field }),
        (missing, unreadable) => {
            let records = count_text(missing + unreadable);
            Err(JobError::NoTimeInField { field, records })
        }
    }
}

/// A day with more columns is refused: no reader of tables wants them, and each costs memory in
/// every frame.
pub const MAX_COLUMNS: usize = 5_000;

/// Ends a run between pieces of work that do not look at the flag themselves.
fn stop_if(interrupted: &AtomicBool) -> Result<(), JobError> {
    match interrupted.load(Ordering::Relaxed) {
        true => Err(JobError::Interrupted),
        false => Ok(()),
    }
}

/// What reading made.
struct Made {
    gathered: Gathered,
    tables: Option<Tables>,
    /// Null rows of each column, where records were written.
    nulls: Vec<u64>,
    records_written: bool,
}

/// Later copies that the first attempt at a window found, and the objects as it read them.
struct Found {
    copies: Copies,
    lacking: u64,
    objects: Vec<ObjectMeta>,
    findings: HashMap<String, Finding>,
    replaced: Vec<ObjectMeta>,
}

/// Reads all objects, while it searches for copies: `Break` says what it found, and that nothing
/// is made. All of the day's records are compared, and no others: a copy by its bytes has
/// the same time, so that it belongs to the same day, unless that is the time of its object.
fn read_or_find(
    spec: &JobSpec,
    mut run: Run<'_>,
    stage: &Stage<'_>,
    interrupted: &AtomicBool,
) -> Result<ControlFlow<Found, Made>, JobError> {
    if spec.export.records {
        run = run.write_records(&stage.path(&Item::Records)?)?;
    }
    let gathered = gather(&run, interrupted)?;
    let search = run.take_search().expect("this run searches");
    let rows = gathered.rows_of_the_day();
    let fields = spec.dedup.identity.iter().flat_map(Identity::fields);
    if let Some((field, _)) = fields.zip(&search.found).find(|(_, found)| rows > 0 && **found == 0)
    {
        return Err(JobError::NoDedupField { field: field.clone(), records: count_text(rows) });
    }
    let lacking = search.lacking;
    let copies = search.finish()?;
    if copies.count() == 0 {
        if let Some(error) = run.passed_limit() {
            return Err(error);
        }
        let mut made = finish_window(spec, run, gathered)?;
        made.gathered.lacking = lacking;
        return Ok(ControlFlow::Continue(made));
    }
    // What failed stays failed: a record whose copies are dropped must not come and go.
    let mut findings = run.findings.clone();
    findings.extend(gathered.failed.into_iter().map(|(key, failure)| {
        (key, Finding::Failed { kind: failure.kind, reason: failure.reason })
    }));
    let objects = (0..run.objects.len()).map(|at| run.object(at)).collect();
    Ok(ControlFlow::Break(Found {
        copies,
        lacking,
        objects,
        findings,
        replaced: gathered.replaced,
    }))
}

/// Reads all objects; `records` lies in the stage behind this.
fn read_window(
    spec: &JobSpec,
    mut run: Run<'_>,
    stage: &Stage<'_>,
    interrupted: &AtomicBool,
) -> Result<Made, JobError> {
    if spec.export.records {
        run = run.write_records(&stage.path(&Item::Records)?)?;
    }
    let gathered = gather(&run, interrupted)?;
    finish_window(spec, run, gathered)
}

/// Closes the records file, and makes the tables.
fn finish_window(
    spec: &JobSpec,
    mut run: Run<'_>,
    mut gathered: Gathered,
) -> Result<Made, JobError> {
    let columns = gathered.schema.columns(&spec.pins);
    let records = run.finish_records(&columns)?;
    let day = gathered.rows_of_the_day();
    if let Some(file) = records.as_ref().filter(|file| file.rows != day) {
        return Err(JobError::RowsLost { what: "records file", rows: file.rows, day });
    }
    let tables = match (gathered.partial.take(), &run.aggregates) {
        (Some(partial), Some(aggregates)) => Some(partial.finish(aggregates, &columns)?),
        _ => None,
    };
    if let Some(tables) = &tables {
        let rows = tables.records();
        if rows != day {
            return Err(JobError::RowsLost { what: "daily table", rows, day });
        }
    }
    let records_written = records.is_some();
    let nulls = records.map(|file| file.nulls).unwrap_or_default();
    Ok(Made { gathered, tables, nulls, records_written })
}

/// Writes everything but `records` into the stage.
fn write_outputs(
    spec: &JobSpec,
    stage: &mut Stage<'_>,
    made: &Made,
    manifest: &Manifest,
    details: &Details,
    interrupted: &AtomicBool,
) -> Result<(), JobError> {
    if made.records_written {
        stage.add(&Item::Records, Some(manifest.records.day));
    }
    if let Some(tables) = &made.tables {
        let buckets = Item::Buckets(Step::new(spec.every.num_microseconds().unwrap_or(i64::MAX)));
        if spec.export.aggregates {
            for (item, table) in [(Item::Daily, &tables.daily), (buckets, &tables.buckets)] {
                write_table(&stage.path(&item)?, table)?;
                stage.add(&item, Some(table.height() as u64));
            }
        }
        stop_if(interrupted)?;
        if spec.export.chart {
            let picture =
                chart::draw(&chart_spec(spec, manifest, details, tables), &tables.buckets)?;
            for (item, bytes) in
                [(Item::ChartSvg, picture.svg.as_bytes()), (Item::ChartPng, &picture.png)]
            {
                let path = stage.path(&item)?;
                std::fs::write(&path, bytes).map_err(PublishError::file("write", &path))?;
                stage.add(&item, None);
            }
        }
    }
    if !made.gathered.lost.is_empty() {
        let rows = made.gathered.lost.iter().map(|(key, etag, lost)| QuarantineRow {
            key,
            etag: etag.as_deref(),
            offset: lost.offset,
            bytes_len: lost.len,
            reason: &lost.reason,
            bytes: &lost.bytes,
        });
        let table = quarantine_table(rows.collect());
        write_table(&stage.path(&Item::Quarantine)?, &table)?;
        stage.add(&Item::Quarantine, Some(table.height() as u64));
    }
    Ok(())
}

/// What the picture of a window shows.
fn chart_spec(
    spec: &JobSpec,
    manifest: &Manifest,
    details: &Details,
    tables: &Tables,
) -> ChartSpec {
    let window = &spec.window;
    let mut chart = ChartSpec::new(window.start_us(), window.end_us(), window.tz);
    chart.date = window.date;
    chart.label = window.date.map_or_else(|| window.describe(), |date| date.to_string());
    chart.every_us = spec.every.num_microseconds().unwrap_or(i64::MAX);
    chart.by = tables.by.clone();
    chart.metrics = tables.metrics.iter().map(|metric| metric.name.clone()).collect();
    chart.max_panels = spec.panels;
    chart.verdict = verdict_text(manifest);
    let hours = details.empty_hours.iter();
    chart.empty_hours_us = hours.map(|hour| hour.start().timestamp_micros()).collect();
    chart.source = manifest.source.clone();
    (chart.width_px, chart.height_px) = spec.picture;
    chart
}

/// `final`, or `provisional: why`.
pub fn verdict_text(manifest: &Manifest) -> String {
    match manifest.verdict.state {
        State::Final => "final".to_string(),
        State::Provisional => format!("provisional: {}", manifest.verdict.reasons.join(", ")),
    }
}

fn details(spec: &JobSpec, survey: &Survey, gathered: &Gathered) -> Details {
    const PLACES: usize = 3;
    let mut places: Vec<(String, Vec<String>)> = Vec::new();
    for (key, _, lost) in &gathered.lost {
        let place = format!("{}:{}", layout::escape_control(key), lost.offset);
        match places.iter_mut().find(|(reason, _)| *reason == lost.reason) {
            Some((_, known)) if known.len() >= PLACES => {}
            Some((_, known)) => known.push(place),
            None => places.push((lost.reason.clone(), vec![place])),
        }
    }
    Details {
        places,
        empty_hours: account::empty_hours(spec, survey),
        still_open: account::still_open(spec),
        sparse: false,
        mixed: Vec::new(),
        misfits: misfits(&gathered.lost, &spec.pins),
        unread_time: gathered.unread_time.clone(),
        listing_cut: survey.cut.then_some(account::LISTING_CUT),
        nearest: None,
    }
}

/// What `fetch` would do: its first listing, before anything is downloaded.
#[derive(Debug)]
pub struct Plan {
    /// The hours that `--max-late` allows at most.
    pub hours_at_most: crate::window::HourRange,
    pub hours: crate::window::HourRange,
    pub layout: Arc<Layout>,
    /// The layout was not given: keys of the source told it.
    pub inferred: bool,
    pub prefixes: Vec<ListedPrefix>,
    pub objects: Vec<crate::store::ObjectMeta>,
    pub excluded: Vec<(String, Excluded)>,
    pub bytes: u64,
    /// Requests of the listing, and one for each object.
    pub requests: u64,
    pub nearest: Option<NearestHours>,
}

/// Lists a window's hours as `fetch` does at first.
pub fn plan(
    spec: &JobSpec,
    source: &str,
    store: &Store,
    progress: &Progress,
) -> Result<Plan, JobError> {
    progress.phase(Phase::Listing, 0, 0);
    let FirstListing { listed, layout_from } = first_listing(spec, store, progress)?;
    let nearest = elsewhere::nearest(store, source, &listed)?;
    Ok(Plan {
        hours_at_most: spec.hours_at_most(),
        hours: listed.hours,
        inferred: layout_from == LayoutFrom::Keys,
        bytes: listed.bytes(),
        requests: listed.requests + listed.objects.len() as u64,
        excluded: listed
            .excluded()
            .into_iter()
            .map(|(why, what)| (why.to_string(), what))
            .collect(),
        layout: listed.layout,
        prefixes: listed.prefixes,
        objects: listed.objects.into_iter().map(|found| found.object).collect(),
        nearest,
    })
}

/// Attempts the same until no attempt learns anything more about an object.
fn learning<T>(
    findings: &mut HashMap<String, Finding>,
    mut attempt: impl FnMut(&HashMap<String, Finding>) -> Result<T, JobError>,
) -> Result<T, JobError> {
    loop {
        match attempt(findings) {
            Err(JobError::StartOver { key, finding }) => {
                // An object that contradicts a finding is not the same any more. One that fails says
                // nothing of its content, and is not got again.
                let failed = matches!(finding, Finding::Failed { .. });
                if findings.insert(key.clone(), finding).is_some() && !failed {
                    return Err(JobError::NotTheSame { key });
                }
            }
            outcome => return outcome,
        }
    }
}
