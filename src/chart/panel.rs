//! One panel: a series goes in, shapes within a plot come out. The records are a stack of steps,
//! a metric is its mean within the band from its least to its greatest value.

use super::legend::{Entry, Swatch};
use super::palette;
use super::scene::{Align, AreaStep, HEAD_PX, LineStep, Scene, Shape};
use super::series::{Metric, Series};
use super::spec::ChartSpec;
use super::text::per;
use super::value_axis::ValueAxis;

/// From this width on a step is a bar of its own, with a gap beside it; px.
const BAR_PX: f64 = 6.0;
/// Room that a label of the value axis wants, px.
const TICK_ROOM_PX: f64 = 44.0;

/// The rectangle of a plot and how time lies in it, px.
#[derive(Clone, Copy, Debug)]
pub struct Plot {
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
    pub start_us: i64,
    pub end_us: i64,
}

impl Plot {
    pub fn x(&self, at_us: i64) -> f64 {
        let at = at_us.clamp(self.start_us, self.end_us);
        let share = (at - self.start_us) as f64 / (self.end_us - self.start_us) as f64;
        self.left + share * (self.right - self.left)
    }

    pub fn y(&self, axis: &ValueAxis, value: f64) -> f64 {
        self.bottom - axis.share(value) * (self.bottom - self.top)
    }
}

/// What a panel shows.
#[derive(Clone, Copy)]
pub enum Panel<'a> {
    Records,
    Metric(&'a Metric),
}

impl Panel<'_> {
    pub fn title(&self, spec: &ChartSpec, series: &Series) -> String {
        let step = per(series.step_us);
        let grouped = if is_grouped(spec, series) {
            format!(", by {}", spec.by.join(", "))
        } else {
            String::new()
        };
        match self {
            Panel::Records => format!("records per {step}{grouped}"),
            Panel::Metric(metric) => format!("{}: mean per {step}{grouped}", metric.name),
        }
    }

    pub fn legend(&self, spec: &ChartSpec, series: &Series, has_shade: bool) -> Vec<Entry> {
        let mut entries = Vec::new();
        let grouped = is_grouped(spec, series);
        match self {
            Panel::Records => {
                for (place, group) in series.groups.iter().enumerate().filter(|_| grouped) {
                    let paint = palette::group(place, group.is_rest).solid();
                    let share = percent(group.total, series.total);
                    entries.push(Entry::new(Swatch::Area(paint), &group.name, &share));
                }
                if has_shade {
                    entries.push(Entry::new(Swatch::Shade, "hours without objects", ""));
                }
            }
            Panel::Metric(metric) if metric.band.iter().all(Option::is_none) => {}
            Panel::Metric(_) if grouped => {
                entries.push(Entry::new(Swatch::Area(band_paint(true)), "min–max of all", ""));
            }
            Panel::Metric(_) => {
                entries.push(Entry::new(Swatch::Line(palette::GROUPS[0]), "mean", ""));
                entries.push(Entry::new(Swatch::Area(band_paint(false)), "min–max", ""));
            }
        }
        entries
    }

    /// The value axis for a plot of this height, px.
    pub fn axis(&self, series: &Series, height: f64) -> ValueAxis {
        let ticks = (height / TICK_ROOM_PX).floor().clamp(2.0, 6.0) as usize;
        match self {
            Panel::Records => {
                ValueAxis::of_counts(series.totals().into_iter().max().unwrap_or(0), ticks)
            }
            Panel::Metric(metric) => {
                let band = metric.band.iter().flatten();
                let ends = band.fold(None, |ends: Option<(f64, f64)>, &(low, high)| {
                    let (least, most) = ends.unwrap_or((low, high));
                    Some((least.min(low), most.max(high)))
                });
                match ends {
                    Some((low, high)) => ValueAxis::of_values(low, high, ticks),
                    None => ValueAxis { low: 0.0, high: 1.0, ticks: Vec::new() },
                }
            }
        }
    }

    /// Draws the data, and nothing but the data.
    pub fn draw(
        &self,
        scene: &mut Scene,
        plot: &Plot,
        axis: &ValueAxis,
        spec: &ChartSpec,
        series: &Series,
    ) {
        let missing = match self {
            Panel::Records => {
                draw_stack(scene, plot, axis, series);
                (series.total == 0).then_some("no records in this window")
            }
            Panel::Metric(metric) => {
                draw_metric(scene, plot, axis, is_grouped(spec, series), series, metric);
                metric.band.iter().all(Option::is_none).then_some("no values in this window")
            }
        };
        if let Some(text) = missing {
            let (x, y) = ((plot.left + plot.right) / 2.0, (plot.top + plot.bottom) / 2.0 + 5.0);
            scene.label(text, (x, y.round(), Align::Center), HEAD_PX, palette::MUTED);
        }
    }
}

/// The hours without objects that lie in the window, neighbours joined; µs UTC.
pub fn shades(spec: &ChartSpec) -> Vec<(i64, i64)> {
    const HOUR_US: i64 = 3_600_000_000;
    let mut hours = spec.empty_hours_us.clone();
    hours.sort_unstable();
    hours.dedup();
    let mut joined: Vec<(i64, i64)> = Vec::new();
    for hour in hours {
        let (from, to) = (hour.max(spec.start_us), (hour + HOUR_US).min(spec.end_us));
        if from >= to {
            continue;
        }
        match joined.last_mut() {
            Some(last) if last.1 == from => last.1 = to,
            _ => joined.push((from, to)),
        }
    }
    joined
}

pub fn is_grouped(spec: &ChartSpec, series: &Series) -> bool {
    !spec.by.is_empty() && !series.groups.is_empty()
}

fn band_paint(is_grouped: bool) -> palette::Paint {
    if is_grouped { palette::BAND.thin(0.18) } else { palette::GROUPS[0].thin(0.2) }
}

/// A share in whole per cent, never 0 for something and never 100 for less than all.
pub fn percent(part: u64, all: u64) -> String {
    let share = if all == 0 { 0.0 } else { part as f64 * 100.0 / all as f64 };
    match share.round() {
        _ if part == 0 => "0%".to_string(),
        r if r < 1.0 => "<1%".to_string(),
        r if r > 99.0 && part < all => ">99%".to_string(),
        r => format!("{r}%"),
    }
}

fn draw_stack(scene: &mut Scene, plot: &Plot, axis: &ValueAxis, series: &Series) {
    let widths = series.steps.iter().map(|s| plot.x(s.end_us) - plot.x(s.start_us));
    let widest = widths.fold(0.0, f64::max);
    let mut below = vec![0u64; series.steps.len()];
    let totals = series.totals();
    for (place, group) in series.groups.iter().enumerate() {
        let paint = palette::group(place, group.is_rest).solid();
        let mut steps: Vec<AreaStep> = Vec::new();
        let mut end_us = i64::MIN;
        for (i, step) in series.steps.iter().enumerate() {
            let bottom = plot.y(axis, below[i] as f64);
            let mut top = plot.y(axis, (below[i] + group.records[i]) as f64);
            // Something must not look like nothing.
            if below[i] == 0
                && group.records[i] > 0
                && plot.y(axis, totals[i] as f64) > plot.bottom - 1.0
            {
                top = plot.bottom - 1.0;
            }
            below[i] += group.records[i];
            let (x0, x1) = (plot.x(step.start_us), plot.x(step.end_us));
            if widest >= BAR_PX {
                let (x0, x1) = (x0.round(), x1.round() - 1.0);
                if top < bottom && x0 < x1 {
                    scene.rect(x0, top, x1, bottom, paint);
                }
                continue;
            }
            if (step.start_us != end_us || top >= bottom) && !steps.is_empty() {
                scene.shapes.push(Shape::Area { steps: std::mem::take(&mut steps), paint });
            }
            if top < bottom {
                steps.push(AreaStep { x0, x1, top, bottom });
            }
            end_us = step.end_us;
        }
        if !steps.is_empty() {
            scene.shapes.push(Shape::Area { steps, paint });
        }
    }
}

fn draw_metric(
    scene: &mut Scene,
    plot: &Plot,
    axis: &ValueAxis,
    is_grouped: bool,
    series: &Series,
    metric: &Metric,
) {
    let band = runs(
        series,
        &metric.band,
        |x0, x1, (low, high)| AreaStep {
            x0,
            x1,
            top: plot.y(axis, high),
            bottom: plot.y(axis, low),
        },
        plot,
    );
    for steps in band {
        scene.shapes.push(Shape::Area { steps, paint: band_paint(is_grouped) });
    }
    let width = if series.steps.len() > 200 { 1.5 } else { 2.0 };
    for line in &metric.lines {
        let paint = palette::group(line.group.unwrap_or(0), false).solid();
        let steps = runs(
            series,
            &line.mean,
            |x0, x1, mean| LineStep { x0, x1, y: plot.y(axis, mean) },
            plot,
        );
        for steps in steps {
            scene.shapes.push(Shape::Line { steps, width, paint });
        }
    }
}

/// The stretches of steps that touch and have a value.
fn runs<V: Copy, S>(
    series: &Series,
    values: &[Option<V>],
    step_of: impl Fn(f64, f64, V) -> S,
    plot: &Plot,
) -> Vec<Vec<S>> {
    let mut runs: Vec<Vec<S>> = Vec::new();
    let mut end_us = None;
    for (step, value) in series.steps.iter().zip(values) {
        let Some(value) = *value else {
            end_us = None;
            continue;
        };
        let drawn = step_of(plot.x(step.start_us), plot.x(step.end_us), value);
        match runs.last_mut() {
            Some(run) if end_us == Some(step.start_us) => run.push(drawn),
            _ => runs.push(vec![drawn]),
        }
        end_us = Some(step.end_us);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_honest_at_their_ends() {
        let all = [(0, 10), (1, 1000), (999, 1000), (1000, 1000), (1, 3), (0, 0)];
        let said: Vec<_> = all.map(|(part, all)| percent(part, all)).into();
        assert_eq!(said, ["0%", "<1%", ">99%", "100%", "33%", "0%"]);
    }

    #[test]
    fn neighbouring_hours_without_objects_are_one_shade_within_the_window() {
        const HOUR: i64 = 3_600_000_000;
        let mut spec = ChartSpec::new(HOUR / 2, 10 * HOUR, chrono_tz::UTC);
        spec.empty_hours_us = vec![0, 5 * HOUR, 4 * HOUR, 4 * HOUR, 8 * HOUR, 10 * HOUR];
        let expected = [(HOUR / 2, HOUR), (4 * HOUR, 6 * HOUR), (8 * HOUR, 9 * HOUR)];
        assert_eq!(shades(&spec), expected);
    }

    #[test]
    fn time_lies_evenly_between_the_ends() {
        let plot =
            Plot { left: 10.0, right: 110.0, top: 0.0, bottom: 50.0, start_us: 0, end_us: 200 };
        assert_eq!([plot.x(0), plot.x(100), plot.x(200), plot.x(999)], [10.0, 60.0, 110.0, 110.0]);
    }
}
