//! Where objects come from: a typed source goes in (`./rawdata`, `s3://bucket/prefix/`), a folder
//! or a bucket with a prefix comes out. Nothing is opened here.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::error::{StoreError, shown};

/// A source, as it was meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SourceUrl {
    Folder(PathBuf),
    /// `prefix` stands literally in front of every key: empty, or ending with `/`, or, if the
    /// source was typed with a `*` at its end, any text (Firehose puts no slash of its own
    /// between a prefix and the hour: `legacy2026/07/…`).
    S3 {
        bucket: String,
        prefix: String,
    },
}

impl SourceUrl {
    /// A place of this source.
    pub fn below(&self, folders: &str) -> SourceUrl {
        match self {
            SourceUrl::Folder(root) if folders.is_empty() => SourceUrl::Folder(root.clone()),
            SourceUrl::Folder(root) => SourceUrl::Folder(root.join(folders)),
            SourceUrl::S3 { bucket, prefix } => {
                SourceUrl::S3 { bucket: bucket.clone(), prefix: format!("{prefix}{folders}") }
            }
        }
    }

    /// The place of `key` below this source, escaped for messages.
    pub fn of_key(&self, key: &str) -> String {
        match self {
            SourceUrl::Folder(root) => shown(&root.join(key).display().to_string()),
            SourceUrl::S3 { bucket, prefix } => shown(&format!("s3://{bucket}/{prefix}{key}")),
        }
    }
}

impl FromStr for SourceUrl {
    type Err = StoreError;

    /// Reads `s3://bucket/prefix/`, `file:///folder` or a path.
    ///
    /// # Errors
    /// [`StoreError::BadUrl`] for an empty source, another scheme, a bucket that can't exist, or
    /// credentials inside the URL.
    fn from_str(text: &str) -> Result<Self, StoreError> {
        let bad = |reason: &str| StoreError::BadUrl {
            text: shown(&without_user(text)),
            reason: reason.to_string(),
        };
        if text.is_empty() {
            return Err(StoreError::BadUrl {
                text: "an empty text".to_string(),
                reason: "give a folder or s3://bucket/prefix/".to_string(),
            });
        }
        if text.contains('\0') {
            return Err(bad("it holds a NUL character"));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            if text.to_ascii_lowercase().starts_with("s3:") {
                return Err(bad("two slashes are missing, as in s3://bucket/prefix/"));
            }
            return Ok(SourceUrl::Folder(PathBuf::from(text)));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "s3" | "s3a" | "s3n" => s3_url(rest).map_err(|reason| bad(&reason)),
            "file" => match rest.strip_prefix("localhost").unwrap_or(rest) {
                path if path.starts_with('/') => Ok(SourceUrl::Folder(PathBuf::from(path))),
                _ => Err(bad("a file URL has three slashes, as in file:///data/rawdata")),
            },
            "http" | "https" => Err(bad(
                "write s3://bucket/prefix/, and give an S3-compatible server by --endpoint-url",
            )),
            _ => Err(bad("only folders and s3://bucket/prefix/ can be read")),
        }
    }
}

fn s3_url(rest: &str) -> Result<SourceUrl, String> {
    let (bucket, prefix) = if rest.starts_with("arn:") {
        // arn:aws:s3:<region>:<account>:accesspoint/<name>/<prefix>
        let slashes: Vec<usize> = rest.match_indices('/').map(|(at, _)| at).collect();
        match slashes.get(1) {
            Some(&at) => (&rest[..at], &rest[at + 1..]),
            None => (rest, ""),
        }
    } else {
        rest.split_once('/').unwrap_or((rest, ""))
    };
    if bucket.contains('@') {
        return Err(
            "credentials don't belong in a URL: use --profile or the environment".to_string()
        );
    }
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !bucket.starts_with("arn:") && (bucket.len() < 3 || !bucket.chars().all(known)) {
        return Err("a bucket's name has 3 to 63 letters, digits, dots and hyphens, as in \
                    s3://my-bucket/rawdata/"
            .to_string());
    }
    let prefix = match prefix.strip_suffix('*') {
        Some(literal) => literal.to_string(),
        None if prefix.is_empty() || prefix.ends_with('/') => prefix.to_string(),
        None => format!("{prefix}/"),
    };
    Ok(SourceUrl::S3 { bucket: bucket.to_string(), prefix })
}

/// `text` without what stands between `://` and `@`: it may be a secret.
pub(super) fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_string();
    };
    let host_end = rest.find('/').unwrap_or(rest.len());
    // A secret key may itself hold a slash, so the last `@` counts wherever it stands.
    match rest.rfind('@') {
        Some(at) if at < host_end || rest[..at].contains(':') => {
            format!("{scheme}://…@{}", &rest[at + 1..])
        }
        _ => text.to_string(),
    }
}

impl fmt::Display for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SourceUrl::Folder(path) => f.write_str(&shown(&path.display().to_string())),
            SourceUrl::S3 { bucket, prefix } => {
                let star = if prefix.is_empty() || prefix.ends_with('/') { "" } else { "*" };
                f.write_str(&shown(&format!("s3://{bucket}/{prefix}{star}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(text: &str) -> (String, String) {
        match text.parse().unwrap() {
            SourceUrl::S3 { bucket, prefix } => (bucket, prefix),
            SourceUrl::Folder(path) => panic!("{text} became the folder {path:?}"),
        }
    }

    #[test]
    fn a_prefix_means_a_folder_with_or_without_its_slash() {
        let want = ("bucket".to_string(), "rawdata/".to_string());
        assert_eq!(s3("s3://bucket/rawdata/"), want);
        assert_eq!(s3("s3://bucket/rawdata"), want);
        assert_eq!(s3("s3a://bucket/rawdata"), want);
        assert_eq!(s3("s3://bucket"), ("bucket".into(), String::new()));
        assert_eq!(s3("s3://bucket/"), ("bucket".into(), String::new()));
    }

    #[test]
    fn a_star_makes_the_prefix_literal_and_is_shown_again() {
        assert_eq!(s3("s3://bucket/legacy*").1, "legacy");
        let url: SourceUrl = "s3://bucket/legacy*".parse().unwrap();
        assert_eq!(url.to_string(), "s3://bucket/legacy*");
        assert_eq!(url.of_key("2026/07/x"), "s3://bucket/legacy2026/07/x");
    }

    #[test]
    fn an_access_point_keeps_its_slash() {
        let text = "s3://arn:aws:s3:us-east-1:123456789012:accesspoint/mine/raw/";
        let bucket = "arn:aws:s3:us-east-1:123456789012:accesspoint/mine";
        assert_eq!(s3(text), (bucket.to_string(), "raw/".to_string()));
    }

    #[test]
    fn paths_are_folders() {
        for text in ["rawdata", "./a b/c", "/data", "C:\\data", "s3"] {
            assert_eq!(text.parse::<SourceUrl>().unwrap(), SourceUrl::Folder(PathBuf::from(text)));
        }
        assert_eq!(
            "file:///data/x".parse::<SourceUrl>().unwrap(),
            SourceUrl::Folder(PathBuf::from("/data/x"))
        );
    }

    #[test]
    fn what_is_no_source_says_what_to_write() {
        for (text, part) in [
            ("", "give a folder"),
            ("gs://bucket/x", "only folders"),
            ("https://bucket.s3.amazonaws.com/x", "--endpoint-url"),
            ("s3:/bucket", "two slashes"),
            ("s3://b", "3 to 63"),
            ("s3://", "3 to 63"),
            ("s3:///rawdata", "3 to 63"),
            ("file://data", "three slashes"),
        ] {
            let error = text.parse::<SourceUrl>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn secrets_in_a_url_are_refused_and_never_shown() {
        for text in [
            "s3://AKIDEXAMPLE:s3cr3t@bucket/x",
            "s3://AKIDEXAMPLE:s3c/r3t@bucket/x",
            "https://user:s3cr3t@host/x",
        ] {
            let error = text.parse::<SourceUrl>().unwrap_err().to_string();
            assert!(!error.contains("s3c"), "{error}");
        }
    }
}
