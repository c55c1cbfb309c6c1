//! Marks, and the records that carry them. Pure.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// What tells the records of one trace from all others. It holds the time of sending, so that who looks
/// for it later knows where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    text: String,
    pub time_utc: DateTime<Utc>,
}

/// A text that no trace printed as its mark.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it is no mark of a trace; a mark is as 20220418T030000Z-1f0c9a3e5b7d")]
pub struct NoMark;

/// A marked record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Marked {
    #[serde(rename = "rawcat_trace")]
    mark: String,
    /// From 0.
    pub n: u32,
    /// A transformation may have dropped it.
    #[serde(default)]
    sent_at: Option<String>,
}

const TIME: &str = "%Y%m%dT%H%M%SZ";
const RANDOM_DIGITS: usize = 12;

impl Mark {
    pub fn new(now: DateTime<Utc>, random: u64) -> Mark {
        let random = random & ((1 << (4 * RANDOM_DIGITS)) - 1);
        let text = format!("{}-{random:0RANDOM_DIGITS$x}", now.format(TIME));
        text.parse().expect("it was written so")
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The body of a record, and its partition key: every record has another one, so that they come
    /// to all shards.
    pub fn record(&self, n: u32, now: DateTime<Utc>) -> (String, String) {
        let sent_at = Some(now.to_rfc3339_opts(SecondsFormat::Micros, true));
        let record = Marked { mark: self.text.clone(), n, sent_at };
        let body = serde_json::to_string(&record).expect("text is JSON");
        (body, format!("{}-{n}", self.text))
    }

    /// The record, where a text is one of this mark.
    pub fn of_record(&self, text: &[u8]) -> Option<Marked> {
        serde_json::from_slice(text).ok().filter(|record: &Marked| record.mark == self.text)
    }

    /// The numbers of the records whose texts lie somewhere in `bytes`.
    pub fn numbers_in(&self, bytes: &[u8]) -> Vec<u32> {
        memchr::memmem::find_iter(bytes, self.text.as_bytes())
            .filter_map(|at| number_behind(&bytes[at + self.text.len()..]))
            .collect()
    }
}

/// Bytes behind a mark that may tell the number of its record.
const NUMBER_WITHIN: usize = 40;

/// `3` of `","n":3,"sent_at":…`
fn number_behind(text: &[u8]) -> Option<u32> {
    let text = &text[..text.len().min(NUMBER_WITHIN)];
    let text = &text[..text.iter().position(|byte| *byte == b'}').unwrap_or(text.len())];
    let at = memchr::memmem::find(text, b"\"n\"")? + 3;
    let digits = text[at..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let end = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

impl Marked {
    pub fn sent_utc(&self) -> Option<DateTime<Utc>> {
        let text = self.sent_at.as_deref()?;
        DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
    }
}

impl FromStr for Mark {
    type Err = NoMark;

    fn from_str(text: &str) -> Result<Self, NoMark> {
        let (time, random) = text.split_once('-').ok_or(NoMark)?;
        let time_utc = NaiveDateTime::parse_from_str(time, TIME).map_err(|_| NoMark)?.and_utc();
        let is_random = random.len() == RANDOM_DIGITS
            && random.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match is_random {
            true => Ok(Mark { text: text.to_string(), time_utc }),
            false => Err(NoMark),
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_found_by_its_mark_alone_or_among_others() {
        let now = DateTime::from_timestamp(1_650_250_800, 5_000).unwrap();
        let mark = Mark::new(now, u64::MAX);
        assert_eq!(mark.text(), "20220418T030000Z-ffffffffffff");
        assert_eq!(mark.text().parse(), Ok(mark.clone()));
        let (three, key) = mark.record(3, now);
        assert_eq!(key, "20220418T030000Z-ffffffffffff-3");
        assert_eq!(
            three,
            "{\"rawcat_trace\":\"20220418T030000Z-ffffffffffff\",\"n\":3,\
             \"sent_at\":\"2022-04-18T03:00:00.000005Z\"}"
        );
        let read = mark.of_record(three.as_bytes()).unwrap();
        assert_eq!((read.n, read.sent_utc()), (3, Some(now)));
        let other = Mark::new(now, 7);
        assert_eq!(other.of_record(three.as_bytes()), None);
        let glued = format!("{{\"a\":1}}{three}{three}{}", mark.record(12, now).0);
        assert_eq!(mark.numbers_in(glued.as_bytes()), [3, 3, 12]);
        assert!(other.numbers_in(glued.as_bytes()).is_empty());
        let spaced = three.replace(':', " : ");
        assert_eq!(mark.numbers_in(spaced.as_bytes()), [3]);
        assert!(mark.numbers_in(&three.as_bytes()[..50]).is_empty());
    }

    #[test]
    fn other_texts_are_no_marks() {
        for text in
            ["", "x", "20220418T030000Z", "20220418T030000Z-x", "20221418T030000Z-1f0c9a3e5b7d"]
        {
            assert_eq!(text.parse::<Mark>(), Err(NoMark), "{text}");
        }
    }
}
