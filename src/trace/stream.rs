//! The middle hops: records as a Kinesis stream's shards give them, and how far its delivery says it came.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicBool;

use axum::http::Uri;
use chrono::{TimeDelta, Utc};

use super::TraceError;
use super::hops::{Hop, Trace};
use super::mark::Mark;
use super::metrics::delivered_up_to;
use crate::pipeline::SequenceNumber;
use crate::send::Endpoint;
use crate::streams::{Got, Shards, Start, Stream};

/// Where a record lies on its stream.
pub type Places = BTreeMap<u32, (String, String)>;

/// Reading begins so long before the first record was sent, where no number says it closer.
const BEFORE: TimeDelta = TimeDelta::minutes(1);

/// The shards that marked records are on, from the first of them on.
///
/// # Errors
/// Where the stream can't be asked for its shards.
pub fn open<'s>(
    stream: &'s Stream,
    places: &Places,
    accepted: usize,
    mark: &Mark,
) -> Result<Shards<'s>, TraceError> {
    let mut first: BTreeMap<&String, &String> = BTreeMap::new();
    for (shard, sequence) in places.values() {
        let known = first.entry(shard).or_insert(sequence);
        // Numbers have no leading zeros, and are compared as such.
        if (sequence.len(), sequence) < (known.len(), known) {
            *known = sequence;
        }
    }
    if places.len() == accepted && accepted > 0 {
        let start = |(shard, sequence): (&String, &String)| {
            (shard.clone(), Start::Sequence(sequence.clone()))
        };
        return Ok(stream.shards(first.into_iter().map(start)));
    }
    let start = Start::At(mark.time_utc - BEFORE);
    let ids = stream.shard_ids()?;
    Ok(stream.shards(ids.into_iter().map(|shard| (shard, start.clone()))))
}

/// Reads on, and notes the marked records.
pub fn look(
    shards: &mut Shards<'_>,
    mark: &Mark,
    places: &mut Places,
    trace: &mut Trace,
    interrupted: &AtomicBool,
) -> Result<(), TraceError> {
    let mut take = |page: Vec<Got>| {
        for got in page {
            let Some(record) = mark.of_record(&got.data) else { continue };
            if let Some(sent_utc) = record.sent_utc() {
                trace.sent_utc.entry(record.n).or_insert(sent_utc);
            }
            places.entry(record.n).or_insert_with(|| (got.shard.to_string(), got.sequence.clone()));
            if let Some(seen) = trace.seen(Hop::Stream) {
                seen.add(record.n, got.arrival_utc);
            }
        }
        ControlFlow::Continue(())
    };
    shards.pass(interrupted, &mut take)?;
    Ok(())
}

/// Where the local pipeline says how far it delivered.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub url: Uri,
    pub delivery: String,
    pub stream: String,
}

/// What the metrics of a pipeline have that delivers, be it nothing so far.
const OF_A_DELIVERY: &str = "rawcat_delivery_";

/// Notes which records are delivered by now. Why that can't be told, where it can't.
pub fn look_at_metrics(
    metrics: &Metrics,
    endpoint: &Endpoint,
    places: &Places,
    trace: &mut Trace,
) -> Option<String> {
    let page = match endpoint.get(&metrics.url) {
        Ok(page) => page,
        Err(why) => return Some(format!("{} gave no metrics: {why}", metrics.url)),
    };
    if !page.contains(OF_A_DELIVERY) {
        return Some(format!("the metrics at {} tell of no delivery stream", metrics.url));
    }
    let positions = delivered_up_to(&page, &metrics.delivery, &metrics.stream);
    let number =
        |sequence: &str| sequence.parse::<SequenceNumber>().ok().map(|number| number.number);
    for (n, (shard, sequence)) in places {
        let is_there = positions.get(shard).zip(number(sequence));
        if is_there.is_some_and(|(position, number)| number <= *position)
            && !trace.has(Hop::Delivery, *n)
            && let Some(seen) = trace.seen(Hop::Delivery)
        {
            seen.add(*n, Some(Utc::now()));
        }
    }
    None
}
