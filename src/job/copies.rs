//! Identities of the day's records, in their order → which of them are later copies.
//!
//! The first record of an identity stays: the one of the lowest (object key, offset), since objects
//! hand on in the order of keys. Identities are held in one set while they fit; those that come
//! when it is full and are not in it are written to partitions on disk, by their own bits, and each
//! partition is looked at alone, in its order. So nothing of the bound shows in the result.

use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::num::NonZeroU128;
use std::path::{Path, PathBuf};

use crate::json::Identities;
use crate::publish::PublishError;

/// Which rows of a day are later copies of others.
#[derive(Debug)]
pub(super) struct Copies {
    /// For each object its first row, counted over the day, and how many it has; `None` where it failed.
    objects: Vec<(u64, Option<u64>)>,
    marks: Marks,
}

/// The later copies in one object.
#[derive(Clone, Copy, Debug)]
pub(super) struct ObjectCopies<'c> {
    marks: &'c Marks,
    first_row: u64,
}

impl Copies {
    pub fn of(&self, object: usize) -> ObjectCopies<'_> {
        ObjectCopies { marks: &self.marks, first_row: self.objects[object].0 }
    }

    /// Rows that the object had when copies were looked for.
    pub fn rows(&self, object: usize) -> Option<u64> {
        self.objects[object].1
    }

    /// The number of later copies.
    pub fn count(&self) -> u64 {
        self.marks.count
    }
}

impl ObjectCopies<'_> {
    /// True where this row of the object is a later copy.
    #[inline]
    pub fn contains(&self, row: u64) -> bool {
        self.marks.contains(self.first_row + row)
    }
}

/// One bit for each row of the day: 12 MB for a hundred million.
#[derive(Debug, Default)]
struct Marks {
    words: Vec<u64>,
    count: u64,
}

impl Marks {
    fn insert(&mut self, row: u64) {
        let word = (row / 64) as usize;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (row % 64);
        self.count += 1;
    }

    fn contains(&self, row: u64) -> bool {
        self.words.get((row / 64) as usize).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }
}

/// The identities are hashes: their own bits serve the set.
#[derive(Default)]
struct OwnBits(u64);

impl Hasher for OwnBits {
    fn write(&mut self, bytes: &[u8]) {
        let mut low = [0; 8];
        let len = bytes.len().min(low.len());
        low[..len].copy_from_slice(&bytes[..len]);
        self.0 = u64::from_le_bytes(low);
    }

    fn write_u128(&mut self, value: u128) {
        self.0 = value as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type Set = HashSet<NonZeroU128, BuildHasherDefault<OwnBits>>;

/// Identities that a set holds in so many bytes, while it grows to its last size, too.
fn most_in(bytes: u64) -> usize {
    // A place takes 16 bytes and one of control; a set of half the size is there beside it.
    const PLACE_BYTES: u64 = 17;
    let places = bytes / PLACE_BYTES * 2 / 3;
    // Sets have a power of two of places, of which seven in eight are used.
    match places.checked_ilog2() {
        Some(bits) => ((1_u64 << bits) / 8 * 7) as usize,
        None => 0,
    }
}

/// Looks for later copies while the objects hand on their rows.
#[derive(Debug)]
pub(super) struct Search {
    set: Set,
    most: usize,
    marks: Marks,
    objects: Vec<(u64, Option<u64>)>,
    /// Rows so far.
    rows: u64,
    disk: Option<Partitions>,
    folder: PathBuf,
    /// Records that lack a field, and for each field those that have it.
    pub lacking: u64,
    pub found: Vec<u64>,
}

impl Search {
    /// At most so many bytes are held in memory; the rest goes into `folder`, which is made where it
    /// is needed, and is gone at the end.
    pub fn new(memory_bytes: u64, folder: PathBuf) -> Self {
        Search {
            set: Set::default(),
            most: most_in(memory_bytes),
            marks: Marks::default(),
            objects: Vec::new(),
            rows: 0,
            disk: None,
            folder,
            lacking: 0,
            found: Vec::new(),
        }
    }

    /// Takes the next rows of the day. True: a later copy was among them, or before.
    pub fn take(&mut self, identities: &Identities) -> Result<bool, PublishError> {
        self.found.resize(identities.found.len(), 0);
        for (sum, found) in self.found.iter_mut().zip(&identities.found) {
            *sum += found;
        }
        for identity in &identities.hashes {
            let row = self.rows;
            self.rows += 1;
            let Some(identity) = identity else {
                self.lacking += 1;
                continue;
            };
            if self.set.len() < self.most {
                if !self.set.insert(*identity) {
                    self.marks.insert(row);
                }
            } else if self.set.contains(identity) {
                self.marks.insert(row);
            } else {
                self.spill(*identity, row)?;
            }
        }
        Ok(self.marks.count > 0)
    }

    #[cold]
    fn spill(&mut self, identity: NonZeroU128, row: u64) -> Result<(), PublishError> {
        if self.disk.is_none() {
            let disk = Partitions::create(&self.folder);
            self.disk = Some(disk.map_err(PublishError::file("create", &self.folder))?);
        }
        let disk = self.disk.as_mut().expect("it was just made");
        disk.push(identity, row).map_err(PublishError::file("write", &self.folder))
    }

    /// The object that gave the last rows ends.
    pub fn end_object(&mut self, rows: Option<u64>) {
        self.objects.push((self.rows - rows.unwrap_or(0), rows));
    }

    /// All rows were taken.
    pub fn finish(mut self) -> Result<Copies, PublishError> {
        let most = self.most;
        drop(std::mem::take(&mut self.set));
        if let Some(disk) = self.disk.take() {
            let marks = &mut self.marks;
            let found = disk.copies(most, &mut |row| marks.insert(row));
            found.map_err(PublishError::file("read", &self.folder))?;
        }
        Ok(Copies { objects: self.objects, marks: self.marks })
    }
}

/// Files of identities, each with the row that has it, in the order of rows. Dropped, they are gone.
#[derive(Debug)]
struct Partitions {
    folder: PathBuf,
    files: Vec<(BufWriter<File>, u64)>,
}

/// Files that are open at once.
const PARTITIONS: usize = 64;
const BUFFER_BYTES: usize = 64 << 10;
/// An identity and a row.
const ENTRY_BYTES: usize = 24;
/// Identities of a partition that are looked at together, however small the bound is.
const LEAST_AT_ONCE: u64 = 1 << 12;

impl Partitions {
    fn create(folder: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        // From here on, what was made goes away again, also where a file can't be made.
        let mut partitions = Partitions { folder: folder.to_path_buf(), files: Vec::new() };
        for at in 0..PARTITIONS {
            let file = File::create(partitions.path(at))?;
            partitions.files.push((BufWriter::with_capacity(BUFFER_BYTES, file), 0));
        }
        Ok(partitions)
    }

    fn path(&self, at: usize) -> PathBuf {
        self.folder.join(format!("{at:02}"))
    }

    fn push(&mut self, identity: NonZeroU128, row: u64) -> io::Result<()> {
        let (file, entries) = &mut self.files[(identity.get() >> 64) as usize % PARTITIONS];
        *entries += 1;
        let mut entry = [0; ENTRY_BYTES];
        entry[..16].copy_from_slice(&identity.get().to_le_bytes());
        entry[16..].copy_from_slice(&row.to_le_bytes());
        file.write_all(&entry)
    }

    /// Gives every row whose identity an earlier one has, with at most `most` identities in memory.
    fn copies(mut self, most: usize, copy: &mut impl FnMut(u64)) -> io::Result<()> {
        for (at, (file, entries)) in std::mem::take(&mut self.files).into_iter().enumerate() {
            drop(file.into_inner().map_err(io::IntoInnerError::into_error)?);
            // A partition that is too large for memory is read several times, a part of the
            // identities each time.
            let parts = entries.div_ceil((most as u64).max(LEAST_AT_ONCE));
            for part in 0..parts {
                let mut file = BufReader::with_capacity(BUFFER_BYTES, File::open(self.path(at))?);
                let mut set = Set::default();
                for _ in 0..entries {
                    let mut entry = [0; ENTRY_BYTES];
                    file.read_exact(&mut entry)?;
                    let (identity, row) = entry.split_at(16);
                    let identity = u128::from_le_bytes(identity.try_into().expect("16 bytes"));
                    if (identity >> 72) as u64 % parts != part {
                        continue;
                    }
                    let identity = NonZeroU128::new(identity).ok_or(io::ErrorKind::InvalidData)?;
                    if !set.insert(identity) {
                        copy(u64::from_le_bytes(row.try_into().expect("8 bytes")));
                    }
                }
            }
            std::fs::remove_file(self.path(at))?;
        }
        Ok(())
    }
}

impl Drop for Partitions {
    fn drop(&mut self) {
        // What can't be removed now lies in the stage, which the next run clears away.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Spread over all bits, as hashes are.
    fn identity(n: u64) -> Option<NonZeroU128> {
        NonZeroU128::new(xxhash_rust::xxh3::xxh3_128(&n.to_le_bytes()))
    }

    /// Rows that are later copies, of objects with these identities.
    fn found(objects: &[Vec<Option<u64>>], bytes: u64) -> Vec<Vec<bool>> {
        let outer = tempfile::tempdir().unwrap();
        let mut search = Search::new(bytes, outer.path().join("copies"));
        for object in objects {
            for rows in object.chunks(7) {
                let hashes = rows.iter().map(|n| n.and_then(identity)).collect();
                search.take(&Identities { hashes, found: Vec::new() }).unwrap();
            }
            search.end_object(Some(object.len() as u64));
        }
        let copies = search.finish().unwrap();
        assert!(!outer.path().join("copies").exists(), "what was on disk is gone");
        let of = |(at, object): (usize, &Vec<Option<u64>>)| {
            (0..object.len() as u64).map(|row| copies.of(at).contains(row)).collect()
        };
        let marks: Vec<Vec<bool>> = objects.iter().enumerate().map(of).collect();
        let marked = marks.iter().flatten().filter(|mark| **mark).count() as u64;
        assert_eq!(copies.count(), marked);
        marks
    }

    proptest! {
        #[test]
        fn the_first_of_an_identity_stays_whatever_fits_into_memory(
            objects in prop::collection::vec(
                prop::collection::vec(prop::option::weighted(0.9, 0..60_u64), 0..80), 0..8),
            bytes in prop::sample::select(vec![0_u64, 100, 500, 1 << 20]),
        ) {
            let mut seen = std::collections::HashSet::new();
            let mut expected = |n: &Option<u64>| n.is_some_and(|n| !seen.insert(n));
            let expected: Vec<Vec<bool>> =
                objects.iter().map(|object| object.iter().map(&mut expected).collect()).collect();
            prop_assert_eq!(found(&objects, bytes), expected);
        }
    }

    #[test]
    fn a_partition_that_does_not_fit_is_read_in_parts() {
        let many = 2 * LEAST_AT_ONCE * PARTITIONS as u64;
        let rows: Vec<Option<u64>> = (0..many).chain(0..many).map(Some).collect();
        let marks = &found(&[rows], 0)[0];
        assert!((0..many as usize).all(|row| !marks[row] && marks[row + many as usize]));
    }

    #[test]
    fn a_search_that_is_dropped_leaves_nothing_on_disk() {
        let outer = tempfile::tempdir().unwrap();
        let mut search = Search::new(0, outer.path().join("copies"));
        let hashes = (0..1_000).map(identity).collect();
        search.take(&Identities { hashes, found: Vec::new() }).unwrap();
        assert!(outer.path().join("copies").exists());
        drop(search);
        assert!(!outer.path().join("copies").exists());
    }

    #[test]
    fn a_set_within_its_bound_stays_below_it_in_bytes() {
        // 7/8 of 2^23 places, which take 136 MiB, beside 68 MiB while they grow.
        assert_eq!(most_in(256 << 20), 7 << 20);
        assert_eq!((most_in(0), most_in(100), most_in(1 << 40) > 1 << 33), (0, 0, true));
        for bytes in [500, 1 << 10, 1 << 20, 100 << 20] {
            let most = most_in(bytes) as u64;
            let places = most / 7 * 8;
            assert!(most > 0 && places * 17 * 3 / 2 <= bytes && places * 17 * 3 > bytes);
        }
    }
}
