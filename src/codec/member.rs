//! One member of one encoding: what a codec is asked, and what it answers.
//!
//! A codec takes the bytes at hand and room for output, and says how far it came. It holds no
//! input and no output of its own, and knows nothing of layers and limits.

use super::Encoding;
use super::error::{Contradiction, Unsupported};
use super::gzip::Gzip;
use super::snappy::{Form, Framed, Snappy};
use super::zip::Zip;
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
    Zip(Box<Zip>),
    Snappy(Box<Snappy>),
    Framed(Box<Framed>),
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

impl Moved {
    pub fn nothing(turn: Turn) -> Moved {
        Moved { consumed: 0, produced: 0, turn }
    }
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
        let snappy = |form| Codec::Snappy(Box::new(Snappy::new(form)));
        Some(match encoding {
            Encoding::Plain => return None,
            Encoding::Gzip => Codec::Gzip(Box::new(Gzip::new())),
            Encoding::Zstd => Codec::Zstd(Zstd::new()),
            Encoding::Zip => Codec::Zip(Box::new(Zip::new())),
            Encoding::SnappyJava => snappy(Form::Java),
            Encoding::SnappyHadoop => snappy(Form::Hadoop),
            Encoding::SnappyRaw => snappy(Form::Raw),
            Encoding::SnappyFramed => Codec::Framed(Box::new(Framed::new())),
        })
    }

    pub fn encoding(&self) -> Encoding {
        match self {
            Codec::Gzip(_) => Encoding::Gzip,
            Codec::Zstd(_) => Encoding::Zstd,
            Codec::Zip(_) => Encoding::Zip,
            Codec::Snappy(snappy) => snappy.encoding(),
            Codec::Framed(_) => Encoding::SnappyFramed,
        }
    }

    pub fn front(&self, bytes: &[u8]) -> Front {
        match self {
            Codec::Gzip(_) => Gzip::front(bytes),
            Codec::Zstd(_) => Zstd::front(bytes),
            Codec::Zip(_) => Zip::front(bytes),
            Codec::Snappy(snappy) => snappy.front(bytes),
            Codec::Framed(_) => Framed::front(bytes),
        }
    }

    pub fn open(&mut self) {
        match self {
            Codec::Gzip(gzip) => gzip.open(),
            Codec::Zstd(zstd) => zstd.open(),
            Codec::Zip(zip) => zip.open(),
            Codec::Snappy(snappy) => snappy.open(),
            Codec::Framed(framed) => framed.open(),
        }
    }

    /// Whether the layer may end behind a member: only ZIP says at its end that it is the end.
    pub fn may_end(&self) -> bool {
        match self {
            Codec::Zip(zip) => zip.may_end(),
            _ => true,
        }
    }

    /// A useful size of the output of the next step.
    pub fn room(&self, input: &[u8], limit: usize) -> usize {
        match self {
            Codec::Gzip(gzip) => gzip.room(input),
            Codec::Zstd(zstd) => zstd.room(input, limit),
            Codec::Zip(zip) => zip.room(input),
            Codec::Snappy(snappy) => snappy.room(input, limit),
            Codec::Framed(framed) => framed.room(),
        }
    }

    pub fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Moved, Fault> {
        match self {
            Codec::Gzip(gzip) => gzip.step(input, out).map_err(Fault::from),
            Codec::Zstd(zstd) => zstd.step(input, out),
            Codec::Zip(zip) => zip.step(input, out),
            Codec::Snappy(snappy) => snappy.step(input, out),
            Codec::Framed(framed) => framed.step(input, out),
        }
    }

    /// The source has ended inside the open member, and `rest` is what no step took. Gives what can
    /// still be had of it, or what tells that the member is damaged and not cut off.
    pub fn at_cut(&self, rest: &[u8]) -> Result<Vec<u8>, Contradiction> {
        let contradiction = match self {
            Codec::Gzip(gzip) => gzip.contradiction_at_cut(rest),
            Codec::Zip(zip) => zip.contradiction_at_cut(rest),
            Codec::Zstd(_) => None,
            Codec::Snappy(snappy) => return snappy.at_cut(rest),
            Codec::Framed(framed) => return framed.at_cut(rest),
        };
        contradiction.map_or(Ok(Vec::new()), Err)
    }
}
