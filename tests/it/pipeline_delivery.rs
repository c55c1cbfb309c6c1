//! What the pipeline makes of records on their way to objects, and where objects go.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::pipeline::{Pipeline, delivered, sorted};
use crate::place::{Place, files, start};
use crate::s3server::{Fault, On};

/// The delivered objects by their keys, without what the pipeline keeps of its own.
fn objects(place: &Place) -> Vec<(String, Vec<u8>)> {
    let all = files(&place.raw()).into_iter();
    all.filter(|(key, _)| !key.starts_with(".rawcat/")).collect()
}

fn today(template: &str) -> String {
    chrono::Utc::now().format(template).to_string()
}

/// The causes that `rawcat errors` counts.
fn causes(place: &Place) -> Vec<(String, u64)> {
    let day = today("%Y-%m-%d");
    let ran = place.run(&format!("errors --day {day} --tz UTC --json"));
    let told: Value =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr));
    let mut causes = Vec::new();
    for cause in told["failed"].as_array().unwrap_or_else(|| panic!("{told}")) {
        let code = cause["code"].as_str().unwrap().to_string();
        causes.push((code, cause["records"].as_u64().unwrap()));
    }
    causes.sort();
    causes
}

/// A transformation in Python's standard library, so that the contract is read by other means. What
/// becomes of a record stands in its field `do`.
const TRANSFORM: &str = r#"
import base64, json, sys

event = json.load(sys.stdin)
assert event["deliveryStreamArn"].startswith("arn:aws:firehose:") and event["region"], event
records = []
for record in event["records"]:
    data = json.loads(base64.b64decode(record["data"]))
    assert record["approximateArrivalTimestamp"] > 1_600_000_000_000
    do = data.get("do", "ok")
    answer = {"recordId": record["recordId"], "result": "Ok", "data": record["data"]}
    if do == "ok":
        data["seen"] = True
        answer["data"] = base64.b64encode(json.dumps(data).encode()).decode()
    elif do == "drop":
        answer = {"recordId": record["recordId"], "result": "Dropped"}
    elif do == "fail":
        answer["result"] = "ProcessingFailed"
    elif do == "miss":
        continue
    elif do == "twice":
        records.append(dict(answer))
    elif do == "odd":
        answer["result"] = "Maybe"
    records.append(answer)
json.dump({"records": records}, sys.stdout)
"#;

const DOES: [&str; 6] = ["ok", "drop", "fail", "miss", "twice", "odd"];

#[test]
fn a_program_transforms_by_lambdas_contract_and_what_fails_can_be_recovered() {
    let place = Place::new();
    fs::write(place.path().join("transform.py"), TRANSFORM).unwrap();
    let mut command = place.command("pipeline --listen 127.0.0.1:0 --compression gzip");
    command.args(["--deliver", place.raw().to_str().unwrap()]);
    command.args(["--transform", "python3 transform.py"]);
    command.env("PATH", std::env::var_os("PATH").unwrap());
    let pipeline = Pipeline::of(command);
    for (n, does) in DOES.iter().enumerate() {
        assert_eq!(pipeline.post(&json!({"n": n, "do": does}).to_string()).0, 200);
    }
    let counted = |pipeline: &Pipeline| pipeline.request("GET /metrics HTTP/1.1", "").1.to_string();
    assert!(
        counted(&pipeline)
            .contains("rawcat_delivery_buffered_records{delivery_stream=\\\"rawcat-stream\\\"} ")
    );
    pipeline.end();
    assert_eq!(delivered(&place), [json!({"n": 0, "do": "ok", "seen": true})]);
    let expected = [
        ("Lambda.DuplicatedRecordId", 1),
        ("Lambda.JsonProcessingException", 1),
        ("Lambda.MissingRecordId", 1),
        ("Lambda.ProcessingFailedStatus", 1),
    ];
    assert_eq!(causes(&place), expected.map(|(code, count)| (code.to_string(), count)));
    // What was not delivered can be had back as it came.
    let day = today("%Y-%m-%d");
    let raw = place.run(&format!("errors --day {day} --tz UTC --raw"));
    let mut lost: Vec<String> = raw.stdout.lines().map(str::to_string).collect();
    lost.sort();
    let expected: Vec<String> = [(2, "fail"), (3, "miss"), (5, "odd"), (4, "twice")]
        .map(|(n, does)| format!("{{\"do\":\"{does}\",\"n\":{n}}}"))
        .into();
    assert_eq!(lost, expected);
}

#[test]
fn the_transformation_of_the_page_works() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pipeline.md");
    let page = fs::read_to_string(page).unwrap();
    let mut programs =
        page.split("```python\n").skip(1).filter_map(|rest| rest.split("```").next());
    let program = programs.find(|program| program.contains("recordId")).unwrap();
    let place = Place::new();
    fs::write(place.path().join("transform.py"), program).unwrap();
    let mut command = place.command("pipeline --listen 127.0.0.1:0");
    command.args(["--deliver", place.raw().to_str().unwrap()]);
    command.args(["--transform", "python3 transform.py"]);
    command.env("PATH", std::env::var_os("PATH").unwrap());
    let pipeline = Pipeline::of(command);
    assert_eq!(pipeline.post(r#"{"value":"30"}"#).0, 200);
    pipeline.end();
    assert_eq!(delivered(&place), [json!({"value": 30.0})]);
}

#[test]
fn a_transformation_that_ends_badly_costs_no_record() {
    for (command, code) in [
        ("exit 3", "Lambda.FunctionError"),
        ("echo '{}'", "Lambda.JsonProcessingException"),
        ("sleep 30", "Lambda.FunctionTimedOut"),
    ] {
        let place = Place::new();
        let mut started = place.command("pipeline --listen 127.0.0.1:0 --transform-timeout 1s");
        started.args(["--deliver", place.raw().to_str().unwrap(), "--transform", command]);
        started.env("PATH", std::env::var_os("PATH").unwrap());
        let pipeline = Pipeline::of(started);
        assert_eq!(pipeline.post("{\"a\":1}").0, 200);
        pipeline.end();
        assert_eq!(causes(&place), [(code.to_string(), 1)], "{command}");
        let (key, bytes) = &objects(&place)[0];
        assert!(key.starts_with(&today("processing-failed/%Y/%m/%d/")), "{key}");
        let record: Value = serde_json::from_slice(bytes).unwrap();
        assert_eq!(
            (&record["attemptsMade"], &record["rawData"]),
            (&json!(4), &json!("eyJhIjoxfQ=="))
        );
    }
}

#[test]
fn an_endpoint_transforms_as_well() {
    use std::io::{BufRead, BufReader, Read, Write};
    let place = Place::new();
    // A server of a few lines: it drops every record, and answers the first request with an error.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (at, stream) in listener.incoming().enumerate() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let event: Value = serde_json::from_slice(&body).unwrap();
            let records = event["records"].as_array().unwrap().iter();
            let records: Vec<Value> = records
                .map(|record| json!({"recordId": record["recordId"], "result": "Dropped"}))
                .collect();
            let body = json!({ "records": records }).to_string();
            let status = if at == 0 { "502 Bad Gateway" } else { "200 OK" };
            let head = format!(
                "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.get_mut().write_all(format!("{head}{body}").as_bytes()).unwrap();
        }
    });
    let pipeline =
        Pipeline::start(&place, &format!("--transform http://{address}/ --buffer-time 1s"));
    for n in 0..5 {
        assert_eq!(pipeline.post(&json!({ "n": n }).to_string()).0, 200);
    }
    wait_for(&pipeline, "result=\"dropped\"} 5");
    pipeline.end();
    assert!(objects(&place).is_empty());
}

/// Waits until the metrics of the stream's delivery end like this.
fn wait_for(pipeline: &Pipeline, what: &str) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let (_, metrics) = pipeline.request("GET /metrics HTTP/1.1", "");
        let text = metrics.as_str().unwrap().to_string();
        let own = text.lines().filter(|line| line.contains("\"rawcat-stream\""));
        if own.into_iter().any(|line| line.ends_with(what)) {
            return;
        }
        assert!(Instant::now() < until, "{what} did not come:\n{text}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn records_go_to_the_folders_of_their_partition_keys() {
    let place = Place::new();
    let prefix = "c=!{partitionKeyFromQuery:c}/os=!{partitionKeyFromQuery:os}/!{timestamp:yyyy}/";
    let pipeline = Pipeline::start(
        &place,
        &format!(
            "--prefix {prefix} --partition-by c=.customer --partition-by os=.device.os --error-prefix bad/"
        ),
    );
    let records = [
        json!({"customer": "a", "device": {"os": "ios"}, "n": 1}),
        json!({"customer": "b", "device": {"os": "ios"}, "n": 2}),
        json!({"customer": "a", "device": {"os": "ios"}, "n": 3}),
        json!({"customer": "../../etc", "device": {"os": "ios"}}),
        json!({"customer": "x".repeat(254), "device": {"os": "ios"}}),
        json!({"customer": "a"}),
    ];
    for record in &records {
        assert_eq!(pipeline.post(&record.to_string()).0, 200);
    }
    pipeline.end();
    let objects = objects(&place);
    let folders: Vec<&str> =
        objects.iter().map(|(key, _)| key.rsplit_once('/').unwrap().0).collect();
    let bad = today("bad/processing-failed/%Y/%m/%d/%H");
    let year = today("%Y");
    assert_eq!(folders, [bad, format!("c=a/os=ios/{year}"), format!("c=b/os=ios/{year}")]);
    let errors = String::from_utf8(objects[0].1.clone()).unwrap();
    assert_eq!(errors.lines().count(), 3);
    assert!(errors.contains("DynamicPartitioning.MetadataExtractionFailed"));
    assert_eq!(String::from_utf8(objects[1].1.clone()).unwrap().matches("\"n\":").count(), 2);
    // The reading side makes columns of the values.
    let day = today("%Y-%m-%d");
    let layout = format!("--layout {prefix} --error-prefix bad/");
    place.run(&format!("fetch --day {day} --tz UTC {layout} --export records")).ends(0);
    let table = place.records(&day);
    assert_eq!(table.column("c").len(), 3);
}

#[test]
fn what_prefix_and_options_do_not_agree_on_is_refused() {
    let place = Place::new();
    for (options, says) in [
        ("--prefix c=!{partitionKeyFromQuery:c}/", "no query of c is given"),
        ("--prefix c=!{partitionKeyFromLambda:c}/", "no transformation is given"),
        ("--partition-by c=.customer", "the query of c is not used"),
        ("--partition-by customer", "customer=.customer.id"),
        ("--parquet none.json", "none.json"),
        ("--prefix-tz UTC,2024-03-01=Asia/Seoul", "a stream writes in one zone"),
        ("--shards 5000", "too many"),
        ("--stream a/b", "no name of a stream"),
    ] {
        let ran = place.run(&format!("pipeline --listen 127.0.0.1:0 {options}"));
        assert!(ran.code == 1 || ran.code == 2, "{options}");
        assert!(ran.stderr.contains(says), "{options}:\n{}", ran.stderr);
    }
}

#[test]
fn records_that_are_several_are_taken_apart() {
    let place = Place::new();
    let pipeline = Pipeline::start(&place, "--deaggregate json --newline");
    for body in ["{\"a\":1}", "[1]"] {
        assert_eq!(pipeline.post(body).0, 200);
    }
    let put =
        json!({"StreamName": "rawcat-stream", "PartitionKey": "k", "Data": "eyJhIjoyfQp7ImEiOjN9"});
    assert_eq!(pipeline.ask("Kinesis_20131202.PutRecord", &put).0, 200);
    pipeline.end();
    assert_eq!(sorted(delivered(&place)), [1, 2, 3].map(|n| json!({ "a": n })));
    assert_eq!(causes(&place), [("MultiRecordDeaggregationFailed".to_string(), 1)]);
}

#[test]
fn lists_are_split_where_that_is_asked() {
    let place = Place::new();
    let pipeline = Pipeline::start(&place, "--split-arrays --partition-key id");
    let (status, answer) = pipeline.post(r#" [{"id":1}, {"id":"x"},{"id":1}]"#);
    assert_eq!((status, &answer["FailedRecordCount"]), (200, &json!(0)));
    let records = answer["Records"].as_array().unwrap();
    assert_eq!(records.len(), 3);
    // The same key is on the same shard.
    assert_eq!(records[0]["ShardId"], records[2]["ShardId"]);
    assert_eq!(pipeline.post(r#"[{"id":1},{}]"#).0, 400);
    assert_eq!(pipeline.post("[]").0, 400);
    assert_eq!(pipeline.post(r#"{"id":5}"#).0, 200);
    pipeline.end();
    assert_eq!(delivered(&place).len(), 4);
}

#[test]
fn records_become_parquet_by_a_table_and_what_is_no_row_is_an_error() {
    let place = Place::new();
    let table = json!({"Columns": [
        {"Name": "value", "Type": "double"}, {"Name": "type", "Type": "string"},
        {"Name": "tags", "Type": "array<string>"}, {"Name": "ts", "Type": "timestamp"},
    ]});
    fs::write(place.path().join("table.json"), table.to_string()).unwrap();
    let pipeline = Pipeline::start(&place, "--parquet table.json");
    for n in 0..10 {
        let record = json!({"value": format!("{n}.5"), "type": "소음", "tags": ["a", n.to_string()], "left": "out"});
        assert_eq!(pipeline.post(&record.to_string()).0, 200);
    }
    assert_eq!(pipeline.post(r#"{"value":"much"}"#).0, 200);
    pipeline.end();
    let objects = objects(&place);
    let parquet = objects.iter().find(|(key, _)| key.ends_with(".parquet")).unwrap();
    assert!(parquet.1.starts_with(b"PAR1"));
    let day = today("%Y-%m-%d");
    place.run(&format!("fetch --day {day} --tz UTC --export records")).ends(0);
    let published = place.records(&day);
    assert_eq!((published.rows(), published.kind("value").as_str()), (10, "f64"));
    assert!(!published.names().contains(&"left".to_string()));
    assert_eq!(causes(&place), [("DataFormatConversion.InvalidSchema".to_string(), 1)]);
}

#[test]
fn keys_show_the_clock_of_the_streams_zone() {
    let place = Place::new();
    let pipeline =
        Pipeline::start(&place, "--prefix-tz Asia/Seoul --file-extension .json --compression gzip");
    assert_eq!(pipeline.post("{\"a\":1}").0, 200);
    pipeline.end();
    let seoul = chrono::Utc::now().with_timezone(&chrono_tz::Asia::Seoul);
    let (key, bytes) = &objects(&place)[0];
    assert!(
        key.starts_with(&seoul.format("%Y/%m/%d/%H/rawcat-stream-1-%Y-%m-%d-").to_string()),
        "{key}"
    );
    assert!(key.ends_with(".json") && bytes.starts_with(&[0x1f, 0x8b]));
    let day = seoul.format("%Y-%m-%d");
    let ran = place.run(&format!("cat --day {day} --tz Asia/Seoul --prefix-tz Asia/Seoul")).ends(0);
    assert_eq!(ran.stdout, "{\"a\":1}\n");
}

/// A pipeline that delivers to the bucket of a server.
fn to_bucket(place: &Place, server: &crate::s3server::S3Server, options: &str) -> Pipeline {
    let line = format!("pipeline --listen 127.0.0.1:0 --deliver s3://bucket/raw/ {options}");
    Pipeline::of(place.s3_command(server, &line))
}

#[test]
fn objects_are_put_to_a_bucket_and_again_until_they_are_there() {
    let place = Place::new();
    let server = place.serve();
    // One that the store tries again itself, and two that it gives up over.
    server.fault(On::AnyPut, 1, Fault::Reply(503, "SlowDown", "reduce your request rate"));
    server.fault(On::AnyPut, 2, Fault::Reply(403, "AccessDenied", "not yet"));
    let pipeline = to_bucket(&place, &server, "--compression gzip --buffer-time 1s");
    for n in 0..3 {
        assert_eq!(pipeline.post(&json!({ "n": n }).to_string()).0, 200);
    }
    wait_for(&pipeline, "result=\"delivered\"} 3");
    pipeline.end();
    let day = today("%Y-%m-%d");
    let ran = place.s3_run(&server, &format!("cat --day {day} --tz UTC")).ends(0);
    assert_eq!(ran.stdout.lines().count(), 3);
}

#[test]
fn what_was_decided_and_not_put_is_put_by_the_next_run_once() {
    let place = Place::new();
    {
        let server = place.serve();
        server.fault(On::AnyPut, usize::MAX, Fault::Reply(403, "AccessDenied", "no"));
        let mut command =
            place.s3_command(&server, "pipeline --listen 127.0.0.1:0 --deliver s3://bucket/raw/");
        command.args(["--buffer-time", "1s"]);
        let pipeline = Pipeline::of(command);
        assert_eq!(pipeline.post("{\"a\":1}").0, 200);
        std::thread::sleep(Duration::from_millis(1_300));
        assert_eq!(pipeline.end_with_code(), 1);
    }
    assert!(objects(&place).is_empty());
    let staged = |place: &Place| files(&place.path().join("pipeline/staged")).len();
    assert_eq!(staged(&place), 1);
    let server = place.serve();
    to_bucket(&place, &server, "").end();
    assert_eq!(delivered(&place), [json!({"a": 1})]);
    assert_eq!(staged(&place), 0);
    to_bucket(&place, &server, "").end();
    assert_eq!(objects(&place).len(), 1);
}

#[test]
fn another_place_or_another_name_leaves_nothing_behind_in_silence() {
    let place = Place::new();
    {
        let server = place.serve();
        server.fault(On::AnyPut, usize::MAX, Fault::Reply(403, "AccessDenied", "no"));
        let pipeline = to_bucket(&place, &server, "--buffer-time 1s");
        assert_eq!(pipeline.post("{\"a\":1}").0, 200);
        std::thread::sleep(Duration::from_millis(1_300));
        assert_eq!(pipeline.end_with_code(), 1);
    }
    let elsewhere = place.run("pipeline --listen 127.0.0.1:0 --deliver elsewhere");
    assert_eq!(elsewhere.code, 1, "{}", elsewhere.stderr);
    assert!(elsewhere.stderr.contains("decided for s3://bucket/raw/"), "{}", elsewhere.stderr);
    let mut other = start(place.command("pipeline --listen 127.0.0.1:0 --stream other"));
    let stderr = std::io::BufReader::new(other.stderr.take().unwrap());
    let said = std::io::BufRead::lines(stderr).next().unwrap().unwrap();
    assert!(said.contains("--stream rawcat-stream"), "{said}");
    other.kill().unwrap();
    other.wait().unwrap();
    let server = place.serve();
    to_bucket(&place, &server, "").end();
    assert_eq!(delivered(&place), [json!({"a": 1})]);
}

#[test]
fn the_access_log_has_a_line_for_each_request() {
    let place = Place::new();
    let pipeline = Pipeline::start(&place, "--access-log log/access.ndjson");
    assert_eq!(pipeline.post("{}").0, 200);
    assert_eq!(pipeline.post("{").0, 400);
    pipeline.end();
    let log = fs::read_to_string(Path::new(&place.path().join("log/access.ndjson"))).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<(&str, u64)> = lines
        .iter()
        .map(|line| (line["path"].as_str().unwrap(), line["status"].as_u64().unwrap()))
        .collect();
    assert_eq!(seen, [("/PROD/v1", 200), ("/PROD/v1", 400)]);
    assert!(lines.iter().all(|line| line["requestId"].as_str().unwrap().len() == 36));
    assert!(lines[0]["responseLatency"].as_f64().unwrap() > 0.0);
    assert!(lines[0]["responseLength"].as_u64().unwrap() > 100);
}

#[test]
fn orc_is_written_where_it_is_built_in_and_else_named() {
    let place = Place::new();
    let table =
        json!({"Columns": [{"Name": "value", "Type": "double"}, {"Name": "n", "Type": "bigint"}]});
    fs::write(place.path().join("table.json"), table.to_string()).unwrap();
    if !cfg!(feature = "orc") {
        let ran = place.run("pipeline --listen 127.0.0.1:0 --orc table.json");
        ran.ends_and_says(2, &["--features orc", "--parquet"]);
        return;
    }
    let lists = json!({"Columns": [{"Name": "tags", "Type": "array<string>"}]});
    fs::write(place.path().join("lists.json"), lists.to_string()).unwrap();
    place
        .run("pipeline --listen 127.0.0.1:0 --orc lists.json")
        .ends_and_says(2, &["column tags is a list"]);
    let pipeline = Pipeline::start(&place, "--orc table.json");
    assert_eq!(pipeline.post(r#"{"value":"1.5","n":1}"#).0, 200);
    assert_eq!(pipeline.post(r#"{"value":"much","n":1}"#).0, 200);
    pipeline.end();
    let orc: Vec<_> =
        objects(&place).into_iter().filter(|(key, _)| key.ends_with(".orc")).collect();
    assert!(orc.len() == 1 && orc[0].1.starts_with(b"ORC"));
    assert_eq!(causes(&place), [("DataFormatConversion.InvalidSchema".to_string(), 1)]);
}
