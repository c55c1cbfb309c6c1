//! What a delivery stream is told.

use std::time::Duration;

use super::compress::Compression;
use super::convert::Conversion;
use super::deaggregate::Deaggregation;
use super::invoke::TransformSpec;
use super::partition::KeyQuery;
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
    /// Records become rows of a file with columns.
    pub conversion: Option<Conversion>,
}

impl DeliverySpec {
    pub fn extension(&self) -> &str {
        match (&self.extension, &self.conversion) {
            (Some(extension), _) => extension,
            (None, Some(conversion)) => conversion.format.extension(),
            (None, None) => self.compression.extension(),
        }
    }
}
