//! One pass over a record: validates it whole, and notes its values' places on a tape.

use super::Reason;
use super::build::{Slot, SlotKind};
use super::glue::{GLUE_BYTES, Glue};
use super::plan::{NONE, Plan, ROOT};
use super::scan::{self, Fault, MAX_DEPTH};
use super::shape::{Fit, Shape};
use super::text::unescape;
use crate::schema::Kinds;

/// A time field's value as it stands in the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeText<'a> {
    /// Its bytes, unescaped. They are UTF-8.
    Text(&'a [u8]),
    /// The number's literal.
    Number(&'a [u8]),
    /// Neither: a list, an object, a boolean.
    Other,
}

/// A good record, while its fate is decided.
pub struct Record<'a> {
    /// Its first byte's offset in the decoded object.
    pub offset: u64,
    /// Records of the day in front of it in its object, dropped ones included.
    pub row: u64,
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
        Some(match slot.kind {
            SlotKind::Null | SlotKind::Dead => return None,
            SlotKind::Text => TimeText::Text(slot.span(self.bytes)),
            SlotKind::EscapedText => {
                self.scratch.clear();
                unescape(slot.span(self.bytes), self.scratch);
                TimeText::Text(self.scratch)
            }
            SlotKind::Integer | SlotKind::Fraction => TimeText::Number(slot.span(self.bytes)),
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
    /// The serial number of the record's structure, so that nodes need no clearing between records.
    serial: u64,
    /// The shape of the last record that was read in full, and whether the tape is laid out so.
    shape: Option<Shape>,
    is_shaped: bool,
    /// Rises with each record of the shape and falls with each other one; and for how many records
    /// no shape is learnt, since it fell to 0.
    trust: u32,
    pause: u32,
    scratch: Vec<u8>,
}

/// Learning a shape costs as much as reading some records in full. It is worth that while nearly
/// all records have it.
const FIRST_TRUST: u32 = 32;
const MOST_TRUST: u32 = 128;
const DISAPPOINTMENT: u32 = 12;
const PAUSE: u32 = 512;

impl Pass {
    pub fn new(plan: Plan) -> Self {
        Pass {
            plan,
            tape: Vec::new(),
            overruled: Vec::new(),
            content: None,
            open: Vec::new(),
            serial: 0,
            shape: None,
            is_shaped: false,
            trust: FIRST_TRUST,
            pause: 0,
            scratch: Vec::new(),
        }
    }

    /// Forgets all keys that were seen.
    #[cold]
    pub fn forget(&mut self) {
        self.plan.forget();
        // Slots name nodes.
        self.tape.clear();
        self.shape = None;
        self.is_shaped = false;
    }

    /// The record that was read, for its fate.
    pub fn view<'a>(
        &'a mut self,
        offset: u64,
        row: u64,
        bytes: &'a [u8],
        start: usize,
        end: usize,
    ) -> Record<'a> {
        Record {
            offset,
            row,
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
    #[inline]
    pub fn read(&mut self, bytes: &[u8], start: usize) -> Result<usize, Fault> {
        self.overruled.clear();
        self.content = None;
        match self.fit(bytes, start) {
            Some(Fit::Ends(end)) => Ok(end),
            Some(Fit::Short) => self.read_in_full(bytes, start),
            // Shapes change too often at present to be learnt.
            None if self.pause > 0 => {
                self.pause -= 1;
                self.read_in_full(bytes, start)
            }
            Some(Fit::Other) | None => {
                let end = self.read_in_full(bytes, start)?;
                self.learn(bytes, start, end);
                Ok(end)
            }
        }
    }

    /// Tries to read the record as one of the shape of an earlier one, if there is any.
    #[inline]
    fn fit(&mut self, bytes: &[u8], start: usize) -> Option<Fit> {
        let shape = self.shape.as_mut()?;
        if !self.is_shaped {
            self.is_shaped = true;
            self.serial += 1;
            self.tape.clone_from(&shape.tape);
            for (at, slot) in self.tape.iter().enumerate() {
                let track = &mut self.plan.tracks[slot.node as usize];
                (track.record, track.slot) = (self.serial, at as u32);
            }
        }
        // The same slots at the same places of the tape: the serial number stays, and so all that
        // the tracks say stays true.
        let fit = shape.read(bytes, start, &mut self.tape);
        match fit {
            Fit::Ends(_) => self.trust = MOST_TRUST.min(self.trust + 1),
            Fit::Short => {}
            Fit::Other => {
                self.shape = None;
                self.trust = self.trust.saturating_sub(DISAPPOINTMENT);
                if self.trust == 0 {
                    (self.pause, self.trust) = (PAUSE, FIRST_TRUST);
                }
            }
        }
        Some(fit)
    }

    /// Takes the record that was read in full as an example of the next ones.
    fn learn(&mut self, bytes: &[u8], start: usize, end: usize) {
        if self.pause > 0 || self.content.is_some() || !self.overruled.is_empty() {
            return;
        }
        let depth = |slot: &Slot| {
            let node = &self.plan.tracks[slot.node as usize];
            (slot.kind != SlotKind::Object || node.opaque).then_some(node.depth as usize)
        };
        self.shape = Shape::of(bytes, (start, end), &self.tape, depth);
        self.is_shaped = self.shape.is_some();
    }

    /// Reads the record with nothing taken for granted but that its keys may be known.
    fn read_in_full(&mut self, bytes: &[u8], start: usize) -> Result<usize, Fault> {
        self.is_shaped = false;
        self.serial += 1;
        self.tape.clear();
        self.open.clear();
        let mut node = ROOT;
        let mut previous = NONE;
        let mut guess = self.plan.tracks[ROOT as usize].first;
        let mut at = scan::skip_space(bytes, start + 1);
        if bytes.get(at) == Some(&b'}') {
            return Ok(at + 1);
        }
        loop {
            let near = bytes.get(at..).and_then(|rest| rest.first_chunk::<GLUE_BYTES>());
            let guessed = near.and_then(|near| {
                let track = self.plan.tracks.get_mut(guess as usize)?;
                let key = track.key.as_ref().filter(|key| key.begins(near))?.len();
                Some((track, key))
            });
            let track = match guessed {
                Some((track, key)) => {
                    at += key;
                    previous = guess;
                    track
                }
                None => {
                    (previous, at) = self.unforeseen_member(bytes, at, node, previous)?;
                    &mut self.plan.tracks[previous as usize]
                }
            };
            let child = previous;
            guess = track.next;
            let first = track.first;
            let (noted, opaque) = (track.noted, track.opaque);
            let earlier = std::mem::replace(&mut track.record, self.serial);
            let earlier_slot = std::mem::replace(&mut track.slot, self.tape.len() as u32);
            if earlier == self.serial {
                self.overrule(child, earlier_slot);
            }
            let Some(&(mut byte)) = bytes.get(at) else {
                return Err(Fault::End);
            };
            if scan::is_space(byte) {
                // More space than the last time.
                at = scan::skip_space(bytes, at);
                byte = *bytes.get(at).ok_or(Fault::End)?;
            }
            // Every value is noted, wanted or not: what a later member of the same key overrules
            // must not depend on the columns that are asked for.
            let mut note = |kind, start: usize, end: usize, kinds| {
                let (start, end) = (start as u32, end as u32);
                self.tape.push(Slot { node: child, start, end, kind, noted, kinds });
            };
            match byte {
                b'"' => {
                    let text = scan::string(bytes, at + 1)?;
                    let kind = if text.escaped { SlotKind::EscapedText } else { SlotKind::Text };
                    note(kind, at + 1, text.end, Kinds::NONE);
                    self.content = self.content.or(text.content);
                    at = text.end + 1;
                }
                b'-' | b'0'..=b'9' => {
                    let (end, fractional) = scan::number(bytes, at)?;
                    let kind = if fractional { SlotKind::Fraction } else { SlotKind::Integer };
                    note(kind, at, end, Kinds::NONE);
                    at = end;
                }
                b'{' if !opaque => {
                    if self.open.len() + 1 >= MAX_DEPTH {
                        return Err(Fault::Bad(Reason::TooDeep));
                    }
                    note(SlotKind::Object, at, at, Kinds::NONE);
                    self.open.push(Open { node, slot: self.tape.len() as u32 - 1 });
                    (node, previous, guess) = (child, NONE, first);
                    at = scan::skip_space(bytes, at + 1);
                    if bytes.get(at) != Some(&b'}') {
                        continue;
                    }
                }
                b'{' | b'[' => {
                    let whole = scan::container(bytes, at, self.open.len() + 1)?;
                    match byte {
                        b'[' => note(SlotKind::List, at, whole.end, whole.kinds),
                        _ => note(SlotKind::Object, at, whole.end, Kinds::NONE),
                    }
                    self.content = self.content.or(whole.content);
                    at = whole.end;
                }
                _ => {
                    let (kind, end) = scan::any_literal(bytes, at)?;
                    note(kind, at, end, Kinds::NONE);
                    at = end;
                }
            }
            // Closes every object that ends here, then stands before the next member.
            loop {
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
                        self.tape[open.slot as usize].end = at as u32;
                        guess = self.plan.tracks[node as usize].next;
                        previous = node;
                        node = open.node;
                    }
                    Some(&byte) if scan::is_space(byte) => at = scan::skip_space(bytes, at),
                    None => return Err(Fault::End),
                    Some(_) => return Err(Fault::Bad(Reason::UnexpectedByte)),
                }
            }
        }
    }

    /// Reads `"key":` of a member of `parent` that was not guessed; gives the member's node and its
    /// value's position. Next time it is guessed.
    #[inline(never)]
    fn unforeseen_member(
        &mut self,
        bytes: &[u8],
        begin: usize,
        parent: u32,
        previous: u32,
    ) -> Result<(u32, usize), Fault> {
        let at = scan::skip_space(bytes, begin);
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
        let tracks = &mut self.plan.tracks;
        match previous {
            NONE => tracks[parent as usize].first = child,
            previous => tracks[previous as usize].next = child,
        }
        if key.content.is_none() {
            tracks[child as usize].key = Glue::of(&bytes[begin..value]);
        }
        Ok((child, value))
    }

    /// A later member of the same key came: the value at `slot` no longer counts.
    #[cold]
    #[inline(never)]
    fn overrule(&mut self, id: u32, slot: u32) {
        self.overruled.push(id);
        let slot = slot as usize;
        // The members of an object lie behind it on the tape, and before its end in the bytes.
        let behind = match self.tape[slot] {
            Slot { kind: SlotKind::Object, end, .. } => end,
            Slot { .. } => 0,
        };
        let members = self.tape[slot + 1..].iter().take_while(|inner| inner.start < behind).count();
        for dead in &mut self.tape[slot..=slot + members] {
            dead.kind = SlotKind::Dead;
            if dead.node != id {
                self.plan.tracks[dead.node as usize].record = 0;
            }
        }
    }
}

/// The slot of the first of `nodes` that the record has.
#[inline(always)]
fn live_slot<'a>(plan: &Plan, nodes: &[u32], serial: u64, tape: &'a [Slot]) -> Option<&'a Slot> {
    nodes
        .iter()
        .map(|&id| &plan.tracks[id as usize])
        .filter(|track| track.record == serial)
        .map(|track| &tape[track.slot as usize])
        .find(|slot| !matches!(slot.kind, SlotKind::Null | SlotKind::Dead))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::plan::Projection;
    use super::*;
    use crate::schema::Pins;

    fn pass() -> Pass {
        let pins = Pins::from([("/json".to_string(), crate::schema::ColumnType::Json)]);
        Pass::new(Plan::new(Projection::All, pins, vec!["ts".to_string()], Vec::new()))
    }

    /// One of few spellings of a value: most often the first, so that records have a shape.
    fn value() -> impl Strategy<Value = &'static str> {
        let usual = vec!["\"2022-04-18T03:05:01.387Z\"", "30.5", "123456", "\"a\"", "true"];
        let other = vec![
            "null",
            "false",
            "-7",
            "-0.25",
            "1e9",
            "0",
            "\"\"",
            "[1,\"}\"]",
            "{}",
            "{\"a\":[]}",
            "\"\\u00e9\\n\"",
            "\"\\ud800\"",
            "\"래미안퍼스티지 1234567890123456789012345678901234567890\"",
            "01",
            "1.",
            "[",
            "tru",
            "12345678901234567890.25",
            "\"\t\"",
        ];
        prop_oneof![9 => prop::sample::select(usual), 1 => prop::sample::select(other)]
    }

    /// Records with the same keys, most of them spelled in the same way, glued.
    fn records() -> impl Strategy<Value = Vec<u8>> {
        let key = prop::sample::select(vec![
            "ts",
            "a",
            "long_key_that_fills_more_than_one_word",
            "a",
            "json",
            "e\\u0041",
        ]);
        let key = (key, any::<bool>());
        let record = prop::collection::vec((key, value()), 1..6);
        let change = (any::<prop::sample::Index>(), value(), 0u8..20);
        (record, prop::collection::vec(prop::option::weighted(0.3, change), 1..150)).prop_map(
            |(mut members, changes)| {
                let mut bytes = Vec::new();
                for change in changes {
                    let mut space = "";
                    if let Some((at, value, how)) = change {
                        let at = at.index(members.len());
                        members[at].1 = value;
                        space = ["", "", "", "", " ", "\n "][how as usize % 6];
                    }
                    let text: Vec<String> = members
                        .iter()
                        .map(|((key, nested), value)| match nested {
                            true => {
                                format!("\"o\":{{\"{key}\":{space}{value},\"in\":{{\"x\":1}}}}")
                            }
                            false => format!("\"{key}\":{space}{value}"),
                        })
                        .collect();
                    bytes.extend(format!("{{{}{space}}}", text.join(",")).into_bytes());
                }
                bytes
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        /// Reads what begins at every brace, with a pass that knows shapes and with one that reads
        /// everything in full.
        #[test]
        fn a_record_that_has_the_shape_is_what_the_full_pass_reads(
            bytes in records(),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let mut bytes = bytes;
            for (at, byte) in flips {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.extend([b' '; 40]);
            let (mut quick, mut slow) = (pass(), pass());
            let mut at = 0;
            while let Some(next) = bytes[at..].iter().position(|byte| *byte == b'{') {
                at += next;
                let read = quick.read(&bytes, at);
                (slow.overruled, slow.content) = (Vec::new(), None);
                prop_assert_eq!(read, slow.read_in_full(&bytes, at));
                if read.is_ok() {
                    prop_assert_eq!(&quick.tape, &slow.tape);
                    prop_assert_eq!(&quick.overruled, &slow.overruled);
                    prop_assert_eq!(quick.content, slow.content);
                    for (at, slot) in quick.tape.iter().enumerate() {
                        let track = &quick.plan.tracks[slot.node as usize];
                        prop_assert!(slot.kind == SlotKind::Dead || track.record == quick.serial);
                        prop_assert!(slot.kind == SlotKind::Dead || track.slot == at as u32);
                    }
                }
                at = read.unwrap_or(at + 1);
            }
        }
    }

    #[test]
    fn records_of_one_producer_have_a_shape() {
        let record =
            br#"{"ts":"2022-04-18T03:05:01.387Z","o":{"n":12,"s":"x"},"l":[1,2],"ok":true}"#;
        let bytes = [&record.repeat(100)[..], &[b' '; 40]].concat();
        let mut pass = pass();
        for at in 0..100 {
            let start = at * record.len();
            assert_eq!(pass.read(&bytes, start), Ok(start + record.len()));
            // The first one teaches it.
            assert!(pass.is_shaped, "{at}");
        }
        assert_eq!(pass.trust, MOST_TRUST.min(FIRST_TRUST + 99));
    }
}
