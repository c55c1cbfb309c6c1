//! Slots of the tape → columns. A slot is a value's place in the bytes; here it becomes a value.

use super::frame::{Bits, Column, GroupKeys, Items, Texts, Values};
use super::number::{self, Literal, read_number_text};
use super::plan::Node;
use super::scan;
use super::text::unescape;
use crate::schema::{ColumnType, Kinds, Scalar};

/// What stands at a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SlotKind {
    Null,
    True,
    False,
    /// A number without fraction and exponent.
    Integer,
    Fraction,
    /// A string; the span is between its quotes.
    Text,
    EscapedText,
    List,
    /// An object, whose members have the slots behind its own.
    Object,
    /// Overruled by a later member of the same key.
    Dead,
}

/// A value on the tape: `bytes[start..end]` of the block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot {
    pub node: u32,
    pub start: u32,
    pub end: u32,
    pub kind: SlotKind,
    /// The value may be written into a column, or is looked at.
    pub noted: bool,
    /// For a list: the kinds of its items.
    pub kinds: Kinds,
}

impl Slot {
    pub fn span<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.start as usize..self.end as usize]
    }

    /// The exact source, quotes included.
    pub fn source<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        match self.kind {
            SlotKind::Text | SlotKind::EscapedText => {
                &bytes[self.start as usize - 1..self.end as usize + 1]
            }
            _ => self.span(bytes),
        }
    }

    /// What is seen here, and the value where finding out meant to read it.
    fn look(&self, bytes: &[u8]) -> (Kinds, Option<Literal>) {
        match self.kind {
            SlotKind::Null | SlotKind::Dead => (Kinds::NONE, None),
            SlotKind::True | SlotKind::False => (Kinds::BOOL, None),
            SlotKind::Text | SlotKind::EscapedText => (Kinds::TEXT, None),
            SlotKind::List => (self.kinds, None),
            SlotKind::Object => (Kinds::OBJECT, None),
            SlotKind::Integer => {
                let literal = self.span(bytes);
                let value = number::integer(literal);
                (number::integer_kind(literal, value), value.map(Literal::Int))
            }
            SlotKind::Fraction => match number::float(self.span(bytes)) {
                Some(value) => (Kinds::FLOAT, Some(Literal::Float(value))),
                None => (Kinds::HUGE, None),
            },
        }
    }
}

/// A column that is being written.
pub(super) struct Builder {
    pub node: u32,
    kinds: Kinds,
    written_as: ColumnType,
    values: Values,
    valid: Option<Bits>,
    /// Values so far, nulls included.
    len: usize,
    /// A wider value came: what was written is void, only kinds are still noted.
    void: bool,
    /// Text goes into the column as it stands, and has been seen here.
    takes_text: bool,
}

/// Whether a value could be written.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Written {
    Yes,
    /// The column is wider than it was taken for: the block must be read again.
    Widened,
}

impl Builder {
    pub fn new(id: u32) -> Self {
        Builder {
            node: id,
            kinds: Kinds::NONE,
            written_as: ColumnType::Null,
            values: Values::Null,
            valid: None,
            len: 0,
            void: false,
            takes_text: false,
        }
    }

    pub fn kinds(&self) -> Kinds {
        self.kinds
    }

    /// Writes the slot's value as the value of `row`. Rows between are null.
    #[inline]
    pub fn write(&mut self, row: usize, slot: &Slot, bytes: &[u8], node: &mut Node) -> Written {
        if slot.kind == SlotKind::Text
            && self.takes_text
            && self.len == row
            && let Values::Text(texts) = &mut self.values
        {
            texts.push_span(bytes, slot.start as usize, slot.end as usize);
            self.len = row + 1;
            if let Some(valid) = &mut self.valid {
                valid.push(true);
            }
            return Written::Yes;
        }
        self.write_any(row, slot, bytes, node)
    }

    fn write_any(&mut self, row: usize, slot: &Slot, bytes: &[u8], node: &mut Node) -> Written {
        let (kinds, literal) = slot.look(bytes);
        let widened = !node.kinds.contains(kinds) || !self.kinds.contains(kinds);
        if widened {
            self.kinds = self.kinds.union(kinds);
            node.kinds = node.kinds.union(kinds);
            if node.column && node.holds_objects_and_more() && !node.whole {
                node.whole = true;
                self.make_void();
                return Written::Widened;
            }
        }
        let flattened = slot.kind == SlotKind::Object && !node.whole;
        if self.void || kinds.is_empty() || flattened || !node.column {
            return Written::Yes;
        }
        if widened || self.written_as == ColumnType::Null {
            let needed = node.written_as(node.kinds);
            if needed != self.written_as {
                if self.written_as != ColumnType::Null {
                    self.make_void();
                    return Written::Widened;
                }
                self.begin(needed, row);
            }
        }
        self.pad(row);
        self.push(slot, literal, bytes);
        self.len = row + 1;
        if let Some(valid) = &mut self.valid {
            valid.push(true);
        }
        self.takes_text = self.written_as == ColumnType::Text && self.kinds.contains(Kinds::TEXT);
        Written::Yes
    }

    fn make_void(&mut self) {
        self.void = true;
        self.takes_text = false;
    }

    fn begin(&mut self, column_type: ColumnType, rows_before: usize) {
        self.written_as = column_type;
        self.values = empty(column_type);
        if rows_before > 0 {
            self.valid = Some(Bits::default());
        }
    }

    /// Fills up with nulls to `rows`.
    fn pad(&mut self, rows: usize) {
        if self.len == rows {
            return;
        }
        let valid = self.valid.get_or_insert_with(|| Bits::filled(self.len, true));
        for _ in self.len..rows {
            valid.push(false);
            push_null(&mut self.values);
        }
        self.len = rows;
    }

    fn push(&mut self, slot: &Slot, literal: Option<Literal>, bytes: &[u8]) {
        match &mut self.values {
            Values::Null => unreachable!("a column begins with the type of its first value"),
            Values::Int(values) => values.push(match literal {
                Some(Literal::Int(value)) => value,
                _ => pinned_number(slot, bytes).map_or(0, |value| match value {
                    Literal::Int(value) => value,
                    Literal::Float(_) => 0,
                }),
            }),
            Values::Float(values) => values.push(match literal {
                Some(Literal::Float(value)) => value,
                Some(Literal::Int(_)) if slot.span(bytes) == b"-0" => -0.0,
                Some(Literal::Int(value)) => value as f64,
                None => pinned_number(slot, bytes).map_or(0.0, |value| match value {
                    Literal::Int(value) => value as f64,
                    Literal::Float(value) => value,
                }),
            }),
            Values::Bool(values) => values.push(
                slot.kind == SlotKind::True
                    || slot.kind == SlotKind::Text && slot.span(bytes) == b"true",
            ),
            Values::Text(texts) => {
                match (self.written_as, slot.kind) {
                    (ColumnType::Json, _) => texts.bytes.extend_from_slice(slot.source(bytes)),
                    (_, SlotKind::EscapedText) => unescape(slot.span(bytes), &mut texts.bytes),
                    _ => texts.bytes.extend_from_slice(slot.span(bytes)),
                }
                texts.end_value();
            }
            Values::List { ends, items } => {
                push_items(slot.span(bytes), items);
                ends.push(items_len(items));
            }
        }
    }

    /// The column of a frame of `rows` rows.
    pub fn finish(mut self, rows: usize, node: &Node) -> Column {
        if self.written_as != ColumnType::Null {
            self.pad(rows);
        }
        Column {
            path: node.path.clone(),
            kinds: self.kinds,
            column_type: self.written_as,
            values: self.values,
            valid: self.valid,
        }
    }
}

fn empty(column_type: ColumnType) -> Values {
    match column_type {
        ColumnType::Null => Values::Null,
        ColumnType::Bool => Values::Bool(Bits::default()),
        ColumnType::Int => Values::Int(Vec::new()),
        ColumnType::Float => Values::Float(Vec::new()),
        ColumnType::Text | ColumnType::Json => Values::Text(Texts::default()),
        ColumnType::List(scalar) => Values::List {
            ends: Vec::new(),
            items: Items {
                values: Box::new(empty(match scalar {
                    Scalar::Bool => ColumnType::Bool,
                    Scalar::Int => ColumnType::Int,
                    Scalar::Float => ColumnType::Float,
                    Scalar::Text => ColumnType::Text,
                })),
                valid: Bits::default(),
            },
        },
    }
}

fn push_null(values: &mut Values) {
    match values {
        Values::Null => {}
        Values::Bool(values) => values.push(false),
        Values::Int(values) => values.push(0),
        Values::Float(values) => values.push(0.0),
        Values::Text(texts) => texts.end_value(),
        Values::List { ends, items } => ends.push(items_len(items)),
    }
}

fn items_len(items: &Items) -> u32 {
    u32::try_from(items.valid.len()).expect("a chunk holds fewer than 2^32 items")
}

/// Reads the items of a list of scalars that was scanned before.
fn push_items(source: &[u8], items: &mut Items) {
    const SCANNED: &str = "the list was scanned before";
    let mut at = scan::skip_space(source, 1);
    while source[at] != b']' {
        let end = match source[at] {
            b'"' => scan::string(source, at + 1).expect(SCANNED).end + 1,
            _ => {
                at + source[at..]
                    .iter()
                    .position(|byte| b",] \n\r\t".contains(byte))
                    .expect(SCANNED)
            }
        };
        let item = &source[at..end];
        items.valid.push(item != b"null");
        match &mut *items.values {
            values if item == b"null" => push_null(values),
            Values::Bool(values) => values.push(item == b"true"),
            Values::Int(values) => values.push(number::integer(item).expect(SCANNED)),
            Values::Float(values) => values.push(number::float(item).expect(SCANNED)),
            Values::Text(texts) => {
                unescape(&item[1..item.len() - 1], &mut texts.bytes);
                texts.end_value();
            }
            Values::Null | Values::List { .. } => unreachable!("items are scalars"),
        }
        at = scan::skip_space(source, end);
        if source[at] == b',' {
            at = scan::skip_space(source, at + 1);
        }
    }
}

/// The number that a pinned column's slot holds, as a number or as text.
fn pinned_number(slot: &Slot, bytes: &[u8]) -> Option<Literal> {
    match slot.kind {
        SlotKind::Integer | SlotKind::Fraction | SlotKind::Text => {
            read_number_text(std::str::from_utf8(slot.span(bytes)).ok()?)
        }
        _ => None,
    }
}

/// True where the slot's value can be written as the declared type.
pub(super) fn reads_as(slot: &Slot, bytes: &[u8], declared: ColumnType) -> bool {
    match (declared, slot.kind) {
        (_, SlotKind::Null | SlotKind::Dead) => true,
        (ColumnType::Text, SlotKind::List | SlotKind::Object) => false,
        (ColumnType::Text | ColumnType::Json, _) => true,
        (ColumnType::Bool, SlotKind::True | SlotKind::False) => true,
        (ColumnType::Bool, SlotKind::Text) => matches!(slot.span(bytes), b"true" | b"false"),
        (ColumnType::Int, _) => matches!(pinned_number(slot, bytes), Some(Literal::Int(_))),
        (ColumnType::Float, _) => match pinned_number(slot, bytes) {
            // An integer that f64 would round does not read as float.
            Some(Literal::Int(value)) => value.unsigned_abs() <= 1 << 53,
            Some(Literal::Float(_)) => true,
            None => false,
        },
        (ColumnType::List(scalar), SlotKind::List) => {
            // An empty list reads as a list of anything, and integers read as fractions.
            let declared_kind = match scalar {
                Scalar::Bool => Kinds::LIST_BOOL,
                Scalar::Int => Kinds::LIST_INT,
                Scalar::Float => Kinds::LIST_FLOAT,
                Scalar::Text => Kinds::LIST_TEXT,
            };
            slot.kinds.union(declared_kind).column_type() == declared
        }
        _ => false,
    }
}

/// Writes the group key of a row: the exact source text, strings unescaped.
pub(super) fn push_group(keys: &mut GroupKeys, slot: Option<&Slot>, bytes: &[u8]) {
    let slot = slot.filter(|slot| !matches!(slot.kind, SlotKind::Null | SlotKind::Dead));
    keys.valid.push(slot.is_some());
    if let Some(slot) = slot {
        keys.kinds = keys.kinds.union(slot.look(bytes).0);
        if slot.kind != SlotKind::EscapedText {
            return keys.texts.push_span(bytes, slot.start as usize, slot.end as usize);
        }
        unescape(slot.span(bytes), &mut keys.texts.bytes);
    }
    keys.texts.end_value();
}
