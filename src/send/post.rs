//! Bodies → POSTs, some at a time, each again until it is taken or refused for good.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Deserialize;

/// Where and how bodies are sent.
#[derive(Clone, Debug)]
pub struct PostSpec {
    pub url: Uri,
    pub token: Option<String>,
    /// Attempts of one body.
    pub attempts: u32,
    /// Of one attempt.
    pub timeout: Duration,
}

/// What became of a body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sent {
    /// Taken; the shard, where the answer named one.
    Taken { shard: Option<String> },
    /// Not taken, for this reason.
    Refused(String),
}

/// Sends bodies over connections that are kept.
pub struct Poster {
    spec: PostSpec,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    pub retried: AtomicU64,
}

/// The first wait between attempts, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are looked at.
const ANSWER_BYTES: usize = 64 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    shard_id: Option<String>,
}

/// What an attempt says.
enum Attempt {
    Over(Sent),
    /// It may go better another time.
    Again {
        why: String,
        after: Option<Duration>,
    },
}

impl Poster {
    /// # Errors
    /// Where the machine's certificates can't be read.
    pub fn new(spec: PostSpec) -> std::io::Result<Poster> {
        let connector = HttpsConnectorBuilder::new().with_native_roots()?;
        let connector = connector.https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(5))
            .build(connector);
        Ok(Poster { spec, client, retried: AtomicU64::new(0) })
    }

    /// Sends one body, and again while that may help and `stop` is not up.
    pub async fn send(&self, body: Bytes, stop: &AtomicBool) -> Sent {
        let mut wait = FIRST_WAIT;
        let mut attempt = 1;
        loop {
            let (why, after) = match self.attempt(body.clone()).await {
                Attempt::Over(sent) => return sent,
                Attempt::Again { why, after } => (why, after),
            };
            if attempt >= self.spec.attempts || stop.load(Ordering::Relaxed) {
                let times = if attempt == 1 { "once" } else { &format!("{attempt} times") };
                return Sent::Refused(format!("{why} (tried {times})"));
            }
            attempt += 1;
            self.retried.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(after.unwrap_or_else(|| jittered(wait)).min(LONGEST_WAIT)).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    async fn attempt(&self, body: Bytes) -> Attempt {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.spec.url.clone())
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.spec.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = match request.body(Full::new(body)) {
            Ok(request) => request,
            Err(error) => return Attempt::Over(Sent::Refused(error.to_string())),
        };
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| chain(&error))?;
            let (parts, body) = answer.into_parts();
            let bytes = Limited::new(body, ANSWER_BYTES).collect().await;
            let bytes = bytes.map(|collected| collected.to_bytes()).unwrap_or_default();
            Ok::<_, String>((parts, bytes))
        };
        let (parts, bytes) = match tokio::time::timeout(self.spec.timeout, exchange).await {
            Err(_) => {
                let why = format!("no answer within {} s", self.spec.timeout.as_secs());
                return Attempt::Again { why, after: None };
            }
            Ok(Err(why)) => return Attempt::Again { why, after: None },
            Ok(Ok(answer)) => answer,
        };
        if parts.status.is_success() {
            let answer = serde_json::from_slice::<Answer>(&bytes).ok();
            return Attempt::Over(Sent::Taken { shard: answer.and_then(|answer| answer.shard_id) });
        }
        let said: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
        let why = format!("{}: {}", parts.status, said.trim());
        match parts.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {}
            status if status.is_server_error() => {}
            _ => return Attempt::Over(Sent::Refused(why)),
        }
        let after = parts.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let after = after.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        Attempt::Again { why, after }
    }
}

/// Anything up to twice the half, so that many who wait don't come back together.
fn jittered(wait: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let share = RandomState::new().hash_one(0) % 1_000;
    wait / 2 + wait * share as u32 / 1_000
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
