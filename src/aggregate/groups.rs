//! Groups: the source texts of the `--by` columns go in, a small number per group comes out.
//!
//! A group is a tuple of texts here, since the type of a column is not known before the day
//! ends; [`super::keys`] turns them into values. The numbers are in order of appearance and
//! mean nothing outside of one partial.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use super::AggregateError;
use crate::json::{Frame, GroupKeys, Texts};
use crate::schema::Kinds;

/// The different texts of one `--by` column may have so many bytes in all.
pub const GROUP_TEXT_BYTES: usize = 256 << 20;

/// The id of null among the texts of a column.
pub const NULL: u32 = u32::MAX;

const NO_GROUP: u32 = u32::MAX;

/// All groups that were seen, and the texts of their keys.
#[derive(Clone, Debug)]
pub struct Groups {
    max_groups: usize,
    by: Vec<ByColumn>,
    /// The text ids of each group, one per `--by` column.
    tuples: Vec<u32>,
    len: usize,
    /// Groups by their tuples, where there are several columns.
    table: HashTable<u32>,
    /// With one column: the group of each text, the one of null first.
    of_text: Vec<u32>,
}

/// One `--by` column.
#[derive(Clone, Debug)]
pub struct ByColumn {
    pub name: String,
    pub kinds: Kinds,
    pub texts: Texts,
    has_null: bool,
    table: HashTable<u32>,
    recent: Vec<Recent>,
}

/// A short text that was looked up, by its bytes as one number.
#[derive(Clone, Copy, Default, Debug)]
struct Recent {
    word: u128,
    len: u8,
    id: u32,
}

/// Slots of a column's cache of short texts.
const RECENT: usize = 256;
/// Texts up to this many bytes are cached.
const SHORT_BYTES: usize = 16;

impl Groups {
    pub fn new(by: &[String], max_groups: usize) -> Groups {
        let column = |name: &String| ByColumn {
            name: name.clone(),
            kinds: Kinds::NONE,
            texts: Texts::default(),
            has_null: false,
            table: HashTable::new(),
            recent: Vec::new(),
        };
        Groups {
            max_groups,
            by: by.iter().map(column).collect(),
            tuples: Vec::new(),
            // Without `--by` the whole day is one group, even if it has no records.
            len: usize::from(by.is_empty()),
            table: HashTable::new(),
            of_text: Vec::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn by(&self) -> &[ByColumn] {
        &self.by
    }

    /// The text ids of a group, [`NULL`] for null.
    pub fn tuple(&self, group: usize) -> &[u32] {
        &self.tuples[group * self.by.len()..][..self.by.len()]
    }

    /// Writes the group of each row of the frame into `ids`.
    pub fn read(&mut self, frame: &Frame, ids: &mut Vec<u32>) -> Result<(), AggregateError> {
        assert_eq!(frame.groups.len(), self.by.len(), "a frame has the keys of every --by column");
        ids.clear();
        for (column, keys) in self.by.iter_mut().zip(&frame.groups) {
            column.kinds = column.kinds.union(keys.kinds);
        }
        match self.by.len() {
            0 => ids.resize(frame.rows, 0),
            1 => {
                self.by[0].read(&frame.groups[0], frame.rows, ids)?;
                for id in ids {
                    *id = self.group_of_text(*id)?;
                }
            }
            width => {
                let mut texts = vec![Vec::with_capacity(frame.rows); width];
                for ((column, keys), ids) in self.by.iter_mut().zip(&frame.groups).zip(&mut texts) {
                    column.read(keys, frame.rows, ids)?;
                }
                self.read_tuples(&texts, ids)?;
            }
        }
        Ok(())
    }

    fn read_tuples(
        &mut self,
        texts: &[Vec<u32>],
        ids: &mut Vec<u32>,
    ) -> Result<(), AggregateError> {
        let mut tuple = vec![NO_GROUP; texts.len()];
        let mut group = None;
        for row in 0..texts[0].len() {
            let mut is_same = group.is_some();
            for (key, column) in tuple.iter_mut().zip(texts) {
                is_same &= *key == column[row];
                *key = column[row];
            }
            let id = match group {
                Some(group) if is_same => group,
                _ => self.group_of(&tuple)?,
            };
            group = Some(id);
            ids.push(id);
        }
        Ok(())
    }

    /// Joins the groups of another partial; gives the id here of each of its groups.
    pub fn merge(&mut self, other: &Groups) -> Result<Vec<u32>, AggregateError> {
        let mut texts = Vec::with_capacity(self.by.len());
        for (mine, theirs) in self.by.iter_mut().zip(&other.by) {
            mine.kinds = mine.kinds.union(theirs.kinds);
            mine.has_null |= theirs.has_null;
            let ids = (0..theirs.texts.len()).map(|id| mine.intern(bytes_of(&theirs.texts, id)));
            texts.push(ids.collect::<Result<Vec<u32>, _>>()?);
        }
        let mut tuple = Vec::with_capacity(self.by.len());
        let mut groups = Vec::with_capacity(other.len);
        for group in 0..other.len {
            tuple.clear();
            let keys = other.tuple(group).iter().zip(&texts);
            tuple.extend(keys.map(|(id, ids)| ids.get(*id as usize).copied().unwrap_or(NULL)));
            groups.push(match tuple[..] {
                [] => 0,
                [id] => self.group_of_text(id)?,
                _ => self.group_of(&tuple)?,
            });
        }
        Ok(groups)
    }

    /// The group of a text where there is one column.
    #[inline]
    fn group_of_text(&mut self, id: u32) -> Result<u32, AggregateError> {
        // Null is the largest id: it wraps to the first place.
        match self.of_text.get(id.wrapping_add(1) as usize) {
            Some(group) if *group != NO_GROUP => Ok(*group),
            _ => self.new_group_of_text(id),
        }
    }

    #[cold]
    fn new_group_of_text(&mut self, id: u32) -> Result<u32, AggregateError> {
        let at = id.wrapping_add(1) as usize;
        if at >= self.of_text.len() {
            self.of_text.resize(at + 1, NO_GROUP);
        }
        let group = self.new_group(&[id])?;
        self.of_text[at] = group;
        Ok(group)
    }

    fn group_of(&mut self, tuple: &[u32]) -> Result<u32, AggregateError> {
        let width = tuple.len();
        let tuples = &self.tuples;
        let hash = hash_of_tuple(tuple);
        let found =
            self.table.find(hash, |group| tuples[*group as usize * width..][..width] == *tuple);
        if let Some(group) = found {
            return Ok(*group);
        }
        let group = self.new_group(tuple)?;
        let tuples = &self.tuples;
        self.table.insert_unique(hash, group, |group| {
            hash_of_tuple(&tuples[*group as usize * width..][..width])
        });
        Ok(group)
    }

    fn new_group(&mut self, tuple: &[u32]) -> Result<u32, AggregateError> {
        if self.len >= self.max_groups {
            return Err(self.too_many());
        }
        let group = u32::try_from(self.len).expect("groups are fewer than 2^32 texts");
        self.tuples.extend_from_slice(tuple);
        self.len += 1;
        Ok(group)
    }

    fn too_many(&self) -> AggregateError {
        let distinct = |column: &ByColumn| column.texts.len() + usize::from(column.has_null);
        // Of equals the first one, as typed.
        let widest = self.by.iter().rev().max_by_key(|column| distinct(column));
        AggregateError::TooManyGroups {
            limit: self.max_groups,
            column: widest.map(|column| column.name.clone()).unwrap_or_default(),
            distinct: widest.map(distinct).unwrap_or_default(),
        }
    }
}

impl ByColumn {
    /// Writes the id of each row's text into `ids`.
    fn read(
        &mut self,
        keys: &GroupKeys,
        rows: usize,
        ids: &mut Vec<u32>,
    ) -> Result<(), AggregateError> {
        let mut start = 0;
        for row in 0..rows {
            let end = keys.texts.ends[row] as usize;
            ids.push(if keys.valid.get(row) {
                self.id_of(&keys.texts.bytes, start, end)?
            } else {
                self.has_null = true;
                NULL
            });
            start = end;
        }
        Ok(())
    }

    /// The id of the text at `start..end` of `bytes`.
    #[inline]
    fn id_of(&mut self, bytes: &[u8], start: usize, end: usize) -> Result<u32, AggregateError> {
        let len = end - start;
        // Reading 16 bytes at once needs 16 bytes; the last texts of a frame go the long way.
        let Some(word) = bytes.get(start..start + SHORT_BYTES) else {
            return self.intern(&bytes[start..end]);
        };
        if len == 0 || len > SHORT_BYTES {
            return self.intern(&bytes[start..end]);
        }
        let word: [u8; SHORT_BYTES] = word.try_into().expect("the slice has that length");
        let word = u128::from_le_bytes(word) & (u128::MAX >> (8 * (SHORT_BYTES - len)));
        let mixed = (word as u64 ^ (word >> 64) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let at = (mixed >> 56) as usize % RECENT;
        for at in [at, at ^ 1] {
            if let Some(recent) = self.recent.get(at)
                && recent.word == word
                && usize::from(recent.len) == len
            {
                return Ok(recent.id);
            }
        }
        self.look_up(&bytes[start..end], word, at)
    }

    /// Finds a short text that is not in the cache, and puts it there.
    #[inline(never)]
    fn look_up(&mut self, text: &[u8], word: u128, at: usize) -> Result<u32, AggregateError> {
        let id = self.intern(text)?;
        self.recent.resize(RECENT, Recent::default());
        // The one before moves aside, so that two texts of one place don't fight over it.
        self.recent[at ^ 1] = self.recent[at];
        self.recent[at] = Recent { word, len: text.len() as u8, id };
        Ok(id)
    }

    fn intern(&mut self, text: &[u8]) -> Result<u32, AggregateError> {
        let texts = &self.texts;
        let hash = xxh3_64(text);
        let found = self.table.find(hash, |id| bytes_of(texts, *id as usize) == text);
        if let Some(id) = found {
            return Ok(*id);
        }
        if self.texts.bytes.len() + text.len() > GROUP_TEXT_BYTES {
            return Err(AggregateError::GroupsTooLong {
                column: self.name.clone(),
                limit_bytes: GROUP_TEXT_BYTES,
            });
        }
        let id = u32::try_from(self.texts.len()).expect("a frame has fewer than 2^32 rows");
        self.texts.bytes.extend_from_slice(text);
        self.texts.end_value();
        let texts = &self.texts;
        self.table.insert_unique(hash, id, |id| xxh3_64(bytes_of(texts, *id as usize)));
        Ok(id)
    }
}

fn hash_of_tuple(tuple: &[u32]) -> u64 {
    tuple.iter().fold(0x243F_6A88_85A3_08D3, |hash: u64, id| {
        let mixed = u128::from(hash ^ u64::from(*id)) * 0x9E37_79B9_7F4A_7C15;
        (mixed >> 64) as u64 ^ mixed as u64
    })
}

/// The bytes of a text, without the check that they are UTF-8.
fn bytes_of(texts: &Texts, at: usize) -> &[u8] {
    let start = match at {
        0 => 0,
        _ => texts.ends[at - 1] as usize,
    };
    &texts.bytes[start..texts.ends[at] as usize]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Bits;

    fn keys(values: &[Option<&str>]) -> GroupKeys {
        let mut keys = GroupKeys::default();
        for value in values {
            keys.texts.push(value.unwrap_or(""));
            keys.valid.push(value.is_some());
        }
        keys
    }

    fn frame(columns: &[&[Option<&str>]]) -> Frame {
        Frame {
            rows: columns[0].len(),
            groups: columns.iter().map(|values| keys(values)).collect(),
            ..Frame::default()
        }
    }

    fn by(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    fn texts(groups: &Groups, group: u32) -> Vec<Option<&str>> {
        let tuple = groups.tuple(group as usize).iter().zip(groups.by());
        tuple.map(|(id, column)| (*id != NULL).then(|| column.texts.get(*id as usize))).collect()
    }

    #[test]
    fn null_empty_text_and_zero_bytes_are_different_groups() {
        let long = "a text that is longer than sixteen bytes";
        let values = [None, Some(""), Some("null"), Some("a"), Some("a\0"), Some(long)];
        let repeated = values.repeat(50);
        let mut groups = Groups::new(&by(&["type"]), 100);
        let mut ids = Vec::new();
        groups.read(&frame(&[&repeated]), &mut ids).unwrap();
        assert_eq!(groups.len(), values.len());
        for (id, value) in ids.iter().zip(&repeated) {
            assert_eq!(texts(&groups, *id), [*value]);
        }
    }

    #[test]
    fn several_columns_make_tuples() {
        let left = [Some("a"), Some("a"), None, Some("b"), Some("a")];
        let right = [Some("x"), None, Some("x"), Some("x"), Some("x")];
        let mut groups = Groups::new(&by(&["l", "r"]), 100);
        let mut ids = Vec::new();
        groups.read(&frame(&[&left, &right]), &mut ids).unwrap();
        assert_eq!(ids, [0, 1, 2, 3, 0]);
        for (row, id) in ids.iter().enumerate() {
            assert_eq!(texts(&groups, *id), [left[row], right[row]]);
        }
    }

    #[test]
    fn merging_keeps_every_key() {
        for width in [1, 2] {
            let columns: [&[Option<&str>]; 2] =
                [&[Some("a"), None, Some("b")], &[Some("b"), Some("c"), None]];
            let names = &by(&["l", "r"])[..width];
            let mut left = Groups::new(names, 100);
            let mut right = Groups::new(names, 100);
            let first = frame(&vec![columns[0]; width]);
            let mut second = frame(&vec![columns[1]; width]);
            for keys in &mut second.groups {
                keys.kinds = Kinds::TEXT;
            }
            left.read(&first, &mut Vec::new()).unwrap();
            right.read(&second, &mut Vec::new()).unwrap();
            let ids = left.merge(&right).unwrap();
            assert!(left.by().iter().all(|by| by.kinds == Kinds::TEXT));
            assert_eq!(left.len(), 4);
            for (theirs, mine) in ids.iter().enumerate() {
                assert_eq!(texts(&left, *mine), texts(&right, theirs as u32));
            }
        }
    }

    #[test]
    fn too_many_groups_name_the_widest_column() {
        let names = by(&["kind", "user"]);
        let kinds = [Some("a"); 5];
        let users = ["1", "2", "3", "4", "5"].map(Some);
        let mut groups = Groups::new(&names, 4);
        let error = groups.read(&frame(&[&kinds, &users]), &mut Vec::new());
        let expected =
            AggregateError::TooManyGroups { limit: 4, column: "user".to_string(), distinct: 5 };
        assert_eq!(error, Err(expected));
        let mut left = Groups::new(&names[1..], 4);
        let mut right = Groups::new(&names[1..], 4);
        left.read(&frame(&[&users[..3]]), &mut Vec::new()).unwrap();
        right.read(&frame(&[&users[2..]]), &mut Vec::new()).unwrap();
        assert!(left.merge(&right).is_err());
    }

    #[test]
    fn without_by_everything_is_one_group() {
        let mut groups = Groups::new(&[], 1);
        let mut ids = Vec::new();
        let frame = Frame { rows: 3, ..Frame::default() };
        groups.read(&frame, &mut ids).unwrap();
        assert_eq!((ids, groups.len()), (vec![0; 3], 1));
        assert_eq!(groups.merge(&Groups::new(&[], 1)), Ok(vec![0]));
    }

    #[test]
    fn validity_may_be_longer_than_one_word() {
        let values: Vec<Option<&str>> = (0..200).map(|at| (at % 3 > 0).then_some("x")).collect();
        let mut groups = Groups::new(&by(&["t"]), 100);
        let mut ids = Vec::new();
        groups.read(&frame(&[&values]), &mut ids).unwrap();
        assert_eq!(ids[..4], [0, 1, 1, 0]);
        assert_eq!(keys(&values).valid.count_ones(), 133);
        assert_eq!(Bits::default().len(), 0);
    }
}
