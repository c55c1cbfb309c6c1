//! JSON 1.1, the protocol of both services: <https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html>.
//! An operation's input is a JSON body, its output or its error is one, too.

use std::sync::{Arc, PoisonError};

use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::body::BodyProblem;
use super::{Gateway, access};
use crate::pipeline::stream::{OverLimit, SequenceNumber, shard_id};

/// The largest batch, in base64, with everything around it.
const MOST_BODY_BYTES: usize = 16 << 20;

/// An operation that was refused or failed: the code is the one that the service's documentation names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl ApiError {
    pub fn new(code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { status: StatusCode::BAD_REQUEST, code, message: message.into() }
    }

    pub fn invalid(message: impl Into<String>) -> ApiError {
        ApiError::new("InvalidArgumentException", message)
    }

    pub fn missing(message: impl Into<String>) -> ApiError {
        ApiError::new("ResourceNotFoundException", message)
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    pub fn failed(message: impl ToString) -> ApiError {
        ApiError {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "InternalFailure",
            message: message.to_string(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        response(self.status, &json!({ "__type": self.code, "message": self.message }))
    }
}

pub fn unknown_operation(message: String) -> ApiError {
    ApiError::new("UnknownOperationException", message)
}

/// What is said of a record that was put: as Kinesis does, and API Gateway in its name.
pub fn told(number: &SequenceNumber) -> Value {
    json!({ "SequenceNumber": number.to_string(), "ShardId": shard_id(number.shard) })
}

/// What is said of each record of a batch, with how many were not taken.
pub fn told_of_batch(put: &[Result<SequenceNumber, OverLimit>]) -> (usize, Vec<Value>) {
    let failed = put.iter().filter(|record| record.is_err()).count();
    let records = put.iter().map(|record| match record {
        Ok(number) => told(number),
        Err(over) => json!({ "ErrorCode": THROTTLED, "ErrorMessage": over.to_string() }),
    });
    (failed, records.collect())
}

/// Over the limits of a shard.
pub const THROTTLED: &str = "ProvisionedThroughputExceededException";

/// What an operation gives back.
pub type Done = Result<Value, ApiError>;

pub fn into_response(done: Done) -> Response {
    match done {
        // Operations without output have no body.
        Ok(Value::Null) => response(StatusCode::OK, &Value::Null),
        Ok(value) => response(StatusCode::OK, &value),
        Err(error) => error.into_response(),
    }
}

fn response(status: StatusCode, value: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/x-amz-json-1.1")];
    let text = if value.is_null() { String::new() } else { value.to_string() };
    (status, kind, text).into_response()
}

/// A time as the protocol has it: seconds since 1970, with milliseconds.
pub fn seconds(time: DateTime<Utc>) -> f64 {
    time.timestamp_millis() as f64 / 1e3
}

/// The input of an operation.
pub fn input<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|problem| {
        let code = match problem.is_data() {
            true => "ValidationException",
            false => "SerializationException",
        };
        ApiError::new(code, problem.to_string())
    })
}

impl Gateway {
    /// Makes or deletes something: nobody else does meanwhile, and a client that goes away does not end
    /// it in the middle. `change` may wait for the disk.
    pub(super) async fn one_at_a_time(
        self: &Arc<Self>,
        change: impl FnOnce(&Gateway) -> Result<(), ApiError> + Send + 'static,
    ) -> Result<(), ApiError> {
        let gateway = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let _one = gateway.changing.lock().unwrap_or_else(PoisonError::into_inner);
            change(&gateway)
        });
        done.await.map_err(ApiError::failed)?
    }

    /// The body of an operation, for whoever may ask for it.
    pub(super) async fn operation_body(
        &self,
        request: Request,
    ) -> Result<super::body::Held<'_>, ApiError> {
        let (parts, body) = request.into_parts();
        access::check(&self.token, &parts.headers).map_err(|refused| ApiError {
            status: StatusCode::FORBIDDEN,
            code: "AccessDeniedException",
            message: refused.to_string(),
        })?;
        self.bodies.read(&parts.headers, body, MOST_BODY_BYTES).await.map_err(|problem| {
            let (status, code) = match problem {
                BodyProblem::TooLarge { .. } => {
                    (StatusCode::PAYLOAD_TOO_LARGE, "ValidationException")
                }
                BodyProblem::Slow => (StatusCode::REQUEST_TIMEOUT, "RequestTimeoutException"),
                BodyProblem::Broken => (StatusCode::BAD_REQUEST, "SerializationException"),
                BodyProblem::TooMany => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
            };
            ApiError { status, code, message: problem.to_string() }
        })
    }
}
