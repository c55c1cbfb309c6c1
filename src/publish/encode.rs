//! Row groups and their columns: some rows of some frames go in, one encoded column chunk comes out.
//!
//! Pure and CPU only: worker threads encode the columns of a row group side by side.

use std::ops::Range;
use std::sync::Arc;

use super::chunk::{EncodedChunk, Shape, encode};
use super::error::PublishError;
use super::footer::{DiskColumn, DiskType};
use super::gather::{self, Levels, Places};
use crate::json::Frame;
use crate::schema::{ColumnSpec, ColumnType, Scalar};

/// Some rows of one frame.
#[derive(Clone, Debug)]
pub struct Slice {
    pub frame: Arc<Frame>,
    pub rows: Range<usize>,
    /// The object's key, for `object_key`.
    pub key: Arc<str>,
    /// None where the frame has few.
    pub(super) places: Option<Arc<Places>>,
}

impl Slice {
    /// All rows of a frame.
    pub fn all(frame: Frame, key: Arc<str>) -> Self {
        let (rows, places) = (0..frame.rows, Places::of(&frame).map(Arc::new));
        Slice { frame: Arc::new(frame), rows, key, places }
    }

    /// Some of these rows, counted in the frame.
    pub fn part(&self, rows: Range<usize>) -> Self {
        Slice { rows, ..self.clone() }
    }

    /// Whether every column can be published in its wanted type without reading the object again.
    pub fn can_publish(&self, columns: &[ColumnSpec]) -> bool {
        let mut guess = 0;
        columns.iter().all(|wanted| gather::can_publish(self, wanted, &mut guess))
    }
}

/// The rows of a row group, in the order of the day.
#[derive(Clone, Debug, Default)]
pub struct RowGroup {
    pub slices: Vec<Slice>,
}

impl RowGroup {
    pub fn rows(&self) -> usize {
        self.slices.iter().map(|slice| slice.rows.len()).sum()
    }
}

/// A column of a `records` file.
#[derive(Clone, Copy, Debug)]
pub enum RecordColumn<'a> {
    TsUtc,
    TsLocal,
    Field(&'a ColumnSpec),
    ObjectKey,
    ByteOffset,
}

impl<'a> RecordColumn<'a> {
    /// The columns of a file in their order: both times, the records' own, the provenance.
    pub fn all(columns: &'a [ColumnSpec], provenance: bool) -> Vec<RecordColumn<'a>> {
        let mut all = vec![RecordColumn::TsUtc, RecordColumn::TsLocal];
        all.extend(columns.iter().map(RecordColumn::Field));
        if provenance {
            all.extend([RecordColumn::ObjectKey, RecordColumn::ByteOffset]);
        }
        all
    }

    /// Number `at` of [`RecordColumn::all`].
    pub fn nth(columns: &'a [ColumnSpec], at: usize) -> RecordColumn<'a> {
        match (at, columns.get(at.wrapping_sub(2))) {
            (0, _) => RecordColumn::TsUtc,
            (1, _) => RecordColumn::TsLocal,
            (_, Some(spec)) => RecordColumn::Field(spec),
            (_, None) if at == 2 + columns.len() => RecordColumn::ObjectKey,
            (_, None) => RecordColumn::ByteOffset,
        }
    }

    pub(super) fn on_disk(self) -> DiskColumn<'a> {
        let (name, kind) = match self {
            RecordColumn::TsUtc => ("ts_utc", DiskType::TsUtc),
            RecordColumn::TsLocal => ("ts_local", DiskType::TsLocal),
            RecordColumn::Field(spec) => (&*spec.name, DiskType::of(spec.column_type)),
            RecordColumn::ObjectKey => ("object_key", DiskType::Required(Scalar::Text)),
            RecordColumn::ByteOffset => ("byte_offset", DiskType::Required(Scalar::Int)),
        };
        DiskColumn { name, kind }
    }
}

/// What encoding needs beside the rows.
#[derive(Clone, Copy)]
pub struct EncodeOptions<'a> {
    /// µs since the epoch in UTC → µs of the naive local time.
    pub to_local_us: &'a (dyn Fn(i64) -> i64 + Sync),
}

/// Encodes one column of a row group. Pure; threads may encode the columns of a group at once.
///
/// # Errors
/// [`PublishError::NeedsReparse`]: a frame holds the column in a type that cannot be cast exactly.
pub fn encode_column(
    group: &RowGroup,
    column: RecordColumn<'_>,
    options: &EncodeOptions<'_>,
) -> Result<EncodedChunk, PublishError> {
    let kind = column.on_disk().kind;
    let pieces = gather::pieces(group, column, options).map_err(|_| match column {
        RecordColumn::Field(spec) => {
            PublishError::NeedsReparse { column: spec.name.clone(), wanted: spec.column_type }
        }
        _ => unreachable!("rawcat's own columns have one type"),
    })?;
    let (shape, levels) = match kind {
        DiskType::List(_) => (Shape::List, gather::list_levels(&pieces)),
        DiskType::Field(_) => (Shape::Optional, gather::flat_levels(&pieces)),
        _ => (Shape::Required, gather::flat_levels(&pieces)),
    };
    let values = gather::values(&pieces, kind.scalar(), shape == Shape::List);
    Ok(encode(&values, &levels, shape))
}

/// The chunk of a column that none of the rows has.
pub fn null_chunk(rows: usize, column_type: ColumnType) -> EncodedChunk {
    let kind = DiskType::of(column_type);
    let is_list = matches!(kind, DiskType::List(_));
    let levels = Levels {
        definition: vec![0; rows],
        repetition: if is_list { vec![0; rows] } else { Vec::new() },
        slots: rows,
        null_rows: rows,
    };
    let values = gather::values(&[], kind.scalar(), is_list);
    encode(&values, &levels, if is_list { Shape::List } else { Shape::Optional })
}
