//! A bucket's prefix as `--out`: staged files go in, and the target is published there.
//!
//! Everything is staged on this machine first. S3 has no rename and nothing that changes several
//! objects at once, so the promise is kept by order: the target's manifest is deleted, its
//! objects are put, those of an earlier publish that are not made any more are deleted, and the
//! new manifest is put last, as the commit. Who reads a manifest thus never finds the data of
//! another run beside it. What differs from a folder: a publish that is interrupted in the middle
//! leaves the target without a manifest, which is to say unpublished, where a folder keeps the
//! old state or is finished by the next run. The next run of the target publishes it again.

mod lock;
mod scratch;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

use super::error::PublishError;
use super::manifest::Manifest;
use super::out::{Stage, To, understand};
use super::place::{Item, Target};
use crate::store::{Content, ObjectMeta, S3Store, SourceUrl, StoreError, StoreOptions, Stored};
use lock::Lock;
use scratch::Scratch;

/// Larger objects are never held whole.
const WHOLE_BYTES: u64 = 1 << 20;
/// What giving back the lock may take.
const RELEASE_PATIENCE: Duration = Duration::from_secs(20);
/// The same after an interrupt: the process is ended soon after it.
const RELEASE_PATIENCE_INTERRUPTED: Duration = Duration::from_millis(700);

/// A bucket's prefix in which days are published, and this machine's folder for them.
#[derive(Debug)]
pub struct Bucket {
    s3: S3Store,
    scratch: Scratch,
    endpoint_url: Option<String>,
    locks_are_known: AtomicBool,
}

impl Bucket {
    pub fn open(
        bucket: &str,
        prefix: &str,
        options: &StoreOptions,
    ) -> Result<Bucket, PublishError> {
        Ok(Bucket {
            s3: S3Store::open(bucket, prefix, options)?,
            scratch: Scratch::new()?,
            endpoint_url: options.endpoint_url.clone(),
            locks_are_known: AtomicBool::new(false),
        })
    }

    pub fn url(&self) -> &SourceUrl {
        self.s3.url()
    }

    fn s3(&self) -> &S3Store {
        &self.s3
    }

    /// Whether this server was seen to keep to the condition of a put.
    fn locks_are_known(&self) -> bool {
        self.locks_are_known.load(Ordering::Relaxed)
    }

    fn locks_work(&self) {
        self.locks_are_known.store(true, Ordering::Relaxed);
    }

    /// The command by which a person removes an object.
    fn removal_of(&self, key: &str) -> String {
        let url = self.url().of_key(key);
        match &self.endpoint_url {
            Some(endpoint) => format!("aws s3 rm {url} --endpoint-url {endpoint}"),
            None => format!("aws s3 rm {url}"),
        }
    }

    fn list(&self, prefixes: &[String]) -> Result<Vec<ObjectMeta>, PublishError> {
        let mut objects = Vec::new();
        for listing in self.s3.list(prefixes, &|_| {}) {
            objects.extend(listing?.objects);
        }
        Ok(objects)
    }

    /// The object of exactly this key. It is listed, and not just read, because a read of what is
    /// not there is answered by 403 where listing is not allowed, and by 404 where it is.
    fn find(&self, key: &str) -> Result<Option<ObjectMeta>, PublishError> {
        let mut objects = self.list(&[key.to_string()])?;
        objects.retain(|object| object.key == key);
        Ok(objects.pop())
    }

    /// The text of a small object; `None` where it went away or changed since it was listed.
    fn read_small(&self, object: &ObjectMeta) -> Result<Option<String>, PublishError> {
        let body = match self.s3.get(object, WHOLE_BYTES) {
            Err(StoreError::Gone { .. } | StoreError::Changed { .. }) => return Ok(None),
            body => body?,
        };
        let (content, _permit) = body.into_parts();
        let bytes = match content {
            Content::Whole(bytes) => bytes,
            Content::Stream(mut stream) => {
                let mut bytes = Vec::new();
                let url = self.url().of_key(&object.key);
                stream
                    .read_to_end(&mut bytes)
                    .map_err(|error| StoreError::from_read(error, &url))?;
                bytes
            }
        };
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The manifest of what is published for `target`, if anything is.
    pub fn manifest(&self, target: &Target) -> Result<Option<Manifest>, PublishError> {
        match self.find(&key_of(&target.path(&Item::Manifest)))? {
            Some(object) => self.read_manifest(&object),
            None => Ok(None),
        }
    }

    fn read_manifest(&self, object: &ObjectMeta) -> Result<Option<Manifest>, PublishError> {
        let place = || PathBuf::from(self.url().of_key(&object.key));
        let text = self.read_small(object)?;
        text.map(|text| understand(&text, &place())).transpose()
    }

    /// Downloads an item; `None` where there is none.
    pub fn file(&self, target: &Target, item: &Item) -> Result<Option<PathBuf>, PublishError> {
        let path = target.path(item);
        let Some(object) = self.find(&key_of(&path))? else { return Ok(None) };
        let to = self.scratch.path().join("read").join(&path);
        let folder = to.parent().expect("an item lies in a folder");
        std::fs::create_dir_all(folder).map_err(PublishError::file("create", folder))?;
        let (content, _permit) = self.s3.get(&object, WHOLE_BYTES)?.into_parts();
        match content {
            Content::Whole(bytes) => {
                std::fs::write(&to, bytes).map_err(PublishError::file("write", &to))?;
            }
            Content::Stream(stream) => self.save(stream, &object, &to)?,
        }
        Ok(Some(to))
    }

    fn save(
        &self,
        mut stream: Box<dyn Read + Send>,
        object: &ObjectMeta,
        to: &Path,
    ) -> Result<(), PublishError> {
        use std::io::Write;
        let mut file = std::fs::File::create(to).map_err(PublishError::file("create", to))?;
        let mut buffer = vec![0; 1 << 18];
        loop {
            let url = self.url().of_key(&object.key);
            let read =
                stream.read(&mut buffer).map_err(|error| StoreError::from_read(error, &url))?;
            if read == 0 {
                return Ok(());
            }
            file.write_all(&buffer[..read]).map_err(PublishError::file("write", to))?;
        }
    }

    /// Puts one file that belongs to no target, as a picture of several days does.
    pub fn put_alone(
        &self,
        path: &Path,
        bytes: &[u8],
        interrupted: &AtomicBool,
    ) -> Result<(), PublishError> {
        let from = self.scratch.path().join("alone");
        std::fs::write(&from, bytes).map_err(PublishError::file("write", &from))?;
        self.put(&from, path, interrupted)
    }

    fn put(&self, from: &Path, path: &Path, interrupted: &AtomicBool) -> Result<(), PublishError> {
        match self.s3.put_file(&key_of(path), from, &Stored::plain(content_type(path)), interrupted)
        {
            Err(StoreError::Stopped { .. }) if interrupted.load(Ordering::Relaxed) => {
                Err(PublishError::Interrupted)
            }
            put => Ok(put?),
        }
    }

    /// Every object that an earlier publish of `target` may have made.
    fn published(&self, target: &Target) -> Result<Vec<PathBuf>, PublishError> {
        let aggregates = format!("{}/", key_of(&target.aggregates()));
        let names = self.s3.folders(&aggregates)?;
        let names = names.iter().filter_map(|name| name.strip_prefix(&aggregates));
        let names = names.map(|name| name.trim_end_matches('/').to_string()).collect();
        let folders = target.table_folders(names);
        let mut prefixes: Vec<String> =
            folders.iter().map(|folder| format!("{}/", key_of(folder))).collect();
        let charts = target.charts();
        prefixes.extend(charts.iter().map(|chart| key_of(chart)));
        let mut found: Vec<PathBuf> =
            self.list(&prefixes)?.into_iter().map(|object| object.key.into()).collect();
        found.retain(|path| charts.contains(path) || Target::is_part_in(path, &folders));
        found.sort();
        Ok(found)
    }
}

/// The key of a path relative to `--out`.
fn key_of(path: &Path) -> String {
    let names: Vec<_> = path.iter().map(|name| name.to_string_lossy()).collect();
    names.join("/")
}

fn content_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("parquet") => "application/vnd.apache.parquet",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}

/// A bucket's prefix that this run alone publishes to.
#[derive(Debug)]
pub struct OutBucket<'a> {
    bucket: Arc<Bucket>,
    lock: Lock,
    interrupted: &'a AtomicBool,
}

impl<'a> OutBucket<'a> {
    /// Takes the lock, and makes sure that the days there are of the zone `tz`.
    ///
    /// # Errors
    /// [`PublishError::LockedBucket`], [`PublishError::NoConditionalPut`],
    /// [`PublishError::OtherZone`], and what the store says.
    pub fn open(
        bucket: Arc<Bucket>,
        tz: &str,
        now_utc: DateTime<Utc>,
        interrupted: &'a AtomicBool,
    ) -> Result<OutBucket<'a>, PublishError> {
        let started = now_utc.to_rfc3339_opts(SecondsFormat::Secs, true);
        let lock = Lock::take(&bucket, &started, Utc::now())?;
        let out = OutBucket { bucket, lock, interrupted };
        out.check_zone(tz)?;
        Ok(out)
    }

    /// One manifest tells the zone of all: none of another zone was ever let in.
    fn check_zone(&self, tz: &str) -> Result<(), PublishError> {
        let bucket = &self.bucket;
        let mut objects = bucket.list(&["manifests/".to_string()])?;
        objects.retain(|object| object.key.ends_with(".json"));
        if objects.is_empty() {
            objects = bucket.list(&["windows/".to_string()])?;
            objects.retain(|object| object.key.ends_with("/manifest.json"));
        }
        // Listings are sorted.
        let Some(first) = objects.first() else { return Ok(()) };
        match bucket.read_manifest(first)?.map(|manifest| manifest.window.tz) {
            Some(found) if found != tz => Err(PublishError::OtherZone {
                out: bucket.url().to_string(),
                found,
                asked: tz.to_string(),
            }),
            _ => Ok(()),
        }
    }

    pub fn manifest(&self, target: &Target) -> Result<Option<Manifest>, PublishError> {
        self.bucket.manifest(target)
    }

    /// A folder of this machine that goes with the run.
    pub fn scratch(&self) -> &Path {
        self.bucket.scratch.path()
    }

    /// Begins to stage a target, on this machine.
    pub fn stage(&self, target: Target) -> Result<Stage<'_>, PublishError> {
        let folder = self.bucket.scratch.path().join(format!("stage-{}", target.id()));
        Stage::new(To::Bucket(self), target, folder)
    }

    /// Publishes what lies in `folder` under its final paths; the manifest is among `files`, the
    /// last. With `replace`, objects of an earlier publish that are not among them go.
    pub(super) fn publish(
        &self,
        target: &Target,
        folder: &Path,
        files: &[PathBuf],
        replace: bool,
    ) -> Result<(), PublishError> {
        let (manifest, data) = files.split_last().expect("the manifest is among them");
        self.lock.check(&self.bucket)?;
        let mut removals = match replace {
            true => self.bucket.published(target)?,
            false => Vec::new(),
        };
        removals.retain(|path| !data.contains(path));
        self.go_on()?;
        let done = self.replace(folder, manifest, data, &removals);
        done.map_err(|error| match error {
            PublishError::Interrupted => PublishError::Interrupted,
            source => PublishError::HalfPut {
                target: target.id(),
                out: self.bucket.url().to_string(),
                source: Box::new(source),
            },
        })
    }

    /// The order is what keeps the promise; see the top of this file.
    fn replace(
        &self,
        folder: &Path,
        manifest: &Path,
        data: &[PathBuf],
        removals: &[PathBuf],
    ) -> Result<(), PublishError> {
        self.bucket.s3.delete(&key_of(manifest))?;
        for path in data {
            self.bucket.put(&folder.join(path), path, self.interrupted)?;
        }
        for path in removals {
            self.go_on()?;
            self.bucket.s3.delete(&key_of(path))?;
        }
        self.bucket.put(&folder.join(manifest), manifest, self.interrupted)
    }

    fn go_on(&self) -> Result<(), PublishError> {
        match self.interrupted.load(Ordering::Relaxed) {
            true => Err(PublishError::Interrupted),
            false => Ok(()),
        }
    }
}

impl Drop for OutBucket<'_> {
    fn drop(&mut self) {
        let patience = match self.interrupted.load(Ordering::Relaxed) {
            true => RELEASE_PATIENCE_INTERRUPTED,
            false => RELEASE_PATIENCE,
        };
        self.lock.release(&self.bucket, patience);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_file_has_its_content_type() {
        let types = ["a/part-00000.parquet", "c.svg", "c.png", "m.json", "x"]
            .map(|path| content_type(Path::new(path)));
        assert_eq!(
            types,
            [
                "application/vnd.apache.parquet",
                "image/svg+xml",
                "image/png",
                "application/json",
                "application/octet-stream"
            ]
        );
    }
}
