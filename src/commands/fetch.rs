//! `rawcat fetch` and `rawcat sync`: each window's job, then what came of it.

use std::io::Write;
use std::time::Instant;

use super::days::{self, Done, Row};
use super::range;
use super::told::{drift, gone, summary, warnings};
use super::windows::{
    Raw, concerns_all, fetch_spec, job_error, json_text, open_out, open_raw, take_layout, windows,
};
use crate::cli::Drift;
use crate::config::FetchConfig;
use crate::error::{Error, ExitCode, Interrupt, say};
use crate::job::{self, JobError, JobSpec, Outcome, Standing};
use crate::progress::{Mode, Phase, Progress};
use crate::publish::{DriftNote, Manifest, Out, Published, Since};
use crate::window::Hour;

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
    progress: Progress,
    /// More than one was asked for.
    several: bool,
    /// Only what is published already is made.
    is_sync: bool,
    rows: Vec<Row>,
    code: ExitCode,
    /// What was printed reached nobody.
    unheard: bool,
}

/// Whether a day is made, and why, where it had been published before.
enum Choice {
    Make(Option<String>),
    Leave(Left),
}

/// Why a day is not made.
enum Left {
    Unpublished,
    Unchanged,
    Poorer(Since),
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
        let (mut specs, left_out) = range::with_records(specs, &raw.store, &published)?;
        let begins: Vec<Hour> = specs.iter().map(JobSpec::first_hour).collect();
        for (spec, next) in specs.iter_mut().zip(begins.into_iter().skip(1)) {
            spec.next_from = Some(next);
        }
        for line in left_out {
            say(&format!("rawcat: {line}"));
        }
        Ok(Days {
            config,
            interrupt,
            raw,
            published,
            specs,
            progress: Progress::new(if config.json { Mode::Quiet } else { config.mode }),
            several,
            is_sync,
            rows: Vec::new(),
            code: ExitCode::Complete,
            unheard: false,
        })
    }

    fn publish(mut self) -> Result<ExitCode, Error> {
        let ended = self.all();
        self.progress.finish();
        let (config, rows) = (self.config, std::mem::take(&mut self.rows));
        let is_table = self.several || self.is_sync;
        if is_table && !rows.is_empty() && !config.json && config.mode != Mode::Quiet {
            self.print(days::table(&rows).as_bytes());
        }
        ended?;
        Ok(if self.unheard && config.json { ExitCode::Failed } else { self.code })
    }

    /// Makes one day after another. What fails for one day alone does not keep the others.
    fn all(&mut self) -> Result<(), Error> {
        for at in 0..self.specs.len() {
            self.interrupt.check()?;
            let day = self.specs[at].target().id();
            if self.several {
                self.progress.day(&day, at, self.specs.len());
            }
            let row = self.day(at);
            // What is told of a day stands below no bar.
            self.progress.finish();
            match row {
                Ok(row) => self.rows.push(row),
                Err(error) => {
                    let ends_all = !self.several || concerns_all(&error);
                    let error = job_error(error);
                    // What was typed is wrong of all days where it is of the first.
                    if ends_all || self.rows.is_empty() && error.exit_code() == ExitCode::Usage {
                        return Err(if self.several { error.of_day(&day) } else { error });
                    }
                    let code = error.exit_code();
                    error.of_day(&day).print();
                    self.code = self.code.worse(code);
                    let manifest = self.published.manifest(&self.specs[at].target());
                    let manifest = manifest.map_err(|error| job_error(error.into()))?;
                    self.rows.push(Row { day, manifest, done: Done::Failed });
                }
            }
        }
        Ok(())
    }

    /// Makes one day, or says why it is left.
    fn day(&mut self, at: usize) -> Result<Row, JobError> {
        let (config, interrupt) = (self.config, self.interrupt);
        let spec = &self.specs[at];
        let day = spec.target().id();
        let started = Instant::now();
        let out =
            Out::open(&self.published, spec.window.tz.name(), spec.now_utc, interrupt.flag())?;
        let why = match self.choose(at)? {
            Choice::Make(why) => why,
            Choice::Leave(left) => {
                self.progress.finish();
                return self.leave(at, day, &left);
            }
        };
        let (source, store) = (&self.raw.source, &self.raw.store);
        let outcome = job::fetch(spec, source, store, &out, &self.progress, interrupt.flag());
        self.progress.finish();
        drop(out);
        let outcome = outcome?;
        self.tell(at, &outcome, started);
        take_layout(&mut self.specs, at, &outcome.inferred, config.mode == Mode::Quiet);
        let took = started.elapsed();
        Ok(match outcome.withheld {
            None => Row { day, manifest: Some(outcome.manifest), done: Done::Made { took, why } },
            Some(_) => {
                let manifest = self.published.manifest(&self.specs[at].target())?;
                Row { day, manifest, done: Done::Left("left: this run is worse".to_string()) }
            }
        })
    }

    /// Looks at what is published of a day, and at what its hours hold now.
    fn choose(&self, at: usize) -> Result<Choice, JobError> {
        let (config, spec) = (self.config, &self.specs[at]);
        if self.is_sync && self.published.manifest(&spec.target())?.is_none() {
            return Ok(Choice::Leave(Left::Unpublished));
        }
        if config.again || !self.several && !self.is_sync {
            return Ok(Choice::Make(None));
        }
        let (source, store) = (&self.raw.source, &self.raw.store);
        self.progress.phase(Phase::Listing, 0, 0);
        Ok(match job::standing(spec, source, store, &self.published, &self.progress)? {
            Standing::New => Choice::Make(None),
            Standing::Changed(why) => Choice::Make(Some(why)),
            Standing::Unchanged => Choice::Leave(Left::Unchanged),
            Standing::Poorer(since) if config.accept_incomplete => Choice::Make(Some(gone(&since))),
            Standing::Poorer(since) => Choice::Leave(Left::Poorer(since)),
        })
    }

    /// A day that is not made counts as it is published.
    fn leave(&mut self, at: usize, day: String, left: &Left) -> Result<Row, JobError> {
        let is_silent = self.config.json || self.config.mode == Mode::Quiet;
        let mut why = match left {
            Left::Unpublished => "it was never published".to_string(),
            Left::Unchanged => "unchanged".to_string(),
            Left::Poorer(since) => format!("left: {}", gone(since)),
        };
        let Some(manifest) = self.published.manifest(&self.specs[at].target())? else {
            if is_silent {
                say(&format!("rawcat: {day}: {why}: `rawcat fetch` publishes it"));
            }
            return Ok(Row { day, manifest: None, done: Done::Left(why) });
        };
        if let Left::Poorer(since) = left {
            say(&format!("rawcat: {day}: {why}; replace the day by --accept-incomplete"));
            // What came is not in the day.
            if since.came + since.changed > 0 {
                self.skipped();
            }
        }
        if !manifest.verdict.complete {
            let reasons = manifest.verdict.reasons.join(", ");
            say(&format!("rawcat: {day}: incomplete as it was: {reasons}"));
            self.skipped();
        }
        if let Some(drift) = drift(&manifest).filter(|_| self.config.drift != Drift::Ignore) {
            match is_silent {
                true => say(&format!("warning: {day}: {drift}")),
                false => why.push_str(&format!("; {drift}")),
            }
        }
        if has_other_columns(&manifest) && self.config.drift == Drift::Fail {
            self.skipped();
        }
        if self.config.json {
            self.print(json_text(&manifest, !self.several).as_bytes());
        }
        Ok(Row { day, manifest: Some(manifest), done: Done::Left(why) })
    }

    /// Says what became of a day that was read.
    fn tell(&mut self, at: usize, outcome: &Outcome, started: Instant) {
        let spec = &self.specs[at];
        let (json, mode, drift) = (self.config.json, self.config.mode, self.config.drift);
        let warns_of_drift = drift != Drift::Ignore;
        let summary = summary(spec, outcome, &self.published, started, warns_of_drift);
        let skipped = summary.skipped_something();
        let id = spec.target().id();
        let is_told = skipped || outcome.withheld.is_some() || summary.says_more();
        if json {
            self.print(json_text(&outcome.manifest, !self.several).as_bytes());
        } else if mode == Mode::Verbose || mode != Mode::Quiet && (!self.several || is_told) {
            self.print(summary.text().as_bytes());
        }
        if skipped || has_other_columns(&outcome.manifest) && drift == Drift::Fail {
            self.skipped();
        }
        if !json && mode != Mode::Quiet {
            return;
        }
        if let Some(why) = &outcome.withheld {
            let day = if self.several { format!("{id}: ") } else { String::new() };
            say(&format!("rawcat: {day}{why}"));
        }
        for warning in warnings(&outcome.manifest, warns_of_drift) {
            say(&format!("warning: {id}: {warning}"));
        }
    }

    /// Something is not in the days.
    fn skipped(&mut self) {
        self.code = self.code.worse(ExitCode::Skipped);
    }

    /// The days are what was asked for: where nobody gets what is printed, the others are still made.
    fn print(&mut self, text: &[u8]) {
        if let Err(error) = print(text) {
            error.print();
            self.unheard = true;
        }
    }
}

fn has_other_columns(manifest: &Manifest) -> bool {
    manifest.drift.as_ref().is_some_and(DriftNote::is_other)
}

/// A reader who went away (`| head`) does not end the work: the days are what was asked for.
fn print(text: &[u8]) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()).map_err(Error::stdout) {
        Err(Error::BrokenPipe) => Ok(()),
        other => other,
    }
}
