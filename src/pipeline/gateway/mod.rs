//! The HTTP side, on one port: JSON by POST, as API Gateway takes it; the protocols of Kinesis and
//! Firehose; `/metrics` and `/health`.
//!
//! Nothing is answered with success before it is on the disk.

mod access;
mod body;
mod destination;
mod endpoint;
mod firehose;
mod kinesis;
mod log;
mod metrics;
mod protocol;
mod server;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::HttpBody;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::arn::Arns;
use super::delivery::Deliveries;
use super::stream::{Stream, Streams};
use access::Hosts;
pub use access::Token;
pub use destination::{BucketsAt, Places, description};
use endpoint::Endpoint;
pub use endpoint::EndpointSpec;
pub use firehose::begin_kept;
pub use log::{AccessLog, LogTo};
use log::{LogLine, LogTime};
use metrics::Requests;
pub use server::{ServeError, ServerLimits, bind, serve};

/// What the gateway is told.
#[derive(Clone, Debug)]
pub struct GatewaySpec {
    pub endpoint: EndpointSpec,
    /// Where it is set, requests must carry it.
    pub token: Option<Token>,
    pub places: Places,
}

/// Everything that answers requests.
pub struct Gateway {
    endpoint: Endpoint,
    token: Option<Token>,
    places: Places,
    runtime: Handle,
    arns: Arns,
    streams: Arc<Streams>,
    deliveries: Arc<Deliveries>,
    requests: Requests,
    bodies: body::Bodies,
    log: AccessLog,
    /// Whoever makes or deletes streams and delivery streams.
    changing: Mutex<()>,
    /// Whose names requests may give as their host; `None`: any.
    hosts: Option<Hosts>,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
struct Peer(SocketAddr);

impl Gateway {
    /// `stream` takes what is posted; `runtime` is the one that serves.
    pub fn new(
        spec: GatewaySpec,
        arns: Arns,
        stream: Arc<Stream>,
        streams: Arc<Streams>,
        deliveries: Arc<Deliveries>,
        log: AccessLog,
        runtime: Handle,
    ) -> Gateway {
        Gateway {
            endpoint: Endpoint::new(spec.endpoint, stream),
            // Where a token is asked for, a page of the web does not know it.
            hosts: spec.token.is_none().then_some(Hosts),
            token: spec.token,
            places: spec.places,
            runtime,
            arns,
            streams,
            deliveries,
            requests: Requests::default(),
            bodies: body::Bodies::default(),
            log,
            changing: Mutex::default(),
        }
    }

    /// Writes out what the access log holds back.
    pub fn flush_log(&self) {
        self.log.flush();
    }
}

/// The routes of the gateway.
pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new().fallback(answer).with_state(gateway)
}

async fn answer(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let began = Instant::now();
    let time = LogTime::now();
    let id = uuid::Uuid::new_v4().to_string();
    let peer = request.extensions().get::<Peer>().map(|Peer(address)| address.ip());
    let (method, version) = (request.method().clone(), request.version());
    let path = request.uri().path().to_string();
    let (target, mut response) = gateway.dispatch(request, &path).await;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    let latency = began.elapsed();
    gateway.requests.count(target, response.status(), latency);
    gateway.log.write(&LogLine {
        request_id: &id,
        ip: peer,
        request_time: time,
        http_method: method.as_str(),
        path: &path,
        protocol: version,
        status: response.status().as_u16(),
        response_length: response.body().size_hint().exact(),
        response_latency_ms: latency.as_secs_f64() * 1e3,
    });
    response
}

/// Which door a request came through, for counting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Door {
    Endpoint,
    Kinesis,
    Firehose,
    Other,
}

impl Gateway {
    async fn dispatch(self: &Arc<Self>, request: Request, path: &str) -> (Door, Response) {
        if let Some(Err(refused)) = self.hosts.map(|hosts| hosts.check(request.headers())) {
            return (Door::Other, refusal(StatusCode::FORBIDDEN, &refused.to_string()));
        }
        let target = request.headers().get("x-amz-target").and_then(|name| name.to_str().ok());
        if let Some((service, operation)) = target.and_then(|target| target.split_once('.')) {
            let operation = operation.to_string();
            if service.starts_with("Kinesis_") {
                return (Door::Kinesis, self.kinesis(&operation, request).await);
            }
            if service.starts_with("Firehose_") {
                return (Door::Firehose, self.firehose(&operation, request).await);
            }
            let message = format!("the service {service} is not here: Kinesis and Firehose are");
            return (Door::Other, protocol::unknown_operation(message).into_response());
        }
        let response = match (request.method(), path) {
            (&Method::GET, "/health") => "ok\n".into_response(),
            (&Method::GET, "/metrics") => match access::check(&self.token, request.headers()) {
                Ok(()) => self.metrics().into_response(),
                Err(refused) => refusal(StatusCode::FORBIDDEN, &refused.to_string()),
            },
            (&Method::POST, _) => return (Door::Endpoint, self.post(request).await),
            _ => refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                &format!("POST a JSON body to {path}; GET /metrics and /health"),
            ),
        };
        (Door::Other, response)
    }
}

/// An answer as API Gateway gives it where something is wrong.
fn refusal(status: StatusCode, message: &str) -> Response {
    json_response(status, &json!({ "message": message }))
}

fn json_response(status: StatusCode, value: &Value) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (status, kind, value.to_string()).into_response()
}
