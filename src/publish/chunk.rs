//! One column of a row group → the bytes of its column chunk, ready to be copied into a file.
//!
//! Everything that is decided here (dictionary or not, which encoding, where pages end) depends on
//! the row group's values and the column's type alone: the same values give the same bytes,
//! whatever the thread and whatever other row groups hold. It is pure, and knows no file.

use std::cell::RefCell;
use std::ops::Range;

use super::bounds::statistics;
use super::compact::put_struct;
use super::dictionary::Dictionary;
use super::footer::{ChunkMeta, Encoding};
use super::gather::{Flat, Levels};
use super::pages::{
    put_delta, put_delta_length, put_delta_prefix, put_hybrid, put_packed, put_plain_texts,
    put_run, shared_prefix, width_of,
};

/// A page ends with the row in which its values reach this many bytes, before compression.
const PAGE_BYTES: usize = 1024 * 1024;
/// Measured on 14 columns like those of the benchmark: level 3 takes half as long again for 8 %
/// less, the levels below 1 save a tenth of the time and make the file a third larger.
const ZSTD_LEVEL: i32 = 1;
/// Values that are looked at to choose between encodings.
const SAMPLE_VALUES: usize = 1024;

/// A column chunk as it will stand in the file, page headers included.
#[derive(Clone, PartialEq, Debug)]
pub struct EncodedChunk {
    pub(super) bytes: Vec<u8>,
    pub(super) meta: ChunkMeta,
}

/// How the values of a chunk are written.
enum Coding<'v> {
    Plain,
    Delta,
    DeltaLength,
    DeltaPrefix,
    Dictionary { page: Vec<u8>, entries: usize, indices: &'v [u32], width: u32 },
}

/// Encodes and compresses a column chunk.
pub(super) fn encode(values: &Flat, levels: &Levels, shape: Shape) -> EncodedChunk {
    let texts = match values {
        Flat::Text(values) => Dictionary::build(values),
        _ => None,
    };
    let numbers = match values {
        Flat::Int(values) => Dictionary::build(&bits_of(values, |value| value as u64)),
        Flat::Float(values) => Dictionary::build(&bits_of(values, f64::to_bits)),
        _ => None,
    };
    let statistics = statistics(values, texts.as_ref(), levels);
    let coding = choose(values, texts.as_ref(), numbers.as_ref());

    let mut chunk =
        EncodedChunk { bytes: Vec::new(), meta: ChunkMeta { statistics, ..ChunkMeta::default() } };
    chunk.meta.slots = levels.slots as u64;
    chunk.meta.null_rows = levels.null_rows as u32;
    if let Coding::Dictionary { page, entries, .. } = &coding {
        chunk.put_dictionary_page(page, *entries);
    }
    let mut buffer = Vec::new();
    for page in cut(values, &coding, levels, shape) {
        buffer.clear();
        shape.put_levels(&mut buffer, levels, page.slots.clone());
        put_values(&mut buffer, values, &coding, page.values);
        chunk.put_data_page(&buffer, page.slots.len(), coding.encoding());
    }
    chunk
}

fn bits_of<T: Copy>(values: &[T], bits: impl Fn(T) -> u64) -> Vec<u64> {
    values.iter().map(|value| bits(*value)).collect()
}

/// The highest levels of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    Required,
    Optional,
    List,
}

impl Shape {
    fn put_levels(self, out: &mut Vec<u8>, levels: &Levels, slots: Range<usize>) {
        if self == Shape::List {
            put_sized(out, |out| put_hybrid(out, &levels.repetition[slots.clone()], 1));
            put_sized(out, |out| put_hybrid(out, &levels.definition[slots], 2));
        } else if self == Shape::Optional {
            put_sized(out, |out| match &levels.definition[..] {
                [] => put_run(out, 1, slots.len(), 1),
                levels => put_hybrid(out, &levels[slots], 1),
            });
        }
    }

    fn is_value(self, levels: &Levels, slot: usize) -> bool {
        let highest = if self == Shape::List { 3 } else { 1 };
        levels.definition.get(slot).is_none_or(|level| *level == highest)
    }
}

/// Four bytes of length, then what `put` writes.
fn put_sized(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    put(out);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

impl Coding<'_> {
    fn encoding(&self) -> Encoding {
        match self {
            Coding::Plain => Encoding::Plain,
            Coding::Delta => Encoding::DeltaBinaryPacked,
            Coding::DeltaLength => Encoding::DeltaLengthByteArray,
            Coding::DeltaPrefix => Encoding::DeltaByteArray,
            Coding::Dictionary { .. } => Encoding::RleDictionary,
        }
    }
}

fn choose<'v>(
    values: &Flat,
    texts: Option<&'v Dictionary<&[u8]>>,
    numbers: Option<&'v Dictionary<u64>>,
) -> Coding<'v> {
    match values {
        _ if values.len() == 0 => Coding::Plain,
        Flat::Bool(_) => Coding::Plain,
        Flat::Int(ints) => match numbers {
            Some(made)
                if dictionary_bytes(made.bytes, &made.indices, made.entries.len())
                    < delta_bytes(ints) =>
            {
                number_dictionary(made)
            }
            _ => Coding::Delta,
        },
        Flat::Float(floats) => match numbers {
            Some(made)
                if dictionary_bytes(made.bytes, &made.indices, made.entries.len())
                    < floats.len() * 6 =>
            {
                number_dictionary(made)
            }
            _ => Coding::Plain,
        },
        Flat::Text(values) => match texts {
            Some(made) if made.bytes + values.len() * 2 < text_bytes(values) => {
                let mut page = Vec::with_capacity(made.bytes);
                put_plain_texts(&mut page, &made.entries);
                dictionary(page, made.entries.len(), &made.indices)
            }
            _ if shares_prefixes(values) => Coding::DeltaPrefix,
            _ => Coding::DeltaLength,
        },
    }
}

/// Bytes of plain text with its lengths.
fn text_bytes(values: &[&[u8]]) -> usize {
    values.iter().map(|value| value.len() + 4).sum()
}

fn dictionary_bytes(entry_bytes: usize, indices: &[u32], entries: usize) -> usize {
    entry_bytes + indices.len() * index_width(entries) as usize / 8
}

/// At least 1: some readers take no index of 0 bits.
fn index_width(entries: usize) -> u32 {
    width_of(entries.saturating_sub(1) as u64).max(1)
}

fn number_dictionary(made: &Dictionary<u64>) -> Coding<'_> {
    let page = made.entries.iter().flat_map(|bits| bits.to_le_bytes()).collect();
    dictionary(page, made.entries.len(), &made.indices)
}

fn dictionary(page: Vec<u8>, entries: usize, indices: &[u32]) -> Coding<'_> {
    Coding::Dictionary { page, entries, indices, width: index_width(entries) }
}

/// What binary deltas would take, by a sample from the front.
fn delta_bytes(values: &[i64]) -> usize {
    let sample = &values[..values.len().min(SAMPLE_VALUES)];
    let mut encoded = Vec::new();
    put_delta(&mut encoded, sample);
    encoded.len() * values.len() / sample.len()
}

/// Whether neighbours have more than a third of their bytes in common at the front.
fn shares_prefixes(values: &[&[u8]]) -> bool {
    let sample = &values[..values.len().min(SAMPLE_VALUES)];
    let pairs = sample.iter().zip(&sample[1..]);
    let shared: usize = pairs.map(|(a, b)| shared_prefix(a, b)).sum();
    shared * 3 > sample.iter().map(|value| value.len()).sum()
}

/// A page's part of the slots and of the values.
struct Cut {
    slots: Range<usize>,
    values: Range<usize>,
}

fn cut(values: &Flat, coding: &Coding, levels: &Levels, shape: Shape) -> Vec<Cut> {
    let weigh = |at: usize| match (coding, values) {
        (Coding::Dictionary { .. }, _) => 2,
        (_, Flat::Bool(_)) => 1,
        (_, Flat::Int(_) | Flat::Float(_)) => 8,
        (_, Flat::Text(values)) => values[at].len() + 4,
    };
    let total = match (coding, values) {
        _ if values.len() == 0 => 0,
        (Coding::Dictionary { .. }, _) => 2 * values.len(),
        (_, Flat::Text(values)) => text_bytes(values),
        _ => weigh(0) * values.len(),
    };
    if total <= PAGE_BYTES {
        return vec![Cut { slots: 0..levels.slots, values: 0..values.len() }];
    }
    let mut cuts = Vec::new();
    let mut open = Cut { slots: 0..0, values: 0..0 };
    let mut bytes = 0;
    for slot in 0..levels.slots {
        let begins_row = levels.repetition.get(slot).is_none_or(|level| *level == 0);
        if begins_row && bytes >= PAGE_BYTES {
            let next = Cut { slots: slot..slot, values: open.values.end..open.values.end };
            cuts.push(std::mem::replace(&mut open, next));
            bytes = 0;
        }
        open.slots.end = slot + 1;
        if shape.is_value(levels, slot) {
            bytes += weigh(open.values.end);
            open.values.end += 1;
        }
    }
    cuts.push(open);
    cuts
}

fn put_values(out: &mut Vec<u8>, values: &Flat, coding: &Coding, range: Range<usize>) {
    match (coding, values) {
        (Coding::Dictionary { indices, width, .. }, _) => {
            out.push(*width as u8);
            put_hybrid(out, &indices[range], *width);
        }
        (_, Flat::Bool(values)) => {
            let bits = values[range].iter().map(|value| u64::from(*value));
            put_packed(out, bits, 1);
        }
        (Coding::Plain, Flat::Int(values)) => {
            values[range].iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
        }
        (_, Flat::Int(values)) => put_delta(out, &values[range]),
        (_, Flat::Float(values)) => {
            values[range].iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
        }
        (Coding::DeltaPrefix, Flat::Text(values)) => put_delta_prefix(out, &values[range]),
        (Coding::DeltaLength, Flat::Text(values)) => put_delta_length(out, &values[range]),
        (_, Flat::Text(values)) => put_plain_texts(out, &values[range]),
    }
}

impl EncodedChunk {
    fn put_dictionary_page(&mut self, page: &[u8], entries: usize) {
        self.meta.see(Encoding::Plain);
        let packed = compress(page);
        let start = self.bytes.len();
        put_struct(&mut self.bytes, |header| {
            header.i32(1, 2);
            header.i32(2, page_size(page));
            header.i32(3, page_size(&packed));
            header.structure(7, |dictionary| {
                dictionary.i32(1, entries as i32);
                dictionary.i32(2, Encoding::Plain as i32);
            });
        });
        self.end_page(start, page.len(), &packed);
        self.meta.dictionary_bytes = self.bytes.len() as u32;
    }

    fn put_data_page(&mut self, page: &[u8], slots: usize, encoding: Encoding) {
        self.meta.see(encoding);
        self.meta.data_pages += 1;
        self.meta.data_encoding = encoding;
        let packed = compress(page);
        let start = self.bytes.len();
        put_struct(&mut self.bytes, |header| {
            header.i32(1, 0);
            header.i32(2, page_size(page));
            header.i32(3, page_size(&packed));
            header.structure(5, |data| {
                data.i32(1, slots as i32);
                data.i32(2, encoding as i32);
                data.i32(3, Encoding::Rle as i32);
                data.i32(4, Encoding::Rle as i32);
            });
        });
        self.end_page(start, page.len(), &packed);
    }

    fn end_page(&mut self, start: usize, page_bytes: usize, packed: &[u8]) {
        self.meta.uncompressed_bytes += (self.bytes.len() - start + page_bytes) as u64;
        self.bytes.extend_from_slice(packed);
    }

    /// Bytes that the chunk takes in the file.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Rows in which the column is null.
    pub fn null_rows(&self) -> usize {
        self.meta.null_rows as usize
    }
}

fn page_size(page: &[u8]) -> i32 {
    i32::try_from(page.len()).expect("a record is bounded far below 2 GiB")
}

thread_local! {
    // A context takes longer to set up than to compress a small page.
    static ZSTD: RefCell<zstd::bulk::Compressor<'static>> = RefCell::new(
        zstd::bulk::Compressor::new(ZSTD_LEVEL).expect("the level is one that zstd has"),
    );
}

fn compress(page: &[u8]) -> Vec<u8> {
    ZSTD.with_borrow_mut(|zstd| zstd.compress(page))
        .expect("the buffer is as large as the worst case")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_end_between_rows_and_cover_every_slot_once() {
        let long = vec![b'x'; 300_000];
        let values = Flat::Text(vec![&long[..]; 20]);
        // Rows of three items each, the last of them null.
        let levels = Levels {
            definition: [3, 3, 2].repeat(10),
            repetition: [0, 1, 1].repeat(10),
            slots: 30,
            null_rows: 0,
        };
        let cuts = cut(&values, &Coding::DeltaLength, &levels, Shape::List);
        assert!(cuts.len() > 3);
        let (mut slots, mut seen) = (0, 0);
        for cut in &cuts {
            assert_eq!((cut.slots.start, cut.values.start), (slots, seen));
            assert_eq!(levels.repetition[cut.slots.start], 0);
            (slots, seen) = (cut.slots.end, cut.values.end);
        }
        assert_eq!((slots, seen), (30, 20));
    }
}
