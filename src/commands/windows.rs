//! The configuration of a command → its windows, jobs and opened store.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::aggregate::Metrics;
use crate::chart::ChartError;
use crate::cli::EnvelopeKind;
use crate::codec::DecodeLimits;
use crate::config::{FetchConfig, InputConfig, S3Config, Same, Selection, Source, Span};
use crate::envelope::Envelope;
use crate::error::{Error, say};
use crate::job::{Dedup, Envelopes, Export, JobError, JobSpec, LayoutFrom, NearestHours};
use crate::json::Identity;
use crate::layout::{self, ErrorPrefix, Layout, ZoneHistory};
use crate::publish::{PublishError, Published};
use crate::schema::{Path as SchemaPath, Pins, pins_from_json};
use crate::store::{FetchLimits, SourceUrl, Store, describe};
use crate::time::TimeRule;
use crate::window::{Hour, Window, WindowError};

/// The windows that the user selected, in their order.
pub fn windows(days: &Selection) -> Result<Vec<Window>, Error> {
    let usage = |error: WindowError| Error::Usage { message: error.to_string(), hint: None };
    match &days.what {
        Span::Days(dates) => {
            let several = dates.len() > 1;
            let window = |date: &chrono::NaiveDate| match Window::of_day(*date, days.tz) {
                // Of a range, a date that the zone skipped is no day to wait for.
                Err(WindowError::SkippedDate { .. }) if several => None,
                other => Some(other.map_err(usage)),
            };
            dates.iter().filter_map(window).collect()
        }
        Span::Window { from, to } => Ok(vec![Window::of_span(*from, *to, days.tz).map_err(usage)?]),
    }
}

/// The job of one window as `fetch` and `plan` do it.
pub fn fetch_spec(config: &FetchConfig, raw: &Raw, window: Window) -> Result<JobSpec, Error> {
    let mut spec = read_spec(&config.input, raw, window)?;
    spec.by = config.aggregate.by.clone();
    spec.metrics = match &config.aggregate.metrics {
        Some(names) => Metrics::Named(names.clone()),
        None => Metrics::Auto,
    };
    spec.every = config.aggregate.every;
    spec.max_groups = config.aggregate.max_groups.get();
    spec.export = Export {
        records: config.export.records,
        aggregates: config.export.aggregates,
        chart: config.export.chart,
    };
    spec.provenance = config.provenance;
    spec.recover = config.recover;
    spec.dedup = Dedup {
        identity: config.dedup.copies.as_ref().map(|same| match same {
            Same::Fields(fields) => Identity::Fields(fields.clone()),
            Same::Bytes => Identity::Bytes,
        }),
        memory_bytes: config.dedup.memory_bytes,
    };
    spec.settle = config.settle;
    spec.accept_incomplete = config.accept_incomplete;
    spec.picture = (config.chart.size.width, config.chart.size.height);
    spec.panels = config.chart.panels.get();
    Ok(spec)
}

/// A job that only reads.
pub fn read_spec(input: &InputConfig, raw: &Raw, window: Window) -> Result<JobSpec, Error> {
    Ok(JobSpec {
        window,
        layout: Arc::clone(&raw.layout),
        layout_from: raw.layout_from,
        error_prefix: raw.error_prefix.clone(),
        envelopes: match input.envelope {
            EnvelopeKind::Auto => Envelopes::Recognised,
            EnvelopeKind::None => Envelopes::Left,
            EnvelopeKind::CloudWatchLogs => Envelopes::All(Envelope::CloudWatchLogs),
            EnvelopeKind::Kinesis => Envelopes::All(Envelope::Kinesis),
            EnvelopeKind::Sns => Envelopes::All(Envelope::Sns),
        },
        recover: false,
        look_back: input.look_back,
        look_ahead: input.look_ahead,
        max_late: input.max_late,
        rule: TimeRule {
            field: input.time_field.clone(),
            fallback_key: input.fallback_key,
            field_tz: input.field_tz,
        },
        pins: pins(input)?,
        expected: input.schema.as_deref().map(pinned).transpose()?,
        by: Vec::new(),
        metrics: Metrics::Auto,
        every: chrono::TimeDelta::hours(1),
        max_groups: usize::MAX,
        export: Export { records: false, aggregates: false, chart: false },
        provenance: false,
        dedup: Dedup { identity: None, memory_bytes: 0 },
        decode: DecodeLimits { object_bytes: input.max_object_bytes, ..DecodeLimits::default() },
        max_record_bytes: usize::try_from(input.max_record_bytes).unwrap_or(usize::MAX),
        fetch: FetchLimits { requests: input.s3.max_requests.get(), ..FetchLimits::default() },
        jobs: input.jobs.get(),
        settle: chrono::TimeDelta::zero(),
        accept_incomplete: false,
        next_from: None,
        now_utc: raw.now_utc,
        picture: (1200, None),
        panels: 4,
    })
}

/// Takes over the layout that the keys of one window told for those behind it, and says so once.
pub fn take_layout(specs: &mut [JobSpec], at: usize, told: &Option<Arc<Layout>>, quiet: bool) {
    let Some(layout) = told.as_ref().filter(|_| specs[at].layout_from == LayoutFrom::Default)
    else {
        return;
    };
    if !quiet {
        say(&format!("note: the keys are made by --layout '{}'", layout.prefix()));
    }
    for spec in &mut specs[at + 1..] {
        spec.layout = Arc::clone(layout);
        spec.layout_from = LayoutFrom::Keys;
    }
}

/// The types that a file pins.
pub fn pinned(path: &Path) -> Result<Pins, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::usage(
            format!("can't read the pinned types in {}: {error}", path.display()),
            "check --schema, or write the file with `rawcat schema --pin`",
        )
    })?;
    pins_from_json(&text).map_err(|problem| {
        let message = format!("{}: {problem}", path.display());
        Error::usage(message, "write the file anew with `rawcat schema --day … --pin`")
    })
}

/// The pinned types of the schema file, and `--type`, which wins.
fn pins(input: &InputConfig) -> Result<Pins, Error> {
    let mut pins = input.schema.as_deref().map(pinned).transpose()?.unwrap_or_default();
    for (name, kind) in &input.types {
        pins.retain(|pinned, _| !is_same_column(pinned, name));
        pins.insert(name.clone(), *kind);
    }
    Ok(pins)
}

/// True where two names mean one column: `/device/os`, `device.os`, `device_os`.
fn is_same_column(one: &str, other: &str) -> bool {
    let path = |pointer: &str| {
        let keys = pointer.split('/').skip(1);
        keys.fold(SchemaPath::root(), |path, key| {
            path.child(&key.replace("~1", "/").replace("~0", "~"))
        })
    };
    match (one.starts_with('/'), other.starts_with('/')) {
        (true, _) => path(one).is_named(other),
        (_, true) => path(other).is_named(one),
        _ => one.replace('.', "_") == other.replace('.', "_"),
    }
}

/// The raw objects, ready to be listed.
pub struct Raw {
    pub store: Store,
    /// As it is shown and written down.
    pub source: String,
    pub layout: Arc<Layout>,
    pub layout_from: LayoutFrom,
    pub error_prefix: Option<ErrorPrefix>,
    /// When the command began: all its days are as old as they are now.
    pub now_utc: DateTime<Utc>,
}

/// Opens the source; where a delivery stream knows it, the stream is asked first.
pub fn open_raw(input: &InputConfig) -> Result<Raw, Error> {
    let options = input.s3.store_options();
    let zones = |text: Option<&str>| match (&input.prefix_tz, text) {
        (Some(zones), _) => Ok(zones.clone()),
        (None, Some(text)) => text.parse().map_err(Error::failed),
        (None, None) => Ok(ZoneHistory::of(chrono_tz::UTC)),
    };
    let mut error_prefix = input.error_prefix.clone();
    let (url, mut layout, layout_from) = match &input.source {
        Source::Place(url) => {
            let from = match input.layout {
                Some(_) => LayoutFrom::User,
                None => LayoutFrom::Default,
            };
            let layout = match &input.layout {
                Some(prefix) => Layout::new(prefix.clone(), zones(None)?),
                None => Layout::default().in_zones(zones(None)?),
            };
            (url.clone(), layout, from)
        }
        Source::DeliveryStream(name) => {
            let delivery = describe(name, &options).map_err(Error::failed)?;
            let zones = zones(delivery.time_zone.as_deref())?;
            let errors = delivery.error_prefix.as_deref();
            let layout = Layout::of_stream(&delivery.prefix, errors, zones).map_err(|problem| {
                let message = format!("the prefix of the stream {name}: {problem}");
                Error::usage(message, "give --source and --layout")
            })?;
            // One that can't be read is known by how it begins, and its records are not looked for.
            error_prefix = error_prefix.or_else(|| errors.and_then(|errors| errors.parse().ok()));
            if delivery.converts_to_orc {
                say("note: the stream converts records to ORC, which this version does not read");
            }
            let url = SourceUrl::S3 { bucket: delivery.bucket, prefix: String::new() };
            (url, layout, LayoutFrom::User)
        }
    };
    if let Some(prefix) = &input.error_prefix {
        layout = layout.with_error_lead(prefix.lead());
    }
    Ok(Raw {
        store: Store::open(&url, &options).map_err(Error::failed)?,
        source: shown(&url),
        layout: Arc::new(layout),
        layout_from,
        error_prefix,
        now_utc: Utc::now(),
    })
}

/// A document for a program: indented where it stands alone, one line where several follow one
/// another.
pub fn json_text(value: &impl serde::Serialize, alone: bool) -> String {
    let text = match alone {
        true => serde_json::to_string_pretty(value),
        false => serde_json::to_string(value),
    };
    text.expect("every key is a string") + "\n"
}

/// That a window has no records or no objects, and where the nearest objects are.
pub fn nothing_found(what: &str, window: &Window, nearest: Option<NearestHours>) -> String {
    let name = match window.date {
        Some(date) => format!("{date} in {}", window.tz),
        None => window.describe(),
    };
    let Some((before, after)) = nearest else {
        return format!("no {what} of {name}");
    };
    let place = |hour: Option<Hour>, side: &str| {
        hour.map(|hour| format!("{} {side} it", layout::prefix_of(hour)))
    };
    let places: Vec<String> =
        [place(before, "before"), place(after, "after")].into_iter().flatten().collect();
    format!("no objects for {name}; the nearest are in {}", places.join(" and "))
}

/// Opens `--out`, without its lock.
pub fn open_out(out: &SourceUrl, s3: &S3Config) -> Result<Published, Error> {
    Published::at(out, &s3.store_options()).map_err(|error| job_error(error.into()))
}

/// The source as it is shown and written down: a folder below the working directory by its
/// relative path, so that the same run in another clone says the same.
pub fn shown(source: &SourceUrl) -> String {
    let SourceUrl::Folder(path) = source else {
        return source.to_string();
    };
    let relative = std::env::current_dir().ok().and_then(|here| {
        let below = path.strip_prefix(&here).ok()?;
        (!below.as_os_str().is_empty()).then(|| below.to_path_buf())
    });
    SourceUrl::Folder(relative.unwrap_or_else(|| path.clone())).to_string()
}

/// True for what would fail any other day in the same way.
pub fn concerns_all(error: &JobError) -> bool {
    match error {
        JobError::Interrupted => true,
        JobError::Store(error) => error.concerns_whole_source(),
        JobError::Publish(error) => !matches!(error, PublishError::FooterTooLong { .. }),
        _ => false,
    }
}

/// What a job's failure is to the user.
pub fn job_error(error: JobError) -> Error {
    use crate::aggregate::AggregateError;
    match error {
        JobError::Interrupted | JobError::Publish(PublishError::Interrupted) => {
            Error::Interrupted { publishing: false }
        }
        JobError::Aggregate(
            error @ (AggregateError::UnknownColumn { .. } | AggregateError::Step { .. }),
        ) => Error::Usage { message: error.to_string(), hint: None },
        JobError::Publish(error @ PublishError::OtherZone { .. }) => {
            Error::Usage { message: error.to_string(), hint: None }
        }
        JobError::Chart(error @ ChartError::TooLow { .. }) => {
            Error::usage(error.to_string(), "--size 1200 without a height is as high as it must be")
        }
        error @ (JobError::NoTimeField { .. }
        | JobError::NoTimeInField { .. }
        | JobError::NoDedupField { .. }
        | JobError::LayoutUnclear { .. }
        | JobError::NothingFits { .. }) => {
            Error::Usage { message: error.to_string(), hint: error.hint() }
        }
        other => {
            let hint = other.hint();
            Error::Failed { source: Box::new(other), hint }
        }
    }
}
