//! What a chart is to show, and what can go wrong. Values only.

use chrono::NaiveDate;
use chrono_tz::Tz;

/// Side of a picture in pixels: below, text does not fit; above, nobody looks at it whole.
pub const WIDTH_PX: std::ops::RangeInclusive<u32> = 480..=4000;
/// Height of a picture in pixels, where one is asked for.
pub const HEIGHT_PX: std::ops::RangeInclusive<u32> = 240..=4000;

/// Everything about a chart that is not in its table. Instants are µs UTC.
#[derive(Clone, Debug)]
pub struct ChartSpec {
    /// The window, half-open.
    pub start_us: i64,
    pub end_us: i64,
    pub tz: Tz,
    /// Set where the window is exactly this local day: the axis then ends in 24:00.
    pub date: Option<NaiveDate>,
    /// What the title begins with: the date, or the span.
    pub label: String,
    /// Length of a bucket.
    pub every_us: i64,
    /// The columns that the records are grouped by.
    pub by: Vec<String>,
    /// The metrics with a panel each, in this order.
    pub metrics: Vec<String>,
    /// Panels at most, that of the records included; the rest is named below the picture.
    pub max_panels: usize,
    /// `final`, or `provisional: reason`.
    pub verdict: String,
    /// Beginnings of the UTC hours that have no object.
    pub empty_hours_us: Vec<i64>,
    /// Where the data came from.
    pub source: String,
    pub width_px: u32,
    /// The height that the panels ask for, where none is given.
    pub height_px: Option<u32>,
}

impl ChartSpec {
    /// A chart of records per hour with the usual size and four panels at most.
    pub fn new(start_us: i64, end_us: i64, tz: Tz) -> ChartSpec {
        ChartSpec {
            start_us,
            end_us,
            tz,
            date: None,
            label: String::new(),
            every_us: 3_600_000_000,
            by: Vec::new(),
            metrics: Vec::new(),
            max_panels: 4,
            verdict: "final".to_string(),
            empty_hours_us: Vec::new(),
            source: String::new(),
            width_px: 1200,
            height_px: None,
        }
    }

    /// Fails where no picture can be made of these values.
    pub fn check(&self) -> Result<(), ChartError> {
        if self.start_us >= self.end_us || self.every_us <= 0 {
            return Err(ChartError::Window {
                start_us: self.start_us,
                end_us: self.end_us,
                every_us: self.every_us,
            });
        }
        for (what, px, range) in
            [("width", Some(self.width_px), WIDTH_PX), ("height", self.height_px, HEIGHT_PX)]
        {
            if let Some(px) = px.filter(|px| !range.contains(px)) {
                let (least, most) = range.into_inner();
                return Err(ChartError::Size { what, px, least, most });
            }
        }
        Ok(())
    }
}

/// A chart in both forms.
#[derive(Clone, Debug)]
pub struct Picture {
    /// An SVG document; its text is drawn as outlines and can still be searched.
    pub svg: String,
    /// The bytes of a PNG file.
    pub png: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    #[error(
        "a chart needs a window and a bucket that are not empty: {start_us} to {end_us} µs by {every_us} µs"
    )]
    Window { start_us: i64, end_us: i64, every_us: i64 },
    #[error("a chart's {what} of {px} px cannot be drawn: choose {least} to {most}")]
    Size { what: &'static str, px: u32, least: u32, most: u32 },
    #[error(
        "{panels} panels do not fit in a height of {px} px: choose at least {least}, or fewer panels"
    )]
    TooLow { panels: usize, px: u32, least: u32 },
    #[error("the table of buckets has no column `{column}` for the chart: {problem}")]
    Column { column: String, problem: String },
    #[error("the chart could not be drawn: {0}")]
    Draw(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_window_is_refused() {
        assert!(ChartSpec::new(5, 5, Tz::UTC).check().is_err());
        assert!(ChartSpec::new(5, 6, Tz::UTC).check().is_ok());
    }

    #[test]
    fn a_size_that_nobody_can_look_at_is_refused_with_the_range() {
        let mut spec = ChartSpec::new(0, 1, Tz::UTC);
        spec.width_px = 100;
        assert_eq!(
            spec.check().unwrap_err().to_string(),
            "a chart's width of 100 px cannot be drawn: choose 480 to 4000"
        );
    }
}
