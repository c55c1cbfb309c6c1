//! A result, and what is published already for the same target → whether the one may replace the
//! other. A complete day never gives way to an incomplete one, unless the user says so.

use super::account::LISTING_CUT;
use super::{JobError, JobSpec};
use crate::json::Reason;
use crate::progress::{count_text, counted};
use crate::publish::{Manifest, Out, ReplacedNote, Target};

/// What becomes of a result.
pub(super) enum Decision {
    /// It is published, in place of this.
    Publish(Option<ReplacedNote>),
    /// It is not, for this reason.
    Withhold(String),
}

/// Decides by the manifest of the result and by the one that is published.
pub(super) fn decide(
    spec: &JobSpec,
    out: &Out<'_>,
    target: &Target,
    manifest: &Manifest,
) -> Result<Decision, JobError> {
    let Some(before) = out.manifest(target)? else {
        return Ok(Decision::Publish(None));
    };
    let is_same_place = before.source == manifest.source && before.options == manifest.options;
    let since = manifest.run.inputs.since(&before.run.inputs);
    let note = ReplacedNote {
        records: before.records.day,
        objects_gone: if is_same_place { since.gone } else { 0 },
        complete: before.verdict.complete,
    };
    if spec.accept_incomplete {
        return Ok(Decision::Publish(Some(note)));
    }
    let cut = manifest.verdict.reasons.iter().any(|reason| reason == LISTING_CUT);
    let failed = cut
        || !manifest.objects.failed.is_empty()
        || manifest.listing.prefixes.iter().any(|prefix| prefix.error.is_some());
    let is_worse = failed || !manifest.verdict.complete && before.verdict.complete;
    let is_empty = manifest.records.day == 0 && before.records.day > 0;
    if !is_worse && !is_empty {
        return Ok(Decision::Publish(Some(note)));
    }
    let why = if is_worse { "this run is incomplete" } else { "this run found no record" };
    let what = if spec.window.date.is_some() { "day" } else { "window" };
    Ok(Decision::Withhold(format!(
        "{why}, and the {what} is published already ({}): it is left as it was; {}, or replace it \
         by --accept-incomplete",
        shown(&note),
        advice(manifest, cut)
    )))
}

/// `5,079 records, complete`.
pub fn shown(before: &ReplacedNote) -> String {
    let records = counted(&count_text(before.records), "record");
    format!("{records}, {}", if before.complete { "complete" } else { "incomplete" })
}

/// What may help: running again does not mend what the options ask for.
fn advice(manifest: &Manifest, cut: bool) -> &'static str {
    let options = [Reason::TimeMissing, Reason::TimeUnreadable, Reason::NotOfDeclaredType];
    let by_options = |reason: &str| options.iter().any(|of| of.text() == reason);
    if cut {
        "give a longer --max-late"
    } else if manifest.quarantine.iter().any(|note| by_options(&note.reason)) {
        "check --time-field and --type"
    } else if manifest.verdict.complete {
        "check --source"
    } else if manifest.quarantine.is_empty() {
        "run again"
    } else {
        "mend what is named as bad"
    }
}
