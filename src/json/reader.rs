//! Blocks of bytes → frames, tallies and quarantine: the loop over records.

use super::Reason;
use super::build::{Builder, Slot, SlotKind, Written, push_group, reads_as};
use super::frame::{Frame, GroupKeys};
use super::plan::{NONE, Plan, Projection, ROOT};
use super::resync::{self, Resync};
use super::scan::{self, Fault, MAX_DEPTH};
use super::text::unescape;
use crate::schema::{ColumnSpec, Kinds, Path, Pins};

/// What to read and how far to go.
#[derive(Clone, Debug)]
pub struct Options {
    pub projection: Projection,
    pub pins: Pins,
    /// Names of the fields that may hold the event time, best first.
    pub time_fields: Vec<String>,
    /// Names of the group columns.
    pub by: Vec<String>,
    /// A record longer than this is quarantined.
    pub max_record_bytes: usize,
}

/// How many sources of event times are told apart.
pub const SOURCES: usize = 96;

/// What becomes of a good record. `source` (below [`SOURCES`]) says where its time came from and is
/// counted for rows of the day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    Keep {
        ts_utc: i64,
        source: u8,
        clamped: bool,
    },
    Before,
    After,
    Reject(Reason),
}

/// A time field's value as it stands in the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeText<'a> {
    Text(&'a str),
    /// The number's literal.
    Number(&'a str),
    /// Neither: a list, an object, a boolean.
    Other,
}

/// A good record, while its fate is decided.
pub struct Record<'a> {
    /// Its first byte's offset in the decoded object.
    pub offset: u64,
    /// Its bytes, from brace to brace.
    pub source: &'a [u8],
    plan: &'a Plan,
    tape: &'a [Slot],
    bytes: &'a [u8],
    record: u64,
    scratch: &'a mut Vec<u8>,
}

impl Record<'_> {
    /// Gives the record's time fields to `reads`, best rank first, until one reads.
    #[inline]
    pub fn find<T>(
        &mut self,
        mut reads: impl FnMut(u16, TimeText<'_>) -> Option<T>,
    ) -> Option<T> {
        let plan = self.plan;
        plan.time_ranks
            .iter()
            .find_map(|&rank| self.get(rank.into()).and_then(|text| reads(rank, text)))
    }

    /// The value of the time field of this rank; `None` where it is missing or null.
    #[inline]
    pub fn get(&mut self, rank: usize) -> Option<TimeText<'_>> {
        let slot = live_slot(
            self.plan,
            &self.plan.time_nodes[rank],
            self.record,
            self.tape,
        )?;
        let text = |span| std::str::from_utf8(span).ok();
        Some(match slot.kind {
            SlotKind::Null | SlotKind::Dead => return None,
            SlotKind::Text => text(slot.span(self.bytes)).map_or(TimeText::Other, TimeText::Text),
            SlotKind::EscapedText => {
                self.scratch.clear();
                unescape(slot.span(self.bytes), self.scratch);
                text(&self.scratch[..]).map_or(TimeText::Other, TimeText::Text)
            }
            SlotKind::Integer | SlotKind::Fraction => {
                text(slot.span(self.bytes)).map_or(TimeText::Other, TimeText::Number)
            }
            _ => TimeText::Other,
        })
    }
}

/// The slot of the first of `nodes` that the record has.
fn live_slot<'a>(plan: &Plan, nodes: &[u32], record: u64, tape: &'a [Slot]) -> Option<&'a Slot> {
    nodes
        .iter()
        .map(|&id| &plan.nodes[id as usize])
        .find(|node| node.record == record && node.slot != NONE)
        .map(|node| &tape[node.slot as usize])
}

/// Bytes that are not in any record's place: where, how many, why, and the first of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quarantined {
    /// Byte offset in the decoded object.
    pub offset: u64,
    pub len: u64,
    pub reason: Reason,
    /// The bytes, at most [`Quarantined::KEPT_BYTES`] of them.
    pub bytes: Vec<u8>,
}

impl Quarantined {
    pub const KEPT_BYTES: usize = 64 << 10;
}

/// The counts of a chunk. `bytes` = `record_bytes` + `separator_bytes` + `quarantined_bytes`
/// over an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tally {
    pub kept: u64,
    pub before: u64,
    pub after: u64,
    pub record_bytes: u64,
    pub separator_bytes: u64,
    pub quarantined_bytes: u64,
    /// Kept records by the source of their time.
    pub sources: [u64; SOURCES],
    pub clamped: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            kept: 0,
            before: 0,
            after: 0,
            record_bytes: 0,
            separator_bytes: 0,
            quarantined_bytes: 0,
            sources: [0; SOURCES],
            clamped: 0,
        }
    }
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.kept += other.kept;
        self.before += other.before;
        self.after += other.after;
        self.record_bytes += other.record_bytes;
        self.separator_bytes += other.separator_bytes;
        self.quarantined_bytes += other.quarantined_bytes;
        self.clamped += other.clamped;
        for (sum, count) in self.sources.iter_mut().zip(other.sources) {
            *sum += count;
        }
    }
}

/// What one block gave.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Chunk {
    /// Bytes of the block that are done with; the others must stand at the front of the next.
    pub consumed: usize,
    pub frame: Frame,
    pub tally: Tally,
    pub quarantine: Vec<Quarantined>,
    /// How often a member of the kept rows was overruled by a later one of the same key. Members
    /// inside of JSON columns are never overruled: there the whole text stands.
    pub duplicate_keys: Vec<(Path, u64)>,
}

/// Where the reader stands in its object.
#[derive(Clone, Default)]
struct Position {
    /// Offset of the block's first byte in the decoded object.
    base: u64,
    /// Top-level lists of records that are open (0 or 1).
    lists: u32,
    /// Set while the next certain record is looked for.
    resync: Option<Resync>,
}

/// An open object of the record being read.
#[derive(Clone, Copy)]
struct Open {
    node: u32,
    slot: u32,
}

/// Reads objects, one after another. What it learnt of their keys is kept between them.
pub struct Reader {
    plan: Plan,
    max_record_bytes: usize,
    position: Position,
    tape: Vec<Slot>,
    open: Vec<Open>,
    builders: Vec<Builder>,
    /// Serial numbers of the record and the frame being read, so that nodes need no clearing.
    record: u64,
    frame: u64,
    /// The members of the record that were overruled.
    overruled: Vec<u32>,
    content: Option<Reason>,
    scratch: Vec<u8>,
}

/// How the attempt at one top-level item ended.
enum Item {
    /// The item ends here.
    Done(usize),
    /// The item may go on behind the block.
    More,
    Bad(Reason),
}

impl Reader {
    pub fn new(options: Options) -> Self {
        Reader {
            plan: Plan::new(
                options.projection,
                options.pins,
                options.time_fields,
                options.by,
            ),
            max_record_bytes: options.max_record_bytes,
            position: Position::default(),
            tape: Vec::new(),
            open: Vec::new(),
            builders: Vec::new(),
            record: 0,
            frame: 0,
            overruled: Vec::new(),
            content: None,
            scratch: Vec::new(),
        }
    }

    /// Tells the reader the day's types, so that frames come out with these and not narrower.
    pub fn expect(&mut self, columns: &[ColumnSpec]) {
        self.plan.expect(columns);
    }

    /// Begins a new object.
    pub fn begin_object(&mut self) {
        self.position = Position::default();
    }

    /// Reads a block: the bytes that the last call did not consume, and more. `last` says that
    /// nothing follows; then everything is consumed. `fate` may be asked twice about a record,
    /// unless no columns are asked for.
    pub fn read(
        &mut self,
        bytes: &[u8],
        last: bool,
        fate: &mut impl FnMut(&mut Record<'_>) -> Fate,
    ) -> Chunk {
        assert!(
            u32::try_from(bytes.len()).is_ok(),
            "blocks are smaller than 4 GiB"
        );
        let begin = self.position.clone();
        loop {
            let mut block = Block {
                bytes,
                last,
                valid_utf8: match simdutf8::compat::from_utf8(bytes) {
                    Ok(_) => bytes.len(),
                    Err(error) => error.valid_up_to(),
                },
                chunk: Chunk::default(),
                rows: 0,
            };
            self.begin_frame(&mut block);
            match self.attempt(&mut block, fate) {
                Written::Yes => {
                    self.finish_frame(&mut block);
                    self.position.base += block.chunk.consumed as u64;
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
        block.chunk.frame.groups = vec![GroupKeys::default(); self.plan.group_nodes.len()];
    }

    fn finish_frame(&mut self, block: &mut Block<'_>) {
        let frame = &mut block.chunk.frame;
        frame.rows = block.rows;
        for builder in self.builders.drain(..) {
            let node = &self.plan.nodes[builder.node as usize];
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
                    let inside = scan::skip_space(bytes, at + 1);
                    match bytes.get(inside) {
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
        match self.record(window, at) {
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

    /// One pass over the record at `start`: validates it and notes its values on the tape.
    fn record(&mut self, bytes: &[u8], start: usize) -> Result<usize, Fault> {
        self.record += 1;
        self.tape.clear();
        self.open.clear();
        self.overruled.clear();
        self.content = None;
        let mut node = ROOT;
        let mut previous = NONE;
        let mut at = scan::skip_space(bytes, start + 1);
        if bytes.get(at) == Some(&b'}') {
            return Ok(at + 1);
        }
        loop {
            let (child, value) = self.member(bytes, at, node, previous)?;
            previous = child;
            at = value;
            let Some(&byte) = bytes.get(at) else {
                return Err(Fault::End);
            };
            if byte == b'{' {
                if self.open.len() + 1 >= MAX_DEPTH {
                    return Err(Fault::Bad(Reason::TooDeep));
                }
                let slot = self.note(child, SlotKind::Object, at, at, Kinds::NONE);
                self.open.push(Open { node, slot });
                node = child;
                previous = NONE;
                at = scan::skip_space(bytes, at + 1);
                if bytes.get(at) != Some(&b'}') {
                    continue;
                }
            } else {
                at = self.value(bytes, at, byte, child)?;
            }
            // Closes every object that ends here, then stands before the next member.
            loop {
                if bytes.get(at).is_some_and(|&byte| byte <= b' ') {
                    at = scan::skip_space(bytes, at);
                }
                match bytes.get(at) {
                    Some(b',') => {
                        at += 1;
                        break;
                    }
                    Some(b'}') => {
                        at += 1;
                        let Some(open) = self.open.pop() else {
                            return Ok(at);
                        };
                        if open.slot != NONE {
                            let members_end = self.tape.len() as u32;
                            let slot = &mut self.tape[open.slot as usize];
                            slot.end = at as u32;
                            slot.last = members_end;
                        }
                        previous = node;
                        node = open.node;
                    }
                    None => return Err(Fault::End),
                    Some(_) => return Err(Fault::Bad(Reason::UnexpectedByte)),
                }
            }
        }
    }

    /// Reads `"key":` of a member of `parent`; gives the member's node and its value's position.
    #[inline(always)]
    fn member(
        &mut self,
        bytes: &[u8],
        at: usize,
        parent: u32,
        previous: u32,
    ) -> Result<(u32, usize), Fault> {
        let guess = match previous {
            NONE => self.plan.nodes[parent as usize].first,
            previous => self.plan.nodes[previous as usize].next,
        };
        if guess != NONE
            && let Some(raw) = &self.plan.nodes[guess as usize].raw
            && bytes[at..].starts_with(raw)
        {
            let value = at + raw.len();
            if bytes.get(value).is_some_and(|&byte| byte <= b' ') {
                return Ok((guess, scan::skip_space(bytes, value)));
            }
            return Ok((guess, value));
        }
        self.unforeseen_member(bytes, at, parent, previous)
    }

    #[inline(never)]
    fn unforeseen_member(
        &mut self,
        bytes: &[u8],
        at: usize,
        parent: u32,
        previous: u32,
    ) -> Result<(u32, usize), Fault> {
        let at = scan::skip_space(bytes, at);
        match bytes.get(at) {
            None => return Err(Fault::End),
            Some(b'"') => {}
            Some(_) => return Err(Fault::Bad(Reason::UnexpectedByte)),
        }
        let key = scan::string(bytes, at + 1)?;
        self.content = self.content.or(key.content);
        let value = scan::colon(bytes, key.end + 1)?;
        let span = &bytes[at + 1..key.end];
        let child = if key.escaped && key.content.is_none() {
            self.scratch.clear();
            unescape(span, &mut self.scratch);
            self.plan.child(parent, &self.scratch)
        } else {
            self.plan.child(parent, span)
        };
        match previous {
            NONE => self.plan.nodes[parent as usize].first = child,
            previous => self.plan.nodes[previous as usize].next = child,
        }
        Ok((child, value))
    }

    /// Reads a value that is no flattened object.
    #[inline(always)]
    fn value(&mut self, bytes: &[u8], at: usize, byte: u8, child: u32) -> Result<usize, Fault> {
        let (kind, end) = match byte {
            b'"' => {
                let text = scan::string(bytes, at + 1)?;
                self.content = self.content.or(text.content);
                let kind = if text.escaped {
                    SlotKind::EscapedText
                } else {
                    SlotKind::Text
                };
                self.note(child, kind, at + 1, text.end, Kinds::NONE);
                return Ok(text.end + 1);
            }
            b'-' | b'0'..=b'9' => {
                let (end, fractional) = scan::number(bytes, at)?;
                (
                    if fractional {
                        SlotKind::Fraction
                    } else {
                        SlotKind::Integer
                    },
                    end,
                )
            }
            b't' => (SlotKind::True, scan::literal(bytes, at, b"true")?),
            b'f' => (SlotKind::False, scan::literal(bytes, at, b"false")?),
            b'n' => (SlotKind::Null, scan::literal(bytes, at, b"null")?),
            b'[' => {
                let list = scan::container(bytes, at, self.open.len() + 1)?;
                self.content = self.content.or(list.content);
                self.note(child, SlotKind::List, at, list.end, list.kinds);
                return Ok(list.end);
            }
            _ => return Err(Fault::Bad(Reason::UnexpectedByte)),
        };
        self.note(child, kind, at, end, Kinds::NONE);
        Ok(end)
    }

    /// Notes a value on the tape, and overrules an earlier one of the same key.
    #[inline(always)]
    fn note(&mut self, id: u32, kind: SlotKind, start: usize, end: usize, kinds: Kinds) -> u32 {
        let node = &mut self.plan.nodes[id as usize];
        if node.record == self.record {
            self.overrule(id);
        }
        let node = &mut self.plan.nodes[id as usize];
        node.record = self.record;
        node.slot = NONE;
        if node.noted {
            node.slot = self.tape.len() as u32;
            self.tape.push(Slot {
                node: id,
                start: start as u32,
                end: end as u32,
                last: 0,
                kind,
                kinds,
            });
        }
        node.slot
    }

    #[cold]
    fn overrule(&mut self, id: u32) {
        self.overruled.push(id);
        let slot = self.plan.nodes[id as usize].slot;
        if slot == NONE {
            return;
        }
        let last = match self.tape[slot as usize] {
            Slot {
                kind: SlotKind::Object,
                last,
                ..
            } => last.max(slot + 1),
            _ => slot + 1,
        };
        for dead in &mut self.tape[slot as usize..last as usize] {
            dead.kind = SlotKind::Dead;
            self.plan.nodes[dead.node as usize].record = 0;
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
        let mut record = Record {
            offset: self.position.base + start as u64,
            source: &block.bytes[start..end],
            plan: &self.plan,
            tape: &self.tape,
            bytes: block.bytes,
            record: self.record,
            scratch: &mut self.scratch,
        };
        let tally = &mut block.chunk.tally;
        match fate(&mut record) {
            Fate::Reject(reason) => {
                block.quarantine(self.position.base, start, end, reason);
                return Written::Yes;
            }
            Fate::Before => tally.before += 1,
            Fate::After => tally.after += 1,
            Fate::Keep {
                ts_utc,
                source,
                clamped,
            } => {
                tally.kept += 1;
                tally.sources[source as usize] += 1;
                tally.clamped += u64::from(clamped);
                tally.record_bytes += (end - start) as u64;
                return self.keep(block, start, ts_utc);
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
        if self.content.is_some() {
            return self.content;
        }
        let unreadable = self.plan.pinned.iter().any(|&id| {
            let node = &self.plan.nodes[id as usize];
            match (
                live_slot(&self.plan, &[id], self.record, &self.tape),
                node.pin,
            ) {
                (Some(slot), Some(pin)) => !reads_as(slot, block.bytes, pin),
                _ => false,
            }
        });
        unreadable.then_some(Reason::NotOfDeclaredType)
    }

    /// Writes the tape into columns.
    #[inline(always)]
    fn keep(&mut self, block: &mut Block<'_>, start: usize, ts_utc: i64) -> Written {
        let row = block.rows;
        block.rows += 1;
        let frame = &mut block.chunk.frame;
        frame.ts_utc.push(ts_utc);
        frame.offsets.push(self.position.base + start as u64);
        for (keys, nodes) in frame.groups.iter_mut().zip(&self.plan.group_nodes) {
            let slot = live_slot(&self.plan, nodes, self.record, &self.tape);
            push_group(keys, slot, block.bytes);
        }
        for id in self.overruled.drain(..) {
            let path = &self.plan.nodes[id as usize].path;
            let counts = &mut block.chunk.duplicate_keys;
            match counts.iter_mut().find(|(counted, _)| counted == path) {
                Some((_, count)) => *count += 1,
                None => counts.push((path.clone(), 1)),
            }
        }
        let mut widened = Written::Yes;
        for slot in &self.tape {
            if slot.kind == SlotKind::Dead {
                continue;
            }
            let node = &mut self.plan.nodes[slot.node as usize];
            if node.frame != self.frame {
                node.frame = self.frame;
                node.builder = self.builders.len() as u32;
                self.builders.push(Builder::new(slot.node));
            }
            let builder = &mut self.builders[node.builder as usize];
            if builder.write(row, slot, block.bytes, node) == Written::Widened {
                widened = Written::Widened;
            }
        }
        widened
    }
}

/// A block while it is read.
pub(super) struct Block<'a> {
    pub bytes: &'a [u8],
    pub last: bool,
    /// Bytes up to here are known to be UTF-8.
    valid_utf8: usize,
    chunk: Chunk,
    rows: usize,
}

impl<'a> Block<'a> {
    /// The bytes up to where an item that begins at `at` would become too large, and whether
    /// that cuts the block.
    pub fn window(&self, at: usize, max_bytes: usize) -> (&'a [u8], bool) {
        let limit = at.saturating_add(max_bytes);
        if limit < self.bytes.len() {
            (&self.bytes[..limit], true)
        } else {
            (self.bytes, false)
        }
    }

    fn quarantine(&mut self, base: u64, start: usize, end: usize, reason: Reason) {
        let kept = end.min(start + Quarantined::KEPT_BYTES);
        self.quarantine_span(Quarantined {
            offset: base + start as u64,
            len: (end - start) as u64,
            reason,
            bytes: self.bytes[start..kept].to_vec(),
        });
    }

    fn quarantine_span(&mut self, span: Quarantined) {
        self.chunk.tally.quarantined_bytes += span.len;
        self.chunk.quarantine.push(span);
    }
}
