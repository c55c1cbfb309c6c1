//! A window without objects → where objects are instead; a source without any → what may have been
//! meant. A handful of requests, whatever the size of the source.

use super::JobError;
use super::listing::{Listed, nearest_hours};
use super::sample::{sample, shown};
use crate::layout::{self, ErrorOutput, Layout};
use crate::store::Store;
use crate::window::Hour;

/// Hours before and behind a window that hold objects.
pub type NearestHours = (Option<Hour>, Option<Hour>);

/// Where the objects nearest to a listing are that found none. `None` where it found some, or may
/// have: where a prefix could not be listed, no guess is made; and where keys are made by another
/// layout than the default one.
///
/// # Errors
/// [`JobError::NoYears`] where the source holds no objects at all under hours, and
/// [`JobError::NothingFits`] where none of its keys is made by the layout.
pub(super) fn nearest(
    store: &Store,
    source: &str,
    listed: &Listed,
) -> Result<Option<NearestHours>, JobError> {
    if !listed.objects.is_empty() || listed.failed_prefixes().next().is_some() {
        return Ok(None);
    }
    if !listed.layout.is_hourly_utc() {
        return check_layout(store, source, &listed.layout).map(|()| None);
    }
    // Advice only: a source that lets its folders be listed in part is no failure.
    match nearest_hours(store, listed.hours.first) {
        Ok((None, None)) => Err(no_years(store, source)),
        found => Ok(found.ok()),
    }
}

/// Whether the source, by a sample of its keys, holds anything that could not be delivered.
pub(super) fn holds_errors(store: &Store, errors: &ErrorOutput) -> bool {
    let keys = sample(store, "").unwrap_or_default();
    keys.iter().any(|key| errors.contains(key))
}

/// Refuses a layout by which no key is made of those that the source shows.
fn check_layout(store: &Store, source: &str, layout: &Layout) -> Result<(), JobError> {
    let fits = |key: &String| layout.exclusion(key, 1).is_none();
    // A sample of the whole source may miss one prefix of many.
    let below = sample(store, layout.prefix().literal_folders()).unwrap_or_default();
    let keys = match below.is_empty() {
        true => sample(store, "").unwrap_or_default(),
        false => below,
    };
    if keys.is_empty() || keys.iter().any(fits) {
        return Ok(());
    }
    Err(JobError::NothingFits {
        source_name: source.to_string(),
        layout: layout.prefix().to_string(),
        keys: shown(&keys),
    })
}

/// The first hour of a source that holds objects; `None` where none does, or the folders can't be
/// listed.
pub fn first_hour(store: &Store) -> Option<Hour> {
    let long_ago = Hour::of_calendar(1, 1, 1, 0).expect("the year 1 has a first hour");
    nearest_hours(store, long_ago).ok()?.1
}

fn no_years(store: &Store, source: &str) -> JobError {
    let bare = store.bare_folders("").unwrap_or_default();
    if bare.iter().any(|name| layout::hours_of_folder(name).is_some()) {
        let problem = "has folders of years, but no object below them";
        let advice = "put objects there, or give another --source".to_string();
        let keys = Vec::new();
        return JobError::NoYears { source_name: source.to_string(), problem, advice, keys };
    }
    let (advice, keys) = match above(source) {
        Some(place) => (format!("did you mean {place}?"), Vec::new()),
        None => {
            let advice = "give the place that holds them, as s3://bucket/rawdata/".to_string();
            (advice, shown(&sample(store, "").unwrap_or_default()))
        }
    };
    let problem = "holds no folders of years (2022/…)";
    JobError::NoYears { source_name: source.to_string(), problem, advice, keys }
}

/// The place of the folders of years, where the source is one of them or lies in one:
/// `rawdata/2022/04` → `rawdata/`.
fn above(source: &str) -> Option<String> {
    let mut cut = source.trim_end_matches('/');
    for _ in 0..4 {
        let at = cut.rfind('/').map_or(0, |at| at + 1);
        let inside = format!("{}/", &source.trim_end_matches('/')[at..]);
        if layout::hours_of_folder(&inside).is_some() {
            let above = &source[..at];
            return Some(if above.is_empty() { "./".to_string() } else { above.to_string() });
        }
        cut = cut[..at].trim_end_matches('/');
        if cut.is_empty() {
            break;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_inside_the_folders_of_years_leads_to_the_place_that_holds_them() {
        let meant = |source: &str| above(source);
        assert_eq!(meant("rawdata/2022").as_deref(), Some("rawdata/"));
        assert_eq!(meant("rawdata/2022/04/17/15/").as_deref(), Some("rawdata/"));
        assert_eq!(meant("2022/04").as_deref(), Some("./"));
        assert_eq!(meant("s3://bucket/raw/2022/04/").as_deref(), Some("s3://bucket/raw/"));
        for other in ["rawdata", "s3://bucket/", "a/2022/b", "", "/"] {
            assert_eq!(meant(other), None, "{other}");
        }
    }
}
