//! Entries → a transformation's answer → outcomes, by the contract of Lambda:
//! <https://docs.aws.amazon.com/firehose/latest/dev/data-transformation-status-model.html>.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::entry::{Entry, Failure};
use super::invoke::{InvokeError, Invoker};

/// Attempts of an invocation that gives no answer: three again, as Firehose has it.
const ATTEMPTS: u32 = 4;
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// Entries of one invocation, at most.
const MOST_RECORDS: usize = 10_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    invocation_id: String,
    delivery_stream_arn: &'a str,
    region: &'a str,
    records: Vec<EventRecord<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventRecord<'a> {
    record_id: &'a str,
    approximate_arrival_timestamp: i64,
    data: String,
}

#[derive(Deserialize)]
struct Answer {
    records: Vec<AnswerRecord>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerRecord {
    record_id: String,
    result: String,
    #[serde(default)]
    data: Option<String>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    partition_keys: HashMap<String, String>,
}

/// What a transformation made of an entry.
pub enum Transformed {
    /// With the partition keys that it gave.
    Ok(Entry, HashMap<String, String>),
    Dropped,
    Failed(Entry, Failure),
}

/// A transformation, and the delivery stream for which it is asked.
pub struct Transform {
    pub invoker: Invoker,
    pub delivery_stream_arn: String,
    pub region: String,
}

impl Transform {
    /// Transforms entries, in as few invocations as their size allows.
    pub fn apply(&self, entries: Vec<Entry>) -> Vec<Transformed> {
        let mut done = Vec::with_capacity(entries.len());
        let mut batch = Vec::new();
        let mut bytes = 0;
        for entry in entries {
            let is_full = bytes + entry.data.len() > self.invoker.spec.batch_bytes;
            if !batch.is_empty() && (is_full || batch.len() >= MOST_RECORDS) {
                self.apply_once(std::mem::take(&mut batch), &mut done);
                bytes = 0;
            }
            bytes += entry.data.len();
            batch.push(entry);
        }
        if !batch.is_empty() {
            self.apply_once(batch, &mut done);
        }
        done
    }

    fn apply_once(&self, entries: Vec<Entry>, done: &mut Vec<Transformed>) {
        let ids: Vec<String> = entries.iter().map(record_id).collect();
        match self.ask(&entries, &ids) {
            Ok(answer) => done.extend(matched(entries, &ids, answer)),
            Err((InvokeError { code, message }, attempts)) => {
                done.extend(entries.into_iter().map(|entry| {
                    Transformed::Failed(entry, Failure::processing(code, message.clone(), attempts))
                }));
            }
        }
    }

    fn ask(&self, entries: &[Entry], ids: &[String]) -> Result<Answer, (InvokeError, u32)> {
        let records = entries.iter().zip(ids).map(|(entry, id)| EventRecord {
            record_id: id,
            approximate_arrival_timestamp: entry.arrival_ms(),
            data: STANDARD.encode(&entry.data),
        });
        let event = Event {
            invocation_id: uuid::Uuid::new_v4().to_string(),
            delivery_stream_arn: &self.delivery_stream_arn,
            region: &self.region,
            records: records.collect(),
        };
        let event = serde_json::to_vec(&event).expect("texts and numbers are JSON");
        let mut wait = FIRST_WAIT;
        let mut attempt = 1;
        loop {
            let answer = self.invoker.invoke(event.clone()).and_then(|answer| {
                serde_json::from_slice(&answer).map_err(|problem| InvokeError {
                    code: "Lambda.JsonProcessingException",
                    message: format!(
                        "its answer is not what Lambda's contract asks for: {problem}"
                    ),
                })
            });
            match answer {
                Ok(answer) => return Ok(answer),
                Err(error) if attempt >= ATTEMPTS => return Err((error, attempt)),
                Err(_) => {}
            }
            attempt += 1;
            std::thread::sleep(wait);
            wait *= 2;
        }
    }
}

/// As Firehose makes them of sequence numbers; one for each part.
fn record_id(entry: &Entry) -> String {
    format!("{}{:06}", entry.sequence_number(), entry.part)
}

/// The answer for each entry. What is said of records that nobody asked about is left alone.
fn matched(
    entries: Vec<Entry>,
    ids: &[String],
    answer: Answer,
) -> impl Iterator<Item = Transformed> {
    let mut by_id: HashMap<String, Vec<AnswerRecord>> = HashMap::new();
    for record in answer.records {
        by_id.entry(record.record_id.clone()).or_default().push(record);
    }
    entries.into_iter().zip(ids).map(move |(entry, id)| {
        let mut found = by_id.remove(id).unwrap_or_default();
        match (found.pop(), found.is_empty()) {
            (Some(record), true) => of_record(entry, record),
            (Some(_), false) => failed(
                entry,
                "Lambda.DuplicatedRecordId",
                "its recordId stands twice in the answer",
            ),
            (None, _) => {
                failed(entry, "Lambda.MissingRecordId", "its recordId is missing in the answer")
            }
        }
    })
}

fn failed(entry: Entry, code: &'static str, message: impl Into<String>) -> Transformed {
    Transformed::Failed(entry, Failure::processing(code, message, 1))
}

fn of_record(entry: Entry, record: AnswerRecord) -> Transformed {
    match record.result.as_str() {
        "Dropped" => Transformed::Dropped,
        "Ok" => match record.data.as_deref().map(|data| STANDARD.decode(data)) {
            Some(Ok(data)) => {
                Transformed::Ok(Entry { data, ..entry }, record.metadata.partition_keys)
            }
            Some(Err(problem)) => {
                let message = format!("its data is no base64: {problem}");
                failed(entry, "Lambda.JsonProcessingException", message)
            }
            None => failed(entry, "Lambda.JsonProcessingException", "it is Ok and has no data"),
        },
        "ProcessingFailed" => failed(
            entry,
            "Lambda.ProcessingFailedStatus",
            "the transformation says ProcessingFailed",
        ),
        other => {
            let result: String = other.chars().take(40).collect();
            let message =
                format!("its result is '{result}': none of Ok, Dropped, ProcessingFailed");
            failed(entry, "Lambda.JsonProcessingException", message)
        }
    }
}
