//! A million integers and a million doubles through the record reader, against Rust's own parser and
//! serde_json. The numbers are the same in every run.

use std::fmt::Write;

use rawcat::json::{Column, Fate, Literal, Options, Projection, Reader, Values, read_number_text};
use rawcat::schema::{Kinds, Pins};

use crate::laws::draw::Draw;

const MILLION: usize = 1_000_000;

/// One literal in so many is also given to serde_json and read as text: they take longer.
const SAMPLE: usize = 4;

#[test]
fn a_million_integers_are_exact_and_those_beyond_i64_keep_their_text() {
    let mut draw = Draw::of(b"integers");
    let (within, beyond): (Vec<String>, Vec<String>) =
        (0..MILLION).map(|_| integer(&mut draw)).partition(|text| text.parse::<i64>().is_ok());
    assert!(within.len() > MILLION / 4 && beyond.len() > MILLION / 4);

    let Values::Int(values) = column(&within).values else { panic!("a column of integers") };
    for (at, (literal, value)) in within.iter().zip(values).enumerate() {
        assert_eq!(literal.parse(), Ok(value), "{literal}");
        if literal != "-0" {
            assert_eq!(value.to_string(), *literal);
        }
        if at % SAMPLE == 0 {
            assert_eq!(read_number_text(literal), Some(Literal::Int(value)));
            // serde_json makes a float of `-0`.
            let theirs: serde_json::Number = serde_json::from_str(literal).unwrap();
            assert!(theirs.as_i64() == Some(value) || literal == "-0", "{literal}");
        }
    }
    assert_texts(&beyond);
}

#[test]
fn a_million_doubles_read_as_rust_reads_them_to_the_last_bit() {
    let mut draw = Draw::of(b"doubles");
    let (within, beyond): (Vec<String>, Vec<String>) =
        (0..MILLION).map(|_| double(&mut draw)).partition(|literal| is_held_by_f64(literal));
    assert!(within.len() > MILLION / 2 && beyond.len() > MILLION / 100);

    let column = column(&within);
    assert_eq!(column.kinds, Kinds::FLOAT);
    let Values::Float(values) = column.values else { panic!("a column of doubles") };
    for (at, (literal, value)) in within.iter().zip(values).enumerate() {
        let rusts: f64 = literal.parse().unwrap();
        assert_eq!(value.to_bits(), rusts.to_bits(), "{literal}");
        if at % SAMPLE == 0 {
            let Some(Literal::Float(text)) = read_number_text(literal) else { panic!("{literal}") };
            assert_eq!(text.to_bits(), rusts.to_bits(), "{literal}");
            // As it is built here, serde_json is off in the last bits now and then.
            let theirs: f64 = serde_json::from_str(literal).unwrap();
            assert!(theirs.to_bits().abs_diff(rusts.to_bits()) <= 4, "{literal}");
        }
    }
    assert_texts(&beyond);
}

/// What no number holds comes out as it was written.
fn assert_texts(literals: &[String]) {
    let column = column(literals);
    assert_eq!(column.kinds, Kinds::HUGE);
    let Values::Text(texts) = column.values else { panic!("a column of texts") };
    for (at, literal) in literals.iter().enumerate() {
        assert_eq!(texts.get(at), literal);
    }
}

/// The column of records that hold nothing but these literals, glued and read in one go.
fn column(literals: &[String]) -> Column {
    let mut bytes = Vec::new();
    for literal in literals {
        bytes.extend_from_slice(b"{\"n\":");
        bytes.extend_from_slice(literal.as_bytes());
        bytes.push(b'}');
    }
    let mut reader = Reader::new(Options {
        projection: Projection::All,
        pins: Pins::new(),
        time_fields: Vec::new(),
        by: Vec::new(),
        identity: None,
        max_record_bytes: 1 << 20,
    });
    reader.begin_object();
    let keep = Fate::Keep { ts_utc: 0, source: 0, clamped: false };
    let mut chunk = reader.read(&bytes, true, &mut |_| keep);
    assert_eq!((chunk.quarantine.len(), chunk.frame.rows), (0, literals.len()));
    let column = chunk.frame.columns.pop().unwrap();
    assert!(column.valid.is_none() && chunk.frame.columns.is_empty());
    column
}

/// Integers of any length up to 40 digits, and those around the ends of i64, powers of ten and 2^53.
fn integer(draw: &mut Draw) -> String {
    let mut text = match draw.below(4) {
        0 => (draw.number() as i64 >> draw.below(64)).to_string(),
        1 => {
            let edges =
                [i64::MAX as i128, i64::MIN as i128, 1 << 53, -1 << 53, u64::MAX as i128, 0];
            let edge = draw.one_of(&edges);
            return (edge + draw.below(7) as i128 - 3).to_string();
        }
        2 => {
            let power = 10i128.pow(draw.below(30) as u32);
            (power + draw.below(3) as i128 - 1).to_string()
        }
        _ => {
            let len = 1 + draw.below(40);
            let mut text = digits(draw, len);
            if text.starts_with('0') && len > 1 {
                text.replace_range(..1, "7");
            }
            text
        }
    };
    if draw.below(3) == 0 && !text.starts_with('-') {
        text.insert(0, '-');
    }
    text
}

/// Doubles of random bits as Rust spells them, short decimals as people do, and long literals.
fn double(draw: &mut Draw) -> String {
    let mut text = String::new();
    match draw.below(4) {
        0 => loop {
            let value = f64::from_bits(draw.number());
            if value.is_finite() {
                // The shortest spelling that reads back, with an exponent or without.
                let long = draw.below(8) == 0;
                let written =
                    if long { write!(text, "{value:?}") } else { write!(text, "{value:e}") };
                written.expect("a String takes any text");
                return text;
            }
        },
        1 => {
            let (whole, behind) = (draw.below(10_000), 1 + draw.below(4));
            text = format!("{whole}.{}", digits(draw, behind));
        }
        2 => {
            // Up to the 17 digits that a double can need, where fast paths end.
            let (whole, behind) = (1 + draw.below(9), 1 + draw.below(10));
            text = format!("{}{}.{}", 1 + draw.below(9), digits(draw, whole), digits(draw, behind));
        }
        _ => {
            let len = 1 + draw.below(40);
            let behind = draw.below(len);
            let all = digits(draw, len);
            let whole = all[..len - behind].trim_start_matches('0');
            text.push_str(if whole.is_empty() { "0" } else { whole });
            if behind > 0 {
                write!(text, ".{}", &all[len - behind..]).expect("a String takes any text");
            }
            let exponent = draw.below(700) as i64 - 350;
            let exponent = if draw.below(2) == 0 { exponent } else { exponent / 20 };
            let sign = draw.one_of(&["e", "E"]);
            let plus = if exponent >= 0 { draw.one_of(&["", "+"]) } else { "" };
            write!(text, "{sign}{plus}{exponent}").expect("a String takes any text");
        }
    }
    if draw.below(3) == 0 {
        text.insert(0, '-');
    }
    text
}

fn digits(draw: &mut Draw, count: usize) -> String {
    (0..count).map(|_| char::from(b'0' + draw.below(10) as u8)).collect()
}

/// Neither too large for f64 nor, not being zero, rounded to zero.
fn is_held_by_f64(literal: &str) -> bool {
    let value: f64 = literal.parse().unwrap();
    let mantissa = literal.split(['e', 'E']).next().unwrap();
    value.is_finite() && (value != 0.0 || !mantissa.contains(|c| ('1'..='9').contains(&c)))
}
