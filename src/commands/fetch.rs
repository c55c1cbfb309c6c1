//! `rawcat fetch` and `rawcat sync`: each window's job, then what came of it.

use std::io::Write;
use std::time::Instant;

use super::days::{self, Done, Row};
use super::range;
use super::windows::{
    Raw, fetch_spec, job_error, json_text, open_out, open_raw, take_layout, windows,
};
use crate::cli::Drift;
use crate::config::FetchConfig;
use crate::error::{Error, ExitCode, Interrupt, say};
use crate::job::{self, JobSpec, Misfit, MixedColumn, Outcome, Standing, UnreadTime};
use crate::layout;
use crate::progress::{
    Counted, Files, Mode, Nearest, Objects, Phase, Progress, Quarantined, Records, Summary,
    Verdict, WindowShown, Written, count_text, counted as count_of,
};
use crate::publish::{DriftNote, Item, Manifest, Out, Published, State};
use crate::schema::Path;

/// Publishes every selected window. The exit code is the worst of them.
pub fn fetch(config: &FetchConfig, interrupt: &Interrupt) -> Result<ExitCode, Error> {
    Days::open(config, interrupt, false)?.publish()
}

/// Publishes those windows again of which something else is published than would be now.
pub fn sync(config: &FetchConfig, interrupt: &Interrupt) -> Result<ExitCode, Error> {
    Days::open(config, interrupt, true)?.publish()
}

/// The windows of one command.
struct Days<'a> {
    config: &'a FetchConfig,
    interrupt: &'a Interrupt,
    raw: Raw,
    published: Published,
    specs: Vec<JobSpec>,
    /// More than one was asked for.
    several: bool,
    /// Only what is published already is made.
    is_sync: bool,
    code: ExitCode,
    /// What was printed reached nobody.
    unheard: bool,
}

impl<'a> Days<'a> {
    fn open(
        config: &'a FetchConfig,
        interrupt: &'a Interrupt,
        is_sync: bool,
    ) -> Result<Self, Error> {
        let windows = windows(&config.days)?;
        let raw = open_raw(&config.input)?;
        let specs = windows.into_iter().map(|window| fetch_spec(config, &raw, window));
        let specs = specs.collect::<Result<Vec<JobSpec>, Error>>()?;
        let published = open_out(&config.out, &config.input.s3)?;
        let several = specs.len() > 1;
        let (specs, left_out) = range::with_records(specs, &raw.store)?;
        for line in left_out {
            say(&format!("rawcat: {line}"));
        }
        let (code, unheard) = (ExitCode::Complete, false);
        Ok(Days { config, interrupt, raw, published, specs, several, is_sync, code, unheard })
    }

    fn publish(mut self) -> Result<ExitCode, Error> {
        let mut rows = Vec::with_capacity(self.specs.len());
        for at in 0..self.specs.len() {
            self.interrupt.check()?;
            rows.push(self.day(at)?);
        }
        if (self.several || self.is_sync) && !self.config.json && self.config.mode != Mode::Quiet {
            self.print(days::table(&rows).as_bytes());
        }
        Ok(if self.unheard && self.config.json { ExitCode::Failed } else { self.code })
    }

    /// Makes one day, or says why it is left.
    fn day(&mut self, at: usize) -> Result<Row, Error> {
        let (config, interrupt) = (self.config, self.interrupt);
        let spec = &self.specs[at];
        let day = spec.target().id();
        let started = Instant::now();
        let out = Out::open(&self.published, spec.window.tz.name(), spec.now_utc, interrupt.flag())
            .map_err(|error| job_error(error.into()))?;
        let progress = Progress::new(if config.json { Mode::Quiet } else { config.mode });
        let looks = (self.several || self.is_sync) && !config.again;
        let standing = match looks {
            false => Standing::New,
            true => {
                let (source, store) = (&self.raw.source, &self.raw.store);
                progress.phase(Phase::Listing, 0, 0);
                job::standing(spec, source, store, &self.published, &progress).map_err(job_error)?
            }
        };
        let why = match standing {
            Standing::New if self.is_sync && looks => Err("it was never published".to_string()),
            Standing::New => Ok(None),
            Standing::Changed(why) => Ok(Some(why)),
            Standing::Unchanged => Err("unchanged".to_string()),
            Standing::Poorer(_) if config.accept_incomplete => Ok(Some("objects are gone".into())),
            Standing::Poorer(gone) => {
                let gone = count_of(&count_text(gone), "object");
                let why = format!("{gone} fewer than it was made of");
                say(&format!(
                    "rawcat: {day}: {why}: the day is left as it was; replace it by --accept-incomplete"
                ));
                Err(why)
            }
        };
        let why = match why {
            Ok(why) => why,
            Err(why) => {
                progress.finish();
                return self.leave(at, day, why);
            }
        };
        let (source, store) = (&self.raw.source, &self.raw.store);
        let outcome = job::fetch(spec, source, store, &out, &progress, interrupt.flag());
        progress.finish();
        drop(out);
        let outcome = outcome.map_err(job_error)?;
        self.tell(at, &outcome, started);
        let quiet = config.mode == Mode::Quiet;
        take_layout(&mut self.specs[at + 1..], &outcome.inferred, quiet);
        let took = started.elapsed();
        Ok(match outcome.withheld {
            None => Row { day, manifest: Some(outcome.manifest), done: Done::Made { took, why } },
            Some(_) => {
                let manifest = self.manifest(at)?;
                Row { day, manifest, done: Done::Left("left: this run is worse".to_string()) }
            }
        })
    }

    /// What is published for a day.
    fn manifest(&self, at: usize) -> Result<Option<Manifest>, Error> {
        let manifest = self.published.manifest(&self.specs[at].target());
        manifest.map_err(|error| job_error(error.into()))
    }

    /// A day that is not made counts as it is published.
    fn leave(&mut self, at: usize, day: String, why: String) -> Result<Row, Error> {
        let manifest = self.manifest(at)?;
        if let Some(manifest) = &manifest {
            let is_other = manifest.drift.as_ref().is_some_and(DriftNote::is_other);
            if !manifest.verdict.complete || is_other && self.config.drift == Drift::Fail {
                self.code = ExitCode::Skipped;
            }
            if self.config.json {
                self.print(json_text(manifest, !self.several).as_bytes());
            }
        }
        Ok(Row { day, manifest, done: Done::Left(why) })
    }

    /// Says what became of a day that was read.
    fn tell(&mut self, at: usize, outcome: &Outcome, started: Instant) {
        let spec = &self.specs[at];
        let warns_of_drift = self.config.drift != Drift::Ignore;
        let summary = summary(spec, outcome, &self.published, started, warns_of_drift);
        let skipped = summary.skipped_something();
        let id = spec.target().id();
        let is_told = skipped || outcome.withheld.is_some() || summary.says_more();
        let (json, mode) = (self.config.json, self.config.mode);
        if json {
            self.print(json_text(&outcome.manifest, !self.several).as_bytes());
        } else if mode == Mode::Verbose || mode != Mode::Quiet && (!self.several || is_told) {
            self.print(summary.text().as_bytes());
        }
        let is_other = outcome.manifest.drift.as_ref().is_some_and(DriftNote::is_other);
        if skipped || is_other && self.config.drift == Drift::Fail {
            self.code = ExitCode::Skipped;
        }
        if let Some(why) = &outcome.withheld
            && (json || mode == Mode::Quiet)
        {
            say(&format!("rawcat: {why}"));
        }
        let drifted = drift(&outcome.manifest).filter(|_| warns_of_drift);
        let warnings = empty(&outcome.manifest).into_iter();
        let warnings = warnings.chain(fewer(&outcome.manifest)).chain(drifted);
        for warning in warnings.filter(|_| json || mode == Mode::Quiet) {
            say(&format!("warning: {id}: {warning}"));
        }
    }

    /// The days are what was asked for: where nobody gets what is printed, the others are still made.
    fn print(&mut self, text: &[u8]) {
        if let Err(error) = print(text) {
            error.print();
            self.unheard = true;
        }
    }
}

/// A reader who went away (`| head`) does not end the work: the days are what was asked for.
fn print(text: &[u8]) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()).map_err(Error::stdout) {
        Err(Error::BrokenPipe) => Ok(()),
        other => other,
    }
}

/// The outcome as a person reads it.
fn summary(
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
fn drift(manifest: &Manifest) -> Option<String> {
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

/// A complete run may replace a day that had more: objects may be gone on purpose. It is said.
fn fewer(manifest: &Manifest) -> Option<String> {
    let before = manifest.run.replaced?;
    let fewer = before.records.checked_sub(manifest.records.day).filter(|fewer| *fewer > 0)?;
    let fewer = count_of(&count_text(fewer), "record");
    Some(format!(
        "{fewer} fewer than in what it replaces: if that was not meant, check --source and the \
         options, and fetch again"
    ))
}

fn written(spec: &JobSpec, manifest: &Manifest, out: &Published) -> Vec<Written> {
    let files = manifest.files.iter().map(|file| (file.path.clone(), file.bytes));
    let own = spec.target().path(&Item::Manifest).display().to_string();
    let own = (own, manifest.to_json().len() as u64);
    let path = |(path, bytes)| Written { path: out.shown_path(&path), bytes };
    files.chain([own]).map(path).collect()
}
