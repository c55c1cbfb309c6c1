//! A published day, and what its hours hold now → whether a run would only make the same again.

use std::sync::Arc;

use super::account::{LISTING_CUT, options, still_open};
use super::listing::Listed;
use super::{JobError, JobSpec};
use crate::layout::{Layout, Prefix};
use crate::progress::{Progress, count_text, counted};
use crate::publish::{Manifest, Published, State, inputs_digest};
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
    /// Objects are gone of which the published day still knows: so many. Nothing else is new.
    Poorer(u64),
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
    if let Some(why) = made_otherwise(spec, source, published, &before) {
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
    let objects = listed.objects.iter().map(|found| &found.object);
    let now = inputs_digest(objects.map(|o| (o.key.as_str(), o.bytes, o.etag.as_deref())));
    if now == before.inputs_digest {
        // What was damaged is as damaged now; time alone makes a complete day final.
        let was_fresh = before.verdict.state == State::Provisional && before.verdict.complete;
        return Ok(match was_fresh && still_open(spec).is_none() {
            true => Standing::Changed("it was provisional, and is settled now".to_string()),
            false => Standing::Unchanged,
        });
    }
    let (then, now) = (before.objects.read, listed.objects.len() as u64);
    Ok(match now.checked_sub(then) {
        None => Standing::Poorer(then - now),
        Some(0) => Standing::Changed("objects changed".to_string()),
        Some(more) => {
            let objects = counted(&count_text(more), "object");
            Standing::Changed(format!("{objects} came since"))
        }
    })
}

/// Why the same objects would give another day, or might.
fn made_otherwise(
    spec: &JobSpec,
    source: &str,
    published: &Published,
    before: &Manifest,
) -> Option<String> {
    let failed = before.objects.failed.len() as u64
        + before.listing.prefixes.iter().filter(|prefix| prefix.error.is_some()).count() as u64;
    let cut = before.verdict.reasons.iter().any(|reason| reason == LISTING_CUT);
    let why = if before.run.rawcat != env!("CARGO_PKG_VERSION") {
        "it was made by another version of rawcat"
    } else if before.zone_data != ZONE_DATA_VERSION {
        "it was made with other time zone data"
    } else if before.window.tz != spec.window.tz.name() || before.source != source {
        "it was made of another source"
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
    if spec.layout_is_given || !before.listing.layout_inferred {
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
