//! Rows → what is to be sent, at a rate, on a thread of its own: it may wait for its input as long as it
//! likes, while what is under way goes on.

use std::io::Read;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use chrono::{SecondsFormat, Utc};
use tokio::sync::{Mutex, mpsc};

use super::done::Done;
use super::key::partition_key;
use super::rows::{RowError, Rows};
use super::{SendSpec, Shared};
use crate::streams::BatchLimits;

/// A row that is to be sent.
#[derive(Clone, Debug)]
pub struct Item {
    /// From 1.
    pub row: u64,
    pub body: Bytes,
    /// `None`: any.
    pub key: Option<String>,
}

impl Item {
    /// With its partition key.
    pub fn bytes(&self) -> usize {
        self.body.len() + self.key.as_ref().map_or(super::target::RANDOM_KEY_BYTES, String::len)
    }
}

/// Reads all rows and gives them on; those that `before` knows are skipped.
pub fn feed(
    spec: &SendSpec,
    input: Box<dyn Read + Send>,
    before: &Done,
    shared: &Shared,
    give: mpsc::Sender<Item>,
) {
    let mut rows = match Rows::open(input, spec.reading) {
        Ok(rows) => rows,
        Err(error) => return shared.broken(error.into()),
    };
    if let Some(name) = spec.timestamp_field.as_ref().filter(|name| rows.columns().contains(name)) {
        return shared.broken(RowError::TimeThere { name: name.clone() }.into());
    }
    let mut pace = spec.rate.map(Pace::new);
    while !shared.stop.load(Ordering::Relaxed) {
        let Some(read) = rows.next() else { return };
        let row = rows.row();
        let body = match read {
            Ok(body) => body,
            Err(RowError::Row { problem, .. }) => {
                shared.not_taken(row, None, problem);
                continue;
            }
            Err(error) => return shared.broken(error.into()),
        };
        if before.contains(row) {
            shared.state().report.skipped += 1;
            continue;
        }
        if body.contains(char::REPLACEMENT_CHARACTER) {
            shared.state().report.replaced += 1;
        }
        let key = match &spec.partition_key {
            None => None,
            Some(path) => match partition_key(&body, path) {
                Ok(key) => Some(key),
                Err(problem) => {
                    shared.not_taken(row, Some(body.as_bytes()), problem);
                    continue;
                }
            },
        };
        if let Some(pace) = &mut pace {
            pace.wait();
        }
        if give.blocking_send(Item { row, body: body.into(), key }).is_err() {
            return;
        }
    }
}

/// Where workers take their rows.
pub struct Queue {
    rows: Mutex<Waiting>,
    timestamp_field: Option<String>,
}

struct Waiting {
    rows: mpsc::Receiver<Item>,
    /// It did not fit into the batch before.
    left: Option<Item>,
}

/// A batch that is not full goes out so long after its first row came.
const LINGER: Duration = Duration::from_millis(100);

impl Queue {
    pub fn new(rows: mpsc::Receiver<Item>, timestamp_field: Option<String>) -> Queue {
        Queue { rows: Mutex::new(Waiting { rows, left: None }), timestamp_field }
    }

    /// The next rows, as many as may go out together; none once all were taken.
    pub async fn next(&self, limits: &BatchLimits) -> Vec<Item> {
        let mut waiting = self.rows.lock().await;
        let first = match waiting.left.take() {
            Some(item) => Some(item),
            None => waiting.rows.recv().await.map(|item| self.with_time(item)),
        };
        let Some(first) = first else { return Vec::new() };
        let mut bytes = first.bytes();
        let mut batch = vec![first];
        let until = tokio::time::Instant::now() + LINGER;
        while batch.len() < limits.records {
            let next = tokio::time::timeout_at(until, waiting.rows.recv()).await;
            let Ok(Some(item)) = next else { break };
            let item = self.with_time(item);
            bytes += item.bytes();
            if bytes > limits.bytes {
                waiting.left = Some(item);
                break;
            }
            batch.push(item);
        }
        batch
    }

    fn with_time(&self, item: Item) -> Item {
        let Some(field) = &self.timestamp_field else { return item };
        let text = std::str::from_utf8(&item.body).expect("it was text");
        Item { body: with_time(text, field).into(), ..item }
    }
}

/// The object with one more member: the time of sending. Other values stay as they are.
fn with_time(body: &str, field: &str) -> String {
    let Some(rest) = body.trim_start().strip_prefix('{') else { return body.to_string() };
    let now = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
    let name = serde_json::to_string(field).expect("text is JSON");
    let comma = if rest.trim_start().starts_with('}') { "" } else { "," };
    format!("{{{name}:\"{now}\"{comma}{rest}")
}

/// Lets one pass at a time, at an even rate.
struct Pace {
    every: Duration,
    next: Instant,
}

/// What a thread oversleeps is made up for up to so much, so that high rates are met.
const CATCH_UP: Duration = Duration::from_millis(50);

impl Pace {
    fn new(rate: f64) -> Pace {
        Pace { every: Duration::from_secs_f64(1.0 / rate), next: Instant::now() }
    }

    fn wait(&mut self) {
        let now = Instant::now();
        if self.next > now {
            std::thread::sleep(self.next - now);
        }
        // Who was kept waiting for long does not make up for it at once.
        let least = now.checked_sub(CATCH_UP).unwrap_or(now);
        self.next = self.next.max(least) + self.every;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_sending_stands_in_front_of_what_the_row_has() {
        let with = with_time(r#"{"a":1.50}"#, "sent_at");
        assert!(
            with.starts_with(r#"{"sent_at":"2"#) && with.ends_with(r#"Z","a":1.50}"#),
            "{with}"
        );
        assert!(with_time("{ }", "t").ends_with("\" }"));
        assert_eq!(with_time("[1]", "t"), "[1]");
    }

    #[test]
    fn a_batch_ends_by_rows_by_bytes_and_by_time_and_loses_nothing() {
        let (give, take) = mpsc::channel(100);
        let item = |row: u64, bytes| Item {
            row,
            body: vec![b'1'; bytes].into(),
            key: Some("k".to_string()),
        };
        for (row, bytes) in [10, 10, 10, 90, 60, 60, 10].into_iter().enumerate() {
            give.try_send(item(row as u64, bytes)).unwrap();
        }
        let queue = Queue::new(take, None);
        let limits = BatchLimits { records: 3, bytes: 100, record_bytes: 100 };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let batches: Vec<Vec<u64>> = runtime.block_on(async {
            let mut batches = Vec::new();
            for _ in 0..4 {
                let batch = queue.next(&limits).await;
                batches.push(batch.iter().map(|item| item.row).collect());
            }
            drop(give);
            assert!(queue.next(&limits).await.is_empty());
            batches
        });
        assert_eq!(batches, [vec![0, 1, 2], vec![3], vec![4], vec![5, 6]]);
    }

    #[test]
    fn a_rate_is_met_on_average() {
        let mut pace = Pace::new(2_000.0);
        let began = Instant::now();
        (0..400).for_each(|_| pace.wait());
        let took = began.elapsed().as_secs_f64();
        assert!(took > 0.14, "{took} s");
    }
}
