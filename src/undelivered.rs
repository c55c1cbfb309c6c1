//! Records that Firehose could not deliver: an error record goes in, the record that failed, why and
//! when it arrived come out.
//!
//! Spellings of the fields differ from source to source (`errorCode`, `ErrorCode`, `lastErrorCode`), so
//! names are compared without case. Pure, and off the hot path: `serde_json` reads here.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::codec::{DecodeLimits, Decoder, Input, Step};
use crate::json::Members;
use crate::time::{TimeValue, read_time};

/// Padding may be there or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An error record, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undelivered {
    /// Why: `Lambda.FunctionError`.
    pub code: Option<String>,
    pub message: Option<String>,
    pub attempts: Option<u64>,
    /// When the record arrived, µs UTC.
    pub arrival_us: Option<i64>,
    /// The record's bytes, decompressed where they are in a format that objects are read in.
    pub data: Vec<u8>,
}

/// Why an error record gives no record. Texts stand in manifests and never change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UndeliveredProblem {
    #[error("error record without rawData")]
    NoData,
    #[error("rawData of an error record is no base64")]
    NotBase64,
    #[error("rawData of an error record can't be decompressed: {0}")]
    Compressed(String),
}

impl Undelivered {
    /// Reads one error record, a valid JSON object. What `rawData` decompresses to has the limits of
    /// an object.
    ///
    /// # Errors
    /// [`UndeliveredProblem`], for a record that is to be quarantined.
    pub fn read(record: &[u8], limits: DecodeLimits) -> Result<Undelivered, UndeliveredProblem> {
        let Some(Members(fields)) = Members::of(record) else {
            return Err(UndeliveredProblem::NoData);
        };
        let field = |names: &[&str]| {
            names.iter().find_map(|name| {
                let mut values = fields.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
                values.find_map(|(_, value)| (value.get() != "null").then_some(value.get()))
            })
        };
        let text_of = |value: &str| serde_json::from_str::<String>(value).ok();
        // What is no text stays as it is written.
        let text = |names: &[&str]| {
            field(names).map(|value| text_of(value).unwrap_or_else(|| value.to_string()))
        };
        let number = |names: &[&str]| text(names).and_then(|text| text.parse().ok());
        let arrival = text(&["arrivalTimestamp", "approximateArrivalTimestamp"]);
        let arrival = arrival.and_then(|text| {
            let as_number = read_time(TimeValue::Number(text.as_bytes()), chrono_tz::UTC);
            as_number.or_else(|| read_time(TimeValue::Text(text.as_bytes()), chrono_tz::UTC))
        });
        let raw = field(&["rawData"]).and_then(text_of).ok_or(UndeliveredProblem::NoData)?;
        let bytes = BASE64.decode(raw).map_err(|_| UndeliveredProblem::NotBase64)?;
        Ok(Undelivered {
            code: text(&["errorCode", "lastErrorCode"]),
            message: text(&["errorMessage", "lastErrorMessage"]),
            attempts: number(&["attemptsMade"]),
            arrival_us: arrival.map(|instant| instant.us),
            data: decompress(bytes, limits)?,
        })
    }
}

fn decompress(bytes: Vec<u8>, limits: DecodeLimits) -> Result<Vec<u8>, UndeliveredProblem> {
    let mut decoder = Decoder::new(Input::Whole(bytes), limits);
    let mut data = Vec::new();
    loop {
        match decoder.next_block(&mut data) {
            Ok(Step::More) => {}
            Ok(Step::End) => return Ok(data),
            Err(error) => return Err(UndeliveredProblem::Compressed(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(record: &str) -> Result<Undelivered, UndeliveredProblem> {
        Undelivered::read(record.as_bytes(), DecodeLimits::default())
    }

    #[test]
    fn every_spelling_of_the_fields_is_read() {
        let expected = Undelivered {
            code: Some("Lambda.FunctionError".into()),
            message: Some("it failed".into()),
            attempts: Some(4),
            arrival_us: Some(1_650_240_000_123_000),
            data: br#"{"a":1}"#.to_vec(),
        };
        for record in [
            r#"{"rawData":"eyJhIjoxfQ==","errorCode":"Lambda.FunctionError","errorMessage":"it failed",
                "attemptsMade":4,"arrivalTimestamp":1650240000123,"lambdaARN":"arn:x"}"#,
            r#"{"attemptsMade":"4","arrivalTimestamp":"1650240000123","lastErrorCode":"Lambda.FunctionError",
                "lastErrorMessage":"it failed","EventId":"e","rawData":"eyJhIjoxfQ"}"#,
            r#"{"AttemptsMade":4,"ArrivalTimestamp":"2022-04-18T00:00:00.123Z","ErrorCode":"Lambda.FunctionError",
                "ErrorMessage":"it failed","RawData":"eyJhIjoxfQ==","lambdaArn":null}"#,
        ] {
            assert_eq!(read(record), Ok(expected.clone()), "{record}");
        }
    }

    #[test]
    fn data_that_is_compressed_is_decompressed() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"{\"logEvents\":[]}").unwrap();
        let raw = BASE64.encode(gzip.finish().unwrap());
        let found = read(&format!(r#"{{"rawData":"{raw}"}}"#)).unwrap();
        assert_eq!(found.data, b"{\"logEvents\":[]}");
        let cut = BASE64.encode([0x1f, 0x8b, 8, 0, 0]);
        assert!(matches!(
            read(&format!(r#"{{"rawData":"{cut}"}}"#)),
            Err(UndeliveredProblem::Compressed(_))
        ));
    }

    #[test]
    fn what_is_no_error_record_has_a_reason() {
        assert_eq!(read(r#"{"a":1}"#), Err(UndeliveredProblem::NoData));
        assert_eq!(read(r#"{"rawData":null}"#), Err(UndeliveredProblem::NoData));
        assert_eq!(read(r#"{"rawData":{"a":1}}"#), Err(UndeliveredProblem::NoData));
        let odd =
            format!(r#"{{"rawData":"e30","x":1e400,"y":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        assert_eq!(read(&odd).unwrap().data, b"{}");
        assert_eq!(read(r#"{"rawData":"%%"}"#), Err(UndeliveredProblem::NotBase64));
    }
}
