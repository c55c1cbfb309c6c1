//! Laws of keys: whatever a key is, what was read in it spells it again.

use rawcat::layout::{
    Exclusion, KeyInfo, KeyTime, Layout, Place, Span, escape_control, hour_of_prefix,
    hours_of_folder, parents_of, prefix_of,
};
use rawcat::time::{EARLIEST_US, LATEST_US, ObjectTime, TimeRule, TimeSource};
use rawcat::window::{Hour, HourRange};

/// The bytes of `2022/04/17/15/`.
const HOUR_PREFIX_BYTES: usize = 14;

/// Checks every law on one key.
pub fn check(bytes: &[u8]) {
    let key = String::from_utf8_lossy(bytes);
    the_hour_is_what_stands_in_front(&key);
    the_name_spells_the_end_again(&key);
    an_object_time_is_the_names_or_the_hours(&key);
    what_is_read_lies_right_below_its_hour(&key);
    a_folder_holds_the_hours_whose_prefixes_begin_with_it(&key);
    what_is_shown_does_no_harm(&key);
}

fn read(key: &str) -> KeyInfo {
    Layout::default().read(key)
}

fn exclusion(key: &str, bytes: u64) -> Option<Exclusion> {
    Layout::default().exclusion(key, bytes)
}

/// The hour in front of a key, by other means than those of layouts.
fn hour_of(key: &str) -> Option<Hour> {
    key.get(..HOUR_PREFIX_BYTES).and_then(hour_of_prefix)
}

fn the_hour_is_what_stands_in_front(key: &str) {
    let place = read(key).place;
    match hour_of(key) {
        Some(hour) => {
            assert_eq!(key[..HOUR_PREFIX_BYTES], prefix_of(hour));
            assert!(parents_of(hour).iter().all(|parent| key.starts_with(parent)));
            let span = Span::of_hours(&HourRange { first: hour, last: hour });
            assert_eq!(place, Place { span: Some(span), is_coarse: false });
        }
        None => assert_eq!(place, Place { span: None, is_coarse: true }),
    }
}

fn the_name_spells_the_end_again(key: &str) {
    let Ok(name) = read(key).name else { return };
    let spelled = name.to_string();
    assert!(key.ends_with(&spelled));
    assert!(!spelled.contains('/') && !spelled.chars().any(char::is_control));
    assert!(!name.stream.is_empty() && name.version > 0);
    assert!(name.extension.is_empty() || name.extension.starts_with('.'));
    assert_eq!(spelled.parse(), Ok(name));
}

fn an_object_time_is_the_names_or_the_hours(key: &str) {
    let info = read(key);
    let expected = match (&info.name, hour_of(key)) {
        (Ok(name), _) => Some((name.time_local.and_utc(), KeyTime::Name)),
        (Err(_), Some(hour)) => Some((hour.start(), KeyTime::Hour)),
        (Err(_), None) => None,
    };
    assert_eq!(info.time, expected);
    let event = TimeRule::default().event(None, false, ObjectTime::of_key(&info));
    let expected = expected
        .map(|(time_utc, part)| (time_utc.timestamp_micros(), part))
        .filter(|(us, _)| (EARLIEST_US..LATEST_US).contains(us));
    match (event, expected) {
        (Ok(event), Some((us, part))) => {
            let source = match part {
                KeyTime::Name => TimeSource::ObjectName,
                KeyTime::Hour => TimeSource::PrefixHour,
            };
            assert_eq!((event.us, event.source, event.leap_clamped), (us, source, false));
        }
        (event, expected) => assert!(event.is_err() && expected.is_none(), "{event:?}"),
    }
}

fn what_is_read_lies_right_below_its_hour(key: &str) {
    let (empty, full) = (exclusion(key, 0), exclusion(key, 1));
    match full {
        None => {
            let name = &key[HOUR_PREFIX_BYTES..];
            assert!(hour_of(key).is_some() && !name.is_empty());
            assert!(!name.contains('/') && !name.starts_with('.'));
            assert_eq!(empty, None);
        }
        Some(Exclusion::FolderWithBytes) => assert_eq!(empty, Some(Exclusion::FolderMarker)),
        Some(_) => assert_eq!(empty, full),
    }
}

fn a_folder_holds_the_hours_whose_prefixes_begin_with_it(folder: &str) {
    let Some(hours) = hours_of_folder(folder) else { return };
    assert!(hours.first <= hours.last);
    let is_in = |hour| prefix_of(hour).starts_with(folder);
    assert!(is_in(hours.first) && is_in(hours.last));
    assert!(!is_in(hours.first.prev()) && !is_in(hours.last.next()));
    let days = match folder.len() {
        5 => 365..=366,
        8 => 28..=31,
        _ => 1..=1,
    };
    match folder.len() {
        HOUR_PREFIX_BYTES => assert_eq!(hours.len(), 1),
        _ => assert!(hours.len() % 24 == 0 && days.contains(&(hours.len() / 24))),
    }
}

fn what_is_shown_does_no_harm(key: &str) {
    let shown = escape_control(key);
    assert!(!shown.chars().any(char::is_control));
    assert_eq!(escape_control(&shown), shown);
    // Nothing harmless is lost.
    let harmless = key.chars().filter(|c| c.is_alphanumeric()).count();
    assert!(shown.chars().filter(|c| c.is_alphanumeric()).count() >= harmless);
}
