//! Draws the shapes of a scene with plotters, on whichever of its backends. Text is not drawn
//! here: each form has its own way not to depend on the fonts of a machine.

use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend, PathElement, Polygon, RGBColor, Rectangle};
use plotters::style::{Color, RGBAColor, ShapeStyle};

use super::palette::{Paint, Rgb};
use super::scene::{AreaStep, LineStep, Scene, Shape};
use super::spec::ChartError;

/// How a backend counts its units, and where its picture begins.
#[derive(Clone, Copy)]
pub struct Grain {
    pub per_px: u32,
    /// True where there are only rectangles, on whole units: plotters' raster polygons and thick
    /// lines are ragged at their corners.
    pub is_raster: bool,
    /// The first row of the scene that is on the backend, px.
    pub top_px: i32,
}

impl Grain {
    pub fn units(self, px: f64) -> i32 {
        (px * f64::from(self.per_px)).round() as i32
    }

    pub fn y_units(self, px: f64) -> i32 {
        self.units(px) - self.top_px * self.per_px as i32
    }
}

/// Draws the shapes in their order.
pub fn paint<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    scene: &Scene,
    grain: Grain,
) -> Result<(), ChartError> {
    for shape in &scene.shapes {
        match shape {
            Shape::Rect { x0, y0, x1, y1, paint } => {
                fill(area, grain, (*x0, *y0, *x1, *y1), *paint)?;
            }
            Shape::Area { steps, paint } if grain.is_raster => {
                for s in steps {
                    fill(area, grain, (s.x0, s.top, s.x1, s.bottom), *paint)?;
                }
            }
            Shape::Area { steps, paint } => {
                area.draw(&Polygon::new(around(steps, grain), style(*paint))).map_err(failed)?;
            }
            Shape::Line { steps, width, paint } if grain.is_raster => {
                for (x0, y0, x1, y1) in strokes(steps, *width) {
                    fill(area, grain, (x0, y0, x1, y1), *paint)?;
                }
            }
            Shape::Line { steps, width, paint } => {
                let style = style(*paint).stroke_width(grain.units(*width) as u32);
                area.draw(&PathElement::new(along(steps, grain), style)).map_err(failed)?;
            }
        }
    }
    Ok(())
}

/// Fills a rectangle from its near to its far side (x0, y0, x1, y1); nothing where it is empty.
fn fill<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    grain: Grain,
    (x0, y0, x1, y1): (f64, f64, f64, f64),
    paint: Paint,
) -> Result<(), ChartError> {
    let (x0, y0) = (grain.units(x0), grain.y_units(y0));
    let (x1, y1) = (grain.units(x1), grain.y_units(y1));
    let height = area.dim_in_pixel().1 as i32;
    if x0 >= x1 || y0 >= y1 || y1 <= 0 || y0 >= height {
        return Ok(());
    }
    area.draw(&Rectangle::new([(x0, y0), (x1, y1)], style(paint))).map_err(failed)
}

/// The corners of an area: along its upper side and back along its lower.
fn around(steps: &[AreaStep], grain: Grain) -> Vec<(i32, i32)> {
    let upper = steps.iter().flat_map(|s| [(s.x0, s.top), (s.x1, s.top)]);
    let lower = steps.iter().rev().flat_map(|s| [(s.x1, s.bottom), (s.x0, s.bottom)]);
    corners(upper.chain(lower), grain)
}

fn along(steps: &[LineStep], grain: Grain) -> Vec<(i32, i32)> {
    corners(steps.iter().flat_map(|s| [(s.x0, s.y), (s.x1, s.y)]), grain)
}

/// Points in the backend's units, without those in the middle of a straight line.
fn corners(points: impl Iterator<Item = (f64, f64)>, grain: Grain) -> Vec<(i32, i32)> {
    let mut kept: Vec<(i32, i32)> = Vec::new();
    for (x, y) in points {
        let point = (grain.units(x), grain.y_units(y));
        if let [.., a, b] = kept[..]
            && ((a.0 == b.0 && b.0 == point.0) || (a.1 == b.1 && b.1 == point.1))
        {
            kept.pop();
        }
        if kept.last() != Some(&point) {
            kept.push(point);
        }
    }
    kept
}

/// The strokes of a stepped line as rectangles.
fn strokes(steps: &[LineStep], width: f64) -> Vec<(f64, f64, f64, f64)> {
    let half = width / 2.0;
    let mut out: Vec<(f64, f64, f64, f64)> =
        steps.iter().map(|s| (s.x0 - half, s.y - half, s.x1 + half, s.y + half)).collect();
    for pair in steps.windows(2) {
        let (x, low, high) = (pair[1].x0, pair[0].y.min(pair[1].y), pair[0].y.max(pair[1].y));
        out.push((x - half, low, x + half, high));
    }
    out
}

fn style(paint: Paint) -> ShapeStyle {
    let Rgb(r, g, b) = paint.rgb;
    let colour: RGBAColor = RGBColor(r, g, b).mix(paint.alpha);
    colour.filled()
}

pub fn failed(error: impl std::fmt::Display) -> ChartError {
    ChartError::Draw(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRAIN: Grain = Grain { per_px: 10, is_raster: false, top_px: 0 };

    #[test]
    fn an_area_goes_along_the_top_and_back_along_the_bottom() {
        let steps = [
            AreaStep { x0: 0.0, x1: 1.0, top: 1.0, bottom: 5.0 },
            AreaStep { x0: 1.0, x1: 2.0, top: 2.0, bottom: 5.0 },
        ];
        let corners = around(&steps, GRAIN);
        assert_eq!(corners, [(0, 10), (10, 10), (10, 20), (20, 20), (20, 50), (0, 50)]);
    }

    #[test]
    fn steps_of_one_height_are_one_stroke() {
        let steps: Vec<_> =
            (0..5).map(|i| LineStep { x0: f64::from(i), x1: f64::from(i + 1), y: 3.0 }).collect();
        assert_eq!(along(&steps, GRAIN), [(0, 30), (50, 30)]);
    }
}
