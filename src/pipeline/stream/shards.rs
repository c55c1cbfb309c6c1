//! Partition keys → shards, as Kinesis does it: MD5 into ranges of 128-bit numbers. Pure.

use std::fmt;
use std::str::FromStr;

use md5::{Digest, Md5};

/// The part of all hash keys that a shard holds, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shard {
    pub index: u32,
    pub first_key: u128,
    pub last_key: u128,
}

/// `count` shards that share all hash keys evenly.
///
/// # Panics
/// Where `count` is 0.
pub fn shards(count: u32) -> Vec<Shard> {
    // 2^128 divided by `count`, rounded down. For one shard it is 2^128 itself, which is 0 here.
    let count_wide = u128::from(count);
    let divides = u128::MAX % count_wide == count_wide - 1;
    let width = (u128::MAX / count_wide).wrapping_add(u128::from(divides));
    let first = |index: u32| width.wrapping_mul(u128::from(index));
    (0..count)
        .map(|index| Shard {
            index,
            first_key: first(index),
            last_key: if index + 1 == count { u128::MAX } else { first(index + 1) - 1 },
        })
        .collect()
}

/// The hash key of a partition key.
pub fn hash_key(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into())
}

/// The shard that holds a hash key.
pub fn shard_of(shards: &[Shard], hash_key: u128) -> &Shard {
    let at = shards.partition_point(|shard| shard.last_key < hash_key);
    &shards[at.min(shards.len() - 1)]
}

impl Shard {
    /// `shardId-000000000003`.
    pub fn id(&self) -> String {
        shard_id(self.index)
    }
}

pub fn shard_id(index: u32) -> String {
    format!("shardId-{index:012}")
}

/// The number of a record. It grows within its shard; as text it has 56 digits, as those of Kinesis.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SequenceNumber {
    pub shard: u32,
    pub number: u64,
}

/// What all of them begin with.
const LEAD: &str = "4962";
const SHARD_DIGITS: usize = 10;
const NUMBER_DIGITS: usize = 42;

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SequenceNumber { shard, number } = self;
        write!(f, "{LEAD}{shard:0SHARD_DIGITS$}{number:0NUMBER_DIGITS$}")
    }
}

/// A text that no stream here gave as a sequence number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("it is no sequence number of this stream")]
pub struct NoSequenceNumber;

impl FromStr for SequenceNumber {
    type Err = NoSequenceNumber;

    fn from_str(text: &str) -> Result<Self, NoSequenceNumber> {
        let digits = text.strip_prefix(LEAD).ok_or(NoSequenceNumber)?;
        let is_number = digits.len() == SHARD_DIGITS + NUMBER_DIGITS
            && digits.bytes().all(|byte| byte.is_ascii_digit());
        let (shard, number) = digits.split_at_checked(SHARD_DIGITS).ok_or(NoSequenceNumber)?;
        match (is_number, shard.parse(), number.parse()) {
            (true, Ok(shard), Ok(number)) => Ok(SequenceNumber { shard, number }),
            _ => Err(NoSequenceNumber),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_partition_key_is_hashed_as_kinesis_does() {
        assert_eq!(format!("{:032x}", hash_key("a")), "0cc175b9c0f1b6a831c399e269772661");
    }

    proptest! {
        #[test]
        fn every_hash_key_is_in_exactly_one_shard(count in 1..300_u32, key in any::<u128>()) {
            let shards = shards(count);
            prop_assert_eq!(shards.len() as u32, count);
            prop_assert_eq!((shards[0].first_key, shards[shards.len() - 1].last_key), (0, u128::MAX));
            for pair in shards.windows(2) {
                prop_assert_eq!(pair[0].last_key + 1, pair[1].first_key);
            }
            for key in [key, 0, u128::MAX] {
                let shard = shard_of(&shards, key);
                prop_assert!((shard.first_key..=shard.last_key).contains(&key));
            }
            let widths = shards.iter().map(|shard| shard.last_key - shard.first_key);
            let (least, most) = (widths.clone().min().unwrap(), widths.max().unwrap());
            prop_assert!(most - least <= u128::from(count));
        }

        #[test]
        fn sequence_numbers_read_as_they_are_written_and_grow(
            shard in any::<u32>(), numbers in any::<(u64, u64)>(),
        ) {
            let of = |number| SequenceNumber { shard, number };
            let (one, two) = (of(numbers.0), of(numbers.1));
            prop_assert_eq!(one.to_string().parse(), Ok(one));
            prop_assert_eq!(one.to_string().len(), 56);
            prop_assert_eq!(one.to_string().cmp(&two.to_string()), one.cmp(&two));
        }
    }

    #[test]
    fn other_texts_are_no_sequence_numbers() {
        for text in ["", "4962", "1", &"4".repeat(56), &format!("4962{}", "9".repeat(52))] {
            assert!(text.parse::<SequenceNumber>().is_err(), "{text}");
        }
    }
}
