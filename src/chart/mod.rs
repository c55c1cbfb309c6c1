//! Charts: the published table of buckets goes in, a picture as SVG and PNG comes out, or lines
//! for a terminal. It reads no objects and no files, and asks for no font, zone or time of the
//! machine, so that the same table gives the same bytes anywhere.
//!
//! table ─▶ rows ─ series ─▶ steps, groups, bands ─ layout ─▶ scene ─ svg, png ─▶ picture
//!
//! What a picture shows: one panel for the records per bucket, stacked by the largest groups, and
//! one per metric with its mean between its least and greatest value. Their common axis is the
//! whole window, by the local clock; a day has the 23, 24 or 25 hours that it has. A bucket
//! without records is drawn as zero, an hour without objects is shaded.

pub mod clock;
pub mod font;
pub mod layout;
pub mod legend;
pub mod paint;
pub mod palette;
pub mod panel;
pub mod png;
pub mod scene;
pub mod series;
pub mod spec;
pub mod svg;
pub mod table;
pub mod term;
pub mod text;
pub mod time_axis;
pub mod value_axis;

use polars::prelude::DataFrame;

use clock::Clock;
use series::{Rows, Series};

pub use spec::{ChartError, ChartSpec, Picture};
pub use term::TermStyle;

/// Draws the buckets of `table` that begin in the window of `spec`, in both forms.
///
/// # Errors
/// Where the size cannot be drawn, a column of the table is missing, or plotters fails.
pub fn draw(spec: &ChartSpec, table: &DataFrame) -> Result<Picture, ChartError> {
    spec.check()?;
    draw_rows(spec, &Rows::of_table(table, spec)?)
}

/// Draws the same for a terminal; the text ends in a line feed.
///
/// # Errors
/// Where a column of the table is missing.
pub fn term(spec: &ChartSpec, table: &DataFrame, style: &TermStyle) -> Result<String, ChartError> {
    spec.check()?;
    let rows = Rows::of_table(table, spec)?;
    let clock = Clock::new(spec.tz, spec.start_us, spec.end_us);
    let series = Series::of(&rows, spec, &clock, style.plot_columns());
    Ok(term::draw(spec, &series, &clock, style))
}

fn draw_rows(spec: &ChartSpec, rows: &Rows) -> Result<Picture, ChartError> {
    let clock = Clock::new(spec.tz, spec.start_us, spec.end_us);
    let series = Series::for_width(rows, spec, &clock, spec.width_px);
    let scene = layout::compose(spec, &series, &clock)?;
    Ok(Picture {
        svg: svg::svg(&scene)?,
        png: png::png(&scene)?,
    })
}
