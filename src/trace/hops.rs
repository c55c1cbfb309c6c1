//! Which record was seen where, how often and when → the report of a trace. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::streams::Counted;

/// The places that a record passes, in their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Hop {
    /// The endpoint answered that it has the record.
    Gateway,
    /// It was read from a shard.
    Stream,
    /// Its delivery stream says that it delivered it.
    Delivery,
    /// An object of the source holds it.
    Object,
    /// The reading side gives it as a record.
    Read,
}

impl Hop {
    pub const ALL: [Hop; 5] = [Hop::Gateway, Hop::Stream, Hop::Delivery, Hop::Object, Hop::Read];

    /// As it is printed. In `--json` too, so that it never changes.
    pub fn name(self) -> &'static str {
        match self {
            Hop::Gateway => "gateway",
            Hop::Stream => "stream",
            Hop::Delivery => "delivery",
            Hop::Object => "object",
            Hop::Read => "read",
        }
    }
}

/// The records that were seen at a hop.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// How often each was.
    times: BTreeMap<u32, u64>,
    /// When each was at first, where that is known.
    at_utc: BTreeMap<u32, DateTime<Utc>>,
}

impl Seen {
    pub fn add(&mut self, n: u32, at_utc: Option<DateTime<Utc>>) {
        *self.times.entry(n).or_default() += 1;
        if let Some(at) = at_utc {
            let first = self.at_utc.entry(n).or_insert(at);
            *first = at.min(*first);
        }
    }

    pub fn has(&self, n: u32) -> bool {
        self.times.contains_key(&n)
    }

    pub fn count(&self) -> u32 {
        self.times.len() as u32
    }
}

/// What is known of a hop.
#[derive(Clone, PartialEq, Debug)]
pub enum State {
    Asked(Seen),
    /// It counts records and can't tell ours from others, so that it bounds how many of ours it has.
    Counted(Counted),
    /// Why it was not.
    NotAsked(String),
}

/// A trace as far as it came.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Records from 0.
    pub count: u32,
    hops: [State; 5],
    /// When each was sent.
    pub sent_utc: BTreeMap<u32, DateTime<Utc>>,
}

impl Trace {
    /// A trace that asks nothing.
    pub fn new(count: u32) -> Trace {
        let hops = Hop::ALL.map(|_| State::NotAsked(String::new()));
        Trace { count, hops, sent_utc: BTreeMap::new() }
    }

    pub fn set(&mut self, hop: Hop, state: State) {
        self.hops[hop as usize] = state;
    }

    pub fn hop(&self, hop: Hop) -> &State {
        &self.hops[hop as usize]
    }

    /// What was seen at a hop; `None` where single records are not asked for.
    pub fn seen(&mut self, hop: Hop) -> Option<&mut Seen> {
        match &mut self.hops[hop as usize] {
            State::Asked(seen) => Some(seen),
            State::Counted(_) | State::NotAsked(_) => None,
        }
    }

    /// How many of ours a hop that counts has at most, as far as it knows by now.
    pub fn at_most(&self, hop: Hop) -> Option<u32> {
        match self.hop(hop) {
            State::Counted(counted) => {
                Some(counted.delivered.unwrap_or(0).min(u64::from(self.count)) as u32)
            }
            State::Asked(_) | State::NotAsked(_) => None,
        }
    }

    pub fn has(&self, hop: Hop, n: u32) -> bool {
        matches!(self.hop(hop), State::Asked(seen) if seen.has(n))
    }

    /// True where a hop that counts says less than a hop behind it has seen: its counts come late.
    pub fn is_late(&self, hop: Hop) -> bool {
        self.at_most(hop).is_some_and(|most| {
            self.summaries().iter().any(|other| other.hop > hop && other.count > most)
        })
    }

    /// True once every record was seen at every hop that comes behind one where it was seen. Counts, which come
    /// late, are waited for only where no hop behind them sees the records themselves.
    pub fn is_over(&self) -> bool {
        let start: Vec<u32> = match self.hop(Hop::Gateway) {
            State::Asked(_) => (0..self.count).filter(|n| self.has(Hop::Gateway, *n)).collect(),
            State::Counted(_) | State::NotAsked(_) => (0..self.count).collect(),
        };
        let is_seen_behind = matches!(self.hop(Hop::Object), State::Asked(_));
        let missing = |hop: &Hop| match self.hop(*hop) {
            State::Asked(seen) => start.iter().any(|n| !seen.has(*n)),
            State::Counted(_) if is_seen_behind => false,
            State::Counted(_) => {
                self.at_most(*hop).is_some_and(|most| (most as usize) < start.len())
            }
            State::NotAsked(_) => false,
        };
        !Hop::ALL[1..].iter().any(missing)
    }

    /// True where every record was seen once at every hop that was asked.
    pub fn is_complete(&self) -> bool {
        self.summaries().iter().all(|summary| summary.lost.is_empty() && summary.duplicates == 0)
    }

    /// The hops that see records themselves.
    pub fn summaries(&self) -> Vec<Summary> {
        let of = |hop: Hop| match self.hop(hop) {
            State::Asked(seen) => Some(self.summary(hop, seen)),
            State::Counted(_) | State::NotAsked(_) => None,
        };
        Hop::ALL.into_iter().filter_map(of).collect()
    }

    fn summary(&self, hop: Hop, seen: &Seen) -> Summary {
        let since = |(n, at): (&u32, &DateTime<Utc>)| {
            // Clocks may differ: nothing comes before it was sent.
            Some((*at - *self.sent_utc.get(n)?).to_std().unwrap_or_default())
        };
        let mut latencies: Vec<Duration> = seen.at_utc.iter().filter_map(since).collect();
        latencies.sort();
        Summary {
            hop,
            count: seen.count(),
            lost: (0..self.count).filter(|n| !seen.has(*n)).collect(),
            duplicates: seen.times.values().map(|times| times - 1).sum(),
            p50: latencies.get(latencies.len().saturating_sub(1) / 2).copied(),
            max: latencies.last().copied(),
        }
    }
}

/// A hop in numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    pub hop: Hop,
    /// Records that were seen.
    pub count: u32,
    pub lost: Vec<u32>,
    /// How often a record was seen that had been seen before.
    pub duplicates: u64,
    /// Since they were sent; `None` where nobody knows.
    pub p50: Option<Duration>,
    pub max: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_counts_losses_copies_and_the_time_since_sending() {
        let time = |ms: i64| DateTime::from_timestamp_millis(1_650_240_000_000 + ms).unwrap();
        let mut trace = Trace::new(4);
        trace.sent_utc = (0..4).map(|n| (n, time(0))).collect();
        let mut seen = Seen::default();
        for (n, at) in [(0, Some(30)), (0, Some(10)), (1, Some(-5)), (3, Some(40)), (3, None)] {
            seen.add(n, at.map(time));
        }
        trace.set(Hop::Stream, State::Asked(seen));
        let ms = |ms| Some(Duration::from_millis(ms));
        let summary = Summary {
            hop: Hop::Stream,
            count: 3,
            lost: vec![2],
            duplicates: 2,
            p50: ms(10),
            max: ms(40),
        };
        assert_eq!(trace.summaries(), [summary]);
        assert!(!trace.is_over() && !trace.is_complete());
    }

    #[test]
    fn a_count_is_at_most_all_of_ours_and_waited_for_where_nobody_sees_better() {
        let counted = |delivered| {
            State::Counted(Counted {
                since_utc: DateTime::UNIX_EPOCH,
                delivered,
                taken_in: None,
                success: None,
                oldest: None,
            })
        };
        let mut trace = Trace::new(2);
        for (delivered, most, is_over) in
            [(None, 0, false), (Some(1), 1, false), (Some(2), 2, true), (Some(u64::MAX), 2, true)]
        {
            trace.set(Hop::Delivery, counted(delivered));
            assert_eq!((trace.at_most(Hop::Delivery), trace.is_over()), (Some(most), is_over));
        }
        let mut both = Seen::default();
        (0..2).for_each(|n| both.add(n, None));
        trace.set(Hop::Delivery, counted(None));
        trace.set(Hop::Object, State::Asked(both));
        assert!(trace.is_over());
    }

    #[test]
    fn a_trace_does_not_wait_for_what_the_gateway_refused() {
        let mut trace = Trace::new(2);
        let mut seen = Seen::default();
        seen.add(1, None);
        trace.set(Hop::Gateway, State::Asked(seen.clone()));
        trace.set(Hop::Object, State::Asked(Seen::default()));
        assert!(!trace.is_over());
        trace.set(Hop::Object, State::Asked(seen));
        assert!(trace.is_over() && !trace.is_complete());
    }
}
