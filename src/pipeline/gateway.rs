//! The HTTP side: a JSON body on any path is put on the stream, and answered as API Gateway
//! answers with the result of `PutRecord`: once the record is on the disk.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::IgnoredAny;
use serde_json::json;

use super::shards::{SequenceNumber, Shard, hash_key, shard_id, shard_of};
use super::storage::{NewRecord, Storage};

/// What the gateway is told.
#[derive(Clone, Debug)]
pub struct GatewaySpec {
    pub stream: u32,
    /// Where it is set, requests must carry it: `Authorization: Bearer …` or `x-api-key: …`.
    pub token: Option<String>,
    pub max_body_bytes: usize,
}

/// The header that names the partition key of a record; without it each has its own.
const PARTITION_KEY: &str = "x-partition-key";
/// Kinesis' own limit.
const MOST_KEY_CHARACTERS: usize = 256;

/// Requests by how they were answered, for `/metrics`.
#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

#[derive(Clone)]
struct Gateway {
    spec: Arc<GatewaySpec>,
    shards: Arc<[Shard]>,
    storage: Arc<Storage>,
    counts: Arc<Counts>,
    /// Of partition keys that nobody gave.
    random: Arc<(RandomState, AtomicU64)>,
}

/// The routes of the gateway.
pub fn router(spec: GatewaySpec, shards: Vec<Shard>, storage: Arc<Storage>) -> Router {
    let gateway = Gateway {
        spec: Arc::new(spec),
        shards: shards.into(),
        storage,
        counts: Arc::default(),
        random: Arc::default(),
    };
    Router::new().fallback(answer).with_state(gateway)
}

async fn answer(State(gateway): State<Gateway>, request: Request) -> Response {
    let done = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => return gateway.metrics(),
        (&Method::GET, "/health") => return "ok\n".into_response(),
        (&Method::POST, _) => gateway.put(request).await,
        (_, path) => Err(Refusal {
            status: StatusCode::METHOD_NOT_ALLOWED,
            message: format!("POST a JSON body to {path}"),
        }),
    };
    match done {
        Ok(response) => {
            gateway.counts.accepted.fetch_add(1, Ordering::Relaxed);
            response
        }
        Err(refusal) => {
            let counts = &gateway.counts;
            let count =
                if refusal.status.is_server_error() { &counts.failed } else { &counts.refused };
            count.fetch_add(1, Ordering::Relaxed);
            refusal.into_response()
        }
    }
}

/// A request that is not taken, and why.
struct Refusal {
    status: StatusCode,
    message: String,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        json_response(self.status, &json!({ "message": self.message }))
    }
}

fn json_response(status: StatusCode, value: &serde_json::Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, value.to_string()).into_response()
}

impl Gateway {
    async fn put(&self, request: Request<Body>) -> Result<Response, Refusal> {
        let refuse = |status, message: String| Refusal { status, message };
        let (parts, body) = request.into_parts();
        if !self.lets_in(&parts.headers) {
            let message = "the token is missing or wrong: send Authorization: Bearer TOKEN";
            return Err(refuse(StatusCode::FORBIDDEN, message.to_string()));
        }
        let most = self.spec.max_body_bytes;
        let body = to_bytes(body, most).await.map_err(|_| {
            let message = format!("the body is longer than {most} bytes, or was not sent whole");
            refuse(StatusCode::PAYLOAD_TOO_LARGE, message)
        })?;
        if let Err(problem) = serde_json::from_slice::<IgnoredAny>(&body) {
            return Err(refuse(StatusCode::BAD_REQUEST, format!("the body is no JSON: {problem}")));
        }
        let partition_key = self.partition_key(&parts.headers)?;
        let shard = shard_of(&self.shards, hash_key(&partition_key)).index;
        let record = NewRecord {
            stream: self.spec.stream,
            shard,
            arrival_us: chrono::Utc::now().timestamp_micros(),
            partition_key,
            data: body.into(),
        };
        let numbers = self.storage.put(vec![record]).await;
        let numbers = numbers
            .map_err(|error| refuse(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        let number = SequenceNumber { shard, number: numbers[0] };
        let result = json!({ "SequenceNumber": number.to_string(), "ShardId": shard_id(shard) });
        Ok(json_response(StatusCode::OK, &result))
    }

    fn lets_in(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.spec.token else { return true };
        let given = |name: &str| headers.get(name).map(|value| value.as_bytes());
        let bearer = given("authorization").and_then(|value| value.strip_prefix(b"Bearer "));
        // In a time that says nothing of where they differ.
        let is_it = |value: &[u8]| {
            value.len() == token.len()
                && value.iter().zip(token.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
        };
        [bearer, given("x-api-key")].into_iter().flatten().any(is_it)
    }

    fn partition_key(&self, headers: &HeaderMap) -> Result<String, Refusal> {
        let Some(value) = headers.get(PARTITION_KEY) else {
            let (random, asked) = &*self.random;
            let next = asked.fetch_add(1, Ordering::Relaxed);
            return Ok(format!("{:016x}", random.hash_one(next)));
        };
        let key = value.to_str().ok();
        let key = key.filter(|key| (1..=MOST_KEY_CHARACTERS).contains(&key.len()));
        key.map(str::to_string).ok_or_else(|| Refusal {
            status: StatusCode::BAD_REQUEST,
            message: format!("{PARTITION_KEY} has 1 to {MOST_KEY_CHARACTERS} visible characters"),
        })
    }

    fn metrics(&self) -> Response {
        let Counts { accepted, refused, failed } = &*self.counts;
        let mut text = String::from("# TYPE rawcat_requests_total counter\n");
        for (result, count) in [("accepted", accepted), ("refused", refused), ("failed", failed)] {
            let count = count.load(Ordering::Relaxed);
            text.push_str(&format!("rawcat_requests_total{{result=\"{result}\"}} {count}\n"));
        }
        text.into_response()
    }
}
