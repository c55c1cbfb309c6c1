//! Records, and how their bytes lie in the file. Pure.

use axum::body::Bytes;

/// A record on its way in.
#[derive(Clone, Debug)]
pub struct NewRecord {
    pub stream: u32,
    pub shard: u32,
    pub partition_key: String,
    pub data: Bytes,
}

impl NewRecord {
    /// Bytes of its data and its key.
    pub fn size(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }
}

/// A record as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    pub number: u64,
    /// When it came, in µs since 1970; never less than that of the record before it in its shard.
    pub arrival_us: i64,
    pub partition_key: String,
    pub data: Vec<u8>,
}

/// A stream's id, and the index of a shard of it.
pub type ShardKey = (u32, u32);

/// Arrival, length of the partition key, partition key, data.
pub fn encode(record: &NewRecord, arrival_us: i64, bytes: &mut Vec<u8>) {
    bytes.clear();
    bytes.extend(arrival_us.to_le_bytes());
    // A partition key has at most 256 characters.
    bytes.extend((record.partition_key.len() as u16).to_le_bytes());
    bytes.extend(record.partition_key.as_bytes());
    bytes.extend(&record.data);
}

/// The record of a number.
pub fn decoded(number: u64, bytes: &[u8]) -> Record {
    let (arrival, rest) = bytes.split_at(8);
    let (len, rest) = rest.split_at(2);
    let len = u16::from_le_bytes(len.try_into().expect("2 bytes"));
    let (key, data) = rest.split_at(usize::from(len));
    Record {
        number,
        arrival_us: i64::from_le_bytes(arrival.try_into().expect("8 bytes")),
        partition_key: String::from_utf8_lossy(key).into_owned(),
        data: data.to_vec(),
    }
}
