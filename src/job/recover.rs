//! One object of records that Firehose could not deliver → those records' own text, one behind the
//! other, and when each arrived.

use super::read::{Lost, ObjectOutcome, Places};
use super::text::{Text, TextError};
use crate::codec::{DecodeError, DecodeLimits, Input, Step};
use crate::json::{Apart, Fate, Reader, Record};
use crate::time::ObjectTime;
use crate::undelivered::Undelivered;

/// Bytes of one object of error records, and of all that is recovered of it. Firehose buffers at
/// most 128 MiB.
pub(super) const OBJECT_BYTES: u64 = 512 << 20;
/// Bytes that the data of one error record may decompress to. Firehose takes records of 1,000 KiB.
pub(super) const RECORD_BYTES: u64 = 64 << 20;

/// Reads objects of error records one after another.
pub(super) struct ErrorReader {
    /// Tells error records apart, with the same care as any others.
    framing: Reader,
    limits: DecodeLimits,
}

pub(super) const KEEP: Fate = Fate::Keep { ts_utc: 0, source: 0, clamped: false };

impl ErrorReader {
    pub fn new(limits: DecodeLimits, max_record_bytes: usize) -> Self {
        ErrorReader { framing: Apart::reader(max_record_bytes), limits }
    }

    /// Gives each error record to `take`: its offset and its bytes, and what they say. What is
    /// no error record is quarantined.
    ///
    /// The outcome's tally counts quarantined bytes, and no others; `decoded_bytes` are those of the object.
    ///
    /// # Errors
    /// What the store says where the object can't be got. All else is among the losses.
    pub fn read(
        &mut self,
        input: Input,
        take: &mut impl FnMut(u64, &[u8], Undelivered) -> Result<(), String>,
    ) -> Result<ObjectOutcome, std::io::Error> {
        let mut outcome = ObjectOutcome::default();
        let (bytes, loss) = self.decode(input)?;
        outcome.decoded_bytes = bytes.len() as u64;
        let limits = DecodeLimits {
            object_bytes: RECORD_BYTES.min(self.limits.object_bytes),
            ..self.limits
        };
        let mut bad = Places::default();
        let mut fate = |record: &mut Record<'_>| {
            let found = Undelivered::read(record.source, limits).map_err(|why| why.to_string());
            if let Err(reason) = found.and_then(|found| take(record.offset, record.source, found)) {
                bad.add(Lost::of_record(record.offset, record.source, reason));
            }
            KEEP
        };
        self.framing.begin_object();
        let mut start = 0;
        loop {
            let chunk = self.framing.read(&bytes[start..], true, &mut fate);
            start += chunk.consumed;
            outcome.tally.quarantined_bytes += chunk.tally.quarantined_bytes;
            outcome.lost.extend(chunk.quarantine.into_iter().map(Lost::from));
            chunk.more.into_iter().for_each(|more| outcome.count_more(more));
            if !chunk.full {
                break;
            }
        }
        outcome.take_in(bad);
        if let Some(reason) = loss {
            let offset = outcome.decoded_bytes;
            outcome.lost.push(Lost { offset, len: 0, reason, bytes: Vec::new(), places: 1 });
        }
        Ok(outcome)
    }

    /// The object's text, as far as it is verified, and why it ends before its end.
    fn decode(&self, input: Input) -> Result<(Vec<u8>, Option<String>), std::io::Error> {
        let object_bytes = OBJECT_BYTES.min(self.limits.object_bytes);
        let mut text = Text::new(input, DecodeLimits { object_bytes, ..self.limits });
        let mut bytes = Vec::new();
        loop {
            match text.next_block(&mut bytes) {
                Ok(Step::More) => {}
                Ok(Step::End) => return Ok((bytes, None)),
                Err(TextError::Decode(DecodeError::Read { source, .. })) => return Err(source),
                Err(error) => {
                    let good = match &error {
                        TextError::Decode(DecodeError::Contradicted { good_bytes, .. }) => {
                            *good_bytes
                        }
                        TextError::Decode(DecodeError::TooLarge { .. }) => 0,
                        _ => bytes.len() as u64,
                    };
                    bytes.truncate(usize::try_from(good).unwrap_or(usize::MAX));
                    return Ok((bytes, Some(error.to_string())));
                }
            }
        }
    }
}

/// The records of one object, taken out of their error records.
#[derive(Default)]
pub(super) struct Recovered {
    /// Whole records, with a line feed behind each.
    pub text: Vec<u8>,
    pub arrivals: Arrivals,
    /// What could not be recovered. Offsets are those in the object.
    pub lost: ObjectOutcome,
}

/// When recovered records arrived, by their place in the recovered text.
#[derive(Default)]
pub(super) struct Arrivals(Vec<(u64, Option<ObjectTime>)>);

impl Arrivals {
    /// When the record at this offset arrived, where that was said.
    pub fn of(&self, offset: u64) -> Option<ObjectTime> {
        let behind = self.0.partition_point(|(start, _)| *start <= offset);
        self.0.get(behind.checked_sub(1)?)?.1
    }
}

/// Takes records out of error records.
pub(super) struct Recovery {
    errors: ErrorReader,
    /// Data that is no record, or more than that, must not take its neighbours along: each is looked
    /// at alone.
    alone: Apart,
}

impl Recovery {
    pub fn new(limits: DecodeLimits, max_record_bytes: usize) -> Self {
        Recovery {
            errors: ErrorReader::new(limits, max_record_bytes),
            alone: Apart::new(max_record_bytes),
        }
    }

    /// # Errors
    /// As for [`ErrorReader::read`].
    pub fn read(&mut self, input: Input) -> Result<Recovered, std::io::Error> {
        let Recovery { errors, alone } = self;
        let (mut text, mut arrivals): (Vec<u8>, Vec<_>) = (Vec::new(), Vec::new());
        let lost = errors.read(input, &mut |_, _, found| {
            let before = text.len();
            let all = alone.all(&found.data, &mut |_, record| {
                text.extend_from_slice(record);
                text.push(b'\n');
            });
            let problem = match all {
                Err(reason) => Some(format!("rawData of an error record: {}", reason.text())),
                Ok(()) if text.len() == before => {
                    Some("rawData of an error record holds no record".to_string())
                }
                Ok(()) if text.len() as u64 > OBJECT_BYTES => Some(format!(
                    "more than {} MiB are recovered of the object",
                    OBJECT_BYTES >> 20
                )),
                Ok(()) => None,
            };
            if let Some(problem) = problem {
                text.truncate(before);
                return Err(problem);
            }
            let arrival = found.arrival_us.and_then(ObjectTime::of_arrival);
            arrivals.push((before as u64, arrival));
            Ok(())
        })?;
        Ok(Recovered { text, arrivals: Arrivals(arrivals), lost })
    }
}
