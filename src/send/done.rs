//! Which rows were done with, from run to run.
//!
//! Rows end in another order than they begin: all up to one, and some beyond it. The file is replaced
//! as a whole. It lags behind by up to a second, so that rows may be sent twice after a kill, and none is
//! left out.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A checkpoint that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("can't {action} the checkpoint {path}: {source}")]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{path} is no checkpoint: {problem}; remove it to begin again")]
    Damaged { path: PathBuf, problem: String },
    #[error("{path} is the checkpoint of {file}: give another file to --resume")]
    OfAnother { path: PathBuf, file: String },
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Checkpoint {
    file: String,
    /// All rows up to this one, from 1.
    until: u64,
    beyond: BTreeSet<u64>,
}

#[derive(Clone)]
pub struct Done {
    path: Option<PathBuf>,
    checkpoint: Checkpoint,
}

impl Done {
    /// What an earlier run over the file called `name` left; nothing where there was none.
    pub fn open(path: Option<&Path>, name: &str) -> Result<Done, CheckpointError> {
        let new = Checkpoint { file: name.to_string(), ..Checkpoint::default() };
        let Some(path) = path else { return Ok(Done { path: None, checkpoint: new }) };
        let path = path.to_path_buf();
        let checkpoint = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => new,
            Err(source) => return Err(CheckpointError::File { action: "read", path, source }),
            Ok(bytes) => match serde_json::from_slice::<Checkpoint>(&bytes) {
                Err(problem) => {
                    return Err(CheckpointError::Damaged { path, problem: problem.to_string() });
                }
                Ok(found) if found.file != name => {
                    return Err(CheckpointError::OfAnother { path, file: found.file });
                }
                Ok(found) => found,
            },
        };
        Ok(Done { path: Some(path), checkpoint })
    }

    pub fn contains(&self, row: u64) -> bool {
        row <= self.checkpoint.until || self.checkpoint.beyond.contains(&row)
    }

    pub fn insert(&mut self, row: u64) {
        let Checkpoint { until, beyond, .. } = &mut self.checkpoint;
        beyond.insert(row);
        while beyond.remove(&(*until + 1)) {
            *until += 1;
        }
    }

    pub fn save(&self) -> Result<(), CheckpointError> {
        let Some(path) = &self.path else { return Ok(()) };
        let text = serde_json::to_vec(&self.checkpoint).expect("every key is a string");
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".part");
        let temporary = path.with_file_name(name);
        let write = || -> io::Result<()> {
            let mut file = std::fs::File::create(&temporary)?;
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&temporary, path)
        };
        write().map_err(|source| CheckpointError::File {
            action: "write",
            path: path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_end_out_of_order_are_known_in_the_next_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let mut done = Done::open(Some(&path), "rows.csv").unwrap();
        [3, 1, 2, 5].into_iter().for_each(|row| done.insert(row));
        done.save().unwrap();
        let done = Done::open(Some(&path), "rows.csv").unwrap();
        assert_eq!(
            (1..=6).map(|row| done.contains(row)).collect::<Vec<_>>(),
            [true, true, true, false, true, false]
        );
        assert!(Done::open(Some(&path), "other.csv").is_err());
        std::fs::write(&path, "{").unwrap();
        assert!(Done::open(Some(&path), "rows.csv").is_err());
    }
}
