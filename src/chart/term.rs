//! A chart for the terminal: a spec and its series go in, lines of text come out. Pure: whether
//! there is colour, and how wide the terminal is, is said by the caller, who knows of `NO_COLOR`.

use super::clock::Clock;
use super::panel::{is_grouped, percent, shades};
use super::series::{Group, Metric, Series};
use super::spec::ChartSpec;
use super::text::{grouped, per, plain};
use super::time_axis::TimeAxis;
use super::value_axis::{ValueAxis, short_number};

/// What the terminal is like.
#[derive(Clone, Copy, Debug)]
pub struct TermStyle {
    /// Width in columns; less than 40 is taken for 40.
    pub columns: usize,
    /// Height of the plot in lines.
    pub lines: usize,
    /// Whether escape sequences for colour may be written.
    pub colour: bool,
}

impl Default for TermStyle {
    fn default() -> Self {
        TermStyle { columns: 80, lines: 10, colour: false }
    }
}

/// Eighths of a cell, from below.
const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// An hour without objects.
const SHADE: char = '░';
/// Colours that every terminal has and every theme sets: blue, yellow, green, cyan, red, magenta.
const COLOURS: [u8; 6] = [34, 33, 32, 36, 31, 35];
const GREY: u8 = 90;
/// Widest name of a group, and widest bar beside it.
const NAME_COLUMNS: usize = 24;
const BAR_COLUMNS: usize = 30;
/// Left of the plot: a label, a space and the axis. Right of it: half of the last tick's label.
const LABEL_COLUMNS: usize = 10;
const RIGHT_COLUMNS: usize = 3;

impl TermStyle {
    fn width(&self) -> usize {
        self.columns.max(40)
    }

    /// Columns of the plot, and so the most steps that it can show.
    pub fn plot_columns(&self) -> usize {
        self.width() - LABEL_COLUMNS - 2 - RIGHT_COLUMNS
    }

    fn painted(&self, text: &str, colour: u8) -> String {
        if self.colour && !text.trim().is_empty() {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_string()
        }
    }
}

/// Draws the series; every line ends in a line feed and none is wider than the terminal.
pub fn draw(spec: &ChartSpec, series: &Series, clock: &Clock, style: &TermStyle) -> String {
    let width = style.width();
    let is_final = spec.verdict == "final";
    let verdict = cut(&plain(&spec.verdict), width);
    let mut lines = vec![
        cut(&plain(&super::header::title(spec, series)), width),
        style.painted(&verdict, if is_final { COLOURS[2] } else { COLOURS[1] }),
        String::new(),
    ];
    let by = if is_grouped(spec, series) {
        format!(", by {}", spec.by.join(", "))
    } else {
        String::new()
    };
    lines.push(cut(&plain(&format!("records per {}{by}", per(series.step_us))), width));
    lines.extend(plot(spec, series, clock, style));
    if is_grouped(spec, series) && series.total > 0 {
        lines.push(String::new());
        lines.extend(group_lines(series, style));
    }
    if !series.metrics.is_empty() {
        lines.push(String::new());
        lines.extend(metric_lines(&series.metrics, width));
    }
    let mut out = String::new();
    for line in lines {
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// How time lies in the columns of the plot.
struct Columns<'a> {
    spec: &'a ChartSpec,
    count: usize,
    per_step: usize,
}

impl Columns<'_> {
    fn of<'a>(spec: &'a ChartSpec, series: &Series, room: usize) -> Columns<'a> {
        let length = spec.end_us - spec.start_us;
        let steps = (length - 1) / series.step_us + 1;
        let steps = usize::try_from(steps).unwrap_or(room).clamp(1, room);
        let per_step = room / steps;
        Columns { spec, count: steps * per_step, per_step }
    }

    fn start_us(&self, column: usize) -> i64 {
        let length = i128::from(self.spec.end_us - self.spec.start_us);
        self.spec.start_us + (length * column as i128 / self.count as i128) as i64
    }

    fn column_of(&self, at_us: i64) -> usize {
        let length = i128::from(self.spec.end_us - self.spec.start_us);
        (i128::from(at_us - self.spec.start_us) * self.count as i128 / length) as usize
    }

    /// The middle of a column: the instant that it shows.
    fn middle_us(&self, column: usize) -> i64 {
        let (from, to) = (self.start_us(column), self.start_us(column + 1));
        from + (to - from) / 2
    }

    /// True for a column left free between two bars.
    fn is_gap(&self, column: usize) -> bool {
        self.per_step >= 3 && column % self.per_step == self.per_step - 1
    }
}

fn plot(spec: &ChartSpec, series: &Series, clock: &Clock, style: &TermStyle) -> Vec<String> {
    let columns = Columns::of(spec, series, style.plot_columns());
    let lines = style.lines.max(2);
    let totals = series.totals();
    let most = totals.iter().copied().max().unwrap_or(0);
    let axis = ValueAxis::of_counts(most, (lines / 3).clamp(1, 4));
    let shaded = shades(spec);
    let step_of: Vec<Option<usize>> = (0..columns.count)
        .map(|column| {
            let at = columns.middle_us(column);
            series.steps.iter().position(|s| (s.start_us..s.end_us).contains(&at))
        })
        .collect();

    let mut out = Vec::new();
    for row in (0..lines).rev() {
        let label = label_above(&axis, row, lines);
        let mark = if label.is_empty() { '│' } else { '┤' };
        let cells = step_of.iter().enumerate().map(|(column, step)| {
            let at = columns.middle_us(column);
            let is_shaded = shaded.iter().any(|&(from, to)| (from..to).contains(&at));
            let step = step.filter(|_| !columns.is_gap(column));
            let part = step.map_or(' ', |step| part_of(&axis, totals[step], row, lines));
            match step {
                Some(step) if part != ' ' => (part, colour_at(series, step, &axis, row, lines)),
                _ if is_shaded => (SHADE, GREY),
                _ => (' ', GREY),
            }
        });
        let cells: Vec<(char, u8)> = cells.collect();
        let mut text = format!("{label:>LABEL_COLUMNS$} {mark}");
        for run in cells.chunk_by(|a, b| a.1 == b.1) {
            let part: String = run.iter().map(|cell| cell.0).collect();
            text.push_str(&style.painted(&part, run[0].1));
        }
        out.push(text);
    }
    if most == 0 {
        let middle = out.len() / 2;
        out[middle] = format!("{:>LABEL_COLUMNS$} │  no records in this window", "");
    }
    out.extend(time_lines(spec, clock, &columns).iter().map(|l| cut(l, style.width())));
    if !shaded.is_empty() {
        out.push(format!("{:LABEL_COLUMNS$}  {SHADE} hours without objects", ""));
    }
    out
}

/// What of a line of the plot a bar fills: something is never nothing.
fn part_of(axis: &ValueAxis, records: u64, row: usize, lines: usize) -> char {
    let eighths = (axis.share(records as f64) * lines as f64 * 8.0).round() as usize;
    let eighths = eighths.max(usize::from(records > 0));
    EIGHTHS[eighths.saturating_sub(row * 8).min(8)]
}

/// The label of the value at the upper edge of a line of the plot. Zero is on the time axis.
fn label_above(axis: &ValueAxis, row: usize, lines: usize) -> &str {
    let edge = |value: f64| (axis.share(value) * lines as f64).round() as usize;
    let tick = axis.ticks.iter().find(|(value, _)| edge(*value) == row + 1);
    tick.map_or("", |(_, label)| label)
}

/// The colour of the group that reaches through the middle of a cell, or is on top below it.
fn colour_at(series: &Series, step: usize, axis: &ValueAxis, row: usize, lines: usize) -> u8 {
    let middle = axis.high * (row as f64 + 0.5) / lines as f64;
    let mut below = 0;
    let mut colour = COLOURS[0];
    for (place, group) in series.groups.iter().enumerate() {
        if group.records[step] > 0 {
            colour = group_colour(place, group);
        }
        below += group.records[step];
        if below as f64 > middle {
            break;
        }
    }
    colour
}

fn group_colour(place: usize, group: &Group) -> u8 {
    if group.is_rest { GREY } else { COLOURS[place % COLOURS.len()] }
}

/// The time axis, its labels, the dates below them, and whose time it is.
fn time_lines(spec: &ChartSpec, clock: &Clock, columns: &Columns) -> Vec<String> {
    /// Labels are chosen as for a picture in which a column has this width, px, and digits too.
    const COLUMN_PX: f64 = 10.0;
    const LETTER_PX: f64 = 18.0;
    let time = TimeAxis::of(spec, clock, columns.count as f64 * COLUMN_PX, LETTER_PX);
    let mut rule = vec!['─'; columns.count + 1];
    let room = columns.count + RIGHT_COLUMNS;
    let (mut labels, mut below) = (Row::new(room), Row::new(room));
    for tick in &time.ticks {
        let column = columns.column_of(tick.at_us);
        rule[column] = '┬';
        labels.put(column, &tick.label);
        if let Some(text) = &tick.below {
            below.put(column, text);
        }
    }
    for jump in &time.jumps {
        below.put(columns.column_of(jump.at_us), &jump.label);
    }
    let indent = " ".repeat(LABEL_COLUMNS - 1);
    let rule: String = rule.into_iter().collect();
    let mut out =
        vec![format!("{:>LABEL_COLUMNS$} └{rule}", "0"), format!("{indent}{}", labels.text())];
    if !below.text().trim().is_empty() {
        out.push(format!("{indent}{}", below.text()));
    }
    out.push(format!("{indent}   {}", time.caption));
    out
}

/// A line of labels, each around its column; one that would touch another is left out.
struct Row {
    cells: Vec<char>,
}

impl Row {
    /// Room left of the plot's first column.
    const LEFT: usize = 3;

    fn new(columns: usize) -> Row {
        Row { cells: vec![' '; columns + Row::LEFT] }
    }

    fn put(&mut self, column: usize, label: &str) {
        let label: Vec<char> = label.chars().collect();
        let last = self.cells.len().saturating_sub(label.len());
        let from = (column + Row::LEFT).saturating_sub(label.len() / 2).min(last);
        let to = from + label.len();
        let around = from.saturating_sub(1)..(to + 1).min(self.cells.len());
        if to <= self.cells.len() && self.cells[around].iter().all(|&c| c == ' ') {
            self.cells[from..to].copy_from_slice(&label);
        }
    }

    fn text(&self) -> String {
        self.cells.iter().collect()
    }
}

/// A line per group: name, records, share, and a bar.
fn group_lines(series: &Series, style: &TermStyle) -> Vec<String> {
    let names: Vec<String> =
        series.groups.iter().map(|g| cut(&plain(&g.name), NAME_COLUMNS)).collect();
    let counts: Vec<String> = series.groups.iter().map(|g| grouped(g.total)).collect();
    let widest_name = names.iter().map(|n| columns_of(n)).max().unwrap_or(0);
    let widest_count = counts.iter().map(String::len).max().unwrap_or(0);
    let most = series.groups.iter().map(|g| g.total).max().unwrap_or(0).max(1);
    let room = style.width().saturating_sub(widest_name + widest_count + 10).min(BAR_COLUMNS);
    let rows = series.groups.iter().zip(names.iter().zip(&counts)).enumerate();
    rows.map(|(place, (group, (name, count)))| {
        let pad = " ".repeat(widest_name - columns_of(name));
        let eighths = (group.total as f64 / most as f64 * room as f64 * 8.0).round() as usize;
        let bar = bar(eighths.max(usize::from(group.total > 0)));
        let bar = style.painted(&bar, group_colour(place, group));
        let share = percent(group.total, series.total);
        format!("{name}{pad}  {count:>widest_count$} {share:>5}  {bar}")
    })
    .collect()
}

/// A lying bar, in eighths of a column.
fn bar(eighths: usize) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    format!("{}{}", "█".repeat(eighths / 8), PARTS[eighths % 8])
}

/// A line per metric: its mean, least and greatest value, and how the mean goes.
fn metric_lines(metrics: &[Metric], width: usize) -> Vec<String> {
    let names: Vec<String> = metrics.iter().map(|m| cut(&plain(&m.name), NAME_COLUMNS)).collect();
    let widest = names.iter().map(|n| columns_of(n)).max().unwrap_or(0);
    let lines = metrics.iter().zip(names).map(|(metric, name)| {
        let pad = " ".repeat(widest - columns_of(&name));
        let ends =
            metric.band.iter().flatten().fold(None, |ends: Option<(f64, f64)>, &(low, high)| {
                let (least, most) = ends.unwrap_or((low, high));
                Some((least.min(low), most.max(high)))
            });
        let said = match (metric.mean, ends) {
            (Some(mean), Some((low, high))) => format!(
                "mean {}   min {}   max {}",
                short_number(mean),
                short_number(low),
                short_number(high)
            ),
            _ => "no values".to_string(),
        };
        cut(&format!("{name}{pad}  {said}"), width)
    });
    lines.collect()
}

/// Columns that a character takes in a terminal: two for Hangul, kana, Han and full-width forms.
fn columns_of(text: &str) -> usize {
    text.chars().map(columns_of_char).sum()
}

fn columns_of_char(character: char) -> usize {
    match character as u32 {
        0x1100..=0x115F
        | 0x2E80..=0x303E
        | 0x3041..=0xA4CF
        | 0xAC00..=0xD7A3
        | 0xF900..=0xFAFF
        | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60
        | 0xFFE0..=0xFFE6
        | 0x1F300..=0x1F64F
        | 0x1F680..=0x1F9FF
        | 0x20000..=0x3FFFD => 2,
        _ => 1,
    }
}

/// Cuts a text to a number of columns, with an ellipsis at the end.
fn cut(text: &str, columns: usize) -> String {
    if columns_of(text) <= columns {
        return text.to_string();
    }
    let mut used = 1;
    let mut kept: String = text
        .chars()
        .take_while(|&c| {
            used += columns_of_char(c);
            used <= columns
        })
        .collect();
    kept.truncate(kept.trim_end().len());
    kept.push('…');
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::series::Rows;
    use chrono_tz::Tz;

    const HOUR: i64 = 3_600_000_000;

    fn drawn(
        hours: i64,
        names: &[&str],
        style: &TermStyle,
        records: impl Fn(i64, usize) -> u64,
    ) -> String {
        let mut spec = ChartSpec::new(0, hours * HOUR, Tz::UTC);
        spec.date = chrono::NaiveDate::from_ymd_opt(1970, 1, 1);
        spec.label = "1970-01-01".to_string();
        spec.empty_hours_us = vec![3 * HOUR];
        if names.len() > 1 {
            spec.by = vec!["type".to_string()];
        }
        let mut rows =
            Rows { groups: names.iter().map(|n| n.to_string()).collect(), ..Rows::default() };
        for hour in 0..hours {
            for group in 0..names.len() {
                rows.bucket_us.push(hour * HOUR);
                rows.group.push(group as u32);
                rows.records.push(records(hour, group));
            }
        }
        let clock = Clock::new(spec.tz, spec.start_us, spec.end_us);
        let series = Series::of(&rows, &spec, &clock, style.plot_columns());
        draw(&spec, &series, &clock, style)
    }

    #[test]
    fn a_day_is_drawn_with_its_axis() {
        let style = TermStyle { columns: 66, lines: 6, colour: false };
        let text =
            drawn(24, &[""], &style, |hour, _| if hour == 3 { 0 } else { hour as u64 * 100 });
        insta::assert_snapshot!(text);
    }

    #[test]
    fn groups_have_lines_and_korean_names_take_two_columns() {
        let style = TermStyle { columns: 66, lines: 4, colour: false };
        let text = drawn(24, &["로그인", "click", "결제완료"], &style, |h, g| {
            h as u64 * (3 - g as u64)
        });
        insta::assert_snapshot!(text);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for columns in [10, 40, 63, 80, 200] {
            let style = TermStyle { columns, lines: 5, colour: false };
            let text = drawn(
                24,
                &["아주아주아주 긴 이름의 그룹이 하나 있다", "b"],
                &style,
                |h, _| h as u64,
            );
            for line in text.lines() {
                assert!(columns_of(line) <= columns.max(40), "{columns}: {line}");
            }
        }
    }

    #[test]
    fn without_colour_there_is_no_escape_sequence() {
        let mut style = TermStyle::default();
        let records = |h: i64, _: usize| h as u64;
        assert!(!drawn(24, &["a\u{1b}[31m", "b"], &style, records).contains('\x1b'));
        style.colour = true;
        assert!(drawn(24, &["a", "b"], &style, records).contains("\x1b[34m"));
    }

    #[test]
    fn an_empty_day_says_so() {
        let text = drawn(24, &[""], &TermStyle::default(), |_, _| 0);
        assert!(text.contains("no records in this window"), "{text}");
    }

    #[test]
    fn a_single_record_can_be_seen() {
        let text = drawn(24, &[""], &TermStyle::default(), |h, _| {
            if h == 5 {
                1
            } else if h == 9 {
                1_000_000
            } else {
                0
            }
        });
        assert!(text.contains('▁'), "{text}");
    }
}
