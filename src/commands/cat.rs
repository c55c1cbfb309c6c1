//! `rawcat cat`: records on stdout, one a line.

use std::io::{self, BufWriter, IsTerminal, Write};

use chrono::{DateTime, Utc};

use super::windows::{job_error, nothing_found, open_raw, read_spec, take_layout, windows};
use crate::config::{CatConfig, CatWhat};
use crate::error::{Error, ExitCode, Interrupt, printable, say};
use crate::job::{JobSpec, PrintError, Printed, Printing, print_days, print_key, print_stream};
use crate::progress::{Mode, Progress};
use crate::window::Window;

/// Prints the records of the selected days, or of a key or prefix.
pub fn cat(config: &CatConfig, interrupt: &Interrupt) -> Result<ExitCode, Error> {
    let raw = open_raw(&config.input)?;
    let printing = Printing {
        csv: config.csv,
        excel_safe: config.excel_safe,
        raw: config.raw,
        columns: config.columns.clone(),
    };
    let mut out = stdout();
    let mut skipped = false;
    match &config.what {
        CatWhat::Days(days) => {
            let specs =
                windows(days)?.into_iter().map(|window| read_spec(&config.input, &raw, window));
            let mut specs = specs.collect::<Result<Vec<JobSpec>, Error>>()?;
            for at in 0..specs.len() {
                let spec = &specs[at];
                let progress = Progress::new(quietly(config.mode));
                let flag = interrupt.flag();
                let printed = print_days(
                    spec,
                    &raw.source,
                    &raw.store,
                    &printing,
                    &mut *out,
                    &progress,
                    flag,
                );
                progress.finish();
                let printed = printed.map_err(print_error)?;
                skipped |= report(&printed);
                if printed.records == 0 {
                    say(&format!(
                        "rawcat: {}",
                        nothing_found("records", &spec.window, printed.nearest)
                    ));
                }
                take_layout(&mut specs, at, &printed.inferred, config.mode == Mode::Quiet);
            }
        }
        CatWhat::Key(key) => {
            let spec = read_spec(&config.input, &raw, any_time())?;
            let flag = interrupt.flag();
            let printed =
                print_key(&spec, &raw.source, &raw.store, key, &printing, &mut *out, flag);
            skipped |= report(&printed.map_err(print_error)?);
        }
        CatWhat::Stdin => {
            let spec = read_spec(&config.input, &raw, any_time())?;
            let printed = print_stream(&spec, Box::new(io::stdin()), &printing, &mut *out);
            skipped |= report(&printed.map_err(print_error)?);
        }
    }
    out.flush().map_err(Error::stdout)?;
    Ok(if skipped { ExitCode::Skipped } else { ExitCode::Complete })
}

/// Where records go.
pub(super) fn stdout() -> Box<dyn Write + Send> {
    let stdout = io::stdout();
    match stdout.is_terminal() {
        true => Box::new(Escaping { to: stdout, line: Vec::new() }),
        false => Box::new(BufWriter::with_capacity(1 << 16, stdout)),
    }
}

/// A terminal obeys what stands in records, unless it is escaped. Pipes get every byte as it is.
struct Escaping<W> {
    to: W,
    line: Vec<u8>,
}

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            let text = String::from_utf8_lossy(&line[..end]);
            writeln!(self.to, "{}", printable(&text))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let rest = std::mem::take(&mut self.line);
        self.to.write_all(printable(&String::from_utf8_lossy(&rest)).as_bytes())?;
        self.to.flush()
    }
}

/// A window that is not looked at: every record of a key is printed.
fn any_time() -> Window {
    Window {
        start_utc: DateTime::<Utc>::UNIX_EPOCH,
        end_utc: DateTime::<Utc>::UNIX_EPOCH,
        tz: chrono_tz::UTC,
        date: None,
    }
}

/// Bars would run into the records on a terminal.
fn quietly(mode: Mode) -> Mode {
    match mode {
        Mode::Verbose => Mode::Verbose,
        _ => Mode::Quiet,
    }
}

/// Names on stderr what was not printed; true where something was not.
fn report(printed: &Printed) -> bool {
    for (place, reason) in printed.failed.iter().chain(&printed.lost) {
        say(&format!("rawcat: skipped {place}: {reason}"));
    }
    !printed.failed.is_empty() || !printed.lost.is_empty()
}

fn print_error(error: PrintError) -> Error {
    match error {
        PrintError::Job(error) => job_error(error),
        PrintError::Stdin(error) => Error::io("can't read standard input", error),
        PrintError::Out(error) => Error::stdout(error),
        error @ (PrintError::NoColumn { .. }
        | PrintError::NoObject { .. }
        | PrintError::Empty { .. }) => Error::Usage { message: error.to_string(), hint: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_never_steered_by_a_record() {
        let mut out = Escaping { to: Vec::new(), line: Vec::new() };
        for part in ["{\"a\":\"\u{1b}[31", "m\"}\nplain\nend"] {
            out.write_all(part.as_bytes()).unwrap();
        }
        out.flush().unwrap();
        let text = String::from_utf8(out.to).unwrap();
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert!(text.ends_with("\nplain\nend"), "{text:?}");
    }
}
