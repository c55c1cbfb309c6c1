//! Everything that is known at the end of a job → its manifest, the day's books.

use std::collections::{BTreeMap, HashMap};

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::gather::Gathered;
use super::listing::{Found, Listed, name_and_reason};
use super::read::{
    SOURCE_ARRIVAL, SOURCE_ARRIVAL_UNREAD, SOURCE_HOUR, SOURCE_HOUR_UNREAD, SOURCE_NAME,
    SOURCE_NAME_UNREAD,
};
use super::survey::Survey;
use super::{JobSpec, LayoutFrom};
use crate::aggregate::{MetricNote, Metrics};
use crate::json::{Identity, Projection};
use crate::layout::Layout;
use crate::progress::count_text;
use crate::publish::{
    BytesNote, ColumnNote, DriftNote, EnvelopesNote, ExcludedObjects, FailedObject, Inputs,
    ListingNote, MANIFEST_VERSION, Manifest, MetricEntry, ObjectsNote, PrefixNote, QuarantineNote,
    ReasonCount, RecordsNote, RunNote, SameObject, SameObjectsNote, State, TimeNote, Verdict,
    WindowNote, inputs_digest,
};
use crate::schema::{Change, ColumnSpec, Pins, diff};
use crate::window::{Hour, ZONE_DATA_VERSION, describe_length};

/// The books of a job, without its files and its clock.
pub(super) fn manifest(
    spec: &JobSpec,
    source: &str,
    survey: &Survey,
    gathered: &Gathered,
    columns: &[ColumnSpec],
    nulls: &[u64],
    metrics: &[MetricNote],
) -> Manifest {
    let tally = &gathered.tally;
    let quarantine = quarantine(gathered);
    Manifest {
        version: MANIFEST_VERSION,
        window: window(spec),
        zone_data: ZONE_DATA_VERSION.to_string(),
        source: source.to_string(),
        options: options(spec, &survey.listed.layout),
        listing: listing(spec, survey),
        objects: objects(survey, gathered),
        bytes: BytesNote {
            stored: stored_bytes(survey, gathered),
            decoded: gathered.decoded_bytes,
            records: tally.record_bytes,
            separators: tally.separator_bytes,
            quarantined: tally.quarantined_bytes,
        },
        records: RecordsNote {
            parsed: tally.of_the_day() + tally.before + tally.after,
            day: gathered.rows_of_the_day(),
            before: tally.before,
            after: tally.after,
            duplicates_dropped: tally.copies,
            without_dedup_key: gathered.lacking,
            recovered: gathered.recovered,
            quarantined: quarantine.iter().map(|note| note.records).sum(),
        },
        envelopes: EnvelopesNote {
            opened: gathered.opened.envelopes,
            records: gathered.opened.records,
            control: gathered.opened.control,
        },
        time: time(spec, gathered),
        duplicate_keys: duplicate_keys(gathered),
        columns: columns
            .iter()
            .zip(nulls.iter().copied().chain(std::iter::repeat(0)))
            .map(|(column, nulls)| ColumnNote {
                name: column.name.clone(),
                path: column.path.pointer().to_string(),
                column_type: column.column_type.to_string(),
                kinds: column.kinds.names(),
                nulls,
            })
            .collect(),
        metrics: metrics
            .iter()
            .map(|metric| MetricEntry {
                name: metric.name.clone(),
                path: metric.path.pointer().to_string(),
                numbers: metric.numbers,
                not_numbers: metric.not_numbers,
            })
            .collect(),
        drift: drift(spec, gathered, columns),
        quarantine,
        verdict: verdict(spec, survey, gathered),
        inputs_digest: inputs_digest(
            survey
                .listed
                .objects
                .iter()
                .map(|found| &found.object)
                .map(|object| (object.key.as_str(), object.bytes, object.etag.as_deref())),
        ),
        run: RunNote { inputs: inputs(&survey.listed), ..RunNote::default() },
        ..Manifest::default()
    }
}

/// The objects to read, as a later run tells them apart.
pub(super) fn inputs(listed: &Listed) -> Inputs {
    Inputs::of(listed.objects.iter().map(|Found { object, .. }| {
        let modified = || object.last_modified_utc.and_then(|at| at.timestamp_nanos_opt());
        (object.key.as_str(), object.bytes, object.etag.as_deref().ok_or_else(modified))
    }))
}

/// How the columns differ from those that are expected. A day without records says nothing.
fn drift(spec: &JobSpec, gathered: &Gathered, columns: &[ColumnSpec]) -> Option<DriftNote> {
    let expected = spec.expected.as_ref()?;
    let reads_all = matches!(spec.projection(), Projection::All);
    if !reads_all || gathered.rows_of_the_day() == 0 {
        return None;
    }
    let now = columns.iter().map(|c| (c.path.pointer().to_string(), c.column_type)).collect();
    let mut note = DriftNote::default();
    for (path, change) in diff(expected, &now) {
        match change {
            Change::New { .. } => note.new.push(path),
            Change::Lost { .. } => note.lost.push(path),
            // A pinned column has its type, whatever `--type` makes of it.
            Change::Retyped { .. } => {}
        }
    }
    Some(note)
}

/// RFC 3339 in UTC, without digits that say nothing.
fn utc(instant: chrono::DateTime<chrono::Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn window(spec: &JobSpec) -> WindowNote {
    let window = &spec.window;
    WindowNote {
        date: window.date.map(|date| date.to_string()),
        tz: window.tz.name().to_string(),
        start_utc: utc(window.start_utc),
        end_utc: utc(window.end_utc),
        hours: window.length().num_seconds() as f64 / 3600.0,
    }
}

pub(super) fn options(spec: &JobSpec, layout: &Layout) -> BTreeMap<String, Value> {
    let seconds = |delta: chrono::TimeDelta| describe_length(delta);
    let exports = [
        ("records", spec.export.records),
        ("aggregates", spec.export.aggregates),
        ("chart", spec.export.chart),
    ];
    let exports: Vec<&str> = exports.iter().filter(|export| export.1).map(|e| e.0).collect();
    let pin_texts = |pins: &Pins| -> BTreeMap<String, String> {
        pins.iter().map(|(name, pin)| (name.clone(), pin.to_string())).collect()
    };
    let dedup_key = spec.dedup.identity.as_ref().map(Identity::fields).unwrap_or_default();
    let entries = [
        ("layout", json!(layout.prefix().to_string())),
        ("prefix-tz", json!(layout.zones().to_string())),
        ("look-back", json!(seconds(spec.look_back))),
        ("look-ahead", json!(seconds(spec.look_ahead))),
        ("max-late", json!(seconds(spec.max_late))),
        ("time-field", json!(spec.rule.field)),
        ("field-tz", json!(spec.rule.field_tz.name())),
        ("fallback-key", json!(spec.rule.fallback_key)),
        ("type", json!(pin_texts(&spec.pins))),
        ("schema", json!(spec.expected.as_ref().map(pin_texts))),
        ("by", json!(spec.by)),
        (
            "metric",
            match &spec.metrics {
                Metrics::Auto => Value::Null,
                Metrics::Named(names) => json!(names),
            },
        ),
        ("every", json!(seconds(spec.every))),
        ("export", json!(exports)),
        ("size", json!(spec.picture)),
        ("panels", json!(spec.panels)),
        ("provenance", json!(spec.provenance)),
        ("envelope", json!(spec.envelopes.name())),
        ("recover", json!(spec.recover)),
        ("error-prefix", json!(spec.error_prefix.as_ref().map(ToString::to_string))),
        ("dedup-key", json!(dedup_key)),
        ("dedup-hash", json!(spec.dedup.identity == Some(Identity::Bytes))),
        ("max-object-bytes", json!(spec.decode.object_bytes)),
        ("max-record-bytes", json!(spec.max_record_bytes)),
    ];
    entries.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
}

fn listing(spec: &JobSpec, survey: &Survey) -> ListingNote {
    let prefixes = survey.listed.prefixes.iter().map(|listed| PrefixNote {
        prefix: listed.prefix.clone(),
        objects: listed.objects,
        bytes: listed.bytes,
        error: listed.failure.as_ref().map(|failure| failure.reason.clone()),
    });
    ListingNote {
        first_hour: utc(survey.listed.hours.first.start()),
        last_hour: utc(survey.listed.hours.last.start()),
        prefixes: prefixes.collect(),
        layout_inferred: survey.layout_from == LayoutFrom::Keys,
        empty_hours: empty_hours(spec, survey).into_iter().map(|hour| utc(hour.start())).collect(),
    }
}

fn objects(survey: &Survey, gathered: &Gathered) -> ObjectsNote {
    let listed = &survey.listed;
    let excluded = listed.excluded();
    let unreadable = listed.unreadable.iter().map(|entry| {
        let (key, reason) = name_and_reason(entry);
        FailedObject { key, reason }
    });
    let failed = gathered
        .failed
        .iter()
        .map(|(key, failure)| FailedObject { key: key.clone(), reason: failure.reason.clone() });
    let excluded = excluded.iter().map(|(reason, excluded)| ExcludedObjects {
        reason: reason.to_string(),
        objects: excluded.objects,
        examples: excluded.examples.clone(),
    });
    let unparsed = listed
        .unparsed
        .iter()
        .map(|(reason, objects)| ReasonCount { reason: reason.clone(), objects: objects.objects });
    ObjectsNote {
        listed: listed.objects_listed(),
        read: gathered.read,
        failed: failed.chain(unreadable).collect(),
        excluded: excluded.collect(),
        same_objects: same_objects(gathered),
        names_unparsed: unparsed.collect(),
    }
}

/// Objects that hold the bytes of an earlier one.
fn same_objects(gathered: &Gathered) -> SameObjectsNote {
    const EXAMPLES: usize = 5;
    let mut firsts: HashMap<(u64, u128), &str> = HashMap::new();
    let mut note = SameObjectsNote::default();
    for (key, bytes, content) in &gathered.contents {
        let first = *firsts.entry((*bytes, *content)).or_insert(key);
        if first == key {
            continue;
        }
        note.objects += 1;
        if note.examples.len() < EXAMPLES {
            note.examples.push(SameObject { key: key.clone(), same_as: first.to_string() });
        }
    }
    note
}

fn stored_bytes(survey: &Survey, gathered: &Gathered) -> u64 {
    let failed = |key: &str| gathered.failed.iter().any(|(name, _)| name == key);
    let read = survey
        .listed
        .objects
        .iter()
        .map(|found| &found.object)
        .filter(|object| gathered.failed.is_empty() || !failed(&object.key));
    read.map(|object| object.bytes).sum()
}

fn time(spec: &JobSpec, gathered: &Gathered) -> TimeNote {
    let fields = spec.rule.fields();
    let counts = gathered.tally.sources;
    let mut sources: BTreeMap<String, u64> = BTreeMap::new();
    for (source, records) in counts.into_iter().enumerate().filter(|(_, records)| *records > 0) {
        let name = match source {
            SOURCE_NAME | SOURCE_NAME_UNREAD => "object name",
            SOURCE_HOUR | SOURCE_HOUR_UNREAD => "prefix hour",
            SOURCE_ARRIVAL | SOURCE_ARRIVAL_UNREAD => "arrival",
            rank => fields[rank],
        };
        *sources.entry(name.to_string()).or_default() += records;
    }
    TimeNote {
        sources,
        unreadable: [SOURCE_NAME_UNREAD, SOURCE_HOUR_UNREAD, SOURCE_ARRIVAL_UNREAD]
            .map(|source| counts[source])
            .iter()
            .sum(),
        leap_clamped: gathered.tally.clamped,
    }
}

/// Keys inside of JSON columns do not count: their text is published as it stands.
fn duplicate_keys(gathered: &Gathered) -> u64 {
    let counts = gathered.duplicate_keys.iter();
    counts.filter(|(path, _)| !gathered.schema.has_json_ancestor(path)).map(|(_, n)| n).sum()
}

fn quarantine(gathered: &Gathered) -> Vec<QuarantineNote> {
    let mut by_reason: BTreeMap<&str, QuarantineNote> = BTreeMap::new();
    for (_, _, lost) in &gathered.lost {
        let note = by_reason.entry(&lost.reason).or_insert_with(|| QuarantineNote {
            reason: lost.reason.clone(),
            ..QuarantineNote::default()
        });
        note.records += lost.places;
        note.bytes += lost.len;
    }
    by_reason.into_values().collect()
}

/// Whether the day can still change, and what was skipped.
fn verdict(spec: &JobSpec, survey: &Survey, gathered: &Gathered) -> Verdict {
    let mut reasons = Vec::new();
    let failed = gathered.failed.len() + survey.listed.unreadable.len();
    let prefixes = survey.listed.failed_prefixes().count();
    let count = |reasons: &mut Vec<String>, n: usize, one: &str, many: &str| match n {
        0 => {}
        1 => reasons.push(format!("1 {one}")),
        n => reasons.push(format!("{} {many}", count_text(n as u64))),
    };
    count(&mut reasons, prefixes, "prefix could not be listed", "prefixes could not be listed");
    count(&mut reasons, failed, "object could not be read", "objects could not be read");
    let places: u64 = gathered.lost.iter().map(|(_, _, lost)| lost.places).sum();
    count(&mut reasons, places as usize, "place is quarantined", "places are quarantined");
    if survey.cut {
        reasons.push(LISTING_CUT.to_string());
    }
    let complete = reasons.is_empty();
    reasons.extend(still_open(spec));
    let state = if reasons.is_empty() { State::Final } else { State::Provisional };
    Verdict { state, complete, reasons }
}

/// The reason where `--max-late` ended the listing and not the records.
pub(super) const LISTING_CUT: &str = "the last hour that --max-late allows still holds records of \
                                      the day, and what lies beyond was not listed";

/// Why records of the window may still come: it is too soon since its end.
pub(super) fn still_open(spec: &JobSpec) -> Option<String> {
    let since_end = spec.now_utc - spec.window.end_utc;
    if since_end < chrono::TimeDelta::zero() {
        Some(NOT_ENDED.to_string())
    } else if since_end < spec.settle {
        let settle = describe_length(spec.settle);
        Some(format!("less than {settle}{NOT_SETTLED}"))
    } else {
        None
    }
}

const NOT_ENDED: &str = "the day has not ended yet";
const NOT_SETTLED: &str = " have passed since the day ended";

/// True where a verdict has a reason of [`still_open`].
pub(super) fn was_open(verdict: &Verdict) -> bool {
    verdict.reasons.iter().any(|reason| reason == NOT_ENDED || reason.ends_with(NOT_SETTLED))
}

/// Listed hours of the window without any object, for the chart and the summary.
pub(super) fn empty_hours(spec: &JobSpec, survey: &Survey) -> Vec<Hour> {
    let inside = |hour: Hour| {
        hour.start() < spec.window.end_utc && hour.next().start() > spec.window.start_utc
    };
    survey
        .listed
        .hours
        .iter()
        .filter(|hour| inside(*hour) && survey.listed.is_empty_at(*hour))
        .collect()
}
