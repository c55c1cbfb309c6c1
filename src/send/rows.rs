//! The rows of a CSV, or lines of JSON, in whatever encoding → the JSON bodies to be sent.
//!
//! Numbers stay as the file has them, as text, unless they are asked for as numbers; a number with zeros
//! in front is an identifier and stays text either way.

use std::io::{self, BufRead, BufReader, Read};

use encoding_rs::{EUC_KR, UTF_8};

use super::recognise::{Recognised, decoded};

/// What the rows are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Lines of JSON where the first character is a bracket, else a CSV.
    Recognised,
    Csv,
    /// One JSON value on each line, sent as it is.
    Lines,
}

/// How a file is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reading {
    pub form: Form,
    pub characters: Characters,
    /// Values of a CSV that read as JSON numbers are sent as such.
    pub numbers: bool,
    /// Stands between the fields of a CSV.
    pub delimiter: u8,
}

/// How the file's characters are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Characters {
    /// By a byte order mark, else by the first characters beyond ASCII: UTF-8 where it is valid, else CP949.
    Recognised,
    Utf8,
    /// Which holds EUC-KR.
    Cp949,
}

/// A row that can't be sent.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    #[error("can't read the rows: {0}")]
    Read(#[from] io::Error),
    #[error("row {row}: {problem}")]
    Row { row: u64, problem: String },
    #[error("the file has no header line")]
    NoHeader,
    #[error("the header is one column, {header:?}: give --delimiter '{delimiter}'")]
    OneColumn { header: String, delimiter: char },
    #[error("the rows have a column {name:?} already: give --timestamp-field another name")]
    TimeThere { name: String },
    #[error("two columns are called {name:?}: rename one, as a JSON object has each name once")]
    SameName { name: String },
}

/// The bodies, one after another.
pub struct Rows {
    source: Source,
    /// Rows that were given or refused, from 1.
    row: u64,
    /// Of the columns of a CSV.
    columns: Vec<String>,
}

enum Source {
    Csv {
        reader: csv::Reader<Box<dyn Read + Send>>,
        record: csv::StringRecord,
        /// As they stand in JSON.
        names: Vec<String>,
        numbers: bool,
    },
    Lines(io::Lines<BufReader<Box<dyn Read + Send>>>),
}

impl Rows {
    /// # Errors
    /// Where the header can't be read, has a name twice, or is separated by something else.
    pub fn open(input: Box<dyn Read + Send>, reading: Reading) -> Result<Rows, RowError> {
        let Reading { form, characters, numbers, delimiter } = reading;
        let decoded: Box<dyn Read + Send> = match characters {
            Characters::Recognised => Box::new(Recognised::new(input)),
            Characters::Utf8 => decoded(input, UTF_8, true),
            Characters::Cp949 => decoded(input, EUC_KR, true),
        };
        let (form, decoded) = match form {
            Form::Recognised => recognised(decoded)?,
            form => (form, decoded),
        };
        let mut columns = Vec::new();
        let source = match form {
            Form::Lines => Source::Lines(BufReader::new(decoded).lines()),
            Form::Csv | Form::Recognised => {
                let mut reader =
                    csv::ReaderBuilder::new().delimiter(delimiter).from_reader(decoded);
                let header = reader.headers().map_err(|error| at_row(0, error))?;
                let names: Vec<String> =
                    header.iter().map(|name| name.trim().to_string()).collect();
                if names.is_empty() {
                    return Err(RowError::NoHeader);
                }
                if let Some((_, name)) =
                    names.iter().enumerate().find(|(at, name)| names[..*at].contains(name))
                {
                    return Err(RowError::SameName { name: name.clone() });
                }
                if let [header] = &names[..]
                    && let Some(delimiter) = header.chars().find(|c| matches!(c, ';' | '\t' | '|'))
                {
                    let header = header.clone();
                    return Err(RowError::OneColumn { header, delimiter });
                }
                columns.clone_from(&names);
                let in_json = |name: &String| serde_json::to_string(name).expect("text is JSON");
                let names = names.iter().map(in_json).collect();
                Source::Csv { reader, record: csv::StringRecord::new(), names, numbers }
            }
        };
        Ok(Rows { source, row: 0, columns })
    }

    /// The names of a CSV's columns; none of lines.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Rows so far.
    pub fn row(&self) -> u64 {
        self.row
    }
}

impl Iterator for Rows {
    type Item = Result<String, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.source {
            Source::Csv { reader, record, names, numbers } => {
                let read = reader.read_record(record);
                if let Ok(false) = read {
                    return None;
                }
                self.row += 1;
                let read = read.map_err(|error| at_row(self.row, error));
                Some(read.map(|_| object(names, record, *numbers)))
            }
            Source::Lines(lines) => loop {
                let line = match lines.next()? {
                    Err(error) => return Some(Err(error.into())),
                    Ok(line) if line.trim().is_empty() => continue,
                    Ok(line) => line,
                };
                self.row += 1;
                let checked = serde_json::from_str::<serde::de::IgnoredAny>(&line);
                let row = self.row;
                return Some(checked.map(|_| line).map_err(|problem| RowError::Row {
                    row,
                    problem: format!("it is no JSON: {problem}"),
                }));
            },
        }
    }
}

/// What the text is, by its first character that is no white space.
fn recognised(mut input: Box<dyn Read + Send>) -> io::Result<(Form, Box<dyn Read + Send>)> {
    let mut front = Vec::new();
    let mut byte = [0];
    let form = loop {
        if input.read(&mut byte)? == 0 {
            break Form::Csv;
        }
        front.push(byte[0]);
        match byte[0] {
            b'{' | b'[' => break Form::Lines,
            byte if byte.is_ascii_whitespace() => {}
            _ => break Form::Csv,
        }
    };
    Ok((form, Box::new(io::Cursor::new(front).chain(input))))
}

fn at_row(row: u64, error: csv::Error) -> RowError {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => RowError::Read(error),
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => RowError::Row {
            row,
            problem: format!(
                "it has {len} field{}, and the header has {expected_len}",
                if len == 1 { "" } else { "s" }
            ),
        },
        other => RowError::Row { row, problem: format!("{other:?}") },
    }
}

fn object(names: &[String], record: &csv::StringRecord, numbers: bool) -> String {
    let names_bytes: usize = names.iter().map(|name| name.len() + 4).sum();
    let mut text = String::with_capacity(names_bytes + record.as_slice().len() + 2);
    text.push('{');
    for (at, (name, value)) in names.iter().zip(record).enumerate() {
        if at > 0 {
            text.push(',');
        }
        text.push_str(name);
        text.push(':');
        match numbers && is_number(value) {
            true => text.push_str(value),
            false => push_text(&mut text, value),
        }
    }
    text.push('}');
    text
}

fn push_text(json: &mut String, text: &str) {
    if text.bytes().any(|byte| byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        return json.push_str(&serde_json::to_string(text).expect("text is JSON"));
    }
    json.push('"');
    json.push_str(text);
    json.push('"');
}

/// Whether a text is a number as JSON writes it.
fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && text.bytes().all(|byte| !byte.is_ascii_whitespace())
        && serde_json::from_str::<serde_json::Number>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv() -> Reading {
        let (form, characters) = (Form::Csv, Characters::Recognised);
        Reading { form, characters, numbers: false, delimiter: b',' }
    }

    #[test]
    fn a_header_that_is_separated_otherwise_is_named() {
        let input = || -> Box<dyn Read + Send> { Box::new(&b"a;b\n1;2\n"[..]) };
        let error = Rows::open(input(), csv()).err().unwrap().to_string();
        assert!(error.contains("--delimiter ';'"), "{error}");
        let rows = Rows::open(input(), Reading { delimiter: b';', ..csv() }).unwrap();
        assert_eq!(rows.columns(), ["a", "b"]);
        assert_eq!(rows.map(Result::unwrap).collect::<Vec<_>>(), [r#"{"a":"1","b":"2"}"#]);
    }

    fn rows(bytes: &[u8], characters: Characters, numbers: bool) -> Vec<String> {
        let input: Box<dyn Read + Send> = Box::new(io::Cursor::new(bytes.to_vec()));
        let rows = Rows::open(input, Reading { characters, numbers, ..csv() }).unwrap();
        rows.map(|row| row.unwrap_or_else(|error| error.to_string())).collect()
    }

    #[test]
    fn rows_are_objects_in_the_order_of_the_columns_and_numbers_stay_as_they_are() {
        let csv = b"b,a,n\n1,\"x, \"\"y\"\"\nz\",007\n-1.50,,1e3\n";
        let text =
            [r#"{"b":"1","a":"x, \"y\"\nz","n":"007"}"#, r#"{"b":"-1.50","a":"","n":"1e3"}"#];
        assert_eq!(rows(csv, Characters::Recognised, false), text);
        let typed = [r#"{"b":1,"a":"x, \"y\"\nz","n":"007"}"#, r#"{"b":-1.50,"a":"","n":1e3}"#];
        assert_eq!(rows(csv, Characters::Recognised, true), typed);
    }

    #[test]
    fn korean_files_are_read_in_every_form_in_which_they_come() {
        let text = "이름,값\n한빛아파트,똠방각하\n";
        let (cp949, _, _) = EUC_KR.encode(text);
        let with_mark = [b"\xef\xbb\xbf", text.as_bytes()].concat();
        for bytes in [text.as_bytes(), &cp949, &with_mark] {
            let read = rows(bytes, Characters::Recognised, false);
            assert_eq!(read, [r#"{"이름":"한빛아파트","값":"똠방각하"}"#]);
        }
        assert_eq!(rows(&cp949, Characters::Cp949, false).len(), 1);
    }

    #[test]
    fn a_row_that_does_not_fit_the_header_is_named_and_the_next_is_read() {
        let read = rows(b"a,b\n1,2\n3\n4,5\n", Characters::Recognised, false);
        assert_eq!(read[1], "row 2: it has 1 field, and the header has 2");
        assert_eq!(read[2], r#"{"a":"4","b":"5"}"#);
        let twice: Box<dyn Read + Send> = Box::new(&b"a,a\n"[..]);
        let error = Rows::open(twice, csv()).err().unwrap();
        assert!(error.to_string().contains("\"a\""));
    }

    #[test]
    fn lines_of_json_go_as_they_are() {
        let input: Box<dyn Read + Send> = Box::new(&b"{\"a\": 1}\n\n[2]\n{x\n"[..]);
        let rows = Rows::open(input, Reading { form: Form::Recognised, ..csv() }).unwrap();
        let read: Vec<Option<String>> = rows.map(Result::ok).collect();
        assert_eq!(read, [Some("{\"a\": 1}".to_string()), Some("[2]".to_string()), None]);
    }
}
