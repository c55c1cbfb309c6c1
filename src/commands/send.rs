//! `rawcat send`: rows → POSTs, and what became of them.

use std::fs::File;
use std::io::Read;

use crate::config::{SendConfig, SendFrom};
use crate::error::{Error, ExitCode, Interrupt, printable, say};
use crate::progress::{Mode, Progress, count_text, counted, took_text};
use crate::send::{Report, SendError, SendSpec, send as send_rows};

/// Sends every row. Exit code 3 where some were not taken.
pub fn send(config: &SendConfig, interrupt: &Interrupt) -> Result<ExitCode, Error> {
    let (name, input): (String, Box<dyn Read + Send>) = match &config.from {
        SendFrom::Stdin => ("-".to_string(), Box::new(std::io::stdin())),
        SendFrom::File(path) => {
            let file = File::open(path)
                .map_err(|error| Error::io(format!("can't read {}", path.display()), error))?;
            (path.display().to_string(), Box::new(file))
        }
    };
    let progress = Progress::new(config.mode);
    let SendConfig { spec, .. } = config;
    let report = send_rows(spec, &name, input, &progress, interrupt.flag());
    progress.finish();
    let report = match report {
        Err(SendError::Interrupted) if spec.resume.is_none() => {
            say(
                "rawcat: what was sent stays sent: --resume FILE would go on behind it the next time",
            );
            return Err(Error::Interrupted { publishing: false });
        }
        Err(SendError::Interrupted) => return Err(Error::Interrupted { publishing: false }),
        other => other.map_err(Error::failed)?,
    };
    if config.mode != Mode::Quiet {
        print!("{}", text(&report));
    }
    say_failed(spec, &report);
    Ok(if report.failed + report.replaced == 0 { ExitCode::Complete } else { ExitCode::Skipped })
}

fn text(report: &Report) -> String {
    let seconds = report.took.as_secs_f64().max(1e-3);
    let rate = (report.sent as f64 / seconds) as u64;
    let mut lines = vec![format!(
        "sent      {} in {}, {} a second",
        counted(&count_text(report.sent), "row"),
        took_text(report.took),
        count_text(rate)
    )];
    let more =
        [("failed", report.failed), ("retried", report.retried), ("skipped", report.skipped)];
    for (what, count) in more.iter().filter(|(what, count)| *count > 0 || *what == "failed") {
        lines.push(format!("{what:<9} {}", count_text(*count)));
    }
    let ms = |share| Some(report.latencies.quantile(share)?.as_secs_f64() * 1e3);
    if let (Some(p50), Some(p95), Some(p99)) = (ms(0.5), ms(0.95), ms(0.99)) {
        lines.push(format!("latency   p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms"));
    }
    for (shard, count) in &report.by_shard {
        lines.push(format!("{}  {}", printable(shard), count_text(*count)));
    }
    lines.join("\n") + "\n"
}

fn say_failed(spec: &SendSpec, report: &Report) {
    for (row, why) in &report.examples {
        say(&format!("rawcat: row {row}: {why}"));
    }
    let unsaid = report.failed - report.examples.len() as u64;
    if unsaid > 0 {
        say(&format!("rawcat: and {} more", counted(&count_text(unsaid), "row")));
    }
    if report.replaced > 0 {
        say(&format!(
            "rawcat: {} with characters that could not be read, sent as \u{fffd}: give --encoding the file's own",
            counted(&count_text(report.replaced), "row")
        ));
    }
    if report.failed > report.unreadable && spec.failed.is_none() {
        say("rawcat: --failed FILE keeps the bodies of such rows, to be sent again");
    }
}
