//! Escaped strings → text. The scanner has validated the escapes already.

/// Appends the text of a string's source (between its quotes) to `out`.
///
/// Only for strings that the scanner found good: no lone surrogate, no unknown escape.
pub(super) fn unescape(source: &[u8], out: &mut Vec<u8>) {
    let mut rest = source;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let (character, length) = escaped(&rest[at..]);
        let mut buffer = [0; 4];
        out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
        rest = &rest[at + length..];
    }
    out.extend_from_slice(rest);
}

/// The character of the escape at the start of `source`, and the escape's length in bytes.
fn escaped(source: &[u8]) -> (char, usize) {
    let simple = match source[1] {
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return unicode(source),
        other => other as char,
    };
    (simple, 2)
}

fn unicode(source: &[u8]) -> (char, usize) {
    let high = unit(&source[2..6]);
    if !(0xD800..0xDC00).contains(&high) {
        return (char::from_u32(high).expect("the scanner refused lone surrogates"), 6);
    }
    let low = unit(&source[8..12]);
    let code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
    (char::from_u32(code).expect("the scanner saw a surrogate pair"), 12)
}

fn unit(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |sum, &digit| {
        sum << 4 | (digit as char).to_digit(16).expect("the scanner saw four hex digits")
    })
}
