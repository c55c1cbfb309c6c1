//! Rows put to streams by batches, and what lies on a stream as `cat` gives it.

use std::io::{BufRead, BufReader, Write};
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};

use crate::collector::{Collector, Faults};
use crate::pipeline::Pipeline;
use crate::place::{Place, Ran, start};

fn rows(place: &Place, count: usize) {
    let rows: String = (0..count).map(|n| format!("{n},{}\n", n % 5)).collect();
    std::fs::write(place.path().join("rows.csv"), format!("n,site\n{rows}")).unwrap();
}

fn bodies(count: usize) -> Vec<Vec<u8>> {
    let body = |n: usize| format!(r#"{{"n":{n},"site":{}}}"#, n % 5).into_bytes();
    let mut all: Vec<Vec<u8>> = (0..count).map(body).collect();
    all.sort();
    all
}

fn send(place: &Place, collector: &Collector, to: &str, options: &str) -> Ran {
    let endpoint = &collector.endpoint;
    place
        .run(&format!("send --file rows.csv --types --to {to} --endpoint-url {endpoint} {options}"))
}

#[test]
fn rows_go_out_in_batches_and_only_what_failed_goes_again() {
    for (to, faults, retried) in [
        ("kinesis://events", Faults::default(), 0),
        ("firehose://events", Faults::default(), 0),
        ("kinesis://events", Faults { every_third: true, ..Faults::default() }, 401),
        ("firehose://events", Faults { every_third: true, ..Faults::default() }, 401),
        ("kinesis://events", Faults { throttled: 1, unavailable: 1, ..Faults::default() }, 1_000),
    ] {
        let place = Place::new();
        rows(&place, 1_200);
        let collector = Collector::start(faults, None);
        let ran = send(&place, &collector, to, "--concurrency 1");
        let ran = ran.ends_and_says(0, &["sent      1,200 rows", "failed    0", "latency   p50"]);
        let said = ran.stdout.lines().find_map(|line| line.strip_prefix("retried   "));
        let said: usize = said.map_or(0, |count| count.replace(',', "").parse().unwrap());
        // How rows fall into batches depends on how fast they come.
        assert!((retried == 0) == (said == 0), "{to}: {said} and about {retried}");
        let mut found = collector.data();
        found.extend(collector.inside().direct.clone());
        found.sort();
        assert!(found == bodies(1_200), "{to}: {} records", found.len());
        let inside = collector.inside();
        assert!(inside.batches.iter().all(|records| (1..=500).contains(records)));
        assert!(inside.signed_by.iter().all(|key| key == "rawcat"), "{:?}", inside.signed_by);
        if to.starts_with("kinesis") {
            assert!(ran.stdout.contains("shardId-000000000002"), "{}", ran.stdout);
        }
    }
}

#[test]
fn what_no_attempt_could_put_is_kept_and_counted() {
    let place = Place::new();
    rows(&place, 7);
    let collector = Collector::start(Faults { all: true, ..Faults::default() }, None);
    send(&place, &collector, "kinesis://events", "--attempts 2 --failed failed.ndjson")
        .ends_and_says(3, &["sent      0 rows", "failed    7", "retried   7", "InternalFailure"]);
    let kept = std::fs::read_to_string(place.path().join("failed.ndjson")).unwrap();
    assert_eq!(kept.lines().count(), 7);
    collector.inside().faults.all = false;
    let again = format!(
        "send --file failed.ndjson --to kinesis://events --endpoint-url {} --resume done --token t",
        collector.endpoint
    );
    place.run(&again).ends_and_says(0, &["sent      7 rows"]);
    place.run(&again).ends_and_says(0, &["sent      0 rows", "skipped   7"]);
    assert_eq!(collector.data(), bodies(7));
    // The token is the access key, where it is said.
    assert_eq!(collector.inside().signed_by.last().unwrap(), "t");
}

#[test]
fn a_stream_that_is_not_there_ends_the_run_and_leaves_the_rows_for_the_next_one() {
    let place = Place::new();
    rows(&place, 3);
    let collector = Collector::start(Faults::default(), None);
    send(&place, &collector, "kinesis://evnts", "--resume done")
        .ends_and_says(1, &["kinesis://evnts can't be written", "check its name"]);
    send(&place, &collector, "kinesis://events", "--resume done")
        .ends_and_says(0, &["sent      3 rows"]);
}

#[test]
fn a_record_that_no_stream_takes_is_refused_alone() {
    let place = Place::new();
    let long = "x".repeat(1 << 20);
    std::fs::write(place.path().join("rows.csv"), format!("n,site\n0,0\n1,{long}\n2,2\n")).unwrap();
    let collector = Collector::start(Faults::default(), None);
    send(&place, &collector, "kinesis://events", "").ends_and_says(
        3,
        &["sent      2 rows", "failed    1", "row 2: it has 10486", "takes 1048576"],
    );
}

#[test]
fn rows_with_the_same_key_are_on_one_shard() {
    let place = Place::new();
    rows(&place, 50);
    let collector = Collector::start(Faults::default(), None);
    send(&place, &collector, "kinesis://events", "--partition-key site").ends(0);
    let inside = collector.inside();
    for (shard, held) in inside.shards.iter().enumerate() {
        for record in held {
            let body: Value = serde_json::from_slice(&record.data).unwrap();
            assert_eq!(record.key, body["site"].to_string());
            let elsewhere = inside.shards.iter().enumerate().any(|(other, held)| {
                other != shard && held.iter().any(|held| held.key == record.key)
            });
            assert!(!elsewhere);
        }
    }
    drop(inside);
    send(&place, &collector, "kinesis://events", "--partition-key nothing")
        .ends_and_says(3, &["failed    50", "row 1: it has no member nothing"]);
    // An endpoint gets it as a header.
    let line = format!("send --file rows.csv --url {}/v1 --partition-key site", collector.endpoint);
    place.run(&line).ends(0);
    assert_eq!(
        collector.inside().shards.iter().flatten().filter(|held| held.key == "3").count(),
        20
    );
}

#[test]
fn a_row_goes_out_while_the_next_one_is_waited_for() {
    let place = Place::new();
    let collector = Collector::start(Faults::default(), None);
    let line = format!("send --file - --to kinesis://events --endpoint-url {}", collector.endpoint);
    let mut command = place.command(&line);
    command.stdin(std::process::Stdio::piped());
    let mut child = start(command);
    let mut stdin = child.stdin.take().unwrap();
    // As a Korean spreadsheet writes it.
    stdin.write_all(b"n,name\n1,\xc7\xd1\xba\xfb\n").unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while collector.data().is_empty() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(collector.data(), [r#"{"n":"1","name":"한빛"}"#.as_bytes()]);
    // Nobody waits for standard input once the run is interrupted.
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(stdin);
}

#[test]
fn a_stream_is_printed_whole_whatever_its_pages_and_however_old_its_iterators() {
    for faults in [
        Faults::default(),
        Faults { page: Some(7), ..Faults::default() },
        Faults { page: Some(5), expired: true, throttled: 3, ..Faults::default() },
    ] {
        let place = Place::new();
        rows(&place, 100);
        let collector = Collector::start(Faults::default(), None);
        send(&place, &collector, "kinesis://events", "").ends(0);
        collector.inside().faults = faults;
        let line = format!("cat kinesis://events --endpoint-url {}", collector.endpoint);
        let ran = place.run(&line).ends(0);
        let lines: Vec<Value> =
            ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let inside = collector.inside();
        for (index, held) in inside.shards.iter().enumerate() {
            let shard = format!("shardId-{index:012}");
            let of_shard: Vec<&Value> =
                lines.iter().filter(|line| line["shard"] == shard).collect();
            assert_eq!(of_shard.len(), held.len());
            for (at, (line, held)) in of_shard.iter().zip(held).enumerate() {
                assert_eq!(line["sequence"], format!("4962{index:010}{:042}", at + 1));
                assert_eq!(line["key"], held.key);
                assert_eq!(line["data"], serde_json::from_slice::<Value>(&held.data).unwrap());
                assert!(line["arrival"].as_str().unwrap().ends_with('Z'));
            }
        }
        drop(inside);
        assert_eq!(place.run(&format!("{line} --max-records 3")).ends(0).stdout.lines().count(), 3);
        let one = place.run(&format!("{line} --shard shardId-000000000001")).ends(0).stdout;
        assert_eq!(one.lines().count(), collector.inside().shards[1].len());
        place.run(&format!("{line} --shard x")).ends_and_says(2, &["no shard x", "000000000002"]);
        let raw = place.run(&format!("{line} --raw")).ends(0).stdout;
        assert!(raw.lines().all(|line| line.starts_with("{\"n\":")), "{raw}");
        place.run(&format!("{line} --since 0")).ends_and_says(0, &["no records of that time"]);
    }
}

#[test]
fn a_stream_is_followed_until_somebody_ends_it() {
    let place = Place::new();
    rows(&place, 2);
    let collector = Collector::start(Faults::default(), None);
    let line = format!("cat kinesis://events --follow --endpoint-url {}", collector.endpoint);
    let mut child = start(place.command(&line));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for round in 0..2 {
        send(&place, &collector, "kinesis://events", "").ends(0);
        for _ in 0..2 {
            let record: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            assert!(record["data"]["n"].is_number(), "round {round}: {record}");
        }
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn data_that_are_no_text_are_printed_in_base64() {
    let place = Place::new();
    let collector = Collector::start(Faults::default(), None);
    let bytes = [0xff, 0, b'"'];
    let put = json!({"StreamName": "events", "Records": [{
        "Data": base64::engine::general_purpose::STANDARD.encode(bytes), "PartitionKey": "k",
    }]});
    let client = std::net::TcpStream::connect(&collector.endpoint["http://".len()..]).unwrap();
    let body = put.to_string();
    write!(
        &client,
        "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: Kinesis_20131202.PutRecords\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    BufReader::new(&client).lines().for_each(drop);
    let line = format!("cat kinesis://events --endpoint-url {}", collector.endpoint);
    let ran = place.run(&line).ends(0);
    let record: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(record["data_base64"], "/wAi");
    assert_eq!(record.get("data"), None);
}

#[test]
fn what_is_put_to_the_streams_of_the_pipeline_is_on_them_and_delivered() {
    let place = Place::new();
    rows(&place, 700);
    let pipeline =
        Pipeline::start(&place, "--buffer-size 4KiB --newline --stream events --token t");
    let endpoint = format!("--endpoint-url http://{} --token t", pipeline.address);
    let send = |to: &str| place.run(&format!("send --file rows.csv --types --to {to} {endpoint}"));
    let sent = [send("kinesis://events"), send("firehose://events-direct")];
    let printed = place.run(&format!("cat kinesis://events --raw {endpoint}"));
    let denied = place.run(&format!("cat kinesis://events {endpoint}x"));
    // The pipeline ends whatever became of the rows.
    assert_eq!(pipeline.end_with_code(), 0);
    for ran in sent {
        ran.ends_and_says(0, &["sent      700 rows", "failed    0"]);
    }
    let mut lines: Vec<Vec<u8>> =
        printed.ends(0).stdout.lines().map(|line| line.as_bytes().to_vec()).collect();
    lines.sort();
    assert_eq!(lines, bodies(700));
    denied.ends_and_says(1, &["the token is missing or wrong"]);
    let day = |days: i64| (chrono::Utc::now() - chrono::TimeDelta::days(days)).format("%Y-%m-%d");
    let line = format!("cat --from {} --to {} --tz UTC", day(1), day(0));
    assert_eq!(place.run(&line).ends(0).stdout.lines().count(), 1_400);
}
