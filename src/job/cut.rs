//! Where row groups end: rows in the order of the day go in, the rows that begin a new row group
//! come out.
//!
//! Decided row by row from what records say, and never from frames: neither the number of
//! threads nor how an object was cut into blocks can show in the file. A row group is held
//! whole until it is encoded, so every limit here bounds memory.

/// Rows of a row group at most.
const ROWS: usize = 131_072;

/// Bytes of its records in their objects at most, unless a single one has more.
const SOURCE_BYTES: u64 = 64 << 20;

/// Rows × paths known so far at most: columns are dense in memory, and records that have few keys
/// of many in common hold more nulls than bytes.
const CELLS: usize = 16 << 20;

/// The row group in hand, as far as its end depends on it.
#[derive(Default)]
pub(super) struct Cutter {
    rows: usize,
    bytes: u64,
    /// Paths that appeared in the day so far.
    paths: usize,
}

impl Cutter {
    /// The rows before which a new row group begins, among the next rows of the day: records of
    /// `lens` source bytes. `new_paths` are the rows in which a path appears for the first time
    /// in the day, rising.
    pub fn cuts(&mut self, lens: &[u32], new_paths: &[u32]) -> Vec<usize> {
        // Most frames end in the row group in which they begin, and every limit grows row by row.
        let (rows, paths) = (self.rows + lens.len(), self.paths + new_paths.len());
        let bytes = self.bytes + lens.iter().map(|len| u64::from(*len)).sum::<u64>();
        if rows <= ROWS && bytes <= SOURCE_BYTES && rows.saturating_mul(paths) <= CELLS {
            (self.rows, self.bytes, self.paths) = (rows, bytes, paths);
            return Vec::new();
        }
        let mut cuts = Vec::new();
        let mut new_paths = new_paths.iter().peekable();
        for (row, &len) in lens.iter().enumerate() {
            while new_paths.next_if(|first| **first as usize <= row).is_some() {
                self.paths += 1;
            }
            let bytes = self.bytes + u64::from(len);
            let is_full = self.rows == ROWS
                || bytes > SOURCE_BYTES
                || (self.rows + 1).saturating_mul(self.paths) > CELLS;
            if is_full && self.rows > 0 {
                cuts.push(row);
                (self.rows, self.bytes) = (1, u64::from(len));
            } else {
                (self.rows, self.bytes) = (self.rows + 1, bytes);
            }
        }
        cuts
    }

    /// The row group in hand ends here.
    pub fn end(&mut self) {
        (self.rows, self.bytes) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first rows of all row groups but the first, with the rows given in parts of `step`.
    fn cuts(lens: &[u32], new_paths: &[u32], step: usize) -> Vec<usize> {
        let mut cutter = Cutter::default();
        let mut all = Vec::new();
        for (part, lens) in lens.chunks(step).enumerate() {
            let begin = part * step;
            let here = begin as u32..(begin + lens.len()) as u32;
            let paths: Vec<u32> = new_paths
                .iter()
                .filter(|row| here.contains(row))
                .map(|row| row - here.start)
                .collect();
            all.extend(cutter.cuts(lens, &paths).into_iter().map(|row| begin + row));
        }
        all
    }

    #[test]
    fn short_records_of_few_keys_fill_row_groups_with_the_same_number_of_rows() {
        assert_eq!(cuts(&vec![230; 300_000], &[0; 14], 300_000), [ROWS, 2 * ROWS]);
    }

    #[test]
    fn a_row_group_of_long_records_ends_by_their_bytes() {
        assert_eq!(cuts(&vec![1 << 20; 200], &[0; 60], 200), [64, 128, 192]);
        // One that is too long for any row group has one of its own.
        assert_eq!(cuts(&[10, 80 << 20, 10, 10], &[0], 4), [1, 2]);
    }

    #[test]
    fn a_row_group_of_many_columns_ends_by_its_cells() {
        assert_eq!(cuts(&vec![40; 10_000], &[0; 4_096], 10_000), [4_096, 8_192]);
        // Columns count from the row in which they appear.
        let mut late = vec![0; 4_096];
        late.extend([5_000; 4_096]);
        assert_eq!(cuts(&vec![40; 10_000], &late, 10_000), [4_096, 6_144, 8_192]);
    }

    #[test]
    fn how_rows_come_in_parts_does_not_show() {
        let lens: Vec<u32> = (0..40_000u32).map(|row| 100 + row * 7919 % 30_000).collect();
        let new_paths: Vec<u32> = (0..3_000).map(|path| path * 9).collect();
        let whole = cuts(&lens, &new_paths, lens.len());
        assert!(whole.len() > 5);
        for step in [1, 7, 997, 4_096, 39_999] {
            assert_eq!(cuts(&lens, &new_paths, step), whole, "{step}");
        }
    }
}
