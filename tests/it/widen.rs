//! Columns whose type widens late, over more rows than one row group holds: nothing is lost, and
//! when it was learnt cannot show.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::place::{Place, key};

/// More than the 131,072 rows of one row group, so that written chunks have to be replaced.
const ROWS: usize = 132_000;
const OBJECTS: usize = 6;
/// Only every so many rows hold more than their number.
const STEP: usize = 8;
const DIGITS: &str = "49626184729405719203847561029384756102938475610293847561";
const LINE: &str = "fetch --day 2022-04-18 --tz Asia/Seoul -q --export records";

/// A column that widens: its name, the values of early rows (in turn), the one late value, the
/// type it has in the end, and how early and late cells look then.
struct Column {
    name: &'static str,
    early: &'static [&'static str],
    late: Option<&'static str>,
    kind: &'static str,
    early_cells: Value,
    late_cell: Value,
}

fn column(
    name: &'static str,
    early: &'static [&'static str],
    late: Option<&'static str>,
    kind: &'static str,
    early_cells: Value,
    late_cell: Value,
) -> Column {
    Column { name, early, late, kind, early_cells, late_cell }
}

/// In the order in which records have them.
fn columns() -> Vec<Column> {
    let huge = concat!("4962618472940571920384756", "1029384756102938475610293847561");
    assert_eq!(huge.len(), DIGITS.len());
    vec![
        column("int_int", &["5", "-0"], Some("8"), "i64", json!([5, 0]), json!(8)),
        column(
            "int_float",
            &["1", "-7", "-0"],
            Some("0.5"),
            "f64",
            json!([1.0, -7.0, -0.0]),
            json!(0.5),
        ),
        column(
            "int_text",
            &["7", "-0", "9007199254740993", "-9223372036854775808"],
            Some("\"x\""),
            "str",
            json!(["7", "-0", "9007199254740993", "-9223372036854775808"]),
            json!("x"),
        ),
        column(
            "float_text",
            &["2.50", "1e3", "-0.0", "1E+2", "30"],
            Some("\"x\""),
            "str",
            json!(["2.50", "1e3", "-0.0", "1E+2", "30"]),
            json!("x"),
        ),
        column("int_huge", &["1", "-0"], Some(DIGITS), "str", json!(["1", "-0"]), json!(DIGITS)),
        column(
            "int_over",
            &["12", "2.50"],
            Some("1e400"),
            "str",
            json!(["12", "2.50"]),
            json!("1e400"),
        ),
        column(
            "float_big",
            &["2.50", "3"],
            Some("9007199254740993"),
            "str",
            json!(["2.50", "3"]),
            json!("9007199254740993"),
        ),
        column(
            "bool_text",
            &["true", "false"],
            Some("1"),
            "str",
            json!(["true", "false"]),
            json!("1"),
        ),
        column(
            "object_json",
            &["{\"a\":1, \"b\":[1, 2.50]}", "{\"a\": \"\\u00e9\"}"],
            Some("\"pl\\u0061in\""),
            "str",
            json!(["{\"a\":1, \"b\":[1, 2.50]}", "{\"a\": \"\\u00e9\"}"]),
            json!("\"pl\\u0061in\""),
        ),
        column(
            "text_json",
            &["\"say \\\"hi\\\"\"", "\"b\""],
            Some("{\"a\":  -0}"),
            "str",
            json!(["\"say \\\"hi\\\"\"", "\"b\""]),
            json!("{\"a\":  -0}"),
        ),
        column(
            "ints_floats",
            &["[1, 2]", "[]", "[null]"],
            Some("[0.5]"),
            "list[f64]",
            json!([[1.0, 2.0], [], [null]]),
            json!([0.5]),
        ),
        column(
            "none_ints",
            &["[]", "null"],
            Some("[1,null]"),
            "list[i64]",
            json!([[], null]),
            json!([1, null]),
        ),
        column(
            "list_scalar",
            &["[1, 2]", "[-0]"],
            Some("-0"),
            "str",
            json!(["[1, 2]", "[-0]"]),
            json!("-0"),
        ),
        column(
            "ints_nested",
            &["[1]", "[2, 3]"],
            Some("[[1]]"),
            "str",
            json!(["[1]", "[2, 3]"]),
            json!("[[1]]"),
        ),
        column("null_int", &["null"], Some("3"), "i64", json!([null]), json!(3)),
        column("null_null", &["null"], Some("null"), "str", json!([null]), json!(null)),
        column("new", &[], Some("\"late\""), "str", json!([]), json!("late")),
    ]
}

/// The text of early row `n`.
fn early_record(n: usize, columns: &[Column], out: &mut String) {
    let _ = write!(out, "{{\"n\":{n}");
    if n.is_multiple_of(STEP) {
        for column in columns.iter().filter(|column| !column.early.is_empty()) {
            let value = column.early[n / STEP % column.early.len()];
            let _ = write!(out, ",\"{}\":{value}", column.name);
        }
    }
    out.push('}');
}

fn late_record(columns: &[Column]) -> String {
    let late = columns.iter().filter_map(|c| Some(format!(",\"{}\":{}", c.name, c.late?)));
    format!("{{\"n\":-1{}}}", late.collect::<String>())
}

/// A source whose widening record comes behind all others, or in front of them.
fn source(late_comes_last: bool) -> Place {
    let place = Place::new();
    let columns = columns();
    for object in 0..OBJECTS {
        let rows = ROWS / OBJECTS;
        let mut text = String::new();
        for n in object * rows..(object + 1) * rows {
            early_record(n, &columns, &mut text);
        }
        place.put(&key("s", &format!("2022-04-18T03:00:1{object}"), object as u32), text);
    }
    let time = if late_comes_last { "2022-04-18T03:00:30" } else { "2022-04-18T03:00:00" };
    place.put(&key("s", time, 9), late_record(&columns));
    place
}

fn records(place: &Place) -> Vec<u8> {
    let path = "records/local_date=2022-04-18/part-00000.parquet";
    std::fs::read(place.out().join(path)).unwrap()
}

#[test]
fn a_column_that_widens_behind_a_written_row_group_holds_every_value_exactly() {
    let place = source(true);
    place.run(&format!("{LINE} --jobs 2")).ends(0);
    let table = place.records("2022-04-18");
    assert_eq!(table.rows(), ROWS + 1);
    let numbers = table.column("n");
    assert!(numbers[..ROWS].iter().enumerate().all(|(at, n)| *n == at));
    for column in columns() {
        assert_eq!(table.kind(column.name), column.kind, "{}", column.name);
        let cells = table.column(column.name);
        assert_eq!(cells[ROWS], column.late_cell, "{}", column.name);
        let early = column.early_cells.as_array().unwrap();
        for (n, cell) in cells[..ROWS].iter().enumerate() {
            let holds = n % STEP == 0 && !early.is_empty();
            let wanted = if holds { &early[n / STEP % early.len()] } else { &Value::Null };
            assert_eq!(cell, wanted, "{} in row {n}", column.name);
        }
    }
    // A zero keeps its sign where it is a fraction.
    let zero = table.at("int_float", 2 * STEP).as_f64().unwrap();
    assert!(zero == 0.0 && zero.is_sign_negative());
}

#[test]
fn neither_threads_nor_types_known_beforehand_show_in_the_bytes_of_a_widened_day() {
    let place = source(true);
    place.run(&format!("{LINE} --jobs 1")).ends(0);
    let once = records(&place);
    place.run(&format!("{LINE} --jobs 3")).ends(0);
    assert!(records(&place) == once, "1 and 3 jobs");
    // With every type declared, each row group is written as it stays.
    let types: Vec<String> = place
        .manifest("2022-04-18")
        .columns
        .iter()
        .filter(|column| column.column_type != "null")
        .map(|column| format!("{}={}", column.name, column.column_type))
        .collect();
    place.run(&format!("{LINE} --jobs 2 --type {}", types.join(","))).ends(0);
    assert!(records(&place) == once, "types declared and types found");
}

#[test]
fn a_widening_value_gives_the_same_rows_whether_it_comes_first_or_last() {
    let (last, first) = (source(true), source(false));
    let line =
        format!("{LINE},aggregates --metric int_float,int_text,float_text,null_int --jobs 2");
    last.run(&line).ends(0);
    first.run(&line).ends(0);
    let (late, soon) = (last.records("2022-04-18"), first.records("2022-04-18"));
    assert_eq!(late.names(), soon.names());
    for name in late.names().iter().filter(|name| !name.starts_with("ts_")) {
        assert_eq!(late.kind(name), soon.kind(name));
        let (late, soon) = (late.column(name), soon.column(name));
        assert_eq!(late[ROWS], soon[0], "{name}");
        assert!(late[..ROWS] == soon[1..], "{name}");
    }
    // The order of rows cannot show in the aggregates at all.
    for table in ["daily", "hourly"] {
        let path = format!("aggregates/{table}/local_date=2022-04-18/part-00000.parquet");
        let bytes = |place: &Place| std::fs::read(place.out().join(&path)).unwrap();
        assert!(bytes(&last) == bytes(&first), "{table}");
    }
}

#[test]
fn types_that_change_from_object_to_object_give_the_same_bytes_with_any_number_of_threads() {
    const VALUES: [&str; 12] = [
        "1",
        "2.50",
        "\"x\"",
        "true",
        "[1]",
        "[0.5]",
        "{\"a\":1}",
        "null",
        "-0",
        "1e400",
        "[\"t\"]",
        "{}",
    ];
    let place = Place::new();
    let mut state = 7_u32;
    let mut draw = |among: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as usize % among
    };
    for object in 0..40 {
        let mut text = String::new();
        // Each object has few kinds of values, so that threads learn different things.
        let kinds: Vec<usize> = (0..8).map(|_| draw(VALUES.len())).collect();
        for _ in 0..1 + draw(60) {
            text.push_str("{\"k\":0");
            for (column, kind) in kinds.iter().enumerate() {
                // Each column holds its own few of the values, from nothing but nulls to all.
                let value = VALUES[(kind * column / 7 + column) % VALUES.len()];
                if draw(4) > 0 {
                    let _ = write!(text, ",\"c{column}\":{value}");
                }
            }
            text.push('}');
        }
        place.put(&key("s", &format!("2022-04-18T03:00:{object:02}"), object), text);
    }
    let mut first = None;
    for jobs in [1, 2, 3, 8] {
        place.run(&format!("{LINE},aggregates --jobs {jobs}")).ends(0);
        place.manifest("2022-04-18");
        let result = place.result();
        assert!(*first.get_or_insert_with(|| result.clone()) == result, "{jobs} jobs");
    }
}
