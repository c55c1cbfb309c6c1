//! A folder as a source: prefixes go in, files come out as objects, read by the calling thread.
//!
//! Keys have `/` between their parts. Hidden files are objects like any other; links are
//! followed, those that lead back to a folder above them are not. Nothing is written.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::error::{StoreError, shown};
use super::{Content, Listing, ObjectMeta, Peek};

/// Folders inside folders, below the source. Deeper ones are named as unreadable.
const MOST_LEVELS: usize = 128;

/// A folder that was opened as a source.
#[derive(Clone, Debug)]
pub struct FolderStore {
    root: PathBuf,
}

impl FolderStore {
    pub(super) fn open(root: &Path) -> Result<FolderStore, StoreError> {
        let store = FolderStore { root: root.to_path_buf() };
        store.check_root()?;
        Ok(store)
    }

    fn check_root(&self) -> Result<(), StoreError> {
        let no_folder =
            |reason| StoreError::NoFolder { path: shown(&self.root.display().to_string()), reason };
        match fs::metadata(&self.root) {
            Ok(meta) if meta.is_dir() => Ok(()),
            Ok(_) => Err(no_folder("is a file, not a folder")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(no_folder("does not exist"))
            }
            Err(error) => Err(io_error(&self.root, error)),
        }
    }

    pub(super) fn list(
        &self,
        prefixes: &[String],
        progress: &dyn Fn(usize),
    ) -> Vec<Result<Listing, StoreError>> {
        let mut found = 0;
        let mut listings = Vec::with_capacity(prefixes.len());
        for prefix in prefixes {
            let listing = self.list_one(prefix);
            if let Ok(listing) = &listing {
                found += listing.objects.len();
            }
            progress(found);
            listings.push(listing);
        }
        listings
    }

    fn list_one(&self, prefix: &str) -> Result<Listing, StoreError> {
        let mut walk = Walk::default();
        if let Some((dir, above, rest)) = self.dir_of(prefix) {
            self.enter(&mut walk, &dir, above, rest)?;
        }
        let mut listing = walk.listing;
        listing.objects.sort_unstable_by(|a, b| a.key.as_bytes().cmp(b.key.as_bytes()));
        listing.unreadable.sort_unstable();
        Ok(listing)
    }

    fn enter(
        &self,
        walk: &mut Walk,
        dir: &Path,
        above: &str,
        rest: &str,
    ) -> Result<(), StoreError> {
        let real = match fs::canonicalize(dir) {
            Ok(real) => real,
            Err(error) if is_absent(&error) => return self.check_root(),
            Err(error) => return Err(io_error(dir, error)),
        };
        walk.folder(dir, real, above, rest)
    }

    /// The folder that a prefix lies in, its key with a `/` at the end, and the beginning of the
    /// names meant. `None` where no key can begin like that.
    fn dir_of<'a>(&self, prefix: &'a str) -> Option<(PathBuf, &'a str, &'a str)> {
        let (above, rest) = prefix.split_at(prefix.rfind('/').map_or(0, |at| at + 1));
        if above.is_empty() {
            return Some((self.root.clone(), above, rest));
        }
        Some((self.path_of(&above[..above.len() - 1])?, above, rest))
    }

    pub(super) fn folders(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.folders_where(prefix, |folder| holds_a_file(folder, MOST_LEVELS))
    }

    pub(super) fn folders_where(
        &self,
        prefix: &str,
        wanted: impl Fn(&Path) -> bool,
    ) -> Result<Vec<String>, StoreError> {
        let Some((dir, above, rest)) = self.dir_of(prefix) else {
            return Ok(Vec::new());
        };
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => {
                self.check_root()?;
                return Ok(Vec::new());
            }
            Err(error) => return Err(io_error(&dir, error)),
        };
        let mut folders = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| io_error(&dir, error))?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if name.starts_with(rest) && entry.path().is_dir() && wanted(&entry.path()) {
                folders.push(format!("{above}{name}/"));
            }
        }
        folders.sort_unstable();
        Ok(folders)
    }

    pub(super) fn peek(&self, prefix: &str) -> Result<Peek, StoreError> {
        const MOST_ENTRIES: usize = 1_000;
        let mut peek = Peek::default();
        let Some((dir, above, rest)) = self.dir_of(prefix) else { return Ok(peek) };
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if is_absent(&error) => return Ok(peek),
            Err(error) => return Err(io_error(&dir, error)),
        };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| name.starts_with(rest)).collect();
        names.sort_unstable();
        for name in names.into_iter().take(MOST_ENTRIES) {
            match dir.join(&name).is_dir() {
                true => peek.folders.push(format!("{above}{name}/")),
                false => peek.keys.push(format!("{above}{name}")),
            }
        }
        Ok(peek)
    }

    /// Reads an object: whole by one read into an exactly sized buffer, or, above `whole_bytes`,
    /// as a stream.
    pub(super) fn read(
        &self,
        object: &ObjectMeta,
        whole_bytes: u64,
    ) -> Result<Content, StoreError> {
        let gone = || StoreError::Gone {
            key: object.key.clone(),
            url: shown(&self.root.join(&object.key).display().to_string()),
        };
        let path = self.path_of(&object.key).ok_or_else(gone)?;
        let failed = |error: io::Error| match is_absent(&error) {
            true => gone(),
            false => io_error(&path, error),
        };
        // Before it is opened: opening a pipe would wait for somebody to write into it.
        let meta = fs::metadata(&path).map_err(failed)?;
        if !meta.is_file() {
            return Err(io_error(&path, io::Error::other("it is not a file")));
        }
        let changed = |detail: String| changed(object, &path, detail);
        if meta.len() != object.bytes {
            let now = meta.len();
            return Err(changed(format!("{} bytes, now {now}", object.bytes)));
        }
        if let (Some(listed), Ok(now)) = (object.last_modified_utc, meta.modified())
            && listed != DateTime::<Utc>::from(now)
        {
            return Err(changed("it was written again".to_string()));
        }
        let file = File::open(&path).map_err(failed)?;
        if object.bytes > whole_bytes {
            return Ok(Content::Stream(Box::new(file_stream(file, object, path))));
        }
        // One byte more, which tells a file that has grown. A file that is read to its end with no
        // limit is asked for its size and place first, once more.
        let mut bytes = Vec::with_capacity(object.bytes as usize + 1);
        file.take(object.bytes + 1).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 != object.bytes {
            let now = bytes.len();
            return Err(changed(format!("{} bytes, now {now}", object.bytes)));
        }
        Ok(Content::Whole(bytes))
    }

    /// The file of a key. `None` for keys that no file below the root can have: `..`, an absolute
    /// path, an empty part, NUL.
    fn path_of(&self, key: &str) -> Option<PathBuf> {
        let mut path = self.root.clone();
        for part in key.split('/') {
            let elsewhere = cfg!(windows) && part.contains(['\\', ':']);
            if matches!(part, "" | "." | "..") || part.contains('\0') || elsewhere {
                return None;
            }
            path.push(part);
        }
        Some(path)
    }
}

fn io_error(path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { path: shown(&path.display().to_string()), source }
}

fn changed(object: &ObjectMeta, path: &Path, detail: String) -> StoreError {
    StoreError::Changed { key: object.key.clone(), url: shown(&path.display().to_string()), detail }
}

/// `NotADirectory` is what `a.gz/x` gives where `a.gz` is a file, and `InvalidFilename` a name too
/// long to exist: no such object either way.
fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename
    )
}

fn holds_a_file(dir: &Path, levels: usize) -> bool {
    let Ok(entries) = fs::read_dir(dir) else {
        // Somebody else's folder may well hold files.
        return true;
    };
    let mut below = Vec::new();
    for entry in entries.flatten() {
        match fs::metadata(entry.path()) {
            Ok(meta) if meta.is_file() => return true,
            Ok(meta) if meta.is_dir() && !entry.path().is_symlink() => below.push(entry.path()),
            _ => {}
        }
    }
    levels > 0 && below.iter().any(|dir| holds_a_file(dir, levels - 1))
}

#[derive(Default)]
struct Walk {
    listing: Listing,
    /// The real paths of the folders from the first one entered to the present one.
    above: Vec<PathBuf>,
}

impl Walk {
    /// Lists the files in `dir`, whose keys begin with `key` and whose names begin with `rest`.
    fn folder(
        &mut self,
        dir: &Path,
        real: PathBuf,
        key: &str,
        rest: &str,
    ) -> Result<(), StoreError> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            // It was there a moment ago: deleted while we looked, or the prefix names a file.
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(io_error(dir, error)),
        };
        self.listing.requests += 1;
        self.above.push(real);
        for entry in entries {
            let entry = entry.map_err(|error| io_error(dir, error))?;
            match entry.file_name().into_string() {
                Ok(name) if name.starts_with(rest) => {
                    self.entry(&entry, &format!("{key}{name}"))?
                }
                Ok(_) => {}
                Err(name) => {
                    if name.to_string_lossy().starts_with(rest) {
                        // Debug escapes the bytes that aren't UTF-8, so that the name can be found.
                        let name = format!("{name:?}");
                        let name = name.trim_matches('"');
                        self.unreadable(&format!("{key}{name}"), "the name is not UTF-8");
                    }
                }
            }
        }
        self.above.pop();
        Ok(())
    }

    fn entry(&mut self, entry: &fs::DirEntry, key: &str) -> Result<(), StoreError> {
        let path = entry.path();
        let kind = entry.file_type().map_err(|error| io_error(&path, error))?;
        let meta = match kind.is_symlink() {
            true => fs::metadata(&path),
            false => entry.metadata(),
        };
        let meta = match meta {
            Ok(meta) => meta,
            Err(_) if kind.is_symlink() => {
                self.unreadable(key, "the link leads nowhere");
                return Ok(());
            }
            // Deleted while we looked: as if it had been deleted before.
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(io_error(&path, error)),
        };
        if meta.is_file() {
            self.listing.objects.push(ObjectMeta {
                key: key.to_string(),
                bytes: meta.len(),
                etag: None,
                last_modified_utc: meta.modified().ok().map(Into::into),
                archived: false,
            });
        } else if !meta.is_dir() {
            self.unreadable(key, "it is neither a file nor a folder");
        } else if self.above.len() > MOST_LEVELS {
            self.unreadable(key, "it lies more than 128 folders deep");
        } else {
            self.below(&path, kind.is_symlink(), entry, key)?;
        }
        Ok(())
    }

    fn below(
        &mut self,
        path: &Path,
        linked: bool,
        entry: &fs::DirEntry,
        key: &str,
    ) -> Result<(), StoreError> {
        let real = if linked {
            match fs::canonicalize(path) {
                Ok(real) => real,
                Err(_) => {
                    self.unreadable(key, "the link leads nowhere");
                    return Ok(());
                }
            }
        } else {
            let parent = self.above.last().expect("the folder of an entry is above it");
            parent.join(entry.file_name())
        };
        if self.above.contains(&real) {
            // A way back up: what lies there is being listed already.
            return Ok(());
        }
        self.folder(path, real, &format!("{key}/"), "")
    }

    fn unreadable(&mut self, name: &str, reason: &str) {
        self.listing.unreadable.push(format!("{}: {reason}", shown(name)));
    }
}

/// A file that must have exactly the bytes that were listed. Made of the library's parts, which
/// read into memory that was not cleared before.
fn file_stream(file: File, object: &ObjectMeta, path: PathBuf) -> impl Read + Send + use<> {
    let file = Arc::new(file);
    let end = FileEnd { file: Arc::clone(&file), object: object.clone(), path };
    file.take(object.bytes).chain(end)
}

/// Reads nothing, but checks that the file ends where it should.
struct FileEnd {
    file: Arc<File>,
    object: ObjectMeta,
    path: PathBuf,
}

impl Read for FileEnd {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        let detail = if self.file.stream_position()? < self.object.bytes {
            "it is shorter"
        } else if self.file.read(&mut [0])? > 0 {
            "it grew"
        } else {
            return Ok(0);
        };
        let error = changed(&self.object, &self.path, detail.to_string());
        Err(io::Error::other(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, FolderStore) {
        let root = tempfile::tempdir().unwrap();
        for (key, text) in files {
            let path = root.path().join(key);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let store = FolderStore::open(root.path()).unwrap();
        (root, store)
    }

    fn keys(store: &FolderStore, prefix: &str) -> Vec<String> {
        let listing = store.list_one(prefix).unwrap();
        listing.objects.into_iter().map(|o| o.key).collect()
    }

    #[test]
    fn a_missing_source_says_what_to_check() {
        let error = FolderStore::open(Path::new("no/such/folder")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "source folder no/such/folder does not exist; check --source (or `source` in \
             rawcat.toml)"
        );
    }

    #[test]
    fn a_folder_that_vanishes_is_no_empty_listing() {
        let (root, store) = folder(&[("a/b", "x")]);
        drop(root);
        assert_eq!(store.list_one("a/").unwrap_err().kind(), "no_folder");
        assert_eq!(store.folders("a/").unwrap_err().kind(), "no_folder");
    }

    #[test]
    fn no_key_leads_out_of_the_folder() {
        let (root, store) = folder(&[("in/a", "x")]);
        fs::write(root.path().join("secret"), "s").unwrap();
        let inner = FolderStore::open(&root.path().join("in")).unwrap();
        for key in ["../secret", "a/../../secret", "/etc/passwd", "", "a\0", "./a"] {
            let object = ObjectMeta {
                key: key.to_string(),
                bytes: 1,
                etag: None,
                last_modified_utc: None,
                archived: false,
            };
            assert_eq!(inner.read(&object, 10).unwrap_err().kind(), "gone", "{key:?}");
        }
        assert_eq!(keys(&inner, "../"), [""; 0]);
        assert_eq!(keys(&store, "in/../"), [""; 0]);
        assert_eq!(keys(&store, "/"), [""; 0]);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_and_loops_are_not() {
        use std::os::unix::fs::symlink;
        let (root, store) = folder(&[("data/2022/a.gz", "abc")]);
        let at = |path: &str| root.path().join(path);
        symlink(at("data/2022/a.gz"), at("data/link.gz")).unwrap();
        symlink(at("data"), at("data/2022/up")).unwrap();
        symlink(at("data/2022"), at("other")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        let listing = store.list_one("").unwrap();
        let found: Vec<&str> = listing.objects.iter().map(|o| o.key.as_str()).collect();
        // `other` is `data/2022`, so below `other/up`, which is `data`, `2022` would begin anew.
        assert_eq!(found, ["data/2022/a.gz", "data/link.gz", "other/a.gz", "other/up/link.gz"]);
        assert_eq!(listing.unreadable, ["dangling: the link leads nowhere"]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_that_are_not_utf8_are_reported() {
        use std::os::unix::ffi::OsStrExt;
        let (root, store) = folder(&[("h/a", "x")]);
        let name = std::ffi::OsStr::from_bytes(b"b\xff.gz");
        fs::write(root.path().join("h").join(name), "x").unwrap();
        let listing = store.list_one("h/").unwrap();
        assert_eq!(listing.objects.len(), 1);
        assert_eq!(listing.unreadable, [r"h/b\xFF.gz: the name is not UTF-8"]);
    }

    #[test]
    fn a_file_that_grows_or_shrinks_under_a_stream_is_changed() {
        let (root, store) = folder(&[("a", "0123456789")]);
        let object = store.list_one("").unwrap().objects.remove(0);
        for now in ["0123456789++", "01234"] {
            fs::write(root.path().join("a"), "0123456789").unwrap();
            let mut listed = object.clone();
            listed.last_modified_utc = None;
            let Content::Stream(mut stream) = store.read(&listed, 4).unwrap() else {
                panic!("10 bytes above a limit of 4 are a stream");
            };
            fs::write(root.path().join("a"), now).unwrap();
            // Who opens it now learns it before a byte is read.
            assert_eq!(store.read(&listed, 4).unwrap_err().kind(), "changed");
            let error = stream.read_to_end(&mut Vec::new()).unwrap_err();
            assert_eq!(StoreError::from_read(error, "a").kind(), "changed", "{now}");
        }
    }

    #[test]
    fn a_file_written_again_with_the_same_size_is_changed() {
        let (root, store) = folder(&[("a", "one")]);
        let object = store.list_one("").unwrap().objects.remove(0);
        let file = File::options().write(true).open(root.path().join("a")).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(store.read(&object, 10).unwrap_err().kind(), "changed");
    }
}
