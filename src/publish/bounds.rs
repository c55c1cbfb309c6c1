//! Statistics of a column chunk: its values go in, bounds that enclose them come out.

use std::ops::Deref;

use super::dictionary::Dictionary;
use super::footer::Statistics;
use super::gather::{Flat, Levels};

/// Longest bound of a text column, in bytes.
const BOUND_BYTES: usize = 64;

/// A bound's bytes. There are two for every chunk of the file until it is closed: numbers and short
/// texts stand in place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Bound {
    Short { len: u8, bytes: [u8; Bound::IN_PLACE] },
    Long(Box<[u8]>),
}

impl Bound {
    const IN_PLACE: usize = 22;
}

impl From<&[u8]> for Bound {
    fn from(bound: &[u8]) -> Self {
        if bound.len() > Bound::IN_PLACE {
            return Bound::Long(bound.into());
        }
        let mut bytes = [0; Bound::IN_PLACE];
        bytes[..bound.len()].copy_from_slice(bound);
        Bound::Short { len: bound.len() as u8, bytes }
    }
}

impl Deref for Bound {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bound::Short { len, bytes } => &bytes[..usize::from(*len)],
            Bound::Long(bytes) => bytes,
        }
    }
}

/// The statistics of a chunk. `texts`: the dictionary of a text column, if it has one.
pub fn statistics(values: &Flat, texts: Option<&Dictionary<&[u8]>>, levels: &Levels) -> Statistics {
    let nulls = (levels.slots - values.len()) as u64;
    let mut made = Statistics { nulls, ..Statistics::default() };
    let bound = |bytes: &[u8]| Bound::from(bytes);
    let bounds = match values {
        Flat::Bool(values) => bounds(values.iter().copied(), |a, b| !a & b)
            .map(|(min, max)| (bound(&[u8::from(min)]), bound(&[u8::from(max)]))),
        Flat::Int(values) => bounds(values.iter().copied(), |a, b| a < b)
            .map(|(min, max)| (bound(&min.to_le_bytes()), bound(&max.to_le_bytes()))),
        Flat::Float(values) => bounds(values.iter().copied(), |a, b| a < b).map(|(min, max)| {
            // Both zeros compare equal, so the bounds take the wider one.
            let min = if min == 0.0 { -0.0 } else { min };
            let max = if max == 0.0 { 0.0 } else { max };
            (bound(&min.to_le_bytes()), bound(&max.to_le_bytes()))
        }),
        Flat::Text(values) => {
            let distinct = texts.map_or(&values[..], |made| &made.entries);
            let found = bounds(distinct.iter().copied(), |a, b| a < b);
            if let Some((min, max)) = found {
                made.set_text_bounds(min, max);
            }
            None
        }
    };
    if let Some((min, max)) = bounds {
        made.min = Some(min);
        made.max = Some(max);
    }
    made
}

fn bounds<T: Copy>(
    mut values: impl Iterator<Item = T>,
    less: impl Fn(T, T) -> bool,
) -> Option<(T, T)> {
    let first = values.next()?;
    Some(values.fold((first, first), |(min, max), value| {
        (if less(value, min) { value } else { min }, if less(max, value) { value } else { max })
    }))
}

impl Statistics {
    /// Long texts are cut to a shorter bound that still encloses them.
    fn set_text_bounds(&mut self, min: &[u8], max: &[u8]) {
        self.min_is_exact = min.len() <= BOUND_BYTES;
        self.max_is_exact = max.len() <= BOUND_BYTES;
        self.min = Some(cut_text(min).into());
        self.max = match self.max_is_exact {
            true => Some(max.into()),
            false => next_text(cut_text(max)).map(|text| text[..].into()),
        };
    }
}

/// The longest front of whole characters within the limit.
fn cut_text(text: &[u8]) -> &[u8] {
    let mut end = text.len().min(BOUND_BYTES);
    while end < text.len() && text[end] & 0xC0 == 0x80 {
        end -= 1;
    }
    &text[..end]
}

/// A text greater than every text that begins with `front`; `None` where there is none.
fn next_text(front: &[u8]) -> Option<Vec<u8>> {
    let front = std::str::from_utf8(front).expect("frames hold whole UTF-8 values");
    let mut characters: Vec<char> = front.chars().collect();
    while let Some(last) = characters.pop() {
        // The characters between D800 and DFFF do not exist.
        let after =
            if last == '\u{D7FF}' { Some('\u{E000}') } else { char::from_u32(last as u32 + 1) };
        if let Some(after) = after {
            characters.push(after);
            return Some(characters.into_iter().collect::<String>().into_bytes());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_bounded_by_texts_that_enclose_it() {
        let long = "가".repeat(40);
        let mut made = Statistics::default();
        made.set_text_bounds(long.as_bytes(), long.as_bytes());
        let (min, max) = (made.min.expect("a bound"), made.max.expect("a bound"));
        assert!(&min[..] < long.as_bytes() && long.as_bytes() < &max[..]);
        assert_eq!(str::from_utf8(&min).expect("whole characters").len(), 63);
        assert!(str::from_utf8(&max).expect("whole characters").ends_with('각'));
        assert!(!made.min_is_exact && !made.max_is_exact);
    }

    #[test]
    fn no_text_is_greater_than_the_last_character_repeated() {
        assert_eq!(next_text("\u{10FFFF}\u{10FFFF}".as_bytes()), None);
        assert_eq!(next_text("a\u{10FFFF}".as_bytes()), Some(b"b".to_vec()));
        assert_eq!(next_text("\u{D7FF}".as_bytes()), Some("\u{E000}".into()));
    }
}
