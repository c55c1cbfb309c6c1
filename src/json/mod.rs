//! Decompressed bytes → columns and quarantine. The hot room, and the reason for the project.
//!
//! Firehose glues JSON records together with no delimiter. [`Reader`] takes the bytes of an
//! object block by block, in blocks of any size, and gives [`Frame`]s: the values of the rows of
//! the day, in columns. There is no tree between: a record is one pass over its bytes, which
//! leaves a flat tape of (column, position) slots, and when the record is whole, in the day, and
//! good, the slots are written into columns. So a bad record leaves no trace, and only the
//! columns that were asked for cost more than a scan.
//!
//! What makes it fast: what stands between two values is compared with the record before and not
//! parsed (`shape.rs`); a record of another shape has its keys guessed one by one, and not looked up
//! (`pass.rs`); strings are searched 32 bytes at a time; nothing is unescaped, parsed or copied
//! before it is wanted. Skipping is not looking away: every byte is validated by RFC 8259
//! whichever columns are asked for, so that the quarantine never depends on the projection.
//!
//! This room knows nothing of objects, days or zones: the caller's closure says of each record,
//! by its time fields, what becomes of it ([`Fate`]).

mod apart;
mod build;
mod chunk;
pub mod frame;
mod glue;
mod identity;
mod members;
mod number;
mod pass;
mod plan;
mod reader;
mod resync;
mod scan;
mod shape;
mod text;

pub use apart::Apart;
pub use chunk::{Chunk, Fate, MAX_KEPT_BYTES, MAX_PLACES, MorePlaces, Quarantined, SOURCES, Tally};
pub use frame::{Bits, Column, Frame, GroupKeys, Items, Texts, Values};
pub use identity::{Identities, Identity};
pub use members::Members;
pub use number::{Literal, read_number_text};
pub use pass::{Record, TimeText};
pub use plan::Projection;
pub use reader::{Options, Reader};

/// Why bytes were quarantined.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A byte that JSON does not allow at its place.
    UnexpectedByte,
    BadNumber,
    BadLiteral,
    /// A raw control character inside a string.
    ControlCharacter,
    BadEscape,
    LoneSurrogate,
    BadUtf8,
    TooDeep,
    TooLarge,
    /// The object ends inside the record.
    CutOff,
    /// Whole JSON, but no record: a scalar, or a list with other things than objects in it.
    NotAnObject,
    /// A top-level list that the object does not close: what else it held is unknown.
    ArrayNotClosed,
    /// The value of a column with a declared type does not read as that type.
    NotOfDeclaredType,
    TimeMissing,
    TimeUnreadable,
    NoTime,
}

impl Reason {
    /// Stable text, for manifests and messages.
    pub fn text(self) -> &'static str {
        match self {
            Reason::UnexpectedByte => "a byte that JSON does not allow there",
            Reason::BadNumber => "a malformed number",
            Reason::BadLiteral => "a word that is not true, false or null",
            Reason::ControlCharacter => "a raw control character inside a string",
            Reason::BadEscape => "an unknown escape in a string",
            Reason::LoneSurrogate => "half of a surrogate pair in a string",
            Reason::BadUtf8 => "bytes that are not UTF-8",
            Reason::TooDeep => "nested deeper than 512 levels",
            Reason::TooLarge => "larger than --max-record-bytes",
            Reason::CutOff => "the object ends inside the record",
            Reason::NotAnObject => "JSON, but not an object",
            Reason::ArrayNotClosed => "the list of records is not closed at the end of the object",
            Reason::NotOfDeclaredType => "a value that does not read as its declared type",
            Reason::TimeMissing => "the time field is missing",
            Reason::TimeUnreadable => "the time field does not read as a time within 1990 to 2100",
            Reason::NoTime => "no readable time in the record, nor in the object's key",
        }
    }
}
