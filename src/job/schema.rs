//! The columns of a window: their types, how full they are, and which hold numbers as text.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::elsewhere::{self, NearestHours};
use super::gather::{Run, gather};
use super::{JobError, JobSpec, learning, survey};
use crate::json::{Column, Frame, Literal, Values, read_number_text};
use crate::layout::Layout;
use crate::progress::{Phase, Progress};
use crate::publish::Manifest;
use crate::schema::{ColumnSpec, ColumnType, Path};
use crate::store::Store;

/// What was counted of the columns of frames. Joins in any order.
#[derive(Clone, Default, Debug)]
pub(super) struct Fills(HashMap<Path, Fill>);

#[derive(Clone, Copy, Default, Debug)]
struct Fill {
    values: u64,
    /// Of the text values: integers, other numbers, and what is no number.
    integers: u64,
    fractions: u64,
    words: u64,
}

impl Fills {
    pub fn of(frame: &Frame) -> Self {
        let fill = |column: &Column| (column.path.clone(), Fill::of(column, frame.rows));
        Fills(frame.columns.iter().map(fill).collect())
    }

    pub fn join(&mut self, other: Fills) {
        for (path, fill) in other.0 {
            let sum = self.0.entry(path).or_default();
            sum.values += fill.values;
            sum.integers += fill.integers;
            sum.fractions += fill.fractions;
            sum.words += fill.words;
        }
    }
}

impl Fill {
    fn of(column: &Column, rows: usize) -> Self {
        let mut fill = Fill::default();
        for row in (0..rows).filter(|&row| column.is_valid(row)) {
            fill.values += 1;
            if let (Values::Text(texts), ColumnType::Text) = (&column.values, column.column_type) {
                match read_number_text(texts.get(row)) {
                    Some(Literal::Int(_)) => fill.integers += 1,
                    Some(Literal::Float(_)) => fill.fractions += 1,
                    None => fill.words += 1,
                }
            }
        }
        fill
    }

    /// The type that a text column's numbers have, where it holds nothing else.
    fn numeric_text(&self) -> Option<ColumnType> {
        match self {
            Fill { words: 0, fractions: 1.., .. } => Some(ColumnType::Float),
            Fill { words: 0, integers: 1.., .. } => Some(ColumnType::Int),
            _ => None,
        }
    }
}

/// The columns of a window.
#[derive(Debug)]
pub struct DaySchema {
    pub rows: u64,
    pub columns: Vec<DayColumn>,
    /// The books of the reading: what was skipped stands there.
    pub manifest: Manifest,
    /// The layout, where it was not given and keys of the source told it.
    pub inferred: Option<Arc<Layout>>,
    /// Where objects are, if the window's hours hold none.
    pub nearest: Option<NearestHours>,
}

#[derive(Debug)]
pub struct DayColumn {
    pub spec: ColumnSpec,
    /// Rows with a value.
    pub values: u64,
    /// For text that holds only numbers, the type that they have.
    pub numeric_text: Option<ColumnType>,
}

/// Reads a window's records and says which columns they have.
pub fn schema_of(
    spec: &JobSpec,
    source: &str,
    store: &Store,
    progress: &Progress,
    interrupted: &AtomicBool,
) -> Result<DaySchema, JobError> {
    let mut findings = HashMap::new();
    let mut survey = survey(spec, store, &mut findings, progress, interrupted)?;
    let nearest = elsewhere::nearest(store, source, &survey.listed)?;
    let bytes = survey.objects.iter().map(|object| object.bytes).sum();
    let mut gathered = learning(&mut findings, |findings| {
        progress.phase(Phase::Reading, survey.objects.len() as u64, bytes);
        let objects = survey.objects.clone();
        let run = Run::new(spec, &survey.listed.layout, store, objects, findings, progress);
        let run = run.count_fills();
        gather(&run, interrupted)
    })?;
    gathered.join_rowless(std::mem::take(&mut survey.rowless));
    let columns = gathered.schema.columns(&spec.pins);
    let manifest = super::account::manifest(spec, source, &survey, &gathered, &columns, &[], &[]);
    let columns = columns.into_iter().map(|spec| {
        let fill = gathered.fills.0.get(&spec.path).copied().unwrap_or_default();
        let is_text = spec.column_type == ColumnType::Text;
        let numeric_text = fill.numeric_text().filter(|_| is_text);
        DayColumn { spec, values: fill.values, numeric_text }
    });
    Ok(DaySchema {
        rows: gathered.rows_of_the_day(),
        columns: columns.collect(),
        manifest,
        nearest,
        inferred: survey.told_layout(),
    })
}
