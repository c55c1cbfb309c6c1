//! The options, in groups that commands share. See the parent for what one field gives.

// The docstrings are help texts: they show types and URLs as a user types them.
#![allow(rustdoc::invalid_html_tags, rustdoc::bare_urls)]

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use chrono::TimeDelta;
use chrono_tz::Tz;
use clap::{Args, ValueEnum, ValueHint};

use crate::config::value::{
    PictureSize, TypedColumn, parse_address, parse_column, parse_columns, parse_count,
    parse_delimiter, parse_duration, parse_error_prefix, parse_expression, parse_extension,
    parse_key_query, parse_prefix, parse_record_size, parse_size, parse_small_count, parse_step,
    parse_zones,
};
use crate::config::zone;
use crate::layout::{ErrorPrefix, Expression, Prefix, ZoneHistory};
use crate::pipeline::KeyQuery;

/// Options that mean something only where they are typed: no variable, no key in the file.
pub const TYPED_ONLY: [&str; 16] = [
    "key",
    "pin",
    "diff",
    "again",
    "since",
    "follow",
    "shard",
    "max_records",
    "count",
    "mark",
    "wait",
    "send_to",
    "shell",
    "dir",
    "help",
    "version",
];

#[derive(Args, Debug)]
#[command(next_help_heading = "Which day")]
pub struct DayArgs {
    /// The local date: 2022-04-18, today or yesterday
    ///
    /// From the first instant of the date to the first instant of the next, in --tz. Most days
    /// have 24 hours; where clocks change they have 23, 25 or 24.5.
    #[arg(long, value_name = "DATE")]
    pub day: Option<String>,

    /// First date of several, or a local time
    ///
    /// With dates, every day from --from to --to is done, both included. With local times, as
    /// 2022-04-18T06:00, one window is done, from --from up to but not including --to. A time
    /// that the clock shows twice means the earlier one.
    #[arg(long, value_name = "DATE|TIME")]
    pub from: Option<String>,

    /// Last date of several, included; or a local time, not included
    #[arg(long, value_name = "DATE|TIME")]
    pub to: Option<String>,

    /// The zone of the local day, as Asia/Seoul
    ///
    /// A name of the IANA zone data. There is no default but the one in rawcat.toml: the
    /// machine's zone is never used, so that a command means the same everywhere.
    #[arg(long, value_name = "ZONE", value_parser = zone::parse)]
    pub tz: Option<Tz>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Where")]
pub struct SourceArgs {
    /// The raw objects: s3://bucket/prefix/ or a folder
    ///
    /// The place that holds the folders of years: with objects under rawdata/2022/04/17/15/ it
    /// is s3://bucket/rawdata/. For keys that are made in another way see --layout.
    #[arg(long, value_name = "URL|FOLDER", value_hint = ValueHint::AnyPath)]
    pub source: Option<String>,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Where")]
pub struct LayoutArgs {
    /// How the keys below --source are made: the stream's prefix (default: yyyy/MM/dd/HH/)
    ///
    /// The prefix as it stands in the Firehose stream, from where --source ends:
    /// 'year=!{timestamp:yyyy}/month=!{timestamp:MM}/', or 'app!{timestamp:yyyy/MM/dd}/'. The
    /// value of a !{partitionKeyFromQuery:customer} becomes the column customer of every record
    /// that has no such field itself. `flat` means objects without folders, chosen by the time in
    /// their names. Without --layout, and where nothing lies under yyyy/MM/dd/HH/, some keys are
    /// looked at, and the layout that they show is used and named.
    #[arg(long, value_name = "PREFIX", value_parser = parse_prefix)]
    pub layout: Option<Prefix>,

    #[command(flatten)]
    pub keys: KeyArgs,

    /// Which service wrapped the records in envelopes
    ///
    /// `auto` looks at the first 16 KiB of each object: the log events in records of CloudWatch Logs, the
    /// data in events of Kinesis, and the JSON in notifications of SNS (as SES sends them) become records.
    /// With a name every object is looked through for envelopes of that kind; `none` leaves them as they
    /// are. Events of EventBridge and SES need no opening.
    #[arg(long, value_name = "KIND", default_value = "auto", hide_short_help = true)]
    pub envelope: EnvelopeKind,

    /// Ask this Firehose stream where and how it delivers, in place of --source and --layout
    ///
    /// One request (firehose:DescribeDeliveryStream) gives bucket, prefix, error prefix and zone as
    /// they are now. For older objects under another zone or prefix give --prefix-tz, or --source
    /// and --layout.
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub delivery_stream: Option<String>,
}

/// What reading and writing of keys have in common.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Where")]
pub struct KeyArgs {
    /// Where the stream puts what it can't deliver, if its error prefix is set
    ///
    /// The error prefix as it stands in the Firehose stream, from where --source ends:
    /// 'errors/!{firehose:error-output-type}/!{timestamp:yyyy/MM/dd}/'. Without it, the folders
    /// where Firehose puts errors on its own are looked at: processing-failed/2022/04/17/15/. Such
    /// objects are never data.
    #[arg(long, value_name = "PREFIX", value_parser = parse_error_prefix, hide_short_help = true)]
    pub error_prefix: Option<ErrorPrefix>,

    /// The zone of the times in keys, if the stream has a custom time zone
    ///
    /// Where it was changed, each later zone with the date or time from which it holds, by its own
    /// clock: UTC,2024-03-01=Asia/Seoul. Within a day of a change keys of both zones are
    /// looked for.
    #[arg(long, value_name = "ZONE[,DATE=ZONE…]", default_value = "UTC", value_parser = parse_zones,
        hide_short_help = true)]
    pub prefix_tz: ZoneHistory,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Where")]
pub struct OutArgs {
    /// Where to publish: a folder or s3://bucket/prefix/
    ///
    /// One --out holds the days of one zone: another zone is refused.
    #[arg(long, value_name = "FOLDER|URL", default_value = "out", value_hint = ValueHint::AnyPath)]
    pub out: String,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "What is published")]
pub struct PublishArgs {
    /// What to publish, of these three
    #[arg(
        long,
        value_name = "WHAT,…",
        value_delimiter = ',',
        hide_possible_values = true,
        default_value = "records,aggregates,chart"
    )]
    pub export: Vec<Export>,

    /// Add object key and byte offset of each record as columns
    #[arg(long)]
    pub provenance: bool,

    /// Put records that Firehose could not deliver into the day, too
    ///
    /// They are read from the error output that `rawcat errors` lists, and carry the type of the
    /// error (processing-failed) in the column recovered, which is null in all others. One without a
    /// time of its own has the time of its arrival.
    #[arg(long)]
    pub recover: bool,

    /// How long after its end a day is still called provisional
    ///
    /// Late objects are likely until then. The manifest and the summary say `provisional`; the
    /// exit code stays 0. A day from which something was skipped is provisional at any age.
    #[arg(long, value_name = "DURATION", default_value = "2h", value_parser = parse_duration,
        hide_short_help = true)]
    pub settle: TimeDelta,

    /// Of several days, also make those anew that are published and unchanged
    ///
    /// Without it, a day of --from and --to is left as it is where its objects, the options and the
    /// version of rawcat are those of the published one. A single --day is always made.
    #[arg(long, hide_short_help = true)]
    pub again: bool,

    /// What to do where the columns of a day are not those of rawcat.schema.json
    ///
    /// Columns that are not pinned, and pinned ones that no record has, are named in the summary and in
    /// the manifest (`drift`). `fail` ends such a run with exit code 3; the day is published all the
    /// same. Values that do not read as the pinned type are quarantined whatever is said here.
    #[arg(long, value_name = "WHAT", default_value = "warn", hide_short_help = true)]
    pub drift: Drift,

    /// Let an incomplete run replace a published day
    ///
    /// Without it, a run in which an object or a prefix could not be read leaves a day that was
    /// published before as it is. So does one that quarantined something where the published day
    /// is complete, and one that found no record.
    #[arg(long, hide_short_help = true)]
    pub accept_incomplete: bool,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "What is published")]
pub struct DedupArgs {
    /// Drop records that have the same values here as an earlier one of the day
    ///
    /// Firehose delivers at least once, so that a record can come twice. The first copy stays, in
    /// the order of object keys and of bytes in them. Values are the same where they are written the
    /// same: 1, 1.0 and "1" differ; of text the characters count, so that "\u0041" is "A". A
    /// record that lacks one of the fields, or has null there, is never dropped; the manifest counts
    /// these. Nested fields are named as device_os or device.os.
    #[arg(long, value_name = "FIELD,…", value_delimiter = ',', value_parser = parse_column,
        hide_short_help = true)]
    pub dedup_key: Vec<String>,

    /// Drop records of the day whose bytes are all the same as those of an earlier one
    ///
    /// From brace to brace, white space included. Where no field tells records apart, this also
    /// drops those that a producer sent twice on purpose.
    #[arg(long, hide_short_help = true)]
    pub dedup_hash: bool,

    /// Memory for telling records apart, with --dedup-key or --dedup-hash; beyond it the disk is used
    ///
    /// What is beyond lies in --out while the run lasts, 24 bytes a record; where --out is a bucket,
    /// in the folder for temporary files. The result is the same.
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = parse_size,
        hide_short_help = true)]
    pub dedup_memory: u64,
}

/// What `fetch` publishes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Export {
    Records,
    Aggregates,
    Chart,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "What is published")]
pub struct GroupArgs {
    /// Group the aggregates by these columns
    ///
    /// Nested fields are named as device_os or device.os. Without --by, the day is one group.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', value_parser = parse_column)]
    pub by: Vec<String>,

    /// Most groups that a day may have
    ///
    /// Beyond it nothing is published, and the message names the column that has too many
    /// values.
    #[arg(long, value_name = "N", default_value = "100000", value_parser = parse_count,
        hide_short_help = true)]
    pub max_groups: NonZeroUsize,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "What is published")]
pub struct BucketArgs {
    /// Summarise these columns (default: all numeric ones)
    ///
    /// Text that holds numbers counts as numbers. Without --metric, every numeric column is
    /// summarised, and every text column that held only numbers.
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', value_parser = parse_column)]
    pub metric: Vec<String>,

    /// Length of a bucket: 5m, 15m, 1h
    ///
    /// Buckets are steps of elapsed time from the day's first instant. The last one may be
    /// short.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_step)]
    pub every: TimeDelta,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Chart")]
pub struct PictureArgs {
    /// Width of the picture in pixels, or width x height
    ///
    /// Without a height, the picture is as high as its panels ask for.
    #[arg(long, value_name = "W[xH]", default_value = "1200", hide_short_help = true)]
    pub size: PictureSize,

    /// Most panels drawn: one of the records, and one a metric
    #[arg(long, value_name = "N", default_value = "4", value_parser = parse_small_count,
        hide_short_help = true)]
    pub panels: NonZeroUsize,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Chart")]
pub struct TerminalArgs {
    /// Draw in the terminal, and write no picture
    #[arg(long)]
    pub term: bool,

    /// Width of --term in characters (default: the terminal's)
    #[arg(long, value_name = "N", value_parser = parse_columns)]
    pub width: Option<u16>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "What is printed")]
pub struct PrintArgs {
    /// Print CSV with a header line
    #[arg(long)]
    pub csv: bool,

    /// Only these fields, in this order
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', value_parser = parse_column)]
    pub columns: Vec<String>,

    /// Print the records' own bytes, untouched
    ///
    /// Without it, a line break inside a record is replaced by a blank, so that a record is
    /// always one line. Records in envelopes are printed as they are opened, unless
    /// --envelope none leaves them closed.
    #[arg(long)]
    pub raw: bool,

    /// With --csv: keep spreadsheets from running a cell as a formula
    ///
    /// Puts ' in front of cells that begin with = + - @, a tab or a carriage return. It alters
    /// those values, negative numbers not included, and is therefore off by default.
    #[arg(long)]
    pub excel_safe: bool,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "What is printed")]
pub struct PinArgs {
    /// Pin the columns' types: write them to a file that later runs obey
    ///
    /// The file is rawcat.schema.json unless it is named. A pinned column keeps its type from day to day, and text that holds only numbers is
    /// typed as numbers; identifiers, with a leading zero or plus sign, stay text.
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        default_missing_value = "rawcat.schema.json",
        value_hint = ValueHint::FilePath
    )]
    pub pin: Option<PathBuf>,

    /// Show what is new, lost or of another type since another day, or beside pinned types
    ///
    /// A date of the same source and zone, or a file as --pin writes it.
    #[arg(long, value_name = "DATE|FILE", value_hint = ValueHint::FilePath)]
    pub diff: Option<String>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "What comes in")]
pub struct GatewayArgs {
    /// The address to listen on; a port of 0 is any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7117", value_parser = parse_address)]
    pub listen: SocketAddr,

    /// Shards of the stream
    #[arg(long, value_name = "N", default_value = "4", value_parser = parse_small_count)]
    pub shards: NonZeroUsize,

    /// The folder that keeps records until they are delivered
    #[arg(long, value_name = "DIR", default_value = "pipeline", value_hint = ValueHint::DirPath,
        hide_short_help = true)]
    pub state: PathBuf,

    /// Make a record of each member of a list
    #[arg(long, hide_short_help = true)]
    pub split_arrays: bool,

    /// Keep to the limits of AWS: 1,000 records and 1 MiB a second for each shard
    ///
    /// What is beyond them is answered with 429, or with ProvisionedThroughputExceededException.
    #[arg(long)]
    pub limits: bool,

    /// How long records stay on the stream; never less than until they are delivered
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_duration,
        hide_short_help = true)]
    pub retention: TimeDelta,

    /// Most bytes of one request's body
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = parse_record_size,
        hide_short_help = true)]
    pub max_body: u64,

    /// Where each request becomes a line of JSON: a file, - for standard output, or none
    ///
    /// Without it the file is access.log in the folder of --state. At 64 MiB it becomes access.log.1.
    #[arg(long, value_name = "FILE|-|none", hide_short_help = true, value_hint = ValueHint::FilePath)]
    pub access_log: Option<String>,

    /// The folder of buckets that delivery streams made over the protocol of Firehose deliver to
    ///
    /// `s3` means the buckets themselves, reached as --deliver s3:// is.
    #[arg(long, value_name = "DIR|s3", default_value = "buckets", hide_short_help = true,
        value_hint = ValueHint::DirPath)]
    pub buckets: String,

    /// The folder of tables for such delivery streams, as DATABASE.TABLE.json
    #[arg(long, value_name = "DIR", hide_short_help = true, value_hint = ValueHint::DirPath)]
    pub tables: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Who may put records")]
pub struct TokenArgs {
    /// What requests carry, as `Authorization: Bearer TOKEN`; better set as RAWCAT_TOKEN
    ///
    /// A pipeline needs it on any address that other machines reach.
    #[arg(long, value_name = "TOKEN")]
    pub token: Option<String>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Which shard")]
pub struct ShardArgs {
    /// The field of a record that is its partition key, as device.id (default: a key for each record)
    ///
    /// Records with the same key are on the same shard, in their order. To the pipeline a header
    /// `x-partition-key` goes before it.
    #[arg(long, value_name = "FIELD", value_parser = parse_column, hide_short_help = true)]
    pub partition_key: Option<String>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "What is sent")]
pub struct RowsArgs {
    /// The rows: a CSV with a header line, lines of JSON (.ndjson, .jsonl), or - for standard input
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub file: Option<String>,

    /// What the rows are (default: by the name of the file, else by its first character)
    #[arg(long, value_enum, value_name = "FORM", hide_short_help = true)]
    pub rows: Option<RowsKind>,

    /// What stands between the fields of a CSV: one character, or tab
    #[arg(long, value_name = "CHAR", default_value = ",", value_parser = parse_delimiter,
        hide_short_help = true)]
    pub delimiter: u8,

    /// How the characters of the file are written
    #[arg(long, value_enum, value_name = "NAME", default_value = "auto", hide_short_help = true)]
    pub encoding: EncodingKind,

    /// Send values of a CSV that read as numbers as numbers
    ///
    /// Without it all values are text, as the file has them. What has a zero or a plus sign in front is
    /// no number.
    #[arg(long)]
    pub types: bool,

    /// Add the time of sending as this member
    #[arg(long, value_name = "FIELD", hide_short_help = true)]
    pub timestamp_field: Option<String>,
}

/// What rows are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum RowsKind {
    Csv,
    Ndjson,
}

/// How characters are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum EncodingKind {
    /// UTF-8 where it is valid, else CP949
    Auto,
    #[value(name = "utf-8")]
    Utf8,
    /// EUC-KR too
    Cp949,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "How it is sent")]
pub struct PostArgs {
    /// The endpoint, as http://127.0.0.1:7117/PROD/v1
    #[arg(short, long, value_name = "URL", value_hint = ValueHint::Url)]
    pub url: Option<String>,

    /// Requests at a time
    #[arg(long, value_name = "N", default_value = "32", value_parser = parse_small_count)]
    pub concurrency: NonZeroUsize,

    /// Rows a second at most
    #[arg(long, value_name = "N", value_parser = parse_count, hide_short_help = true)]
    pub rate: Option<NonZeroUsize>,

    /// Remember in this file what was sent, and go on there
    ///
    /// It is written once a second: after a kill up to a second of rows is sent again, and none is left out.
    /// Rows that were refused are sent again, unless --failed keeps them.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub resume: Option<PathBuf>,

    /// Append the bodies that were not taken to this file, one a line: send it later
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub failed: Option<PathBuf>,

    /// Attempts of one row, where the endpoint or the stream is busy or can't be reached
    #[arg(long, value_name = "N", default_value = "8", value_parser = parse_small_count,
        hide_short_help = true)]
    pub attempts: NonZeroUsize,

    /// How long an answer may take
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_step,
        hide_short_help = true)]
    pub timeout: TimeDelta,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "What is delivered")]
pub struct DeliveryArgs {
    /// Where objects go: a folder or s3://bucket/prefix/
    #[arg(long, value_name = "FOLDER|URL", default_value = "rawdata", value_hint = ValueHint::AnyPath)]
    pub deliver: String,

    /// The name of the stream, which object names begin with
    #[arg(long, value_name = "NAME", default_value = "rawcat-stream")]
    pub stream: String,

    /// The prefix of objects, as a Firehose stream has it
    #[arg(long, value_name = "PREFIX", default_value = "!{timestamp:yyyy/MM/dd/HH/}",
        value_parser = parse_expression)]
    pub prefix: Expression,

    /// How objects are compressed
    #[arg(long, value_enum, value_name = "FORM", default_value = "none")]
    pub compression: CompressionKind,

    /// Bytes of records after which an object is made
    #[arg(long, value_name = "SIZE", default_value = "5MiB", value_parser = parse_record_size)]
    pub buffer_size: u64,

    /// Time after which an object is made of what there is
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    pub buffer_time: TimeDelta,

    /// Put a line feed behind each record
    #[arg(long, hide_short_help = true)]
    pub newline: bool,

    /// What object names end with, in place of .gz and the like
    #[arg(long, value_name = ".EXT", value_parser = parse_extension, hide_short_help = true)]
    pub file_extension: Option<String>,

    /// Take records apart that are several: `json`, or the text that stands between them
    ///
    /// With `json` a record is JSON objects one behind another. Up to 500 are taken out of each.
    #[arg(long, value_name = "json|TEXT", hide_short_help = true)]
    pub deaggregate: Option<String>,

    /// Transform records by a command or an endpoint that keeps Lambda's contract
    ///
    /// 'python3 transform.py' gets an event on its standard input and answers on its standard output;
    /// http://… gets it by POST. Records that it drops are left out; what fails, is missing or stands twice in
    /// the answer goes to the error output.
    #[arg(long, value_name = "COMMAND|URL", hide_short_help = true)]
    pub transform: Option<String>,

    /// Bytes of records that one invocation gets
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = parse_record_size,
        hide_short_help = true)]
    pub transform_size: u64,

    /// How long one invocation may take
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_step,
        hide_short_help = true)]
    pub transform_timeout: TimeDelta,

    /// Where a partition key of --prefix is in a record, as customer=.customer.id
    ///
    /// It stands in the prefix as !{partitionKeyFromQuery:customer}. May be given several times.
    #[arg(long, value_name = "KEY=.FIELD", value_parser = parse_key_query, hide_short_help = true)]
    pub partition_by: Vec<KeyQuery>,

    /// Convert records to Parquet, by the columns of this table
    ///
    /// The file is what `aws glue get-table` prints, or {"Columns": [{"Name": "value", "Type": "double"}]}.
    /// What is no row of it goes to the error output.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, hide_short_help = true)]
    pub parquet: Option<PathBuf>,

    /// Convert records to ORC, by the columns of this table; in builds with the feature `orc`
    ///
    /// As --parquet, for columns that are no decimals, lists or structs.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, hide_short_help = true)]
    pub orc: Option<PathBuf>,
}

/// The forms of a delivery stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum CompressionKind {
    None,
    Gzip,
    Zip,
    /// As snappy-java writes it
    Snappy,
    HadoopSnappy,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "How records are read")]
pub struct TimeArgs {
    /// The field that holds the event time (default: usual names)
    ///
    /// A record without it, or where it can't be read as a time, is quarantined. Without
    /// --time-field, the first field of a documented list whose value reads as a time is taken
    /// (ts, timestamp, time, …), else the time in the object's name.
    #[arg(long, value_name = "FIELD")]
    pub time_field: Option<String>,

    /// The zone of times that are written without one
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = zone::parse,
        hide_short_help = true)]
    pub field_tz: Tz,

    /// With --time-field: where it fails, take the time in the object's name
    #[arg(long, hide_short_help = true)]
    pub fallback_key: bool,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "How records are read")]
pub struct TypeArgs {
    /// Give a column a type, as value=float; may be repeated
    ///
    /// Types: bool, int, float, text, json, list<bool>, list<int>, list<float>, list<text>.
    /// In rawcat.toml also as a table: type = { value = "float" }.
    #[arg(long = "type", id = "type", value_name = "COLUMN=TYPE", value_delimiter = ',')]
    pub types: Vec<TypedColumn>,

    /// The pinned types of columns (default: rawcat.schema.json beside rawcat.toml)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, hide_short_help = true)]
    pub schema: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "How far to look for records of the day")]
pub struct ListingArgs {
    /// How long before the day the listing begins
    ///
    /// An object stands under the hour in which its oldest record arrived, so the day's first
    /// records can be in the hour before.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_duration,
        hide_short_help = true)]
    pub look_back: TimeDelta,

    /// How long after the day the listing ends
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_duration,
        hide_short_help = true)]
    pub look_ahead: TimeDelta,

    /// How far the listing may grow while its last hour still holds records of the day
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_duration,
        hide_short_help = true)]
    pub max_late: TimeDelta,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Most bytes that one object may have when decompressed; past it, it is quarantined
    #[arg(long, value_name = "SIZE", default_value = "4GiB", value_parser = parse_size,
        hide_short_help = true)]
    pub max_object_bytes: u64,

    /// Most bytes of one record; a longer one is quarantined
    #[arg(long, value_name = "SIZE", default_value = "16MiB", value_parser = parse_record_size,
        hide_short_help = true)]
    pub max_record_bytes: u64,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "S3")]
pub struct S3Args {
    /// The bucket's region (default: from the AWS configuration)
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,

    /// The profile of the AWS configuration
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,

    /// Another S3-compatible server, as https://minio.example.org:9000
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    pub endpoint_url: Option<String>,

    /// Read a public bucket without credentials
    #[arg(long)]
    pub no_sign_request: bool,

    /// Agree to pay for requests to a requester-pays bucket
    #[arg(long, hide_short_help = true)]
    pub request_payer: bool,

    /// Allow http:// to other machines than this one
    ///
    /// Requests, data and temporary credentials then cross the network in the clear.
    #[arg(long, hide_short_help = true)]
    pub allow_http: bool,

    /// Most requests at the same time
    #[arg(long, value_name = "N", default_value = "16", value_parser = parse_small_count,
        hide_short_help = true)]
    pub max_requests: NonZeroUsize,

    /// How long a body may stand still before its request is made again
    #[arg(long, value_name = "DURATION", default_value = "20s", value_parser = parse_step,
        hide_short_help = true)]
    pub stall_timeout: TimeDelta,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Policy")]
pub struct PartitionArgs {
    /// The AWS partition of the buckets
    #[arg(long, value_name = "NAME", default_value = "aws")]
    pub partition: Partition,
}

/// In what records are wrapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum EnvelopeKind {
    Auto,
    None,
    #[value(name = "cloudwatch-logs")]
    CloudWatchLogs,
    Kinesis,
    Sns,
}

/// What follows from columns that are not the pinned ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Drift {
    Ignore,
    Warn,
    Fail,
}

/// The second field of an ARN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Partition {
    Aws,
    AwsCn,
    AwsUsGov,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "This run")]
pub struct RunArgs {
    /// Threads that decode and parse (default: one per CPU)
    #[arg(long, short, value_name = "N", value_parser = parse_small_count, hide_short_help = true)]
    pub jobs: Option<NonZeroUsize>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "This run")]
pub struct JsonArgs {
    /// Print JSON for programs; its fields are stable
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "This run")]
pub struct TalkArgs {
    /// Say nothing but errors
    #[arg(long, short)]
    pub quiet: bool,

    /// Say more: each phase as it begins
    #[arg(long, short)]
    pub verbose: bool,
}
