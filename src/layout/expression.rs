//! Prefix expressions as they stand in a Firehose stream: text goes in, parts come out.
//!
//! `!{timestamp:…}`, `!{firehose:random-string}`, `!{partitionKeyFromQuery:…}` and
//! `!{partitionKeyFromLambda:…}` between literal text, by
//! <https://docs.aws.amazon.com/firehose/latest/dev/s3-prefixes.html>.

use std::fmt;
use std::str::FromStr;

use super::pattern::{self, Field, Item, Unit};

/// What Firehose appends to a prefix without expressions, with no slash of its own.
const AUTOMATIC: &str = "!{timestamp:yyyy/MM/dd/HH/}";

/// A part of a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Text(String),
    Time(Vec<Item>),
    Random,
    PartitionKey { name: String, by: KeyBy },
}

/// Who gives the value of a partition key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyBy {
    Query,
    Lambda,
    /// `!{firehose:error-output-type}` of an error prefix, which says why records lie there.
    ErrorType,
}

/// A prefix as it is configured. Its `Display` is an expression that means the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    pub parts: Vec<Part>,
}

/// Why a text is no layout. Places count characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    #[error("it is empty: write '!{{timestamp:yyyy/MM/dd/HH/}}', or flat for keys without folders")]
    Empty,
    #[error("the pattern at character {place} is empty: write !{{timestamp:yyyy/MM/dd/HH/}}")]
    EmptyPattern { place: usize },
    #[error("the quote at character {place} is not closed: text stands in quotes, as 'year='")]
    OpenQuote { place: usize },
    #[error("the expression at character {place} is not closed: }} is missing")]
    OpenExpression { place: usize },
    #[error("'{letters}' at character {place} is not read in prefixes: {advice}")]
    Letter { letters: String, place: usize, advice: &'static str },
    #[error(
        "{sign} at character {place} has a meaning of its own in patterns: write '{sign}' in quotes"
    )]
    Reserved { sign: char, place: usize },
    #[error(
        "!{{{namespace}:…}} at character {place} is not known: there are timestamp, \
         partitionKeyFromQuery, partitionKeyFromLambda, firehose:random-string, and for errors \
         firehose:error-output-type"
    )]
    Namespace { namespace: String, place: usize },
    #[error("the partition key at character {place} has no name")]
    NoKeyName { place: usize },
    #[error(
        "!{{firehose:error-output-type}} at character {place} belongs to an error prefix, whose \
         objects are never data: give the prefix of the data"
    )]
    ErrorOutput { place: usize },
    #[error("'{pattern}' stands outside of an expression: write '!{{timestamp:{pattern}}}'")]
    BarePattern { pattern: String },
    #[error("the partition key {name} stands in it twice: give each its own name")]
    SameKeyTwice { name: String },
    #[error(
        "nothing stands between the expression at character {place} and the one before it, so that \
         their values can't be told apart"
    )]
    Adjacent { place: usize },
}

impl Expression {
    /// The expression of the default prefix of a stream: `yyyy/MM/dd/HH/`.
    pub fn hourly() -> Expression {
        AUTOMATIC.parse().expect("the default is an expression")
    }

    /// True where a time stands in it.
    pub fn has_time(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Time(_)))
    }

    /// True where nothing but literal text stands in it.
    pub fn is_literal(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// The literal text in front of the first expression.
    pub fn literal_lead(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(text)) => text,
            _ => "",
        }
    }

    /// This prefix with the one that Firehose appends behind it.
    pub fn with_automatic_suffix(&self) -> Expression {
        let parts = self.parts.iter().cloned().chain(Expression::hourly().parts);
        Expression { parts: parts.collect() }
    }

    /// The names of the partition keys, in their order.
    pub fn partition_keys(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::PartitionKey { name, .. } => Some(name.as_str()),
            _ => None,
        })
    }

    /// All fields of all its times.
    pub fn fields(&self) -> impl Iterator<Item = Field> {
        let times = self.parts.iter().filter_map(|part| match part {
            Part::Time(items) => Some(items),
            _ => None,
        });
        times.flatten().filter_map(|item| match item {
            Item::Field(field) => Some(*field),
            Item::Text(_) => None,
        })
    }

    pub fn has_unit(&self, unit: Unit) -> bool {
        self.fields().any(|field| field.unit == unit)
    }
}

impl FromStr for Expression {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        Expression::read(text, None)
    }
}

impl Expression {
    /// Reads the error prefix of a stream; the type of errors becomes the partition key `type_key`.
    ///
    /// # Errors
    /// [`LayoutError`], as for any prefix.
    pub fn of_errors(text: &str, type_key: &str) -> Result<Expression, LayoutError> {
        Expression::read(text, Some(type_key))
    }

    fn read(text: &str, type_key: Option<&str>) -> Result<Expression, LayoutError> {
        let mut parts: Vec<Part> = Vec::new();
        let mut literal = String::new();
        let mut at = 0;
        while let Some(found) = text[at..].find("!{") {
            let begin = at + found;
            literal.push_str(&text[at..begin]);
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            let (part, end) = parse_part(text, begin, type_key)?;
            if let Part::PartitionKey { name, .. } = &part
                && parts.iter().any(|known| matches!(known, Part::PartitionKey { name: other, .. } if other == name))
            {
                return Err(LayoutError::SameKeyTwice { name: name.clone() });
            }
            if let Some(before @ (Part::Random | Part::PartitionKey { .. })) = parts.last()
                && matches!(part, Part::Random | Part::PartitionKey { .. })
                && (&part, before) != (&Part::Random, &Part::Random)
            {
                return Err(LayoutError::Adjacent { place: text[..begin].chars().count() + 1 });
            }
            parts.push(part);
            at = end;
        }
        literal.push_str(&text[at..]);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        if parts.is_empty() {
            return Err(LayoutError::Empty);
        }
        let expression = Expression { parts };
        if expression.is_literal()
            && let Some(at) = text.find("yyyy")
        {
            let pattern = text[at..].to_string();
            return Err(LayoutError::BarePattern { pattern });
        }
        Ok(expression)
    }
}

/// The part whose `!{` stands at byte `begin`, and the byte behind its brace.
fn parse_part(
    text: &str,
    begin: usize,
    type_key: Option<&str>,
) -> Result<(Part, usize), LayoutError> {
    const TIMESTAMP: &str = "timestamp:";
    let place = text[..begin].chars().count() + 1;
    let inside = begin + "!{".len();
    if text[inside..].starts_with(TIMESTAMP) {
        let (items, end) = pattern::parse(text, inside + TIMESTAMP.len())?;
        return Ok((Part::Time(items), end + 1));
    }
    let Some(len) = text[inside..].find('}') else {
        return Err(LayoutError::OpenExpression { place });
    };
    let content = &text[inside..inside + len];
    let end = inside + len + 1;
    let key = |name: &str, by: KeyBy| match name {
        "" => Err(LayoutError::NoKeyName { place }),
        name => Ok(Part::PartitionKey { name: name.to_string(), by }),
    };
    let part = match content.split_once(':') {
        Some(("firehose", "random-string")) => Part::Random,
        Some(("firehose", "error-output-type")) => match type_key {
            Some(name) => key(name, KeyBy::ErrorType)?,
            None => return Err(LayoutError::ErrorOutput { place }),
        },
        Some(("partitionKeyFromQuery", name)) => key(name, KeyBy::Query)?,
        Some(("partitionKeyFromLambda", name)) => key(name, KeyBy::Lambda)?,
        other => {
            let namespace = other.map_or(content, |(namespace, _)| namespace).to_string();
            return Err(LayoutError::Namespace { namespace, place });
        }
    };
    Ok((part, end))
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(text) => f.write_str(text)?,
                Part::Time(items) => {
                    f.write_str("!{timestamp:")?;
                    pattern::print(items, f)?;
                    f.write_str("}")?;
                }
                Part::Random => f.write_str("!{firehose:random-string}")?,
                Part::PartitionKey { name, by: KeyBy::Query } => {
                    write!(f, "!{{partitionKeyFromQuery:{name}}}")?;
                }
                Part::PartitionKey { by: KeyBy::ErrorType, .. } => {
                    f.write_str("!{firehose:error-output-type}")?;
                }
                Part::PartitionKey { name, by: KeyBy::Lambda } => {
                    write!(f, "!{{partitionKeyFromLambda:{name}}}")?;
                }
            }
        }
        Ok(())
    }
}
