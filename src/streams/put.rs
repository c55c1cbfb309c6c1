//! Batches of records → Kinesis or Firehose, one request each: what was taken, and what wasn't.

use aws_sdk_firehose::types::Record as FirehoseRecord;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use aws_smithy_types::Blob;
use axum::body::Bytes;

use super::connect::Reach;
use super::failure::{Failure, StreamError};
use super::url::StreamUrl;

/// A record that is to be put.
#[derive(Clone, Debug)]
pub struct NewRecord {
    pub data: Bytes,
    /// Not asked for by Firehose.
    pub partition_key: String,
}

impl NewRecord {
    /// What it counts against the limits of a batch.
    pub fn bytes(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }
}

/// What became of a record of a batch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Put {
    /// In this shard, where the service says it.
    Taken { shard: Option<String> },
    /// Not now; the service fails single records for reasons that pass.
    Failed(String),
}

/// What one request may hold, as the services have it: a larger one is refused whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchLimits {
    pub records: usize,
    /// Of all records, partition keys included.
    pub bytes: usize,
    pub record_bytes: usize,
}

const KINESIS: BatchLimits = BatchLimits { records: 500, bytes: 5 << 20, record_bytes: 1 << 20 };
const FIREHOSE: BatchLimits =
    BatchLimits { records: 500, bytes: 4 << 20, record_bytes: 1_000 << 10 };

/// Puts to one stream. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Putter {
    client: Client,
    stream: StreamUrl,
}

#[derive(Clone, Debug)]
enum Client {
    Kinesis(aws_sdk_kinesis::Client),
    Firehose(aws_sdk_firehose::Client),
}

impl Putter {
    /// Makes no request yet.
    ///
    /// # Errors
    /// [`StreamError::Options`] for an endpoint that can't be used.
    pub async fn open(stream: &StreamUrl, reach: &Reach) -> Result<Putter, StreamError> {
        let client = match stream {
            StreamUrl::Kinesis(_) => Client::Kinesis(reach.kinesis().await?),
            StreamUrl::Firehose(_) => Client::Firehose(reach.firehose().await?),
        };
        Ok(Putter { client, stream: stream.clone() })
    }

    pub fn limits(&self) -> BatchLimits {
        match &self.client {
            Client::Kinesis(_) => KINESIS,
            Client::Firehose(_) => FIREHOSE,
        }
    }

    /// Puts a batch; what became of each record, in their order.
    ///
    /// # Errors
    /// Where none was taken.
    pub async fn put(&self, batch: &[NewRecord]) -> Result<Vec<Put>, Failure> {
        let puts = match &self.client {
            Client::Kinesis(client) => put_records(client, self.stream.name(), batch).await?,
            Client::Firehose(client) => put_record_batch(client, self.stream.name(), batch).await?,
        };
        match puts.len() == batch.len() {
            true => Ok(puts),
            false => Err(Failure::nonsense(format!(
                "the answer tells of {} records, and {} were sent",
                puts.len(),
                batch.len()
            ))),
        }
    }

    /// The error of a failure that no other batch would be spared.
    pub fn error(&self, failure: Failure) -> StreamError {
        let permission = match &self.client {
            Client::Kinesis(_) => "kinesis:PutRecords",
            Client::Firehose(_) => "firehose:PutRecordBatch",
        };
        failure.into_error(&self.stream, "written", permission)
    }
}

async fn put_records(
    client: &aws_sdk_kinesis::Client,
    name: &str,
    batch: &[NewRecord],
) -> Result<Vec<Put>, Failure> {
    let entry = |record: &NewRecord| {
        PutRecordsRequestEntry::builder()
            .data(Blob::new(record.data.to_vec()))
            .partition_key(&record.partition_key)
            .build()
            .expect("data and key are set")
    };
    let entries = batch.iter().map(entry).collect();
    let answer = client.put_records().stream_name(name).set_records(Some(entries)).send().await;
    let answer = answer.map_err(|error| Failure::of(&error))?;
    let of = |entry: &aws_sdk_kinesis::types::PutRecordsResultEntry| match entry.error_code() {
        Some(code) => Put::Failed(why(code, entry.error_message())),
        None => Put::Taken { shard: entry.shard_id().map(str::to_string) },
    };
    Ok(answer.records().iter().map(of).collect())
}

async fn put_record_batch(
    client: &aws_sdk_firehose::Client,
    name: &str,
    batch: &[NewRecord],
) -> Result<Vec<Put>, Failure> {
    let entry = |record: &NewRecord| {
        let data = Blob::new(record.data.to_vec());
        FirehoseRecord::builder().data(data).build().expect("data is set")
    };
    let entries = batch.iter().map(entry).collect();
    let put = client.put_record_batch().delivery_stream_name(name).set_records(Some(entries));
    let answer = put.send().await.map_err(|error| Failure::of(&error))?;
    let of = |entry: &aws_sdk_firehose::types::PutRecordBatchResponseEntry| match entry.error_code()
    {
        Some(code) => Put::Failed(why(code, entry.error_message())),
        None => Put::Taken { shard: None },
    };
    Ok(answer.request_responses().iter().map(of).collect())
}

fn why(code: &str, message: Option<&str>) -> String {
    match message {
        Some(message) if !message.is_empty() => format!("{code}: {message}"),
        _ => code.to_string(),
    }
}
