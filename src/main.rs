//! The program: what was typed goes in, an exit code comes out. `run` is the architecture.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;

use clap::CommandFactory;
use clap::error::ErrorKind;

use rawcat::cli::{Cli, Shell};
use rawcat::commands;
use rawcat::config::{self, PolicyConfig, Request, Resolved, Shown, SourceUrl, Surroundings};
use rawcat::error::{Error, ExitCode, Interrupt, say};

fn main() -> std::process::ExitCode {
    let code = run().unwrap_or_else(|error| {
        error.print();
        error.exit_code()
    });
    code.into()
}

fn run() -> Result<ExitCode, Error> {
    let args: Vec<OsString> = std::env::args_os().collect();
    let Resolved { request, warnings } = config::resolve(&args, &Surroundings::of_process()?)?;
    for warning in warnings {
        say(&format!("warning: {warning}"));
    }
    let interrupt = Interrupt::listen(request.publishes(), request.is_patient())?;
    let done = match request {
        Request::Fetch(config) => commands::fetch(&config, &interrupt),
        Request::Sync(config) => commands::sync(&config, &interrupt),
        Request::Plan(config) => commands::plan(&config, &interrupt),
        Request::Cat(config) => commands::cat(&config, &interrupt),
        Request::Stream(config) => commands::stream(&config, &interrupt),
        Request::Schema(config) => commands::schema(&config, &interrupt),
        Request::Errors(config) => commands::errors(&config, &interrupt),
        Request::Chart(config) => commands::chart(&config, &interrupt),
        Request::Pipeline(config) => commands::pipeline(&config, &interrupt),
        Request::Send(config) => commands::send(&config, &interrupt),
        Request::Trace(config) => commands::trace(&config, &interrupt),
        Request::Policy(config) => print_policy(&config),
        Request::Config(shown) => print_config(&shown),
        Request::Completions(shell) => print_completions(shell),
        Request::Man(folder) => write_man_pages(&folder),
        Request::Help(text) => print_help(&text),
    };
    done.map_err(|error| interrupt.told(error))
}

fn to_stdout(text: &[u8]) -> Result<ExitCode, Error> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text).and_then(|()| stdout.flush()).map_err(Error::stdout)?;
    Ok(ExitCode::Complete)
}

fn print_policy(config: &PolicyConfig) -> Result<ExitCode, Error> {
    let Some(policy) = commands::policy::policy(config) else {
        say(&format!(
            "no permission is needed: {} and {} are folders of this machine",
            config.source, config.out
        ));
        return Ok(ExitCode::Complete);
    };
    let publishing = match config.out {
        SourceUrl::S3 { .. } => ", and publishing needs kms:GenerateDataKey too",
        SourceUrl::Folder(_) => "",
    };
    say(&format!(
        "note: where a bucket is encrypted with a KMS key, reading needs kms:Decrypt on it{publishing}"
    ));
    to_stdout(format!("{policy}\n").as_bytes())
}

fn print_config(shown: &Shown) -> Result<ExitCode, Error> {
    to_stdout(shown.text().as_bytes())
}

fn print_completions(shell: Shell) -> Result<ExitCode, Error> {
    use clap_complete::aot;
    let shell = match shell {
        Shell::Bash => aot::Shell::Bash,
        Shell::Elvish => aot::Shell::Elvish,
        Shell::Fish => aot::Shell::Fish,
        Shell::PowerShell => aot::Shell::PowerShell,
        Shell::Zsh => aot::Shell::Zsh,
    };
    let mut script = Vec::new();
    aot::generate(shell, &mut Cli::command(), "rawcat", &mut script);
    to_stdout(&script)
}

fn write_man_pages(folder: &Path) -> Result<ExitCode, Error> {
    let doing = || format!("can't write man pages into {}", folder.display());
    std::fs::create_dir_all(folder).map_err(|error| Error::io(doing(), error))?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(|error| Error::io(doing(), error))?;
    Ok(ExitCode::Complete)
}

fn print_help(text: &clap::Error) -> Result<ExitCode, Error> {
    text.print().map_err(Error::stdout)?;
    match text.kind() {
        // `rawcat` alone: the help stands in for an error.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Ok(ExitCode::Usage),
        _ => Ok(ExitCode::Complete),
    }
}
