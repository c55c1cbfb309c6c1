//! What the SDK reports goes in; whether to try again, and what the user can do, comes out.
//!
//! Codes are those of the API references of Kinesis and Firehose.

use std::io;
use std::time::Duration;

use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::url::StreamUrl;
use crate::store::{StoreError, chain, shown};

/// Why a stream can't be put to or read.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    #[error(transparent)]
    Options(#[from] StoreError),
    #[error("the threads for the network: {0}")]
    Threads(io::Error),
    #[error("{stream} can't be {done}: {reason}; {advice}")]
    Refused { stream: StreamUrl, done: &'static str, reason: String, advice: String },
    #[error("{stream} has no shard {shard}; its shards are {available}")]
    NoShard { stream: StreamUrl, shard: String, available: String },
    #[error("interrupted")]
    Interrupted,
}

/// One request that failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    pub kind: Kind,
    /// As the server asked.
    pub after: Option<Duration>,
    pub reason: String,
    /// The status where an answer has none; empty where nobody answered.
    code: String,
}

/// What follows from a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It may go better another time.
    Again,
    /// The iterator is too old: a new one goes on where it stood.
    Expired,
    /// This request is refused, and another one may not be.
    Refused,
    /// Every request to this stream would fail so.
    Hopeless,
}

const THROTTLED: [&str; 4] = ["Throttl", "ThroughputExceeded", "LimitExceeded", "TooManyRequests"];
const TRANSIENT: [&str; 3] = ["InternalFailure", "ServiceUnavailable", "RequestTimeout"];
const HOPELESS: [&str; 10] = [
    "ResourceNotFound",
    "AccessDenied",
    "UnrecognizedClient",
    "InvalidClientTokenId",
    "InvalidSignature",
    "IncompleteSignature",
    "MissingAuthenticationToken",
    "ExpiredToken",
    "NotAuthorized",
    "KMS",
];

/// In place of a code, where an answer has none.
const FORBIDDEN: &str = "status 403";

impl Failure {
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Failure
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let SdkError::ServiceError(service) = error else {
            let reason = shown(&chain(error));
            let text = reason.to_ascii_lowercase();
            // The SDK wraps these errors in types that it doesn't export, so their words must do.
            let is_ours = ["credential", "identity resol", "token provider", "plain http to"];
            let hopeless = matches!(error, SdkError::ConstructionFailure(_))
                || is_ours.iter().any(|word| text.contains(word));
            let kind = if hopeless { Kind::Hopeless } else { Kind::Again };
            return Failure { kind, after: None, reason, code: String::new() };
        };
        let raw = service.raw();
        let after = raw.headers().get("retry-after").and_then(|seconds| seconds.parse().ok());
        Failure::reply(
            raw.status().as_u16(),
            service.err().code().unwrap_or_default(),
            service.err().message().unwrap_or_default(),
            after.map(Duration::from_secs),
        )
    }

    fn reply(status: u16, code: &str, message: &str, after: Option<Duration>) -> Failure {
        let has = |words: &[&str]| words.iter().any(|word| code.contains(word));
        let kind = if code.contains("ExpiredIterator") {
            Kind::Expired
        } else if status >= 500 || matches!(status, 408 | 429) || has(&THROTTLED) || has(&TRANSIENT)
        {
            Kind::Again
        } else if has(&HOPELESS) || matches!(status, 401 | 403) {
            Kind::Hopeless
        } else {
            Kind::Refused
        };
        let message = message.trim_end_matches('.');
        let text: Vec<&str> = [code, message].into_iter().filter(|part| !part.is_empty()).collect();
        let reason = match text.is_empty() {
            true => format!("status {status}"),
            false => shown(&text.join(": ")),
        };
        let code = if code.is_empty() { format!("status {status}") } else { code.to_string() };
        Failure { kind, after, reason, code }
    }

    /// An answer that contradicts its request.
    pub(super) fn nonsense(reason: String) -> Failure {
        Failure { kind: Kind::Again, after: None, reason, code: String::new() }
    }

    /// What to do about it, for a request that needs `permission`.
    pub(super) fn advice(&self, permission: &str) -> String {
        let advice = match self.code.as_str() {
            code if code.contains("AccessDenied") || code == FORBIDDEN => {
                return format!(
                    "the credentials need {permission}, or a pipeline its RAWCAT_TOKEN"
                );
            }
            "" if self.kind == Kind::Hopeless => {
                "give --profile, set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or log in with \
                 `aws sso login`; the pipeline of this machine is reached by --endpoint-url \
                 http://127.0.0.1:7117"
            }
            "" => "check --endpoint-url, --region and the network",
            _ if self.kind == Kind::Again => "run again later",
            _ => "check the credentials, the token, and --region",
        };
        advice.to_string()
    }

    #[cfg(feature = "cloudwatch")]
    pub(super) fn has_code(&self, part: &str) -> bool {
        self.code.contains(part)
    }

    /// The error of a stream that can't be `done`, for which `permission` is needed.
    pub(super) fn into_error(
        self,
        stream: &StreamUrl,
        done: &'static str,
        permission: &str,
    ) -> StreamError {
        let advice = match self.code.as_str() {
            code if code.contains("ResourceNotFound") => {
                "check its name, --region, --profile and --endpoint-url".to_string()
            }
            code if code.contains("AccessDenied") => {
                format!("{} on it", self.advice(permission))
            }
            code if code.contains("KMS") => {
                "the stream is encrypted: check its key, and the permission to use it".to_string()
            }
            _ => self.advice(permission),
        };
        StreamError::Refused { stream: stream.clone(), done, reason: self.reason, advice }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_mean_what_the_references_say() {
        for (status, code, kind) in [
            (400, "ProvisionedThroughputExceededException", Kind::Again),
            (400, "KMSThrottlingException", Kind::Again),
            (400, "LimitExceededException", Kind::Again),
            (503, "ServiceUnavailableException", Kind::Again),
            (500, "", Kind::Again),
            (400, "ExpiredIteratorException", Kind::Expired),
            (400, "ResourceNotFoundException", Kind::Hopeless),
            (400, "AccessDeniedException", Kind::Hopeless),
            (400, "KMSAccessDeniedException", Kind::Hopeless),
            (403, "", Kind::Hopeless),
            (400, "InvalidArgumentException", Kind::Refused),
            (400, "ValidationException", Kind::Refused),
        ] {
            assert_eq!(Failure::reply(status, code, "", None).kind, kind, "{status} {code}");
        }
    }

    #[test]
    fn an_error_says_what_to_do() {
        let stream = StreamUrl::Kinesis("a".to_string());
        let text = |code| {
            let failure = Failure::reply(400, code, "no \u{1b}[2J", None);
            failure.into_error(&stream, "read", "kinesis:GetRecords").to_string()
        };
        let denied = text("AccessDeniedException");
        assert!(
            denied.contains("kinesis://a can't be read") && denied.contains("kinesis:GetRecords")
        );
        assert!(text("").contains("check the credentials"));
        let forbidden = Failure::reply(403, "", "", None).advice("logs:FilterLogEvents");
        assert!(forbidden.contains("need logs:FilterLogEvents"));
        assert!(text("ResourceNotFoundException").contains("check its name"));
        assert!(!denied.contains('\u{1b}'));
    }
}
