//! What operations of Kinesis are given. Pure.

use std::fmt;

use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::super::protocol::ApiError;
use crate::pipeline::arn::stream_of;
use crate::pipeline::stream::Incoming;

/// Bytes of a record's data and partition key.
const MOST_RECORD_BYTES: usize = 1 << 20;
const MOST_KEY_CHARACTERS: usize = 256;
/// Records of a batch.
pub(super) const MOST_RECORDS: usize = 500;

/// A stream by its name or its ARN, and what else an operation says of it.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Input {
    pub(super) stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    pub(super) stream_arn: Option<String>,
    pub(super) shard_count: Option<u32>,
    pub(super) stream_mode_details: Option<StreamMode>,
    pub(super) limit: Option<usize>,
    pub(super) max_results: Option<usize>,
    pub(super) exclusive_start_stream_name: Option<String>,
    pub(super) exclusive_start_shard_id: Option<String>,
    pub(super) next_token: Option<String>,
    pub(super) retention_period_hours: Option<i64>,
    pub(super) shard_id: Option<String>,
    pub(super) shard_iterator_type: Option<String>,
    pub(super) starting_sequence_number: Option<String>,
    pub(super) timestamp: Option<f64>,
    pub(super) shard_iterator: Option<String>,
    #[serde(deserialize_with = "at_most_a_batch")]
    pub(super) records: Vec<InputRecord>,
    #[serde(flatten)]
    pub(super) record: InputRecord,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct StreamMode {
    pub(super) stream_mode: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct InputRecord {
    pub(super) data: String,
    pub(super) partition_key: String,
    pub(super) explicit_hash_key: Option<String>,
}

/// Records of a batch. What is beyond one more than may be is not even read.
fn at_most_a_batch<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<InputRecord>, D::Error> {
    struct Batch;
    impl<'de> Visitor<'de> for Batch {
        type Value = Vec<InputRecord>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of 1 to {MOST_RECORDS} records")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut records = Vec::new();
            while let Some(record) = list.next_element()? {
                records.push(record);
                if records.len() > MOST_RECORDS {
                    return Err(serde::de::Error::invalid_length(records.len(), &self));
                }
            }
            Ok(records)
        }
    }
    input.deserialize_seq(Batch)
}

pub(super) fn named(input: &Input) -> Result<&str, ApiError> {
    let by_arn = input.stream_arn.as_deref().and_then(stream_of);
    let name = input.stream_name.as_deref().or(by_arn);
    name.ok_or_else(|| ApiError::new("ValidationException", "StreamName and StreamARN are missing"))
}

pub(super) fn incoming(record: InputRecord) -> Result<Incoming, ApiError> {
    let InputRecord { data, partition_key, explicit_hash_key } = record;
    let characters = partition_key.chars().count();
    if !(1..=MOST_KEY_CHARACTERS).contains(&characters) {
        let message = format!("PartitionKey has {characters} characters: 1 to 256 are taken");
        return Err(ApiError::new("ValidationException", message));
    }
    let data = STANDARD.decode(data.as_bytes()).map_err(|problem| {
        ApiError::new("SerializationException", format!("Data is no base64: {problem}"))
    })?;
    let bytes = data.len() + partition_key.len();
    if bytes > MOST_RECORD_BYTES {
        let message = format!("a record has {bytes} bytes with its partition key: 1 MiB is taken");
        return Err(ApiError::new("ValidationException", message));
    }
    let hash_key = explicit_hash_key.map(|key| {
        key.parse::<u128>().map_err(|_| {
            ApiError::invalid(format!("ExplicitHashKey '{key}' is no number below 2^128"))
        })
    });
    Ok(Incoming { partition_key, hash_key: hash_key.transpose()?, data: Bytes::from(data) })
}
