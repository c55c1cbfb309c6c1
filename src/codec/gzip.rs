//! gzip (RFC 1952): members in, content out, verified by CRC-32 and length.
//!
//! A member that lies in memory is decoded by libdeflate in one call; anything else (a stream, a
//! cut or damaged member, a very large one) by zlib-rs in steps. It never trusts the length that a
//! member declares, and never allocates more than what the compressed bytes could decode to.

use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::{Crc, DecompressionError, Decompressor};
use memchr::memmem;

use super::error::Contradiction;
use super::layer::Output;
use super::member::{Front, Moved, Turn, step_room};

/// Also the compression method: 8, deflate, is the only one there is.
pub(super) const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
/// Deflate cannot do better: 258 bytes for two bits.
const RATIO_MAX: usize = 1032;
/// A declared length is believed up to this ratio; JSON logs rarely reach it.
const RATIO_BELIEVED: usize = 32;
/// Names and comments have no limit of their own.
const HEADER_BYTES_MAX: usize = 1 << 20;
/// CRC-32 and length of the content.
const TRAILER_BYTES: usize = 8;
/// An empty block.
const DEFLATE_BYTES_MIN: usize = 2;

const FHCRC: u8 = 1 << 1;
const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Header {
    /// Its length in bytes.
    Whole(usize),
    Short,
    Bad(Contradiction),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Header,
    Body,
    Trailer,
}

pub(super) struct Gzip {
    one_call: Decompressor,
    next_member: memmem::Finder<'static>,
    /// Only when a member cannot be decoded in one call.
    steps: Option<Decompress>,
    state: State,
    crc: Crc,
    length: u64,
    /// The last four bytes that were taken for compressed data.
    last: [u8; 4],
}

impl Gzip {
    pub fn new() -> Gzip {
        Gzip {
            one_call: Decompressor::new(),
            next_member: memmem::Finder::new(&MAGIC),
            steps: None,
            state: State::Header,
            crc: Crc::new(),
            length: 0,
            last: [0; 4],
        }
    }

    pub fn front(bytes: &[u8]) -> Front {
        let len = bytes.len().min(MAGIC.len());
        match bytes[..len] == MAGIC[..len] {
            true if len == MAGIC.len() => Front::Member,
            true => Front::Short,
            false => Front::Other,
        }
    }

    pub fn open(&mut self) {
        self.state = State::Header;
        self.crc = Crc::new();
        self.length = 0;
        match &mut self.steps {
            Some(steps) => steps.reset(false),
            None => self.steps = Some(Decompress::new(false)),
        }
    }

    /// A useful size of the output of the next step.
    pub fn room(&self, input: &[u8]) -> usize {
        match self.state {
            State::Body => step_room(input),
            State::Header | State::Trailer => 0,
        }
    }

    /// Decodes as much of the open member as fits into `out`.
    pub fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Moved, Contradiction> {
        let moved = |consumed, produced, turn| Ok(Moved { consumed, produced, turn });
        match self.state {
            State::Header => match header(input) {
                Header::Whole(len) => {
                    self.state = State::Body;
                    moved(len, 0, Turn::Again)
                }
                Header::Short if input.len() > HEADER_BYTES_MAX => Err(Contradiction::Header),
                Header::Short => moved(0, 0, Turn::Hungry),
                Header::Bad(cause) => Err(cause),
            },
            State::Body => self.body(input, out),
            State::Trailer => {
                let Some(trailer) = input.first_chunk::<TRAILER_BYTES>() else {
                    return moved(0, 0, Turn::Hungry);
                };
                let expected = self.trailer();
                if trailer[..4] != expected[..4] {
                    return Err(Contradiction::Checksum);
                }
                if *trailer != expected {
                    return Err(Contradiction::Length);
                }
                moved(TRAILER_BYTES, 0, Turn::Done)
            }
        }
    }

    fn body(&mut self, input: &[u8], out: &mut [u8]) -> Result<Moved, Contradiction> {
        let steps = self.steps.as_mut().expect("a member is opened before its first step");
        let (total_in, total_out) = (steps.total_in(), steps.total_out());
        let status =
            steps.decompress(input, out, FlushDecompress::None).map_err(|_| Contradiction::Data)?;
        let consumed = (steps.total_in() - total_in) as usize;
        let produced = (steps.total_out() - total_out) as usize;
        self.crc.update(&out[..produced]);
        self.length += produced as u64;
        for byte in &input[consumed.saturating_sub(4)..consumed] {
            self.last.rotate_left(1);
            self.last[3] = *byte;
        }
        let turn = match status {
            Status::StreamEnd => {
                self.state = State::Trailer;
                Turn::Again
            }
            _ if consumed == input.len() && produced < out.len() => Turn::Hungry,
            // Neither side can move although both could: no valid stream does that.
            _ if consumed == 0 && produced == 0 => return Err(Contradiction::Data),
            _ => Turn::Again,
        };
        Ok(Moved { consumed, produced, turn })
    }

    /// What tells that a member which seems cut off is damaged, so that its end was missed or was
    /// found too early. `rest` is what is left of the object.
    pub fn contradiction_at_cut(&self, rest: &[u8]) -> Option<Contradiction> {
        let taken = self.steps.as_ref().map_or(0, Decompress::total_in) as usize;
        match self.state {
            // The last bytes of a whole member are its length, which is near what came out. In a
            // member that is really cut off they are that near in one of thousands.
            State::Body if taken >= DEFLATE_BYTES_MIN + TRAILER_BYTES => {
                let declared = u64::from(u32::from_le_bytes(self.last));
                let near = declared.abs_diff(self.length) <= (self.length / 16).max(4096);
                near.then_some(Contradiction::Data)
            }
            State::Trailer if !self.trailer().starts_with(rest) => Some(Contradiction::Checksum),
            _ => None,
        }
    }

    /// What the content that was decoded in steps should end in.
    fn trailer(&self) -> [u8; TRAILER_BYTES] {
        let trailer = u64::from(self.crc.sum()) | u64::from(self.length as u32) << 32;
        trailer.to_le_bytes()
    }

    /// Decodes the member at the front of `input`, which holds all that is left of the object, in
    /// one call. Appends its verified content and returns the member's encoded length; or appends
    /// nothing and returns none: then it is longer than `limit`, cut off, damaged, or its end is
    /// in doubt.
    ///
    /// `alone` says that nothing was found yet that makes several members likely.
    pub fn member(
        &mut self,
        input: &[u8],
        alone: bool,
        out: &mut Output<'_>,
        limit: usize,
    ) -> Option<usize> {
        let Header::Whole(header_len) = header(input) else {
            return None;
        };
        let start = out.bytes.len();
        if alone && let Some(end) = self.slice(input, header_len, out, limit) {
            return Some(end);
        }
        out.bytes.truncate(start);
        // libdeflate does not say where a member ends, so it is shown no more than up to the next
        // header. If that header is content which looks like one, the member is merely decoded
        // in steps.
        let next = self.next_header(input, header_len);
        if alone && next == input.len() {
            return None;
        }
        let end = self.slice(&input[..next], header_len, out, limit);
        if end.is_none() {
            out.bytes.truncate(start);
        }
        end
    }

    /// The offset of the next thing that looks like a member's header, or the end.
    fn next_header(&self, input: &[u8], from: usize) -> usize {
        let mut at = from;
        while let Some(found) = self.next_member.find(&input[at..]) {
            at += found;
            match input.get(at + MAGIC.len()) {
                Some(flags) if flags & RESERVED == 0 => return at,
                _ => at += 1,
            }
        }
        input.len()
    }

    /// Decodes the member at the front of `slice` and finds its end within it. May leave bytes
    /// behind `out` when it fails.
    fn slice(
        &mut self,
        slice: &[u8],
        header_len: usize,
        out: &mut Output<'_>,
        limit: usize,
    ) -> Option<usize> {
        let start = out.bytes.len();
        let ceiling = slice.len().saturating_mul(RATIO_MAX).min(limit);
        let declared = u32::from_le_bytes(*slice.last_chunk()?) as usize;
        if declared > ceiling {
            return None;
        }
        let believed = slice.len().saturating_mul(RATIO_BELIEVED).saturating_add(1024);
        let mut room = declared.min(believed);
        loop {
            out.bytes.truncate(start);
            out.grow(room);
            match self.one_call.gzip_decompress(slice, &mut out.bytes[start..]) {
                Ok(len) => {
                    out.bytes.truncate(start + len);
                    return member_end(slice, header_len, len);
                }
                Err(DecompressionError::InsufficientSpace) if room < ceiling => {
                    room = room.saturating_mul(4).clamp(1024.min(ceiling), ceiling);
                }
                Err(_) => return None,
            }
        }
    }
}

/// Where the member at the front of `slice` ends, whose content was verified and is `len` bytes
/// long: its trailer ends in that length, so if the length stands in one place only, it is there.
/// None when it stands in several.
fn member_end(slice: &[u8], header_len: usize, len: usize) -> Option<usize> {
    let length = (len as u32).to_le_bytes();
    // The CRC stands before the length.
    let from = header_len + DEFLATE_BYTES_MIN + 4;
    let first = from + memmem::find(&slice[from..], &length)?;
    match memmem::find(&slice[first + 1..], &length) {
        None => Some(first + length.len()),
        Some(_) => None,
    }
}

/// The header at the front of `input`, which begins with the magic number.
fn header(input: &[u8]) -> Header {
    let Some(flags) = input.get(3) else {
        return Header::Short;
    };
    if flags & RESERVED != 0 {
        return Header::Bad(Contradiction::Header);
    }
    let mut at = 10;
    if flags & FEXTRA != 0 {
        let Some(len) = input.get(at..at + 2) else {
            return Header::Short;
        };
        at += 2 + usize::from(u16::from_le_bytes([len[0], len[1]]));
    }
    for flag in [FNAME, FCOMMENT] {
        if flags & flag != 0 {
            let text = input.get(at..).unwrap_or_default();
            let Some(len) = memchr::memchr(0, text) else {
                return Header::Short;
            };
            at += len + 1;
        }
    }
    if flags & FHCRC != 0 {
        let Some(sum) = input.get(at..at + 2) else {
            return Header::Short;
        };
        let mut crc = Crc::new();
        crc.update(&input[..at]);
        if crc.sum() as u16 != u16::from_le_bytes([sum[0], sum[1]]) {
            return Header::Bad(Contradiction::HeaderChecksum);
        }
        at += 2;
    }
    if at > input.len() { Header::Short } else { Header::Whole(at) }
}

#[cfg(test)]
mod tests {
    use super::super::{DecodeLimits, Decoder, Input};
    use super::*;

    fn with_fields(flags: u8) -> Vec<u8> {
        let mut bytes = vec![0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 0, 255];
        if flags & FEXTRA != 0 {
            bytes.extend([5, 0, b'x', 0, 0x1f, 0x8b, 8]);
        }
        if flags & FNAME != 0 {
            bytes.extend(b"name\0");
        }
        if flags & FCOMMENT != 0 {
            bytes.extend(b"\0");
        }
        if flags & FHCRC != 0 {
            let mut crc = Crc::new();
            crc.update(&bytes);
            bytes.extend((crc.sum() as u16).to_le_bytes());
        }
        bytes
    }

    #[test]
    fn a_header_is_as_long_as_its_fields() {
        for flags in 0..32 {
            let bytes = with_fields(flags);
            let len = bytes.len();
            let longer = [&bytes[..], b"data"].concat();
            assert_eq!(header(&longer), Header::Whole(len), "flags {flags}");
            for cut in 3..len {
                assert_eq!(header(&bytes[..cut]), Header::Short, "flags {flags} cut {cut}");
            }
        }
    }

    #[test]
    fn reserved_flags_and_a_wrong_header_checksum_are_refused() {
        for flag in [0x20, 0x40, 0x80] {
            assert_eq!(header(&with_fields(flag)), Header::Bad(Contradiction::Header));
        }
        let mut bytes = with_fields(FHCRC | FNAME);
        bytes[4] ^= 1;
        assert_eq!(header(&bytes), Header::Bad(Contradiction::HeaderChecksum));
    }

    #[test]
    fn the_end_is_in_doubt_when_the_length_stands_twice() {
        let slice = |data: &[u8]| [&with_fields(0)[..], &[3, 0], data].concat();
        let once = slice(&[9, 9, 9, 9, 77, 1, 0, 0, 1, 2]);
        assert_eq!(member_end(&once, 10, 333), Some(once.len() - 2));
        let twice = slice(&[9, 9, 9, 9, 77, 1, 0, 0, 77, 1, 0, 0]);
        assert_eq!(member_end(&twice, 10, 333), None);
        let overlapping = slice(&[0; 9]);
        assert_eq!(member_end(&overlapping, 10, 0), None);
    }

    fn decode(bytes: &[u8]) -> Vec<u8> {
        let mut decoder = Decoder::new(Input::Whole(bytes.to_vec()), DecodeLimits::default());
        let mut buf = Vec::new();
        while decoder.next_block(&mut buf).unwrap() == super::super::Step::More {}
        buf
    }

    fn stored(content: &[u8]) -> Vec<u8> {
        let level = libdeflater::CompressionLvl::new(0).unwrap();
        let mut compressor = libdeflater::Compressor::new(level);
        let mut out = vec![0; compressor.gzip_compress_bound(content.len())];
        let len = compressor.gzip_compress(content, &mut out).unwrap();
        out.truncate(len);
        out
    }

    #[test]
    fn the_same_member_many_times_is_read_as_often() {
        let member = stored(b"{\"a\":1}");
        assert_eq!(decode(&member.repeat(50)), b"{\"a\":1}".repeat(50));
    }

    #[test]
    fn members_and_trailers_inside_stored_content_mislead_nobody() {
        let inner = stored(b"{\"a\":1}");
        let content = [&b"{}"[..], &inner, &inner[inner.len() - 8..], &inner].concat();
        let member = stored(&content);
        assert_eq!(decode(&[&member[..], &member, &inner].concat()), {
            [&content[..], &content, b"{\"a\":1}"].concat()
        });
    }

    #[test]
    fn what_python_writes_is_read() {
        let text: String = (0..12).map(|n| format!(r#"{{"n":{n},"os":"ios"}}"#)).collect();
        let files = [
            &include_bytes!("../../tests/data/codec/python_named.gz")[..],
            include_bytes!("../../tests/data/codec/python_members.gz"),
            include_bytes!("../../tests/data/codec/python_all_fields.gz"),
        ];
        for bytes in files {
            assert_eq!(decode(bytes), text.as_bytes());
        }
    }
}
