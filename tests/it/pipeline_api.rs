//! The protocols of Kinesis and Firehose, spoken by the SDK.

use std::collections::BTreeMap;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_firehose::types as fh;
use aws_sdk_kinesis::config::Credentials;
use aws_sdk_kinesis::error::ProvideErrorMetadata;
use aws_sdk_kinesis::primitives::{Blob, DateTime};
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType, StreamStatus};
use serde_json::{Value, json};

use crate::pipeline::{Pipeline, delivered, sorted};
use crate::place::{Place, files};

/// Both clients of a pipeline, signing with a key whose id may be the pipeline's token.
struct Clients {
    kinesis: aws_sdk_kinesis::Client,
    firehose: aws_sdk_firehose::Client,
}

fn clients(pipeline: &Pipeline, key_id: &str) -> Clients {
    let runtime = runtime();
    let config = runtime.block_on(
        aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new("ap-northeast-2"))
            .endpoint_url(format!("http://{}", pipeline.address))
            .credentials_provider(Credentials::new(key_id, "secret", None, None, "test"))
            .retry_config(aws_config::retry::RetryConfig::disabled())
            .load(),
    );
    let (kinesis, firehose) =
        (aws_sdk_kinesis::Client::new(&config), aws_sdk_firehose::Client::new(&config));
    Clients { kinesis, firehose }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn entry(key: &str, data: &str) -> PutRecordsRequestEntry {
    let entry = PutRecordsRequestEntry::builder().partition_key(key);
    entry.data(Blob::new(data.as_bytes())).build().unwrap()
}

/// Every record of a shard from an iterator on.
async fn rest(kinesis: &aws_sdk_kinesis::Client, iterator: String) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut next = Some(iterator);
    while let Some(iterator) = next {
        let read = kinesis.get_records().shard_iterator(iterator).limit(7).send().await.unwrap();
        for record in read.records() {
            let text = String::from_utf8(record.data().as_ref().to_vec()).unwrap();
            found.push((record.sequence_number().to_string(), text));
        }
        next = read.next_shard_iterator().map(str::to_string);
        if read.millis_behind_latest() == Some(0) {
            return found;
        }
    }
    found
}

#[test]
fn the_sdk_makes_streams_puts_records_and_reads_them_from_any_place() {
    let place = Place::new();
    let pipeline = Pipeline::start(&place, "");
    let Clients { kinesis, .. } = clients(&pipeline, "any");
    runtime().block_on(async {
        kinesis.create_stream().stream_name("s").shard_count(2).send().await.unwrap();
        let again = kinesis.create_stream().stream_name("s").shard_count(2).send().await;
        assert_eq!(again.unwrap_err().code(), Some("ResourceInUseException"));
        let listed = kinesis.list_streams().limit(1).send().await.unwrap();
        assert_eq!(
            (listed.stream_names(), listed.has_more_streams()),
            (&["rawcat-stream".to_string()][..], true)
        );
        let told = kinesis.describe_stream().stream_name("s").send().await.unwrap();
        let told = told.stream_description().unwrap();
        assert_eq!((told.stream_status(), told.shards().len()), (&StreamStatus::Active, 2));
        let page = kinesis.list_shards().stream_name("s").max_results(1).send().await.unwrap();
        let next =
            kinesis.list_shards().next_token(page.next_token().unwrap()).send().await.unwrap();
        assert_eq!(
            (next.shards()[0].shard_id(), next.next_token()),
            ("shardId-000000000001", None)
        );

        // Onto one shard, by its hash keys.
        let put = |data: String| {
            kinesis
                .put_record()
                .stream_name("s")
                .partition_key("k")
                .explicit_hash_key("0")
                .data(Blob::new(data.into_bytes()))
                .send()
        };
        let mut numbers = Vec::new();
        for n in 0..20 {
            let done = put(n.to_string()).await.unwrap();
            assert_eq!(done.shard_id(), "shardId-000000000000");
            numbers.push(done.sequence_number().to_string());
        }
        assert!(numbers.is_sorted());
        let iterator = |kind: ShardIteratorType| {
            kinesis
                .get_shard_iterator()
                .stream_name("s")
                .shard_id("shardId-000000000000")
                .shard_iterator_type(kind)
        };
        let texts = |found: Vec<(String, String)>| {
            found.into_iter().map(|(_, text)| text).collect::<Vec<_>>()
        };
        let numbers_from = |from: usize| (from..20).map(|n| n.to_string()).collect::<Vec<_>>();
        let all = iterator(ShardIteratorType::TrimHorizon).send().await.unwrap();
        let all = rest(&kinesis, all.shard_iterator.unwrap()).await;
        assert!(all.iter().map(|(number, _)| number).eq(&numbers));
        let at =
            iterator(ShardIteratorType::AtSequenceNumber).starting_sequence_number(&numbers[5]);
        assert_eq!(
            texts(rest(&kinesis, at.send().await.unwrap().shard_iterator.unwrap()).await),
            numbers_from(5)
        );
        let behind =
            iterator(ShardIteratorType::AfterSequenceNumber).starting_sequence_number(&numbers[5]);
        assert_eq!(
            texts(rest(&kinesis, behind.send().await.unwrap().shard_iterator.unwrap()).await),
            numbers_from(6)
        );
        let early = iterator(ShardIteratorType::AtTimestamp).timestamp(DateTime::from_secs(1));
        assert_eq!(
            texts(rest(&kinesis, early.send().await.unwrap().shard_iterator.unwrap()).await),
            numbers_from(0)
        );
        let latest =
            iterator(ShardIteratorType::Latest).send().await.unwrap().shard_iterator.unwrap();
        put("new".to_string()).await.unwrap();
        assert_eq!(texts(rest(&kinesis, latest).await), ["new"]);

        for (result, code) in [
            (
                iterator(ShardIteratorType::AtSequenceNumber)
                    .starting_sequence_number("7")
                    .send()
                    .await
                    .unwrap_err()
                    .code()
                    .map(str::to_string),
                "InvalidArgumentException",
            ),
            (
                kinesis
                    .get_records()
                    .shard_iterator("x")
                    .send()
                    .await
                    .unwrap_err()
                    .code()
                    .map(str::to_string),
                "InvalidArgumentException",
            ),
            (
                kinesis
                    .put_record()
                    .stream_name("none")
                    .partition_key("k")
                    .data(Blob::new("x"))
                    .send()
                    .await
                    .unwrap_err()
                    .code()
                    .map(str::to_string),
                "ResourceNotFoundException",
            ),
            (
                kinesis
                    .delete_stream()
                    .stream_name("rawcat-stream")
                    .send()
                    .await
                    .unwrap_err()
                    .code()
                    .map(str::to_string),
                "ResourceInUseException",
            ),
        ] {
            assert_eq!(result.as_deref(), Some(code));
        }
        kinesis.delete_stream().stream_name("s").send().await.unwrap();
        assert!(kinesis.describe_stream_summary().stream_name("s").send().await.is_err());
    });
    pipeline.end();
}

#[test]
fn a_batch_over_the_limits_fails_record_by_record() {
    let place = Place::new();
    let pipeline = Pipeline::start(&place, "--limits --shards 1");
    let Clients { kinesis, .. } = clients(&pipeline, "any");
    let taken = runtime().block_on(async {
        let mut taken: Vec<String> = Vec::new();
        let mut failed = 0;
        for batch in 0..3 {
            let names: Vec<String> =
                (0..500).map(|n| format!("{{\"n\":{}}}", batch * 500 + n)).collect();
            let entries = names.iter().map(|name| entry(name, name)).collect();
            let put = kinesis
                .put_records()
                .stream_name("rawcat-stream")
                .set_records(Some(entries))
                .send()
                .await
                .unwrap();
            let over = put.records().iter().filter(|record| record.error_code().is_some());
            assert_eq!(over.count() as i32, put.failed_record_count().unwrap());
            failed += put.failed_record_count().unwrap();
            for (name, record) in names.into_iter().zip(put.records()) {
                match record.error_code() {
                    None => taken.push(name),
                    Some(code) => assert_eq!(code, "ProvisionedThroughputExceededException"),
                }
            }
        }
        assert!(failed > 200, "{failed}");
        taken
    });
    // The gateway says so, too.
    let large = json!({"x": "x".repeat(700 << 10)}).to_string();
    let answers = [pipeline.post(&large).0, pipeline.post(&large).0];
    assert!(answers[1] == 429, "{answers:?}");
    pipeline.end();
    let taken: Vec<Value> = taken.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let mut found = delivered(&place);
    found.retain(|record| record.get("n").is_some());
    assert_eq!(sorted(found), sorted(taken));
}

#[test]
fn delivery_streams_are_made_by_the_sdk_and_are_there_after_a_restart() {
    let place = Place::new();
    let options = "--buckets lake";
    let pipeline = Pipeline::start(&place, options);
    let put = |pipeline: &Pipeline, from: usize| {
        let Clients { firehose, .. } = clients(pipeline, "any");
        runtime().block_on(async {
            let record = |n: usize| {
                fh::Record::builder().data(Blob::new(format!("{{\"n\":{n}}}"))).build().unwrap()
            };
            let batch = (from..from + 10).map(record).collect();
            let put = firehose
                .put_record_batch()
                .delivery_stream_name("d")
                .set_records(Some(batch))
                .send()
                .await
                .unwrap();
            assert_eq!((put.failed_put_count(), put.request_responses().len()), (0, 10));
            firehose
                .put_record()
                .delivery_stream_name("d")
                .record(record(from + 10))
                .send()
                .await
                .unwrap();
        });
    };
    let Clients { firehose, kinesis } = clients(&pipeline, "any");
    runtime().block_on(async {
        let hints = fh::BufferingHints::builder().size_in_mbs(1).interval_in_seconds(60).build();
        let append = fh::Processor::builder()
            .r#type(fh::ProcessorType::AppendDelimiterToRecord)
            .build()
            .unwrap();
        let processing =
            fh::ProcessingConfiguration::builder().enabled(true).processors(append).build();
        let destination = |bucket: &str| {
            fh::ExtendedS3DestinationConfiguration::builder()
                .role_arn("arn:aws:iam::123456789012:role/r")
                .bucket_arn(format!("arn:aws:s3:::{bucket}"))
                .prefix("data/!{timestamp:yyyy}/")
                .error_output_prefix("bad/!{firehose:error-output-type}/")
                .buffering_hints(hints.clone())
                .compression_format(fh::CompressionFormat::Gzip)
                .processing_configuration(processing.clone())
                .build()
                .unwrap()
        };
        firehose
            .create_delivery_stream()
            .delivery_stream_name("d")
            .extended_s3_destination_configuration(destination("lake-1"))
            .send()
            .await
            .unwrap();
        let told =
            firehose.describe_delivery_stream().delivery_stream_name("d").send().await.unwrap();
        let told = told.delivery_stream_description().unwrap();
        let s3 = told.destinations()[0].extended_s3_destination_description().unwrap();
        assert_eq!(
            (s3.bucket_arn(), s3.prefix()),
            ("arn:aws:s3:::lake-1", Some("data/!{timestamp:yyyy}/"))
        );
        assert_eq!(s3.compression_format(), &fh::CompressionFormat::Gzip);
        let up = firehose
            .create_delivery_stream()
            .delivery_stream_name("e")
            .extended_s3_destination_configuration(destination("../up"))
            .send()
            .await;
        assert_eq!(up.unwrap_err().code(), Some("InvalidArgumentException"));
        // From a stream: what comes after it was made.
        kinesis
            .put_record()
            .stream_name("rawcat-stream")
            .partition_key("k")
            .data(Blob::new("{\"old\":1}"))
            .send()
            .await
            .unwrap();
        let arn =
            kinesis.describe_stream_summary().stream_name("rawcat-stream").send().await.unwrap();
        let arn = arn.stream_description_summary().unwrap().stream_arn().to_string();
        let source = fh::KinesisStreamSourceConfiguration::builder()
            .kinesis_stream_arn(arn)
            .role_arn("r")
            .build()
            .unwrap();
        firehose
            .create_delivery_stream()
            .delivery_stream_name("f")
            .kinesis_stream_source_configuration(source)
            .extended_s3_destination_configuration(destination("lake-2"))
            .send()
            .await
            .unwrap();
        kinesis
            .put_record()
            .stream_name("rawcat-stream")
            .partition_key("k")
            .data(Blob::new("{\"new\":1}"))
            .send()
            .await
            .unwrap();
        let put = fh::Record::builder().data(Blob::new("x")).build().unwrap();
        let put = firehose.put_record().delivery_stream_name("f").record(put).send().await;
        assert!(put.unwrap_err().message().unwrap().contains("DirectPut"));
        let names = firehose.list_delivery_streams().send().await.unwrap();
        assert_eq!(
            names.delivery_stream_names(),
            ["d", "f", "rawcat-stream", "rawcat-stream-direct"]
        );
    });
    put(&pipeline, 0);
    pipeline.kill();
    let pipeline = Pipeline::start(&place, options);
    put(&pipeline, 11);
    pipeline.end();
    let mut by_folder: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (key, bytes) in files(&place.path().join("lake")) {
        assert!(key.ends_with(".gz") && !key.contains(".rawcat"), "{key}");
        let mut text = String::new();
        std::io::Read::read_to_string(
            &mut flate2::read::MultiGzDecoder::new(&bytes[..]),
            &mut text,
        )
        .unwrap();
        let folder = key.split('/').take(2).collect::<Vec<_>>().join("/");
        let records = text.lines().map(|line| serde_json::from_str(line).unwrap());
        by_folder.entry(folder).or_default().extend(records);
    }
    let expected: Vec<Value> = (0..22).map(|n| json!({ "n": n })).collect();
    assert_eq!(sorted(by_folder["lake-1/data"].clone()), sorted(expected));
    assert_eq!(by_folder["lake-2/data"], [json!({"new": 1})]);
}

#[test]
fn the_token_is_the_id_of_the_access_key() {
    let place = Place::new();
    let mut command = place.command("pipeline --listen 127.0.0.1:0");
    command.args(["--deliver", place.raw().to_str().unwrap()]).env("RAWCAT_TOKEN", "secret");
    let pipeline = Pipeline::of(command);
    for (key_id, is_let_in) in [("secret", true), ("other", false)] {
        let Clients { kinesis, .. } = clients(&pipeline, key_id);
        let listed = runtime().block_on(kinesis.list_streams().send());
        assert_eq!(listed.is_ok(), is_let_in, "{key_id}");
    }
    pipeline.end();
}

#[test]
fn a_delivery_stream_that_can_not_deliver_is_not_deleted_with_its_records() {
    let place = Place::new();
    let create = |pipeline: &Pipeline, more: Value| {
        let mut destination = json!({"RoleARN": "r", "BucketARN": "arn:aws:s3:::lake"});
        destination.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let input = json!({
            "DeliveryStreamName": "d", "ExtendedS3DestinationConfiguration": destination,
        });
        pipeline.ask("Firehose_20150804.CreateDeliveryStream", &input)
    };
    let delete = |pipeline: &Pipeline| {
        pipeline.ask("Firehose_20150804.DeleteDeliveryStream", &json!({"DeliveryStreamName": "d"}))
    };
    let put = |pipeline: &Pipeline| {
        let record = json!({"DeliveryStreamName": "d", "Record": {"Data": "eyJhIjoxfQ=="}});
        pipeline.ask("Firehose_20150804.PutRecord", &record).0
    };
    // A file stands where the folder of buckets should be.
    std::fs::write(place.path().join("lake"), "").unwrap();
    let pipeline = Pipeline::start(&place, "--buckets lake");
    assert_eq!(create(&pipeline, json!({})).0, 200);
    assert_eq!(create(&pipeline, json!({})).1["__type"], "ResourceInUseException");
    assert_eq!(put(&pipeline), 200);
    assert_eq!(delete(&pipeline).0, 500);
    std::fs::remove_file(place.path().join("lake")).unwrap();
    assert_eq!(put(&pipeline), 200);
    assert_eq!(delete(&pipeline).0, 200);
    assert_eq!(put(&pipeline), 400);
    let found = |place: &Place| -> String {
        let all = files(&place.path().join("lake")).into_values();
        all.map(|bytes| String::from_utf8(bytes).unwrap()).collect()
    };
    assert_eq!(found(&place), "{\"a\":1}{\"a\":1}");
    // The name is free, and begins anew.
    assert_eq!(create(&pipeline, json!({})).0, 200);
    assert_eq!(put(&pipeline), 200);
    pipeline.kill();
    let pipeline = Pipeline::start(&place, "--buckets lake");
    assert_eq!(delete(&pipeline).0, 200);
    assert_eq!(found(&place).matches('a').count(), 3);
    // Nothing leads out of the bucket's folder.
    for more in [
        json!({"FileExtension": "/../../../../up"}),
        json!({"Prefix": "/tmp/x/"}),
        json!({"Prefix": "a/../../b/"}),
        json!({"ErrorOutputPrefix": "../"}),
        json!({"BucketARN": "arn:aws:s3:::.."}),
    ] {
        let (status, answer) = create(&pipeline, more.clone());
        assert_eq!(
            (status, &answer["__type"]),
            (400, &json!("InvalidArgumentException")),
            "{more}"
        );
    }
    // The pipeline's own are not deleted.
    for name in ["rawcat-stream", "rawcat-stream-direct"] {
        let input = json!({"DeliveryStreamName": name});
        let (_, answer) = pipeline.ask("Firehose_20150804.DeleteDeliveryStream", &input);
        assert_eq!(answer["__type"], "ResourceInUseException");
    }
    pipeline.end();
    assert_eq!(found(&place).matches('a').count(), 3);
}

#[test]
fn a_batch_to_a_delivery_stream_is_taken_whole_whatever_shards_take() {
    let place = Place::new();
    let pipeline = Pipeline::start(&place, "--limits");
    for from in [0, 500, 1_000] {
        let records: Vec<Value> = (from..from + 500)
            .map(|n| json!({"Data": base64_of(&format!("{{\"n\":{n}}}"))}))
            .collect();
        let input = json!({"DeliveryStreamName": "rawcat-stream-direct", "Records": records});
        let (status, answer) = pipeline.ask("Firehose_20150804.PutRecordBatch", &input);
        assert_eq!((status, &answer["FailedPutCount"]), (200, &json!(0)));
    }
    pipeline.end();
    let expected: Vec<Value> = (0..1_500).map(|n| json!({ "n": n })).collect();
    assert_eq!(sorted(delivered(&place)), sorted(expected));
}

fn base64_of(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[test]
fn a_batch_of_too_many_and_a_body_that_is_no_text_are_refused() {
    let place = Place::new();
    let pipeline = Pipeline::start(&place, "");
    let record = json!({"Data": "e30=", "PartitionKey": "k"});
    let input = json!({"StreamName": "rawcat-stream", "Records": vec![record; 501]});
    let (status, answer) = pipeline.ask("Kinesis_20131202.PutRecords", &input);
    assert_eq!((status, &answer["__type"]), (400, &json!("ValidationException")));
    let head = "POST /PROD/v1 HTTP/1.1\r\nhost: evil.example";
    assert_eq!(pipeline.request_as_it_is(head, b"{}").0, 403);
    let head = "POST /PROD/v1 HTTP/1.1\r\nhost: localhost";
    assert_eq!(pipeline.request_as_it_is(head, b"{\"a\":\"\xff\"}").0, 400);
    assert_eq!(pipeline.request_as_it_is(head, b"{}").0, 200);
    pipeline.end();
}
