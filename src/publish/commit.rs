//! The commit: staged files go in, and the target is published whole or not at all.
//!
//! Everything is synced where it was staged, then one record that says which files go where is
//! renamed into place. That is the point of no return: before it a crash leaves the old state,
//! after it the next run finishes what the record says. The steps after it may run any number of
//! times. The manifest moves last.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::PublishError;
use super::lock::OWN_FOLDER;

const STAGE: &str = "stage-";
const RECORD: &str = "commit-";

/// What is to be done, relative to `--out`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Staged files by their final paths; the manifest is the last.
    pub files: Vec<PathBuf>,
    /// Files of an earlier publish that go.
    pub removals: Vec<PathBuf>,
}

/// One commit, whose target is known by its id.
#[derive(Clone, Debug)]
pub struct Commit {
    out: PathBuf,
    id: String,
    record: Record,
}

/// A step of the protocol. A crash happens between two of them, or leaves one half done.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    SyncFile(PathBuf),
    SyncFolder(PathBuf),
    WriteRecord,
    /// The point of no return.
    PlaceRecord,
    /// Takes the earlier manifest away, so that no reader sees it beside the new files.
    Withdraw(PathBuf),
    Move(PathBuf),
    Remove(PathBuf),
    RemoveRecord,
    RemoveStage,
}

/// The folder in which a target's files are staged.
pub fn stage_folder(out: &Path, id: &str) -> PathBuf {
    out.join(OWN_FOLDER).join(format!("{STAGE}{id}"))
}

impl Commit {
    pub fn new(out: &Path, id: &str, record: Record) -> Commit {
        Commit { out: out.to_path_buf(), id: id.to_string(), record }
    }

    /// Publishes. After an error, [`Commit::is_decided`] tells whether the next run will finish.
    pub fn run(&self) -> Result<(), PublishError> {
        let mut steps = self.prepare().into_iter().chain(self.forward());
        steps.try_for_each(|step| self.take(&step))
    }

    /// Whether the point of no return was passed and something remains to be done.
    pub fn is_decided(&self) -> bool {
        self.record_path().exists()
    }

    fn record_path(&self) -> PathBuf {
        self.out.join(OWN_FOLDER).join(format!("{RECORD}{}.json", self.id))
    }

    fn stage(&self) -> PathBuf {
        stage_folder(&self.out, &self.id)
    }

    /// The steps up to the point of no return.
    fn prepare(&self) -> Vec<Step> {
        let staged = self.record.files.iter().map(|file| self.stage().join(file));
        let mut steps: Vec<Step> = staged.map(Step::SyncFile).collect();
        steps.extend(folders_above(&self.record.files, &self.stage()).map(Step::SyncFolder));
        steps.push(Step::SyncFolder(self.out.join(OWN_FOLDER)));
        steps.push(Step::SyncFolder(self.out.clone()));
        steps.extend([Step::WriteRecord, Step::PlaceRecord]);
        steps.push(Step::SyncFolder(self.out.join(OWN_FOLDER)));
        steps
    }

    /// The steps after it, each of which may be repeated.
    fn forward(&self) -> Vec<Step> {
        let Some((manifest, files)) = self.record.files.split_last() else {
            return vec![Step::RemoveRecord, Step::RemoveStage];
        };
        let last = std::slice::from_ref(manifest);
        let mut steps = vec![Step::Withdraw(manifest.clone())];
        steps.extend(files.iter().cloned().map(Step::Move));
        steps.extend(self.record.removals.iter().cloned().map(Step::Remove));
        steps.extend(folders_above(files, &self.out).map(Step::SyncFolder));
        steps.push(Step::Move(manifest.clone()));
        steps.extend(folders_above(last, &self.out).map(Step::SyncFolder));
        steps.push(Step::RemoveRecord);
        steps.push(Step::SyncFolder(self.out.join(OWN_FOLDER)));
        steps.push(Step::RemoveStage);
        steps
    }

    fn take(&self, step: &Step) -> Result<(), PublishError> {
        match step {
            Step::SyncFile(path) | Step::SyncFolder(path) => sync(path),
            Step::WriteRecord => self.write_record(),
            Step::PlaceRecord => {
                let path = self.record_path();
                std::fs::rename(path.with_extension("tmp"), &path)
                    .map_err(PublishError::file("rename", &path))
            }
            // Once the new manifest has been moved, the one in place is the new one.
            Step::Withdraw(manifest) if self.stage().join(manifest).exists() => {
                let path = self.out.join(manifest);
                remove_if_there(&path)?;
                let folder = path.parent().filter(|folder| folder.exists());
                folder.map_or(Ok(()), sync)
            }
            Step::Withdraw(_) => Ok(()),
            Step::Move(file) => self.move_file(file),
            Step::Remove(file) => self.remove_file(file),
            Step::RemoveRecord => remove_if_there(&self.record_path()),
            Step::RemoveStage => remove_stage(&self.stage()),
        }
    }

    fn write_record(&self) -> Result<(), PublishError> {
        let path = self.record_path().with_extension("tmp");
        let text = serde_json::to_string(&self.record).map_err(io::Error::other);
        text.and_then(|text| {
            let mut file = File::create(&path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .map_err(PublishError::file("write", &path))
    }

    fn move_file(&self, file: &Path) -> Result<(), PublishError> {
        let (from, to) = (self.stage().join(file), self.out.join(file));
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder).map_err(PublishError::file("create", folder))?;
        }
        match std::fs::rename(&from, &to) {
            // The run before was interrupted behind this step.
            Err(problem) if problem.kind() == io::ErrorKind::NotFound && to.exists() => Ok(()),
            done => done.map_err(PublishError::file("move into place", &to)),
        }
    }

    fn remove_file(&self, file: &Path) -> Result<(), PublishError> {
        remove_if_there(&self.out.join(file))?;
        // Folders that are empty now go too, up to `--out`; the first that is not ends it. Synced, it
        // brings nothing back after the record of this removal is gone.
        let folders = file.ancestors().skip(1).filter(|folder| *folder != Path::new(""));
        for folder in folders.map(|folder| self.out.join(folder)) {
            match std::fs::remove_dir(&folder) {
                Err(problem) if problem.kind() != io::ErrorKind::NotFound => return sync(&folder),
                // Gone now, or by a run that was interrupted behind this step.
                _ => {}
            }
        }
        sync(&self.out)
    }
}

/// Finishes what an interrupted run had decided, and clears away what it had not.
pub fn recover(out: &Path) -> Result<(), PublishError> {
    let own = out.join(OWN_FOLDER);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&own).map_err(PublishError::file("read", &own))? {
        let entry = entry.map_err(PublishError::file("read", &own))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    for name in &names {
        let id = name.strip_prefix(RECORD).and_then(|rest| rest.strip_suffix(".json"));
        if let Some(id) = id {
            let commit = Commit::new(out, id, read_record(&own.join(name))?);
            commit.forward().iter().try_for_each(|step| commit.take(step))?;
        }
    }
    for name in names {
        let path = own.join(&name);
        if name.starts_with(STAGE) {
            remove_stage(&path)?;
        } else if name.starts_with(RECORD) && name.ends_with(".tmp") {
            remove_if_there(&path)?;
        }
    }
    Ok(())
}

fn read_record(path: &Path) -> Result<Record, PublishError> {
    let text = std::fs::read_to_string(path).map_err(PublishError::file("read", path))?;
    let damaged =
        |problem: String| PublishError::CommitRecord { path: path.to_path_buf(), problem };
    let record: Record =
        serde_json::from_str(&text).map_err(|problem| damaged(problem.to_string()))?;
    let inside =
        |path: &PathBuf| path.components().all(|part| matches!(part, Component::Normal(_)));
    if record.files.iter().chain(&record.removals).all(inside) {
        Ok(record)
    } else {
        Err(damaged("it names a path outside the folder".to_string()))
    }
}

/// The folders of `files` below `root`, and `root` itself, deepest first and each once.
fn folders_above(files: &[PathBuf], root: &Path) -> impl Iterator<Item = PathBuf> {
    let mut folders: Vec<PathBuf> = files
        .iter()
        .flat_map(|file| file.ancestors().skip(1))
        .map(|folder| root.join(folder))
        .collect();
    folders.sort_by(|a, b| b.cmp(a));
    folders.dedup();
    folders.into_iter()
}

fn sync(path: &Path) -> Result<(), PublishError> {
    let synced = File::open(path).and_then(|file| file.sync_all());
    synced.map_err(PublishError::file("sync", path))
}

fn remove_if_there(path: &Path) -> Result<(), PublishError> {
    match std::fs::remove_file(path) {
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(PublishError::file("remove", path)),
    }
}

/// Removes a stage and all that is in it.
pub fn remove_stage(folder: &Path) -> Result<(), PublishError> {
    match std::fs::remove_dir_all(folder) {
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done.map_err(PublishError::file("remove", folder)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    type Tree = BTreeMap<PathBuf, String>;

    fn tree(root: &Path) -> Tree {
        fn walk(root: &Path, folder: &Path, tree: &mut Tree) {
            for entry in std::fs::read_dir(folder).expect("readable") {
                let path = entry.expect("readable").path();
                if path.is_dir() {
                    walk(root, &path, tree);
                } else {
                    let text = std::fs::read_to_string(&path).expect("readable");
                    tree.insert(path.strip_prefix(root).expect("below").to_path_buf(), text);
                }
            }
        }
        let mut made = Tree::new();
        walk(root, root, &mut made);
        made
    }

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        std::fs::write(path, text).expect("written");
    }

    const OLD: [(&str, &str); 4] = [
        ("aggregates/5m/local_date=D/part-00000.parquet", "old 5m"),
        ("manifests/D.json", "old manifest"),
        ("records/local_date=C/part-00000.parquet", "the day before"),
        ("records/local_date=D/part-00000.parquet", "old records"),
    ];
    const NEW: [(&str, &str); 3] = [
        ("aggregates/hourly/local_date=D/part-00000.parquet", "new hourly"),
        ("records/local_date=D/part-00000.parquet", "new records"),
        ("manifests/D.json", "new manifest"),
    ];

    /// A folder with an old publish and a staged new one.
    fn folder() -> (tempfile::TempDir, Commit) {
        // In memory where that is possible: hundreds of crashes sync thousands of times.
        let out = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let out = out.expect("a folder");
        OLD.iter().for_each(|(path, text)| put(out.path(), path, text));
        let stage = stage_folder(out.path(), "D");
        NEW.iter().for_each(|(path, text)| put(&stage, path, text));
        let record = Record {
            files: NEW.iter().map(|(path, _)| path.into()).collect(),
            removals: vec![OLD[0].0.into()],
        };
        let commit = Commit::new(out.path(), "D", record);
        (out, commit)
    }

    fn old() -> Tree {
        OLD.iter().map(|(path, text)| (path.into(), text.to_string())).collect()
    }

    fn new() -> Tree {
        let mut tree = Tree::from([(OLD[2].0.into(), OLD[2].1.to_string())]);
        tree.extend(NEW.iter().map(|(path, text)| (path.into(), text.to_string())));
        tree
    }

    #[test]
    fn an_undisturbed_commit_publishes_everything_and_leaves_nothing_else() {
        let (out, commit) = folder();
        commit.run().expect("published");
        assert_eq!(tree(out.path()), new());
        assert!(!out.path().join("aggregates/5m").exists());
        assert!(!commit.is_decided());
        std::fs::remove_dir(out.path().join(OWN_FOLDER)).expect("its own folder is empty");
    }

    #[test]
    fn a_crash_after_any_step_ends_in_the_old_state_or_the_new_one() {
        let (_, commit) = folder();
        let decided = commit.prepare().iter().position(|step| *step == Step::PlaceRecord);
        let decided = decided.expect("it is a step") + 1;
        let total = commit.prepare().len() + commit.forward().len();
        for taken in 0..=total {
            let (out, commit) = folder();
            let steps = commit.prepare().into_iter().chain(commit.forward());
            steps.take(taken).for_each(|step| commit.take(&step).expect("taken"));
            recover(out.path()).expect("recovered");
            let expected = if taken < decided { old() } else { new() };
            assert_eq!(tree(out.path()), expected, "after {taken} of {total} steps");
            recover(out.path()).expect("recovering again changes nothing");
            assert_eq!(tree(out.path()), expected);
        }
    }

    #[test]
    fn a_crash_during_recovery_ends_in_the_new_state_too() {
        let (_, commit) = folder();
        for first in 0..=commit.forward().len() {
            for second in 0..=commit.forward().len() {
                let (out, commit) = folder();
                commit.prepare().iter().for_each(|step| commit.take(step).expect("taken"));
                commit.forward()[..first].iter().for_each(|step| commit.take(step).expect("taken"));
                commit.forward()[..second]
                    .iter()
                    .for_each(|step| commit.take(step).expect("again"));
                recover(out.path()).expect("recovered");
                assert_eq!(tree(out.path()), new(), "after {first} and {second} steps");
            }
        }
    }

    #[test]
    fn a_record_cut_in_the_middle_of_writing_is_cleared_away() {
        let (out, commit) = folder();
        put(out.path(), ".rawcat/commit-D.tmp", "{\"files\":[\"rec");
        recover(out.path()).expect("recovered");
        assert_eq!(tree(out.path()), old());
        assert!(!commit.is_decided());
    }

    #[test]
    fn a_damaged_record_is_an_error_that_names_it() {
        let (out, _) = folder();
        put(out.path(), ".rawcat/commit-D.json", "{\"files\":[\"rec");
        let problem = recover(out.path()).expect_err("damaged").to_string();
        assert!(problem.contains("commit-D.json, is damaged"), "{problem}");
        let escape = r#"{"files":["../x"],"removals":[]}"#;
        put(out.path(), ".rawcat/commit-D.json", escape);
        let problem = recover(out.path()).expect_err("damaged").to_string();
        assert!(problem.contains("outside the folder"), "{problem}");
    }
}
