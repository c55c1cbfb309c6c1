//! The one place that spells and parses keys and prefixes of objects.
//!
//! Hours go in and prefixes come out; keys go in and what they say about their object comes out.
//! A key is hostile text: nothing here panics on one, and no name on disk is ever made from one.
//! All keys and prefixes are relative to the root of the source, with no slash in front.

use chrono::{DateTime, NaiveDate, Utc};

use crate::window::{Hour, HourRange};

mod name;
mod text;

pub use name::{NameProblem, ObjectName};
pub use text::escape_control;

/// The bytes of `2022/04/17/15/`.
const HOUR_PREFIX_BYTES: usize = 14;

/// The prefix that Firehose files an hour under: `2022/04/17/15/`.
pub fn prefix_of(hour: Hour) -> String {
    hour.start().format("%Y/%m/%d/%H/").to_string()
}

/// The prefixes to list for the hours, one for each in their order: where one fails to list, one
/// hour is lost and no more.
pub fn prefixes_of(hours: &HourRange) -> Vec<String> {
    hours.iter().map(prefix_of).collect()
}

/// The folders above the prefix of an hour, the nearest first: `2022/04/17/`, `2022/04/`, `2022/`
/// and the root, which is empty. Their folders tell where the nearest objects are.
pub fn parents_of(hour: Hour) -> [String; 4] {
    let start = hour.start();
    ["%Y/%m/%d/", "%Y/%m/", "%Y/", ""].map(|pattern| start.format(pattern).to_string())
}

/// The hour of a prefix that is exactly `yyyy/MM/dd/HH/`.
pub fn hour_of_prefix(prefix: &str) -> Option<Hour> {
    let bytes: &[u8; HOUR_PREFIX_BYTES] = prefix.as_bytes().try_into().ok()?;
    hour_of(bytes)
}

/// The hours that a folder holds: one for `2022/04/17/15/`, and those of a whole day, month or year
/// for `2022/04/17/`, `2022/04/` or `2022/`. `None` for a folder of any other form.
pub fn hours_of_folder(folder: &str) -> Option<HourRange> {
    if let Some(hour) = hour_of_prefix(folder) {
        return Some(HourRange { first: hour, last: hour });
    }
    let mut numbers = [1; 3];
    let mut parts = folder.strip_suffix('/')?.split('/');
    let mut given = 0;
    for (number, digits) in numbers.iter_mut().zip([4, 2, 2]) {
        let Some(part) = parts.next() else { break };
        *number = number_of(part.as_bytes()).filter(|_| part.len() == digits)?;
        given += 1;
    }
    if parts.next().is_some() {
        return None;
    }
    let [year, month, day] = numbers;
    let first = NaiveDate::from_ymd_opt(year as i32, month, day)?;
    let after = match given {
        1 => NaiveDate::from_ymd_opt(year as i32 + 1, 1, 1)?,
        2 => first.checked_add_months(chrono::Months::new(1))?,
        _ => first.succ_opt()?,
    };
    let hour_at =
        |date: NaiveDate| Hour::containing(date.and_time(chrono::NaiveTime::MIN).and_utc());
    Some(HourRange { first: hour_at(first), last: hour_at(after).prev() })
}

/// What a key says about its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// The hour of the prefix; `None` where the key does not begin with `yyyy/MM/dd/HH/`.
    pub hour: Option<Hour>,
    /// The last part of the key, or what is wrong with it.
    pub name: Result<ObjectName, NameProblem>,
}

/// Which part of the key an object's time was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyTime {
    /// The time in the name, to the second.
    Name,
    /// The start of the prefix hour.
    Hour,
}

impl KeyInfo {
    /// The object's time and where it was found: in the name, else the start of the prefix hour.
    pub fn object_time(&self) -> Option<(DateTime<Utc>, KeyTime)> {
        match (&self.name, self.hour) {
            (Ok(name), _) => Some((name.time_utc, KeyTime::Name)),
            (Err(_), Some(hour)) => Some((hour.start(), KeyTime::Hour)),
            (Err(_), None) => None,
        }
    }
}

/// Reads a key such as `2022/04/17/15/study-stream-1-2022-04-17-15-00-03-<uuid>.gz`.
pub fn parse_key(key: &str) -> KeyInfo {
    let (hour, rest) = split_hour(key);
    let name = rest.rsplit('/').next().unwrap_or(rest);
    KeyInfo { hour, name: name.parse() }
}

/// Why an object is never data. Excluded objects are counted by reason and not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exclusion {
    /// An empty object that stands for a folder: the key is empty, or ends with `/` or `$folder$`.
    FolderMarker,
    /// The same with bytes in it. Firehose writes no such key, but somebody put something there.
    FolderWithBytes,
    /// Under a folder such as `processing-failed/`, where Firehose puts what it could not deliver.
    ErrorOutput,
    /// Not under `yyyy/MM/dd/HH/`.
    OutsideHours,
    /// In a folder below the prefix of its hour.
    BelowHour,
    /// A name that begins with `.`, or with `_` and is not one that Firehose gives (`.DS_Store`,
    /// `_SUCCESS`, unfinished copies).
    Hidden,
}

impl Exclusion {
    /// Every reason, in the order in which they are shown.
    pub const ALL: [Exclusion; 6] = [
        Exclusion::FolderMarker,
        Exclusion::FolderWithBytes,
        Exclusion::ErrorOutput,
        Exclusion::OutsideHours,
        Exclusion::BelowHour,
        Exclusion::Hidden,
    ];

    /// The reason as it stands in the manifest. It never changes.
    pub const fn reason(self) -> &'static str {
        match self {
            Exclusion::FolderMarker => "folder marker",
            Exclusion::FolderWithBytes => "folder marker with bytes in it",
            Exclusion::ErrorOutput => "error output of firehose",
            Exclusion::OutsideHours => "not under an hour's prefix",
            Exclusion::BelowHour => "in a folder below an hour's prefix",
            Exclusion::Hidden => "hidden or temporary name",
        }
    }
}

impl std::fmt::Display for Exclusion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason())
    }
}

/// Why the object of this key and size is never data; `None` for one that is to be read.
///
/// An object is not excluded for its name alone, save for a hidden one: people rename objects and
/// add their own. An empty object is read like any other and holds no record.
pub fn exclusion(key: &str, bytes: u64) -> Option<Exclusion> {
    if key.is_empty() || key.ends_with('/') || key.ends_with("$folder$") {
        let marker = if bytes == 0 { Exclusion::FolderMarker } else { Exclusion::FolderWithBytes };
        return Some(marker);
    }
    let folders = key.rsplit('/').skip(1);
    if folders.into_iter().any(|folder| folder.ends_with("-failed")) {
        return Some(Exclusion::ErrorOutput);
    }
    let (hour, name) = split_hour(key);
    if hour.is_none() {
        Some(Exclusion::OutsideHours)
    } else if name.contains('/') {
        Some(Exclusion::BelowHour)
    } else if is_hidden(name) {
        Some(Exclusion::Hidden)
    } else {
        None
    }
}

/// An unfinished copy is often the whole name with a dot in front, while an underscore may be the
/// beginning of a stream's own name.
fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || (name.starts_with('_') && name.parse::<ObjectName>().is_err())
}

/// The hour in front of a key, and what follows it (or the whole key).
fn split_hour(key: &str) -> (Option<Hour>, &str) {
    let hour = key.as_bytes().first_chunk().and_then(hour_of);
    // The prefix is ASCII, so that the cut is between characters.
    (hour, if hour.is_some() { &key[HOUR_PREFIX_BYTES..] } else { key })
}

fn hour_of(prefix: &[u8; HOUR_PREFIX_BYTES]) -> Option<Hour> {
    if [4, 7, 10, 13].iter().any(|&slash| prefix[slash] != b'/') {
        return None;
    }
    let part = |from: usize, to: usize| number_of(&prefix[from..to]);
    Hour::of_calendar(part(0, 4)? as i32, part(5, 7)?, part(8, 10)?, part(11, 13)?)
}

/// A number of few digits and nothing else; `None` for none or more than nine.
fn number_of(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    digits.iter().try_fold(0, |sum, byte| match byte {
        b'0'..=b'9' => Some(sum * 10 + u32::from(byte - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
