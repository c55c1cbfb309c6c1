//! Which zone the prefixes of a bucket are written in, and since when: UTC instants go in, what
//! the clock in a prefix showed comes out, and the other way round.
//!
//! Since 2024 a stream can have a zone of its own for prefix and name, so that the zone can change
//! in the middle of a bucket's history. When exactly it changed is known roughly: within
//! [`CHANGE_MARGIN_S`] of the change both zones count.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, Utc};
use chrono_tz::Tz;

use crate::window::{
    Bound, HourRange, Local, WindowError, local_to_utc, offsets_between, parse_instant, parse_zone,
    start_of_bound,
};

/// How far from a change of the zone keys are looked for in both zones.
pub const CHANGE_MARGIN_S: i64 = 24 * HOUR_S;

const HOUR_S: i64 = 3600;
/// No local time is further from UTC than this.
const FARTHEST_S: i64 = 26 * HOUR_S;

/// The zones of prefixes, each from an instant on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneHistory {
    first: Tz,
    /// As they were typed, ascending by their instants.
    changes: Vec<Change>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Change {
    typed: Bound,
    at_s: i64,
    tz: Tz,
}

/// Why a text is no history of zones.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZonesError {
    #[error(transparent)]
    Window(#[from] WindowError),
    #[error("'{text}' is no zone with the date from which it holds, as 2024-03-01=Asia/Seoul")]
    NoDate { text: String },
    #[error(
        "the first zone holds from the beginning and has no date, as UTC,2024-03-01=Asia/Seoul"
    )]
    FirstHasDate,
    #[error("the dates must ascend: {later} stands before {earlier}")]
    NotAscending { later: String, earlier: String },
}

/// A half-open interval of UTC seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub start_s: i64,
    pub end_s: i64,
}

impl Span {
    pub fn overlaps(self, other: Span) -> bool {
        self.start_s < other.end_s && other.start_s < self.end_s
    }

    fn hull(self, other: Span) -> Span {
        Span { start_s: self.start_s.min(other.start_s), end_s: self.end_s.max(other.end_s) }
    }

    /// The smallest span that holds both, where there are two.
    pub fn join(one: Option<Span>, other: Option<Span>) -> Option<Span> {
        match (one, other) {
            (Some(one), Some(other)) => Some(one.hull(other)),
            (one, other) => one.or(other),
        }
    }

    pub fn of_hours(hours: &HourRange) -> Span {
        let (first, last) = (hours.first.start(), hours.last.start());
        Span { start_s: first.timestamp(), end_s: last.timestamp() + HOUR_S }
    }
}

/// Seconds in which a zone has one offset.
struct Piece {
    span: Span,
    offset_s: i64,
}

impl ZoneHistory {
    pub fn of(tz: Tz) -> ZoneHistory {
        ZoneHistory { first: tz, changes: Vec::new() }
    }

    /// True where nothing but UTC ever held.
    pub fn is_utc(&self) -> bool {
        *self == ZoneHistory::of(Tz::UTC)
    }

    /// The zone, where it never changed.
    pub fn only(&self) -> Option<Tz> {
        self.changes.is_empty().then_some(self.first)
    }

    /// The zones with the seconds in which they hold.
    fn periods(&self) -> impl Iterator<Item = (Span, Tz)> + '_ {
        let starts = [i64::MIN].into_iter().chain(self.changes.iter().map(|change| change.at_s));
        let ends = self.changes.iter().map(|change| change.at_s).chain([i64::MAX]);
        let zones = [self.first].into_iter().chain(self.changes.iter().map(|change| change.tz));
        starts.zip(ends).zip(zones).map(|((start_s, end_s), tz)| (Span { start_s, end_s }, tz))
    }

    /// The pieces of `span` in each zone that may hold there, in no order.
    fn pieces(&self, span: Span) -> impl Iterator<Item = Piece> + '_ {
        self.periods().flat_map(move |(period, tz)| {
            let from_s = span.start_s.max(period.start_s.saturating_sub(CHANGE_MARGIN_S));
            let until_s = span.end_s.min(period.end_s.saturating_add(CHANGE_MARGIN_S));
            let offsets = match (from_s < until_s, tz) {
                (false, _) => Vec::new(),
                (true, Tz::UTC) => vec![(from_s, 0)],
                (true, tz) => offsets_between(from_s, until_s, tz),
            };
            let ends: Vec<i64> =
                offsets.iter().skip(1).map(|(start_s, _)| *start_s).chain([until_s]).collect();
            offsets.into_iter().zip(ends).map(|((start_s, offset_s), end_s)| Piece {
                span: Span { start_s, end_s },
                offset_s,
            })
        })
    }

    /// The beginnings of all hours that a clock in a prefix may show within `span`.
    pub fn local_hours(&self, span: Span) -> BTreeSet<NaiveDateTime> {
        let mut hours = BTreeSet::new();
        for Piece { span, offset_s } in self.pieces(span).filter(|p| p.span.start_s < p.span.end_s)
        {
            let first = (span.start_s + offset_s).div_euclid(HOUR_S);
            let last = (span.end_s - 1 + offset_s).div_euclid(HOUR_S);
            hours.extend((first..=last).filter_map(|hour| naive(hour * HOUR_S)));
        }
        hours
    }

    /// The smallest span that holds every instant at which a clock in a prefix may show a time of
    /// `from..until`. `None` where no clock ever shows one.
    pub fn span_of(&self, from: NaiveDateTime, until: NaiveDateTime) -> Option<Span> {
        let (from_s, until_s) = (from.and_utc().timestamp(), until.and_utc().timestamp());
        let around = |start_s: i64, end_s: i64| {
            let reach = Span { start_s: start_s - FARTHEST_S, end_s: end_s + FARTHEST_S };
            let spans = self.pieces(reach).filter_map(move |Piece { span, offset_s }| {
                let start_s = span.start_s.max(from_s - offset_s);
                let end_s = span.end_s.min(until_s - offset_s);
                (start_s < end_s).then_some(Span { start_s, end_s })
            });
            spans.reduce(Span::hull)
        };
        if until_s - from_s <= 2 * FARTHEST_S {
            return around(from_s, until_s);
        }
        // Of months and years only the two ends are looked at closely.
        let start_s = around(from_s, from_s).map_or(from_s - FARTHEST_S, |span| span.start_s);
        let end_s = around(until_s, until_s).map_or(until_s + FARTHEST_S, |span| span.end_s);
        Some(Span { start_s, end_s })
    }

    /// The instant that a time in a prefix or a name means: the first one, where a clock showed it
    /// twice.
    pub fn instant_of(&self, local: NaiveDateTime) -> DateTime<Utc> {
        let mut otherwise = None;
        for (period, tz) in self.periods() {
            let (first, second) = match local_to_utc(local, tz) {
                Local::Once(utc) => (Some(utc), None),
                Local::Twice { first, second } => (Some(first), Some(second)),
                Local::Never { .. } => (None, None),
            };
            for utc in [first, second].into_iter().flatten() {
                if (period.start_s..period.end_s).contains(&utc.timestamp()) {
                    return utc;
                }
                otherwise.get_or_insert(utc);
            }
        }
        // Right beside a change, a clock shows what the sharp history does not know.
        otherwise.unwrap_or_else(|| local.and_utc())
    }
}

fn naive(at_s: i64) -> Option<NaiveDateTime> {
    DateTime::from_timestamp(at_s, 0).map(|at| at.naive_utc())
}

impl FromStr for ZoneHistory {
    type Err = ZonesError;

    /// Reads `Asia/Seoul`, or `UTC,2024-03-01=Asia/Seoul,2025-01-01T09:00=Europe/Berlin`. Dates and
    /// times are local ones of the zone that begins.
    fn from_str(text: &str) -> Result<Self, ZonesError> {
        let mut entries = text.split(',').map(str::trim);
        let first = entries.next().unwrap_or_default();
        if first.contains('=') {
            return Err(ZonesError::FirstHasDate);
        }
        let mut changes: Vec<Change> = Vec::new();
        let first = parse_zone(first)?;
        for entry in entries {
            let (from, zone) = entry
                .split_once('=')
                .ok_or_else(|| ZonesError::NoDate { text: entry.to_string() })?;
            let (typed, tz) = (parse_instant(from.trim())?, parse_zone(zone.trim())?);
            let at_s = start_of_bound(typed, tz)?.timestamp();
            if let Some(before) = changes.last().filter(|before| before.at_s >= at_s) {
                return Err(ZonesError::NotAscending {
                    later: before.typed.to_string(),
                    earlier: typed.to_string(),
                });
            }
            changes.push(Change { typed, at_s, tz });
        }
        Ok(ZoneHistory { first, changes })
    }
}

impl fmt::Display for ZoneHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.first.name())?;
        for Change { typed, tz, .. } in &self.changes {
            write!(f, ",{typed}={}", tz.name())?;
        }
        Ok(())
    }
}
