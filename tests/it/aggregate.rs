//! Aggregates from frames to tables: laws on random days, and days worked out by hand.

use std::collections::{BTreeMap, HashMap, HashSet};

use polars::prelude::{
    Column as PolarsColumn, DataFrame, DataType, NamedFrom, ParquetWriter, Series, TimeUnit,
};
use proptest::prelude::*;
use rawcat::aggregate::{AggregateError, AggregateSpec, Metrics, Partial, Tables};
use rawcat::json::{Bits, Column, Frame, GroupKeys, Items, Texts, Values};
use rawcat::schema::{ColumnSpec, ColumnType, Kinds, Path, Pins, Schema};

const HOUR: i64 = 3_600_000_000;

/// A value as it stands in a record.
#[derive(Clone, Debug)]
enum Source {
    Null,
    /// A number's literal.
    Number(String),
    Text(String),
    Bool(bool),
    List,
    Object,
}

use Source::{Null, Number, Text};

impl Source {
    fn kinds(&self) -> Kinds {
        match self {
            Null => Kinds::NONE,
            Text(_) => Kinds::TEXT,
            Source::Bool(_) => Kinds::BOOL,
            Source::List => Kinds::LIST.union(Kinds::LIST_INT),
            Source::Object => Kinds::OBJECT,
            Number(literal) if literal == "-0" => Kinds::NEG_ZERO,
            Number(literal) => match literal.parse::<i64>() {
                Ok(value) if value.unsigned_abs() <= 1 << 53 => Kinds::INT,
                Ok(_) => Kinds::BIG_INT,
                Err(_) if literal.contains(['.', 'e']) => Kinds::FLOAT,
                Err(_) => Kinds::HUGE,
            },
        }
    }

    /// The text in a text column, and of a group key.
    fn text(&self) -> String {
        match self {
            Null => String::new(),
            Number(text) | Text(text) => text.clone(),
            Source::Bool(value) => value.to_string(),
            Source::List => "[1]".to_string(),
            Source::Object => "{\"a\":1}".to_string(),
        }
    }

    fn json(&self) -> String {
        match self {
            Text(text) => format!("{text:?}"),
            other => other.text(),
        }
    }
}

/// The kinds that a reader has seen in its columns.
type Learnt = HashMap<&'static str, Kinds>;

/// Records of a day: instants, and named values.
#[derive(Clone, Debug, Default)]
struct Day {
    ts_utc: Vec<i64>,
    columns: Vec<(&'static str, Vec<Source>)>,
}

impl Day {
    fn of(ts_utc: &[i64], columns: &[(&'static str, &[Source])]) -> Day {
        let columns = columns.iter();
        Day {
            ts_utc: ts_utc.to_vec(),
            columns: columns.map(|(name, values)| (*name, values.to_vec())).collect(),
        }
    }

    fn values(&self, name: &str) -> &[Source] {
        let column = self.columns.iter().find(|(column, _)| *column == name);
        &column.expect("the test names a column that is there").1
    }

    /// What the reader makes of these rows. It writes a column as wide as it has learnt that it
    /// is, which may be wider than these rows need.
    fn frame(&self, rows: &[usize], by: &[String], learnt: &mut Learnt) -> Frame {
        let columns = self.columns.iter().filter_map(|(name, values)| {
            let values: Vec<&Source> = rows.iter().map(|row| &values[*row]).collect();
            column(name, &values, learnt.entry(name).or_default())
        });
        let groups = by.iter().map(|name| {
            let mut keys = GroupKeys::default();
            for row in rows {
                let value = &self.values(name)[*row];
                keys.texts.push(&value.text());
                keys.valid.push(!matches!(value, Null));
                keys.kinds = keys.kinds.union(value.kinds());
            }
            keys
        });
        Frame {
            rows: rows.len(),
            ts_utc: rows.iter().map(|row| self.ts_utc[*row]).collect(),
            offsets: vec![0; rows.len()],
            columns: columns.collect(),
            groups: groups.collect(),
            ..Frame::default()
        }
    }

    fn specs(&self, pins: &Pins) -> Vec<ColumnSpec> {
        let mut schema = Schema::default();
        for (name, values) in &self.columns {
            for value in values {
                schema.see(&Path::root().child(name), value.kinds());
            }
        }
        schema.columns(pins)
    }

    fn tables(&self, spec: &AggregateSpec) -> Result<Tables, AggregateError> {
        let rows: Vec<usize> = (0..self.ts_utc.len()).collect();
        let mut partial = Partial::new(spec);
        partial.add(spec, &self.frame(&rows, &spec.by, &mut Learnt::new()))?;
        partial.finish(spec, &self.specs(&Pins::new()))
    }
}

/// A column of a frame; none where there are only objects, which become their own columns.
fn column(name: &str, values: &[&Source], learnt: &mut Kinds) -> Option<Column> {
    let seen = values.iter().map(|value| value.kinds());
    let kinds = seen.fold(Kinds::NONE, Kinds::union);
    *learnt = learnt.union(kinds);
    if *learnt == Kinds::OBJECT {
        return None;
    }
    let column_type = match kinds.is_empty() {
        true => ColumnType::Null,
        false => learnt.column_type(),
    };
    let mut valid = Bits::default();
    values.iter().for_each(|value| valid.push(!matches!(value, Null)));
    let number = |value: &&Source| value.text().parse().unwrap_or(0.0);
    let values = match column_type {
        ColumnType::Null => Values::Null,
        ColumnType::Bool => {
            let mut bits = Bits::default();
            let values = values.iter();
            values.for_each(|value| bits.push(matches!(value, Source::Bool(true))));
            Values::Bool(bits)
        }
        ColumnType::Int => {
            let values = values.iter();
            Values::Int(values.map(|value| value.text().parse().unwrap_or(0)).collect())
        }
        ColumnType::Float => Values::Float(values.iter().map(number).collect()),
        ColumnType::List(_) => Values::List {
            ends: (1..=values.len() as u32).collect(),
            items: Items {
                values: Box::new(Values::Int(vec![1; values.len()])),
                valid: Bits::filled(values.len(), true),
            },
        },
        text_or_json => {
            let mut texts = Texts::default();
            for value in values {
                texts.push(&match text_or_json {
                    ColumnType::Json => value.json(),
                    _ => value.text(),
                });
            }
            Values::Text(texts)
        }
    };
    let all = valid.count_ones() == valid.len() || matches!(values, Values::Null);
    let path = Path::root().child(name);
    Some(Column { path, kinds, column_type, values, valid: (!all).then_some(valid) })
}

fn spec(hours: i64, by: &[&str], metrics: Metrics) -> AggregateSpec {
    AggregateSpec {
        start_us: 0,
        end_us: hours * HOUR,
        every_us: HOUR,
        tz: chrono_tz::Asia::Seoul,
        by: by.iter().map(|name| name.to_string()).collect(),
        metrics,
        max_groups: 1_000,
    }
}

fn named(names: &[&str]) -> Metrics {
    Metrics::Named(names.iter().map(|name| name.to_string()).collect())
}

fn number(literal: &str) -> Source {
    Number(literal.to_string())
}

fn text(text: &str) -> Source {
    Text(text.to_string())
}

fn floats(table: &DataFrame, name: &str) -> Vec<Option<f64>> {
    table.column(name).unwrap().f64().unwrap().iter().collect()
}

fn ints(table: &DataFrame, name: &str) -> Vec<i64> {
    let column = table.column(name).unwrap().i64().unwrap();
    column.iter().map(|value| value.unwrap()).collect()
}

fn texts(table: &DataFrame, name: &str) -> Vec<Option<String>> {
    let column = table.column(name).unwrap().str().unwrap();
    column.iter().map(|text| text.map(str::to_string)).collect()
}

fn names(table: &DataFrame) -> Vec<&str> {
    let names = table.get_column_names().into_iter();
    names.map(|name| name.as_str()).collect()
}

fn parquet(table: &DataFrame) -> Vec<u8> {
    let mut bytes = Vec::new();
    ParquetWriter::new(&mut bytes).finish(&mut table.clone()).unwrap();
    bytes
}

/// A small generator: the days of a test are a function of its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % limit
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }

    /// A number in one of the ways in which it may be written, its source a literal or a text.
    fn written(&mut self) -> Source {
        let eighths = self.below(8_000) as i64 - 4_000;
        let literal = match self.below(8) {
            0 => "-0".to_string(),
            1 => "-0.0".to_string(),
            2 => format!("{:e}", eighths as f64 / 8.0),
            3 => ((1i64 << 60) + eighths).to_string(),
            4 | 5 => (eighths / 8).to_string(),
            _ => format!("{:.3}", eighths as f64 / 8.0),
        };
        match self.below(4) {
            0 => Text(literal),
            1 => Null,
            _ => Number(literal),
        }
    }

    /// Small days reach every form of a value, large ones every form of a cell: their records
    /// are in few cells, so that pieces of thousands of numbers meet.
    fn day(&mut self, hours: i64) -> Day {
        let mut columns: BTreeMap<&'static str, Vec<Source>> = BTreeMap::new();
        let mut ts_utc = Vec::new();
        let (rows, span, kinds) = match self.below(3) {
            0 => (1 + self.below(200), hours, 4),
            1 => (1 + self.below(4_000), hours.min(2), 1 + self.below(3)),
            _ => (6_000 + self.below(4_000), 1, 1 + self.below(2)),
        };
        for _ in 0..rows {
            ts_utc.push(self.below((span * HOUR) as u64) as i64);
            let mut push = |name, value| columns.entry(name).or_default().push(value);
            push("mixed", self.written());
            push("whole", Number((self.below(50_000) as i64 - 9).to_string()));
            let share = self.below(1_000_000) as f64 / 1e5 - 3.0;
            push("share", Number(format!("{share}")));
            push("digits", Text(self.below(30).to_string()));
            let is_rare = self.below(2_000) == 0;
            push("rarely", text(if is_rare { "n/a" } else { "12.5" }));
            push(
                "noise",
                match self.below(8) {
                    0 => text("n/a"),
                    1 => Source::Bool(true),
                    2 => Source::List,
                    3 => Source::Object,
                    _ => self.written(),
                },
            );
            push(
                "kind",
                match self.below(kinds) {
                    0 => Null,
                    1 => text(""),
                    other => Text(format!("kind-{other}")),
                },
            );
            let code = ["1", "1.0", "10e-1", "2", "-0", "0"][self.below(6) as usize];
            push("code", Number(code.to_string()));
        }
        Day { ts_utc, columns: columns.into_iter().collect() }
    }
}

/// The tables of a day that is cut at random, its pieces shared out among partials at random.
fn cut_and_merged(day: &Day, spec: &AggregateSpec, random: &mut Random) -> Tables {
    let mut rows: Vec<usize> = (0..day.ts_utc.len()).collect();
    if random.below(2) == 0 {
        random.shuffle(&mut rows);
    }
    let count = 1 + random.below(4);
    let mut partials: Vec<Partial> = (0..count).map(|_| Partial::new(spec)).collect();
    let mut readers: Vec<Learnt> = vec![Learnt::new(); partials.len()];
    let mut rest = &rows[..];
    while !rest.is_empty() {
        let longest = [3, 40, 2_000][random.below(3) as usize];
        let (frame, left) = rest.split_at(rest.len().min(1 + random.below(longest) as usize));
        let at = random.below(partials.len() as u64) as usize;
        let frame = day.frame(frame, &spec.by, &mut readers[at]);
        partials[at].add(spec, &frame).unwrap();
        rest = left;
    }
    random.shuffle(&mut partials);
    while partials.len() > 1 {
        let other = partials.pop().expect("there are two");
        let at = random.below(partials.len() as u64) as usize;
        partials[at].merge(other).unwrap();
    }
    let partial = partials.pop().expect("there is one");
    partial.finish(spec, &day.specs(&Pins::new())).unwrap()
}

/// The key of a row of `buckets`, as text.
type Key = (i64, Option<String>);

/// The exact numbers of each cell, in eighths: another way to the same end.
fn reference(day: &Day, metric: &str) -> HashMap<Key, Vec<i128>> {
    let mut cells: HashMap<Key, Vec<i128>> = HashMap::new();
    for (row, ts_us) in day.ts_utc.iter().enumerate() {
        let kind = match &day.values("kind")[row] {
            Null => None,
            other => Some(other.text()),
        };
        let cell = cells.entry((ts_us / HOUR * HOUR, kind)).or_default();
        let literal = match &day.values(metric)[row] {
            Number(literal) | Text(literal) => literal.as_str(),
            _ => continue,
        };
        if let Ok(whole) = literal.parse::<i128>() {
            cell.push(whole * 8);
        } else if let Ok(fraction) = literal.parse::<f64>() {
            cell.push((fraction * 8.0) as i128);
        }
    }
    cells
}

fn keys(table: &DataFrame) -> Vec<Key> {
    let starts = table.column("bucket_utc").unwrap();
    let starts = starts.as_materialized_series().to_physical_repr();
    let starts = starts.i64().unwrap().iter().map(|start| start.unwrap());
    starts.zip(texts(table, "kind")).collect()
}

fn assert_exact(day: &Day, table: &DataFrame, metric: &str) {
    let cells = reference(day, metric);
    let column = |suffix: &str| floats(table, &format!("{metric}_{suffix}"));
    let (sums, means) = (column("sum"), column("mean"));
    let (p50, p95) = (column("p50"), column("p95"));
    let counts = ints(table, &format!("{metric}_count"));
    let distinct = ints(table, &format!("{metric}_distinct"));
    let kinds = texts(table, &format!("{metric}_quantiles"));
    let distinct_kinds = texts(table, &format!("{metric}_distinct_kind"));
    for (row, key) in keys(table).into_iter().enumerate() {
        let mut numbers = cells.get(&key).cloned().unwrap_or_default();
        numbers.sort();
        assert_eq!(counts[row] as usize, numbers.len());
        if numbers.is_empty() {
            assert_eq!((sums[row], means[row], p50[row]), (None, None, None));
            continue;
        }
        let total: i128 = numbers.iter().sum();
        assert_eq!(sums[row], Some(total as f64 / 8.0), "{key:?}");
        let mean = total as f64 / 8.0 / numbers.len() as f64;
        let ulps = (means[row].unwrap().to_bits() as i64).abs_diff(mean.to_bits() as i64);
        assert!(ulps <= 1, "{mean} {:?}", means[row]);
        let is_exact = numbers.len() <= 1_000;
        assert_eq!(kinds[row].as_deref(), Some(["sketch", "exact"][usize::from(is_exact)]));
        for (percent, read) in [(50, p50[row]), (95, p95[row])] {
            let rank = (percent * numbers.len()).div_ceil(100);
            let (read, exact) = (read.unwrap(), numbers[rank - 1] as f64 / 8.0);
            let tolerance = if is_exact { 0.0 } else { exact.abs() * 0.01 };
            assert!((read - exact).abs() <= tolerance, "p{percent} {read} {exact}");
        }
        let different = numbers.iter().collect::<HashSet<_>>().len();
        if different <= 1_000 {
            assert_eq!(distinct[row] as usize, different);
            assert_eq!(distinct_kinds[row].as_deref(), Some("exact"));
        } else {
            let error = distinct[row] as f64 / different as f64 - 1.0;
            assert!(error.abs() < 0.08, "{} {different}", distinct[row]);
        }
    }
}

/// Polars' own aggregates over all rows at once, by bucket and kind.
// Polars would rather have these called through its lazy engine, which is not built here.
#[allow(deprecated)]
fn assert_as_polars(day: &Day, table: &DataFrame, metric: &str) {
    let starts: Vec<i64> = day.ts_utc.iter().map(|ts_us| ts_us / HOUR * HOUR).collect();
    let kinds = day.values("kind").iter();
    let kinds: Vec<Option<String>> =
        kinds.map(|kind| (!matches!(kind, Null)).then(|| kind.text())).collect();
    let values = day.values(metric).iter();
    let values: Vec<Option<f64>> = values.map(|value| value.text().parse().ok()).collect();
    let columns: Vec<PolarsColumn> = vec![
        Series::new("start".into(), starts).into(),
        Series::new("kind".into(), kinds).into(),
        Series::new("value".into(), values).into(),
    ];
    let all = DataFrame::new(day.ts_utc.len(), columns).unwrap();
    let groups = all.group_by(["start", "kind"]).unwrap().select(["value"]);
    let tables = [
        ("sum", groups.sum().unwrap()),
        ("mean", groups.mean().unwrap()),
        ("min", groups.min().unwrap()),
        ("max", groups.max().unwrap()),
    ];
    let rows: HashMap<Key, usize> = keys(table).into_iter().zip(0..).collect();
    for (suffix, expected) in tables {
        let read = table.column(&format!("{metric}_{suffix}")).unwrap();
        let read = read.cast(&DataType::Float64).unwrap();
        let read = read.f64().unwrap();
        let expected_values = floats(&expected, &format!("value_{suffix}"));
        let starts = ints(&expected, "start");
        for ((start, kind), expected) in
            starts.iter().zip(texts(&expected, "kind")).zip(expected_values)
        {
            let Some(read) = read.get(rows[&(*start, kind)]) else {
                assert!(expected.is_none_or(|expected| expected == 0.0));
                continue;
            };
            let expected = expected.unwrap();
            // Sums of large numbers that nearly cancel lose more in Polars than the ratio says.
            let tolerance = match suffix {
                "sum" | "mean" => 1e-9 * (expected.abs() + 1e-3),
                _ => 0.0,
            };
            assert!((read - expected).abs() <= tolerance, "{suffix} {read} {expected}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_cut_of_a_day_merges_to_the_same_tables(seed in 1u64..) {
        let mut random = Random(seed);
        let day = random.day(24);
        let by: &[&[&str]] = &[&[], &["kind"], &["code"], &["kind", "code"]];
        let by = by[random.below(4) as usize];
        let metrics = [Metrics::Auto, named(&["noise", "mixed"])];
        let spec = spec(24, by, metrics[random.below(2) as usize].clone());
        let whole = day.tables(&spec).unwrap();
        let cut = cut_and_merged(&day, &spec, &mut random);
        prop_assert_eq!(names(&whole.daily), names(&cut.daily));
        prop_assert!(whole.daily.equals_missing(&cut.daily));
        prop_assert!(whole.buckets.equals_missing(&cut.buckets));
        prop_assert_eq!(parquet(&whole.daily), parquet(&cut.daily));
        prop_assert_eq!(parquet(&whole.buckets), parquet(&cut.buckets));
        prop_assert_eq!(whole.metrics, cut.metrics);
    }

    #[test]
    fn statistics_are_those_of_exact_arithmetic_and_of_polars(seed in 1u64..) {
        let mut random = Random(seed);
        let day = random.day(5);
        let spec = spec(5, &["kind"], named(&["mixed", "whole", "share", "digits"]));
        let tables = cut_and_merged(&day, &spec, &mut random);
        for metric in ["mixed", "whole", "digits"] {
            assert_exact(&day, &tables.buckets, metric);
        }
        for metric in ["whole", "share", "digits"] {
            assert_as_polars(&day, &tables.buckets, metric);
        }
        let total: i64 = ints(&tables.daily, "records").iter().sum();
        prop_assert_eq!(total as usize, day.ts_utc.len());
        prop_assert_eq!(ints(&tables.buckets, "records").iter().sum::<i64>(), total);
    }
}

#[test]
fn the_tables_have_the_documented_columns() {
    let day = Day::of(
        &[0, HOUR],
        &[
            ("kind", &[text("a"), Null]),
            ("value", &[number("1"), number("2")]),
            ("ratio", &[number("1"), number("0.5")]),
        ],
    );
    let tables = day.tables(&spec(2, &["kind"], named(&["value"]))).unwrap();
    let statistics = [
        "value_count",
        "value_sum",
        "value_mean",
        "value_min",
        "value_max",
        "value_p50",
        "value_p95",
        "value_p99",
        "value_quantiles",
        "value_distinct",
        "value_distinct_kind",
        "value_not_numbers",
    ];
    let daily = [&["kind", "records"][..], &statistics].concat();
    assert_eq!(names(&tables.daily), daily);
    let buckets = [&["bucket_utc", "bucket_local"][..], &daily].concat();
    assert_eq!(names(&tables.buckets), buckets);
    let types = tables.buckets.dtypes();
    assert_eq!(types[1], DataType::Datetime(TimeUnit::Microseconds, None));
    assert_eq!(types[0].to_string(), "datetime[μs, UTC]");
    assert_eq!((&types[5], &types[7]), (&DataType::Float64, &DataType::Int64));
    assert_eq!(texts(&tables.daily, "kind"), [Some("a".to_string()), None]);
    assert_eq!(ints(&tables.buckets, "records"), [1, 0, 0, 1]);
    assert_eq!(floats(&tables.buckets, "value_sum"), [Some(1.0), None, None, Some(2.0)]);
    assert_eq!(ints(&tables.buckets, "value_distinct"), [1, 0, 0, 1]);
    let ratio = day.tables(&spec(2, &[], named(&["ratio"]))).unwrap();
    assert_eq!(floats(&ratio.daily, "ratio_min"), [Some(0.5)]);
}

#[test]
fn auto_takes_numeric_columns_and_text_that_held_only_numbers() {
    let rows = [
        ("kind", [number("1"), number("2"), number("3")]),
        ("int", [number("1"), Null, number("3")]),
        ("digits", [text("30"), number("1"), Null]),
        ("ids", [text("1"), text("007"), text("2")]),
        ("flag", [Source::Bool(true), Null, Null]),
        ("list", [Source::List, Null, Null]),
        ("json", [Source::Object, number("1"), Null]),
        ("odd", [Source::Bool(true), number("1"), Null]),
        ("empty", [Null, Null, Null]),
        ("huge", [number("1"), number("18446744073709551616"), Null]),
    ];
    let columns: Vec<(&str, &[Source])> =
        rows.iter().map(|(name, row)| (*name, &row[..])).collect();
    let day = Day::of(&[0, 1, 2], &columns);
    let tables = day.tables(&spec(1, &["kind"], Metrics::Auto)).unwrap();
    let metrics: Vec<&str> = tables.metrics.iter().map(|metric| &*metric.name).collect();
    assert_eq!(metrics, ["int", "digits", "huge"]);
    let tables = day.tables(&spec(1, &[], named(&["odd", "ids", "json", "empty"]))).unwrap();
    let noted = tables.metrics.iter();
    let noted: Vec<(u64, u64)> = noted.map(|note| (note.numbers, note.not_numbers)).collect();
    assert_eq!(noted, [(1, 1), (2, 1), (1, 0), (0, 0)]);
    assert_eq!(ints(&tables.daily, "ids_not_numbers"), [1]);
}

#[test]
fn group_columns_have_their_columns_type_and_merge_by_value() {
    let codes = ["10", "9.0", "1e1", "9", "0.5"].map(number);
    let flags = [Source::Bool(true), Source::Bool(false), Null, Null, Null];
    let day = Day::of(&[0; 5], &[("code", &codes), ("flag", &flags)]);
    let tables = day.tables(&spec(1, &["code"], Metrics::Auto)).unwrap();
    assert_eq!(floats(&tables.daily, "code"), [0.5, 9.0, 10.0].map(Some));
    assert_eq!(ints(&tables.daily, "records"), [1, 2, 2]);
    let tables = day.tables(&spec(1, &["flag"], Metrics::Auto)).unwrap();
    let flags = tables.daily.column("flag").unwrap();
    let flags: Vec<Option<bool>> = flags.bool().unwrap().iter().collect();
    assert_eq!(flags, [Some(false), Some(true), None]);
}

#[test]
fn a_declared_type_shapes_the_tables() {
    let day = Day::of(&[0, 1], &[("value", &[text("3"), text("4")])]);
    let spec = spec(1, &[], Metrics::Auto);
    for (pinned, expected) in [
        (ColumnType::Text, DataType::Float64),
        (ColumnType::Int, DataType::Int64),
        (ColumnType::Float, DataType::Float64),
    ] {
        let mut partial = Partial::new(&spec);
        partial.add(&spec, &day.frame(&[0, 1], &[], &mut Learnt::new())).unwrap();
        let pins = Pins::from([("value".to_string(), pinned)]);
        let tables = partial.finish(&spec, &day.specs(&pins)).unwrap();
        assert_eq!(tables.daily.column("value_max").unwrap().dtype(), &expected);
    }
}

#[test]
fn buckets_follow_elapsed_time_through_a_clock_change() {
    // 2024-04-07 in Lord Howe has 24.5 hours: the clock goes back half an hour at 2:00.
    let start_us = 1_712_408_400_000_000;
    let spec = AggregateSpec {
        start_us,
        end_us: start_us + 24 * HOUR + HOUR / 2,
        tz: chrono_tz::Australia::Lord_Howe,
        ..spec(0, &[], Metrics::Auto)
    };
    let day = Day::of(&[start_us, start_us + 24 * HOUR], &[]);
    let tables = day.tables(&spec).unwrap();
    assert_eq!(tables.buckets.height(), 25);
    let local = tables.buckets.column("bucket_local").unwrap();
    let local = local.as_materialized_series().to_physical_repr();
    let local: Vec<i64> = local.i64().unwrap().iter().flatten().take(4).collect();
    let midnight = start_us + 11 * HOUR;
    let expected = [0, 2, 3, 5].map(|halves| midnight + halves * HOUR / 2);
    assert_eq!(local, expected);
    let records = ints(&tables.buckets, "records");
    assert_eq!((records[0], records[24], records.iter().sum()), (1, 1, 2));
}

#[test]
fn a_day_without_records_has_its_buckets() {
    let spec_of = |by: &[&str]| spec(24, by, named(&["value"]));
    let tables = Day::default().tables(&spec_of(&[])).unwrap();
    assert_eq!(ints(&tables.daily, "records"), [0]);
    assert_eq!(ints(&tables.buckets, "records"), [0; 24]);
    assert_eq!(floats(&tables.buckets, "value_p99"), [None; 24]);
    let tables = Partial::new(&spec_of(&["kind"])).finish(&spec_of(&["kind"]), &[]).unwrap();
    assert_eq!((tables.daily.height(), tables.buckets.height()), (0, 0));
    assert_eq!(names(&tables.daily)[0], "kind");
}

#[test]
fn from_a_million_rows_on_empty_buckets_are_left_out() {
    let day = Day::of(&[0, 5], &[("kind", &[text("a"), text("b")])]);
    for (buckets, rows) in [(499_999, 999_998), (500_000, 2)] {
        let spec =
            AggregateSpec { end_us: buckets, every_us: 1, ..spec(0, &["kind"], Metrics::Auto) };
        assert_eq!(day.tables(&spec).unwrap().buckets.height(), rows);
    }
}

#[test]
fn errors_say_what_to_do() {
    let day = Day::of(&[0, 1], &[("user", &[text("a"), text("b")])]);
    let message = |spec: &AggregateSpec| day.tables(spec).unwrap_err().to_string();
    let few = AggregateSpec { max_groups: 1, ..spec(1, &["user"], Metrics::Auto) };
    assert_eq!(
        message(&few),
        "more than 1 groups: column \"user\" alone has at least 2 different values; \
         leave it out of --by, or raise --max-groups"
    );
    let unknown = spec(1, &[], named(&["usr"]));
    assert_eq!(
        message(&unknown),
        "--metric \"usr\": the day has no such column (did you mean \"user\"?); \
         its columns are \"user\""
    );
    let still = AggregateSpec { every_us: 0, ..spec(1, &[], Metrics::Auto) };
    assert!(message(&still).contains("give a longer one"));
}
