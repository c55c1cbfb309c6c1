//! The table of several days with which `fetch` and `sync` end.

use std::time::Duration;

use crate::progress::{count_text, counted, took_text};
use crate::publish::{Manifest, State};

/// What became of a day.
pub enum Done {
    /// It was made; why, where it had been published before.
    Made { took: Duration, why: Option<String> },
    /// It was not made, for this reason.
    Left(String),
    /// It could not be made; the reason was said.
    Failed,
}

/// A line of the table.
pub struct Row {
    pub day: String,
    /// What is published now; `None` where nothing is.
    pub manifest: Option<Manifest>,
    pub done: Done,
}

/// The table, and a line with the sums.
pub fn table(rows: &[Row]) -> String {
    let head = ["day", "records", "objects", "quarantined", "verdict", ""].map(str::to_string);
    let lines: Vec<[String; 6]> = std::iter::once(head).chain(rows.iter().map(line)).collect();
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let mut text = String::new();
    for line in &lines {
        let mut shown = String::new();
        for (at, (cell, width)) in line.iter().zip(widths).enumerate() {
            match at {
                1..=3 => shown.push_str(&format!("{cell:>width$}  ")),
                _ => shown.push_str(&format!("{cell:<width$}  ")),
            }
        }
        text.push_str(shown.trim_end());
        text.push('\n');
    }
    let made = rows.iter().filter(|row| matches!(row.done, Done::Made { .. })).count();
    let records = rows.iter().filter_map(|row| row.manifest.as_ref()).map(|m| m.records.day);
    let failed = rows.iter().filter(|row| matches!(row.done, Done::Failed)).count();
    let failures = if failed == 0 { String::new() } else { format!(", {failed} failed") };
    text.push_str(&format!(
        "{}: {made} made, {} left as they were{failures}; {}\n",
        counted(&count_text(rows.len() as u64), "day"),
        rows.len() - made - failed,
        counted(&count_text(records.sum()), "record")
    ));
    text
}

fn line(row: &Row) -> [String; 6] {
    let done = match &row.done {
        Done::Made { took, why: None } => took_text(*took),
        Done::Made { took, why: Some(why) } => format!("{}: {why}", took_text(*took)),
        Done::Left(why) => why.clone(),
        Done::Failed => "FAILED".to_string(),
    };
    let Some(manifest) = &row.manifest else {
        let none = || "-".to_string();
        return [row.day.clone(), none(), none(), none(), "not published".to_string(), done];
    };
    let verdict = match (manifest.verdict.complete, manifest.verdict.state) {
        (false, _) => "INCOMPLETE",
        (true, State::Final) => "final",
        (true, State::Provisional) => "provisional",
    };
    [
        row.day.clone(),
        count_text(manifest.records.day),
        count_text(manifest.objects.read),
        count_text(manifest.records.quarantined),
        verdict.to_string(),
        done,
    ]
}
