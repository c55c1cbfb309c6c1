//! Sample keys go in; the prefix that they were made by comes out, or those that it may be.
//!
//! A name says when its object was begun, so that the numbers in its folders explain themselves: of
//! an object of 17 April, 15 h, `2022/04/17/15/` can mean one thing only. What several keys agree
//! about is taken. Nothing is guessed where two readings are equally likely.

use std::collections::BTreeMap;

use chrono::{NaiveDate, NaiveDateTime, TimeDelta, Timelike};

use super::expression::{Expression, KeyBy, Part};
use super::name::ObjectName;
use super::pattern::{self, Item, Unit};
use super::{Layout, Prefix};

/// What sample keys say about their prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inferred {
    One(Prefix),
    /// Several prefixes explain some of the keys, or several explain all of them. The likeliest
    /// first.
    Several(Vec<Prefix>),
    Nothing,
}

/// Candidates of one key, and of one folder of it. More are not looked at.
const MOST_CANDIDATES: usize = 4_096;
/// The length of Firehose's random strings.
const RANDOM_CHARACTERS: usize = 11;
/// How many prefixes are named where it is not clear which one is meant.
const MOST_NAMED: usize = 5;

/// The patterns that a number in a folder may have been made by.
const PATTERNS: [&str; 17] = [
    "yyyy",
    "MM",
    "dd",
    "HH",
    "mm",
    "M",
    "d",
    "H",
    "DDD",
    "D",
    "yy",
    "yyyyMM",
    "yyyyMMdd",
    "yyyyMMddHH",
    "yyyyMMddHHmm",
    "MMdd",
    "yyyyDDD",
];

/// Finds the prefix that the keys were made by.
pub fn infer<'k>(keys: impl IntoIterator<Item = &'k str>) -> Inferred {
    let keys: Vec<&str> = keys.into_iter().filter(|key| may_be_data(key)).collect();
    let mut left: Vec<BTreeMap<String, Expression>> =
        keys.iter().map(|key| candidates(key)).filter(|of_key| !of_key.is_empty()).collect();
    let mut found: Vec<Vec<Prefix>> = Vec::new();
    while !left.is_empty() && found.len() < MOST_NAMED {
        let mut counts: BTreeMap<&str, (usize, &Expression)> = BTreeMap::new();
        for (text, expression) in left.iter().flatten() {
            counts.entry(text).or_insert((0, expression)).0 += 1;
        }
        let rank = |&(keys, expression): &(usize, &Expression)| (keys, merit(expression));
        let best = counts.values().map(rank).max().expect("each key has a candidate");
        let equal = counts.iter().filter(|(_, one)| rank(one) == best);
        let equal: Vec<(String, Expression)> =
            equal.map(|(text, (_, one))| (text.to_string(), (*one).clone())).collect();
        left.retain(|of_key| !of_key.contains_key(&equal[0].0));
        found.push(equal.into_iter().map(|(_, one)| prefix(one)).collect());
    }
    match &mut found[..] {
        [] => Inferred::Nothing,
        [one] if one.len() == 1 => Inferred::One(one.remove(0)),
        _ => {
            let several = found.into_iter().flatten().take(MOST_NAMED);
            Inferred::Several(several.collect())
        }
    }
}

fn prefix(expression: Expression) -> Prefix {
    if expression.parts.is_empty() { Prefix::Flat } else { Prefix::Of(expression) }
}

fn may_be_data(key: &str) -> bool {
    let no_layout = Layout::new(Prefix::Flat, super::ZoneHistory::of(chrono_tz::UTC));
    // Only folders matter here, and names that are hidden.
    let name = key.rsplit('/').next().unwrap_or(key);
    !key.ends_with('/')
        && no_layout.exclusion(name, 1).is_none()
        && key
            .rsplit('/')
            .skip(1)
            .all(|folder| !folder.ends_with("-failed") && !folder.starts_with(['.', '_']))
}

/// What makes one reading of the same keys better than another: times in their natural order, more
/// of them, and digits that are always there.
fn merit(expression: &Expression) -> (bool, usize, usize, usize) {
    let units: Vec<Unit> = expression.fields().map(|field| field.unit).collect();
    let natural = units.windows(2).all(|pair| pair[0] < pair[1]);
    let known = expression.partition_keys().count();
    let letters = expression.fields().map(|field| field.to_string().len()).sum();
    (natural, units.len(), known, letters)
}

/// The prefixes that may have made a key.
fn candidates(key: &str) -> BTreeMap<String, Expression> {
    let (folders, name) = key.rsplit_once('/').map_or((None, key), |(f, n)| (Some(f), n));
    let named = name.parse::<ObjectName>().ok().map(|name| name.time_local);
    let Some(folders) = folders else {
        // No folders at all: the time can only be in the name.
        let flat = Expression { parts: Vec::new() };
        return named.map(|_| (String::new(), flat)).into_iter().collect();
    };
    let Some(time) = named.or_else(|| time_in(folders)) else { return BTreeMap::new() };
    let mut all: Vec<Vec<Part>> = vec![Vec::new()];
    for folder in folders.split('/') {
        let ways = ways_of(folder, time);
        all = all
            .iter()
            .flat_map(|parts| ways.iter().map(move |way| [&parts[..], &way[..]].concat()))
            .filter(|parts| units_differ(parts))
            .take(MOST_CANDIDATES)
            .collect();
    }
    let expressions = all.into_iter().map(|parts| Expression { parts: joined(parts) });
    let sound = expressions.filter(|expression| {
        let has = |unit: Unit| expression.has_unit(unit);
        // A number says nothing without the larger ones.
        has(Unit::Year)
            && (has(Unit::Month) || !has(Unit::Day))
            && (has(Unit::Day) || has(Unit::DayOfYear) || !has(Unit::Hour))
            && (has(Unit::Hour) || !has(Unit::Minute))
    });
    sound.map(|expression| (expression.to_string(), expression)).collect()
}

/// The time in folders, for a name that has none: the first numbers of four, two, two and two
/// digits that are a date and an hour.
fn time_in(folders: &str) -> Option<NaiveDateTime> {
    let digits: String = folders
        .split(|c: char| !c.is_ascii_digit())
        .skip_while(|run| run.len() < 4 || !(run.starts_with("19") || run.starts_with("20")))
        .collect();
    let number = |from: usize, to: usize| digits.get(from..to)?.parse::<u32>().ok();
    let date = NaiveDate::from_ymd_opt(number(0, 4)? as i32, number(4, 6)?, number(6, 8)?)?;
    let hour = number(8, 10).filter(|hour| *hour < 24).unwrap_or(0);
    date.and_hms_opt(hour, 0, 0)
}

/// The parts that may have made a folder, with the slash behind it.
fn ways_of(folder: &str, time: NaiveDateTime) -> Vec<Vec<Part>> {
    let mut ways: Vec<Vec<Part>> = vec![Vec::new()];
    let mut rest = folder;
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let number = &rest[text..];
        let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
        let (text, number) = (&rest[..text], &number[..digits]);
        let mut of_run: Vec<Part> = patterns_of(number, time).into_iter().map(Part::Time).collect();
        of_run.push(Part::Text(number.to_string()));
        ways = ways
            .iter()
            .flat_map(|parts| {
                of_run.iter().map(move |part| {
                    [&parts[..], &[Part::Text(text.to_string()), part.clone()]].concat()
                })
            })
            .filter(|parts| units_differ(parts))
            .take(MOST_CANDIDATES)
            .collect();
        rest = &rest[text.len() + digits..];
    }
    let is_time = |parts: &Vec<Part>| parts.iter().any(|part| matches!(part, Part::Time(_)));
    if let Some((name, value)) = folder.split_once('=')
        && !name.is_empty()
        && !value.is_empty()
    {
        // Hive's way of writing columns. A constant one is a column too.
        ways.retain(is_time);
        let key = Part::PartitionKey { name: name.to_string(), by: KeyBy::Query };
        ways.push(vec![Part::Text(format!("{name}=")), key]);
    }
    if folder.len() == RANDOM_CHARACTERS && folder.chars().all(|c| c.is_ascii_alphanumeric()) {
        ways.push(vec![Part::Random]);
    }
    for way in &mut ways {
        way.push(Part::Text("/".to_string()));
    }
    ways
}

/// The patterns that give this number at the time, or in the hour before: the oldest record may
/// have come a little earlier than the name says.
fn patterns_of(number: &str, time: NaiveDateTime) -> Vec<Vec<Item>> {
    let hour = time - TimeDelta::hours(1);
    let spells = |items: &Vec<Item>, time: NaiveDateTime| {
        let texts = items.iter().map(|item| match item {
            Item::Field(field) => field.spell(time),
            Item::Text(text) => text.clone(),
        });
        texts.collect::<String>() == number
    };
    let parsed = PATTERNS.iter().filter_map(|text| {
        let whole = format!("{text}}}");
        pattern::parse(&whole, 0).ok().map(|(items, _)| items)
    });
    parsed
        .filter(|items| {
            // Minutes differ between the oldest record and the name.
            let minutes = items
                .iter()
                .any(|item| matches!(item, Item::Field(field) if field.unit == Unit::Minute));
            match minutes {
                true => {
                    let minutes =
                        (0..=time.minute()).map(|back| time - TimeDelta::minutes(back.into()));
                    minutes.take(16).any(|at| spells(items, at))
                }
                false => spells(items, time) || spells(items, hour),
            }
        })
        .collect()
}

/// No unit stands twice.
fn units_differ(parts: &[Part]) -> bool {
    let mut seen = [false; 7];
    parts
        .iter()
        .filter_map(|part| match part {
            Part::Time(items) => Some(items),
            _ => None,
        })
        .flatten()
        .filter_map(|item| match item {
            Item::Field(field) => Some(field.unit),
            Item::Text(_) => None,
        })
        .all(|unit| !std::mem::replace(&mut seen[unit as usize], true))
}

/// Neighbouring texts as one, and times with nothing but signs between them in one pattern, as
/// people write them.
fn joined(parts: Vec<Part>) -> Vec<Part> {
    let mut texts: Vec<Part> = Vec::new();
    for part in parts {
        match (texts.last_mut(), part) {
            (_, Part::Text(text)) if text.is_empty() => {}
            (Some(Part::Text(before)), Part::Text(text)) => before.push_str(&text),
            (Some(Part::Time(before)), Part::Time(items)) => before.extend(items),
            (_, part) => texts.push(part),
        }
    }
    let is_sign = |text: &str| text.chars().all(|c| matches!(c, '/' | '-' | '_' | '.'));
    let mut joined: Vec<Part> = Vec::new();
    let mut texts = texts.into_iter().peekable();
    while let Some(part) = texts.next() {
        match (joined.last_mut(), part) {
            (Some(Part::Time(items)), Part::Text(text))
                if is_sign(&text) && matches!(texts.peek(), Some(Part::Time(_)) | None) =>
            {
                items.push(Item::Text(text));
            }
            (Some(Part::Time(before)), Part::Time(items)) => before.extend(items),
            (_, part) => joined.push(part),
        }
    }
    joined
}
