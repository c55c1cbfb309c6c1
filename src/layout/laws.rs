//! Laws of layouts: whatever prefix a stream has and whatever its zones were, an object of listed
//! hours lies below exactly one of the listed prefixes, and its key says so.

use std::collections::BTreeSet;
use std::convert::Infallible;

use chrono::{DateTime, Duration, NaiveDateTime, TimeZone};
use proptest::prelude::*;

use super::*;
use crate::window::Hour;

/// A piece of a prefix: how it is configured, and how chrono spells it.
#[derive(Clone, Debug)]
enum Piece {
    /// A letter of a pattern, and the same for chrono.
    Letters(&'static str, &'static str),
    /// Literal text inside of a pattern.
    Quoted(&'static str),
    Text(&'static str),
    Key,
    Random,
}

const LETTERS: [(&str, &str); 13] = [
    ("yyyy", "%Y"),
    ("uuuu", "%Y"),
    ("y", "%Y"),
    ("yy", "%y"),
    ("MM", "%m"),
    ("M", "%-m"),
    ("dd", "%d"),
    ("d", "%-d"),
    ("DDD", "%j"),
    ("D", "%-j"),
    ("HH", "%H"),
    ("H", "%-H"),
    ("mm", "%M"),
];
const TEXTS: [&str; 9] = ["/", "/", "-", "x=", "a/b", "1", "it's", "한", "!"];
const VALUES: [&str; 5] = ["a", "b-c", "2022", "x=1", "한 글"];
const ZONES: [&str; 7] = [
    "UTC",
    "Asia/Seoul",
    "America/St_Johns",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "America/New_York",
];

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        6 => prop::sample::select(&LETTERS[..]).prop_map(|(java, chrono)| Piece::Letters(java, chrono)),
        2 => prop::sample::select(&TEXTS[..]).prop_map(Piece::Quoted),
        3 => prop::sample::select(&TEXTS[..]).prop_map(Piece::Text),
        1 => Just(Piece::Key),
        1 => Just(Piece::Random),
    ]
}

/// Pieces with a time in front of the others often enough that hours matter.
fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let usual = ["yyyy", "MM", "dd", "HH"];
    let usual = LETTERS.iter().filter(move |(java, _)| usual.contains(java));
    let usual: Vec<Piece> = usual.map(|(java, chrono)| Piece::Letters(java, chrono)).collect();
    (prop::collection::vec(piece(), 0..6), any::<bool>(), prop::collection::vec(piece(), 0..3))
        .prop_map(move |(front, with_usual, back)| {
            let mut pieces = front;
            for piece in usual.iter().filter(|_| with_usual) {
                pieces.extend([piece.clone(), Piece::Quoted("/")]);
            }
            pieces.extend(back);
            // Values that nothing stands between can't be told apart, and are refused.
            let mut apart: Vec<Piece> = Vec::new();
            for piece in pieces {
                if let (Some(Piece::Key), Piece::Key | Piece::Random)
                | (Some(Piece::Random), Piece::Key) = (apart.last(), &piece)
                {
                    apart.push(Piece::Text("-"));
                }
                apart.push(piece);
            }
            apart
        })
}

/// The expression as a stream has it.
fn expression(pieces: &[Piece]) -> String {
    let mut text = String::new();
    let mut keys = 0;
    for piece in pieces {
        match piece {
            Piece::Letters(java, _) => text += &format!("!{{timestamp:{java}}}"),
            Piece::Quoted(literal) => {
                text += &format!("!{{timestamp:'{}'}}", literal.replace('\'', "''"));
            }
            Piece::Text(literal) => text += literal,
            Piece::Key => {
                text += &format!("!{{partitionKeyFromQuery:k{keys}}}");
                keys += 1;
            }
            Piece::Random => text += "!{firehose:random-string}",
        }
    }
    text
}

/// What the prefix is for an object, by other means than those of the layout.
fn spelled(pieces: &[Piece], local: NaiveDateTime, values: &[&str]) -> String {
    let mut text = String::new();
    for (at, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Letters(_, chrono) => text += &local.format(chrono).to_string(),
            Piece::Quoted(literal) | Piece::Text(literal) => text += literal,
            Piece::Key => text += values[at % values.len()],
            Piece::Random => text += "a1B2c3D4e5F",
        }
    }
    text
}

/// The folders that begin with a text, of these keys.
fn folders_of(keys: &[String], parent: &str) -> Vec<String> {
    let below = keys.iter().filter_map(|key| {
        let rest = key.strip_prefix(parent)?;
        Some(format!("{parent}{}", &rest[..rest.find('/')? + 1]))
    });
    below.collect::<BTreeSet<String>>().into_iter().collect()
}

fn name(stream: &str, local: NaiveDateTime) -> String {
    let time = local.format("%Y-%m-%d-%H-%M-%S");
    format!("{stream}-1-{time}-0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn what_was_begun_in_listed_hours_lies_below_one_listed_prefix(
        pieces in pieces(),
        zones in (prop::sample::select(&ZONES[..]), prop::option::of(prop::sample::select(&ZONES[..]))),
        first_s in 1_420_070_400..1_893_456_000i64,
        hours in 1..60i64,
        change_h in -40..100i64,
        misdated_h in -14..14i64,
        offsets_s in prop::collection::vec(-200_000..400_000i64, 1..12),
        values in prop::collection::vec(prop::sample::select(&VALUES[..]), 1..4),
        stream in prop::sample::select(&["s", "7up", "a-1"][..]),
        suffixed in any::<bool>(),
        grain in prop::sample::select(&[Grain::Hour, Grain::Day][..]),
    ) {
        let text = expression(&pieces);
        prop_assume!(!text.is_empty());
        let prefix: Prefix = text.parse().unwrap();
        let Prefix::Of(parsed) = &prefix else { panic!("no expression is flat") };
        // Where nothing gives a time, Firehose may append one: both are read.
        let suffix = match (parsed.has_time(), parsed.is_literal() || suffixed) {
            (false, true) => "%Y/%m/%d/%H/",
            _ => "",
        };
        let first = Hour::containing(DateTime::from_timestamp(first_s, 0).unwrap());
        let last = Hour::containing(first.start() + Duration::hours(hours));
        let hours = HourRange { first, last };
        // The zone changed at `change`, or some hours beside it: nobody knows exactly.
        let change = first.start() + Duration::hours(change_h);
        let (before, after) = (zones.0, zones.1.unwrap_or(zones.0));
        let typed = change + Duration::hours(misdated_h);
        let history: ZoneHistory = match zones.1 {
            None => before.parse().unwrap(),
            Some(after) => {
                let zone: chrono_tz::Tz = after.parse().unwrap();
                let local = zone.from_utc_datetime(&typed.naive_utc()).naive_local();
                let text = format!("{before},{}={after}", local.format("%Y-%m-%dT%H:%M:%S"));
                // A time in a gap names no instant.
                match text.parse() { Ok(history) => history, Err(_) => return Ok(()) }
            }
        };
        prop_assert_eq!(history.to_string().parse::<ZoneHistory>().unwrap(), history.clone());
        let layout = Layout::new(prefix, history);
        let objects: Vec<(DateTime<Utc>, String)> = offsets_s.iter().map(|offset_s| {
            let at = first.start() + Duration::seconds(*offset_s);
            let zone: chrono_tz::Tz = if at < change { before } else { after }.parse().unwrap();
            let local = zone.from_utc_datetime(&at.naive_utc()).naive_local();
            let key = spelled(&pieces, local, &values) + &local.format(suffix).to_string();
            (at, key + &name(stream, local))
        }).collect();
        let keys: Vec<String> = objects.iter().map(|(_, key)| key.clone()).collect();
        let ask = &mut |parent: &str| Ok::<_, Infallible>(folders_of(&keys, parent));
        let Ok(prefixes) = prefixes_of(layout.spell(&hours, grain), ask);
        let span = Span::of_hours(&hours);
        for (at, key) in &objects {
            let below = prefixes.iter().filter(|prefix| key.starts_with(*prefix)).count();
            prop_assert!(below <= 1, "{key} lies below several of {prefixes:?}");
            let inside = (span.start_s..span.end_s).contains(&at.timestamp());
            prop_assert!(below == 1 || !inside, "{key} of {at} is not below {prefixes:?} of {text}");
            prop_assert_eq!(layout.exclusion(key, 1), None, "{} by {}", key, text);
            let info = layout.read(key);
            prop_assert!(!inside || info.place.may_be_in(span), "{key} of {at}: {:?}", info.place);
            prop_assert_eq!(info.partition.len(), layout.partition_keys().len());
        }
    }

    #[test]
    fn an_expression_prints_back_to_the_same(pieces in pieces()) {
        let text = expression(&pieces);
        prop_assume!(!text.is_empty());
        let parsed: Expression = text.parse().unwrap();
        prop_assert_eq!(parsed.to_string().parse::<Expression>().unwrap(), parsed);
    }

    #[test]
    fn no_text_makes_the_parsers_panic(
        wild in any::<String>(),
        near in "(!\\{|timestamp:|firehose:|partitionKeyFromQuery:|random-string|yyyy|MMM?|d|'|\\}|/|[a-z\\[#{=]|한){0,12}",
        zones in "(UTC|Asia/Seoul|,|=|2024-03-01|T09:30){0,6}",
    ) {
        for text in [&wild, &near] {
            match text.parse::<Prefix>() {
                Ok(prefix) => {
                    prop_assert_eq!(&prefix.to_string().parse::<Prefix>().unwrap(), &prefix);
                    let layout = Layout::new(prefix, ZoneHistory::of(chrono_tz::UTC));
                    let _ = (layout.read(&wild), layout.exclusion(&near, 1));
                }
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
        if let Ok(history) = zones.parse::<ZoneHistory>() {
            prop_assert_eq!(history.to_string().parse::<ZoneHistory>().unwrap(), history);
        }
    }

    #[test]
    fn sample_keys_of_one_prefix_are_read_by_what_is_inferred(
        lead in prop::sample::select(&["", "raw/", "app-1/x/", "c=a/"][..]),
        pattern in prop::sample::select(
            &["%Y/%m/%d/%H/", "%Y/%m/%d/", "%Y-%m-%d/%H/", "y=%Y/m=%m/d=%d/h=%H/", "%Y%m%d/", "%Y/%j/%H/", ""][..]
        ),
        first_s in 1_420_070_400..1_893_456_000i64,
        steps_s in prop::collection::vec(1..4_000_000i64, 6..12),
    ) {
        let lead = if pattern.is_empty() { "" } else { lead };
        let mut at_s = first_s;
        let keys: Vec<String> = steps_s.iter().map(|step_s| {
            at_s += step_s;
            let local = DateTime::from_timestamp(at_s, 0).unwrap().naive_utc();
            format!("{lead}{}{}", local.format(pattern), name("s", local))
        }).collect();
        match infer(keys.iter().map(String::as_str)) {
            Inferred::One(prefix) => {
                let layout = Layout::new(prefix, ZoneHistory::of(chrono_tz::UTC));
                for key in &keys {
                    prop_assert_eq!(layout.exclusion(key, 1), None, "{} by {}", key, layout.prefix());
                }
            }
            other => prop_assert!(false, "{other:?} of {keys:?}"),
        }
    }
}
