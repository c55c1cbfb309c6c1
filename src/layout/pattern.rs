//! The part of an expression behind `timestamp:`: text goes in, fields and literal text come out.
//!
//! It is a pattern of Java's `DateTimeFormatter`, as far as prefixes need it:
//! <https://docs.oracle.com/javase/8/docs/api/java/time/format/DateTimeFormatter.html>.
//! Letters are fields, text in quotes is literal, and `''` is a quote, inside of quotes too.

use std::fmt;

use chrono::{Datelike, NaiveDateTime, Timelike};

use super::expression::LayoutError;

/// What a letter stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    Year,
    Month,
    /// Of the month.
    Day,
    DayOfYear,
    Hour,
    Minute,
    Second,
}

/// A number in a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    pub unit: Unit,
    /// `y` and `u` are the same year where Firehose is concerned; each is printed as it was typed.
    letter: char,
    /// Times that the letter stands.
    count: usize,
}

/// A field, or text between fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    Field(Field),
    Text(String),
}

/// The year that `yy` counts from, as in Java.
const SHORT_YEAR_BASE: u32 = 2000;

impl Field {
    fn new(letter: char, count: usize) -> Option<Field> {
        let (unit, counts): (Unit, &[usize]) = match letter {
            'y' | 'u' => (Unit::Year, &[1, 2, 4]),
            'M' => (Unit::Month, &[1, 2]),
            'd' => (Unit::Day, &[1, 2]),
            'D' => (Unit::DayOfYear, &[1, 2, 3]),
            'H' => (Unit::Hour, &[1, 2]),
            'm' => (Unit::Minute, &[1, 2]),
            's' => (Unit::Second, &[1, 2]),
            _ => return None,
        };
        counts.contains(&count).then_some(Field { unit, letter, count })
    }

    fn is_short_year(self) -> bool {
        self.unit == Unit::Year && self.count == 2
    }

    /// The most digits that it has.
    fn most_digits(self) -> usize {
        match self.unit {
            Unit::Year if self.is_short_year() => 2,
            Unit::Year => 4,
            Unit::DayOfYear => 3,
            _ => 2,
        }
    }

    /// The number as it stands in a prefix.
    pub fn spell(self, local: NaiveDateTime) -> String {
        let number = match self.unit {
            Unit::Year => local.year().unsigned_abs(),
            Unit::Month => local.month(),
            Unit::Day => local.day(),
            Unit::DayOfYear => local.ordinal(),
            Unit::Hour => local.hour(),
            Unit::Minute => local.minute(),
            Unit::Second => local.second(),
        };
        let number = if self.is_short_year() { number % 100 } else { number };
        format!("{number:0width$}", width = self.count)
    }

    /// The numbers that can stand at the front of `text`, each with its digits: of `17x` for a `d`
    /// both 1 and 17.
    pub fn read(self, text: &str) -> impl Iterator<Item = (usize, u32)> + use<'_> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count().min(self.most_digits());
        // Every year since there is S3 has four.
        let least = if self.unit == Unit::Year && !self.is_short_year() { 4 } else { self.count };
        (least.max(self.count)..=digits).filter_map(move |len| {
            // A number that is wider than its pattern has no zeros in front.
            if len > self.count && text.starts_with('0') {
                return None;
            }
            let number: u32 = text[..len].parse().ok()?;
            Some((len, if self.is_short_year() { SHORT_YEAR_BASE + number } else { number }))
        })
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..self.count).try_for_each(|_| write!(f, "{}", self.letter))
    }
}

/// Reads the pattern that begins at byte `at` of `whole` and goes to the brace that closes it.
/// Gives its items, and where the brace stands.
pub(super) fn parse(whole: &str, at: usize) -> Result<(Vec<Item>, usize), LayoutError> {
    let place = |at: usize| whole[..at].chars().count() + 1;
    let mut items: Vec<Item> = Vec::new();
    let mut text = String::new();
    let mut rest = whole[at..].char_indices().peekable();
    let end_text = |items: &mut Vec<Item>, text: &mut String| {
        if !text.is_empty() {
            items.push(Item::Text(std::mem::take(text)));
        }
    };
    while let Some((offset, c)) = rest.next() {
        let here = at + offset;
        match c {
            '}' => {
                end_text(&mut items, &mut text);
                return match items.is_empty() {
                    true => Err(LayoutError::EmptyPattern { place: place(at) }),
                    false => Ok((items, here)),
                };
            }
            '\'' => {
                // As Java reads it: every quote opens, and quotes around nothing are a quote.
                let before = text.len();
                loop {
                    match rest.next() {
                        Some((_, '\'')) if rest.next_if(|(_, next)| *next == '\'').is_some() => {
                            text.push('\'');
                        }
                        Some((_, '\'')) => break,
                        Some((_, c)) => text.push(c),
                        None => return Err(LayoutError::OpenQuote { place: place(here) }),
                    }
                }
                if text.len() == before {
                    text.push('\'');
                }
            }
            c if c.is_ascii_alphabetic() => {
                let mut count = 1;
                while rest.next_if(|(_, next)| *next == c).is_some() {
                    count += 1;
                }
                let field = Field::new(c, count).ok_or_else(|| LayoutError::Letter {
                    letters: c.to_string().repeat(count.min(20)),
                    place: place(here),
                    advice: advice(c, count),
                })?;
                end_text(&mut items, &mut text);
                items.push(Item::Field(field));
            }
            '[' | ']' | '{' | '#' => {
                return Err(LayoutError::Reserved { sign: c, place: place(here) });
            }
            c => text.push(c),
        }
    }
    Err(LayoutError::OpenExpression { place: place(whole[..at].rfind("!{").unwrap_or(at)) })
}

/// What to write in the place of letters that are not read.
fn advice(letter: char, count: usize) -> &'static str {
    match letter {
        'y' | 'u' => "write yyyy for the year",
        'Y' => "Y is the year of weeks; write yyyy",
        'M' if count > 2 => "names of months are not read; write MM",
        'L' => "write MM",
        'd' | 'D' => "write dd for the day of the month, DDD for the day of the year",
        'h' | 'K' | 'k' | 'a' => "write HH for the hour of the day",
        'H' | 'm' | 's' => "write it twice at most",
        _ => "read are yyyy MM dd DDD HH mm ss; text stands in single quotes, as 'year='",
    }
}

/// Prints items as a pattern that [`parse`] reads back.
pub(super) fn print(items: &[Item], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for item in items {
        match item {
            Item::Field(field) => write!(f, "{field}")?,
            Item::Text(text) => {
                let plain = |c: char| {
                    !c.is_ascii_alphabetic() && !matches!(c, '\'' | '[' | ']' | '{' | '}' | '#')
                };
                match text.as_str() {
                    "'" => f.write_str("''")?,
                    text if text.chars().all(plain) => f.write_str(text)?,
                    text => write!(f, "'{}'", text.replace('\'', "''"))?,
                }
            }
        }
    }
    Ok(())
}
