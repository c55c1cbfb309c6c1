//! Latencies in, their quantiles out.

use std::collections::BTreeMap;
use std::time::Duration;

/// Latencies in buckets that are at most 2 % wide: their room does not grow with their number.
#[derive(Clone, Debug, Default)]
pub struct Latencies(BTreeMap<u32, u64>);

impl Latencies {
    /// Buckets for each doubling.
    const STEPS: f64 = 36.0;

    pub fn add(&mut self, latency: Duration) {
        let us = latency.as_micros().max(1) as f64;
        *self.0.entry((us.log2() * Self::STEPS) as u32).or_default() += 1;
    }

    /// The latency that so much of all (0 to 1) do not exceed; `None` where there are none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let all: u64 = self.0.values().sum();
        let wanted = ((all as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        self.0.iter().find_map(|(bucket, count)| {
            seen += count;
            let us = f64::from(bucket + 1) / Self::STEPS;
            (seen >= wanted).then(|| Duration::from_micros(us.exp2() as u64))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_within_their_buckets() {
        let mut latencies = Latencies::default();
        (1..=1_000).for_each(|ms| latencies.add(Duration::from_millis(ms)));
        for (share, ms) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0), (1.0, 1_000.0)] {
            let found = latencies.quantile(share).unwrap().as_secs_f64() * 1e3;
            assert!((found / ms - 1.0).abs() < 0.025, "{share}: {found} ms");
        }
        assert_eq!(Latencies::default().quantile(0.5), None);
    }
}
