//! An object read to its end, with everything that it gave, as the laws of the record reader compare it.

use std::collections::BTreeMap;

use rawcat::json::{
    Chunk, Column, Fate, Options, Projection, Quarantined, Reader, Reason, Tally, TimeText, Values,
};
use rawcat::schema::{ColumnSpec, Pins, Schema};

pub fn options(projection: Projection) -> Options {
    Options {
        projection,
        pins: Pins::new(),
        time_fields: vec!["ts".into(), "d.ts".into()],
        by: vec!["a".into(), "d.a".into()],
        identity: None,
        max_record_bytes: 16 << 20,
    }
}

/// What an object gave.
#[derive(Default)]
pub struct Read {
    pub chunks: Vec<Chunk>,
    pub tally: Tally,
    pub quarantine: Vec<Quarantined>,
    /// Length of each record with a fate, by its offset; false where it was rejected.
    pub records: BTreeMap<u64, (u64, bool)>,
}

/// Reads an object cut into blocks, told of `types`.
pub fn read(options: &Options, types: &[ColumnSpec], bytes: &[u8], cuts: &[usize]) -> Read {
    let mut reader = Reader::new(options.clone());
    reader.expect(types);
    read_object(&mut reader, bytes, cuts)
}

pub fn read_object(reader: &mut Reader, bytes: &[u8], cuts: &[usize]) -> Read {
    reader.begin_object();
    let mut read = Read::default();
    let mut ends: Vec<usize> = cuts.iter().copied().filter(|cut| *cut < bytes.len()).collect();
    ends.sort_unstable();
    ends.push(bytes.len());
    let mut begin = 0;
    for end in ends {
        let last = end == bytes.len();
        let records = &mut read.records;
        let chunk = reader.read(&bytes[begin..end], last, &mut |record| {
            let fate = fate_of(record.find(|rank, text| Some((rank, fate_by(text)))));
            let is_kept = !matches!(fate, Fate::Reject(_));
            records.insert(record.offset, (record.source.len() as u64, is_kept));
            fate
        });
        begin += chunk.consumed;
        assert!(begin <= end);
        read.tally.add(&chunk.tally);
        read.quarantine.extend(chunk.quarantine.iter().cloned());
        read.chunks.push(chunk);
    }
    assert_eq!(begin, bytes.len(), "the last block is consumed whole");
    read
}

/// A closure that knows times stands for the calendar: words say what becomes of a record.
fn fate_by(text: TimeText<'_>) -> Fate {
    match text {
        TimeText::Text(b"out") => Fate::Before,
        TimeText::Text(b"late") => Fate::After,
        TimeText::Text(b"bad") => Fate::Reject(Reason::TimeUnreadable),
        TimeText::Number(literal) => {
            Fate::Keep { ts_utc: literal.len() as i64, source: 1, clamped: true }
        }
        _ => Fate::Keep { ts_utc: 7, source: 0, clamped: false },
    }
}

fn fate_of(found: Option<(u16, Fate)>) -> Fate {
    match found {
        Some((1, Fate::Keep { ts_utc, clamped, .. })) => Fate::Keep { ts_utc, source: 2, clamped },
        Some((_, fate)) => fate,
        None => Fate::Keep { ts_utc: 9, source: 3, clamped: false },
    }
}

impl Read {
    pub fn schema(&self) -> Schema {
        let mut schema = Schema::default();
        for (path, kinds) in self.chunks.iter().flat_map(|chunk| &chunk.frame.seen) {
            schema.see(path, *kinds);
        }
        schema
    }

    pub fn offsets(&self) -> Vec<u64> {
        self.chunks.iter().flat_map(|chunk| chunk.frame.offsets.clone()).collect()
    }

    /// Counts, quarantine, rows' times and offsets, and groups.
    pub fn assert_same_account(&self, other: &Read) {
        assert_eq!(self.tally, other.tally);
        assert_eq!(self.quarantine, other.quarantine);
        assert_eq!(self.records, other.records);
        assert_eq!(self.offsets(), other.offsets());
        let of_frames = |read: &Read| {
            let mut groups = vec![Vec::new(); 2];
            let mut times = Vec::new();
            let mut overruled = BTreeMap::new();
            for chunk in &read.chunks {
                times.extend_from_slice(&chunk.frame.ts_utc);
                for (all, keys) in groups.iter_mut().zip(&chunk.frame.groups) {
                    for row in 0..chunk.frame.rows {
                        let text = keys.valid.get(row).then(|| keys.texts.get(row).to_string());
                        all.push(text);
                    }
                }
                for (path, count) in &chunk.duplicate_keys {
                    *overruled.entry(path.clone()).or_insert(0) += count;
                }
            }
            (times, groups, overruled)
        };
        assert_eq!(of_frames(self), of_frames(other));
    }

    /// Every value that a reader of the table would see, by column and row. What lies inside of JSON
    /// columns is none.
    pub fn rows(&self, types: &[ColumnSpec]) -> BTreeMap<String, Vec<Cell>> {
        let mut columns: BTreeMap<String, Vec<Cell>> = BTreeMap::new();
        let mut rows = 0;
        for frame in self.chunks.iter().map(|chunk| &chunk.frame) {
            for column in &frame.columns {
                if !types.iter().any(|spec| spec.path == column.path) {
                    continue;
                }
                let cells = columns.entry(column.path.pointer().to_string()).or_default();
                cells.resize(rows, Cell::Null);
                cells.extend((0..frame.rows).map(|row| Cell::of(column, row)));
            }
            rows += frame.rows;
        }
        for cells in columns.values_mut() {
            cells.resize(rows, Cell::Null);
        }
        columns.retain(|_, cells| cells.iter().any(|cell| *cell != Cell::Null));
        columns
    }
}

/// A value of a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    /// The bits, so that -0 is not 0.
    Float(u64),
    Text(String),
    List(Vec<Cell>),
}

impl Cell {
    pub fn of(column: &Column, row: usize) -> Cell {
        if !column.is_valid(row) {
            return Cell::Null;
        }
        match &column.values {
            Values::List { ends, items } => {
                let begin = if row == 0 { 0 } else { ends[row - 1] as usize };
                let item = |at| match items.valid.get(at) {
                    true => Cell::scalar(&items.values, at),
                    false => Cell::Null,
                };
                Cell::List((begin..ends[row] as usize).map(item).collect())
            }
            values => Cell::scalar(values, row),
        }
    }

    fn scalar(values: &Values, at: usize) -> Cell {
        match values {
            Values::Bool(bits) => Cell::Bool(bits.get(at)),
            Values::Int(values) => Cell::Int(values[at]),
            Values::Float(values) => Cell::Float(values[at].to_bits()),
            Values::Text(texts) => Cell::Text(texts.get(at).to_string()),
            Values::Null | Values::List { .. } => panic!("no scalar is there"),
        }
    }
}
