//! `cat`: records as lines, of a day, of a prefix, of an object.

use std::io::{BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::place::{Place, gzip, key, ran, start};
use crate::s3server::{Fault, On};

const DAY: &str = "--day 2022-04-18 --tz Asia/Seoul";

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_day_is_its_records_one_a_line_in_the_order_of_the_record_table() {
    let place = Place::with_sample();
    let server = place.serve();
    let one = place.run(&format!("cat {DAY} --jobs 1")).ends(0).stdout;
    for jobs in [2, 3, 8] {
        assert!(
            place.run(&format!("cat {DAY} --jobs {jobs}")).ends(0).stdout == one,
            "{jobs} jobs"
        );
    }
    assert!(place.s3_run(&server, &format!("cat {DAY}")).ends(0).stdout == one, "from S3");
    place.run(&format!("fetch {DAY} --export records")).ends(0);
    let records = place.records("2022-04-18");
    let lines = lines(&one);
    assert_eq!(lines.len(), records.rows());
    for (at, row) in records.cells(&["session", "value", "user_id"]).iter().enumerate() {
        let line = &lines[at];
        let field = |name: &str| line.get(name).unwrap_or(&Value::Null);
        assert_eq!(
            [field("session"), field("value"), field("user_id")],
            [&row[0], &row[1], &row[2]]
        );
    }
}

#[test]
fn a_damaged_day_prints_its_records_and_names_what_it_skips() {
    let place = Place::with_sample();
    let ran = place.run("cat --day 2022-04-17 --tz Asia/Seoul").ends(3);
    assert_eq!(lines(&ran.stdout).len(), 1_571);
    assert_eq!(
        ran.stderr.lines().filter(|line| line.contains("skipped")).count(),
        8,
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("fe386854-62d7-4169-a7a4-37b6afe799a5:3550"), "{}", ran.stderr);
}

/// Records in every framing, as (key, bytes).
fn framings(place: &Place) -> Vec<String> {
    let bodies: [&[u8]; 6] = [
        b"{\"n\":0}{\"n\":1}",
        b"{\"n\":2}\n{\"n\":3}\n",
        b"\xef\xbb\xbf{\"n\":4},{\"n\":5}\r\n",
        b"[{\"n\":6}, {\"n\":7}]",
        b"{\n  \"n\": 8,\r\n  \"text\": \"a\\nb\"\n}\n\n{\n  \"n\": 9\n}\n",
        &gzip("{\"n\":10}\t{\"n\":11}"),
    ];
    let name = |at: usize| key("s", &format!("2022-04-18T03:00:{at:02}"), at as u32);
    bodies.iter().enumerate().for_each(|(at, body)| place.put(&name(at), body));
    (0..bodies.len()).map(name).collect()
}

#[test]
fn every_framing_comes_out_as_one_record_a_line() {
    let place = Place::new();
    let keys = framings(&place);
    let all = place.run("cat 2022/04/18/03/").ends(0).stdout;
    let numbers: Vec<Value> = lines(&all).iter().map(|line| line["n"].clone()).collect();
    assert_eq!(json!(numbers), json!((0..12).collect::<Vec<_>>()));
    // A prefix need not end at a slash; a key is that object alone.
    assert_eq!(place.run("cat 2022/04/18/03/s-1-2022-04-18-03-00-0").ends(0).stdout, all);
    assert_eq!(place.run(&format!("cat {}", keys[1])).ends(0).stdout, "{\"n\":2}\n{\"n\":3}\n");
    let path = format!("cat ./bucket/raw/{}", keys[1]);
    assert_eq!(place.run(&path).ends(0).stdout, "{\"n\":2}\n{\"n\":3}\n");
    // Fetched, they are the same rows.
    place.run(&format!("fetch {DAY} --export records")).ends(0);
    assert_eq!(json!(place.records("2022-04-18").column("n")), json!(numbers));
}

#[test]
fn raw_prints_the_records_own_bytes_and_the_rule_is_one_line_otherwise() {
    let place = Place::new();
    let keys = framings(&place);
    let line = place.run(&format!("cat {}", keys[4])).ends(0).stdout;
    assert_eq!(line, "{   \"n\": 8,    \"text\": \"a\\nb\" }\n{   \"n\": 9 }\n");
    let raw = place.run(&format!("cat --raw {}", keys[4])).ends(0).stdout;
    assert_eq!(raw, "{\n  \"n\": 8,\r\n  \"text\": \"a\\nb\"\n}\n{\n  \"n\": 9\n}\n");
}

#[test]
fn csv_has_a_header_the_columns_of_all_records_and_cells_by_rfc_4180() {
    let place = Place::new();
    let one = "{\"a\":1,\"o\":{\"b\":\"x,\\\"y\\\"\"}}{\"a\":2.50,\"l\":[1,2]}";
    place.put(&key("s", "2022-04-18T03:00:00", 1), one);
    place.put(
        &key("s", "2022-04-18T04:00:00", 2),
        "{\"a\":\"=1+1\",\"c\":true,\"a b\":\"l1\\nl2\"}",
    );
    let csv = place.run(&format!("cat --csv {DAY}")).ends(0).stdout;
    let wanted = "a,o_b,l,c,a b\n1,\"x,\"\"y\"\"\",,,\n2.50,,\"[1,2]\",,\n=1+1,,,true,\"l1\nl2\"\n";
    assert_eq!(csv, wanted);
    let some = place.run(&format!("cat --csv --columns c,o.b,a --excel-safe {DAY}")).ends(0).stdout;
    assert_eq!(some, "c,o_b,a\n,\"x,\"\"y\"\"\",1\n,,2.50\ntrue,,'=1+1\n");
    place
        .run(&format!("cat --csv --columns nothing {DAY}"))
        .ends_and_says(2, &["\"nothing\"", "a, o_b, l, c, a b"]);
}

#[test]
fn csv_of_the_sample_day_has_the_cells_of_the_record_table() {
    let place = Place::with_sample();
    let csv =
        place.run(&format!("cat --csv {DAY} --columns user_id,temperature,ok")).ends(0).stdout;
    place.run(&format!("fetch {DAY} --export records")).ends(0);
    let records = place.records("2022-04-18").cells(&["user_id", "temperature", "ok"]);
    let rows: Vec<&str> = csv.lines().skip(1).collect();
    assert_eq!(rows.len(), records.len());
    let text = |value: &Value| if value.is_null() { String::new() } else { value.to_string() };
    for (row, cells) in rows.iter().zip(&records) {
        let temperature = cells[1].as_f64().map(|t| t.to_string()).unwrap_or_default();
        assert_eq!(*row, [text(&cells[0]), temperature, text(&cells[2])].join(","));
    }
}

#[test]
fn a_key_that_is_nothing_is_wrong_usage() {
    let place = Place::new();
    framings(&place);
    place
        .run("cat 2022/04/18/05/")
        .ends_and_says(2, &["no object has the key \"2022/04/18/05/\"", "relative to --source"]);
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let place = Place::with_sample();
    for options in ["", "--csv", "--jobs 1"] {
        let mut child = start(place.command(&format!("cat {DAY} {options}")));
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(!line.is_empty());
        drop(reader);
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let status = child.wait().unwrap();
        assert_eq!((status.code(), &*said), (Some(0), ""), "{options}");
    }
}

#[test]
fn a_reader_that_goes_away_is_not_made_to_wait_for_a_slow_server() {
    let place = Place::new();
    // More than a pipe holds, so that the first object fills it.
    let many = "{\"n\":1,\"pad\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}".repeat(6_000);
    for second in 0..8 {
        place.put(&key("s", &format!("2022-04-18T03:00:{second:02}"), second), &many);
    }
    let server = place.serve();
    for second in 4..8 {
        let key = format!("raw/{}", key("s", &format!("2022-04-18T03:00:{second:02}"), second));
        server.fault(On::Get(key), 10, Fault::Stall(1_000));
    }
    let began = Instant::now();
    let mut child = start(place.s3_command(&server, "cat 2022/04/18/03/ --jobs 3"));
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut String::new()).unwrap();
    drop(reader);
    let code = child.wait().unwrap().code();
    assert_eq!(code, Some(0));
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[test]
fn an_object_that_is_denied_is_named_and_the_others_are_printed() {
    let place = Place::new();
    let keys = framings(&place);
    let server = place.serve();
    server.deny(&format!("raw/{}", keys[0]));
    let output = place.s3_command(&server, "cat 2022/04/18/03/").output().unwrap();
    let ran = ran(output).ends_and_says(3, &[&keys[0], "s3:GetObject"]);
    assert_eq!(lines(&ran.stdout).len(), 10);
}

#[test]
fn standard_input_is_one_object() {
    let place = Place::new();
    let from = |line: &str, bytes: &[u8]| {
        let file = place.path().join("object");
        std::fs::write(&file, bytes).unwrap();
        let mut command = place.command(line);
        ran(command.stdin(std::fs::File::open(&file).unwrap()).output().unwrap())
    };
    let glued = "{\"a\":1}{\"a\":[2],\n\"b\":3}";
    for bytes in [glued.as_bytes().to_vec(), gzip(glued)] {
        let lines = "{\"a\":1}\n{\"a\":[2], \"b\":3}\n";
        assert_eq!(from("cat -", &bytes).ends(0).stdout, lines);
        let csv = from("cat - --csv --columns b,a", &bytes).ends(0).stdout;
        assert_eq!(csv, "b,a\n,1\n3,[2]\n");
    }
    assert_eq!(from("cat -", b"").ends(0).stdout, "");
    from("cat -", b"{\"a\":1}x").ends_and_says(3, &["{\"a\":1}\n", "skipped stdin:7"]);
    from("cat - --csv --columns c", b"{\"a\":1}").ends_and_says(2, &["no column is named \"c\""]);
}

#[test]
fn a_folder_without_files_is_called_so() {
    let place = Place::new();
    std::fs::create_dir(place.path().join("empty")).unwrap();
    place.run("cat ./empty").ends_and_says(2, &["the folder ./empty holds no files"]);
}
