//! Frames → mergeable partials → the tables of a day (Polars). Pure.
//!
//! Rows of the day go in, frame by frame, into any number of [`Partial`]s; partials merge in any
//! order; [`Partial::finish`] gives two tables. A table is a function of the *set* of rows:
//! neither the cut of the day into frames, nor the order, nor the number of threads can show in
//! it, to the last bit. This room never looks at objects, offsets or the clock.
//!
//! # The tables
//!
//! `daily` has one row per group, sorted by group. `buckets` has one row per bucket and group,
//! sorted by bucket, then by group, nulls last. Buckets are elapsed steps from the day's first
//! instant; the last one may be short. Buckets without records have their rows too, as long as
//! groups × buckets stay below [`FILLED_ROWS`].
//!
//! | column | type | |
//! |---|---|---|
//! | `bucket_utc` | timestamp, µs, UTC | where the bucket begins; only in `buckets` |
//! | `bucket_local` | timestamp, µs, no zone | the same in local time; a fold shows an hour twice; only in `buckets` |
//! | one per `--by` | its column's type, or text | null is a group of its own |
//! | `records` | i64 | all records, also those without the metric |
//! | `<metric>_count` | i64 | how many numbers the other columns speak of |
//! | `<metric>_sum` | f64 | the nearest f64 to the exact sum; infinite beyond the range of f64 |
//! | `<metric>_mean` | f64 | the nearest f64 to the exact mean |
//! | `<metric>_min`, `_max` | i64 where the metric's column is of integers, else f64 | exact |
//! | `<metric>_p50`, `_p95`, `_p99` | f64 | nearest rank, as DuckDB's `quantile_disc` |
//! | `<metric>_quantiles` | text | `exact` up to 1,000 numbers, else `sketch`: within 1 % |
//! | `<metric>_distinct` | i64 | how many different numbers |
//! | `<metric>_distinct_kind` | text | `exact` up to 1,000 different numbers, else `hyperloglog`: standard error 1.6 % |
//! | `<metric>_not_numbers` | i64 | values that are text, booleans or lists; only with `--metric` |
//!
//! Counts are 0 where there is nothing to count; everything else is null there.
//!
//! # What a number is
//!
//! JSON numbers, and text that is one by JSON's grammar, and that f64 can hold: see [`Num`].
//! `30`, `30.0` and `"30"` are the same number.

mod cell;
mod distinct;
mod groups;
mod keys;
mod names;
mod number;
mod partial;
mod quantile;
mod slots;
mod sum;
mod table;

use chrono_tz::Tz;
use polars::prelude::DataFrame;

use crate::schema::Path;

pub use cell::EXACT_VALUES;
pub use distinct::EXACT_DISTINCT;
pub use groups::GROUP_TEXT_BYTES;
pub use names::without_number;
pub use number::Num;
pub use partial::Partial;
pub use table::FILLED_ROWS;

/// What is to be computed over one day, or over one window.
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateSpec {
    /// First instant of the day, µs UTC.
    pub start_us: i64,
    /// First instant after the day, µs UTC.
    pub end_us: i64,
    /// Length of a bucket in elapsed µs.
    pub every_us: i64,
    pub tz: Tz,
    /// Columns to group by, as typed; without any, the whole day is one group.
    pub by: Vec<String>,
    pub metrics: Metrics,
    /// More groups than this are an error. Counted by the source text of their keys.
    pub max_groups: usize,
}

impl AggregateSpec {
    /// How many buckets the day has.
    fn buckets(&self) -> Result<u32, AggregateError> {
        let length = i128::from(self.end_us) - i128::from(self.start_us);
        let every = i128::from(self.every_us);
        let buckets = if every > 0 { (length.max(0) + every - 1) / every } else { -1 };
        u32::try_from(buckets).map_err(|_| AggregateError::Step { every_us: self.every_us })
    }
}

/// Which columns statistics are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metrics {
    /// Every numeric column, and every text column that held only numbers; not the group columns.
    Auto,
    /// The columns that these names mean, whatever is in them.
    Named(Vec<String>),
}

/// The tables of a day; their columns are described at the [module](self).
#[derive(Clone, Debug)]
pub struct Tables {
    pub daily: DataFrame,
    pub buckets: DataFrame,
    /// The metrics in the order of their columns.
    pub metrics: Vec<MetricNote>,
    /// The names of the group columns, in the order of `--by`.
    pub by: Vec<String>,
    /// Buckets without records have their rows too.
    pub filled: bool,
}

impl Tables {
    /// The records that `daily` counts.
    pub fn records(&self) -> u64 {
        let counts = self.daily.column(names::RECORDS).and_then(|column| column.i64());
        counts.map_or(0, |counts| counts.iter().flatten().sum::<i64>() as u64)
    }
}

/// What became a metric, for the manifest and for charts.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricNote {
    /// The beginning of the metric's column names.
    pub name: String,
    pub path: Path,
    /// How many numbers the day had.
    pub numbers: u64,
    /// How many values the day had that are no number.
    pub not_numbers: u64,
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum AggregateError {
    /// `distinct` counts what was seen until the limit was reached.
    #[error(
        "more than {limit} groups: column {column:?} alone has at least {distinct} different \
         values; leave it out of --by, or raise --max-groups"
    )]
    TooManyGroups { limit: usize, column: String, distinct: usize },
    #[error(
        "the different values of column {column:?} are longer than {limit_bytes} bytes in all; \
         leave it out of --by"
    )]
    GroupsTooLong { column: String, limit_bytes: usize },
    #[error("{flag} {name:?}: the day has no such column{}{}", hint(.similar), listing(.available))]
    UnknownColumn {
        flag: &'static str,
        name: String,
        /// Names that are spelt alike, the nearest first.
        similar: Vec<String>,
        available: Vec<String>,
    },
    #[error(
        "--every: a bucket of {every_us} µs does not divide the day into 1 to 4294967295 buckets; \
         give a longer one"
    )]
    Step { every_us: i64 },
    #[error("a row at {ts_us} µs since 1970 lies outside the window that is aggregated")]
    OutsideWindow { ts_us: i64 },
}

fn hint(similar: &[String]) -> String {
    match similar {
        [] => String::new(),
        names => format!(" (did you mean {}?)", quoted(names, " or ")),
    }
}

fn listing(available: &[String]) -> String {
    /// More columns than this are counted, not named.
    const NAMED: usize = 40;
    let shown = &available[..available.len().min(NAMED)];
    let left = available.len() - shown.len();
    let more = if left > 0 { format!(" and {left} more") } else { String::new() };
    format!("; its columns are {}{more}", quoted(shown, ", "))
}

/// Names come from data: `Debug` escapes what a terminal would obey.
fn quoted(names: &[String], between: &str) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    quoted.join(between)
}
