//! Where things stand in `--out`: a target and an item go in, a relative path comes out.
//!
//! Names come from dates, from times and from rawcat's own words, never from keys or records. It
//! looks at the disk only to say what an earlier publish left, and changes nothing there.

use std::fmt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDate, Utc};

use super::lock::OWN_FOLDER;
use crate::window::Window;

const PART: &str = "part-00000.parquet";

/// The folders of `--out` that are rawcat's to write and to clear.
pub const FOLDERS: [&str; 7] =
    ["aggregates", "charts", "manifests", "quarantine", "records", "windows", OWN_FOLDER];

/// What is published as one: a local day, or a window that is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    Day(NaiveDate),
    Window { start_utc: DateTime<Utc>, end_utc: DateTime<Utc> },
}

/// One of a target's outputs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    Records,
    /// One row a day and group.
    Daily,
    /// One row a bucket and group.
    Buckets(Step),
    Quarantine,
    ChartSvg,
    ChartPng,
    Manifest,
}

/// The length of a bucket, as a folder's name: `hourly`, or `5m`, `90s`, `2h`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    us: i64,
}

impl Step {
    /// `every_us`: microseconds, positive.
    pub fn new(every_us: i64) -> Step {
        Step { us: every_us }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SECOND: i64 = 1_000_000;
        let units = [(3600 * SECOND, "h"), (60 * SECOND, "m"), (SECOND, "s"), (1000, "ms")];
        if self.us == 3600 * SECOND {
            return f.write_str("hourly");
        }
        let fits = units.iter().find(|(unit, _)| self.us % unit == 0);
        let (unit, name) = fits.unwrap_or(&(1, "us"));
        write!(f, "{}{name}", self.us / unit)
    }
}

impl Target {
    /// The local day, or the window that is none.
    pub fn of(window: &Window) -> Target {
        match window.date {
            Some(date) => Target::Day(date),
            None => Target::Window { start_utc: window.start_utc, end_utc: window.end_utc },
        }
    }

    /// `2022-04-18`, or `20220417T150000Z_20220417T180000Z`. Times with a fraction of a second
    /// keep it.
    pub fn id(&self) -> String {
        let time = |time: &DateTime<Utc>| time.format("%Y%m%dT%H%M%S%.fZ").to_string();
        match self {
            Target::Day(date) => date.to_string(),
            Target::Window { start_utc, end_utc } => {
                format!("{}_{}", time(start_utc), time(end_utc))
            }
        }
    }

    /// The path of an item, relative to `--out`.
    pub fn path(&self, item: &Item) -> PathBuf {
        let id = self.id();
        let below = match item {
            Item::Records => "records".to_string(),
            Item::Daily => "aggregates/daily".to_string(),
            Item::Buckets(step) => format!("aggregates/{step}"),
            Item::Quarantine => "quarantine".to_string(),
            Item::ChartSvg | Item::ChartPng => "charts".to_string(),
            Item::Manifest => "manifests".to_string(),
        };
        let extension = match item {
            Item::ChartSvg => "svg",
            Item::ChartPng => "png",
            Item::Manifest => "json",
            _ => "",
        };
        match (self, extension) {
            (Target::Day(_), "") => format!("{below}/local_date={id}/{PART}"),
            (Target::Day(_), extension) => format!("{below}/{id}.{extension}"),
            (Target::Window { .. }, "") => format!("windows/{id}/{below}/{PART}"),
            (Target::Window { .. }, "json") => format!("windows/{id}/manifest.json"),
            (Target::Window { .. }, extension) => format!("windows/{id}/chart.{extension}"),
        }
        .into()
    }

    /// Every file in `out` that an earlier publish of this target may have made, sorted. What else
    /// lies there is not rawcat's and is left alone.
    pub fn published(&self, out: &Path) -> std::io::Result<Vec<PathBuf>> {
        let aggregates = names_in(&out.join(self.aggregates()))?;
        let mut found = Vec::new();
        for folder in self.table_folders(aggregates) {
            let names = names_in(&out.join(&folder))?.into_iter();
            found.extend(names.filter(|name| is_part(name)).map(|name| folder.join(name)));
        }
        found.extend(self.charts().into_iter().filter(|chart| out.join(chart).exists()));
        found.sort();
        Ok(found)
    }

    fn root(&self) -> PathBuf {
        match self {
            Target::Day(_) => PathBuf::new(),
            Target::Window { .. } => Path::new("windows").join(self.id()),
        }
    }

    /// The folder of the folders of aggregates.
    pub(super) fn aggregates(&self) -> PathBuf {
        self.root().join("aggregates")
    }

    /// The folders in which this target's tables may have parts, with `aggregates` the names of
    /// the folders of aggregates.
    pub(super) fn table_folders(&self, aggregates: Vec<String>) -> Vec<PathBuf> {
        let mut tables = vec![self.root().join("records"), self.root().join("quarantine")];
        tables.extend(aggregates.into_iter().map(|name| self.aggregates().join(name)));
        let folder = |table: PathBuf| match self {
            Target::Day(date) => table.join(format!("local_date={date}")),
            Target::Window { .. } => table,
        };
        tables.into_iter().map(folder).collect()
    }

    pub(super) fn charts(&self) -> [PathBuf; 2] {
        [Item::ChartSvg, Item::ChartPng].map(|chart| self.path(&chart))
    }

    /// Whether a path is that of a part directly in one of `folders`.
    pub(super) fn is_part_in(path: &Path, folders: &[PathBuf]) -> bool {
        let folder = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(is_part) && folders.iter().any(|known| known == folder)
    }
}

/// Names in a folder; none where there is no such folder.
fn names_in(folder: &Path) -> std::io::Result<Vec<String>> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    let entries = match std::fs::read_dir(folder) {
        Err(problem) if [NotFound, NotADirectory].contains(&problem.kind()) => {
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

/// Whether a file's name is one that rawcat gives to parts of a table.
fn is_part(name: &str) -> bool {
    name.starts_with("part-") && name.ends_with(".parquet")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day() -> Target {
        Target::Day(NaiveDate::from_ymd_opt(2022, 4, 18).expect("a date"))
    }

    fn window() -> Target {
        let time = |us| DateTime::from_timestamp_micros(us).expect("a time");
        Target::Window {
            start_utc: time(1_650_207_600_000_000),
            end_utc: time(1_650_218_400_500_000),
        }
    }

    #[test]
    fn a_day_lies_in_hive_partitions() {
        let path = |item| day().path(&item).display().to_string();
        assert_eq!(path(Item::Records), "records/local_date=2022-04-18/part-00000.parquet");
        let hourly = Item::Buckets(Step::new(3_600_000_000));
        assert_eq!(path(hourly), "aggregates/hourly/local_date=2022-04-18/part-00000.parquet");
        assert_eq!(path(Item::ChartSvg), "charts/2022-04-18.svg");
        assert_eq!(path(Item::Manifest), "manifests/2022-04-18.json");
    }

    #[test]
    fn a_window_has_a_folder_of_its_own() {
        let path = |item| window().path(&item).display().to_string();
        let id = "20220417T150000Z_20220417T180000.500Z";
        assert_eq!(path(Item::Records), format!("windows/{id}/records/part-00000.parquet"));
        assert_eq!(path(Item::ChartPng), format!("windows/{id}/chart.png"));
        assert_eq!(path(Item::Manifest), format!("windows/{id}/manifest.json"));
    }

    #[test]
    fn steps_are_named_by_their_largest_unit() {
        let name = |seconds: i64| Step::new(seconds * 1_000_000).to_string();
        assert_eq!([name(3600), name(300), name(90), name(7200)], ["hourly", "5m", "90s", "2h"]);
        assert_eq!(Step::new(1_500).to_string(), "1500us");
    }

    #[test]
    fn what_an_earlier_publish_left_is_found_and_a_strangers_files_are_not() {
        let out = tempfile::tempdir().expect("a folder");
        let left = [
            "aggregates/5m/local_date=2022-04-18/part-00000.parquet",
            "charts/2022-04-18.svg",
            "records/local_date=2022-04-18/part-00000.parquet",
            "records/local_date=2022-04-18/part-00001.parquet",
        ];
        let strange = [
            "records/local_date=2022-04-18/notes.txt",
            "records/local_date=2022-04-19/part-00000.parquet",
            "aggregates/part-00000.parquet",
            "charts/2022-04-19.svg",
        ];
        for path in left.iter().chain(&strange) {
            let path = out.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("created");
            std::fs::write(path, "").expect("written");
        }
        let found = day().published(out.path()).expect("readable");
        assert_eq!(found, left.map(PathBuf::from));
        assert!(window().published(out.path()).expect("readable").is_empty());
    }
}
