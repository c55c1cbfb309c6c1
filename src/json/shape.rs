//! The structure of one record → the places of the values of the next ones.
//!
//! A producer writes record after record with the same keys in the same order. The bytes between
//! two values, from the end of the one to the beginning of the other, are then the same too: quotes,
//! commas, braces, keys. A shape is these bytes, taken from a record that was read in full. A record
//! that has the same ones, and good values between them, has the same structure; nothing of it has
//! to be looked up. Anything else is left to the full pass, which alone decides what is bad.
//!
//! Many values are as long in one record as in the next: times, ids, codes. The first records of a
//! shape show which. Their length is then taken for granted and checked on the side, so that the
//! next value is looked for before this one's end is found.

use super::Reason;
use super::build::{Slot, SlotKind};
use super::glue::{GLUE_BYTES, Glue};
use super::scan::{self, Fault};
use crate::schema::Kinds;

/// A record with more values is not worth a shape; nor is one that is mostly white space or keys.
const MAX_SLOTS: usize = 512;
const MAX_STEPS: usize = 2048;

/// From so many records it is learnt which values always have the same length: those that differed
/// from the record before in no more than so many.
const LESSONS: u32 = 64;
const MOST_CHANGES: u32 = 8;

/// So often may a value be of another length than expected, before none is expected any more. A
/// shape that has served for millions of records may lose a length by this: it costs little.
const MOST_SURPRISES: u32 = 1024;

/// What may stand behind a step's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Class {
    /// None: the bytes were too many for one step, and the next step has more of them. It has the
    /// same slot, so that what this one notes there is noted again.
    Nothing,
    /// The content of a string, without its quotes; of the step's length, or of any.
    SteadyText,
    Text,
    SteadyNumber,
    Number,
    /// `true`, `false` or `null`.
    Literal,
    /// A list, or an object that is not looked into.
    Container,
}

/// The bytes before a value, and the value.
#[derive(Clone, Debug)]
struct Step {
    glue: Glue,
    class: Class,
    /// The value's place on the tape.
    slot: u32,
    /// Objects that are open around it.
    depth: u32,
    /// In bytes, the last time or as expected.
    len: u32,
    /// How often its length was another one than this.
    changes: u32,
}

/// A place in the record: so many bytes behind the end of a value, or of its first brace.
#[derive(Clone, Copy, Debug)]
struct Place {
    behind: Option<u32>,
    bytes: u32,
}

/// An object whose members have slots: it has no bytes of its own to look for.
#[derive(Clone, Debug)]
struct Object {
    slot: u32,
    start: Place,
    end: Place,
}

/// The structure of a record.
#[derive(Default, Debug)]
pub(super) struct Shape {
    steps: Vec<Step>,
    objects: Vec<Object>,
    /// What stands behind the last value.
    tail: Vec<Glue>,
    /// The slots of such a record. Places and kinds are a record's own.
    pub tape: Vec<Slot>,
    /// Records that lengths are still to be learnt from.
    lessons: u32,
}

/// How a record compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fit {
    /// It has the shape and ends here.
    Ends(usize),
    /// The bytes end before that could be seen.
    Short,
    Other,
}

impl Shape {
    /// The shape of the record `bytes[start..end]`, which was read in full and found good, all of
    /// its values live. `depth` gives the number of objects around a slot's value, or `None` for
    /// an object whose members have slots.
    pub fn of(
        bytes: &[u8],
        (start, end): (usize, usize),
        tape: &[Slot],
        depth: impl Fn(&Slot) -> Option<usize>,
    ) -> Option<Self> {
        if tape.len() > MAX_SLOTS {
            return None;
        }
        let mut shape = Shape { tape: tape.to_vec(), lessons: LESSONS, ..Shape::default() };
        // Where the last value ends.
        let mut last = Place { behind: None, bytes: start as u32 };
        let mut open: Vec<usize> = Vec::new();
        for (at, slot) in tape.iter().enumerate() {
            shape.close(&mut open, slot.start, last);
            let Some(depth) = depth(slot) else {
                let start = last.and(slot.start);
                shape.objects.push(Object { slot: at as u32, start, end: start });
                open.push(shape.objects.len() - 1);
                continue;
            };
            let step = Step {
                glue: Glue::default(),
                class: Class::Nothing,
                slot: at as u32,
                depth: depth as u32,
                len: slot.end - slot.start,
                changes: 0,
            };
            let between = &bytes[last.bytes as usize..slot.start as usize];
            if shape.steps.len() + between.len() / GLUE_BYTES >= MAX_STEPS {
                return None;
            }
            shape.steps.extend(glues(between).map(|glue| Step { glue, ..step.clone() }));
            // There is a colon at least.
            shape.steps.last_mut()?.class = class(slot.kind)?;
            last = Place { behind: Some(at as u32), bytes: slot.end };
        }
        shape.close(&mut open, end as u32, last);
        if end - last.bytes as usize > MAX_STEPS * GLUE_BYTES {
            return None;
        }
        shape.tail = glues(&bytes[last.bytes as usize..end]).collect();
        Some(shape)
    }

    /// Notes the ends of the objects that end at or before `at`, the last value being `last`.
    fn close(&mut self, open: &mut Vec<usize>, at: u32, last: Place) {
        while let Some(object) = open.last().map(|object| &mut self.objects[*object])
            && self.tape[object.slot as usize].end <= at
        {
            object.end = last.and(self.tape[object.slot as usize].end);
            open.pop();
        }
    }

    /// Reads the record at `start`: writes the places of its values into `tape`, which is a copy of
    /// the shape's.
    pub fn read(&mut self, bytes: &[u8], start: usize, tape: &mut [Slot]) -> Fit {
        let mut at = start;
        for step in &mut self.steps {
            match begins(bytes, at, &step.glue) {
                Ok(value) => at = value,
                Err(fit) => return fit,
            }
            let slot = &mut tape[step.slot as usize];
            slot.start = at as u32;
            match step.value(bytes, at, slot) {
                Ok(end) => at = end,
                Err(Fault::End) => return Fit::Short,
                Err(Fault::Bad(_)) => return Fit::Other,
            }
            slot.end = at as u32;
        }
        for glue in &self.tail {
            match begins(bytes, at, glue) {
                Ok(end) => at = end,
                Err(fit) => return fit,
            }
        }
        for object in &self.objects {
            let place = |place: &Place| match place.behind {
                Some(value) => tape[value as usize].end + place.bytes,
                None => start as u32 + place.bytes,
            };
            let (begin, end) = (place(&object.start), place(&object.end));
            let slot = &mut tape[object.slot as usize];
            (slot.start, slot.end) = (begin, end);
        }
        if self.lessons > 0 {
            self.take_lesson(tape);
        }
        Fit::Ends(at)
    }

    #[cold]
    #[inline(never)]
    fn take_lesson(&mut self, tape: &[Slot]) {
        self.lessons -= 1;
        for step in &mut self.steps {
            let slot = &tape[step.slot as usize];
            let len = slot.end - slot.start;
            step.changes += u32::from(len != step.len);
            step.len = len;
            if self.lessons == 0 {
                step.class = match step.class {
                    Class::Text if step.changes <= MOST_CHANGES => Class::SteadyText,
                    Class::Number if step.changes <= MOST_CHANGES => Class::SteadyNumber,
                    class => class,
                };
                step.changes = 0;
            }
        }
    }
}

impl Place {
    /// The place of the byte `at`, seen from this one.
    fn and(self, at: u32) -> Place {
        Place { behind: self.behind, bytes: at - self.bytes }
    }
}

/// The position behind `glue`, if it stands at `at`.
#[inline(always)]
fn begins(bytes: &[u8], at: usize, glue: &Glue) -> Result<usize, Fit> {
    match bytes.get(at..).and_then(|rest| rest.first_chunk::<GLUE_BYTES>()) {
        None => Err(Fit::Short),
        Some(near) if glue.begins(near) => Ok(at + glue.len()),
        Some(_) => Err(Fit::Other),
    }
}

fn glues(bytes: &[u8]) -> impl Iterator<Item = Glue> {
    bytes.chunks(GLUE_BYTES).filter_map(Glue::of)
}

fn class(kind: SlotKind) -> Option<Class> {
    Some(match kind {
        SlotKind::Null | SlotKind::True | SlotKind::False => Class::Literal,
        SlotKind::Integer | SlotKind::Fraction => Class::Number,
        SlotKind::Text | SlotKind::EscapedText => Class::Text,
        SlotKind::List | SlotKind::Object => Class::Container,
        SlotKind::Dead => return None,
    })
}

impl Step {
    /// Reads the value at `at`; gives its end.
    #[inline(always)]
    fn value(&mut self, bytes: &[u8], at: usize, slot: &mut Slot) -> Result<usize, Fault> {
        let len = self.len as usize;
        match self.class {
            Class::SteadyText if scan::is_string_of(bytes, at, len) => {
                slot.kind = SlotKind::Text;
                Ok(at + len)
            }
            Class::SteadyNumber => match scan::is_number_of(bytes, at, len) {
                Some(fractional) => {
                    slot.kind = number_kind(fractional);
                    Ok(at + len)
                }
                None => self.surprise(bytes, at, slot),
            },
            Class::Text => self.text(bytes, at, slot),
            Class::Number => self.number(bytes, at, slot),
            Class::Literal => {
                let (kind, end) = scan::any_literal(bytes, at)?;
                slot.kind = kind;
                Ok(end)
            }
            Class::SteadyText => self.surprise(bytes, at, slot),
            Class::Container => self.container(bytes, at, slot),
            Class::Nothing => Ok(at),
        }
    }

    #[inline(always)]
    fn text(&self, bytes: &[u8], at: usize, slot: &mut Slot) -> Result<usize, Fault> {
        let text = scan::string(bytes, at)?;
        text.content.map_or(Ok(()), |reason| Err(Fault::Bad(reason)))?;
        slot.kind = if text.escaped { SlotKind::EscapedText } else { SlotKind::Text };
        Ok(text.end)
    }

    #[inline(always)]
    fn number(&self, bytes: &[u8], at: usize, slot: &mut Slot) -> Result<usize, Fault> {
        let first = bytes.get(at).ok_or(Fault::End)?;
        if !matches!(first, b'-' | b'0'..=b'9') {
            return Err(Fault::Bad(Reason::UnexpectedByte));
        }
        let (end, fractional) = scan::number(bytes, at)?;
        slot.kind = number_kind(fractional);
        Ok(end)
    }

    /// The value is not as long as expected, or no good one.
    #[cold]
    #[inline(never)]
    fn surprise(&mut self, bytes: &[u8], at: usize, slot: &mut Slot) -> Result<usize, Fault> {
        self.changes += 1;
        let is_text = self.class == Class::SteadyText;
        if self.changes == MOST_SURPRISES {
            self.class = if is_text { Class::Text } else { Class::Number };
        }
        if is_text { self.text(bytes, at, slot) } else { self.number(bytes, at, slot) }
    }

    #[inline(never)]
    fn container(&self, bytes: &[u8], at: usize, slot: &mut Slot) -> Result<usize, Fault> {
        let (kind, bracket) = match slot.kind {
            SlotKind::Object => (SlotKind::Object, b'{'),
            _ => (SlotKind::List, b'['),
        };
        if bytes.get(at) != Some(&bracket) {
            return Err(Fault::Bad(Reason::UnexpectedByte));
        }
        let found = scan::container(bytes, at, self.depth as usize)?;
        found.content.map_or(Ok(()), |reason| Err(Fault::Bad(reason)))?;
        slot.kinds = if kind == SlotKind::List { found.kinds } else { Kinds::NONE };
        Ok(found.end)
    }
}

fn number_kind(fractional: bool) -> SlotKind {
    if fractional { SlotKind::Fraction } else { SlotKind::Integer }
}
