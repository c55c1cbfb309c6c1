//! A partial: frames go in, and other partials; what the tables are made of comes out.
//!
//! A partial holds no rows: its size grows with groups × buckets × metrics, never with the day.
//! It reads a text column as a metric only while everything in it was a number, unless the
//! column was asked for by name.

use std::collections::HashMap;

use super::cell::Cell;
use super::groups::Groups;
use super::names::may_be_named;
use super::number::{Num, SHORT_BYTES, parse_short};
use super::slots::Slots;
use super::table;
use super::{AggregateError, AggregateSpec, Metrics, Tables};
use crate::json::{Column, Frame, Texts, Values};
use crate::schema::{ColumnSpec, ColumnType, Path};

/// The aggregates of some rows of the day.
#[derive(Clone, Debug)]
pub struct Partial {
    pub(super) groups: Groups,
    pub(super) slots: Slots,
    pub(super) metrics: HashMap<Path, Metric>,
    /// The slot of each row of the frame at hand; kept so that it is allocated once.
    rows: Vec<u32>,
}

/// A column that may be a metric.
#[derive(Clone, Debug)]
pub(super) enum Metric {
    Numbers(Numbers),
    /// A column that was not asked for, or that turned out to hold something else than numbers.
    Dropped,
}

/// The numbers of a metric. The vectors are as long as the slots were when something was added.
#[derive(Clone, Default, Debug)]
pub(super) struct Numbers {
    pub cells: Vec<Cell>,
    /// How many values of each slot are no number; empty while there is none.
    pub not_numbers: Vec<u64>,
}

impl Partial {
    pub fn new(spec: &AggregateSpec) -> Partial {
        Partial {
            groups: Groups::new(&spec.by, spec.max_groups),
            slots: Slots::default(),
            metrics: HashMap::new(),
            rows: Vec::new(),
        }
    }

    /// Adds the rows of a frame. After an error the partial is of no more use.
    ///
    /// Errors: more groups than allowed, or longer ones; a row outside of the window; a step
    /// that is no step.
    pub fn add(&mut self, spec: &AggregateSpec, frame: &Frame) -> Result<(), AggregateError> {
        spec.buckets()?;
        let mut rows = std::mem::take(&mut self.rows);
        self.groups.read(frame, &mut rows)?;
        self.slots.read(spec, &frame.ts_utc, &mut rows)?;
        let every_value = matches!(spec.metrics, Metrics::Named(_));
        for column in &frame.columns {
            if matches!(column.values, Values::Null) {
                continue;
            }
            if !self.metrics.contains_key(&column.path) {
                let metric = first_seen(spec, &column.path);
                self.metrics.insert(column.path.clone(), metric);
            }
            let metric = self.metrics.get_mut(&column.path);
            let metric = metric.expect("it was inserted if it was not there");
            if let Metric::Numbers(numbers) = metric {
                numbers.grow(self.slots.len());
                if !numbers.read(column, &rows, every_value) {
                    *metric = Metric::Dropped;
                }
            }
        }
        self.rows = rows;
        Ok(())
    }

    /// Adds everything that another partial of the same [`AggregateSpec`] was given.
    ///
    /// Errors: more groups than allowed, or longer ones.
    pub fn merge(&mut self, mut other: Partial) -> Result<(), AggregateError> {
        if self.slots.len() < other.slots.len() {
            // The order does not show in the result: the smaller one is taken apart.
            std::mem::swap(self, &mut other);
        }
        let groups = self.groups.merge(&other.groups)?;
        let slots = self.slots.merge(&other.slots, &groups);
        for (path, theirs) in other.metrics {
            match self.metrics.entry(path).or_insert_with(Metric::numbers) {
                Metric::Dropped => {}
                mine => match theirs {
                    Metric::Dropped => *mine = Metric::Dropped,
                    Metric::Numbers(theirs) => mine.merge(theirs, &slots, self.slots.len()),
                },
            }
        }
        Ok(())
    }

    /// The tables. `columns` are all columns of the day, as they are published; none where the
    /// day has no records, and then the tables have the names as they were typed.
    ///
    /// Errors: a name that means none of the columns; a step that is no step.
    pub fn finish(
        self,
        spec: &AggregateSpec,
        columns: &[ColumnSpec],
    ) -> Result<Tables, AggregateError> {
        table::finish(self, spec, columns)
    }
}

/// What a column is to be, by its path alone.
fn first_seen(spec: &AggregateSpec, path: &Path) -> Metric {
    let is_named = |names: &[String]| names.iter().any(|name| path.is_named(name));
    let is_wanted = match &spec.metrics {
        Metrics::Named(names) => names.iter().any(|name| may_be_named(path, name)),
        Metrics::Auto => !is_named(&spec.by),
    };
    if is_wanted { Metric::numbers() } else { Metric::Dropped }
}

impl Metric {
    fn numbers() -> Metric {
        Metric::Numbers(Numbers::default())
    }

    fn merge(&mut self, theirs: Numbers, slots: &[u32], len: usize) {
        let Metric::Numbers(mine) = self else {
            return;
        };
        mine.grow(len);
        for (cell, slot) in theirs.cells.into_iter().zip(slots) {
            mine.cells[*slot as usize].merge(cell);
        }
        for (count, slot) in theirs.not_numbers.into_iter().zip(slots) {
            if count > 0 {
                mine.count_not_numbers(*slot, count);
            }
        }
    }
}

/// What a value turned out to be.
enum Value {
    Number(Num),
    NotNumber,
    /// Nothing that is counted: null, or an object (which other frames have as columns).
    Nothing,
}

impl Numbers {
    fn grow(&mut self, slots: usize) {
        if self.cells.len() < slots {
            self.cells.resize_with(slots, Cell::default);
        }
    }

    fn count_not_numbers(&mut self, slot: u32, count: u64) {
        let slot = slot as usize;
        if self.not_numbers.len() <= slot {
            self.not_numbers.resize(self.cells.len(), 0);
        }
        self.not_numbers[slot] += count;
    }

    /// Adds the values of a column. False where there is another value than numbers, unless
    /// `every_value` is to be counted.
    fn read(&mut self, column: &Column, rows: &[u32], every_value: bool) -> bool {
        match &column.values {
            Values::Null => true,
            Values::Bool(_) | Values::List { .. } => {
                self.read_each(column, rows, |_| Value::NotNumber, every_value)
            }
            Values::Int(values) => {
                let number = |row: usize| Value::Number(Num::of_int(values[row]));
                self.read_each(column, rows, number, every_value)
            }
            Values::Float(values) => {
                let number = |row: usize| match Num::of_float(values[row]) {
                    Some(number) => Value::Number(number),
                    None => Value::NotNumber,
                };
                self.read_each(column, rows, number, every_value)
            }
            Values::Text(texts) if column.column_type == ColumnType::Json => {
                let value = |row: usize| read_json(texts.get(row));
                self.read_each(column, rows, value, every_value)
            }
            Values::Text(texts) => {
                let mut start = 0;
                let value = |row: usize| {
                    if row > 0 {
                        start = texts.ends[row - 1] as usize;
                    }
                    match read_text(texts, start, texts.ends[row] as usize) {
                        Some(number) => Value::Number(number),
                        None => Value::NotNumber,
                    }
                };
                self.read_each(column, rows, value, every_value)
            }
        }
    }

    #[inline(always)]
    fn read_each(
        &mut self,
        column: &Column,
        rows: &[u32],
        mut value: impl FnMut(usize) -> Value,
        every_value: bool,
    ) -> bool {
        for (row, slot) in rows.iter().enumerate() {
            if column.valid.as_ref().is_some_and(|valid| !valid.get(row)) {
                continue;
            }
            match value(row) {
                Value::Number(number) => self.cells[*slot as usize].add(number),
                Value::NotNumber if every_value => self.count_not_numbers(*slot, 1),
                Value::NotNumber => return false,
                Value::Nothing => {}
            }
        }
        true
    }
}

/// The number at `start..end` of the texts.
#[inline]
fn read_text(texts: &Texts, start: usize, end: usize) -> Option<Num> {
    let len = end - start;
    if let Some(word) = texts.bytes.get(start..start + SHORT_BYTES)
        && (1..=SHORT_BYTES).contains(&len)
    {
        let word: [u8; SHORT_BYTES] = word.try_into().expect("the slice has that length");
        let word = u64::from_le_bytes(word) & (u64::MAX >> (8 * (SHORT_BYTES - len)));
        if let Some(value) = parse_short(word, len) {
            return Some(Num::Float(value));
        }
    }
    Num::parse(&texts.bytes[start..end])
}

/// A value of a JSON column. A string means the same number as in a text column, so that it
/// does not show whether an object stood in the same frame.
fn read_json(source: &str) -> Value {
    let number = match source.as_bytes().first() {
        None | Some(b'{' | b'n') => return Value::Nothing,
        Some(b'"') if source.contains('\\') => {
            serde_json::from_str::<String>(source).ok().and_then(|text| Num::parse(text.as_bytes()))
        }
        Some(b'"') => Num::parse(&source.as_bytes()[1..source.len() - 1]),
        Some(_) => Num::parse(source.as_bytes()),
    };
    number.map_or(Value::NotNumber, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(source: &str) -> (Option<Num>, bool) {
        match read_json(source) {
            Value::Number(number) => (Some(number), false),
            Value::NotNumber => (None, true),
            Value::Nothing => (None, false),
        }
    }

    #[test]
    fn json_values_mean_what_they_mean_in_other_columns() {
        for source in ["30", "\"30\"", "\"\\u00330\"", "3e1"] {
            assert_eq!(numbers(source).0, Some(Num::of_int(30)), "{source}");
        }
        for source in ["true", "\"\"", "\"30\\\"\"", "\" 30\"", "[30]", "1e400"] {
            assert_eq!(numbers(source), (None, true), "{source}");
        }
        for source in ["{\"a\":30}", "null", ""] {
            assert_eq!(numbers(source), (None, false), "{source}");
        }
    }

    #[test]
    fn short_texts_are_read_at_every_place_of_a_frame() {
        let mut texts = Texts::default();
        let values = ["30.5", "", "-7", "12345678", "1234567890.25", "x", "9"];
        values.iter().for_each(|value| texts.push(value));
        for (at, value) in values.iter().enumerate() {
            let end = texts.ends[at] as usize;
            let read = read_text(&texts, end - value.len(), end);
            assert_eq!(read, Num::parse(value.as_bytes()), "{value:?}");
        }
    }
}
