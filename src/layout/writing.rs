//! When an object was begun → its key, as a stream names it: the other way round than `reading`.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::expression::{Expression, Part};
use super::pattern::Item;

/// How a stream names its objects.
#[derive(Clone, Debug)]
pub struct Naming {
    prefix: Expression,
    tz: Tz,
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

    /// The key of an object whose oldest record came at `oldest`. `id` is a UUID, `extension` has
    /// its dot.
    pub fn key(&self, oldest: DateTime<Utc>, stream: &str, id: &str, extension: &str) -> String {
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
                // No value is known for it.
                Part::PartitionKey { .. } => {}
            }
        }
        let time = local.format("%Y-%m-%d-%H-%M-%S");
        key.push_str(&format!("{stream}-{VERSION}-{time}-{id}{extension}"));
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_as_firehose_makes_them() {
        let oldest: DateTime<Utc> = "2022-04-17T15:30:05Z".parse().unwrap();
        let key = |prefix: &str, tz: Tz| {
            let naming = Naming::of(&prefix.parse().unwrap(), tz);
            naming.key(oldest, "s", "a1b2c3d4-e5f6-4000-8000-000000000001", ".gz")
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
