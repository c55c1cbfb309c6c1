//! How long to wait before the next attempt: longer each time, and never twice the same.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The waits between the attempts of one thing.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
}

/// The first wait between attempts, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// The longest wait that a server may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(120);

impl Default for Backoff {
    fn default() -> Self {
        Backoff { next: FIRST_WAIT }
    }
}

impl Backoff {
    /// The next wait: what the server asked for, else anything from a half to one and a half of a time
    /// that doubles, so that many who wait don't come back together.
    pub fn wait(&mut self, asked: Option<Duration>) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST_WAIT);
        match asked {
            Some(asked) => asked.min(LONGEST_ASKED),
            None => wait / 2 + wait * (RandomState::new().hash_one(0) % 1_000) as u32 / 1_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_have_jitter_and_an_end_and_what_is_asked_for_is_kept() {
        for _ in 0..50 {
            let mut backoff = Backoff::default();
            for doubled in [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000] {
                let wait = backoff.wait(None).as_millis();
                assert!((doubled / 2..=doubled * 3 / 2).contains(&wait), "{wait} ms");
            }
        }
        let ask = |seconds| Backoff::default().wait(Some(Duration::from_secs(seconds))).as_secs();
        assert_eq!((ask(0), ask(60), ask(9_999)), (0, 60, 120));
    }
}
