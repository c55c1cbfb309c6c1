//! The lock of an `--out` folder: one run at a time.
//!
//! The lock is the operating system's, on `.rawcat/lock`: it ends with its process, however that
//! ends. What stands in the file only says who holds it. The file is removed by its holder, so a
//! run that gets the lock makes sure that the file is still the one in the folder.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::PublishError;

/// rawcat's own folder in `--out`.
pub const OWN_FOLDER: &str = ".rawcat";
/// Times that the file may vanish between being opened and being locked.
const ATTEMPTS: usize = 100;

/// Held while it lives.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    /// Closing it unlocks it.
    _file: File,
}

impl Lock {
    /// Takes the lock of `out`, or says who has it. `started_utc` is for the next run to read.
    pub fn take(out: &Path, started_utc: &str) -> Result<Lock, PublishError> {
        let folder = out.join(OWN_FOLDER);
        let path = folder.join("lock");
        for _ in 0..ATTEMPTS {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false);
            let opened = make_folder(&folder).and_then(|()| options.open(&path));
            let mut file = match opened {
                // The run before has just removed the folder.
                Err(problem) if problem.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.map_err(PublishError::file("create", &path))?,
            };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let holder = holder(&mut file);
                    return Err(PublishError::Locked { out: out.to_path_buf(), holder });
                }
                Err(TryLockError::Error(problem)) => {
                    return Err(PublishError::file("lock", &path)(problem));
                }
            }
            if !is_in_place(&file, &path) {
                continue;
            }
            write_holder(&mut file, started_utc).map_err(PublishError::file("write", &path))?;
            return Ok(Lock { path, _file: file });
        }
        let busy = io::Error::other("other runs keep coming and going");
        Err(PublishError::file("lock", &path)(busy))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Still locked here, so that nobody can hold a file that is about to go. What cannot be
        // removed is taken over by the next run.
        let _ = std::fs::remove_file(&self.path);
        if let Some(folder) = self.path.parent() {
            // Fails where something is left in it, which then has a reason to be there.
            let _ = std::fs::remove_dir(folder);
        }
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    match std::fs::create_dir(folder) {
        Err(problem) if problem.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

pub fn is_in_place(file: &File, path: &Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// What a lock says about the run that holds it.
pub fn holder_text(started_utc: &str) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let host = host.or_else(|_| std::fs::read_to_string("/etc/hostname")).unwrap_or_default();
    let host = if host.trim().is_empty() { "this machine" } else { host.trim() };
    format!("process {} on {host}, started {started_utc}", std::process::id())
}

fn write_holder(file: &mut File, started_utc: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", holder_text(started_utc))
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.take(1000).read_to_string(&mut text);
    let text: String = text.trim().chars().filter(|letter| !letter.is_control()).collect();
    if read.is_err() || text.is_empty() { "just begun".to_string() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_run_is_told_who_holds_the_lock() {
        let out = tempfile::tempdir().expect("a folder");
        let first = Lock::take(out.path(), "2022-04-19T00:00:00Z").expect("free");
        let second = Lock::take(out.path(), "2022-04-19T00:00:01Z").expect_err("held");
        let text = second.to_string();
        let holder = format!("process {} on ", std::process::id());
        assert!(text.contains(&holder), "{text}");
        assert!(text.contains("started 2022-04-19T00:00:00Z"), "{text}");
        drop(first);
        assert!(Lock::take(out.path(), "later").is_ok());
    }

    #[test]
    fn nothing_is_left_behind() {
        let out = tempfile::tempdir().expect("a folder");
        drop(Lock::take(out.path(), "now").expect("free"));
        assert_eq!(std::fs::read_dir(out.path()).expect("readable").count(), 0);
    }

    #[test]
    fn the_file_of_a_killed_run_is_taken_over() {
        let out = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(out.path().join(OWN_FOLDER)).expect("created");
        let path = out.path().join(OWN_FOLDER).join("lock");
        std::fs::write(&path, "process 1 on nowhere, started long ago and never ended")
            .expect("written");
        let lock = Lock::take(out.path(), "now").expect("nobody holds it");
        let text = std::fs::read_to_string(&path).expect("readable");
        assert!(text.ends_with("started now\n") && !text.contains("nowhere"), "{text}");
        drop(lock);
    }

    #[test]
    fn runs_that_come_and_go_at_once_never_hold_it_together() {
        let out = tempfile::tempdir().expect("a folder");
        let inside = std::sync::atomic::AtomicUsize::new(0);
        let order = std::sync::atomic::Ordering::SeqCst;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        match Lock::take(out.path(), "now") {
                            Ok(lock) => {
                                assert_eq!(inside.fetch_add(1, order), 0);
                                std::thread::yield_now();
                                inside.fetch_sub(1, order);
                                drop(lock);
                            }
                            Err(PublishError::Locked { .. }) => std::thread::yield_now(),
                            Err(other) => panic!("{other}"),
                        }
                    }
                });
            }
        });
    }
}
