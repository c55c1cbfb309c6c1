//! Options of commands that read streams. See the parent for what one field gives.

// The docstrings are help texts: they show types and URLs as a user types them.
#![allow(rustdoc::invalid_html_tags, rustdoc::bare_urls)]

use std::num::NonZeroUsize;

use chrono::TimeDelta;
use clap::{Args, ValueHint};

use crate::config::value::{parse_count, parse_duration, parse_small_count, parse_step};

#[derive(Args, Debug)]
#[command(next_help_heading = "Of a stream, kinesis://NAME")]
pub struct StreamArgs {
    /// Print what arrived so long ago or later; 0 is from now on (default: all that is there)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub since: Option<TimeDelta>,

    /// Go on with what arrives, until Ctrl-C
    #[arg(long)]
    pub follow: bool,

    /// Only this shard, as shardId-000000000000
    #[arg(long, value_name = "ID", hide_short_help = true)]
    pub shard: Option<String>,

    /// End after so many records
    #[arg(long, value_name = "N", value_parser = parse_count, hide_short_help = true)]
    pub max_records: Option<NonZeroUsize>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "What is traced")]
pub struct TraceArgs {
    /// The endpoint that records are sent to, as http://127.0.0.1:7117/PROD/v1
    #[arg(short, long, value_name = "URL", value_hint = ValueHint::Url)]
    pub url: Option<String>,

    /// Records to send, or that were sent with --mark
    #[arg(long, value_name = "N", default_value = "10", value_parser = parse_small_count)]
    pub count: NonZeroUsize,

    /// Send nothing, and look for records that were sent with this mark
    ///
    /// A mark is what an earlier run printed; it holds the time of sending.
    #[arg(long, value_name = "MARK")]
    pub mark: Option<String>,

    /// The Kinesis stream behind the endpoint, as NAME or kinesis://NAME
    ///
    /// Where --url is on this machine, it is rawcat-stream unless it is said, and is asked there.
    #[arg(long, value_name = "NAME")]
    pub stream: Option<String>,

    /// How long to wait for records at all
    ///
    /// A delivery stream with its defaults keeps records for up to five minutes.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_step)]
    pub wait: TimeDelta,
}
