//! Rows of the bucket table go in; what is drawn comes out: steps in time, the largest groups and
//! the rest of them stacked, the mean and the band of each metric.
//!
//! It never invents a value: a step without values has none, a step without records has zero.

use std::collections::BTreeMap;

use super::clock::Clock;
use super::spec::ChartSpec;

/// Groups that get a colour of their own.
pub const SHOWN_GROUPS: usize = 6;

/// The bucket table as plain columns of one length; instants are µs UTC.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    pub bucket_us: Vec<i64>,
    /// Index into `groups`.
    pub group: Vec<u32>,
    /// Names of groups; one empty name where there are none.
    pub groups: Vec<String>,
    pub records: Vec<u64>,
    pub metrics: Vec<MetricRows>,
}

/// The statistics of a metric; not a number where a bucket has no value.
#[derive(Clone, Debug, Default)]
pub struct MetricRows {
    pub name: String,
    pub count: Vec<u64>,
    pub mean: Vec<f64>,
    pub min: Vec<f64>,
    pub max: Vec<f64>,
}

/// A step of the chart: one bucket, or several where they would be narrower than a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub start_us: i64,
    pub end_us: i64,
}

/// A group, or the rest of them, with its records per step.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    pub name: String,
    /// True for the rest, which is drawn in grey.
    pub is_rest: bool,
    pub total: u64,
    pub records: Vec<u64>,
}

/// Mean per step of one group, or of all records; `None` where there is no value.
#[derive(Clone, Debug, PartialEq)]
pub struct MeanLine {
    /// Index into the groups of the series; `None` for all records.
    pub group: Option<usize>,
    pub mean: Vec<Option<f64>>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    pub name: String,
    pub lines: Vec<MeanLine>,
    /// Mean of all values of the window.
    pub mean: Option<f64>,
    /// Least and greatest value of all records per step.
    pub band: Vec<Option<(f64, f64)>>,
}

/// What a chart draws.
#[derive(Clone, Debug)]
pub struct Series {
    pub steps: Vec<Step>,
    /// Nominal length of a step; the first and the last may be shorter.
    pub step_us: i64,
    /// Largest first, the rest last.
    pub groups: Vec<Group>,
    pub metrics: Vec<Metric>,
    pub total: u64,
}

impl Series {
    /// The series for a plot of about `width_px`. Within a day a minute may be as narrow as a
    /// pixel; over many days that narrow steps would show a pattern that is not in the data.
    pub fn for_width(rows: &Rows, spec: &ChartSpec, clock: &Clock, width_px: u32) -> Series {
        let is_day = spec.end_us - spec.start_us <= 26 * 3_600_000_000;
        let steps = if is_day { width_px * 13 / 10 } else { width_px / 2 };
        Series::of(rows, spec, clock, steps as usize)
    }

    /// At most `max_steps` steps: narrower buckets are joined to a length that a person would
    /// choose, by the local clock.
    pub fn of(rows: &Rows, spec: &ChartSpec, clock: &Clock, max_steps: usize) -> Series {
        let buckets = buckets_of(rows, spec);
        let step_us = step_length(spec, buckets.len(), max_steps);
        let (steps, step_of_bucket) = join(&buckets, step_us, spec, clock);
        let slots = Slots::of(rows);

        let starts: Vec<i64> = buckets.iter().map(|b| b.start_us).collect();
        let step_of_row: Vec<Option<usize>> = rows
            .bucket_us
            .iter()
            .map(|us| starts.binary_search(us).ok().map(|bucket| step_of_bucket[bucket]))
            .collect();

        let mut groups = slots.groups;
        for group in &mut groups {
            group.records = vec![0; steps.len()];
        }
        for (row, step) in step_of_row.iter().enumerate() {
            let Some(step) = *step else { continue };
            let group = &mut groups[slots.of_group[rows.group[row] as usize]];
            group.records[step] += rows.records[row];
            group.total += rows.records[row];
        }
        let metrics = spec
            .metrics
            .iter()
            .filter_map(|name| rows.metrics.iter().find(|m| m.name == *name))
            .map(|metric| {
                metric_of(metric, rows, spec, &step_of_row, &slots.of_group, &groups, steps.len())
            })
            .collect();
        let total = groups.iter().map(|g| g.total).sum();
        Series { steps, step_us, groups, metrics, total }
    }

    /// Records of all groups, per step.
    pub fn totals(&self) -> Vec<u64> {
        (0..self.steps.len())
            .map(|step| self.groups.iter().map(|g| g.records[step]).sum())
            .collect()
    }
}

/// Every bucket of the table within the window, in order; each ends where the next begins or
/// after its length.
fn buckets_of(rows: &Rows, spec: &ChartSpec) -> Vec<Step> {
    let mut starts: Vec<i64> = rows
        .bucket_us
        .iter()
        .copied()
        .filter(|us| (spec.start_us..spec.end_us).contains(us))
        .collect();
    starts.sort_unstable();
    starts.dedup();
    let ends = starts.iter().copied().skip(1).chain([spec.end_us]);
    starts
        .iter()
        .zip(ends)
        .map(|(&start_us, next)| Step {
            start_us,
            end_us: next.min(start_us.saturating_add(spec.every_us)),
        })
        .collect()
}

/// The bucket itself, or the shortest usual length that leaves few enough steps.
fn step_length(spec: &ChartSpec, buckets: usize, max_steps: usize) -> i64 {
    const MINUTE: i64 = 60_000_000;
    const USUAL: [i64; 16] = [
        MINUTE / 6,
        MINUTE / 2,
        MINUTE,
        5 * MINUTE,
        10 * MINUTE,
        15 * MINUTE,
        30 * MINUTE,
        60 * MINUTE,
        120 * MINUTE,
        180 * MINUTE,
        360 * MINUTE,
        720 * MINUTE,
        1440 * MINUTE,
        7 * 1440 * MINUTE,
        28 * 1440 * MINUTE,
        364 * 1440 * MINUTE,
    ];
    if buckets <= max_steps {
        return spec.every_us;
    }
    let length = (spec.end_us - spec.start_us) as f64;
    USUAL
        .into_iter()
        .find(|&us| us > spec.every_us && length / us as f64 <= max_steps as f64)
        .unwrap_or(USUAL[USUAL.len() - 1].max(spec.every_us))
}

/// Joins buckets whose beginnings lie in the same `step_us` of the local clock. Returns the steps
/// and the step of each bucket.
fn join(
    buckets: &[Step],
    step_us: i64,
    spec: &ChartSpec,
    clock: &Clock,
) -> (Vec<Step>, Vec<usize>) {
    if step_us == spec.every_us {
        return (buckets.to_vec(), (0..buckets.len()).collect());
    }
    let mut steps: Vec<Step> = Vec::new();
    let mut of_bucket = Vec::with_capacity(buckets.len());
    let mut last = None;
    for bucket in buckets {
        let key = clock.local_us(bucket.start_us).div_euclid(step_us);
        match steps.last_mut() {
            Some(step) if last == Some(key) => step.end_us = bucket.end_us,
            _ => steps.push(*bucket),
        }
        last = Some(key);
        of_bucket.push(steps.len() - 1);
    }
    (steps, of_bucket)
}

/// Which groups are shown, and where each group of the table goes.
struct Slots {
    groups: Vec<Group>,
    of_group: Vec<usize>,
}

impl Slots {
    fn of(rows: &Rows) -> Slots {
        let mut totals = vec![0u64; rows.groups.len()];
        for (group, records) in rows.group.iter().zip(&rows.records) {
            totals[*group as usize] += records;
        }
        let mut order: Vec<usize> = (0..totals.len()).collect();
        order.sort_by(|&a, &b| {
            totals[b].cmp(&totals[a]).then_with(|| rows.groups[a].cmp(&rows.groups[b]))
        });
        let shown = order.len().min(SHOWN_GROUPS);
        let mut of_group = vec![shown; totals.len()];
        let mut groups: Vec<Group> = Vec::new();
        for (slot, &group) in order.iter().take(shown).enumerate() {
            of_group[group] = slot;
            groups.push(Group::empty(rows.groups[group].clone(), false));
        }
        match order.get(shown..).unwrap_or_default() {
            [] => {}
            // "others" of one says less than its name.
            [one] => groups.push(Group::empty(rows.groups[*one].clone(), true)),
            rest => groups.push(Group::empty(format!("others ({})", rest.len()), true)),
        }
        Slots { groups, of_group }
    }
}

impl Group {
    fn empty(name: String, is_rest: bool) -> Group {
        Group { name, is_rest, total: 0, records: Vec::new() }
    }
}

/// A weighted mean that does not overflow where its values do not.
#[derive(Clone, Copy, Default)]
struct Mean {
    count: u64,
    mean: f64,
}

impl Mean {
    fn add(&mut self, count: u64, mean: f64) {
        let all = self.count + count;
        self.mean =
            self.mean * (self.count as f64 / all as f64) + mean * (count as f64 / all as f64);
        self.count = all;
    }

    fn value(self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }
}

fn metric_of(
    metric: &MetricRows,
    rows: &Rows,
    spec: &ChartSpec,
    step_of_row: &[Option<usize>],
    slot_of_group: &[usize],
    groups: &[Group],
    steps: usize,
) -> Metric {
    let grouped = !spec.by.is_empty() && groups.len() > 1;
    let mut band: Vec<Option<(f64, f64)>> = vec![None; steps];
    let mut whole = Mean::default();
    let mut all = vec![Mean::default(); steps];
    let mut each: BTreeMap<usize, Vec<Mean>> = BTreeMap::new();
    for (row, step) in step_of_row.iter().enumerate() {
        let (Some(step), count, mean) = (*step, metric.count[row], metric.mean[row]) else {
            continue;
        };
        let (low, high) = (metric.min[row], metric.max[row]);
        if count == 0 || ![mean, low, high].iter().all(|v| v.is_finite()) {
            continue;
        }
        let (least, most) = band[step].unwrap_or((low, high));
        band[step] = Some((least.min(low), most.max(high)));
        whole.add(count, mean);
        all[step].add(count, mean);
        let slot = slot_of_group[rows.group[row] as usize];
        if grouped && !groups[slot].is_rest {
            each.entry(slot).or_insert_with(|| vec![Mean::default(); steps])[step].add(count, mean);
        }
    }
    let line = |group, means: Vec<Mean>| MeanLine {
        group,
        mean: means.into_iter().map(Mean::value).collect(),
    };
    let lines = if grouped {
        each.into_iter().map(|(slot, means)| line(Some(slot), means)).collect()
    } else {
        vec![line(None, all)]
    };
    Metric { name: metric.name.clone(), lines, mean: whole.value(), band }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono_tz::Tz;

    const HOUR: i64 = 3_600_000_000;

    fn spec(hours: i64) -> ChartSpec {
        ChartSpec::new(0, hours * HOUR, Tz::UTC)
    }

    fn clock(spec: &ChartSpec) -> Clock {
        Clock::new(spec.tz, spec.start_us, spec.end_us)
    }

    /// One row per hour and group, with `records` by (hour, group).
    fn rows(hours: i64, names: &[&str], records: impl Fn(i64, usize) -> u64) -> Rows {
        let mut rows =
            Rows { groups: names.iter().map(|n| n.to_string()).collect(), ..Rows::default() };
        for hour in 0..hours {
            for group in 0..names.len() {
                rows.bucket_us.push(hour * HOUR);
                rows.group.push(group as u32);
                rows.records.push(records(hour, group));
            }
        }
        rows
    }

    #[test]
    fn the_largest_groups_come_first_and_the_rest_last() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
        let rows = rows(2, &names, |_, group| group as u64);
        let mut spec = spec(2);
        spec.by = vec!["type".to_string()];
        let series = Series::of(&rows, &spec, &clock(&spec), 100);
        let shown: Vec<_> = series.groups.iter().map(|g| (g.name.as_str(), g.total)).collect();
        let expected =
            [("i", 16), ("h", 14), ("g", 12), ("f", 10), ("e", 8), ("d", 6), ("others (3)", 6)];
        assert_eq!(shown, expected);
        assert_eq!(series.total, 72);
    }

    #[test]
    fn a_rest_of_one_keeps_its_name() {
        let rows = rows(1, &["a", "b", "c", "d", "e", "f", "g"], |_, _| 1);
        let series = Series::of(&rows, &spec(1), &clock(&spec(1)), 100);
        assert_eq!(series.groups[6].name, "g");
        assert!(series.groups[6].is_rest);
    }

    #[test]
    fn groups_of_one_size_are_ordered_by_name() {
        let rows = rows(1, &["b", "c", "a"], |_, _| 1);
        let series = Series::of(&rows, &spec(1), &clock(&spec(1)), 100);
        assert_eq!(series.groups.iter().map(|g| &*g.name).collect::<String>(), "abc");
    }

    #[test]
    fn joined_steps_keep_every_record() {
        let rows = rows(240, &[""], |hour, _| hour as u64);
        let spec = spec(240);
        let series = Series::of(&rows, &spec, &clock(&spec), 24);
        assert_eq!(series.step_us, 12 * HOUR);
        assert_eq!(series.steps.len(), 20);
        assert_eq!(series.total, (0..240).sum::<u64>());
        assert_eq!(series.groups[0].records[0], (0..12).sum::<u64>());
        assert_eq!(series.steps[1].start_us, 12 * HOUR);
    }

    #[test]
    fn joined_steps_begin_on_the_local_clock() {
        let mut spec = spec(240);
        spec.tz = chrono_tz::Asia::Seoul;
        let rows = rows(240, &[""], |_, _| 1);
        let series = Series::of(&rows, &spec, &clock(&spec), 12);
        assert_eq!(series.step_us, 24 * HOUR);
        assert_eq!(series.steps[0].end_us, 15 * HOUR, "Seoul's midnight is 15:00 UTC");
    }

    #[test]
    fn the_last_bucket_may_be_short() {
        let mut spec = spec(2);
        spec.end_us = HOUR + HOUR / 2;
        let series = Series::of(&rows(2, &[""], |_, _| 1), &spec, &clock(&spec), 10);
        assert_eq!(series.steps[1], Step { start_us: HOUR, end_us: spec.end_us });
    }

    #[test]
    fn a_mean_is_weighted_and_huge_values_do_not_overflow() {
        let mut mean = Mean::default();
        assert_eq!(mean.value(), None);
        mean.add(1, 4.0);
        mean.add(3, 8.0);
        assert_eq!(mean.value(), Some(7.0));
        let mut huge = Mean::default();
        huge.add(5, f64::MAX);
        huge.add(7, f64::MAX);
        assert!(huge.value().unwrap().is_finite());
    }

    #[test]
    fn a_step_without_values_has_none() {
        let mut rows = rows(2, &[""], |_, _| 1);
        rows.metrics = vec![MetricRows {
            name: "v".into(),
            count: vec![0, 2],
            mean: vec![f64::NAN, 3.0],
            min: vec![f64::NAN, 1.0],
            max: vec![f64::NAN, 5.0],
        }];
        let mut spec = spec(2);
        spec.metrics = vec!["v".into(), "missing".into()];
        let series = Series::of(&rows, &spec, &clock(&spec), 10);
        assert_eq!(series.metrics.len(), 1);
        assert_eq!(series.metrics[0].band, [None, Some((1.0, 5.0))]);
        assert_eq!(series.metrics[0].lines[0].mean, [None, Some(3.0)]);
    }
}
