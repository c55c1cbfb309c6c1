//! Envelopes in which other services wrap records: the bytes of one record go in, the records in it
//! come out, glued. Records that are no envelope come out as they went in.
//!
//! - CloudWatch Logs: one record for each log event, with `log_group`, `log_stream`, `owner`, `event_id`,
//!   `timestamp` (ms) and `message`; a message that is a JSON object stands under `json` in its place,
//!   so that `message` stays text in logs that mix both.
//! - Kinesis and Lambda: one record for each of `Records`: its data, with `kinesis` for sequence
//!   number, partition key and arrival. Data that is itself an envelope of CloudWatch Logs is opened.
//! - SNS: the JSON object in `Message`, as SES and S3 events come; a message that is text stays.
//!
//! EventBridge and SES events need no opening: their fields become columns and their times are known
//! as they are. Values are copied as they are written, so that numbers stay exact. Pure.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::codec::{DecodeLimits, Decoder, Input, Step};

/// The services whose envelopes are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Envelope {
    CloudWatchLogs,
    Kinesis,
    Sns,
}

/// What one record gave.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Opened {
    /// It was an envelope.
    pub is_envelope: bool,
    /// Records in it.
    pub records: u64,
    /// A message of CloudWatch Logs about itself, without data.
    pub is_control: bool,
}

/// Why an envelope is quarantined, whole. Texts stand in manifests and never change.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EnvelopeProblem {
    #[error("envelope of CloudWatch Logs with other fields than those of its kind")]
    LogEvents,
    #[error("envelope of Kinesis with data that is no base64")]
    NotBase64,
    #[error("envelope of Kinesis with data that can't be decompressed: {0}")]
    Compressed(String),
    #[error("envelope of Kinesis with data that is no JSON object")]
    NotAnObject,
}

#[derive(Deserialize)]
struct Logs<'a> {
    #[serde(rename = "messageType", borrow)]
    message_type: Cow<'a, str>,
    #[serde(borrow)]
    owner: Option<&'a RawValue>,
    #[serde(rename = "logGroup", borrow)]
    log_group: Option<&'a RawValue>,
    #[serde(rename = "logStream", borrow)]
    log_stream: Option<&'a RawValue>,
    #[serde(rename = "logEvents", borrow)]
    log_events: Vec<LogEvent<'a>>,
}

#[derive(Deserialize)]
struct LogEvent<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct KinesisEvent<'a> {
    #[serde(rename = "Records", borrow)]
    records: Vec<KinesisRecord<'a>>,
}

#[derive(Deserialize)]
struct KinesisRecord<'a> {
    #[serde(borrow)]
    kinesis: KinesisData<'a>,
}

#[derive(Deserialize)]
struct KinesisData<'a> {
    #[serde(borrow)]
    data: Cow<'a, str>,
    #[serde(rename = "sequenceNumber", borrow)]
    sequence_number: Option<&'a RawValue>,
    #[serde(rename = "partitionKey", borrow)]
    partition_key: Option<&'a RawValue>,
    #[serde(rename = "approximateArrivalTimestamp", borrow)]
    arrival: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Notification<'a> {
    #[serde(rename = "Type", borrow)]
    kind: Cow<'a, str>,
    #[serde(rename = "TopicArn", borrow)]
    topic: Option<&'a RawValue>,
    #[serde(rename = "Message", borrow)]
    message: &'a RawValue,
}

impl Envelope {
    /// Bytes at the front of an object by which it is known.
    pub const LOOKED_AT: usize = 16 << 10;

    /// The envelope in which an object's records are, by its beginning. It is a guess:
    /// [`Envelope::open`] looks at each record.
    pub fn of_object(bytes: &[u8]) -> Option<Envelope> {
        let front = &bytes[..bytes.len().min(Envelope::LOOKED_AT)];
        let has = |word: &str| memchr::memmem::find(front, word.as_bytes()).is_some();
        if has("\"messageType\"") && (has("DATA_MESSAGE") || has("CONTROL_MESSAGE")) {
            Some(Envelope::CloudWatchLogs)
        } else if has("\"Records\"") && has("\"kinesis\"") {
            Some(Envelope::Kinesis)
        } else if has("\"Notification\"") && has("\"TopicArn\"") {
            Some(Envelope::Sns)
        } else {
            None
        }
    }

    /// Appends the records in one valid record to `out`; a record that is no such envelope as it is.
    ///
    /// # Errors
    /// [`EnvelopeProblem`]; then nothing was appended.
    pub fn open(
        self,
        record: &[u8],
        limits: DecodeLimits,
        out: &mut Vec<u8>,
    ) -> Result<Opened, EnvelopeProblem> {
        let before = out.len();
        let opened = match self {
            Envelope::CloudWatchLogs => open_logs(record, out),
            Envelope::Kinesis => open_kinesis(record, limits, out),
            Envelope::Sns => Ok(open_notification(record, out)),
        };
        match opened {
            Ok(Some(opened)) => Ok(opened),
            Ok(None) => {
                out.extend_from_slice(record);
                out.push(b'\n');
                Ok(Opened { records: 1, ..Opened::default() })
            }
            Err(problem) => {
                out.truncate(before);
                Err(problem)
            }
        }
    }
}

/// `None`: the record is another one.
fn open_logs(record: &[u8], out: &mut Vec<u8>) -> Result<Option<Opened>, EnvelopeProblem> {
    let is_like = |word: &[u8]| memchr::memmem::find(record, word).is_some();
    if !is_like(b"\"messageType\"") || !is_like(b"\"logEvents\"") {
        return Ok(None);
    }
    let logs: Logs<'_> = serde_json::from_slice(record).map_err(|_| EnvelopeProblem::LogEvents)?;
    match &*logs.message_type {
        "DATA_MESSAGE" => {}
        "CONTROL_MESSAGE" => {
            return Ok(Some(Opened { is_envelope: true, records: 0, is_control: true }));
        }
        _ => return Ok(None),
    }
    for event in &logs.log_events {
        let mut members = Members::new(out);
        members.add("log_group", logs.log_group);
        members.add("log_stream", logs.log_stream);
        members.add("owner", logs.owner);
        members.add("event_id", event.id);
        members.add("timestamp", event.timestamp);
        if let Some(message) = event.message {
            match object_in(message) {
                Some(object) => members.add_text("json", object.trim().as_bytes()),
                None => members.add("message", Some(message)),
            }
        }
        members.end();
    }
    let records = logs.log_events.len() as u64;
    Ok(Some(Opened { is_envelope: true, records, is_control: false }))
}

fn open_kinesis(
    record: &[u8],
    limits: DecodeLimits,
    out: &mut Vec<u8>,
) -> Result<Option<Opened>, EnvelopeProblem> {
    let Ok(event) = serde_json::from_slice::<KinesisEvent<'_>>(record) else {
        return Ok(None);
    };
    let mut sum = Opened { is_envelope: true, ..Opened::default() };
    for KinesisRecord { kinesis } in &event.records {
        let data = STANDARD.decode(&*kinesis.data).map_err(|_| EnvelopeProblem::NotBase64)?;
        let data = decompress(data, limits)?;
        let text = data.trim_ascii();
        if serde_json::from_slice::<&RawValue>(text).is_err() || text.first() != Some(&b'{') {
            return Err(EnvelopeProblem::NotAnObject);
        }
        if let Some(logs) = open_logs(text, out)? {
            sum.records += logs.records;
            continue;
        }
        sum.records += 1;
        // The object without its last brace, with one member more.
        let inside = text[..text.len() - 1].trim_ascii_end();
        out.extend_from_slice(inside);
        if inside != b"{" {
            out.push(b',');
        }
        out.extend_from_slice(b"\"kinesis\":");
        let mut members = Members::new(out);
        members.add("sequenceNumber", kinesis.sequence_number);
        members.add("partitionKey", kinesis.partition_key);
        members.add("approximateArrivalTimestamp", kinesis.arrival);
        members.end();
        out.pop();
        out.extend_from_slice(b"}\n");
    }
    Ok(Some(sum))
}

fn open_notification(record: &[u8], out: &mut Vec<u8>) -> Option<Opened> {
    let one: Notification<'_> = serde_json::from_slice(record).ok()?;
    if one.kind != "Notification" || one.topic.is_none() {
        return None;
    }
    let object = object_in(one.message)?;
    out.extend_from_slice(object.trim().as_bytes());
    out.push(b'\n');
    Some(Opened { is_envelope: true, records: 1, is_control: false })
}

/// The JSON object that a JSON text holds as its text.
fn object_in(text: &RawValue) -> Option<String> {
    let text: String = serde_json::from_str(text.get()).ok()?;
    let is_object = text.trim_start().starts_with('{');
    let is_valid = is_object && serde_json::from_str::<&RawValue>(&text).is_ok();
    is_valid.then_some(text)
}

fn decompress(bytes: Vec<u8>, limits: DecodeLimits) -> Result<Vec<u8>, EnvelopeProblem> {
    let mut decoder = Decoder::new(Input::Whole(bytes), limits);
    let mut data = Vec::new();
    loop {
        match decoder.next_block(&mut data) {
            Ok(Step::More) => {}
            Ok(Step::End) => return Ok(data),
            Err(error) => return Err(EnvelopeProblem::Compressed(error.to_string())),
        }
    }
}

/// Writes an object, member by member.
struct Members<'o> {
    out: &'o mut Vec<u8>,
    is_first: bool,
}

impl<'o> Members<'o> {
    fn new(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Members { out, is_first: true }
    }

    fn add(&mut self, name: &str, value: Option<&RawValue>) {
        if let Some(value) = value {
            self.add_text(name, value.get().as_bytes());
        }
    }

    fn add_text(&mut self, name: &str, value: &[u8]) {
        if !std::mem::take(&mut self.is_first) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out.extend_from_slice(value);
    }

    fn end(self) {
        self.out.extend_from_slice(b"}\n");
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn open(envelope: Envelope, record: &str) -> Result<(String, Opened), EnvelopeProblem> {
        let mut out = b"before".to_vec();
        let opened = envelope.open(record.as_bytes(), DecodeLimits::default(), &mut out);
        let text = String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_string();
        match opened {
            Ok(opened) => Ok((text, opened)),
            Err(problem) => {
                assert_eq!(text, "");
                Err(problem)
            }
        }
    }

    const LOGS: &str = r#"{"messageType":"DATA_MESSAGE","owner":"123456789012","logGroup":"/aws/x","logStream":"s",
        "subscriptionFilters":["f"],"logEvents":[{"id":"56100000000000000000000000000000000000000000000000000001",
        "timestamp":1650252896000,"message":"plain \"text\"\n"},{"id":"2","timestamp":1650252896001,
        "message":"{\"n\":12345678901234567890123,\"level\":\"ERROR\"}\n"},{"id":"3","timestamp":3,"message":"[1]"}]}"#;

    #[test]
    fn each_log_event_becomes_a_record_and_a_json_message_is_opened() {
        let (text, opened) = open(Envelope::CloudWatchLogs, LOGS).unwrap();
        let lead = r#"{"log_group":"/aws/x","log_stream":"s","owner":"123456789012","event_id":"#;
        let expected = [
            r#""56100000000000000000000000000000000000000000000000000001","timestamp":1650252896000,"message":"plain \"text\"\n"}"#,
            r#""2","timestamp":1650252896001,"json":{"n":12345678901234567890123,"level":"ERROR"}}"#,
            r#""3","timestamp":3,"message":"[1]"}"#,
        ];
        let expected: String = expected.map(|rest| format!("{lead}{rest}\n")).concat();
        assert_eq!(text, expected);
        assert_eq!(opened, Opened { is_envelope: true, records: 3, is_control: false });
    }

    #[test]
    fn control_messages_hold_no_record_and_other_records_stay() {
        let control = r#"{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1,"message":"CWL CONTROL MESSAGE: Checking health of destination Firehose."}]}"#;
        let (text, opened) = open(Envelope::CloudWatchLogs, control).unwrap();
        assert_eq!((text.as_str(), opened.is_control, opened.records), ("", true, 0));
        for other in [r#"{"a":1}"#, r#"{"messageType":"x","logEvents":[]}"#] {
            let expected = (format!("{other}\n"), Opened { records: 1, ..Opened::default() });
            assert_eq!(open(Envelope::CloudWatchLogs, other), Ok(expected));
        }
        let bad = r#"{"messageType":"DATA_MESSAGE","logEvents":7}"#;
        assert_eq!(open(Envelope::CloudWatchLogs, bad), Err(EnvelopeProblem::LogEvents));
    }

    fn kinesis(data: &[u8]) -> String {
        let data = STANDARD.encode(data);
        format!(
            r#"{{"Records":[{{"kinesis":{{"partitionKey":"p","sequenceNumber":"4954","data":"{data}","approximateArrivalTimestamp":1545084650.987}},"eventID":"e"}}]}}"#
        )
    }

    #[test]
    fn kinesis_data_is_decoded_and_knows_its_sequence_number_and_arrival() {
        let note = r#""kinesis":{"sequenceNumber":"4954","partitionKey":"p","approximateArrivalTimestamp":1545084650.987}}"#;
        for (data, expected) in [(&b"{\"a\":1e400}\n"[..], "{\"a\":1e400,"), (b" { } ", "{")] {
            let (text, opened) = open(Envelope::Kinesis, &kinesis(data)).unwrap();
            assert_eq!(text, format!("{expected}{note}\n"));
            assert_eq!((opened.is_envelope, opened.records), (true, 1));
        }
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(LOGS.as_bytes()).unwrap();
        let (text, opened) = open(Envelope::Kinesis, &kinesis(&gzip.finish().unwrap())).unwrap();
        assert_eq!((text, opened), open(Envelope::CloudWatchLogs, LOGS).unwrap());
        assert_eq!(open(Envelope::Kinesis, &kinesis(b"text")), Err(EnvelopeProblem::NotAnObject));
        let cut = kinesis(&[0x1f, 0x8b, 8, 0, 0]);
        assert!(matches!(open(Envelope::Kinesis, &cut), Err(EnvelopeProblem::Compressed(_))));
        let bad = kinesis(b"{}").replace("\"data\":\"", "\"data\":\"%");
        assert_eq!(open(Envelope::Kinesis, &bad), Err(EnvelopeProblem::NotBase64));
    }

    #[test]
    fn the_json_object_in_a_notification_is_opened() {
        let record = r#"{"Type":"Notification","TopicArn":"t","Message":"{\"mail\":{\"timestamp\":\"2022-04-18T00:00:00Z\"}}","Timestamp":"x"}"#;
        let (text, _) = open(Envelope::Sns, record).unwrap();
        assert_eq!(text, "{\"mail\":{\"timestamp\":\"2022-04-18T00:00:00Z\"}}\n");
        let other = r#"{"Type":"Notification","TopicArn":"t","Message":"words"}"#;
        assert_eq!(open(Envelope::Sns, other).unwrap().0, format!("{other}\n"));
    }

    #[test]
    fn an_object_is_known_by_its_first_record() {
        for (bytes, expected) in [
            (LOGS.to_string(), Some(Envelope::CloudWatchLogs)),
            (kinesis(b"{}"), Some(Envelope::Kinesis)),
            (r#"{"Type":"Notification","TopicArn":"t","Message":""}"#.into(), Some(Envelope::Sns)),
            (r#"{"a":"DATA_MESSAGE"}"#.into(), None),
            (String::new(), None),
        ] {
            assert_eq!(Envelope::of_object(bytes.as_bytes()), expected, "{bytes}");
        }
    }
}
