//! The one place that spells and parses keys and prefixes of objects.
//!
//! A layout is how a bucket's keys are made: a prefix expression and the zone of its times. Hours go
//! in and the prefixes to list come out; keys go in and what they say about their object comes out.
//! A key is hostile text: nothing here panics on one, and no name on disk is ever made from one.
//! All keys and prefixes are relative to the root of the source.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};

use crate::window::HourRange;

mod errors;
mod exclusion;
mod expression;
mod hours;
mod infer;
mod name;
mod pattern;
mod reading;
mod spelling;
mod text;
mod writing;
mod zones;

pub use errors::{ErrorOutput, ErrorPrefix, RECOVERED};
pub use exclusion::Exclusion;
pub use expression::{Expression, KeyBy, LayoutError, Part};
pub use hours::{hour_of_prefix, hours_of_folder, parents_of, prefix_of};
pub use infer::{Inferred, infer};
pub use name::{NameProblem, ObjectName};
pub use pattern::{Field, Item, Unit};
pub use spelling::{Grain, Spelled, Step, prefixes_of};
pub use text::escape_control;
pub use writing::{KeyProblem, Named, Naming, check_key};
pub use zones::{CHANGE_MARGIN_S, Span, ZoneHistory, ZonesError};

use exclusion::is_hidden;
use reading::{Cell, Reading, Token, tokens};

/// What stands in front of the names of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// Nothing: an object's time stands in its name alone.
    Flat,
    /// A Firehose stream's prefix, as it is configured.
    Of(Expression),
}

impl Prefix {
    const FLAT: &str = "flat";

    /// The folders that every key begins with: `logs/app/` of `logs/app/x-!{timestamp:yyyy}/`.
    pub fn literal_folders(&self) -> &str {
        match self {
            Prefix::Flat => "",
            Prefix::Of(expression) => {
                let lead = expression.literal_lead();
                &lead[..lead.rfind('/').map_or(0, |at| at + 1)]
            }
        }
    }

    /// The expressions that keys are made of, the likeliest first.
    ///
    /// Firehose appends hours to a prefix without expressions. Whether it does so behind one that
    /// has expressions but no time is not documented: both are read.
    fn forms(&self) -> Vec<Expression> {
        match self {
            Prefix::Flat => vec![Expression { parts: Vec::new() }],
            Prefix::Of(expression) if expression.has_time() => vec![expression.clone()],
            Prefix::Of(expression) if expression.is_literal() => {
                vec![expression.with_automatic_suffix()]
            }
            Prefix::Of(expression) => {
                vec![expression.with_automatic_suffix(), expression.clone()]
            }
        }
    }
}

impl FromStr for Prefix {
    type Err = LayoutError;

    /// Reads `flat`, or a prefix expression.
    fn from_str(text: &str) -> Result<Self, LayoutError> {
        match text {
            Prefix::FLAT => Ok(Prefix::Flat),
            text => text.parse().map(Prefix::Of),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Prefix::Flat => f.write_str(Prefix::FLAT),
            Prefix::Of(expression) => expression.fmt(f),
        }
    }
}

/// How the keys of a source are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    prefix: Prefix,
    zones: ZoneHistory,
    forms: Vec<Vec<Token>>,
    partition_keys: Vec<String>,
    /// Keys that begin so are error output.
    error_lead: Option<String>,
}

impl Default for Layout {
    /// `yyyy/MM/dd/HH/` in UTC, which Firehose gives where nothing is configured.
    fn default() -> Self {
        Layout::new(Prefix::Of(Expression::hourly()), ZoneHistory::of(chrono_tz::UTC))
    }
}

/// What a key says about its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// When the object was begun.
    pub place: Place,
    /// The object's time, for records that have none, and where it was found: in the name, else
    /// the start of the hour in the prefix.
    pub time: Option<(DateTime<Utc>, KeyTime)>,
    /// The last part of the key, or what is wrong with it.
    pub name: Result<ObjectName, NameProblem>,
    /// The values of the layout's partition keys, in their order; empty for a key that is not under
    /// a prefix of the layout.
    pub partition: Vec<String>,
}

/// When an object was begun, as far as its key tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The instants at which it may have been; `None` where the key tells nothing.
    pub span: Option<Span>,
    /// Known to a day or worse.
    pub is_coarse: bool,
}

/// Which part of the key an object's time was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyTime {
    /// The time in the name, to the second.
    Name,
    /// The start of the prefix hour.
    Hour,
}

impl Place {
    const UNKNOWN: Place = Place { span: None, is_coarse: true };

    /// True where the object may have been begun in these hours.
    pub fn may_be_in(self, hours: Span) -> bool {
        self.span.is_none_or(|span| span.overlaps(hours))
    }

    /// True where it was begun in these hours or close by: what it holds says something about them.
    pub fn tells_of(self, hours: Span) -> bool {
        !self.is_coarse && self.may_be_in(hours)
    }

    /// What holds both.
    fn join(self, other: Place) -> Place {
        match (self.span, other.span) {
            (Some(one), Some(two)) => Place {
                span: Span::join(Some(one), Some(two)),
                is_coarse: self.is_coarse || other.is_coarse,
            },
            _ => Place::UNKNOWN,
        }
    }
}

/// How well a key follows the layout.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    /// A name right behind a prefix.
    Right,
    /// Folders stand between.
    Below,
    Not,
}

impl Layout {
    pub fn new(prefix: Prefix, zones: ZoneHistory) -> Layout {
        let forms = prefix.forms();
        Layout {
            partition_keys: match &prefix {
                Prefix::Flat => Vec::new(),
                Prefix::Of(expression) => expression.partition_keys().map(str::to_string).collect(),
            },
            forms: forms.iter().map(tokens).collect(),
            prefix,
            zones,
            error_lead: None,
        }
    }

    /// The layout of a stream, by its own settings. An empty prefix is Firehose's default.
    ///
    /// # Errors
    /// [`LayoutError`] for a prefix that is not read.
    pub fn of_stream(
        prefix: &str,
        error_prefix: Option<&str>,
        zones: ZoneHistory,
    ) -> Result<Layout, LayoutError> {
        let expression = match prefix {
            "" => Expression::hourly(),
            prefix => prefix.parse()?,
        };
        let lead = error_prefix.and_then(|prefix| prefix.split("!{").next()).unwrap_or_default();
        Ok(Layout::new(Prefix::Of(expression), zones).with_error_lead(lead))
    }

    /// Keys that begin so are error output, unless those of data do, too.
    pub fn with_error_lead(mut self, lead: &str) -> Layout {
        let of_data = match &self.prefix {
            Prefix::Flat => "",
            Prefix::Of(expression) => expression.literal_lead(),
        };
        let tells = !lead.is_empty() && !of_data.starts_with(lead);
        self.error_lead = tells.then(|| lead.to_string());
        self
    }

    /// The same prefix, with other zones.
    pub fn in_zones(self, zones: ZoneHistory) -> Layout {
        Layout { zones, ..self }
    }

    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    pub fn zones(&self) -> &ZoneHistory {
        &self.zones
    }

    /// The names of the partition keys, in the order of [`KeyInfo::partition`].
    pub fn partition_keys(&self) -> &[String] {
        &self.partition_keys
    }

    /// True for `yyyy/MM/dd/HH/` in UTC.
    pub fn is_hourly_utc(&self) -> bool {
        self.prefix == Prefix::Of(Expression::hourly()) && self.zones.is_utc()
    }

    /// The prefixes of these hours, as far as they follow from the hours alone.
    pub fn spell(&self, hours: &HourRange, grain: Grain) -> BTreeSet<Spelled> {
        let local = self.zones.local_hours(Span::of_hours(hours));
        // Of two forms, what the second spells is what the first begins with.
        let tokens = self.forms.last().expect("a layout has a form");
        spelling::spell(tokens, local, grain)
    }

    /// Reads a key such as `2022/04/17/15/study-stream-1-2022-04-17-15-00-03-<uuid>.gz`.
    pub fn read(&self, key: &str) -> KeyInfo {
        let (fit, readings, all) = self.readings(key);
        let rest = readings.first().map_or(key, |reading| reading.rest);
        let name: Result<ObjectName, NameProblem> = rest.rsplit('/').next().unwrap_or(rest).parse();
        let cells = readings.iter().filter_map(|reading| reading.cell().ok());
        let place = cells.clone().map(|cell| self.place(cell, &name)).reduce(Place::join);
        let fine = cells.clone().flatten().find(|cell| !cell.is_coarse);
        let time = match (&name, fine) {
            (Ok(name), _) => Some((self.zones.instant_of(name.time_local), KeyTime::Name)),
            (Err(_), Some(cell)) => Some((self.zones.instant_of(cell.from), KeyTime::Hour)),
            (Err(_), None) => None,
        };
        let values = readings.first().filter(|_| fit == Fit::Right).map(|reading| &reading.values);
        KeyInfo {
            // A way that was not tried may be the right one.
            place: place.filter(|_| all).unwrap_or(Place::UNKNOWN),
            time,
            name,
            partition: values.into_iter().flatten().map(|value| value.to_string()).collect(),
        }
    }

    /// The ways to read a key; of those, only the ones that fit best. And whether these are all.
    fn readings<'k>(&self, key: &'k str) -> (Fit, Vec<Reading<'k>>, bool) {
        let (mut fit, mut best, mut all) = (Fit::Not, Vec::new(), true);
        for tokens in &self.forms {
            all &= reading::read(tokens, key, &mut |reading| {
                if reading.cell().is_err() {
                    return;
                }
                let found = if reading.rest.contains('/') { Fit::Below } else { Fit::Right };
                if fit == Fit::Not || (fit == Fit::Below && found == Fit::Right) {
                    fit = found;
                    best.clear();
                }
                if fit == found {
                    best.push(reading.clone());
                }
            });
            if fit == Fit::Right {
                break;
            }
        }
        (fit, best, all)
    }

    /// Where an object is, whose prefix stands for `cell` and whose name is `name`.
    ///
    /// A prefix of an hour or less says it. Of a longer one, the time in the name says it more
    /// closely, where it lies within.
    fn place(&self, cell: Option<Cell>, name: &Result<ObjectName, NameProblem>) -> Place {
        let named = name.as_ref().ok().map(|name| name.time_local);
        let (from, until, is_coarse) = match (cell, named) {
            (Some(cell), Some(named))
                if cell.is_coarse && (cell.from..cell.until).contains(&named) =>
            {
                (named, named + TimeDelta::seconds(1), false)
            }
            (Some(cell), _) => (cell.from, cell.until, cell.is_coarse),
            (None, Some(named)) => (named, named + TimeDelta::seconds(1), false),
            (None, None) => return Place::UNKNOWN,
        };
        // A time that no clock ever showed was written by something else than Firehose.
        match self.zones.span_of(from, until) {
            Some(span) => Place { span: Some(span), is_coarse },
            None => Place::UNKNOWN,
        }
    }

    /// Why the object of this key and size is never data; `None` for one that is to be read.
    ///
    /// An object is not excluded for its name alone, save for a hidden one: people rename objects
    /// and add their own. An empty object is read like any other and holds no record.
    pub fn exclusion(&self, key: &str, bytes: u64) -> Option<Exclusion> {
        if key.is_empty() || key.ends_with('/') || key.ends_with("$folder$") {
            let marker =
                if bytes == 0 { Exclusion::FolderMarker } else { Exclusion::FolderWithBytes };
            return Some(marker);
        }
        let (fit, readings, _) = self.readings(key);
        if key.rsplit('/').skip(1).any(|folder| errors::is_error_output(folder, fit))
            || self.error_lead.as_ref().is_some_and(|lead| key.starts_with(lead.as_str()))
        {
            return Some(Exclusion::ErrorOutput);
        }
        match (fit, readings.first()) {
            (Fit::Not, _) | (_, None) => Some(Exclusion::OutsideHours),
            (Fit::Below, _) => Some(Exclusion::BelowHour),
            (Fit::Right, Some(reading)) if reading.rest.is_empty() => Some(Exclusion::OutsideHours),
            (Fit::Right, Some(reading)) => is_hidden(reading.rest).then_some(Exclusion::Hidden),
        }
    }
}

/// A number of few digits and nothing else; `None` for none or more than nine.
fn number_of(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    digits.iter().try_fold(0, |sum, byte| match byte {
        b'0'..=b'9' => Some(sum * 10 + u32::from(byte - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
