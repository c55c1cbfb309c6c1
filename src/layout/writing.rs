//! When an object was begun → its key, as a stream names it: the other way round than `reading`.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::Prefix;
use super::errors::{ErrorOutput, ErrorPrefix};
use super::expression::{Expression, KeyBy, Part};
use super::pattern::Item;
use super::text::escape_control;

/// How a stream names its objects.
#[derive(Clone, Debug)]
pub struct Naming {
    prefix: Expression,
    tz: Tz,
}

/// What an object's name is made of.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// When its oldest record came.
    pub oldest: DateTime<Utc>,
    pub stream: &'a str,
    /// A UUID.
    pub id: &'a str,
    /// With its dot, or empty.
    pub extension: &'a str,
    /// Partition keys and their values, and the type of errors as [`super::RECOVERED`].
    pub values: &'a [(&'a str, &'a str)],
}

/// The version of the stream's configuration.
const VERSION: u32 = 1;
/// Characters of `!{firehose:random-string}`.
const RANDOM_CHARACTERS: usize = 11;

impl Naming {
    /// Of a stream with this prefix, in whose times the clock of `tz` shows. A prefix without a time
    /// gets the one that Firehose appends.
    pub fn of(prefix: &Expression, tz: Tz) -> Naming {
        let prefix = match prefix.has_time() {
            true => prefix.clone(),
            false => prefix.with_automatic_suffix(),
        };
        Naming { prefix, tz }
    }

    /// Of what such a stream can't deliver; `errors` is its error prefix, where it has one.
    pub fn of_errors(prefix: &Expression, errors: Option<&ErrorPrefix>, tz: Tz) -> Naming {
        let prefix = Prefix::Of(prefix.clone());
        Naming { prefix: ErrorOutput::expression(&prefix, errors), tz }
    }

    /// What stands in front of names.
    pub fn prefix(&self) -> &Expression {
        &self.prefix
    }

    /// Whose clock shows in times.
    pub fn tz(&self) -> Tz {
        self.tz
    }

    /// The names of the partition keys, in their order.
    pub fn partition_keys(&self) -> impl Iterator<Item = (&str, KeyBy)> {
        self.prefix.parts.iter().filter_map(|part| match part {
            Part::PartitionKey { name, by } => Some((name.as_str(), *by)),
            _ => None,
        })
    }

    /// The key of an object. A partition key without a value leaves nothing behind.
    pub fn key(&self, named: &Named<'_>) -> String {
        let Named { oldest, stream, id, extension, values } = named;
        let local = oldest.with_timezone(&self.tz).naive_local();
        let mut key = String::new();
        for part in &self.prefix.parts {
            match part {
                Part::Text(text) => key.push_str(text),
                Part::Time(items) => items.iter().for_each(|item| match item {
                    Item::Text(text) => key.push_str(text),
                    Item::Field(field) => key.push_str(&field.spell(local)),
                }),
                Part::Random => {
                    key.extend(id.chars().filter(|c| *c != '-').take(RANDOM_CHARACTERS));
                }
                Part::PartitionKey { name, .. } => {
                    let value = values.iter().find(|(known, _)| known == name);
                    key.push_str(value.map_or("", |(_, value)| value));
                }
            }
        }
        let time = local.format("%Y-%m-%d-%H-%M-%S");
        key.push_str(&format!("{stream}-{VERSION}-{time}-{id}{extension}"));
        key
    }
}

/// Why a key can't be an object's.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyProblem {
    #[error("the key '{key}' has a part that is empty, '.', '..' or rawcat's own")]
    Part { key: String },
    #[error("the key '{key}' has a part of more than {MOST_PART_BYTES} bytes")]
    LongPart { key: String },
    #[error("the key '{key}' has more than {MOST_KEY_BYTES} bytes")]
    Long { key: String },
    #[error("the key '{key}' has a control character")]
    Control { key: String },
}

/// Bytes of a key in S3, and of a name in a folder.
const MOST_KEY_BYTES: usize = 1_024;
const MOST_PART_BYTES: usize = 255;

/// Whether a key can be an object's in a bucket, and a file's in a folder: it leads nowhere else.
///
/// # Errors
/// [`KeyProblem`], with control characters escaped.
pub fn check_key(key: &str) -> Result<(), KeyProblem> {
    let shown = || escape_control(&key.chars().take(100).collect::<String>()).to_string();
    if key.len() > MOST_KEY_BYTES {
        return Err(KeyProblem::Long { key: shown() });
    }
    if key.contains(char::is_control) {
        return Err(KeyProblem::Control { key: shown() });
    }
    for part in key.split('/') {
        if matches!(part, "" | "." | ".." | ".rawcat") {
            return Err(KeyProblem::Part { key: shown() });
        }
        if part.len() > MOST_PART_BYTES {
            return Err(KeyProblem::LongPart { key: shown() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named<'a>(oldest: DateTime<Utc>, values: &'a [(&'a str, &'a str)]) -> Named<'a> {
        let id = "a1b2c3d4-e5f6-4000-8000-000000000001";
        Named { oldest, stream: "s", id, extension: ".gz", values }
    }

    #[test]
    fn a_key_that_leads_elsewhere_is_none() {
        assert_eq!(check_key("c=a/2022/s-1-x.gz"), Ok(()));
        let long = format!("{}/x", "y".repeat(256));
        let longer = "ab/".repeat(400) + "x";
        for key in
            ["/etc/x", "a//b", "a/../b", "./a", "a/", ".rawcat/x", "a\n/b", "", &long, &longer]
        {
            assert!(check_key(key).is_err(), "{key}");
        }
    }

    #[test]
    fn values_of_partition_keys_and_types_of_errors_stand_in_keys() {
        let oldest: DateTime<Utc> = "2022-04-17T15:30:05Z".parse().unwrap();
        let end = "s-1-2022-04-17-15-30-05-a1b2c3d4-e5f6-4000-8000-000000000001.gz";
        let data = "c=!{partitionKeyFromQuery:customer}/!{timestamp:yyyy}/".parse().unwrap();
        let naming = Naming::of(&data, chrono_tz::UTC);
        let key = naming.key(&named(oldest, &[("customer", "seoul")]));
        assert_eq!(key, format!("c=seoul/2022/{end}"));
        let errors = |prefix: Option<&str>| {
            let prefix: Option<ErrorPrefix> = prefix.map(|text| text.parse().unwrap());
            let naming = Naming::of_errors(&Expression::hourly(), prefix.as_ref(), chrono_tz::UTC);
            naming.key(&named(oldest, &[(super::super::RECOVERED, "processing-failed")]))
        };
        assert_eq!(errors(None), format!("processing-failed/2022/04/17/15/{end}"));
        assert_eq!(errors(Some("bad/")), format!("bad/processing-failed/2022/04/17/15/{end}"));
        let own = "bad/!{firehose:error-output-type}/!{timestamp:yyyy}/";
        assert_eq!(errors(Some(own)), format!("bad/processing-failed/2022/{end}"));
    }

    #[test]
    fn keys_are_made_as_firehose_makes_them() {
        let oldest: DateTime<Utc> = "2022-04-17T15:30:05Z".parse().unwrap();
        let key = |prefix: &str, tz: Tz| {
            let naming = Naming::of(&prefix.parse().unwrap(), tz);
            naming.key(&named(oldest, &[]))
        };
        let end = "a1b2c3d4-e5f6-4000-8000-000000000001.gz";
        let utc = chrono_tz::UTC;
        let hourly = "!{timestamp:yyyy/MM/dd/HH/}";
        assert_eq!(key(hourly, utc), format!("2022/04/17/15/s-1-2022-04-17-15-30-05-{end}"));
        let seoul = format!("2022/04/18/00/s-1-2022-04-18-00-30-05-{end}");
        assert_eq!(key(hourly, chrono_tz::Asia::Seoul), seoul);
        // What is appended to a prefix without a time has no slash in front.
        assert_eq!(key("raw", utc), format!("raw2022/04/17/15/s-1-2022-04-17-15-30-05-{end}"));
        let random = "!{firehose:random-string}/!{timestamp:yyyy-MM-dd}/";
        assert_eq!(
            key(random, utc),
            format!("a1b2c3d4e5f/2022-04-17/s-1-2022-04-17-15-30-05-{end}")
        );
    }
}
