//! What clap refuses, in rawcat's own form: one line that says what is wrong, and a hint.

use std::error::Error as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::value::ValueError;
use crate::error::{Error, redacted};

/// `label` names where the value stood when it was not typed: `RAWCAT_EVERY`, `rawcat.toml:3: every`.
pub fn refusal(error: &clap::Error, label: Option<&str>) -> Error {
    let context = |kind| error.get(kind).and_then(text);
    let argument = context(ContextKind::InvalidArg).unwrap_or_default();
    // `--every <DURATION>` → `--every`, `<SHELL>` → `SHELL`
    let name = argument.split([' ', '[']).next().unwrap_or_default();
    let name = name.trim_matches(['<', '>']).to_string();
    let label = label.map_or_else(|| name.clone(), str::to_string);
    let value = context(ContextKind::InvalidValue).unwrap_or_default();
    let suggested = |kind| context(kind).map(|near| format!("did you mean {near}?"));
    let (message, hint) = match error.kind() {
        ErrorKind::ValueValidation => {
            match error.source().map(|s| s.downcast_ref::<ValueError>()) {
                Some(Some(wrong)) => (format!("{label}: {}", wrong.message), wrong.hint.clone()),
                _ => (
                    format!("{label}: '{}' can't be meant", redacted(&value)),
                    error.source().map(ToString::to_string),
                ),
            }
        }
        ErrorKind::InvalidValue if value.is_empty() => {
            let valid = context(ContextKind::ValidValue);
            (
                format!("{label} needs a value"),
                Some(match valid {
                    Some(valid) => format!("one of {valid}"),
                    None => format!("write it as {argument}"),
                }),
            )
        }
        ErrorKind::InvalidValue => {
            let valid = context(ContextKind::ValidValue).unwrap_or_default();
            (
                format!("{label}: '{value}' is none of {valid}"),
                suggested(ContextKind::SuggestedValue),
            )
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') => (
            format!("there is no option {argument}"),
            Some("`rawcat COMMAND --help` lists a command's options".into()),
        ),
        ErrorKind::UnknownArgument => {
            let a_date = argument.starts_with(|c: char| c.is_ascii_digit())
                || ["today", "yesterday"].contains(&argument.as_str());
            let hint = match a_date {
                true => format!("did you mean --day {argument}?"),
                false => "options begin with --; quote a value that holds blanks".to_string(),
            };
            (format!("'{argument}' stands alone"), Some(hint))
        }
        ErrorKind::InvalidSubcommand => {
            let typed = context(ContextKind::InvalidSubcommand).unwrap_or_default();
            let hint = suggested(ContextKind::SuggestedSubcommand);
            (
                format!("there is no command {typed}"),
                hint.or_else(|| Some("`rawcat --help` lists the commands".into())),
            )
        }
        ErrorKind::ArgumentConflict
            if context(ContextKind::PriorArg).as_deref() == Some(&argument) =>
        {
            (format!("{label} is given twice"), Some("give it once".into()))
        }
        ErrorKind::TooManyValues | ErrorKind::WrongNumberOfValues => {
            (format!("{label} takes no value '{value}'"), Some(format!("write {name} alone")))
        }
        ErrorKind::MissingRequiredArgument => {
            let usage = match error.get(ContextKind::Usage) {
                Some(ContextValue::StyledStr(usage)) => usage.to_string(),
                _ => String::new(),
            };
            let usage = usage.trim().trim_start_matches("Usage: ").to_string();
            (format!("{name} is missing"), Some(format!("write it as: {usage}")))
        }
        _ => (first_line(error), None),
    };
    Error::Usage { message, hint }
}

fn text(value: &ContextValue) -> Option<String> {
    match value {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) if !texts.is_empty() => Some(texts.join(", ")),
        _ => None,
    }
}

fn first_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_string()
}
