//! Every fault of S3 and the network, drawn by a seed: a run ends with the right day, or names all that it
//! could not get. Never silence, never a hang, nothing left behind.
//!
//! `RAWCAT_FAULT_SEEDS=50 cargo test --test it faults::` draws each kind of fault by so many seeds; 1 without it. A run that breaks the
//! law names its seed, its kinds and every fault, and `RAWCAT_FAULT_SEED=N` draws that one alone.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::place::{Place, Ran, gzip, key};
use crate::proxy::{Mishap, Proxy};
use crate::s3server::{ACCESS_KEY, Fault, SECRET_KEY, Weather};

const DAY: &str = "2022-04-18";
/// Of one run, with all its retries.
const DEADLINE: Duration = Duration::from_secs(240);

/// Twelve objects in four hours, each with records that name it, and two pages of listing an hour.
fn day() -> Place {
    let place = Place::new();
    for serial in 0..12_u32 {
        let time = format!("2022-04-18T{:02}:{:02}:00", 3 + serial / 3, serial);
        let records: String =
            (0..200).map(|n| format!(r#"{{"object":{serial},"n":{n},"ts":"{time}Z"}}"#)).collect();
        let bytes = if serial % 2 == 0 { gzip(&records) } else { records.into_bytes() };
        place.put(&key("s", &time, serial), bytes);
    }
    place
}

/// A kind of fault: of listings, and of GETs.
type Kind = (&'static str, Vec<Fault>, Vec<Fault>);

fn kinds() -> Vec<Kind> {
    let reply = |status, code| Fault::Reply(status, code, "injected");
    let both = |name, fault: Fault| (name, vec![fault.clone()], vec![fault]);
    vec![
        both("slow down", reply(503, "SlowDown")),
        both("internal error", reply(500, "InternalError")),
        both("too many requests", reply(429, "TooManyRequests")),
        both("request timeout", reply(400, "RequestTimeout")),
        both("clock skew", reply(403, "RequestTimeTooSkewed")),
        both("expired token", reply(400, "ExpiredToken")),
        both("denied", reply(403, "AccessDenied")),
        both("reset", Fault::Cut(3_000)),
        both("stall", Fault::Stall(3_000)),
        ("stalled error", vec![], vec![Fault::StalledError(20)]),
        both("delay", Fault::Delay(Duration::from_millis(30))),
        ("error in a 200", vec![Fault::ErrorIn200], vec![]),
        ("cut listing", vec![Fault::TruncatedWithoutToken], vec![]),
        ("repeated token", vec![Fault::SameToken], vec![]),
        ("shuffled listing", vec![Fault::Shuffled(1), Fault::Unsorted], vec![]),
        ("wrong checksum", vec![], vec![Fault::WrongChecksum]),
        ("other ETag", vec![], vec![Fault::OtherEtag]),
        ("range ignored", vec![], vec![Fault::IgnoreRange, Fault::Cut(3_000)]),
        ("gone", vec![], vec![reply(404, "NoSuchKey")]),
        ("key disabled", vec![], vec![reply(400, "KMS.DisabledException")]),
        ("archived", vec![], vec![reply(403, "InvalidObjectState")]),
    ]
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn seeds() -> Vec<u64> {
    match number("RAWCAT_FAULT_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("RAWCAT_FAULT_SEEDS").unwrap_or(1)).collect(),
    }
}

/// A run that is killed at the deadline.
fn run(mut command: Command) -> Result<Ran, String> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > DEADLINE {
            if let Some(command) = std::env::var_os("RAWCAT_FAULT_STUCK") {
                let stuck = Command::new(command).arg(child.id().to_string()).output();
                eprintln!("{}", String::from_utf8_lossy(&stuck.unwrap().stdout));
            }
            child.kill().unwrap();
            child.wait().unwrap();
            return Err(format!("it did not end within {DEADLINE:?}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(crate::place::ran(child.wait_with_output().unwrap()))
}

const LINE: &str =
    "fetch --day 2022-04-18 --tz Asia/Seoul --export records --stall-timeout 1s --jobs 2";

fn tables(place: &Place) -> BTreeMap<String, Vec<u8>> {
    let mut files = place.published();
    files.retain(|path, _| path.ends_with(".parquet"));
    files
}

/// Whether a run under faults kept the law; else how it broke it.
fn check(place: &Place, ran: &Ran, expected: &BTreeMap<String, Vec<u8>>) -> Result<(), String> {
    match ran.code {
        0 if tables(place) == *expected => Ok(()),
        0 => Err("exit code 0, and other bytes than without faults".to_string()),
        1 if ran.stderr.trim().is_empty() => Err("exit code 1 without a word".to_string()),
        1 if !tables(place).is_empty() => {
            Err("exit code 1, and something is published".to_string())
        }
        1 => Ok(()),
        3 => {
            let manifest = place.manifest(DAY);
            let failed: BTreeSet<&str> =
                manifest.objects.failed.iter().map(|failed| failed.key.as_str()).collect();
            let prefixes: Vec<&str> = (manifest.listing.prefixes.iter())
                .filter(|prefix| prefix.error.is_some())
                .map(|prefix| prefix.prefix.as_str())
                .collect();
            if manifest.verdict.complete || failed.is_empty() && prefixes.is_empty() {
                return Err("exit code 3, and nothing is named".to_string());
            }
            let missing = |key: &str| {
                failed.contains(key) || prefixes.iter().any(|prefix| key.starts_with(prefix))
            };
            let mut rows: BTreeMap<i64, u64> = BTreeMap::new();
            // A day of which nothing was read has no columns.
            if manifest.records.day > 0 {
                for object in place.records(DAY).column("object") {
                    *rows.entry(object.as_i64().unwrap()).or_default() += 1;
                }
            }
            for serial in 0..12_u32 {
                let time = format!("2022-04-18T{:02}:{:02}:00", 3 + serial / 3, serial);
                let key = key("s", &time, serial);
                let rows = rows.get(&i64::from(serial)).copied().unwrap_or(0);
                let right = if missing(&key) { 0 } else { 200 };
                if rows != right {
                    return Err(format!("{rows} rows of {key} instead of {right}"));
                }
            }
            Ok(())
        }
        code => Err(format!("exit code {code}")),
    }
}

/// Runs under each of the given plans, and says how often each exit code came.
fn sweep(plans: Vec<(String, Weather)>) -> BTreeMap<i32, u64> {
    let place = day();
    let server = place.serve();
    server.set_page_keys(2);
    run(place.s3_command(&server, LINE)).unwrap().ends(0);
    let expected = tables(&place);
    assert_eq!(expected.len(), 1);
    let mut codes = BTreeMap::new();
    for (name, weather) in plans {
        std::fs::remove_dir_all(place.out()).unwrap();
        let seed = weather.seed;
        server.set_weather(Some(weather));
        let ran = run(place.s3_command(&server, LINE));
        let struck = server.set_weather(None);
        let kept = ran.and_then(|ran| {
            let kept = check(&place, &ran, &expected);
            *codes.entry(ran.code).or_default() += 1;
            kept.map_err(|broken| format!("{broken}\n{}{}", ran.stdout, ran.stderr))
        });
        if let Err(broken) = kept {
            let faults = struck.join("\n  ");
            panic!("{name}, RAWCAT_FAULT_SEED={seed}: {broken}\nfaults:\n  {faults}");
        }
        if place.out().exists() {
            place.assert_clean();
        } else {
            std::fs::create_dir_all(place.out()).unwrap();
        }
    }
    codes
}

#[test]
fn under_every_kind_of_fault_the_day_is_right_or_what_is_missing_is_named() {
    let mut plans = Vec::new();
    for seed in seeds() {
        for (name, of_lists, of_gets) in kinds() {
            let percent = [10, 30, 60][seed as usize % 3];
            plans.push((name.to_string(), Weather { seed, of_lists, of_gets, percent }));
        }
    }
    let codes = sweep(plans);
    println!("runs by exit code: {}", json!(codes));
    // Some of them are overcome, and some can't be.
    let one_seed = number("RAWCAT_FAULT_SEED").is_some();
    assert!(one_seed || codes.contains_key(&0) && codes.contains_key(&3), "{codes:?}");
}

#[test]
fn under_two_kinds_of_faults_at_once_the_day_is_right_or_what_is_missing_is_named() {
    let kinds = kinds();
    let mut plans = Vec::new();
    for seed in seeds() {
        for at in 0..kinds.len() {
            // Each seed pairs the kinds otherwise.
            let (one, two) = (&kinds[at], &kinds[(at + 1 + seed as usize) % kinds.len()]);
            let join = |a: &[Fault], b: &[Fault]| [a, b].concat();
            let (of_lists, of_gets) = (join(&one.1, &two.1), join(&one.2, &two.2));
            let name = format!("{} and {}", one.0, two.0);
            plans.push((name, Weather { seed, of_lists, of_gets, percent: 25 }));
        }
    }
    let codes = sweep(plans);
    println!("runs by exit code: {}", json!(codes));
}

#[test]
fn under_every_fault_of_connections_the_day_is_right_or_what_is_missing_is_named() {
    let place = day();
    let server = place.serve();
    server.set_page_keys(2);
    run(place.s3_command(&server, LINE)).unwrap().ends(0);
    let expected = tables(&place);
    let mut codes: BTreeMap<i32, u64> = BTreeMap::new();
    for seed in seeds() {
        for mishap in
            [Mishap::Reset, Mishap::Close, Mishap::Stall, Mishap::Trickle, Mishap::Nonsense]
        {
            std::fs::remove_dir_all(place.out()).unwrap();
            std::fs::create_dir_all(place.out()).unwrap();
            let proxy = Proxy::start(server.endpoint(), mishap, seed);
            let mut command = place.s3_command(&server, LINE);
            command.env("RAWCAT_ENDPOINT_URL", proxy.endpoint());
            let ran = run(command);
            let struck = proxy.struck();
            assert!(!struck.is_empty(), "{mishap:?} of seed {seed} struck no connection");
            let kept = ran.and_then(|ran| {
                *codes.entry(ran.code).or_default() += 1;
                let kept = check(&place, &ran, &expected);
                kept.map_err(|broken| format!("{broken}\n{}{}", ran.stdout, ran.stderr))
            });
            if let Err(broken) = kept {
                let faults = struck.join("\n  ");
                panic!("{mishap:?}, RAWCAT_FAULT_SEED={seed}: {broken}\nfaults:\n  {faults}");
            }
            place.assert_clean();
        }
    }
    println!("runs by exit code: {}", json!(codes));
}

#[test]
fn credentials_that_expire_in_the_middle_are_fetched_again() {
    let place = day();
    let server = place.serve();
    let root = place.path().to_owned();
    let (config, program, calls) =
        (root.join("config"), root.join("credentials.sh"), root.join("calls"));
    // Too short a life to be kept: each request needs new ones.
    std::fs::write(
        &program,
        format!(
            "#!/bin/sh\necho called >> '{}'\nprintf '{{\"Version\":1,\"AccessKeyId\":\"%s\",\
             \"SecretAccessKey\":\"%s\",\"SessionToken\":\"t\",\"Expiration\":\"%s\"}}' {ACCESS_KEY} {SECRET_KEY} \
             \"$(date -u -d '+2 seconds' +%Y-%m-%dT%H:%M:%SZ)\"\n",
            calls.display()
        ),
    )
    .unwrap();
    std::fs::write(&config, format!("[default]\ncredential_process = sh {}\n", program.display()))
        .unwrap();
    let mut command = place.s3_command(&server, LINE);
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .env("AWS_CONFIG_FILE", &config)
        .env("AWS_SHARED_CREDENTIALS_FILE", root.join("none"));
    run(command).unwrap().ends(0);
    assert_eq!(place.manifest(DAY).records.day, 12 * 200);
    let calls = std::fs::read_to_string(calls).unwrap().lines().count();
    assert!(calls > 1, "asked for credentials {calls} times");
}
