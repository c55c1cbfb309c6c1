//! Entries that can't be delivered → the error records that are delivered in their place, as Firehose
//! writes them: <https://docs.aws.amazon.com/firehose/latest/dev/data-transformation-failure-handling.html>.
//! Pure but for the clock.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::Utc;
use serde::Serialize;

use super::entry::{Entry, Failure, FailureKind};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProcessingFailed<'a> {
    attempts_made: u32,
    arrival_timestamp: i64,
    error_code: &'a str,
    error_message: &'a str,
    attempt_ending_timestamp: i64,
    raw_data: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    lambda_arn: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FormatConversionFailed<'a> {
    attempts_made: u32,
    arrival_timestamp: i64,
    last_error_code: &'a str,
    last_error_message: &'a str,
    attempt_ending_timestamp: i64,
    raw_data: String,
    sequence_number: String,
    sub_sequence_number: u32,
}

/// A line of an error object. `transform` is who transforms.
pub fn error_record(entry: &Entry, failure: &Failure, transform: Option<&str>) -> Vec<u8> {
    let now_ms = Utc::now().timestamp_millis();
    let raw_data = STANDARD.encode(&entry.data);
    let text = match failure.kind {
        FailureKind::Processing => serde_json::to_vec(&ProcessingFailed {
            attempts_made: failure.attempts,
            arrival_timestamp: entry.arrival_ms(),
            error_code: failure.code,
            error_message: &failure.message,
            attempt_ending_timestamp: now_ms,
            raw_data,
            lambda_arn: transform,
        }),
        FailureKind::FormatConversion => serde_json::to_vec(&FormatConversionFailed {
            attempts_made: failure.attempts,
            arrival_timestamp: entry.arrival_ms(),
            last_error_code: failure.code,
            last_error_message: &failure.message,
            attempt_ending_timestamp: now_ms,
            raw_data,
            sequence_number: entry.sequence_number().to_string(),
            sub_sequence_number: entry.part,
        }),
    };
    let mut line = text.expect("texts and numbers are JSON");
    line.push(b'\n');
    line
}
