//! Hours and an expression go in; the prefixes to list come out, and where parts of them are not
//! known from the hours (partition keys), the folders that tell.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDateTime;

use super::pattern::Unit;
use super::reading::Token;

/// A prefix whose times are written out; what is not known is left open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spelled(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Text(String),
    /// Text without a slash.
    Any,
}

/// What to do next with a [`Spelled`] prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// List everything below this prefix.
    List(String),
    /// Ask for the folders that begin with `parent`, and go on with [`Spelled::within`] each.
    Folders { parent: String },
}

/// How finely prefixes are written out. What is finer is left to the listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grain {
    Day,
    Hour,
}

impl Grain {
    fn writes(self, unit: Unit) -> bool {
        match unit {
            Unit::Minute | Unit::Second => false,
            Unit::Hour => self == Grain::Hour,
            Unit::Year | Unit::Month | Unit::Day | Unit::DayOfYear => true,
        }
    }
}

/// The prefixes of these local hours, each once.
pub(super) fn spell(
    tokens: &[Token],
    hours: impl IntoIterator<Item = NaiveDateTime>,
    grain: Grain,
) -> BTreeSet<Spelled> {
    let written = |token: &Token| matches!(token, Token::Field(field) if grain.writes(field.unit));
    let last_time = tokens.iter().rposition(written);
    let spell_one = |hour: NaiveDateTime| {
        let mut pieces: Vec<Piece> = Vec::new();
        for (at, token) in tokens.iter().enumerate() {
            let text = match token {
                Token::Text(text) => text.clone(),
                Token::Field(field) if grain.writes(field.unit) => field.spell(hour),
                // A folder for each object: listing them costs more than listing the objects.
                Token::Any { key: None } | Token::Field(_) => break,
                // Behind the last time, what lies below is wanted whatever its names are.
                Token::Any { .. } if last_time.is_none_or(|last| at > last) => break,
                Token::Any { .. } => {
                    pieces.push(Piece::Any);
                    continue;
                }
            };
            match pieces.last_mut() {
                Some(Piece::Text(before)) => before.push_str(&text),
                _ => pieces.push(Piece::Text(text)),
            }
        }
        Spelled(pieces)
    };
    hours.into_iter().map(spell_one).collect()
}

impl Spelled {
    /// What is to be done to know the prefixes that this one stands for.
    pub fn step(&self) -> Step {
        let (lead, rest) = match self.0.split_first() {
            Some((Piece::Text(lead), rest)) => (lead.clone(), rest),
            _ => (String::new(), &self.0[..]),
        };
        // Folders help where one ends behind what is not known; a prefix helps as well.
        let mut behind = rest.iter().filter_map(|piece| match piece {
            Piece::Text(text) => Some(text),
            Piece::Any => None,
        });
        match rest.is_empty() || !behind.any(|text| text.contains('/')) {
            true => Step::List(lead),
            false => Step::Folders { parent: lead },
        }
    }

    /// What is left to find within a folder that was found for [`Step::Folders`]; `None` where the
    /// folder is another one.
    pub fn within(&self, folder: &str) -> Option<Spelled> {
        let mut pieces = self.0.iter().cloned();
        let mut head: Vec<Piece> = Vec::new();
        let mut tail: Vec<Piece> = Vec::new();
        let mut any = false;
        for piece in pieces.by_ref() {
            match piece {
                Piece::Text(text) if any && text.contains('/') => {
                    let end = text.find('/').map_or(text.len(), |at| at + 1);
                    head.push(Piece::Text(text[..end].to_string()));
                    tail.push(Piece::Text(text[end..].to_string()));
                    break;
                }
                piece => {
                    any |= piece == Piece::Any;
                    head.push(piece);
                }
            }
        }
        if !is_like(&head, folder) {
            return None;
        }
        tail.extend(pieces);
        let mut joined = vec![Piece::Text(folder.to_string())];
        for piece in tail {
            match (joined.last_mut(), piece) {
                (Some(Piece::Text(before)), Piece::Text(text)) => before.push_str(&text),
                (_, piece) => joined.push(piece),
            }
        }
        Some(Spelled(joined))
    }
}

/// True where the pieces can be read as exactly this text.
fn is_like(pieces: &[Piece], text: &str) -> bool {
    match pieces.split_first() {
        None => text.is_empty(),
        Some((Piece::Text(literal), rest)) => {
            text.strip_prefix(literal.as_str()).is_some_and(|text| is_like(rest, text))
        }
        Some((Piece::Any, rest)) => {
            let end = text.find('/').unwrap_or(text.len());
            let cuts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            cuts.filter(|at| (1..=end).contains(at)).any(|at| is_like(rest, &text[at..]))
        }
    }
}

/// The prefixes to list. `folders` gives the folders that begin with a text, each with a `/` at its
/// end; it is asked once for each text.
pub fn prefixes_of<E>(
    spelled: impl IntoIterator<Item = Spelled>,
    folders: &mut impl FnMut(&str) -> Result<Vec<String>, E>,
) -> Result<Vec<String>, E> {
    let mut open: Vec<Spelled> = spelled.into_iter().collect();
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut prefixes = Vec::new();
    while let Some(spelled) = open.pop() {
        match spelled.step() {
            Step::List(prefix) => prefixes.push(prefix),
            Step::Folders { parent } => {
                if !known.contains_key(&parent) {
                    known.insert(parent.clone(), folders(&parent)?);
                }
                open.extend(known[&parent].iter().filter_map(|folder| spelled.within(folder)));
            }
        }
    }
    Ok(uncovered(prefixes))
}

/// The prefixes that none of the others covers: each key lies below one of them at most.
fn uncovered(prefixes: impl IntoIterator<Item = String>) -> Vec<String> {
    let sorted: BTreeSet<String> = prefixes.into_iter().collect();
    let mut kept: Vec<String> = Vec::new();
    for prefix in sorted {
        // In this order, whatever covers a prefix stands right before those that it covers.
        if !kept.last().is_some_and(|last| prefix.starts_with(last.as_str())) {
            kept.push(prefix);
        }
    }
    kept
}
