//! `rawcat.toml`: a folder goes in, the nearest file's settings come out, each with its line.
//!
//! Which keys exist and what values mean is not known here.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::Surroundings;
use crate::error::Error;

const FILE_NAME: &str = "rawcat.toml";

/// A settings file as it was written.
#[derive(Clone, Debug)]
pub struct SettingsFile {
    pub path: PathBuf,
    pub entries: Vec<Entry>,
}

/// `key = value` on a line (from 1). A list has several values, a table one `name=value` a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    pub key: String,
    pub values: Vec<String>,
    pub is_table: bool,
    pub line: usize,
}

impl SettingsFile {
    /// The file in force: found in the working directory or above it, else in the user's
    /// configuration directory, else none.
    pub fn find(around: &Surroundings) -> Result<Option<SettingsFile>, Error> {
        for path in places(around) {
            match std::fs::read_to_string(&path) {
                Ok(text) => return SettingsFile::parse(path, &text).map(Some),
                Err(error) if is_absent(&error, &path) => continue,
                Err(error) => {
                    return Err(Error::Usage {
                        message: format!("can't read {}: {error}", path.display()),
                        hint: Some("make it a readable UTF-8 text file, or move it away".into()),
                    });
                }
            }
        }
        Ok(None)
    }

    /// The folder that relative paths in the file start from.
    pub fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    pub fn parse(path: PathBuf, text: &str) -> Result<SettingsFile, Error> {
        let line_of = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
        let table = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(span.start));
            Error::Usage {
                message: format!("{}:{line}: {}", path.display(), error.message().trim()),
                hint: Some(match error.message().contains("duplicate") {
                    true => "leave one of the two lines".to_string(),
                    false => hint_for(text.lines().nth(line - 1).unwrap_or("")),
                }),
            }
        })?;
        let mut entries = Vec::new();
        for (key, value) in table.get_ref() {
            let line = line_of(key.span().start);
            let key = key.get_ref().to_string();
            let values = values(value.get_ref()).ok_or_else(|| {
                Error::usage(
                    format!("{}:{line}: {key} holds more than a value or a list", path.display()),
                    "write text, a number, true or false, or a list of texts",
                )
            })?;
            let is_table = value.get_ref().is_table();
            entries.push(Entry { key, values, is_table, line });
        }
        entries.sort_by_key(|entry| entry.line);
        Ok(SettingsFile { path, entries })
    }
}

/// True also where the folder can't be searched: a file that nobody can find is not in force.
fn is_absent(error: &io::Error, path: &Path) -> bool {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => true,
        io::ErrorKind::PermissionDenied => std::fs::symlink_metadata(path).is_err(),
        _ => false,
    }
}

/// Where the file is looked for, in order.
pub fn places(around: &Surroundings) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> =
        around.working_dir.ancestors().map(|folder| folder.join(FILE_NAME)).collect();
    // A relative XDG_CONFIG_HOME is invalid by its specification, and so counts as unset.
    let absolute = |value: &OsString| Path::new(value).is_absolute().then(|| PathBuf::from(value));
    let user = (around.variable("XDG_CONFIG_HOME").and_then(absolute)).or_else(|| {
        let home = around.variable("HOME").and_then(absolute)?;
        Some(home.join(".config"))
    });
    places.extend(user.map(|folder| folder.join("rawcat").join(FILE_NAME)));
    places
}

fn values(value: &DeValue<'_>) -> Option<Vec<String>> {
    if let Some(items) = value.as_array() {
        return items.iter().map(|item| scalar(item.get_ref())).collect();
    }
    if let Some(table) = value.as_table() {
        let row = |(name, value): (&_, &toml::Spanned<DeValue<'_>>)| {
            let name: &toml::Spanned<toml::de::DeString<'_>> = name;
            Some(format!("{}={}", name.get_ref(), scalar(value.get_ref())?))
        };
        return table.iter().map(row).collect();
    }
    scalar(value).map(|text| vec![text])
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(yes) => Some(yes.to_string()),
        DeValue::Datetime(time) => Some(time.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// The commonest mistake has its own hint: text without quotes.
fn hint_for(line: &str) -> String {
    let (key, value) = line.split_once('=').unwrap_or((line, ""));
    let (key, value) = (key.trim(), value.trim());
    if value.is_empty() || value.starts_with(['"', '\'', '[', '{']) {
        let forms = "key = \"text\", key = [\"a\", \"b\"] or key = true";
        return format!("a setting is written as: {forms}");
    }
    format!("text stands in quotes: {key} = \"{value}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SettingsFile, Error> {
        SettingsFile::parse(PathBuf::from("rawcat.toml"), text)
    }

    #[test]
    fn settings_know_their_lines() {
        let file =
            parse("# team\nsource = \"raw/\"\n\nby = [\"type\", \"os\"]\njobs = 4\n").unwrap();
        let seen: Vec<_> = file.entries.iter().map(|e| (e.key.as_str(), e.line)).collect();
        assert_eq!(seen, [("source", 2), ("by", 4), ("jobs", 5)]);
        assert_eq!(file.entries[1].values, ["type", "os"]);
        assert_eq!(file.entries[2].values, ["4"]);
    }

    #[test]
    fn a_table_gives_a_value_for_each_row() {
        let inline = parse("type = { value = \"float\", id = \"text\" }").unwrap();
        let section = parse("[type]\nvalue = \"float\"\nid = \"text\"\n").unwrap();
        let mut values = inline.entries[0].values.clone();
        values.sort();
        assert_eq!(values, ["id=text", "value=float"]);
        assert_eq!(section.entries[0].values, inline.entries[0].values);
    }

    #[test]
    fn dates_and_switches_may_be_written_as_toml_writes_them() {
        let file = parse("day = 2022-04-18\nno_sign_request = true\nmax_groups = 1_000\n").unwrap();
        let values: Vec<_> = file.entries.iter().map(|entry| entry.values[0].as_str()).collect();
        assert_eq!(values, ["2022-04-18", "true", "1000"]);
    }

    #[test]
    fn a_mistake_is_named_with_its_line_and_a_way_out() {
        let error = parse("source = \"raw/\"\ntz = Asia/Seoul\n").unwrap_err();
        let text = error.text(false);
        assert!(text.contains("rawcat.toml:2: "), "{text}");
        assert!(text.contains("hint: text stands in quotes: tz = \"Asia/Seoul\""), "{text}");
    }
}
