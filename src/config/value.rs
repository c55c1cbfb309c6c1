//! Values as people type them: text goes in; durations, sizes and the like come out.
//!
//! Every refusal says what is wrong and how to write it. Nothing here knows options by name.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;

use chrono::TimeDelta;

use crate::layout::{ErrorPrefix, Expression, LayoutError, Prefix, ZoneHistory, ZonesError};
use crate::pipeline::{KeyQuery, QueryProblem};
use crate::schema::ColumnType;

/// Why a value was refused, and how to write it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValueError {
    pub message: String,
    pub hint: Option<String>,
}

impl ValueError {
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> ValueError {
        ValueError { message: message.into(), hint: Some(hint.into()) }
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ValueError {}

/// Refuses what begins with a minus, before anything else is said about it.
fn not_negative(text: &str, least: &str) -> Result<(), ValueError> {
    match text.strip_prefix(['-', '−']) {
        Some(_) => Err(ValueError::new(format!("'{text}' is negative"), format!("give {least}"))),
        None => Ok(()),
    }
}

/// `90s`, `5m`, `1h`, `1d`, `1h30m` or `0`. Never negative.
pub fn parse_duration(text: &str) -> Result<TimeDelta, ValueError> {
    let least = match text.strip_prefix('-') {
        Some(meant) if parse_duration(meant).is_ok() => format!("0 or more, as {meant}"),
        _ => "0 or more, as 2h".to_string(),
    };
    not_negative(text, &least)?;
    let refuse = || {
        ValueError::new(
            format!("'{text}' is not a length of time"),
            "write a number and a unit: 90s, 5m, 1h, 1d, or together 1h30m",
        )
    };
    if text == "0" {
        return Ok(TimeDelta::zero());
    }
    let mut seconds: i64 = 0;
    let mut rest = text;
    let mut largest = i64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refuse)?;
        let number: i64 = rest[..digits].parse().map_err(|_| refuse())?;
        let after = &rest[digits..];
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let unit = match &after[..letters] {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(refuse()),
        };
        // Units fall, so that `5m1h` and `1h1h` are typing mistakes and not sums.
        if unit >= largest {
            return Err(refuse());
        }
        largest = unit;
        seconds = number
            .checked_mul(unit)
            .and_then(|part| seconds.checked_add(part))
            .filter(|&sum| sum <= 3_660 * 86_400)
            .ok_or_else(|| ValueError::new(format!("'{text}' is too long"), "at most 3660d"))?;
        rest = &after[letters..];
    }
    if text.is_empty() {
        return Err(refuse());
    }
    Ok(TimeDelta::seconds(seconds))
}

/// Like [`parse_duration`], but longer than nothing.
pub fn parse_step(text: &str) -> Result<TimeDelta, ValueError> {
    let step = parse_duration(text)?;
    if step.is_zero() {
        return Err(ValueError::new("it must be at least 1s", "write it as 1h, 5m or 90s"));
    }
    Ok(step)
}

/// The shortest text that [`parse_duration`] reads back: `1h`, `1h30m`, `90s` as `1m30s`.
pub fn duration_text(duration: TimeDelta) -> String {
    let mut rest = duration.num_seconds().max(0);
    if rest == 0 {
        return "0s".to_string();
    }
    let mut text = String::new();
    for (unit, seconds) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
        if rest >= seconds {
            text.push_str(&format!("{}{unit}", rest / seconds));
            rest %= seconds;
        }
    }
    text
}

/// `4GiB`, `16MiB`, `500MB`, `1024`: a number of bytes above 0. Units in any case.
pub fn parse_size(text: &str) -> Result<u64, ValueError> {
    let refuse = || {
        ValueError::new(
            format!("'{text}' is not a size"),
            "write bytes with a unit: 64KiB, 16MiB, 4GiB (or KB, MB, GB by thousands)",
        )
    };
    not_negative(text, "1 byte or more, as 16MiB")?;
    let too_large =
        || ValueError::new(format!("'{text}' is too large"), "give at most 16777215TiB");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if digits == 0 {
        return Err(refuse());
    }
    // Digits alone: they can only be too many.
    let number: u64 = text[..digits].parse().map_err(|_| too_large())?;
    let unit: u64 = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return Err(refuse()),
    };
    match number.checked_mul(unit) {
        Some(0) => Err(ValueError::new("it must be at least one byte", "write 64KiB, 16MiB, 4GiB")),
        Some(bytes) => Ok(bytes),
        None => Err(too_large()),
    }
}

/// Like [`parse_size`], up to what one value of a table can hold.
pub fn parse_record_size(text: &str) -> Result<u64, ValueError> {
    const MOST: u64 = 1 << 30;
    match parse_size(text)? {
        size if size <= MOST => Ok(size),
        _ => Err(ValueError::new("no record can be larger than 1GiB", "give at most 1GiB")),
    }
}

/// A whole number from 1 to 2^32 - 1.
pub fn parse_count(text: &str) -> Result<NonZeroUsize, ValueError> {
    count_up_to(text, u32::MAX as usize)
}

/// Threads, requests at a time, panels: more than a thousand of them help nobody, and each costs
/// memory, 15 kB a thread before it reads anything and some 50 MB while it does.
pub const MOST_AT_ONCE: usize = 1024;

/// A whole number from 1 to [`MOST_AT_ONCE`].
pub fn parse_small_count(text: &str) -> Result<NonZeroUsize, ValueError> {
    count_up_to(text, MOST_AT_ONCE)
}

fn count_up_to(text: &str, most: usize) -> Result<NonZeroUsize, ValueError> {
    not_negative(text, "1 or more")?;
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        let message = format!("'{text}' is not a whole number");
        return Err(ValueError::new(message, "write 1, 2, 3, …"));
    }
    let number = text.parse::<usize>().ok().filter(|number| *number <= most).ok_or_else(|| {
        ValueError::new(format!("{text} is too many"), format!("give at most {most}"))
    })?;
    NonZeroUsize::new(number)
        .ok_or_else(|| ValueError::new("it must be at least 1", "leave it out for the default"))
}

/// Width of a picture in pixels, and its height where one is given: `1200`, `1200x700`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PictureSize {
    pub width: u32,
    /// `None`: as high as the panels ask for.
    pub height: Option<u32>,
}

impl std::str::FromStr for PictureSize {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let hint = "write the width in pixels, or width x height, as 1200 or 1200x700; each \
                    from 480 to 6000";
        let refuse = || ValueError::new(format!("'{text}' is not a picture size"), hint);
        not_negative(text, "the width in pixels, as 1200")?;
        let side = |text: &str| text.trim().parse::<u32>().map_err(|_| refuse());
        let size = match text.split_once(['x', 'X', '×']) {
            Some((width, height)) => {
                PictureSize { width: side(width)?, height: Some(side(height)?) }
            }
            None => PictureSize { width: side(text)?, height: None },
        };
        let mut sides = [Some(size.width), size.height].into_iter().flatten();
        if sides.any(|side| !(480..=6000).contains(&side)) {
            return Err(ValueError::new(format!("'{text}' is out of range"), hint));
        }
        Ok(size)
    }
}

impl fmt::Display for PictureSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.height {
            Some(height) => write!(f, "{}x{height}", self.width),
            None => write!(f, "{}", self.width),
        }
    }
}

/// The error prefix of a stream.
pub fn parse_error_prefix(text: &str) -> Result<ErrorPrefix, ValueError> {
    text.parse().map_err(|problem: LayoutError| ValueError {
        message: problem.to_string(),
        hint: Some(
            "write the error prefix as the stream has it, in single quotes, as \
             'errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/'"
                .to_string(),
        ),
    })
}

/// An address to listen on.
pub fn parse_address(text: &str) -> Result<SocketAddr, ValueError> {
    text.parse().map_err(|_| ValueError {
        message: format!("'{text}' is no address and port"),
        hint: Some("write it as 127.0.0.1:7117, or 127.0.0.1:0 for any free port".to_string()),
    })
}

/// What stands between fields.
pub fn parse_delimiter(text: &str) -> Result<u8, ValueError> {
    match (text, text.as_bytes()) {
        ("tab" | "\\t", _) => Ok(b'\t'),
        (_, [byte]) if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => Ok(*byte),
        _ => Err(ValueError {
            message: format!("'{text}' is no delimiter"),
            hint: Some("give one character, as ';', or tab".to_string()),
        }),
    }
}

/// What names end with.
pub fn parse_extension(text: &str) -> Result<String, ValueError> {
    let is_right = text.len() <= 128
        && text.strip_prefix('.').is_some_and(|rest| {
            !rest.is_empty()
                && rest.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        });
    match is_right {
        true => Ok(text.to_string()),
        false => Err(ValueError {
            message: format!("'{text}' is no extension of a name"),
            hint: Some(
                "it begins with a dot, as .json, and has letters, digits, '.', '-' and '_'"
                    .to_string(),
            ),
        }),
    }
}

/// Where a partition key is in a record.
pub fn parse_key_query(text: &str) -> Result<KeyQuery, ValueError> {
    text.parse()
        .map_err(|problem: QueryProblem| ValueError { message: problem.to_string(), hint: None })
}

/// The prefix of a stream.
pub fn parse_expression(text: &str) -> Result<Expression, ValueError> {
    text.parse().map_err(|problem: LayoutError| ValueError {
        message: problem.to_string(),
        hint: Some("write it in single quotes, as '!{timestamp:yyyy/MM/dd/HH/}'".to_string()),
    })
}

/// The prefix of a stream, or `flat`.
pub fn parse_prefix(text: &str) -> Result<Prefix, ValueError> {
    text.parse().map_err(|problem: LayoutError| ValueError {
        message: problem.to_string(),
        hint: Some(
            "write the prefix as the stream has it, in single quotes, as \
             '!{timestamp:yyyy/MM/dd/HH/}'"
                .to_string(),
        ),
    })
}

/// The zones of prefixes: `Asia/Seoul`, `UTC,2024-03-01=Asia/Seoul`.
pub fn parse_zones(text: &str) -> Result<ZoneHistory, ValueError> {
    text.parse().map_err(|problem: ZonesError| {
        ValueError::new(
            problem.to_string(),
            "write a zone, and behind commas each later one with its date: \
             UTC,2024-03-01=Asia/Seoul",
        )
    })
}

/// Columns of a terminal, from 20 to 500.
pub fn parse_columns(text: &str) -> Result<u16, ValueError> {
    not_negative(text, "a number from 20 to 500")?;
    text.parse().ok().filter(|columns| (20..=500).contains(columns)).ok_or_else(|| {
        ValueError::new(
            format!("'{text}' is not a width in characters"),
            "write a number from 20 to 500",
        )
    })
}

/// `value=float`: a column and the type that it has in every output.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TypedColumn {
    pub column: String,
    pub column_type: ColumnType,
}

impl std::str::FromStr for TypedColumn {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const TYPES: &str =
            "bool, int, float, text, json, list<bool>, list<int>, list<float>, list<text>";
        // The last `=`, since a column's name may hold one and a type's can't.
        let Some((column, kind)) = text.rsplit_once('=').filter(|(column, _)| !column.is_empty())
        else {
            return Err(ValueError::new(
                format!("'{text}' is not column=type"),
                "write a column and its type, as value=float",
            ));
        };
        match kind.parse() {
            Ok(ColumnType::Null) | Err(()) => Err(ValueError::new(
                format!("'{kind}' is not a column type"),
                match closest(kind, TYPES.split(", ")) {
                    Some(near) => format!("did you mean {column}={near}? The types are {TYPES}"),
                    None => format!("the types are {TYPES}"),
                },
            )),
            Ok(column_type) => Ok(TypedColumn { column: column.to_string(), column_type }),
        }
    }
}

/// A column's name as typed; blanks around it are dropped.
pub fn parse_column(text: &str) -> Result<String, ValueError> {
    match text.trim() {
        "" => Err(ValueError::new(
            "a column name is empty",
            "separate columns by one comma, as type,os",
        )),
        name => Ok(name.to_string()),
    }
}

/// The known name that `typed` was probably meant to be: one slip for every three letters, two
/// letters that changed places being one.
pub fn closest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed = typed.to_lowercase();
    let slips = (typed.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|name| (strsim::osa_distance(&typed, name), name))
        .filter(|(distance, name)| *distance <= slips && *distance < name.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units_that_fall() {
        assert_eq!(parse_duration("90s").unwrap().num_seconds(), 90);
        assert_eq!(parse_duration("1h30m").unwrap().num_minutes(), 90);
        assert_eq!(parse_duration("1d").unwrap().num_hours(), 24);
        assert_eq!(parse_duration("0").unwrap(), TimeDelta::zero());
        for wrong in ["", "1", "h", "1hour", "1h1h", "5m1h", "-1h", "1.5h", "1 h", "+1h", "１h"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        assert!(parse_duration("99999999999999999999d").is_err());
        assert!(parse_duration("9223372036854775807d").is_err());
        assert!(parse_step("0s").is_err());
    }

    #[test]
    fn a_duration_reads_back_from_its_text() {
        for text in ["1s", "1m30s", "5m", "1h", "1h30m", "1d", "2d1h1m1s"] {
            assert_eq!(duration_text(parse_duration(text).unwrap()), text);
        }
        assert_eq!(duration_text(parse_duration("90m").unwrap()), "1h30m");
        assert_eq!(duration_text(TimeDelta::zero()), "0s");
    }

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        assert_eq!(parse_size("4GiB"), Ok(4 << 30));
        assert_eq!(parse_size("16mib"), Ok(16 << 20));
        assert_eq!(parse_size("500 MB"), Ok(500_000_000));
        assert_eq!(parse_size("1024"), Ok(1024));
        for wrong in ["", "0", "0MiB", "4G", "-1", "1.5GiB", "18446744073709551615KiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_negative_or_too_large_is_called_so() {
        let said = |result: Result<(), ValueError>| {
            let wrong = result.unwrap_err();
            format!("{}; {}", wrong.message, wrong.hint.unwrap())
        };
        let duration = |text| said(parse_duration(text).map(drop));
        assert_eq!(duration("-2h"), "'-2h' is negative; give 0 or more, as 2h");
        assert_eq!(duration("-x"), "'-x' is negative; give 0 or more, as 2h");
        assert_eq!(duration("--1h"), "'--1h' is negative; give 0 or more, as 2h");
        let size = |text| said(parse_size(text).map(drop));
        assert_eq!(size("-1"), "'-1' is negative; give 1 byte or more, as 16MiB");
        for text in ["99999999999GiB", "99999999999999999999"] {
            assert_eq!(size(text), format!("'{text}' is too large; give at most 16777215TiB"));
        }
        assert_eq!(parse_size("16777215TiB"), Ok(16_777_215 << 40));
        let jobs = |text| said(parse_small_count(text).map(drop));
        assert_eq!(jobs("-1"), "'-1' is negative; give 1 or more");
        for text in ["1025", "99999999999999999999999999"] {
            assert_eq!(jobs(text), format!("{text} is too many; give at most 1024"));
        }
        assert_eq!(parse_small_count("1024").unwrap().get(), 1024);
        let groups = said(parse_count("99999999999999999999").map(drop));
        assert_eq!(groups, "99999999999999999999 is too many; give at most 4294967295");
    }

    #[test]
    fn a_typed_column_splits_at_its_last_equals_sign() {
        let typed: TypedColumn = "a=b=list<int>".parse().unwrap();
        assert_eq!(typed.column, "a=b");
        let wrong = "value=flaot".parse::<TypedColumn>().unwrap_err();
        assert!(wrong.hint.unwrap().starts_with("did you mean value=float?"));
        assert!("value".parse::<TypedColumn>().is_err());
        assert!("value=null".parse::<TypedColumn>().is_err());
        assert!("=int".parse::<TypedColumn>().is_err());
    }

    #[test]
    fn a_picture_has_two_sides_within_reason() {
        let size: PictureSize = "1200x700".parse().unwrap();
        assert_eq!((size.width, size.height), (1200, Some(700)));
        assert_eq!("1200".parse::<PictureSize>().unwrap().height, None);
        for wrong in ["10", "x", "10x10", "1200x70000", "1200x-7"] {
            assert!(wrong.parse::<PictureSize>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_suggestion_is_close_or_absent() {
        assert_eq!(closest("recrods", ["records", "aggregates", "chart"]), Some("records"));
        assert_eq!(closest("dya", ["from", "day", "tz"]), Some("day"));
        assert_eq!(closest("metrics", ["metric", "by"]), Some("metric"));
        assert_eq!(closest("pin", ["accept_incomplete", "by", "tz"]), None);
        assert_eq!(closest("zzz", ["records", "aggregates", "chart"]), None);
    }
}
