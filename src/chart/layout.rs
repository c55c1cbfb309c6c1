//! Where everything stands: a spec and its series go in, a scene comes out. From top to bottom:
//! title, verdict and window, the panels over one time axis, whose time it is, what is not shown.
//! Pure; all text is measured before it is placed.

use super::clock::Clock;
use super::font::font;
use super::header::{describe, draw_header};
use super::legend::Legend;
use super::palette::{self, Rgb};
use super::panel::{Panel, Plot, shades};
use super::scene::{Align, HEAD_PX, Scene, TEXT_PX};
use super::series::Series;
use super::spec::{ChartError, ChartSpec};
use super::text::{drawable, fit};
use super::time_axis::TimeAxis;
use super::value_axis::ValueAxis;

pub const MARGIN_PX: f64 = 24.0;
pub const LINE_PX: f64 = 18.0;
/// Usual heights of plots, and the least that can be read.
const RECORDS_PX: f64 = 240.0;
const METRIC_PX: f64 = 150.0;
const LEAST_PX: f64 = 64.0;
/// From a plot to the baseline of the next panel's title, and from there to the plot.
const PANEL_GAP_PX: f64 = 34.0;
const TITLE_GAP_PX: f64 = 12.0;

/// A panel on its way to its place.
struct Placed<'a> {
    panel: Panel<'a>,
    title: String,
    legend: Legend,
    height: f64,
}

/// Lays out the whole picture.
pub fn compose(spec: &ChartSpec, series: &Series, clock: &Clock) -> Result<Scene, ChartError> {
    let width = f64::from(spec.width_px) - 2.0 * MARGIN_PX;
    let mut scene = Scene { width_px: spec.width_px, ..Scene::default() };
    let header = draw_header(&mut scene, spec, series, width);
    let shades = shades(spec);

    let room = spec.max_panels.max(1) - 1;
    let metrics = series.metrics.iter().take(room);
    let mut panels: Vec<Placed> = std::iter::once(Panel::Records)
        .chain(metrics.map(Panel::Metric))
        .map(|panel| place(panel, spec, series, !shades.is_empty(), width))
        .collect();
    let mut below = Footer::of(spec, series, clock, room, width);
    let fixed = header + panels.iter().map(Placed::above).sum::<f64>() + below.height();
    set_heights(&mut panels, spec, fixed)?;

    let axes = panels.iter().map(|p| p.panel.axis(series, p.height));
    let axes: Vec<ValueAxis> = axes.collect();
    let mut plot = Plot {
        left: (MARGIN_PX + gutter(&axes)).ceil(),
        right: MARGIN_PX + width,
        top: header,
        bottom: header,
        start_us: spec.start_us,
        end_us: spec.end_us,
    };
    let time = TimeAxis::of(spec, clock, plot.right - plot.left, f64::from(TEXT_PX));
    below.has_second_row = !time.jumps.is_empty() || time.ticks.iter().any(|t| t.below.is_some());

    for (placed, axis) in panels.iter().zip(&axes) {
        placed.write_title(&mut scene, plot.bottom + PANEL_GAP_PX, width);
        plot.top = plot.bottom + placed.above();
        plot.bottom = plot.top + placed.height;
        draw_behind(&mut scene, &plot, axis, &time, &shades);
        placed.panel.draw(&mut scene, &plot, axis, spec, series);
        draw_over(&mut scene, &plot, axis, &time);
    }
    draw_time(&mut scene, &plot, &time);
    below.draw(&mut scene, &plot, &time.caption);
    let height = (plot.bottom + below.height()).ceil() as u32;
    scene.height_px = spec.height_px.unwrap_or(height);
    describe(&mut scene, spec, series, clock);
    Ok(scene)
}

fn place<'a>(
    panel: Panel<'a>,
    spec: &ChartSpec,
    series: &Series,
    has_shade: bool,
    width: f64,
) -> Placed<'a> {
    let title = panel.title(spec, series);
    let title_px = font().width(&drawable(&title), f64::from(HEAD_PX));
    let legend = Legend::new(panel.legend(spec, series, has_shade), title_px, width);
    let height = match panel {
        Panel::Records => RECORDS_PX,
        Panel::Metric(_) => METRIC_PX,
    };
    Placed { panel, title, legend, height }
}

impl Placed<'_> {
    /// Room above the plot: gap, title and legend.
    fn above(&self) -> f64 {
        PANEL_GAP_PX + self.legend.height() + TITLE_GAP_PX
    }

    fn write_title(&self, scene: &mut Scene, baseline: f64, width: f64) {
        let title = fit(&drawable(&self.title), f64::from(HEAD_PX), width);
        let at = (MARGIN_PX, baseline, Align::Left);
        scene.label(&title, at, HEAD_PX, palette::TITLE);
        self.legend.draw(scene, MARGIN_PX, MARGIN_PX + width, baseline);
    }
}

/// Refuses a height in which so many panels never fit, whatever a day holds: before it is read. Legends
/// and notes may still ask for more.
pub fn check_height(px: u32, panels: usize) -> Result<(), ChartError> {
    let metrics = panels.saturating_sub(1) as f64;
    let smallest = if panels > 1 { METRIC_PX } else { RECORDS_PX };
    let plots = (RECORDS_PX + metrics * METRIC_PX) * LEAST_PX / smallest;
    let titles = panels as f64 * (PANEL_GAP_PX + TITLE_GAP_PX);
    let least = (MARGIN_PX + LINE_PX + titles + plots).ceil() as u32;
    match px < least {
        true => Err(ChartError::TooLow { panels, px, least }),
        false => Ok(()),
    }
}

/// Shares out a given height in the proportion of the usual ones.
fn set_heights(panels: &mut [Placed], spec: &ChartSpec, fixed: f64) -> Result<(), ChartError> {
    let Some(px) = spec.height_px else {
        return Ok(());
    };
    let usual: f64 = panels.iter().map(|p| p.height).sum();
    let stretch = (f64::from(px) - fixed) / usual;
    let smallest = panels.iter().map(|p| p.height).fold(f64::INFINITY, f64::min);
    if smallest * stretch < LEAST_PX {
        let least = (fixed + usual * LEAST_PX / smallest).ceil() as u32;
        return Err(ChartError::TooLow { panels: panels.len(), px, least });
    }
    for panel in panels {
        panel.height = (panel.height * stretch).floor();
    }
    Ok(())
}

/// Room for the labels of the value axes.
fn gutter(axes: &[ValueAxis]) -> f64 {
    let labels = axes.iter().flat_map(|axis| &axis.ticks);
    let widths = labels.map(|(_, label)| font().width(label, f64::from(TEXT_PX)));
    widths.fold(24.0, f64::max) + 8.0
}

/// Shades and grid.
fn draw_behind(
    scene: &mut Scene,
    plot: &Plot,
    axis: &ValueAxis,
    time: &TimeAxis,
    shades: &[(i64, i64)],
) {
    for &(from, to) in shades {
        let (x0, x1) = (plot.x(from).round(), plot.x(to).round());
        scene.rect(x0, plot.top, x1.max(x0 + 1.0), plot.bottom, palette::SHADE.solid());
    }
    // Where there is no data, a message stands in its place, and no line goes through it.
    let has_data = axis.ticks.len() > 1;
    for tick in time.ticks.iter().filter(|_| has_data) {
        let x = plot.x(tick.at_us).round();
        scene.rect(x, plot.top, x + 1.0, plot.bottom, palette::GRID.solid());
    }
    for (value, label) in &axis.ticks {
        let y = plot.y(axis, *value).round();
        scene.rect(plot.left, y, plot.right, y + 1.0, palette::GRID.solid());
        let at = (plot.left - 8.0, y + 4.0, Align::Right);
        scene.label(label, at, TEXT_PX, palette::MUTED);
    }
}

/// The line of zero, or the lowest one, and the jumps of the clock.
fn draw_over(scene: &mut Scene, plot: &Plot, axis: &ValueAxis, time: &TimeAxis) {
    let has_zero = (axis.low..=axis.high).contains(&0.0);
    let zero = plot.y(axis, if has_zero { 0.0 } else { axis.low }).round();
    scene.rect(plot.left, zero, plot.right, zero + 1.0, palette::AXIS.solid());
    for jump in &time.jumps {
        let x = plot.x(jump.at_us).round();
        // A pale seam, so that the dashes stand out from the data too.
        scene.rect(x - 1.0, plot.top, x + 2.0, plot.bottom, palette::BACKGROUND.thin(0.7));
        let mut y = plot.top;
        while y < plot.bottom {
            let paint = palette::JUMP.solid();
            scene.rect(x, y, x + 1.0, (y + 4.0).min(plot.bottom), paint);
            y += 7.0;
        }
    }
}

/// Ticks and their labels below the last plot.
fn draw_time(scene: &mut Scene, plot: &Plot, time: &TimeAxis) {
    for us in &time.minor_us {
        let x = plot.x(*us).round();
        scene.rect(x, plot.bottom + 1.0, x + 1.0, plot.bottom + 4.0, palette::AXIS.solid());
    }
    let mut taken: Vec<(f64, f64)> = Vec::new();
    for tick in &time.ticks {
        let x = plot.x(tick.at_us).round();
        scene.rect(x, plot.bottom + 1.0, x + 1.0, plot.bottom + 7.0, palette::AXIS.solid());
        let at = (x + 0.5, plot.bottom + 20.0, Align::Center);
        scene.label(&tick.label, at, TEXT_PX, palette::TEXT);
        if let Some(below) = &tick.below {
            below_tick(scene, below, x, plot, palette::MUTED, &mut taken);
        }
    }
    for jump in &time.jumps {
        let x = plot.x(jump.at_us).round();
        below_tick(scene, &jump.label, x, plot, palette::JUMP, &mut taken);
    }
}

/// A label in the second row, where it fits between those that are there.
fn below_tick(
    scene: &mut Scene,
    text: &str,
    x: f64,
    plot: &Plot,
    rgb: Rgb,
    taken: &mut Vec<(f64, f64)>,
) {
    let half = font().width(text, f64::from(TEXT_PX)) / 2.0;
    let center = x.clamp(half + 4.0, f64::from(scene.width_px) - half - 4.0);
    let (from, to) = (center - half - 4.0, center + half + 4.0);
    if taken.iter().all(|&(a, b)| to <= a || from >= b) {
        taken.push((from, to));
        scene.label(text, (center, plot.bottom + 35.0, Align::Center), TEXT_PX, rgb);
    }
}

/// What stands below the time axis.
struct Footer {
    /// Whether dates or jumps stand below the time; taken for granted until the ticks are known.
    has_second_row: bool,
    notes: Vec<String>,
}

impl Footer {
    fn of(spec: &ChartSpec, series: &Series, clock: &Clock, room: usize, width: f64) -> Footer {
        let hidden: Vec<&str> = series.metrics.iter().skip(room).map(|m| m.name.as_str()).collect();
        let mut notes = Vec::new();
        if !hidden.is_empty() {
            let count = hidden.len();
            let noun = if count == 1 { "metric" } else { "metrics" };
            let text = format!("{count} more {noun} not drawn: {}", hidden.join(", "));
            notes.push(fit(&drawable(&text), f64::from(TEXT_PX), width));
        }
        let has_second_row = spec.date.is_none() || clock.jumps().next().is_some();
        Footer { has_second_row, notes }
    }

    /// Baseline of the caption, from the bottom of the last plot.
    fn caption(&self) -> f64 {
        if self.has_second_row { 58.0 } else { 42.0 }
    }

    fn height(&self) -> f64 {
        self.caption() + self.notes.len() as f64 * LINE_PX + 18.0
    }

    fn draw(&self, scene: &mut Scene, plot: &Plot, caption: &str) {
        let y = plot.bottom + self.caption();
        scene.label(caption, (plot.right, y, Align::Right), TEXT_PX, palette::MUTED);
        for (i, note) in self.notes.iter().enumerate() {
            let y = y + (i + 1) as f64 * LINE_PX;
            scene.label(note, (MARGIN_PX, y, Align::Left), TEXT_PX, palette::MUTED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::scene::Label;
    use crate::chart::series::{MetricRows, Rows};
    use chrono::{DateTime, NaiveDate, Utc};
    use chrono_tz::Tz;

    const SEOUL: Tz = chrono_tz::Asia::Seoul;
    const LONDON: Tz = chrono_tz::Europe::London;

    fn us(text: &str) -> i64 {
        text.parse::<DateTime<Utc>>().unwrap().timestamp_micros()
    }

    /// The day of the README in Seoul, or another window, with two metrics.
    fn spec(tz: Tz, start: &str, end: &str, is_day: bool) -> ChartSpec {
        let mut spec = ChartSpec::new(us(start), us(end), tz);
        spec.date = is_day.then(|| NaiveDate::from_ymd_opt(2022, 4, 18).unwrap());
        spec.label = "2022-04-18".to_string();
        spec.source = "sample_data".to_string();
        spec.metrics = vec!["value".to_string(), "lat".to_string()];
        spec
    }

    fn seoul() -> ChartSpec {
        spec(SEOUL, "2022-04-17T15:00:00Z", "2022-04-18T15:00:00Z", true)
    }

    /// Rows that are the same on every run: groups of falling size, values around a base.
    fn rows(spec: &ChartSpec, names: &[&str], base: f64) -> Rows {
        let mut rows =
            Rows { groups: names.iter().map(|n| n.to_string()).collect(), ..Rows::default() };
        rows.metrics = spec
            .metrics
            .iter()
            .map(|name| MetricRows { name: name.clone(), ..MetricRows::default() })
            .collect();
        for (i, start) in (spec.start_us..spec.end_us).step_by(spec.every_us as usize).enumerate() {
            for group in 0..names.len() {
                rows.bucket_us.push(start);
                rows.group.push(group as u32);
                rows.records.push(((i * 7 + 3) % 11 * 100 / (group + 1)) as u64);
                for metric in &mut rows.metrics {
                    let mean = base * (1.0 + (i % 5) as f64 / 10.0 + group as f64 / 20.0);
                    metric.count.push(3);
                    metric.mean.push(mean);
                    metric.min.push(mean - base.abs() / 10.0);
                    metric.max.push(mean + base.abs() / 10.0);
                }
            }
        }
        rows
    }

    fn scene(spec: &ChartSpec, rows: &Rows) -> Result<Scene, ChartError> {
        let clock = Clock::new(spec.tz, spec.start_us, spec.end_us);
        let series = Series::for_width(rows, spec, &clock, spec.width_px);
        compose(spec, &series, &clock)
    }

    fn texts(scene: &Scene) -> Vec<&str> {
        scene.labels.iter().map(|l| l.text.as_str()).collect()
    }

    /// Everything written is inside of the picture, and no two lines of text touch.
    fn assert_legible(scene: &Scene, what: &str) {
        let of = |l: &Label| {
            let size = f64::from(l.size_px);
            (l.left, l.right(), l.baseline - size * 0.75, l.baseline + size * 0.2)
        };
        for (i, label) in scene.labels.iter().enumerate() {
            let (left, right, top, bottom) = of(label);
            assert!(left >= 0.0 && right <= f64::from(scene.width_px), "{what}: {label:?}");
            assert!(top >= 0.0 && bottom <= f64::from(scene.height_px), "{what}: {label:?}");
            for other in &scene.labels[i + 1..] {
                let (l, r, t, b) = of(other);
                let apart = right <= l || r <= left || bottom <= t || b <= top;
                assert!(apart, "{what}: {label:?} touches {other:?}");
            }
        }
    }

    const LONG: &str = "이름이 아주 긴 그룹 with a tail that goes on and on and on";

    #[test]
    fn text_never_touches_text_nor_the_edge() {
        let windows = [
            (SEOUL, "2022-04-17T15:00:00Z", "2022-04-18T15:00:00Z", true),
            (LONDON, "2022-10-29T23:00:00Z", "2022-10-31T00:00:00Z", true),
            (SEOUL, "2022-04-18T00:07:00Z", "2022-04-18T03:10:00Z", false),
            (LONDON, "2022-10-28T23:00:00Z", "2022-11-01T00:00:00Z", false),
            (SEOUL, "2022-03-31T15:00:00Z", "2022-06-30T15:00:00Z", false),
            (SEOUL, "2019-12-31T15:00:00Z", "2022-12-31T15:00:00Z", false),
        ];
        for (tz, start, end, is_day) in windows {
            for width in [480, 800, 1200, 1600, 3000] {
                for (names, base) in
                    [(&[""][..], 1e17), (&["a", LONG, "c", "d", LONG, "f", "g", "h"], -37.5651)]
                {
                    let mut spec = spec(tz, start, end, is_day);
                    spec.width_px = width;
                    spec.empty_hours_us = vec![us("2022-04-18T02:00:00Z")];
                    if names.len() > 1 {
                        spec.by = vec!["type".to_string(), "device_os".to_string()];
                        spec.verdict =
                            "provisional: ".to_string() + &"3 objects failed; ".repeat(12);
                        spec.source = "s3://bucket/".to_string() + &"a-long-prefix/".repeat(12);
                        spec.max_panels = 2;
                    }
                    let scene = scene(&spec, &rows(&spec, names, base)).unwrap();
                    assert_legible(&scene, &format!("{tz} {start} {width} {}", names.len()));
                }
            }
        }
    }

    #[test]
    fn what_must_be_on_the_picture_is_there() {
        let mut spec = seoul();
        spec.verdict = "provisional: less than 2 h since the day ended".to_string();
        spec.by = vec!["type".to_string()];
        spec.empty_hours_us = vec![us("2022-04-17T20:00:00Z")];
        let scene = scene(&spec, &rows(&spec, &["로그인", "(none)"], 30.0)).unwrap();
        let texts = texts(&scene);
        for wanted in [
            "provisional: less than 2 h since the day ended",
            "2022-04-17 15:00 – 2022-04-18 15:00 UTC · sample_data",
            "records per hour, by type",
            "value: mean per hour, by type",
            "min–max of all",
            "local time in Asia/Seoul (UTC+09:00)",
            "hours without objects",
            "로그인",
            "(none)",
            "00:00",
            "24:00",
        ] {
            assert!(texts.contains(&wanted), "{wanted}: {texts:?}");
        }
        assert!(
            texts[0].starts_with("2022-04-18 · Asia/Seoul · ") && texts[0].ends_with(" records")
        );
    }

    #[test]
    fn a_day_in_seoul_looks_as_it_did() {
        let scene = scene(&seoul(), &rows(&seoul(), &[""], 30.0)).unwrap();
        let lines: Vec<String> = scene
            .labels
            .iter()
            .map(|l| format!("{:7.1} {:7.1}  {}", l.left, l.baseline, l.text))
            .collect();
        let size = format!("{} x {}", scene.width_px, scene.height_px);
        insta::assert_snapshot!(format!("{size}\n{}\n{}", lines.join("\n"), scene.description));
    }

    #[test]
    fn an_empty_window_is_a_picture_that_says_so() {
        let spec = seoul();
        let mut rows = rows(&spec, &[""], 30.0);
        rows.records.fill(0);
        for metric in &mut rows.metrics {
            metric.count.fill(0);
        }
        let drawn = scene(&spec, &rows).unwrap();
        assert!(texts(&drawn).contains(&"no records in this window"));
        assert!(texts(&drawn).contains(&"no values in this window"));
        assert!(drawn.title.ends_with("no records"));
        assert_legible(&drawn, "empty");
        assert_legible(&scene(&spec, &Rows::default()).unwrap(), "no rows at all");
    }

    #[test]
    fn metrics_without_room_are_named() {
        let mut spec = seoul();
        spec.max_panels = 2;
        let rows = rows(&spec, &[""], 30.0);
        assert!(texts(&scene(&spec, &rows).unwrap()).contains(&"1 more metric not drawn: lat"));
        spec.max_panels = 0;
        let scene = scene(&spec, &rows).unwrap();
        assert!(texts(&scene).contains(&"2 more metrics not drawn: value, lat"));
    }

    #[test]
    fn a_given_height_is_kept_or_refused() {
        let mut spec = seoul();
        let rows = rows(&spec, &[""], 30.0);
        for height in [520, 700, 1500] {
            spec.height_px = Some(height);
            let scene = scene(&spec, &rows).unwrap();
            assert_eq!(scene.height_px, height);
            assert_legible(&scene, "height");
        }
        spec.height_px = Some(300);
        let error = scene(&spec, &rows).unwrap_err();
        assert!(
            error.to_string().starts_with("3 panels do not fit in a height of 300 px"),
            "{error}"
        );
    }

    #[test]
    fn a_height_that_is_refused_before_the_day_is_read_is_refused_after_it_too() {
        let mut spec = seoul();
        for metrics in 0..12 {
            spec.metrics = (0..metrics).map(|at| format!("m{at}")).collect();
            spec.max_panels = 100;
            let highest = (0..3000).rfind(|px| check_height(*px, metrics + 1).is_err());
            spec.height_px = highest;
            let drawn = scene(&spec, &rows(&spec, &[""], 30.0));
            assert!(drawn.is_err(), "{metrics} metrics in {highest:?} px");
            assert_eq!(check_height(480, metrics + 1).is_err(), metrics > 2, "{metrics}");
        }
    }

    #[test]
    fn shapes_stay_inside_of_the_picture() {
        let spec = seoul();
        let scene = scene(&spec, &rows(&spec, &["a", "b"], -3.0)).unwrap();
        for shape in &scene.shapes {
            if let crate::chart::scene::Shape::Rect { x0, y0, x1, y1, .. } = shape {
                assert!(*x0 >= 0.0 && *x1 <= 1200.0 && x0 < x1, "{shape:?}");
                assert!(*y0 >= 0.0 && *y1 <= f64::from(scene.height_px) && y0 < y1, "{shape:?}");
            }
        }
    }
}
