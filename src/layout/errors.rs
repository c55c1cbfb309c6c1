//! Where a stream puts the records that it could not deliver, beside or below its data.
//!
//! Without an error prefix of its own a stream puts them under its prefix, the type of the error
//! and the hours: `processing-failed/2022/04/17/15/`. By
//! <https://docs.aws.amazon.com/firehose/latest/dev/s3-prefixes.html>.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::{
    Exclusion, Expression, Fit, Grain, KeyInfo, Layout, LayoutError, Part, Prefix, Spelled,
};
use crate::window::HourRange;

/// The column that tells recovered records from others: the type of the error, such as
/// `processing-failed`.
pub const RECOVERED: &str = "recovered";
/// What a folder of error output ends with, whatever the type.
pub(super) const FAILED: &str = "-failed";

/// The types that Firehose's documentation names.
const TYPES: [&str; 6] = [
    "processing-failed",
    "format-conversion-failed",
    "decompression-failed",
    "AmazonOpenSearchService-failed",
    "splunk-failed",
    "http-endpoint-failed",
];

/// Whether a folder of a key is one of error output; `fit` is how the layout of data reads the key. A
/// value that the layout has a place for may be anything, `login-failed`, too, but none of the types.
pub(super) fn is_error_output(folder: &str, fit: Fit) -> bool {
    let is_alike = folder.ends_with(FAILED) && !folder.contains('=') && fit != Fit::Right;
    TYPES.contains(&folder) || is_alike
}

/// A stream's error prefix, as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPrefix(Expression);

impl ErrorPrefix {
    /// What comes in front of the first expression.
    pub fn lead(&self) -> &str {
        self.0.literal_lead()
    }
}

impl FromStr for ErrorPrefix {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        Expression::of_errors(text, RECOVERED).map(ErrorPrefix)
    }
}

impl fmt::Display for ErrorPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How the keys of error output are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorOutput {
    /// By its own prefix.
    own: Layout,
    /// Of the data; folders of errors may lie below its hours.
    data: Layout,
}

impl ErrorOutput {
    /// Of a source with this layout, and with this error prefix where one is configured.
    pub fn of(data: &Layout, prefix: Option<&ErrorPrefix>) -> ErrorOutput {
        let expression = ErrorOutput::expression(data.prefix(), prefix);
        let own = Layout::new(Prefix::Of(expression), data.zones().clone());
        ErrorOutput { own, data: data.clone() }
    }

    /// What keys of error output begin with, of a stream with this prefix for its data.
    pub(super) fn expression(data: &Prefix, prefix: Option<&ErrorPrefix>) -> Expression {
        match prefix {
            // Firehose appends type and hours to a prefix without expressions.
            Some(ErrorPrefix(expression)) if expression.is_literal() => {
                ErrorOutput::with_type(expression.clone())
            }
            Some(ErrorPrefix(expression)) => expression.clone(),
            None => {
                let text = match data {
                    Prefix::Of(expression) if expression.is_literal() => expression.literal_lead(),
                    prefix => prefix.literal_folders(),
                };
                let parts = match text {
                    "" => Vec::new(),
                    text => vec![Part::Text(text.to_string())],
                };
                ErrorOutput::with_type(Expression { parts })
            }
        }
    }

    fn with_type(lead: Expression) -> Expression {
        let appended: ErrorPrefix = "!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd/HH/}"
            .parse()
            .expect("it is an expression");
        Expression { parts: lead.parts.into_iter().chain(appended.0.parts).collect() }
    }

    /// The prefixes of these hours, as far as they follow from the hours alone.
    pub fn spell(&self, hours: &HourRange, grain: Grain) -> BTreeSet<Spelled> {
        self.own.spell(hours, grain)
    }

    /// False for folders that hold no error output: every type of errors ends alike.
    pub fn may_hold_errors(folder: &str) -> bool {
        folder.contains(FAILED)
    }

    /// True for the key of an object with undelivered records.
    pub fn contains(&self, key: &str) -> bool {
        self.data.exclusion(key, 1) == Some(Exclusion::ErrorOutput)
    }

    /// Reads a key of error output. Its one partition value is the type of the errors.
    pub fn read(&self, key: &str) -> KeyInfo {
        let (fit, ..) = self.own.readings(key);
        let by_own = fit == Fit::Right;
        let mut info = if by_own { self.own.read(key) } else { self.data.read(key) };
        if !by_own || info.partition.len() != 1 {
            let mut folders = key.rsplit('/').skip(1);
            let failed = folders.find(|folder| folder.ends_with(FAILED));
            info.partition = vec![failed.unwrap_or("error-output").to_string()];
        }
        info
    }
}
