//! Cells of columns → an ORC file, for builds with the feature `orc`.
//!
//! The writer knows scalars: columns that are decimals, lists or structs are refused when the table is read.

use super::cell::Cell;
use super::convert::ConvertError;
use super::table::{Kind, Table};

/// Why a table's rows can't be written as ORC.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OrcProblem {
    #[error(
        "this rawcat writes no ORC: build it with `cargo install --path . --features orc`, or use --parquet"
    )]
    NotBuilt,
    #[error("column {column} is a {kind}, which the writer of ORC does not know: use --parquet")]
    Type { column: String, kind: &'static str },
}

/// Checks what can be checked before there are rows.
pub fn check(table: &Table) -> Result<(), OrcProblem> {
    if !cfg!(feature = "orc") {
        return Err(OrcProblem::NotBuilt);
    }
    for (column, kind) in &table.columns {
        let kind = match kind {
            Kind::Decimal(..) => "decimal",
            Kind::Array(_) => "list",
            Kind::Struct(_) => "struct",
            _ => continue,
        };
        return Err(OrcProblem::Type { column: column.clone(), kind });
    }
    Ok(())
}

#[cfg(not(feature = "orc"))]
pub fn written(_: &Table, _: Vec<Vec<Cell>>) -> Result<Vec<u8>, ConvertError> {
    Err(ConvertError(OrcProblem::NotBuilt.to_string()))
}

#[cfg(feature = "orc")]
pub use with_writer::written;

#[cfg(feature = "orc")]
mod with_writer {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Float32Array, Float64Array, Int8Array,
        Int16Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    };
    use arrow::datatypes::{Field, Schema};
    use orc_rust::arrow_writer::ArrowWriterBuilder;
    use orc_rust::compression::CompressionType;

    use super::{Cell, ConvertError, Kind, Table};

    /// A file of these columns, which are of one length.
    pub fn written(table: &Table, columns: Vec<Vec<Cell>>) -> Result<Vec<u8>, ConvertError> {
        let failed = |problem: String| ConvertError(problem);
        let kinds = table.columns.iter().map(|(_, kind)| kind);
        let arrays: Vec<ArrayRef> =
            kinds.zip(columns).map(|(kind, cells)| array(kind, cells)).collect();
        let named = table.columns.iter().zip(&arrays);
        let fields: Vec<Field> = named
            .map(|((name, _), array)| Field::new(name, array.data_type().clone(), true))
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)
            .map_err(|error| failed(error.to_string()))?;
        let mut file = Vec::new();
        let writer = ArrowWriterBuilder::new(&mut file, schema)
            .with_compression(CompressionType::Snappy)
            .try_build();
        let mut writer = writer.map_err(|error| failed(error.to_string()))?;
        writer.write(&batch).map_err(|error| failed(error.to_string()))?;
        writer.close().map_err(|error| failed(error.to_string()))?;
        Ok(file)
    }

    /// The array of a column. Cells are of the column's kind, and fit: that was checked when they were made.
    fn array(kind: &Kind, cells: Vec<Cell>) -> ArrayRef {
        let integers = |cells: Vec<Cell>| {
            cells.into_iter().map(|cell| match cell {
                Cell::Integer(number) => Some(number),
                _ => None,
            })
        };
        let floats = |cells: Vec<Cell>| {
            cells.into_iter().map(|cell| match cell {
                Cell::Float(number) => Some(number),
                _ => None,
            })
        };
        let texts = |cells: Vec<Cell>| -> Vec<Option<String>> {
            let texts = cells.into_iter().map(|cell| match cell {
                Cell::Text(text) => Some(text),
                _ => None,
            });
            texts.collect()
        };
        match kind {
            Kind::Boolean => {
                let truths = cells.into_iter().map(|cell| match cell {
                    Cell::Boolean(truth) => Some(truth),
                    _ => None,
                });
                Arc::new(truths.collect::<BooleanArray>())
            }
            Kind::Integer(8) => {
                Arc::new(integers(cells).map(|n| n.map(|n| n as i8)).collect::<Int8Array>())
            }
            Kind::Integer(16) => {
                Arc::new(integers(cells).map(|n| n.map(|n| n as i16)).collect::<Int16Array>())
            }
            Kind::Integer(32) => {
                Arc::new(integers(cells).map(|n| n.map(|n| n as i32)).collect::<Int32Array>())
            }
            Kind::Integer(_) => Arc::new(integers(cells).collect::<Int64Array>()),
            Kind::Date => {
                Arc::new(integers(cells).map(|n| n.map(|n| n as i32)).collect::<Date32Array>())
            }
            Kind::Timestamp => {
                let all = integers(cells).collect::<TimestampMicrosecondArray>();
                Arc::new(all.with_timezone("UTC"))
            }
            Kind::Float => {
                Arc::new(floats(cells).map(|n| n.map(|n| n as f32)).collect::<Float32Array>())
            }
            Kind::Double => Arc::new(floats(cells).collect::<Float64Array>()),
            Kind::Binary => {
                let texts = texts(cells);
                let bytes = texts.iter().map(|text| text.as_deref().map(str::as_bytes));
                Arc::new(bytes.collect::<BinaryArray>())
            }
            // What is left was refused beforehand, but for text.
            _ => Arc::new(StringArray::from(texts(cells))),
        }
    }
}
