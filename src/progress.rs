//! How far a run is: counts come in from any thread, bars or occasional lines go to stderr.
//!
//! On a terminal there is one bar, once a run takes longer than a moment. Elsewhere there is a
//! line every 10 s, so that a short run under cron stays silent; with `-v` one at the start of
//! each phase too. With `-q` there is nothing. What is counted here decides nothing: the
//! manifest has its own numbers.

mod number;
mod summary;

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

pub use number::{bytes_text, count_text, counted};
pub use summary::{
    Counted, Files, Nearest, Objects, Quarantined, Records, Summary, Verdict, WindowShown, Written,
    took_text,
};

use crate::error::printable;

/// How much a run says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// `-q`: errors only.
    Quiet,
    Normal,
    /// `-v`: each phase as it begins, and what else may be of use.
    Verbose,
}

impl Mode {
    /// `quiet` wins.
    pub fn of(quiet: bool, verbose: bool) -> Mode {
        match (quiet, verbose) {
            (true, _) => Mode::Quiet,
            (false, true) => Mode::Verbose,
            (false, false) => Mode::Normal,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Counts objects found; totals are not known.
    Listing,
    Reading,
    Writing,
    /// Of rows; totals are not known.
    Sending,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Listing => "listing",
            Phase::Reading => "reading",
            Phase::Writing => "writing",
            Phase::Sending => "sending",
        }
    }

    fn things(self) -> &'static str {
        match self {
            Phase::Listing | Phase::Reading => "objects",
            Phase::Writing => "files",
            Phase::Sending => "rows",
        }
    }
}

/// A handle that the job passes on; clones are one and the same.
#[derive(Clone)]
pub struct Progress {
    board: Arc<Board>,
}

const TICK: Duration = Duration::from_millis(100);
/// A run shorter than this shows no bar: it would only flicker.
const BAR_AFTER: Duration = Duration::from_millis(400);
const LINE_EVERY: Duration = Duration::from_secs(10);

struct Board {
    mode: Mode,
    on_terminal: bool,
    done_objects: AtomicU64,
    done_bytes: AtomicU64,
    state: Mutex<State>,
    ticker: Mutex<Option<(Sender<()>, JoinHandle<()>)>>,
}

struct State {
    started: Instant,
    day: Option<Day>,
    phase: Option<Running>,
    bar: Option<ProgressBar>,
    last_line: Instant,
}

/// One of several days that a run makes.
struct Day {
    name: String,
    at: usize,
    of: usize,
}

#[derive(Clone, Copy)]
struct Running {
    phase: Phase,
    since: Instant,
    total_objects: u64,
    total_bytes: u64,
}

impl Progress {
    pub fn new(mode: Mode) -> Progress {
        Progress::on(mode, std::io::stderr().is_terminal())
    }

    fn on(mode: Mode, on_terminal: bool) -> Progress {
        let now = Instant::now();
        Progress {
            board: Arc::new(Board {
                mode,
                on_terminal,
                done_objects: AtomicU64::new(0),
                done_bytes: AtomicU64::new(0),
                state: Mutex::new(State {
                    started: now,
                    day: None,
                    phase: None,
                    bar: None,
                    last_line: now,
                }),
                ticker: Mutex::new(None),
            }),
        }
    }

    /// Begins the day `at` (from 0) of `of`: bars and lines count over all of them.
    pub fn day(&self, name: &str, at: usize, of: usize) {
        self.board.state().day = Some(Day { name: name.to_string(), at, of });
    }

    /// Begins a phase and sets the counts to 0. Totals of 0 mean that they are not known.
    pub fn phase(&self, phase: Phase, total_objects: u64, total_bytes: u64) {
        let board = &self.board;
        if board.mode == Mode::Quiet {
            return;
        }
        let running = Running { phase, since: Instant::now(), total_objects, total_bytes };
        let mut state = board.state();
        board.done_objects.store(0, Ordering::Relaxed);
        board.done_bytes.store(0, Ordering::Relaxed);
        state.phase = Some(running);
        if board.mode == Mode::Verbose {
            let line = format!("{}{}", of_days(&state.day), begin_line(&running));
            board.say(&state, &line);
        }
        drop(state);
        board.start_ticker(&self.board);
    }

    /// Counts what was done since the last call. Two relaxed additions: for worker threads.
    pub fn advance(&self, objects: u64, bytes: u64) {
        self.board.done_objects.fetch_add(objects, Ordering::Relaxed);
        self.board.done_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Says how many objects were found so far.
    pub fn found(&self, objects: u64) {
        self.board.done_objects.store(objects, Ordering::Relaxed);
    }

    /// Prints a line above the bar, unless `-q`.
    pub fn note(&self, line: &str) {
        if self.board.mode != Mode::Quiet {
            self.board.say(&self.board.state(), line);
        }
    }

    /// Like [`Progress::note`], with `-v` only.
    pub fn detail(&self, line: &str) {
        if self.board.mode == Mode::Verbose {
            self.note(line);
        }
    }

    /// Takes the bar away. A run that ends in an error does so when its last handle is dropped.
    pub fn finish(&self) {
        self.board.finish();
    }
}

impl Board {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves nothing here that could be wrong to show.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn say(&self, state: &State, line: &str) {
        let line = printable(line);
        match &state.bar {
            Some(bar) => bar.suspend(|| to_stderr(&line)),
            None => to_stderr(&line),
        }
    }

    fn start_ticker(&self, board: &Arc<Board>) {
        let mut ticker = self.ticker.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if ticker.is_some() {
            return;
        }
        let (stop, stopped) = mpsc::channel::<()>();
        let board: Weak<Board> = Arc::downgrade(board);
        let tick = move || {
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                match board.upgrade() {
                    Some(board) => board.tick(),
                    None => break,
                }
            }
        };
        // Without the thread a run is as right as with it, and only less talkative.
        if let Ok(thread) = std::thread::Builder::new().name("progress".into()).spawn(tick) {
            *ticker = Some((stop, thread));
        }
    }

    fn tick(&self) {
        let mut state = self.state();
        let Some(running) = state.phase else { return };
        let objects = self.done_objects.load(Ordering::Relaxed);
        let bytes = self.done_bytes.load(Ordering::Relaxed);
        if self.on_terminal {
            if state.bar.is_none() && state.started.elapsed() < BAR_AFTER {
                return;
            }
            let (done, total) = done_of(&state.day, &running, objects, bytes);
            let prefix = format!("{}{}", of_days(&state.day), running.phase.name());
            let bar = state.bar.get_or_insert_with(new_bar);
            bar.set_length(total);
            bar.set_position(done);
            bar.set_prefix(prefix);
            bar.set_message(counts(&running, objects, bytes));
            bar.tick();
        } else if state.last_line.elapsed() >= LINE_EVERY {
            state.last_line = Instant::now();
            let counts = counts(&running, objects, bytes);
            let line = format!("{}{}: {counts}", of_days(&state.day), running.phase.name());
            self.say(&state, &line);
        }
    }

    fn finish(&self) {
        let ticker = self.ticker.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some((stop, thread)) = ticker {
            drop(stop);
            // The ticker itself may hold the last handle; it can't wait for its own end.
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
        let mut state = self.state();
        state.phase = None;
        if let Some(bar) = state.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.finish();
    }
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{prefix:8} [{bar:30}] {msg}")
        .expect("the template is well-formed")
        .progress_chars("=> ");
    bar.with_style(style)
}

fn to_stderr(line: &str) {
    // When stderr is gone there is nobody left to tell.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// `day 3 of 30, 2022-04-18: `, where there are several.
fn of_days(day: &Option<Day>) -> String {
    let text = |Day { name, at, of }: &Day| format!("day {} of {of}, {name}: ", at + 1);
    day.as_ref().map(text).unwrap_or_default()
}

/// How far a bar is, and its length: over all days, each as long as any other, of which reading is
/// what takes time.
fn done_of(day: &Option<Day>, running: &Running, objects: u64, bytes: u64) -> (u64, u64) {
    const DAY: u64 = 1_000;
    let (done, total) = match running.total_bytes {
        0 => (objects, running.total_objects.max(1)),
        total => (bytes, total),
    };
    let done = done.min(total);
    let Some(day) = day else { return (done, total) };
    let share = match running.phase {
        Phase::Listing | Phase::Sending => 0,
        Phase::Reading => (u128::from(done) * u128::from(DAY) / u128::from(total)) as u64,
        Phase::Writing => DAY,
    };
    (day.at as u64 * DAY + share, day.of as u64 * DAY)
}

fn begin_line(running: &Running) -> String {
    let Running { phase, total_objects, total_bytes, .. } = *running;
    let mut line = phase.name().to_string();
    if total_objects > 0 {
        line.push_str(&format!(" {} {}", count_text(total_objects), phase.things()));
    }
    if total_bytes > 0 {
        line.push_str(&format!(", {}", bytes_text(total_bytes)));
    }
    line
}

/// `78 of 156 objects, 350.0 MB of 750.0 MB, 1.2 GB/s`.
fn counts(running: &Running, objects: u64, bytes: u64) -> String {
    let of = |total: u64, text: String| match total {
        0 => String::new(),
        _ => format!(" of {text}"),
    };
    let things = running.phase.things();
    let total = of(running.total_objects, count_text(running.total_objects));
    let mut line = format!("{}{total} {things}", count_text(objects));
    if bytes > 0 || running.total_bytes > 0 {
        let total = of(running.total_bytes, bytes_text(running.total_bytes));
        line.push_str(&format!(", {}{total}", bytes_text(bytes)));
    }
    let seconds = running.since.elapsed().as_secs_f64();
    if bytes > 0 && seconds >= 1.0 {
        line.push_str(&format!(", {}/s", bytes_text((bytes as f64 / seconds) as u64)));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading() -> Running {
        let since = Instant::now();
        Running { phase: Phase::Reading, since, total_objects: 1_560, total_bytes: 750_000_000 }
    }

    #[test]
    fn a_line_says_how_much_of_how_much() {
        let line = counts(&reading(), 78, 350_000_000);
        assert_eq!(line, "78 of 1,560 objects, 350.0 MB of 750.0 MB");
        assert_eq!(begin_line(&reading()), "reading 1,560 objects, 750.0 MB");
    }

    #[test]
    fn of_several_days_the_bar_is_over_all_of_them() {
        let day = Some(Day { name: "2022-04-18".to_string(), at: 2, of: 30 });
        assert_eq!(of_days(&day), "day 3 of 30, 2022-04-18: ");
        assert_eq!(done_of(&day, &reading(), 78, 375_000_000), (2_500, 30_000));
        assert_eq!(done_of(&None, &reading(), 78, 375_000_000), (375_000_000, 750_000_000));
    }

    #[test]
    fn a_listing_counts_without_a_total() {
        let running =
            Running { phase: Phase::Listing, total_objects: 0, total_bytes: 0, ..reading() };
        assert_eq!(counts(&running, 12_000, 0), "12,000 objects");
    }

    #[test]
    fn counts_come_together_from_many_threads() {
        let progress = Progress::on(Mode::Normal, false);
        progress.phase(Phase::Reading, 8_000, 0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1_000).for_each(|_| progress.advance(1, 10)));
            }
        });
        assert_eq!(progress.board.done_objects.load(Ordering::Relaxed), 8_000);
        assert_eq!(progress.board.done_bytes.load(Ordering::Relaxed), 80_000);
        progress.finish();
    }

    #[test]
    fn a_quiet_run_starts_no_thread() {
        let progress = Progress::on(Mode::Quiet, true);
        progress.phase(Phase::Reading, 1, 1);
        assert!(progress.board.ticker.lock().unwrap().is_none());
    }

    #[test]
    fn the_ticker_ends_with_the_last_handle() {
        let progress = Progress::on(Mode::Normal, false);
        progress.phase(Phase::Listing, 0, 0);
        let board = Arc::downgrade(&progress.board);
        drop(progress);
        assert!(board.upgrade().is_none());
    }
}
