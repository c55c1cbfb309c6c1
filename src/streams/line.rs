//! A record of a stream → a line of JSON, for `cat`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::SecondsFormat;
use serde::de::IgnoredAny;

use super::read::Got;

/// The record with all that the stream says of it, and a line feed. Its data stand under `data`: as they
/// are where they are JSON, else as a string; under `data_base64` where they are no text.
pub fn line(record: &Got) -> Vec<u8> {
    let mut line = b"{\"shard\":".to_vec();
    push_text(&mut line, &record.shard);
    line.extend_from_slice(b",\"sequence\":");
    push_text(&mut line, &record.sequence);
    line.extend_from_slice(b",\"arrival\":");
    match record.arrival_utc {
        Some(time) => push_text(&mut line, &time.to_rfc3339_opts(SecondsFormat::Millis, true)),
        None => line.extend_from_slice(b"null"),
    }
    line.extend_from_slice(b",\"key\":");
    push_text(&mut line, &record.partition_key);
    match std::str::from_utf8(&record.data) {
        Err(_) => {
            line.extend_from_slice(b",\"data_base64\":");
            push_text(&mut line, &STANDARD.encode(&record.data));
        }
        Ok(text) => {
            line.extend_from_slice(b",\"data\":");
            match serde_json::from_str::<IgnoredAny>(text) {
                Ok(_) => push_json(&mut line, text.trim()),
                Err(_) => push_text(&mut line, text),
            }
        }
    }
    line.extend_from_slice(b"}\n");
    line
}

/// The record's own bytes, and a line feed where they end with none.
pub fn data_line(record: &Got) -> Vec<u8> {
    let mut line = record.data.clone();
    if line.last() != Some(&b'\n') {
        line.push(b'\n');
    }
    line
}

fn push_text(line: &mut Vec<u8>, text: &str) {
    line.extend_from_slice(serde_json::to_string(text).expect("text is JSON").as_bytes());
}

/// Line breaks inside JSON can only stand between tokens.
fn push_json(line: &mut Vec<u8>, json: &str) {
    line.extend(json.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(data: &[u8]) -> String {
        let record = Got {
            shard: "shardId-000000000000".into(),
            sequence: "49".to_string(),
            arrival_utc: chrono::DateTime::from_timestamp_millis(1_650_240_000_123),
            partition_key: "k\"\n".to_string(),
            data: data.to_vec(),
        };
        let line = String::from_utf8(line(&record)).unwrap();
        let start = "{\"shard\":\"shardId-000000000000\",\"sequence\":\"49\",\
                     \"arrival\":\"2022-04-18T00:00:00.123Z\",\"key\":\"k\\\"\\n\",";
        line.strip_prefix(start).unwrap().strip_suffix("}\n").unwrap().to_string()
    }

    #[test]
    fn data_stand_as_they_are_where_they_are_json() {
        assert_eq!(shown(b"{\"a\": 1e400,\n \"b\":[]}\n"), "\"data\":{\"a\": 1e400,  \"b\":[]}");
        assert_eq!(shown("한\n빛".as_bytes()), "\"data\":\"한\\n빛\"");
        assert_eq!(shown(b"{\"a\":1}{\"b\":2}"), "\"data\":\"{\\\"a\\\":1}{\\\"b\\\":2}\"");
        assert_eq!(shown(b""), "\"data\":\"\"");
        assert_eq!(shown(b"\xff\x00"), "\"data_base64\":\"/wA=\"");
    }
}
