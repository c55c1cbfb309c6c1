//! Columns: what the reader writes values into, and what later stages read.

use super::identity::Identities;
use crate::schema::{ColumnType, Kinds, Path};

/// A growable bitmap, least significant bit first.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Bits {
    words: Vec<u64>,
    len: usize,
}

impl Bits {
    /// `len` bits, all equal to `value`.
    pub fn filled(len: usize, value: bool) -> Self {
        let mut bits =
            Bits { words: vec![if value { u64::MAX } else { 0 }; len.div_ceil(64)], len };
        bits.clear_tail();
        bits
    }

    fn clear_tail(&mut self) {
        if !self.len.is_multiple_of(64)
            && let Some(last) = self.words.last_mut()
        {
            *last &= (1 << (self.len % 64)) - 1;
        }
    }

    pub fn push(&mut self, value: bool) {
        if self.len.is_multiple_of(64) {
            self.words.push(0);
        }
        if value {
            self.words[self.len / 64] |= 1 << (self.len % 64);
        }
        self.len += 1;
    }

    pub fn get(&self, at: usize) -> bool {
        debug_assert!(at < self.len);
        self.words[at / 64] >> (at % 64) & 1 == 1
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn count_ones(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The bits as 64-bit words, least significant bit first; bits beyond `len` are 0.
    pub fn words(&self) -> &[u64] {
        &self.words
    }
}

/// UTF-8 values one after another. Value `i` is `bytes[ends[i-1]..ends[i]]`.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Texts {
    pub ends: Vec<u32>,
    pub bytes: Vec<u8>,
}

impl Texts {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn get(&self, at: usize) -> &str {
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        std::str::from_utf8(&self.bytes[start..self.ends[at] as usize])
            .expect("the reader pushes whole UTF-8 values only")
    }

    pub fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        self.end_value();
    }

    /// Appends `block[start..end]`, which is UTF-8. What lies behind it in the block serves to copy a
    /// short value in one piece of fixed size.
    #[inline(always)]
    pub(super) fn push_span(&mut self, block: &[u8], start: usize, end: usize) {
        const PIECE: usize = 32;
        match block.get(start..).and_then(|rest| rest.first_chunk::<PIECE>()) {
            Some(piece) if end - start <= PIECE => {
                let len = self.bytes.len() + (end - start);
                self.bytes.extend_from_slice(piece);
                self.bytes.truncate(len);
            }
            _ => self.bytes.extend_from_slice(&block[start..end]),
        }
        self.end_value();
    }

    /// Ends the value whose bytes were appended to `bytes`.
    pub fn end_value(&mut self) {
        let end = u32::try_from(self.bytes.len()).expect("a chunk's text is bounded below 4 GiB");
        self.ends.push(end);
    }
}

/// The values of a column. A null has a placeholder (0, false, empty) at its place.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Only nulls so far; the number of rows is the frame's.
    Null,
    Bool(Bits),
    Int(Vec<i64>),
    Float(Vec<f64>),
    /// Text and JSON columns.
    Text(Texts),
    /// Row `i` holds the items `ends[i-1]..ends[i]`.
    List {
        ends: Vec<u32>,
        items: Items,
    },
}

/// The items of a list column, nulls in lists included.
#[derive(Clone, Debug, PartialEq)]
pub struct Items {
    pub values: Box<Values>,
    pub valid: Bits,
}

/// One column of a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub path: Path,
    /// What was seen in this frame's rows.
    pub kinds: Kinds,
    /// How the values are written: wide enough for `kinds`, and maybe wider. JSON columns are
    /// texts too, but every one is a JSON value with its quotes.
    pub column_type: ColumnType,
    pub values: Values,
    /// `None`: every row has a value (or, for [`Values::Null`], none has).
    pub valid: Option<Bits>,
}

impl Column {
    pub fn is_valid(&self, row: usize) -> bool {
        match (&self.values, &self.valid) {
            (Values::Null, _) => false,
            (_, None) => true,
            (_, Some(bits)) => bits.get(row),
        }
    }
}

/// The rows of the day from one chunk of one object.
///
/// `ts_utc` is in microseconds since 1970-01-01T00:00:00Z, `offsets` are byte offsets of the
/// records in the decoded object. All columns have `rows` values. A flattened object has no
/// column itself: it is in `seen`, so that the schema knows that it was seen.
#[derive(Clone, Default, Debug, PartialEq)]
pub struct Frame {
    pub rows: usize,
    pub ts_utc: Vec<i64>,
    pub offsets: Vec<u64>,
    /// Source bytes of each record.
    pub lens: Vec<u32>,
    pub columns: Vec<Column>,
    /// Every path seen in these rows with its kinds, flattened objects included, in the order
    /// of first appearance.
    pub seen: Vec<(Path, Kinds)>,
    /// The row in which each path of `seen` appears first.
    pub first_rows: Vec<u32>,
    /// For each `--by` column, the exact source text (strings unescaped) of each row, and validity.
    pub groups: Vec<GroupKeys>,
    /// What tells the rows from each other; empty where nobody asked.
    pub identities: Identities,
}

/// The group keys of a frame's rows for one `--by` column.
#[derive(Clone, Default, Debug, PartialEq)]
pub struct GroupKeys {
    pub texts: Texts,
    pub valid: Bits,
    pub kinds: Kinds,
}
