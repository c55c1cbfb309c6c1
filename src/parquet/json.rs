//! A value of an Arrow array → JSON, exactly: integers digit by digit, decimals with all their
//! digits, times as ISO 8601, groups as objects, maps as objects, lists as lists.
//!
//! Floats are written as the shortest text that reads back the same. What JSON can't hold is text:
//! `NaN` and infinities by name, bytes that are not UTF-8 in hexadecimal.

use std::io::Write;

use chrono::{DateTime, NaiveDate, TimeDelta};
use polars_arrow::array::{
    Array, BinaryViewArray, BooleanArray, FixedSizeBinaryArray, ListArray, MapArray,
    PrimitiveArray, StructArray, Utf8ViewArray,
};
use polars_arrow::datatypes::{ArrowDataType, Field, TimeUnit};
use polars_arrow::types::NativeType;

/// What the reader makes of an INT96 beyond the years of 64 bits of nanoseconds.
const BEYOND: i64 = i64::MAX;

/// Whether a column of times has one that did not fit.
pub fn has_times_beyond(array: &dyn Array) -> bool {
    super::is_naive_nanos(array.dtype())
        && get::<PrimitiveArray<i64>>(array).is_ok_and(|times| times.values().contains(&BEYOND))
}

fn get<T: 'static>(array: &dyn Array) -> Result<&T, String> {
    let unknown = || format!("values of the type {:?} are not read", array.dtype());
    array.as_any().downcast_ref::<T>().ok_or_else(unknown)
}

fn at<T: NativeType>(array: &dyn Array, row: usize) -> Result<T, String> {
    Ok(get::<PrimitiveArray<T>>(array)?.value(row))
}

/// Writes the value of `row`.
///
/// # Errors
/// Says which type is not read, or which value can't be written.
pub fn write(array: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
    use ArrowDataType as Type;
    if array.is_null(row) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    match array.dtype() {
        Type::Boolean => {
            let value = get::<BooleanArray>(array)?.value(row);
            out.extend_from_slice(if value { b"true" } else { b"false" });
        }
        Type::Int8 => put(out, format_args!("{}", at::<i8>(array, row)?)),
        Type::Int16 => put(out, format_args!("{}", at::<i16>(array, row)?)),
        Type::Int32 => put(out, format_args!("{}", at::<i32>(array, row)?)),
        Type::Int64 => put(out, format_args!("{}", at::<i64>(array, row)?)),
        Type::UInt8 => put(out, format_args!("{}", at::<u8>(array, row)?)),
        Type::UInt16 => put(out, format_args!("{}", at::<u16>(array, row)?)),
        Type::UInt32 => put(out, format_args!("{}", at::<u32>(array, row)?)),
        Type::UInt64 => put(out, format_args!("{}", at::<u64>(array, row)?)),
        Type::Float32 => {
            let value = at::<f32>(array, row)?;
            float(value.is_finite(), format_args!("{value:?}"), out);
        }
        Type::Float64 => {
            let value = at::<f64>(array, row)?;
            float(value.is_finite(), format_args!("{value:?}"), out);
        }
        Type::Decimal(_, scale) => decimal(at::<i128>(array, row)?, *scale, out),
        Type::Utf8View => write_text(get::<Utf8ViewArray>(array)?.value(row), out),
        Type::BinaryView => bytes(get::<BinaryViewArray>(array)?.value(row), out),
        Type::FixedSizeBinary(_) => bytes(get::<FixedSizeBinaryArray>(array)?.value(row), out),
        Type::Date32 => date(at::<i32>(array, row)?, out)?,
        Type::Time32(unit) => time_of_day(i64::from(at::<i32>(array, row)?), *unit, out)?,
        Type::Time64(unit) => time_of_day(at::<i64>(array, row)?, *unit, out)?,
        Type::Timestamp(unit, zone) => {
            timestamp(at::<i64>(array, row)?, *unit, zone.is_some(), out)?
        }
        Type::List(_) => list(&*get::<ListArray<i32>>(array)?.value(row), out)?,
        // The library takes what is annotated as a map by its newer name for a list of entries.
        Type::LargeList(item) if is_entry(item) => {
            map(&*get::<ListArray<i64>>(array)?.value(row), out)?
        }
        Type::LargeList(_) => list(&*get::<ListArray<i64>>(array)?.value(row), out)?,
        Type::Struct(_) => group(get::<StructArray>(array)?, row, out)?,
        Type::Map(..) => map(&*get::<MapArray>(array)?.value(row), out)?,
        other => return Err(format!("values of the type {other:?} are not read")),
    }
    Ok(())
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes everything");
}

/// A string of JSON.
pub fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("text is JSON");
}

fn float(is_finite: bool, text: std::fmt::Arguments<'_>, out: &mut Vec<u8>) {
    match is_finite {
        true => put(out, text),
        false => put(out, format_args!("\"{text}\"")),
    }
}

/// Digits and a point: a number of JSON, however long.
fn decimal(value: i128, scale: usize, out: &mut Vec<u8>) {
    let digits = format!("{:0width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if value < 0 { "-" } else { "" };
    let point = if scale > 0 { "." } else { "" };
    put(out, format_args!("{sign}{whole}{point}{fraction}"));
}

/// Hive and Impala write text as bytes that nothing calls text.
fn bytes(bytes: &[u8], out: &mut Vec<u8>) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return write_text(text, out);
    }
    out.extend_from_slice(b"\"0x");
    bytes.iter().for_each(|byte| put(out, format_args!("{byte:02x}")));
    out.push(b'"');
}

fn date(days: i32, out: &mut Vec<u8>) -> Result<(), String> {
    let date = NaiveDate::default().checked_add_signed(TimeDelta::days(i64::from(days)));
    let date = date.ok_or_else(|| format!("the date of day {days} is out of range"))?;
    put(out, format_args!("\"{date}\""));
    Ok(())
}

/// Ticks in a second, and the digits of a fraction.
fn ticks(unit: TimeUnit) -> (i64, usize) {
    match unit {
        TimeUnit::Second => (1, 0),
        TimeUnit::Millisecond => (1_000, 3),
        TimeUnit::Microsecond => (1_000_000, 6),
        TimeUnit::Nanosecond => (1_000_000_000, 9),
    }
}

/// No more digits of a fraction than it has.
fn fraction(ticks: i64, digits: usize) -> String {
    if ticks == 0 {
        return String::new();
    }
    let text = format!(".{ticks:0digits$}");
    text.trim_end_matches('0').to_string()
}

fn time_of_day(value: i64, unit: TimeUnit, out: &mut Vec<u8>) -> Result<(), String> {
    let (per_second, digits) = ticks(unit);
    let second = value.div_euclid(per_second);
    if !(0..86_400).contains(&second) {
        return Err(format!("the time of day {value} is out of range"));
    }
    let (hour, minute) = (second / 3_600, second / 60 % 60);
    let fraction = fraction(value.rem_euclid(per_second), digits);
    put(out, format_args!("\"{hour:02}:{minute:02}:{:02}{fraction}\"", second % 60));
    Ok(())
}

/// An instant ends in `Z`; a time without a zone is written without one, and read by `--field-tz`.
fn timestamp(value: i64, unit: TimeUnit, is_utc: bool, out: &mut Vec<u8>) -> Result<(), String> {
    let (per_second, digits) = ticks(unit);
    let second = DateTime::from_timestamp(value.div_euclid(per_second), 0);
    let beyond = unit == TimeUnit::Nanosecond && !is_utc && value == BEYOND;
    let Some(second) = second.filter(|_| !beyond) else {
        return Err(format!("the time {value} is out of range"));
    };
    let fraction = fraction(value.rem_euclid(per_second), digits);
    let zone = if is_utc { "Z" } else { "" };
    put(out, format_args!("\"{}{fraction}{zone}\"", second.format("%Y-%m-%dT%H:%M:%S")));
    Ok(())
}

fn list(items: &dyn Array, out: &mut Vec<u8>) -> Result<(), String> {
    out.push(b'[');
    for item in 0..items.len() {
        if item > 0 {
            out.push(b',');
        }
        write(items, item, out)?;
    }
    out.push(b']');
    Ok(())
}

fn group(group: &StructArray, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
    out.push(b'{');
    for (at, (field, values)) in group.fields().iter().zip(group.values()).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_text(&field.name, out);
        out.push(b':');
        write(&**values, row, out)?;
    }
    out.push(b'}');
    Ok(())
}

/// The names that the format has for the entry of a map, and no list for its item.
fn is_entry(item: &Field) -> bool {
    let ArrowDataType::Struct(fields) = item.dtype() else {
        return false;
    };
    let is_pair = fields.len() == 2 && fields[0].name == "key" && fields[1].name == "value";
    is_pair && matches!(&*item.name, "key_value" | "entries" | "map")
}

/// Keys that are not text become text: JSON knows no others.
fn map(entries: &dyn Array, out: &mut Vec<u8>) -> Result<(), String> {
    let entries = get::<StructArray>(entries)?;
    let [keys, values] = entries.values() else {
        return Err("a map has other fields than key and value".to_string());
    };
    out.push(b'{');
    let mut key = Vec::new();
    for entry in 0..entries.len() {
        if entry > 0 {
            out.push(b',');
        }
        key.clear();
        write(&**keys, entry, &mut key)?;
        match key.first() {
            Some(b'"') => out.extend_from_slice(&key),
            _ => write_text(&String::from_utf8_lossy(&key), out),
        }
        out.push(b':');
        write(&**values, entry, out)?;
    }
    out.push(b'}');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn decimals_keep_every_digit() {
        for (value, scale, expected) in [
            (0, 0, "0"),
            (0, 2, "0.00"),
            (-5, 2, "-0.05"),
            (1_234, 2, "12.34"),
            (1_200, 2, "12.00"),
            (i128::MIN, 0, "-170141183460469231731687303715884105728"),
            (i128::MAX, 38, "1.70141183460469231731687303715884105727"),
        ] {
            assert_eq!(text(|out| decimal(value, scale, out)), expected);
        }
    }

    #[test]
    fn times_have_the_digits_that_they_need() {
        let time = |value, unit, is_utc| text(|out| timestamp(value, unit, is_utc, out).unwrap());
        assert_eq!(time(0, TimeUnit::Millisecond, true), r#""1970-01-01T00:00:00Z""#);
        assert_eq!(time(-1, TimeUnit::Millisecond, true), r#""1969-12-31T23:59:59.999Z""#);
        assert_eq!(time(1_500_000, TimeUnit::Microsecond, false), r#""1970-01-01T00:00:01.5""#);
        assert_eq!(time(1, TimeUnit::Nanosecond, true), r#""1970-01-01T00:00:00.000000001Z""#);
        assert_eq!(text(|out| date(-1, out).unwrap()), r#""1969-12-31""#);
        let of_day = text(|out| time_of_day(86_399_999, TimeUnit::Millisecond, out).unwrap());
        assert_eq!(of_day, r#""23:59:59.999""#);
        assert!(time_of_day(-1, TimeUnit::Millisecond, &mut Vec::new()).is_err());
    }

    #[test]
    fn what_json_cannot_hold_is_text() {
        let value = f64::NAN;
        assert_eq!(text(|out| float(false, format_args!("{value:?}"), out)), r#""NaN""#);
        assert_eq!(text(|out| bytes(b"\xff\x00", out)), r#""0xff00""#);
        assert_eq!(text(|out| bytes("단지\n".as_bytes(), out)), "\"단지\\n\"");
    }
}
