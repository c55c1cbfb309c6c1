//! The last part of a key goes in; stream, version, time, id and extension come out.
//!
//! `<stream>-<version>-<yyyy-MM-dd-HH-mm-ss>-<uuid><ext>` is read from its right end, because the
//! stream may hold anything that the other parts are made of.

use std::fmt;
use std::str::FromStr;

use chrono::{NaiveDate, NaiveDateTime};

use super::number_of;

/// The characters of `2022-04-17-15-00-03`.
const TIME_BYTES: usize = 19;
/// The characters of a UUID as 8-4-4-4-12 hexadecimal digits.
const UUID_BYTES: usize = 36;

/// What the name of an object says. Its `Display` spells the name again, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectName {
    /// The stream, with whatever literal text the prefix ended in in front of it.
    pub stream: String,
    /// The version of the stream's configuration, from 1.
    pub version: u32,
    /// Approximate arrival, to the second, by the clock of the prefix's zone.
    pub time_local: NaiveDateTime,
    /// The UUID as written.
    pub id: String,
    /// Empty, or beginning with a dot (`.gz`, `.json.gz`). It says nothing about the bytes.
    pub extension: String,
}

/// Why a name is not one that Firehose gives. Counted by its text, which never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum NameProblem {
    #[error("no name")]
    Empty,
    #[error("control character in the name")]
    ControlCharacter,
    #[error("no uuid at the end of the name")]
    NoUuid,
    #[error("no time before the uuid")]
    NoTime,
    #[error("impossible time in the name")]
    ImpossibleTime,
    #[error("no version before the time")]
    NoVersion,
    #[error("no stream before the version")]
    NoStream,
}

impl FromStr for ObjectName {
    type Err = NameProblem;

    /// Errors: the first thing that is wrong, seen from the right.
    fn from_str(name: &str) -> Result<Self, NameProblem> {
        if name.is_empty() {
            return Err(NameProblem::Empty);
        }
        if name.chars().any(char::is_control) {
            return Err(NameProblem::ControlCharacter);
        }
        // The extension is what follows the id, and may hold dots: `.json.gz`.
        let dots = name.bytes().enumerate().rev().filter(|(_, byte)| *byte == b'.');
        let mut problem = NameProblem::NoUuid;
        for end in std::iter::once(name.len()).chain(dots.map(|(at, _)| at)) {
            match without_extension(&name[..end]) {
                Ok(mut found) => {
                    found.extension = name[end..].to_string();
                    return Ok(found);
                }
                // A cut that got further tells more.
                Err(found) => problem = problem.max(found),
            }
        }
        Err(problem)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.time_local.format("%Y-%m-%d-%H-%M-%S");
        write!(f, "{}-{}-{time}-{}{}", self.stream, self.version, self.id, self.extension)
    }
}

fn without_extension(stem: &str) -> Result<ObjectName, NameProblem> {
    let (rest, id) = split_last(stem, UUID_BYTES).ok_or(NameProblem::NoUuid)?;
    if !is_uuid(id.as_bytes()) {
        return Err(NameProblem::NoUuid);
    }
    let rest = rest.strip_suffix('-').ok_or(NameProblem::NoTime)?;
    let (rest, time) = split_last(rest, TIME_BYTES).ok_or(NameProblem::NoTime)?;
    let time_local = time_of(time.as_bytes())?;
    let rest = rest.strip_suffix('-').ok_or(NameProblem::NoVersion)?;
    let (stream, version) = rest.rsplit_once('-').unwrap_or(("", rest));
    let version = version_of(version).ok_or(NameProblem::NoVersion)?;
    if stream.is_empty() {
        return Err(NameProblem::NoStream);
    }
    Ok(ObjectName {
        stream: stream.to_string(),
        version,
        time_local,
        id: id.to_string(),
        extension: String::new(),
    })
}

/// The last `bytes` bytes and what is in front of them, where the cut is between characters.
fn split_last(text: &str, bytes: usize) -> Option<(&str, &str)> {
    text.split_at_checked(text.len().checked_sub(bytes)?)
}

fn is_uuid(text: &[u8]) -> bool {
    let dashes = [8, 13, 18, 23];
    text.iter().enumerate().all(|(at, byte)| match dashes.contains(&at) {
        true => *byte == b'-',
        false => byte.is_ascii_hexdigit(),
    })
}

fn time_of(text: &[u8]) -> Result<NaiveDateTime, NameProblem> {
    if [4, 7, 10, 13, 16].iter().any(|&dash| text[dash] != b'-') {
        return Err(NameProblem::NoTime);
    }
    let part = |from: usize, to: usize| number_of(&text[from..to]).ok_or(NameProblem::NoTime);
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    NaiveDate::from_ymd_opt(year as i32, month, day)
        .and_then(|date| date.and_hms_opt(hour, minute, second))
        .ok_or(NameProblem::ImpossibleTime)
}

/// From 1, and spelled in the one way that Firehose spells it.
fn version_of(text: &str) -> Option<u32> {
    let spelled_plainly = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if spelled_plainly { text.parse().ok() } else { None }
}
