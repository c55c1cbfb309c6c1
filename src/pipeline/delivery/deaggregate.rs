//! One record that is several → each of them. By
//! <https://docs.aws.amazon.com/firehose/latest/dev/dynamic-partitioning-multirecord-deaggergation.html>.
//! Pure.

use serde_json::value::RawValue;

use super::entry::{Entry, Failure};

/// How the parts of a record are told apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Deaggregation {
    /// JSON objects, one behind another, with white space or nothing between them.
    Json,
    /// This text stands between them.
    Delimited(Vec<u8>),
}

/// Firehose takes no more parts out of one record.
const MOST_PARTS: usize = 500;
const CODE: &str = "MultiRecordDeaggregationFailed";

impl Deaggregation {
    /// The parts of a record, in their order, or why it has none.
    pub fn apply(&self, entry: Entry) -> Result<Vec<Entry>, (Entry, Failure)> {
        let parts = match self {
            Deaggregation::Json => objects(&entry.data),
            Deaggregation::Delimited(delimiter) => Ok(split(&entry.data, delimiter)),
        };
        let parts = match parts {
            Ok(parts) if parts.len() > MOST_PARTS => {
                let message = format!("it has {} parts; {MOST_PARTS} are taken", parts.len());
                return Err((entry, Failure::processing(CODE, message, 1)));
            }
            Err(message) => return Err((entry, Failure::processing(CODE, message, 1))),
            Ok(parts) => parts,
        };
        let numbered = parts.into_iter().zip(0..);
        let entry = &entry;
        Ok(numbered
            .map(|(data, part)| Entry {
                part,
                data,
                partition_key: entry.partition_key.clone(),
                ..Entry { data: Vec::new(), partition_key: String::new(), ..*entry }
            })
            .collect())
    }
}

fn objects(data: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut parts = Vec::new();
    for value in serde_json::Deserializer::from_slice(data).into_iter::<&RawValue>() {
        let text = value.map_err(|problem| format!("it is no JSON: {problem}"))?.get();
        if !text.starts_with('{') {
            return Err("a part of it is no JSON object".to_string());
        }
        parts.push(text.as_bytes().to_vec());
    }
    Ok(parts)
}

fn split(data: &[u8], delimiter: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    let mut from = 0;
    for at in memchr::memmem::find_iter(data, delimiter) {
        parts.push(&data[from..at]);
        from = at + delimiter.len();
    }
    parts.push(&data[from..]);
    parts.into_iter().filter(|part| !part.is_empty()).map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(how: &Deaggregation, data: &str) -> Result<Vec<String>, String> {
        let entry = Entry {
            shard: 1,
            number: 2,
            part: 0,
            arrival_us: 3,
            partition_key: "k".to_string(),
            data: data.as_bytes().to_vec(),
        };
        let parts = how.apply(entry).map_err(|(_, failure)| failure.message)?;
        assert!(parts.iter().zip(0..).all(|(entry, part)| entry.part == part && entry.number == 2));
        Ok(parts.into_iter().map(|entry| String::from_utf8(entry.data).unwrap()).collect())
    }

    #[test]
    fn glued_objects_are_told_apart_and_line_feeds_between_them_go() {
        let json = Deaggregation::Json;
        assert_eq!(
            parts(&json, "{\"a\":1}{\"a\":{}}\n{}").unwrap(),
            [r#"{"a":1}"#, r#"{"a":{}}"#, "{}"]
        );
        assert!(parts(&json, "[{}]").unwrap_err().contains("no JSON object"));
        assert!(parts(&json, "{}{").unwrap_err().contains("no JSON"));
        assert!(parts(&json, &"{}".repeat(501)).unwrap_err().contains("501"));
    }

    #[test]
    fn a_delimiter_tells_texts_apart() {
        let delimited = Deaggregation::Delimited(b"####".to_vec());
        assert_eq!(parts(&delimited, "a####b########c####").unwrap(), ["a", "b", "c"]);
    }
}
