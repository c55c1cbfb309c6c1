//! What a delivery stream is told.

use std::time::Duration;

use super::compress::Compression;
use super::deaggregate::Deaggregation;
use super::invoke::TransformSpec;
use super::partition::KeyQuery;
use super::table::Table;
use crate::layout::Naming;

/// How records become objects.
#[derive(Clone, Debug)]
pub struct DeliverySpec {
    pub name: String,
    pub naming: Naming,
    /// Of what can't be delivered.
    pub errors: Naming,
    pub compression: Compression,
    /// What object names end with, in place of what the compression gives them. It has its dot.
    pub extension: Option<String>,
    /// Bytes of records, and time since the first of them, after which objects are made.
    pub buffer_bytes: usize,
    pub buffer_time: Duration,
    /// A line feed behind each record.
    pub newline: bool,
    /// Each record is several.
    pub deaggregation: Option<Deaggregation>,
    pub transform: Option<TransformSpec>,
    /// Where the values of `partitionKeyFromQuery` are in a record.
    pub keys: Vec<KeyQuery>,
    /// Records become rows of a Parquet file with these columns.
    pub table: Option<Table>,
}

impl DeliverySpec {
    pub fn extension(&self) -> &str {
        match (&self.extension, &self.table) {
            (Some(extension), _) => extension,
            (None, Some(_)) => ".parquet",
            (None, None) => self.compression.extension(),
        }
    }
}
