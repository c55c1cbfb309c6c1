//! What can go wrong while a day is published, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Failures of this room. `Display` is one line for a terminal.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A frame holds a column in a narrower type from which the wanted one cannot be made: its
    /// object has to be read again with the wider type.
    #[error("column {column} needs its objects read again, as {wanted}")]
    NeedsReparse { column: String, wanted: crate::schema::ColumnType },

    #[error("can't {action} {}: {source}{}", path.display(), room_left(*free_bytes))]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
        /// Set when the disk is full.
        free_bytes: Option<u64>,
    },

    #[error(
        "{0}; the day is being replaced and has no manifest until that is done: mend this and run \
         the same command again, which finishes it"
    )]
    Unfinished(Box<PublishError>),

    /// Parquet gives its length 32 bits.
    #[error(
        "{columns} columns in {groups} row groups need a footer of more than 4 GiB, which Parquet does \
         not have: where keys are data, declare what holds them as JSON (--type PATH=json), or export \
         fewer hours at a time (--from, --to)"
    )]
    FooterTooLong { columns: usize, groups: usize },

    #[error("can't write the table {}: {message}", path.display())]
    WriteTable { path: PathBuf, message: String },

    #[error("can't read the table {}: {message}", path.display())]
    ReadTable { path: PathBuf, message: String },

    #[error(
        "another run ({holder}) is publishing to {}; wait for it to end, or choose another --out",
        out.display()
    )]
    Locked { out: PathBuf, holder: String },

    #[error(
        "another run ({holder}{age}) is publishing to {out}; wait for it to end, or choose another --out; \
         if it was killed, remove its lock with `{remove}`"
    )]
    LockedBucket {
        out: String,
        holder: String,
        /// `, 3 h 5 min ago`, by the server's clock.
        age: String,
        /// A command.
        remove: String,
    },

    #[error(
        "{out} can't be locked, because its server does not support conditional puts \
         (If-None-Match: {reply}); publish to a folder and copy it, the folder manifests/ last"
    )]
    NoConditionalPut { out: String, reply: String },

    #[error(
        "the lock of {out} is not this run's any more ({holder} holds it); nothing was published: \
         run again"
    )]
    LostLock { out: String, holder: String },

    #[error(
        "publishing {target} to {out} did not end, and it has no manifest there until the same \
         command is run again: {source}"
    )]
    HalfPut { target: String, out: String, source: Box<PublishError> },

    #[error("interrupted")]
    Interrupted,

    #[error(transparent)]
    Store(#[from] crate::store::StoreError),

    #[error(
        "{out} holds days of {found} and this run is for {asked}: one --out has one zone, \
         so choose another --out, or use --tz {found}"
    )]
    OtherZone { out: String, found: String, asked: String },

    #[error(
        "can't understand the manifest {}: {problem}; delete it and fetch its day again",
        path.display()
    )]
    Manifest { path: PathBuf, problem: String },

    #[error(
        "the record of an interrupted publish, {}, is damaged ({problem}): \
         remove it and publish its day again",
        path.display()
    )]
    CommitRecord { path: PathBuf, problem: String },

    #[error(transparent)]
    Equation(#[from] super::manifest::EquationError),
}

impl PublishError {
    /// Turns an I/O error into one that names the file, and for a full disk what is left of it.
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PublishError {
        move |source| {
            let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
            let free_bytes = full.contains(&source.kind()).then(|| free_bytes(path)).flatten();
            PublishError::File { action, path: path.to_path_buf(), source, free_bytes }
        }
    }
}

/// Bytes that a user may still write on the disk of `path` or of the nearest folder above it.
fn free_bytes(path: &Path) -> Option<u64> {
    let known = path.ancestors().find_map(|path| rustix::fs::statvfs(path).ok())?;
    Some(known.f_bavail * known.f_frsize)
}

fn room_left(free_bytes: Option<u64>) -> String {
    match free_bytes {
        None => String::new(),
        Some(bytes) => format!(
            "; {:.1} MB are free there: make room, or choose another disk with --out (or TMPDIR, \
             for what goes to a bucket), and run again",
            bytes as f64 / 1e6
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_with_what_is_left_and_what_to_do() {
        let path = Path::new("/no such folder/records.parquet");
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let text = PublishError::file("write", path)(full).to_string();
        assert!(text.starts_with("can't write /no such folder/records.parquet: "), "{text}");
        assert!(text.contains(" MB are free there: make room"), "{text}");
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let text = PublishError::file("create", path)(denied).to_string();
        assert!(!text.contains("free"), "{text}");
    }
}
