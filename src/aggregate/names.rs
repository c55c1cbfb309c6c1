//! Names: the columns of a day and what the user typed go in; what becomes a group column or a
//! metric, under which name, comes out.

use std::collections::{HashMap, HashSet};

use super::groups::ByColumn;
use super::partial::{Metric, Numbers};
use super::{AggregateError, AggregateSpec, MetricNote, Metrics};
use crate::schema::{ColumnSpec, ColumnType, Path};

/// What every metric's columns are called behind its name.
pub const SUFFIXES: [&str; 12] = [
    "count",
    "sum",
    "mean",
    "min",
    "max",
    "p50",
    "p95",
    "p99",
    "quantiles",
    "distinct",
    "distinct_kind",
    "not_numbers",
];

/// The columns that both tables have, or that only `buckets` has.
pub const BUCKET_UTC: &str = "bucket_utc";
pub const BUCKET_LOCAL: &str = "bucket_local";
pub const RECORDS: &str = "records";

/// A metric of the tables, and its numbers.
pub struct Chosen {
    pub note: MetricNote,
    pub column_type: ColumnType,
    pub numbers: Numbers,
}

const METRIC: &str = "--metric";

/// True where the column at `path` may be the one that is published under `name`: as it is named,
/// or with the number that a name gets where another column has it already.
pub fn may_be_named(path: &Path, name: &str) -> bool {
    path.is_named(name) || without_number(name).is_some_and(|name| path.is_named(name))
}

/// `a_b` for `a_b_2`.
pub fn without_number(name: &str) -> Option<&str> {
    let (name, number) = name.rsplit_once('_')?;
    number.parse::<u32>().is_ok_and(|number| number >= 2).then_some(name)
}

/// Refuses names that mean none of the columns.
pub fn check(
    spec: &AggregateSpec,
    columns: &[ColumnSpec],
    records: u64,
) -> Result<(), AggregateError> {
    // A day without records has no columns, and its tables are empty whatever was asked for.
    if records == 0 {
        return Ok(());
    }
    for name in &spec.by {
        check_name("--by", name, columns)?;
    }
    if let Metrics::Named(names) = &spec.metrics {
        for name in names {
            check_name(METRIC, name, columns)?;
        }
    }
    Ok(())
}

fn check_name(
    flag: &'static str,
    name: &str,
    columns: &[ColumnSpec],
) -> Result<(), AggregateError> {
    /// Below this, names have little in common; clap draws the same line.
    const ALIKE: f64 = 0.7;
    const SHOWN: usize = 3;
    let is_metric = flag == METRIC;
    if columns.iter().any(|c| c.path.is_named(name) || is_metric && c.name == name) {
        return Ok(());
    }
    let available: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    // The name of an object: its members are the columns.
    let inside = format!("{}_", name.replace('.', "_"));
    let members: Vec<String> =
        available.iter().filter(|other| other.starts_with(&inside)).cloned().collect();
    if !members.is_empty() {
        let name = name.to_string();
        return Err(AggregateError::UnknownColumn { flag, name, similar: members, available });
    }
    let typed = name.to_lowercase();
    let likeness = |other: &str| strsim::jaro_winkler(&typed, &other.to_lowercase());
    let mut near: Vec<(f64, &String)> = available
        .iter()
        .map(|other| (likeness(other), other))
        .filter(|(likeness, _)| *likeness > ALIKE)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    near.dedup();
    near.truncate(SHOWN);
    Err(AggregateError::UnknownColumn {
        flag,
        name: name.to_string(),
        similar: near.into_iter().map(|(_, name)| name.clone()).collect(),
        available,
    })
}

/// The metrics of the tables in the order of their columns: as they were named, else in the
/// order of the day's columns.
pub fn choose(
    spec: &AggregateSpec,
    columns: &[ColumnSpec],
    mut seen: HashMap<Path, Metric>,
) -> Vec<Chosen> {
    let mut take = |path: &Path| match seen.remove(path) {
        Some(Metric::Numbers(numbers)) => Some(numbers),
        _ => None,
    };
    match &spec.metrics {
        Metrics::Auto => columns
            .iter()
            .filter(|column| may_be_metric(column))
            .filter_map(|column| Some(Chosen::new(column, take(&column.path)?)))
            .filter(|chosen| chosen.note.numbers > 0)
            .collect(),
        Metrics::Named(names) if columns.is_empty() => {
            let mut taken = HashSet::new();
            let names = names.iter().map(|name| as_typed(name));
            names
                .filter(|column| taken.insert(column.name.to_lowercase()))
                .map(|column| Chosen::new(&column, Numbers::default()))
                .collect()
        }
        Metrics::Named(names) => {
            let mut taken = HashSet::new();
            names
                .iter()
                .flat_map(|name| named(columns, name))
                .filter(|column| taken.insert(&column.path))
                .map(|column| Chosen::new(column, take(&column.path).unwrap_or_default()))
                .collect()
        }
    }
}

/// The columns that a name means by their paths, else the one that is published under it.
fn named<'c>(columns: &'c [ColumnSpec], name: &str) -> Vec<&'c ColumnSpec> {
    let by_path: Vec<&ColumnSpec> =
        columns.iter().filter(|column| column.path.is_named(name)).collect();
    match by_path.is_empty() {
        true => columns.iter().filter(|column| column.name == name).collect(),
        false => by_path,
    }
}

/// The column that a name would mean if the day had records.
fn as_typed(name: &str) -> ColumnSpec {
    let path = match name.strip_prefix('/') {
        Some(keys) => keys
            .split('/')
            .fold(Path::root(), |path, key| path.child(&key.replace("~1", "/").replace("~0", "~"))),
        None => name.split('.').fold(Path::root(), |path, key| path.child(key)),
    };
    ColumnSpec {
        name: path.flat_name(),
        path,
        column_type: ColumnType::Null,
        kinds: Default::default(),
    }
}

/// True for scalar columns. What was seen decides beside the declared type: a column that had
/// objects in it was not read the same way in every frame.
fn may_be_metric(column: &ColumnSpec) -> bool {
    let is_scalar =
        |column_type| matches!(column_type, ColumnType::Int | ColumnType::Float | ColumnType::Text);
    is_scalar(column.column_type) && is_scalar(column.kinds.column_type())
}

impl Chosen {
    fn new(column: &ColumnSpec, numbers: Numbers) -> Chosen {
        Chosen {
            note: MetricNote {
                name: column.name.clone(),
                path: column.path.clone(),
                numbers: numbers.cells.iter().map(|cell| cell.count()).sum(),
                not_numbers: numbers.not_numbers.iter().sum(),
            },
            column_type: column.column_type,
            numbers,
        }
    }
}

/// The type of a group column. Where a name means several columns, which one served was
/// decided record by record: then what was seen in the keys decides.
pub fn group_type(by: &ByColumn, columns: &[ColumnSpec]) -> ColumnType {
    let mut named = columns.iter().filter(|column| column.path.is_named(&by.name));
    match (named.next(), named.next()) {
        (Some(only), None) => only.column_type,
        _ => by.kinds.column_type(),
    }
}

/// The names of the group columns: the published ones, with a suffix where a column of ours or
/// an earlier group column is called the same, compared without case.
pub fn group_names(by: &[String], columns: &[ColumnSpec], metrics: &[Chosen]) -> Vec<String> {
    let own = [BUCKET_UTC, BUCKET_LOCAL, RECORDS].map(str::to_string);
    let ours = metrics.iter().flat_map(|metric| {
        let name = metric.note.name.to_lowercase();
        SUFFIXES.map(|suffix| format!("{name}_{suffix}"))
    });
    let mut taken: HashSet<String> = own.into_iter().chain(ours).collect();
    let mut names = Vec::with_capacity(by.len());
    for typed in by {
        let column = columns.iter().find(|column| column.path.is_named(typed));
        let wanted = column.map_or_else(|| as_typed(typed).name, |column| column.name.clone());
        let mut name = wanted.clone();
        let mut suffix = 2;
        while !taken.insert(name.to_lowercase()) {
            name = format!("{wanted}_{suffix}");
            suffix += 1;
        }
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Kinds;

    fn column(pointer: &str, kinds: Kinds) -> ColumnSpec {
        ColumnSpec { kinds, column_type: kinds.column_type(), ..as_typed(pointer) }
    }

    fn spec(by: &[&str], metrics: Metrics) -> AggregateSpec {
        AggregateSpec {
            start_us: 0,
            end_us: 1,
            every_us: 1,
            tz: chrono_tz::UTC,
            by: by.iter().map(|name| name.to_string()).collect(),
            metrics,
            max_groups: 1,
        }
    }

    fn named(names: &[&str]) -> Metrics {
        Metrics::Named(names.iter().map(|name| name.to_string()).collect())
    }

    #[test]
    fn a_name_that_means_nothing_is_refused_with_what_there_is() {
        let columns = [column("/type", Kinds::TEXT), column("/device/os", Kinds::TEXT)];
        let error = check(&spec(&["tpye"], Metrics::Auto), &columns, 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--by \"tpye\": the day has no such column (did you mean \"type\"?); \
             its columns are \"type\", \"device_os\""
        );
        let error = check(&spec(&["type"], named(&["x\u{1b}"])), &columns, 1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--metric \"x\\u{1b}\": the day has no such column; its columns are \"type\", \
             \"device_os\""
        );
        let fine = spec(&["device.os", "/type"], named(&["device_os"]));
        assert_eq!(check(&fine, &columns, 1), Ok(()));
    }

    #[test]
    fn a_day_without_records_refuses_no_name() {
        let spec = spec(&["type"], named(&["device.value", "/a~1b/c", "device_value"]));
        assert_eq!(check(&spec, &[], 0), Ok(()));
        let chosen = choose(&spec, &[], HashMap::new());
        let names: Vec<&str> = chosen.iter().map(|metric| &*metric.note.name).collect();
        assert_eq!(names, ["device_value", "a/b_c"]);
        assert_eq!(group_names(&spec.by, &[], &chosen), ["type"]);
    }

    #[test]
    fn group_columns_give_way_to_ours() {
        let columns = [
            column("/Records", Kinds::TEXT),
            column("/value_p50", Kinds::TEXT),
            column("/value", Kinds::INT),
        ];
        let spec = spec(&["Records", "value_p50", "value", "value"], named(&["value"]));
        let chosen = choose(&spec, &columns, HashMap::new());
        let names = group_names(&spec.by, &columns, &chosen);
        assert_eq!(names, ["Records_2", "value_p50_2", "value", "value_2"]);
    }

    #[test]
    fn one_name_may_mean_two_columns() {
        let columns = [
            column("/device_os", Kinds::INT),
            column("/device/os", Kinds::INT),
            column("/a", Kinds::INT),
        ];
        let spec = spec(&[], named(&["a", "device_os", "device.os"]));
        let chosen = choose(&spec, &columns, HashMap::new());
        let paths: Vec<&str> = chosen.iter().map(|metric| metric.note.path.pointer()).collect();
        assert_eq!(paths, ["/a", "/device_os", "/device/os"]);
    }
}
