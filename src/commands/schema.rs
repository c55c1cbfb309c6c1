//! `rawcat schema`: the columns of a day, and `--pin`, which keeps their types.

use std::io::Write;

use serde_json::json;

use super::windows::{
    job_error, json_text, nothing_found, open_raw, pinned, read_spec, take_layout, windows,
};
use crate::config::{DiffWith, SchemaConfig};
use crate::error::{Error, ExitCode, Interrupt, printable, say};
use crate::job::{DayColumn, DaySchema, JobSpec, schema_of};
use crate::progress::{Mode, Progress, count_text, counted};
use crate::schema::{Change, ColumnType, Path, Pins, diff, pins_to_json};
use crate::window::Window;

/// Prints the columns of every selected window; with `--pin`, writes their types.
pub fn schema(config: &SchemaConfig, interrupt: &Interrupt) -> Result<ExitCode, Error> {
    let windows = windows(&config.days)?;
    let raw = open_raw(&config.input)?;
    let mut code = ExitCode::Complete;
    if config.pin.is_some() && windows.len() > 1 {
        return Err(Error::usage(
            "--pin takes the types of one day, and several are selected",
            "give one --day",
        ));
    }
    if config.diff.is_some() && windows.len() > 1 {
        return Err(Error::usage(
            "--diff compares one day, and several are selected",
            "give one --day",
        ));
    }
    let alone = windows.len() == 1;
    let before = match &config.diff {
        None => None,
        Some(DiffWith::File(path)) if !path.exists() => {
            return Err(Error::usage(
                format!("--diff: {} is neither a date nor a file", path.display()),
                "give a date as 2022-04-17, or a file that `rawcat schema --pin` wrote",
            ));
        }
        Some(DiffWith::File(path)) => Some((path.display().to_string(), pinned(path)?)),
        Some(DiffWith::Day(date)) => {
            let window = Window::of_day(*date, config.days.tz)
                .map_err(|error| Error::Usage { message: error.to_string(), hint: None })?;
            let spec = read_spec(&config.input, &raw, window)?;
            let progress = Progress::new(if config.json { Mode::Quiet } else { config.mode });
            let found = schema_of(&spec, &raw.source, &raw.store, &progress, interrupt.flag());
            progress.finish();
            let found = found.map_err(job_error)?;
            code = code_of(&found, &format!("{date}: "));
            if found.rows == 0 {
                say(&format!("rawcat: {}", nothing_found("records", &spec.window, found.nearest)));
            }
            Some((date.to_string(), types(&found)))
        }
    };
    let specs = windows.into_iter().map(|window| read_spec(&config.input, &raw, window));
    let mut specs = specs.collect::<Result<Vec<JobSpec>, Error>>()?;
    for at in 0..specs.len() {
        let spec = &specs[at];
        let progress = Progress::new(if config.json { Mode::Quiet } else { config.mode });
        let found = schema_of(spec, &raw.source, &raw.store, &progress, interrupt.flag());
        progress.finish();
        let found = found.map_err(job_error)?;
        let text = match (&before, config.json) {
            (Some((before, columns)), is_json) => {
                let changes = diff(columns, &types(&found));
                match is_json {
                    true => json_text(&diff_json(before, &found, &changes), alone),
                    false => diff_text(before, &found, &changes),
                }
            }
            (None, true) => json_text(&to_json(&found), alone),
            (None, false) => to_text(&found),
        };
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Error::stdout)?;
        if found.rows == 0 {
            say(&format!("rawcat: {}", nothing_found("records", &spec.window, found.nearest)));
        }
        let day = spec.window.date.filter(|_| !alone).map(|date| format!("{date}: "));
        if code_of(&found, &day.unwrap_or_default()) == ExitCode::Skipped {
            code = ExitCode::Skipped;
        }
        take_layout(&mut specs, at, &found.inferred, config.mode == Mode::Quiet);
        if let Some(path) = &config.pin {
            let doing = || format!("can't write {}", path.display());
            std::fs::write(path, pins_to_json(&pins(&found)))
                .map_err(|error| Error::io(doing(), error))?;
            let pins = pins(&found);
            let columns = counted(&count_text(pins.len() as u64), "column");
            say(&format!("pinned {columns} in {}", path.display()));
            for column in found.columns.iter().filter(|column| column.numeric_text.is_some()) {
                let kind = column.numeric_text.unwrap_or(column.spec.column_type);
                say(&format!("  {} is text that held only numbers: {kind}", column.spec.name));
            }
            say("a record with a value that does not read as its column's type is quarantined");
        }
    }
    Ok(code)
}

/// Says why a reading is incomplete, where it is.
fn code_of(found: &DaySchema, day: &str) -> ExitCode {
    let verdict = &found.manifest.verdict;
    for reason in verdict.reasons.iter().filter(|_| !verdict.complete) {
        say(&format!("rawcat: {day}{reason}"));
    }
    if verdict.complete { ExitCode::Complete } else { ExitCode::Skipped }
}

/// All columns, as they are.
fn types(found: &DaySchema) -> Pins {
    let typed = |c: &DayColumn| (c.spec.path.pointer().to_string(), c.spec.column_type);
    found.columns.iter().map(typed).collect()
}

/// The name, what it is, and the types before and now.
fn parts(change: &Change) -> (&'static str, Option<ColumnType>, Option<ColumnType>) {
    match *change {
        Change::New { now } => ("new", None, Some(now)),
        Change::Lost { before } => ("lost", Some(before), None),
        Change::Retyped { before, now } => ("retyped", Some(before), Some(now)),
    }
}

/// The column's name, be it a pointer or a name that was pinned.
fn name_of(path: &str) -> String {
    if path.starts_with('/') { Path::of_pointer(path).flat_name() } else { path.to_string() }
}

fn diff_json(before: &str, found: &DaySchema, changes: &[(String, Change)]) -> serde_json::Value {
    let changes = changes.iter().map(|(path, change)| {
        let (what, before, now) = parts(change);
        let text = |column_type: Option<ColumnType>| column_type.map(|kind| kind.to_string());
        json!({
            "name": name_of(path), "path": path, "change": what,
            "before": text(before), "now": text(now),
        })
    });
    let changes: Vec<_> = changes.collect();
    json!({ "before": before, "window": found.manifest.window, "rows": found.rows, "changes": changes })
}

fn diff_text(before: &str, found: &DaySchema, changes: &[(String, Change)]) -> String {
    let window = &found.manifest.window;
    let span = format!("{} to {}", window.start_utc, window.end_utc);
    let now = window.date.as_ref().unwrap_or(&span);
    let before = printable(before);
    if changes.is_empty() {
        return format!("{before} and {now} have the same columns\n");
    }
    let mut rows = vec![["column", "change", "before", "now"].map(str::to_string)];
    for (path, change) in changes {
        let (what, before, now) = parts(change);
        let text = |kind: Option<ColumnType>| kind.map_or("-".to_string(), |kind| kind.to_string());
        let name = shortened(printable(&name_of(path)).into_owned());
        rows.push([name, what.to_string(), text(before), text(now)]);
    }
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: [usize; 4] = std::array::from_fn(width);
    let mut text = format!("{before} → {now} in {}\n", window.tz);
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The types to keep: text that holds only numbers is typed by them; columns of which nothing
/// was seen but null are left open.
fn pins(found: &DaySchema) -> Pins {
    let columns = found.columns.iter().filter(|c| c.spec.column_type != ColumnType::Null);
    let pin = |column: &DayColumn| {
        let kind = column.numeric_text.unwrap_or(column.spec.column_type);
        (column.spec.path.pointer().to_string(), kind)
    };
    columns.map(pin).collect()
}

fn percent(values: u64, rows: u64) -> f64 {
    if rows == 0 { 0.0 } else { values as f64 * 100.0 / rows as f64 }
}

fn to_json(found: &DaySchema) -> serde_json::Value {
    let columns: Vec<_> = found
        .columns
        .iter()
        .map(|column| {
            json!({
                "name": column.spec.name,
                "path": column.spec.path.pointer(),
                "type": column.spec.column_type.to_string(),
                "kinds": column.spec.kinds.names(),
                "values": column.values,
                "nulls": found.rows - column.values,
                "numeric_text": column.numeric_text.map(|kind| kind.to_string()),
            })
        })
        .collect();
    json!({ "window": found.manifest.window, "rows": found.rows, "columns": columns })
}

/// Characters of a name that are shown: a key may be as long as a record.
const NAME_SHOWN: usize = 80;

fn shortened(name: String) -> String {
    match name.char_indices().nth(NAME_SHOWN) {
        Some((cut, _)) => format!("{}…", &name[..cut]),
        None => name,
    }
}

fn to_text(found: &DaySchema) -> String {
    let mut rows: Vec<[String; 4]> =
        vec![["column".to_string(), "type".to_string(), "filled".to_string(), String::new()]];
    for column in &found.columns {
        let note = match column.numeric_text {
            Some(kind) => format!("only numbers ({kind})"),
            None => String::new(),
        };
        let filled = percent(column.values, found.rows);
        let filled = if column.values == found.rows {
            "100 %".to_string()
        } else {
            // Never rounded up to a full column.
            format!("{:.1} %", (filled * 10.0).floor() / 10.0)
        };
        rows.push([
            shortened(printable(&column.spec.name).into_owned()),
            column.spec.column_type.to_string(),
            filled,
            note,
        ]);
    }
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2)];
    let window = &found.manifest.window;
    let span = format!("{} to {}", window.start_utc, window.end_utc);
    let mut text = format!("{} in {}\n", window.date.as_ref().unwrap_or(&span), window.tz);
    for row in &rows {
        let line = format!(
            "{:<w0$}  {:<w1$}  {:>w2$}  {}",
            row[0],
            row[1],
            row[2],
            row[3],
            w0 = widths[0],
            w1 = widths[1],
            w2 = widths[2]
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push_str(&format!("{}\n", counted(&count_text(found.rows), "row")));
    text
}
