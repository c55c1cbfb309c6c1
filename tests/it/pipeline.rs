//! The collection side: what is sent is delivered, and what is delivered is read.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::place::{Place, start};

/// A pipeline that runs, and where it listens.
pub struct Pipeline {
    child: Child,
    pub address: String,
}

impl Pipeline {
    /// With its state and its objects in the place, and more options.
    pub fn start(place: &Place, options: &str) -> Pipeline {
        let line =
            format!("pipeline --listen 127.0.0.1:0 --deliver {} {options}", place.raw().display());
        Pipeline::of(place.command(&line))
    }

    /// What such a command starts.
    pub fn of(command: Command) -> Pipeline {
        let mut child = start(command);
        let stderr = child.stderr.take().unwrap();
        let mut lines = BufReader::new(stderr).lines();
        let ready = lines.next().unwrap().unwrap();
        // Shown where a test fails.
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| eprintln!("{line}"))
        });
        let address = ready.split("http://").nth(1).unwrap().split('/').next().unwrap().to_string();
        Pipeline { child, address }
    }

    pub fn url(&self) -> String {
        format!("http://{}/PROD/v1", self.address)
    }

    /// Posts a body; the answer.
    pub fn post(&self, body: &str) -> (u16, Value) {
        self.request("POST /PROD/v1 HTTP/1.1", body)
    }

    /// Asks for an operation of one of the two services.
    pub fn ask(&self, target: &str, input: &Value) -> (u16, Value) {
        let head = format!("POST / HTTP/1.1\r\nx-amz-target: {target}");
        self.request(&head, &input.to_string())
    }

    /// Ends it as Ctrl-C does: what is buffered is delivered.
    pub fn end(self) {
        assert_eq!(self.end_with_code(), 0);
    }

    /// The same, and how it ends.
    pub fn end_with_code(mut self) -> i32 {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        self.child.wait().unwrap().code().unwrap()
    }

    /// Ends it as a power failure would, as far as a test can.
    pub fn kill(self) {}

    /// One request; the status and the body of its answer.
    pub fn request(&self, head: &str, body: &str) -> (u16, Value) {
        self.request_as_it_is(&format!("{head}\r\nhost: 127.0.0.1"), body.as_bytes())
    }

    /// The same with a host of its own.
    pub fn request_as_it_is(&self, head: &str, body: &[u8]) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let length = body.len();
        let head = format!("{head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|_| json!(body)))
    }
}

/// A test that fails leaves no pipeline behind.
impl Drop for Pipeline {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The records of the day on which the test runs, which may be two.
pub fn delivered(place: &Place) -> Vec<Value> {
    let from = (chrono::Utc::now() - chrono::TimeDelta::days(1)).format("%Y-%m-%d");
    let to = chrono::Utc::now().format("%Y-%m-%d");
    let ran = place.run(&format!("cat --from {from} --to {to} --tz UTC")).ends(0);
    ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub fn sorted(mut values: Vec<Value>) -> Vec<Value> {
    values.sort_by_key(Value::to_string);
    values
}

#[test]
fn what_is_sent_is_delivered_once_and_read() {
    for compression in ["none", "gzip", "zip", "snappy", "hadoop-snappy"] {
        let place = Place::new();
        let rows: String = (0..500).map(|n| format!("{n},한빛아파트 {}\n", n % 7)).collect();
        std::fs::write(place.path().join("rows.csv"), format!("n,name\n{rows}")).unwrap();
        let pipeline = Pipeline::start(
            &place,
            &format!("--compression {compression} --buffer-size 4KiB --newline"),
        );
        let ran = place.run(&format!("send --file rows.csv --url {} --types", pipeline.url()));
        ran.ends_and_says(
            0,
            &["sent      500 rows", "failed    0", "latency   p50", "shardId-000000000003"],
        );
        pipeline.end();
        let expected: Vec<Value> =
            (0..500).map(|n| json!({"n": n, "name": format!("한빛아파트 {}", n % 7)})).collect();
        assert!(sorted(delivered(&place)) == sorted(expected), "{compression}");
    }
}

#[test]
fn a_request_that_can_not_be_taken_is_told_why() {
    let place = Place::new();
    let pipeline = Pipeline::start(&place, "--token secret --max-body 1KiB --shards 1");
    let with = |token: &str| format!("POST /PROD/v1 HTTP/1.1\r\nauthorization: Bearer {token}");
    let message =
        |answer: (u16, Value)| (answer.0, answer.1["message"].as_str().unwrap().to_string());
    let taken = pipeline.request(&with("secret"), r#"{"a":1}"#);
    let expected = json!({
        "SequenceNumber": format!("49620000000000{:042}", 1),
        "ShardId": "shardId-000000000000",
    });
    assert_eq!(taken, (200, expected));
    let by_key = pipeline.request("POST /x HTTP/1.1\r\nx-api-key: secret", "{\"b\":1}");
    assert_eq!(by_key.0, 200);
    for (head, body, status, says) in [
        (with("secret"), "{\"a\":1".to_string(), 400, "the body is no JSON"),
        (with("secret"), String::new(), 400, "the body is no JSON"),
        (with("secret"), format!("\"{}\"", "x".repeat(1_100)), 413, "longer than 1024 bytes"),
        (with("secreT"), "1".to_string(), 403, "token"),
        ("POST / HTTP/1.1".to_string(), "1".to_string(), 403, "token"),
        ("GET /PROD HTTP/1.1".to_string(), String::new(), 405, "POST"),
        (with("secret") + "\r\nx-partition-key: ", "1".to_string(), 400, "x-partition-key"),
    ] {
        let answer = message(pipeline.request(&head, &body));
        assert!(answer.0 == status && answer.1.contains(says), "{head}: {answer:?}");
    }
    let (status, metrics) = pipeline.request("GET /metrics HTTP/1.1\r\nx-api-key: secret", "");
    assert_eq!(status, 200);
    let accepted = "rawcat_requests_total{door=\"endpoint\",result=\"accepted\"} 2";
    assert!(metrics.as_str().unwrap().contains(accepted), "{metrics}");
    pipeline.end();
    assert_eq!(delivered(&place).len(), 2);
}

#[test]
fn an_address_that_others_reach_needs_a_token() {
    let place = Place::new();
    let line = "pipeline --listen 0.0.0.0:0";
    place.run(line).ends_and_says(2, &["--listen", "RAWCAT_TOKEN"]);
}

#[test]
fn what_was_answered_for_outlives_any_kill_and_comes_once() {
    let place = Place::new();
    let options = "--buffer-size 300B --buffer-time 1s --compression gzip --shards 2";
    let mut acknowledged = Vec::new();
    for round in 0..4 {
        let pipeline = Pipeline::start(&place, options);
        let until = Instant::now() + Duration::from_millis(150 + 70 * round);
        let mut at = 0;
        while Instant::now() < until {
            let record = json!({"round": round, "n": at});
            let (status, _) = pipeline.request("POST /p HTTP/1.1", &record.to_string());
            assert_eq!(status, 200);
            acknowledged.push(record);
            at += 1;
        }
        pipeline.kill();
    }
    // What is left is delivered by the next run.
    Pipeline::start(&place, options).end();
    assert!(acknowledged.len() > 40, "{}", acknowledged.len());
    assert_eq!(sorted(delivered(&place)), sorted(acknowledged));
}

#[test]
fn rows_that_are_not_taken_are_kept_and_a_checkpoint_goes_on_where_it_stopped() {
    let place = Place::new();
    std::fs::write(place.path().join("rows.csv"), "a,b\n1,2\n3\n4,5\n").unwrap();
    let pipeline = Pipeline::start(&place, "--token t");
    let line = format!("send --file rows.csv --url {} --failed failed.ndjson", pipeline.url());
    place
        .run(&line)
        .ends_and_says(3, &["sent      0 rows", "failed    3", "row 1: 403", "row 2: it has 1"]);
    let again =
        format!("send --file failed.ndjson --url {} --token t --resume done", pipeline.url());
    place.run(&again).ends_and_says(0, &["sent      2 rows"]);
    place.run(&again).ends_and_says(0, &["sent      0 rows", "skipped   2"]);
    pipeline.end();
    let expected = vec![json!({"a": "1", "b": "2"}), json!({"a": "4", "b": "5"})];
    assert_eq!(sorted(delivered(&place)), expected);
    let url = "http://127.0.0.1:9/x";
    let nobody = format!("send --file failed.ndjson --url {url} --attempts 2");
    place.run(&nobody).ends_and_says(3, &["failed    2", "retried   2", "refused"]);
    place.run("send --file rows.csv").ends_and_says(2, &["--url http"]);
    place.run("send --url http://x/").ends_and_says(2, &["--file rows.csv"]);
    place.run("send --file rows.csv --url x").ends_and_says(2, &["'x' is no address"]);
}
