//! Streams: records go in by batches, to Kinesis or Firehose, and come out of the shards of Kinesis.
//! The only room with network code for them, and for what CloudWatch keeps of a delivery stream.
//!
//! Putting is async, for those who put many batches at a time. Reading has a runtime of its own and
//! blocks, as the store does. Nothing is retried by the SDK: who puts decides record by record, and who
//! reads goes on behind the last record that was handed on.

mod backoff;
#[cfg(feature = "cloudwatch")]
mod cloudwatch;
mod connect;
mod failure;
mod line;
mod put;
mod read;
mod url;
mod watch;

pub use backoff::Backoff;
#[cfg(feature = "cloudwatch")]
pub use cloudwatch::Watch;
pub use connect::{Reach, origin_of_loopback};
pub use failure::{Failure, Kind as FailureKind, StreamError};
pub use line::{data_line, line};
pub use put::{BatchLimits, NewRecord, Put, Putter};
pub use read::{Got, Shards, Start, Stream};
pub use url::{BadStreamUrl, StreamUrl};
#[cfg(not(feature = "cloudwatch"))]
pub use watch::Watch;
pub use watch::{Counted, ErrorLog, LoggedError, Unwatched, log_group};
