//! What was meant: the command line, the environment and `rawcat.toml` go in, one request with
//! real types comes out, once. Later stages never see a flag's text.
//!
//! Reads `rawcat.toml` and looks whether a source folder is there; makes no request and writes
//! nothing.

mod collecting;
mod day;
mod file;
mod layers;
mod meaning;
mod origin;
mod refusal;
mod sending;
mod show;
pub mod value;
pub mod zone;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;

pub use crate::store::SourceUrl;
use crate::store::StoreOptions;
pub use day::{Selection, Span};
pub use layers::OptionInForce;
pub use origin::Origin;
pub use show::Shown;
pub use value::PictureSize;

use crate::cli::{self, Command};
use crate::error::Error;
use crate::layout::{ErrorPrefix, Prefix, ZoneHistory};
use crate::pipeline::PipelineSpec;
use crate::progress::Mode;
use crate::schema::Pins;
use crate::send::{PostSpec, SendSpec};
use crate::streams::{Reach, Start};
use crate::trace::Sending;
use layers::Layered;
use meaning::Meaning;

/// Everything outside the command line that can change its meaning.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Variables that begin with `RAWCAT_`, and those that say where the user's files are.
    pub environment: BTreeMap<String, OsString>,
    /// Absolute.
    pub working_dir: PathBuf,
    pub now: DateTime<Utc>,
    /// What this process may use.
    pub cpus: NonZeroUsize,
}

impl Surroundings {
    pub fn of_process() -> Result<Surroundings, Error> {
        let known =
            |name: &str| name.starts_with("RAWCAT_") || ["HOME", "XDG_CONFIG_HOME"].contains(&name);
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| known(name))
            .collect();
        Ok(Surroundings {
            environment,
            working_dir: std::env::current_dir()
                .map_err(|error| Error::io("can't tell the working directory", error))?,
            now: Utc::now(),
            cpus: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        })
    }

    pub fn variable(&self, name: &str) -> Option<&OsString> {
        self.environment.get(name)
    }
}

/// What the user asks for.
// One of them is made in a run.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub enum Request {
    Fetch(FetchConfig),
    /// As for `fetch`, of the days that are published.
    Sync(FetchConfig),
    /// As for `fetch`: `plan` shows what it would do.
    Plan(FetchConfig),
    Cat(CatConfig),
    /// `cat` of a stream.
    Stream(StreamConfig),
    Schema(SchemaConfig),
    Errors(ErrorsConfig),
    Chart(ChartConfig),
    Pipeline(PipelineConfig),
    Send(SendConfig),
    Trace(TraceConfig),
    Policy(PolicyConfig),
    Config(Shown),
    Completions(cli::Shell),
    /// The folder for the pages.
    Man(PathBuf),
    /// A help text or the version, for stdout; or, where no command was given, for stderr.
    Help(clap::Error),
}

/// `fetch` and `plan`.
#[derive(Clone, Debug)]
pub struct FetchConfig {
    pub days: Selection,
    pub input: InputConfig,
    /// A folder or an S3 prefix.
    pub out: SourceUrl,
    pub export: Exports,
    pub aggregate: AggregateConfig,
    pub chart: PictureConfig,
    /// Object key and byte offset as columns of `records`.
    pub provenance: bool,
    pub dedup: DedupConfig,
    /// Records that Firehose could not deliver are put into the day.
    pub recover: bool,
    /// How long after its end a day is provisional.
    pub settle: TimeDelta,
    pub accept_incomplete: bool,
    pub drift: cli::Drift,
    /// Of several days, those that are unchanged are made, too.
    pub again: bool,
    pub json: bool,
    pub mode: Mode,
}

/// Which records are dropped as copies of others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DedupConfig {
    pub copies: Option<Same>,
    pub memory_bytes: u64,
}

/// What makes two records the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Same {
    /// These fields, each once.
    Fields(Vec<String>),
    Bytes,
}

/// How raw objects are found and read, whatever is then done with the records.
#[derive(Clone, Debug)]
pub struct InputConfig {
    pub source: Source,
    /// `None`: the default, unless keys of the source show another one.
    pub layout: Option<Prefix>,
    /// `None`: what the delivery stream says, else where Firehose puts errors on its own.
    pub error_prefix: Option<ErrorPrefix>,
    pub envelope: cli::EnvelopeKind,
    /// `None`: what the delivery stream says, else UTC.
    pub prefix_tz: Option<ZoneHistory>,
    pub s3: S3Config,
    pub look_back: TimeDelta,
    pub look_ahead: TimeDelta,
    pub max_late: TimeDelta,
    /// `None`: the documented list of names.
    pub time_field: Option<String>,
    /// The zone of naive times.
    pub field_tz: Tz,
    /// Only with `time_field`: the object's time where the field fails.
    pub fallback_key: bool,
    /// `--type`, which wins over the schema file.
    pub types: Pins,
    pub schema: Option<PathBuf>,
    pub max_object_bytes: u64,
    pub max_record_bytes: u64,
    /// Threads that decode and parse.
    pub jobs: NonZeroUsize,
}

/// Where the raw objects are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    Place(SourceUrl),
    /// Where this delivery stream delivers. Nobody has asked it yet.
    DeliveryStream(String),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Place(url) => url.fmt(f),
            Source::DeliveryStream(name) => write!(f, "delivery stream {name}"),
        }
    }
}

/// How S3 is reached. Credentials are never part of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct S3Config {
    pub region: Option<String>,
    pub profile: Option<String>,
    pub endpoint_url: Option<String>,
    pub no_sign_request: bool,
    pub request_payer: bool,
    pub allow_http: bool,
    /// At the same time.
    pub max_requests: NonZeroUsize,
    /// Without progress of a body.
    pub stall_timeout: TimeDelta,
}

impl S3Config {
    /// As the store understands it.
    pub fn store_options(&self) -> StoreOptions {
        let mut options = StoreOptions {
            region: self.region.clone(),
            profile: self.profile.clone(),
            endpoint_url: self.endpoint_url.clone(),
            no_sign_request: self.no_sign_request,
            request_payer: self.request_payer,
            allow_http: self.allow_http,
            list_requests: self.max_requests.get(),
            ..StoreOptions::default()
        };
        if let Ok(timeout) = self.stall_timeout.to_std() {
            options.stall_timeout = timeout;
        }
        options
    }
}

/// What is published; at least one of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exports {
    pub records: bool,
    pub aggregates: bool,
    pub chart: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AggregateConfig {
    /// As typed, each once, in order.
    pub by: Vec<String>,
    /// `None`: every numeric column.
    pub metrics: Option<Vec<String>>,
    /// Longer than zero, whole seconds.
    pub every: TimeDelta,
    pub max_groups: NonZeroUsize,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PictureConfig {
    pub size: PictureSize,
    /// Most metrics drawn.
    pub panels: NonZeroUsize,
}

/// `cat`.
#[derive(Clone, Debug)]
pub struct CatConfig {
    pub what: CatWhat,
    pub input: InputConfig,
    pub csv: bool,
    pub excel_safe: bool,
    pub raw: bool,
    /// Empty: all.
    pub columns: Vec<String>,
    pub mode: Mode,
}

/// Whose records are printed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CatWhat {
    Days(Selection),
    /// A key or a prefix (empty, or ending in `/`) relative to `input.source`.
    Key(String),
    /// One object that comes on standard input.
    Stdin,
}

/// `cat` of a stream.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// Of a Kinesis stream.
    pub name: String,
    pub reach: Reach,
    pub start: Start,
    /// Go on with what arrives.
    pub follow: bool,
    /// `None`: all.
    pub shard: Option<String>,
    pub max_records: Option<u64>,
    /// Data alone.
    pub raw: bool,
    pub mode: Mode,
}

/// `schema`.
#[derive(Clone, Debug)]
pub struct SchemaConfig {
    pub days: Selection,
    pub input: InputConfig,
    /// The file to write.
    pub pin: Option<PathBuf>,
    pub diff: Option<DiffWith>,
    pub json: bool,
    pub mode: Mode,
}

/// What the columns of a day are compared with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DiffWith {
    Day(NaiveDate),
    /// Pinned types.
    File(PathBuf),
}

/// `errors`.
#[derive(Clone, Debug)]
pub struct ErrorsConfig {
    pub days: Selection,
    pub input: InputConfig,
    /// Print the records themselves.
    pub raw: bool,
    pub json: bool,
    pub mode: Mode,
}

/// `chart`.
#[derive(Clone, Debug)]
pub struct ChartConfig {
    pub days: Selection,
    pub out: SourceUrl,
    pub s3: S3Config,
    pub metrics: Option<Vec<String>>,
    /// Names the folder of buckets to read.
    pub every: TimeDelta,
    pub picture: PictureConfig,
    /// Draw in the terminal, this wide if it was said.
    pub term: Option<Option<u16>>,
    pub mode: Mode,
}

/// `pipeline`.
#[derive(Clone, Debug)]
pub struct PipelineConfig {
    pub spec: PipelineSpec,
    pub mode: Mode,
}

/// `send`.
#[derive(Clone, Debug)]
pub struct SendConfig {
    pub from: SendFrom,
    pub spec: SendSpec,
    pub mode: Mode,
}

/// Where rows come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SendFrom {
    Stdin,
    File(PathBuf),
}

/// `trace`.
#[derive(Clone, Debug)]
pub struct TraceConfig {
    pub sending: Sending,
    pub endpoint: Option<PostSpec>,
    pub count: u32,
    /// The origin of the endpoint, where it is on this machine.
    pub local: Option<String>,
    /// The name of a Kinesis stream.
    pub stream: Option<(String, Reach)>,
    pub delivery_stream: Option<String>,
    /// How AWS is asked of it.
    pub reach: Reach,
    /// `None`: what was delivered is not looked at.
    pub input: Option<InputConfig>,
    pub wait: Duration,
    pub json: bool,
    pub mode: Mode,
}

/// `policy`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyConfig {
    pub source: SourceUrl,
    pub out: SourceUrl,
    pub partition: cli::Partition,
}

/// What was meant, and what was set and means nothing.
#[derive(Debug)]
pub struct Resolved {
    pub request: Request,
    /// For stderr.
    pub warnings: Vec<String>,
}

/// Turns what was typed, `args` with the program's name in front, into what was meant.
///
/// # Errors
/// [`Error::Usage`], which names the flag, the variable or the line of the file.
pub fn resolve(args: &[OsString], around: &Surroundings) -> Result<Resolved, Error> {
    let settings = match layers::layer(args, around)? {
        Layered::Help(text) => {
            return Ok(Resolved { request: Request::Help(text), warnings: Vec::new() });
        }
        Layered::Settings(settings) => *settings,
    };
    let warnings = settings.warnings();
    let request = request(settings, around)?;
    Ok(Resolved { request, warnings })
}

fn request(settings: layers::Settings, around: &Surroundings) -> Result<Request, Error> {
    let meaning = Meaning::new(&settings, around);
    Ok(match &settings.cli.command {
        Command::Fetch(args) => Request::Fetch(meaning.fetch(args)?),
        Command::Sync(args) => Request::Sync(meaning.fetch(args)?),
        Command::Plan(args) => Request::Plan(meaning.fetch(args)?),
        Command::Cat(args) => match meaning.stream(args)? {
            Some(config) => Request::Stream(config),
            None => Request::Cat(meaning.cat(args)?),
        },
        Command::Schema(args) => Request::Schema(meaning.schema(args)?),
        Command::Errors(args) => Request::Errors(meaning.errors(args)?),
        Command::Chart(args) => Request::Chart(meaning.chart(args)?),
        Command::Pipeline(args) => Request::Pipeline(meaning.pipeline(args)?),
        Command::Send(args) => Request::Send(meaning.send(args)?),
        Command::Trace(args) => Request::Trace(meaning.trace(args)?),
        Command::Policy(args) => Request::Policy(meaning.policy(args)?),
        Command::Config(args) => {
            let json = args.json.json;
            Request::Config(Shown::new(settings, file::places(around), json))
        }
        Command::Completions(args) => Request::Completions(args.shell),
        Command::Man(args) => Request::Man(args.dir.clone()),
    })
}

impl Request {
    /// Whether it changes what is published: then a run that is interrupted says that nothing is
    /// half-published.
    pub fn publishes(&self) -> bool {
        matches!(
            self,
            Request::Fetch(_) | Request::Sync(_) | Request::Chart(ChartConfig { term: None, .. })
        )
    }

    /// Whether its end takes what it takes: what is buffered is delivered first.
    pub fn is_patient(&self) -> bool {
        matches!(self, Request::Pipeline(_))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::{NaiveDate, TimeZone};
    use clap::CommandFactory;

    use super::*;
    use crate::cli::{Cli, TYPED_ONLY};

    /// A working directory with a folder `raw/`, at 2022-04-18 20:00 UTC, on 3 CPUs.
    fn surroundings(folder: &std::path::Path) -> Surroundings {
        std::fs::create_dir_all(folder.join("raw")).unwrap();
        Surroundings {
            environment: BTreeMap::new(),
            working_dir: folder.to_path_buf(),
            now: Utc.with_ymd_and_hms(2022, 4, 18, 20, 0, 0).unwrap(),
            cpus: NonZeroUsize::new(3).unwrap(),
        }
    }

    fn request(around: &Surroundings, line: &str) -> Result<Request, Error> {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        resolve(&args, around).map(|resolved| resolved.request)
    }

    fn fetch(line: &str) -> FetchConfig {
        let folder = tempfile::tempdir().unwrap();
        let line = format!("rawcat fetch --source raw {line}");
        match request(&surroundings(folder.path()), &line) {
            Ok(Request::Fetch(config)) => config,
            Ok(other) => panic!("{other:?}"),
            Err(error) => panic!("{}", error.text(false)),
        }
    }

    fn date(day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2022, 4, day).unwrap()
    }

    #[test]
    fn clap_finds_no_fault_in_the_definitions() {
        Cli::command().debug_assert();
    }

    #[test]
    fn config_has_every_option_that_a_file_may_set() {
        let command = Cli::command();
        let names = |command: &clap::Command| -> BTreeSet<String> {
            let args = command.get_arguments().map(|arg| arg.get_id().to_string());
            args.filter(|name| !TYPED_ONLY.contains(&name.as_str())).collect()
        };
        let config = names(command.find_subcommand("config").unwrap());
        for subcommand in command.get_subcommands() {
            let missing: Vec<_> = names(subcommand).difference(&config).cloned().collect();
            assert!(missing.is_empty(), "{} has {missing:?}", subcommand.get_name());
        }
    }

    #[test]
    fn today_is_a_date_of_the_zone_and_not_of_utc() {
        let today = |tz: &str| fetch(&format!("--day today --tz {tz}")).days.what;
        assert_eq!(today("Asia/Seoul"), Span::Days(vec![date(19)]));
        assert_eq!(today("America/New_York"), Span::Days(vec![date(18)]));
    }

    #[test]
    fn dates_are_inclusive_and_times_make_one_window() {
        let days = fetch("--from 2022-04-17 --to yesterday --tz Asia/Seoul").days;
        assert_eq!(days.what, Span::Days(vec![date(17), date(18)]));
        let days = fetch("--from 2022-04-17T06:30 --to 2022-04-18T00:00:30 --tz Asia/Seoul").days;
        let from = date(17).and_hms_opt(6, 30, 0).unwrap();
        let to = date(18).and_hms_opt(0, 0, 30).unwrap();
        assert_eq!(days.what, Span::Window { from, to });
    }

    #[test]
    fn defaults_are_those_of_the_design() {
        let config = fetch("--day 2022-04-18 --tz Asia/Seoul");
        assert_eq!(config.input.look_back, TimeDelta::hours(1));
        assert_eq!(config.input.look_ahead, TimeDelta::hours(1));
        assert_eq!(config.input.max_late, TimeDelta::hours(24));
        assert_eq!(config.input.max_object_bytes, 4 << 30);
        assert_eq!(config.input.max_record_bytes, 16 << 20);
        assert_eq!(config.input.field_tz, Tz::UTC);
        assert_eq!(config.input.jobs.get(), 3);
        assert_eq!(config.settle, TimeDelta::hours(2));
        assert_eq!(config.aggregate.every, TimeDelta::hours(1));
        assert_eq!(config.aggregate.max_groups.get(), 100_000);
        assert_eq!(config.aggregate.metrics, None);
        let all = Exports { records: true, aggregates: true, chart: true };
        assert_eq!(config.export, all);
        assert_eq!(config.out, SourceUrl::Folder(PathBuf::from("out")));
    }

    #[test]
    fn lists_come_by_commas_or_by_repetition_each_name_once() {
        let config = fetch("--day 2022-04-18 --tz UTC --by type,os --by type --export chart");
        assert_eq!(config.aggregate.by, ["type", "os"]);
        assert!(config.export.chart && !config.export.records);
        let config = fetch("--day 2022-04-18 --tz UTC --type a=int,b=text --type c=list<int>");
        let typed: Vec<_> = config.input.types.iter().map(|(n, t)| format!("{n}:{t}")).collect();
        assert_eq!(typed, ["a:int", "b:text", "c:list<int>"]);
    }

    #[test]
    fn what_was_said_later_in_the_chain_wins_between_quiet_and_verbose() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("rawcat.toml"), "quiet = true\n").unwrap();
        let line = "rawcat fetch --day today --tz UTC --source raw -v";
        match request(&surroundings(folder.path()), line) {
            Ok(Request::Fetch(config)) => assert_eq!(config.mode, Mode::Verbose),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_is_below_the_source_and_a_path_is_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let around = surroundings(folder.path());
        std::fs::write(folder.path().join("raw/a.gz"), "").unwrap();
        let place = |line: &str| match request(&around, &format!("rawcat cat {line}")) {
            Ok(Request::Cat(CatConfig { what: CatWhat::Key(key), input, .. })) => {
                (input.source.to_string(), key)
            }
            other => panic!("{line}: {other:?}"),
        };
        let place_of = |source: &str, key: &str| (source.to_string(), key.to_string());
        assert_eq!(place("--source raw 2022/04/17/15/"), place_of("raw", "2022/04/17/15/"));
        assert_eq!(place("--source raw ./raw/a.gz"), place_of("./raw", "a.gz"));
        assert_eq!(place("raw/a.gz"), place_of("raw", "a.gz"));
        assert_eq!(place("raw"), place_of("raw", ""));
        assert_eq!(place("s3://bucket/raw/2022/"), place_of("s3://bucket/raw/2022/", ""));
        assert_eq!(
            place("--source raw s3://bucket/raw/a.gz"),
            place_of("s3://bucket/raw/", "a.gz")
        );
    }
}
