//! One object's bytes → its JSON text, in blocks: what the object decodes to, or, where that is a
//! Parquet file, its rows as lines.

use crate::codec::{DecodeError, DecodeLimits, Decoder, Input, Step};
use crate::parquet::{self, ParquetError, ParquetRows};

/// Why the text of an object ends before its end.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Parquet(#[from] ParquetError),
}

enum Stage {
    /// Nothing was read yet.
    Begin,
    Decoded,
    Rows(Box<ParquetRows>),
    /// The file is no sound one, or its rows were given.
    NoRows,
}

/// The text of one object. Calls of [`Text::next_block`] follow the rules of [`Decoder`].
pub struct Text {
    decoder: Decoder,
    limit_bytes: u64,
    stage: Stage,
    /// Bytes of rows given so far.
    row_bytes: u64,
    /// How the decoding ended while the first bytes were gathered.
    error: Option<DecodeError>,
}

impl Text {
    pub fn new(input: Input, limits: DecodeLimits) -> Text {
        let decoder = Decoder::new(input, limits);
        let limit_bytes = limits.object_bytes;
        Text { decoder, limit_bytes, stage: Stage::Begin, row_bytes: 0, error: None }
    }

    /// Whether the object's own bytes are its text.
    pub fn is_plain(&self) -> bool {
        self.decoder.encodings().is_empty() && matches!(self.stage, Stage::Decoded)
    }

    /// Bytes of text given so far.
    pub fn bytes(&self) -> u64 {
        match self.stage {
            Stage::Begin | Stage::Decoded => self.decoder.decoded_bytes(),
            Stage::Rows(_) | Stage::NoRows => self.row_bytes,
        }
    }

    /// Appends the next block to `buf`, which is empty at the first call.
    pub fn next_block(&mut self, buf: &mut Vec<u8>) -> Result<Step, TextError> {
        match &self.stage {
            Stage::Begin => self.begin(buf),
            Stage::Decoded => self.decoded(buf),
            Stage::Rows(_) => self.rows(buf),
            Stage::NoRows => Ok(Step::End),
        }
    }

    fn decoded(&mut self, buf: &mut Vec<u8>) -> Result<Step, TextError> {
        match self.error.take() {
            Some(error) => Err(error.into()),
            None => Ok(self.decoder.next_block(buf)?),
        }
    }

    fn begin(&mut self, buf: &mut Vec<u8>) -> Result<Step, TextError> {
        // A block is nearly always longer than a magic number; the next ones decide where it isn't.
        while buf.len() < parquet::MAGIC.len() && parquet::MAGIC.starts_with(buf) {
            match self.decoder.next_block(buf) {
                Ok(Step::More) => {}
                Ok(Step::End) => break,
                Err(error) => {
                    self.error = Some(error);
                    break;
                }
            }
        }
        if !buf.starts_with(&parquet::MAGIC) {
            self.stage = Stage::Decoded;
            return if buf.is_empty() { self.decoded(buf) } else { Ok(Step::More) };
        }
        self.stage = Stage::NoRows;
        let mut file = std::mem::take(buf);
        while self.decoder.next_block(&mut file)? == Step::More {
            if file.len() > parquet::LIMITS.file_bytes {
                break;
            }
        }
        self.stage = Stage::Rows(Box::new(ParquetRows::open(file)?));
        self.rows(buf)
    }

    fn rows(&mut self, buf: &mut Vec<u8>) -> Result<Step, TextError> {
        let Stage::Rows(rows) = &mut self.stage else {
            return Ok(Step::End);
        };
        let before = buf.len();
        let step = match rows.next_block(buf) {
            Ok(true) => Step::More,
            Ok(false) => Step::End,
            Err(error) => {
                self.stage = Stage::NoRows;
                return Err(error.into());
            }
        };
        let bytes = (buf.len() - before) as u64;
        if self.row_bytes + bytes > self.limit_bytes {
            buf.truncate(before);
            self.stage = Stage::NoRows;
            let (layer, limit_bytes) = (self.decoder.encodings().len() as u8 + 1, self.limit_bytes);
            return Err(DecodeError::TooLarge { layer, limit_bytes }.into());
        }
        self.row_bytes += bytes;
        Ok(step)
    }
}
