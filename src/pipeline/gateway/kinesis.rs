//! The protocol of Kinesis: an operation's input comes in, its output goes out, by
//! <https://docs.aws.amazon.com/kinesis/latest/APIReference/Welcome.html>.

use std::fmt;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Request;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::{Value, json};

use super::super::arn::{is_stream_name, stream_of};
use super::super::stream::{
    DEFAULT_RETENTION, Incoming, IteratorProblem, Kind, MOST_SHARDS, OverLimit, Record,
    SequenceNumber, Shard, ShardIterator, Stream, StreamError, shard_id,
};
use super::Gateway;
use super::protocol::{ApiError, Done, input, into_response, seconds, unknown_operation};

/// Bytes of a record's data and partition key.
const MOST_RECORD_BYTES: usize = 1 << 20;
/// Of a batch.
const MOST_RECORDS: usize = 500;
const MOST_BATCH_BYTES: usize = 5 << 20;
const MOST_KEY_CHARACTERS: usize = 256;
/// Of one read.
const MOST_READ_RECORDS: usize = 10_000;
const MOST_READ_BYTES: usize = 10 << 20;
/// Of one page of a listing.
const MOST_LISTED: usize = 1_000;
const ON_DEMAND_SHARDS: u32 = 4;
const RETENTION_HOURS: std::ops::RangeInclusive<i64> = 24..=8_760;

/// A stream by its name or its ARN, and what else an operation says of it.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Input {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    shard_count: Option<u32>,
    stream_mode_details: Option<StreamMode>,
    limit: Option<usize>,
    max_results: Option<usize>,
    exclusive_start_stream_name: Option<String>,
    exclusive_start_shard_id: Option<String>,
    next_token: Option<String>,
    retention_period_hours: Option<i64>,
    shard_id: Option<String>,
    shard_iterator_type: Option<String>,
    starting_sequence_number: Option<String>,
    timestamp: Option<f64>,
    shard_iterator: Option<String>,
    #[serde(deserialize_with = "at_most_a_batch")]
    records: Vec<InputRecord>,
    #[serde(flatten)]
    record: InputRecord,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct StreamMode {
    stream_mode: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct InputRecord {
    data: String,
    partition_key: String,
    explicit_hash_key: Option<String>,
}

impl Gateway {
    pub(super) async fn kinesis(self: &Arc<Self>, operation: &str, request: Request) -> Response {
        into_response(self.kinesis_operation(operation, request).await)
    }

    async fn kinesis_operation(self: &Arc<Self>, operation: &str, request: Request) -> Done {
        let body = self.operation_body(request).await?;
        let input: Input = input(&body.bytes)?;
        match operation {
            "CreateStream" => self.create_stream(&input).await,
            "DeleteStream" => self.delete_stream(&input).await,
            "ListStreams" => Ok(self.list_streams(&input)),
            "DescribeStream" => self.describe_stream(&input),
            "DescribeStreamSummary" => self.describe_stream_summary(&input),
            "ListShards" => self.list_shards(&input),
            "IncreaseStreamRetentionPeriod" | "DecreaseStreamRetentionPeriod" => {
                self.change_retention(&input).await
            }
            "PutRecord" => self.put_record(input).await,
            "PutRecords" => self.put_records(input).await,
            "GetShardIterator" => self.get_shard_iterator(&input),
            "GetRecords" => self.get_records(&input),
            other => {
                Err(unknown_operation(format!("the operation {other} of Kinesis is not here")))
            }
        }
    }

    fn stream_in(&self, input: &Input) -> Result<Arc<Stream>, ApiError> {
        let name = named(input)?;
        self.streams.named(Kind::Stream, name).ok_or_else(|| no_stream(name))
    }

    async fn create_stream(self: &Arc<Self>, input: &Input) -> Done {
        let name = named(input)?;
        if !is_stream_name(name) {
            let message = format!(
                "'{name}' is no name of a stream: it has 1 to 128 letters, digits, '.', '_' and '-'"
            );
            return Err(ApiError::new("ValidationException", message));
        }
        let mode = input.stream_mode_details.as_ref().map(|mode| mode.stream_mode.as_str());
        let shards = match (input.shard_count, mode) {
            (Some(count), _) => count,
            (None, Some("ON_DEMAND")) => ON_DEMAND_SHARDS,
            (None, _) => return Err(ApiError::invalid("ShardCount is missing")),
        };
        if !(1..=MOST_SHARDS).contains(&shards) {
            let message = format!("ShardCount is {shards}: 1 to {MOST_SHARDS} are made");
            return Err(ApiError::invalid(message));
        }
        let name = name.to_string();
        self.one_at_a_time(move |gateway| {
            let made = gateway.streams.create(Kind::Stream, &name, shards, DEFAULT_RETENTION);
            gateway.runtime.block_on(made).map(drop).map_err(of_stream)
        })
        .await?;
        Ok(Value::Null)
    }

    async fn delete_stream(self: &Arc<Self>, input: &Input) -> Done {
        let stream = self.stream_in(input)?;
        self.one_at_a_time(move |gateway| {
            let Gateway { streams, deliveries, runtime, endpoint, .. } = gateway;
            let delivered = deliveries.delivered().map_err(ApiError::failed)?;
            if delivered.contains_key(&stream.id) || stream.id == endpoint.stream().id {
                let message = format!("a delivery stream reads {}: delete that first", stream.name);
                return Err(ApiError::new("ResourceInUseException", message));
            }
            runtime.block_on(streams.delete(Kind::Stream, &stream.name)).map_err(of_stream)
        })
        .await?;
        Ok(Value::Null)
    }

    fn list_streams(&self, input: &Input) -> Value {
        let after = input.exclusive_start_stream_name.as_ref().or(input.next_token.as_ref());
        let all = self.streams.all(Kind::Stream);
        let rest: Vec<&Arc<Stream>> =
            all.iter().filter(|stream| after.is_none_or(|after| stream.name > *after)).collect();
        let most = input.limit.unwrap_or(100).clamp(1, MOST_LISTED);
        let page = &rest[..rest.len().min(most)];
        let has_more = page.len() < rest.len();
        let summaries = page.iter().map(|stream| {
            let mut summary = self.summary_of(stream);
            summary["StreamCreationTimestamp"] = json!(seconds(stream.created));
            summary
        });
        let mut listed = json!({
            "StreamNames": page.iter().map(|stream| &stream.name).collect::<Vec<_>>(),
            "StreamSummaries": summaries.collect::<Vec<_>>(),
            "HasMoreStreams": has_more,
        });
        if let (true, Some(last)) = (has_more, page.last()) {
            listed["NextToken"] = json!(last.name);
        }
        listed
    }

    fn summary_of(&self, stream: &Stream) -> Value {
        json!({
            "StreamName": stream.name,
            "StreamARN": self.arns.stream(&stream.name),
            "StreamStatus": "ACTIVE",
            "StreamModeDetails": { "StreamMode": "PROVISIONED" },
        })
    }

    fn described(&self, stream: &Stream) -> Value {
        let mut described = self.summary_of(stream);
        described["RetentionPeriodHours"] = json!(stream.retention().num_hours());
        described["StreamCreationTimestamp"] = json!(seconds(stream.created));
        described["EnhancedMonitoring"] = json!([{ "ShardLevelMetrics": [] }]);
        described["EncryptionType"] = json!("NONE");
        described
    }

    fn describe_stream(&self, input: &Input) -> Done {
        let stream = self.stream_in(input)?;
        let most = input.limit.unwrap_or(100);
        let (shards, has_more) = page_of(&stream, input.exclusive_start_shard_id.as_deref(), most);
        let mut described = self.described(&stream);
        described["Shards"] = shards;
        described["HasMoreShards"] = json!(has_more);
        Ok(json!({ "StreamDescription": described }))
    }

    fn describe_stream_summary(&self, input: &Input) -> Done {
        let stream = self.stream_in(input)?;
        let mut described = self.described(&stream);
        described["OpenShardCount"] = json!(stream.shards.len());
        described["ConsumerCount"] = json!(0);
        Ok(json!({ "StreamDescriptionSummary": described }))
    }

    fn list_shards(&self, input: &Input) -> Done {
        // A token is the stream and the last shard of the page before.
        let (stream, after) = match input.next_token.as_deref() {
            None => (self.stream_in(input)?, input.exclusive_start_shard_id.clone()),
            Some(token) => {
                let (name, after) = token
                    .rsplit_once('/')
                    .ok_or_else(|| ApiError::invalid("NextToken is no token of this pipeline"))?;
                let stream = self.streams.named(Kind::Stream, name);
                (stream.ok_or_else(|| no_stream(name))?, Some(after.to_string()))
            }
        };
        let most = input.max_results.unwrap_or(MOST_LISTED);
        let (shards, has_more) = page_of(&stream, after.as_deref(), most);
        let last = shards.as_array().and_then(|page| page.last()?["ShardId"].as_str());
        let token = last.filter(|_| has_more).map(|last| format!("{}/{last}", stream.name));
        let mut listed = json!({ "Shards": shards });
        if let Some(token) = token {
            listed["NextToken"] = json!(token);
        }
        Ok(listed)
    }

    async fn change_retention(&self, input: &Input) -> Done {
        let stream = self.stream_in(input)?;
        let hours = input.retention_period_hours.filter(|hours| RETENTION_HOURS.contains(hours));
        let hours = hours.ok_or_else(|| {
            ApiError::invalid("RetentionPeriodHours is missing, or none of 24 to 8760")
        })?;
        let done = self.streams.set_retention(&stream, TimeDelta::hours(hours)).await;
        done.map_err(of_stream)?;
        Ok(Value::Null)
    }

    async fn put_record(&self, input: Input) -> Done {
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

    async fn put_records(&self, input: Input) -> Done {
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
        let failed = put.iter().filter(|record| record.is_err()).count();
        let answers: Vec<Value> = put.iter().map(put_answer).collect();
        Ok(json!({ "FailedRecordCount": failed, "Records": answers, "EncryptionType": "NONE" }))
    }

    fn get_shard_iterator(&self, input: &Input) -> Done {
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

    fn get_records(&self, input: &Input) -> Done {
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

const THROTTLED: &str = "ProvisionedThroughputExceededException";

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

fn named(input: &Input) -> Result<&str, ApiError> {
    let by_arn = input.stream_arn.as_deref().and_then(stream_of);
    let name = input.stream_name.as_deref().or(by_arn);
    name.ok_or_else(|| ApiError::new("ValidationException", "StreamName and StreamARN are missing"))
}

fn no_stream(name: &str) -> ApiError {
    ApiError::missing(format!("there is no stream {name}"))
}

fn of_stream(error: StreamError) -> ApiError {
    match error {
        StreamError::Exists { .. } => ApiError::new("ResourceInUseException", error.to_string()),
        StreamError::Missing { name } => no_stream(&name),
        StreamError::TooMany => ApiError::new("LimitExceededException", error.to_string()),
        other => ApiError::failed(other),
    }
}

fn shard_in<'a>(stream: &'a Stream, id: &str) -> Result<&'a Shard, ApiError> {
    let found = stream.shards.iter().find(|shard| shard.id() == id);
    found
        .ok_or_else(|| ApiError::missing(format!("the stream {} has no shard '{id}'", stream.name)))
}

/// Shards behind one, as the API tells of them, and whether there are more.
fn page_of(stream: &Stream, after: Option<&str>, most: usize) -> (Value, bool) {
    let rest = stream.shards.iter().filter(|shard| after.is_none_or(|after| *shard.id() > *after));
    let rest: Vec<&Shard> = rest.collect();
    let most = most.clamp(1, MOST_LISTED);
    let page = rest.iter().take(most).map(|shard| {
        let first = SequenceNumber { shard: shard.index, number: 0 };
        json!({
            "ShardId": shard.id(),
            "HashKeyRange": {
                "StartingHashKey": shard.first_key.to_string(),
                "EndingHashKey": shard.last_key.to_string(),
            },
            "SequenceNumberRange": { "StartingSequenceNumber": first.to_string() },
        })
    });
    (page.collect(), rest.len() > most)
}

fn incoming(record: InputRecord) -> Result<Incoming, ApiError> {
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

fn told(number: &SequenceNumber) -> Value {
    json!({ "SequenceNumber": number.to_string(), "ShardId": shard_id(number.shard) })
}

fn put_answer(put: &Result<SequenceNumber, OverLimit>) -> Value {
    match put {
        Ok(number) => told(number),
        Err(over) => json!({ "ErrorCode": THROTTLED, "ErrorMessage": over.to_string() }),
    }
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
