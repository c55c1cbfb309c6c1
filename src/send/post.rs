//! A body → one POST: what the answer says.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::response::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use chrono::{DateTime, Utc};
use http_body_util::{BodyExt, Full, Limited};
use serde::Deserialize;

use super::target::Sent;
use crate::store::chain;
use crate::web::{self, WebClient};

/// Where and how bodies are sent.
#[derive(Clone, Debug)]
pub struct PostSpec {
    pub url: Uri,
    pub token: Option<String>,
    /// Of one attempt.
    pub timeout: Duration,
}

/// Sends bodies over connections that are kept.
pub struct Poster {
    spec: PostSpec,
    client: WebClient,
}

/// Names the partition key of a record, where the endpoint asks for one.
const PARTITION_KEY: &str = "x-partition-key";
/// Bytes of an answer that are looked at.
const ANSWER_BYTES: usize = 64 << 10;

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    shard_id: Option<String>,
    sequence_number: Option<String>,
}

/// What an attempt says.
pub enum Attempt {
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
        Ok(Poster { spec, client: web::client()? })
    }

    /// Sends one body, once.
    pub async fn attempt(&self, body: Bytes, key: Option<&str>) -> Attempt {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.spec.url.clone())
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.spec.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if let Some(key) = key {
            let Ok(value) = HeaderValue::from_bytes(key.as_bytes()) else {
                let why = "its partition key has characters that no header can hold";
                return Attempt::Over(Sent::Refused(why.to_string()));
            };
            request = request.header(PARTITION_KEY, value);
        }
        let request = match request.body(Full::new(body)) {
            Ok(request) => request,
            Err(error) => return Attempt::Over(Sent::Refused(error.to_string())),
        };
        let (parts, bytes) = match self.exchange(request).await {
            Ok(answer) => answer,
            Err(why) => return Attempt::Again { why, after: None },
        };
        if parts.status.is_success() {
            let answer = serde_json::from_slice::<Answer>(&bytes).unwrap_or_default();
            let Answer { shard_id: shard, sequence_number: sequence } = answer;
            return Attempt::Over(Sent::Taken { shard, sequence });
        }
        let said: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
        let why = format!("{}: {}", parts.status, said.trim());
        match parts.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {}
            status if status.is_server_error() => {}
            _ => return Attempt::Over(Sent::Refused(why)),
        }
        Attempt::Again { why, after: retry_after(&parts.headers, Utc::now()) }
    }

    /// A page as text.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn get(&self, url: Uri) -> Result<String, String> {
        let request = Request::get(url).body(Full::default()).map_err(|error| error.to_string())?;
        let (parts, bytes) = self.exchange(request).await?;
        match parts.status.is_success() {
            true => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            false => Err(parts.status.to_string()),
        }
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(Parts, Bytes), String> {
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| chain(&error))?;
            let (parts, body) = answer.into_parts();
            let bytes = Limited::new(body, ANSWER_BYTES).collect().await;
            let bytes = bytes.map(|collected| collected.to_bytes());
            // What was taken stays so, whatever becomes of the rest of the answer.
            match (bytes, parts.status.is_success()) {
                (Err(error), false) => Err(chain(&*error)),
                (bytes, _) => Ok((parts, bytes.unwrap_or_default())),
            }
        };
        let timeout = self.spec.timeout;
        let late = |_| Err(format!("no answer within {} s", timeout.as_secs_f32()));
        tokio::time::timeout(timeout, exchange).await.unwrap_or_else(late)
    }
}

/// What `Retry-After` asks for: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some((date.to_utc() - now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_ask_for_a_time_in_two_ways() {
        let now = DateTime::from_timestamp(1_650_240_000, 0).unwrap();
        let asked = |text: &'static str| {
            let headers = [(header::RETRY_AFTER, HeaderValue::from_static(text))];
            retry_after(&headers.into_iter().collect(), now).map(|wait| wait.as_secs())
        };
        assert_eq!(asked("7"), Some(7));
        assert_eq!(asked("Mon, 18 Apr 2022 00:00:09 GMT"), Some(9));
        assert_eq!(asked("Sun, 17 Apr 2022 23:59:59 GMT"), Some(0));
        assert_eq!(asked("soon"), None);
    }
}
