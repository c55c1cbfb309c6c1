//! After a bad record: the next record that can be told apart with certainty.
//!
//! A position is certain when all of this holds:
//! 1. a `}` or `}]` stands before it, with nothing but white space between;
//! 2. a whole valid object begins there, or a whole list of objects;
//! 3. behind that stands, after white space, another `{` or `[`, or the end of the bytes;
//! 4. the first object's bytes cannot be read as lying *inside a string* of a damaged record: read
//!    that way they must break JSON's rules before the object ends. What breaks behind it says
//!    nothing: it may be the damage.
//!
//! Outside of strings `}{`, `}[`, `]{` and `][` never occur in JSON, so (1) to (3) leave one doubt
//! only: whether the position is outside of a string at all. (4) settles it. `{"a":"}{","b":1}` has a `}{` inside a
//! string: it fails (2). Text made to deceive, whose strings hold structure and whose structure
//! reads as strings, passes (2) and fails (4): it stays in quarantine with the rest.
//!
//! Every position is looked at by at most two of these readings at a time, since a `}{` inside
//! one's string is structure to the other, which has none; reading (4) ends at the first byte that contradicts,
//! and stretches without quotes are looked at once.

use memchr::memchr;

use super::Reason;
use super::chunk::{Block, Quarantined};
use super::scan::{self, Fault};

/// A search for the next certain record.
#[derive(Clone)]
pub(super) struct Resync {
    offset: u64,
    reason: Reason,
    sample: Vec<u8>,
    /// Offset up to which `sample` was taken.
    sampled: u64,
    /// Offset from where the next `}` is looked for.
    from: u64,
}

/// Where the search ended.
pub(super) enum Found {
    /// The next record, or the end of the bytes where nothing certain follows.
    At(usize),
    /// More bytes are needed; those from here on must be kept.
    More(usize),
}

impl Resync {
    pub fn new(offset: u64, reason: Reason) -> Self {
        Resync { offset, reason, sample: Vec::new(), sampled: offset, from: offset }
    }

    /// The quarantined span, which ends at `end`.
    pub fn finish(self, end: u64) -> Quarantined {
        Quarantined {
            offset: self.offset,
            len: end - self.offset,
            reason: self.reason,
            bytes: self.sample,
        }
    }

    /// Keeps a sample of the bytes that the block holds up to `until`.
    fn take_sample(&mut self, bytes: &[u8], base: u64, until: usize) {
        let begin = (self.sampled.max(base) - base) as usize;
        let room = Quarantined::KEPT_BYTES - self.sample.len();
        if begin < until {
            self.sample.extend_from_slice(&bytes[begin..until.min(begin + room)]);
            self.sampled = base + until as u64;
        }
    }
}

/// Looks for the next certain record behind `resync.from`, `at` being the earliest position in
/// this block.
pub(super) fn next_record(
    resync: &mut Resync,
    block: &Block<'_>,
    at: usize,
    base: u64,
    max_record_bytes: usize,
) -> Found {
    let bytes = block.bytes;
    let mut from = at.max((resync.from.max(base) - base) as usize);
    let mut quiet = 0;
    let found = loop {
        let Some(brace) = memchr(b'}', &bytes[from..]).map(|found| from + found) else {
            break if block.last { Found::At(bytes.len()) } else { Found::More(bytes.len()) };
        };
        match certainty(block, brace, max_record_bytes, &mut quiet) {
            Certainty::Certain(position) => break Found::At(position),
            Certainty::NeedsMore => break Found::More(brace),
            Certainty::Doubtful => from = brace + 1,
        }
    };
    let (Found::At(until) | Found::More(until)) = found;
    resync.from = base + until as u64;
    resync.take_sample(bytes, base, until);
    found
}

#[derive(Clone, Copy)]
enum Certainty {
    Certain(usize),
    Doubtful,
    NeedsMore,
}

/// Judges the position behind the `}` at `brace`, and behind its `]` where it has one. Up to `quiet`, no byte behind earlier positions
/// interests a string scan: so many of them cost one look.
fn certainty(
    block: &Block<'_>,
    brace: usize,
    max_record_bytes: usize,
    quiet: &mut usize,
) -> Certainty {
    let bytes = block.bytes;
    let at_end = if block.last { Certainty::Doubtful } else { Certainty::NeedsMore };
    let mut start = skip_between(bytes, brace + 1);
    if bytes.get(start) == Some(&b']') {
        start = skip_between(bytes, start + 1);
    }
    let is_list = bytes.get(start) == Some(&b'[');
    let first = if is_list { skip_between(bytes, start + 1) } else { start };
    match bytes.get(first) {
        None => return at_end,
        Some(b'{') => {}
        Some(_) => return Certainty::Doubtful,
    }
    let whole_object = |at: usize| {
        let (window, cut) = block.window(at, max_record_bytes);
        match scan::container(window, at, 0) {
            Ok(object) => Ok(object.end),
            Err(Fault::End) if !cut => Err(at_end),
            Err(_) => Err(Certainty::Doubtful),
        }
    };
    let end = match whole_object(first) {
        Ok(end) => end,
        Err(certainty) => return certainty,
    };
    let mut behind = skip_between(bytes, end);
    // So much of a list says as much as its end would, and must not be held for it.
    let is_long = |behind: usize| behind - first > max_record_bytes;
    while is_list && !is_long(behind) && bytes.get(behind) == Some(&b',') {
        let next = skip_between(bytes, behind + 1);
        match bytes.get(next) {
            None => return at_end,
            Some(b'{') => {}
            Some(_) => return Certainty::Doubtful,
        }
        behind = match whole_object(next) {
            Ok(end) => skip_between(bytes, end),
            Err(certainty) => return certainty,
        };
    }
    let is_open = is_list && is_long(behind);
    if is_list && !is_open {
        match bytes.get(behind) {
            None => return at_end,
            Some(b']') => behind = skip_between(bytes, behind + 1),
            Some(_) => return Certainty::Doubtful,
        }
    }
    match bytes.get(behind) {
        _ if is_open => {}
        None if !block.last => return Certainty::NeedsMore,
        None | Some(b'{' | b'[') => {}
        Some(_) => return Certainty::Doubtful,
    }
    let object = &bytes[..end];
    *quiet = scan::next_special(object, first.max(*quiet).min(end)).unwrap_or(end);
    match inside_string(object, *quiet) {
        Reading::Broken => Certainty::Certain(start),
        Reading::Possible => Certainty::Doubtful,
    }
}

/// Behind more space than this, what follows counts as doubtful.
fn skip_between(bytes: &[u8], mut at: usize) -> usize {
    let end = at + scan::MAX_SPACE;
    while at < end && bytes.get(at).is_some_and(|&byte| scan::is_space(byte) || byte == 0x1E) {
        at += 1;
    }
    at
}

enum Reading {
    Broken,
    Possible,
}

/// What the last token leaves open, in the reading that begins inside a string.
#[derive(Clone, Copy, PartialEq)]
enum After {
    String,
    /// A number, a literal, a closed container.
    Value,
    Colon,
    Comma,
    OpenObject,
    OpenList,
}

/// Reads on from `at` as if it lay inside a string. What surrounds that string is unknown, so
/// whatever some context allows is possible.
fn inside_string(bytes: &[u8], at: usize) -> Reading {
    let mut at = match scan::string(bytes, at) {
        Ok(text) => text.end + 1,
        Err(Fault::End) => return Reading::Possible,
        Err(Fault::Bad(_)) => return Reading::Broken,
    };
    let mut after = After::String;
    loop {
        at = scan::skip_space(bytes, at);
        let Some(&byte) = bytes.get(at) else {
            return Reading::Possible;
        };
        let value_may_stand = matches!(after, After::Colon | After::Comma | After::OpenList);
        let token = match byte {
            b'"' if value_may_stand || after == After::OpenObject => {
                scan::string(bytes, at + 1).map(|text| (text.end + 1, After::String))
            }
            0x1E if after == After::Value => Ok((at + 1, After::Value)),
            // Behind a closed object the next record may begin, or the next list of records.
            b'{' if value_may_stand || after == After::Value => Ok((at + 1, After::OpenObject)),
            b'[' if value_may_stand || after == After::Value => Ok((at + 1, After::OpenList)),
            b':' if after == After::String => Ok((at + 1, After::Colon)),
            b',' if matches!(after, After::String | After::Value) => Ok((at + 1, After::Comma)),
            b'}' if matches!(after, After::String | After::Value | After::OpenObject) => {
                Ok((at + 1, After::Value))
            }
            b']' if matches!(after, After::String | After::Value | After::OpenList) => {
                Ok((at + 1, After::Value))
            }
            b'-' | b'0'..=b'9' if value_may_stand => {
                scan::number(bytes, at).map(|(end, _)| (end, After::Value))
            }
            b't' if value_may_stand => literal(bytes, at, b"true"),
            b'f' if value_may_stand => literal(bytes, at, b"false"),
            b'n' if value_may_stand => literal(bytes, at, b"null"),
            _ => return Reading::Broken,
        };
        match token {
            Ok((end, next)) => (at, after) = (end, next),
            Err(Fault::End) => return Reading::Possible,
            Err(Fault::Bad(_)) => return Reading::Broken,
        }
    }
}

fn literal(bytes: &[u8], at: usize, word: &'static [u8]) -> Result<(usize, After), Fault> {
    scan::literal(bytes, at, word).map(|end| (end, After::Value))
}
