//! One member of one encoding: what a codec is asked, and what it answers.
//!
//! A codec takes the bytes at hand and room for output, and says how far it came. It holds no
//! input and no output of its own, and knows nothing of layers and limits.

use super::Encoding;
use super::error::{Contradiction, Unsupported};
use super::gzip::Gzip;
use super::zstd::Zstd;

/// Decoded bytes of one step: small enough to stay in the cache between the step and its checksum.
pub(super) const STEP_BYTES: usize = 128 << 10;

/// Room for what `input` most likely decodes to, within one step. Room costs time: it is zeroed.
pub(super) fn step_room(input: &[u8]) -> usize {
    (input.len() * 16).clamp(1024, STEP_BYTES)
}

/// The codecs. Each decodes one member at a time, in steps.
pub(super) enum Codec {
    Gzip(Box<Gzip>),
    Zstd(Zstd),
}

/// What the next bytes of a layer are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Front {
    Member,
    /// They could begin a member if there were more of them.
    Short,
    Other,
}

/// Where a codec stands after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Again,
    /// It took what it could use and needs more input.
    Hungry,
    /// The member has ended and is verified.
    Done,
}

/// What one step did.
#[derive(Debug)]
pub(super) struct Moved {
    pub consumed: usize,
    pub produced: usize,
    pub turn: Turn,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Contradiction(Contradiction),
    Unsupported(Unsupported),
}

impl From<Contradiction> for Fault {
    fn from(cause: Contradiction) -> Fault {
        Fault::Contradiction(cause)
    }
}

impl Codec {
    /// None for plain bytes, which need no codec.
    pub fn new(encoding: Encoding) -> Option<Codec> {
        match encoding {
            Encoding::Plain => None,
            Encoding::Gzip => Some(Codec::Gzip(Box::new(Gzip::new()))),
            Encoding::Zstd => Some(Codec::Zstd(Zstd::new())),
        }
    }

    pub fn encoding(&self) -> Encoding {
        match self {
            Codec::Gzip(_) => Encoding::Gzip,
            Codec::Zstd(_) => Encoding::Zstd,
        }
    }

    pub fn front(&self, bytes: &[u8]) -> Front {
        match self {
            Codec::Gzip(_) => Gzip::front(bytes),
            Codec::Zstd(_) => Zstd::front(bytes),
        }
    }

    pub fn open(&mut self) {
        match self {
            Codec::Gzip(gzip) => gzip.open(),
            Codec::Zstd(zstd) => zstd.open(),
        }
    }

    /// A useful size of the output of the next step.
    pub fn room(&self, input: &[u8], limit: usize) -> usize {
        match self {
            Codec::Gzip(gzip) => gzip.room(input),
            Codec::Zstd(zstd) => zstd.room(input, limit),
        }
    }

    pub fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Moved, Fault> {
        match self {
            Codec::Gzip(gzip) => gzip.step(input, out).map_err(Fault::from),
            Codec::Zstd(zstd) => zstd.step(input, out),
        }
    }
}
