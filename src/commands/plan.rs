//! `rawcat plan`: what `fetch` would list and read; no object is downloaded.

use std::io::Write;

use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::windows::{
    fetch_spec, job_error, json_text, nothing_found, open_raw, take_layout, windows,
};
use crate::config::FetchConfig;
use crate::error::{Error, ExitCode, Interrupt, printable, say};
use crate::job::{self, Excluded, JobSpec, Plan};
use crate::layout;
use crate::progress::{Mode, Progress, bytes_text, count_text, counted};
use crate::window::{Hour, HourRange};

/// Prints the plan of every selected window.
pub fn plan(config: &FetchConfig, interrupt: &Interrupt) -> Result<ExitCode, Error> {
    let windows = windows(&config.days)?;
    let alone = windows.len() == 1;
    let raw = open_raw(&config.input)?;
    let mut code = ExitCode::Complete;
    let specs = windows.into_iter().map(|window| fetch_spec(config, &raw, window));
    let mut specs = specs.collect::<Result<Vec<JobSpec>, Error>>()?;
    for at in 0..specs.len() {
        interrupt.check()?;
        let spec = &specs[at];
        let progress = Progress::new(if config.json { Mode::Quiet } else { config.mode });
        let plan = job::plan(spec, &raw.source, &raw.store, &progress).map_err(job_error);
        progress.finish();
        let plan = plan?;
        let failed = plan.prefixes.iter().any(|prefix| prefix.failure.is_some());
        if failed {
            code = ExitCode::Skipped;
        }
        let text = match config.json {
            true => json_text(&to_json(spec, &raw.source, &plan), alone),
            false => to_text(spec, &raw.source, &plan),
        };
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Error::stdout)?;
        if plan.objects.is_empty() && !failed {
            say(&format!("rawcat: {}", nothing_found("objects", &spec.window, plan.nearest)));
        }
        let inferred = plan.inferred.then_some(plan.layout);
        take_layout(&mut specs, at, &inferred, config.mode == Mode::Quiet);
    }
    Ok(code)
}

fn utc(hour: Hour) -> String {
    hour.start().to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn hours_text(hours: &HourRange) -> String {
    let text = |hour: Hour| hour.start().format("%Y-%m-%d %H").to_string();
    format!("{} to {}", text(hours.first), text(hours.last))
}

fn hours_json(hours: &HourRange) -> Value {
    json!({ "first_hour": utc(hours.first), "last_hour": utc(hours.last), "hours": hours.len() })
}

fn to_json(spec: &JobSpec, source: &str, plan: &Plan) -> Value {
    let window = &spec.window;
    let instant =
        |at: chrono::DateTime<chrono::Utc>| at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    let prefixes: Vec<Value> = plan
        .prefixes
        .iter()
        .map(|prefix| {
            json!({
                "prefix": prefix.prefix,
                "objects": prefix.objects,
                "bytes": prefix.bytes,
                "error": prefix.failure.as_ref().map(|failure| &failure.reason),
            })
        })
        .collect();
    let objects: Vec<Value> = plan
        .objects
        .iter()
        .map(|object| json!({ "key": object.key, "bytes": object.bytes, "etag": object.etag }))
        .collect();
    let excluded: Vec<Value> = plan
        .excluded
        .iter()
        .map(|(reason, excluded)| {
            let Excluded { objects, examples } = excluded;
            json!({ "reason": reason, "objects": objects, "examples": examples })
        })
        .collect();
    json!({
        "window": {
            "date": window.date.map(|date| date.to_string()),
            "tz": window.tz.name(),
            "start_utc": instant(window.start_utc),
            "end_utc": instant(window.end_utc),
        },
        "source": source,
        "layout": plan.layout.prefix().to_string(),
        "layout_inferred": plan.inferred,
        "prefix_tz": plan.layout.zones().to_string(),
        "listing": hours_json(&plan.hours),
        "listing_max": hours_json(&plan.hours_at_most),
        "prefixes": prefixes,
        "objects": objects,
        "excluded": excluded,
        "nearest": plan.nearest.map(|(before, after)| json!({
            "before": before.map(layout::prefix_of),
            "after": after.map(layout::prefix_of),
        })),
        "bytes": plan.bytes,
        "requests": plan.requests,
    })
}

fn to_text(spec: &JobSpec, source: &str, plan: &Plan) -> String {
    let window = &spec.window;
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        text.push_str(&format!("{name:<9} {}\n", printable(&value)));
    };
    row("window", format!("{} {}", window.describe(), window.tz.name()));
    row("source", source.to_string());
    if !plan.layout.is_hourly_utc() {
        let how = if plan.inferred { ", as its keys show" } else { "" };
        row("layout", format!("{} in {}{how}", plan.layout.prefix(), plan.layout.zones()));
    }
    row("listing", format!("UTC hours {} ({} hours)", hours_text(&plan.hours), plan.hours.len()));
    row(
        "at most",
        format!("{}, while the outermost hour holds records", hours_text(&plan.hours_at_most)),
    );
    for prefix in &plan.prefixes {
        let content = match (&prefix.failure, prefix.objects) {
            (Some(failure), _) => failure.reason.clone(),
            (None, 0) => "no objects".to_string(),
            (None, objects) => {
                let objects = counted(&count_text(objects), "object");
                format!("{objects:>15}  {:>9}", bytes_text(prefix.bytes))
            }
        };
        row("", format!("{}  {content}", prefix.prefix));
    }
    for (reason, excluded) in &plan.excluded {
        row("left out", format!("{}: {reason}", counted(&count_text(excluded.objects), "object")));
    }
    row(
        "to read",
        format!(
            "{}, {}, {} in all",
            counted(&count_text(plan.objects.len() as u64), "object"),
            bytes_text(plan.bytes),
            counted(&count_text(plan.requests), "request")
        ),
    );
    if let Some((before, after)) = plan.nearest {
        let place = |hour: Option<Hour>| hour.map_or("none".to_string(), layout::prefix_of);
        row("nearest", format!("objects before: {}; after: {}", place(before), place(after)));
    }
    text
}
