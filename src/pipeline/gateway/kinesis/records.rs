//! Records are put, and read from any place of their shard.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::super::Gateway;
use super::super::protocol::{ApiError, Done, THROTTLED, seconds, told, told_of_batch};
use super::input::{Input, MOST_RECORDS, incoming};
use crate::pipeline::stream::{
    IteratorProblem, Kind, Record, SequenceNumber, Shard, ShardIterator, Stream,
};

/// Bytes of a batch.
const MOST_BATCH_BYTES: usize = 5 << 20;
/// Of one read.
const MOST_READ_RECORDS: usize = 10_000;
const MOST_READ_BYTES: usize = 10 << 20;

impl Gateway {
    pub(super) async fn put_record(&self, input: Input) -> Done {
        let stream = self.stream_in(&input)?;
        let record = incoming(input.record)?;
        let put = self.streams.put(&stream, vec![record]).await.map_err(ApiError::failed)?;
        match put[0] {
            Ok(number) => {
                let mut told = told(&number);
                told["EncryptionType"] = json!("NONE");
                Ok(told)
            }
            Err(over) => Err(ApiError::new(THROTTLED, over.to_string())),
        }
    }

    pub(super) async fn put_records(&self, input: Input) -> Done {
        let stream = self.stream_in(&input)?;
        if input.records.is_empty() || input.records.len() > MOST_RECORDS {
            let message =
                format!("1 to {MOST_RECORDS} records are taken, not {}", input.records.len());
            return Err(ApiError::new("ValidationException", message));
        }
        let records = input.records.into_iter().map(incoming).collect::<Result<Vec<_>, _>>()?;
        let bytes: usize =
            records.iter().map(|record| record.data.len() + record.partition_key.len()).sum();
        if bytes > MOST_BATCH_BYTES {
            let message = format!("the records have {bytes} bytes: 5 MiB are taken at a time");
            return Err(ApiError::invalid(message));
        }
        let put = self.streams.put(&stream, records).await.map_err(ApiError::failed)?;
        let (failed, answers) = told_of_batch(&put);
        Ok(json!({ "FailedRecordCount": failed, "Records": answers, "EncryptionType": "NONE" }))
    }

    pub(super) fn get_shard_iterator(&self, input: &Input) -> Done {
        let stream = self.stream_in(input)?;
        let shard = shard_in(&stream, input.shard_id.as_deref().unwrap_or_default())?;
        let key = (stream.id, shard.index);
        let storage = self.streams.storage();
        let sequence_number = || {
            let text = input.starting_sequence_number.as_deref().unwrap_or_default();
            let number = text.parse::<SequenceNumber>().ok();
            let number = number.filter(|number| number.shard == shard.index);
            number.map(|number| number.number).ok_or_else(|| {
                ApiError::invalid(format!(
                    "StartingSequenceNumber '{text}' is no sequence number of {}",
                    shard.id()
                ))
            })
        };
        let behind_all = || -> Result<u64, ApiError> {
            let ends = storage.ends(key).map_err(ApiError::failed)?;
            Ok(ends.map_or(1, |(_, last)| last.number + 1))
        };
        let next = match input.shard_iterator_type.as_deref().unwrap_or_default() {
            "TRIM_HORIZON" => 0,
            "LATEST" => behind_all()?,
            "AT_SEQUENCE_NUMBER" => sequence_number()?,
            "AFTER_SEQUENCE_NUMBER" => sequence_number()?.saturating_add(1),
            "AT_TIMESTAMP" => {
                let at = input.timestamp.filter(|at| at.is_finite());
                let at = at.ok_or_else(|| ApiError::invalid("Timestamp is missing"))?;
                let arrival_us = (at * 1e6) as i64;
                let found = tokio::task::block_in_place(|| storage.number_at(key, arrival_us));
                match found.map_err(ApiError::failed)? {
                    Some(number) => number,
                    None => behind_all()?,
                }
            }
            other => {
                let message = format!(
                    "ShardIteratorType '{other}' is none of AT_SEQUENCE_NUMBER, AFTER_SEQUENCE_NUMBER, \
                     TRIM_HORIZON, LATEST, AT_TIMESTAMP"
                );
                return Err(ApiError::new("ValidationException", message));
            }
        };
        let iterator =
            ShardIterator { stream: stream.id, shard: shard.index, next, made: Utc::now() };
        Ok(json!({ "ShardIterator": iterator.to_text() }))
    }

    pub(super) fn get_records(&self, input: &Input) -> Done {
        let now = Utc::now();
        let text = input.shard_iterator.as_deref().unwrap_or_default();
        let iterator = ShardIterator::from_text(text, now).map_err(|problem| match problem {
            IteratorProblem::Foreign => ApiError::invalid(format!("ShardIterator: {problem}")),
            IteratorProblem::Expired => {
                ApiError::new("ExpiredIteratorException", problem.to_string())
            }
        })?;
        let most = input.limit.unwrap_or(MOST_READ_RECORDS);
        if !(1..=MOST_READ_RECORDS).contains(&most) {
            let message = format!("Limit is {most}: 1 to {MOST_READ_RECORDS} records are read");
            return Err(ApiError::new("ValidationException", message));
        }
        let stream =
            self.streams.by_id(iterator.stream).filter(|stream| stream.kind == Kind::Stream);
        let stream = stream.ok_or_else(|| ApiError::missing("the iterator's stream is gone"))?;
        if !stream.may_read(iterator.shard) {
            return Err(ApiError::new(THROTTLED, "a shard is read five times a second"));
        }
        let too_old_us = (now - stream.retention()).timestamp_micros();
        let mut records = Vec::new();
        let (mut next, mut bytes) = (iterator.next, 0);
        // Arrival of the first record that is not read.
        let mut waiting_us = None;
        let key = (stream.id, iterator.shard);
        let storage = self.streams.storage();
        // It may wait for the disk, which other requests need not.
        let read = tokio::task::block_in_place(|| {
            // What is too old is still there where it was not delivered yet, and is not looked at.
            let from = match storage.number_at(key, too_old_us)? {
                Some(number) => number.max(iterator.next),
                None => {
                    storage.ends(key)?.map_or(0, |(_, last)| last.number + 1).max(iterator.next)
                }
            };
            next = from;
            storage.records(key, from, |record| {
                if records.len() >= most || bytes >= MOST_READ_BYTES {
                    waiting_us = Some(record.arrival_us);
                    return false;
                }
                bytes += record.data.len();
                next = record.number + 1;
                records.push(read_record(iterator.shard, &record));
                true
            })
        });
        read.map_err(ApiError::failed)?;
        let behind =
            waiting_us.map_or(0, |waiting| ((now.timestamp_micros() - waiting) / 1_000).max(1));
        let iterator = ShardIterator { next, made: now, ..iterator };
        Ok(json!({
            "Records": records,
            "NextShardIterator": iterator.to_text(),
            "MillisBehindLatest": behind,
        }))
    }
}

fn shard_in<'a>(stream: &'a Stream, id: &str) -> Result<&'a Shard, ApiError> {
    let found = stream.shards.iter().find(|shard| shard.id() == id);
    found
        .ok_or_else(|| ApiError::missing(format!("the stream {} has no shard '{id}'", stream.name)))
}

fn read_record(shard: u32, record: &Record) -> Value {
    let arrival: DateTime<Utc> =
        DateTime::from_timestamp_micros(record.arrival_us).unwrap_or_default();
    json!({
        "SequenceNumber": SequenceNumber { shard, number: record.number }.to_string(),
        "ApproximateArrivalTimestamp": seconds(arrival),
        "Data": STANDARD.encode(&record.data),
        "PartitionKey": record.partition_key,
        "EncryptionType": "NONE",
    })
}
