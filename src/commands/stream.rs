//! `rawcat cat kinesis://name`: what lies on a stream, one record a line.

use std::io::Write;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::cat::stdout;
use crate::config::StreamConfig;
use crate::error::{Error, ExitCode, Interrupt, say};
use crate::progress::Mode;
use crate::streams::{Got, Start, Stream, StreamError, StreamUrl, data_line, line};

/// How often the end of a stream is looked at that is followed.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Prints the records of all shards, each shard's in their order. Followed until it is interrupted, which
/// is then how it ends.
pub fn stream(config: &StreamConfig, interrupt: &Interrupt) -> Result<ExitCode, Error> {
    let stream = Stream::open(&config.name, &config.reach).map_err(failed)?;
    let all = stream.shard_ids().map_err(failed)?;
    let chosen = match &config.shard {
        None => all,
        Some(shard) if all.contains(shard) => vec![shard.clone()],
        Some(shard) => {
            return Err(failed(StreamError::NoShard {
                stream: StreamUrl::Kinesis(config.name.clone()),
                shard: shard.clone(),
                available: all.join(", "),
            }));
        }
    };
    if config.mode == Mode::Verbose {
        say(&format!("reading {} shards of {}", chosen.len(), config.name));
    }
    let starts = chosen.into_iter().map(|shard| (shard, config.start.clone()));
    let mut shards = stream.shards(starts);
    let mut out = stdout();
    let mut left = config.max_records.unwrap_or(u64::MAX);
    let mut broken = None;
    let mut take = |page: Vec<Got>| {
        for record in &page {
            let line = if config.raw { data_line(record) } else { line(record) };
            if let Err(error) = out.write_all(&line) {
                broken = Some(error);
                return ControlFlow::Break(());
            }
            left -= 1;
            if left == 0 {
                return ControlFlow::Break(());
            }
        }
        match config.follow.then(|| out.flush()) {
            Some(Err(error)) => {
                broken = Some(error);
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        }
    };
    loop {
        let is_over = match shards.pass(interrupt.flag(), &mut take) {
            Err(StreamError::Interrupted) if config.follow => true,
            other => other.map_err(failed)?,
        };
        if is_over || !config.follow || !waits(FOLLOW_EVERY, interrupt) {
            break;
        }
    }
    if let Some(error) = broken {
        return Err(Error::stdout(error));
    }
    out.flush().map_err(Error::stdout)?;
    if left == config.max_records.unwrap_or(u64::MAX) && config.mode != Mode::Quiet {
        let since = if config.start == Start::Oldest { "" } else { " of that time" };
        say(&format!("rawcat: no records{since} on {}", config.name));
    }
    Ok(ExitCode::Complete)
}

/// False once the run is interrupted.
fn waits(time: Duration, interrupt: &Interrupt) -> bool {
    let until = Instant::now() + time;
    while Instant::now() < until && !interrupt.is_set() {
        std::thread::sleep(LOOK_EVERY);
    }
    !interrupt.is_set()
}

fn failed(error: StreamError) -> Error {
    match error {
        StreamError::Interrupted => Error::Interrupted { publishing: false },
        error @ (StreamError::NoShard { .. } | StreamError::Options(_)) => {
            Error::Usage { message: error.to_string(), hint: None }
        }
        other => Error::failed(other),
    }
}
