//! The store, as one suite that every kind of source has to pass, and what only S3 can do wrong.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rawcat::store::{
    AccessKeys, Body, Content, Fetch, FetchLimits, ObjectMeta, SourceUrl, Store, StoreError,
    StoreOptions,
};

use crate::s3server::{Fault, On, S3Server, Seen};

/// Objects on disk, below `bucket/raw/`, and both ways to them.
struct Place {
    root: tempfile::TempDir,
    server: S3Server,
}

impl Place {
    fn new<K: AsRef<str>, B: AsRef<[u8]>>(content: &[(K, B)]) -> Place {
        let root = tempfile::tempdir().unwrap();
        let server = S3Server::start(root.path());
        let place = Place { root, server };
        fs::create_dir_all(place.folder()).unwrap();
        for (key, bytes) in content {
            place.write(key.as_ref(), bytes.as_ref());
        }
        place
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join("bucket").join("raw")
    }

    fn write(&self, key: &str, bytes: &[u8]) {
        let path = self.folder().join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn s3(&self) -> Store {
        self.s3_with(&self.server.options())
    }

    fn s3_with(&self, options: &StoreOptions) -> Store {
        Store::open(&"s3://bucket/raw/".parse().unwrap(), options).unwrap()
    }

    fn on_disk(&self) -> Store {
        Store::open(&SourceUrl::Folder(self.folder()), &StoreOptions::default()).unwrap()
    }
}

/// Runs a test of the suite on each kind of source.
fn on_each<K: AsRef<str>, B: AsRef<[u8]>>(content: &[(K, B)], test: impl Fn(&Store, &Place)) {
    let place = Place::new(content);
    println!("on a folder");
    test(&place.on_disk(), &place);
    let place = Place::new(content);
    println!("on S3");
    test(&place.s3(), &place);
}

fn list(store: &Store, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
    let mut listings = store.list(&[prefix.to_string()], &|_| {});
    Ok(listings.remove(0)?.objects)
}

fn keys(store: &Store, prefix: &str) -> Vec<String> {
    let objects = list(store, prefix).unwrap();
    objects.into_iter().map(|object| object.key).collect()
}

fn read(body: Body) -> Result<Vec<u8>, StoreError> {
    let (content, _permit) = body.into_parts();
    match content {
        Content::Whole(bytes) => Ok(bytes),
        Content::Stream(mut stream) => {
            let mut bytes = Vec::new();
            match stream.read_to_end(&mut bytes) {
                Ok(_) => Ok(bytes),
                Err(error) => Err(StoreError::from_read(error, "stream")),
            }
        }
    }
}

fn get(store: &Store, object: &ObjectMeta) -> Result<Vec<u8>, StoreError> {
    read(store.get(object)?)
}

/// Bytes that are not the same anywhere.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
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

fn small_objects(count: usize) -> Vec<(String, Vec<u8>)> {
    let object = |n: usize| (format!("h/{n:05}"), noise(100 + n % 50, n as u64));
    (0..count).map(object).collect()
}

fn limits(whole_bytes: u64) -> FetchLimits {
    FetchLimits { whole_bytes, ..FetchLimits::default() }
}

// ---- the suite ----

#[test]
fn more_keys_than_a_page_are_listed_whole_and_in_order() {
    let content: Vec<(String, &str)> = (0..2_345).map(|n| (format!("2022/04/{n}"), "x")).collect();
    on_each(&content, |store, _| {
        let mut want: Vec<String> = content.iter().map(|(key, _)| key.clone()).collect();
        want.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        assert_eq!(keys(store, "2022/04/"), want);
        assert_eq!(keys(store, ""), want);
    });
}

#[test]
fn keys_keep_every_character() {
    let content = [
        ("h/a b.gz", "space"),
        ("h/a+b.gz", "plus"),
        ("h/a%20b%2Fc.gz", "percent"),
        ("h/한국어/이름 1.gz", "korean"),
        ("h/#?&=;:,'\"<>[]{}|^`~!@$*()", "signs"),
        ("h/.hidden", "hidden"),
        ("h/emoji-🎈", "emoji"),
        ("h/tail.", "dot"),
    ];
    on_each(&content, |store, _| {
        let objects = list(store, "h/").unwrap();
        let read: BTreeMap<String, String> = objects
            .iter()
            .map(|object| {
                let bytes = get(store, object).unwrap();
                (object.key.clone(), String::from_utf8(bytes).unwrap())
            })
            .collect();
        let want = content.map(|(key, text)| (key.to_string(), text.to_string()));
        assert_eq!(read, BTreeMap::from(want));
        assert_eq!(keys(store, "h/한국어/"), ["h/한국어/이름 1.gz"]);
        assert_eq!(keys(store, "h/a%20").len(), 1);
        assert_eq!(keys(store, "h/a+").len(), 1);
    });
}

#[test]
fn a_prefix_without_objects_is_an_empty_listing() {
    on_each(&[("2022/04/a", "x")], |store, _| {
        for prefix in ["2022/05/", "2022/04/a/", "2023", "2022/04/b", "한/", "a//b"] {
            let listing = store.list(&[prefix.to_string()], &|_| {}).remove(0).unwrap();
            assert!(listing.objects.is_empty(), "{prefix}");
            assert!(listing.unreadable.is_empty(), "{prefix}");
        }
    });
}

#[test]
fn a_prefix_need_not_end_at_a_slash() {
    let content = [
        ("legacy2022/07/a", "1"),
        ("legacy2022/08/b", "2"),
        ("legacy2023/01/c", "3"),
        ("other/d", "4"),
    ];
    on_each(&content, |store, _| {
        assert_eq!(keys(store, "legacy2022/").len(), 2);
        assert_eq!(keys(store, "legacy2"), content[..3].iter().map(|c| c.0).collect::<Vec<_>>());
        assert_eq!(keys(store, "legacy2022/07/a"), ["legacy2022/07/a"]);
    });
}

#[test]
fn listings_come_one_a_prefix_in_the_order_asked() {
    let content: Vec<(String, &str)> =
        (0..60).map(|n| (format!("{:02}/k{n}", n % 30), "x")).collect();
    on_each(&content, |store, _| {
        let prefixes: Vec<String> = (0..40).rev().map(|n| format!("{n:02}/")).collect();
        let most = AtomicUsize::new(0);
        let listings = store.list(&prefixes, &|found| {
            assert!(found >= most.swap(found, Ordering::Relaxed), "progress went back");
        });
        assert_eq!(most.load(Ordering::Relaxed), 60);
        assert_eq!(listings.len(), prefixes.len());
        for (prefix, listing) in prefixes.iter().zip(listings) {
            let objects = listing.unwrap().objects;
            assert_eq!(objects.len(), if prefix.as_str() < "30/" { 2 } else { 0 });
            assert!(objects.iter().all(|object| object.key.starts_with(prefix)));
        }
    });
}

#[test]
fn metadata_says_size_and_time() {
    on_each(&[("h/a", "12345"), ("h/empty", "")], |store, place| {
        let objects = list(store, "h/").unwrap();
        assert_eq!((objects[0].bytes, objects[1].bytes), (5, 0));
        let on_disk = fs::metadata(place.folder().join("h/a")).unwrap().modified().unwrap();
        let on_disk = chrono::DateTime::<chrono::Utc>::from(on_disk);
        let listed = objects[0].last_modified_utc.unwrap();
        assert!((on_disk - listed).num_seconds().abs() <= 1);
        assert!(objects.iter().all(|object| !object.archived));
        assert_eq!(objects[0].etag.is_some(), matches!(store, Store::S3(_)));
    });
}

#[test]
fn folders_are_those_directly_below_that_hold_objects() {
    let content = [
        ("2022/03/31/a", "1"),
        ("2022/04/17/b", "2"),
        ("2022/04/18/c", "3"),
        ("2022/note", "4"),
        ("2023/01/01/d", "5"),
    ];
    on_each(&content, |store, place| {
        fs::create_dir_all(place.folder().join("2024/empty/deep")).unwrap();
        assert_eq!(store.folders("").unwrap(), ["2022/", "2023/"]);
        assert_eq!(store.folders("2022/").unwrap(), ["2022/03/", "2022/04/"]);
        assert_eq!(store.folders("2022/0").unwrap(), ["2022/03/", "2022/04/"]);
        assert_eq!(store.folders("2022/04/1").unwrap(), ["2022/04/17/", "2022/04/18/"]);
        assert_eq!(store.folders("2022/04/18/").unwrap(), [""; 0]);
        assert_eq!(store.folders("nowhere/").unwrap(), [""; 0]);
    });
}

#[test]
fn bodies_are_the_same_whole_and_streamed() {
    let sizes = [0, 1, 99, 100, 101, 5_000, 300_000, 9_000_000];
    let content: Vec<(String, Vec<u8>)> =
        sizes.iter().map(|&size| (format!("h/{size:08}"), noise(size, size as u64))).collect();
    on_each(&content, |store, _| {
        let objects: Arc<[ObjectMeta]> = list(store, "h/").unwrap().into();
        for whole_bytes in [100, 64 << 20] {
            let fetch = store.fetch(Arc::clone(&objects), limits(whole_bytes));
            for (want, (_, bytes)) in content.iter().enumerate() {
                let (index, body) = fetch.next().unwrap();
                let body = body.unwrap();
                assert_eq!(index, want);
                assert_eq!(body.bytes, bytes.len() as u64);
                let whole = matches!(body.content, Content::Whole(_));
                // Files above 1 MiB are read block by block in any case.
                let most = if matches!(store, Store::Folder(_)) { 1 << 20 } else { u64::MAX };
                assert_eq!(whole, body.bytes <= whole_bytes.min(most));
                assert!(read(body).unwrap() == *bytes, "{} bytes", bytes.len());
            }
            assert!(fetch.next().is_none());
            assert!(fetch.next().is_none());
        }
    });
}

#[test]
fn a_whole_body_is_not_larger_than_its_buffer_needs() {
    on_each(&[("h/a", noise(100_000, 1))], |store, _| {
        let object = list(store, "h/").unwrap().remove(0);
        let Content::Whole(bytes) = store.get(&object).unwrap().content else {
            panic!("100 kB come whole");
        };
        assert!(bytes.capacity() <= 100_001, "{}", bytes.capacity());
    });
}

#[test]
fn each_body_comes_once_whoever_pulls() {
    let content = small_objects(500);
    on_each(&content, |store, _| {
        let objects: Arc<[ObjectMeta]> = list(store, "h/").unwrap().into();
        let fetch = store.fetch(objects, FetchLimits::default());
        let seen = Mutex::new(vec![0; content.len()]);
        std::thread::scope(|scope| {
            for _ in 0..5 {
                scope.spawn(|| {
                    let mut last = None;
                    while let Some((index, body)) = fetch.next() {
                        assert!(last < Some(index), "indices rise for each thread");
                        last = Some(index);
                        assert!(read(body.unwrap()).unwrap() == content[index].1);
                        seen.lock().unwrap()[index] += 1;
                    }
                });
            }
        });
        assert!(seen.into_inner().unwrap().iter().all(|&times| times == 1));
    });
}

#[test]
fn bodies_held_by_many_threads_never_pass_the_bound() {
    let content: Vec<(String, Vec<u8>)> =
        (0..120).map(|n| (format!("h/{n:03}"), noise(20_000 + n * 700, n as u64))).collect();
    on_each(&content, |store, _| {
        let objects: Arc<[ObjectMeta]> = list(store, "h/").unwrap().into();
        let bound = 400 << 10;
        let fetch =
            store.fetch(objects, FetchLimits { bytes_in_flight: bound, ..FetchLimits::default() });
        let (held, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| {
                    while let Some((_, body)) = fetch.next() {
                        let body = body.unwrap();
                        let now = held.fetch_add(body.bytes, Ordering::SeqCst) + body.bytes;
                        most.fetch_max(now, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(2));
                        held.fetch_sub(body.bytes, Ordering::SeqCst);
                    }
                });
            }
        });
        let most = most.load(Ordering::SeqCst);
        println!("most held at a time: {most} of {bound}");
        assert!(most <= bound && most > bound / 4, "{most}");
    });
}

#[test]
fn an_object_larger_than_the_bound_is_read_alone() {
    let content: Vec<(String, Vec<u8>)> =
        (0..4).map(|n| (format!("h/{n}"), noise(50_000, n as u64))).collect();
    on_each(&content, |store, _| {
        let objects: Arc<[ObjectMeta]> = list(store, "h/").unwrap().into();
        let tight = FetchLimits { bytes_in_flight: 10_000, ..FetchLimits::default() };
        let fetch = store.fetch(objects, tight);
        for (_, bytes) in &content {
            assert!(read(fetch.next().unwrap().1.unwrap()).unwrap() == *bytes);
        }
        assert!(fetch.next().is_none());
    });
}

#[test]
fn an_object_that_is_gone_is_named_and_the_others_come() {
    on_each(&small_objects(5), |store, place| {
        let objects: Arc<[ObjectMeta]> = list(store, "h/").unwrap().into();
        fs::remove_file(place.folder().join("h/00002")).unwrap();
        let fetch = store.fetch(objects, FetchLimits::default());
        let mut kinds = Vec::new();
        while let Some((_, body)) = fetch.next() {
            kinds.push(body.map_or_else(|error| error.kind(), |_| "ok"));
        }
        assert_eq!(kinds, ["ok", "ok", "gone", "ok", "ok"]);
    });
}

#[test]
fn an_object_that_changed_since_it_was_listed_is_named() {
    on_each(&[("h/a", "one"), ("h/b", "two")], |store, place| {
        let objects = list(store, "h/").unwrap();
        place.write("h/a", b"longer");
        match get(store, &objects[0]).unwrap_err() {
            StoreError::Changed { key, .. } => assert_eq!(key, "h/a"),
            other => panic!("{other}"),
        }
        let again = list(store, "h/").unwrap();
        assert_eq!(get(store, &again[0]).unwrap(), b"longer");
        assert_eq!(get(store, &objects[1]).unwrap(), b"two");
    });
}

#[test]
fn cancelling_wakes_everyone_at_once() {
    let content: Vec<(String, Vec<u8>)> =
        (0..50).map(|n| (format!("h/{n:02}"), noise(50_000, n as u64))).collect();
    on_each(&content, |store, _| {
        let objects: Arc<[ObjectMeta]> = list(store, "h/").unwrap().into();
        let tight = FetchLimits { bytes_in_flight: 60_000, ..FetchLimits::default() };
        let fetch = store.fetch(objects, tight);
        // Held, so that those who pull have to wait.
        let _held = fetch.next().unwrap().1.unwrap();
        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| while fetch.next().is_some() {});
            }
            std::thread::sleep(Duration::from_millis(50));
            fetch.cancel();
        });
        assert!(began.elapsed() < Duration::from_secs(1));
        assert!(fetch.next().is_none());
    });
}

#[test]
fn the_store_may_go_before_its_bodies_are_read() {
    let content = small_objects(40);
    let place = Place::new(&content);
    for store in [place.on_disk(), place.s3()] {
        let objects: Arc<[ObjectMeta]> = list(&store, "h/").unwrap().into();
        let fetch: Fetch = store.fetch(objects, FetchLimits::default());
        drop(store);
        for (_, bytes) in &content {
            assert!(read(fetch.next().unwrap().1.unwrap()).unwrap() == *bytes);
        }
    }
}

#[test]
fn a_folder_starts_no_threads() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let threads = || fs::read_dir("/proc/self/task").unwrap().count();
    // The server has threads of its own, so this one test works without it.
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("a"), "x").unwrap();
    let before = threads();
    let store = Store::open(&SourceUrl::Folder(root.path().into()), &StoreOptions::default());
    let store = store.unwrap();
    let objects: Arc<[ObjectMeta]> = list(&store, "").unwrap().into();
    let fetch = store.fetch(objects, FetchLimits::default());
    assert_eq!(read(fetch.next().unwrap().1.unwrap()).unwrap(), b"x");
    assert_eq!(threads(), before);
}

// ---- S3: what is asked of the server ----

#[test]
fn bytes_asked_of_the_server_stay_in_the_bound() {
    let content: Vec<(String, Vec<u8>)> =
        (0..60).map(|n| (format!("h/{n:02}"), noise(100_000, n as u64))).collect();
    let place = Place::new(&content);
    let store = place.s3();
    let objects: Arc<[ObjectMeta]> = list(&store, "h/").unwrap().into();
    let bound = 1 << 20;
    let bounded = FetchLimits { bytes_in_flight: bound, ..FetchLimits::default() };
    let fetch = store.fetch(objects, bounded);
    let mut dropped = 0;
    let mut most = 0;
    while let Some((_, body)) = fetch.next() {
        let body = body.unwrap();
        // Long enough for everything that is allowed to be asked for.
        std::thread::sleep(Duration::from_millis(5));
        most = most.max(place.server.asked_bytes() - dropped);
        dropped += body.bytes;
        drop(body);
    }
    println!("most bytes asked for and not dropped: {most} of {bound}");
    assert!(most <= bound && most > bound * 3 / 4, "{most}");
    assert_eq!(place.server.asked_bytes(), 6_000_000);
}

/// The most bytes that the kernel gives to one end of a connection.
fn socket_buffer(name: &str) -> usize {
    let sizes = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap_or_default();
    sizes.split_whitespace().last().and_then(|most| most.parse().ok()).unwrap_or(16 << 20)
}

#[test]
fn a_stream_is_read_ahead_by_its_window_and_no_more() {
    // 8 MiB in the window; the rest are buffers of the kernel on both ends of the connection.
    let most = (10 << 20) + socket_buffer("tcp_wmem") + socket_buffer("tcp_rmem");
    let size = most * 3 / 2;
    let bytes = noise(size, 1);
    let place = Place::new(&[("h/big", &bytes)]);
    let store = place.s3();
    let objects: Arc<[ObjectMeta]> = list(&store, "h/").unwrap().into();
    let fetch = store.fetch(objects, limits(1 << 20));
    let Content::Stream(mut stream) = fetch.next().unwrap().1.unwrap().content else {
        panic!("an object above a limit of 1 MiB are a stream");
    };
    let mut first = [0; 1000];
    stream.read_exact(&mut first).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let sent = place.server.sent_bytes();
    println!("sent without a reader: {sent} of {size}");
    assert!((8 << 20..most as u64).contains(&sent), "{sent}");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(first == bytes[..1000] && rest == bytes[1000..]);
}

#[test]
fn requests_at_a_time_are_many_and_bounded() {
    let place = Place::new(&small_objects(200));
    let store = place.s3();
    let objects: Arc<[ObjectMeta]> = list(&store, "h/").unwrap().into();
    let delay = Fault::Delay(Duration::from_millis(10));
    place.server.fault(On::AnyGet, 200, delay);
    let eight = FetchLimits { requests: 8, ..FetchLimits::default() };
    let fetch = store.fetch(objects, eight);
    while let Some((_, body)) = fetch.next() {
        body.unwrap();
    }
    let most = place.server.most_busy_gets();
    println!("at most {most} at a time over {} connections", place.server.connections());
    assert!((4..=8).contains(&most), "{most}");
    // Connections are kept and used again.
    assert!(place.server.connections() <= 50);
}

#[test]
fn dropping_a_fetch_stops_asking() {
    let place = Place::new(&small_objects(400));
    let store = place.s3();
    let objects: Arc<[ObjectMeta]> = list(&store, "h/").unwrap().into();
    let fetch = store.fetch(objects, FetchLimits::default());
    fetch.next().unwrap().1.unwrap();
    drop(fetch);
    std::thread::sleep(Duration::from_millis(50));
    let gets = place.server.gets();
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(place.server.gets(), gets);
    assert!(gets < 120, "{gets}");
}

#[test]
fn pages_are_followed_by_their_tokens() {
    let place = Place::new(&small_objects(25));
    place.server.set_page_keys(10);
    let store = place.s3();
    let listing = store.list(&["h/".to_string()], &|_| {}).remove(0).unwrap();
    assert_eq!((listing.objects.len(), listing.requests), (25, 3));
    let tokens: Vec<bool> = place
        .server
        .log()
        .iter()
        .map(|seen| matches!(seen, Seen::List { token: Some(_), .. }))
        .collect();
    assert_eq!(tokens, [false, true, true]);
}

#[test]
fn a_server_that_does_not_sort_is_sorted_after() {
    let place = Place::new(&small_objects(25));
    place.server.fault(On::AnyList, 1, Fault::Unsorted);
    let found = keys(&place.s3(), "h/");
    assert!(found.is_sorted() && found.len() == 25, "{found:?}");
}

#[test]
fn a_listing_that_was_cut_short_is_never_the_whole() {
    let place = Place::new(&small_objects(25));
    place.server.set_page_keys(10);
    let store = place.s3();
    for fault in [Fault::TruncatedWithoutToken, Fault::SameToken] {
        place.server.fault(On::AnyList, 9, fault.clone());
        let error = list(&store, "h/").unwrap_err();
        assert_eq!(error.kind(), "broken_listing", "{fault:?}: {error}");
        place.server.clear_faults();
    }
    assert_eq!(list(&store, "h/").unwrap().len(), 25);
}

#[test]
fn gets_say_which_version_they_mean() {
    let place = Place::new(&[("h/a", "x")]);
    let store = place.s3();
    let object = list(&store, "h/").unwrap().remove(0);
    get(&store, &object).unwrap();
    let want = Seen::Get { key: "raw/h/a".to_string(), from_byte: 0, if_match: true };
    assert_eq!(place.server.log().last(), Some(&want));
}

#[test]
fn payer_and_region_reach_the_server() {
    let place = Place::new(&[("h/a", "x")]);
    let mut options = place.server.options();
    options.region = Some("ap-northeast-2".to_string());
    options.request_payer = true;
    let store = place.s3_with(&options);
    let object = list(&store, "h/").unwrap().remove(0);
    get(&store, &object).unwrap();
    assert_eq!(place.server.payers(), 2);
    assert_eq!(place.server.regions_seen(), ["ap-northeast-2"; 2]);
}

#[test]
fn stopping_ends_what_is_under_way_and_what_comes_later() {
    let place = Place::new(&small_objects(30));
    let store = place.s3();
    let objects: Arc<[ObjectMeta]> = list(&store, "h/").unwrap().into();
    let slow = Fault::Delay(Duration::from_secs(30));
    place.server.fault(On::AnyGet, 99, slow.clone());
    place.server.fault(On::AnyList, 99, slow);
    let fetch = store.fetch(Arc::clone(&objects), FetchLimits::default());
    let began = Instant::now();
    std::thread::scope(|scope| {
        let listing = scope.spawn(|| list(&store, "h/"));
        let folders = scope.spawn(|| store.folders(""));
        let single = scope.spawn(|| get(&store, &objects[0]));
        let pulled = scope.spawn(|| fetch.next());
        std::thread::sleep(Duration::from_millis(200));
        store.stop();
        assert_eq!(listing.join().unwrap().unwrap_err().kind(), "stopped");
        assert_eq!(folders.join().unwrap().unwrap_err().kind(), "stopped");
        assert_eq!(single.join().unwrap().unwrap_err().kind(), "stopped");
        let (index, body) = pulled.join().unwrap().unwrap();
        assert_eq!((index, body.unwrap_err().kind()), (0, "stopped"));
    });
    assert!(began.elapsed() < Duration::from_secs(2));
    assert_eq!(list(&store, "h/").unwrap_err().kind(), "stopped");
    assert_eq!(get(&store, &objects[1]).unwrap_err().kind(), "stopped");
}

// ---- S3: what passes if one tries again ----

#[test]
fn busy_and_failing_servers_are_asked_again() {
    let place = Place::new(&[("h/a", "hello")]);
    let store = place.s3();
    for (status, code) in [
        (503, "SlowDown"),
        (503, "ServiceUnavailable"),
        (500, "InternalError"),
        (429, "TooManyRequests"),
    ] {
        let fault = Fault::Reply(status, code, "try again");
        place.server.fault(On::AnyList, 2, fault.clone());
        place.server.fault(On::AnyGet, 3, fault);
        let object = list(&store, "h/").unwrap().remove(0);
        assert_eq!(get(&store, &object).unwrap(), b"hello", "{code}");
    }
    assert_eq!(place.server.log().len(), 4 * (3 + 4));
}

#[test]
fn an_error_in_a_200_and_a_listing_that_breaks_off_are_asked_for_again() {
    let place = Place::new(&small_objects(300));
    let mut options = place.server.options();
    options.stall_timeout = Duration::from_millis(200);
    let store = place.s3_with(&options);
    for fault in [Fault::ErrorIn200, Fault::Cut(500), Fault::Stall(500)] {
        let before = place.server.log().len();
        place.server.fault(On::AnyList, 1, fault.clone());
        assert_eq!(list(&store, "h/").unwrap().len(), 300, "{fault:?}");
        assert_eq!(place.server.log().len(), before + 2, "{fault:?}");
    }
}

#[test]
fn an_error_whose_own_body_stalls_is_asked_for_again() {
    let place = Place::new(&[("h/a", "hello")]);
    let mut options = place.server.options();
    options.stall_timeout = Duration::from_millis(200);
    let store = place.s3_with(&options);
    let object = list(&store, "h/").unwrap().remove(0);
    place.server.fault(On::AnyGet, 1, Fault::StalledError(20));
    assert_eq!(get(&store, &object).unwrap(), b"hello");
    assert_eq!(place.server.gets(), 2);
}

#[test]
fn trying_again_has_an_end_that_says_so() {
    let place = Place::new(&[("h/a", "hello")]);
    let mut options = place.server.options();
    options.max_attempts = 4;
    let store = place.s3_with(&options);
    let object = list(&store, "h/").unwrap().remove(0);
    let slow = Fault::Reply(503, "SlowDown", "Please reduce your request rate.");
    place.server.fault(On::AnyGet, 99, slow);
    let error = get(&store, &object).unwrap_err();
    assert_eq!(
        error.to_string(),
        "s3://bucket/raw/h/a could not be read in 4 attempts: 503 SlowDown: Please reduce your \
         request rate; run again later"
    );
    assert_eq!(place.server.gets(), 4);
}

#[test]
fn a_body_that_breaks_off_goes_on_at_the_byte_it_reached() {
    let bytes = noise(3_000_000, 7);
    let place = Place::new(&[("h/a", &bytes)]);
    for whole_bytes in [64 << 20, 1000] {
        let store = place.s3();
        let objects: Arc<[ObjectMeta]> = list(&store, "h/").unwrap().into();
        let before = place.server.gets();
        for cut in [1_000_000, 700_000, 0, 5] {
            place.server.fault(On::AnyGet, 1, Fault::Cut(cut));
        }
        let fetch = store.fetch(objects, limits(whole_bytes));
        let body = fetch.next().unwrap().1.unwrap();
        assert!(read(body).unwrap() == bytes);
        let log = place.server.log();
        let gets: Vec<(u64, bool)> = log
            .iter()
            .filter_map(|seen| match seen {
                Seen::Get { from_byte, if_match, .. } => Some((*from_byte, *if_match)),
                _ => None,
            })
            .skip(before)
            .collect();
        println!("resumed at {gets:?}");
        assert_eq!(gets.len(), 5);
        assert_eq!(gets[0].0, 0);
        assert!(gets[1].0 > 0 && gets[1].0 <= 1_000_000);
        assert!(gets[2].0 > gets[1].0 && gets[2].0 <= 1_700_000);
        assert!(gets.iter().all(|get| get.1), "every part names its version");
    }
}

#[test]
fn a_body_that_stalls_is_taken_up_again() {
    let bytes = noise(500_000, 3);
    let place = Place::new(&[("h/a", &bytes)]);
    let mut options = place.server.options();
    options.stall_timeout = Duration::from_millis(200);
    let store = place.s3_with(&options);
    let objects: Arc<[ObjectMeta]> = list(&store, "h/").unwrap().into();
    for whole_bytes in [64 << 20, 1000] {
        place.server.fault(On::AnyGet, 1, Fault::Stall(200_000));
        place.server.fault(On::AnyGet, 1, Fault::Stall(0));
        let began = Instant::now();
        let fetch = store.fetch(Arc::clone(&objects), limits(whole_bytes));
        assert!(read(fetch.next().unwrap().1.unwrap()).unwrap() == bytes);
        let took = began.elapsed();
        assert!(took > Duration::from_millis(390), "{took:?}");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[test]
fn a_body_that_always_breaks_off_is_given_up() {
    let place = Place::new(&[("h/a", noise(100_000, 3))]);
    let mut options = place.server.options();
    options.max_attempts = 3;
    let store = place.s3_with(&options);
    let objects: Arc<[ObjectMeta]> = list(&store, "h/").unwrap().into();
    for whole_bytes in [64 << 20, 1000] {
        let before = place.server.gets();
        place.server.fault(On::AnyGet, 3, Fault::Cut(10));
        let fetch = store.fetch(Arc::clone(&objects), limits(whole_bytes));
        let error = fetch.next().unwrap().1.and_then(read).unwrap_err();
        assert_eq!(error.kind(), "unavailable", "{error}");
        let text = error.to_string();
        assert!(text.contains("in 3 attempts") && text.contains("of 100000"), "{text}");
        assert_eq!(place.server.gets(), before + 3);
    }
}

#[test]
fn a_server_without_ranges_is_understood() {
    let bytes = noise(400_000, 5);
    let place = Place::new(&[("h/a", &bytes)]);
    let store = place.s3();
    let objects: Arc<[ObjectMeta]> = list(&store, "h/").unwrap().into();
    for whole_bytes in [64 << 20, 1000] {
        let before = place.server.gets();
        place.server.fault(On::AnyGet, 1, Fault::Cut(300_000));
        place.server.fault(On::AnyGet, 1, Fault::IgnoreRange);
        let fetch = store.fetch(Arc::clone(&objects), limits(whole_bytes));
        assert!(read(fetch.next().unwrap().1.unwrap()).unwrap() == bytes);
        // What it sends again is skipped, not asked for a third time.
        assert_eq!(place.server.gets(), before + 2);
    }
}

#[test]
fn an_object_replaced_in_the_middle_of_its_body_is_never_mixed() {
    let place = Place::new(&[("h/a", noise(400_000, 5))]);
    let store = place.s3();
    let objects: Arc<[ObjectMeta]> = list(&store, "h/").unwrap().into();
    place.server.fault(On::AnyGet, 1, Fault::Cut(100_000));
    let first = Fault::Reply(503, "SlowDown", "");
    place.server.fault(On::AnyGet, 1, first);
    let fetch = store.fetch(objects, limits(1000));
    let body = fetch.next().unwrap().1.unwrap();
    place.write("h/a", &noise(400_000, 6));
    let error = read(body).unwrap_err();
    assert_eq!(error.kind(), "changed", "{error}");
}

#[test]
fn a_checksum_that_contradicts_is_read_again_and_then_named() {
    let bytes = noise(50_000, 1);
    let place = Place::new(&[("h/a", &bytes)]);
    let mut options = place.server.options();
    options.max_attempts = 3;
    let store = place.s3_with(&options);
    let object = list(&store, "h/").unwrap().remove(0);
    place.server.fault(On::AnyGet, 1, Fault::WrongChecksum);
    assert!(get(&store, &object).unwrap() == bytes);
    assert_eq!(place.server.gets(), 2);
    place.server.fault(On::AnyGet, 3, Fault::WrongChecksum);
    let error = get(&store, &object).unwrap_err();
    assert_eq!(error.kind(), "damaged", "{error}");
    assert!(error.to_string().contains("checksum"), "{error}");
    // A stream can't take back what it gave: the error comes in place of the end.
    place.server.fault(On::AnyGet, 1, Fault::WrongChecksum);
    let fetch = store.fetch(vec![object].into(), limits(1000));
    let error = read(fetch.next().unwrap().1.unwrap()).unwrap_err();
    assert_eq!(error.kind(), "damaged", "{error}");
}

#[test]
fn a_length_that_contradicts_the_listing_is_named() {
    let place = Place::new(&[("h/a", "hello")]);
    let mut options = place.server.options();
    options.max_attempts = 2;
    let store = place.s3_with(&options);
    for claimed in [4, 6, 0] {
        place.server.claim_size("raw/h/a", claimed);
        let object = list(&store, "h/").unwrap().remove(0);
        let error = get(&store, &object).unwrap_err();
        assert_eq!(error.kind(), "damaged", "{claimed}: {error}");
    }
}

#[test]
fn throttling_slows_all_down_and_loses_nothing() {
    let content = small_objects(150);
    let place = Place::new(&content);
    let store = place.s3();
    let objects: Arc<[ObjectMeta]> = list(&store, "h/").unwrap().into();
    for round in 0..30 {
        let key = format!("raw/h/{:05}", round * 5);
        let slow = Fault::Reply(503, "SlowDown", "");
        place.server.fault(On::Get(key), 2, slow);
    }
    let fetch = store.fetch(objects, FetchLimits::default());
    for (_, bytes) in &content {
        assert!(read(fetch.next().unwrap().1.unwrap()).unwrap() == *bytes);
    }
    assert_eq!(place.server.gets(), 150 + 60);
}

// ---- S3: what does not pass ----

#[test]
fn a_missing_bucket_says_what_to_check() {
    let place = Place::new(&[("h/a", "x")]);
    let url = "s3://no-such-bucket/raw/".parse().unwrap();
    let store = Store::open(&url, &place.server.options()).unwrap();
    let error = list(&store, "").unwrap_err();
    assert_eq!(error.kind(), "no_bucket");
    assert!(error.concerns_whole_source());
    let text = error.to_string();
    for part in ["no-such-bucket", place.server.endpoint(), "--source", "--endpoint-url"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(store.folders("").unwrap_err().kind(), "no_bucket");
}

#[test]
fn wrong_credentials_are_named_and_never_shown() {
    let place = Place::new(&[("h/a", "x")]);
    for (id, secret, part) in [
        ("AKIDNOBODY", "whatever-secret", "--profile"),
        ("AKIDTESTONLY", "wrong-secret-value", "AWS_SECRET_ACCESS_KEY"),
    ] {
        let mut options = place.server.options();
        options.access_keys = Some(AccessKeys {
            access_key_id: id.to_string(),
            secret_access_key: secret.to_string(),
            session_token: None,
        });
        let error = list(&place.s3_with(&options), "").unwrap_err();
        assert_eq!(error.kind(), "bad_credentials", "{error}");
        let text = format!("{error} {error:?}");
        assert!(text.contains(part) && !text.contains(secret), "{text}");
    }
    // Nothing of this is worth a second attempt.
    assert_eq!(place.server.log(), []);
}

#[test]
fn a_bucket_in_another_region_is_followed() {
    let content = small_objects(50);
    let place = Place::new(&content);
    place.server.set_region("eu-central-1");
    let store = place.s3();
    let objects: Arc<[ObjectMeta]> = list(&store, "h/").unwrap().into();
    let fetch = store.fetch(objects, FetchLimits::default());
    for (_, bytes) in &content {
        assert!(read(fetch.next().unwrap().1.unwrap()).unwrap() == *bytes);
    }
    // One request found out, and all others went to the right place.
    let seen = place.server.regions_seen();
    assert_eq!(seen[0], "us-east-1");
    assert_eq!(seen.len(), 52);
    assert!(seen[1..].iter().all(|region| region == "eu-central-1"));
}

#[test]
fn a_redirect_that_names_no_region_says_which_option_to_give() {
    let place = Place::new(&[("h/a", "x")]);
    let store = place.s3();
    let moved = Fault::Reply(301, "PermanentRedirect", "elsewhere");
    place.server.fault(On::AnyList, 1, moved);
    let error = list(&store, "h/").unwrap_err();
    assert_eq!(error.kind(), "wrong_region");
    assert!(error.to_string().contains("--region"), "{error}");
}

#[test]
fn a_denied_prefix_leaves_the_others_alone() {
    let place = Place::new(&[("14/a", "x"), ("15/b", "x"), ("16/c", "x")]);
    place.server.deny("raw/15/");
    let store = place.s3();
    let prefixes = ["14/", "15/", "16/"].map(str::to_string);
    let listings = store.list(&prefixes, &|_| {});
    assert_eq!(listings[0].as_ref().unwrap().objects.len(), 1);
    assert_eq!(listings[2].as_ref().unwrap().objects.len(), 1);
    let error = listings[1].as_ref().unwrap_err();
    assert!(!error.concerns_whole_source());
    assert_eq!(
        error.to_string(),
        "can't list s3://bucket/raw/15/: access denied (403 AccessDenied: Access Denied); the \
         credentials need s3:ListBucket on bucket bucket for this prefix (and --request-payer \
         where the owner asks for it)"
    );
}

#[test]
fn a_denied_object_names_the_permission() {
    let place = Place::new(&[("h/a", "x")]);
    let store = place.s3();
    let object = list(&store, "h/").unwrap().remove(0);
    for (code, message, kind, part) in [
        ("AccessDenied", "Access Denied", "denied", "s3:GetObject"),
        ("AccessDenied", "User is not authorized to perform: kms:Decrypt", "denied", "kms:Decrypt"),
        ("InvalidObjectState", "not valid", "archived", "restore"),
        ("ExpiredToken", "expired", "bad_credentials", "aws sso login"),
    ] {
        place.server.fault(On::AnyGet, 1, Fault::Reply(403, code, message));
        let error = get(&store, &object).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let text = error.to_string();
        assert!(text.contains(part), "{text}");
        assert!(text.contains("s3://bucket/raw/h/a"), "{text}");
    }
}

#[test]
fn an_object_replaced_after_listing_is_changed_even_with_the_same_size() {
    let place = Place::new(&[("h/a", "one")]);
    let store = place.s3();
    let object = list(&store, "h/").unwrap().remove(0);
    place.write("h/a", b"two");
    let error = get(&store, &object).unwrap_err();
    assert_eq!(error.kind(), "changed");
    // A server that ignores If-Match gives itself away by the ETag of its answer.
    let object = list(&store, "h/").unwrap().remove(0);
    place.server.fault(On::AnyGet, 1, Fault::OtherEtag);
    assert_eq!(get(&store, &object).unwrap_err().kind(), "changed");
}

#[test]
fn a_public_bucket_needs_no_credentials() {
    let place = Place::new(&[("h/a", "x")]);
    let mut options = place.server.options();
    options.access_keys = None;
    options.no_sign_request = true;
    let store = place.s3_with(&options);
    let error = list(&store, "h/").unwrap_err();
    assert_eq!(error.kind(), "denied");
    assert!(error.to_string().contains("leave out --no-sign-request"), "{error}");
    place.server.allow_anonymous();
    let object = list(&store, "h/").unwrap().remove(0);
    assert_eq!(get(&store, &object).unwrap(), b"x");
}

#[test]
fn a_server_that_is_not_there_is_named_soon() {
    let place = Place::new(&[("h/a", "x")]);
    let mut options = place.server.options();
    // Bound and closed again: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    options.endpoint_url = Some(format!("http://127.0.0.1:{port}"));
    let began = Instant::now();
    let error = list(&place.s3_with(&options), "h/").unwrap_err();
    assert_eq!(error.kind(), "unavailable", "{error}");
    assert!(error.to_string().contains("--endpoint-url"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[test]
fn plain_http_to_elsewhere_is_refused_before_anything_is_sent() {
    let place = Place::new(&[("h/a", "x")]);
    let mut options = place.server.options();
    options.endpoint_url = Some("http://192.0.2.1:9000".to_string());
    let url = "s3://bucket/raw/".parse().unwrap();
    let error = Store::open(&url, &options).unwrap_err();
    assert_eq!(error.kind(), "plain_http");
    assert!(error.to_string().contains("--allow-http"), "{error}");
}

// ---- S3: what depends on the environment, each in a process of its own ----

/// Runs one ignored test of this binary in a clean environment, and gives its output.
fn in_child(test: &str, home: &Path, environment: &[(&str, &str)]) -> (String, Duration) {
    let began = Instant::now();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env_clear()
        .env("HOME", home)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    (text, began.elapsed())
}

#[test]
#[ignore = "run by the tests of the environment, as a child"]
fn child_lists_with_what_the_environment_says() {
    let mut options = StoreOptions {
        retry_base: Duration::from_millis(2),
        profile: std::env::var("CHILD_PROFILE").ok(),
        ..StoreOptions::default()
    };
    options.endpoint_url = std::env::var("CHILD_ENDPOINT").ok();
    let store = Store::open(&"s3://bucket/raw/".parse().unwrap(), &options).unwrap();
    match list(&store, "h/") {
        Ok(objects) => println!("LISTED {}", objects.len()),
        Err(error) => println!("ERROR {} {error}", error.kind()),
    }
}

const CHILD: &str = "store::child_lists_with_what_the_environment_says";

#[test]
fn credentials_come_from_environment_or_profile() {
    let place = Place::new(&[("h/a", "x")]);
    let home = tempfile::tempdir().unwrap();
    let endpoint = ("CHILD_ENDPOINT", place.server.endpoint());
    let keys = [
        ("AWS_ACCESS_KEY_ID", crate::s3server::ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", crate::s3server::SECRET_KEY),
    ];
    let (text, _) = in_child(CHILD, home.path(), &[endpoint, keys[0], keys[1]]);
    assert!(text.contains("LISTED 1"), "{text}");

    fs::create_dir(home.path().join(".aws")).unwrap();
    let profile = format!(
        "[profile team]\naws_access_key_id = {}\naws_secret_access_key = {}\nregion = eu-west-3\n",
        keys[0].1, keys[1].1
    );
    fs::write(home.path().join(".aws/config"), profile).unwrap();
    // The profile that was asked for goes before keys that lie in the environment.
    let wrong = [
        ("AWS_ACCESS_KEY_ID", "AKIDSTALE"),
        ("AWS_SECRET_ACCESS_KEY", "stale-secret"),
        ("CHILD_PROFILE", "team"),
    ];
    let all = [endpoint, wrong[0], wrong[1], wrong[2]];
    let (text, _) = in_child(CHILD, home.path(), &all);
    assert!(text.contains("LISTED 1"), "{text}");
    assert_eq!(place.server.regions_seen().last().unwrap(), "eu-west-3");
}

#[test]
fn the_endpoint_of_the_environment_is_held_to_the_same_rules() {
    let place = Place::new(&[("h/a", "x")]);
    let home = tempfile::tempdir().unwrap();
    let keys = [
        ("AWS_ACCESS_KEY_ID", crate::s3server::ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", crate::s3server::SECRET_KEY),
    ];
    for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"] {
        let (text, _) =
            in_child(CHILD, home.path(), &[(name, place.server.endpoint()), keys[0], keys[1]]);
        assert!(text.contains("LISTED 1"), "{text}");
        let open = (name, "http://192.0.2.1:9000");
        let (text, _) = in_child(CHILD, home.path(), &[open, keys[0], keys[1]]);
        assert!(text.contains("ERROR plain_http http://192.0.2.1:9000"), "{text}");
    }
}

#[test]
fn a_machine_without_credentials_is_told_what_to_do() {
    let place = Place::new(&[("h/a", "x")]);
    let home = tempfile::tempdir().unwrap();
    let endpoint = ("CHILD_ENDPOINT", place.server.endpoint());
    let off = ("AWS_EC2_METADATA_DISABLED", "true");
    let missing = ("CHILD_PROFILE", "nobody");
    for environment in [&[endpoint, off][..], &[endpoint, off, missing][..]] {
        let (text, _) = in_child(CHILD, home.path(), environment);
        println!("{text}");
        assert!(text.contains("ERROR no_credentials"), "{text}");
        assert!(!text.contains("dispatch failure"), "the SDK's words: {text}");
        for part in ["--profile", "AWS_PROFILE", "aws sso login", "--no-sign-request"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    assert_eq!(place.server.log(), []);
}

#[test]
fn a_metadata_service_that_does_not_answer_is_not_waited_for_long() {
    let place = Place::new(&[("h/a", "x")]);
    let home = tempfile::tempdir().unwrap();
    // Takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let (text, took) = in_child(
        CHILD,
        home.path(),
        &[
            ("CHILD_ENDPOINT", place.server.endpoint()),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", &address),
        ],
    );
    println!("{took:?} {text}");
    assert!(text.contains("ERROR no_credentials"), "{text}");
    assert!(took < Duration::from_secs(6), "{took:?}");
}
