//! A Parquet file's footer: columns and where their chunks lie go in, the footer's bytes come out.
//!
//! Types on disk: text is STRING, integers INT64, fractions DOUBLE, `ts_utc` a TIMESTAMP in
//! microseconds adjusted to UTC, `ts_local` one that is not, lists the three-level LIST.
//! No Arrow schema is stored: every reader finds these types by themselves.
//! Source: apache/parquet-format, parquet.thrift and LogicalTypes.md.

use super::bounds::Bound;
use super::compact::{BINARY, I32, STRUCT, put_binary, put_struct, put_zigzag};
use super::error::PublishError;
use crate::schema::{ColumnType, Scalar};

pub const MAGIC: &[u8; 4] = b"PAR1";
/// 2: encodings of the second version of the format occur.
const FORMAT_VERSION: i32 = 2;
const ZSTD: i32 = 6;

/// Parquet's encodings, by their numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Encoding {
    #[default]
    Plain = 0,
    Rle = 3,
    DeltaBinaryPacked = 5,
    DeltaLengthByteArray = 6,
    DeltaByteArray = 7,
    RleDictionary = 8,
}

/// A set of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Encodings(u16);

impl Encodings {
    fn add(&mut self, encoding: Encoding) {
        self.0 |= 1 << encoding as u16;
    }

    fn numbers(self) -> Vec<i64> {
        (0..16).filter(|number| self.0 >> number & 1 == 1).collect()
    }
}

/// What is known of a chunk's values.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Statistics {
    /// Null slots: null rows, and for lists empty lists and nulls inside as well.
    pub nulls: u64,
    pub min: Option<Bound>,
    pub max: Option<Bound>,
    pub min_is_exact: bool,
    pub max_is_exact: bool,
}

/// What the footer says about a column chunk, its place in the file excepted. Small, because it is
/// all that is held of a day until its file is closed.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ChunkMeta {
    pub null_rows: u32,
    /// The dictionary page with its header; 0: there is none.
    pub dictionary_bytes: u32,
    /// Values, nulls included; more than rows in a list.
    pub slots: u64,
    /// All pages before compression, with their headers.
    pub uncompressed_bytes: u64,
    pub encodings: Encodings,
    pub data_pages: u32,
    pub data_encoding: Encoding,
    pub statistics: Statistics,
}

impl ChunkMeta {
    /// Notes that a page uses `encoding`.
    pub fn see(&mut self, encoding: Encoding) {
        for encoding in [encoding, Encoding::Rle] {
            self.encodings.add(encoding);
        }
    }
}

/// What a column is on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskType {
    TsUtc,
    TsLocal,
    /// rawcat's own column, without nulls.
    Required(Scalar),
    Field(Scalar),
    List(Scalar),
}

impl DiskType {
    pub fn of(column_type: ColumnType) -> Self {
        match column_type {
            ColumnType::Null | ColumnType::Text | ColumnType::Json => DiskType::Field(Scalar::Text),
            ColumnType::Bool => DiskType::Field(Scalar::Bool),
            ColumnType::Int => DiskType::Field(Scalar::Int),
            ColumnType::Float => DiskType::Field(Scalar::Float),
            ColumnType::List(scalar) => DiskType::List(scalar),
        }
    }

    pub fn scalar(self) -> Scalar {
        match self {
            DiskType::TsUtc | DiskType::TsLocal => Scalar::Int,
            DiskType::Required(scalar) | DiskType::Field(scalar) | DiskType::List(scalar) => scalar,
        }
    }

    fn physical(self) -> i32 {
        match self.scalar() {
            Scalar::Bool => 0,
            Scalar::Int => 2,
            Scalar::Float => 5,
            Scalar::Text => 6,
        }
    }
}

/// A column of the file.
pub struct DiskColumn<'a> {
    pub name: &'a str,
    pub kind: DiskType,
}

/// A chunk and where it begins in the file.
pub struct PlacedChunk<'a> {
    pub start: u64,
    pub bytes: u64,
    pub meta: &'a ChunkMeta,
}

/// A row group of the file, its chunks in the order of the columns.
pub struct PlacedGroup<'a> {
    pub rows: usize,
    pub chunks: Vec<PlacedChunk<'a>>,
}

/// Bytes of the footer that are handed on at a time.
const PART_BYTES: usize = 1 << 18;

/// Writes the footer with its length and the closing magic number, in parts: of many columns it
/// is large. `placed` says where the chunks of a row group are.
pub fn put_footer<'g, G>(
    columns: &[DiskColumn],
    groups: &'g [G],
    placed: impl Fn(&'g G) -> PlacedGroup<'g>,
    mut write: impl FnMut(&[u8]) -> Result<(), PublishError>,
) -> Result<(), PublishError> {
    let mut out = Vec::new();
    let mut before = 0;
    let mut written = Ok(());
    let mut hand_on = |out: &mut Vec<u8>| {
        if written.is_ok() {
            written = write(out);
        }
        before += out.len();
        out.clear();
    };
    let places: Vec<&G> = groups.iter().collect();
    let rows: usize = groups.iter().map(|group| placed(group).rows).sum();
    let elements = elements(columns);
    let created_by = concat!("rawcat version ", env!("CARGO_PKG_VERSION"));
    let leaves = vec![(); columns.len()];
    put_struct(&mut out, |file| {
        file.i32(1, FORMAT_VERSION);
        file.list(2, STRUCT, &elements, put_element);
        file.i64(3, rows as i64);
        file.list(4, STRUCT, &places, |out, group| {
            put_group(out, columns, &placed(group));
            if out.len() >= PART_BYTES {
                hand_on(out);
            }
        });
        file.binary(6, created_by.as_bytes());
        // Every leaf is ordered as its type says; without this, min and max would not count.
        file.list(7, STRUCT, &leaves, |out, ()| {
            put_struct(out, |order| order.structure(1, |_| {}));
        });
    });
    hand_on(&mut out);
    written?;
    let too_long = |_| PublishError::FooterTooLong { columns: columns.len(), groups: groups.len() };
    let length = u32::try_from(before).map_err(too_long)?;
    write(&length.to_le_bytes())?;
    write(MAGIC)
}

/// A node of the schema's tree, in depth-first order.
struct Element<'a> {
    name: &'a str,
    physical: Option<i32>,
    repetition: Option<i32>,
    children: i32,
    converted: Option<i32>,
    logical: Logical,
}

#[derive(Clone, Copy)]
enum Logical {
    None,
    Text,
    List,
    Timestamp { utc: bool },
}

const REQUIRED: Option<i32> = Some(0);
const OPTIONAL: Option<i32> = Some(1);
const REPEATED: Option<i32> = Some(2);

fn elements<'a>(columns: &'a [DiskColumn]) -> Vec<Element<'a>> {
    let node = |name, repetition, children| Element {
        name,
        physical: None,
        repetition,
        children,
        converted: None,
        logical: Logical::None,
    };
    let mut made = vec![node("rawcat", None, columns.len() as i32)];
    for column in columns {
        let leaf = |name, repetition| leaf(name, repetition, column.kind);
        match column.kind {
            DiskType::List(_) => {
                let list = node(column.name, OPTIONAL, 1);
                made.push(Element { converted: Some(3), logical: Logical::List, ..list });
                made.push(node("list", REPEATED, 1));
                made.push(leaf("element", OPTIONAL));
            }
            DiskType::Field(_) => made.push(leaf(column.name, OPTIONAL)),
            _ => made.push(leaf(column.name, REQUIRED)),
        }
    }
    made
}

fn leaf(name: &str, repetition: Option<i32>, kind: DiskType) -> Element<'_> {
    let (converted, logical) = match kind {
        // TIMESTAMP_MICROS of old implies UTC, so only `ts_utc` may carry it.
        DiskType::TsUtc => (Some(10), Logical::Timestamp { utc: true }),
        DiskType::TsLocal => (None, Logical::Timestamp { utc: false }),
        _ if kind.scalar() == Scalar::Text => (Some(0), Logical::Text),
        _ => (None, Logical::None),
    };
    let physical = Some(kind.physical());
    Element { name, physical, repetition, children: 0, converted, logical }
}

fn put_element(out: &mut Vec<u8>, element: &Element) {
    put_struct(out, |fields| {
        if let Some(physical) = element.physical {
            fields.i32(1, physical);
        }
        if let Some(repetition) = element.repetition {
            fields.i32(3, repetition);
        }
        fields.binary(4, element.name.as_bytes());
        if element.physical.is_none() {
            fields.i32(5, element.children);
        }
        if let Some(converted) = element.converted {
            fields.i32(6, converted);
        }
        match element.logical {
            Logical::None => {}
            Logical::Text => fields.structure(10, |logical| logical.structure(1, |_| {})),
            Logical::List => fields.structure(10, |logical| logical.structure(3, |_| {})),
            Logical::Timestamp { utc } => fields.structure(10, |logical| {
                logical.structure(8, |timestamp| {
                    timestamp.bool(1, utc);
                    // The unit: microseconds.
                    timestamp.structure(2, |unit| unit.structure(2, |_| {}));
                });
            }),
        }
    });
}

fn put_group(out: &mut Vec<u8>, columns: &[DiskColumn], group: &PlacedGroup) {
    let uncompressed: u64 = group.chunks.iter().map(|chunk| chunk.meta.uncompressed_bytes).sum();
    let compressed: u64 = group.chunks.iter().map(|chunk| chunk.bytes).sum();
    let chunks: Vec<_> = columns.iter().zip(&group.chunks).collect();
    put_struct(out, |fields| {
        fields.list(1, STRUCT, &chunks, |out, (column, chunk)| put_chunk(out, column, chunk));
        fields.i64(2, uncompressed as i64);
        fields.i64(3, group.rows as i64);
        if let Some(first) = group.chunks.first() {
            fields.i64(5, first.start as i64);
        }
        fields.i64(6, compressed as i64);
    });
}

fn put_chunk(out: &mut Vec<u8>, column: &DiskColumn, chunk: &PlacedChunk) {
    let meta = chunk.meta;
    let path: &[&str] = match column.kind {
        DiskType::List(_) => &[column.name, "list", "element"],
        _ => &[column.name],
    };
    put_struct(out, |fields| {
        // Deprecated: no metadata stands beside the chunk.
        fields.i64(2, 0);
        fields.structure(3, |fields| {
            fields.i32(1, column.kind.physical());
            fields.list(2, I32, &meta.encodings.numbers(), |out, number| put_zigzag(out, *number));
            fields.list(3, BINARY, path, |out, name| put_binary(out, name.as_bytes()));
            fields.i32(4, ZSTD);
            fields.i64(5, meta.slots as i64);
            fields.i64(6, meta.uncompressed_bytes as i64);
            fields.i64(7, chunk.bytes as i64);
            fields.i64(9, (chunk.start + u64::from(meta.dictionary_bytes)) as i64);
            if meta.dictionary_bytes > 0 {
                fields.i64(11, chunk.start as i64);
            }
            fields.structure(12, |fields| put_statistics(fields, column.kind, &meta.statistics));
            fields.list(13, STRUCT, &page_kinds(meta), |out, (kind, encoding, count)| {
                put_struct(out, |fields| {
                    fields.i32(1, *kind);
                    fields.i32(2, *encoding as i32);
                    fields.i32(3, *count);
                });
            });
        });
    });
}

/// (page type, encoding, count): tells a reader that a chunk is wholly dictionary-encoded.
fn page_kinds(meta: &ChunkMeta) -> Vec<(i32, Encoding, i32)> {
    let mut kinds = Vec::new();
    if meta.dictionary_bytes > 0 {
        kinds.push((2, Encoding::Plain, 1));
    }
    kinds.push((0, meta.data_encoding, meta.data_pages as i32));
    kinds
}

fn put_statistics(fields: &mut super::compact::Fields, kind: DiskType, known: &Statistics) {
    fields.i64(3, known.nulls as i64);
    if let Some(max) = &known.max {
        fields.binary(5, max);
    }
    if let Some(min) = &known.min {
        fields.binary(6, min);
    }
    if kind.scalar() == Scalar::Text {
        if known.max.is_some() {
            fields.bool(7, known.max_is_exact);
        }
        if known.min.is_some() {
            fields.bool(8, known.min_is_exact);
        }
    }
}
