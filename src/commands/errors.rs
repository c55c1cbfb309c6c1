//! `rawcat errors`: the records that Firehose could not deliver, decoded and counted by hour and
//! cause; `--raw` prints them, to be sent again.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::windows::{job_error, json_text, open_raw, read_spec, take_layout, windows};
use crate::config::ErrorsConfig;
use crate::error::{Error, ExitCode, Interrupt, printable, say};
use crate::job::{ErrorsError, ErrorsFound, JobSpec, read_errors};
use crate::progress::{Mode, Progress, bytes_text, count_text, counted};

/// Prints what failed in every selected window.
pub fn errors(config: &ErrorsConfig, interrupt: &Interrupt) -> Result<ExitCode, Error> {
    let windows = windows(&config.days)?;
    let raw = open_raw(&config.input)?;
    let alone = windows.len() == 1;
    let spec = |window| {
        let spec = read_spec(&config.input, &raw, window)?;
        Ok(JobSpec { recover: true, ..spec })
    };
    let mut specs = windows.into_iter().map(spec).collect::<Result<Vec<JobSpec>, Error>>()?;
    let mut code = ExitCode::Complete;
    for at in 0..specs.len() {
        interrupt.check()?;
        let spec = &specs[at];
        let is_quiet = config.json || config.raw;
        let progress = Progress::new(if is_quiet { Mode::Quiet } else { config.mode });
        let mut stdout = BufWriter::new(std::io::stdout().lock());
        let mut take = |one: &crate::undelivered::Undelivered| {
            if config.raw {
                stdout.write_all(one.data.trim_ascii_end())?;
                stdout.write_all(b"\n")?;
            }
            Ok(())
        };
        let found =
            read_errors(spec, &raw.source, &raw.store, &progress, interrupt.flag(), &mut take);
        progress.finish();
        let found = found.map_err(|error| match error {
            ErrorsError::Job(error) => job_error(error),
            ErrorsError::Taker(error) => Error::stdout(error),
        })?;
        let text = match (config.raw, config.json) {
            (true, _) => String::new(),
            (_, true) => json_text(&to_json(spec, &found), alone),
            (_, false) => to_text(spec, &found),
        };
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Error::stdout)?;
        if !say_skipped(&found) {
            code = ExitCode::Skipped;
        }
        take_layout(&mut specs, at, &found.inferred, config.mode == Mode::Quiet);
    }
    Ok(code)
}

/// Names what could not be read; true where there is nothing of it.
fn say_skipped(found: &ErrorsFound) -> bool {
    const SHOWN: usize = 5;
    for (key, why) in found.unread.iter().take(SHOWN) {
        say(&format!("rawcat: {}: {}", printable(key), printable(&why.reason)));
    }
    for (key, lost) in found.lost.iter().take(SHOWN) {
        let place = format!("{}:{}", printable(key), lost.offset);
        say(&format!("rawcat: {place}: no error record: {}", printable(&lost.reason)));
    }
    let more = found.unread.len().saturating_sub(SHOWN) + found.lost.len().saturating_sub(SHOWN);
    if more > 0 {
        say(&format!("rawcat: and {more} more places"));
    }
    found.unread.is_empty() && found.lost.is_empty()
}

fn to_json(spec: &JobSpec, found: &ErrorsFound) -> Value {
    let window = &spec.window;
    let utc = |at: chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    let failed: Vec<Value> = found
        .failed
        .iter()
        .map(|((hour, cause), failed)| {
            json!({
                "hour_utc": utc(*hour),
                "hour_local": hour.with_timezone(&window.tz).to_rfc3339(),
                "type": cause.error_type,
                "code": cause.code,
                "records": failed.records,
                "bytes": failed.bytes,
                "message": failed.message,
            })
        })
        .collect();
    json!({
        "window": {
            "date": window.date.map(|date| date.to_string()),
            "tz": window.tz.name(),
            "start_utc": utc(window.start_utc),
            "end_utc": utc(window.end_utc),
        },
        "objects": found.objects,
        "records": found.failed.values().map(|failed| failed.records).sum::<u64>(),
        "records_of_other_days": found.others,
        "failed": failed,
        "quarantined": found.lost.iter().map(|(key, lost)| json!({
            "key": key, "offset": lost.offset, "len": lost.len, "reason": lost.reason,
        })).collect::<Vec<_>>(),
        "unread": found.unread.iter().map(|(key, why)| json!({
            "key": key, "reason": why.reason,
        })).collect::<Vec<_>>(),
    })
}

fn to_text(spec: &JobSpec, found: &ErrorsFound) -> String {
    let window = &spec.window;
    let name =
        window.date.map_or_else(|| window.describe(), |date| format!("{date} in {}", window.tz));
    if found.failed.is_empty() {
        return match found.unread.is_empty() && found.lost.is_empty() {
            true => format!("nothing failed on {name}\n"),
            false => format!("no error record of {name} could be read\n"),
        };
    }
    let mut rows = vec![["hour", "type", "cause", "records"].map(str::to_string)];
    let mut causes: BTreeMap<&str, &str> = BTreeMap::new();
    for ((hour, cause), failed) in &found.failed {
        rows.push([
            hour.with_timezone(&window.tz).format("%m-%d %H:%M").to_string(),
            printable(&cause.error_type).into_owned(),
            printable(&cause.code).into_owned(),
            count_text(failed.records),
        ]);
        if let Some(message) = &failed.message {
            causes.entry(&cause.code).or_insert(message);
        }
    }
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3)];
    let mut text = format!("{name}\n");
    for [hour, kind, cause, records] in &rows {
        let [w0, w1, w2, w3] = widths;
        text.push_str(&format!("{hour:<w0$}  {kind:<w1$}  {cause:<w2$}  {records:>w3$}\n"));
    }
    let total: u64 = found.failed.values().map(|failed| failed.records).sum();
    let bytes: u64 = found.failed.values().map(|failed| failed.bytes).sum();
    text.push_str(&format!(
        "{} ({}) in {}\n",
        counted(&count_text(total), "record"),
        bytes_text(bytes),
        counted(&count_text(found.objects), "object"),
    ));
    for (code, message) in causes {
        const SHOWN: usize = 200;
        let message: String = printable(message).chars().take(SHOWN).collect();
        text.push_str(&format!("{}: {message}\n", printable(code)));
    }
    text
}
