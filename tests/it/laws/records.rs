//! Laws of the record reader: every byte has its place, what is a record is one for serde_json too,
//! and neither the cuts nor the columns that are asked for can show.

use std::collections::BTreeMap;

use rawcat::json::{Column, Options, Projection, Quarantined, Reader, Reason, Tally};
use rawcat::schema::{ColumnSpec, ColumnType, Path, Pins};
use serde_json::Value;

use super::draw::Draw;
use super::reading::{Cell, Read, options, read, read_object};

/// Inputs up to this length are also read byte by byte.
const BY_BYTE_BYTES: usize = 160;

/// Checks every law on one object.
pub fn check(bytes: &[u8]) {
    let mut draw = Draw::of(bytes);
    let mut reader = Reader::new(options(Projection::All));
    let all = read_object(&mut reader, bytes, &[]);
    // What a reader has learnt of an object must not show in the next one.
    all.assert_same_account(&read_object(&mut reader, bytes, &[]));
    every_byte_has_its_place(&all, bytes);
    records_are_objects_for_serde_json(&all, bytes);
    if a_stream_of_objects_is_read_whole(&all, bytes) {
        after_a_damaged_byte_nothing_is_read_that_was_not_written(&all, bytes, &mut draw);
    }
    numbers_are_what_their_text_says(&all, bytes);
    // Told the day's types, every reading gives the same rows, however narrow its chunks are.
    let types = all.schema().columns(&Pins::new());
    let told = read(&options(Projection::All), &types, bytes, &[]);
    all.assert_same_account(&told);
    let mut all_cuts = cuts(bytes.len(), &mut draw);
    all_cuts.push(ends(&all));
    for cuts in all_cuts {
        let cut = read(&options(Projection::All), &types, bytes, &cuts);
        told.assert_same_account(&cut);
        assert_eq!(told.rows(&types), cut.rows(&types), "cut at {cuts:?}");
    }
    let cut = [draw.below(bytes.len() + 1)];
    all.assert_same_account(&read(&options(Projection::Named(vec![])), &[], bytes, &cut));
    let names = names(&types, &mut draw);
    let some = read(&options(Projection::Named(names.clone())), &[], bytes, &[]);
    all.assert_same_account(&some);
    assert_columns_agree(&all, &some, &names);
    limits_and_declared_types_hold_however_records_are_cut(bytes, &mut draw);
}

/// Records, quarantine and nothing but separators between them make up the object.
fn every_byte_has_its_place(read: &Read, bytes: &[u8]) {
    let Tally { record_bytes, separator_bytes, quarantined_bytes, .. } = read.tally;
    assert_eq!(record_bytes + separator_bytes + quarantined_bytes, bytes.len() as u64);
    let kept = read.records.iter().filter(|(_, (_, is_kept))| *is_kept);
    let mut spans: Vec<(u64, u64)> = kept.map(|(offset, (len, _))| (*offset, *len)).collect();
    assert_eq!(spans.iter().map(|(_, len)| len).sum::<u64>(), record_bytes);
    let Tally { kept, before, after, sources, .. } = read.tally;
    assert_eq!(spans.len() as u64, kept + before + after);
    assert_eq!(read.offsets().len() as u64, kept);
    assert_eq!(sources.iter().sum::<u64>(), kept);
    for span in &read.quarantine {
        let at = span.offset as usize;
        let sample = &bytes[at..at + (span.len as usize).min(Quarantined::KEPT_BYTES)];
        assert_eq!(span.bytes, sample);
        spans.push((span.offset, span.len));
    }
    if read.chunks.iter().any(|chunk| !chunk.more.is_empty()) {
        return;
    }
    spans.sort_unstable();
    let mut at = 0;
    for (offset, len) in spans {
        assert!(at <= offset, "two spans at byte {offset}");
        assert_separators(bytes, at as usize, offset as usize);
        at = offset + len;
    }
    assert_separators(bytes, at as usize, bytes.len());
}

fn assert_separators(bytes: &[u8], begin: usize, end: usize) {
    let bom = b"\xEF\xBB\xBF";
    let begin = if begin == 0 && bytes[..end].starts_with(bom) { bom.len() } else { begin };
    for byte in &bytes[begin..end] {
        assert!(b" \n\r\t,\x1E[]".contains(byte), "{byte:#x} between {begin} and {end}");
    }
}

fn records_are_objects_for_serde_json(read: &Read, bytes: &[u8]) {
    for (offset, (len, _)) in &read.records {
        let source = &bytes[*offset as usize..(offset + len) as usize];
        match serde_json::from_slice::<Value>(source) {
            Ok(value) => assert!(value.is_object()),
            // serde_json goes 128 levels deep, and knows no number beyond f64.
            Err(error) => {
                let text = error.to_string();
                let known = text.contains("recursion limit") || text.contains("out of range");
                assert!(known, "{text}: {}", String::from_utf8_lossy(source));
            }
        }
    }
}

/// Where the whole object is a stream of objects for serde_json, each one is a record; and the only
/// record of an object has the values that serde_json finds. False where it is no such stream.
fn a_stream_of_objects_is_read_whole(read: &Read, bytes: &[u8]) -> bool {
    let mut stream = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    let mut ends = Vec::new();
    let mut values = Vec::new();
    while let Some(value) = stream.next() {
        match value {
            Ok(value) if value.is_object() => values.push(value),
            _ => return false,
        }
        ends.push(stream.byte_offset() as u64);
    }
    let found: Vec<u64> = read.records.iter().map(|(offset, (len, _))| offset + len).collect();
    assert_eq!(found, ends);
    let rejected = read.records.values().filter(|(_, is_kept)| !is_kept).count();
    assert_eq!(read.quarantine.len(), rejected);
    if let ([value], 1) = (&values[..], read.tally.kept) {
        assert_values(read, value);
    }
    true
}

/// One byte of a sound stream is changed, put in or taken out: every record that is read then is one
/// of the stream, or holds that place. No text inside of a string is taken for a record.
///
/// But where the damage makes another whole item of a record, reading goes on at the end of that, and
/// has no reason to doubt it until something bad comes.
fn after_a_damaged_byte_nothing_is_read_that_was_not_written(
    sound: &Read,
    bytes: &[u8],
    draw: &mut Draw,
) {
    if bytes.is_empty() {
        return;
    }
    let at = draw.below(bytes.len());
    let byte = draw.one_of(b"\"\"\\{}[],:x1 \n\xff");
    let mut damaged = bytes.to_vec();
    let shift = draw.one_of(&[-1, 0, 1]);
    match shift {
        -1 => drop(damaged.remove(at)),
        0 => damaged[at] = byte,
        _ => damaged.insert(at, byte),
    }
    let read = read(&options(Projection::Named(vec![])), &[], &damaged, &[]);
    every_byte_has_its_place(&read, &damaged);
    let records = read.records.iter().map(|(offset, (len, _))| (*offset, *len));
    let whole = read.quarantine.iter().filter(|span| is_passed_over_exactly(span.reason));
    let mut items: Vec<(u64, u64)> =
        records.chain(whole.map(|span| (span.offset, span.len))).collect();
    items.sort_unstable();
    let mut astray = false;
    for (offset, len) in items {
        let written = if offset > at as u64 { offset.wrapping_sub_signed(shift) } else { offset };
        if offset <= at as u64 && at as u64 <= offset + len {
            astray = true;
        } else if sound.records.contains_key(&written) {
            astray = false;
        } else {
            assert!(
                astray || !read.records.contains_key(&offset),
                "{:?} at {offset} is no record of {:?}, damaged at {at}: {:?}",
                String::from_utf8_lossy(&damaged[offset as usize..(offset + len) as usize]),
                String::from_utf8_lossy(bytes),
                String::from_utf8_lossy(&damaged),
            );
        }
    }
}

/// Whole JSON, whose end is known.
fn is_passed_over_exactly(reason: Reason) -> bool {
    use Reason::*;
    matches!(reason, NotAnObject | BadEscape | LoneSurrogate | BadUtf8 | TimeUnreadable)
}

fn assert_values(read: &Read, value: &Value) {
    let types = read.schema().columns(&Pins::new());
    let cells = read.rows(&types);
    let mut expected = BTreeMap::new();
    flatten(String::new(), value, &mut expected);
    for (pointer, value) in &expected {
        let spec = types.iter().find(|spec| spec.path.pointer() == pointer);
        let cell = cells.get(pointer).map_or(&Cell::Null, |cells| &cells[0]);
        match spec.map(|spec| spec.column_type) {
            Some(ColumnType::Json) => {
                let Cell::Text(text) = cell else { panic!("{pointer}: {cell:?}") };
                assert!(same(&serde_json::from_str(text).expect("a JSON value"), value));
            }
            _ => assert!(is_cell(cell, value), "{pointer}: {cell:?} for {value}"),
        }
    }
    let unexpected = cells.keys().find(|pointer| !expected.contains_key(*pointer));
    assert!(unexpected.is_none(), "{unexpected:?} is in no record");
}

/// The leaves of a value by their pointers, as the reader flattens them.
fn flatten(pointer: String, value: &Value, leaves: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let key = key.replace('~', "~0").replace('/', "~1");
                flatten(format!("{pointer}/{key}"), value, leaves);
            }
        }
        leaf => drop(leaves.insert(pointer, leaf.clone())),
    }
}

fn is_cell(cell: &Cell, value: &Value) -> bool {
    match (cell, value) {
        (Cell::Null, Value::Null) => true,
        (Cell::Bool(cell), Value::Bool(value)) => cell == value,
        (Cell::Text(cell), Value::String(value)) => cell == value,
        (Cell::Int(cell), Value::Number(value)) => {
            // serde_json makes a float of `-0`.
            value.as_i64() == Some(*cell) || *cell == 0 && value.as_f64() == Some(-0.0)
        }
        (Cell::Float(bits), Value::Number(value)) => {
            value.as_f64().is_some_and(|value| near(f64::from_bits(*bits), value))
        }
        // Too large for i64, or for f64: its own text.
        (Cell::Text(cell), Value::Number(value)) => {
            let (cell, value) = (cell.parse::<f64>(), value.as_f64());
            cell.is_ok_and(|cell| value.is_some_and(|value| near(cell, value)))
        }
        (Cell::List(cells), Value::Array(values)) => {
            cells.len() == values.len() && cells.iter().zip(values).all(|(c, v)| is_cell(c, v))
        }
        _ => false,
    }
}

fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(ours), Value::Number(theirs)) => {
            let (ours, theirs) = (ours.as_f64(), theirs.as_f64());
            ours.zip(theirs).is_some_and(|(ours, theirs)| near(ours, theirs))
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| same(a, b))
        }
        (ours, theirs) => ours == theirs,
    }
}

/// serde_json rounds some doubles to a neighbour; another law has the exact comparison.
fn near(ours: f64, theirs: f64) -> bool {
    (ours - theirs).abs() <= theirs.abs() * 1e-15
}

/// Each value of a column of numbers is what Rust reads in its exact source text, which a group of
/// the same name gives.
fn numbers_are_what_their_text_says(all: &Read, bytes: &[u8]) {
    let types = all.schema().columns(&Pins::new());
    let is_number = |spec: &&ColumnSpec| {
        matches!(spec.column_type, ColumnType::Int | ColumnType::Float)
            && types
                .iter()
                .all(|other| other.path == spec.path || !leads_through(other, spec.path.pointer()))
    };
    let numbers: Vec<&ColumnSpec> = types.iter().filter(is_number).take(3).collect();
    if numbers.is_empty() {
        return;
    }
    let by: Vec<String> = numbers.iter().map(|spec| spec.path.pointer().to_string()).collect();
    let read =
        read_object(&mut Reader::new(Options { by, ..options(Projection::All) }), bytes, &[]);
    let frame = &read.chunks[0].frame;
    for (spec, texts) in numbers.into_iter().zip(&frame.groups) {
        let column = frame.columns.iter().find(|column| column.path == spec.path);
        let column = column.expect("a column of numbers");
        for row in 0..frame.rows {
            let text = texts.valid.get(row).then(|| texts.texts.get(row));
            let expected = match (text, spec.column_type) {
                (None, _) => Cell::Null,
                (Some(text), ColumnType::Int) => Cell::Int(text.parse().expect("an i64")),
                (Some(text), _) => Cell::Float(text.parse::<f64>().expect("an f64").to_bits()),
            };
            assert_eq!(Cell::of(column, row), expected, "{text:?}");
        }
    }
}

/// Whether a name means a column or an object that it lies in: a group of this name then has the
/// text of either.
fn leads_through(column: &ColumnSpec, name: &str) -> bool {
    let mut path = Path::root();
    column.path.keys().any(|key| {
        path = path.child(&key);
        path.is_named(name)
    })
}

/// Cuts behind every record: none is then compared with the one before, since fewer bytes follow it
/// than are compared at once. So this is the full pass for every record.
fn ends(read: &Read) -> Vec<usize> {
    read.records.iter().map(|(offset, (len, _))| (offset + len) as usize).collect()
}

/// Places to cut at: one, some, and every byte where the object is small.
fn cuts(len: usize, draw: &mut Draw) -> Vec<Vec<usize>> {
    let mut drawn = |count: usize| (0..count).map(|_| draw.below(len + 1)).collect::<Vec<_>>();
    let mut all = vec![drawn(1), drawn(6)];
    if len <= BY_BYTE_BYTES {
        all.push((1..len).collect());
    }
    all
}

/// A column that is there, by one of its names, and a name that leads to others or nowhere.
fn names(types: &[ColumnSpec], draw: &mut Draw) -> Vec<String> {
    let mut names = vec![draw.one_of(&["d_a", "no such", "d.a", "/d"]).to_string()];
    if !types.is_empty() {
        let path = &types[draw.below(types.len())].path;
        names.push(if draw.one_of(&[true, false]) {
            path.flat_name()
        } else {
            path.pointer().to_string()
        });
    }
    names
}

/// The columns that were asked for are there as they are among all.
fn assert_columns_agree(all: &Read, some: &Read, names: &[String]) {
    let is_asked_for = |column: &&Column| names.iter().any(|name| column.path.is_named(name));
    for (all, some) in all.chunks.iter().zip(&some.chunks) {
        let mut expected: Vec<&Column> = all.frame.columns.iter().filter(is_asked_for).collect();
        let mut found: Vec<&Column> = some.frame.columns.iter().collect();
        expected.sort_by(|a, b| a.path.cmp(&b.path));
        found.sort_by(|a, b| a.path.cmp(&b.path));
        assert_eq!(expected, found, "{names:?}");
    }
}

fn limits_and_declared_types_hold_however_records_are_cut(bytes: &[u8], draw: &mut Draw) {
    let max_record_bytes = 1 + draw.below(100);
    let declared = [ColumnType::Float, ColumnType::Json, ColumnType::Text, ColumnType::Int];
    let pins = [("a".to_string(), draw.one_of(&declared)), ("d".to_string(), ColumnType::Json)];
    let pins = pins.into_iter().take(draw.below(3)).collect();
    let options = Options { max_record_bytes, pins, ..options(Projection::All) };
    let whole = read(&options, &[], bytes, &[]);
    every_byte_has_its_place(&whole, bytes);
    assert!(whole.records.values().all(|(len, _)| *len <= max_record_bytes as u64));
    let cuts = vec![draw.below(bytes.len() + 1), draw.below(bytes.len() + 1)];
    whole.assert_same_account(&read(&options, &[], bytes, &cuts));
}
