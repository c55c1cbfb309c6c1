//! What one window's job is: everything that decides its result, with real types.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::open::Envelopes;
use super::read::ReadSpec;
use crate::aggregate::{AggregateSpec, Metrics, without_number};
use crate::codec::DecodeLimits;
use crate::json::{Identity, Options, Projection};
use crate::layout::{ErrorOutput, ErrorPrefix, Layout};
use crate::publish::Target;
use crate::schema::Pins;
use crate::store::FetchLimits;
use crate::time::TimeRule;
use crate::window::{Hour, HourRange, Window};

/// Which outputs are published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Export {
    pub records: bool,
    pub aggregates: bool,
    pub chart: bool,
}

/// Whether later copies of records are dropped.
#[derive(Clone, Debug)]
pub struct Dedup {
    /// What makes records the same; `None`: all stay.
    pub identity: Option<Identity>,
    /// For what is known of the records; beyond it the disk is used.
    pub memory_bytes: u64,
}

/// Who says how keys are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LayoutFrom {
    /// Nobody: it is Firehose's own, unless keys of the source say otherwise.
    Default,
    /// Keys of the source.
    Keys,
    User,
}

/// One window's job.
#[derive(Clone, Debug)]
pub struct JobSpec {
    pub window: Window,
    pub look_back: TimeDelta,
    pub look_ahead: TimeDelta,
    /// How keys are made.
    pub layout: Arc<Layout>,
    pub layout_from: LayoutFrom,
    /// Where the stream puts what it can't deliver; `None`: where Firehose does on its own.
    pub error_prefix: Option<ErrorPrefix>,
    /// Which objects hold records in envelopes.
    pub envelopes: Envelopes,
    /// Records that were not delivered are read, too.
    pub recover: bool,
    /// How far the listing may be extended beyond the window.
    pub max_late: TimeDelta,
    pub rule: TimeRule,
    pub pins: Pins,
    /// The pinned types of a file: all columns that are expected.
    pub expected: Option<Pins>,
    pub by: Vec<String>,
    pub metrics: Metrics,
    pub every: TimeDelta,
    pub max_groups: usize,
    pub export: Export,
    pub provenance: bool,
    pub dedup: Dedup,
    pub decode: DecodeLimits,
    pub max_record_bytes: usize,
    pub fetch: FetchLimits,
    /// Threads.
    pub jobs: usize,
    /// How long after its end a day stays provisional.
    pub settle: TimeDelta,
    pub accept_incomplete: bool,
    /// The first hour of the window that is made next, where one is: its objects are kept.
    pub next_from: Option<Hour>,
    pub now_utc: DateTime<Utc>,
    /// Width and height of the picture in pixels; a height of `None` follows from the panels.
    pub picture: (u32, Option<u32>),
    /// Most metrics that are drawn.
    pub panels: usize,
}

impl JobSpec {
    /// The hours that are listed at most, `--max-late` beyond the window and never fewer than
    /// at first.
    pub fn hours_at_most(&self) -> HourRange {
        let back = self.max_late.max(self.look_back);
        let ahead = self.max_late.max(self.look_ahead);
        self.window.hours(back, ahead)
    }

    /// The first hour that is listed at first.
    pub fn first_hour(&self) -> Hour {
        self.window.hours(self.look_back, self.look_ahead).first
    }

    /// What is published: the local day, or the window.
    pub fn target(&self) -> Target {
        Target::of(&self.window)
    }

    /// Which objects of a source with this layout are error output, where they are read.
    pub(super) fn errors(&self, layout: &Layout) -> Option<Arc<ErrorOutput>> {
        let errors = || Arc::new(ErrorOutput::of(layout, self.error_prefix.as_ref()));
        self.recover.then(errors)
    }

    pub(super) fn read_spec(&self, layout: &Arc<Layout>) -> ReadSpec {
        ReadSpec {
            layout: Arc::clone(layout),
            errors: self.errors(layout),
            envelopes: self.envelopes,
            window: Some((self.window.start_us(), self.window.end_us())),
            rule: self.rule.clone(),
            json: Options {
                projection: self.projection(),
                pins: self.pins.clone(),
                time_fields: self.rule.fields().into_iter().map(str::to_string).collect(),
                by: if self.needs_aggregates() { self.by.clone() } else { Vec::new() },
                // Only a run that searches for copies sets it.
                identity: None,
                max_record_bytes: self.max_record_bytes,
            },
            decode: self.decode,
        }
    }

    /// Only the columns that some output needs are materialised.
    pub(super) fn projection(&self) -> Projection {
        match &self.metrics {
            Metrics::Named(names) if !self.export.records => {
                let numbered = names.iter().filter_map(|name| without_number(name));
                let numbered: Vec<String> = numbered.map(str::to_string).collect();
                Projection::Named(names.iter().chain(&self.by).chain(&numbered).cloned().collect())
            }
            _ => Projection::All,
        }
    }

    /// The chart is drawn from the aggregates.
    pub(super) fn needs_aggregates(&self) -> bool {
        self.export.aggregates || self.export.chart
    }

    pub(super) fn aggregate_spec(&self) -> Option<AggregateSpec> {
        self.needs_aggregates().then(|| AggregateSpec {
            start_us: self.window.start_us(),
            end_us: self.window.end_us(),
            every_us: self.every.num_microseconds().unwrap_or(i64::MAX),
            tz: self.window.tz,
            by: self.by.clone(),
            metrics: self.metrics.clone(),
            max_groups: self.max_groups,
        })
    }
}
