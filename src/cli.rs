//! The command line as clap sees it: what can be typed. Clap types, and nothing else.
//!
//! The groups in `options` are the single table of options. A field there is the flag, its
//! help, its default, its check, its key in `rawcat.toml`, its variable `RAWCAT_…`, its line in
//! `rawcat config`, its completion and its paragraph in the man page. To add an option, add a
//! field, and use it in `config`. Options don't conflict with each other here: an option may
//! come from the file, and only `config` knows which one was typed.

mod options;
mod stream_options;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

pub use options::*;
pub use stream_options::*;

const SETTINGS_HELP: &str = "\
Every option can also be set in rawcat.toml (by its name, with _ for -) or in the environment
(RAWCAT_ and its name in capitals, with _ for -). What is typed wins over the environment, the
environment over the file, the file over the default. `rawcat config` shows what is in force.
rawcat.toml is looked for in the working directory, in those above it, then in
$XDG_CONFIG_HOME/rawcat/ or ~/.config/rawcat/; relative paths in it are relative to it.";

const EXIT_HELP: &str = "\
Exit codes: 0 complete; 1 failed; 2 wrong usage; 3 finished, but an object, a prefix or a
record was skipped (each is named); 130 interrupted.";

/// Options of the collection side, which would fill the short help of `config`.
const COLLECTING: [&str; 17] = [
    "limits",
    "listen",
    "token",
    "shards",
    "deliver",
    "stream",
    "prefix",
    "compression",
    "buffer_size",
    "buffer_time",
    "file",
    "types",
    "url",
    "concurrency",
    "resume",
    "failed",
    "newline",
];

/// The options of S3 as those of streams, which have fewer.
fn of_streams(arg: clap::Arg) -> clap::Arg {
    let help = match arg.get_id().as_str() {
        "region" => "The stream's region (default: from the AWS configuration)",
        "profile" => "The profile of the AWS configuration",
        "endpoint_url" => "Another server of streams: the pipeline's, as http://127.0.0.1:7117",
        "no_sign_request" => "Ask without credentials",
        "allow_http" => "Allow http:// to other machines than this one",
        "request_payer" | "max_requests" | "stall_timeout" => return arg.hide(true),
        _ => return arg,
    };
    let is_rare = matches!(arg.get_id().as_str(), "no_sign_request" | "allow_http");
    arg.help(help).long_help(None).help_heading("AWS").hide_short_help(is_rare)
}

#[derive(Parser, Debug)]
#[command(
    name = "rawcat",
    version,
    about = "Whole local days out of what Amazon Data Firehose leaves in S3",
    long_about = "Whole local days out of what Amazon Data Firehose leaves in S3.\n\n\
        Firehose files its objects under UTC hours and glues the JSON records in them together. \
        rawcat finds the hours that cover a local day, reads every record in them, proves that \
        none was lost, and writes Parquet, aggregates and charts.",
    after_help = "Start with:  rawcat plan --day 2022-04-18 --tz Asia/Seoul\n\
        then:        rawcat fetch --day 2022-04-18 --tz Asia/Seoul",
    after_long_help = format!("{SETTINGS_HELP}\n\n{EXIT_HELP}"),
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

// One of them is made in a run.
#[allow(clippy::large_enum_variant)]
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Read a local day and publish its records, aggregates and chart
    ///
    /// Reads the raw objects whose UTC hours cover the day, chooses the records by their own
    /// event time, and publishes the day whole or not at all: Parquet of the records and of the
    /// aggregates, a chart, and the manifest with the counts that prove that nothing was lost.
    #[command(
        after_help = "More options and longer explanations: rawcat fetch --help",
        after_long_help = format!("{SETTINGS_HELP}\n\n{EXIT_HELP}")
    )]
    Fetch(FetchArgs),

    /// Find objects that came late, and make the published days again that they touch
    ///
    /// Lists the hours of published days again and compares with their manifests. A day is made anew
    /// where objects came or changed, where it can now become final, and where options changed; the
    /// others are left, and so are days that were never published. Takes every option of fetch: give
    /// those that the days were made with.
    #[command(
        after_help = "More options and longer explanations: rawcat sync --help",
        after_long_help = format!("{SETTINGS_HELP}\n\n{EXIT_HELP}")
    )]
    Sync(FetchArgs),

    /// Show what fetch would read: window, prefixes, objects, bytes
    ///
    /// Lists, and downloads nothing. Takes every option of fetch, so that `fetch` in a command
    /// can be replaced by `plan` and the rest left as it is.
    #[command(
        after_help = "More options and longer explanations: rawcat plan --help",
        after_long_help = format!("{SETTINGS_HELP}\n\n{EXIT_HELP}")
    )]
    Plan(FetchArgs),

    /// Print records to stdout, one per line
    ///
    /// Prints the records of a local day (--day), of all objects under a prefix, or of one
    /// object, each on a line of its own, ready for a pipe. Of a stream (kinesis://NAME) it prints what
    /// lies on its shards, with shard, number, arrival and partition key; --raw prints the data alone.
    #[command(
        after_help = "More options and longer explanations: rawcat cat --help",
        after_long_help = format!("{SETTINGS_HELP}\n\n{EXIT_HELP}"),
        mut_arg("token", |arg| arg.hide_short_help(true))
    )]
    Cat(CatArgs),

    /// Show the columns of a day, their types and how full they are
    #[command(
        after_help = "More options and longer explanations: rawcat schema --help",
        after_long_help = format!("{SETTINGS_HELP}\n\n{EXIT_HELP}")
    )]
    Schema(SchemaArgs),

    /// Show the records that Firehose could not deliver, and why
    ///
    /// Reads the error output of a day, be it beside the data, below it, or under --error-prefix,
    /// decodes its records, and counts them by hour of arrival and cause. `--raw` prints the records
    /// themselves, so that they can be sent again; `fetch --recover` puts them into
    /// their day.
    #[command(
        after_help = "More options and longer explanations: rawcat errors --help",
        after_long_help = format!("{SETTINGS_HELP}\n\n{EXIT_HELP}")
    )]
    Errors(ErrorsArgs),

    /// Draw published days as PNG and SVG, or in the terminal
    ///
    /// Reads the aggregates that `fetch` published in --out, never raw objects.
    #[command(
        after_long_help = SETTINGS_HELP,
        mut_arg("size", |arg| arg.hide_short_help(false)),
        mut_arg("panels", |arg| arg.hide_short_help(false)),
        mut_arg("out", |arg| arg.help("Where the days were published").long_help(None)),
        mut_arg("metric", |arg| {
            arg.help("Draw these metrics (default: all that were published)").long_help(None)
        }),
        mut_arg("every", |arg| arg.help("Draw the buckets of this length").long_help(None))
    )]
    Chart(ChartArgs),

    /// Run a collection pipeline on this machine: HTTP, shards, buffered objects
    ///
    /// Takes JSON by POST on any path, keeps it on shards as a Kinesis stream does, and delivers it as
    /// a Firehose stream does: buffered, named by the hour, compressed. A request is answered once its
    /// record is on the disk. Ctrl-C delivers what is buffered and ends.
    #[command(
        after_help = "More options and longer explanations: rawcat pipeline --help",
        after_long_help = format!("{SETTINGS_HELP}\n\n{EXIT_HELP}")
    )]
    Pipeline(PipelineArgs),

    /// Send the rows of a CSV, or lines of JSON, to an HTTP endpoint or a stream
    ///
    /// A row becomes a JSON object with the columns as its members: one POST, or one record of a batch for
    /// Kinesis or Firehose. What fails for the moment is sent again; what is refused is counted, shown, and
    /// kept by --failed. The end tells how many were sent, how long they took and which shards have them.
    #[command(
        after_help = "More options and longer explanations: rawcat send --help",
        after_long_help = format!("{SETTINGS_HELP}\n\n{EXIT_HELP}"),
        mut_args(of_streams),
        mut_arg("partition_key", |arg| {
            arg.help_heading("How it is sent").long_help(
                "The member of a row that is its partition key, as device.id (default: a key for each row)\n\n\
                 Rows with the same key are on the same shard. An endpoint gets it as the header \
                 x-partition-key. A row without it is not sent.",
            )
        })
    )]
    Send(SendArgs),

    /// Send marked records and follow them hop by hop until they can be read back
    ///
    /// The endpoint, the Kinesis stream, the delivery and the bucket or folder are asked in turn; what can't
    /// be asked is named with the reason. The table tells how many of the records are at each hop and how
    /// long after their sending; the line below it at which hop records were lost, and what to look at there.
    #[command(
        after_help = "More options and longer explanations: rawcat trace --help",
        after_long_help = format!("{SETTINGS_HELP}\n\n\
            Exit codes: 0 every record is at every hop once; 1 failed; 2 wrong usage; 3 records were lost \
            or came more than once; 130 interrupted."),
        mut_args(of_streams),
        mut_arg("source", |arg| arg.help("What the delivery stream fills: s3://bucket/prefix/ or a folder")),
        mut_arg("region", |arg| arg.help("The region of stream and bucket (default: from the AWS configuration)")),
        mut_arg("endpoint_url", |arg| {
            arg.help("Another server of S3 and, unless --url is on this machine, of the stream")
        }),
        mut_arg("delivery_stream", |arg| {
            arg.hide_short_help(false).help("The Firehose stream: whose delivery to ask about, and where it goes")
        })
    )]
    Trace(TraceCommandArgs),

    /// Print the least IAM policy for this --source and --out
    ///
    /// The policy allows what the other commands ask of S3, and nothing more. Nothing is sent
    /// anywhere: attach the printed JSON to the user or role that runs rawcat.
    #[command(after_long_help = SETTINGS_HELP)]
    Policy(PolicyArgs),

    /// Show every option's value in force, and where it came from
    ///
    /// Takes every option, so that it shows what a command line would mean:
    /// `rawcat config --every 5m`.
    #[command(
        after_help = "More options and longer explanations: rawcat config --help",
        after_long_help = SETTINGS_HELP,
        mut_args(|arg| {
            let collects = COLLECTING.contains(&arg.get_id().as_str());
            if collects { arg.hide_short_help(true) } else { arg }
        })
    )]
    Config(ConfigArgs),

    /// Print the completion script of a shell
    ///
    /// For bash: rawcat completions bash > ~/.local/share/bash-completion/completions/rawcat
    ///
    /// For zsh: rawcat completions zsh > a folder of $fpath, as the file _rawcat
    ///
    /// For fish: rawcat completions fish > ~/.config/fish/completions/rawcat.fish
    Completions(CompletionsArgs),

    /// Write the man pages into a folder
    Man(ManArgs),
}

#[derive(Args, Debug)]
pub struct FetchArgs {
    #[command(flatten)]
    pub day: DayArgs,
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub layout: LayoutArgs,
    #[command(flatten)]
    pub out: OutArgs,
    #[command(flatten)]
    pub publish: PublishArgs,
    #[command(flatten)]
    pub dedup: DedupArgs,
    #[command(flatten)]
    pub group: GroupArgs,
    #[command(flatten)]
    pub bucket: BucketArgs,
    #[command(flatten)]
    pub picture: PictureArgs,
    #[command(flatten)]
    pub time: TimeArgs,
    #[command(flatten)]
    pub types: TypeArgs,
    #[command(flatten)]
    pub listing: ListingArgs,
    #[command(flatten)]
    pub limits: LimitArgs,
    #[command(flatten)]
    pub s3: S3Args,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub json: JsonArgs,
    #[command(flatten)]
    pub talk: TalkArgs,
}

#[derive(Args, Debug)]
pub struct CatArgs {
    /// An object or a prefix: a key below --source, a path, or an s3:// URL; without it, --day
    ///
    /// What ends in / is a prefix. A key is looked for below --source; `./` in front of it
    /// makes it a path of this machine. `-` is one object on standard input, kinesis://NAME a stream.
    #[arg(value_name = "KEY", value_hint = ValueHint::AnyPath)]
    pub key: Option<String>,
    #[command(flatten)]
    pub print: PrintArgs,
    #[command(flatten)]
    pub stream: StreamArgs,
    #[command(flatten)]
    pub token: TokenArgs,
    #[command(flatten)]
    pub day: DayArgs,
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub layout: LayoutArgs,
    #[command(flatten)]
    pub time: TimeArgs,
    #[command(flatten)]
    pub listing: ListingArgs,
    #[command(flatten)]
    pub limits: LimitArgs,
    #[command(flatten)]
    pub s3: S3Args,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub talk: TalkArgs,
}

#[derive(Args, Debug)]
pub struct SchemaArgs {
    #[command(flatten)]
    pub pin: PinArgs,
    #[command(flatten)]
    pub day: DayArgs,
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub layout: LayoutArgs,
    #[command(flatten)]
    pub time: TimeArgs,
    #[command(flatten)]
    pub types: TypeArgs,
    #[command(flatten)]
    pub listing: ListingArgs,
    #[command(flatten)]
    pub limits: LimitArgs,
    #[command(flatten)]
    pub s3: S3Args,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub json: JsonArgs,
    #[command(flatten)]
    pub talk: TalkArgs,
}

#[derive(Args, Debug)]
pub struct ErrorsArgs {
    /// Print the records themselves as the stream got them, with a line feed behind each
    #[arg(long)]
    pub raw: bool,
    #[command(flatten)]
    pub day: DayArgs,
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub layout: LayoutArgs,
    #[command(flatten)]
    pub time: TimeArgs,
    #[command(flatten)]
    pub listing: ListingArgs,
    #[command(flatten)]
    pub limits: LimitArgs,
    #[command(flatten)]
    pub s3: S3Args,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub json: JsonArgs,
    #[command(flatten)]
    pub talk: TalkArgs,
}

#[derive(Args, Debug)]
pub struct ChartArgs {
    #[command(flatten)]
    pub day: DayArgs,
    #[command(flatten)]
    pub out: OutArgs,
    #[command(flatten)]
    pub bucket: BucketArgs,
    #[command(flatten)]
    pub picture: PictureArgs,
    #[command(flatten)]
    pub terminal: TerminalArgs,
    #[command(flatten)]
    pub s3: S3Args,
    #[command(flatten)]
    pub talk: TalkArgs,
}

#[derive(Args, Debug)]
pub struct PipelineArgs {
    #[command(flatten)]
    pub gateway: GatewayArgs,
    #[command(flatten)]
    pub shard: ShardArgs,
    #[command(flatten)]
    pub token: TokenArgs,
    #[command(flatten)]
    pub delivery: DeliveryArgs,
    #[command(flatten)]
    pub keys: KeyArgs,
    #[command(flatten)]
    pub s3: S3Args,
    #[command(flatten)]
    pub talk: TalkArgs,
}

#[derive(Args, Debug)]
pub struct SendArgs {
    #[command(flatten)]
    pub rows: RowsArgs,
    /// In place of --url, a stream: kinesis://NAME or firehose://NAME
    ///
    /// Rows go out in batches of up to 500. What a batch did not take is sent again, and nothing else of
    /// it. The options of AWS say how the stream is reached; an --endpoint-url on this machine, as the
    /// one of `rawcat pipeline`, needs no credentials.
    #[arg(long = "to", id = "send_to", value_name = "STREAM", value_hint = ValueHint::Url,
        help_heading = "How it is sent")]
    pub to: Option<String>,

    #[command(flatten)]
    pub shard: ShardArgs,
    #[command(flatten)]
    pub post: PostArgs,
    #[command(flatten)]
    pub token: TokenArgs,
    #[command(flatten)]
    pub s3: S3Args,
    #[command(flatten)]
    pub talk: TalkArgs,
}

#[derive(Args, Debug)]
pub struct TraceCommandArgs {
    #[command(flatten)]
    pub trace: TraceArgs,
    #[command(flatten)]
    pub token: TokenArgs,
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub layout: LayoutArgs,
    #[command(flatten)]
    pub limits: LimitArgs,
    #[command(flatten)]
    pub s3: S3Args,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub json: JsonArgs,
    #[command(flatten)]
    pub talk: TalkArgs,
}

#[derive(Args, Debug)]
pub struct PolicyArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub out: OutArgs,
    #[command(flatten)]
    pub partition: PartitionArgs,
}

/// Every option of every command.
#[derive(Args, Debug)]
pub struct ConfigArgs {
    #[command(flatten)]
    pub day: DayArgs,
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub layout: LayoutArgs,
    #[command(flatten)]
    pub out: OutArgs,
    #[command(flatten)]
    pub publish: PublishArgs,
    #[command(flatten)]
    pub dedup: DedupArgs,
    #[command(flatten)]
    pub group: GroupArgs,
    #[command(flatten)]
    pub bucket: BucketArgs,
    #[command(flatten)]
    pub picture: PictureArgs,
    #[command(flatten)]
    pub terminal: TerminalArgs,
    #[command(flatten)]
    pub print: PrintArgs,
    #[command(flatten)]
    pub time: TimeArgs,
    #[command(flatten)]
    pub types: TypeArgs,
    #[command(flatten)]
    pub listing: ListingArgs,
    #[command(flatten)]
    pub limits: LimitArgs,
    #[command(flatten)]
    pub s3: S3Args,
    #[command(flatten)]
    pub partition: PartitionArgs,
    #[command(flatten)]
    pub gateway: GatewayArgs,
    #[command(flatten)]
    pub shard: ShardArgs,
    #[command(flatten)]
    pub delivery: DeliveryArgs,
    #[command(flatten)]
    pub token: TokenArgs,
    #[command(flatten)]
    pub rows: RowsArgs,
    #[command(flatten)]
    pub post: PostArgs,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub json: JsonArgs,
    #[command(flatten)]
    pub talk: TalkArgs,
}

#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell
    pub shell: Shell,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Shell {
    Bash,
    Elvish,
    Fish,
    #[value(name = "powershell")]
    PowerShell,
    Zsh,
}

#[derive(Args, Debug)]
pub struct ManArgs {
    /// The folder for rawcat.1, rawcat-fetch.1 and the others; it is made where it is missing
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
}
