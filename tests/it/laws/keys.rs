//! Laws of keys: whatever a key is, what was read in it spells it again.

use rawcat::layout::{
    Exclusion, KeyTime, escape_control, exclusion, hour_of_prefix, hours_of_folder, parents_of,
    parse_key, prefix_of,
};
use rawcat::time::{EARLIEST_US, LATEST_US, ObjectTime, TimeRule, TimeSource};

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

fn the_hour_is_what_stands_in_front(key: &str) {
    match parse_key(key).hour {
        Some(hour) => {
            assert_eq!(key[..HOUR_PREFIX_BYTES], prefix_of(hour));
            assert_eq!(hour_of_prefix(&key[..HOUR_PREFIX_BYTES]), Some(hour));
            assert!(parents_of(hour).iter().all(|parent| key.starts_with(parent)));
        }
        None => {
            let front = key.get(..HOUR_PREFIX_BYTES);
            assert!(front.is_none_or(|front| hour_of_prefix(front).is_none()));
        }
    }
}

fn the_name_spells_the_end_again(key: &str) {
    let Ok(name) = parse_key(key).name else { return };
    let spelled = name.to_string();
    assert!(key.ends_with(&spelled));
    assert!(!spelled.contains('/') && !spelled.chars().any(char::is_control));
    assert!(!name.stream.is_empty() && name.version > 0);
    assert!(name.extension.is_empty() || name.extension.starts_with('.'));
    assert_eq!(spelled.parse(), Ok(name));
}

fn an_object_time_is_the_names_or_the_hours(key: &str) {
    let info = parse_key(key);
    let expected = match (&info.name, info.hour) {
        (Ok(name), _) => Some((name.time_utc, KeyTime::Name)),
        (Err(_), Some(hour)) => Some((hour.start(), KeyTime::Hour)),
        (Err(_), None) => None,
    };
    assert_eq!(info.object_time(), expected);
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
            assert!(parse_key(key).hour.is_some() && !name.is_empty());
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
