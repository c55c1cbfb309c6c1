//! One object's bytes → frames, tallies and quarantine: its text, `json` and `time` in a row.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use xxhash_rust::xxh3::Xxh3;

use super::copies::ObjectCopies;
use super::doubt::UnreadTime;
use super::open::{Envelopes, OpenedCounts, OpenedText, open};
use super::recover::{OBJECT_BYTES, Recovered, Recovery};
use super::text::{Text, TextError};
use crate::codec::{DecodeError, DecodeLimits, Input, Step, unread_format};
use crate::envelope::Envelope;
use crate::json::{
    Fate, Frame, MAX_KEPT_BYTES, MAX_PLACES, MorePlaces, Options, Quarantined, Reader, Reason,
    Record, SOURCES, Tally, TimeText,
};
use crate::layout::{ErrorOutput, Layout, RECOVERED};
use crate::schema::{ColumnSpec, Path};
use crate::store::{Content, ObjectMeta, StoreError};
use crate::time::{
    Event, ObjectTime, TIME_FIELDS, TimeProblem, TimeRule, TimeSource, TimeValue, read_time,
};

const _: () = assert!(TIME_FIELDS.len() <= SOURCE_ARRIVAL_UNREAD, "each field has its count");

/// Like the three below, of records with a time field that does not read as a time.
pub const SOURCE_ARRIVAL_UNREAD: usize = SOURCES - 6;
pub const SOURCE_NAME_UNREAD: usize = SOURCES - 4;
pub const SOURCE_HOUR_UNREAD: usize = SOURCES - 3;
/// Index of [`TimeSource::Arrival`] in [`Tally::sources`].
pub const SOURCE_ARRIVAL: usize = SOURCES - 5;
/// Index of [`TimeSource::ObjectName`] in [`Tally::sources`]; fields are counted by rank below.
pub const SOURCE_NAME: usize = SOURCES - 2;
/// Index of [`TimeSource::PrefixHour`] in [`Tally::sources`].
pub const SOURCE_HOUR: usize = SOURCES - 1;

/// What to read of each object, and which records belong to the day.
#[derive(Clone, Debug)]
pub struct ReadSpec {
    pub layout: Arc<Layout>,
    /// Which objects are error output, where its records are to be recovered.
    pub errors: Option<Arc<ErrorOutput>>,
    pub envelopes: Envelopes,
    /// The half-open window, µs UTC; `None` takes every record and asks for no time.
    pub window: Option<(i64, i64)>,
    pub rule: TimeRule,
    pub json: Options,
    pub decode: DecodeLimits,
}

/// What was learnt of an object in an earlier attempt at the day, after rows of it had been
/// handed on.
#[derive(Clone, Debug)]
pub enum Finding {
    /// Only so many decoded bytes are verified; why the others are lost.
    StopAfter { good_bytes: u64, loss: String },
    /// The object can't be got.
    Failed { kind: &'static str, reason: String },
}

/// What is known of an object before it is read.
#[derive(Clone, Copy, Default, Debug)]
pub struct Known<'k> {
    pub finding: Option<&'k Finding>,
    /// Its later copies of records, which are dropped.
    pub copies: Option<ObjectCopies<'k>>,
    /// Another object may have the same content.
    pub may_be_twin: bool,
}

impl Finding {
    pub fn into_failure(self) -> super::Failure {
        match self {
            Finding::StopAfter { loss, .. } => super::Failure { kind: "damaged", reason: loss },
            Finding::Failed { kind, reason } => super::Failure { kind, reason },
        }
    }
}

/// Bytes of an object that gave no record.
#[derive(Clone, Debug, PartialEq)]
pub struct Lost {
    /// Byte offset in the decoded object.
    pub offset: u64,
    /// Decoded bytes; 0 where they could not even be decoded.
    pub len: u64,
    pub reason: String,
    /// The bytes, the first 64 KiB of them.
    pub bytes: Vec<u8>,
    /// 1, or how many places are only counted here; the offset is that of the first.
    pub places: u64,
}

/// What an object gave, besides its frames.
#[derive(Clone, Debug, Default)]
pub struct ObjectOutcome {
    pub decoded_bytes: u64,
    pub tally: Tally,
    pub lost: Vec<Lost>,
    pub duplicate_keys: HashMap<Path, u64>,
    /// The first record of the window whose time field does not read as a time.
    pub unread_time: Option<UnreadTime>,
    /// A hash of the decoded bytes, where another object may have the same.
    pub content: Option<u128>,
    pub opened: OpenedCounts,
    /// Its records are recovered ones.
    pub is_recovered: bool,
}

impl ObjectOutcome {
    pub(super) fn count_more(&mut self, more: MorePlaces) {
        let reason = more.reason.text();
        let counted =
            self.lost.iter_mut().rev().take_while(|lost| lost.places > 1 || lost.bytes.is_empty());
        let mut same = counted.filter(|lost| lost.reason == reason);
        match same.next() {
            Some(known) => {
                known.places += more.places;
                known.len += more.bytes;
            }
            None => self.lost.push(Lost {
                offset: more.offset,
                len: more.bytes,
                reason: reason.to_string(),
                bytes: Vec::new(),
                places: more.places,
            }),
        }
    }

    /// Takes in what was found bad beside what the reader quarantined.
    pub(super) fn take_in(&mut self, Places { noted, counted, .. }: Places) {
        let places = || noted.iter().chain(&counted);
        self.tally.quarantined_bytes += places().map(|lost| lost.len).sum::<u64>();
        self.lost.extend(noted.into_iter().chain(counted));
        self.lost.sort_by_key(|lost| lost.offset);
    }

    /// Counts the bytes of an object in a format that is not read, and keeps the first of them.
    fn pass_over(&mut self, buffer: &mut Vec<u8>) {
        if self.lost.is_empty() {
            self.lost.push(Lost {
                offset: 0,
                len: 0,
                reason: String::new(),
                bytes: buffer[..buffer.len().min(Quarantined::KEPT_BYTES)].to_vec(),
                places: 1,
            });
        }
        self.lost[0].len += buffer.len() as u64;
        buffer.clear();
    }
}

/// Places of one object that are noted one by one, as many as of any quarantine; more of them are
/// counted by reason.
#[derive(Default)]
pub(super) struct Places {
    noted: Vec<Lost>,
    counted: Vec<Lost>,
    kept_bytes: usize,
}

impl Places {
    /// Reasons that are counted one by one: some end in what a decoder says.
    const REASONS: usize = 100;

    pub fn add(&mut self, mut lost: Lost) {
        if (self.noted.len() as u64) < MAX_PLACES {
            if self.kept_bytes + lost.bytes.len() > MAX_KEPT_BYTES {
                lost.bytes = Vec::new();
            }
            self.kept_bytes += lost.bytes.len();
            return self.noted.push(lost);
        }
        let reasons = self.counted.len();
        let is_full = reasons > Self::REASONS;
        let mut counted = self.counted.iter_mut().rev();
        match counted.find(|known| is_full || known.reason == lost.reason) {
            Some(known) => {
                known.places += 1;
                known.len += lost.len;
            }
            None if reasons == Self::REASONS => {
                let reason = "other reasons".to_string();
                self.counted.push(Lost { reason, bytes: Vec::new(), ..lost });
            }
            None => self.counted.push(Lost { bytes: Vec::new(), ..lost }),
        }
    }
}

/// Why an object was not read to its end.
#[derive(Debug)]
pub enum ReadFailure<E> {
    /// What was given of the object must be taken back: the day starts over, knowing this.
    StartOver(Finding),
    /// Nothing was given.
    Store(StoreError),
    /// The taker of frames failed, or was stopped.
    Taker(E),
}

/// Bytes that are read at a time where more are there: a body in memory comes in one block, and its
/// columns should not.
const PART_BYTES: usize = 8 << 20;

/// What is read of the buffer next.
struct PartOf {
    start: usize,
    bytes: usize,
}

impl PartOf {
    /// The part, and where it ends in the buffer.
    fn of<'b>(&self, buffer: &'b [u8]) -> (&'b [u8], usize) {
        // What is left behind the last part should not be a small one of its own.
        let rest = buffer.len() - self.start;
        let end = if rest < 2 * self.bytes { buffer.len() } else { self.start + self.bytes };
        (&buffer[self.start..end], end)
    }

    /// Goes on behind what was consumed. Where not even one record fits, the next part is twice as
    /// long: a record is passed over a few times at most, however long it is.
    fn take(&mut self, consumed: usize, full: bool) {
        self.start += consumed;
        self.bytes = if consumed == 0 && !full { self.bytes * 2 } else { PART_BYTES };
    }

    /// The buffer as it begins with what was not consumed: the bytes that it should hold before
    /// it is worth reading again.
    fn wanted(&self, buffer: &[u8]) -> usize {
        if self.start == 0 { buffer.len() * 2 } else { 0 }
    }
}

/// Reads objects one after another, with buffers and guesses kept between them.
pub struct ObjectReader {
    spec: ReadSpec,
    reader: Reader,
    buffer: Vec<u8>,
    /// Made where an object needs it.
    recovery: Option<Recovery>,
}

impl ObjectReader {
    pub fn new(spec: ReadSpec) -> Self {
        let reader = Reader::new(spec.json.clone());
        ObjectReader { reader, spec, buffer: Vec::new(), recovery: None }
    }

    /// Frames shall come out with these types and not narrower.
    pub fn expect(&mut self, columns: &[ColumnSpec]) {
        self.reader.expect(columns);
    }

    /// Reads one object. Every frame with rows goes to `take`, and every record that is kept as
    /// it stands to `see`; the latter twice, maybe, where columns are asked for.
    pub fn read<E>(
        &mut self,
        object: &ObjectMeta,
        content: Content,
        known: Known<'_>,
        see: &mut impl FnMut(&[u8]),
        take: &mut impl FnMut(Frame) -> Result<(), E>,
    ) -> Result<ObjectOutcome, ReadFailure<E>> {
        let Known { finding, copies, may_be_twin } = known;
        let mut limits = self.spec.decode;
        let mut outcome = ObjectOutcome::default();
        if let Some(Finding::StopAfter { good_bytes, .. }) = finding {
            limits.stop_after = Some(*good_bytes);
        }
        let errors = self.spec.errors.clone().filter(|errors| errors.contains(&object.key));
        let (key, content, recovered) = match &errors {
            None => (self.spec.layout.read(&object.key), content, None),
            Some(errors) => {
                let Recovered { text, arrivals, lost } = self.recover(object, content)?;
                let key = errors.read(&object.key);
                (key, Content::Whole(text), Some((arrivals, lost)))
            }
        };
        let is_opened = Cell::new(false);
        let mut is_looked_at = false;
        let mut envelope = None;
        let mut opened_bytes = None;
        let arrivals = recovered.as_ref().map(|(arrivals, _)| arrivals);
        let mut text = Text::new(input(content), limits);
        let object_time = ObjectTime::of_key(&key);
        let window = self.spec.window;
        let rule = self.spec.rule.clone();
        let mut unread_time = None;
        let mut fate = |record: &mut Record<'_>| {
            let time = match arrivals {
                None => object_time,
                // Of records in envelopes it is not known which arrived when.
                Some(_) if is_opened.get() => object_time,
                Some(arrivals) => arrivals.of(record.offset).or(object_time),
            };
            let fate = match window {
                Some(window) => fate_of(record, &rule, time, window),
                None => Fate::Keep { ts_utc: 0, source: SOURCE_NAME as u8, clamped: false },
            };
            if let Fate::Keep { source, .. } = fate {
                if copies.is_some_and(|copies| copies.contains(record.row)) {
                    return Fate::Copy;
                }
                if UNREAD_SOURCES.contains(&source) && unread_time.is_none() {
                    unread_time = UnreadTime::of(record, &rule);
                }
                see(record.source);
            }
            fate
        };
        let mut given = false;
        let mut loss = None;
        let mut unread = None;
        let mark = [RECOVERED.to_string()];
        let names = if errors.is_some() { &mark[..] } else { self.spec.layout.partition_keys() };
        let constants = names.iter().zip(&key.partition);
        self.reader.begin_object();
        self.reader.add_to_records(constants.map(|(name, value)| (name.as_str(), value.as_str())));
        let by = if errors.is_some() { &[][..] } else { &key.partition };
        self.reader.tell_apart_by(by);
        self.buffer.clear();
        let mut wanted = 0;
        let mut content = may_be_twin.then(Xxh3::new);
        loop {
            let held = self.buffer.len();
            let last = match text.next_block(&mut self.buffer) {
                Ok(Step::More) => false,
                Ok(Step::End) => true,
                Err(error) => {
                    if let Some(failure) = self.undecodable(&error, given, &text) {
                        return Err(failure);
                    }
                    match error {
                        TextError::Decode(DecodeError::Read { source, .. }) => {
                            let url = object.key.clone();
                            return Err(ReadFailure::Store(StoreError::from_read(source, &url)));
                        }
                        error => loss = Some(error.to_string()),
                    }
                    true
                }
            };
            if let Some(content) = &mut content {
                content.update(&self.buffer[held..]);
            }
            if !is_looked_at {
                // As many bytes whatever the blocks are, so that these don't show in the result.
                if !last && self.buffer.len() < Envelope::LOOKED_AT {
                    continue;
                }
                is_looked_at = true;
                unread = unread_format(&self.buffer)
                    .map(|format| format!("{format}, which this version does not read"));
                envelope = self.spec.envelopes.of_object(&self.buffer).filter(|_| unread.is_none());
            }
            outcome.decoded_bytes = text.bytes();
            if envelope.is_some() && self.buffer.len() as u64 > OBJECT_BYTES {
                envelope = None;
                unread =
                    Some(format!("envelopes in an object of more than {} MiB", OBJECT_BYTES >> 20));
            }
            if let Some(envelope) = envelope {
                if !last {
                    continue;
                }
                let ReadSpec { decode, json, .. } = &self.spec;
                let found = open(envelope, &self.buffer, *decode, json.max_record_bytes);
                let OpenedText { text, counts, lost } = found;
                // What is opened counts by its own bytes, what isn't by those of its envelope.
                let bytes = text.len() as u64 + lost.tally.quarantined_bytes;
                opened_bytes = Some(bytes);
                outcome.opened.add(counts);
                outcome.tally.add(&lost.tally);
                outcome.lost.extend(lost.lost);
                self.buffer = text;
                is_opened.set(true);
            }
            if unread.is_some() {
                outcome.pass_over(&mut self.buffer);
                if last {
                    break;
                }
                continue;
            }
            if !last && self.buffer.len() < wanted {
                continue;
            }
            let mut part = PartOf { start: 0, bytes: PART_BYTES.max(wanted) };
            loop {
                let (bytes, end) = part.of(&self.buffer);
                let chunk = self.reader.read(bytes, last && end == self.buffer.len(), &mut fate);
                let done = end == self.buffer.len() && !chunk.full;
                part.take(chunk.consumed, chunk.full);
                outcome.tally.add(&chunk.tally);
                outcome.lost.extend(chunk.quarantine.into_iter().map(Lost::from));
                chunk.more.into_iter().for_each(|more| outcome.count_more(more));
                for (path, count) in chunk.duplicate_keys {
                    *outcome.duplicate_keys.entry(path).or_default() += count;
                }
                if chunk.frame.rows > 0 {
                    given = true;
                    take(chunk.frame).map_err(ReadFailure::Taker)?;
                }
                if done {
                    break;
                }
            }
            wanted = part.wanted(&self.buffer);
            self.buffer.drain(..part.start);
            if last {
                break;
            }
        }
        if text.is_plain() {
            // A plain body was moved in: kept, it would be there beside the next one.
            self.buffer = Vec::new();
        }
        outcome.decoded_bytes = opened_bytes.unwrap_or(text.bytes());
        outcome.unread_time = unread_time;
        let whole = loss.is_none() && finding.is_none() && outcome.decoded_bytes > 0;
        outcome.content = content.filter(|_| whole).map(|content| content.digest128());
        if let (Some(reason), Some(whole)) = (unread, outcome.lost.first_mut()) {
            whole.reason = reason;
            outcome.tally.quarantined_bytes = whole.len;
        }
        if let Some(Finding::StopAfter { loss: known, .. }) = finding {
            loss = Some(known.clone());
        }
        if let Some(reason) = loss {
            let offset = outcome.decoded_bytes;
            outcome.lost.push(Lost { offset, len: 0, reason, bytes: Vec::new(), places: 1 });
        }
        if let Some((_, lost)) = recovered {
            outcome.is_recovered = true;
            // What is recovered counts by its own bytes, what isn't by those of its error record.
            outcome.decoded_bytes += lost.tally.quarantined_bytes;
            outcome.tally.add(&lost.tally);
            outcome.lost.splice(0..0, lost.lost);
        }
        Ok(outcome)
    }

    /// Takes the records out of an object of error records.
    fn recover<E>(
        &mut self,
        object: &ObjectMeta,
        content: Content,
    ) -> Result<Recovered, ReadFailure<E>> {
        let ReadSpec { decode, json, .. } = &self.spec;
        let recovery =
            self.recovery.get_or_insert_with(|| Recovery::new(*decode, json.max_record_bytes));
        recovery
            .read(input(content))
            .map_err(|error| ReadFailure::Store(StoreError::from_read(error, &object.key)))
    }

    /// What an error means for rows that were given before it: nothing (`None`), or that they
    /// must be taken back.
    fn undecodable<E>(
        &self,
        error: &TextError,
        given: bool,
        text: &Text,
    ) -> Option<ReadFailure<E>> {
        let unread = self.buffer.len() as u64;
        let TextError::Decode(error) = error else {
            return None;
        };
        let good_bytes = match error {
            DecodeError::Contradicted { good_bytes, .. } => *good_bytes,
            DecodeError::TooLarge { .. } => 0,
            DecodeError::Read { .. } if given => {
                let reason = error.to_string();
                return Some(ReadFailure::StartOver(Finding::Failed { kind: "read", reason }));
            }
            _ => return None,
        };
        // Nothing beyond the good bytes has been looked at yet, or all of it must be unread.
        let untouched = text.bytes() == good_bytes
            || text.bytes() - unread == 0 && good_bytes == 0 && unread == 0;
        if untouched {
            return None;
        }
        let loss = error.to_string();
        Some(ReadFailure::StartOver(Finding::StopAfter { good_bytes, loss }))
    }
}

impl Lost {
    /// A whole record that gave none.
    pub fn of_record(offset: u64, record: &[u8], reason: String) -> Lost {
        let bytes = record[..record.len().min(Quarantined::KEPT_BYTES)].to_vec();
        Lost { offset, len: record.len() as u64, reason, bytes, places: 1 }
    }
}

impl From<Quarantined> for Lost {
    fn from(span: Quarantined) -> Self {
        Lost {
            offset: span.offset,
            len: span.len,
            reason: span.reason.text().to_string(),
            bytes: span.bytes,
            places: 1,
        }
    }
}

pub(super) fn input(content: Content) -> Input {
    match content {
        Content::Whole(bytes) => Input::Whole(bytes),
        Content::Stream(stream) => Input::Stream(stream),
    }
}

/// Where a record belongs, by its time fields, else by its object's time.
#[inline]
fn fate_of(
    record: &mut Record<'_>,
    rule: &TimeRule,
    object_time: Option<ObjectTime>,
    (start_us, end_us): (i64, i64),
) -> Fate {
    let mut unreadable = false;
    let found = record.find(|rank, text| {
        let value = match text {
            TimeText::Text(text) => TimeValue::Text(text),
            TimeText::Number(literal) => TimeValue::Number(literal),
            TimeText::Other => return None,
        };
        let instant = read_time(value, rule.field_tz);
        unreadable |= instant.is_none();
        instant.map(|instant| (rank, instant))
    });
    match rule.event(found, unreadable, object_time) {
        Ok(Event { us, .. }) if us < start_us => Fate::Before,
        Ok(Event { us, .. }) if us >= end_us => Fate::After,
        Ok(event) => Fate::Keep {
            ts_utc: event.us,
            source: source_index(event.source, unreadable),
            clamped: event.leap_clamped,
        },
        Err(TimeProblem::FieldMissing) => Fate::Reject(Reason::TimeMissing),
        Err(TimeProblem::FieldUnreadable) => Fate::Reject(Reason::TimeUnreadable),
        Err(TimeProblem::NoTime) => Fate::Reject(Reason::NoTime),
    }
}

const UNREAD_SOURCES: [u8; 3] =
    [SOURCE_NAME_UNREAD as u8, SOURCE_HOUR_UNREAD as u8, SOURCE_ARRIVAL_UNREAD as u8];

/// Where a record's time is counted.
fn source_index(source: TimeSource, unreadable: bool) -> u8 {
    let [name_unread, hour_unread, arrival_unread] = UNREAD_SOURCES;
    match source {
        TimeSource::Field(rank) => rank as u8,
        TimeSource::ObjectName if unreadable => name_unread,
        TimeSource::ObjectName => SOURCE_NAME as u8,
        TimeSource::PrefixHour if unreadable => hour_unread,
        TimeSource::PrefixHour => SOURCE_HOUR as u8,
        TimeSource::Arrival if unreadable => arrival_unread,
        TimeSource::Arrival => SOURCE_ARRIVAL as u8,
    }
}
