//! A text → the records in it, of which nothing is taken.

use super::{Fate, Options, Projection, Reader, Reason};
use crate::schema::Pins;

/// What tells records apart, with the same care as a reader of columns.
pub struct Apart(Reader);

impl Apart {
    pub fn new(max_record_bytes: usize) -> Self {
        Apart(Apart::reader(max_record_bytes))
    }

    /// A reader that takes every column of nothing.
    pub fn reader(max_record_bytes: usize) -> Reader {
        Reader::new(Options {
            projection: Projection::Named(Vec::new()),
            pins: Pins::new(),
            time_fields: Vec::new(),
            by: Vec::new(),
            identity: None,
            max_record_bytes,
        })
    }

    /// Gives each record of a whole text to `take`, with its offset.
    ///
    /// # Errors
    /// The first reason why the text is not good records alone; some may have been given before.
    pub fn all(&mut self, text: &[u8], take: &mut impl FnMut(u64, &[u8])) -> Result<(), Reason> {
        let Apart(reader) = self;
        reader.begin_object();
        let mut start = 0;
        loop {
            let chunk = reader.read(&text[start..], true, &mut |record| {
                take(record.offset, record.source);
                Fate::Keep { ts_utc: 0, source: 0, clamped: false }
            });
            start += chunk.consumed;
            if let Some(bad) = chunk.quarantine.first() {
                return Err(bad.reason);
            }
            if !chunk.full {
                return Ok(());
            }
        }
    }

    /// True for the text of one object and nothing else but space around it.
    pub fn is_one_object(&mut self, text: &[u8]) -> bool {
        let text = text.trim_ascii();
        let (mut records, mut is_all) = (0, false);
        let good = text.first() == Some(&b'{')
            && self.all(text, &mut |_, record| {
                records += 1;
                is_all = record.len() == text.len();
            }) == Ok(());
        good && records == 1 && is_all
    }
}
