//! What a run did, for a person with ten seconds: plain numbers go in, text comes out.
//!
//! The first line says whether the day can be used. Everything that was skipped is named or
//! counted with its reason; what went as it should takes a word.

use std::fmt::Write as _;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;

use super::number::{bytes_text, count_text, counted};
use crate::config::value::duration_text;
use crate::error::printable;
use crate::window::describe_length;

/// The numbers of one day (or window), as the manifest has them.
#[derive(Clone, Debug)]
pub struct Summary {
    pub window: WindowShown,
    pub objects: Objects,
    pub records: Records,
    pub verdict: Verdict,
    /// Objects and prefixes that could not be read, each with its reason.
    pub failed: Vec<Counted>,
    pub quarantine: Vec<Quarantined>,
    /// Records by what gave their time: `ts`, `name of the object`.
    pub time_sources: Vec<Counted>,
    /// Listed UTC hours without any object.
    pub empty_hours: Vec<DateTime<Utc>>,
    /// Set where nothing was found: where objects are instead.
    pub nearest: Option<Nearest>,
    /// Envelopes that records were taken out of.
    pub opened: Option<String>,
    /// Further lines, each a sentence.
    pub notes: Vec<String>,
    /// What was published before in the same place, where this replaced it.
    pub replaced: Option<String>,
    pub files: Files,
    pub took: Duration,
}

#[derive(Clone, Debug)]
pub struct WindowShown {
    /// `None` for a window that is no whole day.
    pub date: Option<NaiveDate>,
    pub tz: Tz,
    pub start_utc: DateTime<Utc>,
    /// Not included.
    pub end_utc: DateTime<Utc>,
}

/// listed = read + failed + excluded.
#[derive(Clone, Default, Debug)]
pub struct Objects {
    pub listed: u64,
    pub read: u64,
    pub failed: u64,
    /// By reason.
    pub excluded: Vec<Counted>,
    /// As stored, of the objects that were read.
    pub stored_bytes: u64,
    /// Names that don't follow Firehose's pattern; their hour's folder gives the time.
    pub unparsed_names: u64,
}

/// Records that were parsed, and those that could not be.
#[derive(Clone, Default, Debug)]
pub struct Records {
    pub day: u64,
    pub before: u64,
    pub after: u64,
    pub duplicates: u64,
    pub quarantined: u64,
}

/// Something and how often; `count` 0 is not shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Counted {
    pub what: String,
    pub count: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quarantined {
    pub reason: String,
    pub records: u64,
    /// The first few, as `key:offset`.
    pub places: Vec<String>,
}

/// Prefixes that hold objects, where the window's hold none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Nearest {
    /// The source as it was read.
    pub source: String,
    pub first_listed: String,
    pub last_listed: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    Final,
    /// Why, each a phrase: `it is 40m since the day ended`.
    Provisional(Vec<String>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Files {
    Published(Vec<Written>),
    /// Why not, as a sentence; what was published before is as it was.
    Withheld(String),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// Relative to `--out`, or whole: as it shall be shown.
    pub path: String,
    pub bytes: u64,
}

/// How long work took: `0.42 s`, `1h12m`.
pub fn took_text(took: Duration) -> String {
    match took.as_secs_f64() {
        s if s < 10.0 => format!("{s:.2} s"),
        s if s < 120.0 => format!("{s:.1} s"),
        s => duration_text(TimeDelta::seconds(s.round() as i64)),
    }
}

impl Summary {
    /// True where there is more to say than counts.
    pub fn says_more(&self) -> bool {
        !self.notes.is_empty() || self.nearest.is_some()
    }

    /// True where an object, a prefix or a record was skipped: exit code 3.
    pub fn skipped_something(&self) -> bool {
        self.objects.failed > 0 || !self.failed.is_empty() || self.records.quarantined > 0
    }

    /// The text, lines ended by `\n`; names from the source are made safe for a terminal.
    pub fn text(&self) -> String {
        let mut page = Page::default();
        page.line(&self.headline());
        page.row("window", &self.window.local());
        page.row("", &self.window.utc());
        page.row("records", &self.records_line());
        for source in self.time_sources.iter().filter(|source| source.count > 0) {
            let count = count_text(source.count);
            page.row("time", &format!("from {} in {}", source.what, counted(&count, "record")));
        }
        page.row("objects", &self.objects_line());
        if let Some(opened) = &self.opened {
            page.row("opened", opened);
        }
        self.rows_about_gaps(&mut page);
        self.rows_about_losses(&mut page);
        for note in &self.notes {
            page.row("note", note);
        }
        if let Some(before) = &self.replaced {
            let now = counted(&count_text(self.records.day), "record");
            let what = self.what();
            page.row("replaces", &format!("the {what} published before: {before} → {now}"));
        }
        self.rows_about_files(&mut page);
        page.row("took", &self.speed());
        page.text
    }

    fn headline(&self) -> String {
        let mut words = vec![
            match (self.skipped_something(), self.records.day) {
                (true, _) => "INCOMPLETE",
                (false, 0) => "no records",
                (false, _) => "complete",
            }
            .to_string(),
        ];
        if self.objects.failed > 0 {
            words.push(format!("{} failed", counted(&count_text(self.objects.failed), "object")));
        }
        if self.records.quarantined > 0 {
            let quarantined = count_text(self.records.quarantined);
            words.push(format!("{} quarantined", counted(&quarantined, "place")));
        }
        match &self.verdict {
            Verdict::Final => words.push("final".to_string()),
            Verdict::Provisional(why) if why.is_empty() => {
                words.push("provisional: input was skipped".to_string());
            }
            Verdict::Provisional(why) => words.push(format!("provisional: {}", why.join("; "))),
        }
        format!("{}: {}", self.window.name(), words.join(", "))
    }

    fn what(&self) -> &'static str {
        if self.window.date.is_some() { "day" } else { "window" }
    }

    fn records_line(&self) -> String {
        let records = &self.records;
        let what = self.what();
        let mut line = format!("{} of the {what}", count_text(records.day));
        let left_out = [
            (records.before, "before it"),
            (records.after, "after it"),
            (records.duplicates, if records.duplicates == 1 { "duplicate" } else { "duplicates" }),
        ];
        let left_out: Vec<String> = (left_out.iter().filter(|(count, _)| *count > 0))
            .map(|(count, what)| format!("{} {what}", count_text(*count)))
            .collect();
        if !left_out.is_empty() {
            let _ = write!(line, "; left out: {}", left_out.join(", "));
        }
        line
    }

    fn objects_line(&self) -> String {
        let objects = &self.objects;
        if objects.listed == 0 {
            return "none".to_string();
        }
        let mut line = format!("{} read", count_text(objects.read));
        if objects.read != objects.listed {
            let _ = write!(line, " of {} listed", count_text(objects.listed));
        }
        let _ = write!(line, ", {}", bytes_text(objects.stored_bytes));
        for excluded in objects.excluded.iter().filter(|excluded| excluded.count > 0) {
            let _ = write!(line, "; {} left out: {}", count_text(excluded.count), excluded.what);
        }
        line
    }

    fn rows_about_gaps(&self, page: &mut Page) {
        if let Some(nearest) = &self.nearest {
            let Nearest { source, first_listed, last_listed, before, after } = nearest;
            page.row("listed", &format!("{first_listed} to {last_listed} below {source}"));
            let ends = [("before", before), ("after", after)];
            let found = ends
                .iter()
                .filter_map(|(end, at)| at.as_ref().map(|at| format!("{at} {end} the day")));
            page.row("nearest", &found.collect::<Vec<_>>().join(", "));
        } else if !self.empty_hours.is_empty() {
            let count = count_text(self.empty_hours.len() as u64);
            let hours = runs_of_hours(&self.empty_hours);
            page.row("gaps", &format!("{} without objects: {hours} UTC", counted(&count, "hour")));
        }
        if self.objects.unparsed_names > 0 {
            let count = counted(&count_text(self.objects.unparsed_names), "object");
            page.row(
                "names",
                &format!("{count} not named as Firehose names them; read all the same"),
            );
        }
    }

    fn rows_about_losses(&self, page: &mut Page) {
        const SHOWN: usize = 10;
        for failed in self.failed.iter().take(SHOWN) {
            page.row("failed", &failed.what);
        }
        if let Some(more) = self.failed.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            page.row("", &format!("and {} more, in the manifest", count_text(more as u64)));
        }
        for quarantined in &self.quarantine {
            let count = counted(&count_text(quarantined.records), "place");
            page.row("bad", &format!("{count}: {}", quarantined.reason));
            for place in &quarantined.places {
                page.row("", &format!("  {place}"));
            }
            let named = quarantined.places.len() as u64;
            if named > 0 && named < quarantined.records {
                page.row("", &format!("  and {} more", count_text(quarantined.records - named)));
            }
        }
    }

    fn rows_about_files(&self, page: &mut Page) {
        match &self.files {
            Files::Published(files) => {
                let widest = files.iter().map(|file| file.path.chars().count()).max().unwrap_or(0);
                for file in files {
                    let bytes = bytes_text(file.bytes);
                    page.row("written", &format!("{:widest$}  {bytes:>9}", file.path));
                }
            }
            Files::Withheld(why) => page.row("written", &format!("nothing: {why}")),
        }
    }

    fn speed(&self) -> String {
        let seconds = self.took.as_secs_f64();
        let bytes = self.objects.stored_bytes;
        let time = took_text(self.took);
        if bytes == 0 || seconds <= 0.0 {
            return time;
        }
        format!("{time}, {}/s", bytes_text((bytes as f64 / seconds) as u64))
    }
}

impl WindowShown {
    fn name(&self) -> String {
        match self.date {
            Some(date) => format!("{date} in {}", self.tz),
            None => {
                let local = |at: DateTime<Utc>| at.with_timezone(&self.tz).format("%Y-%m-%d %H:%M");
                let (from, to) = (local(self.start_utc), local(self.end_utc));
                format!("{from} to {to} in {}", self.tz)
            }
        }
    }

    fn local(&self) -> String {
        let local = |at: DateTime<Utc>| at.with_timezone(&self.tz).format("%Y-%m-%d %H:%M:%S%:z");
        let length = describe_length(self.end_utc - self.start_utc);
        format!("{} to {}, {length}", local(self.start_utc), local(self.end_utc))
    }

    fn utc(&self) -> String {
        let utc = |at: DateTime<Utc>| at.format("%Y-%m-%d %H:%M:%SZ").to_string();
        format!("{}      to {}", utc(self.start_utc), utc(self.end_utc))
    }
}

/// A label in the margin, written once for rows that share it.
#[derive(Default)]
struct Page {
    text: String,
    label: String,
}

impl Page {
    fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "{}", printable(line));
    }

    fn row(&mut self, label: &str, line: &str) {
        let shown = if label == self.label { "" } else { label };
        let _ = writeln!(self.text, "  {shown:8}  {}", printable(line));
        if !label.is_empty() {
            self.label = label.to_string();
        }
    }
}

/// `04-17 15h to 18h, 04-18 02h`: neighbouring hours drawn together, eight runs at most.
fn runs_of_hours(hours: &[DateTime<Utc>]) -> String {
    const SHOWN: usize = 8;
    let mut runs: Vec<(DateTime<Utc>, DateTime<Utc>)> = Vec::new();
    for &hour in hours {
        match runs.last_mut() {
            Some((_, last)) if hour - *last == TimeDelta::hours(1) => *last = hour,
            _ => runs.push((hour, hour)),
        }
    }
    let more = runs.len().saturating_sub(SHOWN);
    let shown = runs.iter().take(SHOWN).map(|(first, last)| match first == last {
        true => first.format("%m-%d %H:00").to_string(),
        false => {
            let end = *last + TimeDelta::minutes(59);
            format!("{} to {}", first.format("%m-%d %H:00"), end.format("%m-%d %H:%M"))
        }
    });
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if more > 0 {
        let _ = write!(text, ", and {more} more gaps");
    }
    text
}

/// `1 record`, `2 records`.
#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    fn clean() -> Summary {
        let written = |path: &str, bytes| Written { path: path.to_string(), bytes };
        Summary {
            window: WindowShown {
                date: NaiveDate::from_ymd_opt(2022, 4, 18),
                tz: Tz::Asia__Seoul,
                start_utc: Utc.with_ymd_and_hms(2022, 4, 17, 15, 0, 0).unwrap(),
                end_utc: Utc.with_ymd_and_hms(2022, 4, 18, 15, 0, 0).unwrap(),
            },
            objects: Objects {
                listed: 156,
                read: 156,
                stored_bytes: 750_300_000,
                ..Objects::default()
            },
            records: Records {
                day: 3_089_881,
                before: 60_001,
                after: 60_110,
                ..Records::default()
            },
            verdict: Verdict::Final,
            failed: Vec::new(),
            quarantine: Vec::new(),
            time_sources: vec![Counted { what: "ts".into(), count: 3_089_881 }],
            empty_hours: Vec::new(),
            nearest: None,
            opened: None,
            notes: Vec::new(),
            replaced: None,
            files: Files::Published(vec![
                written("out/records/local_date=2022-04-18/part-00000.parquet", 88_123_456),
                written("out/aggregates/daily/local_date=2022-04-18/part-00000.parquet", 4_321),
                written("out/manifests/2022-04-18.json", 9_876),
            ]),
            took: Duration::from_millis(610),
        }
    }

    #[test]
    fn a_clean_day_is_said_in_a_few_lines() {
        insta::assert_snapshot!(clean().text());
    }

    #[test]
    fn a_damaged_day_names_what_was_lost_first() {
        let mut damaged = clean();
        damaged.objects = Objects {
            listed: 158,
            read: 155,
            failed: 1,
            excluded: vec![Counted { what: "a folder marker".into(), count: 2 }],
            stored_bytes: 748_000_000,
            unparsed_names: 4,
        };
        damaged.records.quarantined = 3;
        damaged.verdict = Verdict::Provisional(Vec::new());
        damaged.failed = vec![Counted {
            what: "2022/04/17/15/study-stream-1-2022-04-17-15-00-03-a.gz: \
                the gzip member contradicts its checksum"
                .into(),
            count: 1,
        }];
        damaged.quarantine = vec![Quarantined {
            reason: "invalid UTF-8".into(),
            records: 3,
            places: vec!["2022/04/17/16/evil\x1b[2J.gz:10432".into(), "2022/04/17/17/b:0".into()],
        }];
        damaged.time_sources.push(Counted { what: "the object's name".into(), count: 12 });
        damaged.empty_hours = [0, 1, 2, 5]
            .map(|hour| Utc.with_ymd_and_hms(2022, 4, 18, hour, 0, 0).unwrap())
            .to_vec();
        damaged.files = Files::Withheld(
            "the day is published already, and this run is incomplete (--accept-incomplete)".into(),
        );
        assert!(damaged.skipped_something());
        insta::assert_snapshot!(damaged.text());
    }

    #[test]
    fn an_empty_day_says_where_objects_are() {
        let mut empty = clean();
        empty.objects = Objects::default();
        empty.records = Records::default();
        empty.time_sources.clear();
        empty.nearest = Some(Nearest {
            source: "s3://team-events/rawdata/".into(),
            first_listed: "2022/04/17/14/".into(),
            last_listed: "2022/04/18/15/".into(),
            before: Some("2022/04/12/23/".into()),
            after: Some("2022/05/01/00/".into()),
        });
        empty.took = Duration::from_millis(42);
        insta::assert_snapshot!(empty.text());
    }

    #[test]
    fn a_day_that_is_replaced_is_told_with_its_numbers() {
        let summary = Summary { replaced: Some("5,079 records, complete".into()), ..clean() };
        let line =
            "  replaces  the day published before: 5,079 records, complete → 3,089,881 records";
        assert!(summary.text().contains(line), "{}", summary.text());
    }
}
