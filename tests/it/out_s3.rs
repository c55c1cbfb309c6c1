//! `--out s3://…`: what lies in a bucket is what would lie in a folder, and who reads it never
//! meets one run's manifest beside another run's data.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use chrono::Utc;
use rawcat::publish::{
    Item, MANIFEST_VERSION, Manifest, Out, PublishError, Published, Step, Target,
};
use rawcat::store::{PutNew, S3Store, StoreError, StoreOptions, Stored};
use serde_json::Value;

use crate::place::{Place, Ran, files, ran, sample_raw, start};
use crate::s3server::{Fault, On, S3Server, Seen};

const OUT: &str = "s3://lake/days/";
const LOCK: &str = "days/.rawcat/lock";
const MANIFEST: &str = "days/manifests/2022-04-18.json";
const HOURLY: &str = "days/aggregates/hourly/local_date=2022-04-18/part-00000.parquet";
const RECORDS: &str = "days/records/local_date=2022-04-18/part-00000.parquet";
/// A small picture, which is drawn soon.
const FETCH: &str = "fetch --day 2022-04-18 --tz Asia/Seoul --by type --size 500x480 --panels 2";
const DENIED: Fault = Fault::Reply(403, "AccessDenied", "Access Denied");

/// The sample data, a server with an empty bucket `lake`, and a folder for temporary files.
struct Lake {
    place: Place,
    server: S3Server,
}

impl Lake {
    fn new() -> Lake {
        let place = Place::new();
        for folder in ["lake", "tmp"] {
            fs::create_dir(place.path().join(folder)).unwrap();
        }
        let server = place.serve();
        Lake { place, server }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = self.place.s3_command(&self.server, line);
        command.env("RAWCAT_SOURCE", sample_raw()).env("RAWCAT_OUT", OUT);
        command.env("TMPDIR", self.place.path().join("tmp"));
        command
    }

    fn run(&self, line: &str) -> Ran {
        ran(self.command(line).output().unwrap())
    }

    /// The same run with a folder as `--out`.
    fn run_on_folder(&self, line: &str) -> Ran {
        let mut command = self.place.command(line);
        ran(command.env("RAWCAT_SOURCE", sample_raw()).output().unwrap())
    }

    fn path(&self, key: &str) -> PathBuf {
        self.place.path().join("lake").join(key)
    }

    /// Every object below the prefix; manifests without what may differ from run to run.
    fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = files(&self.path("days"));
        for (path, bytes) in &mut files {
            if path.ends_with(".json") {
                let mut manifest: Value = serde_json::from_slice(bytes).unwrap();
                manifest.as_object_mut().unwrap().remove("run").unwrap();
                *bytes = manifest.to_string().into_bytes();
            }
        }
        files
    }

    #[track_caller]
    fn assert_as_in_the_folder(&self) {
        let (here, there) = (self.objects(), self.place.result());
        let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&here), names(&there));
        let differ: Vec<_> = here.keys().filter(|path| here[*path] != there[*path]).collect();
        assert!(differ.is_empty(), "{differ:?}");
    }

    /// No lock in the bucket, and nothing staged on this machine.
    #[track_caller]
    fn assert_clean(&self) {
        assert!(!self.path(LOCK).exists());
        let left = fs::read_dir(self.place.path().join("tmp")).unwrap();
        assert_eq!(left.map(|entry| entry.unwrap().path()).collect::<Vec<_>>(), [] as [PathBuf; 0]);
    }

    fn published(&self) -> Published {
        Published::at(&OUT.parse().unwrap(), &self.server.options()).unwrap()
    }

    fn store(&self, options: &StoreOptions) -> S3Store {
        S3Store::open("lake", "days/", options).unwrap()
    }
}

static NEVER: AtomicBool = AtomicBool::new(false);

/// How the large files of these tests are stored.
static PNG: LazyLock<Stored> = LazyLock::new(|| Stored::plain("image/png"));

#[test]
fn a_day_in_a_bucket_equals_the_day_in_a_folder_byte_for_byte() {
    let lake = Lake::new();
    let words = ["s3://lake/days/manifests/2022-04-18.json"];
    let out = lake.run(FETCH).ends_and_says(0, &words).stdout;
    assert!(out.contains(&format!("s3://lake/{RECORDS}")), "{out}");
    lake.run_on_folder(FETCH).ends(0);
    assert_eq!(lake.objects().len(), 6, "{:?}", lake.objects().keys());
    lake.assert_as_in_the_folder();
    lake.assert_clean();
}

#[test]
fn a_window_and_a_day_with_quarantine_are_the_same_too() {
    let lake = Lake::new();
    for (line, code) in [
        ("fetch --from 2022-04-18T06:00 --to 2022-04-18T09:30 --tz Asia/Seoul --panels 1", 0),
        ("fetch --from 2022-04-17 --to 2022-04-18 --tz Asia/Seoul --export aggregates", 3),
    ] {
        lake.run(line).ends(code);
        lake.run_on_folder(line).ends(code);
    }
    assert!(lake.objects().keys().any(|path| path.starts_with("windows/")));
    assert!(lake.objects().keys().any(|path| path.starts_with("quarantine/")));
    lake.assert_as_in_the_folder();
    lake.assert_clean();
}

#[test]
fn the_old_manifest_goes_first_and_the_new_one_comes_last() {
    let lake = Lake::new();
    lake.run(&format!("{FETCH} --every 5m")).ends(0);
    lake.server.clear_log();
    lake.run(FETCH).ends(0);
    let put = |key: &str, content_type: &str| Seen::Put {
        key: key.to_string(),
        content_type: content_type.to_string(),
        if_none_match: false,
    };
    let delete = |key: &str| Seen::Delete { key: key.to_string() };
    let lock = || Seen::Put {
        key: LOCK.to_string(),
        content_type: "text/plain; charset=utf-8".to_string(),
        if_none_match: true,
    };
    const PARQUET: &str = "application/vnd.apache.parquet";
    let wanted = [
        // The second one must be refused, or the server does not know conditions.
        lock(),
        lock(),
        delete(MANIFEST),
        put("days/aggregates/daily/local_date=2022-04-18/part-00000.parquet", PARQUET),
        put(HOURLY, PARQUET),
        put("days/charts/2022-04-18.png", "image/png"),
        put("days/charts/2022-04-18.svg", "image/svg+xml"),
        put(RECORDS, PARQUET),
        delete("days/aggregates/5m/local_date=2022-04-18/part-00000.parquet"),
        put(MANIFEST, "application/json"),
        delete(LOCK),
    ];
    assert_eq!(lake.server.writes(), wanted);
}

#[test]
fn what_an_earlier_publish_made_and_this_one_does_not_is_removed_and_nothing_else() {
    let lake = Lake::new();
    let fetch = |options: &str| lake.run(&format!("{FETCH} {options}")).ends(0);
    fetch("--every 5m");
    lake.run("fetch --day 2022-04-19 --tz Asia/Seoul --export aggregates").ends(0);
    let strange = [
        "days/records/local_date=2022-04-18/notes.txt",
        "days/aggregates/part-00000.parquet",
        "days/charts/2022-04-18.svg.old",
        "days-of-others/records/local_date=2022-04-18/part-00000.parquet",
    ];
    for key in strange {
        fs::create_dir_all(lake.path(key).parent().unwrap()).unwrap();
        fs::write(lake.path(key), "not ours").unwrap();
    }
    // A part that an interrupted run of another version may have left.
    let part = lake.path("days/records/local_date=2022-04-18/part-00001.parquet");
    fs::write(&part, "ours").unwrap();
    fetch("--export aggregates");
    let left: Vec<String> = files(&lake.path("days")).into_keys().collect();
    let wanted = [
        "aggregates/daily/local_date=2022-04-18/part-00000.parquet",
        "aggregates/daily/local_date=2022-04-19/part-00000.parquet",
        "aggregates/hourly/local_date=2022-04-18/part-00000.parquet",
        "aggregates/hourly/local_date=2022-04-19/part-00000.parquet",
        "aggregates/part-00000.parquet",
        "charts/2022-04-18.svg.old",
        "manifests/2022-04-18.json",
        "manifests/2022-04-19.json",
        "records/local_date=2022-04-18/notes.txt",
    ];
    assert_eq!(left, wanted);
    assert!(strange.iter().all(|key| lake.path(key).exists()));
}

#[test]
fn a_second_run_is_told_who_holds_the_lock_and_changes_nothing() {
    let lake = Lake::new();
    let published = lake.published();
    let first = Out::open(&published, "Asia/Seoul", Utc::now(), &NEVER).unwrap();
    lake.server.clear_log();
    let holder = format!("process {} on ", std::process::id());
    let remove = format!("`aws s3 rm s3://lake/{LOCK} --endpoint-url {}`", lake.server.endpoint());
    let words = ["is publishing to s3://lake/days/", &holder, "less than a minute ago", &remove];
    lake.run(FETCH).ends_and_says(1, &words);
    assert_eq!(lake.server.writes().len(), 1, "{:?}", lake.server.writes());
    assert!(lake.path(LOCK).exists(), "the lock is still the first one's");
    drop(first);
    lake.run(FETCH).ends(0);
    lake.assert_clean();
}

#[test]
fn the_lock_of_a_killed_run_is_shown_with_its_age_and_removed_by_a_person() {
    let lake = Lake::new();
    let lock = lake.path(LOCK);
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    fs::write(&lock, "process 7 on vm-3, started 2022-04-19T00:00:00Z\nmark\n").unwrap();
    let made = SystemTime::now() - Duration::from_secs(3 * 3600 + 5 * 60 + 20);
    fs::File::options().write(true).open(&lock).unwrap().set_modified(made).unwrap();
    let words = ["process 7 on vm-3, started 2022-04-19T00:00:00Z, 3 h 5 min ago", "aws s3 rm"];
    lake.run(FETCH).ends_and_says(1, &words);
    fs::remove_file(&lock).unwrap();
    lake.run(FETCH).ends(0);
}

#[test]
fn of_many_runs_at_once_one_holds_the_lock() {
    let lake = Lake::new();
    let published = lake.published();
    let (held, most) = (AtomicBool::new(false), std::sync::Mutex::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| match Out::open(&published, "UTC", Utc::now(), &NEVER) {
                Ok(out) => {
                    assert!(!held.swap(true, Ordering::SeqCst));
                    *most.lock().unwrap() += 1;
                    std::thread::sleep(Duration::from_millis(20));
                    held.store(false, Ordering::SeqCst);
                    drop(out);
                }
                Err(PublishError::LockedBucket { .. }) => {}
                Err(other) => panic!("{other}"),
            });
        }
    });
    assert!(*most.lock().unwrap() >= 1);
    assert!(!lake.path(LOCK).exists());
}

#[test]
fn a_lock_whose_answer_was_lost_is_known_again() {
    let lake = Lake::new();
    lake.server.fault(On::Put(LOCK.to_string()), 1, Fault::Lost);
    lake.run(FETCH).ends(0);
    let is_lock = |seen: &Seen| matches!(seen, Seen::Put { key, .. } if key == LOCK);
    assert_eq!(lake.server.writes().into_iter().filter(is_lock).count(), 2);
    lake.assert_clean();
}

#[test]
fn a_lock_that_a_person_removed_under_a_run_is_noticed_before_anything_changes() {
    let lake = Lake::new();
    let published = lake.published();
    let out = Out::open(&published, "Asia/Seoul", Utc::now(), &NEVER).unwrap();
    let other = lake.store(&lake.server.options());
    other.delete(".rawcat/lock").unwrap();
    other.put_new(".rawcat/lock", b"process 8 on vm-4, started now\n", "text/plain").unwrap();
    let target = Target::Day("2022-04-18".parse().unwrap());
    let mut manifest = Manifest::default();
    let error = out.stage(target).unwrap().publish(&mut manifest).unwrap_err();
    assert!(matches!(error, PublishError::LostLock { .. }), "{error}");
    assert!(error.to_string().contains("process 8 on vm-4"), "{error}");
    drop(out);
    assert!(lake.path(LOCK).exists(), "the other run's lock stays");
}

#[test]
fn a_server_without_conditional_puts_is_refused_clearly() {
    let lake = Lake::new();
    lake.server.ignore_conditions();
    let words = ["does not support conditional puts", "If-None-Match"];
    lake.run(FETCH).ends_and_says(1, &words);
    assert!(lake.objects().is_empty());
    lake.assert_clean();
    let lake = Lake::new();
    let fault = Fault::Reply(501, "NotImplemented", "A header implies what is not implemented");
    lake.server.fault(On::AnyPut, 1, fault);
    lake.run(FETCH).ends_and_says(1, &words);
    assert!(lake.objects().is_empty());
}

#[test]
fn a_put_that_fails_in_the_middle_leaves_no_manifest_and_the_next_run_repairs() {
    let lake = Lake::new();
    lake.run(&format!("{FETCH} --every 5m")).ends(0);
    lake.server.fault(On::Put(HOURLY.to_string()), 100, DENIED);
    let words = [
        "publishing 2022-04-18 to s3://lake/days/ did not end",
        "has no manifest there until the same command is run again",
        &format!("can't write s3://lake/{HOURLY}"),
        "s3:PutObject",
    ];
    lake.run(FETCH).ends_and_says(1, &words);
    assert!(!lake.path(MANIFEST).exists());
    lake.assert_clean();
    lake.server.clear_faults();
    lake.run(FETCH).ends(0);
    lake.run_on_folder(FETCH).ends(0);
    lake.assert_as_in_the_folder();
}

/// Publishes small texts as a day, without a run.
fn publish(published: &Published, items: &[(Item, &str)]) -> Result<(), PublishError> {
    let out = Out::open(published, "Asia/Seoul", Utc::now(), &NEVER)?;
    let mut stage = out.stage(Target::Day("2022-04-18".parse().unwrap()))?;
    for (item, text) in items {
        fs::write(stage.path(item)?, text).unwrap();
        stage.add(item, Some(1));
    }
    let mut manifest = Manifest { version: MANIFEST_VERSION, ..Manifest::default() };
    manifest.window.tz = "Asia/Seoul".to_string();
    stage.publish(&mut manifest)
}

/// Whether there is a manifest; if so, every file that it names is the one that it means.
fn has_a_manifest_that_fits(lake: &Lake) -> bool {
    let Ok(text) = fs::read_to_string(lake.path(MANIFEST)) else { return false };
    for file in Manifest::from_json(&text).unwrap().files {
        let bytes = fs::read(lake.path("days").join(&file.path)).unwrap();
        assert_eq!(format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&bytes)), file.xxh3);
    }
    true
}

#[test]
fn after_a_failure_of_any_write_a_manifest_fits_its_data_or_is_not_there() {
    let lake = Lake::new();
    let published = lake.published();
    let step = |minutes: i64| Item::Buckets(Step::new(minutes * 60_000_000));
    let old = [(Item::Records, "old"), (step(5), "old"), (Item::ChartSvg, "old")];
    let new = [(Item::Records, "new"), (step(60), "new"), (Item::ChartSvg, "new")];
    let writes = |seen: Vec<Seen>| {
        let on = seen.into_iter().filter_map(|seen| match seen {
            Seen::Put { key, .. } if key != LOCK => Some(On::Put(key)),
            Seen::Delete { key } if key != LOCK => Some(On::Delete(key)),
            _ => None,
        });
        on.collect::<Vec<On>>()
    };
    publish(&published, &old).unwrap();
    lake.server.clear_log();
    publish(&published, &new).unwrap();
    let result = lake.objects();
    let writes = writes(lake.server.writes());
    assert_eq!(writes.len(), 1 + 3 + 1 + 1, "{writes:?}");
    for (at, on) in writes.into_iter().enumerate() {
        publish(&published, &old).unwrap();
        assert!(has_a_manifest_that_fits(&lake));
        // More than once: a refusal that comes before the body was read can be lost with its
        // connection, and the request is then made again.
        lake.server.fault(on.clone(), 100, DENIED);
        let error = publish(&published, &new).unwrap_err();
        lake.server.clear_faults();
        assert!(matches!(error, PublishError::HalfPut { .. }), "{error}");
        // Where the old manifest may not even be deleted, the old day stands as it was.
        assert_eq!(has_a_manifest_that_fits(&lake), at == 0, "{on:?}");
        publish(&published, &new).unwrap();
        assert!(lake.objects() == result, "{on:?}");
    }
}

#[test]
fn what_passes_is_tried_again() {
    let lake = Lake::new();
    let slow = Fault::Reply(503, "SlowDown", "Please reduce your request rate");
    lake.server.fault(On::Put(LOCK.to_string()), 1, slow.clone());
    lake.server.fault(On::Put(RECORDS.to_string()), 2, slow);
    lake.server.fault(On::Put(HOURLY.to_string()), 1, Fault::Lost);
    lake.server.fault(
        On::Delete(MANIFEST.to_string()),
        1,
        Fault::Reply(500, "InternalError", "We encountered an internal error"),
    );
    lake.run(FETCH).ends(0);
    lake.run_on_folder(FETCH).ends(0);
    lake.assert_as_in_the_folder();
    lake.assert_clean();
}

#[test]
fn a_denied_lock_names_the_permission_and_how_to_get_it() {
    let lake = Lake::new();
    lake.server.fault(On::AnyPut, 100, DENIED);
    let words = ["can't write s3://lake/days/.rawcat/lock", "s3:PutObject", "rawcat policy"];
    lake.run(FETCH).ends_and_says(1, &words);
    let mut command = lake.command(FETCH);
    command.env("RAWCAT_OUT", "s3://no-such-bucket/x/");
    lake.server.clear_faults();
    ran(command.output().unwrap()).ends_and_says(1, &["bucket no-such-bucket does not exist"]);
}

#[test]
fn a_bucket_holds_days_of_one_zone() {
    let lake = Lake::new();
    lake.run("fetch --from 2022-04-18T06:00 --to 2022-04-18T07:00 --tz Asia/Seoul").ends(0);
    let other = "fetch --day 2022-04-18 --tz UTC";
    let words = ["s3://lake/days/ holds days of Asia/Seoul and this run is for UTC"];
    lake.run(other).ends_and_says(2, &words);
    lake.run(FETCH).ends(0);
    lake.run(other).ends_and_says(2, &words);
    lake.assert_clean();
}

#[test]
fn an_incomplete_run_leaves_a_day_of_a_bucket_as_it_was_until_it_is_accepted() {
    let lake = Lake::new();
    let place = Place::with_sample();
    let run = |line: &str| {
        let mut command = lake.command(line);
        ran(command.env("RAWCAT_SOURCE", place.raw()).output().unwrap())
    };
    run(FETCH).ends(0);
    let before = lake.objects();
    // A link to nowhere can be listed and not read.
    let keys = files(&place.raw()).into_keys().find(|key| key.starts_with("2022/04/18/03/"));
    let path = place.raw().join(keys.unwrap());
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/nowhere", &path).unwrap();
    run(FETCH).ends_and_says(3, &["--accept-incomplete"]);
    assert_eq!(lake.objects(), before);
    run(&format!("{FETCH} --accept-incomplete")).ends(3);
    assert_ne!(lake.objects(), before);
    lake.assert_clean();
}

#[test]
fn charts_are_drawn_from_a_bucket_as_from_a_folder() {
    let lake = Lake::new();
    for line in [
        "fetch --from 2022-04-18 --to 2022-04-19 --tz Asia/Seoul --export aggregates",
        "chart --day 2022-04-18 --tz Asia/Seoul --size 500x480 --panels 2",
        "chart --from 2022-04-18 --to 2022-04-19 --tz Asia/Seoul --size 500x480 --panels 1",
        "chart --day 2022-04-18 --tz Asia/Seoul --term --width 80",
    ] {
        let here = lake.run(line).ends(0).stdout;
        let there = lake.run_on_folder(line).ends(0).stdout;
        if line.starts_with("chart") {
            let out = lake.place.out();
            assert_eq!(here, there.replace(&format!("{}/", out.display()), OUT), "{line}");
        }
    }
    assert!(lake.path("days/charts/2022-04-18_2022-04-19.svg").exists());
    lake.assert_as_in_the_folder();
    lake.assert_clean();
    let words = ["2022-04-20 is not published in s3://lake/days/"];
    lake.run("chart --day 2022-04-20 --tz Asia/Seoul").ends_and_says(2, &words);
    let words = ["2022-04-18 has no buckets of 5m"];
    lake.run("chart --day 2022-04-18 --tz Asia/Seoul --every 5m").ends_and_says(2, &words);
    lake.assert_clean();
}

/// Starts a run whose records take a minute to put, and waits until they are being put.
fn start_and_wait_for_the_records(lake: &Lake) -> Child {
    lake.server.clear_log();
    lake.server.fault(On::Put(RECORDS.to_string()), 100, Fault::Delay(Duration::from_secs(60)));
    let mut child = start(lake.command(FETCH));
    let begin = Instant::now();
    let is_sent = |seen: &Seen| matches!(seen, Seen::Put { key, .. } if key == RECORDS);
    while !lake.server.log().iter().any(is_sent) && child.try_wait().unwrap().is_none() {
        assert!(begin.elapsed() < Duration::from_secs(60), "the records are never put");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

#[test]
fn an_interrupt_in_the_middle_of_an_upload_ends_in_time_and_leaves_no_lock() {
    let lake = Lake::new();
    let child = start_and_wait_for_the_records(&lake);
    let interrupted = Instant::now();
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    ran(child.wait_with_output().unwrap()).ends_and_says(130, &["interrupted"]);
    assert!(interrupted.elapsed() < Duration::from_secs(2), "{:?}", interrupted.elapsed());
    assert!(!lake.path(MANIFEST).exists());
    lake.assert_clean();
}

#[test]
fn a_run_that_is_killed_leaves_its_lock_and_the_next_one_repairs_the_rest() {
    let lake = Lake::new();
    lake.run(&format!("{FETCH} --every 5m")).ends(0);
    let mut child = start_and_wait_for_the_records(&lake);
    let holder = format!("process {} on ", child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    lake.server.clear_faults();
    assert!(!lake.path(MANIFEST).exists());
    lake.run(FETCH).ends_and_says(1, &[&holder, "less than a minute ago", "aws s3 rm"]);
    lake.store(&lake.server.options()).delete(".rawcat/lock").unwrap();
    lake.run(FETCH).ends(0);
    lake.run_on_folder(FETCH).ends(0);
    lake.assert_as_in_the_folder();
    // What the killed run had staged on this machine is gone too.
    lake.assert_clean();
}

// ---- the store's writing side ----

/// Bytes that are not the same anywhere.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(bytes);
    out
}

/// Parts of 5 MiB, the least that S3 takes.
fn in_parts(lake: &Lake) -> S3Store {
    let mut options = lake.server.options();
    (options.put_bytes, options.part_bytes) = (5 << 20, 5 << 20);
    lake.store(&options)
}

fn large_file(lake: &Lake) -> (PathBuf, Vec<u8>) {
    let (path, bytes) = (lake.place.path().join("large"), noise((12 << 20) + 345));
    fs::write(&path, &bytes).unwrap();
    (path, bytes)
}

fn uploads_left(lake: &Lake) -> usize {
    let entries = fs::read_dir(lake.place.path()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.contains("upload")).count()
}

#[test]
fn a_large_file_goes_in_parts_and_a_small_one_by_one_put() {
    let lake = Lake::new();
    let (path, bytes) = large_file(&lake);
    in_parts(&lake).put_file("large", &path, &PNG, &NEVER).unwrap();
    assert!(fs::read(lake.path("days/large")).unwrap() == bytes);
    let mut writes = lake.server.writes();
    let key = || "days/large".to_string();
    let created = Seen::CreateUpload { key: key(), content_type: "image/png".to_string() };
    assert_eq!(writes.remove(0), created);
    assert_eq!(writes.pop(), Some(Seen::CompleteUpload { key: key() }));
    writes.sort_by_key(|seen| match seen {
        Seen::UploadPart { number, .. } => *number,
        _ => 0,
    });
    let parts = [1, 2, 3].map(|number| Seen::UploadPart { key: key(), number });
    assert_eq!(writes, parts);
    assert_eq!(uploads_left(&lake), 0);

    lake.server.clear_log();
    lake.store(&lake.server.options()).put_file("large", &path, &PNG, &NEVER).unwrap();
    assert_eq!(lake.server.writes().len(), 1);
    assert!(fs::read(lake.path("days/large")).unwrap() == bytes);
    fs::write(&path, "").unwrap();
    lake.store(&lake.server.options()).put_file("empty", &path, &PNG, &NEVER).unwrap();
    assert_eq!(fs::read(lake.path("days/empty")).unwrap(), b"");
}

#[test]
fn a_part_that_fails_is_sent_again_alone() {
    let lake = Lake::new();
    let (path, bytes) = large_file(&lake);
    let slow = Fault::Reply(503, "SlowDown", "Please reduce your request rate");
    lake.server.fault(On::Part("days/large".to_string(), 2), 2, slow);
    lake.server.fault(On::Part("days/large".to_string(), 3), 1, Fault::Lost);
    in_parts(&lake).put_file("large", &path, &PNG, &NEVER).unwrap();
    assert!(fs::read(lake.path("days/large")).unwrap() == bytes);
    assert_eq!(lake.server.writes().len(), 1 + 3 + 3 + 1);
}

#[test]
fn an_upload_in_parts_that_fails_is_taken_back_and_the_old_object_stays() {
    let lake = Lake::new();
    let (path, _) = large_file(&lake);
    fs::create_dir_all(lake.path("days")).unwrap();
    fs::write(lake.path("days/large"), "old").unwrap();
    lake.server.fault(On::Part("days/large".to_string(), 3), 100, DENIED);
    let error = in_parts(&lake).put_file("large", &path, &PNG, &NEVER).unwrap_err();
    assert_eq!(error.kind(), "denied");
    assert!(error.to_string().contains("s3:PutObject"), "{error}");
    assert_eq!(lake.server.writes().last(), Some(&Seen::AbortUpload { key: "days/large".into() }));
    assert_eq!(uploads_left(&lake), 0);
    assert_eq!(fs::read(lake.path("days/large")).unwrap(), b"old");
}

#[test]
fn an_upload_in_parts_that_is_interrupted_is_taken_back() {
    let lake = Lake::new();
    let (path, _) = large_file(&lake);
    let on = On::Part("days/large".to_string(), 2);
    lake.server.fault(on, 1, Fault::Delay(Duration::from_secs(60)));
    let interrupted = AtomicBool::new(false);
    let error = std::thread::scope(|scope| {
        scope.spawn(|| {
            let is_part = |seen: &Seen| matches!(seen, Seen::UploadPart { number: 2, .. });
            while !lake.server.log().iter().any(is_part) {
                std::thread::sleep(Duration::from_millis(5));
            }
            interrupted.store(true, Ordering::SeqCst);
        });
        in_parts(&lake).put_file("large", &path, &PNG, &interrupted).unwrap_err()
    });
    assert!(matches!(error, StoreError::Stopped { .. }), "{error}");
    assert_eq!(lake.server.writes().last(), Some(&Seen::AbortUpload { key: "days/large".into() }));
    assert!(!lake.path("days/large").exists());
}

#[test]
fn a_slow_upload_is_not_a_stalled_one_and_a_stalled_one_is_tried_again() {
    let lake = Lake::new();
    let path = lake.place.path().join("small");
    fs::write(&path, "small").unwrap();
    let mut options = lake.server.options();
    options.stall_timeout = Duration::from_millis(400);
    let store = lake.store(&options);
    // The server thinks for longer than the stall timeout, and less than twice that.
    let on = || On::Put("days/small".to_string());
    lake.server.fault(on(), 1, Fault::Delay(Duration::from_millis(600)));
    store.put_file("small", &path, &PNG, &NEVER).unwrap();
    assert_eq!(lake.server.writes().len(), 1);
    lake.server.fault(on(), 1, Fault::Delay(Duration::from_secs(60)));
    store.put_file("small", &path, &PNG, &NEVER).unwrap();
    assert_eq!(lake.server.writes().len(), 3);
    // A body that stands still is noticed long before the time that so many bytes may take.
    let (path, bytes) = large_file(&lake);
    let on = On::Put("days/large".to_string());
    lake.server.fault(on, 1, Fault::Delay(Duration::from_secs(60)));
    let begin = Instant::now();
    store.put_file("large", &path, &PNG, &NEVER).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert_eq!(lake.server.writes().len(), 5);
    assert!(fs::read(lake.path("days/large")).unwrap() == bytes);
}

#[test]
fn a_new_object_is_made_once() {
    let lake = Lake::new();
    let store = lake.store(&lake.server.options());
    let put = |text: &str| store.put_new("one", text.as_bytes(), "text/plain").unwrap();
    assert_eq!([put("first"), put("second")], [PutNew::Made, PutNew::Exists]);
    assert_eq!(fs::read(lake.path("days/one")).unwrap(), b"first");
    store.delete("one").unwrap();
    store.delete("one").unwrap();
    assert_eq!(put("third"), PutNew::Made);
}

#[test]
fn the_policy_allows_what_publishing_asks_for_and_nothing_more() {
    let lake = Lake::new();
    lake.run(&format!("{FETCH} --every 5m")).ends(0);
    lake.run(FETCH).ends(0);
    lake.run("chart --day 2022-04-18 --tz Asia/Seoul --size 500x480 --panels 1").ends(0);
    let (path, _) = large_file(&lake);
    let store = in_parts(&lake);
    store.put_file("large", &path, &PNG, &NEVER).unwrap();
    lake.server.fault(On::Part("days/large".to_string(), 3), 100, DENIED);
    store.put_file("large", &path, &PNG, &NEVER).unwrap_err();

    let asked: BTreeSet<&str> = lake
        .server
        .log()
        .iter()
        .map(|seen| match seen {
            Seen::List { prefix, .. } => {
                assert!(prefix.starts_with("days/"), "{prefix}");
                "s3:ListBucket"
            }
            Seen::Get { .. } => "s3:GetObject",
            Seen::Delete { .. } => "s3:DeleteObject",
            Seen::AbortUpload { .. } => "s3:AbortMultipartUpload",
            // S3 knows one permission for a put and for all that makes an upload in parts.
            Seen::Put { .. }
            | Seen::CreateUpload { .. }
            | Seen::UploadPart { .. }
            | Seen::CompleteUpload { .. } => "s3:PutObject",
        })
        .collect();
    let policy = lake.run("policy").ends(0).stdout;
    let policy: Value = serde_json::from_str(&policy).unwrap();
    let actions = policy["Statement"].as_array().unwrap().iter();
    let actions = actions.flat_map(|statement| statement["Action"].as_array().unwrap());
    let allowed: BTreeSet<&str> = actions.map(|action| action.as_str().unwrap()).collect();
    assert_eq!(asked, allowed);
}
