//! A Parquet file in memory in, its rows as lines of JSON out.
//!
//! Firehose's record format conversion turns JSON into Parquet. Here the rows become JSON again, as
//! its producer would have written it, and go the way of every other object: one set of rules
//! about types, times, groups and quarantine. Offsets of such records are those in the text.
//!
//! Pages are decoded by the Parquet reader of Polars, which is in the program for other
//! reasons. A file is refused before it is decoded when its footer or its pages declare more than
//! [`LIMITS`] allow; a panic over a hostile file is an error of that file.

mod json;

use std::cell::Cell;
use std::io::Cursor;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use polars_arrow::array::Array;
use polars_arrow::datatypes::{ArrowDataType, Field, TimeUnit};
use polars_buffer::Buffer;
use polars_parquet::parquet::metadata::ThriftFileMetadata;
use polars_parquet::read::schema::{SchemaInferenceOptions, parquet_to_arrow_schema_with_options};
use polars_parquet::read::{
    BasicDecompressor, ColumnChunkMetadata, FileMetadata, PageReader, column_iter_to_arrays,
    read_metadata,
};
use polars_parquet_format::PageHeader;
use polars_parquet_format::thrift::protocol::TCompactInputProtocol;

/// How a Parquet file begins, and how it ends.
pub const MAGIC: [u8; 4] = *b"PAR1";
/// The length of the footer, and the magic number.
const TAIL_BYTES: usize = 8;

/// What one file may ask for.
pub struct Limits {
    /// It is held whole.
    pub file_bytes: usize,
    pub footer_bytes: usize,
    /// Levels of groups: the library's way through them is a recursion.
    pub depth: usize,
    /// Of all pages of a row group, decompressed but still encoded.
    pub group_bytes: usize,
    /// Of all columns of a row group: runs make many of few bytes.
    pub group_values: usize,
}

pub const LIMITS: Limits = Limits {
    file_bytes: 512 << 20,
    footer_bytes: 64 << 20,
    depth: 64,
    group_bytes: 1 << 30,
    group_values: 64 << 20,
};

/// Why rows of a Parquet file can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ParquetError {
    #[error("a Parquet file of more than {limit} bytes; write smaller ones", limit = LIMITS.file_bytes)]
    TooLarge,
    #[error("a Parquet file that is damaged or cut off: {reason}; get a sound copy of the object")]
    Damaged { reason: String },
    #[error(
        "row group {group} of a Parquet file is larger than the limit ({limit} {unit}); write smaller row groups"
    )]
    GroupTooLarge { group: usize, limit: usize, unit: &'static str },
    #[error("row group {group} of a Parquet file can't be read: {reason}")]
    Group { group: usize, reason: String },
}

/// Lines of JSON are given in blocks of about so many bytes.
const BLOCK_BYTES: usize = 1 << 20;

/// Reads one file, row group after row group.
pub struct ParquetRows {
    file: Buffer<u8>,
    metadata: FileMetadata,
    fields: Vec<Field>,
    /// The row group that is read next.
    next_group: usize,
    /// Columns of the one before, and its row that is given next.
    columns: Vec<Column>,
    row: usize,
    rows: usize,
    /// What the next call says: rows came before it.
    error: Option<ParquetError>,
}

/// A column of a row group.
struct Column {
    /// Its name as JSON, with the colon.
    key: Vec<u8>,
    values: Box<dyn Array>,
}

impl ParquetRows {
    /// # Errors
    /// When the footer can't be read.
    pub fn open(file: Vec<u8>) -> Result<ParquetRows, ParquetError> {
        if file.len() > LIMITS.file_bytes {
            return Err(ParquetError::TooLarge);
        }
        check_footer(&file)?;
        let file = Buffer::from(file);
        let metadata = caught(|| {
            read_metadata(&mut Cursor::new(&file[..])).map_err(|error| error.to_string())
        });
        let metadata = metadata.map_err(|reason| ParquetError::Damaged { reason })?;
        let fields = fields(&metadata, TimeUnit::Nanosecond);
        Ok(ParquetRows {
            file,
            metadata,
            fields,
            next_group: 0,
            columns: Vec::new(),
            row: 0,
            rows: 0,
            error: None,
        })
    }

    /// Appends the next lines; false when there are no more.
    ///
    /// # Errors
    /// When a row group can't be read; nothing is appended then, and what came before stays valid.
    pub fn next_block(&mut self, out: &mut Vec<u8>) -> Result<bool, ParquetError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        while self.row == self.rows {
            if self.next_group == self.metadata.row_groups.len() {
                return Ok(false);
            }
            self.read_group()?;
        }
        let (begin, end) = (out.len(), out.len() + BLOCK_BYTES);
        while self.row < self.rows && out.len() < end {
            let start = out.len();
            if let Err(reason) = self.write_row(out) {
                out.truncate(start);
                let error = ParquetError::Group { group: self.next_group, reason };
                if start == begin {
                    return Err(error);
                }
                self.error = Some(error);
                return Ok(true);
            }
            self.row += 1;
        }
        Ok(true)
    }

    fn write_row(&self, out: &mut Vec<u8>) -> Result<(), String> {
        out.push(b'{');
        for (at, column) in self.columns.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&column.key);
            json::write(&*column.values, self.row, out)?;
        }
        out.extend_from_slice(b"}\n");
        Ok(())
    }

    fn read_group(&mut self) -> Result<(), ParquetError> {
        let group = self.next_group + 1;
        let metadata = &self.metadata.row_groups[self.next_group];
        self.check_pages(group, metadata.parquet_columns())?;
        let rows = metadata.num_rows();
        let fail = |reason| ParquetError::Group { group, reason };
        let mut columns = Vec::with_capacity(self.fields.len());
        let in_micros = fields(&self.metadata, TimeUnit::Microsecond);
        for (field, in_micros) in self.fields.iter().zip(in_micros) {
            let mut values =
                self.column(field, metadata.columns_under_root_iter(&field.name)).map_err(fail)?;
            if json::has_times_beyond(&*values) && field.dtype != in_micros.dtype {
                // INT96 counts nanoseconds, and 64 bits of them end in the year 2262.
                values = self
                    .column(&in_micros, metadata.columns_under_root_iter(&field.name))
                    .map_err(fail)?;
            }
            if values.len() != rows {
                return Err(fail(format!("a column has {} values for {rows} rows", values.len())));
            }
            let mut key = Vec::new();
            json::write_text(&field.name, &mut key);
            key.push(b':');
            columns.push(Column { key, values });
        }
        (self.columns, self.row, self.rows) = (columns, 0, rows);
        self.next_group += 1;
        Ok(())
    }

    fn column<'a>(
        &self,
        field: &Field,
        chunks: Option<impl Iterator<Item = &'a ColumnChunkMetadata>>,
    ) -> Result<Box<dyn Array>, String> {
        caught(|| {
            let chunks: Vec<_> = chunks.ok_or("a column of the schema is missing")?.collect();
            let pages = chunks
                .iter()
                .map(|chunk| {
                    let bytes = Cursor::new(self.chunk_bytes(chunk)?);
                    let pages = PageReader::new(bytes, chunk, Vec::new(), LIMITS.group_bytes);
                    Ok(BasicDecompressor::new(pages, Vec::new()))
                })
                .collect::<Result<_, String>>()?;
            let types = chunks.iter().map(|chunk| &chunk.descriptor().descriptor.primitive_type);
            let (arrays, _) = column_iter_to_arrays(pages, types.collect(), field.clone(), None)
                .map_err(|error| error.to_string())?;
            match <[_; 1]>::try_from(arrays) {
                Ok([array]) => Ok(array),
                Err(arrays) => polars_arrow::compute::concatenate::concatenate(
                    &arrays.iter().map(|array| &**array).collect::<Vec<_>>(),
                )
                .map_err(|error| error.to_string()),
            }
        })
    }

    fn chunk_bytes(&self, chunk: &ColumnChunkMetadata) -> Result<Buffer<u8>, String> {
        let range = chunk.byte_range();
        match usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok()) {
            Some((start, end)) if start <= end && end <= self.file.len() => {
                Ok(self.file.clone().sliced(start..end))
            }
            _ => Err("a column lies beyond the end of the file".to_string()),
        }
    }

    /// Compares what the pages of a row group declare with the limits, before anything is decoded.
    fn check_pages(
        &self,
        group: usize,
        chunks: &[ColumnChunkMetadata],
    ) -> Result<(), ParquetError> {
        let fail = |reason| ParquetError::Group { group, reason };
        let (mut bytes, mut values) = (0, 0);
        for chunk in chunks {
            let pages = self.chunk_bytes(chunk).map_err(fail)?;
            let (of_pages, of_values) = declared(&pages).map_err(fail)?;
            bytes += of_pages;
            values += of_values;
        }
        let too_large = |limit, unit| Err(ParquetError::GroupTooLarge { group, limit, unit });
        if bytes > LIMITS.group_bytes as u64 {
            return too_large(LIMITS.group_bytes, "bytes");
        }
        if values > LIMITS.group_values as u64 {
            return too_large(LIMITS.group_values, "values");
        }
        Ok(())
    }
}

/// Bytes and values that the pages of a column chunk declare.
fn declared(pages: &[u8]) -> Result<(u64, u64), String> {
    let (mut bytes, mut values) = (0, 0);
    let mut at = 0;
    while at < pages.len() {
        let mut rest = Cursor::new(&pages[at..]);
        let mut protocol = TCompactInputProtocol::new(&mut rest, LIMITS.footer_bytes);
        let page = PageHeader::read_from_in_protocol(&mut protocol).map_err(|e| e.to_string())?;
        let number =
            |number: i32| u64::try_from(number).map_err(|_| "a negative length".to_string());
        bytes += number(page.uncompressed_page_size)?;
        values += number(page.data_page_header.map_or(0, |header| header.num_values))?;
        values += number(page.data_page_header_v2.map_or(0, |header| header.num_values))?;
        values += number(page.dictionary_page_header.map_or(0, |header| header.num_values))?;
        at += rest.position() as usize + number(page.compressed_page_size)? as usize;
    }
    Ok((bytes, values))
}

/// Types by Parquet's own schema: what Arrow or pandas noted beside it changes no value.
fn fields(metadata: &FileMetadata, int96: TimeUnit) -> Vec<Field> {
    let options = Some(SchemaInferenceOptions { int96_coerce_to_timeunit: int96 });
    let schema = parquet_to_arrow_schema_with_options(metadata.schema().fields(), &options);
    schema.iter_values().cloned().collect()
}

/// The footer's length, and the depth of its schema.
fn check_footer(file: &[u8]) -> Result<(), ParquetError> {
    let damaged = |reason: &str| ParquetError::Damaged { reason: reason.to_string() };
    let Some((front, tail)) = file.split_last_chunk::<TAIL_BYTES>() else {
        return Err(damaged("it is shorter than a footer"));
    };
    if tail[4..] != MAGIC {
        return Err(damaged("it does not end in a footer"));
    }
    let len = u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]) as usize;
    if len > front.len() || len > LIMITS.footer_bytes {
        return Err(damaged("the length of its footer is not valid"));
    }
    let footer = &front[front.len() - len..];
    // What is parsed takes many times the room of its bytes, and not more than this.
    let mut protocol = TCompactInputProtocol::new(footer, LIMITS.footer_bytes * 4);
    let metadata = ThriftFileMetadata::read_from_in_protocol(&mut protocol)
        .map_err(|error| damaged(&error.to_string()))?;
    // Children that each open group lacks.
    let mut open: Vec<i32> = Vec::new();
    for element in &metadata.schema {
        while open.last() == Some(&0) {
            open.pop();
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        if let Some(children @ 1..) = element.num_children {
            open.push(children);
        }
        if open.len() > LIMITS.depth {
            return Err(damaged("its schema is nested deeper than 64 levels"));
        }
    }
    Ok(())
}

/// The library may panic over a file that is not what it seems. That is said of the file, and not
/// beside: the panic hook of the process stays silent on this thread meanwhile.
fn caught<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    thread_local!(static CATCHING: Cell<bool> = const { Cell::new(false) });
    static SILENCE: Once = Once::new();
    SILENCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |what| {
            if !CATCHING.get() {
                print(what);
            }
        }));
    });
    CATCHING.set(true);
    let read = catch_unwind(AssertUnwindSafe(read));
    CATCHING.set(false);
    read.unwrap_or_else(|_| Err("the Parquet reader gave up on it".to_string()))
}

/// Whether a type is a time of day and date that names no zone.
fn is_naive_nanos(dtype: &ArrowDataType) -> bool {
    matches!(dtype, ArrowDataType::Timestamp(TimeUnit::Nanosecond, None))
}

#[cfg(test)]
mod tests {
    use polars_parquet_format::thrift::protocol::TCompactOutputProtocol;
    use polars_parquet_format::{
        DataPageHeader, Encoding, FieldRepetitionType, FileMetaData, PageType, SchemaElement,
    };

    use super::*;

    fn element(name: &str, num_children: Option<i32>) -> SchemaElement {
        SchemaElement {
            type_: None,
            type_length: None,
            repetition_type: Some(FieldRepetitionType::REQUIRED),
            name: name.to_string(),
            num_children,
            converted_type: None,
            scale: None,
            precision: None,
            field_id: None,
            logical_type: None,
        }
    }

    fn file_of(schema: Vec<SchemaElement>) -> Vec<u8> {
        let metadata = FileMetaData {
            version: 1,
            schema,
            num_rows: 0,
            row_groups: Vec::new(),
            key_value_metadata: None,
            created_by: None,
            column_orders: None,
            encryption_algorithm: None,
            footer_signing_key_metadata: None,
        };
        let mut footer = Vec::new();
        let mut protocol = TCompactOutputProtocol::new(&mut footer);
        metadata.write_to_out_protocol(&mut protocol).unwrap();
        let len = (footer.len() as u32).to_le_bytes();
        [&MAGIC[..], &footer, &len, &MAGIC].concat()
    }

    #[test]
    fn a_schema_of_many_levels_is_refused_before_anything_descends_into_it() {
        let schema = (0..200_000).map(|_| element("a", Some(1))).collect();
        let error = ParquetRows::open(file_of(schema)).err().unwrap().to_string();
        assert!(error.contains("64 levels"), "{error}");
        // Many groups beside each other are no depth.
        let beside = [element("root", Some(500))].into_iter();
        let schema = beside.chain((0..500).map(|_| element("a", Some(0)))).collect();
        assert!(check_footer(&file_of(schema)).is_ok());
    }

    #[test]
    fn pages_that_declare_much_are_counted_and_not_decoded() {
        let header = PageHeader {
            type_: PageType::DATA_PAGE,
            uncompressed_page_size: i32::MAX,
            compressed_page_size: 3,
            crc: None,
            data_page_header: Some(DataPageHeader {
                num_values: i32::MAX,
                encoding: Encoding::PLAIN,
                definition_level_encoding: Encoding::RLE,
                repetition_level_encoding: Encoding::RLE,
                statistics: None,
            }),
            index_page_header: None,
            dictionary_page_header: None,
            data_page_header_v2: None,
        };
        let mut page = Vec::new();
        header.write_to_out_protocol(&mut TCompactOutputProtocol::new(&mut page)).unwrap();
        page.extend([0; 3]);
        let much = i32::MAX as u64;
        assert_eq!(declared(&page.repeat(3)), Ok((3 * much, 3 * much)));
        assert!(declared(&page[..page.len() - 5]).is_err());
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let cases: [&[u8]; 5] =
            [b"", b"PAR1", b"PAR1PAR1", b"PAR1\x04\0\0\0PAR1", b"PAR1\xff\xff\xff\xffPAR1"];
        for file in cases {
            assert!(ParquetRows::open(file.to_vec()).is_err(), "{file:?}");
        }
    }
}
