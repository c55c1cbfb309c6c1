//! Names of zones: what was typed goes in, the IANA zone comes out.

use chrono_tz::Tz;

use super::seam::parse_zone;
use super::value::ValueError;

/// The zone of that name. Abbreviations and offsets are refused with a name that can be meant:
/// they name no place, so nobody can say when their clocks change.
pub fn parse(text: &str) -> Result<Tz, ValueError> {
    parse_zone(text).map_err(|error| ValueError {
        message: error.to_string(),
        hint: Some(match meant(text) {
            Some(name) => format!("did you mean {name}?"),
            None if text.contains(['+', '-']) && text.contains(|c: char| c.is_ascii_digit()) => {
                "a day needs a place, not an offset: its clocks may change; \
                 write the zone as Area/City, as Asia/Seoul"
                    .to_string()
            }
            None => "zones are written Area/City, as Asia/Seoul, Europe/Berlin or UTC".to_string(),
        }),
    })
}

/// Zones that people call by an abbreviation. Only those with one usual meaning.
fn meant(text: &str) -> Option<&'static str> {
    const USUAL: [(&str, &str); 14] = [
        ("KST", "Asia/Seoul"),
        ("JST", "Asia/Tokyo"),
        ("SGT", "Asia/Singapore"),
        ("HKT", "Asia/Hong_Kong"),
        ("AEST", "Australia/Sydney"),
        ("AEDT", "Australia/Sydney"),
        ("BST", "Europe/London"),
        ("CEST", "Europe/Berlin"),
        ("PST", "America/Los_Angeles"),
        ("PDT", "America/Los_Angeles"),
        ("EDT", "America/New_York"),
        ("CDT", "America/Chicago"),
        ("MDT", "America/Denver"),
        ("Z", "UTC"),
    ];
    let typed = text.trim().to_ascii_uppercase();
    USUAL
        .iter()
        .find(|(short, _)| *short == typed)
        .map(|(_, name)| *name)
}
