//! `kinesis://name`, `firehose://name` → a stream. Nothing is opened here.

use std::fmt;
use std::str::FromStr;

use crate::store::shown;

/// A stream, as it was meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StreamUrl {
    Kinesis(String),
    Firehose(String),
}

/// A text that names no stream.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{text} is no stream: {reason}")]
pub struct BadStreamUrl {
    text: String,
    reason: &'static str,
}

impl StreamUrl {
    pub fn name(&self) -> &str {
        match self {
            StreamUrl::Kinesis(name) | StreamUrl::Firehose(name) => name,
        }
    }

    /// Whether a text is meant as the URL of a stream, be it a good one or not.
    pub fn is_meant(text: &str) -> bool {
        ["kinesis:", "firehose:"].iter().any(|scheme| {
            text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        })
    }
}

impl FromStr for StreamUrl {
    type Err = BadStreamUrl;

    fn from_str(text: &str) -> Result<Self, BadStreamUrl> {
        let bad = |reason| BadStreamUrl { text: shown(text), reason };
        let (scheme, name) = text
            .split_once("://")
            .ok_or_else(|| bad("write kinesis://name-of-the-stream or firehose://name"))?;
        let name = name.strip_suffix('/').unwrap_or(name);
        // Both services allow these.
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.is_empty() || name.len() > 128 || !name.chars().all(known) {
            return Err(bad("a stream's name has 1 to 128 letters, digits, dots, - and _"));
        }
        match scheme.to_ascii_lowercase().as_str() {
            "kinesis" => Ok(StreamUrl::Kinesis(name.to_string())),
            "firehose" => Ok(StreamUrl::Firehose(name.to_string())),
            _ => Err(bad("write kinesis://name-of-the-stream or firehose://name")),
        }
    }
}

impl fmt::Display for StreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamUrl::Kinesis(name) => write!(f, "kinesis://{name}"),
            StreamUrl::Firehose(name) => write!(f, "firehose://{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_a_service_and_a_name() {
        for (text, read) in [
            ("kinesis://my-stream_1.x", "kinesis://my-stream_1.x"),
            ("Kinesis://a/", "kinesis://a"),
            ("firehose://b", "firehose://b"),
        ] {
            assert_eq!(text.parse::<StreamUrl>().unwrap().to_string(), read);
        }
        for text in ["", "a", "kinesis:a", "kinesis://", "kinesis://a/b", "s3://a", "kinesis://ü"]
        {
            assert!(text.parse::<StreamUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_begins_like_a_stream_is_meant_as_one() {
        assert!(StreamUrl::is_meant("KINESIS://x") && StreamUrl::is_meant("firehose:x"));
        assert!(!StreamUrl::is_meant("kinesis") && !StreamUrl::is_meant("한국어 자료"));
    }
}
