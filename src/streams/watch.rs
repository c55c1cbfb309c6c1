//! What CloudWatch can say of a delivery stream on AWS; a message of its error log → a code and a text. Pure.
//!
//! The log: <https://docs.aws.amazon.com/firehose/latest/dev/monitoring-with-cloudwatch-logs.html>.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::failure::StreamError;
use crate::store::shown;

/// What a delivery stream did since a time, whoever sent the records. CloudWatch has it minutes late.
#[derive(Clone, PartialEq, Debug)]
pub struct Counted {
    /// The minute in which it begins, or the longer step that CloudWatch still has.
    pub since_utc: DateTime<Utc>,
    /// `None` where it has no number yet.
    pub delivered: Option<u64>,
    /// Records that came in, from producers or from a stream.
    pub taken_in: Option<u64>,
    /// The lowest share of puts to the bucket that succeeded in a minute, from 0 to 1.
    pub success: Option<f64>,
    /// The age of the oldest record that it held in the newest minute.
    pub oldest: Option<Duration>,
}

/// What the error log of a delivery stream says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ErrorLog {
    Newest(LoggedError),
    Empty,
    /// There is no such group: errors are not logged.
    Missing(String),
    /// Why it could not be read.
    Unread(String),
}

/// One message of an error log. Its texts are safe to show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoggedError {
    /// As `S3.AccessDenied`.
    pub code: Option<String>,
    pub message: String,
    pub at_utc: DateTime<Utc>,
}

/// What did not work, and whether it may go better another time.
#[derive(Debug)]
pub struct Unwatched {
    pub why: String,
    pub again: bool,
}

/// `/aws/kinesisfirehose/events`, as the console names it.
pub fn log_group(name: &str) -> String {
    format!("/aws/kinesisfirehose/{name}")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    error_code: Option<String>,
    message: String,
}

impl LoggedError {
    /// Firehose writes JSON; what is none is shown as it is.
    pub fn of(text: &str, at_utc: DateTime<Utc>) -> LoggedError {
        let text = text.trim();
        let parsed = serde_json::from_str(text);
        let Message { error_code, message } =
            parsed.unwrap_or_else(|_| Message { error_code: None, message: text.to_string() });
        let code = error_code.map(|code| shown(code.trim())).filter(|code| !code.is_empty());
        LoggedError { code, message: shown(message.trim()), at_utc }
    }
}

impl From<StreamError> for Unwatched {
    fn from(error: StreamError) -> Unwatched {
        Unwatched { why: error.to_string(), again: false }
    }
}

/// Nothing, in a build that does not ask CloudWatch.
#[cfg(not(feature = "cloudwatch"))]
pub enum Watch {}

#[cfg(not(feature = "cloudwatch"))]
impl Watch {
    /// # Errors
    /// Always.
    pub fn open(_: &str, _: &super::Reach) -> Result<Watch, Unwatched> {
        let why = "this rawcat does not ask CloudWatch: build it with `cargo install --path . --features \
                   cloudwatch`";
        Err(Unwatched { why: why.to_string(), again: false })
    }

    /// # Errors
    /// None: there is no such value.
    pub fn counted(
        &self,
        _: DateTime<Utc>,
        _: DateTime<Utc>,
        _: &std::sync::atomic::AtomicBool,
    ) -> Result<Counted, Unwatched> {
        match *self {}
    }

    pub fn errors(
        &self,
        _: DateTime<Utc>,
        _: DateTime<Utc>,
        _: &std::sync::atomic::AtomicBool,
    ) -> ErrorLog {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logged_error_has_its_code_and_is_safe_to_show() {
        let at = DateTime::UNIX_EPOCH;
        let text = r#" {"deliveryStreamARN":"arn","message":"Access was denied.\u001b[2J","errorCode":"S3.AccessDenied"}"#;
        let error = LoggedError::of(text, at);
        assert_eq!(error.code.as_deref(), Some("S3.AccessDenied"));
        assert_eq!(error.message, "Access was denied.\\u{1b}[2J");
        for text in ["no JSON\u{202e}", "{\"a\":1}", "[]"] {
            let error = LoggedError::of(text, at);
            assert_eq!((error.code, error.message), (None, shown(text)));
        }
    }
}
