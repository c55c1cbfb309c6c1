//! Counts of everything, as Prometheus reads them.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use chrono::Utc;

use super::super::delivery::{Counts, Deliveries};
use super::super::stream::{Kind, shard_id};
use super::{Door, Gateway};

/// Upper bounds of latencies, in ms.
const BOUNDS_MS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000, 30_000];
const DOORS: [(Door, &str); 4] = [
    (Door::Endpoint, "endpoint"),
    (Door::Kinesis, "kinesis"),
    (Door::Firehose, "firehose"),
    (Door::Other, "other"),
];
/// Classes of statuses that are told apart: 2xx to 5xx, and 429 by itself.
const RESULTS: [&str; 4] = ["accepted", "refused", "throttled", "failed"];

/// Requests by door and by how they were answered, and how long it took.
#[derive(Debug, Default)]
pub struct Requests {
    by_result: [[AtomicU64; RESULTS.len()]; DOORS.len()],
    by_latency: [AtomicU64; BOUNDS_MS.len() + 1],
    latency_us: AtomicU64,
}

impl Requests {
    pub fn count(&self, door: Door, status: StatusCode, latency: Duration) {
        let result = match status {
            StatusCode::TOO_MANY_REQUESTS => 2,
            status if status.is_success() => 0,
            status if status.is_server_error() => 3,
            _ => 1,
        };
        let door = DOORS.iter().position(|(known, _)| *known == door).unwrap_or_default();
        self.by_result[door][result].fetch_add(1, Ordering::Relaxed);
        let bucket = BOUNDS_MS.iter().position(|bound| latency <= Duration::from_millis(*bound));
        self.by_latency[bucket.unwrap_or(BOUNDS_MS.len())].fetch_add(1, Ordering::Relaxed);
        self.latency_us.fetch_add(latency.as_micros() as u64, Ordering::Relaxed);
    }

    fn write(&self, text: &mut String) {
        head(
            text,
            "rawcat_requests_total",
            "counter",
            "requests by door and by how they were answered",
        );
        for ((_, door), results) in DOORS.iter().zip(&self.by_result) {
            for (result, count) in RESULTS.iter().zip(results) {
                let count = count.load(Ordering::Relaxed);
                let labels = format!("door=\"{door}\",result=\"{result}\"");
                let _ = writeln!(text, "rawcat_requests_total{{{labels}}} {count}");
            }
        }
        const NAME: &str = "rawcat_request_duration_seconds";
        head(text, NAME, "histogram", "from the head of a request to its answer");
        let mut sum = 0;
        for (bound, count) in BOUNDS_MS.iter().zip(&self.by_latency) {
            sum += count.load(Ordering::Relaxed);
            let seconds = *bound as f64 / 1e3;
            let _ = writeln!(text, "{NAME}_bucket{{le=\"{seconds}\"}} {sum}");
        }
        sum += self.by_latency[BOUNDS_MS.len()].load(Ordering::Relaxed);
        let seconds = self.latency_us.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(text, "{NAME}_bucket{{le=\"+Inf\"}} {sum}");
        let _ = writeln!(text, "{NAME}_sum {seconds}\n{NAME}_count {sum}");
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

impl Gateway {
    pub(super) fn metrics(&self) -> String {
        let mut text = String::new();
        self.requests.write(&mut text);
        self.write_streams(&mut text);
        write_deliveries(&mut text, &self.deliveries);
        text
    }

    fn write_streams(&self, text: &mut String) {
        let streams = self.streams.all(Kind::Stream);
        for (name, help, which) in [
            ("rawcat_stream_records_total", "records that were put, by shard", 0),
            ("rawcat_stream_bytes_total", "bytes of their data", 1),
            ("rawcat_stream_throttled_total", "records over the shard's limits", 2),
        ] {
            head(text, name, "counter", help);
            for stream in &streams {
                for (shard, counted) in stream.counts() {
                    let count = [counted.records, counted.bytes, counted.refused][which];
                    let labels = format!("stream=\"{}\",shard=\"{}\"", stream.name, shard.id());
                    let _ = writeln!(text, "{name}{{{labels}}} {count}");
                }
            }
        }
    }
}

fn write_deliveries(text: &mut String, deliveries: &Deliveries) {
    let all = deliveries.all();
    let now_us = Utc::now().timestamp_micros();
    head(text, "rawcat_delivery_records_total", "counter", "records by what became of them");
    for known in &all {
        let Counts { delivered, failed, dropped, .. } = &*known.counts;
        for (result, count) in [("delivered", delivered), ("failed", failed), ("dropped", dropped)]
        {
            let labels = format!("delivery_stream=\"{}\",result=\"{result}\"", known.name);
            let count = Counts::get(count);
            let _ = writeln!(text, "rawcat_delivery_records_total{{{labels}}} {count}");
        }
    }
    type Number = fn(&Counts, i64) -> f64;
    let numbers: [(&str, &str, &str, Number); 5] = [
        ("rawcat_delivery_objects_total", "counter", "objects that were put", |counts, _| {
            Counts::get(&counts.objects) as f64
        }),
        (
            "rawcat_delivery_bytes_total",
            "counter",
            "their bytes, as they are stored",
            |counts, _| Counts::get(&counts.bytes) as f64,
        ),
        ("rawcat_delivery_retries_total", "counter", "puts that failed", |counts, _| {
            Counts::get(&counts.retries) as f64
        }),
        ("rawcat_delivery_buffered_records", "gauge", "records that wait", |counts, _| {
            Counts::get(&counts.buffered) as f64
        }),
        (
            "rawcat_delivery_freshness_seconds",
            "gauge",
            "age of the oldest record that waits",
            |counts, now_us| match counts.oldest_us.load(Ordering::Relaxed) {
                0 => 0.0,
                oldest_us => (now_us - oldest_us).max(0) as f64 / 1e6,
            },
        ),
    ];
    for (name, kind, help, number) in numbers {
        head(text, name, kind, help);
        for known in &all {
            let number = number(&known.counts, now_us);
            let _ = writeln!(text, "{name}{{delivery_stream=\"{}\"}} {number}", known.name);
        }
    }
    const POSITION: &str = "rawcat_delivery_position";
    head(text, POSITION, "gauge", "number of the last record of a shard that is delivered");
    for known in &all {
        let stream = known.source.stream();
        let positions = known.counts.positions();
        for shard in &stream.shards {
            let position = positions.get(&shard.index).copied().unwrap_or(0);
            let labels = format!(
                "delivery_stream=\"{}\",stream=\"{}\",shard=\"{}\"",
                known.name,
                stream.name,
                shard_id(shard.index)
            );
            let _ = writeln!(text, "{POSITION}{{{labels}}} {position}");
        }
    }
}
