//! `rawcat config`: settings go in; a table, or JSON, of what is in force comes out.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

use super::layers::{Kind, OptionInForce, Settings};
use super::origin::Origin;
use crate::error::printable;

/// Options whose values are never shown.
const SECRETS: [&str; 1] = ["token"];

/// Every option's value in force, and where it came from.
#[derive(Debug)]
pub struct Shown {
    pub file: Option<PathBuf>,
    /// Where a file was looked for, for those who wonder why theirs is not in force.
    pub places: Vec<PathBuf>,
    pub options: Vec<OptionInForce>,
    pub unknown_variables: Vec<String>,
    pub json: bool,
}

/// `rawcat config --json`: an object with `file`, `options` and `unknown_variables`.
#[derive(Serialize)]
struct Json<'a> {
    /// Path of the `rawcat.toml` in force, or null.
    file: Option<String>,
    options: Vec<JsonOption<'a>>,
    unknown_variables: &'a [String],
}

#[derive(Serialize)]
struct JsonOption<'a> {
    /// The key in `rawcat.toml`.
    name: &'a str,
    /// A list for an option that takes several, true or false for a switch, else text; null
    /// where nothing is set.
    value: serde_json::Value,
    /// `flag`, `env`, `file`, `beside file`, `default` or `unset`.
    from: &'a str,
    /// The variable, or `path:line`.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
}

impl Shown {
    pub fn new(settings: Settings, places: Vec<PathBuf>, json: bool) -> Shown {
        let mut options = settings.options;
        for secret in options.iter_mut().filter(|option| SECRETS.contains(&option.name.as_str())) {
            secret.values.iter_mut().for_each(|value| *value = "(hidden)".to_string());
        }
        Shown {
            file: settings.file,
            places,
            options,
            unknown_variables: settings.unknown_variables,
            json,
        }
    }

    /// What stands on stdout.
    pub fn text(&self) -> String {
        if self.json { self.to_json() } else { self.to_table() }
    }

    fn to_table(&self) -> String {
        let mut text = String::new();
        match &self.file {
            Some(file) => {
                let _ = writeln!(text, "file: {}", printable(&file.display().to_string()));
            }
            None => {
                text.push_str("file: no rawcat.toml found; looked for\n");
                for place in &self.places {
                    let _ = writeln!(text, "      {}", printable(&place.display().to_string()));
                }
            }
        }
        let shown: Vec<[String; 3]> = self.options.iter().map(|option| self.row(option)).collect();
        let width = |column: usize, most: usize| {
            let widths = shown.iter().map(|row| row[column].chars().count());
            widths.filter(|width| *width <= most).max().unwrap_or(0)
        };
        let (names, values) = (width(0, 40), width(1, 40));
        let mut heading = "";
        for (option, [name, value, origin]) in self.options.iter().zip(&shown) {
            if option.heading != heading {
                heading = &option.heading;
                let _ = writeln!(text, "\n{heading}");
            }
            let _ = writeln!(text, "  {name:names$}  {value:values$}  {origin}");
        }
        text
    }

    fn row(&self, option: &OptionInForce) -> [String; 3] {
        let value = match option.origin {
            Origin::Unset => "-".to_string(),
            _ => printable(&option.values.join(",")).into_owned(),
        };
        // The file was named on top: its line is enough here.
        let origin = match &option.origin {
            Origin::Unset => "not set".to_string(),
            Origin::Flag => super::origin::flag(&option.name),
            Origin::File { line, .. } => format!("rawcat.toml:{line}"),
            Origin::Beside(_) => "found beside rawcat.toml".to_string(),
            other => other.to_string(),
        };
        [option.name.clone(), value, printable(&origin).into_owned()]
    }

    fn to_json(&self) -> String {
        let options = self.options.iter().map(|option| JsonOption {
            name: &option.name,
            value: match (option.kind, option.values.first()) {
                _ if option.origin == Origin::Unset => serde_json::Value::Null,
                (Kind::List, _) => option.values.as_slice().into(),
                (Kind::Switch, value) => (value.is_some_and(|value| value == "true")).into(),
                (Kind::One, value) => value.map(String::as_str).into(),
            },
            from: option.origin.kind(),
            at: match &option.origin {
                Origin::File { .. } => Some(option.origin.to_string()),
                Origin::Env(name) => Some(name.clone()),
                _ => None,
            },
        });
        let json = Json {
            file: self.file.as_ref().map(|file| file.display().to_string()),
            options: options.collect(),
            unknown_variables: &self.unknown_variables,
        };
        let mut text = serde_json::to_string_pretty(&json).expect("texts and lists become JSON");
        text.push('\n');
        text
    }
}
