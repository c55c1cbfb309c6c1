//! Points of a delivery stream's metrics → what was delivered since a time. Pure.
//!
//! The metrics: <https://docs.aws.amazon.com/firehose/latest/dev/cloudwatch-metrics.html>.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::streams::Counted;

/// How a metric is summed up within a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Statistic {
    Sum,
    Average,
    Maximum,
}

/// The metrics that are asked for; their places are those of the points that come of them.
pub const METRICS: [(&str, Statistic); 5] = [
    ("DeliveryToS3.Records", Statistic::Sum),
    ("IncomingRecords", Statistic::Sum),
    ("DataReadFromKinesisStream.Records", Statistic::Sum),
    ("DeliveryToS3.Success", Statistic::Average),
    ("DeliveryToS3.DataFreshness", Statistic::Maximum),
];

/// Values of one metric by time.
pub type Points = Vec<(DateTime<Utc>, f64)>;

impl Counted {
    pub(super) fn of(since_utc: DateTime<Utc>, points: &[Points; METRICS.len()]) -> Counted {
        let [delivered, incoming, read, success, freshness] = points;
        let sum = |points: &Points| {
            let sum: f64 = points.iter().map(|(_, value)| value.max(0.0)).sum();
            (!points.is_empty()).then_some(sum.round() as u64)
        };
        let newest = freshness.iter().max_by_key(|(time, _)| *time);
        Counted {
            since_utc,
            delivered: sum(delivered),
            taken_in: sum(incoming).max(sum(read)),
            success: success.iter().map(|(_, value)| *value).min_by(f64::total_cmp),
            oldest: newest.and_then(|(_, value)| Duration::try_from_secs_f64(*value).ok()),
        }
    }
}

/// The steps that CloudWatch still has of a time, in seconds: minutes for 15 days, five minutes for 63, then hours.
pub fn step_seconds(since_utc: DateTime<Utc>, now: DateTime<Utc>) -> u32 {
    match now - since_utc {
        age if age < TimeDelta::days(15) => 60,
        age if age < TimeDelta::days(63) => 300,
        _ => 3_600,
    }
}

/// The beginning of the step that holds a time.
pub fn step_of(time: DateTime<Utc>, step_seconds: u32) -> DateTime<Utc> {
    let into = time.timestamp().rem_euclid(i64::from(step_seconds));
    DateTime::from_timestamp(time.timestamp() - into, 0).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_650_250_800 + 60 * minute, 0).unwrap()
    }

    #[test]
    fn points_are_summed_and_what_was_not_told_stays_unknown() {
        let points = [
            vec![(at(2), 5.0), (at(0), 2.0)],
            vec![],
            vec![(at(0), 9.0)],
            vec![(at(0), 1.0), (at(1), 0.5), (at(2), 1.0)],
            vec![(at(2), 62.0), (at(0), 300.0)],
        ];
        let counted = Counted {
            since_utc: at(0),
            delivered: Some(7),
            taken_in: Some(9),
            success: Some(0.5),
            oldest: Some(Duration::from_secs(62)),
        };
        assert_eq!(Counted::of(at(0), &points), counted);
        let nothing = Counted::of(at(0), &Default::default());
        assert_eq!((nothing.delivered, nothing.taken_in, nothing.success), (None, None, None));
    }

    #[test]
    fn steps_are_those_that_are_kept() {
        let steps = [1, 20, 100].map(|days| step_seconds(at(0), at(0) + TimeDelta::days(days)));
        assert_eq!(steps, [60, 300, 3_600]);
        assert_eq!(step_of(at(3) + TimeDelta::seconds(59), 60), at(3));
        assert_eq!(step_of(at(3), 3_600), at(0));
    }
}
