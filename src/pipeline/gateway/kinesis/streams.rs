//! Streams are made, told about and deleted.

use std::ops::RangeInclusive;
use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::super::Gateway;
use super::super::protocol::{ApiError, Done, seconds};
use super::input::{Input, named};
use super::no_stream;
use crate::pipeline::arn::is_stream_name;
use crate::pipeline::stream::{
    DEFAULT_RETENTION, Kind, MOST_SHARDS, SequenceNumber, Shard, Stream, StreamError,
};

/// Of one page of a listing.
const MOST_LISTED: usize = 1_000;
const ON_DEMAND_SHARDS: u32 = 4;
const RETENTION_HOURS: RangeInclusive<i64> = 24..=8_760;

impl Gateway {
    pub(super) async fn create_stream(self: &Arc<Self>, input: &Input) -> Done {
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

    pub(super) async fn delete_stream(self: &Arc<Self>, input: &Input) -> Done {
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

    pub(super) fn list_streams(&self, input: &Input) -> Value {
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

    pub(super) fn describe_stream(&self, input: &Input) -> Done {
        let stream = self.stream_in(input)?;
        let most = input.limit.unwrap_or(100);
        let (shards, has_more) = page_of(&stream, input.exclusive_start_shard_id.as_deref(), most);
        let mut described = self.described(&stream);
        described["Shards"] = shards;
        described["HasMoreShards"] = json!(has_more);
        Ok(json!({ "StreamDescription": described }))
    }

    pub(super) fn describe_stream_summary(&self, input: &Input) -> Done {
        let stream = self.stream_in(input)?;
        let mut described = self.described(&stream);
        described["OpenShardCount"] = json!(stream.shards.len());
        described["ConsumerCount"] = json!(0);
        Ok(json!({ "StreamDescriptionSummary": described }))
    }

    pub(super) fn list_shards(&self, input: &Input) -> Done {
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

    pub(super) async fn change_retention(&self, input: &Input) -> Done {
        let stream = self.stream_in(input)?;
        let hours = input.retention_period_hours.filter(|hours| RETENTION_HOURS.contains(hours));
        let hours = hours.ok_or_else(|| {
            ApiError::invalid("RetentionPeriodHours is missing, or none of 24 to 8760")
        })?;
        let done = self.streams.set_retention(&stream, TimeDelta::hours(hours)).await;
        done.map_err(of_stream)?;
        Ok(Value::Null)
    }
}

fn of_stream(error: StreamError) -> ApiError {
    match error {
        StreamError::Exists { .. } => ApiError::new("ResourceInUseException", error.to_string()),
        StreamError::Missing { name } => no_stream(&name),
        StreamError::TooMany => ApiError::new("LimitExceededException", error.to_string()),
        other => ApiError::failed(other),
    }
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
