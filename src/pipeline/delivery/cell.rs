//! JSON values → cells of a column, as the JSON SerDe that Firehose converts with takes them: numbers and
//! truth values may come as text, keys are compared without case, what is no column is left out. Pure.

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde_json::{Map, Value};

use super::table::{Kind, Table};

/// A value of a column's type.
#[derive(Clone, PartialEq, Debug)]
pub enum Cell {
    Null,
    Boolean(bool),
    /// An integer; days of a date, or µs of a time, since 1970.
    Integer(i64),
    Float(f64),
    /// Without its point: as many digits behind it as the type says.
    Decimal(i128),
    Text(String),
    List(Vec<Cell>),
    /// A cell for each field.
    Fields(Vec<Cell>),
}

/// Why a record is no row: the column, and what stands there.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{path}: {found} is no {wanted}")]
pub struct CellProblem {
    path: String,
    found: String,
    wanted: &'static str,
}

/// Characters of a value that a message shows.
const SHOWN: usize = 60;

/// The cells of a record, in the order of the columns.
pub fn row(table: &Table, record: &Map<String, Value>) -> Result<Vec<Cell>, CellProblem> {
    fields(&table.columns, record, "")
}

fn fields(
    columns: &[(String, Kind)],
    record: &Map<String, Value>,
    within: &str,
) -> Result<Vec<Cell>, CellProblem> {
    let cells = columns.iter().map(|(name, kind)| {
        let value = record.get(name).or_else(|| {
            let mut members = record.iter();
            members.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        });
        let path = format!("{within}{name}");
        value.map_or(Ok(Cell::Null), |value| cell(kind, value, &path))
    });
    cells.collect()
}

fn cell(kind: &Kind, value: &Value, path: &str) -> Result<Cell, CellProblem> {
    let (made, wanted) = match (kind, value) {
        (_, Value::Null) => (Some(Cell::Null), ""),
        (Kind::Struct(columns), Value::Object(record)) => {
            return Ok(Cell::Fields(fields(columns, record, &format!("{path}."))?));
        }
        (Kind::Array(of), Value::Array(values)) => {
            let cells = values.iter().map(|value| cell(of, value, path));
            return Ok(Cell::List(cells.collect::<Result<_, _>>()?));
        }
        (Kind::Struct(_), _) => (None, "struct"),
        (Kind::Array(_), _) => (None, "array"),
        (Kind::Text, Value::String(text)) => (Some(Cell::Text(text.clone())), ""),
        // What is no text is kept as it is written.
        (Kind::Text, other) => (Some(Cell::Text(other.to_string())), ""),
        (Kind::Binary, Value::String(text)) => (Some(Cell::Text(text.clone())), ""),
        (Kind::Binary, _) => (None, "binary"),
        (Kind::Boolean, value) => (boolean(value).map(Cell::Boolean), "boolean"),
        (Kind::Integer(bits), value) => {
            (integer(value, *bits).map(Cell::Integer), "integer of its size")
        }
        (Kind::Float | Kind::Double, value) => {
            (scalar(value).and_then(|text| text.parse().ok()).map(Cell::Float), "number")
        }
        (Kind::Decimal(precision, scale), value) => {
            let text = scalar(value);
            let made = text.and_then(|text| decimal(&text, *precision, *scale));
            (made.map(Cell::Decimal), "decimal of its precision")
        }
        (Kind::Date, value) => (date(value).map(Cell::Integer), "date"),
        (Kind::Timestamp, value) => (timestamp_us(value).map(Cell::Integer), "timestamp"),
    };
    made.ok_or_else(|| CellProblem {
        path: path.to_string(),
        found: value.to_string().chars().take(SHOWN).collect(),
        wanted,
    })
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// The text of a number, whether it came as one or as text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.trim().to_string()),
        _ => None,
    }
}

fn integer(value: &Value, bits: u32) -> Option<i64> {
    let number: i64 = scalar(value)?.parse().ok()?;
    let unused = 64 - bits;
    ((number << unused) >> unused == number).then_some(number)
}

/// The digits of a decimal, with `scale` of them behind the point; what would be rounded is none.
fn decimal(text: &str, precision: usize, scale: usize) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let is_number =
        !whole.is_empty() && whole.bytes().chain(fraction.bytes()).all(|c| c.is_ascii_digit());
    if !is_number || fraction.len() > scale {
        return None;
    }
    let all = format!("{whole}{fraction:0<scale$}");
    let all = all.trim_start_matches('0');
    match all.len() {
        0 => Some(0),
        digits if digits > precision => None,
        _ => all.parse::<i128>().ok().map(|number| sign * number),
    }
}

fn date(value: &Value) -> Option<i64> {
    let text = value.as_str()?;
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some((date - NaiveDate::default()).num_days())
}

/// Seconds from here on would lie beyond the year 5138: they are milliseconds.
const MILLISECONDS_FROM: f64 = 1e11;

fn timestamp_us(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => {
            let number = number.as_f64()?;
            let scale = if number.abs() >= MILLISECONDS_FROM { 1e3 } else { 1e6 };
            let us = (number * scale).round();
            (us.abs() < 9e18).then_some(us as i64)
        }
        Value::String(text) => {
            if let Ok(time) = DateTime::parse_from_rfc3339(text) {
                return Some(time.timestamp_micros());
            }
            let naive = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"].iter();
            let mut naive = naive.filter_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
            Some(naive.next()?.and_utc().timestamp_micros())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cells(kind: &str, value: Value) -> Result<Vec<Cell>, String> {
        let table = Table::from_value(&json!([{"Name": "a", "Type": kind}])).unwrap();
        let record = json!({"A": value, "other": 1});
        row(&table, record.as_object().unwrap()).map_err(|problem| problem.to_string())
    }

    #[test]
    fn values_become_cells_of_the_columns_type() {
        for (kind, value, expected) in [
            ("int", json!("30"), Cell::Integer(30)),
            ("tinyint", json!(-128), Cell::Integer(-128)),
            ("double", json!("1.5"), Cell::Float(1.5)),
            ("boolean", json!("TRUE"), Cell::Boolean(true)),
            ("string", json!({"x": 1}), Cell::Text("{\"x\":1}".to_string())),
            ("string", json!(7), Cell::Text("7".to_string())),
            ("decimal(5,2)", json!("-123.4"), Cell::Decimal(-12_340)),
            ("decimal(5,2)", json!(0.05), Cell::Decimal(5)),
            ("date", json!("1970-01-11"), Cell::Integer(10)),
            ("timestamp", json!("1970-01-01 00:00:01.5"), Cell::Integer(1_500_000)),
            ("timestamp", json!("1970-01-01T09:00:00+09:00"), Cell::Integer(0)),
            ("timestamp", json!(1_650_000_000_123_i64), Cell::Integer(1_650_000_000_123_000)),
            ("timestamp", json!(1_650_000_000.5), Cell::Integer(1_650_000_000_500_000)),
            ("array<int>", json!([1, null]), Cell::List(vec![Cell::Integer(1), Cell::Null])),
            (
                "struct<x:int,y:int>",
                json!({"x": 1}),
                Cell::Fields(vec![Cell::Integer(1), Cell::Null]),
            ),
            ("bigint", Value::Null, Cell::Null),
        ] {
            assert_eq!(cells(kind, value.clone()).unwrap(), [expected], "{kind} {value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_decimal_is_the_number_that_was_written(whole in 0..1_000_000_u64, cents in 0..100_u64) {
            let text = format!("{whole}.{cents:02}");
            let cell = cells("decimal(10,2)", json!(text)).unwrap().remove(0);
            proptest::prop_assert_eq!(cell, Cell::Decimal(i128::from(whole * 100 + cents)));
        }

        #[test]
        fn any_text_is_a_cell_or_names_its_column(text in "\\PC{0,30}") {
            for kind in ["int", "double", "decimal(38,38)", "date", "timestamp", "boolean"] {
                if let Err(problem) = cells(kind, json!(text)) {
                    proptest::prop_assert!(problem.starts_with("a: "));
                }
            }
        }
    }

    #[test]
    fn a_fraction_is_the_nearest_to_what_was_written() {
        let record: Value = serde_json::from_str(r#"{"a":90.33333333333333}"#).unwrap();
        let found = cells("double", record["a"].clone()).unwrap();
        assert_eq!(found, [Cell::Float("90.33333333333333".parse().unwrap())]);
    }

    #[test]
    fn what_does_not_fit_names_its_column() {
        for (kind, value) in [
            ("int", json!(2_147_483_648_i64)),
            ("int", json!(1.5)),
            ("decimal(5,2)", json!("1234.5")),
            ("decimal(5,2)", json!("0.005")),
            ("date", json!("2022-13-01")),
            ("timestamp", json!("yesterday")),
            ("boolean", json!(1)),
            ("array<int>", json!(1)),
            ("struct<x:int>", json!({"x": "a"})),
        ] {
            let problem = cells(kind, value.clone()).unwrap_err();
            assert!(problem.starts_with('a'), "{kind} {value}: {problem}");
        }
    }
}
