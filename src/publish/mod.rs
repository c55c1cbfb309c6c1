//! Frames and tables → files in the layout of `--out`, a day at a time, whole or not at all.
//!
//! [`encode_column`] and [`RecordsWriter`] make `records`, [`write_table`] the small tables,
//! [`Out`] locks `--out`, a folder or a bucket's prefix, and [`Stage`] publishes with a
//! [`Manifest`] as the commit. [`Published`] reads what is there.

mod bounds;
mod bucket;
mod chunk;
mod commit;
mod compact;
mod dictionary;
mod encode;
mod error;
mod footer;
mod gather;
mod inputs;
mod lock;
mod manifest;
mod out;
mod pages;
mod place;
mod published;
mod records;
mod tables;

pub use bucket::{Bucket, OutBucket};
pub use chunk::EncodedChunk;
pub use encode::{EncodeOptions, RecordColumn, RowGroup, Slice, encode_column, null_chunk};
pub use error::PublishError;
pub use gather::can_cast;
pub use inputs::{Inputs, Since};
pub use manifest::{
    BytesNote, ColumnNote, DriftNote, EnvelopesNote, EquationError, ExcludedObjects, FailedObject,
    FileNote, ListingNote, MANIFEST_VERSION, Manifest, MetricEntry, ObjectsNote, PrefixNote,
    QuarantineNote, ReasonCount, RecordsNote, ReplacedNote, RunNote, SameObject, SameObjectsNote,
    State, TimeNote, Verdict, WindowNote, check_equations, inputs_digest,
};
pub use out::{OutFolder, Stage, read_manifest};
pub use place::{FOLDERS, Item, Step, Target};
pub use published::{Out, Published};
pub use records::{Rebuild, RecordsFile, RecordsWriter};
pub use tables::{QUARANTINE_BYTES, QuarantineRow, quarantine_table, read_table, write_table};
