//! Where objects go: a folder of this machine, or a bucket. A staged file goes in, an object is there,
//! be it there already.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use crate::store::{S3Store, SourceUrl, StoreError, StoreOptions, Stored};

/// Where objects go.
#[derive(Debug)]
pub enum Place {
    Folder {
        root: PathBuf,
        /// Folders whose entries this process knows to be on the disk.
        synced: Mutex<HashSet<PathBuf>>,
    },
    Bucket(Box<S3Store>),
}

/// Why an object can't be put.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error("can't write {path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where files lie that are not objects yet: not beside the others, where they would be taken for some.
const OWN_FOLDER: &str = ".rawcat";

impl Place {
    /// Makes no request; a folder need not be there.
    pub fn open(url: &SourceUrl, options: &StoreOptions) -> Result<Place, StoreError> {
        Ok(match url {
            SourceUrl::Folder(folder) => {
                Place::Folder { root: folder.clone(), synced: Mutex::default() }
            }
            SourceUrl::S3 { bucket, prefix } => {
                Place::Bucket(Box::new(S3Store::open(bucket, prefix, options)?))
            }
        })
    }

    /// Puts a staged file under a key: always the same bytes under the same key, as often as it is asked.
    pub fn put(&self, key: &str, staged: &Path, stored: &Stored) -> Result<(), PlaceError> {
        match self {
            // Whoever ends the pipeline waits for what is being put.
            Place::Bucket(bucket) => {
                Ok(bucket.put_file(key, staged, stored, &AtomicBool::new(false))?)
            }
            Place::Folder { root, synced } => {
                let to = root.join(key);
                let mut synced = synced.lock().unwrap_or_else(PoisonError::into_inner);
                put_in_folder(root, &to, staged, &mut synced)
                    .map_err(|source| PlaceError::File { path: to, source })
            }
        }
    }
}

fn put_in_folder(
    root: &Path,
    to: &Path,
    staged: &Path,
    synced: &mut HashSet<PathBuf>,
) -> io::Result<()> {
    let own = root.join(OWN_FOLDER);
    let parent = to.parent().unwrap_or(root);
    fs::create_dir_all(&own)?;
    make_folders(root, parent, synced)?;
    let temporary = own.join(staged.file_name().unwrap_or_default());
    write_whole(&temporary, &fs::read(staged)?)?;
    fs::rename(&temporary, to)?;
    File::open(parent)?.sync_all()
}

/// Makes the folders from `root` to `parent`, each entry on the disk: that of another delivery stream's
/// folder may not be yet.
fn make_folders(root: &Path, parent: &Path, synced: &mut HashSet<PathBuf>) -> io::Result<()> {
    if parent.is_dir() && synced.contains(parent) {
        return Ok(());
    }
    fs::create_dir_all(parent)?;
    let above = root.parent().filter(|above| !above.as_os_str().is_empty());
    for folder in parent.ancestors().take_while(|folder| folder.starts_with(root)) {
        File::open(folder)?.sync_all()?;
    }
    if let Some(above) = above {
        File::open(above)?.sync_all()?;
    }
    synced.insert(parent.to_path_buf());
    Ok(())
}

/// Writes a file, and returns once its bytes are on the disk.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
