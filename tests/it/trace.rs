//! Traces: whole ones, and records that are lost or come twice at each hop.

use serde_json::Value;

use crate::collector::{Collector, Faults};
use crate::pipeline::Pipeline;
use crate::place::{Place, Ran};

fn traced(place: &Place, collector: &Collector, options: &str) -> Ran {
    let endpoint = &collector.endpoint;
    place.run(&format!("trace --url {endpoint}/PROD/v1 --stream events --wait 2s {options}"))
}

fn hop<'d>(document: &'d Value, name: &str) -> &'d Value {
    let hops = document["hops"].as_array().unwrap();
    hops.iter().find(|hop| hop["hop"] == name).unwrap()
}

#[test]
fn a_record_is_followed_through_every_hop() {
    let place = Place::new();
    let collector = Collector::start(Faults::default(), Some(place.raw()));
    let ran = traced(&place, &collector, "--count 20 --json").ends(0);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&document["complete"], &document["lost_at"]), (&true.into(), &Value::Null));
    for name in ["gateway", "stream", "delivery", "object", "read"] {
        let hop = hop(&document, name);
        assert_eq!(hop["records"], 20, "{document:#}");
        assert!(hop["p50_ms"].as_f64().unwrap() <= hop["max_ms"].as_f64().unwrap());
        assert_eq!(hop["duplicates"], 0);
    }
    assert!(collector.inside().shards.iter().all(|held| !held.is_empty()), "all shards have some");
    // The same records, looked for later and without their endpoint.
    let mark = document["mark"].as_str().unwrap();
    let later = format!(
        "trace --mark {mark} --count 20 --stream events --endpoint-url {} --wait 2s",
        collector.endpoint
    );
    let said = [
        "gateway   not asked: the records were sent before",
        "stream     20 of 20     0       0",
        "read       20 of 20     0       0",
        "complete: every record",
    ];
    place.run(&later).ends_and_says(0, &said);
}

#[test]
fn the_hop_that_lost_a_record_is_named_with_what_to_look_at() {
    for (at, says) in [
        ("gateway", "mapping template"),
        ("stream", "StreamName"),
        ("delivery", "--wait 20m"),
        ("object", "rawcat errors"),
        ("read", "rawcat cat"),
    ] {
        let place = Place::new();
        let collector =
            Collector::start(Faults { lost_at: Some(at), ..Faults::default() }, Some(place.raw()));
        let said = format!(" lost at {at}: ");
        traced(&place, &collector, "").ends_and_says(3, &[&said, says]);
        let ran = traced(&place, &collector, "--json").ends(3);
        let document: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(document["lost_at"], at, "{document:#}");
        let lost = hop(&document, at)["lost"].as_array().unwrap();
        assert!(lost.contains(&3.into()), "{document:#}");
        // What lies behind it on its shard waits for it.
        assert!(lost.len() == 1 || at == "delivery", "{document:#}");
    }
}

#[test]
fn a_record_that_comes_twice_is_no_loss_and_not_complete() {
    for at in ["stream", "object"] {
        let place = Place::new();
        let collector =
            Collector::start(Faults { twice_at: Some(at), ..Faults::default() }, Some(place.raw()));
        let ran = traced(&place, &collector, "--json").ends(3);
        let document: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(hop(&document, at)["duplicates"], 1, "{document:#}");
        assert_eq!(document["lost_at"], Value::Null);
        assert!(document["verdict"].as_str().unwrap().contains("came more than once"));
    }
}

#[test]
fn what_can_not_be_asked_is_said() {
    let place = Place::new();
    let collector = Collector::start(Faults::default(), None);
    let line = format!("trace --url {}/v1 --stream events --count 2", collector.endpoint);
    let mut command = place.command(&line);
    command.env_remove("RAWCAT_SOURCE");
    let ran = crate::place::ran(command.output().unwrap()).ends(0);
    for says in ["object    not asked: no --source", "delivery     2 of 2", "up to the delivery"] {
        assert!(ran.stdout.contains(says), "{}", ran.stdout);
    }
    place
        .run("trace --url http://127.0.0.1:9/ --wait 1s")
        .ends_and_says(3, &["10 records lost at gateway", "refused"]);
}

#[test]
fn the_pipeline_of_this_machine_is_traced_from_its_first_record_on() {
    let place = Place::new();
    let options = "--buffer-time 1s --shards 3 --stream events --token t";
    let line = format!("pipeline --listen 127.0.0.1:0 --deliver delivered {options}");
    let pipeline = Pipeline::of(place.command(&line));
    // Nothing was delivered yet, so that the folder is not there.
    let url = pipeline.url();
    let line =
        format!("trace --url {url} --stream events --source delivered --token t --wait 30s --json");
    let ran = place.run(&line);
    // The pipeline ends whatever the trace found.
    assert_eq!(pipeline.end_with_code(), 0);
    let document: Value = serde_json::from_str(&ran.ends(0).stdout).unwrap();
    for name in ["gateway", "stream", "delivery", "object", "read"] {
        assert_eq!(hop(&document, name)["records"], 10, "{document:#}");
    }
}

#[test]
fn a_cloudwatch_that_can_not_be_asked_fails_no_trace() {
    let place = Place::new();
    let collector = Collector::start(Faults::default(), Some(place.raw()));
    let ran = traced(&place, &collector, "--count 3 --json").ends(0);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let mark = document["mark"].as_str().unwrap();
    // Nobody listens there, or the build has no client for it.
    let endpoint = "http://127.0.0.1:9";
    let says = match cfg!(feature = "cloudwatch") {
        true => "delivery  not asked: CloudWatch gave no metrics of events: ",
        false => {
            "delivery  not asked: this rawcat does not ask CloudWatch: build it with `cargo install"
        }
    };
    let line = format!(
        "trace --mark {mark} --count 3 --wait 1s --delivery-stream events --endpoint-url {endpoint}"
    );
    place.run(&line).ends_and_says(0, &[says, "read         3 of 3", "complete: every record"]);
    // No names of other machines without TLS.
    let mut command = place.command(&line);
    command.env("AWS_ENDPOINT_URL_CLOUDWATCH", "http://monitoring.invalid");
    let ran = crate::place::ran(command.output().unwrap()).ends(0);
    let refused = ran.stdout.contains("http://monitoring.invalid");
    assert_eq!(refused, cfg!(feature = "cloudwatch"), "{}", ran.stdout);
    let line = format!("trace --mark {mark} --count 3 --wait 1s");
    place.run(&line).ends_and_says(0, &["delivery  not asked: no --delivery-stream is given"]);
}
