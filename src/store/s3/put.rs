//! What is written to a bucket: a file or a few bytes go in, an object comes out, or an error.
//!
//! A file up to `put_bytes` goes by one put, a larger one in
//! parts, read from the disk as they are sent, so that memory does not depend on its size. An
//! upload in parts that fails is aborted: parts that nobody completes are paid for and not seen.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::StalledStreamProtectionConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::error::{StoreError, shown};
use super::Remote;
use super::failure::{Cause, Failure, Target};
use super::retry::Attempts;

/// S3 takes no more parts; they grow where a file would need more.
const MOST_PARTS: u64 = 10_000;
/// Parts under way at a time.
const PARTS_AT_ONCE: usize = 4;
/// Sending may take as long as it does at this speed, and twice the stall timeout on top.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 << 10;
/// Putting the parts together takes the service its time.
const COMPLETE_DEADLINE: Duration = Duration::from_secs(300);

/// What became of a put that must make a new object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PutNew {
    Made,
    /// An object of this key was there, and still is.
    Exists,
    /// The server says that it can't make sure of that. Nothing was written.
    Unsupported {
        reply: String,
    },
}

/// Why one attempt failed.
enum Failed {
    /// On this machine: trying again is of no use.
    Here(StoreError),
    There(Failure),
}

impl Failed {
    fn of<E>(error: SdkError<E>) -> Failed
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        Failed::There(Failure::of(&error))
    }
}

/// Makes a request until it succeeds or is not worth another attempt. `deadline`: of each.
async fn tried<T, F>(
    remote: &Remote,
    target: Target<'_>,
    deadline: Duration,
    send: impl Fn(Client) -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, Failed>>,
{
    let mut attempts = Attempts::default();
    loop {
        remote.retry.begin(&mut attempts).await;
        let (client, region) = remote.client();
        let failure = match timeout(deadline, send(client)).await {
            Ok(Ok(done)) => {
                remote.retry.succeeded();
                return Ok(done);
            }
            Ok(Err(Failed::Here(error))) => return Err(error),
            Ok(Err(Failed::There(failure))) => failure,
            Err(_) => Failure::network(format!("it took longer than {} s", deadline.as_secs())),
        };
        remote.settle(failure, &mut attempts, target, &region).await?;
    }
}

impl Remote {
    fn full_key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The most that sending `bytes` may take, answer included.
    fn deadline(&self, bytes: u64) -> Duration {
        let sending = Duration::from_secs(bytes / SLOWEST_BYTES_PER_SECOND);
        self.stall_timeout.saturating_mul(2).saturating_add(sending)
    }

    /// The SDK's read timeout counts from the request's first byte, and would end an upload that
    /// only takes its time. A body that stands still is what ends it here.
    fn for_sending(&self) -> aws_sdk_s3::config::Builder {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(self.connect_timeout)
            .disable_read_timeout()
            .build();
        let stalls = StalledStreamProtectionConfig::enabled()
            .download_enabled(false)
            .grace_period(self.stall_timeout)
            .build();
        aws_sdk_s3::config::Builder::new()
            .timeout_config(timeouts)
            .stalled_stream_protection(stalls)
    }
}

/// Puts a few bytes where nothing is.
pub(super) async fn put_new(
    remote: &Remote,
    key: &str,
    bytes: &[u8],
    content_type: &str,
) -> Result<PutNew, StoreError> {
    tried(remote, Target::Put { key }, remote.deadline(0), |client| async move {
        let request = client
            .put_object()
            .bucket(&remote.place.bucket)
            .key(remote.full_key(key))
            .if_none_match("*")
            .content_type(content_type)
            .body(ByteStream::from(bytes.to_vec()))
            .set_request_payer(remote.payer.clone());
        let Err(error) = request.send().await else {
            return Ok(PutNew::Made);
        };
        let failure = Failure::of(&error);
        match &failure.cause {
            Cause::Reply { status: 412, .. } => Ok(PutNew::Exists),
            Cause::Reply { status: 501, code, message } => {
                Ok(PutNew::Unsupported { reply: shown(&format!("501 {code}: {message}")) })
            }
            _ => Err(Failed::There(failure)),
        }
    })
    .await
}

/// Deletes an object; one that is not there is deleted already.
pub(super) async fn delete(remote: &Remote, key: &str) -> Result<(), StoreError> {
    tried(remote, Target::Delete { key }, remote.deadline(0), |client| async move {
        let request = client
            .delete_object()
            .bucket(&remote.place.bucket)
            .key(remote.full_key(key))
            .set_request_payer(remote.payer.clone());
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("NoSuchKey") => Ok(()),
            Err(error) => Err(Failed::of(error)),
        }
    })
    .await
}

/// A stretch of a file.
#[derive(Clone, Debug)]
struct Stretch {
    path: PathBuf,
    offset: u64,
    bytes: u64,
}

impl Stretch {
    async fn body(&self) -> Result<ByteStream, Failed> {
        let stream = ByteStream::read_from()
            .path(&self.path)
            .offset(self.offset)
            .length(Length::Exact(self.bytes))
            .build()
            .await;
        stream.map_err(|error| Failed::Here(unreadable(&self.path, std::io::Error::other(error))))
    }

    /// The same in memory. The checksum of what is read from a disk comes behind it, for which the SDK
    /// adds a second `Content-Encoding`, and not every server takes two. That of bytes stands in a header.
    fn held(&self) -> Result<ByteStream, Failed> {
        let bytes = std::fs::read(&self.path);
        bytes.map(ByteStream::from).map_err(|error| Failed::Here(unreadable(&self.path, error)))
    }
}

fn unreadable(path: &Path, source: std::io::Error) -> StoreError {
    StoreError::Io { path: shown(&path.display().to_string()), source }
}

/// What is kept of an object beside its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    pub content_type: &'static str,
    pub content_encoding: Option<String>,
}

impl Stored {
    /// An object that is not packed.
    pub fn plain(content_type: &'static str) -> Stored {
        Stored { content_type, content_encoding: None }
    }
}

/// One file on its way.
pub(super) struct Upload {
    remote: Arc<Remote>,
    key: String,
    path: PathBuf,
    stored: Stored,
    /// Set while parts lie in the bucket that are no object yet.
    id: Option<String>,
}

impl Upload {
    pub(super) fn new(remote: Arc<Remote>, key: &str, path: &Path, stored: &Stored) -> Upload {
        let (key, path, stored) = (key.to_string(), path.to_path_buf(), stored.clone());
        Upload { remote, key, path, stored, id: None }
    }

    /// Sends the file. After an error, or when this was dropped in the middle, [`Upload::abort`]
    /// is due.
    pub(super) async fn run(&mut self) -> Result<(), StoreError> {
        let meta = std::fs::metadata(&self.path).map_err(|error| unreadable(&self.path, error))?;
        match meta.len() {
            bytes if bytes <= self.remote.put_bytes => self.put(bytes).await,
            bytes => self.in_parts(bytes).await,
        }
    }

    fn target(&self) -> Target<'_> {
        Target::Put { key: &self.key }
    }

    async fn put(&self, bytes: u64) -> Result<(), StoreError> {
        let remote = &self.remote;
        let whole = &Stretch { path: self.path.clone(), offset: 0, bytes };
        let is_packed = self.stored.content_encoding.is_some();
        tried(remote, self.target(), remote.deadline(bytes), |client| async move {
            let request = client
                .put_object()
                .bucket(&remote.place.bucket)
                .key(remote.full_key(&self.key))
                .content_type(self.stored.content_type)
                .set_content_encoding(self.stored.content_encoding.clone())
                .body(if is_packed { whole.held()? } else { whole.body().await? })
                .set_request_payer(remote.payer.clone());
            let request = request.customize().config_override(remote.for_sending());
            request.send().await.map(drop).map_err(Failed::of)
        })
        .await
    }

    async fn in_parts(&mut self, bytes: u64) -> Result<(), StoreError> {
        let id = self.create().await?;
        self.id = Some(id.clone());
        let parts = self.send_parts(&id, bytes).await?;
        self.complete(&id, parts).await?;
        self.id = None;
        Ok(())
    }

    async fn create(&self) -> Result<String, StoreError> {
        let remote = &self.remote;
        let made = tried(remote, self.target(), remote.deadline(0), |client| async move {
            let request = client
                .create_multipart_upload()
                .bucket(&remote.place.bucket)
                .key(remote.full_key(&self.key))
                .content_type(self.stored.content_type)
                .set_content_encoding(self.stored.content_encoding.clone())
                .checksum_algorithm(ChecksumAlgorithm::Crc32)
                .set_request_payer(remote.payer.clone());
            request.send().await.map_err(Failed::of)
        });
        made.await?.upload_id.ok_or_else(|| StoreError::Refused {
            url: self.remote.place.of(self.target()),
            reply: "it began an upload in parts and gave it no id".to_string(),
        })
    }

    async fn send_parts(&self, id: &str, bytes: u64) -> Result<Vec<CompletedPart>, StoreError> {
        let mut waiting = stretches(&self.path, bytes, self.remote.part_bytes).zip(1..);
        let mut under_way = JoinSet::new();
        let mut parts = Vec::new();
        loop {
            while under_way.len() < PARTS_AT_ONCE
                && let Some((stretch, number)) = waiting.next()
            {
                let (remote, key) = (Arc::clone(&self.remote), self.key.clone());
                under_way.spawn(send_part(remote, key, id.to_string(), stretch, number));
            }
            match under_way.join_next().await {
                None => break,
                Some(Ok(part)) => parts.push(part?),
                Some(Err(_)) => {
                    let url = self.remote.place.of(self.target());
                    return Err(StoreError::Stopped { url });
                }
            }
        }
        parts.sort_by_key(|part| part.part_number);
        Ok(parts)
    }

    async fn complete(&self, id: &str, parts: Vec<CompletedPart>) -> Result<(), StoreError> {
        let remote = &self.remote;
        let parts = &CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        tried(remote, self.target(), COMPLETE_DEADLINE, |client| async move {
            let request = client
                .complete_multipart_upload()
                .bucket(&remote.place.bucket)
                .key(remote.full_key(&self.key))
                .upload_id(id)
                .multipart_upload(parts.clone())
                .set_request_payer(remote.payer.clone());
            let request = request.customize().config_override(remote.for_sending());
            request.send().await.map(drop).map_err(Failed::of)
        })
        .await
    }

    /// Takes back what was sent of an upload in parts, if anything, in one attempt. What can't be
    /// taken back is left to the bucket's rule for incomplete uploads.
    pub(super) async fn abort(&mut self) {
        let Some(id) = self.id.take() else {
            return;
        };
        let remote = &self.remote;
        let (client, _) = remote.client();
        let request = client
            .abort_multipart_upload()
            .bucket(&remote.place.bucket)
            .key(remote.full_key(&self.key))
            .upload_id(id)
            .set_request_payer(remote.payer.clone());
        let _ = request.send().await;
    }
}

async fn send_part(
    remote: Arc<Remote>,
    key: String,
    id: String,
    stretch: Stretch,
    number: i32,
) -> Result<CompletedPart, StoreError> {
    let (remote, key, id, stretch) = (&remote, &key, &id, &stretch);
    let deadline = remote.deadline(stretch.bytes);
    let sent = tried(remote, Target::Put { key }, deadline, |client| async move {
        let request = client
            .upload_part()
            .bucket(&remote.place.bucket)
            .key(remote.full_key(key))
            .upload_id(id)
            .part_number(number)
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .body(stretch.body().await?)
            .set_request_payer(remote.payer.clone());
        let request = request.customize().config_override(remote.for_sending());
        request.send().await.map_err(Failed::of)
    });
    let sent = sent.await?;
    Ok(CompletedPart::builder()
        .part_number(number)
        .set_e_tag(sent.e_tag)
        .set_checksum_crc32(sent.checksum_crc32)
        .build())
}

/// A file of `bytes` in parts of `part_bytes`, or of more where there would be too many.
fn stretches(path: &Path, bytes: u64, part_bytes: u64) -> impl Iterator<Item = Stretch> + use<> {
    let part_bytes = part_bytes.max(bytes.div_ceil(MOST_PARTS)).max(1);
    let path = path.to_path_buf();
    (0..bytes.div_ceil(part_bytes)).map(move |at| {
        let offset = at * part_bytes;
        Stretch { path: path.clone(), offset, bytes: part_bytes.min(bytes - offset) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(bytes: u64, part_bytes: u64) -> Vec<(u64, u64)> {
        let parts = stretches(Path::new("x"), bytes, part_bytes);
        parts.map(|part| (part.offset, part.bytes)).collect()
    }

    #[test]
    fn parts_cover_a_file_without_gap_or_overlap() {
        assert_eq!(lengths(10, 4), [(0, 4), (4, 4), (8, 2)]);
        assert_eq!(lengths(8, 4), [(0, 4), (4, 4)]);
        assert_eq!(lengths(3, 4), [(0, 3)]);
    }

    #[test]
    fn parts_grow_where_there_would_be_too_many() {
        let bytes = 5 << 40;
        let parts = lengths(bytes, 16 << 20);
        assert!(parts.len() as u64 <= MOST_PARTS);
        assert_eq!(parts.iter().map(|(_, length)| length).sum::<u64>(), bytes);
    }
}
