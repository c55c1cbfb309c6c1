//! Objects are decided, and put until they are there.
//!
//! What objects hold and what they are called is decided together with the position up to which records
//! are delivered, in one commit, after their bytes lie on the disk. From then on they are put until
//! they are there, after any number of kills: always the same bytes under the same key. So nothing is
//! lost, and nothing is delivered twice.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::place::write_whole;
use crate::pipeline::stream::{Notes, Storage, StorageError};

/// The number of the last record of each shard that is in an object, by the shard's index.
pub type Positions = BTreeMap<u32, u64>;

/// How far a delivery stream is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Progress {
    /// The id of its source: another stream of the same name begins anew.
    stream: u32,
    positions: Positions,
}

/// Objects that are decided and may not be in their places yet.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Plan {
    /// Where they go: a restart with another place must not divide them.
    pub destination: String,
    pub objects: Vec<Planned>,
}

/// One of them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Planned {
    pub key: String,
    /// The name of its staged file.
    pub staged: String,
    /// What `Content-Encoding` says of it, where it is packed.
    pub encoding: Option<String>,
}

/// Why objects can't be decided.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Shared(#[from] Arc<StorageError>),
    #[error("can't {action} {}: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is missing, and the object that it was to become is not delivered", path.display())]
    Missing { path: PathBuf },
    #[error(
        "{objects} objects of {name} that were decided for {destination} are not there yet: start once with \
         that place for --deliver, or for --buckets where the API made it"
    )]
    OtherPlace { name: String, objects: usize, destination: String },
}

/// The decisions of one delivery stream.
#[derive(Debug)]
pub struct Decisions {
    name: String,
    storage: Arc<Storage>,
    stream: u32,
    staging: PathBuf,
    destination: String,
}

impl Decisions {
    /// Of the delivery stream called `name`, which delivers the stream with this id, whose files are staged
    /// below `state`, and whose objects go to `destination`.
    ///
    /// # Errors
    /// [`DecideError::OtherPlace`] where an earlier run decided for another one.
    pub fn open(
        name: &str,
        stream: u32,
        storage: Arc<Storage>,
        state: &Path,
        destination: &str,
    ) -> Result<Decisions, DecideError> {
        // A name has letters, digits and `._-`, and is no name of a folder that there is already.
        let staging = state.join("staged").join(format!("{name}.d"));
        fs::create_dir_all(&staging).map_err(file("create", &staging))?;
        // The folders' own entries must outlive a power failure, too.
        for folder in staging.ancestors().take_while(|folder| folder.starts_with(state)) {
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            synced.map_err(file("sync", folder))?;
        }
        let (name, destination) = (name.to_string(), destination.to_string());
        let decisions = Decisions { name, storage, stream, staging, destination };
        let Plan { destination, objects } = decisions.plan()?;
        if !objects.is_empty() && destination != decisions.destination {
            let (name, objects) = (decisions.name, objects.len());
            return Err(DecideError::OtherPlace { name, objects, destination });
        }
        Ok(decisions)
    }

    /// What is delivered; `None` before anything was.
    pub fn positions(&self) -> Result<Option<Positions>, DecideError> {
        let progress: Option<Progress> = self.storage.json(&self.note("progress"))?;
        let own = progress.filter(|progress| progress.stream == self.stream);
        Ok(own.map(|progress| progress.positions))
    }

    /// What was decided and is not known to be in its place.
    pub fn pending(&self) -> Result<Vec<Planned>, DecideError> {
        Ok(self.plan()?.objects)
    }

    fn plan(&self) -> Result<Plan, DecideError> {
        Ok(self.storage.json(&self.note("plan"))?.unwrap_or_default())
    }

    /// Writes the bytes of an object to be.
    pub fn stage(&self, id: &str, bytes: &[u8]) -> Result<(), DecideError> {
        let path = self.staging.join(id);
        write_whole(&path, bytes).map_err(file("write", &path))
    }

    /// Where the bytes of a planned object lie.
    ///
    /// # Errors
    /// [`DecideError::Missing`] where they don't.
    pub fn staged(&self, planned: &Planned) -> Result<PathBuf, DecideError> {
        let path = self.staging.join(&planned.staged);
        match path.exists() {
            true => Ok(path),
            false => Err(DecideError::Missing { path }),
        }
    }

    /// Decides. All of them are staged.
    pub fn decide(&self, objects: &[Planned], positions: &Positions) -> Result<(), DecideError> {
        // The files' entries, too, must outlive a power failure.
        let folder = File::open(&self.staging).and_then(|folder| folder.sync_all());
        folder.map_err(file("sync", &self.staging))?;
        let (of_plan, of_progress) = (self.note("plan"), self.note("progress"));
        let plan = Plan { destination: self.destination.clone(), objects: objects.to_vec() };
        let progress = Progress { stream: self.stream, positions: positions.clone() };
        let (plan, progress) = (to_json(&plan), to_json(&progress));
        Ok(self.storage.change_blocking(move |notes| {
            notes.set(&of_plan, &plan);
            notes.set(&of_progress, &progress);
        })?)
    }

    /// All that was decided is in its place.
    pub fn done(&self) -> Result<(), DecideError> {
        let of_plan = self.note("plan");
        self.storage.change_blocking(move |notes| notes.remove(&of_plan))?;
        self.clear()
    }

    /// Removes what is staged and not decided.
    pub fn clear(&self) -> Result<(), DecideError> {
        let pending = self.pending()?;
        let entries = fs::read_dir(&self.staging).map_err(file("read", &self.staging))?;
        for entry in entries.flatten() {
            let is_decided = pending.iter().any(|planned| *planned.staged == *entry.file_name());
            if !is_decided {
                fs::remove_file(entry.path()).map_err(file("remove", &entry.path()))?;
            }
        }
        Ok(())
    }

    /// Forgets the delivery stream, in one commit with another change.
    pub fn forget(
        &self,
        and: impl FnOnce(&mut Notes<'_, '_>) + Send + 'static,
    ) -> Result<(), DecideError> {
        let names = [self.note("plan"), self.note("progress")];
        self.storage.change_blocking(move |notes| {
            names.iter().for_each(|name| notes.remove(name));
            and(notes);
        })?;
        fs::remove_dir_all(&self.staging).map_err(file("remove", &self.staging))
    }

    fn note(&self, what: &str) -> String {
        note(&self.name, what)
    }
}

fn note(name: &str, what: &str) -> String {
    format!("delivery/{name}/{what}")
}

/// What an earlier run left of a delivery stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Left {
    pub name: String,
    /// The id of its source.
    pub stream: u32,
    pub positions: Positions,
    /// Whether objects of it wait for their place.
    pub is_pending: bool,
}

/// All delivery streams that there are or were, running or not.
pub fn all_left(storage: &Storage) -> Result<Vec<Left>, StorageError> {
    let mut all = Vec::new();
    for (note_name, _) in storage.notes("delivery/")? {
        let name =
            note_name.strip_prefix("delivery/").and_then(|rest| rest.strip_suffix("/progress"));
        let Some(name) = name else { continue };
        let Some(Progress { stream, positions }) = storage.json(&note_name)? else { continue };
        let plan: Plan = storage.json(&note(name, "plan"))?.unwrap_or_default();
        let (name, is_pending) = (name.to_string(), !plan.objects.is_empty());
        all.push(Left { name, stream, positions, is_pending });
    }
    Ok(all)
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("every key is text or a number")
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DecideError {
    let path = path.to_path_buf();
    move |source| DecideError::File { action, path, source }
}
