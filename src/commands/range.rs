//! The days of a range → those that can hold records, and a line about the others: a range that is
//! longer than the data must not publish years of empty days.

use super::windows::job_error;
use crate::error::Error;
use crate::job::{JobSpec, first_hour};
use crate::layout;
use crate::publish::Published;
use crate::store::Store;

/// Leaves out days that have not begun and, of several, those before the first object of the source.
///
/// # Errors
/// [`Error::Usage`] where no day is left.
pub fn with_records(
    specs: Vec<JobSpec>,
    store: &Store,
    published: &Published,
) -> Result<(Vec<JobSpec>, Vec<String>), Error> {
    let is_hourly = |spec: &JobSpec| spec.layout.is_hourly_utc();
    // Of other layouts no first object is known: any of these days may hold some.
    let first = match &specs[..] {
        [one, _, ..] if is_hourly(one) => first_hour(store),
        _ => None,
    };
    let mut begun = Vec::with_capacity(specs.len());
    let (mut before, mut kept, mut future) = (Vec::new(), Vec::new(), Vec::new());
    for spec in specs {
        let last = spec.window.hours(spec.look_back, spec.look_ahead).last;
        if first.is_some_and(|first| last < first) {
            let manifest = published.manifest(&spec.target());
            let is_published = manifest.map_err(|error| job_error(error.into()))?.is_some();
            let days = if is_published { &mut kept } else { &mut before };
            days.push(spec.target().id());
        } else if spec.window.start_utc > spec.now_utc {
            future.push(spec.target().id());
        } else {
            begun.push(spec);
        }
    }
    let mut lines = Vec::new();
    let place = first.map(layout::prefix_of).unwrap_or_default();
    for (what, days) in [("left as published", &kept), ("not published", &before)] {
        if let Some(days) = span(days) {
            lines.push(format!("{what}: {days}, before the first object, in {place}"));
        }
    }
    if let Some(days) = span(&future) {
        lines.push(format!("not published: {days}, not begun"));
    }
    // Where all that was published has expired, nothing is to be done.
    match begun.is_empty() && kept.is_empty() {
        true => {
            Err(Error::usage(lines.join("; "), "give a day that has begun and that has objects"))
        }
        false => Ok((begun, lines)),
    }
}

/// `2022-04-18`, or `2022-04-18 to 2022-04-20 (3 days)`.
fn span(days: &[String]) -> Option<String> {
    match days {
        [] => None,
        [day] => Some(day.clone()),
        [first, .., last] => Some(format!("{first} to {last} ({} days)", days.len())),
    }
}
