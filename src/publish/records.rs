//! `records`: row groups go in, in order, one Parquet file comes out.
//!
//! Worker threads have encoded the columns of a row group; [`RecordsWriter`] appends the chunks to the file as they are. When the
//! columns grow or widen on the way, the earlier chunks stay where they are, and
//! [`RecordsWriter::finish`] copies into a second file what still holds and asks for the rest again. The file
//! is the same, byte for byte, as if the last columns had been known from the start.
//! The day is never held in memory.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use super::chunk::EncodedChunk;
use super::encode::{RecordColumn, null_chunk};
use super::error::PublishError;
use super::footer::{ChunkMeta, DiskColumn, DiskType, MAGIC, PlacedChunk, PlacedGroup, put_footer};
use crate::schema::{ColumnSpec, ColumnType, Path};

/// The times, which stand before the records' own columns.
const OWN_COLUMNS: usize = 2;

/// Encodes columns of a row group again, in their final types: (row group, columns) → a chunk a
/// column.
pub type Rebuild<'a, E> = dyn FnMut(usize, &[ColumnSpec]) -> Result<Vec<EncodedChunk>, E> + 'a;

/// What [`RecordsWriter::finish`] made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordsFile {
    pub rows: u64,
    pub bytes: u64,
    /// Null rows of each of the final columns.
    pub nulls: Vec<u64>,
    /// Chunks that had to be encoded again because their type widened.
    pub rebuilt_chunks: usize,
}

/// Writes a `records` file.
pub struct RecordsWriter {
    path: PathBuf,
    file: BufWriter<File>,
    at: u64,
    provenance: bool,
    groups: Vec<WrittenGroup>,
}

struct WrittenGroup {
    rows: usize,
    columns: Arc<[ColumnSpec]>,
    chunks: Vec<WrittenChunk>,
}

#[derive(Clone)]
struct WrittenChunk {
    start: u64,
    bytes: u64,
    meta: ChunkMeta,
}

impl RecordsWriter {
    /// Creates the file; its folder exists.
    pub fn create(path: &FilePath, provenance: bool) -> Result<Self, PublishError> {
        // Read as well, because chunks may have to be copied out of it.
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(path).map_err(PublishError::file("create", path))?;
        let mut writer = RecordsWriter {
            path: path.to_path_buf(),
            file: BufWriter::with_capacity(1 << 18, file),
            at: 0,
            provenance,
            groups: Vec::new(),
        };
        writer.append(MAGIC)?;
        Ok(writer)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<u64, PublishError> {
        let start = self.at;
        self.file.write_all(bytes).map_err(PublishError::file("write", &self.path))?;
        self.at += bytes.len() as u64;
        Ok(start)
    }

    /// Appends row group number `index`, counted from 0. `chunks` are those of
    /// [`RecordColumn::all`] for `columns`.
    ///
    /// # Panics
    /// When row groups come out of order, or chunks and columns differ in number.
    pub fn push(
        &mut self,
        index: usize,
        rows: usize,
        columns: &[ColumnSpec],
        chunks: Vec<EncodedChunk>,
    ) -> Result<(), PublishError> {
        assert_eq!(index, self.groups.len(), "row groups come in order");
        let expected = RecordColumn::all(columns, self.provenance).len();
        assert_eq!(chunks.len(), expected, "a row group has a chunk a column");
        let mut written = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            written.push(self.append_chunk(chunk)?);
        }
        let columns = match self.groups.last() {
            Some(before) if *before.columns == *columns => before.columns.clone(),
            _ => columns.into(),
        };
        self.groups.push(WrittenGroup { rows, columns, chunks: written });
        Ok(())
    }

    fn append_chunk(&mut self, chunk: EncodedChunk) -> Result<WrittenChunk, PublishError> {
        debug_assert!(chunk.meta.data_pages > 0);
        let start = self.append(&chunk.bytes)?;
        Ok(WrittenChunk { start, bytes: chunk.bytes.len() as u64, meta: chunk.meta })
    }

    /// The chunks that [`RecordsWriter::finish`] will ask for: row groups in their order, each with its
    /// columns.
    pub fn rebuilds(&self, final_columns: &[ColumnSpec]) -> Vec<(usize, Vec<ColumnSpec>)> {
        let mut rebuilds = Vec::new();
        for (index, group) in self.groups.iter().enumerate() {
            if *group.columns != *final_columns {
                let columns = widened(&plan(group, final_columns, self.provenance));
                if !columns.is_empty() {
                    rebuilds.push((index, columns));
                }
            }
        }
        rebuilds
    }

    /// Closes the file with the day's final columns.
    ///
    /// `rebuild(row group, columns)` encodes the given columns of a row group again, in their
    /// final types. It is called only for chunks that hold values in a type that has widened since.
    /// Nothing is synced to disk here.
    pub fn finish<E: From<PublishError>>(
        mut self,
        final_columns: &[ColumnSpec],
        rebuild: &mut Rebuild<'_, E>,
    ) -> Result<RecordsFile, E> {
        let same = |a: &ColumnSpec, b: &ColumnSpec| {
            a.path == b.path && DiskType::of(a.column_type) == DiskType::of(b.column_type)
        };
        let known = |group: &WrittenGroup| {
            group.columns.len() == final_columns.len()
                && group
                    .columns
                    .iter()
                    .zip(final_columns)
                    .all(|(a, b)| same(a, b) && !needs_rebuild(a.column_type, b.column_type))
        };
        let mut rebuilt_chunks = 0;
        if !self.groups.iter().all(known) {
            rebuilt_chunks = self.rewrite(final_columns, rebuild)?;
        }
        let groups = std::mem::take(&mut self.groups);
        put_footer(&on_disk(final_columns, self.provenance), &groups, placed, |part| {
            self.append(part).map(|_| ())
        })?;
        self.file.flush().map_err(PublishError::file("write", &self.path))?;
        let nulls = (OWN_COLUMNS..OWN_COLUMNS + final_columns.len())
            .map(|at| groups.iter().map(|group| u64::from(group.chunks[at].meta.null_rows)).sum())
            .collect();
        let rows = groups.iter().map(|group| group.rows as u64).sum();
        Ok(RecordsFile { rows, bytes: self.at, nulls, rebuilt_chunks })
    }

    /// Moves everything into a second file in the order of the final columns, and takes its place.
    fn rewrite<E: From<PublishError>>(
        &mut self,
        final_columns: &[ColumnSpec],
        rebuild: &mut Rebuild<'_, E>,
    ) -> Result<usize, E> {
        self.file.flush().map_err(PublishError::file("write", &self.path))?;
        let path = self.path.with_extension("rewritten");
        let mut second = RecordsWriter::create(&path, self.provenance)?;
        let mut rebuilt_chunks = 0;
        let final_shared: Arc<[ColumnSpec]> = final_columns.into();
        for (index, group) in std::mem::take(&mut self.groups).into_iter().enumerate() {
            let plan = plan(&group, final_columns, self.provenance);
            let widened = widened(&plan);
            rebuilt_chunks += widened.len();
            let mut rebuilt = match &widened[..] {
                [] => Vec::new(),
                widened => rebuild(index, widened)?,
            }
            .into_iter();
            let mut chunks = Vec::with_capacity(plan.len());
            for part in plan {
                chunks.push(match part {
                    Part::Copy(at) => self.copy_chunk(&group.chunks[at], &mut second)?,
                    Part::Nulls(kind) => second.append_chunk(null_chunk(group.rows, kind))?,
                    Part::Rebuild(_) => {
                        let chunk = rebuilt.next().expect("rebuild gives a chunk a column");
                        second.append_chunk(chunk)?
                    }
                });
            }
            let columns = final_shared.clone();
            second.groups.push(WrittenGroup { rows: group.rows, columns, chunks });
        }
        std::fs::rename(&path, &self.path).map_err(PublishError::file("rename", &path))?;
        self.file = second.file;
        self.at = second.at;
        self.groups = second.groups;
        Ok(rebuilt_chunks)
    }

    fn copy_chunk(
        &mut self,
        chunk: &WrittenChunk,
        to: &mut RecordsWriter,
    ) -> Result<WrittenChunk, PublishError> {
        let from = self.file.get_mut();
        from.seek(SeekFrom::Start(chunk.start)).map_err(PublishError::file("read", &self.path))?;
        let copied = io::copy(&mut from.take(chunk.bytes), &mut to.file)
            .map_err(PublishError::file("write", &to.path))?;
        if copied != chunk.bytes {
            let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(PublishError::file("read", &self.path)(cut));
        }
        let start = to.at;
        to.at += copied;
        Ok(WrittenChunk { start, ..chunk.clone() })
    }
}

/// Where a chunk of the final file comes from.
enum Part<'a> {
    /// From this place among the row group's chunks, as it is.
    Copy(usize),
    Nulls(ColumnType),
    Rebuild(&'a ColumnSpec),
}

fn widened(plan: &[Part]) -> Vec<ColumnSpec> {
    let columns = plan.iter().filter_map(|part| match part {
        Part::Rebuild(spec) => Some((*spec).clone()),
        _ => None,
    });
    columns.collect()
}

/// Where the columns of a row group stand among its own.
struct Known<'g> {
    group: &'g WrittenGroup,
    places: HashMap<&'g Path, usize>,
    /// Sorted, so that the parts of an object stand together.
    pointers: Vec<&'g str>,
}

impl<'g> Known<'g> {
    fn of(group: &'g WrittenGroup) -> Self {
        let places = group.columns.iter().enumerate().map(|(at, column)| (&column.path, at));
        let mut pointers: Vec<&str> =
            group.columns.iter().map(|column| column.path.pointer()).collect();
        pointers.sort_unstable();
        Known { group, places: places.collect(), pointers }
    }

    fn has_parts_of(&self, path: &Path) -> bool {
        let inside = format!("{}/", path.pointer());
        let at = self.pointers.partition_point(|pointer| *pointer < &*inside);
        self.pointers.get(at).is_some_and(|pointer| pointer.starts_with(&inside))
    }

    fn part<'a>(&self, column: &'a ColumnSpec) -> Part<'a> {
        let Some(&at) = self.places.get(&column.path) else {
            // Its parts were columns, and the whole has become one since.
            return match self.has_parts_of(&column.path) {
                true => Part::Rebuild(column),
                false => Part::Nulls(column.column_type),
            };
        };
        let nulls = self.group.chunks[OWN_COLUMNS + at].meta.null_rows as usize;
        if nulls == self.group.rows {
            Part::Nulls(column.column_type)
        } else if needs_rebuild(self.group.columns[at].column_type, column.column_type) {
            Part::Rebuild(column)
        } else {
            Part::Copy(OWN_COLUMNS + at)
        }
    }
}

fn plan<'a>(group: &WrittenGroup, columns: &'a [ColumnSpec], provenance: bool) -> Vec<Part<'a>> {
    let known = Known::of(group);
    let mut plan: Vec<Part> = (0..OWN_COLUMNS).map(Part::Copy).collect();
    plan.extend(columns.iter().map(|column| known.part(column)));
    if provenance {
        plan.extend((OWN_COLUMNS + group.columns.len()..group.chunks.len()).map(Part::Copy));
    }
    plan
}

/// Text and JSON look alike on disk, but their strings differ by quotes.
fn needs_rebuild(from: ColumnType, to: ColumnType) -> bool {
    from != to && from != ColumnType::Null
}

fn on_disk(columns: &[ColumnSpec], provenance: bool) -> Vec<DiskColumn<'_>> {
    let all = RecordColumn::all(columns, provenance);
    all.into_iter().map(RecordColumn::on_disk).collect()
}

fn placed(group: &WrittenGroup) -> PlacedGroup<'_> {
    let chunks = group.chunks.iter();
    let chunks = chunks
        .map(|chunk| PlacedChunk { start: chunk.start, bytes: chunk.bytes, meta: &chunk.meta })
        .collect();
    PlacedGroup { rows: group.rows, chunks }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Bits, Column, Frame, Items, Texts, Values};
    use crate::publish::encode::{EncodeOptions, RowGroup, Slice, encode_column};
    use crate::publish::gather;
    use crate::schema::{Kinds, Pins, Scalar, Schema};
    use std::ops::Range;

    fn path(name: &str) -> Path {
        Path::root().child(name)
    }

    fn texts(values: &[&str]) -> Values {
        let mut made = Texts::default();
        values.iter().for_each(|value| made.push(value));
        Values::Text(made)
    }

    fn column(name: &str, kinds: Kinds, values: Values) -> Column {
        Column { path: path(name), kinds, column_type: kinds.column_type(), values, valid: None }
    }

    fn group(rows: usize, columns: Vec<Column>) -> RowGroup {
        // As the reader says it: flattened objects are seen, and have no column.
        let mut seen: Vec<(Path, Kinds)> = Vec::new();
        for column in &columns {
            let pointer = column.path.pointer();
            if let Some(above) = pointer.rfind('/').filter(|at| *at > 0) {
                seen.push((path(&pointer[1..above]), Kinds::OBJECT));
            }
            seen.push((column.path.clone(), column.kinds));
        }
        let frame = Frame {
            rows,
            ts_utc: (0..rows as i64).map(|at| at * 1000).collect(),
            offsets: (0..rows as u64).collect(),
            columns,
            seen,
            ..Frame::default()
        };
        RowGroup { slices: vec![Slice::all(frame, "a/b".into())] }
    }

    fn columns_of(groups: &[RowGroup]) -> Vec<ColumnSpec> {
        let mut schema = Schema::default();
        for slice in groups.iter().flat_map(|group| &group.slices) {
            for column in &slice.frame.columns {
                schema.see(&column.path, column.kinds);
            }
        }
        schema.columns(&Pins::new())
    }

    const OPTIONS: EncodeOptions<'static> = EncodeOptions { to_local_us: &|us| us + 3_600_000_000 };

    fn chunks(group: &RowGroup, columns: &[ColumnSpec]) -> Vec<EncodedChunk> {
        RecordColumn::all(columns, true)
            .into_iter()
            .map(|column| encode_column(group, column, &OPTIONS).expect("castable"))
            .collect()
    }

    /// Writes the groups as a job does that learns of columns as it goes, or knows them already.
    fn write(groups: &[RowGroup], known: bool) -> (Vec<u8>, RecordsFile) {
        let folder =
            std::env::temp_dir().join(format!("records-{:?}", std::thread::current().id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join("part.parquet");
        let mut writer = RecordsWriter::create(&file, true).expect("a file");
        let last = columns_of(groups);
        for (index, group) in groups.iter().enumerate() {
            let columns = if known { last.clone() } else { columns_of(&groups[..=index]) };
            let encoded = chunks(group, &columns);
            writer.push(index, group.rows(), &columns, encoded).expect("written");
        }
        let made = writer.finish(&last, &mut |index, columns| {
            assert!(!known, "nothing is rebuilt when the columns were known");
            let encode = |spec| encode_column(&groups[index], RecordColumn::Field(spec), &OPTIONS);
            columns.iter().map(encode).collect::<Result<Vec<_>, PublishError>>()
        });
        let bytes = std::fs::read(&file).expect("readable");
        (bytes, made.expect("finished"))
    }

    #[test]
    fn columns_that_appear_or_widen_late_give_the_same_bytes() {
        let int = |values: Vec<i64>| Values::Int(values);
        let list = |ends: Vec<u32>, values| {
            let items = Items {
                valid: Bits::filled(*ends.last().unwrap_or(&0) as usize, true),
                values: Box::new(values),
            };
            Values::List { ends, items }
        };
        let ints = Kinds::LIST.union(Kinds::LIST_INT);
        let groups = [
            group(
                3,
                vec![
                    column("same", Kinds::TEXT, texts(&["a", "b", "a"])),
                    column("late_float", Kinds::INT, int(vec![1, 2, 3])),
                    column("late_text", Kinds::INT, int(vec![-7, 8, 9])),
                    column("late_bool", Kinds::NONE, Values::Null),
                    column("flag", Kinds::BOOL, Values::Bool(Bits::filled(3, true))),
                    column("late_list", Kinds::LIST, list(vec![0, 0, 0], Values::Null)),
                    column("null_list", Kinds::NONE, Values::Null),
                ],
            ),
            group(
                2,
                vec![
                    column("same", Kinds::TEXT, texts(&["c", "c"])),
                    column("late_float", Kinds::FLOAT, Values::Float(vec![0.5, 1.5])),
                    column("late_text", Kinds::TEXT, texts(&["x", "y"])),
                    column("late_bool", Kinds::BOOL, Values::Bool(Bits::filled(2, true))),
                    column("flag", Kinds::TEXT, texts(&["maybe", "no"])),
                    column("late_list", ints, list(vec![1, 3], Values::Int(vec![1, 2, 3]))),
                    column("null_list", ints, list(vec![1, 3], Values::Int(vec![1, 2, 3]))),
                    column("new", Kinds::INT, int(vec![5, 6])),
                ],
            ),
            group(1, vec![column("new", Kinds::INT, int(vec![7]))]),
        ];
        let (known, _) = write(&groups, true);
        let (learnt, made) = write(&groups, false);
        assert!(known == learnt, "the bytes differ");
        assert_eq!(made.rows, 6);
        assert_eq!(made.bytes, learnt.len() as u64);
        assert_eq!(made.nulls, [1, 1, 1, 4, 1, 1, 4, 3]);
        // late_float, late_text, flag and late_list of the first row group.
        assert_eq!(made.rebuilt_chunks, 4);
    }

    #[test]
    fn an_object_that_becomes_json_late_is_read_again_and_not_lost() {
        let os = Column {
            path: path("device").child("os"),
            ..column("", Kinds::TEXT, texts(&["ios", "web"]))
        };
        let flat = group(2, vec![os, column("n", Kinds::INT, Values::Int(vec![1, 2]))]);
        let json = |values: &[&str]| column("device", Kinds::OBJECT, texts(values));
        let again = group(
            2,
            vec![
                json(&[r#"{"os":"ios"}"#, r#"{"os":"web"}"#]),
                column("n", Kinds::INT, Values::Int(vec![1, 2])),
            ],
        );
        let mut mixed = json(&["7"]);
        mixed.kinds = Kinds::OBJECT.union(Kinds::INT);
        let later = group(1, vec![mixed]);
        let before = columns_of(std::slice::from_ref(&flat));
        let last = columns_of(&[again.clone(), later.clone()]);

        assert!(flat.slices[0].can_publish(&before) && !flat.slices[0].can_publish(&last));
        let device = RecordColumn::Field(&last[0]);
        assert!(encode_column(&flat, device, &OPTIONS).is_err());

        let folder = tempfile::tempdir().expect("a folder");
        let paths = [folder.path().join("known"), folder.path().join("learnt")];
        let first = [(&again, &last), (&flat, &before)];
        for (path, (group, columns)) in paths.iter().zip(first) {
            let mut writer = RecordsWriter::create(path, true).expect("a file");
            writer.push(0, 2, columns, chunks(group, columns)).expect("written");
            writer.push(1, 1, &last, chunks(&later, &last)).expect("written");
            let rebuild = &mut |index: usize, columns: &[ColumnSpec]| {
                assert_eq!((index, columns), (0, &last[..1]));
                let encode = |spec| encode_column(&again, RecordColumn::Field(spec), &OPTIONS);
                columns.iter().map(encode).collect::<Result<Vec<_>, PublishError>>()
            };
            writer.finish(&last, rebuild).expect("finished");
        }
        let [known, learnt] = paths.map(|path| std::fs::read(path).expect("readable"));
        assert!(known == learnt, "the bytes differ");
    }

    #[test]
    fn a_day_without_records_is_a_file_without_row_groups() {
        let (bytes, made) = write(&[], true);
        assert_eq!((made.rows, made.bytes), (0, bytes.len() as u64));
        assert_eq!(&bytes[..4], MAGIC);
        assert_eq!(&bytes[bytes.len() - 4..], MAGIC);
    }

    #[test]
    fn a_value_that_no_cast_gives_exactly_asks_for_its_object_again() {
        use ColumnType as T;
        let int = |kinds: Kinds| column("x", kinds, Values::Int(vec![0]));
        let text = |kinds: Kinds| column("x", kinds, texts(&["a"]));
        let float = column("x", Kinds::FLOAT, Values::Float(vec![0.5]));
        let cases = [
            (int(Kinds::INT), T::Float, true),
            (int(Kinds::INT.union(Kinds::BIG_INT)), T::Float, false),
            (int(Kinds::INT.union(Kinds::NEG_ZERO)), T::Float, false),
            (int(Kinds::INT.union(Kinds::BIG_INT)), T::Text, true),
            (int(Kinds::NEG_ZERO), T::Text, false),
            (int(Kinds::NEG_ZERO), T::Int, true),
            (float, T::Text, false),
            (text(Kinds::TEXT), T::Json, false),
            (text(Kinds::OBJECT), T::Json, true),
            (text(Kinds::OBJECT), T::Text, false),
            (text(Kinds::TEXT), T::Int, false),
            (column("x", Kinds::NONE, Values::Null), T::List(Scalar::Int), true),
        ];
        for (column, to, castable) in cases {
            assert_eq!(gather::can_cast(&column, to), castable, "{:?} {to}", column.kinds);
        }
        // Text that the reader was told to keep as JSON.
        let told = Column { column_type: T::Json, ..text(Kinds::TEXT) };
        assert!(gather::can_cast(&told, T::Json) && !gather::can_cast(&told, T::Text));

        let one = group(1, vec![text(Kinds::TEXT)]);
        let mut columns = columns_of(std::slice::from_ref(&one));
        assert!(one.slices[0].can_publish(&columns));
        columns[0].column_type = T::Json;
        assert!(!one.slices[0].can_publish(&columns));
        let refused = encode_column(&one, RecordColumn::Field(&columns[0]), &OPTIONS);
        let refused = refused.expect_err("text has no quotes");
        assert_eq!(refused.to_string(), "column x needs its objects read again, as json");
    }

    #[test]
    fn how_rows_are_sliced_into_frames_does_not_show() {
        let names: Vec<String> = (0..1000).map(|at| format!("name {}", at % 60)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let numbers: Vec<i64> = (0..1000).map(|at| at * 7919 % 1013).collect();
        let make = |range: Range<usize>| {
            let mut valid = Bits::default();
            range.clone().for_each(|at| valid.push(at % 3 != 0));
            let mut number = column("n", Kinds::INT, Values::Int(numbers[range.clone()].to_vec()));
            number.valid = Some(valid);
            let mut made = group(
                range.len(),
                vec![column("t", Kinds::TEXT, texts(&names[range.clone()])), number],
            );
            let mut frame = (*made.slices[0].frame).clone();
            frame.ts_utc = range.clone().map(|at| at as i64).collect();
            frame.offsets = range.map(|at| at as u64).collect();
            made.slices = vec![Slice::all(frame, "a/b".into())];
            made
        };
        let whole = make(0..1000);
        let mut parts = RowGroup::default();
        for range in [0..1, 1..500, 500..501, 501..1000] {
            parts.slices.extend(make(range).slices);
        }
        // And one frame of which the group takes two parts.
        let mut cut = whole.clone();
        cut.slices.push(cut.slices[0].clone());
        cut.slices[0].rows = 0..333;
        cut.slices[1].rows = 333..1000;
        let columns = columns_of(std::slice::from_ref(&whole));
        assert_eq!(chunks(&whole, &columns), chunks(&parts, &columns));
        assert_eq!(chunks(&whole, &columns), chunks(&cut, &columns));
    }
}
