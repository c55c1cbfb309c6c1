//! SIGINT and SIGTERM: a signal comes in, a flag that the job polls goes up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Error, ExitCode};

/// What a run may still do after the first signal before it is ended. A run that is ended at
/// any moment leaves nothing half-published, so this costs at most some work.
const GRACE: Duration = Duration::from_millis(1_800);

/// True once somebody asked the run to stop. Clones share the flag.
#[derive(Clone, Default, Debug)]
pub struct Interrupt {
    flag: Arc<AtomicBool>,
    publishing: bool,
}

impl Interrupt {
    /// A flag that no signal raises.
    pub fn never() -> Interrupt {
        Interrupt::default()
    }

    /// Listens to SIGINT and SIGTERM, once in a process, for a run that is `publishing` or is not. The first signal raises the flag, and
    /// ends the process with 130 if it is still there after 1.8 s, unless it is `patient`; the second one
    /// ends it at once.
    ///
    /// # Errors
    /// [`Error::Failed`] when a handler is installed already or the system refuses.
    pub fn listen(publishing: bool, patient: bool) -> Result<Interrupt, Error> {
        let interrupt = Interrupt { publishing, ..Interrupt::default() };
        let flag = interrupt.clone();
        let on_signal = move || {
            if flag.is_set() {
                end_now(publishing);
            }
            flag.set();
            if patient {
                return;
            }
            std::thread::spawn(move || {
                std::thread::sleep(GRACE);
                end_now(publishing);
            });
        };
        ctrlc::set_handler(on_signal).map_err(Error::failed)?;
        Ok(interrupt)
    }

    pub fn set(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    /// The error as this run's user should read it.
    pub fn told(&self, error: Error) -> Error {
        match error {
            Error::Interrupted { .. } => Error::Interrupted { publishing: self.publishing },
            other => other,
        }
    }

    /// For those who poll the flag itself.
    pub fn flag(&self) -> &AtomicBool {
        &self.flag
    }

    /// Cheap: one relaxed load.
    pub fn is_set(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// [`Error::Interrupted`] once the flag is up, for the places between pieces of work.
    pub fn check(&self) -> Result<(), Error> {
        if self.is_set() {
            Err(self.told(Error::Interrupted { publishing: false }))
        } else {
            Ok(())
        }
    }
}

fn end_now(publishing: bool) -> ! {
    Error::Interrupted { publishing }.print();
    std::process::exit(ExitCode::Interrupted as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_flag() {
        let interrupt = Interrupt::never();
        let worker = interrupt.clone();
        assert!(worker.check().is_ok());
        interrupt.set();
        assert_eq!(worker.check().unwrap_err().exit_code(), ExitCode::Interrupted);
    }
}
