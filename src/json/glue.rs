//! Bytes that are expected, and compared as two words: a key and its colon, or all that stands
//! between two values.
//!
//! Only bytes that were read and found good are learnt, so that what equals them is good as well.

/// How many bytes are compared, and have to be there.
pub(super) const GLUE_BYTES: usize = 32;

/// Up to [`GLUE_BYTES`] bytes, and ones where they count.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Glue {
    words: [u128; 2],
    mask: [u128; 2],
    len: u32,
}

impl Glue {
    /// `bytes`, where they are not too many.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let (mut padded, mut mask) = ([0; GLUE_BYTES], [0; GLUE_BYTES]);
        padded.get_mut(..bytes.len())?.copy_from_slice(bytes);
        mask[..bytes.len()].fill(0xFF);
        Some(Glue { words: words(&padded), mask: words(&mask), len: bytes.len() as u32 })
    }

    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// True where `bytes` begin with these.
    #[inline(always)]
    pub fn begins(&self, bytes: &[u8; GLUE_BYTES]) -> bool {
        let here = words(bytes);
        let differ = |at: usize| (here[at] ^ self.words[at]) & self.mask[at];
        differ(0) | differ(1) == 0
    }
}

#[inline(always)]
fn words(bytes: &[u8; GLUE_BYTES]) -> [u128; 2] {
    let (halves, _) = bytes.as_chunks::<16>();
    [u128::from_le_bytes(halves[0]), u128::from_le_bytes(halves[1])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_bytes_count() {
        for len in 0..=GLUE_BYTES {
            let text: Vec<u8> = (1..=len as u8).collect();
            let glue = Glue::of(&text).unwrap();
            let mut bytes = [0xEE; GLUE_BYTES];
            bytes[..len].copy_from_slice(&text);
            assert!(glue.begins(&bytes), "{len}");
            for at in 0..len {
                bytes[at] ^= 0x80;
                assert!(!glue.begins(&bytes), "{len} {at}");
                bytes[at] ^= 0x80;
            }
        }
        assert!(Glue::of(&[0; GLUE_BYTES + 1]).is_none());
    }
}
