//! A private folder on this machine: made below the system's temporary folder, gone with its owner.
//!
//! What is published to a bucket is staged here, and what is read from one lies here. A killed run
//! can't remove its folder, so each run removes those whose owner is gone: the owner holds a lock
//! of the operating system's on a file in it.

use std::fs::{DirBuilder, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::super::error::PublishError;
use super::super::lock::is_in_place;

const NAME: &str = "rawcat-";
const ALIVE: &str = "alive";
/// Times that a name may be taken already, or the new folder be swept away before it is locked.
const ATTEMPTS: usize = 100;

#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    /// Locked while its owner lives.
    _alive: File,
}

impl Scratch {
    pub fn new() -> Result<Scratch, PublishError> {
        Scratch::below(&std::env::temp_dir())
    }

    fn below(parent: &Path) -> Result<Scratch, PublishError> {
        for _ in 0..ATTEMPTS {
            let path = parent.join(format!("{NAME}{}-{:016x}", std::process::id(), random()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(problem) if problem.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made.map_err(PublishError::file("create", &path))?,
            }
            if let Some(alive) = claim(&path).map_err(PublishError::file("lock", &path))? {
                let scratch = Scratch { path, _alive: alive };
                scratch.sweep(parent);
                return Ok(scratch);
            }
        }
        let busy = io::Error::other("no name was free");
        Err(PublishError::file("create a folder in", parent)(busy))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes this user's folders whose owners are gone. Whatever is in doubt stays.
    fn sweep(&self, parent: &Path) {
        let Ok(own) = std::fs::symlink_metadata(&self.path) else { return };
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            let path = entry.path();
            let named = entry.file_name().to_str().is_some_and(|name| name.starts_with(NAME));
            let ours = || {
                let meta = std::fs::symlink_metadata(&path);
                meta.is_ok_and(|meta| meta.is_dir() && meta.uid() == own.uid())
            };
            if !named || path == self.path || !ours() {
                continue;
            }
            if let Ok(alive) = File::open(path.join(ALIVE))
                && alive.try_lock().is_ok()
            {
                let _ = std::fs::remove_dir_all(&path);
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What can't be removed now is swept away by a later run.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Locks a new folder; `None` where another run took it for an old one.
fn claim(path: &Path) -> io::Result<Option<File>> {
    let place = path.join(ALIVE);
    let alive = match File::create_new(&place) {
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(None),
        made => made?,
    };
    Ok((alive.try_lock().is_ok() && is_in_place(&alive, &place)).then_some(alive))
}

/// Differs from run to run and from call to call; no secret.
pub fn random() -> u64 {
    // The standard library seeds its hashers at random.
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(parent: &Path) -> usize {
        std::fs::read_dir(parent).expect("readable").count()
    }

    #[test]
    fn a_folder_goes_with_its_owner_and_only_its_user_may_look_into_it() {
        let parent = tempfile::tempdir().expect("a folder");
        let scratch = Scratch::below(parent.path()).expect("made");
        std::fs::write(scratch.path().join("x"), "x").expect("written");
        let mode = std::fs::metadata(scratch.path()).expect("there").mode();
        assert_eq!(mode & 0o777, 0o700);
        drop(scratch);
        assert_eq!(count(parent.path()), 0);
    }

    #[test]
    fn what_a_killed_run_left_is_removed_and_what_lives_is_not() {
        let parent = tempfile::tempdir().expect("a folder");
        let alive = Scratch::below(parent.path()).expect("made");
        let dead = parent.path().join("rawcat-1-0123456789abcdef");
        std::fs::create_dir_all(dead.join("stage")).expect("created");
        std::fs::write(dead.join(ALIVE), "").expect("written");
        let strange = parent.path().join("rawcat-notes");
        std::fs::create_dir(&strange).expect("created");
        let next = Scratch::below(parent.path()).expect("made");
        assert!(alive.path().exists() && next.path().exists() && strange.exists());
        assert!(!dead.exists());
    }
}
