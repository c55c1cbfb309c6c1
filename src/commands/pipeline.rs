//! `rawcat pipeline`: HTTP → shards → objects on this machine, until it is interrupted.

use chrono::TimeDelta;

use super::windows::shown;
use crate::config::PipelineConfig;
use crate::config::value::duration_text;
use crate::error::{Error, ExitCode, Interrupt, say};
use crate::layout::Naming;
use crate::pipeline::{
    self, BucketsAt, DeliverySpec, Destination, EndpointSpec, GatewaySpec, PipelineSpec, Places,
    Token,
};
use crate::progress::{Mode, bytes_text, count_text, counted};

/// Where nobody says which: it stands in ARNs, and nothing depends on it.
const DEFAULT_REGION: &str = "us-east-1";

/// Runs until Ctrl-C or SIGTERM, and delivers what is buffered.
pub fn pipeline(config: &PipelineConfig, interrupt: &Interrupt) -> Result<ExitCode, Error> {
    let spec = spec(config);
    let buffer_time = TimeDelta::from_std(config.buffer_time).unwrap_or(TimeDelta::MAX);
    let ready = |address| {
        if config.mode != Mode::Quiet {
            say(&format!(
                "POST JSON to http://{address}/PROD/v1; Ctrl-C delivers what is buffered and ends"
            ));
            say(&format!(
                "{} goes to {}, every {} or {}",
                config.stream,
                shown(&config.deliver),
                bytes_text(config.buffer_bytes as u64),
                duration_text(buffer_time)
            ));
        }
    };
    let done = pipeline::run(&spec, interrupt.flag(), ready).map_err(Error::failed)?;
    if config.mode != Mode::Quiet {
        let (records, objects) = (count_text(done.records), count_text(done.objects));
        say(&format!(
            "delivered {} in {}",
            counted(&records, "record"),
            counted(&objects, "object")
        ));
    }
    if done.failed > 0 {
        let failed = count_text(done.failed);
        say(&format!(
            "rawcat: {} could not be delivered and went to the error output; look at it with `rawcat errors`",
            counted(&failed, "record")
        ));
    }
    Ok(ExitCode::Complete)
}

fn spec(config: &PipelineConfig) -> PipelineSpec {
    let options = config.s3.store_options();
    let PipelineConfig { prefix, prefix_tz, error_prefix, .. } = config;
    PipelineSpec {
        listen: config.listen,
        gateway: GatewaySpec {
            endpoint: EndpointSpec {
                max_body_bytes: config.max_body_bytes,
                key_field: config.key_field.as_ref().map(|field| path_of(field)),
                split_arrays: config.split_arrays,
            },
            token: config.token.clone().map(Token::new),
            places: Places {
                buckets: match &config.buckets {
                    Some(folder) => BucketsAt::Folder(folder.clone()),
                    None => BucketsAt::S3(options.clone()),
                },
                tables: config.tables.clone(),
            },
        },
        log: config.access_log.clone(),
        shards: config.shards,
        retention: config.retention,
        limited: config.limited,
        delivery: DeliverySpec {
            name: config.stream.clone(),
            naming: Naming::of(prefix, *prefix_tz),
            errors: Naming::of_errors(prefix, error_prefix.as_ref(), *prefix_tz),
            compression: config.compression,
            extension: config.file_extension.clone(),
            buffer_bytes: config.buffer_bytes,
            buffer_time: config.buffer_time,
            newline: config.newline,
            deaggregation: config.deaggregation.clone(),
            transform: config.transform.clone(),
            keys: config.keys.clone(),
            conversion: config.conversion.clone(),
        },
        destination: Destination { url: config.deliver.clone(), options },
        region: config.s3.region.clone().unwrap_or_else(|| DEFAULT_REGION.to_string()),
        state: config.state.clone(),
        tell: |line| say(&format!("rawcat: {line}")),
    }
}

fn path_of(field: &str) -> Vec<String> {
    field.split('.').map(str::to_string).collect()
}
