//! A key and an expression go in; the ways in which the expression can have spelled the key come
//! out.
//!
//! Usually there is one. Fields of no fixed width and text that may be anything make more of them:
//! all are tried, since a wrong guess would lose the object.

use chrono::{Months, NaiveDate, NaiveDateTime, TimeDelta};

use super::expression::{Expression, Part};
use super::pattern::{Field, Item, Unit};

/// The most steps that a key is worth. Only a key that was made to cost time needs so many.
const MOST_STEPS: u32 = 20_000;

/// What an expression is made of, in the order of reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Text(String),
    Field(Field),
    /// Text of any length without a slash: the value of a partition key, or a random string.
    Any {
        key: Option<usize>,
    },
}

/// The tokens of an expression. Partition keys are numbered in their order.
pub(super) fn tokens(expression: &Expression) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut keys = 0;
    for part in &expression.parts {
        match part {
            Part::Text(text) => tokens.push(Token::Text(text.clone())),
            Part::Random => tokens.push(Token::Any { key: None }),
            Part::PartitionKey { .. } => {
                tokens.push(Token::Any { key: Some(keys) });
                keys += 1;
            }
            Part::Time(items) => tokens.extend(items.iter().map(|item| match item {
                Item::Text(text) => Token::Text(text.clone()),
                Item::Field(field) => Token::Field(*field),
            })),
        }
    }
    tokens
}

/// One way to read a key.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading<'k> {
    numbers: [Option<u32>; 7],
    /// The values of the partition keys.
    pub values: Vec<&'k str>,
    /// What stands behind the prefix.
    pub rest: &'k str,
}

/// The local times that a prefix stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub from: NaiveDateTime,
    pub until: NaiveDateTime,
    /// A day or more.
    pub is_coarse: bool,
}

impl Reading<'_> {
    fn number(&self, unit: Unit) -> Option<u32> {
        self.numbers[unit as usize]
    }

    /// The local times of this prefix, as finely as it says them without a gap: year, month, day,
    /// hour and so on. `Ok(None)` without a year, `Err` for what is in no calendar.
    pub fn cell(&self) -> Result<Option<Cell>, NotInCalendar> {
        let Some(year) = self.number(Unit::Year) else { return Ok(None) };
        let year = i32::try_from(year).map_err(|_| NotInCalendar)?;
        let month = self.number(Unit::Month);
        let date = match (month, self.number(Unit::Day), self.number(Unit::DayOfYear)) {
            (Some(month), Some(day), _) => NaiveDate::from_ymd_opt(year, month, day),
            (_, _, Some(day)) => NaiveDate::from_yo_opt(year, day),
            (month, None, None) | (month @ None, _, None) => {
                let first = NaiveDate::from_ymd_opt(year, month.unwrap_or(1), 1);
                let months = if month.is_some() { 1 } else { 12 };
                let after = first.and_then(|first| first.checked_add_months(Months::new(months)));
                let (first, after) = (first.ok_or(NotInCalendar)?, after.ok_or(NotInCalendar)?);
                return Ok(Some(Cell {
                    from: first.and_time(Default::default()),
                    until: after.and_time(Default::default()),
                    is_coarse: true,
                }));
            }
        };
        let date = date.ok_or(NotInCalendar)?;
        let fine = [Unit::Hour, Unit::Minute, Unit::Second].map(|unit| self.number(unit));
        let (length, fine) = match fine {
            [None, ..] => (TimeDelta::days(1), (0, 0, 0)),
            [Some(hour), None, _] => (TimeDelta::hours(1), (hour, 0, 0)),
            [Some(hour), Some(minute), None] => (TimeDelta::minutes(1), (hour, minute, 0)),
            [Some(hour), Some(minute), Some(second)] => {
                (TimeDelta::seconds(1), (hour, minute, second))
            }
        };
        let from = date.and_hms_opt(fine.0, fine.1, fine.2).ok_or(NotInCalendar)?;
        let until = from.checked_add_signed(length).ok_or(NotInCalendar)?;
        Ok(Some(Cell { from, until, is_coarse: length >= TimeDelta::days(1) }))
    }
}

/// Numbers that no date or time has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotInCalendar;

/// Gives every way to read `key` to `take`. False where there are too many to try them all.
pub(super) fn read<'k>(tokens: &[Token], key: &'k str, take: &mut dyn FnMut(&Reading<'k>)) -> bool {
    let mut steps = 0;
    let mut reading = Reading::default();
    go(tokens, key, &mut reading, &mut steps, take);
    steps <= MOST_STEPS
}

fn go<'k>(
    tokens: &[Token],
    key: &'k str,
    reading: &mut Reading<'k>,
    steps: &mut u32,
    take: &mut dyn FnMut(&Reading<'k>),
) {
    *steps += 1;
    if *steps > MOST_STEPS {
        return;
    }
    let Some((token, tokens)) = tokens.split_first() else {
        reading.rest = key;
        return take(reading);
    };
    match token {
        Token::Text(text) => {
            if let Some(key) = key.strip_prefix(text.as_str()) {
                go(tokens, key, reading, steps, take);
            }
        }
        Token::Field(field) => {
            let at = field.unit as usize;
            let before = reading.numbers[at];
            for (len, number) in field.read(key) {
                // A field that stands twice says the same twice.
                if before.is_none_or(|before| before == number) {
                    reading.numbers[at] = Some(number);
                    go(tokens, &key[len..], reading, steps, take);
                }
            }
            reading.numbers[at] = before;
        }
        Token::Any { key: named } => {
            let end = key.find('/').unwrap_or(key.len());
            // Where literal text follows, only the places where it stands can end this.
            let next = match tokens.first() {
                Some(Token::Text(text)) => Some(text.as_str()),
                _ => None,
            };
            // Of two beside each other, it says nothing where the first one ends.
            let end = match tokens.first() {
                Some(Token::Any { .. }) => end.min(key.chars().next().map_or(0, char::len_utf8)),
                _ => end,
            };
            for (len, _) in key.char_indices().skip(1).chain([(key.len(), ' ')]) {
                if len > end || len == 0 {
                    break;
                }
                if next.is_some_and(|next| !key[len..].starts_with(next)) {
                    continue;
                }
                if named.is_some() {
                    reading.values.push(&key[..len]);
                }
                go(tokens, &key[len..], reading, steps, take);
                if named.is_some() {
                    reading.values.pop();
                }
            }
        }
    }
}
