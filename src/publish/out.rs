//! The `--out` folder: opened, it is locked and whole; a [`Stage`] takes a target's files, and
//! publishes them at once. A stage for a bucket differs in its last step only.
//!
//! Nothing of rawcat's own stays in the folder after a run, whether it succeeded or failed.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat, Utc};
use xxhash_rust::xxh3::Xxh3;

use super::bucket::OutBucket;
use super::commit::{self, Commit, Record, stage_folder};
use super::error::PublishError;
use super::lock::Lock;
use super::manifest::{FileNote, Manifest, check_equations};
use super::place::{Item, Target};

/// An `--out` folder that this run alone uses.
#[derive(Debug)]
pub struct OutFolder {
    root: PathBuf,
    /// Held until the folder is closed.
    _lock: Lock,
}

impl OutFolder {
    /// Creates the folder where it is missing, takes its lock, finishes or clears away what an
    /// interrupted run left, and makes sure that its days are of the zone `tz`.
    ///
    /// # Errors
    /// [`PublishError::Locked`], [`PublishError::OtherZone`], and what the disk says.
    pub fn open(root: &Path, tz: &str, now_utc: DateTime<Utc>) -> Result<OutFolder, PublishError> {
        std::fs::create_dir_all(root).map_err(PublishError::file("create", root))?;
        let lock = Lock::take(root, &now_utc.to_rfc3339_opts(SecondsFormat::Secs, true))?;
        commit::recover(root)?;
        let out = OutFolder { root: root.to_path_buf(), _lock: lock };
        out.check_zone(tz)?;
        Ok(out)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// One manifest tells the zone of all: none of another zone was ever let in.
    fn check_zone(&self, tz: &str) -> Result<(), PublishError> {
        let days = self.root.join("manifests");
        let windows = self.root.join("windows");
        let mut paths = entries(&days)?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        if paths.is_empty() {
            paths.extend(entries(&windows)?.iter().map(|folder| folder.join("manifest.json")));
            paths.retain(|path| path.exists());
        }
        let Some(path) = paths.iter().min() else {
            return Ok(());
        };
        let found = read_manifest(path)?.map(|manifest| manifest.window.tz);
        match found {
            Some(found) if found != tz => Err(PublishError::OtherZone {
                out: self.root.display().to_string(),
                found,
                asked: tz.to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// The manifest of what is published for `target`, if anything is.
    pub fn manifest(&self, target: &Target) -> Result<Option<Manifest>, PublishError> {
        read_manifest(&self.root.join(target.path(&Item::Manifest)))
    }

    /// Begins to stage a target. Nothing changes for readers until [`Stage::publish`].
    pub fn stage(&self, target: Target) -> Result<Stage<'_>, PublishError> {
        let folder = stage_folder(&self.root, &target.id());
        Stage::new(To::Folder(self), target, folder)
    }
}

/// Where a stage publishes to.
#[derive(Clone, Copy, Debug)]
pub(super) enum To<'a> {
    Folder(&'a OutFolder),
    Bucket(&'a OutBucket<'a>),
}

/// The files of a target while they are made. Dropped without being published, it is gone.
#[derive(Debug)]
pub struct Stage<'a> {
    to: To<'a>,
    target: Target,
    folder: PathBuf,
    /// Final paths, and rows of tables.
    files: Vec<(PathBuf, Option<u64>)>,
    decided: bool,
}

impl<'a> Stage<'a> {
    pub(super) fn new(
        to: To<'a>,
        target: Target,
        folder: PathBuf,
    ) -> Result<Stage<'a>, PublishError> {
        commit::remove_stage(&folder)?;
        std::fs::create_dir_all(&folder).map_err(PublishError::file("create", &folder))?;
        Ok(Stage { to, target, folder, files: Vec::new(), decided: false })
    }

    /// Where to write an item. Its folder exists; the file counts once it is [`Stage::add`]ed.
    pub fn path(&self, item: &Item) -> Result<PathBuf, PublishError> {
        let path = self.folder.join(self.target.path(item));
        let folder = path.parent().expect("an item lies in the stage");
        std::fs::create_dir_all(folder).map_err(PublishError::file("create", folder))?;
        Ok(path)
    }

    /// A folder of this name for what is needed while the target is made. Nothing is there yet; what
    /// a killed run leaves there goes away with its stage.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Notes that the file of an item is written; `rows` for tables.
    pub fn add(&mut self, item: &Item, rows: Option<u64>) {
        self.files.push((self.target.path(item), rows));
        self.files.sort();
    }

    /// Publishes what was added together with the manifest, in place of what was there for the
    /// same target. Files of an earlier publish that this one does not make are removed.
    ///
    /// Fills in `manifest.files`. Whether an incomplete day may replace a complete one is for the
    /// caller to decide, by [`OutFolder::manifest`].
    ///
    /// # Errors
    /// [`PublishError::Equation`] when the manifest's books do not balance, and what the disk
    /// says. What was published before is then still there, or the next run finishes this one.
    pub fn publish(self, manifest: &mut Manifest) -> Result<(), PublishError> {
        check_equations(manifest)?;
        manifest.files = self.notes()?;
        self.commit(manifest, true)
    }

    /// Puts what was added into a target that is published, in place of files of the same names;
    /// its other files stay.
    pub fn amend(self, manifest: &mut Manifest) -> Result<(), PublishError> {
        let notes = self.notes()?;
        manifest.files.retain(|file| notes.iter().all(|note| note.path != file.path));
        manifest.files.extend(notes);
        manifest.files.sort_by(|a, b| a.path.cmp(&b.path));
        self.commit(manifest, false)
    }

    fn notes(&self) -> Result<Vec<FileNote>, PublishError> {
        self.files.iter().map(|(path, rows)| self.note(path, *rows)).collect()
    }

    /// With `replace`, what an earlier publish made and this one does not is removed.
    fn commit(mut self, manifest: &Manifest, replace: bool) -> Result<(), PublishError> {
        let path = self.path(&Item::Manifest)?;
        std::fs::write(&path, manifest.to_json()).map_err(PublishError::file("write", &path))?;

        let mut files: Vec<PathBuf> = self.files.iter().map(|(path, _)| path.clone()).collect();
        files.push(self.target.path(&Item::Manifest));
        let root = match self.to {
            To::Folder(out) => &out.root,
            To::Bucket(out) => return out.publish(&self.target, &self.folder, &files, replace),
        };
        let mut removals = Vec::new();
        if replace {
            removals = self.target.published(root).map_err(PublishError::file("read", root))?;
            removals.retain(|path| !files.contains(path));
        }
        let commit = Commit::new(root, &self.target.id(), Record { files, removals });
        let done = commit.run().map_err(|problem| match commit.is_decided() {
            true => PublishError::Unfinished(Box::new(problem)),
            false => problem,
        });
        self.decided = commit.is_decided();
        done
    }

    fn note(&self, path: &Path, rows: Option<u64>) -> Result<FileNote, PublishError> {
        let staged = self.folder.join(path);
        let (bytes, xxh3) = digest(&staged).map_err(PublishError::file("read", &staged))?;
        let names: Vec<_> = path.iter().map(|name| name.to_string_lossy()).collect();
        Ok(FileNote { path: names.join("/"), bytes, rows, xxh3 })
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        // A decided publish keeps its stage: the next run finishes it from there. Else what
        // cannot be removed now is removed by the next run.
        if !self.decided {
            let _ = commit::remove_stage(&self.folder);
            let own = self.folder.with_file_name(format!("commit-{}.tmp", self.target.id()));
            let _ = std::fs::remove_file(own);
        }
    }
}

/// Length and xxh3 of a file.
fn digest(path: &Path) -> std::io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut digest = Xxh3::new();
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, format!("{:016x}", digest.digest())));
        }
        digest.update(&buffer[..read]);
        bytes += read as u64;
    }
}

/// Reads a manifest file; `None` where there is none.
pub fn read_manifest(path: &Path) -> Result<Option<Manifest>, PublishError> {
    let text = match std::fs::read_to_string(path) {
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(PublishError::file("read", path))?,
    };
    understand(&text, path).map(Some)
}

/// The manifest that stands in `path`.
pub(super) fn understand(text: &str, path: &Path) -> Result<Manifest, PublishError> {
    let unclear = |problem| PublishError::Manifest { path: path.to_path_buf(), problem };
    Manifest::from_json(text).map_err(unclear)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, PublishError> {
    let listed = match std::fs::read_dir(folder) {
        Err(problem) if problem.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(PublishError::file("read", folder))?,
    };
    let paths = listed.map(|entry| entry.map(|entry| entry.path()));
    paths.collect::<Result<_, _>>().map_err(PublishError::file("read", folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::manifest::{MANIFEST_VERSION, RecordsNote, WindowNote};
    use crate::publish::place::Step;
    use chrono::NaiveDate;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_650_330_000, 0).expect("a time")
    }

    fn day() -> Target {
        Target::Day(NaiveDate::from_ymd_opt(2022, 4, 18).expect("a date"))
    }

    fn manifest() -> Manifest {
        let window = WindowNote { tz: "Asia/Seoul".into(), ..Default::default() };
        Manifest { version: MANIFEST_VERSION, window, ..Default::default() }
    }

    fn write(stage: &mut Stage, item: Item, text: &str) {
        std::fs::write(stage.path(&item).expect("a path"), text).expect("written");
        stage.add(&item, Some(1));
    }

    fn files(root: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for path in entries(&folder).expect("readable") {
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path.strip_prefix(root).expect("below").display().to_string());
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn a_second_publish_replaces_the_first_and_removes_what_it_does_not_make() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("deep/out");
        let out = OutFolder::open(&root, "Asia/Seoul", now()).expect("open");
        assert!(out.manifest(&day()).expect("readable").is_none());
        let mut stage = out.stage(day()).expect("a stage");
        write(&mut stage, Item::Records, "records 1");
        write(&mut stage, Item::Buckets(Step::new(300_000_000)), "5m 1");
        write(&mut stage, Item::ChartSvg, "chart 1");
        let mut first = manifest();
        stage.publish(&mut first).expect("published");
        assert_eq!(out.manifest(&day()).expect("readable"), Some(first.clone()));
        let paths: Vec<_> = first.files.iter().map(|file| &*file.path).collect();
        let records = "records/local_date=2022-04-18/part-00000.parquet";
        let buckets = "aggregates/5m/local_date=2022-04-18/part-00000.parquet";
        assert_eq!(paths, [buckets, "charts/2022-04-18.svg", records]);
        assert_eq!((first.files[2].bytes, first.files[2].rows), (9, Some(1)));
        assert_eq!(
            first.files[2].xxh3,
            format!("{:016x}", xxhash_rust::xxh3::xxh3_64(b"records 1"))
        );

        let mut stage = out.stage(day()).expect("a stage");
        write(&mut stage, Item::Records, "records 2");
        stage.publish(&mut manifest()).expect("published");
        drop(out);
        assert_eq!(files(&root), ["manifests/2022-04-18.json", records]);
        assert_eq!(std::fs::read_to_string(root.join(records)).expect("readable"), "records 2");
        assert!(!root.join(".rawcat").exists() && !root.join("aggregates").exists());
    }

    #[test]
    fn an_abandoned_or_refused_publish_leaves_what_was_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = OutFolder::open(folder.path(), "Asia/Seoul", now()).expect("open");
        let mut stage = out.stage(day()).expect("a stage");
        write(&mut stage, Item::Records, "records 1");
        stage.publish(&mut manifest()).expect("published");
        let before = files(folder.path());

        let mut stage = out.stage(day()).expect("a stage");
        write(&mut stage, Item::Records, "records 2");
        drop(stage);
        let mut stage = out.stage(day()).expect("a stage");
        write(&mut stage, Item::Records, "records 3");
        let mut unbalanced = manifest();
        unbalanced.records = RecordsNote { parsed: 2, day: 1, ..Default::default() };
        let problem = stage.publish(&mut unbalanced).expect_err("a record is lost");
        assert!(matches!(problem, PublishError::Equation(_)));
        assert_eq!(files(folder.path()), before);
        drop(out);
        let path = folder.path().join(day().path(&Item::Records));
        assert_eq!(std::fs::read_to_string(path).expect("readable"), "records 1");
    }

    #[test]
    fn a_folder_of_another_zone_is_refused() {
        for target in [day(), Target::Window { start_utc: now(), end_utc: now() }] {
            let folder = tempfile::tempdir().expect("a folder");
            let out = OutFolder::open(folder.path(), "Asia/Seoul", now()).expect("open");
            out.stage(target).expect("a stage").publish(&mut manifest()).expect("published");
            drop(out);
            let refused = OutFolder::open(folder.path(), "UTC", now()).expect_err("another zone");
            let text = refused.to_string();
            assert!(text.contains("holds days of Asia/Seoul and this run is for UTC"), "{text}");
            OutFolder::open(folder.path(), "Asia/Seoul", now()).expect("its own zone");
            assert!(!folder.path().join(".rawcat").exists());
        }
    }

    #[test]
    fn a_locked_folder_is_refused_and_stays_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let out = OutFolder::open(folder.path(), "UTC", now()).expect("open");
        let stage = out.stage(day()).expect("a stage");
        let refused = OutFolder::open(folder.path(), "UTC", now()).expect_err("held");
        assert!(matches!(refused, PublishError::Locked { .. }));
        assert!(stage.folder.exists(), "the second run clears nothing away");
    }

    #[test]
    fn a_manifest_that_is_none_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("manifests")).expect("created");
        std::fs::write(folder.path().join("manifests/2022-04-18.json"), "{").expect("written");
        let problem = OutFolder::open(folder.path(), "UTC", now()).expect_err("no manifest");
        assert!(problem.to_string().contains("2022-04-18.json: EOF while parsing"), "{problem}");
    }
}
