//! Where a value came from, and how errors and `rawcat config` say so.

use std::fmt;
use std::path::PathBuf;

/// Where the value in force came from. Later ones win over earlier ones.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Origin {
    /// Nobody said anything, and there is no default.
    Unset,
    Default,
    /// A file that was found beside `rawcat.toml`.
    Beside(PathBuf),
    File {
        path: PathBuf,
        line: usize,
    },
    /// The name of the variable.
    Env(String),
    Flag,
}

impl Origin {
    /// 0 for the weakest; settings of one rank were said in one breath.
    pub fn rank(&self) -> u8 {
        match self {
            Origin::Unset => 0,
            Origin::Default => 1,
            Origin::Beside(_) => 2,
            Origin::File { .. } => 3,
            Origin::Env(_) => 4,
            Origin::Flag => 5,
        }
    }

    /// How an error names the option's value: `--every`, `RAWCAT_EVERY`, `rawcat.toml:3: every`.
    pub fn label(&self, option: &str) -> String {
        match self {
            Origin::Env(name) => name.clone(),
            Origin::File { path, line } => format!("{}:{line}: {option}", path.display()),
            Origin::Unset | Origin::Default | Origin::Beside(_) | Origin::Flag => flag(option),
        }
    }

    /// One word for programs.
    pub fn kind(&self) -> &'static str {
        match self {
            Origin::Unset => "unset",
            Origin::Default => "default",
            Origin::Beside(_) => "beside file",
            Origin::File { .. } => "file",
            Origin::Env(_) => "env",
            Origin::Flag => "flag",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Unset => f.write_str("-"),
            Origin::Default => f.write_str("default"),
            Origin::Beside(path) => write!(f, "found beside {}", path.display()),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Env(name) => write!(f, "env {name}"),
            Origin::Flag => f.write_str("flag"),
        }
    }
}

/// `look_back` → `--look-back`.
pub fn flag(option: &str) -> String {
    format!("--{}", option.replace('_', "-"))
}

/// `look_back` → `RAWCAT_LOOK_BACK`.
pub fn variable(option: &str) -> String {
    format!("RAWCAT_{}", option.to_ascii_uppercase())
}
