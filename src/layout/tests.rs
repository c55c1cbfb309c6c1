use std::borrow::Cow;

use proptest::prelude::*;

use chrono::NaiveDateTime;

use super::*;
use crate::window::Hour;

const UUID: &str = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

fn hour(text: &str) -> Hour {
    hour_of_prefix(text).expect("an hour")
}

fn read(key: &str) -> KeyInfo {
    Layout::default().read(key)
}

fn exclusion(key: &str, bytes: u64) -> Option<Exclusion> {
    Layout::default().exclusion(key, bytes)
}

/// The place of an object of this hour.
fn at(hour: Hour) -> Place {
    Place { span: Some(Span::of_hours(&HourRange { first: hour, last: hour })), is_coarse: false }
}

fn local(text: &str) -> NaiveDateTime {
    text.parse().expect("a local time")
}

fn name(text: &str) -> Result<ObjectName, NameProblem> {
    read(&format!("2022/04/17/15/{text}")).name
}

#[test]
fn an_hour_and_its_prefix_are_the_same_thing() {
    let at = Hour::containing(utc("2022-04-17T15:59:59Z"));
    assert_eq!(prefix_of(at), "2022/04/17/15/");
    assert_eq!(hour_of_prefix("2022/04/17/15/"), Some(at));
    for text in [
        "",
        "2022/04/17/15",
        "2022/4/17/15/",
        "2022/04/17/24/",
        "2022/02/30/00/",
        "/2022/04/17/15/",
    ] {
        assert_eq!(hour_of_prefix(text), None, "{text}");
    }
}

#[test]
fn a_range_of_hours_is_spelled_as_one_prefix_each() {
    let hours = HourRange { first: hour("2021/12/31/23/"), last: hour("2022/01/01/01/") };
    let spelled = Layout::default().spell(&hours, Grain::Hour);
    let steps: Vec<Step> = spelled.iter().map(Spelled::step).collect();
    let expected = ["2021/12/31/23/", "2022/01/01/00/", "2022/01/01/01/"];
    assert_eq!(steps, expected.map(|prefix| Step::List(prefix.to_string())));
}

#[test]
fn folders_above_an_hour_are_named_from_the_nearest_to_the_root() {
    assert_eq!(parents_of(hour("2022/04/17/15/")), ["2022/04/17/", "2022/04/", "2022/", ""]);
}

#[test]
fn a_folder_knows_which_hours_it_holds() {
    let cases = [
        ("2022/04/17/15/", "2022/04/17/15/", "2022/04/17/15/"),
        ("2022/04/17/", "2022/04/17/00/", "2022/04/17/23/"),
        ("2024/02/", "2024/02/01/00/", "2024/02/29/23/"),
        ("2022/12/", "2022/12/01/00/", "2022/12/31/23/"),
        ("2022/", "2022/01/01/00/", "2022/12/31/23/"),
    ];
    for (folder, first, last) in cases {
        let expected = HourRange { first: hour(first), last: hour(last) };
        assert_eq!(hours_of_folder(folder), Some(expected), "{folder}");
    }
    for folder in
        ["", "/", "2022", "2022/4/", "2022/13/", "2022/04/31/", "2022/04/17/24/", "a/", "2022//"]
    {
        assert_eq!(hours_of_folder(folder), None, "{folder}");
    }
}

#[test]
fn a_key_is_read_from_its_right_end() {
    let key = format!("2022/04/17/15/study-stream-1-2022-04-17-15-00-03-{UUID}.gz");
    let info = read(&key);
    assert_eq!(info.place, at(hour("2022/04/17/15/")));
    let name = info.name.clone().unwrap();
    assert_eq!((name.stream.as_str(), name.version), ("study-stream", 1));
    assert_eq!(name.time_local, local("2022-04-17T15:00:03"));
    assert_eq!((name.id.as_str(), name.extension.as_str()), (UUID, ".gz"));
    assert_eq!(info.time, Some((utc("2022-04-17T15:00:03Z"), KeyTime::Name)));
}

#[test]
fn streams_may_hold_what_the_other_parts_are_made_of() {
    let cases = [
        "s-1",
        "a.b_c-2-3",
        "prefix-2022-04-17",
        "1-2022-04-17-15-00-03",
        "type=click-x",
        "스트림",
        "-",
        "_x",
    ];
    for stream in cases {
        for extension in ["", ".gz", ".json.gz", ".a-b", ".(1)"] {
            let text = format!("{stream}-12-2022-04-17-15-00-03-{UUID}{extension}");
            let parsed = name(&text).unwrap();
            assert_eq!((parsed.stream.as_str(), parsed.version), (stream, 12), "{text}");
            assert_eq!(parsed.extension, extension);
            assert_eq!(parsed.to_string(), text);
        }
    }
}

#[test]
fn each_problem_of_a_name_has_its_own_text() {
    let cases = [
        ("", NameProblem::Empty, "no name"),
        ("data.json", NameProblem::NoUuid, "no uuid at the end of the name"),
        (
            "s-1-2022-04-17-15-00-03-0a1b2c3d4e5f60718293a4b5c6d7e8f90000.gz",
            NameProblem::NoUuid,
            "no uuid at the end of the name",
        ),
        ("s-1-<uuid>", NameProblem::NoTime, "no time before the uuid"),
        ("<uuid>", NameProblem::NoTime, "no time before the uuid"),
        ("s-1-2022_04_17-15-00-03-<uuid>", NameProblem::NoTime, "no time before the uuid"),
        (
            "s-1-2022-02-30-15-00-03-<uuid>",
            NameProblem::ImpossibleTime,
            "impossible time in the name",
        ),
        (
            "s.x-1-2022-02-30-15-00-03-<uuid>",
            NameProblem::ImpossibleTime,
            "impossible time in the name",
        ),
        ("s-x-2022-04-17-15-00-03-<uuid>", NameProblem::NoVersion, "no version before the time"),
        ("s-0-2022-04-17-15-00-03-<uuid>", NameProblem::NoVersion, "no version before the time"),
        ("2022-04-17-15-00-03-<uuid>", NameProblem::NoVersion, "no version before the time"),
        (
            "s-99999999999-2022-04-17-15-00-03-<uuid>",
            NameProblem::NoVersion,
            "no version before the time",
        ),
        ("1-2022-04-17-15-00-03-<uuid>", NameProblem::NoStream, "no stream before the version"),
        ("-1-2022-04-17-15-00-03-<uuid>", NameProblem::NoStream, "no stream before the version"),
        (
            "s\u{1b}-1-2022-04-17-15-00-03-<uuid>",
            NameProblem::ControlCharacter,
            "control character in the name",
        ),
    ];
    for (text, problem, reason) in cases {
        for extension in ["", ".gz"] {
            let whole = format!("{}{extension}", text.replace("<uuid>", UUID));
            if text.is_empty() && !extension.is_empty() {
                continue;
            }
            assert_eq!(name(&whole), Err(problem), "{whole}");
        }
        assert_eq!(problem.to_string(), reason);
    }
}

#[test]
fn a_name_that_is_not_readable_leaves_the_hour() {
    let info = read("2022/04/17/15/data.json");
    assert_eq!(info.time, Some((utc("2022-04-17T15:00:00Z"), KeyTime::Hour)));
    assert_eq!(read("data.json").time, None);
    let elsewhere = read(&format!("x/s-1-2022-04-17-15-00-03-{UUID}"));
    assert_eq!(elsewhere.place, Place { span: None, is_coarse: true });
    assert_eq!(elsewhere.time, Some((utc("2022-04-17T15:00:03Z"), KeyTime::Name)));
}

#[test]
fn objects_that_are_never_data_are_excluded_with_a_reason() {
    use Exclusion::*;
    let data = format!("s-1-2022-04-17-15-00-03-{UUID}");
    let cases = [
        ("2022/04/17/15/".to_string(), 0, Some(FolderMarker)),
        ("2022/04/17/15/".to_string(), 3, Some(FolderWithBytes)),
        ("2022/04/17/15/x_$folder$".to_string(), 0, Some(FolderMarker)),
        (String::new(), 0, Some(FolderMarker)),
        (format!("processing-failed/2022/04/17/15/{data}"), 9, Some(ErrorOutput)),
        (format!("2022/04/17/15/processing-failed/{data}"), 9, Some(ErrorOutput)),
        (format!("http-endpoint-failed/2022/04/17/15/{data}"), 9, Some(ErrorOutput)),
        (format!("2022/04/17/{data}"), 9, Some(OutsideHours)),
        (format!("2022/04/17/99/{data}"), 9, Some(OutsideHours)),
        (data.clone(), 9, Some(OutsideHours)),
        (format!("../2022/04/17/15/{data}"), 9, Some(OutsideHours)),
        (format!("/2022/04/17/15/{data}"), 9, Some(OutsideHours)),
        (format!("2022/04/17/15/backup/{data}"), 9, Some(BelowHour)),
        (format!("2022/04/17/15//{data}"), 9, Some(BelowHour)),
        (format!("2022/04/17/15/../{data}"), 9, Some(BelowHour)),
        ("2022/04/17/15/_SUCCESS".to_string(), 0, Some(Hidden)),
        ("2022/04/17/15/.DS_Store".to_string(), 6148, Some(Hidden)),
        (format!("2022/04/17/15/.{data}.gz.Ab12Cd"), 9, Some(Hidden)),
        ("2022/04/17/15/_temporary/0/part".to_string(), 9, Some(BelowHour)),
        (format!("2022/04/17/15/{data}"), 9, None),
        (format!("2022/04/17/15/{data}.gz"), 0, None),
        (format!("2022/04/17/15/_{data}"), 9, None),
        ("2022/04/17/15/renamed by hand.json".to_string(), 9, None),
    ];
    for (key, bytes, expected) in cases {
        assert_eq!(exclusion(&key, bytes), expected, "{key}");
    }
    let reasons: std::collections::HashSet<_> = Exclusion::ALL.iter().map(|e| e.reason()).collect();
    assert_eq!(reasons.len(), Exclusion::ALL.len());
}

#[test]
fn text_for_a_terminal_holds_no_harm() {
    assert!(matches!(escape_control("한글 \\ é 👩‍👩‍👧"), Cow::Borrowed(_)));
    assert_eq!(escape_control("a\u{1b}[31mb"), "a\\x1b[31mb");
    assert_eq!(escape_control("\0\n\r\t\u{7f}"), "\\x00\\n\\r\\t\\x7f");
    assert_eq!(escape_control("\u{9b}2J"), "\\u{9b}2J");
    assert_eq!(escape_control("a\u{202e}gz.exe\u{2066}"), "a\\u{202e}gz.exe\\u{2066}");
    assert_eq!(escape_control("\u{2028}\u{feff}"), "\\u{2028}\\u{feff}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_key_makes_a_parser_panic(
        wild in any::<String>(),
        near in "(2022/04/17/15/|\\.\\./|/)?[a-z0-9.\\-/]{0,40}(1-2022-04-17-15-00-0[0-9]-)?\
                 (0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9)?.{0,8}",
        cut in any::<prop::sample::Index>(),
    ) {
        let shortened: String = near.chars().take(cut.index(near.chars().count() + 1)).collect();
        for key in [&wild, &near, &shortened] {
            let info = read(key);
            let _ = exclusion(key, 1);
            let _ = hours_of_folder(key);
            if let Ok(name) = info.name {
                prop_assert!(key.ends_with(&name.to_string()));
            }
            let shown = escape_control(key);
            prop_assert!(!shown.chars().any(char::is_control));
            prop_assert_eq!(escape_control(&shown), shown.clone());
        }
    }

    #[test]
    fn a_spelled_name_reads_as_itself(
        stream in "[a-zA-Z0-9_\\-=][a-zA-Z0-9_.\\-=]{0,63}",
        version in 1..=u32::MAX,
        at_s in 0..4_102_444_800i64,
        id in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        extension in "(\\.[0-9a-z!\\-_*'()]{1,8}){0,2}",
    ) {
        let time_utc = DateTime::from_timestamp(at_s, 0).unwrap();
        let name =
            ObjectName { stream, version, time_local: time_utc.naive_utc(), id, extension };
        let key = format!("{}{name}", prefix_of(Hour::containing(time_utc)));
        let info = read(&key);
        prop_assert_eq!(info.place, at(Hour::containing(time_utc)));
        prop_assert_eq!(info.name, Ok(name));
        prop_assert_eq!(exclusion(&key, 1), None);
    }

    #[test]
    fn any_hour_reads_back_from_its_prefix(at_s in -60_000_000_000..253_402_300_799i64) {
        let hour = Hour::containing(DateTime::from_timestamp(at_s, 0).unwrap());
        prop_assert_eq!(hour_of_prefix(&prefix_of(hour)), Some(hour));
        prop_assert!(parents_of(hour).windows(2).all(|pair| pair[0].starts_with(&pair[1])));
        for parent in &parents_of(hour)[..3] {
            prop_assert!(hours_of_folder(parent).unwrap().contains(hour));
        }
    }
}
