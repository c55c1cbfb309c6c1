//! Listings: prefixes go in, whole sorted listings come out, or an error for the prefix. A
//! listing that was cut short is never taken for the whole.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::primitives::DateTime as AwsTime;
use aws_sdk_s3::types::{Object, ObjectStorageClass, OptionalObjectAttributes};
use chrono::{DateTime, Utc};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::{AbortHandle, JoinSet};

use super::super::error::{StoreError, shown};
use super::super::{Listing, ObjectMeta, Peek};
use super::failure::{Failure, Target};
use super::retry::{Attempts, Gate};
use super::{Background, Remote};

enum Event {
    /// So many more objects were found.
    Found(usize),
    Done(usize, Result<Listing, StoreError>),
}

/// Ends the listing when the caller goes away, by panic too.
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Lists all prefixes, at most `requests` at a time. `progress` is called on this thread.
pub(super) fn list(
    remote: &Arc<Remote>,
    runtime: &Background,
    requests: usize,
    prefixes: &[String],
    progress: &dyn Fn(usize),
) -> Vec<Result<Listing, StoreError>> {
    let (events, mut inbox) = mpsc::unbounded_channel();
    let all = list_all(Arc::clone(remote), requests, prefixes.to_vec(), events);
    let _guard = AbortOnDrop(runtime.spawn(all));
    let mut listings: Vec<Option<Result<Listing, StoreError>>> = Vec::new();
    listings.resize_with(prefixes.len(), || None);
    let mut found = 0;
    while let Some(event) = inbox.blocking_recv() {
        match event {
            Event::Found(more) => {
                found += more;
                progress(found);
            }
            Event::Done(at, listing) => listings[at] = Some(listing),
        }
    }
    let stopped = |prefix: &String| StoreError::Stopped { url: remote.place.url.of_key(prefix) };
    let each = listings.into_iter().zip(prefixes);
    each.map(|(listing, prefix)| listing.unwrap_or_else(|| Err(stopped(prefix)))).collect()
}

async fn list_all(
    remote: Arc<Remote>,
    requests: usize,
    prefixes: Vec<String>,
    events: UnboundedSender<Event>,
) {
    let gate = Gate::new(requests);
    let mut tasks = JoinSet::new();
    for (at, prefix) in prefixes.into_iter().enumerate() {
        let pass = gate.enter().await;
        let (remote, events) = (Arc::clone(&remote), events.clone());
        tasks.spawn(async move {
            let mut throttled = Attempts::default();
            let listing = list_one(&remote, &prefix, &events, &mut throttled).await;
            pass.done(&throttled);
            // Nobody listens only when the caller is gone.
            let _ = events.send(Event::Done(at, listing));
        });
        while tasks.try_join_next().is_some() {}
    }
    drop(events);
    while tasks.join_next().await.is_some() {}
}

async fn list_one(
    remote: &Remote,
    prefix: &str,
    events: &UnboundedSender<Event>,
    seen: &mut Attempts,
) -> Result<Listing, StoreError> {
    let mut listing = Listing::default();
    let mut pages = Pages::new(remote, prefix, None);
    while let Some(page) = pages.next(seen).await? {
        let contents = page.contents.unwrap_or_default();
        let _ = events.send(Event::Found(contents.len()));
        for object in contents {
            listing.objects.push(pages.object(object)?);
        }
    }
    listing.requests = pages.requests;
    listing.objects.sort_unstable_by(|a, b| a.key.as_bytes().cmp(b.key.as_bytes()));
    let before = listing.objects.len();
    listing.objects.dedup_by(|a, b| a.key == b.key);
    if listing.objects.len() < before {
        return Err(pages.broken("a key stands in it twice"));
    }
    Ok(listing)
}

/// The folders directly below `prefix`, relative to the source.
pub(super) async fn folders(remote: &Remote, prefix: &str) -> Result<Vec<String>, StoreError> {
    let mut folders = Vec::new();
    let mut pages = Pages::new(remote, prefix, Some("/"));
    while let Some(page) = pages.next(&mut Attempts::default()).await? {
        for common in page.common_prefixes.unwrap_or_default() {
            folders.push(pages.relative(common.prefix)?);
        }
    }
    folders.sort_unstable();
    folders.dedup();
    Ok(folders)
}

/// What one page says of what lies right below `prefix`.
pub(super) async fn peek(remote: &Remote, prefix: &str) -> Result<Peek, StoreError> {
    let mut pages = Pages::new(remote, prefix, Some("/"));
    let mut peek = Peek::default();
    let Some(page) = pages.next(&mut Attempts::default()).await? else { return Ok(peek) };
    for object in page.contents.unwrap_or_default() {
        peek.keys.push(pages.relative(object.key)?);
    }
    for common in page.common_prefixes.unwrap_or_default() {
        peek.folders.push(pages.relative(common.prefix)?);
    }
    Ok(peek)
}

/// The pages of one listing.
struct Pages<'a> {
    remote: &'a Remote,
    prefix: &'a str,
    delimiter: Option<&'static str>,
    token: Option<String>,
    tokens_seen: HashSet<String>,
    ended: bool,
    requests: u64,
}

impl<'a> Pages<'a> {
    fn new(remote: &'a Remote, prefix: &'a str, delimiter: Option<&'static str>) -> Pages<'a> {
        Pages {
            remote,
            prefix,
            delimiter,
            token: None,
            tokens_seen: HashSet::new(),
            ended: false,
            requests: 0,
        }
    }

    async fn next(
        &mut self,
        seen: &mut Attempts,
    ) -> Result<Option<ListObjectsV2Output>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        let mut attempts = Attempts::default();
        let page = self.page(&mut attempts).await;
        seen.throttled |= attempts.throttled;
        let page = page?;
        self.requests += 1;
        match (page.is_truncated, &page.next_continuation_token) {
            // A token without the mark is followed as well: asking once more loses nothing.
            (_, Some(token)) => {
                if !self.tokens_seen.insert(token.clone()) {
                    return Err(self.broken("a continuation token came twice"));
                }
                self.token = Some(token.clone());
            }
            (Some(false), None) => self.ended = true,
            (Some(true), None) => {
                return Err(self.broken("it was cut short and gave no token to go on with"));
            }
            (None, None) => {
                return Err(self.broken("the answer does not say whether it is the whole"));
            }
        }
        Ok(Some(page))
    }

    async fn page(&self, attempts: &mut Attempts) -> Result<ListObjectsV2Output, StoreError> {
        let remote = self.remote;
        let target = Target::List { prefix: self.prefix };
        // The SDK reads the whole page: an answer has to begin, and then to end, in time.
        let deadline: Duration = remote.stall_timeout.saturating_mul(2);
        loop {
            remote.retry.begin(attempts).await;
            let (client, region) = remote.client();
            let request = client
                .list_objects_v2()
                .bucket(&remote.place.bucket)
                .prefix(format!("{}{}", remote.prefix, self.prefix))
                .set_delimiter(self.delimiter.map(str::to_string))
                .set_continuation_token(self.token.clone())
                .set_request_payer(remote.payer.clone())
                .optional_object_attributes(OptionalObjectAttributes::RestoreStatus)
                .send();
            let failure = match tokio::time::timeout(deadline, request).await {
                Ok(Ok(page)) => {
                    remote.retry.succeeded();
                    return Ok(page);
                }
                Ok(Err(error)) => Failure::of(&error),
                Err(_) => Failure::network(format!(
                    "the listing did not come within {} s",
                    deadline.as_secs_f32()
                )),
            };
            remote.settle(failure, attempts, target, &region).await?;
        }
    }

    fn object(&self, object: Object) -> Result<ObjectMeta, StoreError> {
        let archived = is_archived(&object);
        let bytes = object.size.and_then(|size| u64::try_from(size).ok());
        Ok(ObjectMeta {
            bytes: bytes.ok_or_else(|| self.broken("an object has no size"))?,
            etag: object.e_tag,
            last_modified_utc: object.last_modified.as_ref().and_then(utc),
            archived,
            key: self.relative(object.key)?,
        })
    }

    /// `key` without the source's prefix. A key from elsewhere means that the server did not
    /// understand the question.
    fn relative(&self, key: Option<String>) -> Result<String, StoreError> {
        let key = key.ok_or_else(|| self.broken("an object has no key"))?;
        match key.strip_prefix(&self.remote.prefix) {
            Some(relative) if relative.starts_with(self.prefix) => Ok(relative.to_string()),
            _ => Err(self.broken(&format!("{} lies outside the prefix", shown(&key)))),
        }
    }

    fn broken(&self, reason: &str) -> StoreError {
        StoreError::BrokenListing {
            url: self.remote.place.url.of_key(self.prefix),
            reason: reason.to_string(),
        }
    }
}

/// True for objects that a GET would refuse. `GLACIER_IR` is read like any other.
fn is_archived(object: &Object) -> bool {
    let deep = matches!(
        object.storage_class,
        Some(ObjectStorageClass::Glacier | ObjectStorageClass::DeepArchive)
    );
    let restored = object.restore_status.as_ref().is_some_and(|status| {
        status.is_restore_in_progress != Some(true) && status.restore_expiry_date.is_some()
    });
    deep && !restored
}

fn utc(time: &AwsTime) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.secs(), time.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::RestoreStatus;

    use super::*;

    #[test]
    fn archived_objects_are_known_unless_they_were_restored() {
        let object = |class: ObjectStorageClass| Object::builder().storage_class(class);
        assert!(is_archived(&object(ObjectStorageClass::Glacier).build()));
        assert!(is_archived(&object(ObjectStorageClass::DeepArchive).build()));
        assert!(!is_archived(&object(ObjectStorageClass::GlacierIr).build()));
        assert!(!is_archived(&object(ObjectStorageClass::Standard).build()));
        let status = |running: bool, expiry: Option<AwsTime>| {
            RestoreStatus::builder()
                .is_restore_in_progress(running)
                .set_restore_expiry_date(expiry)
                .build()
        };
        let restored = status(false, Some(AwsTime::from_secs(1)));
        let running = status(true, None);
        let glacier = || object(ObjectStorageClass::Glacier);
        assert!(!is_archived(&glacier().restore_status(restored).build()));
        assert!(is_archived(&glacier().restore_status(running).build()));
    }
}
