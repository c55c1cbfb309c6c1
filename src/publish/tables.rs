//! Small tables: a data frame goes in, the same Parquet bytes come out every time, and back.
//!
//! For aggregates and the quarantine, which fit in memory; `records` has its own writer.

use std::fs::File;
use std::path::Path;

use polars::prelude::{
    Column, DataFrame, ParquetCompression, ParquetReader, ParquetWriter, SerReader,
    StatisticsOptions,
};

use super::error::PublishError;

const ROWS_PER_ROW_GROUP: usize = 131_072;

/// Writes `table` to `path` and returns its rows. Nothing is synced to disk here.
pub fn write_table(path: &Path, table: &DataFrame) -> Result<u64, PublishError> {
    let mut bytes = Vec::new();
    // How the frame is cut into chunks is an accident of its making and must not show.
    let mut table = table.clone();
    table.rechunk_mut();
    ParquetWriter::new(&mut bytes)
        .with_compression(ParquetCompression::Zstd(None))
        .with_statistics(StatisticsOptions::default())
        .with_row_group_size(Some(ROWS_PER_ROW_GROUP))
        .set_parallel(false)
        .finish(&mut table)
        .map_err(|problem| PublishError::WriteTable {
            path: path.to_path_buf(),
            message: problem.to_string(),
        })?;
    // Tables are small; so written, a full disk is told as for every other file.
    std::fs::write(path, bytes).map_err(PublishError::file("write", path))?;
    Ok(table.height() as u64)
}

/// Reads a table that was published.
pub fn read_table(path: &Path) -> Result<DataFrame, PublishError> {
    let file = File::open(path).map_err(PublishError::file("open", path))?;
    ParquetReader::new(file).finish().map_err(|problem| PublishError::ReadTable {
        path: path.to_path_buf(),
        message: problem.to_string(),
    })
}

/// Bytes of a quarantined stretch that are kept.
pub const QUARANTINE_BYTES: usize = 64 * 1024;

/// A stretch of an object that could not be read as a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QuarantineRow<'a> {
    pub key: &'a str,
    pub etag: Option<&'a str>,
    /// Where it begins in the decoded object.
    pub offset: u64,
    /// How long it is, kept or not.
    pub bytes_len: u64,
    pub reason: &'a str,
    /// Its bytes, or the front of them.
    pub bytes: &'a [u8],
}

/// The quarantine of a day as a table, sorted by key and offset: `key`, `etag`, `offset`,
/// `bytes_len`, `reason`, `bytes` (at most [`QUARANTINE_BYTES`]) and `cut`, true where the bytes
/// are only the front.
pub fn quarantine_table(mut rows: Vec<QuarantineRow<'_>>) -> DataFrame {
    rows.sort_by_key(|row| (row.key, row.offset));
    let height = rows.len();
    let kept = |row: &QuarantineRow<'_>| row.bytes.len().min(QUARANTINE_BYTES);
    let texts = |name: &str, text: for<'a> fn(&QuarantineRow<'a>) -> Option<&'a str>| {
        Column::new(name.into(), rows.iter().map(text).collect::<Vec<_>>())
    };
    let numbers = |name: &str, number: fn(&QuarantineRow<'_>) -> u64| {
        Column::new(name.into(), rows.iter().map(|row| number(row) as i64).collect::<Vec<_>>())
    };
    let bytes: Vec<&[u8]> = rows.iter().map(|row| &row.bytes[..kept(row)]).collect();
    let cut: Vec<bool> = rows.iter().map(|row| (kept(row) as u64) < row.bytes_len).collect();
    let columns = vec![
        texts("key", |row| Some(row.key)),
        texts("etag", |row| row.etag),
        numbers("offset", |row| row.offset),
        numbers("bytes_len", |row| row.bytes_len),
        texts("reason", |row| Some(row.reason)),
        Column::new("bytes".into(), bytes),
        Column::new("cut".into(), cut),
    ];
    DataFrame::new(height, columns).expect("the columns have the rows' number and own names")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'a>(key: &'a str, offset: u64, bytes: &'a [u8], bytes_len: u64) -> QuarantineRow<'a> {
        let etag = (offset > 0).then_some("e");
        QuarantineRow { key, etag, offset, bytes_len, reason: "bad utf-8", bytes }
    }

    #[test]
    fn the_quarantine_is_sorted_and_long_bytes_are_cut() {
        let long = vec![0xFF; QUARANTINE_BYTES + 1];
        let rows =
            vec![row("b", 0, b"x", 1), row("a", 9, &long, long.len() as u64), row("a", 2, b"", 5)];
        let table = quarantine_table(rows);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("part.parquet");
        assert_eq!(write_table(&path, &table).expect("written"), 3);
        let read = read_table(&path).expect("readable");
        assert!(read.equals_missing(&table));
        let offsets = read.column("offset").expect("there").i64().expect("integers").clone();
        assert_eq!(offsets.into_no_null_iter().collect::<Vec<_>>(), [2, 9, 0]);
        let cut = read.column("cut").expect("there").bool().expect("flags").clone();
        assert_eq!(cut.iter().collect::<Vec<_>>(), [Some(true), Some(true), Some(false)]);
        let bytes = read.column("bytes").expect("there").binary().expect("bytes").clone();
        assert_eq!(bytes.get(1).map(<[u8]>::len), Some(QUARANTINE_BYTES));
    }

    #[test]
    fn a_table_gives_the_same_bytes_however_it_is_chunked() {
        let folder = tempfile::tempdir().expect("a folder");
        let rows: Vec<_> = (0..50).map(|at| row("k", at, b"abc", 3)).collect();
        let whole = quarantine_table(rows.clone());
        let mut parts = quarantine_table(rows[..20].to_vec());
        parts.vstack_mut(&quarantine_table(rows[20..].to_vec())).expect("same columns");
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        write_table(&a, &whole).expect("written");
        write_table(&b, &parts).expect("written");
        assert_eq!(std::fs::read(a).expect("readable"), std::fs::read(b).expect("readable"));
    }

    #[test]
    fn an_empty_quarantine_is_a_table_without_rows() {
        assert_eq!(quarantine_table(Vec::new()).shape(), (0, 7));
    }
}
