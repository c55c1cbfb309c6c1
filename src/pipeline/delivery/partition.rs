//! Records → the values of a prefix's partition keys. Pure.

use std::str::FromStr;

use serde_json::Value;

use super::entry::Failure;

/// Where the value of a partition key is in a record: `.device.os`. What AWS takes is an expression of jq;
/// a path is the part of it that a delivery needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyQuery {
    pub name: String,
    path: Vec<String>,
}

/// A text that is no query.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("'{text}' is no query of a field: write {{name}}=.field, as customer=.customer.id")]
pub struct QueryProblem {
    text: String,
}

pub(super) const CODE: &str = "DynamicPartitioning.MetadataExtractionFailed";
/// Bytes of a value. A name of a folder has no more.
const MOST_BYTES: usize = 255;

impl KeyQuery {
    /// Of a key that is called `name`, by a path such as `.device.os`.
    pub fn of(name: &str, query: &str) -> Result<KeyQuery, QueryProblem> {
        let problem = || QueryProblem { text: format!("{name}={query}") };
        let path = query.trim().strip_prefix('.').ok_or_else(problem)?;
        let path: Vec<String> =
            path.split('.').map(|part| part.trim_matches('"').to_string()).collect();
        let is_plain = |part: &String| {
            !part.is_empty() && !part.contains(['[', ']', '|', '(', ')', '"', ' ', ','])
        };
        match !name.is_empty() && path.iter().all(is_plain) {
            true => Ok(KeyQuery { name: name.to_string(), path }),
            false => Err(problem()),
        }
    }

    /// The query as jq writes it.
    pub fn query(&self) -> String {
        self.path.iter().map(|part| format!(".{part}")).collect()
    }

    /// The value of the key in a record.
    pub fn value_in(&self, record: &Value) -> Result<String, Failure> {
        let mut value = Some(record);
        for part in &self.path {
            value = value.and_then(|value| value.get(part));
        }
        let text = match value {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Bool(truth)) => truth.to_string(),
            _ => return Err(failure(&self.name, "is missing, null, a list or an object")),
        };
        checked(&self.name, text)
    }
}

impl FromStr for KeyQuery {
    type Err = QueryProblem;

    fn from_str(text: &str) -> Result<KeyQuery, QueryProblem> {
        let (name, query) =
            text.split_once('=').ok_or_else(|| QueryProblem { text: text.to_string() })?;
        KeyQuery::of(name.trim(), query)
    }
}

/// A value that may stand in a key, and as a folder's name: it must not lead elsewhere.
pub fn checked(name: &str, text: String) -> Result<String, Failure> {
    let leads_elsewhere = matches!(text.as_str(), "." | "..");
    match text.len() {
        0 => Err(failure(name, "is empty")),
        len if len > MOST_BYTES => Err(failure(name, "is longer than 255 bytes")),
        _ if leads_elsewhere || text.contains('/') || text.contains(char::is_control) => {
            Err(failure(name, "has a slash or a control character, or is '.' or '..'"))
        }
        _ => Ok(text),
    }
}

fn failure(name: &str, what: &str) -> Failure {
    Failure::processing(CODE, format!("the partition key {name} {what}"), 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_found_by_their_path() {
        let record = json!({"a": {"b": "x"}, "n": 7, "t": true, "l": [1], "empty": "", "up": ".."});
        let value = |query: &str| query.parse::<KeyQuery>().unwrap().value_in(&record);
        assert_eq!(value("k=.a.b").unwrap(), "x");
        assert_eq!(value("k=.n").unwrap(), "7");
        assert_eq!(value("k=.t").unwrap(), "true");
        for query in ["k=.l", "k=.a", "k=.none", "k=.empty", "k=.up"] {
            let failure = value(query).unwrap_err();
            assert_eq!(failure.code, CODE, "{query}");
            assert!(failure.message.starts_with("the partition key k "), "{}", failure.message);
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["customer", "=.a", "a=b", "a=.", "a=.b|length", "a=.b[0]", "a=.b..c"] {
            assert!(text.parse::<KeyQuery>().is_err(), "{text}");
        }
        assert_eq!("a= .b.c".parse::<KeyQuery>().unwrap().query(), ".b.c");
    }
}
