//! Scene in, the bytes of a PNG file out. plotters draws at three times the size, shapes and text
//! alike, and the picture is averaged down: its own lines have no smooth edges, and its letters
//! stand on whole pixels.
//!
//! The same scene gives the same bytes. No font of the machine is used.

use libdeflater::{CompressionLvl, Compressor, crc32};
use plotters::coord::Shift;
use plotters::prelude::{BitMapBackend, DrawingArea, IntoDrawingArea, RGBColor, Text};
use plotters::style::{Color, IntoFont, TextStyle};

use super::font::{FAMILY, font};
use super::paint::{Grain, failed, paint};
use super::palette::{self, Rgb};
use super::scene::{Label, Scene, TITLE_PX};
use super::spec::ChartError;

/// Units of the large picture per pixel.
const PER_PX: u32 = 3;
/// The large picture is drawn in bands of this height, px: 8 MB at a time, not 100.
const BAND_PX: u32 = 240;
/// Rows drawn above and below a band and thrown away, px: plotters moves text that begins outside
/// of its picture into it.
const SPARE_PX: u32 = 2 * TITLE_PX;
/// Red, green, blue.
const CHANNELS: usize = 3;
const BACKGROUND: u8 = {
    let Rgb(r, g, b) = palette::BACKGROUND;
    assert!(r == g && g == b);
    r
};

pub fn png(scene: &Scene) -> Result<Vec<u8>, ChartError> {
    let (width, height) = (scene.width_px, scene.height_px);
    let mut pixels = Vec::with_capacity(width as usize * height as usize * CHANNELS);
    for top_px in (0..height).step_by(BAND_PX as usize) {
        let rows = BAND_PX.min(height - top_px);
        let large = draw_band(scene, top_px, rows)?;
        let row = (width * PER_PX) as usize * CHANNELS;
        let spare = row * (SPARE_PX * PER_PX) as usize;
        average(&large[spare..large.len() - spare], width as usize, &mut pixels);
    }
    encode(&pixels, width, height)
}

/// Draws `rows` rows of pixels from `top_px` on, large, with the spare ones around them.
fn draw_band(scene: &Scene, top_px: u32, rows: u32) -> Result<Vec<u8>, ChartError> {
    let grain = Grain { per_px: PER_PX, is_raster: true, top_px: top_px as i32 - SPARE_PX as i32 };
    let size = (scene.width_px * PER_PX, (rows + 2 * SPARE_PX) * PER_PX);
    let mut large = vec![BACKGROUND; size.0 as usize * size.1 as usize * CHANNELS];
    {
        let area = BitMapBackend::with_buffer(&mut large, size).into_drawing_area();
        paint(&area, scene, grain)?;
        for label in &scene.labels {
            let reach = f64::from(label.size_px);
            let (first, last) = (f64::from(top_px), f64::from(top_px + rows));
            if label.baseline + reach > first && label.baseline - reach < last {
                write_label(&area, label, grain)?;
            }
        }
        area.present().map_err(failed)?;
    }
    Ok(large)
}

/// Writes a label glyph by glyph: plotters' own lines of text leave out the room that a glyph has
/// on its left, and its baseline is half its size below the place that it is given.
fn write_label<'a>(
    area: &DrawingArea<BitMapBackend<'a>, Shift>,
    label: &Label,
    grain: Grain,
) -> Result<(), ChartError> {
    let font = font();
    let size = label.size_px * PER_PX;
    let scale = f64::from(size) / font.units_per_em();
    let Rgb(r, g, b) = label.rgb;
    let colour = RGBColor(r, g, b).mix(1.0);
    let style = TextStyle::from((FAMILY, f64::from(size)).into_font()).color(&colour);
    let y = grain.y_units(label.baseline) - (size / 2) as i32;
    let mut pen = label.left * f64::from(PER_PX);
    for character in label.text.chars() {
        let glyph = font.glyph(character);
        let left = (f64::from(font.left(glyph)) * scale).floor() as i32;
        let at = (pen.round() as i32 + left, y);
        area.draw(&Text::new(character.to_string(), at, style.clone())).map_err(failed)?;
        pen += f64::from(font.advance(glyph)) * scale;
    }
    Ok(())
}

/// Appends the mean of each square of the large picture.
fn average(large: &[u8], width: usize, out: &mut Vec<u8>) {
    const N: usize = PER_PX as usize;
    const COUNT: u16 = (N * N) as u16;
    let row = width * N * CHANNELS;
    let mut sums = vec![0u16; row];
    for rows in large.chunks_exact(row * N) {
        if rows.iter().all(|&v| v == BACKGROUND) {
            out.resize(out.len() + width * CHANNELS, BACKGROUND);
            continue;
        }
        sums.fill(0);
        for line in rows.chunks_exact(row) {
            for (sum, &value) in sums.iter_mut().zip(line) {
                *sum += u16::from(value);
            }
        }
        for square in sums.chunks_exact(N * CHANNELS) {
            for channel in 0..CHANNELS {
                let sum: u16 = (0..N).map(|i| square[i * CHANNELS + channel]).sum();
                out.push(((sum + COUNT / 2) / COUNT) as u8);
            }
        }
    }
}

/// A PNG file of 8-bit RGB (ISO/IEC 15948). plotters' encoder writes to a path alone.
fn encode(pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>, ChartError> {
    let row = width as usize * CHANNELS;
    let mut filtered = Vec::with_capacity(pixels.len() + height as usize);
    let blank = vec![0; row];
    let mut above = blank.as_slice();
    for line in pixels.chunks_exact(row) {
        filter(line, above, &mut filtered);
        above = line;
    }
    let level = CompressionLvl::new(9).map_err(|_| failed("no such level of compression"))?;
    let mut compressor = Compressor::new(level);
    let mut packed = vec![0; compressor.zlib_compress_bound(filtered.len())];
    let bytes = compressor.zlib_compress(&filtered, &mut packed).map_err(failed)?;
    packed.truncate(bytes);

    let mut head = Vec::with_capacity(13);
    head.extend(width.to_be_bytes());
    head.extend(height.to_be_bytes());
    head.extend([8, 2, 0, 0, 0]); // 8 bits, RGB, deflate, filters by row, not interlaced
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    write_chunk(&mut out, b"IHDR", &head);
    write_chunk(&mut out, b"IDAT", &packed);
    write_chunk(&mut out, b"IEND", &[]);
    Ok(out)
}

fn write_chunk(out: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    out.extend((data.len() as u32).to_be_bytes());
    let from = out.len();
    out.extend(kind);
    out.extend(data);
    let sum = crc32(&out[from..]);
    out.extend(sum.to_be_bytes());
}

/// Appends a row by the filter (none, left, up) whose bytes are smallest: PNG's own advice.
fn filter(line: &[u8], above: &[u8], out: &mut Vec<u8>) {
    let left = |i: usize| if i < CHANNELS { 0 } else { line[i - CHANNELS] };
    let filtered: [(u8, Vec<u8>); 3] = [
        (0, line.to_vec()),
        (1, (0..line.len()).map(|i| line[i].wrapping_sub(left(i))).collect()),
        (2, (0..line.len()).map(|i| line[i].wrapping_sub(above[i])).collect()),
    ];
    let size =
        |bytes: &[u8]| bytes.iter().map(|&b| u64::from((b as i8).unsigned_abs())).sum::<u64>();
    let best = filtered.iter().min_by_key(|(_, bytes)| size(bytes));
    let (kind, bytes) = best.expect("there are three filters");
    out.push(*kind);
    out.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::scene::Align;

    /// Reads back what [`encode`] writes.
    fn decode(png: &[u8]) -> (u32, u32, Vec<u8>) {
        assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
        let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
        let (width, height) = (number(16), number(20));
        let (mut at, mut packed) = (8, Vec::new());
        while at < png.len() {
            let bytes = number(at) as usize;
            let body = &png[at + 4..at + 8 + bytes];
            assert_eq!(crc32(body), number(at + 8 + bytes));
            if &body[..4] == b"IDAT" {
                packed.extend(&body[4..]);
            }
            at += 12 + bytes;
        }
        let row = width as usize * CHANNELS;
        let mut raw = vec![0; (row + 1) * height as usize];
        libdeflater::Decompressor::new().zlib_decompress(&packed, &mut raw).unwrap();
        let mut out: Vec<u8> = Vec::new();
        for line in raw.chunks_exact(row + 1) {
            let above =
                out.len().checked_sub(row).map_or(vec![0; row], |from| out[from..].to_vec());
            let start = out.len();
            for i in 0..row {
                let before = match line[0] {
                    1 if i >= CHANNELS => out[start + i - CHANNELS],
                    2 => above[i],
                    _ => 0,
                };
                out.push(line[i + 1].wrapping_add(before));
            }
        }
        (width, height, out)
    }

    fn ink(scene: &Scene) -> Vec<(usize, usize)> {
        let (width, _, pixels) = decode(&png(scene).unwrap());
        let dark = pixels.chunks_exact(CHANNELS).enumerate().filter(|(_, p)| p[0] < 128);
        dark.map(|(i, _)| (i % width as usize, i / width as usize)).collect()
    }

    fn scene() -> Scene {
        Scene { width_px: 120, height_px: 60, ..Scene::default() }
    }

    #[test]
    fn what_is_encoded_can_be_decoded() {
        let pixels: Vec<u8> = (0..7 * 5 * 3u32).map(|i| (i * 37 % 251) as u8).collect();
        assert_eq!(decode(&encode(&pixels, 7, 5).unwrap()), (7, 5, pixels));
    }

    #[test]
    fn a_rectangle_fills_its_pixels_and_no_others() {
        let mut scene = scene();
        scene.rect(10.0, 20.0, 12.0, 23.0, Rgb(0, 0, 0).solid());
        let filled = [(10, 20), (11, 20), (10, 21), (11, 21), (10, 22), (11, 22)];
        assert_eq!(ink(&scene), filled);
    }

    #[test]
    fn korean_text_has_ink_where_it_was_measured() {
        let mut scene = scene();
        let width = scene.label("한글l뷁", (20.0, 40.0, Align::Left), TITLE_PX, palette::TITLE);
        let ink = ink(&scene);
        assert!(ink.len() > 100);
        assert!(ink.iter().all(|&(x, _)| x >= 20 && (x as f64) < 20.0 + width), "{ink:?}");
        assert!(ink.iter().all(|&(_, y)| y > 20 && y < 46));
    }

    #[test]
    fn letters_stand_on_the_baseline() {
        let mut scene = scene();
        scene.label("xzH1", (20.0, 40.0, Align::Left), TITLE_PX, palette::TITLE);
        assert_eq!(ink(&scene).iter().map(|&(_, y)| y).max(), Some(39));
    }

    #[test]
    fn text_across_two_bands_is_whole() {
        let at = |baseline: f64| {
            let mut scene = Scene { width_px: 120, height_px: 2 * BAND_PX, ..Scene::default() };
            scene.label("한글Ag", (20.0, baseline, Align::Left), TITLE_PX, palette::TITLE);
            let lowest = baseline as usize - 20;
            ink(&scene).into_iter().map(|(x, y)| (x, y - lowest)).collect::<Vec<_>>()
        };
        let within = at(60.0);
        for offset in -20..=20 {
            assert_eq!(at(f64::from(BAND_PX) + f64::from(offset)), within, "{offset}");
        }
    }

    #[test]
    fn the_same_scene_gives_the_same_bytes() {
        let mut scene = scene();
        scene.label("가", (20.0, 40.0, Align::Left), TITLE_PX, palette::TITLE);
        assert_eq!(png(&scene).unwrap(), png(&scene).unwrap());
    }
}
