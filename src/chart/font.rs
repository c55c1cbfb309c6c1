//! The embedded font: characters go in, advances and outlines come out, so that text can be
//! measured before it is placed and drawn as shapes where no font is installed.
//!
//! It reads the one font file that `scripts/make_font.py` makes (TrueType outlines, a format 12
//! character map, components that are moved and nothing else) and never a font of the machine.

use std::sync::OnceLock;

use plotters::style::{FontStyle, register_font};

/// The family under which plotters knows the font.
pub const FAMILY: &str = "rawcat-sans";

/// Stands for a character that the font has not.
const UNKNOWN: char = '\u{25A1}';

/// What the packed font unpacks to at most, bytes.
const UNPACKED_BYTES: usize = 2 << 20;

static PACKED: &[u8] = include_bytes!("../../assets/rawcat-sans.ttf.zst");
static FONT: OnceLock<Font> = OnceLock::new();

/// Glyph number in the font file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Glyph(u16);

/// A point of an outline, font units, y upwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    pub x: i32,
    pub y: i32,
    pub on_curve: bool,
}

/// Where the tables of the font file are. Offsets are bytes from its beginning.
pub struct Font {
    data: &'static [u8],
    glyf: usize,
    loca: usize,
    hmtx: usize,
    /// Where the groups of the character map begin, and how many there are.
    groups: usize,
    group_count: usize,
    metric_count: u16,
    glyph_count: u16,
    long_offsets: bool,
    units_per_em: u16,
}

/// The font, unpacked once and made known to plotters.
pub fn font() -> &'static Font {
    FONT.get_or_init(|| {
        let data = zstd::bulk::decompress(PACKED, UNPACKED_BYTES)
            .expect("the embedded font unpacks: a test reads all of it");
        let data: &'static [u8] = Box::leak(data.into_boxed_slice());
        if register_font(FAMILY, FontStyle::Normal, data).is_err() {
            unreachable!("the embedded font is a font: a test draws with it");
        }
        Font::read(data).expect("the embedded font has its tables: a test reads all of it")
    })
}

impl Font {
    fn read(data: &'static [u8]) -> Option<Font> {
        let head = table(data, b"head")?;
        let hhea = table(data, b"hhea")?;
        let maxp = table(data, b"maxp")?;
        let cmap = table(data, b"cmap")?;
        // One subtable of format 12: 4 bytes of header, then the record with its offset.
        let map = cmap + u32_at(data, cmap + 8)? as usize;
        if u16_at(data, map)? != 12 {
            return None;
        }
        Some(Font {
            data,
            glyf: table(data, b"glyf")?,
            loca: table(data, b"loca")?,
            hmtx: table(data, b"hmtx")?,
            groups: map + 16,
            group_count: u32_at(data, map + 12)? as usize,
            metric_count: u16_at(data, hhea + 34)?,
            glyph_count: u16_at(data, maxp + 4)?,
            long_offsets: u16_at(data, head + 50)? == 1,
            units_per_em: u16_at(data, head + 18)?,
        })
    }

    pub fn units_per_em(&self) -> f64 {
        f64::from(self.units_per_em)
    }

    /// The glyph of a character, or of the square that stands for an unknown one.
    pub fn glyph(&self, character: char) -> Glyph {
        self.lookup(character).or_else(|| self.lookup(UNKNOWN)).unwrap_or(Glyph(0))
    }

    /// The character itself, or the square where the font has not got it.
    pub fn known(&self, character: char) -> char {
        if self.lookup(character).is_some() { character } else { UNKNOWN }
    }

    /// Binary search among the groups (first, last, glyph of the first).
    fn lookup(&self, character: char) -> Option<Glyph> {
        let code = character as u32;
        let (mut low, mut high) = (0, self.group_count);
        while low < high {
            let middle = low + (high - low) / 2;
            let group = self.groups + middle * 12;
            let first = u32_at(self.data, group)?;
            if code < first {
                high = middle;
            } else if code > u32_at(self.data, group + 4)? {
                low = middle + 1;
            } else {
                let glyph = u32_at(self.data, group + 8)? + (code - first);
                return u16::try_from(glyph).ok().map(Glyph);
            }
        }
        None
    }

    /// How far the pen moves after the glyph, font units.
    pub fn advance(&self, glyph: Glyph) -> u16 {
        let row = glyph.0.min(self.metric_count.saturating_sub(1));
        u16_at(self.data, self.hmtx + usize::from(row) * 4).unwrap_or(0)
    }

    /// Width of a line of text, in the unit of `size` (the height of the em square).
    pub fn width(&self, text: &str, size: f64) -> f64 {
        let units: u64 = text.chars().map(|c| u64::from(self.advance(self.glyph(c)))).sum();
        units as f64 * size / self.units_per_em()
    }

    /// The leftmost x of the glyph, font units; 0 for a blank.
    pub fn left(&self, glyph: Glyph) -> i16 {
        self.record(glyph).and_then(|at| i16_at(self.data, at + 2)).unwrap_or(0)
    }

    /// The closed contours of a glyph; none for a blank.
    pub fn outline(&self, glyph: Glyph) -> Vec<Vec<Point>> {
        let mut contours = Vec::new();
        self.add_outline(glyph, (0, 0), 0, &mut contours)
            .expect("the embedded font has whole outlines: a test reads them all");
        contours
    }

    /// Where the outline of a glyph is; `None` for a blank.
    fn record(&self, glyph: Glyph) -> Option<usize> {
        let offset = |row: usize| -> Option<usize> {
            if self.long_offsets {
                u32_at(self.data, self.loca + row * 4).map(|o| o as usize)
            } else {
                u16_at(self.data, self.loca + row * 2).map(|o| usize::from(o) * 2)
            }
        };
        if glyph.0 >= self.glyph_count {
            return None;
        }
        let (from, to) = (offset(glyph.0.into())?, offset(usize::from(glyph.0) + 1)?);
        (from < to).then_some(self.glyf + from)
    }

    fn add_outline(
        &self,
        glyph: Glyph,
        moved: (i32, i32),
        depth: u8,
        contours: &mut Vec<Vec<Point>>,
    ) -> Option<()> {
        let Some(at) = self.record(glyph) else {
            return Some(());
        };
        let count = i16_at(self.data, at)?;
        if count >= 0 {
            self.add_simple(at + 10, count as usize, moved, contours)
        } else if depth < 4 {
            self.add_parts(at + 10, moved, depth, contours)
        } else {
            None
        }
    }

    /// A composite glyph: other glyphs, moved.
    fn add_parts(
        &self,
        mut at: usize,
        moved: (i32, i32),
        depth: u8,
        contours: &mut Vec<Vec<Point>>,
    ) -> Option<()> {
        const WORDS: u16 = 0x0001;
        const ARE_OFFSETS: u16 = 0x0002;
        const SCALED: u16 = 0x0008 | 0x0040 | 0x0080;
        const MORE: u16 = 0x0020;
        loop {
            let flags = u16_at(self.data, at)?;
            if flags & SCALED != 0 || flags & ARE_OFFSETS == 0 {
                return None;
            }
            let part = Glyph(u16_at(self.data, at + 2)?);
            let (x, y, bytes) = if flags & WORDS != 0 {
                (i16_at(self.data, at + 4)?, i16_at(self.data, at + 6)?, 8)
            } else {
                let small = |at| self.data.get(at).map(|&b| i16::from(b as i8));
                (small(at + 4)?, small(at + 5)?, 6)
            };
            let moved = (moved.0 + i32::from(x), moved.1 + i32::from(y));
            self.add_outline(part, moved, depth + 1, contours)?;
            if flags & MORE == 0 {
                return Some(());
            }
            at += bytes;
        }
    }

    /// A simple glyph: contour ends, instructions (skipped), flags, then x and y as differences.
    fn add_simple(
        &self,
        at: usize,
        count: usize,
        moved: (i32, i32),
        contours: &mut Vec<Vec<Point>>,
    ) -> Option<()> {
        if count == 0 {
            return Some(());
        }
        let ends: Vec<usize> = (0..count)
            .map(|i| u16_at(self.data, at + i * 2).map(usize::from))
            .collect::<Option<_>>()?;
        let points = ends.last()? + 1;
        let mut at = at + count * 2;
        at += 2 + usize::from(u16_at(self.data, at)?);

        let mut flags = Vec::with_capacity(points);
        while flags.len() < points {
            let flag = *self.data.get(at)?;
            at += 1;
            flags.push(flag);
            if flag & 0x08 != 0 {
                let again = usize::from(*self.data.get(at)?).min(points - flags.len());
                flags.extend(std::iter::repeat_n(flag, again));
                at += 1;
            }
        }
        let xs = self.coordinates(&mut at, &flags, 0x02, 0x10)?;
        let ys = self.coordinates(&mut at, &flags, 0x04, 0x20)?;

        let mut from = 0;
        for end in ends {
            let contour = (from..=end)
                .map(|i| Point {
                    x: xs[i] + moved.0,
                    y: ys[i] + moved.1,
                    on_curve: flags[i] & 1 != 0,
                })
                .collect();
            contours.push(contour);
            from = end + 1;
        }
        Some(())
    }

    /// One coordinate of all points: a byte with its sign in `same`, nothing, or two bytes.
    fn coordinates(&self, at: &mut usize, flags: &[u8], short: u8, same: u8) -> Option<Vec<i32>> {
        let mut value = 0;
        flags
            .iter()
            .map(|flag| {
                if flag & short != 0 {
                    let step = i32::from(*self.data.get(*at)?);
                    *at += 1;
                    value += if flag & same != 0 { step } else { -step };
                } else if flag & same == 0 {
                    value += i32::from(i16_at(self.data, *at)?);
                    *at += 2;
                }
                Some(value)
            })
            .collect()
    }
}

/// Where a table begins.
fn table(data: &[u8], tag: &[u8; 4]) -> Option<usize> {
    let count = usize::from(u16_at(data, 4)?);
    let row = (0..count).map(|i| 12 + i * 16).find(|&row| data.get(row..row + 4) == Some(tag))?;
    Some(u32_at(data, row + 8)? as usize)
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    let bytes = data.get(at..at + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn i16_at(data: &[u8], at: usize) -> Option<i16> {
    u16_at(data, at).map(|v| v as i16)
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at + 4)?;
    Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hangul_syllable_has_an_outline() {
        let font = font();
        for code in 0xAC00..=0xD7A3 {
            let character = char::from_u32(code).unwrap();
            assert_eq!(font.known(character), character, "{character}");
            assert!(!font.outline(font.glyph(character)).is_empty(), "{character}");
        }
    }

    #[test]
    fn every_glyph_of_the_font_can_be_read() {
        let font = font();
        for glyph in 0..font.glyph_count {
            for contour in font.outline(Glyph(glyph)) {
                assert!(!contour.is_empty());
                for point in contour {
                    assert!(point.x.abs() < 4096 && point.y.abs() < 4096, "{glyph}: {point:?}");
                }
            }
        }
    }

    #[test]
    fn the_outline_begins_where_the_header_says() {
        let font = font();
        for character in "0Aj한뷁".chars() {
            let glyph = font.glyph(character);
            let contours = font.outline(glyph);
            let left = contours.iter().flatten().map(|p| p.x).min().unwrap();
            assert_eq!(left, i32::from(font.left(glyph)), "{character}");
        }
    }

    #[test]
    fn the_marks_that_charts_write_are_there() {
        let font = font();
        for character in "0123456789−–…·→×µ°□,.:%()+\"'&<>".chars() {
            assert_eq!(font.known(character), character);
        }
    }

    #[test]
    fn a_character_that_is_not_there_is_a_square() {
        assert_eq!(font().known('漢'), '□');
        assert_eq!(font().glyph('漢'), font().glyph('□'));
    }

    #[test]
    fn digits_are_of_one_width() {
        let font = font();
        let widths: Vec<_> = "0123456789".chars().map(|c| font.advance(font.glyph(c))).collect();
        assert!(widths.windows(2).all(|w| w[0] == w[1]), "{widths:?}");
    }

    #[test]
    fn width_grows_with_size_and_text() {
        let font = font();
        assert_eq!(font.width("", 12.0), 0.0);
        assert!((font.width("00", 24.0) - 4.0 * font.width("0", 12.0)).abs() < 1e-9);
    }
}
