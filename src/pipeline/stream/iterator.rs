//! Shard iterators: where a reader stands ↔ the opaque text that it is given. Pure.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};

/// How long an iterator may be used, as on AWS.
pub const LIFE: TimeDelta = TimeDelta::minutes(5);

/// Where a reader stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShardIterator {
    /// The stream's id: another stream of the same name is another stream.
    pub stream: u32,
    pub shard: u32,
    /// The number of the first record that is read.
    pub next: u64,
    pub made: DateTime<Utc>,
}

/// What is wrong with the text of an iterator.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IteratorProblem {
    #[error("it is no shard iterator of this pipeline")]
    Foreign,
    #[error("it is older than 5 minutes: get another one behind the last sequence number")]
    Expired,
}

const BYTES: usize = 4 + 4 + 8 + 8;

impl ShardIterator {
    pub fn to_text(self) -> String {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(self.shard.to_be_bytes());
        bytes.extend(self.next.to_be_bytes());
        bytes.extend(self.made.timestamp_millis().to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub fn from_text(text: &str, now: DateTime<Utc>) -> Result<ShardIterator, IteratorProblem> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| IteratorProblem::Foreign)?;
        let bytes: [u8; BYTES] = bytes.try_into().map_err(|_| IteratorProblem::Foreign)?;
        let number = |from: usize| {
            u64::from_be_bytes(bytes[from..from + 8].try_into().expect("there are 8 bytes"))
        };
        let made_ms = i64::try_from(number(16)).map_err(|_| IteratorProblem::Foreign)?;
        let made = DateTime::from_timestamp_millis(made_ms).ok_or(IteratorProblem::Foreign)?;
        if now.signed_duration_since(made) > LIFE {
            return Err(IteratorProblem::Expired);
        }
        let ids = number(0);
        let (stream, shard) = ((ids >> 32) as u32, ids as u32);
        Ok(ShardIterator { stream, shard, next: number(8), made })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_text_is_an_iterator_or_none(text in "[A-Za-z0-9_=-]{0,40}", ms in 0..i64::MAX / 1_000) {
            let now = DateTime::from_timestamp_millis(ms % 4_000_000_000_000).unwrap();
            let _ = ShardIterator::from_text(&text, now);
        }
    }

    #[test]
    fn an_iterator_is_read_back_until_it_expires() {
        let made = DateTime::from_timestamp_millis(1_650_000_000_123).unwrap();
        let iterator = ShardIterator { stream: 7, shard: 3, next: 1 << 40, made };
        let text = iterator.to_text();
        assert_eq!(ShardIterator::from_text(&text, made + LIFE), Ok(iterator));
        let late = made + LIFE + TimeDelta::milliseconds(1);
        assert_eq!(ShardIterator::from_text(&text, late), Err(IteratorProblem::Expired));
        for other in ["", "x", "AAAA", "not base64!", &format!("{text}AA")] {
            let read = ShardIterator::from_text(other, made);
            assert_eq!(read, Err(IteratorProblem::Foreign), "{other}");
        }
    }
}
