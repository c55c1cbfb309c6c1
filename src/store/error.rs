//! What can go wrong between a URL and its bytes: a fault goes in, a message comes out that says
//! what failed, where, and what to do. Messages never hold secrets, and nothing in them can
//! steer a terminal: control characters of keys and of servers' texts are escaped.

use std::fmt::Write as _;
use std::io;

/// A fault of a source. `key` is relative to the source, `url` is the whole place, escaped.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The source as it was typed can't be understood.
    #[error("{text} is no source: {reason}")]
    BadUrl { text: String, reason: String },

    /// An option contradicts itself or can't be used.
    #[error("{option}: {reason}")]
    BadOption { option: &'static str, reason: String },

    /// The source folder isn't there, or is a file.
    #[error("source folder {path} {reason}; check --source (or `source` in rawcat.toml)")]
    NoFolder { path: String, reason: &'static str },

    /// The machine failed to read a file or a folder.
    #[error("can't read {path}: {source}{}", io_advice(source))]
    Io { path: String, source: io::Error },

    /// The object is no longer the one that was listed: the caller lists again.
    #[error("{url} changed after it was listed ({detail}); list it again")]
    Changed { key: String, url: String, detail: String },

    /// The object was listed (or named) and isn't there.
    #[error("{url} is gone: it was deleted after it was listed, or its name is wrong; list again")]
    Gone { key: String, url: String },

    /// The object lies in an archive class and must be restored before it can be read.
    #[error(
        "{url} is archived: restore it first (`aws s3api restore-object`), or leave it out by a \
         narrower --source"
    )]
    Archived { key: String, url: String },

    /// The service refused what the credentials may not do.
    #[error("can't {doing} {url}: access denied ({reply}); {advice}")]
    Denied {
        doing: &'static str,
        url: String,
        /// The permission that is missing, such as `s3:ListBucket`.
        permission: &'static str,
        reply: String,
        advice: String,
    },

    #[error(
        "bucket {bucket} does not exist at {endpoint}; check its name in --source and --out, and \
         --endpoint-url if it lies on an S3-compatible server"
    )]
    NoBucket { bucket: String, endpoint: String },

    /// No credentials were found anywhere in the usual chain, or the chain failed.
    #[error(
        "no usable AWS credentials for {url}: {reason}; give --profile, set AWS_PROFILE or \
         AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, log in with `aws sso login`, or use \
         --no-sign-request for a public bucket"
    )]
    NoCredentials { url: String, reason: String },

    /// Credentials were found, and the service does not accept them.
    #[error("the AWS credentials were not accepted for {url} ({reply}); {advice}")]
    BadCredentials { url: String, reply: String, advice: &'static str },

    #[error("{}", wrong_region(url, used, region.as_deref()))]
    WrongRegion { url: String, used: String, region: Option<String> },

    /// A request would have gone over plain HTTP to another machine. Nothing was sent.
    #[error(
        "{endpoint} is plain http: data and requests could be read on the way; use https://, or \
         --allow-http if the network is yours"
    )]
    PlainHttp { endpoint: String },

    /// The request, or its answer, did not get through within the attempts allowed.
    #[error("{url} could not be {done} in {attempts} attempt{}: {reason}; {advice}", plural(*attempts))]
    Unavailable {
        url: String,
        /// `read`, `written` or `deleted`.
        done: &'static str,
        attempts: u32,
        reason: String,
        advice: &'static str,
    },

    /// The bytes contradict their checksum or their announced length.
    #[error(
        "{url} arrived damaged in {attempts} attempt{}: {reason}; run again, and if it stays, the \
         object itself is damaged",
        plural(*attempts)
    )]
    Damaged { url: String, attempts: u32, reason: String },

    /// The server's listing can't be whole.
    #[error("the listing of {url} can't be trusted: {reason}; run again, or report the server")]
    BrokenListing { url: String, reason: String },

    /// The service refused for a reason of its own.
    #[error(
        "{url}: the server refused ({reply}); see its message, then check --source or --out, \
         --endpoint-url and --region"
    )]
    Refused { url: String, reply: String },

    /// A delivery stream does not say where it delivers.
    #[error("the delivery stream {name} can't be asked in {region}: {reason}; {advice}")]
    Stream { name: String, region: String, reason: String, advice: &'static str },

    /// The transfer was stopped by the program.
    #[error("{url}: the transfer was stopped before its end; run again")]
    Stopped { url: String },
}

impl StoreError {
    /// A stable word for manifests.
    pub fn kind(&self) -> &'static str {
        match self {
            StoreError::BadUrl { .. } => "bad_url",
            StoreError::BadOption { .. } => "bad_option",
            StoreError::NoFolder { .. } => "no_folder",
            StoreError::Io { .. } => "io",
            StoreError::Changed { .. } => "changed",
            StoreError::Gone { .. } => "gone",
            StoreError::Archived { .. } => "archived",
            StoreError::Denied { .. } => "denied",
            StoreError::NoBucket { .. } => "no_bucket",
            StoreError::NoCredentials { .. } => "no_credentials",
            StoreError::BadCredentials { .. } => "bad_credentials",
            StoreError::WrongRegion { .. } => "wrong_region",
            StoreError::PlainHttp { .. } => "plain_http",
            StoreError::Unavailable { .. } => "unavailable",
            StoreError::Damaged { .. } => "damaged",
            StoreError::BrokenListing { .. } => "broken_listing",
            StoreError::Refused { .. } => "refused",
            StoreError::Stream { .. } => "stream",
            StoreError::Stopped { .. } => "stopped",
        }
    }

    /// True where every other request to this source would fail in the same way, so that a run
    /// need not try them: a missing bucket or folder, credentials, region, plain http.
    pub fn concerns_whole_source(&self) -> bool {
        matches!(
            self,
            StoreError::BadUrl { .. }
                | StoreError::BadOption { .. }
                | StoreError::NoFolder { .. }
                | StoreError::NoBucket { .. }
                | StoreError::NoCredentials { .. }
                | StoreError::BadCredentials { .. }
                | StoreError::WrongRegion { .. }
                | StoreError::PlainHttp { .. }
        )
    }

    /// Takes the store's own error back out of what [`std::io::Read`] of a streamed body gave.
    pub fn from_read(error: io::Error, url: &str) -> StoreError {
        match error.downcast::<StoreError>() {
            Ok(own) => own,
            Err(source) => StoreError::Io { path: shown(url), source },
        }
    }
}

fn plural(count: u32) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn io_advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; give this user permission to read it",
        io::ErrorKind::NotFound => "; check --source",
        _ => "; check the disk, then run again",
    }
}

fn wrong_region(url: &str, used: &str, region: Option<&str>) -> String {
    match region {
        Some(region) => {
            format!("{url} is not in region {used} but in {region}; give --region {region}")
        }
        None => format!(
            "{url} is not in region {used}, and the server did not say where it is; give its \
             region with --region (`aws s3api get-bucket-location` names it)"
        ),
    }
}

/// `text` with control characters escaped and at most 1,200 characters long, for messages.
pub(crate) fn shown(text: &str) -> String {
    const MOST_CHARS: usize = 1_200;
    let mut out = String::with_capacity(text.len());
    for (count, c) in text.chars().enumerate() {
        if count == MOST_CHARS {
            out.push('…');
            break;
        }
        // Bidirectional overrides can make a terminal show another name than the one meant.
        if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            let _ = write!(out, "\\u{{{:x}}}", c as u32);
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_keys_never_reach_a_terminal() {
        assert_eq!(shown("a\u{1b}[31m\n\u{202e}b 한"), "a\\u{1b}[31m\\u{a}\\u{202e}b 한");
    }

    #[test]
    fn an_error_survives_the_way_through_read() {
        let inner = StoreError::Stopped { url: "s3://b/k".into() };
        let back = StoreError::from_read(io::Error::other(inner), "s3://b/k");
        assert_eq!(back.kind(), "stopped");
        let foreign = StoreError::from_read(io::Error::other("disk"), "x");
        assert_eq!(foreign.kind(), "io");
    }

    #[test]
    fn messages_begin_small_and_end_without_a_full_stop() {
        let errors = [
            StoreError::Gone { key: "k".into(), url: "s3://b/k".into() },
            StoreError::WrongRegion {
                url: "s3://b".into(),
                used: "us-east-1".into(),
                region: None,
            },
            StoreError::Unavailable {
                url: "s3://b/k".into(),
                done: "read",
                attempts: 1,
                reason: "503 SlowDown".into(),
                advice: "run again later",
            },
        ];
        for error in errors {
            let text = error.to_string();
            assert!(!text.ends_with('.') && !text.contains('\n'), "{text}");
            assert!(!text.contains("attempts"), "one attempt is singular: {text}");
        }
    }
}
