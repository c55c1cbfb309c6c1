//! Laws of the whole room, on generated input: whatever the encoder, the members, the layers, the
//! pieces it is read in and the limits, the same content comes out, or an error that says so.

use std::io::{self, Read, Write};

use proptest::prelude::*;

use super::*;

/// Gives its bytes in pieces of at most `piece` bytes, then fails or ends.
struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    piece: usize,
    fails: bool,
}

impl Read for Pieces {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.bytes.len() - self.at;
        if left == 0 && self.fails {
            return Err(io::Error::other("the line is dead"));
        }
        let count = left.min(buf.len()).min(self.piece);
        buf[..count].copy_from_slice(&self.bytes[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

fn stream(bytes: &[u8], piece: usize) -> Input {
    Input::Stream(Box::new(Pieces { bytes: bytes.to_vec(), at: 0, piece, fails: false }))
}

fn whole(bytes: &[u8]) -> Input {
    Input::Whole(bytes.to_vec())
}

/// Decodes to the end, and checks the order of calls on the way.
fn decode(input: Input, limits: DecodeLimits) -> (Vec<u8>, Option<DecodeError>) {
    let front = b"left over".to_vec();
    let mut buf = front.clone();
    let mut error = None;
    let mut decoder = Decoder::new(input, limits);
    loop {
        let before = buf.len();
        match decoder.next_block(&mut buf) {
            Ok(Step::More) => {
                assert!(buf.len() > before, "a block is never empty");
                assert!(error.is_none(), "nothing comes after an error");
            }
            Ok(Step::End) => {
                assert_eq!(buf.len(), before);
                break;
            }
            Err(found) => {
                assert_eq!(buf.len(), before, "an error appends nothing");
                assert!(error.replace(found).is_none(), "there is one error at most");
            }
        }
    }
    assert!(matches!(decoder.next_block(&mut buf), Ok(Step::End)), "the end is the end");
    assert_eq!(decoder.decoded_bytes(), (buf.len() - front.len()) as u64);
    let content = buf.split_off(front.len());
    assert_eq!(buf, front, "what the caller left is untouched");
    (content, error)
}

/// The content that may be used: what the error calls good.
fn usable(input: Input, limits: DecodeLimits) -> (Vec<u8>, Option<DecodeError>) {
    let (mut content, error) = decode(input, limits);
    if let Some(DecodeError::Contradicted { good_bytes, .. }) = &error {
        assert!(*good_bytes <= content.len() as u64);
        content.truncate(*good_bytes as usize);
    }
    (content, error)
}

fn tiny_limits(whole_bytes: usize, block_bytes: usize) -> DecodeLimits {
    DecodeLimits { whole_bytes, block_bytes, ..DecodeLimits::default() }
}

#[derive(Debug, Clone, Copy)]
enum Encoder {
    /// flate2, at a level; 0 stores.
    Flate(u32),
    Libdeflate(i32),
    Zstd {
        level: i32,
        checksum: bool,
        declare: bool,
    },
    ZstdSkippable,
    Zip(super::zip::tests::Written),
    /// Blocks of so many bytes of content.
    SnappyJava(usize),
    SnappyHadoop(usize),
    SnappyFramed,
    SnappyRaw,
}

impl Encoder {
    fn member(self, content: &[u8]) -> Vec<u8> {
        match self {
            Encoder::Flate(level) => {
                let level = flate2::Compression::new(level);
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Encoder::Libdeflate(level) => {
                let level = libdeflater::CompressionLvl::new(level).unwrap();
                let mut compressor = libdeflater::Compressor::new(level);
                let mut out = vec![0; compressor.gzip_compress_bound(content.len())];
                let len = compressor.gzip_compress(content, &mut out).unwrap();
                out.truncate(len);
                out
            }
            Encoder::Zstd { level, checksum, declare } => {
                let mut encoder = ::zstd::stream::Encoder::new(Vec::new(), level).unwrap();
                encoder.include_checksum(checksum).unwrap();
                if declare {
                    encoder.set_pledged_src_size(Some(content.len() as u64)).unwrap();
                }
                encoder.write_all(content).unwrap();
                encoder.finish().unwrap()
            }
            Encoder::ZstdSkippable => {
                let mut frame = vec![0x5a, 0x2a, 0x4d, 0x18];
                frame.extend((content.len() as u32).to_le_bytes());
                frame.extend(content);
                frame
            }
            Encoder::Zip(written) => super::zip::tests::archive(written, &[content]),
            Encoder::SnappyJava(block) => {
                let mut stream = [&snappy::JAVA_MAGIC[..], &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
                for part in content.chunks(block) {
                    let encoded = snappy_block(part);
                    stream.extend((encoded.len() as u32).to_be_bytes());
                    stream.extend(encoded);
                }
                stream
            }
            Encoder::SnappyHadoop(block) => {
                let mut stream = Vec::new();
                // Each block in two chunks, where it is long enough.
                for part in content.chunks(block) {
                    stream.extend((part.len() as u32).to_be_bytes());
                    for chunk in part.chunks(part.len().div_ceil(2)) {
                        let encoded = snappy_block(chunk);
                        stream.extend((encoded.len() as u32).to_be_bytes());
                        stream.extend(encoded);
                    }
                }
                stream
            }
            Encoder::SnappyFramed => {
                let mut encoder = snap::write::FrameEncoder::new(snappy::FRAMED_MAGIC.to_vec());
                encoder.write_all(content).unwrap();
                encoder.into_inner().unwrap()
            }
            Encoder::SnappyRaw => snappy_block(content),
        }
    }
}

fn snappy_block(content: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(content).unwrap()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    Encoder::Flate(6).member(content)
}

fn zstd_frame(content: &[u8]) -> Vec<u8> {
    Encoder::Zstd { level: 3, checksum: true, declare: false }.member(content)
}

fn zip_archive(content: &[u8]) -> Vec<u8> {
    let written = super::zip::tests::Written { deflated: true, behind: true, ..Default::default() };
    Encoder::Zip(written).member(content)
}

fn snappy_java(content: &[u8]) -> Vec<u8> {
    Encoder::SnappyJava(1 << 15).member(content)
}

fn snappy_hadoop(content: &[u8]) -> Vec<u8> {
    Encoder::SnappyHadoop(1 << 18).member(content)
}

fn snappy_framed(content: &[u8]) -> Vec<u8> {
    Encoder::SnappyFramed.member(content)
}

fn json(records: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for n in 0..records {
        write!(text, r#"{{"n":{n},"os":"ios","value":"{}"}}"#, n * 7919 % 1000).unwrap();
    }
    text
}

fn gzip_encoder() -> impl Strategy<Value = Encoder> {
    prop_oneof![(0..10u32).prop_map(Encoder::Flate), (0..13i32).prop_map(Encoder::Libdeflate)]
}

fn zstd_encoder() -> impl Strategy<Value = Encoder> {
    (1..12i32, any::<bool>(), any::<bool>()).prop_map(|(level, checksum, declare)| Encoder::Zstd {
        level,
        checksum,
        declare,
    })
}

/// Content of one member: records, runs, noise, and bytes that look like headers and trailers.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let hostile = prop::sample::select(vec![
        vec![0x1f, 0x8b, 8, 0],
        vec![0x28, 0xb5, 0x2f, 0xfd],
        vec![0; 9],
        vec![4, 0, 0, 0],
        vec![],
    ]);
    prop_oneof![
        (0..300usize).prop_map(json),
        (any::<u8>(), 0..5000usize).prop_map(|(byte, len)| vec![byte; len]),
        prop::collection::vec(any::<u8>(), 0..400),
        prop::collection::vec(hostile, 0..6).prop_map(|parts| parts.concat()),
    ]
}

/// Members of one encoding, and what they decode to.
fn members() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let zstd = prop::collection::vec((zstd_encoder(), content()), 1..6);
    let zstd = (zstd, prop::option::of(content())).prop_map(|(members, skipped)| {
        let (mut encoded, plain) = concat(members);
        if let Some(skipped) = skipped {
            encoded.splice(0..0, Encoder::ZstdSkippable.member(&skipped));
        }
        (encoded, plain)
    });
    // Otherwise the content is one more layer: another test.
    prop_oneof![gzip_members(), zstd, marked_members(), unmarked()]
        .prop_filter("plain", |(_, plain)| Encoding::of(plain) == Encoding::Plain)
}

fn gzip_members() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    prop::collection::vec((gzip_encoder(), content()), 1..6)
        .prop_map(concat)
        .prop_filter("plain", |(_, plain)| Encoding::of(plain) == Encoding::Plain)
}

/// ZIP and the forms of Snappy that have a magic number.
fn marked_members() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let java = (1..3000usize).prop_map(Encoder::SnappyJava);
    let of = |encoder: BoxedStrategy<Encoder>| {
        prop::collection::vec((encoder, content()), 1..4).prop_map(concat)
    };
    prop_oneof![
        of(zip_encoder().boxed()),
        of(java.boxed()),
        of(Just(Encoder::SnappyFramed).boxed())
    ]
    .prop_filter("plain", |(_, plain)| Encoding::of(plain) == Encoding::Plain)
}

fn marked_with_checksums() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let encoder = prop_oneof![zip_encoder(), Just(Encoder::SnappyFramed)];
    (encoder, content())
        .prop_map(|member| concat(vec![member]))
        .prop_filter("plain", |(_, plain)| Encoding::of(plain) == Encoding::Plain)
}

fn zip_encoder() -> impl Strategy<Value = Encoder> {
    (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(deflated, behind, unsigned, long)| {
            // Nothing tells where stored data ends that has no signature behind it.
            let unsigned = unsigned && deflated;
            Encoder::Zip(super::zip::tests::Written { deflated, behind, unsigned, long, flags: 0 })
        },
    )
}

/// The forms of Snappy without a magic number. They are known by their content, and the raw one has
/// no second member; where a few bytes of it are text, it is left alone.
fn unmarked() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let encoder = prop_oneof![
        (1..3000usize).prop_map(|block| Encoder::SnappyHadoop(block + 8)),
        Just(Encoder::SnappyRaw)
    ];
    (encoder, 1..500usize)
        .prop_map(|(encoder, records)| {
            let plain = json(records);
            (encoder.member(&plain), plain)
        })
        .prop_filter("no text", |(encoded, _)| Encoding::of(encoded) != Encoding::Plain)
}

fn concat(members: Vec<(Encoder, Vec<u8>)>) -> (Vec<u8>, Vec<u8>) {
    let encoded = members.iter().flat_map(|(encoder, content)| encoder.member(content));
    (encoded.collect(), members.iter().flat_map(|(_, content)| content.clone()).collect())
}

fn limits() -> impl Strategy<Value = DecodeLimits> {
    let size = || prop::sample::select(vec![0, 1, 3, 100, 4096, 64 << 20]);
    (size(), size()).prop_map(|(whole, block)| tiny_limits(whole, block))
}

fn input(bytes: &[u8], piece: Option<usize>) -> Input {
    piece.map_or_else(|| whole(bytes), |piece| stream(bytes, piece))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_members_give_their_content(
        (encoded, plain) in members(),
        limits in limits(),
        piece in prop::option::of(1..2000usize),
    ) {
        let (content, error) = decode(input(&encoded, piece), limits);
        prop_assert!(error.is_none(), "{error:?}");
        prop_assert!(content == plain);
    }

    #[test]
    fn any_plain_bytes_come_out_as_they_are(
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
        limits in limits(),
        piece in prop::option::of(1..2000usize),
    ) {
        prop_assume!(Encoding::of(&bytes) == Encoding::Plain);
        let (content, error) = decode(input(&bytes, piece), limits);
        prop_assert!(error.is_none());
        prop_assert!(content == bytes);
    }

    #[test]
    fn layers_nest(
        (encoded, plain) in members(),
        outer in prop::collection::vec((0..5usize, 1..200usize), 0..=2),
        limits in limits(),
        piece in prop::option::of(1..2000usize),
    ) {
        let mut bytes = encoded;
        for (encoder, part) in &outer {
            // Members of the outer layer end anywhere in the inner one.
            let encode = [gzip, zstd_frame, zip_archive, snappy_java, snappy_framed][*encoder];
            bytes = bytes.chunks(bytes.len().div_ceil(8).max(*part)).flat_map(encode).collect();
        }
        let (content, error) = decode(input(&bytes, piece), limits);
        prop_assert!(error.is_none(), "{error:?}");
        prop_assert!(content == plain);
    }

    #[test]
    fn a_stop_gives_exactly_that_much(
        (encoded, plain) in members(),
        limits in limits(),
        piece in prop::option::of(1..2000usize),
        stop in 0..4000u64,
    ) {
        let limits = DecodeLimits { stop_after: Some(stop), ..limits };
        let (content, error) = decode(input(&encoded, piece), limits);
        prop_assert!(error.is_none());
        prop_assert_eq!(content, &plain[..plain.len().min(stop as usize)]);
    }

    #[test]
    fn a_limit_holds_to_the_byte(
        (encoded, plain) in members(),
        limits in limits(),
        piece in prop::option::of(1..2000usize),
        object_bytes in 0..4000u64,
    ) {
        let limits = DecodeLimits { object_bytes, ..limits };
        let (content, error) = decode(input(&encoded, piece), limits);
        prop_assert!(plain.starts_with(&content));
        if plain.len() as u64 > object_bytes {
            prop_assert!(matches!(error, Some(DecodeError::TooLarge { .. })), "{error:?}");
        } else {
            prop_assert!(error.is_none() && content == plain);
        }
    }

    #[test]
    fn any_cut_gives_a_part_of_the_content(
        (encoded, plain) in members(),
        limits in limits(),
        piece in prop::option::of(1..2000usize),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = &encoded[..cut.index(encoded.len())];
        prop_assume!(Encoding::of(bytes) != Encoding::Plain);
        let (content, error) = usable(input(bytes, piece), limits);
        prop_assert!(plain.starts_with(&content));
        prop_assert!(error.is_some() || content.len() < plain.len() || cut_of_nothing(&encoded, bytes.len()));
    }

    #[test]
    fn any_change_is_noticed(
        (encoded, plain) in prop_oneof![gzip_members(), marked_with_checksums()],
        limits in limits(),
        piece in prop::option::of(1..2000usize),
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
    ) {
        let at = at.index(encoded.len());
        let mut bytes = encoded;
        bytes[at] ^= 1 << bit;
        // Without the magic number it is another file.
        prop_assume!(Encoding::of(&bytes) != Encoding::Plain);
        let (content, error) = usable(input(&bytes, piece), limits);
        prop_assert!(error.is_some() || content == plain, "byte {at}");
    }

    #[test]
    fn memory_and_stream_agree(
        (encoded, _) in members(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        tail in prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..20),
        limits in limits(),
        piece in 1..2000usize,
    ) {
        let mut bytes = encoded;
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.extend(tail);
        let (content, error) = decode(whole(&bytes), limits);
        let (content_of_stream, error_of_stream) = decode(stream(&bytes, piece), limits);
        prop_assert!(content == content_of_stream);
        prop_assert_eq!(format!("{error:?}"), format!("{error_of_stream:?}"));
    }

    #[test]
    fn garbage_never_panics(
        magic in prop::sample::select(vec![
            vec![0x1f, 0x8b, 8], vec![0x28, 0xb5, 0x2f, 0xfd], vec![0x51, 0x2a, 0x4d, 0x18],
            zip::MAGIC.to_vec(), snappy::JAVA_MAGIC.to_vec(), snappy::FRAMED_MAGIC.to_vec(),
            // The front of a raw block, and of one of Hadoop's.
            vec![0xff, 1, 3 << 2, b'{', b'"', b'a', b'"'],
            vec![0, 0, 1, 0, 0, 0, 0, 200, 0x80, 2, 3 << 2, b'{', b'"', b'a', b'"'],
        ]),
        wrap in any::<bool>(),
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        limits in limits(),
        piece in prop::option::of(1..700usize),
    ) {
        let bytes = [magic, bytes].concat();
        let bytes = if wrap { gzip(&bytes) } else { bytes };
        decode(input(&bytes, piece), limits);
    }
}

/// Whether what was cut off held no content: empty members at the end.
fn cut_of_nothing(encoded: &[u8], cut: usize) -> bool {
    let (rest, _) = decode(whole(&encoded[cut..]), DecodeLimits::default());
    Encoding::of(&encoded[cut..]) != Encoding::Plain && rest.is_empty()
}

fn kind(error: &Option<DecodeError>) -> &'static str {
    match error {
        None => "complete",
        Some(DecodeError::Truncated { .. }) => "truncated",
        Some(DecodeError::Contradicted { .. }) => "contradicted",
        Some(DecodeError::TrailingGarbage { .. }) => "garbage",
        Some(DecodeError::Padding { .. }) => "padding",
        Some(DecodeError::TooLarge { .. }) => "too large",
        Some(DecodeError::TooDeep { .. }) => "too deep",
        Some(DecodeError::TooManyMembers { .. }) => "too many members",
        Some(DecodeError::Unsupported { .. }) => "unsupported",
        Some(DecodeError::Read { .. }) => "read",
    }
}

#[test]
fn every_cut_of_a_small_object_is_truncated_or_ends_between_members() {
    for encode in [gzip, zstd_frame] {
        let parts = [json(9), json(40), Vec::new(), json(3)];
        let members: Vec<Vec<u8>> = parts.iter().map(|part| encode(part)).collect();
        let (encoded, plain) = (members.concat(), parts.concat());
        for cut in 4..=encoded.len() {
            let mut ends = members.iter().zip(&parts).scan((0, 0), |at, (member, part)| {
                *at = (at.0 + member.len(), at.1 + part.len());
                Some(*at)
            });
            let between = ends.clone().any(|(end, _)| end == cut);
            let complete = ends.by_ref().filter(|(end, _)| *end <= cut).map(|(_, len)| len).max();
            for bytes in [whole(&encoded[..cut]), stream(&encoded[..cut], 7)] {
                let (content, error) = decode(bytes, tiny_limits(1 << 20, 100));
                assert_eq!(
                    kind(&error),
                    if between { "complete" } else { "truncated" },
                    "{cut} {error:?}"
                );
                assert!(plain.starts_with(&content));
                assert!(content.len() >= complete.unwrap_or(0), "whole members are kept");
            }
        }
    }
}

#[test]
fn a_cut_inside_a_member_keeps_what_came_before_it() {
    let encoders = [gzip, zstd_frame, zip_archive, snappy_java, snappy_hadoop, snappy_framed];
    for encode in encoders.into_iter().chain([snappy_block as fn(&[u8]) -> Vec<u8>]) {
        let plain = json(100_000);
        let encoded = encode(&plain);
        let (content, error) =
            decode(whole(&encoded[..encoded.len() / 2]), DecodeLimits::default());
        assert_eq!(kind(&error), "truncated");
        assert!(plain.starts_with(&content) && content.len() > plain.len() / 3);
    }
}

#[test]
fn every_flipped_bit_is_noticed_or_changes_nothing() {
    for encode in [gzip, zstd_frame] {
        let plain = [json(9), json(30), json(2)].concat();
        let encoded = [encode(&json(9)), encode(&json(30)), encode(&json(2))].concat();
        let ends = [0, encode(&json(9)).len(), encoded.len() - encode(&json(2)).len()];
        let descriptors =
            if encoded.starts_with(&zstd::MAGIC) { ends.map(|end| end + 4) } else { [0; 3] };
        // Without the magic number it is another file.
        for bit in 4 * 8..encoded.len() * 8 {
            let mut bytes = encoded.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            for limits in [DecodeLimits::default(), tiny_limits(50, 10)] {
                for input in [whole(&bytes), stream(&bytes, 5)] {
                    let (content, error) = usable(input, limits);
                    assert!(error.is_some() || content == plain, "bit {bit}");
                    // A zstd header has no checksum: a cut frame with a wrong one can't be told.
                    let blind = kind(&error) == "truncated" && descriptors.contains(&(bit / 8));
                    assert!(plain.starts_with(&content) || blind, "bit {bit}: {error:?}");
                }
            }
        }
    }
}

#[test]
fn a_large_member_that_is_damaged_can_be_given_again_up_to_the_good_part() {
    for encode in [gzip, zstd_frame] {
        let (good, large) = (json(50), json(20_000));
        let mut bytes = [encode(&good), encode(&large)].concat();
        let end = bytes.len();
        bytes[end - 6] ^= 1;
        bytes.extend(encode(&json(1)));
        let limits = tiny_limits(5000, 1000);
        let (content, error) = decode(whole(&bytes), limits);
        let Some(DecodeError::Contradicted { good_bytes, .. }) = error else { panic!("{error:?}") };
        assert_eq!(good_bytes, good.len() as u64);
        assert!(content.len() > good.len() + 5000, "the large member was given in blocks");

        let again = DecodeLimits { stop_after: Some(good_bytes), ..limits };
        let (content, error) = decode(whole(&bytes), again);
        assert!(error.is_none());
        assert_eq!(content, good);

        // Small enough to be held, it is not given at all.
        let (content, error) = decode(whole(&bytes), DecodeLimits::default());
        assert_eq!(kind(&error), "contradicted");
        assert_eq!(content, good);
    }
}

#[test]
fn a_damaged_outer_layer_takes_back_what_came_through_it() {
    let first: Vec<u8> = (0..40).flat_map(|n| gzip(&json(n))).collect();
    let second: Vec<u8> = (0..400).flat_map(|n| gzip(&json(n))).collect();
    let good: Vec<u8> = (0..40).flat_map(json).collect();
    for outer in [gzip, zstd_frame] {
        let mut bytes = [outer(&first), outer(&second)].concat();
        let end = bytes.len();
        bytes[end - 2] ^= 1;
        let (content, error) = decode(whole(&bytes), tiny_limits(1000, 100));
        let Some(DecodeError::Contradicted { good_bytes, place, .. }) = error else { panic!() };
        assert_eq!((good_bytes, place.layer, place.member), (good.len() as u64, 1, 2));
        assert!(content.len() > good.len());
        assert!(content.starts_with(&good));
    }
}

#[test]
fn a_damaged_inner_member_leaves_those_before_it_good() {
    let mut inner: Vec<u8> = (1..400).flat_map(|n| gzip(&json(n))).collect();
    let good: Vec<u8> = (1..300).flat_map(json).collect();
    let at: usize = (1..301).map(|n| gzip(&json(n)).len()).sum();
    inner[at - 5] ^= 1;
    for limits in [DecodeLimits::default(), tiny_limits(1000, 100)] {
        let (content, error) = usable(whole(&gzip(&inner)), limits);
        assert_eq!(kind(&error), "contradicted");
        assert_eq!(content, good);
    }
}

#[test]
fn a_cut_outer_layer_cuts_the_inner_one() {
    let plain = json(50_000);
    let bytes = gzip(&zstd_frame(&plain[..1000]));
    let (content, error) = decode(whole(&bytes[..bytes.len() - 1]), DecodeLimits::default());
    assert_eq!((kind(&error), content.as_slice()), ("truncated", &plain[..1000]));
    let bytes = gzip(&gzip(&plain));
    let (content, error) = decode(whole(&bytes[..bytes.len() / 2]), DecodeLimits::default());
    assert!(matches!(error, Some(DecodeError::Truncated { place: Place { layer: 1, .. } })));
    assert!(plain.starts_with(&content) && content.len() > plain.len() / 3);
}

#[test]
fn what_follows_the_last_member_is_named_and_the_members_are_given() {
    let plain = json(20);
    for (encode, encoding) in
        [(gzip as fn(&[u8]) -> Vec<u8>, Encoding::Gzip), (zstd_frame, Encoding::Zstd)]
    {
        let member = encode(&plain);
        for tail in [&b"{\"a\":1}"[..], &[0; 700], b"\0\0\x01", b"\n", &[0x1f, 0x8b, 7, 0]] {
            let bytes = [&member, &member, tail].concat();
            for input in [whole(&bytes), stream(&bytes, 3)] {
                let (content, error) = decode(input, DecodeLimits::default());
                assert_eq!(content, [&plain[..], &plain].concat());
                let at = 2 * member.len() as u64;
                let zero = tail.iter().all(|&byte| byte == 0);
                assert_eq!(kind(&error), if zero { "padding" } else { "garbage" });
                match error {
                    Some(
                        DecodeError::TrailingGarbage { layer, encoding: found, offset, bytes }
                        | DecodeError::Padding { layer, encoding: found, offset, bytes },
                    ) => assert_eq!(
                        (layer, found, offset, bytes),
                        (1, encoding, at, tail.len() as u64)
                    ),
                    other => panic!("{other:?}"),
                }
            }
        }
        let (content, error) =
            decode(whole(&gzip(&[&member[..], b"tail"].concat())), DecodeLimits::default());
        assert_eq!(content, plain);
        assert!(matches!(error, Some(DecodeError::TrailingGarbage { layer: 2, bytes: 4, .. })));
    }
}

#[test]
fn encodings_are_told_apart() {
    let text = json(100);
    for (encode, expected) in [
        (gzip as fn(&[u8]) -> Vec<u8>, Encoding::Gzip),
        (zstd_frame, Encoding::Zstd),
        (zip_archive, Encoding::Zip),
        (snappy_java, Encoding::SnappyJava),
        (snappy_hadoop, Encoding::SnappyHadoop),
        (snappy_framed, Encoding::SnappyFramed),
        (snappy_block, Encoding::SnappyRaw),
    ] {
        // Alone, and inside of others. Two layers without a magic number are beyond guessing.
        let mut objects = vec![encode(&text), snappy_java(&encode(&text)), gzip(&encode(&text))];
        if !matches!(expected, Encoding::SnappyHadoop | Encoding::SnappyRaw) {
            objects.push(snappy_block(&encode(&text)));
            objects.push(snappy_hadoop(&encode(&text)));
        }
        for bytes in objects {
            let mut decoder = Decoder::new(whole(&bytes), DecodeLimits::default());
            let mut content = Vec::new();
            while decoder.next_block(&mut content).unwrap() == Step::More {}
            assert!(content == text, "{expected}");
            assert_eq!(decoder.encodings().last(), Some(&expected));
        }
    }
}

#[test]
fn a_fourth_layer_is_an_error() {
    let three = gzip(&zstd_frame(&gzip(&json(5))));
    let mut decoder = Decoder::new(whole(&three), DecodeLimits::default());
    assert_eq!(decoder.next_block(&mut Vec::new()).unwrap(), Step::More);
    assert_eq!(decoder.encodings(), [Encoding::Gzip, Encoding::Zstd, Encoding::Gzip]);
    assert_eq!(decoder.encoding(), Encoding::Gzip);
    for four in [gzip(&three), zstd_frame(&three)] {
        let (content, error) = decode(whole(&four), DecodeLimits::default());
        assert_eq!((kind(&error), content.len()), ("too deep", 0));
    }
}

#[test]
fn a_plain_body_is_moved_and_not_copied() {
    let body = json(1000);
    let at = body.as_ptr();
    let mut buf = Vec::with_capacity(10);
    let mut decoder = Decoder::new(Input::Whole(body), tiny_limits(10, 10));
    assert_eq!(decoder.next_block(&mut buf).unwrap(), Step::More);
    assert_eq!(buf.as_ptr(), at);
    assert_eq!(decoder.encoding(), Encoding::Plain);
}

#[test]
fn an_empty_object_and_an_empty_member_have_no_content() {
    for bytes in [Vec::new(), gzip(b""), zstd_frame(b""), Encoder::ZstdSkippable.member(b"x")] {
        for input in [whole(&bytes), stream(&bytes, 1)] {
            let (content, error) = decode(input, DecodeLimits::default());
            assert!(content.is_empty() && error.is_none());
        }
    }
}

#[test]
fn a_failing_reader_drops_the_member_it_broke() {
    let (one, two) = (json(20), json(30));
    for encode in [gzip, zstd_frame, |content: &[u8]| content.to_vec()] {
        let mut bytes = [encode(&one), encode(&two)].concat();
        bytes.pop();
        let plain = encode(&one) == one;
        let len = bytes.len() as u64;
        let reader = Pieces { bytes, at: 0, piece: 11, fails: true };
        let (content, error) = decode(Input::Stream(Box::new(reader)), DecodeLimits::default());
        assert!(matches!(error, Some(DecodeError::Read { offset, .. }) if offset == len));
        let expected = if plain { one.len() + two.len() - 1 } else { one.len() };
        assert_eq!(content.len(), expected);
    }
}

#[test]
fn a_lie_about_the_length_costs_no_memory() {
    // A member of a few bytes that declares 4 GiB, alone and before others.
    let mut liar = gzip(&json(2));
    let end = liar.len();
    liar[end - 4..].fill(0xff);
    for bytes in [liar.clone(), [liar, gzip(&json(2))].concat()] {
        let mut buf = Vec::new();
        let mut decoder = Decoder::new(whole(&bytes), DecodeLimits::default());
        assert_eq!(kind(&decoder.next_block(&mut buf).err()), "contradicted");
        assert!(buf.capacity() < 1 << 20, "{}", buf.capacity());
    }
    // Blocks of Snappy that declare 128 MiB, in each form, and a ZIP entry of 1 GiB of stored bytes.
    let block = [&[0x80, 0x80, 0x80, 0x40, 11 << 2][..], br#"{"a":1,"b":"#].concat();
    let len = (block.len() as u32).to_be_bytes();
    let large = (128u32 << 20).to_be_bytes();
    let java = [&snappy_java(b"")[..], &len, &block].concat();
    let chunk = snappy_block(br#"{"a":1,"b":"#);
    let hadoop = [&large[..], &(chunk.len() as u32).to_be_bytes(), &chunk].concat();
    let mut framed = [&snappy_framed(b"")[..], &[0, block.len() as u8 + 4, 0, 0], &[0; 4]].concat();
    framed.extend(&block);
    let mut zip = zip_archive(&json(2));
    zip[6..30].fill(0);
    zip[21] = 0x40;
    zip[25] = 0x40;
    for (bytes, expected) in [
        (java, "contradicted"),
        (hadoop, "truncated"),
        (framed, "contradicted"),
        (block, "truncated"),
        (zip, "truncated"),
    ] {
        let mut buf = Vec::new();
        let mut decoder = Decoder::new(whole(&bytes), DecodeLimits::default());
        let mut step = decoder.next_block(&mut buf);
        if step.is_ok() {
            step = decoder.next_block(&mut buf);
        }
        assert_eq!(kind(&step.err()), expected, "{:?}", decoder.encodings());
        assert!(buf.capacity() < 1 << 20, "{}", buf.capacity());
    }
    // A zstd frame header that declares 2^40 bytes within a window of 64 MiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0xc0, 16 << 3];
    frame.extend((1u64 << 40).to_le_bytes());
    frame.extend([0x01, 0x00, 0x00]);
    let mut buf = Vec::new();
    let mut decoder = Decoder::new(whole(&frame), DecodeLimits::default());
    assert!(decoder.next_block(&mut buf).is_err());
    assert!(buf.capacity() < 1 << 20, "{}", buf.capacity());
}

/// Zeros that decode to `mebibytes`, as members of 1 MiB, in two more layers of gzip.
fn bomb(mebibytes: usize) -> Vec<u8> {
    gzip(&gzip(&gzip(&vec![0; 1 << 20]).repeat(mebibytes)))
}

#[test]
fn a_bomb_stops_at_the_limit_and_is_never_held() {
    let limits = DecodeLimits {
        object_bytes: 40 << 20,
        whole_bytes: 2 << 20,
        block_bytes: 1 << 20,
        stop_after: None,
    };
    let one_member = gzip(&vec![0; 64 << 20]);
    let zeros = vec![0; 64 << 20];
    for bytes in [
        bomb(64),
        one_member.clone(),
        gzip(&one_member),
        zstd_frame(&zeros),
        zip_archive(&zeros),
        Encoder::SnappyJava(64 << 20).member(&zeros),
        snappy_framed(&zeros),
    ] {
        let mut decoder = Decoder::new(Input::Whole(bytes), limits);
        let mut buf = Vec::new();
        let error = loop {
            buf.clear();
            match decoder.next_block(&mut buf) {
                Ok(Step::More) => assert!(buf.capacity() <= 4 << 20, "{}", buf.capacity()),
                Ok(Step::End) => panic!("the limit was not noticed"),
                Err(error) => break error,
            }
        };
        assert!(
            matches!(error, DecodeError::TooLarge { limit_bytes, .. } if limit_bytes == 40 << 20)
        );
        assert!(decoder.decoded_bytes() <= 40 << 20);
    }
}

#[test]
fn a_frame_that_needs_too_much_is_refused() {
    // A window of 4 GiB; a dictionary; a block of 128 MiB and one byte.
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 22 << 3, 0x01, 0x00, 0x00];
    let dictionary = [0x28, 0xb5, 0x2f, 0xfd, 0x01, 0x00, 7, 0x01, 0x00, 0x00];
    let mut block = snappy_java(b"");
    block.extend([0, 0, 0, 6, 0x81, 0x80, 0x80, 0x40, 0, b'{']);
    for bytes in [&window[..], &dictionary, &block] {
        let (content, error) = decode(whole(bytes), DecodeLimits::default());
        assert_eq!((kind(&error), content.len()), ("unsupported", 0));
    }
}

#[test]
fn errors_say_where_and_what() {
    let mut bytes = [gzip(&json(20)), gzip(&json(30))].concat();
    let end = bytes.len();
    let offset = gzip(&json(20)).len();
    bytes[end - 8] ^= 1;
    let (_, error) = decode(whole(&bytes), DecodeLimits::default());
    assert_eq!(
        error.unwrap().to_string(),
        format!(
            "gzip member 2 at byte {offset} is damaged: the checksum of its content does not match; get a sound copy of the object"
        )
    );
    bytes[end - 8] ^= 1;
    bytes.truncate(end - 3);
    let (_, error) = decode(whole(&bytes), DecodeLimits::default());
    assert_eq!(
        error.unwrap().to_string(),
        format!(
            "the data is cut off inside gzip member 2 at byte {offset}; get a complete copy of the object"
        )
    );
}

#[test]
fn a_decoder_may_move_to_another_thread() {
    fn is_send<T: Send>(_: &T) {}
    is_send(&Decoder::new(whole(b""), DecodeLimits::default()));
}
