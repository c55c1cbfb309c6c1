//! Tokens: positions in bytes go in, positions behind the token come out.
//!
//! Nothing here allocates, recurses or builds values: these functions validate strictly by
//! RFC 8259 and say where a token ends. UTF-8 is not looked at (the reader checks it for a whole
//! block at once): bytes from 0x80 up are opaque inside strings and errors outside.

use super::Reason;
use super::build::SlotKind;
use crate::schema::Kinds;

/// Why a token has no end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// The bytes end inside the token: more may come.
    End,
    Bad(Reason),
}

/// White space that is looked through where what follows decides, in bytes.
pub(super) const MAX_SPACE: usize = 64 << 10;

/// How deeply containers may nest within a record.
pub(super) const MAX_DEPTH: usize = 512;

/// The position of the first byte at or behind `at` that is no JSON white space.
#[inline(always)]
pub(super) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && is_space(bytes[at]) {
        at += 1;
    }
    at
}

#[inline(always)]
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// The bytes that interest a string scan: `"`, `\` and control characters, as a bit mask of 32.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn string_mask(chunk: &[u8; STRIDE]) -> u32 {
    // SAFETY: SSE2 belongs to every x86-64 processor, so the needed feature is always there.
    unsafe { sse2::string_mask(chunk) }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn string_mask(chunk: &[u8; STRIDE]) -> u32 {
    let mut mask = 0;
    for (bit, &byte) in chunk.iter().enumerate() {
        mask |= u32::from(byte == b'"' || byte == b'\\' || byte < 0x20) << bit;
    }
    mask
}

/// Which of 16 bytes are digits, and which are points.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn number_masks(chunk: &[u8; 16]) -> (u32, u32) {
    // SAFETY: as in `string_mask`.
    unsafe { sse2::number_masks(chunk) }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn number_masks(chunk: &[u8; 16]) -> (u32, u32) {
    let mut masks = (0, 0);
    for (bit, &byte) in chunk.iter().enumerate() {
        masks.0 |= u32::from(byte.is_ascii_digit()) << bit;
        masks.1 |= u32::from(byte == b'.') << bit;
    }
    masks
}

/// 16 bytes at once, on x86-64.
#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x,
        _mm_set1_epi8, _mm_sub_epi8,
    };

    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn string_mask(chunk: &[u8; super::STRIDE]) -> u32 {
        let (halves, _) = chunk.as_chunks::<16>();
        let special = |half: &[u8; 16]| {
            let lanes = load(half);
            let quote = _mm_cmpeq_epi8(lanes, _mm_set1_epi8(b'"' as i8));
            let escape = _mm_cmpeq_epi8(lanes, _mm_set1_epi8(b'\\' as i8));
            let control = at_most(lanes, 0x1F);
            _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, escape), control)) as u32
        };
        special(&halves[0]) | special(&halves[1]) << 16
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    pub fn number_masks(chunk: &[u8; 16]) -> (u32, u32) {
        let lanes = load(chunk);
        let digits = at_most(_mm_sub_epi8(lanes, _mm_set1_epi8(b'0' as i8)), 9);
        let points = _mm_cmpeq_epi8(lanes, _mm_set1_epi8(b'.' as i8));
        (_mm_movemask_epi8(digits) as u32, _mm_movemask_epi8(points) as u32)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn at_most(lanes: __m128i, greatest: i8) -> __m128i {
        _mm_cmpeq_epi8(_mm_min_epu8(lanes, _mm_set1_epi8(greatest)), lanes)
    }

    /// The two halves become one load.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn load(bytes: &[u8; 16]) -> __m128i {
        let word = u128::from_le_bytes(*bytes);
        _mm_set_epi64x((word >> 64) as i64, word as i64)
    }
}

/// How many bytes of a string are looked at together.
const STRIDE: usize = 32;

/// The first byte at or behind `at` that is `"`, `\` or a control character.
#[inline(always)]
pub(super) fn next_special(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<STRIDE>()) {
        let mask = string_mask(chunk);
        if mask != 0 {
            return Some(at + mask.trailing_zeros() as usize);
        }
        at += STRIDE;
    }
    last_special(bytes, at)
}

/// The same, near the end of the bytes.
#[inline(never)]
fn last_special(bytes: &[u8], at: usize) -> Option<usize> {
    bytes[at..]
        .iter()
        .position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20)
        .map(|found| at + found)
}

/// True where a string without escapes, whose first byte behind the opening quote is at `at`, is
/// `len` bytes long. False also where the bytes do not suffice to tell.
#[inline(always)]
pub(super) fn is_string_of(bytes: &[u8], mut at: usize, mut len: usize) -> bool {
    loop {
        let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<STRIDE>()) else {
            return false;
        };
        let mask = string_mask(chunk);
        if let Some(quote) = chunk.get(len) {
            return *quote == b'"' && mask << (STRIDE - 1 - len) == 1 << (STRIDE - 1);
        }
        if mask != 0 {
            return false;
        }
        (at, len) = (at + STRIDE, len - STRIDE);
    }
}

/// A string that was scanned: where its closing quote is, and what it takes to read it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ScannedString {
    /// Position of the closing quote.
    pub end: usize,
    pub escaped: bool,
    /// The structure is whole, but the content is not text (a lone surrogate, an unknown escape).
    pub content: Option<Reason>,
}

/// Scans a string whose first byte behind the opening quote is at `at`.
#[inline(always)]
pub(super) fn string(bytes: &[u8], at: usize) -> Result<ScannedString, Fault> {
    match next_special(bytes, at) {
        Some(end) if bytes[end] == b'"' => Ok(ScannedString { end, escaped: false, content: None }),
        Some(special) => string_with_escapes(bytes, special),
        None => Err(Fault::End),
    }
}

#[cold]
#[inline(never)]
fn string_with_escapes(bytes: &[u8], mut at: usize) -> Result<ScannedString, Fault> {
    let mut content = None;
    loop {
        match bytes[at] {
            b'"' => {
                return Ok(ScannedString { end: at, escaped: true, content });
            }
            b'\\' => {
                let (behind, problem) = escape(bytes, at)?;
                content = content.or(problem);
                at = behind;
            }
            _ => return Err(Fault::Bad(Reason::ControlCharacter)),
        }
        at = next_special(bytes, at).ok_or(Fault::End)?;
    }
}

/// Scans the escape whose backslash is at `at`; a surrogate pair is one escape.
fn escape(bytes: &[u8], at: usize) -> Result<(usize, Option<Reason>), Fault> {
    match bytes.get(at + 1) {
        None => Err(Fault::End),
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok((at + 2, None)),
        Some(b'u') => {
            let Some(unit) = hex4(bytes, at + 2)? else {
                return Ok((at + 2, Some(Reason::BadEscape)));
            };
            match unit {
                0xD800..=0xDBFF => {
                    // The low half must follow at once.
                    let low_escape = match (bytes.get(at + 6), bytes.get(at + 7)) {
                        (None, _) | (Some(b'\\'), None) => return Err(Fault::End),
                        (Some(b'\\'), Some(b'u')) => hex4(bytes, at + 8)?,
                        _ => None,
                    };
                    match low_escape {
                        Some(0xDC00..=0xDFFF) => Ok((at + 12, None)),
                        _ => Ok((at + 6, Some(Reason::LoneSurrogate))),
                    }
                }
                0xDC00..=0xDFFF => Ok((at + 6, Some(Reason::LoneSurrogate))),
                _ => Ok((at + 6, None)),
            }
        }
        Some(_) => Ok((at + 1, Some(Reason::BadEscape))),
    }
}

/// Four hex digits at `at`; `None` where they are something else.
fn hex4(bytes: &[u8], at: usize) -> Result<Option<u16>, Fault> {
    let mut unit = 0u16;
    for offset in 0..4 {
        let Some(&byte) = bytes.get(at + offset) else {
            return Err(Fault::End);
        };
        let Some(digit) = (byte as char).to_digit(16) else {
            return Ok(None);
        };
        unit = unit << 4 | digit as u16;
    }
    Ok(Some(unit))
}

/// Scans a number that begins at `at`; true where it has a fraction or an exponent.
///
/// A number at the very end of the bytes is [`Fault::End`]: its next digit may still come, and a
/// record never ends in a number.
#[inline(always)]
pub(super) fn number(bytes: &[u8], at: usize) -> Result<(usize, bool), Fault> {
    match bytes[at..].first_chunk::<16>().and_then(short_number) {
        Some((len, fractional)) => Ok((at + len, fractional)),
        None => any_number(bytes, at),
    }
}

/// Length, and whether there is a fraction, of a number that ends within 16 bytes and has no
/// exponent; `None` for all that needs a closer look. No loop and few branches: lengths of numbers
/// are not to be foreseen.
#[inline(always)]
fn short_number(chunk: &[u8; 16]) -> Option<(usize, bool)> {
    let sign = usize::from(chunk[0] == b'-');
    let (digits, points) = number_masks(chunk);
    let (digits, points) = (digits >> sign, points >> sign);
    let len = (!(digits | points)).trailing_zeros() as usize;
    let follows = *chunk.get(sign + len)?;
    let points = points & ((1 << len) - 1);
    // Digits before the point: all of them where there is none.
    let whole = len.min(points.trailing_zeros() as usize);
    let zero_in_front = chunk[sign] == b'0' && whole > 1;
    let fraction = len - whole;
    let bad = whole == 0
        || zero_in_front
        || fraction == 1
        || points & points.wrapping_sub(1) != 0
        || follows | 0x20 == b'e';
    (!bad).then_some((sign + len, fraction > 0))
}

/// Whether there is a fraction in a number without exponent that begins at `at` and is `len` bytes
/// long. `None` where there is no such number, or it needs a closer look.
#[inline(always)]
pub(super) fn is_number_of(bytes: &[u8], at: usize, len: usize) -> Option<bool> {
    let chunk = bytes.get(at..)?.first_chunk::<16>()?;
    let follows = *chunk.get(len)?;
    let negative = chunk[0] == b'-';
    let (digits, points) = number_masks(chunk);
    let within = (1 << len) - 1;
    let unlike = (digits | points | u32::from(negative)) ^ within;
    let points = points & within;
    let first = u32::from(negative);
    // The place of the point, or the number's end.
    let point = (points | 1 << len).trailing_zeros();
    let zero_in_front = chunk[first as usize] == b'0' && point > first + 1;
    let bad = unlike & (within << 1 | 1) != 0
        || point == first
        || point + 1 == len as u32
        || zero_in_front
        || points & points.wrapping_sub(1) != 0
        || follows | 0x20 == b'e';
    (!bad).then_some(points != 0)
}

#[inline(never)]
fn any_number(bytes: &[u8], at: usize) -> Result<(usize, bool), Fault> {
    const BAD: Fault = Fault::Bad(Reason::BadNumber);
    let mut end = at;
    if bytes[end] == b'-' {
        end += 1;
    }
    match bytes.get(end) {
        None => return Err(Fault::End),
        Some(b'0') => end += 1,
        Some(b'1'..=b'9') => end = digits(bytes, end + 1),
        Some(_) => return Err(BAD),
    }
    let mut fractional = false;
    if bytes.get(end) == Some(&b'.') {
        let first = end + 1;
        end = digits(bytes, first);
        fractional = true;
        if end == first && end < bytes.len() {
            return Err(BAD);
        }
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        end += 1;
        if let Some(b'+' | b'-') = bytes.get(end) {
            end += 1;
        }
        let first = end;
        end = digits(bytes, first);
        fractional = true;
        if end == first && end < bytes.len() {
            return Err(BAD);
        }
    }
    match bytes.get(end) {
        None => Err(Fault::End),
        Some(b'0'..=b'9') => Err(BAD),
        Some(_) => Ok((end, fractional)),
    }
}

#[inline(always)]
fn digits(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() && bytes[at].is_ascii_digit() {
        at += 1;
    }
    at
}

/// Scans `true`, `false` or `null`, whose first letter is at `at`.
#[inline(always)]
pub(super) fn literal(bytes: &[u8], at: usize, word: &'static [u8]) -> Result<usize, Fault> {
    let rest = &bytes[at..];
    if rest.starts_with(word) {
        Ok(at + word.len())
    } else if rest.len() < word.len() && word.starts_with(rest) {
        Err(Fault::End)
    } else {
        Err(Fault::Bad(Reason::BadLiteral))
    }
}

/// Scans whichever of `true`, `false` and `null` stands at `at`.
#[inline(always)]
pub(super) fn any_literal(bytes: &[u8], at: usize) -> Result<(SlotKind, usize), Fault> {
    Ok(match bytes.get(at) {
        Some(b't') => (SlotKind::True, literal(bytes, at, b"true")?),
        Some(b'f') => (SlotKind::False, literal(bytes, at, b"false")?),
        Some(b'n') => (SlotKind::Null, literal(bytes, at, b"null")?),
        Some(_) => return Err(Fault::Bad(Reason::UnexpectedByte)),
        None => return Err(Fault::End),
    })
}

/// What [`container`] found.
pub(super) struct ScannedContainer {
    /// Position behind the closing bracket.
    pub end: usize,
    /// For a list: the kinds of its items ([`Kinds::LIST`] included).
    pub kinds: Kinds,
    pub content: Option<Reason>,
}

/// Scans an object or a list that begins at `at`, whatever is in it. `depth` containers are open
/// around it.
pub(super) fn container(bytes: &[u8], at: usize, depth: usize) -> Result<ScannedContainer, Fault> {
    let mut open = Brackets::default();
    let mut found = ScannedContainer {
        end: at,
        kinds: if bytes[at] == b'[' { Kinds::LIST } else { Kinds::OBJECT },
        content: None,
    };
    let is_list = bytes[at] == b'[';
    let mut at = at;
    // One turn of the loop reads one value and everything up to the next one.
    loop {
        let direct_item = is_list && open.depth == 1;
        let Some(&byte) = bytes.get(at) else {
            return Err(Fault::End);
        };
        let mut item = Kinds::NONE;
        let mut closed = true;
        match byte {
            b'"' => {
                let text = string(bytes, at + 1)?;
                found.content = found.content.or(text.content);
                item = Kinds::LIST_TEXT;
                at = text.end + 1;
            }
            b'{' | b'[' => {
                item = Kinds::LIST_NESTED;
                if depth + open.depth >= MAX_DEPTH {
                    return Err(Fault::Bad(Reason::TooDeep));
                }
                open.push(byte == b'{');
                at = skip_space(bytes, at + 1);
                let close = if byte == b'{' { b'}' } else { b']' };
                match bytes.get(at) {
                    None => return Err(Fault::End),
                    Some(&next) if next == close => {}
                    Some(_) => closed = false,
                }
            }
            b't' => {
                item = Kinds::LIST_BOOL;
                at = literal(bytes, at, b"true")?;
            }
            b'f' => {
                item = Kinds::LIST_BOOL;
                at = literal(bytes, at, b"false")?;
            }
            b'n' => at = literal(bytes, at, b"null")?,
            b'-' | b'0'..=b'9' => {
                let (end, fractional) = number(bytes, at)?;
                if direct_item {
                    item = super::number::list_kind(&bytes[at..end], fractional);
                }
                at = end;
            }
            _ => return Err(Fault::Bad(Reason::UnexpectedByte)),
        }
        if direct_item {
            found.kinds = found.kinds.union(item);
        }
        if closed {
            // Closes every container that ends here, then stands before the next value.
            loop {
                at = skip_space(bytes, at);
                let Some(&byte) = bytes.get(at) else {
                    return Err(Fault::End);
                };
                match (byte, open.in_object()) {
                    (b',', _) => {
                        at = skip_space(bytes, at + 1);
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        at += 1;
                        open.pop();
                        if open.depth == 0 {
                            found.end = at;
                            return Ok(found);
                        }
                    }
                    _ => return Err(Fault::Bad(Reason::UnexpectedByte)),
                }
            }
        }
        if open.in_object() {
            at = member_key(bytes, at, &mut found.content)?;
        }
    }
}

/// Scans `"key" :` and the space behind it.
fn member_key(bytes: &[u8], at: usize, content: &mut Option<Reason>) -> Result<usize, Fault> {
    match bytes.get(at) {
        None => return Err(Fault::End),
        Some(b'"') => {}
        Some(_) => return Err(Fault::Bad(Reason::UnexpectedByte)),
    }
    let key = string(bytes, at + 1)?;
    *content = content.or(key.content);
    colon(bytes, key.end + 1)
}

/// Scans the colon of a member, space on both sides.
#[inline(always)]
pub(super) fn colon(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    let at = skip_space(bytes, at);
    match bytes.get(at) {
        None => Err(Fault::End),
        Some(b':') => Ok(skip_space(bytes, at + 1)),
        Some(_) => Err(Fault::Bad(Reason::UnexpectedByte)),
    }
}

/// The open containers, a bit each: 1 is an object. No recursion on the depth of the input.
#[derive(Default)]
struct Brackets {
    bits: [u64; MAX_DEPTH / 64],
    depth: usize,
}

impl Brackets {
    fn push(&mut self, object: bool) {
        let (word, bit) = (self.depth / 64, self.depth % 64);
        self.bits[word] = self.bits[word] & !(1 << bit) | u64::from(object) << bit;
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth -= 1;
    }

    fn in_object(&self) -> bool {
        let top = self.depth - 1;
        self.bits[top / 64] >> (top % 64) & 1 == 1
    }
}
