//! Frames in the order of the day → row groups → encoded columns → the `records` file.
//!
//! Row groups are cut across objects. Their columns are encoded as tasks of the engine, on every
//! thread; the file gets them in order. Where a column turns out wider than some frame holds it,
//! the objects of that row group are read again, and only those.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::{Arc, Mutex};

use super::cut::Cutter;
use super::{JobError, Run, again};
use crate::engine::{Engine, Task};
use crate::json::Frame;
use crate::publish::{
    EncodeOptions, EncodedChunk, RecordColumn, RecordsFile, RecordsWriter, RowGroup, Slice,
    encode_column,
};
use crate::schema::{ColumnSpec, Pins, Schema};

/// Some of the rows that an object has in the day.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub object: usize,
    /// Counted over the object's rows of the day.
    pub rows: Range<usize>,
}

/// A row group, and where its rows came from.
struct Group {
    index: usize,
    rows: RowGroup,
    parts: Vec<Part>,
    columns: Arc<[ColumnSpec]>,
}

/// Gathers rows into row groups. Fed by the engine's sink: one frame at a time, in order.
pub(super) struct RowGroups {
    pins: Pins,
    slices: Vec<Slice>,
    parts: Vec<Part>,
    cutter: Cutter,
    object: usize,
    object_rows: usize,
    columns: Arc<[ColumnSpec]>,
    cut: usize,
}

impl RowGroups {
    pub fn new(pins: Pins) -> Self {
        RowGroups {
            pins,
            slices: Vec::new(),
            parts: Vec::new(),
            cutter: Cutter::default(),
            object: 0,
            object_rows: 0,
            columns: Arc::new([]),
            cut: 0,
        }
    }

    /// Takes the next frame; queues the row groups that it completes. `new_paths` are the rows in
    /// which a path appears for the first time in the day.
    pub fn take<'a>(
        &mut self,
        run: &'a Run<'a>,
        engine: &Engine<'a, super::Piece, JobError>,
        schema: &Schema,
        object: usize,
        frame: Frame,
        new_paths: &[u32],
    ) {
        if object != self.object {
            (self.object, self.object_rows) = (object, 0);
        }
        let cuts = self.cutter.cuts(&frame.lens, new_paths);
        let all = Slice::all(frame, run.objects[object].key.as_str().into());
        let mut begin = 0;
        for cut in cuts {
            self.hold(object, &all, begin..cut);
            self.queue(run, engine, schema);
            begin = cut;
        }
        self.hold(object, &all, begin..all.rows.end);
        self.object_rows += all.rows.end;
    }

    /// Adds rows of a frame to the row group in hand.
    fn hold(&mut self, object: usize, all: &Slice, rows: Range<usize>) {
        if rows.is_empty() {
            return;
        }
        let in_object = self.object_rows + rows.start..self.object_rows + rows.end;
        self.slices.push(all.part(rows));
        match self.parts.last_mut() {
            Some(last) if last.object == object && last.rows.end == in_object.start => {
                last.rows.end = in_object.end;
            }
            _ => self.parts.push(Part { object, rows: in_object }),
        }
    }

    /// The day ends: so does its last row group.
    pub fn end<'a>(
        &mut self,
        run: &'a Run<'a>,
        engine: &Engine<'a, super::Piece, JobError>,
        schema: &Schema,
    ) {
        if !self.slices.is_empty() {
            self.cutter.end();
            self.queue(run, engine, schema);
        }
    }

    /// Queues the row group in hand.
    fn queue<'a>(
        &mut self,
        run: &'a Run<'a>,
        engine: &Engine<'a, super::Piece, JobError>,
        schema: &Schema,
    ) {
        let columns = schema.columns(&self.pins);
        if *self.columns != *columns {
            self.columns = columns.into();
        }
        let group = Arc::new(Group {
            index: self.cut,
            rows: RowGroup { slices: std::mem::take(&mut self.slices) },
            parts: std::mem::take(&mut self.parts),
            columns: self.columns.clone(),
        });
        self.cut += 1;
        let records = run.records.as_ref().expect("rows are gathered for a records file");
        records.parts.lock().expect(LOCK).push(group.parts.clone());
        if group.rows.slices.iter().all(|slice| slice.can_publish(&group.columns)) {
            queue_columns(run, engine, records, &group);
        } else {
            let task: Task<'a, JobError> = Box::new(move || {
                let all = RecordColumn::all(&group.columns, run.spec.provenance);
                let mut chunks = Vec::new();
                let _all = again::read(run, &[&group.parts], &group.columns, &mut |_, rows| {
                    chunks = encode_columns(run, &rows, all.iter().copied())?;
                    Ok(ControlFlow::Continue(()))
                })?;
                records.written(&group, chunks)
            });
            engine.queue([task]);
        }
    }
}

const LOCK: &str = "no thread panics while it holds the file";

/// Tasks of a row group at most; one of many columns has several columns in each.
const TASKS_PER_GROUP: usize = 64;

/// Queues tasks for all columns; the last one to end hands the row group to the file.
fn queue_columns<'a>(
    run: &'a Run<'a>,
    engine: &Engine<'a, super::Piece, JobError>,
    records: &'a Records,
    group: &Arc<Group>,
) {
    let count = RecordColumn::all(&group.columns, run.spec.provenance).len();
    let step = count.div_ceil(TASKS_PER_GROUP);
    let left = Arc::new(Mutex::new((count, (0..count).map(|_| None).collect::<Vec<_>>())));
    engine.queue((0..count).step_by(step).map(|begin| {
        let (group, left) = (group.clone(), left.clone());
        let task: Task<'a, JobError> = Box::new(move || {
            let columns = begin..count.min(begin + step);
            let chunks = encode_columns(
                run,
                &group.rows,
                columns.clone().map(|at| RecordColumn::nth(&group.columns, at)),
            )?;
            let mut left = left.lock().expect(LOCK);
            left.0 -= chunks.len();
            for (at, chunk) in columns.zip(chunks) {
                left.1[at] = Some(chunk);
            }
            if left.0 > 0 {
                return Ok(());
            }
            let all = std::mem::take(&mut left.1).into_iter().flatten().collect();
            drop(left);
            records.written(&group, all)
        });
        task
    }));
}

pub(super) fn encode_columns<'c>(
    run: &Run<'_>,
    rows: &RowGroup,
    columns: impl IntoIterator<Item = RecordColumn<'c>>,
) -> Result<Vec<EncodedChunk>, JobError> {
    let to_local_us = |us| run.clock.to_local_us(us);
    let options = EncodeOptions { to_local_us: &to_local_us };
    let encode = |column| encode_column(rows, column, &options).map_err(JobError::from);
    columns.into_iter().map(encode).collect()
}

/// The `records` file while it is written.
pub(super) struct Records {
    file: Mutex<OrderedFile>,
    /// For each row group, where its rows came from.
    parts: Mutex<Vec<Vec<Part>>>,
}

/// A row group whose turn has not come: its rows, columns and chunks.
type EncodedGroup = (usize, Arc<[ColumnSpec]>, Vec<EncodedChunk>);

struct OrderedFile {
    writer: RecordsWriter,
    next: usize,
    waiting: BTreeMap<usize, EncodedGroup>,
}

impl Records {
    pub fn create(path: &FilePath, provenance: bool) -> Result<Self, JobError> {
        let writer = RecordsWriter::create(path, provenance)?;
        Ok(Records {
            file: Mutex::new(OrderedFile { writer, next: 0, waiting: BTreeMap::new() }),
            parts: Mutex::new(Vec::new()),
        })
    }

    fn written(&self, group: &Group, chunks: Vec<EncodedChunk>) -> Result<(), JobError> {
        let mut file = self.file.lock().expect(LOCK);
        let file = &mut *file;
        let rows = group.parts.iter().map(|part| part.rows.len()).sum();
        file.waiting.insert(group.index, (rows, group.columns.clone(), chunks));
        while let Some((rows, columns, chunks)) = file.waiting.remove(&file.next) {
            file.writer.push(file.next, rows, &columns, chunks)?;
            file.next += 1;
        }
        Ok(())
    }

    /// Closes the file with the day's columns.
    pub fn finish(self, run: &Run<'_>, columns: &[ColumnSpec]) -> Result<RecordsFile, JobError> {
        let parts = self.parts.into_inner().expect(LOCK);
        let file = self.file.into_inner().expect(LOCK);
        let rebuilds = file.writer.rebuilds(columns);
        again::in_order(run, &parts, &rebuilds, columns, |next| {
            file.writer.finish(columns, &mut |_, _| next())
        })
    }
}
