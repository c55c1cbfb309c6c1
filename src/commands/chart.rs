//! `rawcat chart`: pictures of what was published, of one day or of many. Reads no raw objects.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use chrono::{DateTime, Utc};
use polars::prelude::DataFrame;

use super::windows::{job_error, open_out, windows};
use crate::chart::{self, ChartSpec, TermStyle};
use crate::config::ChartConfig;
use crate::error::{Error, ExitCode, Interrupt, wants_colour};
use crate::job::verdict_text;
use crate::publish::{Item, Manifest, Out, PublishError, Published, Step, Target, read_table};
use crate::window::Window;

/// Draws the selected days as one picture, in the terminal or into `charts/`.
pub fn chart(config: &ChartConfig, interrupt: &Interrupt) -> Result<ExitCode, Error> {
    let windows = windows(&config.days)?;
    let published = open_out(&config.out, &config.s3)?;
    let step = Step::new(config.every.num_microseconds().unwrap_or(i64::MAX));
    let mut days = Vec::new();
    for window in &windows {
        interrupt.check()?;
        days.push(Day::read(&published, window, step)?);
    }
    let (first, last) = (&days[0], &days[days.len() - 1]);
    let spec = spec(config, first, last, &days)?;
    let mut table = first.table.clone();
    for day in &days[1..] {
        let joined = table.vstack_mut(&day.table);
        joined.map_err(|_| {
            Error::usage(
                format!("{} has other columns in its buckets than {}", day.name(), first.name()),
                "publish the days with the same --by and --metric, or draw them one by one",
            )
        })?;
    }
    if let Some(columns) = config.term {
        return draw_in_terminal(&spec, &table, columns);
    }
    let picture = chart::draw(&spec, &table).map_err(|error| job_error(error.into()))?;
    let paths = match &days[..] {
        [day] => replace(&published, day, &picture, interrupt.flag())?,
        _ => beside(&published, first, last, &picture, interrupt.flag())?,
    };
    let mut stdout = std::io::stdout().lock();
    for path in paths {
        writeln!(stdout, "{path}").map_err(Error::stdout)?;
    }
    Ok(ExitCode::Complete)
}

/// A published window.
struct Day {
    window: Window,
    target: Target,
    manifest: Manifest,
    table: DataFrame,
}

impl Day {
    fn read(published: &Published, window: &Window, step: Step) -> Result<Day, Error> {
        let target = Target::of(window);
        let missing = |what: String| {
            Error::usage(
                what,
                "publish it first with `rawcat fetch`, with the same --out and --every",
            )
        };
        let failed = |error: PublishError| job_error(error.into());
        let manifest = published.manifest(&target).map_err(failed)?;
        let manifest = manifest.ok_or_else(|| {
            missing(format!("{} is not published in {}", target.id(), published.shown()))
        })?;
        if manifest.window.tz != window.tz.name() {
            return Err(Error::usage(
                format!(
                    "{} is published for {}, not for {}",
                    target.id(),
                    manifest.window.tz,
                    window.tz
                ),
                format!("give --tz {}", manifest.window.tz),
            ));
        }
        let path = published.file(&target, &Item::Buckets(step)).map_err(failed)?;
        let Some(path) = path else {
            return Err(missing(format!("{} has no buckets of {step}", target.id())));
        };
        let table = read_table(&path).map_err(failed)?;
        Ok(Day { window: *window, target, manifest, table })
    }

    fn name(&self) -> String {
        self.target.id()
    }

    /// The group columns stand between the two times and the records.
    fn group_columns(&self) -> Vec<String> {
        let options = &self.manifest.options;
        let count = options.get("by").and_then(|by| by.as_array()).map_or(0, Vec::len);
        let names = self.table.get_column_names().into_iter().skip(2).take(count);
        names.map(|name| name.to_string()).collect()
    }

    /// Hours of the window that were listed and had no objects.
    fn empty_hours_us(&self) -> Vec<i64> {
        let hours = self.manifest.listing.empty_hours.iter();
        hours
            .filter_map(|hour| hour.parse::<DateTime<Utc>>().ok())
            .map(|hour| hour.timestamp_micros())
            .collect()
    }
}

fn spec(config: &ChartConfig, first: &Day, last: &Day, days: &[Day]) -> Result<ChartSpec, Error> {
    let (start, end) = (&first.window, &last.window);
    let mut spec = ChartSpec::new(start.start_us(), end.end_us(), start.tz);
    spec.date = start.date.filter(|_| days.len() == 1);
    spec.label = match (start.date, end.date) {
        (Some(from), Some(to)) if from != to => format!("{from} to {to}"),
        (Some(date), _) => date.to_string(),
        _ => start.describe(),
    };
    spec.every_us = config.every.num_microseconds().unwrap_or(i64::MAX);
    spec.by = first.group_columns();
    let known: Vec<String> =
        first.manifest.metrics.iter().map(|metric| metric.name.clone()).collect();
    spec.metrics = match &config.metrics {
        None => known,
        Some(asked) => asked.iter().map(|name| metric(name, &known)).collect::<Result<_, _>>()?,
    };
    spec.max_panels = config.picture.panels.get();
    let verdicts = days.iter().map(|day| verdict_text(&day.manifest));
    spec.verdict = verdicts.clone().find(|verdict| verdict != "final").unwrap_or("final".into());
    spec.empty_hours_us = days.iter().flat_map(Day::empty_hours_us).collect();
    spec.source = first.manifest.source.clone();
    (spec.width_px, spec.height_px) = (config.picture.size.width, config.picture.size.height);
    Ok(spec)
}

/// The metric that the user means: `value`, or `danji.lat` for `danji_lat`.
fn metric(name: &str, known: &[String]) -> Result<String, Error> {
    let flat = name.trim_start_matches('/').replace(['.', '/'], "_");
    let found = known.iter().find(|metric| **metric == name || **metric == flat);
    found.cloned().ok_or_else(|| {
        Error::usage(
            format!("--metric {name}: the published buckets have no such metric"),
            format!("they have {}; publish others with `rawcat fetch --metric`", known.join(", ")),
        )
    })
}

fn draw_in_terminal(
    spec: &ChartSpec,
    table: &DataFrame,
    columns: Option<u16>,
) -> Result<ExitCode, Error> {
    let mut style = TermStyle::default();
    if let Some(columns) = columns.or_else(terminal_columns) {
        style.columns = columns.into();
    }
    style.colour = wants_colour() && std::io::stdout().is_terminal();
    let text = chart::term(spec, table, &style).map_err(|error| job_error(error.into()))?;
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Error::stdout)?;
    Ok(ExitCode::Complete)
}

fn terminal_columns() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}

/// Puts the picture in the place of the day's own, and its manifest along.
fn replace(
    published: &Published,
    day: &Day,
    picture: &chart::Picture,
    interrupted: &AtomicBool,
) -> Result<Vec<String>, Error> {
    let failed = |error: PublishError| job_error(error.into());
    let now: DateTime<Utc> = Utc::now();
    let out = Out::open(published, day.window.tz.name(), now, interrupted).map_err(failed)?;
    let mut stage = out.stage(day.target.clone()).map_err(failed)?;
    let mut paths = Vec::new();
    for (item, bytes) in pictures(picture) {
        let path = stage.path(&item).map_err(failed)?;
        std::fs::write(&path, bytes).map_err(PublishError::file("write", &path)).map_err(failed)?;
        stage.add(&item, None);
        paths.push(published.shown_path(day.target.path(&item)));
    }
    // Read again under the lock: another run may have published the day since.
    let now = out.manifest(&day.target).map_err(failed)?;
    let Some(mut manifest) = now.filter(|now| *now == day.manifest) else {
        let message = format!("{} was published anew while its chart was drawn", day.name());
        return Err(Error::usage(message, "run the same command again"));
    };
    stage.amend(&mut manifest).map_err(failed)?;
    Ok(paths)
}

/// Writes the picture of several days, which belongs to no single one.
fn beside(
    published: &Published,
    first: &Day,
    last: &Day,
    picture: &chart::Picture,
    interrupted: &AtomicBool,
) -> Result<Vec<String>, Error> {
    let name = format!("{}_{}", first.name(), last.name());
    let mut paths = Vec::new();
    for ((_, bytes), extension) in pictures(picture).into_iter().zip(["svg", "png"]) {
        let path = Path::new("charts").join(format!("{name}.{extension}"));
        published.put_alone(&path, bytes, interrupted).map_err(|error| job_error(error.into()))?;
        paths.push(published.shown_path(&path));
    }
    Ok(paths)
}

fn pictures(picture: &chart::Picture) -> [(Item, &[u8]); 2] {
    [(Item::ChartSvg, picture.svg.as_bytes()), (Item::ChartPng, &picture.png)]
}
