//! The JSON room against `serde_json`, and its laws: any split of the bytes, any projection and
//! any order of learning give the same rows and the same quarantine.

use proptest::prelude::*;
use rawcat::json::{
    Chunk, Column, Fate, Options, Projection, Quarantined, Reader, Reason, Tally, TimeText, Values,
};
use rawcat::schema::{ColumnType, Kinds, Pins, Schema};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

fn options(projection: Projection) -> Options {
    Options {
        projection,
        pins: Pins::new(),
        time_fields: vec!["ts".into()],
        by: Vec::new(),
        identity: None,
        max_record_bytes: 16 << 20,
    }
}

/// Everything an object gave, frames joined.
#[derive(Default)]
struct Read {
    chunks: Vec<Chunk>,
    tally: Tally,
    quarantine: Vec<Quarantined>,
}

/// Rows with `"ts": "out"` are not of the day.
fn read_with(options: Options, bytes: &[u8], cuts: &[usize]) -> Read {
    let mut reader = Reader::new(options);
    let mut read = Read::default();
    read_object(&mut reader, bytes, cuts, &mut read);
    read
}

fn read_object(reader: &mut Reader, bytes: &[u8], cuts: &[usize], read: &mut Read) {
    reader.begin_object();
    let mut cuts: Vec<usize> = cuts.iter().copied().filter(|cut| *cut < bytes.len()).collect();
    cuts.sort_unstable();
    cuts.push(bytes.len());
    let mut begin = 0;
    for end in cuts {
        let chunk =
            reader.read(&bytes[begin..end], end == bytes.len(), &mut |times| match times.get(0) {
                Some(TimeText::Text(b"out")) => Fate::Before,
                _ => Fate::Keep { ts_utc: 7, source: 0, clamped: false },
            });
        begin += chunk.consumed;
        read.tally.add(&chunk.tally);
        read.quarantine.extend(chunk.quarantine.iter().cloned());
        read.chunks.push(chunk);
    }
    assert_eq!(begin, bytes.len(), "the last block is consumed whole");
}

fn read_all(bytes: &[u8]) -> Read {
    read_with(options(Projection::All), bytes, &[])
}

/// The value of a column's row as text, as a reader of the table would see it.
fn cell(column: &Column, row: usize, as_type: ColumnType) -> Option<String> {
    if !column.is_valid(row) {
        return None;
    }
    Some(match &column.values {
        Values::Null => unreachable!("no value is valid"),
        Values::Bool(bits) => bits.get(row).to_string(),
        Values::Int(values) if as_type == ColumnType::Float => format!("{:?}", values[row] as f64),
        Values::Int(values) => values[row].to_string(),
        Values::Float(values) => format!("{:?}", values[row]),
        Values::Text(texts) => texts.get(row).to_string(),
        Values::List { ends, items } => {
            let begin = if row == 0 { 0 } else { ends[row - 1] as usize };
            let cells: Vec<String> = (begin..ends[row] as usize)
                .map(|at| {
                    let item = Column {
                        path: column.path.clone(),
                        kinds: Kinds::NONE,
                        column_type: as_type,
                        values: (*items.values).clone(),
                        valid: Some(items.valid.clone()),
                    };
                    cell(&item, at, as_type).unwrap_or("null".into())
                })
                .collect();
            cells.join(";")
        }
    })
}

/// (offset, path, cell) of every value, sorted: the rows without regard to chunks.
fn cells(read: &Read) -> Vec<(u64, String, String)> {
    let mut schema = Schema::default();
    for chunk in &read.chunks {
        for (path, kinds) in &chunk.frame.seen {
            schema.see(path, *kinds);
        }
    }
    let types = schema.columns(&Pins::new());
    let mut cells = Vec::new();
    for chunk in &read.chunks {
        for column in &chunk.frame.columns {
            let Some(spec) = types.iter().find(|spec| spec.path == column.path) else {
                continue;
            };
            for row in 0..chunk.frame.rows {
                if let Some(cell) = cell(column, row, spec.column_type) {
                    let path = column.path.pointer().to_string();
                    cells.push((chunk.frame.offsets[row], path, cell));
                }
            }
        }
    }
    cells.sort();
    cells
}

fn reasons(read: &Read) -> Vec<(u64, u64, Reason)> {
    read.quarantine.iter().map(|span| (span.offset, span.len, span.reason)).collect()
}

fn kept(read: &Read) -> u64 {
    read.tally.kept
}

#[test]
fn the_first_two_records_such_a_pipeline_delivers_are_two_records() {
    let read = read_all(br#"{"value":"30","type":"Tip 3"}{"value":"31","type":"Tip 3"}"#);
    assert_eq!(kept(&read), 2);
    let frame = &read.chunks[0].frame;
    assert_eq!(frame.offsets, [0, 29]);
    let names: Vec<_> = frame.columns.iter().map(|c| c.path.flat_name()).collect();
    assert_eq!(names, ["value", "type"]);
    assert_eq!(cell(&frame.columns[0], 1, ColumnType::Text).as_deref(), Some("31"));
}

#[test]
fn white_space_of_any_kind_and_none_may_stand_between_records() {
    let bytes =
        b"\xEF\xBB\xBF {\"a\":1}\n{ \"a\" : 2 }\r\n\t{\"a\":3}{\"a\":4}\x1e{\"a\":5},{\"a\":6} ";
    let read = read_all(bytes);
    assert_eq!((kept(&read), read.quarantine.len()), (6, 0));
    assert_eq!(read.tally.record_bytes + read.tally.separator_bytes, bytes.len() as u64);
}

#[test]
fn white_space_within_records_may_change_from_one_to_the_next() {
    let spaces = ["", "", " ", "", "\n\t", "  ", ""];
    for (before, behind) in [(0, 1), (1, 0), (1, 1), (2, 3)] {
        let text: String = (0..200)
            .map(|at| {
                let (before, behind) = (spaces[at * before % 7], spaces[at * behind % 7]);
                format!(
                    "{{\"n\"{before}:{behind}{at}{before},{behind}\"s\":{before}\"x\"{behind}}}"
                )
            })
            .collect();
        let read = read_all(text.as_bytes());
        assert_eq!((kept(&read), reasons(&read)), (200, vec![]), "{before} {behind}");
        assert_eq!(cells(&read).len(), 400);
    }
}

#[test]
fn a_list_of_records_is_opened_and_other_json_is_named() {
    let read = read_all(br#"[{"a":1},{"a":2}]{"a":3}17"x"[1,2]null[]"#);
    assert_eq!(kept(&read), 3);
    let spans: Vec<_> = read.quarantine.iter().map(|q| String::from_utf8_lossy(&q.bytes)).collect();
    assert_eq!(spans, ["17", "\"x\"", "[1,2]", "null"]);
    assert!(read.quarantine.iter().all(|q| q.reason == Reason::NotAnObject));
    let unclosed = read_all(br#"[{"a":1},{"a":2}"#);
    assert_eq!(reasons(&unclosed), [(16, 0, Reason::ArrayNotClosed)]);
}

#[test]
fn text_inside_a_string_is_never_taken_for_a_record() {
    // The first record lacks a quote; its string holds `}{`.
    let read = read_all(br#"{"a:1,"b":"}{\"x\":1}"}{"a":2}{"a":3}"#);
    assert_eq!(reasons(&read), [(0, 23, Reason::UnexpectedByte)]);
    assert_eq!(kept(&read), 2);
    // Made to deceive: read from inside the string, `{",":":"}` is a whole object.
    let bytes = br#"{"z":x,"a":"}{",":":"}{","b":1}{"a":2}{"a":3}"#;
    let read = read_all(bytes);
    let first = read.chunks[0].frame.offsets[0] as usize;
    assert_eq!(&bytes[first..first + 7], br#"{"a":2}"#);
}

#[test]
fn text_that_was_made_to_deceive_is_no_record_where_the_damage_comes_later() {
    let bytes = br#"{"z":"}{",":":"}{","b":x}{"a":2}{"a":3}"#;
    let read = read_all(bytes);
    assert_eq!(reasons(&read), [(0, 25, Reason::UnexpectedByte)]);
    assert_eq!(read.chunks[0].frame.offsets, [25, 32]);
}

#[test]
fn reading_goes_on_at_the_next_certain_record() {
    for (bytes, kept_records, expected) in [
        (&br#"{"a":1}{"a":2x}{"a":3}{"a":4}"#[..], 3, vec![(7, 8, Reason::UnexpectedByte)]),
        (br#"{"a":"x}{"a":2}{"a":3}"#, 2, vec![(0, 8, Reason::UnexpectedByte)]),
        (br#"{"a":1}{"a":2"#, 1, vec![(7, 6, Reason::CutOff)]),
        (br#"{"a":1}{"a":"\q"}{"a":3}"#, 2, vec![(7, 10, Reason::BadEscape)]),
        (br#"{"a":"\ud800"}{"a":3}"#, 1, vec![(0, 14, Reason::LoneSurrogate)]),
        (b"{\"a\":\"\xff\"}{\"a\":3}", 1, vec![(0, 9, Reason::BadUtf8)]),
        (b"{\"a\":\"\n\"}{\"a\":3}{\"a\":4}", 2, vec![(0, 9, Reason::ControlCharacter)]),
        (br#"{"a":01}{"a":3}"#, 1, vec![(0, 8, Reason::BadNumber)]),
        (br#"{"a":trve}{"a":3}"#, 1, vec![(0, 10, Reason::BadLiteral)]),
        // Lists of records, as whole batches are sent.
        (br#"[{"a":1},{"a":x}][{"a":3},{"a":4}]"#, 3, vec![(9, 8, Reason::UnexpectedByte)]),
        (br#"[{"a":1},{"a":x}]{"a":3}"#, 2, vec![(9, 8, Reason::UnexpectedByte)]),
        (
            b"{\"a\":x} [ {\"a\":2} ,\n{\"a\":3} ] {\"a\":4}",
            3,
            vec![(0, 8, Reason::UnexpectedByte)],
        ),
        // Lists within a damaged record, whose comma is gone.
        (br#"{"a":[[{"b":1}][{"b":2}]]}{"a":3}"#, 1, vec![(0, 26, Reason::UnexpectedByte)]),
        (br#"{"a":[{"b":1}{"b":2},{"b":3}]}{"a":3}"#, 1, vec![(0, 30, Reason::UnexpectedByte)]),
        // What looks like a list of records, or follows a record separator, in a string.
        (br#"{"a":@,"s":"}{"}[{":":{"}{":1}}]{"z":1}"#, 1, vec![(0, 32, Reason::UnexpectedByte)]),
        (
            b"{\"a\":@,\"s\":\"}{\"}\x1e{\":\":{\"}{\":1}}{\"z\":1}",
            1,
            vec![(0, 31, Reason::UnexpectedByte)],
        ),
        // Between commas no place is certain: what follows may lie in the damaged record.
        (br#"{"a":1},{"a":x},{"a":3},{"a":4}"#, 1, vec![(8, 23, Reason::UnexpectedByte)]),
    ] {
        let read = read_all(bytes);
        assert_eq!(reasons(&read), expected, "{}", String::from_utf8_lossy(bytes));
        assert_eq!(kept(&read), kept_records, "{}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn a_hundred_thousand_levels_are_quarantined_and_the_next_record_is_read() {
    let mut bytes = b"{\"a\":".to_vec();
    bytes.extend(std::iter::repeat_n(b'[', 100_000));
    bytes.extend(std::iter::repeat_n(b']', 100_000));
    bytes.extend_from_slice(b"}{\"a\":1}");
    let read = read_all(&bytes);
    assert_eq!(reasons(&read), [(0, 200_006, Reason::TooDeep)]);
    assert_eq!(kept(&read), 1);
    let objects = [b"{\"a\":".repeat(100_000), b"{}".to_vec(), b"}".repeat(100_000)].concat();
    assert_eq!(reasons(&read_all(&objects))[0].2, Reason::TooDeep);
}

#[test]
fn a_record_too_large_is_quarantined_however_the_bytes_are_cut() {
    let bytes = [br#"{"a":1}{"a":""#, &b"x".repeat(500)[..], br#""}{"a":2}{"a":3}"#].concat();
    for cuts in [vec![], vec![100], (1..bytes.len()).collect::<Vec<_>>()] {
        let mut options = options(Projection::All);
        options.max_record_bytes = 200;
        let read = read_with(options, &bytes, &cuts);
        assert_eq!(reasons(&read), [(7, 508, Reason::TooLarge)]);
        assert_eq!(kept(&read), 3);
    }
}

#[test]
fn an_object_that_is_bad_all_through_fills_no_memory_with_its_list() {
    let bytes = b"1 ".repeat(50_000);
    for cuts in [vec![], vec![30_001, 30_010, 70_000]] {
        let read = read_with(options(Projection::All), &bytes, &cuts);
        assert_eq!(read.quarantine.len(), 10_000);
        let more: Vec<_> = read.chunks.iter().flat_map(|chunk| &chunk.more).collect();
        let places: u64 = more.iter().map(|more| more.places).sum();
        let spared: u64 = more.iter().map(|more| more.bytes).sum();
        assert_eq!((places, spared, more[0].offset), (40_000, 40_000, 20_000));
        assert_eq!(read.tally.quarantined_bytes, 50_000);
    }
}

#[test]
fn types_widen_to_text_with_the_exact_source() {
    let read = read_all(br#"{"a":1}{"a":2.50}{"a":"x"}{"a":1e400}{"a":-0}{"a":9007199254740993}"#);
    let texts: Vec<_> = cells(&read).into_iter().map(|(_, _, cell)| cell).collect();
    assert_eq!(texts, ["1", "2.50", "x", "1e400", "-0", "9007199254740993"]);
    let ints = read_all(br#"{"a":-0}{"a":9223372036854775807}"#);
    assert_eq!(ints.chunks[0].frame.columns[0].values, Values::Int(vec![0, i64::MAX]));
    let floats = read_all(br#"{"a":1}{"a":2.5}"#);
    assert_eq!(floats.chunks[0].frame.columns[0].values, Values::Float(vec![1.0, 2.5]));
    let mixed = read_all(br#"{"a":9007199254740993}{"a":2.5}"#);
    let texts: Vec<_> = cells(&mixed).into_iter().map(|(_, _, cell)| cell).collect();
    assert_eq!(texts, ["9007199254740993", "2.5"]);
}

#[test]
fn objects_that_disagree_become_json_text() {
    let read = read_all(br#"{"d":{"id":1,"n":"x"}}{"d":"text"}{"d":null}{"d":{"id":2}}"#);
    assert_eq!(
        cells(&read),
        [
            (0, "/d".to_string(), r#"{"id":1,"n":"x"}"#.to_string()),
            (22, "/d".to_string(), r#""text""#.to_string()),
            (44, "/d".to_string(), r#"{"id":2}"#.to_string()),
        ]
    );
}

#[test]
fn rows_outside_the_day_leave_no_trace_in_types_and_columns() {
    let read = read_all(br#"{"a":1}{"ts":"out","a":"x","b":2}{"a":3}"#);
    assert_eq!(read.chunks[0].frame.columns.len(), 1);
    assert_eq!(read.chunks[0].frame.columns[0].values, Values::Int(vec![1, 3]));
    assert_eq!((read.tally.kept, read.tally.before), (2, 1));
}

#[test]
fn of_two_equal_keys_the_last_one_wins_and_they_are_counted() {
    let read = read_all(br#"{"a":{"x":1,"y":2},"a":{"x":3},"b":1,"\u0062":2}"#);
    assert_eq!(
        cells(&read),
        [(0, "/a/x".to_string(), "3".to_string()), (0, "/b".to_string(), "2".to_string())]
    );
    let counts: Vec<u64> = read.chunks[0].duplicate_keys.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [1, 1]);
}

#[test]
fn declared_types_read_numeric_text_and_quarantine_what_does_not_read() {
    let mut options = options(Projection::All);
    options.pins.insert("value".into(), ColumnType::Float);
    let read = read_with(options, br#"{"value":"30"}{"value":31}{"value":"x"}{"value":null}"#, &[]);
    let column = &read.chunks[0].frame.columns[0];
    assert_eq!(column.values, Values::Float(vec![30.0, 31.0, 0.0]));
    assert!(!column.is_valid(2));
    assert_eq!(reasons(&read), [(26, 13, Reason::NotOfDeclaredType)]);
}

#[test]
fn what_a_later_key_overrules_does_not_depend_on_the_columns_asked_for() {
    let bytes = br#"{"d":{"ts":"out","x":1},"d":{"x":2},"value":1}{"d":{"x":1},"d":{"x":2}}"#;
    for projection in [Projection::All, Projection::Named(vec!["value".into()])] {
        let mut options = options(projection);
        options.time_fields = vec!["d.ts".into()];
        let read = read_with(options, bytes, &[]);
        assert_eq!((read.tally.kept, read.tally.before), (2, 0));
        let overruled = &read.chunks[0].duplicate_keys;
        assert_eq!(overruled.iter().map(|(_, count)| count).sum::<u64>(), 2);
    }
}

#[test]
fn declared_json_is_one_column_and_its_members_are_none() {
    let mut options = options(Projection::All);
    options.pins.insert("d".into(), ColumnType::Json);
    let read = read_with(options.clone(), br#"{"d":{"u1":1}}{"d":{"u2":[1]}}{"d":null}"#, &[]);
    let columns = &read.chunks[0].frame.columns;
    assert_eq!(columns.len(), 1);
    assert_eq!(cell(&columns[0], 1, ColumnType::Json).as_deref(), Some(r#"{"u2":[1]}"#));
    let mut schema = Schema::default();
    read.chunks[0].frame.seen.iter().for_each(|(path, kinds)| schema.see(path, *kinds));
    let specs = schema.columns(&options.pins);
    assert_eq!((specs.len(), specs[0].column_type), (1, ColumnType::Json));
}

#[test]
fn space_without_end_is_no_work_without_end() {
    let spaces = b" ".repeat(3 << 20);
    let bytes =
        [&b"["[..], &spaces, br#"{"a":1}"#, &spaces, b"]", br#"{"a":x}"#, &spaces, br#"{"a":2}"#]
            .concat();
    let cuts: Vec<usize> = (1..300).map(|cut| cut * 30_000).collect();
    let (whole, cut) = (read_all(&bytes), read_with(options(Projection::All), &bytes, &cuts));
    assert_eq!(whole.tally, cut.tally);
    let empty_records = [&b"x"[..], &b"{}".repeat(300_000)].concat();
    assert_eq!(read_all(&empty_records).tally.kept, 0);
}

/// A JSON document as a producer might write it: with spaces, escapes, odd numbers.
fn json_value() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_string()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|i| i.to_string()),
        (-1000i64..1000).prop_map(|i| i.to_string()),
        any::<f64>()
            .prop_filter("JSON has no such number", |f| f.is_finite())
            .prop_map(|f| format!("{f:e}")),
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,9})?([eE][-+]?[0-9]{1,3})?",
        ".{0,12}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        "[}{\\[\\]\":,]{0,8}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just(r#""\u00e9\ud83d\ude00\n}{""#.to_string()),
        Just(r#""}{\"a\":1}{""#.to_string()),
    ];
    scalar.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec((key(), inner), 0..4).prop_map(object),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("a".to_string()),
        Just("b".to_string()),
        Just("c".to_string()),
        Just("ts".to_string()),
        Just("한글".to_string()),
        "[a-z/~.\"]{0,3}",
    ]
}

fn object(members: Vec<(String, String)>) -> String {
    let members: Vec<String> = members
        .into_iter()
        .map(|(key, value)| format!("{}:{value}", serde_json::to_string(&key).unwrap()))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// A sound record whose strings hold structure, so that its structure reads as strings.
fn deceiving() -> impl Strategy<Value = String> {
    let texts = ["}{", "}{", ",", ":", "{", "}", "}{\\\"a\\\":1}{", "", "}{}{", "[", "]"];
    let text = || prop::sample::select(texts.to_vec()).prop_map(|text| format!("\"{text}\""));
    let value = prop_oneof![3 => text(), 1 => Just("1".to_string()), 1 => Just("{}".to_string())];
    prop::collection::vec((text(), value), 0..6).prop_map(|members| {
        let members: Vec<String> =
            members.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
        format!("{{{}}}", members.join(","))
    })
}

fn record() -> impl Strategy<Value = String> {
    prop::collection::vec((key(), json_value()), 0..5).prop_map(object)
}

fn glued() -> impl Strategy<Value = Vec<u8>> {
    let separator = prop_oneof![4 => Just(""), 1 => Just("\n"), 1 => Just(" \r\n\t")];
    prop::collection::vec((record(), separator), 0..8).prop_map(|records| {
        records.into_iter().flat_map(|(record, between)| (record + between).into_bytes()).collect()
    })
}

/// Lists of records, glued.
fn glued_lists() -> impl Strategy<Value = Vec<u8>> {
    let list = prop::collection::vec(record(), 1..4);
    prop::collection::vec(list, 0..5).prop_map(|lists| {
        lists.into_iter().flat_map(|list| format!("[{}]", list.join(",")).into_bytes()).collect()
    })
}

/// Glued records with a few bytes changed, removed or put in.
pub fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let edit = (
        any::<prop::sample::Index>(),
        0..3u8,
        prop_oneof![any::<u8>(), prop::sample::select(br#""{}[],\"#.to_vec())],
    );
    (prop_oneof![2 => glued(), 1 => glued_lists()], prop::collection::vec(edit, 0..4)).prop_map(
        |(mut bytes, edits)| {
            for (at, what, byte) in edits {
                if bytes.is_empty() {
                    break;
                }
                let at = at.index(bytes.len());
                match what {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    _ => drop(bytes.remove(at)),
                }
            }
            bytes
        },
    )
}

/// The leaves of a record as `cells` shows them, flattened as the reader flattens.
fn expected_cells(bytes: &[u8]) -> Vec<(u64, String)> {
    let mut stream = serde_json::Deserializer::from_slice(bytes).into_iter::<IgnoredAny>();
    let mut expected = Vec::new();
    loop {
        let begin = stream.byte_offset();
        let begin = begin + bytes[begin..].iter().take_while(|b| b.is_ascii_whitespace()).count();
        match stream.next() {
            Some(Ok(_)) => expected.push((
                begin as u64,
                String::from_utf8(bytes[begin..stream.byte_offset()].to_vec()).unwrap(),
            )),
            _ => return expected,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_record_that_serde_json_reads_is_read_at_the_same_offset(bytes in glued()) {
        let expected = expected_cells(&bytes);
        let read = read_all(&bytes);
        let mut offsets: Vec<u64> = read.chunks.iter().flat_map(|c| c.frame.offsets.clone()).collect();
        offsets.extend(read.quarantine.iter().map(|q| q.offset));
        prop_assert_eq!(read.quarantine.len(), 0);
        prop_assert_eq!(read.tally.kept + read.tally.before, expected.len() as u64);
        let sum = read.tally.record_bytes + read.tally.separator_bytes;
        prop_assert_eq!(sum, bytes.len() as u64);
    }

    #[test]
    fn top_level_values_are_what_serde_json_reads(records in prop::collection::vec(record(), 1..6)) {
        let bytes = records.concat().into_bytes();
        let read = read_all(&bytes);
        let all = cells(&read);
        for (offset, source) in expected_cells(&bytes) {
            // serde_json refuses numbers beyond f64, which rawcat keeps as text.
            let Ok(members) = serde_json::from_str::<Map<String, Value>>(&source) else { continue };
            if members.get("ts") == Some(&Value::String("out".into())) { continue; }
            for (key, value) in members {
                let pointer = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
                let cell = all.iter().find(|(at, path, _)| *at == offset && *path == pointer).map(|(_, _, cell)| cell.as_str());
                match value {
                    Value::Null => prop_assert_eq!(cell, None),
                    Value::String(text) => {
                        let quoted = cell.is_some_and(|cell| serde_json::from_str::<Value>(cell).is_ok_and(|v| v == Value::String(text.clone())));
                        prop_assert!(cell == Some(&text) || quoted, "{:?} for {:?}", cell, text);
                    }
                    Value::Bool(value) => prop_assert_eq!(cell.map(str::to_string), Some(value.to_string())),
                    Value::Number(number) => {
                        let cell = cell.expect("a number is a value");
                        // serde_json rounds some doubles to a neighbour; `number` has the exact test.
                        let (ours, theirs) = (cell.parse::<f64>().unwrap(), number.as_f64().unwrap());
                        prop_assert!((ours - theirs).abs() <= theirs.abs() * 1e-15, "{} for {}", cell, number);
                    }
                    Value::Array(_) | Value::Object(_) => {}
                }
            }
        }
    }

    #[test]
    fn any_split_of_the_bytes_gives_the_same_rows_and_the_same_quarantine(
        bytes in damaged(),
        cuts in prop::collection::vec(0usize..400, 0..12),
        by_byte in any::<bool>(),
    ) {
        let whole = read_all(&bytes);
        let cuts = if by_byte { (1..bytes.len()).collect() } else { cuts };
        let split = read_with(options(Projection::All), &bytes, &cuts);
        prop_assert_eq!(&whole.tally, &split.tally);
        prop_assert_eq!(&whole.quarantine, &split.quarantine);
        prop_assert_eq!(whole.tally.record_bytes + whole.tally.separator_bytes + whole.tally.quarantined_bytes, bytes.len() as u64);
        // Chunks may be narrower than the day; read again with the day's types they agree.
        let mut schema = Schema::default();
        for (path, kinds) in whole.chunks.iter().flat_map(|chunk| &chunk.frame.seen) {
            schema.see(path, *kinds);
        }
        let columns = schema.columns(&Pins::new());
        let told = |cuts: &[usize]| {
            let mut reader = Reader::new(options(Projection::All));
            reader.expect(&columns);
            let mut told = Read::default();
            read_object(&mut reader, &bytes, cuts, &mut told);
            cells(&told)
        };
        prop_assert_eq!(told(&[]), told(&cuts));
    }

    #[test]
    fn the_quarantine_does_not_depend_on_the_columns_asked_for(bytes in damaged()) {
        let all = read_all(&bytes);
        for names in [vec![], vec!["a".to_string()], vec!["b_c".to_string(), "ts".to_string()]] {
            let some = read_with(options(Projection::Named(names)), &bytes, &[]);
            prop_assert_eq!(&all.quarantine, &some.quarantine);
            prop_assert_eq!(all.tally.kept, some.tally.kept);
            prop_assert_eq!(all.tally.before, some.tally.before);
        }
    }

    #[test]
    fn what_is_accepted_as_a_record_is_json_for_serde_json_too(bytes in damaged()) {
        let read = read_all(&bytes);
        for chunk in &read.chunks {
            for &offset in &chunk.frame.offsets {
                let mut stream = serde_json::Deserializer::from_slice(&bytes[offset as usize..]).into_iter::<Value>();
                let next = stream.next();
                // serde_json refuses numbers beyond f64, which we keep as text.
                let too_large = matches!(&next, Some(Err(error)) if error.to_string().contains("out of range"));
                prop_assert!(too_large || matches!(next, Some(Ok(Value::Object(_)))), "{:?}", next);
            }
        }
    }

    #[test]
    fn any_bytes_are_accounted_for(bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(br#"{}[]",:\0 1"#.to_vec())], 0..200)) {
        let read = read_all(&bytes);
        prop_assert_eq!(read.tally.record_bytes + read.tally.separator_bytes + read.tally.quarantined_bytes, bytes.len() as u64);
    }
}

proptest! {
    // Each case reads its bytes about twenty times.
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn deceiving_records_keep_every_law_that_the_fuzzer_checks(
        records in prop::collection::vec(deceiving(), 1..5),
    ) {
        crate::laws::records::check(records.concat().as_bytes());
    }

    #[test]
    fn damaged_records_keep_every_law_that_the_fuzzer_checks(bytes in damaged()) {
        crate::laws::records::check(&bytes);
    }
}
