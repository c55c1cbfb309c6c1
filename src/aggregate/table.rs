//! Tables: everything that was seen of a day goes in, its two tables come out.

use std::ops::Range;

use chrono::DateTime;
use chrono_tz::Tz;
use polars::prelude::{Column, DataFrame, NamedFrom, Series, TimeUnit, TimeZone};

use super::cell::Cell;
use super::keys::Keys;
use super::names::{self, BUCKET_LOCAL, BUCKET_UTC, Chosen, RECORDS, SUFFIXES};
use super::number::Num;
use super::partial::{Numbers, Partial};
use super::quantile::PERCENTILES;
use super::slots::Slots;
use super::{AggregateError, AggregateSpec, Metrics, Tables};
use crate::schema::{ColumnSpec, ColumnType};

/// From so many rows on, `buckets` has only rows with records.
pub const FILLED_ROWS: u64 = 1_000_000;

pub fn finish(
    partial: Partial,
    spec: &AggregateSpec,
    columns: &[ColumnSpec],
) -> Result<Tables, AggregateError> {
    let buckets = spec.buckets()?;
    names::check(spec, columns, partial.slots.records().iter().sum())?;
    let by = partial.groups.by().iter();
    let types: Vec<ColumnType> = by.map(|by| names::group_type(by, columns)).collect();
    let keys = Keys::new(&partial.groups, &types);
    let metrics = names::choose(spec, columns, partial.metrics);
    let group_names = names::group_names(&spec.by, columns, &metrics);

    let grid = Grid::new(&partial.slots, &keys, buckets);
    let (daily_records, bucket_records) = grid.records(partial.slots.records(), keys.len());
    let key_columns = |places: &dyn Fn() -> Box<dyn Iterator<Item = u32>>| -> Vec<Column> {
        let named = group_names.iter().enumerate();
        named.map(|(at, name)| keys.column(at, name, places())).collect()
    };
    let groups = keys.len() as u32;
    let mut daily = key_columns(&|| Box::new(0..groups));
    daily.push(column(RECORDS, daily_records));
    let mut hourly = bucket_columns(spec, &grid);
    let places: Vec<u32> = grid.rows.iter().map(|row| row.group).collect();
    hourly.extend(key_columns(&|| Box::new(places.clone().into_iter())));
    hourly.push(column(RECORDS, bucket_records));

    let counts_others = matches!(spec.metrics, Metrics::Named(_));
    let mut notes = Vec::with_capacity(metrics.len());
    for Chosen { note, column_type, numbers } in metrics {
        let (of_days, of_buckets) = grid.statistics(numbers, keys.len());
        // A column that was declared as integers may hold fractions all the same.
        let is_int = column_type == ColumnType::Int && of_buckets.is_int();
        daily.extend(of_days.columns(&note.name, is_int, counts_others));
        hourly.extend(of_buckets.columns(&note.name, is_int, counts_others));
        notes.push(note);
    }
    Ok(Tables {
        by: group_names,
        filled: grid.filled,
        daily: data_frame(keys.len(), daily),
        buckets: data_frame(grid.rows.len(), hourly),
        metrics: notes,
    })
}

fn data_frame(rows: usize, columns: Vec<Column>) -> DataFrame {
    DataFrame::new(rows, columns).expect("names are distinct, and columns have a value per row")
}

fn column<T>(name: &str, values: Vec<T>) -> Column
where
    Series: NamedFrom<Vec<T>, [T]>,
{
    Series::new(name.into(), values).into()
}

/// The rows of `buckets`.
struct Grid {
    rows: Vec<Row>,
    /// Slots in the order of the rows.
    slots: Vec<u32>,
    /// Every bucket has its rows.
    filled: bool,
}

struct Row {
    bucket: u32,
    /// The place of the group.
    group: u32,
    /// The row's slots within [`Grid::slots`]: none, or one, or several where different texts
    /// are the same key.
    slots: Range<usize>,
}

impl Grid {
    fn new(slots: &Slots, keys: &Keys, buckets: u32) -> Grid {
        let mut placed: Vec<(u32, u32, u32)> = (0..)
            .zip(slots.keys())
            .map(|(slot, key)| (key.bucket, keys.place(key.group), slot))
            .collect();
        placed.sort_unstable();
        let mut rows = Vec::new();
        let groups = keys.len() as u64;
        let mut left = placed.iter().enumerate().peekable();
        // Takes the slots of a row that come next, if they do.
        let mut row = |bucket: u32, group: u32| {
            let start = left.peek().map_or(placed.len(), |(at, _)| *at);
            let is_here =
                |slot: &(usize, &(u32, u32, u32))| (slot.1.0, slot.1.1) == (bucket, group);
            let count = std::iter::from_fn(|| left.next_if(is_here)).count();
            Row { bucket, group, slots: start..start + count }
        };
        let filled = groups * u64::from(buckets) < FILLED_ROWS;
        if filled {
            for bucket in 0..buckets {
                rows.extend((0..keys.len() as u32).map(|group| row(bucket, group)));
            }
        } else {
            let mut seen: Vec<(u32, u32)> = placed.iter().map(|slot| (slot.0, slot.1)).collect();
            seen.dedup();
            rows.extend(seen.into_iter().map(|(bucket, group)| row(bucket, group)));
        }
        Grid { rows, slots: placed.iter().map(|placed| placed.2).collect(), filled }
    }

    /// The records of each group, and those of each row.
    fn records(&self, of_slots: &[u64], groups: usize) -> (Vec<i64>, Vec<i64>) {
        let mut daily = vec![0; groups];
        let mut rows = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let slots = self.slots[row.slots.clone()].iter();
            let records = slots.map(|slot| of_slots[*slot as usize] as i64).sum();
            daily[row.group as usize] += records;
            rows.push(records);
        }
        (daily, rows)
    }

    /// The statistics of a metric for each group, and for each row.
    fn statistics(&self, mut numbers: Numbers, groups: usize) -> (Statistics, Statistics) {
        let mut daily = vec![(Cell::default(), 0); groups];
        let mut rows = Statistics::default();
        for row in &self.rows {
            let (mut cell, mut others) = (Cell::default(), 0);
            for slot in &self.slots[row.slots.clone()] {
                // A metric that was not seen in the last slots has no cells for them.
                if let Some(part) = numbers.cells.get_mut(*slot as usize) {
                    cell.merge(std::mem::take(part));
                }
                others += numbers.not_numbers.get(*slot as usize).unwrap_or(&0);
            }
            rows.push(&mut cell, others);
            let (of_day, others_of_day) = &mut daily[row.group as usize];
            of_day.merge(cell);
            *others_of_day += others;
        }
        let mut days = Statistics::default();
        daily.iter_mut().for_each(|(cell, others)| days.push(cell, *others));
        (days, rows)
    }
}

/// Where each row's bucket begins.
fn bucket_columns(spec: &AggregateSpec, grid: &Grid) -> Vec<Column> {
    let start = |row: &Row| spec.start_us + i64::from(row.bucket) * spec.every_us;
    let utc: Vec<i64> = grid.rows.iter().map(start).collect();
    let mut last = None;
    let mut local = Vec::with_capacity(utc.len());
    for utc_us in &utc {
        // Rows of one bucket stand together: each bucket is looked up once.
        local.push(match last {
            Some((before, local_us)) if before == *utc_us => local_us,
            _ => to_local(*utc_us, spec.tz),
        });
        last = Some((*utc_us, local[local.len() - 1]));
    }
    let time = |name: &str, values: Vec<i64>, zone: Option<TimeZone>| -> Column {
        let series = Series::new(name.into(), values);
        series.into_datetime(TimeUnit::Microseconds, zone).into()
    };
    vec![time(BUCKET_UTC, utc, Some(TimeZone::UTC)), time(BUCKET_LOCAL, local, None)]
}

/// µs UTC to µs of the local clock.
fn to_local(utc_us: i64, tz: Tz) -> i64 {
    let utc = DateTime::from_timestamp_micros(utc_us).expect("a day lies within chrono's years");
    let local = utc.with_timezone(&tz).naive_local();
    local.and_utc().timestamp_micros()
}

/// The columns of a metric, row by row.
#[derive(Default)]
struct Statistics {
    count: Vec<i64>,
    sum: Vec<Option<f64>>,
    mean: Vec<Option<f64>>,
    min: Vec<Option<Num>>,
    max: Vec<Option<Num>>,
    quantiles: [Vec<Option<f64>>; PERCENTILES.len()],
    quantiles_kind: Vec<Option<&'static str>>,
    distinct: Vec<i64>,
    distinct_kind: Vec<Option<&'static str>>,
    not_numbers: Vec<i64>,
}

impl Statistics {
    fn push(&mut self, cell: &mut Cell, not_numbers: u64) {
        let kind = |is_exact: bool, other| if is_exact { "exact" } else { other };
        let stats = cell.stats();
        let stats = stats.as_ref();
        self.count.push(stats.map_or(0, |stats| stats.count as i64));
        self.sum.push(stats.map(|stats| stats.sum));
        self.mean.push(stats.map(|stats| stats.mean));
        self.min.push(stats.map(|stats| stats.min));
        self.max.push(stats.map(|stats| stats.max));
        for (at, values) in self.quantiles.iter_mut().enumerate() {
            values.push(stats.map(|stats| stats.quantiles[at]));
        }
        let quantiles = stats.map(|stats| kind(stats.quantiles_exact, "sketch"));
        self.quantiles_kind.push(quantiles);
        self.distinct.push(stats.map_or(0, |stats| stats.distinct as i64));
        let distinct = stats.map(|stats| kind(stats.distinct_exact, "hyperloglog"));
        self.distinct_kind.push(distinct);
        self.not_numbers.push(not_numbers as i64);
    }

    /// True where every least and greatest number is an integer that fits i64.
    fn is_int(&self) -> bool {
        let numbers = self.min.iter().chain(&self.max).flatten();
        numbers.copied().all(|number| number.to_i64().is_some())
    }

    /// `is_int`: least and greatest numbers as i64. `counts_others`: with `not_numbers`.
    fn columns(self, metric: &str, is_int: bool, counts_others: bool) -> Vec<Column> {
        let number = |name: &str, values: Vec<Option<Num>>| -> Column {
            let values = values.into_iter();
            if is_int {
                let ints = values.map(|value| value.and_then(Num::to_i64));
                column(name, ints.collect::<Vec<_>>())
            } else {
                let floats = values.map(|value| value.map(Num::to_f64));
                column(name, floats.collect::<Vec<_>>())
            }
        };
        let names = SUFFIXES.map(|suffix| format!("{metric}_{suffix}"));
        let mut names = names.iter().map(String::as_str);
        let mut name = || names.next().expect("there is a suffix for each column");
        let [p50, p95, p99] = self.quantiles;
        let mut columns = vec![
            column(name(), self.count),
            column(name(), self.sum),
            column(name(), self.mean),
            number(name(), self.min),
            number(name(), self.max),
            column(name(), p50),
            column(name(), p95),
            column(name(), p99),
            Series::new(name().into(), self.quantiles_kind).into(),
            column(name(), self.distinct),
            Series::new(name().into(), self.distinct_kind).into(),
        ];
        if counts_others {
            columns.push(column(name(), self.not_numbers));
        }
        columns
    }
}
