//! What became of a trace, in one line: where records were lost, and what to look at there. Pure.

use super::hops::{Hop, State, Summary, Trace};

/// What there is to say of the places of a trace.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub url: Option<String>,
    pub stream: Option<String>,
    pub delivery: Option<String>,
    pub source: Option<String>,
    /// Why the endpoint refused one.
    pub refused: Option<String>,
    /// A key that holds marked records.
    pub key: Option<String>,
    /// Of objects that could not be listed or read.
    pub problem: Option<String>,
    /// Objects that came since sending.
    pub objects: u64,
}

/// The hop at which records were lost first, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    pub is_complete: bool,
    pub lost_at: Option<Hop>,
    pub text: String,
}

/// The verdict of a trace that is over.
pub fn verdict(trace: &Trace, names: &Names) -> Verdict {
    let hops = trace.summaries();
    let mut before = trace.count;
    for hop in &hops {
        if hop.count < before {
            let text = lost(trace, hop, before, names);
            return Verdict { is_complete: false, lost_at: Some(hop.hop), text };
        }
        before = before.min(hop.count);
    }
    if let Some(twice) = hops.iter().find(|hop| hop.duplicates > 0) {
        return Verdict { is_complete: false, lost_at: None, text: duplicated(twice) };
    }
    let text = match hops.last() {
        None => "nothing was asked: give --stream or --source".to_string(),
        Some(last) => format!(
            "complete: every record is there at every hop that was asked, up to {}",
            long_name(last.hop)
        ),
    };
    Verdict { is_complete: !hops.is_empty(), lost_at: None, text }
}

fn long_name(hop: Hop) -> &'static str {
    match hop {
        Hop::Gateway => "the endpoint",
        Hop::Stream => "the stream",
        Hop::Delivery => "the delivery",
        Hop::Object => "the objects",
        Hop::Read => "reading back",
    }
}

fn duplicated(hop: &Summary) -> String {
    let advice = match hop.hop {
        Hop::Stream => "an endpoint that answers late is sent the same again; see its latency",
        _ => "delivery is at least once; `rawcat fetch --dedup-key` drops copies",
    };
    format!(
        "nothing was lost, and {} came more than once at {}: {advice}",
        records(hop.duplicates),
        long_name(hop.hop)
    )
}

fn records(count: u64) -> String {
    match count {
        1 => "1 record".to_string(),
        count => format!("{count} records"),
    }
}

fn lost(trace: &Trace, hop: &Summary, before: u32, names: &Names) -> String {
    let lost = records(u64::from(before - hop.count));
    let name =
        |name: &Option<String>, other: &str| name.clone().unwrap_or_else(|| other.to_string());
    let stream = name(&names.stream, "the stream");
    let source = name(&names.source, "--source");
    let advice = match hop.hop {
        Hop::Gateway => format!(
            "{} did not take them ({}); look at the method's integration: its mapping template must give \
             StreamName, Data as base64 and PartitionKey, and its role needs kinesis:PutRecord",
            name(&names.url, "the endpoint"),
            name(&names.refused, "no answer"),
        ),
        Hop::Stream => format!(
            "answered for, and not on {stream}; look at StreamName in the integration's mapping template and at \
             --region, and at what arrives: `rawcat cat kinesis://{stream} --since 15m`"
        ),
        Hop::Delivery => format!(
            "on the stream, and not delivered by {}; a buffer waits for 5 MiB or 300 s unless it is \
             configured otherwise: trace longer with --wait 20m, then look at the delivery stream's source and role",
            name(&names.delivery, "the delivery stream"),
        ),
        Hop::Object => not_in_objects(trace, &source, names),
        Hop::Read => format!(
            "{} holds them, and reading gives no such records; look at `rawcat cat {}`: what is quarantined \
             there is named",
            name(&names.key, "an object"),
            name(&names.key, "KEY"),
        ),
    };
    format!("{lost} lost at {}: {advice}", hop.hop.name())
}

fn not_in_objects(trace: &Trace, source: &str, names: &Names) -> String {
    if let Some(problem) = &names.problem {
        return format!("{source} could not be read: {problem}");
    }
    let came = match names.objects {
        0 => "no object came since".to_string(),
        1 => "1 object came since, without them".to_string(),
        count => format!("{count} objects came since, without them"),
    };
    let wait = match trace.hop(Hop::Delivery) {
        State::Asked(_) => "the delivery has them",
        State::NotAsked(_) => {
            "a delivery stream keeps records for 5 MiB or 300 s unless it is configured otherwise: trace \
             longer with --wait 20m"
        }
    };
    format!(
        "not in {source} ({came}); {wait}; then look at the error output (`rawcat errors --day today --tz \
         UTC`), and whether the delivery stream's bucket and prefix are --source and --layout"
    )
}

#[cfg(test)]
mod tests {
    use super::super::hops::Seen;
    use super::*;

    fn trace(counts: [Option<u32>; 5]) -> Trace {
        let mut trace = Trace::new(3);
        for (hop, count) in Hop::ALL.into_iter().zip(counts) {
            if let Some(count) = count {
                let mut seen = Seen::default();
                (0..count).for_each(|n| seen.add(n, None));
                trace.set(hop, State::Asked(seen));
            }
        }
        trace
    }

    #[test]
    fn the_first_hop_that_lost_something_is_named_with_what_to_look_at() {
        let all = Some(3);
        for (counts, hop, says) in [
            ([Some(2), None, None, None, None], Hop::Gateway, "mapping template"),
            ([all, Some(1), None, None, None], Hop::Stream, "--since 15m"),
            ([all, all, Some(0), None, None], Hop::Delivery, "300 s"),
            ([all, all, None, Some(2), Some(2)], Hop::Object, "300 s"),
            ([all, all, all, Some(2), Some(2)], Hop::Object, "rawcat errors"),
            ([None, None, None, all, Some(0)], Hop::Read, "rawcat cat"),
        ] {
            let verdict = verdict(&trace(counts), &Names::default());
            assert_eq!(verdict.lost_at, Some(hop));
            assert!(verdict.text.contains(says) && !verdict.is_complete, "{}", verdict.text);
        }
    }

    #[test]
    fn a_whole_trace_is_complete_and_one_with_copies_is_not() {
        let mut whole = trace([Some(3), Some(3), None, None, None]);
        let said = verdict(&whole, &Names::default());
        assert!(said.is_complete && said.text.contains("up to the stream"), "{}", said.text);
        if let Some(seen) = whole.seen(Hop::Stream) {
            seen.add(1, None);
        }
        let said = verdict(&whole, &Names::default());
        assert!(!said.is_complete && said.text.contains("1 record came more than once"));
    }
}
