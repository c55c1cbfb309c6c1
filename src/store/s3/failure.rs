//! What the SDK reports goes in; what it means comes out: whether to try again, which region to
//! follow, and the [`StoreError`] that tells the user what to do.
//!
//! Codes and statuses are those of the S3 API reference, "Error responses".

use std::error::Error;
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::super::error::{StoreError, shown};
use super::connect::OpenHttp;
use super::refusal::{Reply, credentials_reason, refusal, reply_text};
use super::retry::Retry;

/// What was being done, and to what.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    List { prefix: &'a str },
    Get { key: &'a str },
    Put { key: &'a str },
    Delete { key: &'a str },
}

impl Target<'_> {
    /// What was not done, as in "could not be read".
    fn done(self) -> &'static str {
        match self {
            Target::List { .. } | Target::Get { .. } => "read",
            Target::Put { .. } => "written",
            Target::Delete { .. } => "deleted",
        }
    }
}

/// What the errors of a source say about it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) url: super::super::SourceUrl,
    pub(super) bucket: String,
    /// `AWS (us-east-1)`, or the server's URL.
    pub(super) endpoint: String,
    pub(super) signed: bool,
}

impl Place {
    pub(super) fn of(&self, target: Target<'_>) -> String {
        match target {
            Target::List { prefix: key }
            | Target::Get { key }
            | Target::Put { key }
            | Target::Delete { key } => self.url.of_key(key),
        }
    }
}

/// One attempt that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) cause: Cause,
    pub(super) retry: Retry,
    pub(super) retry_after: Option<Duration>,
    /// The region that the bucket is in, as the server says.
    pub(super) region: Option<String>,
}

#[derive(Debug)]
pub(super) enum Cause {
    /// The service answered with an error.
    Reply {
        status: u16,
        code: String,
        message: String,
    },
    /// The whole bytes came and contradict their checksum or length.
    Damage(String),
    NoCredentials(String),
    PlainHttp(String),
    /// No answer, or none that can be understood.
    Network(String),
}

const THROTTLED: [&str; 9] = [
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
];
const TRANSIENT: [&str; 9] = [
    "InternalError",
    "ServiceUnavailable",
    "RequestTimeout",
    "RequestTimeoutException",
    "OperationAborted",
    // Two conditional writes of one key met.
    "ConditionalRequestConflict",
    // What was sent did not arrive as it was sent.
    "BadDigest",
    "IncompleteBody",
    "XAmzContentChecksumMismatch",
];
pub(super) const BAD_CREDENTIALS: [&str; 11] = [
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidToken",
    "TokenRefreshRequired",
    "RequestTimeTooSkewed",
    "RequestExpired",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "NotSignedUp",
];
pub(super) const ELSEWHERE: [&str; 5] = [
    "PermanentRedirect",
    "TemporaryRedirect",
    "Redirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
];

impl Failure {
    pub(super) fn network(reason: impl Into<String>) -> Failure {
        Failure::new(Cause::Network(reason.into()), Retry::Yes)
    }

    pub(super) fn damage(reason: impl Into<String>) -> Failure {
        Failure::new(Cause::Damage(reason.into()), Retry::Yes)
    }

    fn new(cause: Cause, retry: Retry) -> Failure {
        Failure { cause, retry, retry_after: None, region: None }
    }

    pub(super) fn of<E>(error: &SdkError<E>) -> Failure
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let mut link: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(cause) = link {
            if let Some(open) = cause.downcast_ref::<OpenHttp>() {
                return Failure::new(Cause::PlainHttp(open.endpoint.clone()), Retry::No);
            }
            link = cause.source();
        }
        match error {
            SdkError::ServiceError(service) => {
                let raw = service.raw();
                let header = |name: &str| raw.headers().get(name).map(str::to_string);
                Failure::reply(raw.status().as_u16(), service.err(), header)
            }
            SdkError::DispatchFailure(dispatch) => {
                let text = chain(error);
                if is_about_credentials(&text) {
                    Failure::new(Cause::NoCredentials(text), Retry::No)
                } else if dispatch.is_user() {
                    Failure::new(Cause::Network(text), Retry::No)
                } else {
                    Failure::new(Cause::Network(text), Retry::Connect)
                }
            }
            SdkError::ConstructionFailure(_) => {
                let text = chain(error);
                let cause = match is_about_credentials(&text) {
                    true => Cause::NoCredentials(text),
                    false => Cause::Network(text),
                };
                Failure::new(cause, Retry::No)
            }
            SdkError::TimeoutError(_) => Failure::new(Cause::Network(chain(error)), Retry::Connect),
            // A 200 whose body is an error, or an answer cut short.
            _ => Failure::network(chain(error)),
        }
    }

    fn reply<E: ProvideErrorMetadata>(
        status: u16,
        error: &E,
        header: impl Fn(&str) -> Option<String>,
    ) -> Failure {
        let code = error.code().unwrap_or_default().to_string();
        let message = error.message().unwrap_or_default().to_string();
        let elsewhere = matches!(status, 301 | 307) || ELSEWHERE.contains(&code.as_str());
        let retry = if status == 429 || THROTTLED.contains(&code.as_str()) || status == 503 {
            Retry::Throttled
        } else if matches!(status, 500 | 502 | 504 | 408) || TRANSIENT.contains(&code.as_str()) {
            Retry::Yes
        } else {
            Retry::No
        };
        let seconds = header("retry-after").and_then(|text| text.parse().ok());
        let region = header("x-amz-bucket-region")
            .or_else(|| expected_region(&message))
            .filter(|region| elsewhere && is_region(region));
        Failure {
            cause: Cause::Reply { status, code, message },
            retry,
            retry_after: seconds.map(Duration::from_secs),
            region,
        }
    }

    /// The error of a request that is given up.
    pub(super) fn into_error(
        self,
        place: &Place,
        target: Target<'_>,
        used_region: &str,
        attempts: u32,
    ) -> StoreError {
        let url = place.of(target);
        match self.cause {
            Cause::PlainHttp(endpoint) => StoreError::PlainHttp { endpoint },
            Cause::NoCredentials(text) => {
                StoreError::NoCredentials { url, reason: credentials_reason(&text) }
            }
            Cause::Damage(reason) => StoreError::Damaged { url, attempts, reason },
            Cause::Network(reason) => StoreError::Unavailable {
                url,
                done: target.done(),
                attempts,
                reason: shown(&reason),
                advice: "check the network, --endpoint-url and --region, then run again",
            },
            Cause::Reply { status, ref code, ref message } => {
                let reply = reply_text(status, code, message);
                if self.retry != Retry::No {
                    return StoreError::Unavailable {
                        url,
                        done: target.done(),
                        attempts,
                        reason: reply,
                        advice: "run again later",
                    };
                }
                let reply = Reply { status, code, message, text: reply };
                refusal(reply, place, target, used_region, self.region)
            }
        }
    }
}

/// The SDK wraps these errors in types that it doesn't export, so their words must do.
fn is_about_credentials(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["credential", "identity resol", "token provider"].iter().any(|word| text.contains(word))
}

/// `the region 'us-east-1' is wrong; expecting 'eu-west-1'`
fn expected_region(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("expecting '")?;
    let (region, _) = rest.split_once('\'')?;
    Some(region.to_string())
}

/// What comes from a server and goes into a host name is checked first.
fn is_region(text: &str) -> bool {
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=40).contains(&text.len()) && text.bytes().all(known)
}

/// The texts of an error and its causes, without those that only repeat the one before, and
/// without this machine's secrets, should a helper program have printed them.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut link = error.source();
    while let Some(cause) = link {
        let next = cause.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        link = cause.source();
    }
    for name in ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
        if let Ok(secret) = std::env::var(name)
            && secret.len() >= 8
        {
            text = text.replace(&secret, "…");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::error::ErrorMetadata;

    use super::*;

    struct Given(ErrorMetadata);

    impl ProvideErrorMetadata for Given {
        fn meta(&self) -> &ErrorMetadata {
            &self.0
        }
    }

    fn failure(status: u16, code: &str, message: &str) -> Failure {
        let meta = ErrorMetadata::builder().code(code).message(message).build();
        Failure::reply(status, &Given(meta), |_| None)
    }

    fn place() -> Place {
        Place {
            url: "s3://bucket/raw/".parse().unwrap(),
            bucket: "bucket".into(),
            endpoint: "AWS (us-east-1)".into(),
            signed: true,
        }
    }

    fn error(target: Target<'_>, status: u16, code: &str, message: &str) -> StoreError {
        failure(status, code, message).into_error(&place(), target, "us-east-1", 1)
    }

    const GET: Target<'_> = Target::Get { key: "2022/a.gz" };
    const LIST: Target<'_> = Target::List { prefix: "2022/" };
    const PUT: Target<'_> = Target::Put { key: "2022/a.json" };
    const DELETE: Target<'_> = Target::Delete { key: "2022/a.json" };

    #[test]
    fn replies_mean_what_the_reference_says() {
        for (target, status, code, kind) in [
            (GET, 404, "NoSuchKey", "gone"),
            (GET, 404, "NoSuchBucket", "no_bucket"),
            (LIST, 404, "NoSuchBucket", "no_bucket"),
            (GET, 412, "PreconditionFailed", "changed"),
            (GET, 416, "InvalidRange", "changed"),
            (GET, 403, "InvalidObjectState", "archived"),
            (GET, 403, "AccessDenied", "denied"),
            (GET, 400, "KMS.DisabledException", "denied"),
            (LIST, 403, "AllAccessDisabled", "denied"),
            (LIST, 403, "InvalidAccessKeyId", "bad_credentials"),
            (LIST, 400, "ExpiredToken", "bad_credentials"),
            (LIST, 403, "RequestTimeTooSkewed", "bad_credentials"),
            (LIST, 301, "PermanentRedirect", "wrong_region"),
            (LIST, 400, "AuthorizationHeaderMalformed", "wrong_region"),
            (LIST, 503, "SlowDown", "unavailable"),
            (GET, 500, "InternalError", "unavailable"),
            (GET, 400, "InvalidRequest", "refused"),
            (PUT, 404, "NoSuchBucket", "no_bucket"),
            (PUT, 403, "AccessDenied", "denied"),
            (PUT, 503, "SlowDown", "unavailable"),
            (PUT, 404, "NoSuchUpload", "refused"),
        ] {
            assert_eq!(error(target, status, code, "").kind(), kind, "{status} {code}");
        }
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
        for (status, code, retry) in [
            (503, "SlowDown", Retry::Throttled),
            (503, "", Retry::Throttled),
            (429, "TooManyRequests", Retry::Throttled),
            (400, "RequestThrottled", Retry::Throttled),
            (500, "InternalError", Retry::Yes),
            (400, "RequestTimeout", Retry::Yes),
            (400, "BadDigest", Retry::Yes),
            (409, "ConditionalRequestConflict", Retry::Yes),
            (403, "AccessDenied", Retry::No),
            (404, "NoSuchKey", Retry::No),
            (412, "PreconditionFailed", Retry::No),
            (400, "ExpiredToken", Retry::No),
        ] {
            assert_eq!(failure(status, code, "").retry, retry, "{status} {code}");
        }
    }

    #[test]
    fn a_denial_names_the_permission_that_is_missing() {
        for (target, message, permission) in [
            (LIST, "Access Denied", "s3:ListBucket"),
            (GET, "Access Denied", "s3:GetObject"),
            (GET, "The ciphertext refers to a customer KMS key", "kms:Decrypt"),
            (PUT, "Access Denied", "s3:PutObject"),
            (PUT, "not authorized to perform: kms:GenerateDataKey", "kms:GenerateDataKey"),
            (DELETE, "Access Denied", "s3:DeleteObject"),
        ] {
            let text = error(target, 403, "AccessDenied", message).to_string();
            assert!(text.contains(permission), "{text}");
            assert!(text.contains("s3://bucket/raw/2022/"), "{text}");
        }
        let text = failure(403, "AccessDenied", "")
            .into_error(&Place { signed: false, ..place() }, LIST, "us-east-1", 1)
            .to_string();
        assert!(text.contains("leave out --no-sign-request"), "{text}");
    }

    #[test]
    fn a_region_is_taken_from_the_message_and_never_unchecked() {
        let message = "the region 'us-east-1' is wrong; expecting 'eu-west-1'";
        let found = failure(400, "AuthorizationHeaderMalformed", message).region;
        assert_eq!(found.as_deref(), Some("eu-west-1"));
        let bad = "expecting 'evil.example.com/'";
        assert_eq!(failure(400, "AuthorizationHeaderMalformed", bad).region, None);
        assert_eq!(failure(403, "AccessDenied", message).region, None);
    }
}
