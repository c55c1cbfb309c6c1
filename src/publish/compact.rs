//! Thrift's compact protocol, the writing half: fields go in, bytes come out.
//!
//! Parquet's page headers and footer are Thrift structures. Only what they need is here: i32, i64,
//! bool, binary, list and struct. It never reads, and it knows no structure of Parquet's.
//! Source: apache/thrift, doc/specs/thrift-compact-protocol.md.

const BOOL_TRUE: u8 = 1;
const BOOL_FALSE: u8 = 2;
pub const I32: u8 = 5;
const I64: u8 = 6;
pub const BINARY: u8 = 8;
const LIST: u8 = 9;
pub const STRUCT: u8 = 12;

/// An unsigned LEB128 number, which Parquet's own encodings use too.
pub fn put_uleb(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A signed number, small in magnitude means short.
pub fn put_zigzag(out: &mut Vec<u8>, value: i64) {
    put_uleb(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// A length, then the bytes.
pub fn put_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uleb(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes one structure; `fill` adds its fields in ascending order of their ids.
pub fn put_struct(out: &mut Vec<u8>, fill: impl FnOnce(&mut Fields)) {
    let mut fields = Fields { out, last_id: 0 };
    fill(&mut fields);
    out.push(0);
}

/// The fields of a structure that is being written.
pub struct Fields<'a> {
    out: &'a mut Vec<u8>,
    last_id: i16,
}

impl Fields<'_> {
    fn header(&mut self, id: i16, kind: u8) {
        let step = id - self.last_id;
        debug_assert!((1..=15).contains(&step), "ids ascend and lie close together");
        self.out.push((step as u8) << 4 | kind);
        self.last_id = id;
    }

    pub fn bool(&mut self, id: i16, value: bool) {
        self.header(id, if value { BOOL_TRUE } else { BOOL_FALSE });
    }

    pub fn i32(&mut self, id: i16, value: i32) {
        self.header(id, I32);
        put_zigzag(self.out, value.into());
    }

    pub fn i64(&mut self, id: i16, value: i64) {
        self.header(id, I64);
        put_zigzag(self.out, value);
    }

    pub fn binary(&mut self, id: i16, bytes: &[u8]) {
        self.header(id, BINARY);
        put_binary(self.out, bytes);
    }

    pub fn structure(&mut self, id: i16, fill: impl FnOnce(&mut Fields)) {
        self.header(id, STRUCT);
        put_struct(self.out, fill);
    }

    pub fn list<T>(
        &mut self,
        id: i16,
        kind: u8,
        items: &[T],
        mut put: impl FnMut(&mut Vec<u8>, &T),
    ) {
        self.header(id, LIST);
        if items.len() < 15 {
            self.out.push((items.len() as u8) << 4 | kind);
        } else {
            self.out.push(0xF0 | kind);
            put_uleb(self.out, items.len() as u64);
        }
        for item in items {
            put(self.out, item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_fields_take_a_byte_of_header_and_a_zigzag_value() {
        let mut out = Vec::new();
        put_struct(&mut out, |fields| {
            fields.i32(1, -1);
            fields.i64(3, 300);
            fields.bool(4, true);
            fields.binary(5, b"ab");
        });
        let expected = [0x15, 1, 0x26, 0xD8, 0x04, 0x11, 0x18, 2, b'a', b'b', 0];
        assert_eq!(out, expected);
    }

    #[test]
    fn a_list_of_fifteen_spells_its_length_out() {
        let mut out = Vec::new();
        put_struct(&mut out, |fields| {
            fields.list(1, I32, &[0i32; 15], |out, item| put_zigzag(out, (*item).into()));
        });
        assert_eq!(&out[..3], &[0x19, 0xF5, 15]);
        assert_eq!(out.len(), 3 + 15 + 1);
    }

    #[test]
    fn the_extremes_of_i64_survive_zigzag() {
        for value in [i64::MIN, -1, 0, 1, i64::MAX] {
            let mut out = Vec::new();
            put_zigzag(&mut out, value);
            let mut raw = 0u64;
            for (at, byte) in out.iter().enumerate() {
                raw |= u64::from(byte & 0x7F) << (7 * at);
            }
            assert_eq!((raw >> 1) as i64 ^ -((raw & 1) as i64), value);
        }
    }
}
