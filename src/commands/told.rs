//! What became of a day, for a person: the manifest and what stands beside it go in, the numbers and
//! sentences of a summary come out.

use std::time::Instant;

use crate::job::{self, JobSpec, Misfit, MixedColumn, Outcome, UnreadTime};
use crate::layout;
use crate::progress::{
    Counted, Files, Nearest, Objects, Quarantined, Records, Summary, Verdict, WindowShown, Written,
    count_text, counted as count_of,
};
use crate::publish::{Item, Manifest, Published, Since, State};
use crate::schema::Path;

/// The outcome as a person reads it.
pub fn summary(
    spec: &JobSpec,
    outcome: &Outcome,
    out: &Published,
    started: Instant,
    warns_of_drift: bool,
) -> Summary {
    let Outcome { manifest, details, withheld, .. } = outcome;
    let counted = |what: &str, count: u64| Counted { what: what.to_string(), count };
    let failed_prefixes = manifest.listing.prefixes.iter().filter_map(|prefix| {
        let error = prefix.error.as_ref()?;
        Some(counted(&format!("{}: {error}", prefix.prefix), 1))
    });
    let failed_objects = manifest
        .objects
        .failed
        .iter()
        .map(|failed| counted(&format!("{}: {}", failed.key, failed.reason), 1));
    let excluded = manifest.objects.excluded.iter().map(|e| counted(&e.reason, e.objects));
    let places = |reason: &str| {
        let known = details.places.iter().find(|(of, _)| of == reason);
        known.map(|(_, places)| places.clone()).unwrap_or_default()
    };
    let quarantine = manifest.quarantine.iter().map(|note| Quarantined {
        reason: note.reason.clone(),
        records: note.records,
        places: places(&note.reason),
    });
    Summary {
        window: WindowShown {
            date: spec.window.date,
            tz: spec.window.tz,
            start_utc: spec.window.start_utc,
            end_utc: spec.window.end_utc,
        },
        objects: Objects {
            listed: manifest.objects.listed,
            read: manifest.objects.read,
            failed: manifest.objects.failed.len() as u64,
            excluded: excluded.collect(),
            stored_bytes: manifest.bytes.stored,
            unparsed_names: manifest.objects.names_unparsed.iter().map(|n| n.objects).sum(),
        },
        records: Records {
            day: manifest.records.day,
            before: manifest.records.before,
            after: manifest.records.after,
            duplicates: manifest.records.duplicates_dropped,
            quarantined: manifest.records.quarantined,
        },
        verdict: match manifest.verdict.state {
            State::Final => Verdict::Final,
            State::Provisional => {
                Verdict::Provisional(details.still_open.clone().into_iter().collect())
            }
        },
        failed: failed_prefixes
            .chain(failed_objects)
            .chain(details.listing_cut.map(|reason| counted(reason, 1)))
            .collect(),
        quarantine: quarantine.collect(),
        time_sources: {
            let sources = manifest.time.sources.iter().map(|(name, n)| counted(name, *n));
            let mut sources: Vec<Counted> = sources.collect();
            sources.sort_by_key(|source| std::cmp::Reverse(source.count));
            sources
        },
        empty_hours: details.empty_hours.iter().map(|hour| hour.start()).collect(),
        nearest: details.nearest.map(|(before, after)| nearest(manifest, before, after)),
        opened: opened(manifest),
        notes: notes(spec, outcome, warns_of_drift),
        replaced: manifest.run.replaced.as_ref().map(job::replaced_text),
        files: match withheld {
            Some(why) => Files::Withheld(why.clone()),
            None => Files::Published(written(spec, manifest, out)),
        },
        took: started.elapsed(),
    }
}

fn nearest(
    manifest: &Manifest,
    before: Option<crate::window::Hour>,
    after: Option<crate::window::Hour>,
) -> Nearest {
    let prefixes = &manifest.listing.prefixes;
    let prefix = |at: Option<&crate::publish::PrefixNote>| {
        at.map(|note| note.prefix.clone()).unwrap_or_default()
    };
    Nearest {
        source: manifest.source.clone(),
        first_listed: prefix(prefixes.first()),
        last_listed: prefix(prefixes.last()),
        before: before.map(layout::prefix_of),
        after: after.map(layout::prefix_of),
    }
}

/// What may have been meant otherwise, each with an example and what to do.
fn notes(spec: &JobSpec, outcome: &Outcome, warns_of_drift: bool) -> Vec<String> {
    let manifest = &outcome.manifest;
    let details = &outcome.details;
    let mut notes = Vec::new();
    notes.extend(empty(manifest).filter(|_| outcome.withheld.is_none()));
    notes.extend(fewer(manifest));
    if details.sparse {
        notes.push(
            "groups times buckets exceed a million: buckets without records have no rows"
                .to_string(),
        );
    }
    if let Some((key, unread)) = &details.unread_time {
        let records = count_of(&count_text(manifest.time.unreadable), "record");
        let UnreadTime { offset, field, value } = unread;
        notes.push(format!(
            "{records} took the object's time, because no time field in them reads as a time \
             within 1990 to 2100: {field} is '{value}' in {key}:{offset}; name another field by \
             --time-field, or mend the producer"
        ));
    }
    for Misfit { column, column_type, value, place } in &details.misfits {
        notes.push(format!(
            "{column} is declared {column_type}, and {value} does not read as one ({place}); such \
             records are quarantined: check --type and rawcat.schema.json"
        ));
    }
    for MixedColumn { name, records, place } in &details.mixed {
        let have = if *records == 1 { "has" } else { "have" };
        let counted = count_of(&count_text(*records), "record");
        let because = format!(
            "{name} is json here, because {counted} {have} a list or an object there ({place}), and \
             others have text, which stands in quotes"
        );
        notes.push(match records * 2 < manifest.records.day {
            true => format!("{because}; --type {name}=text quarantines the {counted}"),
            false => because,
        });
    }
    for metric in manifest.metrics.iter().filter(|m| m.numbers == 0 && m.not_numbers > 0) {
        let values = count_text(metric.not_numbers);
        notes.push(format!("none of the {values} values of {} is a number", metric.name));
    }
    if spec.export.records && manifest.records.day > 0 {
        let lost = spec.pins.keys().filter(|pin| {
            let columns = &mut manifest.columns.iter();
            !columns.any(|column| Path::of_pointer(&column.path).is_named(pin))
        });
        let lost: Vec<&str> = lost.map(String::as_str).collect();
        if !lost.is_empty() {
            notes.push(format!("no record has the typed columns {}", lost.join(", ")));
        }
    }
    notes.extend(drift(manifest).filter(|_| warns_of_drift));
    notes.extend(same_objects(spec, manifest));
    if manifest.duplicate_keys > 0 {
        let keys = count_of(&count_text(manifest.duplicate_keys), "key");
        notes.push(format!("{keys} more than once in one record; the last value counts"));
    }
    if manifest.time.leap_clamped > 0 {
        let times = count_of(&count_text(manifest.time.leap_clamped), "time");
        let count = if manifest.time.leap_clamped == 1 { "counts" } else { "count" };
        notes.push(format!("{times} said :60 and {count} as :59.999999"));
    }
    notes
}

/// Envelopes, and what was in them.
fn opened(manifest: &Manifest) -> Option<String> {
    let envelopes = &manifest.envelopes;
    let of_them = match envelopes.control {
        0 => String::new(),
        control => format!("; {} were control messages", count_text(control)),
    };
    let count = |n: u64, what: &str| count_of(&count_text(n), what);
    (envelopes.opened > 0).then(|| {
        let (opened, records) =
            (count(envelopes.opened, "envelope"), count(envelopes.records, "record"));
        format!("{opened} with {records}{of_them}")
    })
}

/// Columns that nobody pinned. Those that are lost are named as any typed ones.
pub fn drift(manifest: &Manifest) -> Option<String> {
    const SHOWN: usize = 10;
    let new = &manifest.drift.as_ref()?.new;
    let names = new.iter().take(SHOWN).map(|path| Path::of_pointer(path).flat_name());
    let names = names.collect::<Vec<_>>().join(", ");
    let more = if new.len() > SHOWN { ", …" } else { "" };
    let columns = count_of(&count_text(new.len() as u64), "column");
    (!new.is_empty()).then(|| {
        format!(
            "{columns} not in the pinned types: {names}{more}; pin them by `rawcat schema --pin`, or \
             say --drift ignore"
        )
    })
}

/// Objects that came twice, the first of them by name.
fn same_objects(spec: &JobSpec, manifest: &Manifest) -> Option<String> {
    let same = &manifest.objects.same_objects;
    let first = same.examples.first()?;
    let have = if same.objects == 1 { "has" } else { "have" };
    let objects = count_of(&count_text(same.objects), "object");
    let (key, same_as) = (&first.key, &first.same_as);
    let said = format!("{objects} {have} the same content as another: {key} that of {same_as}");
    Some(match spec.dedup.identity {
        Some(_) => said,
        None => format!(
            "{said}; their records count twice, unless --dedup-key or --dedup-hash drops them"
        ),
    })
}

/// A day may be empty, and a wrong --source looks like one.
fn empty(manifest: &Manifest) -> Option<String> {
    (manifest.objects.listed == 0 && manifest.verdict.complete).then(|| {
        "no object lies in any hour that was listed, and an empty day is published: if records \
         are missing, check --source and the producer"
            .to_string()
    })
}

/// What a program or a quiet run is to be warned of.
pub fn warnings(manifest: &Manifest, warns_of_drift: bool) -> Vec<String> {
    let drifted = drift(manifest).filter(|_| warns_of_drift);
    empty(manifest).into_iter().chain(fewer(manifest)).chain(drifted).collect()
}

/// A complete run may replace a day that had more: objects may be gone on purpose. It is said.
fn fewer(manifest: &Manifest) -> Option<String> {
    let before = manifest.run.replaced?;
    let fewer = before.records.saturating_sub(manifest.records.day);
    let said = match (fewer, before.objects_gone) {
        (0, 0) => return None,
        (0, gone) => format!("{} of which it was made before {} gone", objects(gone), are(gone)),
        (fewer, 0) => {
            format!("{} fewer than in what it replaces", count_of(&count_text(fewer), "record"))
        }
        (fewer, gone) => format!(
            "{} fewer than in what it replaces, and {} of which that was made {} gone",
            count_of(&count_text(fewer), "record"),
            objects(gone),
            are(gone)
        ),
    };
    Some(format!("{said}: if that was not meant, check --source and the options, and fetch again"))
}

/// What is gone of a day that is left as it was.
pub fn gone(since: &Since) -> String {
    let gone = format!("{} of which it was made {} gone", objects(since.gone), are(since.gone));
    match since.came + since.changed {
        0 => gone,
        more => format!("{gone}, and {} came or changed", objects(more)),
    }
}

fn objects(count: u64) -> String {
    count_of(&count_text(count), "object")
}

fn are(count: u64) -> &'static str {
    if count == 1 { "is" } else { "are" }
}

fn written(spec: &JobSpec, manifest: &Manifest, out: &Published) -> Vec<Written> {
    let files = manifest.files.iter().map(|file| (file.path.clone(), file.bytes));
    let own = spec.target().path(&Item::Manifest).display().to_string();
    let own = (own, manifest.to_json().len() as u64);
    let path = |(path, bytes)| Written { path: out.shown_path(&path), bytes };
    files.chain([own]).map(path).collect()
}
