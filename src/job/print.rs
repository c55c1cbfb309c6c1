//! Records → lines: `cat`. In the order of (object key, offset), as they stand in their objects.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::elsewhere::{self, NearestHours};
use super::gather::Gathered;
use super::listing::{Failure, name_and_reason};
use super::read::{Known, ObjectOutcome, ObjectReader, ReadFailure, ReadSpec};
use super::{JobError, JobSpec, survey};
use crate::engine::{Emitter, Engine, Stopped};
use crate::json::{Column, Frame, Projection, Values};
use crate::layout::Layout;
use crate::progress::Progress;
use crate::schema::{ColumnSpec, Schema};
use crate::store::{Content, Fetch, ObjectMeta, Store};

/// How records are printed.
#[derive(Clone, Debug)]
pub struct Printing {
    /// A table with a header instead of JSON.
    pub csv: bool,
    /// Cells that a spreadsheet would run as a formula get an apostrophe in front.
    pub excel_safe: bool,
    /// Line breaks between tokens stay.
    pub raw: bool,
    /// CSV columns, as typed; all where empty.
    pub columns: Vec<String>,
}

/// What was not printed.
#[derive(Debug, Default)]
pub struct Printed {
    pub records: u64,
    /// (`key:offset`, reason) of each place that is no record.
    pub lost: Vec<(String, String)>,
    /// (key, reason) of objects and prefixes that could not be read.
    pub failed: Vec<(String, String)>,
    /// The layout, where it was not given and keys of the source told it.
    pub inferred: Option<Arc<Layout>>,
    /// Where objects are, if the window's hours hold none.
    pub nearest: Option<NearestHours>,
}

#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    #[error(transparent)]
    Job(#[from] JobError),
    #[error("can't write the records")]
    Out(#[from] io::Error),
    #[error("can't read standard input")]
    Stdin(#[source] io::Error),
    #[error("no column is named {name:?}; the columns are {available}")]
    NoColumn { name: String, available: String },
    #[error(
        "no object has the key {place:?}, and none begins with it; keys are relative to --source: \
         put ./ before a path of this machine"
    )]
    NoObject { place: String },
    #[error("the {what} {place} holds no files")]
    Empty { what: &'static str, place: String },
}

/// Prints the records of a window.
pub fn print_days(
    spec: &JobSpec,
    source: &str,
    store: &Store,
    printing: &Printing,
    out: &mut (dyn Write + Send),
    progress: &Progress,
    interrupted: &AtomicBool,
) -> Result<Printed, PrintError> {
    let mut findings = HashMap::new();
    let survey = survey(spec, store, &mut findings, progress, interrupted)?;
    let mut printed = Printed {
        nearest: elsewhere::nearest(store, source, &survey.listed)?,
        inferred: survey.told_layout(),
        ..Printed::default()
    };
    for (prefix, failure) in survey.listed.failed_prefixes() {
        printed.failed.push((prefix.prefix.clone(), failure.reason.clone()));
    }
    printed.note_unreadable(&survey.listed.unreadable);
    printed.note(&survey.rowless);
    let printer = Printer {
        read_spec: spec.read_spec(&survey.listed.layout),
        store,
        spec,
        printing,
        interrupted,
    };
    printer.print(survey.objects, out, &mut printed)?;
    Ok(printed)
}

/// Prints every record of an object, or of all objects below a prefix, whatever its time.
pub fn print_key(
    spec: &JobSpec,
    source: &str,
    store: &Store,
    key: &str,
    printing: &Printing,
    out: &mut (dyn Write + Send),
    interrupted: &AtomicBool,
) -> Result<Printed, PrintError> {
    let listing = store.list(&[key.to_string()], &|_| ()).swap_remove(0);
    let listing = listing.map_err(JobError::from)?;
    let mut printed = Printed::default();
    printed.note_unreadable(&listing.unreadable);
    let mut objects = listing.objects;
    if !key.is_empty() && !key.ends_with('/') {
        // An exact key means that object and not those that begin alike.
        if objects.iter().any(|object| object.key == key) {
            objects.retain(|object| object.key == key);
        }
    }
    objects.retain(|object| !object.key.ends_with('/'));
    if objects.is_empty() && printed.failed.is_empty() {
        return Err(match key {
            "" => PrintError::Empty {
                what: if matches!(store, Store::Folder(_)) { "folder" } else { "place" },
                place: source.to_string(),
            },
            key => PrintError::NoObject { place: key.to_string() },
        });
    }
    let read_spec = ReadSpec { window: None, ..spec.read_spec(&spec.layout) };
    let printer = Printer { read_spec, store, spec, printing, interrupted };
    printer.print(objects, out, &mut printed)?;
    Ok(printed)
}

/// Prints every record of one object that comes from `input`, whatever its time. For CSV it is held
/// in memory, since its columns stand in front.
pub fn print_stream(
    spec: &JobSpec,
    input: Box<dyn Read + Send>,
    printing: &Printing,
    out: &mut (dyn Write + Send),
) -> Result<Printed, PrintError> {
    let object = ObjectMeta {
        key: "stdin".to_string(),
        bytes: 0,
        etag: None,
        last_modified_utc: None,
        archived: false,
    };
    let read_spec = |projection: Projection| {
        let mut read_spec = ReadSpec { window: None, ..spec.read_spec(&spec.layout) };
        read_spec.json.projection = projection;
        read_spec
    };
    let mut printed = Printed::default();
    if !printing.csv {
        let text = RefCell::new(Vec::new());
        let mut see = |record: &[u8]| put_line(&mut text.borrow_mut(), record, printing.raw);
        let mut take = |_: Frame| out.write_all(&text.take());
        let mut reader = ObjectReader::new(read_spec(Projection::Named(Vec::new())));
        let read =
            reader.read(&object, Content::Stream(input), Known::default(), &mut see, &mut take);
        printed.add(&object, whole(read)?);
        return Ok(printed);
    }
    let mut bytes = Vec::new();
    let mut input = input;
    input.read_to_end(&mut bytes).map_err(PrintError::Stdin)?;
    let mut reader = ObjectReader::new(read_spec(Projection::All));
    let mut schema = Schema::default();
    let mut see = |frame: Frame| {
        frame.seen.iter().for_each(|(path, kinds)| schema.see(path, *kinds));
        Ok(())
    };
    let content = Content::Whole(bytes.clone());
    whole(reader.read(&object, content, Known::default(), &mut |_| (), &mut see))?.ok();
    let columns = chosen_columns(&schema, spec, printing)?;
    writeln!(out, "{}", header(&columns, printing.excel_safe))?;
    reader.expect(&columns);
    let mut take = |frame: Frame| out.write_all(&csv_lines(&frame, &columns, printing.excel_safe));
    let read =
        reader.read(&object, Content::Whole(bytes), Known::default(), &mut |_| (), &mut take);
    printed.add(&object, whole(read)?);
    Ok(printed)
}

/// What was read of a stream, or why it ended: what was printed of it cannot be taken back.
fn whole(
    read: Result<ObjectOutcome, ReadFailure<io::Error>>,
) -> Result<Result<ObjectOutcome, Failure>, PrintError> {
    match read {
        Ok(outcome) => Ok(Ok(outcome)),
        Err(ReadFailure::Store(error)) => Ok(Err(Failure::from(&error))),
        Err(ReadFailure::Taker(error)) => Err(PrintError::Out(error)),
        Err(ReadFailure::StartOver(finding)) => Ok(Err(finding.into_failure())),
    }
}

/// The header line of CSV.
fn header(columns: &[ColumnSpec], excel_safe: bool) -> String {
    let cells: Vec<String> =
        columns.iter().map(|column| csv_cell(&column.name, excel_safe)).collect();
    cells.join(",")
}

/// The columns of CSV: all, or those that were asked for.
fn chosen_columns(
    schema: &Schema,
    spec: &JobSpec,
    printing: &Printing,
) -> Result<Vec<ColumnSpec>, PrintError> {
    let all = schema.columns(&spec.pins);
    if printing.columns.is_empty() {
        return Ok(all);
    }
    let named = |name: &String| {
        let found = all.iter().find(|column| column.name == *name || column.path.is_named(name));
        found.cloned().ok_or_else(|| PrintError::NoColumn {
            name: name.clone(),
            available: all.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    };
    printing.columns.iter().map(named).collect()
}

impl Printed {
    fn note_unreadable(&mut self, entries: &[String]) {
        self.failed.extend(entries.iter().map(|entry| name_and_reason(entry)));
    }

    fn note(&mut self, gathered: &Gathered) {
        for (key, _, lost) in &gathered.lost {
            self.lost.push((format!("{key}:{}", lost.offset), lost.reason.clone()));
        }
    }

    fn add(&mut self, object: &ObjectMeta, outcome: Result<ObjectOutcome, Failure>) {
        match outcome {
            Err(failure) => self.failed.push((object.key.clone(), failure.reason)),
            Ok(outcome) => {
                self.records += outcome.tally.kept;
                for lost in outcome.lost {
                    self.lost.push((format!("{}:{}", object.key, lost.offset), lost.reason));
                }
            }
        }
    }
}

/// What the threads hand on.
enum Piece {
    Lines(Vec<u8>),
    Seen(Schema),
    Done(Box<Result<ObjectOutcome, Failure>>),
}

impl Piece {
    /// What it holds in memory, about.
    fn held_bytes(&self) -> usize {
        match self {
            Piece::Lines(lines) => lines.capacity(),
            Piece::Seen(seen) => size_of_val(seen.paths()),
            Piece::Done(_) => 0,
        }
    }
}

struct Printer<'a> {
    read_spec: ReadSpec,
    store: &'a Store,
    spec: &'a JobSpec,
    printing: &'a Printing,
    interrupted: &'a AtomicBool,
}

impl Printer<'_> {
    fn print(
        &self,
        objects: Vec<ObjectMeta>,
        out: &mut (dyn Write + Send),
        printed: &mut Printed,
    ) -> Result<(), PrintError> {
        if !self.printing.csv {
            let mut spec = self.read_spec.clone();
            spec.json.projection = Projection::Named(Vec::new());
            spec.json.by.clear();
            let raw = self.printing.raw;
            let each = |_: Frame| Vec::new();
            return self.run(&objects, &spec, None, raw, &each, out, printed);
        }
        let columns = self.csv_columns(&objects)?;
        writeln!(out, "{}", header(&columns, self.printing.excel_safe))?;
        let mut spec = self.read_spec.clone();
        spec.json.projection = Projection::All;
        let excel_safe = self.printing.excel_safe;
        let each = |frame: Frame| csv_lines(&frame, &columns, excel_safe);
        self.run(&objects, &spec, Some(&columns), false, &each, out, printed)
    }

    /// Reads the objects once for their columns, before the header can be printed.
    fn csv_columns(&self, objects: &[ObjectMeta]) -> Result<Vec<ColumnSpec>, PrintError> {
        let mut spec = self.read_spec.clone();
        spec.json.projection = Projection::All;
        let schema = Mutex::new(Schema::default());
        let mut nothing = io::sink();
        let mut unheard = Printed::default();
        self.run_with(
            objects,
            &spec,
            None,
            &|_, frame: Frame| {
                let mut seen = Schema::default();
                frame.seen.iter().for_each(|(path, kinds)| seen.see(path, *kinds));
                Piece::Seen(seen)
            },
            None,
            &schema,
            &mut nothing,
            &mut unheard,
        )?;
        let schema = schema.into_inner().expect("the sink does not panic");
        chosen_columns(&schema, self.spec, self.printing)
    }

    #[allow(clippy::too_many_arguments)]
    fn run(
        &self,
        objects: &[ObjectMeta],
        spec: &ReadSpec,
        columns: Option<&[ColumnSpec]>,
        raw: bool,
        each: &(dyn Fn(Frame) -> Vec<u8> + Sync),
        out: &mut (dyn Write + Send),
        printed: &mut Printed,
    ) -> Result<(), PrintError> {
        let schema = Mutex::new(Schema::default());
        let lines = columns.is_none().then_some(raw);
        let piece = |lines: Vec<u8>, frame: Frame| {
            Piece::Lines(if columns.is_none() { lines } else { each(frame) })
        };
        self.run_with(objects, spec, columns, &piece, lines, &schema, out, printed)
    }

    /// `lines`: records are collected as they stand (with their line breaks, if so).
    #[allow(clippy::too_many_arguments)]
    fn run_with(
        &self,
        objects: &[ObjectMeta],
        spec: &ReadSpec,
        columns: Option<&[ColumnSpec]>,
        piece: &(dyn Fn(Vec<u8>, Frame) -> Piece + Sync),
        lines: Option<bool>,
        schema: &Mutex<Schema>,
        out: &mut (dyn Write + Send),
        printed: &mut Printed,
    ) -> Result<(), PrintError> {
        let jobs = self.spec.jobs.clamp(1, objects.len().max(1));
        let fetch = self.store.fetch(objects.into(), self.spec.fetch);
        let end_waits = || fetch.cancel();
        let engine: Engine<'_, Piece, PrintError> =
            Engine::new(objects.len(), jobs, self.interrupted).on_failure(&end_waits);
        let mut workers: Vec<ObjectReader> = (0..jobs)
            .map(|_| {
                let mut reader = ObjectReader::new(spec.clone());
                reader.expect(columns.unwrap_or_default());
                reader
            })
            .collect();
        let sink = Mutex::new((out, printed));
        engine.run(
            &mut workers,
            &|reader, emitter| self.work(&fetch, objects, reader, lines, piece, emitter),
            &|_, object, piece| {
                let (out, printed) = &mut *sink.lock().expect("the sink does not panic");
                match piece {
                    Piece::Lines(lines) => out.write_all(&lines)?,
                    Piece::Seen(seen) => {
                        schema.lock().expect("the sink does not panic").join(&seen);
                    }
                    Piece::Done(outcome) => printed.add(&objects[object], *outcome),
                }
                Ok(())
            },
        )?;
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(JobError::Interrupted.into());
        }
        Ok(())
    }

    fn work(
        &self,
        fetch: &Fetch,
        objects: &[ObjectMeta],
        reader: &mut ObjectReader,
        lines: Option<bool>,
        piece: &(dyn Fn(Vec<u8>, Frame) -> Piece + Sync),
        emitter: &Emitter<'_, '_, Piece, PrintError>,
    ) -> Result<(), PrintError> {
        let Some((at, body)) = fetch.next() else { return Ok(()) };
        emitter.claim(at);
        let outcome = match body {
            Err(error) if error.concerns_whole_source() => {
                return Err(JobError::Store(error).into());
            }
            Err(error) => Err(Failure::from(&error)),
            Ok(body) => {
                let (content, _permit) = body.into_parts();
                let text = RefCell::new(Vec::new());
                let mut see = |record: &[u8]| {
                    if let Some(raw) = lines {
                        put_line(&mut text.borrow_mut(), record, raw);
                    }
                };
                let mut take = |frame: Frame| {
                    let piece = piece(text.take(), frame);
                    let bytes = piece.held_bytes();
                    match emitter.emit(piece, bytes) {
                        Ok(Ok(())) => Ok(()),
                        Ok(Err(Stopped)) => Err(None),
                        Err(error) => Err(Some(error)),
                    }
                };
                match reader.read(&objects[at], content, Known::default(), &mut see, &mut take) {
                    Ok(outcome) => Ok(outcome),
                    Err(ReadFailure::Store(error)) => Err(Failure::from(&error)),
                    Err(ReadFailure::Taker(Some(error))) => return Err(error),
                    Err(ReadFailure::Taker(None)) => return Ok(()),
                    // What was printed cannot be taken back: the rest is named as lost.
                    Err(ReadFailure::StartOver(finding)) => Err(finding.into_failure()),
                }
            }
        };
        emitter.emit(Piece::Done(Box::new(outcome)), 0).map(|_| ())
    }
}

/// Appends a record and a line end. Line breaks inside a record can only stand between tokens.
fn put_line(out: &mut Vec<u8>, record: &[u8], raw: bool) {
    let start = out.len();
    out.extend_from_slice(record);
    if !raw {
        for byte in &mut out[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
    out.push(b'\n');
}

fn csv_lines(frame: &Frame, columns: &[ColumnSpec], excel_safe: bool) -> Vec<u8> {
    let held: Vec<Option<&Column>> = columns
        .iter()
        .map(|wanted| frame.columns.iter().find(|column| column.path == wanted.path))
        .collect();
    let mut out = Vec::new();
    for row in 0..frame.rows {
        for (at, column) in held.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            if let Some(column) = column.filter(|column| column.is_valid(row)) {
                let cell = cell_text(&column.values, row);
                out.extend_from_slice(csv_cell(&cell, excel_safe).as_bytes());
            }
        }
        out.push(b'\n');
    }
    out
}

fn cell_text(values: &Values, row: usize) -> String {
    match values {
        Values::Null => String::new(),
        Values::Bool(bits) => bits.get(row).to_string(),
        Values::Int(values) => values[row].to_string(),
        Values::Float(values) => values[row].to_string(),
        Values::Text(texts) => texts.get(row).to_string(),
        Values::List { ends, items } => {
            let begin = if row == 0 { 0 } else { ends[row - 1] as usize };
            let item = |at: usize| match (&*items.values, items.valid.get(at)) {
                (_, false) => "null".to_string(),
                (Values::Text(texts), true) => serde_json::Value::from(texts.get(at)).to_string(),
                (values, true) => cell_text(values, at),
            };
            let items: Vec<String> = (begin..ends[row] as usize).map(item).collect();
            format!("[{}]", items.join(","))
        }
    }
}

/// A cell by RFC 4180.
fn csv_cell(text: &str, excel_safe: bool) -> String {
    let is_number = text.parse::<f64>().is_ok();
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number;
    let guard = if excel_safe && formula { "'" } else { "" };
    let text = format!("{guard}{text}");
    if text.contains(['"', ',', '\n', '\r']) || text.starts_with(' ') || text.ends_with(' ') {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_unless_it_is_wanted_raw() {
        let mut out = Vec::new();
        put_line(&mut out, b"{\n \"a\": 1\r\n}", false);
        put_line(&mut out, b"{\n}", true);
        assert_eq!(out, b"{  \"a\": 1  }\n{\n}\n");
    }

    #[test]
    fn cells_are_quoted_where_csv_needs_it_and_guarded_where_asked() {
        assert_eq!(csv_cell("plain", false), "plain");
        assert_eq!(csv_cell("a,\"b\"\n", false), "\"a,\"\"b\"\"\n\"");
        assert_eq!(csv_cell("=1+1", false), "=1+1");
        assert_eq!(csv_cell("=1+1", true), "'=1+1");
        assert_eq!(csv_cell("-12.5", true), "-12.5");
    }
}
