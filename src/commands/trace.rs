//! `rawcat trace`: marked records, hop by hop, as a table or as JSON, and what it means.

use std::io::Write;
use std::time::{Duration, Instant};

use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use super::windows::{job_error, json_text, open_raw, read_spec};
use crate::config::{InputConfig, Source, SourceUrl, TraceConfig, value::duration_text};
use crate::error::{Error, ExitCode, Interrupt, printable};
use crate::progress::Progress;
use crate::trace::{
    Delivery, Hop, Mark, Metrics, Names, Reading, Sending, State, Summary, Trace, TraceError,
    TraceSpec, Verdict, counted_text, trace as follow, verdict,
};
use crate::window::Window;

/// A window never ends later behind its mark: Firehose tries for a day to deliver.
const LATEST: chrono::TimeDelta = chrono::TimeDelta::hours(25);
/// How often a wait is told of where nothing changes.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Exit code 3 where a record was lost or came more than once.
pub fn trace(config: &TraceConfig, interrupt: &Interrupt) -> Result<ExitCode, Error> {
    let mark = config.sending.mark().clone();
    let progress = Progress::new(config.mode);
    let reading = match &config.input {
        None => Err("no --source and no --delivery-stream is given".to_string()),
        Some(input) => Ok(reading(input, &mark, config.wait)?),
    };
    let source = reading.as_ref().ok().map(|reading| reading.source.clone());
    let stream = config.stream.clone();
    let mut spec = TraceSpec {
        sending: config.sending.clone(),
        endpoint: config.endpoint.clone(),
        count: config.count,
        delivery: delivery(config),
        stream: stream.ok_or_else(|| "no --stream is given".to_string()),
        reading,
        wait: config.wait,
    };
    if matches!(config.sending, Sending::Now(_)) {
        progress.note(&format!("sending {} records with the mark {mark}", config.count));
    }
    let mut told = (String::new(), Instant::now());
    let mut tell = |trace: &Trace, left: Duration| {
        let counts = counts(trace);
        if counts != told.0 || told.1.elapsed() >= TELL_EVERY {
            let left = duration_text(chrono::TimeDelta::seconds(left.as_secs() as i64));
            progress.note(&format!("{counts}; {left} left"));
            told = (counts, Instant::now());
        }
    };
    let traced = follow(&mut spec, &mut tell, interrupt.flag()).map_err(failed)?;
    progress.finish();
    let names = Names {
        url: config.endpoint.as_ref().map(|endpoint| endpoint.url.to_string()),
        stream: config.stream.as_ref().map(|(name, _)| name.clone()),
        delivery: delivery_name(config),
        source,
        ..traced.names
    };
    let verdict = verdict(&traced.trace, &names);
    let text = match config.json {
        true => json_text(&document(&mark, &traced.trace, &verdict), true),
        false => table(&mark, &traced.trace, &verdict),
    };
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Error::stdout)?;
    Ok(if verdict.is_complete { ExitCode::Complete } else { ExitCode::Skipped })
}

fn reading(input: &InputConfig, mark: &Mark, wait: Duration) -> Result<Reading, Error> {
    let later = match &input.source {
        Source::Place(SourceUrl::Folder(folder)) if !folder.is_dir() => Some(folder.clone()),
        _ => None,
    };
    let raw = match &later {
        None => open_raw(input)?,
        // The layout says the same of any folder.
        Some(_) => {
            let here = Source::Place(SourceUrl::Folder(".".into()));
            open_raw(&InputConfig { source: here, ..input.clone() })?
        }
    };
    let source =
        later.as_ref().map(|folder| folder.display().to_string()).unwrap_or(raw.source.clone());
    let wait = chrono::TimeDelta::from_std(wait).unwrap_or(LATEST);
    let window = Window {
        start_utc: mark.time_utc,
        end_utc: (Utc::now() + wait).min(mark.time_utc + LATEST),
        tz: chrono_tz::UTC,
        date: None,
    };
    let spec = read_spec(input, &raw, window)?;
    Ok(Reading { spec, store: raw.store, later, source })
}

fn delivery_name(config: &TraceConfig) -> Option<String> {
    let of_stream =
        || config.local.as_ref().and(config.stream.as_ref()).map(|(name, _)| name.clone());
    config.delivery_stream.clone().or_else(of_stream)
}

/// Who is asked what a delivery stream delivered: where the endpoint is on this machine its pages, else CloudWatch.
fn delivery(config: &TraceConfig) -> Result<Delivery, String> {
    if let (Some(origin), Some((stream, _))) = (&config.local, &config.stream) {
        let url = format!("{origin}/metrics").parse();
        let url = url.map_err(|_| format!("{origin} has no pages"))?;
        let delivery = delivery_name(config).unwrap_or_default();
        return Ok(Delivery::Pages(Metrics { url, delivery, stream: stream.clone() }));
    }
    match &config.delivery_stream {
        Some(name) => Ok(Delivery::CloudWatch(name.clone(), config.reach.clone())),
        None => Err("no --delivery-stream is given, of which CloudWatch tells what it delivered"
            .to_string()),
    }
}

/// `gateway 10, stream 10, delivery 0 of 10`
fn counts(trace: &Trace) -> String {
    let of = |hop: Hop| match trace.hop(hop) {
        State::Asked(seen) => Some(format!("{} {}", hop.name(), seen.count())),
        State::Counted(_) => {
            trace.at_most(hop).map(|most| format!("{} at most {most}", hop.name()))
        }
        State::NotAsked(_) => None,
    };
    let counts: Vec<String> = Hop::ALL.into_iter().filter_map(of).collect();
    format!("{} of {}", counts.join(", "), trace.count)
}

fn table(mark: &Mark, trace: &Trace, verdict: &Verdict) -> String {
    let mut text = format!("mark      {mark}\n");
    text.push_str("hop         records  lost  copies        p50        max\n");
    let summaries = trace.summaries();
    for hop in Hop::ALL {
        let asked = summaries.iter().find(|summary| summary.hop == hop);
        match (asked, trace.hop(hop)) {
            (Some(summary), _) => text.push_str(&row(summary, trace.count)),
            (None, State::NotAsked(why)) => {
                text.push_str(&format!("{:<9} not asked: {}\n", hop.name(), printable(why)));
            }
            (None, State::Counted(counted)) => {
                let head = match trace.at_most(hop).filter(|_| !trace.is_late(hop)) {
                    Some(most) => format!("at most {most} of {}", trace.count),
                    None => "late".to_string(),
                };
                text.push_str(&format!("{:<9} {head}: {}\n", hop.name(), counted_text(counted)));
            }
            (None, State::Asked(_)) => {}
        }
    }
    text.push_str(&printable(&verdict.text));
    text.push('\n');
    text
}

fn row(summary: &Summary, count: u32) -> String {
    let Summary { hop, lost, duplicates, .. } = summary;
    let of = format!("{} of {count}", summary.count);
    let time = |time: Option<Duration>| time.map_or("-".to_string(), latency_text);
    format!(
        "{:<9} {of:>9} {:>5} {duplicates:>7} {:>10} {:>10}\n",
        hop.name(),
        lost.len(),
        time(summary.p50),
        time(summary.max)
    )
}

/// `0.8 ms`, `12 ms`, `1.50 s`, `5m12s`
fn latency_text(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 0.01 => format!("{:.1} ms", seconds * 1e3),
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds if seconds < 100.0 => format!("{seconds:.2} s"),
        _ => duration_text(chrono::TimeDelta::seconds(time.as_secs() as i64)),
    }
}

fn document(mark: &Mark, trace: &Trace, verdict: &Verdict) -> Value {
    let summaries = trace.summaries();
    let ms = |time: Option<Duration>| time.map(|time| time.as_micros() as f64 / 1e3);
    let hop = |hop: Hop| match (summaries.iter().find(|one| one.hop == hop), trace.hop(hop)) {
        (Some(one), _) => json!({
            "hop": hop.name(), "asked": true, "records": one.count, "lost": one.lost,
            "duplicates": one.duplicates, "p50_ms": ms(one.p50), "max_ms": ms(one.max),
        }),
        (None, State::Counted(counted)) => json!({
            "hop": hop.name(), "asked": true, "records": trace.at_most(hop),
            "at_most": !trace.is_late(hop), "lost": null, "duplicates": null, "p50_ms": null,
            "max_ms": null,
            "cloudwatch": {
                "since": counted.since_utc.to_rfc3339_opts(SecondsFormat::Secs, true),
                "delivered": counted.delivered, "taken_in": counted.taken_in,
                "success": counted.success, "oldest_s": counted.oldest.map(|age| age.as_secs_f64()),
            },
        }),
        (None, State::NotAsked(why)) => json!({"hop": hop.name(), "asked": false, "reason": why}),
        (None, State::Asked(_)) => Value::Null,
    };
    json!({
        "mark": mark.text(),
        "count": trace.count,
        "complete": verdict.is_complete,
        "lost_at": verdict.lost_at.map(Hop::name),
        "verdict": verdict.text,
        "hops": Hop::ALL.map(hop),
    })
}

fn failed(error: TraceError) -> Error {
    match error {
        TraceError::Interrupted => Error::Interrupted { publishing: false },
        TraceError::Stream(crate::streams::StreamError::Interrupted) => {
            Error::Interrupted { publishing: false }
        }
        TraceError::Job(error) => job_error(error),
        other => Error::failed(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Seen;

    #[test]
    fn latencies_are_as_long_as_they_matter() {
        let text = |ms| latency_text(Duration::from_micros((ms * 1e3) as u64));
        let texts = [0.84, 12.4, 1_500.0, 312_000.0].map(text);
        assert_eq!(texts, ["0.8 ms", "12 ms", "1.50 s", "5m12s"]);
    }

    #[test]
    fn a_table_has_a_line_for_each_hop() {
        let mark = Mark::new(chrono::DateTime::UNIX_EPOCH, 1);
        let mut trace = Trace::new(2);
        let mut seen = Seen::default();
        trace.sent_utc.insert(0, chrono::DateTime::UNIX_EPOCH);
        seen.add(0, chrono::DateTime::from_timestamp_millis(1_200));
        trace.set(Hop::Gateway, State::Asked(seen));
        for hop in &Hop::ALL[1..] {
            trace.set(*hop, State::NotAsked("why".to_string()));
        }
        let verdict = Verdict { is_complete: false, lost_at: None, text: "lost".to_string() };
        let lines = [
            "mark      19700101T000000Z-000000000001",
            "hop         records  lost  copies        p50        max",
            "gateway      1 of 2     1       0     1.20 s     1.20 s",
            "stream    not asked: why",
            "delivery  not asked: why",
            "object    not asked: why",
            "read      not asked: why",
            "lost",
        ];
        assert_eq!(table(&mark, &trace, &verdict).lines().collect::<Vec<_>>(), lines);
    }
}
