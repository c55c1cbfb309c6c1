//! The published table of buckets in, plain columns for the chart out. The only file of this room
//! that knows of Polars. It checks what it needs and looks at no other column.

use std::collections::HashMap;

use polars::prelude::{Column, DataFrame, DataType, TimeUnit};

use super::series::{MetricRows, Rows};
use super::spec::{ChartError, ChartSpec};

/// The name of a group whose value is missing, and of one whose value is empty.
const MISSING: &str = "(none)";
const EMPTY: &str = "(empty)";
/// Between the values of a group by several columns.
const BETWEEN: &str = " · ";

impl Rows {
    /// Takes `bucket_utc`, the columns of `spec.by`, `records`, and `_count`, `_mean`, `_min` and
    /// `_max` of each of `spec.metrics`. Fails where one is missing or of another type.
    pub fn of_table(table: &DataFrame, spec: &ChartSpec) -> Result<Rows, ChartError> {
        let (group, groups) = groups(table, &spec.by)?;
        let metrics = spec.metrics.iter().map(|name| {
            Ok(MetricRows {
                name: name.clone(),
                count: counts(table, &format!("{name}_count"))?,
                mean: values(table, &format!("{name}_mean"))?,
                min: values(table, &format!("{name}_min"))?,
                max: values(table, &format!("{name}_max"))?,
            })
        });
        Ok(Rows {
            bucket_us: instants(table, "bucket_utc")?,
            group,
            groups,
            records: counts(table, "records")?,
            metrics: metrics.collect::<Result<_, ChartError>>()?,
        })
    }
}

fn problem(column: &str, problem: impl std::fmt::Display) -> ChartError {
    ChartError::Column { column: column.to_string(), problem: problem.to_string() }
}

fn column<'a>(table: &'a DataFrame, name: &str) -> Result<&'a Column, ChartError> {
    table.column(name).map_err(|_| problem(name, "it is not in the table"))
}

fn cast(table: &DataFrame, name: &str, to: &DataType) -> Result<Column, ChartError> {
    column(table, name)?.strict_cast(to).map_err(|e| problem(name, e))
}

/// µs UTC; a bucket has always a beginning.
fn instants(table: &DataFrame, name: &str) -> Result<Vec<i64>, ChartError> {
    let per_unit = match column(table, name)?.dtype() {
        DataType::Datetime(TimeUnit::Microseconds, _) => (1, 1),
        DataType::Datetime(TimeUnit::Milliseconds, _) => (1000, 1),
        DataType::Datetime(TimeUnit::Nanoseconds, _) => (1, 1000),
        other => return Err(problem(name, format!("it holds {other}, not instants"))),
    };
    let numbers = cast(table, name, &DataType::Int64)?;
    let numbers = numbers.i64().map_err(|e| problem(name, e))?;
    let us = numbers.iter().map(|n| n.map(|n| n * per_unit.0 / per_unit.1));
    us.collect::<Option<_>>().ok_or_else(|| problem(name, "an instant is missing"))
}

/// Whole numbers that are not negative; a missing one is none.
fn counts(table: &DataFrame, name: &str) -> Result<Vec<u64>, ChartError> {
    let numbers = cast(table, name, &DataType::Int64)?;
    let numbers = numbers.i64().map_err(|e| problem(name, e))?;
    let counts = numbers.iter().map(|n| u64::try_from(n.unwrap_or(0)));
    counts.collect::<Result<_, _>>().map_err(|_| problem(name, "a count is negative"))
}

/// Numbers; a missing one is not a number.
fn values(table: &DataFrame, name: &str) -> Result<Vec<f64>, ChartError> {
    let numbers = cast(table, name, &DataType::Float64)?;
    let numbers = numbers.f64().map_err(|e| problem(name, e))?;
    Ok(numbers.iter().map(|n| n.unwrap_or(f64::NAN)).collect())
}

/// The group of each row, and the groups' names in the order in which they come.
fn groups(table: &DataFrame, by: &[String]) -> Result<(Vec<u32>, Vec<String>), ChartError> {
    let columns = by.iter().map(|name| cast(table, name, &DataType::String));
    let columns: Vec<Column> = columns.collect::<Result<_, _>>()?;
    let texts = columns.iter().map(|c| c.str().map_err(|e| problem(c.name(), e)));
    let texts: Vec<_> = texts.collect::<Result<_, _>>()?;

    let mut numbers: HashMap<String, u32> = HashMap::new();
    let mut names = Vec::new();
    let mut name = String::new();
    let group = (0..table.height())
        .map(|row| {
            name.clear();
            for (i, text) in texts.iter().enumerate() {
                if i > 0 {
                    name.push_str(BETWEEN);
                }
                name.push_str(match text.get(row) {
                    None => MISSING,
                    Some("") => EMPTY,
                    Some(text) => text,
                });
            }
            if let Some(number) = numbers.get(&name) {
                return *number;
            }
            let number = names.len() as u32;
            names.push(name.clone());
            numbers.insert(name.clone(), number);
            number
        })
        .collect();
    Ok((group, names))
}

#[cfg(test)]
mod tests {
    use super::*;
    use polars::prelude::*;

    const HOUR: i64 = 3_600_000_000;

    fn table() -> DataFrame {
        let bucket = Series::new("bucket_utc".into(), [0, 0, HOUR, HOUR])
            .cast(&DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC)))
            .unwrap();
        let columns = vec![
            bucket.into_column(),
            Column::new("type".into(), [Some("로그인"), None, Some("로그인"), Some("")]),
            Column::new("code".into(), [1i64, 2, 1, 2]),
            Column::new("records".into(), [5i64, 1, 0, 2]),
            Column::new("v_count".into(), [Some(5i64), Some(1), Some(0), Some(2)]),
            Column::new("v_mean".into(), [Some(1.5f64), Some(2.0), None, Some(3.0)]),
            Column::new("v_min".into(), [Some(1i64), Some(2), None, Some(3)]),
            Column::new("v_max".into(), [Some(2i64), Some(2), None, Some(3)]),
        ];
        DataFrame::new_infer_height(columns).unwrap()
    }

    fn spec(by: &[&str], metrics: &[&str]) -> ChartSpec {
        let mut spec = ChartSpec::new(0, 2 * HOUR, chrono_tz::UTC);
        spec.by = by.iter().map(|b| b.to_string()).collect();
        spec.metrics = metrics.iter().map(|m| m.to_string()).collect();
        spec
    }

    #[test]
    fn rows_are_taken_with_their_groups_and_statistics() {
        let rows = Rows::of_table(&table(), &spec(&["type"], &["v"])).unwrap();
        assert_eq!(rows.bucket_us, [0, 0, HOUR, HOUR]);
        assert_eq!(rows.groups, ["로그인", "(none)", "(empty)"]);
        assert_eq!(rows.group, [0, 1, 0, 2]);
        assert_eq!(rows.records, [5, 1, 0, 2]);
        assert_eq!(rows.metrics[0].min[..2], [1.0, 2.0]);
        assert!(rows.metrics[0].mean[2].is_nan());
    }

    #[test]
    fn several_columns_make_one_name() {
        let rows = Rows::of_table(&table(), &spec(&["type", "code"], &[])).unwrap();
        assert_eq!(rows.groups, ["로그인 · 1", "(none) · 2", "(empty) · 2"]);
    }

    #[test]
    fn without_groups_everything_is_one() {
        let rows = Rows::of_table(&table(), &spec(&[], &[])).unwrap();
        assert_eq!((rows.groups, rows.group), (vec![String::new()], vec![0; 4]));
    }

    #[test]
    fn a_missing_column_is_named() {
        let error = Rows::of_table(&table(), &spec(&[], &["lat"])).unwrap_err();
        assert!(error.to_string().contains("`lat_count`"), "{error}");
    }

    #[test]
    fn a_column_of_another_type_is_named() {
        let table = table().drop("bucket_utc").unwrap();
        let columns = [
            vec![Column::new("bucket_utc".into(), ["a", "b", "c", "d"])],
            table.columns().to_vec(),
        ]
        .concat();
        let table = DataFrame::new_infer_height(columns).unwrap();
        let error = Rows::of_table(&table, &spec(&[], &[])).unwrap_err();
        assert!(error.to_string().contains("bucket_utc"), "{error}");
    }
}
