//! Runs that are stopped, killed or kept out: nothing is half-published, and the next run ends as
//! if nothing had happened.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::place::{Place, key, ran, start};
use crate::s3server::{Fault, On, S3Server, Seen};

const LINE: &str = "fetch --day 2022-04-18 --tz Asia/Seoul";

fn interrupt(child: &Child) {
    signal(child, "-INT");
}

fn signal(child: &Child, name: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
}

/// Waits until the server has seen such a request.
fn wait_for(server: &S3Server, is: impl Fn(&Seen) -> bool) {
    let began = Instant::now();
    while !server.log().iter().any(&is) {
        assert!(began.elapsed() < Duration::from_secs(20), "the request never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A source of a few objects over HTTP.
fn slow_place() -> (Place, S3Server) {
    let place = Place::new();
    for second in 0..6 {
        place.put(&key("s", &format!("2022-04-18T03:00:{second:02}"), second), "{\"n\":1}");
    }
    let server = place.serve();
    (place, server)
}

/// Signals the run once the server has seen such a request; it ends with 130 within 2 s.
fn assert_ended_by(name: &str, place: &Place, server: &S3Server, is: impl Fn(&Seen) -> bool) {
    let child = start(place.s3_command(server, LINE));
    wait_for(server, is);
    // Past the request, into the wait for its answer.
    std::thread::sleep(Duration::from_millis(50));
    let began = Instant::now();
    signal(&child, name);
    let ran = ran(child.wait_with_output().unwrap());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    ran.ends_and_says(130, &["interrupted; nothing is half-published"]);
}

#[test]
fn an_interrupt_while_a_body_stalls_ends_within_two_seconds_and_leaves_nothing() {
    let (place, server) = slow_place();
    server.fault(On::AnyGet, 100, Fault::Stall(3));
    assert_ended_by("-INT", &place, &server, |seen| matches!(seen, Seen::Get { .. }));
    place.assert_nothing_published();
}

#[test]
fn an_interrupt_while_a_listing_stalls_ends_within_two_seconds_and_leaves_nothing() {
    let (place, server) = slow_place();
    server.fault(On::AnyList, 100, Fault::Stall(3));
    assert_ended_by("-INT", &place, &server, |seen| matches!(seen, Seen::List { .. }));
    place.assert_nothing_published();
}

#[test]
fn a_termination_between_attempts_ends_within_two_seconds_and_leaves_nothing() {
    let (place, server) = slow_place();
    server.fault(
        On::AnyGet,
        1_000,
        Fault::Reply(503, "SlowDown", "Please reduce your request rate"),
    );
    assert_ended_by("-TERM", &place, &server, |seen| matches!(seen, Seen::Get { .. }));
    place.assert_nothing_published();
}

#[test]
fn an_interrupt_while_an_object_is_read_again_ends_within_two_seconds_and_leaves_nothing() {
    let (place, server) = slow_place();
    // Fractions that become text have to be read again; that time the body stalls.
    let first = key("s", "2022-04-18T03:00:00", 0);
    place.put(&first, "{\"n\":2.50}");
    place.put(&key("s", "2022-04-18T03:00:01", 1), "{\"n\":\"x\"}");
    let get = On::Get(format!("raw/{first}"));
    server.fault(get.clone(), 1, Fault::Delay(Duration::ZERO));
    server.fault(get, 100, Fault::Stall(3));
    let child = start(place.s3_command(&server, &format!("{LINE} --export records")));
    let of_first = |seen: &&Seen| matches!(seen, Seen::Get { key, .. } if key.ends_with(&first));
    let began = Instant::now();
    while server.log().iter().filter(of_first).count() < 2 {
        assert!(began.elapsed() < Duration::from_secs(20), "it is not read again");
        std::thread::sleep(Duration::from_millis(5));
    }
    let began = Instant::now();
    interrupt(&child);
    let ran = ran(child.wait_with_output().unwrap());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    ran.ends(130);
    place.assert_nothing_published();
}

#[test]
fn an_interrupted_run_leaves_a_published_day_as_it_was() {
    let (place, server) = slow_place();
    place.s3_run(&server, LINE).ends(0);
    let before = place.published();
    let gets = server.gets();
    server.fault(On::AnyGet, 100, Fault::Stall(3));
    let child = start(place.s3_command(&server, LINE));
    while server.gets() == gets {
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt(&child);
    ran(child.wait_with_output().unwrap()).ends(130);
    assert!(place.published() == before);
}

#[test]
fn a_run_that_is_killed_at_any_moment_is_made_good_by_the_next_one() {
    let place = Place::with_sample();
    let line = format!("{LINE} --by type --export records,aggregates --jobs 2 -q");
    let began = Instant::now();
    place.run(&line).ends(0);
    let whole = began.elapsed();
    let undisturbed = place.result();
    // Where a day is published already, and where none is.
    for (at, replaces) in [(1, false), (2, true), (3, false), (4, true), (5, false)] {
        if !replaces {
            std::fs::remove_dir_all(place.out()).unwrap();
        }
        let mut child = start(place.command(&line));
        std::thread::sleep(whole * at / 6);
        child.kill().unwrap();
        child.wait().unwrap();
        // The manifest is the commit: where one lies, the whole day does.
        if place.out().join("manifests/2022-04-18.json").exists() {
            place.manifest("2022-04-18");
        }
        place.run(&line).ends(0);
        assert!(place.result() == undisturbed, "killed after {at} sixths");
        place.assert_clean();
    }
}

#[test]
fn a_second_run_on_the_same_folder_is_told_who_holds_it_and_changes_nothing() {
    let (place, server) = slow_place();
    server.fault(On::AnyGet, 100, Fault::Stall(3));
    let mut first = start(place.s3_command(&server, LINE));
    wait_for(&server, |seen| matches!(seen, Seen::Get { .. }));
    let holder = format!("process {}", first.id());
    place.run(LINE).ends_and_says(1, &["another run (", &holder, "choose another --out"]);
    assert!(first.try_wait().unwrap().is_none(), "the first run goes on");
    interrupt(&first);
    ran(first.wait_with_output().unwrap()).ends(130);
    // The lock went with its holder.
    place.run(LINE).ends(0);
    place.assert_clean();
}

#[test]
fn a_folder_of_one_zone_is_refused_to_another() {
    let (place, _server) = slow_place();
    place.run(LINE).ends(0);
    let before = place.published();
    let words = ["holds days of Asia/Seoul", "Asia/Tokyo", "--tz Asia/Seoul"];
    place.run("fetch --day 2022-04-18 --tz Asia/Tokyo").ends_and_says(2, &words);
    place.run("fetch --day 2022-04-20 --tz Asia/Tokyo").ends_and_says(2, &words);
    assert!(place.published() == before);
    place.assert_clean();
}

#[test]
fn who_only_reads_is_not_told_about_publishing() {
    let (place, server) = slow_place();
    server.fault(On::AnyGet, 100, Fault::Stall(3));
    for command in ["cat", "schema"] {
        server.clear_log();
        let line = LINE.replace("fetch", command);
        let line = line.split(" --export").next().unwrap();
        let child = start(place.s3_command(&server, line));
        wait_for(&server, |seen| matches!(seen, Seen::Get { .. }));
        interrupt(&child);
        let ran = ran(child.wait_with_output().unwrap()).ends(130);
        assert_eq!(ran.stderr, "rawcat: interrupted: run the same command again\n", "{command}");
    }
}
