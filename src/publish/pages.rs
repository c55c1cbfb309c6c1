//! Encodings of values inside a Parquet page: values go in, bytes come out.
//!
//! Runs and bit-packing (levels, dictionary indices), binary deltas (integers, times), lengths
//! apart from bytes and shared prefixes (text). It knows neither files nor compression.
//! Source: apache/parquet-format, Encodings.md.

use super::compact::{put_uleb, put_zigzag};

/// Values of a DELTA_BINARY_PACKED block, and of each of its four parts.
const BLOCK_VALUES: usize = 128;
const PART_VALUES: usize = 32;

/// Bits that `value` needs.
pub fn width_of(value: u64) -> u32 {
    64 - value.leading_zeros()
}

/// Packs values of `width` bits each, least significant bit first, up to a whole byte.
pub fn put_packed(out: &mut Vec<u8>, values: impl ExactSizeIterator<Item = u64>, width: u32) {
    if width == 0 {
        return;
    }
    out.reserve((values.len() * width as usize).div_ceil(8) + 8);
    let mut word = 0u64;
    let mut used = 0;
    for value in values {
        word |= value << used;
        used += width;
        if used >= 64 {
            out.extend_from_slice(&word.to_le_bytes());
            used -= 64;
            word = if used == 0 { 0 } else { value >> (width - used) };
        }
    }
    out.extend_from_slice(&word.to_le_bytes()[..used.div_ceil(8) as usize]);
}

/// The RLE / bit-packing hybrid, without a length or width in front.
pub fn put_hybrid(out: &mut Vec<u8>, values: &[u32], width: u32) {
    // A run that saves less than this many bits is not worth its own headers.
    let least_run = 8.max(64 / width.max(1) as usize);
    let mut literal_from = 0;
    let mut at = 0;
    while at < values.len() {
        // Literals go in groups of 8, so a run can only begin behind a whole group.
        let run = run_length(&values[at..]);
        if run >= least_run {
            put_literals(out, &values[literal_from..at], width);
            put_run(out, values[at], run, width);
            at += run;
            literal_from = at;
        } else {
            at = values.len().min(at + 8);
        }
    }
    put_literals(out, &values[literal_from..], width);
}

fn run_length(values: &[u32]) -> usize {
    let first = values[0];
    values.iter().take_while(|value| **value == first).count()
}

/// One run of `count` equal values.
pub fn put_run(out: &mut Vec<u8>, value: u32, count: usize, width: u32) {
    if count > 0 {
        put_uleb(out, (count as u64) << 1);
        out.extend_from_slice(&value.to_le_bytes()[..width.div_ceil(8) as usize]);
    }
}

fn put_literals(out: &mut Vec<u8>, values: &[u32], width: u32) {
    if values.is_empty() {
        return;
    }
    let groups = values.len().div_ceil(8);
    put_uleb(out, (groups as u64) << 1 | 1);
    let whole = out.len() + groups * width as usize;
    put_packed(out, values.iter().map(|value| u64::from(*value)), width);
    // The last group may be short; its missing values are padding.
    out.resize(whole, 0);
}

/// DELTA_BINARY_PACKED. Differences wrap around, so that every i64 is exact.
pub fn put_delta(out: &mut Vec<u8>, values: &[i64]) {
    put_uleb(out, BLOCK_VALUES as u64);
    put_uleb(out, (BLOCK_VALUES / PART_VALUES) as u64);
    put_uleb(out, values.len() as u64);
    let Some((&first, rest)) = values.split_first() else {
        put_zigzag(out, 0);
        return;
    };
    put_zigzag(out, first);
    let mut before = first;
    for block in rest.chunks(BLOCK_VALUES) {
        let mut deltas = [0i64; BLOCK_VALUES];
        for (delta, value) in deltas.iter_mut().zip(block) {
            *delta = value.wrapping_sub(before);
            before = *value;
        }
        let deltas = &mut deltas[..block.len()];
        let least = deltas.iter().copied().min().expect("a chunk is never empty");
        put_zigzag(out, least);
        put_parts(out, deltas, least);
    }
}

fn put_parts(out: &mut Vec<u8>, deltas: &[i64], least: i64) {
    let mut widths = [0u8; BLOCK_VALUES / PART_VALUES];
    for (width, part) in widths.iter_mut().zip(deltas.chunks(PART_VALUES)) {
        let all = part.iter().fold(0, |all, delta| all | delta.wrapping_sub(least) as u64);
        *width = width_of(all) as u8;
    }
    out.extend_from_slice(&widths);
    for (width, part) in widths.iter().zip(deltas.chunks(PART_VALUES)) {
        let whole = out.len() + PART_VALUES / 8 * usize::from(*width);
        let values = part.iter().map(|delta| delta.wrapping_sub(least) as u64);
        put_packed(out, values, u32::from(*width));
        out.resize(whole, 0);
    }
}

/// DELTA_LENGTH_BYTE_ARRAY: all lengths, then all bytes.
pub fn put_delta_length(out: &mut Vec<u8>, values: &[&[u8]]) {
    let lengths: Vec<i64> = values.iter().map(|value| value.len() as i64).collect();
    put_delta(out, &lengths);
    out.reserve(lengths.iter().sum::<i64>() as usize);
    for value in values {
        out.extend_from_slice(value);
    }
}

/// DELTA_BYTE_ARRAY: the length of the prefix shared with the value before, then what is new.
pub fn put_delta_prefix(out: &mut Vec<u8>, values: &[&[u8]]) {
    let mut prefixes = Vec::with_capacity(values.len());
    let mut suffixes: Vec<&[u8]> = Vec::with_capacity(values.len());
    let mut before: &[u8] = &[];
    for value in values {
        let shared = shared_prefix(before, value);
        prefixes.push(shared as i64);
        suffixes.push(&value[shared..]);
        before = value;
    }
    put_delta(out, &prefixes);
    put_delta_length(out, &suffixes);
}

/// Bytes that two values have in common at their front.
pub fn shared_prefix(a: &[u8], b: &[u8]) -> usize {
    let mut shared = 0;
    for (eight_a, eight_b) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        let a = u64::from_le_bytes(eight_a.try_into().expect("a chunk of 8"));
        let b = u64::from_le_bytes(eight_b.try_into().expect("a chunk of 8"));
        if a != b {
            return shared + ((a ^ b).trailing_zeros() / 8) as usize;
        }
        shared += 8;
    }
    let rest = a[shared..].iter().zip(&b[shared..]);
    shared + rest.take_while(|(a, b)| a == b).count()
}

/// PLAIN text: a length of 4 bytes before each value.
pub fn put_plain_texts(out: &mut Vec<u8>, values: &[&[u8]]) {
    for value in values {
        out.extend_from_slice(&(value.len() as u32).to_le_bytes());
        out.extend_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get_uleb(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        let mut shift = 0;
        loop {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7F) << shift;
            shift += 7;
            if byte < 0x80 {
                return value;
            }
        }
    }

    fn get_zigzag(bytes: &mut &[u8]) -> i64 {
        let raw = get_uleb(bytes);
        (raw >> 1) as i64 ^ -((raw & 1) as i64)
    }

    fn get_packed(bytes: &mut &[u8], count: usize, width: u32) -> Vec<u64> {
        let total = (count * width as usize).div_ceil(8);
        let bit = |at: usize| u64::from(bytes[at / 8] >> (at % 8) & 1);
        let values = (0..count)
            .map(|value| {
                (0..width).fold(0, |sum, at| sum | bit(value * width as usize + at as usize) << at)
            })
            .collect();
        *bytes = &bytes[total..];
        values
    }

    fn get_hybrid(mut bytes: &[u8], count: usize, width: u32) -> Vec<u32> {
        let mut values = Vec::new();
        while values.len() < count {
            let header = get_uleb(&mut bytes);
            if header & 1 == 1 {
                let packed = get_packed(&mut bytes, (header >> 1) as usize * 8, width);
                values.extend(packed.into_iter().map(|value| value as u32));
            } else {
                let mut value = [0; 4];
                let length = width.div_ceil(8) as usize;
                value[..length].copy_from_slice(&bytes[..length]);
                bytes = &bytes[length..];
                let run = std::iter::repeat_n(u32::from_le_bytes(value), (header >> 1) as usize);
                values.extend(run);
            }
        }
        assert!(bytes.is_empty());
        values.truncate(count);
        values
    }

    fn get_delta(bytes: &mut &[u8]) -> Vec<i64> {
        assert_eq!(get_uleb(bytes), BLOCK_VALUES as u64);
        assert_eq!(get_uleb(bytes), 4);
        let count = get_uleb(bytes) as usize;
        let mut values = vec![get_zigzag(bytes)];
        while values.len() < count {
            let least = get_zigzag(bytes);
            let widths = bytes[..4].to_vec();
            *bytes = &bytes[4..];
            for width in widths {
                if values.len() < count {
                    for delta in get_packed(bytes, PART_VALUES, width.into()) {
                        let before = *values.last().expect("the first value is there");
                        values.push(before.wrapping_add(least).wrapping_add(delta as i64));
                    }
                }
            }
        }
        values.truncate(count);
        values
    }

    #[test]
    fn the_hybrid_gives_back_runs_and_literals_of_every_width() {
        for width in 0..=20 {
            let mask = (1u32 << width) - 1;
            let mut values = Vec::new();
            for at in 0..500u32 {
                let repeat = if at % 7 == 0 { at % 90 } else { 1 };
                let value = at.wrapping_mul(2_654_435_761) & mask;
                values.extend(std::iter::repeat_n(value, repeat as usize));
            }
            for count in [0, 1, 7, 8, 9, values.len()] {
                let mut out = Vec::new();
                put_hybrid(&mut out, &values[..count], width);
                assert_eq!(get_hybrid(&out, count, width), &values[..count], "width {width}");
            }
        }
    }

    #[test]
    fn deltas_give_back_every_i64() {
        let mut values = vec![i64::MIN, i64::MAX, 0, -1, i64::MAX, i64::MIN, 5];
        values.extend((0..1000).map(|at: i64| at * at * 1_000_003 % 65_537));
        for count in [0, 1, 2, 33, 128, 129, 130, values.len()] {
            let mut out = Vec::new();
            put_delta(&mut out, &values[..count]);
            let mut rest = &out[..];
            let mut got = get_delta(&mut rest);
            got.truncate(count);
            assert_eq!(got, &values[..count]);
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn shared_prefixes_and_lengths_give_back_the_texts() {
        let texts = ["2022-04-18T00:00:01", "2022-04-18T00:00:02", "", "2022", "202", "용"];
        let values: Vec<&[u8]> = texts.iter().map(|text| text.as_bytes()).collect();
        let mut out = Vec::new();
        put_delta_prefix(&mut out, &values);
        let mut rest = &out[..];
        let prefixes = get_delta(&mut rest);
        let lengths = get_delta(&mut rest);
        let mut before = Vec::new();
        for (at, value) in values.iter().enumerate() {
            let (suffix, after) = rest.split_at(lengths[at] as usize);
            before.truncate(prefixes[at] as usize);
            before.extend_from_slice(suffix);
            assert_eq!(&before, value);
            rest = after;
        }
        assert!(rest.is_empty());
    }
}
