//! One object of envelopes → the text of the records in them.

use super::read::{Lost, ObjectOutcome, Places};
use super::recover::{KEEP, OBJECT_BYTES, RECORD_BYTES};
use crate::codec::DecodeLimits;
use crate::envelope::{Envelope, Opener};
use crate::json::{Apart, Record};

/// Which objects are opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Envelopes {
    /// Those whose first record is an envelope.
    #[default]
    Recognised,
    /// None.
    Left,
    /// All, as this kind; records that are no such envelope stay as they are.
    All(Envelope),
}

impl Envelopes {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Envelopes::Recognised => "auto",
            Envelopes::Left => "none",
            Envelopes::All(Envelope::CloudWatchLogs) => "cloudwatch-logs",
            Envelopes::All(Envelope::Kinesis) => "kinesis",
            Envelopes::All(Envelope::Sns) => "sns",
        }
    }

    /// How an object that begins with these bytes is opened.
    pub fn of_object(self, bytes: &[u8]) -> Option<Envelope> {
        match self {
            Envelopes::Recognised => Envelope::of_object(bytes),
            Envelopes::Left => None,
            Envelopes::All(envelope) => Some(envelope),
        }
    }
}

/// What was opened.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct OpenedCounts {
    pub envelopes: u64,
    /// Records in them.
    pub records: u64,
    /// Of the envelopes, those of CloudWatch Logs that carry no data.
    pub control: u64,
}

impl OpenedCounts {
    pub fn add(&mut self, other: OpenedCounts) {
        self.envelopes += other.envelopes;
        self.records += other.records;
        self.control += other.control;
    }
}

/// The records of one object, taken out of their envelopes.
#[derive(Default)]
pub(super) struct OpenedText {
    /// Records, a line feed behind each.
    pub text: Vec<u8>,
    pub counts: OpenedCounts,
    /// What could not be opened. Offsets are those in the object.
    pub lost: ObjectOutcome,
}

/// Opens the envelopes in an object's decoded bytes.
pub(super) fn open(
    envelope: Envelope,
    bytes: &[u8],
    limits: DecodeLimits,
    max_record_bytes: usize,
) -> OpenedText {
    let mut opened = OpenedText::default();
    let OpenedText { text, counts, lost } = &mut opened;
    let max_bytes = usize::try_from(OBJECT_BYTES.min(limits.object_bytes)).unwrap_or(usize::MAX);
    let limits = DecodeLimits { object_bytes: RECORD_BYTES.min(limits.object_bytes), ..limits };
    let mut opener = Opener::new(envelope, limits, max_record_bytes, max_bytes);
    let mut bad = Places::default();
    let mut fate = |record: &mut Record<'_>| {
        let (offset, source) = (record.offset, record.source);
        let one = opener.open(source, text, &mut |range, problem| {
            let at = offset + range.start as u64;
            bad.add(Lost::of_record(at, &source[range], problem.to_string()));
        });
        counts.add(OpenedCounts {
            envelopes: one.is_envelope.into(),
            records: if one.is_envelope { one.records } else { 0 },
            control: one.is_control.into(),
        });
        KEEP
    };
    let mut reader = Apart::reader(max_record_bytes);
    reader.begin_object();
    let mut start = 0;
    loop {
        let chunk = reader.read(&bytes[start..], true, &mut fate);
        start += chunk.consumed;
        lost.tally.quarantined_bytes += chunk.tally.quarantined_bytes;
        lost.lost.extend(chunk.quarantine.into_iter().map(Lost::from));
        chunk.more.into_iter().for_each(|more| lost.count_more(more));
        if !chunk.full {
            break;
        }
    }
    lost.take_in(bad);
    opened
}
