//! Flag over environment over file over default: what was typed goes in, one typed command line
//! comes out, and for every option where its value came from.
//!
//! It works by clap's own rules. Each value of the file and of the environment is first checked
//! alone, by the parser of its option, so that an error can name its line or its variable. Then
//! the values become the *defaults* of their options, and clap parses what was typed on top.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, CommandFactory, FromArgMatches, ValueHint};

use super::Surroundings;
use super::file::{Entry, SettingsFile};
use super::origin::{Origin, flag, variable};
use super::refusal::refusal;
use super::value::{MOST_AT_ONCE, closest};
use crate::cli::{Cli, Command, TYPED_ONLY};
use crate::error::{Error, redacted};

/// The command line with file, environment and defaults filled in.
#[derive(Debug)]
pub struct Settings {
    pub cli: Cli,
    /// The options of the command, in the order of its help.
    pub options: Vec<OptionInForce>,
    pub file: Option<PathBuf>,
    /// Variables that begin with `RAWCAT_` and name no option.
    pub unknown_variables: Vec<String>,
    /// Those that are an option's, nearly.
    misspelt: Vec<(String, String)>,
}

/// An option, what it is, and who said so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OptionInForce {
    pub name: String,
    pub heading: String,
    pub kind: Kind,
    pub values: Vec<String>,
    pub origin: Origin,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    One,
    /// Takes several values.
    List,
    /// True or false.
    Switch,
}

impl Kind {
    fn of(arg: &Arg) -> Kind {
        match arg.get_action() {
            ArgAction::SetTrue => Kind::Switch,
            ArgAction::Append => Kind::List,
            _ => Kind::One,
        }
    }
}

impl Settings {
    pub fn origin(&self, option: &str) -> &Origin {
        let found = self.options.iter().find(|known| known.name == option);
        found.map_or(&Origin::Unset, |known| &known.origin)
    }

    /// What was set and has no effect. `rawcat config` names every such variable; the other commands
    /// those that are probably misspelt, since others may use such names for their own ends.
    pub fn warnings(&self) -> Vec<String> {
        let is_config = matches!(self.cli.command, Command::Config(_));
        let unknown = self.unknown_variables.iter().filter_map(|name| {
            let near = self.misspelt.iter().find(|(misspelt, _)| misspelt == name);
            match near {
                Some((_, near)) => Some(format!(
                    "{name} is set, and no option has that name; did you mean {near}?"
                )),
                None if is_config => Some(format!("{name} is set, and no option has that name")),
                None => None,
            }
        });
        unknown.collect()
    }

    /// An error about an option's value that names where the value stands.
    pub fn refuse(&self, option: &str, message: &str, hint: impl Into<String>) -> Error {
        Error::usage(format!("{}: {message}", self.origin(option).label(option)), hint)
    }
}

/// What came of the command line: settings, or a text that clap wants to print (`--help`).
pub enum Layered {
    Settings(Box<Settings>),
    Help(clap::Error),
}

/// A value that the environment, the file or this machine gives to an option.
struct Given {
    values: Vec<String>,
    origin: Origin,
}

pub fn layer(args: &[OsString], around: &Surroundings) -> Result<Layered, Error> {
    let command = Cli::command();
    let args = &with_negative_values(&without_help_command(args), &command);
    // A first look, with the program's own defaults: help shows those, and a mistake in what
    // was typed is reported before one in the file.
    let typed = match command.clone().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() || asks_for_help(&error) => {
            return Ok(Layered::Help(error));
        }
        Err(error) => return Err(refusal_of_typed(&error, &command, args)),
    };
    let name = typed.subcommand_name().expect("clap requires a command").to_string();
    let reads_settings = !matches!(name.as_str(), "completions" | "man");
    let file = if reads_settings { SettingsFile::find(around)? } else { None };
    let mut given = of_this_machine(around, file.as_ref());
    let mut unknown_variables = Vec::new();
    if let Some(file) = &file {
        for entry in &file.entries {
            given.insert(entry.key.clone(), of_file(&command, file, entry)?);
        }
    }
    if reads_settings {
        of_environment(&command, around, &mut given, &mut unknown_variables)?;
    }
    let filled = command.mut_subcommand(&name, |command| {
        command.mut_args(|arg| match given.get(arg.get_id().as_str()) {
            Some(given) => arg.default_values(given.values.clone()),
            None => arg,
        })
    });
    let definition = filled.find_subcommand(&name).expect("it was parsed above").clone();
    let matches = filled.try_get_matches_from(args).map_err(|error| refusal(&error, None))?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| refusal(&error, None))?;
    let typed = matches.subcommand_matches(&name).expect("it was parsed above");
    let options = in_force(&definition, typed, &given);
    Ok(Layered::Settings(Box::new(Settings {
        cli,
        options,
        file: file.map(|file| file.path),
        misspelt: misspelt(&unknown_variables),
        unknown_variables,
    })))
}

/// `rawcat help fetch` as `rawcat fetch --help`.
fn without_help_command(args: &[OsString]) -> Vec<OsString> {
    match args {
        [program, help, command @ ..] if help == "help" => {
            let mut typed = vec![program.clone()];
            typed.extend_from_slice(command);
            typed.push("--help".into());
            typed
        }
        _ => args.to_vec(),
    }
}

/// `--settle -2h` as `--settle=-2h`: what begins with a minus and a digit is no option, since none
/// is called so, and its option shall say what is wrong with it.
fn with_negative_values(args: &[OsString], command: &clap::Command) -> Vec<OsString> {
    let wants_value = |word: &str| {
        let mut known = command.get_subcommands().flat_map(clap::Command::get_arguments);
        known.any(|arg| {
            let long = arg.get_long().is_some_and(|long| word.strip_prefix("--") == Some(long));
            let short = arg.get_short().is_some_and(|short| word == format!("-{short}"));
            (long || short) && Kind::of(arg) != Kind::Switch
        })
    };
    let is_negative = |word: &str| {
        let rest = word.strip_prefix('-').unwrap_or_default();
        rest.starts_with(|c: char| c.is_ascii_digit())
    };
    let mut joined: Vec<OsString> = Vec::with_capacity(args.len());
    for arg in args {
        let option = joined.last().and_then(|before| before.to_str()).filter(|b| wants_value(b));
        let negative = arg.to_str().filter(|word| is_negative(word));
        match (option, negative) {
            (Some(option), Some(value)) => {
                let both = format!("{option}={value}");
                joined.pop();
                joined.push(both.into());
            }
            _ => joined.push(arg.clone()),
        }
    }
    joined
}

/// A refusal of what was typed. An unknown option is looked for among those of its command.
fn refusal_of_typed(error: &clap::Error, command: &clap::Command, args: &[OsString]) -> Error {
    let unknown = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option)) if error.kind() == ErrorKind::UnknownArgument => option,
        _ => return refusal(error, None),
    };
    let Some(option) = unknown.strip_prefix("--") else {
        return refusal(error, None);
    };
    let first = args.get(1).and_then(|word| word.to_str()).unwrap_or_default();
    let Some(command) = command.find_subcommand(first) else {
        return Error::usage(
            format!("{unknown} stands in front of the command"),
            "write the command first, as: rawcat fetch --day 2022-04-18",
        );
    };
    let known = command.get_arguments().filter_map(Arg::get_long);
    Error::usage(
        format!("`rawcat {first}` has no option {unknown}"),
        match closest(option, known) {
            Some(near) => format!("did you mean --{near}?"),
            None => format!("`rawcat {first} --help` lists its options"),
        },
    )
}

fn asks_for_help(error: &clap::Error) -> bool {
    error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
}

/// Every option that a file or a variable may set, once.
fn settable(command: &clap::Command) -> BTreeMap<String, &Arg> {
    let args = command.get_subcommands().flat_map(clap::Command::get_arguments);
    args.map(|arg| (arg.get_id().to_string(), arg))
        .filter(|(name, _)| !TYPED_ONLY.contains(&name.as_str()))
        .collect()
}

fn of_this_machine(around: &Surroundings, file: Option<&SettingsFile>) -> BTreeMap<String, Given> {
    let mut given = BTreeMap::new();
    given.insert(
        "jobs".to_string(),
        Given {
            values: vec![around.cpus.get().min(MOST_AT_ONCE).to_string()],
            origin: Origin::Default,
        },
    );
    if let Some(file) = file {
        let schema = file.folder().join("rawcat.schema.json");
        if schema.is_file() {
            let origin = Origin::Beside(file.path.clone());
            let values = vec![schema.display().to_string()];
            given.insert("schema".to_string(), Given { values, origin });
        }
    }
    given
}

fn of_file(command: &clap::Command, file: &SettingsFile, entry: &Entry) -> Result<Given, Error> {
    let options = settable(command);
    let at = format!("{}:{}", file.path.display(), entry.line);
    let Some(arg) = options.get(&entry.key) else {
        let underscored = entry.key.replace('-', "_");
        let near = closest(&underscored, options.keys().map(String::as_str));
        return Err(Error::usage(
            format!("{at}: there is no setting '{}'", entry.key),
            match near {
                _ if TYPED_ONLY.contains(&underscored.as_str()) => {
                    format!("{} has a meaning only where it is typed", flag(&underscored))
                }
                _ if entry.is_table => {
                    format!("settings stand alone, without sections: leave out [{}]", entry.key)
                }
                Some(near) => format!("did you mean {near}?"),
                None => "`rawcat config` lists every setting".to_string(),
            },
        ));
    };
    let origin = Origin::File { path: file.path.clone(), line: entry.line };
    let label = origin.label(&entry.key);
    if Kind::of(arg) != Kind::List && entry.values.len() != 1 {
        return Err(Error::usage(
            format!("{label}: one value is wanted, not {}", entry.values.len()),
            format!("{} takes one value", flag(&entry.key)),
        ));
    }
    let mut values = entry.values.clone();
    if names_a_path(arg) {
        for value in &mut values {
            *value = from_folder(file.folder(), value);
        }
    }
    let values = checked(arg, values, &label)?;
    Ok(Given { values, origin })
}

fn of_environment(
    command: &clap::Command,
    around: &Surroundings,
    given: &mut BTreeMap<String, Given>,
    unknown: &mut Vec<String>,
) -> Result<(), Error> {
    let options = settable(command);
    let mut known = BTreeMap::new();
    for (name, arg) in options {
        known.insert(variable(&name), (name, arg));
    }
    for (variable, value) in around.environment.iter().filter(|(n, _)| n.starts_with("RAWCAT_")) {
        let Some((name, arg)) = known.get(variable.as_str()) else {
            unknown.push(variable.clone());
            continue;
        };
        let Some(value) = value.to_str() else {
            return Err(Error::usage(
                format!("{variable} is not UTF-8 text"),
                format!("set it again, or unset it and give {}", flag(name)),
            ));
        };
        if value.is_empty() {
            continue;
        }
        let values = checked(arg, vec![value.to_string()], variable)?;
        given.insert(name.clone(), Given { values, origin: Origin::Env(variable.clone()) });
    }
    Ok(())
}

/// Variables that differ little from an option's, and that one.
fn misspelt(unknown: &[String]) -> Vec<(String, String)> {
    let command = Cli::command();
    let known: Vec<String> = settable(&command).keys().cloned().collect();
    let near = unknown.iter().filter_map(|name| {
        let option = name.strip_prefix("RAWCAT_")?;
        let near = closest(option, known.iter().map(String::as_str))?;
        Some((name.clone(), variable(near)))
    });
    near.collect()
}

/// Lets clap parse each value as if it alone had been typed.
fn checked(arg: &Arg, values: Vec<String>, label: &str) -> Result<Vec<String>, Error> {
    if Kind::of(arg) == Kind::Switch {
        return values.iter().map(|value| switch(value, label)).collect();
    }
    let alone = clap::Command::new("rawcat").no_binary_name(true).arg(arg.clone());
    for value in &values {
        let typed = format!("{}={value}", flag(arg.get_id().as_str()));
        alone
            .clone()
            .try_get_matches_from([typed])
            .map_err(|error| refusal(&error, Some(label)))?;
    }
    Ok(values)
}

fn switch(value: &str, label: &str) -> Result<String, Error> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok("true".to_string()),
        "false" | "0" | "no" | "off" => Ok("false".to_string()),
        _ => Err(Error::usage(
            format!("{label}: '{value}' is neither true nor false"),
            "write true or false",
        )),
    }
}

fn names_a_path(arg: &Arg) -> bool {
    let hint = arg.get_value_hint();
    matches!(hint, ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath)
}

/// A relative path of the file starts from the file's folder; URLs stay as they are.
fn from_folder(folder: &Path, value: &str) -> String {
    let a_url = value.contains("://") || value.to_ascii_lowercase().starts_with("s3:");
    if a_url || value.is_empty() {
        return value.to_string();
    }
    folder.join(value).display().to_string()
}

fn in_force(
    definition: &clap::Command,
    matches: &ArgMatches,
    given: &BTreeMap<String, Given>,
) -> Vec<OptionInForce> {
    let args = definition.get_arguments().filter(|arg| {
        let name = arg.get_id().as_str();
        name != "help" && name != "version"
    });
    args.map(|arg| {
        let name = arg.get_id().as_str();
        let origin = match (matches.value_source(name), given.get(name)) {
            (Some(ValueSource::CommandLine), _) => Origin::Flag,
            (Some(_), Some(given)) => given.origin.clone(),
            (Some(_), None) => Origin::Default,
            (None, _) => Origin::Unset,
        };
        let raw = matches.get_raw(name).into_iter().flatten();
        OptionInForce {
            name: name.to_string(),
            heading: arg.get_help_heading().unwrap_or_default().to_string(),
            values: raw.map(|value| redacted(&value.to_string_lossy()).into_owned()).collect(),
            kind: Kind::of(arg),
            origin,
        }
    })
    .collect()
}
