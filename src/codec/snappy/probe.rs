//! Whether bytes without a magic number are Snappy: Hadoop's form, or one raw block.
//!
//! Strict on both sides. The first block must be valid as far as it is there, and what it decodes to
//! must begin like JSON or another encoding; and what may be text is taken for Snappy only if it
//! is none. A wrong yes would lose an object, a wrong no names it as it was.

use super::super::gzip;
use super::super::zip;
use super::super::zstd;
use super::block::{self, BLOCK_BYTES_MAX, Head, encoded_bytes_max};
use super::framed::FRAMED_MAGIC;
use super::{Form, JAVA_MAGIC, length};

/// So many bytes decide.
pub(in super::super) const PROBE_BYTES: usize = 512;

/// `bytes` are the first [`PROBE_BYTES`] of an object or a layer, or all of it.
pub(in super::super) fn probe(bytes: &[u8]) -> Option<Form> {
    let first = *bytes.first()?;
    if may_begin_text(first) {
        // Only a block of less than 128 bytes begins so, and all of it is here.
        let whole = bytes.len() < PROBE_BYTES && holds_what_no_text_holds(bytes);
        return (whole && raw_end(bytes)? == Some(bytes.len())).then_some(Form::Raw);
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return None;
    }
    if is_hadoop(bytes) {
        return Some(Form::Hadoop);
    }
    // A block that ends goes to the end of the object.
    match raw_end(bytes)? {
        Some(end) if end < bytes.len() => None,
        _ => Some(Form::Raw),
    }
}

/// JSON, what separates records, and any other text of ASCII.
fn may_begin_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\r' | 0x1e | b' '..=b'~')
}

fn holds_what_no_text_holds(bytes: &[u8]) -> bool {
    let control = |byte: &u8| *byte < b' ' && !may_begin_text(*byte);
    bytes.iter().any(control) || simdutf8::basic::from_utf8(bytes).is_err()
}

/// Two lengths that agree, and a block that agrees with them.
fn is_hadoop(bytes: &[u8]) -> bool {
    let (Some(content), Some(encoded)) = (length(bytes), bytes.get(4..).and_then(length)) else {
        return false;
    };
    if content == 0 || content > BLOCK_BYTES_MAX || encoded > encoded_bytes_max(content) {
        return false;
    }
    let block = &bytes[8..];
    let fits =
        matches!(block::head(block), Head::Whole { content: of_chunk, .. } if of_chunk <= content);
    if !fits {
        return false;
    }
    let block = &block[..block.len().min(encoded)];
    let whole = block.len() == encoded;
    block::decode_front(block).is_ok_and(|front| {
        front.end == whole.then_some(encoded) && begins_like_content(&front.content)
    })
}

/// Where a raw block ends, if it does within `bytes`; the outer none when there is no such block.
fn raw_end(bytes: &[u8]) -> Option<Option<usize>> {
    match block::head(bytes) {
        Head::Whole { content, .. } if content <= BLOCK_BYTES_MAX => {}
        _ => return None,
    }
    let front = block::decode_front(bytes).ok()?;
    begins_like_content(&front.content).then_some(front.end)
}

/// JSON behind any separators, or another encoding by its magic number.
fn begins_like_content(content: &[u8]) -> bool {
    let magic: [&[u8]; 5] = [&gzip::MAGIC, &zstd::MAGIC, &zip::MAGIC, &JAVA_MAGIC, &FRAMED_MAGIC];
    if magic.iter().any(|magic| content.starts_with(magic)) {
        return true;
    }
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let is_separator = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | 0x1e);
    let mut tokens = content.iter().skip_while(|byte| is_separator(byte));
    let first = tokens.next();
    let second = tokens.find(|byte| !byte.is_ascii_whitespace());
    match first {
        Some(b'{') => matches!(second, None | Some(b'"' | b'}')),
        Some(b'[') => second.is_none_or(|byte| br#"[]{"-0123456789fnt"#.contains(byte)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(content: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(content).unwrap()
    }

    fn hadoop(content: &[u8]) -> Vec<u8> {
        let block = raw(content);
        let lengths = [(content.len() as u32).to_be_bytes(), (block.len() as u32).to_be_bytes()];
        [&lengths.concat()[..], &block].concat()
    }

    fn front(bytes: &[u8]) -> &[u8] {
        &bytes[..bytes.len().min(PROBE_BYTES)]
    }

    #[test]
    fn records_of_any_number_are_found_in_both_forms() {
        for count in 1..300 {
            let text: String = (0..count).map(|n| format!(r#"{{"n":{n},"os":"ios"}}"#)).collect();
            assert_eq!(probe(front(&hadoop(text.as_bytes()))), Some(Form::Hadoop), "{count}");
            assert_eq!(probe(front(&raw(text.as_bytes()))), Some(Form::Raw), "{count}");
        }
    }

    #[test]
    fn content_of_any_framing_and_other_encodings_are_found() {
        for begin in ["\u{feff}", "\n", " \r\n\t", ",", "\u{1e}", "[", "[\n ", "{ "] {
            let inner = if begin.ends_with(['[', ' ']) && begin.contains('{') { "" } else { "{" };
            let text = format!("{begin}{inner}\"some\":\"{}\"}}", "text ".repeat(100));
            assert_eq!(probe(front(&raw(text.as_bytes()))), Some(Form::Raw), "{begin:?}");
            assert_eq!(probe(front(&hadoop(text.as_bytes()))), Some(Form::Hadoop), "{begin:?}");
        }
        let gzip = [&gzip::MAGIC[..], &[0; 200]].concat();
        assert_eq!(probe(front(&raw(&gzip))), Some(Form::Raw));
    }

    #[test]
    fn what_decodes_to_anything_else_is_not_taken() {
        for content in
            ["a,b,c\n1,2,3\n".repeat(40), "{{".repeat(200), "[x".repeat(99), "\0".repeat(900)]
        {
            assert_eq!(probe(front(&raw(content.as_bytes()))), None, "{content}");
            assert_eq!(probe(front(&hadoop(content.as_bytes()))), None, "{content}");
        }
    }

    #[test]
    fn text_is_never_taken() {
        // Each byte that text can begin with, before what would be a sound block of that length.
        for first in (0..=0x7f).filter(|byte| may_begin_text(*byte)) {
            let text = [&[first, b' '][..], &br#"{"a":1}"#.repeat(20)].concat();
            for len in 1..text.len() {
                assert_eq!(probe(front(&text[..len])), None);
            }
        }
        // A length of 32 and the tag of a literal of 32 bytes are text, too.
        let content = br#"{"a":1,"b":"0123456789012345678"}"#;
        assert_eq!(probe(&raw(&content[..32])), None);
        assert_eq!(&raw(&content[..32])[..3], b" |{");
        assert_eq!(probe(b"\xef\xbb\xbf{\"a\":1}"), None);
        assert_eq!(probe(b""), None);
    }

    #[test]
    fn a_raw_block_with_something_behind_it_is_not_taken() {
        for count in [3, 40] {
            let content = br#"{"number":1}"#.repeat(count);
            assert_eq!(probe(&[&raw(&content)[..], b"x"].concat()), None, "{count}");
        }
    }
}
