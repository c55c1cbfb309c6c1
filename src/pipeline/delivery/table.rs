//! The columns of a Glue table, as record format conversion needs them: JSON goes in, names and types come
//! out. Pure.
//!
//! The types are Hive's: <https://docs.aws.amazon.com/athena/latest/ug/data-types.html>.

use serde_json::Value;

/// A column's type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    Boolean,
    /// `tinyint`, `smallint`, `int`, `bigint`: its bits.
    Integer(u32),
    Float,
    Double,
    /// Precision and scale.
    Decimal(usize, usize),
    Text,
    Binary,
    Date,
    Timestamp,
    Array(Box<Kind>),
    Struct(Vec<(String, Kind)>),
}

/// The columns of a table, in their order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    pub columns: Vec<(String, Kind)>,
}

/// Why a text gives no columns.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TableProblem {
    #[error("it is no JSON: {0}")]
    Json(String),
    #[error(
        "there are no columns in it: give what `aws glue get-table` prints, or \
         {{\"Columns\": [{{\"Name\": \"value\", \"Type\": \"double\"}}]}}"
    )]
    NoColumns,
    #[error("the column {name} stands in it twice; names are compared without case")]
    SameName { name: String },
    #[error("the type '{kind}' of column {column} is not written: {advice}")]
    Type { column: String, kind: String, advice: &'static str },
}

const KNOWN: &str = "there are boolean, tinyint, smallint, int, bigint, float, double, decimal(p,s), \
                     string, varchar, char, binary, date, timestamp, array<…> and struct<…>";
/// Types within types.
const MOST_DEPTH: usize = 16;
const MOST_DIGITS: usize = 38;

impl Table {
    /// Reads what `aws glue get-table` prints, or a part of it that has the columns.
    pub fn from_json(text: &str) -> Result<Table, TableProblem> {
        let value: Value = serde_json::from_str(text)
            .map_err(|problem| TableProblem::Json(problem.to_string()))?;
        Table::from_value(&value)
    }

    pub fn from_value(value: &Value) -> Result<Table, TableProblem> {
        let inner = value.get("Table").unwrap_or(value);
        let inner = inner.get("StorageDescriptor").unwrap_or(inner);
        let columns = inner.get("Columns").or_else(|| inner.get("columns")).unwrap_or(inner);
        let columns = columns.as_array().filter(|all| !all.is_empty());
        let columns = columns.ok_or(TableProblem::NoColumns)?.iter().map(|column| {
            let member = |name: &str| {
                let lower = name.to_lowercase();
                column.get(name).or_else(|| column.get(&lower)).and_then(Value::as_str)
            };
            let (name, kind) = member("Name").zip(member("Type")).ok_or(TableProblem::NoColumns)?;
            Ok((name.to_string(), parse(name, kind)?))
        });
        let columns: Vec<(String, Kind)> = columns.collect::<Result<_, _>>()?;
        same_name(&columns).map_or(Ok(Table { columns }), Err)
    }
}

/// Columns, or fields of a struct, that are told apart by case alone: keys are compared without it.
fn same_name(columns: &[(String, Kind)]) -> Option<TableProblem> {
    for (at, (name, kind)) in columns.iter().enumerate() {
        if columns[..at].iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
            return Some(TableProblem::SameName { name: name.clone() });
        }
        let mut inner = kind;
        while let Kind::Array(of) = inner {
            inner = of;
        }
        if let Kind::Struct(fields) = inner
            && let Some(problem) = same_name(fields)
        {
            return Some(problem);
        }
    }
    None
}

fn parse(column: &str, text: &str) -> Result<Kind, TableProblem> {
    let refused =
        |advice| TableProblem::Type { column: column.to_string(), kind: text.to_string(), advice };
    if text.contains("map<") {
        return Err(refused("write a struct<…> with the keys that there are, or string"));
    }
    let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    kind(&compact, MOST_DEPTH).ok_or_else(|| refused(KNOWN))
}

fn kind(text: &str, depth: usize) -> Option<Kind> {
    let lower = text.to_ascii_lowercase();
    let inside = |name: &str, open: char, close: char| {
        lower
            .starts_with(name)
            .then(|| text.get(name.len()..))
            .flatten()?
            .strip_prefix(open)?
            .strip_suffix(close)
    };
    if let Some(inner) = inside("array", '<', '>') {
        return Some(Kind::Array(Box::new(kind(inner, depth.checked_sub(1)?)?)));
    }
    if let Some(inner) = inside("struct", '<', '>') {
        let depth = depth.checked_sub(1)?;
        let fields = at_top(inner).into_iter().map(|field| {
            let (name, of) = field.split_once(':').filter(|(name, _)| !name.is_empty())?;
            Some((name.to_string(), kind(of, depth)?))
        });
        return Some(Kind::Struct(fields.collect::<Option<Vec<_>>>()?));
    }
    if let Some(inner) = inside("decimal", '(', ')') {
        let (precision, scale) = inner.split_once(',').unwrap_or((inner, "0"));
        let (precision, scale) = (precision.parse().ok()?, scale.parse().ok()?);
        let is_right = (1..=MOST_DIGITS).contains(&precision) && scale <= precision;
        return is_right.then_some(Kind::Decimal(precision, scale));
    }
    let is_text = lower == "string"
        || inside("varchar", '(', ')').or_else(|| inside("char", '(', ')')).is_some();
    Some(match lower.as_str() {
        _ if is_text => Kind::Text,
        "boolean" => Kind::Boolean,
        "tinyint" => Kind::Integer(8),
        "smallint" => Kind::Integer(16),
        "int" | "integer" => Kind::Integer(32),
        "bigint" => Kind::Integer(64),
        "float" | "real" => Kind::Float,
        "double" => Kind::Double,
        "decimal" => Kind::Decimal(10, 0),
        "binary" => Kind::Binary,
        "date" => Kind::Date,
        "timestamp" => Kind::Timestamp,
        _ => return None,
    })
}

/// The parts between commas that stand within no brackets.
fn at_top(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut from) = (0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '<' | '(' => depth += 1,
            '>' | ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read_as_glue_prints_them() {
        let text = r#"{"Table":{"Name":"t","StorageDescriptor":{"Columns":[
            {"Name":"a","Type":"bigint"},
            {"Name":"b","Type":"struct<x:array<int>, y:decimal(10,2), z:struct<q:string>>"},
            {"Name":"c","Type":"VARCHAR(20)"}]}}}"#;
        let table = Table::from_json(text).unwrap();
        let b = Kind::Struct(vec![
            ("x".to_string(), Kind::Array(Box::new(Kind::Integer(32)))),
            ("y".to_string(), Kind::Decimal(10, 2)),
            ("z".to_string(), Kind::Struct(vec![("q".to_string(), Kind::Text)])),
        ]);
        let names: Vec<&str> = table.columns.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(table.columns[1].1, b);
        assert_eq!(table.columns[2].1, Kind::Text);
        assert!(Table::from_json(r#"[{"name":"a","type":"date"}]"#).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn any_text_of_a_type_is_read_or_refused(text in "[a-z<>(),: 0-9가]{0,40}") {
            let _ = kind(&text, MOST_DEPTH);
            let _ = Table::from_json(&text);
        }
    }

    #[test]
    fn types_that_are_not_written_are_named() {
        for (kind, says) in [
            ("map<string,int>", "struct<"),
            ("array<", "there are boolean"),
            ("decimal(50,2)", "there are boolean"),
            ("struct<>", "there are boolean"),
            ("uuid", "there are boolean"),
        ] {
            let text = format!(r#"{{"Columns":[{{"Name":"a","Type":"{kind}"}}]}}"#);
            let problem = Table::from_json(&text).unwrap_err().to_string();
            assert!(problem.contains(says) && problem.contains("column a"), "{problem}");
        }
        let deep = format!("{}int{}", "array<".repeat(40), ">".repeat(40));
        assert!(kind(&deep, MOST_DEPTH).is_none());
        assert_eq!(Table::from_json("{}"), Err(TableProblem::NoColumns));
        let twice =
            r#"[{"Name":"a","Type":"int"},{"Name":"s","Type":"array<struct<x:int,X:int>>"}]"#;
        assert!(Table::from_json(twice).unwrap_err().to_string().contains("column X"));
    }
}
