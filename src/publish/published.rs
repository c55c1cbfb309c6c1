//! `--out`, be it a folder or a bucket's prefix: [`Published`] reads what is there, and [`Out`] is
//! its lock, under which a [`Stage`] publishes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use chrono::{DateTime, Utc};

use super::bucket::{Bucket, OutBucket};
use super::error::PublishError;
use super::manifest::Manifest;
use super::out::{OutFolder, Stage, read_manifest};
use super::place::{Item, Target};
use crate::store::{SourceUrl, StoreOptions};

/// What is published in one place, for reading. It takes no lock.
#[derive(Clone, Debug)]
pub enum Published {
    Folder(PathBuf),
    Bucket(Arc<Bucket>),
}

impl Published {
    /// Opens `--out`. A folder need not be there; of a bucket nothing is asked yet.
    pub fn at(out: &SourceUrl, options: &StoreOptions) -> Result<Published, PublishError> {
        Ok(match out {
            SourceUrl::Folder(root) => Published::Folder(root.clone()),
            SourceUrl::S3 { bucket, prefix } => {
                Published::Bucket(Arc::new(Bucket::open(bucket, prefix, options)?))
            }
        })
    }

    /// The manifest of what is published for `target`, if anything is.
    pub fn manifest(&self, target: &Target) -> Result<Option<Manifest>, PublishError> {
        match self {
            Published::Folder(root) => read_manifest(&root.join(target.path(&Item::Manifest))),
            Published::Bucket(bucket) => bucket.manifest(target),
        }
    }

    /// Whether the files that a manifest names are there with their sizes. Of a bucket they are not asked
    /// for: there a manifest stands only beside what it names.
    pub fn has_files_of(&self, manifest: &Manifest) -> bool {
        let Published::Folder(root) = self else {
            return true;
        };
        let is_there = |path: &str, bytes: u64| {
            std::fs::metadata(root.join(path)).is_ok_and(|file| file.len() == bytes)
        };
        manifest.files.iter().all(|file| is_there(&file.path, file.bytes))
    }

    /// An item as a file of this machine, downloaded where it lies in a bucket; `None` where there
    /// is none. It stays as long as this does.
    pub fn file(&self, target: &Target, item: &Item) -> Result<Option<PathBuf>, PublishError> {
        match self {
            Published::Folder(root) => {
                let path = root.join(target.path(item));
                Ok(path.exists().then_some(path))
            }
            Published::Bucket(bucket) => bucket.file(target, item),
        }
    }

    /// Puts one whole file that belongs to no target; `path` is relative to `--out`.
    pub fn put_alone(
        &self,
        path: &Path,
        bytes: &[u8],
        interrupted: &AtomicBool,
    ) -> Result<(), PublishError> {
        let root = match self {
            Published::Folder(root) => root,
            Published::Bucket(bucket) => return bucket.put_alone(path, bytes, interrupted),
        };
        let to = root.join(path);
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let temporary = to.with_file_name(format!(".{name}"));
        let folder = to.parent().unwrap_or(root);
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&temporary, bytes))
            .and_then(|()| std::fs::rename(&temporary, &to))
            .map_err(PublishError::file("write", &to))
    }

    /// The place as a person knows it.
    pub fn shown(&self) -> String {
        match self {
            Published::Folder(root) => root.display().to_string(),
            Published::Bucket(bucket) => bucket.url().to_string(),
        }
    }

    /// The place of a path relative to `--out`, as a person knows it.
    pub fn shown_path(&self, path: impl AsRef<Path>) -> String {
        let path = path.as_ref();
        match self {
            Published::Folder(root) => root.join(path).display().to_string(),
            Published::Bucket(bucket) => bucket.url().of_key(&path.to_string_lossy()),
        }
    }
}

/// `--out` while this run alone publishes there.
#[derive(Debug)]
pub enum Out<'a> {
    Folder(OutFolder),
    Bucket(OutBucket<'a>),
}

impl<'a> Out<'a> {
    /// Takes the lock, clears away or finishes what an interrupted run left in a folder, and makes
    /// sure that the days there are of the zone `tz`. `interrupted` ends what goes on in a bucket.
    ///
    /// # Errors
    /// [`PublishError::Locked`] or [`PublishError::LockedBucket`], [`PublishError::OtherZone`],
    /// and what the disk or the store says.
    pub fn open(
        published: &Published,
        tz: &str,
        now_utc: DateTime<Utc>,
        interrupted: &'a AtomicBool,
    ) -> Result<Out<'a>, PublishError> {
        Ok(match published {
            Published::Folder(root) => Out::Folder(OutFolder::open(root, tz, now_utc)?),
            Published::Bucket(bucket) => {
                Out::Bucket(OutBucket::open(Arc::clone(bucket), tz, now_utc, interrupted)?)
            }
        })
    }

    /// The manifest of what is published for `target`, if anything is.
    pub fn manifest(&self, target: &Target) -> Result<Option<Manifest>, PublishError> {
        match self {
            Out::Folder(folder) => folder.manifest(target),
            Out::Bucket(bucket) => bucket.manifest(target),
        }
    }

    /// A folder of this machine for files that stay no longer than the run.
    pub fn scratch(&self) -> &Path {
        match self {
            Out::Folder(folder) => folder.root(),
            Out::Bucket(bucket) => bucket.scratch(),
        }
    }

    /// Begins to stage a target. Nothing changes for readers until [`Stage::publish`].
    pub fn stage(&self, target: Target) -> Result<Stage<'_>, PublishError> {
        match self {
            Out::Folder(folder) => folder.stage(target),
            Out::Bucket(bucket) => bucket.stage(target),
        }
    }
}

impl From<OutFolder> for Out<'_> {
    fn from(folder: OutFolder) -> Self {
        Out::Folder(folder)
    }
}
