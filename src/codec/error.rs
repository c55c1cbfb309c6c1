//! What can be wrong with the bytes of an object, and where.
//!
//! Every error names the layer, the member and the byte offset. It never carries content.

use std::fmt;

use super::layer::MEMBERS_MAX;
use super::{Encoding, LAYERS_MAX};

/// A member (gzip), frame (zstd), record (zip), block or chunk (Snappy) of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// 1 is the object itself, 2 what came out of layer 1, and so on.
    pub layer: u8,
    pub encoding: Encoding,
    /// Counted from 1 within the layer.
    pub member: u64,
    /// Where the member begins, in bytes of the layer's encoded form.
    pub offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { layer, encoding, member, offset } = self;
        write!(f, "{encoding} member {member} at byte {offset}")?;
        if *layer > 1 { write!(f, " of layer {layer}") } else { Ok(()) }
    }
}

/// What contradicts a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    #[error("its header is not valid")]
    Header,
    #[error("the checksum of its header does not match")]
    HeaderChecksum,
    #[error("its compressed data is not valid")]
    Data,
    #[error("the checksum of its content does not match")]
    Checksum,
    #[error("the length of its content does not match")]
    Length,
    #[error("its directory does not list the entries before it")]
    Directory,
}

/// What a member asks for that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    #[error("the dictionary {id}, which is not part of the object")]
    Dictionary { id: u32 },
    #[error("a window of {bytes} bytes, and the limit is {limit_bytes}")]
    Window { bytes: u64, limit_bytes: u64 },
    #[error("room for a block of {bytes} bytes, and the limit is {limit_bytes}")]
    Block { bytes: u64, limit_bytes: u64 },
    #[error("a chunk of kind {kind:#04x} to be understood, which the format leaves undefined")]
    Chunk { kind: u8 },
    #[error("a password, and rawcat knows none: store the object unencrypted")]
    Password,
    #[error("the compression method {id} of ZIP; only stored and deflated entries are read")]
    Method { id: u16 },
}

/// Why an object could not be decoded to its end. What was given before the error stays valid
/// but for [`DecodeError::Contradicted`], which says how much of it is.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a member. Everything decoded up to the cut was given.
    #[error("the data is cut off inside {place}; get a complete copy of the object")]
    Truncated { place: Place },
    /// A member that is damaged. Only the first `good_bytes` bytes of the decoded content are
    /// verified: when more were given, decode again with `stop_after: Some(good_bytes)`.
    #[error("{place} is damaged: {cause}; get a sound copy of the object")]
    Contradicted { place: Place, cause: Contradiction, good_bytes: u64 },
    /// Something that is no member follows the last one. Whole content was given.
    #[error(
        "{bytes} bytes that are not {encoding} follow the last member, from byte {offset} of layer {layer}"
    )]
    TrailingGarbage { layer: u8, encoding: Encoding, offset: u64, bytes: u64 },
    /// As [`DecodeError::TrailingGarbage`], and every byte of it is zero.
    #[error(
        "{bytes} zero bytes follow the last {encoding} member, from byte {offset} of layer {layer}"
    )]
    Padding { layer: u8, encoding: Encoding, offset: u64, bytes: u64 },
    /// A layer decodes to more than `limit_bytes`.
    #[error(
        "layer {layer} decodes to more than {limit_bytes} bytes; raise --max-object-bytes if that is right"
    )]
    TooLarge { layer: u8, limit_bytes: u64 },
    /// No honest object has so many members.
    #[error("layer {layer} has more than {MEMBERS_MAX} members, and no more are decoded")]
    TooManyMembers { layer: u8 },
    /// Still compressed below the last layer that is opened.
    #[error(
        "the content is {encoding} below {LAYERS_MAX} layers of compression, and no more are opened"
    )]
    TooDeep { encoding: Encoding },
    #[error("{place} needs {what}")]
    Unsupported { place: Place, what: Unsupported },
    /// The stream that gives the object's bytes failed. Members that were not complete are dropped.
    #[error("reading the object failed after byte {offset}")]
    Read { offset: u64, source: std::io::Error },
}

impl DecodeError {
    /// True when what came before the error is whole: the bytes merely end, or something follows.
    pub(super) fn is_clean_end(&self) -> bool {
        matches!(
            self,
            DecodeError::Truncated { .. }
                | DecodeError::TrailingGarbage { .. }
                | DecodeError::Padding { .. }
        )
    }
}
