//! ZIP: the content of its entries, one after another, in the order of their places in the file.
//!
//! Source: APPNOTE.TXT of PKWARE, 6.3.10. The file is read from its front, entry by entry, as it comes
//! over the network; the directory at its end is only compared with how many entries there were.
//! Each entry is verified by its CRC-32 and its length, which stand before or behind the data.
//! Names of entries are passed over: no path is ever made from them.
//!
//! The crates that read ZIP want to seek (`zip` as a stream refuses data descriptors, which
//! Firehose writes), are async, or give content before they have verified it without saying where
//! it began. The walk is short, and `flate2` does the inflating.

use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::Crc;
use memchr::memmem;

use super::error::{Contradiction, Unsupported};
use super::member::{Fault, Front, Moved, STEP_BYTES, Turn, step_room};

/// The first entry.
pub(super) const MAGIC: [u8; 4] = *b"PK\x03\x04";
const ENTRY: [u8; 2] = [3, 4];
const LISTED: [u8; 2] = [1, 2];
const END: [u8; 2] = [5, 6];
const END_64: [u8; 2] = [6, 6];
const LOCATOR_64: [u8; 2] = [6, 7];
const SIGNATURE: [u8; 2] = [5, 5];
/// Stands before a directory that is encrypted.
const EXTRA_DATA: [u8; 2] = [6, 8];
/// Stands before most data descriptors.
const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";

const ENTRY_HEADER_BYTES: usize = 30;
const LISTED_BYTES: usize = 46;
const END_BYTES: usize = 22;
/// The longest descriptor. More than this always follows: the directory.
const DESCRIPTOR_BYTES_MAX: usize = 24;

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const ENCRYPTED: u16 = 1;
/// Checksum and lengths stand behind the data.
const DESCRIBED_BEHIND: u16 = 1 << 3;
/// The extra field that holds lengths of 64 bits, and what stands in their place.
const EXTRA_64: u16 = 1;
const IN_EXTRA: u32 = u32::MAX;

/// The entry that is being decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    is_deflated: bool,
    crc: u32,
    content: u64,
    described_behind: bool,
    /// Encoded bytes that are left; none when only the data says where it ends.
    left: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A record begins: an entry, or a part of the directory.
    Record,
    Data(Entry),
    Descriptor,
    /// What is left of a record that carries no content, in bytes.
    Skip {
        left: u64,
    },
}

/// How the data of an entry goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    On,
    Hungry,
    Over,
}

pub(super) struct Zip {
    state: State,
    deflate: Decompress,
    crc: Crc,
    /// Content and encoded bytes of the entry so far.
    content: u64,
    encoded: u64,
    /// Entries since the last end of a directory, and how many of them the directory listed.
    entries: u64,
    listed: u64,
    ended: bool,
    /// The last bytes that were taken for data.
    tail: Vec<u8>,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

impl Zip {
    pub fn new() -> Zip {
        Zip {
            state: State::Record,
            deflate: Decompress::new(false),
            crc: Crc::new(),
            content: 0,
            encoded: 0,
            entries: 0,
            listed: 0,
            ended: false,
            tail: Vec::new(),
        }
    }

    /// Whether an object that begins so is a ZIP archive, maybe one with no entry.
    pub fn begins(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC) || bytes.starts_with(b"PK\x05\x06")
    }

    pub fn front(bytes: &[u8]) -> Front {
        match bytes {
            [b'P', b'K', kind @ ..] if kind.len() >= 2 => match [kind[0], kind[1]] {
                ENTRY | LISTED | END | END_64 | LOCATOR_64 | SIGNATURE | EXTRA_DATA => {
                    Front::Member
                }
                _ => Front::Other,
            },
            [] | [b'P'] | [b'P', b'K', ..] => Front::Short,
            _ => Front::Other,
        }
    }

    pub fn open(&mut self) {
        self.state = State::Record;
    }

    /// Whether the archive may end here: its directory did.
    pub fn may_end(&self) -> bool {
        self.ended
    }

    pub fn room(&self, input: &[u8]) -> usize {
        match self.state {
            State::Data(Entry { is_deflated: true, .. }) => step_room(input),
            State::Data(_) => input.len().min(STEP_BYTES),
            _ => 0,
        }
    }

    pub fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Moved, Fault> {
        match self.state {
            State::Record => match input.first_chunk::<4>() {
                Some(&[_, _, first, second]) => self.record([first, second], input),
                None => Ok(Moved::nothing(Turn::Hungry)),
            },
            State::Data(entry) => Ok(self.data(entry, input, out)?),
            State::Descriptor => self.descriptor(input),
            State::Skip { left } => {
                let consumed = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                let left = left - consumed as u64;
                self.state = State::Skip { left };
                let turn = if left == 0 { Turn::Done } else { Turn::Hungry };
                Ok(Moved { consumed, produced: 0, turn })
            }
        }
    }

    /// The front of a record: all of it that says how long it is.
    fn record(&mut self, kind: [u8; 2], input: &[u8]) -> Result<Moved, Fault> {
        let fixed = match kind {
            ENTRY => ENTRY_HEADER_BYTES,
            LISTED => LISTED_BYTES,
            END => END_BYTES,
            END_64 => 12,
            LOCATOR_64 => 20,
            SIGNATURE => 6,
            _ => return Err(Fault::Unsupported(Unsupported::Password)),
        };
        if input.len() < fixed {
            return Ok(Moved::nothing(Turn::Hungry));
        }
        let len = |at| u64::from(u16_at(input, at));
        let left = match kind {
            ENTRY => return self.entry(input),
            LISTED => {
                self.listed += 1;
                len(28) + len(30) + len(32)
            }
            END => {
                if self.listed != self.entries {
                    return Err(Contradiction::Directory.into());
                }
                (self.entries, self.listed, self.ended) = (0, 0, true);
                len(20)
            }
            END_64 => u64_at(input, 4),
            SIGNATURE => len(4),
            _ => 0,
        };
        self.state = State::Skip { left };
        Ok(Moved {
            consumed: fixed,
            produced: 0,
            turn: if left == 0 { Turn::Done } else { Turn::Again },
        })
    }

    fn entry(&mut self, input: &[u8]) -> Result<Moved, Fault> {
        let name = usize::from(u16_at(input, 26));
        let header = ENTRY_HEADER_BYTES + name + usize::from(u16_at(input, 28));
        let Some(extra) = input.get(ENTRY_HEADER_BYTES + name..header) else {
            return Ok(Moved::nothing(Turn::Hungry));
        };
        let (flags, method) = (u16_at(input, 6), u16_at(input, 8));
        if flags & ENCRYPTED != 0 {
            return Err(Fault::Unsupported(Unsupported::Password));
        }
        if method != STORED && method != DEFLATED {
            return Err(Fault::Unsupported(Unsupported::Method { id: method }));
        }
        let (mut encoded, mut content) =
            (u64::from(u32_at(input, 18)), u64::from(u32_at(input, 22)));
        if let Some([long_content, long_encoded]) = extra_64(extra)
            && (encoded == u64::from(IN_EXTRA) || content == u64::from(IN_EXTRA))
        {
            (encoded, content) = (long_encoded, long_content);
        }
        let described_behind = flags & DESCRIBED_BEHIND != 0;
        let known = !described_behind || encoded != 0;
        if method == STORED && known && encoded != content {
            return Err(Contradiction::Header.into());
        }
        self.entries += 1;
        self.ended = false;
        (self.content, self.encoded, self.crc) = (0, 0, Crc::new());
        self.deflate.reset(false);
        self.tail.clear();
        self.state = State::Data(Entry {
            is_deflated: method == DEFLATED,
            crc: u32_at(input, 14),
            content,
            described_behind,
            left: known.then_some(encoded),
        });
        Ok(Moved { consumed: header, produced: 0, turn: Turn::Again })
    }

    fn data(&mut self, entry: Entry, input: &[u8], out: &mut [u8]) -> Result<Moved, Contradiction> {
        let data = match entry.left {
            Some(left) => &input[..usize::try_from(left).unwrap_or(usize::MAX).min(input.len())],
            None => input,
        };
        let is_empty = entry.left == Some(0) && self.encoded == 0;
        let (consumed, produced, pace) = match (entry.is_deflated, entry.left) {
            // Without data there is no content, deflated or not.
            _ if is_empty => (0, 0, Pace::Over),
            (true, _) => self.inflate(data, out)?,
            (false, Some(0)) => (0, 0, Pace::Over),
            (false, Some(_)) => {
                let count = data.len().min(out.len());
                out[..count].copy_from_slice(&data[..count]);
                (count, count, if count == input.len() { Pace::Hungry } else { Pace::On })
            }
            (false, None) => self.until_descriptor(data, out),
        };
        self.crc.update(&out[..produced]);
        self.content += produced as u64;
        self.encoded += consumed as u64;
        self.keep_tail(&data[..consumed]);
        let left = entry.left.map(|left| left - consumed as u64);
        self.state = State::Data(Entry { left, ..entry });
        let turn = match (pace, left) {
            (Pace::Over, None | Some(0)) => self.data_ended(entry)?,
            (Pace::Over, Some(_)) => return Err(Contradiction::Length),
            (Pace::Hungry, Some(0)) if entry.is_deflated => return Err(Contradiction::Data),
            (Pace::Hungry, Some(0)) | (Pace::On, _) => Turn::Again,
            (Pace::Hungry, _) => Turn::Hungry,
        };
        Ok(Moved { consumed, produced, turn })
    }

    /// Bytes taken, bytes given, and how it goes on.
    fn inflate(
        &mut self,
        data: &[u8],
        out: &mut [u8],
    ) -> Result<(usize, usize, Pace), Contradiction> {
        let before = (self.deflate.total_in(), self.deflate.total_out());
        let status = self
            .deflate
            .decompress(data, out, FlushDecompress::None)
            .map_err(|_| Contradiction::Data)?;
        let consumed = (self.deflate.total_in() - before.0) as usize;
        let produced = (self.deflate.total_out() - before.1) as usize;
        let pace = match status {
            Status::StreamEnd => Pace::Over,
            _ if consumed == data.len() && produced < out.len() => Pace::Hungry,
            // Neither side can move although both could: no valid stream does that.
            _ if consumed == 0 && produced == 0 => return Err(Contradiction::Data),
            _ => Pace::On,
        };
        Ok((consumed, produced, pace))
    }

    /// Stored data of unknown length goes on until a descriptor agrees with it.
    fn until_descriptor(&self, data: &[u8], out: &mut [u8]) -> (usize, usize, Pace) {
        let data = &data[..data.len().min(out.len() + DESCRIPTOR_BYTES_MAX)];
        let at_front = data.starts_with(&DESCRIPTOR);
        let plain = match at_front {
            true if data.len() < DESCRIPTOR_BYTES_MAX => 0,
            true if self.descriptor_len(data).is_some() => return (0, 0, Pace::Over),
            _ => {
                let behind = usize::from(at_front);
                let mut found = memmem::find_iter(&data[behind..], &DESCRIPTOR);
                let found = found.find(|at| self.may_end_at(&data[behind..], *at, behind));
                // The end may be the front of a descriptor.
                let end = data.len().saturating_sub(DESCRIPTOR.len() - 1);
                found.map_or(end, |at| behind + at)
            }
        };
        let count = plain.min(out.len());
        out[..count].copy_from_slice(&data[..count]);
        (count, count, if count == 0 { Pace::Hungry } else { Pace::On })
    }

    /// Whether a descriptor may stand at this place of `data`, `before` bytes of which went by: its
    /// lengths are those of the data so far, or there is too little to tell. Its checksum is
    /// looked at once the data before it was summed.
    fn may_end_at(&self, data: &[u8], at: usize, before: usize) -> bool {
        let length = self.content + (before + at) as u64;
        let descriptor = &data[at..];
        let short = [length as u32; 2].map(u32::to_le_bytes).concat();
        let long = [length; 2].map(u64::to_le_bytes).concat();
        descriptor.len() < DESCRIPTOR_BYTES_MAX
            || descriptor[8..16] == short[..]
            || descriptor[8..24] == long[..]
    }

    fn data_ended(&mut self, entry: Entry) -> Result<Turn, Contradiction> {
        if entry.described_behind {
            self.state = State::Descriptor;
            return Ok(Turn::Again);
        }
        if self.crc.sum() != entry.crc {
            return Err(Contradiction::Checksum);
        }
        if self.content != entry.content {
            return Err(Contradiction::Length);
        }
        Ok(Turn::Done)
    }

    fn descriptor(&mut self, input: &[u8]) -> Result<Moved, Fault> {
        if input.len() < DESCRIPTOR_BYTES_MAX {
            return Ok(Moved::nothing(Turn::Hungry));
        }
        match self.descriptor_len(input) {
            Some(consumed) => Ok(Moved { consumed, produced: 0, turn: Turn::Done }),
            None => Err(Contradiction::Checksum.into()),
        }
    }

    /// The length of the descriptor at the front of `input`, if it is that of the data. It may
    /// have a signature, and lengths of 32 or 64 bits; nothing says which.
    fn descriptor_len(&self, input: &[u8]) -> Option<usize> {
        let crc = self.crc.sum().to_le_bytes();
        let mut long = crc.to_vec();
        long.extend(self.encoded.to_le_bytes());
        long.extend(self.content.to_le_bytes());
        let mut short = crc.to_vec();
        short.extend((self.encoded as u32).to_le_bytes());
        short.extend((self.content as u32).to_le_bytes());
        // The longest first: where the content is empty, the others are its front.
        [[&DESCRIPTOR[..], &long].concat(), long, [&DESCRIPTOR[..], &short].concat(), short]
            .iter()
            .find(|descriptor| input.starts_with(descriptor))
            .map(Vec::len)
    }

    fn keep_tail(&mut self, consumed: &[u8]) {
        self.tail.extend_from_slice(&consumed[consumed.len().saturating_sub(END_BYTES)..]);
        self.tail.drain(..self.tail.len().saturating_sub(END_BYTES));
    }

    /// What tells that an archive which seems cut off is damaged, so that the end of its data was
    /// missed: the archive's own end was taken for data.
    pub fn contradiction_at_cut(&self, rest: &[u8]) -> Option<Contradiction> {
        let State::Data(_) = self.state else {
            return None;
        };
        let end = [&self.tail[..], rest].concat();
        let end = &end[end.len().saturating_sub(END_BYTES)..];
        end.starts_with(b"PK\x05\x06").then_some(Contradiction::Data)
    }
}

/// The lengths of content and data in the extra field for lengths of 64 bits.
fn extra_64(mut extra: &[u8]) -> Option<[u64; 2]> {
    while extra.len() >= 4 {
        let field = extra.get(4..4 + usize::from(u16_at(extra, 2)))?;
        if u16_at(extra, 0) == EXTRA_64 && field.len() >= 16 {
            return Some([u64_at(field, 0), u64_at(field, 8)]);
        }
        extra = &extra[4 + field.len()..];
    }
    None
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{DecodeError, DecodeLimits, Decoder, Input, Step};
    use super::*;

    /// How an entry is written.
    #[derive(Clone, Copy, Debug, Default)]
    pub struct Written {
        pub deflated: bool,
        /// Checksum and lengths stand behind the data, with a signature or without.
        pub behind: bool,
        pub unsigned: bool,
        /// Lengths of 64 bits.
        pub long: bool,
        pub flags: u16,
    }

    fn deflate(content: &[u8]) -> Vec<u8> {
        let mut compressor =
            libdeflater::Compressor::new(libdeflater::CompressionLvl::new(6).unwrap());
        let mut out = vec![0; compressor.deflate_compress_bound(content.len())];
        let len = compressor.deflate_compress(content, &mut out).unwrap();
        out.truncate(len);
        out
    }

    fn entry(written: Written, content: &[u8]) -> Vec<u8> {
        let data = if written.deflated { deflate(content) } else { content.to_vec() };
        let mut crc = Crc::new();
        crc.update(content);
        let lengths =
            |long: bool| match long {
                true => [(data.len() as u64).to_le_bytes(), (content.len() as u64).to_le_bytes()]
                    .concat(),
                false => [(data.len() as u32).to_le_bytes(), (content.len() as u32).to_le_bytes()]
                    .concat(),
            };
        let mut bytes = MAGIC.to_vec();
        let flags = written.flags | if written.behind { DESCRIBED_BEHIND } else { 0 };
        let method = if written.deflated { DEFLATED } else { STORED };
        for number in [20, flags, method, 0, 0] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(if written.behind { [0; 4] } else { crc.sum().to_le_bytes() });
        bytes.extend(match (written.behind, written.long) {
            (true, _) => vec![0; 8],
            (_, true) => vec![0xff; 8],
            (_, false) => lengths(false),
        });
        let is_extra = written.long && !written.behind;
        bytes.extend(9u16.to_le_bytes());
        bytes.extend(if is_extra { 25u16 } else { 5 }.to_le_bytes());
        bytes.extend(b"../../etc");
        bytes.extend([0x55, 0x54, 1, 0, 7]);
        if is_extra {
            bytes.extend([1, 0, 16, 0]);
            bytes.extend((content.len() as u64).to_le_bytes());
            bytes.extend((data.len() as u64).to_le_bytes());
        }
        bytes.extend(&data);
        if written.behind {
            bytes.extend(if written.unsigned { &[][..] } else { &DESCRIPTOR });
            bytes.extend(crc.sum().to_le_bytes());
            bytes.extend(lengths(written.long));
        }
        bytes
    }

    fn directory(entries: usize) -> Vec<u8> {
        let listed = [&b"PK\x01\x02"[..], &[0; 42]].concat().repeat(entries);
        [&listed[..], b"PK\x05\x06", &[0; 16], &[3, 0], b"end"].concat()
    }

    pub fn archive(written: Written, contents: &[&[u8]]) -> Vec<u8> {
        let entries = contents.iter().flat_map(|content| entry(written, content));
        entries.chain(directory(contents.len())).collect()
    }

    fn decode(bytes: &[u8]) -> (Vec<u8>, Option<DecodeError>) {
        let mut decoder = Decoder::new(Input::Whole(bytes.to_vec()), DecodeLimits::default());
        let mut buf = Vec::new();
        loop {
            match decoder.next_block(&mut buf) {
                Ok(Step::More) => {}
                Ok(Step::End) => return (buf, None),
                Err(error) => return (buf, Some(error)),
            }
        }
    }

    #[test]
    fn entries_are_read_however_they_are_written() {
        let empty: &[u8] = b"";
        for content in [empty, b"{\"a\":1}", &b"{\"a\":\"PK\x07\x08\"}".repeat(500)] {
            for bits in 0..16 {
                let is = |bit: u8| bits >> bit & 1 == 1;
                let written = Written {
                    deflated: is(0),
                    behind: is(1),
                    unsigned: is(2),
                    long: is(3),
                    flags: 0,
                };
                if written.behind && written.unsigned && !written.deflated {
                    // Nothing tells where such data ends.
                    continue;
                }
                let bytes = [entry(written, content), entry(written, b"{}"), directory(2)].concat();
                let (decoded, error) = decode(&bytes);
                assert!(error.is_none(), "{written:?}: {error:?}");
                assert_eq!(decoded, [content, b"{}"].concat(), "{written:?}");
            }
        }
    }

    #[test]
    fn an_archive_without_entries_and_two_archives_in_one_object_are_read() {
        assert!(matches!(decode(&directory(0)), (content, None) if content.is_empty()));
        let one = [entry(Written::default(), b"{\"a\":1}"), directory(1)].concat();
        let (content, error) = decode(&one.repeat(2));
        assert_eq!((content, error.is_none()), (b"{\"a\":1}{\"a\":1}".to_vec(), true));
    }

    #[test]
    fn an_archive_that_ends_before_its_directory_does_is_cut_off() {
        let bytes = [entry(Written::default(), b"{\"a\":1}"), directory(1)].concat();
        for cut in 4..bytes.len() {
            let (_, error) = decode(&bytes[..cut]);
            assert!(matches!(error, Some(DecodeError::Truncated { .. })), "{cut}: {error:?}");
        }
    }

    #[test]
    fn a_directory_that_lists_other_entries_is_a_contradiction() {
        for listed in [1, 3] {
            let entries = entry(Written::default(), b"{}").repeat(2);
            let (content, error) = decode(&[entries, directory(listed)].concat());
            assert_eq!(content, b"{}{}");
            assert!(error.unwrap().to_string().contains("directory"), "{listed}");
        }
    }

    #[test]
    fn passwords_and_other_methods_are_refused_by_name() {
        let secret = entry(Written { flags: ENCRYPTED, ..Written::default() }, b"{}");
        let (_, error) = decode(&secret);
        assert!(error.unwrap().to_string().contains("password"));
        let mut other = entry(Written::default(), b"{}");
        other[8] = 12;
        let (_, error) = decode(&other);
        assert!(error.unwrap().to_string().contains("method 12"));
    }
}
