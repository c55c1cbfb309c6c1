//! How a run ends: any stage's error goes in, what the user reads and the exit code come out.
//!
//! This room decides nothing about data and reads nothing.

mod interrupt;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};

pub use interrupt::Interrupt;

/// How the process ends. The numbers are part of the interface and never change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum ExitCode {
    /// Everything that was asked for is there, and nothing was skipped.
    Complete = 0,
    /// The run failed; nothing was published.
    Failed = 1,
    /// What was typed, or what stands in `rawcat.toml` or the environment, can't be meant.
    Usage = 2,
    /// The run finished, but an object, a prefix or a record was skipped. Each one is named.
    Skipped = 3,
    /// SIGINT or SIGTERM ended the run. Nothing is half-published; a rerun starts clean.
    Interrupted = 130,
}

impl ExitCode {
    /// The one that says more of two parts of a run.
    pub fn worse(self, other: ExitCode) -> ExitCode {
        let rank = |code: ExitCode| match code {
            ExitCode::Complete => 0,
            ExitCode::Skipped => 1,
            ExitCode::Usage => 2,
            ExitCode::Failed => 3,
            ExitCode::Interrupted => 4,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        std::process::ExitCode::from(code as u8)
    }
}

/// A line on stderr. Where nobody can read it, that is no reason to end.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{}", printable(line));
}

/// An error with what the user can do about it.
#[derive(thiserror::Error, Debug)]
pub enum Error {
    /// Exit code 2. The message names the flag, the variable or the line of the file.
    #[error("{message}")]
    Usage { message: String, hint: Option<String> },
    /// Exit code 1. The causes of `source` are printed below it, one a line.
    #[error("{source}")]
    Failed { source: Box<dyn StdError + Send + Sync>, hint: Option<String> },
    /// Exit code 130.
    #[error("interrupted{}: run the same command again", half(*.publishing))]
    Interrupted { publishing: bool },
    /// The reader of stdout went away (`rawcat cat … | head`): a quiet end, exit code 0.
    #[error("the reader of stdout went away")]
    BrokenPipe,
}

impl Error {
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::Usage { message: message.into(), hint: Some(hint.into()) }
    }

    pub fn failed(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        Error::Failed { source: source.into(), hint: None }
    }

    /// A failed write to stdout: a broken pipe ends quietly, anything else is a failure.
    pub fn stdout(error: io::Error) -> Error {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Error::BrokenPipe;
        }
        Error::failed(Context { message: "can't write to stdout".to_string(), source: error })
    }

    /// An I/O error together with what was being done, as `can't read rawcat.toml`.
    pub fn io(doing: impl Into<String>, source: io::Error) -> Error {
        Error::failed(Context { message: doing.into(), source })
    }

    /// The same, as it is said among several days.
    pub fn of_day(self, day: &str) -> Error {
        match self {
            Error::Usage { message, hint } => {
                Error::Usage { message: format!("{day}: {message}"), hint }
            }
            Error::Failed { source, hint } => {
                let source = OfDay { day: day.to_string(), source };
                Error::Failed { source: Box::new(source), hint }
            }
            other => other,
        }
    }

    pub fn exit_code(&self) -> ExitCode {
        match self {
            Error::Usage { .. } => ExitCode::Usage,
            Error::Failed { .. } => ExitCode::Failed,
            Error::Interrupted { .. } => ExitCode::Interrupted,
            Error::BrokenPipe => ExitCode::Complete,
        }
    }

    /// What stands on stderr: the message, its causes, the hint. Empty for a broken pipe.
    pub fn text(&self, colour: bool) -> String {
        if let Error::BrokenPipe = self {
            return String::new();
        }
        let (red, cyan, off) = match colour {
            true => ("\x1b[1;31m", "\x1b[36m", "\x1b[0m"),
            false => ("", "", ""),
        };
        let mut text = format!("{red}rawcat:{off} {}\n", printable(&self.to_string()));
        for cause in self.causes() {
            let _ = writeln!(text, "  because: {}", printable(&cause));
        }
        if let Error::Usage { hint, .. } | Error::Failed { hint, .. } = self
            && let Some(hint) = hint
        {
            for line in hint.lines() {
                let _ = writeln!(text, "{cyan}hint:{off} {}", printable(line));
            }
        }
        text
    }

    /// The causes below the message, without those that the message already says.
    fn causes(&self) -> Vec<String> {
        let Error::Failed { source, .. } = self else {
            return Vec::new();
        };
        let mut causes: Vec<String> = Vec::new();
        let mut said = source.to_string();
        let mut next = source.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            if !said.contains(&text) {
                said.push_str(&text);
                causes.push(text);
            }
            next = cause.source();
        }
        causes
    }

    /// Writes [`Error::text`] to stderr, coloured on terminals unless `NO_COLOR` is set.
    pub fn print(&self) {
        let stderr = io::stderr();
        let colour = stderr.is_terminal() && wants_colour();
        // When stderr itself is gone there is nobody left to tell.
        let _ = stderr.lock().write_all(self.text(colour).as_bytes());
    }
}

fn half(publishing: bool) -> &'static str {
    if publishing { "; nothing is half-published" } else { "" }
}

/// False where `NO_COLOR` is set to anything but nothing, or the terminal is `dumb`.
pub fn wants_colour() -> bool {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb")
}

#[derive(Debug)]
struct OfDay {
    day: String,
    source: Box<dyn StdError + Send + Sync>,
}

impl fmt::Display for OfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.day, self.source)
    }
}

impl StdError for OfDay {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.source()
    }
}

#[derive(Debug)]
struct Context {
    message: String,
    source: io::Error,
}

impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Context {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.source)
    }
}

/// The text with everything escaped that could steer a terminal or forge a line: control
/// characters (C0, DEL, C1), line separators, and the marks that reorder or hide text.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(steers) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            c if steers(c) => {
                let _ = write!(escaped, "\\u{{{:x}}}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{feff}'
            | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A URL without its user and password: `http://key:secret@host/` → `http://***@host/`.
pub fn redacted(text: &str) -> Cow<'_, str> {
    let Some(scheme) = text.find("://") else {
        return Cow::Borrowed(text);
    };
    let after = &text[scheme + 3..];
    let authority = after.split(['/', '?', '#']).next().unwrap_or(after);
    match authority.rfind('@') {
        Some(at) => Cow::Owned(format!("{}***{}", &text[..scheme + 3], &after[at..])),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_never_reach_the_terminal() {
        assert_eq!(printable("a\x1b[31mb\u{9b}c\u{202e}\n"), "a\\u{1b}[31mb\\u{9b}c\\u{202e}\\n");
        assert!(matches!(printable("서울 2022/04/18"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_failure_prints_its_causes_and_a_hint() {
        let denied = io::Error::new(io::ErrorKind::PermissionDenied, "permission denied");
        let mut error = Error::io("can't read rawcat.toml", denied);
        if let Error::Failed { hint, .. } = &mut error {
            *hint = Some("make it readable".to_string());
        }
        let text = "rawcat: can't read rawcat.toml\n  because: permission denied\nhint: make it readable\n";
        assert_eq!(error.text(false), text);
        assert_eq!(error.exit_code() as u8, 1);
    }

    #[test]
    fn a_broken_pipe_is_quiet() {
        let error = Error::stdout(io::ErrorKind::BrokenPipe.into());
        assert_eq!(error.text(false), "");
        assert_eq!(error.exit_code() as u8, 0);
    }

    #[test]
    fn urls_lose_their_password() {
        assert_eq!(redacted("http://key:s@cret@host/x@y"), "http://***@host/x@y");
        assert_eq!(redacted("s3://bucket/a@b"), "s3://bucket/a@b");
        assert_eq!(redacted("sample_data/rawdata/"), "sample_data/rawdata/");
    }
}
