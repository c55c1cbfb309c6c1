//! The delivery on AWS: what CloudWatch counts of a delivery stream, asked now and then, and its error log.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

use super::hops::{Hop, State, Trace};
use super::mark::Mark;
use crate::streams::{ErrorLog, Reach, Unwatched, Watch};

/// A delivery stream that is asked about.
pub struct Watching {
    watch: Option<Watch>,
    /// When it was, at last.
    asked: Option<Instant>,
    failures: u32,
}

/// Metrics are made for minutes, and every one that is asked for costs something.
const ASK_EVERY: Duration = Duration::from_secs(20);
/// An answer as young as this is asked for no second time.
const FRESH: Duration = Duration::from_secs(2);
/// Questions without an answer, before nothing more is asked: each may take a minute.
const MOST_FAILURES: u32 = 3;
/// Firehose tries for a day to deliver: what comes later is not of this trace.
const LATEST: TimeDelta = TimeDelta::hours(25);

impl Watching {
    /// Asks nothing yet. Where nothing can be asked, the hop says why.
    pub fn open(name: &str, reach: &Reach, trace: &mut Trace) -> Watching {
        let watch = Watch::open(name, reach);
        let why = watch.as_ref().err().map(|unwatched| unwatched.why.clone());
        let why = why.unwrap_or_else(|| "nothing was sent that it could have".to_string());
        trace.set(Hop::Delivery, State::NotAsked(why));
        Watching { watch: watch.ok(), asked: None, failures: 0 }
    }

    /// Notes what was delivered by now, if it is time to ask again; `last` does not wait so long.
    pub fn look(&mut self, mark: &Mark, trace: &mut Trace, last: bool, interrupted: &AtomicBool) {
        let Some(watch) = &self.watch else { return };
        let after = if last { FRESH } else { ASK_EVERY };
        if self.asked.is_some_and(|asked| asked.elapsed() < after) {
            return;
        }
        match watch.counted(mark.time_utc, until(mark), interrupted) {
            Ok(counted) => trace.set(Hop::Delivery, State::Counted(counted)),
            Err(Unwatched { again, why }) => {
                // What it said before is still true, be it older.
                if !matches!(trace.hop(Hop::Delivery), State::Counted(_)) {
                    trace.set(Hop::Delivery, State::NotAsked(why));
                }
                self.failures += 1;
                if !again || self.failures >= MOST_FAILURES {
                    self.watch = None;
                }
            }
        }
        self.asked = Some(Instant::now());
    }
}

/// The newest error that a delivery stream logged since sending; `None` where nobody can ask.
pub fn errors(
    name: &str,
    reach: &Reach,
    mark: &Mark,
    interrupted: &AtomicBool,
) -> Option<ErrorLog> {
    // A permission for metrics is none for logs, nor the other way round.
    let watch = Watch::open(name, reach).ok()?;
    Some(watch.errors(mark.time_utc, until(mark), interrupted))
}

fn until(mark: &Mark) -> DateTime<Utc> {
    Utc::now().min(mark.time_utc + LATEST)
}
