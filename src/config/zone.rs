//! Names of zones: what was typed goes in, the IANA zone comes out.

use chrono_tz::Tz;

use super::value::ValueError;
use crate::window::{WindowError, parse_zone};

/// The zone of that name. Abbreviations and offsets are refused with a name that can be meant:
/// they name no place, so nobody can say when their clocks change.
pub fn parse(text: &str) -> Result<Tz, ValueError> {
    parse_zone(text).map_err(|error| {
        let (message, suggestions) = match error {
            WindowError::UnknownZone { name, suggestions } => {
                (format!("there is no zone '{name}'"), suggestions)
            }
            other => (other.to_string(), Vec::new()),
        };
        let hint = match &suggestions[..] {
            [] if text.contains(['+', '-']) && text.contains(|c: char| c.is_ascii_digit()) => {
                "a day needs a place, not an offset: its clocks may change; \
                 write the zone as Area/City, as Asia/Seoul"
                    .to_string()
            }
            [] => "zones are written Area/City, as Asia/Seoul, Europe/Berlin or UTC".to_string(),
            names => format!("did you mean {}?", names.join(" or ")),
        };
        ValueError { message, hint: Some(hint) }
    })
}
