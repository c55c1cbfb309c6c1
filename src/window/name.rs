//! The name of a zone as typed goes in; the zone comes out, or names that may have been meant.
//!
//! Only exact IANA names are taken. Anything else is an error with suggestions, because a guess
//! here would clip days in silence.

use chrono_tz::{TZ_VARIANTS, Tz};

use super::WindowError;

const SUGGESTIONS_MAX: usize = 3;
/// Below this likeness (Jaro-Winkler, 0 to 1) a name is no suggestion.
const LIKENESS_MIN: f64 = 0.86;

/// Names that people type and that are not in the IANA data, in lower case with `_` for a space.
/// An abbreviation that means several zones suggests them all.
pub(super) const MEANT: &[(&str, &[&str])] = &[
    ("kst", &["Asia/Seoul"]),
    ("korea", &["Asia/Seoul"]),
    ("busan", &["Asia/Seoul"]),
    ("jst", &["Asia/Tokyo"]),
    ("osaka", &["Asia/Tokyo"]),
    ("cst", &["America/Chicago", "Asia/Shanghai", "America/Havana"]),
    ("cdt", &["America/Chicago", "America/Havana"]),
    ("china", &["Asia/Shanghai"]),
    ("beijing", &["Asia/Shanghai"]),
    ("shenzhen", &["Asia/Shanghai"]),
    ("hkt", &["Asia/Hong_Kong"]),
    ("sgt", &["Asia/Singapore"]),
    ("ist", &["Asia/Kolkata", "Europe/Dublin", "Asia/Jerusalem"]),
    ("india", &["Asia/Kolkata"]),
    ("mumbai", &["Asia/Kolkata"]),
    ("delhi", &["Asia/Kolkata"]),
    ("ict", &["Asia/Bangkok", "Asia/Ho_Chi_Minh"]),
    ("hanoi", &["Asia/Ho_Chi_Minh"]),
    ("wib", &["Asia/Jakarta"]),
    ("pht", &["Asia/Manila"]),
    ("pkt", &["Asia/Karachi"]),
    ("gst", &["Asia/Dubai"]),
    ("edt", &["America/New_York"]),
    ("et", &["America/New_York"]),
    ("boston", &["America/New_York"]),
    ("washington", &["America/New_York"]),
    ("mdt", &["America/Denver"]),
    ("pst", &["America/Los_Angeles", "Asia/Manila"]),
    ("pdt", &["America/Los_Angeles"]),
    ("pt", &["America/Los_Angeles"]),
    ("san_francisco", &["America/Los_Angeles"]),
    ("seattle", &["America/Los_Angeles"]),
    ("brt", &["America/Sao_Paulo"]),
    ("art", &["America/Argentina/Buenos_Aires"]),
    ("bst", &["Europe/London"]),
    ("cest", &["Europe/Berlin", "Europe/Paris"]),
    ("munich", &["Europe/Berlin"]),
    ("frankfurt", &["Europe/Berlin"]),
    ("eest", &["Europe/Helsinki", "Europe/Athens"]),
    ("msk", &["Europe/Moscow"]),
    ("sast", &["Africa/Johannesburg"]),
    ("wat", &["Africa/Lagos"]),
    ("eat", &["Africa/Nairobi"]),
    ("aest", &["Australia/Sydney", "Australia/Brisbane"]),
    ("aedt", &["Australia/Sydney"]),
    ("awst", &["Australia/Perth"]),
    ("nzst", &["Pacific/Auckland"]),
    ("nzdt", &["Pacific/Auckland"]),
    ("z", &["UTC"]),
    ("utc+0", &["UTC"]),
    ("gmt+00:00", &["UTC"]),
];

/// The zone of an exact IANA name (`Asia/Seoul`, `UTC`). Never the machine's zone.
///
/// Errors: [`WindowError::UnknownZone`], with up to three names that may have been meant.
pub fn parse_zone(name: &str) -> Result<Tz, WindowError> {
    name.parse().map_err(|_| WindowError::UnknownZone {
        name: name.to_string(),
        suggestions: suggestions(name),
    })
}

/// What follows the name in the message.
pub(super) fn hint(suggestions: &[String]) -> String {
    match suggestions {
        [] => ": give an IANA name such as Asia/Seoul or UTC, since an offset or an abbreviation \
               does not say when clocks change"
            .to_string(),
        [one] => format!(": did you mean {one}?"),
        [first @ .., last] => format!(": did you mean {} or {last}?", first.join(", ")),
    }
}

fn suggestions(typed: &str) -> Vec<String> {
    // A distance costs the product of both lengths, and no zone is longer than this.
    if typed.is_empty() || typed.len() > 64 {
        return Vec::new();
    }
    let typed = plain(typed);
    if let Some((_, meant)) = MEANT.iter().find(|(name, _)| *name == typed) {
        return meant.iter().map(|name| name.to_string()).collect();
    }
    let names = || TZ_VARIANTS.iter().map(|tz| (tz.name(), plain(tz.name())));
    if let Some((exact, _)) = names().find(|(_, name)| *name == typed) {
        return vec![exact.to_string()];
    }
    if is_offset(&typed) {
        return Vec::new();
    }
    let in_city = names().filter(|(_, name)| city(name) == city(&typed));
    let in_city: Vec<String> = in_city.map(|(name, _)| name.to_string()).collect();
    if !in_city.is_empty() && in_city.len() <= SUGGESTIONS_MAX {
        return in_city;
    }
    let mut like: Vec<(f64, &str)> =
        names().map(|(name, plain)| (likeness(&typed, &plain), name)).collect();
    like.retain(|(likeness, _)| *likeness >= LIKENESS_MIN);
    like.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    // Names far less like than the best one only distract from it.
    let best = like.first().map_or(0.0, |(likeness, _)| *likeness);
    like.retain(|(likeness, _)| best - likeness < 0.05);
    like.iter().take(SUGGESTIONS_MAX).map(|(_, name)| name.to_string()).collect()
}

/// Alike are names that are close as a whole, or in their city where only a city was typed.
fn likeness(typed: &str, name: &str) -> f64 {
    if typed.contains('/') {
        strsim::jaro_winkler(typed, name)
    } else {
        strsim::jaro_winkler(typed, city(name))
    }
}

/// `+09:00`, `UTC+9` and the like. The nearest names would be `Etc/GMT+9`, whose sign is the other
/// way round, or `GMT+0`: worse than no suggestion.
fn is_offset(typed: &str) -> bool {
    let bare = typed.strip_prefix("utc").or_else(|| typed.strip_prefix("gmt")).unwrap_or(typed);
    bare.trim_start()
        .starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '_' | '\u{2212}'))
}

fn plain(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '-'], "_")
}

fn city(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}
