//! Bytes of an object in, decoded bytes out, in blocks.
//!
//! What an object is, its first bytes say: gzip, zstd, ZIP, a form of Snappy, or else plain. Names
//! and content types are never asked. Members follow one another, layers nest ([`LAYERS_MAX`]), and everything that is
//! held is bounded by [`DecodeLimits`], never by what a header declares. It never gives a byte that
//! a checksum contradicts without saying so (see [`DecodeError::Contradicted`]), and it never
//! panics over what it reads.

mod error;
mod gzip;
#[cfg(test)]
mod laws;
mod layer;
mod member;
mod snappy;
mod source;
mod zip;
mod zstd;

use std::fmt;
use std::io::Read;

pub use error::{Contradiction, DecodeError, Place, Unsupported};
use layer::Layer;
use member::{Codec, Front};
use snappy::{Form, PROBE_BYTES};
use source::Source;

/// Layers of compression that are opened, one inside the other.
pub const LAYERS_MAX: usize = 3;

/// The bytes of one object.
pub enum Input {
    Whole(Vec<u8>),
    /// Read to its end, unless an error or `stop_after` ends the decoding before.
    Stream(Box<dyn Read + Send>),
}

/// How bytes are encoded, by their magic number, or by what they decode to where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Plain,
    Gzip,
    Zstd,
    Zip,
    /// The stream of snappy-java, "xerial".
    SnappyJava,
    SnappyHadoop,
    /// The official framing.
    SnappyFramed,
    /// One block.
    SnappyRaw,
}

impl Encoding {
    /// The encoding of what begins with `bytes`: its first 512 bytes, or all of it. Sources:
    /// RFC 1952, RFC 8878, and those named in the files of the codecs.
    pub fn of(bytes: &[u8]) -> Encoding {
        let bytes = &bytes[..bytes.len().min(PROBE_BYTES)];
        if gzip::Gzip::front(bytes) == Front::Member {
            Encoding::Gzip
        } else if zstd::Zstd::front(bytes) == Front::Member {
            Encoding::Zstd
        } else if zip::Zip::begins(bytes) {
            Encoding::Zip
        } else if bytes.starts_with(&snappy::JAVA_MAGIC) {
            Encoding::SnappyJava
        } else if bytes.starts_with(&snappy::FRAMED_MAGIC) {
            Encoding::SnappyFramed
        } else {
            match snappy::probe(bytes) {
                Some(Form::Hadoop) => Encoding::SnappyHadoop,
                Some(_) => Encoding::SnappyRaw,
                None => Encoding::Plain,
            }
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Encoding::Plain => "plain",
            Encoding::Gzip => "gzip",
            Encoding::Zstd => "zstd",
            Encoding::Zip => "zip",
            Encoding::SnappyJava => "snappy-java",
            Encoding::SnappyHadoop => "hadoop-snappy",
            Encoding::SnappyFramed => "framed snappy",
            Encoding::SnappyRaw => "raw snappy",
        })
    }
}

/// The name of a format that is known and not read: what begins with `bytes` is neither JSON nor
/// anything that is decoded here.
pub fn unread_format(bytes: &[u8]) -> Option<&'static str> {
    const FORMATS: [(&[u8], &str); 2] = [(b"ORC", "an ORC file"), (b"BZh", "a bzip2 file")];
    FORMATS.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, name)| *name)
}

/// What bounds the decoding of one object. All in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// A layer that decodes to more is an error. There is no limit on the ratio.
    pub object_bytes: u64,
    /// A member of up to so many decoded bytes is given only when it is verified; a larger one is
    /// given in blocks while it is decoded.
    pub whole_bytes: usize,
    /// A block ends with the first member that reaches this, or inside one beyond `whole_bytes`.
    pub block_bytes: usize,
    /// Ends the content after so many bytes, as if it had ended there.
    pub stop_after: Option<u64>,
}

impl Default for DecodeLimits {
    fn default() -> DecodeLimits {
        DecodeLimits {
            object_bytes: 4 << 30,
            whole_bytes: 64 << 20,
            // A block stays in the processor's nearer caches from its reading to its columns.
            block_bytes: 1 << 20,
            stop_after: None,
        }
    }
}

/// What a call of [`Decoder::next_block`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// At least one byte was appended.
    More,
    /// Nothing was appended, and nothing will be.
    End,
}

enum Stage {
    Unopened(Input),
    Plain(Source),
    Packed(Box<Layer>),
    Ended,
}

/// Decodes one object.
///
/// Calls of [`Decoder::next_block`] return `More` any number of times, then at most one error,
/// then `End` for ever. An error appends nothing.
pub struct Decoder {
    limits: DecodeLimits,
    stage: Stage,
    encodings: Vec<Encoding>,
    decoded_bytes: u64,
    error: Option<DecodeError>,
}

impl Decoder {
    pub fn new(input: Input, limits: DecodeLimits) -> Decoder {
        let limits = DecodeLimits { block_bytes: limits.block_bytes.max(1), ..limits };
        let stage = Stage::Unopened(input);
        Decoder { limits, stage, encodings: Vec::new(), decoded_bytes: 0, error: None }
    }

    /// The encoding of the object itself, known after the first call of `next_block`.
    pub fn encoding(&self) -> Encoding {
        self.encodings.first().copied().unwrap_or(Encoding::Plain)
    }

    /// The encodings of all layers, the outermost first; empty for plain objects.
    pub fn encodings(&self) -> &[Encoding] {
        &self.encodings
    }

    /// Bytes of content given so far.
    pub fn decoded_bytes(&self) -> u64 {
        self.decoded_bytes
    }

    /// Appends the next block of content to `buf`.
    ///
    /// A plain body in memory is moved into an empty `buf`, in one piece whatever its size.
    /// A block is at most `block_bytes + whole_bytes` and a little.
    ///
    /// # Errors
    /// At most once, and after everything good was given. On `Contradicted`, content beyond its
    /// `good_bytes` must not be used; on `TooLarge` and `Read`, the object as a whole should not.
    pub fn next_block(&mut self, buf: &mut Vec<u8>) -> Result<Step, DecodeError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let left = self.limits.stop_after.map(|stop| stop - self.decoded_bytes);
        if left == Some(0) {
            self.stage = Stage::Ended;
        }
        let start = buf.len();
        let mut result = self.advance(buf);
        if let Some(left) = left
            && (buf.len() - start) as u64 >= left
        {
            buf.truncate(start + left as usize);
            self.stage = Stage::Ended;
            result = Ok(Step::More);
        }
        let produced = buf.len() - start;
        self.decoded_bytes += produced as u64;
        match result {
            Err(error) => {
                self.stage = Stage::Ended;
                if produced == 0 {
                    return Err(error);
                }
                self.error = Some(error);
                Ok(Step::More)
            }
            Ok(_) if produced == 0 => {
                self.stage = Stage::Ended;
                Ok(Step::End)
            }
            Ok(_) => Ok(Step::More),
        }
    }

    fn advance(&mut self, buf: &mut Vec<u8>) -> Result<Step, DecodeError> {
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Unopened(input) => self.open(input, buf),
            Stage::Plain(mut source) => {
                let step = self.plain(&mut source, buf);
                self.stage = Stage::Plain(source);
                step
            }
            Stage::Packed(mut layer) => {
                let step = layer.next_block(buf);
                self.stage = Stage::Packed(layer);
                step
            }
            Stage::Ended => Ok(Step::End),
        }
    }

    /// Finds the layers, from the outside in, and gives the first block of the innermost.
    fn open(&mut self, input: Input, buf: &mut Vec<u8>) -> Result<Step, DecodeError> {
        let mut source = Source::new(input);
        source.fill(PROBE_BYTES);
        let Some(mut codec) = Codec::new(Encoding::of(source.available())) else {
            let step = self.plain(&mut source, buf);
            self.stage = Stage::Plain(source);
            return step;
        };
        source.gather();
        loop {
            self.encodings.push(codec.encoding());
            let number = self.encodings.len() as u8;
            let mut layer = Box::new(Layer::new(codec, number, source, self.limits));
            let start = buf.len();
            let mut result = layer.next_block(buf);
            while matches!(result, Ok(Step::More)) && buf.len() - start < PROBE_BYTES {
                result = layer.next_block(buf);
            }
            let Some(inner) = Codec::new(Encoding::of(&buf[start..])) else {
                self.stage = Stage::Packed(layer);
                return result;
            };
            if self.encodings.len() == LAYERS_MAX {
                buf.truncate(start);
                return Err(DecodeError::TooDeep { encoding: inner.encoding() });
            }
            source = Source::of_layer(buf.split_off(start), layer, result.err());
            source.gather();
            codec = inner;
        }
    }

    fn plain(&self, source: &mut Source, buf: &mut Vec<u8>) -> Result<Step, DecodeError> {
        let limit_bytes = self.limits.object_bytes;
        let left = limit_bytes - self.decoded_bytes;
        let start = buf.len();
        let result = match source.take_whole() {
            Some(whole) if buf.is_empty() && !whole.is_empty() => {
                *buf = whole;
                Ok(())
            }
            Some(whole) => {
                buf.extend_from_slice(&whole);
                Ok(())
            }
            None => source.read_into(buf, self.limits.block_bytes),
        };
        if (buf.len() - start) as u64 > left {
            buf.truncate(start + left as usize);
            return Err(DecodeError::TooLarge { layer: 1, limit_bytes });
        }
        result.map(|()| Step::More)
    }
}
