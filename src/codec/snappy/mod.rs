//! Snappy, in the forms that name no checksum: blocks in, content out.
//!
//! - snappy-java ("xerial"): a header of 16 bytes, then blocks behind their encoded lengths. The
//!   header may come again, where streams were put together. This is what Firehose calls Snappy.
//! - Hadoop: the length of the content, then chunks behind their encoded lengths until it is
//!   reached. No magic number.
//! - Raw: one block, and nothing else. No magic number.
//!
//! The official framing is `framed.rs`; how the forms without a magic number are told from
//! content is `probe.rs`. A block is decoded when all of it is there, and held whole: see
//! [`BLOCK_BYTES_MAX`]. What a length declares is compared with the bytes at hand before anything
//! is allocated for it.

mod block;
mod framed;
mod probe;

use snap::raw::Decoder;

use super::Encoding;
use super::error::{Contradiction, Unsupported};
use super::member::{Fault, Front, Moved, STEP_BYTES, Turn};
use block::{BLOCK_BYTES_MAX, Head, Walk, encoded_bytes_max};

pub(super) use framed::{FRAMED_MAGIC, Framed};
pub(super) use probe::{PROBE_BYTES, probe};

/// Source: `SnappyCodec.java` of xerial/snappy-java. Two big-endian i32 follow: the version, and
/// the oldest version that can read it.
pub(super) const JAVA_MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const JAVA_HEADER_BYTES: usize = 16;
const JAVA_COMPATIBLE: [u8; 4] = [0, 0, 0, 1];
/// A length, big-endian, of content or of what follows encoded.
const LENGTH_BYTES: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Java,
    Hadoop,
    Raw,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The header of the stream or of a block.
    Header,
    /// The length of a chunk; `left` is what its block lacks, in bytes of content.
    Chunk { left: usize },
    /// A raw block, of which the end is not known yet.
    Walk(Walk),
    /// A block of so many bytes.
    Body { encoded: usize, left: usize },
    /// What is held goes out; then `left` as in `Chunk`.
    Give { left: usize },
}

pub(super) struct Snappy {
    form: Form,
    state: State,
    /// A member was opened.
    begun: bool,
    decoder: Decoder,
    /// Content of a block for which the output had no room, and how much of it was given.
    held: Vec<u8>,
    given: usize,
}

/// The length at the front of `input`; none when it is not all there.
fn length(input: &[u8]) -> Option<usize> {
    Some(u32::from_be_bytes(*input.first_chunk::<LENGTH_BYTES>()?) as usize)
}

impl Snappy {
    pub fn new(form: Form) -> Snappy {
        Snappy {
            form,
            state: State::Header,
            begun: false,
            decoder: Decoder::new(),
            held: Vec::new(),
            given: 0,
        }
    }

    pub fn encoding(&self) -> Encoding {
        match self.form {
            Form::Java => Encoding::SnappyJava,
            Form::Hadoop => Encoding::SnappyHadoop,
            Form::Raw => Encoding::SnappyRaw,
        }
    }

    pub fn front(&self, bytes: &[u8]) -> Front {
        let front = |is_member| if is_member { Front::Member } else { Front::Other };
        match (self.form, length(bytes)) {
            _ if bytes.is_empty() => Front::Short,
            (Form::Raw, _) => front(!self.begun),
            (_, None) => Front::Short,
            (Form::Java, Some(_)) if bytes[..4] == JAVA_MAGIC[..4] => Front::Member,
            (Form::Java, Some(len)) => front(len > 0 && len <= encoded_bytes_max(BLOCK_BYTES_MAX)),
            (Form::Hadoop, Some(len)) => front(len <= BLOCK_BYTES_MAX),
        }
    }

    pub fn open(&mut self) {
        self.state = State::Header;
        self.begun = true;
    }

    /// A useful size of the output of the next step: the whole content of a block that is there.
    pub fn room(&self, input: &[u8], limit: usize) -> usize {
        match self.state {
            State::Body { encoded, .. } if input.len() >= encoded => match block::head(input) {
                Head::Whole { content, .. }
                    if content <= limit && block::can_hold(encoded, content) =>
                {
                    content
                }
                _ => 0,
            },
            State::Give { .. } => (self.held.len() - self.given).min(STEP_BYTES),
            _ => 0,
        }
    }

    pub fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Moved, Fault> {
        match self.state {
            State::Header => self.header(input),
            State::Chunk { left } => self.chunk(input, left),
            State::Walk(mut walk) => {
                let whole = walk.go_on(input)?;
                if whole {
                    self.state = State::Body { encoded: walk.at, left: walk.content };
                } else {
                    self.state = State::Walk(walk);
                }
                Ok(Moved::nothing(if whole { Turn::Again } else { Turn::Hungry }))
            }
            State::Body { encoded, left } => match input.get(..encoded) {
                Some(block) => self.body(block, left, out),
                None => Ok(Moved::nothing(Turn::Hungry)),
            },
            State::Give { left } => {
                let count = (self.held.len() - self.given).min(out.len());
                out[..count].copy_from_slice(&self.held[self.given..self.given + count]);
                self.given += count;
                let turn = match self.given == self.held.len() {
                    true => self.after(left),
                    false => Turn::Again,
                };
                Ok(Moved { consumed: 0, produced: count, turn })
            }
        }
    }

    fn header(&mut self, input: &[u8]) -> Result<Moved, Fault> {
        if self.form == Form::Raw {
            let (content, len) = match block::head(input) {
                Head::Whole { content, len } => (content, len),
                Head::Short => return Ok(Moved::nothing(Turn::Hungry)),
                Head::Bad => return Err(Contradiction::Header.into()),
            };
            check_size(content)?;
            self.state = State::Walk(Walk::new(content, len));
            return Ok(Moved::nothing(Turn::Again));
        }
        let Some(len) = length(input) else {
            return Ok(Moved::nothing(Turn::Hungry));
        };
        if self.form == Form::Hadoop {
            check_size(len)?;
            // An encoder that was closed with nothing at hand writes a block of no content.
            let turn = self.after(len);
            return Ok(Moved { consumed: LENGTH_BYTES, produced: 0, turn });
        }
        if input[..4] != JAVA_MAGIC[..4] {
            self.state = State::Body { encoded: len, left: 0 };
            return Ok(Moved { consumed: LENGTH_BYTES, produced: 0, turn: Turn::Again });
        }
        let Some(header) = input.first_chunk::<JAVA_HEADER_BYTES>() else {
            return Ok(Moved::nothing(Turn::Hungry));
        };
        if header[..8] != JAVA_MAGIC || header[12..] != JAVA_COMPATIBLE {
            return Err(Contradiction::Header.into());
        }
        Ok(Moved { consumed: JAVA_HEADER_BYTES, produced: 0, turn: Turn::Done })
    }

    fn chunk(&mut self, input: &[u8], left: usize) -> Result<Moved, Fault> {
        let Some(encoded) = length(input) else {
            return Ok(Moved::nothing(Turn::Hungry));
        };
        if encoded == 0 || encoded > encoded_bytes_max(left) {
            return Err(Contradiction::Header.into());
        }
        self.state = State::Body { encoded, left };
        Ok(Moved { consumed: LENGTH_BYTES, produced: 0, turn: Turn::Again })
    }

    fn body(&mut self, block: &[u8], left: usize, out: &mut [u8]) -> Result<Moved, Fault> {
        let Head::Whole { content, .. } = block::head(block) else {
            return Err(Contradiction::Data.into());
        };
        check_size(content)?;
        if !block::can_hold(block.len(), content) {
            return Err(Contradiction::Data.into());
        }
        let left = match self.form {
            Form::Hadoop => left.checked_sub(content).ok_or(Contradiction::Length)?,
            Form::Java | Form::Raw => 0,
        };
        let consumed = block.len();
        if let Some(out) = out.get_mut(..content) {
            block::decode(&mut self.decoder, block, out)?;
            return Ok(Moved { consumed, produced: content, turn: self.after(left) });
        }
        self.held.clear();
        self.held.resize(content, 0);
        self.given = 0;
        block::decode(&mut self.decoder, block, &mut self.held)?;
        self.state = State::Give { left };
        Ok(Moved { consumed, produced: 0, turn: Turn::Again })
    }

    /// What comes when the open member lacks `left` bytes of content.
    fn after(&mut self, left: usize) -> Turn {
        self.state = State::Chunk { left };
        if left == 0 { Turn::Done } else { Turn::Again }
    }

    /// What a block holds that `rest`, the end of the object, cuts off.
    pub fn at_cut(&self, rest: &[u8]) -> Result<Vec<u8>, Contradiction> {
        match self.state {
            State::Walk(_) => Ok(block::decode_front(rest)?.content),
            State::Body { .. } => held_by(rest),
            _ => Ok(Vec::new()),
        }
    }
}

/// What the front of a block holds that should be longer than `rest`.
fn held_by(rest: &[u8]) -> Result<Vec<u8>, Contradiction> {
    if block::head(rest) == Head::Short {
        return Ok(Vec::new());
    }
    let front = block::decode_front(rest)?;
    match front.end {
        // It is all there, so that its encoded length is wrong.
        Some(_) => Err(Contradiction::Length),
        None => Ok(front.content),
    }
}

fn check_size(content: usize) -> Result<(), Fault> {
    if content > BLOCK_BYTES_MAX {
        let (bytes, limit_bytes) = (content as u64, BLOCK_BYTES_MAX as u64);
        return Err(Fault::Unsupported(Unsupported::Block { bytes, limit_bytes }));
    }
    Ok(())
}
