//! Scene in, SVG document out. plotters writes the shapes; text is written as the outlines of the
//! glyphs that it uses, each once, so that it looks the same in a browser, in an `<img>` and in
//! converters that know no web fonts, on a machine with no fonts at all. The same text lies unseen
//! on top, to be found, selected and read aloud.
//!
//! The document refers to nothing outside it, and the same scene gives the same bytes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use plotters::prelude::{IntoDrawingArea, SVGBackend};

use super::font::{Glyph, Point, font};
use super::paint::{Grain, failed, paint};
use super::palette::{self, Rgb};
use super::scene::{Label, Scene};
use super::spec::ChartError;

/// plotters places by whole numbers: tenths of a pixel are enough for any screen.
const GRAIN: Grain = Grain { per_px: 10, is_raster: false, top_px: 0 };

pub fn svg(scene: &Scene) -> Result<String, ChartError> {
    let (width, height) = (scene.width_px * GRAIN.per_px, scene.height_px * GRAIN.per_px);
    let mut drawn = String::new();
    {
        let area = SVGBackend::with_string(&mut drawn, (width, height)).into_drawing_area();
        paint(&area, scene, GRAIN)?;
        area.present().map_err(failed)?;
    }
    let shapes = body(&drawn).ok_or_else(|| failed("plotters wrote no SVG element"))?;

    let mut out = String::with_capacity(shapes.len() + 32_768);
    // Older converters know only the `xlink` form of a reference; everything still reads it.
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" \
         width=\"{}\" height=\"{}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">",
        scene.width_px,
        scene.height_px,
        escaped(&scene.title),
    );
    let _ = writeln!(out, "<title>{}</title>", escaped(&scene.title));
    let _ = writeln!(out, "<desc>{}</desc>", escaped(&scene.description));
    write_glyphs(&mut out, &scene.labels);
    let Rgb(r, g, b) = palette::BACKGROUND;
    let _ = writeln!(out, "<rect width=\"100%\" height=\"100%\" fill=\"#{r:02x}{g:02x}{b:02x}\"/>");
    out.push_str(shapes);
    for label in &scene.labels {
        write_label(&mut out, label);
    }
    out.push_str("</svg>\n");
    Ok(out)
}

/// What stands between the outermost tags.
fn body(drawn: &str) -> Option<&str> {
    let from = drawn.find(">\n")? + 2;
    let to = drawn.rfind("</svg>")?;
    drawn.get(from..to)
}

/// An outline for each glyph that the labels use. The name says which character it is, so that
/// several charts in one page share what they have in common.
fn write_glyphs(out: &mut String, labels: &[Label]) {
    let used: BTreeMap<char, Glyph> =
        labels.iter().flat_map(|l| l.text.chars()).map(|c| (c, font().glyph(c))).collect();
    out.push_str("<defs>\n");
    for (character, glyph) in used {
        let path = outline(&font().outline(glyph));
        if !path.is_empty() {
            let _ = writeln!(out, "<path id=\"rawcat-{:x}\" d=\"{path}\"/>", character as u32);
        }
    }
    out.push_str("</defs>\n");
}

/// A label: its glyphs, and its text unseen.
fn write_label(out: &mut String, label: &Label) {
    let font = font();
    let scale = f64::from(label.size_px * GRAIN.per_px) / font.units_per_em();
    let (x, y) = (GRAIN.units(label.left), GRAIN.units(label.baseline));
    let Rgb(r, g, b) = label.rgb;
    let _ = write!(
        out,
        "<g fill=\"#{r:02x}{g:02x}{b:02x}\" transform=\"translate({x} {y}) scale({scale:.5})\">"
    );
    let mut pen = 0u32;
    for character in label.text.chars() {
        let glyph = font.glyph(character);
        if !font.outline(glyph).is_empty() {
            let _ = write!(out, "<use xlink:href=\"#rawcat-{:x}\" x=\"{pen}\"/>", character as u32);
        }
        pen += u32::from(font.advance(glyph));
    }
    let _ = writeln!(
        out,
        "</g><text fill=\"none\" pointer-events=\"all\" x=\"{x}\" y=\"{y}\" font-size=\"{}\" \
         textLength=\"{}\" lengthAdjust=\"spacingAndGlyphs\">{}</text>",
        label.size_px * GRAIN.per_px,
        GRAIN.units(label.width),
        escaped(&label.text),
    );
}

/// Contours as path data: TrueType's quadratic curves, y downwards, steps rather than places.
fn outline(contours: &[Vec<Point>]) -> String {
    let mut out = String::new();
    for contour in contours {
        write_contour(&mut out, contour);
    }
    out
}

fn write_contour(out: &mut String, contour: &[Point]) {
    let middle = |a: Point, b: Point| Point {
        x: (a.x + b.x).div_euclid(2),
        y: (a.y + b.y).div_euclid(2),
        on_curve: true,
    };
    let count = contour.len();
    // Begin on the curve: at a point that is, or between two that are not.
    let (start, first) = match contour.iter().position(|p| p.on_curve) {
        Some(i) => (contour[i], i + 1),
        None => (middle(contour[count - 1], contour[0]), 0),
    };
    let rest = count - usize::from(first > 0);
    let _ = write!(out, "M{} {}", start.x, -start.y);
    let mut at = start;
    let mut control: Option<Point> = None;
    let mut draw = |control: Option<Point>, at: Point, to: Point| {
        let (dx, dy) = (to.x - at.x, at.y - to.y);
        let _ = match control {
            Some(c) => write!(out, "q{} {} {dx} {dy}", c.x - at.x, at.y - c.y),
            None if dy == 0 => write!(out, "h{dx}"),
            None if dx == 0 => write!(out, "v{dy}"),
            None => write!(out, "l{dx} {dy}"),
        };
    };
    for i in 0..rest {
        let point = contour[(first + i) % count];
        match (control, point.on_curve) {
            (c, true) => {
                draw(c, at, point);
                (at, control) = (point, None);
            }
            (None, false) => control = Some(point),
            (Some(c), false) => {
                let between = middle(c, point);
                draw(Some(c), at, between);
                (at, control) = (between, Some(point));
            }
        }
    }
    if control.is_some() {
        draw(control, at, start);
    }
    out.push('z');
}

/// Text for an element or an attribute. Control characters, which XML has no way to write, are
/// gone; so the document stays well formed whatever a group is called.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in super::text::plain(text).chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::scene::{Align, TEXT_PX};

    fn scene(texts: &[&str]) -> Scene {
        let mut scene = Scene { width_px: 200, height_px: 100, ..Scene::default() };
        for (i, text) in texts.iter().enumerate() {
            let at = (10.0, 20.0 * (i + 1) as f64, Align::Left);
            scene.label(text, at, TEXT_PX, palette::TEXT);
        }
        scene
    }

    #[test]
    fn each_glyph_is_there_once_and_every_reference_has_one() {
        let svg = svg(&scene(&["한국 한국", "국"])).unwrap();
        for code in ["d55c", "ad6d"] {
            assert_eq!(svg.matches(&format!("id=\"rawcat-{code}\"")).count(), 1);
        }
        assert_eq!(svg.matches("<use ").count(), 5);
        for reference in svg.split("xlink:href=\"#").skip(1) {
            let id = &reference[..reference.find('"').unwrap()];
            assert!(svg.contains(&format!("id=\"{id}\"")), "{id}");
        }
    }

    #[test]
    fn text_can_be_found_and_is_escaped() {
        let svg = svg(&scene(&["a<b>&\"c'\u{1}"])).unwrap();
        assert!(svg.contains(">a&lt;b&gt;&amp;&quot;c&#39;</text>"), "{svg}");
        assert!(!svg.contains('\u{1}'));
    }

    #[test]
    fn nothing_outside_is_referred_to() {
        let svg = svg(&scene(&["x"])).unwrap();
        for word in ["font-family", "http://www.w3.org/"] {
            let count = svg.matches(word).count();
            assert_eq!(count, if word == "font-family" { 0 } else { 2 });
        }
        assert!(!svg.contains("url(") && !svg.contains("@import"));
    }

    #[test]
    fn a_square_of_straight_lines_is_written_as_such() {
        let on = |x, y| Point { x, y, on_curve: true };
        assert_eq!(outline(&[vec![on(0, 0), on(0, 10), on(10, 10), on(10, 0)]]), "M0 0v-10h10v10z");
    }

    #[test]
    fn a_contour_without_a_point_on_it_begins_between_two() {
        let off = |x, y| Point { x, y, on_curve: false };
        let path = outline(&[vec![off(0, 0), off(0, 10), off(10, 10), off(10, 0)]]);
        assert_eq!(path, "M5 0q-5 0 -5 -5q0 -5 5 -5q5 0 5 5q0 5 -5 5z");
    }

    #[test]
    fn the_same_scene_gives_the_same_bytes() {
        assert_eq!(svg(&scene(&["가나다"])).unwrap(), svg(&scene(&["가나다"])).unwrap());
    }
}
