//! A source goes in (a folder, or a bucket with a prefix), objects and their bodies come out. What
//! is published to a bucket goes out here too, by [`S3Store`].
//!
//! The only room with network code for objects. Async stays inside: a folder is read by the
//! thread that asks, and S3 has a runtime of its own, which no run on a folder ever starts. The
//! blocking calls here must not be made from inside another tokio runtime's worker.
//!
//! A listing is whole or an error; a body is whole, or the error says how it isn't. Keys never
//! become names on disk here, and no key leads out of the source's folder.

mod budget;
mod delivery;
mod error;
mod fetch;
mod folder;
mod kept;
mod s3;
mod url;

use std::fmt;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

pub use budget::Permit;
pub use delivery::{Delivery, describe};
pub use error::StoreError;
pub(crate) use error::shown;
pub use fetch::Fetch;
pub use folder::FolderStore;
/// How AWS is reached, for other services than S3.
pub(crate) use s3::{OnlySafeHttp, chain, check, is_loopback_http, shared_config};
pub use s3::{PutNew, S3Store, Stored};
pub use url::SourceUrl;

/// One object as it was listed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectMeta {
    /// Relative to the source, with `/` between its parts.
    pub key: String,
    pub bytes: u64,
    /// As the server wrote it, quotes included. Folders have none.
    pub etag: Option<String>,
    pub last_modified_utc: Option<DateTime<Utc>>,
    /// In an archive class and not restored: it can't be read now.
    pub archived: bool,
}

/// What lies below one prefix, sorted by the bytes of the keys.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listing {
    pub objects: Vec<ObjectMeta>,
    /// Requests that were answered; for a folder, folders that were read.
    pub requests: u64,
    /// Entries of a folder that can't be objects, each with its reason: a name that isn't UTF-8,
    /// a dangling link, a pipe. Always empty for S3.
    pub unreadable: Vec<String>,
}

/// Some of what lies right below a prefix, sorted; all of it below a thousand entries.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Peek {
    pub keys: Vec<String>,
    /// Each ends with `/`. They may be empty.
    pub folders: Vec<String>,
}

/// Access keys given by a program that uses this library. The command line never sets them: it
/// takes credentials from the usual chain, and from no argument list.
#[derive(Clone)]
pub struct AccessKeys {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
}

impl fmt::Debug for AccessKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessKeys(…)")
    }
}

/// How to reach a source. A folder needs none of it.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Else from the environment or the profile, else `us-east-1`; a bucket that lies elsewhere
    /// is followed there.
    pub region: Option<String>,
    /// A profile of `~/.aws/config`. Given here it goes before credentials in the environment.
    pub profile: Option<String>,
    /// An S3-compatible server, as `https://host:port`. Buckets are then addressed by path.
    pub endpoint_url: Option<String>,
    /// Requests without credentials, for public buckets.
    pub no_sign_request: bool,
    /// The caller pays for requests and traffic (`x-amz-request-payer`).
    pub request_payer: bool,
    /// Plain `http://` to machines other than this one.
    pub allow_http: bool,
    pub access_keys: Option<AccessKeys>,
    /// Until a connection stands.
    pub connect_timeout: Duration,
    /// Without an answer, or without progress of a body, for so long, an attempt is given up.
    pub stall_timeout: Duration,
    /// Attempts for each request and, without enough progress between them, for each body.
    pub max_attempts: u32,
    /// The first wait between attempts is random up to this; each further one up to twice as
    /// long, and never more than 20 s.
    pub retry_base: Duration,
    /// Listings at a time.
    pub list_requests: usize,
    /// A larger file is put in parts.
    pub put_bytes: u64,
    /// At least 5 MiB, which is S3's own limit; larger where a file would have too many parts.
    pub part_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        StoreOptions {
            region: None,
            profile: None,
            endpoint_url: None,
            no_sign_request: false,
            request_payer: false,
            allow_http: false,
            access_keys: None,
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(20),
            max_attempts: 8,
            retry_base: Duration::from_millis(200),
            list_requests: 16,
            put_bytes: 64 << 20,
            part_bytes: 16 << 20,
        }
    }
}

/// The bounds of a [`Fetch`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchLimits {
    /// Requests at a time, S3 only: a folder is read by the threads that pull.
    pub requests: usize,
    /// Bytes of bodies that are under way or handed out and not dropped. An object larger than
    /// this is read alone.
    pub bytes_in_flight: u64,
    /// Larger objects come as a stream.
    pub whole_bytes: u64,
}

impl Default for FetchLimits {
    fn default() -> Self {
        FetchLimits { requests: 16, bytes_in_flight: 96 << 20, whole_bytes: 16 << 20 }
    }
}

/// The most bytes of a streamed body that are read ahead of its reader. A stream counts as so
/// many bytes in flight.
pub(crate) const STREAM_AHEAD_BYTES: u64 = 8 << 20;

impl FetchLimits {
    /// What an object counts against `bytes_in_flight` while its body lives.
    fn charge(&self, bytes: u64) -> u64 {
        if bytes > self.whole_bytes { bytes.min(STREAM_AHEAD_BYTES) } else { bytes }
    }
}

/// The bytes of an object, raw as they are stored.
pub enum Content {
    Whole(Vec<u8>),
    /// Ends with an error ([`StoreError::from_read`]) unless every byte of the object came.
    Stream(Box<dyn Read + Send>),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Content::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// An object's body. Its bytes count as in flight until it is dropped, or, after
/// [`Body::into_parts`], until the permit is.
#[derive(Debug)]
pub struct Body {
    /// The size of the object.
    pub bytes: u64,
    pub content: Content,
    permit: Permit,
}

impl Body {
    fn new(bytes: u64, content: Content, permit: Permit) -> Body {
        Body { bytes, content, permit }
    }

    /// The content apart from the permit, which is to live as long as the bytes do.
    pub fn into_parts(self) -> (Content, Permit) {
        (self.content, self.permit)
    }
}

/// A source that was opened.
#[derive(Debug)]
pub enum Store {
    Folder(FolderStore),
    S3(Box<S3Store>),
}

impl Store {
    /// Opens a source. For S3 no request is made yet; for a folder it must be there.
    ///
    /// # Errors
    /// [`StoreError::NoFolder`], [`StoreError::Io`]; [`StoreError::BadOption`] and
    /// [`StoreError::PlainHttp`] for an endpoint that can't be used.
    pub fn open(url: &SourceUrl, options: &StoreOptions) -> Result<Store, StoreError> {
        match url {
            SourceUrl::Folder(root) => Ok(Store::Folder(FolderStore::open(root)?)),
            SourceUrl::S3 { bucket, prefix } => {
                Ok(Store::S3(Box::new(S3Store::open(bucket, prefix, options)?)))
            }
        }
    }

    /// All objects below each prefix, one result a prefix in the order of `prefixes`. A prefix
    /// without objects is an empty listing. `progress` is told the number of objects found so far.
    ///
    /// # Errors
    /// Each prefix has its own: [`StoreError::Denied`] on one leaves the others alone.
    pub fn list(
        &self,
        prefixes: &[String],
        progress: &dyn Fn(usize),
    ) -> Vec<Result<Listing, StoreError>> {
        match self {
            Store::Folder(folder) => folder.list(prefixes, progress),
            Store::S3(s3) => s3.list(prefixes, progress),
        }
    }

    /// The folders directly below `prefix`, each as a prefix relative to the source that ends
    /// with `/`, sorted: `folders("2022/")` gives `2022/04/`. Only folders that hold an object.
    pub fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        match self {
            Store::Folder(folder) => folder.folders(prefix),
            Store::S3(s3) => s3.folders(prefix),
        }
    }

    /// Some of what lies right below `prefix`: one request, whatever its size. An empty answer where
    /// nothing lies there.
    pub fn peek(&self, prefix: &str) -> Result<Peek, StoreError> {
        match self {
            Store::Folder(folder) => folder.peek(prefix),
            Store::S3(s3) => s3.peek(prefix),
        }
    }

    /// Like [`Store::folders`], with those that hold no object; a bucket has none of these.
    pub fn bare_folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        match self {
            Store::Folder(folder) => folder.folders_where(prefix, |_| true),
            Store::S3(s3) => s3.folders(prefix),
        }
    }

    /// The bodies of `objects`, in their order. Any number of threads may pull.
    pub fn fetch(&self, objects: Arc<[ObjectMeta]>, limits: FetchLimits) -> Fetch {
        match self {
            Store::Folder(folder) => Fetch::folder(folder.clone(), objects, limits),
            Store::S3(s3) => Fetch::remote(s3.read_ahead(objects, limits)),
        }
    }

    /// Begins a day: of a bucket, what is [wanted](Store::want) is kept in a file without a name in
    /// `folder`, for this day and the next one.
    pub fn begin_day(&self, folder: &Path) {
        if let Store::S3(s3) = self {
            s3.kept().begin(folder);
        }
    }

    /// Objects whose bodies will be fetched again. They are got once then.
    pub fn want(&self, keys: impl IntoIterator<Item = String>) {
        if let Store::S3(s3) = self {
            s3.kept().want(keys);
        }
    }

    /// Ends listings, fetches and streams that are under way, from any thread; whoever waits for
    /// them gets [`StoreError::Stopped`] at once, and so does who asks later. A folder has nothing to stop: its calls are short.
    pub fn stop(&self) {
        if let Store::S3(s3) = self {
            s3.stop();
        }
    }

    /// The body of one object, whole up to the default of [`FetchLimits::whole_bytes`].
    pub fn get(&self, object: &ObjectMeta) -> Result<Body, StoreError> {
        let whole_bytes = FetchLimits::default().whole_bytes;
        match self {
            Store::Folder(folder) => {
                let content = folder.read(object, whole_bytes)?;
                Ok(Body::new(object.bytes, content, Permit::default()))
            }
            Store::S3(s3) => s3.get(object, whole_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_in_debug_texts() {
        let options = StoreOptions {
            access_keys: Some(AccessKeys {
                access_key_id: "AKIDEXAMPLE".into(),
                secret_access_key: "s3cr3t".into(),
                session_token: Some("t0ken".into()),
            }),
            ..StoreOptions::default()
        };
        let text = format!("{options:?}");
        assert!(!text.contains("s3cr3t") && !text.contains("t0ken"), "{text}");
    }

    #[test]
    fn six_bodies_of_any_size_are_in_flight_together() {
        let limits = FetchLimits::default();
        for bytes in [1, 5 << 20, limits.whole_bytes, limits.whole_bytes + 1, 60 << 20, 1 << 40] {
            assert!(limits.charge(bytes) * 6 <= limits.bytes_in_flight, "{bytes} bytes");
        }
    }

    #[test]
    fn a_stream_counts_what_it_reads_ahead() {
        let limits = FetchLimits::default();
        assert_eq!(limits.charge(5), 5);
        assert_eq!(limits.charge(limits.whole_bytes), limits.whole_bytes);
        assert_eq!(limits.charge(1 << 40), STREAM_AHEAD_BYTES);
    }
}
