//! One layer of compression: encoded bytes in, decoded blocks out, member after member.
//!
//! A member whose content is at most `whole_bytes` comes out only when it is verified. A larger
//! one is handed out in blocks before its end is seen; [`Layer::good_bytes`] tells how much of the
//! output is verified. Nothing is allocated because a header says so.

use super::error::{DecodeError, Place};
use super::member::{Codec, Fault, Front, STEP_BYTES, Turn};
use super::source::Source;
use super::{DecodeLimits, Step};

/// Members of one layer. Empty ones pass every limit on bytes and still take time each.
pub(super) const MEMBERS_MAX: u64 = 1 << 24;

/// Why the output ends. `keep`: what was decoded of the open member is given nevertheless.
struct Stop {
    error: DecodeError,
    keep: bool,
}

/// The output of one call. `start..floor` is verified, `floor..` belongs to the open member.
pub(super) struct Output<'a> {
    pub bytes: &'a mut Vec<u8>,
    start: usize,
    floor: usize,
    /// What `bytes` should not grow beyond.
    most: usize,
}

impl Output<'_> {
    fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    fn open_len(&self) -> usize {
        self.bytes.len() - self.floor
    }

    /// Lengthens `bytes` by `count` zeros. The capacity doubles as usual, but not beyond `most`
    /// unless it must: twice a large block would be the largest thing in memory.
    pub fn grow(&mut self, count: usize) {
        let needed = self.bytes.len() + count;
        if needed > self.bytes.capacity() {
            let capacity = (self.bytes.capacity() * 2).min(self.most).max(needed);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.resize(needed, 0);
    }
}

/// The member that is being decoded.
struct Open {
    offset: u64,
    /// Some of it was handed out before its end was seen.
    handed_out: bool,
}

pub(super) struct Layer {
    number: u8,
    codec: Codec,
    source: Source,
    limits: DecodeLimits,
    /// Handed out by earlier calls, in bytes.
    given: u64,
    /// Members that ended.
    members: u64,
    open: Option<Open>,
    good: u64,
    /// Source offset and output length at the end of the last member, when the layer below has
    /// not verified that much of the source yet.
    waiting: Option<(u64, u64)>,
    error: Option<DecodeError>,
    ended: bool,
}

impl Layer {
    pub fn new(codec: Codec, number: u8, source: Source, limits: DecodeLimits) -> Layer {
        Layer {
            number,
            codec,
            source,
            limits,
            given: 0,
            members: 0,
            open: None,
            good: 0,
            waiting: None,
            error: None,
            ended: false,
        }
    }

    /// Appends at least one byte and returns `More`, or appends none and returns `End` or, once,
    /// the error.
    pub fn next_block(&mut self, bytes: &mut Vec<u8>) -> Result<Step, DecodeError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        if self.ended {
            return Ok(Step::End);
        }
        let start = bytes.len();
        let most = start + self.limits.block_bytes + self.limits.whole_bytes + STEP_BYTES;
        let mut out = Output { bytes, start, floor: start, most };
        let result = self.run(&mut out);
        if let Err(stop) = &result
            && !stop.keep
        {
            out.bytes.truncate(out.floor);
        }
        let produced = out.len();
        self.given += produced as u64;
        let (more, error) = match result {
            Ok(more) => (more, None),
            Err(stop) => (false, Some(stop.error)),
        };
        self.ended = !more;
        match error {
            Some(error) if produced == 0 => Err(error),
            error => {
                self.error = error;
                Ok(if produced == 0 { Step::End } else { Step::More })
            }
        }
    }

    /// Bytes of the output that are verified, by this layer and by those below.
    pub fn good_bytes(&mut self) -> u64 {
        if let Some((offset, output)) = self.waiting
            && offset <= self.source.good_bytes()
        {
            self.good = output;
            self.waiting = None;
        }
        self.good
    }

    /// Decodes until there is a block; false when the layer has ended well.
    fn run(&mut self, out: &mut Output<'_>) -> Result<bool, Stop> {
        loop {
            let Some(open) = &self.open else {
                if out.len() >= self.limits.block_bytes {
                    return Ok(true);
                }
                out.floor = out.bytes.len();
                if !self.begin(out)? {
                    return Ok(false);
                }
                continue;
            };
            let handed_out = open.handed_out;
            match self.step(out)? {
                Turn::Done => self.finish(out),
                Turn::Hungry if !self.source.refill() => return Err(self.cut(out)),
                Turn::Again | Turn::Hungry => {
                    if handed_out && out.len() >= self.limits.block_bytes {
                        return Ok(true);
                    }
                    if !handed_out && out.open_len() > self.limits.whole_bytes {
                        self.open = self.open.take().map(|open| Open { handed_out: true, ..open });
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Opens the next member, or decodes it in one call; false at the clean end.
    fn begin(&mut self, out: &mut Output<'_>) -> Result<bool, Stop> {
        self.source.fill(4);
        match self.codec.front(self.source.available()) {
            Front::Member => {}
            Front::Short if self.source.available().is_empty() => {
                return match self.failure() {
                    Some(error) => Err(Stop { error, keep: true }),
                    None if self.codec.may_end() => Ok(false),
                    None => {
                        let error = DecodeError::Truncated { place: self.place() };
                        Err(Stop { error, keep: true })
                    }
                };
            }
            Front::Short => {}
            Front::Other => return Err(self.trailing()),
        }
        if self.members == MEMBERS_MAX {
            let error = DecodeError::TooManyMembers { layer: self.number };
            return Err(Stop { error, keep: true });
        }
        self.open = Some(Open { offset: self.source.offset(), handed_out: false });
        if let Codec::Gzip(gzip) = &mut self.codec
            && self.source.ended()
        {
            let left = self.limits.object_bytes - (self.given + out.len() as u64);
            let room = self.limits.whole_bytes.min(usize::try_from(left).unwrap_or(usize::MAX));
            let input = self.source.available();
            if let Some(consumed) = gzip.member(input, self.members == 0, out, room) {
                self.source.consume(consumed);
                self.finish(out);
                return Ok(true);
            }
        }
        self.codec.open();
        Ok(true)
    }

    /// One step of the open member.
    fn step(&mut self, out: &mut Output<'_>) -> Result<Turn, Stop> {
        let left = self.limits.object_bytes - (self.given + out.len() as u64);
        let input = self.source.available();
        // One byte beyond the limit tells a member that ends there from one that goes on.
        let room = self
            .codec
            .room(input, self.limits.whole_bytes)
            .min(usize::try_from(left).unwrap_or(usize::MAX).saturating_add(1));
        let before = out.bytes.len();
        out.grow(room);
        match self.codec.step(input, &mut out.bytes[before..]) {
            Ok(moved) => {
                out.bytes.truncate(before + moved.produced);
                self.source.consume(moved.consumed);
                if moved.produced as u64 > left {
                    let limit_bytes = self.limits.object_bytes;
                    let error = DecodeError::TooLarge { layer: self.number, limit_bytes };
                    return Err(Stop { error, keep: false });
                }
                Ok(moved.turn)
            }
            Err(fault) => {
                out.bytes.truncate(before);
                Err(self.damaged(fault))
            }
        }
    }

    fn finish(&mut self, out: &mut Output<'_>) {
        self.open = None;
        self.members += 1;
        out.floor = out.bytes.len();
        // An older mark that the layer below has verified meanwhile must not get lost.
        self.good_bytes();
        self.waiting = Some((self.source.offset(), self.given + out.len() as u64));
        self.good_bytes();
    }

    fn place(&self) -> Place {
        Place {
            layer: self.number,
            encoding: self.codec.encoding(),
            member: self.members + 1,
            offset: self.open.as_ref().map_or(self.source.offset(), |open| open.offset),
        }
    }

    /// How the layer below failed, in terms of this layer's output.
    fn failure(&mut self) -> Option<DecodeError> {
        let error = self.source.take_failure()?;
        Some(match error {
            DecodeError::Contradicted { place, cause, .. } => {
                DecodeError::Contradicted { place, cause, good_bytes: self.good_bytes() }
            }
            other => other,
        })
    }

    /// The source has ended inside a member.
    fn cut(&mut self, out: &mut Output<'_>) -> Stop {
        let keep = self.source.failure().is_none_or(DecodeError::is_clean_end);
        if keep {
            match self.codec.at_cut(self.source.available()) {
                Ok(content) => {
                    let left = self.limits.object_bytes - (self.given + out.len() as u64);
                    if content.len() as u64 > left {
                        let limit_bytes = self.limits.object_bytes;
                        let error = DecodeError::TooLarge { layer: self.number, limit_bytes };
                        return Stop { error, keep: false };
                    }
                    out.bytes.extend_from_slice(&content);
                }
                Err(cause) if self.source.failure().is_none() => return self.damaged(cause.into()),
                // The layer below is cut off, too, and may have been damaged: its news comes first.
                Err(_) => {}
            }
        }
        let error = self.failure().unwrap_or(DecodeError::Truncated { place: self.place() });
        Stop { error, keep }
    }

    /// Something that is no member follows the last one.
    fn trailing(&mut self) -> Stop {
        let offset = self.source.offset();
        let zero = self.source.drain();
        let bytes = self.source.offset() - offset;
        let (layer, encoding) = (self.number, self.codec.encoding());
        // A layer below that failed is the more serious news: this may be its consequence.
        let error = self.failure().unwrap_or(if zero {
            DecodeError::Padding { layer, encoding, offset, bytes }
        } else {
            DecodeError::TrailingGarbage { layer, encoding, offset, bytes }
        });
        Stop { error, keep: true }
    }

    fn damaged(&mut self, fault: Fault) -> Stop {
        let place = self.place();
        self.source.settle();
        let error = match fault {
            Fault::Contradiction(cause) => {
                DecodeError::Contradicted { place, cause, good_bytes: self.good_bytes() }
            }
            Fault::Unsupported(what) => {
                self.failure().unwrap_or(DecodeError::Unsupported { place, what })
            }
        };
        Stop { error, keep: false }
    }
}
