//! What `publish` writes, read back by another reader: the same values with the same meaning.

use std::ops::Range;
use std::path::Path as FilePath;

use polars::prelude::{AnyValue, DataFrame, DataType, TimeUnit};
use proptest::prelude::*;
use rawcat::json::{Bits, Column, Frame, Items, Texts, Values};
use rawcat::publish::{
    EncodeOptions, PublishError, RecordColumn, RecordsWriter, RowGroup, Slice, encode_column,
    read_table,
};
use rawcat::schema::{ColumnSpec, ColumnType, Kinds, Path, Pins, Schema};

const HOUR_US: i64 = 3_600_000_000;

/// A value of a record, as the tests think of it.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Ints(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
}

fn column(name: &str, cells: &[Cell]) -> Column {
    let mut valid = Bits::default();
    let (mut bools, mut ints, mut floats) = (Bits::default(), Vec::new(), Vec::new());
    let (mut texts, mut ends) = (Texts::default(), Vec::new());
    let (mut int_items, mut text_items) = (Vec::new(), Texts::default());
    let mut item_valid = Bits::default();
    let mut kinds = Kinds::NONE;
    for cell in cells {
        valid.push(*cell != Cell::Null);
        bools.push(*cell == Cell::Bool(true));
        ints.push(if let Cell::Int(value) = cell { *value } else { 0 });
        floats.push(if let Cell::Float(value) = cell { *value } else { 0.0 });
        texts.push(if let Cell::Text(value) = cell { value } else { "" });
        if let Cell::Ints(items) = cell {
            for item in items {
                int_items.push(item.unwrap_or(0));
                item_valid.push(item.is_some());
            }
        }
        if let Cell::Texts(items) = cell {
            for item in items {
                text_items.push(item.as_deref().unwrap_or(""));
                item_valid.push(item.is_some());
            }
        }
        ends.push(item_valid.len() as u32);
        kinds = kinds.union(match cell {
            Cell::Null => Kinds::NONE,
            Cell::Bool(_) => Kinds::BOOL,
            Cell::Int(_) => Kinds::INT.union(Kinds::BIG_INT),
            Cell::Float(_) => Kinds::FLOAT,
            Cell::Text(_) => Kinds::TEXT,
            Cell::Ints(items) if items.iter().any(Option::is_some) => {
                Kinds::LIST.union(Kinds::LIST_INT)
            }
            Cell::Texts(items) if items.iter().any(Option::is_some) => {
                Kinds::LIST.union(Kinds::LIST_TEXT)
            }
            Cell::Ints(_) | Cell::Texts(_) => Kinds::LIST,
        });
    }
    let items = |values| Items { values: Box::new(values), valid: item_valid.clone() };
    let values = match kinds.column_type() {
        ColumnType::Null => Values::Null,
        ColumnType::Bool => Values::Bool(bools),
        ColumnType::Int => Values::Int(ints),
        ColumnType::Float => Values::Float(floats),
        ColumnType::Text => Values::Text(texts),
        ColumnType::List(_) if int_items.is_empty() => {
            Values::List { ends, items: items(Values::Text(text_items)) }
        }
        ColumnType::List(_) => Values::List { ends, items: items(Values::Int(int_items)) },
        ColumnType::Json => unreachable!("the tests mix no types"),
    };
    Column {
        path: Path::root().child(name),
        kinds,
        column_type: kinds.column_type(),
        values,
        valid: Some(valid),
    }
}

fn frame(names: &[String], columns: &[Vec<Cell>], rows: Range<usize>) -> Frame {
    let of = |(name, cells): (&String, &Vec<Cell>)| column(name, &cells[rows.clone()]);
    Frame {
        rows: rows.len(),
        ts_utc: rows.clone().map(|at| at as i64 * 1_234_567).collect(),
        offsets: rows.clone().map(|at| at as u64 * 7).collect(),
        columns: names.iter().zip(columns).map(of).collect(),
        ..Frame::default()
    }
}

fn schema_of(frames: &[Frame]) -> Vec<ColumnSpec> {
    let mut schema = Schema::default();
    for column in frames.iter().flat_map(|frame| &frame.columns) {
        schema.see(&column.path, column.kinds);
    }
    schema.columns(&Pins::new())
}

/// Writes each frame as a row group of its own.
fn write(path: &FilePath, frames: Vec<Frame>) -> Vec<ColumnSpec> {
    let columns = schema_of(&frames);
    let to_local_us = |us| us + 9 * HOUR_US;
    let options = EncodeOptions { to_local_us: &to_local_us };
    let mut writer = RecordsWriter::create(path, true).expect("created");
    for (index, frame) in frames.into_iter().enumerate() {
        let slice = Slice::all(frame, format!("object {index}").into());
        let group = RowGroup { slices: vec![slice] };
        let all = RecordColumn::all(&columns, true);
        let chunks = all.into_iter().map(|column| encode_column(&group, column, &options));
        let chunks = chunks.collect::<Result<_, _>>().expect("encoded");
        writer.push(index, group.rows(), &columns, chunks).expect("written");
    }
    let none = &mut |_: usize, _: &[ColumnSpec]| -> Result<_, PublishError> { unreachable!() };
    writer.finish(&columns, none).expect("finished");
    columns
}

fn cell(value: AnyValue) -> Cell {
    match value {
        AnyValue::Null => Cell::Null,
        AnyValue::Boolean(value) => Cell::Bool(value),
        AnyValue::Int64(value) => Cell::Int(value),
        AnyValue::Float64(value) => Cell::Float(value),
        AnyValue::String(value) => Cell::Text(value.to_string()),
        AnyValue::StringOwned(value) => Cell::Text(value.to_string()),
        AnyValue::List(items) if *items.dtype() == DataType::Int64 => {
            Cell::Ints(items.i64().expect("integers").iter().collect())
        }
        AnyValue::List(items) => {
            let items = items.str().expect("texts").iter();
            Cell::Texts(items.map(|item| item.map(str::to_string)).collect())
        }
        other => panic!("no column has values such as {other:?}"),
    }
}

fn cells(table: &DataFrame, name: &str) -> Vec<Cell> {
    let column = table.column(name).expect("the column is there");
    (0..table.height()).map(|row| cell(column.get(row).expect("the row is there"))).collect()
}

/// Cells of one type, with nulls, in the shapes that make an encoder choose differently: few
/// distinct values, many, long ones, shared prefixes, runs.
fn cells_of_a_column(rows: usize) -> impl Strategy<Value = Vec<Cell>> {
    let value = prop_oneof![
        Just(any::<bool>().prop_map(Cell::Bool).boxed()),
        Just(any::<i64>().prop_map(Cell::Int).boxed()),
        Just((0..5i64).prop_map(Cell::Int).boxed()),
        Just(
            any::<f64>()
                .prop_filter("JSON has no NaN", |v| !v.is_nan())
                .prop_map(Cell::Float)
                .boxed()
        ),
        Just((0..3u8).prop_map(|v| Cell::Float(f64::from(v) - 1.0)).boxed()),
        Just(any::<String>().prop_map(Cell::Text).boxed()),
        Just((0..9u8).prop_map(|v| Cell::Text(format!("Tip {v}"))).boxed()),
        Just((0..999u16).prop_map(|v| Cell::Text(format!("2022-04-18T00:00:00.{v:03}Z"))).boxed()),
        Just((0..3u8).prop_map(|v| Cell::Text("긴 글".repeat(40 * usize::from(v)))).boxed()),
        Just(prop::collection::vec(any::<Option<i64>>(), 0..5).prop_map(Cell::Ints).boxed()),
        Just(prop::collection::vec(any::<Option<String>>(), 0..3).prop_map(Cell::Texts).boxed()),
        Just(Just(Cell::Null).boxed()),
    ];
    (value, 0..4u8).prop_flat_map(move |(value, nulls)| {
        let cell = (value, 0..4u8);
        let cell = cell.prop_map(move |(cell, at)| if at < nulls { Cell::Null } else { cell });
        prop::collection::vec(cell, rows)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn every_value_is_read_back_as_it_was_written(
        (rows, columns, cut) in (1..300usize).prop_flat_map(|rows| {
            let columns = prop::collection::vec(cells_of_a_column(rows), 1..5);
            (Just(rows), columns, 0..=rows)
        })
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("part.parquet");
        let names: Vec<String> = (0..columns.len()).map(|at| format!("column {at}")).collect();
        let parts = [0..cut, cut..rows].into_iter().filter(|part| !part.is_empty());
        let frames = parts.map(|part| frame(&names, &columns, part)).collect();
        write(&path, frames);
        let table = read_table(&path).expect("readable");
        prop_assert_eq!(table.height(), rows);
        for (name, written) in names.iter().zip(&columns) {
            // Lists without a value have no type to tell by.
            let shown = |cell: &Cell| match cell {
                Cell::Ints(items) if items.iter().all(Option::is_none) => {
                    Cell::Texts(vec![None; items.len()])
                }
                cell => cell.clone(),
            };
            let read: Vec<_> = cells(&table, name).iter().map(shown).collect();
            let written: Vec<_> = written.iter().map(shown).collect();
            prop_assert_eq!(read, written);
        }
        let offsets: Vec<_> = (0..rows as i64).map(|at| Cell::Int(at * 7)).collect();
        prop_assert_eq!(cells(&table, "byte_offset"), offsets);
    }
}

#[test]
fn times_are_an_instant_and_a_wall_clock() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("part.parquet");
    let values = [vec![Cell::Int(1), Cell::Int(2), Cell::Null]];
    write(&path, vec![frame(&["n".to_string()], &values, 0..3)]);
    let table = read_table(&path).expect("readable");
    let types: Vec<_> = table.columns().iter().map(|column| column.dtype().clone()).collect();
    assert!(
        matches!(&types[0], DataType::Datetime(TimeUnit::Microseconds, Some(zone)) if zone.as_str() == "UTC")
    );
    assert_eq!(types[1], DataType::Datetime(TimeUnit::Microseconds, None));
    let us = |name: &str| {
        let column = table.column(name).expect("there").cast(&DataType::Int64).expect("a number");
        column.i64().expect("a number").into_no_null_iter().collect::<Vec<_>>()
    };
    assert_eq!(us("ts_utc"), [0, 1_234_567, 2_469_134]);
    assert_eq!(us("ts_local"), [0, 1_234_567, 2_469_134].map(|us| us + 9 * HOUR_US));
    let names: Vec<_> = table.get_column_names().iter().map(|name| name.to_string()).collect();
    assert_eq!(names, ["ts_utc", "ts_local", "n", "object_key", "byte_offset"]);
    assert_eq!(cells(&table, "object_key")[2], Cell::Text("object 0".into()));
}

#[test]
fn a_column_of_many_pages_is_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("part.parquet");
    let texts = (0..30_000).map(|at| match at % 11 {
        0 => Cell::Null,
        _ => Cell::Text(
            format!("{:x}", (at as u128 * 0x9E37_79B9_7F4A_7C15).wrapping_pow(3)).repeat(4),
        ),
    });
    let lists = (0..30_000).map(|at| Cell::Ints((0..at % 17).map(|n| Some(n * at)).collect()));
    let columns = [texts.collect::<Vec<_>>(), lists.collect()];
    let names = ["text".to_string(), "list".to_string()];
    write(&path, vec![frame(&names, &columns, 0..30_000)]);
    let table = read_table(&path).expect("readable");
    for (name, written) in names.iter().zip(&columns) {
        assert!(cells(&table, name) == *written, "{name} differs");
    }
}

#[test]
fn a_day_without_records_has_its_columns() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("part.parquet");
    write(&path, Vec::new());
    let table = read_table(&path).expect("readable");
    assert_eq!(table.shape(), (0, 4));
}
