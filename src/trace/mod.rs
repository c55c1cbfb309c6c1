//! Marked records, followed hop by hop from the endpoint that takes them to the reading side that gives
//! them back. It stands above both sides, and uses each as its users do.
//!
//! ```text
//! mark ─▶ gateway ─▶ stream ─▶ delivery ─▶ object ─▶ read ─▶ hops ─▶ verdict
//! ```
//!
//! Nothing is changed anywhere but for the records that are sent.

mod delivery;
mod hops;
mod mark;
mod metrics;
mod objects;
mod stream;
mod verdict;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chrono::Utc;

use crate::job::JobError;
use crate::send::{Endpoint, PostSpec, SendError, Sent};
use crate::streams::{Reach, Stream, StreamError};
use delivery::Watching;
pub use hops::{Hop, Seen, State, Summary, Trace};
pub use mark::{Mark, Marked, NoMark};
use objects::Objects;
pub use objects::Reading;
pub use stream::Metrics;
use stream::Places;
pub use verdict::{Names, Verdict, counted_text, verdict};

/// What is traced, and where it is looked for.
pub struct TraceSpec {
    /// Where records are sent to, or a mark that was sent.
    pub sending: Sending,
    /// The endpoint, for its pages.
    pub endpoint: Option<PostSpec>,
    pub count: u32,
    /// Each of the others: a way to ask, or why it is not asked.
    pub stream: Result<(String, Reach), String>,
    pub delivery: Result<Delivery, String>,
    pub reading: Result<Reading, String>,
    pub wait: Duration,
}

/// Who says what a delivery stream delivered.
pub enum Delivery {
    /// The pipeline of this machine, record by record.
    Pages(Metrics),
    /// CloudWatch, of a delivery stream's name.
    CloudWatch(String, Reach),
}

/// Where marked records come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sending {
    Now(Mark),
    Earlier(Mark),
}

impl Sending {
    /// New records, with a mark that nobody had.
    pub fn now() -> Sending {
        Sending::Now(Mark::new(Utc::now(), RandomState::new().hash_one(0)))
    }

    pub fn mark(&self) -> &Mark {
        match self {
            Sending::Now(mark) | Sending::Earlier(mark) => mark,
        }
    }
}

/// Why a trace ended without a report.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error(transparent)]
    Send(#[from] SendError),
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Job(#[from] JobError),
    #[error("interrupted")]
    Interrupted,
}

/// A trace that came to its end.
pub struct Traced {
    pub trace: Trace,
    /// What there is to say of its places.
    pub names: Names,
}

/// Attempts of one record.
const ATTEMPTS: u32 = 4;
const ASK_EVERY: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Sends what is to be sent, then asks all places again and again, until every record is at every hop or
/// the time is over. `tell` hears how far it is, and how long it may still take.
///
/// # Errors
/// Where a place can't be asked at all. What a place answers is never an error.
pub fn trace(
    spec: &mut TraceSpec,
    tell: &mut dyn FnMut(&Trace, Duration),
    interrupted: &AtomicBool,
) -> Result<Traced, TraceError> {
    let mark = &spec.sending.mark().clone();
    let mut trace = Trace::new(spec.count);
    let mut names = Names::default();
    let endpoint = spec.endpoint.as_ref().map(|post| Endpoint::open(post, ATTEMPTS)).transpose()?;
    let asked = || State::Asked(Seen::default());
    for (hop, why) in [
        (Hop::Stream, spec.stream.as_ref().err()),
        (Hop::Delivery, spec.delivery.as_ref().err()),
        (Hop::Object, spec.reading.as_ref().err()),
        (Hop::Read, spec.reading.as_ref().err()),
    ] {
        trace.set(hop, why.map_or_else(asked, |why| State::NotAsked(why.clone())));
    }
    let stream = match &spec.stream {
        Ok((name, reach)) => Some(Stream::open(name, reach)?),
        Err(_) => None,
    };
    let mut watching = match &spec.delivery {
        Ok(Delivery::CloudWatch(name, reach)) => Some(Watching::open(name, reach, &mut trace)),
        _ => None,
    };
    let mut places = Places::new();
    let mut accepted = 0;
    match (&spec.sending, &endpoint) {
        (Sending::Now(_), Some(endpoint)) => {
            trace.set(Hop::Gateway, asked());
            send(endpoint, mark, &mut trace, &mut places, &mut names, interrupted)?;
            accepted = (0..spec.count).filter(|n| trace.has(Hop::Gateway, *n)).count();
        }
        _ => trace.set(Hop::Gateway, State::NotAsked("the records were sent before".to_string())),
    }
    if accepted == 0 && matches!(spec.sending, Sending::Now(_)) {
        return Ok(Traced { trace, names });
    }
    let mut shards = match &stream {
        Some(stream) => Some(stream::open(stream, &places, accepted, mark)?),
        None => None,
    };
    let mut reads_all = false;
    let mut objects = Objects::default();
    let until = Instant::now() + spec.wait;
    loop {
        if let (Some(shards), Some(stream)) = (&mut shards, &stream) {
            let mut looked = stream::look(shards, mark, &mut places, &mut trace, interrupted);
            // The numbers that the gateway gave may be those of another stream.
            if let Err(TraceError::Stream(StreamError::Refused { .. })) = &looked
                && !std::mem::replace(&mut reads_all, true)
            {
                places.clear();
                // What the first reading found is found again.
                trace.set(Hop::Stream, asked());
                *shards = stream::open(stream, &places, accepted, mark)?;
                looked = stream::look(shards, mark, &mut places, &mut trace, interrupted);
            }
            looked?;
        }
        if let Some(watching) = &mut watching {
            watching.look(mark, &mut trace, false, interrupted);
        }
        if let (Ok(Delivery::Pages(metrics)), Some(endpoint)) = (&spec.delivery, &endpoint)
            && let Some(why) = stream::look_at_metrics(metrics, endpoint, &places, &mut trace)
        {
            // Who is not asked is not waited for.
            trace.set(Hop::Delivery, State::NotAsked(why));
        }
        if let Ok(reading) = &mut spec.reading {
            objects.look(reading, mark, &mut trace, interrupted)?;
        }
        if interrupted.load(Ordering::Relaxed) {
            return Err(TraceError::Interrupted);
        }
        let left = until.saturating_duration_since(Instant::now());
        if trace.is_over() || left.is_zero() {
            break;
        }
        tell(&trace, left);
        pause(left.min(ASK_EVERY), interrupted);
    }
    if let Some(watching) = &mut watching {
        watching.look(mark, &mut trace, true, interrupted);
    }
    names.key = objects.keys.first().cloned();
    names.objects = objects.objects;
    names.problem =
        objects.problems.into_iter().next().map(|(place, why)| match why.contains(&place) {
            true => why,
            false => format!("{place}: {why}"),
        });
    if let Ok(Delivery::CloudWatch(name, reach)) = &spec.delivery
        && let Some(Hop::Delivery | Hop::Object) = verdict(&trace, &names).lost_at
    {
        names.log = delivery::errors(name, reach, mark, interrupted);
    }
    Ok(Traced { trace, names })
}

/// Sends the records one by one, and notes what the endpoint answers.
fn send(
    endpoint: &Endpoint,
    mark: &Mark,
    trace: &mut Trace,
    places: &mut Places,
    names: &mut Names,
    interrupted: &AtomicBool,
) -> Result<(), TraceError> {
    for n in 0..trace.count {
        let now = Utc::now();
        let (body, key) = mark.record(n, now);
        trace.sent_utc.insert(n, now);
        match endpoint.post(body.into(), key, interrupted)? {
            Sent::Refused(why) => drop(names.refused.get_or_insert(why)),
            Sent::Taken { shard, sequence } => {
                if let Some(place) = shard.zip(sequence) {
                    places.insert(n, place);
                }
                if let Some(seen) = trace.seen(Hop::Gateway) {
                    seen.add(n, Some(Utc::now()));
                }
            }
        }
        if interrupted.load(Ordering::Relaxed) {
            return Err(TraceError::Interrupted);
        }
    }
    Ok(())
}

fn pause(time: Duration, interrupted: &AtomicBool) {
    let until = Instant::now() + time;
    while Instant::now() < until && !interrupted.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK_EVERY);
    }
}
