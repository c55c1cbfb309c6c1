//! The legend of a panel: entries go in, rows that fit the width come out. It stands beside the
//! panel's title or below it, never on the data.

use super::font::font;
use super::palette::{self, Paint, Rgb};
use super::scene::{Align, Scene, TEXT_PX};
use super::text::{drawable, fit};

/// Height of a row of the legend, px.
pub const ROW_PX: f64 = 18.0;
/// Longest name, px: a longer one ends in an ellipsis.
const NAME_PX: f64 = 180.0;
const SWATCH_PX: f64 = 11.0;
const SWATCH_GAP_PX: f64 = 5.0;
const ENTRY_GAP_PX: f64 = 16.0;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Swatch {
    Area(Paint),
    Line(Rgb),
    /// The shade of hours without objects.
    Shade,
}

#[derive(Clone, Debug)]
pub struct Entry {
    swatch: Swatch,
    name: String,
    /// Said after the name in a muted colour.
    note: String,
    width: f64,
}

impl Entry {
    pub fn new(swatch: Swatch, name: &str, note: &str) -> Entry {
        let size = f64::from(TEXT_PX);
        let name = fit(&drawable(name), size, NAME_PX);
        let note = if note.is_empty() { String::new() } else { format!(" {note}") };
        let text = font().width(&name, size) + font().width(&note, size);
        Entry { swatch, name, note, width: SWATCH_PX + SWATCH_GAP_PX + text }
    }

    fn draw(&self, scene: &mut Scene, left: f64, baseline: f64) {
        let (top, bottom) = (baseline - 9.0, baseline + 1.0);
        let right = left + SWATCH_PX;
        match self.swatch {
            Swatch::Area(paint) => scene.rect(left, top, right, bottom, paint),
            Swatch::Line(rgb) => scene.rect(left, top + 4.0, right, top + 6.0, rgb.solid()),
            Swatch::Shade => {
                scene.rect(left, top, right, bottom, palette::SHADE_EDGE.solid());
                scene.rect(
                    left + 1.0,
                    top + 1.0,
                    right - 1.0,
                    bottom - 1.0,
                    palette::SHADE.solid(),
                );
            }
        }
        let x = right + SWATCH_GAP_PX;
        let used = scene.label(&self.name, (x, baseline, Align::Left), TEXT_PX, palette::TEXT);
        scene.label(&self.note, (x + used, baseline, Align::Left), TEXT_PX, palette::MUTED);
    }
}

/// A legend, broken into rows.
pub struct Legend {
    rows: Vec<Vec<Entry>>,
    /// True where it stands in the title's row, at its right end.
    is_beside: bool,
}

impl Legend {
    /// `title_px` is the width of the title that stands in the first row of `width_px`.
    pub fn new(entries: Vec<Entry>, title_px: f64, width_px: f64) -> Legend {
        let all = row_width(&entries);
        if title_px + 2.0 * ENTRY_GAP_PX + all <= width_px {
            return Legend { rows: vec![entries], is_beside: true };
        }
        let mut rows: Vec<Vec<Entry>> = vec![Vec::new()];
        for entry in entries {
            let row = rows.last_mut().expect("there is a first row");
            let longer = row_width(row) + ENTRY_GAP_PX + entry.width;
            if row.is_empty() || longer <= width_px {
                row.push(entry);
            } else {
                rows.push(vec![entry]);
            }
        }
        Legend { rows, is_beside: false }
    }

    /// Room that it takes below the row of the title, px.
    pub fn height(&self) -> f64 {
        if self.is_beside { 0.0 } else { self.rows.len() as f64 * ROW_PX }
    }

    /// Draws it between `left` and `right`; `baseline` is that of the title.
    pub fn draw(&self, scene: &mut Scene, left: f64, right: f64, baseline: f64) {
        for (i, row) in self.rows.iter().enumerate() {
            let (mut x, y) = if self.is_beside {
                (right - row_width(row), baseline)
            } else {
                (left, baseline + (i + 1) as f64 * ROW_PX)
            };
            for entry in row {
                entry.draw(scene, x.round(), y);
                x += entry.width + ENTRY_GAP_PX;
            }
        }
    }
}

fn row_width(entries: &[Entry]) -> f64 {
    let gaps = entries.len().saturating_sub(1) as f64 * ENTRY_GAP_PX;
    entries.iter().map(|e| e.width).sum::<f64>() + gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(count: usize) -> Vec<Entry> {
        (0..count)
            .map(|i| Entry::new(Swatch::Line(palette::REST), &format!("그룹 번호 {i}"), "12%"))
            .collect()
    }

    #[test]
    fn a_short_legend_stands_beside_the_title() {
        assert_eq!(Legend::new(entries(3), 200.0, 1000.0).height(), 0.0);
    }

    #[test]
    fn a_long_legend_is_broken_into_rows_that_fit() {
        let legend = Legend::new(entries(12), 200.0, 500.0);
        assert!(legend.rows.len() > 1);
        assert_eq!(legend.rows.iter().map(Vec::len).sum::<usize>(), 12);
        assert!(legend.rows.iter().all(|row| row_width(row) <= 500.0));
        assert_eq!(legend.height(), legend.rows.len() as f64 * ROW_PX);
    }

    #[test]
    fn a_long_name_is_cut() {
        let entry = Entry::new(Swatch::Shade, &"긴이름".repeat(40), "");
        assert!(entry.name.ends_with('…'));
        assert!(entry.width <= NAME_PX + SWATCH_PX + SWATCH_GAP_PX);
    }
}
