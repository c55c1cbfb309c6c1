//! Which days: `--day`, `--from`, `--to` and `--tz` go in, dates or one local window come out.

use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use chrono_tz::Tz;

use super::layers::Settings;
use crate::cli::DayArgs;
use crate::error::Error;
use crate::window::{WindowError, parse_day};

/// The days or the window that a command is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selection {
    pub tz: Tz,
    pub what: Span,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Span {
    /// Dates, ascending, without gaps; at least one.
    Days(Vec<NaiveDate>),
    /// One half-open window in local time.
    Window { from: NaiveDateTime, to: NaiveDateTime },
}

const DAY_HINT: &str = "give --day 2022-04-18, --day yesterday, or --from and --to";
const ZONE_HINT: &str = "give --tz Asia/Seoul, or write tz = \"Asia/Seoul\" into rawcat.toml; \
    the machine's zone is never used";

/// What the user meant by the options of a day. Nothing given is a usage error.
pub fn selection(
    settings: &Settings,
    args: &DayArgs,
    now: DateTime<Utc>,
) -> Result<Selection, Error> {
    let mut chosen = Chosen { settings, day: None, from: None, to: None };
    // An option that was typed silences those of the file and the environment that it would
    // contradict: `--from` and `--to` beside a `day = "yesterday"` in the file.
    let options = [("day", &args.day), ("from", &args.from), ("to", &args.to)];
    let said = options.iter().filter(|(_, text)| text.is_some());
    let strongest = said.map(|(name, _)| settings.origin(name).rank()).max();
    let in_force = |name: &str| Some(settings.origin(name).rank()) == strongest;
    chosen.day = args.day.as_deref().filter(|_| in_force("day"));
    chosen.from = args.from.as_deref().filter(|_| in_force("from"));
    chosen.to = args.to.as_deref().filter(|_| in_force("to"));
    if strongest.is_none() {
        return Err(Error::usage("no day is given", DAY_HINT));
    }
    let tz = args.tz.ok_or_else(|| Error::usage("no zone is given", ZONE_HINT))?;
    let what = chosen.span(tz, now)?;
    Ok(Selection { tz, what })
}

struct Chosen<'a> {
    settings: &'a Settings,
    day: Option<&'a str>,
    from: Option<&'a str>,
    to: Option<&'a str>,
}

/// One end of a range, as it was written.
enum End {
    Date(NaiveDate),
    Time(NaiveDateTime),
}

impl Chosen<'_> {
    fn span(&self, tz: Tz, now: DateTime<Utc>) -> Result<Span, Error> {
        let (from, to) = match (self.day, self.from, self.to) {
            (Some(day), None, None) => {
                return Ok(Span::Days(vec![self.date("day", day, tz, now)?]));
            }
            (Some(_), _, _) => {
                return Err(Error::usage(
                    "--day names one day, and --from or --to begins a range: only one can be meant",
                    "leave out --day, or leave out --from and --to",
                ));
            }
            (None, Some(from), Some(to)) => (from, to),
            (None, from, _) => {
                let (one, other) =
                    if from.is_some() { ("--from", "--to") } else { ("--to", "--from") };
                return Err(Error::usage(
                    format!("{one} is given, and {other} is not"),
                    format!("add {other}; for a single day write --day"),
                ));
            }
        };
        match (self.end("from", from, tz, now)?, self.end("to", to, tz, now)?) {
            (End::Date(from), End::Date(to)) if from <= to => {
                Ok(Span::Days(from.iter_days().take_while(|day| *day <= to).collect()))
            }
            (End::Time(from), End::Time(to)) if from < to => Ok(Span::Window { from, to }),
            (End::Date(_), End::Date(_)) | (End::Time(_), End::Time(_)) => {
                let relation = if from == to { "the same as" } else { "after" };
                Err(self.settings.refuse(
                    "from",
                    &format!("{from} is {relation} --to {to}"),
                    "a range goes forward; dates are included, and of times the last is not",
                ))
            }
            _ => Err(self.settings.refuse(
                "from",
                &format!("of {from} and {to}, one is a date and the other a time"),
                "give two dates (both included), or two times, as 2022-04-18T06:00",
            )),
        }
    }

    fn end(&self, option: &str, text: &str, tz: Tz, now: DateTime<Utc>) -> Result<End, Error> {
        let has_hour = text.trim().get(..11).is_some_and(|text| {
            has_the_form_of_a_date(&text[..10]) && text.ends_with(['T', 't', ' '])
        });
        if !text.contains(':') && !has_hour {
            return self.date(option, text, tz, now).map(End::Date);
        }
        let text = text.trim();
        let formats =
            ["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"];
        let read = |format: &&str| NaiveDateTime::parse_from_str(text, format).ok();
        formats.iter().find_map(read).map(End::Time).ok_or_else(|| {
            let full = text.replace(' ', "T").replace('Z', "+00:00");
            let offset_formats = ["%Y-%m-%dT%H:%M%:z", "%Y-%m-%dT%H:%M:%S%.f%:z"];
            let mut instants = offset_formats.iter().map(|f| DateTime::parse_from_str(&full, f));
            let hint = match instants.find_map(Result::ok) {
                Some(instant) => format!(
                    "times are local times of --tz, without an offset; this one is {} in {tz}",
                    instant.with_timezone(&tz).format("%Y-%m-%dT%H:%M:%S")
                ),
                None => hint_for_time(text),
            };
            self.settings.refuse(option, &format!("'{text}' is not a local time"), hint)
        })
    }

    fn date(
        &self,
        option: &str,
        text: &str,
        tz: Tz,
        now: DateTime<Utc>,
    ) -> Result<NaiveDate, Error> {
        parse_day(text.trim(), now, tz).map_err(|error| {
            // The hint says the rest.
            let message = match &error {
                WindowError::NotADate { text } => {
                    format!("\"{}\" is not a date", text.escape_debug())
                }
                WindowError::NoSuchDate { text } => format!("{text} is not in the calendar"),
                error => error.to_string(),
            };
            let hint = match meant(text) {
                Some(date) => format!("dates are written year-month-day; did you mean {date}?"),
                None if has_the_form_of_a_date(text) => length_of_month(text.trim()),
                None if text.contains(':') => {
                    "write a date as 2022-04-18; for times use --from and --to".to_string()
                }
                None => "write a date as 2022-04-18, or today, or yesterday".to_string(),
            };
            self.settings.refuse(option, &message, hint)
        })
    }
}

/// How a local time that was not understood may be written.
fn hint_for_time(text: &str) -> String {
    let (date, time) = text.split_at(text.len().min(10));
    let Ok(date) = date.parse::<NaiveDate>() else {
        return match has_the_form_of_a_date(date) {
            true => length_of_month(date),
            false => "write it as 2022-04-18T06:00".to_string(),
        };
    };
    let time = time.trim_start_matches(['T', 't', ' ']);
    let is_midnight = ["24", "24:00", "24:00:00"].contains(&time);
    match (date.succ_opt(), time.parse::<u32>()) {
        (Some(next), _) if is_midnight => format!("a day ends at {next}T00:00"),
        (_, Ok(hour)) if hour < 24 => format!("write a time as {date}T{hour:02}:00"),
        _ => format!("write it as {date}T06:00; hours go from 00 to 23"),
    }
}

/// Why a date of the right form is not in the calendar.
fn length_of_month(text: &str) -> String {
    let number = |text: &str| text.parse::<u32>().unwrap_or(0);
    let (year, month) = (number(&text[..4]), number(&text[5..7]));
    let first = NaiveDate::from_ymd_opt(year as i32, month, 1);
    let next = first.and_then(|first| first.checked_add_months(chrono::Months::new(1)));
    match (first, next) {
        (Some(first), Some(next)) => {
            format!("{} has {} days", first.format("%B %Y"), (next - first).num_days())
        }
        _ => "months go from 01 to 12".to_string(),
    }
}

fn has_the_form_of_a_date(text: &str) -> bool {
    let text = text.trim().as_bytes();
    text.len() == 10
        && text.iter().enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

/// The date that a text in another order or without zeros can only mean. `03/04/2022` is
/// silent: it is March in one country and April in another.
fn meant(text: &str) -> Option<NaiveDate> {
    let parts: Vec<&str> = text.split(|c: char| !c.is_ascii_digit()).collect();
    let compact = parts.len() == 1 && text.len() == 8;
    let parts = match compact {
        true => vec![&text[..4], &text[4..6], &text[6..]],
        false => parts,
    };
    let [a, b, c] = parts[..] else { return None };
    let number = |text: &str| text.parse::<u32>().ok();
    let (first, second, third) = (number(a)?, number(b)?, number(c)?);
    let (year, month, day) = if a.len() == 4 {
        (first, second, third)
    } else if c.len() == 4 && first > 12 {
        (third, second, first)
    } else if c.len() == 4 && (second > 12 || first == second) {
        (third, first, second)
    } else {
        return None;
    };
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_in_other_orders_are_understood_only_where_they_are_certain() {
        let date = NaiveDate::from_ymd_opt(2022, 4, 18);
        for text in ["2022-4-18", "2022/04/18", "18/04/2022", "18.4.2022", "4/18/2022", "20220418"]
        {
            assert_eq!(meant(text), date, "{text}");
        }
        for text in ["03/04/2022", "2022-13-45", "tomorrow", "22-4-18", "", "2022-04"] {
            assert_eq!(meant(text), None, "{text}");
        }
    }
}
