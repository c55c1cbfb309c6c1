//! Frames and tables → files in the layout of `--out`, a day at a time, whole or not at all.

mod chunk;
mod compact;
mod dictionary;
mod error;
mod footer;
mod gather;
mod pages;
mod records;

pub use chunk::EncodedChunk;
pub use error::PublishError;
pub use gather::can_cast;
pub use records::{
    EncodeOptions, ROWS_PER_ROW_GROUP, RecordColumn, RecordsFile, RecordsWriter, RowGroup, Slice,
    encode_column, null_chunk,
};
