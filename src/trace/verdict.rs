//! What became of a trace, in one line: where records were lost, and what to look at there. Pure.

use std::fmt::Write;

use chrono::SecondsFormat;

use super::hops::{Hop, State, Summary, Trace};
use crate::streams::{Counted, ErrorLog, log_group};

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
    /// What the delivery stream logged, where that was asked for.
    pub log: Option<ErrorLog>,
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
    let before = trace.count;
    for hop in Hop::ALL {
        let count = match trace.hop(hop) {
            State::Asked(seen) => seen.count(),
            // It proves no record, and where it comes late it proves no loss.
            State::Counted(_) if trace.is_late(hop) => before,
            State::Counted(_) => trace.at_most(hop).unwrap_or(before),
            State::NotAsked(_) => before,
        };
        if count < before {
            let text = lost(trace, hop, before - count, names);
            return Verdict { is_complete: false, lost_at: Some(hop), text };
        }
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

fn lost(trace: &Trace, hop: Hop, lost: u32, names: &Names) -> String {
    let lost = records(u64::from(lost));
    let name =
        |name: &Option<String>, other: &str| name.clone().unwrap_or_else(|| other.to_string());
    let stream = name(&names.stream, "the stream");
    let source = name(&names.source, "--source");
    let delivery = name(&names.delivery, "the delivery stream");
    let advice = match hop {
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
        Hop::Delivery => {
            let (at_least, counted) = match trace.hop(hop) {
                State::Counted(counted) => ("at least ", format!(" ({})", counted_text(counted))),
                State::Asked(_) | State::NotAsked(_) => ("", String::new()),
            };
            return format!(
                "{at_least}{lost} lost at delivery: {}not delivered by {delivery}{counted}; a buffer waits for \
                 5 MiB or 300 s unless it is configured otherwise: trace longer with --wait 20m, then look at \
                 the delivery stream's source and role{}",
                logged(names, &delivery),
                not_logged(names, &delivery),
            );
        }
        Hop::Object => format!(
            "{}{}{}",
            logged(names, &delivery),
            not_in_objects(trace, &source, names),
            not_logged(names, &delivery)
        ),
        Hop::Read => format!(
            "{} holds them, and reading gives no such records; look at `rawcat cat {}`: what is quarantined \
             there is named",
            name(&names.key, "an object"),
            name(&names.key, "KEY"),
        ),
    };
    format!("{lost} lost at {}: {advice}", hop.name())
}

/// `CloudWatch counts 7 delivered since 2022-04-18T03:00:00Z, whoever sent them, and is minutes late`, and what
/// else it tells.
pub fn counted_text(counted: &Counted) -> String {
    let since = counted.since_utc.to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut text = match counted.delivered {
        None => format!("CloudWatch counts nothing delivered since {since}, and is minutes late"),
        Some(delivered) => format!(
            "CloudWatch counts {delivered} delivered since {since}, whoever sent them, and is minutes late"
        ),
    };
    if let Some(taken_in) = counted.taken_in {
        let _ = write!(text, "; {taken_in} came in");
    }
    if let Some(oldest) = counted.oldest {
        let _ = write!(text, "; the oldest that waits is {} s old", oldest.as_secs());
    }
    if counted.success.is_some_and(|share| share < 1.0) {
        text.push_str("; puts to the bucket failed");
    }
    text
}

/// The error that a delivery stream logged, which says more than all advice.
fn logged(names: &Names, delivery: &str) -> String {
    match &names.log {
        Some(ErrorLog::Newest(error)) => format!(
            "{delivery} logged {}{} ({}); ",
            error.code.as_ref().map(|code| format!("{code}: ")).unwrap_or_default(),
            error.message.trim_end_matches('.'),
            error.at_utc.to_rfc3339_opts(SecondsFormat::Secs, true)
        ),
        _ => String::new(),
    }
}

fn not_logged(names: &Names, delivery: &str) -> String {
    match &names.log {
        None | Some(ErrorLog::Newest(_)) => String::new(),
        Some(ErrorLog::Empty) => format!("; {} has no error since sending", log_group(delivery)),
        Some(ErrorLog::Missing(group)) => {
            format!("; errors are not logged (there is no {group}): turn its error logging on")
        }
        Some(ErrorLog::Unread(why)) => format!("; {why}"),
    }
}

fn not_in_objects(trace: &Trace, source: &str, names: &Names) -> String {
    if let Some(problem) = &names.problem {
        let counted = match trace.hop(Hop::Delivery) {
            State::Counted(counted) => format!("; {}", counted_text(counted)),
            State::Asked(_) | State::NotAsked(_) => String::new(),
        };
        return format!("{source} could not be read: {problem}{counted}");
    }
    let came = match names.objects {
        0 => "no object came since".to_string(),
        1 => "1 object came since, without them".to_string(),
        count => format!("{count} objects came since, without them"),
    };
    const WAIT: &str = "a delivery stream keeps records for 5 MiB or 300 s unless it is configured otherwise: \
                        trace longer with --wait 20m";
    let wait = match trace.hop(Hop::Delivery) {
        State::Asked(_) => "the delivery has them".to_string(),
        State::Counted(counted) => format!("{}; {WAIT}", counted_text(counted)),
        State::NotAsked(_) => WAIT.to_string(),
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
    use crate::streams::LoggedError;

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

    fn counted(delivered: Option<u64>) -> State {
        let since_utc = chrono::DateTime::UNIX_EPOCH;
        State::Counted(Counted {
            since_utc,
            delivered,
            taken_in: None,
            success: None,
            oldest: None,
        })
    }

    #[test]
    fn a_count_that_comes_late_is_no_loss_and_one_of_others_no_proof() {
        let all = Some(3);
        for (delivered, objects, lost_at) in [
            (None, all, None),
            (Some(1), all, None),
            (Some(1), Some(2), Some(Hop::Object)),
            (Some(1), Some(1), Some(Hop::Delivery)),
            (None, Some(0), Some(Hop::Delivery)),
            (Some(2), None, Some(Hop::Delivery)),
            (Some(9_000), Some(0), Some(Hop::Object)),
            (Some(9_000), None, None),
        ] {
            let mut trace = trace([all, all, None, objects, objects]);
            trace.set(Hop::Delivery, counted(delivered));
            let said = verdict(&trace, &Names::default());
            assert_eq!(said.lost_at, lost_at, "{delivered:?} {objects:?}: {}", said.text);
            assert!(!said.text.contains("up to the delivery"), "{}", said.text);
            if lost_at == Some(Hop::Delivery) {
                assert!(said.text.starts_with("at least "), "{}", said.text);
                assert!(said.text.contains("minutes late"), "{}", said.text);
            }
        }
    }

    #[test]
    fn what_a_delivery_stream_logged_comes_first() {
        let error = r#"{"message":"Access was denied.","errorCode":"S3.AccessDenied"}"#;
        let error = LoggedError::of(error, chrono::DateTime::UNIX_EPOCH);
        for (log, says) in [
            (ErrorLog::Newest(error), ": events logged S3.AccessDenied: Access was denied ("),
            (ErrorLog::Empty, "/aws/kinesisfirehose/events has no error since sending"),
            (ErrorLog::Missing("/a".to_string()), "there is no /a"),
            (ErrorLog::Unread("it needs logs:FilterLogEvents".to_string()), "logs:FilterLogEvents"),
        ] {
            let delivery = Some("events".to_string());
            let names = Names { delivery, log: Some(log), ..Names::default() };
            let mut trace = trace([Some(3), None, None, Some(0), None]);
            let said = verdict(&trace, &names);
            assert!(said.text.contains(says), "{}", said.text);
            trace.set(Hop::Delivery, counted(None));
            let said = verdict(&trace, &names);
            assert!(said.text.contains(says), "{}", said.text);
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
