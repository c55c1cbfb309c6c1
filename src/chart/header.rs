//! What stands above the panels, and the picture in words: title, verdict, window and source.
//! Pure; long text is broken or cut where it must be, an address in its middle.

use super::clock::{self, Clock};
use super::font::font;
use super::layout::{LINE_PX, MARGIN_PX};
use super::palette;
use super::panel::is_grouped;
use super::scene::{Align, Scene, TEXT_PX, TITLE_PX};
use super::series::Series;
use super::spec::ChartSpec;
use super::text::{drawable, fit, fit_middle, grouped, wrap};

/// Title, verdict, window and source. Returns where the header ends.
pub fn draw_header(scene: &mut Scene, spec: &ChartSpec, series: &Series, width: f64) -> f64 {
    let size = f64::from(TEXT_PX);
    scene.title = title(spec, series);
    let text = fit(&drawable(&scene.title), f64::from(TITLE_PX), width);
    scene.label(&text, (MARGIN_PX, 38.0, Align::Left), TITLE_PX, palette::TITLE);

    let is_final = spec.verdict == "final";
    let rgb = if is_final { palette::FINAL } else { palette::PROVISIONAL };
    let verdict = wrap(&drawable(&spec.verdict), size, width - 16.0, 2);
    let mut baseline = 62.0;
    let (left, top) = (MARGIN_PX, baseline - 9.0);
    scene.rect(left, top, left + 10.0, top + 10.0, rgb.solid());
    let mut used = 0.0;
    for (i, line) in verdict.iter().enumerate() {
        baseline += if i > 0 { LINE_PX } else { 0.0 };
        let at = (left + 16.0, baseline, Align::Left);
        used = scene.label(line, at, TEXT_PX, rgb);
    }
    let window = drawable(&format!("{} UTC", window_text(spec)));
    let source = drawable(&spec.source);
    let wanted = if source.is_empty() { window.clone() } else { format!("{window} · {source}") };
    let mut x = MARGIN_PX + 16.0 + used + 18.0;
    if verdict.len() > 1 || x + font().width(&wanted, size) > MARGIN_PX + width {
        baseline += LINE_PX;
        x = MARGIN_PX;
    }
    let room = MARGIN_PX + width - x - font().width(&format!("{window} · "), size);
    let text = if source.is_empty() {
        fit(&window, size, MARGIN_PX + width - x)
    } else {
        format!("{window} · {}", fit_middle(&source, size, room))
    };
    scene.label(&text, (x, baseline, Align::Left), TEXT_PX, palette::MUTED);
    baseline
}

/// `2022-04-18 · Asia/Seoul · 12,345 records`.
pub fn title(spec: &ChartSpec, series: &Series) -> String {
    let records = match series.total {
        0 => "no records".to_string(),
        1 => "1 record".to_string(),
        n => format!("{} records", grouped(n)),
    };
    format!("{} · {} · {records}", spec.label, spec.tz.name())
}

/// Both ends of the window, UTC; seconds only where there are any.
fn window_text(spec: &ChartSpec) -> String {
    let end = |us: i64| format!("{} {}", clock::formatted(us, "%Y-%m-%d"), clock::time_of_day(us));
    format!("{} – {}", end(spec.start_us), end(spec.end_us))
}

/// The picture in words, for those who cannot see it.
pub fn describe(scene: &mut Scene, spec: &ChartSpec, series: &Series, clock: &Clock) {
    let mut text = format!("{}. {} UTC. {}.", scene.title, window_text(spec), spec.verdict);
    let totals = series.totals();
    let busiest = totals.iter().enumerate().rev().max_by_key(|(_, total)| **total);
    if let Some((step, total)) = busiest.filter(|(_, total)| **total > 0) {
        let at = clock.local_us(series.steps[step].start_us);
        let (at, total) = (clock::formatted(at, "%Y-%m-%d %H:%M"), grouped(*total));
        text.push_str(&format!(" Most records in one step: {total}, from {at} on."));
    }
    let groups: Vec<String> = series
        .groups
        .iter()
        .filter(|_| is_grouped(spec, series))
        .map(|g| format!("{} {}", g.name, grouped(g.total)))
        .collect();
    if !groups.is_empty() {
        text.push_str(&format!(" By {}: {}.", spec.by.join(", "), groups.join(", ")));
    }
    scene.description = text;
}
