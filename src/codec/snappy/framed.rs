//! Snappy in its official framing: chunks in, content out, verified by each chunk's CRC-32C.
//!
//! Source: `framing_format.txt` of google/snappy. The crate `snap` reads one chunk at a time, so
//! that a chunk that is damaged is known by its place. Kinds 0x80 to 0xfd, which nothing writes and the
//! format lets pass, are an error: one flipped bit makes such a chunk of a compressed one, and its
//! records would be lost in silence.

use std::io::{Cursor, Read};

use snap::read::FrameDecoder;

use super::super::error::{Contradiction, Unsupported};
use super::super::member::{Fault, Front, Moved, Turn};
use super::block::{self, Head};

pub(in super::super) const FRAMED_MAGIC: [u8; 10] = *b"\xff\x06\0\0sNaPpY";
/// A kind, and a length of three bytes.
const CHUNK_HEADER_BYTES: usize = 4;
const CHECKSUM_BYTES: usize = 4;
const COMPRESSED: u8 = 0;
const UNCOMPRESSED: u8 = 1;
const PADDING: u8 = 0xfe;
/// Content of one chunk, by the format.
const CONTENT_BYTES_MAX: usize = 1 << 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    /// A chunk of so many bytes, with its header.
    Chunk(usize),
    /// What a chunk declares as the length of its content, and no chunk exceeds.
    Give(usize),
    /// What is left of a chunk that carries nothing, in bytes.
    Skip(usize),
}

pub(in super::super) struct Framed {
    state: State,
    chunks: FrameDecoder<Cursor<Vec<u8>>>,
}

impl Framed {
    pub fn new() -> Framed {
        let chunks = FrameDecoder::new(Cursor::new(Vec::new()));
        Framed { state: State::Header, chunks }
    }

    /// Kinds 0x02 to 0x7f are reserved and may not be skipped; no chunk with content is empty.
    pub fn front(bytes: &[u8]) -> Front {
        match bytes {
            [2..=0x7f, ..] | [COMPRESSED | UNCOMPRESSED, 0, 0, 0, ..] => Front::Other,
            [_, _, _, _, ..] => Front::Member,
            _ => Front::Short,
        }
    }

    pub fn open(&mut self) {
        self.state = State::Header;
    }

    pub fn room(&self) -> usize {
        match self.state {
            // One byte more than the content: where the output is not filled, the chunk has ended.
            State::Give(content) => content + 1,
            _ => 0,
        }
    }

    pub fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Moved, Fault> {
        match self.state {
            State::Header => {
                let Some(&[kind, low, middle, high]) = input.first_chunk::<CHUNK_HEADER_BYTES>()
                else {
                    return Ok(Moved::nothing(Turn::Hungry));
                };
                let len = u32::from_le_bytes([low, middle, high, 0]) as usize;
                let most = CHECKSUM_BYTES + super::encoded_bytes_max(CONTENT_BYTES_MAX);
                if kind == PADDING {
                    self.state = State::Skip(CHUNK_HEADER_BYTES + len);
                } else if kind > UNCOMPRESSED && kind < PADDING {
                    return Err(Fault::Unsupported(Unsupported::Chunk { kind }));
                } else if len <= most {
                    self.state = State::Chunk(CHUNK_HEADER_BYTES + len);
                } else {
                    return Err(Contradiction::Header.into());
                }
                Ok(Moved::nothing(Turn::Again))
            }
            State::Skip(left) => {
                let consumed = left.min(input.len());
                self.state = State::Skip(left - consumed);
                let turn = if consumed == left { Turn::Done } else { Turn::Hungry };
                Ok(Moved { consumed, produced: 0, turn })
            }
            State::Chunk(len) => {
                let Some(chunk) = input.get(..len) else {
                    return Ok(Moved::nothing(Turn::Hungry));
                };
                let feed = self.chunks.get_mut();
                feed.set_position(0);
                feed.get_mut().clear();
                feed.get_mut().extend_from_slice(chunk);
                self.state = State::Give(declared(chunk));
                Ok(Moved { consumed: len, produced: 0, turn: Turn::Again })
            }
            State::Give(_) => {
                let produced = self.chunks.read(out).map_err(|error| fault(&error))?;
                let turn = if produced < out.len() { Turn::Done } else { Turn::Again };
                Ok(Moved { consumed: 0, produced, turn })
            }
        }
    }

    /// What a compressed chunk holds that `rest`, the end of the object, cuts off. In one that is not
    /// compressed, nothing would tell content from the chunks behind it if its length were wrong.
    pub fn at_cut(&self, rest: &[u8]) -> Result<Vec<u8>, Contradiction> {
        match (self.state, rest.get(CHUNK_HEADER_BYTES + CHECKSUM_BYTES..)) {
            (State::Chunk(_), Some(block)) if rest[0] == COMPRESSED => super::held_by(block),
            _ => Ok(Vec::new()),
        }
    }
}

/// The length of a chunk's content, as far as it can be right.
fn declared(chunk: &[u8]) -> usize {
    let behind = chunk.get(CHUNK_HEADER_BYTES + CHECKSUM_BYTES..).unwrap_or_default();
    let content = match (chunk[0], block::head(behind)) {
        (COMPRESSED, Head::Whole { content, .. }) => content,
        (UNCOMPRESSED, _) => behind.len(),
        _ => 0,
    };
    content.min(CONTENT_BYTES_MAX)
}

fn fault(error: &std::io::Error) -> Contradiction {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<snap::Error>()) {
        Some(snap::Error::Checksum { .. }) => Contradiction::Checksum,
        _ => Contradiction::Data,
    }
}
