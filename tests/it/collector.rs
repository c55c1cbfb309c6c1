//! A collection side in memory that can be told to fail: an endpoint for POSTs, Kinesis, Firehose and
//! metrics at one address, and a folder that it delivers to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rawcat::pipeline::SequenceNumber;
use serde_json::{Value, json};

/// How it fails.
#[derive(Clone, Default)]
pub struct Faults {
    /// Requests of batches that are throttled, then ones that get a 503.
    pub throttled: u32,
    pub unavailable: u32,
    /// Every third record of a batch fails at its first attempt.
    pub every_third: bool,
    /// Every record of a batch fails, always.
    pub all: bool,
    /// Every iterator is too old when it is used for the first time.
    pub expired: bool,
    /// Records of an answer.
    pub page: Option<usize>,
    /// Where the record 3 of a trace is lost, or comes twice.
    pub lost_at: Option<&'static str>,
    pub twice_at: Option<&'static str>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Held {
    pub key: String,
    pub data: Vec<u8>,
    arrival_ms: i64,
}

#[derive(Default)]
pub struct Inside {
    pub faults: Faults,
    pub shards: Vec<Vec<Held>>,
    /// What Firehose took.
    pub direct: Vec<Vec<u8>>,
    /// How often each request was made, and access keys that signed them.
    pub requests: BTreeMap<String, u32>,
    pub signed_by: Vec<String>,
    /// Records of each batch.
    pub batches: Vec<usize>,
    failed_once: std::collections::BTreeSet<Vec<u8>>,
    expired_once: std::collections::BTreeSet<String>,
    deliver: Option<PathBuf>,
    objects: u32,
}

/// A running collector; it ends when this is dropped.
pub struct Collector {
    pub endpoint: String,
    inside: Arc<Mutex<Inside>>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Collector {
    /// With three shards; what is posted is delivered to the folder at once.
    pub fn start(faults: Faults, deliver: Option<PathBuf>) -> Collector {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let inside = Inside { faults, deliver, shards: vec![Vec::new(); 3], ..Inside::default() };
        let inside = Arc::new(Mutex::new(inside));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&inside));
        runtime.spawn(async move {
            let http =
                hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let service = hyper_util::service::TowerToHyperService::new(router.clone());
                let io = hyper_util::rt::TokioIo::new(stream);
                let connection = http.serve_connection(io, service).into_owned();
                tokio::spawn(async move {
                    let _ = connection.await;
                });
            }
        });
        Collector { endpoint, inside, runtime: Some(runtime) }
    }

    pub fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap()
    }

    /// The data of all records, sorted.
    pub fn data(&self) -> Vec<Vec<u8>> {
        let inside = self.inside();
        let mut all: Vec<Vec<u8>> =
            inside.shards.iter().flatten().map(|held| held.data.clone()).collect();
        all.sort();
        all
    }
}

async fn answer(State(inside): State<Arc<Mutex<Inside>>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 64 << 20).await.unwrap();
    let mut inside = inside.lock().unwrap();
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    if parts.method == "GET" {
        return inside.metrics().into_response();
    }
    let Some(target) = header("x-amz-target") else {
        return inside.post(&parts.headers, &body);
    };
    let operation = target.rsplit('.').next().unwrap().to_string();
    *inside.requests.entry(operation.clone()).or_default() += 1;
    let signed_by = header("authorization").and_then(|text| text.split("Credential=").nth(1));
    let signed_by = signed_by.and_then(|text| text.split('/').next()).unwrap_or("nobody");
    inside.signed_by.push(signed_by.to_string());
    let asked: Value = serde_json::from_slice(&body).unwrap();
    let answer = match operation.as_str() {
        "PutRecords" => inside.put_records(&asked),
        "PutRecordBatch" => inside.put_record_batch(&asked),
        "ListShards" => inside.list_shards(&asked),
        "GetShardIterator" => inside.iterator(&asked),
        "GetRecords" => inside.get_records(&asked),
        other => panic!("{other}"),
    };
    let kind = [("content-type", "application/x-amz-json-1.1")];
    match answer {
        Ok(answer) => (kind, answer.to_string()).into_response(),
        Err((status, code)) => {
            let status = StatusCode::from_u16(status).unwrap();
            (status, kind, json!({"__type": code, "message": "as asked"}).to_string())
                .into_response()
        }
    }
}

fn shard_id(index: u32) -> String {
    format!("shardId-{index:012}")
}

type Answer = Result<Value, (u16, &'static str)>;

impl Inside {
    fn add(&mut self, key: &str, data: Vec<u8>) -> SequenceNumber {
        let shard = (xxhash_rust::xxh3::xxh3_64(key.as_bytes()) % 3) as u32;
        let arrival_ms = chrono::Utc::now().timestamp_millis();
        let records = &mut self.shards[shard as usize];
        records.push(Held { key: key.to_string(), data, arrival_ms });
        SequenceNumber { shard, number: records.len() as u64 }
    }

    fn throttles(&mut self) -> Result<(), (u16, &'static str)> {
        if self.faults.throttled > 0 {
            self.faults.throttled -= 1;
            return Err((400, "ProvisionedThroughputExceededException"));
        }
        if self.faults.unavailable > 0 {
            self.faults.unavailable -= 1;
            return Err((503, "ServiceUnavailableException"));
        }
        Ok(())
    }

    /// Whether a record of a batch fails now.
    fn fails(&mut self, at: usize, data: &[u8]) -> bool {
        self.faults.all
            || (self.faults.every_third
                && at.is_multiple_of(3)
                && self.failed_once.insert(data.to_vec()))
    }

    fn put_records(&mut self, asked: &Value) -> Answer {
        if asked["StreamName"] != "events" {
            return Err((400, "ResourceNotFoundException"));
        }
        self.throttles()?;
        let records = asked["Records"].as_array().unwrap();
        self.batches.push(records.len());
        let mut failed = 0;
        let mut results = Vec::new();
        for (at, record) in records.iter().enumerate() {
            let data = STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
            results.push(if self.fails(at, &data) {
                failed += 1;
                json!({"ErrorCode": "InternalFailure", "ErrorMessage": "Internal service failure."})
            } else {
                let number = self.add(record["PartitionKey"].as_str().unwrap(), data);
                json!({"SequenceNumber": number.to_string(), "ShardId": shard_id(number.shard)})
            });
        }
        Ok(json!({"FailedRecordCount": failed, "Records": results}))
    }

    fn put_record_batch(&mut self, asked: &Value) -> Answer {
        self.throttles()?;
        let records = asked["Records"].as_array().unwrap();
        self.batches.push(records.len());
        let mut failed = 0;
        let mut results = Vec::new();
        for (at, record) in records.iter().enumerate() {
            let data = STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
            results.push(if self.fails(at, &data) {
                failed += 1;
                json!({"ErrorCode": "ServiceUnavailableException", "ErrorMessage": "Slow down."})
            } else {
                self.direct.push(data);
                json!({"RecordId": "x"})
            });
        }
        Ok(json!({"FailedPutCount": failed, "Encrypted": false, "RequestResponses": results}))
    }

    /// Page by page.
    fn list_shards(&self, asked: &Value) -> Answer {
        let at: usize = match asked["NextToken"].as_str() {
            None if asked["StreamName"] != "events" => {
                return Err((400, "ResourceNotFoundException"));
            }
            None => 0,
            Some(token) => token.parse().unwrap(),
        };
        let shard = json!({
            "ShardId": shard_id(at as u32),
            "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "1"},
            "SequenceNumberRange": {"StartingSequenceNumber": "0"},
        });
        let next = (at + 1 < self.shards.len()).then(|| (at + 1).to_string());
        Ok(match next {
            Some(next) => json!({"Shards": [shard], "NextToken": next}),
            None => json!({"Shards": [shard]}),
        })
    }

    /// An iterator is the shard and how many records lie before it.
    fn iterator(&self, asked: &Value) -> Answer {
        let shard: usize = asked["ShardId"].as_str().unwrap()[8..].parse().unwrap();
        let number = || {
            let text = asked["StartingSequenceNumber"].as_str().unwrap();
            text.parse::<SequenceNumber>().map(|number| number.number as usize)
        };
        let at = match asked["ShardIteratorType"].as_str().unwrap() {
            "TRIM_HORIZON" => 0,
            "AT_TIMESTAMP" => {
                let ms = (asked["Timestamp"].as_f64().unwrap() * 1e3).round() as i64;
                self.shards[shard].partition_point(|held| held.arrival_ms < ms)
            }
            "AT_SEQUENCE_NUMBER" => number().map_err(|_| (400, "InvalidArgumentException"))? - 1,
            "AFTER_SEQUENCE_NUMBER" => number().map_err(|_| (400, "InvalidArgumentException"))?,
            other => panic!("{other}"),
        };
        Ok(json!({"ShardIterator": format!("{shard}-{at}")}))
    }

    fn get_records(&mut self, asked: &Value) -> Answer {
        let iterator = asked["ShardIterator"].as_str().unwrap();
        if self.faults.expired && self.expired_once.insert(iterator.to_string()) {
            return Err((400, "ExpiredIteratorException"));
        }
        self.throttles()?;
        let (shard, at) = iterator.split_once('-').unwrap();
        let (shard, at): (usize, usize) = (shard.parse().unwrap(), at.parse().unwrap());
        let held = &self.shards[shard];
        let end = (at + self.faults.page.unwrap_or(10_000)).min(held.len());
        let record = |number: usize| {
            let Held { key, data, arrival_ms } = &held[number];
            let number = SequenceNumber { shard: shard as u32, number: number as u64 + 1 };
            json!({
                "SequenceNumber": number.to_string(),
                "ApproximateArrivalTimestamp": *arrival_ms as f64 / 1e3,
                "Data": STANDARD.encode(data),
                "PartitionKey": key,
            })
        };
        Ok(json!({
            "Records": (at..end).map(record).collect::<Vec<_>>(),
            "NextShardIterator": format!("{shard}-{end}"),
            "MillisBehindLatest": if end == held.len() { 0 } else { 1_000 },
        }))
    }

    /// As API Gateway answers with what Kinesis said; then the record is delivered.
    fn post(&mut self, headers: &HeaderMap, body: &[u8]) -> Response {
        let record: Value = serde_json::from_slice(body).unwrap();
        let is_it = record["n"] == 3;
        let lost = |at| is_it && self.faults.lost_at == Some(at);
        let (at_gateway, at_stream, at_object, at_read) =
            (lost("gateway"), lost("stream"), lost("object"), lost("read"));
        if at_gateway {
            let message = r#"{"message":"Malformed Lambda proxy response"}"#;
            return (StatusCode::BAD_REQUEST, message).into_response();
        }
        let key = headers.get("x-partition-key").map(|key| key.to_str().unwrap().to_string());
        let key = key.unwrap_or_default();
        let number = match at_stream {
            true => SequenceNumber { shard: 0, number: 1 },
            false => self.add(&key, body.to_vec()),
        };
        if is_it && self.faults.twice_at == Some("stream") {
            self.add(&key, body.to_vec());
        }
        if let Some(folder) = self.deliver.clone().filter(|_| !at_stream && !at_object) {
            let hour = folder.join(chrono::Utc::now().format("%Y/%m/%d/%H").to_string());
            std::fs::create_dir_all(&hour).unwrap();
            let times = if is_it && self.faults.twice_at == Some("object") { 2 } else { 1 };
            let mut bytes = body.repeat(times);
            if at_read {
                // The number is still there, and the record is not.
                bytes.extend_from_slice(b"}");
                bytes.splice(..1, *b"[");
            }
            self.objects += 1;
            std::fs::write(hour.join(format!("object-{}", self.objects)), bytes).unwrap();
        }
        let answer =
            json!({"SequenceNumber": number.to_string(), "ShardId": shard_id(number.shard)});
        answer.to_string().into_response()
    }

    fn metrics(&self) -> String {
        let mut text =
            String::from("rawcat_delivery_buffered_records{delivery_stream=\"events\"} 0\n");
        for (shard, held) in self.shards.iter().enumerate() {
            let is_it = |held: &Held| {
                serde_json::from_slice::<Value>(&held.data).is_ok_and(|record| record["n"] == 3)
            };
            let stuck = held.iter().position(is_it);
            let position = match (self.faults.lost_at, stuck) {
                (Some("delivery"), Some(before)) => before,
                _ => held.len(),
            };
            text.push_str(&format!(
                "rawcat_delivery_position{{delivery_stream=\"events\",stream=\"events\",shard=\"{}\"}} {position}\n",
                shard_id(shard as u32)
            ));
        }
        text
    }
}
