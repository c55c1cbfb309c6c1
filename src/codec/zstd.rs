//! zstd (RFC 8878): frames in, content out, verified by the frame's checksum where it has one.
//!
//! Skippable frames are members without content. Dictionaries and windows beyond the limit are
//! refused before anything is allocated for them.

use zstd::zstd_safe::{DCtx, InBuffer, OutBuffer, ResetDirective};

use super::error::{Contradiction, Unsupported};
use super::member::{Fault, Front, Moved, Turn, step_room};

pub(super) const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The first byte is 0x50..=0x5f.
const SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];
/// Magic number and length.
const SKIPPABLE_HEADER_BYTES: usize = 8;
/// What the library allocates for one frame at most: its own default, and that of `zstd -d`.
const WINDOW_BYTES_MAX: u64 = 1 << 27;
/// A declared length is believed up to this ratio to the bytes at hand.
const RATIO_BELIEVED: usize = 32;

/// `ZSTD_ErrorCode`, which promises not to change below 100 (zstd_errors.h).
const CHECKSUM_WRONG: usize = 22;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    /// The declared length of the content, and what was decoded of it.
    Frame {
        declared: Option<u64>,
        produced: u64,
    },
    /// What is left of a skippable frame, in bytes.
    Skip {
        left: u64,
    },
}

pub(super) struct Zstd {
    context: DCtx<'static>,
    state: State,
}

impl Zstd {
    pub fn new() -> Zstd {
        Zstd { context: DCtx::create(), state: State::Header }
    }

    pub fn front(bytes: &[u8]) -> Front {
        let starts = |magic: &[u8]| bytes.iter().zip(magic).all(|(byte, magic)| byte == magic);
        let skippable = bytes.first().is_some_and(|byte| byte & 0xf0 == 0x50)
            && bytes[1..].iter().zip(&SKIPPABLE).all(|(byte, magic)| byte == magic);
        match starts(&MAGIC) || skippable {
            true if bytes.len() >= MAGIC.len() => Front::Member,
            true => Front::Short,
            false => Front::Other,
        }
    }

    pub fn open(&mut self) {
        self.state = State::Header;
    }

    /// A useful size of the output of the next step. With room for the whole content and all of
    /// the frame at hand, the library decodes in place and needs no window of its own.
    pub fn room(&self, input: &[u8], limit: usize) -> usize {
        let believed = input.len().saturating_mul(RATIO_BELIEVED).min(limit) as u64;
        match self.state {
            State::Frame { declared: Some(len), produced: 0 } if len <= believed => {
                (len as usize).max(1)
            }
            State::Frame { .. } => step_room(input),
            State::Header | State::Skip { .. } => 0,
        }
    }

    /// Decodes as much of the open frame as fits into `out`.
    pub fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Moved, Fault> {
        let moved = |consumed, produced, turn| Ok(Moved { consumed, produced, turn });
        match &mut self.state {
            State::Header if input.len() < MAGIC.len() => moved(0, 0, Turn::Hungry),
            State::Header if !input.starts_with(&MAGIC) => {
                let Some(head) = input.first_chunk::<SKIPPABLE_HEADER_BYTES>() else {
                    return moved(0, 0, Turn::Hungry);
                };
                let left = u64::from_le_bytes(*head) >> 32;
                self.state = State::Skip { left };
                moved(SKIPPABLE_HEADER_BYTES, 0, if left == 0 { Turn::Done } else { Turn::Again })
            }
            State::Header => {
                let Some(header) = FrameHeader::read(&input[MAGIC.len()..]) else {
                    return moved(0, 0, Turn::Hungry);
                };
                header.check()?;
                // Without this, what a frame before left unfinished would go on here.
                self.context.reset(ResetDirective::SessionOnly).map_err(|_| Contradiction::Data)?;
                self.state = State::Frame { declared: header.content_bytes, produced: 0 };
                moved(0, 0, Turn::Again)
            }
            State::Skip { left } => {
                let consumed = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= consumed as u64;
                moved(consumed, 0, if *left == 0 { Turn::Done } else { Turn::Hungry })
            }
            State::Frame { declared, produced } => {
                let moved = frame(&mut self.context, input, out)?;
                *produced += moved.produced as u64;
                // The library overlooks this when the last block is empty.
                let wrong = |len: u64| match moved.turn {
                    Turn::Done => len != *produced,
                    _ => len < *produced,
                };
                if declared.is_some_and(wrong) {
                    return Err(Contradiction::Length.into());
                }
                Ok(moved)
            }
        }
    }
}

fn frame(context: &mut DCtx<'_>, input: &[u8], out: &mut [u8]) -> Result<Moved, Contradiction> {
    let space = out.len();
    let mut from = InBuffer::around(input);
    let mut into = OutBuffer::around(out);
    let left = context.decompress_stream(&mut into, &mut from).map_err(|code| {
        match 0usize.wrapping_sub(code) {
            CHECKSUM_WRONG => Contradiction::Checksum,
            _ => Contradiction::Data,
        }
    })?;
    let (consumed, produced) = (from.pos(), into.pos());
    let turn = match left {
        0 => Turn::Done,
        _ if consumed == input.len() && produced < space => Turn::Hungry,
        _ if consumed == 0 && produced == 0 => return Err(Contradiction::Data),
        _ => Turn::Again,
    };
    Ok(Moved { consumed, produced, turn })
}

/// RFC 8878, 3.1.1.1.
#[derive(Debug, PartialEq, Eq)]
struct FrameHeader {
    content_bytes: Option<u64>,
    window_bytes: u64,
    dictionary: u32,
}

impl FrameHeader {
    /// Reads what follows the magic number; none when there is too little of it.
    fn read(bytes: &[u8]) -> Option<FrameHeader> {
        let descriptor = *bytes.first()?;
        let single_segment = descriptor & 0x20 != 0;
        let mut at = 1;
        let mut number = |count: usize| -> Option<u64> {
            let mut le = [0; 8];
            le[..count].copy_from_slice(bytes.get(at..at + count)?);
            at += count;
            Some(u64::from_le_bytes(le))
        };
        let window = if single_segment { None } else { Some(number(1)?) };
        let dictionary = number([0, 1, 2, 4][usize::from(descriptor & 3)])? as u32;
        let content_bytes = match descriptor >> 6 {
            0 if single_segment => Some(number(1)?),
            0 => None,
            1 => Some(number(2)? + 256),
            2 => Some(number(4)?),
            _ => Some(number(8)?),
        };
        let window_bytes = match window {
            Some(window) => {
                let base = 1u64 << (10 + (window >> 3));
                base + base / 8 * (window & 7)
            }
            None => content_bytes.unwrap_or(0),
        };
        Some(FrameHeader { content_bytes, window_bytes, dictionary })
    }

    fn check(&self) -> Result<(), Fault> {
        if self.dictionary != 0 {
            return Err(Fault::Unsupported(Unsupported::Dictionary { id: self.dictionary }));
        }
        if self.window_bytes > WINDOW_BYTES_MAX {
            return Err(Fault::Unsupported(Unsupported::Window {
                bytes: self.window_bytes,
                limit_bytes: WINDOW_BYTES_MAX,
            }));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_header_gives_window_content_and_dictionary() {
        let read = |bytes: &[u8]| FrameHeader::read(bytes).unwrap();
        let header = |content_bytes, window_bytes, dictionary| FrameHeader {
            content_bytes,
            window_bytes,
            dictionary,
        };
        assert_eq!(read(&[0x00, 0x00]), header(None, 1024, 0));
        assert_eq!(read(&[0x00, 10 << 3 | 4]), header(None, (1 << 20) + (1 << 19), 0));
        assert_eq!(read(&[0x20, 200]), header(Some(200), 200, 0));
        assert_eq!(read(&[0x60, 1, 0]), header(Some(257), 257, 0));
        assert_eq!(read(&[0x81, 0, 7, 5, 0, 0, 0]), header(Some(5), 1024, 7));
        assert_eq!(read(&[0xe3, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]), header(Some(9), 9, 1));
    }

    #[test]
    fn a_frame_header_that_is_cut_is_no_header() {
        let bytes = [0xc3, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
        for cut in 0..bytes.len() {
            assert_eq!(FrameHeader::read(&bytes[..cut]), None);
        }
        assert!(FrameHeader::read(&bytes).is_some());
    }

    #[test]
    fn all_sixteen_skippable_magic_numbers_are_known() {
        for first in 0x50..=0x5f {
            assert_eq!(Zstd::front(&[first, 0x2a, 0x4d, 0x18]), Front::Member);
            assert_eq!(Zstd::front(&[first, 0x2a]), Front::Short);
        }
        assert_eq!(Zstd::front(&[0x60, 0x2a, 0x4d, 0x18]), Front::Other);
        assert_eq!(Zstd::front(&[0x50, 0x2a, 0x4d, 0x19]), Front::Other);
    }

    #[test]
    fn a_declared_length_must_be_met() {
        // 256 bytes declared; one last, empty block.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x40, 0, 0, 0, 1, 0, 0];
        let mut zstd = Zstd::new();
        zstd.open();
        zstd.step(&frame, &mut []).unwrap();
        let fault = zstd.step(&frame, &mut [0; 16]).unwrap_err();
        assert_eq!(fault, Fault::Contradiction(Contradiction::Length));
    }
}
