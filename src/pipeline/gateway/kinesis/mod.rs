//! The protocol of Kinesis: an operation's input comes in, its output goes out, by
//! <https://docs.aws.amazon.com/kinesis/latest/APIReference/Welcome.html>.

mod input;
mod records;
mod streams;

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;

use super::Gateway;
use super::protocol::{ApiError, Done, input, into_response, unknown_operation};
use crate::pipeline::stream::{Kind, Stream};
use input::{Input, named};

impl Gateway {
    pub(in crate::pipeline::gateway) async fn kinesis(
        self: &Arc<Self>,
        operation: &str,
        request: Request,
    ) -> Response {
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
}

fn no_stream(name: &str) -> ApiError {
    ApiError::missing(format!("there is no stream {name}"))
}
