//! Blocks of bytes → frames, tallies and quarantine: the loop over records.

use xxhash_rust::xxh3::Xxh3;

use super::Reason;
use super::build::{Builder, Slot, SlotKind, Written, push_group, reads_as};
use super::chunk::{Block, Chunk, Fate};
use super::frame::GroupKeys;
use super::identity::{Fingerprint, Identity};
use super::pass::{Pass, Record};
use super::plan::{Node, Plan, Projection, ROOT};
use super::resync::{self, Resync};
use super::scan::{self, Fault};
use crate::schema::{ColumnSpec, Kinds, Pins};

/// What to read and how far to go.
#[derive(Clone, Debug)]
pub struct Options {
    pub projection: Projection,
    pub pins: Pins,
    /// Names of the fields that may hold the event time, best first.
    pub time_fields: Vec<String>,
    /// Names of the group columns.
    pub by: Vec<String>,
    /// What makes two records the same, where that is asked.
    pub identity: Option<Identity>,
    /// A record longer than this is quarantined.
    pub max_record_bytes: usize,
}

/// A frame ends with the row in which its cells, nulls included, reach this many: columns are
/// dense, and records that have few keys of many in common would fill the memory with nulls.
const FRAME_CELLS: usize = 4 << 20;

/// Where the reader stands in its object.
#[derive(Clone, Default)]
struct Position {
    /// Offset of the block's first byte in the decoded object.
    base: u64,
    /// Top-level lists of records that are open (0 or 1).
    lists: u32,
    /// Records of the day in front of the block, dropped ones included.
    rows: u64,
    /// Places that were quarantined so far, and bytes of them that are kept.
    places: u64,
    kept_bytes: usize,
    /// Set while the next certain record is looked for.
    resync: Option<Resync>,
}

/// Reads objects, one after another. What it learnt of their keys is kept between them.
pub struct Reader {
    pass: Pass,
    max_record_bytes: usize,
    position: Position,
    builders: Vec<Builder>,
    /// Members that every record of the object has, unless it has them itself.
    constants: Vec<Constant>,
    /// How many of the plan's groups are columns of `--by`; those behind them identify a record.
    groups: usize,
    fingerprint: Option<Fingerprint>,
    /// Of [`Reader::tell_apart_by`].
    seed: u64,
    /// The frame's serial number, so that nodes need no clearing between frames.
    frame: u64,
}

/// A member that is not in the records: its node, and its value as the slot of a JSON string.
struct Constant {
    slot: Slot,
    source: Vec<u8>,
}

/// How the attempt at one top-level item ended.
enum Item {
    /// The item ends here.
    Done(usize),
    /// The item may go on behind the block.
    More,
    Bad(Reason),
}

/// The column of a node in the frame of this number; `begin` is told where it begins here.
#[inline(always)]
fn begun<'b>(
    builders: &'b mut Vec<Builder>,
    node: &mut Node,
    id: u32,
    frame: u64,
    begin: impl FnOnce(),
) -> &'b mut Builder {
    if node.frame != frame {
        node.frame = frame;
        node.builder = builders.len() as u32;
        builders.push(Builder::new(id));
        begin();
    }
    &mut builders[node.builder as usize]
}

/// How many bytes from the front are UTF-8.
fn valid_utf8(bytes: &[u8]) -> usize {
    // Faster than the variant that says where the error is, which is rarely asked.
    if simdutf8::basic::from_utf8(bytes).is_ok() {
        return bytes.len();
    }
    simdutf8::compat::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len)
}

impl Reader {
    pub fn new(options: Options) -> Self {
        let Options { projection, pins, time_fields, by, identity, max_record_bytes } = options;
        let groups = by.len();
        let keys = identity.iter().flat_map(Identity::fields).cloned();
        let by = by.into_iter().chain(keys).collect();
        Reader {
            pass: Pass::new(Plan::new(projection, pins, time_fields, by)),
            max_record_bytes,
            position: Position::default(),
            builders: Vec::new(),
            constants: Vec::new(),
            groups,
            fingerprint: identity.as_ref().map(Fingerprint::new),
            seed: 0,
            frame: 0,
        }
    }

    /// Tells the reader the day's types, so that frames come out with these and not narrower.
    pub fn expect(&mut self, columns: &[ColumnSpec]) {
        self.pass.plan.expect(columns);
    }

    /// Begins a new object.
    pub fn begin_object(&mut self) {
        self.position = Position::default();
        self.constants.clear();
        self.seed = 0;
    }

    /// Adds members with text values to every record of the object that was begun. A record that
    /// has such a member itself, and not null, keeps its own.
    pub fn add_to_records<'v>(&mut self, members: impl Iterator<Item = (&'v str, &'v str)>) {
        for (name, value) in members {
            let node = self.pass.plan.child(ROOT, name.as_bytes());
            let source = serde_json::to_vec(value).expect("a text becomes JSON");
            let kind = match source.contains(&b'\\') {
                true => SlotKind::EscapedText,
                false => SlotKind::Text,
            };
            let slot = Slot {
                node,
                start: 1,
                end: u32::try_from(source.len()).expect("a key is short") - 1,
                kind,
                noted: self.pass.plan.tracks[node as usize].noted,
                kinds: Kinds::NONE,
            };
            self.constants.push(Constant { slot, source });
        }
    }

    /// What stands outside of the object's records and tells them from others of the same bytes.
    pub fn tell_apart_by(&mut self, outside: &[String]) {
        let mut seed = Xxh3::new();
        for text in outside {
            seed.update(&(text.len() as u64).to_le_bytes());
            seed.update(text.as_bytes());
        }
        self.seed = if outside.is_empty() { 0 } else { seed.digest() };
    }

    /// Reads a block: the bytes that the last call did not consume, and more. `last` says that
    /// nothing follows; then everything is consumed, unless the frame is full. `fate` may be asked
    /// twice about a record, unless no columns are asked for.
    pub fn read(
        &mut self,
        bytes: &[u8],
        last: bool,
        fate: &mut impl FnMut(&mut Record<'_>) -> Fate,
    ) -> Chunk {
        assert!(u32::try_from(bytes.len()).is_ok(), "blocks are smaller than 4 GiB");
        if self.pass.plan.is_crowded() {
            self.pass.forget();
        }
        let begin = self.position.clone();
        loop {
            let mut block = Block {
                bytes,
                last,
                valid_utf8: valid_utf8(bytes),
                chunk: Chunk::default(),
                rows: 0,
                places: self.position.places,
                kept_bytes: self.position.kept_bytes,
            };
            self.begin_frame(&mut block);
            match self.attempt(&mut block, fate) {
                Written::Yes => {
                    self.finish_frame(&mut block);
                    self.position.base += block.chunk.consumed as u64;
                    self.position.rows += block.chunk.tally.of_the_day();
                    self.position.places = block.places;
                    self.position.kept_bytes = block.kept_bytes;
                    return block.chunk;
                }
                // Some column is wider than it was written: read the block again, with what was
                // learnt. Kinds only grow, so this ends.
                Written::Widened => self.position = begin.clone(),
            }
        }
    }

    fn begin_frame(&mut self, block: &mut Block<'_>) {
        self.frame += 1;
        self.builders.clear();
        block.chunk.frame.groups = vec![GroupKeys::default(); self.groups];
        if let Some(fingerprint) = &self.fingerprint {
            block.chunk.frame.identities = fingerprint.none_yet();
        }
    }

    fn finish_frame(&mut self, block: &mut Block<'_>) {
        let frame = &mut block.chunk.frame;
        frame.rows = block.rows;
        for builder in self.builders.drain(..) {
            let node = &self.pass.plan.nodes[builder.node as usize];
            frame.seen.push((node.path.clone(), builder.kinds()));
            let column = builder.finish(block.rows, node);
            if node.column && column.kinds != Kinds::OBJECT
                || !matches!(column.values, super::Values::Null)
            {
                frame.columns.push(column);
            }
        }
    }

    /// Reads the block from its front; the first column found wider than written ends it.
    fn attempt(
        &mut self,
        block: &mut Block<'_>,
        fate: &mut impl FnMut(&mut Record<'_>) -> Fate,
    ) -> Written {
        let mut widened = Written::Yes;
        let mut at = 0;
        loop {
            if let Some(mut resync) = self.position.resync.take() {
                let found = resync::next_record(
                    &mut resync,
                    block,
                    at,
                    self.position.base,
                    self.max_record_bytes,
                );
                match found {
                    resync::Found::At(next) => {
                        block.quarantine_span(resync.finish(self.position.base + next as u64));
                        self.position.lists = 0;
                        at = next;
                    }
                    resync::Found::More(keep_from) => {
                        self.position.resync = Some(resync);
                        block.chunk.consumed = keep_from;
                        return widened;
                    }
                }
            }
            at = match self.separators(block, at) {
                Item::Done(next) if next == block.bytes.len() => {
                    block.chunk.consumed = next;
                    if block.last && self.position.lists > 0 {
                        let end = self.position.base + next as u64;
                        block.quarantine_span(Resync::new(end, Reason::ArrayNotClosed).finish(end));
                    }
                    return widened;
                }
                Item::Done(next) => next,
                Item::More => return widened,
                Item::Bad(_) => unreachable!("separators are never bad"),
            };
            let item = if block.bytes[at] == b'{' {
                self.object(block, at, fate, &mut widened)
            } else {
                self.no_record(block, at)
            };
            match item {
                Item::Done(next) if block.rows * self.builders.len() >= FRAME_CELLS => {
                    block.chunk.consumed = next;
                    block.chunk.full = true;
                    return widened;
                }
                Item::Done(next) => at = next,
                Item::More => {
                    block.chunk.consumed = at;
                    return widened;
                }
                Item::Bad(reason) => {
                    self.position.resync =
                        Some(Resync::new(self.position.base + at as u64, reason));
                }
            }
        }
    }

    /// Skips what may stand between records. Sets `consumed` where it asks for more.
    fn separators(&mut self, block: &mut Block<'_>, mut at: usize) -> Item {
        const BOM: &[u8] = b"\xEF\xBB\xBF";
        let begin = at;
        let bytes = block.bytes;
        if self.position.base == 0 && at == 0 {
            if bytes.starts_with(BOM) {
                at = BOM.len();
            } else if BOM.starts_with(bytes) && !bytes.is_empty() && !block.last {
                return Item::More;
            }
        }
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' | b',' | 0x1E => at += 1,
                b']' if self.position.lists > 0 => {
                    self.position.lists -= 1;
                    at += 1;
                }
                b'[' if self.position.lists == 0 => {
                    // A list of records is opened; any other list is for `no_record` to name.
                    // Space without end behind it says nothing: it counts as a list of records.
                    let near = bytes.len().min(at + 1 + scan::MAX_SPACE);
                    let inside = scan::skip_space(&bytes[..near], at + 1);
                    match bytes.get(inside) {
                        _ if inside == at + 1 + scan::MAX_SPACE => {
                            self.position.lists += 1;
                            at += 1;
                        }
                        Some(b'{' | b']') => {
                            self.position.lists += 1;
                            at += 1;
                        }
                        None if !block.last => {
                            block.chunk.tally.separator_bytes += (at - begin) as u64;
                            block.chunk.consumed = at;
                            return Item::More;
                        }
                        _ => break,
                    }
                }
                _ => break,
            }
        }
        block.chunk.tally.separator_bytes += (at - begin) as u64;
        Item::Done(at)
    }

    /// Reads the record that begins at `at`.
    fn object(
        &mut self,
        block: &mut Block<'_>,
        at: usize,
        fate: &mut impl FnMut(&mut Record<'_>) -> Fate,
        widened: &mut Written,
    ) -> Item {
        // The record is read as if the block ended where it becomes too large, so that the same
        // happens however the object is cut into blocks.
        let (window, cut) = block.window(at, self.max_record_bytes);
        match self.pass.read(window, at) {
            Ok(end) => {
                if self.settle(block, at, end, fate) == Written::Widened {
                    *widened = Written::Widened;
                }
                Item::Done(end)
            }
            Err(Fault::Bad(reason)) => Item::Bad(reason),
            Err(Fault::End) if cut => Item::Bad(Reason::TooLarge),
            Err(Fault::End) if block.last => Item::Bad(Reason::CutOff),
            Err(Fault::End) => Item::More,
        }
    }

    /// Names what stands at `at` in the place of a record: whole JSON is passed over exactly.
    fn no_record(&mut self, block: &mut Block<'_>, at: usize) -> Item {
        let (window, cut) = block.window(at, self.max_record_bytes);
        let end = match window[at] {
            b'"' => scan::string(window, at + 1).map(|text| text.end + 1),
            b'[' => scan::container(window, at, 0).map(|list| list.end),
            b'-' | b'0'..=b'9' => match scan::number(window, at) {
                Ok((end, _)) => Ok(end),
                // At the very end of the object nothing can follow the number.
                Err(Fault::End) if block.last && !cut => {
                    scan::number(&[&window[at..], b" "].concat(), 0).map(|(len, _)| at + len)
                }
                Err(fault) => Err(fault),
            },
            b't' => scan::literal(window, at, b"true"),
            b'f' => scan::literal(window, at, b"false"),
            b'n' => scan::literal(window, at, b"null"),
            _ => Err(Fault::Bad(Reason::UnexpectedByte)),
        };
        match end {
            Ok(end) => {
                block.quarantine(self.position.base, at, end, Reason::NotAnObject);
                Item::Done(end)
            }
            Err(Fault::Bad(reason)) => Item::Bad(reason),
            Err(Fault::End) if cut => Item::Bad(Reason::TooLarge),
            Err(Fault::End) if block.last => Item::Bad(Reason::CutOff),
            Err(Fault::End) => Item::More,
        }
    }

    /// Decides what becomes of the whole record `bytes[start..end]`.
    #[inline(always)]
    fn settle(
        &mut self,
        block: &mut Block<'_>,
        start: usize,
        end: usize,
        fate: &mut impl FnMut(&mut Record<'_>) -> Fate,
    ) -> Written {
        if let Some(reason) = self.flaw(block, start, end) {
            block.quarantine(self.position.base, start, end, reason);
            return Written::Yes;
        }
        let offset = self.position.base + start as u64;
        let tally = &mut block.chunk.tally;
        let row = self.position.rows + tally.of_the_day();
        let mut record = self.pass.view(offset, row, block.bytes, start, end);
        match fate(&mut record) {
            Fate::Reject(reason) => {
                block.quarantine(self.position.base, start, end, reason);
                return Written::Yes;
            }
            Fate::Before => tally.before += 1,
            Fate::After => tally.after += 1,
            Fate::Copy => tally.copies += 1,
            Fate::Keep { ts_utc, source, clamped } => {
                tally.kept += 1;
                tally.sources[source as usize] += 1;
                tally.clamped += u64::from(clamped);
                tally.record_bytes += (end - start) as u64;
                return self.keep(block, start, end, ts_utc);
            }
        }
        tally.record_bytes += (end - start) as u64;
        Written::Yes
    }

    /// What is wrong with a record whose structure is whole.
    #[inline(always)]
    fn flaw(&self, block: &Block<'_>, start: usize, end: usize) -> Option<Reason> {
        if end > block.valid_utf8 && std::str::from_utf8(&block.bytes[start..end]).is_err() {
            return Some(Reason::BadUtf8);
        }
        if self.pass.content.is_some() {
            return self.pass.content;
        }
        let unreadable = self.pass.plan.pinned.iter().any(|&id| {
            let node = &self.pass.plan.nodes[id as usize];
            match (self.pass.live_slot(&[id]), node.pin) {
                (Some(slot), Some(pin)) => !reads_as(slot, block.bytes, pin),
                _ => false,
            }
        });
        let unreadable = unreadable
            || self.constants.iter().any(|Constant { slot, source }| {
                let pin = self.pass.plan.nodes[slot.node as usize].pin;
                self.pass.live_slot(&[slot.node]).is_none()
                    && pin.is_some_and(|pin| !reads_as(slot, source, pin))
            });
        unreadable.then_some(Reason::NotOfDeclaredType)
    }

    /// Notes what tells the record from others.
    #[inline(never)]
    fn identify(&mut self, block: &mut Block<'_>, start: usize, end: usize) {
        let Some(fingerprint) = &mut self.fingerprint else { return };
        let identities = &mut block.chunk.frame.identities;
        let keys = &self.pass.plan.group_nodes[self.groups..];
        if keys.is_empty() {
            return identities
                .hashes
                .push(Some(fingerprint.of_bytes(&block.bytes[start..end], self.seed)));
        }
        for (nodes, found) in keys.iter().zip(&mut identities.found) {
            let constant = || self.constants.iter().find(|one| nodes.contains(&one.slot.node));
            *found += u64::from(match (self.pass.live_slot(nodes), constant()) {
                (Some(slot), _) => fingerprint.push(slot, block.bytes),
                (None, Some(Constant { slot, source })) => fingerprint.push(slot, source),
                (None, None) => fingerprint.lacks_one(),
            });
        }
        identities.hashes.push(fingerprint.finish());
    }

    /// Writes the tape into columns.
    #[inline(always)]
    fn keep(&mut self, block: &mut Block<'_>, start: usize, end: usize, ts_utc: i64) -> Written {
        if self.fingerprint.is_some() {
            self.identify(block, start, end);
        }
        let row = block.rows;
        block.rows += 1;
        let frame = &mut block.chunk.frame;
        frame.ts_utc.push(ts_utc);
        frame.offsets.push(self.position.base + start as u64);
        frame.lens.push((end - start) as u32);
        for (keys, nodes) in frame.groups.iter_mut().zip(&self.pass.plan.group_nodes) {
            let slot = self.pass.live_slot(nodes);
            match self.constants.iter().find(|one| nodes.contains(&one.slot.node)) {
                Some(Constant { slot, source }) if self.pass.live_slot(nodes).is_none() => {
                    push_group(keys, Some(slot), source);
                }
                _ => push_group(keys, slot, block.bytes),
            }
        }
        for id in self.pass.overruled.drain(..) {
            let path = &self.pass.plan.nodes[id as usize].path;
            let counts = &mut block.chunk.duplicate_keys;
            match counts.iter_mut().find(|(counted, _)| counted == path) {
                Some((_, count)) => *count += 1,
                None => counts.push((path.clone(), 1)),
            }
        }
        let mut widened = Written::Yes;
        for slot in &self.pass.tape {
            if !slot.noted || slot.kind == SlotKind::Dead {
                continue;
            }
            let node = &mut self.pass.plan.nodes[slot.node as usize];
            let builder = begun(&mut self.builders, node, slot.node, self.frame, || {
                frame.first_rows.push(row as u32);
            });
            if builder.write(row, slot, block.bytes, node) == Written::Widened {
                widened = Written::Widened;
            }
        }
        for Constant { slot, source } in &self.constants {
            if !slot.noted || self.pass.live_slot(&[slot.node]).is_some() {
                continue;
            }
            let node = &mut self.pass.plan.nodes[slot.node as usize];
            let builder = begun(&mut self.builders, node, slot.node, self.frame, || {
                frame.first_rows.push(row as u32);
            });
            if builder.write(row, slot, source, node) == Written::Widened {
                widened = Written::Widened;
            }
        }
        widened
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Path;

    #[test]
    fn keys_that_are_data_are_forgotten_and_their_rows_stay_right() {
        let mut reader = Reader::new(Options {
            projection: Projection::Named(vec!["v".into()]),
            pins: Pins::new(),
            time_fields: Vec::new(),
            by: vec!["g".into()],
            identity: None,
            max_record_bytes: 1 << 20,
        });
        reader.begin_object();
        let path = Path::root().child("v");
        for block in 0..4 {
            let record = |n: usize| format!(r#"{{"k{block}_{n}":1,"v":{n},"g":"{}"}}"#, n % 3);
            let bytes: String = (0..40_000).map(record).collect();
            let chunk = reader.read(bytes.as_bytes(), block == 3, &mut |_| Fate::Keep {
                ts_utc: 0,
                source: 0,
                clamped: false,
            });
            assert_eq!((chunk.consumed, chunk.frame.rows), (bytes.len(), 40_000));
            let columns = &chunk.frame.columns;
            let values = &columns.iter().find(|column| column.path == path).unwrap().values;
            let super::super::Values::Int(values) = values else { panic!("{values:?}") };
            assert!(values.iter().copied().eq(0..40_000));
            assert_eq!(chunk.frame.groups[0].texts.get(5), "2");
            assert!(reader.pass.plan.nodes.len() < 110_000, "after block {block}");
        }
    }
}
