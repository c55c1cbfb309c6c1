//! From options to what was meant, for the commands that put records and follow them: `send`, `cat` of a
//! stream, and `trace`.

use std::path::Path;
use std::time::Duration;

use axum::http::Uri;
use chrono::TimeDelta;

use super::meaning::{Meaning, s3};
use super::origin::{Origin, flag};
use super::{InputConfig, SendConfig, SendFrom, Source, StreamConfig, TraceConfig};
use crate::cli;
use crate::error::Error;
use crate::send::{Characters, Form, PostSpec, Reading, SendSpec, SendTo};
use crate::streams::{BadStreamUrl, Reach, Start, StreamUrl, origin_of_loopback};
use crate::trace::{NoMark, Sending};

/// How the pipeline of this machine calls its stream, unless it is told.
const LOCAL_STREAM: &str = "rawcat-stream";
/// How long a traced record's answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(30);

impl Meaning<'_> {
    pub fn send(&self, args: &cli::SendArgs) -> Result<SendConfig, Error> {
        let (rows, post) = (&args.rows, &args.post);
        let path = |path: &Path| self.around.working_dir.join(path);
        let from = match rows.file.as_deref() {
            None => {
                return Err(Error::usage(
                    "no rows are given",
                    "give --file rows.csv, or - for stdin",
                ));
            }
            Some("-") => SendFrom::Stdin,
            Some(file) => SendFrom::File(path(Path::new(file))),
        };
        let by_name = rows.file.as_deref().and_then(|file| file.rsplit_once('.'));
        let form = match (rows.rows, by_name) {
            (Some(cli::RowsKind::Csv), _) | (None, Some((_, "csv"))) => Form::Csv,
            (Some(cli::RowsKind::Ndjson), _) | (None, Some((_, "ndjson" | "jsonl"))) => Form::Lines,
            (None, _) => Form::Recognised,
        };
        if from == SendFrom::Stdin && post.resume.is_some() {
            return Err(Error::usage(
                "--resume with standard input: nobody can tell whether it is the same as before",
                "give --file the rows themselves",
            ));
        }
        let timeout = post.timeout.to_std().unwrap_or_default();
        let to = match self.stream_or_endpoint(args)? {
            SendTo::Http(endpoint) => {
                SendTo::Http(PostSpec { token: args.token.token.clone(), ..endpoint })
            }
            SendTo::Stream { url, .. } => SendTo::Stream {
                url,
                reach: Reach {
                    options: s3(&args.s3).store_options(),
                    token: args.token.token.clone(),
                    timeout: Some(timeout),
                },
            },
        };
        // One that stands in the file is meant for streams that take it.
        let takes_keys = !matches!(to, SendTo::Stream { url: StreamUrl::Firehose(_), .. });
        let key = args.shard.partition_key.as_ref().filter(|_| takes_keys);
        Ok(SendConfig {
            from,
            spec: SendSpec {
                to,
                reading: Reading {
                    form,
                    characters: match rows.encoding {
                        cli::EncodingKind::Auto => Characters::Recognised,
                        cli::EncodingKind::Utf8 => Characters::Utf8,
                        cli::EncodingKind::Cp949 => Characters::Cp949,
                    },
                    numbers: rows.types,
                    delimiter: rows.delimiter,
                },
                concurrency: post.concurrency.get(),
                attempts: post.attempts.get() as u32,
                partition_key: key.cloned(),
                rate: post.rate.map(|rate| rate.get() as f64),
                failed: post.failed.as_deref().map(path),
                resume: post.resume.as_deref().map(path),
                timestamp_field: rows.timestamp_field.clone(),
            },
            mode: self.mode(&args.talk)?,
        })
    }

    /// Where rows go. A stream that is typed wins over an endpoint that is not.
    fn stream_or_endpoint(&self, args: &cli::SendArgs) -> Result<SendTo, Error> {
        let post = &args.post;
        let (url, to) = (post.url.as_deref(), args.to.as_deref());
        if to.is_some() && *self.settings.origin("url") == Origin::Flag {
            return Err(Error::usage(
                "--url and --to are both given, and rows go to one place",
                "leave out one of the two",
            ));
        }
        let Some(to) = to else {
            let url = url.ok_or_else(|| {
                Error::usage(
                    "no endpoint and no stream is given",
                    "give --url http://127.0.0.1:7117/PROD/v1, or --to kinesis://name",
                )
            })?;
            let timeout = post.timeout.to_std().unwrap_or_default();
            return Ok(SendTo::Http(PostSpec { url: self.endpoint(url)?, token: None, timeout }));
        };
        let url: StreamUrl = to.parse().map_err(|error: BadStreamUrl| {
            let hint = match to.starts_with("http") {
                true => "an HTTP endpoint is given by --url",
                false => "give kinesis://name or firehose://name",
            };
            Error::usage(format!("--to: {error}"), hint)
        })?;
        let is_typed = *self.settings.origin("partition_key") == Origin::Flag;
        if matches!(url, StreamUrl::Firehose(_)) && is_typed {
            return Err(Error::usage(
                "--partition-key: Firehose takes no partition keys",
                "leave it out, or send to a Kinesis stream",
            ));
        }
        Ok(SendTo::Stream { url, reach: Reach::default() })
    }

    fn endpoint(&self, url: &str) -> Result<Uri, Error> {
        let is_web = url.starts_with("http://") || url.starts_with("https://");
        url.parse().ok().filter(|_| is_web).ok_or_else(|| {
            self.settings.refuse(
                "url",
                &format!("'{url}' is no address of an endpoint"),
                "write it as https://host/stage/path",
            )
        })
    }

    /// `cat` of a stream, where its key is one.
    pub fn stream(&self, args: &cli::CatArgs) -> Result<Option<StreamConfig>, Error> {
        let stream = &args.stream;
        let Some(key) = args.key.as_deref().filter(|key| StreamUrl::is_meant(key)) else {
            let about = [
                ("since", stream.since.is_some()),
                ("follow", stream.follow),
                ("shard", stream.shard.is_some()),
                ("max_records", stream.max_records.is_some()),
            ];
            return match about.iter().find(|(_, is_set)| *is_set) {
                None => Ok(None),
                Some((option, _)) => Err(Error::usage(
                    format!("{} is about a stream", flag(option)),
                    "give one, as kinesis://name",
                )),
            };
        };
        for option in ["day", "from", "to", "csv", "columns"] {
            if *self.settings.origin(option) == Origin::Flag {
                return Err(Error::usage(
                    format!("{} is about objects, and {key} is a stream", flag(option)),
                    "leave it out; --since 15m chooses records of a stream by their arrival",
                ));
            }
        }
        let name = match key.parse() {
            Ok(StreamUrl::Kinesis(name)) => name,
            Ok(StreamUrl::Firehose(_)) => {
                return Err(Error::usage(
                    format!("{key}: what is put to Firehose can't be read from it"),
                    "read what it delivered: give --delivery-stream or --source, and --day",
                ));
            }
            Err(error) => {
                return Err(Error::usage(error.to_string(), "give kinesis://name-of-the-stream"));
            }
        };
        Ok(Some(StreamConfig {
            name,
            reach: self.reach(&args.s3, &args.token),
            start: match stream.since {
                Some(since) => Start::At(self.around.now - since),
                None => Start::Oldest,
            },
            follow: stream.follow,
            shard: stream.shard.clone(),
            max_records: stream.max_records.map(|most| most.get() as u64),
            raw: args.print.raw,
            mode: self.mode(&args.talk)?,
        }))
    }

    pub fn trace(&self, args: &cli::TraceCommandArgs) -> Result<TraceConfig, Error> {
        let (what, token) = (&args.trace, args.token.token.clone());
        let sending = match &what.mark {
            None => Sending::now(),
            Some(text) => Sending::Earlier(text.parse().map_err(|error: NoMark| {
                Error::usage(format!("--mark: '{text}': {error}"), "give what a trace printed")
            })?),
        };
        let endpoint = match &what.url {
            Some(url) => Some(PostSpec { url: self.endpoint(url)?, token, timeout: ANSWER_TIME }),
            None if what.mark.is_some() => None,
            None => {
                return Err(Error::usage(
                    "no endpoint is given",
                    "give --url http://127.0.0.1:7117/PROD/v1, or --mark of records that were sent",
                ));
            }
        };
        let local = what.url.as_deref().and_then(origin_of_loopback);
        let stream = match what.stream.as_deref() {
            None => local.map(|_| LOCAL_STREAM.to_string()),
            Some(text) if !StreamUrl::is_meant(text) => Some(text.to_string()),
            Some(text) => match text.parse() {
                Ok(StreamUrl::Kinesis(name)) => Some(name),
                Ok(StreamUrl::Firehose(_)) => {
                    return Err(self.settings.refuse(
                        "stream",
                        "what is put to Firehose can't be read from it",
                        "leave it out; the hops behind it are asked all the same",
                    ));
                }
                Err(error) => {
                    let hint = "give NAME or kinesis://NAME";
                    return Err(self.settings.refuse("stream", &error.to_string(), hint));
                }
            },
        };
        let aws = Reach { token: None, ..self.reach(&args.s3, &args.token) };
        let mut reach = self.reach(&args.s3, &args.token);
        if let Some(origin) = local {
            // The pipeline speaks Kinesis at the address of its gateway; --endpoint-url is that of S3.
            reach.options.endpoint_url = Some(origin.to_string());
        }
        let is_typed = |option: &str| *self.settings.origin(option) == Origin::Flag;
        if local.is_some() && is_typed("delivery_stream") && !is_typed("source") {
            return Err(Error::usage(
                "--delivery-stream names one of this machine's pipeline, whose objects are where its --deliver is",
                "give that place as --source, as --source rawdata",
            ));
        }
        let has_source = args.source.source.is_some() || args.layout.delivery_stream.is_some();
        Ok(TraceConfig {
            sending,
            endpoint,
            count: what.count.get() as u32,
            local: local.map(str::to_string),
            stream: stream.map(|name| (name, reach)),
            delivery_stream: args.layout.delivery_stream.clone(),
            reach: aws,
            input: has_source.then(|| self.traced_input(args)).transpose()?,
            wait: what.wait.to_std().unwrap_or_default(),
            json: args.json.json,
            mode: self.mode(&args.talk)?,
        })
    }

    /// The source, read as it is: by no field of the records, and for hours enough.
    fn traced_input(&self, args: &cli::TraceCommandArgs) -> Result<InputConfig, Error> {
        let time =
            cli::TimeArgs { time_field: None, field_tz: chrono_tz::UTC, fallback_key: false };
        let listing = cli::ListingArgs {
            look_back: TimeDelta::hours(1),
            look_ahead: TimeDelta::hours(1),
            max_late: TimeDelta::hours(1),
        };
        let mut layout = args.layout.clone();
        // Beside --source, the name says whose metrics to ask.
        let source = args.source.source.as_deref();
        if source.is_some() {
            layout.delivery_stream = None;
        }
        // A folder may not be there before something is delivered to it.
        let url = source.map(|text| self.url("source", text)).transpose()?;
        let here = cli::SourceArgs { source: Some(".".to_string()) };
        let (source, place) = match url {
            Some(url) => (&here, Some(Source::Place(url))),
            None => (&args.source, None),
        };
        let input =
            self.input(source, &layout, &time, &listing, &args.limits, &args.s3, &args.run)?;
        Ok(InputConfig { source: place.unwrap_or(input.source), ..input })
    }

    fn reach(&self, s3_args: &cli::S3Args, token: &cli::TokenArgs) -> Reach {
        Reach { options: s3(s3_args).store_options(), token: token.token.clone(), timeout: None }
    }
}
