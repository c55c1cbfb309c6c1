//! The protocol of Firehose: an operation's input comes in, its output goes out, by
//! <https://docs.aws.amazon.com/firehose/latest/APIReference/Welcome.html>.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::Request;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::arn::{Arns, is_stream_name, stream_of};
use super::super::delivery::{
    Begin, Deliveries, DeliveriesError, Kept, Known, Opening, Source, Tell, Told,
};
use super::super::stream::{Incoming, Kind, OverLimit, SequenceNumber, StreamError, Streams};
use super::Gateway;
use super::destination::{Places, description, read};
use super::protocol::{ApiError, Done, input, into_response, seconds, unknown_operation};

/// Bytes of a record.
const MOST_RECORD_BYTES: usize = 1_000 << 10;
/// Of a batch.
const MOST_RECORDS: usize = 500;
const MOST_BATCH_BYTES: usize = 4 << 20;
/// Shards of what is put directly.
const DIRECT_SHARDS: u32 = 1;

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Input {
    delivery_stream_name: String,
    delivery_stream_type: Option<String>,
    kinesis_stream_source_configuration: Option<KinesisSource>,
    extended_s3_destination_configuration: Option<Value>,
    s3_destination_configuration: Option<Value>,
    limit: Option<usize>,
    exclusive_start_delivery_stream_name: Option<String>,
    record: Option<InputRecord>,
    records: Vec<InputRecord>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct KinesisSource {
    #[serde(rename = "KinesisStreamARN")]
    stream_arn: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct InputRecord {
    data: String,
}

impl Gateway {
    pub(super) async fn firehose(self: &Arc<Self>, operation: &str, request: Request) -> Response {
        into_response(self.firehose_operation(operation, request).await)
    }

    async fn firehose_operation(self: &Arc<Self>, operation: &str, request: Request) -> Done {
        let body = self.operation_body(request).await?;
        let input: Input = input(&body.bytes)?;
        match operation {
            "CreateDeliveryStream" => {
                let request: Value = super::protocol::input(&body.bytes)?;
                self.create_delivery_stream(input.delivery_stream_name, request).await
            }
            "DeleteDeliveryStream" => self.delete_delivery_stream(input.delivery_stream_name).await,
            "DescribeDeliveryStream" => self.describe_delivery_stream(&input),
            "ListDeliveryStreams" => Ok(self.list_delivery_streams(&input)),
            "PutRecord" => self.put_one(input).await,
            "PutRecordBatch" => self.put_batch(input).await,
            other => {
                Err(unknown_operation(format!("the operation {other} of Firehose is not here")))
            }
        }
    }

    async fn create_delivery_stream(self: &Arc<Self>, name: String, request: Value) -> Done {
        if !is_stream_name(&name) || name.len() > 64 {
            let message = format!(
                "'{name}' is no name of a delivery stream: it has 1 to 64 letters, digits, '.', '_' and '-'"
            );
            return Err(ApiError::new("ValidationException", message));
        }
        let made = Kept { request, created_ms: Utc::now().timestamp_millis() };
        let arn = self.arns.delivery_stream(&name);
        self.one_at_a_time(move |gateway| {
            let Gateway { streams, deliveries, places, runtime, .. } = gateway;
            if deliveries.named(&name).is_some() {
                return Err(exists(&name));
            }
            let opening = runtime.block_on(opening(&name, &made, places, streams))?;
            // Whatever is put to it is delivered, also by the next run.
            deliveries.keep(&name, made).map_err(of_deliveries)?;
            deliveries.begin(opening).map_err(|error| {
                let _ = deliveries.unkeep(&name);
                of_deliveries(error)
            })
        })
        .await?;
        Ok(json!({ "DeliveryStreamARN": arn }))
    }

    async fn delete_delivery_stream(self: &Arc<Self>, name: String) -> Done {
        self.one_at_a_time(move |gateway| {
            let is_kept = gateway.deliveries.kept().map_err(of_deliveries)?.contains_key(&name);
            match (gateway.deliveries.named(&name), is_kept) {
                (Some(_), true) => gateway.deliveries.delete(&name).map_err(of_deliveries),
                (Some(_), false) => {
                    let message = format!("{name} is the pipeline's own: end the pipeline instead");
                    Err(ApiError::new("ResourceInUseException", message))
                }
                // One that could not be begun.
                (None, true) => gateway.deliveries.unkeep(&name).map_err(of_deliveries),
                (None, false) => {
                    Err(ApiError::missing(format!("there is no delivery stream {name}")))
                }
            }
        })
        .await?;
        Ok(json!({}))
    }

    fn known(&self, name: &str) -> Result<Known, ApiError> {
        let known = self.deliveries.named(name);
        known.ok_or_else(|| ApiError::missing(format!("there is no delivery stream {name}")))
    }

    fn describe_delivery_stream(&self, input: &Input) -> Done {
        let known = self.known(&input.delivery_stream_name)?;
        let mut described = json!({
            "DeliveryStreamName": known.name,
            "DeliveryStreamARN": self.arns.delivery_stream(&known.name),
            "DeliveryStreamStatus": if known.is_leaving { "DELETING" } else { "ACTIVE" },
            "DeliveryStreamType": kind_of(&known.source),
            "DeliveryStreamEncryptionConfiguration": { "Status": "DISABLED" },
            "VersionId": "1",
            "CreateTimestamp": seconds(known.told.created),
            "HasMoreDestinations": false,
            "Destinations": [{
                "DestinationId": "destinationId-000000000001",
                "S3DestinationDescription": plain(&known.told.destination),
                "ExtendedS3DestinationDescription": known.told.destination,
            }],
        });
        if let Source::Stream { stream, .. } = &known.source {
            described["Source"] = source_description(&self.arns, &stream.name, known.told.created);
        }
        Ok(json!({ "DeliveryStreamDescription": described }))
    }

    fn list_delivery_streams(&self, input: &Input) -> Value {
        let after = input.exclusive_start_delivery_stream_name.as_deref();
        let kind = input.delivery_stream_type.as_deref();
        let all = self.deliveries.all();
        let rest: Vec<&str> = all
            .iter()
            .filter(|known| kind.is_none_or(|kind| kind == kind_of(&known.source)))
            .map(|known| known.name.as_str())
            .filter(|name| after.is_none_or(|after| *name > after))
            .collect();
        let most = input.limit.unwrap_or(10).clamp(1, 10_000);
        json!({
            "DeliveryStreamNames": rest.iter().take(most).collect::<Vec<_>>(),
            "HasMoreDeliveryStreams": rest.len() > most,
        })
    }

    async fn put_one(&self, input: Input) -> Done {
        let record = input
            .record
            .ok_or_else(|| ApiError::new("ValidationException", "Record is missing"))?;
        let put = self.put_directly(&input.delivery_stream_name, vec![record]).await?;
        match &put[0] {
            Ok(number) => Ok(json!({ "RecordId": number.to_string(), "Encrypted": false })),
            Err(over) => Err(ApiError::new(THROTTLED, over.to_string())),
        }
    }

    async fn put_batch(&self, input: Input) -> Done {
        if input.records.is_empty() || input.records.len() > MOST_RECORDS {
            let message =
                format!("1 to {MOST_RECORDS} records are taken, not {}", input.records.len());
            return Err(ApiError::new("ValidationException", message));
        }
        let put = self.put_directly(&input.delivery_stream_name, input.records).await?;
        let failed = put.iter().filter(|record| record.is_err()).count();
        let answers: Vec<Value> = put
            .iter()
            .map(|record| match record {
                Ok(number) => json!({ "RecordId": number.to_string() }),
                Err(over) => json!({ "ErrorCode": THROTTLED, "ErrorMessage": over.to_string() }),
            })
            .collect();
        Ok(json!({ "FailedPutCount": failed, "Encrypted": false, "RequestResponses": answers }))
    }

    async fn put_directly(
        &self,
        name: &str,
        records: Vec<InputRecord>,
    ) -> Result<Vec<Result<SequenceNumber, OverLimit>>, ApiError> {
        let known = self.known(name)?;
        if known.is_leaving {
            return Err(ApiError::missing(format!("the delivery stream {name} is being deleted")));
        }
        let Source::Direct(stream) = &known.source else {
            let message = format!(
                "{name} delivers what is on the stream {}: put it there, or to a delivery stream of the \
                 type DirectPut",
                known.source.stream().name
            );
            return Err(ApiError::invalid(message));
        };
        let mut bytes = 0;
        let mut incoming = Vec::with_capacity(records.len());
        for record in records {
            let data = STANDARD.decode(record.data.as_bytes()).map_err(|problem| {
                ApiError::new("SerializationException", format!("Data is no base64: {problem}"))
            })?;
            if data.is_empty() || data.len() > MOST_RECORD_BYTES {
                let message =
                    format!("a record has {} bytes: 1 to 1,000 KiB are taken", data.len());
                return Err(ApiError::new("ValidationException", message));
            }
            bytes += data.len();
            let data = Bytes::from(data);
            incoming.push(Incoming { partition_key: name.to_string(), hash_key: Some(0), data });
        }
        if bytes > MOST_BATCH_BYTES {
            let message = format!("the records have {bytes} bytes: 4 MiB are taken at a time");
            return Err(ApiError::invalid(message));
        }
        self.streams.put(stream, incoming).await.map_err(ApiError::failed)
    }
}

const THROTTLED: &str = "ServiceUnavailableException";

fn exists(name: &str) -> ApiError {
    ApiError::new("ResourceInUseException", format!("there is a delivery stream {name} already"))
}

fn kind_of(source: &Source) -> &'static str {
    match source {
        Source::Stream { .. } => "KinesisStreamAsSource",
        Source::Direct(_) => "DirectPut",
    }
}

fn source_description(arns: &Arns, stream: &str, created: DateTime<Utc>) -> Value {
    json!({ "KinesisStreamSourceDescription": {
        "KinesisStreamARN": arns.stream(stream),
        "RoleARN": "arn:aws:iam::000000000000:role/local",
        "DeliveryStartTimestamp": seconds(created),
    }})
}

/// The members that a destination had before it was extended.
fn plain(destination: &Value) -> Value {
    const MEMBERS: [&str; 8] = [
        "RoleARN",
        "BucketARN",
        "Prefix",
        "ErrorOutputPrefix",
        "BufferingHints",
        "CompressionFormat",
        "EncryptionConfiguration",
        "CloudWatchLoggingOptions",
    ];
    let members = MEMBERS.iter().filter_map(|name| Some((*name, destination.get(name)?.clone())));
    members.map(|(name, value)| (name.to_string(), value)).collect::<serde_json::Map<_, _>>().into()
}

fn of_deliveries(error: DeliveriesError) -> ApiError {
    match error {
        DeliveriesError::Exists { .. } => {
            ApiError::new("ResourceInUseException", error.to_string())
        }
        DeliveriesError::Missing { .. } => ApiError::missing(error.to_string()),
        DeliveriesError::TooMany => ApiError::new("LimitExceededException", error.to_string()),
        DeliveriesError::Process(_) | DeliveriesError::Store(_) | DeliveriesError::Key(_) => {
            ApiError::invalid(error.to_string())
        }
        other => ApiError::failed(other),
    }
}

/// What the API made becomes a delivery stream.
async fn opening(
    name: &str,
    made: &Kept,
    places: &Places,
    streams: &Streams,
) -> Result<Opening, ApiError> {
    let input: Input = serde_json::from_value(made.request.clone())
        .map_err(|problem| ApiError::new("ValidationException", problem.to_string()))?;
    let configuration = input
        .extended_s3_destination_configuration
        .or(input.s3_destination_configuration)
        .ok_or_else(|| {
            ApiError::invalid(
                "ExtendedS3DestinationConfiguration is missing; no other destination is here",
            )
        })?;
    let (spec, destination) = read(name, &configuration, places)?;
    let source = match &input.kinesis_stream_source_configuration {
        Some(source) => {
            let named = stream_of(&source.stream_arn).unwrap_or(&source.stream_arn);
            let stream = streams.named(Kind::Stream, named);
            let stream =
                stream.ok_or_else(|| ApiError::missing(format!("there is no stream {named}")))?;
            Source::Stream { stream, begin: Begin::Next }
        }
        None if input.delivery_stream_type.as_deref() == Some("KinesisStreamAsSource") => {
            return Err(ApiError::invalid("KinesisStreamSourceConfiguration is missing"));
        }
        None => {
            let made = streams.ensure(Kind::Direct, name, DIRECT_SHARDS, TimeDelta::zero()).await;
            Source::Direct(made.map_err(|error: StreamError| ApiError::failed(error))?)
        }
    };
    let created = DateTime::from_timestamp_millis(made.created_ms).unwrap_or_else(Utc::now);
    let told = Told { created, destination: description(&configuration) };
    Ok(Opening { spec, source, destination, told })
}

/// Begins what the API made in earlier runs. What can't be begun is told of, and its records are kept.
pub async fn begin_kept(
    deliveries: &Arc<Deliveries>,
    streams: &Streams,
    places: &Places,
    tell: Tell,
) -> Result<(), DeliveriesError> {
    for (name, made) in deliveries.kept()? {
        let problem = match opening(&name, &made, places, streams).await {
            Err(error) => Some(error.message().to_string()),
            Ok(opening) => {
                let deliveries = Arc::clone(deliveries);
                let begun = tokio::task::spawn_blocking(move || deliveries.begin(opening)).await;
                match begun {
                    Ok(begun) => begun.err().map(|error| error.to_string()),
                    Err(error) => Some(error.to_string()),
                }
            }
        };
        if let Some(problem) = problem {
            tell(&format!(
                "the delivery stream {name}, which an earlier run made, does not run: {problem}; its \
                 records are kept, and DeleteDeliveryStream forgets it"
            ));
        }
    }
    Ok(())
}
