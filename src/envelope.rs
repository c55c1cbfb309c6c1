//! Envelopes in which other services wrap records: the bytes of one record go in, the records in it
//! come out, glued. Records that are no envelope come out as they went in.
//!
//! - CloudWatch Logs: one record for each log event, with `log_group`, `log_stream`, `owner`, `event_id`,
//!   `timestamp` (ms) and `message`; a message that is a JSON object stands under `json` in its place,
//!   so that `message` stays text in logs that mix both. Members that are not listed here are in
//!   each record as they are.
//! - Kinesis and Lambda: the records in the data of each of `Records`, with `kinesis` for sequence
//!   number, partition key and arrival. Data that is itself an envelope of CloudWatch Logs is opened.
//! - SNS: the JSON object in `Message`, as SES and S3 events come, with `sns` for what the
//!   notification says; a message that is text stays.
//!
//! What is added never takes the place of a member that a record has. Left out are the lists below
//! of what the services say of themselves, and a record with any other member that there is no place
//! for is taken for none of theirs: it stays as it is.
//!
//! EventBridge and SES events need no opening: their fields become columns and their times are known
//! as they are. Values are copied as they are written, so that numbers stay exact. Pure.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use crate::codec::{DecodeLimits, Decoder, Input, Step};
use crate::json::{Apart, Members};

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

/// Why an envelope is quarantined, or one datum in it. Texts stand in manifests and never change.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EnvelopeProblem {
    #[error("envelope of Kinesis with data that is no base64")]
    NotBase64,
    #[error("envelope of Kinesis with data that can't be decompressed: {0}")]
    Compressed(String),
    #[error("envelope of Kinesis with data that is no JSON object")]
    NotAnObject,
    #[error("envelope of records that take too much room when they are opened")]
    TooLarge,
}

/// Of a log event, in this order, in front of all else.
const OF_LOG_EVENTS: [&str; 7] =
    ["log_group", "log_stream", "owner", "event_id", "timestamp", "message", "json"];
/// What Lambda says of a Kinesis record, besides `kinesis`.
const OF_KINESIS_EVENTS: [&str; 7] = [
    "eventSource",
    "eventVersion",
    "eventID",
    "eventName",
    "invokeIdentityArn",
    "awsRegion",
    "eventSourceARN",
];
const IN_KINESIS: [&str; 5] = [
    "sequenceNumber",
    "partitionKey",
    "approximateArrivalTimestamp",
    "kinesisSchemaVersion",
    "encryptionType",
];
/// How many of those are worth keeping.
const KEPT_OF_KINESIS: usize = 3;
const IN_NOTIFICATION: [&str; 11] = [
    "TopicArn",
    "MessageId",
    "Subject",
    "Timestamp",
    "MessageAttributes",
    "Type",
    "SignatureVersion",
    "Signature",
    "SigningCertURL",
    "UnsubscribeURL",
    "SequenceNumber",
];
const KEPT_OF_NOTIFICATION: usize = 5;

impl Envelope {
    /// Bytes at the front of an object by which it is known.
    pub const LOOKED_AT: usize = 16 << 10;

    /// The envelope in which an object's records are, by its beginning. It is a guess:
    /// [`Opener::open`] looks at each record.
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
}

type Found = Result<Option<Opened>, EnvelopeProblem>;

/// Opens envelopes, one record after another.
pub struct Opener {
    envelope: Envelope,
    apart: Apart,
    /// Of what one datum decompresses to.
    limits: DecodeLimits,
    /// Bytes that all the records of an object may take.
    max_bytes: usize,
}

impl Opener {
    pub fn new(
        envelope: Envelope,
        limits: DecodeLimits,
        max_record_bytes: usize,
        max_bytes: usize,
    ) -> Self {
        Opener { envelope, apart: Apart::new(max_record_bytes), limits, max_bytes }
    }

    /// Appends the records in one valid record to `out`, a line feed behind each; a record that is no
    /// such envelope as it is. What gives no record goes to `bad`: where in the record, and why.
    pub fn open(
        &mut self,
        record: &[u8],
        out: &mut Vec<u8>,
        bad: &mut impl FnMut(Range<usize>, EnvelopeProblem),
    ) -> Opened {
        let before = out.len();
        let found = match self.envelope {
            Envelope::CloudWatchLogs => self.logs(record, out),
            Envelope::Kinesis => self.kinesis(record, out, bad),
            Envelope::Sns => Ok(self.notification(record, out)),
        };
        match found {
            Ok(Some(opened)) => opened,
            Ok(None) => {
                out.truncate(before);
                out.extend_from_slice(record);
                out.push(b'\n');
                Opened { records: 1, ..Opened::default() }
            }
            Err(problem) => {
                out.truncate(before);
                bad(0..record.len(), problem);
                Opened::default()
            }
        }
    }

    /// `None`: the record is another one.
    fn logs(&mut self, record: &[u8], out: &mut Vec<u8>) -> Found {
        let is_like = |word: &[u8]| memchr::memmem::find(record, word).is_some();
        if !is_like(b"\"messageType\"") || !is_like(b"\"logEvents\"") {
            return Ok(None);
        }
        let Some(Members(members)) = Members::of(record) else { return Ok(None) };
        let (mut kind, mut events) = (None, None);
        let (mut group, mut stream, mut owner) = (None, None, None);
        let mut others = Vec::new();
        for (name, value) in &members {
            match &**name {
                "messageType" => kind = serde_json::from_str::<Cow<'_, str>>(value.get()).ok(),
                "logEvents" => events = serde_json::from_str::<Vec<&RawValue>>(value.get()).ok(),
                "logGroup" => group = Some(*value),
                "logStream" => stream = Some(*value),
                "owner" => owner = Some(*value),
                "subscriptionFilters" => {}
                _ => others.push((name, *value)),
            }
        }
        let (Some(kind), Some(events)) = (kind, events) else { return Ok(None) };
        match &*kind {
            "CONTROL_MESSAGE" => {
                return Ok(Some(Opened { is_envelope: true, records: 0, is_control: true }));
            }
            "DATA_MESSAGE" if !events.is_empty() || others.is_empty() => {}
            _ => return Ok(None),
        }
        for event in &events {
            let Some(Members(of_event)) = Members::of(event.get().as_bytes()) else {
                return Ok(None);
            };
            let mut object = Object::new(out);
            object.add("log_group", group);
            object.add("log_stream", stream);
            object.add("owner", owner);
            let mut others = others.clone();
            for (name, value) in &of_event {
                match &**name {
                    "id" => object.add("event_id", Some(value)),
                    "timestamp" => object.add("timestamp", Some(value)),
                    "message" => match self.object_in(value) {
                        Some(text) => object.add_text("json", text.trim().as_bytes()),
                        None => object.add("message", Some(value)),
                    },
                    _ => others.push((name, value)),
                }
            }
            for (at, (name, value)) in others.iter().enumerate() {
                let is_same = |other: &str| other.eq_ignore_ascii_case(name);
                let mut named = others[..at].iter().map(|(other, _)| &***other);
                if named.any(is_same) || OF_LOG_EVENTS.into_iter().any(is_same) {
                    return Ok(None);
                }
                object.add(name, Some(value));
            }
            object.end();
            self.has_room(out)?;
        }
        let records = events.len() as u64;
        Ok(Some(Opened { is_envelope: true, records, is_control: false }))
    }

    fn kinesis(
        &mut self,
        record: &[u8],
        out: &mut Vec<u8>,
        bad: &mut impl FnMut(Range<usize>, EnvelopeProblem),
    ) -> Found {
        let Some(data) = kinesis_data(record) else { return Ok(None) };
        let mut sum = Opened { is_envelope: true, ..Opened::default() };
        for KinesisData { data, notes } in data {
            let before = out.len();
            match self.datum(data, &notes, out) {
                Ok(records) => sum.records += records,
                Err(EnvelopeProblem::TooLarge) => return Err(EnvelopeProblem::TooLarge),
                Err(problem) => {
                    out.truncate(before);
                    let start = data.get().as_ptr() as usize - record.as_ptr() as usize;
                    bad(start..start + data.get().len(), problem);
                }
            }
        }
        Ok(Some(sum))
    }

    /// Appends the records of one datum; how many.
    fn datum(
        &mut self,
        data: &RawValue,
        notes: &Notes<'_>,
        out: &mut Vec<u8>,
    ) -> Result<u64, EnvelopeProblem> {
        let data: Cow<'_, str> =
            serde_json::from_str(data.get()).map_err(|_| EnvelopeProblem::NotBase64)?;
        let data = STANDARD.decode(&*data).map_err(|_| EnvelopeProblem::NotBase64)?;
        let data = decompress(data, self.limits)?;
        let mut found: Vec<Range<usize>> = Vec::new();
        let all = self.apart.all(&data, &mut |offset, record| {
            found.push(offset as usize..offset as usize + record.len());
        });
        if all.is_err() || found.is_empty() {
            return Err(EnvelopeProblem::NotAnObject);
        }
        let mut records = 0;
        for range in found {
            let text = &data[range];
            let before = out.len();
            match self.logs(text, out)? {
                Some(logs) => records += logs.records,
                None => {
                    out.truncate(before);
                    records += 1;
                    append_noted(text, "kinesis", notes, out);
                }
            }
            self.has_room(out)?;
        }
        Ok(records)
    }

    fn notification(&mut self, record: &[u8], out: &mut Vec<u8>) -> Option<Opened> {
        let Members(members) = Members::of(record)?;
        let (mut message, mut is_one, mut notes) = (None, false, [None; KEPT_OF_NOTIFICATION]);
        for (name, value) in &members {
            match IN_NOTIFICATION.iter().position(|known| known == name) {
                None if name == "Message" => message = Some(*value),
                None => return None,
                Some(at) if at < KEPT_OF_NOTIFICATION => notes[at] = Some(*value),
                Some(_) => is_one |= name == "Type" && value.get() == "\"Notification\"",
            }
        }
        let object = message.filter(|_| is_one && notes[0].is_some())?;
        let object = self.object_in(object)?;
        let notes: Notes<'_> = IN_NOTIFICATION.into_iter().zip(notes).collect();
        append_noted(object.trim().as_bytes(), "sns", &notes, out);
        Some(Opened { is_envelope: true, records: 1, is_control: false })
    }

    /// The JSON object that a JSON text holds as its text, if it would be a good record.
    fn object_in(&mut self, text: &RawValue) -> Option<String> {
        let text: String = serde_json::from_str(text.get()).ok()?;
        self.apart.is_one_object(text.as_bytes()).then_some(text)
    }

    fn has_room(&self, out: &[u8]) -> Result<(), EnvelopeProblem> {
        if out.len() > self.max_bytes { Err(EnvelopeProblem::TooLarge) } else { Ok(()) }
    }
}

/// What is said of a record, by name.
type Notes<'a> = Vec<(&'static str, Option<&'a RawValue>)>;

struct KinesisData<'a> {
    data: &'a RawValue,
    notes: Notes<'a>,
}

/// The data of an event of Kinesis; `None` for what is none, or has members that are not known.
fn kinesis_data(record: &[u8]) -> Option<Vec<KinesisData<'_>>> {
    let Members(members) = Members::of(record)?;
    let [(name, records)] = &members[..] else { return None };
    let records: Vec<&RawValue> = serde_json::from_str(records.get()).ok()?;
    let data = records.iter().map(|record| {
        let Members(members) = Members::of(record.get().as_bytes())?;
        let mut kinesis = None;
        for (name, value) in members {
            match &*name {
                "kinesis" => kinesis = Some(value),
                name if OF_KINESIS_EVENTS.contains(&name) => {}
                _ => return None,
            }
        }
        let Members(members) = Members::of(kinesis?.get().as_bytes())?;
        let (mut data, mut notes) = (None, [None; KEPT_OF_KINESIS]);
        for (name, value) in members {
            match IN_KINESIS.iter().position(|known| *known == name) {
                None if name == "data" => data = Some(value),
                None => return None,
                Some(at) if at < KEPT_OF_KINESIS => notes[at] = Some(value),
                Some(_) => {}
            }
        }
        let data = data.filter(|data| data.get().starts_with('"'))?;
        Some(KinesisData { data, notes: IN_KINESIS.into_iter().zip(notes).collect() })
    });
    let data: Vec<KinesisData<'_>> = data.collect::<Option<_>>()?;
    (name == "Records" && !data.is_empty()).then_some(data)
}

/// Appends an object with one member more, unless it has one of this name itself.
fn append_noted(object: &[u8], name: &str, notes: &Notes<'_>, out: &mut Vec<u8>) {
    // A name that is no Unicode is another one, and its record is quarantined.
    let has =
        |members: Members<'_>| members.0.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    // The object without its last brace.
    let inside = object[..object.len() - 1].trim_ascii_end();
    out.extend_from_slice(inside);
    if !Members::of(object).is_some_and(has) {
        if inside != b"{" {
            out.push(b',');
        }
        out.extend_from_slice(format!("\"{name}\":").as_bytes());
        let mut note = Object::new(out);
        notes.iter().for_each(|(name, value)| note.add(name, *value));
        note.end();
        out.pop();
    }
    out.extend_from_slice(b"}\n");
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
struct Object<'o> {
    out: &'o mut Vec<u8>,
    is_first: bool,
}

impl<'o> Object<'o> {
    fn new(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Object { out, is_first: true }
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
        serde_json::to_writer(&mut *self.out, name).expect("a text becomes JSON");
        self.out.push(b':');
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

    /// The records, what was opened, and what was bad: its text and why.
    type Result3 = (String, Opened, Vec<(String, EnvelopeProblem)>);

    fn open(envelope: Envelope, record: &str) -> Result3 {
        open_within(envelope, record, usize::MAX)
    }

    fn open_within(envelope: Envelope, record: &str, max_bytes: usize) -> Result3 {
        let mut out = b"before".to_vec();
        let mut opener = Opener::new(envelope, DecodeLimits::default(), 1 << 20, max_bytes);
        let mut bad = Vec::new();
        let opened = opener.open(record.as_bytes(), &mut out, &mut |range, problem| {
            bad.push((record[range].to_string(), problem));
        });
        let text = String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_string();
        (text, opened, bad)
    }

    fn assert_left(envelope: Envelope, record: &str) {
        let expected = (format!("{record}\n"), Opened { records: 1, ..Opened::default() }, vec![]);
        assert_eq!(open(envelope, record), expected);
    }

    const LOGS: &str = r#"{"messageType":"DATA_MESSAGE","owner":"123456789012","logGroup":"/aws/x","logStream":"s",
        "subscriptionFilters":["f"],"logEvents":[{"id":"56100000000000000000000000000000000000000000000000000001",
        "timestamp":1650252896000,"message":"plain \"text\"\n"},{"id":"2","timestamp":1650252896001,
        "message":"{\"n\":12345678901234567890123,\"level\":\"ERROR\"}\n"},{"id":"3","timestamp":3,"message":"[1]"}]}"#;

    #[test]
    fn each_log_event_becomes_a_record_and_a_json_message_is_opened() {
        let (text, opened, _) = open(Envelope::CloudWatchLogs, LOGS);
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
        let (text, opened, _) = open(Envelope::CloudWatchLogs, control);
        assert_eq!((text.as_str(), opened.is_control, opened.records), ("", true, 0));
        for other in [
            r#"{"a":1}"#,
            r#"{"messageType":"x","logEvents":[]}"#,
            r#"{"messageType":"DATA_MESSAGE","logEvents":7}"#,
            r#"{"messageType":5,"logEvents":[]}"#,
            r#"{"messageType":"DATA_MESSAGE","logEvents":[],"user":"bob"}"#,
            r#"{"messageType":"DATA_MESSAGE","logEvents":[{"id":1}],"Event_Id":2}"#,
            r#"{"id":7,"detail":{"messageType":"DATA_MESSAGE","logEvents":[1]}}"#,
        ] {
            assert_left(Envelope::CloudWatchLogs, other);
        }
    }

    #[test]
    fn members_that_are_not_known_are_in_each_log_record() {
        let record = r#"{"messageType":"DATA_MESSAGE","logEvents":[{"id":"1","message":"m",
            "extractedFields":{"level":"E"}},{"id":"2"}],"policy\"Level":"P"}"#;
        let (text, ..) = open(Envelope::CloudWatchLogs, record);
        let expected = [
            r#"{"event_id":"1","message":"m","policy\"Level":"P","extractedFields":{"level":"E"}}"#,
            r#"{"event_id":"2","policy\"Level":"P"}"#,
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_message_that_would_be_no_good_record_stays_text() {
        let deep = format!("{}1{}", r#"{\"a\":"#.repeat(600), "}".repeat(600));
        for message in [r#"{\"a\":\"\\ud800\"}"#, "{} {}", &deep] {
            let record = format!(
                r#"{{"messageType":"DATA_MESSAGE","logEvents":[{{"message":"{message}"}}]}}"#
            );
            let (text, ..) = open(Envelope::CloudWatchLogs, &record);
            assert_eq!(text, format!("{{\"message\":\"{message}\"}}\n"));
        }
    }

    #[test]
    fn an_envelope_that_takes_too_much_room_opened_is_bad_as_a_whole() {
        let (text, _, bad) = open_within(Envelope::CloudWatchLogs, LOGS, 200);
        assert_eq!((text.as_str(), bad), ("", vec![(LOGS.to_string(), EnvelopeProblem::TooLarge)]));
        let record = kinesis(b"{\"a\":1}");
        let (text, _, bad) = open_within(Envelope::Kinesis, &record, 20);
        assert_eq!((text.as_str(), bad), ("", vec![(record, EnvelopeProblem::TooLarge)]));
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
            let (text, opened, _) = open(Envelope::Kinesis, &kinesis(data));
            assert_eq!(text, format!("{expected}{note}\n"));
            assert_eq!((opened.is_envelope, opened.records), (true, 1));
        }
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(LOGS.as_bytes()).unwrap();
        let found = open(Envelope::Kinesis, &kinesis(&gzip.finish().unwrap()));
        assert_eq!(found, open(Envelope::CloudWatchLogs, LOGS));
        let (text, opened, _) = open(Envelope::Kinesis, &kinesis(b"{\"a\":1}\n{\"a\":2}"));
        assert_eq!(text, format!("{{\"a\":1,{note}\n{{\"a\":2,{note}\n"));
        assert_eq!(opened.records, 2);
        let (text, ..) = open(Envelope::Kinesis, &kinesis(b"{\"Kinesis\":1}"));
        assert_eq!(text, "{\"Kinesis\":1}\n");
    }

    #[test]
    fn a_bad_datum_takes_no_neighbour_along() {
        for (data, problem) in [
            (STANDARD.encode("text"), EnvelopeProblem::NotAnObject),
            (STANDARD.encode("{\"a\":1}{\"a\""), EnvelopeProblem::NotAnObject),
            ("%".to_string(), EnvelopeProblem::NotBase64),
        ] {
            let record = format!(
                r#"{{"Records":[{{"kinesis":{{"data":"{data}"}}}},{{"kinesis":{{"data":"e30="}}}}]}}"#
            );
            let (text, opened, bad) = open(Envelope::Kinesis, &record);
            assert_eq!(text, "{\"kinesis\":{}}\n");
            assert_eq!((opened.is_envelope, opened.records), (true, 1));
            assert_eq!(bad, vec![(format!("\"{data}\""), problem)]);
        }
        let cut = kinesis(&[0x1f, 0x8b, 8, 0, 0]);
        let (_, _, bad) = open(Envelope::Kinesis, &cut);
        assert!(matches!(bad[..], [(_, EnvelopeProblem::Compressed(_))]));
    }

    #[test]
    fn what_only_looks_like_an_event_of_kinesis_stays() {
        for other in [
            r#"{"Records":[],"kinesis":{"shards":4}}"#,
            r#"{"Records":[]}"#,
            r#"{"Records":[{"kinesis":{"data":"e30="}}],"user":"bob"}"#,
            r#"{"Records":[{"kinesis":{"data":"e30=","mine":1}}]}"#,
            r#"{"Records":[{"kinesis":{"data":"e30="},"mine":1}]}"#,
            r#"{"Records":[{"kinesis":{"data":7}}]}"#,
        ] {
            assert_left(Envelope::Kinesis, other);
        }
    }

    #[test]
    fn the_json_object_in_a_notification_is_opened() {
        let record = r#"{"Type":"Notification","TopicArn":"t","Message":"{\"mail\":{\"timestamp\":\"2022-04-18T00:00:00Z\"}}","Timestamp":"x"}"#;
        let (text, ..) = open(Envelope::Sns, record);
        let note = r#""sns":{"TopicArn":"t","Timestamp":"x"}"#;
        assert_eq!(
            text,
            format!("{{\"mail\":{{\"timestamp\":\"2022-04-18T00:00:00Z\"}},{note}}}\n")
        );
        for other in [
            r#"{"Type":"Notification","TopicArn":"t","Message":"words"}"#,
            r#"{"Type":"Notification","TopicArn":"t","Message":"{}","mine":1}"#,
            r#"{"Type":"Notification","Message":"{}"}"#,
        ] {
            assert_left(Envelope::Sns, other);
        }
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
