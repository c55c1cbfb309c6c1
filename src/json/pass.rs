//! One pass over a record: validates it whole, and notes its values' places on a tape.

use super::Reason;
use super::build::{Slot, SlotKind};
use super::plan::{NONE, Plan, ROOT};
use super::scan::{self, Fault, MAX_DEPTH};
use super::text::unescape;
use crate::schema::Kinds;

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
    serial: u64,
    scratch: &'a mut Vec<u8>,
}

impl Record<'_> {
    /// Gives the record's time fields to `reads`, best rank first, until one reads.
    #[inline]
    pub fn find<T>(&mut self, mut reads: impl FnMut(u16, TimeText<'_>) -> Option<T>) -> Option<T> {
        let plan = self.plan;
        plan.time_ranks
            .iter()
            .find_map(|&rank| self.get(rank.into()).and_then(|text| reads(rank, text)))
    }

    /// The value of the time field of this rank; `None` where it is missing or null.
    #[inline]
    pub fn get(&mut self, rank: usize) -> Option<TimeText<'_>> {
        let slot = live_slot(self.plan, &self.plan.time_nodes[rank], self.serial, self.tape)?;
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

/// An open object of the record being read.
#[derive(Clone, Copy)]
struct Open {
    node: u32,
    slot: u32,
}

/// The tools of a pass, and what the last one left: the values of one record.
pub(super) struct Pass {
    pub plan: Plan,
    /// The record's values in their order.
    pub tape: Vec<Slot>,
    /// The members of the record that a later one of the same key overruled.
    pub overruled: Vec<u32>,
    /// The structure is whole, but some string's content is not text.
    pub content: Option<Reason>,
    open: Vec<Open>,
    /// The record's serial number, so that nodes need no clearing between records.
    serial: u64,
    scratch: Vec<u8>,
}

impl Pass {
    pub fn new(plan: Plan) -> Self {
        Pass {
            plan,
            tape: Vec::new(),
            overruled: Vec::new(),
            content: None,
            open: Vec::new(),
            serial: 0,
            scratch: Vec::new(),
        }
    }

    /// The record that was read, for its fate.
    pub fn view<'a>(
        &'a mut self,
        offset: u64,
        bytes: &'a [u8],
        start: usize,
        end: usize,
    ) -> Record<'a> {
        Record {
            offset,
            source: &bytes[start..end],
            plan: &self.plan,
            tape: &self.tape,
            bytes,
            serial: self.serial,
            scratch: &mut self.scratch,
        }
    }

    /// The slot of the first of `nodes` that the record has.
    pub fn live_slot(&self, nodes: &[u32]) -> Option<&Slot> {
        live_slot(&self.plan, nodes, self.serial, &self.tape)
    }

    /// One pass over the record at `start`: validates it and notes its values on the tape.
    pub fn read(&mut self, bytes: &[u8], start: usize) -> Result<usize, Fault> {
        self.serial += 1;
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
                let kind = if text.escaped { SlotKind::EscapedText } else { SlotKind::Text };
                self.note(child, kind, at + 1, text.end, Kinds::NONE);
                return Ok(text.end + 1);
            }
            b'-' | b'0'..=b'9' => {
                let (end, fractional) = scan::number(bytes, at)?;
                (if fractional { SlotKind::Fraction } else { SlotKind::Integer }, end)
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
        if node.record == self.serial {
            self.overrule(id);
        }
        let node = &mut self.plan.nodes[id as usize];
        node.record = self.serial;
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
            Slot { kind: SlotKind::Object, last, .. } => last.max(slot + 1),
            _ => slot + 1,
        };
        for dead in &mut self.tape[slot as usize..last as usize] {
            dead.kind = SlotKind::Dead;
            self.plan.nodes[dead.node as usize].record = 0;
        }
    }
}

/// The slot of the first of `nodes` that the record has.
fn live_slot<'a>(plan: &Plan, nodes: &[u32], serial: u64, tape: &'a [Slot]) -> Option<&'a Slot> {
    nodes
        .iter()
        .map(|&id| &plan.nodes[id as usize])
        .find(|node| node.record == serial && node.slot != NONE)
        .map(|node| &tape[node.slot as usize])
}
