//! A published day, and what its hours hold now → whether a run would only make the same again.

use std::sync::Arc;

use super::account::{LISTING_CUT, inputs, options, still_open, was_open};
use super::listing::Listed;
use super::{JobError, JobSpec, LayoutFrom};
use crate::layout::{Layout, Prefix};
use crate::progress::{Progress, count_text, counted};
use crate::publish::{Manifest, Published, Since};
use crate::store::Store;
use crate::window::{Hour, HourRange, ZONE_DATA_VERSION};

/// How a published day stands to its source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Nothing is published.
    New,
    /// A run would publish what is published.
    Unchanged,
    /// Why it is to be made again.
    Changed(String),
    /// Objects of which it was made are gone. Others may have come.
    Poorer(Since),
}

/// Lists the hours of a published day again; no object is read.
///
/// # Errors
/// What `--out` says, and what concerns the whole source.
pub fn standing(
    spec: &JobSpec,
    source: &str,
    store: &Store,
    published: &Published,
    progress: &Progress,
) -> Result<Standing, JobError> {
    let Some(before) = published.manifest(&spec.target())? else {
        return Ok(Standing::New);
    };
    if let Some(why) = made_otherwise(spec, published, &before) {
        return Ok(Standing::Changed(why));
    }
    let Some((layout, hours)) = layout_of(spec, &before).zip(hours_of(&before)) else {
        return Ok(Standing::Changed("its manifest does not say how it was listed".to_string()));
    };
    if options(spec, &layout) != before.options {
        return Ok(Standing::Changed("it was made with other options".to_string()));
    }
    let errors = spec.errors(&layout);
    let found = |found: usize| progress.found(found as u64);
    let listed = Listed::of(store, Arc::new(layout), errors, hours, &found)?;
    if let Some((prefix, failure)) = listed.failed_prefixes().next() {
        let (prefix, reason) = (&prefix.prefix, &failure.reason);
        return Ok(Standing::Changed(format!("{prefix} can't be listed: {reason}")));
    }
    if let Some(entry) = listed.unreadable.first() {
        return Ok(Standing::Changed(format!("{entry}; it can't be read")));
    }
    let since = inputs(&listed).since(&before.run.inputs);
    // The same keys with the same versions are the same source, whatever it is called from here.
    Ok(match since {
        since if since.is_nothing() => {
            match was_open(&before.verdict) && still_open(spec).is_none() {
                true => Standing::Changed("it was provisional, and is settled now".to_string()),
                false => Standing::Unchanged,
            }
        }
        _ if before.source != source => Standing::Changed("it was made of another source".into()),
        since if since.gone > 0 => Standing::Poorer(since),
        Since { came: 0, changed, .. } => {
            Standing::Changed(format!("{} changed", objects(changed)))
        }
        Since { came, .. } => Standing::Changed(format!("{} came since", objects(came))),
    })
}

fn objects(count: u64) -> String {
    counted(&count_text(count), "object")
}

/// Why the same objects would give another day, or might.
fn made_otherwise(spec: &JobSpec, published: &Published, before: &Manifest) -> Option<String> {
    let failed = before.objects.failed.len() as u64
        + before.listing.prefixes.iter().filter(|prefix| prefix.error.is_some()).count() as u64;
    let cut = before.verdict.reasons.iter().any(|reason| reason == LISTING_CUT);
    let why = if before.run.rawcat != env!("CARGO_PKG_VERSION") {
        "it was made by another version of rawcat"
    } else if before.zone_data != ZONE_DATA_VERSION {
        "it was made with other time zone data"
    } else if before.window.tz != spec.window.tz.name() {
        "it was made in another zone"
    } else if failed > 0 || cut {
        "something could not be read"
    } else if !published.has_files_of(before) {
        "its files are not those that were published"
    } else {
        return None;
    };
    Some(why.to_string())
}

/// The layout by which the day was listed: the one in force, or one that keys told.
fn layout_of(spec: &JobSpec, before: &Manifest) -> Option<Layout> {
    if spec.layout_from == LayoutFrom::User || !before.listing.layout_inferred {
        return Some(Layout::clone(&spec.layout));
    }
    let prefix: Prefix = before.options.get("layout")?.as_str()?.parse().ok()?;
    Some(Layout::new(prefix, spec.layout.zones().clone()))
}

fn hours_of(before: &Manifest) -> Option<HourRange> {
    let hour = |text: &str| {
        let at = chrono::DateTime::parse_from_rfc3339(text).ok()?;
        Some(Hour::containing(at.to_utc()))
    };
    let listing = &before.listing;
    Some(HourRange { first: hour(&listing.first_hour)?, last: hour(&listing.last_hour)? })
}
