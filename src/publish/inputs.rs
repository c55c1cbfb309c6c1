//! What a day was made of, object by object, as a manifest keeps it: later it tells what came, what
//! changed and what is gone.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// A key and its version, both hashed: 12 bytes an object, for days of a hundred thousand.
type Input = (u64, u32);

/// The objects of a day, each by the hashes of its key and of its version, sorted.
///
/// As text, 24 hexadecimal digits an object: 16 of the key's xxh3, 8 of the version's.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Inputs(Vec<Input>);

/// What became of objects since, in numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Since {
    pub came: u64,
    pub changed: u64,
    pub gone: u64,
}

impl Since {
    pub fn is_nothing(&self) -> bool {
        *self == Since::default()
    }
}

impl Inputs {
    /// The objects as `(key, bytes, what else tells versions apart)`: an ETag, or the time of the
    /// last change in nanoseconds where there is none.
    pub fn of<'a>(
        objects: impl IntoIterator<Item = (&'a str, u64, Result<&'a str, Option<i64>>)>,
    ) -> Inputs {
        let input = |(key, bytes, version): (&str, u64, Result<&str, Option<i64>>)| {
            let mut hash = Xxh3::new();
            hash.update(&bytes.to_le_bytes());
            match version {
                Ok(etag) => hash.update(etag.as_bytes()),
                Err(modified) => hash.update(&modified.unwrap_or_default().to_le_bytes()),
            }
            (xxh3_64(key.as_bytes()), hash.digest() as u32)
        };
        let mut inputs: Vec<Input> = objects.into_iter().map(input).collect();
        inputs.sort_unstable();
        Inputs(inputs)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What became of the objects of `before` in these.
    pub fn since(&self, before: &Inputs) -> Since {
        let mut since = Since::default();
        let (mut then, mut now) = (before.0.iter().peekable(), self.0.iter().peekable());
        loop {
            match (then.peek(), now.peek()) {
                (Some((a, _)), Some((b, _))) if a == b => {
                    since.changed += u64::from(then.next() != now.next());
                }
                (Some((a, _)), Some((b, _))) if a < b => {
                    since.gone += 1;
                    then.next();
                }
                (Some(_), None) => {
                    since.gone += 1;
                    then.next();
                }
                (_, Some(_)) => {
                    since.came += 1;
                    now.next();
                }
                (None, None) => return since,
            }
        }
    }
}

impl From<Inputs> for String {
    fn from(inputs: Inputs) -> String {
        let digits = |(key, version): &Input| format!("{key:016x}{version:08x}");
        inputs.0.iter().map(digits).collect()
    }
}

impl TryFrom<String> for Inputs {
    type Error = String;

    fn try_from(text: String) -> Result<Inputs, String> {
        const DIGITS: usize = 24;
        let input = |digits: &[u8]| {
            let (key, version) = std::str::from_utf8(digits).ok()?.split_at_checked(16)?;
            Some((u64::from_str_radix(key, 16).ok()?, u32::from_str_radix(version, 16).ok()?))
        };
        let inputs = match text.len() % DIGITS {
            0 => text.as_bytes().chunks(DIGITS).map(input).collect::<Option<Vec<Input>>>(),
            _ => None,
        };
        inputs.map(Inputs).ok_or_else(|| "its inputs are not 24 digits an object".to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_changed_and_went_is_told_apart() {
        let inputs = |objects: &[(&'static str, u64, &'static str)]| {
            Inputs::of(objects.iter().map(|(key, bytes, etag)| (*key, *bytes, Ok(*etag))))
        };
        let before = inputs(&[("a", 1, "x"), ("b", 1, "x"), ("c", 1, "x"), ("d", 1, "x")]);
        let now = inputs(&[("e", 1, "x"), ("d", 1, "y"), ("a", 1, "x"), ("b", 2, "x")]);
        assert_eq!(now.since(&before), Since { came: 1, changed: 2, gone: 1 });
        assert_eq!(before.since(&now), Since { came: 1, changed: 2, gone: 1 });
        assert!(before.since(&before).is_nothing());
        assert_eq!(before.since(&Inputs::default()), Since { came: 4, ..Since::default() });
    }

    #[test]
    fn without_an_etag_the_time_of_the_last_change_tells_versions_apart() {
        let inputs = |modified| Inputs::of([("a", 1, Err(modified))]);
        assert_eq!(inputs(Some(2)).since(&inputs(Some(1))).changed, 1);
        assert!(inputs(None).since(&inputs(None)).is_nothing());
    }

    #[test]
    fn the_text_of_a_manifest_gives_the_same_objects() {
        let inputs = Inputs::of([("a", 1, Ok("x")), ("b", 2, Err(Some(-1))), ("c", 3, Err(None))]);
        let text = serde_json::to_string(&inputs).unwrap();
        assert_eq!(text.len(), 3 * 24 + 2);
        assert_eq!(serde_json::from_str::<Inputs>(&text).unwrap(), inputs);
        for bad in ["\"0\"", "\"00000000000000000000000g\"", "\"é0000000000000000000000\""] {
            assert!(serde_json::from_str::<Inputs>(bad).is_err(), "{bad}");
        }
    }
}
