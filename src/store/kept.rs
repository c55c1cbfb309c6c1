//! Bodies of a bucket that are needed again → a file without a name on this machine, so that no
//! object is got twice: those around midnight serve two days, and the outermost hours of a day are
//! looked at before it is read.
//!
//! Two files take turns, one a day: what the day before kept is there for this one. Where a file can't
//! be made or is full, an object is simply got again. Having no name, nothing stays after a kill.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Content, ObjectMeta};

/// Bytes that one file takes.
const MOST_BYTES: u64 = 4 << 30;

#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Where files are made; nowhere until it is said.
    folder: Option<PathBuf>,
    wanted: HashSet<String>,
    now: Spool,
    before: Spool,
}

#[derive(Debug, Default)]
struct Spool {
    file: Option<Arc<File>>,
    /// Bytes given to bodies.
    len: u64,
    bodies: HashMap<String, Region>,
}

#[derive(Clone, Debug)]
struct Region {
    etag: String,
    bytes: u64,
    offset: u64,
}

impl Kept {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a day: what the last one kept is there for this one, and nothing older.
    pub fn begin(&self, folder: &Path) {
        let mut state = self.state();
        state.folder = Some(folder.to_path_buf());
        state.wanted.clear();
        state.before = std::mem::take(&mut state.now);
    }

    /// Bodies of these keys will be asked for again.
    pub fn want(&self, keys: impl IntoIterator<Item = String>) {
        let mut state = self.state();
        if state.folder.is_some() {
            state.wanted.extend(keys);
        }
    }

    /// The body of an object, where it was kept.
    pub fn find(&self, object: &ObjectMeta) -> Option<Content> {
        let state = self.state();
        [&state.now, &state.before].into_iter().find_map(|spool| {
            let region = spool.bodies.get(&object.key)?;
            let is_it = region.bytes == object.bytes
                && object.etag.as_deref() == Some(region.etag.as_str());
            let file = Arc::clone(spool.file.as_ref().filter(|_| is_it)?);
            let stream = Reading { file, offset: region.offset, left: region.bytes };
            Some(Content::Stream(Box::new(stream)))
        })
    }

    /// The same content, which is kept while it is read, where it is wanted.
    pub fn keep(self: &Arc<Self>, object: &ObjectMeta, content: Content) -> Content {
        let Some(mut writing) = self.room(object) else { return content };
        match content {
            Content::Whole(bytes) => {
                writing.add(&bytes);
                writing.end();
                Content::Whole(bytes)
            }
            Content::Stream(stream) => Content::Stream(Box::new(Tee { stream, writing })),
        }
    }

    fn room(self: &Arc<Self>, object: &ObjectMeta) -> Option<Writing> {
        let etag = object.etag.clone()?;
        let mut state = self.state();
        let is_new = state.wanted.contains(&object.key)
            && !state.now.bodies.contains_key(&object.key)
            && state.now.len.saturating_add(object.bytes) <= MOST_BYTES;
        let folder = state.folder.clone().filter(|_| is_new)?;
        if state.now.file.is_none() {
            state.now.file = tempfile::tempfile_in(folder).ok().map(Arc::new);
        }
        let file = state.now.file.clone()?;
        let region = Region { etag, bytes: object.bytes, offset: state.now.len };
        state.now.len += object.bytes;
        let (kept, key) = (Arc::clone(self), object.key.clone());
        Some(Writing { kept, file, key, region, written: Some(0) })
    }
}

/// A body on its way into the file.
struct Writing {
    kept: Arc<Kept>,
    file: Arc<File>,
    key: String,
    region: Region,
    /// `None` once a write failed: the disk may be full, which is no reason to end.
    written: Option<u64>,
}

impl Writing {
    fn add(&mut self, bytes: &[u8]) {
        let Some(written) = self.written else { return };
        let end = written + bytes.len() as u64;
        let fits = end <= self.region.bytes;
        let is_written =
            fits && write_all_at(&self.file, bytes, self.region.offset + written).is_ok();
        self.written = is_written.then_some(end);
    }

    /// The body was read to its end.
    fn end(&mut self) {
        if self.written.take() != Some(self.region.bytes) {
            return;
        }
        let mut state = self.kept.state();
        if state.now.file.as_ref().is_some_and(|file| Arc::ptr_eq(file, &self.file)) {
            state.now.bodies.insert(self.key.clone(), self.region.clone());
        }
    }
}

struct Tee {
    stream: Box<dyn Read + Send>,
    writing: Writing,
}

impl Read for Tee {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        match read {
            // Only here is it known that every byte came.
            0 if !buffer.is_empty() => self.writing.end(),
            _ => self.writing.add(&buffer[..read]),
        }
        Ok(read)
    }
}

struct Reading {
    file: Arc<File>,
    offset: u64,
    left: u64,
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = read_at(&self.file, &mut buffer[..most], self.offset)?;
        if read == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.offset += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

#[cfg(unix)]
fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

#[cfg(windows)]
fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = std::os::windows::fs::FileExt::seek_write(file, bytes, offset)?;
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str, etag: &str, bytes: u64) -> ObjectMeta {
        ObjectMeta {
            key: key.to_string(),
            bytes,
            etag: Some(etag.to_string()),
            last_modified_utc: None,
            archived: false,
        }
    }

    fn read(content: Option<Content>) -> Option<Vec<u8>> {
        Some(match content? {
            Content::Whole(bytes) => bytes,
            Content::Stream(mut stream) => {
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).unwrap();
                bytes
            }
        })
    }

    fn stream(bytes: &'static [u8]) -> Content {
        Content::Stream(Box::new(bytes))
    }

    #[test]
    fn what_is_wanted_is_there_for_this_day_and_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Arc::new(Kept::default());
        let (a, b, c) = (object("a", "1", 3), object("b", "1", 2), object("c", "1", 1));
        // Before a folder is known, nothing is.
        kept.want(["a".to_string()]);
        read(Some(kept.keep(&a, stream(b"xyz"))));
        assert_eq!(read(kept.find(&a)), None);
        kept.begin(folder.path());
        kept.want(["a", "b"].map(str::to_string));
        assert_eq!(read(Some(kept.keep(&a, stream(b"xyz")))).unwrap(), b"xyz");
        kept.keep(&b, Content::Whole(b"uv".to_vec()));
        kept.keep(&c, Content::Whole(b"w".to_vec()));
        let found = || [&a, &b, &c].map(|object| read(kept.find(object)));
        assert_eq!(found(), [Some(b"xyz".to_vec()), Some(b"uv".to_vec()), None]);
        assert_eq!(read(kept.find(&object("a", "2", 3))), None);
        // A file without a name.
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        kept.begin(folder.path());
        kept.want(["b".to_string()]);
        let again = kept.find(&b).unwrap();
        read(Some(kept.keep(&b, again)));
        assert_eq!(found(), [Some(b"xyz".to_vec()), Some(b"uv".to_vec()), None]);
        kept.begin(folder.path());
        assert_eq!(found(), [None, Some(b"uv".to_vec()), None]);
        kept.begin(folder.path());
        assert_eq!(found(), [None, None, None]);
    }

    #[test]
    fn a_body_that_was_not_read_to_its_end_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let kept = Arc::new(Kept::default());
        kept.begin(folder.path());
        kept.want(["a".to_string()]);
        let Content::Stream(mut body) = kept.keep(&object("a", "1", 3), stream(b"xyz")) else {
            panic!("a stream stays one");
        };
        body.read_exact(&mut [0; 3]).unwrap();
        assert!(kept.find(&object("a", "1", 3)).is_none());
        // More or less than was listed is another object.
        for bytes in [2, 4] {
            let other = object("a", "1", bytes);
            read(Some(kept.keep(&other, stream(b"xyz"))));
            assert!(kept.find(&other).is_none());
        }
    }
}
