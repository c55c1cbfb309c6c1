//! Entries → a Parquet or ORC file by a table's columns: record format conversion.
//!
//! Each record is a row or is refused. Parquet is written by the writer of Polars, ORC in [`super::orc`].

use polars_arrow::array::{
    Array, BinaryArray, BooleanArray, ListArray, PrimitiveArray, StructArray, Utf8Array,
};
use polars_arrow::bitmap::Bitmap;
use polars_arrow::datatypes::{ArrowDataType, ArrowSchema, Field, TimeUnit};
use polars_arrow::offset::Offsets;
use polars_arrow::record_batch::RecordBatchT;
use polars_arrow::types::NativeType;
use polars_parquet::write::{
    CompressionOptions, Encoding, FileWriter, RowGroupIterator, StatisticsOptions, Version,
    WriteOptions,
};
use serde_json::Value;

use super::cell::{Cell, row};
use super::entry::{Entry, Failure, FailureKind};
use super::table::{Kind, Table};

/// Rows as a Parquet file, and the entries that are none.
pub struct Converted {
    /// `None` where no entry is a row.
    pub file: Option<Vec<u8>>,
    pub refused: Vec<(Entry, Failure)>,
}

/// What records become.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conversion {
    pub format: Format,
    pub table: Table,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Parquet,
    Orc,
}

impl Format {
    /// What object names end with.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Parquet => ".parquet",
            Format::Orc => ".orc",
        }
    }
}

/// A file that the library can't write: a fault of the columns, not of the records.
#[derive(Debug, thiserror::Error)]
#[error("the converted file can't be written: {0}")]
pub struct ConvertError(pub(super) String);

/// Converts entries, in their order.
pub fn convert(conversion: &Conversion, entries: Vec<Entry>) -> Result<Converted, ConvertError> {
    let Conversion { format, table } = conversion;
    let mut columns: Vec<Vec<Cell>> = table.columns.iter().map(|_| Vec::new()).collect();
    let mut refused = Vec::new();
    let mut rows = 0;
    for entry in entries {
        match cells(table, &entry.data) {
            Ok(cells) => {
                columns.iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell));
                rows += 1;
            }
            Err((code, message)) => {
                let kind = FailureKind::FormatConversion;
                refused.push((entry, Failure { kind, code, message, attempts: 1 }));
            }
        }
    }
    let file = match (rows, format) {
        (0, _) => None,
        (rows, Format::Parquet) => {
            let file = written(table, columns, rows);
            Some(file.map_err(|error| ConvertError(error.to_string()))?)
        }
        (_, Format::Orc) => Some(super::orc::written(table, columns)?),
    };
    Ok(Converted { file, refused })
}

fn cells(table: &Table, data: &[u8]) -> Result<Vec<Cell>, (&'static str, String)> {
    let malformed = |what: String| ("DataFormatConversion.ParseError", what);
    let record: Value = serde_json::from_slice(data)
        .map_err(|problem| malformed(format!("it is no JSON: {problem}")))?;
    let Value::Object(record) = record else {
        return Err(malformed("it is no JSON object".to_string()));
    };
    row(table, &record)
        .map_err(|problem| ("DataFormatConversion.InvalidSchema", problem.to_string()))
}

fn written(
    table: &Table,
    columns: Vec<Vec<Cell>>,
    rows: usize,
) -> polars::prelude::PolarsResult<Vec<u8>> {
    let fields = table.columns.iter().map(|(name, kind)| field(name, kind));
    let schema: ArrowSchema = fields.map(|field| (field.name.clone(), field)).collect();
    let kinds = table.columns.iter().map(|(_, kind)| kind);
    let arrays: Vec<Box<dyn Array>> =
        kinds.zip(columns).map(|(kind, cells)| array(kind, cells)).collect();
    let options = WriteOptions {
        statistics: StatisticsOptions::default(),
        version: Version::V1,
        // What Firehose compresses with where nothing else is said.
        compression: CompressionOptions::Snappy,
        data_page_size: None,
    };
    let encodings: Vec<Vec<Encoding>> =
        table.columns.iter().map(|(_, kind)| vec![Encoding::Plain; leaves(kind)]).collect();
    let chunk = RecordBatchT::try_new(rows, schema.clone().into(), arrays)?;
    let groups =
        RowGroupIterator::try_new(std::iter::once(Ok(chunk)), &schema, options, encodings.into())?;
    let mut writer = FileWriter::try_new(Vec::new(), schema, options)?;
    for group in groups {
        writer.write(rows as u64, group?)?;
    }
    // Types are Parquet's own: no reader needs a second schema.
    writer.end(Some(Vec::new()))?;
    Ok(writer.into_inner())
}

fn leaves(kind: &Kind) -> usize {
    match kind {
        Kind::Array(of) => leaves(of),
        Kind::Struct(fields) => fields.iter().map(|(_, kind)| leaves(kind)).sum(),
        _ => 1,
    }
}

fn field(name: &str, kind: &Kind) -> Field {
    Field::new(name.into(), data_type(kind), true)
}

fn data_type(kind: &Kind) -> ArrowDataType {
    match kind {
        Kind::Boolean => ArrowDataType::Boolean,
        Kind::Integer(8) => ArrowDataType::Int8,
        Kind::Integer(16) => ArrowDataType::Int16,
        Kind::Integer(32) => ArrowDataType::Int32,
        Kind::Integer(_) => ArrowDataType::Int64,
        Kind::Float => ArrowDataType::Float32,
        Kind::Double => ArrowDataType::Float64,
        Kind::Decimal(precision, scale) => ArrowDataType::Decimal(*precision, *scale),
        Kind::Text => ArrowDataType::LargeUtf8,
        Kind::Binary => ArrowDataType::LargeBinary,
        Kind::Date => ArrowDataType::Date32,
        Kind::Timestamp => ArrowDataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Kind::Array(of) => ArrowDataType::LargeList(Box::new(field("element", of))),
        Kind::Struct(fields) => {
            ArrowDataType::Struct(fields.iter().map(|(name, kind)| field(name, kind)).collect())
        }
    }
}

/// The array of a column. Cells are of the column's kind, and fit: that was checked when they were made.
fn array(kind: &Kind, cells: Vec<Cell>) -> Box<dyn Array> {
    let of_type = data_type(kind);
    match kind {
        Kind::Boolean => {
            let truths = cells.into_iter().map(|cell| match cell {
                Cell::Boolean(truth) => Some(truth),
                _ => None,
            });
            Box::new(truths.collect::<BooleanArray>())
        }
        Kind::Integer(8) => Box::new(integers(cells, |n| n as i8)),
        Kind::Integer(16) => Box::new(integers(cells, |n| n as i16)),
        Kind::Integer(32) | Kind::Date => Box::new(integers(cells, |n| n as i32).to(of_type)),
        Kind::Integer(_) | Kind::Timestamp => Box::new(integers(cells, |n| n).to(of_type)),
        Kind::Float => Box::new(floats(cells, |n| n as f32)),
        Kind::Double => Box::new(floats(cells, |n| n)),
        Kind::Decimal(..) => {
            let all = cells.into_iter().map(|cell| match cell {
                Cell::Decimal(digits) => Some(digits),
                _ => None,
            });
            Box::new(PrimitiveArray::<i128>::from_iter(all).to(of_type))
        }
        Kind::Text => Box::new(Utf8Array::<i64>::from(texts(cells))),
        Kind::Binary => Box::new(BinaryArray::<i64>::from(texts(cells))),
        Kind::Array(of) => Box::new(lists(of_type, of, cells)),
        Kind::Struct(fields) => Box::new(structs(of_type, fields, cells)),
    }
}

fn integers<T: NativeType>(cells: Vec<Cell>, narrow: fn(i64) -> T) -> PrimitiveArray<T> {
    let all = cells.into_iter().map(|cell| match cell {
        Cell::Integer(number) => Some(narrow(number)),
        _ => None,
    });
    PrimitiveArray::from_iter(all)
}

fn floats<T: NativeType>(cells: Vec<Cell>, narrow: fn(f64) -> T) -> PrimitiveArray<T> {
    let all = cells.into_iter().map(|cell| match cell {
        Cell::Float(number) => Some(narrow(number)),
        _ => None,
    });
    PrimitiveArray::from_iter(all)
}

fn texts(cells: Vec<Cell>) -> Vec<Option<String>> {
    let texts = cells.into_iter().map(|cell| match cell {
        Cell::Text(text) => Some(text),
        _ => None,
    });
    texts.collect()
}

fn validity(cells: &[Cell]) -> Bitmap {
    cells.iter().map(|cell| *cell != Cell::Null).collect()
}

fn lists(of_type: ArrowDataType, of: &Kind, cells: Vec<Cell>) -> ListArray<i64> {
    let validity = validity(&cells);
    let lists: Vec<Vec<Cell>> = cells
        .into_iter()
        .map(|cell| match cell {
            Cell::List(cells) => cells,
            _ => Vec::new(),
        })
        .collect();
    let offsets = Offsets::<i64>::try_from_lengths(lists.iter().map(Vec::len))
        .expect("cells in memory are fewer than 2^63");
    let values = array(of, lists.into_iter().flatten().collect());
    ListArray::new(of_type, offsets.into(), values, Some(validity))
}

fn structs(of_type: ArrowDataType, fields: &[(String, Kind)], cells: Vec<Cell>) -> StructArray {
    let validity = validity(&cells);
    let rows = cells.len();
    let mut columns: Vec<Vec<Cell>> = fields.iter().map(|_| Vec::with_capacity(rows)).collect();
    for cell in cells {
        match cell {
            Cell::Fields(cells) => {
                columns.iter_mut().zip(cells).for_each(|(all, cell)| all.push(cell));
            }
            _ => columns.iter_mut().for_each(|all| all.push(Cell::Null)),
        }
    }
    let kinds = fields.iter().map(|(_, kind)| kind);
    let arrays = kinds.zip(columns).map(|(kind, cells)| array(kind, cells)).collect();
    StructArray::new(of_type, rows, arrays, Some(validity))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(number: u64, record: &str) -> Entry {
        Entry {
            shard: 0,
            number,
            part: 0,
            arrival_us: 1,
            partition_key: String::new(),
            data: record.as_bytes().to_vec(),
        }
    }

    #[test]
    fn records_are_rows_that_the_reading_side_reads_back() {
        let table = Table::from_value(&json!([
            {"Name": "n", "Type": "bigint"},
            {"Name": "name", "Type": "string"},
            {"Name": "ok", "Type": "boolean"},
            {"Name": "v", "Type": "double"},
            {"Name": "l", "Type": "array<int>"},
            {"Name": "s", "Type": "struct<x:int,y:array<struct<z:string>>>"},
            {"Name": "d", "Type": "decimal(9,2)"},
            {"Name": "day", "Type": "date"},
            {"Name": "t", "Type": "timestamp"},
            {"Name": "none", "Type": "smallint"},
        ]))
        .unwrap();
        let full = r#"{"n":1,"name":"한빛","ok":true,"v":1.5,"l":[1,null,3],"s":{"x":2,"y":[{"z":"q"},null]},
            "d":"12.30","day":"2022-04-18","t":"2022-04-18T00:00:00Z","left":"out"}"#;
        let entries = vec![
            entry(1, full),
            entry(2, "{}"),
            entry(3, r#"{"n":"x"}"#),
            entry(4, "[1]"),
            entry(5, "{"),
        ];
        let conversion = Conversion { format: Format::Parquet, table };
        let converted = convert(&conversion, entries).unwrap();
        let refused: Vec<u64> = converted.refused.iter().map(|(entry, _)| entry.number).collect();
        assert_eq!(refused, [3, 4, 5]);
        assert!(converted.refused[0].1.message.starts_with("n: \"x\""));
        let mut rows = crate::parquet::ParquetRows::open(converted.file.unwrap()).unwrap();
        let mut lines = Vec::new();
        while rows.next_block(&mut lines).unwrap() {}
        let text = String::from_utf8(lines).unwrap();
        let rows: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows[0]["name"], json!("한빛"));
        assert_eq!(rows[0]["l"], json!([1, null, 3]));
        assert_eq!(rows[0]["s"]["y"][0], json!({"z": "q"}));
        assert_eq!(rows[0]["day"], json!("2022-04-18"));
        assert_eq!(rows.len(), 2);
    }
}
