//! Streams: records go in by batches, to Kinesis or Firehose, and come out of the shards of Kinesis.
//! The only room with network code for them.
//!
//! Putting is async, for those who put many batches at a time. Reading has a runtime of its own and
//! blocks, as the store does. Nothing is retried by the SDK: who puts decides record by record, and who
//! reads goes on behind the last record that was handed on.

mod backoff;
mod connect;
mod failure;
mod line;
mod put;
mod read;
mod url;

pub use backoff::Backoff;
pub use connect::{Reach, origin_of_loopback};
pub use failure::{Failure, Kind as FailureKind, StreamError};
pub use line::{data_line, line};
pub use put::{BatchLimits, NewRecord, Put, Putter};
pub use read::{Got, Shards, Start, Stream};
pub use url::{BadStreamUrl, StreamUrl};
