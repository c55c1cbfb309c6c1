//! `rawcat fetch`: each window's job, then what came of it.

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use super::windows::{fetch_spec, job_error, open_out, open_store, shown, windows};
use crate::config::FetchConfig;
use crate::error::{Error, ExitCode, Interrupt};
use crate::job::{self, JobSpec, Outcome};
use crate::layout;
use crate::progress::{
    Counted, Files, Mode, Nearest, Objects, Progress, Quarantined, Records, Summary, Verdict,
    WindowShown, Written,
};
use crate::publish::{Manifest, Out, Published, State};

/// Publishes every selected window. The exit code is the worst of them.
pub fn fetch(config: &FetchConfig, interrupt: &Interrupt) -> Result<ExitCode, Error> {
    let windows = windows(&config.days)?;
    let specs = windows.into_iter().map(|window| fetch_spec(config, window));
    let specs = specs.collect::<Result<Vec<JobSpec>, Error>>()?;
    let store = open_store(&config.input.source, &config.input.s3)?;
    let published = open_out(&config.out, &config.input.s3)?;
    let source = shown(&config.input.source);
    let mut code = ExitCode::Complete;
    for spec in &specs {
        let started = Instant::now();
        let out = Out::open(&published, spec.window.tz.name(), spec.now_utc, interrupt.flag())
            .map_err(|error| job_error(error.into()))?;
        let progress = Progress::new(if config.json { Mode::Quiet } else { config.mode });
        let outcome = job::fetch(spec, &source, &store, &out, &progress, interrupt.flag());
        progress.finish();
        let outcome = outcome.map_err(job_error)?;
        let summary = summary(spec, &outcome, &published, started);
        if summary.skipped_something() {
            code = ExitCode::Skipped;
        }
        if config.json {
            print(outcome.manifest.to_json().as_bytes())?;
        } else if config.mode != Mode::Quiet {
            print(summary.text().as_bytes())?;
        }
        if let Some(why) = &outcome.withheld
            && (config.json || config.mode == Mode::Quiet)
        {
            eprintln!("rawcat: {why}");
        }
    }
    Ok(code)
}

fn print(text: &[u8]) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text).and_then(|()| stdout.flush()).map_err(Error::stdout)
}

/// The outcome as a person reads it.
fn summary(spec: &JobSpec, outcome: &Outcome, out: &Published, started: Instant) -> Summary {
    let Outcome { manifest, details, withheld } = outcome;
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
            State::Provisional => Verdict::Provisional(manifest.verdict.reasons.clone()),
        },
        failed: failed_prefixes.chain(failed_objects).collect(),
        quarantine: quarantine.collect(),
        time_sources: manifest.time.sources.iter().map(|(name, n)| counted(name, *n)).collect(),
        empty_hours: details.empty_hours.iter().map(|hour| hour.start()).collect(),
        nearest: details.nearest.map(|(before, after)| nearest(manifest, before, after)),
        notes: notes(manifest),
        files: match withheld {
            Some(why) => Files::Withheld(why.clone()),
            None => Files::Published(written(manifest, out)),
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

fn notes(manifest: &Manifest) -> Vec<String> {
    let mut notes = Vec::new();
    if manifest.duplicate_keys > 0 {
        notes.push(format!(
            "{} keys came twice in one record; the last value counts",
            manifest.duplicate_keys
        ));
    }
    if manifest.time.leap_clamped > 0 {
        notes
            .push(format!("{} times said :60 and count as :59.999999", manifest.time.leap_clamped));
    }
    notes
}

fn written(manifest: &Manifest, out: &Published) -> Vec<Written> {
    let files = manifest.files.iter();
    let written = |path: &str, bytes| Written { path: out.shown_path(Path::new(path)), bytes };
    files.map(|file| written(&file.path, file.bytes)).collect()
}
