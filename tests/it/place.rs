//! Where end-to-end tests happen: a source made by the test, the program as users run it, and
//! what it published, read back as plain values. No network but loopback, nothing inherited from
//! the environment.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use chrono::{TimeDelta, Utc};
use polars::prelude::{AnyValue, DataFrame};
use rawcat::aggregate::Metrics;
use rawcat::job::{Dedup, Export, JobSpec, LayoutFrom};
use rawcat::publish::{Manifest, check_equations, read_table};
use rawcat::time::TimeRule;
use rawcat::window::{Window, parse_zone};
use serde_json::{Value, json};

use crate::s3server::{ACCESS_KEY, S3Server, SECRET_KEY};

/// A folder of its own, gone with the test. The source is the folder `bucket/raw`, so that a
/// server on the root has it as `s3://bucket/raw/`.
pub struct Place {
    root: tempfile::TempDir,
}

/// What a run left behind.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    /// A place with an empty source.
    pub fn new() -> Place {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("bucket/raw")).unwrap();
        Place { root }
    }

    /// A place whose source is a copy of the sample data, for tests that serve or change it.
    pub fn with_sample() -> Place {
        let place = Place::new();
        for (key, bytes) in files(&sample_raw()) {
            place.put(&key, &bytes);
        }
        place
    }

    pub fn path(&self) -> &Path {
        self.root.path()
    }

    pub fn raw(&self) -> PathBuf {
        self.path().join("bucket/raw")
    }

    pub fn out(&self) -> PathBuf {
        self.path().join("out")
    }

    pub fn put(&self, key: &str, bytes: impl AsRef<[u8]>) {
        let path = self.raw().join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Serves the source as `s3://bucket/raw/`.
    pub fn serve(&self) -> S3Server {
        S3Server::start(self.path())
    }

    /// The program in this place. Arguments are split at blanks; `raw` and `out` name the folders.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rawcat"));
        command
            .args(line.split_whitespace())
            .env_clear()
            .env("HOME", self.path().join("home"))
            .env("RAWCAT_SOURCE", self.raw())
            .env("RAWCAT_OUT", self.out())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .current_dir(self.path());
        command
    }

    pub fn run(&self, line: &str) -> Ran {
        ran(self.command(line).output().unwrap())
    }

    /// The program with the server's copy of the source.
    pub fn s3_command(&self, server: &S3Server, line: &str) -> Command {
        let mut command = self.command(line);
        command
            .env("RAWCAT_SOURCE", "s3://bucket/raw/")
            .env("RAWCAT_ENDPOINT_URL", server.endpoint())
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("AWS_REGION", "us-east-1");
        command
    }

    pub fn s3_run(&self, server: &S3Server, line: &str) -> Ran {
        ran(self.s3_command(server, line).output().unwrap())
    }

    /// The manifest of a published day. Its books are checked whenever it is read.
    pub fn manifest(&self, day: &str) -> Manifest {
        self.manifest_at(&format!("manifests/{day}.json"))
    }

    /// A manifest, with its books checked and its files compared with what lies in the folder.
    pub fn manifest_at(&self, path: &str) -> Manifest {
        let text = fs::read_to_string(self.out().join(path)).unwrap();
        let manifest = Manifest::from_json(&text).unwrap();
        check_equations(&manifest).unwrap();
        for file in &manifest.files {
            let bytes = fs::read(self.out().join(&file.path)).unwrap();
            assert_eq!(bytes.len() as u64, file.bytes, "{}", file.path);
            let hash = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&bytes));
            assert_eq!(hash, file.xxh3, "{}", file.path);
        }
        manifest
    }

    pub fn records(&self, day: &str) -> Table {
        self.table(&format!("records/local_date={day}/part-00000.parquet"))
    }

    pub fn table(&self, path: &str) -> Table {
        Table(read_table(&self.out().join(path)).unwrap())
    }

    /// Every file below `out`, by its path.
    pub fn published(&self) -> BTreeMap<String, Vec<u8>> {
        files(&self.out())
    }

    /// The same with what may differ between two runs over the same input taken out: the clock
    /// and the machine in manifests.
    pub fn result(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.published();
        for (path, bytes) in &mut files {
            if path.ends_with(".json") {
                let mut manifest: Value = serde_json::from_slice(bytes).unwrap();
                manifest.as_object_mut().unwrap().remove("run").unwrap();
                *bytes = manifest.to_string().into_bytes();
            }
        }
        files
    }

    /// Nothing was published, and nothing of rawcat's own is left.
    pub fn assert_nothing_published(&self) {
        let left = self.published();
        assert!(left.is_empty(), "{:?}", left.keys());
        self.assert_clean();
    }

    /// Nothing of rawcat's own is left in the out folder.
    pub fn assert_clean(&self) {
        assert!(!self.out().join(".rawcat").exists(), "{:?}", files(&self.out()).keys());
    }
}

/// Starts a command with both outputs piped.
pub fn start(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

pub fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().expect("no signal ended it"),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Ran {
    #[track_caller]
    pub fn ends(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// The exit code, and words that stand in either output.
    #[track_caller]
    pub fn ends_and_says(self, code: i32, words: &[&str]) -> Ran {
        let ran = self.ends(code);
        let all = format!("{}{}", ran.stdout, ran.stderr);
        for word in words {
            assert!(all.contains(word), "{word:?} is not said:\n{all}");
        }
        ran
    }
}

/// The raw objects of the repository's sample data.
pub fn sample_raw() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("sample_data/rawdata")
}

/// Every file below a folder, by its path with `/`.
pub fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_string();
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

/// A published table.
pub struct Table(pub DataFrame);

impl Table {
    pub fn rows(&self) -> usize {
        self.0.height()
    }

    pub fn names(&self) -> Vec<String> {
        self.0.get_column_names().iter().map(|name| name.to_string()).collect()
    }

    /// The type as Polars writes it: `str`, `i64`, `list[i64]`, `datetime[μs, UTC]`.
    pub fn kind(&self, column: &str) -> String {
        self.0.column(column).unwrap().dtype().to_string()
    }

    #[track_caller]
    pub fn column(&self, name: &str) -> Vec<Value> {
        let column = self.0.column(name).unwrap();
        (0..column.len()).map(|row| value(&column.get(row).unwrap())).collect()
    }

    /// One cell.
    pub fn at(&self, name: &str, row: usize) -> Value {
        value(&self.0.column(name).unwrap().get(row).unwrap())
    }

    /// Row by row, the cells of these columns.
    pub fn cells(&self, names: &[&str]) -> Vec<Vec<Value>> {
        let columns: Vec<Vec<Value>> = names.iter().map(|name| self.column(name)).collect();
        (0..self.rows()).map(|row| columns.iter().map(|c| c[row].clone()).collect()).collect()
    }
}

/// A cell as JSON: times as microseconds, bytes as a list of numbers.
fn value(cell: &AnyValue<'_>) -> Value {
    match cell {
        AnyValue::Null => Value::Null,
        AnyValue::Boolean(value) => json!(value),
        AnyValue::Int64(value) => json!(value),
        AnyValue::UInt32(value) => json!(value),
        AnyValue::Float64(value) => {
            // JSON has no infinity, and a null would hide it.
            assert!(value.is_finite(), "{value}");
            json!(value)
        }
        AnyValue::String(text) => json!(text),
        AnyValue::StringOwned(text) => json!(text.as_str()),
        AnyValue::Datetime(us, _, _) | AnyValue::DatetimeOwned(us, _, _) => json!(us),
        AnyValue::List(items) => items.iter().map(|item| value(&item)).collect(),
        AnyValue::Binary(bytes) => json!(bytes),
        AnyValue::BinaryOwned(bytes) => json!(bytes),
        other => panic!("no published table holds {other:?}"),
    }
}

/// The job of a day in Seoul, for tests that run it in this process.
pub fn spec(day: &str) -> JobSpec {
    JobSpec {
        window: Window::of_day(day.parse().unwrap(), parse_zone("Asia/Seoul").unwrap()).unwrap(),
        look_back: TimeDelta::hours(1),
        look_ahead: TimeDelta::hours(1),
        max_late: TimeDelta::hours(24),
        layout: Default::default(),
        layout_from: LayoutFrom::User,
        error_prefix: None,
        envelopes: Default::default(),
        recover: false,
        rule: TimeRule::default(),
        pins: Default::default(),
        expected: None,
        by: Vec::new(),
        metrics: Metrics::Auto,
        every: TimeDelta::hours(1),
        max_groups: 10,
        export: Export { records: true, aggregates: true, chart: false },
        provenance: false,
        dedup: Dedup { identity: None, memory_bytes: 0 },
        decode: Default::default(),
        max_record_bytes: 1 << 24,
        fetch: Default::default(),
        jobs: 2,
        settle: TimeDelta::zero(),
        accept_incomplete: false,
        next_from: None,
        now_utc: Utc::now(),
        picture: (1200, None),
        panels: 4,
    }
}

/// A key as Firehose gives it: stream, hour folder and time from `2022-04-18T03:15:00`, and a
/// UUID made from `serial`.
pub fn key(stream: &str, time_utc: &str, serial: u32) -> String {
    let folder = time_utc[..13].replace(['-', 'T'], "/");
    let time = time_utc.replace(['T', ':'], "-");
    format!("{folder}/{stream}-1-{time}-00000000-0000-4000-8000-{serial:012}")
}

/// Text as one gzip member.
pub fn gzip(text: impl AsRef<[u8]>) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_ref()).unwrap();
    encoder.finish().unwrap()
}
