//! A JSON body on any path → a record, or several, on the stream: what API Gateway does with an integration
//! of `PutRecord`.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::super::stream::{Incoming, OverLimit, SequenceNumber, Stream};
use super::body::BodyProblem;
use super::protocol::{told, told_of_batch};
use super::{Gateway, access, json_response, refusal};

/// How bodies become records.
#[derive(Clone, Debug)]
pub struct EndpointSpec {
    pub max_body_bytes: usize,
    /// The field whose value is the partition key of a record; a header goes before it.
    pub key_field: Option<Vec<String>>,
    /// Each member of a list is a record.
    pub split_arrays: bool,
}

/// The header that names the partition key of a record. Without it and without a field each record has its own.
const PARTITION_KEY: &str = "x-partition-key";
/// Kinesis' own limit.
const MOST_KEY_CHARACTERS: usize = 256;
/// Records out of one list.
const MOST_RECORDS: usize = 500;

pub struct Endpoint {
    spec: EndpointSpec,
    stream: Arc<Stream>,
    /// Of partition keys that nobody gave.
    random: (RandomState, AtomicU64),
}

/// A request that is not taken, and why.
struct Refusal(StatusCode, String);

impl Endpoint {
    pub fn new(spec: EndpointSpec, stream: Arc<Stream>) -> Endpoint {
        Endpoint { spec, stream, random: Default::default() }
    }

    /// The stream that takes what is posted.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    fn random_key(&self) -> String {
        let (random, asked) = &self.random;
        format!("{:016x}", random.hash_one(asked.fetch_add(1, Ordering::Relaxed)))
    }

    /// The records of a body.
    fn records(&self, headers: &HeaderMap, body: &Bytes) -> Result<Vec<Incoming>, Refusal> {
        let no_json = |problem: serde_json::Error| {
            Refusal(StatusCode::BAD_REQUEST, format!("the body is no JSON: {problem}"))
        };
        let given = given_key(headers)?;
        // A reader of JSON that skips texts does not look at their bytes.
        if simdutf8::basic::from_utf8(body).is_err() {
            let message = "the body is no JSON: it is not UTF-8".to_string();
            return Err(Refusal(StatusCode::BAD_REQUEST, message));
        }
        let is_list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
        if !(self.spec.split_arrays && is_list) {
            if self.spec.key_field.is_none() || given.is_some() {
                serde_json::from_slice::<IgnoredAny>(body).map_err(no_json)?;
                let partition_key = given.unwrap_or_else(|| self.random_key());
                return Ok(vec![Incoming { partition_key, hash_key: None, data: body.clone() }]);
            }
            let value: Value = serde_json::from_slice(body).map_err(no_json)?;
            let partition_key = self.key_in(&value)?;
            return Ok(vec![Incoming { partition_key, hash_key: None, data: body.clone() }]);
        }
        let members: Vec<&RawValue> = serde_json::from_slice(body).map_err(no_json)?;
        if members.is_empty() || members.len() > MOST_RECORDS {
            let message =
                format!("the list has {} members: 1 to {MOST_RECORDS} are taken", members.len());
            return Err(Refusal(StatusCode::BAD_REQUEST, message));
        }
        let records = members.into_iter().map(|member| {
            let partition_key = match (&given, &self.spec.key_field) {
                (Some(given), _) => given.clone(),
                (None, None) => self.random_key(),
                (None, Some(_)) => {
                    self.key_in(&serde_json::from_str(member.get()).map_err(no_json)?)?
                }
            };
            let data = body.slice_ref(member.get().as_bytes());
            Ok(Incoming { partition_key, hash_key: None, data })
        });
        records.collect()
    }

    /// The partition key that stands in a record.
    fn key_in(&self, record: &Value) -> Result<String, Refusal> {
        let path = self.spec.key_field.as_deref().unwrap_or_default();
        let value = path.iter().try_fold(record, |value, part| value.get(part));
        let text = match value {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Bool(truth)) => truth.to_string(),
            _ => String::new(),
        };
        match (1..=MOST_KEY_CHARACTERS).contains(&text.chars().count()) {
            true => Ok(text),
            false => {
                let field = path.join(".");
                let message = format!(
                    "the partition key is the field {field}, which must be there and have 1 to \
                     {MOST_KEY_CHARACTERS} characters"
                );
                Err(Refusal(StatusCode::BAD_REQUEST, message))
            }
        }
    }
}

fn given_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(value) = headers.get(PARTITION_KEY) else { return Ok(None) };
    let key = std::str::from_utf8(value.as_bytes()).ok();
    let key = key.filter(|key| (1..=MOST_KEY_CHARACTERS).contains(&key.chars().count()));
    key.map(|key| Some(key.to_string())).ok_or_else(|| {
        let message = format!("{PARTITION_KEY} has 1 to {MOST_KEY_CHARACTERS} characters");
        Refusal(StatusCode::BAD_REQUEST, message)
    })
}

impl Gateway {
    /// A POST on a path of the endpoint.
    pub(super) async fn post(&self, request: Request) -> Response {
        self.put(request).await.unwrap_or_else(|Refusal(status, message)| {
            let mut response = refusal(status, &message);
            if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
                response.headers_mut().insert(header::RETRY_AFTER, 1.into());
            }
            response
        })
    }

    async fn put(&self, request: Request) -> Result<Response, Refusal> {
        let (parts, body) = request.into_parts();
        access::check(&self.token, &parts.headers)
            .map_err(|refused| Refusal(StatusCode::FORBIDDEN, refused.to_string()))?;
        let Endpoint { spec, stream, .. } = &self.endpoint;
        let body = self.bodies.read(&parts.headers, body, spec.max_body_bytes).await;
        let body = body.map_err(|problem| Refusal(status_of(problem), problem.to_string()))?;
        let records = self.endpoint.records(&parts.headers, &body.bytes)?;
        let is_list = spec.split_arrays && body.bytes.trim_ascii_start().starts_with(b"[");
        let put = self.streams.put(stream, records).await;
        let put =
            put.map_err(|error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        match (is_list, &put[..]) {
            (false, [Ok(number)]) => Ok(json_response(StatusCode::OK, &told(number))),
            (false, [Err(over), ..]) => {
                Err(Refusal(StatusCode::TOO_MANY_REQUESTS, over.to_string()))
            }
            _ => Ok(list_response(&put)),
        }
    }
}

fn status_of(problem: BodyProblem) -> StatusCode {
    match problem {
        BodyProblem::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        BodyProblem::Slow => StatusCode::REQUEST_TIMEOUT,
        BodyProblem::Broken => StatusCode::BAD_REQUEST,
        BodyProblem::TooMany => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// What `PutRecords` answers, with 429 where no record was taken.
fn list_response(put: &[Result<SequenceNumber, OverLimit>]) -> Response {
    let (failed, records) = told_of_batch(put);
    let status = match failed == put.len() {
        true => StatusCode::TOO_MANY_REQUESTS,
        false => StatusCode::OK,
    };
    json_response(status, &json!({ "FailedRecordCount": failed, "Records": records }))
        .into_response()
}
