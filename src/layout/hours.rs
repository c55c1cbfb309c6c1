//! The prefixes that Firehose gives where nothing is configured: UTC hours go in, `2022/04/17/15/`
//! comes out, and the folders around it; and the other way round.

use chrono::NaiveDate;

use super::number_of;
use crate::window::{Hour, HourRange};

/// The bytes of `2022/04/17/15/`.
const HOUR_PREFIX_BYTES: usize = 14;

/// The prefix that Firehose files an hour under: `2022/04/17/15/`.
pub fn prefix_of(hour: Hour) -> String {
    hour.start().format("%Y/%m/%d/%H/").to_string()
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

fn hour_of(prefix: &[u8; HOUR_PREFIX_BYTES]) -> Option<Hour> {
    if [4, 7, 10, 13].iter().any(|&slash| prefix[slash] != b'/') {
        return None;
    }
    let part = |from: usize, to: usize| number_of(&prefix[from..to]);
    Hour::of_calendar(part(0, 4)? as i32, part(5, 7)?, part(8, 10)?, part(11, 13)?)
}
