//! `rawcat pipeline`: HTTP → shards → objects on this machine, until it is interrupted.

use crate::config::PipelineConfig;
use crate::error::{Error, ExitCode, Interrupt, say};
use crate::layout::Naming;
use crate::pipeline::{self, DeliverySpec, GatewaySpec, PipelineSpec};
use crate::progress::Mode;

/// Runs until Ctrl-C or SIGTERM, and delivers what is buffered.
pub fn pipeline(config: &PipelineConfig, interrupt: &Interrupt) -> Result<ExitCode, Error> {
    let spec = PipelineSpec {
        listen: config.listen,
        gateway: GatewaySpec {
            stream: 0,
            token: config.token.clone(),
            max_body_bytes: config.max_body_bytes,
        },
        shards: config.shards.get() as u32,
        delivery: DeliverySpec {
            name: config.stream.clone(),
            stream: 0,
            naming: Naming::of(&config.prefix, chrono_tz::UTC),
            compression: config.compression,
            buffer_bytes: config.buffer_bytes,
            buffer_time: config.buffer_time,
            newline: config.newline,
            folder: config.deliver.clone(),
        },
        state: config.state.clone(),
    };
    let ready = |address| {
        if config.mode != Mode::Quiet {
            say(&format!(
                "POST JSON to http://{address}/PROD/v1; Ctrl-C delivers what is buffered and ends"
            ));
        }
    };
    pipeline::run(&spec, interrupt.flag(), ready).map_err(Error::failed)?;
    Ok(ExitCode::Complete)
}
