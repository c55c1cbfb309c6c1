//! A picture as values: rectangles, steps and lines of text, in pixels from the top left corner.
//! The layout makes one, the painters for PNG and SVG draw it, and tests measure it.

use super::font::font;
use super::palette::{Paint, Rgb};
use super::text::drawable;

/// Sizes of letters, px of the em square. Even numbers: plotters rounds the baseline of others.
pub const TITLE_PX: u32 = 20;
pub const HEAD_PX: u32 = 14;
pub const TEXT_PX: u32 = 12;

/// One step of an area.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AreaStep {
    pub x0: f64,
    pub x1: f64,
    pub top: f64,
    pub bottom: f64,
}

/// One step of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LineStep {
    pub x0: f64,
    pub x1: f64,
    pub y: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    Rect {
        x0: f64,
        y0: f64,
        x1: f64,
        y1: f64,
        paint: Paint,
    },
    /// Steps that touch, from left to right.
    Area {
        steps: Vec<AreaStep>,
        paint: Paint,
    },
    /// Steps that touch, from left to right.
    Line {
        steps: Vec<LineStep>,
        width: f64,
        paint: Paint,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Center,
    Right,
}

/// A line of text that can be drawn as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    pub text: String,
    pub left: f64,
    pub baseline: f64,
    pub width: f64,
    pub size_px: u32,
    pub rgb: Rgb,
}

impl Label {
    pub fn right(&self) -> f64 {
        self.left + self.width
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scene {
    pub width_px: u32,
    pub height_px: u32,
    /// In the order of drawing; labels come after all of them.
    pub shapes: Vec<Shape>,
    pub labels: Vec<Label>,
    /// What the picture is called, and what is on it, for those who cannot see it.
    pub title: String,
    pub description: String,
}

impl Scene {
    pub fn rect(&mut self, x0: f64, y0: f64, x1: f64, y1: f64, paint: Paint) {
        self.shapes.push(Shape::Rect { x0, y0, x1, y1, paint });
    }

    /// A line of text whose left end, middle or right end is at `x`. Returns its width.
    pub fn label(&mut self, text: &str, at: (f64, f64, Align), size_px: u32, rgb: Rgb) -> f64 {
        let text = drawable(text);
        let width = font().width(&text, f64::from(size_px));
        let (x, baseline, align) = at;
        let left = match align {
            Align::Left => x,
            Align::Center => x - width / 2.0,
            Align::Right => x - width,
        };
        if !text.trim().is_empty() {
            self.labels.push(Label { text, left, baseline, width, size_px, rgb });
        }
        width
    }
}
