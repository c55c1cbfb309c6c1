//! From options to what was meant, for the commands that put records and follow them: `send`, `cat` of a
//! stream, and `trace`.

use std::path::Path;

use axum::http::Uri;

use super::meaning::{Meaning, s3};
use super::origin::{Origin, flag};
use super::{SendConfig, SendFrom, StreamConfig};
use crate::cli;
use crate::error::Error;
use crate::send::{Characters, Form, PostSpec, SendSpec, SendTo};
use crate::streams::{BadStreamUrl, Reach, Start, StreamUrl};

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
        let by_name = match rows.file.as_deref().and_then(|file| file.rsplit_once('.')) {
            Some((_, "ndjson" | "jsonl")) => cli::RowsKind::Ndjson,
            _ => cli::RowsKind::Csv,
        };
        let timeout = post.timeout.to_std().unwrap_or_default();
        let to = match self.stream_or_endpoint(post)? {
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
        Ok(SendConfig {
            from,
            spec: SendSpec {
                to,
                form: match rows.rows.unwrap_or(by_name) {
                    cli::RowsKind::Csv => Form::Csv,
                    cli::RowsKind::Ndjson => Form::Lines,
                },
                characters: match rows.encoding {
                    cli::EncodingKind::Auto => Characters::Recognised,
                    cli::EncodingKind::Utf8 => Characters::Utf8,
                    cli::EncodingKind::Cp949 => Characters::Cp949,
                },
                numbers: rows.types,
                concurrency: post.concurrency.get(),
                attempts: post.attempts.get() as u32,
                partition_key: post.partition_key.clone(),
                rate: post.rate.map(|rate| rate.get() as f64),
                failed: post.failed.as_deref().map(path),
                resume: post.resume.as_deref().map(path),
                timestamp_field: rows.timestamp_field.clone(),
            },
            mode: self.mode(&args.talk)?,
        })
    }

    /// Where rows go: what was said later in the chain wins.
    fn stream_or_endpoint(&self, post: &cli::PostArgs) -> Result<SendTo, Error> {
        let rank = |option| self.settings.origin(option).rank();
        let to_stream = match (&post.url, &post.to) {
            (None, None) => {
                return Err(Error::usage(
                    "no endpoint and no stream is given",
                    "give --url http://127.0.0.1:7117/PROD/v1, or --to kinesis://name",
                ));
            }
            (Some(_), Some(_)) if rank("url") == rank("to") => {
                return Err(Error::usage(
                    "--url and --to are both given, and rows go to one place",
                    "leave out one of the two",
                ));
            }
            (url, to) => to.as_deref().filter(|_| url.is_none() || rank("to") > rank("url")),
        };
        let Some(to) = to_stream else {
            let timeout = post.timeout.to_std().unwrap_or_default();
            let url = self.endpoint(post.url.as_deref().unwrap_or_default())?;
            return Ok(SendTo::Http(PostSpec { url, token: None, timeout }));
        };
        let url: StreamUrl = to.parse().map_err(|error: BadStreamUrl| {
            let hint = match to.starts_with("http") {
                true => "an HTTP endpoint is given by --url",
                false => "give kinesis://name or firehose://name",
            };
            self.settings.refuse("to", &error.to_string(), hint)
        })?;
        if matches!(url, StreamUrl::Firehose(_)) && post.partition_key.is_some() {
            return Err(self.settings.refuse(
                "partition_key",
                "Firehose takes no partition keys",
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

    fn reach(&self, s3_args: &cli::S3Args, token: &cli::TokenArgs) -> Reach {
        Reach { options: s3(s3_args).store_options(), token: token.token.clone(), timeout: None }
    }
}
