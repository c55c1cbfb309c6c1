//! Laws of decoding: bytes in memory and the same bytes as a stream give the same, nothing is held
//! beyond the limits, and what decodes is what other decoders find.

use std::io::{self, Read};

use rawcat::codec::{DecodeError, DecodeLimits, Decoder, Encoding, Input, Step};

use super::draw::Draw;

/// What a fuzzed object may decode to, in bytes: enough for every path, and soon done.
const OBJECT_BYTES: u64 = 1 << 20;

/// What a block may hold beyond the limits: the output of one step, and what was decoded before to
/// see whether it is encoded again.
const STEP_BYTES: usize = (128 << 10) + 512;

/// Checks every law on one object.
pub fn check(bytes: &[u8]) {
    let mut draw = Draw::of(bytes);
    let limits = limits(&mut draw);
    memory_and_stream_agree(bytes, limits, &mut draw);
    what_decodes_is_what_others_find(bytes);
    // A fuzzer does not find checksums: the bytes as compressed data in a sound frame of their own.
    if let Some(member) = as_gzip_member(bytes) {
        memory_and_stream_agree(&member, limits, &mut draw);
        what_decodes_is_what_others_find(&member);
    }
}

/// Any limits on blocks; that of the whole object bounds the time of a run.
fn limits(draw: &mut Draw) -> DecodeLimits {
    let sizes = [0, 1, 3, 100, 4096, 64 << 20];
    DecodeLimits {
        object_bytes: draw.one_of(&[100, 5_000, OBJECT_BYTES, OBJECT_BYTES, OBJECT_BYTES]),
        whole_bytes: draw.one_of(&sizes),
        block_bytes: draw.one_of(&sizes),
        stop_after: draw.one_of(&[None, None, None, Some(0), Some(10), Some(1_000)]),
    }
}

pub fn memory_and_stream_agree(bytes: &[u8], limits: DecodeLimits, draw: &mut Draw) {
    let (content, error, encodings) = decode(Input::Whole(bytes.to_vec()), limits);
    for piece in [1 + draw.below(20), 1 + draw.below(2_000)] {
        let reader = Pieces { bytes: bytes.to_vec(), at: 0, piece };
        let streamed = decode(Input::Stream(Box::new(reader)), limits);
        let whole = (content.len(), format!("{error:?}"), &encodings);
        assert_eq!(whole, (streamed.0.len(), format!("{:?}", streamed.1), &streamed.2));
        assert!(content == streamed.0, "the content differs");
    }
}

/// Gives its bytes in pieces of at most `piece` bytes.
struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    piece: usize,
}

impl Read for Pieces {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = (self.bytes.len() - self.at).min(buf.len()).min(self.piece);
        buf[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Decodes to the end; checks the order of calls and what is held on the way.
fn decode(input: Input, limits: DecodeLimits) -> (Vec<u8>, Option<DecodeError>, Vec<Encoding>) {
    let mut decoder = Decoder::new(input, limits);
    let (mut content, mut error, mut block) = (Vec::new(), None, Vec::new());
    loop {
        block.clear();
        match decoder.next_block(&mut block) {
            Ok(Step::More) => {
                assert!(error.is_none() && !block.is_empty());
                // A plain body in memory is handed on in one piece, and costs nothing.
                let held = limits.block_bytes.max(1) + limits.whole_bytes + STEP_BYTES;
                assert!(decoder.encodings().is_empty() || block.len() <= held);
                content.extend_from_slice(&block);
            }
            Ok(Step::End) => break,
            Err(found) => assert!(error.replace(found).is_none(), "there is one error at most"),
        }
        assert!(block.len() as u64 <= limits.object_bytes);
        assert_eq!(decoder.decoded_bytes(), content.len() as u64);
    }
    assert!(matches!(decoder.next_block(&mut block), Ok(Step::End)), "the end is the end");
    assert!(content.len() as u64 <= limits.stop_after.unwrap_or(u64::MAX).min(limits.object_bytes));
    if let Some(DecodeError::Contradicted { good_bytes, .. }) = &error {
        assert!(*good_bytes <= content.len() as u64);
    }
    (content, error, decoder.encodings().to_vec())
}

/// Against flate2, snap and the zstd library themselves, where the object is one layer.
pub fn what_decodes_is_what_others_find(bytes: &[u8]) {
    let limits = DecodeLimits { object_bytes: OBJECT_BYTES, ..DecodeLimits::default() };
    let (content, error, encodings) = decode(Input::Whole(bytes.to_vec()), limits);
    match (Encoding::of(bytes), &encodings[..]) {
        (Encoding::Plain, layers) => {
            assert!(layers.is_empty() && error.is_none() && content == bytes);
        }
        (Encoding::Gzip, [Encoding::Gzip]) => {
            let theirs = all_of(flate2::read::MultiGzDecoder::new(bytes));
            assert_agree(&content, error, theirs);
        }
        (Encoding::Zstd, [Encoding::Zstd]) => {
            let theirs = zstd::stream::read::Decoder::new(bytes).and_then(all_of);
            assert_agree(&content, error, theirs);
        }
        (Encoding::SnappyFramed, [Encoding::SnappyFramed]) => {
            assert_agree(&content, error, all_of(snap::read::FrameDecoder::new(bytes)));
        }
        (Encoding::SnappyRaw, [Encoding::SnappyRaw]) => {
            let theirs = snap::raw::Decoder::new().decompress_vec(bytes).map_err(io::Error::other);
            assert_agree(&content, error, theirs);
        }
        // More layers: what is inside of them is for the law about memory and streams.
        (outermost, layers) => assert_eq!(layers.first(), Some(&outermost)),
    }
}

/// Where both read to the end, both found the same. Where one didn't, the other may be kinder: only
/// rawcat refuses a length that is met by accident, and only flate2 forgives a checksum of a header.
fn assert_agree(content: &[u8], error: Option<DecodeError>, theirs: io::Result<Vec<u8>>) {
    if let (None, Ok(theirs)) = (error, theirs) {
        assert!(content == theirs, "{} bytes, and others find {}", content.len(), theirs.len());
    }
}

fn all_of(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    reader.take(OBJECT_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > OBJECT_BYTES {
        return Err(io::Error::other("too large"));
    }
    Ok(content)
}

/// A gzip member around compressed data, with the checksum and the length of what it decodes to.
pub fn as_gzip_member(compressed: &[u8]) -> Option<Vec<u8>> {
    let mut room = vec![0; 64 << 10];
    let len = libdeflater::Decompressor::new().deflate_decompress(compressed, &mut room).ok()?;
    let content = &room[..len];
    let mut crc = libdeflater::Crc::new();
    crc.update(content);
    // What zlib finds behind the end of the data is cut off; where it finds no end, all is kept.
    let mut zlib = flate2::bufread::DeflateDecoder::new(compressed);
    let end = match zlib.read_to_end(&mut Vec::new()) {
        Ok(_) => zlib.total_in() as usize,
        Err(_) => compressed.len(),
    };
    // No name, no time.
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    member.extend_from_slice(&compressed[..end]);
    member.extend_from_slice(&crc.sum().to_le_bytes());
    member.extend_from_slice(&(len as u32).to_le_bytes());
    Some(member)
}
