//! `--delivery-stream`: Firehose is asked where and how a stream delivers. The answers are those of
//! the service's documentation, given over HTTP by a thread of the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::place::{Place, Ran, key};
use crate::s3server::S3Server;

const LINE: &str = "fetch --day 2022-04-18 --tz Asia/Seoul --export records";

/// A Firehose that knows the stream `events`.
struct Firehose {
    endpoint: String,
    /// The bodies of requests, each behind its `X-Amz-Target`.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Firehose {
    fn of(destination: Value) -> Firehose {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&asked);
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &destination, &log);
            }
        });
        Firehose { endpoint, asked }
    }

    fn run(&self, place: &Place, server: &S3Server, line: &str) -> Ran {
        let mut command = place.s3_command(server, line);
        command.env_remove("RAWCAT_SOURCE").env("AWS_ENDPOINT_URL_FIREHOSE", &self.endpoint);
        crate::place::ran(command.output().unwrap())
    }
}

fn answer(mut stream: TcpStream, destination: &Value, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut line, mut len, mut target) = (String::new(), 0, String::new());
    while reader.read_line(&mut line).unwrap() > 2 {
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        match name.to_ascii_lowercase().as_str() {
            "content-length" => len = value.trim().parse().unwrap(),
            "x-amz-target" => target = value.trim().to_string(),
            _ => {}
        }
        line.clear();
    }
    let mut body = vec![0; len];
    reader.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    let name = serde_json::from_str::<Value>(&body).unwrap()["DeliveryStreamName"].clone();
    log.lock().unwrap().push(format!("{target} {body}"));
    let (status, answer) = match name.as_str() {
        Some("events") => ("200 OK", description(destination)),
        Some("secret") => (
            "400 Bad Request",
            json!({"__type": "AccessDeniedException", "message": "not authorized to perform: firehose:DescribeDeliveryStream"}),
        ),
        _ => (
            "400 Bad Request",
            json!({"__type": "ResourceNotFoundException", "message": "Firehose not found under account."}),
        ),
    };
    let answer = answer.to_string();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{answer}",
        answer.len()
    )
    .unwrap();
}

fn description(destination: &Value) -> Value {
    json!({ "DeliveryStreamDescription": {
        "DeliveryStreamName": "events",
        "DeliveryStreamARN": "arn:aws:firehose:us-east-1:123456789012:deliverystream/events",
        "DeliveryStreamStatus": "ACTIVE",
        "DeliveryStreamType": "DirectPut",
        "VersionId": "3",
        "HasMoreDestinations": false,
        "Destinations": [{
            "DestinationId": "destinationId-000000000001",
            "ExtendedS3DestinationDescription": destination,
        }],
    }})
}

/// The settings of a stream into the bucket, with `more` of them.
fn settings(more: Value) -> Value {
    let mut settings = json!({
        "RoleARN": "arn:aws:iam::123456789012:role/delivery",
        "BucketARN": "arn:aws:s3:::bucket",
        "BufferingHints": {"SizeInMBs": 5, "IntervalInSeconds": 300},
        "CompressionFormat": "UNCOMPRESSED",
        "EncryptionConfiguration": {"NoEncryptionConfig": "NoEncryption"},
        "S3BackupMode": "Disabled",
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

#[test]
fn a_stream_says_bucket_prefix_zone_and_what_is_error_output() {
    let place = Place::new();
    let server = place.serve();
    for (key, n) in [
        ("team=a/2022/04/18/00/", 1),
        ("team=b/2022/04/18/23/", 2),
        ("team=a/2022/04/19/00/", 3),
        ("team=broken/2022/04/18/01/", 4),
    ] {
        let time = &key.trim_end_matches('/')[key.len() - 14..];
        let time = format!("{}T{}:10:00", time[..10].replace('/', "-"), &time[11..]);
        let name = crate::place::key("s", &time, n);
        let name = name.rsplit('/').next().unwrap();
        place.put(&format!("{key}{name}"), format!("{{\"n\":{n}}}"));
    }
    let firehose = Firehose::of(settings(json!({
        "Prefix": "raw/team=!{partitionKeyFromQuery:team}/!{timestamp:yyyy/MM/dd/HH}/",
        "ErrorOutputPrefix": "raw/team=broken/!{firehose:error-output-type}/",
        "CustomTimeZone": "Asia/Seoul",
        "CompressionFormat": "GZIP",
    })));
    firehose.run(&place, &server, &format!("{LINE} --delivery-stream events")).ends(0);
    let records = place.records("2022-04-18").cells(&["n", "team"]);
    assert_eq!(json!(records), json!([[1, "a"], [2, "b"]]));
    let manifest = place.manifest("2022-04-18");
    assert_eq!(manifest.source, "s3://bucket/");
    assert_eq!(manifest.options["prefix-tz"], "Asia/Seoul");
    assert_eq!(manifest.objects.excluded[0].reason, "error output of firehose");
    let asked = firehose.asked.lock().unwrap();
    let expected = "Firehose_20150804.DescribeDeliveryStream {\"DeliveryStreamName\":\"events\"}";
    assert_eq!(*asked, [expected]);
}

#[test]
fn a_stream_without_a_prefix_has_the_default_one_and_may_have_changed_its_zone() {
    let place = Place::new();
    place.put(&key("s", "2022-04-18T03:00:00", 1), "{\"n\":1}");
    let server = place.serve();
    let firehose = Firehose::of(settings(json!({"Prefix": "raw/", "ErrorOutputPrefix": "raw/"})));
    let line = format!("{LINE} --delivery-stream events");
    firehose.run(&place, &server, &line).ends(0);
    assert_eq!(place.records("2022-04-18").column("n"), [json!(1)]);
    let zones = "--prefix-tz UTC,2024-03-01=Asia/Seoul";
    firehose.run(&place, &server, &format!("{line} {zones}")).ends(0);
    let typed = place.manifest("2022-04-18").options["prefix-tz"].clone();
    assert_eq!(typed, "UTC,2024-03-01=Asia/Seoul");
}

#[test]
fn a_stream_that_can_not_tell_is_a_failure_that_says_what_to_do() {
    let place = Place::new();
    let server = place.serve();
    let firehose = Firehose::of(Value::Null);
    let cases = [
        ("events", "it does not deliver to S3"),
        ("evnts", "ResourceNotFoundException: Firehose not found under account.; check its name"),
        ("secret", "the credentials need firehose:DescribeDeliveryStream"),
    ];
    for (name, words) in cases {
        let words = [&format!("the delivery stream {name} can't be asked in us-east-1")[..], words];
        firehose
            .run(&place, &server, &format!("{LINE} --delivery-stream {name}"))
            .ends_and_says(1, &words);
    }
    // Nobody listens there.
    let gone = Firehose { endpoint: "http://127.0.0.1:1".to_string(), ..firehose };
    let words =
        ["dispatch failure", "Connection refused", "check --region, --profile and the network"];
    let ran = gone.run(&place, &server, &format!("{LINE} --delivery-stream events"));
    ran.ends_and_says(1, &words);
    let line = format!("{LINE} --delivery-stream events --source raw");
    let words = ["--delivery-stream and --source say the same in two ways"];
    gone.run(&place, &server, &line).ends_and_says(2, &words);
    place.assert_nothing_published();
}

#[test]
fn a_format_that_is_not_read_is_named_beforehand() {
    let place = Place::new();
    let server = place.serve();
    let plan = |more: Value| {
        let line = "plan --day 2022-04-18 --tz Asia/Seoul --delivery-stream events";
        Firehose::of(settings(more)).run(&place, &server, line).ends(0).stderr
    };
    let converted = |serializer: &str| {
        json!({"Prefix": "raw/", "DataFormatConversionConfiguration": {
            "Enabled": true,
            "OutputFormatConfiguration": {"Serializer": {serializer: {}}},
        }})
    };
    assert!(plan(converted("OrcSerDe")).contains("converts records to ORC"));
    for read in
        [converted("ParquetSerDe"), json!({"Prefix": "raw/", "CompressionFormat": "Snappy"})]
    {
        let stderr = plan(read);
        assert!(!stderr.contains("note:"), "{stderr}");
    }
}

#[test]
fn a_description_that_begins_and_does_not_end_is_a_failure_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<usize>> = Arc::default();
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for mut stream in listener.incoming().flatten() {
            *count.lock().unwrap() += 1;
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{");
            held.push(stream);
        }
    });
    let place = Place::new();
    let server = place.serve();
    let line = format!("{LINE} --delivery-stream events --stall-timeout 1s");
    let mut command = place.s3_command(&server, &line);
    command.env_remove("RAWCAT_SOURCE").env("AWS_ENDPOINT_URL_FIREHOSE", &endpoint);
    let began = std::time::Instant::now();
    let ran = crate::place::ran(command.output().unwrap()).ends(1);
    assert!(ran.stderr.contains("events"), "{}", ran.stderr);
    assert!(*asked.lock().unwrap() >= 1);
    assert!(began.elapsed() < std::time::Duration::from_secs(30), "{:?}", began.elapsed());
}
