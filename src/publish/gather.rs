//! One column of a row group, gathered: slices of frames go in, its values without nulls and their
//! levels come out.
//!
//! Here a frame that knew a column by a narrower type is cast, where the cast gives exactly what
//! reading the objects again would give. It never encodes, and copies text only to cast it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use super::encode::{EncodeOptions, RecordColumn, RowGroup, Slice};
use crate::json::{Bits, Column, Frame, Items, Texts, Values};
use crate::schema::{ColumnSpec, ColumnType, Kinds, Path, Scalar};

/// A frame holds a column in a type from which the wanted one cannot be made.
#[derive(Debug, PartialEq, Eq)]
pub struct NotCastable;

/// The values of a column chunk, nulls left out.
pub enum Flat<'a> {
    Bool(Vec<bool>),
    Int(Vec<i64>),
    Float(Vec<f64>),
    Text(Vec<&'a [u8]>),
}

impl Flat<'_> {
    pub fn len(&self) -> usize {
        match self {
            Flat::Bool(values) => values.len(),
            Flat::Int(values) => values.len(),
            Flat::Float(values) => values.len(),
            Flat::Text(values) => values.len(),
        }
    }
}

/// Repetition and definition levels (Dremel), as far as they are not all the same.
#[derive(Default)]
pub struct Levels {
    /// One a slot; empty: every slot has the highest level.
    pub definition: Vec<u32>,
    /// One a slot; empty: the column is no list.
    pub repetition: Vec<u32>,
    pub slots: usize,
    pub null_rows: usize,
}

/// Rows `rows.start..` of a frame's column, in the wanted type.
pub struct Piece<'a> {
    data: Data<'a>,
    /// Row 0 of the piece in `data`; 0 where `data` was made for this piece.
    first: usize,
    valid: Option<&'a Bits>,
    rows: Range<usize>,
}

enum Data<'a> {
    Nulls,
    Bool(&'a Bits),
    Int(Cow<'a, [i64]>),
    Float(Cow<'a, [f64]>),
    Text(Cow<'a, Texts>),
    Same(&'a str),
    List(&'a [u32], &'a Items),
}

/// The pieces of `column` in the order of the rows.
pub fn pieces<'a>(
    group: &'a RowGroup,
    column: RecordColumn<'a>,
    options: &EncodeOptions,
) -> Result<Vec<Piece<'a>>, NotCastable> {
    let mut guess = 0;
    let mut piece = |slice: &'a Slice| {
        let rows = slice.rows.clone();
        let (data, valid) = match column {
            RecordColumn::TsUtc => (Data::Int(Cow::Borrowed(&slice.frame.ts_utc[..])), None),
            RecordColumn::TsLocal => {
                let utc = slice.frame.ts_utc[rows.clone()].iter();
                let local = utc.map(|&us| (options.to_local_us)(us)).collect();
                (Data::Int(Cow::Owned(local)), None)
            }
            RecordColumn::ObjectKey => (Data::Same(&slice.key), None),
            RecordColumn::ByteOffset => {
                let offsets = slice.frame.offsets[rows.clone()].iter();
                let offsets = offsets.map(|&offset| offset as i64).collect();
                (Data::Int(Cow::Owned(offsets)), None)
            }
            RecordColumn::Field(spec) => match find(slice, spec, &mut guess)? {
                None => (Data::Nulls, None),
                Some(found) => (cast(rows.clone(), found, spec.column_type)?, found.valid.as_ref()),
            },
        };
        let made_here = matches!(&data, Data::Int(Cow::Owned(_)))
            || matches!(&data, Data::Float(Cow::Owned(_)) | Data::Text(Cow::Owned(_)));
        let first = if made_here { 0 } else { rows.start };
        Ok(Piece { data, first, valid, rows })
    };
    group.slices.iter().map(&mut piece).collect()
}

/// The frame's column for `spec`; `None`: its rows have nothing there. Frames of one producer have
/// their columns at the same places, so the place of the last one is tried first.
fn find<'a>(
    slice: &'a Slice,
    spec: &ColumnSpec,
    guess: &mut usize,
) -> Result<Option<&'a Column>, NotCastable> {
    let columns = &slice.frame.columns;
    if let Some(column) = columns.get(*guess)
        && column.path == spec.path
    {
        return Ok(Some(column));
    }
    let place = match &slice.places {
        Some(places) => places.find(&spec.path),
        None => Place::in_frame(&slice.frame, &spec.path),
    };
    match place {
        Place::Column(at) => {
            *guess = at;
            Ok(Some(&columns[at]))
        }
        // It has become one JSON column since.
        Place::Flattened => Err(NotCastable),
        Place::Nowhere => Ok(None),
    }
}

/// What a frame has for a path.
#[derive(Clone, Copy, Debug)]
enum Place {
    Column(usize),
    /// An object, whose members are columns, or parts of it.
    Flattened,
    Nowhere,
}

impl Place {
    fn in_frame(frame: &Frame, path: &Path) -> Place {
        if let Some(at) = frame.columns.iter().position(|column| column.path == *path) {
            return Place::Column(at);
        }
        let seen = frame.seen.iter().any(|(seen, kinds)| seen == path && !kinds.is_empty());
        if seen { Place::Flattened } else { Place::Nowhere }
    }
}

/// Where the paths of a frame are.
#[derive(Debug)]
pub struct Places(HashMap<Path, Place>);

impl Places {
    const MOST_LOOKED_THROUGH: usize = 64;

    /// `None` where the paths are few enough to be looked for one by one.
    pub fn of(frame: &Frame) -> Option<Self> {
        if frame.seen.len() <= Self::MOST_LOOKED_THROUGH {
            return None;
        }
        let seen = frame.seen.iter().filter(|(_, kinds)| !kinds.is_empty());
        let mut places: HashMap<Path, Place> =
            seen.map(|(path, _)| (path.clone(), Place::Flattened)).collect();
        for (at, column) in frame.columns.iter().enumerate() {
            places.insert(column.path.clone(), Place::Column(at));
        }
        Some(Places(places))
    }

    fn find(&self, path: &Path) -> Place {
        self.0.get(path).copied().unwrap_or(Place::Nowhere)
    }
}

/// Whether what the slice's frame has for `spec` can be published without reading its object again.
pub fn can_publish(slice: &Slice, spec: &ColumnSpec, guess: &mut usize) -> bool {
    let found = find(slice, spec, guess);
    // The next column wanted mostly follows this one.
    *guess += usize::from(matches!(found, Ok(Some(_))));
    match found {
        Ok(Some(column)) => can_cast(column, spec.column_type),
        Ok(None) => true,
        Err(NotCastable) => false,
    }
}

/// Whether the column can be published as `to` without reading its object again.
pub fn can_cast(from: &Column, to: ColumnType) -> bool {
    let kinds = from.kinds;
    let exact_digits = !kinds.contains(Kinds::NEG_ZERO);
    match (&from.values, to) {
        (Values::Null, _) => true,
        (Values::Bool(_), ColumnType::Bool | ColumnType::Text | ColumnType::Json) => true,
        (Values::Int(_), ColumnType::Int) => true,
        // `-0` is 0 as an integer but -0.0 as a fraction and `-0` as text: read it again.
        (Values::Int(_), ColumnType::Float) => exact_digits && !kinds.contains(Kinds::BIG_INT),
        (Values::Int(_), ColumnType::Text | ColumnType::Json) => exact_digits,
        (Values::Float(_), ColumnType::Float) => true,
        (Values::Text(_), ColumnType::Text | ColumnType::Json) => from.column_type == to,
        // Only empty lists and lists of nulls: they fit any type of items.
        (Values::List { .. }, ColumnType::List(_)) if kinds == Kinds::LIST => true,
        (Values::List { items, .. }, ColumnType::List(scalar)) => matches!(
            (&*items.values, scalar),
            (Values::Null, _)
                | (Values::Bool(_), Scalar::Bool)
                | (Values::Int(_), Scalar::Int)
                | (Values::Float(_), Scalar::Float)
                | (Values::Text(_), Scalar::Text)
        ),
        _ => false,
    }
}

fn cast<'a>(rows: Range<usize>, from: &'a Column, to: ColumnType) -> Result<Data<'a>, NotCastable> {
    if !can_cast(from, to) {
        return Err(NotCastable);
    }
    let as_text = matches!(to, ColumnType::Text | ColumnType::Json);
    Ok(match &from.values {
        Values::Null => Data::Nulls,
        Values::Bool(bits) if as_text => {
            let texts = rows.map(|row| if bits.get(row) { "true" } else { "false" });
            Data::Text(Cow::Owned(collect_texts(texts)))
        }
        Values::Bool(bits) => Data::Bool(bits),
        Values::Int(values) if as_text => {
            let mut made = Texts::default();
            for value in &values[rows] {
                made.push(&value.to_string());
            }
            Data::Text(Cow::Owned(made))
        }
        Values::Int(values) if to == ColumnType::Float => {
            Data::Float(values[rows].iter().map(|&value| value as f64).collect())
        }
        Values::Int(values) => Data::Int(Cow::Borrowed(values)),
        Values::Float(values) => Data::Float(Cow::Borrowed(values)),
        Values::Text(texts) => Data::Text(Cow::Borrowed(texts)),
        Values::List { ends, items } => Data::List(ends, items),
    })
}

fn collect_texts<'t>(texts: impl Iterator<Item = &'t str>) -> Texts {
    let mut made = Texts::default();
    texts.for_each(|text| made.push(text));
    made
}

/// Levels of a required column, or of an optional one that is no list.
pub fn flat_levels(pieces: &[Piece]) -> Levels {
    let slots = pieces.iter().map(|piece| piece.rows.len()).sum();
    let mut levels = Levels { slots, ..Levels::default() };
    let full = |piece: &Piece| piece.valid.is_none() && !matches!(piece.data, Data::Nulls);
    if pieces.iter().all(full) {
        return levels;
    }
    levels.definition.reserve_exact(slots);
    for piece in pieces {
        let valid = piece.rows.clone().map(|row| u32::from(piece.is_valid(row)));
        levels.definition.extend(valid);
    }
    let valid: usize = levels.definition.iter().map(|level| *level as usize).sum();
    levels.null_rows = slots - valid;
    if levels.null_rows == 0 {
        levels.definition.clear();
    }
    levels
}

/// Levels of a list: 0 a null, 1 an empty list, 2 a null in a list, 3 a value.
pub fn list_levels(pieces: &[Piece]) -> Levels {
    let mut levels = Levels::default();
    for piece in pieces {
        for row in piece.rows.clone() {
            let items = piece.items_of(row);
            levels.null_rows += usize::from(items.is_none());
            let Some((items, range)) = items.filter(|(_, range)| !range.is_empty()) else {
                levels.repetition.push(0);
                levels.definition.push(u32::from(piece.is_valid(row)));
                continue;
            };
            for (at, item) in range.enumerate() {
                levels.repetition.push(u32::from(at > 0));
                levels.definition.push(2 + u32::from(is_item(items, item)));
            }
        }
    }
    levels.slots = levels.definition.len();
    levels
}

fn is_item(items: &Items, at: usize) -> bool {
    !matches!(*items.values, Values::Null) && items.valid.get(at)
}

impl<'a> Piece<'a> {
    fn is_valid(&self, row: usize) -> bool {
        !matches!(self.data, Data::Nulls) && self.valid.is_none_or(|bits| bits.get(row))
    }

    /// The items of a row and their range; `None`: the row is null.
    fn items_of(&self, row: usize) -> Option<(&'a Items, Range<usize>)> {
        let Data::List(ends, items) = self.data else {
            return None;
        };
        let start = if row == 0 { 0 } else { ends[row - 1] as usize };
        self.is_valid(row).then(|| (items, start..ends[row] as usize))
    }

    /// Calls `push` with the place in `data` of every row that has a value.
    fn each_value(&self, mut push: impl FnMut(usize)) {
        let places = self.first..self.first + self.rows.len();
        match self.valid {
            None => places.for_each(push),
            Some(bits) => {
                for (place, row) in places.zip(self.rows.clone()) {
                    if bits.get(row) {
                        push(place);
                    }
                }
            }
        }
    }

    /// Calls `push` with every item that is no null.
    fn each_item(&self, mut push: impl FnMut(&'a Values, usize)) {
        for row in self.rows.clone() {
            if let Some((items, range)) = self.items_of(row) {
                let valid = range.filter(|&at| is_item(items, at));
                valid.for_each(|at| push(&items.values, at));
            }
        }
    }
}

/// The values of the pieces, nulls left out.
pub fn values<'a>(pieces: &'a [Piece<'a>], scalar: Scalar, is_list: bool) -> Flat<'a> {
    match scalar {
        Scalar::Bool => Flat::Bool(bools(pieces, is_list)),
        Scalar::Int => Flat::Int(ints(pieces, is_list)),
        Scalar::Float => Flat::Float(floats(pieces, is_list)),
        Scalar::Text => Flat::Text(texts(pieces, is_list)),
    }
}

fn bools(pieces: &[Piece], is_list: bool) -> Vec<bool> {
    let mut out = Vec::new();
    for piece in pieces {
        match &piece.data {
            Data::Bool(bits) => piece.each_value(|at| out.push(bits.get(at))),
            _ if is_list => piece.each_item(|items, at| {
                if let Values::Bool(bits) = items {
                    out.push(bits.get(at));
                }
            }),
            _ => {}
        }
    }
    out
}

fn ints(pieces: &[Piece], is_list: bool) -> Vec<i64> {
    let mut out = Vec::new();
    for piece in pieces {
        match &piece.data {
            Data::Int(values) => copy(piece, values, &mut out),
            _ if is_list => piece.each_item(|items, at| {
                if let Values::Int(values) = items {
                    out.push(values[at]);
                }
            }),
            _ => {}
        }
    }
    out
}

fn floats(pieces: &[Piece], is_list: bool) -> Vec<f64> {
    let mut out = Vec::new();
    for piece in pieces {
        match &piece.data {
            Data::Float(values) => copy(piece, values, &mut out),
            _ if is_list => piece.each_item(|items, at| {
                if let Values::Float(values) = items {
                    out.push(values[at]);
                }
            }),
            _ => {}
        }
    }
    out
}

fn copy<T: Copy>(piece: &Piece, values: &[T], out: &mut Vec<T>) {
    if piece.valid.is_none() {
        out.extend_from_slice(&values[piece.first..piece.first + piece.rows.len()]);
    } else {
        piece.each_value(|at| out.push(values[at]));
    }
}

fn texts<'a>(pieces: &'a [Piece<'a>], is_list: bool) -> Vec<&'a [u8]> {
    let mut out = Vec::new();
    for piece in pieces {
        match &piece.data {
            Data::Text(texts) => piece.each_value(|at| out.push(text_bytes(texts, at))),
            Data::Same(text) => out.extend(piece.rows.clone().map(|_| text.as_bytes())),
            _ if is_list => piece.each_item(|items, at| {
                if let Values::Text(texts) = items {
                    out.push(text_bytes(texts, at));
                }
            }),
            _ => {}
        }
    }
    out
}

fn text_bytes(texts: &Texts, at: usize) -> &[u8] {
    let start = if at == 0 { 0 } else { texts.ends[at - 1] as usize };
    &texts.bytes[start..texts.ends[at] as usize]
}
