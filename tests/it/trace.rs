//! Traces: whole ones, and records that are lost or come twice at each hop.

use serde_json::Value;

use crate::collector::{Collector, Faults};
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
