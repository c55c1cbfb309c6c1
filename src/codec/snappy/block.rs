//! One block of raw Snappy: its length, its elements, its content.
//!
//! Source: `format_description.txt` of google/snappy. A block is the length of its content as a
//! varint, then literals and copies. Nothing in it is a checksum. The crate `snap` decodes; what is
//! read here by hand is where elements end, so that a block that is cut off gives what it holds.

use snap::raw::Decoder;

use super::super::error::Contradiction;

/// Content of one block. It is held whole: copies may reach back to its beginning. Firehose's
/// largest buffer.
pub(in super::super) const BLOCK_BYTES_MAX: usize = 128 << 20;
/// No element does better: 64 bytes for three.
const RATIO_MAX: usize = 22;

/// The longest that `content` bytes become, by the library that defines the format.
pub fn encoded_bytes_max(content: usize) -> usize {
    32 + content + content / 6
}

/// The length at the front of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    Whole {
        content: usize,
        /// Bytes of the length itself.
        len: usize,
    },
    Short,
    Bad,
}

pub fn head(input: &[u8]) -> Head {
    let mut content = 0u64;
    for (at, byte) in input.iter().take(5).enumerate() {
        content |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return match u32::try_from(content) {
                Ok(content) => Head::Whole { content: content as usize, len: at + 1 },
                Err(_) => Head::Bad,
            };
        }
    }
    if input.len() < 5 { Head::Short } else { Head::Bad }
}

/// Whether `encoded` bytes can hold so much content: what is allocated for it is bounded by what
/// is there.
pub fn can_hold(encoded: usize, content: usize) -> bool {
    content <= encoded.saturating_mul(RATIO_MAX)
}

/// Decodes a whole block, of which the content is as long as `out`.
pub fn decode(decoder: &mut Decoder, encoded: &[u8], out: &mut [u8]) -> Result<(), Contradiction> {
    match decoder.decompress(encoded, out) {
        Ok(len) if len == out.len() => Ok(()),
        _ => Err(Contradiction::Data),
    }
}

/// A literal or a copy.
struct Element {
    /// Of the element itself.
    encoded: usize,
    content: usize,
    /// How far back a copy reaches.
    offset: Option<u64>,
}

impl Element {
    /// None when its first bytes are not all there. The bytes of a literal need not be.
    fn of(input: &[u8]) -> Option<Element> {
        let tag = usize::from(*input.first()?);
        let number = |len: usize| {
            let bytes = input.get(1..=len)?;
            Some(bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte)))
        };
        Some(match tag & 3 {
            0 => {
                let (head, content) = match tag >> 2 {
                    short @ ..60 => (1, short + 1),
                    long => (long - 58, number(long - 59)? as usize + 1),
                };
                Element { encoded: head + content, content, offset: None }
            }
            1 => {
                let offset = (tag as u64 >> 5) << 8 | number(1)?;
                Element { encoded: 2, content: 4 + (tag >> 2 & 7), offset: Some(offset) }
            }
            kind => {
                let bytes = if kind == 2 { 2 } else { 4 };
                let offset = Some(number(bytes)?);
                Element { encoded: 1 + bytes, content: 1 + (tag >> 2), offset }
            }
        })
    }
}

/// How far the elements of a block are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk {
    /// What the block declares.
    pub content: usize,
    /// Where the next element begins in the block.
    pub at: usize,
    produced: usize,
}

impl Walk {
    /// A block with this head.
    pub fn new(content: usize, head_len: usize) -> Walk {
        Walk { content, at: head_len, produced: 0 }
    }

    /// Goes over the elements of `block` that are whole; true when its last one is among them.
    pub fn go_on(&mut self, block: &[u8]) -> Result<bool, Contradiction> {
        while self.produced < self.content {
            let Some(element) = Element::of(&block[self.at..]) else {
                return Ok(false);
            };
            let reaches_back = |offset| offset == 0 || offset > self.produced as u64;
            if element.content > self.content - self.produced
                || element.offset.is_some_and(reaches_back)
            {
                return Err(Contradiction::Data);
            }
            if element.encoded > block.len() - self.at {
                return Ok(false);
            }
            self.at += element.encoded;
            self.produced += element.content;
        }
        Ok(true)
    }
}

/// What a block decodes to as far as it is there.
pub struct Front {
    pub content: Vec<u8>,
    /// Where the block ends, if it does.
    pub end: Option<usize>,
}

/// Decodes a block that may be cut off: its whole elements, and what is there of a last literal.
pub fn decode_front(block: &[u8]) -> Result<Front, Contradiction> {
    let Head::Whole { content, len } = head(block) else {
        return Err(Contradiction::Header);
    };
    let mut walk = Walk::new(content, len);
    let whole = walk.go_on(block)?;
    let rest = &block[walk.at..];
    let literal = match Element::of(rest) {
        Some(Element { encoded, content, offset: None }) if !whole => {
            rest.get(encoded - content..).unwrap_or_default()
        }
        _ => &[],
    };
    // The same elements as a block of their own.
    let there = walk.produced + literal.len();
    let mut shorter = Vec::with_capacity(walk.at + literal.len() + 10);
    put_varint(there, &mut shorter);
    shorter.extend_from_slice(&block[len..walk.at]);
    if !literal.is_empty() {
        shorter.push(63 << 2);
        shorter.extend_from_slice(&(literal.len() as u32 - 1).to_le_bytes());
        shorter.extend_from_slice(literal);
    }
    let mut decoded = vec![0; there];
    decode(&mut Decoder::new(), &shorter, &mut decoded)?;
    Ok(Front { content: decoded, end: whole.then_some(walk.at) })
}

fn put_varint(mut number: usize, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(content: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(content).unwrap()
    }

    /// Literals, copies near and far, and a literal that no byte says the length of.
    fn contents() -> [Vec<u8>; 4] {
        let records: String = (0..300).map(|n| format!(r#"{{"n":{n},"os":"ios"}}"#)).collect();
        let noise: Vec<u8> =
            (0..70_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        [b"{}".to_vec(), records.into_bytes(), vec![b'x'; 200_000], noise]
    }

    #[test]
    fn the_length_of_a_block_is_a_varint_of_32_bits() {
        let whole = |content, len| Head::Whole { content, len };
        assert_eq!(head(&[5]), whole(5, 1));
        assert_eq!(head(&[0x80, 1, 9]), whole(128, 2));
        assert_eq!(head(&[0xff, 0xff, 0xff, 0xff, 0x0f]), whole(u32::MAX as usize, 5));
        assert_eq!(head(&[0xff, 0xff, 0xff, 0xff, 0x1f]), Head::Bad);
        assert_eq!(head(&[0x80; 6]), Head::Bad);
        assert_eq!(head(&[0x80; 4]), Head::Short);
        assert_eq!(head(&[]), Head::Short);
    }

    #[test]
    fn a_block_ends_where_its_elements_do() {
        for content in contents() {
            let block = encode(&content);
            let longer = [&block[..], b"more"].concat();
            let front = decode_front(&longer).unwrap();
            assert_eq!(front.end, Some(block.len()));
            assert!(front.content == content);
        }
    }

    #[test]
    fn a_block_that_is_cut_gives_what_it_holds() {
        for content in contents() {
            let block = encode(&content);
            let Head::Whole { len, .. } = head(&block) else { panic!() };
            let mut most = 0;
            for cut in (len..block.len()).step_by(block.len() / 100 + 1) {
                let front = decode_front(&block[..cut]).unwrap();
                assert_eq!(front.end, None);
                assert!(content.starts_with(&front.content) && front.content.len() >= most);
                most = front.content.len();
            }
            assert!(most >= content.len() / 2, "{most} of {}", content.len());
        }
    }

    #[test]
    fn a_copy_from_before_the_block_and_content_beyond_the_length_are_refused() {
        // Four bytes from four bytes ago, where there are three.
        for block in
            [&[7, 2 << 2, b'a', b'b', b'c', 1, 4][..], &[2, 2 << 2, b'a', b'b', b'c'], &[7, 1, 0]]
        {
            assert!(decode_front(block).is_err(), "{block:?}");
        }
    }
}
