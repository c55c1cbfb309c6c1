//! What was read, and may have been meant otherwise: times that don't read, values that don't fit
//! their declared types, text that becomes JSON. Counted and found here, each with an example;
//! nothing here decides what becomes of a record.

use std::collections::HashMap;

use super::read::Lost;
use crate::json::{
    Column, Fate, Frame, Options, Projection, Reader, Reason, Record, TimeText, Values,
};
use crate::schema::{ColumnSpec, ColumnType, Kinds, Path, Pins};
use crate::time::{TimeRule, TimeValue, read_time};

/// Characters of a value that are shown.
const SHOWN: usize = 60;
/// Quarantined records that are looked at for the values that did not fit.
const LOOKED_AT: usize = 100;

/// A time field that holds no time, in a record that took its object's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnreadTime {
    /// The record's, in the decoded object.
    pub offset: u64,
    pub field: String,
    pub value: String,
}

impl UnreadTime {
    /// The first of the record's time fields that is there and does not read as a time.
    pub fn of(record: &mut Record<'_>, rule: &TimeRule) -> Option<UnreadTime> {
        let offset = record.offset;
        record.find(|rank, text| {
            let (bytes, value) = match text {
                TimeText::Text(text) => (text, TimeValue::Text(text)),
                TimeText::Number(literal) => (literal, TimeValue::Number(literal)),
                TimeText::Other => return None,
            };
            read_time(value, rule.field_tz).is_none().then(|| UnreadTime {
                offset,
                field: rule.fields()[usize::from(rank)].to_string(),
                value: shortened(&String::from_utf8_lossy(bytes)),
            })
        })
    }
}

/// A declared type, and the first value that did not read as it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Misfit {
    /// As it was declared.
    pub column: String,
    pub column_type: ColumnType,
    /// As it stands in its record.
    pub value: String,
    /// `key:offset`
    pub place: String,
}

/// For each declared column, the first value that brought its record into quarantine.
pub(super) fn misfits(lost: &[(String, Option<String>, Lost)], pins: &Pins) -> Vec<Misfit> {
    let of_type = lost.iter().filter(|(_, _, lost)| {
        lost.reason == Reason::NotOfDeclaredType.text() && lost.len == lost.bytes.len() as u64
    });
    let records: Vec<(&str, &Lost)> =
        of_type.take(LOOKED_AT).map(|(key, _, lost)| (key.as_str(), lost)).collect();
    if records.is_empty() {
        return Vec::new();
    }
    let misfit = |(column, column_type): (&String, &ColumnType)| {
        let first = records.iter().find(|(_, lost)| !reads(&lost.bytes, column, *column_type))?;
        Some(Misfit {
            column: column.clone(),
            column_type: *column_type,
            value: shortened(&source_of(&first.1.bytes, column)?),
            place: format!("{}:{}", first.0, first.1.offset),
        })
    };
    pins.iter().filter_map(misfit).collect()
}

/// True where a record's value of this column reads as this type.
fn reads(record: &[u8], column: &str, column_type: ColumnType) -> bool {
    frame_of(record, column, column_type).rows > 0
}

/// A value as it stands in its record: what a JSON column holds.
fn source_of(record: &[u8], column: &str) -> Option<String> {
    let frame = frame_of(record, column, ColumnType::Json);
    let held = frame.columns.iter().find(|held| held.path.is_named(column))?;
    match &held.values {
        Values::Text(texts) if held.is_valid(0) => Some(texts.get(0).to_string()),
        _ => None,
    }
}

fn frame_of(record: &[u8], column: &str, column_type: ColumnType) -> Frame {
    let mut reader = Reader::new(Options {
        projection: Projection::Named(vec![column.to_string()]),
        pins: Pins::from([(column.to_string(), column_type)]),
        time_fields: Vec::new(),
        by: Vec::new(),
        identity: None,
        max_record_bytes: record.len(),
    });
    let keep = |_: &mut Record<'_>| Fate::Keep { ts_utc: 0, source: 0, clamped: false };
    reader.read(record, true, &mut { keep }).frame
}

/// Lists and objects in columns, while the records of a day are taken in their order.
#[derive(Clone, Default, Debug)]
pub(super) struct Nested(HashMap<Path, Found>);

#[derive(Clone, Default, Debug)]
struct Found {
    records: u64,
    /// Key and offset of the first one.
    first: (String, u64),
}

/// A column that holds text in some records, and a list or an object in others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MixedColumn {
    pub name: String,
    /// Records with a list or an object there.
    pub records: u64,
    /// `key:offset` of the first of them.
    pub place: String,
}

impl Nested {
    /// Counts the lists and objects of a frame of the object `key`.
    pub fn add(&mut self, frame: &Frame, key: &str) {
        const NESTED: [Kinds; 2] = [Kinds::LIST, Kinds::OBJECT];
        for (path, kinds) in &frame.seen {
            if !NESTED.iter().any(|nested| kinds.contains(*nested)) {
                continue;
            }
            let (records, first) = match frame.columns.iter().find(|c| c.path == *path) {
                Some(column) => nested_rows(column, frame.rows),
                // A flattened object: its members are the columns.
                None => object_rows(frame, path),
            };
            if let Some(first) = first {
                let found = self.0.entry(path.clone()).or_insert_with(|| Found {
                    records: 0,
                    first: (key.to_string(), frame.offsets[first]),
                });
                found.records += records;
            }
        }
    }

    /// The columns of the day in which text stands beside lists or objects, undeclared.
    pub fn beside_text(&self, columns: &[ColumnSpec], pins: &Pins) -> Vec<MixedColumn> {
        let mixed = columns.iter().filter(|column| {
            column.column_type == ColumnType::Json
                && column.kinds.contains(Kinds::TEXT)
                && !pins.keys().any(|name| column.path.is_named(name))
        });
        let mixed = mixed.filter_map(|column| {
            let found = self.0.get(&column.path)?;
            Some(MixedColumn {
                name: column.name.clone(),
                records: found.records,
                place: format!("{}:{}", found.first.0, found.first.1),
            })
        });
        mixed.collect()
    }
}

/// Rows with a list or an object, and the first of them. Every frame with such a column comes here:
/// rows are taken 64 at a time where that is possible, and no text is looked at but its first byte.
fn nested_rows(column: &Column, rows: usize) -> (u64, Option<usize>) {
    match &column.values {
        Values::List { .. } => rows_of([column], rows),
        Values::Text(texts) => {
            let first_byte = |row: usize| {
                let start = if row == 0 { 0 } else { texts.ends[row - 1] };
                (start < texts.ends[row]).then(|| texts.bytes[start as usize])
            };
            let is_nested = |row: &usize| {
                matches!(first_byte(*row), Some(b'[' | b'{')) && column.is_valid(*row)
            };
            let first = (0..rows).find(is_nested);
            (first.map_or(0, |first| (first..rows).filter(is_nested).count() as u64), first)
        }
        _ => (0, None),
    }
}

/// Rows with any member of the object at `path`, and the first of them.
fn object_rows(frame: &Frame, path: &Path) -> (u64, Option<usize>) {
    rows_of(frame.columns.iter().filter(|column| column.path.is_below(path)), frame.rows)
}

/// Rows in which any of the columns has a value, and the first of them.
fn rows_of<'c>(columns: impl IntoIterator<Item = &'c Column>, rows: usize) -> (u64, Option<usize>) {
    let mut words = vec![0_u64; rows.div_ceil(64)];
    for column in columns {
        match (&column.values, &column.valid) {
            (Values::Null, _) => {}
            (_, None) => return (rows as u64, (rows > 0).then_some(0)),
            (_, Some(valid)) => {
                words.iter_mut().zip(valid.words()).for_each(|(sum, word)| *sum |= word);
            }
        }
    }
    let first = words.iter().position(|word| *word != 0);
    let first = first.map(|at| at * 64 + words[at].trailing_zeros() as usize);
    (words.iter().map(|word| u64::from(word.count_ones())).sum(), first)
}

/// A value that may be long, for a message.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(record: &str) -> (String, Option<String>, Lost) {
        let lost = Lost {
            offset: 7,
            len: record.len() as u64,
            reason: Reason::NotOfDeclaredType.text().to_string(),
            bytes: record.as_bytes().to_vec(),
            places: 1,
        };
        ("k".to_string(), None, lost)
    }

    #[test]
    fn the_column_that_does_not_fit_is_found_among_those_that_do() {
        let pins = Pins::from([
            ("a".to_string(), ColumnType::Int),
            ("b.c".to_string(), ColumnType::Float),
            ("d".to_string(), ColumnType::Text),
        ]);
        let records = [lost(r#"{"a":1,"b":{"c":"x \"y\""},"d":3}"#), lost(r#"{"a":2.5,"d":[]}"#)];
        let found = misfits(&records, &pins);
        let found: Vec<(&str, &str)> =
            found.iter().map(|misfit| (&*misfit.column, &*misfit.value)).collect();
        assert_eq!(found, [("a", "2.5"), ("b.c", r#""x \"y\"""#), ("d", "[]")]);
    }

    #[test]
    fn a_long_value_is_cut_between_characters() {
        let text = "서".repeat(61);
        assert_eq!(shortened(&text), format!("{}…", "서".repeat(60)));
        assert_eq!(shortened("short"), "short");
    }
}
