//! Encoded bytes of one layer, buffered: from memory, from a reader, or from the layer below.
//!
//! It holds at most what it was given, or one piece of its feed and what was not consumed of the
//! last. It never looks at the bytes.

use std::io::Read;

use super::error::DecodeError;
use super::layer::Layer;
use super::{Input, Step};

/// Bytes read from a stream at a time.
const READ_BYTES: usize = 1 << 20;

/// What is held of a stream or a layer's output, at least, before its end is given up on.
const GATHER_BYTES: usize = 16 << 20;

enum Feed {
    /// Everything is in `bytes`.
    Memory,
    Reader(Box<dyn Read + Send>),
    Layer(Box<Layer>),
}

pub(super) struct Source {
    bytes: Vec<u8>,
    /// What was consumed of `bytes`.
    at: usize,
    /// The offset of `bytes[0]` in the layer.
    base: u64,
    feed: Feed,
    ended: bool,
    /// Why the feed ended, when it did not end well.
    failure: Option<DecodeError>,
}

impl Source {
    pub fn new(input: Input) -> Source {
        let (bytes, feed) = match input {
            Input::Whole(bytes) => (bytes, Feed::Memory),
            Input::Stream(reader) => (Vec::new(), Feed::Reader(reader)),
        };
        let ended = matches!(feed, Feed::Memory);
        Source { bytes, at: 0, base: 0, feed, ended, failure: None }
    }

    /// What `layer` decodes to. `bytes` came out of it already; `failure` is how it ended, if it has.
    pub fn of_layer(bytes: Vec<u8>, layer: Box<Layer>, failure: Option<DecodeError>) -> Source {
        let ended = failure.is_some();
        Source { bytes, at: 0, base: 0, feed: Feed::Layer(layer), ended, failure }
    }

    /// Pulls everything together while it is small, so that it can be decoded from memory.
    pub fn gather(&mut self) {
        while self.available().len() < GATHER_BYTES && self.refill() {}
    }

    pub fn available(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    pub fn consume(&mut self, count: usize) {
        self.at += count;
        debug_assert!(self.at <= self.bytes.len());
    }

    /// The offset of the next byte in this layer.
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// True when nothing can come beyond `available`.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Whether the bytes came from memory and none was taken yet: they may be moved out.
    pub fn take_whole(&mut self) -> Option<Vec<u8>> {
        let whole = matches!(self.feed, Feed::Memory) && self.offset() == 0;
        whole.then(|| std::mem::take(&mut self.bytes))
    }

    /// Moves what is available behind `out`, and then, with no copy between, up to `count` bytes
    /// from the reader.
    pub fn read_into(&mut self, out: &mut Vec<u8>, count: usize) -> Result<(), DecodeError> {
        out.extend_from_slice(self.available());
        self.at = self.bytes.len();
        let before = out.len();
        let result = match &mut self.feed {
            Feed::Reader(reader) if !self.ended => read_some(reader.as_mut(), count, out),
            _ => Ok(true),
        };
        self.base += (out.len() - before) as u64;
        self.ended = !matches!(result, Ok(false));
        match result {
            Err(source) => Err(DecodeError::Read { offset: self.offset(), source }),
            Ok(_) => self.take_failure().map_or(Ok(()), Err),
        }
    }

    /// Makes at least `count` bytes available, or all that are left.
    pub fn fill(&mut self, count: usize) {
        while self.available().len() < count && self.refill() {}
    }

    /// Appends to `available`; false when the feed has ended.
    pub fn refill(&mut self) -> bool {
        if self.ended {
            return false;
        }
        self.bytes.drain(..self.at);
        self.base += self.at as u64;
        self.at = 0;
        let before = self.bytes.len();
        match &mut self.feed {
            Feed::Memory => self.ended = true,
            Feed::Reader(reader) => match read_some(reader.as_mut(), READ_BYTES, &mut self.bytes) {
                Ok(ended) => self.ended = ended,
                Err(source) => {
                    let offset = self.base + self.bytes.len() as u64;
                    self.fail(DecodeError::Read { offset, source });
                }
            },
            Feed::Layer(layer) => match layer.next_block(&mut self.bytes) {
                Ok(Step::More) => {}
                Ok(Step::End) => self.ended = true,
                Err(error) => self.fail(error),
            },
        }
        self.bytes.len() > before
    }

    fn fail(&mut self, error: DecodeError) {
        self.ended = true;
        self.failure = Some(error);
    }

    pub fn failure(&self) -> Option<&DecodeError> {
        self.failure.as_ref()
    }

    pub fn take_failure(&mut self) -> Option<DecodeError> {
        self.failure.take()
    }

    /// Runs to the end; true when every byte was zero.
    pub fn drain(&mut self) -> bool {
        let mut zero = true;
        loop {
            zero &= self.available().iter().all(|&byte| byte == 0);
            self.at = self.bytes.len();
            if !self.refill() {
                return zero;
            }
        }
    }

    /// Lets a layer below run to its end, where it knows what it has verified.
    pub fn settle(&mut self) {
        if matches!(self.feed, Feed::Layer(_)) {
            self.drain();
        }
    }

    /// Bytes of this layer's encoded form that a layer below has verified; all when there is none.
    pub fn good_bytes(&mut self) -> u64 {
        match &mut self.feed {
            Feed::Memory | Feed::Reader(_) => u64::MAX,
            Feed::Layer(layer) => layer.good_bytes(),
        }
    }
}

/// Reads up to `count` bytes behind `bytes`; true at the end of the reader.
pub(super) fn read_some(
    reader: &mut dyn Read,
    count: usize,
    bytes: &mut Vec<u8>,
) -> std::io::Result<bool> {
    bytes.reserve(count);
    let read = reader.take(count as u64).read_to_end(bytes)?;
    Ok(read < count)
}
