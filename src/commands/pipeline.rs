//! `rawcat pipeline`: HTTP → shards → objects on this machine, until it is interrupted.

use chrono::TimeDelta;

use super::windows::shown;
use crate::config::PipelineConfig;
use crate::config::value::duration_text;
use crate::error::{Error, ExitCode, Interrupt, say};
use crate::pipeline;
use crate::progress::{Mode, bytes_text, count_text, counted};

/// Runs until Ctrl-C or SIGTERM, and delivers what is buffered.
pub fn pipeline(config: &PipelineConfig, interrupt: &Interrupt) -> Result<ExitCode, Error> {
    let PipelineConfig { spec, mode } = config;
    let is_quiet = *mode == Mode::Quiet;
    let ready = |address| {
        if is_quiet {
            return;
        }
        say(&format!(
            "POST JSON to http://{address}/PROD/v1; Ctrl-C delivers what is buffered and ends"
        ));
        let delivery = &spec.delivery;
        let buffer_time = TimeDelta::from_std(delivery.buffer_time).unwrap_or(TimeDelta::MAX);
        say(&format!(
            "{} goes to {}, every {} or {}",
            delivery.name,
            shown(&spec.destination.url),
            bytes_text(delivery.buffer_bytes as u64),
            duration_text(buffer_time)
        ));
    };
    let done = pipeline::run(spec, interrupt.flag(), ready).map_err(Error::failed)?;
    if !is_quiet {
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
