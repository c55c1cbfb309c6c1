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
pub mod header;
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

pub use layout::check_height;
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
    Ok(Picture { svg: svg::svg(&scene)?, png: png::png(&scene)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use polars::prelude::*;

    const HOUR: i64 = 3_600_000_000;
    /// 2022-04-18 in Seoul.
    const START: i64 = 1_650_207_600_000_000;

    const NASTY: &str = "<a> & \"b\" 'c' ]]> \u{1b}[31m\u{0}\u{202e}漢😀";

    fn table() -> DataFrame {
        let rows = (0..24).flat_map(|hour| (0..3).map(move |group| (hour, group)));
        let rows: Vec<(i64, usize)> = rows.collect();
        let starts: Vec<i64> = rows.iter().map(|(hour, _)| START + hour * HOUR).collect();
        let bucket = polars::prelude::Series::new("bucket_utc".into(), starts)
            .cast(&DataType::Datetime(TimeUnit::Microseconds, Some(TimeZone::UTC)))
            .unwrap();
        let names = [Some("로그인"), Some(NASTY), None];
        let number =
            |f: fn(i64, usize) -> f64| rows.iter().map(|&(h, g)| f(h, g)).collect::<Vec<_>>();
        let count =
            |f: fn(i64, usize) -> i64| rows.iter().map(|&(h, g)| f(h, g)).collect::<Vec<_>>();
        let columns = vec![
            bucket.into_column(),
            Column::new("type".into(), rows.iter().map(|&(_, g)| names[g]).collect::<Vec<_>>()),
            Column::new("records".into(), count(|h, g| h * 40 + g as i64)),
            Column::new("value_count".into(), count(|h, _| h)),
            Column::new("value_mean".into(), number(|h, g| (h + g as i64) as f64)),
            Column::new("value_min".into(), number(|h, _| h as f64 - 4.0)),
            Column::new("value_max".into(), number(|h, _| h as f64 + 9.0)),
        ];
        DataFrame::new_infer_height(columns).unwrap()
    }

    fn spec() -> ChartSpec {
        let mut spec = ChartSpec::new(START, START + 24 * HOUR, chrono_tz::Asia::Seoul);
        spec.date = chrono::NaiveDate::from_ymd_opt(2022, 4, 18);
        spec.label = "2022-04-18".to_string();
        spec.by = vec!["type".to_string()];
        spec.metrics = vec!["value".to_string()];
        spec.source = "s3://bucket/<&>/".to_string();
        spec.width_px = 800;
        spec
    }

    /// Walks over the tags and counts text; panics where they do not close each other.
    fn check_markup(svg: &str) {
        let mut open: Vec<&str> = Vec::new();
        for piece in svg.split('<').skip(1) {
            let (tag, text) = piece.split_once('>').expect("every tag is closed");
            assert!(!text.contains('>'), "{piece}");
            let name = tag.split(|c: char| c.is_whitespace() || c == '/').find(|n| !n.is_empty());
            if tag.starts_with('/') {
                assert_eq!(open.pop(), name);
            } else if !tag.ends_with('/') {
                open.push(name.unwrap());
            }
            for entity in piece.split('&').skip(1) {
                let entity = entity.split(';').next().unwrap();
                assert!(["lt", "gt", "amp", "quot", "#39"].contains(&entity), "{piece}");
            }
        }
        assert!(open.is_empty());
        assert!(svg.chars().all(|c| c == '\n' || !c.is_control()));
    }

    #[test]
    fn a_table_becomes_a_picture_in_both_forms() {
        let picture = draw(&spec(), &table()).unwrap();
        check_markup(&picture.svg);
        assert!(picture.svg.contains(">로그인</text>"));
        assert_eq!(&picture.png[1..4], b"PNG");
        assert_eq!(picture.png[16..20], 800u32.to_be_bytes());
    }

    #[test]
    fn the_order_of_rows_does_not_show() {
        let table = table();
        let again = table.reverse();
        let (a, b) = (draw(&spec(), &table).unwrap(), draw(&spec(), &again).unwrap());
        assert!(a.svg == b.svg && a.png == b.png);
    }

    #[test]
    fn a_table_becomes_lines_for_a_terminal() {
        let text = term(&spec(), &table(), &TermStyle::default()).unwrap();
        assert!(text.starts_with("2022-04-18 · Asia/Seoul · "));
        assert!(text.contains("24:00") && text.contains("(none)"));
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn what_cannot_be_drawn_is_an_error() {
        let mut spec = spec();
        spec.metrics.push("speed".to_string());
        assert!(matches!(draw(&spec, &table()), Err(ChartError::Column { .. })));
        spec.width_px = 10;
        assert!(matches!(draw(&spec, &table()), Err(ChartError::Size { .. })));
    }
}
