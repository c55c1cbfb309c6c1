//! Stand-ins for `window` and `store` with the signatures of those rooms, until they are in.

use std::path::PathBuf;
use std::{fmt, str::FromStr};

use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WindowError(String);

pub fn parse_zone(name: &str) -> Result<Tz, WindowError> {
    name.parse()
        .map_err(|_| WindowError(format!("there is no zone '{name}'")))
}

pub fn parse_day(text: &str, now: DateTime<Utc>, tz: Tz) -> Result<NaiveDate, WindowError> {
    let today = now.with_timezone(&tz).date_naive();
    match text {
        "today" => Ok(today),
        "yesterday" => Ok(today - Days::new(1)),
        _ if text.len() == 10 => NaiveDate::parse_from_str(text, "%Y-%m-%d")
            .map_err(|_| WindowError(format!("'{text}' is not a date"))),
        _ => Err(WindowError(format!("'{text}' is not a date"))),
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SourceUrl {
    Folder(PathBuf),
    S3 { bucket: String, prefix: String },
}

impl FromStr for SourceUrl {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            if text.to_ascii_lowercase().starts_with("s3:") {
                return Err(WindowError(format!(
                    "{text} is no source: two slashes are missing, as in s3://bucket/prefix/"
                )));
            }
            return Ok(SourceUrl::Folder(PathBuf::from(text)));
        };
        if scheme != "s3" {
            return Err(WindowError(format!(
                "{text} is no source: only folders and s3://bucket/prefix/ can be read"
            )));
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let slash = if prefix.is_empty() || prefix.ends_with('/') {
            ""
        } else {
            "/"
        };
        Ok(SourceUrl::S3 {
            bucket: bucket.to_string(),
            prefix: format!("{prefix}{slash}"),
        })
    }
}

impl fmt::Display for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceUrl::Folder(path) => write!(f, "{}", path.display()),
            SourceUrl::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}
